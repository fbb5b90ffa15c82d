import { describe, expect, test } from "vitest";
import {
  ChargingProfile,
  ChargingProfilePurpose,
  InstalledPlan,
  ProfileCommand,
  Session,
  Site,
} from "../../src/gen/wattslot/v1/optimizer.ts";
import { PlanSettings } from "../../src/gen/wattslot/v1/site.ts";
import { toProblem } from "../../src/grpc/convert.ts";
import { readKept, requestOf } from "../../src/grpc/kept-site.ts";
import type { CommandRow, EvseRow, SessionRow, SiteInputs } from "../../src/store/store.ts";

const HOUR_MS = 3_600_000;
const NOW_MS = Date.UTC(2026, 10, 25, 10);
const at = (hours: number) => NOW_MS + hours * HOUR_MS;
const ids = { tenant: "t", site_id: "s" };

/** A vehicle at the EVSE of CS1; hours are from now on. */
function vehicle(
  sessionId: string,
  { putHours = -2, arrives, leaves = 4, ...over }: Record<string, unknown> = {},
): SessionRow {
  const time = (hours: unknown) => (hours === undefined ? undefined : new Date(at(Number(hours))));
  const session = Session.fromPartial({
    sessionId,
    stationId: "CS1",
    evseId: 1,
    transactionId: `tx-${sessionId}`,
    arrivalTime: time(arrives),
    departureTime: time(leaves),
    need: { $case: "energyWh", value: 20_000 },
    ...over,
  });
  return {
    ...ids,
    session_id: sessionId,
    station_id: "CS1",
    evse_id: 1,
    session: Session.encode(session).finish(),
    progress: JSON.stringify({ needMeteredWh: 0 }),
    put_ms: at(Number(putHours)),
    ended_ms: null,
  };
}

/** What CS1 was told for a vehicle, W by the hour from now on. */
function told(
  sessionId: string,
  values: number[],
  purpose: ChargingProfilePurpose = ChargingProfilePurpose.TX_PROFILE,
) {
  const plan = { sessionId, powerW: { startTime: new Date(NOW_MS), stepSeconds: 3600, values } };
  const transactionId = purpose === ChargingProfilePurpose.TX_PROFILE ? `tx-${sessionId}` : "";
  const chargingProfile = ChargingProfile.fromPartial({ chargingProfilePurpose: purpose, transactionId });
  return {
    ...ids,
    station_id: "CS1",
    evse_id: 1,
    session_id: sessionId,
    installed: InstalledPlan.encode(InstalledPlan.fromPartial(plan)).finish(),
    command: ProfileCommand.encode(ProfileCommand.fromPartial({ chargingProfile })).finish(),
  };
}

const accepted = (...of: Parameters<typeof told>): EvseRow => ({
  ...told(...of),
  revision: 1,
  unreachable_until_ms: 0,
});
const unanswered = (seq: number, ...of: Parameters<typeof told>): CommandRow => ({
  ...told(...of),
  command_id: `s/${seq}/0`,
  revision: seq,
  wave: 1,
  state: "no_answer",
  seq,
  created_ms: 0,
  delivered_ms: 0,
  answered_ms: 0,
  detail: "",
  times_sent: 1,
});

function inputs(sessions: SessionRow[], over: Partial<SiteInputs> = {}, site = {}): SiteInputs {
  const made = Site.fromPartial({
    siteId: "s",
    circuits: [{ circuitId: "grid", maxPowerW: 22_000 }],
    evses: [{ stationId: "CS1", evseId: 1, maxCurrentA: 32 }],
    ...site,
  });
  const row = {
    site: Site.encode(made).finish(),
    settings: PlanSettings.encode(PlanSettings.create()).finish(),
  };
  return { site: row as never, series: [], sessions, evses: [], unsure: [], ...over };
}

function planned(...of: Parameters<typeof inputs>) {
  const made = requestOf(readKept(inputs(...of), NOW_MS), NOW_MS);
  // Whatever is kept can be planned.
  toProblem(made.request, NOW_MS);
  return {
    ...made,
    ids: made.request.sessions.map(({ sessionId }) => sessionId),
    codes: made.notices.map(({ code, field }) => `${code} ${field}`),
  };
}

describe("two vehicles at one EVSE", () => {
  test("one that overstays is not planned once the next one should be there, and its profile counts", () => {
    const both = [vehicle("a", { leaves: -1 }), vehicle("b", { arrives: -0.1 })];
    const { request, sessions, codes } = planned(both, { evses: [accepted("a", [9000, 0])] });
    expect(request.sessions.map(({ sessionId }) => sessionId)).toEqual(["b"]);
    expect(codes).toContain("PLACE_TAKEN sessions[a]");
    expect(request.installedPlans).toMatchObject([{ sessionId: "b", powerW: { values: [9000, 0] } }]);
    expect(sessions[0].isUntold).toBe(true);
  });

  test("one that is expected and has no transaction does not take the place of one that has", () => {
    const expected = vehicle("b", { arrives: -0.1, transactionId: "" });
    const forAll = accepted("b", [4000], ChargingProfilePurpose.TX_DEFAULT_PROFILE);
    const { ids, request, sessions } = planned([vehicle("a", { leaves: -1 }), expected], { evses: [forAll] });
    expect(ids).toEqual(["a"]);
    expect(request.installedPlans).toMatchObject([{ sessionId: "a", powerW: { values: [4000] } }]);
    expect(sessions[0].isUntold).toBe(false);
  });

  test("what the one that is not planned may draw by counts with what anyone may", () => {
    const site = { evses: [{ stationId: "CS1", evseId: 1, maxCurrentA: 32, fallbackPowerW: 11_000 }] };
    const both = [vehicle("a", { leaves: -1 }), vehicle("b", { arrives: -0.1 })];
    const { request } = planned(both, { evses: [accepted("a", [4000, 14_000])] }, site);
    expect(request.installedPlans).toMatchObject([{ sessionId: "b", powerW: { values: [11_000, 14_000] } }]);
  });

  test("of two that are expected at the same time the last one put is planned", () => {
    const both = [vehicle("z", { arrives: 2, putHours: -3 }), vehicle("b", { arrives: 2, putHours: -1 })];
    expect(planned(both).ids).toEqual(["b"]);
  });

  test("one that is expected cuts the stay of the one that is there, and one a moment ahead takes its place", () => {
    const expected = planned([vehicle("a"), vehicle("b", { arrives: 2 })]);
    expect(expected.ids).toEqual(["a", "b"]);
    expect(expected.codes).toContain("DEPARTURE_CUT sessions[a]");
    expect(expected.request.sessions[0].departureTime).toEqual(new Date(at(2)));
    expect(planned([vehicle("a"), vehicle("b", { arrives: 0.0003 })]).ids).toEqual(["b"]);
  });

  test("any number of them, whenever they come and leave, can be planned", () => {
    for (let n = 0; n < 3 ** 6; n++) {
      const digit = (k: number) => Math.floor(n / 3 ** k) % 3;
      const rows = [0, 1, 2].map((k) =>
        vehicle(`v${k}`, {
          arrives: [undefined, 0.5, 1][digit(2 * k)],
          leaves: [0.2, 0.5, 3][digit(2 * k + 1)],
        }),
      );
      const sane = rows.filter(({ session }) => {
        const { arrivalTime, departureTime } = Session.decode(session);
        return (arrivalTime?.getTime() ?? NOW_MS) < departureTime!.getTime();
      });
      expect(planned(sane).ids.length > 0).toBe(sane.length > 0);
    }
  });
});

describe("what a charger may hold", () => {
  test("ends with its transaction: the next one has to be told", () => {
    const again = vehicle("a", { transactionId: "tx-other" });
    const { request, sessions } = planned([again], { evses: [accepted("a", [9000])] });
    expect(request.installedPlans).toEqual([]);
    expect(sessions[0].accepted).toBeUndefined();
  });

  test("stays where a vehicle has gone to another EVSE, if it is for anyone", () => {
    const evses = ["CS1", "CS2"].map((stationId) => ({ stationId, evseId: 1, maxCurrentA: 32 }));
    const moved = { ...vehicle("a"), station_id: "CS2" };
    moved.session = Session.encode({ ...Session.decode(moved.session), stationId: "CS2" }).finish();
    const held = accepted("a", [9000], ChargingProfilePurpose.TX_DEFAULT_PROFILE);
    const { request } = planned([moved], { evses: [held] }, { evses });
    expect(request.site?.evses.map(({ fallbackPowerW }) => fallbackPowerW)).toEqual([9000, undefined]);
  });

  test("is not known before it has accepted anything of the vehicle that is there", () => {
    const isUnknown = (row: EvseRow) => planned([vehicle("a")], { evses: [row] }).sessions[0].isUnknown;
    const nothing = { installed: new Uint8Array(), command: new Uint8Array(), revision: 0 };
    expect(isUnknown({ ...accepted("a", []), ...nothing })).toBe(true);
    // It had accepted the vehicle before, and is tried again.
    expect(isUnknown({ ...accepted("before", [9000]), unreachable_until_ms: -1 })).toBe(true);
    expect(isUnknown(accepted("before", [9000]))).toBe(false);
    expect(isUnknown({ ...accepted("a", [9000]), unreachable_until_ms: -1 })).toBe(false);
    // Told meanwhile and without an answer: it counts with what it was told, and is told again before others are raised.
    const refused = { ...accepted("a", []), ...nothing };
    const pending = {
      evses: [refused],
      unsure: [{ ...unanswered(2, "a", [4000, 0]), state: "delivered" as const }],
    };
    const { sessions, request } = planned([vehicle("a")], pending);
    expect(sessions[0]).toMatchObject({ isUnknown: true, isUntold: true });
    expect(request.installedPlans[0].powerW?.values).toEqual([4000, 0]);
  });

  test("is not what it was told to take out of a vehicle, once it is put as one that can't", () => {
    const { request, sessions } = planned([vehicle("a")], { evses: [accepted("a", [-5000, 3000])] });
    expect(request.installedPlans[0].powerW?.values).toEqual([0, 3000]);
    expect(sessions[0].isUntold).toBe(true);
  });

  test("that is for anyone is folded on its own, also where its vehicle has left", () => {
    const forAll = [1, 2, 3, 4].map((n) =>
      unanswered(n, "gone", [n * 1000], ChargingProfilePurpose.TX_DEFAULT_PROFILE),
    );
    const own = [5, 6, 7].map((n) => unanswered(n, "a", [n * 1000]));
    const { outdated } = readKept(inputs([vehicle("a")], { unsure: [...forAll, ...own] }), NOW_MS);
    expect(outdated.commandIds).toEqual(["s/1/0", "s/2/0", "s/3/0"]);
    expect(outdated.folded.map(({ commandId }) => commandId)).toEqual(["s/4/0"]);
  });

  test("after days of silence is what the newest of its commands stands for", () => {
    const unsure = [3000, 9000, 4000, 5000, 1000].map((powerW, n) =>
      unanswered(n + 2, "a", [powerW, powerW / 2]),
    );
    const gone = unanswered(1, "gone", [7000]);
    const { outdated, sessions } = readKept(
      inputs([vehicle("a")], { evses: [accepted("a", [2000])], unsure: [gone, ...unsure] }),
      NOW_MS,
    );
    expect(outdated.commandIds).toEqual(["s/1/0", "s/2/0", "s/3/0", "s/4/0", "s/5/0"]);
    expect(outdated.folded.map(({ commandId }) => commandId)).toEqual(["s/6/0"]);
    const folded = InstalledPlan.decode(outdated.folded[0].installed).powerW?.values;
    expect(folded).toEqual([9000, 4500]);
    expect(sessions[0].allowed?.powerW?.values).toEqual([9000, 4500]);
  });

  test("counts although the clock has been set back since", () => {
    const { request } = planned([vehicle("a", { putHours: 0.6, leaves: 5 })], {
      evses: [
        {
          ...accepted("a", [9000]),
          installed: InstalledPlan.encode(
            InstalledPlan.fromPartial({
              sessionId: "a",
              powerW: { startTime: new Date(at(0.5)), stepSeconds: 900, values: [9000, 0] },
            }),
          ).finish(),
        },
      ],
    });
    expect(request.installedPlans[0].powerW).toMatchObject({
      startTime: new Date(NOW_MS),
      values: [9000, 9000, 9000, 0],
    });
  });
});

test("a vehicle at an EVSE that is no longer controlled, or no longer there, is not planned", () => {
  const evse = { stationId: "CS1", evseId: 1, maxCurrentA: 32, uncontrolledPowerW: 7000 };
  expect(planned([vehicle("a")], {}, { evses: [evse] }).codes).toEqual(["EVSE_UNCONTROLLED sessions[a]"]);
  const other = { stationId: "CS2", evseId: 1 };
  expect(planned([vehicle("a")], {}, { evses: [other] }).codes).toEqual(["EVSE_GONE sessions[a]"]);
});

test("a vehicle that is left out keeps the room of what its charger holds", () => {
  const site = inputs([vehicle("a")], { evses: [accepted("a", [9000, 4000])] });
  const { request, notices } = requestOf(readKept(site, NOW_MS), NOW_MS, new Map([["a", "need is wrong"]]));
  expect(request.sessions).toEqual([]);
  expect(request.site?.evses[0].fallbackPowerW).toBe(9000);
  expect(notices).toMatchObject([
    { code: "SESSION_LEFT_OUT", message: expect.stringContaining("need is wrong") },
  ]);
});

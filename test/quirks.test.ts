import { describe, expect, it } from "vitest";
import type { SitePlan } from "../src/domain/plan.ts";
import { toProblem } from "../src/grpc/convert.ts";
import { requestFromJson } from "../src/grpc/json.ts";
import { planner } from "./support/solvers.ts";

const T0 = Date.UTC(2026, 10, 23, 8);
const plan = planner();

const at = (hours: number) => new Date(T0 + hours * 3_600_000).toISOString();

/** The plan for a vehicle that needs 11,040 Wh in two hours, which is 16 A on three phases for one; hourly slots. */
function planOf(ocpp: object, session: object = {}, site: object = {}, over: object = {}): SitePlan {
  const request = {
    site: {
      siteId: "site",
      circuits: [{ circuitId: "grid", maxPowerW: 11_040 }],
      evses: [{ stationId: "CS1", evseId: 1, maxCurrentA: 16, ocpp }],
      ...site,
    },
    sessions: [
      {
        sessionId: "a",
        stationId: "CS1",
        evseId: 1,
        transactionId: "7",
        departureTime: at(2),
        energyWh: 11_040,
        ...session,
      },
    ],
    startTime: at(0),
    slotSeconds: 3600,
    ...over,
  };
  return plan(toProblem(requestFromJson(JSON.stringify(request), T0), T0));
}

/** The profile on the wire, with the names of 2.x. */
function sent(...of: Parameters<typeof planOf>) {
  const { command } = planOf(...of).sessionPlans[0];
  const request = JSON.parse(command?.payloadJson ?? "null");
  const profile = request.csChargingProfiles ?? request.chargingProfile;
  const [schedule] = [profile.chargingSchedule].flat();
  const periods: [number, number][] = schedule.chargingSchedulePeriod.map(
    ({ startPeriod, limit }: { startPeriod: number; limit: number }) => [startPeriod, limit],
  );
  return { json: command?.payloadJson ?? "", profile, schedule, periods };
}

const PLANNED = [
  [0, 16],
  [3600, 0],
];

describe.each(["OCPP_VERSION_1_6", "OCPP_VERSION_2_0_1", "OCPP_VERSION_2_1"])(
  "a charger of %s",
  (version) => {
    it("is told a start that has come, in whole seconds of UTC, and a first period at 0", () => {
      const { schedule, periods, json } = sent({ version }, {}, {});
      expect(schedule.startSchedule).toBe("2026-11-23T08:00:00Z");
      expect(periods).toEqual(PLANNED);
      expect(json).not.toMatch(/\d\.\d+Z|validFrom|validTo|duration|recurrency/);
    });

    it("whose clock is behind is told an earlier start", () => {
      const { schedule, periods } = sent({ version, clockLagSeconds: 90 });
      expect(schedule.startSchedule).toBe("2026-11-23T07:58:30Z");
      expect(periods).toEqual([
        [0, 16],
        [3690, 0],
      ]);
    });

    it("that wants Relative counts from the start of the transaction", () => {
      const ocpp = { version, wantsRelativeProfile: true };
      const { profile, schedule, periods } = sent(ocpp, { arrivalTime: at(-0.5) });
      expect(profile.chargingProfileKind).toBe("Relative");
      expect(schedule).not.toHaveProperty("startSchedule");
      expect(periods).toEqual([
        [0, 0],
        [1800, 16],
        [5400, 0],
      ]);
      // For one that counts from when it gets the profile.
      expect(sent(ocpp, { arrivalTime: at(0) }).periods).toEqual(PLANNED);
    });

    it("that wants Relative gets no command for a vehicle that is not here yet", () => {
      const later = { arrivalTime: at(0.5), departureTime: at(2) };
      expect(planOf({ version }, later).sessionPlans[0].command).toBeDefined();
      const { command, shortfallWh } = planOf({ version, wantsRelativeProfile: true }, later).sessionPlans[0];
      expect(command).toBeUndefined();
      expect(shortfallWh).toBe(0);
    });

    it("has its own stack level, id, unit, step, periods, purpose and lowest limit kept", () => {
      const profile = (ocpp: object) => sent({ version, ...ocpp }).profile;
      expect(profile({ stackLevel: 3 }).stackLevel).toBe(3);
      expect(profile({}).stackLevel).toBe(0);
      const id = version === "OCPP_VERSION_1_6" ? "chargingProfileId" : "id";
      expect(profile({})[id]).toBe(profile({ stackLevel: 3 })[id]);
      expect(sent({ version, rateUnits: ["CHARGING_RATE_UNIT_W"] }).periods).toEqual([
        [0, 11_040],
        [3600, 0],
      ]);
      const odd = { circuits: [{ circuitId: "grid", maxPowerW: 10_971 }] };
      expect(sent({ version }, {}, odd).periods[0]).toEqual([0, 15.9]);
      for (const [, limit] of sent({ version, limitStep: 1 }, {}, odd).periods) expect(limit % 1).toBe(0);
      expect(profile({ prefersTxDefaultProfile: true })).toMatchObject({
        chargingProfilePurpose: "TxDefaultProfile",
      });
      expect(profile({ prefersTxDefaultProfile: true })).not.toHaveProperty("transactionId");
      for (const [, limit] of sent({ version, rejectsZeroLimit: true }).periods)
        expect(limit).toBeGreaterThanOrEqual(6);
      expect(sent({ version, maxPeriods: 2 }, { energyWh: 15_000 }).periods.length).toBeLessThanOrEqual(2);
    });
  },
);

it("what has not changed is not sent again, and what has replaces what is there", () => {
  const first = planOf({}).sessionPlans[0];
  const held = { startTime: at(0), stepSeconds: 3600, values: [...first.powerW] };
  const again = (over: object) =>
    planOf({}, over, {}, { installedPlans: [{ sessionId: "a", powerW: held, chargingProfileId: 42 }] })
      .sessionPlans[0];
  expect(again({})).toMatchObject({ change: "UNCHANGED", command: undefined });
  const changed = again({ energyWh: 22_080 });
  expect(changed).toMatchObject({ change: "CHANGED", command: { action: "SetChargingProfile" } });
  expect(changed.command?.chargingProfile.id).toBe(42);
});

it("a vehicle that would not wake up again is charged in one block, begun when it can last", () => {
  const site = {
    tariff: {
      currency: "EUR",
      pricePerKwh: { startTime: at(0), stepSeconds: 3600, values: [0.1, 0.4, 0.1, 0.4] },
    },
  };
  const of = (uninterruptible: boolean) =>
    sent({}, { uninterruptible, departureTime: at(4), energyWh: 22_080 }, site).periods.map(([, a]) => a);
  expect(of(false)).toEqual([16, 0, 16, 0]);
  expect(of(true).filter((a, n, all) => a > 0 && (all[n - 1] ?? 0) === 0)).toHaveLength(1);
});

it("a profile names its transaction, or is a TxDefaultProfile without one, or is not sent yet", () => {
  expect(sent({}).profile).toMatchObject({ chargingProfilePurpose: "TxProfile", transactionId: "7" });
  const unknown = sent({}, { transactionId: "" });
  expect(unknown.profile.chargingProfilePurpose).toBe("TxDefaultProfile");
  // Who comes next waits at 0.
  expect(unknown.periods.at(-1)?.[1]).toBe(0);
  expect(planOf({}, { transactionId: "", arrivalTime: at(1) }).sessionPlans[0].command).toBeUndefined();
});

it("a charger that obeys nothing has its power reserved", () => {
  const evses = [
    { stationId: "CS1", evseId: 1, maxCurrentA: 16 },
    { stationId: "CS2", evseId: 1, uncontrolledPowerW: 5520 },
  ];
  expect(sent({}, {}, { evses }).periods[0]).toEqual([0, 8]);
});

it("a charger on one phase is told so: the whole limit, not a third of it", () => {
  const evses = [{ stationId: "CS1", evseId: 1, phases: ["PHASE_L2"], ocpp: {} }];
  for (const [unit, limit] of [
    ["A", 16],
    ["W", 3680],
  ] as const) {
    const ocpp = { rateUnits: [`CHARGING_RATE_UNIT_${unit}`] };
    const site = { evses: [{ ...evses[0], maxCurrentA: 16, ocpp }] };
    const { schedule } = sent({}, { energyWh: 3680 }, site);
    expect(schedule.chargingSchedulePeriod[0]).toEqual({ startPeriod: 0, limit, numberPhases: 1 });
  }
});

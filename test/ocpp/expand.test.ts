import { describe, expect, it } from "vitest";
import { expand } from "../../src/ocpp/expand.ts";
import { evse } from "../support/problems.ts";

const START = Date.UTC(2026, 10, 23, 8);

function payload16() {
  return {
    connectorId: 1,
    csChargingProfiles: {
      chargingProfileId: 11,
      transactionId: 5 as unknown,
      stackLevel: 0,
      chargingProfilePurpose: "TxProfile",
      chargingProfileKind: "Absolute",
      chargingSchedule: {
        startSchedule: "2026-11-23T08:00:00Z",
        chargingRateUnit: "A",
        chargingSchedulePeriod: [
          { startPeriod: 0, limit: 16, numberPhases: 3 },
          { startPeriod: 900, limit: 8.1, numberPhases: 1 },
          { startPeriod: 1800, limit: 0, numberPhases: 3 },
        ],
      },
    },
  };
}

function payload2x() {
  const { chargingProfileId, transactionId: _, chargingSchedule, ...common } = payload16().csChargingProfiles;
  return {
    evseId: 1,
    chargingProfile: {
      id: chargingProfileId,
      ...common,
      transactionId: "tx" as unknown,
      chargingSchedule: [{ id: 1, ...chargingSchedule }],
    },
  };
}

const in16 = evse({}, { version: "1.6" });
const in201 = evse({}, { version: "2.0.1" });

describe("expand", () => {
  it("turns A into W by voltage and phases, from startSchedule on", () => {
    const steps = [
      { atMs: START, powerW: 16 * 690, numberPhases: 3 },
      { atMs: START + 900_000, powerW: 8.1 * 230, numberPhases: 1 },
      { atMs: START + 1_800_000, powerW: 0, numberPhases: 3 },
    ];
    expect(expand(JSON.stringify(payload16()), in16, 230)).toEqual(steps);
    expect(expand(JSON.stringify(payload2x()), in201, 230)).toEqual(steps);
    expect(expand(JSON.stringify(payload2x()), evse({}, { version: "2.1" }), 230)).toEqual(steps);
    expect(expand(JSON.stringify(payload16()), in16, 120)[0].powerW).toBe(16 * 360);
  });

  it("knows the voltage between two lines, where there is one phase", () => {
    const between = evse({ supply: "AC_LINE_TO_LINE", phases: [1, 2] }, { version: "2.0.1" });
    const payload = payload2x();
    const [schedule] = payload.chargingProfile.chargingSchedule;
    schedule.chargingSchedulePeriod = [{ startPeriod: 0, limit: 30, numberPhases: 1 }];
    // 30 A x 207.8 V.
    expect(expand(JSON.stringify(payload), between, 120)[0].powerW).toBeCloseTo(6235.38, 2);
    schedule.chargingRateUnit = "W";
    const inW = { ...between, ocpp: { ...between.ocpp, rateUnit: "W" as const } };
    expect(expand(JSON.stringify(payload), inW, 120)[0].powerW).toBe(30);
    expect(() => expand(JSON.stringify(payload), between, 120)).toThrow("chargingRateUnit W");
    schedule.chargingRateUnit = "A";
    schedule.chargingSchedulePeriod[0].numberPhases = 2;
    expect(() => expand(JSON.stringify(payload), between, 120)).toThrow("numberPhases is not 1");
    Object.assign(schedule.chargingSchedulePeriod[0], { numberPhases: undefined });
    expect(() => expand(JSON.stringify(payload), between, 120)).toThrow("numberPhases");
  });

  it("counts a Relative profile from the start of the transaction, from a given time on", () => {
    const wants = { wantsRelativeProfile: true };
    const relative = payload2x();
    const [schedule] = relative.chargingProfile.chargingSchedule;
    relative.chargingProfile.chargingProfileKind = "Relative";
    Object.assign(schedule, { startSchedule: undefined });
    const context = { fromMs: START, transactionStartMs: START - 1000_000 };
    const charger = evse({}, wants);
    // 900 s are over; 1800 s are 800 s from now.
    expect(expand(JSON.stringify(relative), charger, 230, context)).toEqual([
      { atMs: START, powerW: 8.1 * 230, numberPhases: 1 },
      { atMs: START + 800_000, powerW: 0, numberPhases: 3 },
    ]);
    expect(() => expand(JSON.stringify(relative), in201, 230, context)).toThrow("not Absolute");
    expect(() => expand(JSON.stringify(payload2x()), charger, 230, context)).toThrow("not Relative");
    // 1.6 does not forbid a startSchedule, which would say something else.
    const old = payload16();
    old.csChargingProfiles.chargingProfileKind = "Relative";
    expect(() => expand(JSON.stringify(old), evse({}, { version: "1.6", ...wants }), 230, context)).toThrow(
      "startSchedule has no place",
    );
  });

  it("wants a profile to be in force by a clock that is behind", () => {
    const behind = evse({}, { clockLagMs: 60_000 });
    const json = JSON.stringify(payload2x());
    expect(() => expand(json, behind, 230, { fromMs: START + 59_000 })).toThrow("not in force yet");
    expect(expand(json, behind, 230, { fromMs: START + 60_000 })[0].atMs).toBe(START + 60_000);
  });

  it("takes an absent numberPhases as three", () => {
    const payload = { ...payload16() };
    const schedule = payload.csChargingProfiles.chargingSchedule;
    const periods = [{ startPeriod: 0, limit: 10 }];
    const json = JSON.stringify({
      ...payload,
      csChargingProfiles: {
        ...payload.csChargingProfiles,
        chargingSchedule: { ...schedule, chargingSchedulePeriod: periods },
      },
    });
    expect(expand(json, in16, 230)).toEqual([{ atMs: START, powerW: 6900, numberPhases: 3 }]);
  });

  it("takes phaseToUse in 2.x, of the first phase alone", () => {
    const read = (over: object) => {
      const payload = payload2x();
      payload.chargingProfile.chargingSchedule[0].chargingSchedulePeriod = [
        { startPeriod: 0, limit: 10, numberPhases: 1, ...over },
      ];
      return expand(JSON.stringify(payload), in201, 230);
    };
    expect(read({ phaseToUse: 1 })[0].powerW).toBe(2300);
    expect(() => read({ phaseToUse: 2 })).toThrow("phaseToUse is not 1");
    expect(() => read({ phaseToUse: 1, numberPhases: 3 })).toThrow("phaseToUse needs numberPhases 1");
  });

  it("takes W as the sum", () => {
    const payload = payload2x();
    payload.chargingProfile.chargingSchedule[0].chargingRateUnit = "W";
    payload.chargingProfile.chargingSchedule[0].chargingSchedulePeriod = [
      { startPeriod: 0, limit: 7000.5, numberPhases: 1 },
    ];
    expect(expand(JSON.stringify(payload), evse({}, { version: "2.0.1", rateUnit: "W" }), 230)).toEqual([
      { atMs: START, powerW: 7000.5, numberPhases: 1 },
    ]);
  });

  it("takes a TxDefaultProfile without a transaction", () => {
    const payload = payload2x();
    payload.chargingProfile.chargingProfilePurpose = "TxDefaultProfile";
    payload.chargingProfile.transactionId = undefined;
    expect(expand(JSON.stringify(payload), in201, 230)).toHaveLength(3);
  });
});

/** A deep copy with one value replaced, or taken away where it is undefined. */
function changed(payload: object, path: (string | number)[], value: unknown): string {
  const copy = structuredClone(payload) as Record<string | number, unknown>;
  let parent = copy;
  for (const key of path.slice(0, -1)) parent = parent[key] as typeof parent;
  if (value === undefined) delete parent[path[path.length - 1]];
  else parent[path[path.length - 1]] = value;
  return JSON.stringify(copy);
}

describe("expand refuses", () => {
  const profile = ["csChargingProfiles"];
  const schedule = [...profile, "chargingSchedule"];
  const period = (i: number) => [...schedule, "chargingSchedulePeriod", i];

  it.each([
    ["another connector", ["connectorId"], 2, "connectorId"],
    ["the names of 2.x", ["chargingProfile"], {}, "chargingProfile is not known"],
    ["no profile", profile, undefined, "csChargingProfiles"],
    ["no id", [...profile, "chargingProfileId"], undefined, "chargingProfileId"],
    ["an id of 0", [...profile, "chargingProfileId"], 0, "chargingProfileId"],
    ["an id beyond 32 bits", [...profile, "chargingProfileId"], 2 ** 31, "chargingProfileId"],
    ["a negative stack level", [...profile, "stackLevel"], -1, "stackLevel"],
    ["another kind", [...profile, "chargingProfileKind"], "Relative", "chargingProfileKind"],
    [
      "another purpose",
      [...profile, "chargingProfilePurpose"],
      "ChargePointMaxProfile",
      "chargingProfilePurpose",
    ],
    ["a TxProfile without transaction", [...profile, "transactionId"], undefined, "transactionId"],
    ["a transaction that is text", [...profile, "transactionId"], "5", "transactionId"],
    ["a transaction that is no number", [...profile, "transactionId"], Number.NaN, "transactionId"],
    [
      "a default with a transaction",
      [...profile, "chargingProfilePurpose"],
      "TxDefaultProfile",
      "transactionId",
    ],
    [
      "a validity that ends, after which nothing limits the vehicle",
      [...profile, "validTo"],
      "2026-11-23T09:00:00Z",
      "has no limit 3600 s",
    ],
    ["a list of schedules", schedule, [], "chargingSchedule"],
    ["no start", [...schedule, "startSchedule"], undefined, "startSchedule"],
    ["fractions of a second", [...schedule, "startSchedule"], "2026-11-23T08:00:00.000Z", "startSchedule"],
    ["a day that does not exist", [...schedule, "startSchedule"], "2026-02-30T08:00:00Z", "startSchedule"],
    ["local time", [...schedule, "startSchedule"], "2026-11-23T08:00:00", "startSchedule"],
    ["another zone", [...schedule, "startSchedule"], "2026-11-23T08:00:00+01:00", "startSchedule"],
    ["an epoch", [...schedule, "startSchedule"], START, "startSchedule"],
    ["another unit", [...schedule, "chargingRateUnit"], "kW", "chargingRateUnit"],
    ["a duration, after which nothing does", [...schedule, "duration"], 3600, "has no limit 3600 s"],
    ["no periods", [...schedule, "chargingSchedulePeriod"], undefined, "chargingSchedulePeriod"],
    ["an empty list of periods", [...schedule, "chargingSchedulePeriod"], [], "chargingSchedulePeriod"],
    ["a late first period", [...period(0), "startPeriod"], 1, "[0].startPeriod"],
    ["two periods at once", [...period(2), "startPeriod"], 900, "[2].startPeriod"],
    ["a period back in time", [...period(2), "startPeriod"], 899, "[2].startPeriod"],
    ["half a second", [...period(1), "startPeriod"], 900.5, "[1].startPeriod"],
    ["no limit", [...period(1), "limit"], undefined, "[1].limit"],
    ["a limit that is no number", [...period(1), "limit"], Number.NaN, "[1].limit"],
    ["a limit that is text", [...period(1), "limit"], "8.1", "[1].limit"],
    ["a negative limit", [...period(1), "limit"], -1, "[1].limit"],
    ["two decimals", [...period(1), "limit"], 8.15, "[1].limit"],
    ["a float's tail", [...period(1), "limit"], 8.100000001, "[1].limit"],
    ["four phases", [...period(1), "numberPhases"], 4, "[1].numberPhases"],
    ["no phase", [...period(1), "numberPhases"], 0, "[1].numberPhases"],
    ["a choice of phase", [...period(1), "phaseToUse"], 2, "phaseToUse"],
  ])("%s", (_, path, value, field) => {
    const json = changed(payload16(), path, value);
    expect(() => expand(json, in16, 230)).toThrow(field);
    expect(() => expand(json, in16, 230)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  });

  it.each([
    ["another EVSE", ["evseId"], 2, "evseId"],
    ["the names of 1.6", ["connectorId"], 1, "connectorId is not known"],
    ["a schedule that is no list", ["chargingProfile", "chargingSchedule"], {}, "chargingSchedule"],
    ["no schedule", ["chargingProfile", "chargingSchedule"], [], "chargingSchedule"],
    ["two schedules", ["chargingProfile", "chargingSchedule", 1], {}, "chargingSchedule"],
    [
      "a schedule without id",
      ["chargingProfile", "chargingSchedule", 0, "id"],
      undefined,
      "chargingSchedule[0].id",
    ],
    ["a transaction that is a number", ["chargingProfile", "transactionId"], 5, "transactionId"],
    ["an empty transaction", ["chargingProfile", "transactionId"], "", "transactionId"],
    ["a transaction of 37 characters", ["chargingProfile", "transactionId"], "x".repeat(37), "transactionId"],
  ])("in 2.x %s", (_, path, value, field) => {
    expect(() => expand(changed(payload2x(), path, value), in201, 230)).toThrow(field);
  });

  it("a number of phases on DC", () => {
    const dc = evse({ supply: "DC" }, { version: "2.0.1", rateUnit: "A" });
    expect(() => expand(JSON.stringify(payload2x()), dc, 230)).toThrow("[0].numberPhases");
  });

  it("EVSE 0, which is the whole station", () => {
    const json = changed(payload2x(), ["evseId"], 0);
    expect(() => expand(json, evse({ evseId: 0 }, { version: "2.0.1" }), 230)).toThrow("evseId");
  });

  it("what is no JSON object", () => {
    for (const text of ["", "{", "null", "[]", "1"]) expect(() => expand(text, in16, 230)).toThrow("payload");
  });
});

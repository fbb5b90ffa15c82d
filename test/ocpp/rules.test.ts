import { describe, expect, it } from "vitest";
import type { OcppVersion } from "../../src/domain/problem.ts";
import { PROFILE_RULES, type ProfileContext, validateProfile } from "../../src/ocpp/rules.ts";
import { misfitsOfRequest } from "../../src/ocpp/shape.ts";
import type { InstalledProfile } from "../../src/ocpp/wire.ts";

type Json = Record<string, unknown>;

/** What differs from a sound TxProfile at EVSE 1; undefined takes a field away. */
interface Change {
  context?: Partial<ProfileContext>;
  profile?: Json;
  schedule?: Json;
  period?: Json;
  /** Instead of the one period. */
  periods?: Json[];
  /** More schedules beside the first. */
  schedules?: number;
}

function built(version: OcppVersion, change: Change): [unknown, ProfileContext] {
  const is16 = version === "1.6";
  const schedule: Json = {
    id: 1,
    startSchedule: "2026-11-23T08:00:00Z",
    chargingRateUnit: "A",
    chargingSchedulePeriod: change.periods ?? [
      { startPeriod: 0, limit: 16, numberPhases: 3, ...change.period },
    ],
    ...change.schedule,
  };
  if (is16) delete schedule.id;
  const profile: Json = {
    [is16 ? "chargingProfileId" : "id"]: 11,
    stackLevel: 0,
    chargingProfilePurpose: "TxProfile",
    chargingProfileKind: "Absolute",
    transactionId: is16 ? 5 : "tx",
    chargingSchedule: is16 ? schedule : Array.from({ length: change.schedules ?? 1 }, () => schedule),
    ...change.profile,
  };
  const context: ProfileContext = {
    version,
    evseId: 1,
    transaction: { transactionId: is16 ? "5" : "tx" },
    ...change.context,
  };
  return [JSON.parse(JSON.stringify(profile)), context];
}

const usual: Change = { profile: { chargingProfilePurpose: "TxDefaultProfile", transactionId: undefined } };
const station = (over: Json = {}): Change => ({
  context: { evseId: 0 },
  profile: { chargingProfilePurpose: "ChargingStationMaxProfile", transactionId: undefined, ...over },
});
const priority = (over: Change = {}): Change => ({
  ...over,
  profile: { chargingProfilePurpose: "PriorityCharging", transactionId: undefined },
});
const able = (capabilities: object): Change => ({ context: { capabilities } });
const needing = (needs: object): Partial<ProfileContext> => ({ transaction: { transactionId: "tx", needs } });

/** One more that is there already, as the sound one but for `over`. */
const beside = (evseId: number, over: Json): Partial<ProfileContext> => ({
  evseId: 1,
  installed: [{ evseId, profile: built("2.1", {})[0] as InstalledProfile["profile"] }].map((entry) => ({
    evseId,
    profile: { ...entry.profile, ...over } as InstalledProfile["profile"],
  })),
});

const dynamic = { chargingProfileKind: "Dynamic" };
const curve = [
  { frequency: 49.8, power: 5000 },
  { frequency: 50.2, power: -5000 },
];
const frequency = (over: Json = {}): Change => ({
  schedule: { chargingRateUnit: "W" },
  periods: [
    { startPeriod: 0, operationMode: "LocalFrequency", v2xBaseline: 0, v2xFreqWattCurve: curve, ...over },
  ],
});
const mode = (operationMode: string, over: Json = {}): Change => ({
  periods: [{ startPeriod: 0, operationMode, ...over }],
});
const all: OcppVersion[] = ["1.6", "2.0.1", "2.1"];
const from201: OcppVersion[] = ["2.0.1", "2.1"];
const only21: OcppVersion[] = ["2.1"];

/** For each rule what breaks it, and what is next to that and does not. */
const CASES: [rule: string, versions: OcppVersion[], wrong: Change[], right: Change[]][] = [
  [
    "the EVSE is there",
    all,
    [able({ evseIds: [2, 3] }), { context: { evseId: -1 } }],
    [able({ evseIds: [1] }), able({})],
  ],
  [
    "a station's maximum is for the station",
    from201,
    [{ ...station(), context: { evseId: 1 } }],
    [station()],
  ],
  ["a TxProfile is for one EVSE", all, [{ context: { evseId: 0 } }], [{}]],
  [
    "external constraints are not the CSMS's to set",
    from201,
    [station({ chargingProfilePurpose: "ChargingStationExternalConstraints" })],
    [station()],
  ],
  [
    "an additional purpose is supported",
    only21,
    [priority(able({ additionalPurposes: ["LocalGeneration"] }))],
    [priority(able({ additionalPurposes: ["PriorityCharging"] })), priority()],
  ],
  ["a TxProfile names its transaction", from201, [{ profile: { transactionId: undefined } }], [{}]],
  [
    "the transaction is known",
    all,
    [{ context: { transaction: { transactionId: "77" } } }, { context: { transaction: null } }],
    [{}, { ...usual, context: { transaction: null } }],
  ],
  [
    "only a TxProfile names a transaction",
    all,
    [{ profile: { chargingProfilePurpose: "TxDefaultProfile" } }],
    [usual],
  ],
  [
    "a start brings a TxProfile without transaction",
    all,
    [{ context: { isInStart: true } }, { ...usual, context: { isInStart: true } }],
    [{ profile: { transactionId: undefined }, context: { isInStart: true } }],
  ],
  [
    "the stack level is in range",
    all,
    [{ profile: { stackLevel: -1 } }, { profile: { stackLevel: 3 }, ...able({ maxStackLevel: 2 }) }],
    [{ profile: { stackLevel: 2 }, ...able({ maxStackLevel: 2 }) }, { profile: { stackLevel: 99 } }],
  ],
  [
    "the id is above those of external constraints",
    only21,
    [able({ maxExternalConstraintsId: 11 })],
    [able({ maxExternalConstraintsId: 10 })],
  ],
  [
    "no other profile has its place",
    from201,
    [{ ...usual, context: beside(1, { id: 12, ...usual.profile }) }],
    [
      { ...usual, context: beside(1, { ...usual.profile }) },
      { ...usual, context: beside(2, { id: 12, ...usual.profile }) },
      { ...usual, context: beside(1, { id: 12, ...usual.profile, stackLevel: 1 }) },
      {
        profile: { ...usual.profile, validFrom: "2026-11-24T00:00:00Z" },
        context: beside(1, { id: 12, ...usual.profile, validTo: "2026-11-24T00:00:00Z" }),
      },
    ],
  ],
  [
    "no other TxProfile has its level in the transaction",
    from201,
    [{ context: beside(1, { id: 12 }) }],
    [
      { context: beside(1, {}) },
      { context: beside(1, { id: 12, transactionId: "before" }) },
      { context: beside(1, { id: 12, stackLevel: 4 }) },
    ],
  ],
  [
    "station and EVSE don't share a TxDefaultProfile's level",
    from201,
    [
      { ...usual, context: beside(0, { id: 12, ...usual.profile }) },
      { ...usual, context: { ...beside(3, { id: 12, ...usual.profile }), evseId: 0 } },
    ],
    [
      { ...usual, context: beside(2, { id: 12, ...usual.profile }) },
      { ...usual, context: beside(0, { id: 12, ...usual.profile, stackLevel: 1 }) },
    ],
  ],
  [
    "there is room for one more profile",
    from201,
    [
      {
        context: {
          ...beside(2, { id: 12 }),
          capabilities: { maxProfiles: 1 },
          transaction: { transactionId: "tx" },
        },
      },
    ],
    [
      { context: { ...beside(1, {}), capabilities: { maxProfiles: 1 } } },
      { context: { ...beside(2, { id: 12, stackLevel: 1 }), capabilities: { maxProfiles: 2 } } },
    ],
  ],
  [
    "a station's maximum is not Relative",
    from201,
    [{ ...station({ chargingProfileKind: "Relative" }), schedule: { startSchedule: undefined } }],
    [station()],
  ],
  [
    "recurrencyKind belongs to Recurring",
    all,
    [{ profile: { chargingProfileKind: "Recurring" } }, { profile: { recurrencyKind: "Daily" } }],
    [{ profile: { chargingProfileKind: "Recurring", recurrencyKind: "Weekly" } }],
  ],
  [
    "it is valid for some time",
    all,
    [
      { profile: { validFrom: "2026-11-23T09:00:00Z", validTo: "2026-11-23T09:00:00Z" } },
      { profile: { validFrom: "2026-11-23T09:00:00Z", validTo: "2026-11-23T09:30:00+01:00" } },
    ],
    [{ profile: { validFrom: "2026-11-23T09:00:00Z", validTo: "2026-11-23T09:00:01Z" } }],
  ],
  [
    "startSchedule is there where it counts",
    all,
    [
      { schedule: { startSchedule: undefined } },
      {
        profile: { chargingProfileKind: "Recurring", recurrencyKind: "Daily" },
        schedule: { startSchedule: undefined },
      },
    ],
    [{}, { profile: { chargingProfileKind: "Relative" }, schedule: { startSchedule: undefined } }],
  ],
  [
    "a Relative schedule has no startSchedule",
    from201,
    [{ profile: { chargingProfileKind: "Relative" } }],
    [{ profile: { chargingProfileKind: "Relative" }, schedule: { startSchedule: undefined } }],
  ],
  [
    "a schedule lasts",
    all,
    [{ schedule: { duration: 0 } }, { schedule: { duration: -5 } }],
    [{ schedule: { duration: 1 } }],
  ],
  ["a schedule has a period", ["1.6"], [{ periods: [] }], [{}]],
  [
    "the first period starts at 0",
    all,
    [{ period: { startPeriod: 60 } }, { period: { startPeriod: -60 } }],
    [{}],
  ],
  [
    "periods are in order",
    all,
    [
      { periods: [0, 900, 900].map((startPeriod) => ({ startPeriod, limit: 8 })) },
      { periods: [0, 900, 600].map((startPeriod) => ({ startPeriod, limit: 8 })) },
    ],
    [{ periods: [0, 900, 901].map((startPeriod) => ({ startPeriod, limit: 8 })) }],
  ],
  [
    "there is one schedule but for ISO 15118",
    from201,
    [{ schedules: 2 }, { ...usual, schedules: 2, context: needing({}) }],
    [
      { schedules: 3, context: needing({}) },
      { schedules: 2, context: { evseId: 1 } },
    ].slice(0, 1),
  ],
  [
    "the station takes as many periods",
    all,
    [
      {
        periods: [0, 900, 1800].map((startPeriod) => ({ startPeriod, limit: 8 })),
        ...able({ maxPeriods: 2 }),
      },
    ],
    [{ periods: [0, 900].map((startPeriod) => ({ startPeriod, limit: 8 })), ...able({ maxPeriods: 2 }) }],
  ],
  [
    "the vehicle takes as many periods",
    from201,
    [
      {
        periods: [0, 900, 1800].map((startPeriod) => ({ startPeriod, limit: 8 })),
        context: needing({ maxScheduleTuples: 2 }),
      },
    ],
    [
      {
        periods: [0, 900].map((startPeriod) => ({ startPeriod, limit: 8 })),
        context: needing({ maxScheduleTuples: 2 }),
      },
    ],
  ],
  ["the station knows the unit", all, [able({ rateUnits: ["W"] })], [able({ rateUnits: ["W", "A"] })]],
  ["a limit is not negative", all, [{ period: { limit: -1 } }], [{ period: { limit: 0 } }]],
  [
    "numbers have no more decimals than chargers read",
    all,
    [{ period: { limit: 6.1234567 } }, { schedule: { minChargingRate: 6.1234567 } }],
    [{ period: { limit: 8.1 } }, { schedule: { minChargingRate: 6.1 } }],
  ],
  ["numberPhases is 1, 2 or 3", all, [{ period: { numberPhases: 0 } }], [{ period: { numberPhases: 2 } }]],
  [
    "the station can hold a vehicle to as many phases",
    from201,
    [{ period: { numberPhases: 1 }, ...able({ phaseCounts: [2, 3] }) }],
    [{ period: { numberPhases: 2 }, ...able({ phaseCounts: [1, 3] }) }],
  ],
  [
    "DC has no phases",
    only21,
    [able({ supply: "DC" })],
    [
      { period: { numberPhases: undefined }, ...able({ supply: "DC" }) },
      able({ supply: "DC", hasDcInputPhaseControl: true }),
    ],
  ],
  [
    "phaseToUse is for one phase",
    from201,
    [{ period: { phaseToUse: 1 } }, { period: { phaseToUse: 4, numberPhases: 1 } }],
    [{ period: { phaseToUse: 3, numberPhases: 1 } }],
  ],
  [
    "the station can choose the phase",
    from201,
    [{ period: { phaseToUse: 1, numberPhases: 1 }, ...able({ canChoosePhase: false }) }],
    [{ period: { phaseToUse: 1, numberPhases: 1 }, ...able({ canChoosePhase: true }) }],
  ],
  [
    "each phase has a limit only where the vehicle told its own",
    only21,
    [
      { period: { limit_L2: 10 } },
      { period: { limit_L2: 10 }, context: needing({}) },
      { ...usual, period: { limit_L2: 10 }, context: needing({ hasPowerByPhase: true }) },
      {
        ...mode("CentralSetpoint", { setpoint: 1, limit_L3: 2 }),
        context: needing({ hasPowerByPhase: true }),
      },
    ],
    [{ period: { limit_L2: 10, limit_L3: 12 }, context: needing({ hasPowerByPhase: true }) }],
  ],
  [
    "charging has a limit",
    only21,
    [{ period: { limit: undefined } }, mode("ChargingOnly")],
    [mode("ExternalLimits"), { profile: dynamic, period: { limit: undefined } }],
  ],
  [
    "a central setpoint stands alone",
    only21,
    [mode("CentralSetpoint"), mode("CentralSetpoint", { setpoint: 5, limit: 10 })],
    [mode("CentralSetpoint", { setpoint: -5 })],
  ],
  [
    "frequency support has a setpoint",
    only21,
    [mode("CentralFrequency")],
    [mode("CentralFrequency", { setpoint: 5, limit: 10 })],
  ],
  [
    "local frequency support has a curve and no limits",
    only21,
    [
      frequency({ v2xBaseline: undefined }),
      frequency({ v2xFreqWattCurve: curve.slice(1) }),
      frequency({ limit: 5000 }),
      { ...frequency(), schedule: { chargingRateUnit: "A" } },
      { period: { v2xBaseline: 5 } },
    ],
    [frequency()],
  ],
  [
    "Idle has neither limit nor setpoint",
    only21,
    [mode("Idle", { limit: 0 }), mode("Idle", { setpoint: 0 }), { period: { evseSleep: true } }],
    [mode("Idle"), mode("Idle", { evseSleep: true })],
  ],
  [
    "only modes with a setpoint have one",
    only21,
    [{ period: { setpoint: 5 } }, { period: { dischargeLimit: -5 } }],
    [mode("ExternalSetpoint", { limit: 5, dischargeLimit: -5 })],
  ],
  [
    "what is discharged is negative, and the setpoint within the limits",
    only21,
    [
      mode("CentralFrequency", { setpoint: 12, limit: 10 }),
      mode("CentralFrequency", { setpoint: -12, dischargeLimit: -10 }),
      mode("ExternalLimits", { dischargeLimit: 3 }),
    ],
    [mode("CentralFrequency", { setpoint: 10, limit: 10, dischargeLimit: -10 })],
  ],
  [
    "the purpose allows the mode",
    only21,
    [{ ...station(), ...mode("Idle") }, priority(mode("CentralSetpoint", { setpoint: 3 }))],
    [{ ...station({ chargingProfilePurpose: "LocalGeneration" }), ...mode("ExternalLimits") }, mode("Idle")],
  ],
  [
    "the station knows the mode",
    only21,
    [{ ...mode("Idle"), ...able({ operationModes: ["CentralSetpoint"] }) }],
    [{ ...mode("Idle"), ...able({ operationModes: ["Idle"] }) }, able({ operationModes: [] })],
  ],
  [
    "a vehicle that did not ask to discharge only charges",
    only21,
    [{ ...mode("CentralSetpoint", { setpoint: -3 }), context: needing({ isBidirectional: false }) }],
    [
      { ...mode("CentralSetpoint", { setpoint: -3 }), context: needing({ isBidirectional: true }) },
      { ...mode("Idle"), context: needing({ isBidirectional: false }) },
    ],
  ],
  ["priority charging has no duration", only21, [priority({ schedule: { duration: 60 } })], [priority()]],
  [
    "a Dynamic profile is supported",
    only21,
    [{ profile: dynamic, ...able({ features: ["LimitAtSoC"] }) }],
    [{ profile: dynamic, ...able({ features: ["DynamicProfiles"] }) }],
  ],
  [
    "a Dynamic profile has one period",
    only21,
    [{ profile: dynamic, periods: [0, 60].map((startPeriod) => ({ startPeriod, limit: 8 })) }],
    [{ profile: dynamic }],
  ],
  [
    "only a Dynamic profile is updated",
    only21,
    [
      { profile: { dynUpdateInterval: 60 } },
      { profile: { dynUpdateTime: "2026-11-23T08:00:00Z" } },
      { profile: { ...dynamic, dynUpdateInterval: -1 } },
    ],
    [{ profile: { ...dynamic, dynUpdateInterval: 60 } }],
  ],
  [
    "useLocalTime is supported",
    only21,
    [{ schedule: { useLocalTime: true }, ...able({ features: [] }) }],
    [
      { schedule: { useLocalTime: true }, ...able({ features: ["UseLocalTime"] }) },
      { schedule: { useLocalTime: false }, ...able({ features: [] }) },
    ],
  ],
  [
    "randomizedDelay is supported and in its place",
    only21,
    [
      { schedule: { randomizedDelay: 60 }, ...able({ features: [] }) },
      { ...station(), schedule: { randomizedDelay: 60 } },
      { schedule: { randomizedDelay: -1 } },
    ],
    [{ schedule: { randomizedDelay: 60 }, ...able({ features: ["RandomizedDelay"] }) }],
  ],
  [
    "limitAtSoC is supported and a percentage",
    only21,
    [
      { schedule: { limitAtSoC: { soc: 80, limit: 8 } }, ...able({ features: [] }) },
      { schedule: { limitAtSoC: { soc: 101, limit: 8 } } },
    ],
    [{ schedule: { limitAtSoC: { soc: 100, limit: 8 } }, ...able({ features: ["LimitAtSoC"] }) }],
  ],
  [
    "evseSleep is supported",
    only21,
    [{ ...mode("Idle", { evseSleep: true }), ...able({ features: [] }) }],
    [{ ...mode("Idle", { evseSleep: true }), ...able({ features: ["EvseSleep"] }) }],
  ],
  [
    "maxOfflineDuration is supported",
    only21,
    [
      { profile: { maxOfflineDuration: 60 }, ...able({ features: [] }) },
      { profile: { maxOfflineDuration: -1 } },
    ],
    [{ profile: { maxOfflineDuration: 60 }, ...able({ features: ["MaxOfflineDuration"] }) }],
  ],
  [
    "prices are for a vehicle that asked",
    from201,
    [{ ...usual, schedule: { salesTariff: {} } }],
    [{ schedule: { salesTariff: {} } }],
  ],
];

describe("the rules", () => {
  it("are each tried below, one way and the other", () => {
    expect(CASES.map(([rule]) => rule)).toEqual(PROFILE_RULES.map(({ name }) => name));
  });

  it("have no finding in a sound profile", () => {
    for (const version of all) expect(validateProfile(...built(version, {})), version).toEqual([]);
  });

  describe.each(CASES)("%s", (name, versions, wrong, right) => {
    const rule = PROFILE_RULES.find((one) => one.name === name);

    it("is broken", () => {
      for (const version of versions) {
        for (const change of wrong) {
          const ofRule = validateProfile(...built(version, change)).filter((one) => one.rule === name);
          expect(ofRule.length, JSON.stringify([version, change])).toBeGreaterThan(0);
          expect(ofRule[0].reasonCode).toBe(rule?.reasonCode);
          expect(ofRule[0].requirement).toBe(rule?.requirement[version]);
        }
      }
    });

    it("is kept", () => {
      for (const version of versions) {
        for (const change of right)
          expect(validateProfile(...built(version, change)), JSON.stringify([version, change])).toEqual([]);
      }
    });
  });

  it("that later versions brought say nothing to earlier ones", () => {
    for (const { name, requirement } of PROFILE_RULES) {
      const [, versions] = CASES.find(([rule]) => rule === name) ?? [name, []];
      for (const version of versions) expect(requirement[version], `${name} in ${version}`).toBeDefined();
    }
  });
});

describe("the form of a profile", () => {
  it("is looked at first, and each wrong field is named", () => {
    const [profile] = built("2.1", { profile: { stackLevel: 0.5, colour: "red", id: undefined } });
    expect(
      validateProfile(profile, { version: "2.1", evseId: 1 }).map(
        ({ path, problem }) => `${path} ${problem}`,
      ),
    ).toEqual(["stackLevel is not a 32-bit integer", "colour is not known", "id is missing"]);
  });

  it.each([
    [{ period: { limit: null } }, "chargingSchedule[0].chargingSchedulePeriod[0].limit"],
    [{ period: { limit: "16" } }, "chargingSchedule[0].chargingSchedulePeriod[0].limit"],
    [{ schedule: { chargingRateUnit: "kW" } }, "chargingSchedule[0].chargingRateUnit"],
    [{ schedule: { startSchedule: "2026-02-30T08:00:00Z" } }, "chargingSchedule[0].startSchedule"],
    [{ schedule: { startSchedule: "tomorrow" } }, "chargingSchedule[0].startSchedule"],
    [{ schedule: { duration: 2 ** 31 } }, "chargingSchedule[0].duration"],
    [{ profile: { chargingSchedule: {} } }, "chargingSchedule"],
    [{ profile: { chargingSchedule: [] } }, "chargingSchedule"],
    [{ schedules: 4 }, "chargingSchedule"],
    [{ periods: [] }, "chargingSchedule[0].chargingSchedulePeriod"],
    [{ periods: [7 as never] }, "chargingSchedule[0].chargingSchedulePeriod[0]"],
    [{ schedule: { useLocalTime: "yes" } }, "chargingSchedule[0].useLocalTime"],
    [{ schedule: { salesTariff: 3 } }, "chargingSchedule[0].salesTariff"],
    [{ profile: { transactionId: 5 } }, "transactionId"],
  ] as [Change, string][])("%j", (change, path) => {
    const findings = validateProfile(...built("2.1", change));
    expect(findings.map((one) => one.path)).toEqual([path]);
    expect(findings[0].requirement).toBe("schema");
  });

  it("is an object", () => {
    for (const value of [null, undefined, 5, "profile", []])
      expect(validateProfile(value, { version: "2.0.1", evseId: 1 })[0].problem).toBe("is not an object");
    expect(misfitsOfRequest({ evseId: 1 }, "2.0.1")).toEqual([
      { path: "chargingProfile", problem: "is missing" },
    ]);
  });
});

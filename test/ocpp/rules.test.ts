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

const onPhase = (phaseToUse: number): Json => ({
  chargingSchedule: [
    {
      id: 1,
      startSchedule: "2026-11-23T08:00:00Z",
      chargingRateUnit: "A",
      chargingSchedulePeriod: [{ startPeriod: 0, limit: 16, numberPhases: 1, phaseToUse }],
    },
  ],
});
/** Beside a station's maximum on one phase. */
const capped = (evseId: number, phaseToUse: number, over: Json = {}): Partial<ProfileContext> =>
  beside(evseId, {
    ...onPhase(phaseToUse),
    id: 3,
    chargingProfilePurpose: "ChargingStationMaxProfile",
    transactionId: undefined,
    ...over,
  });

/** A tariff of so many hours, the last with `over`. */
const salesTariff = (count: number, over: Json = {}): Json => ({
  salesTariff: {
    id: 1,
    numEPriceLevels: 3,
    salesTariffEntry: Array.from({ length: count }, (_, hour) => ({
      relativeTimeInterval: { start: 3600 * hour },
      ePriceLevel: 1,
      ...(hour === count - 1 ? over : {}),
    })),
  },
});
const priceLevels = (count: number, over: Json): Json => ({
  priceLevelSchedule: {
    timeAnchor: "2026-11-23T08:00:00Z",
    priceScheduleId: 1,
    numberOfPriceLevels: 3,
    priceLevelScheduleEntries: Array.from({ length: count }, (_, n) => ({
      duration: 3600,
      priceLevel: 1,
      ...(n === count - 1 ? over : {}),
    })),
  },
});
const absolutePrices = (duration: number): Json => ({
  absolutePriceSchedule: {
    timeAnchor: "2026-11-23T08:00:00Z",
    priceScheduleID: 1,
    currency: "EUR",
    language: "en",
    priceAlgorithm: "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
    priceRuleStacks: [
      {
        duration,
        priceRule: [{ energyFee: { exponent: -2, value: 31 }, powerRangeStart: { exponent: 0, value: 0 } }],
      },
    ],
  },
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

/** For each rule the requirement that it stands for, what breaks it, and what is next to that and does not. */
const CASES: [
  rule: string,
  requirement: string,
  versions: OcppVersion[],
  wrong: Change[],
  right: Change[],
][] = [
  [
    "the EVSE is there",
    "1.6: 5.16; 2.x: K01.FR.28",
    all,
    [able({ evseIds: [2, 3] }), { context: { evseId: -1 } }],
    [able({ evseIds: [1] }), able({})],
  ],
  [
    "a station's maximum is for the station",
    "1.6: 3.13; 2.x: ChargingProfilePurposeEnumType",
    from201,
    [{ ...station(), context: { evseId: 1 } }],
    [station()],
  ],
  ["a TxProfile is for one EVSE", "1.6: 5.16; 2.x: K01.FR.16", all, [{ context: { evseId: 0 } }], [{}]],
  [
    "external constraints are not the CSMS's to set",
    "K01.FR.22",
    from201,
    [station({ chargingProfilePurpose: "ChargingStationExternalConstraints" })],
    [station()],
  ],
  [
    "an additional purpose is supported",
    "K01.FR.120",
    only21,
    [priority(able({ additionalPurposes: ["LocalGeneration"] }))],
    [priority(able({ additionalPurposes: ["PriorityCharging"] })), priority()],
  ],
  [
    "a TxProfile names its transaction",
    "K01.FR.03",
    from201,
    [{ profile: { transactionId: undefined } }],
    [{}],
  ],
  [
    "the transaction is known",
    "1.6: 5.16.2; 2.x: K01.FR.33",
    all,
    [{ context: { transaction: { transactionId: "77" } } }, { context: { transaction: null } }],
    [{}, { ...usual, context: { transaction: null } }],
  ],
  [
    "a vehicle's needs come before its schedule",
    "K15.FR.17",
    from201,
    [{ context: { transaction: { transactionId: "tx", isAwaitingNeeds: true } } }],
    [
      { context: needing({}) },
      { ...usual, context: { transaction: { transactionId: "tx", isAwaitingNeeds: true } } },
    ],
  ],
  [
    "only a TxProfile names a transaction",
    "1.6: 7.8; 2.x: ChargingProfileType.transactionId",
    all,
    [{ profile: { chargingProfilePurpose: "TxDefaultProfile" } }],
    [usual],
  ],
  [
    "a start brings a TxProfile without transaction",
    "1.6: 5.16.1; 2.x: K05.FR.02",
    all,
    [{ context: { isInStart: true } }, { ...usual, context: { isInStart: true } }],
    [{ profile: { transactionId: undefined }, context: { isInStart: true } }],
  ],
  [
    "the stack level is in range",
    "1.6: ChargeProfileMaxStackLevel; 2.x: SmartChargingCtrlr.ProfileStackLevel",
    all,
    [{ profile: { stackLevel: -1 } }, { profile: { stackLevel: 3 }, ...able({ maxStackLevel: 2 }) }],
    [{ profile: { stackLevel: 2 }, ...able({ maxStackLevel: 2 }) }, { profile: { stackLevel: 99 } }],
  ],
  [
    "the id is above those of external constraints",
    "K01.FR.80, FR.81",
    only21,
    [able({ maxExternalConstraintsId: 11 })],
    [able({ maxExternalConstraintsId: 10 })],
  ],
  [
    "no other profile has its place",
    "K01.FR.06",
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
    "K01.FR.39",
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
    "K01.FR.52, FR.53",
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
    "1.6: MaxChargingProfilesInstalled; 2.x: SmartChargingCtrlr.Entries[ChargingProfiles]",
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
    "1.6: 3.13; 2.x: K01.FR.38",
    from201,
    [{ ...station({ chargingProfileKind: "Relative" }), schedule: { startSchedule: undefined } }],
    [station()],
  ],
  [
    "recurrencyKind belongs to Recurring",
    "1.6: 7.8; 2.x: ChargingProfileType.recurrencyKind",
    all,
    [{ profile: { chargingProfileKind: "Recurring" } }, { profile: { recurrencyKind: "Daily" } }],
    [{ profile: { chargingProfileKind: "Recurring", recurrencyKind: "Weekly" } }],
  ],
  [
    "it is valid for some time",
    "1.6: 7.8; 2.x: K01.FR.36, FR.37",
    all,
    [
      { profile: { validFrom: "2026-11-23T09:00:00Z", validTo: "2026-11-23T09:00:00Z" } },
      { profile: { validFrom: "2026-11-23T09:00:00Z", validTo: "2026-11-23T09:30:00+01:00" } },
    ],
    [{ profile: { validFrom: "2026-11-23T09:00:00Z", validTo: "2026-11-23T09:00:01Z" } }],
  ],
  [
    "startSchedule is there where it counts",
    "1.6: 7.13; 2.x: K01.FR.40",
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
    "K01.FR.41",
    from201,
    [{ profile: { chargingProfileKind: "Relative" } }],
    [{ profile: { chargingProfileKind: "Relative" }, schedule: { startSchedule: undefined } }],
  ],
  [
    "a schedule lasts",
    "1.6: 7.13; 2.x: ChargingScheduleType.duration",
    all,
    [{ schedule: { duration: 0 } }, { schedule: { duration: -5 } }],
    [{ schedule: { duration: 1 } }],
  ],
  [
    "a schedule has a period",
    "1.6: 7.13; 2.x: ChargingScheduleType.chargingSchedulePeriod",
    ["1.6"],
    [{ periods: [] }],
    [{}],
  ],
  [
    "the first period starts at 0",
    "1.6: 7.14; 2.x: K01.FR.31",
    all,
    [{ period: { startPeriod: 60 } }, { period: { startPeriod: -60 } }],
    [{}],
  ],
  [
    "periods are in order",
    "1.6: 7.13; 2.x: K01.FR.35",
    all,
    [
      { periods: [0, 900, 900].map((startPeriod) => ({ startPeriod, limit: 8 })) },
      { periods: [0, 900, 600].map((startPeriod) => ({ startPeriod, limit: 8 })) },
    ],
    [{ periods: [0, 900, 901].map((startPeriod) => ({ startPeriod, limit: 8 })) }],
  ],
  [
    "there is one schedule but for ISO 15118",
    "K01.FR.34, K15.FR.07",
    from201,
    [{ schedules: 2 }, { ...usual, schedules: 2, context: needing({}) }],
    [{ schedules: 3, context: needing({}) }, { schedules: 1 }],
  ],
  [
    "the station takes as many periods",
    "1.6: ChargingScheduleMaxPeriods; 2.x: SmartChargingCtrlr.PeriodsPerSchedule",
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
    "K15.FR.07",
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
  [
    "the vehicle takes as many prices",
    "NotifyEVChargingNeedsRequest.maxScheduleTuples",
    from201,
    [{ schedule: salesTariff(3), context: needing({ maxScheduleTuples: 2 }) }],
    [
      { schedule: salesTariff(2), context: needing({ maxScheduleTuples: 2 }) },
      { schedule: salesTariff(3), context: needing({}) },
    ],
  ],
  [
    "dynamic control has one schedule",
    "K19",
    only21,
    [{ schedules: 2, context: needing({ isDynamic: true }) }],
    [{ context: needing({ isDynamic: true }) }, { schedules: 2, context: needing({}) }],
  ],
  [
    "the station knows the unit",
    "1.6: ChargingScheduleAllowedChargingRateUnit; 2.x: K01.FR.26",
    all,
    [able({ rateUnits: ["W"] })],
    [able({ rateUnits: ["W", "A"] })],
  ],
  [
    "a limit is not negative",
    "1.6: 7.14; 2.x: ChargingSchedulePeriodType.limit",
    all,
    [{ period: { limit: -1 } }],
    [{ period: { limit: 0 } }],
  ],
  [
    "numbers have no more decimals than chargers read",
    "1.6: 7.14; 2.0.1: ChargingSchedulePeriodType.limit; 2.1: Part 2, decimal",
    all,
    [{ period: { limit: 6.1234567 } }, { schedule: { minChargingRate: 6.1234567 } }],
    [{ period: { limit: 8.1 } }, { schedule: { minChargingRate: 6.1 } }],
  ],
  [
    "numberPhases is 1, 2 or 3",
    "1.6: 7.14; 2.x: ChargingSchedulePeriodType.numberPhases",
    all,
    [{ period: { numberPhases: 0 } }],
    [{ period: { numberPhases: 2 } }],
  ],
  [
    "the station can hold a vehicle to as many phases",
    "K01.FR.43",
    from201,
    [{ period: { numberPhases: 1 }, ...able({ phaseCounts: [2, 3] }) }],
    [{ period: { numberPhases: 2 }, ...able({ phaseCounts: [1, 3] }) }],
  ],
  [
    "DC has no phases",
    "K01.FR.44",
    only21,
    [able({ supply: "DC" })],
    [
      { period: { numberPhases: undefined }, ...able({ supply: "DC" }) },
      able({ supply: "DC", hasDcInputPhaseControl: true }),
    ],
  ],
  [
    "phaseToUse is for one phase",
    "K01.FR.19",
    from201,
    [{ period: { phaseToUse: 1 } }, { period: { phaseToUse: 4, numberPhases: 1 } }],
    [{ period: { phaseToUse: 3, numberPhases: 1 } }],
  ],
  [
    "the station can choose the phase",
    "K01.FR.20",
    from201,
    [{ period: { phaseToUse: 1, numberPhases: 1 }, ...able({ canChoosePhase: false }) }],
    [{ period: { phaseToUse: 1, numberPhases: 1 }, ...able({ canChoosePhase: true }) }],
  ],
  [
    "the phase is that of the profiles beside it",
    "K01.FR.141",
    only21,
    [
      { period: { phaseToUse: 3, numberPhases: 1 }, context: capped(0, 1) },
      { period: { phaseToUse: 2, numberPhases: 1 }, context: capped(0, 3) },
    ],
    [
      { period: { phaseToUse: 3, numberPhases: 1 }, context: capped(0, 3) },
      { period: { numberPhases: 1 }, context: capped(0, 1) },
      // Of another level of the same purpose only one is in force.
      {
        period: { phaseToUse: 3, numberPhases: 1 },
        context: beside(1, { ...onPhase(1), id: 12, stackLevel: 4 }),
      },
      {
        profile: { validFrom: "2026-11-24T00:00:00Z" },
        period: { phaseToUse: 3, numberPhases: 1 },
        context: capped(0, 1, { validTo: "2026-11-24T00:00:00Z" }),
      },
    ],
  ],
  [
    "each phase has a limit only where the vehicle told its own",
    "K01.FR.142 to FR.146, V2X.07 to V2X.10",
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
    "Table of operation modes: ChargingOnly",
    only21,
    [{ period: { limit: undefined } }, mode("ChargingOnly")],
    [mode("ExternalLimits"), { profile: dynamic, period: { limit: undefined } }],
  ],
  [
    "a central setpoint stands alone",
    "Q03.FR.02",
    only21,
    [mode("CentralSetpoint"), mode("CentralSetpoint", { setpoint: 5, limit: 10 })],
    [mode("CentralSetpoint", { setpoint: -5 })],
  ],
  [
    "frequency support has a setpoint",
    "Q07",
    only21,
    [mode("CentralFrequency")],
    [mode("CentralFrequency", { setpoint: 5, limit: 10 })],
  ],
  [
    "local frequency support has a curve and no limits",
    "Q08",
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
    "Q10.FR.01",
    only21,
    [mode("Idle", { limit: 0 }), mode("Idle", { setpoint: 0 }), { period: { evseSleep: true } }],
    [mode("Idle"), mode("Idle", { evseSleep: true })],
  ],
  [
    "only modes with a setpoint have one",
    "Table of operation modes",
    only21,
    [{ period: { setpoint: 5 } }, { period: { dischargeLimit: -5 } }],
    [mode("ExternalSetpoint", { limit: 5, dischargeLimit: -5 })],
  ],
  [
    "what is discharged is negative, and the setpoint within the limits",
    "ChargingSchedulePeriodType.dischargeLimit, K08.FR.08",
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
    "K01.FR.111 to FR.114",
    only21,
    [{ ...station(), ...mode("Idle") }, priority(mode("CentralSetpoint", { setpoint: 3 }))],
    [{ ...station({ chargingProfilePurpose: "LocalGeneration" }), ...mode("ExternalLimits") }, mode("Idle")],
  ],
  [
    "the station knows the mode",
    "K01.FR.115",
    only21,
    [{ ...mode("Idle"), ...able({ operationModes: ["CentralSetpoint"] }) }],
    [{ ...mode("Idle"), ...able({ operationModes: ["Idle"] }) }, able({ operationModes: [] })],
  ],
  [
    "a vehicle that did not ask to discharge only charges",
    "Q02.FR.01",
    only21,
    [{ ...mode("CentralSetpoint", { setpoint: -3 }), context: needing({ isBidirectional: false }) }],
    [
      { ...mode("CentralSetpoint", { setpoint: -3 }), context: needing({ isBidirectional: true }) },
      { ...mode("Idle"), context: needing({ isBidirectional: false }) },
    ],
  ],
  [
    "priority charging has no duration",
    "K01.FR.70",
    only21,
    [priority({ schedule: { duration: 60 } })],
    [priority()],
  ],
  [
    "a Dynamic profile is supported",
    "K01.FR.121",
    only21,
    [{ profile: dynamic, ...able({ features: ["LimitAtSoC"] }) }],
    [{ profile: dynamic, ...able({ features: ["DynamicProfiles"] }) }],
  ],
  [
    "a Dynamic profile has one period",
    "K28.FR.01 to FR.03",
    only21,
    [{ profile: dynamic, periods: [0, 60].map((startPeriod) => ({ startPeriod, limit: 8 })) }],
    [{ profile: dynamic }],
  ],
  [
    "only a Dynamic profile is updated",
    "K01.FR.122",
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
    "K01.FR.123",
    only21,
    [{ schedule: { useLocalTime: true }, ...able({ features: [] }) }],
    [
      { schedule: { useLocalTime: true }, ...able({ features: ["UseLocalTime"] }) },
      { schedule: { useLocalTime: false }, ...able({ features: [] }) },
    ],
  ],
  [
    "randomizedDelay is supported and in its place",
    "K01.FR.95, FR.124",
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
    "K01.FR.125",
    only21,
    [
      { schedule: { limitAtSoC: { soc: 80, limit: 8 } }, ...able({ features: [] }) },
      { schedule: { limitAtSoC: { soc: 101, limit: 8 } } },
    ],
    [{ schedule: { limitAtSoC: { soc: 100, limit: 8 } }, ...able({ features: ["LimitAtSoC"] }) }],
  ],
  [
    "evseSleep is supported",
    "K01.FR.126",
    only21,
    [{ ...mode("Idle", { evseSleep: true }), ...able({ features: [] }) }],
    [{ ...mode("Idle", { evseSleep: true }), ...able({ features: ["EvseSleep"] }) }],
  ],
  [
    "maxOfflineDuration is supported",
    "K01.FR.101, SmartChargingCtrlr.SupportsMaxOfflineDuration",
    only21,
    [
      { profile: { maxOfflineDuration: 60 }, ...able({ features: [] }) },
      { profile: { maxOfflineDuration: -1 } },
    ],
    [{ profile: { maxOfflineDuration: 60 }, ...able({ features: ["MaxOfflineDuration"] }) }],
  ],
  [
    "prices are for a vehicle that asked",
    "ChargingScheduleType.salesTariff",
    from201,
    [
      { ...usual, schedule: salesTariff(1) },
      { schedule: salesTariff(1), context: needing({ standard: "ISO 15118-20" }) },
    ],
    [
      { schedule: salesTariff(1) },
      { schedule: salesTariff(1), context: needing({ standard: "ISO 15118-2" }) },
    ],
  ],
  [
    "a sales tariff's entries are in order, its levels in range",
    "SalesTariffType, SalesTariffEntryType",
    from201,
    [
      { schedule: salesTariff(2, { relativeTimeInterval: { start: 0 } }) },
      { schedule: salesTariff(1, { ePriceLevel: 4 }) },
    ],
    [{ schedule: salesTariff(2, { ePriceLevel: 3 }) }],
  ],
  [
    "prices last, and their levels are in range",
    "PriceRuleStackType, PriceLevelScheduleEntryType",
    only21,
    [
      { schedule: priceLevels(2, { duration: 0 }) },
      { schedule: priceLevels(1, { priceLevel: 4 }) },
      { schedule: absolutePrices(0) },
    ],
    [{ schedule: priceLevels(2, { priceLevel: 3 }) }, { schedule: absolutePrices(1) }],
  ],
];

/** Where versions have it under different names: 1.6: 5.16; 2.x: K01.FR.28. */
function written(requirement: Partial<Record<OcppVersion, string>>): string {
  const versions = Object.entries(requirement);
  const names = [...new Set(versions.map(([, name]) => name))];
  if (names.length === 1) return names[0];
  return names
    .map((name) => {
      const having = versions.filter(([, other]) => other === name).map(([version]) => version);
      return `${having.length > 1 ? "2.x" : having[0]}: ${name}`;
    })
    .join("; ");
}

describe("the rules", () => {
  it("are each tried below, one way and the other", () => {
    expect(CASES.map(([rule, requirement]) => [rule, requirement])).toEqual(
      PROFILE_RULES.map(({ name, requirement }) => [name, written(requirement)]),
    );
  });

  it("have no finding in a sound profile", () => {
    for (const version of all) expect(validateProfile(...built(version, {})), version).toEqual([]);
  });

  describe.each(CASES)("%s (%s)", (name, _, versions, wrong, right) => {
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
      const [, , versions] = CASES.find(([rule]) => rule === name) ?? [name, "", []];
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
    [
      { schedule: salesTariff(1, { ePriceLevel: -1 }) },
      "chargingSchedule[0].salesTariff.salesTariffEntry[0].ePriceLevel",
    ],
    [{ schedule: priceLevels(101, {}) }, "chargingSchedule[0].priceLevelSchedule.priceLevelScheduleEntries"],
    [{ profile: { transactionId: "x".repeat(37) } }, "transactionId"],
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

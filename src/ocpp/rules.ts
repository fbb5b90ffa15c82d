import type { OcppVersion, RateUnit } from "../domain/problem.ts";
import { type Misfit, misfitsOfProfile } from "./shape.ts";
import {
  type InstalledProfile,
  inNamesOf2x,
  type ProfilePurpose,
  timeOf,
  type WireOperationMode,
  type WirePeriod,
  type WireProfile,
  type WireProfile2x,
  type WireSchedule,
} from "./wire.ts";

/** OCPP's reason codes for a rejected profile; 1.6 has none on the wire. */
export type ReasonCode =
  | "DuplicateProfile"
  | "InvalidMessageSeq"
  | "InvalidOperationMode"
  | "InvalidProfile"
  | "InvalidProfileId"
  | "InvalidSchedule"
  | "InvalidStackLevel"
  | "NoFreqWattCurve"
  | "NoPhaseForDC"
  | "PhaseConflict"
  | "TooManyElements"
  | "TxNotFound"
  | "UnknownEvse"
  | "UnsupportedKind"
  | "UnsupportedPurpose"
  | "UnsupportedRateUnit";

/** Why a charging profile is not as the standard wants it. */
export interface Finding {
  rule: string;
  /** Of the field in the profile: chargingSchedule[0].duration. Empty: the profile as a whole. */
  path: string;
  problem: string;
  reasonCode: ReasonCode;
  /** Number of the requirement, or the data type or variable whose text says so; of 1.6 the section. */
  requirement: string;
}

/** What a charging station says of itself. What is absent is not known, and not looked at. */
export interface ChargerCapabilities {
  evseIds?: readonly number[];
  /** ChargeProfileMaxStackLevel, SmartChargingCtrlr.ProfileStackLevel. */
  maxStackLevel?: number;
  rateUnits?: readonly RateUnit[];
  /** ChargingScheduleMaxPeriods, SmartChargingCtrlr.PeriodsPerSchedule. */
  maxPeriods?: number;
  /** MaxChargingProfilesInstalled, SmartChargingCtrlr.Entries[ChargingProfiles]. */
  maxProfiles?: number;
  supply?: "AC" | "DC";
  /** Numbers of phases that it can hold a vehicle to. */
  phaseCounts?: readonly number[];
  /** ACPhaseSwitchingSupported: it can choose the phase of a vehicle on one. */
  canChoosePhase?: boolean;
  /** EVSE.DCInputPhaseControl. */
  hasDcInputPhaseControl?: boolean;
  /** SmartChargingCtrlr.MaxExternalConstraintsId. */
  maxExternalConstraintsId?: number;
  /** SmartChargingCtrlr.SupportedAdditionalPurposes. */
  additionalPurposes?: readonly ProfilePurpose[];
  /** SmartChargingCtrlr.SupportsFeature. */
  features?: readonly ChargerFeature[];
  /** V2XChargingCtrlr.SupportedOperationModes. */
  operationModes?: readonly WireOperationMode[];
}

export type ChargerFeature =
  | "DynamicProfiles"
  | "MaxOfflineDuration"
  | "UseLocalTime"
  | "RandomizedDelay"
  | "LimitAtSoC"
  | "EvseSleep";

/** The transaction at the EVSE that a profile is for. */
export interface ProfileTransaction {
  transactionId: string;
  /** An ISO 15118 session whose NotifyEVChargingNeeds has yet to come. */
  isAwaitingNeeds?: boolean;
  /** Of its NotifyEVChargingNeeds; absent: there was none, the session is not one of ISO 15118. */
  needs?: {
    /** Most entries that the vehicle takes in a schedule and in its prices. */
    maxScheduleTuples?: number;
    /** DynamicControl, in which schedule and prices share maxScheduleTuples. */
    isDynamic?: boolean;
    /** Which edition the vehicle speaks. */
    standard?: "ISO 15118-2" | "ISO 15118-20";
    /** maxChargePower_L2 or _L3 was in it. */
    hasPowerByPhase?: boolean;
    /** A bidirectional transfer was asked for: AC_BPT, DC_BPT or a variant. */
    isBidirectional?: boolean;
  };
}

export interface ProfileContext {
  version: OcppVersion;
  /** Where the profile goes: evseId, in 1.6 connectorId; 0 for the whole station. */
  evseId: number;
  capabilities?: ChargerCapabilities;
  installed?: readonly InstalledProfile[];
  /** null: there is none. Absent: not known. */
  transaction?: ProfileTransaction | null;
  /** The profile is part of RemoteStartTransaction or RequestStartTransaction. */
  isInStart?: boolean;
}

interface Placed {
  profile: WireProfile2x;
  context: ProfileContext;
  can: ChargerCapabilities;
}

type Found = readonly (readonly [path: string, problem: string])[];

interface Rule {
  name: string;
  /** Of each version that has it. */
  requirement: Partial<Record<OcppVersion, string>>;
  reasonCode: ReasonCode;
  find: (placed: Placed) => Found;
}

const all = (requirement16: string, requirement: string) => ({
  "1.6": requirement16,
  ...in2x(requirement),
});
const in2x = (requirement: string) => ({ "2.0.1": requirement, "2.1": requirement });
const in21 = (requirement: string) => ({ "2.1": requirement });

const NOTHING: Found = [];
const SCHEDULES = ["chargingSchedule[0]", "chargingSchedule[1]", "chargingSchedule[2]"];
const found = (isWrong: boolean, path: string, problem: string): Found =>
  isWrong ? [[path, problem]] : NOTHING;

const ofSchedules = ({ profile }: Placed, find: (schedule: WireSchedule, path: string) => Found): Found => {
  let all = NOTHING;
  for (let i = 0; i < profile.chargingSchedule.length; i++) {
    const inSchedule = find(profile.chargingSchedule[i], SCHEDULES[i]);
    if (inSchedule.length > 0) all = [...all, ...inSchedule];
  }
  return all;
};

/** `find` names fields from the period on: paths are written only where there is something to say. */
const ofPeriods = (
  placed: Placed,
  find: (period: WirePeriod, path: string, schedule: WireSchedule) => Found,
): Found =>
  ofSchedules(placed, (schedule, path) => {
    let all: (readonly [string, string])[] | undefined;
    const { chargingSchedulePeriod: periods } = schedule;
    for (let i = 0; i < periods.length; i++) {
      const inPeriod = find(periods[i], "", schedule);
      if (inPeriod.length === 0) continue;
      all ??= [];
      for (const [field, problem] of inPeriod)
        all.push([`${path}.chargingSchedulePeriod[${i}]${field}`, problem]);
    }
    return all ?? NOTHING;
  });

const lacks = ({ can }: Placed, feature: ChargerFeature): boolean =>
  can.features !== undefined && !can.features.includes(feature);

const purposeOf = ({ profile }: Placed): ProfilePurpose => profile.chargingProfilePurpose;

const VALUES = ["limit", "dischargeLimit", "setpoint", "setpointReactive"] as const;
const PHASED = VALUES.flatMap((name) => [`${name}_L2`, `${name}_L3`] as const);
const LIMITS = ["limit", "limit_L2", "limit_L3"] as const;
const ALL_VALUES = [...VALUES, ...PHASED];
const OF_PHASES = VALUES.flatMap((name) =>
  ([`${name}_L2`, `${name}_L3`] as const).map((phase) => ({ name, phase })),
);
const MODE_FREE = ["LocalFrequency", "Idle"];

/** Fields that are there though they should not be, or the other way round. */
const present = (
  period: WirePeriod,
  names: readonly (keyof WirePeriod)[],
  path: string,
  why: string,
): Found => names.flatMap((name) => found(period[name] !== undefined, `${path}.${name}`, why));

const modeOf = (period: WirePeriod): WireOperationMode => period.operationMode ?? "ChargingOnly";

function validity({ validFrom, validTo }: WireProfile2x): [number, number] {
  return [
    validFrom === undefined ? Number.NEGATIVE_INFINITY : timeOf(validFrom),
    validTo === undefined ? Number.POSITIVE_INFINITY : timeOf(validTo),
  ];
}

/** Another profile that would stand beside this one. */
function conflicting(
  { profile, context }: Placed,
  isRival: (other: WireProfile2x, evseId: number) => boolean,
  why: string,
): Found {
  const [from, to] = validity(profile);
  return (context.installed ?? []).flatMap((entry) => {
    const other = inNamesOf2x(entry.profile);
    const [otherFrom, otherTo] = validity(other);
    const isBeside = other.id !== profile.id && other.stackLevel === profile.stackLevel;
    const overlaps = from < otherTo && otherFrom < to;
    const isFound = isBeside && overlaps && isRival(other, entry.evseId);
    return found(
      isFound,
      "stackLevel",
      `${profile.stackLevel} is that of profile ${other.id} ${why}; use its id to replace it`,
    );
  });
}

function hasDecimals(value: unknown, digits: 1 | 6): boolean {
  if (typeof value !== "number") return false;
  const scale = digits === 1 ? 10 : 1e6;
  // A whole number of tenths over ten is the double next to the decimal that is written.
  return Math.round(value * scale) / scale !== value;
}

function decimalsIn(period: WirePeriod, digits: 1 | 6, path: string): Found {
  return Object.entries(period).flatMap(([name, value]) =>
    found(
      hasDecimals(value, digits),
      `${path}.${name}`,
      `${value} has more than ${digits} digits after the point`,
    ),
  );
}

/**
 * Every rule of the standard on a SetChargingProfile that the schemas don't hold. The requirements are those of
 * OCPP 2.0.1 edition 3 and 2.1 edition 1 with the errata of 2025-09, and sections of 1.6 edition 2.
 */
export const PROFILE_RULES: readonly Rule[] = [
  {
    name: "the EVSE is there",
    requirement: all("5.16", "K01.FR.28"),
    reasonCode: "UnknownEvse",
    find: ({ context: { evseId }, can: { evseIds } }) =>
      found(
        evseId < 0 || (evseId !== 0 && evseIds !== undefined && !evseIds.includes(evseId)),
        "",
        `is for EVSE ${evseId}, which the station does not have`,
      ),
  },
  {
    name: "a station's maximum is for the station",
    requirement: all("3.13", "ChargingProfilePurposeEnumType"),
    reasonCode: "InvalidProfile",
    find: (placed) =>
      found(
        placed.context.evseId !== 0 &&
          ["ChargingStationMaxProfile", "LocalGeneration"].includes(purposeOf(placed)),
        "chargingProfilePurpose",
        `${purposeOf(placed)} is only for the whole station; send it to 0`,
      ),
  },
  {
    name: "a TxProfile is for one EVSE",
    requirement: all("5.16", "K01.FR.16"),
    reasonCode: "InvalidProfile",
    find: (placed) =>
      found(
        purposeOf(placed) === "TxProfile" && placed.context.evseId === 0 && !placed.context.isInStart,
        "chargingProfilePurpose",
        "TxProfile is for one EVSE; send it to the transaction's",
      ),
  },
  {
    name: "external constraints are not the CSMS's to set",
    requirement: in2x("K01.FR.22"),
    reasonCode: "UnsupportedPurpose",
    find: (placed) =>
      found(
        purposeOf(placed) === "ChargingStationExternalConstraints",
        "chargingProfilePurpose",
        "ChargingStationExternalConstraints is only for systems beside the CSMS",
      ),
  },
  {
    name: "an additional purpose is supported",
    requirement: in21("K01.FR.120"),
    reasonCode: "UnsupportedPurpose",
    find: (placed) =>
      found(
        ["PriorityCharging", "LocalGeneration"].includes(purposeOf(placed)) &&
          placed.can.additionalPurposes?.includes(purposeOf(placed)) === false,
        "chargingProfilePurpose",
        `${purposeOf(placed)} is not in SupportedAdditionalPurposes`,
      ),
  },
  {
    name: "a TxProfile names its transaction",
    requirement: in2x("K01.FR.03"),
    reasonCode: "InvalidProfile",
    find: (placed) =>
      found(
        purposeOf(placed) === "TxProfile" && !placed.context.isInStart && !placed.profile.transactionId,
        "transactionId",
        "is missing in a TxProfile",
      ),
  },
  {
    name: "the transaction is known",
    requirement: all("5.16.2", "K01.FR.33"),
    reasonCode: "TxNotFound",
    find: ({ profile: { chargingProfilePurpose, transactionId }, context: { transaction, isInStart } }) => {
      if (chargingProfilePurpose !== "TxProfile" || transaction === undefined || isInStart) return NOTHING;
      if (transaction === null)
        return found(true, "chargingProfilePurpose", "TxProfile, but there is no transaction");
      return found(
        transactionId !== undefined && transactionId !== transaction.transactionId,
        "transactionId",
        `is ${transactionId}, not ${transaction.transactionId}, the transaction at the EVSE`,
      );
    },
  },
  {
    name: "a vehicle's needs come before its schedule",
    requirement: in2x("K15.FR.17"),
    reasonCode: "InvalidMessageSeq",
    find: (placed) =>
      found(
        purposeOf(placed) === "TxProfile" && placed.context.transaction?.isAwaitingNeeds === true,
        "",
        "comes before NotifyEVChargingNeeds; send it again after that",
      ),
  },
  {
    name: "only a TxProfile names a transaction",
    requirement: all("7.8", "ChargingProfileType.transactionId"),
    reasonCode: "InvalidProfile",
    find: (placed) =>
      found(
        purposeOf(placed) !== "TxProfile" && placed.profile.transactionId !== undefined,
        "transactionId",
        `has no place in a ${purposeOf(placed)}`,
      ),
  },
  {
    name: "a start brings a TxProfile without transaction",
    requirement: all("5.16.1", "K05.FR.02"),
    reasonCode: "InvalidProfile",
    find: ({ profile, context: { isInStart } }) => [
      ...found(
        isInStart === true && profile.chargingProfilePurpose !== "TxProfile",
        "chargingProfilePurpose",
        "is not TxProfile in a start",
      ),
      ...found(
        isInStart === true && profile.transactionId !== undefined,
        "transactionId",
        "has no place in a start: the transaction has no id yet",
      ),
    ],
  },
  {
    name: "the stack level is in range",
    requirement: all("ChargeProfileMaxStackLevel", "SmartChargingCtrlr.ProfileStackLevel"),
    reasonCode: "InvalidStackLevel",
    find: ({ profile: { stackLevel }, can: { maxStackLevel = Number.POSITIVE_INFINITY } }) =>
      found(
        stackLevel < 0 || stackLevel > maxStackLevel,
        "stackLevel",
        `${stackLevel} is not from 0 to ${maxStackLevel}`,
      ),
  },
  {
    name: "the id is above those of external constraints",
    requirement: in21("K01.FR.80, FR.81"),
    reasonCode: "InvalidProfileId",
    find: ({ profile: { id }, can: { maxExternalConstraintsId: most } }) =>
      found(
        most !== undefined && id <= most,
        "id",
        `${id} is not above ${most}, the highest id that the station uses itself`,
      ),
  },
  {
    name: "no other profile has its place",
    requirement: in2x("K01.FR.06"),
    reasonCode: "DuplicateProfile",
    find: (placed) =>
      conflicting(
        placed,
        (other, evseId) =>
          purposeOf(placed) !== "TxProfile" &&
          other.chargingProfilePurpose === purposeOf(placed) &&
          evseId === placed.context.evseId,
        "at the same EVSE",
      ),
  },
  {
    name: "no other TxProfile has its level in the transaction",
    requirement: in2x("K01.FR.39"),
    reasonCode: "DuplicateProfile",
    find: (placed) =>
      conflicting(
        placed,
        (other) =>
          purposeOf(placed) === "TxProfile" &&
          other.chargingProfilePurpose === "TxProfile" &&
          other.transactionId === placed.profile.transactionId,
        "in the same transaction",
      ),
  },
  {
    name: "station and EVSE don't share a TxDefaultProfile's level",
    requirement: in2x("K01.FR.52, FR.53"),
    reasonCode: "DuplicateProfile",
    find: (placed) =>
      conflicting(
        placed,
        (other, evseId) =>
          purposeOf(placed) === "TxDefaultProfile" &&
          other.chargingProfilePurpose === "TxDefaultProfile" &&
          evseId !== placed.context.evseId &&
          (evseId === 0 || placed.context.evseId === 0),
        evseIdWord(placed.context.evseId),
      ),
  },
  {
    name: "there is room for one more profile",
    requirement: all("MaxChargingProfilesInstalled", "SmartChargingCtrlr.Entries[ChargingProfiles]"),
    reasonCode: "TooManyElements",
    find: ({ profile, context: { installed = [] }, can: { maxProfiles = Number.POSITIVE_INFINITY } }) =>
      found(
        installed.length >= maxProfiles &&
          !installed.some((entry) => inNamesOf2x(entry.profile).id === profile.id),
        "",
        `is one more than the ${maxProfiles} that the station keeps; replace one by its id`,
      ),
  },
  {
    name: "a station's maximum is not Relative",
    requirement: all("3.13", "K01.FR.38"),
    reasonCode: "InvalidProfile",
    find: (placed) =>
      found(
        purposeOf(placed) === "ChargingStationMaxProfile" &&
          placed.profile.chargingProfileKind === "Relative",
        "chargingProfileKind",
        "Relative has no start without a transaction",
      ),
  },
  {
    name: "recurrencyKind belongs to Recurring",
    requirement: all("7.8", "ChargingProfileType.recurrencyKind"),
    reasonCode: "InvalidProfile",
    find: ({ profile: { chargingProfileKind, recurrencyKind } }) =>
      found(
        (chargingProfileKind === "Recurring") !== (recurrencyKind !== undefined),
        "recurrencyKind",
        chargingProfileKind === "Recurring"
          ? "is missing"
          : `has no place in a profile that is ${chargingProfileKind}`,
      ),
  },
  {
    name: "it is valid for some time",
    requirement: all("7.8", "K01.FR.36, FR.37"),
    reasonCode: "InvalidProfile",
    find: ({ profile }) => {
      const [from, to] = validity(profile);
      return found(from >= to, "validTo", "is not after validFrom");
    },
  },
  {
    name: "startSchedule is there where it counts",
    requirement: all("7.13", "K01.FR.40"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ startSchedule }, path) =>
        found(
          ["Absolute", "Recurring"].includes(placed.profile.chargingProfileKind) &&
            startSchedule === undefined,
          `${path}.startSchedule`,
          `is missing in a profile that is ${placed.profile.chargingProfileKind}`,
        ),
      ),
  },
  {
    name: "a Relative schedule has no startSchedule",
    requirement: in2x("K01.FR.41"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ startSchedule }, path) =>
        found(
          placed.profile.chargingProfileKind === "Relative" && startSchedule !== undefined,
          `${path}.startSchedule`,
          "has no place in a Relative profile",
        ),
      ),
  },
  {
    name: "a schedule lasts",
    requirement: all("7.13", "ChargingScheduleType.duration"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ duration }, path) =>
        found(duration !== undefined && duration <= 0, `${path}.duration`, `${duration} s is no time`),
      ),
  },
  {
    name: "a schedule has a period",
    requirement: all("7.13", "ChargingScheduleType.chargingSchedulePeriod"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ chargingSchedulePeriod }, path) =>
        found(chargingSchedulePeriod.length === 0, `${path}.chargingSchedulePeriod`, "is empty"),
      ),
  },
  {
    name: "the first period starts at 0",
    requirement: all("7.14", "K01.FR.31"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ chargingSchedulePeriod: [first] }, path) =>
        found(
          first !== undefined && first.startPeriod !== 0,
          `${path}.chargingSchedulePeriod[0].startPeriod`,
          "is not 0 in the first period; put one before it",
        ),
      ),
  },
  {
    name: "periods are in order",
    requirement: all("7.13", "K01.FR.35"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ chargingSchedulePeriod: periods }, path) =>
        periods.flatMap(({ startPeriod }, i) =>
          i === 0 || startPeriod > periods[i - 1].startPeriod
            ? NOTHING
            : found(
                true,
                `${path}.chargingSchedulePeriod[${i}].startPeriod`,
                `${startPeriod} is not after the one before it`,
              ),
        ),
      ),
  },
  {
    name: "there is one schedule but for ISO 15118",
    requirement: in2x("K01.FR.34, K15.FR.07"),
    reasonCode: "InvalidSchedule",
    find: ({ profile, context: { transaction, isInStart } }) => {
      const { length } = profile.chargingSchedule;
      const mayChoose =
        profile.chargingProfilePurpose === "TxProfile" &&
        isInStart !== true &&
        (transaction === undefined || transaction?.needs !== undefined);
      return found(
        length < 1 || length > (mayChoose ? 3 : 1),
        "chargingSchedule",
        `has ${length} schedules, ${mayChoose ? "not 1 to 3" : "and only a TxProfile after NotifyEVChargingNeeds may have more than one"}`,
      );
    },
  },
  {
    name: "the station takes as many periods",
    requirement: all("ChargingScheduleMaxPeriods", "SmartChargingCtrlr.PeriodsPerSchedule"),
    reasonCode: "TooManyElements",
    find: (placed) => tooMany(placed, placed.can.maxPeriods, "the station takes"),
  },
  {
    name: "the vehicle takes as many periods",
    requirement: in2x("K15.FR.07"),
    reasonCode: "TooManyElements",
    find: (placed) =>
      purposeOf(placed) === "TxProfile"
        ? tooMany(placed, placed.context.transaction?.needs?.maxScheduleTuples, "the vehicle takes")
        : NOTHING,
  },
  {
    name: "the vehicle takes as many prices",
    requirement: in2x("NotifyEVChargingNeedsRequest.maxScheduleTuples"),
    reasonCode: "TooManyElements",
    find: (placed) => {
      const { maxScheduleTuples: most = Number.POSITIVE_INFINITY, isDynamic } =
        placed.context.transaction?.needs ?? {};
      return ofSchedules(placed, (schedule, path) =>
        PRICES.flatMap((name) => {
          const prices = schedule[name] === undefined ? 0 : entriesOf(schedule, name);
          const beside = isDynamic === true ? schedule.chargingSchedulePeriod.length : 0;
          return found(
            prices > 0 && prices + beside > most,
            `${path}.${name}`,
            `has ${prices} entries${beside > 0 ? ` beside ${beside} periods` : ""}, and the vehicle takes ${most}`,
          );
        }),
      );
    },
  },
  {
    name: "dynamic control has one schedule",
    requirement: in21("K19"),
    reasonCode: "InvalidSchedule",
    find: ({ profile: { chargingProfilePurpose, chargingSchedule }, context: { transaction } }) =>
      found(
        chargingProfilePurpose === "TxProfile" &&
          transaction?.needs?.isDynamic === true &&
          chargingSchedule.length !== 1,
        "chargingSchedule",
        `has ${chargingSchedule.length} schedules, and DynamicControl takes one`,
      ),
  },
  {
    name: "the station knows the unit",
    requirement: all("ChargingScheduleAllowedChargingRateUnit", "K01.FR.26"),
    reasonCode: "UnsupportedRateUnit",
    find: (placed) =>
      ofSchedules(placed, ({ chargingRateUnit }, path) =>
        found(
          placed.can.rateUnits?.includes(chargingRateUnit) === false,
          `${path}.chargingRateUnit`,
          `${chargingRateUnit} is not one of the station's: ${placed.can.rateUnits?.join(", ")}`,
        ),
      ),
  },
  {
    name: "a limit is not negative",
    requirement: all("7.14", "ChargingSchedulePeriodType.limit"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, (period, path) => {
        const { limit = 0, limit_L2 = 0, limit_L3 = 0 } = period;
        if (limit >= 0 && limit_L2 >= 0 && limit_L3 >= 0) return NOTHING;
        return LIMITS.flatMap((name) =>
          found((period[name] ?? 0) < 0, `${path}.${name}`, `${period[name]} is negative`),
        );
      }),
  },
  {
    name: "numbers have no more decimals than chargers read",
    requirement: {
      "1.6": "7.14",
      "2.0.1": "ChargingSchedulePeriodType.limit",
      "2.1": "Part 2, decimal",
    },
    reasonCode: "InvalidSchedule",
    find: (placed) => {
      const digits = placed.context.version === "2.1" ? 6 : 1;
      return [
        ...ofPeriods(placed, (period, path) => {
          for (const value of Object.values(period)) {
            if (hasDecimals(value, digits)) return decimalsIn(period, digits, path);
          }
          return NOTHING;
        }),
        ...ofSchedules(placed, ({ minChargingRate }, path) =>
          found(
            hasDecimals(minChargingRate, digits),
            `${path}.minChargingRate`,
            `${minChargingRate} has more than ${digits} digits after the point`,
          ),
        ),
      ];
    },
  },
  {
    name: "numberPhases is 1, 2 or 3",
    requirement: all("7.14", "ChargingSchedulePeriodType.numberPhases"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, ({ numberPhases }, path) =>
        numberPhases === undefined || [1, 2, 3].includes(numberPhases)
          ? NOTHING
          : found(true, `${path}.numberPhases`, `${numberPhases} is not 1, 2 or 3`),
      ),
  },
  {
    name: "the station can hold a vehicle to as many phases",
    requirement: in2x("K01.FR.43"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      placed.can.supply === "DC" || placed.can.phaseCounts === undefined
        ? NOTHING
        : ofPeriods(placed, ({ numberPhases = 3 }, path) =>
            found(
              // Fewer than asked for are within the limit (K01.FR.45).
              !placed.can.phaseCounts?.some((count) => count <= numberPhases),
              `${path}.numberPhases`,
              `the station can't hold a vehicle to ${numberPhases}, only to ${placed.can.phaseCounts?.join(", ")}`,
            ),
          ),
  },
  {
    name: "DC has no phases",
    requirement: in21("K01.FR.44"),
    reasonCode: "NoPhaseForDC",
    find: (placed) =>
      placed.can.supply !== "DC" || placed.can.hasDcInputPhaseControl === true
        ? NOTHING
        : ofPeriods(placed, (period, path) =>
            present(period, ["numberPhases", "phaseToUse"], path, "has no place on DC"),
          ),
  },
  {
    name: "phaseToUse is for one phase",
    requirement: in2x("K01.FR.19"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, ({ phaseToUse, numberPhases }, path) =>
        phaseToUse === undefined
          ? NOTHING
          : [
              ...found(numberPhases !== 1, `${path}.phaseToUse`, "needs numberPhases 1"),
              ...found(
                ![1, 2, 3].includes(phaseToUse),
                `${path}.phaseToUse`,
                `${phaseToUse} is not 1, 2 or 3`,
              ),
            ],
      ),
  },
  {
    name: "the station can choose the phase",
    requirement: in2x("K01.FR.20"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      placed.can.canChoosePhase !== false
        ? NOTHING
        : ofPeriods(placed, (period, path) =>
            present(period, ["phaseToUse"], path, "needs a station with ACPhaseSwitchingSupported"),
          ),
  },
  {
    name: "the phase is that of the profiles beside it",
    requirement: in21("K01.FR.141"),
    reasonCode: "PhaseConflict",
    find: (placed) => {
      const others = besides(placed).flatMap(({ chargingSchedule }) =>
        chargingSchedule.flatMap(({ chargingSchedulePeriod }) =>
          chargingSchedulePeriod.flatMap(({ phaseToUse }) => phaseToUse ?? []),
        ),
      );
      return ofPeriods(placed, ({ phaseToUse }, path) => {
        const other = phaseToUse === undefined ? undefined : others.find((phase) => phase !== phaseToUse);
        return found(
          other !== undefined,
          `${path}.phaseToUse`,
          `${phaseToUse} is not ${other}, that of a profile that holds beside it`,
        );
      });
    },
  },
  {
    name: "each phase has a limit only where the vehicle told its own",
    requirement: in21("K01.FR.142 to FR.146, V2X.07 to V2X.10"),
    reasonCode: "PhaseConflict",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        phasedIn(period).flatMap(({ name, phase }) => {
          const { transaction } = placed.context;
          const isTold = transaction === undefined || transaction?.needs?.hasPowerByPhase === true;
          return [
            ...found(purposeOf(placed) !== "TxProfile", `${path}.${phase}`, "is only for a TxProfile"),
            ...found(period[name] === undefined, `${path}.${phase}`, `needs ${name}, that of L1`),
            ...found(!isTold, `${path}.${phase}`, "needs a vehicle that told its power on L2 and L3"),
          ];
        }),
      ),
  },
  {
    name: "charging has a limit",
    requirement: in21("Table of operation modes: ChargingOnly"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      placed.profile.chargingProfileKind === "Dynamic"
        ? NOTHING
        : ofPeriods(placed, (period, path) =>
            found(
              modeOf(period) === "ChargingOnly" && period.limit === undefined,
              `${path}.limit`,
              "is missing in ChargingOnly",
            ),
          ),
  },
  {
    name: "a central setpoint stands alone",
    requirement: in21("Q03.FR.02"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        modeOf(period) === "CentralSetpoint"
          ? [
              ...found(period.setpoint === undefined, `${path}.setpoint`, "is missing in CentralSetpoint"),
              ...present(
                period,
                ["limit", "dischargeLimit"],
                path,
                "has no place beside a setpoint of the CSMS",
              ),
            ]
          : NOTHING,
      ),
  },
  {
    name: "frequency support has a setpoint",
    requirement: in21("Q07"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        found(
          modeOf(period) === "CentralFrequency" && period.setpoint === undefined,
          `${path}.setpoint`,
          "is missing in CentralFrequency",
        ),
      ),
  },
  {
    name: "local frequency support has a curve and no limits",
    requirement: in21("Q08"),
    reasonCode: "NoFreqWattCurve",
    find: (placed) =>
      ofPeriods(placed, (period, path, { chargingRateUnit }) =>
        modeOf(period) === "LocalFrequency"
          ? [
              ...found(
                period.v2xBaseline === undefined,
                `${path}.v2xBaseline`,
                "is missing in LocalFrequency",
              ),
              ...found(
                (period.v2xFreqWattCurve?.length ?? 0) < 2,
                `${path}.v2xFreqWattCurve`,
                "has not at least two points",
              ),
              ...found(
                chargingRateUnit !== "W",
                `${path}.operationMode`,
                "LocalFrequency needs chargingRateUnit W",
              ),
              ...present(period, VALUES, path, "has no place in LocalFrequency"),
            ]
          : present(
              period,
              ["v2xBaseline", "v2xFreqWattCurve", "v2xSignalWattCurve"],
              path,
              "is only for LocalFrequency",
            ),
      ),
  },
  {
    name: "Idle has neither limit nor setpoint",
    requirement: in21("Q10.FR.01"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        modeOf(period) === "Idle"
          ? present(period, ALL_VALUES, path, "has no place in Idle")
          : present(period, ["evseSleep", "preconditioningRequest"], path, "is only for Idle"),
      ),
  },
  {
    name: "only modes with a setpoint have one",
    requirement: in21("Table of operation modes"),
    reasonCode: "InvalidOperationMode",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        modeOf(period) === "ChargingOnly"
          ? present(period, ["setpoint", "dischargeLimit"], path, "has no place in ChargingOnly")
          : NOTHING,
      ),
  },
  {
    name: "what is discharged is negative, and the setpoint within the limits",
    requirement: in21("ChargingSchedulePeriodType.dischargeLimit, K08.FR.08"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, (period, path) => {
        const {
          limit = Number.POSITIVE_INFINITY,
          dischargeLimit = Number.NEGATIVE_INFINITY,
          setpoint,
        } = period;
        const discharged = ["dischargeLimit", "dischargeLimit_L2", "dischargeLimit_L3"] as const;
        return [
          ...discharged.flatMap((name) =>
            found((period[name] ?? 0) > 0, `${path}.${name}`, `${period[name]} is positive`),
          ),
          ...found(
            setpoint !== undefined &&
              !MODE_FREE.includes(modeOf(period)) &&
              (setpoint > limit || setpoint < dischargeLimit),
            `${path}.setpoint`,
            `${setpoint} is not from ${dischargeLimit} to ${limit}`,
          ),
        ];
      }),
  },
  {
    name: "the purpose allows the mode",
    requirement: in21("K01.FR.111 to FR.114"),
    reasonCode: "InvalidOperationMode",
    find: (placed) => {
      const allowed = MODES_OF[purposeOf(placed)];
      return ofPeriods(placed, (period, path) =>
        found(
          allowed !== undefined && !allowed.includes(modeOf(period)),
          `${path}.operationMode`,
          `${modeOf(period)} has no place in a ${purposeOf(placed)}`,
        ),
      );
    },
  },
  {
    name: "the station knows the mode",
    requirement: in21("K01.FR.115"),
    reasonCode: "InvalidOperationMode",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        found(
          modeOf(period) !== "ChargingOnly" && placed.can.operationModes?.includes(modeOf(period)) === false,
          `${path}.operationMode`,
          `${modeOf(period)} is not in SupportedOperationModes`,
        ),
      ),
  },
  {
    name: "a vehicle that did not ask to discharge only charges",
    requirement: in21("Q02.FR.01"),
    reasonCode: "InvalidOperationMode",
    find: (placed) =>
      ofPeriods(placed, (period, path) =>
        found(
          purposeOf(placed) === "TxProfile" &&
            placed.context.transaction?.needs?.isBidirectional === false &&
            modeOf(period) !== "ChargingOnly" &&
            modeOf(period) !== "Idle",
          `${path}.operationMode`,
          `${modeOf(period)} needs a bidirectional transfer`,
        ),
      ),
  },
  {
    name: "priority charging has no duration",
    requirement: in21("K01.FR.70"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ duration }, path) =>
        found(
          purposeOf(placed) === "PriorityCharging" && duration !== undefined,
          `${path}.duration`,
          "has no place in PriorityCharging, which lasts to the end of the transaction",
        ),
      ),
  },
  {
    name: "a Dynamic profile is supported",
    requirement: in21("K01.FR.121"),
    reasonCode: "UnsupportedKind",
    find: (placed) =>
      found(
        placed.profile.chargingProfileKind === "Dynamic" && lacks(placed, "DynamicProfiles"),
        "chargingProfileKind",
        "Dynamic needs a station with SupportsDynamicProfiles",
      ),
  },
  {
    name: "a Dynamic profile has one period",
    requirement: in21("K28.FR.01 to FR.03"),
    reasonCode: "InvalidSchedule",
    find: ({ profile }) =>
      found(
        profile.chargingProfileKind === "Dynamic" &&
          (profile.chargingSchedule.length !== 1 ||
            profile.chargingSchedule[0].chargingSchedulePeriod.length !== 1),
        "chargingSchedule",
        "has not exactly one period, as a Dynamic profile must",
      ),
  },
  {
    name: "only a Dynamic profile is updated",
    requirement: in21("K01.FR.122"),
    reasonCode: "InvalidProfile",
    find: ({ profile }) => {
      const why = "is only for a Dynamic profile";
      const isDynamic = profile.chargingProfileKind === "Dynamic";
      return [
        ...found(!isDynamic && profile.dynUpdateInterval !== undefined, "dynUpdateInterval", why),
        ...found(!isDynamic && profile.dynUpdateTime !== undefined, "dynUpdateTime", why),
        ...found((profile.dynUpdateInterval ?? 0) < 0, "dynUpdateInterval", "is negative"),
      ];
    },
  },
  {
    name: "useLocalTime is supported",
    requirement: in21("K01.FR.123"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ useLocalTime }, path) =>
        found(
          useLocalTime === true && lacks(placed, "UseLocalTime"),
          `${path}.useLocalTime`,
          "needs a station with SupportsUseLocalTime",
        ),
      ),
  },
  {
    name: "randomizedDelay is supported and in its place",
    requirement: in21("K01.FR.95, FR.124"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ randomizedDelay = 0 }, path) => [
        ...found(
          randomizedDelay > 0 && !["TxProfile", "TxDefaultProfile"].includes(purposeOf(placed)),
          `${path}.randomizedDelay`,
          `has no place in a ${purposeOf(placed)}`,
        ),
        ...found(
          randomizedDelay > 0 && lacks(placed, "RandomizedDelay"),
          `${path}.randomizedDelay`,
          "needs a station with SupportsRandomizedDelay",
        ),
        ...found(randomizedDelay < 0, `${path}.randomizedDelay`, "is negative"),
      ]),
  },
  {
    name: "limitAtSoC is supported and a percentage",
    requirement: in21("K01.FR.125"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ limitAtSoC }, path) =>
        limitAtSoC === undefined
          ? NOTHING
          : [
              ...found(
                lacks(placed, "LimitAtSoC"),
                `${path}.limitAtSoC`,
                "needs a station with SupportsLimitAtSoC",
              ),
              ...found(
                limitAtSoC.soc < 0 || limitAtSoC.soc > 100,
                `${path}.limitAtSoC.soc`,
                `${limitAtSoC.soc} is not from 0 to 100 %`,
              ),
            ],
      ),
  },
  {
    name: "evseSleep is supported",
    requirement: in21("K01.FR.126"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofPeriods(placed, ({ evseSleep }, path) =>
        found(
          evseSleep === true && lacks(placed, "EvseSleep"),
          `${path}.evseSleep`,
          "needs a station with SupportsEvseSleep",
        ),
      ),
  },
  {
    name: "maxOfflineDuration is supported",
    requirement: in21("K01.FR.101, SmartChargingCtrlr.SupportsMaxOfflineDuration"),
    reasonCode: "InvalidProfile",
    find: (placed) => {
      const { maxOfflineDuration } = placed.profile;
      return [
        ...found(
          maxOfflineDuration !== undefined && lacks(placed, "MaxOfflineDuration"),
          "maxOfflineDuration",
          "needs a station with SupportsMaxOfflineDuration",
        ),
        ...found((maxOfflineDuration ?? 0) < 0, "maxOfflineDuration", "is negative"),
      ];
    },
  },
  {
    name: "prices are for a vehicle that asked",
    requirement: in2x("ChargingScheduleType.salesTariff"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, (schedule, path) => {
        const priced = PRICES.filter((name) => schedule[name] !== undefined);
        const standard = placed.context.transaction?.needs?.standard;
        return priced.flatMap((name, i) => [
          ...found(purposeOf(placed) !== "TxProfile", `${path}.${name}`, "is only for a TxProfile"),
          ...found(i > 0, `${path}.${name}`, `has no place beside ${priced[0]}`),
          ...found(
            standard !== undefined && (standard === "ISO 15118-2") !== (name === "salesTariff"),
            `${path}.${name}`,
            `is not for a vehicle that speaks ${standard}`,
          ),
        ]);
      }),
  },
  {
    name: "a sales tariff's entries are in order, its levels in range",
    requirement: in2x("SalesTariffType, SalesTariffEntryType"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ salesTariff }, path) => {
        if (salesTariff === undefined) return NOTHING;
        const { salesTariffEntry: entries, numEPriceLevels: most = Number.POSITIVE_INFINITY } = salesTariff;
        return entries.flatMap(({ relativeTimeInterval: { start }, ePriceLevel = 0 }, i) => {
          const at = `${path}.salesTariff.salesTariffEntry[${i}]`;
          const after = i === 0 ? -1 : entries[i - 1].relativeTimeInterval.start;
          return [
            ...found(start <= after, `${at}.relativeTimeInterval.start`, `${start} is not after ${after}`),
            ...found(
              ePriceLevel > most,
              `${at}.ePriceLevel`,
              `${ePriceLevel} is above numEPriceLevels, ${most}`,
            ),
          ];
        });
      }),
  },
  {
    name: "prices last, and their levels are in range",
    requirement: in21("PriceRuleStackType, PriceLevelScheduleEntryType"),
    reasonCode: "InvalidSchedule",
    find: (placed) =>
      ofSchedules(placed, ({ absolutePriceSchedule, priceLevelSchedule }, path) => {
        const stacks = absolutePriceSchedule?.priceRuleStacks ?? [];
        const { priceLevelScheduleEntries: entries = [], numberOfPriceLevels: most = 0 } =
          priceLevelSchedule ?? {};
        return [
          ...lasting(stacks, `${path}.absolutePriceSchedule.priceRuleStacks`),
          ...lasting(entries, `${path}.priceLevelSchedule.priceLevelScheduleEntries`),
          ...entries.flatMap(({ priceLevel }, i) =>
            found(
              priceLevel > most,
              `${path}.priceLevelSchedule.priceLevelScheduleEntries[${i}].priceLevel`,
              `${priceLevel} is above numberOfPriceLevels, ${most}`,
            ),
          ),
        ];
      }),
  },
];

const MODES_OF: Partial<Record<ProfilePurpose, readonly WireOperationMode[]>> = {
  ChargingStationMaxProfile: ["ChargingOnly"],
  PriorityCharging: ["ChargingOnly"],
  LocalGeneration: ["ChargingOnly", "ExternalLimits"],
};

const PRICES = ["salesTariff", "absolutePriceSchedule", "priceLevelSchedule"] as const;

function entriesOf(
  { salesTariff, absolutePriceSchedule, priceLevelSchedule }: WireSchedule,
  name: (typeof PRICES)[number],
): number {
  switch (name) {
    case "salesTariff":
      return salesTariff?.salesTariffEntry.length ?? 0;
    case "absolutePriceSchedule":
      return absolutePriceSchedule?.priceRuleStacks.length ?? 0;
    case "priceLevelSchedule":
      return priceLevelSchedule?.priceLevelScheduleEntries.length ?? 0;
  }
}

const lasting = (entries: readonly { duration: number }[], path: string): Found =>
  entries.flatMap(({ duration }, i) =>
    found(duration <= 0, `${path}[${i}].duration`, `${duration} s is no time`),
  );

/** Purposes that cap what the others say. */
const CAPS: readonly ProfilePurpose[] = ["ChargingStationMaxProfile", "ChargingStationExternalConstraints"];

/** Installed profiles that may be in force at the EVSE together with this one: a cap and what it caps. */
function besides({ profile, context: { evseId, installed = [] } }: Placed): WireProfile2x[] {
  const [from, to] = validity(profile);
  return installed.flatMap((entry) => {
    const other = inNamesOf2x(entry.profile);
    const [otherFrom, otherTo] = validity(other);
    const isAtEvse = evseId === 0 || entry.evseId === 0 || entry.evseId === evseId;
    const isBeside =
      other.chargingProfilePurpose !== profile.chargingProfilePurpose &&
      (CAPS.includes(other.chargingProfilePurpose) || CAPS.includes(profile.chargingProfilePurpose));
    return isAtEvse && isBeside && other.id !== profile.id && from < otherTo && otherFrom < to ? [other] : [];
  });
}

function phasedIn(period: WirePeriod): readonly (typeof OF_PHASES)[number][] {
  for (const field in period) {
    if (field.endsWith("_L2") || field.endsWith("_L3"))
      return OF_PHASES.filter(({ phase }) => period[phase] !== undefined);
  }
  return [];
}

function evseIdWord(evseId: number): string {
  return evseId === 0 ? "at one EVSE" : "at the whole station";
}

function tooMany(placed: Placed, most: number | undefined, who: string): Found {
  if (most === undefined) return NOTHING;
  return ofSchedules(placed, ({ chargingSchedulePeriod: { length } }, path) =>
    found(length > most, `${path}.chargingSchedulePeriod`, `has ${length} periods, and ${who} ${most}`),
  );
}

const rulesOf = (version: OcppVersion) =>
  PROFILE_RULES.filter(({ requirement }) => requirement[version] !== undefined);
const RULES_OF = { "1.6": rulesOf("1.6"), "2.0.1": rulesOf("2.0.1"), "2.1": rulesOf("2.1") };

/**
 * What a standard-abiding charging station would have against a profile, of csChargingProfiles in 1.6 and
 * chargingProfile in 2.x; empty where it is fine. First its form, and where that is right every rule.
 */
export function validateProfile(profile: unknown, context: ProfileContext): Finding[] {
  const misfits = misfitsOfProfile(profile, context.version);
  if (misfits.length > 0) return misfits.map(asFinding);
  const placed = { profile: inNamesOf2x(profile as WireProfile), context, can: context.capabilities ?? {} };
  const findings: Finding[] = [];
  for (const { name, requirement, reasonCode, find } of RULES_OF[context.version]) {
    for (const [field, problem] of find(placed)) {
      const path =
        context.version === "1.6" ? field.replace("chargingSchedule[0]", "chargingSchedule") : field;
      findings.push({
        rule: name,
        path,
        problem,
        reasonCode,
        requirement: requirement[context.version] ?? "",
      });
    }
  }
  return findings;
}

function asFinding({ path, problem }: Misfit): Finding {
  const reasonCode = path.startsWith("chargingSchedule") ? "InvalidSchedule" : "InvalidProfile";
  return { rule: "the form is right", path, problem, reasonCode, requirement: "schema" };
}

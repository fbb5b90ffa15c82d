import type { RateUnit } from "../domain/problem.ts";

/**
 * OCPP's data types for smart charging, with the fields that bear on what a charger does, as they stand
 * on the wire. Times are RFC 3339 texts, durations seconds, limits A per phase or W in all (in W of L1 alone
 * where limit_L2 or limit_L3 is there too).
 */

export type ProfilePurpose =
  | "ChargingStationMaxProfile"
  | "ChargingStationExternalConstraints"
  | "TxDefaultProfile"
  | "TxProfile"
  | "PriorityCharging"
  | "LocalGeneration";

export type ProfileKind = "Absolute" | "Recurring" | "Relative" | "Dynamic";

export type WireOperationMode =
  | "Idle"
  | "ChargingOnly"
  | "CentralSetpoint"
  | "ExternalSetpoint"
  | "ExternalLimits"
  | "CentralFrequency"
  | "LocalFrequency"
  | "LocalLoadBalancing";

/** ChargingSchedulePeriodType; 1.6 has startPeriod, limit and numberPhases of it. */
export interface WirePeriod {
  startPeriod: number;
  limit?: number;
  limit_L2?: number;
  limit_L3?: number;
  numberPhases?: number;
  phaseToUse?: number;
  dischargeLimit?: number;
  dischargeLimit_L2?: number;
  dischargeLimit_L3?: number;
  setpoint?: number;
  setpoint_L2?: number;
  setpoint_L3?: number;
  setpointReactive?: number;
  setpointReactive_L2?: number;
  setpointReactive_L3?: number;
  operationMode?: WireOperationMode;
  preconditioningRequest?: boolean;
  evseSleep?: boolean;
  v2xBaseline?: number;
  v2xFreqWattCurve?: readonly { frequency: number; power: number }[];
  v2xSignalWattCurve?: readonly { signal: number; power: number }[];
}

/** ChargingScheduleType; that of 1.6 has no id. */
export interface WireSchedule {
  id?: number;
  startSchedule?: string;
  duration?: number;
  chargingRateUnit: RateUnit;
  chargingSchedulePeriod: readonly WirePeriod[];
  minChargingRate?: number;
  limitAtSoC?: { soc: number; limit: number };
  useLocalTime?: boolean;
  randomizedDelay?: number;
  salesTariff?: SalesTariff;
  absolutePriceSchedule?: AbsolutePriceSchedule;
  priceLevelSchedule?: PriceLevelSchedule;
}

/** SalesTariffType: what energy costs, for a vehicle of ISO 15118-2. */
export interface SalesTariff {
  id: number;
  salesTariffDescription?: string;
  numEPriceLevels?: number;
  salesTariffEntry: readonly {
    /** Seconds from the start of the schedule. */
    relativeTimeInterval: { start: number; duration?: number };
    ePriceLevel?: number;
    consumptionCost?: readonly {
      startValue: number;
      cost: readonly {
        costKind: "CarbonDioxideEmission" | "RelativePricePercentage" | "RenewableGenerationPercentage";
        amount: number;
        amountMultiplier?: number;
      }[];
    }[];
  }[];
}

/** RationalNumberType: value x 10^exponent. */
export interface RationalNumber {
  exponent: number;
  value: number;
}

/** AbsolutePriceScheduleType: what energy costs in money, for a vehicle of ISO 15118-20. */
export interface AbsolutePriceSchedule {
  timeAnchor: string;
  priceScheduleID: number;
  priceScheduleDescription?: string;
  currency: string;
  language: string;
  priceAlgorithm: string;
  minimumCost?: RationalNumber;
  maximumCost?: RationalNumber;
  priceRuleStacks: readonly {
    duration: number;
    priceRule: readonly {
      energyFee: RationalNumber;
      powerRangeStart: RationalNumber;
      parkingFee?: RationalNumber;
      parkingFeePeriod?: number;
      carbonDioxideEmission?: number;
      renewableGenerationPercentage?: number;
    }[];
  }[];
  taxRules?: readonly object[];
  overstayRuleList?: object;
  additionalSelectedServices?: readonly object[];
}

/** PriceLevelScheduleType: how dear energy is by level, for a vehicle of ISO 15118-20. */
export interface PriceLevelSchedule {
  timeAnchor: string;
  priceScheduleId: number;
  priceScheduleDescription?: string;
  numberOfPriceLevels: number;
  priceLevelScheduleEntries: readonly { duration: number; priceLevel: number }[];
}

interface ProfileHead {
  stackLevel: number;
  chargingProfileKind: ProfileKind;
  recurrencyKind?: "Daily" | "Weekly";
  validFrom?: string;
  validTo?: string;
}

/** ChargingProfile of 1.6, csChargingProfiles in SetChargingProfile. */
export interface WireProfile16 extends ProfileHead {
  chargingProfileId: number;
  chargingProfilePurpose: "ChargePointMaxProfile" | "TxDefaultProfile" | "TxProfile";
  transactionId?: number;
  chargingSchedule: WireSchedule;
}

/** ChargingProfileType of 2.0.1 and 2.1. */
export interface WireProfile2x extends ProfileHead {
  id: number;
  chargingProfilePurpose: ProfilePurpose;
  transactionId?: string;
  chargingSchedule: readonly WireSchedule[];
  maxOfflineDuration?: number;
  invalidAfterOfflineDuration?: boolean;
  dynUpdateInterval?: number;
  dynUpdateTime?: string;
}

export type WireProfile = WireProfile16 | WireProfile2x;

/** A profile where it is installed: evseId, in 1.6 connectorId, is 0 for the whole station. */
export interface InstalledProfile {
  evseId: number;
  profile: WireProfile;
}

/** Any version's profile with the names of 2.x. */
export function inNamesOf2x(profile: WireProfile): WireProfile2x {
  if (!("chargingProfileId" in profile)) return profile;
  const { chargingProfileId, chargingProfilePurpose, transactionId, chargingSchedule, ...head } = profile;
  return {
    ...head,
    id: chargingProfileId,
    chargingProfilePurpose:
      chargingProfilePurpose === "ChargePointMaxProfile"
        ? "ChargingStationMaxProfile"
        : chargingProfilePurpose,
    ...(transactionId === undefined ? {} : { transactionId: String(transactionId) }),
    chargingSchedule: [chargingSchedule],
  };
}

/** Where a time says its zone. */
export const ZONE = /(Z|[+-]\d\d:?\d\d)$/;

/** A time on the wire as epoch ms; one without a zone is in UTC, what is no time is NaN. */
export function timeOf(text: string): number {
  return Date.parse(ZONE.test(text) ? text : `${text}Z`);
}

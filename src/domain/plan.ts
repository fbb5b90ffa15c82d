import type { Notice, OcppVersion, RateUnit } from "./problem.ts";

/** Power of each session in each slot, W, as its charging profile allows it. */
export type PowerPlan = Float64Array[];

export type PlanStatus = "OPTIMAL" | "FEASIBLE" | "FALLBACK";

export type ShortfallCause =
  | "STAY_TOO_SHORT"
  | "EVSE_LIMIT"
  | "VEHICLE_LIMIT"
  | "CIRCUIT_LIMIT"
  | "MINIMUM_CURRENT"
  | "OUT_OF_TIME"
  | "PROFILE_RESOLUTION"
  | "CHARGE_CURVE"
  | "CHARGER_OFFLINE";

export type Change = "NEW" | "CHANGED" | "UNCHANGED";

/** The answer to a Problem: everything that an `OptimizeResponse` holds. */
export interface SitePlan {
  siteId: string;
  status: PlanStatus;
  sessionPlans: SessionPlan[];
  startMs: number;
  slotStartsMs: number[];
  /** Sum of all vehicles, one value a slot. */
  chargingPowerW: Float64Array;
  /** Charging and base load, less what the site makes itself; never below 0. */
  importPowerW: Float64Array;
  exportPowerW: Float64Array;
  pvPowerW: Float64Array;
  /** Into the site's battery, W, negative out of it; undefined where there is none. */
  batteryPowerW: Float64Array | undefined;
  circuits: CircuitPlan[];
  /** By when the commands of each push wave must be accepted; undefined: any time in the plan. */
  wave1ByMs: number | undefined;
  wave2ByMs: number | undefined;
  summary: PlanSummary;
  notices: Notice[];
  solve: SolveReport;
  /** Empty where they are not asked for. */
  fallbackProfiles: FallbackProfile[];
}

/** A profile that holds where nothing else does. */
export interface FallbackProfile {
  stationId: string;
  /** 0 for the station as a whole. */
  evseId: number;
  command: ProfileCommand;
  /** What it allows, sum over the phases. */
  powerW: number;
}

export interface SessionPlan {
  sessionId: string;
  stationId: string;
  evseId: number;
  command: ProfileCommand | undefined;
  /** Negative where the vehicle gives. */
  powerW: Float64Array;
  plannedEnergyWh: number;
  shortfallWh: number;
  shortfallCauses: ShortfallCause[];
  completeMs: number | undefined;
  energyCost: number;
  change: Change;
  /** Missing to the session's minimum when it should be there. */
  minimumShortfallWh: number;
  /** What the vehicle gives, at the EVSE, and what its driver is paid for it. */
  dischargedEnergyWh: number;
  dischargePayment: number;
  /** In each slot, where the charger can change it; 0 where the vehicle is not there. */
  numberPhases?: number[] | undefined;
  /** The plan in plain words, for people. */
  explanation: string;
}

export interface CircuitPlan {
  circuitId: string;
  powerW: Float64Array;
  /** Infinity where the circuit has no limit. */
  limitW: Float64Array;
  shadowPricePerKwh: Float64Array;
}

export interface PlanSummary {
  requestedEnergyWh: number;
  plannedEnergyWh: number;
  shortfallWh: number;
  energyCost: number;
  demandCost: number;
  peakImportW: number;
  carbonKg: number;
  uncontrolledCost: number;
  uncontrolledPeakW: number;
  uncontrolledEnergyWh: number;
  pvEnergyWh: number;
  exportEnergyWh: number;
  exportRevenue: number;
  changedEnergyWh: number;
  dischargedEnergyWh: number;
  dischargePayment: number;
  /** All import of the site at its price less what export is paid, base load included. */
  siteEnergyCost: number;
}

export interface SolveReport {
  solver: "GLPK" | "HIGHS" | "NONE";
  solveMs: number;
  columns: number;
  rows: number;
  objective: number;
  bound: number;
  gap: number;
  checks: number;
}

/** What the CSMS sends to the charger. */
export interface ProfileCommand {
  ocppVersion: OcppVersion;
  action: "SetChargingProfile";
  payloadJson: string;
  pushWave: 1 | 2;
  chargingProfile: ChargingProfile;
}

/** OCPP's ChargingProfile with the names of 2.x; 1.6 uses a part of it. */
export interface ChargingProfile {
  id: number;
  stackLevel: number;
  chargingProfilePurpose: "TxProfile" | "TxDefaultProfile" | "ChargingStationMaxProfile";
  chargingProfileKind: "Absolute";
  /** Of a TxProfile only. */
  transactionId: string | undefined;
  startScheduleMs: number;
  chargingRateUnit: RateUnit;
  periods: ChargingSchedulePeriod[];
}

export interface ChargingSchedulePeriod {
  startPeriodS: number;
  /** In the schedule's unit: A per phase, or W in all. Absent in other modes than charging. */
  limit: number | undefined;
  /** Absent on DC. */
  numberPhases: number | undefined;
  /** 2.1, in a profile in which the vehicle gives; absent: ChargingOnly. */
  operationMode?: OperationMode | undefined;
  /** 2.x, where the charger changes to one phase: which. */
  phaseToUse?: number | undefined;
  /** With CentralSetpoint: negative, what the vehicle gives in the schedule's unit. */
  setpoint?: number | undefined;
}

export type OperationMode = "ChargingOnly" | "CentralSetpoint" | "Idle";

/** A profile read back: from atMs until the next step the vehicle may draw this power. */
export interface PowerStep {
  atMs: number;
  /** Sum over the phases; negative where it gives so much. */
  powerW: number;
  /** On which it is; absent on DC and between two lines. */
  numberPhases?: number | undefined;
}

import type { Series } from "./series.ts";

/**
 * One site's planning problem: an `OptimizeRequest` that has passed every check, with all
 * defaults filled in and ids resolved to indices. Plain data, so that it can be sent to a
 * worker thread. Times are UTC epoch milliseconds on whole seconds.
 */
export interface Problem {
  site: Site;
  sessions: Session[];
  /** Slot k runs from slotStartsMs[k] to slotStartsMs[k + 1]; one entry more than slots. */
  slotStartsMs: number[];
  preference: Preference;
  /** Adds to the price of a kWh, in the tariff's currency. */
  carbonPricePerKg: number;
  /** What a kWh moved against an installed plan must save; undefined: 0.001 of the mean price. */
  changePricePerKwh: number | undefined;
  solver: SolverChoice;
  /** Upper bound of the time for one answer. */
  timeLimitMs: number;
  /** Assumptions made while reading the request. */
  notices: Notice[];
}

export type Preference = "LOWEST_COST" | "EARLIEST" | "FLATTEST" | "LOWEST_CARBON";
export type SolverChoice = "AUTO" | "GLPK" | "HIGHS";
export type Phase = 1 | 2 | 3;

export interface Site {
  siteId: string;
  timeZone: string;
  /** Phase to neutral. */
  nominalVoltageV: number;
  /** A tree, parents before children; index 0 is the grid connection. */
  circuits: Circuit[];
  evses: Evse[];
  tariff: Tariff | undefined;
}

export interface Circuit {
  circuitId: string;
  /** Index into Site.circuits, -1 for the grid connection. */
  parent: number;
  /** Sum over the phases; Infinity where there is no limit. */
  maxPowerW: number;
  /** Each phase; Infinity where there is no limit. */
  maxCurrentA: number;
  maxPowerSeriesW: Series | undefined;
  /**
   * Load that is not planned, on this circuit itself and not on one below it: what hangs on
   * the circuits below is counted there and adds up.
   */
  baseLoadW: Series | undefined;
  /** The same for L1, L2, L3, where known; it then replaces the even share of baseLoadW. */
  baseLoadA: [Series | undefined, Series | undefined, Series | undefined];
}

export interface Evse {
  stationId: string;
  evseId: number;
  /** Index into Site.circuits. */
  circuit: number;
  supply: "AC" | "DC";
  /** Grid phases that L1, L2, L3 of the EVSE are wired to, in order. DC: all three. */
  phases: Phase[];
  /** AC, per phase. */
  maxCurrentA: number;
  /** AC, per phase: a limit is 0 or at least this. */
  minCurrentA: number;
  maxPowerW: number;
  minPowerW: number;
  /** In use and not controllable: reserved all the time, and no session may name this EVSE. */
  uncontrolledPowerW: number | undefined;
  ocpp: OcppCapabilities;
}

export type OcppVersion = "1.6" | "2.0.1" | "2.1";
export type RateUnit = "A" | "W";

export interface OcppCapabilities {
  version: OcppVersion;
  /** The unit that profiles for this charger use. */
  rateUnit: RateUnit;
  maxPeriods: number;
  stackLevel: number;
  /** In rateUnit; a multiple of 0.1. */
  limitStep: number;
  /** 0 is never sent: from arrival on the lowest limit is the minimum current. */
  rejectsZeroLimit: boolean;
  prefersTxDefaultProfile: boolean;
}

export interface Session {
  sessionId: string;
  /** Index into Site.evses. */
  evse: number;
  /** Empty where unknown. */
  transactionId: string;
  arrivalMs: number;
  /** Not after the end of the last slot. */
  departureMs: number;
  /** Still to be delivered, at the meter of the EVSE. */
  energyWh: number;
  /** The vehicle's own limits; Infinity and 0 where it has none. */
  maxCurrentA: number;
  minCurrentA: number;
  maxPowerW: number;
  /** Number of phases that the vehicle draws from, the first ones of the EVSE. */
  phaseCount: number;
  priority: number;
  uninterruptible: boolean;
  /** What the charger was last told. */
  installed: { powerW: Series; chargingProfileId: number } | undefined;
}

export interface Tariff {
  currency: string;
  price: Series | TimeOfUse;
  /** For each kW of the highest mean import over a demand window. */
  demandPricePerKw: number;
  /** Highest import already seen in the billing period: free up to here. */
  demandPeakSoFarW: number;
  demandWindowMs: number;
  carbonGPerKwh: Series | undefined;
}

/** Wall-clock prices in the site's zone; the first rule that fits wins. */
export interface TimeOfUse {
  rules: TimeOfUseRule[];
}

export interface TimeOfUseRule {
  /** 1 Monday .. 7 Sunday. */
  weekdays: number[];
  /** Minutes of the day; from inclusive, to exclusive; to < from runs over midnight. */
  fromMinute: number;
  toMinute: number;
  /** Month * 100 + day, both inclusive; toDay < fromDay runs over New Year. */
  fromDay: number;
  toDay: number;
  pricePerKwh: number;
}

/** An assumption made or something that looks wrong. `field` is a path into the request. */
export interface Notice {
  code: string;
  field: string;
  message: string;
}

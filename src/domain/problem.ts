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
  /** Worth of a kWh that a vehicle leaves without, in the tariff's currency; undefined: above the dearest way to deliver it. */
  unmetPricePerKwh: number | undefined;
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
  /** Forecast of photovoltaic production behind the grid connection. It makes no room under a limit. */
  pvPowerW: Series | undefined;
  battery: StationaryBattery | undefined;
}

/** A battery that belongs to the site. Energies are those stored in it, powers those at its terminals. */
export interface StationaryBattery {
  /** Index into Site.circuits. */
  circuit: number;
  capacityWh: number;
  /** Stored at the start of the plan. */
  storedWh: number;
  /** Kept in it. */
  minStoredWh: number;
  maxChargePowerW: number;
  maxDischargePowerW: number;
  /** Share of the energy charged that is stored, and of the energy taken out that arrives: the root of the round trip's. */
  efficiency: number;
  /** Value of a kWh stored at the end; undefined: the mean import price. */
  endValuePerKwh: number | undefined;
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
  /** Between this circuit and its parent; undefined: the lines go straight through. */
  transformer: Transformer | undefined;
}

/**
 * A transformer that feeds a circuit. The currents of the circuit and of what lies below count on its
 * own side, those of its parent on the other.
 */
export interface Transformer {
  /** Towards the parent first: "DELTA_WYE" has its delta there. */
  winding: "WYE_WYE" | "DELTA_WYE";
  /** Phase to neutral on the parent's side. */
  primaryVoltageV: number;
}

export interface Evse {
  stationId: string;
  evseId: number;
  /** Index into Site.circuits. */
  circuit: number;
  supply: "AC" | "AC_LINE_TO_LINE" | "DC";
  /**
   * Grid phases that L1, L2, L3 of the EVSE are wired to, in order; with AC_LINE_TO_LINE the two
   * lines that it hangs between. DC: all three.
   */
  phases: Phase[];
  /** Which phase is which is not known: the load counts on every phase that it could be on. */
  hasUnknownPhases: boolean;
  /** AC, per phase. */
  maxCurrentA: number;
  /** AC, per phase: a limit is 0 or at least this. */
  minCurrentA: number;
  maxPowerW: number;
  minPowerW: number;
  /** In use and not controllable: reserved all the time, and no session may name this EVSE. */
  uncontrolledPowerW: number | undefined;
  /** Highest power out of a vehicle, W; 0: the charger is not bidirectional. */
  maxDischargePowerW: number;
  /** Times that the charger may change between one and three phases during a stay; 0: it can't. */
  maxPhaseSwitches: number;
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
  /** Its battery; undefined where only the energy needed is known. */
  battery: VehicleBattery | undefined;
  /** Energy at the meter that must be there by a time, weighted above all else but limits. */
  minimum: { energyWh: number; byMs: number } | undefined;
  /** Chances that the vehicle has left by a time, both rising; empty where the departure is sure. */
  departureChances: DepartureChance[];
  /** May be discharged within these bounds; undefined: only charged. */
  discharge: Discharge | undefined;
  /** The stay goes on with the next session, on another number of phases: they are one vehicle's. */
  goesOn: boolean;
  /** What the charger was last told. */
  installed: { powerW: Series; chargingProfileId: number; numberPhases?: Series | undefined } | undefined;
}

/** A vehicle's battery. Energies are those stored in it. */
export interface VehicleBattery {
  /** Where the vehicle counts as full: it takes nothing above. */
  capacityWh: number;
  /** Stored when the plan or the stay begins. */
  storedWh: number;
  /** Share of the energy metered at the EVSE that is stored, and of the energy taken out that arrives there. */
  efficiency: number;
  /** Highest power at the EVSE by energy stored, rising in storedWh, straight in between; empty: no taper. */
  chargeCurve: { storedWh: number; maxPowerW: number }[];
}

/** One point of the distribution of a departure. */
export interface DepartureChance {
  atMs: number;
  /** That the vehicle has left by then, 0 to 1. */
  probability: number;
  /** Energy that it could have by then, of which what is missing counts; undefined: what its own stay allows. */
  dueWh?: number;
}

/** Bounds of a vehicle's discharge. */
export interface Discharge {
  /** At the EVSE. */
  maxPowerW: number;
  /** Kept in the battery, Wh. */
  minStoredWh: number;
  /** Paid to the driver for each kWh at the EVSE. */
  pricePerKwh: number;
  /** Stored above what the vehicle needs when it leaves, as energy at the meter: may be given without being charged again. */
  spareWh: number;
  /**
   * What it gives in each slot, W, once that is settled. Session.energyWh and the minimum then hold what
   * has to be charged again for it.
   */
  plannedW: Float64Array | undefined;
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
  /** Paid for what flows out; undefined: 0. */
  exportPricePerKwh: Series | undefined;
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

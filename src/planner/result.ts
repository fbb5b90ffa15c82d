import type { Measures } from "./measures.ts";

/**
 * What came of a scenario under each strategy: plain data, as `wattslot simulate --json` prints it and the report
 * reads it. Powers are W, energies Wh, instants ms since 1970 in UTC, money in the scenario's currency.
 */
export interface SimulationResult {
  scenario: ScenarioResult;
  /** In the order asked for. */
  strategies: StrategyResult[];
  /** Where a parameter was swept: the measures at each of its values. */
  sweep?: SweepResult[];
}

/** The scenario as it happened. Series have one value a slot, its mean. */
export interface ScenarioResult {
  name: string;
  siteId: string;
  timeZone: string;
  /** Empty without a tariff. */
  currency: string;
  startMs: number;
  endMs: number;
  slotMs: number;
  slotStartsMs: number[];
  /** Of import; 0 without a tariff. */
  pricePerKwh: number[];
  /** Of all circuits. */
  baseLoadW: number[];
  pvW: number[];
  /** Lowest limit of the grid connection as a power; null where it has none. */
  limitW: (number | null)[];
  /** By arrival. */
  visits: VisitResult[];
}

/** A vehicle's stay. */
export interface VisitResult {
  sessionId: string;
  /** Station and EVSE as `CS1/1`. */
  evse: string;
  arrivalMs: number;
  saidDepartureMs: number;
  departureMs: number;
  /** What it would have drawn until it was content. */
  energyWh: number;
}

/** What came of the scenario under one strategy. */
export interface StrategyResult {
  name: string;
  title: string;
  measures: Measures;
  /** Drawn by the vehicles less what they gave, mean of each slot. */
  powerW: number[];
  /** Into the site's battery, mean of each slot, negative out of it. */
  batteryW: number[];
  /** In the order of the scenario's visits. */
  visits: {
    drawnWh: number;
    /** When it was content; absent: it never was. */
    contentMs?: number;
    firstSlot: number;
    /** Drawn less given in each slot from the first on. */
    slotWh: number[];
  }[];
  /** Parents before children. */
  circuits: {
    circuitId: string;
    /** Vehicles, base load and what the battery charges, mean of each slot. */
    powerW: number[];
    limitW: (number | null)[];
    /** What one more kWh through it would be worth, as the last plan for the slot had it; 0 without plans. */
    shadowPricePerKwh: number[];
  }[];
}

/** Measures over the values of one parameter. */
export interface SweepResult {
  /** As asked for: `site.circuits[grid].maxPowerW`. */
  parameter: string;
  /** Of the values, empty where they have none. */
  unit: string;
  values: number[];
  /** One point for each value. */
  strategies: { name: string; points: Measures[] }[];
}

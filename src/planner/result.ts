import { HOUR_MS } from "../domain/charging.ts";
import { meanCircuitLoad, slotBaseLoad } from "../domain/load.ts";
import type { Problem } from "../domain/problem.ts";
import { rangeOver } from "../domain/series.ts";
import { slotPv } from "../domain/surplus.ts";
import { slotPrices } from "../domain/tariff.ts";
import { voltagesOf } from "../domain/wiring.ts";
import { type Measures, measureRun } from "./measures.ts";
import { type Scenario, slotsOf } from "./scenario.ts";
import type { Run } from "./simulate.ts";

/**
 * What came of a scenario under each strategy: plain data, as `wattslot simulate --json` prints it and the report
 * reads it. Powers are W, energies Wh, instants ms since 1970 in UTC, money in the scenario's currency.
 */
export interface SimulationResult {
  scenario: ScenarioResult;
  /** The scenario's file as it was read: every assumption that was made. */
  source: string;
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
  /** Where the run was ended before the scenario's end: when. All else is of what happened until then. */
  endedMs?: number;
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
  circuits: CircuitResult[];
}

/** What a circuit carried. */
export interface CircuitResult {
  circuitId: string;
  /** Vehicles, base load and what the battery charges, mean of each slot. */
  powerW: number[];
  /** The lowest of its limits as a power. */
  limitW: (number | null)[];
  /** What one more kWh through it would be worth, as the last plan for the slot had it; 0 without plans. */
  shadowPricePerKwh: number[];
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

/** The scenario's part of a result. */
export function scenarioResult(scenario: Scenario): ScenarioResult {
  const { name, base, startMs, endMs, slotMs, visits } = scenario;
  const { site } = base;
  const slotStartsMs = slotsOf(scenario);
  const problem: Problem = { ...base, sessions: [], slotStartsMs, notices: [] };
  return {
    name,
    siteId: site.siteId,
    timeZone: site.timeZone,
    currency: site.tariff?.currency ?? "",
    startMs,
    endMs,
    slotMs,
    slotStartsMs: slotStartsMs.slice(0, -1),
    pricePerKwh: [...slotPrices(problem)],
    baseLoadW: [...slotBaseLoad(problem)],
    pvW: [...slotPv(problem)],
    limitW: limitsOf(scenario, slotStartsMs, 0),
    visits: visits.map(({ said, departureMs, energyWh }) => {
      const { stationId, evseId } = site.evses[said.evse];
      return {
        sessionId: said.sessionId,
        evse: `${stationId}/${evseId}`,
        arrivalMs: said.arrivalMs,
        saidDepartureMs: said.departureMs,
        departureMs,
        energyWh,
      };
    }),
  };
}

/** A run as it stands in a result. */
export function strategyResult(scenario: Scenario, run: Run): StrategyResult {
  const { slotStartsMs, endedMs } = run;
  return {
    name: run.strategy.name,
    title: run.strategy.title,
    ...(endedMs === undefined ? {} : { endedMs }),
    measures: measureRun(scenario, run),
    powerW: inWatts(slotStartsMs, run.chargedWh),
    batteryW: inWatts(slotStartsMs, run.batteryWh),
    visits: run.visits.map(({ drawnWh, contentMs, firstSlot, slotWh }) => ({
      drawnWh,
      ...(contentMs === undefined ? {} : { contentMs }),
      firstSlot,
      slotWh,
    })),
    circuits: circuitResults(scenario, slotStartsMs, run.circuits),
  };
}

/** The circuits of a run; without one, as they are with base load alone. */
export function circuitResults(
  scenario: Scenario,
  slotStartsMs: readonly number[],
  runs?: Run["circuits"],
): CircuitResult[] {
  const baseW = circuitLoads(scenario, slotStartsMs);
  return scenario.base.site.circuits.map(({ circuitId }, c) => ({
    circuitId,
    powerW:
      runs === undefined
        ? [...baseW[c]]
        : inWatts(slotStartsMs, runs[c].drawnWh).map((w, k) => w + baseW[c][k]),
    limitW: limitsOf(scenario, slotStartsMs, c),
    shadowPricePerKwh: runs === undefined ? [] : [...runs[c].shadowPricePerKwh],
  }));
}

/** Whether a circuit carries more than its limit in the mean of a slot. */
export function areOverloaded(circuits: readonly CircuitResult[]): boolean {
  return circuits.some(({ powerW, limitW }) =>
    powerW.some((w, k) => w > (limitW[k] ?? Number.POSITIVE_INFINITY) * (1 + 1e-6) + 1),
  );
}

function inWatts(slotStartsMs: readonly number[], wh: Float64Array): number[] {
  return Array.from(wh, (one, k) => (one * HOUR_MS) / (slotStartsMs[k + 1] - slotStartsMs[k]));
}

/** Lowest limit of a circuit in each slot, all three lines at theirs; null where it has none. */
function limitsOf({ base }: Scenario, slotStartsMs: readonly number[], c: number): (number | null)[] {
  const { maxPowerW, maxCurrentA, maxPowerSeriesW } = base.site.circuits[c];
  const fixedW = Math.min(maxPowerW, 3 * maxCurrentA * voltagesOf(base.site)[c]);
  return slotStartsMs.slice(0, -1).map((atMs, k) => {
    const seriesW =
      maxPowerSeriesW === undefined
        ? Number.POSITIVE_INFINITY
        : rangeOver(maxPowerSeriesW, atMs, slotStartsMs[k + 1]).min;
    const limitW = Math.min(fixedW, seriesW);
    return Number.isFinite(limitW) ? limitW : null;
  });
}

/** Base load of each circuit and all below it in each slot, chargers included that can't be controlled, W. */
function circuitLoads({ base }: Scenario, slotStartsMs: readonly number[]): Float64Array[] {
  const { site } = base;
  const voltages = voltagesOf(site);
  const loads = site.circuits.map((circuit, c) => {
    const fixedW = site.evses
      .filter((evse) => evse.circuit === c)
      .reduce((sumW, { uncontrolledPowerW }) => sumW + (uncontrolledPowerW ?? 0), 0);
    return Float64Array.from(
      slotStartsMs.slice(0, -1),
      (atMs, k) => fixedW + meanCircuitLoad(circuit, voltages[c], atMs, slotStartsMs[k + 1]),
    );
  });
  // Parents come before their children.
  for (let c = loads.length - 1; c > 0; c--) {
    const parentW = loads[site.circuits[c].parent];
    loads[c].forEach((w, k) => {
      parentW[k] += w;
    });
  }
  return loads;
}

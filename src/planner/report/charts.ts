import type { SimulationResult } from "../result.ts";
import { arrivalDays, type Chart, type View } from "./chart.ts";
import { CIRCUITS } from "./circuits.ts";
import { COMPARISON } from "./comparison.ts";
import { DURATION } from "./duration.ts";
import { POWER } from "./power.ts";
import { sweepChart } from "./sweep.ts";
import { VEHICLES } from "./vehicles.ts";

/** The charts of a result, in the order of the page. */
export function chartsOf({ scenario, sweep = [] }: SimulationResult): Chart[] {
  return [
    COMPARISON,
    POWER,
    ...(scenario.visits.length > 0 ? [VEHICLES] : []),
    CIRCUITS,
    DURATION,
    ...sweep.map(sweepChart),
  ];
}

/** What is shown at first: Wattslot, else the last strategy, and the day on which most vehicles come. */
export function firstView(result: SimulationResult, widthPx: number): View {
  const wattslot = result.strategies.findIndex(({ name }) => name === "wattslot");
  const sizes = arrivalDays(result).map(({ visits }) => visits.length);
  return {
    result,
    strategy: wattslot < 0 ? result.strategies.length - 1 : wattslot,
    day: Math.max(0, sizes.indexOf(Math.max(...sizes))),
    widthPx,
  };
}

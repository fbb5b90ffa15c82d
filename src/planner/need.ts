import { chargingRange, HOUR_MS } from "../domain/charging.ts";
import { areOverloaded, circuitResults } from "./result.ts";
import { type Scenario, slotsOf } from "./scenario.ts";
import { CONTENT_WH, type Run } from "./simulate.ts";

/** What a run is to bring, beside passing no limit: at least these shares of the energy and of the visits. */
export interface Need {
  deliveredPercent?: number;
  servedPercent?: number;
}

/** Percent by which a share must be out of reach, so that sums in another order decide nothing. */
const DOUBT_PERCENT = 1e-6;

/**
 * Tells of a run at an instant whether it can't bring any more what is needed: it has passed a limit, or base load
 * alone does, or every vehicle at its full power from there on would not be enough.
 */
export function outOfReach(
  scenario: Scenario,
  { deliveredPercent = 0, servedPercent = 0 }: Need,
): (run: Run, atMs: number) => boolean {
  const { base, visits, turnedAwayWh } = scenario;
  const maxPowersW = visits.map(({ said }) => chargingRange(base.site, said).maxPowerW);
  const wantedWh =
    visits.reduce((wh, { energyWh }) => wh + energyWh, 0) + turnedAwayWh.reduce((wh, one) => wh + one, 0);
  const count = visits.length + turnedAwayWh.length;
  // What vehicles give can make up for base load.
  const isOver =
    visits.every(({ said }) => said.discharge === undefined) &&
    areOverloaded(circuitResults(scenario, slotsOf(scenario)));
  const isOut = (most: number, of: number, percent: number) =>
    of > 0 && (100 * most) / of < percent - DOUBT_PERCENT;
  return (run, atMs) => {
    if (isOver || run.excessCount > 0) return true;
    let mostWh = 0;
    let mostServed = 0;
    visits.forEach(({ said, departureMs, energyWh }, i) => {
      const hours = Math.max(0, departureMs - Math.max(atMs, said.arrivalMs)) / HOUR_MS;
      const reachableWh = Math.min(energyWh, run.visits[i].metWh + maxPowersW[i] * hours);
      mostWh += reachableWh;
      if (reachableWh >= energyWh - CONTENT_WH) mostServed++;
    });
    return isOut(mostWh, wantedWh, deliveredPercent) || isOut(mostServed, count, servedPercent);
  };
}

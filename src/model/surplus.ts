import { HOUR_MS } from "../domain/charging.ts";
import { slotEnergiesWh } from "../domain/delivery.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { slotLoad, surplusOf } from "../domain/surplus.ts";
import type { LpBuilder } from "./lp.ts";
import { addDrawnEntry, type Powers, type SurplusColumns } from "./program.ts";

/**
 * Production above the base load: what vehicles take of it costs what its export would have paid
 * instead of the price of import. A column for each slot that has a surplus holds the power taken of
 * it, at most the surplus and at most what the vehicles draw. Because export never pays more than
 * import costs, the optimum takes all it can: nothing is imported and exported at once.
 */
export function addSurplus(powers: Powers, builder: LpBuilder): SurplusColumns | undefined {
  const { problem, charging, pricing } = powers;
  const surplusW = surplusOf(problem);
  if (surplusW === undefined || problem.preference === "EARLIEST") return undefined;
  const starts = problem.slotStartsMs;
  const columns = new Int32Array(surplusW.length).fill(-1);
  charging.present.forEach((sessions, k) => {
    if (surplusW[k] === 0 || sessions.length === 0) return;
    const hours = (starts[k + 1] - starts[k]) / HOUR_MS;
    columns[k] = builder.addColumn(-pricing.ownSaving(k) * hours, 0, surplusW[k] / 1000);
    for (const i of sessions) {
      const n = powers.offsets[i] + k - charging.stays[i].first;
      addDrawnEntry(powers, builder, n, -powers.hours[n] / hours);
    }
    builder.addEntry(columns[k], 1);
    builder.endRow(Number.NEGATIVE_INFINITY, 0);
  });
  return { columns, surplusW };
}

/** What a plan takes of the surplus in each slot, mean W; undefined where there is none. */
export function takenOf(
  powers: Powers & { surplus: SurplusColumns | undefined },
  plan: PowerPlan,
): Float64Array | undefined {
  const { problem, charging, surplus } = powers;
  if (surplus === undefined) return undefined;
  const drawnWh = plan.map((powerW, i) => slotEnergiesWh(problem, charging, i, powerW));
  const loadW = slotLoad(problem, charging.present, (i, k) => drawnWh[i][k - charging.stays[i].first]);
  return surplus.surplusW.map((w, k) => Math.min(w, loadW[k]));
}

import { HOUR_MS } from "./charging.ts";
import { baseLoadOf, slotBaseLoad } from "./load.ts";
import type { Problem } from "./problem.ts";
import { rangeOver } from "./series.ts";
import { slotPrices } from "./tariff.ts";

/** Mean photovoltaic production in each slot, W; zeros without any. */
export function slotPv(problem: Problem): Float64Array {
  const starts = problem.slotStartsMs;
  const pvW = new Float64Array(starts.length - 1);
  const { pvPowerW } = problem.site;
  if (pvPowerW === undefined) return pvW;
  return pvW.map((_, k) => rangeOver(pvPowerW, starts[k], starts[k + 1]).mean);
}

/** Mean of what the site makes itself in each slot and what vehicles give as it is settled, W. */
export function slotProduction(problem: Problem): Float64Array {
  const starts = problem.slotStartsMs;
  const productionW = slotPv(problem);
  for (const { discharge, arrivalMs, departureMs } of problem.sessions) {
    discharge?.plannedW?.forEach((w, k) => {
      if (w === 0) return;
      const presentMs = Math.min(starts[k + 1], departureMs) - Math.max(starts[k], arrivalMs);
      productionW[k] += (w * Math.max(0, presentMs)) / (starts[k + 1] - starts[k]);
    });
  }
  return productionW;
}

/** Whether anything but the grid may feed the site. */
export function hasProduction({ site, sessions }: Problem): boolean {
  return site.pvPowerW !== undefined || sessions.some(({ discharge }) => discharge?.plannedW !== undefined);
}

/** Production above the base load in each slot, which flows out unless vehicles take it, W; undefined where there is none. */
export function surplusOf(problem: Problem): Float64Array | undefined {
  if (!hasProduction(problem)) return undefined;
  const baseW = slotBaseLoad(problem);
  const surplusW = slotProduction(problem).map((pvW, k) => Math.max(0, pvW - baseW[k]));
  return surplusW.some((w) => w > 0) ? surplusW : undefined;
}

/** Mean import in each slot that is there without any vehicle, W. */
export function slotImportBase(problem: Problem): Float64Array {
  const baseW = slotBaseLoad(problem);
  if (!hasProduction(problem)) return baseW;
  const productionW = slotProduction(problem);
  return baseW.map((w, k) => Math.max(0, w - productionW[k]));
}

/**
 * Tells the mean import over a stretch of time that is there without any vehicle, W: the base load,
 * less production in each slot where it is below the load. Export in one slot pays for no import in
 * another: a meter counts them apart.
 */
export function importBaseOf(problem: Problem): (fromMs: number, toMs: number) => number {
  if (!hasProduction(problem)) return baseLoadOf(problem);
  const importW = slotImportBase(problem);
  const starts = problem.slotStartsMs;
  return (fromMs, toMs) => {
    let wattMs = 0;
    for (let k = 0; k < importW.length; k++) {
      const overlapMs = Math.min(toMs, starts[k + 1]) - Math.max(fromMs, starts[k]);
      if (overlapMs > 0) wattMs += overlapMs * importW[k];
    }
    return wattMs / (toMs - fromMs);
  };
}

/** Calls back with the hours that each slot with a surplus shares with a stretch of time. */
export function forSurplus(
  problem: Problem,
  surplusW: Float64Array,
  span: { startMs: number; endMs: number },
  visit: (k: number, hours: number) => void,
): void {
  const starts = problem.slotStartsMs;
  for (let k = 0; k < surplusW.length; k++) {
    const overlapMs = Math.min(span.endMs, starts[k + 1]) - Math.max(span.startMs, starts[k]);
    if (overlapMs > 0 && surplusW[k] > 0) visit(k, overlapMs / HOUR_MS);
  }
}

/** Mean price paid for what flows out in each slot, per kWh: never above the import price. */
export function exportPrices(problem: Problem): Float64Array {
  const starts = problem.slotStartsMs;
  const series = problem.site.tariff?.exportPricePerKwh;
  return slotPrices(problem).map((price, k) =>
    Math.min(price, series === undefined ? 0 : rangeOver(series, starts[k], starts[k + 1]).mean),
  );
}

/** Mean power of all vehicles in each slot, W. */
export function slotLoad(
  problem: Problem,
  present: readonly (readonly number[])[],
  energyWh: (i: number, k: number) => number,
): Float64Array {
  const starts = problem.slotStartsMs;
  return Float64Array.from(present, (sessions, k) => {
    const hours = (starts[k + 1] - starts[k]) / HOUR_MS;
    return sessions.reduce((wh, i) => wh + energyWh(i, k), 0) / hours;
  });
}

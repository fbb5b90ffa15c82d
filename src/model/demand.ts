import { forPresence, meanBaseLoad } from "../domain/measure.ts";
import { demandWindows } from "../domain/tariff.ts";
import type { LpBuilder } from "./lp.ts";
import { horizonHours, PEAK_PER_HOUR } from "./pricing.ts";
import { addPowerEntry, type DemandColumns, type FlatColumns, type Powers } from "./program.ts";

/** Layers that the load is cut into. */
export const FLAT_LAYERS = 8;

/** The demand charge: one peak, at least the mean import of every demand window and the peak already seen, whose excess costs. */
export function addDemandCharge(powers: Powers, builder: LpBuilder): DemandColumns | undefined {
  const { problem, charging, pricing } = powers;
  const tariff = problem.site.tariff;
  if (pricing.demand === 0 || tariff === undefined) return undefined;
  const windows = demandWindows(problem);
  const baseKw = windows.map((window) => meanBaseLoad(problem, window.startMs, window.endMs) / 1000);
  const leastKw = Math.max(tariff.demandPeakSoFarW / 1000, ...baseKw);
  const column = builder.addColumn(pricing.demand, leastKw, Number.POSITIVE_INFINITY);
  windows.forEach((window, w) => {
    const shares = new Map<number, number>();
    let mostKw = baseKw[w];
    forPresence(problem, charging, window, (i, k, hours) => {
      const n = powers.offsets[i] + k - charging.stays[i].first;
      shares.set(n, hours / window.hours);
      mostKw += (powers.maxKw[n] * hours) / window.hours;
    });
    if (mostKw <= leastKw) return;
    for (const [n, share] of shares) addPowerEntry(powers, builder, n, share);
    builder.addEntry(column, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -baseKw[w]);
  });
  return { column, leastKw };
}

/**
 * The flattest load: the site's mean import in each slot is cut into layers that cost more the
 * higher they lie (the square of the load, from outside in steps), and the highest import of all
 * costs on top, so that the peak is least first and the rest is level below it.
 */
export function addFlatness(powers: Powers, builder: LpBuilder): FlatColumns | undefined {
  const { problem, charging, baseW } = powers;
  const starts = problem.slotStartsMs;
  const mostKw = charging.present.map((sessions, k) =>
    sessions.reduce(
      (sum, i) => sum + powers.maxKw[powers.offsets[i] + k - charging.stays[i].first],
      baseW[k] / 1000,
    ),
  );
  const topKw = mostKw.reduce((a, b) => Math.max(a, b), 0);
  if (topKw === 0) return undefined;
  const peak = builder.addColumn(PEAK_PER_HOUR * horizonHours(problem), 0, topKw);
  for (let k = 0; k < charging.present.length; k++) {
    if (charging.present[k].length === 0) continue;
    const hours = (starts[k + 1] - starts[k]) / 3_600_000;
    const baseKw = baseW[k] / 1000;
    const enter = () => {
      for (const i of charging.present[k]) {
        const n = powers.offsets[i] + k - charging.stays[i].first;
        addPowerEntry(powers, builder, n, powers.hours[n] / hours);
      }
    };
    enter();
    builder.addEntry(peak, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -baseKw);
    const layers: number[] = [];
    for (let s = 0; s < FLAT_LAYERS; s++) {
      const floorKw = (topKw * s) / FLAT_LAYERS;
      const room = Math.max(0, (topKw * (s + 1)) / FLAT_LAYERS - Math.max(floorKw, baseKw));
      layers.push(builder.addColumn(((2 * s + 1) / FLAT_LAYERS) * hours, 0, room));
    }
    enter();
    for (const layer of layers) builder.addEntry(layer, -1);
    builder.endRow(0, 0);
  }
  return { topKw };
}

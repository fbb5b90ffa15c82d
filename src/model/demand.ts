import { HOUR_MS } from "../domain/charging.ts";
import { forPresence } from "../domain/measure.ts";
import { forSurplus, importBaseOf } from "../domain/surplus.ts";
import { demandWindows } from "../domain/tariff.ts";
import type { LpBuilder } from "./lp.ts";
import { horizonHours, PEAK_PER_HOUR } from "./pricing.ts";
import {
  addPowerEntry,
  type DemandColumns,
  type FlatColumns,
  type Layer,
  type Powers,
  type SurplusColumns,
} from "./program.ts";

/** Layers below the level that the needs force. */
const FLAT_LAYERS = 12;

/** The demand charge: one peak, at least the mean import of every demand window and the peak already seen, whose excess costs. */
export function addDemandCharge(
  powers: Powers,
  builder: LpBuilder,
  surplus: SurplusColumns | undefined,
): DemandColumns | undefined {
  const { problem, charging, pricing } = powers;
  const tariff = problem.site.tariff;
  if (pricing.demand === 0 || tariff === undefined) return undefined;
  const windows = demandWindows(problem);
  const base = importBaseOf(problem);
  const baseKw = windows.map((window) => base(window.startMs, window.endMs) / 1000);
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
    if (surplus !== undefined) {
      forSurplus(problem, surplus.surplusW, window, (k, hours) => {
        if (surplus.columns[k] >= 0) builder.addEntry(surplus.columns[k], -hours / window.hours);
      });
    }
    builder.addEntry(column, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -baseKw[w]);
  });
  return { column, leastKw };
}

/**
 * The flattest load: the site's mean import in each slot is cut into layers that cost more the
 * higher they lie (the square of the load, in steps), and the highest import of all costs on top,
 * so that the peak is least first and the rest is level below it, to within a layer.
 */
export function addFlatness(
  powers: Powers,
  builder: LpBuilder,
  surplus: SurplusColumns | undefined,
): FlatColumns | undefined {
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
  const layers = layersUpTo(powers, topKw);
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
      if (surplus !== undefined && surplus.columns[k] >= 0) builder.addEntry(surplus.columns[k], -1);
    };
    enter();
    builder.addEntry(peak, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -baseKw);
    const columns: number[] = [];
    for (const { fromKw, toKw, price } of layers) {
      const roomKw = toKw - Math.max(fromKw, baseKw);
      if (roomKw > 0) columns.push(builder.addColumn(price * hours, 0, roomKw));
    }
    enter();
    for (const column of columns) builder.addEntry(column, -1);
    builder.endRow(0, 0);
  }
  return { layers };
}

/** Equal layers from the lowest base load to the level that the needs force, and one for what limits force above. */
function layersUpTo(powers: Powers, topKw: number): Layer[] {
  const lowKw = powers.baseW.reduce((least, baseW) => Math.min(least, baseW / 1000), topKw);
  const levelKw = Math.max(lowKw, Math.min(topKw, forcedLevelKw(powers)));
  const kwOf = (layer: number) => lowKw + ((levelKw - lowKw) * layer) / FLAT_LAYERS;
  const layers = Array.from({ length: FLAT_LAYERS }, (_, s) => ({
    fromKw: kwOf(s),
    toKw: kwOf(s + 1),
    price: (2 * s + 1) / FLAT_LAYERS,
  }));
  return [...layers, { fromKw: levelKw, toKw: topKw, price: 2 }];
}

/**
 * The highest mean import that some stretch of time can't do without: its base load and the needs
 * of all who come and leave within it. Without limits the flattest load goes no higher (Yao,
 * Demers and Shenker 1995, "A scheduling model for reduced CPU energy": the critical interval).
 */
function forcedLevelKw(powers: Powers): number {
  const { problem, charging, baseW, offsets, hours, maxKw } = powers;
  const starts = problem.slotStartsMs;
  const baseKwh = new Float64Array(starts.length);
  for (let k = 0; k < baseW.length; k++) {
    baseKwh[k + 1] = baseKwh[k] + ((baseW[k] / 1000) * (starts[k + 1] - starts[k])) / HOUR_MS;
  }
  const needs = problem.sessions.map(({ energyWh }, i) => {
    let mostKwh = 0;
    for (let n = offsets[i]; n < offsets[i + 1]; n++) mostKwh += hours[n] * maxKw[n];
    return { ...charging.stays[i], energyKwh: Math.min(energyWh / 1000, mostKwh) };
  });
  needs.sort((a, b) => a.end - b.end);
  let levelKw = 0;
  for (const first of new Set(needs.map((need) => need.first))) {
    let energyKwh = 0;
    for (const need of needs) {
      if (need.first < first || need.end === first) continue;
      energyKwh += need.energyKwh;
      const stretchKwh = energyKwh + baseKwh[need.end] - baseKwh[first];
      levelKw = Math.max(levelKw, stretchKwh / ((starts[need.end] - starts[first]) / HOUR_MS));
    }
  }
  return levelKw;
}

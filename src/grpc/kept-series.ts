import type { Site, TimeSeries } from "../gen/wattslot/v1/optimizer.ts";
import { PhaseSeries } from "../gen/wattslot/v1/optimizer.ts";
import { SeriesKind } from "../gen/wattslot/v1/site.ts";
import { BOUNDS } from "./bounds.ts";

const DAY_MS = 86_400_000;

/** Which of a site's series: its kind, and the circuit and the phase where the kind has them. */
export interface SeriesName {
  kind: number;
  circuitId: string;
  phase: number;
}

const OF_CIRCUIT: readonly number[] = [
  SeriesKind.BASE_LOAD_W,
  SeriesKind.BASE_LOAD_A,
  SeriesKind.MAX_POWER_W,
];

/** Whether series of a kind belong to a circuit. */
export function isOfCircuit(kind: number): boolean {
  return OF_CIRCUIT.includes(kind);
}

export function seriesKey({ kind, circuitId, phase }: SeriesName): string {
  return JSON.stringify([kind, circuitId, phase]);
}

export function seriesName(key: string): SeriesName {
  const [kind, circuitId, phase] = JSON.parse(key) as [number, string, number];
  return { kind, circuitId, phase };
}

/** When a series begins and ends, epoch ms. */
export function spanOf({ startTime, stepSeconds, values }: TimeSeries): { startMs: number; endMs: number } {
  const startMs = startTime?.getTime() ?? 0;
  return { startMs, endMs: startMs + values.length * stepSeconds * 1000 };
}

/**
 * A kept series with newer values in place of those for the same time. Between its end and a later start its last
 * value holds; before an earlier start there is nothing but the newer values. Where steps or their boundaries differ,
 * the result has steps that fit both. What ended a day before `nowMs` is left out, and so is what is more than the
 * contract takes: the end. Without a kept series: the newer one.
 */
export function spliced(kept: TimeSeries | undefined, newer: TimeSeries, nowMs: number): TimeSeries {
  if (kept === undefined || kept.values.length === 0) return trimmed(newer, nowMs);
  const old = spanOf(kept);
  const fresh = spanOf(newer);
  const startMs = Math.min(old.startMs, fresh.startMs);
  const endMs = Math.max(old.endMs, fresh.endMs);
  const offsetS = Math.abs(fresh.startMs - old.startMs) / 1000;
  // Starts are on whole seconds, or the values would stand between the steps.
  const stepS = [kept.stepSeconds, newer.stepSeconds, Math.round(offsetS)].reduce(greatestCommonDivisor);
  const count = Math.min(BOUNDS.seriesValues, Math.ceil((endMs - startMs) / (stepS * 1000)));
  const values = Array.from({ length: count }, (_, n) => {
    const atMs = startMs + n * stepS * 1000;
    const isFresh = atMs >= fresh.startMs && (atMs < fresh.endMs || old.endMs <= fresh.endMs);
    return isFresh || atMs < old.startMs
      ? valueAt(newer, fresh.startMs, atMs)
      : valueAt(kept, old.startMs, atMs);
  });
  return trimmed({ startTime: new Date(startMs), stepSeconds: stepS, values }, nowMs);
}

function valueAt({ stepSeconds, values }: TimeSeries, startMs: number, atMs: number): number {
  const n = Math.floor((atMs - startMs) / (stepSeconds * 1000));
  return values[Math.min(Math.max(0, n), values.length - 1)];
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Without what is older than a day; at least the last value is left. */
function trimmed(series: TimeSeries, nowMs: number): TimeSeries {
  const { startMs } = spanOf(series);
  const stepMs = series.stepSeconds * 1000;
  const past = Math.floor((nowMs - DAY_MS - startMs) / stepMs);
  const cut = Math.min(Math.max(0, past), series.values.length - 1);
  return cut === 0
    ? series
    : { ...series, startTime: new Date(startMs + cut * stepMs), values: series.values.slice(cut) };
}

/** A site with its kept series in the place of its own; those of circuits that it no longer has are left out. */
export function withSeries(site: Site, kept: readonly (SeriesName & { values: TimeSeries })[]): Site {
  const made = { ...site, circuits: site.circuits.map((circuit) => ({ ...circuit })) };
  for (const { kind, circuitId, phase, values } of kept) {
    const circuit = made.circuits.find((one) => one.circuitId === circuitId);
    if (kind === SeriesKind.PV_POWER_W) made.pvPowerW = values;
    else if (isOfCircuit(kind)) {
      if (circuit === undefined) continue;
      if (kind === SeriesKind.BASE_LOAD_W) circuit.baseLoadW = values;
      else if (kind === SeriesKind.MAX_POWER_W) circuit.maxPowerSeriesW = values;
      else {
        const others = circuit.baseLoadA.filter((one) => one.phase !== phase);
        circuit.baseLoadA = [...others, PhaseSeries.fromPartial({ phase: phase as never, currentA: values })];
      }
    } else if (made.tariff !== undefined) {
      made.tariff = { ...made.tariff };
      if (kind === SeriesKind.PRICE_PER_KWH)
        made.tariff.energyPrice = { $case: "pricePerKwh", value: values };
      else if (kind === SeriesKind.EXPORT_PRICE_PER_KWH) made.tariff.exportPricePerKwh = values;
      else made.tariff.carbonGPerKwh = values;
    }
  }
  return made;
}

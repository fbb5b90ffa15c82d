import { WattslotError } from "../domain/errors.ts";
import { priceAt } from "../domain/tariff.ts";
import { OptimizeRequest, PhaseSeries, type Site, type TimeSeries } from "../gen/wattslot/v1/optimizer.ts";
import { SeriesKind } from "../gen/wattslot/v1/site.ts";
import { BOUNDS } from "./bounds.ts";
import { toProblem } from "./convert.ts";
import { LARGEST } from "./findings.ts";

const DAY_MS = 86_400_000;
/** Wall-clock rules change on minutes; in a plan of slots a quarter of an hour is enough for what is only the day before. */
const RULES_S = 900;

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

/** What stands for the values of a step that others cut: the lowest limit, the highest load; of the rest the first. */
const WORST: Readonly<Record<number, (values: readonly number[]) => number>> = {
  [SeriesKind.MAX_POWER_W]: (values) => Math.min(...values),
  [SeriesKind.BASE_LOAD_W]: (values) => Math.max(...values),
  [SeriesKind.BASE_LOAD_A]: (values) => Math.max(...values),
};

/**
 * A kept series with newer values in place of those for the same time. Between its end and a later start its last
 * value holds; before an earlier start there is nothing but the newer values. Where steps or their boundaries differ,
 * the result has steps that fit both; where that would be more values than the contract takes, steps that fit the
 * newer, and the worst of what was kept in each. What ended a day before `nowMs` is left out, and more of the past
 * where there is too much. Throws RESOURCE_EXHAUSTED where that is not enough. Without a kept series, or one of which
 * nothing is left: the newer one.
 */
export function spliced(
  kept: TimeSeries | undefined,
  newer: TimeSeries,
  nowMs: number,
  kind: number = SeriesKind.PRICE_PER_KWH,
): TimeSeries {
  if (kept === undefined || kept.values.length === 0) return trimmed(newer, nowMs);
  const old = spanOf(kept);
  const fresh = spanOf(newer);
  if (fresh.startMs <= Math.max(old.startMs, nowMs) && fresh.endMs >= old.endMs) return trimmed(newer, nowMs);
  const endMs = Math.max(old.endMs, fresh.endMs);
  const leadMs = fresh.startMs - Math.min(old.startMs, fresh.startMs);
  const worst = WORST[kind] ?? ((values: readonly number[]) => values[0]);
  const commonS = greatestCommonDivisor(kept.stepSeconds, newer.stepSeconds);
  // Starts are on whole seconds, or the values would stand between the steps.
  const exactS = greatestCommonDivisor(commonS, Math.round(Math.abs(fresh.startMs - old.startMs) / 1000));
  for (const stepSeconds of [exactS, commonS, newer.stepSeconds]) {
    const stepMs = stepSeconds * 1000;
    const firstMs = fresh.startMs - Math.ceil(leadMs / stepMs) * stepMs;
    const all = Math.ceil((endMs - firstMs) / stepMs);
    const past = (atMs: number) => Math.min(all - 1, Math.max(0, Math.floor((atMs - firstMs) / stepMs)));
    const skipped = Math.max(past(nowMs - DAY_MS), all - BOUNDS.seriesValues);
    if (skipped > past(nowMs)) continue;
    const startMs = firstMs + skipped * stepMs;
    const values = Array.from({ length: all - skipped }, (_, n) => {
      const atMs = startMs + n * stepMs;
      const isFresh = atMs >= fresh.startMs && (atMs < fresh.endMs || old.endMs <= fresh.endMs);
      return isFresh || atMs + stepMs <= old.startMs
        ? newer.values[indexAt(newer, fresh.startMs, atMs)]
        : worst(valuesOver(kept, old.startMs, atMs, atMs + stepMs));
    });
    return { startTime: new Date(startMs), stepSeconds, values };
  }
  const description =
    `more than ${BOUNDS.seriesValues} values with what is kept until ${new Date(endMs).toISOString()}: ` +
    "put fewer, or replace what is kept";
  throw new WattslotError("RESOURCE_EXHAUSTED", `request too large: values ${description}`, {
    violations: [{ field: "values", description }],
  });
}

function indexAt({ stepSeconds, values }: TimeSeries, startMs: number, atMs: number): number {
  const n = Math.floor((atMs - startMs) / (stepSeconds * 1000));
  return Math.min(Math.max(0, n), values.length - 1);
}

function valuesOver(series: TimeSeries, startMs: number, fromMs: number, toMs: number): number[] {
  return series.values.slice(indexAt(series, startMs, fromMs), indexAt(series, startMs, toMs - 1) + 1);
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

/**
 * A site with its kept series in the place of its own; those of circuits that it no longer has are left out. Before
 * one begins the site's own holds, and where it has none the first value.
 */
export function withSeries(
  site: Site,
  kept: readonly (SeriesName & { values: TimeSeries })[],
  nowMs: number,
): Site {
  const made = { ...site, circuits: site.circuits.map((circuit) => ({ ...circuit })) };
  for (const { kind, circuitId, phase, values } of kept) {
    const circuit = made.circuits.find((one) => one.circuitId === circuitId);
    const { stepSeconds } = values;
    const { startMs } = spanOf(values);
    const aheadSteps = Math.ceil(Math.max(0, startMs - nowMs) / (stepSeconds * 1000));
    const begin = new Date(startMs - aheadSteps * stepSeconds * 1000);
    const always = (value: number): TimeSeries => ({ startTime: begin, stepSeconds, values: [value] });
    const from = (own: TimeSeries | undefined) => begun(values, own, nowMs, kind);
    if (kind === SeriesKind.PV_POWER_W) made.pvPowerW = from(made.pvPowerW ?? always(0));
    else if (isOfCircuit(kind)) {
      if (circuit === undefined) continue;
      if (kind === SeriesKind.BASE_LOAD_W)
        circuit.baseLoadW = from(circuit.baseLoadW ?? always(values.values[0]));
      else if (kind === SeriesKind.MAX_POWER_W)
        circuit.maxPowerSeriesW = from(
          circuit.maxPowerSeriesW ?? always(circuit.maxPowerW ?? LARGEST.powerW),
        );
      else {
        const own = circuit.baseLoadA.find((one) => one.phase === phase)?.currentA;
        const others = circuit.baseLoadA.filter((one) => one.phase !== phase);
        const currentA = from(own ?? always(values.values[0]));
        circuit.baseLoadA = [...others, PhaseSeries.fromPartial({ phase: phase as never, currentA })];
      }
    } else if (made.tariff !== undefined) {
      made.tariff = { ...made.tariff };
      const { energyPrice, exportPricePerKwh, carbonGPerKwh } = made.tariff;
      if (kind === SeriesKind.PRICE_PER_KWH) {
        const own =
          energyPrice?.$case === "pricePerKwh" ? energyPrice.value : pricesUntil(site, startMs, nowMs);
        made.tariff.energyPrice = {
          $case: "pricePerKwh",
          value: from(own ?? always(values.values[0])) ?? values,
        };
      } else if (kind === SeriesKind.EXPORT_PRICE_PER_KWH)
        made.tariff.exportPricePerKwh = from(exportPricePerKwh ?? always(values.values[0]));
      else made.tariff.carbonGPerKwh = from(carbonGPerKwh ?? always(values.values[0]));
    }
  }
  return made;
}

/** A series as it holds from now on; until it begins the site's own, which is left alone where the other is far away. */
function begun(
  values: TimeSeries,
  own: TimeSeries | undefined,
  nowMs: number,
  kind: number,
): TimeSeries | undefined {
  if (spanOf(values).startMs <= nowMs) return values;
  try {
    return spliced(own, values, nowMs, kind);
  } catch {
    return own;
  }
}

/** The prices of a site's own rules by the quarter of an hour, as a series; undefined where it has none. */
function pricesUntil(site: Site, untilMs: number, nowMs: number): TimeSeries | undefined {
  if (site.tariff?.energyPrice?.$case !== "timeOfUse" || untilMs <= nowMs) return undefined;
  const { tariff, timeZone } = toProblem(OptimizeRequest.fromPartial({ site }), nowMs).site;
  if (tariff === undefined || !("rules" in tariff.price)) return undefined;
  const { price } = tariff;
  const stepMs = RULES_S * 1000;
  const startMs = Math.floor(nowMs / stepMs) * stepMs;
  const count = Math.min(BOUNDS.seriesValues, Math.ceil((untilMs - startMs) / stepMs));
  const values = Array.from({ length: count }, (_, n) => priceAt(price, timeZone, startMs + n * stepMs) ?? 0);
  return { startTime: new Date(startMs), stepSeconds: RULES_S, values };
}

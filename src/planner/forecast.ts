import { DateTime } from "luxon";
import { HOUR_MS } from "../domain/charging.ts";
import type { Site } from "../domain/problem.ts";
import { rangeOver, type Series, valueAt } from "../domain/series.ts";
import { chanceOf } from "./random.ts";
import type { Scenario } from "./scenario.ts";

/** What is not known beforehand. */
export interface Forecast {
  /** Standard deviation of the error of a forecast, as a share of what comes. */
  pvError: number;
  baseLoadError: number;
  seed: number;
  /**
   * Minute of the local day at which the next day's prices are published, 780 for 13:00; undefined: prices are
   * known as far as they go. Wall-clock prices are a contract and known anyway.
   */
  pricesPublishedMinute: number | undefined;
}

/** How much of an error is still there an hour later: weather and habits last. */
const PERSISTENCE = 0.9;
const DAY_MS = 24 * HOUR_MS;

/**
 * Tells the site as it is known at an instant, for slots from there on: what is metered now holds for the first
 * slot, from then on forecasts with their errors; prices that are not published yet are those of the day before.
 */
export function foresightOf(scenario: Scenario): (slotStartsMs: readonly number[]) => Site {
  const { base, forecast, startMs, endMs, horizonMs, slotMs } = scenario;
  const { site } = base;
  if (forecast === undefined) return () => site;
  const { pvError, baseLoadError, seed } = forecast;
  const hours = Math.ceil((endMs + horizonMs - startMs) / HOUR_MS) + 1;
  const blur = (n: number, error: number) => {
    const factors = factorsOf(seed + n, error, hours);
    return (truth: Series | undefined, slotStartsMs: readonly number[]): Series | undefined => {
      if (truth === undefined || error === 0) return truth;
      const values = Float64Array.from(slotStartsMs.slice(0, -1), (atMs, k) =>
        k === 0
          ? valueAt(truth, atMs)
          : rangeOver(truth, atMs, slotStartsMs[k + 1]).mean *
            factors[Math.min(hours - 1, Math.floor((atMs - startMs) / HOUR_MS))],
      );
      return { startMs: Math.floor(slotStartsMs[0] / slotMs) * slotMs, stepMs: slotMs, values };
    };
  };
  const blurPv = blur(0, pvError);
  const blurLoads = site.circuits.map((_, c) => blur(c + 1, baseLoadError));
  return (slotStartsMs) => {
    const untilMs = publishedUntilMs(scenario, slotStartsMs[0]);
    const published = (prices: Series) => withoutUnpublished(prices, slotStartsMs, slotMs, untilMs);
    const { tariff } = site;
    return {
      ...site,
      pvPowerW: blurPv(site.pvPowerW, slotStartsMs),
      circuits: site.circuits.map((circuit, c) => {
        const [l1, l2, l3] = circuit.baseLoadA.map((series) => blurLoads[c](series, slotStartsMs));
        return {
          ...circuit,
          baseLoadW: blurLoads[c](circuit.baseLoadW, slotStartsMs),
          baseLoadA: [l1, l2, l3],
        };
      }),
      tariff: tariff && {
        ...tariff,
        price: "rules" in tariff.price ? tariff.price : published(tariff.price),
        exportPricePerKwh: tariff.exportPricePerKwh && published(tariff.exportPricePerKwh),
      },
    };
  };
}

/** When prices are published next after an instant; Infinity where they are known anyway. */
export function nextPublicationMs({ base, forecast }: Scenario, atMs: number): number {
  const minutes = forecast?.pricesPublishedMinute;
  const { tariff, timeZone } = base.site;
  if (minutes === undefined || tariff === undefined || "rules" in tariff.price)
    return Number.POSITIVE_INFINITY;
  const today = DateTime.fromMillis(atMs, { zone: timeZone }).startOf("day");
  const at = (days: number) =>
    today
      .plus({ days })
      .set({ hour: Math.floor(minutes / 60), minute: minutes % 60 })
      .toMillis();
  return at(0) > atMs ? at(0) : at(1);
}

/** Until when prices are known at an instant. */
function publishedUntilMs({ base, forecast }: Scenario, atMs: number): number {
  const minutes = forecast?.pricesPublishedMinute;
  if (minutes === undefined) return Number.POSITIVE_INFINITY;
  const now = DateTime.fromMillis(atMs, { zone: base.site.timeZone });
  const isPublished = now.hour * 60 + now.minute >= minutes;
  return now
    .startOf("day")
    .plus({ days: isPublished ? 2 : 1 })
    .toMillis();
}

function withoutUnpublished(
  prices: Series,
  slotStartsMs: readonly number[],
  slotMs: number,
  untilMs: number,
): Series {
  if (slotStartsMs[slotStartsMs.length - 1] <= untilMs) return prices;
  const values = Float64Array.from(slotStartsMs.slice(0, -1), (atMs, k) => {
    const backMs = atMs < untilMs ? 0 : Math.ceil((atMs - untilMs + 1) / DAY_MS) * DAY_MS;
    return rangeOver(prices, atMs - backMs, slotStartsMs[k + 1] - backMs).mean;
  });
  return { startMs: Math.floor(slotStartsMs[0] / slotMs) * slotMs, stepMs: slotMs, values };
}

/** Forecast over truth in each hour: errors that fade, never below nothing. */
function factorsOf(seed: number, error: number, hours: number): Float64Array {
  const chance = chanceOf(seed);
  const fresh = Math.sqrt(1 - PERSISTENCE ** 2);
  const factors = new Float64Array(hours);
  let deviation = chance.normal();
  for (let h = 0; h < hours; h++) {
    factors[h] = Math.max(0, 1 + error * deviation);
    deviation = PERSISTENCE * deviation + fresh * chance.normal();
  }
  return factors;
}

import { HOUR_MS } from "./charging.ts";
import type { Problem, Tariff, TimeOfUse, TimeOfUseRule } from "./problem.ts";
import { rangeOver } from "./series.ts";
import { wallClock } from "./wall-clock.ts";

const MINUTE_MS = 60_000;
// Offsets of the world's zones and their changes fall on quarters of an hour.
const OFFSET_MS = 15 * MINUTE_MS;

/** Mean import price of each slot, per kWh; zeros without a tariff. Wall-clock rules follow the site's zone, daylight saving included. */
export function slotPrices(problem: Problem): Float64Array {
  const { tariff, timeZone } = problem.site;
  const starts = problem.slotStartsMs;
  const prices = new Float64Array(starts.length - 1);
  if (tariff === undefined) return prices;
  const { price } = tariff;
  if ("rules" in price) {
    const pieceMs = price.rules
      .flatMap((rule) => [rule.fromMinute, rule.toMinute])
      .reduce((step, minute) => gcd(step, minute * MINUTE_MS), OFFSET_MS);
    for (let k = 0; k < prices.length; k++)
      prices[k] = meanOfRules(price, timeZone, starts[k], starts[k + 1], pieceMs);
  } else {
    for (let k = 0; k < prices.length; k++) prices[k] = rangeOver(price, starts[k], starts[k + 1]).mean;
  }
  return prices;
}

/** Mean carbon intensity of each slot, g per kWh; zeros where unknown. */
export function slotCarbon(problem: Problem): Float64Array {
  const starts = problem.slotStartsMs;
  const series = problem.site.tariff?.carbonGPerKwh;
  const carbon = new Float64Array(starts.length - 1);
  if (series !== undefined) {
    for (let k = 0; k < carbon.length; k++) carbon[k] = rangeOver(series, starts[k], starts[k + 1]).mean;
  }
  return carbon;
}

/** The price that the first fitting rule sets at an instant; undefined where no rule fits. */
export function priceAt(tariff: TimeOfUse, timeZone: string, atMs: number): number | undefined {
  const local = wallClock(timeZone, atMs);
  const minute = local.getUTCHours() * 60 + local.getUTCMinutes();
  const day = (local.getUTCMonth() + 1) * 100 + local.getUTCDate();
  // Monday is 1 and Sunday 7 (ISO 8601).
  const weekday = local.getUTCDay() || 7;
  return tariff.rules.find((rule) => fits(rule, weekday, minute, day))?.pricePerKwh;
}

/** A stretch of time over whose mean import the demand charge is reckoned. */
export interface DemandWindow {
  startMs: number;
  endMs: number;
  /** Hours that the mean is taken over: what of the window lies in the plan, at least a minute. */
  hours: number;
}

/** The demand windows of the plan, on multiples of their length in UTC; none without a demand charge. */
export function demandWindows(problem: Problem): DemandWindow[] {
  const tariff = problem.site.tariff;
  if (tariff === undefined || tariff.demandPricePerKw === 0) return [];
  const starts = problem.slotStartsMs;
  const planStartMs = starts[0];
  const planEndMs = starts[starts.length - 1];
  const lengthMs = tariff.demandWindowMs;
  const windows: DemandWindow[] = [];
  for (let at = Math.floor(planStartMs / lengthMs) * lengthMs; at < planEndMs; at += lengthMs) {
    const startMs = Math.max(at, planStartMs);
    const endMs = Math.min(at + lengthMs, planEndMs);
    // What was imported in a window's part before the plan is not known: the rest stands for it.
    windows.push({ startMs, endMs, hours: Math.max(endMs - startMs, MINUTE_MS) / HOUR_MS });
  }
  return windows;
}

/** What the demand charge costs at a peak, beyond what the billing period has already seen. */
export function demandCost(tariff: Tariff | undefined, peakW: number): number {
  if (tariff === undefined) return 0;
  return (tariff.demandPricePerKw * Math.max(0, peakW - tariff.demandPeakSoFarW)) / 1000;
}

function meanOfRules(
  tariff: TimeOfUse,
  timeZone: string,
  fromMs: number,
  toMs: number,
  pieceMs: number,
): number {
  let sum = 0;
  for (let at = fromMs; at < toMs; ) {
    const next = Math.min(toMs, (Math.floor(at / pieceMs) + 1) * pieceMs);
    sum += (priceAt(tariff, timeZone, at) ?? 0) * (next - at);
    at = next;
  }
  return sum / (toMs - fromMs);
}

function fits(rule: TimeOfUseRule, weekday: number, minute: number, day: number): boolean {
  return (
    rule.weekdays.includes(weekday) &&
    within(minute, rule.fromMinute, rule.toMinute - 1) &&
    within(day, rule.fromDay, rule.toDay)
  );
}

/** first .. last inclusive; last before first runs over the turn. */
function within(value: number, first: number, last: number): boolean {
  return first <= last ? first <= value && value <= last : value >= first || value <= last;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

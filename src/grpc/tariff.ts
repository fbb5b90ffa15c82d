import { DateTime } from "luxon";
import type { Tariff, TimeOfUseRule } from "../domain/problem.ts";
import type { Series } from "../domain/series.ts";
import { wallClock } from "../domain/wall-clock.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { BOUNDS } from "./bounds.ts";
import { type Findings, LARGEST } from "./findings.ts";
import { readSeries } from "./series.ts";

const MINUTE_MS = 60_000;
const QUARTER_MINUTES = 15;
const DAY_MINUTES = 24 * 60;
const DAY_SECONDS = 24 * 3600;

const PRICE = { min: -LARGEST.pricePerKwh, max: LARGEST.pricePerKwh };
const CHARGE = { min: 0, max: LARGEST.pricePerKwh };
const CARBON = { min: 0, max: LARGEST.carbonGPerKwh };

/** When the plan runs and in whose wall clock. */
export interface PlanTime {
  startMs: number;
  /** NaN where it could not be made out. */
  endMs: number;
  timeZone: string;
}

/** Whether the tariff says what importing costs: then there is something to minimise. */
export function hasPrice(tariff: wire.Tariff | undefined): boolean {
  return tariff !== undefined && (tariff.energyPrice !== undefined || tariff.demandPricePerKw !== 0);
}

/** Reads the site's tariff. Without a price of energy the price is 0. */
export function readTariff(
  findings: Findings,
  tariff: wire.Tariff | undefined,
  time: PlanTime,
): Tariff | undefined {
  if (tariff === undefined) return undefined;
  const field = "site.tariff";
  if (!/^[A-Z]{3}$/.test(tariff.currency)) {
    findings.wrong(`${field}.currency`, "must be three capital letters (ISO 4217)");
  }
  const windowSeconds =
    tariff.demandWindowSeconds === 0
      ? 900
      : findings.whole(`${field}.demand_window_seconds`, tariff.demandWindowSeconds, 60, DAY_SECONDS);
  if (DAY_SECONDS % windowSeconds > 0) {
    findings.wrong(
      `${field}.demand_window_seconds`,
      `must be a divisor of ${DAY_SECONDS}, is ${windowSeconds}`,
    );
  }
  return {
    currency: tariff.currency,
    price: readPrice(findings, field, tariff.energyPrice, time),
    demandPricePerKw: findings.number(`${field}.demand_price_per_kw`, tariff.demandPricePerKw, CHARGE),
    demandPeakSoFarW: findings.number(`${field}.demand_peak_so_far_w`, tariff.demandPeakSoFarW, {
      min: 0,
      max: LARGEST.powerW,
    }),
    demandWindowMs: windowSeconds * 1000,
    carbonGPerKwh: readSeries(
      findings,
      `${field}.carbon_g_per_kwh`,
      tariff.carbonGPerKwh,
      CARBON,
      time.startMs,
    ),
    exportPricePerKwh: readSeries(
      findings,
      `${field}.export_price_per_kwh`,
      tariff.exportPricePerKwh,
      PRICE,
      time.startMs,
    ),
  };
}

function readPrice(
  findings: Findings,
  field: string,
  price: wire.Tariff["energyPrice"],
  time: PlanTime,
): Tariff["price"] {
  const free: Series = { startMs: time.startMs, stepMs: MINUTE_MS, values: new Float64Array(1) };
  switch (price?.$case) {
    case undefined:
      return free;
    case "pricePerKwh":
      return readSeries(findings, `${field}.price_per_kwh`, price.value, PRICE, time.startMs) ?? free;
    case "timeOfUse":
      return { rules: readRules(findings, `${field}.time_of_use.rules`, price.value.rules, time) };
  }
}

function readRules(
  findings: Findings,
  field: string,
  rules: readonly wire.TimeOfUseRule[],
  time: PlanTime,
): TimeOfUseRule[] {
  if (rules.length === 0) findings.wrong(field, "needs at least one rule");
  if (rules.length > BOUNDS.timeOfUseRules) {
    findings.tooLarge(field, `at most ${BOUNDS.timeOfUseRules} rules, has ${rules.length}`);
    return [];
  }
  const read = rules.map((rule, n) => readRule(findings, `${field}[${n}]`, rule));
  const isReadable = read.every((rule) =>
    [rule.fromMinute, rule.toMinute, rule.fromDay, rule.toDay].every(Number.isFinite),
  );
  const hole = isReadable && read.length > 0 ? firstHole(read, time) : undefined;
  if (hole !== undefined) findings.wrong(field, `no rule covers ${hole} (local time)`);
  return read;
}

function readRule(findings: Findings, field: string, rule: wire.TimeOfUseRule): TimeOfUseRule {
  const { weekdays, fromLocal, toLocal, fromDate, toDate } = rule;
  if (weekdays.length > 7) findings.wrong(`${field}.weekdays`, "at most 7");
  for (let n = 0; n < Math.min(weekdays.length, 7); n++) {
    findings.whole(`${field}.weekdays[${n}]`, weekdays[n], 1, 7);
  }
  const fromMinute = readMinute(findings, `${field}.from_local`, fromLocal, DAY_MINUTES - 1);
  const toMinute = readMinute(findings, `${field}.to_local`, toLocal, DAY_MINUTES);
  if (fromMinute === toMinute) {
    findings.wrong(`${field}.to_local`, "is from_local: a whole day is 00:00 to 24:00");
  }
  return {
    weekdays: weekdays.length === 0 ? [1, 2, 3, 4, 5, 6, 7] : weekdays.slice(0, 7),
    fromMinute,
    toMinute,
    fromDay: fromDate === "" ? 101 : readDay(findings, `${field}.from_date`, fromDate),
    toDay: toDate === "" ? 1231 : readDay(findings, `${field}.to_date`, toDate),
    pricePerKwh: findings.number(`${field}.price_per_kwh`, rule.pricePerKwh, PRICE),
  };
}

/** Minutes of the day of "HH:MM"; NaN where it is none. */
function readMinute(findings: Findings, field: string, text: string, latest: number): number {
  const [, hour, minute] = /^(\d\d):([0-5]\d)$/.exec(text) ?? [];
  const minutes = Number(hour) * 60 + Number(minute);
  if (minutes <= latest) return minutes;
  findings.wrong(field, `must be "HH:MM" from 00:00 to ${latest === DAY_MINUTES ? "24:00" : "23:59"}`);
  return Number.NaN;
}

/** Month * 100 + day of "MM-DD", 02-29 included; NaN where it is none. */
function readDay(findings: Findings, field: string, text: string): number {
  // 2024 is a leap year.
  if (/^\d\d-\d\d$/.test(text) && DateTime.fromISO(`2024-${text}`).isValid) {
    return Number(text.slice(0, 2)) * 100 + Number(text.slice(3));
  }
  findings.wrong(field, 'must be a date, "MM-DD"');
  return Number.NaN;
}

/**
 * The first minute of the plan that no rule covers, in local time; undefined where there is none.
 * Walks the plan by quarters of an hour, on which the world's zones have their offsets and change
 * them, and looks their minutes up in the day's: exact on days with a missing or doubled hour, too.
 */
function firstHole(
  rules: readonly TimeOfUseRule[],
  { startMs, endMs, timeZone }: PlanTime,
): string | undefined {
  const days = new Map<string, Uint8Array>();
  const quarterMs = QUARTER_MINUTES * MINUTE_MS;
  for (let at = Math.floor(startMs / quarterMs) * quarterMs; at < endMs; at += quarterMs) {
    const local = wallClock(timeZone, at);
    if (Number.isNaN(local.getTime())) return undefined;
    const weekday = local.getUTCDay() || 7;
    const day = (local.getUTCMonth() + 1) * 100 + local.getUTCDate();
    const key = `${weekday} ${day}`;
    const covered = days.get(key) ?? coverage(rules, weekday, day);
    days.set(key, covered);
    for (let n = 0; n < QUARTER_MINUTES; n++) {
      const fromMs = at + n * MINUTE_MS;
      if (fromMs + MINUTE_MS <= startMs || fromMs >= endMs) continue;
      if (covered[local.getUTCHours() * 60 + local.getUTCMinutes() + n] === 0) {
        const hole = new Date(local.getTime() + n * MINUTE_MS).toISOString();
        return hole.slice(0, 16).replace("T", " ");
      }
    }
  }
  return undefined;
}

/** 1 for each minute of a day that some rule covers. */
function coverage(rules: readonly TimeOfUseRule[], weekday: number, day: number): Uint8Array {
  const covered = new Uint8Array(DAY_MINUTES);
  for (const { weekdays, fromMinute, toMinute, fromDay, toDay } of rules) {
    const isOn = fromDay <= toDay ? fromDay <= day && day <= toDay : day >= fromDay || day <= toDay;
    if (!isOn || !weekdays.includes(weekday)) continue;
    if (fromMinute < toMinute) covered.fill(1, fromMinute, toMinute);
    else covered.fill(1, 0, toMinute).fill(1, fromMinute);
  }
  return covered;
}

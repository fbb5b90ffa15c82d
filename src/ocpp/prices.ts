import type { ChargingSchedule } from "../domain/plan.ts";
import type { PriceForm, Problem, ScheduleOffer } from "../domain/problem.ts";
import { compress } from "./compress.ts";
import { stayParts } from "./profile.ts";

/** Most entries of each form: a level of ISO 15118 is a byte, and the 2.1 schema has 100 entries with levels. */
const MOST_ENTRIES: Record<PriceForm, number> = {
  salesTariff: 255,
  absolutePriceSchedule: 1024,
  priceLevelSchedule: 100,
};

/** The price is that of the energy, for each kWh (ISO 15118-20). */
const PRICE_ALGORITHM = "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power";

/** The largest value of a RationalNumber of ISO 15118-20, which has 16 bits. */
const LARGEST_VALUE = 2 ** 15 - 1;
const MOST_DIGITS = 6;

interface PriceEntry {
  startS: number;
  durationS: number;
  pricePerKwh: number;
}

/**
 * What energy costs while a session's schedule lasts, as its vehicle wants to be told. `prices` has one value a
 * slot, for each kWh. Where it takes fewer entries than there are prices, neighbours are merged that differ least
 * over time, at the higher price; what is rounded is rounded up. Undefined where no entry is left for it, or the
 * stay has no time.
 *
 * - salesTariff: level 1 is the cheapest; RelativePricePercentage is in percent of the highest price, and left out
 *   where that is not above 0. A price below 0 is 0 %.
 * - absolutePriceSchedule: the price of a kWh from 0 W on, in the tariff's currency.
 * - priceLevelSchedule: level 0 is the cheapest.
 */
export function pricesOf(
  problem: Problem,
  i: number,
  offer: ScheduleOffer,
  { id, startScheduleMs, periods }: ChargingSchedule,
  prices: Float64Array,
): ChargingSchedule["prices"] {
  const { priceForm: form, maxScheduleTuples, isDynamic } = offer;
  const { tariff } = problem.site;
  if (form === undefined || tariff === undefined || startScheduleMs === undefined) return undefined;
  const most = Math.min(MOST_ENTRIES[form], maxScheduleTuples - (isDynamic ? periods.length : 0));
  const entries = entriesOf(problem, i, prices, startScheduleMs, most);
  if (entries.length === 0) return undefined;
  const levels = [...new Set(entries.map(({ pricePerKwh }) => pricePerKwh))].sort((a, b) => a - b);
  const levelOf = ({ pricePerKwh }: PriceEntry) => levels.indexOf(pricePerKwh);
  const timeAnchor = `${new Date(startScheduleMs).toISOString().slice(0, 19)}Z`;
  switch (form) {
    case "salesTariff": {
      const highest = levels[levels.length - 1];
      const salesTariffEntry = entries.map((entry) => ({
        relativeTimeInterval: { start: entry.startS, duration: entry.durationS },
        ePriceLevel: levelOf(entry) + 1,
        ...(highest > 0 ? { consumptionCost: [relativeCost(entry.pricePerKwh / highest)] } : {}),
      }));
      return { form, value: { id, numEPriceLevels: levels.length, salesTariffEntry } };
    }
    case "absolutePriceSchedule": {
      const priceRuleStacks = entries.map(({ durationS, pricePerKwh }) => ({
        duration: durationS,
        priceRule: [{ energyFee: rationalOf(pricePerKwh), powerRangeStart: { exponent: 0, value: 0 } }],
      }));
      const { currency } = tariff;
      const head = {
        timeAnchor,
        priceScheduleID: id,
        currency,
        language: "en",
        priceAlgorithm: PRICE_ALGORITHM,
      };
      return { form, value: { ...head, priceRuleStacks } };
    }
    case "priceLevelSchedule": {
      const priceLevelScheduleEntries = entries.map((entry) => ({
        duration: entry.durationS,
        priceLevel: levelOf(entry),
      }));
      const head = { timeAnchor, priceScheduleId: id, numberOfPriceLevels: levels.length };
      return { form, value: { ...head, priceLevelScheduleEntries } };
    }
  }
}

/** The prices of a stay from the start of its schedule on, in at most so many entries. */
function entriesOf(
  problem: Problem,
  i: number,
  prices: Float64Array,
  zeroMs: number,
  most: number,
): PriceEntry[] {
  const parts = stayParts(problem, problem.sessions[i]);
  if (parts.length === 0 || most < 1) return [];
  const highest = parts.reduce((high, { slot }) => Math.max(high, prices[slot]), Number.NEGATIVE_INFINITY);
  // Merged levels come to the one nearest to 0: below the highest price that is the higher one.
  const priceOf = new Map(parts.map(({ slot }) => [prices[slot] - highest, prices[slot]]));
  const endMs = parts[parts.length - 1].toMs;
  const { periods } = compress(
    parts.map(({ slot, fromMs }, n) => ({
      atMs: n === 0 ? zeroMs : fromMs,
      level: prices[slot] - highest,
    })),
    endMs,
    most,
  );
  return periods.map(({ atMs, level }, n) => ({
    startS: (atMs - zeroMs) / 1000,
    durationS: ((periods[n + 1]?.atMs ?? endMs) - atMs) / 1000,
    pricePerKwh: priceOf.get(level) ?? highest,
  }));
}

/** A share of the highest price, from the first watt-hour on. */
function relativeCost(share: number): object {
  const amount = Math.ceil(100 * Math.max(0, share) - 1e-9);
  return { startValue: 0, cost: [{ costKind: "RelativePricePercentage", amount }] };
}

/** A price as value x 10^exponent, not lower than it is. */
function rationalOf(price: number): { exponent: number; value: number } {
  let digits = MOST_DIGITS;
  while (digits > 0 && Math.abs(price) * 10 ** digits > LARGEST_VALUE) digits--;
  let value = Math.ceil(price * 10 ** digits - 1e-6);
  while (digits > 0 && value % 10 === 0) {
    value /= 10;
    digits--;
  }
  return { exponent: 0 - digits, value: value + 0 };
}

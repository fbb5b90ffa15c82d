import { type Charging, HOUR_MS } from "../domain/charging.ts";
import type { Problem } from "../domain/problem.ts";
import { exportPrices, surplusOf } from "../domain/surplus.ts";
import { demandWindows, slotCarbon, slotPrices } from "../domain/tariff.ts";

// Weight of charging late, and of the secondary goal, in units of the mean price: small enough
// to give way to any price that matters, large enough for a solver's tolerance of 1e-7.
/** Most that charging late costs, in units of the mean price. */
export const EARLY = 2e-4;
const SECONDARY = 1e-3;
const DEFAULT_CHANGE = 1e-3;
const OVER = 2e-3;
/** For a kWh that a limit allows and the battery does not take, in units of the mean price. */
export const UNDRAWN = 2e-3;
/** Wear that only breaks ties, in units of the mean price for each kWh stored or taken out again. */
export const WEAR = 1e-3;
// Of energy that a vehicle leaves without, in units of the mean price, where the request tells none.
const DEFAULT_WORTH = 3;
/** All weights that only break ties add up to less than this, in units of the mean price. */
export const TIE_BREAKS = 5e-3;
/** Cost of a kW of site peak over that of a kWh in the dearest segment, with FLATTEST. */
export const PEAK_PER_HOUR = 2;

/** The objective's weights. One unit is `unit` of the tariff's currency (1 without a price to go by). */
export interface Pricing {
  unit: number;
  /** Cost of a kWh of session i in slot k. */
  slotCost(i: number, k: number): number;
  /** Money of a kWh imported in slot k, and of one unit of the currency, in the objective's terms. */
  importMoney(k: number): number;
  moneyScale: number;
  /** What a kWh that the site makes itself saves in slot k: the price of import less that of export. */
  ownSaving(k: number): number;
  /** Added for a kWh above the installed plan. */
  change: number;
  /** Cost of a kW more of the demand charge's peak; 0 where there is none. */
  demand: number;
  /** Cost of a kW more at the site's planned peak; 0 where none is paid for or avoided. */
  peak: number;
  /** Lowest penalty for a kWh not delivered: above the dearest way to deliver one. */
  unmet: number;
  /** Of a kWh that a vehicle leaves without because it left early. */
  worth: number;
  /** For a kWh above the need, which the vehicle will not draw: gives back a little less than the least that it can have cost. */
  over: number;
}

/**
 * Weights for the request's preference. What a missing kWh costs follows from the request's own
 * prices: the span of the slot costs, a change, and the demand charge if the kWh falls alone
 * into the shortest stretch of a demand window that a vehicle is there.
 */
export function pricingOf(problem: Problem, charging: Charging): Pricing {
  const { preference, site, carbonPricePerKg } = problem;
  const starts = problem.slotStartsMs;
  const horizonMs = starts[starts.length - 1] - starts[0];
  const prices = slotPrices(problem);
  const carbon = slotCarbon(problem);
  const money = prices.map((price, k) => price + (carbonPricePerKg * carbon[k]) / 1000);
  const meanPrice = meanSize(money);
  const unit = preference === "LOWEST_COST" && meanPrice > 0 ? meanPrice : 1;
  const costs = new Float64Array(money.length);
  for (let k = 0; k < costs.length; k++) {
    const secondary = meanPrice > 0 ? (SECONDARY * money[k]) / meanPrice : 0;
    if (preference === "LOWEST_COST") costs[k] = money[k] / unit;
    else if (preference === "LOWEST_CARBON") costs[k] = carbon[k] / (meanSize(carbon) || 1) + secondary;
    // No price here: time orders all slots, and in a long plan by less than a price would count.
    else if (preference === "EARLIEST") costs[k] = (starts[k] - starts[0]) / horizonMs;
    else costs[k] = secondary;
  }
  const early = preference === "EARLIEST" ? 0 : EARLY;
  const tariff = site.tariff;
  const demand = preference === "LOWEST_COST" && tariff !== undefined ? tariff.demandPricePerKw / unit : 0;
  const change =
    problem.changePricePerKwh === undefined
      ? DEFAULT_CHANGE
      : problem.changePricePerKwh / (preference === "LOWEST_COST" ? unit : meanPrice || 1);
  const worth =
    problem.unmetPricePerKwh === undefined
      ? DEFAULT_WORTH
      : problem.unmetPricePerKwh / (preference === "LOWEST_COST" ? unit : meanPrice || 1);
  const moneyScale = preference === "LOWEST_COST" ? 1 / unit : meanPrice > 0 ? SECONDARY / meanPrice : 0;
  const savings = ownSavings(problem, costs, moneyScale);
  const highest = costs.reduce((a, b) => Math.max(a, b), 0);
  const cheapest = costs.reduce((a, b, k) => Math.min(a, b - savings[k]), Number.POSITIVE_INFINITY);
  const lowest = Math.min(0, cheapest);
  const shortest = Math.min(
    ...demandWindows(problem).map((window) => window.hours),
    Number.POSITIVE_INFINITY,
  );
  let peakPerKwh = demand === 0 ? 0 : demand / shortest;
  if (preference === "FLATTEST") {
    const shortestSlot = starts
      .slice(1)
      .reduce((least, end, k) => Math.min(least, end - starts[k]), horizonMs);
    peakPerKwh += PEAK_PER_HOUR * (1 + horizonMs / shortestSlot);
  }
  return {
    unit,
    slotCost: (i, k) => {
      const { first, hours } = charging.stays[i];
      return costs[k] + (early * (k - first)) / hours.length;
    },
    importMoney: (k) => money[k] * moneyScale,
    moneyScale,
    ownSaving: (k) => savings[k],
    change,
    demand,
    peak: preference === "FLATTEST" ? PEAK_PER_HOUR * (horizonMs / HOUR_MS) : demand,
    unmet: Math.max(2 * (highest - lowest + early + change) + peakPerKwh + 1, worth),
    worth,
    over: OVER - cheapest,
  };
}

/** What a kWh of the site's own production saves in each slot, in the objective's terms; 0 where there is no surplus. */
function ownSavings(problem: Problem, costs: Float64Array, moneyScale: number): Float64Array {
  const surplusW = surplusOf(problem);
  if (surplusW === undefined || problem.preference === "EARLIEST") return new Float64Array(costs.length);
  const paid = exportPrices(problem);
  return costs.map((cost, k) => (surplusW[k] > 0 ? Math.max(0, cost - paid[k] * moneyScale) : 0));
}

/** Mean of the absolute values; 0 for none. */
function meanSize(values: Float64Array): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
}

/** Hours of the plan. */
export function horizonHours(problem: Problem): number {
  const starts = problem.slotStartsMs;
  return (starts[starts.length - 1] - starts[0]) / HOUR_MS;
}

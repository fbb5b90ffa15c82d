import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PriceForm, Problem, ScheduleOffer } from "../../src/domain/problem.ts";
import { slotPrices } from "../../src/domain/tariff.ts";
import { toPayload } from "../../src/ocpp/payload.ts";
import { pricesOf } from "../../src/ocpp/prices.ts";
import { toProfile } from "../../src/ocpp/profile.ts";
import { validateProfile } from "../../src/ocpp/rules.ts";
import { evse, problem, START_MS, session, slotsOf, tariff } from "../support/problems.ts";
import { validatorFor } from "./schema.ts";

const HOUR_MS = 3_600_000;

function offerOf(over: Partial<ScheduleOffer> & { priceForm: PriceForm }): ScheduleOffer {
  return { maxScheduleTuples: Number.POSITIVE_INFINITY, maxSchedules: 1, isDynamic: false, ...over };
}

/** A vehicle that stays as long as there are hourly prices. */
function priced(prices: number[], offer: ScheduleOffer, clockLagMs = 0): Problem {
  const endMs = START_MS + prices.length * HOUR_MS;
  return problem({
    site: {
      ...problem().site,
      evses: [evse({}, { version: "2.1", clockLagMs })],
      tariff: tariff({ prices }),
    },
    sessions: [session({ departureMs: endMs, offer })],
    slotStartsMs: slotsOf(START_MS, endMs, HOUR_MS),
  });
}

/** What the vehicle is told, in a payload that schema and rules take. */
function told(one: Problem, offer: ScheduleOffer): Record<string, unknown> | undefined {
  const { profile } = toProfile(one, 0, new Float64Array(one.slotStartsMs.length - 1));
  const [schedule] = profile.schedules;
  const prices = pricesOf(one, 0, offer, schedule, slotPrices(one));
  const payload = JSON.parse(
    toPayload({ ...profile, schedules: [{ ...schedule, prices }] }, one.site.evses[0]),
  );
  expect(validatorFor("2.1")(payload)).toEqual([]);
  const needs = Number.isFinite(offer.maxScheduleTuples)
    ? { maxScheduleTuples: offer.maxScheduleTuples }
    : {};
  const transaction = { transactionId: "1", needs };
  expect(validateProfile(payload.chargingProfile, { version: "2.1", evseId: 1, transaction })).toEqual([]);
  return payload.chargingProfile.chargingSchedule[0][offer.priceForm ?? ""];
}

const read = (prices: number[], over: Parameters<typeof offerOf>[0], clockLagMs = 0) => {
  const offer = offerOf(over);
  return told(priced(prices, offer, clockLagMs), offer);
};

describe("a salesTariff", () => {
  const cost = (amount: number) => ({
    consumptionCost: [{ startValue: 0, cost: [{ costKind: "RelativePricePercentage", amount }] }],
  });

  it("has levels from the cheapest on, and percent of the highest price, rounded up", () => {
    expect(read([0.2, 0.3, 0.3, 0.1], { priceForm: "salesTariff" })).toEqual({
      id: 1,
      numEPriceLevels: 3,
      salesTariffEntry: [
        // 66.7 and 33.3 % of 0.30.
        { relativeTimeInterval: { start: 0, duration: 3600 }, ePriceLevel: 2, ...cost(67) },
        { relativeTimeInterval: { start: 3600, duration: 7200 }, ePriceLevel: 3, ...cost(100) },
        { relativeTimeInterval: { start: 10_800, duration: 3600 }, ePriceLevel: 1, ...cost(34) },
      ],
    });
  });

  it("knows no percent of nothing, and none below 0", () => {
    const entries = (prices: number[]) =>
      (read(prices, { priceForm: "salesTariff" }) as { salesTariffEntry: object[] }).salesTariffEntry;
    expect(entries([-0.1, 0.2]).map((entry) => ({ ...entry, relativeTimeInterval: 0 }))).toEqual([
      { relativeTimeInterval: 0, ePriceLevel: 1, ...cost(0) },
      { relativeTimeInterval: 0, ePriceLevel: 2, ...cost(100) },
    ]);
    for (const entry of entries([-0.1, 0])) expect(entry).not.toHaveProperty("consumptionCost");
  });

  it("merges neighbours that differ least, at the higher price, to as many entries as are taken", () => {
    const entries = (most: number) => {
      const found = read([0.1, 0.12, 0.3, 0.1], { priceForm: "salesTariff", maxScheduleTuples: most });
      return (found as { salesTariffEntry: { relativeTimeInterval: object; ePriceLevel: number }[] })
        .salesTariffEntry;
    };
    // The first two hours count as 0.12.
    expect(
      entries(3).map(({ ePriceLevel, relativeTimeInterval }) => [ePriceLevel, relativeTimeInterval]),
    ).toEqual([
      [2, { start: 0, duration: 7200 }],
      [3, { start: 7200, duration: 3600 }],
      [1, { start: 10_800, duration: 3600 }],
    ]);
    expect(entries(1)).toHaveLength(1);
    expect(entries(1)[0]).toMatchObject({
      relativeTimeInterval: { start: 0, duration: 14_400 },
      ...cost(100),
    });
  });

  it("counts from an earlier start where the charger's clock is behind", () => {
    const found = read([0.2, 0.3], { priceForm: "salesTariff" }, 60_000);
    const { salesTariffEntry } = found as { salesTariffEntry: { relativeTimeInterval: object }[] };
    expect(salesTariffEntry.map(({ relativeTimeInterval }) => relativeTimeInterval)).toEqual([
      { start: 0, duration: 3660 },
      { start: 3660, duration: 3600 },
    ]);
  });
});

describe("an absolutePriceSchedule", () => {
  it("has the price of a kWh as a rational number, whole time covered", () => {
    const rule = (exponent: number, value: number) => [
      { energyFee: { exponent, value }, powerRangeStart: { exponent: 0, value: 0 } },
    ];
    expect(read([0.2573, 0, -0.05, 12_500], { priceForm: "absolutePriceSchedule" })).toEqual({
      timeAnchor: "2026-11-23T08:00:00Z",
      priceScheduleID: 1,
      currency: "EUR",
      language: "en",
      priceAlgorithm: "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
      priceRuleStacks: [
        { duration: 3600, priceRule: rule(-4, 2573) },
        { duration: 3600, priceRule: rule(0, 0) },
        { duration: 3600, priceRule: rule(-2, -5) },
        { duration: 3600, priceRule: rule(0, 12_500) },
      ],
    });
  });

  it("is never lower than the price, and within 16 bits", () => {
    fc.assert(
      fc.property(fc.double({ min: -10_000, max: 10_000, noNaN: true }), (price) => {
        const found = read([price], { priceForm: "absolutePriceSchedule" });
        const [{ priceRule }] = (found as { priceRuleStacks: { priceRule: { energyFee: unknown }[] }[] })
          .priceRuleStacks;
        const { exponent, value } = priceRule[0].energyFee as { exponent: number; value: number };
        expect(Math.abs(value)).toBeLessThan(2 ** 15);
        const said = value * 10 ** exponent;
        expect(said).toBeGreaterThanOrEqual(price - 1e-6);
        // Four digits of it at the least.
        expect(said - price).toBeLessThanOrEqual(Math.max(1e-6, Math.abs(price) * 3.1e-4) + 1e-9);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a priceLevelSchedule", () => {
  it("has levels from 0, the cheapest, on", () => {
    expect(read([0.2, 0.3, 0.3, 0.1], { priceForm: "priceLevelSchedule" })).toEqual({
      timeAnchor: "2026-11-23T08:00:00Z",
      priceScheduleId: 1,
      numberOfPriceLevels: 3,
      priceLevelScheduleEntries: [
        { duration: 3600, priceLevel: 1 },
        { duration: 7200, priceLevel: 2 },
        { duration: 3600, priceLevel: 0 },
      ],
    });
  });

  it("has at most 100 entries", () => {
    const prices = Array.from({ length: 300 }, (_, n) => ((n * 37) % 300) / 1000);
    const found = read(prices, { priceForm: "priceLevelSchedule" });
    const { priceLevelScheduleEntries: entries } = found as {
      priceLevelScheduleEntries: { duration: number }[];
    };
    expect(entries).toHaveLength(100);
    expect(entries.reduce((sumS, { duration }) => sumS + duration, 0)).toBe(300 * 3600);
  });
});

it("in DynamicControl has the entries that the periods leave, or is not told", () => {
  // The one period of a plan of nothing takes one.
  const count = (maxScheduleTuples: number) => {
    const over = { priceForm: "priceLevelSchedule" as const, maxScheduleTuples, isDynamic: true };
    const found = read([0.1, 0.2, 0.3, 0.4], over);
    return (found as { priceLevelScheduleEntries: object[] } | undefined)?.priceLevelScheduleEntries.length;
  };
  expect([1, 2, 3, 5, 9].map(count)).toEqual([undefined, 1, 2, 4, 4]);
});

import { describe, expect, test } from "vitest";
import { HOUR_MS } from "../../src/domain/charging.ts";
import { rangeOver, type Series } from "../../src/domain/series.ts";
import { type Forecast, foresightOf, nextPublicationMs } from "../../src/planner/forecast.ts";
import { measureRun } from "../../src/planner/measures.ts";
import { slotsOf } from "../../src/planner/scenario.ts";
import { simulate } from "../../src/planner/simulate.ts";
import type { Strategy } from "../../src/planner/strategy.ts";
import { circuit, START_MS, series, tariff } from "../support/problems.ts";
import { scenario, visit } from "../support/scenarios.ts";

const DAY_MS = 24 * HOUR_MS;
const MIDNIGHT_MS = START_MS - 8 * HOUR_MS;
const forecast = (over: Partial<Forecast> = {}): Forecast => ({
  pvError: 0,
  baseLoadError: 0,
  seed: 1,
  pricesPublishedMinute: undefined,
  ...over,
});

describe("published prices", () => {
  // 0 on the first day, 1 on the second, 2 on the third; each hour a hundredth more.
  const prices = series(
    MIDNIGHT_MS,
    HOUR_MS,
    Array.from({ length: 72 }, (_, h) => Math.floor(h / 24) + (h % 24) / 100),
  );
  const one = scenario({
    site: { timeZone: "UTC", tariff: { ...tariff(), price: prices } },
    forecast: forecast({ pricesPublishedMinute: 13 * 60 }),
    endMs: START_MS + 2 * DAY_MS,
  });
  const seenAt = (fromMs: number, atMs: number) => {
    const slots = slotsOf({ startMs: fromMs, endMs: fromMs + 48 * HOUR_MS, slotMs: HOUR_MS / 4 });
    const { tariff: seen } = foresightOf(one)(slots);
    return rangeOver(seen?.price as Series, atMs, atMs + HOUR_MS / 4).mean;
  };

  test("before 13:00 tomorrow is like today, from 13:00 it is what it will be", () => {
    const tomorrowMs = MIDNIGHT_MS + DAY_MS + 9 * HOUR_MS;
    expect(seenAt(START_MS, MIDNIGHT_MS + 20 * HOUR_MS)).toBeCloseTo(0.2, 9);
    expect(seenAt(MIDNIGHT_MS + 12.75 * HOUR_MS, tomorrowMs)).toBeCloseTo(0.09, 9);
    expect(seenAt(MIDNIGHT_MS + 13 * HOUR_MS, tomorrowMs)).toBeCloseTo(1.09, 9);
    // The day after is then like tomorrow.
    expect(seenAt(MIDNIGHT_MS + 13 * HOUR_MS, tomorrowMs + DAY_MS)).toBeCloseTo(1.09, 9);
  });

  test("a publication is an event, at 13:00 of the wall clock", async () => {
    expect(nextPublicationMs(one, START_MS)).toBe(MIDNIGHT_MS + 13 * HOUR_MS);
    expect(nextPublicationMs(one, MIDNIGHT_MS + 13 * HOUR_MS)).toBe(MIDNIGHT_MS + 37 * HOUR_MS);
    const asked: number[] = [];
    const listener: Strategy = {
      name: "listener",
      title: "Listens",
      decide: ({ slotStartsMs: [atMs], sessions }) => {
        asked.push(atMs);
        return { payloads: sessions.map(() => undefined) };
      },
    };
    const rare = { ...one, everyMs: DAY_MS, visits: [visit({ departureMs: START_MS + DAY_MS })] };
    await simulate(rare, listener);
    expect(asked).toEqual([START_MS, MIDNIGHT_MS + 13 * HOUR_MS, MIDNIGHT_MS + DAY_MS]);
  });
});

describe("errors of forecasts", () => {
  const load = series(MIDNIGHT_MS, HOUR_MS, [10_000]);
  const one = scenario({
    site: { circuits: [circuit({ baseLoadW: load })], pvPowerW: load },
    forecast: forecast({ pvError: 0.2, baseLoadError: 0.1 }),
    endMs: START_MS + 20 * DAY_MS,
  });

  test("what is metered now is right; what comes errs as much as it is said to", () => {
    const deviations = { pv: 0, load: 0 };
    const days = 20;
    for (let day = 0; day < days; day++) {
      const startMs = START_MS + day * DAY_MS;
      const slots = slotsOf({ startMs, endMs: startMs + DAY_MS, slotMs: HOUR_MS / 4 });
      const { pvPowerW, circuits } = foresightOf(one)(slots);
      expect(pvPowerW?.values[0]).toBe(10_000);
      expect(circuits[0].baseLoadW?.values[0]).toBe(10_000);
      for (let k = 1; k < slots.length - 1; k++) {
        deviations.pv += (pvPowerW!.values[k] / 10_000 - 1) ** 2 / (days * 95);
        deviations.load += (circuits[0].baseLoadW!.values[k] / 10_000 - 1) ** 2 / (days * 95);
      }
    }
    expect(Math.abs(Math.sqrt(deviations.pv) - 0.2)).toBeLessThan(0.05);
    expect(Math.abs(Math.sqrt(deviations.load) - 0.1)).toBeLessThan(0.025);
  });

  test("the bill is for what came", async () => {
    const idle: Strategy = { name: "idle", title: "Idle", decide: () => ({ payloads: [undefined] }) };
    const { site } = one.base;
    const dark = { ...one.base, site: { ...site, pvPowerW: undefined } };
    const short = { ...one, base: dark, endMs: START_MS + 4 * HOUR_MS };
    expect(measureRun(short, await simulate(short, idle)).importWh).toBeCloseTo(40_000, 6);
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InstalledPlan, Session, Site, TimeSeries } from "../../src/gen/wattslot/v1/optimizer.ts";
import { SeriesKind } from "../../src/gen/wattslot/v1/site.ts";
import { spliced, withSeries } from "../../src/grpc/kept-series.ts";
import {
  allowedAtW,
  begunBy,
  continued,
  drawnWh,
  higherOf,
  isAsleep,
  measured,
  neededWh,
  remaining,
} from "../../src/grpc/progress.ts";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 10, 23, 8);
const at = (hours: number) => START_MS + hours * HOUR_MS;

function seriesFrom(hours: number, stepSeconds: number, values: number[]): TimeSeries {
  return TimeSeries.fromPartial({ startTime: new Date(at(hours)), stepSeconds, values });
}
function planFrom(hours: number, values: number[]): InstalledPlan {
  return InstalledPlan.fromPartial({ sessionId: "a", powerW: seriesFrom(hours, 3600, values) });
}

describe("kept series", () => {
  test("newer values take the place of those for the same time; the rest stays", () => {
    const kept = spliced(seriesFrom(0, 3600, [1, 2, 3, 4]), seriesFrom(2, 3600, [30]), START_MS);
    expect(kept).toMatchObject({ startTime: new Date(at(0)), stepSeconds: 3600, values: [1, 2, 30, 4] });
  });

  test("a gap is filled with the last value, and what comes before is put in front", () => {
    expect(spliced(seriesFrom(0, 3600, [1, 2]), seriesFrom(4, 3600, [5]), START_MS).values).toEqual([
      1, 2, 2, 2, 5,
    ]);
    expect(spliced(seriesFrom(2, 3600, [1]), seriesFrom(0, 3600, [7]), START_MS)).toMatchObject({
      startTime: new Date(at(0)),
      values: [7, 7, 1],
    });
  });

  test("other steps and offsets are split into what fits both", () => {
    const kept = spliced(seriesFrom(0, 3600, [1, 2]), seriesFrom(0.5, 900, [8, 9]), START_MS);
    expect(kept).toMatchObject({ stepSeconds: 900, values: [1, 1, 8, 9, 2, 2, 2, 2] });
  });

  test("what ended more than a day ago is forgotten, but for the last value", () => {
    const kept = spliced(seriesFrom(-30, 3600, [1, 2, 3]), seriesFrom(-27, 3600, [4, 5, 6, 7, 8]), START_MS);
    expect(kept).toMatchObject({ startTime: new Date(at(-24)), values: [7, 8] });
    expect(spliced(undefined, seriesFrom(-99, 3600, [1, 2]), START_MS).values).toEqual([2]);
  });

  test("where steps become too fine the past goes, and never the future", () => {
    // A load put once a minute by a clock that is off by a second each time.
    let kept = seriesFrom(0, 60, [0]);
    for (let n = 1; n <= 60 * 15; n++)
      kept = spliced(kept, seriesFrom(n / 60 + (n % 7) / 3600, 60, [n]), at(n / 60));
    expect(kept.values.length).toBeLessThanOrEqual(50_000);
    expect(allowedAtW({ powerW: kept } as InstalledPlan, at(15.1))).toBe(900);
    // A month ahead by the quarter, and a limit from an odd second on: the worst of what was kept in each step.
    const month = seriesFrom(
      0,
      900,
      Array.from({ length: 30 * 96 }, (_, n) => 60_000 + n),
    );
    const odd = spliced(month, seriesFrom(14 + 443 / 3600, 900, [4200]), at(14), SeriesKind.MAX_POWER_W);
    expect(odd.stepSeconds).toBe(900);
    expect([14, 14.2, 14.5, 700].map((h) => allowedAtW({ powerW: odd } as InstalledPlan, at(h)))).toEqual([
      60_055, 4200, 60_057, 62_799,
    ]);
    const load = spliced(month, seriesFrom(14 + 443 / 3600, 900, [4200]), at(14), SeriesKind.BASE_LOAD_W);
    expect([14, 14.5].map((h) => allowedAtW({ powerW: load } as InstalledPlan, at(h)))).toEqual([
      60_056, 60_058,
    ]);
    // What is to come for as long is all that counts: a wrong step is gone with it.
    const wrong = spliced(undefined, seriesFrom(0, 7, [1, 2, 3]), at(0));
    const right = seriesFrom(0, 3600, [1, 2, 3]);
    expect(spliced(wrong, right, at(0.5))).toEqual(right);
    const most = seriesFrom(0, 1, Array<number>(50_000).fill(1));
    expect(() => spliced(most, seriesFrom(14, 1, Array<number>(50_000).fill(2)), at(0))).toThrow("replace");
    const day = seriesFrom(0, 900, Array<number>(96).fill(60_000));
    const curtailed = spliced(day, seriesFrom(14 + 443 / 3600, 3600, [4200]), at(14));
    expect(
      [14.1, 14.2, 15.1, 15.2].map((h) => allowedAtW({ powerW: curtailed } as InstalledPlan, at(h))),
    ).toEqual([60_000, 4200, 4200, 60_000]);
  });

  test("until a series begins, the site's own holds", () => {
    const kept = (kind: SeriesKind, values: TimeSeries, circuitId = "") => [
      { kind, circuitId, phase: 0, values },
    ];
    const site = Site.fromPartial({
      siteId: "s",
      timeZone: "Europe/Berlin",
      circuits: [{ circuitId: "grid", maxPowerW: 50_000 }],
      tariff: {
        currency: "EUR",
        energyPrice: {
          $case: "timeOfUse",
          // 8:30 UTC is 9:30 in Berlin.
          value: {
            rules: [
              { fromLocal: "00:00", toLocal: "09:30", pricePerKwh: 0.1 },
              { fromLocal: "09:30", toLocal: "24:00", pricePerKwh: 0.3 },
            ],
          },
        },
      },
    });
    const limited = withSeries(
      site,
      kept(SeriesKind.MAX_POWER_W, seriesFrom(9, 3600, [4000]), "grid"),
      at(0.2),
    );
    const limit = limited.circuits[0].maxPowerSeriesW!;
    expect(limit.startTime!.getTime()).toBeLessThanOrEqual(at(0.2));
    expect([0.2, 8.9, 9.1].map((h) => allowedAtW({ powerW: limit } as InstalledPlan, at(h)))).toEqual([
      50_000, 50_000, 4000,
    ]);
    const priced = withSeries(site, kept(SeriesKind.PRICE_PER_KWH, seriesFrom(3, 3600, [0.7])), at(0.2));
    const price = priced.tariff!.energyPrice!.value as TimeSeries;
    expect([0.2, 0.6, 2.9, 3.1].map((h) => allowedAtW({ powerW: price } as InstalledPlan, at(h)))).toEqual([
      0.1, 0.3, 0.3, 0.7,
    ]);
    const sunny = withSeries(site, kept(SeriesKind.PV_POWER_W, seriesFrom(3, 900, [8000])), at(0));
    expect(sunny.pvPowerW!.values.at(0)).toBe(0);
    const loaded = withSeries(site, kept(SeriesKind.BASE_LOAD_W, seriesFrom(3, 900, [8000]), "grid"), at(0));
    expect(loaded.circuits[0].baseLoadW!.values.at(0)).toBe(8000);
  });

  test("at every instant the newest word holds", () => {
    const someSeries = fc.record({
      fromQuarter: fc.integer({ min: 0, max: 40 }),
      stepSeconds: fc.constantFrom(300, 900, 1800, 3600),
      values: fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 12 }),
    });
    fc.assert(
      fc.property(someSeries, someSeries, fc.integer({ min: 0, max: 100 }), (one, other, tenth) => {
        const [kept, newer] = [one, other].map(({ fromQuarter, stepSeconds, values }) =>
          seriesFrom(fromQuarter / 4, stepSeconds, values),
        );
        const atMs = at(tenth / 10);
        const valueIn = (series: TimeSeries) => {
          const startMs = series.startTime?.getTime() ?? 0;
          const n = Math.floor((atMs - startMs) / (series.stepSeconds * 1000));
          return n >= 0 && n < series.values.length ? series.values[n] : undefined;
        };
        const expected = valueIn(newer) ?? valueIn(kept);
        if (expected !== undefined) expect(valueIn(spliced(kept, newer, START_MS))).toBe(expected);
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe("progress", () => {
  const fresh = { needMeteredWh: 0 };

  test("what was drawn is the meter's word, and from then on the plan's", () => {
    const stay = { fromMs: at(0), allowed: planFrom(0, [4000, 8000, 0]) };
    // One hour of 4 kW and a half of 8 kW.
    expect(drawnWh(fresh, stay, at(1.5))).toBeCloseTo(8000, 6);
    // Metered 3 kWh after three quarters of an hour: a quarter of 4 kW and half of 8 kW are added.
    const metered = { ...fresh, meteredWh: 3000, meteredMs: at(0.75) };
    expect(drawnWh(metered, { ...stay, fromMs: at(0.75) }, at(1.5))).toBeCloseTo(8000, 6);
    // It was seen to take 2 kW of what it may.
    expect(drawnWh({ ...fresh, takenW: 2000 }, stay, at(2.5))).toBeCloseTo(4000, 6);
    expect(drawnWh(fresh, { ...stay, allowed: undefined }, at(5))).toBe(0);
  });

  test("what a plan allowed counts on when the next one is accepted", () => {
    // 4 kW from 8:00, 8 kW from 9:00; at 9:30 a plan of half hours that allows 2 kW.
    const next = InstalledPlan.fromPartial({ sessionId: "a", powerW: seriesFrom(1.5, 1800, [2000, 2000]) });
    const both = continued(planFrom(0, [4000, 8000, 0]), next, at(0.5));
    expect(both.powerW).toMatchObject({ startTime: new Date(at(0.5)), values: [4000, 8000, 2000, 2000] });
    expect(drawnWh(fresh, { fromMs: at(0.5), allowed: both }, at(2))).toBeCloseTo(7000, 6);
    expect(continued(undefined, next, at(0))).toEqual(next);
    // Steps that do not fit: as much energy.
    const odd = continued(
      planFrom(0, [4000, 8000]),
      { ...next, powerW: seriesFrom(1.25, 1800, [0]) },
      at(0.6),
    );
    expect(odd.powerW).toMatchObject({ startTime: new Date(at(0.25)), values: [4000, 6000, 0] });
  });

  test("a plan that begins when a clock was ahead has begun, with its first value", () => {
    expect(begunBy(planFrom(1, [3000, 4000]), at(-0.5)).powerW).toMatchObject({
      startTime: new Date(at(-1)),
      values: [3000, 3000, 3000, 4000],
    });
    const begun = planFrom(0, [3000]);
    expect(begunBy(begun, at(0))).toBe(begun);
  });

  test("is taken off energy, state of charge and what must be there early", () => {
    const session = Session.fromPartial({
      need: { $case: "energyWh", value: 20_000 },
      minimum: { energyWh: 6000, byTime: new Date(at(3)) },
      departureChances: [1, 2].map((hours) => ({ time: new Date(at(hours)), probability: 0.2 })),
    });
    const left = remaining(session, fresh, { drawn: 5000, efficiency: 0.9 }, at(1.5));
    expect(left.need).toEqual({ $case: "energyWh", value: 15_000 });
    expect(left.minimum?.energyWh).toBe(1000);
    expect(left.departureChances).toHaveLength(1);
    // The vehicle has told its need when 4 kWh had been metered.
    const told = remaining(session, { needMeteredWh: 4000 }, { drawn: 5000, efficiency: 0.9 }, at(1));
    expect(told.need).toEqual({ $case: "energyWh", value: 19_000 });
    const battery = Session.fromPartial({
      need: { $case: "stateOfCharge", value: { socPercent: 20, batteryCapacityWh: 50_000 } },
    });
    // 5 kWh at the meter are 4.5 in a battery of 50.
    expect(remaining(battery, fresh, { drawn: 5000, efficiency: 0.9 }, at(1)).need?.value).toMatchObject({
      socPercent: 29,
    });
    const measuredSoc = { needMeteredWh: 0, socPercent: 40, socMs: at(0.5), socMeteredWh: 3000 };
    expect(remaining(battery, measuredSoc, { drawn: 5000, efficiency: 1 }, at(1)).need?.value).toMatchObject({
      socPercent: 44,
    });
  });

  test("what must be there early is never more than what is needed, whatever the vehicle says", () => {
    // 39 % of 50 kWh are missing, at nine tenths: 21.67 kWh, where the meter leaves 22 of the minimum.
    const session = Session.fromPartial({
      need: {
        $case: "stateOfCharge",
        value: { socPercent: 20, batteryCapacityWh: 50_000, targetSocPercent: 80 },
      },
      minimum: { energyWh: 33_000, byTime: new Date(at(3)) },
    });
    const told = { needMeteredWh: 0, socPercent: 41, socMs: at(1), socMeteredWh: 11_000 };
    const left = remaining(session, told, { drawn: 11_000, efficiency: 0.9 }, at(1));
    expect(left.minimum?.energyWh).toBeCloseTo(21_666.667, 2);
    expect(left.minimum!.energyWh).toBeLessThanOrEqual(neededWh(left.need, 0.9));
    // A vehicle is full at 90 %, whatever its target.
    const need = { socPercent: 40, batteryCapacityWh: 50_000, targetSocPercent: 100, fullSocPercent: 90 };
    expect(neededWh({ $case: "stateOfCharge", value: { ...need, taper: undefined } as never }, 1)).toBe(
      25_000,
    );
  });

  test("a vehicle that takes less than nineteen twentieths is left a fifth more than it takes", () => {
    const { progress, isDue } = measured(fresh, { measuredMs: at(1), powerW: 7000 }, 11_000);
    expect([progress.takenW, isDue]).toEqual([8400, true]);
    // By its meter: 3 kWh in half an hour.
    const metered = { ...fresh, meteredWh: 1000, meteredMs: at(0.5) };
    expect(measured(metered, { measuredMs: at(1), meteredWh: 4000 }, 11_000).progress.takenW).toBe(7200);
    // Within its new limit it takes no more: nothing changes.
    const steady = measured(progress, { measuredMs: at(1.1), powerW: 7000 }, 8400);
    expect([steady.progress.takenW, steady.isDue]).toEqual([8400, false]);
    // It takes all that it may: it may have more again.
    const wants = measured(progress, { measuredMs: at(1.2), powerW: 8300 }, 8400);
    expect(wants.progress.takenW).toBeUndefined();
  });

  test("a vehicle that takes nothing for ten minutes sleeps until it takes something", () => {
    const first = measured(fresh, { measuredMs: at(1), powerW: 20 }, 11_000).progress;
    expect(isAsleep(first, at(1))).toBe(false);
    const later = measured(first, { measuredMs: at(1.2), powerW: 0 }, 4140);
    expect([isAsleep(later.progress, at(1.2)), later.isDue]).toEqual([true, true]);
    const awake = measured(later.progress, { measuredMs: at(1.3), powerW: 4000 }, 4140);
    expect([isAsleep(awake.progress, at(2)), awake.isDue]).toEqual([false, true]);
    // One that goes on taking nothing at all is not taken for one that takes all of nothing.
    const full = measured(fresh, { measuredMs: at(1), powerW: 0 }, 11_000);
    const still = measured(full.progress, { measuredMs: at(1.01), powerW: 0 }, 4140);
    expect([full.progress.takenW, full.isDue, still.progress.takenW, still.isDue]).toEqual([
      0,
      true,
      0,
      false,
    ]);
    // Where nothing is allowed nothing is expected.
    const paused = measured(fresh, { measuredMs: at(1), powerW: 0 }, 0).progress;
    expect(isAsleep(paused, at(9))).toBe(false);
  });

  test("what is older, or from a vehicle that gives, changes nothing", () => {
    const kept = { ...fresh, meteredWh: 5000, meteredMs: at(2) };
    expect(measured(kept, { measuredMs: at(1), meteredWh: 9000 }, 11_000)).toEqual({
      progress: kept,
      isDue: false,
    });
    expect(measured(fresh, { measuredMs: at(1), powerW: -7000 }, 11_000).progress.takenW).toBeUndefined();
    expect(measured(fresh, { measuredMs: at(1), powerW: 3000 }, undefined).progress.takenW).toBeUndefined();
  });

  test("a charger that holds either of two profiles counts with the higher at every instant", () => {
    const either = higherOf(planFrom(0, [4000, 8000, 0]), planFrom(1, [6000, 6000, 2000]));
    expect([0.5, 1.5, 2.5, 3.5].map((hours) => allowedAtW(either, at(hours)))).toEqual([
      6000, 8000, 6000, 2000,
    ]);
    const unknown = higherOf(5000, planFrom(0, [4000, 8000]));
    expect([0.5, 1.5].map((hours) => allowedAtW(unknown, at(hours)))).toEqual([5000, 8000]);
  });
});

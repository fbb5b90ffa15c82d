import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InstalledPlan, Session, TimeSeries } from "../../src/gen/wattslot/v1/optimizer.ts";
import { spliced } from "../../src/grpc/kept-series.ts";
import { allowedAtW, drawnWh, higherOf, isAsleep, measured, remaining } from "../../src/grpc/progress.ts";

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
    const stay = { putMs: at(0), arrivalMs: at(0), allowed: planFrom(0, [4000, 8000, 0]) };
    // One hour of 4 kW and a half of 8 kW.
    expect(drawnWh(fresh, stay, at(1.5))).toBeCloseTo(8000, 6);
    // Metered 3 kWh after three quarters of an hour: a quarter of 4 kW and half of 8 kW are added.
    expect(drawnWh({ ...fresh, meteredWh: 3000, meteredMs: at(0.75) }, stay, at(1.5))).toBeCloseTo(8000, 6);
    // It was seen to take 2 kW of what it may.
    expect(drawnWh({ ...fresh, takenW: 2000 }, stay, at(2.5))).toBeCloseTo(4000, 6);
    expect(drawnWh(fresh, { ...stay, allowed: undefined }, at(5))).toBe(0);
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

import { expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { rangeOver, valueAt } from "../../src/domain/series.ts";
import { START_MS, series } from "../support/problems.ts";

const MINUTE_MS = 60_000;
const at = (minute: number) => START_MS + minute * MINUTE_MS;
const one = series(START_MS, 10 * MINUTE_MS, [4, -2, 7]);

test("a value holds for its step, the first before and the last after the series", () => {
  expect([-100, 0, 9.999, 10, 19.999, 20, 29.999, 30, 1e6].map((minute) => valueAt(one, at(minute)))).toEqual(
    [4, 4, 4, -2, -2, 7, 7, 7, 7],
  );
});

test("smallest, largest and mean over a stretch", () => {
  expect(rangeOver(one, at(0), at(30))).toEqual({ min: -2, max: 7, mean: 3 });
  expect(rangeOver(one, at(0), at(10))).toEqual({ min: 4, max: 4, mean: 4 });
  expect(rangeOver(one, at(5), at(15))).toEqual({ min: -2, max: 4, mean: 1 });
  expect(rangeOver(one, at(12), at(13))).toEqual({ min: -2, max: -2, mean: -2 });
  // 20 minutes at 4 before the start are 4 as well.
  expect(rangeOver(one, at(-20), at(20))).toEqual({ min: -2, max: 4, mean: 2.5 });
  expect(rangeOver(one, at(-20), at(-10))).toEqual({ min: 4, max: 4, mean: 4 });
  expect(rangeOver(one, at(15), at(45))).toEqual({ min: -2, max: 7, mean: (-2 * 5 + 7 * 25) / 30 });
  expect(rangeOver(one, at(100), at(200))).toEqual({ min: 7, max: 7, mean: 7 });
  expect(rangeOver(series(START_MS, MINUTE_MS, [5]), at(-1), at(9))).toEqual({ min: 5, max: 5, mean: 5 });
});

test("as second by second", () => {
  const random = randomOf(1);
  for (let n = 0; n < 300; n++) {
    const some = series(
      START_MS + random.int(-600, 600) * 1000,
      random.int(1, 400) * 1000,
      Array.from({ length: random.int(1, 8) }, () => random.real(-10, 10)),
    );
    const fromMs = START_MS + random.int(-1000, 1000) * 1000;
    const toMs = fromMs + random.int(1, 2000) * 1000;
    const values: number[] = [];
    for (let ms = fromMs; ms < toMs; ms += 1000) values.push(valueAt(some, ms));
    const { min, max, mean } = rangeOver(some, fromMs, toMs);
    expect([min, max]).toEqual([Math.min(...values), Math.max(...values)]);
    expect(mean).toBeCloseTo(values.reduce((a, b) => a + b, 0) / values.length, 9);
  }
});

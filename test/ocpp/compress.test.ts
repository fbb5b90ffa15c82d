import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { compress, type Period } from "../../src/ocpp/compress.ts";

// Thousands of random cases take a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const HOUR_MS = 3_600_000;

/** Periods of one hour each. */
function hourly(levels: number[]): Period[] {
  return levels.map((level, hour) => ({ atMs: hour * HOUR_MS, level }));
}

function levelAt(periods: readonly Period[], atMs: number): number {
  return periods.findLast((period) => period.atMs <= atMs)?.level ?? Number.NaN;
}

/** Integral over time, level-hours. */
function areaOf(periods: readonly Period[], endMs: number): number {
  return periods.reduce(
    (sum, { atMs, level }, i) => sum + (level * ((periods[i + 1]?.atMs ?? endMs) - atMs)) / HOUR_MS,
    0,
  );
}

/** Least loss over every way to cut the periods into at most maxPeriods groups, each at its minimum. */
function bruteForceLoss(periods: readonly Period[], endMs: number, maxPeriods: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let cuts = 0; cuts < 2 ** (periods.length - 1); cuts++) {
    const groups: Period[][] = [[periods[0]]];
    for (let i = 1; i < periods.length; i++) {
      if ((cuts >> (i - 1)) & 1) groups.push([]);
      groups[groups.length - 1].push(periods[i]);
    }
    if (groups.length > maxPeriods) continue;
    const lowered = groups.map((group) => ({
      atMs: group[0].atMs,
      level: Math.min(...group.map((period) => period.level)),
    }));
    least = Math.min(least, areaOf(periods, endMs) - areaOf(lowered, endMs));
  }
  return least;
}

/** Loss of merging, again and again, the two neighbouring groups for which the whole loss rises least. */
function greedyLoss(periods: readonly Period[], endMs: number, maxPeriods: number): number {
  let groups = periods.map(({ atMs, level }, i) => {
    const hours = ((periods[i + 1]?.atMs ?? endMs) - atMs) / HOUR_MS;
    return { lowest: level, hours, area: level * hours };
  });
  const merge = (a: (typeof groups)[0], b: (typeof groups)[0]) => ({
    lowest: Math.min(a.lowest, b.lowest),
    hours: a.hours + b.hours,
    area: a.area + b.area,
  });
  const lossOf = (group: (typeof groups)[0]) => group.area - group.lowest * group.hours;
  while (groups.length > maxPeriods) {
    const rises = groups
      .slice(1)
      .map((group, i) => lossOf(merge(groups[i], group)) - lossOf(groups[i]) - lossOf(group));
    const at = rises.indexOf(Math.min(...rises));
    groups = [...groups.slice(0, at), merge(groups[at], groups[at + 1]), ...groups.slice(at + 2)];
  }
  return groups.reduce((sum, group) => sum + lossOf(group), 0);
}

const shape = fc.record({
  levels: fc.array(fc.constantFrom(0, 6, 7, 10, 16, 24, 32), { minLength: 1, maxLength: 10 }),
  minutes: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 10, maxLength: 10 }),
  hasSafeEnd: fc.boolean(),
  maxPeriods: fc.integer({ min: 1, max: 8 }),
});

function periodsOf({
  levels,
  minutes,
  hasSafeEnd,
}: {
  levels: number[];
  minutes: number[];
  hasSafeEnd: boolean;
}) {
  let atMs = 0;
  const periods = levels.map((level, i) => {
    const period = { atMs, level };
    atMs += minutes[i] * 60_000;
    return period;
  });
  if (hasSafeEnd) periods.push({ atMs, level: 0 });
  return { periods, endMs: atMs };
}

describe("compress", () => {
  it("merges equal neighbours without loss, even where there is room for all", () => {
    expect(compress(hourly([16, 16, 0, 0, 16]), 5 * HOUR_MS, 10)).toEqual({
      periods: [
        { atMs: 0, level: 16 },
        { atMs: 2 * HOUR_MS, level: 0 },
        { atMs: 4 * HOUR_MS, level: 16 },
      ],
      lostLevelHours: 0,
    });
  });

  it("gives up the least energy: the hour at 16 between two hours at 15 comes down", () => {
    // {15,16,15} {30} {6} loses 1; every other way to three periods lowers the 30, for 14 at least.
    expect(compress(hourly([15, 16, 15, 30, 6]), 5 * HOUR_MS, 3)).toEqual({
      periods: [
        { atMs: 0, level: 15 },
        { atMs: 3 * HOUR_MS, level: 30 },
        { atMs: 4 * HOUR_MS, level: 6 },
      ],
      lostLevelHours: 1,
    });
  });

  it("weighs by duration: a short peak goes before a long one that is lower", () => {
    // Five periods into three: taking out the 32 for 3 minutes loses 16 * 0.05, the 20 for 2 h loses 8.
    const periods = [
      { atMs: 0, level: 16 },
      { atMs: 60_000, level: 32 },
      { atMs: 240_000, level: 16 },
      { atMs: HOUR_MS, level: 20 },
      { atMs: 3 * HOUR_MS, level: 16 },
    ];
    const { periods: compressed, lostLevelHours } = compress(periods, 4 * HOUR_MS, 3);
    expect(compressed.map(({ level }) => level)).toEqual([16, 20, 16]);
    expect(lostLevelHours).toBeCloseTo(0.8, 12);
  });

  it("finds what merging the cheapest neighbours first would miss", () => {
    // The 6 and the first 10 are the cheapest pair (4), but then 16 must come down too: 10 in all.
    const { periods, lostLevelHours } = compress(hourly([6, 10, 16, 10]), 4 * HOUR_MS, 2);
    expect(periods.map(({ level }) => level)).toEqual([6, 10]);
    expect(lostLevelHours).toBe(6);
  });

  it("keeps a safe end that is passed without length, and counts it", () => {
    const periods = [...hourly([16, 10, 12]), { atMs: 3 * HOUR_MS, level: 0 }];
    const { periods: compressed, lostLevelHours } = compress(periods, 3 * HOUR_MS, 2);
    // {16,10,12}{0} loses 8; letting the 12 join the end too would lose 6 + 12.
    expect(compressed).toEqual([
      { atMs: 0, level: 10 },
      { atMs: 3 * HOUR_MS, level: 0 },
    ]);
    expect(lostLevelHours).toBe(8);
  });

  it("lets a short rest join the safe end where that is cheapest", () => {
    const periods = [...hourly([16, 6]), { atMs: 1.1 * HOUR_MS, level: 0 }];
    const { periods: compressed, lostLevelHours } = compress(periods, 1.1 * HOUR_MS, 2);
    expect(compressed).toEqual([
      { atMs: 0, level: 16 },
      { atMs: HOUR_MS, level: 0 },
    ]);
    expect(lostLevelHours).toBeCloseTo(0.6, 12);
  });

  it("a pause before the end shares its period", () => {
    const periods = [...hourly([16, 0, 6, 0]), { atMs: 4 * HOUR_MS, level: 0 }];
    const { periods: compressed, lostLevelHours } = compress(periods, 4 * HOUR_MS, 2);
    expect(compressed).toEqual([
      { atMs: 0, level: 16 },
      { atMs: HOUR_MS, level: 0 },
    ]);
    expect(lostLevelHours).toBe(6);
  });

  it("one period is the lowest level of all", () => {
    expect(compress(hourly([16, 6, 32]), 3 * HOUR_MS, 1)).toEqual({
      periods: [{ atMs: 0, level: 6 }],
      lostLevelHours: 36,
    });
  });

  it("loses exactly what the best of all groupings loses", () => {
    fc.assert(
      fc.property(shape, (input) => {
        const { periods, endMs } = periodsOf(input);
        const { lostLevelHours } = compress(periods, endMs, input.maxPeriods);
        expect(lostLevelHours).toBeCloseTo(bruteForceLoss(periods, endMs, input.maxPeriods), 9);
      }),
      { numRuns: 2000 },
    );
  });

  it("is never above its input, has only its levels, and accounts for every level-hour", () => {
    fc.assert(
      fc.property(shape, (input) => {
        const { periods, endMs } = periodsOf(input);
        const { periods: compressed, lostLevelHours } = compress(periods, endMs, input.maxPeriods);
        expect(compressed.length).toBeLessThanOrEqual(input.maxPeriods);
        expect(compressed[0].atMs).toBe(periods[0].atMs);
        for (const { atMs, level } of periods) {
          expect(levelAt(compressed, atMs)).toBeLessThanOrEqual(level);
        }
        for (const [i, { atMs, level }] of compressed.entries()) {
          expect(periods.map((period) => period.level)).toContain(level);
          expect(periods.map((period) => period.atMs)).toContain(atMs);
          if (i > 0) expect(atMs).toBeGreaterThan(compressed[i - 1].atMs);
          if (i > 0) expect(level).not.toBe(compressed[i - 1].level);
        }
        expect(areaOf(periods, endMs) - areaOf(compressed, endMs)).toBeCloseTo(lostLevelHours, 9);
      }),
      { numRuns: 2000 },
    );
  });

  it("leaves its input alone", () => {
    const periods = Object.freeze(hourly([1, 2, 3, 4]).map((period) => Object.freeze(period)));
    expect(compress(periods, 4 * HOUR_MS, 2).periods).toHaveLength(2);
  });

  describe("of many periods", () => {
    const long = hourly(Array.from({ length: 9000 }, (_, i) => 6 + ((i * 7919) % 261) / 10));
    long.push({ atMs: 9000 * HOUR_MS, level: 0 });
    const endMs = 9000 * HOUR_MS;

    it.each([1, 24, 400, 1024, 8000])(
      "in at most %i stays below the input and safe at the end",
      (maxPeriods) => {
        const { periods, lostLevelHours } = compress(long, endMs, maxPeriods);
        expect(periods.length).toBeLessThanOrEqual(maxPeriods);
        expect(levelAt(periods, endMs)).toBe(0);
        let current = 0;
        for (const { atMs, level } of long) {
          while (current + 1 < periods.length && periods[current + 1].atMs <= atMs) current++;
          expect(periods[current].level).toBeLessThanOrEqual(level);
        }
        expect(areaOf(long, endMs) - areaOf(periods, endMs)).toBeCloseTo(lostLevelHours, 3);
      },
    );

    it("more periods never lose more", () => {
      const losses = [2, 24, 100, 400, 1024, 4000].map((most) => compress(long, endMs, most).lostLevelHours);
      for (let i = 1; i < losses.length; i++) expect(losses[i]).toBeLessThanOrEqual(losses[i - 1]);
    });

    it("merges the cheapest neighbours, again and again, down to the 400 that are grouped exactly", () => {
      // Uneven levels and durations, so that no two pairs cost the same.
      let atMs = 0;
      const uneven = Array.from({ length: 700 }, (_, i) => {
        const period = { atMs, level: 6 + ((i * i * 31 + i * 7) % 2609) / 100 };
        atMs += 60_000 + ((i * 104_729) % 3_540_001);
        return period;
      });
      for (const maxPeriods of [699, 650, 500, 401]) {
        const { lostLevelHours } = compress(uneven, atMs, maxPeriods);
        expect(lostLevelHours).toBeCloseTo(greedyLoss(uneven, atMs, maxPeriods), 9);
      }
    });

    it("merges cheapest first: noise of one step on three plateaus goes, the plateaus stay", () => {
      const plateau = (i: number) => [10, 30, 20][Math.floor(i / 3000)];
      const noisy = hourly(Array.from({ length: 9000 }, (_, i) => plateau(i) + (i % 2)));
      const { periods, lostLevelHours } = compress(noisy, endMs, 3);
      expect(periods.map(({ level }) => level)).toEqual([10, 30, 20]);
      expect(lostLevelHours).toBe(4500);
    });
  });
});

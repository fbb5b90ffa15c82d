import { describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import { type Program, powerKw } from "../../src/model/program.ts";
import { grouped, type Segments, segmentsOf, tied } from "../../src/model/segments.ts";
import { relaxedOptimum } from "../support/oracle.ts";
import { problem, randomProblem, START_MS, series, session, tariff } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const HOUR = 3_600_000;

function programOf(one: Problem): Program {
  return formulate(one, chargingOf(one), true);
}

/** One vehicle in slots of an hour, with the given powers in kW. */
function grouping(kw: number[], count: number): number[] | undefined {
  const one = problem({
    sessions: [session({ departureMs: START_MS + kw.length * HOUR })],
    slotMs: HOUR,
  });
  const own = grouped(
    programOf(one),
    Float64Array.from(kw, (value) => value * 1000),
    0,
    count,
  );
  return own && Array.from(own);
}

/** Least sum of squares off the groups' means over every way to cut the powers into so many groups. */
function leastDeviation(kw: number[], count: number): number {
  const deviation = (part: number[]) => {
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length;
    return part.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  };
  if (count === 1 || kw.length === 1) return deviation(kw);
  const cuts = kw
    .slice(1)
    .map((_, n) => deviation(kw.slice(0, n + 1)) + leastDeviation(kw.slice(n + 1), count - 1));
  return Math.min(deviation(kw), ...cuts);
}

async function powersOf(program: Program): Promise<number[][]> {
  const loaded = (await testSolvers()).highs.load(program.lp);
  try {
    const { primal } = loaded.solve({ timeLimitMs: 60_000 });
    return program.charging.stays.map(({ hours }, i) =>
      Array.from(hours, (_, n) => powerKw(program, primal, program.offsets[i] + n)),
    );
  } finally {
    loaded.dispose();
  }
}

describe("stretches of one power", () => {
  it("are the runs of a plan, without what is off at its end", () => {
    const one = problem({ sessions: [session({ departureMs: START_MS + 6 * HOUR })], slotMs: HOUR });
    const plan = [Float64Array.of(0, 0, 8280, 8280, 6900, 0)];
    expect(segmentsOf(programOf(one), plan).map((own) => Array.from(own))).toEqual([[0, 0, 1, 1, 2, -1]]);
  });

  it("are nearest to a plan for their number", () => {
    expect(grouping([0, 0, 8, 7, 8, 4, 0], 3)).toEqual([0, 0, 1, 1, 1, 2, -1]);
    expect(grouping([0, 0, 8, 7, 8, 4, 0], 2)).toEqual([0, 0, 1, 1, 1, 1, -1]);
    expect(grouping([5, 5, 5], 4)).toEqual([0, 0, 0]);
    const random = randomOf(1);
    for (let n = 0; n < 200; n++) {
      const kw = Array.from({ length: random.int(1, 9) }, () => random.int(1, 20));
      const count = random.int(1, 5);
      const own = grouping(kw, count) ?? [];
      expect(new Set(own).size).toBeLessThanOrEqual(count);
      const parts = [...new Set(own)].map((group) => kw.filter((_, k) => own[k] === group));
      const deviation = parts.reduce((sum, part) => sum + leastDeviation(part, 1), 0);
      expect(deviation).toBeCloseTo(leastDeviation(kw, count), 9);
    }
  });

  it("have one power in the optimum of the tied program", async () => {
    const departureMs = START_MS + 3 * HOUR;
    const base = problem({ slotMs: HOUR });
    const one = problem({
      site: { ...base.site, tariff: tariff({ prices: [0.4, 0.1, 0.3] }) },
      sessions: [session({ departureMs, energyWh: 13_800 })],
      slotMs: HOUR,
    });
    const program = programOf(one);
    const none = [new Float64Array(3)];
    expect(await powersOf(program)).toEqual(
      [[0, 13.8, 0]].map((row) => row.map((kw) => expect.closeTo(kw, 6))),
    );
    const together = tied(program, [Int32Array.of(0, 1, 1)], none);
    expect((await powersOf(together))[0]).toEqual([0, 6.9, 6.9].map((kw) => expect.closeTo(kw, 6)));
    const offFirst = tied(program, [Int32Array.of(0, 0, -1)], none);
    expect((await powersOf(offFirst))[0]).toEqual([6.9, 6.9, 0].map((kw) => expect.closeTo(kw, 6)));
  });

  it("make for no better optimum than all powers of their own, which is the program's", async () => {
    for (let seed = 0; seed < 25; seed++) {
      const one = randomProblem(seed, { vehicles: [1, 6], hours: 8 });
      const program = programOf(one);
      const none = program.charging.stays.map(() => new Float64Array(one.slotStartsMs.length - 1));
      const optimum = await relaxedOptimum(program.lp);
      const apart: Segments = program.charging.stays.map(({ hours }) => Int32Array.from(hours, (_, n) => n));
      expect(await relaxedOptimum(tied(program, apart, none).lp), `seed ${seed}`).toBeCloseTo(optimum, 5);
      const coarse: Segments = program.charging.stays.map(({ hours }) =>
        Int32Array.from(hours, (_, n) => Math.floor(n / 5)),
      );
      const together = tied(program, coarse, none);
      const worth = await relaxedOptimum(together.lp);
      expect(worth, `seed ${seed}`).toBeGreaterThan(optimum - 1e-5);
      // What the tied program says a plan is worth, it is worth.
      const plan = none.map((powerW) => powerW.slice());
      (await powersOf(together)).forEach((row, i) => {
        row.forEach((kw, n) => {
          plan[i][program.charging.stays[i].first + n] = kw * 1000;
        });
      });
      expect(evaluate(program, plan), `seed ${seed}`).toBeCloseTo(worth, 3);
    }
  });

  it("leave what keeps its installed plan as it is", async () => {
    const departureMs = START_MS + 3 * HOUR;
    const installed = { powerW: series(START_MS, HOUR, [6900, 0, 6900]), chargingProfileId: 3 };
    const one = problem({ sessions: [session({ departureMs, energyWh: 13_800, installed })], slotMs: HOUR });
    const plan = [Float64Array.of(6900, 0, 6900)];
    const fixed = tied(programOf(one), [Int32Array.of(0, 0, 0)], plan);
    expect(await powersOf(fixed)).toEqual([[6.9, 0, 6.9]]);
  });
});

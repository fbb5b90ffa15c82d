import { beforeAll, describe, expect, it, vi } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { type Lp, LpBuilder } from "../../src/model/lp.ts";
import { createGlpk } from "../../src/solve/glpk.ts";
import { createHighs } from "../../src/solve/highs.ts";
import type { IntegerOptions, Solution, Solver } from "../../src/solve/solver.ts";
import {
  changedBounds,
  dualObjective,
  programOf,
  siteProgram,
  sparseProgram,
  violationOf,
} from "./programs.ts";

const inf = Number.POSITIVE_INFINITY;
const plenty = { timeLimitMs: 20_000 };

const factories: [Solver["name"], () => Promise<Solver>][] = [
  ["GLPK", createGlpk],
  ["HIGHS", createHighs],
];
const solvers = {} as Record<Solver["name"], Solver>;

beforeAll(async () => {
  for (const [name, create] of factories) solvers[name] = await create();
});

/** Solves a program once. */
function solve(solver: Solver, lp: Lp, options = plenty): Solution {
  const loaded = solver.load(lp);
  try {
    return loaded.solve(options);
  } finally {
    loaded.dispose();
  }
}

function solveIntegers(solver: Solver, lp: Lp, options: Partial<IntegerOptions>): Solution {
  const loaded = solver.load(lp);
  try {
    return loaded.solveIntegers({ ...plenty, relativeGap: 0, integers: new Int32Array(0), ...options });
  } finally {
    loaded.dispose();
  }
}

function expectNear(actual: number, expected: number): void {
  expect(Math.abs(actual - expected) / Math.max(1, Math.abs(expected))).toBeLessThan(1e-6);
}

/** Small programs of every kind and small sites. */
function randomPrograms(count: number): [label: string, lp: Lp][] {
  return Array.from({ length: count }, (_, seed): [string, Lp][] => {
    const random = randomOf(seed);
    return [
      [`sparse ${seed}`, sparseProgram(seed)],
      [`site ${seed}`, siteProgram(seed, random.int(1, 12), random.int(8, 48))],
    ];
  }).flat();
}

// x0 earns 1 a unit and x1 earns 2; at most 4 of both together and 3 of x1. Best is x0 = 1, x1 = 3.
// One more of both would be one more x0 and earn 1; one more of x1 replaces one x0 and earns 2 - 1.
const twoGoods = programOf(
  [-1, -2],
  [
    [0, inf],
    [0, inf],
  ],
  [
    [-inf, 4, [1, 1]],
    [-inf, 3, [0, 1]],
  ],
);

describe.each(factories.map(([name]) => name))("%s", (name) => {
  let solver: Solver;

  beforeAll(() => {
    solver = solvers[name];
  });

  it("names itself", () => {
    expect(solver.name).toBe(name);
  });

  it("finds the optimum and the duals worked out by hand", () => {
    const solution = solve(solver, twoGoods);
    expect(solution.status).toBe("optimal");
    expectNear(solution.objective, -7);
    expect(solution.bound).toBe(solution.objective);
    expect(Array.from(solution.primal)).toEqual([1, 3]);
    expect(Array.from(solution.duals)).toEqual([-1, -1]);
  });

  it("has the same optimum and bound by every method, and goes on from a corner", () => {
    for (let seed = 0; seed < 6; seed++) {
      const lp = siteProgram(seed, 12, 24);
      const { objective } = solve(solver, lp);
      for (const method of ["SIMPLEX", "INTERIOR_TO_CORNER", "INTERIOR"] as const) {
        const loaded = solver.load(lp);
        const first = loaded.solve({ ...plenty, method });
        expect(first.status).toBe("optimal");
        expectNear(first.objective, objective);
        expect(violationOf(lp, first.primal)).toBeLessThan(1e-6);
        expectNear(dualObjective(lp, first.duals), objective);
        expectNear(loaded.solve(plenty).objective, objective);
        loaded.dispose();
      }
    }
  });

  it("gives a row that must be reached a dual of at least 0", () => {
    // 2 x >= 6 at 5 a unit: a unit more on the right costs 2.5.
    const solution = solve(solver, programOf([5], [[0, inf]], [[6, inf, [2]]]));
    expectNear(solution.objective, 15);
    expectNear(solution.duals[0], 2.5);
  });

  it("keeps a lower bound beside an upper one", () => {
    const solution = solve(
      solver,
      programOf(
        [1, 1],
        [
          [-3, 5],
          [2, 5],
        ],
        [[-inf, 100, [1, 1]]],
      ),
    );
    expect(Array.from(solution.primal)).toEqual([-3, 2]);
  });

  it("keeps every kind of bound and row", () => {
    // Fixed at 2; free, held by the equality; at most -1; at least 3 by the range's lower end.
    const lp = programOf(
      [1, 1, -1, 1],
      [
        [2, 2],
        [-inf, inf],
        [-inf, -1],
        [0, inf],
      ],
      [
        [7, 7, [1, 1, 0, 0]],
        [3, 8, [0, 0, 0, 1]],
      ],
    );
    const solution = solve(solver, lp);
    expect(Array.from(solution.primal)).toEqual([2, 5, -1, 3]);
    expectNear(solution.objective, 11);
  });

  it("keeps bounds and rows, and its duals prove the optimum", () => {
    for (const [label, lp] of randomPrograms(60)) {
      const solution = solve(solver, lp);
      expect(solution.status, label).toBe("optimal");
      expect(violationOf(lp, solution.primal), label).toBeLessThan(1e-6);
      expectNear(dualObjective(lp, solution.duals), solution.objective);
    }
  });

  it("solves changed bounds as if they had been loaded", () => {
    let infeasible = 0;
    for (const [label, lp] of randomPrograms(25)) {
      const random = randomOf(label.length);
      const loaded = solver.load(lp);
      const changed: Lp = { ...lp, lower: lp.lower.slice(), upper: lp.upper.slice() };
      loaded.solve(plenty);
      for (let round = 0; round < 3; round++) {
        for (const [column, lower, upper] of changedBounds(lp, random)) {
          changed.lower[column] = lower;
          changed.upper[column] = upper;
          loaded.setBounds(column, lower, upper);
        }
        const warm = loaded.solve(plenty);
        const cold = solve(solver, changed);
        expect(warm.status, label).toBe(cold.status);
        if (cold.status === "optimal") expectNear(warm.objective, cold.objective);
        else infeasible++;
      }
      loaded.dispose();
    }
    expect(infeasible).toBeGreaterThan(0);
  });

  it("solves bounds that are wider than those loaded", () => {
    const loaded = solver.load(
      programOf(
        [1, -1],
        [
          [0, 1],
          [0, 1],
        ],
        [[-inf, 100, [1, 1]]],
      ),
    );
    loaded.solve(plenty);
    loaded.setBounds(0, -5, 1);
    loaded.setBounds(1, 0, 8);
    expect(Array.from(loaded.solve(plenty).primal)).toEqual([-5, 8]);
    loaded.setBounds(0, -inf, 1);
    expect(loaded.solve(plenty).status).toBe("unbounded");
    loaded.dispose();
  });

  it("leaves the caller's arrays alone", () => {
    const upper = twoGoods.upper.slice();
    const loaded = solver.load(twoGoods);
    loaded.setBounds(1, 0, 1);
    expectNear(loaded.solve(plenty).objective, -5);
    loaded.dispose();
    expect(twoGoods.upper).toEqual(upper);
  });

  it("tells infeasible from unbounded", () => {
    const infeasible = programOf([-1], [[0, inf]], [[-inf, -1, [1]]]);
    const unbounded = programOf(
      [-1, 0],
      [
        [0, inf],
        [0, 1],
      ],
      [[-inf, 4, [0, 1]]],
    );
    for (const [lp, status] of [
      [infeasible, "infeasible"],
      [unbounded, "unbounded"],
    ] as const) {
      const solution = solve(solver, lp);
      expect(solution.status).toBe(status);
      expect(solution.primal).toHaveLength(0);
      expect(solution.duals).toHaveLength(0);
      expect(solution.bound).toBe(-inf);
    }
  });

  it("calls bounds that cross infeasible, and recovers when they no longer do", () => {
    const loaded = solver.load(twoGoods);
    loaded.setBounds(0, 2, 1);
    expect(loaded.solve(plenty).status).toBe("infeasible");
    loaded.setBounds(0, 0, inf);
    expectNear(loaded.solve(plenty).objective, -7);
    loaded.dispose();
    expect(solve(solver, programOf([1], [[0, 1]], [[2, 1, [1]]])).status).toBe("infeasible");
  });

  it("solves programs without rows or columns", () => {
    const noRows = solve(
      solver,
      programOf(
        [1, -1],
        [
          [-2, 2],
          [-2, 2],
        ],
        [],
      ),
    );
    expect(Array.from(noRows.primal)).toEqual([-2, 2]);
    expect(noRows.duals).toHaveLength(0);
    expect(solve(solver, programOf([-1], [[0, inf]], [])).status).toBe("unbounded");
    const noColumns = solve(solver, programOf([], [], [[-1, 0, []]]));
    expect(noColumns).toMatchObject({ status: "optimal", objective: 0, bound: 0 });
    expect(noColumns.duals).toHaveLength(1);
    expect(solve(solver, programOf([], [], [[1, 2, []]])).status).toBe("infeasible");
    expect(solve(solver, programOf([], [], [])).status).toBe("optimal");
    expect(solve(solver, programOf([1], [[0, 1]], [[1, 2, [0]]])).status).toBe("infeasible");
  });

  it("gives no values when time runs out before a point is feasible", () => {
    const lp = siteProgram(1, 60, 96);
    const loaded = solver.load(lp);
    const solution = loaded.solve({ timeLimitMs: 0 });
    expect(solution).toMatchObject({ status: "unsolved", bound: -inf });
    expect(solution.primal).toHaveLength(0);
    // The clock starts anew with each solve.
    expect(loaded.solve(plenty).status).toBe("optimal");
    loaded.dispose();
  });

  it("gives a feasible point that it holds when time runs out, without duals or bound", () => {
    const lp = siteProgram(2, 20, 48);
    // Without energy needs and base load all powers 0 are feasible, and each kWh earns.
    const packing: Lp = {
      ...lp,
      cost: lp.cost.map((cost) => -cost),
      rowLower: lp.rowLower.map(() => -inf),
      rowUpper: lp.rowUpper.map((upper) => Math.abs(upper)),
      upper: lp.upper.map((upper) => Math.min(upper, 50)),
    };
    const solution = solve(solver, packing, { timeLimitMs: 0 });
    expect(solution).toMatchObject({ status: "feasible", objective: 0, bound: -inf });
    expect(solution.duals).toHaveLength(0);
    expect(violationOf(packing, solution.primal)).toBe(0);
    expect(solve(solver, packing).objective).toBeLessThan(-1);
  });

  it("takes any time limit but NaN", () => {
    expectNear(solve(solver, twoGoods, { timeLimitMs: inf }).objective, -7);
    expectNear(solve(solver, twoGoods, { timeLimitMs: 1e12 }).objective, -7);
    expect(() => solve(solver, twoGoods, { timeLimitMs: Number.NaN })).toThrow("time limit");
    expect(solve(solver, siteProgram(1, 10, 48), { timeLimitMs: -5 }).status).toBe("unsolved");
  });

  it.each([
    ["a cost that is NaN", { cost: Float64Array.of(Number.NaN, 1) }],
    ["an infinite cost", { cost: Float64Array.of(1, -inf) }],
    ["a huge cost", { cost: Float64Array.of(1, 1e308) }],
    ["a coefficient that is NaN", { values: Float64Array.of(1, Number.NaN, 1) }],
    ["an infinite coefficient", { values: Float64Array.of(1, inf, 1) }],
    ["a huge coefficient", { values: Float64Array.of(1, -1e16, 1) }],
    ["a bound that is NaN", { upper: Float64Array.of(1, Number.NaN) }],
    ["a lower bound of Infinity", { lower: Float64Array.of(inf, 0) }],
    ["an upper bound of -Infinity", { upper: Float64Array.of(1, -inf) }],
    ["a row bound that is NaN", { rowUpper: Float64Array.of(Number.NaN, 3) }],
    ["a huge row bound", { rowUpper: Float64Array.of(1e300, 3) }],
    ["a column that does not exist", { indices: Int32Array.of(0, 1, 2) }],
    ["a negative column", { indices: Int32Array.of(0, 1, -1) }],
    ["an array that is too short", { cost: Float64Array.of(1) }],
    ["rows that run backwards", { starts: Int32Array.of(0, 4, 3) }],
  ])("refuses %s", (_, wrong) => {
    expect(() => solver.load({ ...twoGoods, ...wrong })).toThrow(Error);
    expectNear(solve(solver, twoGoods).objective, -7);
  });

  it("refuses such numbers in changed bounds, starts and options", () => {
    const loaded = solver.load(twoGoods);
    expect(() => loaded.setBounds(0, Number.NaN, 1)).toThrow("lower bound of column 0");
    expect(() => loaded.setBounds(0, 0, 1e16)).toThrow("upper bound of column 0");
    expect(() => loaded.setBounds(2, 0, 1)).toThrow("no column 2");
    expect(() => loaded.setBounds(0.5, 0, 1)).toThrow("no column 0.5");
    const options = { ...plenty, relativeGap: 0, integers: Int32Array.of(0) };
    expect(() => loaded.solveIntegers({ ...options, integers: Int32Array.of(2) })).toThrow("no column 2");
    expect(() => loaded.solveIntegers({ ...options, relativeGap: Number.NaN })).toThrow("gap");
    expect(() => loaded.solveIntegers({ ...options, start: Float64Array.of(0, Number.NaN) })).toThrow(
      "start",
    );
    expect(() => loaded.solveIntegers({ ...options, start: Float64Array.of(0) })).toThrow("start");
    expectNear(loaded.solve(plenty).objective, -7);
    loaded.dispose();
  });

  it("goes on after the solver itself has thrown", async () => {
    const other = await factories.find(([own]) => own === name)![1]();
    // The same column twice in a row breaks Lp's promise; neither solver takes it.
    const broken: Lp = { ...twoGoods, indices: Int32Array.of(1, 1, 1) };
    let caught: unknown;
    try {
      solve(other, broken);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(Error);
    expect((caught as Error).cause).toBeInstanceOf(Error);
    expectNear(solve(other, twoGoods).objective, -7);
    // The reserve may not be back yet.
    expect(() => solve(other, broken)).toThrow("failed");
    await vi.waitFor(() => expectNear(solve(other, twoGoods).objective, -7), { timeout: 20_000 });
  });

  it("can be disposed of twice, and others stay usable", () => {
    const first = solver.load(twoGoods);
    const second = solver.load(twoGoods);
    first.dispose();
    first.dispose();
    expectNear(second.solve(plenty).objective, -7);
    second.dispose();
  });

  it("gives the same answer to the same program", () => {
    const lp = siteProgram(3, 20, 96);
    const first = solve(solver, lp);
    expect(solve(solver, lp)).toEqual(first);
    const { lp: onOff, integers } = onOffProgram(4, 3, 5);
    expect(solveIntegers(solver, onOff, { integers })).toEqual(solveIntegers(solver, onOff, { integers }));
  });

  describe("with integers", () => {
    it("finds the whole optimum, then the fractional one again", () => {
      // At most 3.5 together: whole x1 = 3 and x0 = 0 earn 6, fractional ones 6.5.
      const lp = programOf(
        [-1, -2],
        [
          [0, inf],
          [0, 3],
        ],
        [[-inf, 3.5, [1, 1]]],
      );
      const loaded = solver.load(lp);
      const whole = loaded.solveIntegers({ ...plenty, relativeGap: 0, integers: Int32Array.of(0, 1) });
      expect(whole).toMatchObject({ status: "optimal", objective: -6, bound: -6 });
      expect(whole.duals).toHaveLength(0);
      const fractional = loaded.solve(plenty);
      expectNear(fractional.objective, -6.5);
      expect(Array.from(fractional.duals)).toEqual([-1]);
      loaded.setBounds(1, 0, 2);
      expectNear(
        loaded.solveIntegers({ ...plenty, relativeGap: 0, integers: Int32Array.of(0) }).objective,
        -5,
      );
      loaded.dispose();
    });

    it("rounds bounds of integer columns inwards", () => {
      const lp = programOf(
        [-1, 1],
        [
          [0.5, 2.7],
          [0.5, 2.7],
        ],
        [],
      );
      const solution = solveIntegers(solver, lp, { integers: Int32Array.of(0, 1) });
      expect(Array.from(solution.primal)).toEqual([2, 1]);
      const between = programOf([1], [[0.3, 0.7]], []);
      expect(solveIntegers(solver, between, { integers: Int32Array.of(0) }).status).toBe("infeasible");
    });

    it("tells infeasible, also where only whole values are", () => {
      const relaxation = programOf([1], [[0, 9]], [[11, inf, [1]]]);
      expect(solveIntegers(solver, relaxation, { integers: Int32Array.of(0) }).status).toBe("infeasible");
      // 2 a + 4 b = 3 has no whole solution.
      const odd = programOf(
        [1, 1],
        [
          [0, 5],
          [0, 5],
        ],
        [[3, 3, [2, 4]]],
      );
      expect(solveIntegers(solver, odd, { integers: Int32Array.of(0, 1) }).status).toBe("infeasible");
    });

    it("gives nothing when time runs out before a point is found", () => {
      const { lp, integers } = onOffProgram(1, 10, 12);
      const solution = solveIntegers(solver, lp, { integers, timeLimitMs: 0 });
      expect(solution).toMatchObject({ status: "unsolved", bound: -inf });
      expect(solution.primal).toHaveLength(0);
    });

    it("solves a program without integers as a linear one, without duals", () => {
      const solution = solveIntegers(solver, twoGoods, {});
      expect(solution.status).toBe("optimal");
      expectNear(solution.objective, -7);
      expect(solution.duals).toHaveLength(0);
    });

    it("matches the best of all settings of the binaries", () => {
      for (let seed = 0; seed < 12; seed++) {
        const { lp, integers } = onOffProgram(seed, 2, 3);
        const solution = solveIntegers(solver, lp, { integers });
        expect(solution.status).toBe("optimal");
        expectNear(solution.objective, bestSetting(solver, lp, integers));
        expect(solution.bound).toBeLessThanOrEqual(solution.objective);
        expect(violationOf(lp, solution.primal)).toBeLessThan(1e-6);
        for (const column of integers) {
          expect(Math.abs(solution.primal[column] - Math.round(solution.primal[column]))).toBeLessThan(1e-6);
        }
      }
    });

    it("stops within the gap asked for", () => {
      for (const relativeGap of [0.2, 0.05, 0.01]) {
        const { lp, integers } = onOffProgram(7, 6, 12);
        const exact = solveIntegers(solver, lp, { integers });
        const { status, objective, bound } = solveIntegers(solver, lp, { integers, relativeGap });
        expect(exact.status).toBe("optimal");
        expect(bound).toBeLessThanOrEqual(exact.objective + 1e-6);
        expect(objective - exact.objective).toBeLessThanOrEqual(relativeGap * exact.objective + 1e-6);
        expect(["optimal", "feasible"]).toContain(status);
        if (status === "optimal") expect((objective - bound) / bound).toBeLessThanOrEqual(relativeGap);
      }
    });
  });
});

it("GLPK and HiGHS agree on linear programs", () => {
  for (const [label, lp] of [...randomPrograms(60), ["site of 40", siteProgram(99, 40, 96)] as const]) {
    const glpk = solve(solvers.GLPK, lp);
    const highs = solve(solvers.HIGHS, lp);
    expect(glpk.status, label).toBe("optimal");
    expect(highs.status, label).toBe("optimal");
    expectNear(glpk.objective, highs.objective);
  }
});

it("GLPK and HiGHS agree on programs with integers", () => {
  for (let seed = 100; seed < 125; seed++) {
    const { lp, integers } = onOffProgram(seed, 3, 5);
    const glpk = solveIntegers(solvers.GLPK, lp, { integers });
    const highs = solveIntegers(solvers.HIGHS, lp, { integers });
    expect([glpk.status, highs.status]).toEqual(["optimal", "optimal"]);
    expectNear(glpk.objective, highs.objective);
  }
});

describe("HiGHS only", () => {
  it("gives each solve its own time", () => {
    const lp = siteProgram(6, 100, 96);
    const loaded = solvers.HIGHS.load(lp);
    const startedMs = performance.now();
    const { primal } = loaded.solve(plenty);
    // A small step from the first basis takes far less than what the first solve took.
    const timeLimitMs = 0.8 * (performance.now() - startedMs);
    const full = [...primal.keys()].filter((column) => column > 0 && primal[column] === lp.upper[column]);
    for (const column of full.slice(0, 20)) loaded.setBounds(column, 0, lp.upper[column] / 2);
    expect(loaded.solve({ timeLimitMs }).status).toBe("optimal");
    loaded.dispose();
  });

  it("starts from the point given", () => {
    const { lp, integers } = onOffProgram(1, 10, 12);
    const { primal: start, objective } = solveIntegers(solvers.HIGHS, lp, { integers, relativeGap: 0.01 });
    const solution = solveIntegers(solvers.HIGHS, lp, { integers, start, timeLimitMs: 0 });
    expect(solution.status).toBe("feasible");
    expectNear(solution.objective, objective);
  });

  it("ignores a start that is not feasible", () => {
    const solution = solveIntegers(solvers.HIGHS, twoGoods, {
      integers: Int32Array.of(0, 1),
      start: Float64Array.of(99, 99),
    });
    expect(solution).toMatchObject({ status: "optimal", objective: -7 });
  });

  it("gives up the proof at the node limit, with a bound that holds", () => {
    const { lp, integers } = knapsack(3, 20, 4);
    const exact = solveIntegers(solvers.HIGHS, lp, { integers });
    const limited = solveIntegers(solvers.HIGHS, lp, { integers, nodeLimit: 1 });
    expect(exact.status).toBe("optimal");
    expect(limited.status).toBe("feasible");
    expect(limited.bound).toBeLessThan(exact.objective);
    expect(limited.objective).toBeGreaterThanOrEqual(exact.objective);
    expect(violationOf(lp, limited.primal)).toBeLessThan(1e-6);
  });

  it("refuses a program that has been disposed of", () => {
    const kept = solvers.HIGHS.load(twoGoods);
    const gone = solvers.HIGHS.load(twoGoods);
    gone.dispose();
    expect(() => gone.solve(plenty)).toThrow("disposed");
    expect(() => gone.setBounds(0, 0, 1)).toThrow("disposed");
    expectNear(kept.solve(plenty).objective, -7);
    kept.dispose();
  });
});

/** Vehicles that draw 0 or between a minimum and a maximum in each slot, z = 1 where on; unmet energy is dear. */
function onOffProgram(seed: number, vehicles: number, slots: number): { lp: Lp; integers: Int32Array } {
  const random = randomOf(seed);
  const builder = new LpBuilder();
  const integers: number[] = [];
  const hours = 0.25;
  const price = Array.from({ length: slots }, () => random.real(0.1, 0.4));
  const atSlot: number[][] = price.map(() => []);
  for (let vehicle = 0; vehicle < vehicles; vehicle++) {
    const maxKw = random.pick([7.4, 11, 22]);
    const minKw = maxKw * random.real(0.2, 0.5);
    const powers = price.map((perKwh) => builder.addColumn(hours * perKwh, 0, maxKw));
    powers.forEach((column, slot) => {
      atSlot[slot].push(column);
    });
    for (const column of powers) builder.addEntry(column, hours);
    builder.addEntry(builder.addColumn(random.real(2, 5), 0, inf), 1);
    builder.endRow(maxKw * hours * slots * random.real(0.1, 0.9), inf);
    for (const column of powers) {
      const on = builder.addColumn(0, 0, 1);
      integers.push(on);
      for (const [kw, lower, upper] of [
        [maxKw, -inf, 0],
        [minKw, 0, inf],
      ]) {
        builder.addEntry(column, 1);
        builder.addEntry(on, -kw);
        builder.endRow(lower, upper);
      }
    }
  }
  for (const columns of atSlot) {
    for (const column of columns) builder.addEntry(column, 1);
    builder.endRow(-inf, 5 * vehicles);
  }
  return { lp: builder.build(), integers: Int32Array.from(integers) };
}

/** Things worth nearly what they weigh, in several weights at once: no bound is tight at the root. */
function knapsack(seed: number, things: number, weights: number): { lp: Lp; integers: Int32Array } {
  const random = randomOf(seed);
  const rows = Array.from({ length: weights }, () =>
    Array.from({ length: things }, () => random.int(10, 60)),
  );
  const cost = Array.from({ length: things }, (_, j) => {
    return -rows.reduce((sum, row) => sum + row[j], 0) / weights - random.real(0, 5);
  });
  const lp = programOf(
    cost,
    cost.map(() => [0, 1]),
    rows.map((row) => [-inf, row.reduce((sum, weight) => sum + weight, 0) / 2, row]),
  );
  return { lp, integers: Int32Array.from(cost.keys()) };
}

/** The least objective over every setting of the binaries, each solved as a linear program. */
function bestSetting(solver: Solver, lp: Lp, integers: Int32Array): number {
  const loaded = solver.load(lp);
  let best = inf;
  for (let setting = 0; setting < 1 << integers.length; setting++) {
    integers.forEach((column, bit) => {
      const on = (setting >> bit) & 1;
      loaded.setBounds(column, on, on);
    });
    const { status, objective } = loaded.solve(plenty);
    if (status === "optimal") best = Math.min(best, objective);
  }
  loaded.dispose();
  return best;
}

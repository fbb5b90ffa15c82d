import { beforeAll, expect, it } from "vitest";
import { planSite, type Solvers } from "../../src/engine.ts";
import type { Lp } from "../../src/model/lp.ts";
import type { Solver } from "../../src/solve/solver.ts";
import { relaxedOptimum } from "../support/oracle.ts";
import { everything } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const SITES = 300;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

interface Solved {
  lp: Lp;
  objective: number;
}

// The later solves of a program are those of dives, with a bound more or less each.
const NOTED_SOLVES = 2;

/** The same solver; what it first finds for each program, with the bounds it had then, is noted down. */
function noting(solver: Solver, solved: Solved[]): Solver {
  return {
    name: solver.name,
    load: (lp) => {
      const loaded = solver.load(lp);
      const [lower, upper] = [lp.lower.slice(), lp.upper.slice()];
      let solves = 0;
      return {
        solve: (options) => {
          const solution = loaded.solve(options);
          if (++solves <= NOTED_SOLVES && solution.status === "optimal") {
            const now = { ...lp, lower: lower.slice(), upper: upper.slice() };
            solved.push({ lp: now, objective: solution.objective });
          }
          return solution;
        },
        solveIntegers: (options) => loaded.solveIntegers(options),
        setBounds: (column, least, most) => {
          lower[column] = least;
          upper[column] = most;
          loaded.setBounds(column, least, most);
        },
        dispose: () => loaded.dispose(),
      };
    },
  };
}

it(`every program of ${SITES} random sites that use everything has the optimum of HiGHS on its own, in W as in A`, {
  timeout: 900_000,
}, async () => {
  let programs = 0;
  for (let seed = 0; seed < SITES; seed++) {
    const one = everything(seed, seed % 2 === 0 ? "A" : "W", { vehicles: [1, 6], hours: 8 });
    const solved: Solved[] = [];
    const noted = { glpk: noting(solvers.glpk, solved), highs: noting(solvers.highs, solved) };
    const choice = seed % 3 === 0 ? "GLPK" : "AUTO";
    const { excesses } = planSite({ ...one, solver: choice }, noted, () => 60_000);
    expect(excesses, `seed ${seed}`).toEqual([]);
    for (const { lp, objective } of solved) {
      const reference = await relaxedOptimum(lp);
      const difference = Math.abs(objective - reference) / Math.max(1, Math.abs(reference));
      expect(difference, `seed ${seed}`).toBeLessThan(1e-6);
      programs++;
    }
  }
  expect(programs).toBeGreaterThan(3 * SITES);
});

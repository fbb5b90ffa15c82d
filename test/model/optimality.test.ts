import { beforeAll, describe, expect, it } from "vitest";
import { type Charging, chargingOf } from "../../src/domain/charging.ts";
import { greedy } from "../../src/domain/greedy.ts";
import type { PowerPlan } from "../../src/domain/plan.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import type { Part } from "../../src/model/lp.ts";
import { type Program, powerKw } from "../../src/model/program.ts";
import { gapOf, refine } from "../../src/model/refine.ts";
import type { Solution, Solver } from "../../src/solve/solver.ts";
import { provenOptimum, relaxedOptimum } from "../support/oracle.ts";
import { randomProblem, series } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const SITES = 240;
const MIP_SITES = 200;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

function solve(solver: Solver, program: Program): Solution {
  const loaded = solver.load(program.lp);
  const solution = loaded.solve({ timeLimitMs: 60_000 });
  loaded.dispose();
  return solution;
}

function whole(program: Program): Part {
  return {
    lp: program.lp,
    columns: Int32Array.from({ length: program.lp.columnCount }, (_, j) => j),
    rows: Int32Array.from({ length: program.lp.rowCount }, (_, r) => r),
  };
}

function planOf(program: Program, primal: Float64Array): PowerPlan {
  return program.charging.stays.map(({ first, end }, i) => {
    const powerW = new Float64Array(program.problem.slotStartsMs.length - 1);
    for (let k = first; k < end; k++)
      powerW[k] = 1000 * powerKw(program, primal, program.offsets[i] + k - first);
    return powerW;
  });
}

/** The same site without installed plans, so that each power is one column. */
function withoutInstalled(one: Problem): Problem {
  return { ...one, sessions: one.sessions.map((session) => ({ ...session, installed: undefined })) };
}

describe(`the relaxed program on ${SITES} random sites`, () => {
  it("has the same optimum with GLPK, with HiGHS, and with HiGHS on its own", {
    timeout: 300_000,
  }, async () => {
    for (let seed = 0; seed < SITES; seed++) {
      const one = randomProblem(seed, { vehicles: [1, 20], hours: 12 });
      const program = formulate(one, chargingOf(one), true);
      const reference = await relaxedOptimum(program.lp);
      for (const solver of [solvers.glpk, solvers.highs]) {
        const { status, objective, primal } = solve(solver, program);
        expect(status, `seed ${seed} ${solver.name}`).toBe("optimal");
        const difference = Math.abs(objective - reference) / Math.max(1, Math.abs(reference));
        expect(difference, `seed ${seed} ${solver.name}`).toBeLessThan(1e-6);
        // The plan is worth what the program says it is, reckoned without the program.
        const worth = evaluate(program, planOf(program, primal));
        expect(
          Math.abs(worth - objective) / Math.max(1, Math.abs(objective)),
          `seed ${seed} value`,
        ).toBeLessThan(1e-6);
      }
    }
  });

  it("needs no fair segments where nobody is short", () => {
    let checked = 0;
    for (let seed = 0; seed < 60; seed++) {
      const one = randomProblem(seed, { vehicles: [1, 6], hours: 12 });
      const charging = chargingOf(one);
      if (leavesShort(one, charging)) continue;
      const lean = solve(solvers.highs, formulate(one, charging, false)).objective;
      const full = solve(solvers.highs, formulate(one, charging, true)).objective;
      expect(Math.abs(lean - full) / Math.max(1, Math.abs(full)), `seed ${seed}`).toBeLessThan(1e-6);
      checked++;
    }
    expect(checked).toBeGreaterThan(10);
  });
});

describe(`0 or at least the minimum on ${MIP_SITES} random sites of up to 20 vehicles`, () => {
  it("is within 0.1 % of the proven optimum", { timeout: 600_000 }, async () => {
    let proven = 0;
    for (let seed = 0; seed < MIP_SITES; seed++) {
      const one = withoutInstalled(randomProblem(seed, { vehicles: [1, 20], hours: 8, slotMs: 1_800_000 }));
      const program = formulate(one, chargingOf(one), true);
      const optimum = await provenOptimum(program, 20);
      if (optimum === undefined) continue;
      proven++;
      const loaded = solvers.highs.load(program.lp);
      const relaxed = loaded.solve({ timeLimitMs: 60_000 });
      const refined = refine(program, whole(program), solvers.highs, loaded, relaxed, () => 60_000);
      loaded.dispose();
      expect(refined, `seed ${seed}`).toBeDefined();
      if (refined === undefined) continue;
      for (let n = 0; n < program.columns.length; n++) {
        const kw = powerKw(program, refined.primal, n);
        if (kw > 1e-6) expect(kw, `seed ${seed} entry ${n}`).toBeGreaterThanOrEqual(program.minKw[n] - 2e-6);
      }
      expect(gapOf(refined.objective, optimum), `seed ${seed}`).toBeLessThanOrEqual(1e-3);
      expect(refined.bound, `seed ${seed} bound`).toBeLessThanOrEqual(
        optimum + 1e-5 * Math.max(1, Math.abs(optimum)),
      );
    }
    expect(proven).toBeGreaterThan(0.8 * MIP_SITES);
  });
});

describe("installed plans on 60 random sites where a vehicle has just come", () => {
  it("are kept at a price that is told", { timeout: 300_000 }, () => {
    for (let seed = 0; seed < 60; seed++) {
      const one = withoutInstalled(randomProblem(seed, { vehicles: [3, 12], hours: 8, slotMs: 1_800_000 }));
      const before = planSite({ ...one, sessions: one.sessions.slice(1) }, solvers, () => 60_000).plan;
      const startMs = one.slotStartsMs[1] - 1_800_000;
      const sessions = one.sessions.map((s, i) => {
        if (i === 0) return s;
        const powerW = series(startMs, 1_800_000, [...before.sessionPlans[i - 1].powerW]);
        return { ...s, installed: { powerW, chargingProfileId: 1 } };
      });
      const program = formulate({ ...one, sessions }, chargingOf(one), true);
      const loaded = solvers.highs.load(program.lp);
      const relaxed = loaded.solve({ timeLimitMs: 60_000 });
      const refined = refine(program, whole(program), solvers.highs, loaded, relaxed, () => 60_000);
      loaded.dispose();
      expect(refined, `seed ${seed}`).toBeDefined();
      if (refined === undefined) continue;
      const worth = program.lp.cost.reduce((sum, cost, j) => sum + cost * refined.primal[j], 0);
      const tolerance = 1e-6 * Math.max(1, Math.abs(worth));
      expect(Math.abs(worth - refined.objective), `seed ${seed}`).toBeLessThanOrEqual(tolerance);
      expect(refined.bound, `seed ${seed}`).toBeLessThanOrEqual(worth + tolerance);
    }
  });
});

function leavesShort(one: Problem, charging: Charging): boolean {
  const plan = greedy(one, charging, "LEAST_SLACK");
  return one.sessions.some(({ energyWh }, i) => {
    const { first, hours } = charging.stays[i];
    return hours.reduce((missing, h, n) => missing - h * plan[i][first + n], energyWh) > 1;
  });
}

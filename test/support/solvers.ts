import { beforeAll, expect } from "vitest";
import type { SitePlan } from "../../src/domain/plan.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { createGlpk } from "../../src/solve/glpk.ts";
import { createHighs } from "../../src/solve/highs.ts";

let started: Promise<Solvers> | undefined;

/** Both solvers of this test process, started once. */
export function testSolvers(): Promise<Solvers> {
  started ??= Promise.all([createGlpk(), createHighs()]).then(([glpk, highs]) => ({ glpk, highs }));
  return started;
}

/** Plans sites in this thread, to the end; a plan that the check had to replace is a failure. */
export function planner(): (one: Problem) => SitePlan {
  let solvers: Solvers;
  beforeAll(async () => {
    solvers = await testSolvers();
  });
  return (one) => {
    const { plan, excesses } = planSite(one, solvers, () => 60_000);
    expect(excesses).toEqual([]);
    return plan;
  };
}

import type { LoadedProgram, Solution, Solver } from "../solve/solver.ts";
import { DIVES, dive, probe } from "./dive.ts";
import { entriesOf, isWhole, type WholePlan } from "./entries.ts";
import { search } from "./integer.ts";
import type { Part } from "./lp.ts";
import type { Program } from "./program.ts";

/** A plan counts as proved best when it is within this share of the bound. */
export const MIP_GAP = 1e-3;

/** A part's plan with every power 0 or at least the minimum, and the proved lower bound of its objective. */
export interface Refined extends WholePlan {
  bound: number;
}

/**
 * Turns a relaxed optimum into one whose powers are 0 or at least the minimum, and in one block
 * where a vehicle can't be paused. The steps, each taken while the plan is further than MIP_GAP
 * from the bound: dives, in which slots between 0 and their minimum are rounded to on where limits
 * and energy allow and to off elsewhere, and the program is solved again from the last basis,
 * until none is between; a dive slot by slot; a mixed-integer program. Undefined when time runs
 * out before there is a plan.
 */
export function refine(
  program: Program,
  part: Part,
  integerSolver: Solver,
  loaded: LoadedProgram,
  relaxed: Solution,
  leftMs: () => number,
): Refined | undefined {
  const entries = entriesOf(program, part);
  if (entries.count === 0 || isWhole(entries, relaxed.primal)) {
    return { primal: relaxed.primal, objective: relaxed.objective, bound: relaxed.objective };
  }
  const bound = relaxed.objective;
  let best: Refined | undefined;
  const isGood = (plan: WholePlan | undefined): boolean => {
    if (plan !== undefined && (best === undefined || plan.objective < best.objective))
      best = { ...plan, bound };
    return best !== undefined && (gapOf(best.objective, bound) <= MIP_GAP || leftMs() <= 0);
  };
  for (const style of DIVES) {
    if (isGood(dive(program, part, entries, loaded, relaxed, style, leftMs)) || leftMs() <= 0) return best;
  }
  if (best === undefined) return undefined;
  if (isGood(probe(program, part, entries, loaded, relaxed, best.objective, leftMs))) return best;
  // A part's gap counts in the whole plan's: leave some for the others.
  return search(part, entries, integerSolver, best, 0.9 * MIP_GAP, leftMs);
}

/** (objective - bound) / |bound|; absolute where the bound is all but 0. */
export function gapOf(objective: number, bound: number): number {
  return Math.max(0, objective - bound) / Math.max(Math.abs(bound), 1e-3);
}

import type { LoadedProgram, Solution, Solver } from "../solve/solver.ts";
import { DIVES, dive, MAX_PROBES, probe } from "./dive.ts";
import { type Entries, entriesOf, isWhole, type WholePlan } from "./entries.ts";
import { holdInstalled } from "./hold.ts";
import { WORTH_A_CHANGE } from "./installed.ts";
import { search } from "./integer.ts";
import type { Part } from "./lp.ts";
import type { Program } from "./program.ts";

/** A plan counts as proved best when it is within this share of the bound. */
export const MIP_GAP = 1e-3;

// Columns times entries decided one by one while vehicles are held: solving takes longer with more columns.
const PROBED_COLUMNS = 2e6;

/** A part's plan with every power 0 or at least the minimum, and the proved lower bound of its objective. */
export interface Refined extends WholePlan {
  bound: number;
}

/**
 * Turns a relaxed optimum into one whose powers are 0 or at least the minimum, and in one block
 * where a vehicle can't be paused. The steps, each taken while the plan is further than MIP_GAP
 * from the bound: dives, in which slots between 0 and their minimum are rounded to on where limits
 * and energy allow and to off elsewhere, and the program is solved again from the last basis,
 * until none is between; a dive slot by slot; with a solver for it, a mixed-integer program. Undefined when
 * time runs out before there is a plan.
 */
export function refine(
  program: Program,
  part: Part,
  integerSolver: Solver | undefined,
  loaded: LoadedProgram,
  relaxed: Solution,
  leftMs: () => number,
): Refined | undefined {
  const entries = entriesOf(program, part);
  const bound = relaxed.objective;
  // Half of the time is for the plan that is best whatever is installed.
  const laterMs = leftMs() / 2;
  const steady = fewestChanges(program, part, entries, loaded, relaxed, () => leftMs() - laterMs);
  if (steady !== undefined && gapOf(steady.objective, bound) <= MIP_GAP) return { ...steady, bound };
  const best = cheapest(program, part, entries, integerSolver, loaded, relaxed, leftMs);
  if (best === undefined || steady === undefined) return best ?? (steady && { ...steady, bound });
  const isAsGood = steady.objective <= best.objective + MIP_GAP * Math.abs(best.bound);
  return isAsGood ? { ...steady, bound: best.bound } : best;
}

/** A plan that keeps as many installed plans as it can; undefined where none is near the bound. */
function fewestChanges(
  program: Program,
  part: Part,
  entries: Entries,
  loaded: LoadedProgram,
  relaxed: Solution,
  leftMs: () => number,
): WholePlan | undefined {
  let found: WholePlan | undefined;
  const bound = relaxed.objective;
  const effort = { probes: Math.ceil(PROBED_COLUMNS / part.lp.columnCount) };
  holdInstalled(program, part, loaded, relaxed, leftMs, (held, within) => {
    let best: Solution | undefined;
    const isGood = (plan: Solution | undefined): boolean => {
      if (plan !== undefined && (best === undefined || plan.objective < best.objective)) best = plan;
      const gap = best === undefined ? Number.POSITIVE_INFINITY : gapOf(best.objective, bound);
      // What keeps more comes first: of those that are not proved as good, the first is kept.
      if (gap <= MIP_GAP || (gap <= WORTH_A_CHANGE && found === undefined)) found = best;
      return gap <= MIP_GAP;
    };
    const most = bound + (found === undefined ? WORTH_A_CHANGE : MIP_GAP) * Math.abs(bound);
    const isDone = isWhole(entries, held.primal)
      ? isGood(held)
      : DIVES.some((style) => isGood(dive(program, within, entries, loaded, held, style, leftMs))) ||
        isGood(probe(program, within, entries, loaded, held, most, effort, leftMs));
    return { isGood: isDone, plan: best ?? held };
  });
  return found;
}

/** The cheapest plan that dives and searches find. */
function cheapest(
  program: Program,
  part: Part,
  entries: Entries,
  integerSolver: Solver | undefined,
  loaded: LoadedProgram,
  relaxed: Solution,
  leftMs: () => number,
): Refined | undefined {
  const bound = relaxed.objective;
  if (entries.count === 0 || isWhole(entries, relaxed.primal)) {
    return { primal: relaxed.primal, objective: bound, bound };
  }
  let best: Refined | undefined;
  /** Whether the best plan yet, with this one, is near enough to the bound. */
  const isGood = (plan: WholePlan | undefined): boolean => {
    if (plan !== undefined && (best === undefined || plan.objective < best.objective))
      best = { ...plan, bound };
    return best !== undefined && (gapOf(best.objective, bound) <= MIP_GAP || leftMs() <= 0);
  };
  for (const style of DIVES) {
    if (isGood(dive(program, part, entries, loaded, relaxed, style, leftMs)) || leftMs() <= 0) return best;
  }
  if (best === undefined) return undefined;
  const effort = { probes: MAX_PROBES };
  if (isGood(probe(program, part, entries, loaded, relaxed, best.objective, effort, leftMs))) return best;
  if (integerSolver === undefined) return best;
  // A part's gap counts in the whole plan's: leave some for the others.
  return search(part, entries, integerSolver, best, 0.9 * MIP_GAP, leftMs);
}

/** (objective - bound) / |bound|; absolute where the bound is all but 0. */
export function gapOf(objective: number, bound: number): number {
  return Math.max(0, objective - bound) / Math.max(Math.abs(bound), 1e-3);
}

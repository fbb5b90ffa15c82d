import type { Lp } from "../model/lp.ts";

/**
 * - `optimal`: proved, within the gap asked for where integers are in play.
 * - `feasible`: out of time; `primal` keeps every bound and row.
 * - `infeasible`, `unbounded`: proved; no values.
 * - `unsolved`: out of time or failed; no values.
 */
export type SolveStatus = "optimal" | "feasible" | "infeasible" | "unbounded" | "unsolved";

export interface Solution {
  status: SolveStatus;
  objective: number;
  /** One value a column; empty unless optimal or feasible. */
  primal: Float64Array;
  /** Change of the objective for each unit more of a row's right-hand side; empty with integers and unless optimal. */
  duals: Float64Array;
  /** Proved lower bound of the objective; -Infinity where none is known. */
  bound: number;
}

export interface IntegerOptions {
  timeLimitMs: number;
  /** Columns that take whole values only. */
  integers: Int32Array;
  /** Stop when (objective - bound) / |bound| is at most this. */
  relativeGap: number;
  /** Give up the proof after so many nodes of the search tree; a solver that can't count them ignores it. */
  nodeLimit?: number;
  /** A feasible point to start from, one value a column. */
  start?: Float64Array;
}

/**
 * - `SIMPLEX`: from corner to corner, from the last basis where there is one. The default.
 * - `SIMPLEX_UNPERTURBED`: the same on the program as it is, neither perturbed nor scaled. Takes 0.4 to 0.8 of the
 *   time on programs with storage or phases, but up to 8 times as long where many vehicles' long stays are alike.
 * - `INTERIOR`: from inside, and stays there: an optimum, but no corner, and no basis to go on from.
 * - `INTERIOR_TO_CORNER`: from inside to an optimal corner.
 */
export type Method = "SIMPLEX" | "SIMPLEX_UNPERTURBED" | "INTERIOR" | "INTERIOR_TO_CORNER";

export interface SolveOptions {
  timeLimitMs: number;
  /** A solver that has one method only takes that. */
  method?: Method;
}

/** A program handed to a solver, so that changed bounds can be solved from the last basis. */
export interface LoadedProgram {
  setBounds(column: number, lower: number, upper: number): void;
  solve(options: SolveOptions): Solution;
  solveIntegers(options: IntegerOptions): Solution;
  /** Frees what the solver holds; the program can't be used afterwards. */
  dispose(): void;
}

/** One solver of this thread. Throws a plain Error on a program with a number that is not finite where it must be. */
export interface Solver {
  readonly name: "GLPK" | "HIGHS";
  load(lp: Lp): LoadedProgram;
}

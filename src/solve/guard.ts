import type { Lp } from "../model/lp.ts";
import type { IntegerOptions, Solution, SolveStatus } from "./solver.ts";

/**
 * The largest coefficient or finite bound that a program may hold. HiGHS refuses larger
 * coefficients; GLPK aborts or hangs on them.
 */
const largestNumber = 1e15;

/** GLPK counts milliseconds in 32 bits and takes what overflows them for "stop at once". */
const longestTimeLimitMs = 2 ** 31 - 1;

const none = new Float64Array(0);

/**
 * Throws an Error on a program that a solver would misread: arrays of the wrong length, a cost
 * or coefficient that is not finite, a bound that is NaN or infinite on the wrong side, or any
 * number beyond 1e15. GLPK answers such programs with a wrong optimum and no sign of trouble.
 */
export function checkProgram(lp: Lp): void {
  const { columnCount, rowCount, starts, indices, values } = lp;
  expectLength("cost", lp.cost, columnCount);
  expectLength("lower", lp.lower, columnCount);
  expectLength("upper", lp.upper, columnCount);
  expectLength("rowLower", lp.rowLower, rowCount);
  expectLength("rowUpper", lp.rowUpper, rowCount);
  expectLength("starts", starts, rowCount + 1);
  expectLength("indices", indices, starts[rowCount]);
  expectLength("values", values, starts[rowCount]);
  if (starts[0] !== 0) throw new Error(`the first row starts at ${starts[0]}`);
  for (let column = 0; column < columnCount; column++) {
    expectFinite(`cost of column ${column}`, lp.cost[column]);
    checkBounds(`column ${column}`, lp.lower[column], lp.upper[column]);
  }
  for (let row = 0; row < rowCount; row++) {
    checkBounds(`row ${row}`, lp.rowLower[row], lp.rowUpper[row]);
    if (starts[row + 1] < starts[row]) throw new Error(`row ${row} ends before it starts`);
  }
  for (let entry = 0; entry < values.length; entry++) {
    expectFinite(`coefficient ${entry}`, values[entry]);
    checkColumn(lp, indices[entry]);
  }
}

/** Throws an Error unless both bounds are usable; a lower bound above the upper one is, and means infeasible. */
export function checkBounds(place: string, lower: number, upper: number): void {
  if (lower !== Number.NEGATIVE_INFINITY) expectFinite(`lower bound of ${place}`, lower);
  if (upper !== Number.POSITIVE_INFINITY) expectFinite(`upper bound of ${place}`, upper);
}

/** Throws an Error unless the column exists. */
export function checkColumn(lp: Lp, column: number): void {
  if (lp.cost[column] === undefined) throw new Error(`there is no column ${column}`);
}

/** Throws an Error on columns that do not exist, a gap below 0 or a start that is not one finite number a column. */
export function checkIntegerOptions(lp: Lp, options: IntegerOptions): void {
  for (const column of options.integers) checkColumn(lp, column);
  if (!(options.relativeGap >= 0)) throw new Error(`relative gap is ${options.relativeGap}`);
  if (options.start === undefined) return;
  expectLength("start", options.start, lp.columnCount);
  options.start.forEach((value, column) => {
    expectFinite(`start of column ${column}`, value);
  });
}

/** A time limit in the solvers' unit, held to what they can count. Throws an Error on NaN. */
export function toSeconds(timeLimitMs: number): number {
  if (Number.isNaN(timeLimitMs)) throw new Error("time limit is NaN");
  return Math.min(Math.max(timeLimitMs, 0), longestTimeLimitMs) / 1000;
}

/**
 * The gap to hand to a solver that divides by the objective, such that
 * (objective - bound) / |bound| is at most `relativeGap`. With z - b <= g' |z| and
 * g' = g / (1 + g), z > 0 gives b >= z / (1 + g), so z - b <= g b; z <= 0 gives |z| <= |b|.
 */
export function toObjectiveGap(relativeGap: number): number {
  return Number.isFinite(relativeGap) ? relativeGap / (1 + relativeGap) : 1;
}

/** An answer without values. */
export function withoutValues(status: SolveStatus): Solution {
  return { status, objective: Number.NaN, primal: none, duals: none, bound: Number.NEGATIVE_INFINITY };
}

/** The answer to a program that solvers refuse: bounds that cross, or no columns at all. */
export function solveDegenerate(lp: Lp): Solution | undefined {
  if (crosses(lp.lower, lp.upper) || crosses(lp.rowLower, lp.rowUpper)) return withoutValues("infeasible");
  if (lp.columnCount > 0) return undefined;
  const isAtZero = lp.rowLower.every((lower, row) => lower <= 0 && lp.rowUpper[row] >= 0);
  if (!isAtZero) return withoutValues("infeasible");
  return { status: "optimal", objective: 0, primal: none, duals: new Float64Array(lp.rowCount), bound: 0 };
}

/** Whether a point keeps every bound and row to `tolerance` > 0, relative to bounds above 1. */
export function keepsBounds(primal: Float64Array, lp: Lp, tolerance: number): boolean {
  const isWithin = (value: number, lower: number, upper: number) =>
    value >= lower - tolerance * Math.max(1, Math.abs(lower)) &&
    value <= upper + tolerance * Math.max(1, Math.abs(upper));
  for (let column = 0; column < lp.columnCount; column++) {
    if (!isWithin(primal[column], lp.lower[column], lp.upper[column])) return false;
  }
  for (let row = 0; row < lp.rowCount; row++) {
    let activity = 0;
    for (let entry = lp.starts[row]; entry < lp.starts[row + 1]; entry++) {
      activity += lp.values[entry] * primal[lp.indices[entry]];
    }
    if (!isWithin(activity, lp.rowLower[row], lp.rowUpper[row])) return false;
  }
  return true;
}

export function objectiveAt(primal: Float64Array, lp: Lp): number {
  return lp.cost.reduce((sum, cost, column) => sum + cost * primal[column], 0);
}

function crosses(lower: Float64Array, upper: Float64Array): boolean {
  return lower.some((bound, index) => bound > upper[index]);
}

function expectLength(name: string, array: { length: number }, length: number): void {
  if (array.length !== length) throw new Error(`${name} has ${array.length} entries instead of ${length}`);
}

function expectFinite(place: string, value: number): void {
  // Written so that NaN fails.
  if (!(Math.abs(value) <= largestNumber)) throw new Error(`${place} is ${value}`);
}

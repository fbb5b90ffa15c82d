import type { Solver } from "../solve/solver.ts";
import { type Entries, entriesOfSession, POWER_TOLERANCE, powerOf, type WholePlan } from "./entries.ts";
import { type Lp, LpBuilder, type Part } from "./lp.ts";

// Largest integer program that is tried, and how long it may search: nodes rather than seconds, so
// that the same request gets the same answer.
const MAX_BINARIES = 2500;
const NODE_LIMIT = 400;

/**
 * Improves a plan by the mixed-integer program of the whole part, where that is small enough to
 * be worth it: stops within `relativeGap` of its proved bound, which comes with the plan.
 */
export function search(
  part: Part,
  entries: Entries,
  solver: Solver,
  known: WholePlan & { bound: number },
  relativeGap: number,
  leftMs: () => number,
): WholePlan & { bound: number } {
  if (entries.count > MAX_BINARIES) return known;
  const { lp, start, integers } = integerProgram(part, entries, known.primal);
  const loaded = solver.load(lp);
  try {
    const found = loaded.solveIntegers({
      timeLimitMs: leftMs(),
      integers,
      relativeGap,
      nodeLimit: NODE_LIMIT,
      start,
    });
    const isBetter = found.primal.length > 0 && found.objective < known.objective;
    const objective = isBetter ? found.objective : known.objective;
    return {
      primal: isBetter ? found.primal.slice(0, part.lp.columnCount) : known.primal,
      objective,
      bound: Math.min(objective, Math.max(known.bound, found.bound)),
    };
  } finally {
    loaded.dispose();
  }
}

/** The part with a binary for each entry, min z <= power <= max z, and one start at most for each block. */
function integerProgram(
  part: Part,
  entries: Entries,
  known: Float64Array,
): { lp: Lp; start: Float64Array; integers: Int32Array } {
  const { lp } = part;
  const builder = new LpBuilder();
  const start: number[] = Array.from(known);
  for (let j = 0; j < lp.columnCount; j++) builder.addColumn(lp.cost[j], lp.lower[j], lp.upper[j]);
  for (let row = 0; row < lp.rowCount; row++) {
    for (let n = lp.starts[row]; n < lp.starts[row + 1]; n++) builder.addEntry(lp.indices[n], lp.values[n]);
    builder.endRow(lp.rowLower[row], lp.rowUpper[row]);
  }
  const integers: number[] = [];
  const binaryOf = new Int32Array(entries.count).fill(-1);
  const addPower = (e: number) => {
    builder.addEntry(entries.column[e], 1);
    if (entries.extra[e] >= 0) builder.addEntry(entries.extra[e], 1);
  };
  for (let e = 0; e < entries.count; e++) {
    if (lp.lower[entries.column[e]] > 0) continue;
    const binary = builder.addColumn(0, 0, 1);
    binaryOf[e] = binary;
    integers.push(binary);
    start.push(powerOf(entries, known, e) > POWER_TOLERANCE ? 1 : 0);
    addPower(e);
    builder.addEntry(binary, -entries.maxKw[e]);
    builder.endRow(Number.NEGATIVE_INFINITY, 0);
    addPower(e);
    builder.addEntry(binary, -entries.minKw[e]);
    builder.endRow(0, Number.POSITIVE_INFINITY);
  }
  for (const i of entries.blocks) {
    const own = [...entriesOfSession(entries, i)];
    if (own.some((e) => binaryOf[e] < 0)) continue;
    const starts = own.map(() => builder.addColumn(0, 0, 1));
    own.forEach((e, n) => {
      const wasOn = n === 0 ? entries.goesOn[i] : start[binaryOf[own[n - 1]]];
      start.push(Math.max(0, start[binaryOf[e]] - wasOn));
      builder.addEntry(starts[n], 1);
      builder.addEntry(binaryOf[e], -1);
      if (n > 0) builder.addEntry(binaryOf[own[n - 1]], 1);
      builder.endRow(n === 0 ? -entries.goesOn[i] : 0, Number.POSITIVE_INFINITY);
    });
    for (const column of starts) builder.addEntry(column, 1);
    builder.endRow(Number.NEGATIVE_INFINITY, 1 - entries.goesOn[i]);
  }
  return { lp: builder.build(), start: Float64Array.from(start), integers: Int32Array.from(integers) };
}

import { isCharging } from "../domain/greedy.ts";
import type { Part } from "./lp.ts";
import type { Program } from "./program.ts";

// A power this far under its minimum, kW, is at it: solvers keep bounds to 1e-7.
export const POWER_TOLERANCE = 1e-6;

/** The session slots of a part that have a minimum or must form a block. */
export interface Entries {
  count: number;
  /** Sessions that must charge in one block. */
  blocks: number[];
  /** For each session 1 where its block is under way and must go on from the first slot. */
  goesOn: Uint8Array;
  /** First entry of each session; -1 where it has none. The entries of a session follow each other. */
  firstOf: Int32Array;
  session: Int32Array;
  /** Columns of the part; extra is -1 where there is none. */
  column: Int32Array;
  extra: Int32Array;
  minKw: Float64Array;
  maxKw: Float64Array;
  hours: Float64Array;
}

/** A plan of a part, one value a column, with every power 0 or at least the minimum. */
export interface WholePlan {
  primal: Float64Array;
  objective: number;
}

/** Rows that entries stand in: of entry e rows[starts[e] .. starts[e + 1]), with their coefficients. */
export interface EntryRows {
  starts: Int32Array;
  rows: Int32Array;
  factors: Float64Array;
}

/** The wanted rows that each entry stands in. */
export function rowsOf({ lp }: Part, entries: Entries, isWanted: (row: number) => boolean): EntryRows {
  const entryOf = new Int32Array(lp.columnCount).fill(-1);
  for (let e = 0; e < entries.count; e++) entryOf[entries.column[e]] = e;
  const wanted: number[] = [];
  const starts = new Int32Array(entries.count + 1);
  for (let row = 0; row < lp.rowCount; row++) {
    if (!isWanted(row)) continue;
    wanted.push(row);
    for (let n = lp.starts[row]; n < lp.starts[row + 1]; n++) {
      const e = entryOf[lp.indices[n]];
      if (e >= 0) starts[e + 1]++;
    }
  }
  for (let e = 0; e < entries.count; e++) starts[e + 1] += starts[e];
  const next = starts.slice();
  const rows = new Int32Array(starts[entries.count]);
  const factors = new Float64Array(starts[entries.count]);
  for (const row of wanted) {
    for (let n = lp.starts[row]; n < lp.starts[row + 1]; n++) {
      const e = entryOf[lp.indices[n]];
      if (e < 0) continue;
      rows[next[e]] = row;
      factors[next[e]++] = lp.values[n];
    }
  }
  return { starts, rows, factors };
}

export function entriesOf(program: Program, part: Part): Entries {
  const local = new Int32Array(program.lp.columnCount).fill(-1);
  part.columns.forEach((column, j) => {
    local[column] = j;
  });
  const found: number[] = [];
  const sessions: number[] = [];
  const hours: number[] = [];
  program.charging.stays.forEach((_, i) => {
    for (let n = program.offsets[i]; n < program.offsets[i + 1]; n++) {
      if (local[program.columns[n]] < 0) break;
      // Slots of one column are one entry.
      const last = found.length - 1;
      if (last >= 0 && program.columns[found[last]] === program.columns[n]) {
        hours[last] += program.hours[n];
        continue;
      }
      if (program.maxKw[n] > 0 && (program.minKw[n] > 0 || program.problem.sessions[i].uninterruptible)) {
        found.push(n);
        hours.push(program.hours[n]);
        sessions.push(i);
      }
    }
  });
  const firstOf = new Int32Array(program.offsets.length).fill(-1);
  for (let e = found.length - 1; e >= 0; e--) firstOf[sessions[e]] = e;
  // A charger that rejects 0 never pauses its vehicle anyway.
  const blocks = program.problem.sessions.flatMap((session, i) =>
    session.uninterruptible && firstOf[i] >= 0 && program.charging.ranges[i].floorPowerW === 0 ? [i] : [],
  );
  const pick = (values: Float64Array) => Float64Array.from(found, (n) => values[n]);
  return {
    count: found.length,
    blocks,
    goesOn: Uint8Array.from(program.offsets, (_, i) =>
      blocks.includes(i) && isCharging(program.problem, i) ? 1 : 0,
    ),
    firstOf,
    session: Int32Array.from(sessions),
    column: Int32Array.from(found, (n) => local[program.columns[n]]),
    extra: Int32Array.from(found, (n) => (program.extras[n] < 0 ? -1 : local[program.extras[n]])),
    minKw: pick(program.minKw),
    maxKw: pick(program.maxKw),
    hours: Float64Array.from(hours),
  };
}

export function powerOf(entries: Entries, primal: Float64Array, e: number): number {
  return primal[entries.column[e]] + (entries.extra[e] < 0 ? 0 : primal[entries.extra[e]]);
}

export function isBetween(entries: Entries, primal: Float64Array, e: number): boolean {
  const power = powerOf(entries, primal, e);
  return power > POWER_TOLERANCE && power < entries.minKw[e] - POWER_TOLERANCE;
}

/** Entries of a session, in time order. */
export function* entriesOfSession(entries: Entries, i: number): Generator<number> {
  for (let e = entries.firstOf[i]; e < entries.count && entries.session[e] === i; e++) yield e;
}

export function isWhole(entries: Entries, primal: Float64Array): boolean {
  for (let e = 0; e < entries.count; e++) if (isBetween(entries, primal, e)) return false;
  return entries.blocks.every((i) => {
    let starts = 0;
    let wasOn = entries.goesOn[i] === 1;
    for (const e of entriesOfSession(entries, i)) {
      const isOn = powerOf(entries, primal, e) > POWER_TOLERANCE;
      if (isOn && !wasOn) starts++;
      wasOn = isOn;
    }
    return starts <= 1 - entries.goesOn[i];
  });
}

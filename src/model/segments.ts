import type { PowerPlan } from "../domain/plan.ts";
import { isInstalled } from "./installed.ts";
import { LpBuilder } from "./lp.ts";
import type { Program } from "./program.ts";

/**
 * The stretches of each session's stay in which it has one power: a number for each slot of the stay, the same
 * within a stretch; OFF where it does not charge.
 */
export type Segments = Int32Array[];

const OFF = -1;
// More stretches than this are not grouped: the search takes stretches x stretches x segments steps.
const MAX_GROUPED = 400;

/** The stretches of equal power of a plan; what is off at the end of a stay stays off. */
export function segmentsOf(program: Program, plan: PowerPlan): Segments {
  return plan.map((powerW, i) => {
    const { first, hours } = program.charging.stays[i];
    const lastOn = lastSlotOn(program, powerW, i);
    const own = new Int32Array(hours.length).fill(OFF, lastOn + 1 - first);
    for (let k = first + 1; k <= lastOn; k++)
      own[k - first] = own[k - 1 - first] + (powerW[k] === powerW[k - 1] ? 0 : 1);
    return own;
  });
}

/**
 * So many stretches of a session at most, or fewer, that are nearest to a plan: with the least sum of
 * squares of what each slot's power is off its stretch's mean. Undefined where the plan has too many.
 */
export function grouped(
  program: Program,
  powerW: Float64Array,
  i: number,
  count: number,
): Int32Array | undefined {
  const { first, hours } = program.charging.stays[i];
  const lastOn = lastSlotOn(program, powerW, i);
  const own = new Int32Array(hours.length).fill(OFF, lastOn + 1 - first);
  const ends: number[] = [];
  // Sums of hours, energy and power x energy up to each end.
  const sums = [{ h: 0, wh: 0, wwh: 0 }];
  let sum = sums[0];
  for (let k = first; k <= lastOn; k++) {
    const [h, w] = [hours[k - first], powerW[k]];
    sum = { h: sum.h + h, wh: sum.wh + h * w, wwh: sum.wwh + h * w * w };
    if (k < lastOn && powerW[k + 1] === w) continue;
    ends.push(k + 1);
    sums.push(sum);
  }
  if (ends.length > MAX_GROUPED) return undefined;
  const deviation = (from: number, to: number) => {
    const [a, b] = [sums[from], sums[to]];
    return b.wwh - a.wwh - (b.wh - a.wh) ** 2 / (b.h - a.h);
  };
  // Entry [groups][end]: the least deviation of what is before that end, and where its last group begins.
  let least = new Float64Array(sums.length).fill(Number.POSITIVE_INFINITY);
  least[0] = 0;
  const starts: Int32Array[] = [];
  for (let groups = 0; groups < Math.min(count, ends.length); groups++) {
    const next = new Float64Array(sums.length).fill(Number.POSITIVE_INFINITY);
    const start = new Int32Array(sums.length);
    for (let to = groups + 1; to < sums.length; to++) {
      for (let from = groups; from < to; from++) {
        const total = least[from] + deviation(from, to);
        if (total >= next[to]) continue;
        next[to] = total;
        start[to] = from;
      }
    }
    starts.push(start);
    least = next;
  }
  let to = ends.length;
  for (let group = starts.length - 1; group >= 0; group--) {
    const from = starts[group][to];
    own.fill(group, from === 0 ? 0 : ends[from - 1] - first, ends[to - 1] - first);
    to = from;
  }
  return own;
}

/** The last slot in which a session has more than it can't be without; before its stay where there is none. */
function lastSlotOn({ charging }: Program, powerW: Float64Array, i: number): number {
  const { first, end } = charging.stays[i];
  let last = end - 1;
  while (last >= first && powerW[last] <= charging.ranges[i].floorPowerW) last--;
  return last;
}

/**
 * The program with one power for each segment, wherever the bounds are the same in all of it. What
 * keeps its installed plan in `plan`, or gives, stays as it is there.
 */
export function tied(program: Program, segments: Segments, plan: PowerPlan): Program {
  const { lp, columns, extras, offsets, charging } = program;
  const lower = lp.lower.slice();
  const upper = lp.upper.slice();
  const maxKw = program.maxKw.slice();
  // The column that each one is replaced by.
  const main = Int32Array.from({ length: lp.columnCount }, (_, column) => column);
  charging.stays.forEach(({ first, hours }, i) => {
    const isFixed =
      program.problem.sessions[i].discharge?.plannedW !== undefined || isInstalled(program, plan, i);
    let before: number[] = [];
    hours.forEach((_, n) => {
      const entry = offsets[i] + n;
      const own = extras[entry] < 0 ? [columns[entry]] : [columns[entry], extras[entry]];
      if (isFixed) {
        let leftKw = plan[i][first + n] / 1000;
        for (const column of own) {
          lower[column] = Math.min(leftKw, upper[column]);
          upper[column] = lower[column];
          leftKw -= lower[column];
        }
        return;
      }
      if (segments[i][n] === OFF) {
        for (const column of own) upper[column] = lower[column];
        maxKw[entry] = lower[own[0]];
      }
      const isTied =
        n > 0 &&
        segments[i][n] === segments[i][n - 1] &&
        own.length === before.length &&
        own.every((column, m) => lower[column] === lower[before[m]] && upper[column] === upper[before[m]]);
      if (isTied) {
        own.forEach((column, m) => {
          main[column] = main[before[m]];
        });
      }
      before = own;
    });
  });
  const cost = new Float64Array(lp.columnCount);
  for (let column = 0; column < lp.columnCount; column++) cost[main[column]] += lp.cost[column];
  const builder = new LpBuilder();
  const placed = new Int32Array(lp.columnCount);
  for (let column = 0; column < lp.columnCount; column++) {
    placed[column] =
      main[column] === column
        ? builder.addColumn(cost[column], lower[column], upper[column])
        : placed[main[column]];
  }
  addRows(builder, program, placed);
  const at = (column: number) => (column < 0 ? -1 : placed[column]);
  return {
    ...program,
    lp: builder.build(),
    maxKw,
    columns: columns.map(at),
    extras: extras.map(at),
    undrawn: program.undrawn.map(at),
    given: program.given.map(at),
    energy: program.energy.map((one) => ({ ...one, unmet: at(one.unmet), over: at(one.over) })),
    surplus: program.surplus && { ...program.surplus, columns: program.surplus.columns.map(at) },
    demand: program.demand && { ...program.demand, column: at(program.demand.column) },
  };
}

/** Adds a program's rows in other columns. Rows that have become the same are one, with the tightest bounds. */
function addRows(builder: LpBuilder, { lp }: Program, placed: Int32Array): void {
  const rows = new Map<string, { columns: number[]; values: number[]; lower: number; upper: number }>();
  const values = new Float64Array(lp.columnCount);
  for (let row = 0; row < lp.rowCount; row++) {
    const columns: number[] = [];
    for (let n = lp.starts[row]; n < lp.starts[row + 1]; n++) {
      const column = placed[lp.indices[n]];
      if (!columns.includes(column)) columns.push(column);
      values[column] += lp.values[n];
    }
    const ofRow = columns.map((column) => values[column]);
    for (const column of columns) values[column] = 0;
    const key = `${columns}:${ofRow}`;
    const same = rows.get(key);
    const [lower, upper] = [lp.rowLower[row], lp.rowUpper[row]];
    if (same === undefined) rows.set(key, { columns, values: ofRow, lower, upper });
    else {
      same.lower = Math.max(same.lower, lower);
      same.upper = Math.min(same.upper, upper);
    }
  }
  for (const row of rows.values()) {
    row.columns.forEach((column, n) => {
      builder.addEntry(column, row.values[n]);
    });
    builder.endRow(row.lower, row.upper);
  }
}

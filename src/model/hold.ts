import type { LoadedProgram, Solution } from "../solve/solver.ts";
import { installedPlan } from "./installed.ts";
import type { Part } from "./lp.ts";
import type { Program } from "./program.ts";

// What holding vehicles may cost of the bound.
const HOLD_SHARE = 1e-3;

/**
 * Fixes vehicles to their installed plans in a part whose relaxed optimum is known, so that a new
 * need changes few others. All that can be kept are held first; then those are freed whose planning
 * anew would save most at the held program's prices, twice as many each time. Each held optimum that
 * costs next to nothing is handed to `accept` with the part as its columns are fixed then, until it
 * says yes. Leaves the loaded program as it was.
 */
export function holdInstalled(
  program: Program,
  part: Part,
  loaded: LoadedProgram,
  relaxed: Solution,
  leftMs: () => number,
  accept: (held: Solution, part: Part) => boolean,
): void {
  let held = holdingsOf(program, part, relaxed.primal);
  const { lower, upper } = part.lp;
  const set = ({ columns, values }: Holding, isHeld: boolean) => {
    columns.forEach((column, n) => {
      if (isHeld) loaded.setBounds(column, values[n], values[n]);
      else loaded.setBounds(column, lower[column], upper[column]);
    });
  };
  for (const one of held) set(one, true);
  const most = relaxed.objective + HOLD_SHARE * Math.abs(relaxed.objective);
  for (let count = 1; held.length > 0 && leftMs() > 0; count *= 2) {
    const solution = loaded.solve({ timeLimitMs: leftMs() });
    const isSolved = solution.status === "optimal";
    if (isSolved && solution.objective <= most && accept(solution, withFixed(part, held))) break;
    const savings = isSolved ? savingsOf(part, held, solution.duals) : changesOf(held, relaxed.primal);
    const order = held.map((_, n) => n).sort((a, b) => savings[b] - savings[a] || a - b);
    const freed = new Set(order.slice(0, count));
    held.forEach((one, n) => {
      if (freed.has(n)) set(one, false);
    });
    held = held.filter((_, n) => !freed.has(n));
  }
  for (const one of held) set(one, false);
}

/** The part with the columns of the holdings fixed. */
function withFixed(part: Part, holdings: readonly Holding[]): Part {
  const lower = part.lp.lower.slice();
  const upper = part.lp.upper.slice();
  for (const { columns, values } of holdings) {
    columns.forEach((column, n) => {
      lower[column] = values[n];
      upper[column] = values[n];
    });
  }
  return { ...part, lp: { ...part.lp, lower, upper } };
}

/** A session that could keep its installed plan: its columns of the part, and their values then. */
interface Holding {
  columns: number[];
  values: number[];
  hours: number[];
}

/** The sessions of a part whose installed plans can be told exactly and deliver no less than the relaxed optimum. */
function holdingsOf(program: Program, part: Part, primal: Float64Array): Holding[] {
  const local = new Map<number, number>();
  part.columns.forEach((column, j) => {
    local.set(column, j);
  });
  return program.problem.sessions.flatMap((_, i) => {
    const first = local.get(program.columns[program.offsets[i]]);
    if (program.offsets[i] === program.offsets[i + 1] || first === undefined) return [];
    const { unmet, segments, over, energyKwh } = program.energy[i];
    let plannedKwh = energyKwh;
    for (let s = 0; s < segments; s++) plannedKwh -= primal[local.get(unmet + s) ?? 0];
    const own = installedPlan(program, i, plannedKwh * 1000);
    if (own === undefined) return [];
    const holding: Holding = { columns: [], values: [], hours: [] };
    let ownKwh = 0;
    for (let n = program.offsets[i]; n < program.offsets[i + 1]; n++) {
      const kw = own[program.charging.stays[i].first + n - program.offsets[i]] / 1000;
      const main = local.get(program.columns[n]) ?? 0;
      const mainKw = Math.min(kw, part.lp.upper[main]);
      holding.columns.push(main);
      holding.values.push(mainKw);
      holding.hours.push(program.hours[n]);
      ownKwh += kw * program.hours[n];
      if (program.extras[n] >= 0) {
        holding.columns.push(local.get(program.extras[n]) ?? 0);
        holding.values.push(kw - mainKw);
        holding.hours.push(program.hours[n]);
      }
    }
    const isWithin = holding.columns.every(
      (column, n) => holding.values[n] <= part.lp.upper[column] && holding.values[n] >= part.lp.lower[column],
    );
    const mostKwh = energyKwh + (over < 0 ? 0 : program.lp.upper[over]);
    return isWithin && ownKwh <= mostKwh ? [holding] : [];
  });
}

/** What planning each session anew would save at a solution's prices, the others left as they are. */
function savingsOf({ lp }: Part, holdings: readonly Holding[], duals: Float64Array): number[] {
  const reduced = lp.cost.slice();
  for (let row = 0; row < lp.rowCount; row++) {
    for (let n = lp.starts[row]; n < lp.starts[row + 1]; n++)
      reduced[lp.indices[n]] -= lp.values[n] * duals[row];
  }
  return holdings.map(({ columns, values, hours }) => {
    let leftKwh = 0;
    let cost = 0;
    columns.forEach((column, n) => {
      leftKwh += values[n] * hours[n];
      cost += values[n] * reduced[column];
    });
    const cheapest = columns
      .map((_, n) => n)
      .sort((a, b) => reduced[columns[a]] / hours[a] - reduced[columns[b]] / hours[b]);
    for (const n of cheapest) {
      const kw = Math.min(lp.upper[columns[n]], leftKwh / hours[n]);
      cost -= kw * reduced[columns[n]];
      leftKwh -= kw * hours[n];
    }
    return cost;
  });
}

/** By how much the relaxed optimum differs from each installed plan, kWh. */
function changesOf(holdings: readonly Holding[], primal: Float64Array): number[] {
  return holdings.map(({ columns, values, hours }) =>
    columns.reduce((sum, column, n) => sum + hours[n] * Math.abs(primal[column] - values[n]), 0),
  );
}

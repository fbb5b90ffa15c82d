import { taperOf } from "../domain/delivery.ts";
import type { LoadedProgram, Solution } from "../solve/solver.ts";
import { installedPlan } from "./installed.ts";
import type { Part } from "./lp.ts";
import type { Program } from "./program.ts";

// What holding vehicles may cost of the bound; the rest of a proof's gap is for the dives.
const HOLD_SHARE = 6e-4;
// Solves, and attempts at a plan, in which vehicles that were freed are held again.
const MAX_RETURNS = 24;
const MAX_RETRIES = 4;

/** The best plan found with vehicles held, the held optimum where there is none, and whether it is good enough. */
interface Attempt {
  isGood: boolean;
  plan: Solution;
}

/**
 * Fixes vehicles to their installed plans in a part whose relaxed optimum is known, so that a new
 * need changes few others. All that can be kept are held first; then those are freed whose planning
 * anew would save most at the held program's prices, twice as many each time, until the held optimum
 * costs next to nothing; then those of them are held again that are not needed for it. What is found is
 * handed to `attempt` with the part as its columns are fixed then. While no good plan comes of it, as
 * many again are freed at the prices of the best one. Leaves the loaded program as it was.
 */
export function holdInstalled(
  program: Program,
  part: Part,
  loaded: LoadedProgram,
  relaxed: Solution,
  leftMs: () => number,
  attempt: (held: Solution, part: Part) => Attempt,
): void {
  const holdings = holdingsOf(program, part, relaxed.primal);
  if (holdings.length === 0) return;
  const hold = new Hold(part, loaded, holdings);
  const solve = () => loaded.solve({ timeLimitMs: leftMs() });
  const free = (count: number, { status, duals }: Solution) => {
    const { held } = hold;
    const savings = status === "optimal" ? savingsOf(part, held, duals) : changesOf(held, relaxed.primal);
    for (const one of sortedBy(held, savings).slice(-count)) hold.release(one);
    return solve();
  };
  const most = relaxed.objective + HOLD_SHARE * Math.abs(relaxed.objective);
  const isCheap = ({ status, objective }: Solution) => status === "optimal" && objective <= most;
  const hasTime = () => leftMs() > 0;
  let solution = solve();
  for (let count = 1; !isCheap(solution) && hold.held.length > 0 && hasTime(); count *= 2)
    solution = free(count, solution);
  if (isCheap(solution)) {
    const freed = sortedBy(hold.freed, changesOf(hold.freed, solution.primal));
    holdAgain(hold, freed, MAX_RETURNS, () => {
      const again = solve();
      if (isCheap(again)) solution = again;
      return isCheap(again);
    });
  }
  let hasFailed = false;
  while (isCheap(solution) && hold.held.length > 0 && hasTime()) {
    const { isGood, plan } = attempt(solution, withFixed(part, hold.held));
    if (!isGood) {
      hasFailed = true;
      solution = free(Math.max(1, hold.freed.length), plan);
      continue;
    }
    // As many again may have been more than it takes.
    if (hasFailed) {
      const freed = sortedBy(hold.freed, changesOf(hold.freed, plan.primal));
      holdAgain(hold, freed, MAX_RETRIES, () => {
        const again = solve();
        return isCheap(again) && attempt(again, withFixed(part, hold.held)).isGood;
      });
    }
    break;
  }
  for (const one of hold.held) hold.release(one);
}

/** Holds freed vehicles again, the first ones first and many at once, where `isGood` then. */
function holdAgain(hold: Hold, freed: readonly Holding[], maxTries: number, isGood: () => boolean): void {
  let size = Math.ceil(freed.length / 2);
  for (let at = 0, tries = 0; at < freed.length && tries < maxTries; tries++) {
    const group = freed.slice(at, at + size);
    for (const one of group) hold.fix(one);
    if (isGood()) {
      at += group.length;
      continue;
    }
    for (const one of group) hold.release(one);
    if (group.length === 1) at++;
    size = Math.ceil(group.length / 2);
  }
}

/** Which vehicles of a loaded program are held. */
class Hold {
  readonly #part: Part;
  readonly #loaded: LoadedProgram;
  readonly #held: Set<Holding>;
  readonly #all: readonly Holding[];

  constructor(part: Part, loaded: LoadedProgram, all: readonly Holding[]) {
    this.#part = part;
    this.#loaded = loaded;
    this.#all = all;
    this.#held = new Set();
    for (const one of all) this.fix(one);
  }

  get held(): Holding[] {
    return this.#all.filter((one) => this.#held.has(one));
  }

  get freed(): Holding[] {
    return this.#all.filter((one) => !this.#held.has(one));
  }

  fix(one: Holding): void {
    this.#held.add(one);
    one.columns.forEach((column, n) => {
      this.#loaded.setBounds(column, one.values[n], one.values[n]);
    });
  }

  release(one: Holding): void {
    const { lower, upper } = this.#part.lp;
    this.#held.delete(one);
    for (const column of one.columns) this.#loaded.setBounds(column, lower[column], upper[column]);
  }
}

/** In the order of their numbers, least first; of equals the first. */
function sortedBy(holdings: readonly Holding[], numbers: readonly number[]): Holding[] {
  const order = holdings.map((_, n) => n).sort((a, b) => numbers[a] - numbers[b] || a - b);
  return order.map((n) => holdings[n]);
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
  return program.problem.sessions.flatMap((session, i) => {
    // What it was told can be above what its charge curve takes: as a power drawn it is none.
    if (taperOf(session) !== undefined) return [];
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

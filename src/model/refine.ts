import { isCharging } from "../domain/greedy.ts";
import type { LoadedProgram, Solution, Solver } from "../solve/solver.ts";
import { type Lp, LpBuilder, type Part } from "./lp.ts";
import type { Program } from "./program.ts";

/** A plan counts as proved best when it is within this share of the bound. */
export const MIP_GAP = 1e-3;

// A power this far under its minimum, kW, is at it: solvers keep bounds to 1e-7.
const POWER_TOLERANCE = 1e-6;
// Rounds in which slots that are off may still start; afterwards they stay off, so that it ends.
const OPEN_ROUNDS = 12;
// Entries that a dive one by one may decide, and the rise of the objective that it takes for none.
const MAX_PROBES = 200;
const FREE = 1e-7;
// Largest integer program that is tried, and how long it may search: nodes rather than seconds, so
// that the same request gets the same answer.
const MAX_BINARIES = 2500;
const NODE_LIMIT = 400;

/** A part's plan with every power 0 or at least the minimum. */
export interface Refined {
  /** One value a column of the part. */
  primal: Float64Array;
  objective: number;
  /** Proved lower bound of the objective. */
  bound: number;
}

/** How a dive rounds. */
interface Dive {
  /** Least share of its minimum that a power must have to be rounded up, once a slot of the vehicle has been. */
  threshold: number;
  /** Whether slots at or above their minimum are held on from the first round. */
  holdsOn: boolean;
}

// In the order of what each closes on its own.
const DIVES: Dive[] = [
  { threshold: 0, holdsOn: false },
  { threshold: 0.35, holdsOn: false },
  { threshold: 0, holdsOn: true },
];

const OPEN = 0;
const ON = 1;
const OFF = 2;

/**
 * Turns a relaxed optimum into one whose powers are 0 or at least the minimum, and in one block
 * where a vehicle can't be paused. Dives first: slots between 0 and their minimum are rounded to
 * on where limits and energy allow and to off elsewhere, and the program is solved again from
 * the last basis, until none is between. While that is further than MIP_GAP from the bound, it
 * dives again with another rounding, then slot by slot, and last a mixed-integer program closes
 * in. Undefined when time runs out before the dive ends.
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
  for (const style of DIVES) {
    const dived = dive(program, part, entries, loaded, relaxed, style, leftMs);
    if (dived !== undefined && (best === undefined || dived.objective < best.objective))
      best = { ...dived, bound };
    if (best !== undefined && gapOf(best.objective, bound) <= MIP_GAP) return best;
    if (leftMs() <= 0) return best;
  }
  if (best === undefined) return undefined;
  const probed = probe(program, part, entries, loaded, relaxed, best.objective, leftMs);
  if (probed !== undefined) best = { ...probed, bound };
  if (gapOf(best.objective, bound) <= MIP_GAP || leftMs() <= 0) return best;
  return search(part, entries, integerSolver, best, leftMs);
}

/** (objective - bound) / |bound|; absolute where the bound is all but 0. */
export function gapOf(objective: number, bound: number): number {
  return Math.max(0, objective - bound) / Math.max(Math.abs(bound), 1e-3);
}

/** The session slots of a part that have a minimum or must form a block. */
interface Entries {
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

function entriesOf(program: Program, part: Part): Entries {
  const local = new Int32Array(program.lp.columnCount).fill(-1);
  part.columns.forEach((column, j) => {
    local[column] = j;
  });
  const found: number[] = [];
  const sessions: number[] = [];
  program.charging.stays.forEach((_, i) => {
    for (let n = program.offsets[i]; n < program.offsets[i + 1]; n++) {
      if (local[program.columns[n]] < 0) break;
      if (program.maxKw[n] > 0 && (program.minKw[n] > 0 || program.problem.sessions[i].uninterruptible)) {
        found.push(n);
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
    hours: pick(program.hours),
  };
}

function powerOf(entries: Entries, primal: Float64Array, e: number): number {
  return primal[entries.column[e]] + (entries.extra[e] < 0 ? 0 : primal[entries.extra[e]]);
}

function isBetween(entries: Entries, primal: Float64Array, e: number): boolean {
  const power = powerOf(entries, primal, e);
  return power > POWER_TOLERANCE && power < entries.minKw[e] - POWER_TOLERANCE;
}

/** Entries of a session, in time order. */
function* entriesOfSession(entries: Entries, i: number): Generator<number> {
  for (let e = entries.firstOf[i]; e < entries.count && entries.session[e] === i; e++) yield e;
}

function isWhole(entries: Entries, primal: Float64Array): boolean {
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

/**
 * Which entries are decided, and the room that the minimums of those that are on leave: in each
 * limit row, and in each session's energy. Keeps the program feasible whatever is decided.
 */
class Decisions {
  readonly state: Uint8Array;
  readonly #entries: Entries;
  readonly #loaded: LoadedProgram;
  readonly #lp: Lp;
  readonly #slack: Float64Array;
  readonly #energyLeft: Float64Array;
  /** Limit rows of each entry: rows[starts[e] .. starts[e + 1]), with their coefficients. */
  readonly #starts: Int32Array;
  readonly #rows: Int32Array;
  readonly #factors: Float64Array;

  constructor(program: Program, part: Part, entries: Entries, loaded: LoadedProgram) {
    const { lp } = part;
    this.#entries = entries;
    this.#loaded = loaded;
    this.#lp = lp;
    this.state = new Uint8Array(entries.count);
    this.#slack = lp.rowUpper.slice();
    const entryOf = new Int32Array(lp.columnCount).fill(-1);
    for (let e = 0; e < entries.count; e++) entryOf[entries.column[e]] = e;
    const lists: { row: number; factor: number }[][] = Array.from({ length: entries.count }, () => []);
    for (let row = 0; row < lp.rowCount; row++) {
      const from = lp.starts[row];
      const to = lp.starts[row + 1];
      const isLimit =
        lp.rowLower[row] === Number.NEGATIVE_INFINITY && lp.values.subarray(from, to).every((v) => v > 0);
      if (!isLimit) continue;
      for (let n = from; n < to; n++) {
        const e = entryOf[lp.indices[n]];
        if (e >= 0) lists[e].push({ row, factor: lp.values[n] });
      }
    }
    this.#starts = Int32Array.from([0, ...lists.map((list) => list.length)]);
    for (let e = 0; e < entries.count; e++) this.#starts[e + 1] += this.#starts[e];
    this.#rows = Int32Array.from(lists.flatMap((list) => list.map(({ row }) => row)));
    this.#factors = Float64Array.from(lists.flatMap((list) => list.map(({ factor }) => factor)));
    this.#energyLeft = Float64Array.from(program.energy, ({ energyKwh, over }) => {
      return energyKwh + (over < 0 ? 0 : program.lp.upper[over]);
    });
    for (let e = 0; e < entries.count; e++) {
      // A charger that rejects 0 is on for the whole stay.
      if (lp.lower[entries.column[e]] > 0) this.#decideOn(e);
    }
  }

  canTurnOn(e: number): boolean {
    const { minKw, hours, session } = this.#entries;
    if (minKw[e] * hours[e] > this.#energyLeft[session[e]] + 1e-9) return false;
    for (let n = this.#starts[e]; n < this.#starts[e + 1]; n++) {
      if (this.#factors[n] * minKw[e] > this.#slack[this.#rows[n]] + 1e-9) return false;
    }
    return true;
  }

  turnOn(e: number): void {
    this.#decideOn(e);
    const { column, extra, minKw } = this.#entries;
    const { lower, upper } = this.#lp;
    const main = Math.min(minKw[e], upper[column[e]]);
    this.#loaded.setBounds(column[e], Math.max(main, lower[column[e]]), upper[column[e]]);
    if (extra[e] >= 0)
      this.#loaded.setBounds(extra[e], minKw[e] - main, Math.max(minKw[e] - main, upper[extra[e]]));
  }

  turnOff(e: number): void {
    this.state[e] = OFF;
    const { column, extra } = this.#entries;
    this.#loaded.setBounds(column[e], 0, 0);
    if (extra[e] >= 0) this.#loaded.setBounds(extra[e], 0, 0);
  }

  #decideOn(e: number): void {
    const { minKw, hours, session } = this.#entries;
    this.state[e] = ON;
    this.#energyLeft[session[e]] -= minKw[e] * hours[e];
    for (let n = this.#starts[e]; n < this.#starts[e + 1]; n++)
      this.#slack[this.#rows[n]] -= this.#factors[n] * minKw[e];
  }

  reopen(e: number): void {
    const { column, extra, minKw, hours, session } = this.#entries;
    const { lower, upper } = this.#lp;
    if (this.state[e] === ON) {
      this.#energyLeft[session[e]] += minKw[e] * hours[e];
      for (let n = this.#starts[e]; n < this.#starts[e + 1]; n++) {
        this.#slack[this.#rows[n]] += this.#factors[n] * minKw[e];
      }
    }
    this.state[e] = OPEN;
    this.#loaded.setBounds(column[e], lower[column[e]], upper[column[e]]);
    if (extra[e] >= 0) this.#loaded.setBounds(extra[e], lower[extra[e]], upper[extra[e]]);
  }

  /** Leaves the loaded program as it was. */
  undo(): void {
    this.state.forEach((state, e) => {
      if (state !== OPEN) this.reopen(e);
    });
  }

  /** What one kWh in an entry costs at a solution's duals: its price and what it displaces. */
  fullCost(e: number, duals: Float64Array): number {
    const { column, hours } = this.#entries;
    let cost = this.#lp.cost[column[e]];
    for (let n = this.#starts[e]; n < this.#starts[e + 1]; n++)
      cost -= this.#factors[n] * duals[this.#rows[n]];
    return cost / hours[e];
  }
}

/** Solves and rounds in turn until every power is 0 or at least the minimum. */
function dive(
  program: Program,
  part: Part,
  entries: Entries,
  loaded: LoadedProgram,
  relaxed: Solution,
  style: Dive,
  leftMs: () => number,
): { primal: Float64Array; objective: number } | undefined {
  const decisions = new Decisions(program, part, entries, loaded);
  let solution = relaxed;
  if (entries.blocks.length > 0) {
    for (const i of entries.blocks) chooseBlock(program, entries, decisions, i, relaxed.duals);
    solution = loaded.solve({ timeLimitMs: leftMs() });
  }
  let round = 0;
  while (solution.status === "optimal" && round <= OPEN_ROUNDS && !isWhole(entries, solution.primal)) {
    decide(program, entries, decisions, solution.primal, style, round === OPEN_ROUNDS);
    solution = loaded.solve({ timeLimitMs: leftMs() });
    round++;
  }
  decisions.undo();
  if (solution.status !== "optimal" || !isWhole(entries, solution.primal)) return undefined;
  return { primal: solution.primal, objective: solution.objective };
}

/**
 * Dives one entry at a time, the fullest first: solves with it on and with it off and goes on
 * with the better. Undefined once it is no better than the best objective known, or too long.
 */
function probe(
  program: Program,
  part: Part,
  entries: Entries,
  loaded: LoadedProgram,
  relaxed: Solution,
  bestObjective: number,
  leftMs: () => number,
): { primal: Float64Array; objective: number } | undefined {
  const decisions = new Decisions(program, part, entries, loaded);
  const solve = () => loaded.solve({ timeLimitMs: leftMs() });
  let solution = relaxed;
  if (entries.blocks.length > 0) {
    for (const i of entries.blocks) chooseBlock(program, entries, decisions, i, relaxed.duals);
    solution = solve();
  }
  const goesOn = () => solution.status === "optimal" && solution.objective < bestObjective;
  for (let step = 0; step < MAX_PROBES && goesOn(); step++) {
    const e = fullest(entries, solution.primal);
    if (e < 0) break;
    let on: Solution | undefined;
    if (decisions.canTurnOn(e)) {
      decisions.turnOn(e);
      on = solve();
      // What costs nothing can't be beaten.
      if (on.status === "optimal" && on.objective <= solution.objective + FREE) {
        solution = on;
        continue;
      }
      decisions.reopen(e);
    }
    decisions.turnOff(e);
    const off = solve();
    if (on?.status === "optimal" && on.objective < off.objective) {
      decisions.reopen(e);
      decisions.turnOn(e);
      solution = on;
    } else solution = off;
  }
  decisions.undo();
  if (!goesOn() || !isWhole(entries, solution.primal)) return undefined;
  return { primal: solution.primal, objective: solution.objective };
}

/** The entry in between that is nearest to its minimum; -1 where none is. */
function fullest(entries: Entries, primal: Float64Array): number {
  let best = -1;
  let most = 0;
  for (let e = 0; e < entries.count; e++) {
    if (!isBetween(entries, primal, e)) continue;
    const fill = powerOf(entries, primal, e) / entries.minKw[e];
    if (fill > most) {
      most = fill;
      best = e;
    }
  }
  return best;
}

/** Decides the entries of a solution that are on, and rounds those in between, largest first. */
function decide(
  program: Program,
  entries: Entries,
  decisions: Decisions,
  primal: Float64Array,
  style: Dive,
  isLast: boolean,
): void {
  const { state } = decisions;
  const { session, hours, minKw } = entries;
  const between: number[] = [];
  // Energy that each session could move into an entry that is turned on.
  const movableKwh = new Float64Array(program.energy.length);
  const isOn = new Uint8Array(program.energy.length);
  for (let e = 0; e < entries.count; e++) {
    const power = powerOf(entries, primal, e);
    if (state[e] === OPEN) {
      if (isBetween(entries, primal, e)) between.push(e);
      else if (power > POWER_TOLERANCE) {
        if ((style.holdsOn || isLast) && decisions.canTurnOn(e)) decisions.turnOn(e);
      } else if (isLast) decisions.turnOff(e);
    }
    if (state[e] === ON) isOn[session[e]] = 1;
    if (power >= minKw[e] - POWER_TOLERANCE) movableKwh[session[e]] += hours[e] * (power - minKw[e]);
    else movableKwh[session[e]] += hours[e] * power;
  }
  const fill = (e: number) => powerOf(entries, primal, e) / minKw[e];
  between.sort((a, b) => fill(b) - fill(a) || a - b);
  for (const e of between) {
    const i = session[e];
    const needKwh = hours[e] * minKw[e];
    const isWanted = isOn[i] === 0 || (fill(e) >= style.threshold && movableKwh[i] >= needKwh - 1e-9);
    if (isWanted && decisions.canTurnOn(e)) {
      decisions.turnOn(e);
      movableKwh[i] -= needKwh;
      isOn[i] = 1;
    } else decisions.turnOff(e);
  }
}

/**
 * Fixes the block in which a vehicle that can't be paused charges: the one that costs least at
 * the relaxation's prices and duals, all its slots at the minimum and the cheapest of them
 * filled up, energy that is left out at the penalty.
 */
function chooseBlock(
  program: Program,
  entries: Entries,
  decisions: Decisions,
  i: number,
  duals: Float64Array,
): void {
  const own = [...entriesOfSession(entries, i)];
  const { energyKwh } = program.energy[i];
  const costs = own.map((e) => decisions.fullCost(e, duals));
  const penalty = Math.max(program.pricing.unmet, ...costs.map((cost) => 2 * cost));
  let best = { start: 0, end: 0, cost: energyKwh * penalty };
  for (let start = 0; start < own.length; start++) {
    let cost = 0;
    let minimumKwh = 0;
    const sorted: { cost: number; spareKwh: number }[] = [];
    for (let end = start; end < own.length && decisions.canTurnOn(own[end]); end++) {
      const e = own[end];
      minimumKwh += entries.minKw[e] * entries.hours[e];
      cost += costs[end] * entries.minKw[e] * entries.hours[e];
      const spare = (entries.maxKw[e] - entries.minKw[e]) * entries.hours[e];
      const at = sorted.findIndex((other) => other.cost > costs[end]);
      sorted.splice(at < 0 ? sorted.length : at, 0, { cost: costs[end], spareKwh: spare });
      let total = cost;
      let missing = energyKwh - minimumKwh;
      for (const piece of sorted) {
        if (missing <= 0) break;
        total += Math.min(missing, piece.spareKwh) * piece.cost;
        missing -= piece.spareKwh;
      }
      total += Math.max(0, missing) * penalty;
      if (total < best.cost - 1e-9) best = { start, end: end + 1, cost: total };
      if (minimumKwh >= energyKwh) break;
    }
    if (entries.goesOn[i] === 1 && best.end > best.start) break;
  }
  // Without room for its minimum now, even a running vehicle has to wait.
  if (best.start > 0) entries.goesOn[i] = 0;
  own.forEach((e, n) => {
    if (n < best.start || n >= best.end || !decisions.canTurnOn(e)) decisions.turnOff(e);
    else decisions.turnOn(e);
  });
}

/** Improves a dived plan by the mixed-integer program of the whole part, where that is small enough to be worth it. */
function search(part: Part, entries: Entries, solver: Solver, dived: Refined, leftMs: () => number): Refined {
  if (entries.count > MAX_BINARIES) return dived;
  const { lp, start, integers } = integerProgram(part, entries, dived.primal);
  const loaded = solver.load(lp);
  try {
    const found = loaded.solveIntegers({
      timeLimitMs: leftMs(),
      integers,
      // A part's gap counts in the whole plan's: leave some for the others.
      relativeGap: 0.9 * MIP_GAP,
      nodeLimit: NODE_LIMIT,
      start,
    });
    const isBetter = found.primal.length > 0 && found.objective < dived.objective;
    const objective = isBetter ? found.objective : dived.objective;
    return {
      primal: isBetter ? found.primal.slice(0, part.lp.columnCount) : dived.primal,
      objective,
      bound: Math.min(objective, Math.max(dived.bound, found.bound)),
    };
  } finally {
    loaded.dispose();
  }
}

/** The part with a binary for each entry, min z <= power <= max z, and one start at most for each block. */
function integerProgram(
  part: Part,
  entries: Entries,
  dived: Float64Array,
): { lp: Lp; start: Float64Array; integers: Int32Array } {
  const { lp } = part;
  const builder = new LpBuilder();
  const start: number[] = Array.from(dived);
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
    start.push(powerOf(entries, dived, e) > POWER_TOLERANCE ? 1 : 0);
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

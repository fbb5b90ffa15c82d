import type { LoadedProgram, Solution } from "../solve/solver.ts";
import { Decisions, ON, OPEN } from "./decisions.ts";
import { type Entries, entriesOfSession, isBetween, isWhole, POWER_TOLERANCE, powerOf } from "./entries.ts";
import type { Part } from "./lp.ts";
import type { Program } from "./program.ts";

// Rounds in which slots that are off may still start; afterwards they stay off, so that it ends.
const OPEN_ROUNDS = 12;

/** Entries that a dive one by one may decide. */
export const MAX_PROBES = 200;

// Rise of the objective that a dive one by one takes for none.
const FREE = 1e-7;

/** How a dive rounds. */
export interface Dive {
  /** Least share of its minimum that a power must have to be rounded up, once a slot of the vehicle has been. */
  threshold: number;
  /** Whether slots at or above their minimum are held on from the first round. */
  holdsOn: boolean;
}

// In the order of what each closes on its own.
export const DIVES: Dive[] = [
  { threshold: 0, holdsOn: false },
  { threshold: 0.35, holdsOn: false },
  { threshold: 0, holdsOn: true },
];

/** Solves and rounds in turn until every power is 0 or at least the minimum. */
export function dive(
  program: Program,
  part: Part,
  entries: Entries,
  loaded: LoadedProgram,
  relaxed: Solution,
  style: Dive,
  leftMs: () => number,
): Solution | undefined {
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
  return solution;
}

/** What dives one by one may still do; they count down. */
export interface Effort {
  probes: number;
}

/**
 * Dives one entry at a time, the fullest first: solves with it on and with it off and goes on
 * with the better. Undefined once it is no better than the best objective known, or too long.
 */
export function probe(
  program: Program,
  part: Part,
  entries: Entries,
  loaded: LoadedProgram,
  relaxed: Solution,
  bestObjective: number,
  effort: Effort,
  leftMs: () => number,
): Solution | undefined {
  const decisions = new Decisions(program, part, entries, loaded);
  const solve = () => loaded.solve({ timeLimitMs: leftMs() });
  let solution = relaxed;
  if (entries.blocks.length > 0) {
    for (const i of entries.blocks) chooseBlock(program, entries, decisions, i, relaxed.duals);
    solution = solve();
  }
  const goesOn = () => solution.status === "optimal" && solution.objective < bestObjective;
  for (; effort.probes > 0 && goesOn(); effort.probes--) {
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
  return solution;
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

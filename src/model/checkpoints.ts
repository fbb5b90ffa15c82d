import { type Charging, HOUR_MS } from "../domain/charging.ts";
import { energyByWh } from "../domain/delivery.ts";
import { chargedAgainWh, givenWh, mayGive } from "../domain/discharge.ts";
import type { PowerPlan } from "../domain/plan.ts";
import type { Problem } from "../domain/problem.ts";
import type { LpBuilder } from "./lp.ts";
import { addKeptEntry, type EnergyColumns, type Powers } from "./program.ts";

// A minimum weighs more than any requested energy that could take its room: a kWh on one phase may
// stand against three of a vehicle on three, and fairness doubles a penalty.
const MINIMUM_WEIGHT = 8;

// Less than this is nothing missing.
const DUST_KWH = 1e-6;

/** Energy that a session should have by a time; what is missing costs `weight` a kWh. */
interface Checkpoint {
  atMs: number;
  energyKwh: number;
  weight: number;
  /** What counts of it at most; undefined: what the session's stay allows. */
  dueKwh?: number | undefined;
}

/**
 * A session's checkpoints. What it is to give has to be there; the minimum weighs above every requested energy. For each time at which
 * the vehicle may have left, what is then missing of its need costs its worth times the chance that
 * it leaves just then: the expected value of energy that it leaves without, so that the plan charges
 * early as far as the odds are worth it, and no further. What a vehicle has given by then is missing as well.
 */
function checkpointsOf(powers: Powers, i: number, needKwh: number): Checkpoint[] {
  const { problem, charging, pricing } = powers;
  const { minimum, departureChances, priority, discharge } = problem.sessions[i];
  const ofGiving = givingCheckpoints(problem, charging, i, priority * pricing.unmet);
  const checkpoints: Checkpoint[] = ofGiving;
  if (minimum !== undefined && minimum.energyWh > 0) {
    const priorities = problem.sessions.map((session) => session.priority);
    const weight = (MINIMUM_WEIGHT * pricing.unmet * Math.max(...priorities)) / Math.min(...priorities);
    checkpoints.push({ atMs: minimum.byMs, energyKwh: minimum.energyWh / 1000, weight });
  }
  let before = 0;
  const whileGiving: Checkpoint[] = [];
  for (const { atMs, probability, dueWh } of departureChances) {
    const weight = (probability - before) * pricing.worth * priority;
    before = probability;
    if (weight <= 0) continue;
    const dueKwh = dueWh === undefined ? undefined : dueWh / 1000;
    if (discharge === undefined) checkpoints.push({ atMs, energyKwh: needKwh, weight, dueKwh });
    else whileGiving.push({ atMs, energyKwh: dueWhileGivingKwh(powers, i, needKwh, atMs), weight });
  }
  const { first, end } = charging.stays[i];
  const fullW = new Float64Array(end);
  for (let k = first; k < end; k++) fullW[k] = 1000 * powers.maxKw[powers.offsets[i] + k - first];
  // Nothing costs what no plan could deliver by then.
  const due = checkpoints.flatMap((checkpoint) => {
    const mostKwh = checkpoint.dueKwh ?? energyByWh(problem, charging, i, fullW, checkpoint.atMs) / 1000;
    const energyKwh = Math.min(checkpoint.energyKwh, mostKwh, needKwh);
    return energyKwh > 0 ? [{ ...checkpoint, energyKwh }] : [];
  });
  const isOpen = mayGive(problem.sessions[i]);
  return [...due, ...whileGiving.filter(({ energyKwh }) => isOpen || energyKwh > 0)];
}

/**
 * What a vehicle that may give should have charged by a time: of its own need what its stay allows, and all
 * that it has given by then, as far as it can't spare that. What is given later has not to be there yet.
 */
function dueWhileGivingKwh(powers: Powers, i: number, needKwh: number, atMs: number): number {
  const { problem, charging } = powers;
  const { discharge } = problem.sessions[i];
  const sessions = problem.sessions.slice();
  sessions[i] = { ...sessions[i], discharge: undefined };
  const fullW = new Float64Array(charging.stays[i].end).fill(charging.ranges[i].maxPowerW);
  const mostKwh = energyByWh({ ...problem, sessions }, charging, i, fullW, atMs) / 1000;
  const ownKwh = Math.max(0, needKwh - chargedAgainWh(problem, charging, i) / 1000);
  const givenKwh = (givenWh(problem, charging, i, atMs) - (discharge?.spareWh ?? 0)) / 1000;
  return Math.min(ownKwh, mostKwh) + givenKwh;
}

/** What has to be in a battery when each stretch of giving ends, so that it never holds less than what is kept. */
function givingCheckpoints(problem: Problem, charging: Charging, i: number, weight: number): Checkpoint[] {
  const { battery, discharge, departureMs } = problem.sessions[i];
  if (battery === undefined || discharge?.plannedW === undefined) return [];
  const { first, end } = charging.stays[i];
  const checkpoints: Checkpoint[] = [];
  for (let k = first; k < end; k++) {
    const endsHere = k + 1 === end || discharge.plannedW[k + 1] === 0;
    if (discharge.plannedW[k] === 0 || !endsHere) continue;
    const atMs = Math.min(problem.slotStartsMs[k + 1], departureMs);
    const ownWh = (battery.storedWh - discharge.minStoredWh) / battery.efficiency;
    checkpoints.push({ atMs, energyKwh: (givenWh(problem, charging, i, atMs) - ownWh) / 1000, weight });
  }
  return checkpoints;
}

/** Hours of presence before a time in each slot of a stay. */
function hoursBefore({ problem, charging }: Powers, i: number, atMs: number): Float64Array {
  const { first, hours } = charging.stays[i];
  const { arrivalMs } = problem.sessions[i];
  return hours.map((h, n) => {
    const fromMs = Math.max(problem.slotStartsMs[first + n], arrivalMs);
    return Math.min(h, Math.max(0, (atMs - fromMs) / HOUR_MS));
  });
}

/**
 * Adds a row for each checkpoint: energy by then + what is missing >= what should be there. What the `twin` of
 * a session charges is the session's own, too.
 */
export function addCheckpointRows(
  powers: Powers,
  builder: LpBuilder,
  energy: readonly Pick<EnergyColumns, "energyKwh">[],
  twin?: ReadonlyMap<number, number>,
): void {
  energy.forEach(({ energyKwh: needKwh }, i) => {
    const other = twin?.get(i);
    for (const { atMs, energyKwh, weight } of checkpointsOf(powers, i, needKwh)) {
      // What a vehicle gives is missing on top.
      const mostKwh = mayGive(powers.problem.sessions[i]) ? Number.POSITIVE_INFINITY : energyKwh;
      const missing = builder.addColumn(weight, 0, mostKwh);
      hoursBefore(powers, i, atMs).forEach((hours, n) => {
        if (hours <= 0) return;
        addKeptEntry(powers, builder, powers.offsets[i] + n, hours);
        if (other !== undefined) addKeptEntry(powers, builder, powers.offsets[other] + n, hours);
      });
      builder.addEntry(missing, 1);
      builder.endRow(energyKwh, Number.POSITIVE_INFINITY);
    }
  });
}

/** What a session's checkpoints cost at a plan. */
export function checkpointTerm(powers: Powers, plan: PowerPlan, i: number, needKwh: number): number {
  const { problem, charging } = powers;
  return checkpointsOf(powers, i, needKwh).reduce((cost, { atMs, energyKwh, weight }) => {
    const givenKwh = energyByWh(problem, charging, i, plan[i], atMs) / 1000;
    return cost + weight * Math.max(0, energyKwh - givenKwh);
  }, 0);
}

/** Tells what a kWh in a slot saves at the checkpoints that a plan misses, in the program's unit. */
export function worthOfEarly(
  powers: Powers,
  plan: PowerPlan,
  i: number,
  needKwh: number,
): (k: number) => number {
  const { problem, charging } = powers;
  const { first, hours } = charging.stays[i];
  const worth = new Float64Array(hours.length);
  for (const { atMs, energyKwh, weight } of checkpointsOf(powers, i, needKwh)) {
    if (energyByWh(problem, charging, i, plan[i], atMs) / 1000 >= energyKwh - DUST_KWH) continue;
    hoursBefore(powers, i, atMs).forEach((before, n) => {
      worth[n] += (weight * before) / hours[n];
    });
  }
  return (k) => worth[k - first];
}

/** Whether it matters to a session when in its stay it gets its energy. */
export function hasCheckpoints({ problem }: Powers, i: number): boolean {
  const { minimum, departureChances, discharge } = problem.sessions[i];
  return minimum !== undefined || departureChances.length > 0 || discharge?.plannedW !== undefined;
}

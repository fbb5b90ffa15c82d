import { maxPeriodsOf } from "../domain/charging.ts";
import { energyWh as drawnEnergyWh, energyByWh, taperOf } from "../domain/delivery.ts";
import { isCharging } from "../domain/greedy.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { Room } from "../domain/room.ts";
import { hasCheckpoints, worthOfEarly } from "./checkpoints.ts";
import { SHORTFALL_DUST_WH } from "./explain.ts";
import { isInstalled } from "./installed.ts";
import { Peak, type Run } from "./peak.ts";
import type { Program } from "./program.ts";

// A solver keeps bounds to 1e-7 kW: a power this close under its minimum or maximum, W, is meant to be there.
const SOLVER_TOLERANCE_W = 2e-3;
const ROOM_TOLERANCE_W = 1e-6;
// Places at which a single run may begin; in a long stay not every slot is tried.
const MAX_STARTS = 500;

/**
 * A solved plan, W, in whole steps of the chargers: rounded down, and then, where energy is
 * missing through the rounding, raised step by step in the cheapest slots that have room under
 * every limit: in slots that are on, then in slots that were off, both first below the site's
 * planned peak, then above it where the energy is worth more than the peak.
 */
export function extract(program: Program, solved: PowerPlan): PowerPlan {
  const { problem, charging } = program;
  const { plan, room } = rounded(program, solved);
  const peak = new Peak(program, solved, plan);
  charging.stays.forEach((stay, i) => {
    if (isInstalled(program, plan, i)) return;
    const slots = Array.from(stay.hours, (_, n) => ({ from: stay.first + n, to: stay.first + n + 1 }));
    for (const mayPass of [false, true]) {
      if (taperOf(problem.sessions[i]) !== undefined) {
        fill(program, plan, room, peak, i, slots, mayPass);
        continue;
      }
      raise(program, plan, room, peak, i, slots, mayPass);
      if (!problem.sessions[i].uninterruptible) start(program, plan, room, peak, i, mayPass);
    }
  });
  return plan;
}

/** A solved plan, W, rounded down to whole steps of the chargers, and what it leaves under each limit. */
function rounded(program: Program, solved: PowerPlan): { plan: PowerPlan; room: Room } {
  const { problem, charging } = program;
  const room = new Room(problem, charging);
  const slotCount = problem.slotStartsMs.length - 1;
  const plan = charging.stays.map(() => new Float64Array(slotCount));
  charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) {
      plan[i][k] = roundDown(program, i, solved[i][k]);
      room.take(i, k, plan[i][k]);
    }
  });
  trim(program, plan, room);
  problem.sessions.forEach(({ uninterruptible }, i) => {
    if (uninterruptible) keepOneBlock(program, plan, room, i);
  });
  return { plan, room };
}

/**
 * Of a session that must not be paused, and that rounding or trimming has left a gap in, only one block: the one that is
 * under way, else the one with most energy.
 */
function keepOneBlock({ problem, charging }: Program, plan: PowerPlan, room: Room, i: number): void {
  const { first, end, hours } = charging.stays[i];
  const blocks: (Run & { energyWh: number })[] = [];
  for (let k = first; k < end; k++) {
    if (plan[i][k] <= 0) continue;
    const last = blocks[blocks.length - 1];
    if (last?.to === k) last.to = k + 1;
    else blocks.push({ from: k, to: k + 1, energyWh: 0 });
    blocks[blocks.length - 1].energyWh += plan[i][k] * hours[k - first];
  }
  if (blocks.length < 2) return;
  const most = blocks.reduce((best, block) => (block.energyWh > best.energyWh ? block : best));
  const kept = isCharging(problem, i) && blocks[0].from === first ? blocks[0] : most;
  for (const block of blocks) {
    if (block === kept) continue;
    for (let k = block.from; k < block.to; k++) {
      room.take(i, k, -plan[i][k]);
      plan[i][k] = 0;
    }
  }
}

/** A solved plan, W, rounded down to whole steps of the chargers. */
export function roundedDown(program: Program, solved: PowerPlan): PowerPlan {
  return rounded(program, solved).plan;
}

/**
 * Makes up for energy that merging periods has cost: raises whole stretches of equal power, so
 * that the number of periods stays; or takes a single one, where that delivers more. `sent` is
 * the plan as its profiles of at most so many periods allow it.
 */
export function makeUp(program: Program, sent: PowerPlan, maxPeriods: number): PowerPlan {
  const { problem, charging } = program;
  const room = new Room(problem, charging);
  const plan = sent.map((powerW) => powerW.slice());
  charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) room.take(i, k, plan[i][k]);
  });
  const peak = new Peak(program, sent, sent);
  charging.stays.forEach((stay, i) => {
    const runs: Run[] = [];
    for (let k = stay.first; k < stay.end; k++) {
      const last = runs[runs.length - 1];
      if (last !== undefined && plan[i][k] === plan[i][k - 1]) last.to = k + 1;
      else runs.push({ from: k, to: k + 1 });
    }
    if (taperOf(problem.sessions[i]) !== undefined) {
      for (const mayPass of [false, true]) fill(program, plan, room, peak, i, runs, mayPass);
      return;
    }
    for (const mayPass of [false, true]) raise(program, plan, room, peak, i, runs, mayPass);
    if (missing(program, plan, i) > SHORTFALL_DUST_WH) takeOneRun(program, plan, room, peak, i, maxPeriods);
  });
  return plan;
}

/** Puts one run of equal power in place of a session's plan if that delivers more. */
function takeOneRun(
  program: Program,
  plan: PowerPlan,
  room: Room,
  peak: Peak,
  i: number,
  maxPeriods: number,
): void {
  const { first, end } = program.charging.stays[i];
  if (!mayRunOnce(program, i)) return;
  const formerW = plan[i].slice();
  const formerMissingWh = missing(program, plan, i);
  const giveBack = (sign: number) => {
    for (let k = first; k < end; k++) give(plan, room, peak, i, { from: k, to: k + 1 }, sign * formerW[k]);
  };
  giveBack(-1);
  const session = program.problem.sessions[i];
  const most = maxPeriodsOf(program.problem.site.evses[session.evse], session);
  const { run, powerW, missingWh } = bestRun(program, i, Math.min(maxPeriods, most), (k) => room.fits(i, k));
  const gainWh = formerMissingWh - missingWh;
  if (gainWh > SHORTFALL_DUST_WH && peak.isWorth(i, run, powerW, gainWh)) {
    give(plan, room, peak, i, run, powerW);
  } else giveBack(1);
}

/** Whether there is a run to choose: a charger that rejects 0 is on throughout, and what is under way must go on. */
export function mayRunOnce({ problem, charging }: Program, i: number): boolean {
  const mustGoOn = problem.sessions[i].uninterruptible && isCharging(problem, i);
  return charging.ranges[i].floorPowerW === 0 && !mustGoOn;
}

/** The run of equal power, at most what fits in each slot, that leaves least missing, in so many periods; of equals the cheapest. */
export function bestRun(
  program: Program,
  i: number,
  maxPeriods: number,
  fits: (k: number) => number,
): { run: Run; powerW: number; missingWh: number } {
  const { first, end, hours } = program.charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW } = program.charging.ranges[i];
  const needWh = program.energy[i].energyKwh * 1000;
  let best = { run: { from: first, to: first }, powerW: 0, missingWh: needWh, cost: 0 };
  // A run that does not begin at once takes a period before it, beside its own and the end.
  const lastStart = maxPeriods > 2 ? end - 1 : first;
  const fitsW = hours.map((_, n) => Math.floor(fits(first + n) / stepPowerW + 1e-9) * stepPowerW);
  const costs = hours.map((slotHours, n) => slotHours * program.pricing.slotCost(i, first + n));
  const stride = Math.ceil(hours.length / MAX_STARTS);
  for (let from = first; from <= lastStart; from += stride) {
    let spareW = maxPowerW;
    let runHours = 0;
    let costHours = 0;
    for (let k = from; k < end && runHours * minPowerW < needWh; k++) {
      spareW = Math.min(spareW, fitsW[k - first]);
      if (spareW <= 0 || spareW < minPowerW) break;
      runHours += hours[k - first];
      costHours += costs[k - first];
      const wantedW = Math.ceil(needWh / runHours / stepPowerW - 1e-6) * stepPowerW;
      const powerW = Math.min(Math.max(wantedW, minPowerW), spareW);
      const missingWh = Math.max(0, needWh - powerW * runHours);
      const cost = powerW * costHours;
      if (missingWh < best.missingWh - 1e-6 || (missingWh < best.missingWh + 1e-6 && cost < best.cost))
        best = { run: { from, to: k + 1 }, powerW, missingWh, cost };
    }
  }
  return best;
}

function roundDown(program: Program, i: number, powerW: number): number {
  const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = program.charging.ranges[i];
  if (powerW >= maxPowerW - SOLVER_TOLERANCE_W) return maxPowerW;
  const whole = Math.floor(powerW / stepPowerW + 1e-9) * stepPowerW;
  if (whole >= minPowerW) return whole;
  return powerW >= minPowerW - SOLVER_TOLERANCE_W ? minPowerW : floorPowerW;
}

/** Takes steps back where a limit is passed because a power was moved up to its minimum or maximum. */
function trim(program: Program, plan: PowerPlan, room: Room): void {
  const { charging } = program;
  charging.present.forEach((sessions, k) => {
    for (const i of sessions) {
      const { minPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
      while (plan[i][k] > floorPowerW && room.overdraft(i, k) > ROOM_TOLERANCE_W) {
        const lower = plan[i][k] - stepPowerW;
        const next = lower >= minPowerW - ROOM_TOLERANCE_W ? Math.max(lower, minPowerW) : floorPowerW;
        room.take(i, k, next - plan[i][k]);
        plan[i][k] = next;
      }
    }
  });
}

/**
 * Raises runs that are on by whole steps, cheapest first, until nothing is missing or no room is
 * left. Above the peak in small portions, so that it rises no more than it must.
 */
function raise(
  program: Program,
  plan: PowerPlan,
  room: Room,
  peak: Peak,
  i: number,
  runs: Run[],
  mayPass: boolean,
): void {
  const { first, hours } = program.charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW } = program.charging.ranges[i];
  const isOn = ({ from }: Run) =>
    plan[i][from] > 0 && plan[i][from] >= minPowerW && plan[i][from] < maxPowerW;
  let missingWh = missing(program, plan, i);
  for (let goesOn = true; goesOn && missingWh > 0; ) {
    goesOn = false;
    const on = byCost(program, plan, peak, i, runs.filter(isOn), stepPowerW);
    for (const run of on) {
      const spareW = spareIn(program, plan, room, i, run);
      let runHours = 0;
      for (let k = run.from; k < run.to; k++) runHours += hours[k - first];
      const wanted = Math.ceil(missingWh / runHours / stepPowerW - 1e-6);
      let steps = Math.min(
        mayPass ? Math.ceil(wanted / on.length) : wanted,
        Math.floor(spareW / stepPowerW + 1e-9),
      );
      const energyWh = Math.min(missingWh, steps * stepPowerW * runHours);
      if (!(mayPass && peak.isWorth(i, run, steps * stepPowerW, energyWh))) {
        steps = Math.min(steps, Math.floor(peak.fits(i, run) / stepPowerW + 1e-9));
      }
      if (steps <= 0) continue;
      const addedW = Math.min(steps * stepPowerW, maxPowerW - plan[i][run.from]);
      give(plan, room, peak, i, run, addedW);
      missingWh -= addedW * runHours;
      if (missingWh <= 0) return;
      goesOn = mayPass;
    }
  }
}

/** Turns slots on that were off, cheapest first, where what is missing has no room elsewhere. */
function start(program: Program, plan: PowerPlan, room: Room, peak: Peak, i: number, mayPass: boolean): void {
  const { first, end, hours } = program.charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW } = program.charging.ranges[i];
  // What is asked for only to have whole steps is not worth a slot.
  const spareWh = program.energy[i].energyKwh * 1000 - program.problem.sessions[i].energyWh;
  let missingWh = missing(program, plan, i) - Math.max(0, spareWh);
  if (missingWh <= SHORTFALL_DUST_WH || maxPowerW === 0) return;
  const off: Run[] = [];
  for (let k = first; k < end; k++) if (plan[i][k] === 0) off.push({ from: k, to: k + 1 });
  for (const run of byCost(program, plan, peak, i, off, Math.max(minPowerW, stepPowerW))) {
    const k = run.from;
    const wantedW = Math.ceil(missingWh / hours[k - first] / stepPowerW - 1e-6) * stepPowerW;
    const spareW = Math.floor(Math.min(maxPowerW, room.fits(i, k)) / stepPowerW + 1e-9) * stepPowerW;
    const powerW = Math.min(Math.max(wantedW, minPowerW), spareW);
    if (powerW <= 0 || powerW < minPowerW) continue;
    const energyWh = Math.min(missingWh, powerW * hours[k - first]);
    if (mayPass ? !peak.isWorth(i, run, powerW, energyWh) : peak.fits(i, run) < powerW) continue;
    give(plan, room, peak, i, run, powerW);
    missingWh -= energyWh;
    if (missingWh <= SHORTFALL_DUST_WH) return;
  }
}

/**
 * Raises the limits of a session with a charge curve, cheapest first, wherever that lets it draw more by
 * its minimum's time, and then over its stay: a limit above what the curve takes at a slot's end is of
 * use before it.
 */
function fill(
  program: Program,
  plan: PowerPlan,
  room: Room,
  peak: Peak,
  i: number,
  runs: Run[],
  mayPass: boolean,
): void {
  const { problem, charging, energy } = program;
  const { minimum } = problem.sessions[i];
  const needWh = energy[i].energyKwh * 1000;
  const goals = [{ atMs: Number.POSITIVE_INFINITY, energyWh: needWh }];
  if (minimum !== undefined)
    goals.unshift({ atMs: minimum.byMs, energyWh: Math.min(minimum.energyWh, needWh) });
  for (const { atMs, energyWh } of goals) {
    const early = runs.filter(({ from }) => problem.slotStartsMs[from] < atMs);
    fillUntil(program, plan, room, peak, i, early, mayPass, energyWh, (powerW) =>
      energyByWh(problem, charging, i, powerW, atMs),
    );
  }
}

/** Takes the least limits that let a session draw what is wanted, and turns slots on unless it must not be paused. */
function fillUntil(
  program: Program,
  plan: PowerPlan,
  room: Room,
  peak: Peak,
  i: number,
  runs: Run[],
  mayPass: boolean,
  wantedWh: number,
  drawnWh: (powerW: Float64Array) => number,
): void {
  const { minPowerW, stepPowerW } = program.charging.ranges[i];
  const isBlock = program.problem.sessions[i].uninterruptible;
  const drawnWith = ({ from, to }: Run, limitW: number) => drawnWh(plan[i].slice().fill(limitW, from, to));
  for (const run of byCost(program, plan, peak, i, runs, stepPowerW)) {
    const beforeWh = drawnWh(plan[i]);
    if (wantedWh - beforeWh <= SHORTFALL_DUST_WH) return;
    const beforeW = plan[i][run.from];
    if (beforeW === 0 && isBlock) continue;
    const fitsW = spareIn(program, plan, room, i, run);
    const spareW = mayPass ? fitsW : Math.min(fitsW, peak.fits(i, run));
    const fewest = beforeW === 0 ? Math.max(1, Math.ceil(minPowerW / stepPowerW - 1e-9)) : 1;
    let steps = Math.floor(spareW / stepPowerW + 1e-9);
    if (steps < fewest) continue;
    const mostWh = drawnWith(run, beforeW + steps * stepPowerW);
    const gainWh = Math.min(wantedWh, mostWh) - beforeWh;
    if (gainWh <= SHORTFALL_DUST_WH) continue;
    for (let low = fewest; low < steps; ) {
      const middle = (low + steps) >> 1;
      const gainedWh = drawnWith(run, beforeW + middle * stepPowerW) - beforeWh;
      if (gainedWh >= gainWh - SHORTFALL_DUST_WH / 10) steps = middle;
      else low = middle + 1;
    }
    const addedW = steps * stepPowerW;
    if (mayPass && !peak.isWorth(i, run, addedW, gainWh)) continue;
    give(plan, room, peak, i, run, addedW);
  }
}

/** Most power, W, that a session can have more in every slot of a run. */
function spareIn({ charging }: Program, plan: PowerPlan, room: Room, i: number, { from, to }: Run): number {
  let spareW = charging.ranges[i].maxPowerW - plan[i][from];
  for (let k = from; k < to; k++) spareW = Math.min(spareW, room.fits(i, k));
  return spareW;
}

function give(plan: PowerPlan, room: Room, peak: Peak, i: number, run: Run, addedW: number): void {
  peak.add(i, run, addedW);
  for (let k = run.from; k < run.to; k++) {
    plan[i][k] += addedW;
    room.take(i, k, addedW);
  }
}

/** Energy, Wh, that a plan leaves open of a session's need as the program has it. */
function missing(program: Program, plan: PowerPlan, i: number): number {
  const { problem, charging, energy } = program;
  return energy[i].energyKwh * 1000 - drawnEnergyWh(problem, charging, i, plan[i]);
}

/** Sorts runs by what a kWh costs in them, the rise of the peak by a power more included, and what being early is worth. */
function byCost(
  program: Program,
  plan: PowerPlan,
  peak: Peak,
  i: number,
  runs: Run[],
  addedW: number,
): Run[] {
  const { first, hours } = program.charging.stays[i];
  const earlyWorth = hasCheckpoints(program, i)
    ? worthOfEarly(program, plan, i, program.energy[i].energyKwh)
    : () => 0;
  const cost = (run: Run) => {
    const ofSlot = program.pricing.slotCost(i, run.from);
    const ofPeak = peak.costOf(i, run, addedW) / (addedW * hours[run.from - first]);
    return ofSlot + ofPeak - earlyWorth(run.from);
  };
  const costs = new Map(runs.map((run) => [run, cost(run)]));
  return runs.sort((a, b) => (costs.get(a) ?? 0) - (costs.get(b) ?? 0) || a.from - b.from);
}

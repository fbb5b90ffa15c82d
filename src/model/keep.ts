import type { PowerPlan } from "../domain/plan.ts";
import { Room } from "../domain/room.ts";
import { rangeOver } from "../domain/series.ts";
import { evaluate } from "./evaluate.ts";
import { SHORTFALL_DUST_WH } from "./explain.ts";
import type { Program } from "./program.ts";

// What a change must save to be sent: as much again as the proof of an optimum leaves open (MIP_GAP),
// for the whole steps that both plans are rounded to.
const WORTH_A_CHANGE = 2e-3;
const ROOM_TOLERANCE_W = 1e-6;
// Trying vehicles one by one takes an evaluation each.
const MAX_SINGLE_TRIES = 200;

/**
 * Gives vehicles their installed plans back, all at once or else one by one, where that keeps
 * every limit, delivers as much, and costs hardly more: among plans that are as good, the
 * one that changes nothing is the best.
 */
export function keep(program: Program, plan: PowerPlan): PowerPlan {
  const installed = plan.map((_, i) => installedPlan(program, plan, i));
  if (installed.every((own) => own === undefined)) return plan;
  const worth = evaluate(program, plan);
  const most = worth + WORTH_A_CHANGE * Math.abs(worth);
  const all = plan.map((powerW, i) => installed[i] ?? powerW);
  const ofAll = roomOf(program, all);
  if (all.every((_, i) => fits(program, ofAll, i)) && evaluate(program, all) <= most) return all;
  if (plan.length > MAX_SINGLE_TRIES) return plan;
  const best = plan.slice();
  const room = roomOf(program, best);
  installed.forEach((own, i) => {
    if (own === undefined) return;
    const planned = best[i];
    replace(program, room, i, planned, own);
    best[i] = own;
    if (fits(program, room, i) && evaluate(program, best) <= most) return;
    replace(program, room, i, own, planned);
    best[i] = planned;
  });
  return best;
}

/** The installed plan in the plan's slots; undefined where it can't be told exactly or delivers less. */
function installedPlan(program: Program, plan: PowerPlan, i: number): Float64Array | undefined {
  const { problem, charging } = program;
  const { installed, arrivalMs, departureMs, uninterruptible, energyWh } = problem.sessions[i];
  if (installed === undefined || uninterruptible) return undefined;
  const { first, end, hours } = charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
  const own = new Float64Array(plan[i].length);
  let installedWh = 0;
  let plannedWh = 0;
  for (let k = first; k < end; k++) {
    const fromMs = Math.max(problem.slotStartsMs[k], arrivalMs);
    const { min, max } = rangeOver(
      installed.powerW,
      fromMs,
      Math.min(problem.slotStartsMs[k + 1], departureMs),
    );
    const steps = Math.round(max / stepPowerW);
    const powerW = steps * stepPowerW;
    const isUsable = powerW === floorPowerW || (powerW >= minPowerW && powerW <= maxPowerW);
    if (min !== max || Math.abs(powerW - max) > 1e-3 || !isUsable) return undefined;
    own[k] = powerW;
    installedWh += powerW * hours[k - first];
    plannedWh += plan[i][k] * hours[k - first];
  }
  return installedWh >= Math.min(plannedWh, energyWh) - SHORTFALL_DUST_WH ? own : undefined;
}

/** What a plan leaves under each limit. */
function roomOf({ problem, charging }: Program, plan: PowerPlan): Room {
  const room = new Room(problem, charging);
  charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) room.take(i, k, plan[i][k]);
  });
  return room;
}

function replace({ charging }: Program, room: Room, i: number, from: Float64Array, to: Float64Array): void {
  const { first, end } = charging.stays[i];
  for (let k = first; k < end; k++) room.take(i, k, to[k] - from[k]);
}

/** Whether no limit above a session is passed during its stay. */
function fits({ charging }: Program, room: Room, i: number): boolean {
  const { first, end } = charging.stays[i];
  for (let k = first; k < end; k++) if (room.overdraft(i, k) > ROOM_TOLERANCE_W) return false;
  return true;
}

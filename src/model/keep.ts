import { energyWh } from "../domain/delivery.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { Room } from "../domain/room.ts";
import { evaluate } from "./evaluate.ts";
import { installedPlan, WORTH_A_CHANGE } from "./installed.ts";
import type { Program } from "./program.ts";

const ROOM_TOLERANCE_W = 1e-6;
// Trying vehicles one by one takes an evaluation each.
const MAX_SINGLE_TRIES = 200;

/**
 * Gives vehicles their installed plans back, all at once or else one by one, where that keeps
 * every limit, delivers as much, and costs hardly more: among plans that are as good, the
 * one that changes nothing is the best.
 */
export function keep(program: Program, plan: PowerPlan): PowerPlan {
  const { problem, charging } = program;
  const installed = plan.map((powerW, i) =>
    installedPlan(program, i, energyWh(problem, charging, i, powerW)),
  );
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

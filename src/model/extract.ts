import type { PowerPlan } from "../domain/plan.ts";
import { Room } from "../domain/room.ts";
import type { Program } from "./program.ts";

// A solver keeps bounds to 1e-7 kW: a power this close under its minimum or maximum, W, is meant to be there.
const SOLVER_TOLERANCE_W = 2e-3;
const ROOM_TOLERANCE_W = 1e-6;

/**
 * A solved plan, W, in whole steps of the chargers: rounded down, and then, where energy is missing through the rounding, raised step by step in
 * the cheapest slots that are on and have room under every limit. The raising never makes a new
 * site peak where a peak costs.
 */
export function extract(program: Program, solved: PowerPlan): PowerPlan {
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
  const peaks = program.pricing.peakMatters ? ceilings(program, solved, plan) : undefined;
  plan.forEach((_, i) => {
    topUp(program, plan, room, peaks, i);
  });
  return plan;
}

function roundDown(program: Program, i: number, powerW: number): number {
  const { minPowerW, maxPowerW, stepPowerW } = program.charging.ranges[i];
  if (powerW >= maxPowerW - SOLVER_TOLERANCE_W) return maxPowerW;
  const whole = Math.floor(powerW / stepPowerW + 1e-9) * stepPowerW;
  if (whole >= minPowerW) return whole;
  return powerW >= minPowerW - SOLVER_TOLERANCE_W ? minPowerW : 0;
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

/** Room in each slot below the highest power of the unrounded plan. */
function ceilings(program: Program, solved: PowerPlan, plan: PowerPlan): Float64Array {
  const { charging, baseW } = program;
  const exact = baseW.slice();
  const rounded = baseW.slice();
  charging.present.forEach((sessions, k) => {
    for (const i of sessions) {
      exact[k] += solved[i][k];
      rounded[k] += plan[i][k];
    }
  });
  const top = exact.reduce((a, b) => Math.max(a, b), 0);
  return rounded.map((powerW) => Math.max(0, top - powerW));
}

function topUp(
  program: Program,
  plan: PowerPlan,
  room: Room,
  peaks: Float64Array | undefined,
  i: number,
): void {
  const { stays, ranges } = program.charging;
  const { first, end, hours } = stays[i];
  const { minPowerW, maxPowerW, stepPowerW } = ranges[i];
  let missingWh = program.problem.sessions[i].energyWh;
  const slots: number[] = [];
  for (let k = first; k < end; k++) {
    missingWh -= plan[i][k] * hours[k - first];
    if (plan[i][k] > 0 && plan[i][k] >= minPowerW && plan[i][k] < maxPowerW) slots.push(k);
  }
  if (missingWh <= 0) return;
  slots.sort((a, b) => program.pricing.slotCost(i, a) - program.pricing.slotCost(i, b) || a - b);
  for (const k of slots) {
    const wantedW = missingWh / hours[k - first];
    const spareW = Math.min(
      maxPowerW - plan[i][k],
      room.fits(i, k),
      peaks === undefined ? Number.POSITIVE_INFINITY : peaks[k],
    );
    const steps = Math.min(Math.ceil(wantedW / stepPowerW - 1e-6), Math.floor(spareW / stepPowerW + 1e-9));
    if (steps <= 0) continue;
    const addedW = Math.min(steps * stepPowerW, maxPowerW - plan[i][k]);
    plan[i][k] += addedW;
    room.take(i, k, addedW);
    if (peaks !== undefined) peaks[k] -= addedW;
    missingWh -= addedW * hours[k - first];
    if (missingWh <= 0) return;
  }
}

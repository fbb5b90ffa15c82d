import type { Charging } from "./charging.ts";
import { HOUR_MS } from "./charging.ts";
import { taperOf } from "./delivery.ts";
import type { PowerPlan } from "./plan.ts";
import type { Problem } from "./problem.ts";
import { Room } from "./room.ts";
import { valueAt } from "./series.ts";
import { storedAfter } from "./taper.ts";

// Far over what adding doubles can be off by: a minimum that fits exactly does not fail by an ulp.
const TOLERANCE_W = 1e-6;
// A rest of a need that no slot at the minimum is spent on.
const DUST_WH = 1e-3;
// Longer than any plan: sets minimums before all else.
const HORIZON_HOURS = 24 * 366;

/**
 * Who goes first when not all fit: LEAST_SLACK is the safe plan made without a solver, which
 * rotates because whoever waits loses slack; ARRIVAL is plain first come, first served.
 */
export type GreedyOrder = "LEAST_SLACK" | "ARRIVAL";

type RoomOf = Pick<Room, "fits" | "take">;

/**
 * Charges every vehicle as early as the limits allow, slot by slot: first the minimum for as
 * many as fit, then up to the maximum, always 0 or at least the minimum. An uninterruptible
 * vehicle gets one block, reserved before the others; at a charger that rejects 0 it is never off.
 * `room` is what there is for them; by default all that the site leaves.
 */
export function greedy(
  problem: Problem,
  charging: Charging,
  order: GreedyOrder,
  room: RoomOf = new Room(problem, charging),
): PowerPlan {
  const { ranges, stays, present } = charging;
  const plan = stays.map(() => new Float64Array(problem.slotStartsMs.length - 1));
  const missingWh = problem.sessions.map((session) => session.energyWh);
  // What a battery with a charge curve draws of a slot's limit is known once the slots before it are.
  const batteries = problem.sessions.map(taperOf);
  const storedWh = batteries.map((battery) => battery?.storedWh ?? 0);

  const give = (i: number, k: number, powerW: number) => {
    room.take(i, k, powerW);
    plan[i][k] += powerW;
    if (batteries[i] === undefined) missingWh[i] -= powerW * stays[i].hours[k - stays[i].first];
  };
  /** Lets session i draw what it was given in slot k, slots in their order. */
  const draw = (i: number, k: number) => {
    const battery = batteries[i];
    if (battery === undefined) return;
    const hours = stays[i].hours[k - stays[i].first];
    const givesW = problem.sessions[i].discharge?.plannedW?.[k] ?? 0;
    if (givesW > 0) {
      storedWh[i] -= (givesW * hours) / battery.efficiency;
      return;
    }
    const after = storedAfter(battery, storedWh[i], plan[i][k], hours);
    missingWh[i] -= (after - storedWh[i]) / battery.efficiency;
    storedWh[i] = after;
  };
  /** Most that i may have in slot k in all: fits, is a whole step, and is not more than it needs. */
  const target = (i: number, k: number): number => {
    const { minPowerW, maxPowerW, stepPowerW } = ranges[i];
    const hours = stays[i].hours[k - stays[i].first];
    const had = plan[i][k];
    const battery = batteries[i];
    if (battery !== undefined) {
      const drawnWh = (limitW: number) =>
        (storedAfter(battery, storedWh[i], limitW, hours) - storedWh[i]) / battery.efficiency;
      const steps = leastSteps(
        Math.max(1, Math.ceil(Math.max(minPowerW, had) / stepPowerW - 1e-9)),
        Math.floor((Math.min(maxPowerW, had + room.fits(i, k)) + TOLERANCE_W) / stepPowerW),
        (count) => drawnWh(count * stepPowerW),
        missingWh[i],
      );
      return Math.max(had, steps * stepPowerW);
    }
    const neededW = Math.ceil((missingWh[i] / hours + had) / stepPowerW - 1e-6) * stepPowerW;
    const most = Math.min(maxPowerW, had + room.fits(i, k), Math.max(neededW, minPowerW));
    const whole = wholeSteps(most, stepPowerW);
    return whole >= Math.max(minPowerW, had) ? whole : had;
  };

  stays.forEach(({ first, end }, i) => {
    if (ranges[i].floorPowerW === 0) return;
    for (let k = first; k < end; k++) give(i, k, ranges[i].floorPowerW);
  });
  const isBlock = problem.sessions.map(
    ({ uninterruptible }, i) => uninterruptible && ranges[i].maxPowerW > 0 && ranges[i].floorPowerW === 0,
  );
  const blocks = stays.flatMap((_, i) => (isBlock[i] ? [i] : []));
  blocks.sort(
    (a, b) => slackHours(problem, charging, missingWh, a, 0) - slackHours(problem, charging, missingWh, b, 0),
  );
  for (const i of blocks) {
    const { start, end } = bestBlock(problem, charging, room, i, missingWh[i]);
    for (let k = start; k < end && missingWh[i] > DUST_WH; k++) {
      give(i, k, target(i, k) - plan[i][k]);
      draw(i, k);
    }
  }
  // What decides who is first in a slot: the slack left there, or the arrival.
  const urgency = new Float64Array(plan.length);
  const isFirst = (a: number, b: number) =>
    urgency[a] - urgency[b] || problem.sessions[b].priority - problem.sessions[a].priority || a - b;
  for (let k = 0; k < present.length; k++) {
    const waiting: number[] = [];
    for (const i of present[k]) {
      if (missingWh[i] <= DUST_WH || ranges[i].maxPowerW === 0 || isBlock[i]) continue;
      urgency[i] =
        order === "ARRIVAL" ? problem.sessions[i].arrivalMs : urgencyOf(problem, charging, missingWh, i, k);
      waiting.push(i);
    }
    waiting.sort(isFirst);
    if (order === "LEAST_SLACK") {
      for (const i of waiting) {
        const { minPowerW, stepPowerW } = ranges[i];
        if (urgency[i] < -HORIZON_HOURS / 2) give(i, k, target(i, k) - plan[i][k]);
        const doesFit = wholeSteps(room.fits(i, k), stepPowerW) >= minPowerW;
        if (plan[i][k] < minPowerW && doesFit) give(i, k, minPowerW);
      }
    }
    for (const i of waiting) give(i, k, target(i, k) - plan[i][k]);
    for (const i of present[k]) if (!isBlock[i]) draw(i, k);
  }
  return plan;
}

/** The fewest steps from `fewest` to `most` that draw what is wanted, or as much as `most` would; 0 where that is nothing. */
function leastSteps(
  fewest: number,
  most: number,
  drawnWh: (steps: number) => number,
  wantedWh: number,
): number {
  if (most < fewest) return 0;
  const enoughWh = Math.min(wantedWh, drawnWh(most)) - DUST_WH;
  if (enoughWh <= 0) return 0;
  let low = fewest;
  let high = most;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (drawnWh(middle) >= enoughWh) high = middle;
    else low = middle + 1;
  }
  return high;
}

function wholeSteps(powerW: number, stepPowerW: number): number {
  return Math.floor((powerW + TOLERANCE_W) / stepPowerW) * stepPowerW;
}

/** A minimum that is still missing comes before all slack; otherwise the slack. */
function urgencyOf(
  problem: Problem,
  charging: Charging,
  missingWh: readonly number[],
  i: number,
  k: number,
): number {
  const { minimum, energyWh } = problem.sessions[i];
  const slack = slackHours(problem, charging, missingWh, i, k);
  if (minimum === undefined) return slack;
  const lacksWh = minimum.energyWh - (energyWh - missingWh[i]);
  const leftHours = (minimum.byMs - problem.slotStartsMs[k]) / HOUR_MS;
  if (lacksWh <= DUST_WH || leftHours <= 0) return slack;
  return leftHours - lacksWh / charging.ranges[i].maxPowerW - HORIZON_HOURS;
}

/** Hours that a vehicle could still wait, were it then charged at full power until it leaves. */
function slackHours(
  problem: Problem,
  charging: Charging,
  missingWh: readonly number[],
  i: number,
  k: number,
): number {
  const { departureMs, arrivalMs } = problem.sessions[i];
  const stayHours = (departureMs - Math.max(arrivalMs, problem.slotStartsMs[k])) / HOUR_MS;
  return stayHours - missingWh[i] / charging.ranges[i].maxPowerW;
}

/** The block of slots, each with room for the minimum, that delivers most; the earliest of equals. */
function bestBlock(
  problem: Problem,
  charging: Charging,
  room: RoomOf,
  i: number,
  needWh: number,
): { start: number; end: number } {
  const { first, end, hours } = charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW } = charging.ranges[i];
  let best = { start: first, end: first, energyWh: 0 };
  if (needWh <= 0) return best;
  const mustGoOn = isCharging(problem, i);
  const battery = taperOf(problem.sessions[i]);
  for (let start = first; start < end; start++) {
    let energyWh = 0;
    let stored = battery?.storedWh ?? 0;
    let k = start;
    for (; k < end && energyWh < needWh; k++) {
      const powerW = wholeSteps(Math.min(maxPowerW, room.fits(i, k)), stepPowerW);
      if (powerW < minPowerW || powerW === 0) break;
      if (battery === undefined) energyWh += powerW * hours[k - first];
      else {
        const after = storedAfter(battery, stored, powerW, hours[k - first]);
        if (after - stored < DUST_WH) break;
        energyWh += (after - stored) / battery.efficiency;
        stored = after;
      }
    }
    if (Math.min(energyWh, needWh) > best.energyWh + 1e-6)
      best = { start, end: k, energyWh: Math.min(energyWh, needWh) };
    if (best.energyWh >= needWh || (mustGoOn && best.energyWh > 0)) break;
  }
  return best;
}

/** Whether the installed plan has the vehicle charging when the new plan starts. */
export function isCharging(problem: Problem, i: number): boolean {
  const { installed, arrivalMs } = problem.sessions[i];
  const startMs = problem.slotStartsMs[0];
  if (installed === undefined || arrivalMs > startMs) return false;
  return valueAt(installed.powerW, startMs) > 0;
}

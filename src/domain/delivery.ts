import { type Charging, HOUR_MS } from "./charging.ts";
import type { Problem, Session, VehicleBattery } from "./problem.ts";
import { storedAfter } from "./taper.ts";

// Halvings of a slot that bring a time below a millisecond.
const HALVINGS = 32;

/**
 * The battery of a vehicle whose state decides what it draws: with a charge curve it takes less as it
 * fills, and after it has given energy it takes more. Undefined where all of a limit is drawn.
 */
export function taperOf({ battery, discharge }: Session): VehicleBattery | undefined {
  const isGiving = discharge?.plannedW !== undefined;
  return battery !== undefined && (battery.chargeCurve.length > 0 || isGiving) ? battery : undefined;
}

/** What a session gives in a slot, W; 0 where it does not. */
function givenW({ discharge }: Session, k: number): number {
  return discharge?.plannedW?.[k] ?? 0;
}

/**
 * Energy at the meter, Wh, that a session draws in each slot of its stay under the limits of a plan: all
 * that they allow, but no more than its battery takes. May pass the need.
 */
export function slotEnergiesWh(
  problem: Problem,
  charging: Charging,
  i: number,
  powerW: Float64Array,
): Float64Array {
  return energiesOf(problem, charging, i, powerW, charging.stays[i].hours);
}

/** The same where it is there for only so many hours of each slot. */
function energiesOf(
  { sessions }: Problem,
  { stays }: Charging,
  i: number,
  powerW: Float64Array,
  hours: Float64Array,
): Float64Array {
  const { first } = stays[i];
  const battery = taperOf(sessions[i]);
  if (battery === undefined) {
    const energies = hours.slice();
    for (let n = 0; n < energies.length; n++) energies[n] *= powerW[first + n];
    return energies;
  }
  let stored = battery.storedWh;
  return hours.map((h, n) => {
    const before = stored;
    const givesW = givenW(sessions[i], first + n);
    if (givesW > 0) {
      stored -= (givesW * h) / battery.efficiency;
      return 0;
    }
    stored = storedAfter(battery, stored, powerW[first + n], h);
    return (stored - before) / battery.efficiency;
  });
}

/** Energy, Wh, that a session draws over its stay under the limits of a plan; may pass the need. */
export function energyWh(problem: Problem, charging: Charging, i: number, powerW: Float64Array): number {
  if (taperOf(problem.sessions[i]) === undefined) {
    // Asked for often: without a list of slots.
    const { first, hours } = charging.stays[i];
    let sumWh = 0;
    for (let n = 0; n < hours.length; n++) sumWh += powerW[first + n] * hours[n];
    return sumWh;
  }
  return slotEnergiesWh(problem, charging, i, powerW).reduce((sum, wh) => sum + wh, 0);
}

/** Energy, Wh, that a session draws until a time under the limits of a plan. */
export function energyByWh(
  problem: Problem,
  charging: Charging,
  i: number,
  powerW: Float64Array,
  atMs: number,
): number {
  const { first, hours } = charging.stays[i];
  const before = hours.map((h, n) => {
    const fromMs = Math.max(problem.slotStartsMs[first + n], problem.sessions[i].arrivalMs);
    return Math.min(h, Math.max(0, (atMs - fromMs) / HOUR_MS));
  });
  return energiesOf(problem, charging, i, powerW, before).reduce((sum, wh) => sum + wh, 0);
}

/** The most that a session can draw over its stay, whatever the circuits leave it, Wh. */
export function mostEnergyWh(problem: Problem, charging: Charging, i: number): number {
  const fullW = new Float64Array(problem.slotStartsMs.length - 1).fill(charging.ranges[i].maxPowerW);
  return energyWh(problem, charging, i, fullW);
}

/** When a session has drawn so much, epoch ms rounded up to the second; undefined where it never has. */
export function drawnByMs(
  problem: Problem,
  charging: Charging,
  i: number,
  powerW: Float64Array,
  wantedWh: number,
): number | undefined {
  const { arrivalMs } = problem.sessions[i];
  const { first, hours } = charging.stays[i];
  const battery = taperOf(problem.sessions[i]);
  const energies = slotEnergiesWh(problem, charging, i, powerW);
  let drawnWh = 0;
  let takenOutWh = 0;
  for (let n = 0; n < hours.length; n++) {
    if (drawnWh + energies[n] >= wantedWh && energies[n] > 0) {
      const missingWh = Math.max(0, wantedWh - drawnWh);
      const fromMs = Math.max(arrivalMs, problem.slotStartsMs[first + n]);
      let share = missingWh / energies[n];
      if (battery !== undefined) {
        const before = battery.storedWh + drawnWh * battery.efficiency - takenOutWh;
        let low = 0;
        share = 1;
        for (let halving = 0; halving < HALVINGS; halving++) {
          const middle = (low + share) / 2;
          const stored = storedAfter(battery, before, powerW[first + n], middle * hours[n]);
          if (stored - before >= missingWh * battery.efficiency) share = middle;
          else low = middle;
        }
      }
      return fromMs + Math.ceil((share * hours[n] * HOUR_MS) / 1000) * 1000;
    }
    drawnWh += energies[n];
    takenOutWh += (givenW(problem.sessions[i], first + n) * hours[n]) / (battery?.efficiency ?? 1);
  }
  return undefined;
}

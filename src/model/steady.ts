import { taperOf } from "../domain/delivery.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { hasCheckpoints } from "./checkpoints.ts";
import { isInstalled } from "./installed.ts";
import { TIE_BREAKS } from "./pricing.ts";
import { installedKw, type Program } from "./program.ts";
import { type Standing, TOLERANCE_W } from "./standing.ts";

// Exchanges tried; a bound on work, far above what a site of some hundred vehicles takes.
const MAX_TRIES = 500_000;
const MAX_PASSES = 8;

/**
 * A plan as good with fewer starts: among equals a solver picks without a care for how often a
 * vehicle is switched off and on. Energy is moved from a vehicle's short runs to its long ones,
 * where there is room, or in exchange with another vehicle, so that no slot's total changes. Only
 * what breaks ties is given up for it. Works in whole steps and under every limit.
 */
export function steady(standing: Standing): Standing {
  const work = new Work(standing);
  for (let pass = 0; pass < MAX_PASSES && work.isWilling; pass++) {
    let isChanged = false;
    for (let i = 0; i < standing.plan.length; i++) {
      if (work.mayMove(i)) isChanged = work.settle(i) || isChanged;
    }
    if (!isChanged) break;
  }
  return standing;
}

class Work {
  readonly plan: PowerPlan;
  readonly #program: Program;
  readonly #standing: Standing;
  /** Vehicles that must not be paused, for which it matters when they charge, or that keep what is installed stay as they are. */
  readonly #isFixed: boolean[];
  #triesLeft = MAX_TRIES;

  constructor(standing: Standing) {
    const { program, plan } = standing;
    this.plan = plan;
    this.#program = program;
    this.#standing = standing;
    this.#isFixed = plan.map(
      (_, i) =>
        program.problem.sessions[i].uninterruptible ||
        hasCheckpoints(program, i) ||
        taperOf(program.problem.sessions[i]) !== undefined ||
        isInstalled(program, plan, i),
    );
  }

  mayMove(i: number): boolean {
    return !this.#isFixed[i];
  }

  get isWilling(): boolean {
    return this.#triesLeft > 0;
  }

  /** Moves the slots of a session's runs, the shortest run first, next to its longer ones. */
  settle(i: number): boolean {
    let isChanged = false;
    for (let goesOn = true; goesOn && this.isWilling; ) {
      goesOn = false;
      const runs = this.#runs(i);
      if (runs.length < 2) return isChanged;
      runs.sort((a, b) => a.to - a.from - (b.to - b.from) || b.from - a.from);
      for (const run of runs.slice(0, -1)) {
        // From an end, so that no run is cut in two.
        if (
          this.#relocate(i, run.from, runs) ||
          (run.to - run.from > 1 && this.#relocate(i, run.to - 1, runs))
        ) {
          goesOn = true;
          isChanged = true;
          break;
        }
      }
    }
    return isChanged;
  }

  #runs(i: number): { from: number; to: number }[] {
    const { first, end } = this.#program.charging.stays[i];
    const runs: { from: number; to: number }[] = [];
    for (let k = first; k < end; k++) {
      if (this.plan[i][k] <= 0) continue;
      const last = runs[runs.length - 1];
      if (last !== undefined && last.to === k) last.to = k + 1;
      else runs.push({ from: k, to: k + 1 });
    }
    return runs;
  }

  /** Moves what session i has in slot a to a slot at the end of another of its runs. */
  #relocate(i: number, a: number, runs: readonly { from: number; to: number }[]): boolean {
    const { first, end, hours } = this.#program.charging.stays[i];
    const slots: number[] = [];
    for (const { from, to } of [...runs].reverse()) {
      if (a >= from && a < to) continue;
      if (from > first && from - 1 !== a) slots.push(from - 1);
      if (to < end && to !== a) slots.push(to);
    }
    for (const b of slots) {
      if (hours[a - first] !== hours[b - first] || this.plan[i][b] > 0) continue;
      if (this.#gain(i, a, b) <= 0) continue;
      if (this.#moveAlone(i, a, b) || this.#exchange(i, a, b)) return true;
    }
    return false;
  }

  /** Moves i from a to b where there is room. */
  #moveAlone(i: number, a: number, b: number): boolean {
    const powerW = this.plan[i][a];
    if (this.#program.flat !== undefined || this.#program.surplus !== undefined) return false;
    if (this.#standing.spareW(i, b) < powerW - TOLERANCE_W) return false;
    if (this.#cost(i, a, -powerW) + this.#cost(i, b, powerW) > this.#mayCost(i, a)) return false;
    this.#standing.give(i, a, -powerW);
    this.#standing.give(i, b, powerW);
    return true;
  }

  /** Moves i from a to b and another vehicle as much from b to a. */
  #exchange(i: number, a: number, b: number): boolean {
    const { charging } = this.#program;
    const powerW = this.plan[i][a];
    const slotHours = charging.stays[i].hours[a - charging.stays[i].first];
    for (const j of charging.present[b]) {
      const stay = charging.stays[j];
      if (j === i || this.plan[j][b] < powerW - TOLERANCE_W || a < stay.first || a >= stay.end) continue;
      if (--this.#triesLeft <= 0) return false;
      if (stay.hours[a - stay.first] !== slotHours || stay.hours[b - stay.first] !== slotHours) continue;
      if (this.#isFixed[j]) continue;
      if (!this.#isUsable(j, this.plan[j][b] - powerW) || !this.#isUsable(j, this.plan[j][a] + powerW))
        continue;
      if (this.#gain(i, a, b) + this.#gainOfPartner(j, b, a, powerW) <= 0) continue;
      const cost =
        this.#cost(i, a, -powerW) +
        this.#cost(i, b, powerW) +
        this.#cost(j, b, -powerW) +
        this.#cost(j, a, powerW);
      if (cost > this.#mayCost(i, a)) continue;
      this.#standing.give(i, a, -powerW);
      this.#standing.give(j, b, -powerW);
      this.#standing.give(i, b, powerW);
      this.#standing.give(j, a, powerW);
      if (
        this.#standing.room.overdraft(i, b) <= TOLERANCE_W &&
        this.#standing.room.overdraft(j, a) <= TOLERANCE_W
      )
        return true;
      this.#standing.give(j, a, -powerW);
      this.#standing.give(i, b, -powerW);
      this.#standing.give(j, b, powerW);
      this.#standing.give(i, a, powerW);
    }
    return false;
  }

  /** Whether a power is 0 or between the minimum and the maximum, in whole steps. */
  #isUsable(j: number, powerW: number): boolean {
    const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = this.#program.charging.ranges[j];
    if (Math.abs(powerW) < TOLERANCE_W) return floorPowerW === 0;
    if (powerW < minPowerW - TOLERANCE_W || powerW > maxPowerW + TOLERANCE_W) return false;
    return Math.abs(powerW / stepPowerW - Math.round(powerW / stepPowerW)) < 1e-6;
  }

  /** By how much session i's runs gain in value if slot `off` is turned off and then `on` on. */
  #gain(i: number, off: number, on: number): number {
    return this.#worth(i, on, off) - this.#worth(i, off, -1);
  }

  /** The same for a partner that gives `powerW` in slot `from` and gets it in slot `to`: it need not go off or on. */
  #gainOfPartner(j: number, from: number, to: number, powerW: number): number {
    const goesOff = this.plan[j][from] - powerW < TOLERANCE_W;
    const goesOn = this.plan[j][to] <= 0;
    if (goesOff && goesOn) return this.#gain(j, from, to);
    if (goesOff) return -this.#worth(j, from, -1);
    return goesOn ? this.#worth(j, to, -1) : 0;
  }

  /** What slot k adds to the value of a session's runs by being on, with the slot `without` taken for off. */
  #worth(i: number, k: number, without: number): number {
    const powerW = this.plan[i];
    const isOn = (slot: number) => powerW[slot] > 0 && slot !== without;
    let left = 0;
    while (isOn(k - 1 - left)) left++;
    let right = 0;
    while (isOn(k + 1 + right)) right++;
    return valueOfRun(left + right + 1) - valueOfRun(left) - valueOfRun(right);
  }

  /** What a change of power costs in the program's unit; the site's peak aside. */
  #cost(i: number, k: number, byW: number): number {
    const { pricing, problem, charging } = this.#program;
    const kwh = charging.stays[i].hours[k - charging.stays[i].first] / 1000;
    const beforeW = this.plan[i][k];
    const installedW = (installedKw(problem, i, k) ?? Number.POSITIVE_INFINITY) * 1000;
    const above = Math.max(0, beforeW + byW - installedW) - Math.max(0, beforeW - installedW);
    return kwh * (byW * pricing.slotCost(i, k) + above * pricing.change);
  }

  #mayCost(i: number, k: number): number {
    const { hours, first } = this.#program.charging.stays[i];
    return ((hours[k - first] * this.plan[i][k]) / 1000) * TIE_BREAKS;
  }
}

/** Grows faster than the length, so that long runs win over short ones, and less a price for the start. */
function valueOfRun(slots: number): number {
  return slots === 0 ? 0 : slots * slots - 2;
}

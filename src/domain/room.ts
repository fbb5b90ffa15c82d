import type { Charging } from "./charging.ts";
import type { Phase, Problem } from "./problem.ts";
import { rangeOver } from "./series.ts";

/** Quantities limited on each circuit: 0 is the power in W, 1 to 3 the current in A on L1 to L3. */
export const QUANTITIES = 4;

/** What one watt of a session takes from the limited quantities on its way to the grid. */
export interface Footprint {
  /** circuit * QUANTITIES + quantity, for limited ones only. */
  keys: Int32Array;
  /** W or A for each W. */
  factors: Float64Array;
}

/**
 * What is left under each limit in each slot for the planned vehicles: the lowest limit of the
 * slot less the highest base load in it, less uncontrolled chargers and what chargers that
 * reject 0 keep drawing after a planned departure. 0 where the base load is over the limit.
 */
export class Room {
  readonly circuitCount: number;
  readonly footprints: Footprint[];
  /** Indexed [(slot * circuitCount + circuit) * QUANTITIES + quantity]; Infinity where unlimited. */
  readonly left: Float64Array;
  /** Circuits whose base load alone is over a limit in some slot. */
  readonly overloaded: number[];

  constructor(problem: Problem, charging: Charging) {
    const { circuits } = problem.site;
    this.circuitCount = circuits.length;
    this.left = limitsOf(problem);
    subtractBaseLoad(problem, this.left);
    const limited = new Uint8Array(circuits.length * QUANTITIES);
    const overloaded = new Set<number>();
    for (let n = 0; n < this.left.length; n++) {
      const key = n % limited.length;
      if (this.left[n] < Number.POSITIVE_INFINITY) limited[key] = 1;
      if (this.left[n] < 0) overloaded.add(Math.floor(key / QUANTITIES));
    }
    this.overloaded = [...overloaded].sort((a, b) => a - b);
    this.footprints = problem.sessions.map((session, i) =>
      footprint(problem, session.evse, charging.ranges[i].phases, limited),
    );
    this.#reserveAfterDeparture(problem, charging);
    for (let n = 0; n < this.left.length; n++) if (this.left[n] < 0) this.left[n] = 0;
  }

  /** Most power, W, that session i could take in slot k on top of what is taken; never negative. */
  fits(i: number, k: number): number {
    const { keys, factors } = this.footprints[i];
    const offset = k * this.circuitCount * QUANTITIES;
    let most = Number.POSITIVE_INFINITY;
    for (let n = 0; n < keys.length; n++) {
      const room = this.left[offset + keys[n]] / factors[n];
      if (room < most) most = room;
    }
    return Math.max(0, most);
  }

  /** Power, W, that session i would have to give back in slot k for no limit above it to be passed. */
  overdraft(i: number, k: number): number {
    const { keys, factors } = this.footprints[i];
    const offset = k * this.circuitCount * QUANTITIES;
    let over = 0;
    for (let n = 0; n < keys.length; n++) over = Math.max(over, -this.left[offset + keys[n]] / factors[n]);
    return over;
  }

  /** Takes power for session i in slot k; a negative power gives it back. */
  take(i: number, k: number, powerW: number): void {
    const { keys, factors } = this.footprints[i];
    const offset = k * this.circuitCount * QUANTITIES;
    for (let n = 0; n < keys.length; n++) this.left[offset + keys[n]] -= powerW * factors[n];
  }

  #reserveAfterDeparture(problem: Problem, charging: Charging): void {
    const slotCount = problem.slotStartsMs.length - 1;
    problem.sessions.forEach((session, i) => {
      const { floorPowerW } = charging.ranges[i];
      if (floorPowerW === 0) return;
      const nextArrivalMs = Math.min(
        ...problem.sessions
          .filter((s) => s.evse === session.evse && s.arrivalMs >= session.departureMs)
          .map((s) => s.arrivalMs),
      );
      for (let k = charging.stays[i].end; k < slotCount && problem.slotStartsMs[k] < nextArrivalMs; k++) {
        // Whole, even where it is over a limit: the circuits above carry all of it.
        this.take(i, k, floorPowerW);
      }
    });
  }
}

function footprint(problem: Problem, evse: number, phases: readonly Phase[], limited: Uint8Array): Footprint {
  const keys: number[] = [];
  const factors: number[] = [];
  const add = (key: number, factor: number) => {
    if (limited[key] === 0) return;
    keys.push(key);
    factors.push(factor);
  };
  const amperesPerWatt = 1 / (problem.site.nominalVoltageV * phases.length);
  for (let c = problem.site.evses[evse].circuit; c !== -1; c = problem.site.circuits[c].parent) {
    add(c * QUANTITIES, 1);
    for (const phase of phases) add(c * QUANTITIES + phase, amperesPerWatt);
  }
  return { keys: Int32Array.from(keys), factors: Float64Array.from(factors) };
}

function limitsOf(problem: Problem): Float64Array {
  const { circuits } = problem.site;
  const starts = problem.slotStartsMs;
  const left = new Float64Array((starts.length - 1) * circuits.length * QUANTITIES);
  circuits.forEach((circuit, c) => {
    for (let k = 0; k + 1 < starts.length; k++) {
      const at = (k * circuits.length + c) * QUANTITIES;
      const series = circuit.maxPowerSeriesW;
      const overTimeW =
        series === undefined ? Number.POSITIVE_INFINITY : rangeOver(series, starts[k], starts[k + 1]).min;
      left[at] = Math.min(circuit.maxPowerW, overTimeW);
      left.fill(circuit.maxCurrentA, at + 1, at + QUANTITIES);
    }
  });
  return left;
}

function subtractBaseLoad(problem: Problem, left: Float64Array): void {
  const { circuits, evses, nominalVoltageV } = problem.site;
  const starts = problem.slotStartsMs;
  const stride = circuits.length * QUANTITIES;
  const subtract = (circuit: number, k: number, load: readonly number[]) => {
    for (let c = circuit; c !== -1; c = circuits[c].parent) {
      for (let q = 0; q < QUANTITIES; q++) left[k * stride + c * QUANTITIES + q] -= load[q];
    }
  };
  circuits.forEach((circuit, c) => {
    const { baseLoadW, baseLoadA } = circuit;
    if (baseLoadW === undefined && baseLoadA.every((series) => series === undefined)) return;
    for (let k = 0; k + 1 < starts.length; k++) {
      const powerW = baseLoadW === undefined ? 0 : rangeOver(baseLoadW, starts[k], starts[k + 1]).max;
      const currentsA = baseLoadA.map((series) =>
        series === undefined
          ? powerW / (3 * nominalVoltageV)
          : rangeOver(series, starts[k], starts[k + 1]).max,
      );
      const sumW = (currentsA[0] + currentsA[1] + currentsA[2]) * nominalVoltageV;
      subtract(c, k, [Math.max(powerW, sumW), ...currentsA]);
    }
  });
  for (const evse of evses) {
    if (evse.uncontrolledPowerW === undefined) continue;
    const load = [evse.uncontrolledPowerW, 0, 0, 0];
    for (const phase of evse.phases)
      load[phase] = evse.uncontrolledPowerW / (nominalVoltageV * evse.phases.length);
    for (let k = 0; k + 1 < starts.length; k++) subtract(evse.circuit, k, load);
  }
}

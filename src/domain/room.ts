import type { Charging } from "./charging.ts";
import { PhasorLine } from "./line.ts";
import type { Phase, Problem } from "./problem.ts";
import { type FixedLoad, Reserve } from "./reserve.ts";
import { rangeOver, type Series } from "./series.ts";
import { LINES, type LineLoad, lineLoads, voltagesOf } from "./wiring.ts";

/** Quantities limited on each circuit: 0 is the power in W, 1 to 3 the current in A on L1 to L3. */
export const QUANTITIES = 4;

// What adding doubles can be off by: W or A.
const DUST = 1e-9;
// The same of a reserve, whose powers come rounded to the milliwatt.
const RESERVE_DUST = 1e-3;

/** What one watt of a load takes from the limited quantities on its way to the grid. */
interface Footprint {
  /** circuit * QUANTITIES + quantity, for limited ones only. */
  keys: Int32Array;
  /** W or A for each W. */
  factors: Float64Array;
  phasors: Phasor[];
}

/** A for each W on a line where currents add up as phasors; no direction where it can be any. */
interface Phasor {
  key: number;
  line: PhasorLine;
  direction: number | undefined;
  factor: number;
}

/**
 * What is left under each limit in each slot for the planned vehicles: the lowest limit of the
 * slot less the highest base load in it, less uncontrolled chargers, what chargers that
 * reject 0 keep drawing after a planned departure, and what is reserved for vehicles without a plan. 0 where
 * the base load is over the limit.
 */
export class Room {
  readonly circuitCount: number;
  /**
   * Indexed [(slot * circuitCount + circuit) * QUANTITIES + quantity]; Infinity where unlimited. On
   * a phasor line the limit less only what counts in full whatever its angle.
   */
  readonly left: Float64Array;
  /** Lines on which currents stand at different angles, by circuit * QUANTITIES + phase. */
  readonly phasorLines: ReadonlyMap<number, PhasorLine>;
  /** Circuits whose base load alone is over a limit in some slot. */
  readonly overloaded: number[];
  /** Circuits on which only the reserve for vehicles without a plan brings something over a limit. */
  readonly overReserved: number[];
  readonly #footprints: Footprint[];
  readonly #reserve: Reserve;
  readonly #reservedW: FixedLoad[];
  /** Power of sessions where the reserve holds some of it, by session * slots + slot. */
  readonly #taken = new Map<number, number>();
  readonly #slotCount: number;
  /** What each session gives in each slot, W: it does not charge then. */
  readonly #gives: (Float64Array | undefined)[];

  constructor(problem: Problem, charging: Charging) {
    const { circuits, evses } = problem.site;
    const slotCount = problem.slotStartsMs.length - 1;
    this.circuitCount = circuits.length;
    this.#slotCount = slotCount;
    this.#gives = problem.sessions.map(({ discharge }) => discharge?.plannedW);
    this.left = limitsOf(problem);
    const limited = new Uint8Array(circuits.length * QUANTITIES);
    for (let n = 0; n < this.left.length; n++) {
      if (this.left[n] < Number.POSITIVE_INFINITY) limited[n % limited.length] = 1;
    }
    const fixed = fixedLoads(problem);
    this.#reserve = new Reserve(problem, charging);
    const { loads: reserved } = this.#reserve;
    const planned = problem.sessions.map(({ evse }, i) =>
      lineLoads(circuits, { ...evses[evse], phases: charging.ranges[i].phases }),
    );
    const unplanned = [...fixed, ...reserved].map(({ lines }) => lines);
    this.phasorLines = phasorLinesOf([...unplanned, ...planned], limited, slotCount);
    const voltages = voltagesOf(problem.site);
    const footprint = (circuit: number, lines: readonly LineLoad[]): Footprint => {
      const keys: number[] = [];
      const factors: number[] = [];
      const phasors: Phasor[] = [];
      for (let c = circuit; c !== -1; c = circuits[c].parent) {
        if (limited[c * QUANTITIES] === 0) continue;
        keys.push(c * QUANTITIES);
        factors.push(1);
      }
      for (const { circuit: c, phase, share, angle } of lines) {
        const key = c * QUANTITIES + phase;
        if (limited[key] === 0) continue;
        const line = this.phasorLines.get(key);
        const factor = share / voltages[c];
        if (line !== undefined) {
          const direction = angle === undefined ? undefined : line.angles.indexOf(angle);
          phasors.push({ key, line, direction, factor });
          continue;
        }
        keys.push(key);
        factors.push(factor);
      }
      return { keys: Int32Array.from(keys), factors: Float64Array.from(factors), phasors };
    };
    const takeAll = (loads: readonly FixedLoad[]) => {
      for (const { circuit, lines, powerW } of loads) {
        const ofLoad = footprint(circuit, lines);
        for (let k = 0; k < slotCount; k++) this.#take(ofLoad, k, powerW(k), powerW(k));
      }
    };
    takeAll(fixed);
    this.overloaded = this.#overloaded(limited.length, DUST);
    takeAll(reserved);
    this.#reservedW = reserved.filter(({ circuit }) => circuit !== -1);
    const overReserved = reserved.length === 0 ? [] : this.#overloaded(limited.length, RESERVE_DUST);
    this.overReserved = overReserved.filter((c) => !this.overloaded.includes(c));
    this.#footprints = problem.sessions.map(({ evse }, i) => footprint(evses[evse].circuit, planned[i]));
    this.#reserveAfterDeparture(problem, charging);
    this.#closeOverloaded(slotCount);
  }

  /** Most power, W, that session i could take in slot k on top of what is taken; never negative, 0 where it gives. */
  fits(i: number, k: number): number {
    const givesW = this.#gives[i]?.[k] ?? 0;
    if (givesW > 0) return 0;
    const { keys, factors, phasors } = this.#footprints[i];
    const offset = k * this.circuitCount * QUANTITIES;
    let most = Number.POSITIVE_INFINITY;
    for (let n = 0; n < keys.length; n++) {
      const room = this.left[offset + keys[n]] / factors[n];
      if (room < most) most = room;
    }
    most = Math.max(0, most) + this.#coveredLeft(i, k);
    for (const { key, line, direction, factor } of phasors) {
      const limitA = this.left[offset + key];
      const fitsA = direction === undefined ? limitA - line.highestA(k) : line.fitsA(k, direction, limitA);
      most = Math.min(most, fitsA / factor);
    }
    return Math.max(0, most);
  }

  /** Circuits above session i on which it could take less than a power, W, in slot k. */
  tightFor(i: number, k: number, powerW: number): number[] {
    const { keys, factors, phasors } = this.#footprints[i];
    const offset = k * this.circuitCount * QUANTITIES;
    const tight = new Set<number>();
    const beyondW = powerW - this.#coveredLeft(i, k);
    keys.forEach((key, n) => {
      if (this.left[offset + key] / factors[n] < beyondW) tight.add(Math.floor(key / QUANTITIES));
    });
    for (const { key, line, direction, factor } of phasors) {
      const limitA = this.left[offset + key];
      const fitsA = direction === undefined ? limitA - line.highestA(k) : line.fitsA(k, direction, limitA);
      if (fitsA / factor < powerW) tight.add(Math.floor(key / QUANTITIES));
    }
    return [...tight];
  }

  /** Power, W, that session i would have to give back in slot k, at the least, for no limit above it to be passed. */
  overdraft(i: number, k: number): number {
    const { keys, factors, phasors } = this.#footprints[i];
    const offset = k * this.circuitCount * QUANTITIES;
    let over = 0;
    // What the reserve holds anyway gives nothing back.
    const beyondW = this.#beyondReserve(i, k);
    if (beyondW > 0) {
      for (let n = 0; n < keys.length; n++) over = Math.max(over, -this.left[offset + keys[n]] / factors[n]);
      over = Math.min(over, beyondW);
    }
    for (const { key, line, factor } of phasors) {
      over = Math.max(over, (line.highestA(k) - this.left[offset + key]) / factor);
    }
    return over;
  }

  /** Takes power for session i in slot k; a negative power gives it back. */
  take(i: number, k: number, powerW: number): void {
    const coveredW = this.coveredW(i, k);
    let beyondW = powerW;
    if (coveredW > 0) {
      const at = i * this.#slotCount + k;
      const before = this.#taken.get(at) ?? 0;
      this.#taken.set(at, before + powerW);
      beyondW = Math.max(0, before + powerW - coveredW) - Math.max(0, before - coveredW);
    }
    this.#take(this.#footprints[i], k, beyondW, powerW);
  }

  /**
   * What of session i's power in slot k is reserved for its EVSE anyway, W. On phasor lines it counts beside the
   * reserve, as the two need not stand at one angle.
   */
  coveredW(i: number, k: number): number {
    return this.#reserve.coveredW(i, k);
  }

  /** Power, W, that is reserved on and below a circuit itself in slot k for vehicles that no plan is known of. */
  reservedW(parents: readonly { parent: number }[], circuit: number, k: number): number {
    const isBelow = (c: number): boolean => c === circuit || (c > circuit && isBelow(parents[c].parent));
    return this.#reservedW.reduce((sumW, load) => sumW + (isBelow(load.circuit) ? load.powerW(k) : 0), 0);
  }

  /** What is left of what the reserve holds of session i's power, W. */
  #coveredLeft(i: number, k: number): number {
    const coveredW = this.coveredW(i, k);
    return coveredW === 0 ? 0 : Math.max(0, coveredW - (this.#taken.get(i * this.#slotCount + k) ?? 0));
  }

  /** What session i takes beyond its reserve, W; Infinity without one. */
  #beyondReserve(i: number, k: number): number {
    const coveredW = this.coveredW(i, k);
    if (coveredW === 0) return Number.POSITIVE_INFINITY;
    return Math.max(0, (this.#taken.get(i * this.#slotCount + k) ?? 0) - coveredW);
  }

  #take({ keys, factors, phasors }: Footprint, k: number, beyondW: number, powerW: number): void {
    const offset = k * this.circuitCount * QUANTITIES;
    for (let n = 0; n < keys.length; n++) this.left[offset + keys[n]] -= beyondW * factors[n];
    for (const { key, line, direction, factor } of phasors) {
      if (direction === undefined) this.left[offset + key] -= powerW * factor;
      else line.add(k, direction, powerW * factor);
    }
  }

  /** Circuits on which something is over a limit in some slot; `stride` quantities a slot. */
  #overloaded(stride: number, dust: number): number[] {
    const overloaded = new Set<number>();
    for (let n = 0; n < this.left.length; n++) {
      const key = n % stride;
      const usedA = this.phasorLines.get(key)?.highestA(Math.floor(n / stride)) ?? 0;
      if (this.left[n] < usedA - dust) overloaded.add(Math.floor(key / QUANTITIES));
    }
    return [...overloaded].sort((a, b) => a - b);
  }

  /** Leaves 0 where what is not planned is over a limit. */
  #closeOverloaded(slotCount: number): void {
    for (const [key, line] of this.phasorLines) {
      for (let k = 0; k < slotCount; k++) {
        const at = k * this.circuitCount * QUANTITIES + key;
        if (line.highestA(k) <= this.left[at]) continue;
        line.clear(k);
        this.left[at] = 0;
      }
    }
    for (let n = 0; n < this.left.length; n++) if (this.left[n] < 0) this.left[n] = 0;
  }

  #reserveAfterDeparture(problem: Problem, charging: Charging): void {
    const slotCount = problem.slotStartsMs.length - 1;
    problem.sessions.forEach((session, i) => {
      const { floorPowerW } = charging.ranges[i];
      if (floorPowerW === 0 || problem.site.evses[session.evse].isOffline) return;
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

/** The limited lines on which some loads stand at different angles, with what they all draw at 0. */
function phasorLinesOf(
  loads: readonly (readonly LineLoad[])[],
  limited: Uint8Array,
  slotCount: number,
): Map<number, PhasorLine> {
  const angles = new Map<number, Set<number>>();
  for (const { circuit, phase, angle } of loads.flat()) {
    const key = circuit * QUANTITIES + phase;
    if (limited[key] === 0 || angle === undefined) continue;
    const known = angles.get(key);
    if (known === undefined) angles.set(key, new Set([angle]));
    else known.add(angle);
  }
  const differing = [...angles].filter(([, ofLine]) => ofLine.size > 1);
  return new Map(differing.map(([key, ofLine]) => [key, new PhasorLine([...ofLine], slotCount)]));
}

/** Base load, and chargers that can't be controlled. */
function fixedLoads(problem: Problem): FixedLoad[] {
  const { circuits, evses } = problem.site;
  const starts = problem.slotStartsMs;
  const voltages = voltagesOf(problem.site);
  const most = (series: Series, k: number) => rangeOver(series, starts[k], starts[k + 1]).max;
  const loads: FixedLoad[] = [];
  circuits.forEach(({ baseLoadW, baseLoadA }, c) => {
    if (baseLoadW === undefined && baseLoadA.every((series) => series === undefined)) return;
    const powerW = (k: number) => (baseLoadW === undefined ? 0 : most(baseLoadW, k));
    const onLines = (phases: Phase[]) =>
      lineLoads(circuits, { circuit: c, supply: "AC", phases, hasUnknownPhases: false });
    if (baseLoadA.every((series) => series === undefined)) {
      loads.push({ circuit: c, lines: onLines([1, 2, 3]), powerW });
      return;
    }
    const lineW = baseLoadA.map((series) =>
      series === undefined ? (k: number) => powerW(k) / 3 : (k: number) => most(series, k) * voltages[c],
    );
    const sumW = (k: number) => lineW[0](k) + lineW[1](k) + lineW[2](k);
    loads.push({ circuit: c, lines: [], powerW: (k) => Math.max(powerW(k), sumW(k)) });
    LINES.forEach((phase, q) => {
      loads.push({ circuit: -1, lines: onLines([phase]), powerW: lineW[q] });
    });
  });
  for (const evse of evses) {
    const { uncontrolledPowerW } = evse;
    if (uncontrolledPowerW === undefined) continue;
    loads.push({ circuit: evse.circuit, lines: lineLoads(circuits, evse), powerW: () => uncontrolledPowerW });
  }
  return loads;
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

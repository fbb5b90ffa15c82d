import { type Charging, chargingRange } from "./charging.ts";
import type { Evse, Phase, Problem, Session } from "./problem.ts";
import { rangeOver } from "./series.ts";
import { type LineLoad, lineLoads } from "./wiring.ts";

/** A load that no plan changes. */
export interface FixedLoad {
  /** Whose power limits and those above it count; -1 for none. */
  circuit: number;
  lines: LineLoad[];
  /** The most in slot k. */
  powerW: (k: number) => number;
}

/** Lines of an EVSE that one vehicle could draw from alone. */
export interface Piece {
  phases: Phase[];
  hasUnknownPhases: boolean;
}

/**
 * The lines of an EVSE on which a vehicle that is not known may each draw or not: one by one, as it may draw from
 * fewer than there are; together where they can't be told apart, on DC and between two lines.
 */
export function piecesOf({ supply, phases, hasUnknownPhases }: Evse): Piece[] {
  const isKnown = !hasUnknownPhases || phases.length === 3;
  if (supply !== "AC" || !isKnown) return [{ phases, hasUnknownPhases }];
  return phases.map((phase) => ({ phases: [phase], hasUnknownPhases: false }));
}

/**
 * Whether each session's charger has a profile for it once this plan is sent: the vehicle is here, or its
 * transaction is known. Before that its charger allows it what it allows anyone.
 */
function toldOf({ sessions, slotStartsMs }: Problem): boolean[] {
  const told: boolean[] = [];
  sessions.forEach(({ arrivalMs, transactionId }, i) => {
    const goesOn = i > 0 && sessions[i - 1].goesOn;
    told.push(goesOn ? told[i - 1] : arrivalMs <= slotStartsMs[0] || transactionId !== "");
  });
  return told;
}

/**
 * What is kept free for vehicles that no plan is known of, W at the most in each slot: at each EVSE its fallback
 * while no vehicle with a profile of its own is there, and where it is offline all the time, or its installed
 * plan where that is more.
 */
export class Reserve {
  readonly loads: FixedLoad[] = [];
  readonly #problem: Problem;
  readonly #charging: Charging;
  readonly #isTold: boolean[] = [];
  /** When the next vehicle comes to the EVSE of each session. */
  readonly #nextArrivalMs: Float64Array = new Float64Array(0);

  constructor(problem: Problem, charging: Charging) {
    this.#problem = problem;
    this.#charging = charging;
    const { evses } = problem.site;
    if (evses.every(({ fallbackPowerW, isOffline }) => fallbackPowerW === 0 && !isOffline)) return;
    this.#isTold = toldOf(problem);
    this.#nextArrivalMs = nextArrivals(problem);
    const sums = new Sums(problem);
    const sessionsAt: number[][] = evses.map(() => []);
    problem.sessions.forEach(({ evse }, i) => {
      sessionsAt[evse].push(i);
    });
    evses.forEach((evse, e) => {
      if (evse.isOffline) this.#addOffline(sums, evse, sessionsAt[e]);
      else if (evse.fallbackPowerW > 0) this.#addVacant(sums, evse, sessionsAt[e]);
    });
    this.loads = sums.loads;
  }

  /** What of a session's power in slot k its EVSE's reserve holds anyway, W. */
  coveredW(i: number, k: number): number {
    if (this.loads.length === 0) return 0;
    const { site, sessions, slotStartsMs } = this.#problem;
    const { phases, fallbackPowerW, isOffline } = site.evses[sessions[i].evse];
    const { first, end } = this.#charging.stays[i];
    if (fallbackPowerW === 0 || isOffline || k < first) return 0;
    if (k >= end ? slotStartsMs[k + 1] > this.#nextArrivalMs[i] : this.#holds(i, k)) return 0;
    return (fallbackPowerW * this.#charging.ranges[i].phases.length) / phases.length;
  }

  /** Whether a session with a profile is there in all of a slot. */
  #holds(i: number, k: number): boolean {
    const { sessions, slotStartsMs } = this.#problem;
    const { arrivalMs, departureMs } = sessions[i];
    return this.#isTold[i] && arrivalMs <= slotStartsMs[k] && departureMs >= slotStartsMs[k + 1];
  }

  #addVacant(sums: Sums, evse: Evse, sessions: readonly number[]): void {
    const { fallbackPowerW: powerW } = evse;
    const pieces = piecesOf(evse);
    const add = (from: number, to: number, sign: number) => {
      sums.addPower(evse, from, to, sign * powerW);
      for (const piece of pieces)
        sums.addLines(evse, piece, from, to, (sign * powerW * piece.phases.length) / evse.phases.length);
    };
    add(0, this.#problem.slotStartsMs.length - 1, 1);
    for (const i of sessions) {
      const { first, end } = this.#charging.stays[i];
      let from = first;
      while (from < end && !this.#holds(i, from)) from++;
      let to = from;
      while (to < end && this.#holds(i, to)) to++;
      add(from, to, -1);
    }
  }

  #addOffline(sums: Sums, evse: Evse, sessions: readonly number[]): void {
    const { site, slotStartsMs: starts } = this.#problem;
    const told = sessions
      .map((i) => this.#problem.sessions[i])
      .filter(({ installed }) => installed !== undefined)
      .map((session) => ({ session, range: chargingRange(site, session) }));
    const pieces = piecesOf(evse);
    const fallbackOf = (piece: Piece) => (evse.fallbackPowerW * piece.phases.length) / evse.phases.length;
    if (told.length === 0) {
      sums.addPower(evse, 0, starts.length - 1, evse.fallbackPowerW);
      for (const piece of pieces) sums.addLines(evse, piece, 0, starts.length - 1, fallbackOf(piece));
      return;
    }
    for (let k = 0; k + 1 < starts.length; k++) {
      const draws = told.map(({ session, range }) => ({
        phases: range.phases,
        powerW: installedMostW(session, range.floorPowerW, starts[k], starts[k + 1]),
      }));
      sums.addPower(evse, k, k + 1, Math.max(evse.fallbackPowerW, ...draws.map(({ powerW }) => powerW)));
      for (const piece of pieces) {
        const drawnW = draws.map(({ phases, powerW }) =>
          phases.includes(piece.phases[0]) ? (powerW * piece.phases.length) / phases.length : 0,
        );
        sums.addLines(evse, piece, k, k + 1, Math.max(fallbackOf(piece), ...drawnW));
      }
    }
  }
}

/**
 * The most that an installed plan allows over a stretch of time, W. Its last value holds until departure; what is
 * given beyond that counts, and after it the least that the charger takes.
 */
function installedMostW(
  { installed, arrivalMs, departureMs }: Session,
  leastW: number,
  fromMs: number,
  toMs: number,
): number {
  if (installed === undefined || toMs <= arrivalMs) return 0;
  const { powerW: series } = installed;
  const heldMs = Math.max(departureMs, series.startMs + series.stepMs * series.values.length);
  const start = Math.max(fromMs, arrivalMs);
  const most = start < heldMs ? rangeOver(series, start, Math.min(toMs, heldMs)).max : 0;
  return Math.max(0, most, toMs > heldMs ? leastW : 0);
}

function nextArrivals({ sessions }: Problem): Float64Array {
  const arrivals = new Map<number, number[]>();
  for (const { evse, arrivalMs } of sessions) {
    const known = arrivals.get(evse);
    if (known === undefined) arrivals.set(evse, [arrivalMs]);
    else known.push(arrivalMs);
  }
  return Float64Array.from(sessions, ({ evse, departureMs }) =>
    Math.min(...(arrivals.get(evse) ?? []).filter((atMs) => atMs >= departureMs)),
  );
}

/** Loads that hang alike, added up: a site has many EVSEs and few ways to hang. */
class Sums {
  readonly loads: FixedLoad[] = [];
  readonly #problem: Problem;
  readonly #powersW = new Map<string, Float64Array>();

  constructor(problem: Problem) {
    this.#problem = problem;
  }

  /** Adds to the power of an EVSE's circuit in slots from .. to - 1. */
  addPower({ circuit }: Evse, from: number, to: number, powerW: number): void {
    const sumW = this.#of(`${circuit}`, circuit, () => []);
    for (let k = from; k < to; k++) sumW[k] += powerW;
  }

  /** Adds to what lies on the lines of a piece of an EVSE. */
  addLines({ circuit, supply }: Evse, piece: Piece, from: number, to: number, powerW: number): void {
    const key = [circuit, supply, piece.hasUnknownPhases, ...piece.phases].join();
    const { circuits } = this.#problem.site;
    const sumW = this.#of(key, -1, () => lineLoads(circuits, { circuit, supply, ...piece }));
    for (let k = from; k < to; k++) sumW[k] += powerW;
  }

  #of(key: string, circuit: number, linesOf: () => LineLoad[]): Float64Array {
    const known = this.#powersW.get(key);
    if (known !== undefined) return known;
    const sumW = new Float64Array(this.#problem.slotStartsMs.length - 1);
    this.#powersW.set(key, sumW);
    this.loads.push({ circuit, lines: linesOf(), powerW: (k) => sumW[k] });
    return sumW;
  }
}

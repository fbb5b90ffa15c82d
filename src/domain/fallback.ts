import { type Charging, type ChargingRange, chargingOf, chargingRange } from "./charging.ts";
import type { Evse, Problem, Session } from "./problem.ts";
import { piecesOf } from "./reserve.ts";
import { Room } from "./room.ts";
import type { Series } from "./series.ts";

// Far over what adding doubles can be off by: a limit that is met exactly does not fail by an ulp.
const TOLERANCE_W = 1e-6;
const OVERDRAFT_W = 1e-3;

/** What chargers may allow vehicles that no plan is known of, all of them at once. */
export interface FallbackLevels {
  /** By EVSE, W, in whole steps of its charger; undefined where nothing can be sent to it. */
  levelsW: (number | undefined)[];
  /** EVSEs that reject 0 and whose least limit is over a limit of a circuit. */
  overLimit: number[];
}

/** Whether a charger takes profiles now. */
export function canBeTold({ isOffline, uncontrolledPowerW }: Evse): boolean {
  return !isOffline && uncontrolledPowerW === undefined;
}

/** When the request's limits and base loads change last, or the plan ends. */
export function lastKnownMs({ site: { circuits }, slotStartsMs }: Problem): number {
  const endOf = (series: Series | undefined) =>
    series === undefined ? 0 : series.startMs + series.stepMs * series.values.length;
  return circuits.reduce(
    (lastMs, { maxPowerSeriesW, baseLoadW, baseLoadA }) =>
      Math.max(lastMs, ...[maxPowerSeriesW, baseLoadW, ...baseLoadA].map(endOf)),
    slotStartsMs[slotStartsMs.length - 1],
  );
}

/** The powers that a charger can be told for a vehicle of which nothing is known. */
export function rangeOf(problem: Problem, evse: number): ChargingRange {
  return chargingRange(problem.site, anyVehicle(problem, evse, problem.site.evses[evse].phases.length));
}

/**
 * One constant power for each EVSE that can be told one, such that all of them at once stay under every limit at its
 * lowest, as far as the request tells, beside the highest base load, chargers that can't be controlled or are offline,
 * and a battery that charges as fast as it can; whichever of its phases each vehicle draws from. Max-min fair: equal
 * powers, and more for those that can have it without another's getting less, 0 or at least the minimum. Where not all can have
 * the minimum, EVSEs with a vehicle there come first, then the order of the request; those that reject 0 have it in any case.
 */
export function fallbackLevels(problem: Problem): FallbackLevels {
  const { evses } = problem.site;
  const filling = new Filling(problem);
  const told = evses.flatMap((evse, e) => (canBeTold(evse) ? [e] : []));
  const overLimit = told.filter((e) => {
    const { floorPowerW } = filling.ranges[e];
    if (floorPowerW === 0) return false;
    filling.raise(e, floorPowerW);
    return filling.overdraft(e) > OVERDRAFT_W;
  });
  const startMs = problem.slotStartsMs[0];
  const isHere = evses.map(() => false);
  for (const { evse, arrivalMs } of problem.sessions) isHere[evse] ||= arrivalMs <= startMs;
  const inTurn = [...told.filter((e) => isHere[e]), ...told.filter((e) => !isHere[e])];
  const filled = inTurn.filter((e) => {
    const { floorPowerW, minPowerW, maxPowerW } = filling.ranges[e];
    return maxPowerW > 0 && (floorPowerW > 0 || filling.raiseIfFits([e], () => minPowerW));
  });
  filling.fill(filled);
  return { levelsW: evses.map((evse, e) => (canBeTold(evse) ? filling.levelsW[e] : undefined)), overLimit };
}

/** The site at its worst, and what each EVSE has of it so far. */
class Filling {
  readonly ranges: ChargingRange[];
  readonly levelsW: Float64Array;
  readonly #room: Room;
  /** Stand-ins for the vehicle at each EVSE: one for each line that it may draw from alone. */
  readonly #standIns: number[][];

  constructor(problem: Problem) {
    const { site } = problem;
    this.ranges = site.evses.map((_, e) => rangeOf(problem, e));
    this.levelsW = new Float64Array(site.evses.length);
    const offline = problem.sessions.filter(({ evse }) => site.evses[evse].isOffline);
    const evses = site.evses.map((evse) => (evse.isOffline ? evse : { ...evse, fallbackPowerW: 0 }));
    if (site.battery !== undefined) evses.push(chargingBattery(site.battery));
    // One slot of all the time: each limit at its lowest, each load at its highest.
    const slotStartsMs = [problem.slotStartsMs[0], lastKnownMs(problem)];
    const worst: Problem = {
      ...problem,
      slotStartsMs,
      sessions: offline,
      site: { ...site, battery: undefined, evses },
    };
    this.#standIns = site.evses.map((evse) =>
      canBeTold(evse)
        ? piecesOf(evse).map((piece) => {
            const at = evses.push({ ...evse, ...piece, fallbackPowerW: 0 }) - 1;
            return worst.sessions.push(anyVehicle(worst, at, piece.phases.length)) - 1;
          })
        : [],
    );
    const charging: Charging = chargingOf(worst);
    this.#room = new Room(worst, charging);
  }

  raise(e: number, byW: number): void {
    this.levelsW[e] += byW;
    for (const i of this.#standIns[e]) this.#room.take(i, 0, byW / this.#standIns[e].length);
  }

  overdraft(e: number): number {
    return this.#standIns[e].reduce((overW, i) => Math.max(overW, this.#room.overdraft(i, 0)), 0);
  }

  /** Raises EVSEs to levels, all or none. */
  raiseIfFits(members: readonly number[], levelW: (e: number) => number): boolean {
    const raises = members.map((e) => levelW(e) - this.levelsW[e]);
    members.forEach((e, n) => {
      if (raises[n] !== 0) this.raise(e, raises[n]);
    });
    const fits = members.every((e, n) => raises[n] === 0 || this.overdraft(e) <= TOLERANCE_W);
    if (fits) return true;
    members.forEach((e, n) => {
      if (raises[n] !== 0) this.raise(e, -raises[n]);
    });
    return false;
  }

  /** Raises EVSEs together until no limit lets any go higher; whoever a limit stops stays where it is. */
  fill(members: readonly number[]): void {
    let rising = members.filter((e) => this.levelsW[e] < this.ranges[e].maxPowerW);
    while (rising.length > 0) {
      const levelAt = (powerW: number) => (e: number) => {
        const { minPowerW, maxPowerW, stepPowerW } = this.ranges[e];
        const whole = Math.floor(Math.max(minPowerW, powerW) / stepPowerW + 1e-9) * stepPowerW;
        return Math.max(this.levelsW[e], Math.min(maxPowerW, whole));
      };
      let low = Math.min(...rising.map((e) => this.levelsW[e]));
      let high = Math.max(...rising.map((e) => this.ranges[e].maxPowerW));
      const leastStepW = Math.min(...rising.map((e) => this.ranges[e].stepPowerW));
      if (this.raiseIfFits(rising, levelAt(high))) return;
      while (high - low > leastStepW / 2) {
        const middle = (low + high) / 2;
        if (this.raiseIfFits(rising, levelAt(middle))) low = middle;
        else high = middle;
      }
      // The next step of all at once is too much: some can have theirs, the others are done.
      rising = rising.filter((e) => {
        const { maxPowerW, stepPowerW } = this.ranges[e];
        const nextW = Math.max(stepPowerW, this.levelsW[e] + stepPowerW);
        return nextW <= maxPowerW + TOLERANCE_W && this.raiseIfFits([e], () => Math.min(maxPowerW, nextW));
      });
    }
  }
}

function anyVehicle({ slotStartsMs }: Problem, evse: number, phaseCount: number): Session {
  return {
    sessionId: "",
    evse,
    transactionId: "",
    arrivalMs: slotStartsMs[0],
    departureMs: slotStartsMs[slotStartsMs.length - 1],
    energyWh: 0,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW: Number.POSITIVE_INFINITY,
    phaseCount,
    priority: 1,
    uninterruptible: false,
    battery: undefined,
    minimum: undefined,
    departureChances: [],
    discharge: undefined,
    goesOn: false,
    installed: undefined,
  };
}

/** A battery that takes all it can: a load on three phases. */
function chargingBattery({ circuit, maxChargePowerW }: { circuit: number; maxChargePowerW: number }): Evse {
  return {
    stationId: "",
    evseId: 0,
    circuit,
    supply: "DC",
    phases: [1, 2, 3],
    hasUnknownPhases: false,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW: maxChargePowerW,
    minPowerW: 0,
    uncontrolledPowerW: maxChargePowerW,
    maxDischargePowerW: 0,
    maxPhaseSwitches: 0,
    fallbackPowerW: 0,
    isOffline: false,
    ocpp: {
      version: "2.1",
      rateUnit: "W",
      maxPeriods: 1,
      stackLevel: 0,
      limitStep: 1,
      rejectsZeroLimit: false,
      prefersTxDefaultProfile: false,
    },
  };
}

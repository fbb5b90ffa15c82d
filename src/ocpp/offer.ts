import { type Charging, HOUR_MS, holdsOneLevel, stayOf } from "../domain/charging.ts";
import { energyByWh, energyWh, slotEnergiesWh } from "../domain/delivery.ts";
import { drawnOf } from "../domain/discharge.ts";
import { greedy, isCharging } from "../domain/greedy.ts";
import { demandImports } from "../domain/measure.ts";
import type { ChargingSchedule, PowerPlan } from "../domain/plan.ts";
import type { Problem, Session } from "../domain/problem.ts";
import { roomLeft } from "../domain/room.ts";
import { exportPrices, slotLoad, surplusOf } from "../domain/surplus.ts";
import { slotPrices } from "../domain/tariff.ts";
import { allowedPowers, toProfile } from "./profile.ts";

/** Ids of the schedules beside the plan, which has 1: the same in each answer, whichever are left out. */
const SOONEST_ID = 2;
const CHEAPEST_ID = 3;

/** Times that energy lost to few periods is asked for once more. */
const MOST_ROUNDS = 4;
// Of a need: no reason to call a schedule short.
const DUST_WH = 1;
// Far over what adding doubles can be off by.
const TOLERANCE_W = 1e-6;
const DUST_COST = 1e-6;

/** A schedule that a vehicle may choose instead of the plan, and what it allows in each slot, W. */
export interface Alternative {
  schedule: ChargingSchedule;
  powerW: Float64Array;
}

/**
 * For each session the schedules that its vehicle is offered beside the plan, `sent` as the profiles have it: what is
 * soonest, then what is cheapest, as many as it takes. Each keeps within what the others leave when each of them
 * has the most of all that it is offered, and above no peak of the plan where that costs; each delivers what the plan
 * delivers of the need and of the minimum. What says the same as the plan or another, or saves nothing, is left out.
 * `isSent` tells whose profile is sent at all.
 */
export function alternativesOf(
  problem: Problem,
  charging: Charging,
  sent: PowerPlan,
  isSent: (i: number) => boolean,
): Alternative[][] {
  const { sessions } = problem;
  const hasChoice = sessions.map((session, i) => mayChoose(session) && isSent(i));
  if (!hasChoice.includes(true)) return sessions.map(() => []);
  const drawn = sent.map((powerW, i) => drawnOf(sessions[i], powerW));
  const room = roomLeft(problem, charging, drawn);
  sessions.forEach((session, i) => {
    const { first, end } = charging.stays[i];
    if (!holdsOneLevel(session) || first === end) return;
    for (let k = end; k < heldUntil(problem, i); k++)
      room.take(i, k, drawn[i][end - 1] - charging.ranges[i].floorPowerW);
  });
  const peak = new PeakRoom(problem, charging, drawn);
  const costs = new Costs(problem, charging, drawn);
  return sessions.map((session, i) => {
    if (!hasChoice[i]) return [];
    const { first, end } = charging.stays[i];
    const own = sent[i];
    for (let k = first; k < end; k++) room.take(i, k, -own[k]);
    const fitsW = own.map((w, k) =>
      k < first || k >= end ? 0 : Math.min(room.fits(i, k), w + peak.leftW(k)),
    );
    const vehicle = aloneIn(problem, charging, i, fitsW);
    const isEnough = (powerW: Float64Array) => isAsMuch(problem, charging, i, powerW, own);
    const soonest = inPeriods(vehicle, (wantedWh) => vehicle.soonest(wantedWh), isEnough);
    const cheapest = costs.areKnown
      ? inPeriods(vehicle, (wantedWh) => cheapestOf(vehicle, costs, wantedWh), isEnough)
      : undefined;
    const saves = cheapest && costs.of(i, cheapest.powerW) < costs.of(i, own) - DUST_COST;
    const others: Alternative[] = [];
    for (const [id, found] of [
      [SOONEST_ID, soonest],
      [CHEAPEST_ID, saves ? cheapest : undefined],
    ] as const) {
      if (found === undefined || [own, ...others.map(({ powerW }) => powerW)].some(isSameAs(found.powerW)))
        continue;
      others.push({ powerW: found.powerW, schedule: { ...found.schedule, id } });
    }
    const offered = others.slice(0, (session.offer?.maxSchedules ?? 1) - 1);
    for (let k = first; k < end; k++) {
      const mostW = Math.max(own[k], ...offered.map(({ powerW }) => powerW[k]));
      room.take(i, k, mostW);
      peak.raise(k, mostW - own[k]);
    }
    return offered;
  });
}

function mayChoose(session: Session): boolean {
  return (session.offer?.maxSchedules ?? 1) > 1 && !holdsOneLevel(session) && session.energyWh > 0;
}

/**
 * The plan with one level for each vehicle that takes a single period: the lowest that meets its need and its minimum,
 * or the highest that the others leave from its arrival until the next vehicle can come, as it may stay longer
 * than it said.
 */
export function withHeldLevels(problem: Problem, charging: Charging, plan: PowerPlan): PowerPlan {
  const { sessions } = problem;
  // A plan of nothing is what is left when all others fail the check: it stays as it is.
  const isNothing = plan.every((powerW) => powerW.every((w) => w === 0));
  if (isNothing || !sessions.some(holdsOneLevel)) return plan;
  const allowed = allowedPowers(problem, plan).map((powerW, i) => drawnOf(sessions[i], powerW));
  const room = roomLeft(problem, charging, allowed);
  return plan.map((powerW, i) => {
    const session = sessions[i];
    const { first, end } = charging.stays[i];
    if (!holdsOneLevel(session) || first === end) return powerW;
    const until = heldUntil(problem, i);
    // After its stay, what a charger that rejects 0 draws at the least is already taken.
    const takenW = (k: number) => (k < end ? allowed[i][k] : charging.ranges[i].floorPowerW);
    let mostW = Number.POSITIVE_INFINITY;
    for (let k = first; k < until; k++) {
      room.take(i, k, -takenW(k));
      mostW = Math.min(mostW, room.fits(i, k));
    }
    const levelW = heldLevelW(problem, charging, i, mostW);
    for (let k = first; k < until; k++) room.take(i, k, levelW);
    return powerW.map((_, k) => (k >= first && k < end ? levelW : 0));
  });
}

/** The slot in which the next vehicle at the EVSE has come for sure, or the end of the plan. */
function heldUntil({ sessions, slotStartsMs }: Problem, i: number): number {
  const session = sessions[i];
  const nextMs = sessions
    .filter(({ evse, arrivalMs }) => evse === session.evse && arrivalMs >= session.departureMs)
    .reduce((atMs, { arrivalMs }) => Math.min(atMs, arrivalMs), Number.POSITIVE_INFINITY);
  return stayOf({ ...session, departureMs: nextMs }, slotStartsMs).end;
}

function heldLevelW(problem: Problem, charging: Charging, i: number, mostW: number): number {
  const { energyWh: needWh, minimum } = problem.sessions[i];
  const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
  const levelOf = (steps: number) =>
    new Float64Array(problem.slotStartsMs.length - 1).fill(steps * stepPowerW);
  const steps = fewestSteps(minPowerW, Math.min(maxPowerW, mostW), stepPowerW, (count) => {
    const powerW = levelOf(count);
    if (energyWh(problem, charging, i, powerW) < needWh - DUST_WH) return false;
    return (
      minimum === undefined ||
      energyByWh(problem, charging, i, powerW, minimum.byMs) >= minimum.energyWh - DUST_WH
    );
  });
  return needWh > 0 ? Math.max(floorPowerW, steps * stepPowerW) : floorPowerW;
}

/** The fewest steps from a least to a most power that are enough, or as many as there are; 0 where none fits. */
function fewestSteps(
  leastW: number,
  mostW: number,
  stepPowerW: number,
  isEnough: (steps: number) => boolean,
): number {
  let low = Math.max(1, Math.ceil((leastW - TOLERANCE_W) / stepPowerW));
  let high = Math.floor((mostW + TOLERANCE_W) / stepPowerW);
  if (high < low) return 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isEnough(middle)) high = middle;
    else low = middle + 1;
  }
  return high;
}

/** One vehicle in what there is for it in each slot, W. */
interface Vehicle {
  problem: Problem;
  charging: Charging;
  i: number;
  fitsW: Float64Array;
  /** As early as fits, from a slot on: the first of its stay by default. */
  soonest: (wantedWh: number, from?: number) => Float64Array;
}

function aloneIn(problem: Problem, charging: Charging, i: number, fitsW: Float64Array): Vehicle {
  const { first, end } = charging.stays[i];
  const present = Array.from(fitsW, (_, k) => (k >= first && k < end ? [0] : []));
  const alone: Charging = { ranges: [charging.ranges[i]], stays: [charging.stays[i]], present };
  const soonest = (wantedWh: number, from = first) => {
    const leftW = fitsW.map((w, k) => (k < from ? 0 : w));
    const room = {
      fits: (_: number, k: number) => leftW[k],
      take: (_: number, k: number, powerW: number) => {
        leftW[k] -= powerW;
      },
    };
    const sessions = [{ ...problem.sessions[i], energyWh: wantedWh }];
    const [powerW] = greedy({ ...problem, sessions }, alone, "ARRIVAL", room);
    return powerW;
  };
  return { problem, charging, i, fitsW, soonest };
}

/** A schedule in as many periods as are taken that is still enough; undefined where none was found. */
function inPeriods(
  { problem, charging, i }: Vehicle,
  make: (wantedWh: number) => Float64Array,
  isEnough: (powerW: Float64Array) => boolean,
): Alternative | undefined {
  const needWh = problem.sessions[i].energyWh;
  let wantedWh = needWh;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const { profile, powerW } = toProfile(problem, i, make(wantedWh));
    if (isEnough(powerW)) return { schedule: profile.schedules[0], powerW };
    wantedWh += Math.max(DUST_WH, needWh - energyWh(problem, charging, i, powerW));
  }
  return undefined;
}

/** Whether powers deliver of the need, and of the minimum, what others do. */
function isAsMuch(
  problem: Problem,
  charging: Charging,
  i: number,
  powerW: Float64Array,
  thanW: Float64Array,
): boolean {
  const { energyWh: needWh, minimum } = problem.sessions[i];
  const reaches = (wantedWh: number, byMs: number) => {
    const [ownWh, otherWh] = [powerW, thanW].map((w) => energyByWh(problem, charging, i, w, byMs));
    return ownWh >= Math.min(wantedWh, otherWh) - DUST_WH;
  };
  return reaches(needWh, Number.POSITIVE_INFINITY) && (!minimum || reaches(minimum.energyWh, minimum.byMs));
}

/** What is cheapest in the room of one vehicle: its cheapest slots full, the dearest of them as far as needed. */
function cheapestOf(vehicle: Vehicle, costs: Costs, wantedWh: number): Float64Array {
  const { problem, charging, i, fitsW } = vehicle;
  const session = problem.sessions[i];
  const { first, end } = charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
  if (session.uninterruptible && floorPowerW === 0) return cheapestBlock(vehicle, costs, wantedWh);
  const mostW = fitsW.map((w) => {
    const steps = Math.floor((Math.min(maxPowerW, w) + TOLERANCE_W) / stepPowerW);
    return steps * stepPowerW < Math.max(minPowerW, stepPowerW) - TOLERANCE_W ? 0 : steps * stepPowerW;
  });
  const costly = (k: number) => costs.perWh(i, k, mostW[k]);
  const slots = Array.from({ length: end - first }, (_, n) => first + n)
    .filter((k) => mostW[k] > floorPowerW)
    .sort((a, b) => costly(a) - costly(b) || a - b);
  const fill = (
    powerW: Float64Array,
    among: readonly number[],
    goalWh: number,
    byMs: number,
  ): Float64Array => {
    const isMet = (w: Float64Array) => energyByWh(problem, charging, i, w, byMs) >= goalWh;
    const withSlots = (count: number, lastW?: number) => {
      const filled = powerW.slice();
      for (const k of among.slice(0, count)) filled[k] = Math.max(filled[k], mostW[k]);
      if (lastW !== undefined) filled[among[count - 1]] = lastW;
      return filled;
    };
    let count = 0;
    for (let most = among.length; count < most; ) {
      const middle = (count + most) >> 1;
      if (isMet(withSlots(middle))) most = middle;
      else count = middle + 1;
    }
    if (count === 0) return powerW;
    const last = among[count - 1];
    const steps = fewestSteps(Math.max(minPowerW, powerW[last]), mostW[last], stepPowerW, (n) =>
      isMet(withSlots(count, n * stepPowerW)),
    );
    return withSlots(count, Math.max(powerW[last], steps * stepPowerW));
  };
  const { minimum } = session;
  const least = fitsW.map((_, k) => (k >= first && k < end ? floorPowerW : 0));
  const inTime = slots.filter((k) => minimum !== undefined && problem.slotStartsMs[k] < minimum.byMs);
  const due = minimum === undefined ? least : fill(least, inTime, minimum.energyWh, minimum.byMs);
  return fill(due, slots, wantedWh, Number.POSITIVE_INFINITY);
}

/** The block that costs least of those that begin with the stay or where the price falls; one in progress goes on. */
function cheapestBlock(
  { problem, charging, i, soonest }: Vehicle,
  costs: Costs,
  wantedWh: number,
): Float64Array {
  let best = soonest(wantedWh);
  if (isCharging(problem, i)) return best;
  const { first, end } = charging.stays[i];
  const mostWh = energyWh(problem, charging, i, best);
  for (let k = first + 1; k < end; k++) {
    if (costs.prices[k] >= costs.prices[k - 1]) continue;
    const block = soonest(wantedWh, k);
    if (energyWh(problem, charging, i, block) < mostWh - DUST_WH) continue;
    if (costs.of(i, block) < costs.of(i, best) - DUST_COST) best = block;
  }
  return best;
}

function isSameAs(powerW: Float64Array): (otherW: Float64Array) => boolean {
  return (otherW) => powerW.every((w, k) => Math.abs(w - otherW[k]) <= TOLERANCE_W);
}

/** What the energy of one vehicle costs beside the others' as they are planned: the site's own surplus at the price of export. */
class Costs {
  readonly prices: Float64Array;
  /** Whether some slots are dearer than others. */
  readonly areKnown: boolean;
  readonly #problem: Problem;
  readonly #charging: Charging;
  readonly #plan: PowerPlan;
  readonly #paid: Float64Array;
  /** What vehicles leave of the surplus in each slot, W; may be below 0. */
  readonly #surplusW: Float64Array | undefined;

  constructor(problem: Problem, charging: Charging, plan: PowerPlan) {
    this.#problem = problem;
    this.#charging = charging;
    this.#plan = plan;
    this.prices = slotPrices(problem);
    this.#paid = exportPrices(problem);
    const loadW = slotLoad(
      problem,
      charging.present,
      (i, k) => plan[i][k] * charging.stays[i].hours[k - charging.stays[i].first],
    );
    this.#surplusW = surplusOf(problem)?.map((w, k) => w - loadW[k]);
    this.areKnown = this.prices.some((price) => price !== this.prices[0]) || this.#surplusW !== undefined;
  }

  /** Of what session i draws of its need under a plan. */
  of(i: number, powerW: Float64Array): number {
    const { first } = this.#charging.stays[i];
    let leftWh = this.#problem.sessions[i].energyWh;
    let cost = 0;
    slotEnergiesWh(this.#problem, this.#charging, i, powerW).forEach((wh, n) => {
      const drawnWh = Math.min(wh, leftWh);
      leftWh -= drawnWh;
      cost += this.#ofSlot(i, first + n, drawnWh);
    });
    return cost;
  }

  /** Of a watt-hour in slot k at a power. */
  perWh(i: number, k: number, powerW: number): number {
    const drawnWh = powerW * this.#charging.stays[i].hours[k - this.#charging.stays[i].first];
    return this.#ofSlot(i, k, drawnWh) / drawnWh;
  }

  #ofSlot(i: number, k: number, drawnWh: number): number {
    const starts = this.#problem.slotStartsMs;
    const { first, hours } = this.#charging.stays[i];
    const plannedWh = this.#plan[i][k] * hours[k - first];
    const surplusWh =
      this.#surplusW === undefined
        ? 0
        : (this.#surplusW[k] * (starts[k + 1] - starts[k])) / HOUR_MS + plannedWh;
    const ownWh = Math.min(drawnWh, Math.max(0, surplusWh));
    return ((drawnWh - ownWh) * this.prices[k] + ownWh * this.#paid[k]) / 1000;
  }
}

/** What can be added in each slot without a new peak of the site where that costs, W. */
class PeakRoom {
  /** For each slot the demand windows that it has a part in. */
  readonly #windows: { window: number; share: number }[][];
  readonly #leftW: number[];

  constructor(problem: Problem, charging: Charging, plan: PowerPlan) {
    const starts = problem.slotStartsMs;
    const imports = demandImports(problem, charging, plan);
    const soFarW = problem.site.tariff?.demandPeakSoFarW ?? 0;
    const peakW = imports.reduce((mostW, { importW }) => Math.max(mostW, importW), soFarW);
    this.#leftW = imports.map(({ importW }) => peakW - importW);
    this.#windows = starts.slice(1).map(() => []);
    let k = 0;
    imports.forEach(({ startMs, endMs, hours }, window) => {
      while (starts[k + 1] <= startMs) k++;
      for (let n = k; n + 1 < starts.length && starts[n] < endMs; n++) {
        const overlapMs = Math.min(endMs, starts[n + 1]) - Math.max(startMs, starts[n]);
        this.#windows[n].push({ window, share: overlapMs / HOUR_MS / hours });
      }
    });
  }

  /** In slot k together with as much in every other slot of its windows. */
  leftW(k: number): number {
    return this.#windows[k].reduce(
      (leftW, { window }) => Math.min(leftW, this.#leftW[window]),
      Number.POSITIVE_INFINITY,
    );
  }

  raise(k: number, powerW: number): void {
    for (const { window, share } of this.#windows[k]) this.#leftW[window] -= powerW * share;
  }
}

import { maxPeriodsOf } from "../domain/charging.ts";
import { energyByWh, energyWh } from "../domain/delivery.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { staysOf } from "../domain/stays.ts";
import { MINIMUM_WEIGHT } from "./checkpoints.ts";
import { evaluate } from "./evaluate.ts";
import { bestRun, makeUp, mayRunOnce, roundedDown } from "./extract.ts";
import { isInstalled } from "./installed.ts";
import type { Program } from "./program.ts";
import { MIP_GAP } from "./refine.ts";
import { grouped, type Segments, segmentsOf, tied } from "./segments.ts";
import { Standing } from "./standing.ts";

/**
 * Numbers of periods that are planned for. A charger gets the best plan for any of these that it takes, so
 * that taking more periods is never to its harm.
 */
const PERIODS = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024];
// Rounds over the vehicles, and vehicles valued in them: bounds on work.
const MAX_ROUNDS = 3;
const MAX_VALUED = 10_000;
// Columns above which powers are not solved for anew.
const MAX_COLUMNS = 3000;
// Missing energy by which one plan is worse than another whatever they cost.
const NOTABLE_WH = 10;

/** What planning for few periods needs of the stages around it. */
export interface PeriodTools {
  /** What profiles of so many periods at most, and no more than the charger takes, let each session draw, W. */
  send: (plan: PowerPlan, maxPeriods: number) => PowerPlan;
  /** The powers, W, of a good plan for a program; undefined where none was found. */
  solve: (program: Program) => PowerPlan | undefined;
  hasTime: () => boolean;
}

/** A plan with its value by the program and what few periods leave missing, Wh, weighted by priority. */
interface Valued {
  plan: PowerPlan;
  cost: number;
  lostWh: number;
}

/**
 * A plan in as many periods as the chargers take: merged with the least loss of energy, which is then made up for
 * where there is room. Where that costs more than the proof of an optimum leaves open, other plans
 * are looked for: single runs beside what the others have, vehicle by vehicle, and stretches whose powers are
 * solved for anew, of all vehicles at once.
 */
export function withinPeriods(program: Program, plan: PowerPlan, tools: PeriodTools): PowerPlan {
  const sent = tools.send(plan, Number.POSITIVE_INFINITY);
  const isCut = sent.map((powerW, i) => powerW.some((w, k) => w < plan[i][k] - 1e-6));
  if (!isCut.includes(true)) return plan;
  const merged = valued(program, plan, makeUp(program, sent, Number.POSITIVE_INFINITY));
  const idealCost = evaluate(program, plan);
  const isGood = ({ cost, lostWh }: Valued) =>
    cost <= idealCost + MIP_GAP * Math.abs(idealCost) && lostWh <= NOTABLE_WH;
  if (isGood(merged) || !tools.hasTime()) return merged.plan;
  const { sessions, site } = program.problem;
  const segments = segmentsOf(program, plan);
  const taken = sessions.map((session, i) =>
    Math.min(maxPeriodsOf(site.evses[session.evse], session), new Set(segments[i]).size + 1),
  );
  // Each session of a stay has at least one.
  const least = Math.max(...staysOf(program.problem).map((stay) => stay.length));
  const most = Math.max(...taken);
  const counts = PERIODS.filter((count) => count >= least && count <= most);
  let best: Valued | undefined;
  for (const count of counts.reverse()) {
    const found = planFor(program, plan, tools, count);
    if (best === undefined || isBetter(found, best)) best = found;
    if (isGood(best) || !tools.hasTime()) break;
  }
  return (best ?? merged).plan;
}

/** A plan of so many periods at most. */
function planFor(program: Program, plan: PowerPlan, tools: PeriodTools, maxPeriods: number): Valued {
  const sent = tools.send(plan, maxPeriods);
  const cut = sent.flatMap((powerW, i) => (powerW.some((w, k) => w < plan[i][k] - 1e-6) ? [i] : []));
  let best = valued(program, plan, makeUp(program, sent, maxPeriods));
  const consider = (make: () => PowerPlan | undefined): boolean => {
    const other = tools.hasTime() ? make() : undefined;
    if (other === undefined) return false;
    const found = valued(program, plan, makeUp(program, tools.send(other, maxPeriods), maxPeriods));
    const isFound = isBetter(found, best);
    if (isFound) best = found;
    return isFound;
  };
  const solve = (segments: Segments): PowerPlan | undefined => {
    const one = tied(program, segments, best.plan);
    const powers = one.lp.columnCount > MAX_COLUMNS ? undefined : tools.solve(one);
    return powers && roundedDown(program, powers);
  };
  const movable = cut.filter((i) => mayChange(program, best.plan, i));
  const inRuns = (from: PowerPlan) => singleRuns(program, from, movable, maxPeriods, tools.hasTime);
  consider(() => inRuns(best.plan));
  consider(() => inRuns(without(best.plan, movable)));
  consider(() => solve(segmentsOf(program, best.plan)));
  const ofPlan = segmentsOf(program, plan);
  for (const i of cut) ofPlan[i] = grouped(program, plan[i], i, maxPeriods - 1) ?? ofPlan[i];
  consider(() => solve(ofPlan));
  if (consider(() => inRuns(best.plan))) consider(() => solve(segmentsOf(program, best.plan)));
  return best;
}

/** What a plan is worth beside the one of any number of periods. */
function valued(program: Program, ideal: PowerPlan, plan: PowerPlan): Valued {
  const lostWh = Math.max(0, missingWh(program, plan) - missingWh(program, ideal));
  return { plan, cost: evaluate(program, plan), lostWh };
}

/** What all sessions miss of their needs and minimums, Wh, weighted as in the program. */
function missingWh({ problem, charging, energy }: Program, plan: PowerPlan): number {
  return problem.sessions.reduce((sumWh, { energyWh: wantedWh, priority, minimum }, i) => {
    const needWh = Math.min(wantedWh, 1000 * energy[i].energyKwh);
    const shortWh = Math.max(0, needWh - energyWh(problem, charging, i, plan[i]));
    if (minimum === undefined) return sumWh + priority * shortWh;
    const byThenWh = energyByWh(problem, charging, i, plan[i], minimum.byMs);
    return sumWh + priority * (shortWh + MINIMUM_WEIGHT * Math.max(0, minimum.energyWh - byThenWh));
  }, 0);
}

/** Whether a plan loses notably less energy than another, or as much and is better. In whole portions, so that it is an order. */
function isBetter(a: Valued, b: Valued): boolean {
  const [lost, otherLost] = [a, b].map(({ lostWh }) => Math.floor(lostWh / NOTABLE_WH));
  return lost === otherLost ? a.cost < b.cost : lost < otherLost;
}

/** Whether a vehicle may get another run than it has: not where it keeps what is installed, or gives. */
function mayChange(program: Program, plan: PowerPlan, i: number): boolean {
  if (program.problem.sessions[i].discharge?.plannedW !== undefined) return false;
  return mayRunOnce(program, i) && !isInstalled(program, plan, i);
}

/** The plan in which some sessions have nothing. */
function without(plan: PowerPlan, sessions: readonly number[]): PowerPlan {
  return plan.map((powerW, i) => (sessions.includes(i) ? new Float64Array(powerW.length) : powerW));
}

/**
 * One run of equal power instead of what a session has, where that is better beside the others; the first in
 * order of priority and need, again and again.
 */
function singleRuns(
  program: Program,
  start: PowerPlan,
  among: readonly number[],
  maxPeriods: number,
  hasTime: () => boolean,
): PowerPlan {
  const { sessions, site } = program.problem;
  const standing = new Standing(program, start);
  const { plan } = standing;
  const order = among.toSorted(
    (a, b) => sessions[b].priority - sessions[a].priority || sessions[b].energyWh - sessions[a].energyWh,
  );
  let valuedLeft = MAX_VALUED;
  let cost = evaluate(program, plan);
  for (let round = 0, isChanged = true; round < MAX_ROUNDS && isChanged; round++) {
    isChanged = false;
    for (const i of order) {
      valuedLeft -= plan.length;
      if (valuedLeft < 0 || !hasTime()) return plan;
      const former = plan[i].slice();
      const set = (powerW: Float64Array) => {
        for (let k = 0; k < powerW.length; k++) if (plan[i][k] > 0) standing.give(i, k, -plan[i][k]);
        for (let k = 0; k < powerW.length; k++) if (powerW[k] > 0) standing.give(i, k, powerW[k]);
      };
      set(new Float64Array(former.length));
      const periods = Math.min(maxPeriods, maxPeriodsOf(site.evses[sessions[i].evse], sessions[i]));
      let best = former;
      for (const fits of [(k: number) => standing.spareW(i, k), (k: number) => standing.room.fits(i, k)]) {
        const { run, powerW } = bestRun(program, i, periods, fits);
        const other = new Float64Array(former.length).fill(powerW, run.from, run.to);
        const itsCost = evaluate(
          program,
          plan.map((own, j) => (j === i ? other : own)),
        );
        if (itsCost >= cost) continue;
        cost = itsCost;
        best = other;
        isChanged = true;
      }
      set(best);
    }
  }
  return plan;
}

import { type Charging, HOUR_MS } from "./charging.ts";
import { energyByWh } from "./delivery.ts";
import type { PowerPlan } from "./plan.ts";
import type { Problem, Session } from "./problem.ts";

// Energy that is no reason to give less.
const DUST_WH = 0.5;
// Far more than it takes until no run gives too much.
const MAX_ROUNDS = 1000;

/** What each session gives in each slot, W; undefined where it gives nothing. */
export type DischargePlan = (Float64Array | undefined)[];

/** Whether it is still open what a session gives. */
export function mayGive({ discharge }: Session): boolean {
  return discharge !== undefined && discharge.plannedW === undefined;
}

/** What of a session's powers, negative where it gives, it draws. */
export function drawnOf({ discharge }: Session, powerW: Float64Array): Float64Array {
  return discharge === undefined ? powerW : powerW.map((w) => Math.max(0, w));
}

/** Energy at the meter, Wh, that it takes to store again what a session has given by a time. */
export function givenWh(
  problem: Problem,
  charging: Charging,
  i: number,
  untilMs = Number.POSITIVE_INFINITY,
): number {
  const { battery, discharge, arrivalMs } = problem.sessions[i];
  const plannedW = discharge?.plannedW;
  if (battery === undefined || plannedW === undefined) return 0;
  const { first, hours } = charging.stays[i];
  return hours.reduce((wh, h, n) => {
    const fromMs = Math.max(problem.slotStartsMs[first + n], arrivalMs);
    const before = Math.min(h, Math.max(0, (untilMs - fromMs) / HOUR_MS));
    return wh + (plannedW[first + n] * before) / battery.efficiency ** 2;
  }, 0);
}

/** What of a session's settled need is charged for what it gives, Wh; the rest is its own. */
export function chargedAgainWh(problem: Problem, charging: Charging, i: number): number {
  const { discharge } = problem.sessions[i];
  return discharge === undefined ? 0 : Math.max(0, givenWh(problem, charging, i) - discharge.spareWh);
}

/**
 * The same problem with what each vehicle gives for good of what it has to spare, Wh, known: where that is kept
 * in its battery, or it is paid to charge, it charges again what it could have spared.
 */
export function withSpare(problem: Problem, spareWh: readonly number[]): Problem {
  const sessions = problem.sessions.map((session, i) => ({
    ...session,
    discharge: session.discharge && { ...session.discharge, spareWh: spareWh[i] },
  }));
  return { ...problem, sessions };
}

/** The same problem with what the vehicles give known in each slot: the rest is to charge them. */
export function withDischarge(problem: Problem, charging: Charging, plan: DischargePlan): Problem {
  const settled: Problem = {
    ...problem,
    sessions: problem.sessions.map((session, i) => {
      const plannedW = plan[i];
      if (session.discharge === undefined || plannedW === undefined)
        return { ...session, discharge: undefined };
      return { ...session, discharge: { ...session.discharge, plannedW } };
    }),
  };
  const sessions = settled.sessions.map((session, i) => {
    const { minimum } = session;
    if (session.discharge === undefined) return session;
    return {
      ...session,
      energyWh: session.energyWh + chargedAgainWh(settled, charging, i),
      minimum: minimum && {
        ...minimum,
        energyWh: minimum.energyWh + givenWh(settled, charging, i, minimum.byMs),
      },
    };
  });
  return { ...settled, sessions };
}

/** The problem as if no vehicle gave anything: needs are their own again. */
export function withoutDischarge(problem: Problem, charging: Charging): Problem {
  if (problem.sessions.every(({ discharge }) => discharge === undefined)) return problem;
  const sessions = problem.sessions.map((session, i) => ({
    ...session,
    energyWh: session.energyWh - chargedAgainWh(problem, charging, i),
    discharge: undefined,
  }));
  return { ...problem, sessions };
}

/**
 * What the vehicles can give beside what they charge, at most what was planned: none goes below what is
 * kept in its battery, and none misses for it what it needs when it leaves, or its minimum. Powers are
 * lowered over whole runs, the latest first where it is their sum that is too much, to whole steps, and to
 * 0 under the least.
 */
export function affordable(
  problem: Problem,
  charging: Charging,
  power: PowerPlan,
  plan: DischargePlan,
): DischargePlan {
  const lowered = plan.map((plannedW) => plannedW?.slice());
  const settled: Problem = {
    ...problem,
    sessions: problem.sessions.map((session, i) => ({
      ...session,
      discharge: session.discharge && { ...session.discharge, plannedW: lowered[i] },
    })),
  };
  return lowered.map((givesW, i) => {
    if (givesW === undefined) return undefined;
    lowerOf(settled, charging, i, power[i], givesW);
    return givesW.some((w) => w > 0) ? givesW : undefined;
  });
}

interface Run {
  from: number;
  to: number;
  hours: number;
}

/** Lowers what session i gives in place; it is what the problem holds as planned. */
function lowerOf(
  problem: Problem,
  charging: Charging,
  i: number,
  powerW: Float64Array,
  givesW: Float64Array,
): void {
  const session = problem.sessions[i];
  const { battery, discharge, minimum } = session;
  if (battery === undefined || discharge === undefined) return;
  const runs = runsOf(charging, i, givesW);
  const lower = ({ from, to, hours }: Run, byWh: number) => {
    const { stepPowerW, minPowerW } = charging.ranges[i];
    const steps = Math.floor((givesW[from] - byWh / hours) / stepPowerW + 1e-9);
    const levelW = steps * stepPowerW;
    givesW.fill(levelW < Math.max(minPowerW, stepPowerW) - 1e-6 ? 0 : levelW, from, to);
  };
  for (const run of runs) {
    const missingWh = discharge.minStoredWh - storedAtEndWh(problem, charging, i, powerW, run.to);
    if (missingWh > DUST_WH) lower(run, missingWh * battery.efficiency);
  }
  const goals = [{ atMs: Number.POSITIVE_INFINITY, needWh: session.energyWh, spareWh: discharge.spareWh }];
  if (minimum !== undefined) goals.push({ atMs: minimum.byMs, needWh: minimum.energyWh, spareWh: 0 });
  for (const { atMs, needWh, spareWh } of goals) {
    const before = runs.filter(({ from }) => problem.slotStartsMs[from] < atMs);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const chargedWh = energyByWh(problem, charging, i, powerW, atMs);
      const tooMuchWh = givenWh(problem, charging, i, atMs) - spareWh - Math.max(0, chargedWh - needWh);
      const last = before.findLast(({ from }) => givesW[from] > 0);
      if (tooMuchWh <= DUST_WH || last === undefined) break;
      lower(last, tooMuchWh * battery.efficiency ** 2);
    }
  }
}

/** Slots in which a session gives the same power, one after the other. */
function runsOf(charging: Charging, i: number, givesW: Float64Array): Run[] {
  const { first, hours } = charging.stays[i];
  const runs: Run[] = [];
  hours.forEach((h, n) => {
    const k = first + n;
    const last = runs[runs.length - 1];
    if (givesW[k] <= 0) return;
    if (last !== undefined && last.to === k && givesW[k - 1] === givesW[k]) {
      last.to = k + 1;
      last.hours += h;
    } else runs.push({ from: k, to: k + 1, hours: h });
  });
  return runs;
}

/** Stored when slot `end` begins, Wh. */
function storedAtEndWh(
  problem: Problem,
  charging: Charging,
  i: number,
  powerW: Float64Array,
  end: number,
): number {
  const { battery } = problem.sessions[i];
  if (battery === undefined) return Number.NaN;
  const atMs = problem.slotStartsMs[end];
  const chargedWh = energyByWh(problem, charging, i, powerW, atMs);
  return battery.storedWh + battery.efficiency * (chargedWh - givenWh(problem, charging, i, atMs));
}

import { type CircuitExcess, firstCircuitExcess } from "../domain/check.ts";
import type { PowerStep } from "../domain/plan.ts";
import type { Problem, Session } from "../domain/problem.ts";
import { valueAt } from "../domain/series.ts";
import { staysOf } from "../domain/stays.ts";
import { nextStepMs, withoutPlanW } from "./change.ts";
import { limitScale } from "./profile.ts";

/** The wave that a command is sent in; undefined where nothing is sent. */
export type Wave = 1 | 2 | undefined;

/** When to send each command, and where a site would first pass a limit while commands are missing. */
export interface PushOrder {
  waves: readonly Wave[];
  /** While commands of wave 1 are missing, and so none of wave 2 is sent; undefined: never. */
  wave1: CircuitExcess | undefined;
  /** While commands of wave 2 are missing, all of wave 1 being accepted; undefined: never. */
  wave2: CircuitExcess | undefined;
}

// What a caller hands back may be rounded to the milliwatt, as an answer is.
const ROUNDED_W = 1e-3;
const MOST_MOVES = 3;

/**
 * Orders the commands so that the site is safe for as long as possible while any are missing, and
 * tells for how long. Until its command is accepted a charger may hold its old profile or its new
 * one, so a vehicle counts with the higher of the two; the others of its wave's time with what they
 * surely hold. A vehicle without an installed plan draws what its charger allows anyone before its first profile.
 *
 * `emitted` has the new profiles, read back. `waves` is the order by the first difference: a command
 * that also differs the other way later changes its wave where that puts the first excess off.
 */
export function pushOrder(
  problem: Problem,
  emitted: readonly (readonly PowerStep[])[],
  waves: readonly Wave[],
): PushOrder {
  // With nothing to lower, what is missing only leaves room.
  const { evses } = problem.site;
  const draws = ({ installed, evse }: Session) => installed !== undefined || evses[evse].fallbackPowerW > 0;
  if (problem.sessions.every((session, i) => !draws(session) || waves[i] === undefined))
    return { waves, wave1: undefined, wave2: undefined };
  const installed = emitted.map((steps, i) =>
    waves[i] === undefined ? steps : installedSteps(problem, i, steps),
  );
  const highest = emitted.map((steps, i) => (waves[i] === undefined ? steps : higherOf(steps, installed[i])));
  const assess = (order: readonly Wave[]): PushOrder => ({
    waves: order,
    wave1: order.includes(1)
      ? firstCircuitExcess(
          problem,
          order.map((wave, i) => (wave === 1 ? highest[i] : installed[i])),
        )
      : undefined,
    wave2: order.includes(2)
      ? firstCircuitExcess(
          problem,
          order.map((wave, i) => (wave === 2 ? highest[i] : emitted[i])),
        )
      : undefined,
  });
  /** The order with those moved out of a wave that are higher at its excess because of the order. */
  const moved = ({ waves: order, wave1, wave2 }: PushOrder, from: 1 | 2): PushOrder | undefined => {
    const excess = from === 1 ? wave1 : wave2;
    if (excess === undefined) return undefined;
    const stays = from === 1 ? installed : emitted;
    const isInTheWay = (i: number) => powerAt(highest[i], excess.atMs) > powerAt(stays[i], excess.atMs);
    const next = order.slice();
    // The sessions of a stay are one command.
    for (const stay of staysOf(problem)) {
      if (order[stay[0]] !== from || !stay.some(isInTheWay)) continue;
      for (const i of stay) next[i] = (3 - from) as 1 | 2;
    }
    return next.every((wave, i) => wave === order[i]) ? undefined : assess(next);
  };

  const saferThan = (order: PushOrder): PushOrder | undefined => {
    for (const from of [1, 2] as const) {
      const other = moved(order, from);
      if (other !== undefined && isSaferThan(other, order)) return other;
    }
    return undefined;
  };

  let best = assess(waves);
  for (let moves = 0; moves < MOST_MOVES; moves++) {
    const safer = saferThan(best);
    if (safer === undefined) break;
    best = safer;
  }
  return best;
}

/** Whether the first excess comes later, or where it does not, the other. */
function isSaferThan(a: PushOrder, b: PushOrder): boolean {
  const times = ({ wave1, wave2 }: PushOrder) =>
    [wave1, wave2].map((excess) => excess?.atMs ?? Number.POSITIVE_INFINITY).sort((x, y) => x - y);
  const [first, second] = times(a);
  const [otherFirst, otherSecond] = times(b);
  return first > otherFirst || (first === otherFirst && second > otherSecond);
}

/**
 * What a session's charger holds until its new profile is accepted, from where that begins. The last
 * installed value holds until departure; of the time after it only what is given counts, as for
 * `changeOf`. Without an installed plan what it allows anyone holds until departure.
 */
function installedSteps(problem: Problem, i: number, emitted: readonly PowerStep[]): PowerStep[] {
  const { installed, departureMs } = problem.sessions[i];
  if (emitted.length === 0) return [];
  if (installed === undefined) {
    const powerW = withoutPlanW(problem, i);
    if (powerW === 0) return [];
    return [
      { atMs: emitted[0].atMs, powerW },
      { atMs: departureMs, powerW: 0 },
    ];
  }
  const { powerW: series } = installed;
  const { stepPowerW, safeSteps } = limitScale(problem, i);
  const wholeW = (powerW: number) => {
    const stepsW = Math.round(powerW / stepPowerW) * stepPowerW;
    return Math.abs(powerW - stepsW) <= ROUNDED_W ? stepsW : powerW;
  };
  const steps: PowerStep[] = [];
  const add = (atMs: number, powerW: number) => {
    if (steps.length === 0 || steps[steps.length - 1].powerW !== powerW) steps.push({ atMs, powerW });
  };
  for (let atMs = emitted[0].atMs; atMs < departureMs; atMs = nextStepMs(series, atMs))
    add(atMs, wholeW(valueAt(series, atMs)));
  const safeW = safeSteps * stepPowerW;
  if (problem.sessions[i].goesOn) {
    add(departureMs, safeW);
    return steps;
  }
  add(Math.max(departureMs, emitted[0].atMs), safeW);
  const firstAfter = Math.max(0, Math.ceil((departureMs - series.startMs) / series.stepMs));
  for (let n = firstAfter; n < series.values.length; n++)
    add(series.startMs + n * series.stepMs, wholeW(series.values[n]));
  add(series.startMs + Math.max(firstAfter, series.values.length) * series.stepMs, safeW);
  return steps;
}

/** The higher of two powers over time. */
function higherOf(a: readonly PowerStep[], b: readonly PowerStep[]): PowerStep[] {
  const steps: PowerStep[] = [];
  for (let x = 0, y = 0; x < a.length || y < b.length; ) {
    const atMs = Math.min(a[x]?.atMs ?? Number.POSITIVE_INFINITY, b[y]?.atMs ?? Number.POSITIVE_INFINITY);
    while (x < a.length && a[x].atMs <= atMs) x++;
    while (y < b.length && b[y].atMs <= atMs) y++;
    steps.push({ atMs, powerW: Math.max(a[x - 1]?.powerW ?? 0, b[y - 1]?.powerW ?? 0) });
  }
  return steps;
}

function powerAt(steps: readonly PowerStep[], atMs: number): number {
  return steps.findLast((step) => step.atMs <= atMs)?.powerW ?? 0;
}

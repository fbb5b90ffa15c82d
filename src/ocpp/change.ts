import type { Change, PowerPlan } from "../domain/plan.ts";
import type { Problem } from "../domain/problem.ts";
import { type Series, valueAt } from "../domain/series.ts";
import { limitScale, stayParts } from "./profile.ts";

/**
 * How a session's plan (W as its profile allows it, one value a slot) differs from what is
 * installed in the charger, and when to send it, others apart: wave 1 where the first difference is
 * a reduction, so that the room is free before anyone's increase, wave 2, takes it.
 *
 * UNCHANGED, nothing to send: the same within half a step over the whole stay, and nothing beyond
 * the safe end in what is installed for the time after it. The held last value of the installed
 * series speaks for the stay, but not for the time after departure: a plan that was handed back
 * ends with its last slot and does not show the safe end that its profile has.
 */
export function changeOf(
  problem: Problem,
  sessionIndex: number,
  powerW: Float64Array,
): { change: Change; pushWave: 1 | 2 } {
  const session = problem.sessions[sessionIndex];
  if (session.installed === undefined) return { change: "NEW", pushWave: 2 };
  const installed = session.installed.powerW;
  const { stepPowerW, safeSteps } = limitScale(problem, sessionIndex);
  const toleranceW = stepPowerW / 2;

  for (const { slot, fromMs, toMs } of stayParts(problem, session)) {
    for (let atMs = fromMs; atMs < toMs; atMs = nextStepMs(installed, atMs)) {
      const riseW = powerW[slot] - valueAt(installed, atMs);
      // Written so that an installed value that is no number counts as a difference.
      if (!(Math.abs(riseW) <= toleranceW)) return { change: "CHANGED", pushWave: riseW < 0 ? 1 : 2 };
    }
  }
  // What holds in the rest of a stay is for its next session to tell.
  if (session.goesOn) return { change: "UNCHANGED", pushWave: 2 };
  // A step across the departure is skipped: it stands for a profile that ended within it.
  const firstAfter = Math.max(0, Math.ceil((session.departureMs - installed.startMs) / installed.stepMs));
  const afterW = installed.values.subarray(firstAfter);
  if (afterW.some((valueW) => valueW > safeSteps * stepPowerW + toleranceW)) {
    return { change: "CHANGED", pushWave: 1 };
  }
  // A vehicle that stays would go on giving.
  if (afterW.some((valueW) => valueW < -toleranceW)) return { change: "CHANGED", pushWave: 2 };
  return { change: "UNCHANGED", pushWave: 2 };
}

/**
 * The same for a stay of several sessions: the first of them that differs decides. Where the charger can
 * change its phases, what is installed must be known to be on as many.
 */
export function changeOfStay(
  problem: Problem,
  stay: readonly number[],
  plan: PowerPlan,
): { change: Change; pushWave: 1 | 2 } {
  const ofParts = stay.map((i) => changeOf(problem, i, plan[i]));
  const different = ofParts.find(({ change }) => change !== "UNCHANGED");
  if (different !== undefined) return different;
  const { evse } = problem.sessions[stay[0]];
  const isSame =
    problem.site.evses[evse].maxPhaseSwitches === 0 || stay.every((i) => isOnSamePhases(problem, i, plan[i]));
  return { change: isSame ? "UNCHANGED" : "CHANGED", pushWave: 2 };
}

function isOnSamePhases(problem: Problem, i: number, powerW: Float64Array): boolean {
  const { installed, phaseCount } = problem.sessions[i];
  const known = installed?.numberPhases;
  if (known === undefined) return false;
  return stayParts(problem, problem.sessions[i]).every(({ slot, fromMs, toMs }) => {
    if (powerW[slot] === 0) return true;
    for (let atMs = fromMs; atMs < toMs; atMs = nextStepMs(known, atMs))
      if (valueAt(known, atMs) !== phaseCount) return false;
    return true;
  });
}

/** Where the value of the series may change next; Infinity once its last value holds. */
export function nextStepMs(series: Series, atMs: number): number {
  const index = Math.max(0, Math.floor((atMs - series.startMs) / series.stepMs));
  if (index >= series.values.length - 1) return Number.POSITIVE_INFINITY;
  return series.startMs + (index + 1) * series.stepMs;
}

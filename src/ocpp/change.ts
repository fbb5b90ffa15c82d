import { firstCircuitExcessMs } from "../domain/check.ts";
import type { Change, PowerStep } from "../domain/plan.ts";
import type { Problem, Session } from "../domain/problem.ts";
import { type Series, valueAt } from "../domain/series.ts";
import { limitScale, stayParts } from "./profile.ts";

/**
 * How a session's plan (W as its profile allows it, one value a slot) differs from what is
 * installed in the charger, and when to send it: wave 1 where the first difference is a
 * reduction, so that the room is free before anyone's increase, wave 2, takes it.
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
  // A step across the departure is skipped: it stands for a profile that ended within it.
  const firstAfter = Math.max(0, Math.ceil((session.departureMs - installed.startMs) / installed.stepMs));
  const afterW = installed.values.subarray(firstAfter);
  if (afterW.some((valueW) => valueW > safeSteps * stepPowerW + toleranceW)) {
    return { change: "CHANGED", pushWave: 1 };
  }
  return { change: "UNCHANGED", pushWave: 2 };
}

/** By when the commands of each push wave must be accepted, epoch ms; undefined: any time in the plan. */
export interface PushDeadlines {
  wave1Ms: number | undefined;
  wave2Ms: number | undefined;
}

/**
 * Until when a site is safe if commands are missing. Until all of wave 1 are accepted every charger
 * may hold its old profile or its new one; after that those of wave 2 still may. So each vehicle
 * counts with the higher of the two, and the deadline of a wave is the first instant at which that
 * passes a circuit's limit. A vehicle without an installed plan draws nothing before its first
 * profile. `emitted` has the new profiles, read back; `waves` undefined where nothing is sent.
 */
export function pushDeadlines(
  problem: Problem,
  emitted: readonly (readonly PowerStep[])[],
  waves: readonly (1 | 2 | undefined)[],
): PushDeadlines {
  const highest = emitted.map((steps, i) =>
    waves[i] === undefined ? steps : highestOf(steps, problem.sessions[i]),
  );
  const wave1Ms = firstCircuitExcessMs(problem, highest);
  // Nothing of wave 2 is sent before: what is safe without wave 1 is safe with it.
  const wave2Ms =
    wave1Ms === undefined
      ? undefined
      : firstCircuitExcessMs(
          problem,
          emitted.map((steps, i) => (waves[i] === 2 ? highest[i] : steps)),
        );
  return { wave1Ms, wave2Ms };
}

/** The higher of a session's new profile and its installed one at each instant of the stay. */
function highestOf(steps: readonly PowerStep[], { installed, arrivalMs, departureMs }: Session): PowerStep[] {
  if (installed === undefined || steps.length === 0) return [...steps];
  const { powerW } = installed;
  const times = new Set(steps.map(({ atMs }) => atMs));
  for (let atMs = steps[0].atMs; atMs < departureMs; atMs = nextStepMs(powerW, atMs)) times.add(atMs);
  times.add(departureMs);
  let n = -1;
  return [...times]
    .sort((a, b) => a - b)
    .map((atMs) => {
      while (n + 1 < steps.length && steps[n + 1].atMs <= atMs) n++;
      const newW = n < 0 ? 0 : steps[n].powerW;
      const oldW = atMs >= arrivalMs && atMs < departureMs ? valueAt(powerW, atMs) : 0;
      return { atMs, powerW: Math.max(newW, oldW) };
    });
}

/** Where the value of the series may change next; Infinity once its last value holds. */
function nextStepMs(series: Series, atMs: number): number {
  const index = Math.max(0, Math.floor((atMs - series.startMs) / series.stepMs));
  if (index >= series.values.length - 1) return Number.POSITIVE_INFINITY;
  return series.startMs + (index + 1) * series.stepMs;
}

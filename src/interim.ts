import type { ProfileCommand, SitePlan } from "./domain/plan.ts";
import type { Problem, Session } from "./domain/problem.ts";
import { rangeOver } from "./domain/series.ts";
import { withoutPlanW } from "./ocpp/change.ts";
import { toPayload } from "./ocpp/payload.ts";
import { stayParts, toProfile } from "./ocpp/profile.ts";

/** Rounding of what is handed back. */
const ROUNDED_W = 1e-3;

/** What a charger is told before its plan, so that it makes its room first. */
export interface InterimPlan {
  command: ProfileCommand;
  /** As its profile allows it, one value a slot. */
  powerW: Float64Array;
}

/**
 * Profiles for the chargers of a plan that are lowered at one time and raised at another, by their sessions' ids:
 * the lower of what each holds and of what is planned. Two such chargers could each pass on the room that the other
 * still holds, whichever is told first. With these in a first wave of nothing but reductions, and the plan in a second
 * of nothing but increases, no limit is passed at any later time, however long any of them is missing. None where
 * the plan's own order does that.
 */
export function interimPlans(problem: Problem, plan: SitePlan): Map<string, InterimPlan> {
  const interims = new Map<string, InterimPlan>();
  if (plan.wave1ByMs === undefined && plan.wave2ByMs === undefined) return interims;
  const { site, sessions, slotStartsMs } = problem;
  for (const { sessionId, command, powerW } of plan.sessionPlans) {
    const i = sessions.findIndex((session) => session.sessionId === sessionId);
    if (command === undefined) continue;
    const { evse, installed } = sessions[i];
    const parts = stayParts(problem, sessions[i]);
    const held = (fromMs: number, toMs: number) => {
      if (installed !== undefined) return rangeOver(installed.powerW, fromMs, toMs);
      const anyoneW = withoutPlanW(problem, i);
      return { min: anyoneW, max: anyoneW };
    };
    const isLowered =
      goesOnAfterStay(sessions[i]) ||
      parts.some(({ slot, fromMs, toMs }) => powerW[slot] < held(fromMs, toMs).max - ROUNDED_W);
    const isRaised = parts.some(
      ({ slot, fromMs, toMs }) => powerW[slot] > held(fromMs, toMs).min + ROUNDED_W,
    );
    if (!isLowered || !isRaised) continue;
    const lowerW = new Float64Array(slotStartsMs.length - 1);
    // A vehicle that may change its phases would load the others with what it draws of one.
    if (site.evses[evse].maxPhaseSwitches === 0)
      for (const { slot, fromMs, toMs } of parts)
        lowerW[slot] = Math.max(0, Math.min(powerW[slot], held(fromMs, toMs).min));
    const { profile, powerW: allowedW } = toProfile(problem, i, lowerW);
    const { ocppVersion, action } = command;
    const payloadJson = toPayload(profile, site.evses[evse]);
    const lowered = { ocppVersion, action, payloadJson, pushWave: 1 as const, chargingProfile: profile };
    interims.set(sessionId, { command: lowered, powerW: allowedW });
  }
  return interims;
}

/** Whether what a charger holds allows something after the stay as it is planned now. */
function goesOnAfterStay({ installed, departureMs }: Session): boolean {
  if (installed === undefined) return false;
  const { startMs, stepMs, values } = installed.powerW;
  // A step across the departure stands for a profile that ended within it.
  const first = Math.max(0, Math.ceil((departureMs - startMs) / stepMs));
  return values.subarray(first).some((powerW) => powerW > ROUNDED_W);
}

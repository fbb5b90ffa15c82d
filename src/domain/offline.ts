import type { Problem, Session } from "./problem.ts";
import { rangeOver } from "./series.ts";

/** Whether any session is at a charger that nothing can be sent to. */
export function hasOffline({ site, sessions }: Problem): boolean {
  return sessions.some(({ evse }) => site.evses[evse].isOffline);
}

/**
 * The problem as it is planned: sessions at chargers that are offline need nothing, as nothing can be done for
 * them. What they may draw is reserved, what their installed plans say counts as load.
 */
export function withoutOffline(problem: Problem): Problem {
  if (!hasOffline(problem)) return problem;
  const sessions = problem.sessions.map((session): Session => {
    if (!problem.site.evses[session.evse].isOffline) return session;
    return {
      ...session,
      energyWh: 0,
      battery: undefined,
      minimum: undefined,
      departureChances: [],
      discharge: undefined,
      uninterruptible: false,
    };
  });
  return { ...problem, sessions };
}

/** One session at a charger that is offline, alone and as if it were connected: what its plan means for it. */
export function aloneAndConnected(problem: Problem, i: number): Problem {
  const session = problem.sessions[i];
  const evse = { ...problem.site.evses[session.evse], isOffline: false };
  return { ...problem, site: { ...problem.site, evses: [evse] }, sessions: [{ ...session, evse: 0 }] };
}

/** Mean power of a session's installed plan over a stretch of time, W, none of it outside its stay. */
export function installedMeanW(
  { installed, arrivalMs, departureMs }: Session,
  fromMs: number,
  toMs: number,
): number {
  if (installed === undefined) return 0;
  const [from, to] = [Math.max(fromMs, arrivalMs), Math.min(toMs, departureMs)];
  return from < to ? (rangeOver(installed.powerW, from, to).mean * (to - from)) / (toMs - fromMs) : 0;
}

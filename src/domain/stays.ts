import { chargingOf } from "./charging.ts";
import { energyByWh } from "./delivery.ts";
import type { Problem, Session } from "./problem.ts";

/** A part of a stay on a number of phases, and what is charged in it. */
export interface StayPart {
  fromMs: number;
  toMs: number;
  phaseCount: number;
  energyWh: number;
}

/**
 * Sessions that are one stay, by their indices: a stay on which the number of phases changes is a session
 * for each stretch, one after the other at the same EVSE.
 */
export function staysOf({ sessions }: Problem): number[][] {
  const stays: number[][] = [];
  sessions.forEach((_, i) => {
    if (i > 0 && sessions[i - 1].goesOn) stays[stays.length - 1].push(i);
    else stays.push([i]);
  });
  return stays;
}

/** The problem with stays cut into parts of one number of phases; undefined: as it is. */
export function withParts(problem: Problem, parts: readonly (readonly StayPart[] | undefined)[]): Problem {
  const charging = chargingOf(problem);
  const sessions = problem.sessions.flatMap((session, i) => {
    const ofStay = parts[i];
    if (ofStay === undefined) return [session];
    const fullW = new Float64Array(problem.slotStartsMs.length - 1).fill(charging.ranges[i].maxPowerW);
    const mostByWh = (atMs: number) => energyByWh(problem, charging, i, fullW, atMs);
    return cut(session, ofStay, mostByWh);
  });
  return { ...problem, sessions };
}

/** `mostByWh` tells what the stay allows by a time on as many phases as the vehicle can use. */
function cut(session: Session, parts: readonly StayPart[], mostByWh: (atMs: number) => number): Session[] {
  let storedWh = session.battery?.storedWh ?? 0;
  let minimumWh = session.minimum?.energyWh ?? 0;
  // One that is due before the vehicle comes is missed in the first.
  const lastDue = Math.max(
    0,
    parts.findLastIndex(({ fromMs }) => fromMs < (session.minimum?.byMs ?? fromMs)),
  );
  // Whatever the phases, the same counts as missing: else fewer would seem better where they can do less.
  const leftWh = session.departureChances.map(({ atMs }) => Math.min(session.energyWh, mostByWh(atMs)));
  return parts.map(({ fromMs, toMs, phaseCount, energyWh }, n) => {
    const { battery, minimum } = session;
    const before = storedWh;
    storedWh += energyWh * (battery?.efficiency ?? 1);
    const dueWh = n < lastDue ? Math.min(minimumWh, energyWh) : minimumWh;
    minimumWh -= dueWh;
    const departureChances = session.departureChances.map((chance, c) => {
      const ofPartWh = Math.min(leftWh[c], energyWh);
      leftWh[c] -= ofPartWh;
      return { ...chance, dueWh: ofPartWh };
    });
    return {
      ...session,
      arrivalMs: fromMs,
      departureMs: toMs,
      phaseCount,
      energyWh,
      battery: battery && { ...battery, storedWh: Math.min(before, battery.capacityWh) },
      departureChances,
      minimum:
        minimum === undefined || n > lastDue || dueWh <= 0
          ? undefined
          : { energyWh: dueWh, byMs: Math.min(minimum.byMs, toMs) },
      goesOn: n + 1 < parts.length,
    };
  });
}

/** The problem with each stay as one session again, on as many phases as its vehicle can use. */
export function withWholeStays(problem: Problem): Problem {
  if (!problem.sessions.some(({ goesOn }) => goesOn)) return problem;
  const sessions = staysOf(problem).map((parts): Session => {
    const ofStay = parts.map((i) => problem.sessions[i]);
    const [first] = ofStay;
    const last = ofStay[ofStay.length - 1];
    const minima = ofStay.flatMap(({ minimum }) => (minimum === undefined ? [] : [minimum]));
    return {
      ...first,
      departureMs: last.departureMs,
      energyWh: ofStay.reduce((wh, { energyWh }) => wh + energyWh, 0),
      phaseCount: Math.max(...ofStay.map(({ phaseCount }) => phaseCount)),
      minimum:
        minima.length === 0
          ? undefined
          : {
              energyWh: minima.reduce((wh, { energyWh }) => wh + energyWh, 0),
              byMs: minima[minima.length - 1].byMs,
            },
      goesOn: false,
    };
  });
  return { ...problem, sessions };
}

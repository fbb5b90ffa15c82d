import type { Phase, Problem, Session, Site } from "./problem.ts";
import { voltagesOf, wattsPerAmpere } from "./wiring.ts";

/** Milliseconds in an hour. */
export const HOUR_MS = 3_600_000;

/**
 * The powers that a session's charging profile can express: 0 (unless floorPowerW is above it)
 * or any multiple of stepPowerW from minPowerW to maxPowerW. All W, summed over the phases.
 */
export interface ChargingRange {
  /** Grid phases that the vehicle draws from, evenly; all three on DC, both lines where it hangs between two. */
  phases: Phase[];
  minPowerW: number;
  /** 0 where the vehicle can't charge at all, its minimum being above its maximum. */
  maxPowerW: number;
  stepPowerW: number;
  /** The lowest power while the vehicle is there: the minimum where the charger rejects 0. */
  floorPowerW: number;
  /** Highest power out of the vehicle; 0 where it is only charged. The least is minPowerW there, too. */
  maxDischargePowerW: number;
}

// Products like 0.1 A x 230 V x 3 are off by an ulp; this much of a step is not a step.
const STEP_TOLERANCE = 1e-9;

/** The powers that a session can be told, from the limits of its EVSE and its vehicle. */
export function chargingRange(
  site: Pick<Site, "circuits" | "evses" | "nominalVoltageV">,
  session: Session,
): ChargingRange {
  const evse = site.evses[session.evse];
  const phases = evse.supply === "AC" ? evse.phases.slice(0, session.phaseCount) : evse.phases;
  const unitW = wattsPerAmpere(voltagesOf(site)[evse.circuit], evse.supply, phases);
  let maxPowerW = Math.min(evse.maxPowerW, session.maxPowerW);
  let minPowerW = evse.minPowerW;
  if (evse.supply !== "DC") {
    maxPowerW = Math.min(maxPowerW, Math.min(evse.maxCurrentA, session.maxCurrentA) * unitW);
    minPowerW = Math.max(minPowerW, Math.max(evse.minCurrentA, session.minCurrentA) * unitW);
  }
  const stepPowerW = evse.ocpp.limitStep * (evse.ocpp.rateUnit === "A" ? unitW : 1);
  // Without a minimum, the least that a charger that rejects 0 can be told is one step.
  const leastSteps = evse.ocpp.rejectsZeroLimit ? 1 : 0;
  const minSteps = Math.max(Math.ceil(minPowerW / stepPowerW - STEP_TOLERANCE), leastSteps);
  const maxSteps = Math.floor(maxPowerW / stepPowerW + STEP_TOLERANCE);
  const canCharge = maxSteps >= minSteps;
  const min = canCharge ? minSteps * stepPowerW : 0;
  const unitMaxW = evse.supply === "DC" ? Number.POSITIVE_INFINITY : unitW;
  const givesW = Math.min(
    session.discharge?.maxPowerW ?? 0,
    evse.maxDischargePowerW,
    Math.min(evse.maxCurrentA, session.maxCurrentA) * unitMaxW,
  );
  const giveSteps = Math.floor(givesW / stepPowerW + STEP_TOLERANCE);
  return {
    phases,
    minPowerW: min,
    maxPowerW: canCharge ? maxSteps * stepPowerW : 0,
    stepPowerW,
    floorPowerW: evse.ocpp.rejectsZeroLimit ? min : 0,
    maxDischargePowerW: giveSteps >= minSteps ? giveSteps * stepPowerW : 0,
  };
}

/** The slots in which a session is present: first .. end - 1, and for how long in each. */
export interface Stay {
  first: number;
  end: number;
  /** Hours of presence in slot first + n. */
  hours: Float64Array;
}

/** Presence of a session in each slot; empty when it never overlaps one. */
export function stayOf(session: Session, slotStartsMs: readonly number[]): Stay {
  const slotCount = slotStartsMs.length - 1;
  const first = slotAt(slotStartsMs, session.arrivalMs);
  let end = first;
  while (end < slotCount && Math.max(slotStartsMs[end], session.arrivalMs) < session.departureMs) end++;
  const hours = new Float64Array(end - first);
  for (let k = first; k < end; k++) {
    const from = Math.max(session.arrivalMs, slotStartsMs[k]);
    const to = Math.min(session.departureMs, slotStartsMs[k + 1]);
    hours[k - first] = Math.max(0, to - from) / HOUR_MS;
  }
  return { first, end, hours };
}

/** Index of the slot that holds an instant: 0 before the first, the slot count after the last. */
export function slotAt(slotStartsMs: readonly number[], atMs: number): number {
  let low = 0;
  let high = slotStartsMs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (slotStartsMs[middle + 1] <= atMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Ranges and stays of all sessions: what the planning stages all need. */
export interface Charging {
  ranges: ChargingRange[];
  stays: Stay[];
  /** Session indices present in each slot, in request order. */
  present: number[][];
}

/**
 * Ranges, stays and presence of all sessions of a problem. A session at a charger that is offline can't be
 * planned: it has no slots.
 */
export function chargingOf(problem: Problem): Charging {
  const ranges = problem.sessions.map((session) => chargingRange(problem.site, session));
  const stays = problem.sessions.map((session) => {
    const stay = stayOf(session, problem.slotStartsMs);
    const { isOffline } = problem.site.evses[session.evse];
    return isOffline ? { first: stay.first, end: stay.first, hours: new Float64Array(0) } : stay;
  });
  const present: number[][] = Array.from({ length: problem.slotStartsMs.length - 1 }, () => []);
  stays.forEach((stay, i) => {
    for (let k = stay.first; k < stay.end; k++) present[k].push(i);
  });
  return { ranges, stays, present };
}

import type { Charging } from "../../src/domain/charging.ts";
import type { PowerPlan, PowerStep } from "../../src/domain/plan.ts";
import type { Phase, Problem, Session } from "../../src/domain/problem.ts";
import type { Series } from "../../src/domain/series.ts";

/** One comparison of the slow checker: `value` must not be above `allowed`; both in W. */
export interface Comparison {
  limit: string;
  atMs: number;
  value: number;
  allowed: number;
}

/** What a charger is told by a plan, one step a slot, safe from departure on. No merging, no rounding. */
export function stepsOf(problem: Problem, charging: Charging, plan: PowerPlan): PowerStep[][] {
  const startMs = problem.slotStartsMs[0];
  return problem.sessions.map((session, i) => {
    const { first, end } = charging.stays[i];
    const steps: PowerStep[] = [];
    for (let k = first; k < end; k++)
      steps.push({ atMs: Math.max(problem.slotStartsMs[k], session.arrivalMs), powerW: plan[i][k] });
    const restMs = Math.max(session.departureMs, session.arrivalMs, startMs);
    const rejectsZero = problem.site.evses[session.evse].ocpp.rejectsZeroLimit;
    steps.push({ atMs: restMs, powerW: rejectsZero ? leastToldPowerW(problem, session) : 0 });
    return steps;
  });
}

/** Every comparison that a plan has to pass, made afresh from the request's numbers at every instant that matters. */
export function compareAll(problem: Problem, emitted: readonly (readonly PowerStep[])[]): Comparison[] {
  const found: Comparison[] = [];
  for (const atMs of instantsOf(problem, emitted)) {
    problem.sessions.forEach((session, i) => {
      compareSession(problem, session, emitted[i], atMs, found);
    });
    const startMs = problem.slotStartsMs[0];
    const endMs = problem.slotStartsMs[problem.slotStartsMs.length - 1];
    if (atMs >= startMs && atMs < endMs) compareCircuits(problem, emitted, atMs, found);
  }
  problem.sessions.forEach((session, i) => {
    if (!session.uninterruptible) return;
    const starts = emitted[i].filter(
      ({ powerW }, n) => powerW > 0 && !(n > 0 && emitted[i][n - 1].powerW > 0),
    );
    found.push({
      limit: `session ${session.sessionId}: blocks`,
      atMs: session.arrivalMs,
      value: starts.length,
      allowed: 1,
    });
  });
  return found;
}

/** The first instant at which each limit is passed by more than a milliwatt. */
export function firstExcesses(comparisons: readonly Comparison[]): Map<string, number> {
  const first = new Map<string, number>();
  for (const { limit, atMs, value, allowed } of comparisons) {
    if (value <= allowed + 1e-3) continue;
    first.set(limit, Math.min(atMs, first.get(limit) ?? Number.POSITIVE_INFINITY));
  }
  return first;
}

/** Every instant at which a power, a limit or a base load may change. */
function instantsOf(problem: Problem, emitted: readonly (readonly PowerStep[])[]): number[] {
  const instants = new Set(problem.slotStartsMs);
  for (const steps of emitted) for (const { atMs } of steps) instants.add(atMs);
  for (const { arrivalMs, departureMs } of problem.sessions) instants.add(arrivalMs).add(departureMs);
  for (const { maxPowerSeriesW, baseLoadW, baseLoadA } of problem.site.circuits) {
    for (const series of [maxPowerSeriesW, baseLoadW, ...baseLoadA]) {
      series?.values.forEach((_, n) => {
        instants.add(series.startMs + n * series.stepMs);
      });
    }
  }
  return [...instants].sort((a, b) => a - b);
}

function at(series: Series, atMs: number): number {
  let value = series.values[0];
  for (let n = 1; n < series.values.length && series.startMs + n * series.stepMs <= atMs; n++)
    value = series.values[n];
  return value;
}

function powerAt(steps: readonly PowerStep[], atMs: number): number {
  let powerW = 0;
  for (const step of steps) if (step.atMs <= atMs) powerW = step.powerW;
  return powerW;
}

function phasesOf(problem: Problem, session: Session): Phase[] {
  const { supply, phases } = problem.site.evses[session.evse];
  return supply === "DC" ? [1, 2, 3] : phases.slice(0, session.phaseCount);
}

/** Power, W, below which the vehicle or its charger does not work. */
export function lowestPowerW(problem: Problem, session: Session): number {
  const evse = problem.site.evses[session.evse];
  const perAmpereW = problem.site.nominalVoltageV * phasesOf(problem, session).length;
  const lowest = [evse.minPowerW];
  if (evse.supply === "AC") lowest.push(evse.minCurrentA * perAmpereW, session.minCurrentA * perAmpereW);
  return Math.max(...lowest);
}

/** The lowest whole step, W, that is not below the lowest usable power. */
function leastToldPowerW(problem: Problem, session: Session): number {
  const { limitStep, rateUnit } = problem.site.evses[session.evse].ocpp;
  const perAmpereW = problem.site.nominalVoltageV * phasesOf(problem, session).length;
  const stepW = rateUnit === "A" ? limitStep * perAmpereW : limitStep;
  const lowestW = lowestPowerW(problem, session);
  let steps = 1;
  while (steps * stepW < lowestW - 1e-6) steps++;
  return steps * stepW;
}

function compareSession(
  problem: Problem,
  session: Session,
  steps: readonly PowerStep[],
  atMs: number,
  found: Comparison[],
): void {
  const evse = problem.site.evses[session.evse];
  const powerW = powerAt(steps, atMs);
  const isTold = steps.length > 0 && steps[0].atMs <= atMs;
  const isThere = atMs >= session.arrivalMs && atMs < session.departureMs;
  const note = (limit: string, value: number, allowed: number) => {
    found.push({ limit: `session ${session.sessionId}: ${limit}`, atMs, value, allowed });
  };
  if (!isTold) {
    if (isThere && atMs >= problem.slotStartsMs[0]) note("without a profile", evse.maxPowerW, 0);
    return;
  }
  const perAmpereW = problem.site.nominalVoltageV * phasesOf(problem, session).length;
  const rejectsZero = evse.ocpp.rejectsZeroLimit;
  if (evse.supply === "AC") {
    note("EVSE current", powerW, evse.maxCurrentA * perAmpereW);
    note("vehicle current", powerW, session.maxCurrentA * perAmpereW);
  }
  note("EVSE power", powerW, evse.maxPowerW);
  note("vehicle power", powerW, session.maxPowerW);
  note("below 0", 0, powerW);
  if (rejectsZero) note("minimum", leastToldPowerW(problem, session), powerW);
  else if (powerW !== 0) note("minimum", lowestPowerW(problem, session), powerW);
  if (atMs < session.arrivalMs) note("before arrival", powerW, 0);
  if (atMs >= session.departureMs)
    note("after departure", powerW, rejectsZero ? leastToldPowerW(problem, session) : 0);
}

function compareCircuits(
  problem: Problem,
  emitted: readonly (readonly PowerStep[])[],
  atMs: number,
  found: Comparison[],
): void {
  const { circuits, evses, nominalVoltageV } = problem.site;
  const isBelow = (c: number, top: number): boolean =>
    c === top || (c > 0 && isBelow(circuits[c].parent, top));
  circuits.forEach((circuit, top) => {
    // [all phases in W, L1 in A, L2 in A, L3 in A]
    const base = [0, 0, 0, 0];
    circuits.forEach(({ baseLoadW, baseLoadA }, c) => {
      if (!isBelow(c, top)) return;
      const totalW = baseLoadW === undefined ? 0 : at(baseLoadW, atMs);
      let sumW = 0;
      baseLoadA.forEach((series, p) => {
        const currentA = series === undefined ? totalW / (3 * nominalVoltageV) : at(series, atMs);
        base[p + 1] += currentA;
        sumW += currentA * nominalVoltageV;
      });
      base[0] += Math.max(totalW, sumW);
    });
    for (const { circuit: c, uncontrolledPowerW, phases } of evses) {
      if (uncontrolledPowerW === undefined || !isBelow(c, top)) continue;
      base[0] += uncontrolledPowerW;
      for (const p of phases) base[p] += uncontrolledPowerW / (nominalVoltageV * phases.length);
    }
    const drawn = [0, 0, 0, 0];
    const held = [0, 0, 0, 0];
    problem.sessions.forEach((session, i) => {
      const { circuit: c, ocpp } = evses[session.evse];
      if (!isBelow(c, top)) return;
      // The charger forgets a departed vehicle's profile when the next one arrives.
      const isReplaced = problem.sessions.some(
        (next) =>
          next.evse === session.evse && next.arrivalMs >= session.departureMs && next.arrivalMs <= atMs,
      );
      const powerW = isReplaced ? 0 : powerAt(emitted[i], atMs);
      const phases = phasesOf(problem, session);
      const leastW = ocpp.rejectsZeroLimit ? Math.min(powerW, leastToldPowerW(problem, session)) : 0;
      drawn[0] += powerW;
      held[0] += leastW;
      for (const p of phases) {
        drawn[p] += powerW / (nominalVoltageV * phases.length);
        held[p] += leastW / (nominalVoltageV * phases.length);
      }
    });
    const limitW = Math.min(
      circuit.maxPowerW,
      circuit.maxPowerSeriesW === undefined ? Number.POSITIVE_INFINITY : at(circuit.maxPowerSeriesW, atMs),
    );
    [limitW, circuit.maxCurrentA, circuit.maxCurrentA, circuit.maxCurrentA].forEach((limit, q) => {
      if (limit === Number.POSITIVE_INFINITY) return;
      // Neither base load nor what a charger that rejects 0 holds on to is the plan's to give back.
      const allowed = Math.max(limit - base[q], held[q]);
      const unitW = q === 0 ? 1 : nominalVoltageV;
      const name = q === 0 ? "" : ` L${q}`;
      found.push({
        limit: `circuit ${circuit.circuitId}${name}`,
        atMs,
        value: drawn[q] * unitW,
        allowed: allowed * unitW,
      });
    });
  });
}

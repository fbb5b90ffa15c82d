import type { PowerStep } from "./plan.ts";
import type { Circuit, Problem, Session } from "./problem.ts";
import { type Series, valueAt } from "./series.ts";

/** A limit that emitted profiles would pass. */
export interface Excess {
  /** What is passed: `circuit grid`, `circuit grid L2`, `session a: EVSE current`, ... */
  limit: string;
  atMs: number;
  value: number;
  allowed: number;
  unit: "W" | "A";
}

/** What `check` found; `checks` counts the single comparisons made. */
export interface CheckReport {
  excesses: Excess[];
  checks: number;
}

// A milliwatt: far under any meter, far over what adding doubles can be off.
const TOLERANCE_W = 1e-3;
const MAX_EXCESSES = 20;

/**
 * Tests what chargers were told against every limit of the request, at every instant at which
 * anything changes: EVSE and vehicle limits, 0 or at least the minimum (no 0 where the charger
 * rejects it), a limit from the start of the stay on and none that outlives it, one block for
 * vehicles that can't be paused, and each circuit's power and current on each phase. `emitted`
 * has one list of steps a session, read back from its payload, in order of time.
 * Works on the request's own numbers and shares no code with the model.
 */
export function check(problem: Problem, emitted: readonly (readonly PowerStep[])[]): CheckReport {
  const report: CheckReport = { excesses: [], checks: 0 };
  const note = (limit: string, atMs: number, value: number, allowed: number, unit: "W" | "A") => {
    report.checks++;
    if (isWithin(problem, value, allowed, unit)) return;
    if (report.excesses.length < MAX_EXCESSES) report.excesses.push({ limit, atMs, value, allowed, unit });
  };
  problem.sessions.forEach((session, i) => {
    checkSession(problem, session, emitted[i], note);
  });
  checkCircuits(problem, emitted, note);
  return report;
}

/**
 * Tests a battery's plan, W in each slot, positive into it, beside what the vehicles may draw: its
 * powers, the energy stored in it, and every limit above it while it charges. Its discharge counts for
 * nothing there.
 */
export function checkBattery(
  problem: Problem,
  batteryW: Float64Array,
  sessionPlans: readonly { powerW: Float64Array }[],
): Excess[] {
  const { battery, circuits, nominalVoltageV } = problem.site;
  if (battery === undefined) return [];
  const excesses: Excess[] = [];
  const starts = problem.slotStartsMs;
  const note = (limit: string, atMs: number, value: number, allowed: number, unit: "W" | "A") => {
    if (!isWithin(problem, value, allowed, unit) && excesses.length < MAX_EXCESSES)
      excesses.push({ limit, atMs, value, allowed, unit });
  };
  let storedWh = battery.storedWh;
  for (let k = 0; k < batteryW.length; k++) {
    const atMs = starts[k];
    const hours = (starts[k + 1] - atMs) / 3_600_000;
    const w = batteryW[k];
    note("battery: charging", atMs, w, battery.maxChargePowerW, "W");
    note("battery: discharging", atMs, -w, battery.maxDischargePowerW, "W");
    storedWh += hours * (w > 0 ? w * battery.efficiency : w / battery.efficiency);
    note("battery: full", atMs, storedWh, battery.capacityWh, "W");
    if (w < 0) note("battery: empty", atMs, -storedWh, -battery.minStoredWh, "W");
    if (w <= 0) continue;
    const drawn = circuits.map(() => [0, 0, 0, 0]);
    const add = (circuit: number, powerW: number, lines: readonly number[]) => {
      for (let c = circuit; c >= 0; c = circuits[c].parent) {
        drawn[c][0] += powerW;
        for (const line of lines) drawn[c][line] += powerW / lines.length / nominalVoltageV;
      }
    };
    sessionPlans.forEach(({ powerW }, i) => {
      const session = problem.sessions[i];
      add(problem.site.evses[session.evse].circuit, powerW[k], wiring(problem, session).lines);
    });
    for (const evse of problem.site.evses) add(evse.circuit, evse.uncontrolledPowerW ?? 0, evse.phases);
    add(battery.circuit, w, [1, 2, 3]);
    const times = [atMs];
    for (const { maxPowerSeriesW, baseLoadW, baseLoadA } of circuits) {
      for (const series of [maxPowerSeriesW, baseLoadW, ...baseLoadA])
        times.push(...changesOf(series, atMs, starts[k + 1]));
    }
    for (const at of times) {
      const base = baseLoadAt(problem, at);
      for (let c = battery.circuit; c >= 0; c = circuits[c].parent) {
        limitsAt(circuits[c], at).forEach((allowed, q) => {
          const where = q === 0 ? "" : ` L${q}`;
          note(
            `circuit ${circuits[c].circuitId}${where} with the battery`,
            at,
            drawn[c][q] + base[c][q],
            allowed,
            q === 0 ? "W" : "A",
          );
        });
      }
    }
  }
  return excesses;
}

/** Where and when powers would first pass a circuit's limit. */
export interface CircuitExcess {
  /** `circuit grid`, `circuit grid L2` */
  limit: string;
  atMs: number;
}

/** The first excess of a circuit's limit, whatever else the powers do; undefined where there is none. */
export function firstCircuitExcess(
  problem: Problem,
  drawn: readonly (readonly PowerStep[])[],
): CircuitExcess | undefined {
  let first: CircuitExcess | undefined;
  checkCircuits(problem, drawn, (limit, atMs, value, allowed, unit) => {
    if (isWithin(problem, value, allowed, unit)) return;
    if (first === undefined || atMs < first.atMs) first = { limit, atMs };
  });
  return first;
}

function isWithin(problem: Problem, value: number, allowed: number, unit: "W" | "A"): boolean {
  return value <= allowed + (unit === "W" ? TOLERANCE_W : TOLERANCE_W / problem.site.nominalVoltageV);
}

type Note = (limit: string, atMs: number, value: number, allowed: number, unit: "W" | "A") => void;

/** Grid phases that a session's current flows on, and watts for an ampere on each. */
function wiring(problem: Problem, session: Session): { lines: number[]; wattsPerAmpere: number } {
  const evse = problem.site.evses[session.evse];
  const lines = evse.supply === "AC" ? evse.phases.slice(0, session.phaseCount) : [1, 2, 3];
  return { lines, wattsPerAmpere: lines.length * problem.site.nominalVoltageV };
}

function lowestUsableW(problem: Problem, session: Session): number {
  const evse = problem.site.evses[session.evse];
  if (evse.supply === "DC") return evse.minPowerW;
  const minimumA = Math.max(evse.minCurrentA, session.minCurrentA);
  return Math.max(evse.minPowerW, minimumA * wiring(problem, session).wattsPerAmpere);
}

/** What a charger that rejects 0 is told at the least: the lowest usable power, up to a whole step. */
function leastToldW(problem: Problem, session: Session): number {
  const { ocpp } = problem.site.evses[session.evse];
  const stepW = ocpp.limitStep * (ocpp.rateUnit === "A" ? wiring(problem, session).wattsPerAmpere : 1);
  return Math.max(1, Math.ceil(lowestUsableW(problem, session) / stepW - 1e-6)) * stepW;
}

function checkSession(problem: Problem, session: Session, steps: readonly PowerStep[], note: Note): void {
  const evse = problem.site.evses[session.evse];
  const { wattsPerAmpere } = wiring(problem, session);
  const { rejectsZeroLimit } = evse.ocpp;
  const leastW = rejectsZeroLimit ? leastToldW(problem, session) : lowestUsableW(problem, session);
  const name = `session ${session.sessionId}`;
  let blocks = 0;
  let wasOn = false;
  // Until its first step another profile is in force, or none: the charger may give all it can.
  const fromMs = Math.max(session.arrivalMs, problem.slotStartsMs[0]);
  if (fromMs < Math.min(session.departureMs, steps[0]?.atMs ?? Number.POSITIVE_INFINITY))
    note(`${name}: without a profile`, fromMs, evse.maxPowerW, 0, "W");
  steps.forEach(({ atMs, powerW }, n) => {
    const endMs = n + 1 < steps.length ? steps[n + 1].atMs : Number.POSITIVE_INFINITY;
    if (evse.supply === "AC") {
      note(`${name}: EVSE current`, atMs, powerW / wattsPerAmpere, evse.maxCurrentA, "A");
      note(`${name}: vehicle current`, atMs, powerW / wattsPerAmpere, session.maxCurrentA, "A");
    }
    note(`${name}: EVSE power`, atMs, powerW, evse.maxPowerW, "W");
    note(`${name}: vehicle power`, atMs, powerW, session.maxPowerW, "W");
    note(`${name}: below 0`, atMs, -powerW, 0, "W");
    if (powerW !== 0 || rejectsZeroLimit) note(`${name}: minimum`, atMs, leastW, powerW, "W");
    if (atMs < session.arrivalMs) note(`${name}: before arrival`, atMs, powerW, 0, "W");
    if (endMs > session.departureMs) {
      const restW = rejectsZeroLimit ? leastW : 0;
      note(`${name}: after departure`, Math.max(atMs, session.departureMs), powerW, restW, "W");
    }
    if (powerW > 0 && !wasOn) blocks++;
    wasOn = powerW > 0;
  });
  if (session.uninterruptible) note(`${name}: blocks`, session.arrivalMs, blocks, 1, "W");
}

interface Event {
  atMs: number;
  /** Session whose power changes to powerW, or -1 for a change of a limit or base load. */
  session: number;
  powerW: number;
}

function checkCircuits(problem: Problem, emitted: readonly (readonly PowerStep[])[], note: Note): void {
  const { circuits, evses } = problem.site;
  const startMs = problem.slotStartsMs[0];
  const endMs = problem.slotStartsMs[problem.slotStartsMs.length - 1];
  const events: Event[] = [{ atMs: startMs, session: -1, powerW: 0 }];
  emitted.forEach((steps, i) => {
    const { evse, departureMs } = problem.sessions[i];
    // The next vehicle at the EVSE brings a transaction and a profile of its own.
    let nextMs = Number.POSITIVE_INFINITY;
    for (const other of problem.sessions) {
      if (other.evse === evse && other.arrivalMs >= departureMs) nextMs = Math.min(nextMs, other.arrivalMs);
    }
    for (const { atMs, powerW } of steps) if (atMs < nextMs) events.push({ atMs, session: i, powerW });
    if (nextMs < endMs && steps.length > 0) events.push({ atMs: nextMs, session: i, powerW: 0 });
  });
  for (const circuit of circuits) {
    for (const series of [circuit.maxPowerSeriesW, circuit.baseLoadW, ...circuit.baseLoadA]) {
      for (const atMs of changesOf(series, startMs, endMs)) events.push({ atMs, session: -1, powerW: 0 });
    }
  }
  events.sort((a, b) => a.atMs - b.atMs);

  const planned = circuits.map(() => [0, 0, 0, 0]);
  const drawnW = new Float64Array(problem.sessions.length);
  const heldW = heldByZeroRejecting(problem);
  const uncontrolled = circuits.map(() => [0, 0, 0, 0]);
  for (const evse of evses) {
    const powerW = evse.uncontrolledPowerW ?? 0;
    for (let c = evse.circuit; c >= 0; c = circuits[c].parent) {
      uncontrolled[c][0] += powerW;
      for (const line of evse.phases) {
        uncontrolled[c][line] += powerW / evse.phases.length / problem.site.nominalVoltageV;
      }
    }
  }
  for (let n = 0; n < events.length; ) {
    const { atMs } = events[n];
    const touched = new Set<number>();
    for (; n < events.length && events[n].atMs === atMs; n++) {
      const { session, powerW } = events[n];
      if (session < 0) {
        for (let c = 0; c < circuits.length; c++) touched.add(c);
        continue;
      }
      const { lines, wattsPerAmpere } = wiring(problem, problem.sessions[session]);
      const changeW = powerW - drawnW[session];
      drawnW[session] = powerW;
      for (let c = evses[problem.sessions[session].evse].circuit; c >= 0; c = circuits[c].parent) {
        planned[c][0] += changeW;
        for (const line of lines) planned[c][line] += changeW / wattsPerAmpere;
        touched.add(c);
      }
    }
    if (atMs >= endMs) continue;
    const base = baseLoadAt(problem, atMs);
    for (const c of touched) {
      const allowed = limitsAt(circuits[c], atMs);
      const held = heldW(c, drawnW);
      planned[c].forEach((value, q) => {
        if (allowed[q] === Number.POSITIVE_INFINITY) return;
        // Base load over a limit leaves no room, and is not the plan's doing.
        const room = Math.max(allowed[q] - base[c][q] - uncontrolled[c][q], held[q]);
        const where = q === 0 ? "" : ` L${q}`;
        note(`circuit ${circuits[c].circuitId}${where}`, atMs, value, room, q === 0 ? "W" : "A");
      });
    }
  }
}

function limitsAt(circuit: Circuit, atMs: number): number[] {
  const { maxPowerW, maxPowerSeriesW, maxCurrentA } = circuit;
  const overTimeW = maxPowerSeriesW === undefined ? maxPowerW : valueAt(maxPowerSeriesW, atMs);
  return [Math.min(maxPowerW, overTimeW), maxCurrentA, maxCurrentA, maxCurrentA];
}

/** Base load of each circuit with what hangs below it: W, and A on L1 to L3. */
function baseLoadAt(problem: Problem, atMs: number): number[][] {
  const { circuits, nominalVoltageV } = problem.site;
  const sums = circuits.map(({ baseLoadW, baseLoadA }) => {
    const powerW = baseLoadW === undefined ? 0 : valueAt(baseLoadW, atMs);
    const evenA = powerW / nominalVoltageV / 3;
    const lines = baseLoadA.map((series) => (series === undefined ? evenA : valueAt(series, atMs)));
    return [Math.max(powerW, (lines[0] + lines[1] + lines[2]) * nominalVoltageV), ...lines];
  });
  for (let c = circuits.length - 1; c > 0; c--) {
    sums[c].forEach((value, q) => {
      sums[circuits[c].parent][q] += value;
    });
  }
  return sums;
}

/** What vehicles at chargers that reject 0 draw at the least, by circuit: no plan can take it away. */
function heldByZeroRejecting(problem: Problem): (circuit: number, drawnW: Float64Array) => number[] {
  const { circuits, evses } = problem.site;
  const below: number[][] = circuits.map(() => []);
  problem.sessions.forEach((session, i) => {
    if (!evses[session.evse].ocpp.rejectsZeroLimit) return;
    for (let c = evses[session.evse].circuit; c >= 0; c = circuits[c].parent) below[c].push(i);
  });
  return (circuit, drawnW) => {
    const held = [0, 0, 0, 0];
    for (const i of below[circuit]) {
      if (drawnW[i] === 0) continue;
      const session = problem.sessions[i];
      const { lines, wattsPerAmpere } = wiring(problem, session);
      const leastW = Math.min(drawnW[i], leastToldW(problem, session));
      held[0] += leastW;
      for (const line of lines) held[line] += leastW / wattsPerAmpere;
    }
    return held;
  };
}

function changesOf(series: Series | undefined, fromMs: number, toMs: number): number[] {
  if (series === undefined) return [];
  const times: number[] = [];
  for (let n = 1; n < series.values.length; n++) {
    const atMs = series.startMs + n * series.stepMs;
    if (atMs > fromMs && atMs < toMs && series.values[n] !== series.values[n - 1]) times.push(atMs);
  }
  return times;
}

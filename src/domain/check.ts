import type { PowerPlan, PowerStep } from "./plan.ts";
import type { Evse, Phase, Problem, Session, Site } from "./problem.ts";
import { type Series, valueAt } from "./series.ts";
import { storedAfter } from "./taper.ts";

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
// Of energy stored in a vehicle: far under what is known of it.
const STORED_DUST_WH = 1;

/**
 * Tests what chargers were told against every limit of the request, at every instant at which
 * anything changes: EVSE and vehicle limits, 0 or at least the minimum (no 0 where the charger
 * rejects it), a limit from the start of the stay on and none that outlives it, one block for
 * vehicles that can't be paused, the energy stored in those that give, and each circuit's power and current
 * on each phase, by phasors and whatever part of the vehicles draws less than it may, beside what is reserved
 * for vehicles that no plan is known of, and whatever flows back while nothing else draws. `emitted`
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
  const wired = wiringOf(problem);
  problem.sessions.forEach((session, i) => {
    // Nothing is sent there.
    if (problem.site.evses[session.evse].isOffline) return;
    checkSession(problem, session, wired[i].wattsPerAmpere, emitted[i], note);
  });
  checkCircuits(problem, wired, emitted, note);
  return report;
}

/**
 * Tests a battery's plan, W in each slot, positive into it, beside what the vehicles may draw: its
 * powers, the energy stored in it, and every limit above it, whether power flows in or back. What flows
 * back makes no room.
 */
export function checkBattery(problem: Problem, batteryW: Float64Array, plan: PowerPlan): Excess[] {
  const { battery } = problem.site;
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
  }
  const { site, vehicle } = batteryAsVehicle(problem, battery.circuit);
  const beside = { ...problem, site, sessions: [...problem.sessions, vehicle] };
  const stepsOf = (powerW: Float64Array, { arrivalMs, departureMs }: Session): PowerStep[] => {
    const steps: PowerStep[] = [];
    for (let k = 0; k < powerW.length; k++) {
      const atMs = Math.max(starts[k], arrivalMs);
      if (atMs < Math.min(starts[k + 1], departureMs)) steps.push({ atMs, powerW: powerW[k] });
    }
    return [...steps, { atMs: departureMs, powerW: 0 }];
  };
  const drawn = [...plan, batteryW].map((powerW, i) => stepsOf(powerW, beside.sessions[i]));
  checkCircuits(beside, wiringOf(beside), drawn, note);
  return excesses;
}

/**
 * Tests what chargers allow vehicles that no plan is known of, W by EVSE, all at once: their own limits, and each
 * circuit's as far as the request tells, beside chargers that are offline and a battery that charges as fast as it
 * can, whichever of its phases each vehicle draws from.
 */
export function checkFallback(problem: Problem, levelsW: readonly (number | undefined)[]): Excess[] {
  const excesses: Excess[] = [];
  const { site, slotStartsMs } = problem;
  const startMs = slotStartsMs[0];
  const note = (limit: string, atMs: number, value: number, allowed: number, unit: "W" | "A") => {
    if (!isWithin(problem, value, allowed, unit) && excesses.length < MAX_EXCESSES)
      excesses.push({ limit: `fallback: ${limit}`, atMs, value, allowed, unit });
  };
  let endMs = slotStartsMs[slotStartsMs.length - 1];
  for (const { maxPowerSeriesW, baseLoadW, baseLoadA } of site.circuits) {
    for (const series of [maxPowerSeriesW, baseLoadW, ...baseLoadA])
      if (series !== undefined)
        endMs = Math.max(endMs, series.startMs + series.stepMs * series.values.length);
  }
  const worst = { ...problem, slotStartsMs: [startMs, endMs] };
  const { site: withLoad, vehicle } = batteryAsVehicle(worst, site.battery?.circuit ?? 0);
  const [load] = withLoad.evses.slice(-1);
  const evses = site.evses.map((evse, e) =>
    levelsW[e] === undefined ? evse : { ...evse, fallbackPowerW: 0, uncontrolledPowerW: undefined },
  );
  if (site.battery !== undefined) evses.push({ ...load, uncontrolledPowerW: site.battery.maxChargePowerW });
  const sessions = problem.sessions.filter(({ evse }) => site.evses[evse].isOffline);
  const drawn: PowerStep[][] = sessions.map(() => []);
  const voltages = phaseVoltages(problem);
  site.evses.forEach((evse, e) => {
    const levelW = levelsW[e];
    if (levelW === undefined) return;
    const name = `EVSE ${evse.evseId} of ${evse.stationId}`;
    const isBetween = evse.supply === "AC_LINE_TO_LINE";
    const wattsPerAmpere = voltages[evse.circuit] * (isBetween ? Math.sqrt(3) : evse.phases.length);
    if (evse.supply !== "DC")
      note(`${name}: current`, startMs, levelW / wattsPerAmpere, evse.maxCurrentA, "A");
    note(`${name}: power`, startMs, levelW, evse.maxPowerW, "W");
    const leastW = Math.max(evse.minPowerW, evse.supply === "DC" ? 0 : evse.minCurrentA * wattsPerAmpere);
    if (levelW !== 0 || evse.ocpp.rejectsZeroLimit) note(`${name}: minimum`, startMs, leastW, levelW, "W");
    for (const phases of partsOf(evse)) {
      const share = phases.length / evse.phases.length;
      const hasUnknownPhases = evse.hasUnknownPhases && evse.phases.length < 3;
      const part = {
        ...evse,
        phases,
        hasUnknownPhases,
        minPowerW: evse.minPowerW * share,
        fallbackPowerW: 0,
      };
      sessions.push({ ...vehicle, evse: evses.push(part) - 1, phaseCount: phases.length });
      drawn.push([{ atMs: startMs, powerW: levelW * share }]);
    }
  });
  const parts = { ...worst, site: { ...site, evses }, sessions };
  checkCircuits(parts, wiringOf(parts), drawn, note);
  return excesses;
}

/** What a battery charges lies on the circuits like a vehicle at a DC charger: evenly on the phases. */
function batteryAsVehicle(
  { site, slotStartsMs }: Problem,
  circuit: number,
): { site: Site; vehicle: Session } {
  const evse: Evse = {
    stationId: "battery",
    evseId: 1,
    circuit,
    supply: "DC",
    phases: [1, 2, 3],
    hasUnknownPhases: false,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW: Number.POSITIVE_INFINITY,
    minPowerW: 0,
    uncontrolledPowerW: undefined,
    maxDischargePowerW: 0,
    maxPhaseSwitches: 0,
    fallbackPowerW: 0,
    isOffline: false,
    ocpp: {
      version: "2.1",
      rateUnit: "W",
      maxPeriods: 1,
      stackLevel: 0,
      limitStep: 1,
      rejectsZeroLimit: false,
      prefersTxDefaultProfile: false,
    },
  };
  const vehicle: Session = {
    sessionId: "battery",
    evse: site.evses.length,
    transactionId: "",
    arrivalMs: slotStartsMs[0],
    departureMs: slotStartsMs[slotStartsMs.length - 1],
    energyWh: 0,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW: Number.POSITIVE_INFINITY,
    phaseCount: 3,
    priority: 1,
    uninterruptible: false,
    battery: undefined,
    minimum: undefined,
    departureChances: [],
    discharge: undefined,
    goesOn: false,
    installed: undefined,
  };
  return { site: { ...site, evses: [...site.evses, evse] }, vehicle };
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
  checkCircuits(problem, wiringOf(problem), drawn, (limit, atMs, value, allowed, unit) => {
    if (isWithin(problem, value, allowed, unit)) return;
    if (first === undefined || atMs < first.atMs) first = { limit, atMs };
  });
  return first;
}

function isWithin(problem: Problem, value: number, allowed: number, unit: "W" | "A"): boolean {
  return value <= allowed + (unit === "W" ? TOLERANCE_W : TOLERANCE_W / problem.site.nominalVoltageV);
}

type Note = (limit: string, atMs: number, value: number, allowed: number, unit: "W" | "A") => void;

/** Lines that a session's current flows on, and watts for an ampere on each. */
interface Wired {
  lines: number[];
  wattsPerAmpere: number;
}

function wiringOf(problem: Problem): Wired[] {
  const voltages = phaseVoltages(problem);
  return problem.sessions.map((session) => {
    const evse = problem.site.evses[session.evse];
    const voltageV = voltages[evse.circuit];
    if (evse.supply === "AC_LINE_TO_LINE")
      return { lines: evse.phases, wattsPerAmpere: Math.sqrt(3) * voltageV };
    const lines = evse.supply === "AC" ? evse.phases.slice(0, session.phaseCount) : [1, 2, 3];
    return { lines, wattsPerAmpere: lines.length * voltageV };
  });
}

/** Phase to neutral of each circuit, V: what a transformer below says of its primary, else the site's nominal voltage. */
function phaseVoltages({ site }: Problem): number[] {
  const { circuits, nominalVoltageV } = site;
  const topOf = (circuit: number) => {
    let c = circuit;
    while (circuits[c].parent >= 0 && circuits[c].transformer === undefined) c = circuits[c].parent;
    return c;
  };
  const primaryV = new Map<number, number>();
  for (const { parent, transformer } of circuits) {
    if (parent >= 0 && transformer !== undefined) primaryV.set(topOf(parent), transformer.primaryVoltageV);
  }
  return circuits.map((_, c) => primaryV.get(topOf(c)) ?? nominalVoltageV);
}

function lowestUsableW({ site }: Problem, session: Session, wattsPerAmpere: number): number {
  const evse = site.evses[session.evse];
  if (evse.supply === "DC") return evse.minPowerW;
  const minimumA = Math.max(evse.minCurrentA, session.minCurrentA);
  return Math.max(evse.minPowerW, minimumA * wattsPerAmpere);
}

/** What a charger that rejects 0 is told at the least: the lowest usable power, up to a whole step. */
function leastToldW(problem: Problem, session: Session, wattsPerAmpere: number): number {
  const { ocpp } = problem.site.evses[session.evse];
  const stepW = ocpp.limitStep * (ocpp.rateUnit === "A" ? wattsPerAmpere : 1);
  const lowestW = lowestUsableW(problem, session, wattsPerAmpere);
  return Math.max(1, Math.ceil(lowestW / stepW - 1e-6)) * stepW;
}

function checkSession(
  problem: Problem,
  session: Session,
  wattsPerAmpere: number,
  steps: readonly PowerStep[],
  note: Note,
): void {
  const evse = problem.site.evses[session.evse];
  const { rejectsZeroLimit } = evse.ocpp;
  const leastW = (rejectsZeroLimit ? leastToldW : lowestUsableW)(problem, session, wattsPerAmpere);
  const name = `session ${session.sessionId}`;
  let blocks = 0;
  let wasOn = false;
  // Until its first step another profile is in force, or none: the charger may give all it can.
  const fromMs = Math.max(session.arrivalMs, problem.slotStartsMs[0]);
  if (fromMs < Math.min(session.departureMs, steps[0]?.atMs ?? Number.POSITIVE_INFINITY))
    note(`${name}: without a profile`, fromMs, evse.maxPowerW, 0, "W");
  const { discharge } = session;
  const mayGiveW = discharge === undefined ? 0 : Math.min(discharge.maxPowerW, evse.maxDischargePowerW);
  steps.forEach(({ atMs, powerW, numberPhases }, n) => {
    const endMs = n + 1 < steps.length ? steps[n + 1].atMs : Number.POSITIVE_INFINITY;
    if (numberPhases !== undefined && powerW !== 0)
      note(`${name}: phases`, atMs, Math.abs(numberPhases - session.phaseCount), 0, "A");
    if (evse.supply !== "DC") {
      const currentA = Math.abs(powerW) / wattsPerAmpere;
      note(`${name}: EVSE current`, atMs, currentA, evse.maxCurrentA, "A");
      note(`${name}: vehicle current`, atMs, currentA, session.maxCurrentA, "A");
    }
    note(`${name}: EVSE power`, atMs, powerW, evse.maxPowerW, "W");
    note(`${name}: vehicle power`, atMs, powerW, session.maxPowerW, "W");
    note(`${name}: giving`, atMs, -powerW, mayGiveW, "W");
    if (powerW !== 0 || rejectsZeroLimit) note(`${name}: minimum`, atMs, leastW, Math.abs(powerW), "W");
    if (atMs < session.arrivalMs) note(`${name}: before arrival`, atMs, Math.abs(powerW), 0, "W");
    if (endMs > session.departureMs) {
      const restW = rejectsZeroLimit ? leastW : 0;
      note(`${name}: after departure`, Math.max(atMs, session.departureMs), Math.abs(powerW), restW, "W");
    }
    if (powerW > 0 && !wasOn) blocks++;
    wasOn = powerW > 0;
  });
  if (session.uninterruptible) note(`${name}: blocks`, session.arrivalMs, blocks, 1, "W");
  checkStored(session, steps, note);
}

/**
 * Follows the energy stored in a vehicle that gives, Wh, step by step: it draws all that it is allowed, up to
 * its charge curve and until it is full, and never gives below what is kept in it.
 */
function checkStored(
  { sessionId, battery, discharge }: Session,
  steps: readonly PowerStep[],
  note: Note,
): void {
  if (battery === undefined || discharge === undefined) return;
  let storedWh = battery.storedWh;
  steps.forEach(({ atMs, powerW }, n) => {
    if (n + 1 === steps.length) return;
    const endMs = steps[n + 1].atMs;
    const hours = (endMs - atMs) / 3_600_000;
    if (powerW >= 0) {
      storedWh = Math.max(storedWh, storedAfter(battery, storedWh, powerW, hours));
      return;
    }
    storedWh += (powerW * hours) / battery.efficiency;
    // What a watt-hour is to a battery, a watt is to a limit: nothing that could be measured.
    note(`session ${sessionId}: stored Wh`, endMs, discharge.minStoredWh, storedWh + STORED_DUST_WH, "W");
  });
}

interface Event {
  atMs: number;
  /** Session whose power changes to powerW, or -1 for a change of a limit or base load. */
  session: number;
  powerW: number;
  /** EVSE whose reserve may change. */
  reserve?: number;
}

function checkCircuits(
  problem: Problem,
  wired: readonly Wired[],
  emitted: readonly (readonly PowerStep[])[],
  note: Note,
): void {
  const { circuits, evses } = problem.site;
  const startMs = problem.slotStartsMs[0];
  const endMs = problem.slotStartsMs[problem.slotStartsMs.length - 1];
  const events: Event[] = [{ atMs: startMs, session: -1, powerW: 0 }];
  const reserves = new Map<number, ReserveOf>();
  evses.forEach((evse, e) => {
    if (evse.fallbackPowerW > 0 || evse.isOffline) reserves.set(e, new ReserveOf(problem, e, wired));
  });
  for (const [reserve, { changesMs }] of reserves) {
    for (const atMs of [startMs, ...changesMs])
      if (atMs >= startMs && atMs < endMs) events.push({ atMs, session: -1, powerW: 0, reserve });
  }
  emitted.forEach((steps, i) => {
    const { evse, departureMs } = problem.sessions[i];
    if (evses[evse].isOffline) return;
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

  const wiring = new Wiring(problem, wired);
  const drawnW = new Float64Array(problem.sessions.length);
  const plannedW = new Float64Array(circuits.length);
  // What flows back makes no room for what is drawn.
  const givenW = new Float64Array(problem.sessions.length);
  const backW = new Float64Array(circuits.length);
  const givers = problem.sessions.flatMap((_, i) => (emitted[i].some(({ powerW }) => powerW < 0) ? [i] : []));
  const zeroRejecting = zeroRejectingBelow(problem);
  const leastW = problem.sessions.map((session, i) => leastToldW(problem, session, wired[i].wattsPerAmpere));
  const toldW = new Float64Array(problem.sessions.length);
  const reservedW = new Float64Array(circuits.length);
  /** Counts what a session draws; where its EVSE reserves something, what is beyond that. */
  const draw = (session: number, touched: Set<number>) => {
    const { evse } = problem.sessions[session];
    const countedW = Math.max(0, toldW[session] - (reserves.get(evse)?.coveredW(session) ?? 0));
    const changeW = countedW - drawnW[session];
    drawnW[session] = countedW;
    wiring.plan(session, changeW);
    for (let c = evses[evse].circuit; c >= 0; c = circuits[c].parent) {
      plannedW[c] += changeW;
      touched.add(c);
    }
  };
  for (let n = 0; n < events.length; ) {
    const { atMs } = events[n];
    const touched = new Set<number>();
    for (; n < events.length && events[n].atMs === atMs; n++) {
      const { session, powerW, reserve } = events[n];
      if (reserve !== undefined) {
        const ofEvse = reserves.get(reserve);
        const changeW = ofEvse?.moveTo(atMs, wiring) ?? 0;
        for (let c = evses[reserve].circuit; c >= 0; c = circuits[c].parent) {
          reservedW[c] += changeW;
          touched.add(c);
        }
        for (const one of ofEvse?.sessions ?? []) draw(one, touched);
        continue;
      }
      if (session < 0) {
        for (let c = 0; c < circuits.length; c++) touched.add(c);
        continue;
      }
      const backByW = Math.max(0, -powerW) - givenW[session];
      toldW[session] = Math.max(0, powerW);
      givenW[session] = Math.max(0, -powerW);
      draw(session, touched);
      for (let c = evses[problem.sessions[session].evse].circuit; c >= 0; c = circuits[c].parent)
        backW[c] += backByW;
    }
    if (atMs >= endMs) continue;
    const fixedW = wiring.fix(atMs);
    for (const c of touched) {
      const { maxPowerW, maxPowerSeriesW, maxCurrentA, circuitId } = circuits[c];
      const overTimeW = maxPowerSeriesW === undefined ? maxPowerW : valueAt(maxPowerSeriesW, atMs);
      const limitW = Math.min(maxPowerW, overTimeW);
      // What chargers that reject 0 draw at the least no plan can take away.
      const held = zeroRejecting[c].map((i): [number, number] => [i, Math.min(drawnW[i], leastW[i])]);
      if (limitW < Number.POSITIVE_INFINITY) {
        const heldW = held.reduce((sumW, [, powerW]) => sumW + powerW, 0);
        // Base load over a limit leaves no room, and is not the plan's doing.
        const roomW = limitW - fixedW[c] - reservedW[c];
        note(`circuit ${circuitId}`, atMs, plannedW[c], Math.max(roomW, heldW), "W");
      }
      if (givers.length > 0 && limitW < Number.POSITIVE_INFINITY)
        note(`circuit ${circuitId} back`, atMs, backW[c], limitW, "W");
      if (maxCurrentA === Number.POSITIVE_INFINITY) continue;
      wiring.lines[c].forEach((line, q) => {
        if (givers.length > 0) {
          // At the worst of all angles.
          const backA = givers.reduce((sumA, i) => sumA + givenW[i] * wiring.amperesPerWatt(i, c, q), 0);
          note(`circuit ${circuitId} L${q + 1} back`, atMs, backA, maxCurrentA, "A");
        }
        const heldA = held.reduce((sumA, [i, powerW]) => sumA + powerW * wiring.amperesPerWatt(i, c, q), 0);
        const { value, allowed } = line.compare(maxCurrentA, heldA);
        note(`circuit ${circuitId} L${q + 1}`, atMs, value, allowed, "A");
      });
    }
  }
}

/**
 * What one EVSE keeps for a vehicle that no plan is known of: its fallback while none with a profile of its own is
 * there; offline the higher of that and what is installed, always.
 */
class ReserveOf {
  /** Sessions at the EVSE. */
  readonly sessions: readonly number[];
  /** When it may change. */
  readonly changesMs: readonly number[];
  readonly #problem: Problem;
  readonly #evse: Evse;
  readonly #wired: readonly Wired[];
  /** Lines that a vehicle may draw from alone, and how many watts now. */
  readonly #parts: { lines: readonly number[]; powerW: number }[];
  #powerW = 0;
  #isVacant = false;

  constructor(problem: Problem, evse: number, wired: readonly Wired[]) {
    this.#problem = problem;
    this.#evse = problem.site.evses[evse];
    this.#wired = wired;
    this.#parts = partsOf(this.#evse).map((lines) => ({ lines, powerW: 0 }));
    this.sessions = problem.sessions.flatMap((session, i) => (session.evse === evse ? [i] : []));
    this.changesMs = this.sessions.flatMap((i) => {
      const { arrivalMs, departureMs, installed } = problem.sessions[i];
      if (!this.#evse.isOffline || installed === undefined) return [arrivalMs, departureMs];
      const { startMs, stepMs, values } = installed.powerW;
      const steps = Array.from({ length: values.length + 1 }, (_, n) => startMs + n * stepMs);
      return [arrivalMs, departureMs, ...steps];
    });
  }

  /** What of a session's power it holds anyway, W. */
  coveredW(session: number): number {
    if (!this.#isVacant) return 0;
    return (this.#evse.fallbackPowerW * this.#wired[session].lines.length) / this.#evse.phases.length;
  }

  /** Puts on the lines what is reserved from an instant on; tells by how much its power changes, W. */
  moveTo(atMs: number, wiring: Wiring): number {
    const { fallbackPowerW, phases, isOffline } = this.#evse;
    this.#isVacant = !isOffline && !this.sessions.some((i) => this.#holdsProfile(i, atMs));
    const byAnyoneW = isOffline || this.#isVacant ? fallbackPowerW : 0;
    const installed = isOffline ? this.sessions.map((i) => this.#installedW(i, atMs)) : [];
    for (const part of this.#parts) {
      let powerW = (byAnyoneW * part.lines.length) / phases.length;
      installed.forEach((w, n) => {
        const { lines } = this.#wired[this.sessions[n]];
        if (lines.includes(part.lines[0])) powerW = Math.max(powerW, (w / lines.length) * part.lines.length);
      });
      wiring.reserve(this.#evse, part.lines, powerW - part.powerW);
      part.powerW = powerW;
    }
    const changeW = Math.max(byAnyoneW, ...installed) - this.#powerW;
    this.#powerW += changeW;
    return changeW;
  }

  /** A vehicle that is not here when the plan is sent has no profile, unless its transaction is known. */
  #holdsProfile(i: number, atMs: number): boolean {
    const { sessions, slotStartsMs } = this.#problem;
    let first = i;
    while (first > 0 && sessions[first - 1].goesOn) first--;
    const isSent = sessions[first].arrivalMs <= slotStartsMs[0] || sessions[first].transactionId !== "";
    return isSent && sessions[i].arrivalMs <= atMs && atMs < sessions[i].departureMs;
  }

  /** Its last value holds until departure, what is given beyond that counts, then the least that the charger takes. */
  #installedW(i: number, atMs: number): number {
    const session = this.#problem.sessions[i];
    const { installed, arrivalMs, departureMs } = session;
    if (installed === undefined || atMs < arrivalMs) return 0;
    const { startMs, stepMs, values } = installed.powerW;
    if (atMs < Math.max(departureMs, startMs + stepMs * values.length))
      return Math.max(0, valueAt(installed.powerW, atMs));
    if (!this.#evse.ocpp.rejectsZeroLimit) return 0;
    return leastToldW(this.#problem, session, this.#wired[i].wattsPerAmpere);
  }
}

/** Each phase of its own where a vehicle may draw from fewer than there are, else all lines together. */
function partsOf({ supply, phases, hasUnknownPhases }: Evse): Phase[][] {
  if (supply !== "AC" || (hasUnknownPhases && phases.length < 3)) return [phases];
  return phases.map((phase) => [phase]);
}

/** For each circuit the sessions below it at chargers that reject 0. */
function zeroRejectingBelow({ site, sessions }: Problem): number[][] {
  const below: number[][] = site.circuits.map(() => []);
  sessions.forEach(({ evse }, i) => {
    if (!site.evses[evse].ocpp.rejectsZeroLimit) return;
    for (let c = site.evses[evse].circuit; c >= 0; c = site.circuits[c].parent) below[c].push(i);
  });
  return below;
}

/** A current or voltage, seen from the voltage of L1 of the same side of a transformer. */
type Phasor = readonly [re: number, im: number];

const COS_30 = Math.sqrt(3) / 2;
/** Directions of the phase voltages. */
const VOLTAGES: readonly Phasor[] = [
  [1, 0],
  [-1 / 2, -COS_30],
  [-1 / 2, COS_30],
];

function minus(a: Phasor, b: Phasor): Phasor {
  return [a[0] - b[0], a[1] - b[1]];
}

function times(a: Phasor, b: Phasor): Phasor {
  return [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
}

/** What loads draw on one line, by the direction of their current. */
class Line {
  readonly #directions: Phasor[] = [];
  readonly #plannedA: number[] = [];
  readonly #fixedA: number[] = [];
  readonly #reservedA: number[] = [];
  /** Currents that can stand in any direction. */
  #plannedAnyA = 0;
  #fixedAnyA = 0;
  #reservedAnyA = 0;

  /** Index of the direction of a current; new ones are taken up. */
  directionOf([re, im]: Phasor): number {
    const size = Math.hypot(re, im);
    const known = this.#directions.findIndex(([x, y]) => Math.hypot(re / size - x, im / size - y) < 1e-9);
    if (known >= 0) return known;
    this.#plannedA.push(0);
    this.#fixedA.push(0);
    this.#reservedA.push(0);
    return this.#directions.push([re / size, im / size]) - 1;
  }

  plan(direction: number, currentA: number): void {
    if (direction < 0) this.#plannedAnyA += currentA;
    else this.#plannedA[direction] += currentA;
  }

  fix(direction: number, currentA: number): void {
    if (direction < 0) this.#fixedAnyA += currentA;
    else this.#fixedA[direction] += currentA;
  }

  reserve(direction: number, currentA: number): void {
    if (direction < 0) this.#reservedAnyA += currentA;
    else this.#reservedA[direction] += currentA;
  }

  clearFixed(): void {
    this.#fixedA.fill(0);
    this.#fixedAnyA = 0;
  }

  /**
   * The planned current and what is left for it where all currents stand in one direction, else
   * the highest current that any part of the loads can make and the limit. heldA, what no plan can
   * take away, is allowed in any case.
   */
  compare(limitA: number, heldA: number): { value: number; allowed: number } {
    const plannedA = this.#plannedA.reduce((sumA, currentA) => sumA + currentA, this.#plannedAnyA);
    if (this.#directions.length <= 1) {
      const unplanned = [...this.#fixedA, ...this.#reservedA, this.#reservedAnyA];
      const fixedA = unplanned.reduce((sumA, currentA) => sumA + currentA, this.#fixedAnyA);
      return { value: plannedA, allowed: Math.max(limitA - fixedA, heldA) };
    }
    const value = this.#highestA() + this.#plannedAnyA + this.#fixedAnyA + this.#reservedAnyA;
    return { value, allowed: plannedA <= heldA + 1e-9 ? value : limitA };
  }

  /**
   * Loads may draw less, so the ends that the sum can have form a zonotope. The farthest of its
   * corners is the sum of what stands on one side of some current, with or without that current.
   */
  #highestA(): number {
    const currents = this.#directions.map(([re, im], d): Phasor => {
      const currentA = this.#plannedA[d] + this.#fixedA[d] + this.#reservedA[d];
      return [re * currentA, im * currentA];
    });
    let highest = 0;
    for (const [x, y] of currents) {
      let leftRe = 0;
      let leftIm = 0;
      let rightRe = 0;
      let rightIm = 0;
      for (const [re, im] of currents) {
        const side = x * im - y * re;
        if (side > 0) {
          leftRe += re;
          leftIm += im;
        } else if (side < 0) {
          rightRe += re;
          rightIm += im;
        }
      }
      highest = Math.max(
        highest,
        Math.hypot(leftRe, leftIm),
        Math.hypot(leftRe + x, leftIm + y),
        Math.hypot(rightRe, rightIm),
        Math.hypot(rightRe + x, rightIm + y),
      );
    }
    return highest;
  }
}

/** A current on one line of a circuit for each unit of a load; direction -1 where it can be any. */
interface Branch {
  circuit: number;
  line: number;
  direction: number;
  amperes: number;
}

/** The lines of all circuits, and the ways of all loads to the grid connection. */
class Wiring {
  readonly lines: Line[][];
  readonly #problem: Problem;
  readonly #voltages: number[];
  /** For 1 W of each session. */
  readonly #sessions: Branch[][];
  /** For the power that each EVSE that can't be controlled draws. */
  readonly #uncontrolled: { circuit: number; powerW: number; branches: Branch[] }[] = [];
  /** For 1 A of base load on L1, L2 or L3 of a circuit, and for 1 A on all of them. */
  readonly #base: ({ single: Branch[][]; even: Branch[] } | undefined)[];
  readonly #branchesOf: (evse: Evse, lines: readonly number[]) => Branch[];

  constructor(problem: Problem, wired: readonly Wired[]) {
    const { circuits, evses } = problem.site;
    this.#problem = problem;
    this.#voltages = phaseVoltages(problem);
    this.lines = circuits.map(() => [new Line(), new Line(), new Line()]);
    const known = new Map<string, Branch[]>();
    const branchesOf = (evse: Evse, lines: readonly number[]) => {
      const key = [evse.circuit, evse.supply, evse.hasUnknownPhases, ...lines].join();
      const branches = known.get(key) ?? this.#branches(evse, lines);
      known.set(key, branches);
      return branches;
    };
    this.#branchesOf = branchesOf;
    this.#sessions = problem.sessions.map(({ evse }, i) => branchesOf(evses[evse], wired[i].lines));
    for (const evse of evses) {
      const { circuit, uncontrolledPowerW: powerW, phases } = evse;
      if (powerW !== undefined)
        this.#uncontrolled.push({ circuit, powerW, branches: branchesOf(evse, phases) });
    }
    this.#base = circuits.map(({ baseLoadW, baseLoadA }, c) => {
      if (baseLoadW === undefined && baseLoadA.every((series) => series === undefined)) return undefined;
      const onLine = (q: number) => VOLTAGES.map((voltage, n): Phasor => (n === q ? voltage : [0, 0]));
      const isEven = baseLoadA.every((series) => series === undefined);
      return {
        single: isEven ? [] : [0, 1, 2].map((q) => this.#upwards(c, [onLine(q)])),
        even: isEven ? this.#upwards(c, [VOLTAGES]) : [],
      };
    });
  }

  plan(session: number, changeW: number): void {
    for (const { circuit, line, direction, amperes } of this.#sessions[session]) {
      this.lines[circuit][line].plan(direction, changeW * amperes);
    }
  }

  /** Changes what lies on the lines for vehicles that no plan is known of. */
  reserve(evse: Evse, lines: readonly number[], changeW: number): void {
    const hasUnknownPhases = evse.hasUnknownPhases && evse.phases.length < 3;
    for (const { circuit, line, direction, amperes } of this.#branchesOf(
      { ...evse, hasUnknownPhases },
      lines,
    ))
      this.lines[circuit][line].reserve(direction, changeW * amperes);
  }

  amperesPerWatt(session: number, circuit: number, line: number): number {
    const branch = this.#sessions[session].find((one) => one.circuit === circuit && one.line === line);
    return branch?.amperes ?? 0;
  }

  /** Puts on the lines what base load and EVSEs that can't be controlled draw at an instant; tells their power on each circuit, W. */
  fix(atMs: number): number[] {
    const { circuits } = this.#problem.site;
    for (const lines of this.lines) for (const line of lines) line.clearFixed();
    const put = (branches: readonly Branch[], times: number) => {
      for (const { circuit, line, direction, amperes } of branches) {
        this.lines[circuit][line].fix(direction, times * amperes);
      }
    };
    const fixedW = circuits.map(({ baseLoadW, baseLoadA }, c) => {
      const base = this.#base[c];
      if (base === undefined) return 0;
      const powerW = baseLoadW === undefined ? 0 : valueAt(baseLoadW, atMs);
      const evenA = powerW / this.#voltages[c] / 3;
      const currentsA = baseLoadA.map((series) => (series === undefined ? evenA : valueAt(series, atMs)));
      put(base.even, evenA);
      base.single.forEach((branches, q) => {
        put(branches, currentsA[q]);
      });
      return Math.max(powerW, (currentsA[0] + currentsA[1] + currentsA[2]) * this.#voltages[c]);
    });
    for (const { circuit, powerW, branches } of this.#uncontrolled) {
      fixedW[circuit] += powerW;
      put(branches, powerW);
    }
    for (let c = circuits.length - 1; c > 0; c--) fixedW[circuits[c].parent] += fixedW[c];
    return fixedW;
  }

  /** The way of 1 W at an EVSE that draws from some of its lines. */
  #branches(evse: Evse, lines: readonly number[]): Branch[] {
    const voltageV = this.#voltages[evse.circuit];
    const drawnFrom = (chosen: readonly number[]): Phasor[] => {
      const [from, to] = chosen.map((line) => VOLTAGES[line - 1]);
      return VOLTAGES.map((voltage, q): Phasor => {
        const place = chosen.indexOf(q + 1);
        if (place < 0) return [0, 0];
        if (evse.supply !== "AC_LINE_TO_LINE") return scaled(voltage, 1 / voltageV / chosen.length);
        // Between two lines: P / U in the direction of U = V (from - to), back on the second line.
        const across = minus(from, to);
        return scaled(across, (place === 0 ? 1 : -1) / 3 / voltageV);
      });
    };
    if (!evse.hasUnknownPhases || lines.length === 3) return this.#upwards(evse.circuit, [drawnFrom(lines)]);
    const choices =
      lines.length === 1
        ? [[1], [2], [3]]
        : [
            [1, 2],
            [2, 3],
            [3, 1],
          ];
    return this.#upwards(evse.circuit, choices.map(drawnFrom), true);
  }

  /** The way of given line currents up to the grid connection; of several choices the most on each line, in any direction. */
  #upwards(circuit: number, given: readonly (readonly Phasor[])[], isAnyDirection = false): Branch[] {
    const { circuits } = this.#problem.site;
    const branches: Branch[] = [];
    let choices = given;
    for (let c = circuit; c >= 0; c = circuits[c].parent) {
      for (let line = 0; line < 3; line++) {
        const amperes = Math.max(...choices.map((currents) => Math.hypot(...currents[line])));
        // What cancels leaves the dust of the arithmetic.
        if (amperes * this.#voltages[c] < 1e-9) continue;
        const direction = isAnyDirection ? -1 : this.lines[c][line].directionOf(choices[0][line]);
        branches.push({ circuit: c, line, direction, amperes });
      }
      const { transformer, parent } = circuits[c];
      if (transformer === undefined || parent < 0) continue;
      const ratio = transformer.primaryVoltageV / this.#voltages[c];
      choices = choices.map((currents) =>
        transformer.winding === "WYE_WYE"
          ? currents.map((current) => scaled(current, 1 / ratio))
          : primaryOf(currents, Math.sqrt(3) * ratio),
      );
    }
    return branches;
  }
}

function scaled([re, im]: Phasor, factor: number): Phasor {
  return [re * factor, im * factor];
}

/**
 * Line currents into the delta of a delta-wye transformer (Dyn11) of a turns ratio: (Ia - Ic) / n,
 * (Ib - Ia) / n, (Ic - Ib) / n, and the primary's voltages are 30 degrees behind the secondary's.
 */
function primaryOf(secondary: readonly Phasor[], ratio: number): Phasor[] {
  return secondary.map((current, q) =>
    scaled(times(minus(current, secondary[(q + 2) % 3]), [COS_30, 1 / 2]), 1 / ratio),
  );
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

import type { Charging } from "../../src/domain/charging.ts";
import type { PowerPlan, PowerStep } from "../../src/domain/plan.ts";
import type { Evse, Phase, Problem, Session } from "../../src/domain/problem.ts";
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

/** Phase to neutral where a circuit is: what a transformer on the same copper says of its primary. */
function voltageAt({ site }: Problem, circuit: number): number {
  const isSameCopper = (a: number, b: number): boolean => {
    const climb = (c: number): number =>
      site.circuits[c].parent >= 0 && site.circuits[c].transformer === undefined
        ? climb(site.circuits[c].parent)
        : c;
    return climb(a) === climb(b);
  };
  for (const { parent, transformer } of site.circuits) {
    if (transformer !== undefined && isSameCopper(parent, circuit)) return transformer.primaryVoltageV;
  }
  return site.nominalVoltageV;
}

function phasesOf(problem: Problem, session: Session): Phase[] {
  const { supply, phases } = problem.site.evses[session.evse];
  if (supply === "AC_LINE_TO_LINE") return phases;
  return supply === "DC" ? [1, 2, 3] : phases.slice(0, session.phaseCount);
}

/** Power of 1 A on each line that the vehicle draws from, W. */
function perAmpere(problem: Problem, session: Session): number {
  const { supply, circuit } = problem.site.evses[session.evse];
  const lines = supply === "AC_LINE_TO_LINE" ? Math.sqrt(3) : phasesOf(problem, session).length;
  return lines * voltageAt(problem, circuit);
}

/** Power, W, below which the vehicle or its charger does not work. */
export function lowestPowerW(problem: Problem, session: Session): number {
  const evse = problem.site.evses[session.evse];
  const perAmpereW = perAmpere(problem, session);
  const lowest = [evse.minPowerW];
  if (evse.supply !== "DC") lowest.push(evse.minCurrentA * perAmpereW, session.minCurrentA * perAmpereW);
  return Math.max(...lowest);
}

/** The lowest whole step, W, that is not below the lowest usable power. */
function leastToldPowerW(problem: Problem, session: Session): number {
  const { limitStep, rateUnit } = problem.site.evses[session.evse].ocpp;
  const perAmpereW = perAmpere(problem, session);
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
  const perAmpereW = perAmpere(problem, session);
  const rejectsZero = evse.ocpp.rejectsZeroLimit;
  if (evse.supply !== "DC") {
    note("EVSE current", Math.abs(powerW), evse.maxCurrentA * perAmpereW);
    note("vehicle current", Math.abs(powerW), session.maxCurrentA * perAmpereW);
  }
  note("EVSE power", powerW, evse.maxPowerW);
  note("vehicle power", powerW, session.maxPowerW);
  const { discharge } = session;
  note(
    "giving",
    -powerW,
    discharge === undefined ? 0 : Math.min(discharge.maxPowerW, evse.maxDischargePowerW),
  );
  if (rejectsZero) note("minimum", leastToldPowerW(problem, session), Math.abs(powerW));
  else if (powerW !== 0) note("minimum", lowestPowerW(problem, session), Math.abs(powerW));
  if (atMs < session.arrivalMs) note("before arrival", Math.abs(powerW), 0);
  if (atMs >= session.departureMs)
    note("after departure", Math.abs(powerW), rejectsZero ? leastToldPowerW(problem, session) : 0);
}

type Complex = [number, number];

/** Unit phasors of the voltages of L1, L2, L3. */
const LINE_VOLTAGES: Complex[] = [0, -120, 120].map((angle) => turned([1, 0], angle));

function turned([x, y]: Complex, degrees: number): Complex {
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return [x * cos - y * sin, x * sin + y * cos];
}

function combined(a: Complex, factorA: number, b: Complex, factorB: number): Complex {
  return [a[0] * factorA + b[0] * factorB, a[1] * factorA + b[1] * factorB];
}

/** Line currents of a circuit's load, A, as they are on `top`; undefined where it does not hang below it. */
function seenFrom(
  problem: Problem,
  currents: Complex[],
  circuit: number,
  top: number,
): Complex[] | undefined {
  if (circuit === top) return currents;
  const { parent, transformer } = problem.site.circuits[circuit];
  if (parent < 0) return undefined;
  if (transformer === undefined) return seenFrom(problem, currents, parent, top);
  const ratio = transformer.primaryVoltageV / voltageAt(problem, circuit);
  const primary =
    transformer.winding === "WYE_WYE"
      ? currents.map((current) => combined(current, 1 / ratio, [0, 0], 0))
      : [
          [0, 2],
          [1, 0],
          [2, 1],
        ].map(([one, other]) => {
          const n = Math.sqrt(3) * ratio;
          // The wye's voltages are 30 degrees ahead of the delta's.
          return turned(combined(currents[one], 1 / n, currents[other], -1 / n), 30);
        });
  return seenFrom(problem, primary, parent, top);
}

/** Ways in which a load of 1 W can draw its currents at its own circuit: more than one where its lines are not known. */
function waysToDraw(problem: Problem, evse: Evse, phases: readonly Phase[]): Complex[][] {
  const voltageV = voltageAt(problem, evse.circuit);
  let choices = [[...phases]];
  if (evse.hasUnknownPhases && phases.length === 1) choices = [[1], [2], [3]];
  if (evse.hasUnknownPhases && phases.length === 2)
    choices = [
      [1, 2],
      [1, 3],
      [2, 3],
    ];
  return choices.map((lines) => {
    const currents: Complex[] = [
      [0, 0],
      [0, 0],
      [0, 0],
    ];
    if (evse.supply === "AC_LINE_TO_LINE") {
      const [from, to] = lines;
      const across = combined(LINE_VOLTAGES[from - 1], voltageV, LINE_VOLTAGES[to - 1], -voltageV);
      // P = U I, and I is in phase with U.
      const squareV = across[0] ** 2 + across[1] ** 2;
      currents[from - 1] = combined(across, 1 / squareV, [0, 0], 0);
      currents[to - 1] = combined(across, -1 / squareV, [0, 0], 0);
    } else {
      for (const line of lines) {
        currents[line - 1] = combined(LINE_VOLTAGES[line - 1], 1 / (voltageV * lines.length), [0, 0], 0);
      }
    }
    return currents;
  });
}

/** A load as one line sees it: what it draws of a unit load's current, of which `heldShare` no plan can take away. */
interface SeenLoad {
  /** One a way to draw. */
  units: Complex[];
  amount: number;
  isPlanned: boolean;
  heldShare: number;
}

function unitSize({ units }: SeenLoad): number {
  return Math.max(...units.map(([x, y]) => Math.hypot(x, y)));
}

/** The highest current that the loads can make where any of them may draw less. */
function highestCurrent(loads: readonly SeenLoad[]): number {
  let anyWayA = 0;
  const known: Complex[] = [];
  for (const load of loads) {
    if (load.units.length > 1) anyWayA += unitSize(load) * load.amount;
    else known.push(combined(load.units[0], load.amount, [0, 0], 0));
  }
  let highestA = 0;
  for (const [x, y] of known) {
    for (const degrees of [90 - 1e-7, 90 + 1e-7, -90 - 1e-7, -90 + 1e-7]) {
      const [alongX, alongY] = turned([x, y], degrees);
      const sum = [0, 0];
      for (const [u, v] of known) {
        if (alongX * u + alongY * v <= 0) continue;
        sum[0] += u;
        sum[1] += v;
      }
      highestA = Math.max(highestA, Math.hypot(sum[0], sum[1]));
    }
  }
  return highestA + anyWayA;
}

function compareCircuits(
  problem: Problem,
  emitted: readonly (readonly PowerStep[])[],
  atMs: number,
  found: Comparison[],
): void {
  const { circuits, evses } = problem.site;
  const isBelow = (c: number, top: number): boolean =>
    c === top || (c > 0 && isBelow(circuits[c].parent, top));
  circuits.forEach((circuit, top) => {
    let baseW = 0;
    let drawnW = 0;
    let heldW = 0;
    let backW = 0;
    const backA = [0, 0, 0];
    const onLines: SeenLoad[][] = [[], [], []];
    const see = (c: number, ways: Complex[][], amount: number, isPlanned: boolean, heldShare: number) => {
      const seen = ways.map((currents) => seenFrom(problem, currents, c, top));
      onLines.forEach((loads, line) => {
        const units = seen.map((of): Complex => of?.[line] ?? [0, 0]);
        loads.push({ units, amount, isPlanned, heldShare });
      });
    };
    circuits.forEach(({ baseLoadW, baseLoadA }, c) => {
      if (!isBelow(c, top)) return;
      const totalW = baseLoadW === undefined ? 0 : at(baseLoadW, atMs);
      const voltageV = voltageAt(problem, c);
      const currentsA = baseLoadA.map((series) =>
        series === undefined ? totalW / (3 * voltageV) : at(series, atMs),
      );
      baseW += Math.max(totalW, (currentsA[0] + currentsA[1] + currentsA[2]) * voltageV);
      if (baseLoadA.every((series) => series === undefined)) see(c, [LINE_VOLTAGES], currentsA[0], false, 0);
      else {
        currentsA.forEach((currentA, line) => {
          const alone = LINE_VOLTAGES.map((voltage, n): Complex => (n === line ? voltage : [0, 0]));
          see(c, [alone], currentA, false, 0);
        });
      }
    });
    for (const evse of evses) {
      if (evse.uncontrolledPowerW === undefined || !isBelow(evse.circuit, top)) continue;
      baseW += evse.uncontrolledPowerW;
      see(evse.circuit, waysToDraw(problem, evse, evse.phases), evse.uncontrolledPowerW, false, 0);
    }
    problem.sessions.forEach((session, i) => {
      const evse = evses[session.evse];
      if (!isBelow(evse.circuit, top)) return;
      // The charger forgets a departed vehicle's profile when the next one arrives.
      const isReplaced = problem.sessions.some(
        (next) =>
          next.evse === session.evse && next.arrivalMs >= session.departureMs && next.arrivalMs <= atMs,
      );
      const signedW = isReplaced ? 0 : powerAt(emitted[i], atMs);
      const powerW = Math.max(0, signedW);
      backW += powerW - signedW;
      const leastW = evse.ocpp.rejectsZeroLimit ? Math.min(powerW, leastToldPowerW(problem, session)) : 0;
      drawnW += powerW;
      heldW += leastW;
      const ways = waysToDraw(problem, evse, phasesOf(problem, session));
      see(evse.circuit, ways, powerW, true, powerW === 0 ? 0 : leastW / powerW);
      const seen = ways.map((currents) => seenFrom(problem, currents, evse.circuit, top));
      backA.forEach((_, line) => {
        const sizes = seen.map((of) => Math.hypot(...(of?.[line] ?? [0, 0])));
        backA[line] += Math.max(...sizes) * (powerW - signedW);
      });
    });
    const limitW = Math.min(
      circuit.maxPowerW,
      circuit.maxPowerSeriesW === undefined ? Number.POSITIVE_INFINITY : at(circuit.maxPowerSeriesW, atMs),
    );
    // Neither base load nor what a charger that rejects 0 holds on to is the plan's to give back.
    if (limitW < Number.POSITIVE_INFINITY) {
      const allowed = Math.max(limitW - baseW, heldW);
      found.push({ limit: `circuit ${circuit.circuitId}`, atMs, value: drawnW, allowed });
      found.push({ limit: `circuit ${circuit.circuitId} back`, atMs, value: backW, allowed: limitW });
    }
    if (circuit.maxCurrentA === Number.POSITIVE_INFINITY) return;
    const toW = voltageAt(problem, top);
    onLines.forEach((loads, line) => {
      const total = (some: readonly SeenLoad[]) =>
        some.reduce((sum, load) => sum + unitSize(load) * load.amount, 0);
      const drawing = loads.filter((load) => unitSize(load) * toW > 1e-6);
      const planned = drawing.filter(({ isPlanned }) => isPlanned);
      const heldA = planned.reduce((sum, load) => sum + load.heldShare * unitSize(load) * load.amount, 0);
      const limit = `circuit ${circuit.circuitId} L${line + 1}`;
      // Where all stands in one direction, what the plan may draw can be told.
      const [first, ...others] = drawing.filter(({ units }) => units.length === 1);
      const isScalar = others.every(({ units: [[x, y]] }) => {
        const [[u, v]] = first.units;
        return Math.abs(x * v - y * u) < 1e-9 * Math.hypot(x, y) * Math.hypot(u, v);
      });
      const highestA = highestCurrent(drawing);
      const value = isScalar ? total(planned) : highestA;
      const isHeld = total(planned) <= heldA + 1e-9;
      let allowed = isHeld ? highestA : circuit.maxCurrentA;
      if (isScalar) allowed = Math.max(circuit.maxCurrentA - (total(drawing) - total(planned)), heldA);
      found.push({ limit, atMs, value: value * toW, allowed: allowed * toW });
      const back = { value: backA[line] * toW, allowed: circuit.maxCurrentA * toW };
      found.push({ limit: `${limit} back`, atMs, ...back });
    });
  });
}

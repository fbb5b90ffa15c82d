import { type ChargingRange, chargingRange, HOUR_MS, slotAt } from "../domain/charging.ts";
import { check, type Excess } from "../domain/check.ts";
import { slotBaseLoad } from "../domain/load.ts";
import type { PowerStep, SitePlan } from "../domain/plan.ts";
import type { Problem, Session, Site, StationaryBattery } from "../domain/problem.ts";
import { rangeOver, type Series } from "../domain/series.ts";
import { slotPv } from "../domain/surplus.ts";
import { storedAfter } from "../domain/taper.ts";
import { voltagesOf } from "../domain/wiring.ts";
import { expand } from "../ocpp/expand.ts";
import { foresightOf, nextPublicationMs } from "./forecast.ts";
import { type Scenario, slotsOf, type Visit } from "./scenario.ts";
import type { Strategy } from "./strategy.ts";

/** What came of a scenario under a strategy. */
export interface Run {
  strategy: Strategy;
  /** When it was ended before the scenario's end, as it was not worth going on; what came of it is until then. */
  endedMs: number | undefined;
  /** One for each visit. */
  visits: VisitRun[];
  slotStartsMs: number[];
  /** Drawn by all vehicles in each slot less what they gave, Wh. */
  chargedWh: Float64Array;
  /** Into the site's battery in each slot, Wh, negative out of it. */
  batteryWh: Float64Array;
  /** Stored in the site's battery at the end above what it began with, Wh; negative below. */
  batteryGainWh: number;
  /** The highest power of all vehicles at any instant, W. */
  highestW: number;
  /** Limits that what the chargers allowed would have passed. */
  excesses: Excess[];
  excessCount: number;
  /** Time of each decision, ms. */
  decisionMs: number[];
  /** Plans that failed the check and were replaced before they were sent. */
  faults: number;
  /** Of each circuit of the site. */
  circuits: CircuitRun[];
}

/** What a circuit carried in each slot. */
interface CircuitRun {
  /** Drawn by the vehicles below it less what they gave, and what the battery there charged, Wh. */
  drawnWh: Float64Array;
  /** What one more kWh through it would be worth, as the last plan for the slot had it. */
  shadowPricePerKwh: Float64Array;
}

/** What came of one visit. */
export interface VisitRun {
  /** Drawn at the meter, Wh, without what it gave. */
  drawnWh: number;
  /** Given at the meter, Wh. */
  givenWh: number;
  /** What of its wish it has, at the meter, Wh: what it charged again for what it gave is not in it. */
  metWh: number;
  /** When it was content; undefined: it never was. */
  contentMs: number | undefined;
  /** Times that it was told something new while it was here. */
  changes: number;
  /** Times that it stopped drawing before it was content, and drew again. */
  interruptions: number;
  /** Drawn less given in each slot from the one of its arrival on, Wh. */
  slotWh: number[];
  firstSlot: number;
}

/** A vehicle while it is here. */
interface Present {
  visit: Visit;
  run: VisitRun;
  /** What its profile allows, by time. */
  steps: readonly PowerStep[];
  payloadJson: string | undefined;
  /** What the engine was last told of it, for few changes and a safe order. */
  installed: Session["installed"];
  storedWh: number;
  /** What it can draw on a number of phases; undefined: on those that it has. */
  rangeOn: (phases: number | undefined) => ChargingRange;
  /** The circuits that feed it. */
  circuits: CircuitRun[];
  isDrawing: boolean;
}

/** What is left of a need that nobody waits for, Wh. */
export const CONTENT_WH = 0.5;
const MAX_EXCESSES = 20;

export interface SimulateOptions {
  signal?: AbortSignal;
  /** Told how much of the time has passed, 0 to 1. */
  onProgress?: ((share: number) => void) | undefined;
  /** Asked before every decision; the run ends where it is not worth going on. */
  isPointless?: ((run: Run, atMs: number) => boolean) | undefined;
}

/**
 * Runs a scenario: at each arrival and departure, and every interval, the strategy is asked with what a CSMS would
 * know; in between every vehicle draws what its profile, read back from the wire, allows and its own limits and
 * charge curve take, until it is content or leaves. A vehicle that outstays what it said counts as leaving after
 * the next interval. Deterministic: neither clock nor chance is used.
 */
export async function simulate(
  scenario: Scenario,
  strategy: Strategy,
  { signal, onProgress, isPointless }: SimulateOptions = {},
): Promise<Run> {
  const { base, startMs, endMs, visits } = scenario;
  const slotStartsMs = slotsOf(scenario);
  const slotCount = slotStartsMs.length - 1;
  const run: Run = {
    strategy,
    endedMs: undefined,
    visits: visits.map(({ said, departureMs }) => {
      const firstSlot = slotAt(slotStartsMs, said.arrivalMs);
      const slots = Math.max(0, Math.min(slotCount, slotAt(slotStartsMs, departureMs) + 1) - firstSlot);
      return {
        drawnWh: 0,
        givenWh: 0,
        metWh: 0,
        contentMs: undefined,
        changes: 0,
        interruptions: 0,
        // One of the many small ones of a large scenario: a plain array takes half of a typed one.
        slotWh: new Array<number>(slots).fill(0),
        firstSlot,
      };
    }),
    slotStartsMs,
    chargedWh: new Float64Array(slotCount),
    batteryWh: new Float64Array(slotCount),
    batteryGainWh: 0,
    highestW: 0,
    excesses: [],
    excessCount: 0,
    decisionMs: [],
    faults: 0,
    circuits: base.site.circuits.map(() => ({
      drawnWh: new Float64Array(slotCount),
      shadowPricePerKwh: new Float64Array(slotCount),
    })),
  };
  const foresee = foresightOf(scenario);
  const above = feedersOf(base.site, run.circuits);
  const peaks = new Peaks(scenario, slotStartsMs);
  let { battery } = base.site;
  let here: Present[] = [];
  let next = 0;
  for (let atMs = startMs; atMs < endMs; ) {
    signal?.throwIfAborted();
    if (isPointless?.(run, atMs)) {
      run.endedMs = atMs;
      break;
    }
    here = here.filter(({ visit }) => visit.departureMs > atMs);
    for (; next < visits.length && visits[next].said.arrivalMs <= atMs; next++) {
      if (visits[next].departureMs > atMs)
        here.push(arrived(scenario, visits[next], run.visits[next], above));
    }
    const untilMs = nextEventMs(scenario, here, visits[next]?.said.arrivalMs, atMs);
    let batteryW: Series | undefined;
    if (here.length > 0 || battery !== undefined) {
      const problem = problemAt(scenario, foresee, here, atMs, battery, peaks.untilW(run, atMs));
      const beforeMs = performance.now();
      const decision = strategy.decide(problem);
      run.decisionMs.push(performance.now() - beforeMs);
      run.faults += decision.faults ?? 0;
      if (decision.plan !== undefined) noteShadowPrices(run, decision.plan);
      here.forEach((one, i) => {
        tell(one, decision.payloads[i], problem, i);
      });
      noteExcesses(run, base.site, problem, here, untilMs);
      batteryW = decision.batteryW && seriesOf(problem, decision.batteryW);
    }
    draw(run, here, atMs, untilMs);
    if (battery !== undefined && batteryW !== undefined)
      battery = {
        ...battery,
        storedWh: store(run, battery, batteryW, above[battery.circuit], atMs, untilMs),
      };
    atMs = untilMs;
    onProgress?.((atMs - startMs) / (endMs - startMs));
    // Lets progress be shown, and a caller that gives up be heard.
    await new Promise(setImmediate);
  }
  run.batteryGainWh = (battery?.storedWh ?? 0) - (base.site.battery?.storedWh ?? 0);
  return run;
}

/** The circuits that feed each circuit, itself included. */
function feedersOf({ circuits }: Site, runs: CircuitRun[]): CircuitRun[][] {
  const above: CircuitRun[][] = [];
  circuits.forEach(({ parent }, c) => {
    above.push([runs[c], ...(above[parent] ?? [])]);
  });
  return above;
}

function arrived({ base }: Scenario, visit: Visit, run: VisitRun, above: CircuitRun[][]): Present {
  const { site } = base;
  const { said } = visit;
  const evse = site.evses[said.evse];
  const range = chargingRange(site, said);
  const onOne = evse.maxPhaseSwitches > 0 ? chargingRange(site, { ...said, phaseCount: 1 }) : range;
  return {
    visit,
    run,
    // Until it is told otherwise it has what the charger gives under a default profile of 0.
    steps: [{ atMs: Number.NEGATIVE_INFINITY, powerW: range.floorPowerW }],
    payloadJson: undefined,
    installed: undefined,
    storedWh: visit.said.battery?.storedWh ?? 0,
    rangeOn: (phases) => (phases === 1 ? onOne : range),
    circuits: above[evse.circuit],
    isDrawing: false,
  };
}

/** When something happens that the strategy is asked about. */
function nextEventMs(
  scenario: Scenario,
  here: readonly Present[],
  nextArrivalMs: number | undefined,
  atMs: number,
): number {
  const { everyMs, endMs, isEventDriven } = scenario;
  const regularMs = (Math.floor(atMs / everyMs) + 1) * everyMs;
  const events = [regularMs, endMs];
  if (isEventDriven) {
    if (nextArrivalMs !== undefined) events.push(nextArrivalMs);
    events.push(nextPublicationMs(scenario, atMs), ...here.map(({ visit }) => visit.departureMs));
  }
  return Math.min(...events);
}

/** What is known at an instant: the vehicles that are here, what they said, and what is metered. */
function problemAt(
  scenario: Scenario,
  foresee: (slotStartsMs: readonly number[]) => Site,
  here: readonly Present[],
  atMs: number,
  battery: StationaryBattery | undefined,
  peakSoFarW: number,
): Problem {
  const { base, everyMs, slotMs, horizonMs } = scenario;
  const furthestMs = atMs + horizonMs;
  const sessions = here.map((one): Session => {
    const { said } = one.visit;
    const { energyWh, battery, discharge } = asMetered(one);
    const minimumWh = Math.max(0, (said.minimum?.energyWh ?? 0) - one.run.drawnWh);
    return {
      ...said,
      departureMs: said.departureMs > atMs ? Math.min(said.departureMs, furthestMs) : atMs + everyMs,
      energyWh,
      battery,
      discharge,
      minimum: said.minimum && { ...said.minimum, energyWh: Math.min(energyWh, minimumWh) },
      departureChances: said.departureChances.filter(
        (chance) => chance.atMs > atMs && chance.atMs < furthestMs,
      ),
      installed: one.installed,
    };
  });
  const leastMs = battery === undefined ? atMs + slotMs : furthestMs;
  const endMs = sessions.reduce((last, { departureMs }) => Math.max(last, departureMs), leastMs);
  const slotStartsMs = slotsOf({ startMs: atMs, endMs, slotMs });
  const site = foresee(slotStartsMs);
  const { tariff } = site;
  return {
    ...base,
    site: {
      ...site,
      battery,
      tariff: tariff && {
        ...tariff,
        demandPeakSoFarW: Math.max(tariff.demandPeakSoFarW, peakSoFarW),
      },
    },
    sessions,
    slotStartsMs,
    notices: [],
  };
}

/** A vehicle's need and battery as its meter has them; one that has stopped drawing needs nothing more. */
function asMetered(one: Present): Pick<Session, "energyWh" | "battery" | "discharge"> {
  const { said, energyWh: realWh } = one.visit;
  const isContent = leftWh(one, realWh) <= CONTENT_WH;
  const leftOfSaidWh = leftWh(one, said.energyWh);
  const lacksWh = isContent ? 0 : Math.max(0, leftOfSaidWh);
  if (said.battery === undefined) return { energyWh: lacksWh, battery: undefined, discharge: undefined };
  return {
    energyWh: lacksWh,
    battery: { ...said.battery, storedWh: one.storedWh },
    discharge: said.discharge && {
      ...said.discharge,
      spareWh: Math.max(0, -leftOfSaidWh),
    },
  };
}

/** What a vehicle lacks, at the meter, of a need that it had when it came, Wh; negative where it has more. */
function leftWh({ visit: { said }, run, storedWh }: Present, needWh: number): number {
  if (said.battery === undefined) return needWh - run.drawnWh;
  const { storedWh: cameWithWh, efficiency } = said.battery;
  // One that needed nothing came with what it can spare above what it is to leave with.
  const spareWh = needWh > 0 ? 0 : (said.discharge?.spareWh ?? 0);
  return needWh - spareWh - (storedWh - cameWithWh) / efficiency;
}

/** Sends a vehicle's charger its payload; without one it keeps what it holds. */
function tell(one: Present, payloadJson: string | undefined, problem: Problem, i: number): void {
  if (payloadJson === undefined) return;
  const evse = problem.site.evses[problem.sessions[i].evse];
  const before = one.steps;
  one.steps = expand(payloadJson, evse, voltagesOf(problem.site)[evse.circuit]);
  if (one.payloadJson !== undefined && !saySame(problem, before, one.steps)) one.run.changes++;
  one.payloadJson = payloadJson;
  const allowed = problem.slotStartsMs.slice(0, -1).map((atMs) => allowedAt(one.steps, atMs));
  const inSlots = (numberOf: (step: PowerStep) => number) =>
    seriesOf(problem, Float64Array.from(allowed, numberOf));
  one.installed = {
    powerW: inSlots(({ powerW }) => powerW),
    chargingProfileId: 0,
    numberPhases: evse.maxPhaseSwitches > 0 ? inSlots(({ numberPhases }) => numberPhases ?? 3) : undefined,
  };
}

/** Whether two profiles allow the same from now on: a new one may say what the old one said. */
function saySame(
  { slotStartsMs }: Problem,
  before: readonly PowerStep[],
  after: readonly PowerStep[],
): boolean {
  return slotStartsMs
    .slice(0, -1)
    .every((atMs) => Math.abs(allowedAt(before, atMs).powerW - allowedAt(after, atMs).powerW) < 1);
}

function allowedAt(steps: readonly PowerStep[], atMs: number): PowerStep {
  return steps.findLast((step) => step.atMs <= atMs) ?? steps[0];
}

/** Slot values as a series; the first slot is as long as the others, and begins before it. */
function seriesOf({ slotStartsMs }: Problem, values: Float64Array): Series {
  const stepMs =
    slotStartsMs.length > 2 ? slotStartsMs[2] - slotStartsMs[1] : slotStartsMs[1] - slotStartsMs[0];
  const startMs = slotStartsMs.length > 2 ? slotStartsMs[1] - stepMs : slotStartsMs[0];
  return { startMs, stepMs, values };
}

/** Keeps what the plan says of each circuit's slots; what a later plan says takes its place. */
function noteShadowPrices({ circuits, slotStartsMs }: Run, plan: SitePlan): void {
  const first = slotAt(slotStartsMs, plan.startMs);
  circuits.forEach(({ shadowPricePerKwh }, c) => {
    plan.circuits[c].shadowPricePerKwh.forEach((price, k) => {
      if (first + k < shadowPricePerKwh.length) shadowPricePerKwh[first + k] = price;
    });
  });
}

/** Tests what the chargers allow until the next decision against every circuit's limits and its true load. */
function noteExcesses(
  run: Run,
  site: Site,
  problem: Problem,
  here: readonly Present[],
  untilMs: number,
): void {
  const [atMs] = problem.slotStartsMs;
  const sessions = problem.sessions.map((session) => ({ ...session, arrivalMs: atMs, departureMs: untilMs }));
  const emitted = here.map(({ steps }) => [
    { ...allowedAt(steps, atMs), atMs },
    ...steps.filter((step) => step.atMs > atMs && step.atMs < untilMs),
    { atMs: untilMs, powerW: 0 },
  ]);
  const { excesses } = check({ ...problem, site, sessions, slotStartsMs: [atMs, untilMs] }, emitted);
  const ofCircuits = excesses.filter(({ limit }) => limit.startsWith("circuit"));
  run.excessCount += ofCircuits.length;
  run.excesses.push(...ofCircuits.slice(0, MAX_EXCESSES - run.excesses.length));
}

/** Lets every vehicle draw and give what its profile allows. */
function draw(run: Run, here: readonly Present[], fromMs: number, toMs: number): void {
  const changes: { atMs: number; powerW: number }[] = [];
  for (const one of here) {
    const endMs = Math.min(toMs, one.visit.departureMs);
    let slot = slotAt(run.slotStartsMs, fromMs);
    for (let atMs = fromMs; atMs < endMs; ) {
      while (run.slotStartsMs[slot + 1] <= atMs) slot++;
      const nextStepMs = one.steps.find((step) => step.atMs > atMs)?.atMs ?? endMs;
      const untilMs = Math.min(endMs, run.slotStartsMs[slot + 1], nextStepMs);
      const { energyWh, seconds } = drawPiece(one, allowedAt(one.steps, atMs), atMs, untilMs);
      if (energyWh !== 0) {
        run.chargedWh[slot] += energyWh;
        one.run.slotWh[slot - one.run.firstSlot] += energyWh;
        for (const { drawnWh } of one.circuits) drawnWh[slot] += energyWh;
        const powerW = (energyWh * 3600) / seconds;
        changes.push({ atMs, powerW }, { atMs: atMs + seconds * 1000, powerW: -powerW });
      }
      atMs = untilMs;
    }
    const { energyWh } = one.visit;
    one.run.metWh = Math.min(energyWh, Math.max(0, energyWh - leftWh(one, energyWh)));
  }
  changes.sort((a, b) => a.atMs - b.atMs || a.powerW - b.powerW);
  let sumW = 0;
  for (const { powerW } of changes) {
    sumW += powerW;
    run.highestW = Math.max(run.highestW, sumW);
  }
}

/** What one vehicle draws under one limit, Wh, negative where it gives, and for how long. */
function drawPiece(
  one: Present,
  { powerW: limitW, numberPhases }: PowerStep,
  fromMs: number,
  toMs: number,
): { energyWh: number; seconds: number } {
  const { said, energyWh: needWh } = one.visit;
  const hours = (toMs - fromMs) / HOUR_MS;
  const seconds = hours * 3600;
  if (limitW < 0) {
    const powerW = Math.min(-limitW, one.rangeOn(numberPhases).maxDischargePowerW);
    return { energyWh: -give(one, powerW, hours), seconds };
  }
  const lacksWh = leftWh(one, needWh);
  // One that is to give takes what it is told, as long as its battery does; others stop when they are content.
  const mayStore = one.run.givenWh > 0 || one.steps.some((step) => step.powerW < 0);
  const roomWh = mayStore ? Number.POSITIVE_INFINITY : lacksWh;
  const { minPowerW, maxPowerW } = one.rangeOn(numberPhases);
  const powerW = Math.min(limitW, maxPowerW);
  if (powerW <= 0 || powerW < minPowerW * (1 - 1e-9) || roomWh <= CONTENT_WH) {
    if (one.isDrawing && lacksWh > CONTENT_WH) one.run.interruptions++;
    one.isDrawing = false;
    return { energyWh: 0, seconds };
  }
  one.isDrawing = true;
  const efficiency = said.battery?.efficiency ?? 1;
  const takesWh =
    said.battery === undefined
      ? powerW * hours
      : (storedAfter(said.battery, one.storedWh, powerW, hours) - one.storedWh) / efficiency;
  const energyWh = Math.min(takesWh, roomWh);
  one.storedWh += energyWh * efficiency;
  one.run.drawnWh += energyWh;
  if (takesWh < lacksWh - CONTENT_WH) return { energyWh, seconds };
  if (lacksWh > 0) one.run.contentMs ??= fromMs + Math.ceil(Math.min(1, lacksWh / takesWh) * (toMs - fromMs));
  if (takesWh < roomWh) return { energyWh, seconds };
  one.isDrawing = false;
  return { energyWh, seconds: (energyWh / takesWh) * seconds };
}

/** What a vehicle gives, Wh: no more than it may without falling below what is kept. */
function give(one: Present, powerW: number, hours: number): number {
  const { battery, discharge } = one.visit.said;
  if (battery === undefined || discharge === undefined) return 0;
  const spareWh = Math.max(0, one.storedWh - discharge.minStoredWh) * battery.efficiency;
  const givenWh = Math.min(powerW * hours, spareWh);
  one.storedWh -= givenWh / battery.efficiency;
  one.run.givenWh += givenWh;
  return givenWh;
}

/** Lets the site's battery follow its plan; returns what is then stored in it, Wh. */
function store(
  run: Run,
  { storedWh, capacityWh, minStoredWh, efficiency }: StationaryBattery,
  plan: Series,
  circuits: readonly CircuitRun[],
  fromMs: number,
  toMs: number,
): number {
  let stored = storedWh;
  let slot = slotAt(run.slotStartsMs, fromMs);
  for (let atMs = fromMs; atMs < toMs; slot++) {
    const untilMs = Math.min(toMs, run.slotStartsMs[slot + 1]);
    const wantsWh = rangeOver(plan, atMs, untilMs).mean * ((untilMs - atMs) / HOUR_MS);
    const wh =
      wantsWh > 0
        ? Math.min(wantsWh, (capacityWh - stored) / efficiency)
        : Math.max(wantsWh, Math.min(0, minStoredWh - stored) * efficiency);
    stored += wh > 0 ? wh * efficiency : wh / efficiency;
    run.batteryWh[slot] += wh;
    // What a battery gives makes no room under a limit, and is left out as in a plan's account.
    if (wh > 0) for (const { drawnWh } of circuits) drawnWh[slot] += wh;
    atMs = untilMs;
  }
  return stored;
}

/** The highest mean import over a demand window so far: what a demand charge no longer charges for. */
class Peaks {
  readonly #base: Problem;
  readonly #otherWh: Float64Array;
  readonly #windowMs: number;
  #slot = 0;
  #windowStartMs = Number.NaN;
  #windowWh = 0;
  #highestW = 0;

  constructor({ base, slotMs }: Scenario, slotStartsMs: number[]) {
    this.#base = { ...base, sessions: [], slotStartsMs, notices: [] };
    this.#otherWh = otherLoadWh(this.#base);
    this.#windowMs = Math.max(base.site.tariff?.demandWindowMs ?? 0, slotMs);
  }

  /** Counts the windows that have ended by an instant. */
  untilW(run: Run, atMs: number): number {
    const { slotStartsMs } = run;
    for (; this.#slot < this.#otherWh.length && slotStartsMs[this.#slot + 1] <= atMs; this.#slot++) {
      const startMs = Math.floor(slotStartsMs[this.#slot] / this.#windowMs) * this.#windowMs;
      if (startMs !== this.#windowStartMs) this.#windowWh = 0;
      this.#windowStartMs = startMs;
      this.#windowWh += run.chargedWh[this.#slot] + run.batteryWh[this.#slot] + this.#otherWh[this.#slot];
      this.#highestW = Math.max(this.#highestW, this.#windowWh / (this.#windowMs / HOUR_MS));
    }
    return this.#highestW;
  }
}

/** Base load less photovoltaic production of a site in each slot, Wh. */
export function otherLoadWh(problem: Problem): Float64Array {
  const pvW = slotPv(problem);
  const { slotStartsMs } = problem;
  return slotBaseLoad(problem).map(
    (w, k) => ((w - pvW[k]) * (slotStartsMs[k + 1] - slotStartsMs[k])) / HOUR_MS,
  );
}

import { chargingRange, HOUR_MS, slotAt } from "../domain/charging.ts";
import { check, type Excess } from "../domain/check.ts";
import { slotBaseLoad } from "../domain/load.ts";
import type { PowerStep, SitePlan } from "../domain/plan.ts";
import type { Problem, Session, StationaryBattery } from "../domain/problem.ts";
import { rangeOver, type Series } from "../domain/series.ts";
import { slotPv } from "../domain/surplus.ts";
import { storedAfter } from "../domain/taper.ts";
import { voltagesOf } from "../domain/wiring.ts";
import { expand } from "../ocpp/expand.ts";
import { type Scenario, slotsOf, type Visit } from "./scenario.ts";
import type { Strategy } from "./strategy.ts";

/** What came of a scenario under a strategy. */
export interface Run {
  strategy: Strategy;
  /** One for each visit. */
  visits: VisitRun[];
  slotStartsMs: number[];
  /** Drawn by all vehicles in each slot less what they gave, Wh. */
  chargedWh: Float64Array;
  /** Into the site's battery in each slot, Wh, negative out of it. */
  batteryWh: Float64Array;
  /** The highest power of all vehicles at any instant, W. */
  highestW: number;
  /** Limits that what the chargers allowed would have passed. */
  excesses: Excess[];
  excessCount: number;
  /** Time of each decision, ms. */
  decisionMs: number[];
  /** The engine's accounts, where it decided. */
  plans: { atMs: number; plan: SitePlan }[];
}

/** What came of one visit. */
export interface VisitRun {
  /** Drawn at the meter, Wh, without what it gave. */
  drawnWh: number;
  /** Given at the meter, Wh. */
  givenWh: number;
  /** When it was content; undefined: it never was. */
  contentMs: number | undefined;
  /** Times that it was told something new while it was here. */
  changes: number;
  /** Times that it stopped drawing before it was content, and drew again. */
  interruptions: number;
  /** Drawn less given in each slot from the one of its arrival on, Wh. */
  slotWh: Float64Array;
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
  leastW: number;
  mostW: number;
  isDrawing: boolean;
}

/** What is left of a need that nobody waits for, Wh. */
const CONTENT_WH = 0.5;
const MAX_EXCESSES = 20;

export interface SimulateOptions {
  signal?: AbortSignal;
  /** Told how much of the time has passed, 0 to 1. */
  onProgress?: (share: number) => void;
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
  { signal, onProgress }: SimulateOptions = {},
): Promise<Run> {
  const { base, startMs, endMs, visits } = scenario;
  const slotStartsMs = slotsOf(scenario);
  const slotCount = slotStartsMs.length - 1;
  const run: Run = {
    strategy,
    visits: visits.map(({ said, departureMs }) => {
      const firstSlot = slotAt(slotStartsMs, said.arrivalMs);
      const slots = Math.max(0, Math.min(slotCount, slotAt(slotStartsMs, departureMs) + 1) - firstSlot);
      const slotWh = new Float64Array(slots);
      return {
        drawnWh: 0,
        givenWh: 0,
        contentMs: undefined,
        changes: 0,
        interruptions: 0,
        slotWh,
        firstSlot,
      };
    }),
    slotStartsMs,
    chargedWh: new Float64Array(slotCount),
    batteryWh: new Float64Array(slotCount),
    highestW: 0,
    excesses: [],
    excessCount: 0,
    decisionMs: [],
    plans: [],
  };
  const peaks = new Peaks(scenario, slotStartsMs);
  let { battery } = base.site;
  let here: Present[] = [];
  let next = 0;
  for (let atMs = startMs; atMs < endMs; ) {
    signal?.throwIfAborted();
    here = here.filter(({ visit }) => visit.departureMs > atMs);
    for (; next < visits.length && visits[next].said.arrivalMs <= atMs; next++) {
      if (visits[next].departureMs > atMs) here.push(arrived(scenario, visits[next], run.visits[next]));
    }
    const untilMs = nextEventMs(scenario, here, visits[next]?.said.arrivalMs, atMs);
    let batteryW: Series | undefined;
    if (here.length > 0 || battery !== undefined) {
      const problem = problemAt(scenario, here, atMs, battery, peaks.untilW(run, atMs));
      const beforeMs = performance.now();
      const decision = strategy.decide(problem);
      run.decisionMs.push(performance.now() - beforeMs);
      if (decision.plan !== undefined) run.plans.push({ atMs, plan: decision.plan });
      here.forEach((one, i) => {
        tell(one, decision.payloads[i], problem, i);
      });
      noteExcesses(run, problem, here, untilMs);
      batteryW = decision.batteryW && seriesOf(problem, decision.batteryW);
    }
    draw(run, here, atMs, untilMs);
    if (battery !== undefined && batteryW !== undefined)
      battery = { ...battery, storedWh: store(run, battery, batteryW, atMs, untilMs) };
    atMs = untilMs;
    onProgress?.((atMs - startMs) / (endMs - startMs));
    // Lets progress be shown, and a caller that gives up be heard.
    await new Promise(setImmediate);
  }
  return run;
}

function arrived({ base }: Scenario, visit: Visit, run: VisitRun): Present {
  const { minPowerW, maxPowerW, floorPowerW } = chargingRange(base.site, visit.said);
  return {
    visit,
    run,
    // Until it is told otherwise it has what the charger gives under a default profile of 0.
    steps: [{ atMs: Number.NEGATIVE_INFINITY, powerW: floorPowerW }],
    payloadJson: undefined,
    installed: undefined,
    storedWh: visit.said.battery?.storedWh ?? 0,
    leastW: minPowerW,
    mostW: maxPowerW,
    isDrawing: false,
  };
}

/** When something happens that the strategy is asked about. */
function nextEventMs(
  { everyMs, endMs, isEventDriven }: Scenario,
  here: readonly Present[],
  nextArrivalMs: number | undefined,
  atMs: number,
): number {
  const regularMs = (Math.floor(atMs / everyMs) + 1) * everyMs;
  const events = [regularMs, endMs];
  if (isEventDriven) {
    if (nextArrivalMs !== undefined) events.push(nextArrivalMs);
    events.push(...here.map(({ visit }) => visit.departureMs));
  }
  return Math.min(...events);
}

/** What is known at an instant: the vehicles that are here, what they said, and what is metered. */
function problemAt(
  scenario: Scenario,
  here: readonly Present[],
  atMs: number,
  battery: StationaryBattery | undefined,
  peakSoFarW: number,
): Problem {
  const { base, everyMs, slotMs } = scenario;
  const sessions = here.map((one): Session => {
    const { said } = one.visit;
    const { energyWh, battery, discharge } = asMetered(one);
    const minimumWh = Math.max(0, (said.minimum?.energyWh ?? 0) - one.run.drawnWh);
    return {
      ...said,
      departureMs: said.departureMs > atMs ? said.departureMs : atMs + everyMs,
      energyWh,
      battery,
      discharge,
      minimum: said.minimum && { ...said.minimum, energyWh: Math.min(energyWh, minimumWh) },
      departureChances: said.departureChances.filter((chance) => chance.atMs > atMs),
      installed: one.installed,
    };
  });
  const endMs = sessions.reduce((last, { departureMs }) => Math.max(last, departureMs), atMs + slotMs);
  const { tariff } = base.site;
  return {
    ...base,
    site: {
      ...base.site,
      battery,
      tariff: tariff && {
        ...tariff,
        demandPeakSoFarW: Math.max(tariff.demandPeakSoFarW, peakSoFarW),
      },
    },
    sessions,
    slotStartsMs: slotsOf({ startMs: atMs, endMs, slotMs }),
    notices: [],
  };
}

/** A vehicle's need and battery as its meter has them; one that has stopped drawing needs nothing more. */
function asMetered(one: Present): Pick<Session, "energyWh" | "battery" | "discharge"> {
  const { said, energyWh: realWh } = one.visit;
  const isContent = leftWh(one, realWh) <= CONTENT_WH;
  const lacksWh = isContent ? 0 : Math.max(0, leftWh(one, said.energyWh));
  if (said.battery === undefined) return { energyWh: lacksWh, battery: undefined, discharge: undefined };
  const { efficiency } = said.battery;
  const spareWh = said.discharge && Math.max(0, said.discharge.spareWh - leftWh(one, 0) * efficiency ** 2);
  return {
    energyWh: lacksWh,
    battery: { ...said.battery, storedWh: one.storedWh },
    discharge: said.discharge && { ...said.discharge, spareWh: spareWh ?? 0 },
  };
}

/** What a vehicle lacks, at the meter, of a need that it had when it came, Wh; negative where it has more. */
function leftWh({ visit: { said }, run, storedWh }: Present, needWh: number): number {
  if (said.battery === undefined) return needWh - run.drawnWh;
  const { storedWh: cameWithWh, efficiency } = said.battery;
  return needWh - (storedWh - cameWithWh) / efficiency;
}

/** Sends a vehicle's charger its payload; without one it keeps what it holds. */
function tell(one: Present, payloadJson: string | undefined, problem: Problem, i: number): void {
  if (payloadJson === undefined) return;
  const evse = problem.site.evses[problem.sessions[i].evse];
  if (one.payloadJson !== undefined) one.run.changes++;
  one.payloadJson = payloadJson;
  one.steps = expand(payloadJson, evse, voltagesOf(problem.site)[evse.circuit]);
  const powerW = problem.slotStartsMs.slice(0, -1).map((atMs) => allowedAt(one.steps, atMs).powerW);
  one.installed = { powerW: seriesOf(problem, Float64Array.from(powerW)), chargingProfileId: 0 };
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

/** Tests what the chargers allow until the next decision against every circuit's limits. */
function noteExcesses(run: Run, problem: Problem, here: readonly Present[], untilMs: number): void {
  const [atMs] = problem.slotStartsMs;
  const sessions = problem.sessions.map((session) => ({ ...session, arrivalMs: atMs, departureMs: untilMs }));
  const emitted = here.map(({ steps }) => [
    { ...allowedAt(steps, atMs), atMs },
    ...steps.filter((step) => step.atMs > atMs && step.atMs < untilMs),
    { atMs: untilMs, powerW: 0 },
  ]);
  const { excesses } = check({ ...problem, sessions, slotStartsMs: [atMs, untilMs] }, emitted);
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
      const { energyWh, seconds } = drawPiece(one, allowedAt(one.steps, atMs).powerW, atMs, untilMs);
      if (energyWh !== 0) {
        run.chargedWh[slot] += energyWh;
        one.run.slotWh[slot - one.run.firstSlot] += energyWh;
        const powerW = (energyWh * 3600) / seconds;
        changes.push({ atMs, powerW }, { atMs: atMs + seconds * 1000, powerW: -powerW });
      }
      atMs = untilMs;
    }
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
  limitW: number,
  fromMs: number,
  toMs: number,
): { energyWh: number; seconds: number } {
  const { said, energyWh: needWh } = one.visit;
  const hours = (toMs - fromMs) / HOUR_MS;
  const seconds = hours * 3600;
  if (limitW < 0) return { energyWh: -give(one, -limitW, hours), seconds };
  const lacksWh = leftWh(one, needWh);
  const powerW = Math.min(limitW, one.mostW);
  if (powerW <= 0 || powerW < one.leastW * (1 - 1e-9) || lacksWh <= CONTENT_WH) {
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
  const energyWh = Math.min(takesWh, lacksWh);
  one.storedWh += energyWh * efficiency;
  one.run.drawnWh += energyWh;
  if (takesWh < lacksWh - CONTENT_WH) return { energyWh, seconds };
  one.isDrawing = false;
  const share = energyWh / takesWh;
  one.run.contentMs ??= fromMs + Math.ceil(share * (toMs - fromMs));
  return { energyWh, seconds: share * seconds };
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

  constructor({ base }: Scenario, slotStartsMs: number[]) {
    this.#base = { ...base, sessions: [], slotStartsMs, notices: [] };
    this.#otherWh = otherLoadWh(this.#base);
    this.#windowMs = base.site.tariff?.demandWindowMs ?? 0;
  }

  /** Counts the windows that have ended by an instant. */
  untilW(run: Run, atMs: number): number {
    const { slotStartsMs } = run;
    if (this.#windowMs === 0) return 0;
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

import { setImmediate } from "node:timers/promises";
import { answer, type Candidate, toldOfBattery } from "./answer.ts";
import { withBatteryPlan, withVehiclePlan } from "./domain/battery.ts";
import { type Charging, chargingOf } from "./domain/charging.ts";
import { checkBattery, type Excess } from "./domain/check.ts";
import { energyWh, mostEnergyWh } from "./domain/delivery.ts";
import { affordable, drawnOf, withDischarge, withSpare } from "./domain/discharge.ts";
import { WattslotError } from "./domain/errors.ts";
import { greedy } from "./domain/greedy.ts";
import type { PlanStatus, PowerPlan, SessionPlan, SitePlan } from "./domain/plan.ts";
import type { Problem, SolverChoice } from "./domain/problem.ts";
import { type StayPart, withParts } from "./domain/stays.ts";
import { evaluate } from "./model/evaluate.ts";
import { shadowPrices, undeliveredWh } from "./model/explain.ts";
import { extract, makeUp } from "./model/extract.ts";
import { formulate, goalsOf } from "./model/formulate.ts";
import { keep } from "./model/keep.ts";
import { type Part, split } from "./model/lp.ts";
import { choosePhases, mayChoose, onOnePhase } from "./model/phases.ts";
import { pricingOf } from "./model/pricing.ts";
import { type Program, powerKw } from "./model/program.ts";
import { gapOf, MIP_GAP, refine } from "./model/refine.ts";
import { steady } from "./model/steady.ts";
import { type Storage, type StoragePlan, scheduleStorage, storageCost } from "./model/storage.ts";
import { allowedPowers } from "./ocpp/profile.ts";
import { createPool } from "./solve/pool.ts";
import type { Method, Solver } from "./solve/solver.ts";
import { practiceSite } from "./warmup.ts";

/** Columns up to which independent pieces of a program are solved in one call. */
const PACK_COLUMNS = 1000;
/** Columns from which HiGHS is faster than GLPK, loading and re-solving included (`npm run bench`). */
const HIGHS_COLUMNS = 100;
/**
 * Columns from which a program is solved from inside, where no vehicle ends short: the simplex
 * method walks long through the equal optima that such sites have. Scarcity leaves few.
 */
const INTERIOR_COLUMNS = 50_000;
/** Columns from which the way on to a corner takes too long; then no search follows, powers are only rounded. */
const NO_CORNER_COLUMNS = 150_000;
/** Energy by which one plan misses less than another for it to be the better one. */
const NOTABLE_WH = 10;
// Up to so many vehicle-slots one plan more takes little time.
const SMALL_SITE_SLOTS = 2_000;
// Vehicles that are tried on one phase alone.
const SHORTEST = 3;
// Relative gap from which a plan with storage is held against one without.
const DOUBTFUL_GAP = 0.05;
/** Vehicle-slots from which the safe plan is handed over first, in case the thread must be ended. */
const LONG_SOLVE_SLOTS = 10_000;
/** Time left under which it is as well: a solver call that takes longer than it should is then of no harm. */
const SHORT_TIME_MS = 500;
/** Plans of practice sites after which a thread's code, and the calling thread's, is compiled. */
const PRACTICE_PLANS = 10;
const PRACTICE_VEHICLES = 20;

/** The solvers of one thread. */
export interface Solvers {
  glpk: Solver;
  highs: Solver;
}

/** A plan whose profiles have all passed the checker, and the excesses of plans that it replaced. */
export interface Planned {
  plan: SitePlan;
  excesses: Excess[];
}

/**
 * Plans one site, in the order of the stages: formulate, solve, refine to 0 or the minimum,
 * extract in whole steps, then the answer, whose payloads are read back and checked. `leftMs`
 * tells the time that is left; pieces of the program that are not solved in it take the safe
 * plan. `onSafePlan` gets the finished safe plan before work that may take long.
 */
export function planSite(
  problem: Problem,
  solvers: Solvers,
  leftMs: () => number,
  onSafePlan?: (planned: Planned) => void,
): Planned {
  if (!problem.sessions.some((session) => mayChoose(problem, session)))
    return planStays(problem, solvers, leftMs, onSafePlan);
  // Half of the time is for the plan on all phases, which is what there is should the other not be done.
  const laterMs = leftMs() / 2;
  const onAll = planStays(problem, solvers, () => leftMs() - laterMs, onSafePlan);
  if (leftMs() <= 0) return onAll;
  let best: Planned & { parts: PartsOfStays } = { ...onAll, parts: problem.sessions.map(() => undefined) };
  const tryPhases = (parts: PartsOfStays | undefined): void => {
    if (parts === undefined || leftMs() <= 0) return;
    const other = planStays(withParts(problem, parts), solvers, leftMs);
    const better = isBetter(other.plan, best.plan) ? { plan: other.plan, parts } : best;
    best = { ...better, excesses: [...best.excesses, ...other.excesses] };
  };
  const isShort = onAll.plan.sessionPlans.map(isMissing);
  tryPhases(choosePhases(problem, chargingOf(problem), isShort, solvers.highs, leftMs));
  // The program that chooses knows no minimum: one phase all the time may give more, or cost less.
  if (best.plan.sessionPlans.some(isMissing) || vehicleSlots(chargingOf(problem)) <= SMALL_SITE_SLOTS) {
    const everyone = isShort.map(() => true);
    tryPhases(onOnePhase(problem, everyone, best.parts));
  }
  for (const i of shortest(best.plan))
    tryPhases(
      onOnePhase(
        problem,
        isShort.map((_, n) => n === i),
        best.parts,
      ),
    );
  return { plan: best.plan, excesses: best.excesses };
}

type PartsOfStays = (StayPart[] | undefined)[];

function vehicleSlots({ stays }: Charging): number {
  return stays.reduce((count, { hours }) => count + hours.length, 0);
}

/** The few sessions that miss most of their need, in which to look for more. */
function shortest({ sessionPlans }: SitePlan): number[] {
  return sessionPlans
    .flatMap((session, i) => (isMissing(session) ? [i] : []))
    .sort((a, b) => sessionPlans[b].shortfallWh - sessionPlans[a].shortfallWh)
    .slice(0, SHORTEST);
}

function isMissing({ shortfallWh, minimumShortfallWh }: SessionPlan): boolean {
  return Math.max(shortfallWh, minimumShortfallWh) > NOTABLE_WH;
}

/** Plans stays whose numbers of phases are settled. */
function planStays(
  problem: Problem,
  solvers: Solvers,
  leftMs: () => number,
  onSafePlan?: (planned: Planned) => void,
): Planned {
  return hasStorage(problem)
    ? planWithStorage(problem, solvers, leftMs, onSafePlan)
    : planVehicles(problem, solvers, leftMs, onSafePlan);
}

/**
 * Whether a plan misses less of the vehicles' minimums than another for the same vehicles, then less of their needs,
 * or costs less where they miss the same.
 */
function isBetter(a: SitePlan, b: SitePlan): boolean {
  const [isSafe, isOtherSafe] = [a, b].map(({ status }) => status === "FALLBACK");
  if (isSafe !== isOtherSafe) return isOtherSafe;
  const [lessDueWh, lessWh] = (["minimumShortfallWh", "shortfallWh"] as const).map(
    (name) => shortIn(b, name) - shortIn(a, name),
  );
  if (Math.abs(lessDueWh) > NOTABLE_WH) return lessDueWh > 0;
  if (Math.abs(lessWh) > NOTABLE_WH) return lessWh > 0;
  return a.solve.objective < b.solve.objective - MIP_GAP * Math.abs(b.solve.objective);
}

function shortIn({ sessionPlans }: SitePlan, name: "minimumShortfallWh" | "shortfallWh"): number {
  return sessionPlans.reduce((sumWh, session) => sumWh + session[name], 0);
}

function hasStorage({ site, sessions }: Problem): boolean {
  return site.battery !== undefined || sessions.some(({ discharge }) => discharge !== undefined);
}

/**
 * Plans what the site's battery does and what vehicles give, then the vehicles beside that as something
 * known, then both once more beside the vehicles as they are sent. Without time for it, or should it fail the
 * check, storage does nothing.
 */
function planWithStorage(
  problem: Problem,
  solvers: Solvers,
  leftMs: () => number,
  onSafePlan?: (planned: Planned) => void,
): Planned {
  const idle = withIdleStorage(problem);
  const charging = chargingOf(problem);
  const idleSafe = greedy(idle, charging, "LEAST_SLACK");
  const tell = onSafePlan && ((planned: Planned) => onSafePlan(withStorageIdle(problem, planned)));
  handOver(idle, charging, idleSafe, leftMs, tell);
  const scarce = isScarce(idle, charging, idleSafe);
  // Half of the time is for the vehicles, with or without it.
  const laterMs = leftMs() / 2;
  const storage = scheduleStorage(problem, charging, solvers.highs, scarce, () => leftMs() - laterMs);
  const faults: Excess[] = [];
  if (storage !== undefined) {
    const open = withSpare(problem, storage.spareWh);
    const fixed = withStorage(open, charging, storage);
    const safe = greedy(fixed, charging, "LEAST_SLACK");
    const candidate = findPlan(fixed, charging, safe, solvers, leftMs, storage);
    const settled = candidate && settle(open, charging, candidate, storage, solvers.highs, leftMs);
    if (settled?.excesses.length === 0) {
      const relaxedWh = candidate?.relaxedShortWh?.reduce((sumWh, wh) => sumWh + wh, 0) ?? 0;
      const shortWh = Math.min(relaxedWh * (1 + DOUBTFUL_GAP), missedWh(idle, charging, idleSafe));
      if (!isDoubtful(settled.plan, shortWh) || leftMs() <= 0) return settled;
      // Minimums, whole steps and few periods can cost more than storage brings.
      const other = withStorageIdle(problem, planVehicles(idle, solvers, leftMs));
      return isBetter(other.plan, settled.plan) ? other : settled;
    }
    faults.push(...(settled?.excesses ?? []));
  }
  const planned = withStorageIdle(problem, planVehicles(idle, solvers, leftMs));
  return { ...planned, excesses: [...faults, ...planned.excesses] };
}

/** Whether a plan with storage is far from its bound or has none, or leaves vehicles short of more than it should. */
function isDoubtful(plan: SitePlan, shortWh: number): boolean {
  if (!(plan.solve.gap <= DOUBTFUL_GAP) || shortIn(plan, "minimumShortfallWh") > NOTABLE_WH) return true;
  return shortIn(plan, "shortfallWh") > shortWh + NOTABLE_WH;
}

/** What a plan leaves the vehicles short of, Wh. */
function missedWh(problem: Problem, charging: Charging, plan: PowerPlan): number {
  return problem.sessions.reduce(
    (sumWh, session, i) => sumWh + Math.max(0, session.energyWh - energyWh(problem, charging, i, plan[i])),
    0,
  );
}

/** The problem with the use of its storage known: load, production, and what vehicles have to charge again. */
function withStorage(
  problem: Problem,
  charging: Charging,
  { batteryW, given, peakW }: Storage & { peakW: number },
): Problem {
  const settled = withDischarge(problem, charging, given);
  return problem.site.battery === undefined ? settled : withBatteryPlan(settled, batteryW, peakW);
}

/**
 * The answer for vehicles as they are sent: what they give lowered to what they then hold, and the battery
 * planned once more for what minimums and whole steps have changed, where that is better.
 */
function settle(
  problem: Problem,
  charging: Charging,
  candidate: Candidate,
  storage: StoragePlan,
  solver: Solver,
  leftMs: () => number,
): Planned {
  const { power } = candidate;
  const sent = withStorage(problem, charging, storage);
  const profiled = allowedPowers(sent, power).map((powerW) => powerW.map((w) => Math.max(0, -w)));
  const given = affordable(
    problem,
    charging,
    power,
    storage.given.map((givesW, i) => givesW && profiled[i]),
  );
  const worthOf = (batteryW: Float64Array): number => {
    const site = withStorage(problem, charging, { batteryW, given, peakW: Number.POSITIVE_INFINITY });
    return (
      evaluate(goalsOf(site, charging, true), power) + storageCost(problem, charging, { batteryW, given })
    );
  };
  const { unit } = pricingOf(problem, charging);
  const tell = (used: Storage, objective: number): Planned => {
    // From inside, and up to the first plan's peak, is not all that a plan may do: it can be better than the bound.
    const bound = Math.min(storage.bound, objective);
    const gap = gapOf(objective, bound);
    // The bound on the battery's import is no limit of the site.
    const site = withStorage(problem, charging, { ...used, peakW: Number.POSITIVE_INFINITY });
    const { plan, excesses, sent } = answer(site, charging, {
      ...candidate,
      status: gap <= MIP_GAP ? "OPTIMAL" : "FEASIBLE",
      report: (powerW) => ({
        ...candidate.report(powerW),
        objective: objective * unit,
        bound: bound * unit,
        gap,
      }),
    });
    if (problem.site.battery === undefined) return { plan, excesses };
    return {
      plan: toldOfBattery(problem, plan, used.batteryW),
      excesses: [...excesses, ...checkBattery(problem, used.batteryW, sent)],
    };
  };
  const first = worthOf(storage.batteryW);
  if (problem.site.battery !== undefined) {
    const asSent = withVehiclePlan(withDischarge(problem, charging, given), charging, power);
    const again = scheduleStorage(asSent, chargingOf(asSent), solver, false, leftMs);
    const worth = again === undefined ? Number.POSITIVE_INFINITY : worthOf(again.batteryW);
    if (again !== undefined && worth < first) {
      const better = tell({ ...again, given }, worth);
      if (better.excesses.length === 0) return better;
    }
  }
  return tell({ ...storage, given }, first);
}

/** Plans the vehicles of a site; should the plan fail the check, the safe one goes out. */
function planVehicles(
  problem: Problem,
  solvers: Solvers,
  leftMs: () => number,
  onSafePlan?: (planned: Planned) => void,
): Planned {
  const charging = chargingOf(problem);
  const safe = greedy(problem, charging, "LEAST_SLACK");
  handOver(problem, charging, safe, leftMs, onSafePlan);
  const candidate = findPlan(problem, charging, safe, solvers, leftMs);
  const planned = candidate && answer(problem, charging, candidate);
  if (planned?.excesses.length === 0) return planned;
  return safePlan(problem, charging, safe, planned?.excesses ?? []);
}

/** Hands over the finished safe plan where what follows may take long. */
function handOver(
  problem: Problem,
  charging: Charging,
  safe: PowerPlan,
  leftMs: () => number,
  onSafePlan?: (planned: Planned) => void,
): void {
  if (vehicleSlots(charging) > LONG_SOLVE_SLOTS || leftMs() < SHORT_TIME_MS)
    onSafePlan?.(safePlan(problem, charging, safe, []));
}

/**
 * The best plan for the vehicles; undefined where no piece of the program was solved. `storage` is what
 * storage that is planned already adds to the objective.
 */
function findPlan(
  problem: Problem,
  charging: Charging,
  safe: PowerPlan,
  solvers: Solvers,
  leftMs: () => number,
  storage?: StoragePlan,
): Candidate | undefined {
  const program = formulate(problem, charging, isScarce(problem, charging, safe));

  const startedMs = leftMs();
  const parts = split(program.lp, PACK_COLUMNS);
  // NaN where a piece has no solution.
  const primal = new Float64Array(program.lp.columnCount).fill(Number.NaN);
  const relaxed = primal.slice();
  const duals = new Float64Array(program.lp.rowCount);
  const used = new Set<Solver["name"]>();
  let bound = 0;
  let found = 0;
  let solved = 0;
  let isProved = true;
  let objective = storage?.cost ?? 0;
  for (const part of parts) {
    const solver = choose(solvers, problem.solver, part);
    used.add(solver.name);
    const outcome = solvePart(program, part, solver, solvers.highs, leftMs);
    if (outcome === undefined) {
      isProved = false;
      bound = Number.NaN;
      continue;
    }
    found++;
    if (!Number.isNaN(outcome.bound)) solved++;
    bound += outcome.bound;
    objective += outcome.objective;
    isProved &&= gapOf(outcome.objective, outcome.bound) <= MIP_GAP;
    part.columns.forEach((column, j) => {
      primal[column] = outcome.primal[j];
      relaxed[column] = outcome.relaxed[j];
    });
    part.rows.forEach((row, r) => {
      duals[row] = outcome.duals[r];
    });
  }
  if (storage !== undefined) {
    bound = storage.bound;
    // A piece without a solution is missing from the objective: nothing is proved then.
    isProved = solved === parts.length && gapOf(objective, bound) <= MIP_GAP;
  }
  if (found === 0 && parts.length > 0) return undefined;
  const solveMs = startedMs - leftMs();

  const isComplete = solved === parts.length;
  const extracted = extract(program, powersOf(program, primal, safe));
  // A relaxation that there was no time to refine can be worth less than the safe plan.
  const isBest = isProved || evaluate(program, extracted) <= evaluate(program, safe);
  const planned = isBest ? steady(program, extracted) : safe;
  const unmerged = keep(program, planned);
  // What keeping installed plans costs is part of what the proof leaves open.
  const lost = unmerged === planned ? 0 : evaluate(program, unmerged) - evaluate(program, planned);
  if (lost > 0) isProved &&= gapOf(objective + lost, bound) <= MIP_GAP;
  return {
    power: withinPeriods(program, unmerged),
    unmerged,
    status: isProved ? "OPTIMAL" : "FEASIBLE",
    relaxedShortWh: isComplete ? undeliveredWh(program, powersOf(program, relaxed, safe)) : undefined,
    shadowPrices: shadowPrices(program, duals),
    report: (sent) => {
      const objective = evaluate(program, sent) + (storage?.cost ?? 0);
      const relaxedBound = isComplete || storage !== undefined ? bound : trivialBound(program);
      // Phasors are bounded from inside: the whole steps of a plan may use what lies between.
      const proved = program.isInner ? Math.min(relaxedBound, objective) : relaxedBound;
      return {
        solver: used.has("HIGHS") ? "HIGHS" : "GLPK",
        solveMs,
        columns: program.lp.columnCount,
        rows: program.lp.rowCount,
        objective: objective * program.pricing.unit,
        bound: proved * program.pricing.unit,
        gap: gapOf(objective, proved),
      };
    },
  };
}

/** Plans practice sites, so that real ones find compiled code; between two of them other work has its turn. */
export async function practise(solvers: Solvers): Promise<void> {
  const practice = practiceSite(PRACTICE_VEHICLES);
  for (let n = 0; n < PRACTICE_PLANS; n++) {
    await setImmediate();
    planSite(practice, solvers, () => practice.timeLimitMs);
  }
}

/** The safe plan without a solver; should even its profiles fail the check, nothing charges. */
export function planSafely(problem: Problem): Planned {
  if (hasStorage(problem)) return withStorageIdle(problem, planSafely(withIdleStorage(problem)));
  const charging = chargingOf(problem);
  return safePlan(problem, charging, greedy(problem, charging, "LEAST_SLACK"), []);
}

/** The problem as it is while its storage does nothing: vehicles are only charged. */
function withIdleStorage(problem: Problem): Problem {
  const sessions = problem.sessions.map((session) => ({ ...session, discharge: undefined }));
  return { ...problem, sessions, site: { ...problem.site, battery: undefined } };
}

/** A plan made without the battery, which then does nothing. */
function withStorageIdle(problem: Problem, planned: Planned): Planned {
  if (problem.site.battery === undefined) return planned;
  const idleW = new Float64Array(problem.slotStartsMs.length - 1);
  return { ...planned, plan: toldOfBattery(problem, planned.plan, idleW) };
}

function safePlan(problem: Problem, charging: Charging, safe: PowerPlan, faults: Excess[]): Planned {
  const first = answer(problem, charging, fallback(safe));
  if (first.excesses.length === 0) return { plan: first.plan, excesses: faults };
  const nothing = safe.map((powerW) => new Float64Array(powerW.length));
  const last = answer(problem, charging, fallback(nothing));
  if (last.excesses.length === 0) return { plan: last.plan, excesses: [...faults, ...first.excesses] };
  throw new WattslotError("INTERNAL", "no plan passed the check", { cause: last.excesses });
}

function fallback(power: PowerPlan): Candidate {
  const status: PlanStatus = "FALLBACK";
  const unknown = { objective: Number.NaN, bound: Number.NaN, gap: Number.NaN };
  const report = { solver: "NONE" as const, solveMs: 0, columns: 0, rows: 0, ...unknown };
  return {
    power,
    unmerged: power,
    status,
    relaxedShortWh: undefined,
    shadowPrices: undefined,
    report: () => report,
  };
}

interface PartOutcome {
  primal: Float64Array;
  relaxed: Float64Array;
  duals: Float64Array;
  objective: number;
  bound: number;
}

/**
 * Solves and refines one piece; undefined when time runs out. Integer programs are HiGHS's work
 * whatever solves the linear ones: GLPK's presolve for them does not look at the clock.
 */
function solvePart(
  program: Program,
  part: Part,
  solver: Solver,
  integerSolver: Solver,
  leftMs: () => number,
): PartOutcome | undefined {
  if (leftMs() <= 0) return undefined;
  const loaded = solver.load(part.lp);
  try {
    const method = methodFor(program, part);
    const relaxed = loaded.solve({ timeLimitMs: leftMs(), method });
    // Extraction drops what is under a minimum, but it can't mend a block.
    const canRound = !program.problem.sessions.some(({ uninterruptible }) => uninterruptible);
    if (relaxed.status === "feasible" && canRound) return unproved(relaxed.primal, part);
    if (relaxed.status !== "optimal") return undefined;
    const refined =
      canRound && method === "INTERIOR"
        ? undefined
        : refine(program, part, integerSolver, loaded, relaxed, leftMs);
    const { primal, duals } = relaxed;
    if (refined !== undefined) return { ...refined, relaxed: primal, duals };
    if (!canRound) return undefined;
    return { primal, relaxed: primal, duals, objective: Number.POSITIVE_INFINITY, bound: relaxed.objective };
  } finally {
    loaded.dispose();
  }
}

/** A point of a piece that time ran out on: it keeps every limit, and nothing is known of how good it is. */
function unproved(primal: Float64Array, { rows }: Part): PartOutcome {
  const unknown = { objective: Number.POSITIVE_INFINITY, bound: Number.NaN };
  return { primal, relaxed: primal, duals: new Float64Array(rows.length), ...unknown };
}

function methodFor(program: Program, part: Part): Method {
  const { columnCount } = part.lp;
  if (program.scarce || columnCount < INTERIOR_COLUMNS) return "SIMPLEX";
  return columnCount < NO_CORNER_COLUMNS ? "INTERIOR_TO_CORNER" : "INTERIOR";
}

function choose(solvers: Solvers, choice: SolverChoice, part: Part): Solver {
  if (choice === "GLPK") return solvers.glpk;
  if (choice === "HIGHS") return solvers.highs;
  return part.lp.columnCount < HIGHS_COLUMNS ? solvers.glpk : solvers.highs;
}

/** The powers, W, of a solution; the safe plan's where it has none. */
function powersOf(program: Program, primal: Float64Array, safe: PowerPlan): PowerPlan {
  return program.charging.stays.map(({ first, end }, i) => {
    const powerW = safe[i].slice();
    for (let k = first; k < end; k++) {
      const kw = powerKw(program, primal, program.offsets[i] + k - first);
      if (!Number.isNaN(kw)) powerW[k] = kw * 1000;
    }
    return powerW;
  });
}

/** The plan after its profiles were merged to what the chargers take, the energy that this cost made up for where there is room. */
function withinPeriods(program: Program, plan: PowerPlan): PowerPlan {
  // What a vehicle gives stands beside what it charges, below 0.
  const { problem } = program;
  const sent = allowedPowers(problem, plan).map((powerW, i) => drawnOf(problem.sessions[i], powerW));
  const isMerged = sent.some((powerW, i) => powerW.some((w, k) => w < plan[i][k] - 1e-6));
  return isMerged ? makeUp(program, sent) : plan;
}

/** Whether the safe plan leaves a vehicle short that its stay would not. */
function isScarce(problem: Problem, charging: Charging, safe: PowerPlan): boolean {
  return problem.sessions.some((session, i) => {
    const most = mostEnergyWh(problem, charging, i);
    return energyWh(problem, charging, i, safe[i]) < Math.min(session.energyWh, most) - 1;
  });
}

/** A bound that needs no solver: every vehicle's energy at its cheapest slot, the peak at its least. */
function trivialBound(program: Program): number {
  const { charging, pricing, energy, demand } = program;
  let bound = demand === undefined ? 0 : pricing.demand * demand.leastKw;
  charging.stays.forEach(({ first, end }, i) => {
    let least = Number.POSITIVE_INFINITY;
    for (let k = first; k < end; k++) least = Math.min(least, pricing.slotCost(i, k));
    if (end > first) bound += energy[i].energyKwh * least;
  });
  return bound;
}

/** Plans sites on worker threads. */
export interface Engine {
  /**
   * Plans one site. Resolves before `deadlineMs` (epoch) with the optimum, the best plan found
   * or the fallback, and says which. Rejects with a WattslotError: CANCELLED when the signal
   * aborts, RESOURCE_EXHAUSTED when the queue is full, UNAVAILABLE when the engine is closing,
   * INTERNAL when no plan passed the check.
   */
  optimise(problem: Problem, options?: { signal?: AbortSignal; deadlineMs?: number }): Promise<SitePlan>;
  /** Ends the worker threads; pending calls reject with UNAVAILABLE. */
  close(): Promise<void>;
}

/** What a worker is sent: plan this, and be done by then. */
export interface Task {
  problem: Problem;
  finishMs: number;
}

export interface EngineOptions {
  /** Number of threads. */
  workers: number;
  /** Problems that may wait for a thread. */
  maxQueue: number;
  /** Told of every plan that failed the check and of every thread that broke; neither reaches a caller. */
  onFault: (message: string, detail: unknown) => void;
  /** Practises while there is no work yet: for a service, whose first callers are in a hurry. Default: no. */
  warmUp?: boolean;
  /** The compiled worker; only to be given where this module does not run from its compiled folder. */
  workerUrl?: URL;
}

/** Starts an engine. */
export function createEngine(options: EngineOptions): Engine {
  const pool = createPool<Task, Planned, Planned>({
    workerUrl: options.workerUrl ?? new URL("./worker.js", import.meta.url),
    size: options.workers,
    maxQueue: options.maxQueue,
    workerData: { warmUp: options.warmUp === true },
    onFault: (error) => options.onFault("worker thread broke", error),
  });
  if (options.warmUp === true) {
    for (let n = 0; n < PRACTICE_PLANS; n++) planSafely(practiceSite(PRACTICE_VEHICLES));
  }
  const accept = ({ plan, excesses }: Planned): SitePlan => {
    if (excesses.length > 0)
      options.onFault("a plan failed the check and was replaced", { siteId: plan.siteId, excesses });
    return plan;
  };
  return {
    async optimise(problem, { signal, deadlineMs = Number.POSITIVE_INFINITY } = {}) {
      const nowMs = Date.now();
      const answerByMs = Math.min(deadlineMs, nowMs + problem.timeLimitMs);
      // The hard limit leaves time for the safe plan here, the soft one for the answer there.
      const hardMs = answerByMs - safePlanMs(problem);
      const finishMs =
        hardMs - Math.max(0.1 * (hardMs - nowMs), Math.min(afterSolveMs(problem), (hardMs - nowMs) / 2));
      let safe: Planned | undefined;
      if (finishMs > nowMs) {
        try {
          return accept(
            await pool.run(
              { problem, finishMs },
              {
                deadlineMs: hardMs,
                onInterim: (planned) => {
                  safe = planned;
                },
                ...(signal === undefined ? {} : { signal }),
              },
            ),
          );
        } catch (error) {
          const { code } = WattslotError.from(error);
          if (code !== "DEADLINE_EXCEEDED" && code !== "INTERNAL") throw error;
          if (code === "INTERNAL") options.onFault("planning failed; the safe plan goes out", error);
        }
      }
      if (signal?.aborted)
        throw new WattslotError("CANCELLED", "the caller gave up", { cause: signal.reason });
      return accept(safe ?? planSafely(problem));
    },
    close: () => pool.close(),
  };
}

/** Time to set aside for the safe plan, ms, by the size of the problem: twice what it takes the first time. */
function safePlanMs(problem: Problem): number {
  return 10 + cellsOf(problem) / 200;
}

/** Time that rounding, profiles and the check take after the solve, ms. */
function afterSolveMs(problem: Problem): number {
  return cellsOf(problem) / 80;
}

/** Circuit-slots and vehicle-slots, about. */
function cellsOf(problem: Problem): number {
  const slotMs = problem.slotStartsMs[1] - problem.slotStartsMs[0];
  let cells = problem.slotStartsMs.length * problem.site.circuits.length;
  for (const { arrivalMs, departureMs } of problem.sessions) cells += (departureMs - arrivalMs) / slotMs + 1;
  return cells;
}

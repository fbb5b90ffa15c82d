import { setImmediate } from "node:timers/promises";
import { answer, type Candidate, toldOfBattery, toldOfOffline } from "./answer.ts";
import { withBatteryPlan, withVehiclePlan } from "./domain/battery.ts";
import { type Charging, chargingOf } from "./domain/charging.ts";
import { checkBattery, type Excess } from "./domain/check.ts";
import { energyWh, mostEnergyWh } from "./domain/delivery.ts";
import { affordable, type DischargePlan, drawnOf, withDischarge, withSpare } from "./domain/discharge.ts";
import { WattslotError } from "./domain/errors.ts";
import { greedy } from "./domain/greedy.ts";
import { hasOffline, withoutOffline } from "./domain/offline.ts";
import type { PlanStatus, PowerPlan, SessionPlan, ShortfallCause, SitePlan } from "./domain/plan.ts";
import type { Problem, SolverChoice } from "./domain/problem.ts";
import { type StayPart, withParts } from "./domain/stays.ts";
import { fallbackProfiles } from "./fallback.ts";
import { calm } from "./model/calm.ts";
import { evaluate } from "./model/evaluate.ts";
import { shadowPrices, undeliveredWh } from "./model/explain.ts";
import { extract } from "./model/extract.ts";
import { formulate, goalsOf } from "./model/formulate.ts";
import { keep } from "./model/keep.ts";
import { type Part, split } from "./model/lp.ts";
import { withinPeriods } from "./model/periods.ts";
import { choosePhases, mayChoose, onOnePhase } from "./model/phases.ts";
import { pricingOf } from "./model/pricing.ts";
import { type Program, powerKw } from "./model/program.ts";
import { gapOf, MIP_GAP, refine } from "./model/refine.ts";
import { Standing } from "./model/standing.ts";
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
/** Causes of a shortfall that are there whatever the plan. */
const CAUSES_OF_STAY: readonly ShortfallCause[] = [
  "STAY_TOO_SHORT",
  "VEHICLE_LIMIT",
  "EVSE_LIMIT",
  "CHARGE_CURVE",
];
// Share of the cost that other phases must be able to save for a plan of their own.
const WORTH_OTHER_PHASES = 0.01;
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

/** A plan whose profiles have all passed the checker, and the excesses of plans and schedules that it replaced. */
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
  const finish = finisher(problem);
  const tell = onSafePlan && ((planned: Planned) => onSafePlan(finish(planned)));
  return finish(planPhases(withoutOffline(problem), solvers, leftMs, tell));
}

/** What the answer has beside the plan of the vehicles at chargers that are connected: the others, and fallback profiles. */
function finisher(problem: Problem): (planned: Planned) => Planned {
  const fallback = problem.withFallbackProfiles ? fallbackProfiles(problem) : undefined;
  return ({ plan, excesses }) => {
    const told = hasOffline(problem) ? toldOfOffline(problem, plan) : plan;
    if (fallback === undefined) return { plan: told, excesses };
    const notices = [...told.notices, ...fallback.notices];
    return {
      plan: { ...told, notices, fallbackProfiles: fallback.profiles },
      excesses: [...excesses, ...fallback.excesses],
    };
  };
}

/** Plans stays, whose numbers of phases may be open. */
function planPhases(
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
  const isShort = onAll.plan.sessionPlans.map(mayGetMore);
  const mayBeCheaper = !(usesStorage(onAll.plan) && onAll.plan.solve.gap <= WORTH_OTHER_PHASES);
  if (!mayBeCheaper && !isShort.includes(true) && !isHeldByCurrents(problem, onAll.plan)) return onAll;
  tryPhases(choosePhases(problem, chargingOf(problem), isShort, solvers.highs, leftMs));
  // The program that chooses knows no minimum: one phase all the time may give more, or cost less.
  const isSmall = vehicleSlots(chargingOf(problem)) <= SMALL_SITE_SLOTS;
  if (best.plan.sessionPlans.some(mayGetMore) || (mayBeCheaper && isSmall)) {
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
    .flatMap((session, i) => (mayGetMore(session) ? [i] : []))
    .sort((a, b) => sessionPlans[b].shortfallWh - sessionPlans[a].shortfallWh)
    .slice(0, SHORTEST);
}

/** Whether a session misses something for another reason than its stay, which no number of phases makes longer. */
function mayGetMore({ shortfallWh, minimumShortfallWh, shortfallCauses }: SessionPlan): boolean {
  const isOfStay = shortfallCauses.every((cause) => CAUSES_OF_STAY.includes(cause));
  return minimumShortfallWh > NOTABLE_WH || (shortfallWh > NOTABLE_WH && !isOfStay);
}

/** Whether a plan uses storage: its bound then is of the relaxed program, in which no phases have a minimum. */
function usesStorage({ batteryPowerW, summary }: SitePlan): boolean {
  return summary.dischargedEnergyWh > 0 || batteryPowerW?.some((w) => w !== 0) === true;
}

/**
 * Whether a limit of the current binds somewhere. Where none does, what bounds the cost of a plan on three phases
 * bounds it on one: there a vehicle draws no more, at the same prices.
 */
function isHeldByCurrents({ site }: Problem, { circuits }: SitePlan): boolean {
  return site.circuits.some(
    ({ maxCurrentA }, c) =>
      maxCurrentA < Number.POSITIVE_INFINITY && circuits[c].shadowPricePerKwh.some((price) => price > 0),
  );
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
    const planFor = (use: StoragePlan) => {
      const fixed = withStorage(open, charging, use);
      const safe = greedy(fixed, charging, "LEAST_SLACK");
      return findPlan(fixed, charging, safe, solvers, leftMs, use);
    };
    let use = storage;
    let candidate = planFor(use);
    const given = candidate && givenBeside(open, charging, candidate.power, use);
    if (given !== undefined && givesLess(charging, given, use.given) && leftMs() > 0) {
      // What was to be charged again for what nobody gives is not to be charged at all.
      use = { ...use, given, cost: storageCost(open, charging, { batteryW: use.batteryW, given }) };
      candidate = planFor(use) ?? candidate;
    }
    const settled = candidate && settle(open, charging, candidate, use, solvers.highs, leftMs);
    if (settled?.excesses.length === 0) {
      const passed = { plan: settled.plan, excesses: settled.faults };
      const relaxedWh = candidate?.relaxedShortWh?.reduce((sumWh, wh) => sumWh + wh, 0) ?? 0;
      const shortWh = Math.min(relaxedWh * (1 + DOUBTFUL_GAP), missedWh(idle, charging, idleSafe));
      if (!isDoubtful(settled.plan, shortWh) || leftMs() <= 0) return passed;
      // Minimums, whole steps and few periods can cost more than storage brings, or than vehicles that give do.
      const others = [planIdle(problem, solvers, leftMs)];
      if (problem.site.battery !== undefined && problem.sessions.some(({ discharge }) => discharge))
        others.push(planWithStorage(withoutGiving(problem), solvers, leftMs));
      return others.reduce((best, other) => (isBetter(other.plan, best.plan) ? other : best), passed);
    }
    faults.push(...(settled?.excesses ?? []));
  }
  const planned = planIdle(problem, solvers, leftMs);
  return { ...planned, excesses: [...faults, ...planned.excesses] };
}

/** The plan of the vehicles while storage does nothing; its objective is comparable with those of plans that use it. */
function planIdle(problem: Problem, solvers: Solvers, leftMs: () => number): Planned {
  const { plan, excesses } = withStorageIdle(
    problem,
    planVehicles(withIdleStorage(problem), solvers, leftMs),
  );
  const charging = chargingOf(problem);
  const batteryW = new Float64Array(problem.slotStartsMs.length - 1);
  const { unit } = pricingOf(problem, charging);
  const idle =
    unit * storageCost(problem, charging, { batteryW, given: problem.sessions.map(() => undefined) });
  const [objective, bound] = [plan.solve.objective + idle, plan.solve.bound + idle];
  return {
    plan: { ...plan, solve: { ...plan.solve, objective, bound, gap: gapOf(objective, bound) } },
    excesses,
  };
}

/** The problem in which no vehicle gives anything. */
function withoutGiving(problem: Problem): Problem {
  return { ...problem, sessions: problem.sessions.map((session) => ({ ...session, discharge: undefined })) };
}

/** What vehicles can give beside what a plan lets them charge, of what was planned for them. */
function givenBeside(
  problem: Problem,
  charging: Charging,
  power: PowerPlan,
  storage: StoragePlan,
): DischargePlan {
  const sent = withStorage(problem, charging, storage);
  const profiled = allowedPowers(sent, power).map((powerW) => powerW.map((w) => Math.max(0, -w)));
  return affordable(
    problem,
    charging,
    power,
    storage.given.map((givesW, i) => givesW && profiled[i]),
  );
}

function givesLess(charging: Charging, given: DischargePlan, planned: DischargePlan): boolean {
  const givenWh = (plan: DischargePlan) =>
    plan.reduce((sumWh, givesW, i) => {
      const { first, hours } = charging.stays[i];
      return sumWh + hours.reduce((wh, h, n) => wh + h * (givesW?.[first + n] ?? 0), 0);
    }, 0);
  return givenWh(given) < givenWh(planned) - NOTABLE_WH;
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
): Planned & { faults: Excess[] } {
  const { power } = candidate;
  const given = givenBeside(problem, charging, power, storage);
  const worthOf = (batteryW: Float64Array): number => {
    const site = withStorage(problem, charging, { batteryW, given, peakW: Number.POSITIVE_INFINITY });
    return (
      evaluate(goalsOf(site, charging, true), power) + storageCost(problem, charging, { batteryW, given })
    );
  };
  const { unit } = pricingOf(problem, charging);
  const tell = (used: Storage, objective: number): Planned & { faults: Excess[] } => {
    // From inside, and up to the first plan's peak, is not all that a plan may do: it can be better than the bound.
    const bound = Math.min(storage.bound, objective);
    const gap = gapOf(objective, bound);
    // The bound on the battery's import is no limit of the site.
    const site = withStorage(problem, charging, { ...used, peakW: Number.POSITIVE_INFINITY });
    const { plan, excesses, faults, sent } = answer(site, charging, {
      ...candidate,
      status: gap <= MIP_GAP ? "OPTIMAL" : "FEASIBLE",
      report: (powerW) => ({
        ...candidate.report(powerW),
        objective: objective * unit,
        bound: bound * unit,
        gap,
      }),
    });
    if (problem.site.battery === undefined) return { plan, excesses, faults };
    return {
      plan: toldOfBattery(problem, plan, used.batteryW),
      excesses: [...excesses, ...checkBattery(problem, used.batteryW, sent)],
      faults,
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
  if (planned?.excesses.length === 0) return { plan: planned.plan, excesses: planned.faults };
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
  const solution = solveParts(program, solvers, solvers.highs, leftMs);
  const { primal, relaxed, duals, used, found, solved, parts } = solution;
  let { bound, isProved } = solution;
  const objective = solution.objective + (storage?.cost ?? 0);
  if (storage !== undefined) {
    bound = storage.bound;
    // A piece without a solution is missing from the objective: nothing is proved then.
    isProved = solved === parts && gapOf(objective, bound) <= MIP_GAP;
  }
  if (found === 0 && parts > 0) return undefined;
  const solveMs = startedMs - leftMs();

  const isComplete = solved === parts;
  const extracted = extract(program, powersOf(program, primal, safe));
  // A relaxation that there was no time to refine can be worth less than the safe plan.
  const isBest = isProved || evaluate(program, extracted) <= evaluate(program, safe);
  // Where time is up, what is left of it is for the answer.
  const settled = () => (leftMs() > 0 ? calm(steady(new Standing(program, extracted))) : extracted);
  const planned = isBest ? settled() : safe;
  const unmerged = keep(program, planned);
  // What keeping installed plans costs is part of what the proof leaves open.
  const lost = unmerged === planned ? 0 : evaluate(program, unmerged) - evaluate(program, planned);
  if (lost > 0) isProved &&= gapOf(objective + lost, bound) <= MIP_GAP;
  const power = withinPeriods(program, unmerged, {
    send: (powers, most) => sentWithin(problem, powers, most),
    solve: (tied) => {
      const outcome = solveParts(tied, solvers, undefined, leftMs);
      return outcome.found < outcome.parts ? undefined : powersOf(tied, outcome.primal, safe);
    },
    hasTime: () => leftMs() > 0,
  });
  if (power !== unmerged) {
    const worth = evaluate(program, unmerged);
    isProved &&= evaluate(program, power) - worth <= MIP_GAP * Math.abs(worth);
  }
  return {
    power,
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
  return finisher(problem)(planWithoutSolver(withoutOffline(problem)));
}

function planWithoutSolver(problem: Problem): Planned {
  if (hasStorage(problem)) return withStorageIdle(problem, planWithoutSolver(withIdleStorage(problem)));
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
  if (first.excesses.length === 0) return { plan: first.plan, excesses: [...faults, ...first.faults] };
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

/** What is found for a program; NaN in the columns of pieces without a solution. */
interface Outcome extends PartOutcome {
  used: Set<Solver["name"]>;
  /** How many pieces there are, how many have a solution, and how many a bound. */
  parts: number;
  found: number;
  solved: number;
  /** Whether every piece is within MIP_GAP of its bound. */
  isProved: boolean;
}

/** Solves and refines a program piece by piece. */
function solveParts(
  program: Program,
  solvers: Solvers,
  integerSolver: Solver | undefined,
  leftMs: () => number,
): Outcome {
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
  let objective = 0;
  for (const part of parts) {
    const solver = choose(solvers, program.problem.solver, part);
    used.add(solver.name);
    const outcome = solvePart(program, part, solver, integerSolver, leftMs);
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
  return { primal, relaxed, duals, used, parts: parts.length, found, solved, bound, objective, isProved };
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
  integerSolver: Solver | undefined,
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

/** What profiles of at most so many periods allow each session to draw, W. */
function sentWithin(problem: Problem, plan: PowerPlan, maxPeriods: number): PowerPlan {
  const evses = problem.site.evses.map((evse) => ({
    ...evse,
    ocpp: { ...evse.ocpp, maxPeriods: Math.min(evse.ocpp.maxPeriods, maxPeriods) },
  }));
  const limited = { ...problem, site: { ...problem.site, evses } };
  // What a vehicle gives stands beside what it charges, below 0.
  return allowedPowers(limited, plan).map((powerW, i) => drawnOf(problem.sessions[i], powerW));
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

export interface EngineLoad {
  /** Number of threads. */
  workers: number;
  /** Problems on a thread. */
  busy: number;
  /** Problems that wait for a thread. */
  queued: number;
}

/** What broke: a plan that failed the check, planning itself, or a thread. */
export type Fault = "check" | "plan" | "thread";

/** Why a safe plan goes out: no time for a better one, or one of the faults. */
export type FallbackReason = "time" | "check" | "plan";

/** Plans sites on worker threads. */
export interface Engine {
  /**
   * Plans one site. Resolves before `deadlineMs` (epoch) with the optimum, the best plan found
   * or the fallback, and says which. Rejects with a WattslotError: CANCELLED when the signal
   * aborts, RESOURCE_EXHAUSTED when the queue is full, UNAVAILABLE when the engine is closing,
   * INTERNAL when no plan passed the check.
   */
  optimise(problem: Problem, options?: { signal?: AbortSignal; deadlineMs?: number }): Promise<SitePlan>;
  /** What the engine has to do at this moment. */
  load(): EngineLoad;
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
  onFault: (message: string, detail: unknown, fault: Fault) => void;
  /** Told why a plan is the safe one. */
  onFallback?: (reason: FallbackReason) => void;
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
    onFault: (error) => options.onFault("worker thread broke", error, "thread"),
  });
  if (options.warmUp === true) {
    for (let n = 0; n < PRACTICE_PLANS; n++) planSafely(practiceSite(PRACTICE_VEHICLES));
  }
  const accept = ({ plan, excesses }: Planned, reason: FallbackReason = "time"): SitePlan => {
    if (excesses.length > 0)
      options.onFault("a plan failed the check and was replaced", { siteId: plan.siteId, excesses }, "check");
    if (plan.status === "FALLBACK") options.onFallback?.(excesses.length > 0 ? "check" : reason);
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
      let reason: FallbackReason = "time";
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
          if (code === "INTERNAL") {
            reason = "plan";
            options.onFault("planning failed; the safe plan goes out", error, reason);
          }
        }
      }
      if (signal?.aborted)
        throw new WattslotError("CANCELLED", "the caller gave up", { cause: signal.reason });
      return accept(safe ?? planSafely(problem), reason);
    },
    load: () => ({ workers: options.workers, busy: pool.busy, queued: pool.queueDepth }),
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

import { chargingOf } from "../src/domain/charging.ts";
import { WattslotError } from "../src/domain/errors.ts";
import type { Problem } from "../src/domain/problem.ts";
import { planSite, type Solvers } from "../src/engine.ts";
import { toProblem } from "../src/grpc/convert.ts";
import { formulate } from "../src/model/formulate.ts";
import { gapOf, refine } from "../src/model/refine.ts";
import { createGlpk } from "../src/solve/glpk.ts";
import { createHighs } from "../src/solve/highs.ts";
import type { Solver } from "../src/solve/solver.ts";
import { acnGolden, acnWiredBounds, hasAcnData } from "../test/support/acn.ts";
import { garage, wiredGarage } from "../test/support/garage.ts";
import { provenOptimum, relaxedOptimum } from "../test/support/oracle.ts";
import { randomProblem } from "../test/support/problems.ts";
import { randomRequest, spoil } from "../test/support/requests.ts";

// How good the plans are: against published optima on real sessions, against proven optima on
// random sites, and how often a plan of random requests failed the check. The tests assert the
// same; this prints the figures.

const SITES = 240;
const MIP_SITES = 200;
const REQUESTS = 2400;

const print = (line: string) => process.stdout.write(`${line}\n`);

function realSessions(solvers: Solvers): void {
  if (!hasAcnData) {
    print("Real sessions: skipped, the data are not beside the project");
    return;
  }
  print("954 real sessions of a month, 5-minute slots: share of the energy delivered under a site cap");
  for (const { capKw, deliveredPercent } of acnGolden()) {
    const { summary, status } = planSite(garage(capKw), solvers, () => 1e9).plan;
    const percent = (100 * summary.plannedEnergyWh) / summary.requestedEnergyWh;
    print(
      `  ${capKw} kW: ${percent.toFixed(6)} %, published optimum ${deliveredPercent.toFixed(6)} %, ${status}`,
    );
  }
}

function wiredSessions(solvers: Solvers): void {
  if (!hasAcnData) return;
  print("\nThe same on the garage's own wiring, between lines of 208 V behind a delta-wye transformer");
  for (const { capKw, boundPercent } of acnWiredBounds()) {
    const startMs = performance.now();
    const { plan, excesses } = planSite(wiredGarage(capKw), solvers, () => 1e9);
    const seconds = (performance.now() - startMs) / 1000;
    const { plannedEnergyWh, requestedEnergyWh } = plan.summary;
    const percent = (100 * plannedEnergyWh) / requestedEnergyWh;
    print(
      `  ${capKw} kW: ${percent.toFixed(4)} %, ${(100 * (1 - percent / boundPercent)).toFixed(4)} % under the bound of ` +
        `${boundPercent.toFixed(4)} %, ${plan.solve.checks} checks, ${excesses.length} limits passed, ${seconds.toFixed(1)} s`,
    );
  }
}

function objectiveBy(solver: Solver, problem: Problem): number {
  const loaded = solver.load(formulate(problem, chargingOf(problem), true).lp);
  const { objective } = loaded.solve({ timeLimitMs: 60_000 });
  loaded.dispose();
  return objective;
}

async function relaxations(solvers: Solvers): Promise<void> {
  let worst = 0;
  for (let seed = 0; seed < SITES; seed++) {
    const problem = randomProblem(seed, { vehicles: [1, 20], hours: 12 });
    const reference = await relaxedOptimum(formulate(problem, chargingOf(problem), true).lp);
    for (const solver of [solvers.glpk, solvers.highs]) {
      const difference =
        Math.abs(objectiveBy(solver, problem) - reference) / Math.max(1, Math.abs(reference));
      worst = Math.max(worst, difference);
    }
  }
  print(
    `\n${SITES} random sites: linear programs differ from HiGHS on its own by ${worst.toExponential(1)} at most`,
  );
}

async function minimums(solvers: Solvers): Promise<void> {
  const gaps: number[] = [];
  for (let seed = 0; seed < MIP_SITES; seed++) {
    const one = randomProblem(seed, { vehicles: [1, 20], hours: 8, slotMs: 1_800_000 });
    const problem = {
      ...one,
      sessions: one.sessions.map((session) => ({ ...session, installed: undefined })),
    };
    const program = formulate(problem, chargingOf(problem), true);
    const optimum = await provenOptimum(program, 20);
    if (optimum === undefined) continue;
    const part = {
      lp: program.lp,
      columns: Int32Array.from({ length: program.lp.columnCount }, (_, j) => j),
      rows: Int32Array.from({ length: program.lp.rowCount }, (_, r) => r),
    };
    const loaded = solvers.highs.load(program.lp);
    const relaxed = loaded.solve({ timeLimitMs: 60_000 });
    const refined = refine(program, part, solvers.highs, loaded, relaxed, () => 60_000);
    loaded.dispose();
    gaps.push(gapOf(refined?.objective ?? Number.POSITIVE_INFINITY, optimum));
  }
  gaps.sort((a, b) => a - b);
  const percent = (share: number) => `${(100 * gaps[Math.floor(share * (gaps.length - 1))]).toFixed(4)} %`;
  print(
    `${gaps.length} of ${MIP_SITES} random sites with a proven integer optimum: above it by ` +
      `${percent(0.5)} (median), ${percent(0.9)} (p90), ${percent(1)} (worst)`,
  );
}

function safety(solvers: Solvers): void {
  let refused = 0;
  let answered = 0;
  let profiles = 0;
  let checks = 0;
  let failed = 0;
  for (let seed = 0; seed < REQUESTS; seed++) {
    const valid = randomRequest(seed);
    let problem: Problem;
    try {
      problem = toProblem(
        seed % 3 === 0 ? spoil(valid, seed) : valid,
        (valid.startTime ?? new Date(0)).getTime(),
      );
    } catch (error) {
      if (!(error instanceof WattslotError)) throw error;
      refused++;
      continue;
    }
    const endMs = performance.now() + 250;
    const { plan, excesses } = planSite(problem, solvers, () => endMs - performance.now());
    answered++;
    profiles += plan.sessionPlans.filter(({ command }) => command !== undefined).length;
    checks += plan.solve.checks;
    if (excesses.length > 0) failed++;
  }
  print(
    `${REQUESTS} random requests, a third hostile: ${refused} refused by field, ${answered} answered with ` +
      `${profiles} profiles; ${checks} checks, ${failed} plans had to be replaced`,
  );
}

const solvers = { glpk: await createGlpk(), highs: await createHighs() };
realSessions(solvers);
wiredSessions(solvers);
await relaxations(solvers);
await minimums(solvers);
safety(solvers);

import { once } from "node:events";
import { availableParallelism, cpus } from "node:os";
import { credentials } from "@grpc/grpc-js";
import createGlpkInstance, { type GLPK } from "glpk.js/node";
import packagedHighs, { type Highs } from "highs";
import { pino } from "pino";
import { chargingOf } from "../src/domain/charging.ts";
import type { Problem } from "../src/domain/problem.ts";
import { createEngine, planSite } from "../src/engine.ts";
import { connect, OptimizeRequest, OptimizerServiceClient } from "../src/grpc/client.ts";
import { startServer } from "../src/grpc/server.ts";
import { formulate } from "../src/model/formulate.ts";
import type { Lp } from "../src/model/lp.ts";
import { createGlpk } from "../src/solve/glpk.ts";
import { createHighs } from "../src/solve/highs.ts";
import type { Solver } from "../src/solve/solver.ts";
import { highsModel } from "./bare.ts";
import { smallRequest } from "./requests.ts";
import { site, siteWithEverything } from "./sites.ts";

// Every figure under "Measured" in the README is a line of this program. Machines differ and are
// shared: read the ratios, which are taken in one run, before the milliseconds.

const loadHighs = packagedHighs as unknown as typeof packagedHighs.default;
const quick = process.argv.includes("--quick");

/** The bare solvers as their packages' own documents use them, given ready data. */
function bareSolvers(glpk: GLPK, highs: Highs) {
  return {
    glpk(lp: Lp): () => number {
      const rows = Array.from({ length: lp.rowCount }, (_, r) => ({
        name: `r${r}`,
        vars: Array.from({ length: lp.starts[r + 1] - lp.starts[r] }, (_, n) => ({
          name: `c${lp.indices[lp.starts[r] + n]}`,
          coef: lp.values[lp.starts[r] + n],
        })),
        bnds: bounds(glpk, lp.rowLower[r], lp.rowUpper[r]),
      }));
      const program = {
        name: "site",
        objective: {
          direction: glpk.GLP_MIN,
          name: "cost",
          vars: Array.from(lp.cost, (coef, j) => ({ name: `c${j}`, coef })),
        },
        subjectTo: rows,
        bounds: Array.from(lp.lower, (lower, j) => ({ name: `c${j}`, ...bounds(glpk, lower, lp.upper[j]) })),
      };
      return () => glpk.solve(program, { msglev: glpk.GLP_MSG_OFF }).result.z;
    },
    highs(lp: Lp): () => number {
      const data = highsModel(lp);
      return () => {
        const model = highs.createModel(data);
        model.options.set({ output_flag: false, presolve: "off" });
        model.run();
        const objective = model.getObjectiveValue();
        model.getSolution();
        model.dispose();
        return objective;
      };
    },
  };
}

function bounds(glpk: GLPK, lower: number, upper: number) {
  const hasLower = lower > Number.NEGATIVE_INFINITY;
  const hasUpper = upper < Number.POSITIVE_INFINITY;
  if (lower === upper) return { type: glpk.GLP_FX, lb: lower, ub: upper };
  if (hasLower && hasUpper) return { type: glpk.GLP_DB, lb: lower, ub: upper };
  if (hasLower) return { type: glpk.GLP_LO, lb: lower, ub: 0 };
  return { type: hasUpper ? glpk.GLP_UP : glpk.GLP_FR, lb: 0, ub: hasUpper ? upper : 0 };
}

function timeMs(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

const median = (values: readonly number[]) => quantile(values, 0.5);

function print(cells: readonly (string | number)[], widths: readonly number[]): void {
  const text = cells.map((cell, n) => `${cell}`.padStart(widths[n]));
  process.stdout.write(`${text.join("  ")}\n`);
}

async function measureSolve(): Promise<void> {
  const solvers = { glpk: await createGlpk(), highs: await createHighs() };
  const bare = bareSolvers(await createGlpkInstance(), await loadHighs());
  process.stdout.write(
    "Whole plan (model, solve, 0 or minimum, rounding, profiles, read-back, check, safe plan, report)\n" +
      "against the bare solve of the same linear program by the faster solver, 96 slots; medians over sites\n\n",
  );
  const widths = [8, 8, 8, 9, 9, 9, 7, 9, 9];
  print(
    ["vehicles", "columns", "sites", "glpk ms", "highs ms", "whole ms", "ratio", "ratio p90", "gap max"],
    widths,
  );
  const sizes = quick ? [10, 50] : [10, 20, 50, 100, 200, 500, 1000];
  for (const vehicles of sizes) {
    const sites = quick ? 5 : vehicles <= 50 ? 25 : vehicles <= 200 ? 9 : 3;
    const glpkMs: number[] = [];
    const highsMs: number[] = [];
    const wholeMs: number[] = [];
    const ratios: number[] = [];
    let columns = 0;
    let gap = 0;
    for (let seed = 1; seed <= sites; seed++) {
      const problem = site(vehicles, seed);
      const { lp } = formulate(problem, chargingOf(problem), true);
      columns = Math.max(columns, lp.columnCount);
      const repeats = vehicles <= 100 ? 3 : 1;
      const best = (work: () => unknown) => median(Array.from({ length: repeats }, () => timeMs(work)));
      planSite(problem, solvers, () => 60_000);
      const highsBare = bare.highs(lp);
      highsBare();
      highsMs.push(best(highsBare));
      // Past 200 vehicles GLPK takes seconds and is the slower by far.
      glpkMs.push(vehicles <= 200 ? best(bare.glpk(lp)) : Number.POSITIVE_INFINITY);
      wholeMs.push(
        best(() => {
          gap = Math.max(gap, planSite(problem, solvers, () => 60_000).plan.solve.gap);
        }),
      );
      ratios.push(wholeMs[seed - 1] / Math.min(glpkMs[seed - 1], highsMs[seed - 1]));
    }
    const glpk = median(glpkMs);
    print(
      [
        vehicles,
        columns,
        sites,
        glpk === Number.POSITIVE_INFINITY ? "-" : glpk.toFixed(1),
        median(highsMs).toFixed(1),
        median(wholeMs).toFixed(1),
        median(ratios).toFixed(2),
        quantile(ratios, 0.9).toFixed(2),
        `${(100 * gap).toFixed(2)} %`,
      ],
      widths,
    );
  }
}

/** Sites that use everything: the whole call against the bare solves of the largest of its linear programs. */
async function measureEverything(): Promise<void> {
  const [glpk, highs] = [await createGlpk(), await createHighs()];
  const bare = bareSolvers(await createGlpkInstance(), await loadHighs());
  process.stdout.write(
    "\nEverything at once: sun, battery, export, vehicles that give, charge curves, minimums, chances of\n" +
      "departure, delta-wye, unknown phases, phase switching; against the bare solve of the largest program\n\n",
  );
  const widths = [8, 8, 8, 9, 9, 9, 11, 12, 9];
  const titles = ["vehicles", "columns", "sites", "glpk ms", "highs ms", "whole ms"];
  print([...titles, "over glpk", "over highs", "gap max"], widths);
  for (const vehicles of quick ? [10] : [10, 20, 50, 100]) {
    const sites = quick ? 3 : 9;
    const glpkMs: number[] = [];
    const highsMs: number[] = [];
    const wholeMs: number[] = [];
    let columns = 0;
    let gap = 0;
    for (let seed = 1; seed <= sites; seed++) {
      const problem = siteWithEverything(vehicles, seed);
      let largest: Lp | undefined;
      const noting: Solver = {
        name: "HIGHS",
        load: (lp) => {
          if (largest === undefined || lp.columnCount > largest.columnCount) largest = lp;
          return highs.load(lp);
        },
      };
      gap = Math.max(gap, planSite(problem, { glpk, highs: noting }, () => 60_000).plan.solve.gap);
      if (largest === undefined) continue;
      columns = Math.max(columns, largest.columnCount);
      const best = (work: () => unknown) => median(Array.from({ length: 3 }, () => timeMs(work)));
      const solveBare = bare.highs(largest);
      solveBare();
      highsMs.push(best(solveBare));
      glpkMs.push(best(bare.glpk(largest)));
      wholeMs.push(best(() => planSite(problem, { glpk, highs }, () => 60_000)));
    }
    const over = (bareMs: number[]) => median(wholeMs.map((ms, n) => ms / bareMs[n])).toFixed(2);
    print(
      [
        vehicles,
        columns,
        sites,
        median(glpkMs).toFixed(1),
        median(highsMs).toFixed(1),
        median(wholeMs).toFixed(1),
        over(glpkMs),
        over(highsMs),
        `${(100 * gap).toFixed(2)} %`,
      ],
      widths,
    );
  }
}

/** Sites at the published bounds, whole calls with the default time limit. */
async function measureLarge(): Promise<void> {
  const allDay = (vehicles: number, slots: number, slotMs: number, energyWh?: number): Problem => {
    const one = site(vehicles, 1);
    const startMs = one.slotStartsMs[0];
    return {
      ...one,
      slotStartsMs: Array.from({ length: slots + 1 }, (_, k) => startMs + k * slotMs),
      sessions: one.sessions.map((session) => ({
        ...session,
        arrivalMs: startMs,
        departureMs: startMs + slots * slotMs,
        energyWh: energyWh ?? session.energyWh,
      })),
    };
  };
  const quarterMs = 900_000;
  const sites: [string, Problem][] = [
    ["1000 x 96", allDay(1000, 96, quarterMs)],
    ["2000 x 96", allDay(2000, 96, quarterMs)],
    ["2000 x 125", allDay(2000, 125, quarterMs, 30_000)],
    ["28 x 8928", allDay(28, 8928, quarterMs / 3, 2_000_000)],
  ];
  process.stdout.write(
    "\nVehicles x slots, all there all the time, a demand charge and no peak so far, 10 s at most\n\n",
  );
  const widths = [12, 9, 6, 9];
  print(["site", "status", "s", "gap"], widths);
  const engine = createEngine({
    workers: 1,
    maxQueue: 1,
    onFault: (message) => process.stderr.write(`${message}\n`),
  });
  try {
    for (const [name, one] of sites) {
      if (one.site.tariff !== undefined) one.site.tariff.demandPeakSoFarW = 0;
      const start = performance.now();
      const { status, solve } = await engine.optimise(one);
      const gap = Number.isNaN(solve.gap) ? "-" : `${(100 * solve.gap).toFixed(2)} %`;
      print([name, status, ((performance.now() - start) / 1000).toFixed(1), gap], widths);
    }
  } finally {
    await engine.close();
  }
}

async function measureWire(): Promise<void> {
  const workers = availableParallelism();
  const logger = pino({ level: "silent" });
  const engine = createEngine({
    workers,
    maxQueue: 1000,
    onFault: (message) => process.stderr.write(`${message}\n`),
  });
  const server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 1000 });
  const client = connect(`127.0.0.1:${server.port}`);
  try {
    process.stdout.write("\nUnary calls over loopback, one after the other\n\n");
    const widths = [8, 8, 9, 9];
    print(["vehicles", "calls", "p50 ms", "p99 ms"], widths);
    for (const vehicles of [5, 20]) {
      const calls = quick ? 20 : 300;
      const times: number[] = [];
      for (let n = -10; n < calls; n++) {
        const request = OptimizeRequest.fromPartial(smallRequest(n + 1000, vehicles));
        const start = performance.now();
        await client.optimize(request);
        if (n >= 0) times.push(performance.now() - start);
      }
      print([vehicles, calls, median(times).toFixed(1), quantile(times, 0.99).toFixed(1)], widths);
    }

    const sites = quick ? 100 : 1000;
    const before = process.memoryUsage.rss();
    let peak = before;
    const start = performance.now();
    let answered = 0;
    const batchClient = new OptimizerServiceClient(`127.0.0.1:${server.port}`, credentials.createInsecure());
    const call = batchClient.optimizeBatch();
    const ended = once(call, "end");
    call.on("data", ({ outcome }) => {
      if (outcome?.$case !== "response") throw new Error(`batch: ${JSON.stringify(outcome)}`);
      answered++;
      peak = Math.max(peak, process.memoryUsage.rss());
    });
    for (let n = 0; n < sites; n++) {
      const request = OptimizeRequest.fromPartial(smallRequest(n, 5));
      if (!call.write({ requestId: `${n}`, request })) await once(call, "drain");
    }
    call.end();
    await ended;
    batchClient.close();
    const seconds = (performance.now() - start) / 1000;
    process.stdout.write(
      `\nBatch: ${answered} sites of 5 vehicles x 48 slots through one stream on ${workers} threads: ` +
        `${(answered / seconds).toFixed(0)} sites/s, ${(answered / seconds / workers).toFixed(0)} a core; ` +
        `memory ${(before / 2 ** 20).toFixed(0)} MB before, ${(peak / 2 ** 20).toFixed(0)} MB at most\n`,
    );
  } finally {
    client.close();
    await server.close();
    await engine.close();
  }
}

process.stdout.write(
  `Node ${process.version}, ${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores\n\n`,
);
await measureSolve();
await measureEverything();
if (!quick) await measureLarge();
await measureWire();

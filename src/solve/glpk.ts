import createInstance, { type GLPK, type LP as GlpkProgram, type Options, type Result } from "glpk.js/node";
import type { Lp } from "../model/lp.ts";
import {
  checkBounds,
  checkColumn,
  checkIntegerOptions,
  checkProgram,
  keepsBounds,
  objectiveAt,
  solveDegenerate,
  toObjectiveGap,
  toSeconds,
  withoutValues,
} from "./guard.ts";
import { type Instances, startInstances } from "./instances.ts";
import type { IntegerOptions, LoadedProgram, Solution, Solver } from "./solver.ts";

/** GLPK keeps bounds and rows to 1e-7, relative to large ones (`tol_bnd`); rounding integers can add to that. */
const tolerance = 1e-6;

/**
 * GLPK 5.0: primal simplex, branch and cut. Solves every program from scratch.
 *
 * With integers it uses neither `start` nor `nodeLimit`, and its presolve does not look at the
 * clock: it can run past the time limit, so keep the means to end its thread. It reports no
 * bound, so that a search that stopped early, at the gap or at the time limit, answers
 * `feasible` and -Infinity. It takes values within 1e-5 for whole and rounds them; if that
 * breaks a row, the answer is `unsolved`, as it is where its presolve gives no reason.
 *
 * The solve methods throw an Error when GLPK aborts; what is called next runs on a fresh
 * instance.
 */
export async function createGlpk(): Promise<Solver> {
  const instances = await startInstances("GLPK", createInstance);
  return { name: "GLPK", load: (lp) => load(instances, lp) };
}

function load(instances: Instances<GLPK>, source: Lp): LoadedProgram {
  checkProgram(source);
  const lp: Lp = { ...source, lower: source.lower.slice(), upper: source.upper.slice() };
  const glpk = instances.current();
  const names = Array.from(lp.cost, (_, column) => `c${column}`);
  const rowNames = Array.from(lp.rowLower, (_, row) => `r${row}`);
  const boundsOf = (column: number, lower: number, upper: number) => ({
    name: names[column],
    ...toBounds(glpk, lower, upper),
  });
  const program = {
    name: "site",
    objective: {
      direction: glpk.GLP_MIN,
      name: "cost",
      vars: names.map((name, column) => ({ name, coef: lp.cost[column] })),
    },
    subjectTo: rowNames.map((name, row) => ({
      name,
      vars: rowEntries(lp, row).map(([column, coef]) => ({ name: names[column], coef })),
      bnds: toBounds(glpk, lp.rowLower[row], lp.rowUpper[row]),
    })),
    bounds: names.map((_, column) => boundsOf(column, lp.lower[column], lp.upper[column])),
  };

  const run = (asked: GlpkProgram, options: Options): Result["result"] => {
    const instance = instances.current();
    return instances.call(instance, () => instance.solve(asked, { msglev: glpk.GLP_MSG_OFF, ...options }))
      .result;
  };

  /** The answer with GLPK's point; `unsolved` if the point is none. */
  const answer = (status: "optimal" | "feasible", { vars }: Result["result"]): Solution => {
    const primal = Float64Array.from(names, (name) => vars[name]);
    if (!keepsBounds(primal, lp, tolerance)) return withoutValues("unsolved");
    const objective = objectiveAt(primal, lp);
    const bound = status === "optimal" ? objective : Number.NEGATIVE_INFINITY;
    return { status, objective, primal, duals: new Float64Array(0), bound };
  };

  const solve = (timeLimitS: number): Solution => {
    const degenerate = solveDegenerate(lp);
    if (degenerate !== undefined) return degenerate;
    // Presolve is no faster on site programs, and out of time, infeasible and unbounded would all
    // come back as undefined and zeros.
    const result = run(program, { presol: false, tmlim: timeLimitS });
    switch (result.status) {
      case glpk.GLP_OPT: {
        const solution = answer("optimal", result);
        if (solution.status !== "optimal") return solution;
        return {
          ...solution,
          duals: Float64Array.from(rowNames, (name) => result.dual?.[name] ?? Number.NaN),
        };
      }
      case glpk.GLP_FEAS:
        return answer("feasible", result);
      case glpk.GLP_NOFEAS:
        return withoutValues("infeasible");
      case glpk.GLP_UNBND:
        return withoutValues("unbounded");
      default:
        return withoutValues("unsolved");
    }
  };

  const solveIntegers = (integers: Int32Array, relativeGap: number, timeLimitS: number): Solution => {
    const startedMs = performance.now();
    // GLPK refuses integer columns with bounds that are not whole.
    const bounds = program.bounds.slice();
    for (const column of integers) {
      const lower = Math.ceil(lp.lower[column] - tolerance);
      const upper = Math.floor(lp.upper[column] + tolerance);
      if (lower > upper) return withoutValues("infeasible");
      bounds[column] = boundsOf(column, lower, upper);
    }
    const result = run(
      { ...program, bounds, generals: Array.from(integers, (column) => names[column]) },
      { presol: true, tmlim: timeLimitS, mipgap: toObjectiveGap(relativeGap) },
    );
    if (result.status === glpk.GLP_OPT) return answer("optimal", result);
    if (result.status === glpk.GLP_FEAS) return answer("feasible", result);
    if (result.status === glpk.GLP_NOFEAS) return withoutValues("infeasible");
    // Presolve left no word; the relaxation may tell.
    const relaxed = solve(Math.max(0, timeLimitS - (performance.now() - startedMs) / 1000));
    return withoutValues(relaxed.status === "infeasible" ? "infeasible" : "unsolved");
  };

  return {
    setBounds(column, lower, upper) {
      checkColumn(lp, column);
      checkBounds(`column ${column}`, lower, upper);
      lp.lower[column] = lower;
      lp.upper[column] = upper;
      program.bounds[column] = boundsOf(column, lower, upper);
    },
    solve: ({ timeLimitMs }) => solve(toSeconds(timeLimitMs)),
    solveIntegers(options: IntegerOptions) {
      checkIntegerOptions(lp, options);
      const timeLimitS = toSeconds(options.timeLimitMs);
      // Without integers GLPK would solve with presolve as an LP.
      if (options.integers.length === 0) return { ...solve(timeLimitS), duals: new Float64Array(0) };
      return solveDegenerate(lp) ?? solveIntegers(options.integers, options.relativeGap, timeLimitS);
    },
    dispose() {},
  };
}

function rowEntries(lp: Lp, row: number): [column: number, coefficient: number][] {
  const entries: [number, number][] = [];
  for (let entry = lp.starts[row]; entry < lp.starts[row + 1]; entry++) {
    entries.push([lp.indices[entry], lp.values[entry]]);
  }
  return entries;
}

/** GLP_UP and GLP_LO each ignore the other bound, and GLP_DB wants two that differ. */
function toBounds(glpk: GLPK, lower: number, upper: number): { type: number; lb: number; ub: number } {
  const lb = Number.isFinite(lower) ? lower : 0;
  const ub = Number.isFinite(upper) ? upper : 0;
  if (lower === upper) return { type: glpk.GLP_FX, lb, ub };
  if (lower === Number.NEGATIVE_INFINITY) {
    return { type: upper === Number.POSITIVE_INFINITY ? glpk.GLP_FR : glpk.GLP_UP, lb, ub };
  }
  return { type: upper === Number.POSITIVE_INFINITY ? glpk.GLP_LO : glpk.GLP_DB, lb, ub };
}

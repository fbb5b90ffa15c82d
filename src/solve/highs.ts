import packaged, { type Highs, type Model } from "highs";
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
import type { IntegerOptions, LoadedProgram, Method, Solution, Solver } from "./solver.ts";

// The package's types describe its CommonJS build; imported, the default export is the loader itself.
const loadHighs = packaged as unknown as typeof packaged.default;

/** HiGHS' defaults of `primal_feasibility_tolerance` and, with integers, of `mip_feasibility_tolerance`. */
const tolerance = 1e-7;
const integerTolerance = 1e-6;

const unlimitedNodes = 2 ** 31 - 1;

/** HiGHS' defaults, and neither. */
const perturbed = { dual_simplex_cost_perturbation_multiplier: 1, simplex_scale_strategy: 2 } as const;
const unperturbed = { dual_simplex_cost_perturbation_multiplier: 0, simplex_scale_strategy: 0 } as const;

/**
 * HiGHS 1.15: dual simplex that goes on from the last basis, branch and cut. Values of integer
 * columns are whole to 1e-6. A linear program that runs out of time has no usable point as a
 * rule: `unsolved`. A start that is not feasible is ignored.
 *
 * `load` and what it returns throw an Error when HiGHS fails; programs loaded before can then
 * not be used any more, `load` starts on a fresh instance.
 */
export async function createHighs(): Promise<Solver> {
  const instances = await startInstances("HiGHS", () => loadHighs());
  return { name: "HIGHS", load: (lp) => load(instances, lp) };
}

function load(instances: Instances<Highs>, source: Lp): LoadedProgram {
  checkProgram(source);
  const lp: Lp = { ...source, lower: source.lower.slice(), upper: source.upper.slice() };
  const highs = instances.current();
  const { modelStatus, solutionStatus, variableType } = highs.constants;
  const model = instances.call(highs, () => createModel(highs, lp));
  const call = <R>(run: () => R): R => {
    if (model.disposed) throw new Error("the program has been disposed of");
    return instances.call(highs, run);
  };

  /** Runs from the state the model is in and reads the answer. */
  const run = (pointTolerance: number): Solution => {
    model.zeroAllClocks(); // the time limit is of all runs since
    model.run();
    const status = model.getModelStatus();
    if (status === modelStatus.infeasible) return withoutValues("infeasible");
    if (status === modelStatus.unbounded) return withoutValues("unbounded");
    if (model.info.get("primal_solution_status") !== solutionStatus.feasible)
      return withoutValues("unsolved");
    const { colValue: primal, rowDual: duals } = model.getSolution();
    if (!keepsBounds(primal, lp, pointTolerance)) return withoutValues("unsolved");
    const objective = objectiveAt(primal, lp);
    if (status === modelStatus.optimal)
      return { status: "optimal", objective, primal, duals, bound: objective };
    return { ...withoutValues("feasible"), objective, primal };
  };

  const solve = (timeLimitS: number, method: Method = "SIMPLEX"): Solution => {
    const degenerate = solveDegenerate(lp);
    if (degenerate !== undefined) return degenerate;
    const isInterior = method === "INTERIOR" || method === "INTERIOR_TO_CORNER";
    return call(() => {
      // Without presolve: faster on site programs, and the basis is of the program itself.
      model.options.set({
        solver: isInterior ? "ipm" : "simplex",
        run_crossover: method === "INTERIOR" ? "off" : "on",
        presolve: "off",
        ...(method === "SIMPLEX_UNPERTURBED" ? unperturbed : perturbed),
        time_limit: timeLimitS,
      });
      return run(tolerance);
    });
  };

  const solveIntegers = (options: IntegerOptions): Solution => {
    const degenerate = solveDegenerate(lp);
    if (degenerate !== undefined) return degenerate;
    return call(() => {
      const columns = Int32Array.from(new Set(options.integers)).sort();
      const types = new Int32Array(columns.length).fill(variableType.integer);
      model.changeColsIntegrality({ kind: "set", indices: columns }, types);
      model.options.set({
        solver: "choose", // simplex would leave out the integers
        presolve: "on",
        ...perturbed,
        time_limit: toSeconds(options.timeLimitMs),
        mip_rel_gap: toObjectiveGap(options.relativeGap),
        mip_max_nodes: options.nodeLimit ?? unlimitedNodes,
        // Half of the time on the on/off programs of 140 sites, measured with a good start at hand;
        // none changes what is proved. (mip_lifting_for_probing 0 is faster by far and proves what is
        // not true: 585.4 for an optimum of 563.0.)
        mip_allow_restart: false,
        mip_detect_symmetry: false,
        mip_heuristic_run_rens: false,
        mip_heuristic_run_root_reduced_cost: false,
      });
      if (options.start !== undefined) model.setSolution({ colValue: options.start });
      const solution = run(integerTolerance);
      const proved = Number(model.info.get("mip_dual_bound"));
      model.clearIntegrality();
      const bound =
        solution.primal.length === 0 ? Number.NEGATIVE_INFINITY : Math.min(proved, solution.objective);
      return { ...solution, duals: new Float64Array(0), bound };
    });
  };

  return {
    setBounds(column, lower, upper) {
      checkColumn(lp, column);
      checkBounds(`column ${column}`, lower, upper);
      lp.lower[column] = lower;
      lp.upper[column] = upper;
      call(() => model.changeColBounds(column, lower, upper));
    },
    solve: ({ timeLimitMs, method }) => solve(toSeconds(timeLimitMs), method),
    solveIntegers(options) {
      checkIntegerOptions(lp, options);
      // Without integers HiGHS would tell no bound of a search.
      if (options.integers.length === 0) {
        return { ...solve(toSeconds(options.timeLimitMs)), duals: new Float64Array(0) };
      }
      return solveIntegers(options);
    },
    dispose() {
      if (!model.disposed && instances.isSound(highs)) call(() => model.dispose());
    },
  };
}

function createModel(highs: Highs, lp: Lp): Model {
  const { columnCount: numCols, rowCount: numRows, starts, indices, values } = lp;
  const model = highs.createModel({
    numCols,
    numRows,
    colCost: lp.cost,
    colLower: lp.lower,
    colUpper: lp.upper,
    rowLower: lp.rowLower,
    rowUpper: lp.rowUpper,
    matrix: { format: "csr", numRows, numCols, starts, indices, values },
  });
  // HiGHS has no threads here; with the seed pinned, equal programs have equal answers.
  model.options.set({ output_flag: false, random_seed: 0 });
  return model;
}

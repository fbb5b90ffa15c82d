import packaged, { type Highs } from "highs";
import { highsModel } from "../../benchmarks/bare.ts";
import type { Lp } from "../../src/model/lp.ts";
import type { Program } from "../../src/model/program.ts";

// The package's types describe its CommonJS build; imported, the default export is the loader itself.
const loadHighs = packaged as unknown as typeof packaged.default;

let loading: Promise<Highs> | undefined;

function start(): Promise<Highs> {
  loading ??= loadHighs();
  return loading;
}

/**
 * The proven optimum of a program with every power 0 or at least its minimum, by HiGHS's own
 * semi-continuous variables and branch and cut: no part of the project's refinement is used.
 * The program must have one column a power (no installed plans). Undefined where the proof
 * takes longer than the limit.
 */
export async function provenOptimum(program: Program, timeLimitS: number): Promise<number | undefined> {
  const highs = await start();
  const { lp } = program;
  const { continuous, semiContinuous } = highs.constants.variableType;
  const integrality = Array.from({ length: lp.columnCount }, () => continuous as 0 | 2);
  const colLower = lp.lower.slice();
  program.columns.forEach((column, n) => {
    if (program.extras[n] >= 0) throw new Error("a power of two columns");
    if (lp.lower[column] > 0 || program.minKw[n] <= 0 || program.maxKw[n] <= 0) return;
    integrality[column] = semiContinuous as 2;
    colLower[column] = program.minKw[n];
  });
  const model = highs.createModel({ ...highsModel(lp), colLower, integrality });
  try {
    model.options.set({ output_flag: false, mip_rel_gap: 1e-5, time_limit: timeLimitS });
    model.run();
    return model.getModelStatus() === highs.constants.modelStatus.optimal
      ? model.getObjectiveValue()
      : undefined;
  } finally {
    model.dispose();
  }
}

/** Optimum of the relaxed program by HiGHS with its own defaults. */
export async function relaxedOptimum(lp: Lp): Promise<number> {
  const highs = await start();
  const model = highs.createModel(highsModel(lp));
  try {
    model.options.set({ output_flag: false });
    model.run();
    if (model.getModelStatus() !== highs.constants.modelStatus.optimal) throw new Error("not optimal");
    return model.getObjectiveValue();
  } finally {
    model.dispose();
  }
}

/** Optimum of a program given as text in CPLEX LP format. */
export async function textOptimum(text: string): Promise<number> {
  const solution = (await start()).solve(text, { output_flag: false });
  if (solution.Status !== "Optimal") throw new Error(solution.Status);
  return solution.ObjectiveValue;
}

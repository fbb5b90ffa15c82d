import type { Lp } from "../src/model/lp.ts";

/** A program as npm `highs` takes it, for runs of the solver without any of the project's code. */
export function highsModel(lp: Lp) {
  return {
    numCols: lp.columnCount,
    numRows: lp.rowCount,
    colCost: lp.cost,
    colLower: lp.lower,
    colUpper: lp.upper,
    rowLower: lp.rowLower,
    rowUpper: lp.rowUpper,
    matrix: {
      format: "csr" as const,
      numRows: lp.rowCount,
      numCols: lp.columnCount,
      starts: lp.starts,
      indices: lp.indices,
      values: lp.values,
    },
  };
}

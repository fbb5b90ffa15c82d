/**
 * A linear program in typed arrays: minimise cost'x subject to rowLower <= Ax <= rowUpper and
 * lower <= x <= upper. The matrix is stored by rows (compressed sparse rows): the entries of
 * row r are indices/values[starts[r] .. starts[r + 1]). Infinity means no bound. No entry of
 * a row stands twice.
 */
export interface Lp {
  columnCount: number;
  rowCount: number;
  cost: Float64Array;
  lower: Float64Array;
  upper: Float64Array;
  rowLower: Float64Array;
  rowUpper: Float64Array;
  starts: Int32Array;
  indices: Int32Array;
  values: Float64Array;
}

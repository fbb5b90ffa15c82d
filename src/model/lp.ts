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

/** Collects columns and rows, then packs them into an Lp. */
export class LpBuilder {
  readonly #cost: number[] = [];
  readonly #lower: number[] = [];
  readonly #upper: number[] = [];
  readonly #rowLower: number[] = [];
  readonly #rowUpper: number[] = [];
  readonly #starts: number[] = [0];
  readonly #indices: number[] = [];
  readonly #values: number[] = [];

  get columnCount(): number {
    return this.#cost.length;
  }

  get rowCount(): number {
    return this.#rowLower.length;
  }

  /** Adds a column and returns its index. */
  addColumn(cost: number, lower: number, upper: number): number {
    this.#lower.push(lower);
    this.#upper.push(upper);
    return this.#cost.push(cost) - 1;
  }

  /** Adds an entry to the row that the next endRow closes; each column at most once a row. */
  addEntry(column: number, value: number): void {
    this.#indices.push(column);
    this.#values.push(value);
  }

  /** Closes the row that holds the entries since the last one, and returns its index. */
  endRow(lower: number, upper: number): number {
    this.#starts.push(this.#indices.length);
    this.#rowLower.push(lower);
    return this.#rowUpper.push(upper) - 1;
  }

  build(): Lp {
    return {
      columnCount: this.columnCount,
      rowCount: this.rowCount,
      cost: Float64Array.from(this.#cost),
      lower: Float64Array.from(this.#lower),
      upper: Float64Array.from(this.#upper),
      rowLower: Float64Array.from(this.#rowLower),
      rowUpper: Float64Array.from(this.#rowUpper),
      starts: Int32Array.from(this.#starts),
      indices: Int32Array.from(this.#indices),
      values: Float64Array.from(this.#values),
    };
  }
}

/** The program as text in CPLEX LP format, columns x0.. and rows r0..; for people and other solvers. */
export function formatLp(lp: Lp): string {
  const term = (value: number, column: number) => `${value < 0 ? "-" : "+"} ${Math.abs(value)} x${column}`;
  const objective = Array.from(lp.cost, (cost, j) => (cost === 0 ? "" : term(cost, j))).filter(Boolean);
  const lines = ["Minimize", ` cost: ${objective.join(" ") || "0 x0"}`, "Subject To"];
  for (let r = 0; r < lp.rowCount; r++) {
    const terms: string[] = [];
    for (let n = lp.starts[r]; n < lp.starts[r + 1]; n++) terms.push(term(lp.values[n], lp.indices[n]));
    if (terms.length === 0) continue;
    const left = terms.join(" ");
    if (lp.rowLower[r] === lp.rowUpper[r]) lines.push(` r${r}: ${left} = ${lp.rowUpper[r]}`);
    else {
      if (lp.rowUpper[r] < Number.POSITIVE_INFINITY) lines.push(` r${r}: ${left} <= ${lp.rowUpper[r]}`);
      if (lp.rowLower[r] > Number.NEGATIVE_INFINITY) lines.push(` r${r}_low: ${left} >= ${lp.rowLower[r]}`);
    }
  }
  lines.push("Bounds");
  for (let j = 0; j < lp.columnCount; j++) {
    const lower = lp.lower[j] === Number.NEGATIVE_INFINITY ? "-inf" : `${lp.lower[j]}`;
    const upper = lp.upper[j] === Number.POSITIVE_INFINITY ? "+inf" : `${lp.upper[j]}`;
    lines.push(` ${lower} <= x${j} <= ${upper}`);
  }
  lines.push("End", "");
  return lines.join("\n");
}

/** A stand-alone piece of a program: some of its columns and all rows that they stand in. */
export interface Part {
  lp: Lp;
  /** Column and row indices in the whole program. */
  columns: Int32Array;
  rows: Int32Array;
}

/**
 * Splits a program into pieces that share no row, so that each can be solved alone; small
 * pieces are packed together up to `packColumns` columns, because each solver call has a price
 * of its own. Vehicles that are never there together, or share no limit that can bind, end up
 * in different pieces. Exact: the optima of the pieces add up to the optimum of the whole.
 */
export function split(lp: Lp, packColumns: number): Part[] {
  const root = Int32Array.from({ length: lp.columnCount }, (_, j) => j);
  const find = (column: number): number => {
    let at = column;
    while (root[at] !== at) {
      root[at] = root[root[at]];
      at = root[at];
    }
    return at;
  };
  for (let r = 0; r < lp.rowCount; r++) {
    for (let n = lp.starts[r] + 1; n < lp.starts[r + 1]; n++) {
      const a = find(lp.indices[lp.starts[r]]);
      const b = find(lp.indices[n]);
      root[Math.max(a, b)] = Math.min(a, b);
    }
  }
  const sizes = new Int32Array(lp.columnCount);
  for (let j = 0; j < lp.columnCount; j++) sizes[find(j)]++;
  const partOf = new Int32Array(lp.columnCount).fill(-1);
  let partCount = 0;
  let filled = 0;
  for (let j = 0; j < lp.columnCount; j++) {
    if (root[j] !== j) continue;
    if (partCount === 0 || filled + sizes[j] > packColumns) {
      partCount++;
      filled = 0;
    }
    filled += sizes[j];
    partOf[j] = partCount - 1;
  }
  for (let j = 0; j < lp.columnCount; j++) partOf[j] = partOf[find(j)];
  if (partCount <= 1) {
    return [
      {
        lp,
        columns: Int32Array.from(partOf.keys()),
        rows: Int32Array.from({ length: lp.rowCount }, (_, r) => r),
      },
    ];
  }
  const columns: number[][] = Array.from({ length: partCount }, () => []);
  const rows: number[][] = Array.from({ length: partCount }, () => []);
  const local = new Int32Array(lp.columnCount);
  for (let j = 0; j < lp.columnCount; j++) local[j] = columns[partOf[j]].push(j) - 1;
  for (let r = 0; r < lp.rowCount; r++) {
    if (lp.starts[r + 1] > lp.starts[r]) rows[partOf[lp.indices[lp.starts[r]]]].push(r);
  }
  return columns.map((members, part) => {
    const builder = new LpBuilder();
    for (const j of members) builder.addColumn(lp.cost[j], lp.lower[j], lp.upper[j]);
    for (const r of rows[part]) {
      for (let n = lp.starts[r]; n < lp.starts[r + 1]; n++)
        builder.addEntry(local[lp.indices[n]], lp.values[n]);
      builder.endRow(lp.rowLower[r], lp.rowUpper[r]);
    }
    return { lp: builder.build(), columns: Int32Array.from(members), rows: Int32Array.from(rows[part]) };
  });
}

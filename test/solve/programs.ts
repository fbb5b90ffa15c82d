import { type Random, randomOf } from "../../benchmarks/random.ts";
import { type Lp, LpBuilder } from "../../src/model/lp.ts";

const inf = Number.POSITIVE_INFINITY;

/** A row as [lower, upper, coefficient of each column]; zeros are left out. */
export function programOf(
  cost: number[],
  bounds: [number, number][],
  rows: [number, number, number[]][],
): Lp {
  const builder = new LpBuilder();
  cost.forEach((value, column) => {
    builder.addColumn(value, bounds[column][0], bounds[column][1]);
  });
  for (const [lower, upper, coefficients] of rows) {
    coefficients.forEach((value, column) => {
      if (value !== 0) builder.addEntry(column, value);
    });
    builder.endRow(lower, upper);
  }
  return builder.build();
}

/**
 * A sparse program with every kind of bound and row: each row's bounds lie around its activity
 * at a random point, so that it is feasible; each cost points away from a bound or is balanced
 * by a multiple of rows, so that it is bounded.
 */
export function sparseProgram(seed: number): Lp {
  const random = randomOf(seed);
  const columnCount = random.int(1, 30);
  const rowCount = random.int(0, 25);
  const lower: number[] = [];
  const upper: number[] = [];
  const point: number[] = [];
  const cost: number[] = [];
  for (let column = 0; column < columnCount; column++) {
    const value = random.real(-10, 10);
    point.push(value);
    const below = random.chance(0.5) ? value : value - random.real(0, 5);
    const above = random.chance(0.3) ? value : value + random.real(0, 5);
    const kind = random.pick(["boxed", "fixed", "lower", "upper", "free"]);
    lower.push(kind === "fixed" ? value : kind === "upper" || kind === "free" ? -inf : below);
    upper.push(kind === "fixed" ? value : kind === "lower" || kind === "free" ? inf : above);
    // The dual sign that the bounds allow; 0 for a free column.
    const reduced = random.real(0, 4);
    cost.push(
      kind === "lower" ? reduced : kind === "upper" ? -reduced : kind === "free" ? 0 : random.real(-4, 4),
    );
  }
  const rows: [number, number, number[]][] = [];
  for (let row = 0; row < rowCount; row++) {
    const coefficients = point.map(() => (random.chance(0.25) ? random.real(-3, 3) : 0));
    const activity = coefficients.reduce((sum, value, column) => sum + value * point[column], 0);
    const kind = random.pick(["equal", "range", "least", "most", "none"]);
    const rowLower =
      kind === "most" || kind === "none" ? -inf : kind === "equal" ? activity : activity - random.real(0, 3);
    const rowUpper =
      kind === "least" || kind === "none" ? inf : kind === "equal" ? activity : activity + random.real(0, 3);
    const multiplier =
      kind === "equal" || kind === "range"
        ? random.real(-2, 2)
        : kind === "least"
          ? random.real(0, 2)
          : kind === "most"
            ? -random.real(0, 2)
            : 0;
    coefficients.forEach((value, column) => {
      cost[column] += multiplier * value;
    });
    rows.push([rowLower, rowUpper, coefficients]);
  }
  return programOf(
    cost,
    lower.map((bound, column) => [bound, upper[column]]),
    rows,
  );
}

/**
 * A site: vehicles that need energy (soft, in three segments of rising penalty), a power limit
 * and a demand charge in each slot of a quarter of an hour.
 */
export function siteProgram(seed: number, vehicles: number, slots: number): Lp {
  const random = randomOf(seed);
  const builder = new LpBuilder();
  const hours = 0.25;
  const price = Array.from({ length: slots }, () => random.real(0.1, 0.4));
  const atSlot: number[][] = Array.from({ length: slots }, () => []);
  const peak = builder.addColumn(random.real(5, 15), 0, inf);
  for (let vehicle = 0; vehicle < vehicles; vehicle++) {
    const powerKw = random.pick([7.4, 11, 22]);
    const from = random.int(0, slots >> 1);
    const to = Math.min(slots, from + random.int(slots >> 3, slots >> 1));
    const energyKwh = random.real(0.2, 1) * powerKw * hours * (to - from);
    for (let slot = from; slot < to; slot++) {
      const column = builder.addColumn(hours * price[slot], 0, powerKw);
      atSlot[slot].push(column);
      builder.addEntry(column, hours);
    }
    for (const penalty of [4, 6, 8])
      builder.addEntry(builder.addColumn(penalty * random.real(1, 1.2), 0, energyKwh / 3), 1);
    builder.endRow(energyKwh, energyKwh);
  }
  for (const columns of atSlot) {
    if (columns.length === 0) continue;
    const baseKw = random.real(0, 2 * vehicles);
    for (const column of columns) builder.addEntry(column, 1);
    builder.endRow(-inf, Math.max(0, 4 * vehicles - baseKw));
    for (const column of columns) builder.addEntry(column, 1);
    builder.addEntry(peak, -1);
    builder.endRow(-inf, -baseKw);
  }
  return builder.build();
}

/** Column bounds to change: to narrow, to fix, to widen again. */
export function changedBounds(lp: Lp, random: Random): [column: number, lower: number, upper: number][] {
  const changes: [number, number, number][] = [];
  for (let n = 0; n < 10; n++) {
    const column = random.int(0, lp.columnCount - 1);
    const lower = lp.lower[column];
    const upper = lp.upper[column];
    if (upper === inf || lower === -inf) continue;
    const middle = lower + (upper - lower) * random.real(0, 1);
    changes.push(
      random.pick([
        [column, lower, middle],
        [column, lower, lower],
        [column, lower, upper],
      ]),
    );
  }
  return changes;
}

/** The dual objective at row duals y: what the bounds of rows, and of columns at the reduced costs c - A'y, are worth. */
export function dualObjective(lp: Lp, duals: Float64Array): number {
  const reduced = lp.cost.slice();
  let objective = 0;
  const worth = (multiplier: number, lower: number, upper: number) => {
    // Solvers keep signs to 1e-7 only; a speck against a missing bound is none.
    if (Math.abs(multiplier) < 1e-6) return 0;
    return multiplier * (multiplier > 0 ? lower : upper);
  };
  for (let row = 0; row < lp.rowCount; row++) {
    for (let entry = lp.starts[row]; entry < lp.starts[row + 1]; entry++) {
      reduced[lp.indices[entry]] -= duals[row] * lp.values[entry];
    }
    objective += worth(duals[row], lp.rowLower[row], lp.rowUpper[row]);
  }
  for (let column = 0; column < lp.columnCount; column++) {
    objective += worth(reduced[column], lp.lower[column], lp.upper[column]);
  }
  return objective;
}

/** The largest violation of a bound or row. */
export function violationOf(lp: Lp, primal: Float64Array): number {
  let worst = 0;
  const see = (value: number, lower: number, upper: number) => {
    worst = Math.max(worst, lower - value, value - upper);
  };
  for (let column = 0; column < lp.columnCount; column++)
    see(primal[column], lp.lower[column], lp.upper[column]);
  for (let row = 0; row < lp.rowCount; row++) {
    let activity = 0;
    for (let entry = lp.starts[row]; entry < lp.starts[row + 1]; entry++) {
      activity += lp.values[entry] * primal[lp.indices[entry]];
    }
    see(activity, lp.rowLower[row], lp.rowUpper[row]);
  }
  return worst;
}

import { taperOf } from "../domain/delivery.ts";
import type { LoadedProgram } from "../solve/solver.ts";
import { type Entries, type EntryRows, rowsOf } from "./entries.ts";
import type { Lp, Part } from "./lp.ts";
import type { Program } from "./program.ts";

export const OPEN = 0;
export const ON = 1;
const OFF = 2;

/**
 * Which entries are decided, and the room that the minimums of those that are on leave: in each
 * limit row, and in each session's energy. Keeps the program feasible whatever is decided.
 */
export class Decisions {
  readonly state: Uint8Array;
  readonly #entries: Entries;
  readonly #loaded: LoadedProgram;
  readonly #lp: Lp;
  readonly #slack: Float64Array;
  readonly #energyLeft: Float64Array;
  readonly #limits: EntryRows;

  constructor(program: Program, part: Part, entries: Entries, loaded: LoadedProgram) {
    const { lp } = part;
    this.#entries = entries;
    this.#loaded = loaded;
    this.#lp = lp;
    this.state = new Uint8Array(entries.count);
    this.#slack = lp.rowUpper.slice();
    this.#limits = rowsOf(part, entries, (row) => {
      const ofRow = lp.values.subarray(lp.starts[row], lp.starts[row + 1]);
      return lp.rowLower[row] === Number.NEGATIVE_INFINITY && ofRow.every((value) => value > 0);
    });
    this.#energyLeft = Float64Array.from(program.energy, ({ energyKwh, over }, i) => {
      // It may draw less than the minimum that it is told.
      if (taperOf(program.problem.sessions[i]) !== undefined) return Number.POSITIVE_INFINITY;
      return energyKwh + (over < 0 ? 0 : program.lp.upper[over]);
    });
    for (let e = 0; e < entries.count; e++) {
      // A charger that rejects 0 is on for the whole stay.
      if (lp.lower[entries.column[e]] > 0) this.#decideOn(e);
    }
  }

  canTurnOn(e: number): boolean {
    const { minKw, hours, session } = this.#entries;
    const { starts, rows, factors } = this.#limits;
    if (minKw[e] * hours[e] > this.#energyLeft[session[e]] + 1e-9) return false;
    for (let n = starts[e]; n < starts[e + 1]; n++) {
      if (factors[n] * minKw[e] > this.#slack[rows[n]] + 1e-9) return false;
    }
    return true;
  }

  turnOn(e: number): void {
    this.#decideOn(e);
    const { column, extra, minKw } = this.#entries;
    const { lower, upper } = this.#lp;
    const main = Math.min(minKw[e], upper[column[e]]);
    this.#loaded.setBounds(column[e], Math.max(main, lower[column[e]]), upper[column[e]]);
    if (extra[e] < 0) return;
    const least = Math.max(minKw[e] - main, lower[extra[e]]);
    this.#loaded.setBounds(extra[e], least, Math.max(least, upper[extra[e]]));
  }

  turnOff(e: number): void {
    this.state[e] = OFF;
    const { column, extra } = this.#entries;
    this.#loaded.setBounds(column[e], 0, 0);
    if (extra[e] >= 0) this.#loaded.setBounds(extra[e], 0, 0);
  }

  #decideOn(e: number): void {
    const { minKw, hours, session } = this.#entries;
    const { starts, rows, factors } = this.#limits;
    this.state[e] = ON;
    this.#energyLeft[session[e]] -= minKw[e] * hours[e];
    for (let n = starts[e]; n < starts[e + 1]; n++) this.#slack[rows[n]] -= factors[n] * minKw[e];
  }

  reopen(e: number): void {
    const { column, extra, minKw, hours, session } = this.#entries;
    const { lower, upper } = this.#lp;
    const { starts, rows, factors } = this.#limits;
    if (this.state[e] === ON) {
      this.#energyLeft[session[e]] += minKw[e] * hours[e];
      for (let n = starts[e]; n < starts[e + 1]; n++) {
        this.#slack[rows[n]] += factors[n] * minKw[e];
      }
    }
    this.state[e] = OPEN;
    this.#loaded.setBounds(column[e], lower[column[e]], upper[column[e]]);
    if (extra[e] >= 0) this.#loaded.setBounds(extra[e], lower[extra[e]], upper[extra[e]]);
  }

  /** Leaves the loaded program as it was. */
  undo(): void {
    this.state.forEach((state, e) => {
      if (state !== OPEN) this.reopen(e);
    });
  }

  /** What one kWh in an entry costs at a solution's duals: its price and what it displaces. */
  fullCost(e: number, duals: Float64Array): number {
    const { column, hours } = this.#entries;
    const { starts, rows, factors } = this.#limits;
    let cost = this.#lp.cost[column[e]];
    for (let n = starts[e]; n < starts[e + 1]; n++) cost -= factors[n] * duals[rows[n]];
    return cost / hours[e];
  }
}

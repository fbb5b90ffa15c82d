import type { Charging } from "../domain/charging.ts";
import type { Problem } from "../domain/problem.ts";
import { rangeOver } from "../domain/series.ts";
import type { CircuitRow } from "./circuits.ts";
import type { Lp, LpBuilder } from "./lp.ts";
import type { Pricing } from "./pricing.ts";

/**
 * The power columns of a site's linear program. Powers in kW, energies in kWh, money in units
 * of `pricing.unit`. For session i and slot k of its stay the power is
 * x = columns[n] + (extras[n] >= 0 ? the column extras[n] : 0), n = offsets[i] + k - stay.first:
 * the first column reaches up to the installed plan, the second, dearer by the price of a
 * change, goes above it.
 */
export interface Powers {
  problem: Problem;
  charging: Charging;
  pricing: Pricing;
  /** Mean base load of the site in each slot, W. */
  baseW: Float64Array;
  /** Where each session's slots begin in the arrays below; one entry more than sessions. */
  offsets: Int32Array;
  columns: Int32Array;
  /** -1 where there is no second column. */
  extras: Int32Array;
  /** Columns of power that a limit allows and the battery does not take; -1 where there is none. */
  undrawn: Int32Array;
  /** Columns of power that the vehicle gives, kW, where that is still to be planned; -1 elsewhere. */
  given: Int32Array;
  /** Energy at the meter that it takes to store again what 1 kWh given has taken out. */
  regain: Float64Array;
  /** Bounds of the power when it is not 0, kW. */
  minKw: Float64Array;
  maxKw: Float64Array;
  hours: Float64Array;
}

/** What the objective is made of. */
export interface Goals extends Powers {
  energy: EnergyColumns[];
  surplus: SurplusColumns | undefined;
  demand: DemandColumns | undefined;
  flat: FlatColumns | undefined;
}

/** A site's linear program and what its columns and rows mean. */
export interface Program extends Goals {
  lp: Lp;
  /** Whether some vehicle may end short, so that unmet energy has its fair segments. */
  scarce: boolean;
  circuitRows: CircuitRow[];
  /** Limits of phasor sums are polygons inside them: a plan can be a little better than the program's optimum. */
  isInner: boolean;
}

/** What a session's energy row adds to its powers: sum of hours x power + unmet - over = energyKwh. */
export interface EnergyColumns {
  /** The need in whole steps, capped by what the stay physically allows. */
  energyKwh: number;
  /** First unmet segment and their number, each the same share of the energy. */
  unmet: number;
  segments: number;
  /** Column of energy above the need, forced by a minimum; -1 where none can be. */
  over: number;
  /** Column of energy that is given for good; -1 where none can be. */
  spare: number;
}

/** What vehicles take of the production above the base load. */
export interface SurplusColumns {
  /** One a slot: the power taken, kW; -1 where there is no surplus. */
  columns: Int32Array;
  surplusW: Float64Array;
}

/** The peak column of a demand charge and the least peak that the base load alone sets, kW. */
export interface DemandColumns {
  column: number;
  leastKw: number;
}

/** The layers that FLATTEST cuts the site's import into. */
export interface FlatColumns {
  layers: Layer[];
}

/** A range of import, kW, and what a kWh in it costs. */
export interface Layer {
  fromKw: number;
  toKw: number;
  price: number;
}

/** Mean power, kW, that session i's installed plan has in its part of slot k; undefined without one. */
export function installedKw(problem: Problem, i: number, k: number): number | undefined {
  const { installed, arrivalMs, departureMs } = problem.sessions[i];
  if (installed === undefined) return undefined;
  const fromMs = Math.max(problem.slotStartsMs[k], arrivalMs);
  const toMs = Math.min(problem.slotStartsMs[k + 1], departureMs);
  return rangeOver(installed.powerW, fromMs, Math.max(fromMs + 1, toMs)).mean / 1000;
}

/** Power of entry n of a solution, kW. */
export function powerKw(powers: Powers, primal: Float64Array, n: number): number {
  const extra = powers.extras[n];
  return primal[powers.columns[n]] + (extra < 0 ? 0 : primal[extra]);
}

/** Adds entry n's power, times a factor, to the row being built. */
export function addPowerEntry(powers: Powers, builder: LpBuilder, n: number, factor: number): void {
  builder.addEntry(powers.columns[n], factor);
  if (powers.extras[n] >= 0) builder.addEntry(powers.extras[n], factor);
}

/** Adds what the vehicle draws of entry n's power, times a factor, to the row being built. */
export function addDrawnEntry(powers: Powers, builder: LpBuilder, n: number, factor: number): void {
  addPowerEntry(powers, builder, n, factor);
  if (powers.undrawn[n] >= 0) builder.addEntry(powers.undrawn[n], -factor);
}

/** The same less what is to be drawn again for what the vehicle gives. */
export function addKeptEntry(powers: Powers, builder: LpBuilder, n: number, factor: number): void {
  addDrawnEntry(powers, builder, n, factor);
  if (powers.given[n] >= 0) builder.addEntry(powers.given[n], -factor * powers.regain[n]);
}

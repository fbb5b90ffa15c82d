import { chargingRange, HOUR_MS } from "../domain/charging.ts";
import { energyWh } from "../domain/delivery.ts";
import type { PowerPlan, ShortfallCause } from "../domain/plan.ts";
import type { Problem } from "../domain/problem.ts";
import { TIE_BREAKS } from "./pricing.ts";
import type { Program } from "./program.ts";

/** Energy below this, Wh, is dust of the arithmetic: no stage of a plan goes on for it. */
export const SHORTFALL_DUST_WH = 0.5;
// Stages can leave dust one after the other, and meters count whole Wh.
const LEAST_SHORTFALL_WH = 1;
// What a charger of 18 kW delivers in a second: times are cut to whole ones.
const MOST_DUST_WH = 5;
const DUST_SHARE = 1e-3;

/**
 * Energy up to which what is missing to a need is rounding and no shortfall, Wh: a thousandth of the need,
 * which is a tenth of what a meter of class B (EN 50470-3) may be off, at least 1 and at most 5.
 */
export function shortfallDustWh(needWh: number): number {
  return Math.min(Math.max(LEAST_SHORTFALL_WH, DUST_SHARE * needWh), MOST_DUST_WH);
}

/**
 * What one more kWh through each circuit in each slot would be worth, in the tariff's currency:
 * the duals of its rows in the relaxed program, a kWh taken as spread evenly over the phases.
 * Indexed [circuit][slot]; 0 where nothing binds.
 */
export function shadowPrices(program: Program, duals: Float64Array): Float64Array[] {
  const { problem, pricing } = program;
  const starts = problem.slotStartsMs;
  const prices = problem.site.circuits.map(() => new Float64Array(starts.length - 1));
  for (const { row, circuit, slot, evenShare } of program.circuitRows) {
    const hours = (starts[slot + 1] - starts[slot]) / HOUR_MS;
    prices[circuit][slot] += (Math.max(0, -duals[row]) * pricing.unit * evenShare) / hours;
  }
  // What only breaks ties is worth nothing.
  return prices.map((ofCircuit) => ofCircuit.map((price) => (price < TIE_BREAKS * pricing.unit ? 0 : price)));
}

/** How far a plan got from the stages before it: energies in Wh that each leaves undelivered. */
export interface Shortfalls {
  /** In the plan as sent. */
  sentWh: number;
  /** In the plan before rounding and compression. */
  plannedWh: number;
  /** In the relaxed optimum; undefined where there is none. */
  relaxedWh: number | undefined;
}

/**
 * Why a session ends short, the causes that cost energy in the order of the stages: what the
 * stay and the battery physically allow, which is mostWh, the circuits, the minimum current, time, the
 * profile's resolution.
 */
export function shortfallCauses(
  problem: Problem,
  i: number,
  maxPowerW: number,
  mostWh: number,
  short: Shortfalls,
): ShortfallCause[] {
  if (short.sentWh <= SHORTFALL_DUST_WH) return [];
  const session = problem.sessions[i];
  const starts = problem.slotStartsMs;
  const stayHours = (session.departureMs - Math.max(session.arrivalMs, starts[0])) / HOUR_MS;
  const causes: ShortfallCause[] = [];
  const atFullPowerWh = Math.max(0, session.energyWh - maxPowerW * stayHours);
  const physicalWh = Math.max(0, session.energyWh - mostWh);
  if (maxPowerW === 0) causes.push("MINIMUM_CURRENT");
  else if (atFullPowerWh > SHORTFALL_DUST_WH) {
    const unbound = {
      ...session,
      maxPowerW: Number.POSITIVE_INFINITY,
      maxCurrentA: Number.POSITIVE_INFINITY,
    };
    const evsePowerW = chargingRange(problem.site, unbound).maxPowerW;
    causes.push("STAY_TOO_SHORT", maxPowerW < evsePowerW * 0.99 ? "VEHICLE_LIMIT" : "EVSE_LIMIT");
  }
  if (physicalWh - atFullPowerWh > SHORTFALL_DUST_WH) causes.push("CHARGE_CURVE");
  // The relaxed plan knows a charge curve from inside only: the finished one can take more.
  const relaxedWh = Math.min(short.relaxedWh ?? short.plannedWh, short.plannedWh);
  if (relaxedWh - physicalWh > SHORTFALL_DUST_WH && maxPowerW > 0) causes.push("CIRCUIT_LIMIT");
  if (short.relaxedWh === undefined) causes.push("OUT_OF_TIME");
  else if (short.plannedWh - short.relaxedWh > SHORTFALL_DUST_WH) causes.push("MINIMUM_CURRENT");
  if (short.sentWh - short.plannedWh > SHORTFALL_DUST_WH) causes.push("PROFILE_RESOLUTION");
  // Pieces that are dust each can still add up to more.
  return causes.length > 0 ? causes : ["PROFILE_RESOLUTION"];
}

/** Energy of each session that a plan leaves undelivered, Wh. */
export function undeliveredWh(program: Program, plan: PowerPlan): Float64Array {
  const { problem, charging } = program;
  return Float64Array.from(
    plan,
    (powerW, i) => problem.sessions[i].energyWh - energyWh(problem, charging, i, powerW),
  );
}

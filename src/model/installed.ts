import { energyWh } from "../domain/delivery.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { rangeOver } from "../domain/series.ts";
import { SHORTFALL_DUST_WH } from "./explain.ts";
import type { Powers, Program } from "./program.ts";

/**
 * What a change must save to be sent, as a share of the objective: as much again as the proof of an
 * optimum leaves open, for the whole steps that both plans are rounded to.
 */
export const WORTH_A_CHANGE = 2e-3;

/**
 * A session's installed plan, W, in the plan's slots; undefined where it can't be told exactly in
 * whole steps, or delivers less than what is planned, as far as that is needed.
 */
export function installedPlan(
  { problem, charging }: Pick<Powers, "problem" | "charging">,
  i: number,
  plannedWh: number,
): Float64Array | undefined {
  const session = problem.sessions[i];
  const { installed, arrivalMs, departureMs, uninterruptible, energyWh: neededWh, discharge } = session;
  if (installed === undefined || uninterruptible || discharge !== undefined) return undefined;
  const { first, end } = charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
  const own = new Float64Array(problem.slotStartsMs.length - 1);
  for (let k = first; k < end; k++) {
    const fromMs = Math.max(problem.slotStartsMs[k], arrivalMs);
    const { min, max } = rangeOver(
      installed.powerW,
      fromMs,
      Math.min(problem.slotStartsMs[k + 1], departureMs),
    );
    const steps = Math.round(max / stepPowerW);
    const powerW = steps * stepPowerW;
    const isUsable = powerW === floorPowerW || (powerW >= minPowerW && powerW <= maxPowerW);
    if (min !== max || Math.abs(powerW - max) > 1e-3 || !isUsable) return undefined;
    own[k] = powerW;
  }
  const installedWh = energyWh(problem, charging, i, own);
  return installedWh >= Math.min(plannedWh, neededWh) - SHORTFALL_DUST_WH ? own : undefined;
}

/** Whether a plan has a session at exactly what is installed. */
export function isInstalled(program: Program, plan: PowerPlan, i: number): boolean {
  const plannedWh = energyWh(program.problem, program.charging, i, plan[i]);
  const own = installedPlan(program, i, plannedWh);
  const { first, end } = program.charging.stays[i];
  if (own === undefined) return false;
  for (let k = first; k < end; k++) if (Math.abs(own[k] - plan[i][k]) > 1e-3) return false;
  return true;
}

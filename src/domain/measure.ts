import type { Charging } from "./charging.ts";
import { HOUR_MS, slotAt } from "./charging.ts";
import type { PowerPlan } from "./plan.ts";
import type { Circuit, Problem } from "./problem.ts";
import { rangeOver } from "./series.ts";
import { demandCost, demandWindows, slotCarbon, slotPrices } from "./tariff.ts";
import { voltagesOf } from "./wiring.ts";

/** What a plan delivers and costs. */
export interface Measures {
  /** Each session's energy as its profile allows it, Wh; may pass the need by part of a slot. */
  allowedWh: Float64Array;
  energyCosts: Float64Array;
  /** Sum of the vehicles in each slot, W. */
  chargingPowerW: Float64Array;
  /** Charging, mean base load and uncontrolled chargers in each slot, W. */
  importPowerW: Float64Array;
  peakImportW: number;
  demandCost: number;
  carbonKg: number;
}

/** Energy, money and carbon of a plan. Energy above a vehicle's need costs nothing. Base load counts in the import and the demand charge, not in the cost of energy. */
export function measure(problem: Problem, charging: Charging, plan: PowerPlan): Measures {
  const slotCount = problem.slotStartsMs.length - 1;
  const prices = slotPrices(problem);
  const carbon = slotCarbon(problem);
  const allowedWh = new Float64Array(plan.length);
  const energyCosts = new Float64Array(plan.length);
  const chargingPowerW = new Float64Array(slotCount);
  let carbonKg = 0;
  plan.forEach((powerW, i) => {
    const { first, end, hours } = charging.stays[i];
    for (let k = first; k < end; k++) {
      const slotWh = powerW[k] * hours[k - first];
      // A vehicle that has what it needs draws no more, whatever it is still allowed.
      const drawnWh = Math.min(slotWh, Math.max(0, problem.sessions[i].energyWh - allowedWh[i]));
      allowedWh[i] += slotWh;
      energyCosts[i] += (prices[k] * drawnWh) / 1000;
      carbonKg += (carbon[k] * drawnWh) / 1e6;
      chargingPowerW[k] += powerW[k];
    }
  });
  const baseW = slotBaseLoad(problem);
  const importPowerW = chargingPowerW.map((powerW, k) => powerW + baseW[k]);
  return {
    allowedWh,
    energyCosts,
    chargingPowerW,
    importPowerW,
    peakImportW: importPowerW.reduce((a, b) => Math.max(a, b), 0),
    demandCost: demandCost(problem.site.tariff, peakDemand(problem, charging, plan)),
    carbonKg,
  };
}

/** Mean base load of the whole site in each slot, uncontrolled chargers included, W. */
export function slotBaseLoad(problem: Problem): Float64Array {
  const starts = problem.slotStartsMs;
  const baseW = new Float64Array(starts.length - 1);
  const base = baseLoadOf(problem);
  for (let k = 0; k < baseW.length; k++) baseW[k] = base(starts[k], starts[k + 1]);
  return baseW;
}

/** Tells the mean base load of the whole site over a stretch of time, uncontrolled chargers included, W. */
export function baseLoadOf(problem: Problem): (fromMs: number, toMs: number) => number {
  const { circuits, evses } = problem.site;
  const voltages = voltagesOf(problem.site);
  const loaded = circuits
    .map((circuit, c) => ({ circuit, voltageV: voltages[c] }))
    .filter(({ circuit }) => hasBaseLoad(circuit));
  const uncontrolledW = evses.reduce((sumW, { uncontrolledPowerW }) => sumW + (uncontrolledPowerW ?? 0), 0);
  return (fromMs, toMs) => {
    let sumW = uncontrolledW;
    for (const { circuit, voltageV } of loaded) sumW += meanCircuitLoad(circuit, voltageV, fromMs, toMs);
    return sumW;
  };
}

/** Whether a load that is not planned hangs on a circuit itself. */
export function hasBaseLoad({ baseLoadW, baseLoadA }: Circuit): boolean {
  return baseLoadW !== undefined || baseLoadA.some((series) => series !== undefined);
}

/** Mean base load that hangs on one circuit itself, of a phase-to-neutral voltage, over a stretch of time, W. */
export function meanCircuitLoad(circuit: Circuit, voltageV: number, fromMs: number, toMs: number): number {
  if (circuit.baseLoadW !== undefined) return rangeOver(circuit.baseLoadW, fromMs, toMs).mean;
  let sumW = 0;
  for (const series of circuit.baseLoadA) {
    if (series !== undefined) sumW += rangeOver(series, fromMs, toMs).mean * voltageV;
  }
  return sumW;
}

/** Highest mean import over a demand window, W. */
function peakDemand(problem: Problem, charging: Charging, plan: PowerPlan): number {
  let peakW = 0;
  const base = baseLoadOf(problem);
  for (const window of demandWindows(problem)) {
    let energyWh = base(window.startMs, window.endMs) * window.hours;
    forPresence(problem, charging, window, (i, k, hours) => {
      energyWh += plan[i][k] * hours;
    });
    peakW = Math.max(peakW, energyWh / window.hours);
  }
  return peakW;
}

/** Calls back with the hours that each session is present in each slot's part of a stretch of time. */
export function forPresence(
  problem: Problem,
  charging: Charging,
  span: { startMs: number; endMs: number },
  visit: (i: number, k: number, hours: number) => void,
): void {
  const starts = problem.slotStartsMs;
  let k = slotAt(starts, span.startMs);
  for (; k + 1 < starts.length && starts[k] < span.endMs; k++) {
    for (const i of charging.present[k]) {
      const { arrivalMs, departureMs } = problem.sessions[i];
      const from = Math.max(span.startMs, starts[k], arrivalMs);
      const to = Math.min(span.endMs, starts[k + 1], departureMs);
      if (to > from) visit(i, k, (to - from) / HOUR_MS);
    }
  }
}

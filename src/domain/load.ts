import { installedMeanW } from "./offline.ts";
import type { Circuit, Problem } from "./problem.ts";
import { rangeOver } from "./series.ts";
import { voltagesOf } from "./wiring.ts";

/** Mean base load of the whole site in each slot, chargers that can't be controlled or are offline included, W. */
export function slotBaseLoad(problem: Problem): Float64Array {
  const starts = problem.slotStartsMs;
  const baseW = new Float64Array(starts.length - 1);
  const base = baseLoadOf(problem);
  for (let k = 0; k < baseW.length; k++) baseW[k] = base(starts[k], starts[k + 1]);
  return baseW;
}

/**
 * Tells the mean base load of the whole site over a stretch of time, W: uncontrolled chargers included, and the
 * installed plans of those that are offline. What is only reserved is no load.
 */
export function baseLoadOf(problem: Problem): (fromMs: number, toMs: number) => number {
  const { circuits, evses } = problem.site;
  const voltages = voltagesOf(problem.site);
  const loaded = circuits
    .map((circuit, c) => ({ circuit, voltageV: voltages[c] }))
    .filter(({ circuit }) => hasBaseLoad(circuit));
  const uncontrolledW = evses.reduce((sumW, { uncontrolledPowerW }) => sumW + (uncontrolledPowerW ?? 0), 0);
  const offline = problem.sessions.filter(({ evse }) => evses[evse].isOffline);
  return (fromMs, toMs) => {
    let sumW = uncontrolledW;
    for (const session of offline) sumW += installedMeanW(session, fromMs, toMs);
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

import type { Charging } from "./charging.ts";
import { HOUR_MS, slotAt } from "./charging.ts";
import { slotEnergiesWh } from "./delivery.ts";
import { slotBaseLoad } from "./load.ts";
import type { PowerPlan } from "./plan.ts";
import type { Problem } from "./problem.ts";
import {
  exportPrices,
  forSurplus,
  importBaseOf,
  slotLoad,
  slotProduction,
  slotPv,
  surplusOf,
} from "./surplus.ts";
import { type DemandWindow, demandCost, demandWindows, slotCarbon, slotPrices } from "./tariff.ts";

/** What a plan delivers and costs. */
export interface Measures {
  /** Each session's energy as its profile and its charge curve allow it, Wh; may pass the need by part of a slot. */
  allowedWh: Float64Array;
  energyCosts: Float64Array;
  /** Sum of the vehicles in each slot, W. */
  chargingPowerW: Float64Array;
  /** Charging, mean base load and uncontrolled chargers in each slot, less what the site makes itself, W; never below 0. */
  importPowerW: Float64Array;
  /** What flows out in each slot, W. */
  exportPowerW: Float64Array;
  pvPowerW: Float64Array;
  /** Import, negative where more flows out, in each slot as the vehicles draw, Wh: none above its need or its curve. */
  netEnergyWh: Float64Array;
  peakImportW: number;
  /** Mean import over each demand window, W; empty without a demand charge. */
  demandW: Float64Array;
  demandCost: number;
  carbonKg: number;
}

/** Energy, money and carbon of a plan. Energy above a vehicle's need costs nothing; what vehicles take of the site's own surplus costs what its export would have paid. Base load counts in the import and the demand charge, not in the cost of energy. */
export function measure(problem: Problem, charging: Charging, plan: PowerPlan): Measures {
  const slotCount = problem.slotStartsMs.length - 1;
  const prices = slotPrices(problem);
  const carbon = slotCarbon(problem);
  const allowedWh = new Float64Array(plan.length);
  const energyCosts = new Float64Array(plan.length);
  const chargingPowerW = new Float64Array(slotCount);
  const drawnWh = charging.stays.map(({ hours }) => new Float64Array(hours.length));
  plan.forEach((powerW, i) => {
    const { first, end } = charging.stays[i];
    const energiesWh = slotEnergiesWh(problem, charging, i, powerW);
    for (let k = first; k < end; k++) {
      const slotWh = energiesWh[k - first];
      // A vehicle that has what it needs draws no more, whatever it is still allowed.
      drawnWh[i][k - first] = Math.min(slotWh, Math.max(0, problem.sessions[i].energyWh - allowedWh[i]));
      allowedWh[i] += slotWh;
      chargingPowerW[k] += powerW[k];
    }
  });
  const ownShare = ownShares(problem, charging, drawnWh);
  const paid = ownShare === undefined ? prices : exportPrices(problem);
  let carbonKg = 0;
  charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) {
      const own = ownShare?.[k] ?? 0;
      energyCosts[i] += ((prices[k] * (1 - own) + paid[k] * own) * drawnWh[i][k - first]) / 1000;
      carbonKg += (carbon[k] * (1 - own) * drawnWh[i][k - first]) / 1e6;
    }
  });
  const baseW = slotBaseLoad(problem);
  const productionW = slotProduction(problem);
  const starts = problem.slotStartsMs;
  const netEnergyWh = baseW.map((w, k) => ((w - productionW[k]) * (starts[k + 1] - starts[k])) / HOUR_MS);
  charging.stays.forEach(({ first }, i) => {
    drawnWh[i].forEach((wh, n) => {
      netEnergyWh[first + n] += wh;
    });
  });
  const netW = chargingPowerW.map((powerW, k) => powerW + baseW[k] - productionW[k]);
  const importPowerW = netW.map((w) => Math.max(0, w));
  const demandW = Float64Array.from(demandImports(problem, charging, plan), ({ importW }) => importW);
  const peakDemandW = demandW.reduce((a, b) => Math.max(a, b), 0);
  return {
    allowedWh,
    energyCosts,
    chargingPowerW,
    importPowerW,
    exportPowerW: netW.map((w) => Math.max(0, -w)),
    pvPowerW: slotPv(problem),
    netEnergyWh,
    peakImportW: importPowerW.reduce((a, b) => Math.max(a, b), 0),
    demandW,
    demandCost: demandCost(problem.site.tariff, peakDemandW),
    carbonKg,
  };
}

/** Share of the vehicles' energy in each slot that the site's own surplus covers; undefined where there is none. */
function ownShares(
  problem: Problem,
  charging: Charging,
  drawnWh: readonly Float64Array[],
): Float64Array | undefined {
  const surplusW = surplusOf(problem);
  if (surplusW === undefined) return undefined;
  const loadW = slotLoad(problem, charging.present, (i, k) => drawnWh[i][k - charging.stays[i].first]);
  return surplusW.map((w, k) => (loadW[k] > 0 ? Math.min(1, w / loadW[k]) : 0));
}

/** Mean import over each demand window, W; none without a demand charge. */
export function demandImports(
  problem: Problem,
  charging: Charging,
  plan: PowerPlan,
): (DemandWindow & { importW: number })[] {
  const windows = demandWindows(problem);
  if (windows.length === 0) return [];
  const base = importBaseOf(problem);
  const surplusW = surplusOf(problem);
  const loadW =
    surplusW &&
    slotLoad(
      problem,
      charging.present,
      (i, k) => plan[i][k] * charging.stays[i].hours[k - charging.stays[i].first],
    );
  return windows.map((window) => {
    let energyWh = base(window.startMs, window.endMs) * window.hours;
    forPresence(problem, charging, window, (i, k, hours) => {
      energyWh += plan[i][k] * hours;
    });
    if (surplusW !== undefined && loadW !== undefined) {
      forSurplus(problem, surplusW, window, (k, hours) => {
        energyWh -= Math.min(surplusW[k], loadW[k]) * hours;
      });
    }
    return { ...window, importW: energyWh / window.hours };
  });
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

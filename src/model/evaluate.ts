import { HOUR_MS } from "../domain/charging.ts";
import { slotEnergiesWh, taperOf } from "../domain/delivery.ts";
import { forPresence } from "../domain/measure.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { forSurplus, importBaseOf } from "../domain/surplus.ts";
import { demandWindows } from "../domain/tariff.ts";
import { checkpointTerm, hasCheckpoints } from "./checkpoints.ts";
import { FAIRNESS } from "./energy.ts";
import { horizonHours, PEAK_PER_HOUR, UNDRAWN } from "./pricing.ts";
import { type Goals, installedKw } from "./program.ts";
import { takenOf } from "./surplus.ts";

/**
 * The program's objective at a plan, every auxiliary column at its best value: what the plan
 * costs in the program's own terms, comparable with a bound. Powers in W. The plan need not
 * keep the limits.
 */
export function evaluate(program: Goals, plan: PowerPlan): number {
  let cost = demandTerm(program, plan) + flatTerm(program, plan) - ownTerm(program, plan);
  plan.forEach((_, i) => {
    cost += sessionTerm(program, plan, i);
  });
  return cost;
}

function sessionTerm(program: Goals, plan: PowerPlan, i: number): number {
  const { problem, charging, pricing, energy } = program;
  const { first, end, hours } = charging.stays[i];
  const { priority } = problem.sessions[i];
  const floorKw = charging.ranges[i].floorPowerW / 1000;
  const hasTaper = taperOf(problem.sessions[i]) !== undefined;
  const drawnWh = slotEnergiesWh(problem, charging, i, plan[i]);
  let cost = 0;
  let energyKwh = 0;
  for (let k = first; k < end; k++) {
    const kw = plan[i][k] / 1000;
    const leftKwh = hasTaper ? energy[i].energyKwh - energyKwh : Number.POSITIVE_INFINITY;
    const drawnKwh = Math.min(drawnWh[k - first] / 1000, leftKwh);
    energyKwh += drawnKwh;
    cost += drawnKwh * pricing.slotCost(i, k) + (kw * hours[k - first] - drawnKwh) * UNDRAWN;
    const before = installedKw(problem, i, k);
    // What is installed below the least that the charger can be told is as good as nothing.
    const keptKw = before !== undefined && before > floorKw ? before : 0;
    if (before !== undefined) cost += Math.max(0, kw - keptKw) * hours[k - first] * pricing.change;
  }
  if (hasCheckpoints(program, i)) cost += checkpointTerm(program, plan, i, energy[i].energyKwh);
  const unmetKwh = energy[i].energyKwh - energyKwh;
  if (unmetKwh <= 0) return cost - unmetKwh * pricing.over;
  const leastPriority = Math.min(...problem.sessions.map((session) => session.priority));
  const factors = energy[i].segments === 1 ? FAIRNESS.slice(-1) : FAIRNESS;
  const segmentKwh = energy[i].energyKwh / factors.length;
  factors.forEach((factor, s) => {
    const inSegment = Math.min(segmentKwh, Math.max(0, unmetKwh - s * segmentKwh));
    cost += (inSegment * factor * pricing.unmet * priority) / leastPriority;
  });
  return cost;
}

/** What the plan saves by taking what the site makes itself. */
function ownTerm(program: Goals, plan: PowerPlan): number {
  const { problem, pricing } = program;
  const starts = problem.slotStartsMs;
  const takenW = takenOf(program, plan);
  if (takenW === undefined) return 0;
  return takenW.reduce(
    (sum, w, k) => sum + ((w / 1000) * (starts[k + 1] - starts[k]) * pricing.ownSaving(k)) / HOUR_MS,
    0,
  );
}

function demandTerm(program: Goals, plan: PowerPlan): number {
  const { problem, charging, pricing, demand } = program;
  if (demand === undefined) return 0;
  let peakKw = demand.leastKw;
  const base = importBaseOf(problem);
  const takenW = takenOf(program, plan);
  for (const window of demandWindows(problem)) {
    let kw = base(window.startMs, window.endMs) / 1000;
    forPresence(problem, charging, window, (i, k, hours) => {
      kw += ((plan[i][k] / 1000) * hours) / window.hours;
    });
    if (takenW !== undefined) {
      forSurplus(problem, takenW, window, (k, hours) => {
        kw -= ((takenW[k] / 1000) * hours) / window.hours;
      });
    }
    peakKw = Math.max(peakKw, kw);
  }
  return pricing.demand * peakKw;
}

function flatTerm(program: Goals, plan: PowerPlan): number {
  const { problem, charging, baseW, flat } = program;
  if (flat === undefined) return 0;
  const starts = problem.slotStartsMs;
  const takenW = takenOf(program, plan);
  let cost = 0;
  let peakKw = 0;
  for (let k = 0; k < charging.present.length; k++) {
    if (charging.present[k].length === 0) continue;
    const slotHours = (starts[k + 1] - starts[k]) / 3_600_000;
    const baseKw = baseW[k] / 1000;
    let kw = baseKw;
    for (const i of charging.present[k]) {
      kw += ((plan[i][k] / 1000) * charging.stays[i].hours[k - charging.stays[i].first]) / slotHours;
    }
    kw -= (takenW?.[k] ?? 0) / 1000;
    peakKw = Math.max(peakKw, kw);
    for (const { fromKw, toKw, price } of flat.layers) {
      cost += Math.max(0, Math.min(kw, toKw) - Math.max(baseKw, fromKw)) * price * slotHours;
    }
  }
  return cost + peakKw * PEAK_PER_HOUR * horizonHours(problem);
}

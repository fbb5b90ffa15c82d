import { energyWh, mostEnergyWh, taperOf } from "../domain/delivery.ts";
import { mayGive } from "../domain/discharge.ts";
import { installedPlan } from "./installed.ts";
import type { LpBuilder } from "./lp.ts";
import { addKeptEntry, type EnergyColumns, type Powers } from "./program.ts";

/**
 * Marginal penalties of the shares of a need that stay unmet, first tenth to last: convex, so
 * that scarcity is spread by share.
 */
export const FAIRNESS = [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9];

/**
 * Balances each session's energy: hours x power + unmet - over = need. The need is taken up to
 * what whole steps in full slots deliver, because together with limits in whole steps that makes
 * for optima in whole steps; and it is capped by what the stay allows. Where an installed plan meets
 * the need with less above it, the need is what that delivers.
 */
export function addEnergyRows(powers: Powers, builder: LpBuilder, scarce: boolean): EnergyColumns[] {
  const { problem, charging, pricing, offsets, hours, maxKw, minKw } = powers;
  const leastPriority = Math.min(...problem.sessions.map((session) => session.priority));
  return problem.sessions.map((session, i) => {
    let mostKwh = 0;
    let longestHours = 0;
    let minimumKwh = 0;
    let floorKwh = 0;
    for (let n = offsets[i]; n < offsets[i + 1]; n++) {
      mostKwh += hours[n] * maxKw[n];
      longestHours = Math.max(longestHours, hours[n]);
      minimumKwh = Math.max(minimumKwh, hours[n] * minKw[n]);
      floorKwh += (hours[n] * charging.ranges[i].floorPowerW) / 1000;
    }
    const unitWh = charging.ranges[i].stepPowerW * longestHours;
    const units = unitWh > 0 ? Math.ceil(session.energyWh / unitWh - 1e-6) : 0;
    const hasTaper = taperOf(session) !== undefined;
    if (hasTaper) mostKwh = Math.min(mostKwh, mostEnergyWh(problem, charging, i) / 1000);
    const own = installedPlan(powers, i, session.energyWh);
    const ownWh = own === undefined ? Number.POSITIVE_INFINITY : energyWh(problem, charging, i, own);
    const energyKwh = Math.min((units * unitWh) / 1000, ownWh / 1000, mostKwh);
    const weight = (pricing.unmet * session.priority) / leastPriority;
    const factors = scarce ? FAIRNESS : FAIRNESS.slice(-1);
    const unmet = builder.columnCount;
    for (const factor of factors) builder.addColumn(weight * factor, 0, energyKwh / factors.length);
    // With a charge curve it has columns of its own for what the vehicle does not draw.
    const overKwh = hasTaper ? 0 : Math.max(floorKwh, session.energyWh > 0 ? minimumKwh : 0);
    const over = overKwh > 0 ? builder.addColumn(pricing.over, 0, overKwh) : -1;
    for (let n = offsets[i]; n < offsets[i + 1]; n++) addKeptEntry(powers, builder, n, hours[n]);
    // What it has to spare it may give for good.
    const spareKwh = mayGive(session) ? (session.discharge?.spareWh ?? 0) / 1000 : 0;
    const spare = spareKwh > 0 ? builder.addColumn(0, 0, spareKwh) : -1;
    if (spare >= 0) builder.addEntry(spare, 1);
    for (let s = 0; s < factors.length; s++) builder.addEntry(unmet + s, 1);
    if (over >= 0) builder.addEntry(over, -1);
    builder.endRow(energyKwh, energyKwh);
    return { energyKwh, unmet, segments: factors.length, over, spare };
  });
}

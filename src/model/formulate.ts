import type { Charging } from "../domain/charging.ts";
import { taperOf } from "../domain/delivery.ts";
import { mayGive } from "../domain/discharge.ts";
import type { Problem } from "../domain/problem.ts";
import { Room } from "../domain/room.ts";
import { slotImportBase } from "../domain/surplus.ts";
import { addBatteryRows } from "./battery.ts";
import { addCheckpointRows } from "./checkpoints.ts";
import { addCircuitRows } from "./circuits.ts";
import { addDemandCharge, addFlatness } from "./demand.ts";
import { givingCost } from "./discharge.ts";
import { addEnergyRows } from "./energy.ts";
import { LpBuilder } from "./lp.ts";
import { pricingOf, UNDRAWN } from "./pricing.ts";
import { type Goals, installedKw, type Powers, type Program } from "./program.ts";
import { addSurplus } from "./surplus.ts";

/**
 * Builds the program. `scarce`: whether some vehicle may end short; if not, unmet energy needs
 * no fair segments. Hard rows are physical limits only; every goal has slack, so that the
 * program is feasible by construction.
 */
export function formulate(problem: Problem, charging: Charging, scarce: boolean): Program {
  const builder = new LpBuilder();
  const powers = powersOf(problem, charging, builder);
  const energy = addEnergyRows(powers, builder, scarce);
  addCheckpointRows(powers, builder, energy);
  addBatteryRows(powers, builder, energy);
  const room = new Room(problem, charging);
  const circuitRows = addCircuitRows(powers, builder, room);
  const surplus = addSurplus(powers, builder);
  const demand = addDemandCharge(powers, builder, surplus);
  const flat = problem.preference === "FLATTEST" ? addFlatness(powers, builder, surplus) : undefined;
  const isInner =
    room.phasorLines.size > 0 ||
    problem.sessions.some(({ battery }) => (battery?.chargeCurve.length ?? 0) > 0);
  return { ...powers, lp: builder.build(), scarce, energy, circuitRows, isInner, surplus, demand, flat };
}

/** What a plan is valued by, where no program is to be solved: its limits are left out. */
export function goalsOf(problem: Problem, charging: Charging, scarce: boolean): Goals {
  const builder = new LpBuilder();
  const powers = powersOf(problem, charging, builder);
  const energy = addEnergyRows(powers, builder, scarce);
  const surplus = addSurplus(powers, builder);
  const demand = addDemandCharge(powers, builder, surplus);
  const flat = problem.preference === "FLATTEST" ? addFlatness(powers, builder, surplus) : undefined;
  return { ...powers, energy, surplus, demand, flat };
}

/** Adds the power columns of all sessions. */
export function powersOf(problem: Problem, charging: Charging, builder: LpBuilder): Powers {
  const pricing = pricingOf(problem, charging);
  const offsets = new Int32Array(problem.sessions.length + 1);
  charging.stays.forEach((stay, i) => {
    offsets[i + 1] = offsets[i] + stay.hours.length;
  });
  const count = offsets[problem.sessions.length];
  const powers: Powers = {
    problem,
    charging,
    pricing,
    baseW: slotImportBase(problem),
    offsets,
    columns: new Int32Array(count),
    extras: new Int32Array(count).fill(-1),
    undrawn: new Int32Array(count).fill(-1),
    given: new Int32Array(count).fill(-1),
    regain: new Float64Array(count),
    minKw: new Float64Array(count),
    maxKw: new Float64Array(count),
    hours: new Float64Array(count),
  };
  for (let i = 0; i < problem.sessions.length; i++) addPowerColumns(powers, builder, i);
  return powers;
}

function addPowerColumns(powers: Powers, builder: LpBuilder, i: number): void {
  const { problem, charging, pricing } = powers;
  const { first, end, hours } = charging.stays[i];
  const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
  const { energyWh, uninterruptible } = problem.sessions[i];
  const { discharge, battery } = problem.sessions[i];
  const isOpen = mayGive(problem.sessions[i]);
  const chargesKw = (energyWh > 0 || isOpen ? maxPowerW : floorPowerW) / 1000;
  const floorKw = floorPowerW / 1000;
  // Within a block a vehicle must draw something, whatever its charger's minimum.
  const minKw = Math.max(minPowerW, uninterruptible ? stepPowerW : 0) / 1000;
  const hasTaper = taperOf(problem.sessions[i]) !== undefined;
  for (let k = first; k < end; k++) {
    const n = powers.offsets[i] + k - first;
    const maxKw = (discharge?.plannedW?.[k] ?? 0) > 0 ? 0 : chargesKw;
    powers.hours[n] = hours[k - first];
    powers.minKw[n] = Math.min(minKw, maxKw);
    powers.maxKw[n] = maxKw;
    const cost = pricing.slotCost(i, k) * hours[k - first];
    const before = installedKw(problem, i, k);
    const changeCost = cost + pricing.change * hours[k - first];
    if (before === undefined || before >= maxKw) powers.columns[n] = builder.addColumn(cost, floorKw, maxKw);
    else if (before <= floorKw) powers.columns[n] = builder.addColumn(changeCost, floorKw, maxKw);
    else {
      powers.columns[n] = builder.addColumn(cost, floorKw, before);
      powers.extras[n] = builder.addColumn(changeCost, 0, maxKw - before);
    }
    // Its charge curve can be below the minimum: it then draws less than the least limit.
    if (hasTaper && minKw > 0)
      powers.undrawn[n] = builder.addColumn(
        (UNDRAWN - pricing.slotCost(i, k)) * hours[k - first],
        0,
        powers.minKw[n],
      );
    if (!isOpen || battery === undefined) continue;
    powers.given[n] = builder.addColumn(givingCost(powers, i, k) * hours[k - first], 0, 0);
    powers.regain[n] = 1 / battery.efficiency ** 2;
  }
}

import { QUANTITIES, type Room } from "../domain/room.ts";
import type { LpBuilder } from "./lp.ts";
import { addPowerEntry, type Powers } from "./program.ts";

/** A row that keeps a circuit's power (quantity 0) or a phase's current (1 to 3) within its limit in a slot. */
export interface CircuitRow {
  row: number;
  circuit: number;
  slot: number;
  quantity: number;
}

/**
 * Limits of every circuit and slot. Currents are written as the power that they are at nominal
 * voltage, so that all coefficients are 1, 1/2 or 1/3. Where all vehicles draw evenly from three
 * phases one row does for the power and the currents. A row that can't bind is not written. What
 * of a limit no sum of whole steps can reach is left out.
 */
export function addCircuitRows(powers: Powers, builder: LpBuilder, room: Room): CircuitRow[] {
  const { problem, charging, offsets, maxKw } = powers;
  const { circuits, evses, nominalVoltageV } = problem.site;
  const rows: CircuitRow[] = [];
  const members: number[][] = circuits.map(() => []);
  const phasesOf = (i: number) => charging.ranges[i].phases;

  const write = (slot: number, circuit: number, quantity: number, limitKw: number, sessions: number[]) => {
    const share = (i: number) => {
      if (quantity === 0) return 1;
      return phasesOf(i).some((phase) => phase === quantity) ? 1 / phasesOf(i).length : 0;
    };
    const entry = (i: number) => offsets[i] + slot - charging.stays[i].first;
    let most = 0;
    let floorKw = 0;
    for (const i of sessions) {
      most += share(i) * maxKw[entry(i)];
      floorKw += (share(i) * charging.ranges[i].floorPowerW) / 1000;
    }
    if (most <= limitKw) return;
    for (const i of sessions) {
      if (share(i) > 0 && maxKw[entry(i)] > 0) addPowerEntry(powers, builder, entry(i), share(i));
    }
    // What chargers that reject 0 draw anyway can't be planned away.
    const usableKw = inWholeSteps(
      limitKw,
      sessions.map((i) => (share(i) * charging.ranges[i].stepPowerW) / 1000),
    );
    const row = builder.endRow(Number.NEGATIVE_INFINITY, Math.max(usableKw, floorKw));
    rows.push({ row, circuit, slot, quantity });
  };

  for (let slot = 0; slot < charging.present.length; slot++) {
    for (const list of members) list.length = 0;
    for (const i of charging.present[slot]) {
      for (let c = evses[problem.sessions[i].evse].circuit; c !== -1; c = circuits[c].parent)
        members[c].push(i);
    }
    for (let c = 0; c < circuits.length; c++) {
      if (members[c].length === 0) continue;
      const at = (slot * circuits.length + c) * QUANTITIES;
      const powerKw = room.left[at] / 1000;
      const phaseKw = [1, 2, 3].map((phase) => (room.left[at + phase] * nominalVoltageV) / 1000);
      if (members[c].every((i) => phasesOf(i).length === 3)) {
        write(slot, c, 0, Math.min(powerKw, 3 * Math.min(...phaseKw)), members[c]);
      } else {
        write(slot, c, 0, powerKw, members[c]);
        phaseKw.forEach((limitKw, phase) => {
          write(slot, c, phase + 1, limitKw, members[c]);
        });
      }
    }
  }
  return rows;
}

/** The highest sum of powers in whole steps within a limit, where all steps are multiples of the smallest. */
function inWholeSteps(limitKw: number, stepsKw: number[]): number {
  const stepKw = Math.min(...stepsKw.filter((step) => step > 0));
  const areMultiples = stepsKw.every((step) => Math.abs(step / stepKw - Math.round(step / stepKw)) < 1e-9);
  return areMultiples ? Math.floor(limitKw / stepKw + 1e-9) * stepKw : limitKw;
}

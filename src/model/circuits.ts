import type { PhasorLine } from "../domain/line.ts";
import { QUANTITIES, type Room } from "../domain/room.ts";
import { LINES, lineLoads, voltagesOf } from "../domain/wiring.ts";
import type { LpBuilder } from "./lp.ts";
import { addPowerEntry, type Powers } from "./program.ts";

/** A row that keeps a circuit's power or a line's current within its limit in a slot. */
export interface CircuitRow {
  row: number;
  circuit: number;
  slot: number;
  /** What a kW that is spread evenly over the phases has in the row. */
  evenShare: number;
}

/** Degrees of a side of the polygon that stands for the circle of a line's limit: 24 sides lose 0.9 % at most. */
const SIDE = 15;
const APOTHEM = Math.cos(((SIDE / 2) * Math.PI) / 180);

/**
 * Limits of every circuit and slot. Currents are written as the power that they are at the
 * circuit's voltage, so that the coefficients are 1, 1/2 or 1/3. Where all vehicles draw evenly from three
 * phases one row does for the power and the currents. A row that can't bind is not written. What
 * of a limit no sum of whole steps can reach is left out.
 *
 * Where currents stand at different angles the limit of their sum is a polygon inside the circle,
 * a row for each side. A vehicle may draw less than it is allowed, so what stands against a
 * side's direction counts 0 there instead of making room: no coefficient is negative.
 *
 * What is reserved for a session's EVSE anyway is no load on top: what it draws counts beyond that.
 */
export function addCircuitRows(powers: Powers, builder: LpBuilder, room: Room): CircuitRow[] {
  const { problem, charging, offsets, maxKw } = powers;
  const { circuits, evses } = problem.site;
  const voltages = voltagesOf(problem.site);
  const rows: CircuitRow[] = [];
  const members: number[][] = circuits.map(() => []);
  const isEven = (i: number) => charging.ranges[i].phases.length === 3;
  const loads = problem.sessions.map(({ evse }, i) => {
    const ofSession = lineLoads(circuits, { ...evses[evse], phases: charging.ranges[i].phases });
    return new Map(ofSession.map((load) => [load.circuit * QUANTITIES + load.phase, load]));
  });

  const covered = coveredColumns(powers, builder, room);
  const write = (
    row: Omit<CircuitRow, "row">,
    limitKw: number,
    sessions: number[],
    shares: number[],
    isPhasor = false,
  ) => {
    const entry = (i: number) => offsets[i] + row.slot - charging.stays[i].first;
    let most = 0;
    let floorKw = 0;
    sessions.forEach((i, m) => {
      most += shares[m] * maxKw[entry(i)];
      floorKw += (shares[m] * charging.ranges[i].floorPowerW) / 1000;
    });
    if (most <= limitKw) return;
    let isCovered = false;
    sessions.forEach((i, m) => {
      if (shares[m] <= 0 || maxKw[entry(i)] <= 0) return;
      addPowerEntry(powers, builder, entry(i), shares[m]);
      const column = isPhasor ? undefined : covered.get(entry(i));
      if (column === undefined) return;
      builder.addEntry(column, -shares[m]);
      isCovered = true;
    });
    // What chargers that reject 0 draw anyway can't be planned away.
    const stepsKw = sessions.map((i, m) => (shares[m] * charging.ranges[i].stepPowerW) / 1000);
    const usableKw = isCovered ? limitKw : inWholeSteps(limitKw, stepsKw);
    rows.push({ ...row, row: builder.endRow(Number.NEGATIVE_INFINITY, Math.max(usableKw, floorKw)) });
  };

  for (let slot = 0; slot < charging.present.length; slot++) {
    for (const list of members) list.length = 0;
    for (const i of charging.present[slot]) {
      for (let c = evses[problem.sessions[i].evse].circuit; c !== -1; c = circuits[c].parent)
        members[c].push(i);
    }
    for (let c = 0; c < circuits.length; c++) {
      const sessions = members[c];
      if (sessions.length === 0) continue;
      const at = (slot * circuits.length + c) * QUANTITIES;
      const ofPower = { slot, circuit: c, evenShare: 1 };
      const powerKw = room.left[at] / 1000;
      const sides = LINES.map((phase) => {
        const key = c * QUANTITIES + phase;
        const line = room.phasorLines.get(key);
        if (line === undefined) return [{ limitA: room.left[at + phase], angle: undefined }];
        const drawn = sessions.map((i) => loads[i].get(key)?.angle);
        return sidesOf(line, slot, room.left[at + phase], drawn);
      });
      const toKw = voltages[c] / 1000;
      if (sessions.every(isEven) && sides.every(([{ angle }]) => angle === undefined)) {
        const lineKw = Math.min(...sides.map(([{ limitA }]) => limitA * toKw));
        write(
          ofPower,
          Math.min(powerKw, 3 * lineKw),
          sessions,
          sessions.map(() => 1),
        );
        continue;
      }
      write(
        ofPower,
        powerKw,
        sessions,
        sessions.map(() => 1),
      );
      LINES.forEach((phase, q) => {
        const ofLine = sessions.map((i) => loads[i].get(c * QUANTITIES + phase));
        const isPhasor = room.phasorLines.has(c * QUANTITIES + phase);
        for (const { limitA, angle } of sides[q]) {
          if (limitA === Number.POSITIVE_INFINITY) continue;
          const evenShare = shareAlong(0, angle) / 3;
          const shares = ofLine.map((load) =>
            load === undefined ? 0 : load.share * shareAlong(load.angle, angle),
          );
          write({ slot, circuit: c, evenShare }, limitA * toKw, sessions, shares, isPhasor);
        }
      });
    }
  }
  return rows;
}

/** Columns of what the reserve of its EVSE holds of a session's power, by entry; no more than it draws. */
function coveredColumns(powers: Powers, builder: LpBuilder, room: Room): Map<number, number> {
  const columns = new Map<number, number>();
  powers.charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) {
      const n = powers.offsets[i] + k - first;
      const mostKw = Math.min(room.coveredW(i, k) / 1000, powers.maxKw[n]);
      if (mostKw <= 0) continue;
      const column = builder.addColumn(0, 0, mostKw);
      columns.set(n, column);
      addPowerEntry(powers, builder, n, 1);
      builder.addEntry(column, -1);
      builder.endRow(0, Number.POSITIVE_INFINITY);
    }
  });
  return columns;
}

/** A limit of the current along an angle, A; of the whole current where there is no angle. */
interface Side {
  limitA: number;
  angle: number | undefined;
}

/**
 * What is left of a line's limit in a slot: as it is where all that draws in the slot stands at
 * one angle, else the sides of the polygon between the outermost angles. `drawn` has the angles of the
 * vehicles. Corners of the polygon are multiples of SIDE, where most loads stand, so that what
 * stands there alone loses nothing.
 */
function sidesOf(line: PhasorLine, slot: number, leftA: number, drawn: (number | undefined)[]): Side[] {
  const angles = new Set(drawn.filter((angle) => angle !== undefined));
  if (angles.size > 0) {
    line.angles.forEach((angle, direction) => {
      if (line.currentA(slot, direction) > 0) angles.add(angle);
    });
  }
  if (angles.size <= 1) return [{ limitA: leftA - line.highestA(slot), angle: undefined }];
  const first = Math.floor(Math.min(...angles) / SIDE);
  const end = Math.ceil(Math.max(...angles) / SIDE);
  return Array.from({ length: end - first }, (_, n) => {
    const angle = (first + n + 0.5) * SIDE;
    const usedA = line.angles.reduce(
      (sumA, from, direction) => sumA + line.currentA(slot, direction) * shareAlong(from, angle),
      0,
    );
    return { limitA: Math.max(0, leftA * APOTHEM - usedA), angle };
  });
}

/** What a current at one angle counts along another, never against it; all of it where the other is none. */
function shareAlong(from: number | undefined, along: number | undefined): number {
  if (along === undefined) return 1;
  if (from === undefined) return APOTHEM;
  return Math.max(0, Math.cos(((from - along) * Math.PI) / 180));
}

/** The highest sum of powers in whole steps within a limit, where all steps are multiples of the smallest. */
function inWholeSteps(limitKw: number, stepsKw: number[]): number {
  const stepKw = Math.min(...stepsKw.filter((step) => step > 0));
  const areMultiples = stepsKw.every((step) => Math.abs(step / stepKw - Math.round(step / stepKw)) < 1e-9);
  return areMultiples ? Math.floor(limitKw / stepKw + 1e-9) * stepKw : limitKw;
}

import { rangeOver } from "../domain/series.ts";
import { LINES, lineLoads, voltagesOf } from "../domain/wiring.ts";
import type { LoadedProgram, Solution } from "../solve/solver.ts";
import type { LpBuilder } from "./lp.ts";
import { WEAR } from "./pricing.ts";
import type { Powers } from "./program.ts";

// What a solver leaves of a power that is meant to be 0, or short of a whole step, kW.
const DUST_KW = 1e-6;
const MOST_ROUNDS = 4;

/** What a kWh that a vehicle gives costs: its driver's price and wear less the import that it saves. */
export function givingCost(
  { problem, pricing }: Pick<Powers, "problem" | "pricing">,
  i: number,
  k: number,
): number {
  const { discharge } = problem.sessions[i];
  return (discharge?.pricePerKwh ?? 0) * pricing.moneyScale + WEAR - pricing.importMoney(k);
}

/** Sessions that may give, with the entries of their slots. */
function givingSessions({ problem, given, offsets }: Powers): number[] {
  return problem.sessions.flatMap((_, i) =>
    given[offsets[i]] >= 0 && offsets[i + 1] > offsets[i] ? [i] : [],
  );
}

/**
 * Keeps what flows up through each circuit within its limits: what vehicles give and what the site's
 * battery does, as if nothing else drew; at the grid connection what the site makes above its own load
 * flows there beside it. Currents add up at the worst of their angles.
 */
export function addReverseRows(
  powers: Powers,
  builder: LpBuilder,
  slots: readonly { netW: number }[],
  battery: { circuit: number; maxKw: number; out: number } | undefined,
): void {
  const { problem, charging, given, offsets } = powers;
  const { circuits, evses } = problem.site;
  const starts = problem.slotStartsMs;
  const voltages = voltagesOf(problem.site);
  const giving = givingSessions(powers);
  const ways = giving.map((i) => wayUp(circuits, evses[problem.sessions[i].evse].circuit));
  const loads = giving.map((i) =>
    lineLoads(circuits, { ...evses[problem.sessions[i].evse], phases: charging.ranges[i].phases }),
  );
  const ofBattery = battery === undefined ? [] : wayUp(circuits, battery.circuit);
  circuits.forEach((circuit, c) => {
    const hasBattery = battery !== undefined && ofBattery.includes(c);
    const write = (k: number, limitKw: number, shareOf: (m: number) => number, batteryShare: number) => {
      const entries: [number, number][] = [];
      let mostKw = 0;
      giving.forEach((i, m) => {
        const n = offsets[i] + k - charging.stays[i].first;
        const share = shareOf(m);
        if (k < charging.stays[i].first || k >= charging.stays[i].end || share === 0) return;
        entries.push([given[n], share]);
        mostKw += (share * charging.ranges[i].maxDischargePowerW) / 1000;
      });
      if (hasBattery) mostKw += batteryShare * battery.maxKw;
      if (mostKw <= limitKw) return;
      for (const [column, share] of entries) builder.addEntry(column, share);
      if (hasBattery) builder.addEntry(battery.out + k, batteryShare);
      builder.endRow(Number.NEGATIVE_INFINITY, limitKw);
    };
    for (let k = 0; k < slots.length; k++) {
      const series = circuit.maxPowerSeriesW;
      const overTimeW =
        series === undefined ? Number.POSITIVE_INFINITY : rangeOver(series, starts[k], starts[k + 1]).min;
      const ownW = c === 0 ? Math.max(0, -slots[k].netW) : 0;
      const limitW = Math.max(0, Math.min(circuit.maxPowerW, overTimeW) - ownW);
      write(k, limitW / 1000, (m) => (ways[m].includes(c) ? 1 : 0), 1);
      const lineW = Math.max(0, circuit.maxCurrentA * voltages[c] - ownW / 3);
      for (const phase of LINES) {
        const shareOf = (m: number) =>
          loads[m].find((load) => load.circuit === c && load.phase === phase)?.share ?? 0;
        write(k, lineW / 1000, shareOf, 1 / 3);
      }
    }
  });
}

/** A circuit and all above it. */
function wayUp(circuits: readonly { parent: number }[], circuit: number): number[] {
  const way: number[] = [];
  for (let c = circuit; c !== -1; c = circuits[c].parent) way.push(c);
  return way;
}

/**
 * Lets vehicles give where it is not paid to import, keeping in each battery what must be there. `without` is
 * the solution in which none gives; not needed where none is below what is kept.
 */
export function openGiving(
  powers: Powers,
  loaded: LoadedProgram,
  stored: Int32Array,
  without: Solution | undefined,
  mayGiveIn: (k: number) => boolean,
): void {
  const { problem, charging, given, offsets } = powers;
  for (const i of givingSessions(powers)) {
    const { discharge, battery } = problem.sessions[i];
    const { maxDischargePowerW } = charging.ranges[i];
    if (discharge === undefined || battery === undefined) continue;
    const leastKwh = discharge.minStoredWh / 1000;
    const mostKwh = Math.max(battery.capacityWh, battery.storedWh) / 1000;
    // What is below its minimum charges first.
    let before = battery.storedWh / 1000;
    let isAbove = false;
    for (let n = offsets[i]; n < offsets[i + 1]; n++) {
      isAbove ||= before >= leastKwh - DUST_KW;
      before = without?.primal[stored[n]] ?? before;
      if (!isAbove) continue;
      loaded.setBounds(stored[n], Math.min(leastKwh, before), mostKwh);
      const k = charging.stays[i].first + n - offsets[i];
      if (mayGiveIn(k)) loaded.setBounds(given[n], 0, maxDischargePowerW / 1000);
    }
  }
}

/**
 * Solves until nothing that is given lies between 0 and the least that a charger takes: rounded to the
 * nearer of the two, or to 0 where that can't be.
 */
export function solveGiving(
  powers: Powers,
  loaded: LoadedProgram,
  relaxed: Solution,
  solve: () => Solution,
): Solution | undefined {
  const { charging, given, offsets } = powers;
  let solution = relaxed;
  for (let round = 0; solution.status === "optimal"; round++) {
    const between: { column: number; minKw: number; maxKw: number; kw: number }[] = [];
    for (const i of givingSessions(powers)) {
      const minKw = charging.ranges[i].minPowerW / 1000;
      const maxKw = charging.ranges[i].maxDischargePowerW / 1000;
      for (let n = offsets[i]; n < offsets[i + 1]; n++) {
        const kw = solution.primal[given[n]];
        if (kw > DUST_KW && kw < minKw - DUST_KW) between.push({ column: given[n], minKw, maxKw, kw });
      }
    }
    if (between.length === 0) return solution;
    const mayRise = round < MOST_ROUNDS;
    for (const { column, minKw, maxKw, kw } of between) {
      const isOn = mayRise && kw >= minKw / 2;
      loaded.setBounds(column, isOn ? minKw : 0, isOn ? maxKw : 0);
    }
    const next = solve();
    if (next.status === "infeasible") for (const { column } of between) loaded.setBounds(column, 0, 0);
    solution = next.status === "infeasible" ? solve() : next;
  }
  return undefined;
}

/** What each session gives in a solution in whole steps, W; undefined where it is nothing. */
export function givenIn(powers: Powers, { primal }: Solution): (Float64Array | undefined)[] {
  const { problem, charging, given, columns, extras, offsets } = powers;
  const giving = new Set(givingSessions(powers));
  return problem.sessions.map((_, i) => {
    if (!giving.has(i)) return undefined;
    const { stepPowerW, minPowerW } = charging.ranges[i];
    const givesW = new Float64Array(problem.slotStartsMs.length - 1);
    for (let n = offsets[i]; n < offsets[i + 1]; n++) {
      const chargesKw = primal[columns[n]] + (extras[n] < 0 ? 0 : primal[extras[n]]);
      const steps = Math.floor(((primal[given[n]] - chargesKw + DUST_KW) * 1000) / stepPowerW);
      const isUsable = steps > 0 && steps * stepPowerW >= minPowerW - 1e-6;
      if (isUsable) givesW[charging.stays[i].first + n - offsets[i]] = steps * stepPowerW;
    }
    return givesW.some((w) => w > 0) ? givesW : undefined;
  });
}

import { type Charging, HOUR_MS } from "../domain/charging.ts";
import { slotBaseLoad } from "../domain/load.ts";
import { forPresence } from "../domain/measure.ts";
import type { Problem, StationaryBattery } from "../domain/problem.ts";
import { QUANTITIES, Room } from "../domain/room.ts";
import { exportPrices, slotPv } from "../domain/surplus.ts";
import { demandWindows } from "../domain/tariff.ts";
import { voltagesOf } from "../domain/wiring.ts";
import type { LoadedProgram, Solver } from "../solve/solver.ts";
import { addBatteryRows } from "./battery.ts";
import { addCheckpointRows } from "./checkpoints.ts";
import { addCircuitRows } from "./circuits.ts";
import { addEnergyRows } from "./energy.ts";
import { powersOf } from "./formulate.ts";
import { LpBuilder } from "./lp.ts";
import { horizonHours, PEAK_PER_HOUR } from "./pricing.ts";
import { addPowerEntry, type Powers } from "./program.ts";

// Wear that only breaks ties, in units of the mean price for each kWh in or out.
const WEAR = 1e-3;
// What a solver leaves a whole watt short of.
const DUST_W = 1e-5;

/** When the site's battery charges and discharges. */
export interface BatteryPlan {
  /** Into the battery in each slot, W; negative out of it. */
  powerW: Float64Array;
  /** What it adds to the program's objective: energy bought and saved, wear, what is stored at the end. */
  cost: number;
  /** Proved lower bound of vehicles and battery together, in the program's terms. */
  bound: number;
  /** The highest import that the site has without it, W. */
  peakW: number;
}

/** What importing and exporting costs in a slot with the site's own load and production as they are. */
interface Slot {
  hours: number;
  /** Base load less production, W. */
  netW: number;
  /** In the program's unit, per kWh; export at most import. */
  importCost: number;
  exportCost: number;
}

function slotsOf(powers: Powers): Slot[] {
  const { problem, pricing } = powers;
  const starts = problem.slotStartsMs;
  const paid = exportPrices(problem);
  const baseW = slotBaseLoad(problem);
  const pvW = slotPv(problem);
  return Array.from(paid, (price, k) => ({
    hours: (starts[k + 1] - starts[k]) / HOUR_MS,
    netW: baseW[k] - pvW[k],
    importCost: pricing.importMoney(k),
    exportCost: price * pricing.moneyScale,
  }));
}

/**
 * Schedules the site's battery together with the vehicles in one linear program: energy balance
 * in each slot, stored energy within its bounds, the round trip's losses half on each way. First the
 * program is solved without the battery; the highest import of that is what the battery may not pass.
 * It does not discharge while import costs less than nothing, so that charging and discharging at once
 * never pays. Its charging counts under the limits of its circuit, its discharging makes no room.
 * Undefined where there is no time, or the battery can do nothing.
 */
export function scheduleBattery(
  problem: Problem,
  charging: Charging,
  solver: Solver,
  scarce: boolean,
  leftMs: () => number,
): BatteryPlan | undefined {
  const { battery } = problem.site;
  if (battery === undefined || leftMs() <= 0) return undefined;
  const builder = new LpBuilder();
  const powers = powersOf(problem, charging, builder);
  const energy = addEnergyRows(powers, builder, scarce);
  addCheckpointRows(powers, builder, energy);
  addBatteryRows(powers, builder, energy);
  const room = new Room(problem, charging);
  addCircuitRows(powers, builder, room);
  const slots = slotsOf(powers);
  const columns = addBattery(powers, builder, slots, battery);
  const closed = addBatteryLimits(powers, builder, room, battery, columns);
  addImportRows(powers, builder, slots, columns);
  const lp = builder.build();
  const loaded = solver.load(lp);
  try {
    return solveInTurn(powers, loaded, slots, battery, columns, closed, leftMs);
  } finally {
    loaded.dispose();
  }
}

/** Columns of each slot: power in and out, kW; energy stored at its end, kWh; what flows out of the site, kW. */
interface BatteryColumns {
  into: number;
  out: number;
  stored: number;
  exported: number;
  /** The highest import of any slot, kW. */
  peak: number;
}

function addBattery(
  powers: Powers,
  builder: LpBuilder,
  slots: readonly Slot[],
  battery: StationaryBattery,
): BatteryColumns {
  const count = slots.length;
  const into = builder.columnCount;
  for (const { importCost, hours } of slots) builder.addColumn((importCost + WEAR) * hours, 0, 0);
  const out = builder.columnCount;
  for (const { importCost, hours } of slots) builder.addColumn((WEAR - importCost) * hours, 0, 0);
  const stored = builder.columnCount;
  const least = Math.min(battery.minStoredWh, battery.storedWh) / 1000;
  const value = endValue(powers, slots, battery);
  for (let k = 0; k < count; k++) {
    builder.addColumn(k === count - 1 ? -value : 0, least, battery.capacityWh / 1000);
  }
  const exported = builder.columnCount;
  for (const { importCost, exportCost, hours } of slots) {
    builder.addColumn((importCost - exportCost) * hours, 0, Number.POSITIVE_INFINITY);
  }
  const peak = builder.addColumn(0, 0, Number.POSITIVE_INFINITY);
  slots.forEach(({ hours }, k) => {
    builder.addEntry(stored + k, 1);
    if (k > 0) builder.addEntry(stored + k - 1, -1);
    builder.addEntry(into + k, -hours * battery.efficiency);
    builder.addEntry(out + k, hours / battery.efficiency);
    const before = k === 0 ? battery.storedWh / 1000 : 0;
    builder.endRow(before, before);
  });
  return { into, out, stored, exported, peak };
}

/** Worth of a kWh stored at the end, in the program's unit. */
function endValue(powers: Powers, slots: readonly Slot[], { endValuePerKwh }: StationaryBattery): number {
  if (endValuePerKwh !== undefined) return endValuePerKwh * powers.pricing.moneyScale;
  const hours = slots.reduce((sum, slot) => sum + slot.hours, 0);
  return Math.max(0, slots.reduce((sum, slot) => sum + slot.importCost * slot.hours, 0) / hours);
}

/**
 * The limits above the battery, with what it charges beside the vehicles; it draws evenly from the
 * phases. Where currents add up as phasors it does not charge beside vehicles: returns those slots.
 */
function addBatteryLimits(
  powers: Powers,
  builder: LpBuilder,
  room: Room,
  battery: StationaryBattery,
  { into }: BatteryColumns,
): Set<number> {
  const { problem, charging, offsets } = powers;
  const { circuits, evses } = problem.site;
  const voltages = voltagesOf(problem.site);
  const closed = new Set<number>();
  const path = new Set<number>();
  for (let c = battery.circuit; c !== -1; c = circuits[c].parent) path.add(c);
  const isBelow = (i: number, c: number) => {
    let at = evses[problem.sessions[i].evse].circuit;
    while (at !== -1 && at !== c) at = circuits[at].parent;
    return at === c;
  };
  charging.present.forEach((sessions, k) => {
    for (const c of path) {
      const below = sessions.filter((i) => isBelow(i, c));
      for (let quantity = 0; quantity < QUANTITIES; quantity++) {
        const key = c * QUANTITIES + quantity;
        const line = room.phasorLines.get(key);
        if (line !== undefined && below.length > 0) {
          closed.add(k);
          continue;
        }
        const left = room.left[k * circuits.length * QUANTITIES + key] - (line?.highestA(k) ?? 0);
        if (left === Number.POSITIVE_INFINITY) continue;
        for (const i of below) {
          const { phases } = charging.ranges[i];
          const share =
            quantity === 0 ? 1 : phases.some((phase) => phase === quantity) ? 1 / phases.length : 0;
          if (share > 0) addPowerEntry(powers, builder, offsets[i] + k - charging.stays[i].first, share);
        }
        builder.addEntry(into + k, quantity === 0 ? 1 : 1 / 3);
        builder.endRow(
          Number.NEGATIVE_INFINITY,
          Math.max(0, quantity === 0 ? left : left * voltages[c]) / 1000,
        );
      }
    }
  });
  return closed;
}

/** Export is what is left below 0; import in each slot is at most the peak, in each demand window what is paid for. */
function addImportRows(
  powers: Powers,
  builder: LpBuilder,
  slots: readonly Slot[],
  columns: BatteryColumns,
): void {
  const { problem, charging, pricing } = powers;
  const starts = problem.slotStartsMs;
  const { into, out, exported, peak } = columns;
  const enter = (k: number, factor: number) => {
    for (const i of charging.present[k]) {
      const n = powers.offsets[i] + k - charging.stays[i].first;
      addPowerEntry(powers, builder, n, (factor * powers.hours[n]) / slots[k].hours);
    }
    builder.addEntry(into + k, factor);
    builder.addEntry(out + k, -factor);
    builder.addEntry(exported + k, factor);
  };
  slots.forEach(({ netW }, k) => {
    enter(k, 1);
    builder.endRow(-netW / 1000, Number.POSITIVE_INFINITY);
    enter(k, 1);
    builder.addEntry(peak, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -netW / 1000);
  });
  const isFlat = problem.preference === "FLATTEST";
  const cost = isFlat ? PEAK_PER_HOUR * horizonHours(problem) : pricing.demand;
  if (cost === 0) return;
  const least = isFlat ? 0 : (problem.site.tariff?.demandPeakSoFarW ?? 0) / 1000;
  const paid = builder.addColumn(cost, least, Number.POSITIVE_INFINITY);
  const spans = isFlat
    ? slots.map(({ hours }, k) => ({ startMs: starts[k], endMs: starts[k + 1], hours }))
    : demandWindows(problem);
  for (const span of spans) {
    const shares = new Map<number, number>();
    forPresence(problem, charging, span, (i, k, hours) => {
      shares.set(powers.offsets[i] + k - charging.stays[i].first, hours / span.hours);
    });
    for (const [n, share] of shares) addPowerEntry(powers, builder, n, share);
    let netKw = 0;
    slots.forEach(({ netW }, k) => {
      const overlapMs = Math.min(span.endMs, starts[k + 1]) - Math.max(span.startMs, starts[k]);
      if (overlapMs <= 0) return;
      const share = overlapMs / HOUR_MS / span.hours;
      netKw += (share * netW) / 1000;
      builder.addEntry(into + k, share);
      builder.addEntry(out + k, -share);
      builder.addEntry(exported + k, share);
    });
    builder.addEntry(paid, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -netKw);
  }
}

/** Solves without the battery, holds its highest import, and solves again with it. */
function solveInTurn(
  powers: Powers,
  loaded: LoadedProgram,
  slots: readonly Slot[],
  battery: StationaryBattery,
  columns: BatteryColumns,
  closed: ReadonlySet<number>,
  leftMs: () => number,
): BatteryPlan | undefined {
  const { problem, charging } = powers;
  const without = loaded.solve({ timeLimitMs: leftMs() });
  if (without.status !== "optimal") return undefined;
  const importKw = slots.map(({ netW, hours }, k) =>
    charging.present[k].reduce((kw, i) => {
      const n = powers.offsets[i] + k - charging.stays[i].first;
      const extra = powers.extras[n] < 0 ? 0 : without.primal[powers.extras[n]];
      return kw + ((without.primal[powers.columns[n]] + extra) * powers.hours[n]) / hours;
    }, netW / 1000),
  );
  const peakKw = Math.max(0, (problem.site.tariff?.demandPeakSoFarW ?? 0) / 1000, ...importKw);
  loaded.setBounds(columns.peak, 0, peakKw);
  const isEmpty = battery.storedWh < battery.minStoredWh;
  slots.forEach(({ importCost }, k) => {
    loaded.setBounds(columns.into + k, 0, closed.has(k) ? 0 : battery.maxChargePowerW / 1000);
    // What is below its minimum only charges: it is not known when it is above.
    const mayDischarge = importCost >= 0 && !isEmpty;
    loaded.setBounds(columns.out + k, 0, mayDischarge ? battery.maxDischargePowerW / 1000 : 0);
  });
  const solution = loaded.solve({ timeLimitMs: leftMs() });
  if (solution.status !== "optimal") return undefined;
  const powerW = withinBounds(
    battery,
    slots,
    slots.map((_, k) => 1000 * (solution.primal[columns.into + k] - solution.primal[columns.out + k])),
  );
  const offset = slots.reduce(
    (sum, { netW, importCost, exportCost, hours }) =>
      sum + ((importCost - exportCost) * hours * Math.max(0, -netW)) / 1000,
    0,
  );
  return {
    powerW,
    cost: costOf(powers, slots, battery, powerW),
    bound: solution.objective - offset,
    peakW: 1000 * peakKw,
  };
}

/** Powers in whole watts that keep the stored energy within its bounds, whatever dust the solver left. */
function withinBounds(
  battery: StationaryBattery,
  slots: readonly Slot[],
  powersW: readonly number[],
): Float64Array {
  let storedWh = battery.storedWh;
  return Float64Array.from(powersW, (w, k) => {
    const { hours } = slots[k];
    const mostW = Math.max(0, (battery.capacityWh - storedWh) / battery.efficiency / hours);
    const leastW = -Math.max(0, ((storedWh - battery.minStoredWh) * battery.efficiency) / hours);
    const within = Math.min(mostW, Math.max(leastW, w));
    // Adding 0 makes a 0 of what rounds to -0.
    const kept = Math.trunc(within + Math.sign(within) * DUST_W) + 0;
    storedWh += storedIn(battery, kept, hours);
    return kept;
  });
}

/** Energy that a power adds to what is stored, Wh; negative where it discharges. */
function storedIn({ efficiency }: StationaryBattery, powerW: number, hours: number): number {
  return powerW >= 0 ? powerW * efficiency * hours : (powerW / efficiency) * hours;
}

/** What a battery's plan adds to the objective of the site, W in each slot. */
export function batteryCost(problem: Problem, charging: Charging, powerW: Float64Array): number {
  const { battery } = problem.site;
  if (battery === undefined) return 0;
  const powers = powersOf(problem, charging, new LpBuilder());
  return costOf(powers, slotsOf(powers), battery, powerW);
}

/** What the battery adds to the objective on top of the site without vehicles. */
function costOf(
  powers: Powers,
  slots: readonly Slot[],
  battery: StationaryBattery,
  powerW: Float64Array,
): number {
  const flow = ({ importCost, exportCost, hours }: Slot, netW: number) =>
    ((Math.max(0, netW) * importCost - Math.max(0, -netW) * exportCost) * hours) / 1000;
  let storedWh = battery.storedWh;
  let cost = 0;
  slots.forEach((slot, k) => {
    storedWh += storedIn(battery, powerW[k], slot.hours);
    cost += flow(slot, slot.netW + powerW[k]) - flow(slot, slot.netW);
    cost += (WEAR * Math.abs(powerW[k]) * slot.hours) / 1000;
  });
  return cost - (endValue(powers, slots, battery) * storedWh) / 1000;
}

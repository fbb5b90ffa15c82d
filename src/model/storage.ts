import { type Charging, HOUR_MS } from "../domain/charging.ts";
import { type DischargePlan, withDischarge } from "../domain/discharge.ts";
import { slotBaseLoad } from "../domain/load.ts";
import { forPresence } from "../domain/measure.ts";
import type { Problem, StationaryBattery } from "../domain/problem.ts";
import { QUANTITIES, Room } from "../domain/room.ts";
import { exportPrices, slotProduction } from "../domain/surplus.ts";
import { demandWindows } from "../domain/tariff.ts";
import { voltagesOf } from "../domain/wiring.ts";
import type { LoadedProgram, Solver } from "../solve/solver.ts";
import { addBatteryRows } from "./battery.ts";
import { addCheckpointRows } from "./checkpoints.ts";
import { addCircuitRows } from "./circuits.ts";
import { addReverseRows, givenIn, givingCost, openGiving, solveGiving } from "./discharge.ts";
import { addEnergyRows } from "./energy.ts";
import { powersOf } from "./formulate.ts";
import { LpBuilder } from "./lp.ts";
import { horizonHours, PEAK_PER_HOUR, WEAR } from "./pricing.ts";
import { addPowerEntry, type EnergyColumns, type Powers, powerKw } from "./program.ts";

// What a solver leaves a whole watt short of.
const DUST_W = 1e-5;

/** When what stores energy for the site takes it and gives it back. */
export interface Storage {
  /** Into the site's battery in each slot, W; negative out of it. Zeros without a battery. */
  batteryW: Float64Array;
  /** What each vehicle gives. */
  given: DischargePlan;
}

/** How the site's storage is used, and what that is worth. */
export interface StoragePlan extends Storage {
  /** What it adds to the program's objective: energy bought and saved, wear, drivers' price, what is stored at the end. */
  cost: number;
  /**
   * Proved lower bound of vehicles and storage together, in the program's terms; NaN where none is: the
   * layers that make a load flat are not in this program.
   */
  bound: number;
  /** The highest import that the site has without its battery, W. */
  peakW: number;
  /** What each vehicle gives for good of what it has to spare, as energy at the meter, Wh: the rest it charges again. */
  spareWh: number[];
}

/** What importing and exporting costs in a slot with the site's own load and production as they are. */
interface Slot {
  hours: number;
  /** Base load less production, W. */
  netW: number;
  productionW: number;
  /** In the program's unit, per kWh; export at most import. */
  importCost: number;
  exportCost: number;
}

function slotsOf(powers: Powers): Slot[] {
  const { problem, pricing } = powers;
  const starts = problem.slotStartsMs;
  const paid = exportPrices(problem);
  const baseW = slotBaseLoad(problem);
  const productionW = slotProduction(problem);
  return Array.from(paid, (price, k) => ({
    hours: (starts[k + 1] - starts[k]) / HOUR_MS,
    netW: baseW[k] - productionW[k],
    productionW: productionW[k],
    importCost: pricing.importMoney(k),
    exportCost: price * pricing.moneyScale,
  }));
}

/**
 * Schedules the site's battery and what vehicles give together with what they charge in one linear program:
 * energy balance in each slot, stored energy within its bounds, losses on each way. First the program is
 * solved without them; the highest import of that is what the battery may not pass. Nothing is given while
 * import costs less than nothing, so that taking and giving at once never pays. What the battery charges
 * counts under the limits of its circuit, what flows back makes no room and is held within the same limits.
 * Undefined where there is no time, or there is nothing to gain.
 */
export function scheduleStorage(
  problem: Problem,
  charging: Charging,
  solver: Solver,
  scarce: boolean,
  leftMs: () => number,
): StoragePlan | undefined {
  if (leftMs() <= 0) return undefined;
  const { battery } = problem.site;
  const builder = new LpBuilder();
  const powers = powersOf(problem, charging, builder);
  const energy = addEnergyRows(powers, builder, scarce);
  addCheckpointRows(powers, builder, energy);
  const stored = addBatteryRows(powers, builder, energy);
  const room = new Room(problem, charging);
  addCircuitRows(powers, builder, room);
  const slots = slotsOf(powers);
  const columns = addFlows(powers, builder, slots);
  const closed = battery && addBatteryLimits(powers, builder, room, battery, columns);
  addReverseRows(
    powers,
    builder,
    slots,
    battery && {
      circuit: battery.circuit,
      maxKw: battery.maxDischargePowerW / 1000,
      out: columns.out,
    },
  );
  addImportRows(powers, builder, slots, columns);
  const loaded = solver.load(builder.build());
  try {
    return solveInTurn({ powers, energy, loaded, slots, columns, stored, closed }, leftMs);
  } finally {
    loaded.dispose();
  }
}

/** First columns of the slots: the battery's power in and out, kW; what flows out of the site, kW. */
interface FlowColumns {
  /** -1 without a battery, as `out`. */
  into: number;
  out: number;
  exported: number;
  /** The highest import of any slot, kW. */
  peak: number;
}

function addFlows(powers: Powers, builder: LpBuilder, slots: readonly Slot[]): FlowColumns {
  const { battery } = powers.problem.site;
  const { into, out } =
    battery === undefined ? { into: -1, out: -1 } : addBattery(powers, builder, slots, battery);
  const exported = builder.columnCount;
  for (const { importCost, exportCost, hours } of slots) {
    builder.addColumn((importCost - exportCost) * hours, 0, Number.POSITIVE_INFINITY);
  }
  return { into, out, exported, peak: builder.addColumn(0, 0, Number.POSITIVE_INFINITY) };
}

/** The battery's power in and out, and the energy stored in it at the end of each slot, kWh. */
function addBattery(
  powers: Powers,
  builder: LpBuilder,
  slots: readonly Slot[],
  battery: StationaryBattery,
): { into: number; out: number } {
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
  slots.forEach(({ hours }, k) => {
    builder.addEntry(stored + k, 1);
    if (k > 0) builder.addEntry(stored + k - 1, -1);
    builder.addEntry(into + k, -hours * battery.efficiency);
    builder.addEntry(out + k, hours / battery.efficiency);
    const before = k === 0 ? battery.storedWh / 1000 : 0;
    builder.endRow(before, before);
  });
  return { into, out };
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
  { into }: FlowColumns,
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
  columns: FlowColumns,
): void {
  const { problem, charging, pricing } = powers;
  const starts = problem.slotStartsMs;
  const { into, out, exported, peak } = columns;
  const addFlow = (n: number, factor: number) => {
    addPowerEntry(powers, builder, n, factor);
    if (powers.given[n] >= 0) builder.addEntry(powers.given[n], -factor);
  };
  const addSiteFlows = (k: number, factor: number) => {
    if (into >= 0) {
      builder.addEntry(into + k, factor);
      builder.addEntry(out + k, -factor);
    }
    builder.addEntry(exported + k, factor);
  };
  const enter = (k: number, factor: number) => {
    for (const i of charging.present[k]) {
      const n = powers.offsets[i] + k - charging.stays[i].first;
      addFlow(n, (factor * powers.hours[n]) / slots[k].hours);
    }
    addSiteFlows(k, factor);
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
    for (const [n, share] of shares) addFlow(n, share);
    let netKw = 0;
    slots.forEach(({ netW }, k) => {
      const overlapMs = Math.min(span.endMs, starts[k + 1]) - Math.max(span.startMs, starts[k]);
      if (overlapMs <= 0) return;
      const share = overlapMs / HOUR_MS / span.hours;
      netKw += (share * netW) / 1000;
      addSiteFlows(k, share);
    });
    builder.addEntry(paid, -1);
    builder.endRow(Number.NEGATIVE_INFINITY, -netKw);
  }
}

interface StorageProgram {
  powers: Powers;
  energy: readonly EnergyColumns[];
  loaded: LoadedProgram;
  slots: readonly Slot[];
  columns: FlowColumns;
  /** Columns of what is stored in vehicles that may give. */
  stored: Int32Array;
  /** Slots in which the battery does not charge. */
  closed: ReadonlySet<number> | undefined;
}

/**
 * Solves without storage where it matters what is then, holds the highest import of that under a battery,
 * and solves with it.
 */
function solveInTurn(program: StorageProgram, leftMs: () => number): StoragePlan | undefined {
  const { powers, energy, loaded, slots, columns, stored, closed } = program;
  const { problem, charging } = powers;
  const { battery, tariff } = problem.site;
  const isLow = problem.sessions.some(
    ({ battery: cell, discharge }) =>
      discharge !== undefined && (cell?.storedWh ?? 0) < discharge.minStoredWh,
  );
  const without = battery !== undefined || isLow ? loaded.solve({ timeLimitMs: leftMs() }) : undefined;
  if (without !== undefined && without.status !== "optimal") return undefined;
  openGiving(powers, loaded, stored, without, (k) => slots[k].importCost >= 0);
  // What vehicles give they charge again: the battery's peak is that with them alone.
  const gives = problem.sessions.some(({ discharge }) => discharge !== undefined);
  const alone = battery !== undefined && gives ? loaded.solve({ timeLimitMs: leftMs() }) : without;
  if (alone !== undefined && alone.status !== "optimal") return undefined;
  const importKw = slots.map(({ netW, hours }, k) =>
    charging.present[k].reduce((kw, i) => {
      const n = powers.offsets[i] + k - charging.stays[i].first;
      const drawnKw = alone === undefined ? 0 : powerKw(powers, alone.primal, n);
      return kw + (drawnKw * powers.hours[n]) / hours;
    }, netW / 1000),
  );
  const peakKw = Math.max(0, (tariff?.demandPeakSoFarW ?? 0) / 1000, ...importKw);
  if (battery !== undefined) {
    loaded.setBounds(columns.peak, 0, peakKw);
    const isEmpty = battery.storedWh < battery.minStoredWh;
    slots.forEach(({ importCost }, k) => {
      loaded.setBounds(columns.into + k, 0, closed?.has(k) ? 0 : battery.maxChargePowerW / 1000);
      // What is below its minimum only charges: it is not known when it is above.
      const mayDischarge = importCost >= 0 && !isEmpty;
      loaded.setBounds(columns.out + k, 0, mayDischarge ? battery.maxDischargePowerW / 1000 : 0);
    });
  }
  const relaxed = loaded.solve({ timeLimitMs: leftMs() });
  const solution = solveGiving(powers, loaded, relaxed, leftMs);
  if (solution === undefined) return undefined;
  const powersW = slots.map((_, k) =>
    battery === undefined ? 0 : 1000 * (solution.primal[columns.into + k] - solution.primal[columns.out + k]),
  );
  const storage = {
    batteryW: battery === undefined ? Float64Array.from(powersW) : withinBounds(battery, slots, powersW),
    given: givenIn(powers, solution),
  };
  const offset = slots.reduce(
    (sum, { netW, importCost, exportCost, hours }) =>
      sum + ((importCost - exportCost) * hours * Math.max(0, -netW)) / 1000,
    0,
  );
  return {
    ...storage,
    cost: costOf(powers, slots, storage),
    bound: problem.preference === "FLATTEST" ? Number.NaN : relaxed.objective - offset,
    peakW: 1000 * peakKw,
    spareWh: energy.map(({ spare }) => (spare < 0 ? 0 : 1000 * solution.primal[spare])),
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

/** What a use of the site's storage adds to its objective. */
export function storageCost(problem: Problem, charging: Charging, storage: Storage): number {
  const powers = powersOf(problem, charging, new LpBuilder());
  return costOf(powers, slotsOf(powers), storage);
}

/** What storage adds to the objective on top of the site without vehicles' charging. */
function costOf(powers: Powers, slots: readonly Slot[], { batteryW, given }: Storage): number {
  const { problem, charging } = powers;
  const { battery } = problem.site;
  const flow = ({ importCost, exportCost, hours }: Slot, netW: number) =>
    ((Math.max(0, netW) * importCost - Math.max(0, -netW) * exportCost) * hours) / 1000;
  const givenW = slotProduction(withDischarge(problem, charging, given)).map(
    (w, k) => w - slots[k].productionW,
  );
  let storedWh = battery?.storedWh ?? 0;
  let cost = 0;
  slots.forEach((slot, k) => {
    cost += flow(slot, slot.netW + batteryW[k] - givenW[k]) - flow(slot, slot.netW);
    if (battery === undefined) return;
    storedWh += storedIn(battery, batteryW[k], slot.hours);
    cost += (WEAR * Math.abs(batteryW[k]) * slot.hours) / 1000;
  });
  given.forEach((givesW, i) => {
    const { first, hours } = charging.stays[i];
    if (givesW === undefined) return;
    hours.forEach((h, n) => {
      const k = first + n;
      cost += ((givingCost(powers, i, k) + slots[k].importCost) * givesW[k] * h) / 1000;
    });
  });
  return battery === undefined ? cost : cost - (endValue(powers, slots, battery) * storedWh) / 1000;
}

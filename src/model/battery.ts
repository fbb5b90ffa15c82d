import { taperOf } from "../domain/delivery.ts";
import { mayGive } from "../domain/discharge.ts";
import type { VehicleBattery } from "../domain/problem.ts";
import type { LpBuilder } from "./lp.ts";
import { addDrawnEntry, addKeptEntry, addPowerEntry, type EnergyColumns, type Powers } from "./program.ts";

/** A straight bound of the power by the energy stored: power <= atZeroKw + slope x stored, kW and kWh. */
interface Cut {
  atZeroKw: number;
  slope: number;
}

/** A point of a charge curve, Wh and W. */
interface Point {
  storedWh: number;
  maxPowerW: number;
}

// Keeps the time for a stretch of no power finite where two curves are compared by it.
const LEAST_W = 1;

/**
 * Adds, for each session whose battery decides what it draws or that may give, the energy stored at the
 * end of each slot and the rows that bind it: stored = stored before + efficiency x hours x what is drawn -
 * hours x what is given / efficiency, at most the capacity where something is given, and what is drawn at
 * most the curve at both ends of the slot. The curve's stand-in is concave and the state moves straight, so
 * both ends suffice; where the curve falls the end does, where it rises the start. Returns the column of
 * each entry, -1 where there is none.
 */
export function addBatteryRows(
  powers: Powers,
  builder: LpBuilder,
  energy: readonly EnergyColumns[],
): Int32Array {
  const stored = new Int32Array(powers.columns.length).fill(-1);
  powers.problem.sessions.forEach((session, i) => {
    const battery = mayGive(session) ? session.battery : taperOf(session);
    if (battery !== undefined) addChain(powers, builder, i, battery, energy[i].energyKwh, stored);
  });
  return stored;
}

function addChain(
  powers: Powers,
  builder: LpBuilder,
  i: number,
  battery: VehicleBattery,
  energyKwh: number,
  columns: Int32Array,
): void {
  const { offsets, hours, undrawn, maxKw } = powers;
  const { discharge } = powers.problem.sessions[i];
  const { first } = powers.charging.stays[i];
  const isGiving = discharge !== undefined;
  const fromWh = isGiving ? Math.min(battery.storedWh, discharge.minStoredWh) : battery.storedWh;
  const endWh = isGiving
    ? battery.capacityWh
    : Math.min(battery.capacityWh, battery.storedWh + 1000 * energyKwh * battery.efficiency);
  const startKwh = battery.storedWh / 1000;
  const highestKw = maxKw.subarray(offsets[i], offsets[i + 1]).reduce((a, b) => Math.max(a, b), 0);
  const cuts = cutsOf(battery, fromWh, endWh).filter(
    ({ atZeroKw, slope }) =>
      Math.min(atZeroKw + (slope * fromWh) / 1000, atZeroKw + (slope * endWh) / 1000) < highestKw,
  );
  let before = -1;
  for (let n = offsets[i]; n < offsets[i + 1]; n++) {
    const isFirst = before < 0;
    const givenW = discharge?.plannedW?.[first + n - offsets[i]] ?? 0;
    // What a plan gives is settled before what it charges: that the battery holds as much is a goal.
    const stored = builder.addColumn(
      0,
      discharge?.plannedW === undefined ? 0 : Number.NEGATIVE_INFINITY,
      isGiving ? Math.max(startKwh, battery.capacityWh / 1000) : Number.POSITIVE_INFINITY,
    );
    columns[n] = stored;
    builder.addEntry(stored, 1);
    if (!isFirst) builder.addEntry(before, -1);
    addKeptEntry(powers, builder, n, -battery.efficiency * hours[n]);
    const balance = (isFirst ? startKwh : 0) - (givenW * hours[n]) / battery.efficiency / 1000;
    builder.endRow(balance, balance);
    for (const { atZeroKw, slope } of givenW > 0 ? [] : cuts) {
      const isAtStart = slope > 0;
      addDrawnEntry(powers, builder, n, 1);
      if (slope !== 0 && !(isAtStart && isFirst)) builder.addEntry(isAtStart ? before : stored, -slope);
      builder.endRow(Number.NEGATIVE_INFINITY, atZeroKw + (isAtStart && isFirst ? slope * startKwh : 0));
    }
    before = stored;
    if (undrawn[n] < 0) continue;
    addPowerEntry(powers, builder, n, 1);
    builder.addEntry(undrawn[n], -1);
    builder.endRow(0, Number.POSITIVE_INFINITY);
  }
}

/** The straight pieces of the concave stand-in of a charge curve between two stored energies. */
function cutsOf(battery: VehicleBattery, fromWh: number, endWh: number): Cut[] {
  if (battery.chargeCurve.length === 0) return [];
  const points = concaveBelow(stretchOf(battery.chargeCurve, fromWh, endWh));
  return points.slice(points.length > 1 ? 1 : 0).map(({ storedWh, maxPowerW }, n) => {
    const before = points[n];
    const span = storedWh - before.storedWh;
    const slope = span > 0 ? (maxPowerW - before.maxPowerW) / span : 0;
    return { atZeroKw: (before.maxPowerW - slope * before.storedWh) / 1000, slope };
  });
}

/** A curve from one stored energy to another, with a point at both; level outside of its own points. */
function stretchOf(curve: readonly Point[], fromWh: number, toWh: number): Point[] {
  const at = (storedWh: number): Point => {
    const next = curve.findIndex((point) => point.storedWh >= storedWh);
    if (next <= 0) return { storedWh, maxPowerW: curve[next === 0 ? 0 : curve.length - 1].maxPowerW };
    const [a, b] = [curve[next - 1], curve[next]];
    const share = (storedWh - a.storedWh) / (b.storedWh - a.storedWh);
    return { storedWh, maxPowerW: a.maxPowerW + share * (b.maxPowerW - a.maxPowerW) };
  };
  if (toWh <= fromWh) return [at(fromWh)];
  return [at(fromWh), ...curve.filter(({ storedWh }) => storedWh > fromWh && storedWh < toWh), at(toWh)];
}

/**
 * A concave curve that is nowhere above the given one, straight between its points: the curve itself
 * where that is concave. There is no highest one; of those with each point as the summit, each falling
 * away from it only where the curve makes it, the one that charges fastest. Where a bend has to go, the
 * side of more power is lowered: time is lost where power is low.
 */
export function concaveBelow(points: readonly Point[]): Point[] {
  let best: Point[] = [];
  let leastTime = Number.POSITIVE_INFINITY;
  points.forEach((_, summit) => {
    const left = fallingAway(points.slice(0, summit + 1).reverse()).reverse();
    const right = fallingAway(points.slice(summit));
    const level = Math.min(left[left.length - 1].maxPowerW, right[0].maxPowerW);
    const whole = cutOff(left, right, level);
    const time = chargeTime(whole);
    if (time < leastTime - 1e-12) {
      leastTime = time;
      best = whole;
    }
  });
  return best;
}

/** From the summit on: never rising again, and concave. */
function fallingAway(points: readonly Point[]): Point[] {
  const lowered = points.map((point) => ({ ...point }));
  for (let n = 1; n < lowered.length; n++) {
    lowered[n].maxPowerW = Math.min(lowered[n].maxPowerW, lowered[n - 1].maxPowerW);
  }
  for (let n = lowered.length - 3; n >= 0; n--) {
    const [a, b, c] = [lowered[n], lowered[n + 1], lowered[n + 2]];
    const slope = (b.maxPowerW - c.maxPowerW) / (b.storedWh - c.storedWh);
    a.maxPowerW = Math.min(a.maxPowerW, b.maxPowerW + slope * (a.storedWh - b.storedWh));
  }
  return lowered;
}

/** Two sides of a summit, both cut off at a level, with points where the cut begins and ends. */
function cutOff(left: readonly Point[], right: readonly Point[], level: number): Point[] {
  const side = (outwards: readonly Point[]): Point[] => {
    const n = outwards.findIndex(({ maxPowerW }) => maxPowerW < level);
    if (n < 0) return [{ storedWh: outwards[outwards.length - 1].storedWh, maxPowerW: level }];
    const rest = outwards.slice(n);
    if (n === 0) return rest;
    const [a, b] = [outwards[n - 1], outwards[n]];
    const share = (a.maxPowerW - level) / (a.maxPowerW - b.maxPowerW);
    return [{ storedWh: a.storedWh + share * (b.storedWh - a.storedWh), maxPowerW: level }, ...rest];
  };
  const before = side([...left].reverse()).reverse();
  const after = side(right);
  const isSame = before[before.length - 1].storedWh === after[0].storedWh;
  return [...before, ...(isSame ? after.slice(1) : after)];
}

/** Hours to charge along a curve: of each straight piece, that of its mean power. */
function chargeTime(points: readonly Point[]): number {
  return points.slice(1).reduce((hours, b, n) => {
    const a = points[n];
    return hours + (b.storedWh - a.storedWh) / Math.max(LEAST_W, (a.maxPowerW + b.maxPowerW) / 2);
  }, 0);
}

import type { VehicleBattery } from "./problem.ts";

// Powers that differ by no more than what doubles lose.
const SAME_SHARE = 1e-9;

/** Most power at the EVSE, W, that a battery takes with so much stored: none once it is full. */
export function acceptedW(battery: VehicleBattery, storedWh: number): number {
  if (storedWh >= battery.capacityWh) return 0;
  const { fromWh, fromW, slope } = pieceAt(battery, storedWh);
  return fromW + slope * (storedWh - fromWh);
}

/**
 * Stored energy, Wh, after `hours` under a limit: the vehicle draws the lower of the limit and of its
 * charge curve. Exact: along a straight piece of the curve p = p0 + m (s - s0), ds/dt = efficiency x p
 * is an exponential.
 */
export function storedAfter(
  battery: VehicleBattery,
  storedWh: number,
  limitW: number,
  hours: number,
): number {
  const { capacityWh, efficiency } = battery;
  let stored = storedWh;
  let left = hours;
  while (left > 0 && limitW > 0 && stored < capacityWh) {
    const { fromWh, fromW, toWh, slope } = pieceAt(battery, stored);
    const powerW = fromW + slope * (stored - fromWh);
    const aboveW = powerW - limitW;
    // Where curve and limit meet, the lower of them from there on counts.
    const isMeeting = Math.abs(aboveW) <= SAME_SHARE * limitW;
    const isLimited = isMeeting ? slope >= 0 : aboveW > 0;
    const meetWh = isMeeting || slope === 0 ? Number.NaN : stored - aboveW / slope;
    const endWh = meetWh > stored ? Math.min(toWh, meetWh) : toWh;
    const atW = isLimited ? limitW : powerW;
    if (atW <= 0) return stored;
    const rate = isLimited ? 0 : efficiency * slope;
    const takes = hoursTo(endWh - stored, efficiency * atW, rate);
    if (takes >= left) {
      const grown = rate === 0 ? left : Math.expm1(rate * left) / rate;
      return Math.min(endWh, stored + efficiency * atW * grown);
    }
    left -= takes;
    stored = endWh;
  }
  return stored;
}

/** Hours until so much is added at a speed that grows by `rate` of what was added; Infinity where it never is. */
function hoursTo(addedWh: number, speedW: number, rate: number): number {
  if (rate === 0) return addedWh / speedW;
  const growth = 1 + (rate * addedWh) / speedW;
  return growth <= 0 ? Number.POSITIVE_INFINITY : Math.log(growth) / rate;
}

/** The straight piece of a charge curve from a stored energy on; level before its first point and after its last. */
function pieceAt(
  { chargeCurve, capacityWh }: VehicleBattery,
  storedWh: number,
): { fromWh: number; fromW: number; toWh: number; slope: number } {
  const next = chargeCurve.findIndex((point) => point.storedWh > storedWh);
  const before = chargeCurve[next < 0 ? chargeCurve.length - 1 : next - 1];
  const after = chargeCurve[next];
  const fromWh = before?.storedWh ?? 0;
  const fromW = before?.maxPowerW ?? after?.maxPowerW ?? Number.POSITIVE_INFINITY;
  if (before === undefined || after === undefined) {
    return { fromWh, fromW, toWh: Math.min(capacityWh, after?.storedWh ?? capacityWh), slope: 0 };
  }
  const slope = (after.maxPowerW - fromW) / (after.storedWh - fromWh);
  return { fromWh, fromW, toWh: Math.min(capacityWh, after.storedWh), slope };
}

import type { VehicleBattery } from "../domain/problem.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { type Findings, LARGEST } from "./findings.ts";

const PERCENT = { min: 0, max: 100 };
const POWER_W = { min: 0, max: LARGEST.powerW };
const MOST_POINTS = 101;

/**
 * Share of the full power that is left when a battery is full, where only the end of bulk charging is
 * known: about the median of real fast charges that ended full, of the share at which a straight fall
 * from 80 % on explains their length (`npm run bench:taper`).
 */
export const FULL_SHARE = 0.01;

/**
 * A need given by the state of charge: energy at the meter, Wh, the battery without its charge curve, which
 * takes nothing once the vehicle counts as full, and what is stored above the target, as energy at the meter.
 */
export function readStateOfCharge(
  findings: Findings,
  field: string,
  need: wire.StateOfChargeNeed,
  efficiency: number,
): { energyWh: number; battery: VehicleBattery; spareWh: number } {
  const soc = findings.number(`${field}.soc_percent`, need.socPercent, PERCENT);
  const full = readFull(findings, field, need);
  const wanted = findings.number(`${field}.target_soc_percent`, need.targetSocPercent ?? full, PERCENT);
  const capacityWh = findings.number(`${field}.battery_capacity_wh`, need.batteryCapacityWh, {
    above: 0,
    max: LARGEST.energyWh,
  });
  if (wanted > full) {
    findings.notice(
      "TARGET_ABOVE_FULL",
      `${field}.target_soc_percent`,
      `the vehicle counts as full at ${full} %: nothing is planned above`,
    );
  }
  const target = Math.min(wanted, full);
  if (target < soc) {
    findings.notice(
      "TARGET_BELOW_STATE_OF_CHARGE",
      `${field}.target_soc_percent`,
      "the vehicle already has more than its target: nothing is planned for it",
    );
  }
  const energyWh = ((Math.max(0, target - soc) / 100) * capacityWh) / efficiency;
  if (energyWh > LARGEST.energyWh) {
    findings.wrong(field, `comes to ${energyWh} Wh at the meter, at most ${LARGEST.energyWh}`);
  }
  const spareWh = ((Math.max(0, soc - target) / 100) * capacityWh) / efficiency;
  return {
    energyWh,
    spareWh,
    battery: {
      capacityWh: (full / 100) * capacityWh,
      storedWh: (soc / 100) * capacityWh,
      efficiency,
      chargeCurve: [],
    },
  };
}

function readFull(findings: Findings, field: string, need: wire.StateOfChargeNeed): number {
  const { bulkSocPercent, fullSocPercent } = need;
  const full =
    fullSocPercent === undefined
      ? 100
      : findings.number(`${field}.full_soc_percent`, fullSocPercent, { above: 0, max: 100 });
  if (bulkSocPercent === undefined) return full;
  const bulk = findings.number(`${field}.bulk_soc_percent`, bulkSocPercent, PERCENT);
  if (bulk >= full) findings.wrong(`${field}.bulk_soc_percent`, `must be below full_soc_percent, ${full}`);
  return full;
}

/**
 * The charge curve as given, else from the end of bulk charging at the vehicle's full power at this
 * EVSE, else none: highest power by energy stored.
 */
export function readChargeCurve(
  findings: Findings,
  field: string,
  { chargeCurve, need }: wire.Session,
  fullPowerW: number,
): VehicleBattery["chargeCurve"] {
  const at = `${field}.charge_curve`;
  if (chargeCurve.length > MOST_POINTS) {
    findings.tooLarge(at, `at most ${MOST_POINTS}, has ${chargeCurve.length}`);
  }
  if (chargeCurve.length > 0 && need?.$case !== "stateOfCharge") {
    findings.wrong(at, "needs state_of_charge");
  }
  let last = Number.NEGATIVE_INFINITY;
  const points = chargeCurve.map(({ socPercent, maxPowerW }, n) => {
    const soc = findings.number(`${at}[${n}].soc_percent`, socPercent, PERCENT);
    if (soc <= last) findings.wrong(`${at}[${n}].soc_percent`, `must be above the one before, ${last}`);
    if (!Number.isNaN(soc)) last = soc;
    return { soc, maxPowerW: findings.number(`${at}[${n}].max_power_w`, maxPowerW, POWER_W) };
  });
  if (need?.$case !== "stateOfCharge") return [];
  const { bulkSocPercent, fullSocPercent, batteryCapacityWh } = need.value;
  if (points.length === 0 && bulkSocPercent !== undefined && fullPowerW > 0) {
    points.push(
      { soc: bulkSocPercent, maxPowerW: fullPowerW },
      { soc: fullSocPercent ?? 100, maxPowerW: FULL_SHARE * fullPowerW },
    );
  }
  return points.map(({ soc, maxPowerW }) => ({ storedWh: (soc / 100) * batteryCapacityWh, maxPowerW }));
}

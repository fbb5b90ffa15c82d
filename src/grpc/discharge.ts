import type { Discharge, Evse, Session } from "../domain/problem.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { type Findings, LARGEST } from "./findings.ts";

/** What a session may give; undefined where its charger or its own wishes rule that out, which a notice says. */
export function readDischarge(
  findings: Findings,
  field: string,
  { discharge, need }: wire.Session,
  session: Session,
  evse: Evse | undefined,
  { spareWh, planStartMs, fullPowerW }: { spareWh: number; planStartMs: number; fullPowerW: number },
): Discharge | undefined {
  if (discharge === undefined) return undefined;
  const maxPowerW = findings.number(`${field}.max_power_w`, discharge.maxPowerW, {
    min: 0,
    max: LARGEST.powerW,
  });
  const kept = findings.number(`${field}.min_soc_percent`, discharge.minSocPercent, { min: 0, max: 100 });
  const pricePerKwh = findings.number(`${field}.price_per_kwh`, discharge.pricePerKwh, {
    min: 0,
    max: LARGEST.pricePerKwh,
  });
  const { battery } = session;
  if (battery === undefined || need?.$case !== "stateOfCharge") {
    findings.wrong(field, "needs state_of_charge");
    return undefined;
  }
  const reason = evse && whyOnlyCharged(session, evse, { planStartMs, fullPowerW });
  if (reason !== undefined) {
    findings.notice("DISCHARGE_NOT_POSSIBLE", field, `${reason}: the vehicle is only charged`);
    return undefined;
  }
  const minStoredWh = (kept / 100) * need.value.batteryCapacityWh;
  if (battery.storedWh < minStoredWh) {
    findings.notice(
      "DISCHARGE_BELOW_MINIMUM",
      `${field}.min_soc_percent`,
      `the vehicle has less than ${kept} %: it gives nothing before its own need has taken it above`,
    );
  }
  return {
    maxPowerW: discharge.maxPowerW === 0 ? Number.POSITIVE_INFINITY : maxPowerW,
    minStoredWh,
    pricePerKwh,
    spareWh,
    plannedW: undefined,
  };
}

function whyOnlyCharged(
  { uninterruptible, transactionId, arrivalMs }: Session,
  { ocpp, maxDischargePowerW }: Evse,
  { planStartMs, fullPowerW }: { planStartMs: number; fullPowerW: number },
): string | undefined {
  if (maxDischargePowerW === 0) return "its EVSE has no max_discharge_power_w";
  if (ocpp.version !== "2.1") return `OCPP ${ocpp.version} has no way to ask for it, only 2.1 has`;
  if (ocpp.rejectsZeroLimit) return "its charger rejects 0, which stands between charging and giving";
  // Whichever vehicle comes next would be emptied by a TxDefaultProfile.
  if (ocpp.prefersTxDefaultProfile) return "only a TxProfile may ask for it, and its charger is sent none";
  if (transactionId === "" && arrivalMs <= planStartMs) return "its transaction is not known";
  if (fullPowerW === 0) return "its limits and its charger's leave no power to charge again with";
  return uninterruptible ? "its charging must not be interrupted" : undefined;
}

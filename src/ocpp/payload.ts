import type { ChargingProfile } from "../domain/plan.ts";
import type { Evse } from "../domain/problem.ts";

const PURPOSES_1_6 = {
  TxProfile: "TxProfile",
  TxDefaultProfile: "TxDefaultProfile",
  ChargingStationMaxProfile: "ChargePointMaxProfile",
} as const;

/**
 * The payload of the SetChargingProfile request, exactly as it goes on the wire, in the charger's
 * OCPP version. The id of the one chargingSchedule of 2.x is the profile's. In 2.1 a period
 * without operationMode is ChargingOnly. A station's maximum goes to 0, the station as a whole.
 */
export function toPayload(profile: ChargingProfile, evse: Evse): string {
  const schedule = {
    // Some chargers can't read fractions of a second; startScheduleMs has none.
    startSchedule: `${new Date(profile.startScheduleMs).toISOString().slice(0, 19)}Z`,
    chargingRateUnit: profile.chargingRateUnit,
    chargingSchedulePeriod: profile.periods.map(
      ({ startPeriodS, limit, numberPhases, phaseToUse, operationMode, setpoint }) => ({
        startPeriod: startPeriodS,
        limit,
        numberPhases,
        phaseToUse,
        operationMode,
        setpoint,
      }),
    ),
  };
  const { id, stackLevel, chargingProfilePurpose, chargingProfileKind, transactionId } = profile;
  const purpose = evse.ocpp.version === "1.6" ? PURPOSES_1_6[chargingProfilePurpose] : chargingProfilePurpose;
  const common = { stackLevel, chargingProfilePurpose: purpose, chargingProfileKind };
  const evseId = chargingProfilePurpose === "ChargingStationMaxProfile" ? 0 : evse.evseId;
  const request =
    evse.ocpp.version === "1.6"
      ? {
          connectorId: evseId,
          csChargingProfiles: {
            chargingProfileId: id,
            transactionId: transactionId === undefined ? undefined : Number(transactionId),
            ...common,
            chargingSchedule: schedule,
          },
        }
      : {
          evseId,
          chargingProfile: { id, transactionId, ...common, chargingSchedule: [{ id, ...schedule }] },
        };
  // What is undefined does not appear in JSON.
  return JSON.stringify(request);
}

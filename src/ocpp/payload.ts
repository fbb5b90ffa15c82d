import type { ChargingProfile } from "../domain/plan.ts";
import type { Evse } from "../domain/problem.ts";

/**
 * The payload of the SetChargingProfile request, exactly as it goes on the wire, in the charger's
 * OCPP version. The id of the one chargingSchedule of 2.x is the profile's. In 2.1 a period
 * without operationMode is ChargingOnly.
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
  const common = { stackLevel, chargingProfilePurpose, chargingProfileKind };
  const request =
    evse.ocpp.version === "1.6"
      ? {
          connectorId: evse.evseId,
          csChargingProfiles: {
            chargingProfileId: id,
            transactionId: transactionId === undefined ? undefined : Number(transactionId),
            ...common,
            chargingSchedule: schedule,
          },
        }
      : {
          evseId: evse.evseId,
          chargingProfile: { id, transactionId, ...common, chargingSchedule: [{ id, ...schedule }] },
        };
  // What is undefined does not appear in JSON.
  return JSON.stringify(request);
}

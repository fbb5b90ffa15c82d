import type { ChargingProfile, ChargingSchedule } from "../domain/plan.ts";
import type { Evse } from "../domain/problem.ts";

/**
 * The payload of the SetChargingProfile request, exactly as it goes on the wire, in the charger's
 * OCPP version. In 2.1 a period without operationMode is ChargingOnly.
 */
export function toPayload(profile: ChargingProfile, evse: Evse): string {
  const { id, stackLevel, chargingProfilePurpose, chargingProfileKind, transactionId } = profile;
  const common = { stackLevel, chargingProfilePurpose, chargingProfileKind };
  const schedules = profile.schedules.map((schedule) => toWireSchedule(schedule, profile));
  const request =
    evse.ocpp.version === "1.6"
      ? {
          connectorId: evse.evseId,
          csChargingProfiles: {
            chargingProfileId: id,
            transactionId: transactionId === undefined ? undefined : Number(transactionId),
            ...common,
            chargingSchedule: schedules[0],
          },
        }
      : {
          evseId: evse.evseId,
          chargingProfile: {
            id,
            transactionId,
            ...common,
            chargingSchedule: schedules.map((schedule, n) => ({ id: profile.schedules[n].id, ...schedule })),
          },
        };
  // What is undefined does not appear in JSON.
  return JSON.stringify(request);
}

function toWireSchedule(
  { startScheduleMs, periods, prices }: ChargingSchedule,
  { chargingRateUnit }: ChargingProfile,
): object {
  return {
    // Some chargers can't read fractions of a second; startScheduleMs has none.
    startSchedule:
      startScheduleMs === undefined ? undefined : `${new Date(startScheduleMs).toISOString().slice(0, 19)}Z`,
    chargingRateUnit,
    chargingSchedulePeriod: periods.map(
      ({ startPeriodS, limit, numberPhases, phaseToUse, operationMode, setpoint }) => ({
        startPeriod: startPeriodS,
        limit,
        numberPhases,
        phaseToUse,
        operationMode,
        setpoint,
      }),
    ),
    ...(prices === undefined ? {} : { [prices.form]: prices.value }),
  };
}

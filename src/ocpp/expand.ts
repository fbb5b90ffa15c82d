import { WattslotError } from "../domain/errors.ts";
import type { PowerStep } from "../domain/plan.ts";
import type { Evse } from "../domain/problem.ts";
import { compositeSchedule } from "./composite.ts";
import { validateProfile } from "./rules.ts";
import { misfitsOfRequest } from "./shape.ts";
import { inNamesOf2x, type WireProfile } from "./wire.ts";

/** Any payload's own time is shorter. */
const YEAR_MS = 366 * 86_400_000;

/**
 * Reads an emitted SetChargingProfile payload back into power over time, as a charger of the EVSE's OCPP version
 * does: by the standard's rules and the composite schedule. It shares no code with what writes payloads, so
 * that the two check each other. A becomes W by the voltage and numberPhases (3 where absent, which on DC it must
 * be; 1 between two lines), W is the sum as it stands. The last step holds on. Of the time before the first
 * step the payload says nothing: another profile, or none, is in force.
 *
 * Throws INTERNAL that names the field where the payload is malformed, breaks a rule of the standard or what the
 * charger says of itself, or allows what can't be told in watts.
 */
export function expand(payloadJson: string, evse: Evse, phaseVoltageV: number): PowerStep[] {
  const { profile, evseId } = requestOf(payloadJson, evse);
  const isBetween = evse.supply === "AC_LINE_TO_LINE";
  // 0 stands for the whole station, which no profile for a vehicle may name.
  if (evseId !== evse.evseId || evseId <= 0)
    fail(is16(evse) ? "connectorId" : "evseId", `${evseId} is not the charger's, ${evse.evseId}`);
  const [finding] = validateProfile(profile, {
    version: evse.ocpp.version,
    evseId,
    capabilities: {
      rateUnits: [evse.ocpp.rateUnit],
      maxPeriods: evse.ocpp.maxPeriods,
      supply: evse.supply === "DC" ? "DC" : "AC",
    },
  });
  if (finding !== undefined) fail(finding.path, finding.problem);

  const { chargingSchedule, chargingProfilePurpose, transactionId, id } = inNamesOf2x(profile);
  const [{ startSchedule, chargingSchedulePeriod: periods }] = chargingSchedule;
  if (id <= 0) fail(is16(evse) ? "chargingProfileId" : "id", "is not positive");
  if (profile.chargingProfileKind !== "Absolute") fail("chargingProfileKind", "is not Absolute");
  if (chargingProfilePurpose === "TxProfile" && !transactionId)
    fail("transactionId", "is missing in a TxProfile");
  if (startSchedule === undefined) fail("startSchedule", "is missing");
  const startMs = secondOf(startSchedule);
  for (const [i, { numberPhases, phaseToUse = 1 }] of periods.entries()) {
    const path = `chargingSchedulePeriod[${i}]`;
    if (evse.supply === "DC" && numberPhases !== undefined)
      fail(`${path}.numberPhases`, "has no place on DC");
    if (isBetween && numberPhases !== 1) fail(`${path}.numberPhases`, "is not 1 between two lines");
    // The first is the one that a plan counts on.
    if (phaseToUse !== 1) fail(`${path}.phaseToUse`, "is not 1");
  }

  const station = {
    version: evse.ocpp.version,
    installed: [{ evseId, profile }],
    voltageV: phaseVoltageV * (isBetween ? Math.sqrt(3) : 1),
    evses: [
      {
        evseId,
        supply: evse.supply === "DC" ? ("DC" as const) : ("AC" as const),
        // Where the profile ends, the charger gives what it can.
        maxCurrentA: Number.POSITIVE_INFINITY,
        maxPowerW: Number.POSITIVE_INFINITY,
        transaction: { transactionId: transactionId ?? "", startMs },
      },
    ],
  };
  const window = { evseId, startMs, endMs: startMs + YEAR_MS, unit: "W" as const };
  return compositeSchedule(station, window).map(
    ({ startPeriod, limit, setpoint, operationMode, numberPhases }) => {
      const powerW = operationMode === "Idle" ? 0 : (setpoint ?? limit);
      if (powerW === undefined || !Number.isFinite(powerW))
        fail("the profile", `has no limit ${startPeriod} s after its start`);
      return {
        atMs: startMs + startPeriod * 1000,
        numberPhases: evse.supply === "AC" ? numberPhases : undefined,
        powerW,
      };
    },
  );
}

/**
 * Reads an emitted maximum of a station back into the most that it allows the EVSEs together, in its own unit: the sum of
 * their currents, A, or of their powers, W. What it does not limit is what they can draw.
 *
 * Throws INTERNAL like `expand`.
 */
export function expandMaximum(payloadJson: string, evses: readonly Evse[], phaseVoltageV: number): number {
  const [first] = evses;
  const { profile, evseId } = requestOf(payloadJson, first);
  if (evseId !== 0) fail(is16(first) ? "connectorId" : "evseId", `${evseId} is not the whole station`);
  const { chargingSchedule, chargingProfilePurpose } = inNamesOf2x(profile);
  const [{ startSchedule, chargingRateUnit: unit }] = chargingSchedule;
  const [finding] = validateProfile(profile, {
    version: first.ocpp.version,
    evseId,
    capabilities: {
      rateUnits: evses.map(({ ocpp }) => ocpp.rateUnit),
      maxPeriods: first.ocpp.maxPeriods,
      supply: evses.every(({ supply }) => supply === "DC") ? "DC" : "AC",
    },
  });
  if (finding !== undefined) fail(finding.path, finding.problem);
  if (chargingProfilePurpose !== "ChargingStationMaxProfile")
    fail("chargingProfilePurpose", "is not that of a station's maximum");
  if (startSchedule === undefined) fail("startSchedule", "is missing");
  const startMs = secondOf(startSchedule);
  const station = {
    version: first.ocpp.version,
    installed: [{ evseId, profile }],
    voltageV: phaseVoltageV,
    evses: evses.map((evse) => ({
      evseId: evse.evseId,
      supply: evse.supply === "DC" ? ("DC" as const) : ("AC" as const),
      maxCurrentA: evse.maxCurrentA,
      maxPowerW: evse.maxPowerW,
    })),
  };
  const parts = compositeSchedule(station, { evseId, startMs, endMs: startMs + YEAR_MS, unit });
  const [{ limit }] = parts;
  if (parts.length !== 1 || limit === undefined || !Number.isFinite(limit))
    fail("the profile", "is not one limit for all time");
  return limit;
}

function requestOf(payloadJson: string, evse: Evse): { profile: WireProfile; evseId: number } {
  const request = parse(payloadJson);
  const { version } = evse.ocpp;
  const [misfit] = misfitsOfRequest(request, version);
  if (misfit !== undefined) fail(misfit.path || "payload", misfit.problem);
  return is16(evse)
    ? { profile: request.csChargingProfiles, evseId: request.connectorId }
    : { profile: request.chargingProfile, evseId: request.evseId };
}

function is16({ ocpp }: Evse): boolean {
  return ocpp.version === "1.6";
}

function parse(json: string) {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new WattslotError("INTERNAL", "payload is not JSON", { cause: error });
  }
}

/** Some chargers read neither other zones nor fractions of a second. */
function secondOf(text: string): number {
  const atMs = Date.parse(text);
  if (Number.isNaN(atMs) || new Date(atMs).toISOString() !== text.replace(/Z$/, ".000Z"))
    fail("startSchedule", "is not a UTC time on a whole second");
  return atMs;
}

function fail(field: string, problem: string): never {
  throw new WattslotError("INTERNAL", `${field} ${problem}`);
}

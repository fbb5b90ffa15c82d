import { WattslotError } from "../domain/errors.ts";
import type { PowerStep } from "../domain/plan.ts";
import type { Evse, OcppVersion } from "../domain/problem.ts";

type JsonObject = Record<string, unknown>;

/**
 * Reads an emitted SetChargingProfile payload back into power over time, as a charger of the
 * EVSE's OCPP version does. It shares no code with what writes payloads, so that the two check
 * each other. A becomes W by the voltage and numberPhases (3 where absent, which on DC it must be; 1
 * between two lines), W is the sum as it stands. The last step holds on. Of the time before the first step
 * the payload says nothing: another profile, or none, is in force.
 *
 * Throws INTERNAL that names the field where the payload is malformed, breaks a rule of the
 * standard, or holds a field that this reader does not know and that could change its meaning.
 */
export function expand(payloadJson: string, evse: Evse, phaseVoltageV: number): PowerStep[] {
  const request = object(parse(payloadJson), "payload");
  const version = evse.ocpp.version;
  const schedule = version === "1.6" ? scheduleOf16(request, evse) : scheduleOf2x(request, evse);

  const startMs = instant(schedule.startSchedule, "startSchedule");
  const unit = oneOf(schedule.chargingRateUnit, ["A", "W"], "chargingRateUnit");
  const periods = array(schedule.chargingSchedulePeriod, "chargingSchedulePeriod");
  if (periods.length === 0) fail("chargingSchedulePeriod", "is empty");

  // Between two lines 120 degrees apart.
  const voltageV = phaseVoltageV * (evse.supply === "AC_LINE_TO_LINE" ? Math.sqrt(3) : 1);
  let previousS = -1;
  return periods.map((entry, i) => {
    const path = `chargingSchedulePeriod[${i}]`;
    const period = object(entry, path);
    const modeFields = version === "2.1" ? ["operationMode", "setpoint"] : [];
    const phaseFields = version === "1.6" ? ["numberPhases"] : ["numberPhases", "phaseToUse"];
    only(period, ["startPeriod", "limit", ...phaseFields, ...modeFields], path);
    const startS = integer(period.startPeriod, `${path}.startPeriod`);
    if (i === 0 && startS !== 0) fail(`${path}.startPeriod`, "of the first period is not 0");
    if (startS <= previousS) fail(`${path}.startPeriod`, "does not increase");
    previousS = startS;
    const rate = rateOf(period, path);
    const phases = phasesOf(period.numberPhases, evse, `${path}.numberPhases`);
    if (period.phaseToUse !== undefined) {
      if (phases !== 1) fail(`${path}.phaseToUse`, "has no place on more than one phase");
      // The first is the one that a plan counts on.
      if (period.phaseToUse !== 1) fail(`${path}.phaseToUse`, "is not 1");
    }
    const numberPhases = evse.supply === "AC" ? phases : undefined;
    return {
      atMs: startMs + startS * 1000,
      numberPhases,
      powerW: unit === "A" ? rate * voltageV * phases : rate,
    };
  });
}

function scheduleOf16(request: JsonObject, evse: Evse): JsonObject {
  only(request, ["connectorId", "csChargingProfiles"], "payload");
  target(request.connectorId, evse, "connectorId");
  const profile = object(request.csChargingProfiles, "csChargingProfiles");
  profileOf(profile, "chargingProfileId", "1.6", "csChargingProfiles");
  const schedule = object(profile.chargingSchedule, "chargingSchedule");
  only(schedule, ["startSchedule", "chargingRateUnit", "chargingSchedulePeriod"], "chargingSchedule");
  return schedule;
}

function scheduleOf2x(request: JsonObject, evse: Evse): JsonObject {
  only(request, ["evseId", "chargingProfile"], "payload");
  target(request.evseId, evse, "evseId");
  const profile = object(request.chargingProfile, "chargingProfile");
  profileOf(profile, "id", evse.ocpp.version, "chargingProfile");
  const schedules = array(profile.chargingSchedule, "chargingSchedule");
  if (schedules.length !== 1) fail("chargingSchedule", "does not hold exactly one schedule");
  const schedule = object(schedules[0], "chargingSchedule[0]");
  only(
    schedule,
    ["id", "startSchedule", "chargingRateUnit", "chargingSchedulePeriod"],
    "chargingSchedule[0]",
  );
  integer(schedule.id, "chargingSchedule[0].id");
  return schedule;
}

function target(id: unknown, evse: Evse, field: string): void {
  if (id !== evse.evseId) fail(field, `is not that of the EVSE, ${evse.evseId}`);
  // 0 stands for the whole station, which no TxProfile may name.
  if (evse.evseId <= 0) fail(field, "is not positive");
}

function profileOf(profile: JsonObject, idField: string, version: OcppVersion, path: string): void {
  const known = ["stackLevel", "chargingProfilePurpose", "chargingProfileKind", "transactionId"];
  only(profile, [idField, "chargingSchedule", ...known], path);
  if (integer(profile[idField], `${path}.${idField}`) <= 0) fail(`${path}.${idField}`, "is not positive");
  if (integer(profile.stackLevel, `${path}.stackLevel`) < 0) fail(`${path}.stackLevel`, "is negative");
  oneOf(profile.chargingProfileKind, ["Absolute"], `${path}.chargingProfileKind`);
  const purpose = oneOf(
    profile.chargingProfilePurpose,
    ["TxProfile", "TxDefaultProfile"],
    `${path}.chargingProfilePurpose`,
  );
  const { transactionId } = profile;
  const field = `${path}.transactionId`;
  if (purpose === "TxDefaultProfile") {
    if (transactionId !== undefined) fail(field, "has no place in a TxDefaultProfile");
  } else if (version === "1.6") {
    integer(transactionId, field);
  } else if (typeof transactionId !== "string" || transactionId === "" || transactionId.length > 36) {
    fail(field, "is not a text of 1 to 36 characters");
  }
}

/**
 * What a period allows in its mode: ChargingOnly, the default, its limit; CentralSetpoint its setpoint, here
 * only to give, without a limit (Q03.FR.02); Idle 0, without either (Q10.FR.01).
 */
function rateOf(period: JsonObject, path: string): number {
  const modes = ["ChargingOnly", "CentralSetpoint", "Idle"] as const;
  const mode =
    period.operationMode === undefined
      ? "ChargingOnly"
      : oneOf(period.operationMode, modes, `${path}.operationMode`);
  const field = mode === "ChargingOnly" ? "limit" : "setpoint";
  for (const other of ["limit", "setpoint"]) {
    if (period[other] !== undefined && (mode === "Idle" || other !== field))
      fail(`${path}.${other}`, `has no place in mode ${mode}`);
  }
  if (mode === "Idle") return 0;
  if (mode === "ChargingOnly") return limitOf(period.limit, `${path}.limit`);
  return -limitOf(typeof period.setpoint === "number" ? -period.setpoint : undefined, `${path}.setpoint`);
}

function limitOf(value: unknown, field: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) fail(field, "is not a finite number");
  if (value < 0) fail(field, "has the wrong sign");
  if (Number(value.toFixed(1)) !== value) fail(field, "has more than one digit after the point");
  return value;
}

function phasesOf(value: unknown, evse: Evse, field: string): number {
  const isLineToLine = evse.supply === "AC_LINE_TO_LINE";
  if (value === undefined && !isLineToLine) return 3;
  if (evse.supply === "DC") fail(field, "has no place on DC");
  const phases = integer(value, field);
  if (isLineToLine && phases !== 1) fail(field, "is not 1 between two lines");
  if (phases < 1 || phases > 3) fail(field, "is not 1, 2 or 3");
  return phases;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new WattslotError("INTERNAL", "payload is not JSON", { cause: error });
  }
}

function only(value: JsonObject, known: readonly string[], path: string): void {
  for (const key of Object.keys(value)) if (!known.includes(key)) fail(`${path}.${key}`, "is not known");
}

function object(value: unknown, field: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(field, "is not an object");
  return value as JsonObject;
}

function array(value: unknown, field: string): unknown[] {
  if (!Array.isArray(value)) fail(field, "is not a list");
  return value;
}

/** OCPP integers have 32 bits. */
function integer(value: unknown, field: string): number {
  if (typeof value !== "number" || (value | 0) !== value) fail(field, "is not a 32-bit integer");
  return value;
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], field: string): T {
  const found = allowed.find((entry) => entry === value);
  if (found === undefined) fail(field, `is not ${allowed.join(" or ")}`);
  return found;
}

function instant(value: unknown, field: string): number {
  if (typeof value !== "string") fail(field, "is not a text");
  const atMs = Date.parse(value);
  // Printing it again finds days that do not exist, other zones and fractions of a second.
  if (Number.isNaN(atMs) || new Date(atMs).toISOString() !== value.replace(/Z$/, ".000Z")) {
    fail(field, "is not a UTC time on a whole second");
  }
  return atMs;
}

function fail(field: string, problem: string): never {
  throw new WattslotError("INTERNAL", `${field} ${problem}`);
}

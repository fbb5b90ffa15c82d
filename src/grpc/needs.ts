import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { WattslotError } from "../domain/errors.ts";
import type { OcppVersion } from "../domain/problem.ts";
import type { Engine } from "../engine.ts";
import {
  ChargingNeedsServiceService,
  ChargingNeedsStatus,
  type NotifyEvChargingNeedsRequest,
  type NotifyEvChargingNeedsResponse,
  type NotifyEvChargingScheduleRequest,
  type NotifyEvChargingScheduleResponse,
} from "../gen/wattslot/v1/charging_needs.ts";
import {
  ChargingProfilePurpose,
  type Evse,
  type OptimizeRequest,
  type Session,
  Supply,
  OcppVersion as WireVersion,
} from "../gen/wattslot/v1/optimizer.ts";
import { judgeSchedule, readEvSchedule, readProfileRequest } from "../ocpp/ev-schedule.ts";
import { readNeeds, type VehicleNeeds } from "../ocpp/needs.ts";
import { Findings, quote } from "./findings.ts";
import { type Context, unary } from "./handler.ts";
import { optimize, tellOf } from "./service.ts";
import { sessionWithNeeds } from "./vehicle.ts";

/** Far more than any vehicle says. */
const LARGEST_PAYLOAD = 256 * 1024;
const MOST_EXCESSES = 100;
const DEFAULT_VOLTAGE_V = 230;
const VERSIONS: Readonly<Record<number, OcppVersion>> = {
  [WireVersion.OCPP_VERSION_1_6]: "1.6",
  [WireVersion.OCPP_VERSION_2_1]: "2.1",
};

/** Handlers of wattslot.v1.ChargingNeedsService. */
export function chargingNeedsService(engine: Engine): UntypedServiceImplementation {
  const { notifyEvChargingNeeds, notifyEvChargingSchedule } = ChargingNeedsServiceService;
  return {
    notifyEvChargingNeeds: unary(notifyEvChargingNeeds, (request, context) =>
      answerNeeds(engine, request, context),
    ),
    notifyEvChargingSchedule: unary(notifyEvChargingSchedule, (request, context) =>
      answerSchedule(engine, request, context),
    ),
  };
}

async function answerNeeds(
  engine: Engine,
  request: NotifyEvChargingNeedsRequest,
  context: Context,
): Promise<NotifyEvChargingNeedsResponse> {
  const { optimizeRequest, payload, evse, version } = readMessage(request);
  const startMs = optimizeRequest.startTime?.getTime() ?? Date.now();
  const receivedMs = request.receivedTime?.getTime() ?? startMs;
  const { needs, notices } = within("payload_json", () => readNeeds(payload, version, receivedMs));
  const rejection = whyRejected(needs, evse);
  if (rejection !== undefined) {
    const responseJson = JSON.stringify(version === "1.6" ? {} : { status: "Rejected" });
    const status = ChargingNeedsStatus.REJECTED;
    return { status, responseJson, session: undefined, plan: undefined, rejection };
  }
  const place = placeOf(optimizeRequest, evse, startMs);
  const known = optimizeRequest.sessions[place];
  const made = sessionWithNeeds(known, needs, {
    evse,
    startMs,
    voltageV: optimizeRequest.site?.nominalVoltageV || DEFAULT_VOLTAGE_V,
    slotSeconds: optimizeRequest.slotSeconds || 900,
    offer: request.scheduleOffer,
    sessionIds: optimizeRequest.sessions.map(({ sessionId }) => sessionId),
  });
  const { session } = made;
  const sessions = optimizeRequest.sessions.slice();
  sessions[place] = session;
  const { response, plan } = await within("optimize_request", () =>
    optimize(engine, { ...optimizeRequest, sessions }, context, session.sessionId),
  );
  tellOf(context, plan);
  const sent = response.sessionPlans[place].command?.chargingProfile;
  const status = statusOf(session, sent?.chargingProfilePurpose);
  const ofNeeds = [...notices, ...made.notices].map((notice) => ({
    ...notice,
    field: `payload_json.${notice.field}`,
  }));
  return {
    status,
    responseJson: JSON.stringify(version === "1.6" ? {} : { status: wordOf(status, version) }),
    session,
    plan: { ...response, notices: [...response.notices, ...ofNeeds] },
    rejection: "",
  };
}

function statusOf(session: Session, purpose: ChargingProfilePurpose | undefined): ChargingNeedsStatus {
  if (purpose === ChargingProfilePurpose.TX_PROFILE) return ChargingNeedsStatus.ACCEPTED;
  if (session.transactionId === "") return ChargingNeedsStatus.PROCESSING;
  return ChargingNeedsStatus.NO_CHARGING_PROFILE;
}

/** 2.0.1 has no word for it that no TxProfile follows, and says so by Rejected, which ends nothing in ISO 15118-2. */
function wordOf(status: ChargingNeedsStatus, version: OcppVersion): string {
  if (status === ChargingNeedsStatus.ACCEPTED) return "Accepted";
  if (status === ChargingNeedsStatus.PROCESSING) return "Processing";
  return version === "2.1" ? "NoChargingProfile" : "Rejected";
}

async function answerSchedule(
  engine: Engine,
  request: NotifyEvChargingScheduleRequest,
  context: Context,
): Promise<NotifyEvChargingScheduleResponse> {
  const { optimizeRequest, payload, evse, version } = readMessage(request);
  if (version === "1.6") {
    const description = `${quote(evse.stationId)} speaks OCPP 1.6, which has no NotifyEVChargingSchedule`;
    throw invalid([{ field: "station_id", description }]);
  }
  const schedule = within("payload_json", () => readEvSchedule(payload, version));
  const held = within("profile_json", () => readProfileRequest(parsed(request.profileJson), version));
  const isBetween = evse.supply === Supply.AC_LINE_TO_LINE;
  const voltageV = optimizeRequest.site?.nominalVoltageV || DEFAULT_VOLTAGE_V;
  const startMs = optimizeRequest.startTime?.getTime() ?? Date.now();
  const place = placeOf(optimizeRequest, evse, startMs);
  const arrivalMs = optimizeRequest.sessions[place]?.arrivalTime?.getTime();
  const excesses = judgeSchedule(schedule, held, {
    version,
    supply: evse.supply === Supply.DC ? "DC" : "AC",
    voltageV: isBetween ? voltageV * Math.sqrt(3) : voltageV,
    ...(arrivalMs === undefined ? {} : { transactionStartMs: arrivalMs }),
  });
  if (excesses.length === 0) {
    return { isAccepted: true, responseJson: '{"status":"Accepted"}', excesses: [], plan: undefined };
  }
  const { response, plan } = await within("optimize_request", () =>
    optimize(engine, optimizeRequest, context, optimizeRequest.sessions[place]?.sessionId),
  );
  tellOf(context, plan);
  return {
    isAccepted: false,
    responseJson: '{"status":"Rejected"}',
    excesses: excesses.slice(0, MOST_EXCESSES).map(({ fromMs, toMs, powerW, allowedW }) => ({
      fromTime: new Date(fromMs),
      toTime: Number.isFinite(toMs) ? new Date(toMs) : undefined,
      powerW,
      allowedPowerW: allowedW,
    })),
    plan: response,
  };
}

interface Message {
  optimizeRequest: OptimizeRequest;
  payload: unknown;
  evse: Evse;
  version: OcppVersion;
}

/** What both messages have: the site, the station's EVSE, and a payload in its version. Throws INVALID_ARGUMENT. */
function readMessage(request: {
  optimizeRequest: OptimizeRequest | undefined;
  stationId: string;
  payloadJson: string;
  profileJson?: string;
}): Message {
  const { optimizeRequest, stationId, payloadJson, profileJson } = request;
  const findings = new Findings();
  const evses = optimizeRequest?.site?.evses ?? [];
  const ofStation = evses.filter((evse) => evse.stationId === stationId);
  if (optimizeRequest?.site === undefined) {
    const field = optimizeRequest === undefined ? "optimize_request" : "optimize_request.site";
    findings.wrong(field, "is required");
  } else if (stationId === "") findings.wrong("station_id", "is required");
  else if (ofStation.length === 0) findings.wrong("station_id", `there is no station ${quote(stationId)}`);
  refuseUnreadable(findings, "payload_json", payloadJson);
  if (profileJson !== undefined) refuseUnreadable(findings, "profile_json", profileJson);
  findings.throwIfAny();

  const payload = parsed(payloadJson);
  const { evseId, connectorId } = (payload ?? {}) as { evseId?: unknown; connectorId?: unknown };
  const is16 = versionOf(ofStation[0]) === "1.6";
  const id = is16 ? connectorId : evseId;
  const evse = ofStation.find((one) => one.evseId === id);
  if (evse === undefined) {
    const field = `payload_json.${is16 ? "connectorId" : "evseId"}`;
    const what =
      id === undefined ? "is missing" : `station ${quote(stationId)} has no EVSE ${quote(String(id))}`;
    throw invalid([{ field, description: what }]);
  }
  return { optimizeRequest: optimizeRequest as OptimizeRequest, payload, evse, version: versionOf(evse) };
}

function versionOf({ ocpp }: Evse): OcppVersion {
  return VERSIONS[ocpp?.version ?? 0] ?? "2.0.1";
}

function refuseUnreadable(findings: Findings, field: string, json: string): void {
  if (json === "") findings.wrong(field, "is required");
  else if (json.length > LARGEST_PAYLOAD) {
    findings.tooLarge(field, `at most ${LARGEST_PAYLOAD} characters, has ${json.length}`);
  } else if (parsed(json) === undefined) findings.wrong(field, "is not JSON");
}

/** undefined, which no JSON is, where it is none. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** Where the session of the vehicle that is at an EVSE stands among the request's, or is to stand. */
function placeOf({ sessions }: OptimizeRequest, { stationId, evseId }: Evse, startMs: number): number {
  const found = sessions.findIndex(
    (session) =>
      session.stationId === stationId &&
      session.evseId === evseId &&
      (session.arrivalTime?.getTime() ?? startMs) <= startMs &&
      (session.departureTime?.getTime() ?? Number.POSITIVE_INFINITY) > startMs,
  );
  return found < 0 ? sessions.length : found;
}

function whyRejected({ supply }: VehicleNeeds, evse: Evse): string | undefined {
  if (supply === undefined) return undefined;
  const has = evse.supply === Supply.DC ? "DC" : "AC";
  return supply === has ? undefined : `the vehicle asks for ${supply}, and the EVSE gives ${has}`;
}

function invalid(violations: { field: string; description: string }[]): WattslotError {
  const [{ field, description }] = violations;
  return new WattslotError("INVALID_ARGUMENT", `invalid request: ${field} ${description}`, { violations });
}

/** Puts the field that was read before the fields that are found wrong in it. */
function within<Result>(field: string, read: () => Result): Result {
  const prefixed = (error: unknown): unknown => {
    if (!(error instanceof WattslotError) || error.violations.length === 0) return error;
    const violations = error.violations.map((one) => ({
      ...one,
      field: one.field === "" ? field : `${field}.${one.field}`,
    }));
    return new WattslotError(error.code, `${field}: ${error.message}`, { violations, cause: error.cause });
  };
  try {
    const result = read();
    if (!(result instanceof Promise)) return result;
    return result.catch((error) => {
      throw prefixed(error);
    }) as Result;
  } catch (error) {
    throw prefixed(error);
  }
}

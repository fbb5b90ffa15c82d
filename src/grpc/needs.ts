import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { chargingRange } from "../domain/charging.ts";
import { WattslotError } from "../domain/errors.ts";
import type { OcppVersion } from "../domain/problem.ts";
import { voltagesOf } from "../domain/wiring.ts";
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
  type OptimizeResponse,
  type ScheduleOffer,
  type Session,
  Supply,
  OcppVersion as WireVersion,
} from "../gen/wattslot/v1/optimizer.ts";
import {
  judgeSchedule,
  type NotifyEvChargingSchedule,
  readEvSchedule,
  readProfileRequest,
  type SetChargingProfile2x,
} from "../ocpp/ev-schedule.ts";
import { readNeeds, type VehicleNeeds } from "../ocpp/needs.ts";
import { toProblem } from "./convert.ts";
import { Findings, quote } from "./findings.ts";
import { type Context, unary } from "./handler.ts";
import { optimize, tellOf } from "./service.ts";
import { usualStayMs } from "./sessions.ts";
import { syntaxError } from "./syntax.ts";
import { sessionWithNeeds, type Whereabouts } from "./vehicle.ts";

/** Far more than any vehicle says. */
const LARGEST_PAYLOAD = 256 * 1024;
const MOST_EXCESSES = 100;
const NO_NEED = { $case: "energyWh", value: 0 } as const;
const DEFAULT_VOLTAGE_V = 230;
const DEFAULT_SLOT_SECONDS = 900;
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

/** Answers a vehicle's needs, and plans its site with them. */
export async function answerNeeds(
  engine: Engine,
  request: NotifyEvChargingNeedsRequest,
  context: Context,
): Promise<NotifyEvChargingNeedsResponse> {
  const findings = new Findings();
  const message = readMessage(findings, request);
  const startMs = request.optimizeRequest?.startTime?.getTime() ?? Date.now();
  const receivedMs = request.receivedTime?.getTime() ?? startMs;
  const read =
    message &&
    within(findings, "payload_json", () => readNeeds(message.payload, message.version, receivedMs));
  if (read === undefined) readSiteToo(findings, request.optimizeRequest, message?.evse, startMs);
  findings.throwIfAny();
  // What is not there was found.
  const { optimizeRequest, evse, version } = message!;
  const { needs, notices } = read!;

  const place = placeOf(optimizeRequest, evse, startMs);
  const made = sessionWithNeeds(
    optimizeRequest.sessions[place],
    needs,
    whereaboutsOf(optimizeRequest, evse, { place, startMs, offer: request.scheduleOffer }),
  );
  const sessions = optimizeRequest.sessions.slice();
  sessions[place] = made.session;
  const planned = { ...optimizeRequest, sessions };
  const rejection = whyRejected(needs, evse) ?? whyNeverCharged(findings, planned, place, evse, startMs);
  findings.throwIfAny();
  if (rejection !== undefined) {
    within(findings, "optimize_request", () => toProblem(withoutVehicle(optimizeRequest, place), startMs));
    findings.throwIfAny();
    const responseJson = JSON.stringify(version === "1.6" ? {} : { status: "Rejected" });
    const status = ChargingNeedsStatus.REJECTED;
    return { status, responseJson, session: undefined, plan: undefined, rejection };
  }
  // Only a charger that told a vehicle's needs waits; 1.6 tells a state of charge every minute.
  const awaitedId = version === "1.6" ? undefined : made.session.sessionId;
  const response = await planOf(engine, planned, context, awaitedId);
  const sent = response.sessionPlans[place].command?.chargingProfile;
  const status = statusOf(made.session, sent?.chargingProfilePurpose);
  const ofNeeds = [...notices, ...made.notices].map((notice) => ({
    ...notice,
    field: `payload_json.${notice.field}`,
  }));
  return {
    status,
    responseJson: JSON.stringify(version === "1.6" ? {} : { status: wordOf(status, version) }),
    session: made.session,
    plan: { ...response, notices: [...response.notices, ...ofNeeds] },
    rejection: "",
  };
}

function whereaboutsOf(
  { site, sessions, slotSeconds }: OptimizeRequest,
  evse: Evse,
  { place, startMs, offer }: { place: number; startMs: number; offer: ScheduleOffer | undefined },
): Whereabouts {
  const arrivalsMs = sessions.flatMap(({ stationId, evseId, arrivalTime }, n) =>
    n !== place && stationId === evse.stationId && evseId === evse.evseId && arrivalTime !== undefined
      ? [arrivalTime.getTime()]
      : [],
  );
  const next = arrivalsMs.filter((atMs) => atMs > startMs);
  return {
    evse,
    startMs,
    voltageV: site?.nominalVoltageV || DEFAULT_VOLTAGE_V,
    slotSeconds: slotSeconds || DEFAULT_SLOT_SECONDS,
    offer,
    sessionIds: sessions.map(({ sessionId }) => sessionId),
    nextArrivalMs: next.length > 0 ? Math.min(...next) : undefined,
    defaultStayMs: site?.defaultStaySeconds
      ? site.defaultStaySeconds * 1000
      : usualStayMs(evse.supply === Supply.DC),
  };
}

/** What is wrong in the site of a message that can't be read anyway. */
function readSiteToo(
  findings: Findings,
  request: OptimizeRequest | undefined,
  evse: Evse | undefined,
  startMs: number,
): void {
  if (request?.site === undefined) return;
  const place = evse === undefined ? request.sessions.length : placeOf(request, evse, startMs);
  within(findings, "optimize_request", () => toProblem(withoutVehicle(request, place), startMs));
}

/** The request as far as it can be judged without the needs, which the vehicle's session may leave its energy to. */
function withoutVehicle(request: OptimizeRequest, place: number): OptimizeRequest {
  const sessions = request.sessions.map((session, n) =>
    n === place && session.need?.$case !== "stateOfCharge"
      ? { ...session, need: NO_NEED, minimum: undefined, discharge: undefined, chargeCurve: [] }
      : session,
  );
  return { ...request, sessions };
}

/** A request's plan; what is wrong and what is noticed there has its path from the message on. */
async function planOf(
  engine: Engine,
  request: OptimizeRequest,
  context: Context,
  awaitedId: string | undefined,
): Promise<OptimizeResponse> {
  const planned = optimize(engine, request, context, awaitedId).catch((error) => {
    const findings = new Findings();
    within(findings, "optimize_request", () => {
      throw error;
    });
    findings.throwIfAny();
    throw error;
  });
  const { response, plan } = await planned;
  tellOf(context, plan);
  const notices = response.notices.map((notice) => ({
    ...notice,
    field: `optimize_request.${notice.field}`,
  }));
  return { ...response, notices };
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

/** Judges a vehicle's own schedule, and plans its site anew where it is above what it may. */
export async function answerSchedule(
  engine: Engine,
  request: NotifyEvChargingScheduleRequest,
  context: Context,
): Promise<NotifyEvChargingScheduleResponse> {
  const findings = new Findings();
  const message = readMessage(findings, request);
  const startMs = request.optimizeRequest?.startTime?.getTime() ?? Date.now();
  const read = message && readSchedules(findings, message, request.profileJson);
  const problem =
    request.optimizeRequest?.site &&
    within(findings, "optimize_request", () =>
      toProblem(request.optimizeRequest as OptimizeRequest, startMs),
    );
  findings.throwIfAny();
  // What is not there was found.
  const { optimizeRequest, evse } = message!;
  const { schedule, held, version } = read!;
  const { site } = problem!;

  const place = placeOf(optimizeRequest, evse, startMs);
  const known = optimizeRequest.sessions[place];
  const { circuit, supply } = site.evses.find(
    ({ stationId, evseId }) => stationId === evse.stationId && evseId === evse.evseId,
  )!;
  const arrivalMs = known?.arrivalTime?.getTime();
  const excesses = judgeSchedule(schedule, held, {
    version,
    supply: supply === "DC" ? "DC" : "AC",
    voltageV: voltagesOf(site)[circuit] * (supply === "AC_LINE_TO_LINE" ? Math.sqrt(3) : 1),
    ...(arrivalMs === undefined ? {} : { transactionStartMs: arrivalMs }),
  });
  if (excesses.length === 0) {
    return { isAccepted: true, responseJson: '{"status":"Accepted"}', excesses: [], plan: undefined };
  }
  return {
    isAccepted: false,
    responseJson: '{"status":"Rejected"}',
    excesses: excesses.slice(0, MOST_EXCESSES).map(({ fromMs, toMs, powerW, allowedW }) => ({
      fromTime: new Date(fromMs),
      toTime: Number.isFinite(toMs) ? new Date(toMs) : undefined,
      powerW,
      allowedPowerW: allowedW,
    })),
    plan: await planOf(engine, optimizeRequest, context, known?.sessionId),
  };
}

/** A vehicle's schedule and the profile that it is held against, both for the same EVSE and in watts or what comes to them. */
function readSchedules(
  findings: Findings,
  { payload, evse, version }: Message,
  profileJson: string,
): { schedule: NotifyEvChargingSchedule; held: SetChargingProfile2x; version: "2.0.1" | "2.1" } | undefined {
  if (version === "1.6") {
    findings.wrong(
      "station_id",
      `${quote(evse.stationId)} speaks OCPP 1.6, which has no NotifyEVChargingSchedule`,
    );
    return undefined;
  }
  const schedule = within(findings, "payload_json", () => readEvSchedule(payload, version));
  const held = within(findings, "profile_json", () => readProfileRequest(parsed(profileJson), version));
  if (schedule === undefined || held === undefined) return undefined;
  if (held.evseId !== evse.evseId && held.evseId !== 0)
    findings.wrong("profile_json.evseId", `is ${held.evseId}, and the schedule is for EVSE ${evse.evseId}`);
  if (evse.supply === Supply.DC) {
    const inAmperes = "is A, which on DC can't be told in watts: give W";
    if (schedule.chargingSchedule.chargingRateUnit === "A")
      findings.wrong("payload_json.chargingSchedule.chargingRateUnit", inAmperes);
    held.chargingProfile.chargingSchedule.forEach(({ chargingRateUnit }, n) => {
      if (chargingRateUnit === "A")
        findings.wrong(`profile_json.chargingProfile.chargingSchedule[${n}].chargingRateUnit`, inAmperes);
    });
  }
  return { schedule, held, version };
}

interface Message {
  optimizeRequest: OptimizeRequest;
  payload: unknown;
  evse: Evse;
  version: OcppVersion;
}

/** What both messages have: the site, the station's EVSE, and a payload in its version; undefined where that is not found. */
function readMessage(
  findings: Findings,
  request: {
    optimizeRequest: OptimizeRequest | undefined;
    stationId: string;
    payloadJson: string;
    profileJson?: string;
  },
): Message | undefined {
  const { optimizeRequest, stationId, payloadJson, profileJson } = request;
  const evses = optimizeRequest?.site?.evses ?? [];
  const ofStation = evses.filter((evse) => evse.stationId === stationId);
  if (optimizeRequest?.site === undefined) {
    const field = optimizeRequest === undefined ? "optimize_request" : "optimize_request.site";
    findings.wrong(field, "is required");
  }
  if (stationId === "") findings.wrong("station_id", "is required");
  else if (optimizeRequest?.site !== undefined && ofStation.length === 0)
    findings.wrong("station_id", `there is no station ${quote(stationId)}`);
  const isReadable = refuseUnreadable(findings, "payload_json", payloadJson);
  if (profileJson !== undefined && !refuseUnreadable(findings, "profile_json", profileJson)) return undefined;
  if (optimizeRequest === undefined || ofStation.length === 0 || !isReadable) return undefined;

  const payload = parsed(payloadJson);
  const { evseId, connectorId } = (payload ?? {}) as { evseId?: unknown; connectorId?: unknown };
  const is16 = versionOf(ofStation[0]) === "1.6";
  const id = is16 ? connectorId : evseId;
  const evse = ofStation.find((one) => one.evseId === id);
  if (evse !== undefined) return { optimizeRequest, payload, evse, version: versionOf(evse) };
  findings.wrong(
    `payload_json.${is16 ? "connectorId" : "evseId"}`,
    id === undefined ? "is missing" : `station ${quote(stationId)} has no EVSE ${quote(String(id))}`,
  );
  return undefined;
}

function versionOf({ ocpp }: Evse): OcppVersion {
  return VERSIONS[ocpp?.version ?? 0] ?? "2.0.1";
}

function refuseUnreadable(findings: Findings, field: string, json: string): boolean {
  if (json === "") findings.wrong(field, "is required");
  else if (json.length > LARGEST_PAYLOAD)
    findings.tooLarge(field, `at most ${LARGEST_PAYLOAD} characters, has ${json.length}`);
  else if (parsed(json) === undefined) findings.wrong(field, `is not JSON: ${syntaxError(json)}`);
  else return true;
  return false;
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

/** A charger that can't be told 0 has nothing to be told where the vehicle's limits and its own leave no power. */
function whyNeverCharged(
  findings: Findings,
  request: OptimizeRequest,
  place: number,
  evse: Evse,
  startMs: number,
): string | undefined {
  const { site } = request;
  if (site === undefined || evse.ocpp?.rejectsZeroLimit !== true) return undefined;
  const takesZero = { ...evse, ocpp: { ...evse.ocpp, rejectsZeroLimit: false } };
  const evses = site.evses.map((one) => (one === evse ? takesZero : one));
  const problem = within(findings, "optimize_request", () =>
    toProblem({ ...request, site: { ...site, evses } }, startMs),
  );
  if (problem === undefined || chargingRange(problem.site, problem.sessions[place]).maxPowerW > 0)
    return undefined;
  return "the vehicle's limits and the EVSE's leave no power to charge with, and the charger rejects a limit of 0";
}

/** What is read, or undefined with what is wrong in it, each field after the one that holds it. */
function within<Result>(findings: Findings, field: string, read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof WattslotError) || error.violations.length === 0) throw error;
    for (const violation of error.violations) {
      const path = violation.field === "" ? field : `${field}.${violation.field}`;
      if (error.code === "RESOURCE_EXHAUSTED") findings.tooLarge(path, violation.description);
      else findings.wrong(path, violation.description);
    }
    return undefined;
  }
}

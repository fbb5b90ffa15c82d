import { setTimeout as sleep } from "node:timers/promises";
import { type MethodDefinition, status, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { WattslotError } from "../domain/errors.ts";
import type { Engine } from "../engine.ts";
import { ChargingNeedsStatus } from "../gen/wattslot/v1/charging_needs.ts";
import {
  OptimizeRequest,
  OptimizeResponse,
  type Phase,
  type PlanStatus,
  ProfileCommand,
  Session,
  Site,
  TimeSeries,
} from "../gen/wattslot/v1/optimizer.ts";
import {
  CommandResult,
  PlanSettings,
  type PutSeriesRequest,
  type ReoptimizeRequest,
  type ReoptimizeResponse,
  SeriesKind,
  type SeriesState,
  type SessionState,
  SiteServiceService,
  type WatchCommandsRequest,
  type WatchCommandsResponse,
} from "../gen/wattslot/v1/site.ts";
import type { Answer, CommandRow, SessionRow, SiteInputs, SiteKey, Store } from "../store/store.ts";
import { toProblem } from "./convert.ts";
import { Findings, LARGEST, quote } from "./findings.ts";
import { type Context, serverStream, unary } from "./handler.ts";
import { isOfCircuit, seriesKey, seriesName, spanOf, spliced } from "./kept-series.ts";
import {
  drawnBy,
  evseStateOf,
  heldPayload,
  type KeptSite,
  readKept,
  requestOf,
  stateOf,
} from "./kept-site.ts";
import { answerNeeds, answerSchedule } from "./needs.ts";
import { inParallel } from "./parallel.ts";
import { allowedAtW, measured, type Progress } from "./progress.ts";
import type { Replanner } from "./replanner.ts";

export interface SiteServiceOptions {
  store: Store;
  engine: Engine;
  replanner: Replanner;
  /** Sites of one Reoptimize in work at once. */
  parallel: number;
  /** Aborts when the server takes no more calls: streams without an end are over then. */
  closing: AbortSignal;
}

const LARGEST_PAGE = 1000;
const USUAL_PAGE = 100;
const MOST_SITE_IDS = 1000;
const LONGEST_DETAIL = 500;
/** Commands read at once, and how often somebody who watches looks for new ones. */
const COMMANDS_AT_ONCE = 100;
const WATCH_MS = 200;
/** A series that ends later than that from now on is one with a wrong step. */
const FAR_MS = 366 * 86_400_000;
/** By how much the clocks of callers may be ahead. */
const CLOCK_LEAD_MS = 10_000;

const RESULTS: Readonly<Record<number, Answer>> = {
  [CommandResult.ACCEPTED]: "accepted",
  [CommandResult.REJECTED]: "rejected",
  [CommandResult.NO_ANSWER]: "no_answer",
};

/** Handlers of wattslot.v1.SiteService. */
export function siteService(options: SiteServiceOptions): UntypedServiceImplementation {
  const { store, engine, replanner } = options;
  const service = SiteServiceService;
  /** A change to a site, after which it may be due. */
  const change = <Request extends { siteId: string }, Response>(
    method: MethodDefinition<Request, Response>,
    answer: (request: Request, key: SiteKey, context: Context) => Promise<Response>,
  ) =>
    unary(method, async (request, context) => {
      const response = await answer(request, keyOf(request, context), context);
      replanner.poke();
      return response;
    });

  return {
    putSite: unary(
      service.putSite,
      async (
        { site, settings, etag },
        {
          call: {
            caller: { tenant },
          },
        },
      ) => {
        const findings = new Findings();
        if (site === undefined) findings.wrong("site", "is required");
        const given = readEtag(findings, etag);
        findings.throwIfAny();
        const kept = { site: site!, settings: settings ?? PlanSettings.create() };
        const { notices } = problemOf(kept);
        const put = await store.putSite(
          { tenant, siteId: kept.site.siteId },
          {
            site: Site.encode(kept.site).finish(),
            settings: PlanSettings.encode(kept.settings).finish(),
            ...(given === undefined ? {} : { etag: given }),
          },
          Date.now(),
        );
        replanner.poke();
        return { etag: `${put}`, notices: [...notices] };
      },
    ),

    getSite: unary(service.getSite, async (request, context) => {
      const inputs = await store.inputsOf(keyOf(request, context));
      const nowMs = Date.now();
      const order = new Map(
        Site.decode(inputs.site.site).evses.map(({ stationId, evseId }, n) => [
          JSON.stringify([stationId, evseId]),
          n,
        ]),
      );
      const place = ({ stationId, evseId }: { stationId: string; evseId: number }) =>
        order.get(JSON.stringify([stationId, evseId])) ?? order.size;
      return {
        site: Site.decode(inputs.site.site),
        settings: PlanSettings.decode(inputs.site.settings),
        etag: `${inputs.site.etag}`,
        sessions: readKept(inputs, nowMs).sessions.map((kept) => stateOf(kept, nowMs)),
        evses: inputs.evses.map(evseStateOf).sort((a, b) => place(a) - place(b)),
        series: inputs.series.map(({ series_key, series }) =>
          seriesState(series_key, TimeSeries.decode(series)),
        ),
      };
    }),

    listSites: unary(
      service.listSites,
      async (
        { pageSize, pageToken },
        {
          call: {
            caller: { tenant },
          },
        },
      ) => {
        const findings = new Findings();
        findings.optionalId("page_token", pageToken);
        const size = pageSize === 0 ? USUAL_PAGE : findings.whole("page_size", pageSize, 1, LARGEST_PAGE);
        findings.throwIfAny();
        const rows = await store.listSites(tenant, pageToken, size);
        return {
          sites: rows.map((row) => ({
            siteId: row.site_id,
            etag: `${row.etag}`,
            sessionCount: Number(row.session_count),
            openCommandCount: Number(row.open_count),
            plannedTime: row.planned_ms > 0 ? new Date(row.planned_ms) : undefined,
            planStatus: row.plan_status as PlanStatus,
            isDue: row.due_ms !== null,
          })),
          nextPageToken: rows.length < size ? "" : (rows.at(-1)?.site_id ?? ""),
        };
      },
    ),

    deleteSite: unary(service.deleteSite, async (request, context) => {
      const findings = new Findings();
      const etag = readEtag(findings, request.etag);
      findings.throwIfAny();
      await store.deleteSite(keyOf(request, context), etag);
      return {};
    }),

    putSeries: change(service.putSeries, async (request, key) => {
      const nowMs = Date.now();
      const { site: row } = await store.inputsOf(key);
      const { values, replace, kind } = readSeriesRequest(request, Site.decode(row.site));
      const name = seriesKey(request);
      let kept = values;
      await store.putSeries(
        key,
        name,
        (bytes) => {
          if (values === undefined) return undefined;
          const before = bytes === undefined || replace ? undefined : TimeSeries.decode(bytes);
          kept = spliced(before, values, nowMs, kind);
          return TimeSeries.encode(kept).finish();
        },
        nowMs,
      );
      if (kept === undefined) return { series: undefined, notices: [] };
      const series = seriesState(name, kept);
      const notices =
        series.endTime!.getTime() > nowMs + FAR_MS
          ? [
              {
                code: "SERIES_ENDS_LATE",
                field: "values.step_seconds",
                message: `the series ends at ${series.endTime!.toISOString()}: is its step in seconds?`,
              },
            ]
          : [];
      return { series, notices };
    }),

    putSession: change(service.putSession, async (request, key) => {
      const nowMs = Date.now();
      const findings = new Findings();
      if (request.session === undefined) findings.wrong("session", "is required");
      findings.throwIfAny();
      const session = request.session!;
      const inputs = await store.inputsOf(key);
      const site = readKept(inputs, nowMs);
      judgeSession(site, session, nowMs);
      const drawn = drawnIn(site, session, nowMs);
      const { row, isNew } = await keepSession(store, key, session, { drawn }, nowMs);
      return { state: stateIn(inputs, row, nowMs), isNew };
    }),

    reportProgress: change(service.reportProgress, async (request, key) => {
      const nowMs = Date.now();
      const findings = new Findings();
      const { sessionId, meteredEnergyWh, socPercent, powerW } = request;
      findings.id("session_id", sessionId);
      const number = (field: string, value: number | undefined, max: number) =>
        value === undefined ? undefined : findings.number(field, value, { min: 0, max });
      const meteredWh = number("metered_energy_wh", meteredEnergyWh, LARGEST.energyWh);
      const soc = number("soc_percent", socPercent, 100);
      const drawnW =
        powerW === undefined
          ? undefined
          : findings.number("power_w", powerW, { min: -LARGEST.powerW, max: LARGEST.powerW });
      // A clock that is ahead must not make everything that comes after it old.
      const measuredMs = Math.min(
        nowMs,
        request.measuredTime === undefined ? nowMs : findings.time("measured_time", request.measuredTime),
      );
      findings.throwIfAny();
      const inputs = await store.inputsOf(key);
      const vehicle = readKept(inputs, nowMs).sessions.find(({ row }) => row.session_id === sessionId);
      // While a command is out, nobody knows which of the two profiles it is that the vehicle draws by.
      const allowedW =
        vehicle !== undefined && vehicle.allowed === vehicle.accepted
          ? allowedAtW(vehicle.accepted, measuredMs)
          : undefined;
      const measuredRow = await store.changeSession(
        key,
        sessionId,
        (kept) => {
          if (kept === undefined) throw noSession(sessionId);
          const { progress, isDue } = measured(
            JSON.parse(kept.progress) as Progress,
            {
              measuredMs,
              ...(meteredWh === undefined ? {} : { meteredWh }),
              ...(soc === undefined ? {} : { socPercent: soc }),
              ...(drawnW === undefined ? {} : { powerW: drawnW }),
            },
            allowedW,
          );
          const row = { ...fieldsOf(kept), progress: JSON.stringify(progress) };
          // A plan in the making is as safe without it, and the next one has it: one who reports often stops none.
          return { row, isDue, isNews: false, value: { ...kept, ...row } };
        },
        nowMs,
      );
      return { state: stateIn(inputs, measuredRow, nowMs) };
    }),

    endSession: change(service.endSession, async ({ sessionId }, key) => {
      const findings = new Findings();
      findings.id("session_id", sessionId);
      findings.throwIfAny();
      await endSession(store, key, sessionId, Date.now());
      return {};
    }),

    forwardEvChargingNeeds: change(service.forwardEvChargingNeeds, async (request, key, context) => {
      const nowMs = Date.now();
      const inputs = await store.inputsOf(key);
      const site = readKept(inputs, nowMs);
      const { request: optimizeRequest, notices } = requestOf(site, nowMs);
      const answer = await answerNeeds(
        engine,
        {
          optimizeRequest,
          stationId: request.stationId,
          payloadJson: request.payloadJson,
          receivedTime: request.receivedTime ?? new Date(nowMs),
          scheduleOffer: request.scheduleOffer,
        },
        context,
      );
      const { status: told, responseJson, rejection, session, plan } = answer;
      if (session === undefined)
        return { status: told, responseJson, rejection, state: undefined, notices: [...notices] };
      const awaits = told === ChargingNeedsStatus.ACCEPTED;
      const { row } = await keepSession(
        store,
        key,
        session,
        { drawn: drawnIn(site, session, nowMs), awaits },
        nowMs,
      );
      return {
        status: told,
        responseJson,
        rejection,
        state: stateIn(inputs, row, nowMs),
        notices: [...notices, ...(plan?.notices ?? [])],
      };
    }),

    forwardEvChargingSchedule: change(service.forwardEvChargingSchedule, async (request, key, context) => {
      const nowMs = Date.now();
      const site = readKept(await store.inputsOf(key), nowMs);
      const { request: optimizeRequest } = requestOf(site, nowMs);
      const evseId = evseIdOf(request.payloadJson);
      const evse = site.evses.find(
        ({ station_id, evse_id }) => station_id === request.stationId && evse_id === evseId,
      );
      const profileJson = evse === undefined ? undefined : heldPayload(evse);
      if (profileJson === undefined)
        throw new WattslotError(
          "FAILED_PRECONDITION",
          `EVSE ${evseId ?? "without id"} of station ${quote(request.stationId)} has accepted no profile that its ` +
            "vehicle's schedule could be judged by: report its command as accepted first",
        );
      const { isAccepted, responseJson, excesses } = await answerSchedule(
        engine,
        { optimizeRequest, stationId: request.stationId, payloadJson: request.payloadJson, profileJson },
        context,
      );
      const vehicle = site.sessions.find(
        ({ row }) => row.session_id === evse?.session_id && row.evse_id === evseId,
      );
      if (!isAccepted && vehicle !== undefined)
        await store.changeSession(
          key,
          vehicle.row.session_id,
          (kept, { planned_ms }) => {
            if (kept === undefined) return { isDue: true, value: undefined };
            const awaitedMs = Math.max(nowMs, planned_ms + 1);
            const progress = JSON.stringify({ ...JSON.parse(kept.progress), awaitedMs });
            return { row: { ...fieldsOf(kept), progress }, isDue: true, value: undefined };
          },
          nowMs,
        );
      return { isAccepted, responseJson, excesses };
    }),

    getPlan: unary(service.getPlan, async (request, context) => {
      const { site, plan } = await store.planOf(keyOf(request, context));
      return {
        revision: site.planned_revision,
        plan: plan === undefined ? undefined : OptimizeResponse.decode(plan.plan),
        plannedTime: plan === undefined ? undefined : new Date(plan.planned_ms),
        isDue: site.due_ms !== null,
        failure: site.failure,
      };
    }),

    reoptimize: serverStream(service.reoptimize, (request, context) => reoptimize(options, request, context)),

    watchCommands: serverStream(service.watchCommands, (request, context) =>
      watchCommands(options, request, context),
    ),

    reportCommand: unary(
      service.reportCommand,
      async (
        request,
        {
          call: {
            caller: { tenant },
          },
        },
      ) => {
        const findings = new Findings();
        const { commandId, result, detail } = request;
        if (!/^[^\0]+\/\d+\/\d+$/.test(commandId)) findings.wrong("command_id", "is not the id of a command");
        if (result === CommandResult.UNSPECIFIED) findings.wrong("result", "is required");
        const answer =
          result === CommandResult.UNSPECIFIED ? undefined : findings.choice("result", result, RESULTS);
        if (detail.length > LONGEST_DETAIL)
          findings.wrong("detail", `must have at most ${LONGEST_DETAIL} characters, has ${detail.length}`);
        findings.throwIfAny();
        // PostgreSQL keeps no NUL in a text.
        const kept = { answer: answer!, detail: detail.replaceAll("\0", "") };
        await store.answerCommand(tenant, commandId, kept, Date.now());
        replanner.poke();
        return {};
      },
    ),
  };
}

function keyOf(
  { siteId }: { siteId: string },
  {
    call: {
      caller: { tenant },
    },
  }: Context,
): SiteKey {
  const findings = new Findings();
  findings.id("site_id", siteId);
  findings.throwIfAny();
  return { tenant, siteId };
}

function readSiteIds(findings: Findings, siteIds: readonly string[]): void {
  if (siteIds.length > MOST_SITE_IDS)
    findings.tooLarge("site_ids", `at most ${MOST_SITE_IDS}, has ${siteIds.length}`);
  else for (const [n, siteId] of siteIds.entries()) findings.id(`site_ids[${n}]`, siteId);
}

function readEtag(findings: Findings, etag: string): number | undefined {
  if (etag === "") return undefined;
  if (!/^\d{1,15}$/.test(etag)) findings.wrong("etag", "is not one that this service has given");
  return Number(etag);
}

/** Reads a site as it would be planned, so that what can't be planned is not kept. Throws as `toProblem`. */
function problemOf({ site, settings }: Pick<KeptSite, "site" | "settings">, sessions: Session[] = []) {
  const { slotSeconds, objective, options } = settings;
  try {
    return toProblem(
      OptimizeRequest.fromPartial({ site, sessions, slotSeconds, objective, options }),
      Date.now(),
    );
  } catch (error) {
    throw renamed(error, (field) =>
      field.replace(/^(slot_seconds|objective|options)/, "settings.$1").replace(/^sessions\[0\]/, "session"),
    );
  }
}

/** An error with its fields as this service's requests have them. */
function renamed(error: unknown, name: (field: string) => string): unknown {
  if (!(error instanceof WattslotError)) return error;
  const violations = error.violations.map(({ field, description }) => ({ field: name(field), description }));
  const [first] = error.violations;
  // The message begins with the first of them.
  const message = !first?.field ? error.message : error.message.replace(first.field, name(first.field));
  return new WattslotError(error.code, message, { violations, cause: error });
}

/** Throws where a session could not be planned at its site. */
function judgeSession(site: KeptSite, session: Session, nowMs: number): void {
  const departureMs = session.departureTime?.getTime();
  // One that should have left may still be updated.
  const isOver = departureMs !== undefined && departureMs <= nowMs;
  const judged = isOver ? { ...session, departureTime: undefined, departureChances: [] } : session;
  const futureChances = judged.departureChances.filter(({ time }) => (time?.getTime() ?? nowMs + 1) > nowMs);
  problemOf(site, [{ ...judged, departureChances: futureChances }]);
}

/**
 * Keeps a session, `drawn` being the energy that its vehicle has drawn by now. With `awaits` the vehicle has told its
 * need itself: it counts from now on, and its charger may wait for a profile. Of one that has ended nothing changes. The session as it is kept then, and whether it is new.
 */
function keepSession(
  store: Store,
  key: SiteKey,
  session: Session,
  { drawn, awaits }: { drawn: number; awaits?: boolean },
  nowMs: number,
): Promise<{ row: SessionRow; isNew: boolean }> {
  const bytes = Session.encode(session).finish();
  return store.changeSession<{ row: SessionRow; isNew: boolean }>(
    key,
    session.sessionId,
    (kept, { planned_ms }) => {
      if (kept !== undefined && kept.ended_ms !== null)
        return { isDue: false, value: { row: kept, isNew: false } };
      const before: Progress = kept === undefined ? { needMeteredWh: 0 } : JSON.parse(kept.progress);
      const isSoc = session.need?.$case === "stateOfCharge";
      const isOther = kept === undefined || !Buffer.from(kept.session).equals(Buffer.from(bytes));
      const progress: Progress = { ...before };
      // An energy need is of the whole stay, unless the vehicle has just told what is left of it.
      const isTold = awaits !== undefined;
      if (isOther || isTold) progress.needMeteredWh = isTold || isSoc ? drawn : 0;
      if (isSoc && isOther) {
        delete progress.socPercent;
        delete progress.socMs;
        delete progress.socMeteredWh;
      }
      // After the plan in force, also one that was kept since the call came.
      if (awaits) progress.awaitedMs = Math.max(nowMs, planned_ms + 1);
      const row = {
        station_id: session.stationId,
        evse_id: session.evseId,
        session: bytes,
        progress: JSON.stringify(progress),
        put_ms: kept?.put_ms ?? nowMs,
        ended_ms: null,
      };
      const ids = { tenant: key.tenant, site_id: key.siteId, session_id: session.sessionId };
      return {
        row,
        // A vehicle that is there has taken the place of whoever was at its EVSE before it, not of who comes after it.
        ...(!isTold && arrivalMsOf(row) <= nowMs + CLOCK_LEAD_MS
          ? { replaces: (other: SessionRow) => arrivalMsOf(other) <= arrivalMsOf(row) }
          : {}),
        isDue: isOther || isTold,
        value: { row: { ...ids, ...row }, isNew: kept === undefined },
      };
    },
    nowMs,
  );
}

/** Energy that a session's vehicle has drawn by now; 0 where it is not kept yet. */
function drawnIn({ sessions }: KeptSite, { sessionId }: Session, nowMs: number): number {
  const kept = sessions.find(({ row }) => row.session_id === sessionId);
  return kept === undefined ? 0 : drawnBy(kept, nowMs);
}

function arrivalMsOf({ session, put_ms }: Pick<SessionRow, "session" | "put_ms">): number {
  return Session.decode(session).arrivalTime?.getTime() ?? put_ms;
}

function endSession(store: Store, key: SiteKey, sessionId: string, nowMs: number): Promise<void> {
  return store.changeSession(
    key,
    sessionId,
    (kept) => {
      if (kept === undefined) throw noSession(sessionId);
      return kept.ended_ms === null
        ? { row: { ...fieldsOf(kept), ended_ms: nowMs }, isDue: true, value: undefined }
        : { isDue: false, value: undefined };
    },
    nowMs,
  );
}

function fieldsOf({ station_id, evse_id, session, progress, put_ms, ended_ms }: SessionRow) {
  return { station_id, evse_id, session, progress, put_ms, ended_ms };
}

/** A session as callers see it, by what else is known of its site; undefined where it has ended. */
function stateIn(inputs: SiteInputs, row: SessionRow, nowMs: number): SessionState | undefined {
  if (row.ended_ms !== null) return undefined;
  return stateOf(readKept({ ...inputs, sessions: [row] }, nowMs).sessions[0], nowMs);
}

function noSession(sessionId: string): WattslotError {
  return new WattslotError("NOT_FOUND", `session ${quote(sessionId)} is not kept: put it first`);
}

/** A series and its values, as they would be planned with. */
function readSeriesRequest(request: PutSeriesRequest, site: Site): PutSeriesRequest {
  const findings = new Findings();
  const { kind, circuitId, phase, values, replace } = request;
  const isKnown = kind > 0 && Object.values(SeriesKind).some((one) => one === kind);
  if (!isKnown) findings.wrong("kind", kind === 0 ? "is required" : `unknown value ${kind}`);
  const isOnPhase = kind === SeriesKind.BASE_LOAD_A;
  if (isOfCircuit(kind)) {
    if (!site.circuits.some((one) => one.circuitId === circuitId))
      findings.wrong("circuit_id", `the site has no circuit ${quote(circuitId)}`);
  } else if (circuitId !== "") findings.wrong("circuit_id", "must be empty: this kind is of the whole site");
  if (isOnPhase ? phase < 1 || phase > 3 : phase !== 0)
    findings.wrong("phase", isOnPhase ? "must be L1, L2 or L3" : "must not be given for this kind");
  const isMoney =
    kind === SeriesKind.PRICE_PER_KWH ||
    kind === SeriesKind.EXPORT_PRICE_PER_KWH ||
    kind === SeriesKind.CARBON_G_PER_KWH;
  if (isMoney && site.tariff === undefined)
    findings.wrong("kind", "the site has no tariff: put one with its currency first");
  if (values === undefined && !replace) findings.wrong("values", "is required");
  findings.throwIfAny();
  if (values !== undefined) judgeValues(kind, values);
  return request;
}

/** ISO 4217's code where there is no currency. */
const NO_CURRENCY = "XXX";

/** Throws where a series could not be planned with: it is read in the place that the kind says. */
function judgeValues(kind: number, values: TimeSeries): void {
  const circuit = { circuitId: "grid" };
  const atMs = values.startTime?.getTime() ?? Number.NaN;
  const place: Readonly<Record<number, [Partial<Site>, string]>> = {
    [SeriesKind.PRICE_PER_KWH]: [
      { tariff: { currency: NO_CURRENCY, energyPrice: { $case: "pricePerKwh", value: values } } as never },
      "site.tariff.price_per_kwh",
    ],
    [SeriesKind.EXPORT_PRICE_PER_KWH]: [
      { tariff: { currency: NO_CURRENCY, exportPricePerKwh: values } as never },
      "site.tariff.export_price_per_kwh",
    ],
    [SeriesKind.CARBON_G_PER_KWH]: [
      { tariff: { currency: NO_CURRENCY, carbonGPerKwh: values } as never },
      "site.tariff.carbon_g_per_kwh",
    ],
    [SeriesKind.PV_POWER_W]: [{ pvPowerW: values }, "site.pv_power_w"],
    [SeriesKind.BASE_LOAD_W]: [
      { circuits: [{ ...circuit, baseLoadW: values } as never] },
      "site.circuits[0].base_load_w",
    ],
    [SeriesKind.BASE_LOAD_A]: [
      { circuits: [{ ...circuit, baseLoadA: [{ phase: 1 as Phase, currentA: values }] } as never] },
      "site.circuits[0].base_load_a[0].current_a",
    ],
    [SeriesKind.MAX_POWER_W]: [
      { circuits: [{ ...circuit, maxPowerSeriesW: values } as never] },
      "site.circuits[0].max_power_series_w",
    ],
  };
  const [part, path] = place[kind];
  const startTime = Number.isNaN(atMs) ? new Date() : new Date(Math.ceil(atMs / 1000) * 1000);
  const site = { siteId: "judged", circuits: [circuit], evses: [{ stationId: "CS", evseId: 1 }], ...part };
  try {
    toProblem(OptimizeRequest.fromPartial({ site, startTime } as never), startTime.getTime());
  } catch (error) {
    throw renamed(error, (field) => field.replace(path, "values"));
  }
}

function seriesState(key: string, series: TimeSeries): SeriesState {
  const { kind, circuitId, phase } = seriesName(key);
  const { startMs, endMs } = spanOf(series);
  return {
    kind: kind as SeriesKind,
    circuitId,
    phase: phase as Phase,
    startTime: new Date(startMs),
    endTime: new Date(endMs),
  };
}

/** The EVSE that a payload speaks of; what is wrong with it otherwise is found where it is read. */
function evseIdOf(payloadJson: string): number | undefined {
  try {
    const { evseId } = JSON.parse(payloadJson) as { evseId?: unknown };
    return typeof evseId === "number" ? evseId : undefined;
  } catch {
    return undefined;
  }
}

async function* reoptimize(
  { store, replanner, parallel }: SiteServiceOptions,
  request: ReoptimizeRequest,
  {
    signal,
    call: {
      caller: { tenant },
    },
  }: Context,
): AsyncGenerator<ReoptimizeResponse> {
  const { siteIds, allSites, staleSeconds } = request;
  const findings = new Findings();
  if (allSites && siteIds.length > 0) findings.wrong("all_sites", "not together with site_ids");
  if (!allSites && siteIds.length === 0) findings.wrong("site_ids", "at least one is required, or all_sites");
  readSiteIds(findings, siteIds);
  findings.throwIfAny();
  const beganMs = Date.now();
  const olderThanMs = beganMs - staleSeconds * 1000;
  const ids = allSites
    ? allStale(store, tenant, olderThanMs)
    : givenStale(store, tenant, siteIds, staleSeconds > 0 ? olderThanMs : Number.POSITIVE_INFINITY);
  const summary = { plannedCount: 0, failedCount: 0 };
  for await (const result of inParallel(ids, parallel, signal, (siteId) =>
    replanner.planNow({ tenant, siteId }, signal),
  )) {
    if (result.code === status.OK) summary.plannedCount++;
    else summary.failedCount++;
    yield { outcome: { $case: "result", value: result } };
  }
  yield { outcome: { $case: "summary", value: summary } };
}

async function* allStale(store: Store, tenant: string, olderThanMs: number): AsyncGenerator<string> {
  for (let after = ""; ; ) {
    const ids = await store.staleSites(tenant, olderThanMs, after, LARGEST_PAGE);
    yield* ids;
    if (ids.length < LARGEST_PAGE) return;
    after = ids[ids.length - 1];
  }
}

async function* givenStale(
  store: Store,
  tenant: string,
  siteIds: readonly string[],
  olderThanMs: number,
): AsyncGenerator<string> {
  for (const siteId of new Set(siteIds)) {
    if (Number.isFinite(olderThanMs)) {
      const row = await store.getSite({ tenant, siteId }).catch(() => undefined);
      if (row !== undefined && row.planned_ms > olderThanMs) continue;
    }
    yield siteId;
  }
}

/** Sends commands as they are released, without an end; what is sent and not answered comes again to whoever asks. */
async function* watchCommands(
  { store, closing }: SiteServiceOptions,
  { cursor, siteIds }: WatchCommandsRequest,
  {
    signal,
    call: {
      caller: { tenant },
    },
  }: Context,
): AsyncGenerator<WatchCommandsResponse> {
  const findings = new Findings();
  if (cursor !== "" && !/^\d{1,15}$/.test(cursor))
    findings.wrong("cursor", "is not one that this service has given");
  readSiteIds(findings, siteIds);
  findings.throwIfAny();
  let after = cursor === "" ? 0 : Number(cursor);
  const over = AbortSignal.any([signal, closing]);
  for (;;) {
    if (closing.aborted) throw new WattslotError("UNAVAILABLE", "the server is closing: watch again");
    const { commands, place, isAll } = await store.takeCommands(
      tenant,
      after,
      { siteIds, limit: COMMANDS_AT_ONCE },
      Date.now(),
    );
    for (const command of commands) yield commandOf(command);
    after = place;
    if (isAll) await sleep(WATCH_MS, undefined, { signal: over }).catch(() => {});
    signal.throwIfAborted();
  }
}

function commandOf(row: CommandRow): WatchCommandsResponse {
  return {
    cursor: `${row.seq}`,
    commandId: row.command_id,
    siteId: row.site_id,
    stationId: row.station_id,
    evseId: row.evse_id,
    sessionId: row.session_id,
    revision: row.revision,
    command: ProfileCommand.decode(row.command),
  };
}

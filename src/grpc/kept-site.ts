import type { Notice } from "../domain/problem.ts";
import {
  ChargingProfilePurpose,
  InstalledPlan,
  type OptimizeRequest,
  ProfileCommand,
  Session,
  Site,
  Supply,
  TimeSeries,
} from "../gen/wattslot/v1/optimizer.ts";
import { type EvseState, PlanSettings, type SessionState } from "../gen/wattslot/v1/site.ts";
import type { CommandRow, EvseRow, Outdated, SessionRow, SiteInputs } from "../store/store.ts";
import { seriesName, withSeries } from "./kept-series.ts";
import {
  begunBy,
  drawnWh,
  higherOf,
  highestFromW,
  isAsleep,
  neededWh,
  type Progress,
  remaining,
} from "./progress.ts";

/** Measurements older than this are told of in a notice. */
const FRESH_MS = 5 * 60_000;
const DEFAULT_SLOT_SECONDS = 900;
/** Vehicles that come within this time of each other come at once, and who comes within it is there. */
const MOMENT_MS = 2000;
/** Unanswered commands of a vehicle that are looked at one by one. */
const MOST_UNANSWERED = 4;
/** How long a vehicle counts as staying that should have left. */
const OVERSTAY_MS = 60 * 60_000;

/** A vehicle's stay as it is kept. */
export interface KeptSession {
  row: SessionRow;
  session: Session;
  progress: Progress;
  /** Share of the energy metered that reaches its battery. */
  efficiency: number;
  /** What its charger last accepted for it. */
  accepted: InstalledPlan | undefined;
  /** What its charger may be holding: that, or what was sent since and not surely refused, whichever is highest. */
  allowed: InstalledPlan | undefined;
  /** Of that, what ends with its transaction. */
  ofTransaction: InstalledPlan | undefined;
  /** What was sent last may not have reached its charger: it has to be told again. */
  isUntold: boolean;
  /** It has refused or not answered, and accepted nothing for this vehicle: nobody knows what it allows it. */
  isUnknown: boolean;
}

/** A site's inputs, read. */
export interface KeptSite {
  site: Site;
  settings: PlanSettings;
  sessions: KeptSession[];
  evses: EvseRow[];
  /** What chargers may go on to allow anyone, once they were told so for a vehicle that has left. */
  leftovers: Held[];
  /** What need not be looked at any more, once a plan is made of this. */
  outdated: Outdated;
}

/** A profile that a charger may be holding. */
interface Held {
  /** Its EVSE's. */
  place: string;
  sessionId: string;
  plan: InstalledPlan;
  /** It does not end with its transaction. */
  isForAll: boolean;
  /** Transaction that it ends with, where it is of one. */
  transactionId: string;
  isAccepted: boolean;
  hasFailed: boolean;
  /** The command that it came with; empty where it was accepted. */
  commandId: string;
}

/** A site's inputs as they stand at an instant. */
export function readKept(
  { site: row, series, sessions, evses, unsure }: SiteInputs,
  nowMs: number,
): KeptSite {
  const kept = series.map(({ series_key, series: bytes }) => ({
    ...seriesName(series_key),
    values: TimeSeries.decode(bytes),
  }));
  const site = withSeries(Site.decode(row.site), kept, nowMs);
  const held = [...evses.filter(({ installed }) => installed.length > 0), ...unsure].map(heldOf);
  const outdated: Outdated = { commandIds: [], folded: [] };
  // They have refused, or not answered, the vehicle that is there.
  const unknown = new Set(
    evses
      .filter((one) => one.installed.length === 0 || one.unreachable_until_ms !== 0)
      .map((one) => placeOf(one.station_id, one.evse_id)),
  );
  const placeOfSession = new Map(
    sessions.map((one) => [one.session_id, placeOf(one.station_id, one.evse_id)]),
  );
  const isOver = (one: Held) => placeOfSession.get(one.sessionId) !== one.place;
  for (const one of held)
    if (isOver(one) && !one.isForAll && one.hasFailed) outdated.commandIds.push(one.commandId);
  const leftovers = held.filter((one) => one.isForAll && isOver(one));
  for (const { stationId, evseId } of site.evses) {
    const place = placeOf(stationId, evseId);
    const left = leftovers.filter((one) => one.place === place);
    fold(left, outdated);
  }
  return {
    site,
    settings: PlanSettings.decode(row.settings),
    evses,
    outdated,
    leftovers,
    sessions: sessions.map((one) => {
      const session = Session.decode(one.session);
      const place = placeOf(one.station_id, one.evse_id);
      const here = held.filter(
        ({ place: at, sessionId, isForAll, transactionId }) =>
          at === place &&
          // A profile of another transaction has ended with it.
          (isForAll || (sessionId === one.session_id && transactionId === session.transactionId)),
      );
      const own = here.filter(({ sessionId }) => sessionId === one.session_id);
      const accepted = own.find(({ isAccepted }) => isAccepted)?.plan;
      const evse = site.evses.find(({ stationId, evseId }) => placeOf(stationId, evseId) === place);
      for (const kind of [true, false]) {
        const ofKind = own.filter(({ isForAll }) => isForAll === kind);
        fold(ofKind, outdated);
      }
      const isUnknown = accepted === undefined && unknown.has(place);
      let allowed = accepted;
      let ofTransaction: InstalledPlan | undefined;
      for (const { plan, isForAll } of here) {
        if (!isForAll) ofTransaction = ofTransaction === undefined ? plan : higherOf(ofTransaction, plan);
        if (plan !== accepted)
          allowed = { ...higherOf(allowed ?? evse?.fallbackPowerW ?? 0, plan), sessionId: one.session_id };
      }
      return {
        row: one,
        session,
        progress: JSON.parse(one.progress) as Progress,
        efficiency: evse?.efficiency ?? (evse?.supply === Supply.DC ? 0.95 : 0.9),
        accepted,
        allowed,
        ofTransaction,
        isUntold: isUnknown || own.at(-1)?.hasFailed === true,
        isUnknown,
      };
    }),
  };
}

/** What tells the EVSEs of a site apart. */
function placeOf(stationId: string, evseId: number): string {
  return JSON.stringify([stationId, evseId]);
}

/** Has the newest of many unanswered commands of one kind stand for all: a charger that is silent for days is told often. */
function fold(all: readonly Held[], { commandIds, folded }: Outdated): void {
  const unanswered = all.filter(({ hasFailed }) => hasFailed);
  if (unanswered.length < MOST_UNANSWERED) return;
  const newest = unanswered[unanswered.length - 1];
  const plan = unanswered.reduce((sum, one) => higherOf(sum, one.plan), newest.plan);
  commandIds.push(...unanswered.slice(0, -1).map(({ commandId }) => commandId));
  folded.push({ commandId: newest.commandId, installed: InstalledPlan.encode(plan).finish() });
}

function heldOf(row: EvseRow | CommandRow): Held {
  const profile = ProfileCommand.decode(row.command).chargingProfile;
  return {
    place: placeOf(row.station_id, row.evse_id),
    sessionId: row.session_id,
    plan: InstalledPlan.decode(row.installed),
    isForAll: profile?.chargingProfilePurpose === ChargingProfilePurpose.TX_DEFAULT_PROFILE,
    transactionId: profile?.transactionId ?? "",
    isAccepted: !("state" in row),
    hasFailed: "state" in row && row.state === "no_answer",
    commandId: "state" in row ? row.command_id : "",
  };
}

/** Energy that a vehicle has drawn since the beginning of its stay, metered or taken from its plan, Wh. */
export function drawnBy(kept: KeptSession, nowMs: number): number {
  const { progress, accepted } = kept;
  return drawnWh(progress, { fromMs: countedFromMs(kept), allowed: accepted }, nowMs);
}

/** Since when what a vehicle has drawn is taken from its plan. */
export function countedFromMs({ row, session, progress }: KeptSession): number {
  return progress.meteredMs ?? Math.max(row.put_ms, session.arrivalTime?.getTime() ?? row.put_ms);
}

/** A vehicle's need as it stands at an instant. */
function needNow(kept: KeptSession, nowMs: number): Session {
  const { session, progress, efficiency } = kept;
  return remaining(session, progress, { drawn: drawnBy(kept, nowMs), efficiency }, nowMs);
}

/** A kept session as callers see it. */
export function stateOf(kept: KeptSession, nowMs: number): SessionState {
  const { progress } = kept;
  const now = needNow(kept, nowMs);
  const measuredMs = Math.max(progress.meteredMs ?? 0, progress.socMs ?? 0);
  const remainingEnergyWh = neededWh(now.need, kept.efficiency);
  return {
    session: kept.session,
    remainingEnergyWh,
    measuredTime: measuredMs === 0 ? undefined : new Date(measuredMs),
    isAsleep: isAsleep(progress, nowMs),
    takenPowerW: progress.takenW,
  };
}

export function evseStateOf(row: EvseRow): EvseState {
  return {
    stationId: row.station_id,
    evseId: row.evse_id,
    installedPlan: row.installed.length > 0 ? InstalledPlan.decode(row.installed) : undefined,
    unreachableUntilTime: row.unreachable_until_ms > 0 ? new Date(row.unreachable_until_ms) : undefined,
  };
}

/** What a charger last accepted, as it went over the wire; undefined where it has accepted nothing. */
export function heldPayload({ command }: EvseRow): string | undefined {
  return command.length > 0 ? ProfileCommand.decode(command).payloadJson : undefined;
}

/** A vehicle as it is to be planned. */
interface Planned {
  kept: KeptSession;
  session: Session;
  /** When it counts as coming: now, where it is there. */
  beginMs: number;
  arrivalMs: number;
}

/**
 * The request that a site's plan is made of at an instant, and what is assumed in it. What would make it one that
 * can't be planned is made good: a vehicle that should have left stays on, one whose EVSE is gone or another's is left
 * out, as are those of `leftOut`, each with the reason.
 */
export function requestOf(
  { site, settings, sessions, evses, leftovers }: KeptSite,
  nowMs: number,
  leftOut: ReadonlyMap<string, string> = new Map(),
): { request: OptimizeRequest; sessions: KeptSession[]; notices: Notice[] } {
  const notices: Notice[] = [];
  const tell = (code: string, sessionId: string, message: string) =>
    notices.push({ code, field: `sessions[${sessionId}]`, message });
  const keyOf = ({ stationId, evseId }: { stationId: string; evseId: number }) => placeOf(stationId, evseId);
  const unreachable = new Set(
    evses.flatMap(({ station_id, evse_id, unreachable_until_ms }) =>
      unreachable_until_ms > nowMs ? [placeOf(station_id, evse_id)] : [],
    ),
  );
  const uncontrolled = new Set(
    site.evses
      .filter(({ uncontrolledPowerW }) => uncontrolledPowerW !== undefined)
      .map((evse) => keyOf(evse)),
  );
  const places = new Map(site.evses.map((evse): [string, Planned[]] => [keyOf(evse), []]));
  /** What chargers may be holding for vehicles that are not planned, W. */
  const heldW = new Map<string, number>();
  const hold = (place: string, plan: InstalledPlan) =>
    heldW.set(place, Math.max(heldW.get(place) ?? 0, highestFromW(plan, nowMs)));
  for (const { plan, place } of leftovers) hold(place, plan);
  for (const kept of sessions) {
    const { session, progress, row } = kept;
    const { sessionId } = session;
    const place = places.get(keyOf(session));
    if (place === undefined) {
      tell("EVSE_GONE", sessionId, "the site has no such EVSE any more: its vehicle is not planned");
      continue;
    }
    if (uncontrolled.has(keyOf(session))) {
      tell(
        "EVSE_UNCONTROLLED",
        sessionId,
        "its EVSE can't be controlled any more: its vehicle is not planned",
      );
      continue;
    }
    const reason = leftOut.get(sessionId);
    if (reason !== undefined) {
      tell("SESSION_LEFT_OUT", sessionId, `can't be planned, and the others are without it: ${reason}`);
      if (kept.allowed !== undefined) hold(keyOf(session), kept.allowed);
      continue;
    }
    const now = needNow(kept, nowMs);
    const departureMs = session.departureTime?.getTime() ?? Number.POSITIVE_INFINITY;
    if (departureMs <= nowMs) {
      now.departureTime = new Date(nowMs + OVERSTAY_MS);
      tell("DEPARTURE_PASSED", sessionId, "should have left and has not: it is planned for one more hour");
    }
    const arrivalMs = session.arrivalTime?.getTime() ?? row.put_ms;
    const measuredMs = progress.meteredMs ?? Math.max(row.put_ms, arrivalMs);
    if (arrivalMs < nowMs && nowMs - measuredMs > FRESH_MS)
      tell(
        "PROGRESS_ESTIMATED",
        sessionId,
        `what it has drawn is taken from its plan for the last ${Math.round((nowMs - measuredMs) / 60_000)} minutes`,
      );
    if (isAsleep(progress, nowMs))
      tell(
        "VEHICLE_ASLEEP",
        sessionId,
        "has long taken nothing of what it may: it has the least until it wakes",
      );
    const beginMs = arrivalMs <= nowMs + MOMENT_MS ? nowMs : arrivalMs;
    place.push({ kept, session: now, beginMs, arrivalMs });
  }
  const planned = site.evses.flatMap((evse) =>
    oneByOne(places.get(keyOf(evse)) ?? [], evse.fallbackPowerW ?? 0, tell),
  );
  // What a charger was told to take out of a vehicle before it was put as one that can't.
  const canGive = new Map(site.evses.map((evse) => [keyOf(evse), evse.maxDischargePowerW > 0]));
  for (const one of planned) {
    const { allowed } = one.kept;
    const powers = allowed?.powerW;
    if (allowed === undefined || powers === undefined || canGive.get(keyOf(one.session))) continue;
    if (powers.values.every((powerW) => powerW >= 0)) continue;
    const powerW = { ...powers, values: powers.values.map((value) => Math.max(0, value)) };
    one.kept = { ...one.kept, allowed: { ...allowed, powerW }, isUntold: true };
  }
  const made = {
    ...site,
    evses: site.evses.map((evse) => {
      const key = keyOf(evse);
      const leftW = heldW.get(key) ?? 0;
      const isHolding = planned.some(
        ({ kept, session }) => kept.allowed !== undefined && keyOf(session) === key,
      );
      const anyoneW = leftW > 0 ? Math.max(leftW, evse.fallbackPowerW ?? 0) : evse.fallbackPowerW;
      // What it was last told goes on. Where it was told nothing, nobody knows what it allows.
      if (unreachable.has(key))
        return { ...evse, isOffline: true, fallbackPowerW: anyoneW ?? (isHolding ? 0 : undefined) };
      return { ...evse, fallbackPowerW: anyoneW };
    }),
  };
  const request: OptimizeRequest = {
    site: made,
    sessions: planned.map(({ session }) => session),
    startTime: new Date(nowMs),
    endTime: undefined,
    slotSeconds: settings.slotSeconds || DEFAULT_SLOT_SECONDS,
    objective: settings.objective,
    installedPlans: planned.flatMap(({ kept: { allowed } }) =>
      allowed === undefined ? [] : begunBy(allowed, nowMs),
    ),
    options: settings.options,
    withFallbackProfiles: false,
  };
  return { request, sessions: planned.map(({ kept }) => kept), notices };
}

/**
 * The vehicles of an EVSE so that there is one at a time: each has left when the next one comes. Of those that come at
 * once one is there: one with a transaction, else the last to arrive, else the last that was put. What its charger may
 * hold for the others counts for it, and it has to be told its own.
 */
function oneByOne(
  place: readonly Planned[],
  fallbackPowerW: number,
  tell: (code: string, sessionId: string, message: string) => void,
): Planned[] {
  const order = [...place].sort(
    (a, b) =>
      a.beginMs - b.beginMs ||
      Number(a.session.transactionId !== "") - Number(b.session.transactionId !== "") ||
      a.arrivalMs - b.arrivalMs ||
      a.kept.row.put_ms - b.kept.row.put_ms ||
      (a.session.sessionId < b.session.sessionId ? -1 : 1),
  );
  const planned: Planned[] = [];
  order.forEach((one, n) => {
    const next = order[n + 1];
    const { sessionId } = one.session;
    if (next === undefined) planned.push(one);
    else if (next.beginMs - one.beginMs < MOMENT_MS) {
      tell("PLACE_TAKEN", sessionId, `${next.session.sessionId} is at its EVSE: it is not planned`);
      const { ofTransaction } = one.kept;
      if (ofTransaction === undefined) return;
      const both = higherOf(next.kept.allowed ?? fallbackPowerW, ofTransaction);
      const held =
        next.kept.ofTransaction === undefined
          ? ofTransaction
          : higherOf(next.kept.ofTransaction, ofTransaction);
      const allowed = { ...both, sessionId: next.session.sessionId };
      next.kept = { ...next.kept, allowed, ofTransaction: held, isUntold: true };
    } else {
      if (next.beginMs < (one.session.departureTime?.getTime() ?? Number.POSITIVE_INFINITY)) {
        one.session.departureTime = new Date(next.beginMs);
        tell("DEPARTURE_CUT", sessionId, "the next vehicle is expected at its EVSE before it leaves");
      }
      planned.push(one);
    }
  });
  return planned;
}

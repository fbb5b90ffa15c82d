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
import type { CommandRow, EvseRow, SessionRow, SiteInputs } from "../store/store.ts";
import { seriesName, withSeries } from "./kept-series.ts";
import { drawnWh, higherOf, highestFromW, isAsleep, type Progress, remaining } from "./progress.ts";

/** Measurements older than this are told of in a notice. */
const FRESH_MS = 5 * 60_000;
const DEFAULT_SLOT_SECONDS = 900;
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
  /** What was sent last may not have reached its charger: it has to be told again. */
  isUntold: boolean;
}

/** A site's inputs, read. */
export interface KeptSite {
  site: Site;
  settings: PlanSettings;
  sessions: KeptSession[];
  evses: EvseRow[];
  /** What chargers may go on to allow anyone, once they were told so for a vehicle that has left. */
  leftovers: Held[];
}

/** A profile that a charger may be holding. */
interface Held {
  stationId: string;
  evseId: number;
  sessionId: string;
  plan: InstalledPlan;
  /** It does not end with its transaction. */
  isForAll: boolean;
  isAccepted: boolean;
  hasFailed: boolean;
}

export function readKept({ site: row, series, sessions, evses, unsure }: SiteInputs): KeptSite {
  const kept = series.map(({ series_key, series: bytes }) => ({
    ...seriesName(series_key),
    values: TimeSeries.decode(bytes),
  }));
  const site = withSeries(Site.decode(row.site), kept);
  const held = [...evses.filter(({ installed }) => installed.length > 0), ...unsure].map(heldOf);
  const goesOn = new Set(sessions.map(({ session_id }) => session_id));
  return {
    site,
    settings: PlanSettings.decode(row.settings),
    evses,
    leftovers: held.filter(({ isForAll, sessionId }) => isForAll && !goesOn.has(sessionId)),
    sessions: sessions.map((one) => {
      const here = held.filter(
        ({ stationId, evseId, sessionId, isForAll }) =>
          stationId === one.station_id &&
          evseId === one.evse_id &&
          (sessionId === one.session_id || isForAll),
      );
      const own = here.filter(({ sessionId }) => sessionId === one.session_id);
      const accepted = own.find(({ isAccepted }) => isAccepted)?.plan;
      const place = site.evses.find((of) => of.stationId === one.station_id && of.evseId === one.evse_id);
      let allowed = accepted;
      for (const { plan } of here)
        if (plan !== accepted)
          allowed = {
            ...higherOf(allowed ?? place?.fallbackPowerW ?? 0, plan),
            sessionId: one.session_id,
          };
      return {
        row: one,
        session: Session.decode(one.session),
        progress: JSON.parse(one.progress) as Progress,
        efficiency: place?.efficiency ?? (place?.supply === Supply.DC ? 0.95 : 0.9),
        accepted,
        allowed,
        isUntold: own.at(-1)?.hasFailed === true,
      };
    }),
  };
}

function heldOf(row: EvseRow | CommandRow): Held {
  const profile = ProfileCommand.decode(row.command).chargingProfile;
  return {
    stationId: row.station_id,
    evseId: row.evse_id,
    sessionId: row.session_id,
    plan: InstalledPlan.decode(row.installed),
    isForAll: profile?.chargingProfilePurpose === ChargingProfilePurpose.TX_DEFAULT_PROFILE,
    isAccepted: !("state" in row),
    hasFailed: "state" in row && row.state === "no_answer",
  };
}

/** Energy that a vehicle has drawn since the beginning of its stay, metered or taken from its plan, Wh. */
export function drawnBy({ row, session, progress, accepted }: KeptSession, nowMs: number): number {
  const arrivalMs = session.arrivalTime?.getTime() ?? row.put_ms;
  return drawnWh(progress, { putMs: row.put_ms, arrivalMs, allowed: accepted }, nowMs);
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
  const { need } = now;
  const remainingEnergyWh =
    need?.$case === "energyWh"
      ? need.value
      : need?.$case === "stateOfCharge"
        ? (Math.max(
            0,
            (need.value.targetSocPercent ?? need.value.fullSocPercent ?? 100) - need.value.socPercent,
          ) *
            need.value.batteryCapacityWh) /
          (100 * kept.efficiency)
        : 0;
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

/**
 * The request that a site's plan is made of at an instant, and what is assumed in it. What would make it one that
 * can't be planned is made good: a vehicle that should have left stays on, one whose EVSE is gone is left out.
 */
export function requestOf(
  { site, settings, sessions, evses, leftovers }: KeptSite,
  nowMs: number,
): { request: OptimizeRequest; sessions: KeptSession[]; notices: Notice[] } {
  const notices: Notice[] = [];
  const tell = (code: string, sessionId: string, message: string) =>
    notices.push({ code, field: `sessions[${sessionId}]`, message });
  const unreachable = new Set(
    evses.flatMap(({ station_id, evse_id, unreachable_until_ms }) =>
      unreachable_until_ms > nowMs ? [JSON.stringify([station_id, evse_id])] : [],
    ),
  );
  const keyOf = ({ stationId, evseId }: { stationId: string; evseId: number }) =>
    JSON.stringify([stationId, evseId]);
  const places = new Set(site.evses.map(keyOf));
  const planned: { kept: KeptSession; session: Session; arrivalMs: number; departureMs: number }[] = [];
  for (const kept of sessions) {
    const { session, progress, row } = kept;
    const { sessionId } = session;
    if (!places.has(keyOf(session))) {
      tell("EVSE_GONE", sessionId, "the site has no such EVSE any more: its vehicle is not planned");
      continue;
    }
    const now = needNow(kept, nowMs);
    const departureMs = session.departureTime?.getTime() ?? Number.POSITIVE_INFINITY;
    if (departureMs <= nowMs) {
      now.departureTime = new Date(nowMs + OVERSTAY_MS);
      tell("DEPARTURE_PASSED", sessionId, "should have left and has not: it is planned for one more hour");
    }
    const arrivalMs = session.arrivalTime?.getTime() ?? Number.NEGATIVE_INFINITY;
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
    planned.push({ kept, session: now, arrivalMs, departureMs: now.departureTime?.getTime() ?? departureMs });
  }
  // One vehicle at a time: who is there has left when the next one is expected.
  for (const one of planned)
    for (const next of planned) {
      if (next === one || keyOf(next.session) !== keyOf(one.session)) continue;
      if (next.arrivalMs <= one.arrivalMs || next.arrivalMs <= nowMs || next.arrivalMs >= one.departureMs)
        continue;
      one.session.departureTime = new Date(next.arrivalMs);
      one.departureMs = next.arrivalMs;
      tell(
        "DEPARTURE_CUT",
        one.session.sessionId,
        "the next vehicle is expected at its EVSE before it leaves",
      );
    }
  const holds = new Set(
    planned.flatMap(({ kept, session }) => (kept.allowed === undefined ? [] : keyOf(session))),
  );
  const made = {
    ...site,
    evses: site.evses.map((evse) => {
      const key = keyOf(evse);
      const leftW = Math.max(
        0,
        ...leftovers.filter((one) => keyOf(one) === key).map(({ plan }) => highestFromW(plan, nowMs)),
      );
      const anyoneW = leftW > 0 ? Math.max(leftW, evse.fallbackPowerW ?? 0) : evse.fallbackPowerW;
      if (!unreachable.has(key)) return { ...evse, fallbackPowerW: anyoneW };
      // What it was last told goes on. Where it was told nothing, nobody knows what it allows.
      return { ...evse, isOffline: true, fallbackPowerW: anyoneW ?? (holds.has(key) ? 0 : undefined) };
    }),
  };
  const request: OptimizeRequest = {
    site: made,
    sessions: planned.map(({ session }) => session),
    startTime: new Date(nowMs),
    endTime: undefined,
    slotSeconds: settings.slotSeconds || DEFAULT_SLOT_SECONDS,
    objective: settings.objective,
    installedPlans: planned.flatMap(({ kept: { allowed } }) => allowed ?? []),
    options: settings.options,
    withFallbackProfiles: false,
  };
  return { request, sessions: planned.map(({ kept }) => kept), notices };
}

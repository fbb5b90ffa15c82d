import { checkFallback, type Excess } from "./domain/check.ts";
import { WattslotError } from "./domain/errors.ts";
import { canBeTold, fallbackLevels, lastKnownMs, rangeOf } from "./domain/fallback.ts";
import type { ChargingProfile, FallbackProfile, ProfileCommand } from "./domain/plan.ts";
import type { Circuit, Evse, Notice, Problem } from "./domain/problem.ts";
import { rangeOver } from "./domain/series.ts";
import { voltagesOf } from "./domain/wiring.ts";
import { expand, expandMaximum } from "./ocpp/expand.ts";
import { toFallbackProfile, toStationProfile } from "./ocpp/fallback.ts";
import { toPayload } from "./ocpp/payload.ts";

/** What to install for the time without a connection. With excesses nothing may be sent, and there are no profiles. */
export interface Fallback {
  profiles: FallbackProfile[];
  notices: Notice[];
  excesses: Excess[];
}

/**
 * A TxDefaultProfile for each EVSE that can be told one, such that all together keep every limit, and a maximum for
 * each of their stations. All are read back, and what they then allow is checked, before any goes out.
 */
export function fallbackProfiles(problem: Problem): Fallback {
  const { site } = problem;
  const { levelsW, overLimit } = fallbackLevels(problem);
  const notices = overLimit.map((e) => ({
    code: "FALLBACK_OVER_LIMIT",
    field: `site.evses[${e}]`,
    message:
      `station ${site.evses[e].stationId} rejects a limit of 0: its least limit, with those of others and the highest ` +
      "base load, is over the limit of a circuit, and no fallback can lower it",
  }));
  const profiles: FallbackProfile[] = [];
  const readBackW = levelsW.slice();
  const voltages = voltagesOf(site);
  try {
    for (const [e, levelW] of levelsW.entries()) {
      const evse = site.evses[e];
      if (levelW === undefined) continue;
      const profile = toFallbackProfile(problem, e, levelW);
      const inTheWay = whyNot(problem, e, profile, levelW);
      if (inTheWay !== undefined) {
        notices.push({ code: "FALLBACK_LEFT_OUT", field: `site.evses[${e}]`, message: inTheWay });
        continue;
      }
      const command = commandOf(profile, evse);
      const steps = expand(command.payloadJson, evse, voltages[evse.circuit]);
      readBackW[e] = Math.max(...steps.map(({ powerW }) => powerW));
      profiles.push({ stationId: evse.stationId, evseId: evse.evseId, command, powerW: readBackW[e] });
    }
    const rooms = highestRooms(problem);
    for (const members of stationsOf(problem)) {
      const evses = members.map((e) => site.evses[e]);
      const [first] = evses;
      const powerW = stationMostW(problem, members, rooms);
      const profile = toStationProfile(problem, members, powerW);
      if (isIdTaken(problem, first.stationId, profile.id)) continue;
      const command = commandOf(profile, first);
      expandMaximum(command.payloadJson, evses, voltages[first.circuit]);
      profiles.push({ stationId: first.stationId, evseId: 0, command, powerW });
    }
  } catch (error) {
    const { message } = WattslotError.from(error);
    const limit = `fallback: ${message}`;
    const atMs = problem.slotStartsMs[0];
    return { profiles: [], notices, excesses: [{ limit, atMs, value: Number.NaN, allowed: 0, unit: "W" }] };
  }
  const excesses = checkFallback(problem, readBackW);
  return { profiles: excesses.length > 0 ? [] : profiles, notices, excesses };
}

function commandOf(profile: ChargingProfile, evse: Evse): ProfileCommand {
  return {
    ocppVersion: evse.ocpp.version,
    action: "SetChargingProfile",
    payloadJson: toPayload(profile, evse),
    pushWave: 1,
    chargingProfile: profile,
  };
}

/** What stands against installing a fallback; undefined: nothing. */
function whyNot(problem: Problem, e: number, { id }: ChargingProfile, levelW: number): string | undefined {
  const { stationId, ocpp } = problem.site.evses[e];
  const startMs = problem.slotStartsMs[0];
  const here = problem.sessions.find(
    ({ evse, arrivalMs, departureMs }) => evse === e && arrivalMs <= startMs && departureMs > startMs,
  );
  if (here !== undefined && (here.transactionId === "" || ocpp.prefersTxDefaultProfile))
    return `the plan of session ${here.sessionId} is this EVSE's TxDefaultProfile, which ends at its safe limit and stays: ask again when the vehicle has left`;
  if (isIdTaken(problem, stationId, id))
    return `its id, ${id}, is that of an installed plan at station ${stationId}, which it would replace`;
  if (levelW === 0 && ocpp.rejectsZeroLimit) return "it rejects a limit of 0, and its limits leave no other";
  return undefined;
}

function isIdTaken({ site, sessions }: Problem, stationId: string, id: number): boolean {
  return sessions.some(
    ({ evse, installed }) => site.evses[evse].stationId === stationId && installed?.chargingProfileId === id,
  );
}

/** The EVSEs of each station that can be told something, in the order of the request. */
function stationsOf({ site: { evses } }: Problem): number[][] {
  const stations = new Map<string, number[]>();
  evses.forEach(({ stationId }, e) => {
    const known = stations.get(stationId);
    if (known === undefined) stations.set(stationId, [e]);
    else known.push(e);
  });
  return [...stations.values()].filter(
    (members) => members.some((e) => canBeTold(evses[e])) && members.every((e) => !evses[e].isOffline),
  );
}

/** The most that EVSEs could draw by themselves, W: what they take, and the limits above them when those are highest. */
function stationMostW(problem: Problem, members: readonly number[], rooms: Float64Array): number {
  const { circuits, evses } = problem.site;
  const belowW = new Float64Array(circuits.length);
  let leastW = 0;
  for (const e of members) {
    const { circuit, uncontrolledPowerW } = evses[e];
    const { maxPowerW, floorPowerW } = rangeOf(problem, e);
    belowW[circuit] += uncontrolledPowerW ?? maxPowerW;
    leastW += uncontrolledPowerW ?? floorPowerW;
  }
  for (let c = circuits.length - 1; c >= 0; c--) {
    belowW[c] = Math.min(belowW[c], rooms[c]);
    if (c > 0) belowW[circuits[c].parent] += belowW[c];
  }
  // What no plan can take away the maximum must not either.
  return Math.max(belowW[0], leastW);
}

/** What each circuit's limits leave at the most over its base load, W; Infinity where it has none. */
function highestRooms(problem: Problem): Float64Array {
  const { circuits } = problem.site;
  const [fromMs, toMs] = [problem.slotStartsMs[0], lastKnownMs(problem)];
  const voltages = voltagesOf(problem.site);
  const baseW = Float64Array.from(circuits, ({ baseLoadW, baseLoadA }: Circuit, c) => {
    if (baseLoadW !== undefined) return rangeOver(baseLoadW, fromMs, toMs).min;
    const leastA = baseLoadA.map((series) =>
      series === undefined ? 0 : rangeOver(series, fromMs, toMs).min,
    );
    return (leastA[0] + leastA[1] + leastA[2]) * voltages[c];
  });
  for (let c = circuits.length - 1; c > 0; c--) baseW[circuits[c].parent] += baseW[c];
  return Float64Array.from(circuits, ({ maxPowerW, maxCurrentA, maxPowerSeriesW }, c) => {
    const overTimeW =
      maxPowerSeriesW === undefined ? Number.POSITIVE_INFINITY : rangeOver(maxPowerSeriesW, fromMs, toMs).max;
    return Math.max(0, Math.min(maxPowerW, overTimeW, maxCurrentA * 3 * voltages[c]) - baseW[c]);
  });
}

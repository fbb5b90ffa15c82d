import { DateTime } from "luxon";
import { HOUR_MS } from "../domain/charging.ts";
import { type Chance, chanceOf } from "./random.ts";

/** A bell curve cut off at its bounds. */
export interface Distribution {
  mean: number;
  sd: number;
  min: number;
  max: number;
}

/** Vehicles that come on their own: each of them, on each of the weekdays, with a chance. */
export interface Group {
  name: string;
  /** 1 Monday .. 7 Sunday. */
  weekdays: number[];
  vehicles: number;
  /** That one of them comes on such a day, 0 to 1. */
  chance: number;
  /** Minutes after the local midnight. */
  arrivalMinute: Distribution;
  stayHours: Distribution;
  /** Wanted at the meter. */
  energyKwh: Distribution;
  /** Standard deviation of what drivers are wrong by about their departure, h, and their energy, as a share. */
  saidStaySdHours: number;
  saidEnergySd: number;
}

/** Vehicles that have a charger each and drive at fixed times. */
export interface Fleet {
  name: string;
  vehicles: number;
  trips: Trip[];
}

/** A round trip. A return at or before the start is on the next day. */
export interface Trip {
  weekdays: number[];
  leaveMinute: number;
  returnMinute: number;
  /** By how much a return is early or late. */
  returnSdMinutes: number;
  /** Charged again after it, at the meter. */
  energyKwh: Distribution;
}

export interface Generation {
  seed: number;
  groups: Group[];
  fleets: Fleet[];
}

/** A visit before it has a charger. Times are on whole seconds, energies in steps of 10 Wh. */
export interface GeneratedVisit {
  sessionId: string;
  /** Index of its group; the fleets come after the groups. */
  kind: number;
  arrivalMs: number;
  departureMs: number;
  saidDepartureMs: number;
  energyWh: number;
  saidEnergyWh: number;
}

const MINUTE_MS = 60_000;
/** A vehicle that is there for less is not charged. */
const SHORTEST_STAY_MS = 5 * MINUTE_MS;
/** Days after the end on which a trip is looked for that ends the last stay. */
const DAYS_AFTER = 7;

/**
 * Visits that begin in a span of time, by arrival; the same for the same seed on every machine. Times of day are
 * on the wall clock of the zone. A fleet's vehicles begin with their first return.
 */
export function generateVisits(
  { seed, groups, fleets }: Generation,
  { startMs, endMs, timeZone }: { startMs: number; endMs: number; timeZone: string },
): GeneratedVisit[] {
  const visits: GeneratedVisit[] = [];
  const first = DateTime.fromMillis(startMs, { zone: timeZone }).startOf("day");
  const days: DateTime[] = [];
  for (let n = -1; ; n++) {
    const day = first.plus({ days: n });
    if (day.toMillis() >= endMs + DAYS_AFTER * 24 * HOUR_MS) break;
    days.push(day);
  }
  groups.forEach((group, g) => {
    const chance = chanceOf(seed + 1000 * g);
    for (const day of days) {
      if (!group.weekdays.includes(day.weekday)) continue;
      for (let v = 0; v < group.vehicles; v++) {
        if (chance.uniform() >= group.chance) continue;
        const sessionId = `${group.name}-${day.toFormat("MMdd")}-${v + 1}`;
        visits.push(visitOf(group, chance, atMinute(day, draw(chance, group.arrivalMinute)), sessionId, g));
      }
    }
  });
  fleets.forEach((fleet, f) => {
    for (let v = 0; v < fleet.vehicles; v++) {
      const chance = chanceOf(seed + 1000 * (groups.length + f) + 7 * v + 1);
      visits.push(...staysOf(fleet, v, days, chance, groups.length + f));
    }
  });
  return visits
    .filter(({ arrivalMs }) => arrivalMs >= startMs && arrivalMs < endMs)
    .sort((a, b) => a.arrivalMs - b.arrivalMs || (a.sessionId < b.sessionId ? -1 : 1));
}

function visitOf(
  group: Group,
  chance: Chance,
  arrivalMs: number,
  sessionId: string,
  kind: number,
): GeneratedVisit {
  const stayMs = Math.max(SHORTEST_STAY_MS, seconds(draw(chance, group.stayHours) * HOUR_MS));
  const wrongMs = seconds(chance.normal() * group.saidStaySdHours * HOUR_MS);
  const energyWh = tens(draw(chance, group.energyKwh) * 1000);
  const wrong = 1 + chance.normal() * group.saidEnergySd;
  return {
    sessionId,
    kind,
    arrivalMs,
    departureMs: arrivalMs + stayMs,
    saidDepartureMs: arrivalMs + Math.max(SHORTEST_STAY_MS, stayMs + wrongMs),
    energyWh,
    saidEnergyWh: group.saidEnergySd === 0 ? energyWh : tens(Math.max(0, energyWh * wrong)),
  };
}

/** What one vehicle of a fleet does between its trips. */
function staysOf(
  { name, trips }: Fleet,
  v: number,
  days: DateTime[],
  chance: Chance,
  kind: number,
): GeneratedVisit[] {
  const driven = days
    .flatMap((day) =>
      trips
        .filter(({ weekdays }) => weekdays.includes(day.weekday))
        .map((trip) => {
          const leaveMs = atMinute(day, trip.leaveMinute);
          const home = trip.returnMinute > trip.leaveMinute ? day : day.plus({ days: 1 });
          const lateMinutes = chance.normal() * trip.returnSdMinutes;
          return {
            leaveMs,
            returnMs: Math.max(leaveMs + MINUTE_MS, atMinute(home, trip.returnMinute + lateMinutes)),
            energyWh: tens(draw(chance, trip.energyKwh) * 1000),
          };
        }),
    )
    .sort((a, b) => a.leaveMs - b.leaveMs);
  return driven.slice(0, -1).flatMap(({ returnMs, energyWh }, n) => {
    const departureMs = driven[n + 1].leaveMs;
    if (departureMs - returnMs < SHORTEST_STAY_MS) return [];
    return [
      {
        sessionId: `${name}-${v + 1}-${n + 1}`,
        kind,
        arrivalMs: returnMs,
        departureMs,
        saidDepartureMs: departureMs,
        energyWh,
        saidEnergyWh: energyWh,
      },
    ];
  });
}

function draw(chance: Chance, { mean, sd, min, max }: Distribution): number {
  return Math.min(max, Math.max(min, mean + sd * chance.normal()));
}

/** On the wall clock: 8:00 is 8:00 on days with a missing or doubled hour, too. */
function atMinute(day: DateTime, minute: number): number {
  const days = Math.floor(minute / 1440);
  const left = minute - 1440 * days;
  const at = day.plus({ days }).set({
    hour: Math.floor(left / 60),
    minute: Math.floor(left % 60),
    second: Math.floor((left * 60) % 60),
  });
  return at.toMillis();
}

function seconds(ms: number): number {
  return Math.round(ms / 1000) * 1000;
}

function tens(wh: number): number {
  return Math.round(wh / 10) * 10;
}

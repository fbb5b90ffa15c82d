import { IANAZone } from "luxon";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** More than any site's horizon in any number of zones needs; beyond it, what is known is forgotten. */
const MOST_DAYS = 20_000;

/** Offsets at the beginnings of UTC days by zone, minutes. */
const offsets = new Map<string, Map<number, number>>();
let dayCount = 0;

/**
 * An instant on the wall clock of an IANA zone: a date whose UTC fields are the local ones, invalid where there is no
 * such zone. An offset is looked up twice a day rather than for each time, as the look-up takes a thousand times
 * as long; it changes at most once in a day.
 */
export function wallClock(timeZone: string, atMs: number): Date {
  if (timeZone === "UTC") return new Date(atMs);
  const dayMs = Math.floor(atMs / DAY_MS) * DAY_MS;
  const offset = offsetAt(timeZone, dayMs);
  const isChanging = offset !== offsetAt(timeZone, dayMs + DAY_MS);
  return new Date(atMs + (isChanging ? IANAZone.create(timeZone).offset(atMs) : offset) * MINUTE_MS);
}

function offsetAt(timeZone: string, dayMs: number): number {
  let days = offsets.get(timeZone);
  const known = days?.get(dayMs);
  if (known !== undefined) return known;
  if (dayCount >= MOST_DAYS) {
    offsets.clear();
    days = undefined;
    dayCount = 0;
  }
  if (days === undefined) {
    days = new Map();
    offsets.set(timeZone, days);
  }
  const offset = IANAZone.create(timeZone).offset(dayMs);
  days.set(dayMs, offset);
  dayCount++;
  return offset;
}

/** Zones that have been asked for, as the look-up takes longer than all else in a small site. */
const validity = new Map<string, boolean>();
const MOST_ZONES = 1000;

/** Whether there is an IANA zone of this name. */
export function isZone(timeZone: string): boolean {
  const known = validity.get(timeZone);
  if (known !== undefined) return known;
  if (validity.size >= MOST_ZONES) validity.clear();
  const isValid = timeZone === "UTC" || IANAZone.isValidZone(timeZone);
  validity.set(timeZone, isValid);
  return isValid;
}

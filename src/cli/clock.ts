import { DateTime } from "luxon";

const TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?$/;
const MINUTE_MS = 60_000;
const QUARTER_MS = 15 * MINUTE_MS;

/** Reads times in a zone. */
export interface Clock {
  /**
   * Epoch ms of `2026-03-29`, `2026-03-29 02:30` or `2026-03-29T02:30:00+01:00`; without an offset on the wall clock
   * of the zone, of a doubled hour the first. A text says what is wrong.
   */
  read(text: string): number | string;
  /** The same time on the wall clock in a doubled hour's second; itself where the hour is single. */
  later(atMs: number): number;
}

export function clockOf(timeZone: string): Clock {
  // Offsets of the world's zones change on quarters of an hour.
  const offsets = new Map<number, number | undefined>();
  const offsetMs = (wallMs: number): number | undefined => {
    const quarter = Math.floor(wallMs / QUARTER_MS);
    if (offsets.has(quarter)) return offsets.get(quarter);
    const wall = new Date(quarter * QUARTER_MS);
    const local = DateTime.fromObject(
      {
        year: wall.getUTCFullYear(),
        month: wall.getUTCMonth() + 1,
        day: wall.getUTCDate(),
        hour: wall.getUTCHours(),
        minute: wall.getUTCMinutes(),
      },
      { zone: timeZone },
    );
    const isThere = local.hour === wall.getUTCHours() && local.minute === wall.getUTCMinutes();
    const first = isThere ? Math.max(...local.getPossibleOffsets().map((one) => one.offset)) : undefined;
    const ms = first === undefined ? undefined : first * MINUTE_MS;
    offsets.set(quarter, ms);
    return ms;
  };
  return {
    read(text) {
      const [, year, month, day, hour = "0", minute = "0", second = "0", offset] =
        TIME.exec(text.trim()) ?? [];
      const wall = new Date(
        Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)),
      );
      const isReal =
        wall.getUTCMonth() === Number(month) - 1 &&
        wall.getUTCDate() === Number(day) &&
        wall.getUTCHours() === Number(hour) &&
        Number(minute) < 60 &&
        Number(second) < 60;
      if (!isReal)
        return `${JSON.stringify(text.slice(0, 40))} is no time: write 2026-03-02 08:30, with an offset such as +01:00 where it is not ${timeZone}'s`;
      if (offset !== undefined) return wall.getTime() - explicitMs(offset);
      const ms = offsetMs(wall.getTime());
      if (ms !== undefined) return wall.getTime() - ms;
      return `${JSON.stringify(text)} does not exist in ${timeZone}, where the clock is put forward then: give an offset such as +01:00`;
    },
    later(atMs) {
      const possible = DateTime.fromMillis(atMs, { zone: timeZone }).getPossibleOffsets();
      return Math.max(...possible.map((one) => one.toMillis()));
    },
  };
}

function explicitMs(offset: string): number {
  if (/^[ZU]/.test(offset)) return 0;
  const [, sign, hours, minutes = "0"] = /^([+-])(\d\d):?(\d\d)?$/.exec(offset) ?? [];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * MINUTE_MS;
}

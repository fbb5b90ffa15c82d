import { resolve } from "node:path";
import { DateTime } from "luxon";
import { HOUR_MS } from "../domain/charging.ts";
import type { Clock } from "./clock.ts";
import { numberIn, readCsv } from "./csv.ts";
import { type Document, type Fields, isFields, nameOf, type Path, type Value } from "./document.ts";
import type { Mistakes } from "./mistakes.ts";

/** Where and when a scenario's series are read. */
export interface SeriesContext {
  document: Document;
  mistakes: Mistakes;
  /** Files are named from here. */
  folder: string;
  clock: Clock;
  timeZone: string;
  startMs: number;
  /** Of the scenario, and of the last plan that is made in it: forecasts go on behind the end. */
  endMs: number;
  lastMs: number;
}

const UNITS: Readonly<Record<string, number>> = {
  W: 1,
  kW: 1e3,
  MW: 1e6,
  A: 1,
  "/kWh": 1,
  "/MWh": 1e-3,
  "ct/kWh": 1e-2,
  "g/kWh": 1,
};
const QUARTER_MS = HOUR_MS / 4;
const SERIES = /^(pvPowerW|baseLoadW|maxPowerSeriesW|currentA|pricePerKwh|exportPricePerKwh|carbonGPerKwh)$/;

/**
 * Writes the short forms of a site's time series out as the contract has them: a number; `{ daily }`, `{ daily,
 * weekend }` or `{ weekly }` values on the site's wall clock; a column of a file. Returns the site with them.
 */
export async function withSeries(site: Fields, path: Path, context: SeriesContext): Promise<Fields> {
  const written: Fields = {};
  for (const [key, value] of Object.entries(site)) {
    const at = [...path, key];
    const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    // The price of a time-of-use rule is a number like any other.
    const isSeries = SERIES.test(name) && !path.includes("timeOfUse") && !path.includes("discharge");
    if (isSeries) written[key] = await seriesOf(value, at, context);
    else if (Array.isArray(value)) {
      written[key] = [];
      for (const [n, one] of value.entries())
        (written[key] as Value[]).push(isFields(one) ? await withSeries(one, [...at, n], context) : one);
    } else written[key] = isFields(value) ? await withSeries(value, at, context) : value;
  }
  return written;
}

async function seriesOf(value: Value, path: Path, context: SeriesContext): Promise<Value> {
  if (typeof value === "number") return written(context.startMs, 3600, [value]);
  if (!isFields(value)) return value;
  if (value.daily !== undefined || value.weekly !== undefined) return patternOf(value, path, context);
  return value.file === undefined ? value : fileOf(value, path, context);
}

function written(startMs: number, stepSeconds: number, values: number[]): Fields {
  return { startTime: new Date(startMs).toISOString(), stepSeconds, values };
}

/** Values of a day or a week, repeated on the wall clock: a day of 23 or 25 hours has its hours right. */
function patternOf(
  { scale = 1, ...pattern }: Fields,
  path: Path,
  { document, mistakes, timeZone, startMs, lastMs }: SeriesContext,
): Value {
  const wrong = (key: string, description: string): Value => {
    const at = [...path, key];
    mistakes.add(document.file, document.lineOf(at), `${nameOf(at)}: ${description}`);
    return null;
  };
  for (const key of Object.keys(pattern))
    if (!["daily", "weekend", "weekly"].includes(key))
      return wrong(key, "is not a field of a pattern, which has daily and weekend, or weekly, and scale");
  if (typeof scale !== "number") return wrong("scale", "must be a number");
  const read = (key: string, days: number): number[] | undefined => {
    const values = pattern[key];
    if (!Array.isArray(values) || !values.every((one) => typeof one === "number")) return undefined;
    return [24, 48, 96].includes(values.length / days) ? (values as number[]) : undefined;
  };
  const must = "must be a list of 24, 48 or 96 numbers from midnight on";
  const daily = read("daily", 1);
  const weekend = pattern.weekend === undefined ? daily : read("weekend", 1);
  const weekly = read("weekly", 7);
  if (pattern.weekly !== undefined) {
    if (weekly === undefined)
      return wrong("weekly", `${must.replace(/24.*96/, "7 x 24, 48 or 96")} of Monday`);
  } else if (daily === undefined) return wrong("daily", must);
  else if (weekend === undefined) return wrong("weekend", must);
  const fromMs = Math.floor(startMs / QUARTER_MS) * QUARTER_MS;
  const values: number[] = [];
  for (let at = fromMs; at < lastMs; at += QUARTER_MS) {
    const { weekday, hour, minute } = DateTime.fromMillis(at, { zone: timeZone });
    const day = (weekday > 5 ? weekend : daily) ?? [];
    const share = (hour * 60 + minute) / 1440;
    const value =
      weekly === undefined
        ? day[Math.floor(share * day.length)]
        : weekly[Math.floor(((weekday - 1 + share) / 7) * weekly.length + 1e-9)];
    values.push(value * scale);
  }
  return written(fromMs, QUARTER_MS / 1000, values);
}

/** A column of a file at even steps; what lies before the start or after the last plan is left out. */
async function fileOf(value: Fields, path: Path, context: SeriesContext): Promise<Value> {
  const { document, mistakes, folder, clock, startMs, endMs, lastMs } = context;
  const wrong = (key: string, description: string): Value => {
    const at = [...path, key];
    mistakes.add(document.file, document.lineOf(at), `${nameOf(at)}: ${description}`);
    return null;
  };
  const { file, column, timeColumn = "time", unit, scale = 1, ...others } = value;
  for (const key of Object.keys(others))
    return wrong(
      key,
      "is not a field of a file's series, which has file, column, timeColumn, unit and scale",
    );
  if (typeof file !== "string") return wrong("file", "must be a path");
  if (typeof column !== "string") return wrong("column", "must be the name of the column with the values");
  if (typeof timeColumn !== "string")
    return wrong("timeColumn", "must be the name of the column with the times");
  if (typeof scale !== "number") return wrong("scale", "must be a number");
  if (unit !== undefined && (typeof unit !== "string" || !Object.hasOwn(UNITS, unit)))
    return wrong("unit", `must be one of ${Object.keys(UNITS).join(", ")}`);
  const factor = scale * (unit === undefined ? 1 : UNITS[unit as string]);
  const where = resolve(folder, file);
  const before = mistakes.count;
  const columns = [
    { column: timeColumn, setting: nameOf([...path, "timeColumn"]) },
    { column, setting: nameOf([...path, "column"]) },
  ];
  const rows: { atMs: number; value: number; line: number }[] = [];
  let lastReadMs = Number.NEGATIVE_INFINITY;
  let count = 0;
  for await (const { line, cells } of readCsv(where, columns, mistakes)) {
    let atMs = clock.read(cells[timeColumn]);
    if (typeof atMs === "number" && atMs <= lastReadMs) atMs = clock.later(atMs);
    const number = numberIn(cells[column]);
    if (typeof atMs === "string") mistakes.add(where, line, `${timeColumn}: ${atMs}`);
    else if (atMs <= lastReadMs) mistakes.add(where, line, `${timeColumn}: is not after the row before`);
    else lastReadMs = atMs;
    if (Number.isNaN(number))
      mistakes.add(where, line, `${column}: ${JSON.stringify(cells[column].slice(0, 40))} is no number`);
    if (typeof atMs === "string") continue;
    // Two rows tell the step, whatever the span.
    const isEarly = count++ > 1 && rows.length > 1 && rows[1].atMs <= startMs && atMs <= startMs;
    if (isEarly) rows.splice(0, 1);
    if (atMs < lastMs || rows.length < 2) rows.push({ atMs, value: number * factor, line });
  }
  if (mistakes.count > before) return null;
  const stepMs = rows.length > 1 ? rows[1].atMs - rows[0].atMs : HOUR_MS;
  for (let n = 1; n < rows.length; n++) {
    const gapMs = rows[n].atMs - rows[n - 1].atMs;
    if (gapMs === stepMs) continue;
    mistakes.add(
      where,
      rows[n].line,
      `${timeColumn}: comes ${gapMs / 60_000} min after the row before, the others ${stepMs / 60_000} min: fill in what is missing`,
    );
    return null;
  }
  const span = `${new Date(rows[0].atMs).toISOString()} to ${new Date(lastReadMs + stepMs).toISOString()}`;
  if (rows[0].atMs > startMs || lastReadMs + stepMs < endMs) {
    return wrong(
      "file",
      `has values from ${span}, and not for all of the scenario's time, ${new Date(startMs).toISOString()} to ${new Date(endMs).toISOString()}`,
    );
  }
  return written(
    rows[0].atMs,
    stepMs / 1000,
    rows.map((row) => row.value),
  );
}

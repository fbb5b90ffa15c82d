import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, resolve } from "node:path";
import { Ajv, type ErrorObject } from "ajv";
import { DateTime, IANAZone } from "luxon";
import { HOUR_MS } from "../domain/charging.ts";
import { WattslotError } from "../domain/errors.ts";
import type { Problem } from "../domain/problem.ts";
import { OptimizeRequest } from "../grpc/client.ts";
import { toProblem } from "../grpc/convert.ts";
import { requestFromJson } from "../grpc/json.ts";
import type { Forecast } from "../planner/forecast.ts";
import { type Distribution, generateVisits } from "../planner/generate.ts";
import type { Scenario } from "../planner/scenario.ts";
import { STRATEGY_NAMES, unknownStrategy } from "../planner/strategies.ts";
import { type Clock, clockOf } from "./clock.ts";
import {
  type Document,
  type Fields,
  isFields,
  nameOf,
  type Path,
  readDocument,
  type Value,
} from "./document.ts";
import { readInput } from "./input.ts";
import { Mistakes } from "./mistakes.ts";
import { withSeries } from "./series.ts";
import {
  COLUMNS,
  type Columns,
  fromGenerated,
  pathOf,
  place,
  type RawVisit,
  readAcnVisits,
  readCsvVisits,
} from "./visits.ts";

/** A scenario's file, read and found to have the schema's shape. */
export interface ScenarioFile {
  document: Document;
  value: Fields;
}

/** What a file makes of a scenario. */
export interface ReadScenario {
  scenario: Scenario;
  /** Names, or absolute paths of files. */
  strategies: string[];
  /** What a planner should know: sessions left out, notices of the contract's reader. */
  notes: string[];
}

type WireSession = OptimizeRequest["sessions"][number];

const MINUTE_MS = 60_000;
const DAY_MS = 24 * HOUR_MS;
/** Longest plan that the contract's reader takes at once. */
const LONGEST_PLAN_MS = 31 * DAY_MS;
const MOST_SLOTS = 8928;

const require = createRequire(import.meta.url);
const validate = new Ajv({ allErrors: true, verbose: true, strict: false }).compile(
  JSON.parse(readFileSync(require.resolve("wattslot/scenario.schema.json"), "utf8")),
);

/**
 * Reads a scenario's YAML and tests it against the published schema. Throws INVALID_ARGUMENT with every mistake as
 * `file:line: path: what is wrong`.
 */
export async function readScenarioFile(file: string): Promise<ScenarioFile> {
  const mistakes = new Mistakes();
  const document = readDocument(file, await readInput(file), mistakes);
  if (document.value === null) mistakes.throwIfAny();
  if (!validate(document.value))
    for (const error of validate.errors ?? []) noteMisfit(document, error, mistakes);
  mistakes.throwIfAny();
  return { document, value: document.value as Fields };
}

/** A scenario from a file, or from one of which a value was changed. Throws INVALID_ARGUMENT with every mistake. */
export async function readScenario({ document, value }: ScenarioFile): Promise<ReadScenario> {
  const mistakes = new Mistakes();
  const folder = document.file === "-" ? process.cwd() : dirname(document.file);
  const notes: string[] = [];
  const site = value.site as Fields;
  const timeZone = String(site.timeZone ?? site.time_zone ?? "UTC");
  if (!IANAZone.isValidZone(timeZone)) {
    mistakes.add(
      document.file,
      document.lineOf(["site", "timeZone"]),
      `site.timeZone: ${JSON.stringify(timeZone)} is no IANA zone such as Europe/Berlin`,
    );
    mistakes.throwIfAny();
  }
  const clock = clockOf(timeZone);
  const time = readTime(value.time as Fields, { document, mistakes, clock, timeZone });
  mistakes.throwIfAny();

  const strategies = ((value.strategies ?? []) as string[]).map((one, n) => {
    if (/\.[cm]?js$/.test(one)) return resolve(folder, one);
    const at = ["strategies", n];
    if (!STRATEGY_NAMES.includes(one))
      mistakes.add(document.file, document.lineOf(at), `${nameOf(at)}: ${unknownStrategy(one)}`);
    return one;
  });
  const name = String(value.name ?? basename(document.file).replace(/\.ya?ml$/, ""));
  const lastMs = time.endMs + Math.max(time.horizonMs, 7 * DAY_MS);
  const context = { document, mistakes, folder, clock, timeZone, lastMs, ...time };
  const wholeSite = withCounts({ siteId: name, ...(await withSeries(site, ["site"], context)) });
  const objective = value.objective === undefined ? {} : { objective: value.objective };
  const span = {
    startTime: new Date(time.startMs).toISOString(),
    endTime: new Date(Math.min(time.endMs, time.startMs + LONGEST_PLAN_MS)).toISOString(),
    slotSeconds: Math.max(60, time.slotMs / 1000),
  };
  const request = decode(
    { ...objective, ...span, site: wholeSite.site },
    wholeSite.origin,
    document,
    mistakes,
  );
  const base = request && readBase(request, time, wholeSite.origin, document, mistakes);
  const raw = await readVisits(value, { document, mistakes, folder, clock, timeZone, ...time });
  mistakes.throwIfAny();
  if (request?.site === undefined || base === undefined)
    throw new WattslotError("INTERNAL", "a site that can't be read has no mistake");
  const departureSdMs = Number((value.forecast as Fields | undefined)?.departureSdHours ?? 0) * HOUR_MS;
  const inside = raw.filter(({ arrivalMs }) => arrivalMs >= time.startMs && arrivalMs < time.endMs);
  if (inside.length < raw.length)
    notes.push(
      `${raw.length - inside.length} of ${raw.length} sessions begin outside the scenario's time and are left out`,
    );
  const { visits, turnedAwayWh } = place(inside, request.site, base, departureSdMs, mistakes);
  mistakes.throwIfAny();
  if (turnedAwayWh.length > 0)
    notes.push(
      `${turnedAwayWh.length} of ${inside.length} vehicles find no EVSE free and count as not served`,
    );
  notes.push(
    ...base.notices.map(({ field, message }) => `${nameOf(wholeSite.origin(pathFrom(field)))}: ${message}`),
  );

  const { slotMs, endMs } = time;
  const lastDepartureMs = visits.reduce((last, { departureMs }) => Math.max(last, departureMs), endMs);
  const { sessions: _, slotStartsMs: __, notices: ___, ...rest } = base;
  return {
    scenario: {
      name,
      base: rest,
      startMs: time.startMs,
      endMs: Math.ceil(lastDepartureMs / slotMs) * slotMs,
      slotMs,
      visits,
      everyMs: time.everyMs,
      isEventDriven: time.isEventDriven,
      horizonMs: time.horizonMs,
      forecast: readForecast(value.forecast),
      turnedAwayWh,
    },
    strategies,
    notes,
  };
}

/** One breach of the schema in words, at the line of what is wrong. */
function noteMisfit(
  document: Document,
  { instancePath, keyword, params, message, parentSchema, data }: ErrorObject,
  mistakes: Mistakes,
): void {
  const path: Path = instancePath
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  const value = JSON.stringify(data)?.slice(0, 60);
  const [at, description] = ((): [Path, string] => {
    switch (keyword) {
      case "additionalProperties":
        return [
          [...path, params.additionalProperty],
          `is not a field; there are ${Object.keys(parentSchema?.properties ?? {}).join(", ")}`,
        ];
      case "required":
        return [[...path, params.missingProperty], "is required"];
      case "enum":
        return [path, `must be one of ${params.allowedValues.join(", ")}, is ${value}`];
      case "pattern":
        return [path, `must be a time of day, "HH:MM" from 00:00 to 23:59, is ${value}`];
      default:
        return [path, `${message}, is ${value}`];
    }
  })();
  mistakes.add(document.file, document.lineOf(at), `${nameOf(at) || "scenario"}: ${description}`);
}

interface Time {
  startMs: number;
  endMs: number;
  slotMs: number;
  everyMs: number;
  isEventDriven: boolean;
  horizonMs: number;
}

function readTime(
  { start, end, days, slotMinutes = 15, everyMinutes = 15, events = true, horizonHours = 48 }: Fields,
  {
    document,
    mistakes,
    clock,
    timeZone,
  }: { document: Document; mistakes: Mistakes; clock: Clock; timeZone: string },
): Time {
  const wrong = (key: string, description: string) => {
    mistakes.add(document.file, document.lineOf(["time", key]), `time.${key}: ${description}`);
    return Number.NaN;
  };
  const read = (key: string, text: Value) => {
    const atMs = clock.read(String(text));
    return typeof atMs === "number" ? atMs : wrong(key, atMs);
  };
  const slotMs = Number(slotMinutes) * MINUTE_MS;
  const startMs = read("start", start);
  let endMs: number;
  if (end !== undefined && days !== undefined) endMs = wrong("days", "excludes time.end: give one of them");
  else if (end !== undefined) endMs = read("end", end);
  else {
    // Whole days are those of the wall clock: of 23 or 25 hours where it changes.
    const span = Number(days ?? 7);
    const whole = DateTime.fromMillis(startMs, { zone: timeZone }).plus({ days: Math.floor(span) });
    endMs = whole.toMillis() + Math.round((span % 1) * DAY_MS);
  }
  if (endMs <= startMs) wrong("end", "must be after time.start");
  for (const [key, atMs] of [
    ["start", startMs],
    ["end", endMs],
  ] as const)
    if (atMs % slotMs > 0) wrong(key, `must be on a boundary of slots of ${slotMinutes} minutes in UTC`);
  return {
    startMs,
    endMs,
    slotMs,
    everyMs: Number(everyMinutes) * MINUTE_MS,
    isEventDriven: events !== false,
    horizonMs: Number(horizonHours) * HOUR_MS,
  };
}

/** A site whose entries with a count stand for so many, and where each path in it comes from. */
function withCounts(site: Fields): { site: Fields; origin: (path: Path) => Path } {
  const entries = (site.evses as Value[]) ?? [];
  const evses: Value[] = [];
  const origins: number[] = [];
  entries.forEach((entry, n) => {
    const { count, ...evse } = isFields(entry) ? entry : ({} as Fields);
    const id = evse.stationId === undefined ? "station_id" : "stationId";
    for (let k = 1; k <= Number(count ?? 1); k++) {
      evses.push(count === undefined ? evse : { ...evse, [id]: `${evse[id] ?? "CS"}${k}` });
      origins.push(n);
    }
  });
  return {
    site: { ...site, evses },
    origin: (path) =>
      path[0] === "site" && path[1] === "evses" && typeof path[2] === "number"
        ? ["site", "evses", origins[path[2]] ?? path[2], ...path.slice(3)]
        : path,
  };
}

/** `site.circuits[0].max_power_w` as the path of a value in the file. */
function pathFrom(field: string): Path {
  return [...field.matchAll(/[^.[\]]+/g)].map(([key]) =>
    /^\d+$/.test(key)
      ? Number(key)
      : key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
  );
}

function noteViolations(
  error: unknown,
  origin: (path: Path) => Path,
  document: Document,
  mistakes: Mistakes,
): void {
  const { violations, message } = WattslotError.from(error);
  if (violations.length === 0 && !(error instanceof WattslotError)) throw error;
  if (violations.length === 0) mistakes.add(document.file, 1, message);
  const told = new Set<string>();
  for (const { field, description } of violations) {
    const path = origin(pathFrom(field));
    const line = `${nameOf(path)}: ${description}`;
    // One entry that stands for many is wrong once.
    if (told.has(line)) continue;
    told.add(line);
    mistakes.add(document.file, document.lineOf(path), line);
  }
}

/** What a request in JSON says; what is wrong goes to the mistakes. */
function decode(
  json: unknown,
  origin: (path: Path) => Path,
  document: Document,
  mistakes: Mistakes,
): OptimizeRequest | undefined {
  try {
    return requestFromJson(JSON.stringify(json), 0);
  } catch (error) {
    noteViolations(error, origin, document, mistakes);
    return undefined;
  }
}

/** The site by the contract's own reader, over all of the scenario's time: its plans have at most 31 days. */
function readBase(
  request: OptimizeRequest,
  { startMs, endMs, slotMs }: Time,
  origin: (path: Path) => Path,
  document: Document,
  mistakes: Mistakes,
): Problem | undefined {
  const stepMs = Math.min(LONGEST_PLAN_MS, MOST_SLOTS * slotMs);
  let base: Problem | undefined;
  for (let at = startMs; at < endMs; at += stepMs) {
    const span = {
      startTime: new Date(at),
      endTime: new Date(Math.min(endMs, at + stepMs)),
      slotSeconds: slotMs / 1000,
    };
    try {
      base ??= toProblem({ ...request, ...span }, startMs);
      if (at > startMs) toProblem({ ...request, ...span }, at);
    } catch (error) {
      noteViolations(error, origin, document, mistakes);
      return undefined;
    }
  }
  return base;
}

interface VisitContext extends Time {
  document: Document;
  mistakes: Mistakes;
  folder: string;
  clock: Clock;
  timeZone: string;
}

async function readVisits(value: Fields, context: VisitContext): Promise<RawVisit[]> {
  const { document, mistakes, folder, clock, timeZone, startMs, endMs } = context;
  const { file, format, columns = {}, assign, generate } = value.sessions as Fields;
  const wrong = (path: Path, description: string): RawVisit[] => {
    mistakes.add(document.file, document.lineOf(path), `${nameOf(path)}: ${description}`);
    return [];
  };
  if ((file === undefined) === (generate === undefined))
    return wrong(["sessions"], "needs a file or generate, and not both");
  const common = value.vehicle as Fields | undefined;
  const vehicleOf = (own: Value | undefined, path: Path) =>
    readVehicle({ ...common, ...(own as Fields) }, path, document, mistakes);
  if (isFields(generate)) {
    const kinds = (["groups", "fleets"] as const).flatMap((key) =>
      ((generate[key] ?? []) as Fields[]).map((one, n) => {
        const path = ["sessions", "generate", key, n];
        return {
          line: document.lineOf(path),
          vehicle: vehicleOf(one.vehicle, one.vehicle ? [...path, "vehicle"] : ["vehicle"]),
        };
      }),
    );
    const visits = generateVisits(
      {
        seed: Number(generate.seed),
        groups: ((generate.groups ?? []) as Fields[]).map(groupOf),
        fleets: ((generate.fleets ?? []) as Fields[]).map(fleetOf),
      },
      { startMs, endMs, timeZone },
    );
    return fromGenerated(visits, document.file, kinds);
  }
  const vehicle = vehicleOf({}, ["vehicle"]);
  const path = pathOf(folder, String(file));
  const isJson = format === undefined ? /\.json(\.gz)?$/.test(path) : format === "acn-json";
  const given = columns as Columns;
  const read = isJson
    ? await readAcnVisits(path, { startMs, mistakes, vehicle })
    : await readCsvVisits(
        path,
        {
          arrival: "arrival",
          departure: "departure",
          ...(given.socPercent ? {} : { energyKwh: "energyKwh" }),
          ...given,
        },
        { clock, mistakes, vehicle },
      );
  if (assign === "any") return read.map((visit) => ({ ...visit, stationId: undefined, evseId: undefined }));
  if (assign === undefined || isJson || given.station !== undefined || given.evse !== undefined) return read;
  return wrong(["sessions", "assign"], `needs sessions.columns.station, one of ${COLUMNS.join(", ")}`);
}

/** What vehicles have in common, by the contract's names; what of it is wrong goes to the mistakes. */
function readVehicle(json: Fields, path: Path, document: Document, mistakes: Mistakes): WireSession {
  try {
    return requestFromJson(JSON.stringify({ sessions: [json] }), 0).sessions[0];
  } catch (error) {
    for (const { field, description } of WattslotError.from(error).violations) {
      const [, , ...rest] = pathFrom(field);
      // What a vehicle has in common with others is no whole session.
      if (!Object.hasOwn(json, String(rest[0]))) continue;
      const at = [...path, ...rest];
      mistakes.add(document.file, document.lineOf(at), `${nameOf(at)}: ${description}`);
    }
    return OptimizeRequest.fromPartial({ sessions: [{}] }).sessions[0];
  }
}

function distributionOf(value: Value, { min, max }: { min: number; max: number }): Distribution {
  if (typeof value === "number") return { mean: value, sd: 0, min, max };
  const fields = value as Fields;
  return {
    mean: Number(fields.mean),
    sd: Number(fields.sd ?? 0),
    min: Math.max(min, Number(fields.min ?? min)),
    max: Math.min(max, Number(fields.max ?? max)),
  };
}

const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7];
const ENERGY_KWH = { min: 0, max: 2000 };

function minuteOf(text: Value): number {
  const [hour, minute] = String(text).split(":").map(Number);
  return 60 * hour + minute;
}

function groupOf(group: Fields) {
  const arrival = group.arrival as Fields;
  const mean = minuteOf(arrival.mean);
  return {
    name: String(group.name),
    weekdays: (group.weekdays as number[]) ?? EVERY_DAY,
    vehicles: Number(group.vehicles),
    chance: Number(group.chance ?? 1),
    // Nobody comes on another day than that of the group.
    arrivalMinute: { mean, sd: Number(arrival.sdMinutes ?? 0), min: 0, max: 1439 },
    stayHours: distributionOf(group.stayHours, { min: 0, max: 24 * 30 }),
    energyKwh: distributionOf(group.energyKwh, ENERGY_KWH),
    saidStaySdHours: Number(group.saidStaySdHours ?? 0),
    saidEnergySd: Number(group.saidEnergySdPercent ?? 0) / 100,
  };
}

function fleetOf(fleet: Fields) {
  return {
    name: String(fleet.name),
    vehicles: Number(fleet.vehicles),
    trips: (fleet.trips as Fields[]).map((trip) => ({
      weekdays: (trip.weekdays as number[]) ?? EVERY_DAY,
      leaveMinute: minuteOf(trip.leave),
      returnMinute: minuteOf(trip.return),
      returnSdMinutes: Number(trip.returnSdMinutes ?? 0),
      energyKwh: distributionOf(trip.energyKwh, ENERGY_KWH),
    })),
  };
}

function readForecast(value: Value | undefined): Forecast | undefined {
  if (!isFields(value)) return undefined;
  return {
    seed: Number(value.seed ?? 1),
    pvError: Number(value.pvErrorPercent ?? 0) / 100,
    baseLoadError: Number(value.baseLoadErrorPercent ?? 0) / 100,
    pricesPublishedMinute:
      value.pricesPublishedAt === undefined ? undefined : minuteOf(value.pricesPublishedAt),
  };
}

import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { Mistakes } from "./mistakes.ts";

/** A session of ACN-Data, of a site of any number of stations. */
export interface AcnSession {
  sessionId: string;
  stationId: string;
  arrivalMs: number;
  departureMs: number;
  saidDepartureMs: number;
  energyWh: number;
  saidEnergyWh: number | undefined;
}

type Json = Record<string, unknown>;
const PERIOD_MS = 300_000;

/**
 * Reads the JSON of ACN-Data's interface (`_items` with connectionTime, disconnectTime, kWhDelivered and what drivers
 * put in), or an event queue of the simulator ACN-Sim, whose periods of 5 minutes count from `startMs`. A file whose
 * name ends in .gz is unpacked.
 */
export async function readAcnJson(file: string, startMs: number, mistakes: Mistakes): Promise<AcnSession[]> {
  let document: unknown;
  try {
    const bytes = await readFile(file);
    const text = (file.endsWith(".gz") ? await promisify(gunzip)(bytes) : bytes).toString("utf8");
    document = JSON.parse(text);
    // The simulator writes JSON as a text in JSON.
    if (typeof document === "string") document = JSON.parse(document);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    mistakes.add(file, 0, code === undefined ? `is not JSON: ${message}` : `cannot be read (${code})`);
    return [];
  }
  const { _items: items, context_dict: queue } = (document ?? {}) as Json;
  const sessions = Array.isArray(items)
    ? items.map((item) => fromInterface(item))
    : Object.values((queue ?? {}) as Json)
        .filter((one) => String((one as Json)?.class).endsWith(".ev.EV"))
        .map((one) => fromQueue((one as Json).attributes as Json, startMs));
  if (sessions.length === 0)
    mistakes.add(
      file,
      0,
      "holds no session: it needs _items as ACN-Data has them, or an event queue of ACN-Sim",
    );
  const read: AcnSession[] = [];
  sessions.forEach((session, n) => {
    const lacks = [session.arrivalMs, session.departureMs, session.energyWh].some(
      (one) => !Number.isFinite(one),
    );
    if (lacks || session.departureMs <= session.arrivalMs)
      mistakes.add(
        file,
        0,
        `session ${n + 1} (${session.sessionId}): needs an arrival, a later departure and an energy`,
      );
    else read.push(session);
  });
  return read;
}

function fromInterface(item: unknown): AcnSession {
  const { sessionID, stationID, connectionTime, disconnectTime, kWhDelivered, userInputs } = (item ??
    {}) as Json;
  // The last of what a driver put in is what holds.
  const said = (Array.isArray(userInputs) ? userInputs.at(-1) : undefined) as Json | undefined;
  const departureMs = Date.parse(String(disconnectTime));
  const saidDepartureMs = Date.parse(String(said?.requestedDeparture));
  const saidKwh = said?.kWhRequested;
  return {
    sessionId: String(sessionID ?? ""),
    stationId: String(stationID ?? ""),
    arrivalMs: Date.parse(String(connectionTime)),
    departureMs,
    saidDepartureMs: Number.isFinite(saidDepartureMs) ? saidDepartureMs : departureMs,
    energyWh: typeof kWhDelivered === "number" ? kWhDelivered * 1000 : Number.NaN,
    saidEnergyWh: typeof saidKwh === "number" ? saidKwh * 1000 : undefined,
  };
}

function fromQueue(attributes: Json, startMs: number): AcnSession {
  const atMs = (period: unknown) => (typeof period === "number" ? startMs + period * PERIOD_MS : Number.NaN);
  const { _session_id, _station_id, _arrival, _departure, _requested_energy: kwh } = attributes ?? {};
  return {
    sessionId: String(_session_id ?? ""),
    stationId: String(_station_id ?? ""),
    arrivalMs: atMs(_arrival),
    departureMs: atMs(_departure),
    saidDepartureMs: atMs(attributes?._estimated_departure ?? _departure),
    energyWh: typeof kwh === "number" ? kwh * 1000 : Number.NaN,
    saidEnergyWh: undefined,
  };
}

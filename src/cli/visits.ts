import { resolve } from "node:path";
import { WattslotError } from "../domain/errors.ts";
import type { Problem, Session } from "../domain/problem.ts";
import { OptimizeRequest, Supply } from "../grpc/client.ts";
import { toProblem } from "../grpc/convert.ts";
import type { GeneratedVisit } from "../planner/generate.ts";
import type { Visit } from "../planner/scenario.ts";
import { readAcnJson } from "./acn.ts";
import type { Clock } from "./clock.ts";
import { numberIn, type Row, readCsv } from "./csv.ts";
import type { Mistakes } from "./mistakes.ts";

type WireSession = OptimizeRequest["sessions"][number];
type WireSite = NonNullable<OptimizeRequest["site"]>;

/** Columns of a file of sessions, by what they mean. */
export const COLUMNS = [
  "arrival",
  "departure",
  "saidDeparture",
  "energyKwh",
  "saidEnergyKwh",
  "station",
  "evse",
  "sessionId",
  "maxPowerKw",
  "phases",
  "priority",
  "batteryKwh",
  "socPercent",
  "targetSocPercent",
] as const;
export type Columns = Partial<Record<(typeof COLUMNS)[number], string>>;

/** A visit as a file or a generator has it: what was said apart from what happened. */
export interface RawVisit {
  /** Where it stands, for what is wrong with it: the line of a file, or of the scenario. */
  file: string;
  line: number;
  sessionId: string;
  /** Undefined: any EVSE that is free. */
  stationId: string | undefined;
  evseId: number | undefined;
  arrivalMs: number;
  departureMs: number;
  saidDepartureMs: number;
  energyWh: number | undefined;
  saidEnergyWh: number | undefined;
  maxPowerW?: number | undefined;
  phases?: number | undefined;
  priority?: number | undefined;
  batteryWh?: number | undefined;
  socPercent?: number | undefined;
  targetSocPercent?: number | undefined;
  /** What all vehicles of its kind have. */
  vehicle: WireSession;
}

/** Reads sessions from a CSV file; those that don't begin in the span are left out and counted. */
export async function readCsvVisits(
  file: string,
  columns: Columns,
  { clock, mistakes, vehicle }: { clock: Clock; mistakes: Mistakes; vehicle: WireSession },
): Promise<RawVisit[]> {
  const visits: RawVisit[] = [];
  const named = Object.entries(columns).map(([meaning, column]) => ({
    column,
    setting: `sessions.columns.${meaning}`,
  }));
  for await (const row of readCsv(file, named, mistakes)) {
    const visit = visitIn(file, row, columns, { clock, mistakes, vehicle });
    if (visit !== undefined) visits.push(visit);
  }
  return visits;
}

function visitIn(
  file: string,
  { line, cells }: Row,
  columns: Columns,
  { clock, mistakes, vehicle }: { clock: Clock; mistakes: Mistakes; vehicle: WireSession },
): RawVisit | undefined {
  let isWrong = false;
  const wrong = (column: string | undefined, description: string): undefined => {
    mistakes.add(file, line, `${column}: ${description}`);
    isWrong = true;
  };
  const textOf = (column: string | undefined) => (column === undefined ? "" : cells[column]);
  const timeOf = (column: string | undefined): number | undefined => {
    const text = textOf(column);
    if (text === "") return undefined;
    const atMs = clock.read(text);
    return typeof atMs === "number" ? atMs : wrong(column, atMs);
  };
  const numberOf = (column: string | undefined, scale = 1): number | undefined => {
    const text = textOf(column);
    if (text === "") return undefined;
    const number = numberIn(text);
    return Number.isNaN(number)
      ? wrong(column, `${JSON.stringify(text.slice(0, 40))} is no number`)
      : number * scale;
  };
  const arrivalMs = timeOf(columns.arrival);
  let departureMs = timeOf(columns.departure);
  // In the hour that the clock has twice, who seems to leave before it came leaves in the second.
  if (arrivalMs !== undefined && departureMs !== undefined && departureMs <= arrivalMs)
    departureMs = clock.later(departureMs);
  if (arrivalMs === undefined && !isWrong) wrong(columns.arrival, "is empty: when did it come?");
  if (departureMs === undefined && !isWrong) wrong(columns.departure, "is empty: when did it leave?");
  const energyWh = numberOf(columns.energyKwh, 1000);
  const saidEnergyWh = numberOf(columns.saidEnergyKwh, 1000);
  const socPercent = numberOf(columns.socPercent);
  if (energyWh === undefined && socPercent === undefined && !isWrong)
    wrong(columns.energyKwh, "is empty: how much did it want?");
  const evseId = numberOf(columns.evse);
  const saidMs = timeOf(columns.saidDeparture);
  const maxPowerW = numberOf(columns.maxPowerKw, 1000);
  const phases = numberOf(columns.phases);
  const priority = numberOf(columns.priority);
  const batteryWh = numberOf(columns.batteryKwh, 1000);
  const targetSocPercent = numberOf(columns.targetSocPercent);
  if (isWrong || arrivalMs === undefined || departureMs === undefined) return undefined;
  if (departureMs <= arrivalMs)
    return wrong(
      columns.departure,
      `is not after the arrival, ${cells[columns.arrival!]}: correct or remove the row`,
    );
  // Written out at once: a copy with more fields takes three times the memory, and files have 100,000 rows.
  return {
    file,
    line,
    sessionId: textOf(columns.sessionId),
    stationId: textOf(columns.station) || undefined,
    evseId,
    arrivalMs,
    departureMs,
    // A driver who said an end that is over when it comes has said nothing of use.
    saidDepartureMs: saidMs !== undefined && saidMs > arrivalMs ? saidMs : departureMs,
    energyWh,
    saidEnergyWh,
    maxPowerW,
    phases,
    priority,
    batteryWh,
    socPercent,
    targetSocPercent,
    vehicle,
  };
}

/** Reads sessions from JSON of ACN-Data, or of a simulator's event queue. */
export async function readAcnVisits(
  file: string,
  { startMs, mistakes, vehicle }: { startMs: number; mistakes: Mistakes; vehicle: WireSession },
): Promise<RawVisit[]> {
  const sessions = await readAcnJson(file, startMs, mistakes);
  return sessions.map((one) => ({ ...one, file, line: 0, evseId: undefined, vehicle }));
}

/** Generated visits as if they had been read. */
export function fromGenerated(
  visits: readonly GeneratedVisit[],
  file: string,
  kinds: readonly { line: number; vehicle: WireSession }[],
): RawVisit[] {
  return visits.map(({ kind, ...visit }) => ({
    ...visit,
    ...kinds[kind],
    file,
    stationId: undefined,
    evseId: undefined,
  }));
}

/** The visits of a scenario, and what those wanted that found no charger free, Wh. */
export interface Placed {
  visits: Visit[];
  turnedAwayWh: number[];
}

/**
 * Gives every visit its EVSE, and reads it by the rules of the contract. Two vehicles at one EVSE at a time, and what
 * the contract refuses, go to the mistakes.
 */
export function place(
  raw: readonly RawVisit[],
  wireSite: WireSite,
  { site }: Problem,
  departureSdMs: number,
  mistakes: Mistakes,
): Placed {
  const evses = wireSite.evses.map((evse, e) => ({
    evse,
    // By what they have in common, the session's rules hold for it as in the whole site.
    alone: { ...wireSite, circuits: feedersOf(wireSite, e), evses: [evse], tariff: undefined, timeZone: "" },
    untilMs: Number.NEGATIVE_INFINITY,
    visit: undefined as RawVisit | undefined,
  }));
  const byStation = new Map<string, number[]>();
  wireSite.evses.forEach(({ stationId }, e) => {
    byStation.set(stationId, [...(byStation.get(stationId) ?? []), e]);
  });
  const placed: Placed = { visits: [], turnedAwayWh: [] };
  const ids = new Set<string>();
  const sorted = [...raw].sort((a, b) => a.arrivalMs - b.arrivalMs || a.line - b.line);
  for (const one of sorted) {
    const arrivalMs = Math.ceil(one.arrivalMs / 1000) * 1000;
    const e = findEvse(one, arrivalMs);
    if (e === undefined) continue;
    if (e < 0) {
      placed.turnedAwayWh.push(one.energyWh ?? 0);
      continue;
    }
    const taken = evses[e];
    const { stationId, evseId } = taken.evse;
    if (taken.visit !== undefined && taken.untilMs > arrivalMs) {
      mistakes.add(
        one.file,
        one.line,
        `arrival: EVSE ${stationId}/${evseId} is taken until ${new Date(taken.untilMs).toISOString()} by the session of line ${taken.visit.line}: correct one of them`,
      );
      continue;
    }
    const departureMs = Math.max(arrivalMs + 1000, Math.floor(one.departureMs / 1000) * 1000);
    taken.visit = one;
    taken.untilMs = departureMs;
    const sessionId = one.sessionId || `session-${placed.visits.length + 1}`;
    if (ids.has(sessionId)) mistakes.add(one.file, one.line, `session_id: ${sessionId} is there twice`);
    ids.add(sessionId);
    const said = readSession(
      one,
      { sessionId, arrivalMs, number: placed.visits.length + 1 },
      taken,
      mistakes,
    );
    if (said === undefined) continue;
    const roomWh =
      said.battery === undefined
        ? Number.POSITIVE_INFINITY
        : (said.battery.capacityWh - said.battery.storedWh) / said.battery.efficiency;
    const energyWh = Math.min(roomWh, one.energyWh ?? said.energyWh);
    placed.visits.push({
      said: { ...said, ...spreadOf(said, departureSdMs), evse: e },
      departureMs,
      energyWh,
    });
  }
  return placed;

  /** -1 where none is free, undefined where there is no such EVSE. */
  function findEvse(one: RawVisit, arrivalMs: number): number | undefined {
    if (one.stationId === undefined)
      return evses.findIndex(
        ({ untilMs }, e) => untilMs <= arrivalMs && site.evses[e].uncontrolledPowerW === undefined,
      );
    const at = byStation.get(one.stationId) ?? [];
    const e = one.evseId === undefined ? at[0] : at.find((n) => wireSite.evses[n].evseId === one.evseId);
    if (e !== undefined) return e;
    const name = one.evseId === undefined ? one.stationId : `${one.stationId}/${one.evseId}`;
    mistakes.add(
      one.file,
      one.line,
      `station: the site has no EVSE ${JSON.stringify(name)}: add it under site.evses, or let vehicles take any with sessions.assign: any`,
    );
    return undefined;
  }
}

/** Standard deviations from the mean of a bell curve at which shares of it lie below. */
const QUANTILES: readonly (readonly [share: number, deviations: number])[] = [
  [0.02, -2.054],
  [0.05, -1.645],
  [0.1, -1.282],
  [0.2, -0.842],
  [0.3, -0.524],
  [0.4, -0.253],
  [0.5, 0],
  [0.6, 0.253],
  [0.7, 0.524],
  [0.8, 0.842],
  [0.9, 1.282],
];
const SURE_DEVIATIONS = 2;

/** A departure as it is known by how far drivers are wrong about it: chances around what was said. */
function spreadOf(
  { arrivalMs, departureMs }: Session,
  departureSdMs: number,
): Partial<Pick<Session, "departureMs" | "departureChances">> {
  if (departureSdMs === 0) return {};
  const at = (deviations: number) => Math.round((departureMs + deviations * departureSdMs) / 1000) * 1000;
  return {
    departureMs: at(SURE_DEVIATIONS),
    departureChances: QUANTILES.map(([probability, deviations]) => ({
      probability,
      atMs: at(deviations),
    })).filter(({ atMs }) => atMs > arrivalMs),
  };
}

/** The circuits above an EVSE, without what changes over time. */
function feedersOf({ circuits, evses }: WireSite, e: number): WireSite["circuits"] {
  const above: WireSite["circuits"] = [];
  const root = circuits.find(({ parentCircuitId }) => parentCircuitId === "")?.circuitId ?? "";
  for (let id = evses[e].circuitId || root; id !== "" && above.length < circuits.length; ) {
    const circuit = circuits.find(({ circuitId }) => circuitId === id);
    if (circuit === undefined) break;
    above.push({ ...circuit, baseLoadW: undefined, baseLoadA: [], maxPowerSeriesW: undefined });
    id = circuit.parentCircuitId;
  }
  return above;
}

/** One visit's session by the contract's own reader: what it says of the fields goes to the mistakes. */
function readSession(
  one: RawVisit,
  { sessionId, arrivalMs, number }: { sessionId: string; arrivalMs: number; number: number },
  { evse, alone }: { evse: WireSite["evses"][number]; alone: WireSite },
  mistakes: Mistakes,
): Session | undefined {
  const { vehicle } = one;
  const session = {
    ...vehicle,
    sessionId,
    stationId: evse.stationId,
    evseId: evse.evseId,
    // What every OCPP version takes.
    transactionId: String(number),
    arrivalTime: new Date(arrivalMs),
    departureTime: new Date(Math.max(one.saidDepartureMs, arrivalMs + 1000)),
    need: needOf(one, evse),
    ...(one.maxPowerW === undefined ? {} : { maxPowerW: one.maxPowerW }),
    ...(one.phases === undefined ? {} : { phases: one.phases }),
    ...(one.priority === undefined ? {} : { priority: one.priority }),
  };
  const request: OptimizeRequest = {
    ...OptimizeRequest.fromPartial({}),
    site: { ...alone, pvPowerW: undefined, battery: undefined },
    sessions: [session],
    startTime: session.arrivalTime,
    endTime: session.departureTime,
    // What a vehicle needs does not depend on it; the fewest slots are read soonest.
    slotSeconds: 3600,
  };
  try {
    return toProblem(request, arrivalMs).sessions[0];
  } catch (error) {
    const { violations } = WattslotError.from(error);
    if (violations.length === 0) throw error;
    for (const { field, description } of violations)
      mistakes.add(one.file, one.line, `${field.replace(/^sessions\[0\]\.?/, "")}: ${description}`);
    return undefined;
  }
}

/** As energy, or along the battery's state of charge where the battery is known. */
function needOf(one: RawVisit, { supply, efficiency }: WireSite["evses"][number]): WireSession["need"] {
  const { vehicle, energyWh, saidEnergyWh, batteryWh, socPercent, targetSocPercent } = one;
  const given = vehicle.need?.$case === "stateOfCharge" ? vehicle.need.value : undefined;
  const capacityWh = batteryWh ?? given?.batteryCapacityWh;
  if (capacityWh === undefined) return { $case: "energyWh", value: saidEnergyWh ?? energyWh ?? Number.NaN };
  const full = given?.fullSocPercent ?? 100;
  const target = targetSocPercent ?? given?.targetSocPercent ?? full;
  const reaches = efficiency ?? (supply === Supply.DC ? 0.95 : 0.9);
  const percentOf = (wh: number) => (100 * wh * reaches) / capacityWh;
  const from = socPercent ?? Math.max(0, target - percentOf(energyWh ?? 0));
  const to = saidEnergyWh === undefined ? target : Math.min(full, from + percentOf(saidEnergyWh));
  return {
    $case: "stateOfCharge",
    value: {
      bulkSocPercent: undefined,
      fullSocPercent: undefined,
      ...given,
      batteryCapacityWh: capacityWh,
      socPercent: from,
      targetSocPercent: to,
    },
  };
}

/** Where a file named in a scenario lies. */
export function pathOf(folder: string, file: string): string {
  return resolve(folder, file);
}

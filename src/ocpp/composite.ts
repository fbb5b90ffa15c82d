import { DateTime } from "luxon";
import { WattslotError } from "../domain/errors.ts";
import type { OcppVersion, RateUnit } from "../domain/problem.ts";
import {
  type InstalledProfile,
  inNamesOf2x,
  type ProfilePurpose,
  timeOf,
  type WirePeriod,
  type WireProfile2x,
  type WireSchedule,
  ZONE,
} from "./wire.ts";

/** What of a charging station bears on its composite schedules. */
export interface ChargingStation {
  version: OcppVersion;
  /** In the order of their arrival: of two that should not stand beside each other the later one counts. */
  installed: readonly InstalledProfile[];
  evses: readonly StationEvse[];
  /** Of one phase, V; between two lines that of the pair. */
  voltageV: number;
  /** IANA name, for schedules with useLocalTime (2.1). Default: UTC. */
  timeZone?: string;
  /** Since when there is no connection to the CSMS, for maxOfflineDuration (2.1). */
  offlineSinceMs?: number;
}

export interface StationEvse {
  evseId: number;
  supply: "AC" | "DC";
  /** What it gives where no profile limits it: A per phase, and W in all. */
  maxCurrentA: number;
  maxPowerW: number;
  /** Absent: the schedule is that of a transaction which begins with the window. */
  transaction?: {
    transactionId: string;
    startMs: number;
    /** Priority charging is active (2.1). */
    hasPriority?: boolean;
    /** Which of up to three schedules the vehicle chose. Default: the first. */
    scheduleIndex?: number;
    /** Of the vehicle's battery in percent, for limitAtSoC (2.1). */
    stateOfCharge?: number;
  };
}

/** As in GetCompositeSchedule: evseId 0 asks for the whole station. Whole seconds. */
export interface CompositeWindow {
  evseId: number;
  startMs: number;
  endMs: number;
  unit: RateUnit;
}

/** A part of a composite schedule; startPeriod counts from the window's start. Idle has no limit. */
export type CompositePeriod = Pick<
  WirePeriod,
  | "startPeriod"
  | "limit"
  | "limit_L2"
  | "limit_L3"
  | "numberPhases"
  | "phaseToUse"
  | "dischargeLimit"
  | "dischargeLimit_L2"
  | "dischargeLimit_L3"
  | "setpoint"
  | "setpoint_L2"
  | "setpoint_L3"
  | "operationMode"
>;

const DAY_MS = 86_400_000;
const RECURRENCE_MS = { Daily: DAY_MS, Weekly: 7 * DAY_MS };

/** More parts than any charger has in mind: a window of years over a profile that recurs. */
const MOST_PARTS = 200_000;

/**
 * What a charging station allows over a window, from the profiles that are installed, as it would compute
 * it itself: 1.6 section 3.13, 2.x K01 and K08.
 *
 * - Of one purpose the highest stack level that is valid and has a schedule in force counts; when its duration
 *   or a recurrence's gap ends it, the next. In 1.6 a TxDefaultProfile of the EVSE comes before all of the station's.
 * - A TxProfile takes the place of the TxDefaultProfile, PriorityCharging where active that of both.
 * - The station's maximum and external constraints cap it, and LocalGeneration is added on top (2.1).
 * - The lowest numberPhases holds (K01.FR.140), and a limit in W is brought to A on it. Setpoints stay within the
 *   limits (K08.FR.08). Where a phase has a limit of its own, every phase is reported.
 * - Without any profile an EVSE gives its maximum, which is no limit to what a profile says.
 * - A recurring schedule's startSchedule says when in the day or week it begins, in the past as in the future; with
 *   useLocalTime by the station's clock, on which parts are skipped or repeated where it is changed (2.1,
 *   K01.FR.90, FR.91). A recurrence ends where the next one begins.
 * - The whole station (evseId 0) is the sum of its EVSEs under its maximum: what it may draw at most.
 *
 * A schedule in other modes than ChargingOnly, CentralSetpoint and Idle has only what it says of limits: what an
 * external system or the frequency will ask for is not known. randomizedDelay is not applied.
 *
 * Throws INVALID_ARGUMENT where the window is no time, the EVSE not there, or the schedule too long to write.
 */
export function compositeSchedule(station: ChargingStation, window: CompositeWindow): CompositePeriod[] {
  const { evseId, startMs, endMs, unit } = window;
  if (!(startMs < endMs)) {
    throw new WattslotError("INVALID_ARGUMENT", `window from ${startMs} to ${endMs} ms is empty or no time`);
  }
  const evses = evseId === 0 ? station.evses : station.evses.filter((evse) => evse.evseId === evseId);
  if (evses.length === 0)
    throw new WattslotError("INVALID_ARGUMENT", `evseId ${evseId} is not at the station`);

  const ofStation = stackOf(station, window, undefined);
  const ofEvses = evses.map((evse) => stackOf(station, window, evse));
  const periods: CompositePeriod[] = [];
  let lastMs = Number.NaN;
  for (const atMs of instantsOf([ofStation, ...ofEvses], startMs, endMs)) {
    if (atMs === lastMs) continue;
    lastMs = atMs;
    const limits = saidBy(ofStation, atMs, STATION_LIMITS);
    const generation = saidBy(ofStation, atMs, GENERATION);
    const own = evses.map((evse, i) => ownOf(evse, ofEvses[i], atMs));
    // An EVSE's maximum is what it gives without any profile, and no limit to what one says.
    const orMaximum = (i: number) => (own[i].length > 0 ? own[i] : [maximumOf(evses[i], unit)]);
    const sum = () => evses.map((evse, i) => combined(orMaximum(i), [], unit, evse, station.voltageV));
    const ofAll = evseId === 0 ? [sumOf(sum(), evses, unit)] : limits.length > 0 ? own[0] : orMaximum(0);
    const period = combined([...ofAll, ...limits], generation, unit, evses[0], station.voltageV);
    if (evses.every(({ supply }) => supply === "DC")) delete period.numberPhases;
    period.startPeriod = (atMs - startMs) / 1000;
    const previous = periods[periods.length - 1];
    if (previous === undefined || !isSame(previous, period)) periods.push(period);
  }
  return periods;
}

/** Where something may change, in order, some more than once. */
function instantsOf(stacks: readonly Layer[][], startMs: number, endMs: number): Float64Array {
  const instants = [startMs];
  for (const stack of stacks) {
    for (const { parts } of stack) {
      for (const { fromMs, toMs } of parts) {
        instants.push(fromMs);
        if (toMs < endMs) instants.push(toMs);
      }
    }
  }
  return Float64Array.from(instants).sort();
}

const GENERATION = ["LocalGeneration"] as const;
const STATION_LIMITS = ["ChargingStationMaxProfile", "ChargingStationExternalConstraints"] as const;

/** One period of a profile where it is in force. */
interface Part {
  fromMs: number;
  toMs: number;
  said: Said;
}

/** What a profile says while a period of it is in force. */
interface Said {
  unit: RateUnit;
  period: WirePeriod;
  limitAtSoC?: WireSchedule["limitAtSoC"] | undefined;
}

/** A profile's parts in time; `next` is where the last instant asked for was found. */
interface Layer {
  purpose: ProfilePurpose;
  parts: Part[];
  next: number;
}

/** The profiles that bear on an EVSE, or on the station alone, those that come first first. */
function stackOf(station: ChargingStation, window: CompositeWindow, evse: StationEvse | undefined): Layer[] {
  const isFirst = station.version === "1.6" ? byEvseThenLevel : byLevelThenEvse;
  return station.installed
    .map((entry, order) => ({ ...entry, order, profile: inNamesOf2x(entry.profile) }))
    .filter(({ evseId, profile }) => bearsOn(evseId, profile, evse))
    .sort((a, b) => isFirst(a, b) || b.order - a.order)
    .map(({ profile }) => ({
      purpose: profile.chargingProfilePurpose,
      parts: partsOf(profile, station, window, evse),
      next: 0,
    }));
}

type Placed = { evseId: number; profile: WireProfile2x };

function byLevelThenEvse(a: Placed, b: Placed): number {
  return b.profile.stackLevel - a.profile.stackLevel || b.evseId - a.evseId;
}

function byEvseThenLevel(a: Placed, b: Placed): number {
  return b.evseId - a.evseId || b.profile.stackLevel - a.profile.stackLevel;
}

function bearsOn(evseId: number, profile: WireProfile2x, evse: StationEvse | undefined): boolean {
  const { chargingProfilePurpose: purpose, transactionId } = profile;
  if (evse === undefined) {
    if (evseId !== 0) return false;
    return purpose === "LocalGeneration" || STATION_LIMITS.some((one) => one === purpose);
  }
  if (purpose === "TxProfile") {
    if (evseId !== evse.evseId || evse.transaction === undefined) return false;
    return transactionId === undefined || transactionId === evse.transaction.transactionId;
  }
  if (purpose === "ChargingStationExternalConstraints") return evseId === evse.evseId;
  if (purpose !== "TxDefaultProfile" && purpose !== "PriorityCharging") return false;
  return evseId === 0 || evseId === evse.evseId;
}

function partsOf(
  profile: WireProfile2x,
  station: ChargingStation,
  window: CompositeWindow,
  evse: StationEvse | undefined,
): Part[] {
  const schedule =
    profile.chargingSchedule[evse?.transaction?.scheduleIndex ?? 0] ?? profile.chargingSchedule[0];
  const { maxOfflineDuration } = profile;
  const offlineEndMs =
    station.offlineSinceMs === undefined || maxOfflineDuration === undefined
      ? Number.POSITIVE_INFINITY
      : station.offlineSinceMs + maxOfflineDuration * 1000;
  const fromMs = Math.max(window.startMs, instantOf(profile.validFrom) ?? Number.NEGATIVE_INFINITY);
  const toMs = Math.min(window.endMs, instantOf(profile.validTo) ?? Number.POSITIVE_INFINITY, offlineEndMs);
  const parts: Part[] = [];
  if (!(fromMs < toMs) || !schedule?.chargingSchedulePeriod.length) return parts;

  const { chargingSchedulePeriod: periods, chargingRateUnit: unit, limitAtSoC } = schedule;
  const durationMs = (schedule.duration ?? Number.POSITIVE_INFINITY) * 1000;
  const zeroMs = evse?.transaction?.startMs ?? window.startMs;
  const zone = schedule.useLocalTime === true ? (station.timeZone ?? "utc") : undefined;
  // By the clock on the wall a schedule's parts are skipped or repeated where it is changed (K01.FR.91).
  for (const { offsetMs, ...piece } of zone === undefined
    ? [{ fromMs, toMs, offsetMs: 0 }]
    : piecesOf(zone, fromMs, toMs)) {
    const pieceFromMs = piece.fromMs + offsetMs;
    const pieceToMs = piece.toMs + offsetMs;
    const beginsMs = beginsAtMs(profile, schedule, zone !== undefined) ?? zeroMs + offsetMs;
    for (const run of runsOf(profile, beginsMs, pieceFromMs, pieceToMs)) {
      const endMs = Math.min(run.endMs, run.startMs + durationMs, pieceToMs);
      for (const [i, period] of periods.entries()) {
        const startsMs = Math.max(pieceFromMs, run.startMs + period.startPeriod * 1000);
        const nextMs = i + 1 < periods.length ? run.startMs + periods[i + 1].startPeriod * 1000 : endMs;
        const endsMs = Math.min(endMs, nextMs);
        if (startsMs >= endsMs) continue;
        parts.push({
          fromMs: startsMs - offsetMs,
          toMs: endsMs - offsetMs,
          said: { unit, period, limitAtSoC },
        });
      }
      if (parts.length > MOST_PARTS) {
        throw new WattslotError(
          "INVALID_ARGUMENT",
          `over ${MOST_PARTS} periods are in the window; ask for less`,
        );
      }
    }
  }
  return parts;
}

/** Where a schedule counts from, on the wall's clock with useLocalTime; undefined: from where the transaction starts. */
function beginsAtMs(profile: WireProfile2x, schedule: WireSchedule, isLocal: boolean): number | undefined {
  if (profile.chargingProfileKind === "Relative") return undefined;
  if (profile.chargingProfileKind === "Dynamic" && profile.dynUpdateTime !== undefined)
    return instantOf(profile.dynUpdateTime);
  const { startSchedule } = schedule;
  return instantOf(isLocal ? startSchedule?.replace(ZONE, "") : startSchedule);
}

/** When a schedule begins, and by when it has to have ended: once, or again and again. */
function* runsOf(
  { chargingProfileKind, recurrencyKind = "Daily" }: WireProfile2x,
  beginsMs: number,
  fromMs: number,
  toMs: number,
): Generator<{ startMs: number; endMs: number }> {
  if (chargingProfileKind !== "Recurring") {
    yield { startMs: beginsMs, endMs: Number.POSITIVE_INFINITY };
    return;
  }
  const everyMs = RECURRENCE_MS[recurrencyKind];
  const first = beginsMs + Math.floor((fromMs - beginsMs) / everyMs) * everyMs;
  for (let startMs = first; startMs < toMs; startMs += everyMs) yield { startMs, endMs: startMs + everyMs };
}

/** A time in pieces in each of which the zone's clock is as far from UTC. */
function piecesOf(
  zone: string,
  fromMs: number,
  toMs: number,
): { fromMs: number; toMs: number; offsetMs: number }[] {
  const offsetAt = (atMs: number) => DateTime.fromMillis(atMs, { zone }).offset * 60_000;
  if (Number.isNaN(offsetAt(fromMs))) {
    throw new WattslotError(
      "INVALID_ARGUMENT",
      `timeZone ${JSON.stringify(zone)} is not known; use an IANA name`,
    );
  }
  const pieces = [{ fromMs, toMs, offsetMs: offsetAt(fromMs) }];
  for (let atMs = fromMs; atMs < toMs; ) {
    const last = pieces[pieces.length - 1];
    const nextMs = Math.min(toMs, atMs + DAY_MS);
    if (offsetAt(nextMs) === last.offsetMs) {
      atMs = nextMs;
      continue;
    }
    let [before, after] = [atMs, nextMs];
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2);
      if (offsetAt(middle) === last.offsetMs) before = middle;
      else after = middle;
    }
    last.toMs = after;
    if (after >= toMs) break;
    pieces.push({ fromMs: after, toMs, offsetMs: offsetAt(after) });
    atMs = after;
  }
  return pieces;
}

/** What each of these purposes says; the instants asked for increase. */
function saidBy(stack: Layer[], atMs: number, purposes: readonly ProfilePurpose[]): Said[] {
  const said: Said[] = [];
  for (const purpose of purposes) {
    const part = partAt(stack, atMs, purpose);
    if (part !== undefined) said.push(part.said);
  }
  return said;
}

function partAt(stack: Layer[], atMs: number, purpose: ProfilePurpose): Part | undefined {
  for (const layer of stack) {
    if (layer.purpose !== purpose) continue;
    while (layer.next < layer.parts.length && layer.parts[layer.next].toMs <= atMs) layer.next++;
    const part = layer.parts[layer.next];
    if (part !== undefined && part.fromMs <= atMs) return part;
  }
  return undefined;
}

const OWN = ["TxProfile", "TxDefaultProfile"] as const;
const WITH_PRIORITY = ["PriorityCharging", ...OWN] as const;
const EXTERNAL = ["ChargingStationExternalConstraints"] as const;

/** What holds at an EVSE by its own profiles, and what caps it there. */
function ownOf({ transaction }: StationEvse, stack: Layer[], atMs: number): Said[] {
  const purposes = transaction?.hasPriority ? WITH_PRIORITY : OWN;
  const said = saidBy(stack, atMs, purposes).slice(0, 1);
  const { unit, period, limitAtSoC } = said[0] ?? {};
  said.push(...saidBy(stack, atMs, EXTERNAL));
  if (limitAtSoC === undefined || (transaction?.stateOfCharge ?? 0) < limitAtSoC.soc) return said;
  const atSoC = { startPeriod: 0, limit: limitAtSoC.limit, numberPhases: period.numberPhases ?? 3 };
  return [...said, { unit, period: atSoC }];
}

function maximumOf({ maxCurrentA, maxPowerW }: StationEvse, unit: RateUnit): Said {
  return { unit, period: { startPeriod: 0, limit: unit === "A" ? maxCurrentA : maxPowerW } };
}

const COMPARED = [
  "numberPhases",
  "phaseToUse",
  "operationMode",
  "limit",
  "limit_L2",
  "limit_L3",
  "dischargeLimit",
  "dischargeLimit_L2",
  "dischargeLimit_L3",
  "setpoint",
  "setpoint_L2",
  "setpoint_L3",
] as const;

type Quantity = "limit" | "dischargeLimit" | "setpoint";
/** The names of a quantity on L1, or on all phases, L2 and L3. */
const NAMES = {
  limit: ["limit", "limit_L2", "limit_L3"],
  dischargeLimit: ["dischargeLimit", "dischargeLimit_L2", "dischargeLimit_L3"],
  setpoint: ["setpoint", "setpoint_L2", "setpoint_L3"],
} as const;

/**
 * What several profiles allow together, in the unit asked for. The first is that of the EVSE: its mode and its
 * setpoint count.
 */
function combined(
  said: readonly Said[],
  generation: readonly Said[],
  unit: RateUnit,
  evse: StationEvse,
  voltageV: number,
): CompositePeriod {
  let phases = 3;
  for (const { period } of said) phases = Math.min(phases, period.numberPhases ?? 3);
  const isByPhase = phases === 3 && said.some(({ period }) => hasPhases(period));
  const scale: Scale = { unit, phases, isByPhase, voltageV };

  const [first] = said;
  const { operationMode, phaseToUse } = first.period;
  const period: CompositePeriod = { startPeriod: 0 };
  if (evse.supply !== "DC") period.numberPhases = phases;
  if (phases === 1 && phaseToUse !== undefined) period.phaseToUse = phaseToUse;
  if (operationMode !== undefined) period.operationMode = operationMode;
  if (operationMode === "Idle") return period;
  for (let line = 0; line < (isByPhase ? 3 : 1); line++) {
    let limit = Number.POSITIVE_INFINITY;
    let dischargeLimit = Number.NEGATIVE_INFINITY;
    for (const one of said) {
      limit = Math.min(limit, quantityOf(one, "limit", line, scale) ?? limit);
      dischargeLimit = Math.max(
        dischargeLimit,
        quantityOf(one, "dischargeLimit", line, scale) ?? dischargeLimit,
      );
    }
    for (const one of generation) limit += quantityOf(one, "limit", line, scale) ?? 0;
    const setpoint = quantityOf(first, "setpoint", line, scale);
    if (said.some((one) => one.period.limit !== undefined)) period[NAMES.limit[line]] = limit;
    if (dischargeLimit > Number.NEGATIVE_INFINITY) period[NAMES.dischargeLimit[line]] = dischargeLimit;
    if (setpoint !== undefined)
      period[NAMES.setpoint[line]] = Math.max(Math.min(setpoint, limit), dischargeLimit);
  }
  return period;
}

function hasPhases(period: WirePeriod): boolean {
  for (const quantity in NAMES) {
    const [, onL2, onL3] = NAMES[quantity as Quantity];
    if (period[onL2] !== undefined || period[onL3] !== undefined) return true;
  }
  return false;
}

/** What values are brought to: a unit, on so many phases, each for itself or all together. */
interface Scale {
  unit: RateUnit;
  phases: number;
  isByPhase: boolean;
  voltageV: number;
}

/** A quantity on a line, or on all of them, in the unit asked for. */
function quantityOf(
  { unit: from, period }: Said,
  quantity: Quantity,
  line: number,
  { unit, phases, isByPhase, voltageV }: Scale,
): number | undefined {
  const value = period[quantity];
  if (value === undefined) return undefined;
  const onL2 = period[NAMES[quantity][1]];
  const onL3 = period[NAMES[quantity][2]];
  const isEach = onL2 !== undefined || onL3 !== undefined;
  const count = isByPhase ? 1 : phases;
  let own = value;
  if (isByPhase && isEach) own = [value, onL2 ?? value, onL3 ?? value][line];
  else if (isByPhase && from === "W") own = value / 3;
  else if (isEach) {
    // Fewer phases than there are limits for: the lowest holds on those that are left.
    const lowest = [onL2 ?? value, onL3 ?? value].reduce(
      (a, b) => (Math.abs(b) < Math.abs(a) ? b : a),
      value,
    );
    own = from === "W" ? lowest * phases : lowest;
  }
  if (from === unit) return own;
  return unit === "W" ? own * voltageV * count : own / (voltageV * count);
}

function setValues(period: CompositePeriod, quantity: Quantity, values: readonly number[] | undefined): void {
  if (values === undefined) return;
  const [name, nameL2, nameL3] = NAMES[quantity];
  period[name] = values[0];
  if (values.length === 1) return;
  period[nameL2] = values[1];
  period[nameL3] = values[2];
}

/** What all EVSEs may draw together; a setpoint only where each has one. */
function sumOf(periods: readonly CompositePeriod[], evses: readonly StationEvse[], unit: RateUnit): Said {
  const isByPhase = periods.some((period) => hasPhases(period));
  const sum = (quantity: Quantity): number[] | undefined => {
    const values = periods.map((period, i) => {
      const value = quantity === "limit" ? mostOf(period, evses[i], unit) : period[quantity];
      if (value === undefined || !isByPhase) return value === undefined ? undefined : [value];
      const onL2 = period[NAMES[quantity][1]];
      if (onL2 !== undefined) return [value, onL2, period[NAMES[quantity][2]] ?? value];
      return [value, value, value].map((one) => (unit === "A" ? one : one / 3));
    });
    if (values.some((value) => value === undefined)) return undefined;
    return values.reduce((a, b) => a?.map((value, i) => value + (b?.[i] ?? 0)));
  };
  const numberPhases = Math.max(...periods.map(({ numberPhases }) => numberPhases ?? 3));
  const period: CompositePeriod = { startPeriod: 0, numberPhases };
  for (const quantity of ["limit", "dischargeLimit", "setpoint"] as const)
    setValues(period, quantity, sum(quantity));
  return { unit, period };
}

/** The most that an EVSE may draw in a period without a limit too. */
function mostOf(
  { limit, setpoint, operationMode }: CompositePeriod,
  { maxCurrentA, maxPowerW }: StationEvse,
  unit: RateUnit,
): number {
  if (limit !== undefined) return limit;
  if (operationMode === "Idle") return 0;
  if (setpoint !== undefined) return Math.max(0, setpoint);
  return unit === "A" ? maxCurrentA : maxPowerW;
}

function isSame(a: CompositePeriod, b: CompositePeriod): boolean {
  return COMPARED.every((name) => a[name] === b[name]);
}

function instantOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const atMs = timeOf(text);
  if (Number.isNaN(atMs)) throw new WattslotError("INVALID_ARGUMENT", `${JSON.stringify(text)} is no time`);
  return atMs;
}

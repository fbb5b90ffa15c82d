import { type ChargingStation, type CompositePeriod, compositeSchedule } from "./composite.ts";
import { misfitsOfEvSchedule, misfitsOfRequest, unreadable } from "./shape.ts";
import { timeOf, type WirePeriod, type WireProfile2x, type WireSchedule } from "./wire.ts";

/** The payload of NotifyEVChargingSchedule: how a vehicle means to charge, counted from timeBase. */
export interface NotifyEvChargingSchedule {
  evseId: number;
  timeBase: string;
  /** Of it only unit, duration, and the periods' times and limits count. */
  chargingSchedule: WireSchedule;
  /** 2.1: which of the schedules that it was offered. */
  selectedChargingScheduleId?: number;
}

/** The payload of a SetChargingProfile of 2.x. */
export interface SetChargingProfile2x {
  evseId: number;
  chargingProfile: WireProfile2x;
}

/** A time in which a vehicle means to draw more than it may; W in all, negative where it gives. */
export interface ScheduleExcess {
  fromMs: number;
  /** Infinity where the schedule does not end. */
  toMs: number;
  powerW: number;
  allowedW: number;
}

/** The EVSE that a vehicle's schedule is for. */
export interface ScheduledEvse {
  version: "2.0.1" | "2.1";
  supply: "AC" | "DC";
  /** Of one phase; between two lines that of the pair. */
  voltageV: number;
  /** When the transaction began, from which a Relative profile counts. Default: when the schedule does. */
  transactionStartMs?: number;
}

const YEAR_MS = 366 * 86_400_000;
/** ISO 15118 rounds powers: to 10 W from here on, which no whole number of 16 bits can say finer. */
const COARSE_W = 32_767;

/** Reads NotifyEVChargingSchedule; throws INVALID_ARGUMENT with every field of another form. */
export function readEvSchedule(payload: unknown, version: "2.0.1" | "2.1"): NotifyEvChargingSchedule {
  const misfits = misfitsOfEvSchedule(payload, version);
  if (misfits.length > 0) throw unreadable(misfits);
  return payload as NotifyEvChargingSchedule;
}

/** Reads SetChargingProfile of 2.x; throws INVALID_ARGUMENT with every field of another form. */
export function readProfileRequest(payload: unknown, version: "2.0.1" | "2.1"): SetChargingProfile2x {
  const misfits = misfitsOfRequest(payload, version);
  if (misfits.length > 0) throw unreadable(misfits);
  return payload as SetChargingProfile2x;
}

/**
 * Where a vehicle means to draw more, or to give more, than the profile that its charger holds allows it: empty where
 * its schedule is inside (K15.FR.12), in order of time where it is not (FR.13). Where the profile offers several
 * schedules and the vehicle did not say which it chose, it may keep to any. Powers may differ by what ISO 15118
 * rounds: 1 W, above 32 767 W 10 W.
 */
export function judgeSchedule(
  schedule: NotifyEvChargingSchedule,
  held: SetChargingProfile2x,
  evse: ScheduledEvse,
): ScheduleExcess[] {
  const { chargingSchedule: offered } = held.chargingProfile;
  const chosen = offered.findIndex(({ id }) => id === schedule.selectedChargingScheduleId);
  const candidates = chosen >= 0 ? [chosen] : offered.map((_, index) => index);
  const found = candidates.map((index) => excessesOver(schedule, held, evse, index));
  return found.reduce((least, other) => (other.length < least.length ? other : least));
}

function excessesOver(
  { timeBase, chargingSchedule, evseId }: NotifyEvChargingSchedule,
  { chargingProfile }: SetChargingProfile2x,
  { version, supply, voltageV, transactionStartMs }: ScheduledEvse,
  scheduleIndex: number,
): ScheduleExcess[] {
  const startMs = Math.floor(timeOf(timeBase) / 1000) * 1000;
  const { duration, chargingSchedulePeriod: periods, chargingRateUnit } = chargingSchedule;
  const endMs = startMs + (duration === undefined ? YEAR_MS : duration * 1000);
  if (endMs <= startMs) return [];
  const { transactionId = "" } = chargingProfile;
  const station: ChargingStation = {
    version,
    voltageV,
    installed: [{ evseId, profile: chargingProfile }],
    evses: [
      {
        evseId,
        supply,
        maxCurrentA: Number.POSITIVE_INFINITY,
        maxPowerW: Number.POSITIVE_INFINITY,
        transaction: { transactionId, startMs: transactionStartMs ?? startMs, scheduleIndex },
      },
    ],
  };
  const allowed = compositeSchedule(station, { evseId, startMs, endMs, unit: "W" });
  const starts = [...periods, ...allowed].map(({ startPeriod }) => startMs + startPeriod * 1000);
  const instants = [...new Set(starts)].filter((atMs) => atMs < endMs).sort((a, b) => a - b);
  const excesses: ScheduleExcess[] = [];
  instants.forEach((fromMs, n) => {
    const wants = inForce(periods, fromMs, startMs);
    if (wants === undefined) return;
    const powerW = chargingRateUnit === "W" ? wattsOf(wants) : amperesAsW(wants, voltageV);
    const allowedW = allowedOf(inForce(allowed, fromMs, startMs));
    if (isInside(powerW, allowedW)) return;
    const lastMs = duration === undefined ? Number.POSITIVE_INFINITY : endMs;
    const toMs = instants[n + 1] ?? lastMs;
    const before = excesses[excesses.length - 1];
    if (before?.toMs === fromMs && before.powerW === powerW && before.allowedW === allowedW)
      before.toMs = toMs;
    else excesses.push({ fromMs, toMs, powerW, allowedW });
  });
  return excesses;
}

function inForce<Period extends { startPeriod: number }>(
  periods: readonly Period[],
  atMs: number,
  startMs: number,
): Period | undefined {
  return periods.findLast(({ startPeriod }) => startMs + startPeriod * 1000 <= atMs);
}

/** Where L2 or L3 have a limit of their own, the first is that of L1. */
function wattsOf({ limit = 0, setpoint, limit_L2, limit_L3 }: WirePeriod): number {
  return (setpoint ?? limit) + (limit_L2 ?? 0) + (limit_L3 ?? 0);
}

function amperesAsW(
  { limit = 0, setpoint, limit_L2, limit_L3, numberPhases = 3 }: WirePeriod,
  voltageV: number,
): number {
  if (limit_L2 !== undefined || limit_L3 !== undefined)
    return voltageV * ((setpoint ?? limit) + (limit_L2 ?? 0) + (limit_L3 ?? 0));
  return voltageV * numberPhases * (setpoint ?? limit);
}

function allowedOf(period: CompositePeriod | undefined): number {
  if (period === undefined) return Number.POSITIVE_INFINITY;
  if (period.operationMode === "Idle") return 0;
  return period.setpoint ?? wattsOf(period);
}

/** No more in than allowed; out no more than it is asked for. */
function isInside(powerW: number, allowedW: number): boolean {
  const toleranceW = Math.abs(powerW) > COARSE_W ? 10 : 1;
  return powerW <= Math.max(allowedW, 0) + toleranceW && powerW >= Math.min(allowedW, 0) - toleranceW;
}

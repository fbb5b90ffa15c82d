import { type ChargingStation, type CompositePeriod, compositeSchedule } from "./composite.ts";
import { type Misfit, misfitsOfEvSchedule, misfitsOfRequest, unreadable } from "./shape.ts";
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

/** A time in which a vehicle means to draw more than it may. */
export interface ScheduleExcess {
  fromMs: number;
  /** Infinity where the schedule does not end. */
  toMs: number;
  /** In all, negative where it gives; where a phase alone is too high, of that. */
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

/** No plan is longer, and what recurs has recurred by then. */
const LONGEST_MS = 31 * 86_400_000;
/** The largest number of ISO 15118-2's 16 bits: powers above it are told in tens of W, those above ten times it in hundreds. */
const FINE_W = 32_767;

/**
 * Reads NotifyEVChargingSchedule; throws INVALID_ARGUMENT with every field of another form, and where its periods
 * say no power or do not follow each other from 0 on (K01.FR.31, FR.35).
 */
export function readEvSchedule(payload: unknown, version: "2.0.1" | "2.1"): NotifyEvChargingSchedule {
  const misfits = misfitsOfEvSchedule(payload, version);
  if (misfits.length > 0) throw unreadable(misfits);
  const schedule = payload as NotifyEvChargingSchedule;
  const unclear = unclearIn(schedule.chargingSchedule);
  if (unclear.length > 0) throw unreadable(unclear);
  return schedule;
}

function unclearIn({ duration, chargingSchedulePeriod: periods }: WireSchedule): Misfit[] {
  const found: Misfit[] = [];
  if (duration !== undefined && duration <= 0)
    found.push({ path: "chargingSchedule.duration", problem: `is ${duration} s, which is no time` });
  periods.forEach(({ startPeriod, limit, setpoint, operationMode = "ChargingOnly" }, n) => {
    const path = `chargingSchedule.chargingSchedulePeriod[${n}]`;
    const beforeS = n === 0 ? undefined : periods[n - 1].startPeriod;
    if (beforeS === undefined && startPeriod !== 0)
      found.push({ path: `${path}.startPeriod`, problem: `is ${startPeriod}, and the first must be 0` });
    else if (beforeS !== undefined && startPeriod <= beforeS)
      found.push({
        path: `${path}.startPeriod`,
        problem: `is ${startPeriod}, not after that before, ${beforeS}`,
      });
    if (operationMode === "ChargingOnly" && limit === undefined && setpoint === undefined)
      found.push({ path: `${path}.limit`, problem: "is missing" });
  });
  return found;
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
 * schedules and the vehicle did not say which it chose, it may keep to any. Powers may differ by what rounding in
 * ISO 15118-2 makes: half a W, above 32 767 W 5 W.
 *
 * Before the profile begins, its first period counts: clocks differ. Where it has ended, nothing is allowed. A
 * schedule with powers of its own on L2 and L3, or one held against such limits, must be inside on each phase; what is
 * told of all phases is spread evenly. At most 31 days are looked at.
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
  { evseId: heldBy, chargingProfile }: SetChargingProfile2x,
  { version, supply, voltageV, transactionStartMs }: ScheduledEvse,
  scheduleIndex: number,
): ScheduleExcess[] {
  const startMs = Math.floor(timeOf(timeBase) / 1000) * 1000;
  const { duration, chargingSchedulePeriod: periods, chargingRateUnit } = chargingSchedule;
  const lastMs = duration === undefined ? Number.POSITIVE_INFINITY : startMs + duration * 1000;
  const endMs = Math.min(lastMs, startMs + LONGEST_MS);
  const { transactionId = "" } = chargingProfile;
  const station: ChargingStation = {
    version,
    voltageV,
    installed: [{ evseId: heldBy, profile: chargingProfile }],
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
  const composite = compositeSchedule(station, { evseId, startMs, endMs, unit: "W" });
  const begins = composite.find((period) => !isUnlimited(period));
  let allowed: CompositePeriod | undefined;
  let wanted = periods[0];
  let [nextAllowed, nextWanted] = [0, 0];
  const excesses: ScheduleExcess[] = [];
  for (let fromS = 0; startMs + fromS * 1000 < endMs; ) {
    while (composite[nextAllowed]?.startPeriod <= fromS) allowed = composite[nextAllowed++];
    while (periods[nextWanted]?.startPeriod <= fromS) wanted = periods[nextWanted++];
    const toS = Math.min(
      composite[nextAllowed]?.startPeriod ?? Number.POSITIVE_INFINITY,
      periods[nextWanted]?.startPeriod ?? Number.POSITIVE_INFINITY,
    );
    const hasBegun = begins === undefined || begins.startPeriod <= fromS;
    const mostNow = hasBegun ? allowed : begins;
    const wants = powerOf(wanted, chargingRateUnit, voltageV);
    const may = mostNow === undefined || isUnlimited(mostNow) ? NOTHING : powerOf(mostNow, "W", voltageV);
    const over = overOf(wants, may);
    const fromMs = startMs + fromS * 1000;
    // A schedule that has run out with the time that is looked at goes on with what it said last.
    const toMs = startMs + toS * 1000 < endMs ? startMs + toS * 1000 : lastMs;
    fromS = toS;
    if (over === undefined) continue;
    const before = excesses[excesses.length - 1];
    if (before?.toMs === fromMs && before.powerW === over.powerW && before.allowedW === over.allowedW)
      before.toMs = toMs;
    else excesses.push({ fromMs, toMs, ...over });
  }
  return excesses;
}

/** Whether no profile is in force: what an EVSE gives then is no allowance. */
function isUnlimited({ limit, setpoint }: CompositePeriod): boolean {
  return setpoint === undefined && limit === Number.POSITIVE_INFINITY;
}

/** A power in all, and on each line: as it is told, else spread evenly. */
interface Power {
  powerW: number;
  lines: readonly number[];
  isByPhase: boolean;
}

const NOTHING: Power = { powerW: 0, lines: [0, 0, 0], isByPhase: false };

/** Where L2 or L3 have a limit of their own, the first is that of L1. */
function powerOf(period: WirePeriod, unit: "A" | "W", voltageV: number): Power {
  const { limit = 0, setpoint, limit_L2, limit_L3, setpoint_L2, setpoint_L3, numberPhases } = period;
  if (period.operationMode === "Idle") return NOTHING;
  const [onL1, onL2, onL3] =
    setpoint === undefined ? [limit, limit_L2, limit_L3] : [setpoint, setpoint_L2, setpoint_L3];
  const perUnitW = unit === "W" ? 1 : voltageV;
  const count = numberPhases || 3;
  if (onL2 !== undefined || onL3 !== undefined) {
    const lines = [onL1, onL2 ?? 0, onL3 ?? 0].map((value) => value * perUnitW);
    return { powerW: lines[0] + lines[1] + lines[2], lines, isByPhase: true };
  }
  const powerW = onL1 * perUnitW * (unit === "W" ? 1 : count);
  return { powerW, lines: [powerW / count, powerW / count, powerW / count], isByPhase: false };
}

/** What is wanted above what is allowed, in all or where only a phase is too high on that; undefined where nothing is. */
function overOf(wants: Power, may: Power): { powerW: number; allowedW: number } | undefined {
  if (!isInside(wants.powerW, may.powerW)) return { powerW: wants.powerW, allowedW: may.powerW };
  if (!wants.isByPhase && !may.isByPhase) return undefined;
  const line = wants.lines.findIndex((powerW, n) => !isInside(powerW, may.lines[n]));
  return line < 0 ? undefined : { powerW: wants.lines[line], allowedW: may.lines[line] };
}

/** No more in than allowed; out no more than it is asked for. */
function isInside(powerW: number, allowedW: number): boolean {
  let toleranceW = 0.5;
  for (let mostW = FINE_W; Math.abs(powerW) > mostW; mostW *= 10) toleranceW *= 10;
  return powerW <= Math.max(allowedW, 0) + toleranceW && powerW >= Math.min(allowedW, 0) - toleranceW;
}

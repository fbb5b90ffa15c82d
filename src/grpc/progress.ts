import { type InstalledPlan, type Session, TimeSeries } from "../gen/wattslot/v1/optimizer.ts";
import { spanOf } from "./kept-series.ts";

const HOUR_MS = 3_600_000;

/** Below this share of what it may, a vehicle leaves power to others. */
const TAKES_ALL = 0.95;
/** So much more than a vehicle was seen to take is left to it that it can show when it would take more, even of a limit
 * in whole amperes. */
const MARGIN = 1.2;
/** A vehicle that draws less than this draws nothing: its electronics. */
const NOTHING_W = 100;
/** Time in which a vehicle that may charge has to begin. */
const ASLEEP_MS = 10 * 60_000;
/** Of a product of percentages. */
const ROUNDING = 1e-9;
/** Between two meter values closer than this, a power would mostly be rounding. */
const SHORTEST_SPAN_MS = 20_000;
/** Steps that are put in front of an installed plan. */
const MOST_BEFORE = 10_000;

/** What was measured of a vehicle, as it is kept. Instants are epoch ms. */
export interface Progress {
  /** Energy metered since the beginning of the stay, and when. */
  meteredWh?: number;
  meteredMs?: number;
  /** Of that, what the need does not count: it was told later. */
  needMeteredWh: number;
  /** State of charge, when it was measured, and what had been metered by then. */
  socPercent?: number;
  socMs?: number;
  socMeteredWh?: number;
  /** The most it was seen to take of what it may, W. */
  takenW?: number;
  /** Since when it takes nothing of what it may. */
  quietSinceMs?: number;
  /** When its charger began to wait for a profile. */
  awaitedMs?: number;
}

/** A measurement as it came in; what was not measured is absent. */
export interface Measurement {
  measuredMs: number;
  meteredWh?: number;
  socPercent?: number;
  powerW?: number;
}

/**
 * Progress with a measurement, `allowedW` being what the vehicle may draw at that time, undefined while that is not
 * sure. `isDue`: what is left to others, or what is known of its need, has changed. What is older than what is kept
 * has no effect.
 */
export function measured(
  kept: Progress,
  { measuredMs, meteredWh, socPercent, powerW }: Measurement,
  allowedW: number | undefined,
): { progress: Progress; isDue: boolean } {
  const lastMs = Math.max(kept.meteredMs ?? 0, kept.socMs ?? 0);
  if (measuredMs < lastMs) return { progress: kept, isDue: false };
  const progress: Progress = { ...kept };
  if (meteredWh !== undefined) Object.assign(progress, { meteredWh, meteredMs: measuredMs });
  if (socPercent !== undefined)
    Object.assign(progress, { socPercent, socMs: measuredMs, socMeteredWh: progress.meteredWh ?? 0 });
  const drawnW = powerW ?? meanPowerW(kept, measuredMs, meteredWh);
  // A vehicle that gives takes nothing, and would take what it may at another time.
  if (drawnW === undefined || drawnW < 0 || allowedW === undefined)
    return { progress, isDue: socPercent !== undefined };
  const mayW = Math.min(allowedW, kept.takenW ?? Number.POSITIVE_INFINITY);
  if (drawnW >= NOTHING_W && drawnW >= TAKES_ALL * mayW) delete progress.takenW;
  else if (drawnW < TAKES_ALL * allowedW) progress.takenW = MARGIN * drawnW;
  if (drawnW >= NOTHING_W || allowedW < NOTHING_W) delete progress.quietSinceMs;
  else progress.quietSinceMs ??= measuredMs;
  const before = kept.takenW ?? allowedW;
  const now = progress.takenW ?? allowedW;
  const isOther = Math.abs(now - before) > 0.1 * Math.max(before, now);
  return {
    progress,
    isDue:
      isOther || isAsleep(kept, measuredMs) !== isAsleep(progress, measuredMs) || socPercent !== undefined,
  };
}

/** Whether a vehicle has long taken nothing of what it may. */
export function isAsleep({ quietSinceMs }: Progress, nowMs: number): boolean {
  return quietSinceMs !== undefined && nowMs - quietSinceMs >= ASLEEP_MS;
}

function meanPowerW(kept: Progress, measuredMs: number, meteredWh: number | undefined): number | undefined {
  if (meteredWh === undefined || kept.meteredWh === undefined || kept.meteredMs === undefined)
    return undefined;
  const spanMs = measuredMs - kept.meteredMs;
  return spanMs < SHORTEST_SPAN_MS ? undefined : ((meteredWh - kept.meteredWh) * HOUR_MS) / spanMs;
}

/**
 * Energy that a vehicle has drawn since the beginning of its stay, Wh: as metered, and from then on as its charger
 * allows, as far as the vehicle was seen to take it.
 */
export function drawnWh(
  { meteredWh = 0, takenW }: Progress,
  { fromMs, allowed }: { fromMs: number; allowed: InstalledPlan | undefined },
  nowMs: number,
): number {
  return meteredWh + energyWh(allowed?.powerW, fromMs, nowMs, takenW ?? Number.POSITIVE_INFINITY);
}

/** Energy of a series of powers between two instants, each at most `mostW`; its last value holds. */
function energyWh(series: TimeSeries | undefined, fromMs: number, toMs: number, mostW: number): number {
  if (series === undefined || series.values.length === 0) return 0;
  const startMs = series.startTime?.getTime() ?? 0;
  const stepMs = series.stepSeconds * 1000;
  let sumWh = 0;
  for (let atMs = Math.max(fromMs, startMs); atMs < toMs; ) {
    const n = Math.floor((atMs - startMs) / stepMs);
    const isLast = n >= series.values.length - 1;
    const untilMs = isLast ? toMs : Math.min(toMs, startMs + (n + 1) * stepMs);
    const powerW = Math.min(mostW, Math.max(0, series.values[Math.min(n, series.values.length - 1)]));
    sumWh += (powerW * (untilMs - atMs)) / HOUR_MS;
    atMs = untilMs;
  }
  return sumWh;
}

/** The most that a charger goes on to allow, W. */
export function highestFromW(allowed: InstalledPlan, fromMs: number): number {
  const { startTime, stepSeconds, values } = allowed.powerW ?? TimeSeries.create();
  const first = Math.floor((fromMs - (startTime?.getTime() ?? 0)) / (stepSeconds * 1000));
  return Math.max(0, ...values.slice(Math.min(Math.max(0, first), values.length - 1)));
}

/** What a charger allows at an instant, W; 0 where nothing is known. */
export function allowedAtW(allowed: InstalledPlan | undefined, atMs: number): number {
  const series = allowed?.powerW;
  if (series === undefined || series.values.length === 0) return 0;
  const n = Math.floor((atMs - (series.startTime?.getTime() ?? 0)) / (series.stepSeconds * 1000));
  return Math.max(0, series.values[Math.min(Math.max(0, n), series.values.length - 1)]);
}

/**
 * A session with what is still to be delivered at an instant, by the energy drawn since its stay began, of which the
 * share `efficiency` reaches the battery.
 */
export function remaining(
  session: Session,
  progress: Progress,
  { drawn, efficiency }: { drawn: number; efficiency: number },
  nowMs: number,
): Session {
  const sinceNeedWh = Math.max(0, drawn - progress.needMeteredWh);
  const { need, minimum } = session;
  const left: Session = {
    ...session,
    departureChances: session.departureChances.filter(({ time }) => (time?.getTime() ?? 0) > nowMs),
    minimum:
      minimum === undefined || (minimum.byTime?.getTime() ?? 0) <= nowMs
        ? undefined
        : { ...minimum, energyWh: Math.max(0, minimum.energyWh - sinceNeedWh) },
  };
  if (need?.$case === "energyWh")
    left.need = { $case: "energyWh", value: Math.max(0, need.value - sinceNeedWh) };
  else if (need?.$case === "stateOfCharge") {
    const { value } = need;
    const sinceSocWh = progress.socMs === undefined ? sinceNeedWh : drawn - (progress.socMeteredWh ?? 0);
    const from = progress.socPercent ?? value.socPercent;
    const gained = (100 * efficiency * Math.max(0, sinceSocWh)) / value.batteryCapacityWh;
    left.need = { $case: "stateOfCharge", value: { ...value, socPercent: Math.min(100, from + gained) } };
  }
  // The one falls with the energy that was metered, the other with the state of charge that was told.
  if (left.minimum !== undefined)
    left.minimum.energyWh = Math.min(left.minimum.energyWh, (1 - ROUNDING) * neededWh(left.need, efficiency));
  return left;
}

/** Energy at the meter that a need stands for, Wh. */
export function neededWh(need: Session["need"], efficiency: number): number {
  if (need?.$case === "energyWh") return need.value;
  if (need === undefined) return 0;
  const { socPercent, targetSocPercent, fullSocPercent, batteryCapacityWh } = need.value;
  const full = fullSocPercent ?? 100;
  const missing = Math.max(0, Math.min(targetSocPercent ?? full, full) - socPercent);
  return (missing * batteryCapacityWh) / (100 * efficiency);
}

/** An installed plan with what another one allowed from an instant until it begins in front of it. */
export function continued(
  before: InstalledPlan | undefined,
  plan: InstalledPlan,
  fromMs: number,
): InstalledPlan {
  const { powerW } = plan;
  if (before === undefined || powerW === undefined) return plan;
  const stepMs = powerW.stepSeconds * 1000;
  const { startMs } = spanOf(powerW);
  const count = Math.min(MOST_BEFORE, Math.max(0, Math.ceil((startMs - fromMs) / stepMs)));
  const values = Array.from({ length: count }, (_, n) => {
    const atMs = startMs - (count - n) * stepMs;
    return (energyWh(before.powerW, atMs, atMs + stepMs, Number.POSITIVE_INFINITY) * HOUR_MS) / stepMs;
  });
  return {
    ...plan,
    powerW: {
      ...powerW,
      startTime: new Date(startMs - count * stepMs),
      values: [...values, ...powerW.values],
    },
  };
}

/** An installed plan that has begun by an instant, as before its own start its first value holds: clocks differ. */
export function begunBy(plan: InstalledPlan, nowMs: number): InstalledPlan {
  const { powerW } = plan;
  if (powerW === undefined || powerW.values.length === 0) return plan;
  const stepMs = powerW.stepSeconds * 1000;
  const { startMs } = spanOf(powerW);
  const count = Math.min(MOST_BEFORE, Math.max(0, Math.ceil((startMs - nowMs) / stepMs)));
  if (count === 0) return plan;
  const values = [...Array<number>(count).fill(powerW.values[0]), ...powerW.values];
  return { ...plan, powerW: { ...powerW, startTime: new Date(startMs - count * stepMs), values } };
}

/**
 * The higher of what two installed plans allow at every instant, for a charger that holds either; the first may be
 * a level that holds without an end.
 */
export function higherOf(one: InstalledPlan | number, other: InstalledPlan): InstalledPlan {
  const second = other.powerW;
  if (second === undefined) return other;
  const at = (plan: InstalledPlan | number, atMs: number) =>
    typeof plan === "number" ? plan : signedAt(plan.powerW, atMs);
  const first = typeof one === "number" ? undefined : one.powerW;
  const startMs = Math.min(
    ...[first, second].map((series) => series?.startTime?.getTime() ?? Number.POSITIVE_INFINITY),
  );
  const endMs = Math.max(...[first, second].map((series) => (series === undefined ? 0 : endOf(series))));
  const stepS = first === undefined ? second.stepSeconds : gcd(first.stepSeconds, second.stepSeconds);
  const values = Array.from({ length: Math.ceil((endMs - startMs) / (stepS * 1000)) }, (_, n) => {
    const atMs = startMs + n * stepS * 1000;
    return Math.max(at(one, atMs), at(other, atMs));
  });
  return { ...other, numberPhases: [], powerW: { startTime: new Date(startMs), stepSeconds: stepS, values } };
}

function signedAt(series: TimeSeries | undefined, atMs: number): number {
  if (series === undefined || series.values.length === 0) return 0;
  const n = Math.floor((atMs - (series.startTime?.getTime() ?? 0)) / (series.stepSeconds * 1000));
  // Before a profile begins its first period counts, as clocks differ.
  return series.values[Math.min(Math.max(0, n), series.values.length - 1)];
}

function endOf({ startTime, stepSeconds, values }: TimeSeries): number {
  return (startTime?.getTime() ?? 0) + values.length * stepSeconds * 1000;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

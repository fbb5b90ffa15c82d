import { chargingRange, holdsOneLevel, maxPeriodsOf } from "../domain/charging.ts";
import { WattslotError } from "../domain/errors.ts";
import type { ChargingProfile, ChargingSchedule, ChargingSchedulePeriod, PowerPlan } from "../domain/plan.ts";
import type { Evse, Problem, Session } from "../domain/problem.ts";
import { staysOf } from "../domain/stays.ts";
import { compress, type Period } from "./compress.ts";

/** Of the first of the schedules that a vehicle may choose from, whose ids over ISO 15118 have one byte. */
const PLAN_ID = 1;

/** Relative distance at which a power still counts as a whole number of steps. */
const STEP_TOLERANCE = 1e-9;

/** The limits that one session's charger takes: whole steps of its unit. */
interface LimitScale {
  /** Phases drawn from; undefined on DC. */
  numberPhases: number | undefined;
  /** Which of them, where the charger could choose another; 2.x only. */
  phaseToUse: number | undefined;
  /** Power of one step, W. */
  stepPowerW: number;
  /** The step in tenths of the unit: whole tenths print without a binary fraction's tail. */
  stepTenths: number;
  /** Fewest steps that a limit other than 0 may have; Infinity where the vehicle can't charge. */
  minSteps: number;
  /** What is allowed where nothing is planned: 0, or minSteps where the charger rejects 0. */
  safeSteps: number;
}

/** The part of a slot that lies in a session's stay. */
interface StayPart {
  slot: number;
  fromMs: number;
  toMs: number;
}

/**
 * The scale of a session's limits. A per phase is P / (V x phases) (OCPP 2.1 K01.FR.50), V being the
 * voltage between the two lines where the EVSE hangs between two; W is the sum. On DC, where numberPhases must be absent, its default of three phases holds.
 */
export function limitScale(problem: Problem, sessionIndex: number): LimitScale {
  const session = problem.sessions[sessionIndex];
  const evse = problem.site.evses[session.evse];
  const range = chargingRange(problem.site, session);
  const minSteps = Math.round(range.minPowerW / range.stepPowerW);
  const isChoice = evse.maxPhaseSwitches > 0 && evse.supply === "AC" && range.phases.length === 1;
  return {
    numberPhases: phasesInProfile(evse, range.phases.length),
    phaseToUse: isChoice && evse.ocpp.version !== "1.6" ? 1 : undefined,
    stepPowerW: range.stepPowerW,
    stepTenths: Math.round(evse.ocpp.limitStep * 10),
    minSteps: range.maxPowerW > 0 ? Math.max(1, minSteps) : Number.POSITIVE_INFINITY,
    safeSteps: Math.round(range.floorPowerW / range.stepPowerW),
  };
}

/** numberPhases of a load on so many lines. Between two there is one current, which comes back on the second: one phase. */
export function phasesInProfile(evse: Evse, lines: number): number | undefined {
  if (evse.supply === "DC") return undefined;
  return evse.supply === "AC_LINE_TO_LINE" ? 1 : lines;
}

/**
 * The parts of the slots in which the vehicle is there, on whole seconds: a fraction of a second
 * at arrival and departure is given up. Empty where the stay lies outside the horizon.
 */
export function stayParts(problem: Problem, session: Session): StayPart[] {
  const startMs = stayStartMs(problem, session);
  const endMs = stayEndMs(problem, session);
  const parts: StayPart[] = [];
  for (let slot = 0; slot + 1 < problem.slotStartsMs.length; slot++) {
    const fromMs = Math.max(problem.slotStartsMs[slot], startMs);
    const toMs = Math.min(problem.slotStartsMs[slot + 1], endMs);
    if (fromMs < toMs) parts.push({ slot, fromMs, toMs });
  }
  return parts;
}

function stayStartMs(problem: Problem, session: Session): number {
  return Math.ceil(Math.max(problem.slotStartsMs[0], session.arrivalMs) / 1000) * 1000;
}

/** Not before the start, so that a stay that is over has its safe end at once. */
function stayEndMs(problem: Problem, session: Session): number {
  const horizonEndMs = problem.slotStartsMs[problem.slotStartsMs.length - 1];
  const endMs = Math.floor(Math.min(horizonEndMs, session.departureMs) / 1000) * 1000;
  return Math.max(endMs, stayStartMs(problem, session));
}

/** A period of a profile at its instant. */
type TimedPeriod = Omit<ChargingSchedulePeriod, "startPeriodS"> & { atMs: number };

/**
 * A session's plan as the charging profile for its charger. `powerW` has one value a slot, W over
 * all phases, and counts only inside the stay. Limits are rounded down to the charger's step;
 * what then lies below the least usable limit becomes 0 (the least limit where the charger rejects
 * 0). The last period begins at departure, or at the end of the horizon, and is safe: there is no
 * duration, after which the charger would fall back to a higher limit, and no validity. A vehicle that takes a
 * single period has its lowest level until its transaction ends. What the session
 * gives, as it is settled, stands in the same profile.
 *
 * The returned `powerW` is what the profile allows in the part of each slot inside the stay; it
 * is below the plan by rounding and by compression to the charger's number of periods, and negative
 * where the vehicle gives.
 *
 * Throws INTERNAL on a power that is no number.
 */
export function toProfile(
  problem: Problem,
  sessionIndex: number,
  powerW: Float64Array,
): { profile: ChargingProfile; powerW: Float64Array } {
  const session = problem.sessions[sessionIndex];
  const most = maxPeriodsOf(problem.site.evses[session.evse], session);
  const timed = toPeriods(problem, sessionIndex, powerW, most);
  return { profile: profileOf(problem, sessionIndex, timed.periods), powerW: timed.powerW };
}

/**
 * The same for a stay of several sessions, each on another number of phases: one profile, of which each has
 * an equal share of the periods. `powerW` of each session.
 */
export function toStayProfile(
  problem: Problem,
  stay: readonly number[],
  plan: PowerPlan,
): { profile: ChargingProfile; powerW: Float64Array[] } {
  const [first] = stay;
  const session = problem.sessions[first];
  const most = maxPeriodsOf(problem.site.evses[session.evse], session);
  // Only the last one's end is sent, but a part that ends at that level has it as one of its own.
  const withEnds = joined(problem, stay, plan, Math.floor((most - 1) / stay.length) + 1);
  const { periods, powerW } =
    withEnds.periods.length <= most ? withEnds : joined(problem, stay, plan, Math.floor(most / stay.length));
  return { profile: profileOf(problem, first, periods), powerW };
}

/** The periods of a stay's sessions, each in at most so many, one after the other. */
function joined(
  problem: Problem,
  stay: readonly number[],
  plan: PowerPlan,
  share: number,
): { periods: TimedPeriod[]; powerW: Float64Array[] } {
  const parts = stay.map((i) => toPeriods(problem, i, plan[i], share));
  const periods = parts.flatMap((part, n) => {
    const nextMs = parts[n + 1]?.periods[0].atMs ?? Number.POSITIVE_INFINITY;
    return part.periods.filter(({ atMs }) => atMs < nextMs);
  });
  return { periods, powerW: parts.map(({ powerW }) => powerW) };
}

/** A session's plan in at most so many periods, and what they allow. */
function toPeriods(
  problem: Problem,
  i: number,
  powerW: Float64Array,
  maxPeriods: number,
): { periods: TimedPeriod[]; powerW: Float64Array } {
  const session = problem.sessions[i];
  const scale = limitScale(problem, i);
  const endMs = stayEndMs(problem, session);
  const parts = stayParts(problem, session);
  const givesW = session.discharge?.plannedW;
  const planned = parts.map(({ slot, fromMs }) => ({
    atMs: fromMs,
    level: usableSteps(powerW[slot], scale) || 0 - givenSteps(givesW?.[slot] ?? 0, scale),
  }));
  if (!holdsOneLevel(session) || planned.length === 0) planned.push({ atMs: endMs, level: scale.safeSteps });
  const { periods } = compress(planned, endMs, maxPeriods);
  const isGiving = periods.some(({ level }) => level < 0);
  return {
    periods: periods.map((period) => toTimedPeriod(period, scale, isGiving)),
    powerW: allowedPowerW(periods, parts, powerW.length, scale),
  };
}

/** The profile of a stay that begins with a session. */
function profileOf(problem: Problem, i: number, periods: readonly TimedPeriod[]): ChargingProfile {
  const session = problem.sessions[i];
  const evse = problem.site.evses[session.evse];
  const { ocpp, evseId } = evse;
  const isTransaction = session.transactionId !== "" && !ocpp.prefersTxDefaultProfile;
  const installedId = session.installed?.chargingProfileId ?? 0;
  // The installed profile's id where it is known, else the same one every time for an EVSE and purpose: a profile
  // with a known id replaces that one, a second id is a DuplicateProfile (2.x K01.FR.05, FR.06).
  const usualId = isTransaction ? evseId * 10 + 1 : txDefaultProfileId(evse);
  const id = installedId > 0 ? installedId : usualId;
  return {
    id,
    stackLevel: ocpp.stackLevel,
    chargingProfilePurpose: isTransaction ? "TxProfile" : "TxDefaultProfile",
    chargingProfileKind: ocpp.wantsRelativeProfile ? "Relative" : "Absolute",
    transactionId: isTransaction ? session.transactionId : undefined,
    chargingRateUnit: ocpp.rateUnit,
    schedules: [
      {
        id: session.offer === undefined ? id : PLAN_ID,
        ...(ocpp.wantsRelativeProfile ? countedFromTransaction : countedFromStart)(problem, i, periods),
      },
    ],
  };
}

type Counted = Pick<ChargingSchedule, "startScheduleMs" | "periods">;

/** By a clock that is behind the first period has already begun. */
function countedFromStart(problem: Problem, i: number, periods: readonly TimedPeriod[]): Counted {
  const { clockLagMs } = problem.site.evses[problem.sessions[i].evse].ocpp;
  const startScheduleMs = periods[0].atMs - clockLagMs;
  return { startScheduleMs, periods: countedFrom(startScheduleMs, periods) };
}

/**
 * A transaction that began before the plan has a period at the safe limit for the time since. A charger that counts
 * as the standard wants is past it; one that counts from when it gets the profile stays there, below whatever is
 * planned, for as long as the transaction had lasted, and no limit is passed.
 */
function countedFromTransaction(problem: Problem, i: number, periods: readonly TimedPeriod[]): Counted {
  const [first] = periods;
  const zeroMs = Math.min(first.atMs, problem.sessions[i].transactionStartMs ?? first.atMs);
  const scale = limitScale(problem, i);
  const isGiving = periods.some(({ operationMode }) => operationMode !== undefined);
  const past = toTimedPeriod({ atMs: zeroMs, level: scale.safeSteps }, scale, isGiving);
  const isPast = zeroMs < first.atMs;
  const isSame = past.limit === first.limit && past.operationMode === first.operationMode;
  const later = isPast && isSame ? periods.slice(1) : periods;
  return { startScheduleMs: undefined, periods: countedFrom(zeroMs, isPast ? [past, ...later] : later) };
}

/** The first period lasts from there on. */
function countedFrom(zeroMs: number, periods: readonly TimedPeriod[]): ChargingSchedulePeriod[] {
  return periods.map(({ atMs, ...period }, n) => ({
    startPeriodS: n === 0 ? 0 : (atMs - zeroMs) / 1000,
    ...period,
  }));
}

/**
 * What the profiles of a plan allow each session, W; negative where it gives. Of a vehicle that takes a single
 * period what is planned for it: its level is found once all others are as they are sent.
 */
export function allowedPowers(problem: Problem, plan: PowerPlan): PowerPlan {
  return staysOf(problem).flatMap((stay) =>
    holdsOneLevel(problem.sessions[stay[0]])
      ? stay.map((i) => plan[i])
      : toStayProfile(problem, stay, plan).powerW,
  );
}

/** Of what holds at an EVSE for any transaction without a profile of its own. */
export function txDefaultProfileId({ evseId }: Evse): number {
  return evseId * 10 + 2;
}

function usableSteps(powerW: number, scale: LimitScale): number {
  if (!Number.isFinite(powerW)) throw new WattslotError("INTERNAL", `planned power is ${powerW}`);
  const steps = Math.floor((powerW / scale.stepPowerW) * (1 + STEP_TOLERANCE));
  return steps < scale.minSteps ? scale.safeSteps : steps;
}

/** Whole steps of what a vehicle gives; 0 under the least that its charger takes either way. */
function givenSteps(powerW: number, scale: LimitScale): number {
  const steps = Math.floor((powerW / scale.stepPowerW) * (1 + STEP_TOLERANCE));
  return steps < scale.minSteps ? 0 : steps;
}

/**
 * In a profile in which the vehicle gives, each period has its mode (2.1, chapter Q): ChargingOnly with a
 * limit, CentralSetpoint with a setpoint and no limit (Q03.FR.02), Idle with neither (Q10.FR.01).
 */
function toTimedPeriod({ atMs, level }: Period, scale: LimitScale, isGiving: boolean): TimedPeriod {
  const rate = (level * scale.stepTenths) / 10;
  const mode = level > 0 ? "ChargingOnly" : level < 0 ? "CentralSetpoint" : "Idle";
  return {
    atMs,
    limit: isGiving && level <= 0 ? undefined : rate,
    numberPhases: scale.numberPhases,
    phaseToUse: scale.phaseToUse,
    operationMode: isGiving ? mode : undefined,
    setpoint: level < 0 ? rate : undefined,
  };
}

/** Periods begin where parts do, so one period covers each part. */
function allowedPowerW(
  periods: readonly Period[],
  parts: readonly StayPart[],
  slotCount: number,
  scale: LimitScale,
): Float64Array {
  const powerW = new Float64Array(slotCount);
  let current = 0;
  for (const { slot, fromMs } of parts) {
    while (current + 1 < periods.length && periods[current + 1].atMs <= fromMs) current++;
    powerW[slot] = periods[current].level * scale.stepPowerW;
  }
  return powerW;
}

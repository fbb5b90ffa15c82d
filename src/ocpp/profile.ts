import { chargingRange } from "../domain/charging.ts";
import { WattslotError } from "../domain/errors.ts";
import type { ChargingProfile, ChargingSchedulePeriod, PowerPlan } from "../domain/plan.ts";
import type { Evse, Problem, Session } from "../domain/problem.ts";
import { staysOf } from "../domain/stays.ts";
import { compress, type Period } from "./compress.ts";

/** The 2.x schemas take no longer chargingSchedulePeriod, whatever the charger says of itself. */
const MAX_PERIODS_2X = 1024;

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

/**
 * A session's plan as the charging profile for its charger. `powerW` has one value a slot, W over
 * all phases, and counts only inside the stay. Limits are rounded down to the charger's step;
 * what then lies below the least usable limit becomes 0 (the least limit where the charger rejects
 * 0). The last period begins at departure, or at the end of the horizon, and is safe: there is no
 * duration, after which the charger would fall back to a higher limit, and no validity. What the session
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
  maxPeriods = maxPeriodsOf(problem.site.evses[problem.sessions[sessionIndex].evse]),
): { profile: ChargingProfile; powerW: Float64Array } {
  const session = problem.sessions[sessionIndex];
  const evse = problem.site.evses[session.evse];
  const scale = limitScale(problem, sessionIndex);
  const startMs = stayStartMs(problem, session);
  const endMs = stayEndMs(problem, session);
  const parts = stayParts(problem, session);

  const givesW = session.discharge?.plannedW;
  const planned = parts.map(({ slot, fromMs }) => ({
    atMs: fromMs,
    level: usableSteps(powerW[slot], scale) || 0 - givenSteps(givesW?.[slot] ?? 0, scale),
  }));
  planned.push({ atMs: endMs, level: scale.safeSteps });
  const { periods } = compress(planned, endMs, maxPeriods);
  const isGiving = periods.some(({ level }) => level < 0);

  const isTransaction = session.transactionId !== "" && !evse.ocpp.prefersTxDefaultProfile;
  return {
    profile: {
      id: profileId(session, evse, isTransaction),
      stackLevel: evse.ocpp.stackLevel,
      chargingProfilePurpose: isTransaction ? "TxProfile" : "TxDefaultProfile",
      chargingProfileKind: "Absolute",
      transactionId: isTransaction ? session.transactionId : undefined,
      startScheduleMs: startMs,
      chargingRateUnit: evse.ocpp.rateUnit,
      periods: periods.map((period) => toSchedulePeriod(period, startMs, scale, isGiving)),
    },
    powerW: allowedPowerW(periods, parts, powerW.length, scale),
  };
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
  if (stay.length === 1) {
    const { profile, powerW } = toProfile(problem, first, plan[first]);
    return { profile, powerW: [powerW] };
  }
  const most = maxPeriodsOf(problem.site.evses[problem.sessions[first].evse]);
  // Only the last one's end is sent, but a part that ends at that level has it as one of its own.
  const withEnds = joined(problem, stay, plan, Math.floor((most - 1) / stay.length) + 1);
  if (withEnds.profile.periods.length <= most) return withEnds;
  return joined(problem, stay, plan, Math.floor(most / stay.length));
}

/** The profiles of a stay's sessions, each in at most so many periods, one after the other. */
function joined(
  problem: Problem,
  stay: readonly number[],
  plan: PowerPlan,
  share: number,
): { profile: ChargingProfile; powerW: Float64Array[] } {
  const parts = stay.map((i) => toProfile(problem, i, plan[i], share));
  const { profile } = parts[0];
  const periods = parts.flatMap((part, n) => {
    const offsetS = (part.profile.startScheduleMs - profile.startScheduleMs) / 1000;
    const nextMs = parts[n + 1]?.profile.startScheduleMs ?? Number.POSITIVE_INFINITY;
    return part.profile.periods.flatMap((period) =>
      part.profile.startScheduleMs + period.startPeriodS * 1000 < nextMs
        ? [{ ...period, startPeriodS: period.startPeriodS + offsetS }]
        : [],
    );
  });
  return { profile: { ...profile, periods }, powerW: parts.map(({ powerW }) => powerW) };
}

/** What the profiles of a plan allow each session, W; negative where it gives. */
export function allowedPowers(problem: Problem, plan: PowerPlan): PowerPlan {
  return staysOf(problem).flatMap((stay) => toStayProfile(problem, stay, plan).powerW);
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

function maxPeriodsOf(evse: Evse): number {
  return evse.ocpp.version === "1.6" ? evse.ocpp.maxPeriods : Math.min(evse.ocpp.maxPeriods, MAX_PERIODS_2X);
}

/**
 * The installed profile's id where it is known, else the same one every time for an EVSE and
 * purpose: a profile with a known id replaces that one, a second id is a DuplicateProfile (2.x
 * K01.FR.05, FR.06).
 */
function profileId(session: Session, evse: Evse, isTransaction: boolean): number {
  const installedId = session.installed?.chargingProfileId ?? 0;
  if (installedId > 0) return installedId;
  return isTransaction ? evse.evseId * 10 + 1 : txDefaultProfileId(evse);
}

/** Of what holds at an EVSE for any transaction without a profile of its own. */
export function txDefaultProfileId({ evseId }: Evse): number {
  return evseId * 10 + 2;
}

/**
 * In a profile in which the vehicle gives, each period has its mode (2.1, chapter Q): ChargingOnly with a
 * limit, CentralSetpoint with a setpoint and no limit (Q03.FR.02), Idle with neither (Q10.FR.01).
 */
function toSchedulePeriod(
  { atMs, level }: Period,
  startMs: number,
  scale: LimitScale,
  isGiving: boolean,
): ChargingSchedulePeriod {
  const rate = (level * scale.stepTenths) / 10;
  const mode = level > 0 ? "ChargingOnly" : level < 0 ? "CentralSetpoint" : "Idle";
  return {
    startPeriodS: (atMs - startMs) / 1000,
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

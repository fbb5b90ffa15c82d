import { rangeOf } from "../domain/fallback.ts";
import type { ChargingProfile } from "../domain/plan.ts";
import type { Evse, Problem } from "../domain/problem.ts";
import { voltagesOf, wattsPerAmpere } from "../domain/wiring.ts";
import { phasesInProfile, txDefaultProfileId } from "./profile.ts";

const DAY_MS = 86_400_000;
/** Ids of EVSEs' profiles begin at 11. */
const STATION_PROFILE_ID = 3;
/** Relative distance at which a power still counts as a whole number of steps. */
const STEP_TOLERANCE = 1e-9;

/**
 * The TxDefaultProfile that holds an EVSE to one power, sum over the phases, W, at any time: without a duration, and
 * in force since midnight of the day before the plan, whatever the charger's clock says; Relative where the charger
 * takes nothing else, which for one power is the same.
 */
export function toFallbackProfile(problem: Problem, e: number, powerW: number): ChargingProfile {
  const evse = problem.site.evses[e];
  const { stepPowerW, phases } = rangeOf(problem, e);
  const { limitStep, rateUnit, stackLevel } = evse.ocpp;
  const steps = Math.floor((powerW / stepPowerW) * (1 + STEP_TOLERANCE));
  const id = txDefaultProfileId(evse);
  const limit = (steps * Math.round(limitStep * 10)) / 10;
  const schedules = constant(problem, id, limit, phasesInProfile(evse, phases.length));
  const { wantsRelativeProfile } = evse.ocpp;
  return {
    id,
    stackLevel,
    chargingProfilePurpose: "TxDefaultProfile",
    chargingProfileKind: wantsRelativeProfile ? "Relative" : "Absolute",
    transactionId: undefined,
    chargingRateUnit: rateUnit,
    schedules: wantsRelativeProfile
      ? schedules.map((schedule) => ({ ...schedule, startScheduleMs: undefined }))
      : schedules,
  };
}

/**
 * The maximum of a station, which may never cut a plan of its EVSEs, at most `powerW` in all. In A it is the sum of the
 * EVSEs' currents (1.6 takes it so), and as many phases as the one with most: fewer would hold all to that.
 */
export function toStationProfile(
  problem: Problem,
  members: readonly number[],
  powerW: number,
): ChargingProfile {
  const { site } = problem;
  const evses = members.map((e) => site.evses[e]);
  const voltages = voltagesOf(site);
  const wattsPerA = ({ circuit, supply, phases }: Evse) => wattsPerAmpere(voltages[circuit], supply, phases);
  const rateUnit = evses.every(({ ocpp }) => ocpp.rateUnit === "A") ? "A" : "W";
  const onAc = evses.filter(({ supply }) => supply !== "DC");
  const numberPhases = Math.max(0, ...onAc.map((evse) => phasesInProfile(evse, evse.phases.length) ?? 0));
  const currentA = evses.reduce((sumA, evse) => sumA + evse.maxCurrentA, 0);
  // A station brings W to A on so many phases: no EVSE's own current may be cut by that.
  const wholeW = Math.max(
    powerW,
    ...onAc.map((evse) => highestW(evse, wattsPerA(evse)) * (numberPhases / perPhase(evse))),
  );
  const mostA = Math.min(currentA, powerW / Math.min(...evses.map(wattsPerA)));
  const step = Math.max(...evses.map(({ ocpp }) => ocpp.limitStep));
  const steps = Math.floor(((rateUnit === "A" ? mostA : wholeW) / step) * (1 + STEP_TOLERANCE));
  return {
    id: STATION_PROFILE_ID,
    stackLevel: evses[0].ocpp.stackLevel,
    chargingProfilePurpose: "ChargingStationMaxProfile",
    chargingProfileKind: "Absolute",
    transactionId: undefined,
    chargingRateUnit: rateUnit,
    schedules: constant(
      problem,
      STATION_PROFILE_ID,
      (steps * Math.round(step * 10)) / 10,
      numberPhases || undefined,
    ),
  };
}

function perPhase(evse: Evse): number {
  return phasesInProfile(evse, evse.phases.length) ?? 1;
}

function highestW({ maxPowerW, maxCurrentA }: Evse, wattsPerA: number): number {
  return Math.min(maxPowerW, maxCurrentA * wattsPerA);
}

function constant(
  { slotStartsMs }: Problem,
  id: number,
  limit: number,
  numberPhases: number | undefined,
): ChargingProfile["schedules"] {
  const startScheduleMs = (Math.floor(slotStartsMs[0] / DAY_MS) - 1) * DAY_MS;
  return [{ id, startScheduleMs, periods: [{ startPeriodS: 0, limit, numberPhases }] }];
}

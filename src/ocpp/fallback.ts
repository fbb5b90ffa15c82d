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
 * in force since midnight of the day before the plan, whatever the charger's clock says. Absolute, as whoever
 * comes when is not known.
 */
export function toFallbackProfile(problem: Problem, e: number, powerW: number): ChargingProfile {
  const evse = problem.site.evses[e];
  const { stepPowerW, phases } = rangeOf(problem, e);
  const { limitStep, rateUnit, stackLevel } = evse.ocpp;
  const steps = Math.floor((powerW / stepPowerW) * (1 + STEP_TOLERANCE));
  return {
    id: txDefaultProfileId(evse),
    stackLevel,
    chargingProfilePurpose: "TxDefaultProfile",
    ...constant(problem, (steps * Math.round(limitStep * 10)) / 10, phasesInProfile(evse, phases.length)),
    chargingRateUnit: rateUnit,
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
    ...constant(problem, (steps * Math.round(step * 10)) / 10, numberPhases || undefined),
    chargingRateUnit: rateUnit,
  };
}

function perPhase(evse: Evse): number {
  return phasesInProfile(evse, evse.phases.length) ?? 1;
}

function highestW({ maxPowerW, maxCurrentA }: Evse, wattsPerA: number): number {
  return Math.min(maxPowerW, maxCurrentA * wattsPerA);
}

type Constant = Pick<
  ChargingProfile,
  "chargingProfileKind" | "transactionId" | "startScheduleMs" | "periods"
>;

function constant({ slotStartsMs }: Problem, limit: number, numberPhases: number | undefined): Constant {
  return {
    chargingProfileKind: "Absolute",
    transactionId: undefined,
    startScheduleMs: (Math.floor(slotStartsMs[0] / DAY_MS) - 1) * DAY_MS,
    periods: [{ startPeriodS: 0, limit, numberPhases }],
  };
}

import type { ChargingProfile, CircuitPlan, ProfileCommand, SessionPlan, SitePlan } from "../domain/plan.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import {
  Change,
  ChargingProfileKind,
  ChargingProfilePurpose,
  ChargingRateUnit,
  OcppVersion,
  PlanStatus,
  ShortfallCause,
  SolverKind,
} from "../gen/wattslot/v1/optimizer.ts";

const VERSIONS = {
  "1.6": OcppVersion.OCPP_VERSION_1_6,
  "2.0.1": OcppVersion.OCPP_VERSION_2_0_1,
  "2.1": OcppVersion.OCPP_VERSION_2_1,
} as const;
const PURPOSES = {
  TxProfile: ChargingProfilePurpose.TX_PROFILE,
  TxDefaultProfile: ChargingProfilePurpose.TX_DEFAULT_PROFILE,
  ChargingStationMaxProfile: ChargingProfilePurpose.CHARGING_STATION_MAX_PROFILE,
} as const;
const KINDS = {
  Absolute: ChargingProfileKind.ABSOLUTE,
  Relative: ChargingProfileKind.RELATIVE,
} as const;
const SOLVERS = { GLPK: SolverKind.GLPK, HIGHS: SolverKind.HIGHS, NONE: SolverKind.UNSPECIFIED } as const;

/** Writes a plan as the contract has it; `totalMs` is the time from the request to this answer. */
export function toResponse(plan: SitePlan, totalMs: number): wire.OptimizeResponse {
  const { summary, solve } = plan;
  return {
    siteId: plan.siteId,
    status: PlanStatus[plan.status],
    sessionPlans: plan.sessionPlans.map(toSessionPlan),
    sitePlan: {
      startTime: new Date(plan.startMs),
      slotStartTimes: plan.slotStartsMs.map((atMs) => new Date(atMs)),
      chargingPowerW: milli(plan.chargingPowerW),
      importPowerW: milli(plan.importPowerW),
      batteryPowerW: plan.batteryPowerW === undefined ? [] : milli(plan.batteryPowerW),
      exportPowerW:
        summary.pvEnergyWh > 0 || summary.dischargedEnergyWh > 0 || plan.batteryPowerW !== undefined
          ? milli(plan.exportPowerW)
          : [],
      pvPowerW: summary.pvEnergyWh > 0 ? milli(plan.pvPowerW) : [],
      circuits: plan.circuits.map(toCircuitPlan),
      wave1ByTime: plan.wave1ByMs === undefined ? undefined : new Date(plan.wave1ByMs),
      wave2ByTime: plan.wave2ByMs === undefined ? undefined : new Date(plan.wave2ByMs),
    },
    summary: {
      requestedEnergyWh: round(summary.requestedEnergyWh, 1e3),
      plannedEnergyWh: round(summary.plannedEnergyWh, 1e3),
      shortfallWh: round(summary.shortfallWh, 1e3),
      energyCost: round(summary.energyCost, 1e6),
      demandCost: round(summary.demandCost, 1e6),
      peakImportW: round(summary.peakImportW, 1e3),
      carbonKg: round(summary.carbonKg, 1e6),
      uncontrolledCost: round(summary.uncontrolledCost, 1e6),
      uncontrolledPeakW: round(summary.uncontrolledPeakW, 1e3),
      uncontrolledEnergyWh: round(summary.uncontrolledEnergyWh, 1e3),
      pvEnergyWh: round(summary.pvEnergyWh, 1e3),
      exportEnergyWh: round(summary.exportEnergyWh, 1e3),
      exportRevenue: round(summary.exportRevenue, 1e6),
      changedEnergyWh: round(summary.changedEnergyWh, 1e3),
      dischargedEnergyWh: round(summary.dischargedEnergyWh, 1e3),
      dischargePayment: round(summary.dischargePayment, 1e6),
      siteEnergyCost: round(summary.siteEnergyCost, 1e6),
    },
    notices: plan.notices,
    solve: {
      solver: SOLVERS[solve.solver],
      solveMs: round(solve.solveMs, 1e3),
      totalMs: round(totalMs, 1e3),
      columns: solve.columns,
      rows: solve.rows,
      objective: finite(solve.objective),
      bound: finite(solve.bound),
      gap: finite(solve.gap),
      checks: solve.checks,
    },
    fallbackProfiles: plan.fallbackProfiles.map(({ stationId, evseId, command, powerW }) => ({
      stationId,
      evseId,
      command: toCommand(command),
      powerW: round(powerW, 1e3),
    })),
  };
}

function toSessionPlan(plan: SessionPlan): wire.SessionPlan {
  const { command } = plan;
  return {
    sessionId: plan.sessionId,
    stationId: plan.stationId,
    evseId: plan.evseId,
    command: command === undefined ? undefined : toCommand(command),
    powerW: milli(plan.powerW),
    plannedEnergyWh: round(plan.plannedEnergyWh, 1e3),
    shortfallWh: round(plan.shortfallWh, 1e3),
    shortfallCauses: plan.shortfallCauses.map((cause) => ShortfallCause[cause]),
    completeTime: plan.completeMs === undefined ? undefined : new Date(plan.completeMs),
    energyCost: round(plan.energyCost, 1e6),
    explanation: plan.explanation,
    minimumShortfallWh: round(plan.minimumShortfallWh, 1e3),
    change: Change[plan.change],
    dischargedEnergyWh: round(plan.dischargedEnergyWh, 1e3),
    dischargePayment: round(plan.dischargePayment, 1e6),
    numberPhases: plan.numberPhases ?? [],
  };
}

/** Writes a command as the contract has it. */
export function toCommand(command: ProfileCommand): wire.ProfileCommand {
  return {
    ocppVersion: VERSIONS[command.ocppVersion],
    action: command.action,
    payloadJson: command.payloadJson,
    pushWave: command.pushWave,
    chargingProfile: toChargingProfile(command.chargingProfile),
  };
}

function toChargingProfile(profile: ChargingProfile): wire.ChargingProfile {
  return {
    id: profile.id,
    stackLevel: profile.stackLevel,
    chargingProfilePurpose: PURPOSES[profile.chargingProfilePurpose],
    chargingProfileKind: KINDS[profile.chargingProfileKind],
    transactionId: profile.transactionId ?? "",
    validFrom: undefined,
    validTo: undefined,
    chargingSchedules: profile.schedules.map(({ id, startScheduleMs, periods, prices }) => ({
      id,
      startSchedule: startScheduleMs === undefined ? undefined : new Date(startScheduleMs),
      durationSeconds: undefined,
      chargingRateUnit: ChargingRateUnit[profile.chargingRateUnit],
      chargingSchedulePeriods: periods.map(
        ({ startPeriodS, limit, numberPhases, phaseToUse, operationMode, setpoint }) => ({
          startPeriodSeconds: startPeriodS,
          limit,
          numberPhases,
          phaseToUse,
          setpoint,
          dischargeLimit: undefined,
          operationMode: operationMode ?? "",
        }),
      ),
      minChargingRate: undefined,
      pricesJson: prices === undefined ? "" : JSON.stringify(prices.value),
    })),
  };
}

function toCircuitPlan(circuit: CircuitPlan): wire.CircuitPlan {
  return {
    circuitId: circuit.circuitId,
    powerW: milli(circuit.powerW),
    // A limit that is not there can't be said in a list of numbers, and is there in all slots or in none.
    limitW: circuit.limitW.includes(Number.POSITIVE_INFINITY) ? [] : milli(circuit.limitW),
    shadowPricePerKwh: Array.from(circuit.shadowPricePerKwh, (price) => round(price, 1e6)),
  };
}

function milli(values: Float64Array): number[] {
  return Array.from(values, (value) => round(value, 1e3));
}

/** Rounds away what adding doubles leaves behind, and the sign of a zero. */
function round(value: number, perUnit: number): number {
  return Math.round(value * perUnit) / perUnit + 0;
}

/** Absent where a number says nothing: a bound of minus infinity, a gap to it. */
function finite(value: number): number | undefined {
  return Number.isFinite(value) ? round(value, 1e6) : undefined;
}

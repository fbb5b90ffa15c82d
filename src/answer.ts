import type { Charging } from "./domain/charging.ts";
import { check, type Excess } from "./domain/check.ts";
import { greedy } from "./domain/greedy.ts";
import { hasBaseLoad, meanCircuitLoad, measure } from "./domain/measure.ts";
import type {
  CircuitPlan,
  PlanStatus,
  PowerPlan,
  PowerStep,
  SessionPlan,
  SitePlan,
  SolveReport,
} from "./domain/plan.ts";
import type { Circuit, Notice, Problem } from "./domain/problem.ts";
import { Room } from "./domain/room.ts";
import { rangeOver, valueAt } from "./domain/series.ts";
import { voltagesOf } from "./domain/wiring.ts";
import { SHORTFALL_DUST_WH, shortfallCauses } from "./model/explain.ts";
import { changeOf, pushDeadlines } from "./ocpp/change.ts";
import { expand } from "./ocpp/expand.ts";
import { toPayload } from "./ocpp/payload.ts";
import { toProfile } from "./ocpp/profile.ts";

/** A plan and what is known of how it came about. */
export interface Candidate {
  power: PowerPlan;
  /** The same before it was merged to the periods that the chargers take. */
  unmerged: PowerPlan;
  status: PlanStatus;
  /** Energy that each session misses in the relaxed optimum, Wh; undefined where there is none. */
  relaxedShortWh: Float64Array | undefined;
  /** What one more kWh would be worth, [circuit][slot]; undefined where no duals are known. */
  shadowPrices: Float64Array[] | undefined;
  /** Fills in the report for the powers as sent. */
  report: (sent: PowerPlan) => Omit<SolveReport, "checks">;
}

/**
 * Turns a plan into the answer: writes each session's profile, reads the payloads back, checks
 * them against every limit, and reports on what they allow rather than on what was planned.
 * A plan with excesses must not be sent.
 */
export function answer(
  problem: Problem,
  charging: Charging,
  candidate: Candidate,
): { plan: SitePlan; excesses: Excess[] } {
  const { site, sessions, slotStartsMs } = problem;
  const voltages = voltagesOf(site);
  const sent: PowerPlan = [];
  const emitted: PowerStep[][] = [];
  const commands = candidate.power.map((power, i) => {
    const evse = site.evses[sessions[i].evse];
    const { profile, powerW } = toProfile(problem, i, power);
    const payloadJson = toPayload(profile, evse);
    emitted.push(expand(payloadJson, evse, voltages[evse.circuit]));
    sent.push(powerW);
    const { change, pushWave } = changeOf(problem, i, powerW);
    // Before a vehicle is there it has no transaction that a profile could be sent for.
    const canSend = sessions[i].arrivalMs <= slotStartsMs[0] || sessions[i].transactionId !== "";
    const command =
      change === "UNCHANGED" || !canSend
        ? undefined
        : {
            ocppVersion: evse.ocpp.version,
            action: "SetChargingProfile" as const,
            payloadJson,
            pushWave,
            chargingProfile: profile,
          };
    return { change, command };
  });
  const { excesses, checks } = check(problem, emitted);
  const { wave1Ms, wave2Ms } = pushDeadlines(
    problem,
    emitted,
    commands.map(({ command }) => command?.pushWave),
  );

  const measures = measure(problem, charging, sent);
  const sessionPlans = sessions.map((session, i): SessionPlan => {
    const plannedEnergyWh = Math.min(session.energyWh, measures.allowedWh[i]);
    const missingWh = session.energyWh - plannedEnergyWh;
    const shortfallWh = missingWh > SHORTFALL_DUST_WH ? missingWh : 0;
    return {
      sessionId: session.sessionId,
      stationId: site.evses[session.evse].stationId,
      evseId: site.evses[session.evse].evseId,
      command: commands[i].command,
      powerW: sent[i],
      plannedEnergyWh: session.energyWh - shortfallWh,
      shortfallWh,
      shortfallCauses: shortfallCauses(problem, i, charging.ranges[i].maxPowerW, {
        sentWh: shortfallWh,
        plannedWh: session.energyWh - deliveredWh(charging, candidate.unmerged, i),
        relaxedWh: candidate.relaxedShortWh?.[i],
      }),
      completeMs: shortfallWh > 0 ? undefined : completionMs(problem, charging, sent, i),
      energyCost: measures.energyCosts[i],
      change: commands[i].change,
    };
  });

  const asap = measure(problem, charging, greedy(problem, charging, "ARRIVAL"));
  const room = new Room(problem, charging);
  const plan: SitePlan = {
    siteId: site.siteId,
    status: candidate.status,
    sessionPlans,
    startMs: slotStartsMs[0],
    slotStartsMs: slotStartsMs.slice(0, -1),
    chargingPowerW: measures.chargingPowerW,
    importPowerW: measures.importPowerW,
    circuits: circuitPlans(problem, charging, sent, candidate.shadowPrices),
    wave1ByMs: wave1Ms,
    wave2ByMs: wave2Ms,
    summary: {
      requestedEnergyWh: sum(sessions.map((session) => session.energyWh)),
      plannedEnergyWh: sum(sessionPlans.map((session) => session.plannedEnergyWh)),
      shortfallWh: sum(sessionPlans.map((session) => session.shortfallWh)),
      energyCost: sum(measures.energyCosts),
      demandCost: measures.demandCost,
      peakImportW: measures.peakImportW,
      carbonKg: measures.carbonKg,
      uncontrolledCost: sum(asap.energyCosts) + asap.demandCost,
      uncontrolledPeakW: asap.peakImportW,
      uncontrolledEnergyWh: sum(sessions.map(({ energyWh }, i) => Math.min(energyWh, asap.allowedWh[i]))),
      changedEnergyWh: changedEnergyWh(problem, charging, sent),
    },
    notices: [...problem.notices, ...limitNotices(problem, charging, room)],
    solve: { ...candidate.report(sent), checks },
  };
  return { plan, excesses };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function deliveredWh(charging: Charging, plan: PowerPlan, i: number): number {
  const { first, hours } = charging.stays[i];
  return hours.reduce((energyWh, h, n) => energyWh + plan[i][first + n] * h, 0);
}

/** When a session's need is met, to the second; undefined where nothing is needed. */
function completionMs(problem: Problem, charging: Charging, plan: PowerPlan, i: number): number | undefined {
  const { energyWh, arrivalMs } = problem.sessions[i];
  const { first, end, hours } = charging.stays[i];
  let missingWh = energyWh - SHORTFALL_DUST_WH;
  if (energyWh <= 0) return undefined;
  for (let k = first; k < end; k++) {
    const slotWh = plan[i][k] * hours[k - first];
    if (slotWh >= missingWh && slotWh > 0) {
      const fromMs = Math.max(arrivalMs, problem.slotStartsMs[k]);
      const share = Math.max(0, missingWh) / slotWh;
      return fromMs + Math.ceil((share * hours[k - first] * 3_600_000) / 1000) * 1000;
    }
    missingWh -= slotWh;
  }
  return undefined;
}

/** Planned and base load of each circuit and its limit as a power, in each slot. */
function circuitPlans(
  problem: Problem,
  charging: Charging,
  plan: PowerPlan,
  shadowPrices: Float64Array[] | undefined,
): CircuitPlan[] {
  const { circuits, evses } = problem.site;
  const voltages = voltagesOf(problem.site);
  const starts = problem.slotStartsMs;
  const slotCount = starts.length - 1;
  const powerW = circuits.map((circuit, c) => {
    const loadW = new Float64Array(slotCount);
    if (!hasBaseLoad(circuit)) return loadW;
    return loadW.map((_, k) => meanCircuitLoad(circuit, voltages[c], starts[k], starts[k + 1]));
  });
  for (const evse of evses) {
    if (evse.uncontrolledPowerW === undefined) continue;
    for (let k = 0; k < slotCount; k++) powerW[evse.circuit][k] += evse.uncontrolledPowerW;
  }
  plan.forEach((power, i) => {
    const { first, end } = charging.stays[i];
    const { circuit } = evses[problem.sessions[i].evse];
    for (let k = first; k < end; k++) powerW[circuit][k] += power[k];
  });
  for (let c = circuits.length - 1; c > 0; c--) {
    for (let k = 0; k < slotCount; k++) powerW[circuits[c].parent][k] += powerW[c][k];
  }
  const limitsOf = ({ maxPowerW, maxCurrentA, maxPowerSeriesW: series }: Circuit, voltageV: number) => {
    const alwaysW = Math.min(maxPowerW, maxCurrentA * 3 * voltageV);
    const limitW = new Float64Array(slotCount).fill(alwaysW);
    if (series === undefined) return limitW;
    return limitW.map((_, k) => Math.min(alwaysW, rangeOver(series, starts[k], starts[k + 1]).min));
  };
  return circuits.map((circuit, c) => ({
    circuitId: circuit.circuitId,
    powerW: powerW[c],
    limitW: limitsOf(circuit, voltages[c]),
    shadowPricePerKwh: shadowPrices?.[c] ?? new Float64Array(slotCount),
  }));
}

/** Energy above or below the installed plans over the stays that have one, Wh. */
function changedEnergyWh(problem: Problem, charging: Charging, plan: PowerPlan): number {
  let changedWh = 0;
  problem.sessions.forEach(({ installed, arrivalMs }, i) => {
    if (installed === undefined) return;
    const { first, end, hours } = charging.stays[i];
    for (let k = first; k < end; k++) {
      const fromMs = Math.max(problem.slotStartsMs[k], arrivalMs);
      changedWh += Math.abs(plan[i][k] - valueAt(installed.powerW, fromMs)) * hours[k - first];
    }
  });
  return changedWh;
}

function limitNotices(problem: Problem, charging: Charging, room: Room): Notice[] {
  const { circuits, evses } = problem.site;
  const notices = room.overloaded.map((c) => ({
    code: "BASE_LOAD_OVER_LIMIT",
    field: "site.circuits",
    message: `circuit ${circuits[c].circuitId}: the base load is over a limit in some slot; no vehicle charges there then`,
  }));
  problem.sessions.forEach(({ sessionId, evse }, i) => {
    const { floorPowerW } = charging.ranges[i];
    if (floorPowerW === 0) return;
    const { first, end } = charging.stays[i];
    let overW = 0;
    for (let k = first; k < end; k++) {
      room.take(i, k, floorPowerW);
      overW = Math.max(overW, room.overdraft(i, k));
    }
    if (overW <= 1e-3) return;
    notices.push({
      code: "MINIMUM_OVER_LIMIT",
      field: `sessions[${i}]`,
      message:
        `station ${evses[evse].stationId} rejects a limit of 0: the minimum of session ${sessionId}, with those of ` +
        "other vehicles at such stations, is over the limit of a circuit, and no profile can lower it",
    });
  });
  return notices;
}

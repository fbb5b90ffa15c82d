import { type Charging, chargingOf, HOUR_MS } from "./domain/charging.ts";
import { check, type Excess } from "./domain/check.ts";
import { drawnByMs, energyByWh, energyWh, mostEnergyWh } from "./domain/delivery.ts";
import { chargedAgainWh, drawnOf, withoutDischarge } from "./domain/discharge.ts";
import { greedy } from "./domain/greedy.ts";
import { hasBaseLoad, meanCircuitLoad } from "./domain/load.ts";
import { type Measures, measure } from "./domain/measure.ts";
import type {
  CircuitPlan,
  PlanStatus,
  PowerPlan,
  PowerStep,
  ProfileCommand,
  SessionPlan,
  SitePlan,
  SolveReport,
} from "./domain/plan.ts";
import type { Circuit, Notice, Problem, Session } from "./domain/problem.ts";
import { Room } from "./domain/room.ts";
import { rangeOver, valueAt } from "./domain/series.ts";
import { staysOf, withWholeStays } from "./domain/stays.ts";
import { exportPrices, hasProduction, slotPv } from "./domain/surplus.ts";
import { slotPrices } from "./domain/tariff.ts";
import { voltagesOf } from "./domain/wiring.ts";
import { clockOf, explain } from "./explanation.ts";
import { SHORTFALL_DUST_WH, shortfallCauses } from "./model/explain.ts";
import { changeOfStay } from "./ocpp/change.ts";
import { expand } from "./ocpp/expand.ts";
import { toPayload } from "./ocpp/payload.ts";
import { toStayProfile } from "./ocpp/profile.ts";
import { type PushOrder, pushOrder } from "./ocpp/push.ts";

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
 * A plan with excesses must not be sent. `sent` has what the profiles allow each session of the problem.
 */
export function answer(
  problem: Problem,
  charging: Charging,
  candidate: Candidate,
): { plan: SitePlan; excesses: Excess[]; sent: PowerPlan } {
  const { site, sessions, slotStartsMs } = problem;
  const voltages = voltagesOf(site);
  const stays = staysOf(problem);
  const sent: PowerPlan = [];
  const emitted: PowerStep[][] = [];
  const profiles = stays.map((stay) => {
    const [first] = stay;
    const evse = site.evses[sessions[first].evse];
    const { profile, powerW } = toStayProfile(problem, stay, candidate.power);
    const payloadJson = toPayload(profile, evse);
    const steps = expand(payloadJson, evse, voltages[evse.circuit]);
    for (const [n, i] of stay.entries()) {
      emitted.push(sessions[i].goesOn || n > 0 ? during(steps, sessions[i]) : steps);
      sent.push(powerW[n]);
    }
    const { change, pushWave } = changeOfStay(problem, stay, sent);
    // Before a vehicle is there it has no transaction that a profile could be sent for.
    const canSend = sessions[first].arrivalMs <= slotStartsMs[0] || sessions[first].transactionId !== "";
    return { change, profile, payloadJson, wave: change === "UNCHANGED" || !canSend ? undefined : pushWave };
  });
  const { excesses, checks } = check(problem, emitted);
  const push = pushOrder(
    problem,
    emitted,
    stays.flatMap((stay, n) => stay.map(() => profiles[n].wave)),
  );
  const commandOf = (stay: readonly number[], n: number): ProfileCommand | undefined => {
    const { profile, payloadJson } = profiles[n];
    const pushWave = push.waves[stay[0]];
    if (pushWave === undefined) return undefined;
    return {
      ocppVersion: site.evses[sessions[stay[0]].evse].ocpp.version,
      action: "SetChargingProfile",
      payloadJson,
      pushWave,
      chargingProfile: profile,
    };
  };

  const drawn = sent.map((powerW, i) => drawnOf(sessions[i], powerW));
  // What a part of a stay misses another may have charged, or found in the battery.
  const whole = withWholeStays(problem);
  const wholeCharging = whole === problem ? charging : chargingOf(whole);
  const drawnInStays = stays.map((stay) => added(stay.map((i) => drawn[i])));
  const measures = measure(whole, wholeCharging, drawnInStays);
  const onlyCharged = withoutDischarge(whole, wholeCharging);
  const asap = measure(onlyCharged, wholeCharging, greedy(onlyCharged, wholeCharging, "ARRIVAL"));
  const told = {
    problem: whole,
    charging: wholeCharging,
    power: drawnInStays,
    room: roomLeft(whole, wholeCharging, drawnInStays),
    shadowPrices: candidate.shadowPrices,
    clock: clockOf(problem),
  };
  const sessionPlans = stays.map((stay, n): SessionPlan => {
    const [first] = stay;
    const planned = {
      unmergedW: added(stay.map((i) => candidate.unmerged[i])),
      relaxedWh: candidate.relaxedShortWh && sum(stay.map((i) => candidate.relaxedShortWh?.[i] ?? 0)),
    };
    const result = resultOf(whole, wholeCharging, planned, drawnInStays, n);
    const againWh = chargedAgainWh(problem, charging, first);
    const needWh = whole.sessions[n].energyWh - againWh;
    const outcome = {
      ...result,
      plannedEnergyWh: needWh - result.shortfallWh,
      energyCost: measures.energyCosts[n],
      ...givenBy(problem, charging, first),
    };
    // What is charged to be given again is bought for another end.
    const isDoneAtOnce = againWh === 0 && asap.allowedWh[n] >= needWh - SHORTFALL_DUST_WH;
    const atOnceCost = isDoneAtOnce ? asap.energyCosts[n] : Number.NaN;
    return {
      sessionId: sessions[first].sessionId,
      stationId: site.evses[sessions[first].evse].stationId,
      evseId: site.evses[sessions[first].evse].evseId,
      command: commandOf(stay, n),
      powerW: added(stay.map((i) => sent[i])),
      ...outcome,
      change: profiles[n].change,
      numberPhases: phasesIn(problem, charging, stay),
      explanation: explain(told, n, { ...outcome, atOnceCost, onOnePhase: onOnePhase(problem, stay) }),
    };
  });

  const room = new Room(whole, wholeCharging);
  const plan: SitePlan = {
    siteId: site.siteId,
    status: candidate.status,
    sessionPlans,
    startMs: slotStartsMs[0],
    slotStartsMs: slotStartsMs.slice(0, -1),
    chargingPowerW: measures.chargingPowerW,
    importPowerW: measures.importPowerW,
    exportPowerW: measures.exportPowerW,
    pvPowerW: measures.pvPowerW,
    batteryPowerW: undefined,
    circuits: circuitPlans(problem, charging, drawn, candidate.shadowPrices),
    wave1ByMs: push.wave1?.atMs,
    wave2ByMs: push.wave2?.atMs,
    summary: {
      requestedEnergyWh: sum(
        sessionPlans.map(({ plannedEnergyWh, shortfallWh }) => plannedEnergyWh + shortfallWh),
      ),
      plannedEnergyWh: sum(sessionPlans.map((session) => session.plannedEnergyWh)),
      shortfallWh: sum(sessionPlans.map((session) => session.shortfallWh)),
      energyCost: sum(measures.energyCosts),
      demandCost: measures.demandCost,
      peakImportW: measures.peakImportW,
      carbonKg: measures.carbonKg,
      uncontrolledCost: sum(asap.energyCosts) + asap.demandCost,
      uncontrolledPeakW: asap.peakImportW,
      uncontrolledEnergyWh: sum(
        onlyCharged.sessions.map(({ energyWh }, i) => Math.min(energyWh, asap.allowedWh[i])),
      ),
      changedEnergyWh: changedEnergyWh(problem, charging, sent),
      ...exported(problem, measures),
      dischargedEnergyWh: sum(sessionPlans.map(({ dischargedEnergyWh }) => dischargedEnergyWh)),
      dischargePayment: sum(sessionPlans.map(({ dischargePayment }) => dischargePayment)),
    },
    notices: [
      ...problem.notices,
      ...exportNotices(problem),
      ...limitNotices(whole, wholeCharging, room),
      ...pushNotices(push),
    ],
    solve: { ...candidate.report(sent), checks },
  };
  return { plan, excesses, sent };
}

/** Of what a profile says, what holds during one session of a stay. */
function during(steps: readonly PowerStep[], { arrivalMs, departureMs, goesOn }: Session): PowerStep[] {
  const holds = steps.findLast(({ atMs }) => atMs <= arrivalMs);
  const inside = steps.filter(({ atMs }) => atMs > arrivalMs && (!goesOn || atMs < departureMs));
  const own = holds === undefined ? inside : [{ ...holds, atMs: Math.max(holds.atMs, arrivalMs) }, ...inside];
  return goesOn ? [...own, { atMs: departureMs, powerW: 0 }] : own;
}

/** What a session, which is all of a stay, gets, and why it does not get more. */
function resultOf(
  problem: Problem,
  charging: Charging,
  planned: { unmergedW: Float64Array; relaxedWh: number | undefined },
  drawn: PowerPlan,
  i: number,
): Pick<SessionPlan, "shortfallWh" | "shortfallCauses" | "completeMs" | "minimumShortfallWh"> {
  const { energyWh: needWh } = problem.sessions[i];
  const missingWh = needWh - energyWh(problem, charging, i, drawn[i]);
  const shortfallWh = missingWh > SHORTFALL_DUST_WH ? missingWh : 0;
  const stages = {
    sentWh: shortfallWh,
    plannedWh: needWh - energyWh(problem, charging, i, planned.unmergedW),
    relaxedWh: planned.relaxedWh,
  };
  const { maxPowerW } = charging.ranges[i];
  return {
    shortfallWh,
    shortfallCauses: shortfallCauses(problem, i, maxPowerW, mostEnergyWh(problem, charging, i), stages),
    completeMs: shortfallWh > 0 ? undefined : completionMs(problem, charging, drawn, i),
    minimumShortfallWh: missingByMinimumWh(problem, charging, drawn, i),
  };
}

/** Number of phases in each slot of a stay, where its charger can change it. */
function phasesIn(
  { site, sessions, slotStartsMs }: Problem,
  charging: Charging,
  stay: readonly number[],
): number[] | undefined {
  if (site.evses[sessions[stay[0]].evse].maxPhaseSwitches === 0) return undefined;
  const numberPhases: number[] = Array.from({ length: slotStartsMs.length - 1 }, () => 0);
  for (const i of stay)
    numberPhases.fill(sessions[i].phaseCount, charging.stays[i].first, charging.stays[i].end);
  return numberPhases;
}

/** When a stay whose charger changes its phases is on one. */
function onOnePhase(
  { site, sessions }: Problem,
  stay: readonly number[],
): { fromMs: number; toMs: number }[] {
  if (site.evses[sessions[stay[0]].evse].maxPhaseSwitches === 0) return [];
  return stay.flatMap((i) => {
    const { phaseCount, arrivalMs, departureMs } = sessions[i];
    return phaseCount === 1 ? [{ fromMs: arrivalMs, toMs: departureMs }] : [];
  });
}

function added(powers: readonly Float64Array[]): Float64Array {
  return powers.length === 1 ? powers[0] : powers[0].map((_, k) => sum(powers.map((powerW) => powerW[k])));
}

/** What a session gives at the EVSE, Wh, and what its driver is paid for that. */
function givenBy(
  problem: Problem,
  charging: Charging,
  i: number,
): { dischargedEnergyWh: number; dischargePayment: number } {
  const { discharge } = problem.sessions[i];
  const { first, hours } = charging.stays[i];
  const dischargedEnergyWh = hours.reduce((wh, h, n) => wh + h * (discharge?.plannedW?.[first + n] ?? 0), 0);
  const dischargePayment = (dischargedEnergyWh * (discharge?.pricePerKwh ?? 0)) / 1000;
  return { dischargedEnergyWh, dischargePayment };
}

/** What a plan leaves under each limit. */
function roomLeft(problem: Problem, charging: Charging, plan: PowerPlan): Room {
  const room = new Room(problem, charging);
  charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) room.take(i, k, plan[i][k]);
  });
  return room;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** What a session's minimum lacks when it should be there, Wh. */
function missingByMinimumWh(problem: Problem, charging: Charging, plan: PowerPlan, i: number): number {
  const { minimum } = problem.sessions[i];
  if (minimum === undefined) return 0;
  const missingWh = minimum.energyWh - energyByWh(problem, charging, i, plan[i], minimum.byMs);
  return missingWh > SHORTFALL_DUST_WH ? missingWh : 0;
}

/** When a session's need is met, to the second; undefined where nothing is needed. */
function completionMs(problem: Problem, charging: Charging, plan: PowerPlan, i: number): number | undefined {
  const needWh = problem.sessions[i].energyWh;
  if (needWh <= 0) return undefined;
  return drawnByMs(problem, charging, i, plan[i], needWh - SHORTFALL_DUST_WH);
}

/**
 * A plan that was made with the battery's power as known load and production, told of the site as it
 * is: its circuits and limits, its own production, the battery.
 */
export function toldOfBattery(problem: Problem, plan: SitePlan, batteryPowerW: Float64Array): SitePlan {
  const voltages = voltagesOf(problem.site);
  const starts = problem.slotStartsMs;
  const pvPowerW = slotPv(problem);
  const pvEnergyWh = pvPowerW.reduce((wh, w, k) => wh + (w * (starts[k + 1] - starts[k])) / HOUR_MS, 0);
  return {
    ...plan,
    circuits: problem.site.circuits.map((circuit, c) => ({
      ...plan.circuits[c],
      limitW: limitsOf(problem, circuit, voltages[c]),
    })),
    pvPowerW,
    batteryPowerW,
    summary: { ...plan.summary, pvEnergyWh },
  };
}

/** The lowest limit of a circuit in each slot as a power, W; Infinity where it has none. */
function limitsOf(
  { slotStartsMs: starts }: Problem,
  { maxPowerW, maxCurrentA, maxPowerSeriesW: series }: Circuit,
  voltageV: number,
): Float64Array {
  const alwaysW = Math.min(maxPowerW, maxCurrentA * 3 * voltageV);
  const limitW = new Float64Array(starts.length - 1).fill(alwaysW);
  if (series === undefined) return limitW;
  return limitW.map((_, k) => Math.min(alwaysW, rangeOver(series, starts[k], starts[k + 1]).min));
}

/** What the site makes itself, what of it flows out, and what the site pays for all its energy. */
function exported(
  problem: Problem,
  { pvPowerW, netEnergyWh }: Measures,
): { pvEnergyWh: number; exportEnergyWh: number; exportRevenue: number; siteEnergyCost: number } {
  const starts = problem.slotStartsMs;
  const paid = exportPrices(problem);
  const prices = slotPrices(problem);
  const flows = { pvEnergyWh: 0, exportEnergyWh: 0, exportRevenue: 0, siteEnergyCost: 0 };
  for (let k = 0; k < pvPowerW.length; k++) {
    const exportWh = Math.max(0, -netEnergyWh[k]);
    flows.pvEnergyWh += (pvPowerW[k] * (starts[k + 1] - starts[k])) / HOUR_MS;
    flows.exportEnergyWh += exportWh;
    flows.exportRevenue += (exportWh * paid[k]) / 1000;
    flows.siteEnergyCost += (Math.max(0, netEnergyWh[k]) * prices[k]) / 1000;
  }
  flows.siteEnergyCost -= flows.exportRevenue;
  return flows;
}

/** A price of export above that of import would make importing to export pay. */
function exportNotices(problem: Problem): Notice[] {
  const series = problem.site.tariff?.exportPricePerKwh;
  if (series === undefined || !hasProduction(problem)) return [];
  const starts = problem.slotStartsMs;
  const prices = slotPrices(problem);
  const k = prices.findIndex((price, n) => rangeOver(series, starts[n], starts[n + 1]).mean > price + 1e-9);
  if (k < 0) return [];
  return [
    {
      code: "EXPORT_ABOVE_IMPORT",
      field: "site.tariff.export_price_per_kwh",
      message: `from ${new Date(starts[k]).toISOString()} export pays more than import costs: it counts at the price of import`,
    },
  ];
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
  return circuits.map((circuit, c) => ({
    circuitId: circuit.circuitId,
    powerW: powerW[c],
    limitW: limitsOf(problem, circuit, voltages[c]),
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

/** By when each wave must be accepted, and what is passed otherwise. */
function pushNotices({ wave1, wave2 }: PushOrder): Notice[] {
  return [wave1, wave2].flatMap((excess, n) => {
    if (excess === undefined) return [];
    const by = new Date(excess.atMs).toISOString();
    return [
      {
        code: "PUSH_BY",
        field: "installed_plans",
        message: `${excess.limit} could be passed from ${by} on unless all commands of push wave ${n + 1} are accepted by then`,
      },
    ];
  });
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

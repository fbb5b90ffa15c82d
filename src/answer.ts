import { type Charging, chargingOf, HOUR_MS } from "./domain/charging.ts";
import { check, type Excess, firstCircuitExcess } from "./domain/check.ts";
import { drawnByMs, energyByWh, energyWh, mostEnergyWh } from "./domain/delivery.ts";
import { chargedAgainWh, drawnOf, withoutDischarge } from "./domain/discharge.ts";
import { greedy } from "./domain/greedy.ts";
import { hasBaseLoad, meanCircuitLoad } from "./domain/load.ts";
import { type Measures, measure } from "./domain/measure.ts";
import { aloneAndConnected, installedMeanW } from "./domain/offline.ts";
import type {
  ChargingProfile,
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
import { Room, roomLeft } from "./domain/room.ts";
import { rangeOver, valueAt } from "./domain/series.ts";
import { staysOf, withWholeStays } from "./domain/stays.ts";
import { exportPrices, hasProduction, slotPv } from "./domain/surplus.ts";
import { slotPrices } from "./domain/tariff.ts";
import { voltagesOf } from "./domain/wiring.ts";
import { clockOf, demandIn, explain, explainOffline } from "./explanation.ts";
import { SHORTFALL_DUST_WH, shortfallCauses, shortfallDustWh } from "./model/explain.ts";
import { changeOfStay } from "./ocpp/change.ts";
import { expand } from "./ocpp/expand.ts";
import { type Alternative, alternativesOf, withHeldLevels } from "./ocpp/offer.ts";
import { toPayload } from "./ocpp/payload.ts";
import { pricesOf } from "./ocpp/prices.ts";
import { toStayProfile } from "./ocpp/profile.ts";
import { higherOf, type PushOrder, pushOrder } from "./ocpp/push.ts";

// Share of the money by which few periods cost notably more.
const NOTABLE_COST = 0.01;

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
 * A plan with excesses must not be sent. `sent` has the most that the profiles allow each session of the problem.
 * `faults` are those of schedules that vehicles could have chosen from, all of which are then left out.
 */
export function answer(
  problem: Problem,
  charging: Charging,
  candidate: Candidate,
): { plan: SitePlan; excesses: Excess[]; faults: Excess[]; sent: PowerPlan } {
  const { site, sessions, slotStartsMs } = problem;
  const stays = staysOf(problem);
  const power = withHeldLevels(problem, charging, candidate.power);
  const sent: PowerPlan = [];
  const profiled = stays.map((stay) => {
    const { profile, powerW } = toStayProfile(problem, stay, power);
    sent.push(...powerW);
    const { change } = changeOfStay(problem, stay, sent);
    const isNews = change !== "UNCHANGED" || sessions[stay[0]].isAwaited === true;
    return { profile, change, isSent: isNews && canSend(problem, stay[0]) };
  });
  const isSent = new Set(stays.flatMap((stay, n) => (profiled[n].isSent ? stay : [])));
  const alternatives = alternativesOf(problem, charging, sent, (i) => isSent.has(i));
  const prices = sessions.some(({ offer }) => offer?.priceForm) ? slotPrices(problem) : undefined;
  const write = (others: readonly Alternative[][]): Written[] =>
    stays.map((stay, n) => writtenOf(problem, stay, profiled[n].profile, others[stay[0]], prices));
  let chosen = alternatives;
  let profiles = write(chosen);
  let { excesses, checks, faults } = checkWritten(problem, profiles);
  if (faults.length > 0) {
    chosen = sessions.map(() => []);
    profiles = write(chosen);
    ({ excesses, checks } = checkWritten(problem, profiles));
  }
  const mostW = sent.map((powerW, i) =>
    powerW.map((w, k) => Math.max(w, ...chosen[i].map((other) => other.powerW[k]))),
  );
  const push = pushOrder(
    problem,
    profiles.flatMap(({ choices }) => highestOf(choices)),
    stays.flatMap((stay, n) => {
      const { pushWave } = changeOfStay(problem, stay, mostW);
      return stay.map(() => (profiled[n].isSent ? pushWave : undefined));
    }),
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
    demand: demandIn(whole, measures),
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
    const isDoneAtOnce = againWh === 0 && asap.allowedWh[n] >= needWh - shortfallDustWh(needWh);
    const atOnceCost = isDoneAtOnce ? asap.energyCosts[n] : Number.NaN;
    return {
      sessionId: sessions[first].sessionId,
      stationId: site.evses[sessions[first].evse].stationId,
      evseId: site.evses[sessions[first].evse].evseId,
      command: commandOf(stay, n),
      powerW: added(stay.map((i) => sent[i])),
      ...outcome,
      change: profiled[n].change,
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
      ...periodNotices(problem, charging, candidate, drawn, measures),
      ...pushNotices(push),
    ],
    solve: { ...candidate.report(sent), checks },
    fallbackProfiles: [],
  };
  return { plan, excesses, faults, sent: mostW };
}

/** A stay's profile as it goes on the wire, and what is read back of it. */
interface Written {
  profile: ChargingProfile;
  payloadJson: string;
  /** For each schedule that the vehicle may choose what it allows each session of the stay. */
  choices: PowerStep[][][];
}

function writtenOf(
  problem: Problem,
  stay: readonly number[],
  planned: ChargingProfile,
  others: readonly Alternative[],
  prices: Float64Array | undefined,
): Written {
  const { site, sessions, slotStartsMs } = problem;
  const [first] = stay;
  const { arrivalMs, transactionStartMs, offer, evse: e } = sessions[first];
  const evse = site.evses[e];
  const schedules = [...planned.schedules, ...others.map(({ schedule }) => schedule)].map((schedule) =>
    offer === undefined || prices === undefined
      ? schedule
      : { ...schedule, prices: pricesOf(problem, first, offer, schedule, prices) },
  );
  const profile = { ...planned, schedules };
  const payloadJson = toPayload(profile, evse);
  const voltageV = voltagesOf(site)[evse.circuit];
  // A profile has to hold from the stay's first whole second in the plan on.
  const fromMs = Math.ceil(Math.max(slotStartsMs[0], arrivalMs) / 1000) * 1000;
  const choices = schedules.map((_, scheduleIndex) => {
    const context = { fromMs, transactionStartMs, offer, scheduleIndex };
    const steps = expand(payloadJson, evse, voltageV, context);
    return stay.map((i, n) => (sessions[i].goesOn || n > 0 ? during(steps, sessions[i]) : steps));
  });
  return { profile, payloadJson, choices };
}

/**
 * Checks the plan, and as `faults` what vehicles may choose instead of it: all their second schedules, all their
 * third ones, and against the circuits whatever any of them chooses.
 */
function checkWritten(
  problem: Problem,
  written: readonly Written[],
): { excesses: Excess[]; checks: number; faults: Excess[] } {
  const chosenBy = (n: number) => written.flatMap(({ choices }) => choices[n] ?? choices[0]);
  const plan = check(problem, chosenBy(0));
  const most = Math.max(0, ...written.map(({ choices }) => choices.length));
  let { checks } = plan;
  const faults: Excess[] = [];
  for (let n = 1; n < most; n++) {
    const other = check(problem, chosenBy(n));
    faults.push(...other.excesses);
    checks += other.checks;
  }
  if (most > 1) {
    const highest = firstCircuitExcess(
      problem,
      written.flatMap(({ choices }) => highestOf(choices)),
    );
    if (highest !== undefined) faults.push(highest);
  }
  return { excesses: plan.excesses, checks, faults };
}

/** The most that any schedule allows each session of a stay. */
function highestOf([plan, ...others]: readonly PowerStep[][][]): PowerStep[][] {
  return plan.map((steps, part) => others.reduce((highest, other) => higherOf(highest, other[part]), steps));
}

/** Before a vehicle is there it has no transaction that a profile could be sent for, or count from. */
function canSend({ site, sessions, slotStartsMs }: Problem, i: number): boolean {
  const { arrivalMs, transactionId, evse } = sessions[i];
  const { isOffline, ocpp } = site.evses[evse];
  if (isOffline) return false;
  if (arrivalMs <= slotStartsMs[0]) return true;
  return transactionId !== "" && !ocpp.wantsRelativeProfile;
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
  const shortfallWh = missingWh > shortfallDustWh(needWh) ? missingWh : 0;
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
  return missingWh > shortfallDustWh(minimum.energyWh) ? missingWh : 0;
}

/** When a session's need is met, as far as it is, to the second; undefined where nothing is needed. */
function completionMs(problem: Problem, charging: Charging, plan: PowerPlan, i: number): number | undefined {
  const needWh = problem.sessions[i].energyWh;
  if (needWh <= 0) return undefined;
  const metWh = Math.min(needWh, energyWh(problem, charging, i, plan[i]));
  return drawnByMs(problem, charging, i, plan[i], metWh - SHORTFALL_DUST_WH);
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

/**
 * A plan that was made without the sessions at chargers that are offline, told of them too: they keep what is
 * installed, and get what that brings them.
 */
export function toldOfOffline(problem: Problem, plan: SitePlan): SitePlan {
  const { site, sessions, slotStartsMs: starts } = problem;
  const chargingPowerW = plan.chargingPowerW.slice();
  const summary = { ...plan.summary };
  const clock = clockOf(problem);
  const sessionPlans = plan.sessionPlans.map((sessionPlan, i): SessionPlan => {
    const session = sessions[i];
    if (!site.evses[session.evse].isOffline) return sessionPlan;
    const alone = aloneAndConnected(problem, i);
    const charging = chargingOf(alone);
    const [{ first, end, hours }] = charging.stays;
    const powerW = new Float64Array(starts.length - 1);
    for (let k = first; k < end; k++) {
      const share = (hours[k - first] * HOUR_MS) / (starts[k + 1] - starts[k]);
      powerW[k] = installedMeanW(session, starts[k], starts[k + 1]) / share;
    }
    const drawn = powerW.map((w) => Math.max(0, w));
    const measures = measure(alone, charging, [drawn]);
    const plannedEnergyWh = Math.min(session.energyWh, energyWh(alone, charging, 0, drawn));
    const missingWh = session.energyWh - plannedEnergyWh;
    const shortfallWh = missingWh > SHORTFALL_DUST_WH ? missingWh : 0;
    const dischargedEnergyWh = sum(hours.map((h, n) => h * Math.max(0, -powerW[first + n])));
    const outcome = {
      plannedEnergyWh: session.energyWh - shortfallWh,
      shortfallWh,
      completeMs: shortfallWh > 0 ? undefined : completionMs(alone, charging, [drawn], 0),
      minimumShortfallWh: missingByMinimumWh(alone, charging, [drawn], 0),
    };
    const dischargePayment = (dischargedEnergyWh * (session.discharge?.pricePerKwh ?? 0)) / 1000;
    for (let k = 0; k < drawn.length; k++) chargingPowerW[k] += drawn[k];
    summary.requestedEnergyWh += session.energyWh;
    summary.plannedEnergyWh += outcome.plannedEnergyWh;
    summary.shortfallWh += shortfallWh;
    summary.energyCost += measures.energyCosts[0];
    summary.carbonKg += measures.carbonKg;
    summary.uncontrolledCost += measures.energyCosts[0];
    summary.uncontrolledEnergyWh += outcome.plannedEnergyWh;
    summary.dischargedEnergyWh += dischargedEnergyWh;
    summary.dischargePayment += dischargePayment;
    return {
      ...sessionPlan,
      ...outcome,
      powerW,
      command: undefined,
      shortfallCauses: shortfallWh > 0 ? ["CHARGER_OFFLINE"] : [],
      energyCost: measures.energyCosts[0],
      change: "UNCHANGED",
      dischargedEnergyWh,
      dischargePayment,
      explanation: explainOffline(session, outcome, clock),
    };
  });
  return { ...plan, sessionPlans, chargingPowerW, summary };
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

/** Planned and base load, and the installed plans of chargers that are offline, of each circuit and its limit as a power, in each slot. */
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
  for (const session of problem.sessions) {
    const { circuit, isOffline } = evses[session.evse];
    if (!isOffline) continue;
    for (let k = 0; k < slotCount; k++)
      powerW[circuit][k] += Math.max(0, installedMeanW(session, starts[k], starts[k + 1]));
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

/** Chargers whose few periods cost their vehicle energy, or the site notably more money. */
function periodNotices(
  problem: Problem,
  charging: Charging,
  { power, unmerged }: Candidate,
  drawn: PowerPlan,
  measures: Measures,
): Notice[] {
  if (power === unmerged) return [];
  const { site, sessions } = problem;
  const moneyOf = ({ energyCosts, demandCost }: Measures) => sum(energyCosts) + demandCost;
  const ideal = moneyOf(measure(problem, charging, unmerged));
  const lost = moneyOf(measures) - ideal;
  const missingWh = (plan: PowerPlan, i: number) =>
    Math.max(0, sessions[i].energyWh - energyWh(problem, charging, i, plan[i]));
  return staysOf(problem).flatMap((stay) => {
    const { powerW } = toStayProfile(problem, stay, unmerged);
    const isCut = stay.some((i, n) => unmerged[i].some((w, k) => w > Math.max(0, powerW[n][k]) + 1e-6));
    if (!isCut) return [];
    const { evse, sessionId } = sessions[stay[0]];
    const lostWh = sum(stay.map((i) => missingWh(drawn, i) - missingWh(unmerged, i)));
    const costs: string[] = [];
    if (lostWh > SHORTFALL_DUST_WH)
      costs.push(`for that session ${sessionId} misses ${(lostWh / 1000).toFixed(3)} kWh`);
    if (lost > NOTABLE_COST * Math.abs(ideal)) {
      const share = ideal > 0 ? ` (${((100 * lost) / ideal).toFixed(1)} %)` : "";
      const money = `${lost.toFixed(2)} ${site.tariff?.currency ?? ""}`.trimEnd();
      costs.push(`few periods cost the site ${money}${share} in all`);
    }
    if (costs.length === 0) return [];
    const { stationId, ocpp } = site.evses[evse];
    return [
      {
        code: "PROFILE_PERIODS",
        field: `site.evses[${evse}].ocpp.max_periods`,
        message: `station ${stationId} takes ${ocpp.maxPeriods} periods and the best plan has more: ${costs.join("; ")}`,
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
  for (const c of room.overReserved) {
    notices.push({
      code: "RESERVE_OVER_LIMIT",
      field: "site.evses",
      message: `circuit ${circuits[c].circuitId}: with what chargers allow vehicles that no plan is known of, the base load is over a limit in some slot; install lower fallback profiles`,
    });
  }
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

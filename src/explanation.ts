import { type Charging, HOUR_MS, slotAt } from "./domain/charging.ts";
import { energyByWh, energyWh, mostEnergyWh, slotEnergiesWh, taperOf } from "./domain/delivery.ts";
import { chargedAgainWh, givenWh } from "./domain/discharge.ts";
import type { Measures } from "./domain/measure.ts";
import type { PowerPlan, ShortfallCause } from "./domain/plan.ts";
import type { Problem, Session } from "./domain/problem.ts";
import type { Room } from "./domain/room.ts";
import { exportPrices } from "./domain/surplus.ts";
import { storedAfter } from "./domain/taper.ts";
import { type DemandWindow, demandWindows, slotPrices } from "./domain/tariff.ts";
import { wallClock } from "./domain/wall-clock.ts";

// Stretches of time and circuits that a sentence names; more only tire the reader.
const MOST_STRETCHES = 3;
const MOST_CIRCUITS = 2;
const MOST_CHANCES = 3;
// A circuit counts as full where less than this fits: steps of chargers can be a hundred times finer.
const NOTABLE_W = 100;
const DUST_W = 1e-3;
const DUST_WH = 0.5;
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
// A price that differs by less than this share is the same to a reader.
const SAME_PRICE = 5e-3;

/** Writes a time for people, epoch ms. */
type Clock = (atMs: number) => string;

/** What is known of a plan when its sentences are written. */
export interface Told {
  problem: Problem;
  charging: Charging;
  /** As sent. */
  power: PowerPlan;
  /** What the plan leaves under each limit. */
  room: Room;
  demand: Demand | undefined;
  /** What one more kWh would be worth, [circuit][slot]; undefined where no duals are known. */
  shadowPrices: Float64Array[] | undefined;
  clock: Clock;
}

/** The site's peak in a plan that a demand charge counts for, and what a kWh costs beside that. */
interface Demand {
  /** The highest mean, or what the billing period has already seen. */
  peakW: number;
  windows: (DemandWindow & { meanW: number })[];
  /** Of the windows, and the end of the last. */
  startsMs: number[];
  /** In each slot: of import, or of export where the site imports nothing. */
  prices: Float64Array;
}

/** What a plan makes of the demand charge; undefined where there is none, or where the plan is not for its cost. */
export function demandIn(problem: Problem, { demandW, importPowerW }: Measures): Demand | undefined {
  const { tariff } = problem.site;
  if (tariff === undefined || demandW.length === 0 || problem.preference !== "LOWEST_COST") return undefined;
  const windows = demandWindows(problem).map((window, w) => ({ ...window, meanW: demandW[w] }));
  const paid = exportPrices(problem);
  return {
    peakW: demandW.reduce((a, b) => Math.max(a, b), tariff.demandPeakSoFarW),
    windows,
    startsMs: [...windows.map(({ startMs }) => startMs), windows[windows.length - 1].endMs],
    prices: slotPrices(problem).map((price, k) => (importPowerW[k] > DUST_W ? price : paid[k])),
  };
}

/** The result for one session. */
export interface Outcome {
  plannedEnergyWh: number;
  shortfallWh: number;
  shortfallCauses: readonly ShortfallCause[];
  minimumShortfallWh: number;
  completeMs: number | undefined;
  energyCost: number;
  dischargedEnergyWh: number;
  dischargePayment: number;
  /** When its charger, which can change that, has it on one phase. */
  onOnePhase: readonly { fromMs: number; toMs: number }[];
  /** The cost of the same energy if it charged at once; NaN where that would deliver less. */
  atOnceCost: number;
}

/**
 * A session's plan in plain words: what it gets, when and at which price; where it ends short, why,
 * which circuit is full when, what one more kW there would bring it, and what one more hour of stay.
 */
export function explain(told: Told, i: number, outcome: Outcome): string {
  const { energyWh } = told.problem.sessions[i];
  if (told.charging.stays[i].hours.length === 0) return "Comes after the end of the plan.";
  const gives = giving(told, i, outcome);
  if (energyWh <= 0) return ["Needs no energy.", ...gives].join(" ");
  const sentences =
    outcome.shortfallWh > 0
      ? [...shortfall(told, i, outcome), moreStay(told, i, outcome.shortfallWh)]
      : [success(told, i, outcome), spread(told, i)];
  sentences.push(...gives, phases(told, i, outcome), mayLeave(told, i));
  const { minimum } = told.problem.sessions[i];
  if (minimum !== undefined && outcome.minimumShortfallWh > 0) {
    const ownWh = minimum.energyWh - givenWh(told.problem, told.charging, i, minimum.byMs);
    const [missing, whole] = [kwh(outcome.minimumShortfallWh), kwh(ownWh)];
    sentences.push(`At ${told.clock(minimum.byMs)} its minimum of ${whole} lacks ${missing}.`);
  }
  return sentences.filter((sentence) => sentence !== "").join(" ");
}

/** What a session gets whose charger is offline. */
export function explainOffline(
  { energyWh, installed }: Session,
  {
    plannedEnergyWh,
    shortfallWh,
    completeMs,
  }: Pick<Outcome, "plannedEnergyWh" | "shortfallWh" | "completeMs">,
  clock: Clock,
): string {
  if (installed === undefined)
    return `Its charger is offline, and what is installed there is not known: nothing is promised of ${kwh(energyWh)}.`;
  const keeps = "Its charger is offline and keeps its installed plan:";
  if (shortfallWh > 0) return `${keeps} it brings ${kwh(plannedEnergyWh)} of ${kwh(energyWh)}.`;
  return `${keeps} it brings all ${kwh(energyWh)}${completeMs === undefined ? "" : ` by ${clock(completeMs)}`}.`;
}

function success({ problem, charging, power, clock }: Told, i: number, outcome: Outcome): string {
  const { first, end } = charging.stays[i];
  let start = first;
  while (start < end && power[i][start] <= 0) start++;
  const startMs = Math.max(problem.slotStartsMs[start], problem.sessions[i].arrivalMs);
  const toMs = outcome.completeMs ?? problem.sessions[i].departureMs;
  const when = `from ${clock(startMs)} to ${clock(toMs)}`;
  if (outcome.plannedEnergyWh < DUST_WH) return `Needs no energy of its own; charges ${when}.`;
  return `Gets all ${kwh(outcome.plannedEnergyWh)} ${when}${priceOf(problem, outcome)}.`;
}

/** That the demand charge spreads its charging, and at which peak of the site. */
function spread(told: Told, i: number): string {
  const { demand, shadowPrices } = told;
  // The safe plan knows no demand charge: its peak is held by nothing.
  if (demand === undefined || shadowPrices === undefined || !isHeldByPeak(told, demand, i)) return "";
  return `Its charging is spread: the demand charge keeps the site's peak at ${kw(demand.peakW)}.`;
}

/**
 * Whether a session could have in some slot what it has in a dearer one, or in a later one of the same
 * price, were it not for the peak: nothing else keeps it from that.
 */
function isHeldByPeak(told: Told, demand: Demand, i: number): boolean {
  const { problem, charging, power, room } = told;
  const { first, end, hours } = charging.stays[i];
  const { maxPowerW, stepPowerW, minPowerW } = charging.ranges[i];
  const { prices } = demand;
  // The dearest slot in which it charges, from each on.
  const dearest = new Float64Array(end + 1).fill(Number.NEGATIVE_INFINITY);
  for (let k = end - 1; k >= first; k--)
    dearest[k] = Math.max(dearest[k + 1], power[i][k] > 0 ? prices[k] : Number.NEGATIVE_INFINITY);
  for (let k = first; k < end; k++) {
    const same = SAME_PRICE * Math.abs(prices[k]);
    if (dearest[first] <= prices[k] + same && dearest[k + 1] < prices[k] - same) continue;
    const spareW = maxPowerW - power[i][k];
    const neededW = Math.max(Math.min(NOTABLE_W, spareW), stepPowerW, minPowerW - power[i][k]);
    if (spareW < neededW - DUST_W || isGiving(told, i, k)) continue;
    if (belowPeakW(told, demand, i, k) >= neededW) continue;
    if (room.tightFor(i, k, neededW - DUST_W).length > 0) continue;
    // A battery that takes no more at that time is held by its charge curve.
    const raisedW = power[i].slice();
    raisedW[k] += neededW;
    const [raised, own] = [raisedW, power[i]].map((w) => slotEnergiesWh(problem, charging, i, w)[k - first]);
    if (raised - own >= (neededW * hours[k - first]) / 2) return true;
  }
  return false;
}

/** Most power, W, that a session can have more in a slot without a mean above the peak. */
function belowPeakW({ problem }: Told, { peakW, windows, startsMs }: Demand, i: number, k: number): number {
  const { arrivalMs, departureMs } = problem.sessions[i];
  const fromMs = Math.max(problem.slotStartsMs[k], arrivalMs);
  const toMs = Math.min(problem.slotStartsMs[k + 1], departureMs);
  let fitsW = Number.POSITIVE_INFINITY;
  for (let w = slotAt(startsMs, fromMs); startsMs[w] < toMs && w < windows.length; w++) {
    const { startMs, endMs, hours, meanW } = windows[w];
    const sharedMs = Math.min(endMs, toMs) - Math.max(startMs, fromMs);
    fitsW = Math.min(fitsW, ((peakW - meanW) * hours * HOUR_MS) / sharedMs);
  }
  return fitsW;
}

function isGiving({ problem }: Told, i: number, k: number): boolean {
  return (problem.sessions[i].discharge?.plannedW?.[k] ?? 0) > 0;
}

/** What it has by the times at which it may have left: those between which it is likeliest to leave. */
function mayLeave({ problem, charging, power, clock }: Told, i: number): string {
  const { departureChances, discharge, energyWh: needWh } = problem.sessions[i];
  const ownWh = needWh - chargedAgainWh(problem, charging, i);
  const byChance = departureChances
    .map(({ atMs, probability }, n) => ({
      atMs,
      probability,
      here: probability - (departureChances[n - 1]?.probability ?? 0),
    }))
    .filter(({ here }) => here > 0)
    .sort((a, b) => b.here - a.here || a.atMs - b.atMs);
  const named = byChance
    .slice(0, MOST_CHANCES)
    .sort((a, b) => a.atMs - b.atMs)
    .map(({ atMs, probability }, n) => {
      const goneWh = Math.max(0, givenWh(problem, charging, i, atMs) - (discharge?.spareWh ?? 0));
      const thereWh = Math.min(ownWh, energyByWh(problem, charging, i, power[i], atMs) - goneWh);
      return `by ${clock(atMs)} with ${kwh(Math.max(0, thereWh))} (${percent(probability)}${n === 0 ? " likely" : ""})`;
    });
  return named.length === 0 ? "" : `May leave early: ${named.join(", ")}.`;
}

/** When it charges on one phase. */
function phases({ problem, power, clock }: Told, i: number, { onOnePhase }: Outcome): string {
  const starts = problem.slotStartsMs;
  const used = onOnePhase.filter(({ fromMs, toMs }) =>
    power[i].some((w, k) => w > 0 && starts[k + 1] > fromMs && starts[k] < toMs),
  );
  if (used.length === 0) return "";
  return `On one phase from ${used.map(({ fromMs, toMs }) => `${clock(fromMs)} to ${clock(toMs)}`).join(" and ")}.`;
}

/** What it gives, when, and what its driver is paid. */
function giving(told: Told, i: number, { dischargedEnergyWh, dischargePayment }: Outcome): string[] {
  const { discharge } = told.problem.sessions[i];
  if (discharge?.plannedW === undefined || dischargedEnergyWh <= 0) return [];
  const slots = Array.from(discharge.plannedW.keys()).filter((k) => (discharge.plannedW?.[k] ?? 0) > 0);
  const again = chargedAgainWh(told.problem, told.charging, i);
  const charges = again > DUST_WH ? `, and charges ${kwh(again)} again for it` : "";
  const currency = told.problem.site.tariff?.currency ?? "";
  const paid = dischargePayment > 0 ? `, for ${dischargePayment.toFixed(2)} ${currency}`.trimEnd() : "";
  return [`Gives ${kwh(dischargedEnergyWh)} from ${stretches(told, i, slots)}${paid}${charges}.`];
}

/** The mean price paid, and what it would be at once where that is dearer. */
function priceOf({ site }: Problem, outcome: Outcome): string {
  const { plannedEnergyWh, energyCost, atOnceCost, dischargedEnergyWh } = outcome;
  // The cost of what it gives again is no price of its own energy.
  if (site.tariff === undefined || plannedEnergyWh <= 0 || dischargedEnergyWh > 0) return "";
  const mean = (cost: number) => ((1000 * cost) / plannedEnergyWh).toFixed(3);
  const paid = `, at ${mean(energyCost)} ${site.tariff.currency} a kWh`;
  const isCheaper = atOnceCost - energyCost > SAME_PRICE * Math.abs(atOnceCost);
  return isCheaper ? `${paid}; at once it would be ${mean(atOnceCost)}` : paid;
}

function shortfall(told: Told, i: number, { shortfallWh, shortfallCauses }: Outcome): string[] {
  const { problem, charging } = told;
  const session = problem.sessions[i];
  const { maxPowerW, minPowerW } = charging.ranges[i];
  const ownWh = session.energyWh - chargedAgainWh(problem, charging, i);
  const sentences = [`Misses ${kwh(shortfallWh)} of ${kwh(ownWh)}.`];
  if (maxPowerW === 0) return [...sentences, "It can't charge: its maximum is below the minimum here."];
  const has = (cause: ShortfallCause) => shortfallCauses.includes(cause);
  if (has("STAY_TOO_SHORT")) {
    const hours = charging.stays[i].hours.reduce((sum, h) => sum + h, 0);
    const whose = has("VEHICLE_LIMIT") ? "the most that it takes" : "the most that its charger gives";
    sentences.push(
      `${kw(maxPowerW)}, ${whose}, for all of its ${duration(hours)} is ${kwh(maxPowerW * hours)}.`,
    );
  }
  if (has("CHARGE_CURVE")) {
    const most = kwh(mostEnergyWh(problem, charging, i));
    sentences.push(`Its battery takes less power as it fills: ${most} is the most that its stay allows.`);
  }
  const full = has("CIRCUIT_LIMIT") || has("MINIMUM_CURRENT") ? fullCircuits(told, i) : [];
  if (has("CIRCUIT_LIMIT")) {
    for (const { name, when, gainWh, reservedW } of full) {
      const gain = kwh(Math.min(gainWh, shortfallWh));
      const reserved =
        reservedW > DUST_W ? `, up to ${kw(reservedW)} of it reserved for vehicles without a plan` : "";
      sentences.push(`${name} is full ${when}${reserved}: one more kW for it there would bring ${gain}.`);
    }
  }
  if (has("MINIMUM_CURRENT")) {
    const where = full.length === 0 ? "" : ` on ${full[0].name} ${full[0].when}`;
    sentences.push(`What is left for it${where} is under its minimum of ${kw(minPowerW)}.`);
  }
  if (has("PROFILE_RESOLUTION"))
    sentences.push("Its charger takes limits in steps too coarse, or too few of them, for the rest.");
  if (has("OUT_OF_TIME")) sentences.push("There was no time to look for a better plan.");
  return sentences;
}

/** The circuits that keep a session below its maximum, most hours first: when, and what a kW more there would bring. */
function fullCircuits(
  told: Told,
  i: number,
): { name: string; when: string; gainWh: number; reservedW: number }[] {
  const { problem, charging, power, room, shadowPrices } = told;
  const { first, end, hours } = charging.stays[i];
  const { maxPowerW, stepPowerW, minPowerW } = charging.ranges[i];
  const { circuits } = problem.site;
  const slotsOf = new Map<number, number[]>();
  for (let k = first; k < end; k++) {
    if (power[i][k] >= maxPowerW - DUST_W) continue;
    const spareW = maxPowerW - power[i][k];
    const neededW = Math.max(Math.min(NOTABLE_W, spareW), stepPowerW, minPowerW - power[i][k]);
    const full = room.tightFor(i, k, neededW - DUST_W);
    const binding = full.filter((c) => (shadowPrices?.[c][k] ?? 0) > 0);
    for (const c of binding.length > 0 ? binding : full) slotsOf.set(c, [...(slotsOf.get(c) ?? []), k]);
  }
  const hoursOf = (slots: readonly number[]) => slots.reduce((sum, k) => sum + hours[k - first], 0);
  const gainOf = (slots: readonly number[]) => {
    const raisedW = power[i].slice();
    for (const k of slots) raisedW[k] += Math.min(1000, maxPowerW - power[i][k]);
    return energyWh(problem, charging, i, raisedW) - energyWh(problem, charging, i, power[i]);
  };
  const ranked = [...slotsOf].sort((a, b) => hoursOf(b[1]) - hoursOf(a[1]) || a[0] - b[0]);
  return ranked.slice(0, MOST_CIRCUITS).map(([c, slots]) => ({
    name: circuits[c].circuitId,
    when: stretches(told, i, slots),
    gainWh: gainOf(slots),
    reservedW: Math.max(...slots.map((k) => room.reservedW(circuits, c, k))),
  }));
}

/** What the hour after its departure would bring a session, with the room that the plan leaves then. */
function moreStay({ problem, charging, power, room }: Told, i: number, shortfallWh: number): string {
  const { departureMs } = problem.sessions[i];
  const { minPowerW, maxPowerW, stepPowerW } = charging.ranges[i];
  const starts = problem.slotStartsMs;
  const planEndMs = starts[starts.length - 1];
  if (maxPowerW === 0) return "";
  const battery = taperOf(problem.sessions[i]);
  const keptWh = energyWh(problem, charging, i, power[i]) - givenWh(problem, charging, i);
  const leavesWith = (battery?.efficiency ?? 1) * keptWh;
  let stored = (battery?.storedWh ?? 0) + leavesWith;
  let gainWh = 0;
  for (let atMs = departureMs; atMs < departureMs + HOUR_MS; ) {
    const k = slotAt(starts, atMs);
    const isPlanned = atMs < planEndMs;
    const untilMs = Math.min(departureMs + HOUR_MS, isPlanned ? starts[k + 1] : Number.POSITIVE_INFINITY);
    const fitsW = isPlanned
      ? Math.min(maxPowerW, Math.floor(room.fits(i, k) / stepPowerW) * stepPowerW)
      : maxPowerW;
    const hours = (untilMs - atMs) / HOUR_MS;
    if (fitsW >= minPowerW && battery === undefined) gainWh += fitsW * hours;
    else if (fitsW >= minPowerW && battery !== undefined) {
      const after = storedAfter(battery, stored, fitsW, hours);
      gainWh += (after - stored) / battery.efficiency;
      stored = after;
    }
    atMs = untilMs;
  }
  if (gainWh <= 0) return "One more hour of stay would bring nothing: there is no room then either.";
  return `One more hour of stay would bring ${kwh(Math.min(gainWh, shortfallWh))}.`;
}

/** `08:00 to 10:15 and 11:00 to 11:30` of slots in order, cut to the stay. */
function stretches({ problem, clock }: Told, i: number, slots: readonly number[]): string {
  const { arrivalMs, departureMs } = problem.sessions[i];
  const runs: { from: number; to: number }[] = [];
  for (const k of slots) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last.to === k) last.to = k + 1;
    else runs.push({ from: k, to: k + 1 });
  }
  const named = runs.slice(0, MOST_STRETCHES).map(({ from, to }) => {
    const fromMs = Math.max(problem.slotStartsMs[from], arrivalMs);
    return `${clock(fromMs)} to ${clock(Math.min(problem.slotStartsMs[to], departureMs))}`;
  });
  const more = runs.length - named.length;
  const all = more > 0 ? [...named, more === 1 ? "one more time" : `${more} more times`] : named;
  return all.length === 1 ? all[0] : `${all.slice(0, -1).join(", ")} and ${all[all.length - 1]}`;
}

/** Writes times as HH:MM in the site's zone, with the weekday where it is not that of the plan's start. */
export function clockOf({ site, slotStartsMs }: Problem): Clock {
  const localOf = (atMs: number) => wallClock(site.timeZone, atMs);
  const startDay = localOf(slotStartsMs[0]).toISOString().slice(0, 10);
  return (atMs) => {
    const local = localOf(atMs);
    const [day, time] = local.toISOString().split("T");
    return day === startDay ? time.slice(0, 5) : `${WEEKDAYS[local.getUTCDay()]} ${time.slice(0, 5)}`;
  };
}

function kwh(energyWh: number): string {
  return energyWh < 50 ? `${energyWh.toFixed(0)} Wh` : `${(energyWh / 1000).toFixed(1)} kWh`;
}

/** Of what is not certain, neither 0 nor 100. */
function percent(share: number): string {
  if (share < 0.005) return "under 1 %";
  return share > 0.995 && share < 1 ? "over 99 %" : `${Math.round(100 * share)} %`;
}

function kw(powerW: number): string {
  return `${(powerW / 1000).toFixed(1)} kW`;
}

function duration(hours: number): string {
  const minutes = Math.round(hours * 60);
  const rest = minutes % 60;
  const whole = Math.floor(minutes / 60);
  if (whole === 0) return `${rest} min`;
  return rest === 0 ? `${whole} h` : `${whole} h ${rest} min`;
}

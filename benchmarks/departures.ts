import { chargingOf } from "../src/domain/charging.ts";
import { greedy } from "../src/domain/greedy.ts";
import type { PowerPlan } from "../src/domain/plan.ts";
import type { DepartureChance, Problem } from "../src/domain/problem.ts";
import { slotPrices } from "../src/domain/tariff.ts";
import { planSite, type Solvers } from "../src/engine.ts";
import { createGlpk } from "../src/solve/glpk.ts";
import { createHighs } from "../src/solve/highs.ts";
import { evse, problem, session } from "../test/support/problems.ts";
import { hasSaidStays, type SaidStay, saidStays } from "../test/support/stays.ts";

// What chances of departure are worth on real stays. The error of what drivers say is fitted on the
// first half of the sessions; each of the second half is planned on its own, by what was said, by the
// chances, and knowing the truth, and charged until the vehicle really left.

const HOUR_MS = 3_600_000;
const SLOT_MS = HOUR_MS / 4;
const POWER_W = 6600;
const LEVELS = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/** Said stays in hours from which the error is fitted apart: who stays long errs by more. */
const CLASSES = [0, 3, 6];

/** Southern California Edison's TOU-EV-8 as of 2018-10-12: $ a kWh by hour of the day, summer from June. */
const RULES = [
  { weekdays: [1, 2, 3, 4, 5], summer: true, fromHour: 16, toHour: 21, price: 0.49619 },
  { weekdays: [6, 7], summer: true, fromHour: 16, toHour: 21, price: 0.25563 },
  { weekdays: [1, 2, 3, 4, 5, 6, 7], summer: true, fromHour: 0, toHour: 24, price: 0.12597 },
  { weekdays: [1, 2, 3, 4, 5, 6, 7], summer: false, fromHour: 8, toHour: 16, price: 0.07724 },
  { weekdays: [1, 2, 3, 4, 5, 6, 7], summer: false, fromHour: 16, toHour: 21, price: 0.297 },
  { weekdays: [1, 2, 3, 4, 5, 6, 7], summer: false, fromHour: 0, toHour: 24, price: 0.13568 },
].map(({ weekdays, summer, fromHour, toHour, price }) => ({
  weekdays,
  fromMinute: 60 * fromHour,
  toMinute: 60 * toHour,
  fromDay: summer ? 601 : 1001,
  toDay: summer ? 930 : 531,
  pricePerKwh: price,
}));

/** One vehicle at a charger of its own until a departure. */
function stay(
  { arrivalMs, energyWh }: SaidStay,
  departureMs: number,
  departureChances: DepartureChance[],
): Problem {
  const startMs = Math.ceil(arrivalMs / 1000) * 1000;
  const endMs = Math.max(startMs + SLOT_MS, Math.floor(departureMs / 1000) * 1000);
  const slotStartsMs = [startMs];
  for (let at = (Math.floor(startMs / SLOT_MS) + 1) * SLOT_MS; at < endMs; at += SLOT_MS)
    slotStartsMs.push(at);
  const one = problem();
  return {
    ...one,
    site: {
      ...one.site,
      timeZone: "America/Los_Angeles",
      nominalVoltageV: 208,
      evses: [evse({ phases: [1], minCurrentA: 0, maxCurrentA: 100, maxPowerW: POWER_W }, { rateUnit: "W" })],
      tariff: {
        currency: "USD",
        price: { rules: RULES },
        demandPricePerKw: 0,
        demandPeakSoFarW: 0,
        demandWindowMs: SLOT_MS,
        carbonGPerKwh: undefined,
        exportPricePerKwh: undefined,
      },
    },
    sessions: [
      session({ arrivalMs: startMs, departureMs: endMs, energyWh, departureChances, phaseCount: 1 }),
    ],
    slotStartsMs: [...slotStartsMs, endMs],
    preference: "LOWEST_COST",
  };
}

/** Quantiles of the error, real less said departure, for each class of said stays. */
function fitErrors(stays: readonly SaidStay[]): number[][] {
  return CLASSES.map((_, n) => {
    const errors = stays
      .filter((one) => classOf(one) === n)
      .map(({ departureMs, saidMs }) => departureMs - saidMs)
      .sort((a, b) => a - b);
    return LEVELS.map((level) => errors[Math.floor(level * errors.length)]);
  });
}

function classOf({ arrivalMs, saidMs }: SaidStay): number {
  const hours = (saidMs - arrivalMs) / HOUR_MS;
  return CLASSES.findLastIndex((from) => hours >= from);
}

/** The stay with the chances that follow from what was said; it ends when all but one in a hundred have left. */
function byChances(one: SaidStay, errors: readonly number[][], unmetPricePerKwh?: number): Problem {
  const times = errors[classOf(one)].map((errorMs) => Math.floor((one.saidMs + errorMs) / 1000) * 1000);
  const lastMs = Math.max(times[times.length - 1], one.arrivalMs + SLOT_MS);
  const chances: DepartureChance[] = [];
  times.forEach((atMs, n) => {
    const last = chances[chances.length - 1];
    if (atMs <= one.arrivalMs + 1000 || atMs >= lastMs) return;
    if (last?.atMs === atMs) last.probability = LEVELS[n];
    else chances.push({ atMs, probability: LEVELS[n] });
  });
  return { ...stay(one, lastMs, chances), unmetPricePerKwh };
}

interface Outcome {
  energyWh: number;
  cost: number;
}

/** What a plan delivers, and at what price, until the vehicle really leaves. */
function deliver(one: Problem, [powerW]: PowerPlan, { departureMs, energyWh }: SaidStay): Outcome {
  const prices = slotPrices(one);
  const outcome = { energyWh: 0, cost: 0 };
  for (let k = 0; k < powerW.length; k++) {
    const untilMs = Math.min(one.slotStartsMs[k + 1], departureMs);
    const wh = (powerW[k] * Math.max(0, untilMs - one.slotStartsMs[k])) / HOUR_MS;
    const drawnWh = Math.min(wh, energyWh - outcome.energyWh);
    outcome.energyWh += drawnWh;
    outcome.cost += (drawnWh * prices[k]) / 1000;
  }
  return outcome;
}

/** Sums over the stays of the second half for each way to plan. */
export function compareDepartures(stays: readonly SaidStay[], solvers: Solvers): Record<string, Outcome> {
  const half = Math.floor(stays.length / 2);
  const errors = fitErrors(stays.slice(0, half));
  const solve = (one: Problem): PowerPlan =>
    planSite(one, solvers, () => 10_000).plan.sessionPlans.map(({ powerW }) => powerW);
  const ways: Record<string, (one: SaidStay) => [Problem, PowerPlan]> = {
    "trusting what was said": (one) => {
      const said = stay(one, one.saidMs, []);
      return [said, solve(said)];
    },
    "charging at once": (one) => {
      const open = stay(one, Math.max(one.departureMs, one.saidMs), []);
      return [open, greedy(open, chargingOf(open), "ARRIVAL")];
    },
    "by the chances": (one) => {
      const uncertain = byChances(one, errors);
      return [uncertain, solve(uncertain)];
    },
    "by the chances, 2 $ a kWh": (one) => {
      const uncertain = byChances(one, errors, 2);
      return [uncertain, solve(uncertain)];
    },
    "knowing the truth": (one) => {
      const real = stay(one, one.departureMs, []);
      return [real, solve(real)];
    },
  };
  return Object.fromEntries(
    Object.entries(ways).map(([name, way]) => {
      const sum = { energyWh: 0, cost: 0 };
      for (const one of stays.slice(half)) {
        const { energyWh, cost } = deliver(...way(one), one);
        sum.energyWh += energyWh;
        sum.cost += cost;
      }
      return [name, sum];
    }),
  );
}

async function main(): Promise<void> {
  if (!hasSaidStays) {
    process.stdout.write("Skipped: the sessions are not beside the project\n");
    return;
  }
  const stays = saidStays();
  const outcomes = compareDepartures(stays, { glpk: await createGlpk(), highs: await createHighs() });
  const { energyWh: deliverableWh } = outcomes["knowing the truth"];
  process.stdout.write(
    `${stays.length} real sessions, errors fitted on the first half, the second planned one by one at TOU-EV-8\n\n`,
  );
  for (const [name, { energyWh, cost }] of Object.entries(outcomes)) {
    const share = ((100 * energyWh) / deliverableWh).toFixed(2);
    const perKwh = ((1000 * cost) / energyWh).toFixed(4);
    process.stdout.write(`${name.padEnd(27)} ${share.padStart(7)} % of the energy, ${perKwh} $ a kWh\n`);
  }
}

if (process.argv[1]?.endsWith("departures.js")) await main();

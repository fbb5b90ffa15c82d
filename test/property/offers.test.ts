import { describe, expect, it } from "vitest";
import { type Random, randomOf } from "../../benchmarks/random.ts";
import type { PowerStep } from "../../src/domain/plan.ts";
import type { Problem, Session } from "../../src/domain/problem.ts";
import { planSite } from "../../src/engine.ts";
import { validatorFor } from "../ocpp/schema.ts";
import { compareAll, firstExcesses } from "../support/brute.ts";
import { hardProblem, randomProblem } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const SITES = 240;
const CHOICES = 12;

const FORMS = [undefined, "salesTariff", "absolutePriceSchedule", "priceLevelSchedule"] as const;

/** A random site whose vehicles take several schedules, few periods and prices, some of each. */
function offering(seed: number): Problem {
  const random = randomOf(seed ^ 0x3c6ef372);
  const make = seed % 3 === 0 ? hardProblem : randomProblem;
  const plain = make(seed, { vehicles: [1, 8], hours: 6, slotMs: 900_000 });
  const { site } = plain;
  const evses = site.evses.map((evse) => ({
    ...evse,
    ocpp: { ...evse.ocpp, prefersTxDefaultProfile: false, version: random.pick(["2.0.1", "2.1"] as const) },
  }));
  const sessions = plain.sessions.map((one): Session => {
    const { version } = evses[one.evse].ocpp;
    if (random.chance(0.2) || one.discharge !== undefined) return one;
    const maxScheduleTuples = random.pick([Number.POSITIVE_INFINITY, 1, 2, 3, 6, 12]);
    const isDynamic = version === "2.1" && maxScheduleTuples > 2 && random.chance(0.2);
    const form = random.pick(FORMS);
    const offer = {
      maxScheduleTuples,
      maxSchedules: isDynamic || maxScheduleTuples === 1 ? 1 : random.pick([1, 2, 3, 3]),
      priceForm: version === "2.0.1" && form !== undefined ? ("salesTariff" as const) : form,
      isDynamic,
    };
    return { ...one, transactionId: one.transactionId || "77", offer };
  });
  return { ...plain, site: { ...site, evses }, sessions };
}

interface Schedule {
  id: number;
  startSchedule: string;
  chargingRateUnit: "A" | "W";
  chargingSchedulePeriod: { startPeriod: number; limit: number; numberPhases?: number }[];
  salesTariff?: { salesTariffEntry: object[] };
  absolutePriceSchedule?: { priceRuleStacks: object[] };
  priceLevelSchedule?: { priceLevelScheduleEntries: object[] };
}

function priceEntries(schedule: Schedule): number {
  const { salesTariff, absolutePriceSchedule, priceLevelSchedule } = schedule;
  const entries =
    salesTariff?.salesTariffEntry ??
    absolutePriceSchedule?.priceRuleStacks ??
    priceLevelSchedule?.priceLevelScheduleEntries;
  return entries?.length ?? 0;
}

/** What a schedule allows, by the test's own reading. */
function stepsIn({ site }: Problem, session: Session, schedule: Schedule): PowerStep[] {
  const { supply } = site.evses[session.evse];
  const volts = supply === "AC_LINE_TO_LINE" ? site.nominalVoltageV * Math.sqrt(3) : site.nominalVoltageV;
  return schedule.chargingSchedulePeriod.map(({ startPeriod, limit, numberPhases }) => ({
    atMs: Date.parse(schedule.startSchedule) + 1000 * startPeriod,
    powerW: schedule.chargingRateUnit === "W" ? limit : limit * volts * (numberPhases ?? 3),
    numberPhases,
  }));
}

/** Energy, Wh, that steps allow in a stay up to an instant. */
function allowedWh(steps: readonly PowerStep[], { departureMs }: Session, byMs: number): number {
  const endMs = Math.min(departureMs, byMs);
  return steps.reduce((wh, { atMs, powerW }, n) => {
    const toMs = Math.min(endMs, steps[n + 1]?.atMs ?? endMs);
    return wh + (powerW * Math.max(0, toMs - atMs)) / 3_600_000;
  }, 0);
}

function pick<T>(random: Random, of: readonly T[]): T {
  return of[random.int(0, of.length - 1)];
}

describe(`${SITES} random sites whose vehicles choose among schedules`, () => {
  it("pass no limit whatever they choose, in as many entries as they take", {
    timeout: 300_000,
  }, async () => {
    const solvers = await testSolvers();
    let offered = 0;
    let chosen = 0;
    let single = 0;
    let priced = 0;
    for (let seed = 0; seed < SITES; seed++) {
      const problem = offering(seed);
      const endMs = performance.now() + 500;
      const { plan, excesses } = planSite(problem, solvers, () => endMs - performance.now());
      expect(excesses, `seed ${seed}: something had to be left out`).toEqual([]);

      const choices = problem.sessions.map((session, i): PowerStep[][] => {
        const label = `seed ${seed} session ${i}`;
        const { command, shortfallWh, minimumShortfallWh } = plan.sessionPlans[i];
        if (command === undefined) return [[]];
        const payload = JSON.parse(command.payloadJson);
        if (command.ocppVersion === "1.6") throw new Error("no 1.6 was asked for");
        expect(validatorFor(command.ocppVersion)(payload), label).toEqual([]);
        const schedules: Schedule[] = payload.chargingProfile.chargingSchedule;
        const { offer } = session;
        expect(schedules.length, label).toBeLessThanOrEqual(offer?.maxSchedules ?? 1);
        if (offer !== undefined) {
          const ids = schedules.map(({ id }) => id);
          expect(new Set(ids).size, label).toBe(ids.length);
          for (const id of ids) expect([1, 2, 3]).toContain(id);
        }
        if (schedules.length > 1) offered++;
        if (offer?.maxScheduleTuples === 1 && schedules[0].chargingSchedulePeriod[0].limit > 0) single++;
        const read = schedules.map((schedule) => stepsIn(problem, session, schedule));
        const plannedWh = allowedWh(read[0], session, Number.POSITIVE_INFINITY);
        schedules.forEach((schedule, n) => {
          const { maxScheduleTuples = Number.POSITIVE_INFINITY, isDynamic = false } = offer ?? {};
          const { maxPeriods } = problem.site.evses[session.evse].ocpp;
          const periods = schedule.chargingSchedulePeriod.length;
          const prices = priceEntries(schedule);
          if (prices > 0) priced++;
          expect(periods, label).toBeLessThanOrEqual(Math.min(maxPeriods, maxScheduleTuples));
          expect(prices + (isDynamic ? periods : 0), label).toBeLessThanOrEqual(maxScheduleTuples);
          expect(schedule.startSchedule, label).toBe(schedules[0].startSchedule);
          // A taper is followed by tests of its own: without one, what is allowed is drawn.
          if (session.battery !== undefined) return;
          const wh = allowedWh(read[n], session, Number.POSITIVE_INFINITY);
          if (shortfallWh === 0)
            expect(wh, `${label} ${schedule.id}`).toBeGreaterThanOrEqual(session.energyWh - 2);
          else expect(wh, `${label} ${schedule.id}`).toBeGreaterThanOrEqual(plannedWh - 2);
          const { minimum } = session;
          if (minimum !== undefined && minimumShortfallWh === 0)
            expect(allowedWh(read[n], session, minimum.byMs)).toBeGreaterThanOrEqual(minimum.energyWh - 2);
        });
        return read;
      });

      const unsent = plan.sessionPlans.filter(({ command }) => command === undefined);
      const known = new Set(unsent.map(({ sessionId }) => `session ${sessionId}: without a profile`));
      // A single period ends with the transaction, which may outlast the stay.
      for (const { sessionId, offer } of problem.sessions)
        if (offer?.maxScheduleTuples === 1) known.add(`session ${sessionId}: after departure`);
      const random = randomOf(seed);
      const worst = choices.map((of) => of.length - 1);
      for (let n = 0; n < CHOICES; n++) {
        const taken = choices.map((of, i) => (n === 0 ? of[worst[i]] : pick(random, of)));
        const passed = [...firstExcesses(compareAll(problem, taken)).keys()];
        expect(
          passed.filter((limit) => !known.has(limit)),
          `seed ${seed} choice ${n}`,
        ).toEqual([]);
        chosen++;
      }
    }
    expect(offered).toBeGreaterThan(SITES / 2);
    expect(single).toBeGreaterThan(10);
    expect(priced).toBeGreaterThan(SITES / 2);
    expect(chosen).toBe(SITES * CHOICES);
  });
});

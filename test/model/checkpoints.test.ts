import { beforeAll, describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import type { Problem, Session } from "../../src/domain/problem.ts";
import { planSafely, planSite, type Solvers } from "../../src/engine.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import { powerKw } from "../../src/model/program.ts";
import { relaxedOptimum } from "../support/oracle.ts";
import {
  circuit,
  evse,
  problem,
  randomProblem,
  START_MS,
  session,
  slotsOf,
  tariff,
} from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const HOUR = 3_600_000;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

/** Vehicles at chargers of 22.08 kW in hourly slots from 08:00, at prices by the hour. */
function site(sessions: Partial<Session>[], prices: number[], maxPowerW = Number.POSITIVE_INFINITY): Problem {
  return problem({
    site: {
      siteId: "site",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit({ maxPowerW })],
      evses: sessions.map((_, n) => evse({ stationId: `CS${n}` })),
      tariff: tariff({ prices }),
    },
    sessions: sessions.map((one, n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + prices.length * HOUR, ...one }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + prices.length * HOUR, HOUR),
  });
}

function powers(one: Problem): number[][] {
  const { plan, excesses } = planSite(one, solvers, () => 60_000);
  expect(excesses).toEqual([]);
  return plan.sessionPlans.map(({ powerW }) => Array.from(powerW, (w) => Math.round(w)));
}

describe("a minimum by a time", () => {
  it("is charged at the price that it takes, the rest where it is cheap", () => {
    // 11.04 kWh by 09:00 are 16 A for the dear hour; the other 11.04 kWh come at 0.10.
    const minimum = { energyWh: 11_040, byMs: START_MS + HOUR };
    expect(powers(site([{ energyWh: 22_080, minimum }], [0.4, 0.2, 0.1]))).toEqual([[11_040, 0, 11_040]]);
  });

  it("counts the part of a slot that lies before its time", () => {
    // By 08:30 half of what the first hour gives: 5.52 kWh then are 11.04 kW from 08:00.
    const minimum = { energyWh: 5520, byMs: START_MS + HOUR / 2 };
    expect(powers(site([{ energyWh: 11_040, minimum }], [0.4, 0.1]))).toEqual([[11_040, 0]]);
  });

  it("comes before the needs of others, whatever their priority, and is told where it is missed", () => {
    const one = site(
      [
        { energyWh: 11_040, minimum: { energyWh: 11_040, byMs: START_MS + HOUR }, priority: 0.1 },
        { energyWh: 11_040, departureMs: START_MS + HOUR, priority: 10 },
      ],
      [0.2, 0.2],
      11_040,
    );
    expect(powers(one)).toEqual([
      [11_040, 0],
      [0, 0],
    ]);
    // The safe plan knows it too.
    expect(planSafely(one).plan.sessionPlans[0].powerW[0]).toBeCloseTo(11_040, 6);
    const late = { energyWh: 44_160, minimum: { energyWh: 30_000, byMs: START_MS + HOUR } };
    const { plan } = planSite(site([late], [0.2, 0.2]), solvers, () => 60_000);
    expect(plan.sessionPlans[0].minimumShortfallWh).toBeCloseTo(30_000 - 22_080, 6);
    expect(plan.sessionPlans[0].explanation).toContain("At 09:00 its minimum of 30.0 kWh lacks 7.9 kWh.");
  });
});

describe("chances of departure", () => {
  const chance = (probability: number) => [{ atMs: START_MS + HOUR, probability }];

  it("charge early when the odds times the worth are more than it costs, and not otherwise", () => {
    // An hour earlier costs 0.2 more a kWh. At a worth of 1 a kWh that pays above a chance of 0.2.
    const at = (probability: number) => ({
      ...site([{ energyWh: 11_040, departureChances: chance(probability) }], [0.4, 0.2]),
      unmetPricePerKwh: 1,
    });
    expect(powers(at(0.25))).toEqual([[11_040, 0]]);
    expect(powers(at(0.15))).toEqual([[0, 11_040]]);
  });

  it("are worth three mean prices a kWh where nothing is said", () => {
    // Three times 0.3 are 0.9: a chance of 0.25 is worth 0.225 > 0.2, one of 0.2 is worth 0.18.
    const at = (probability: number) =>
      site([{ energyWh: 11_040, departureChances: chance(probability) }], [0.4, 0.2]);
    expect(powers(at(0.25))).toEqual([[11_040, 0]]);
    expect(powers(at(0.2))).toEqual([[0, 11_040]]);
  });

  it("add up over several times: each weighs what it adds", () => {
    // 22.08 kWh take an hour at full power. By 09:00 the chance is 0.1, by 10:00 0.4; a worth of 1.
    // 08:00 instead of 10:00 saves 0.4 in expectation and costs 0.35; 09:00 saves 0.3 and costs 0.1.
    const departureChances = [
      { atMs: START_MS + HOUR, probability: 0.1 },
      { atMs: START_MS + 2 * HOUR, probability: 0.4 },
    ];
    const one = { ...site([{ energyWh: 22_080, departureChances }], [0.45, 0.2, 0.1]), unmetPricePerKwh: 1 };
    expect(powers(one)).toEqual([[0, 22_080, 0]]);
  });
});

describe("programs with checkpoints", () => {
  /** Random sites of which some vehicles have a minimum and some may leave early. */
  function uncertain(seed: number): Problem {
    const one = randomProblem(seed, { vehicles: [1, 14], hours: 10 });
    const random = randomOf(seed ^ 0x2545f491);
    const sessions = one.sessions.map((s) => {
      const fromMs = Math.max(s.arrivalMs, one.slotStartsMs[0]);
      const within = (share: number) => fromMs + Math.ceil((share * (s.departureMs - fromMs)) / 1000) * 1000;
      const first = random.real(0.05, 0.5);
      return {
        ...s,
        minimum: random.chance(0.4)
          ? { energyWh: s.energyWh * random.real(0, 1), byMs: within(random.real(0.1, 1)) }
          : undefined,
        departureChances: random.chance(0.5)
          ? [
              { atMs: within(first), probability: random.real(0, 0.3) },
              { atMs: within(random.real(first, 0.95)), probability: random.real(0.3, 1) },
            ]
          : [],
      };
    });
    return { ...one, sessions, unmetPricePerKwh: random.chance(0.5) ? random.real(0.1, 2) : undefined };
  }

  it("have HiGHS's own optimum, which is what the plan is worth by its parts", async () => {
    for (let seed = 0; seed < 100; seed++) {
      const one = uncertain(seed);
      const program = formulate(one, chargingOf(one), true);
      const reference = await relaxedOptimum(program.lp);
      for (const solver of [solvers.glpk, solvers.highs]) {
        const loaded = solver.load(program.lp);
        const { objective, primal } = loaded.solve({ timeLimitMs: 60_000 });
        loaded.dispose();
        const scale = Math.max(1, Math.abs(reference));
        expect(Math.abs(objective - reference) / scale).toBeLessThan(1e-6);
        const plan = program.charging.stays.map(({ first, end }, i) => {
          const powerW = new Float64Array(one.slotStartsMs.length - 1);
          for (let k = first; k < end; k++)
            powerW[k] = 1000 * powerKw(program, primal, program.offsets[i] + k - first);
          return powerW;
        });
        // Layers of FLATTEST and energy above the need may be worth less than the columns say, never more.
        expect(evaluate(program, plan)).toBeLessThan(objective + 1e-5 * scale);
        expect(evaluate(program, plan)).toBeGreaterThan(objective - 1e-5 * scale);
      }
    }
  });
});

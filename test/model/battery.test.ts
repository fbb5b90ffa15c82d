import { beforeAll, describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import { energyWh } from "../../src/domain/delivery.ts";
import { greedy } from "../../src/domain/greedy.ts";
import type { SitePlan } from "../../src/domain/plan.ts";
import type { Evse, Problem, Session } from "../../src/domain/problem.ts";
import { planSafely, planSite, type Solvers } from "../../src/engine.ts";
import { concaveBelow } from "../../src/model/battery.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import { powerKw } from "../../src/model/program.ts";
import { relaxedOptimum } from "../support/oracle.ts";
import {
  circuit,
  evse,
  hardProblem,
  problem,
  randomProblem,
  START_MS,
  session,
  slotsOf,
  tariff,
  withTaper,
} from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const HOUR = 3_600_000;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

/** 10 kW up to 5 of 10 kWh, then a kW less for each kWh: 5 kW when full. Half full. */
const FALLING = {
  capacityWh: 10_000,
  storedWh: 5000,
  efficiency: 1,
  chargeCurve: [
    { storedWh: 5000, maxPowerW: 10_000 },
    { storedWh: 10_000, maxPowerW: 5000 },
  ],
};

function site(
  one: Partial<Session>,
  hours: number,
  over: { slotMs?: number; evse?: Partial<Evse>; prices?: number[] } = {},
): Problem {
  const { slotMs = HOUR, prices } = over;
  const endMs = START_MS + hours * HOUR;
  const dc = evse({ supply: "DC", maxPowerW: 50_000, maxCurrentA: 0, minCurrentA: 0, ...over.evse });
  return problem({
    site: {
      ...problem().site,
      circuits: [circuit()],
      evses: [dc],
      tariff: prices === undefined ? undefined : tariff({ prices }),
    },
    sessions: [session({ energyWh: 5000, departureMs: endMs, battery: FALLING, ...one })],
    slotStartsMs: slotsOf(START_MS, endMs, slotMs),
  });
}

function plan(one: Problem): SitePlan {
  const { plan: made, excesses } = planSite(one, solvers, () => 60_000);
  expect(excesses).toEqual([]);
  return made;
}

describe("a charge curve", () => {
  it("makes the plan start where the battery can still finish", () => {
    // In an hour it takes the 5 kWh that it lacks, at 5 kW: the second hour alone would do, the first is dear.
    const { sessionPlans } = plan(site({}, 2, { prices: [0.4, 0.1] }));
    expect(sessionPlans[0].powerW[0]).toBe(0);
    expect(sessionPlans[0].powerW[1]).toBeGreaterThanOrEqual(5000);
    expect(sessionPlans[0].plannedEnergyWh).toBeCloseTo(5000, 3);
    expect(sessionPlans[0].energyCost).toBeCloseTo(0.5, 6);
  });

  it("promises no more than the battery draws, and says that it is the curve", () => {
    // Full power for half an hour is 10 (1 - e^-0.5) = 3.93 kWh, where 10 kW would be 5.
    const [one] = plan(site({}, 0.5, { slotMs: HOUR / 2 })).sessionPlans;
    expect(one.plannedEnergyWh).toBeCloseTo(10_000 * (1 - Math.exp(-0.5)), 1);
    expect(one.shortfallWh).toBeCloseTo(5000 - 10_000 * (1 - Math.exp(-0.5)), 1);
    expect(one.shortfallCauses).toEqual(["CHARGE_CURVE"]);
    expect(one.completeMs).toBeUndefined();
    expect(one.explanation).toContain("Its battery takes less power as it fills: 3.9 kWh is the most");
    const [safe] = planSafely(site({}, 0.5, { slotMs: HOUR / 2 })).plan.sessionPlans;
    expect(safe.plannedEnergyWh).toBeCloseTo(one.plannedEnergyWh, 1);
  });

  it("tells when the battery is full", () => {
    // At no limit that matters it has 5 kWh after ln 2 hours.
    const [one] = planSafely(site({}, 2, { slotMs: 2 * HOUR })).plan.sessionPlans;
    expect(one.shortfallWh).toBe(0);
    const [early] = plan(site({}, 1, { slotMs: HOUR / 60 })).sessionPlans;
    expect(early.completeMs).toBeGreaterThan(START_MS + (Math.LN2 - 0.02) * HOUR);
    expect(early.completeMs).toBeLessThan(START_MS + (Math.LN2 + 0.05) * HOUR);
  });

  it("leaves the limit at the minimum where the battery takes less than that", () => {
    // 3 kW are all it takes from the start; the charger gives 6 kW at the least.
    const slow = { ...FALLING, chargeCurve: [{ storedWh: 0, maxPowerW: 3000 }] };
    const [one] = plan(
      site({ battery: slow, energyWh: 3000 }, 2, { evse: { minPowerW: 6000 } }),
    ).sessionPlans;
    expect([...one.powerW].every((w) => w === 0 || w >= 6000)).toBe(true);
    expect(one.plannedEnergyWh).toBeCloseTo(3000, 3);
    expect(one.completeMs).toBe(START_MS + HOUR);
  });

  it("counts for a minimum by a time", () => {
    const minimum = { energyWh: 4500, byMs: START_MS + HOUR / 2 };
    const [one] = plan(site({ minimum }, 2, { slotMs: HOUR / 2, prices: [0.2] })).sessionPlans;
    expect(one.minimumShortfallWh).toBeCloseTo(4500 - 10_000 * (1 - Math.exp(-0.5)), 1);
    expect(one.shortfallWh).toBe(0);
  });

  it("adds nothing to the program of a site without one", () => {
    const without = site({ battery: { ...FALLING, chargeCurve: [] } }, 2);
    const unknown = site({ battery: undefined }, 2);
    expect(formulate(without, chargingOf(without), true).lp).toEqual(
      formulate(unknown, chargingOf(unknown), true).lp,
    );
  });
});

describe("the concave stand-in of a curve", () => {
  const points = (...all: [number, number][]) =>
    all.map(([storedWh, maxPowerW]) => ({ storedWh, maxPowerW }));
  const at = (curve: { storedWh: number; maxPowerW: number }[], storedWh: number): number => {
    const n = Math.max(
      1,
      curve.findIndex((point) => point.storedWh >= storedWh),
    );
    const [a, b] = [curve[n - 1], curve[n]];
    return a.maxPowerW + ((storedWh - a.storedWh) / (b.storedWh - a.storedWh)) * (b.maxPowerW - a.maxPowerW);
  };

  it("is the curve itself where that is concave", () => {
    const concave = points([0, 50], [20, 100], [60, 90], [100, 10]);
    for (const s of [0, 10, 20, 40, 60, 80, 100])
      expect(at(concaveBelow(concave), s)).toBeCloseTo(at(concave, s), 9);
  });

  it("keeps what is slow and lowers what is fast", () => {
    // The fall bends at 60: from 40 on it is the line through the two slower points, 85 at 40.
    const bent = concaveBelow(points([0, 100], [40, 100], [60, 60], [80, 35], [100, 10]));
    expect(at(bent, 100)).toBeCloseTo(10, 9);
    expect(at(bent, 60)).toBeCloseTo(60, 9);
    expect(at(bent, 40)).toBeCloseTo(85, 9);
  });

  it("is concave and nowhere above any curve", () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = randomOf(seed);
      const count = random.int(2, 8);
      const curve = points(
        ...Array.from({ length: count }, (_, n): [number, number] => [
          n * 10 + random.real(0, 9),
          random.real(0, 100),
        ]),
      );
      const stand = concaveBelow(curve);
      expect(stand[0].storedWh).toBe(curve[0].storedWh);
      expect(stand[stand.length - 1].storedWh).toBe(curve[count - 1].storedWh);
      const [from, to] = [curve[0].storedWh, curve[count - 1].storedWh];
      for (let n = 0; n <= 50; n++) {
        const s = from + (n / 50) * (to - from);
        expect(at(stand, s), `seed ${seed} at ${s}`).toBeLessThanOrEqual(at(curve, s) + 1e-7);
      }
      const slopes = stand
        .slice(1)
        .map((b, n) => (b.maxPowerW - stand[n].maxPowerW) / (b.storedWh - stand[n].storedWh));
      slopes.slice(1).forEach((slope, n) => {
        expect(slope, `seed ${seed}`).toBeLessThanOrEqual(slopes[n] + 1e-7);
      });
    }
  });
});

/** What a vehicle that follows its charge curve draws of limits, in steps of a second: none of the project's code. */
function drivenWh(
  { battery, arrivalMs, departureMs }: Session,
  slotStartsMs: number[],
  powerW: Float64Array,
): number {
  const {
    capacityWh = Number.POSITIVE_INFINITY,
    storedWh = 0,
    efficiency = 1,
    chargeCurve = [],
  } = battery ?? {};
  let stored = storedWh;
  let drawnWh = 0;
  let k = 0;
  for (let atMs = Math.max(arrivalMs, slotStartsMs[0]); atMs < departureMs; atMs += 1000) {
    while (slotStartsMs[k + 1] <= atMs) k++;
    let takesW = Number.POSITIVE_INFINITY;
    for (let n = 0; n < chargeCurve.length; n++) {
      const [a, b] = [chargeCurve[n], chargeCurve[n + 1]];
      if (n === 0 && stored <= a.storedWh) takesW = a.maxPowerW;
      else if (b === undefined && stored >= a.storedWh) takesW = a.maxPowerW;
      else if (b !== undefined && stored >= a.storedWh && stored <= b.storedWh)
        takesW =
          a.maxPowerW + ((stored - a.storedWh) * (b.maxPowerW - a.maxPowerW)) / (b.storedWh - a.storedWh);
    }
    if (chargeCurve.length > 0 && stored >= capacityWh) takesW = 0;
    const wh = Math.min(powerW[k], takesW) / 3600;
    drawnWh += wh;
    stored += wh * efficiency;
  }
  return drawnWh;
}

describe("programs with charge curves", () => {
  it("have HiGHS's own optimum; their plans are drawn as planned, and worth no less than they say", async () => {
    for (let seed = 0; seed < 100; seed++) {
      const one = withTaper(randomProblem(seed, { vehicles: [1, 14], hours: 10 }), seed);
      const charging = chargingOf(one);
      const program = formulate(one, charging, true);
      const reference = await relaxedOptimum(program.lp);
      const scale = Math.max(1, Math.abs(reference));
      for (const solver of [solvers.glpk, solvers.highs]) {
        const loaded = solver.load(program.lp);
        const { objective, primal } = loaded.solve({ timeLimitMs: 60_000 });
        loaded.dispose();
        expect(Math.abs(objective - reference) / scale, `seed ${seed}`).toBeLessThan(1e-6);
        const powers = charging.stays.map(({ first, end }, i) => {
          const powerW = new Float64Array(one.slotStartsMs.length - 1);
          for (let k = first; k < end; k++)
            powerW[k] = 1000 * powerKw(program, primal, program.offsets[i] + k - first);
          return powerW;
        });
        charging.stays.forEach(({ first, end }, i) => {
          let plannedWh = 0;
          for (let k = first; k < end; k++) {
            const n = program.offsets[i] + k - first;
            const idleKw = program.undrawn[n] < 0 ? 0 : primal[program.undrawn[n]];
            plannedWh += program.hours[n] * (powers[i][k] - 1000 * idleKw);
          }
          expect(energyWh(one, charging, i, powers[i]), `seed ${seed} ${i}`).toBeGreaterThan(
            plannedWh - 0.01,
          );
        });
        expect(evaluate(program, powers), `seed ${seed}`).toBeLessThan(objective + 1e-5 * scale);
      }
    }
  });

  it("are worth exactly what they say where every limit is drawn", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = withTaper(randomProblem(seed, { vehicles: [1, 8], hours: 10 }), seed);
      const one = {
        ...random,
        site: {
          ...random.site,
          evses: random.site.evses.map((at) => ({ ...at, minCurrentA: 0, minPowerW: 0 })),
        },
        sessions: random.sessions.map((s) => ({ ...s, minCurrentA: 0 })),
      };
      const program = formulate(one, chargingOf(one), true);
      const loaded = solvers.highs.load(program.lp);
      const { objective, primal } = loaded.solve({ timeLimitMs: 60_000 });
      loaded.dispose();
      const powers = program.charging.stays.map(({ first, end }, i) => {
        const powerW = new Float64Array(one.slotStartsMs.length - 1);
        for (let k = first; k < end; k++)
          powerW[k] = 1000 * powerKw(program, primal, program.offsets[i] + k - first);
        return powerW;
      });
      const scale = Math.max(1, Math.abs(objective));
      expect(Math.abs(evaluate(program, powers) - objective) / scale, `seed ${seed}`).toBeLessThan(1e-5);
    }
  });

  it("never promise more than a vehicle that follows its curve draws, whatever the site", {
    timeout: 300_000,
  }, () => {
    let checked = 0;
    for (let seed = 0; seed < 60; seed++) {
      const make = seed % 2 === 0 ? randomProblem : hardProblem;
      const one = withTaper(make(seed, { vehicles: [1, 8], hours: 6 }), seed);
      const end = performance.now() + 2000;
      const { plan: made, excesses } = planSite(one, solvers, () => end - performance.now());
      expect(excesses, `seed ${seed}`).toEqual([]);
      for (const plans of [made, planSafely(one).plan]) {
        plans.sessionPlans.forEach(({ powerW, plannedEnergyWh, shortfallWh, shortfallCauses }, i) => {
          const drawnWh = drivenWh(one.sessions[i], one.slotStartsMs, powerW);
          const label = `seed ${seed} ${one.sessions[i].sessionId}`;
          // A second's step of up to 150 kW is 42 Wh, of which the curve takes little off.
          expect(plannedEnergyWh, label).toBeLessThanOrEqual(drawnWh + 5);
          expect(shortfallCauses.length > 0, label).toBe(shortfallWh > 0);
          if (one.sessions[i].battery !== undefined) checked++;
        });
      }
    }
    expect(checked).toBeGreaterThan(200);
  });

  it("leave no energy that a lone vehicle could draw", () => {
    for (let seed = 0; seed < 40; seed++) {
      const one = withTaper(randomProblem(seed, { vehicles: [1, 1], hours: 6 }), seed);
      const alone = {
        ...one,
        site: {
          ...one.site,
          circuits: [circuit()],
          evses: one.site.evses.map((at) => ({ ...at, circuit: 0, ocpp: { ...at.ocpp, maxPeriods: 1024 } })),
        },
      };
      const charging = chargingOf(alone);
      const atOnce = greedy(alone, charging, "ARRIVAL");
      const mostWh = Math.min(alone.sessions[0].energyWh, energyWh(alone, charging, 0, atOnce[0]));
      const [{ plannedEnergyWh }] = plan(alone).sessionPlans;
      expect(plannedEnergyWh, `seed ${seed}`).toBeGreaterThan(mostWh - 2);
    }
  });
});

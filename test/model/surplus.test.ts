import { beforeAll, describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import type { SitePlan } from "../../src/domain/plan.ts";
import type { Problem, Session } from "../../src/domain/problem.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import { powerKw } from "../../src/model/program.ts";
import { relaxedOptimum } from "../support/oracle.ts";
import {
  circuit,
  evse,
  hardProblem,
  problem,
  START_MS,
  series,
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

interface Sun {
  prices: number[];
  pvW: number[];
  paid?: number[];
  baseW?: number;
  over?: Partial<Problem>;
}

/** Vehicles at chargers of 22.08 kW in hourly slots from 08:00, with the sun as given. */
function site(sessions: Partial<Session>[], { prices, pvW, paid, baseW = 0, over }: Sun): Problem {
  return problem({
    site: {
      siteId: "site",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: series(START_MS, HOUR, pvW),
      battery: undefined,
      circuits: [circuit({ maxPowerW: 60_000, baseLoadW: series(START_MS, HOUR, [baseW]) })],
      evses: sessions.map((_, n) => evse({ stationId: `CS${n}` })),
      tariff: tariff({ prices, exportPricePerKwh: paid && series(START_MS, HOUR, paid) }),
    },
    sessions: sessions.map((one, n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + prices.length * HOUR, ...one }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + prices.length * HOUR, HOUR),
    ...over,
  });
}

function plan(one: Problem): SitePlan {
  const { plan, excesses } = planSite(one, solvers, () => 60_000);
  expect(excesses).toEqual([]);
  return plan;
}

const rounded = (powerW: Float64Array) => Array.from(powerW, Math.round);

describe("the site's own production", () => {
  it("goes into vehicles before it goes out", () => {
    // 11.04 kWh at 0.20 at night, or in the second hour: 6.9 kW of surplus at the 0.05 that its export
    // would have paid, and the rest at 0.30. The surplus is worth taking, the rest is not.
    const one = site([{ energyWh: 11_040 }], {
      prices: [0.25, 0.3, 0.2],
      pvW: [0, 8900, 0],
      paid: [0.05],
      baseW: 2000,
    });
    const { sessionPlans, importPowerW, exportPowerW, summary } = plan(one);
    expect(rounded(sessionPlans[0].powerW)).toEqual([0, 6900, 4140]);
    expect(rounded(importPowerW)).toEqual([2000, 0, 6140]);
    expect(rounded(exportPowerW)).toEqual([0, 0, 0]);
    // 6.9 kWh x 0.05 + 4.14 kWh x 0.20
    expect(summary.energyCost).toBeCloseTo(0.345 + 0.828, 6);
    expect(summary).toMatchObject({ pvEnergyWh: 8900, exportEnergyWh: 0, exportRevenue: 0 });
  });

  it("flows out where export pays more than waiting costs", () => {
    // Export pays 0.25 at noon, the night costs 0.20: the vehicle waits.
    const one = site([{ energyWh: 11_040 }], { prices: [0.3, 0.2], pvW: [11_040, 0], paid: [0.25] });
    const { sessionPlans, exportPowerW, summary } = plan(one);
    expect(rounded(sessionPlans[0].powerW)).toEqual([0, 11_040]);
    expect(rounded(exportPowerW)).toEqual([11_040, 0]);
    expect(summary.exportRevenue).toBeCloseTo(11.04 * 0.25, 6);
  });

  it("is taken where its export costs money, and import is where that pays", () => {
    // A kWh less out at -0.10 saves 0.10; a kWh in at -0.05 earns only 0.05.
    const one = site([{ energyWh: 11_040 }], { prices: [0.1, -0.05], pvW: [11_040, 0], paid: [-0.1] });
    expect(rounded(plan(one).sessionPlans[0].powerW)).toEqual([11_040, 0]);
    const night = site([{ energyWh: 11_040 }], { prices: [0.1, -0.15], pvW: [11_040, 0], paid: [-0.1] });
    expect(rounded(plan(night).sessionPlans[0].powerW)).toEqual([0, 11_040]);
  });

  it("never pays more than import costs, and a notice says so", () => {
    const one = site([{ energyWh: 11_040 }], { prices: [0.2, 0.3], pvW: [11_040, 0], paid: [0.5] });
    const { notices, sessionPlans, summary } = plan(one);
    expect(notices.map(({ code, field }) => [code, field])).toEqual([
      ["EXPORT_ABOVE_IMPORT", "site.tariff.export_price_per_kwh"],
    ]);
    // Charging from the sun costs the 0.20 that import costs, at night 0.30.
    expect(rounded(sessionPlans[0].powerW)).toEqual([11_040, 0]);
    expect(summary.energyCost).toBeCloseTo(11.04 * 0.2, 6);
  });

  it("lowers the peak that a demand charge is on, but makes no room under a limit", () => {
    // 22.08 kWh in two hours: with 6.9 kW of sun in the first, 14.49 kW there import 7.59 kW, as much
    // as the 7.59 kW of the second. In steps of 69 W.
    const one = site([{ energyWh: 22_080 }], { prices: [0.2, 0.2], pvW: [6900, 0], paid: [0] });
    const charged = { ...one, site: { ...one.site, tariff: { ...one.site.tariff!, demandPricePerKw: 10 } } };
    const { sessionPlans, summary } = plan(charged);
    expect(rounded(sessionPlans[0].powerW)).toEqual([14_490, 7590]);
    expect(summary.peakImportW).toBeCloseTo(7590, 6);
    expect(summary.demandCost).toBeCloseTo(75.9, 6);
    const narrow = { ...charged, site: { ...charged.site, circuits: [circuit({ maxPowerW: 11_040 })] } };
    expect(rounded(plan(narrow).sessionPlans[0].powerW)).toEqual([11_040, 11_040]);
  });
});

/** Random sites with everything else mixed in, under a sun that comes and goes. */
function sunny(seed: number): Problem {
  const one = hardProblem(seed, { vehicles: [1, 12], hours: 10 });
  const random = randomOf(seed ^ 0x1b873593);
  const values = (from: number, to: number) => Array.from({ length: 12 }, () => random.real(from, to));
  const startMs = one.slotStartsMs[0] - 600_000;
  const pvPowerW = series(startMs, random.pick([HOUR, 1_500_000]), values(0, 6000 * one.sessions.length));
  const paid = series(startMs, HOUR, values(-0.1, 0.3));
  const taxed = one.site.tariff && { ...one.site.tariff, exportPricePerKwh: paid };
  return { ...one, site: { ...one.site, pvPowerW, tariff: taxed } };
}

describe("random sites under the sun", () => {
  it("balance in every slot, and nothing flows in and out at once", () => {
    for (let seed = 0; seed < 60; seed++) {
      const one = sunny(seed);
      const { plan, excesses } = planSite(one, solvers, () => 2000);
      expect(excesses).toEqual([]);
      const { chargingPowerW, importPowerW, exportPowerW, pvPowerW } = plan;
      const idle = { ...one, sessions: [] };
      const baseW = planSite({ ...idle, site: { ...one.site, pvPowerW: undefined } }, solvers, () => 2000)
        .plan.importPowerW;
      chargingPowerW.forEach((charging, k) => {
        expect(importPowerW[k] - exportPowerW[k]).toBeCloseTo(charging + baseW[k] - pvPowerW[k], 6);
        expect(importPowerW[k] * exportPowerW[k]).toBe(0);
      });
    }
  });

  it("have HiGHS's own optimum, which is what the plan is worth by its parts", async () => {
    for (let seed = 0; seed < 100; seed++) {
      const one = sunny(seed);
      const program = formulate(one, chargingOf(one), true);
      const reference = await relaxedOptimum(program.lp);
      for (const solver of [solvers.glpk, solvers.highs]) {
        const loaded = solver.load(program.lp);
        const { objective, primal } = loaded.solve({ timeLimitMs: 60_000 });
        loaded.dispose();
        const scale = Math.max(1, Math.abs(reference));
        expect(Math.abs(objective - reference) / scale).toBeLessThan(1e-6);
        const relaxed = program.charging.stays.map(({ first, end }, i) => {
          const powerW = new Float64Array(one.slotStartsMs.length - 1);
          for (let k = first; k < end; k++)
            powerW[k] = 1000 * powerKw(program, primal, program.offsets[i] + k - first);
          return powerW;
        });
        expect(Math.abs(evaluate(program, relaxed) - objective)).toBeLessThan(1e-5 * scale);
      }
    }
  });
});

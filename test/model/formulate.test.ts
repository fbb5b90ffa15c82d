import { beforeAll, describe, expect, it } from "vitest";
import { chargingOf } from "../../src/domain/charging.ts";
import type { Problem } from "../../src/domain/problem.ts";
import type { Solvers } from "../../src/engine.ts";
import { formulate } from "../../src/model/formulate.ts";
import { split } from "../../src/model/lp.ts";
import { type Program, powerKw } from "../../src/model/program.ts";
import { circuit, evse, problem, START_MS, series, session, slotsOf, tariff } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const HOUR = 3_600_000;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

/** Relaxed optimum: each session's power in kW in each slot of its stay. */
function solve(one: Problem, scarce = true): { program: Program; powers: number[][]; objective: number } {
  const program = formulate(one, chargingOf(one), scarce);
  const loaded = solvers.highs.load(program.lp);
  const solution = loaded.solve({ timeLimitMs: 10_000 });
  loaded.dispose();
  expect(solution.status).toBe("optimal");
  const powers = one.sessions.map((_, i) => {
    const own: number[] = [];
    for (let n = program.offsets[i]; n < program.offsets[i + 1]; n++)
      own.push(powerKw(program, solution.primal, n));
    return own;
  });
  return { program, powers, objective: solution.objective };
}

/** A site of hourly slots where each vehicle has a charger of its own, DC so that any power is allowed. */
function hourly(
  sessions: Parameters<typeof session>[0][],
  over: Partial<Problem["site"]> = {},
  hours = 4,
): Problem {
  return problem({
    site: {
      siteId: "site",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit()],
      evses: sessions.map((_, n) =>
        evse({ stationId: `CS${n}`, supply: "DC", maxPowerW: 10_000, minCurrentA: 0 }),
      ),
      tariff: undefined,
      ...over,
    },
    sessions: sessions.map((one, n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + hours * HOUR, ...one }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + hours * HOUR, HOUR),
  });
}

const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);

describe("the linear program", () => {
  it("charges in the cheapest hours and goes no further than the need", () => {
    const { powers } = solve(
      hourly([{ energyWh: 14_000 }], { tariff: tariff({ prices: [0.4, 0.1, 0.3, 0.2] }) }),
    );
    // 10 kWh at 0.10, the other 4 kWh at 0.20.
    expect(powers[0].map((kw) => Math.round(kw * 1e6) / 1e6)).toEqual([0, 10, 0, 4]);
  });

  it("does not charge beyond the need where the price is negative", () => {
    const { powers } = solve(
      hourly([{ energyWh: 5000 }], { tariff: tariff({ prices: [-0.5, -0.2, -0.1, 0.1] }) }),
    );
    expect(powers[0].map((kw) => Math.round(kw * 1e6) / 1e6)).toEqual([5, 0, 0, 0]);
  });

  it("levels the load under a demand charge, above the peak already seen", () => {
    // 12 kWh in 4 h at one price: 3 kW throughout. The excess over the 1 kW already seen costs.
    const flat = hourly([{ energyWh: 12_000 }], {
      tariff: tariff({ prices: [0.2], demandPricePerKw: 10, demandPeakSoFarW: 1000, demandWindowMs: HOUR }),
    });
    const { powers, program } = solve(flat);
    for (const kw of powers[0]) expect(kw).toBeCloseTo(3, 6);
    expect(program.demand?.leastKw).toBe(1);
    // With a peak of 6 kW already paid for, the cheap hour is filled up to it.
    const paid = hourly([{ energyWh: 9000 }], {
      tariff: tariff({
        prices: [0.3, 0.1, 0.2, 0.3],
        demandPricePerKw: 10,
        demandPeakSoFarW: 6000,
        demandWindowMs: HOUR,
      }),
    });
    expect(solve(paid).powers[0].map((kw) => Math.round(kw * 1e6) / 1e6)).toEqual([0, 6, 3, 0]);
  });

  it("meets the need even where the demand charge makes it dear", () => {
    const dear = hourly([{ energyWh: 40_000 }], {
      tariff: tariff({ prices: [0.1], demandPricePerKw: 1000, demandWindowMs: HOUR }),
    });
    expect(sum(solve(dear).powers[0])).toBeCloseTo(40, 6);
  });

  it("shares scarcity evenly, and by priority", () => {
    // 8 kW for 4 h = 32 kWh for two needs of 30 kWh: 16 kWh each, to within a tenth of the need.
    const grid = [circuit({ maxPowerW: 8000 })];
    const even = solve(hourly([{ energyWh: 30_000 }, { energyWh: 30_000 }], { circuits: grid }));
    expect(sum(even.powers[0]) + sum(even.powers[1])).toBeCloseTo(32, 6);
    expect(Math.abs(sum(even.powers[0]) - sum(even.powers[1]))).toBeLessThanOrEqual(30 / 10 + 1e-6);
    const ranked = solve(
      hourly([{ energyWh: 30_000 }, { energyWh: 30_000, priority: 2 }], { circuits: grid }),
    );
    expect(sum(ranked.powers[1])).toBeCloseTo(30, 6);
    expect(sum(ranked.powers[0])).toBeCloseTo(2, 6);
  });

  it("counts single-phase vehicles on the phase they are wired to", () => {
    // 16 A a phase. Two single-phase vehicles on L1 share 3.68 kW; the one rotated to L2 has it alone.
    const one = problem({
      site: {
        siteId: "site",
        timeZone: "UTC",
        nominalVoltageV: 230,
        pvPowerW: undefined,
        battery: undefined,
        circuits: [circuit({ maxCurrentA: 16 })],
        evses: [
          evse({ stationId: "CS0" }),
          evse({ stationId: "CS1" }),
          evse({ stationId: "CS2", phases: [2, 3, 1] }),
        ],
        tariff: undefined,
      },
      sessions: [0, 1, 2].map((n) =>
        session({
          sessionId: `s${n}`,
          evse: n,
          phaseCount: 1,
          energyWh: 20_000,
          departureMs: START_MS + HOUR,
        }),
      ),
      slotStartsMs: slotsOf(START_MS, START_MS + HOUR, HOUR),
    });
    const { powers } = solve(one);
    expect(powers[0][0] + powers[1][0]).toBeCloseTo(3.68, 6);
    expect(powers[2][0]).toBeCloseTo(3.68, 6);
  });

  it("keeps every level of the circuit tree", () => {
    const circuits = [
      circuit({ maxPowerW: 9000, baseLoadW: series(START_MS, HOUR, [1000]) }),
      circuit({ circuitId: "a", parent: 0, maxPowerW: 5000 }),
      circuit({ circuitId: "b", parent: 0 }),
    ];
    const one = hourly([{ energyWh: 90_000 }, { energyWh: 90_000 }, { energyWh: 90_000 }], { circuits });
    one.site.evses[0].circuit = 1;
    one.site.evses[1].circuit = 1;
    one.site.evses[2].circuit = 2;
    const { powers } = solve(one);
    for (let k = 0; k < 4; k++) {
      expect(powers[0][k] + powers[1][k]).toBeLessThanOrEqual(5 + 1e-6);
      expect(powers[0][k] + powers[1][k] + powers[2][k]).toBeCloseTo(8, 6);
    }
  });

  it("leaves no room, and stays feasible, where the base load is over the limit", () => {
    const circuits = [
      circuit({ maxPowerW: 5000, baseLoadW: series(START_MS, HOUR, [1000, 9000, 1000, 1000]) }),
    ];
    const { powers } = solve(hourly([{ energyWh: 20_000 }], { circuits }));
    expect(powers[0].map((kw) => Math.round(kw * 1e6) / 1e6)).toEqual([4, 0, 4, 4]);
  });

  it("writes no row that can't bind", () => {
    const wide = hourly([{ energyWh: 10_000 }], { circuits: [circuit({ maxPowerW: 10_000 })] });
    expect(solve(wide).program.circuitRows).toEqual([]);
    const narrow = hourly([{ energyWh: 10_000 }], { circuits: [circuit({ maxPowerW: 9999 })] });
    expect(solve(narrow).program.circuitRows).toHaveLength(4);
  });

  it("honours partial slots at both ends", () => {
    // Present for the last half of slot 0 and the first quarter of slot 2: 10 kW x 1.75 h.
    const one = hourly([
      { arrivalMs: START_MS + HOUR / 2, departureMs: START_MS + 2.25 * HOUR, energyWh: 90_000 },
    ]);
    const { program, powers } = solve(one);
    expect([...program.hours]).toEqual([0.5, 1, 0.25]);
    expect(powers[0]).toEqual([10, 10, 10]);
    expect(program.energy[0].energyKwh).toBeCloseTo(17.5, 9);
  });

  it("keeps an installed plan unless a change saves more than its price", () => {
    const installed = { powerW: series(START_MS, HOUR, [0, 5000, 0, 0]), chargingProfileId: 7 };
    const move = (saving: number, changePricePerKwh: number) => {
      const one = hourly([{ energyWh: 5000, installed }], {
        tariff: tariff({ prices: [0.3, 0.2, 0.2 - saving, 0.3] }),
      });
      return solve({ ...one, changePricePerKwh }).powers[0].map((kw) => Math.round(kw * 1e6) / 1e6);
    };
    expect(move(0.01, 0.02)).toEqual([0, 5, 0, 0]);
    expect(move(0.03, 0.02)).toEqual([0, 0, 5, 0]);
    expect(move(0, 0)).toEqual([0, 5, 0, 0]);
  });

  it("serves the preference with what freedom the needs leave", () => {
    const prices = {
      tariff: tariff({
        prices: [0.3, 0.1, 0.2, 0.1],
        carbonGPerKwh: series(START_MS, HOUR, [300, 500, 200, 100]),
      }),
    };
    const one = hourly([{ energyWh: 10_000 }], prices);
    const of = (preference: Problem["preference"]) =>
      solve({ ...one, preference }).powers[0].map((kw) => Math.round(kw * 1e4) / 1e4);
    expect(of("EARLIEST")).toEqual([10, 0, 0, 0]);
    expect(of("LOWEST_COST")).toEqual([0, 10, 0, 0]);
    expect(of("LOWEST_CARBON")).toEqual([0, 0, 0, 10]);
    expect(of("FLATTEST")).toEqual([2.5, 2.5, 2.5, 2.5]);
  });

  it("is done as early as it can be in a long plan too, whatever that costs", () => {
    // A month of 5-minute slots; the first three hours cost four times what the rest does.
    const prices = Array.from({ length: 24 * 31 }, (_, h) => (h < 3 ? 0.4 : 0.1));
    const month = hourly([{ energyWh: 20_000 }], { tariff: tariff({ prices }) }, 24 * 31);
    const { powers } = solve({
      ...month,
      slotStartsMs: slotsOf(START_MS, START_MS + 31 * 24 * HOUR, HOUR / 12),
      preference: "EARLIEST",
    });
    // 10 kW for two hours.
    expect(powers[0].slice(0, 25).map((kw) => Math.round(kw))).toEqual([...Array(24).fill(10), 0]);
  });

  it("levels the whole site, base load included, where the flattest is preferred", () => {
    const circuits = [circuit({ baseLoadW: series(START_MS, HOUR, [4000, 1000, 0, 3000]) })];
    const { powers } = solve({ ...hourly([{ energyWh: 8000 }], { circuits }), preference: "FLATTEST" });
    // 8 kWh fill the valleys of 4, 1, 0, 3 kW up to 4 kW: 0 + 3 + 4 + 1.
    expect(powers[0].map((kw) => Math.round(kw * 1e4) / 1e4)).toEqual([0, 3, 4, 1]);
  });

  it("is level below a peak that nothing can lower", () => {
    // 16 kWh beside a base load of 1 kW, 8 kW in the third hour: 23 kWh over seven hours are 3.29 kW.
    // A layer is a twelfth of what lies between 1 kW and (16 + 15) / 8 kW.
    const baseW = [1000, 1000, 8000, 1000, 1000, 1000, 1000, 1000];
    const circuits = [circuit({ baseLoadW: series(START_MS, HOUR, baseW) })];
    const one = hourly([{ energyWh: 8000 }, { energyWh: 8000 }], { circuits }, 8);
    const { powers } = solve({ ...one, preference: "FLATTEST" });
    const importKw = baseW.map((w, k) => w / 1000 + powers[0][k] + powers[1][k]);
    expect(importKw[2]).toBeCloseTo(8, 6);
    for (const kw of importKw.toSpliced(2, 1)) expect(Math.abs(kw - 23 / 7)).toBeLessThan(2.875 / 12);
  });

  it("levels the load also where a vehicle comes only after the plan", () => {
    const late = { arrivalMs: START_MS + 5 * HOUR, departureMs: START_MS + 6 * HOUR };
    const { powers } = solve({ ...hourly([{ energyWh: 8000 }, late]), preference: "FLATTEST" });
    expect(powers.map((kw) => kw.map((one) => Math.round(one * 1e4) / 1e4))).toEqual([[2, 2, 2, 2], []]);
  });

  it("prices carbon into the cost", () => {
    const prices = {
      tariff: tariff({ prices: [0.1, 0.15], carbonGPerKwh: series(START_MS, HOUR, [800, 100]) }),
    };
    const one = hourly([{ energyWh: 5000, departureMs: START_MS + 2 * HOUR }], prices, 2);
    expect(solve(one).powers[0][0]).toBeCloseTo(5, 6);
    // 0.1 per kg: 0.1 + 0.08 against 0.15 + 0.01.
    expect(solve({ ...one, carbonPricePerKg: 0.1 }).powers[0][1]).toBeCloseTo(5, 6);
  });
});

describe("splitting", () => {
  it("separates vehicles that are never there together, and keeps the optimum", () => {
    const sessions = [0, 1, 2].map((n) => ({
      arrivalMs: START_MS + 4 * n * HOUR,
      departureMs: START_MS + (4 * n + 3) * HOUR,
      energyWh: 20_000,
    }));
    const one = hourly(sessions, { circuits: [circuit({ maxPowerW: 6000 })] }, 12);
    const { program, objective } = solve(one);
    const parts = split(program.lp, 1);
    expect(parts).toHaveLength(3);
    let total = 0;
    for (const part of parts) {
      const loaded = solvers.highs.load(part.lp);
      total += loaded.solve({ timeLimitMs: 10_000 }).objective;
      loaded.dispose();
    }
    expect(total).toBeCloseTo(objective, 6);
    expect(parts.reduce((count, part) => count + part.columns.length, 0)).toBe(program.lp.columnCount);
    expect(split(program.lp, 1e9)).toHaveLength(1);
  });

  it("does not separate what a demand charge couples", () => {
    const sessions = [0, 1].map((n) => ({
      arrivalMs: START_MS + 2 * n * HOUR,
      departureMs: START_MS + 2 * (n + 1) * HOUR,
      energyWh: 8000,
    }));
    const one = hourly(sessions, { tariff: tariff({ demandPricePerKw: 5, demandWindowMs: HOUR }) });
    expect(split(solve(one).program.lp, 1)).toHaveLength(1);
  });
});

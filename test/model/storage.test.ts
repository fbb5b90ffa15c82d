import { describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import type { Problem, Session, StationaryBattery } from "../../src/domain/problem.ts";
import { planSafely } from "../../src/engine.ts";
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
import { planner } from "../support/solvers.ts";

const HOUR = 3_600_000;

const plan = planner();

/** 10 kWh, 10 kW each way, empty, nine tenths kept on each way, worth nothing at the end. */
function battery(over: Partial<StationaryBattery> = {}): StationaryBattery {
  return {
    circuit: 0,
    capacityWh: 10_000,
    storedWh: 0,
    minStoredWh: 0,
    maxChargePowerW: 10_000,
    maxDischargePowerW: 10_000,
    efficiency: 0.9,
    endValuePerKwh: 0,
    ...over,
  };
}

interface Setting {
  prices: number[];
  baseW: number[];
  pvW?: number[];
  paid?: number[];
  maxPowerW?: number;
  cell?: Partial<StationaryBattery>;
  sessions?: Partial<Session>[];
}

/** A site in hourly slots from 08:00. */
function site({ prices, baseW, pvW, paid, maxPowerW = 60_000, cell, sessions = [] }: Setting): Problem {
  return problem({
    site: {
      siteId: "site",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: pvW && series(START_MS, HOUR, pvW),
      battery: battery(cell),
      circuits: [circuit({ maxPowerW, baseLoadW: series(START_MS, HOUR, baseW) })],
      evses: sessions.map((_, n) => evse({ stationId: `CS${n}` })),
      tariff: tariff({ prices, exportPricePerKwh: paid && series(START_MS, HOUR, paid) }),
    },
    sessions: sessions.map((one, n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + prices.length * HOUR, ...one }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + prices.length * HOUR, HOUR),
    preference: "LOWEST_COST",
  });
}

const batteryOf = (one: Problem) => Array.from(plan(one).batteryPowerW ?? []);

describe("the site's battery", () => {
  it("buys cheap and saves dear, less what it loses on both ways", () => {
    // Up to the 9 kW of the second hour, 7 kW fit in the first: 6.3 kWh stored are 5.67 kWh out.
    const one = site({ prices: [0.1, 0.4], baseW: [2000, 9000] });
    expect(batteryOf(one)).toEqual([7000, -5670]);
    expect(Array.from(plan(one).importPowerW)).toEqual([9000, 3330]);
    // 7 kWh at 0.35 cost 2.45, the 5.67 kWh at 0.40 save 2.268: it stays idle.
    expect(batteryOf(site({ prices: [0.35, 0.4], baseW: [2000, 9000] }))).toEqual([0, 0]);
  });

  it("never makes a new peak", () => {
    expect(batteryOf(site({ prices: [0.1, 0.4], baseW: [9000, 9000] }))).toEqual([0, 0]);
  });

  it("stores the surplus of the sun for the evening", () => {
    // 4 kW in the second hour take 4.444 kWh stored and 4.938 kWh charged, of 5 kWh of surplus.
    const one = site({ prices: [0.3, 0.3], baseW: [0, 4000], pvW: [5000, 0], paid: [0.05] });
    const [into, out] = batteryOf(one);
    expect(into).toBeGreaterThanOrEqual(4937);
    expect(into).toBeLessThanOrEqual(4939);
    expect(out).toBeCloseTo(-4000, -1);
  });

  it("keeps its bounds, its minimum and its value at the end", () => {
    // Full at 5 kWh, 2 kWh of them kept: 3 kWh stored are 2.7 kWh out.
    const full = { capacityWh: 5000, storedWh: 5000, minStoredWh: 2000 };
    expect(batteryOf(site({ prices: [0.2, 0.4], baseW: [4000, 4000], cell: full }))).toEqual([0, -2700]);
    // A kWh stored is worth 0.40 at the end; out it saves 0.9 x 0.40.
    const kept = { ...full, endValuePerKwh: 0.4 };
    expect(batteryOf(site({ prices: [0.2, 0.4], baseW: [4000, 4000], cell: kept }))).toEqual([0, 0]);
    // Below its minimum it is only charged.
    const low = { storedWh: 1000, minStoredWh: 2000 };
    const [first, second] = batteryOf(site({ prices: [0.1, 0.4], baseW: [0, 9000], cell: low }));
    expect(first).toBeGreaterThanOrEqual(0);
    expect(second).toBeGreaterThanOrEqual(0);
  });

  it("charges within the limits above it, beside the vehicles, and makes no room by discharging", () => {
    const shared = {
      prices: [0.1, 0.4],
      baseW: [2000, 9000],
      maxPowerW: 11_000,
      sessions: [{ energyWh: 4140, departureMs: START_MS + HOUR }],
    };
    const { sessionPlans, batteryPowerW } = plan(site(shared));
    expect(Math.round(sessionPlans[0].powerW[0])).toBe(4140);
    // 9 kW of peak less 2 kW of base load and 4.14 kW of the vehicle.
    expect(batteryPowerW?.[0]).toBeCloseTo(2860, 0);
    // A need of 3 kW more than the limit leaves: the full battery does not help.
    const tight = site({
      prices: [0.4],
      baseW: [0],
      maxPowerW: 7000,
      cell: { storedWh: 10_000 },
      sessions: [{ energyWh: 10_000, departureMs: START_MS + HOUR }],
    });
    expect(plan(tight).sessionPlans[0].shortfallWh).toBeGreaterThan(2999);
  });

  it("does nothing in the safe plan", () => {
    const one = site({ prices: [0.1, 0.4], baseW: [2000, 9000] });
    expect(Array.from(planSafely(one).plan.batteryPowerW ?? [])).toEqual([0, 0]);
  });
});

describe("random sites with a battery and the sun", () => {
  it("balance in every slot, keep the battery's bounds, and have no new peak from it", () => {
    let moved = 0;
    for (let seed = 0; seed < 60; seed++) {
      const plain = hardProblem(seed, { vehicles: [1, 10], hours: 10 });
      const random = randomOf(seed ^ 0x85ebca6b);
      const values = (from: number, to: number) => Array.from({ length: 12 }, () => random.real(from, to));
      const startMs = plain.slotStartsMs[0] - 600_000;
      const capacityWh = random.real(2000, 60_000);
      const cell = battery({
        circuit: random.int(0, plain.site.circuits.length - 1),
        capacityWh,
        storedWh: random.real(0, 1) * capacityWh,
        minStoredWh: random.real(0, 0.3) * capacityWh,
        maxChargePowerW: random.real(1000, 20_000),
        maxDischargePowerW: random.real(1000, 20_000),
        efficiency: random.real(0.85, 1),
        endValuePerKwh: random.chance(0.5) ? undefined : random.real(0, 0.3),
      });
      const paid = series(startMs, HOUR, values(-0.1, 0.3));
      const one: Problem = {
        ...plain,
        site: {
          ...plain.site,
          battery: cell,
          pvPowerW: random.chance(0.7)
            ? series(startMs, HOUR, values(0, 5000 * plain.sessions.length))
            : undefined,
          tariff: plain.site.tariff && { ...plain.site.tariff, exportPricePerKwh: paid },
        },
      };
      const withIt = plan(one);
      const idle = { ...one, site: { ...one.site, battery: undefined } };
      const baseW = plan({ ...idle, sessions: [], site: { ...idle.site, pvPowerW: undefined } }).importPowerW;
      const powerW = withIt.batteryPowerW ?? new Float64Array(0);
      let storedWh = cell.storedWh;
      const peakW = Math.max(...plan(idle).importPowerW, one.site.tariff?.demandPeakSoFarW ?? 0);
      powerW.forEach((w, k) => {
        const hours = (one.slotStartsMs[k + 1] - one.slotStartsMs[k]) / HOUR;
        storedWh += hours * (w > 0 ? w * cell.efficiency : w / cell.efficiency);
        expect(storedWh).toBeLessThanOrEqual(capacityWh + 1e-6);
        if (w < 0) expect(storedWh).toBeGreaterThanOrEqual(cell.minStoredWh - 1e-6);
        const netW = withIt.chargingPowerW[k] + baseW[k] + w - withIt.pvPowerW[k];
        expect(withIt.importPowerW[k] - withIt.exportPowerW[k]).toBeCloseTo(netW, 5);
        expect(withIt.importPowerW[k] * withIt.exportPowerW[k]).toBe(0);
        // The plan without it is rounded to whole steps on its own: a step of a charger's may lie between.
        if (w > 0) expect(withIt.importPowerW[k]).toBeLessThan(1.02 * peakW + 700);
        moved += Math.abs(w);
      });
      // Of a flat load with a battery no bound is proved.
      if (one.preference !== "FLATTEST") expect(withIt.solve.gap).toBeGreaterThanOrEqual(0);
    }
    expect(moved).toBeGreaterThan(100_000);
  });
});

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import { greedy } from "../../src/domain/greedy.ts";
import { baseLoadOf, slotBaseLoad } from "../../src/domain/load.ts";
import { forPresence, measure } from "../../src/domain/measure.ts";
import type { PowerPlan } from "../../src/domain/plan.ts";
import type { Problem, Site } from "../../src/domain/problem.ts";
import type { Series } from "../../src/domain/series.ts";
import { slotCarbon, slotPrices } from "../../src/domain/tariff.ts";
import { acnSessions, hasAcnData } from "../support/acn.ts";
import {
  circuit,
  evse,
  hardProblem,
  problem,
  START_MS,
  series,
  session,
  tariff,
} from "../support/problems.ts";

// Hundreds of sites: room for a machine under load.
const LONG = { timeout: 60_000 };

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const SCE = resolve("../shared/data/tariffs/sce_tou_ev_4_march_2019.json");

function siteOf(over: Partial<Site>): Site {
  return {
    siteId: "site",
    timeZone: "UTC",
    nominalVoltageV: 230,
    pvPowerW: undefined,
    battery: undefined,
    circuits: [circuit()],
    evses: [evse(), evse({ stationId: "CS2" })],
    tariff: undefined,
    ...over,
  };
}

function measuresOf(p: Problem, ...powerW: number[][]) {
  return measure(
    p,
    chargingOf(p),
    powerW.map((values) => Float64Array.from(values)),
  );
}

const at = (minute: number) => START_MS + minute * MINUTE_MS;
const every = (minutes: number, ...values: number[]) => series(START_MS, minutes * MINUTE_MS, values);

describe("energy, money and carbon", () => {
  // Slots of an hour from 8; a is there from 8:30 to 10:15, b from 8 to 11.
  const sessions = [
    session({ arrivalMs: at(30), departureMs: at(135), energyWh: 20_000 }),
    session({ sessionId: "b", evse: 1, departureMs: at(180), energyWh: 20_000 }),
  ];
  const p = problem({
    site: siteOf({
      tariff: tariff({ price: every(60, 0.2, 0.4, -0.1), carbonGPerKwh: every(30, 100, 300, 50) }),
    }),
    sessions,
    slotMs: HOUR_MS,
  });
  const measures = measuresOf(p, [10_000, 6000, 4000], [0, 4140, 8000]);

  test("count the part of a slot that a vehicle is there", () => {
    // a: 10 kW for half an hour, 6 kW for one, 4 kW for a quarter.
    expect(Array.from(measures.allowedWh)).toEqual([12_000, 12_140]);
    expect(Array.from(measures.chargingPowerW)).toEqual([10_000, 10_140, 12_000]);
    expect(Array.from(measures.importPowerW)).toEqual([10_000, 10_140, 12_000]);
    expect(measures.peakImportW).toBe(12_000);
  });

  test("each kWh costs its slot's mean price, negative ones too", () => {
    expect(measures.energyCosts[0]).toBeCloseTo(5 * 0.2 + 6 * 0.4 - 1 * 0.1, 12);
    expect(measures.energyCosts[1]).toBeCloseTo(4.14 * 0.4 - 8 * 0.1, 12);
  });

  test("energy above the need is not drawn and costs nothing", () => {
    const needs = sessions.map((one, i) => ({ ...one, energyWh: [8000, 4140][i] }));
    const { allowedWh, energyCosts, carbonKg } = measuresOf(
      { ...p, sessions: needs },
      [10_000, 6000, 4000],
      [0, 4140, 8000],
    );
    expect(Array.from(allowedWh)).toEqual([12_000, 12_140]);
    // a has 5 kWh from the first hour and draws 3 of the 6 kWh of the second.
    expect(energyCosts[0]).toBeCloseTo(5 * 0.2 + 3 * 0.4, 12);
    expect(energyCosts[1]).toBeCloseTo(4.14 * 0.4, 12);
    expect(carbonKg).toBeCloseTo((5 * 200 + (3 + 4.14) * 50) / 1000, 12);
  });

  test("carbon likewise, in kg", () => {
    // 200 g in the first hour, 50 g afterwards.
    expect(measures.carbonKg).toBeCloseTo((5 * 200 + (6 + 4.14) * 50 + (1 + 8) * 50) / 1000, 12);
  });

  test("without a tariff everything is free and the energy the same", () => {
    const free = measuresOf(problem({ site: siteOf({}), sessions, slotMs: HOUR_MS }), [1, 2, 3], [0, 0, 0]);
    expect(Array.from(free.energyCosts)).toEqual([0, 0]);
    expect(free.carbonKg).toBe(0);
    expect(free.demandCost).toBe(0);
    expect(free.allowedWh[0]).toBeCloseTo(3.25, 12);
  });

  test("power given outside a stay is no energy", () => {
    const gone = problem({ site: siteOf({}), sessions: [session({ departureMs: at(60) })], slotMs: HOUR_MS });
    gone.slotStartsMs = [at(0), at(60), at(120)];
    expect(Array.from(measuresOf(gone, [1000, 5000]).allowedWh)).toEqual([1000]);
  });
});

describe("base load", () => {
  test("of all circuits, W before A where both are known, and chargers that can't be controlled", () => {
    const p = problem({
      site: siteOf({
        circuits: [
          circuit({ baseLoadW: every(30, 1000, 3000) }),
          circuit({ circuitId: "hall", parent: 0, baseLoadA: [every(60, 10), undefined, every(15, 2, 4)] }),
          circuit({
            circuitId: "shop",
            parent: 1,
            baseLoadW: every(60, 500),
            baseLoadA: [every(60, 99), undefined, undefined],
          }),
        ],
        evses: [evse(), evse({ stationId: "busy", uncontrolledPowerW: 700 })],
      }),
      sessions: [session({ departureMs: at(120) })],
      slotMs: HOUR_MS,
    });
    // 2000, 2300 and 2 A then three times 4 A: 3.5 A; 500; 700.
    expect(Array.from(slotBaseLoad(p))).toEqual([
      2000 + 2300 + 805 + 500 + 700,
      3000 + 2300 + 920 + 500 + 700,
    ]);
    expect(baseLoadOf(p)(at(20), at(40))).toBeCloseTo(2000 + 2300 + 920 + 500 + 700, 9);
    const { importPowerW, peakImportW, energyCosts } = measuresOf(p, [0, 4140]);
    expect(Array.from(importPowerW)).toEqual([6305, 11_560]);
    expect(peakImportW).toBe(11_560);
    expect(energyCosts[0]).toBe(0);
  });
});

describe("demand charge", () => {
  function demandCostOf(
    window: { minutes: number; soFarW?: number; slotMinutes: number; startMinute?: number },
    baseLoadW: Series | undefined,
    stays: [number, number, number[]][],
  ): number {
    const { minutes, soFarW = 0, slotMinutes, startMinute = 0 } = window;
    const p = problem({
      site: siteOf({
        circuits: [circuit({ baseLoadW })],
        tariff: tariff({
          demandPricePerKw: 10,
          demandWindowMs: minutes * MINUTE_MS,
          demandPeakSoFarW: soFarW,
        }),
      }),
      sessions: stays.map(([from, to], n) =>
        session({ sessionId: `s${n}`, evse: n, arrivalMs: at(from), departureMs: at(to) }),
      ),
    });
    const endMinute = Math.max(...stays.map(([, to]) => to));
    p.slotStartsMs = [at(startMinute)];
    for (
      let next = (Math.floor(startMinute / slotMinutes) + 1) * slotMinutes;
      next < endMinute;
      next += slotMinutes
    )
      p.slotStartsMs.push(at(next));
    p.slotStartsMs.push(at(endMinute));
    return measuresOf(p, ...stays.map(([, , powerW]) => powerW)).demandCost;
  }

  test("windows shorter than slots see who leaves within the slot", () => {
    // 8 kW to 8:20: the second quarter holds 5 minutes of it and 9 kW of base load.
    const base = every(15, 1000, 9000, 1000);
    const p = (soFarW?: number) =>
      demandCostOf({ minutes: 15, slotMinutes: 60, ...(soFarW === undefined ? {} : { soFarW }) }, base, [
        [0, 20, [8000, 0]],
        [0, 60, [0]],
      ]);
    expect(p()).toBeCloseTo(10 * (9 + 8 / 3), 9);
    expect(p(10_000)).toBeCloseTo(10 * (9 + 8 / 3 - 10), 9);
    expect(p(12_000)).toBe(0);
  });

  test("windows longer than slots take the mean over them", () => {
    // Of 8 to 9: 4 + 12 + 8 + 0 kW by quarters, 6 kW; of 9 to 10: 8 kW in the first quarter, 2 kW.
    const stay: [number, number, number[]] = [0, 120, [4000, 12_000, 8000, 0, 8000, 0, 0, 0]];
    expect(demandCostOf({ minutes: 60, slotMinutes: 15 }, undefined, [stay])).toBeCloseTo(60, 9);
    expect(demandCostOf({ minutes: 15, slotMinutes: 15 }, undefined, [stay])).toBeCloseTo(120, 9);
  });

  test("windows that slots do not fit into", () => {
    // Windows of 15 minutes over slots of 20: 6 kW to 8:20, 12 kW to 8:40, 0 to 9:00.
    // 8:15 to 8:30 holds 5 minutes of 6 kW and 10 of 12 kW, 8:30 to 8:45 10 minutes of 12 kW.
    const stay: [number, number, number[]] = [0, 60, [6000, 12_000, 0]];
    expect(demandCostOf({ minutes: 15, slotMinutes: 20 }, undefined, [stay])).toBeCloseTo(100, 9);
  });

  test("a window that the plan's start cuts is what is left of it", () => {
    // From 8:20 on: 6 kW for 10 minutes, 3 kW for 30.
    const stay: [number, number, number[]] = [20, 60, [6000, 3000]];
    expect(demandCostOf({ minutes: 60, slotMinutes: 30, startMinute: 20 }, undefined, [stay])).toBeCloseTo(
      10 * ((6 * 10 + 3 * 30) / 40),
      9,
    );
  });

  test("a rest of a few seconds is no peak of its own for the vehicles, base load counts in full", () => {
    // 8:14:30 to 8:15: 30 seconds of 8 kW over a minute are 4 kW, beside 1 kW; then 2 kW.
    const base = every(60, 1000);
    const stay: [number, number, number[]] = [14.5, 30, [8000, 2000]];
    expect(demandCostOf({ minutes: 15, slotMinutes: 15, startMinute: 14.5 }, base, [stay])).toBeCloseTo(
      10 * 5,
      9,
    );
  });
});

test("presence in part of a stretch of time", () => {
  const p = problem({
    site: siteOf({}),
    sessions: [
      session({ arrivalMs: at(10), departureMs: at(70) }),
      session({ sessionId: "b", evse: 1, arrivalMs: at(40), departureMs: at(60) }),
    ],
    slotMs: 30 * MINUTE_MS,
  });
  const seen: [number, number, number][] = [];
  forPresence(p, chargingOf(p), { startMs: at(20), endMs: at(50) }, (i, k, hours) => {
    seen.push([i, k, hours * 60]);
  });
  expect(seen).toEqual([
    [0, 0, 10],
    [0, 1, 20],
    [1, 1, 10],
  ]);
});

describe("against sums over every second", () => {
  test("random plans of random sites", LONG, () => {
    for (let seed = 1; seed <= 100; seed++) {
      const p = hardProblem(seed, { vehicles: [1, 6], hours: 6 });
      const charging = chargingOf(p);
      const random = randomOf(seed);
      const plan = charging.stays.map(({ first, end }) => {
        const powerW = new Float64Array(p.slotStartsMs.length - 1);
        for (let k = first; k < end; k++) powerW[k] = random.chance(0.7) ? random.real(0, 20_000) : 0;
        return powerW;
      });
      // Needs that no plan reaches: what is allowed is drawn.
      for (const one of p.sessions) one.energyWh = 1e9;
      const fast = measure(p, charging, plan);
      const slow = integrate(p, plan);
      const close = (a: number, b: number, what: string) => {
        expect(Math.abs(a - b), `seed ${seed}, ${what}: ${a}, ${b}`).toBeLessThan(1e-6 + 1e-9 * Math.abs(b));
      };
      plan.forEach((_, i) => {
        close(fast.allowedWh[i], slow.energyWh[i], "energy");
        close(fast.energyCosts[i], slow.costs[i], "cost");
      });
      slow.importPowerW.forEach((powerW, k) => {
        close(fast.importPowerW[k], powerW, "import");
      });
      close(fast.carbonKg, slow.carbonKg, "carbon");
      close(fast.demandCost, slow.demandCost, "demand");
      close(fast.peakImportW, Math.max(...slow.importPowerW), "peak");
    }
  });
});

/** Everything that `measure` tells, second by second. */
function integrate(p: Problem, plan: PowerPlan) {
  const starts = p.slotStartsMs;
  const { tariff: charge, circuits, evses, nominalVoltageV } = p.site;
  const value = (one: Series, ms: number) => {
    let n = 0;
    while (n + 1 < one.values.length && one.startMs + (n + 1) * one.stepMs <= ms) n++;
    return one.values[n];
  };
  const baseAt = (ms: number) => {
    let sumW = 0;
    for (const { baseLoadW, baseLoadA } of circuits) {
      if (baseLoadW !== undefined) sumW += value(baseLoadW, ms);
      else for (const one of baseLoadA) if (one !== undefined) sumW += value(one, ms) * nominalVoltageV;
    }
    for (const one of evses) sumW += one.uncontrolledPowerW ?? 0;
    return sumW;
  };
  const energyWh = plan.map(() => 0);
  const costs = plan.map(() => 0);
  const importPowerW: number[] = [];
  const windows = new Map<number, { baseW: number; vehiclesW: number; seconds: number }>();
  let carbonKg = 0;
  for (let k = 0; k + 1 < starts.length; k++) {
    let price = 0;
    let gPerKwh = 0;
    let baseW = 0;
    const slotWh = plan.map(() => 0);
    const present = new Set<number>();
    const seconds = (starts[k + 1] - starts[k]) / 1000;
    for (let ms = starts[k]; ms < starts[k + 1]; ms += 1000) {
      if (charge !== undefined && !("rules" in charge.price)) price += value(charge.price, ms) / seconds;
      if (charge?.carbonGPerKwh !== undefined) gPerKwh += value(charge.carbonGPerKwh, ms) / seconds;
      const nowW = baseAt(ms);
      baseW += nowW / seconds;
      let vehiclesW = 0;
      p.sessions.forEach(({ arrivalMs, departureMs }, i) => {
        if (ms < arrivalMs || ms >= departureMs) return;
        present.add(i);
        slotWh[i] += plan[i][k] / 3600;
        vehiclesW += plan[i][k];
      });
      if (charge === undefined) continue;
      const index = Math.floor(ms / charge.demandWindowMs);
      const window = windows.get(index) ?? { baseW: 0, vehiclesW: 0, seconds: 0 };
      window.baseW += nowW;
      window.vehiclesW += vehiclesW;
      window.seconds++;
      windows.set(index, window);
    }
    slotWh.forEach((wh, i) => {
      energyWh[i] += wh;
      costs[i] += (wh / 1000) * price;
      carbonKg += ((wh / 1000) * gPerKwh) / 1000;
    });
    importPowerW.push([...present].reduce((sum, i) => sum + plan[i][k], baseW));
  }
  let peakW = 0;
  for (const { baseW, vehiclesW, seconds } of windows.values())
    peakW = Math.max(peakW, baseW / seconds + vehiclesW / Math.max(seconds, 60));
  const demandCost =
    charge === undefined
      ? 0
      : (charge.demandPricePerKw * Math.max(0, peakW - charge.demandPeakSoFarW)) / 1000;
  return { energyWh, costs, importPowerW, carbonKg, demandCost };
}

test.skipIf(!hasAcnData || !existsSync(SCE))(
  "a real month's uncontrolled charging costs what is published (skipped without the data)",
  () => {
    // 954 sessions at 6.6 kW in 5-minute slots, by wall clock without daylight saving, at the
    // energy that each can get in its stay: 8890.169 kWh, 651.560824 $, a peak of 99 kW at 15.51 $/kW.
    const { schedule } = JSON.parse(readFileSync(SCE, "utf8"));
    const weekday = schedule.find(({ id }: { id: string }) => id === "Winter-Weekday");
    const weekend = schedule.find(({ id }: { id: string }) => id === "Winter-Weekend");
    const rules = [
      { days: [1, 2, 3, 4, 5], ...weekday },
      { days: [6, 7], ...weekend },
    ].flatMap(({ days, times, tariffs }) =>
      times.map((hour: number, n: number) => ({
        weekdays: days,
        fromMinute: hour * 60,
        toMinute: (times[n + 1] ?? 24) * 60,
        fromDay: 1001,
        toDay: 531,
        pricePerKwh: tariffs[n],
      })),
    );
    const startMs = Date.UTC(2019, 2, 1);
    const real = acnSessions();
    const evses = real.map(({ stationId }) =>
      evse(
        { stationId, supply: "DC", maxPowerW: 6600 },
        // Steps of a milliwatt, so that rounding up the last slot does not show.
        { limitStep: 0.001 },
      ),
    );
    const sessions = real.map(({ sessionId, arrival, departure, energyKwh }, n) =>
      session({
        sessionId,
        evse: n,
        arrivalMs: startMs + arrival * 5 * MINUTE_MS,
        departureMs: startMs + departure * 5 * MINUTE_MS,
        energyWh: energyKwh * 1000,
      }),
    );
    const slots = Math.max(...real.map(({ departure }) => departure));
    const p = problem({
      site: siteOf({
        evses,
        tariff: { ...tariff({ demandPricePerKw: 15.51, demandWindowMs: 5 * MINUTE_MS }), price: { rules } },
      }),
      sessions,
      slotStartsMs: Array.from({ length: slots + 1 }, (_, k) => startMs + k * 5 * MINUTE_MS),
    });
    const charging = chargingOf(p);
    const { allowedWh, energyCosts, demandCost, peakImportW } = measure(
      p,
      charging,
      greedy(p, charging, "ARRIVAL"),
    );
    const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
    expect(sum(allowedWh)).toBeCloseTo(8_890_169, -1);
    expect(sum(energyCosts)).toBeCloseTo(651.560824, 4);
    expect(peakImportW).toBeCloseTo(99_000, 6);
    expect(sum(energyCosts) + demandCost).toBeCloseTo(2187.050824, 4);
    expect(Math.min(...slotPrices(p))).toBe(0.06087);
    expect(slotCarbon(p).every((value) => value === 0)).toBe(true);
  },
);

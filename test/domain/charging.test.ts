import { describe, expect, test } from "vitest";
import { type ChargingRange, chargingOf, chargingRange, slotAt, stayOf } from "../../src/domain/charging.ts";
import type { Evse, OcppCapabilities, Session } from "../../src/domain/problem.ts";
import { circuit, evse, problem, START_MS, session } from "../support/problems.ts";

// Hundreds of sites: room for a machine under load.
const LONG = { timeout: 60_000 };

const MINUTE_MS = 60_000;

function rangeOf(
  over: Partial<Evse>,
  ocpp: Partial<OcppCapabilities> = {},
  vehicle: Partial<Session> = {},
  nominalVoltageV = 230,
): ChargingRange {
  const site = {
    siteId: "site",
    timeZone: "UTC",
    nominalVoltageV,
    circuits: [circuit()],
    evses: [evse(over, ocpp)],
    tariff: undefined,
  };
  return chargingRange(site, session(vehicle));
}

describe("ranges", () => {
  test.each<[string, Partial<Evse>, Partial<OcppCapabilities>, Partial<Session>, Partial<ChargingRange>]>([
    [
      "three phases, A",
      { maxCurrentA: 32 },
      {},
      {},
      { phases: [1, 2, 3], minPowerW: 4140, maxPowerW: 22_080, stepPowerW: 69, floorPowerW: 0 },
    ],
    [
      "two phases of an EVSE wired L2, L3, L1",
      { phases: [2, 3, 1] },
      {},
      { phaseCount: 2 },
      { phases: [2, 3], minPowerW: 2760, maxPowerW: 14_720, stepPowerW: 46 },
    ],
    [
      "one phase",
      { phases: [3], maxCurrentA: 16 },
      {},
      { phaseCount: 1 },
      { phases: [3], minPowerW: 1380, maxPowerW: 3680, stepPowerW: 23 },
    ],
    [
      "a vehicle that could draw from more phases than there are",
      { phases: [2] },
      {},
      { phaseCount: 3 },
      { phases: [2], minPowerW: 1380, maxPowerW: 7360 },
    ],
    [
      "three phases, W in steps of 100 round the minimum up and the maximum down",
      { maxCurrentA: 16.5 },
      { rateUnit: "W", limitStep: 100 },
      {},
      { minPowerW: 4200, maxPowerW: 11_300, stepPowerW: 100 },
    ],
    [
      "whole amperes",
      { maxCurrentA: 31.9, minCurrentA: 6.1 },
      { limitStep: 1 },
      { phaseCount: 1 },
      { minPowerW: 7 * 230, maxPowerW: 31 * 230, stepPowerW: 230 },
    ],
    [
      "the EVSE's power below its current",
      { maxPowerW: 11_000 },
      {},
      {},
      // 159 steps of 0.1 A: 15.9 A.
      { maxPowerW: 10_971 },
    ],
    [
      "the vehicle's minimum power above the EVSE's",
      { minPowerW: 5000 },
      {},
      { minPowerW: 6000 },
      { minPowerW: 87 * 69 },
    ],
    ["the EVSE's minimum power above its minimum current", { minPowerW: 5000 }, {}, {}, { minPowerW: 5037 }],
    [
      "the vehicle's limits",
      {},
      {},
      { maxCurrentA: 20.35, minCurrentA: 8, maxPowerW: 50_000 },
      { minPowerW: 8 * 690, maxPowerW: 203 * 69 },
    ],
    [
      "the vehicle's power",
      {},
      {},
      { maxPowerW: 7400 },
      // 107 steps of 0.1 A: 10.7 A.
      { maxPowerW: 7383 },
    ],
    [
      "the EVSE's minimum where the vehicle's is lower",
      {},
      {},
      { minCurrentA: 5 },
      { minPowerW: 4140, maxPowerW: 22_080 },
    ],
    [
      "DC: power only, all three phases",
      { supply: "DC", maxPowerW: 50_000, minPowerW: 1500, maxCurrentA: 0, minCurrentA: 99 },
      {},
      { phaseCount: 1, maxCurrentA: 10, minCurrentA: 99, maxPowerW: 40_000.05 },
      { phases: [1, 2, 3], minPowerW: 1500, maxPowerW: 40_000, stepPowerW: 0.1 },
    ],
    [
      "DC in A counts three phases at nominal voltage",
      { supply: "DC", maxPowerW: 50_000, minPowerW: 0 },
      { rateUnit: "A", limitStep: 1 },
      {},
      { minPowerW: 0, maxPowerW: 72 * 690, stepPowerW: 690 },
    ],
    [
      "a charger that rejects 0",
      {},
      { rejectsZeroLimit: true },
      {},
      { minPowerW: 4140, maxPowerW: 22_080, floorPowerW: 4140 },
    ],
    [
      "a charger that rejects 0 and has no minimum is told one step",
      { supply: "DC", maxPowerW: 50_000, minPowerW: 0 },
      { rejectsZeroLimit: true },
      {},
      { minPowerW: 0.1, maxPowerW: 50_000, floorPowerW: 0.1 },
    ],
    [
      "a minimum that is the maximum",
      { maxCurrentA: 6 },
      {},
      {},
      { minPowerW: 4140, maxPowerW: 4140, floorPowerW: 0 },
    ],
  ])("%s", (_, over, ocpp, vehicle, expected) => {
    const { phases, ...powers } = expected;
    const range = rangeOf(over, ocpp, vehicle);
    if (phases !== undefined) expect(range.phases).toEqual(phases);
    for (const [name, value] of Object.entries(powers))
      expect(range[name as keyof ChargingRange], name).toBeCloseTo(value, 6);
  });

  test.each<[string, Partial<Evse>, Partial<OcppCapabilities>, Partial<Session>]>([
    ["the vehicle's maximum is under the EVSE's minimum", {}, {}, { maxCurrentA: 5 }],
    ["the vehicle's minimum is over the EVSE's maximum", { maxCurrentA: 16 }, {}, { minCurrentA: 20 }],
    ["the vehicle's power is under the minimum current", {}, {}, { maxPowerW: 4100 }],
    // 6.05 A to 6.45 A in steps of half an ampere: 6.5 is too much and 6 too little.
    ["no step lies between", { minCurrentA: 6.05, maxCurrentA: 6.45 }, { limitStep: 0.5 }, {}],
    ["the maximum is less than a step", { supply: "DC", maxPowerW: 50 }, { limitStep: 100 }, {}],
    ["the charger rejects 0 besides", {}, { rejectsZeroLimit: true }, { maxCurrentA: 5 }],
  ])("a vehicle can't charge where %s", (_, over, ocpp, vehicle) => {
    expect(rangeOf(over, ocpp, vehicle)).toMatchObject({ minPowerW: 0, maxPowerW: 0, floorPowerW: 0 });
  });

  test("bounds that are whole steps stay so, whatever the product's last bit", LONG, () => {
    for (const volts of [100, 110, 115, 120, 127, 208, 220, 227.3, 230, 231, 240, 277, 347, 400]) {
      for (const phaseCount of [1, 2, 3]) {
        for (let tenths = 60; tenths <= 800; tenths++) {
          const amperes = tenths / 10;
          const { minPowerW, maxPowerW, stepPowerW } = rangeOf(
            { maxCurrentA: amperes, minCurrentA: amperes, maxPowerW: Number.POSITIVE_INFINITY },
            {},
            { phaseCount },
            volts,
          );
          expect(Math.round(maxPowerW / stepPowerW), `${amperes} A, ${volts} V`).toBe(tenths);
          expect(minPowerW).toBe(maxPowerW);
        }
      }
    }
  });

  test("rounding never passes a limit by more than its last bits", () => {
    for (let milli = 6000; milli <= 32_000; milli += 7) {
      const { minPowerW, maxPowerW } = rangeOf({ maxCurrentA: milli / 1000, minCurrentA: 6 });
      expect(maxPowerW).toBeLessThanOrEqual((milli / 1000) * 690 + 1e-6);
      expect(maxPowerW).toBeGreaterThan((milli / 1000) * 690 - 69.000001);
      expect(minPowerW).toBeCloseTo(4140, 9);
    }
  });
});

describe("stays", () => {
  // Slots 08:00 to 08:15, .., 08:45 to 09:00.
  const starts = [0, 15, 30, 45, 60].map((minute) => START_MS + minute * MINUTE_MS);
  const stay = (from: number, to: number) => {
    const one = session({ arrivalMs: START_MS + from * MINUTE_MS, departureMs: START_MS + to * MINUTE_MS });
    const { first, end, hours } = stayOf(one, starts);
    return { first, end, minutes: Array.from(hours, (h) => Math.round(h * 60 * 1e6) / 1e6) };
  };

  test("slots in part at both ends", () => {
    expect(stay(10, 50)).toEqual({ first: 0, end: 4, minutes: [5, 15, 15, 5] });
    expect(stay(17, 19)).toEqual({ first: 1, end: 2, minutes: [2] });
    expect(stay(29.75, 30.25)).toEqual({ first: 1, end: 3, minutes: [0.25, 0.25] });
  });

  test("whole slots", () => {
    expect(stay(15, 45)).toEqual({ first: 1, end: 3, minutes: [15, 15] });
    expect(stay(0, 60)).toEqual({ first: 0, end: 4, minutes: [15, 15, 15, 15] });
  });

  test("what lies before the plan or after it", () => {
    expect(stay(-600, 10)).toEqual({ first: 0, end: 1, minutes: [10] });
    expect(stay(50, 999)).toEqual({ first: 3, end: 4, minutes: [10] });
    expect(stay(-600, 0).minutes).toEqual([]);
    expect(stay(-600, -10).minutes).toEqual([]);
    expect(stay(60, 90).minutes).toEqual([]);
  });

  test("a stay without length covers no slot", () => {
    expect(stay(20, 20).minutes).toEqual([]);
    expect(stay(30, 30).minutes).toEqual([]);
    expect(stay(20, 10).minutes).toEqual([]);
  });

  test("the slot at an instant", () => {
    expect(slotAt(starts, START_MS - 1)).toBe(0);
    expect(slotAt(starts, START_MS)).toBe(0);
    expect(slotAt(starts, START_MS + 15 * MINUTE_MS - 1)).toBe(0);
    expect(slotAt(starts, START_MS + 15 * MINUTE_MS)).toBe(1);
    expect(slotAt(starts, START_MS + 59 * MINUTE_MS)).toBe(3);
    expect(slotAt(starts, START_MS + 60 * MINUTE_MS)).toBe(4);
    expect(slotAt([START_MS, START_MS + 1], START_MS + 5)).toBe(1);
  });

  test("who is present in each slot, in the request's order", () => {
    const p = problem({
      slotStartsMs: starts,
      sessions: [
        session({ arrivalMs: START_MS + 20 * MINUTE_MS, departureMs: START_MS + 40 * MINUTE_MS }),
        session({ sessionId: "b", arrivalMs: START_MS, departureMs: START_MS + 30 * MINUTE_MS }),
        session({ sessionId: "c", arrivalMs: START_MS, departureMs: START_MS }),
      ],
    });
    expect(chargingOf(p).present).toEqual([[1], [0, 1], [0], []]);
  });
});

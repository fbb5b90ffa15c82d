import { describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import type { VehicleBattery } from "../../src/domain/problem.ts";
import { acceptedW, storedAfter } from "../../src/domain/taper.ts";

function battery(points: [storedWh: number, maxPowerW: number][], over: Partial<VehicleBattery> = {}) {
  const chargeCurve = points.map(([storedWh, maxPowerW]) => ({ storedWh, maxPowerW }));
  return { capacityWh: 10_000, storedWh: 5000, efficiency: 1, chargeCurve, ...over };
}

/** 10 kW up to 5 kWh, then a kW less for each kWh: 5 kW when full. */
const FALLING = battery([
  [5000, 10_000],
  [10_000, 5000],
]);

describe("the power that a battery takes", () => {
  it("is level outside of the points, straight between them, and nothing when full", () => {
    expect(acceptedW(FALLING, 0)).toBe(10_000);
    expect(acceptedW(FALLING, 7500)).toBe(7500);
    expect(acceptedW(FALLING, 9999.999)).toBeCloseTo(5000, 2);
    expect(acceptedW(FALLING, 10_000)).toBe(0);
    expect(acceptedW(battery([[8000, 3000]]), 9000)).toBe(3000);
  });
});

describe("the energy stored under a limit", () => {
  it("is limit times time where the curve is above", () => {
    expect(storedAfter(FALLING, 2000, 4000, 0.5)).toBeCloseTo(4000, 9);
    expect(storedAfter({ ...FALLING, efficiency: 0.9 }, 2000, 4000, 0.5)).toBeCloseTo(3800, 9);
  });

  it("follows the curve where that is below", () => {
    // ds/dt = 10 - (s - 5) from s = 5: s = 5 + 10 (1 - e^-t).
    expect(storedAfter(FALLING, 5000, 50_000, 0.5)).toBeCloseTo(5000 + 10_000 * (1 - Math.exp(-0.5)), 6);
    // Full after ln 2 hours, and no more then.
    expect(storedAfter(FALLING, 5000, 50_000, Math.LN2)).toBeCloseTo(10_000, 6);
    expect(storedAfter(FALLING, 5000, 50_000, 5)).toBe(10_000);
  });

  it("changes from the limit to the curve where they meet", () => {
    // 7.5 kW until 7.5 kWh, which takes a third of an hour, then 7.5 e^-t.
    const hours = 1 / 3 + 0.2;
    expect(storedAfter(FALLING, 5000, 7500, hours)).toBeCloseTo(7500 + 7500 * (1 - Math.exp(-0.2)), 6);
  });

  it("comes near a point of no power and never past it", () => {
    const stops = battery([
      [5000, 5000],
      [8000, 0],
    ]);
    const after = storedAfter(stops, 5000, 50_000, 3);
    expect(after).toBeCloseTo(8000 - 3000 * Math.exp(-5), 6);
    expect(storedAfter(stops, 8000, 50_000, 3)).toBe(8000);
  });

  it("is what small steps add up to, on any curve", () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = randomOf(seed);
      const stored = Array.from({ length: random.int(1, 6) }, () => random.real(0, 10_000)).sort(
        (a, b) => a - b,
      );
      const one = battery(
        stored.map((storedWh) => [storedWh, random.real(0, 12_000)]),
        { efficiency: random.real(0.8, 1) },
      );
      const [fromWh, limitW, hours] = [random.real(0, 9000), random.real(500, 15_000), random.real(0.1, 2)];
      let steppedWh = fromWh;
      const steps = 20_000;
      for (let n = 0; n < steps && steppedWh < one.capacityWh; n++) {
        const powerW = Math.min(limitW, acceptedW(one, steppedWh));
        steppedWh = Math.min(one.capacityWh, steppedWh + (one.efficiency * powerW * hours) / steps);
      }
      expect(Math.abs(storedAfter(one, fromWh, limitW, hours) - steppedWh), `seed ${seed}`).toBeLessThan(3);
    }
  });

  it("does not depend on how the time is cut", () => {
    const half = storedAfter(FALLING, 4000, 8000, 0.3);
    expect(storedAfter(FALLING, half, 8000, 0.5)).toBeCloseTo(storedAfter(FALLING, 4000, 8000, 0.8), 6);
  });
});

import { describe, expect, it } from "vitest";
import { chargingOf } from "../../src/domain/charging.ts";
import { greedy } from "../../src/domain/greedy.ts";
import type { PowerPlan } from "../../src/domain/plan.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { Room } from "../../src/domain/room.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import { TIE_BREAKS } from "../../src/model/pricing.ts";
import { Standing } from "../../src/model/standing.ts";
import { steady } from "../../src/model/steady.ts";
import { circuit, evse, hardProblem, problem, START_MS, session, slotsOf } from "../support/problems.ts";

const HOUR = 3_600_000;

function startsOf(plan: PowerPlan): number {
  let starts = 0;
  for (const powerW of plan) {
    powerW.forEach((w, k) => {
      if (w > 0 && !(powerW[k - 1] > 0)) starts++;
    });
  }
  return starts;
}

function energies(one: Problem, plan: PowerPlan): number[] {
  return chargingOf(one).stays.map(({ first, hours }, i) =>
    hours.reduce((wh, h, n) => wh + h * plan[i][first + n], 0),
  );
}

function roomOf(one: Problem, plan: PowerPlan): Room {
  const charging = chargingOf(one);
  const room = new Room(one, charging);
  charging.stays.forEach(({ first, end }, i) => {
    for (let k = first; k < end; k++) room.take(i, k, plan[i][k]);
  });
  return room;
}

/** Two vehicles at a feeder that carries one of them. */
function feeder(over: Partial<Parameters<typeof session>[0]> = {}): Problem {
  return problem({
    site: {
      siteId: "feeder",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit({ maxCurrentA: 16 })],
      evses: [evse({ stationId: "CS0" }), evse({ stationId: "CS1" })],
      tariff: undefined,
    },
    sessions: [0, 1].map((n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + 4 * HOUR, energyWh: 22_080, ...over }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + 4 * HOUR, HOUR),
  });
}

describe("a plan with fewer starts", () => {
  it("lets vehicles that took turns go one after the other", () => {
    const one = feeder();
    const turns = [Float64Array.of(11_040, 0, 11_040, 0), Float64Array.of(0, 11_040, 0, 11_040)];
    const plan = steady(new Standing(formulate(one, chargingOf(one), false), turns)).plan;
    expect(startsOf(plan)).toBe(2);
    for (let k = 0; k < 4; k++) expect(plan[0][k] + plan[1][k]).toBe(11_040);
    expect(energies(one, plan)).toEqual([22_080, 22_080]);
  });

  it("leaves a power where it is that a partner could not use in exchange", () => {
    const one = feeder();
    // 2 A that the second vehicle would have to take or give are under its minimum of 6 A.
    const turns = [Float64Array.of(8280, 0, 8280, 0), Float64Array.of(0, 9660, 0, 9660)];
    const plan = steady(new Standing(formulate(one, chargingOf(one), false), turns)).plan;
    expect(plan.map((powerW) => [...powerW])).toEqual(turns.map((powerW) => [...powerW]));
  });

  it("halves the starts of nine vehicles that a feeder carries five of", () => {
    const nine = Array.from({ length: 9 }, (_, n) => n);
    const one = problem({
      site: {
        ...feeder().site,
        circuits: [circuit({ maxCurrentA: 32 })],
        evses: nine.map((n) => evse({ stationId: `CS${n}` })),
      },
      sessions: nine.map((n) =>
        session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + 8 * HOUR, energyWh: 8000 + 1500 * n }),
      ),
    });
    const charging = chargingOf(one);
    const rotating = greedy(one, charging, "LEAST_SLACK");
    const plan = steady(new Standing(formulate(one, charging, true), rotating)).plan;
    expect(startsOf(rotating)).toBeGreaterThan(30);
    expect(startsOf(plan)).toBeLessThan(startsOf(rotating) / 2);
  });

  it("leaves everyone's energy, every limit and the worth of the plan as they were", () => {
    for (let seed = 0; seed < 120; seed++) {
      const one = hardProblem(seed, { vehicles: [2, 14], hours: 8 });
      const charging = chargingOf(one);
      const program = formulate(one, charging, true);
      const rotating = greedy(one, charging, "LEAST_SLACK");
      const plan = steady(new Standing(program, rotating)).plan;
      const room = roomOf(one, plan);
      const roomBefore = roomOf(one, rotating);
      const had = energies(one, rotating);
      energies(one, plan).forEach((wh, i) => {
        expect(wh).toBeCloseTo(had[i], 3);
      });
      charging.stays.forEach(({ first, end }, i) => {
        const { minPowerW, maxPowerW, floorPowerW } = charging.ranges[i];
        for (let k = first; k < end; k++) {
          const isOff = plan[i][k] === floorPowerW;
          expect(isOff || (plan[i][k] > minPowerW - 1e-3 && plan[i][k] < maxPowerW + 1e-3)).toBe(true);
          expect(room.overdraft(i, k)).toBeLessThan(roomBefore.overdraft(i, k) + 1e-3);
        }
      });
      const kwh = had.reduce((sum, wh) => sum + wh / 1000, 0);
      expect(evaluate(program, plan)).toBeLessThan(evaluate(program, rotating) + TIE_BREAKS * kwh + 1e-6);
      expect(startsOf(plan)).toBeLessThanOrEqual(startsOf(rotating));
    }
  });
});

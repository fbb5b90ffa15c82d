import { beforeAll, describe, expect, it } from "vitest";
import { chargingOf } from "../../src/domain/charging.ts";
import type { Circuit, Evse, Phase, Problem } from "../../src/domain/problem.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { formulate } from "../../src/model/formulate.ts";
import { circuit, evse, problem, START_MS, session, tariff } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const HOUR_MS = 3_600_000;
const LINE_V = 120 * Math.sqrt(3);
/** Both ends of a side of the 24-sided polygon lie on the circle, its middle this much inside. */
const MIDDLE = Math.cos(Math.PI / 24);

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

function between(phases: Phase[], over: Partial<Evse> = {}): Evse {
  return evse(
    { supply: "AC_LINE_TO_LINE", phases, maxCurrentA: 200, minCurrentA: 0, ...over },
    { rateUnit: "W" },
  );
}

/** Two hours at 120 V, 0.10 and 0.30 a kWh; a vehicle at each EVSE that needs more than there is. */
function depot(circuits: Circuit[], evses: Evse[], energyWh = 100_000): Problem {
  return problem({
    site: {
      ...problem().site,
      nominalVoltageV: 120,
      circuits,
      evses: evses.map((one, n) => ({ ...one, stationId: `CS${n}`, maxPowerW: 50_000 })),
      tariff: tariff({ prices: [0.1, 0.3] }),
    },
    sessions: evses.map((one, n) =>
      session({
        sessionId: `s${n}`,
        evse: n,
        departureMs: START_MS + 2 * HOUR_MS,
        energyWh,
        phaseCount: one.supply === "AC_LINE_TO_LINE" ? 1 : one.phases.length,
      }),
    ),
    slotMs: HOUR_MS,
  });
}

function planOf(one: Problem) {
  const { plan, excesses } = planSite(one, solvers, () => 60_000);
  expect(excesses).toEqual([]);
  expect(plan.status).toBe("OPTIMAL");
  expect(plan.solve.bound).toBeLessThanOrEqual(plan.solve.objective);
  return plan;
}

describe("currents at different angles in the program", () => {
  it("two equal loads between L1 and the others take all of the line", () => {
    const [, second] = planOf(
      depot([circuit({ maxCurrentA: 40 })], [between([1, 2]), between([3, 1])]),
    ).chargingPowerW;
    // Their sum is in phase with V1, at a corner of the polygon: each 40 A / 1.73, both 9600 W.
    expect(second).toBeCloseTo((2 * 40 * LINE_V) / Math.sqrt(3), 0);
  });

  it("unequal ones lose a little of it at the most", () => {
    const pair = [between([1, 2]), phase1()];
    const { sessionPlans } = planOf(depot([circuit({ maxCurrentA: 40 })], pair));
    const [a, b] = sessionPlans.map(({ powerW }, n) => powerW[0] / (n === 0 ? LINE_V : 120));
    const current = Math.sqrt(a ** 2 + b ** 2 + a * b * Math.sqrt(3));
    expect(current).toBeLessThanOrEqual(40 + 1e-6);
    expect(current).toBeGreaterThanOrEqual(40 * MIDDLE - 1e-3);
  });

  it("no coefficient of a limit is negative, so that rounding down keeps it", () => {
    const transformer = { winding: "DELTA_WYE" as const, primaryVoltageV: 277 };
    const circuits = [circuit({ maxCurrentA: 15 }), circuit({ circuitId: "low", parent: 0, transformer })];
    const pairs: Phase[][] = [
      [1, 2],
      [2, 3],
      [3, 1],
    ];
    const one = depot(
      circuits,
      pairs.map((pair) => between(pair, { circuit: 1 })),
    );
    const { lp, circuitRows } = formulate(one, chargingOf(one), true);
    // 120 degrees are eight sides of 15, in each of two slots and three lines.
    expect(circuitRows).toHaveLength(8 * 2 * 3);
    for (const { row } of circuitRows) {
      for (let n = lp.starts[row]; n < lp.starts[row + 1]; n++) expect(lp.values[n]).toBeGreaterThan(0);
    }
  });

  it("one direction alone needs one row, whatever else hangs there at other times", () => {
    const one = depot([circuit({ maxCurrentA: 40 })], [between([1, 2]), between([3, 1])]);
    one.sessions[0].departureMs = START_MS + HOUR_MS;
    one.sessions[1].arrivalMs = START_MS + HOUR_MS;
    const { circuitRows } = formulate(one, chargingOf(one), true);
    expect(circuitRows.map(({ slot }) => slot)).toEqual([0, 0, 1, 1]);
    expect(planOf(one).chargingPowerW[0]).toBeCloseTo(40 * LINE_V, 0);
  });

  it("a full line is worth as much to three loads between lines as to one on three phases", () => {
    const pairs: Phase[][] = [
      [1, 2],
      [2, 3],
      [3, 1],
    ];
    const grid = () => [circuit({ maxCurrentA: 40 })];
    const prices = (evses: Evse[], energyWh: number) =>
      planOf(depot(grid(), evses, energyWh)).circuits[0].shadowPricePerKwh;
    // 14.4 kW for two hours and a need of 24 kWh: what does not fit in the first one costs 0.20 more.
    const ofPairs = prices(
      pairs.map((pair) => between(pair)),
      8000,
    );
    const ofThree = prices([between([1, 2, 3], { supply: "AC" })], 24_000);
    expect(ofPairs[0]).toBeCloseTo(0.2, 2);
    expect(ofPairs[0]).toBeCloseTo(ofThree[0], 3);
    expect(ofPairs[1]).toBe(0);
  });
});

function phase1(): Evse {
  return between([1], { supply: "AC" });
}

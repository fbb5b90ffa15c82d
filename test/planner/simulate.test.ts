import { beforeAll, describe, expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingRange, HOUR_MS } from "../../src/domain/charging.ts";
import type { Solvers } from "../../src/engine.ts";
import { measureRun } from "../../src/planner/measures.ts";
import { strategyResult } from "../../src/planner/result.ts";
import type { Scenario, Visit } from "../../src/planner/scenario.ts";
import { type Run, simulate } from "../../src/planner/simulate.ts";
import { earliestDeadline } from "../../src/planner/strategies/earliest-deadline.ts";
import { equalShare } from "../../src/planner/strategies/equal-share.ts";
import { firstCome } from "../../src/planner/strategies/first-come.ts";
import { hindsight } from "../../src/planner/strategies/hindsight.ts";
import { leastLaxity } from "../../src/planner/strategies/least-laxity.ts";
import { roundRobin } from "../../src/planner/strategies/round-robin.ts";
import { uncontrolled } from "../../src/planner/strategies/uncontrolled.ts";
import { wattslot } from "../../src/planner/strategies/wattslot.ts";
import type { Strategy } from "../../src/planner/strategy.ts";
import { circuit, evse, START_MS, series, tariff } from "../support/problems.ts";
import { scenario, visit } from "../support/scenarios.ts";
import { testSolvers } from "../support/solvers.ts";

const SLOT_MS = HOUR_MS / 4;
let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

/** Two chargers of 22.08 kW behind a limit. */
const pair = (maxPowerW: number) => ({
  circuits: [circuit({ maxPowerW })],
  evses: [evse(), evse({ stationId: "CS2" })],
});

function simple(): Strategy[] {
  return [equalShare, firstCome, earliestDeadline, leastLaxity, roundRobin].map((make) => make(SLOT_MS));
}

describe("by hand", () => {
  test("without control a vehicle draws all that its charger gives until it is content", async () => {
    // 11 040 Wh at 22 080 W: half an hour.
    const one = scenario({ visits: [visit({ energyWh: 11_040 })] });
    const run = await simulate(one, uncontrolled(SLOT_MS));
    expect([...run.chargedWh.slice(0, 3)]).toEqual([5520, 5520, 0]);
    expect(run.visits[0].contentMs).toBe(START_MS + HOUR_MS / 2);
    expect(run.highestW).toBeCloseTo(22_080, 6);
    expect(measureRun(one, run)).toMatchObject({ deliveredWh: 11_040, served: 1, violations: 0 });
  });

  test("without control the limits are passed, and that is counted", async () => {
    const one = scenario({
      site: pair(22_080),
      visits: [visit({ energyWh: 11_040 }), visit({ sessionId: "b", evse: 1, energyWh: 11_040 })],
    });
    const run = await simulate(one, uncontrolled(SLOT_MS));
    expect(run.highestW).toBeCloseTo(44_160, 6);
    // At each of the two decisions until both are content.
    expect(measureRun(one, run).violations).toBe(2);
    expect(run.excesses[0]).toMatchObject({ limit: "circuit grid", value: 44_160, allowed: 22_080 });
  });

  test("first come takes all, the other waits; whoever leaves first takes all by its deadline", async () => {
    const one = scenario({
      site: pair(22_080),
      visits: [
        visit({ energyWh: 22_080, departureMs: START_MS + 4 * HOUR_MS }),
        visit({ sessionId: "b", evse: 1, energyWh: 22_080, departureMs: START_MS + HOUR_MS }),
      ],
    });
    const byArrival = await simulate(one, firstCome(SLOT_MS));
    expect(byArrival.visits.map(({ metWh }) => Math.round(metWh))).toEqual([22_080, 0]);
    const byDeadline = await simulate(one, earliestDeadline(SLOT_MS));
    expect(byDeadline.visits.map(({ metWh }) => Math.round(metWh))).toEqual([22_080, 22_080]);
    expect(byDeadline.visits[0].contentMs).toBe(START_MS + 2 * HOUR_MS);
  });

  test("equal shares are equal; where they are below the minimum, the last to come waits", async () => {
    const visits = [visit({ energyWh: 80_000 }), visit({ sessionId: "b", evse: 1, energyWh: 80_000 })];
    const fair = await simulate(scenario({ site: pair(22_080), visits }), equalShare(SLOT_MS));
    expect(fair.visits.map(({ metWh }) => Math.round(metWh))).toEqual([44_160, 44_160]);
    // 6 A on three phases are 4140 W: 6000 W are enough for one.
    const scarce = await simulate(scenario({ site: pair(6000), visits }), equalShare(SLOT_MS));
    expect(scarce.visits[1].metWh).toBe(0);
    // 8.6 A in steps of 0.1 A.
    expect(scarce.visits[0].metWh).toBeCloseTo(4 * 8.6 * 690, 6);
  });

  test("a vehicle that leaves early has what it drew until then; one that stays on may draw on", async () => {
    const early = visit({ energyWh: 80_000 }, { departureMs: START_MS + 20 * 60_000 });
    const [left] = (await simulate(scenario({ visits: [early] }), firstCome(SLOT_MS))).visits;
    expect(left.metWh).toBeCloseTo(22_080 / 3, 6);
    const late = visit(
      { energyWh: 33_120, departureMs: START_MS + HOUR_MS },
      { departureMs: START_MS + 2 * HOUR_MS },
    );
    const [stayed] = (await simulate(scenario({ visits: [late] }), firstCome(SLOT_MS))).visits;
    expect(stayed.metWh).toBeCloseTo(33_120, 6);
  });

  test("a vehicle that wants less than it said stops, one that wants more is told when it lacks nothing it said", async () => {
    const less = visit({ energyWh: 20_000 }, { energyWh: 5000 });
    const more = visit({ energyWh: 5000 }, { energyWh: 20_000 });
    for (const one of [less, more]) {
      const run = await simulate(scenario({ visits: [one] }), wattslot(solvers));
      expect(run.visits[0].metWh).toBeGreaterThanOrEqual(4999);
      expect(run.visits[0].metWh).toBeLessThan(5100);
    }
  });

  test("along a charge curve a vehicle takes what its battery does", async () => {
    // 50 kW up to 50 kWh, 10 kW from there on: 40 to 50 kWh stored take 12 min, 2 kWh more another 12.
    const battery = {
      capacityWh: 100_000,
      storedWh: 40_000,
      efficiency: 1,
      chargeCurve: [
        { storedWh: 50_000, maxPowerW: 50_000 },
        { storedWh: 50_000.001, maxPowerW: 10_000 },
      ],
    };
    const one = scenario({
      site: {
        evses: [
          evse({ supply: "DC", maxPowerW: 50_000, minCurrentA: 0, maxCurrentA: Number.POSITIVE_INFINITY }),
        ],
      },
      visits: [visit({ energyWh: 12_000, battery })],
    });
    const [{ contentMs, metWh }] = (await simulate(one, uncontrolled(SLOT_MS))).visits;
    expect(metWh).toBeCloseTo(12_000, 3);
    expect((contentMs! - START_MS) / 60_000).toBeCloseTo(24, 2);
  });

  test("it charges in the cheap hour; the bill is energy times price", async () => {
    // 22.08 kWh wanted, 0.40, 0.10, 0.30, 0.40 an hour: all in the second hour.
    const one = scenario({
      site: { tariff: tariff({ prices: [0.4, 0.1, 0.3, 0.4] }) },
      visits: [visit({ energyWh: 22_080 })],
    });
    for (const strategy of [wattslot(solvers), hindsight(one, solvers)]) {
      const run = await simulate(one, strategy);
      const measures = measureRun(one, run);
      expect(measures.totalCost).toBeCloseTo(2.208, 6);
      expect(run.chargedWh.slice(4, 8).every((wh) => Math.abs(wh - 5520) < 1e-6)).toBe(true);
      expect(measures.changesPerVisit).toBe(0);
    }
    const atOnce = measureRun(one, await simulate(one, firstCome(SLOT_MS)));
    expect(atOnce.totalCost).toBeCloseTo(8.832, 6);
  });

  test("a demand charge is on the highest mean of a window, base load included; less what is free", async () => {
    const one = scenario({
      site: {
        circuits: [circuit({ baseLoadW: series(START_MS, HOUR_MS, [1000]) })],
        tariff: tariff({
          prices: [0],
          demandPricePerKw: 10,
          demandPeakSoFarW: 3000,
          demandWindowMs: HOUR_MS,
        }),
      },
      visits: [visit({ energyWh: 11_040 })],
    });
    const measures = measureRun(one, await simulate(one, uncontrolled(SLOT_MS)));
    // Half an hour at 22 080 W in a window of an hour.
    expect(measures.peakW).toBeCloseTo(12_040, 6);
    expect(measures.demandCost).toBeCloseTo(90.4, 6);
    expect(measures.baseCost).toBe(0);
  });

  test("vehicles that found no charger count as visits that got nothing", async () => {
    const one = scenario({ turnedAwayWh: [10_000], visits: [visit({ energyWh: 10_000 })] });
    expect(measureRun(one, await simulate(one, firstCome(SLOT_MS)))).toMatchObject({
      requestedWh: 20_000,
      deliveredWh: 10_000,
      served: 1,
      visits: 2,
      turnedAway: 1,
      worstDecile: 0,
      jain: 0.5,
    });
  });
});

describe("vehicles that give", () => {
  const battery = { capacityWh: 60_000, storedWh: 40_000, efficiency: 0.9, chargeCurve: [] };
  const discharge = {
    maxPowerW: 10_000,
    minStoredWh: 15_000,
    pricePerKwh: 0.05,
    spareWh: 0,
    plannedW: undefined,
  };
  const car = (over = {}) =>
    scenario({
      site: {
        circuits: [circuit({ baseLoadW: series(START_MS, HOUR_MS, [9000]) })],
        evses: [
          evse(
            {
              supply: "DC",
              maxPowerW: 10_000,
              maxDischargePowerW: 10_000,
              minCurrentA: 0,
              maxCurrentA: Number.POSITIVE_INFINITY,
            },
            { version: "2.1" },
          ),
        ],
        tariff: tariff({ prices: [0.1, 0.6, 0.1, 0.1] }),
      },
      visits: [visit({ energyWh: 0, battery, discharge, ...over })],
    });

  test("gives in the dear hour, has its need when it leaves, and saves what that is worth", async () => {
    const one = car({ energyWh: 5000 });
    const run = await simulate(one, wattslot(solvers));
    const measures = measureRun(one, run);
    expect(run.visits[0].givenWh).toBeGreaterThan(8000);
    expect(run.visits[0].metWh).toBeCloseTo(5000, 0);
    expect(measures.served).toBe(1);
    const idle = measureRun(one, await simulate(one, firstCome(SLOT_MS)));
    expect(measures.totalCost).toBeLessThan(idle.totalCost - 2);
    // What it charged again for what it gave is no delivery.
    expect(run.visits[0].drawnWh).toBeGreaterThan(measures.deliveredWh + 5000);
  });

  test("gives no more than it may and keeps what is to stay, whatever it is told", async () => {
    const one = car();
    const greedy: Strategy = {
      name: "greedy",
      title: "Gives all the time",
      decide: ({ sessions, slotStartsMs: [atMs] }) => ({
        payloads: sessions.map(({ transactionId }) =>
          JSON.stringify({
            evseId: 1,
            chargingProfile: {
              id: 11,
              transactionId,
              stackLevel: 0,
              chargingProfilePurpose: "TxProfile",
              chargingProfileKind: "Absolute",
              chargingSchedule: [
                {
                  id: 11,
                  startSchedule: new Date(atMs).toISOString().replace(".000", ""),
                  chargingRateUnit: "W",
                  chargingSchedulePeriod: [
                    { startPeriod: 0, operationMode: "CentralSetpoint", setpoint: -10_000 },
                  ],
                },
              ],
            },
          }),
        ),
      }),
    };
    const run = await simulate(one, greedy);
    // 25 kWh above what is kept, less a tenth.
    expect(run.visits[0].givenWh).toBeCloseTo(22_500, 6);
    expect(run.visits[0].metWh).toBe(0);
  });
});

test("a charger that changes its phases serves a vehicle below the minimum of three", async () => {
  // 2300 W: under the 4140 W of three phases at 6 A, 10 A on one.
  const site = {
    circuits: [circuit({ maxPowerW: 2300 })],
    evses: [evse({ maxPhaseSwitches: 2 })],
  };
  const one = scenario({ site, visits: [visit({ energyWh: 9200 })] });
  const run = await simulate(one, wattslot(solvers));
  expect(run.visits[0].metWh).toBeGreaterThan(9190);
  expect(run.highestW).toBeLessThanOrEqual(2300 + 1e-6);
  const fixed = scenario({ site: { ...site, evses: [evse()] }, visits: one.visits });
  expect((await simulate(fixed, wattslot(solvers))).visits[0].metWh).toBe(0);
});

test("the site's battery follows its plan within its bounds, and lowers the bill", async () => {
  const battery = {
    circuit: 0,
    capacityWh: 10_000,
    storedWh: 5000,
    minStoredWh: 1000,
    maxChargePowerW: 5000,
    maxDischargePowerW: 5000,
    efficiency: Math.sqrt(0.9),
    endValuePerKwh: undefined,
  };
  const site = {
    circuits: [circuit({ baseLoadW: series(START_MS, HOUR_MS, [6000]) })],
    tariff: tariff({ prices: [0.1, 0.5, 0.5, 0.1] }),
  };
  const one = scenario({ site: { ...site, battery }, horizonMs: 4 * HOUR_MS, visits: [] });
  const run = await simulate(one, wattslot(solvers));
  let storedWh = 5000;
  for (const wh of run.batteryWh) {
    expect(Math.abs(wh)).toBeLessThanOrEqual(1250 + 1e-6);
    storedWh += wh > 0 ? wh * battery.efficiency : wh / battery.efficiency;
    expect(storedWh).toBeGreaterThanOrEqual(1000 - 1e-6);
    expect(storedWh).toBeLessThanOrEqual(10_000 + 1e-6);
  }
  // What it ends short of counts at the mean price, 0.30, with what is lost on the way.
  expect(run.batteryGainWh).toBeCloseTo(storedWh - 5000, 6);
  const lackWh = (5000 - storedWh) / battery.efficiency;
  const { storageCost, totalCost, energyCost, exportRevenue } = measureRun(one, run);
  expect(lackWh).toBeGreaterThan(0);
  expect(storageCost).toBeCloseTo((lackWh * 0.3) / 1000, 9);
  expect(totalCost).toBeCloseTo(energyCost - exportRevenue + storageCost, 9);
  const without = scenario({ site, visits: [] });
  const costs = [measureRun(one, run), measureRun(without, await simulate(without, wattslot(solvers)))];
  expect(costs[0].totalCost).toBeLessThan(costs[1].totalCost - 0.5);
});

/** A day with some visits at random on three chargers, some of them wrong about what they said. */
function randomScenario(seed: number): Scenario {
  const random = randomOf(seed);
  const visits: Visit[] = [];
  for (let e = 0; e < 3; e++) {
    for (let at = START_MS + random.int(0, 90) * 60_000; at < START_MS + 6 * HOUR_MS; ) {
      const stayMs = random.int(15, 200) * 60_000;
      const departureMs = at + stayMs;
      const saidMs = random.chance(0.5) ? departureMs : at + random.int(15, 240) * 60_000;
      const energyWh = random.int(5, 300) * 100;
      visits.push(
        visit(
          {
            sessionId: `${e}-${at}`,
            evse: e,
            arrivalMs: at,
            departureMs: saidMs,
            energyWh,
            phaseCount: e === 2 ? 1 : 3,
          },
          { departureMs, energyWh: random.chance(0.7) ? energyWh : random.int(5, 300) * 100 },
        ),
      );
      at = departureMs + random.int(0, 60) * 60_000;
    }
  }
  visits.sort((a, b) => a.said.arrivalMs - b.said.arrivalMs);
  const endMs = visits.reduce((last, { departureMs }) => Math.max(last, departureMs), 0);
  return scenario({
    site: {
      circuits: [
        circuit({
          maxPowerW: random.int(12, 50) * 1000,
          baseLoadW: series(START_MS, HOUR_MS, [1000, 4000, 2000]),
        }),
      ],
      evses: [
        evse(),
        evse({ stationId: "CS2" }, { version: "1.6", limitStep: 1 }),
        evse({ stationId: "CS3", phases: [2] }),
      ],
      tariff: tariff({ prices: [0.3, 0.1, 0.2, 0.4], demandPricePerKw: random.pick([0, 5]) }),
    },
    endMs: Math.ceil(endMs / SLOT_MS) * SLOT_MS,
    visits,
    isEventDriven: random.chance(0.8),
  });
}

function withinLimits(one: Scenario, run: Run): void {
  const [{ maxPowerW }] = one.base.site.circuits;
  const totalWh = run.visits.reduce((wh, { drawnWh }) => wh + drawnWh, 0);
  expect(run.chargedWh.reduce((wh, slot) => wh + slot, 0)).toBeCloseTo(totalWh, 3);
  run.visits.forEach(({ drawnWh, slotWh }, i) => {
    const { said, departureMs, energyWh } = one.visits[i];
    const { maxPowerW: mostW } = chargingRange(one.base.site, said);
    expect(slotWh.reduce((wh, slot) => wh + slot, 0)).toBeCloseTo(drawnWh, 3);
    expect(drawnWh).toBeLessThanOrEqual(energyWh + 1e-6);
    expect(drawnWh).toBeLessThanOrEqual((mostW * (departureMs - said.arrivalMs)) / HOUR_MS + 1e-6);
    for (const wh of slotWh) expect(wh).toBeLessThanOrEqual((mostW * SLOT_MS) / HOUR_MS + 1e-6);
  });
  const { circuits } = strategyResult(one, run);
  for (const w of circuits[0].powerW) expect(w).toBeLessThanOrEqual(maxPowerW + 1e-3);
}

describe("whatever the day", () => {
  test.each(Array.from({ length: 12 }, (_, seed) => seed))(
    "energies add up, and nothing is drawn beyond limit, stay or need (seed %i)",
    async (seed) => {
      const one = randomScenario(seed);
      for (const strategy of [...simple(), wattslot(solvers), hindsight(one, solvers)]) {
        const run = await simulate(one, strategy);
        withinLimits(one, run);
        expect([strategy.name, run.excesses, run.faults]).toEqual([strategy.name, [], 0]);
      }
    },
  );

  test("the same scenario has the same outcome", async () => {
    const one = randomScenario(3);
    const results = [];
    for (let n = 0; n < 2; n++) {
      const { measures, ...rest } = strategyResult(one, await simulate(one, wattslot(solvers)));
      const { decisionMs: _, ...timeless } = measures;
      results.push({ ...rest, timeless });
    }
    expect(results[0]).toEqual(results[1]);
  });

  test("how often a simple strategy is asked does not matter while nothing happens", async () => {
    // All come at the start and lack energy until the end: the decision is the same each time.
    const visits = [visit({ energyWh: 90_000 }), visit({ sessionId: "b", evse: 1, energyWh: 90_000 })];
    const coarse = scenario({ site: pair(30_000), visits, everyMs: HOUR_MS });
    const fine = { ...coarse, everyMs: SLOT_MS };
    const runs = [await simulate(coarse, firstCome(HOUR_MS)), await simulate(fine, firstCome(SLOT_MS))];
    expect([...runs[0].chargedWh].map(Math.round)).toEqual([...runs[1].chargedWh].map(Math.round));
  });
});

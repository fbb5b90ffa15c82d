import { expect, test } from "vitest";
import { HOUR_MS } from "../../src/domain/charging.ts";
import { type Need, outOfReach } from "../../src/planner/need.ts";
import type { Scenario } from "../../src/planner/scenario.ts";
import { simulate } from "../../src/planner/simulate.ts";
import { firstCome } from "../../src/planner/strategies/first-come.ts";
import { uncontrolled } from "../../src/planner/strategies/uncontrolled.ts";
import type { Strategy } from "../../src/planner/strategy.ts";
import { circuit, evse, START_MS, series } from "../support/problems.ts";
import { scenario, visit } from "../support/scenarios.ts";

const SLOT_MS = HOUR_MS / 4;
const idle: Strategy = { name: "idle", title: "Idle", decide: () => ({ payloads: [] }) };

/** Hours after which a run is ended; undefined where it went on to its end. */
async function endHours(one: Scenario, strategy: Strategy, need: Need): Promise<number | undefined> {
  const { endedMs } = await simulate(one, strategy, { isPointless: outOfReach(one, need) });
  return endedMs === undefined ? undefined : (endedMs - START_MS) / HOUR_MS;
}

test("a run ends when full power from there on is too little", async () => {
  // An hour at 22 080 W of four, or half of it.
  const one = scenario({ visits: [visit({ energyWh: 22_080, departureMs: START_MS + 4 * HOUR_MS })] });
  expect(await endHours(one, idle, { deliveredPercent: 100 })).toBe(3.25);
  expect(await endHours(one, idle, { deliveredPercent: 50 })).toBe(3.75);
  expect(await endHours(one, idle, { servedPercent: 1 })).toBe(3.25);
  expect(await endHours(one, idle, {})).toBeUndefined();
  expect(await endHours(one, firstCome(SLOT_MS), { deliveredPercent: 100 })).toBeUndefined();
});

test("whoever found no charger is lost from the start", async () => {
  const one = scenario({ turnedAwayWh: [10_000], visits: [visit({ energyWh: 10_000 })] });
  expect(await endHours(one, firstCome(SLOT_MS), { deliveredPercent: 51 })).toBe(0);
  expect(
    await endHours(one, firstCome(SLOT_MS), { deliveredPercent: 50, servedPercent: 50 }),
  ).toBeUndefined();
});

test("it ends after a limit was passed, and at once where base load alone passes one", async () => {
  const site = { circuits: [circuit({ maxPowerW: 22_080 })], evses: [evse(), evse({ stationId: "CS2" })] };
  const visits = [visit({ energyWh: 11_040 }), visit({ sessionId: "b", evse: 1, energyWh: 11_040 })];
  expect(await endHours(scenario({ site, visits }), uncontrolled(SLOT_MS), {})).toBe(0.25);
  const loaded = circuit({ maxPowerW: 22_080, baseLoadW: series(START_MS, HOUR_MS, [0, 30_000]) });
  const over = scenario({ site: { ...site, circuits: [loaded] }, visits });
  expect(await endHours(over, firstCome(SLOT_MS), {})).toBe(0);
});

import { expect, test } from "vitest";
import { measureRun } from "../../src/planner/measures.ts";
import { simulate } from "../../src/planner/simulate.ts";
import { earliestDeadline } from "../../src/planner/strategies/earliest-deadline.ts";
import { uncontrolled } from "../../src/planner/strategies/uncontrolled.ts";
import { hasAcnData } from "../support/acn.ts";
import { monthOf, pricedGarage, wiredGarage } from "../support/garage.ts";

// The others are slower: `npm run bench:planner` prints them all.
const PERIOD_MS = 300_000;

test.skipIf(!hasAcnData)("without control the real month costs what is published", async () => {
  const month = monthOf(pricedGarage(1000, 15.51));
  const { energyCost, totalCost, peakW, deliveredWh } = measureRun(
    month,
    await simulate(month, uncontrolled(PERIOD_MS)),
  );
  expect(energyCost).toBeCloseTo(651.560824, 5);
  expect(totalCost).toBeCloseTo(2187.050824, 5);
  expect(peakW).toBeCloseTo(99_000, 6);
  expect(deliveredWh / 1000).toBeCloseTo(8890.169, 2);
});

test.skipIf(!hasAcnData)("by deadline the real wiring delivers at 10 kW what is published", async () => {
  const month = monthOf(wiredGarage(10));
  const { deliveredWh, requestedWh, violations } = measureRun(
    month,
    await simulate(month, earliestDeadline(PERIOD_MS)),
  );
  expect(Math.abs((100 * deliveredWh) / requestedWh - 36.937452)).toBeLessThan(0.01);
  expect(violations).toBe(0);
});

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { planSite, type Solvers } from "../src/engine.ts";
import { type Measures, measureRun } from "../src/planner/measures.ts";
import type { Scenario } from "../src/planner/scenario.ts";
import { simulate } from "../src/planner/simulate.ts";
import { earliestDeadline } from "../src/planner/strategies/earliest-deadline.ts";
import { firstCome } from "../src/planner/strategies/first-come.ts";
import { hindsight } from "../src/planner/strategies/hindsight.ts";
import { leastLaxity } from "../src/planner/strategies/least-laxity.ts";
import { roundRobin } from "../src/planner/strategies/round-robin.ts";
import { uncontrolled } from "../src/planner/strategies/uncontrolled.ts";
import { wattslot } from "../src/planner/strategies/wattslot.ts";
import type { Strategy } from "../src/planner/strategy.ts";
import { createGlpk } from "../src/solve/glpk.ts";
import { createHighs } from "../src/solve/highs.ts";
import { hasAcnData } from "../test/support/acn.ts";
import { monthOf, pricedGarage, wiredGarage } from "../test/support/garage.ts";

// The simulation against published results on 954 real sessions of a month, in 5-minute slots: what the usual
// strategies deliver on the garage's own wiring, what the least cost is, and how far the closed loop is from it.

const PERIOD_MS = 300_000;
const DEMAND_PRICE = 15.51;

const print = (line: string) => process.stdout.write(`${line}\n`);

async function measured(scenario: Scenario, strategy: Strategy): Promise<Measures> {
  return measureRun(scenario, await simulate(scenario, strategy));
}

function golden(file: string): string[][] {
  return readFileSync(resolve("../shared/golden", file), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","));
}

async function baselines(): Promise<void> {
  const strategies: Record<string, Strategy> = {
    EDF: earliestDeadline(PERIOD_MS),
    LLF: leastLaxity(PERIOD_MS),
    FCFS: firstCome(PERIOD_MS),
    RR: roundRobin(PERIOD_MS),
  };
  print("\nShare of the energy delivered on the garage's own wiring, against the published runs of ACN-Sim");
  for (const [capKw, name, percent] of golden("acn_three_phase_reference.csv")) {
    const strategy = strategies[name];
    if (strategy === undefined) continue;
    const { deliveredWh, requestedWh, violations } = await measured(
      monthOf(wiredGarage(Number(capKw))),
      strategy,
    );
    const share = ((100 * deliveredWh) / requestedWh).toFixed(6);
    print(`  ${capKw} kW ${name.padEnd(4)} ${share} %, published ${percent} %, ${violations} limits passed`);
  }
}

async function costs(solvers: Solvers): Promise<void> {
  print("Cost of the month, every vehicle charged as far as its stay allows");
  const atWill = await measured(monthOf(pricedGarage(1000, DEMAND_PRICE)), uncontrolled(PERIOD_MS));
  print(
    `  uncontrolled: energy ${atWill.energyCost.toFixed(6)} $, peak ${(atWill.peakW / 1000).toFixed(1)} kW, ` +
      `in all ${atWill.totalCost.toFixed(6)} $, published 651.560824 $, 99.0 kW, 2187.050824 $`,
  );
  for (const [capKw, objective, optimum] of golden("acn_cost_lp_golden.csv")) {
    if (Number(capKw) > 75) continue;
    const problem = pricedGarage(Number(capKw), objective.includes("demand") ? DEMAND_PRICE : 0);
    const { summary } = planSite(problem, solvers, () => 1e9).plan;
    const cost = summary.energyCost + summary.demandCost;
    const percent = 100 * (cost / Number(optimum) - 1);
    print(
      `  ${capKw} kW, ${objective}: ${cost.toFixed(6)} $, published optimum ${optimum} $, ${percent.toFixed(4)} % above`,
    );
  }
}

async function closedLoop(solvers: Solvers): Promise<void> {
  print("\nClosed loop at 15 minutes, knowing who is there, against hindsight; 50 kW");
  for (const price of [0, DEMAND_PRICE]) {
    const month = monthOf(pricedGarage(50, price));
    const scenario = { ...month, slotMs: 3 * PERIOD_MS, everyMs: 3 * PERIOD_MS };
    const best = await measured(scenario, hindsight(scenario, solvers));
    const online = await measured(scenario, wattslot(solvers));
    const above = 100 * (online.totalCost / best.totalCost - 1);
    const name = price === 0 ? "energy alone" : "energy and demand charge";
    print(
      `  ${name}: ${online.totalCost.toFixed(2)} $ for ${(online.deliveredWh / 1000).toFixed(1)} kWh, hindsight ` +
        `${best.totalCost.toFixed(2)} $ for ${(best.deliveredWh / 1000).toFixed(1)} kWh, ${above.toFixed(2)} % above; ` +
        `${online.violations} limits passed, ${online.faults} plans replaced, a decision ${online.decisionMs.p50.toFixed(1)} ms (p50), ${online.decisionMs.p99.toFixed(0)} ms (p99)`,
    );
  }
}

if (hasAcnData) {
  const solvers = { glpk: await createGlpk(), highs: await createHighs() };
  await costs(solvers);
  await closedLoop(solvers);
  await baselines();
} else print("Skipped: the real sessions are not beside the project");

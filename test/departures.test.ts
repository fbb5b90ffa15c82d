import { expect, it } from "vitest";
import { compareDepartures } from "../benchmarks/departures.ts";
import { testSolvers } from "./support/solvers.ts";
import { hasSaidStays, saidStays } from "./support/stays.ts";

// Without the data beside the project the test is skipped.
it.skipIf(!hasSaidStays)(
  "on real stays the chances deliver more than what was said, for less than at once",
  async () => {
    const outcomes = compareDepartures(saidStays().slice(0, 800), await testSolvers());
    const said = outcomes["trusting what was said"];
    const atOnce = outcomes["charging at once"];
    const chances = outcomes["by the chances, 2 $ a kWh"];
    const truth = outcomes["knowing the truth"];
    const price = ({ cost, energyWh }: { cost: number; energyWh: number }) => cost / energyWh;
    expect(chances.energyWh).toBeGreaterThan(said.energyWh);
    expect(chances.energyWh).toBeLessThanOrEqual(truth.energyWh);
    expect(price(chances)).toBeLessThan(price(atOnce));
  },
);

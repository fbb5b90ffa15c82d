import { planSite, type Solvers } from "../../engine.ts";
import type { Strategy } from "../strategy.ts";

/** The engine, as a CSMS calls it: with what is known now, and with what the chargers hold. */
export function wattslot(solvers: Solvers): Strategy {
  return {
    name: "wattslot",
    title: "Wattslot",
    decide(problem) {
      // Without a clock, so that the same scenario has the same outcome on every machine.
      const { plan, excesses } = planSite(problem, solvers, () => Number.MAX_SAFE_INTEGER);
      return {
        payloads: plan.sessionPlans.map(({ command }) => command?.payloadJson),
        batteryW: plan.batteryPowerW,
        plan,
        faults: excesses.length,
      };
    },
  };
}

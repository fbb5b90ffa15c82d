import { atOnce } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/** In turns, a step each, until nobody can have one more; who has no step yet needs its minimum to fit. */
export function roundRobin(intervalMs: number): Strategy {
  return atOnce(
    "round-robin",
    "Round robin",
    intervalMs,
    ({ waiting, charging, wantsW, hasW, fits, take }) => {
      let turn = waiting;
      while (turn.length > 0) {
        turn = turn.filter((i) => {
          const { stepPowerW, minPowerW } = charging.ranges[i];
          const powerW = hasW[i] > 0 ? stepPowerW : Math.max(stepPowerW, minPowerW);
          if (hasW[i] + powerW > wantsW[i] + 1e-6 || powerW > fits(i) + 1e-6) return false;
          take(i, powerW);
          return true;
        });
      }
    },
  );
}

import { atOnce } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/**
 * Everybody gets the same power, as many watts as fit for all, those who want less excepted: the one number that a
 * simple load balancer hands out. Where it is below a vehicle's minimum, that vehicle waits.
 */
export function equalShare(intervalMs: number): Strategy {
  return atOnce("equal-share", "Equal share", intervalMs, ({ waiting, charging, wantsW, fits, take }) => {
    const at = (level: number, i: number): number => {
      const { stepPowerW, minPowerW } = charging.ranges[i];
      const powerW = Math.floor((Math.min(wantsW[i], level) + 1e-6) / stepPowerW) * stepPowerW;
      return powerW >= minPowerW ? powerW : 0;
    };
    /** Gives all of them a level; takes it back where it does not fit. */
    const tryLevel = (level: number, isKept: boolean): boolean => {
      const given: [number, number][] = [];
      let doFit = true;
      for (const i of waiting) {
        const powerW = at(level, i);
        if (powerW > fits(i) + 1e-6) {
          doFit = false;
          break;
        }
        take(i, powerW);
        given.push([i, powerW]);
      }
      if (!isKept || !doFit) for (const [i, powerW] of given) take(i, -powerW);
      return doFit;
    };
    let low = 0;
    let high = waiting.reduce((most, i) => Math.max(most, wantsW[i]), 0);
    if (tryLevel(high, true)) return;
    while (high - low > 1) {
      const middle = (low + high) / 2;
      if (tryLevel(middle, false)) low = middle;
      else high = middle;
    }
    tryLevel(low, true);
  });
}

import { atOnce } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/**
 * Everybody gets the same power, as many watts as fit for all, those who want less excepted: the one number that a
 * simple load balancer hands out. Where it is below the minimum, as many as fit get theirs, and who came last waits.
 */
export function equalShare(intervalMs: number): Strategy {
  return atOnce(
    "equal-share",
    "Equal share",
    intervalMs,
    ({ waiting, charging, wantsW, hasW, fits, take }) => {
      const sharing = waiting.filter((i) => {
        const { minPowerW } = charging.ranges[i];
        const doesFit = fits(i) + 1e-6 >= minPowerW;
        if (doesFit) take(i, minPowerW);
        return doesFit;
      });
      /** Raises all of them to a level; takes it back where it does not fit, or was only asked. */
      const tryLevel = (level: number, isKept: boolean): boolean => {
        const given: [number, number][] = [];
        const doFit = sharing.every((i) => {
          const { stepPowerW } = charging.ranges[i];
          const levelW = Math.floor((Math.min(wantsW[i], level) + 1e-6) / stepPowerW) * stepPowerW;
          const moreW = Math.max(0, levelW - hasW[i]);
          if (moreW > fits(i) + 1e-6) return false;
          take(i, moreW);
          given.push([i, moreW]);
          return true;
        });
        if (!isKept || !doFit) for (const [i, powerW] of given) take(i, -powerW);
        return doFit;
      };
      let low = 0;
      let high = sharing.reduce((most, i) => Math.max(most, wantsW[i]), 0);
      if (tryLevel(high, true)) return;
      while (high - low > 1) {
        const middle = (low + high) / 2;
        if (tryLevel(middle, false)) low = middle;
        else high = middle;
      }
      tryLevel(low, true);
    },
  );
}

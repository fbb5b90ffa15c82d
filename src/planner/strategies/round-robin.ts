import { atOnce } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/** Turns after which a vehicle is at its full power: about 0.1 A each at 32 A. */
const TURNS = 320;

/** In turns, a little power each, until nobody can have more; who has none yet needs its minimum to fit. */
export function roundRobin(intervalMs: number): Strategy {
  return atOnce(
    "round-robin",
    "Round robin",
    intervalMs,
    ({ waiting, charging, wantsW, hasW, fits, take }) => {
      let turn = waiting;
      while (turn.length > 0) {
        turn = turn.filter((i) => {
          const { stepPowerW, minPowerW, maxPowerW } = charging.ranges[i];
          const turnW = Math.ceil(maxPowerW / TURNS / stepPowerW - 1e-9) * stepPowerW;
          const leftW = Math.min(wantsW[i] - hasW[i], fits(i)) + 1e-6;
          const wholeW = Math.floor(Math.min(leftW, turnW) / stepPowerW) * stepPowerW;
          const powerW = hasW[i] > 0 ? wholeW : Math.max(wholeW, minPowerW);
          if (powerW <= 0 || powerW > leftW) return false;
          take(i, powerW);
          return true;
        });
      }
    },
  );
}

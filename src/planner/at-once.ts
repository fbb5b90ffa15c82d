import { type Charging, chargingOf } from "../domain/charging.ts";
import type { Problem } from "../domain/problem.ts";
import { Room } from "../domain/room.ts";
import { payloadsOf, type Strategy } from "./strategy.ts";

/** The vehicles that want power at one instant, and what the limits leave. */
export interface Instant {
  problem: Problem;
  charging: Charging;
  /** Indices of the sessions that are here and lack energy, in the order of their arrival. */
  waiting: number[];
  /** The most that each session can use until the strategy is asked again, W: its limits and what it lacks. */
  wantsW: Float64Array;
  /** Most that one could have on top of what is taken, W. */
  fits(i: number): number;
  /** Gives a session power, W; what is negative is given back. */
  take(i: number, powerW: number): void;
  /** What each session has, W. */
  hasW: Float64Array;
}

/** A strategy that knows no tomorrow: it shares the power of the moment, which then holds until it is asked again. */
export function atOnce(
  name: string,
  title: string,
  intervalMs: number,
  share: (instant: Instant) => void,
): Strategy {
  return {
    name,
    title,
    decide(problem) {
      const charging = chargingOf(problem);
      const room = new Room(problem, charging);
      const hasW = new Float64Array(problem.sessions.length);
      const hours = intervalMs / 3_600_000;
      const wantsW = Float64Array.from(problem.sessions, ({ energyWh }, i) => {
        const { stepPowerW, minPowerW, maxPowerW } = charging.ranges[i];
        if (energyWh <= 1e-3) return 0;
        const neededW = Math.ceil(energyWh / hours / stepPowerW - 1e-6) * stepPowerW;
        return Math.min(maxPowerW, Math.max(neededW, minPowerW));
      });
      const waiting = problem.sessions
        .map((_, i) => i)
        .filter((i) => wantsW[i] > 0)
        .sort((a, b) => problem.sessions[a].arrivalMs - problem.sessions[b].arrivalMs || a - b);
      share({
        problem,
        charging,
        waiting,
        wantsW,
        hasW,
        fits: (i) => room.fits(i, 0),
        take(i, powerW) {
          room.take(i, 0, powerW);
          hasW[i] += powerW;
        },
      });
      const slotCount = problem.slotStartsMs.length - 1;
      return {
        payloads: payloadsOf(
          problem,
          Array.from(hasW, (w) => new Float64Array(slotCount).fill(w)),
        ),
      };
    },
  };
}

/** Gives each in turn as much as fits, in whole steps, 0 or at least the minimum. */
export function inOrder({ charging, wantsW, fits, take }: Instant, order: readonly number[]): void {
  for (const i of order) {
    const { stepPowerW, minPowerW } = charging.ranges[i];
    const powerW = Math.floor((Math.min(wantsW[i], fits(i)) + 1e-6) / stepPowerW) * stepPowerW;
    if (powerW >= minPowerW && powerW > 0) take(i, powerW);
  }
}

import { HOUR_MS } from "../../domain/charging.ts";
import { atOnce, inOrder } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/** Whoever could wait least, were it then charged at full power until it leaves, gets all that it can use. */
export function leastLaxity(intervalMs: number): Strategy {
  return atOnce("least-laxity", "Least laxity first", intervalMs, (instant) => {
    const { sessions, slotStartsMs } = instant.problem;
    const laxityHours = sessions.map(
      ({ departureMs, energyWh }, i) =>
        (departureMs - slotStartsMs[0]) / HOUR_MS - energyWh / instant.charging.ranges[i].maxPowerW,
    );
    inOrder(
      instant,
      [...instant.waiting].sort((a, b) => laxityHours[a] - laxityHours[b]),
    );
  });
}

import { atOnce } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/** Every vehicle at full power from its arrival on, whatever the limits: what there is without any control. */
export function uncontrolled(intervalMs: number): Strategy {
  return atOnce("uncontrolled", "Uncontrolled", intervalMs, ({ waiting, charging, take }) => {
    for (const i of waiting) take(i, charging.ranges[i].maxPowerW);
  });
}

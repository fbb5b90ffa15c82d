import { atOnce, inOrder } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/** Whoever came first gets all that it can use, then the next. */
export function firstCome(intervalMs: number): Strategy {
  return atOnce("first-come", "First come, first served", intervalMs, (instant) =>
    inOrder(instant, instant.waiting),
  );
}

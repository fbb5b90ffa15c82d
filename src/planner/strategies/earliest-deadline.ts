import { atOnce, inOrder } from "../at-once.ts";
import type { Strategy } from "../strategy.ts";

/** Whoever said to leave first gets all that it can use, then the next. */
export function earliestDeadline(intervalMs: number): Strategy {
  return atOnce("earliest-deadline", "Earliest deadline first", intervalMs, (instant) => {
    const { sessions } = instant.problem;
    const leaves = (i: number) => sessions[i].departureMs;
    inOrder(
      instant,
      [...instant.waiting].sort((a, b) => leaves(a) - leaves(b)),
    );
  });
}

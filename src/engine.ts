import type { Problem } from "./domain/problem.ts";
import type { SitePlan } from "./domain/plan.ts";

export interface Engine {
  /**
   * Plans one site. Resolves before `deadlineMs` (epoch) with the optimum, the best plan found
   * or the fallback, and says which. Rejects with a WattslotError: CANCELLED when the signal
   * aborts, RESOURCE_EXHAUSTED when the queue is full, DEADLINE_EXCEEDED when not even the
   * fallback could be made, INTERNAL otherwise.
   */
  optimise(problem: Problem, options?: { signal?: AbortSignal; deadlineMs?: number }): Promise<SitePlan>;
  /** Ends the worker threads; pending calls reject with UNAVAILABLE. */
  close(): Promise<void>;
}

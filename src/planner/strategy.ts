import type { PowerPlan, SitePlan } from "../domain/plan.ts";
import type { Problem } from "../domain/problem.ts";
import { toPayload } from "../ocpp/payload.ts";
import { toProfile } from "../ocpp/profile.ts";

/** What a strategy wants of the chargers from now on. */
export interface Decision {
  /** A SetChargingProfile payload for each session; undefined leaves the charger with what it holds. */
  payloads: (string | undefined)[];
  /** What the site's battery is to do in each slot, W, negative out of it; undefined: nothing. */
  batteryW?: Float64Array | undefined;
  /** The engine's own account, where it made the plan. */
  plan?: SitePlan | undefined;
  /** Plans that failed the engine's check and were replaced. */
  faults?: number;
}

/** A way to share a site's power among vehicles. */
export interface Strategy {
  /** As in scenarios and on the command line. */
  name: string;
  /** For people. */
  title: string;
  /**
   * Decides at the start of a problem that knows the vehicles that are here, what they said, and what is metered;
   * `sessions` still lack `energyWh`. Called again at the next event, or after the scenario's interval.
   */
  decide(problem: Problem): Decision;
}

/** The payloads of a plan that only charges, W in each slot of the problem. */
export function payloadsOf(problem: Problem, plan: PowerPlan): string[] {
  return problem.sessions.map(({ evse }, i) =>
    toPayload(toProfile(problem, i, plan[i]).profile, problem.site.evses[evse]),
  );
}

import { slotAt } from "../../domain/charging.ts";
import type { Problem } from "../../domain/problem.ts";
import { planSite, type Solvers } from "../../engine.ts";
import { type Scenario, slotsOf } from "../scenario.ts";
import type { Strategy } from "../strategy.ts";

/** A whole scenario as one problem in which what happens is known from the start. */
function knownProblem({ base, visits, startMs, endMs, slotMs }: Scenario): Problem {
  return {
    ...base,
    sessions: visits.map(({ said, departureMs, energyWh }) => ({
      ...said,
      departureMs: Math.min(departureMs, endMs),
      energyWh,
      departureChances: [],
    })),
    slotStartsMs: slotsOf({ startMs, endMs, slotMs }),
    notices: [],
  };
}

/**
 * The plan of one who knows all that will happen: the bound that no strategy passes, but for what whole steps and
 * minimum currents leave open.
 */
export function hindsight(scenario: Scenario, solvers: Solvers): Strategy {
  const problem = knownProblem(scenario);
  const { plan, excesses } = planSite(problem, solvers, () => Number.MAX_SAFE_INTEGER);
  const payloads = new Map(
    plan.sessionPlans.map(({ sessionId, command }) => [sessionId, command?.payloadJson]),
  );
  return {
    name: "hindsight",
    title: "Hindsight",
    decide({ sessions, slotStartsMs }) {
      return {
        payloads: sessions.map(({ sessionId }) => {
          const payloadJson = payloads.get(sessionId);
          payloads.delete(sessionId);
          return payloadJson;
        }),
        batteryW:
          plan.batteryPowerW &&
          Float64Array.from(
            slotStartsMs.slice(0, -1),
            (atMs) => plan.batteryPowerW?.[slotAt(problem.slotStartsMs, atMs)] ?? 0,
          ),
        ...(slotStartsMs[0] === scenario.startMs ? { plan, faults: excesses.length } : {}),
      };
    },
  };
}

import type { Random } from "../../benchmarks/random.ts";
import type { PowerStep } from "../../src/domain/plan.ts";
import type { Evse, Phase, Problem, Session } from "../../src/domain/problem.ts";
import { session } from "./problems.ts";

/** A site as it turns out: who is there, and what each draws. */
export interface Turnout {
  problem: Problem;
  drawn: PowerStep[][];
}

/** The lines of an EVSE that vehicles are known to draw from one by one, by the words of the contract. */
export function linesOf({ supply, phases, hasUnknownPhases }: Evse): Phase[][] {
  const areApart = supply === "AC" && (!hasUnknownPhases || phases.length === 3);
  return areApart ? phases.map((phase) => [phase]) : [phases];
}

/** The problem with vehicles that nobody plans at EVSE e, on any of its lines, each as it draws over time. */
function withNewcomer({ problem, drawn }: Turnout, e: number, lines: Phase[][], steps: PowerStep[]): Turnout {
  const { site, sessions, slotStartsMs } = problem;
  const evse = site.evses[e];
  const guests = lines.map((phases) => ({
    evse: {
      ...evse,
      phases,
      hasUnknownPhases: evse.hasUnknownPhases && evse.phases.length < 3,
      uncontrolledPowerW: undefined,
    },
    steps: steps.map(({ atMs, powerW }) => ({
      atMs,
      powerW: (powerW * phases.length) / evse.phases.length,
    })),
  }));
  const guest = (n: number): Session =>
    session({
      sessionId: `newcomer ${e} ${n}`,
      evse: site.evses.length + n,
      arrivalMs: slotStartsMs[0],
      departureMs: slotStartsMs[slotStartsMs.length - 1],
      phaseCount: guests[n].evse.phases.length,
    });
  return {
    problem: {
      ...problem,
      site: { ...site, evses: [...site.evses, ...guests.map((one) => one.evse)] },
      sessions: [...sessions, ...guests.map((_, n) => guest(n))],
    },
    drawn: [...drawn, ...guests.map((one) => one.steps)],
  };
}

/** Every EVSE drawing a power that no plan says, all the time. */
export function allAt(problem: Problem, levelsW: readonly number[]): Turnout {
  let turnout: Turnout = { problem: { ...problem, sessions: [] }, drawn: [] };
  const atMs = problem.slotStartsMs[0];
  problem.site.evses.forEach((evse, e) => {
    turnout = withNewcomer(turnout, e, linesOf(evse), [{ atMs, powerW: levelsW[e] }]);
  });
  return turnout;
}

/**
 * A site without a connection: profiles that were sent go on, and at some EVSEs somebody nobody knows comes as soon as no
 * vehicle with a profile is there, takes the place of one that was expected, and draws what the charger allows anyone
 * on some of the lines. `sent` has what was planned for each session.
 */
export function withoutConnection(problem: Problem, sent: PowerStep[][], random: Random): Turnout {
  const { site, sessions, slotStartsMs } = problem;
  const startMs = slotStartsMs[0];
  let turnout: Turnout = { problem, drawn: [] };
  const drawn = sent.map((steps) => steps.slice());
  const newcomers: (() => void)[] = [];
  site.evses.forEach((evse, e) => {
    const here = sessions.flatMap((one, i) => (one.evse === e ? [i] : []));
    const comes = random.chance(0.7) && evse.uncontrolledPowerW === undefined;
    const holding = here.filter((i) => {
      const { arrivalMs, transactionId, installed } = sessions[i];
      const hasProfile = evse.isOffline
        ? installed !== undefined
        : arrivalMs <= startMs || transactionId !== "";
      if (!hasProfile) return comes && random.chance(0.5) ? false : !evse.isOffline;
      return !(comes && evse.isOffline && random.chance(0.5));
    });
    for (const i of here) {
      const { departureMs } = sessions[i];
      if (!holding.includes(i)) drawn[i] = [];
      // Whoever comes brings an end to what the charger kept after a departure.
      else if (comes) {
        drawn[i] = drawn[i].filter(({ atMs }) => atMs < departureMs);
        drawn[i].push({ atMs: departureMs, powerW: 0 });
      }
    }
    if (!comes) return;
    const steps: PowerStep[] = [{ atMs: startMs, powerW: evse.fallbackPowerW }];
    for (const i of holding.toSorted((a, b) => sessions[a].arrivalMs - sessions[b].arrivalMs)) {
      const { arrivalMs, departureMs } = sessions[i];
      steps.push({ atMs: arrivalMs, powerW: 0 }, { atMs: departureMs, powerW: evse.fallbackPowerW });
    }
    const lines = linesOf(evse).filter(() => random.chance(0.8));
    newcomers.push(() => {
      turnout = withNewcomer(turnout, e, lines, steps);
    });
  });
  turnout = { problem, drawn };
  for (const arrive of newcomers) arrive();
  return turnout;
}

import { pathToFileURL } from "node:url";
import { WattslotError } from "../domain/errors.ts";
import type { Solvers } from "../engine.ts";
import type { Scenario } from "./scenario.ts";
import { earliestDeadline } from "./strategies/earliest-deadline.ts";
import { equalShare } from "./strategies/equal-share.ts";
import { firstCome } from "./strategies/first-come.ts";
import { hindsight } from "./strategies/hindsight.ts";
import { leastLaxity } from "./strategies/least-laxity.ts";
import { roundRobin } from "./strategies/round-robin.ts";
import { uncontrolled } from "./strategies/uncontrolled.ts";
import { wattslot } from "./strategies/wattslot.ts";
import type { Strategy } from "./strategy.ts";

/** Makes a strategy for a scenario: the default export of a file that adds one. */
export type StrategyFactory = (scenario: Scenario, solvers: Solvers) => Strategy;

const STRATEGIES: Readonly<Record<string, StrategyFactory>> = {
  uncontrolled: ({ everyMs }) => uncontrolled(everyMs),
  "equal-share": ({ everyMs }) => equalShare(everyMs),
  "first-come": ({ everyMs }) => firstCome(everyMs),
  "earliest-deadline": ({ everyMs }) => earliestDeadline(everyMs),
  "least-laxity": ({ everyMs }) => leastLaxity(everyMs),
  "round-robin": ({ everyMs }) => roundRobin(everyMs),
  wattslot: (_, solvers) => wattslot(solvers),
  hindsight: (scenario, solvers) => hindsight(scenario, solvers),
};

/** The strategies that come with the project, from the simplest to the bound of all. */
export const STRATEGY_NAMES: readonly string[] = Object.keys(STRATEGIES);

/** What is said of a name that no strategy has. */
export function unknownStrategy(name: string): string {
  return `there is no strategy ${JSON.stringify(name)}: use ${STRATEGY_NAMES.join(", ")}, or a .js file`;
}

/**
 * Finds a strategy by its name, or by the path of a JavaScript file whose default export makes one. Throws
 * INVALID_ARGUMENT where there is none.
 */
export async function findStrategy(nameOrFile: string): Promise<StrategyFactory> {
  if (Object.hasOwn(STRATEGIES, nameOrFile)) return STRATEGIES[nameOrFile];
  if (!/\.[cm]?js$/.test(nameOrFile)) {
    throw new WattslotError("INVALID_ARGUMENT", unknownStrategy(nameOrFile));
  }
  let factory: unknown;
  try {
    ({ default: factory } = await import(pathToFileURL(nameOrFile).href));
  } catch (cause) {
    throw new WattslotError(
      "INVALID_ARGUMENT",
      `${nameOrFile}: cannot be loaded: ${(cause as Error).message}`,
      { cause },
    );
  }
  if (typeof factory === "function") return factory as StrategyFactory;
  throw new WattslotError(
    "INVALID_ARGUMENT",
    `${nameOrFile}: has no default export that is a function (scenario, solvers) => strategy`,
  );
}

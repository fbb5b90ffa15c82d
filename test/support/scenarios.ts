import type { Problem, Session } from "../../src/domain/problem.ts";
import type { Scenario, Visit } from "../../src/planner/scenario.ts";
import { evse, problem, START_MS, session } from "./problems.ts";

const HOUR_MS = 3_600_000;

/** A visit that ends when it was said to, and wants what was said, unless told otherwise. */
export function visit(over: Partial<Session> = {}, happened: Partial<Omit<Visit, "said">> = {}): Visit {
  const said = session(over);
  return { said, departureMs: said.departureMs, energyWh: said.energyWh, ...happened };
}

/** Four hours of 15 minutes on one charger of 22 kW, planned anew at each event and slot. */
export function scenario(over: Partial<Scenario> & { site?: Partial<Problem["site"]> } = {}): Scenario {
  const { site, ...rest } = over;
  const { sessions: _, slotStartsMs: __, notices: ___, ...base } = problem();
  return {
    name: "test",
    base: {
      ...base,
      preference: site?.tariff === undefined ? "EARLIEST" : "LOWEST_COST",
      site: { ...base.site, evses: [evse()], ...site },
    },
    startMs: START_MS,
    endMs: START_MS + 4 * HOUR_MS,
    slotMs: HOUR_MS / 4,
    everyMs: HOUR_MS / 4,
    isEventDriven: true,
    horizonMs: 48 * HOUR_MS,
    forecast: undefined,
    turnedAwayWh: [],
    visits: [visit()],
    ...rest,
  };
}

import type { Problem, Session } from "../domain/problem.ts";
import type { Forecast } from "./forecast.ts";

/** A vehicle's visit to a site: what it said, and what happened. */
export interface Visit {
  /**
   * The session as the CSMS knows it when the vehicle plugs in: its arrival is real, its departure and its need
   * are what was said. `transactionId` must be one that the charger's OCPP version takes.
   */
  said: Session;
  /** When it really left. */
  departureMs: number;
  /** What it would have drawn until it was content, at the meter. */
  energyWh: number;
}

/** A site over a stretch of time, and all that happens there. */
export interface Scenario {
  name: string;
  /** The site as it is, its prices, production and base load as they came; no session. */
  base: Omit<Problem, "sessions" | "slotStartsMs" | "notices">;
  /** On slot boundaries. */
  startMs: number;
  endMs: number;
  slotMs: number;
  /** By arrival. At most one vehicle at an EVSE at a time. */
  visits: Visit[];
  /** The plan is made anew this often, on multiples of it in UTC. */
  everyMs: number;
  /** And at once when a vehicle arrives or leaves, and when prices are published. */
  isEventDriven: boolean;
  /** How far a plan looks ahead at the most; with a battery at the site it does. */
  horizonMs: number;
  /** What is not known beforehand; undefined: prices, production and base load are. */
  forecast: Forecast | undefined;
  /** What vehicles wanted that found no charger free, Wh: they count as visits that got nothing. */
  turnedAwayWh: number[];
}

/** The boundaries of a scenario's slots, one more than slots. */
export function slotsOf({
  startMs,
  endMs,
  slotMs,
}: Pick<Scenario, "startMs" | "endMs" | "slotMs">): number[] {
  const starts: number[] = [startMs];
  for (let at = (Math.floor(startMs / slotMs) + 1) * slotMs; at < endMs; at += slotMs) starts.push(at);
  return [...starts, endMs];
}

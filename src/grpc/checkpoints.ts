import type { DepartureChance, Session } from "../domain/problem.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { type Findings, LARGEST } from "./findings.ts";

const MOST_CHANCES = 50;
const ENERGY_WH = { min: 0, max: LARGEST.energyWh };

type Stay = Pick<Session, "energyWh" | "departureMs">;

/** Energy that must be there by a time: at most the need, and by the departure at the latest. */
export function readMinimum(
  findings: Findings,
  field: string,
  minimum: wire.MinimumEnergy | undefined,
  stay: Stay,
  planStartMs: number,
): Session["minimum"] {
  if (minimum === undefined) return undefined;
  const energyWh = findings.number(`${field}.energy_wh`, minimum.energyWh, ENERGY_WH);
  if (energyWh > stay.energyWh) {
    findings.wrong(`${field}.energy_wh`, `${energyWh} is above the need of ${stay.energyWh} Wh`);
  }
  if (minimum.byTime === undefined) {
    findings.wrong(`${field}.by_time`, "is required");
    return undefined;
  }
  const byMs = Math.floor(findings.time(`${field}.by_time`, minimum.byTime) / 1000) * 1000;
  if (byMs <= planStartMs) {
    findings.wrong(
      `${field}.by_time`,
      `must be after the start of the plan, ${new Date(planStartMs).toISOString()}`,
    );
  } else if (byMs > stay.departureMs) {
    findings.notice(
      "MINIMUM_AFTER_DEPARTURE",
      `${field}.by_time`,
      "the vehicle leaves before: its departure holds",
    );
  }
  // Nothing by a time asks for nothing.
  return energyWh === 0 ? undefined : { energyWh, byMs: Math.min(byMs, stay.departureMs) };
}

/** The chances that the vehicle has left by a time, both rising; those from the departure on say nothing new. */
export function readDepartureChances(
  findings: Findings,
  field: string,
  chances: readonly wire.DepartureChance[],
  { departureMs }: Stay,
  planStartMs: number,
): DepartureChance[] {
  if (chances.length > MOST_CHANCES)
    findings.tooLarge(field, `at most ${MOST_CHANCES}, has ${chances.length}`);
  let last = { atMs: planStartMs, probability: 0 };
  const read = chances.map(({ time, probability: given }, n) => {
    const at = `${field}[${n}]`;
    const probability = findings.number(`${at}.probability`, given, { min: 0, max: 1 });
    if (probability < last.probability)
      findings.wrong(`${at}.probability`, `falls from ${last.probability} to ${probability}`);
    if (time === undefined) findings.wrong(`${at}.time`, "is required");
    const atMs =
      time === undefined ? Number.NaN : Math.floor(findings.time(`${at}.time`, time) / 1000) * 1000;
    if (atMs <= last.atMs) {
      const what = n === 0 ? "the start of the plan" : "the one before";
      findings.wrong(`${at}.time`, `must be after ${what}, ${new Date(last.atMs).toISOString()}`);
    }
    last = {
      atMs: Number.isNaN(atMs) ? last.atMs : atMs,
      probability: Number.isNaN(probability) ? last.probability : probability,
    };
    return { atMs, probability };
  });
  const early = read.filter(({ atMs }) => !(atMs >= departureMs));
  if (early.length < read.length) {
    findings.notice(
      "CHANCE_AFTER_DEPARTURE",
      `${field}[${early.length}].time`,
      "not before the departure: by then the vehicle has left anyway",
    );
  }
  return early;
}

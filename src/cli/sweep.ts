import { WattslotError } from "../domain/errors.ts";
import { type Fields, isFields, type Value } from "./document.ts";
import { Mistakes } from "./mistakes.ts";
import type { ScenarioFile } from "./scenario.ts";

/** Names by which the entries of lists are found. */
const IDS = ["circuitId", "stationId", "name", "circuit_id", "station_id"];
const FACTORS: Readonly<Record<string, number>> = {
  "": 1,
  W: 1,
  Wh: 1,
  k: 1e3,
  kW: 1e3,
  kWh: 1e3,
  M: 1e6,
  MW: 1e6,
  MWh: 1e6,
};
const NUMBER = String.raw`(-?\d+(?:\.\d+)?)\s*([kM]?(?:Wh?)?)`;
const RANGE = new RegExp(String.raw`^${NUMBER}\s*\.\.\s*${NUMBER}\s+step\s+${NUMBER}$`);
const MOST_VALUES = 200;

/** A parameter, by its path in the scenario's file, and the values that it is to have. */
export interface Sweep {
  parameter: string;
  values: number[];
}

/** Reads `PATH=100..500 step 50`, `PATH: 1, 2, 3` or a scenario's sweep. Throws INVALID_ARGUMENT. */
function readSweep(parameter: string, values: Value): Sweep {
  if (Array.isArray(values) && values.length > 0 && values.every((one) => typeof one === "number"))
    return { parameter, values: values as number[] };
  const text = String(values).trim();
  const read = rangeOf(text) ?? text.split(",").map((one) => quantity(one));
  if (read.length > 0 && read.length <= MOST_VALUES && read.every(Number.isFinite))
    return { parameter, values: read };
  throw new WattslotError(
    "INVALID_ARGUMENT",
    `${parameter}: ${JSON.stringify(text)} are no values: write 100..500 step 50, or 100, 200, 400, at most ${MOST_VALUES}`,
  );
}

/** The sweeps of a scenario. Throws INVALID_ARGUMENT with every mistake by its line. */
export function sweepsOf({ document, value }: ScenarioFile): Sweep[] {
  const mistakes = new Mistakes();
  const sweeps = Object.entries((value.sweep ?? {}) as Fields).flatMap(([parameter, values]) => {
    try {
      const sweep = readSweep(parameter, values);
      withValue(value, parameter, sweep.values[0]);
      return [sweep];
    } catch (error) {
      const line = document.lineOf(["sweep", parameter]);
      mistakes.add(document.file, line, `sweep.${(error as WattslotError).message}`);
      return [];
    }
  });
  mistakes.throwIfAny();
  return sweeps;
}

/** A sweep as on the command line: `PATH=VALUES`. */
export function parseSweep(text: string): Sweep {
  const [, parameter, values] = /^\s*([^=:]+?)\s*[=:](.*)$/s.exec(text) ?? [];
  if (parameter === undefined)
    throw new WattslotError(
      "INVALID_ARGUMENT",
      `${JSON.stringify(text)} is no sweep: write site.circuits[grid].maxPowerW=100kW..500kW step 50kW`,
    );
  return readSweep(parameter, values);
}

function rangeOf(text: string): number[] | undefined {
  const parts = RANGE.exec(text);
  if (parts === null) return undefined;
  const [from, to, step] = [1, 3, 5].map((n) => Number(parts[n]) * FACTORS[parts[n + 1]]);
  const count = Math.floor((to - from) / step + 1e-9) + 1;
  if (!(step > 0 && count >= 1 && count <= MOST_VALUES)) return [];
  // Not added up, so that nothing adds up in the last digits.
  return Array.from({ length: count }, (_, n) => Number((from + n * step).toPrecision(12)));
}

/** A number with a unit's prefix: 250kW is 250000. NaN where it is none. */
export function quantity(text: string): number {
  const [, number, unit] = new RegExp(`^${NUMBER}$`).exec(text.trim()) ?? [];
  return number === undefined ? Number.NaN : Number(number) * FACTORS[unit];
}

/** The unit at the end of a parameter's name; empty where there is none. */
export function unitOf(parameter: string): string {
  const [, unit] = /(Wh|W|A|V|Percent|Hours|Minutes|PerKwh|PerKw)$/.exec(parameter) ?? [];
  const words: Record<string, string> = {
    Percent: "%",
    Hours: "h",
    Minutes: "min",
    PerKwh: "/kWh",
    PerKw: "/kW",
  };
  return unit === undefined ? "" : (words[unit] ?? unit);
}

/**
 * A copy of a scenario in which a parameter has another value; entries of lists are found by index or by id:
 * `site.circuits[grid].maxPowerW`. A field that is not there is added to what holds it. Throws INVALID_ARGUMENT where
 * there is nothing to hold it.
 */
export function withValue(scenario: Fields, parameter: string, value: number): Fields {
  const copy = structuredClone(scenario);
  const keys = [...parameter.matchAll(/[^.[\]]+/g)].map(([key]) => key);
  const last = keys.pop();
  let at: Value | undefined = copy;
  const walked: string[] = [];
  for (const key of keys) {
    walked.push(key);
    const holder: Value | undefined = at;
    if (Array.isArray(holder)) {
      const found: Value | undefined = holder.find(
        (one: Value) => isFields(one) && IDS.some((id) => one[id] === key),
      );
      at = found ?? (/^\d+$/.test(key) ? holder[Number(key)] : undefined);
    } else at = isFields(holder) && Object.hasOwn(holder, key) ? holder[key] : undefined;
    if (at === undefined) throw missing(parameter, walked, holder);
  }
  if (last === undefined || !isFields(at)) throw missing(parameter, walked, at);
  at[last] = value;
  return copy;
}

function missing(parameter: string, walked: string[], holder: Value | undefined): WattslotError {
  const there = Array.isArray(holder)
    ? holder.map((one, n) =>
        isFields(one) ? (IDS.map((id) => one[id]).find((id) => id !== undefined) ?? n) : n,
      )
    : Object.keys(isFields(holder) ? holder : {});
  return new WattslotError(
    "INVALID_ARGUMENT",
    `${parameter}: the scenario has no ${walked.join(".") || "such parameter"}${there.length > 0 ? `; there are ${there.slice(0, 20).join(", ")}` : ""}`,
  );
}

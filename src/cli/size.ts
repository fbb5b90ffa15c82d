import { resolve } from "node:path";
import { chargingRange } from "../domain/charging.ts";
import { WattslotError } from "../domain/errors.ts";
import type { Measures } from "../planner/measures.ts";
import type { Need } from "../planner/need.ts";
import { areOverloaded, type StrategyResult } from "../planner/result.ts";
import { type Job, Runs } from "../planner/runs.ts";
import type { Scenario } from "../planner/scenario.ts";
import { findStrategy } from "../planner/strategies.ts";
import { percent } from "./comparison.ts";
import { type Fields, isFields, type Value } from "./document.ts";
import { saveMemory } from "./memory.ts";
import { readScenario, readScenarioFile, type ScenarioFile } from "./scenario.ts";
import { findSmallest } from "./search.ts";
import { progress } from "./simulate.ts";
import { quantity, unitOf, withValue } from "./sweep.ts";
import { layOut, plain } from "./table.ts";

export interface SizeOptions {
  target: string;
  vary?: string;
  to?: string;
  step?: string;
  strategy: string;
  json: boolean;
  /** Runs go on to their end where the target is out of reach. */
  fullCurve: boolean;
  threads?: number;
}

/** What a size must bring. */
interface Target {
  text: string;
  /** The measure that it is about, and that the curve shows. */
  title: string;
  measure: (measures: Measures) => number;
  isMet: (measures: Measures) => boolean;
  /** Out of reach, the target is not met. */
  need: Need;
  /** Whether a larger size raises the value. */
  isRising: boolean;
}

/** A size that was tried. */
interface Point {
  value: number;
  /** The base load alone passes a limit: the connection is too small, whatever the vehicles get. */
  isOverloaded: boolean;
  /** Null where the run was ended, as the target was out of reach. */
  measures: Measures | null;
}

/** What `wattslot size` found. */
export interface SizeResult {
  parameter: string;
  unit: string;
  target: string;
  strategy: string;
  /** The smallest that serves the target; null where none up to the largest tried does. */
  smallest: number | null;
  isMonotone: boolean;
  /** By value. */
  curve: Point[];
}

/** Even parts of the range that are tried first: they show the curve, and whether it only rises. */
const COARSE = 8;
/** By how much a larger size may do worse before the curve counts as not monotone, of the measure's size. */
const NOISE = 5e-4;
const MOST_DOUBLINGS = 8;

/** Strategy that takes no time, and whose smallest size is near that of others, as it delivers early what it can. */
const GUIDE = "earliest-deadline";

/**
 * Finds the smallest value of a parameter with which a scenario's target is met and no limit is passed, by bisection,
 * and prints the curve. Throws INVALID_ARGUMENT on bad input.
 */
export async function sizeScenario(file: string, options: SizeOptions): Promise<void> {
  saveMemory();
  const scenarioFile = await readScenarioFile(file);
  const target = readTarget(options.target);
  const { scenario, notes } = await readScenario(scenarioFile);
  const parameter = parameterOf(scenarioFile, options.vary);
  const strategy = /\.[cm]?js$/.test(options.strategy) ? resolve(options.strategy) : options.strategy;
  await findStrategy(strategy);
  for (const note of notes) process.stderr.write(`${note}\n`);

  const unit = unitOf(parameter);
  const step =
    options.step === undefined ? (/^Wh?$/.test(unit) ? 1000 : 1) : positive("--step", options.step);
  // A connection of nothing is one; a battery or a number of chargers is more than nothing.
  const least = parameter.endsWith("maxPowerW") ? 0 : 1;
  const largest =
    options.to === undefined
      ? largestOf(scenarioFile.value, parameter, scenario)
      : positive("--to", options.to);
  const mayDouble = options.to === undefined && !isGridLimit(scenarioFile, parameter);
  const runs = new Runs(options);
  /** Sizes are whole numbers of steps here. */
  const sizer = (under: string, points: Map<number, Point>) => async (sizes: readonly number[]) => {
    // Begun from the end: the smallest, where power is scarce, take longest.
    const fresh = sizes.filter((size) => !points.has(size)).sort((a, b) => b - a);
    const jobs: Job[] = [];
    for (const size of fresh) {
      const value = withValue(scenarioFile.value, parameter, sizeValue(size, step));
      const varied = await readScenario({ ...scenarioFile, value });
      jobs.push({
        scenario: varied.scenario,
        strategy: under,
        need: options.fullCurve ? undefined : target.need,
      });
    }
    const tried = fresh.map((size) => sizeText(sizeValue(size, step), unit)).join(", ");
    const results = await runs.run(jobs, progress(`${plain(under.split("/").at(-1) ?? "")} with ${tried}`));
    results.forEach((result, n) => {
      points.set(fresh[n], pointOf(sizeValue(fresh[n], step), result));
    });
    return sizes.map((size) => isEnough(target, points.get(size)));
  };
  const points = new Map<number, Point>();
  const areEnough = sizer(strategy, points);
  let smallest: number | undefined;
  try {
    let high = Math.max(1, Math.ceil(largest / step));
    for (let n = 0; mayDouble && n < MOST_DOUBLINGS && !(await areEnough([high]))[0]; n++) high *= 2;
    const coarse = Array.from({ length: COARSE + 1 }, (_, n) =>
      Math.max(least, Math.round((n * high) / COARSE)),
    );
    const guess =
      target.isRising && strategy !== GUIDE
        ? await findSmallest([least, high], sizer(GUIDE, new Map()), { atOnce: runs.threads })
        : undefined;
    smallest = await findSmallest(coarse, areEnough, { atOnce: runs.threads, guess });
  } finally {
    await runs.close();
  }
  const curve = [...points.values()].sort((a, b) => a.value - b.value);
  const isMonotone = curve.every((point, n) => n === 0 || !isWorse(target, point, curve[n - 1]));
  const result: SizeResult = {
    parameter,
    unit,
    target: target.text,
    strategy,
    smallest: smallest === undefined ? null : sizeValue(smallest, step),
    isMonotone,
    curve,
  };
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : formatSize(result, target));
}

/** Not off in the last digits, as what is added up is. */
function sizeValue(size: number, step: number): number {
  return Number((size * step).toPrecision(12));
}

function pointOf(value: number, { measures, circuits, endedMs }: StrategyResult): Point {
  return {
    value,
    isOverloaded: areOverloaded(circuits),
    measures: endedMs === undefined ? measures : null,
  };
}

function isEnough({ isMet }: Target, point: Point | undefined): boolean {
  if (point === undefined || point.measures === null) return false;
  return isMet(point.measures) && point.measures.violations === 0 && !point.isOverloaded;
}

function isWorse(target: Target, larger: Point, smaller: Point): boolean {
  // Where the target is out of reach nothing else is known.
  if (larger.measures === null) return isEnough(target, smaller);
  if (smaller.measures === null) return false;
  const { measure, isRising } = target;
  const [more, less] = [measure(larger.measures), measure(smaller.measures)];
  return (isRising ? less - more : more - less) > NOISE * Math.max(Math.abs(more), Math.abs(less));
}

function formatSize(
  { parameter, unit, strategy, smallest, isMonotone, curve }: SizeResult,
  target: Target,
): string {
  const sizes = new Map(curve.map(({ value }) => [value, sizeText(value, unit)]));
  const cells = (cell: (point: Point) => string) => curve.map(cell);
  const measured = (cell: (measures: Measures) => string) =>
    cells(({ measures }) => (measures === null ? "-" : cell(measures)));
  const [head, ...rows] = layOut([
    { title: "size", align: "right", cells: cells(({ value }) => sizes.get(value) ?? "") },
    {
      title: "delivered",
      align: "right",
      cells: measured((measures) => `${percent(measures).toFixed(2)}%`),
    },
    {
      title: "served",
      align: "right",
      cells: measured(({ served, visits }) => `${served}/${visits}`),
    },
    { title: "peak kW", align: "right", cells: measured(({ peakW }) => (peakW / 1000).toFixed(1)) },
    { title: "cost", align: "right", cells: measured(({ totalCost }) => totalCost.toFixed(2)) },
    { title: "violations", align: "right", cells: measured(({ violations }) => `${violations}`) },
    {
      title: "",
      align: "left",
      cells: cells(({ value, isOverloaded, measures }) => {
        if (value === smallest) return "<- smallest";
        if (isOverloaded) return "base load over a limit";
        return measures === null ? "out of reach" : "";
      }),
    },
  ]);
  const answer =
    smallest === null
      ? `No size up to ${sizeText(curve.at(-1)?.value ?? 0, unit)} serves the target, ${target.text}.`
      : `Smallest that serves the target, ${target.text}: ${sizeText(smallest, unit)}.`;
  const doubt = isMonotone
    ? []
    : [`The curve of ${target.title} is not monotone: a smaller size that was not tried may serve it, too.`];
  return `${plain(parameter)}, ${plain(strategy.split("/").at(-1) ?? "")}\n${[head, ...rows, "", answer, ...doubt].join("\n")}\n`;
}

function sizeText(value: number, unit: string): string {
  return /^Wh?$/.test(unit) ? `${Number((value / 1000).toFixed(3))} k${unit}` : `${value} ${unit}`.trimEnd();
}

/** Reads `99%` (of the energy), `served=95%`, `peak=120kW` or `cost=900`. */
function readTarget(text: string): Target {
  const [, name = "delivered", amount] = /^(?:(\w+)\s*[=:])?\s*(.+)$/.exec(text.trim()) ?? [];
  const share = /^(\d+(?:\.\d+)?)\s*%$/.exec(amount ?? "");
  const number = share === null ? quantity(amount ?? "") : Number(share[1]);
  const ofShare = (title: string, need: Need, measure: Target["measure"]): Target => ({
    text,
    need,
    title,
    measure,
    isMet: (measures) => measure(measures) >= number - 1e-9,
    isRising: true,
  });
  const ofAmount = (title: string, measure: Target["measure"]): Target => ({
    text,
    need: {},
    title,
    measure,
    isMet: (measures) => measure(measures) <= number + 1e-9,
    isRising: false,
  });
  if (share !== null && number <= 100) {
    if (name === "delivered") return ofShare("energy delivered", { deliveredPercent: number }, percent);
    if (name === "served")
      return ofShare("visits served", { servedPercent: number }, ({ served, visits }) =>
        visits === 0 ? 100 : (100 * served) / visits,
      );
  }
  if (share === null && number >= 0) {
    if (name === "peak") return ofAmount("the peak", ({ peakW }) => peakW);
    if (name === "cost") return ofAmount("the cost", ({ totalCost }) => totalCost);
  }
  throw new WattslotError(
    "INVALID_ARGUMENT",
    `--target: ${JSON.stringify(text)} is no target: write 99% (of the energy), served=95%, peak=120kW or cost=900`,
  );
}

function positive(option: string, text: string): number {
  const number = quantity(text);
  if (number > 0) return number;
  throw new WattslotError(
    "INVALID_ARGUMENT",
    `${option}: ${JSON.stringify(text)} is no number above 0 such as 50kW`,
  );
}

function circuitsOf({ value }: ScenarioFile): Fields[] {
  return ((value.site as Fields).circuits as Fields[]) ?? [];
}

/** The grid connection's limit, unless another parameter is asked for; `evses` is the number of chargers. */
function parameterOf(file: ScenarioFile, vary: string | undefined): string {
  if (vary === "evses") {
    const evses = (file.value.site as Fields).evses as Fields[];
    const counted = evses.flatMap(({ count }, n) => (count === undefined ? [] : [n]));
    if (counted.length === 1) return `site.evses[${counted[0]}].count`;
    throw new WattslotError(
      "INVALID_ARGUMENT",
      "--vary evses: needs one entry of site.evses with a count; name one as site.evses[0].count",
    );
  }
  if (vary !== undefined) return vary;
  const [grid] = circuitsOf(file).filter((one) => !one.parentCircuitId && !one.parent_circuit_id);
  return `site.circuits[${grid?.circuitId ?? grid?.circuit_id}].maxPowerW`;
}

function isGridLimit(file: ScenarioFile, parameter: string): boolean {
  return parameter === parameterOf(file, undefined);
}

/** A value that is enough if any is: of a circuit all chargers and the base load, of others twice what there is. */
function largestOf(value: Fields, parameter: string, { base, visits }: Scenario): number {
  const { site } = base;
  if (parameter.startsWith("site.circuits")) {
    const chargersW = site.evses.reduce((sumW, { maxPowerW }) => sumW + maxPowerW, 0);
    const vehiclesW = visits.reduce(
      (most, { said }) => Math.max(most, chargingRange(site, said).maxPowerW),
      0,
    );
    const loadW = site.circuits.reduce(
      (sumW, { baseLoadW }) => sumW + (baseLoadW?.values.reduce((most, w) => Math.max(most, w), 0) ?? 0),
      0,
    );
    return Math.min(chargersW, vehiclesW * site.evses.length) + loadW + (site.battery?.maxChargePowerW ?? 0);
  }
  const keys = [...parameter.matchAll(/[^.[\]]+/g)].map(([key]) => key);
  const found = keys.reduce<Value | undefined>((at, key) => {
    if (Array.isArray(at)) return at[Number(key)];
    return isFields(at) ? at[key] : undefined;
  }, value);
  return typeof found === "number" && found > 0 ? 2 * found : 1000;
}

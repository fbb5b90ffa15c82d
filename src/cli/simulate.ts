import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { WattslotError } from "../domain/errors.ts";
import { type SimulationResult, type SweepResult, scenarioResult } from "../planner/result.ts";
import { type Job, Runs } from "../planner/runs.ts";
import { findStrategy, STRATEGY_NAMES } from "../planner/strategies.ts";
import { formatResult } from "./comparison.ts";
import { saveMemory } from "./memory.ts";
import { slotsCsv, visitsCsv } from "./rows.ts";
import { type ReadScenario, readScenario, readScenarioFile } from "./scenario.ts";
import { parseSweep, type Sweep, sweepsOf, unitOf, withValue } from "./sweep.ts";

export interface SimulateOptions {
  json: boolean;
  /** Folder for what came of every visit and slot. */
  csv?: string;
  /** A page to write the result to. */
  report?: string;
  /** Folder for the page's pictures. */
  svg?: string;
  strategy: string[];
  sweep: string[];
  threads?: number;
}

/** Runs a scenario under its strategies and prints what came of it. Throws INVALID_ARGUMENT on bad input. */
export async function simulateScenario(file: string, options: SimulateOptions): Promise<void> {
  saveMemory();
  const scenarioFile = await readScenarioFile(file);
  const read = await readScenario(scenarioFile);
  const strategies = await strategiesOf(read, options.strategy);
  const sweeps = [...sweepsOf(scenarioFile), ...options.sweep.map(parseSweep)];
  const swept: { sweep: Sweep; scenarios: ReadScenario[] }[] = [];
  for (const sweep of sweeps) {
    const scenarios: ReadScenario[] = [];
    for (const value of sweep.values)
      scenarios.push(
        await readScenario({ ...scenarioFile, value: withValue(scenarioFile.value, sweep.parameter, value) }),
      );
    swept.push({ sweep, scenarios });
  }
  for (const note of read.notes) process.stderr.write(`${note}\n`);

  const under = ({ scenario }: ReadScenario): Job[] => strategies.map((strategy) => ({ scenario, strategy }));
  const jobs = [...swept.flatMap(({ scenarios }) => scenarios.flatMap(under)), ...under(read)];
  const runs = new Runs(options);
  const results = await runs.run(jobs, progress()).finally(() => runs.close());
  const next = () => results.splice(0, strategies.length);
  const sweep: SweepResult[] = swept.map(({ sweep: { parameter, values } }) => {
    const points = values.map(next);
    return {
      parameter,
      unit: unitOf(parameter),
      values,
      strategies: points[0].map(({ name }, s) => ({ name, points: points.map((one) => one[s].measures) })),
    };
  });
  const result: SimulationResult = {
    scenario: scenarioResult(read.scenario),
    source: scenarioFile.document.text,
    strategies: next(),
    ...(sweep.length > 0 ? { sweep } : {}),
  };
  const { csv, report, svg } = options;
  if (csv !== undefined)
    await writeFiles(csv, [
      ["visits.csv", visitsCsv(result)],
      ["slots.csv", slotsCsv(result)],
    ]);
  if (report !== undefined || svg !== undefined) {
    // Takes most of a second to load, which others need not wait for.
    const { chartSvgs, reportHtml } = await import("../planner/report/page.ts");
    if (report !== undefined) await writeFiles(dirname(report), [[basename(report), reportHtml(result)]]);
    if (svg !== undefined) await writeFiles(svg, chartSvgs(result));
  }
  process.stdout.write(
    options.json
      ? `${JSON.stringify(result)}\n`
      : formatResult(result, {
          colour: process.stdout.isTTY === true && !process.env.NO_COLOR,
        }),
  );
}

/** The strategies asked for, else the scenario's, else all; each is found before anything runs. */
async function strategiesOf({ strategies }: ReadScenario, asked: readonly string[]): Promise<string[]> {
  const chosen =
    asked.length > 0
      ? asked.map((one) => (/\.[cm]?js$/.test(one) ? resolve(one) : one))
      : strategies.length > 0
        ? strategies
        : [...STRATEGY_NAMES];
  for (const one of chosen) await findStrategy(one);
  return chosen;
}

/** Shows on a terminal how far the runs are, and of what. */
export function progress(what = ""): ((share: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  let shown = -1;
  return (share) => {
    const percent = Math.floor(100 * share);
    if (percent === shown) return;
    shown = percent;
    const line = `${String(percent).padStart(3)} %${what && ` of ${what}`}`;
    process.stderr.write(percent < 100 ? `\r${line}` : `\r${" ".repeat(line.length)}\r`);
  };
}

async function writeFiles(folder: string, files: Iterable<[name: string, text: string]>): Promise<void> {
  const written: string[] = [];
  try {
    await mkdir(folder, { recursive: true });
    for (const [name, text] of files) {
      const file = join(folder, name);
      await writeFile(file, text);
      written.push(file);
    }
  } catch (cause) {
    const { code, path = folder } = cause as NodeJS.ErrnoException;
    throw new WattslotError("INVALID_ARGUMENT", `${path}: cannot be written (${code})`, { cause });
  }
  process.stderr.write(`wattslot: wrote ${written.join(", ")}\n`);
}

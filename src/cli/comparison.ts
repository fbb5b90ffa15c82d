import { styleText } from "node:util";
import { DateTime } from "luxon";
import type { Measures } from "../planner/measures.ts";
import type { SimulationResult, SweepResult } from "../planner/result.ts";
import { type Column, layOut, plain } from "./table.ts";

/** Shares of the energy, as percent, that count as the same. */
const SAME_PERCENT = 0.1;

/** A result as text for people: a line for each strategy, then a table for each swept parameter. */
export function formatResult(
  { scenario, strategies, sweep = [] }: SimulationResult,
  { colour }: { colour: boolean },
): string {
  const bold = (text: string) => (colour ? styleText("bold", text, { validateStream: false }) : text);
  const { currency, timeZone, startMs, endMs } = scenario;
  const local = (atMs: number) => DateTime.fromMillis(atMs, { zone: timeZone }).toFormat("yyyy-MM-dd HH:mm");
  const [{ measures }] = strategies;
  const turnedAway = measures.turnedAway > 0 ? `, ${measures.turnedAway} of them found no charger free` : "";
  const [head, ...rows] = layOut(
    columnsOf(
      strategies.map(({ name }) => name),
      strategies.map((one) => one.measures),
      currency !== "",
    ),
  );
  const faults = strategies.reduce((sum, one) => sum + one.measures.faults, 0);
  const sections = [
    [
      bold(`${plain(scenario.name)}: ${local(startMs)} to ${local(endMs)} ${timeZone}`),
      `${measures.visits} visits that want ${kilo(measures.requestedWh)} kWh${turnedAway}`,
    ],
    [
      bold(head),
      ...rows,
      `Energy delivered of that wanted, ${currency === "" ? "" : `cost in ${currency} of the whole site, base load included, `}peak of the import in kW.`,
    ],
    ...(faults > 0 ? [[`${faults} plans failed their check and were replaced before they were sent`]] : []),
    ...sweep.map((one) => sweepLines(one, currency !== "", bold)),
  ];
  return sections.map((lines) => `${lines.join("\n")}\n`).join("\n");
}

function columnsOf(names: readonly string[], all: readonly Measures[], hasCost: boolean): Column[] {
  const right = (title: string, cell: (measures: Measures) => string): Column => ({
    title,
    align: "right",
    cells: all.map(cell),
  });
  const best = all[names.indexOf("hindsight")];
  return [
    { title: "strategy", align: "left", cells: names.map((name) => plain(nameOf(name))) },
    right("delivered", (one) => `${percent(one).toFixed(2)}%`),
    right("served", (one) => `${one.served}`),
    ...(hasCost
      ? [
          right("energy", energyCost),
          right("demand", ({ demandCost }) => demandCost.toFixed(2)),
          right("total", ({ totalCost }) => totalCost.toFixed(2)),
        ]
      : []),
    right("peak", ({ peakW }) => kilo(peakW)),
    right("violations", ({ violations }) => `${violations}`),
    right("worst 10%", ({ worstDecile }) => `${(100 * worstDecile).toFixed(0)}%`),
    right("changes", ({ changesPerVisit }) => changesPerVisit.toFixed(1)),
    right("ms p50/p99", ({ decisionMs: { p50, p99 } }) => `${p50.toFixed(1)}/${p99.toFixed(0)}`),
    ...(best === undefined ? [] : [right("to hindsight", (one) => distance(one, best))]),
  ];
}

/** What is paid for energy, less what export brings, with what drivers get and what the battery ends short of. */
function energyCost({ totalCost, demandCost }: Measures): string {
  return (totalCost - demandCost).toFixed(2);
}

/**
 * How far a run is from one that knows the future: in energy where it delivers other energy, else in what charging
 * costs beyond what the site costs without it.
 */
function distance(one: Measures, best: Measures): string {
  const points = percent(one) - percent(best);
  if (Math.abs(points) > SAME_PERCENT) return `${signed(points.toFixed(1))} pp`;
  const bestCost = best.totalCost - best.baseCost;
  if (bestCost <= 0) return `${signed((one.totalCost - best.totalCost).toFixed(2))}`;
  return `${signed(((100 * (one.totalCost - best.totalCost)) / bestCost).toFixed(1))}%`;
}

function signed(text: string): string {
  return Number(text) === 0 ? text.replace("-", "") : text.startsWith("-") ? text : `+${text}`;
}

function sweepLines(
  { parameter, unit, values, strategies }: SweepResult,
  hasCost: boolean,
  bold: (text: string) => string,
): string[] {
  const columns: Column[] = [
    { title: unit || "value", align: "right", cells: values.map((value) => `${value}`) },
    ...strategies.flatMap(({ name, points }) => [
      {
        title: plain(nameOf(name)),
        align: "right" as const,
        cells: points.map(
          (one) => `${percent(one).toFixed(2)}%${hasCost ? ` ${one.totalCost.toFixed(2)}` : ""}`,
        ),
      },
    ]),
  ];
  const [head, ...rows] = layOut(columns);
  return [bold(plain(parameter)), bold(head), ...rows];
}

/** A strategy from a file is called as it calls itself, not by its path. */
function nameOf(name: string): string {
  return name.split("/").at(-1) ?? name;
}

/** Share of the energy that was delivered, in percent. */
export function percent({ deliveredWh, requestedWh }: Measures): number {
  return requestedWh === 0 ? 100 : (100 * deliveredWh) / requestedWh;
}

function kilo(value: number): string {
  return (value / 1000).toFixed(1);
}

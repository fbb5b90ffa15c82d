import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Measures } from "../measures.ts";
import type { SimulationResult } from "../result.ts";
import {
  arrivalDays,
  type Chart,
  chargingCost,
  clockOf,
  escapeHtml,
  figure,
  kilo,
  percentOf,
  referenceOf,
  type View,
} from "./chart.ts";
import { chartsOf, firstView } from "./charts.ts";
import { init } from "./echarts.ts";
import { LIGHT, STYLE } from "./style.ts";

/** Pictures that need no script are as wide as the page at most. */
const WIDTH_PX = 1160;

/** Vehicles a page carries; of more than that, those that come first. */
const MOST_VISITS = 3000;

/**
 * One page that shows a result: it needs no network and runs no script but its own, and can be read without scripts.
 * Same result, same page.
 */
export function reportHtml(whole: SimulationResult): string {
  const result = lighten(whole);
  const view = firstView(result, WIDTH_PX);
  const charts = chartsOf(result);
  const script = readFileSync(createRequire(import.meta.url).resolve("#report-client"), "utf8");
  const scriptHash = createHash("sha256").update(script).digest("base64");
  const policy = `default-src 'none'; script-src 'sha256-${scriptHash}'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'`;
  const { scenario } = result;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(scenario.name)}: charging strategies compared</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(scenario.name)}</h1>
<p class="muted">${escapeHtml(spanOf(whole))}</p>
</header>
<main>
${cards(view)}
${strategyTable(view)}
<div class="controls">
${select(
  "strategy",
  "Charts show",
  result.strategies.map(({ title }) => title),
  view.strategy,
)}
${select(
  "day",
  "Vehicles of",
  arrivalDays(result).map(({ label, visits }) => `${label} (${visits.length})`),
  view.day,
)}
<button type="button" id="reset">Whole span</button>
</div>
${charts.map((chart) => chartFigure(chart, view)).join("\n")}
<section class="panel"><h2>Assumptions</h2><details><summary>The scenario as it was read</summary><pre class="scroll" tabindex="0">${escapeHtml(result.source)}</pre></details></section>
</main>
<footer>${footer(whole, result)}</footer>
<script type="application/json" id="result">${JSON.stringify(result).replace(/</g, "\\u003c")}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** Every chart of a result as a picture on its own, by the name of its file. */
export function chartSvgs(whole: SimulationResult): Map<string, string> {
  const result = lighten(whole);
  const view = firstView(result, WIDTH_PX);
  return new Map(
    chartsOf(result).map((chart) => [
      `${chart.id}.svg`,
      draw(chart, view).replace(/var\(--(\w+)\)/g, (_, name: keyof typeof LIGHT) => LIGHT[name]),
    ]),
  );
}

function draw(chart: Chart, view: View): string {
  const canvas = init(null, null, {
    renderer: "svg",
    ssr: true,
    width: view.widthPx,
    height: chart.heightPx(view),
  });
  try {
    canvas.setOption({ backgroundColor: "var(--paper)", ...chart.option(view), dataZoom: [] });
    // ECharts counts the pictures it has drawn in their ids: the same picture has to be the same text.
    return canvas.renderToSVGString().replace(/\bzr\d+-/g, `${chart.id}-`);
  } finally {
    canvas.dispose();
  }
}

/** Numbers with no more digits than a chart shows, and no more vehicles than a page can carry. */
function lighten(result: SimulationResult): SimulationResult {
  const { scenario, strategies } = result;
  const round = (values: number[]) => values.map(Math.round);
  const roundPrice = (values: number[]) => values.map((price) => Math.round(price * 1e5) / 1e5);
  const roundLimit = (values: (number | null)[]) => values.map((w) => (w === null ? null : Math.round(w)));
  return {
    ...result,
    scenario: {
      ...scenario,
      pricePerKwh: roundPrice(scenario.pricePerKwh),
      baseLoadW: round(scenario.baseLoadW),
      pvW: round(scenario.pvW),
      limitW: roundLimit(scenario.limitW),
      visits: scenario.visits.slice(0, MOST_VISITS),
    },
    strategies: strategies.map((one) => ({
      ...one,
      powerW: round(one.powerW),
      batteryW: round(one.batteryW),
      visits: one.visits
        .slice(0, MOST_VISITS)
        .map((visit) => ({ ...visit, slotWh: round([...visit.slotWh]) })),
      circuits: one.circuits.map(({ circuitId, powerW, limitW, shadowPricePerKwh }) => ({
        circuitId,
        powerW: round(powerW),
        limitW: roundLimit(limitW),
        shadowPricePerKwh: roundPrice(shadowPricePerKwh),
      })),
    })),
  };
}

function spanOf({ scenario, strategies }: SimulationResult): string {
  const clock = clockOf(scenario);
  const { visits, requestedWh } = strategies[0].measures;
  return (
    `${clock.full(scenario.startMs)} to ${clock.full(scenario.endMs)} ${scenario.timeZone}: ` +
    `${visits} visits that need ${kilo(requestedWh, 0)} kWh, planned in slots of ${scenario.slotMs / 60_000} minutes`
  );
}

/** The strategy shown against uncontrolled charging, in a few figures. */
function cards(view: View): string {
  const { scenario, strategies } = view.result;
  const { title, measures } = strategies[view.strategy];
  const reference = referenceOf(view);
  const best = strategies.find(({ name }) => name === "hindsight")?.measures;
  const share = ({ deliveredWh, requestedWh }: Measures) =>
    `${figure(percentOf(deliveredWh, requestedWh))} %`;
  const cost = (one: Measures) => `${figure(chargingCost(one), 0)} ${scenario.currency}`;
  const card = (value: (one: Measures) => string, name: string, better = (_: Measures) => "") => {
    const note = reference && `uncontrolled: ${value(reference.measures)}${better(reference.measures)}`;
    return `<div class="card"><b>${escapeHtml(value(measures))}</b>${escapeHtml(name)}<span>${escapeHtml(note ?? "")}</span></div>`;
  };
  const all = [
    card(share, "of the energy needed is delivered"),
    card(({ served, visits }) => `${served} of ${visits}`, "vehicles leave with all they need"),
    ...(scenario.currency === ""
      ? []
      : [
          card(
            cost,
            best === undefined || best === measures
              ? "is what charging costs"
              : `is what charging costs; ${cost(best)} with perfect foresight`,
            (one) => change(chargingCost(measures), chargingCost(one)),
          ),
        ]),
    card(
      ({ peakW }) => `${kilo(peakW)} kW`,
      "is the highest import of the site",
      ({ peakW }) => change(measures.peakW, peakW),
    ),
    card(({ violations }) => `${violations}`, "times that chargers were allowed more than a limit"),
  ];
  const against = reference === undefined ? "" : " against uncontrolled charging";
  return `<section><h2>${escapeHtml(title)}${against}</h2><div class="cards">${all.join("")}</div></section>`;
}

function change(value: number, before: number): string {
  if (before <= 0) return "";
  const percent = (100 * (value - before)) / before;
  return ` (${percent > 0 ? "+" : percent < 0 ? "−" : "±"}${figure(Math.abs(percent), 0)} %)`;
}

/** All measures, a column for each strategy. */
function strategyTable({ result, strategy }: View): string {
  const { scenario, strategies } = result;
  const unit = scenario.currency;
  const has = (measure: (one: Measures) => number) =>
    strategies.some(({ measures }) => measure(measures) > 0);
  const rows: [name: string, cell: (one: Measures) => string, isShown?: boolean][] = [
    ["Energy delivered, kWh", ({ deliveredWh }) => kilo(deliveredWh)],
    ["of what vehicles need", (one) => `${figure(percentOf(one.deliveredWh, one.requestedWh), 2)} %`],
    ["Vehicles fully served", ({ served, visits }) => `${served} of ${visits}`],
    ["Share that nine of ten reach", ({ shares }) => `${figure(100 * shares.p10, 0)} %`],
    ["Mean of the worst tenth", ({ worstDecile }) => `${figure(100 * worstDecile, 0)} %`],
    ["Fairness (Jain's index)", ({ jain }) => figure(jain, 3)],
    [
      "Times allowed more than a limit",
      ({ violations }) => (violations > 0 ? `<b class="bad">${violations}</b>` : "0"),
    ],
    [`Cost of charging, ${unit}`, (one) => figure(chargingCost(one), 2), unit !== ""],
    [`Site: energy, ${unit}`, ({ energyCost }) => figure(energyCost, 2), unit !== ""],
    [`Site: demand charge, ${unit}`, ({ demandCost }) => figure(demandCost, 2), has((one) => one.demandCost)],
    [
      `Site: paid for export, ${unit}`,
      ({ exportRevenue }) => figure(-exportRevenue, 2),
      has((one) => one.exportRevenue),
    ],
    [
      `Drivers: paid for giving, ${unit}`,
      (one) => figure(one.dischargePayment, 2),
      has((one) => one.dischargePayment),
    ],
    [
      `Battery: brought back to its start, ${unit}`,
      ({ storageCost }) => figure(storageCost, 2),
      has((one) => Math.abs(one.storageCost)),
    ],
    [`Total, ${unit}`, ({ totalCost }) => figure(totalCost, 2), unit !== ""],
    ["Peak of the import, kW", ({ peakW }) => kilo(peakW)],
    ["Load factor", ({ loadFactor }) => figure(loadFactor, 2)],
    ["Import, kWh", ({ importWh }) => kilo(importWh)],
    ["Export, kWh", ({ exportWh }) => kilo(exportWh), has((one) => one.exportWh)],
    ["Carbon, kg", ({ carbonKg }) => figure(carbonKg, 0), has((one) => one.carbonKg)],
    ["Interruptions", ({ interruptions }) => figure(interruptions, 0)],
    ["New profiles a vehicle", ({ changesPerVisit }) => figure(changesPerVisit)],
    ["Decision, median and 99 % ms", ({ decisionMs: { p50, p99 } }) => `${figure(p50)} / ${figure(p99, 0)}`],
  ];
  const mark = (s: number) => (s === strategy ? ' class="shown"' : "");
  return `<section class="panel"><h2>Strategies</h2><div class="scroll all" tabindex="0" role="group" aria-label="Measures of all strategies"><table><thead><tr><th scope="col"></th>${strategies
    .map(({ title }, s) => `<th scope="col"${mark(s)}>${escapeHtml(title)}</th>`)
    .join("")}</tr></thead><tbody>${rows
    .filter(([, , isShown = true]) => isShown)
    .map(
      ([name, cell]) =>
        `<tr><th scope="row">${escapeHtml(name)}</th>${strategies
          .map(({ measures }, s) => `<td${mark(s)}>${cell(measures)}</td>`)
          .join("")}</tr>`,
    )
    .join("")}</tbody></table></div></section>`;
}

function select(id: string, label: string, names: readonly string[], chosen: number): string {
  if (names.length < 2) return "";
  return `<label>${label} <select id="${id}">${names
    .map((name, i) => `<option value="${i}"${i === chosen ? " selected" : ""}>${escapeHtml(name)}</option>`)
    .join("")}</select></label>`;
}

function chartFigure(chart: Chart, view: View): string {
  const summary = escapeHtml(chart.summary(view));
  const [head, ...rows] = chart.table(view);
  return `<figure id="${chart.id}"><h2>${escapeHtml(chart.title)}</h2><figcaption>${escapeHtml(chart.caption)}</figcaption>
<div class="chart" role="img" aria-label="${summary}">${draw(chart, view)}</div>
<p class="summary">${summary}</p>
<details><summary>Figures</summary><div class="scroll" tabindex="0"><table><thead><tr>${head
    .map((cell) => `<th scope="col">${escapeHtml(cell)}</th>`)
    .join("")}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`)
    .join("")}</tbody></table></div></details></figure>`;
}

function footer(whole: SimulationResult, shown: SimulationResult): string {
  const left = whole.scenario.visits.length - shown.scenario.visits.length;
  const cut =
    left > 0
      ? ` The first ${MOST_VISITS} vehicles are shown one by one; ${left} more count in all other figures.`
      : "";
  const { version } = createRequire(import.meta.url)("wattslot/package.json") as { version: string };
  return `Made by Wattslot ${version}. Powers are means of slots at the meter. The cost of charging is what the site pays more than without any vehicle and with an idle battery; totals are of the whole site.${cut}`;
}

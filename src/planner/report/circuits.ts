import type { CustomSeriesRenderItem, EChartsOption } from "echarts";
import type { ScenarioResult, StrategyResult } from "../result.ts";
import {
  type Chart,
  COLOURS,
  clockOf,
  escapeHtml,
  figure,
  idAxis,
  isNarrow,
  kilo,
  TOOLTIP,
  timeAxis,
  type View,
  zoom,
} from "./chart.ts";

/** Of time, in one picture; slots that fall into one cell count with their highest value. */
const MOST_CELLS = 240;
const MOST_CIRCUITS = 40;
const ROW_PX = 26;

/** From light to dark, so that they also differ without colour. */
const USE = [
  { upTo: 25, color: "#dbe9f6", label: "up to 25 %" },
  { upTo: 50, color: "#9ecae1", label: "50 %" },
  { upTo: 75, color: "#4f9bcb", label: "75 %" },
  { upTo: 95, color: "#1764ab", label: "95 %" },
  { upTo: Number.POSITIVE_INFINITY, color: "#d55e00", label: "full" },
];
const PRICE = [
  { upTo: 1e-6, color: "rgba(140,150,160,0.18)", label: "no bottleneck" },
  { upTo: 0.05, color: "#fde3b0", label: "up to 0.05" },
  { upTo: 0.2, color: "#e69f00", label: "0.20" },
  { upTo: 1, color: "#b25d00", label: "1.00" },
  { upTo: Number.POSITIVE_INFINITY, color: "#5c2a00", label: "more" },
];
const NO_LIMIT = "rgba(140,150,160,0.18)";

/** How full circuits are, and what one more kWh through them would be worth. */
export const CIRCUITS: Chart = {
  id: "circuits",
  title: "Circuits",
  caption:
    "Top: use of each circuit's limit, orange where it is full. Below: its shadow price, what one more kWh through it " +
    "at that time would be worth to the plan; where it is dark, a larger circuit pays.",
  heightPx: (view) => {
    const rows = circuitsOf(view.result.strategies[view.strategy]).length;
    return 2 * (rows * ROW_PX + legendHeightPx(view)) + 94;
  },
  option,
  summary: (view) => {
    const { result, strategy } = view;
    const one = result.strategies[strategy];
    const words = circuitsOf(one).map((circuit) => {
      const [fullest, bound] = worst(circuit, result.scenario);
      return fullest === undefined
        ? `${circuit.circuitId} has no limit`
        : `${circuit.circuitId} is at most ${figure(fullest, 0)} % used and binds ${figure(bound, 1)} h`;
    });
    return `${one.title}: ${words.join("; ")}.`;
  },
  table: ({ result, strategy }) => [
    ["Circuit", "Highest, kW", "Lowest limit, kW", "Highest use, %", "Binds, h", "Highest shadow price"],
    ...circuitsOf(result.strategies[strategy]).map((circuit) => {
      const [fullest, boundHours] = worst(circuit, result.scenario);
      const limits = circuit.limitW.filter((w) => w !== null);
      return [
        circuit.circuitId,
        kilo(Math.max(0, ...circuit.powerW)),
        limits.length === 0 ? "–" : kilo(Math.min(...limits)),
        fullest === undefined ? "–" : figure(fullest, 0),
        figure(boundHours, 1),
        figure(Math.max(0, ...circuit.shadowPricePerKwh), 4),
      ];
    }),
  ],
};

type Circuit = StrategyResult["circuits"][number];

function circuitsOf({ circuits }: StrategyResult): Circuit[] {
  return circuits.slice(0, MOST_CIRCUITS);
}

function usePercent({ powerW, limitW }: Circuit, slot: number): number | undefined {
  const limit = limitW[slot];
  if (limit === null) return undefined;
  return limit > 0 ? (100 * Math.max(0, powerW[slot])) / limit : powerW[slot] > 0 ? 100 : 0;
}

/** Highest use in percent, and the hours in which the circuit has a shadow price. */
function worst(circuit: Circuit, { slotMs }: ScenarioResult): [number | undefined, number] {
  const uses = circuit.powerW.flatMap((_, k) => usePercent(circuit, k) ?? []);
  const bound = circuit.shadowPricePerKwh.filter((price) => price > 1e-6).length;
  return [uses.length === 0 ? undefined : Math.max(...uses), (bound * slotMs) / 3_600_000];
}

/** A circuit's values over time as few cells as they allow: row, from, to, value, colour. */
function cellsOf(
  scenario: ScenarioResult,
  row: number,
  values: (number | undefined)[],
  scale: readonly { upTo: number; color: string }[],
): { value: [number, number, number]; shown: number | undefined; color: string }[] {
  const { toAxis } = clockOf(scenario);
  const size = Math.ceil(values.length / MOST_CELLS);
  const cells: { value: [number, number, number]; shown: number | undefined; color: string }[] = [];
  for (let from = 0; from < values.length; from += size) {
    const part = values.slice(from, from + size).filter((one) => one !== undefined);
    const shown = part.length === 0 ? undefined : Math.max(...part);
    const color =
      shown === undefined ? NO_LIMIT : (scale.find(({ upTo }) => shown <= upTo) ?? scale[0]).color;
    const toMs = toAxis(scenario.slotStartsMs[from + size] ?? scenario.endMs);
    const last = cells.at(-1);
    if (last !== undefined && last.color === color) {
      last.value[2] = toMs;
      last.shown = shown === undefined ? undefined : Math.max(shown, last.shown ?? shown);
    } else cells.push({ value: [toAxis(scenario.slotStartsMs[from]), row, toMs], shown, color });
  }
  return cells;
}

const drawCell: CustomSeriesRenderItem = (_params, api) => {
  const [x, y] = api.coord([api.value(0), api.value(1)]);
  const [toX] = api.coord([api.value(2), api.value(1)]);
  return {
    type: "rect",
    shape: { x, y: y - 9, width: Math.max(1, toX - x), height: 18 },
    style: { fill: api.visual("color") as string },
  };
};

function option(view: View): EChartsOption {
  const { result, strategy } = view;
  const { scenario } = result;
  const circuits = circuitsOf(result.strategies[strategy]);
  const heightPx = circuits.length * ROW_PX;
  const legendPx = legendHeightPx(view);
  const left = isNarrow(view) ? 76 : 130;
  const names = idAxis(
    circuits.map(({ circuitId }) => circuitId),
    left - 12,
  );
  const series = (
    title: string,
    grid: number,
    scale: typeof USE,
    values: (circuit: Circuit) => (number | undefined)[],
  ) => ({
    type: "custom" as const,
    name: title,
    clip: true,
    xAxisIndex: grid,
    yAxisIndex: grid,
    renderItem: drawCell,
    encode: { x: [0, 2], y: 1 },
    data: circuits.flatMap((circuit, row) =>
      cellsOf(scenario, row, values(circuit), scale).map(({ value, shown, color }) => ({
        value,
        itemStyle: { color },
        shown,
      })),
    ),
  });
  const x = timeAxis(scenario);
  const titleText = { color: COLOURS.ink, fontSize: 12, fontWeight: "normal" as const };
  return {
    animation: false,
    useUTC: true,
    title: [
      {
        text: legendOf("Use of the limit", USE, view),
        left: 0,
        top: 0,
        textStyle: { ...titleText, rich: richOf(USE) },
      },
      {
        text: legendOf(
          `Shadow price${scenario.currency === "" ? "" : `, ${scenario.currency}/kWh`}`,
          PRICE,
          view,
        ),
        left: 0,
        top: heightPx + legendPx + 22,
        textStyle: { ...titleText, rich: richOf(PRICE) },
      },
    ],
    tooltip: { ...TOOLTIP, formatter: (point) => tip(view, circuits, point as unknown as TipPoint) },
    grid: [
      { left, right: 16, top: legendPx, height: heightPx },
      { left, right: 16, top: heightPx + 2 * legendPx + 22, height: heightPx },
    ],
    xAxis: [
      { ...x, gridIndex: 0, axisLabel: { ...x.axisLabel, show: false }, axisTick: { show: false } },
      { ...x, gridIndex: 1 },
    ],
    yAxis: [
      { ...names, gridIndex: 0 },
      { ...names, gridIndex: 1 },
    ],
    dataZoom: zoom([0, 1]),
    series: [
      series("Use", 0, USE, (circuit) => circuit.powerW.map((_, k) => usePercent(circuit, k))),
      series("Shadow price", 1, PRICE, ({ shadowPricePerKwh }) => shadowPricePerKwh),
    ],
  };
}

function legendHeightPx(view: View): number {
  return isNarrow(view) ? 42 : 28;
}

/** A legend as a line of text with patches of colour in it. */
function legendOf(title: string, scale: readonly { label: string }[], view: View): string {
  const gap = isNarrow(view) ? "\n" : "      ";
  return `${title}${gap}${scale.map(({ label }, i) => `{c${i}|    } ${label}`).join("    ")}`;
}

function richOf(scale: readonly { color: string }[]) {
  return Object.fromEntries(
    scale.map(({ color }, i) => [`c${i}`, { backgroundColor: color, width: 14, height: 10 }]),
  );
}

interface TipPoint {
  seriesName: string;
  value: [number, number, number];
  data: { shown?: number };
}

function tip({ result: { scenario } }: View, circuits: readonly Circuit[], point: TipPoint): string {
  const { value, data, seriesName } = point;
  const clock = clockOf(scenario);
  const [from, row, to] = value;
  const shown =
    data.shown === undefined
      ? "no limit"
      : seriesName === "Use"
        ? `at most ${figure(data.shown, 0)} % used`
        : `at most ${figure(data.shown, 4)} ${scenario.currency}/kWh`;
  return (
    `<div class="tip-head">${escapeHtml(circuits[row].circuitId)}</div>` +
    `<div>${clock.full(clock.fromAxis(from))} to ${clock.full(clock.fromAxis(to))}</div>` +
    `<div><b>${escapeHtml(shown)}</b></div>`
  );
}

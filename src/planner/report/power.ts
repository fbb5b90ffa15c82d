import type { EChartsOption } from "echarts";
import {
  type Chart,
  COLOURS,
  clockOf,
  escapeHtml,
  figure,
  isNarrow,
  kilo,
  LEGEND,
  netPowerW,
  referenceOf,
  STEADY,
  steps,
  TOOLTIP,
  timeAxis,
  type View,
  valueAxis,
  zoom,
} from "./chart.ts";

/** What the site draws and makes over time, under its limit and above its price. */
export const POWER: Chart = {
  id: "power",
  title: "Power at the grid connection",
  caption:
    "Stacked: what the building and the vehicles draw; below zero what the sun, the battery and vehicles bring. " +
    "The line is what flows through the grid connection, dotted the same under the strategy compared with.",
  heightPx: (view) => (hasPrice(view) ? 470 : 380),
  option,
  summary: (view) => {
    const { result, strategy } = view;
    const { scenario, strategies } = result;
    const { title, measures } = strategies[strategy];
    const net = netPowerW(scenario, strategies[strategy]);
    const top = highest(net);
    const limits = scenario.limitW.filter((one) => one !== null);
    const limit =
      limits.length === 0 ? "without a limit" : `of at most ${kilo(Math.min(...limits), 0)} kW allowed`;
    return (
      `${title}: the highest mean of a slot through the grid connection is ${kilo(net[top] ?? 0)} kW ${limit}, on ` +
      `${clockOf(scenario).full(scenario.slotStartsMs[top] ?? scenario.startMs)}; vehicles get ` +
      `${kilo(measures.deliveredWh, 0)} of ${kilo(measures.requestedWh, 0)} kWh.`
    );
  },
  table,
};

function hasPrice({ result: { scenario } }: View): boolean {
  return scenario.currency !== "" && scenario.pricePerKwh.some((price) => price !== scenario.pricePerKwh[0]);
}

function highest(values: readonly number[]): number {
  return values.reduce((top, value, k) => (value > values[top] ? k : top), 0);
}

const AREAS = new Set(["Building", "Vehicles", "Battery charges", "Sun", "Battery gives", "Vehicles give"]);
const positive = (w: number) => Math.max(0, w);
const negative = (w: number) => Math.min(0, w);

function option(view: View): EChartsOption {
  const { result, strategy } = view;
  const { scenario } = result;
  const one = result.strategies[strategy];
  const reference = referenceOf(view);
  const priced = hasPrice(view);
  const area = (name: string, values: readonly number[], color: string, stack: string) =>
    values.some((w) => w !== 0)
      ? [
          {
            name,
            type: "line" as const,
            ...STEADY,
            step: "end" as const,
            stack,
            symbol: "none",
            data: steps(scenario, values),
            lineStyle: { width: 0 },
            itemStyle: { color },
            areaStyle: { color, opacity: 0.75 },
          },
        ]
      : [];
  const line = (name: string, values: readonly (number | null)[], style: object, color: string) => ({
    name,
    type: "line" as const,
    ...STEADY,
    step: "end" as const,
    symbol: "none",
    data: steps(scenario, values as number[]),
    lineStyle: { color, ...style },
    itemStyle: { color },
  });
  const hasLimit = scenario.limitW.some((w) => w !== null);
  const series = [
    ...area("Building", scenario.baseLoadW, COLOURS.grey, "in"),
    ...area("Vehicles", one.powerW.map(positive), COLOURS.blue, "in"),
    ...area("Battery charges", one.batteryW.map(positive), COLOURS.purple, "in"),
    ...area(
      "Sun",
      scenario.pvW.map((w) => -w),
      COLOURS.orange,
      "out",
    ),
    ...area("Battery gives", one.batteryW.map(negative), COLOURS.purple, "out"),
    ...area("Vehicles give", one.powerW.map(negative), COLOURS.sky, "out"),
    line("Grid connection", netPowerW(scenario, one), { width: 1.4 }, COLOURS.ink),
    ...(reference === undefined
      ? []
      : [
          line(
            reference.title,
            netPowerW(scenario, reference),
            { width: 1.5, type: "dotted" },
            COLOURS.muted,
          ),
        ]),
    ...(hasLimit ? [line("Limit", scenario.limitW, { width: 2, type: "dashed" }, COLOURS.vermillion)] : []),
    ...(priced
      ? [
          {
            ...line("Price", scenario.pricePerKwh, { width: 1.6 }, COLOURS.green),
            areaStyle: { color: COLOURS.green, opacity: 0.15 },
            xAxisIndex: 1,
            yAxisIndex: 1,
          },
        ]
      : []),
  ];
  const left = isNarrow(view) ? 40 : 56;
  const legendPx = isNarrow(view) ? 84 : 36;
  const x = timeAxis(scenario);
  return {
    animation: false,
    useUTC: true,
    legend: {
      ...LEGEND,
      data: series.map(({ name }) => ({
        name,
        ...(AREAS.has(name) ? { icon: "rect" } : {}),
      })),
    },
    tooltip: {
      ...TOOLTIP,
      trigger: "axis",
      formatter: (points) => tip(view, points as unknown as TipPoint[]),
    },
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    grid: [
      { left, right: 16, top: legendPx + 22, bottom: priced ? 168 : 62 },
      ...(priced ? [{ left, right: 16, height: 62, bottom: 62 }] : []),
    ],
    xAxis: [
      { ...x, gridIndex: 0, ...(priced ? { axisLabel: { ...x.axisLabel, show: false } } : {}) },
      ...(priced ? [{ ...x, gridIndex: 1 }] : []),
    ],
    yAxis: [
      { ...valueAxis("kW", true), gridIndex: 0 },
      ...(priced
        ? [{ ...valueAxis(`${scenario.currency}/kWh`), gridIndex: 1, splitNumber: 2, scale: true }]
        : []),
    ],
    dataZoom: zoom(priced ? [0, 1] : [0]),
    series,
  };
}

interface TipPoint {
  seriesName: string;
  marker: string;
  value: [number, number | null];
}

function tip({ result: { scenario } }: View, points: TipPoint[]): string {
  const rows = points.flatMap(({ seriesName, marker, value: [, value] }) => {
    if (value === null) return [];
    const text =
      seriesName === "Price" ? `${figure(value, 4)} ${scenario.currency}/kWh` : `${kilo(value, 2)} kW`;
    return [`<div class="tip-row">${marker}${escapeHtml(seriesName)}<b>${escapeHtml(text)}</b></div>`];
  });
  const [first] = points;
  if (first === undefined) return "";
  const clock = clockOf(scenario);
  return `<div class="tip-head">${escapeHtml(clock.full(clock.fromAxis(first.value[0])))}</div>${rows.join("")}`;
}

/** Means of days, or of hours where the span is short. */
function table({ result, strategy }: View): string[][] {
  const { scenario, strategies } = result;
  const one = strategies[strategy];
  const clock = clockOf(scenario);
  const isShort = scenario.endMs - scenario.startMs <= 3 * 86_400_000;
  const net = netPowerW(scenario, one);
  const groups = new Map<string, number[]>();
  scenario.slotStartsMs.forEach((atMs, k) => {
    const key = isShort ? `${clock.day(atMs)} ${clock.time(atMs).slice(0, 2)}:00` : clock.day(atMs);
    groups.set(key, [...(groups.get(key) ?? []), k]);
  });
  const mean = (slots: number[], values: readonly number[]) =>
    kilo(slots.reduce((sum, k) => sum + values[k], 0) / slots.length);
  return [
    [
      isShort ? "Hour" : "Day",
      "Building, kW",
      "Vehicles, kW",
      "Sun, kW",
      "Grid, kW",
      "Highest, kW",
      "Limit, kW",
    ],
    ...[...groups].map(([key, slots]) => {
      const limits = slots.flatMap((k) => scenario.limitW[k] ?? []);
      return [
        key,
        mean(slots, scenario.baseLoadW),
        mean(slots, one.powerW),
        mean(slots, scenario.pvW),
        mean(slots, net),
        kilo(Math.max(...slots.map((k) => net[k]))),
        limits.length === 0 ? "–" : kilo(Math.min(...limits)),
      ];
    }),
  ];
}

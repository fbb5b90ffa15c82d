import type { EChartsOption } from "echarts";
import {
  type Chart,
  COLOURS,
  escapeHtml,
  figure,
  isNarrow,
  kilo,
  LEGEND,
  lineOf,
  netPowerW,
  referenceOf,
  STEADY,
  TOOLTIP,
  type View,
  valueAxis,
} from "./chart.ts";

/** Points of a curve, more than the eye tells apart. */
const MOST_POINTS = 300;

/** For how much of the time the grid connection carries how much. */
export const DURATION: Chart = {
  id: "duration",
  title: "Load duration",
  caption:
    "Power at the grid connection, sorted: a point says for which share of the time at least that much flows. " +
    "A steep left end is a peak that is paid for and seldom used.",
  heightPx: (view) => (isNarrow(view) ? 420 : 360),
  option,
  summary: (view) => {
    const { result, strategy } = view;
    const reference = referenceOf(view);
    return [result.strategies[strategy], ...(reference === undefined ? [] : [reference])]
      .map((one) => {
        const sorted = sortedNetW(result, one);
        return `${one.title} is at ${kilo(at(sorted, 0.05))} kW or more for 5 % of the time and at ${kilo(at(sorted, 0.5))} kW or more for half of it`;
      })
      .join("; ")
      .concat(".");
  },
  table: ({ result }) => [
    ["Strategy", ...[0, 1, 5, 25, 50, 75, 100].map((share) => `${share} % of the time, kW`)],
    ...result.strategies.map((one) => {
      const sorted = sortedNetW(result, one);
      return [one.title, ...[0, 0.01, 0.05, 0.25, 0.5, 0.75, 1].map((share) => kilo(at(sorted, share)))];
    }),
  ],
};

function sortedNetW({ scenario }: View["result"], one: View["result"]["strategies"][number]): number[] {
  return netPowerW(scenario, one).sort((a, b) => b - a);
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

function option(view: View): EChartsOption {
  const { result, strategy } = view;
  const { scenario, strategies } = result;
  const limits = scenario.limitW.filter((w) => w !== null);
  const count = Math.min(MOST_POINTS, scenario.slotStartsMs.length);
  return {
    animation: false,
    legend: LEGEND,
    tooltip: {
      ...TOOLTIP,
      trigger: "axis",
      formatter: (points) => {
        const rows = (
          points as unknown as { seriesName: string; marker: string; value: [number, number] }[]
        ).map(
          ({ seriesName, marker, value }) =>
            `<div class="tip-row">${marker}${escapeHtml(seriesName)}<b>${kilo(value[1])} kW</b></div>`,
        );
        const [first] = points as unknown as { value: [number, number] }[];
        return `<div class="tip-head">${figure(first?.value[0] ?? 0)} % of the time at least</div>${rows.join("")}`;
      },
    },
    grid: { left: isNarrow(view) ? 40 : 56, right: 24, top: isNarrow(view) ? 150 : 72, bottom: 44 },
    xAxis: {
      ...valueAxis("% of the time"),
      nameLocation: "middle",
      nameGap: 28,
      min: 0,
      max: 100,
      splitLine: { show: false },
      nameTextStyle: { color: COLOURS.muted, fontSize: 12 },
    },
    yAxis: valueAxis("kW", true),
    series: [
      ...strategies.map((one, s) => {
        const { color, ...style } = lineOf(one);
        const sorted = sortedNetW(result, one);
        return {
          type: "line" as const,
          ...STEADY,
          name: one.title,
          symbol: "none",
          z: s === strategy ? 4 : 3,
          lineStyle: { color, ...style },
          itemStyle: { color },
          data: Array.from({ length: count + 1 }, (_, p) => [(100 * p) / count, at(sorted, p / count)]),
          ...(s === 0 && limits.length > 0
            ? {
                markLine: {
                  silent: true,
                  symbol: "none",
                  lineStyle: { color: COLOURS.vermillion, type: "dashed" as const, width: 2 },
                  label: { formatter: "limit", color: COLOURS.muted, position: "insideEndTop" as const },
                  data: [{ yAxis: Math.min(...limits) }],
                },
              }
            : {}),
        };
      }),
    ],
  };
}

import type { EChartsOption } from "echarts";
import type { Measures } from "../measures.ts";
import {
  type Chart,
  COLOURS,
  chargingCost,
  figure,
  isNarrow,
  kilo,
  lineOf,
  nameAxis,
  percentOf,
  referenceOf,
  STEADY,
  type View,
  valueAxis,
} from "./chart.ts";

/** What each strategy delivers and what it costs. */
export const COMPARISON: Chart = {
  id: "comparison",
  title: "Strategies side by side",
  caption:
    "Energy delivered of what vehicles need, and what charging costs: what the site pays more than without any vehicle and with an idle battery.",
  heightPx: ({ result }) => 30 + 30 * result.strategies.length,
  option,
  summary: (view) => {
    const { result, strategy } = view;
    const { currency } = result.scenario;
    const reference = referenceOf(view);
    return [result.strategies[strategy], ...(reference === undefined ? [] : [reference])]
      .map(({ title, measures }) => {
        const cost = currency === "" ? "" : ` for ${figure(chargingCost(measures), 2)} ${currency}`;
        return `${title} delivers ${shareText(measures)}${cost} with a peak of ${kilo(measures.peakW)} kW`;
      })
      .join("; ")
      .concat(".");
  },
  table: ({ result: { scenario, strategies } }) => [
    ["Strategy", "Delivered", `Charging, ${scenario.currency}`, "Peak, kW"],
    ...strategies.map(({ title, measures }) => [
      title,
      shareText(measures),
      figure(chargingCost(measures), 2),
      kilo(measures.peakW),
    ]),
  ],
};

function shareText({ deliveredWh, requestedWh }: Measures): string {
  return `${figure(percentOf(deliveredWh, requestedWh))} %`;
}

function option(view: View): EChartsOption {
  const { scenario, strategies } = view.result;
  const hasCost = scenario.currency !== "";
  const narrow = isNarrow(view);
  const left = narrow ? 110 : 190;
  const labelPx = narrow ? 52 : 76;
  const names = nameAxis(
    strategies.map(({ title }) => title),
    left - 12,
  );
  const bars = (
    index: number,
    value: (measures: Measures) => number,
    text: (measures: Measures) => string,
  ) => ({
    type: "bar" as const,
    ...STEADY,
    xAxisIndex: index,
    yAxisIndex: index,
    barWidth: "62%",
    data: strategies.map((one) => ({
      value: value(one.measures),
      itemStyle: { color: lineOf(one).color },
      label: {
        show: true,
        position: "right" as const,
        color: COLOURS.ink,
        fontSize: 12,
        formatter: text(one.measures),
      },
    })),
  });
  const room = Math.max(40, (view.widthPx - left - 2 * labelPx - 16) / 2);
  const head = (text: string, x: number) => ({
    text,
    left: x,
    top: 0,
    textStyle: { color: COLOURS.muted, fontSize: 12, fontWeight: "normal" as const },
  });
  const x = { ...valueAxis(""), axisLabel: { show: false }, splitLine: { show: false } };
  return {
    animation: false,
    title: [
      head("Delivered", left),
      ...(hasCost ? [head(`Charging, ${scenario.currency}`, left + room + labelPx + 8)] : []),
    ],
    grid: [
      { left, top: 22, bottom: 8, ...(hasCost ? { width: room } : { right: labelPx }) },
      ...(hasCost ? [{ left: left + room + labelPx + 8, right: labelPx, top: 22, bottom: 8 }] : []),
    ],
    xAxis: [{ ...x, max: 100, gridIndex: 0 }, ...(hasCost ? [{ ...x, gridIndex: 1 }] : [])],
    yAxis: [
      { ...names, gridIndex: 0 },
      ...(hasCost ? [{ ...names, gridIndex: 1, axisLabel: { show: false } }] : []),
    ],
    series: [
      bars(0, ({ deliveredWh, requestedWh }) => percentOf(deliveredWh, requestedWh), shareText),
      ...(hasCost ? [bars(1, chargingCost, (one) => figure(chargingCost(one), narrow ? 0 : 2))] : []),
    ],
  };
}

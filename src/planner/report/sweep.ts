import type { EChartsOption } from "echarts";
import type { Measures } from "../measures.ts";
import type { SweepResult } from "../result.ts";
import {
  type Chart,
  COLOURS,
  escapeHtml,
  figure,
  isNarrow,
  kilo,
  LEGEND,
  lineOf,
  percentOf,
  STEADY,
  TOOLTIP,
  type View,
  valueAxis,
} from "./chart.ts";

const delivered = ({ deliveredWh, requestedWh }: Measures) => percentOf(deliveredWh, requestedWh);

/**
 * Where a curve bends most, as the index of its value: the point farthest from the line between its ends, both
 * axes scaled to the same length. Absent where it is flat, or has no bend. (The idea of V. Satopaa et al., "Finding a
 * 'Kneedle' in a Haystack", 2011.)
 */
export function kneeOf(values: readonly number[], heights: readonly number[]): number | undefined {
  const last = values.length - 1;
  const width = values[last] - values[0];
  const lowest = Math.min(...heights);
  const height = Math.max(...heights) - lowest;
  if (last < 2 || width === 0 || height < 0.1) return undefined;
  const rise = (heights[last] - heights[0]) / height;
  const distances = values.map((value, i) =>
    Math.abs((heights[i] - heights[0]) / height - (rise * (value - values[0])) / width),
  );
  const knee = distances.indexOf(Math.max(...distances));
  return distances[knee] < 0.05 ? undefined : knee;
}

interface Knee {
  /** Index of the value. */
  value: number;
  /** Of the two pictures: 0 energy, 1 cost. */
  grid: number;
}

/** Measures over the values of a parameter. */
export function sweepChart(sweep: SweepResult, index: number): Chart {
  const { parameter, values, strategies } = sweep;
  const label = labelOf(sweep);
  const titleOf = ({ result }: View, name: string) =>
    result.strategies.find((one) => one.name === name)?.title ?? name;
  const named = (view: View) => strategies.map((one) => ({ ...one, title: titleOf(view, one.name) }));
  const kneeAt = (view: View): Knee | undefined => {
    const { name } = view.result.strategies[view.strategy];
    const { points } = strategies.find((one) => one.name === name) ?? strategies[0];
    for (const [grid, height] of [delivered, second(view)].entries()) {
      const value = kneeOf(values, points.map(height));
      if (value !== undefined) return { value, grid };
    }
    return undefined;
  };
  return {
    id: `sweep-${index + 1}`,
    title: `Sweep of ${parameter}`,
    caption:
      "Energy delivered, and below what the site pays, or its peak where nothing is known of prices, over the values " +
      "of the parameter. At the knee the curve bends most: beyond it more brings less.",
    heightPx: () => HEIGHT_PX,
    option: (view) => option(view, sweep, named(view), kneeAt(view)),
    summary: (view) => {
      const knee = kneeAt(view);
      const { title } = view.result.strategies[view.strategy];
      const what = knee?.grid === 0 ? "energy delivered" : secondName(view);
      return knee === undefined
        ? `${title}: no knee between ${label(values[0])} and ${label(values[values.length - 1])}.`
        : `${title}: the knee of ${what} is at ${label(values[knee.value])}.`;
    },
    table: (view) => [
      [
        "Value",
        ...named(view).flatMap(({ title }) => [`${title}: delivered, %`, `${title}: ${secondName(view)}`]),
      ],
      ...values.map((value, i) => [
        label(value),
        ...strategies.flatMap(({ points }) => [
          figure(delivered(points[i])),
          secondText(second(view)(points[i]), view),
        ]),
      ]),
    ],
  };
}

const HEIGHT_PX = 470;

/** What a value of the parameter is called: large W and Wh in kilo. */
function labelOf({ unit, values }: SweepResult): (value: number) => string {
  const inKilo = /^(W|Wh)$/.test(unit) && values.every((value) => value === 0 || value >= 1000);
  return (value) => {
    const shown = inKilo ? value / 1000 : value;
    return `${figure(shown, Number.isInteger(shown) ? 0 : 2)} ${inKilo ? `k${unit}` : unit}`.trim();
  };
}

/** What is drawn below the energy. */
function second({ result }: View): (measures: Measures) => number {
  return result.scenario.currency === "" ? ({ peakW }) => peakW : ({ totalCost }) => totalCost;
}

function secondName({ result: { scenario } }: View): string {
  return scenario.currency === "" ? "peak, kW" : `total cost, ${scenario.currency}`;
}

function secondText(value: number, { result: { scenario } }: View): string {
  return scenario.currency === "" ? kilo(value) : figure(value, 2);
}

function option(
  view: View,
  sweep: SweepResult,
  strategies: { name: string; title: string; points: Measures[] }[],
  knee: Knee | undefined,
): EChartsOption {
  const { scenario, strategies: all } = view.result;
  const { values } = sweep;
  const label = labelOf(sweep);
  const left = isNarrow(view) ? 48 : 64;
  const top = isNarrow(view) ? 150 : 72;
  const x = {
    ...valueAxis(""),
    min: Math.min(...values),
    max: Math.max(...values),
    splitLine: { show: false },
    axisLabel: { ...valueAxis("").axisLabel, formatter: label, hideOverlap: true },
  };
  const curves = (grid: number, height: (measures: Measures) => number) =>
    strategies.map((one) => {
      const { color, ...style } = lineOf(one);
      const isShown = one.name === all[view.strategy].name;
      return {
        type: "line" as const,
        ...STEADY,
        name: one.title,
        xAxisIndex: grid,
        yAxisIndex: grid,
        symbol: "circle",
        symbolSize: 5,
        z: isShown ? 4 : 3,
        lineStyle: { color, ...style },
        itemStyle: { color },
        data: values.map((value, i) => [value, height(one.points[i])]),
        ...(isShown && knee?.grid === grid
          ? {
              markPoint: {
                symbol: "circle",
                symbolSize: 16,
                itemStyle: { color: "transparent", borderColor: COLOURS.vermillion, borderWidth: 2.5 },
                label: {
                  formatter: `knee: ${label(values[knee.value])}`,
                  color: COLOURS.ink,
                  position: "right" as const,
                  distance: 8,
                  fontSize: 13,
                },
                data: [{ name: "knee", coord: [values[knee.value], height(one.points[knee.value])] }],
              },
            }
          : {}),
      };
    });
  const half = (HEIGHT_PX - top - 40) / 2 - 30;
  const least = Math.min(99, ...strategies.flatMap(({ points }) => points.map(delivered)));
  return {
    animation: false,
    legend: LEGEND,
    tooltip: {
      ...TOOLTIP,
      trigger: "axis",
      formatter: (points) => {
        const shown = points as unknown as {
          seriesName: string;
          marker: string;
          value: [number, number];
          axisIndex: number;
        }[];
        const rows = shown.map(
          ({ seriesName, marker, value, axisIndex }) =>
            `<div class="tip-row">${marker}${escapeHtml(seriesName)}<b>${
              axisIndex === 0
                ? `${figure(value[1])} %`
                : `${secondText(value[1], view)} ${escapeHtml(scenario.currency || "kW")}`
            }</b></div>`,
        );
        return `<div class="tip-head">${escapeHtml(label(shown[0]?.value[0] ?? 0))}</div>${rows.join("")}`;
      },
    },
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    grid: [
      { left, right: 28, top, height: half },
      { left, right: 28, top: top + half + 54, height: half },
    ],
    xAxis: [
      { ...x, gridIndex: 0, axisLabel: { show: false } },
      { ...x, gridIndex: 1 },
    ],
    yAxis: [
      {
        ...valueAxis("delivered, %"),
        gridIndex: 0,
        min: least < 95 ? 10 * Math.floor(least / 10) : Math.floor(least),
        max: 100,
      },
      { ...valueAxis(secondName(view), scenario.currency === ""), gridIndex: 1, scale: true },
    ],
    series: [...curves(0, delivered), ...curves(1, second(view))],
  };
}

import type { CustomSeriesRenderItem, EChartsOption } from "echarts";
import {
  arrivalDays,
  type Chart,
  COLOURS,
  clockOf,
  escapeHtml,
  idAxis,
  isNarrow,
  kilo,
  percentOf,
  STEADY,
  TOOLTIP,
  timeAxis,
  type View,
  valueAxis,
  zoom,
} from "./chart.ts";

/** More rows than a reader looks through. */
const MOST_ROWS = 120;
const ROW_PX = 22;

/** The vehicles that come on one day: when they are there, when they charge, and what they leave with. */
export const VEHICLES: Chart = {
  id: "vehicles",
  title: "Vehicles of a day",
  caption:
    "A row is a stay, from arrival to departure; the mark is the departure that the driver had told. Blue is charging, " +
    "the darker the more power; light blue is giving. Right: energy left with, and hatched what is missing of the need.",
  heightPx: (view) => 96 + ROW_PX * Math.max(1, rowsOf(view).length),
  option,
  summary: (view) => {
    const { result, strategy, day } = view;
    const days = arrivalDays(result);
    if (days.length === 0) return "No vehicle comes.";
    const { visits, label } = days[day];
    const { title } = result.strategies[strategy];
    const missing = visits.filter((i) => missingWh(view, i) > 0);
    const cut =
      visits.length > MOST_ROWS
        ? ` The ${MOST_ROWS} that are missing most are drawn, then those that come first.`
        : "";
    return (
      `${title}: ${visits.length} vehicles come on ${label}, ${visits.length - missing.length} of them leave with what ` +
      `they need; ${kilo(missing.reduce((wh, i) => wh + missingWh(view, i), 0))} kWh are missing.${cut}`
    );
  },
  table,
};

/** What a visit is short of, Wh; rounding is no shortfall. */
function missingWh({ result, strategy }: View, visit: number): number {
  const wh = result.scenario.visits[visit].energyWh - deliveredWh(result.strategies[strategy], visit);
  return wh > 5 ? wh : 0;
}

function deliveredWh({ visits }: View["result"]["strategies"][number], visit: number): number {
  const { slotWh } = visits[visit];
  return slotWh.reduce((sum, wh) => sum + wh, 0);
}

/** Visits of the day in the order of arrival; of many those that miss most. */
function rowsOf(view: View): number[] {
  const { visits } = arrivalDays(view.result)[view.day] ?? { visits: [] };
  if (visits.length <= MOST_ROWS) return visits;
  return [...visits]
    .sort((a, b) => missingWh(view, b) - missingWh(view, a) || a - b)
    .slice(0, MOST_ROWS)
    .sort((a, b) => a - b);
}

function option(view: View): EChartsOption {
  const { result, strategy } = view;
  const { scenario, strategies } = result;
  const one = strategies[strategy];
  const rows = rowsOf(view);
  const visits = rows.map((i) => scenario.visits[i]);
  const clock = clockOf(scenario);
  const fromMs = Math.min(...visits.map(({ arrivalMs }) => arrivalMs));
  const toMs = Math.max(...visits.map(({ departureMs }) => departureMs));
  const hourMs = 3_600_000;
  const highestWh = Math.max(1, ...rows.flatMap((i) => one.visits[i].slotWh));
  const width = isNarrow(view) ? 82 : 150;
  const energyPx = isNarrow(view) ? 70 : 190;
  const energies = rows.map((i) => ({ got: Math.max(0, deliveredWh(one, i)), missing: missingWh(view, i) }));
  const names = idAxis(
    visits.map(({ sessionId }) => sessionId),
    width - 10,
  );
  return {
    animation: false,
    useUTC: true,
    tooltip: {
      ...TOOLTIP,
      formatter: (point) => tip(view, rows[(point as { dataIndex: number }).dataIndex]),
    },
    grid: [
      { left: width, right: energyPx + 24, top: 28, bottom: 62 },
      { right: 20, width: energyPx - 10, top: 28, bottom: 62 },
    ],
    xAxis: [
      {
        ...timeAxis(
          scenario,
          Math.floor(fromMs / hourMs) * hourMs,
          Math.ceil(Math.max(toMs, fromMs + hourMs) / hourMs) * hourMs,
        ),
        splitLine: { show: true, lineStyle: { color: COLOURS.line } },
      },
      { ...valueAxis("", true), gridIndex: 1, splitNumber: 3 },
    ],
    yAxis: [
      { ...names, gridIndex: 0 },
      { ...names, gridIndex: 1, axisLabel: { show: false } },
    ],
    dataZoom: zoom([0]),
    title: [
      {
        text: "kWh",
        right: 20 + energyPx - 40,
        top: 6,
        textStyle: { color: COLOURS.muted, fontSize: 12, fontWeight: "normal" },
      },
    ],
    series: [
      {
        type: "custom",
        name: "Stay",
        clip: true,
        renderItem: drawStay(view, rows, highestWh),
        data: visits.map(({ arrivalMs, departureMs }, row) => [
          clock.toAxis(arrivalMs),
          row,
          clock.toAxis(departureMs),
        ]),
        encode: { x: [0, 2], y: 1 },
      },
      {
        type: "bar",
        ...STEADY,
        name: "Left with",
        stack: "energy",
        xAxisIndex: 1,
        yAxisIndex: 1,
        barWidth: "60%",
        itemStyle: { color: COLOURS.blue },
        data: energies.map(({ got }) => got),
      },
      {
        type: "bar",
        ...STEADY,
        name: "Missing",
        stack: "energy",
        xAxisIndex: 1,
        yAxisIndex: 1,
        itemStyle: {
          color: COLOURS.vermillion,
          decal: {
            symbol: "rect",
            color: "rgba(255,255,255,0.55)",
            dashArrayX: [1, 0],
            dashArrayY: [2, 3],
            rotation: 0.8,
          },
        },
        data: energies.map(({ missing }) => missing),
      },
    ],
  };
}

/** Draws one row: the stay, the slots in which it charges or gives, and the departure that was told. */
function drawStay(view: View, rows: readonly number[], highestWh: number): CustomSeriesRenderItem {
  const { scenario, strategies } = view.result;
  const { visits } = strategies[view.strategy];
  const clock = clockOf(scenario);
  return (_params, api) => {
    const row = api.value(1) as number;
    const visit = rows[row];
    const { arrivalMs, departureMs, saidDepartureMs } = scenario.visits[visit];
    const x = (atMs: number) => api.coord([clock.toAxis(atMs), row])[0];
    const [, middle] = api.coord([clock.toAxis(arrivalMs), row]);
    const half = 7;
    const bar = (fromMs: number, toMs: number, style: object) => ({
      type: "rect" as const,
      shape: { x: x(fromMs), y: middle - half, width: Math.max(0.5, x(toMs) - x(fromMs)), height: 2 * half },
      style,
    });
    const { firstSlot, slotWh } = visits[visit];
    const slots = slotWh.flatMap((wh, k) => {
      const slot = firstSlot + k;
      if (Math.abs(wh) < 0.5 || slot >= scenario.slotStartsMs.length) return [];
      const fromMs = Math.max(arrivalMs, scenario.slotStartsMs[slot]);
      const toMs = Math.min(departureMs, scenario.slotStartsMs[slot + 1] ?? scenario.endMs);
      const opacity = 0.3 + 0.7 * Math.min(1, Math.abs(wh) / highestWh);
      return [bar(fromMs, toMs, { fill: wh > 0 ? COLOURS.blue : COLOURS.sky, opacity })];
    });
    const told = x(saidDepartureMs);
    return {
      type: "group",
      children: [
        bar(arrivalMs, departureMs, { fill: COLOURS.grey, opacity: 0.22 }),
        ...slots,
        {
          type: "line" as const,
          shape: { x1: told, y1: middle - half - 2, x2: told, y2: middle + half + 2 },
          style: { stroke: COLOURS.orange, lineWidth: 2 },
        },
      ],
    };
  };
}

function tip(view: View, visit: number): string {
  const cells = rowOf(view, visit);
  return HEAD.map((head, c) => `<div class="tip-row">${head}<b>${escapeHtml(cells[c])}</b></div>`).join("");
}

const HEAD = [
  "Session",
  "EVSE",
  "Arrival",
  "Departure told",
  "Departure",
  "Need, kWh",
  "Got, kWh",
  "Missing, kWh",
  "Share",
];

function rowOf(view: View, visit: number): string[] {
  const { scenario, strategies } = view.result;
  const one = strategies[view.strategy];
  const { sessionId, evse, arrivalMs, departureMs, saidDepartureMs, energyWh } = scenario.visits[visit];
  const clock = clockOf(scenario);
  const got = deliveredWh(one, visit);
  return [
    sessionId,
    evse,
    clock.full(arrivalMs),
    clock.full(saidDepartureMs),
    clock.full(departureMs),
    kilo(energyWh),
    kilo(got),
    kilo(missingWh(view, visit)),
    `${percentOf(got, energyWh).toFixed(0)} %`,
  ];
}

function table(view: View): string[][] {
  return [HEAD, ...rowsOf(view).map((visit) => rowOf(view, visit))];
}

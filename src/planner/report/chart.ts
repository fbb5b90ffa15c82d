import type { EChartsOption } from "echarts";
import type { Measures } from "../measures.ts";
import type { ScenarioResult, SimulationResult, StrategyResult } from "../result.ts";

/**
 * What the report's charts have in common. They are drawn twice with the same code: in Node.js to a picture that
 * needs no script, and in the reader's browser to one that can be zoomed. Nothing here may need either.
 */

/** A picture of a result, with what it says in words and in a table. */
export interface Chart {
  /** In the page, and the name of its file. */
  id: string;
  title: string;
  /** What is drawn how, for readers. */
  caption: string;
  /** Height in pixels when it is that wide. */
  heightPx(view: View): number;
  option(view: View): EChartsOption;
  /** What the picture shows, for those who don't see it. */
  summary(view: View): string;
  /** The figures behind it, head first. */
  table(view: View): string[][];
}

/** What of a result is looked at, and in how much room. */
export interface View {
  result: SimulationResult;
  /** Index of the strategy that charts of one strategy show. */
  strategy: number;
  /** Index of the day in `arrivalDays`. */
  day: number;
  widthPx: number;
}

/** Below this width a chart leaves out what it can. */
export function isNarrow({ widthPx }: View): boolean {
  return widthPx < 560;
}

/**
 * Colours that stay apart for colour-blind readers: M. Okabe and K. Ito, "Color Universal Design", 2008. What is ink
 * and paper comes from the page, where it follows the reader's light or dark mode.
 */
export const COLOURS = {
  ink: "var(--ink)",
  muted: "var(--muted)",
  line: "var(--line)",
  paper: "var(--paper)",
  orange: "#e69f00",
  sky: "#56b4e9",
  green: "#009e73",
  yellow: "#f0e442",
  blue: "#0072b2",
  vermillion: "#d55e00",
  purple: "#cc79a7",
  grey: "#8c96a0",
} as const;

const LINES: Readonly<Record<string, { color: string; type: "solid" | "dashed" | "dotted" }>> = {
  uncontrolled: { color: COLOURS.vermillion, type: "solid" },
  "equal-share": { color: COLOURS.yellow, type: "solid" },
  "first-come": { color: COLOURS.orange, type: "dashed" },
  "earliest-deadline": { color: COLOURS.green, type: "dashed" },
  "least-laxity": { color: COLOURS.sky, type: "solid" },
  "round-robin": { color: COLOURS.purple, type: "dotted" },
  wattslot: { color: COLOURS.blue, type: "solid" },
  hindsight: { color: COLOURS.ink, type: "dotted" },
};

/** How a strategy's line looks everywhere in the report. */
export function lineOf({ name }: { name: string }): {
  color: string;
  type: "solid" | "dashed" | "dotted";
  width: number;
} {
  return {
    ...(LINES[name] ?? { color: COLOURS.purple, type: "solid" }),
    width: name === "wattslot" ? 2.5 : 1.6,
  };
}

/** Text that a browser shows as it stands. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
}

/** A number with as many digits as people need. */
export function figure(value: number, digits = 1): string {
  const text = value.toLocaleString("en-GB", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return /[1-9]/.test(text) ? text.replace("-", "\u2212") : text.replace("-", "");
}

export function kilo(value: number, digits = 1): string {
  return figure(value / 1000, digits);
}

/** Share of `part` in `whole` as percent, all of nothing being 100. */
export function percentOf(part: number, whole: number): number {
  return whole === 0 ? 100 : (100 * part) / whole;
}

/** What charging costs: what the site pays more than without any vehicle and with an idle battery. */
export function chargingCost({ totalCost, baseCost }: Measures): number {
  return totalCost - baseCost;
}

/** The one that others are compared with: uncontrolled charging, where it was run and is not shown itself. */
export function referenceOf({ result: { strategies }, strategy }: View): StrategyResult | undefined {
  const reference = strategies.find(({ name }) => name === "uncontrolled");
  return reference === strategies[strategy] ? undefined : reference;
}

/** What the grid connection takes in each slot, W; negative where it exports. */
export function netPowerW(
  { baseLoadW, pvW }: ScenarioResult,
  { powerW, batteryW }: StrategyResult,
): number[] {
  return powerW.map((w, k) => w + batteryW[k] + baseLoadW[k] - pvW[k]);
}

/** A time axis of a site: its wall clock, as it is at the start of the span. */
export interface Clock {
  /** Place on the axis of an instant, and the other way round, ms. */
  toAxis(atMs: number): number;
  fromAxis(axisMs: number): number;
  /** `Mon 2 Mar`, `Mon 2 Mar 08:15` and `08:15` of an instant. */
  day(atMs: number): string;
  full(atMs: number): string;
  time(atMs: number): string;
  /** The day of an instant, to sort and compare by: 2026-03-02. */
  date(atMs: number): string;
}

const clocks = new Map<string, Clock>();

/**
 * The clock of a result's site. Where daylight saving changes within the span, ticks stand an hour off midnight from
 * then on; what they are labelled with is right.
 */
export function clockOf({ timeZone, startMs }: ScenarioResult): Clock {
  const key = `${timeZone} ${startMs}`;
  const known = clocks.get(key);
  if (known !== undefined) return known;
  const format = (options: Intl.DateTimeFormatOptions, locale = "en-GB") => {
    const formatter = new Intl.DateTimeFormat(locale, { timeZone, hourCycle: "h23", ...options });
    return (atMs: number) => formatter.format(atMs).replace(",", "");
  };
  const time = format({ hour: "2-digit", minute: "2-digit" });
  const day = format({ weekday: "short", day: "numeric", month: "short" });
  const date = format({ year: "numeric", month: "2-digit", day: "2-digit" }, "sv-SE");
  const [hours, minutes] = time(startMs).split(":").map(Number);
  const wallMs = Date.parse(`${date(startMs)}T00:00:00Z`) + (hours * 60 + minutes) * 60_000;
  const offsetMs = wallMs - Math.floor(startMs / 60_000) * 60_000;
  const clock: Clock = {
    toAxis: (atMs) => atMs + offsetMs,
    fromAxis: (axisMs) => axisMs - offsetMs,
    day,
    date,
    time,
    full: (atMs) => `${day(atMs)} ${time(atMs)}`,
  };
  clocks.set(key, clock);
  return clock;
}

/** Days on which vehicles arrive, in order, with the indices of their visits. */
export function arrivalDays({
  scenario,
}: SimulationResult): { date: string; label: string; visits: number[] }[] {
  const clock = clockOf(scenario);
  const days = new Map<string, { date: string; label: string; visits: number[] }>();
  scenario.visits.forEach(({ arrivalMs }, i) => {
    const date = clock.date(arrivalMs);
    const day = days.get(date) ?? { date, label: clock.day(arrivalMs), visits: [] };
    day.visits.push(i);
    days.set(date, day);
  });
  return [...days.values()];
}

/** Points of values that each hold from its slot's start to the next one. */
export function steps(scenario: ScenarioResult, values: readonly number[]): [number, number][] {
  const { toAxis } = clockOf(scenario);
  const points = values.map((value, k): [number, number] => [toAxis(scenario.slotStartsMs[k]), value]);
  const last = values.at(-1);
  if (last !== undefined) points.push([toAxis(scenario.endMs), last]);
  return points;
}

const axisText = { color: COLOURS.muted, fontSize: 12 };

/** A time axis over the span, or over a part of it. */
export function timeAxis(scenario: ScenarioResult, fromMs = scenario.startMs, toMs = scenario.endMs) {
  const clock = clockOf(scenario);
  return {
    type: "time" as const,
    min: clock.toAxis(fromMs),
    max: clock.toAxis(toMs),
    axisLine: { lineStyle: { color: COLOURS.line } },
    axisTick: { lineStyle: { color: COLOURS.line } },
    splitLine: { show: false },
    axisLabel: {
      ...axisText,
      hideOverlap: true,
      formatter: (axisMs: number) => {
        const atMs = clock.fromAxis(axisMs);
        const time = clock.time(atMs);
        return time === "00:00" ? clock.day(atMs) : time;
      },
    },
  };
}

/** An axis of values, in kilo where `inKilo`. */
export function valueAxis(name: string, inKilo = false) {
  return {
    type: "value" as const,
    name,
    nameTextStyle: { ...axisText, align: "left" as const },
    nameGap: 10,
    axisLabel: {
      ...axisText,
      formatter: (value: number) => (inKilo ? `${Math.round(value) / 1000}` : `${value}`),
    },
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: COLOURS.line } },
  };
}

/** An axis of names, the first on top; names that are too long go over two lines. */
export function nameAxis(names: readonly string[], widthPx: number) {
  return {
    type: "category" as const,
    inverse: true,
    data: [...names],
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { show: false },
    axisLabel: { ...axisText, interval: 0, width: widthPx, overflow: "break" as const, lineHeight: 13 },
  };
}

/** An axis of ids. They differ at their ends, so it is their beginnings that are cut. */
export function idAxis(ids: readonly string[], widthPx: number) {
  const most = Math.max(4, Math.floor(widthPx / 7));
  const { axisLabel, ...axis } = nameAxis(ids, widthPx);
  return {
    ...axis,
    axisLabel: {
      ...axisLabel,
      overflow: "none" as const,
      formatter: (id: string) => (id.length > most ? `…${id.slice(1 - most)}` : id),
    },
  };
}

/** Without it, what the pointer is near would be drawn in a lighter colour, which none can be reckoned from ink. */
export const STEADY = { emphasis: { disabled: true } };

export const TOOLTIP = {
  confine: true,
  backgroundColor: COLOURS.paper,
  borderColor: COLOURS.line,
  textStyle: { color: COLOURS.ink, fontSize: 13 },
  axisPointer: { lineStyle: { color: COLOURS.muted }, crossStyle: { color: COLOURS.muted } },
};

export const LEGEND = {
  top: 0,
  left: 0,
  itemWidth: 18,
  itemHeight: 10,
  // Without a browser text is measured by a rule of thumb, and its font may be wider than that.
  itemGap: 22,
  textStyle: { color: COLOURS.ink, fontSize: 12 },
  inactiveColor: COLOURS.line,
};

/** Zoom by the slider below, by dragging, and by the wheel with Ctrl, so that the page still scrolls. */
export function zoom(axes: number[]) {
  return [
    {
      type: "inside" as const,
      xAxisIndex: axes,
      zoomOnMouseWheel: "ctrl" as const,
      filterMode: "none" as const,
    },
    {
      type: "slider" as const,
      xAxisIndex: axes,
      height: 22,
      bottom: 6,
      filterMode: "none" as const,
      brushSelect: false,
      showDetail: false,
      borderColor: COLOURS.line,
      fillerColor: "rgba(0,114,178,0.15)",
      handleStyle: { color: COLOURS.paper, borderColor: COLOURS.muted },
      dataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
      selectedDataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
    },
  ];
}

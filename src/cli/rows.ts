import type { SimulationResult } from "../planner/result.ts";

/** A line for each visit under each strategy. */
export function visitsCsv({ scenario, strategies }: SimulationResult): string {
  const head = "strategy,session_id,evse,arrival,said_departure,departure,wanted_wh,drawn_wh,content";
  const lines = strategies.flatMap(({ name, visits }) =>
    visits.map(({ drawnWh, contentMs }, i) => {
      const { sessionId, evse, arrivalMs, saidDepartureMs, departureMs, energyWh } = scenario.visits[i];
      return [
        name,
        sessionId,
        evse,
        time(arrivalMs),
        time(saidDepartureMs),
        time(departureMs),
        energyWh,
        round(drawnWh),
        contentMs === undefined ? "" : time(contentMs),
      ];
    }),
  );
  return csv(head, lines);
}

/** A line for each slot under each strategy. */
export function slotsCsv({ scenario, strategies }: SimulationResult): string {
  const head = "strategy,slot_start,price_per_kwh,base_load_w,pv_w,limit_w,vehicles_w,battery_w";
  const lines = strategies.flatMap(({ name, powerW, batteryW }) =>
    scenario.slotStartsMs.map((atMs, k) => [
      name,
      time(atMs),
      scenario.pricePerKwh[k],
      round(scenario.baseLoadW[k]),
      round(scenario.pvW[k]),
      scenario.limitW[k] ?? "",
      round(powerW[k]),
      round(batteryW[k]),
    ]),
  );
  return csv(head, lines);
}

function csv(head: string, lines: (string | number)[][]): string {
  return `${[head, ...lines.map((cells) => cells.map(cell).join(","))].join("\n")}\n`;
}

/** Quoted where it has to be; what a spreadsheet would take for a formula is text. */
function cell(value: string | number): string {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function time(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

import { styleText } from "node:util";
import { DateTime } from "luxon";
import {
  Change,
  ChargingRateUnit,
  OcppVersion,
  type OptimizeRequest,
  type OptimizeResponse,
  PlanStatus,
  type PlanSummary,
  Preference,
  type SessionPlan,
  type SolveReport,
  SolverKind,
} from "../grpc/client.ts";

export interface TableOptions {
  /** Columns of the terminal. */
  width: number;
  colour: boolean;
}

/** A column of a table. */
export interface Column {
  title: string;
  align: "left" | "right";
  /** One text a row. */
  cells: string[];
}

const GAP = "  ";
// What is left of 100 columns for the vehicle and for the EVSE.
const LONGEST_ID = 12;
const BARS = " ▁▂▃▄▅▆▇█";
const GIVES = "v";
const LEAST_SPARK_WIDTH = 8;
const MOST_SPARK_WIDTH = 48;
const DEFAULT_SLOT_SECONDS = 900;

const VERSIONS: Record<number, string> = {
  [OcppVersion.OCPP_VERSION_UNSPECIFIED]: "2.0.1",
  [OcppVersion.OCPP_VERSION_1_6]: "1.6",
  [OcppVersion.OCPP_VERSION_2_0_1]: "2.0.1",
  [OcppVersion.OCPP_VERSION_2_1]: "2.1",
};

const STATUSES: Record<number, string> = {
  [PlanStatus.OPTIMAL]: "optimal",
  [PlanStatus.FEASIBLE]: "feasible, not proved best",
  [PlanStatus.FALLBACK]: "fallback, the safe plan made without a solver",
};

const SOLVERS: Record<number, string> = {
  [SolverKind.UNSPECIFIED]: "no solver",
  [SolverKind.GLPK]: "GLPK",
  [SolverKind.HIGHS]: "HiGHS",
};

/**
 * A plan as text for people: a table of the vehicles, a sentence on each, the circuits, the site
 * as a whole, the notices. Times are in the site's zone.
 */
export function formatPlan(
  request: OptimizeRequest,
  response: OptimizeResponse,
  { width, colour }: TableOptions,
): string {
  const zone = request.site?.timeZone || "UTC";
  const [vehicleHead, ...vehicleRows] = layOut(vehicleColumns(request, response, zone, width));
  const [circuitHead, ...circuitRows] = layOut(circuitColumns(request, response, zone));
  // Whether the output takes colour is the caller's to tell.
  const paint = (style: "bold" | "yellow", text: string) =>
    colour ? styleText(style, text, { validateStream: false }) : text;
  const bold = (text: string) => paint("bold", text);
  const isShort = ({ shortfallWh }: SessionPlan) => shortfallWh > 0;
  const sections = [
    [bold(`Site ${plain(response.siteId)}: ${STATUSES[response.status] ?? "no plan"}`)],
    [
      bold(vehicleHead),
      ...response.sessionPlans.map((plan, i) =>
        isShort(plan) ? paint("yellow", vehicleRows[i]) : vehicleRows[i],
      ),
      ...wrap(legend(response, zone), width),
    ],
    // Who ends short comes first.
    [
      ...response.sessionPlans.filter(isShort),
      ...response.sessionPlans.filter((plan) => !isShort(plan)),
    ].flatMap(({ sessionId, explanation }) =>
      explanation === "" ? [] : wrap(plain(`${sessionId}: ${explanation}`), width),
    ),
    [bold(circuitHead), ...circuitRows, ...penaltyNote(response).flatMap((line) => wrap(line, width))],
    fallbackLines(response).map((line, n) => (n === 0 ? bold(line) : line)),
    siteLines(request, response).flatMap((line) => wrap(line, width)),
    response.notices.flatMap(({ code, field, message }) =>
      wrap(plain(`${code} ${field}: ${message}`), width),
    ),
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join("\n")}\n`)
    .join("\n");
}

function vehicleColumns(
  request: OptimizeRequest,
  response: OptimizeResponse,
  zone: string,
  width: number,
): Column[] {
  const plans = response.sessionPlans;
  const startTime = response.sitePlan?.startTime;
  const versions = new Map(
    request.site?.evses.map(({ stationId, evseId, ocpp }) => [
      `${stationId}/${evseId}`,
      VERSIONS[ocpp?.version ?? OcppVersion.OCPP_VERSION_UNSPECIFIED],
    ]),
  );
  const column = (title: string, align: Column["align"], cell: (plan: SessionPlan) => string): Column => ({
    title,
    align,
    cells: plans.map(cell),
  });
  const columns = [
    column("vehicle", "left", ({ sessionId }) => id(sessionId)),
    column("EVSE", "left", ({ stationId, evseId }) => id(`${stationId}/${evseId}`)),
    column("OCPP", "left", ({ stationId, evseId }) => versions.get(`${stationId}/${evseId}`) ?? ""),
    column("need", "right", ({ plannedEnergyWh, shortfallWh }) => kilo(plannedEnergyWh + shortfallWh)),
    column("planned", "right", ({ plannedEnergyWh }) => kilo(plannedEnergyWh)),
    column("short", "right", ({ shortfallWh }) => (shortfallWh > 0 ? missing(shortfallWh) : "-")),
    column("first limit", "right", firstLimit),
    column("done by", "right", ({ completeTime }) => localTime(completeTime, startTime, zone)),
    column("change", "left", changeAndWave),
  ];
  const room = width - columns.reduce((sum, { title, cells }) => sum + longest([title, ...cells]) + 2, 0);
  if (room >= LEAST_SPARK_WIDTH)
    columns.push(sparkColumn(request, response, zone, Math.min(room, MOST_SPARK_WIDTH)));
  return columns;
}

/** What to install for the time without a connection. */
function fallbackLines({ fallbackProfiles }: OptimizeResponse): string[] {
  if (fallbackProfiles.length === 0) return [];
  return layOut([
    {
      title: "fallback",
      align: "left",
      cells: fallbackProfiles.map(({ stationId, evseId }) =>
        id(evseId === 0 ? `${stationId} in all` : `${stationId}/${evseId}`),
      ),
    },
    { title: "limit", align: "right", cells: fallbackProfiles.map(firstLimit) },
    { title: "kW", align: "right", cells: fallbackProfiles.map(({ powerW }) => kilo(powerW)) },
  ]);
}

/** The first limit of the profile, as the charger gets it. */
function firstLimit({ command }: Pick<SessionPlan, "command">): string {
  const schedule = command?.chargingProfile?.chargingSchedules[0];
  const period = schedule?.chargingSchedulePeriods[0];
  if (schedule === undefined || period === undefined) return "-";
  // In a profile in which the vehicle gives, a period can have a setpoint, or neither: then it is idle.
  const rate = period.limit ?? period.setpoint ?? 0;
  if (schedule.chargingRateUnit === ChargingRateUnit.W) return `${Math.round(rate)} W`;
  if (rate === 0) return "0 A";
  return `${(period.numberPhases ?? 1) > 1 ? `${period.numberPhases} x ` : ""}${rate.toFixed(1)} A`;
}

function legend({ sessionPlans }: OptimizeResponse, zone: string): string {
  const gives = sessionPlans.some(({ powerW }) => powerW.some((w) => w < 0))
    ? `, ${GIVES} where it gives`
    : "";
  return `Energy in kWh, times in ${plain(zone)}, A per phase. Bars: power, a vehicle's highest is full${gives}.`;
}

function changeAndWave({ change, command }: SessionPlan): string {
  if (change === Change.UNCHANGED) return "unchanged";
  if (command === undefined) return "at plug-in";
  return `${change === Change.NEW ? "new" : "changed"}, wave ${command.pushWave}`;
}

/** Each vehicle's mean power over time, the highest of them as the full bar; what it gives has a sign of its own. */
function sparkColumn(
  request: OptimizeRequest,
  response: OptimizeResponse,
  zone: string,
  width: number,
): Column {
  const bounds = slotBoundsMs(request, response);
  const slotCount = bounds.length - 1;
  const binCount = Math.min(width, slotCount);
  const startMs = bounds[0];
  const binMs = (bounds[slotCount] - startMs) / binCount;
  const span = `${clock(new Date(startMs), zone)}-${clock(new Date(bounds[slotCount]), zone)}`;
  return {
    title: span.length <= width ? span : "power",
    align: "left",
    cells: response.sessionPlans.map(({ powerW }) => {
      const energy = new Float64Array(binCount);
      for (let k = 0; k < slotCount; k++) {
        for (let bin = Math.floor((bounds[k] - startMs) / binMs); bin < binCount; bin++) {
          const fromMs = Math.max(bounds[k], startMs + bin * binMs);
          const toMs = Math.min(bounds[k + 1], startMs + (bin + 1) * binMs);
          if (toMs <= fromMs) break;
          energy[bin] += powerW[k] * (toMs - fromMs);
        }
      }
      const highest = energy.reduce((a, b) => Math.max(a, b), 0) || 1;
      // Rounded up: a little power shows as the lowest bar, not as none.
      return Array.from(energy, (value) =>
        value < 0 ? GIVES : BARS[Math.ceil((value / highest) * (BARS.length - 1))],
      ).join("");
    }),
  };
}

/** Slot k runs from entry k to entry k + 1. */
function slotBoundsMs(request: OptimizeRequest, response: OptimizeResponse): number[] {
  const starts = (response.sitePlan?.slotStartTimes ?? []).map((time) => time.getTime());
  const slotMs = (request.slotSeconds || DEFAULT_SLOT_SECONDS) * 1000;
  const lastMs = starts[starts.length - 1];
  const boundaryMs = (Math.floor(lastMs / slotMs) + 1) * slotMs;
  return [...starts, Math.min(boundaryMs, request.endTime?.getTime() ?? boundaryMs)];
}

function gridId(request: OptimizeRequest): string {
  return request.site?.circuits.find(({ parentCircuitId }) => parentCircuitId === "")?.circuitId ?? "";
}

/** Each circuit in the slot in which it is used most, against its limit there. */
function circuitColumns(request: OptimizeRequest, response: OptimizeResponse, zone: string): Column[] {
  const { circuits = [], slotStartTimes = [], startTime } = response.sitePlan ?? {};
  const rows = circuits.map(({ circuitId, powerW, limitW, shadowPricePerKwh }) => {
    const use = powerW.map((power, k) => (limitW.length === 0 ? power : power / Math.max(limitW[k], 1)));
    const slot = use.reduce((best, value, k) => (value > use[best] ? k : best), 0);
    const worth = shadowPricePerKwh.reduce((a, b) => Math.max(a, b), 0);
    return [
      id(circuitId),
      kilo(powerW[slot] ?? 0),
      limitW.length === 0 ? "none" : kilo(limitW[slot]),
      localTime(slotStartTimes[slot], startTime, zone),
      `${shadowPricePerKwh.filter((worthThen) => worthThen > 0).length} of ${powerW.length}`,
      worth > 0 ? price(request, worth) : "-",
    ];
  });
  const titles = ["circuit", "peak kW", "limit kW", "at", "slots full", "a kWh more is worth"];
  return titles.map((title, c) => ({
    title,
    align: c === 0 ? "left" : "right",
    cells: rows.map((row) => row[c]),
  }));
}

/** What the worth of a kWh is made of where somebody ends short. */
function penaltyNote({ summary, sitePlan }: OptimizeResponse): string[] {
  const isWorth = sitePlan?.circuits.some(({ shadowPricePerKwh }) => shadowPricePerKwh.some((w) => w > 0));
  return isWorth && (summary?.shortfallWh ?? 0) > 0
    ? ["While vehicles end short, a kWh more is worth what a missing one counts: above every price."]
    : [];
}

function siteLines(request: OptimizeRequest, response: OptimizeResponse): string[] {
  const { summary, solve } = response;
  const lines: string[] = [];
  if (summary !== undefined) {
    const grid = response.sitePlan?.circuits.find(({ circuitId }) => circuitId === gridId(request));
    const imports = response.sitePlan?.importPowerW ?? [];
    const peakSlot = imports.reduce((best, power, k) => (power > imports[best] ? k : best), 0);
    const limitW = grid?.limitW[peakSlot];
    lines.push(
      `Energy   ${kilo(summary.plannedEnergyWh)} of ${kilo(summary.requestedEnergyWh)} kWh planned, ${kilo(summary.shortfallWh)} kWh short`,
      `Peak     ${kilo(summary.peakImportW)} kW${limitW === undefined ? "" : ` of ${kilo(limitW)} kW`}; uncontrolled ${kilo(summary.uncontrolledPeakW)} kW`,
    );
    if (request.site?.tariff !== undefined) {
      const cost = summary.energyCost + summary.demandCost;
      lines.push(
        `Cost     ${money(request, cost)} = energy ${money(request, summary.energyCost)} + demand ${money(request, summary.demandCost)}; uncontrolled ${money(request, summary.uncontrolledCost)}${forOtherEnergy(summary)}`,
      );
    }
    if (summary.pvEnergyWh > 0) {
      const used = summary.pvEnergyWh - summary.exportEnergyWh;
      lines.push(
        `PV       ${kilo(summary.pvEnergyWh)} kWh, ${Math.round((100 * used) / summary.pvEnergyWh)} % used here; export ${kilo(summary.exportEnergyWh)} kWh for ${money(request, summary.exportRevenue)}`,
      );
    }
    const battery = response.sitePlan?.batteryPowerW ?? [];
    if (battery.length > 0) {
      const bounds = slotBoundsMs(request, response);
      const energyWh = (sign: number) =>
        battery.reduce(
          (wh, w, k) => wh + (Math.max(0, sign * w) * (bounds[k + 1] - bounds[k])) / 3_600_000,
          0,
        );
      lines.push(`Battery  ${kilo(energyWh(1))} kWh in, ${kilo(energyWh(-1))} kWh out`);
    }
    if (summary.dischargedEnergyWh > 0) {
      const paid =
        summary.dischargePayment > 0 ? `, drivers are paid ${money(request, summary.dischargePayment)}` : "";
      lines.push(`Vehicles ${kilo(summary.dischargedEnergyWh)} kWh given${paid}`);
    }
    if ((battery.length > 0 || summary.dischargedEnergyWh > 0) && request.site?.tariff !== undefined) {
      lines.push(`Site     ${money(request, summary.siteEnergyCost)} for all its energy, base load included`);
    }
    if (summary.carbonKg !== 0) lines.push(`Carbon   ${summary.carbonKg.toFixed(1)} kg`);
  }
  const { wave1ByTime, wave2ByTime, startTime } = response.sitePlan ?? {};
  const zone = request.site?.timeZone || "UTC";
  const waves = [wave1ByTime, wave2ByTime].flatMap((time, n) =>
    time === undefined ? [] : [`wave ${n + 1} by ${localTime(time, startTime, zone)}`],
  );
  if (waves.length > 0) lines.push(`Push     ${waves.join(", ")}`);
  if (solve !== undefined) {
    lines.push(
      `Solved   ${SOLVERS[solve.solver] ?? "?"}${gapOf(request, solve)}, ${Math.round(solve.solveMs)} ms in the solver, ${Math.round(solve.totalMs)} ms in all`,
      `Checked  ${solve.checks} checks of the profiles passed`,
    );
  }
  return lines;
}

/** How far the plan is from its bound. A share of next to nothing says nothing: the difference is told in money then. */
function gapOf(request: OptimizeRequest, { gap, objective, bound }: SolveReport): string {
  if (gap === undefined) return "";
  const { preference = Preference.UNSPECIFIED } = request.objective ?? {};
  const isMoney =
    preference === Preference.LOWEST_COST ||
    (preference === Preference.UNSPECIFIED && request.site?.tariff !== undefined);
  if (gap < 1 || !isMoney || objective === undefined || bound === undefined)
    return `, as sent ${(gap * 100).toFixed(3)} % from the bound`;
  return `, as sent ${money(request, objective - bound)} above the bound`;
}

/** What the uncontrolled cost pays for, where that is not what the plan's does. */
function forOtherEnergy({ plannedEnergyWh, uncontrolledEnergyWh }: PlanSummary): string {
  const isSame = Math.abs(uncontrolledEnergyWh - plannedEnergyWh) < 0.001 * plannedEnergyWh;
  return isSame ? "" : ` for ${kilo(uncontrolledEnergyWh)} kWh`;
}

/** The header line and one line a row. */
export function layOut(columns: Column[]): string[] {
  const widths = columns.map(({ title, cells }) => longest([title, ...cells]));
  const line = (texts: string[]) =>
    texts
      .map((text, c) => (columns[c].align === "left" ? text.padEnd(widths[c]) : text.padStart(widths[c])))
      .join(GAP)
      .trimEnd();
  const rows = columns[0].cells.map((_, row) => line(columns.map(({ cells }) => cells[row])));
  return [line(columns.map(({ title }) => title)), ...rows];
}

function longest(texts: string[]): number {
  return texts.reduce((most, text) => Math.max(most, text.length), 0);
}

/** Lines of at most `width`, broken at spaces, the later ones indented. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = `  ${word}`;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** An id that fits its column, without its middle where it must be cut: both ends tell most. */
function id(text: string): string {
  const safe = plain(text);
  if (safe.length <= LONGEST_ID) return safe;
  const kept = (LONGEST_ID - 1) / 2;
  return `${safe.slice(0, Math.ceil(kept))}…${safe.slice(-Math.floor(kept))}`;
}

/** Texts are the caller's: nothing in them may steer the terminal. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}

function kilo(value: number): string {
  return (value / 1000).toFixed(1);
}

/** Of what is missing, even the least must show. */
function missing(energyWh: number): string {
  return energyWh < 50 ? "<0.1" : kilo(energyWh);
}

function price(request: OptimizeRequest, perKwh: number): string {
  return `${perKwh < 0.001 ? "<0.001" : perKwh.toFixed(3)} ${currency(request)}`.trimEnd();
}

function money(request: OptimizeRequest, amount: number): string {
  return `${amount.toFixed(2)} ${currency(request)}`.trimEnd();
}

function currency(request: OptimizeRequest): string {
  return plain(request.site?.tariff?.currency ?? "");
}

/** HH:MM, with the weekday where it is not that of the plan's start. */
function localTime(time: Date | undefined, startTime: Date | undefined, zone: string): string {
  if (time === undefined) return "-";
  const local = DateTime.fromJSDate(time, { zone });
  const isSameDay = startTime !== undefined && local.hasSame(DateTime.fromJSDate(startTime, { zone }), "day");
  return local.toFormat(isSameDay ? "HH:mm" : "ccc HH:mm", { locale: "en" });
}

function clock(time: Date, zone: string): string {
  return DateTime.fromJSDate(time, { zone }).toFormat("HH:mm");
}

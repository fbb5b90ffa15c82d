import type { Evse, Preference, Problem, Session, SolverChoice } from "../domain/problem.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { SolverKind, Preference as WirePreference } from "../gen/wattslot/v1/optimizer.ts";
import { BOUNDS } from "./bounds.ts";
import { Findings, LARGEST, quote } from "./findings.ts";
import { readSeries } from "./series.ts";
import { readSessions } from "./sessions.ts";
import { readSite } from "./site.ts";
import { hasPrice, readTariff } from "./tariff.ts";

const HOUR_MS = 3_600_000;
const DEFAULT_SLOT_SECONDS = 900;
const DEFAULT_HORIZON_MS = 48 * HOUR_MS;
const LONGEST_HORIZON_MS = 31 * 24 * HOUR_MS;
const LONGEST_TIME_MS = 10_000;

const PREFERENCES: Readonly<Record<number, Preference>> = {
  [WirePreference.LOWEST_COST]: "LOWEST_COST",
  [WirePreference.EARLIEST]: "EARLIEST",
  [WirePreference.FLATTEST]: "FLATTEST",
  [WirePreference.LOWEST_CARBON]: "LOWEST_CARBON",
};
const SOLVERS: Readonly<Record<number, SolverChoice>> = {
  [SolverKind.UNSPECIFIED]: "AUTO",
  [SolverKind.GLPK]: "GLPK",
  [SolverKind.HIGHS]: "HIGHS",
};

/**
 * Reads a request into a problem with every default filled in and ids resolved; `nowMs` is the
 * default start. Throws a WattslotError that lists every wrong field by its path in the contract:
 * INVALID_ARGUMENT, or RESOURCE_EXHAUSTED where the request is right but above a published bound.
 */
export function toProblem(request: wire.OptimizeRequest, nowMs: number): Problem {
  refuseTooMany(request);
  const findings = new Findings();
  const { site } = request;
  if (site === undefined) findings.wrong("site", "is required");

  const givenStartMs =
    request.startTime === undefined ? nowMs : findings.time("start_time", request.startTime);
  const startMs = Math.floor(givenStartMs / 1000) * 1000;
  const where = site === undefined ? undefined : readSite(findings, site, startMs);
  const defaultStayS = findings.whole(
    "site.default_stay_seconds",
    site?.defaultStaySeconds ?? 0,
    0,
    LARGEST.uint32,
  );
  const sessions = readSessions(findings, request.sessions, where, {
    planStartMs: startMs,
    defaultStayMs: defaultStayS === 0 ? undefined : defaultStayS * 1000,
  });

  const slotMs = readSlotMs(findings, request.slotSeconds);
  const endMs = readEndMs(findings, request.endTime, { startMs, slotMs, sessions });
  fitSessions(findings, sessions, endMs);
  const slotStartsMs = slotsOf(findings, {
    startMs,
    endMs,
    slotMs,
    sessions,
    circuitCount: request.site?.circuits.length ?? 0,
  });

  const tariff = readTariff(findings, site?.tariff, {
    startMs,
    endMs,
    timeZone: where?.site.timeZone ?? "UTC",
  });
  const goals = readObjective(findings, request.objective, site);
  readInstalledPlans(findings, request.installedPlans, { sessions, evses: where?.site.evses ?? [] }, startMs);
  const options = readOptions(findings, request.options);

  findings.throwIfAny();
  // Without a site there was a finding.
  const { site: readable } = where!;
  return {
    site: { ...readable, tariff },
    sessions,
    slotStartsMs,
    ...goals,
    ...options,
    notices: findings.notices,
  };
}

/** Bounds that are seen before anything is read, so that reading itself is bounded. */
function refuseTooMany({ site, sessions, installedPlans }: wire.OptimizeRequest): void {
  const findings = new Findings();
  const counts: [field: string, count: number, most: number][] = [
    ["sessions", sessions.length, BOUNDS.sessions],
    ["site.evses", site?.evses.length ?? 0, BOUNDS.evses],
    ["site.circuits", site?.circuits.length ?? 0, BOUNDS.circuits],
    ["installed_plans", installedPlans.length, BOUNDS.installedPlans],
  ];
  for (const [field, count, most] of counts) {
    if (count > most) findings.tooLarge(field, `at most ${most}, has ${count}`);
  }
  findings.throwIfAny();
}

function readSlotMs(findings: Findings, slotSeconds: number): number {
  if (slotSeconds === 0) return DEFAULT_SLOT_SECONDS * 1000;
  const seconds = findings.whole("slot_seconds", slotSeconds, 60, 3600);
  if (3600 % seconds > 0) findings.wrong("slot_seconds", `must be a divisor of 3600, is ${seconds}`);
  return seconds * 1000;
}

/** End of the plan; NaN where it can't be made out. */
function readEndMs(
  findings: Findings,
  endTime: Date | undefined,
  plan: { startMs: number; slotMs: number; sessions: readonly Session[] },
): number {
  const { startMs, slotMs, sessions } = plan;
  if (endTime === undefined) {
    const lastMs = sessions.reduce((last, { departureMs }) => Math.max(last, departureMs), startMs);
    // Sessions that all have gone are wrong, but their plan has an end.
    if (lastMs === startMs) return nextBoundaryMs(startMs, slotMs);
    return Math.min(lastMs, startMs + DEFAULT_HORIZON_MS);
  }
  const endMs = Math.floor(findings.time("end_time", endTime) / 1000) * 1000;
  if (endMs <= startMs) findings.wrong("end_time", "must be at least a second after the start of the plan");
  else if (endMs > startMs + LONGEST_HORIZON_MS) {
    findings.wrong("end_time", "must be at most 31 days after the start of the plan");
  } else return endMs;
  return Number.NaN;
}

function nextBoundaryMs(atMs: number, slotMs: number): number {
  return (Math.floor(atMs / slotMs) + 1) * slotMs;
}

/** Ends every stay with the plan at the latest. Of one that begins only then nothing is planned. */
function fitSessions(findings: Findings, sessions: readonly Session[], endMs: number): void {
  const end = Number.isNaN(endMs) ? "" : new Date(endMs).toISOString();
  sessions.forEach((session, n) => {
    if (session.arrivalMs >= endMs) {
      findings.notice(
        "ARRIVAL_BEYOND_HORIZON",
        `sessions[${n}].arrival_time`,
        `the vehicle comes after the end of the plan, ${end}: nothing is planned for it, and its need is not counted`,
      );
      Object.assign(session, {
        arrivalMs: endMs,
        departureMs: endMs,
        energyWh: 0,
        minimum: undefined,
        departureChances: [],
        // A command for it would only say 0.
        transactionId: "",
      });
    } else if (session.departureMs > endMs) {
      findings.notice(
        "DEPARTURE_BEYOND_HORIZON",
        `sessions[${n}].departure_time`,
        `the plan ends before the vehicle leaves: all its energy is planned until ${end}`,
      );
      session.departureMs = endMs;
    }
  });
}

/** Boundaries on multiples of the slot's length in UTC; the first and last slot may be shorter. */
function slotsOf(
  findings: Findings,
  plan: {
    startMs: number;
    endMs: number;
    slotMs: number;
    sessions: readonly Session[];
    circuitCount: number;
  },
): number[] {
  const { startMs, endMs, slotMs, sessions, circuitCount } = plan;
  const slotCount = slotsBetween(startMs, endMs, slotMs);
  if (Number.isNaN(slotCount)) return [];
  if (slotCount > BOUNDS.slots) {
    findings.tooLarge("slot_seconds", `at most ${BOUNDS.slots} slots, the plan has ${slotCount}`);
    return [];
  }
  if (slotCount * circuitCount > BOUNDS.circuitSlots) {
    findings.tooLarge(
      "site.circuits",
      `circuits x slots at most ${BOUNDS.circuitSlots}, is ${slotCount * circuitCount}`,
    );
  }
  let vehicleSlots = 0;
  for (const { arrivalMs, departureMs } of sessions) {
    if (arrivalMs < departureMs) vehicleSlots += slotsBetween(arrivalMs, departureMs, slotMs);
  }
  if (vehicleSlots > BOUNDS.vehicleSlots) {
    findings.tooLarge(
      "sessions",
      `slots in which a vehicle is there at most ${BOUNDS.vehicleSlots}, are ${vehicleSlots}`,
    );
  }
  const starts = [startMs];
  for (let at = nextBoundaryMs(startMs, slotMs); at < endMs; at += slotMs) starts.push(at);
  return [...starts, endMs];
}

/** Slots that [fromMs, toMs) touches. */
function slotsBetween(fromMs: number, toMs: number, slotMs: number): number {
  return Math.ceil(toMs / slotMs) - Math.floor(fromMs / slotMs);
}

function readObjective(
  findings: Findings,
  objective: wire.Objective | undefined,
  site: wire.Site | undefined,
): Pick<Problem, "preference" | "carbonPricePerKg" | "changePricePerKwh" | "unmetPricePerKwh"> {
  const given = objective?.preference ?? WirePreference.UNSPECIFIED;
  // A site that is missing is one finding; what it would hold is not asked for on top.
  const canCost = site === undefined || hasPrice(site.tariff);
  const hasCarbon = site === undefined || site.tariff?.carbonGPerKwh !== undefined;
  const byDefault = canCost ? "LOWEST_COST" : "EARLIEST";
  const preference =
    given === WirePreference.UNSPECIFIED
      ? byDefault
      : (findings.choice("objective.preference", given, PREFERENCES) ?? byDefault);
  if (preference === "LOWEST_COST" && !canCost) {
    findings.wrong("objective.preference", "the lowest cost needs a price in site.tariff");
  }
  if (preference === "LOWEST_CARBON" && !hasCarbon) {
    findings.wrong("objective.preference", "the lowest carbon needs site.tariff.carbon_g_per_kwh");
  }
  const price = { min: 0, max: LARGEST.pricePerKwh };
  const carbonPricePerKg = findings.number(
    "objective.carbon_price_per_kg",
    objective?.carbonPricePerKg ?? 0,
    price,
  );
  if (carbonPricePerKg > 0 && !hasCarbon) {
    findings.wrong("objective.carbon_price_per_kg", "needs site.tariff.carbon_g_per_kwh");
  }
  const changePrice = objective?.changePricePerKwh;
  const unmetPrice = objective?.unmetPricePerKwh;
  return {
    preference,
    carbonPricePerKg,
    changePricePerKwh:
      changePrice === undefined
        ? undefined
        : findings.number("objective.change_price_per_kwh", changePrice, price),
    unmetPricePerKwh:
      unmetPrice === undefined
        ? undefined
        : findings.number("objective.unmet_price_per_kwh", unmetPrice, price),
  };
}

/** Puts what the chargers were last told to their sessions. */
function readInstalledPlans(
  findings: Findings,
  plans: readonly wire.InstalledPlan[],
  { sessions, evses }: { sessions: readonly Session[]; evses: readonly Evse[] },
  planStartMs: number,
): void {
  const sessionOf = new Map(sessions.map((session) => [session.sessionId, session]));
  const indexOf = new Map<string, number>();
  plans.forEach(({ sessionId, powerW, chargingProfileId, numberPhases }, n) => {
    const field = `installed_plans[${n}]`;
    findings.id(`${field}.session_id`, sessionId);
    const other = indexOf.get(sessionId);
    if (other === undefined) indexOf.set(sessionId, n);
    else if (sessionId !== "")
      findings.wrong(`${field}.session_id`, `the same as that of installed_plans[${other}]`);
    if (powerW === undefined) findings.wrong(`${field}.power_w`, "is required");
    const evse = evses[sessionOf.get(sessionId)?.evse ?? -1];
    // Where what the charger gives is wrong itself, what it was told may be right.
    const onlyCharges = evse === undefined || evse.maxDischargePowerW === 0;
    const range = { min: onlyCharges ? 0 : -LARGEST.powerW, max: LARGEST.powerW };
    const series = readSeries(findings, `${field}.power_w`, powerW, range, planStartMs);
    const id = findings.whole(
      `${field}.charging_profile_id`,
      chargingProfileId,
      -LARGEST.int32 - 1,
      LARGEST.int32,
    );
    if (numberPhases.length > 0 && numberPhases.length !== powerW?.values.length) {
      findings.wrong(
        `${field}.number_phases`,
        `must have one value for each of power_w or none, has ${numberPhases.length}`,
      );
    }
    const phases = Float64Array.from(numberPhases, (count, k) =>
      findings.whole(`${field}.number_phases[${k}]`, count, 0, 3),
    );
    const session = sessionOf.get(sessionId);
    if (session !== undefined && series !== undefined) {
      session.installed = {
        powerW: series,
        chargingProfileId: id,
        numberPhases: phases.length === 0 ? undefined : { ...series, values: phases },
      };
    } else if (session === undefined) {
      findings.notice(
        "INSTALLED_PLAN_UNKNOWN_SESSION",
        `${field}.session_id`,
        `there is no session ${quote(sessionId)}: the plan is left out`,
      );
    }
  });
}

function readOptions(
  findings: Findings,
  options: wire.SolveOptions | undefined,
): Pick<Problem, "solver" | "timeLimitMs"> {
  const given = options?.timeLimitMs ?? 0;
  const timeLimitMs =
    given === 0 ? LONGEST_TIME_MS : findings.whole("options.time_limit_ms", given, 1, LARGEST.uint32);
  if (timeLimitMs > LONGEST_TIME_MS) {
    findings.notice(
      "TIME_LIMIT_CLIPPED",
      "options.time_limit_ms",
      `counts as ${LONGEST_TIME_MS}, the most there is`,
    );
  }
  return {
    timeLimitMs: Math.min(timeLimitMs, LONGEST_TIME_MS),
    solver: findings.choice("options.solver", options?.solver ?? SolverKind.UNSPECIFIED, SOLVERS) ?? "AUTO",
  };
}

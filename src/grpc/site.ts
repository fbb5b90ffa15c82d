import type {
  Circuit,
  Evse,
  OcppCapabilities,
  OcppVersion,
  Phase,
  RateUnit,
  Site,
  StationaryBattery,
  Transformer,
} from "../domain/problem.ts";
import type { Series } from "../domain/series.ts";
import { isZone } from "../domain/wall-clock.ts";
import { voltagesOf, wattsPerAmpere } from "../domain/wiring.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import {
  ChargingRateUnit,
  Supply,
  Winding,
  Phase as WirePhase,
  OcppVersion as WireVersion,
} from "../gen/wattslot/v1/optimizer.ts";
import { EFFICIENCY, type Findings, LARGEST, quote } from "./findings.ts";
import { readSeries } from "./series.ts";

const SUPPLIES: Readonly<Record<number, Evse["supply"]>> = {
  [Supply.UNSPECIFIED]: "AC",
  [Supply.AC]: "AC",
  [Supply.AC_LINE_TO_LINE]: "AC_LINE_TO_LINE",
  [Supply.DC]: "DC",
};
const PHASES: Readonly<Record<number, Phase>> = { [WirePhase.L1]: 1, [WirePhase.L2]: 2, [WirePhase.L3]: 3 };
const WINDINGS: Readonly<Record<number, Transformer["winding"]>> = {
  [Winding.WYE_WYE]: "WYE_WYE",
  [Winding.DELTA_WYE]: "DELTA_WYE",
};
const VERSIONS: Readonly<Record<number, OcppVersion>> = {
  [WireVersion.OCPP_VERSION_UNSPECIFIED]: "2.0.1",
  [WireVersion.OCPP_VERSION_1_6]: "1.6",
  [WireVersion.OCPP_VERSION_2_0_1]: "2.0.1",
  [WireVersion.OCPP_VERSION_2_1]: "2.1",
};
const RATE_UNITS: Readonly<Record<number, RateUnit>> = {
  [ChargingRateUnit.A]: "A",
  [ChargingRateUnit.W]: "W",
};

// Periods of a schedule: what 1.6 chargers are known to take, and what the 2.x schemas allow.
const LONGEST_LAG_S = 3600;
const PERIODS_1_6 = 24;
const PERIODS_2_X = 1024;

const POWER_W = { min: 0, max: LARGEST.powerW };
const CURRENT_A = { min: 0, max: LARGEST.currentA };
const MOST_SWITCHES = 20;
const PRIMARY_V = { min: 50, max: 100_000 };

/** Share of the metered energy that reaches a battery, where none is given. */
export function defaultEfficiency(supply: number): number {
  return supply === Supply.DC ? 0.95 : 0.9;
}

/** The site without its tariff, and how the request's ids lead into it. */
export interface ReadSite {
  site: Omit<Site, "tariff">;
  /** Efficiency from the meter to the battery, one an EVSE. */
  efficiencies: number[];
  /** Index into site.evses by `evseKey`. */
  evseIndex: Map<string, number>;
}

/** What tells one EVSE from another. */
export function evseKey(stationId: string, evseId: number): string {
  return `${evseId} ${stationId}`;
}

/** Reads everything of the site but its tariff; circuits come out parents first. */
export function readSite(findings: Findings, site: wire.Site, planStartMs: number): ReadSite {
  const siteId = findings.id("site.site_id", site.siteId);
  const timeZone = site.timeZone === "" ? "UTC" : site.timeZone;
  if (!isZone(timeZone)) {
    findings.wrong("site.time_zone", `${quote(timeZone)} is not an IANA time zone`);
  }
  const nominalVoltageV =
    site.nominalVoltageV === 0
      ? 230
      : findings.number("site.nominal_voltage_v", site.nominalVoltageV, { min: 50, max: 1000 });

  const pvPowerW = readSeries(findings, "site.pv_power_w", site.pvPowerW, POWER_W, planStartMs);
  const { circuits, circuitIndex } = readCircuits(findings, site.circuits, planStartMs);
  const battery = site.battery && readBattery(findings, "site.battery", site.battery, circuitIndex);
  const voltages = voltagesOf({ circuits, nominalVoltageV });
  const evseIndex = new Map<string, number>();
  const efficiencies: number[] = [];
  const evses = site.evses.map((evse, n) => {
    const field = `site.evses[${n}]`;
    const key = evseKey(evse.stationId, evse.evseId);
    const other = evseIndex.get(key);
    if (other === undefined) evseIndex.set(key, n);
    else findings.wrong(`${field}.evse_id`, `the same station_id and evse_id as site.evses[${other}]`);
    const circuit = evse.circuitId === "" ? 0 : circuitIndex.get(evse.circuitId);
    if (circuit === undefined) {
      findings.wrong(`${field}.circuit_id`, `there is no circuit ${quote(evse.circuitId)}`);
    }
    const voltageV = voltages[circuit ?? 0] ?? nominalVoltageV;
    const read = readEvse(findings, field, evse, { circuit: circuit ?? 0, voltageV });
    const efficiency = evse.efficiency ?? defaultEfficiency(evse.supply);
    efficiencies.push(findings.number(`${field}.efficiency`, efficiency, EFFICIENCY));
    return read;
  });
  return {
    site: { siteId, timeZone, nominalVoltageV, circuits, evses, pvPowerW, battery },
    efficiencies,
    evseIndex,
  };
}

/** A round trip loses half of what it loses on each way. */
function readBattery(
  findings: Findings,
  field: string,
  battery: wire.StationaryBattery,
  circuitIndex: ReadonlyMap<string, number>,
): StationaryBattery {
  const percent = (name: string, value: number) =>
    findings.number(`${field}.${name}`, value, { min: 0, max: 100 }) / 100;
  const capacityWh = findings.number(`${field}.capacity_wh`, battery.capacityWh, {
    above: 0,
    max: LARGEST.energyWh,
  });
  const circuit = battery.circuitId === "" ? 0 : circuitIndex.get(battery.circuitId);
  if (circuit === undefined) {
    findings.wrong(`${field}.circuit_id`, `there is no circuit ${quote(battery.circuitId)}`);
  }
  const stored = percent("soc_percent", battery.socPercent);
  const kept = percent("min_soc_percent", battery.minSocPercent);
  if (stored < kept) {
    findings.notice(
      "BATTERY_BELOW_MINIMUM",
      `${field}.soc_percent`,
      "the battery holds less than what is kept in it: it is only charged",
    );
  }
  const efficiency = findings.number(
    `${field}.round_trip_efficiency`,
    battery.roundTripEfficiency ?? 0.9,
    EFFICIENCY,
  );
  return {
    circuit: circuit ?? 0,
    capacityWh,
    storedWh: stored * capacityWh,
    minStoredWh: kept * capacityWh,
    maxChargePowerW: findings.number(`${field}.max_charge_power_w`, battery.maxChargePowerW, POWER_W),
    maxDischargePowerW: findings.number(
      `${field}.max_discharge_power_w`,
      battery.maxDischargePowerW,
      POWER_W,
    ),
    efficiency: Math.sqrt(efficiency),
    endValuePerKwh:
      battery.endValuePerKwh === undefined
        ? undefined
        : findings.number(`${field}.end_value_per_kwh`, battery.endValuePerKwh, {
            min: 0,
            max: LARGEST.pricePerKwh,
          }),
  };
}

function readCircuits(
  findings: Findings,
  circuits: readonly wire.Circuit[],
  planStartMs: number,
): { circuits: Circuit[]; circuitIndex: Map<string, number> } {
  const indexOf = new Map<string, number>();
  circuits.forEach(({ circuitId }, n) => {
    const field = `site.circuits[${n}].circuit_id`;
    findings.id(field, circuitId);
    const other = indexOf.get(circuitId);
    if (other === undefined) indexOf.set(circuitId, n);
    else if (circuitId !== "") findings.wrong(field, `the same as that of site.circuits[${other}]`);
  });
  const parents = circuits.map(({ parentCircuitId }, n) => {
    if (parentCircuitId === "") return -1;
    const parent = indexOf.get(parentCircuitId);
    if (parent !== undefined) return parent;
    findings.wrong(`site.circuits[${n}].parent_circuit_id`, `there is no circuit ${quote(parentCircuitId)}`);
    return -1;
  });
  const roots = circuits.filter(({ parentCircuitId }) => parentCircuitId === "");
  if (roots.length !== 1) {
    const names = roots.slice(0, 5).map(({ circuitId }) => quote(circuitId));
    findings.wrong(
      "site.circuits",
      `exactly one circuit must have no parent, the grid connection; ${roots.length} have none ${names.join(", ")}`.trimEnd(),
    );
  }
  if (roots.length === 1 && roots[0].transformer !== undefined) {
    findings.wrong(
      `site.circuits[${circuits.indexOf(roots[0])}].transformer`,
      "the grid connection has no circuit above it that a transformer could part it from",
    );
  }
  for (const loop of loopsOf(parents)) {
    const names = [...loop, loop[0]].map((n) => quote(circuits[n].circuitId)).join(" under ");
    findings.wrong(`site.circuits[${loop[0]}].parent_circuit_id`, `circuits in a loop: ${names}`);
  }

  const order = parentsFirst(parents);
  const position = new Int32Array(circuits.length);
  order.forEach((n, index) => {
    position[n] = index;
  });
  const read = circuits.map((circuit, n) => {
    const parent = parents[n] === -1 ? -1 : position[parents[n]];
    return { circuitId: circuit.circuitId, parent, ...readLimits(findings, circuit, n, planStartMs) };
  });
  const ordered = order.map((n) => read[n]);
  refuseTwoVoltages(findings, ordered, order);
  return {
    circuits: ordered,
    circuitIndex: new Map([...indexOf].map(([id, n]) => [id, position[n]])),
  };
}

function readLimits(
  findings: Findings,
  circuit: wire.Circuit,
  n: number,
  planStartMs: number,
): Omit<Circuit, "circuitId" | "parent"> {
  const field = `site.circuits[${n}]`;
  const { maxPowerW, maxCurrentA } = circuit;
  const limits = {
    maxPowerW:
      maxPowerW === undefined
        ? Number.POSITIVE_INFINITY
        : findings.number(`${field}.max_power_w`, maxPowerW, POWER_W),
    maxCurrentA:
      maxCurrentA === undefined
        ? Number.POSITIVE_INFINITY
        : findings.number(`${field}.max_current_a`, maxCurrentA, CURRENT_A),
    maxPowerSeriesW: readSeries(
      findings,
      `${field}.max_power_series_w`,
      circuit.maxPowerSeriesW,
      POWER_W,
      planStartMs,
    ),
    baseLoadW: readSeries(findings, `${field}.base_load_w`, circuit.baseLoadW, POWER_W, planStartMs),
  };
  const isRoot = circuit.parentCircuitId === "";
  if (
    isRoot &&
    maxPowerW === undefined &&
    maxCurrentA === undefined &&
    circuit.maxPowerSeriesW === undefined
  ) {
    findings.notice("ROOT_WITHOUT_LIMIT", field, "the grid connection has no limit");
  }
  const baseLoadA: Circuit["baseLoadA"] = [undefined, undefined, undefined];
  const given = new Set<Phase>();
  circuit.baseLoadA.forEach(({ phase, currentA }, i) => {
    const at = `${field}.base_load_a[${i}]`;
    const line = findings.choice(`${at}.phase`, phase, PHASES);
    if (currentA === undefined) findings.wrong(`${at}.current_a`, "is required");
    const series: Series | undefined = readSeries(
      findings,
      `${at}.current_a`,
      currentA,
      CURRENT_A,
      planStartMs,
    );
    if (line === undefined) return;
    if (given.has(line)) findings.wrong(`${at}.phase`, `L${line} is given twice`);
    given.add(line);
    baseLoadA[line - 1] = series;
  });
  const transformer = readTransformer(findings, `${field}.transformer`, circuit.transformer);
  return { ...limits, baseLoadA, transformer };
}

function readTransformer(
  findings: Findings,
  field: string,
  transformer: wire.Transformer | undefined,
): Transformer | undefined {
  if (transformer === undefined) return undefined;
  return {
    winding: findings.choice(`${field}.winding`, transformer.winding, WINDINGS) ?? "WYE_WYE",
    primaryVoltageV: findings.number(`${field}.primary_voltage_v`, transformer.primaryVoltageV, PRIMARY_V),
  };
}

/** Lines have one voltage: the primaries that hang on them must agree. `order` has the places in the request. */
function refuseTwoVoltages(findings: Findings, circuits: readonly Circuit[], order: readonly number[]): void {
  const voltages = voltagesOf({ circuits, nominalVoltageV: Number.NaN });
  circuits.forEach(({ parent, transformer }, c) => {
    const sideV = parent < 0 ? Number.NaN : voltages[parent];
    if (transformer === undefined || !(Math.abs(transformer.primaryVoltageV - sideV) > 0)) return;
    findings.wrong(
      `site.circuits[${order[c]}].transformer.primary_voltage_v`,
      `another transformer on the same lines has ${sideV}`,
    );
  });
}

/** Cycles among circuits, each once, from its first member; parents[n] is an index or -1. */
function loopsOf(parents: readonly number[]): number[][] {
  const loops: number[][] = [];
  // The walk on which a circuit was first met; 0 for none.
  const walkOf = new Int32Array(parents.length);
  for (let start = 0; start < parents.length; start++) {
    let n = start;
    while (n !== -1 && walkOf[n] === 0) {
      walkOf[n] = start + 1;
      n = parents[n];
    }
    if (n === -1 || walkOf[n] !== start + 1) continue;
    const loop = [n];
    for (let next = parents[n]; next !== n; next = parents[next]) loop.push(next);
    loops.push(loop);
  }
  return loops;
}

/** All indices, each after its parent, otherwise in their own order. */
function parentsFirst(parents: readonly number[]): number[] {
  const order: number[] = [];
  const isPlaced = new Uint8Array(parents.length);
  for (let start = 0; start < parents.length; start++) {
    const chain: number[] = [];
    for (let n = start; n !== -1 && isPlaced[n] === 0; n = parents[n]) {
      isPlaced[n] = 1;
      chain.push(n);
    }
    order.push(...chain.reverse());
  }
  return order;
}

function readEvse(
  findings: Findings,
  field: string,
  evse: wire.Evse,
  { circuit, voltageV }: { circuit: number; voltageV: number },
): Evse {
  const stationId = findings.id(`${field}.station_id`, evse.stationId);
  const evseId = findings.whole(`${field}.evse_id`, evse.evseId, 1, LARGEST.evseId);
  const supply = findings.choice(`${field}.supply`, evse.supply, SUPPLIES) ?? "AC";
  const uncontrolledPowerW =
    evse.uncontrolledPowerW === undefined
      ? undefined
      : findings.number(`${field}.uncontrolled_power_w`, evse.uncontrolledPowerW, POWER_W);
  const limits =
    supply === "DC"
      ? readDcLimits(findings, field, evse)
      : readAcLimits(findings, field, evse, { supply, voltageV });
  if (limits.minPowerW > limits.maxPowerW) {
    findings.wrong(`${field}.min_power_w`, `${limits.minPowerW} is above the maximum of ${limits.maxPowerW}`);
  }
  const ocpp = readOcpp(findings, `${field}.ocpp`, evse.ocpp, supply);
  const highestW = Math.min(
    limits.maxPowerW,
    supply === "DC" ? limits.maxPowerW : limits.maxCurrentA * wattsPerAmpere(voltageV, supply, limits.phases),
  );
  const fallbackPowerW = readFallbackPower(findings, `${field}.fallback_power_w`, evse, highestW);
  const isControlled = uncontrolledPowerW === undefined;
  if (!isControlled && (evse.isOffline || evse.fallbackPowerW !== undefined)) {
    findings.notice(
      "UNCONTROLLED_ANYWAY",
      `${field}.uncontrolled_power_w`,
      "is reserved all the time: fallback_power_w and is_offline have no effect beside it",
    );
  }
  return {
    stationId,
    evseId,
    circuit,
    supply,
    ...limits,
    uncontrolledPowerW,
    maxDischargePowerW: findings.number(`${field}.max_discharge_power_w`, evse.maxDischargePowerW, POWER_W),
    maxPhaseSwitches: readPhaseSwitches(findings, `${field}.max_phase_switches`, evse, limits.phases, supply),
    fallbackPowerW: isControlled ? fallbackPowerW : 0,
    isOffline: isControlled && evse.isOffline,
    ocpp,
  };
}

/** What a vehicle without a plan may draw: no more than the charger has, and all of that where nothing is known of one that is offline. */
function readFallbackPower(
  findings: Findings,
  field: string,
  { fallbackPowerW, isOffline }: wire.Evse,
  highestW: number,
): number {
  if (fallbackPowerW === undefined) return isOffline ? highestW : 0;
  const powerW = findings.number(field, fallbackPowerW, POWER_W);
  if (!(powerW > highestW + 1e-3)) return Math.min(powerW, highestW);
  findings.notice("FALLBACK_CLIPPED", field, `is above the charger's highest power: counts as ${highestW}`);
  return highestW;
}

/** How often a charger may change its phases; only where it has all three to change between. */
function readPhaseSwitches(
  findings: Findings,
  field: string,
  { maxPhaseSwitches }: wire.Evse,
  phases: readonly Phase[],
  supply: Evse["supply"],
): number {
  if (maxPhaseSwitches === 0) return 0;
  const switches = findings.whole(field, maxPhaseSwitches, 0, MOST_SWITCHES);
  if (supply === "AC" && phases.length === 3) return switches;
  findings.wrong(field, "is for AC on three phases");
  return 0;
}

type Limits = Pick<
  Evse,
  "phases" | "hasUnknownPhases" | "maxCurrentA" | "minCurrentA" | "maxPowerW" | "minPowerW"
>;

function readAcLimits(
  findings: Findings,
  field: string,
  evse: wire.Evse,
  { supply, voltageV }: { supply: Evse["supply"]; voltageV: number },
): Limits {
  const { phases, hasUnknownPhases } = readPhases(findings, `${field}.phases`, evse.phases);
  const isLineToLine = supply === "AC_LINE_TO_LINE";
  if (isLineToLine && evse.phases.length !== 2) {
    findings.wrong(
      `${field}.phases`,
      `must be the two lines that it hangs between, has ${evse.phases.length}`,
    );
  }
  const maxCurrentA = findings.number(`${field}.max_current_a`, evse.maxCurrentA ?? 32, {
    above: 0,
    max: LARGEST.currentA,
  });
  const minCurrentA = findings.number(`${field}.min_current_a`, evse.minCurrentA ?? 6, CURRENT_A);
  if (minCurrentA > maxCurrentA) {
    const given = evse.minCurrentA === undefined ? `the default of ${minCurrentA}` : `${minCurrentA}`;
    findings.wrong(`${field}.min_current_a`, `${given} is above max_current_a, ${maxCurrentA}`);
  }
  return {
    phases,
    hasUnknownPhases,
    maxCurrentA,
    minCurrentA,
    maxPowerW:
      evse.maxPowerW === undefined
        ? maxCurrentA * wattsPerAmpere(voltageV, supply, phases)
        : findings.number(`${field}.max_power_w`, evse.maxPowerW, POWER_W),
    minPowerW: findings.number(`${field}.min_power_w`, evse.minPowerW ?? 0, POWER_W),
  };
}

function readDcLimits(findings: Findings, field: string, evse: wire.Evse): Limits {
  if (evse.phases.length > 0) findings.wrong(`${field}.phases`, "must be empty on DC");
  if (evse.maxCurrentA !== undefined) findings.wrong(`${field}.max_current_a`, "is for AC: give max_power_w");
  if (evse.minCurrentA !== undefined) findings.wrong(`${field}.min_current_a`, "is for AC: give min_power_w");
  if (evse.maxPowerW === undefined) findings.wrong(`${field}.max_power_w`, "is required on DC");
  return {
    phases: [1, 2, 3],
    hasUnknownPhases: false,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW:
      evse.maxPowerW === undefined
        ? Number.NaN
        : findings.number(`${field}.max_power_w`, evse.maxPowerW, POWER_W),
    minPowerW: findings.number(`${field}.min_power_w`, evse.minPowerW ?? 0, POWER_W),
  };
}

function readPhases(
  findings: Findings,
  field: string,
  given: readonly WirePhase[],
): Pick<Evse, "phases" | "hasUnknownPhases"> {
  const all: Phase[] = [1, 2, 3];
  if (given.length === 0) return { phases: all, hasUnknownPhases: false };
  if (given.length > 3) {
    findings.wrong(field, `at most 3 phases, has ${given.length}`);
    return { phases: all, hasUnknownPhases: false };
  }
  if (given.every((value) => value === WirePhase.UNKNOWN)) {
    return { phases: all.slice(0, given.length), hasUnknownPhases: true };
  }
  const phases: Phase[] = [];
  given.forEach((value, n) => {
    if (value === WirePhase.UNKNOWN) {
      findings.wrong(`${field}[${n}]`, "not known beside others that are: give all or none");
      return;
    }
    const phase = findings.choice(`${field}[${n}]`, value, PHASES);
    if (phase === undefined) return;
    if (phases.includes(phase)) findings.wrong(`${field}[${n}]`, `L${phase} is given twice`);
    phases.push(phase);
  });
  return { phases, hasUnknownPhases: false };
}

function readOcpp(
  findings: Findings,
  field: string,
  ocpp: wire.OcppCapabilities | undefined,
  supply: Evse["supply"],
): OcppCapabilities {
  const version =
    ocpp === undefined ? "2.0.1" : (findings.choice(`${field}.version`, ocpp.version, VERSIONS) ?? "2.0.1");
  const defaultPeriods = version === "1.6" ? PERIODS_1_6 : PERIODS_2_X;
  const defaultUnit = supply === "DC" ? "W" : "A";
  if (ocpp === undefined) {
    return {
      version,
      rateUnit: defaultUnit,
      maxPeriods: defaultPeriods,
      stackLevel: 0,
      limitStep: 0.1,
      rejectsZeroLimit: false,
      prefersTxDefaultProfile: false,
      wantsRelativeProfile: false,
      clockLagMs: 0,
    };
  }
  const units = new Set(
    ocpp.rateUnits.map((unit, n) => findings.choice(`${field}.rate_units[${n}]`, unit, RATE_UNITS)),
  );
  // Amperes are what the pilot signal says; watts depend on what the charger takes for the voltage.
  const rateUnit = supply !== "DC" && units.has("W") && !units.has("A") ? "W" : defaultUnit;
  if (supply === "DC" && units.has("A") && !units.has("W")) {
    findings.wrong(`${field}.rate_units`, "a DC charger must take W");
  }
  const stackLevel = findings.whole(`${field}.stack_level`, ocpp.stackLevel, 0, LARGEST.int32);
  if (ocpp.maxStackLevel !== undefined) {
    const highest = findings.whole(`${field}.max_stack_level`, ocpp.maxStackLevel, 0, LARGEST.uint32);
    if (stackLevel > highest) findings.wrong(`${field}.stack_level`, `is above max_stack_level, ${highest}`);
  }
  const maxPeriods = readMaxPeriods(
    findings,
    `${field}.max_periods`,
    ocpp.maxPeriods,
    defaultPeriods,
    version,
  );
  const clockLagS = findings.whole(`${field}.clock_lag_seconds`, ocpp.clockLagSeconds, 0, LONGEST_LAG_S);
  if (ocpp.wantsRelativeProfile) refuseUnsafeRelative(findings, field, ocpp, maxPeriods);
  return {
    version,
    rateUnit,
    maxPeriods,
    stackLevel,
    limitStep: readLimitStep(findings, `${field}.limit_step`, ocpp.limitStep),
    rejectsZeroLimit: ocpp.rejectsZeroLimit,
    prefersTxDefaultProfile: ocpp.prefersTxDefaultProfile,
    wantsRelativeProfile: ocpp.wantsRelativeProfile,
    clockLagMs: clockLagS * 1000,
  };
}

/** What of a charger's wishes a Relative profile can't follow. */
function refuseUnsafeRelative(
  findings: Findings,
  field: string,
  { prefersTxDefaultProfile, clockLagSeconds }: wire.OcppCapabilities,
  maxPeriods: number,
): void {
  if (prefersTxDefaultProfile) {
    findings.wrong(
      `${field}.prefers_tx_default_profile`,
      "can't be with wants_relative_profile: the next transaction would go through the periods of this one again",
    );
  }
  if (clockLagSeconds > 0) {
    findings.notice(
      "CLOCK_LAG_UNUSED",
      `${field}.clock_lag_seconds`,
      "a Relative profile counts from the start of the transaction, whatever the clock says",
    );
  }
  if (maxPeriods < 3) {
    findings.wrong(
      `${field}.max_periods`,
      `must be 3 or more with wants_relative_profile, is ${maxPeriods}: the time before the plan takes one`,
    );
  }
}

function readMaxPeriods(
  findings: Findings,
  field: string,
  given: number,
  byDefault: number,
  version: OcppVersion,
): number {
  if (given === 0) return byDefault;
  const maxPeriods = findings.whole(field, given, 2, LARGEST.uint32);
  if (version === "1.6" || !(maxPeriods > PERIODS_2_X)) return maxPeriods;
  findings.notice("MAX_PERIODS_CLIPPED", field, `OCPP ${version} takes at most ${PERIODS_2_X} periods`);
  return PERIODS_2_X;
}

function readLimitStep(findings: Findings, field: string, given: number | undefined): number {
  if (given === undefined) return 0.1;
  const step = findings.number(field, given, { above: 0, max: LARGEST.powerW });
  const tenths = Math.round(step * 10);
  if (tenths < 1 || Math.abs(step * 10 - tenths) > 1e-9 * tenths) {
    findings.wrong(field, `must be a multiple of 0.1, is ${step}`);
  }
  return tenths / 10;
}

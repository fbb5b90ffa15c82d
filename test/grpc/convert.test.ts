import { describe, expect, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import { OcppCapabilities } from "../../src/gen/wattslot/v1/optimizer.ts";
import { OcppVersion, type OptimizeRequest, Phase, Supply, Winding } from "../../src/grpc/client.ts";
import { toProblem } from "../../src/grpc/convert.ts";
import { at, full, HOUR_MS, minimal, START, START_MS, series } from "./requests.ts";

const LONG = "x".repeat(256);

/** The error that reading the request ends in. */
function refusal(request: OptimizeRequest): WattslotError {
  try {
    toProblem(request, START_MS);
  } catch (error) {
    expect(error).toBeInstanceOf(WattslotError);
    return error as WattslotError;
  }
  throw new Error("the request was taken");
}

function wrongFields(request: OptimizeRequest): string[] {
  return refusal(request)
    .violations.map(({ field }) => field)
    .sort();
}

/** A site, circuit, EVSE, ... of `full()`, to be spoilt. Every one is there. */
function parts(request: OptimizeRequest) {
  const site = request.site!;
  const { circuits, evses } = site;
  const tariff = site.tariff!;
  return { request, site, circuits, evses, tariff, sessions: request.sessions, ocpp: evses[0].ocpp! };
}

type Spoil = (all: ReturnType<typeof parts>) => void;

function spoilt(spoil: Spoil): OptimizeRequest {
  const request = full();
  spoil(parts(request));
  return request;
}

const rule = (over = {}) => ({
  weekdays: [],
  fromLocal: "00:00",
  toLocal: "24:00",
  fromDate: "",
  toDate: "",
  pricePerKwh: 0.3,
  ...over,
});
const timeOfUse = (...rules: ReturnType<typeof rule>[]) => ({
  $case: "timeOfUse" as const,
  value: { rules },
});

type Case = [name: string, spoil: Spoil, fields: string[]];

const CASES: Case[] = [
  // Request
  ["no site", ({ request }) => (request.site = undefined), ["site"]],
  ["start out of range", ({ request }) => (request.startTime = new Date(Number.NaN)), ["start_time"]],
  [
    "start in year 9999",
    ({ request }) => (request.startTime = new Date("9999-01-01T00:00:00Z")),
    ["start_time"],
  ],
  ["end out of range", ({ request }) => (request.endTime = new Date(8.64e15)), ["end_time"]],
  ["end at start", ({ request }) => (request.endTime = START), ["end_time"]],
  ["end after 31 days", ({ request }) => (request.endTime = at(31 * 24 + 1)), ["end_time"]],
  ["slot no divisor of the hour", ({ request }) => (request.slotSeconds = 700), ["slot_seconds"]],
  ["slot below a minute", ({ request }) => (request.slotSeconds = 30), ["slot_seconds"]],
  ["slot above an hour", ({ request }) => (request.slotSeconds = 7200), ["slot_seconds"]],
  // Site
  ["no site id", ({ site }) => (site.siteId = ""), ["site.site_id"]],
  ["long site id", ({ site }) => (site.siteId = LONG), ["site.site_id"]],
  ["unknown time zone", ({ site }) => (site.timeZone = "Mars/Olympus"), ["site.time_zone"]],
  ["voltage too low", ({ site }) => (site.nominalVoltageV = 49), ["site.nominal_voltage_v"]],
  ["voltage too high", ({ site }) => (site.nominalVoltageV = 1001), ["site.nominal_voltage_v"]],
  ["voltage NaN", ({ site }) => (site.nominalVoltageV = Number.NaN), ["site.nominal_voltage_v"]],
  ["photovoltaics", ({ site }) => (site.pvPowerW = series([1, -1])), ["site.pv_power_w.values[1]"]],
  [
    "a battery that can't be",
    ({ site }) =>
      (site.battery = {
        capacityWh: 0,
        socPercent: 101,
        minSocPercent: -1,
        maxChargePowerW: Number.NaN,
        maxDischargePowerW: -1,
        roundTripEfficiency: 1.1,
        endValuePerKwh: -1,
        circuitId: "cellar",
      }),
    [
      "site.battery.capacity_wh",
      "site.battery.circuit_id",
      "site.battery.end_value_per_kwh",
      "site.battery.max_charge_power_w",
      "site.battery.max_discharge_power_w",
      "site.battery.min_soc_percent",
      "site.battery.round_trip_efficiency",
      "site.battery.soc_percent",
    ],
  ],
  // Circuits
  [
    "no circuits",
    ({ site, evses }) => {
      site.circuits = [];
      for (const evse of evses) evse.circuitId = "";
    },
    ["site.circuits"],
  ],
  ["two roots", ({ circuits }) => (circuits[1].parentCircuitId = ""), ["site.circuits"]],
  [
    "no circuit id",
    ({ circuits }) => (circuits[1].circuitId = ""),
    ["site.circuits[1].circuit_id", "site.circuits[2].parent_circuit_id", "site.evses[2].circuit_id"],
  ],
  [
    "long circuit id",
    ({ circuits, evses }) => {
      circuits[2].circuitId = LONG;
      evses[0].circuitId = LONG;
    },
    ["site.circuits[2].circuit_id"],
  ],
  [
    "circuit id twice",
    ({ circuits, evses }) => {
      circuits[2].circuitId = "hall";
      evses[0].circuitId = "hall";
    },
    ["site.circuits[2].circuit_id"],
  ],
  [
    "unknown parent",
    ({ circuits }) => (circuits[2].parentCircuitId = "cellar"),
    ["site.circuits[2].parent_circuit_id"],
  ],
  ["loop", ({ circuits }) => (circuits[1].parentCircuitId = "row"), ["site.circuits[1].parent_circuit_id"]],
  [
    "its own parent",
    ({ circuits }) => (circuits[2].parentCircuitId = "row"),
    ["site.circuits[2].parent_circuit_id"],
  ],
  ["negative limit", ({ circuits }) => (circuits[0].maxPowerW = -1), ["site.circuits[0].max_power_w"]],
  [
    "infinite limit",
    ({ circuits }) => (circuits[0].maxPowerW = Number.POSITIVE_INFINITY),
    ["site.circuits[0].max_power_w"],
  ],
  ["absurd limit", ({ circuits }) => (circuits[0].maxPowerW = 1.1e9), ["site.circuits[0].max_power_w"]],
  [
    "negative current limit",
    ({ circuits }) => (circuits[2].maxCurrentA = -0.1),
    ["site.circuits[2].max_current_a"],
  ],
  [
    "absurd current limit",
    ({ circuits }) => (circuits[2].maxCurrentA = 2e6),
    ["site.circuits[2].max_current_a"],
  ],
  [
    "negative base load",
    ({ circuits }) => (circuits[1].baseLoadW = series([1, -1, 2])),
    ["site.circuits[1].base_load_w.values[1]"],
  ],
  [
    "NaN and infinity in a series",
    ({ circuits }) => (circuits[0].maxPowerSeriesW = series([Number.NaN, 1, Number.POSITIVE_INFINITY])),
    ["site.circuits[0].max_power_series_w.values[0]", "site.circuits[0].max_power_series_w.values[2]"],
  ],
  [
    "no start of a series",
    ({ circuits }) => (circuits[1].baseLoadW = { startTime: undefined, stepSeconds: 1, values: [1] }),
    ["site.circuits[1].base_load_w.start_time"],
  ],
  [
    "series with a hole before it",
    ({ circuits }) => (circuits[1].baseLoadW = series([1], at(0.1))),
    ["site.circuits[1].base_load_w.start_time"],
  ],
  [
    "no step of a series",
    ({ circuits }) => (circuits[1].baseLoadW = series([1], START, 0)),
    ["site.circuits[1].base_load_w.step_seconds"],
  ],
  [
    "empty series",
    ({ circuits }) => (circuits[1].baseLoadW = series([])),
    ["site.circuits[1].base_load_w.values"],
  ],
  [
    "base load on no phase",
    ({ circuits }) => (circuits[1].baseLoadA[0].phase = 0),
    ["site.circuits[1].base_load_a[0].phase"],
  ],
  [
    "base load on an unknown phase",
    ({ circuits }) => (circuits[1].baseLoadA[0].phase = 4 as 1),
    ["site.circuits[1].base_load_a[0].phase"],
  ],
  [
    "base load twice on a phase",
    ({ circuits }) => circuits[1].baseLoadA.push(circuits[1].baseLoadA[0]),
    ["site.circuits[1].base_load_a[1].phase"],
  ],
  [
    "base load without current",
    ({ circuits }) => (circuits[1].baseLoadA[0].currentA = undefined),
    ["site.circuits[1].base_load_a[0].current_a"],
  ],
  [
    "negative base current",
    ({ circuits }) => (circuits[1].baseLoadA[0].currentA = series([-3])),
    ["site.circuits[1].base_load_a[0].current_a.values[0]"],
  ],
  [
    "base load on a line that is not known",
    ({ circuits }) => (circuits[1].baseLoadA[0].phase = Phase.UNKNOWN),
    ["site.circuits[1].base_load_a[0].phase"],
  ],
  [
    "transformer at the grid connection",
    ({ circuits }) => (circuits[0].transformer = { winding: Winding.DELTA_WYE, primaryVoltageV: 400 }),
    ["site.circuits[0].transformer"],
  ],
  [
    "transformer without a winding",
    ({ circuits }) => (circuits[1].transformer!.winding = Winding.UNSPECIFIED),
    ["site.circuits[1].transformer.winding"],
  ],
  [
    "unknown winding",
    ({ circuits }) => (circuits[1].transformer!.winding = 7 as 1),
    ["site.circuits[1].transformer.winding"],
  ],
  ...[0, 49, 100_001, Number.NaN, Number.POSITIVE_INFINITY].map(
    (volts): Case => [
      `primary voltage ${volts}`,
      ({ circuits }) => (circuits[1].transformer!.primaryVoltageV = volts),
      ["site.circuits[1].transformer.primary_voltage_v"],
    ],
  ),
  [
    "two voltages on the same lines",
    ({ circuits }) => {
      circuits[2].parentCircuitId = "grid";
      circuits[2].transformer = { winding: Winding.WYE_WYE, primaryVoltageV: 277 };
    },
    ["site.circuits[1].transformer.primary_voltage_v"],
  ],
  // EVSEs
  ["no station id", ({ evses }) => (evses[3].stationId = ""), ["site.evses[3].station_id"]],
  ["long station id", ({ evses }) => (evses[3].stationId = LONG), ["site.evses[3].station_id"]],
  ["EVSE 0", ({ evses }) => (evses[3].evseId = 0), ["site.evses[3].evse_id"]],
  ["EVSE beyond 32 bits", ({ evses }) => (evses[3].evseId = 2 ** 31), ["site.evses[3].evse_id"]],
  ["EVSE twice", ({ evses }) => (evses[3].stationId = "CS1"), ["site.evses[3].evse_id"]],
  ["unknown circuit", ({ evses }) => (evses[0].circuitId = "cellar"), ["site.evses[0].circuit_id"]],
  ["unknown supply", ({ evses }) => (evses[3].supply = 9 as 1), ["site.evses[3].supply"]],
  [
    "line to line without lines",
    ({ evses }) => (evses[3].supply = Supply.AC_LINE_TO_LINE),
    ["site.evses[3].phases"],
  ],
  [
    "line to line on one line",
    ({ evses }) => Object.assign(evses[2], { supply: Supply.AC_LINE_TO_LINE }),
    ["site.evses[2].phases"],
  ],
  [
    "a phase known, one not",
    ({ evses }) => (evses[3].phases = [1, Phase.UNKNOWN]),
    ["site.evses[3].phases[1]"],
  ],
  ["four unknown phases", ({ evses }) => (evses[3].phases = [4, 4, 4, 4]), ["site.evses[3].phases"]],
  ["four phases", ({ evses }) => (evses[3].phases = [1, 2, 3, 1]), ["site.evses[3].phases"]],
  ["a phase twice", ({ evses }) => (evses[3].phases = [1, 1]), ["site.evses[3].phases[1]"]],
  ["no phase", ({ evses }) => (evses[3].phases = [0, 2]), ["site.evses[3].phases[0]"]],
  ["maximum current 0", ({ evses }) => (evses[3].maxCurrentA = 0), ["site.evses[3].max_current_a"]],
  [
    "minimum current above the maximum",
    ({ evses }) => (evses[0].minCurrentA = 33),
    ["site.evses[0].min_current_a"],
  ],
  [
    "default minimum current above the maximum",
    ({ evses }) => (evses[3].maxCurrentA = 5),
    ["site.evses[3].min_current_a"],
  ],
  ["negative minimum current", ({ evses }) => (evses[0].minCurrentA = -6), ["site.evses[0].min_current_a"]],
  ["negative power", ({ evses }) => (evses[0].maxPowerW = -1), ["site.evses[0].max_power_w"]],
  [
    "minimum power above the maximum",
    ({ evses }) => (evses[0].minPowerW = 22_001),
    ["site.evses[0].min_power_w"],
  ],
  ["efficiency 0", ({ evses }) => (evses[0].efficiency = 0), ["site.evses[0].efficiency"]],
  ["efficiency of nothing", ({ evses }) => (evses[1].efficiency = 1e-300), ["site.evses[1].efficiency"]],
  ["efficiency above 1", ({ evses }) => (evses[0].efficiency = 1.01), ["site.evses[0].efficiency"]],
  [
    "negative uncontrolled power",
    ({ evses }) => (evses[3].uncontrolledPowerW = -1),
    ["site.evses[3].uncontrolled_power_w"],
  ],
  [
    "uncontrolled with a session",
    ({ evses }) => (evses[0].uncontrolledPowerW = 1000),
    ["site.evses[0].uncontrolled_power_w"],
  ],
  ["DC without power", ({ evses }) => (evses[1].maxPowerW = undefined), ["site.evses[1].max_power_w"]],
  ["DC with phases", ({ evses }) => (evses[1].phases = [1, 2, 3]), ["site.evses[1].phases"]],
  [
    "DC with currents",
    ({ evses }) => Object.assign(evses[1], { maxCurrentA: 200, minCurrentA: 1 }),
    ["site.evses[1].max_current_a", "site.evses[1].min_current_a"],
  ],
  // OCPP
  ["unknown version", ({ ocpp }) => (ocpp.version = 9 as 1), ["site.evses[0].ocpp.version"]],
  ["unit 0", ({ ocpp }) => (ocpp.rateUnits = [1, 0]), ["site.evses[0].ocpp.rate_units[1]"]],
  [
    "DC in amperes only",
    ({ evses, ocpp }) => (evses[1].ocpp = { ...ocpp, rateUnits: [1] }),
    ["site.evses[1].ocpp.rate_units"],
  ],
  ["one period", ({ ocpp }) => (ocpp.maxPeriods = 1), ["site.evses[0].ocpp.max_periods"]],
  ["stack level above the highest", ({ ocpp }) => (ocpp.stackLevel = 6), ["site.evses[0].ocpp.stack_level"]],
  ["step 0", ({ ocpp }) => (ocpp.limitStep = 0), ["site.evses[0].ocpp.limit_step"]],
  ["step between tenths", ({ ocpp }) => (ocpp.limitStep = 0.25), ["site.evses[0].ocpp.limit_step"]],
  ["step below a tenth", ({ ocpp }) => (ocpp.limitStep = 0.01), ["site.evses[0].ocpp.limit_step"]],
  // Sessions
  ["no session id", ({ sessions }) => (sessions[1].sessionId = ""), ["sessions[1].session_id"]],
  ["long session id", ({ sessions }) => (sessions[1].sessionId = LONG), ["sessions[1].session_id"]],
  ["session id twice", ({ sessions }) => (sessions[1].sessionId = "a"), ["sessions[1].session_id"]],
  ["no station", ({ sessions }) => (sessions[1].stationId = ""), ["sessions[1].station_id"]],
  ["unknown station", ({ sessions }) => (sessions[1].stationId = "CS9"), ["sessions[1].station_id"]],
  ["unknown EVSE of a station", ({ sessions }) => (sessions[1].evseId = 7), ["sessions[1].evse_id"]],
  ["no need", ({ sessions }) => (sessions[0].need = undefined), ["sessions[0].need"]],
  [
    "negative energy",
    ({ sessions }) => (sessions[0].need = { $case: "energyWh", value: -1 }),
    ["sessions[0].energy_wh"],
  ],
  [
    "absurd energy",
    ({ sessions }) => (sessions[0].need = { $case: "energyWh", value: 1e10 }),
    ["sessions[0].energy_wh"],
  ],
  [
    "state of charge and target out of range, no capacity",
    ({ sessions }) =>
      (sessions[0].need = {
        $case: "stateOfCharge",
        value: { socPercent: -1, targetSocPercent: 101, batteryCapacityWh: 0 },
      }),
    [
      "sessions[0].state_of_charge.battery_capacity_wh",
      "sessions[0].state_of_charge.soc_percent",
      "sessions[0].state_of_charge.target_soc_percent",
    ],
  ],
  [
    "a charge curve that falls back, with a power out of range",
    ({ sessions }) =>
      sessions[1].chargeCurve.push(
        { socPercent: 80, maxPowerW: 5000 },
        { socPercent: 70, maxPowerW: Number.NaN },
      ),
    ["sessions[1].charge_curve[1].max_power_w", "sessions[1].charge_curve[1].soc_percent"],
  ],
  [
    "bulk charging that ends above full",
    ({ sessions }) =>
      (sessions[1].need = {
        $case: "stateOfCharge",
        value: { socPercent: 10, bulkSocPercent: 90, fullSocPercent: 80, batteryCapacityWh: 76_000 },
      }),
    ["sessions[1].state_of_charge.bulk_soc_percent"],
  ],
  [
    "absurd energy by efficiency",
    ({ evses, sessions }) => {
      evses[1].efficiency = 0.01;
      const { need } = sessions[1];
      if (need?.$case === "stateOfCharge") need.value.batteryCapacityWh = 1e9;
    },
    ["sessions[1].state_of_charge"],
  ],
  [
    "arrival out of range",
    ({ sessions }) => (sessions[1].arrivalTime = new Date(Number.NaN)),
    ["sessions[1].arrival_time"],
  ],
  [
    "departure out of range",
    ({ sessions }) => (sessions[1].departureTime = new Date(Number.NaN)),
    ["sessions[1].departure_time"],
  ],
  [
    "departure at arrival",
    ({ sessions }) => (sessions[1].departureTime = at(1)),
    ["sessions[1].departure_time"],
  ],
  [
    "departure before arrival",
    ({ sessions }) => (sessions[1].departureTime = at(0.5)),
    ["sessions[1].departure_time"],
  ],
  [
    "departure a moment after arrival",
    ({ sessions }) => {
      sessions[1].arrivalTime = new Date(START_MS + 100);
      sessions[1].departureTime = new Date(START_MS + 900);
    },
    ["sessions[1].departure_time"],
  ],
  [
    "in the past",
    ({ sessions }) => {
      sessions[1].arrivalTime = at(-2);
      sessions[1].departureTime = at(-1);
    },
    ["sessions[1].departure_time"],
  ],
  [
    "two vehicles on one EVSE",
    ({ sessions }) =>
      sessions.push({ ...sessions[0], sessionId: "d", arrivalTime: at(3), departureTime: at(6) }),
    ["sessions[3].arrival_time"],
  ],
  [
    "1.6: transaction id that is no integer",
    ({ sessions }) => (sessions[2].transactionId = "tx"),
    ["sessions[2].transaction_id"],
  ],
  [
    "1.6: transaction id beyond 32 bits",
    ({ sessions }) => (sessions[2].transactionId = "2147483648"),
    ["sessions[2].transaction_id"],
  ],
  [
    "1.6: transaction id with a fraction",
    ({ sessions }) => (sessions[2].transactionId = "7.0"),
    ["sessions[2].transaction_id"],
  ],
  [
    "2.x: transaction id of 37 characters",
    ({ sessions }) => (sessions[0].transactionId = "x".repeat(37)),
    ["sessions[0].transaction_id"],
  ],
  [
    "vehicle minimum above its maximum",
    ({ sessions }) => (sessions[0].minCurrentA = 17),
    ["sessions[0].min_current_a"],
  ],
  ["negative vehicle power", ({ sessions }) => (sessions[0].maxPowerW = -1), ["sessions[0].max_power_w"]],
  [
    "NaN vehicle current",
    ({ sessions }) => (sessions[0].maxCurrentA = Number.NaN),
    ["sessions[0].max_current_a"],
  ],
  ["four vehicle phases", ({ sessions }) => (sessions[0].phases = 4), ["sessions[0].phases"]],
  ["priority too low", ({ sessions }) => (sessions[0].priority = 0.05), ["sessions[0].priority"]],
  ["priority too high", ({ sessions }) => (sessions[0].priority = 11), ["sessions[0].priority"]],
  [
    "departure chances that fall, in time or in probability, or are none",
    ({ sessions }) =>
      sessions[0].departureChances.push(
        { time: at(1), probability: 0.5 },
        { time: at(1), probability: 0.4 },
        { time: at(0), probability: 1.5 },
        { time: undefined, probability: Number.NaN },
      ),
    [
      "sessions[0].departure_chances[1].probability",
      "sessions[0].departure_chances[1].time",
      "sessions[0].departure_chances[2].probability",
      "sessions[0].departure_chances[2].time",
      "sessions[0].departure_chances[3].probability",
      "sessions[0].departure_chances[3].time",
    ],
  ],
  [
    "a minimum above the need, without a time",
    ({ sessions }) => (sessions[0].minimum = { energyWh: 1e8, byTime: undefined }),
    ["sessions[0].minimum.energy_wh", "sessions[0].minimum.by_time"],
  ],
  [
    "a minimum by the start of the plan",
    ({ sessions }) => (sessions[0].minimum = { energyWh: -1, byTime: at(0) }),
    ["sessions[0].minimum.energy_wh", "sessions[0].minimum.by_time"],
  ],
  [
    "a charge curve without a state of charge",
    ({ sessions }) => sessions[0].chargeCurve.push({ socPercent: 80, maxPowerW: 1 }),
    ["sessions[0].charge_curve"],
  ],
  [
    "phase switches on one phase",
    ({ evses }) => (evses[2].maxPhaseSwitches = 2),
    ["site.evses[2].max_phase_switches"],
  ],
  [
    "too many phase switches",
    ({ evses }) => (evses[0].maxPhaseSwitches = 21),
    ["site.evses[0].max_phase_switches"],
  ],
  [
    "negative discharge power",
    ({ evses }) => (evses[1].maxDischargePowerW = -1),
    ["site.evses[1].max_discharge_power_w"],
  ],
  [
    "negative discharge power, whatever its charger was told to give",
    ({ request, evses }) => {
      request.installedPlans[0].powerW!.values[0] = -5000;
      const { stationId, evseId } = request.sessions.find(
        ({ sessionId }) => sessionId === request.installedPlans[0].sessionId,
      )!;
      evses.find((one) => one.stationId === stationId && one.evseId === evseId)!.maxDischargePowerW = -1;
    },
    ["site.evses[0].max_discharge_power_w"],
  ],
  [
    "discharge",
    ({ sessions }) => (sessions[0].discharge = { maxPowerW: 1, minSocPercent: 1, pricePerKwh: 1 }),
    ["sessions[0].discharge"],
  ],
  // Tariff
  ["currency", ({ tariff }) => (tariff.currency = "eur"), ["site.tariff.currency"]],
  ["no currency", ({ tariff }) => (tariff.currency = ""), ["site.tariff.currency"]],
  [
    "price out of range",
    ({ tariff }) => (tariff.energyPrice = { $case: "pricePerKwh", value: series([0.1, -10_001, 10_001]) }),
    ["site.tariff.price_per_kwh.values[1]", "site.tariff.price_per_kwh.values[2]"],
  ],
  [
    "export price",
    ({ tariff }) => (tariff.exportPricePerKwh = series([0, Number.NaN])),
    ["site.tariff.export_price_per_kwh.values[1]"],
  ],
  [
    "negative demand price",
    ({ tariff }) => (tariff.demandPricePerKw = -1),
    ["site.tariff.demand_price_per_kw"],
  ],
  [
    "negative peak so far",
    ({ tariff }) => (tariff.demandPeakSoFarW = -1),
    ["site.tariff.demand_peak_so_far_w"],
  ],
  [
    "demand window no divisor of the day",
    ({ tariff }) => (tariff.demandWindowSeconds = 700),
    ["site.tariff.demand_window_seconds"],
  ],
  [
    "demand window too short",
    ({ tariff }) => (tariff.demandWindowSeconds = 59),
    ["site.tariff.demand_window_seconds"],
  ],
  [
    "negative carbon",
    ({ tariff }) => (tariff.carbonGPerKwh = series([-1])),
    ["site.tariff.carbon_g_per_kwh.values[0]"],
  ],
  ["no rules", ({ tariff }) => (tariff.energyPrice = timeOfUse()), ["site.tariff.time_of_use.rules"]],
  [
    "rule with everything wrong",
    ({ tariff }) =>
      (tariff.energyPrice = timeOfUse(
        rule({
          weekdays: [1, 0, 8],
          fromLocal: "24:00",
          toLocal: "7:00",
          fromDate: "02-30",
          toDate: "13-01",
          pricePerKwh: Number.NaN,
        }),
      )),
    ["from_date", "from_local", "price_per_kwh", "to_date", "to_local", "weekdays[1]", "weekdays[2]"].map(
      (name) => `site.tariff.time_of_use.rules[0].${name}`,
    ),
  ],
  [
    "times 24:01 and 12:60",
    ({ tariff }) => (tariff.energyPrice = timeOfUse(rule({ fromLocal: "12:60", toLocal: "24:01" }))),
    ["site.tariff.time_of_use.rules[0].from_local", "site.tariff.time_of_use.rules[0].to_local"],
  ],
  [
    "rule without length",
    ({ tariff }) => (tariff.energyPrice = timeOfUse(rule(), rule({ fromLocal: "08:00", toLocal: "08:00" }))),
    ["site.tariff.time_of_use.rules[1].to_local"],
  ],
  [
    "rules with a hole",
    ({ tariff }) =>
      (tariff.energyPrice = timeOfUse(rule({ toLocal: "12:00" }), rule({ fromLocal: "12:01" }))),
    ["site.tariff.time_of_use.rules"],
  ],
  // Objective, installed plans, options
  ["unknown preference", ({ request }) => (request.objective!.preference = 9 as 1), ["objective.preference"]],
  [
    "lowest cost without a price",
    ({ request, tariff }) => {
      tariff.energyPrice = undefined;
      tariff.demandPricePerKw = 0;
      request.objective!.preference = 1;
    },
    ["objective.preference"],
  ],
  [
    "lowest carbon without carbon",
    ({ request, tariff }) => {
      tariff.carbonGPerKwh = undefined;
      request.objective = { preference: 4, carbonPricePerKg: 0, changePricePerKwh: undefined };
    },
    ["objective.preference"],
  ],
  [
    "carbon price without carbon",
    ({ tariff }) => (tariff.carbonGPerKwh = undefined),
    ["objective.carbon_price_per_kg"],
  ],
  [
    "negative change price",
    ({ request }) => (request.objective!.changePricePerKwh = -1),
    ["objective.change_price_per_kwh"],
  ],
  [
    "two installed plans of a session",
    ({ request }) => request.installedPlans.push(request.installedPlans[0]),
    ["installed_plans[1].session_id"],
  ],
  [
    "installed plan of no session",
    ({ request }) => (request.installedPlans[0].sessionId = ""),
    ["installed_plans[0].session_id"],
  ],
  [
    "installed plan without power",
    ({ request }) => (request.installedPlans[0].powerW = undefined),
    ["installed_plans[0].power_w"],
  ],
  [
    "negative installed power",
    ({ request }) => (request.installedPlans[0].powerW = series([-1])),
    ["installed_plans[0].power_w.values[0]"],
  ],
  [
    "another number of phases than of powers",
    ({ request }) => (request.installedPlans[0].numberPhases = [3, 3]),
    ["installed_plans[0].number_phases"],
  ],
  [
    "four phases",
    ({ request }) => (request.installedPlans[0].numberPhases = [4]),
    ["installed_plans[0].number_phases[0]"],
  ],
  ["unknown solver", ({ request }) => (request.options!.solver = 9 as 1), ["options.solver"]],
];

describe("one wrong field is named, and nothing else", () => {
  test.each(CASES)("%s", (_, spoil, fields) => {
    const request = spoilt(spoil);
    expect(refusal(request).code).toBe("INVALID_ARGUMENT");
    expect(wrongFields(request)).toEqual([...fields].sort());
  });

  test("what is spoilt was right before: the full request has no findings", () => {
    expect(toProblem(full(), START_MS).notices).toEqual([]);
  });
});

test("everything wrong at once is named at once", () => {
  const request = spoilt((all) => {
    all.site.siteId = "";
    all.circuits[0].maxPowerW = Number.NaN;
    all.evses[0].efficiency = 2;
    all.ocpp.limitStep = 0.25;
    all.sessions[0].priority = 100;
    all.sessions[2].departureTime = at(-1);
    all.tariff.currency = "";
    all.request.slotSeconds = 7;
    all.request.installedPlans[0].powerW = series([]);
  });
  expect(wrongFields(request)).toEqual(
    [
      "site.site_id",
      "site.circuits[0].max_power_w",
      "site.evses[0].efficiency",
      "site.evses[0].ocpp.limit_step",
      "sessions[0].priority",
      "sessions[2].departure_time",
      "site.tariff.currency",
      "slot_seconds",
      "installed_plans[0].power_w.values",
    ].sort(),
  );
  expect(refusal(request).message).toMatch(/^invalid request: site.site_id is required \(and 8 more\)$/);
});

test("descriptions say what is wrong and name all circuits of a loop", () => {
  const descriptionOf = (spoil: Spoil) => refusal(spoilt(spoil)).violations[0].description;
  expect(descriptionOf(({ circuits }) => (circuits[1].parentCircuitId = "row"))).toBe(
    'circuits in a loop: "hall" under "row" under "hall"',
  );
  expect(
    descriptionOf(
      ({ sessions }) => (sessions[0].discharge = { maxPowerW: 1, minSocPercent: 1, pricePerKwh: 1 }),
    ),
  ).toBe("needs state_of_charge");
  expect(descriptionOf(({ sessions }) => (sessions[0].priority = 11))).toBe("must be from 0.1 to 10, is 11");
  expect(descriptionOf(({ tariff }) => (tariff.energyPrice = timeOfUse(rule({ fromLocal: "09:30" }))))).toBe(
    // 08:00 UTC is 09:00 in Berlin.
    "no rule covers 2026-11-23 09:00 (local time)",
  );
});

test("a million wrong values end in a thousand violations and a count", () => {
  const bad = series(Array(50_000).fill(Number.NaN));
  const { violations } = refusal(spoilt(({ circuits }) => (circuits[1].baseLoadW = bad)));
  expect(violations).toHaveLength(1001);
  expect(violations[1000].description).toBe("and 49000 more");
});

describe("published bounds", () => {
  const many = <T>(count: number, make: (n: number) => T) => Array.from({ length: count }, (_, n) => make(n));
  const cases: [string, Spoil, string[]][] = [
    ["sessions", ({ request, sessions }) => (request.sessions = many(2001, () => sessions[0])), ["sessions"]],
    [
      "EVSEs and circuits",
      ({ site, evses, circuits }) => {
        site.evses = many(2001, () => evses[0]);
        site.circuits = many(501, () => circuits[0]);
      },
      ["site.circuits", "site.evses"],
    ],
    [
      "installed plans",
      ({ request }) => (request.installedPlans = many(2001, () => request.installedPlans[0])),
      ["installed_plans"],
    ],
    [
      "slots",
      ({ request }) => {
        request.slotSeconds = 60;
        request.endTime = at(31 * 24);
      },
      ["slot_seconds"],
    ],
    [
      "series",
      ({ circuits }) => (circuits[0].maxPowerSeriesW = series(Array(50_001).fill(1))),
      ["site.circuits[0].max_power_series_w.values"],
    ],
    [
      "rules",
      ({ tariff }) => (tariff.energyPrice = timeOfUse(...many(201, () => rule()))),
      ["site.tariff.time_of_use.rules"],
    ],
    [
      "circuits x slots",
      ({ request, site }) => {
        request.slotSeconds = 60;
        request.endTime = at(48);
        site.circuits.push(...many(400, (n) => ({ ...site.circuits[1], circuitId: `c${n}` })));
      },
      ["site.circuits"],
    ],
    [
      "vehicle-slots",
      ({ request, site, evses, sessions }) => {
        // 31 days of 5 minutes are 8 928 slots: 28 vehicles fit, 29 do not.
        request.slotSeconds = 300;
        request.endTime = at(31 * 24);
        site.evses = many(29, (n) => ({ ...evses[0], stationId: `CS${n}` }));
        request.sessions = many(29, (n) => ({
          ...sessions[0],
          sessionId: `s${n}`,
          stationId: `CS${n}`,
          departureTime: request.endTime,
        }));
        request.installedPlans = [];
      },
      ["sessions"],
    ],
  ];

  test.each(cases)("%s above it: RESOURCE_EXHAUSTED", (_, spoil, fields) => {
    const request = spoilt(spoil);
    expect(refusal(request).code).toBe("RESOURCE_EXHAUSTED");
    expect(wrongFields(request)).toEqual(fields);
  });

  test("at the bounds a request is taken", () => {
    const request = spoilt(({ request, site, evses, sessions, tariff }) => {
      request.slotSeconds = 300;
      request.endTime = at(31 * 24);
      site.evses = many(28, (n) => ({ ...evses[0], stationId: `CS${n}` }));
      request.sessions = many(28, (n) => ({
        ...sessions[0],
        sessionId: `s${n}`,
        stationId: `CS${n}`,
        departureTime: request.endTime,
      }));
      request.installedPlans = [];
      tariff.energyPrice = timeOfUse(...many(200, () => rule()));
      site.circuits[0].maxPowerSeriesW = series(Array(50_000).fill(1));
    });
    expect(toProblem(request, START_MS).slotStartsMs).toHaveLength(8929);
  });

  test("a wrong field comes before a size", () => {
    const request = spoilt(({ circuits, site }) => {
      circuits[0].maxPowerSeriesW = series(Array(50_001).fill(1));
      site.siteId = "";
    });
    expect(refusal(request).code).toBe("INVALID_ARGUMENT");
    expect(wrongFields(request)).toEqual(["site.circuits[0].max_power_series_w.values", "site.site_id"]);
  });
});

test("the minimal request gets every default", () => {
  const problem = toProblem(minimal(), START_MS);
  const ocpp = {
    version: "2.0.1",
    rateUnit: "A",
    maxPeriods: 1024,
    stackLevel: 0,
    limitStep: 0.1,
    rejectsZeroLimit: false,
    prefersTxDefaultProfile: false,
  };
  const evse = {
    circuit: 0,
    supply: "AC",
    phases: [1, 2, 3],
    maxCurrentA: 32,
    minCurrentA: 6,
    maxPowerW: 22_080, // 32 A x 230 V x 3
    minPowerW: 0,
    hasUnknownPhases: false,
    maxDischargePowerW: 0,
    maxPhaseSwitches: 0,
    ocpp,
  };
  const session = {
    arrivalMs: START_MS,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW: Number.POSITIVE_INFINITY,
    phaseCount: 3,
    priority: 1,
    uninterruptible: false,
    departureChances: [],
    goesOn: false,
    installed: undefined,
  };
  expect(problem).toEqual({
    site: {
      siteId: "depot",
      timeZone: "UTC",
      nominalVoltageV: 230,
      circuits: [
        {
          circuitId: "grid",
          parent: -1,
          maxPowerW: 30_000,
          maxCurrentA: Number.POSITIVE_INFINITY,
          maxPowerSeriesW: undefined,
          baseLoadW: undefined,
          baseLoadA: [undefined, undefined, undefined],
        },
      ],
      evses: [
        { stationId: "CS1", evseId: 1, ...evse },
        { stationId: "CS2", evseId: 1, ...evse },
      ],
      tariff: undefined,
    },
    sessions: [
      {
        sessionId: "a",
        evse: 0,
        transactionId: "tx-a",
        ...session,
        departureMs: START_MS + 4 * HOUR_MS,
        energyWh: 22_000,
      },
      {
        sessionId: "b",
        evse: 1,
        transactionId: "tx-b",
        ...session,
        departureMs: START_MS + 8 * HOUR_MS,
        energyWh: 30_000,
      },
    ],
    // 08:00 to 16:00 by quarters of an hour.
    slotStartsMs: Array.from({ length: 33 }, (_, k) => START_MS + k * 900_000),
    preference: "EARLIEST",
    carbonPricePerKg: 0,
    changePricePerKwh: undefined,
    solver: "AUTO",
    timeLimitMs: 10_000,
    notices: [],
  });
});

test("the full request is read field by field", () => {
  const { site, sessions, ...rest } = toProblem(full(), 0);
  expect(site.circuits.map(({ circuitId, parent }) => [circuitId, parent])).toEqual([
    ["grid", -1],
    ["hall", 0],
    ["row", 1],
  ]);
  expect(site.circuits[0].maxPowerSeriesW).toEqual({
    startMs: START_MS,
    stepMs: 900_000,
    values: Float64Array.of(90_000, 80_000),
  });
  expect(site.circuits[1].baseLoadA[0]?.values).toEqual(Float64Array.of(3, 4));
  expect(site.circuits[1].baseLoadA.slice(1)).toEqual([undefined, undefined]);
  expect(site.evses[0]).toEqual({
    stationId: "CS1",
    evseId: 1,
    hasUnknownPhases: false,
    maxDischargePowerW: 0,
    maxPhaseSwitches: 0,
    circuit: 2,
    supply: "AC",
    phases: [2, 3, 1],
    maxCurrentA: 32,
    minCurrentA: 6,
    maxPowerW: 22_000,
    minPowerW: 1380,
    uncontrolledPowerW: undefined,
    ocpp: {
      version: "2.0.1",
      rateUnit: "A",
      maxPeriods: 48,
      stackLevel: 2,
      limitStep: 0.5,
      rejectsZeroLimit: false,
      prefersTxDefaultProfile: false,
    },
  });
  expect(site.evses[1]).toMatchObject({
    circuit: 0,
    supply: "DC",
    phases: [1, 2, 3],
    maxPowerW: 150_000,
    minPowerW: 0,
    ocpp: { rateUnit: "W" },
  });
  expect(site.evses[2]).toMatchObject({
    circuit: 1,
    phases: [1],
    maxPowerW: 7360,
    ocpp: { version: "1.6", maxPeriods: 24 },
  });
  // At the voltage of its lines, the primary of the transformer.
  expect(site.evses[3]).toMatchObject({ circuit: 0, uncontrolledPowerW: 11_000, maxPowerW: 32 * 1200 });
  expect(site.evses[4]).toMatchObject({ supply: "AC_LINE_TO_LINE", phases: [3, 1], hasUnknownPhases: false });
  expect(site.evses[4].maxPowerW).toBeCloseTo(32 * 400 * Math.sqrt(3), 9);
  expect(site.evses[5]).toMatchObject({ supply: "AC", phases: [1], hasUnknownPhases: true });
  expect(site.circuits.map(({ transformer }) => transformer)).toEqual([
    undefined,
    { winding: "DELTA_WYE", primaryVoltageV: 400 },
    undefined,
  ]);
  expect(sessions[0]).toMatchObject({
    maxCurrentA: 16,
    minCurrentA: 8,
    maxPowerW: 11_000,
    phaseCount: 2,
    priority: 2,
    uninterruptible: true,
    installed: { chargingProfileId: 17, powerW: { values: Float64Array.of(11_000) } },
  });
  // 60 % of 76 kWh, of which 95 % of what is metered arrive: 45 600 / 0.95 = 48 000.
  expect(sessions[1].energyWh).toBeCloseTo(48_000, 6);
  expect(sessions[1].arrivalMs).toBe(START_MS + HOUR_MS);
  expect(sessions[2].phaseCount).toBe(1);
  expect(site.tariff).toEqual({
    currency: "EUR",
    price: { startMs: START_MS, stepMs: 900_000, values: Float64Array.of(0.3, -0.05, 0.2) },
    demandPricePerKw: 12,
    demandPeakSoFarW: 40_000,
    demandWindowMs: 1_800_000,
    carbonGPerKwh: { startMs: START_MS, stepMs: 900_000, values: Float64Array.of(300, 200) },
  });
  expect(rest).toMatchObject({
    preference: "LOWEST_COST",
    carbonPricePerKg: 0.1,
    changePricePerKwh: 0.01,
    solver: "HIGHS",
    timeLimitMs: 2000,
    notices: [],
  });
});

describe("slots", () => {
  const slotsOf = (spoil: (request: OptimizeRequest) => void, nowMs = START_MS) => {
    const request = minimal();
    spoil(request);
    return toProblem(request, nowMs).slotStartsMs.map((atMs) => new Date(atMs).toISOString().slice(11, 19));
  };

  test("the first runs to the next boundary in UTC, the last ends with the plan", () => {
    const slots = slotsOf((request) => {
      request.startTime = new Date("2026-11-23T08:07:30.900Z");
      request.endTime = new Date("2026-11-23T08:50:00Z");
    });
    expect(slots).toEqual(["08:07:30", "08:15:00", "08:30:00", "08:45:00", "08:50:00"]);
  });

  test("the start is now, by default", () => {
    const slots = slotsOf((request) => {
      request.startTime = undefined;
      request.endTime = new Date("2026-11-23T08:30:00Z");
    }, START_MS + 61_999);
    expect(slots).toEqual(["08:01:01", "08:15:00", "08:30:00"]);
  });

  test("without sessions there is one slot", () => {
    const slots = slotsOf((request) => {
      request.sessions = [];
      request.startTime = new Date("2026-11-23T08:10:00Z");
    });
    expect(slots).toEqual(["08:10:00", "08:15:00"]);
  });

  test("a plan within one slot", () => {
    const slots = slotsOf((request) => {
      request.slotSeconds = 3600;
      request.startTime = new Date("2026-11-23T08:10:00Z");
      request.endTime = new Date("2026-11-23T08:20:00Z");
    });
    expect(slots).toEqual(["08:10:00", "08:20:00"]);
  });

  test("by default the plan ends 48 hours after its start at the latest", () => {
    const request = minimal();
    request.sessions[1].departureTime = at(60);
    const problem = toProblem(request, START_MS);
    expect(problem.slotStartsMs.at(-1)).toBe(START_MS + 48 * HOUR_MS);
    expect(problem.sessions[1].departureMs).toBe(START_MS + 48 * HOUR_MS);
    expect(problem.notices).toMatchObject([
      { code: "DEPARTURE_BEYOND_HORIZON", field: "sessions[1].departure_time" },
    ]);
  });
});

describe("assumptions are noticed", () => {
  const read = (spoil: Spoil) => toProblem(spoilt(spoil), START_MS);
  const noticed = (spoil: Spoil) => read(spoil).notices.map(({ code, field }) => `${code} ${field}`);

  test("no departure: the site's default stay from arrival", () => {
    const problem = read(({ sessions }) => (sessions[1].departureTime = undefined));
    expect(problem.sessions[1].departureMs).toBe(START_MS + 3 * HOUR_MS);
    expect(problem.notices).toMatchObject([
      { code: "DEPARTURE_ASSUMED", field: "sessions[1].departure_time" },
    ]);
  });

  test("no departure and no default: 4 hours on AC, 1 on DC", () => {
    const { sessions } = read(({ site, sessions }) => {
      site.defaultStaySeconds = 0;
      for (const session of sessions) session.departureTime = undefined;
    });
    expect(sessions.map(({ departureMs }) => (departureMs - START_MS) / HOUR_MS)).toEqual([4, 2, 4]);
  });

  test("arrival after the end of the plan", () => {
    const spoil: Spoil = ({ sessions }) => {
      sessions[1].arrivalTime = at(12);
      sessions[1].departureTime = at(13);
    };
    expect(noticed(spoil)).toEqual(["ARRIVAL_BEYOND_HORIZON sessions[1].arrival_time"]);
    expect(read(spoil).sessions[1]).toMatchObject({ energyWh: 0, departureMs: at(12).getTime() });
  });

  test("departure after the end of the plan", () => {
    expect(noticed(({ sessions }) => (sessions[0].departureTime = at(13)))).toEqual([
      "DEPARTURE_BEYOND_HORIZON sessions[0].departure_time",
    ]);
  });

  test("more charge than the target: no need", () => {
    const spoil: Spoil = ({ sessions }) =>
      (sessions[1].need = {
        $case: "stateOfCharge",
        value: { socPercent: 90, targetSocPercent: 80, batteryCapacityWh: 76_000 },
      });
    expect(read(spoil).sessions[1].energyWh).toBe(0);
    expect(noticed(spoil)).toEqual([
      "TARGET_BELOW_STATE_OF_CHARGE sessions[1].state_of_charge.target_soc_percent",
    ]);
  });

  test("a target above what counts as full, and the curve from bulk charging on", () => {
    const spoil: Spoil = ({ sessions }) =>
      (sessions[1].need = {
        $case: "stateOfCharge",
        value: {
          socPercent: 40,
          targetSocPercent: 100,
          bulkSocPercent: 70,
          fullSocPercent: 90,
          batteryCapacityWh: 50_000,
        },
      });
    expect(noticed(spoil)).toEqual(["TARGET_ABOVE_FULL sessions[1].state_of_charge.target_soc_percent"]);
    const { battery } = read(spoil).sessions[1];
    expect(battery?.storedWh).toBeCloseTo(20_000, 6);
    expect(battery?.chargeCurve.map(({ storedWh }) => storedWh)).toEqual([35_000, 45_000]);
    const [bulk, full] = battery?.chargeCurve.map(({ maxPowerW }) => maxPowerW) ?? [];
    expect(bulk).toBeGreaterThan(0);
    expect(full / bulk).toBeCloseTo(0.01, 9);
  });

  test("no transaction of a vehicle that is here; none is missed of one that is expected", () => {
    expect(
      noticed(({ sessions }) => {
        sessions[0].transactionId = "";
        sessions[1].transactionId = "";
      }),
    ).toEqual(["TRANSACTION_ID_MISSING sessions[0].transaction_id"]);
  });

  test("more phases than the EVSE has", () => {
    const spoil: Spoil = ({ sessions }) => (sessions[2].phases = 3);
    expect(read(spoil).sessions[2].phaseCount).toBe(1);
    expect(noticed(spoil)).toEqual(["VEHICLE_PHASES_CLIPPED sessions[2].phases"]);
  });

  test("more phases than there are between two lines", () => {
    const spoil: Spoil = ({ evses, sessions }) => {
      Object.assign(evses[0], { supply: Supply.AC_LINE_TO_LINE, phases: [Phase.L2, Phase.L3] });
      sessions[0].phases = 2;
    };
    expect(read(spoil).sessions[0].phaseCount).toBe(1);
    expect(noticed(spoil)).toEqual(["VEHICLE_PHASES_CLIPPED sessions[0].phases"]);
  });

  test("a vehicle that can take nothing that its charger gives", () => {
    const cannot = (spoil: Spoil, field: string) =>
      expect(noticed(spoil)).toEqual([`CANNOT_CHARGE ${field}`]);
    cannot(({ sessions }) => (sessions[2].maxCurrentA = 5), "sessions[2].max_current_a");
    cannot(({ sessions }) => (sessions[1].maxPowerW = 0), "sessions[1].max_power_w");
    cannot(({ sessions }) => (sessions[2].minCurrentA = 40), "sessions[2].min_current_a");
    // From 6 to 16 A there is no multiple of 20.
    cannot(({ site, sessions }) => {
      site!.evses[2].ocpp!.limitStep = 20;
      sessions[2].maxCurrentA = 16;
    }, "site.evses[2].ocpp.limit_step");
    cannot(({ site }) => (site!.evses[2].maxPowerW = 1000), "site.evses[2]");
  });

  test("AC limits of a vehicle on DC", () => {
    const spoil: Spoil = ({ sessions }) => Object.assign(sessions[1], { maxCurrentA: 16, phases: 1 });
    expect(read(spoil).sessions[1]).toMatchObject({ maxCurrentA: Number.POSITIVE_INFINITY, phaseCount: 3 });
    expect(noticed(spoil)).toEqual(["VEHICLE_AC_LIMITS_UNUSED sessions[1]"]);
  });

  test("a minimum and chances after the departure", () => {
    const spoil: Spoil = ({ sessions }) => {
      const { departureTime } = sessions[0];
      sessions[0].minimum = { energyWh: 1, byTime: new Date(departureTime!.getTime() + HOUR_MS) };
      sessions[0].departureChances = [
        { time: new Date(departureTime!.getTime() - 1000), probability: 0.2 },
        { time: departureTime, probability: 1 },
      ];
    };
    const [{ minimum, departureChances, departureMs }] = read(spoil).sessions;
    expect(minimum).toEqual({ energyWh: 1, byMs: departureMs });
    expect(departureChances).toEqual([{ atMs: departureMs - 1000, probability: 0.2 }]);
    expect(noticed(spoil)).toEqual([
      "MINIMUM_AFTER_DEPARTURE sessions[0].minimum.by_time",
      "CHANCE_AFTER_DEPARTURE sessions[0].departure_chances[1].time",
    ]);
  });

  test("a battery: half of the losses on each way; below what is kept it only charges", () => {
    const spoil: Spoil = ({ site }) =>
      (site.battery = {
        capacityWh: 20_000,
        socPercent: 10,
        minSocPercent: 20,
        maxChargePowerW: 5000,
        maxDischargePowerW: 4000,
        roundTripEfficiency: 0.81,
        endValuePerKwh: undefined,
        circuitId: "",
      });
    const { efficiency, ...cell } = read(spoil).site.battery!;
    expect(efficiency).toBeCloseTo(0.9, 12);
    expect(cell).toEqual({
      circuit: 0,
      capacityWh: 20_000,
      storedWh: 2000,
      minStoredWh: 4000,
      maxChargePowerW: 5000,
      maxDischargePowerW: 4000,
      endValuePerKwh: undefined,
    });
    expect(noticed(spoil)).toEqual(["BATTERY_BELOW_MINIMUM site.battery.soc_percent"]);
  });

  test("more periods than 2.x has, a longer time than there is", () => {
    const spoil: Spoil = ({ request, ocpp }) => {
      ocpp.maxPeriods = 5000;
      request.options!.timeLimitMs = 60_000;
    };
    expect(read(spoil)).toMatchObject({
      timeLimitMs: 10_000,
      site: { evses: [{ ocpp: { maxPeriods: 1024 } }, {}, {}, {}, {}, {}] },
    });
    expect(noticed(spoil)).toEqual([
      "MAX_PERIODS_CLIPPED site.evses[0].ocpp.max_periods",
      "TIME_LIMIT_CLIPPED options.time_limit_ms",
    ]);
  });

  test("an installed plan of a session that is not there", () => {
    expect(noticed(({ request }) => (request.installedPlans[0].sessionId = "z"))).toEqual([
      "INSTALLED_PLAN_UNKNOWN_SESSION installed_plans[0].session_id",
    ]);
  });

  test("a grid connection without a limit", () => {
    expect(
      noticed(({ circuits }) =>
        Object.assign(circuits[0], {
          maxPowerW: undefined,
          maxCurrentA: undefined,
          maxPowerSeriesW: undefined,
        }),
      ),
    ).toEqual(["ROOT_WITHOUT_LIMIT site.circuits[0]"]);
  });
});

describe("discharge", () => {
  const asked = { maxPowerW: 0, minSocPercent: 30, pricePerKwh: 0.1 };
  interface Over {
    version?: OcppVersion;
    maxDischargePowerW?: number;
    target?: number;
    prefersTxDefaultProfile?: boolean;
    transactionId?: string;
    full?: number;
    maxPowerW?: number;
  }
  function read(over: Over = {}) {
    const { version = OcppVersion.OCPP_VERSION_2_1, maxDischargePowerW = 7000, target = 80 } = over;
    const { prefersTxDefaultProfile = false, transactionId = "tx" } = over;
    const request = minimal();
    const [charger] = request.site?.evses ?? [];
    charger.maxDischargePowerW = maxDischargePowerW;
    charger.ocpp = OcppCapabilities.fromPartial({ version, prefersTxDefaultProfile });
    request.sessions[0].transactionId = transactionId;
    request.sessions[0].maxPowerW = over.maxPowerW;
    request.sessions[0].need = {
      $case: "stateOfCharge",
      value: {
        socPercent: 60,
        targetSocPercent: target,
        fullSocPercent: over.full,
        batteryCapacityWh: 50_000,
      },
    };
    request.sessions[0].discharge = asked;
    return toProblem(request, START_MS);
  }

  test("is read with energies stored and at the meter", () => {
    const { sessions, site } = read();
    expect(site.evses[0].maxDischargePowerW).toBe(7000);
    expect(sessions[0].discharge).toEqual({
      maxPowerW: Number.POSITIVE_INFINITY,
      minStoredWh: 15_000,
      pricePerKwh: 0.1,
      spareWh: 0,
      plannedW: undefined,
    });
    // 10 % of 50 kWh above the target, over 0.9.
    expect(read({ target: 50 }).sessions[0].discharge?.spareWh).toBeCloseTo(5000 / 0.9, 6);
  });

  test("has no more to store than the vehicle takes until it counts as full", () => {
    const { battery, discharge } = read({ full: 90 }).sessions[0];
    expect(battery?.capacityWh).toBe(45_000);
    // What is kept is a share of the whole capacity.
    expect(discharge?.minStoredWh).toBe(15_000);
  });

  test("is only for bidirectional chargers that speak 2.1", () => {
    for (const over of [
      { maxDischargePowerW: 0 },
      { version: OcppVersion.OCPP_VERSION_2_0_1 },
      { prefersTxDefaultProfile: true },
      { transactionId: "" },
      // What it gives it could not charge again.
      { maxPowerW: 1000 },
    ]) {
      const { sessions, notices } = read(over);
      expect(sessions[0].discharge).toBeUndefined();
      expect(notices).toContainEqual(
        expect.objectContaining({ code: "DISCHARGE_NOT_POSSIBLE", field: "sessions[0].discharge" }),
      );
    }
  });
});

describe("what is no error", () => {
  const read = (spoil: Spoil) => toProblem(spoilt(spoil), START_MS);

  test("one vehicle right after the other", () => {
    const { sessions } = read(({ sessions }) => {
      sessions.push({
        ...sessions[0],
        sessionId: "d",
        transactionId: "",
        arrivalTime: at(4),
        departureTime: at(6),
      });
    });
    expect(sessions).toHaveLength(4);
  });

  test("a need of nothing", () => {
    expect(
      read(({ sessions }) => (sessions[0].need = { $case: "energyWh", value: 0 })).sessions[0].energyWh,
    ).toBe(0);
  });

  test("a base load above the limit", () => {
    expect(read(({ circuits }) => (circuits[1].baseLoadW = series([60_000]))).notices).toEqual([]);
  });

  test("circuits in any order come out parents first, with all that points to them", () => {
    const { site } = read(({ site }) => site.circuits.reverse());
    expect(site.circuits.map(({ circuitId }) => circuitId)).toEqual(["grid", "hall", "row"]);
    expect(site.circuits.map(({ parent }) => parent)).toEqual([-1, 0, 1]);
    expect(site.evses.map(({ circuit }) => circuit)).toEqual([2, 0, 1, 0, 0, 0]);
  });

  test("times between seconds: the stay is the whole seconds in it", () => {
    const { sessions } = read(({ sessions }) => {
      sessions[1].arrivalTime = new Date(START_MS + 100);
      sessions[1].departureTime = new Date(START_MS + 5900);
    });
    expect(sessions[1]).toMatchObject({ arrivalMs: START_MS + 1000, departureMs: START_MS + 5000 });
  });

  test("an arrival before the plan is one at its start", () => {
    expect(read(({ sessions }) => (sessions[0].arrivalTime = at(-5))).sessions[0].arrivalMs).toBe(START_MS);
  });

  test("watts where an AC charger takes nothing else", () => {
    expect(read(({ ocpp }) => (ocpp.rateUnits = [2])).site.evses[0].ocpp.rateUnit).toBe("W");
    expect(read(({ ocpp }) => (ocpp.rateUnits = [2, 1])).site.evses[0].ocpp.rateUnit).toBe("A");
  });

  test("carbon without a price: free energy, earliest by default", () => {
    const problem = read(({ request, tariff }) => {
      Object.assign(tariff, { energyPrice: undefined, demandPricePerKw: 0 });
      request.objective = undefined;
    });
    expect(problem.preference).toBe("EARLIEST");
    expect(problem.site.tariff?.price).toMatchObject({ values: Float64Array.of(0) });
  });

  test("a price: lowest cost by default", () => {
    expect(read(({ request }) => (request.objective = undefined)).preference).toBe("LOWEST_COST");
  });

  test("rules over midnight and over New Year", () => {
    const { site } = read(({ tariff }) => {
      tariff.energyPrice = timeOfUse(
        rule({ fromLocal: "22:00", toLocal: "06:00", fromDate: "11-01", toDate: "03-31", weekdays: [1] }),
        rule({ fromDate: "02-29" }),
      );
    });
    expect(site.tariff?.price).toEqual({
      rules: [
        { weekdays: [1], fromMinute: 1320, toMinute: 360, fromDay: 1101, toDay: 331, pricePerKwh: 0.3 },
        {
          weekdays: [1, 2, 3, 4, 5, 6, 7],
          fromMinute: 0,
          toMinute: 1440,
          fromDay: 229,
          toDay: 1231,
          pricePerKwh: 0.3,
        },
      ],
    });
  });

  test("negative transaction ids in 1.6", () => {
    expect(read(({ sessions }) => (sessions[2].transactionId = "-1")).sessions[2].transactionId).toBe("-1");
  });
});

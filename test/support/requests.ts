import { type Random, randomOf } from "../../benchmarks/random.ts";
import {
  ChargingRateUnit,
  OcppVersion,
  OptimizeRequest,
  Phase,
  Preference,
  Supply,
  Winding,
} from "../../src/gen/wattslot/v1/optimizer.ts";

const HOUR_MS = 3_600_000;

/** A random, mostly valid request of 1 to 6 vehicles that mixes everything the contract serves. */
export function randomRequest(seed: number): OptimizeRequest {
  const random = randomOf(seed);
  const startMs = Date.UTC(
    2026,
    random.pick([2, 9, 10]),
    random.int(24, 30),
    random.int(0, 23),
    random.int(0, 59),
    random.int(0, 59),
  );
  const hours = random.int(2, 8);
  const at = (hour: number) => new Date(startMs + Math.round(hour * 3600) * 1000);
  const series = (low: number, high: number, stepSeconds: number) => ({
    startTime: new Date(startMs - 1000 * random.int(0, 3600)),
    stepSeconds,
    values: Array.from({ length: random.int(1, 12) }, () => random.real(low, high)),
  });
  const vehicles = random.int(1, 6);
  const feeders = random.int(0, 2);
  const circuits = Array.from({ length: feeders + 1 }, (_, c) => ({
    circuitId: `c${c}`,
    parentCircuitId: c === 0 ? "" : `c${random.int(0, c - 1)}`,
    maxPowerW: random.chance(0.7) ? random.real(0, 7000 * vehicles) : undefined,
    maxCurrentA: random.chance(0.5) ? random.real(0, 12 * vehicles) : undefined,
    maxPowerSeriesW: random.chance(0.25)
      ? series(0, 7000 * vehicles, random.pick([300, 900, 1234, 3600]))
      : undefined,
    baseLoadW: random.chance(0.3) ? series(0, 3000 * vehicles, random.pick([60, 900, 3600])) : undefined,
    baseLoadA: random.chance(0.2)
      ? [{ phase: random.pick([Phase.L1, Phase.L2, Phase.L3]), currentA: series(0, 20, 900) }]
      : [],
    // One voltage, as they can hang on the same lines.
    transformer:
      c > 0 && random.chance(0.3)
        ? { winding: random.pick([Winding.WYE_WYE, Winding.DELTA_WYE]), primaryVoltageV: 277 }
        : undefined,
  }));
  const evses = Array.from({ length: vehicles }, (_, n) => randomEvse(random, n, circuits));
  const sessions = evses.map((evse, n) => {
    const isHere = random.chance(0.6);
    const arrival = isHere ? -random.real(0, 2) : random.real(0, hours * 0.7);
    const departure = Math.max(arrival, 0) + random.real(0.05, hours);
    const is16 = evse.ocpp.version === OcppVersion.OCPP_VERSION_1_6;
    return {
      sessionId: `s${n}`,
      stationId: evse.stationId,
      evseId: evse.evseId,
      transactionId: random.chance(0.8) ? (is16 ? `${random.int(0, 99_999)}` : `tx-${n}`) : "",
      arrivalTime: isHere && random.chance(0.5) ? undefined : at(arrival),
      departureTime: random.chance(0.9) ? at(departure) : undefined,
      need: random.chance(0.7)
        ? {
            $case: "energyWh" as const,
            value: random.pick([0, random.real(1, 800), random.real(800, 30_000), 90_000]),
          }
        : {
            $case: "stateOfCharge" as const,
            value: {
              socPercent: random.real(0, 100),
              targetSocPercent: undefined,
              batteryCapacityWh: random.real(20_000, 90_000),
            },
          },
      maxCurrentA: random.chance(0.3) ? random.real(3, 40) : undefined,
      minCurrentA: random.chance(0.2) ? random.real(0, 3) : undefined,
      maxPowerW: random.chance(0.2) ? random.real(1000, 60_000) : undefined,
      phases: evse.supply === Supply.DC ? 0 : random.int(0, Math.max(1, evse.phases.length)),
      priority: random.chance(0.2) ? random.real(0.2, 5) : undefined,
      uninterruptible: random.chance(0.15),
    };
  });
  const hasTariff = random.chance(0.6);
  const request = OptimizeRequest.fromPartial({
    site: {
      siteId: `site-${seed}`,
      timeZone: random.pick(["", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"]),
      nominalVoltageV: random.pick([0, 230, 120, 237.5]),
      pvPowerW: undefined,
      battery: undefined,
      circuits,
      evses,
      tariff: hasTariff
        ? {
            currency: "EUR",
            energyPrice: random.chance(0.5)
              ? { $case: "pricePerKwh", value: series(-0.1, 0.5, 900) }
              : {
                  $case: "timeOfUse",
                  value: {
                    rules: [
                      { fromLocal: "22:00", toLocal: "06:30", pricePerKwh: 0.1 },
                      { fromLocal: "00:00", toLocal: "24:00", pricePerKwh: 0.3 },
                    ],
                  },
                },
            demandPricePerKw: random.pick([0, 0, 8]),
            demandPeakSoFarW: random.pick([0, 5000]),
          }
        : undefined,
    },
    sessions,
    startTime: new Date(startMs),
    slotSeconds: random.pick([0, 300, 900, 1800, 3600]),
    objective: {
      preference: random.pick([
        Preference.UNSPECIFIED,
        Preference.UNSPECIFIED,
        Preference.EARLIEST,
        Preference.FLATTEST,
      ]),
    },
    installedPlans: sessions
      .filter(() => random.chance(0.25))
      .map(({ sessionId }) => ({
        sessionId,
        powerW: series(0, 11_000, 900),
        chargingProfileId: random.int(0, 20),
      })),
  });
  if (seed % 4 === 2) withLostConnections(request, randomOf(seed ^ 0x165667b1));
  return seed % 6 === 1 ? withEnergySystem(request, randomOf(seed ^ 0x27d4eb2f), at, hours) : request;
}

/** Puts default profiles in the chargers, takes some of them offline, and may ask for what to install. */
function withLostConnections(request: OptimizeRequest, random: Random): void {
  request.withFallbackProfiles = random.chance(0.7);
  for (const evse of request.site?.evses ?? []) {
    if (random.chance(0.5)) evse.fallbackPowerW = random.pick([0, 1380, 4140, random.real(0, 12_000)]);
    evse.isOffline = random.chance(0.2);
  }
}

/** The request with the sun, a battery, export, minimums and uncertain departures, some of each. */
function withEnergySystem(
  request: OptimizeRequest,
  random: Random,
  at: (hour: number) => Date,
  hours: number,
): OptimizeRequest {
  const series = (low: number, high: number) => ({
    startTime: at(-1),
    stepSeconds: random.pick([600, 900, 3600]),
    values: Array.from({ length: random.int(1, 12) }, () => random.real(low, high)),
  });
  const { site } = request;
  if (site === undefined) return request;
  if (random.chance(0.6)) site.pvPowerW = series(0, 20_000);
  if (random.chance(0.5)) {
    site.battery = {
      capacityWh: random.real(500, 50_000),
      socPercent: random.real(0, 100),
      minSocPercent: random.pick([0, 0, 20]),
      maxChargePowerW: random.real(0, 20_000),
      maxDischargePowerW: random.real(0, 20_000),
      roundTripEfficiency: random.chance(0.5) ? random.real(0.6, 1) : undefined,
      endValuePerKwh: random.chance(0.3) ? random.real(0, 0.5) : undefined,
      circuitId: random.pick(["", ...site.circuits.map(({ circuitId }) => circuitId)]),
    };
  }
  if (site.tariff !== undefined && random.chance(0.5)) site.tariff.exportPricePerKwh = series(-0.2, 0.4);
  for (const session of request.sessions) {
    if (random.chance(0.3))
      session.minimum = { energyWh: random.real(0, 2000), byTime: at(random.real(0.1, hours)) };
    if (session.need?.$case === "energyWh" && session.minimum !== undefined)
      session.minimum.energyWh = Math.min(session.minimum.energyWh, session.need.value);
    if (session.need?.$case === "stateOfCharge") session.minimum = undefined;
    if (random.chance(0.3)) {
      const first = random.real(0.05, hours / 2);
      session.departureChances = [
        { time: at(first), probability: random.real(0, 0.4) },
        { time: at(random.real(first + 0.1, hours)), probability: random.real(0.4, 1) },
      ];
    }
  }
  for (const evse of site.evses) {
    const isAc = evse.supply === Supply.UNSPECIFIED || evse.supply === Supply.AC;
    if (isAc && [0, 3].includes(evse.phases.length)) evse.maxPhaseSwitches = random.pick([0, 1, 3]);
    if (random.chance(0.5)) continue;
    evse.maxDischargePowerW = random.real(1000, 20_000);
    if (evse.ocpp !== undefined && random.chance(0.8)) evse.ocpp.version = OcppVersion.OCPP_VERSION_2_1;
  }
  for (const session of request.sessions) {
    if (session.need?.$case !== "stateOfCharge" || random.chance(0.3)) continue;
    session.discharge = {
      maxPowerW: random.pick([0, 5000, 20_000]),
      minSocPercent: random.real(0, 60),
      pricePerKwh: random.pick([0, 0, 0.1]),
    };
  }
  return request;
}

function randomEvse(random: Random, n: number, circuits: { circuitId: string }[]) {
  const isDc = random.chance(0.2);
  const rotations = [
    [Phase.L1, Phase.L2, Phase.L3],
    [Phase.L3, Phase.L1, Phase.L2],
    [Phase.L2],
    [Phase.L3, Phase.L1],
    [],
    [Phase.UNKNOWN],
  ];
  const pairs = [
    [Phase.L1, Phase.L2],
    [Phase.L1, Phase.L3],
    [Phase.UNKNOWN, Phase.UNKNOWN],
  ];
  const isLineToLine = !isDc && random.chance(0.2);
  return {
    stationId: `CS${n}`,
    evseId: random.int(1, 3),
    circuitId: random.chance(0.3) ? "" : random.pick(circuits).circuitId,
    supply: isDc
      ? Supply.DC
      : isLineToLine
        ? Supply.AC_LINE_TO_LINE
        : random.pick([Supply.AC, Supply.UNSPECIFIED]),
    phases: isDc ? [] : random.pick(isLineToLine ? pairs : rotations),
    maxCurrentA: !isDc && random.chance(0.7) ? random.pick([10, 16, 20.5, 32, 63]) : undefined,
    minCurrentA: !isDc && random.chance(0.2) ? random.real(0, 9) : undefined,
    maxPowerW: isDc ? random.real(5000, 150_000) : random.chance(0.2) ? random.real(3000, 22_000) : undefined,
    minPowerW: isDc && random.chance(0.5) ? random.real(0, 4000) : undefined,
    ocpp: {
      version: random.pick([
        OcppVersion.OCPP_VERSION_UNSPECIFIED,
        OcppVersion.OCPP_VERSION_1_6,
        OcppVersion.OCPP_VERSION_2_0_1,
        OcppVersion.OCPP_VERSION_2_1,
      ]),
      rateUnits: isDc
        ? random.pick([[], [ChargingRateUnit.W]])
        : random.pick([
            [],
            [ChargingRateUnit.A],
            [ChargingRateUnit.W],
            [ChargingRateUnit.W, ChargingRateUnit.A],
          ]),
      maxPeriods: random.pick([0, 0, 3, 6, 24]),
      stackLevel: random.pick([0, 0, 2]),
      limitStep: random.pick([undefined, undefined, 1, 0.5]),
      rejectsZeroLimit: random.chance(0.1),
      prefersTxDefaultProfile: random.chance(0.1),
    },
  };
}

const HOSTILE = [
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  -1,
  -1e-9,
  1e300,
  5e-324,
  0,
  4e9,
  1e-7,
];

/** The same request with one to three of its numbers, texts, times or list entries made hostile. */
export function spoil(request: OptimizeRequest, seed: number): OptimizeRequest {
  const random = randomOf(seed ^ 0x5bd1e995);
  const spoilt = structuredClone(request);
  for (let n = random.int(1, 3); n > 0; n--) {
    const places: [Record<string, unknown>, string][] = [];
    const visit = (node: unknown) => {
      if (typeof node !== "object" || node === null || node instanceof Date) return;
      for (const key of Object.keys(node)) {
        // What decoding always fills in can't be missing.
        const child = (node as Record<string, unknown>)[key];
        const isAlwaysThere = key === "$case" || (Array.isArray(node) && typeof child === "object");
        if (!isAlwaysThere) places.push([node as Record<string, unknown>, key]);
        visit((node as Record<string, unknown>)[key]);
      }
    };
    visit(spoilt);
    const [node, key] = random.pick(places);
    const value = node[key];
    if (typeof value === "number") node[key] = random.pick(HOSTILE);
    else if (typeof value === "string")
      node[key] = random.pick(["", "c0", "s0", "\u0000", "x".repeat(400), "Mars/Olympus"]);
    else if (value instanceof Date)
      node[key] = new Date(
        random.pick([Number.NaN, 0, 8.64e15, value.getTime() + 40 * HOUR_MS * 24, value.getTime() - HOUR_MS]),
      );
    else if (Array.isArray(value))
      node[key] = value.length > 0 && random.chance(0.5) ? [...value, value[0]] : [];
    else if (typeof value === "boolean") node[key] = !value;
    else if (!["need", "energyPrice", "value"].includes(key)) node[key] = undefined;
  }
  return spoilt;
}

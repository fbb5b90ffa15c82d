import { type Random, randomOf } from "../../benchmarks/random.ts";
import type { Circuit, Evse, Phase, Preference, Problem, Session, Tariff } from "../../src/domain/problem.ts";
import type { Series } from "../../src/domain/series.ts";

export const START_MS = Date.UTC(2026, 10, 23, 8);
const HOUR_MS = 3_600_000;

export function series(startMs: number, stepMs: number, values: number[]): Series {
  return { startMs, stepMs, values: Float64Array.from(values) };
}

export function circuit(over: Partial<Circuit> = {}): Circuit {
  return {
    circuitId: "grid",
    parent: -1,
    maxPowerW: Number.POSITIVE_INFINITY,
    maxCurrentA: Number.POSITIVE_INFINITY,
    maxPowerSeriesW: undefined,
    baseLoadW: undefined,
    baseLoadA: [undefined, undefined, undefined],
    transformer: undefined,
    ...over,
  };
}

/** An AC EVSE of 32 A on three phases; `ocpp` fields are given flat in the second argument. */
export function evse(over: Partial<Evse> = {}, ocpp: Partial<Evse["ocpp"]> = {}): Evse {
  const phases = over.phases ?? [1, 2, 3];
  const maxCurrentA = over.maxCurrentA ?? 32;
  return {
    stationId: "CS1",
    evseId: 1,
    circuit: 0,
    supply: "AC",
    phases,
    maxCurrentA,
    minCurrentA: 6,
    maxPowerW: maxCurrentA * 230 * phases.length,
    minPowerW: 0,
    hasUnknownPhases: false,
    uncontrolledPowerW: undefined,
    maxDischargePowerW: 0,
    maxPhaseSwitches: 0,
    fallbackPowerW: 0,
    isOffline: false,
    ...over,
    ocpp: {
      version: "2.0.1",
      rateUnit: over.supply === "DC" ? "W" : "A",
      maxPeriods: 1024,
      stackLevel: 0,
      limitStep: 0.1,
      rejectsZeroLimit: false,
      prefersTxDefaultProfile: false,
      ...ocpp,
    },
  };
}

export function session(over: Partial<Session> = {}): Session {
  return {
    sessionId: "a",
    evse: 0,
    transactionId: "1",
    arrivalMs: START_MS,
    departureMs: START_MS + 4 * HOUR_MS,
    energyWh: 10_000,
    maxCurrentA: Number.POSITIVE_INFINITY,
    minCurrentA: 0,
    maxPowerW: Number.POSITIVE_INFINITY,
    phaseCount: 3,
    priority: 1,
    uninterruptible: false,
    battery: undefined,
    minimum: undefined,
    departureChances: [],
    discharge: undefined,
    goesOn: false,
    installed: undefined,
    ...over,
  };
}

/** A problem of 15-minute slots from START_MS until the last departure. */
export function problem(over: Partial<Problem> & { slotMs?: number } = {}): Problem {
  const { slotMs = 900_000, ...rest } = over;
  const sessions = rest.sessions ?? [session()];
  const endMs = sessions.reduce((end, { departureMs }) => Math.max(end, departureMs), START_MS + slotMs);
  return {
    site: {
      siteId: "site",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit()],
      evses: [evse()],
      tariff: undefined,
    },
    slotStartsMs: slotsOf(START_MS, endMs, slotMs),
    preference: rest.site?.tariff === undefined ? "EARLIEST" : "LOWEST_COST",
    carbonPricePerKg: 0,
    changePricePerKwh: undefined,
    unmetPricePerKwh: undefined,
    solver: "AUTO",
    timeLimitMs: 10_000,
    withFallbackProfiles: false,
    notices: [],
    ...rest,
    sessions,
  };
}

/** Slot boundaries on multiples of the slot's length in UTC; the ends may cut a slot short. */
export function slotsOf(startMs: number, endMs: number, slotMs: number): number[] {
  const starts = [startMs];
  for (let at = Math.floor(startMs / slotMs) * slotMs + slotMs; at < endMs; at += slotMs) starts.push(at);
  return [...starts, endMs];
}

export function tariff(over: Partial<Tariff> & { prices?: number[]; stepMs?: number } = {}): Tariff {
  const { prices = [0.2], stepMs = HOUR_MS, ...rest } = over;
  return {
    currency: "EUR",
    price: series(START_MS, stepMs, prices),
    demandPricePerKw: 0,
    demandPeakSoFarW: 0,
    demandWindowMs: 900_000,
    carbonGPerKwh: undefined,
    exportPricePerKwh: undefined,
    ...rest,
  };
}

export interface Size {
  vehicles: [number, number];
  hours: number;
  slotMs?: number;
}

/** A random site with everything mixed: circuits, phases, DC, tariffs, minimums, base load, installed plans. */
export function randomProblem(seed: number, size: Size): Problem {
  const random = randomOf(seed);
  const slotMs = size.slotMs ?? random.pick([900_000, 900_000, 1_800_000, 3_600_000]);
  const startMs = START_MS + random.pick([0, 0, random.int(1, 3599) * 1000]);
  const horizonMs = size.hours * HOUR_MS;
  const vehicleCount = random.int(...size.vehicles);
  const feeders = random.int(0, 3);
  const circuits = [randomCircuit(random, "grid", -1, vehicleCount, startMs, horizonMs)];
  for (let f = 0; f < feeders; f++) {
    const share = Math.ceil(vehicleCount / feeders);
    circuits.push(randomCircuit(random, `feeder${f}`, random.chance(0.8) ? 0 : f, share, startMs, horizonMs));
  }
  const evses = Array.from({ length: vehicleCount }, (_, n) => randomEvse(random, n, circuits.length));
  const sessions = evses.map((one, n) => randomSession(random, n, one, startMs, horizonMs));
  const endMs = Math.max(...sessions.map(({ departureMs }) => departureMs), startMs + slotMs);
  const hasTariff = random.chance(0.8);
  const preferences: Preference[] = hasTariff
    ? ["LOWEST_COST", "LOWEST_COST", "LOWEST_COST", "EARLIEST", "FLATTEST"]
    : ["EARLIEST", "FLATTEST"];
  return problem({
    site: {
      siteId: `random-${seed}`,
      timeZone: "Europe/Berlin",
      nominalVoltageV: random.pick([230, 230, 220, 120]),
      pvPowerW: undefined,
      battery: undefined,
      circuits,
      evses,
      tariff: hasTariff ? randomTariff(random, startMs, horizonMs) : undefined,
    },
    sessions,
    slotStartsMs: slotsOf(startMs, endMs, slotMs),
    preference: random.pick(preferences),
    changePricePerKwh: random.chance(0.2) ? random.real(0, 0.05) : undefined,
  });
}

/**
 * A random site with what randomProblem leaves out: chargers that reject 0, vehicles that can't be
 * paused, chargers in use that can't be controlled, a next vehicle at the same EVSE, vehicle power
 * limits, base load on single phases, and limits and base loads that change inside slots.
 */
export function hardProblem(seed: number, size: Size): Problem {
  const plain = randomProblem(seed, size);
  const random = randomOf(seed ^ 0x5bd1e995);
  const starts = plain.slotStartsMs;
  const startMs = starts[0];
  const endMs = starts[starts.length - 1];
  const { site } = plain;
  const odd = (from: number, to: number) =>
    series(
      startMs - random.int(0, 5000) * 1000,
      random.pick([300_000, 420_000, 3_000_000]),
      Array.from({ length: random.int(1, 40) }, () => random.real(from, to)),
    );
  const vehicles = plain.sessions.length;
  const circuits = site.circuits.map((one) => ({
    ...one,
    maxPowerSeriesW: random.chance(0.3) ? odd(2000, 9000 * vehicles) : one.maxPowerSeriesW,
    baseLoadW: random.chance(0.2) ? odd(0, 700 * vehicles) : one.baseLoadW,
    baseLoadA: one.baseLoadA.map((known) => (random.chance(0.15) ? odd(0, 3 * vehicles) : known)) as [
      Series | undefined,
      Series | undefined,
      Series | undefined,
    ],
  }));
  const evses = site.evses.map((one) => ({
    ...one,
    ocpp: { ...one.ocpp, rejectsZeroLimit: random.chance(0.15) },
  }));
  const sessions = plain.sessions.map((one) => ({
    ...one,
    uninterruptible: random.chance(0.2),
    maxPowerW:
      !evses[one.evse].ocpp.rejectsZeroLimit && random.chance(0.3) ? random.real(3000, 9000) : one.maxPowerW,
  }));
  for (const one of plain.sessions) {
    const arrivalMs = one.departureMs + random.pick([0, 0, 137, 1800]) * 1000;
    if (arrivalMs + 120_000 >= endMs || arrivalMs <= startMs || random.chance(0.6)) continue;
    sessions.push({
      ...one,
      sessionId: `${one.sessionId}-next`,
      transactionId: "",
      arrivalMs,
      departureMs: arrivalMs + random.int(60, (endMs - arrivalMs) / 1000) * 1000,
      energyWh: random.real(1000, 20_000),
      uninterruptible: random.chance(0.2),
      installed: undefined,
    });
  }
  for (let n = random.int(0, 2); n > 0; n--) {
    evses.push(
      evse({
        stationId: `busy${n}`,
        circuit: random.int(0, circuits.length - 1),
        phases: random.pick<Phase[]>([[1, 2, 3], [2], [3, 1]]),
        uncontrolledPowerW: random.real(500, 5000),
      }),
    );
  }
  return { ...plain, site: { ...site, circuits, evses }, sessions };
}

/**
 * The same site on other wiring: transformers of both kinds between its circuits, chargers between two
 * lines, chargers whose phases are not known, more lines with limits. Can be put on any problem.
 */
export function withWiring(plain: Problem, seed: number): Problem {
  const random = randomOf(seed ^ 0x27d4eb2f);
  const { site } = plain;
  // One voltage for all transformers at each depth: they can hang on the same lines.
  const depths: number[] = [];
  const primaryVoltages = [277, 400, 5774, 11_547, 20_000];
  const circuits = site.circuits.map((one, c): Circuit => {
    const hasTransformer = c > 0 && random.chance(0.5);
    depths[c] = c === 0 ? 0 : depths[one.parent] + (hasTransformer ? 1 : 0);
    const winding = random.pick(["DELTA_WYE", "DELTA_WYE", "WYE_WYE"] as const);
    const primaryVoltageV = primaryVoltages[c === 0 ? 0 : depths[one.parent]];
    return {
      ...one,
      maxCurrentA: random.chance(0.5) ? one.maxCurrentA : (random.real(5, 25) * plain.sessions.length) / 2,
      transformer: hasTransformer ? { winding, primaryVoltageV } : undefined,
    };
  });
  const evses = site.evses.map((one): Evse => {
    if (one.supply === "DC") return one;
    const hasUnknownPhases = random.chance(0.15);
    if (random.chance(0.5)) return { ...one, hasUnknownPhases };
    const pairs: Phase[][] = [
      [1, 2],
      [2, 3],
      [3, 1],
      [1, 3],
    ];
    const maxPowerW = Number.POSITIVE_INFINITY;
    return {
      ...one,
      supply: "AC_LINE_TO_LINE",
      phases: random.pick(pairs),
      maxPowerW,
      minPowerW: 0,
      hasUnknownPhases,
    };
  });
  const sessions = plain.sessions.map((one) => {
    const { supply, ocpp } = evses[one.evse];
    return {
      ...one,
      phaseCount: supply === "AC_LINE_TO_LINE" ? 1 : one.phaseCount,
      // At a higher voltage the minimum current is more power.
      maxPowerW: ocpp.rejectsZeroLimit ? Number.POSITIVE_INFINITY : one.maxPowerW,
    };
  });
  return { ...plain, site: { ...site, circuits, evses }, sessions };
}

function randomCircuit(
  random: Random,
  circuitId: string,
  parent: number,
  vehicles: number,
  startMs: number,
  horizonMs: number,
): Circuit {
  const perVehicleW = random.pick([1500, 3000, 5000, 9000]);
  const values = () =>
    Array.from({ length: Math.ceil(horizonMs / HOUR_MS) }, () => random.real(0, 400 * vehicles));
  return circuit({
    circuitId,
    parent,
    maxPowerW: random.chance(0.7)
      ? Math.round(perVehicleW * vehicles * random.real(0.7, 1.3))
      : Number.POSITIVE_INFINITY,
    maxCurrentA: random.chance(0.5) ? Math.round((perVehicleW * vehicles) / 690) : Number.POSITIVE_INFINITY,
    maxPowerSeriesW: random.chance(0.2)
      ? series(
          startMs - HOUR_MS,
          2 * HOUR_MS,
          Array.from({ length: 6 }, () => random.real(0, perVehicleW * vehicles)),
        )
      : undefined,
    baseLoadW: random.chance(0.3) ? series(startMs - 1000, HOUR_MS, values()) : undefined,
    baseLoadA: [
      random.chance(0.15)
        ? series(
            startMs,
            HOUR_MS,
            values().map((v) => v / 500),
          )
        : undefined,
      undefined,
      undefined,
    ],
  });
}

function randomEvse(random: Random, n: number, circuitCount: number): Evse {
  const version = random.pick(["1.6", "2.0.1", "2.1"] as const);
  const base = { stationId: `CS${n}`, circuit: random.int(0, circuitCount - 1) };
  const ocpp = { version, maxPeriods: random.pick([24, 1024, 12]), limitStep: random.pick([0.1, 0.1, 1]) };
  if (random.chance(0.2)) {
    const maxPowerW = random.pick([22_000, 50_000, 150_000]);
    return evse(
      {
        ...base,
        supply: "DC",
        maxPowerW,
        minPowerW: random.pick([0, 0, 2000]),
        maxCurrentA: 0,
        minCurrentA: 0,
      },
      ocpp,
    );
  }
  const phases = random.pick<Phase[]>([[1, 2, 3], [1, 2, 3], [2, 3, 1], [1], [2], [3], [1, 2]]);
  const rateUnit = random.pick(["A", "A", "W"] as const);
  return evse({ ...base, phases, maxCurrentA: random.pick([16, 32, 32, 63]) }, { ...ocpp, rateUnit });
}

function randomSession(random: Random, n: number, one: Evse, startMs: number, horizonMs: number): Session {
  const arrivalMs = random.chance(0.5)
    ? startMs - random.int(0, 3600) * 1000
    : startMs + Math.floor(random.real(0, horizonMs * 0.6) / 1000) * 1000;
  const stayMs = Math.max(
    60_000,
    Math.floor((random.real(0.1, 1) * (startMs + horizonMs - Math.max(arrivalMs, startMs))) / 1000) * 1000,
  );
  const departureMs = Math.max(arrivalMs, startMs) + stayMs;
  const phaseCount = one.supply === "DC" ? 3 : random.int(1, one.phases.length);
  const installed = random.chance(0.3)
    ? {
        powerW: series(
          startMs - 1_800_000,
          900_000,
          Array.from({ length: 30 }, () => random.pick([0, 0, 2000, 4140, 7360])),
        ),
        chargingProfileId: 0,
      }
    : undefined;
  return session({
    sessionId: `s${n}`,
    evse: n,
    transactionId: `${n + 1}`,
    arrivalMs,
    departureMs,
    energyWh: random.pick([
      0,
      500,
      random.real(1000, 20_000),
      random.real(1000, 20_000),
      random.real(5000, 60_000),
    ]),
    maxCurrentA:
      one.supply === "AC" && random.chance(0.3) ? random.pick([10, 13, 16, 20.3]) : Number.POSITIVE_INFINITY,
    minCurrentA: one.supply === "AC" && random.chance(0.1) ? 8 : 0,
    phaseCount,
    priority: random.pick([1, 1, 1, 2, 0.5]),
    installed,
  });
}

function randomTariff(random: Random, startMs: number, horizonMs: number): Tariff {
  const hours = Math.ceil(horizonMs / HOUR_MS) + 1;
  const negative = random.chance(0.2);
  return tariff({
    price: series(
      startMs - 1000,
      HOUR_MS,
      Array.from({ length: hours }, () => random.real(negative ? -0.1 : 0.05, 0.5)),
    ),
    demandPricePerKw: random.chance(0.4) ? random.real(1, 15) : 0,
    demandPeakSoFarW: random.chance(0.5) ? random.real(0, 20_000) : 0,
    demandWindowMs: random.pick([900_000, 900_000, 1_800_000, 3_600_000]),
    carbonGPerKwh: random.chance(0.2)
      ? series(
          startMs - 1000,
          HOUR_MS,
          Array.from({ length: hours }, () => random.real(50, 500)),
        )
      : undefined,
  });
}

/** The same site where the batteries of most vehicles are known and take less power as they fill. Can be put on any problem. */
export function withTaper(plain: Problem, seed: number): Problem {
  const random = randomOf(seed ^ 0x165667b1);
  const sessions = plain.sessions.map((one) => {
    if (random.chance(0.3)) return one;
    const efficiency = random.real(0.85, 1);
    const capacityWh = Math.max(5000, (one.energyWh * efficiency) / random.real(0.2, 1));
    const storedWh = random.real(0, capacityWh - one.energyWh * efficiency);
    const fullW = random.pick([3000, 8000, 25_000, 100_000]);
    const knots = Array.from({ length: random.int(1, 6) }, () => random.real(0, 1)).sort((a, b) => a - b);
    // Falling for the most part, with bumps and, at times, nothing left at the end.
    const chargeCurve = knots.map((share, n) => ({
      storedWh: share * capacityWh,
      maxPowerW:
        n === knots.length - 1 && random.chance(0.2) ? 0 : fullW * (1 - 0.9 * share) * random.real(0.6, 1.2),
    }));
    return { ...one, battery: { capacityWh, storedWh, efficiency, chargeCurve } };
  });
  return { ...plain, sessions };
}

/**
 * The same site where half of the vehicles may give, at bidirectional chargers that speak OCPP 2.1. Their
 * batteries are known. Can be put on any problem.
 */
export function withGiving(plain: Problem, seed: number): Problem {
  const random = randomOf(seed ^ 0x27d4eb2f);
  const evses = plain.site.evses.slice();
  const sessions = plain.sessions.map((one) => {
    if (random.chance(0.5) || one.uninterruptible || evses[one.evse].ocpp.rejectsZeroLimit) return one;
    const { maxPowerW, ocpp } = evses[one.evse];
    const maxDischargePowerW = random.pick([0.3, 1, 1]) * maxPowerW;
    evses[one.evse] = { ...evses[one.evse], maxDischargePowerW, ocpp: { ...ocpp, version: "2.1" } };
    const efficiency = random.real(0.85, 1);
    const needWh = one.energyWh * efficiency;
    const capacityWh = random.real(1.2, 6) * Math.max(needWh, 5000);
    const storedWh = random.real(0, capacityWh - needWh);
    return {
      ...one,
      battery: one.battery ?? { capacityWh, storedWh, efficiency, chargeCurve: [] },
      discharge: {
        maxPowerW: random.pick([Number.POSITIVE_INFINITY, 5000, 20_000]),
        minStoredWh: random.real(0, 0.6) * (one.battery?.capacityWh ?? capacityWh),
        pricePerKwh: random.pick([0, 0, 0.05, 0.2]),
        spareWh: 0,
        plannedW: undefined,
      },
    };
  });
  return { ...plain, sessions, site: { ...plain.site, evses } };
}

/** The same site where most AC chargers have three phases and can change to one and back. Can be put on any problem. */
export function withPhaseSwitches(plain: Problem, seed: number): Problem {
  const random = randomOf(seed ^ 0x9e3779b1);
  const evses = plain.site.evses.map((one) => {
    const maxPhaseSwitches = random.pick([0, 1, 2, 2, 4]);
    if (one.supply !== "AC" || one.uncontrolledPowerW !== undefined || maxPhaseSwitches === 0) return one;
    const phases = random.pick<Phase[]>([
      [1, 2, 3],
      [3, 1, 2],
    ]);
    const maxPowerW = (one.maxPowerW * 3) / one.phases.length;
    return { ...one, phases, hasUnknownPhases: false, maxPowerW, maxPhaseSwitches };
  });
  const sessions = plain.sessions.map((one) =>
    evses[one.evse].maxPhaseSwitches > 0 ? { ...one, phaseCount: 3 } : one,
  );
  return { ...plain, sessions, site: { ...plain.site, evses } };
}

/** The same site with sun, a battery, export, minimums by a time and uncertain departures. Can be put on any problem. */
function withEnergySystem(plain: Problem, seed: number): Problem {
  const random = randomOf(seed ^ 0x3c6ef372);
  const { site } = plain;
  const startMs = plain.slotStartsMs[0] - 600_000;
  const values = (from: number, to: number) => Array.from({ length: 12 }, () => random.real(from, to));
  const capacityWh = random.real(2000, 60_000);
  const sessions = plain.sessions.map((one) => {
    const at = (share: number) =>
      Math.floor((one.arrivalMs + share * (one.departureMs - one.arrivalMs)) / 1000) * 1000;
    return {
      ...one,
      minimum: random.chance(0.3) ? { energyWh: random.real(0, one.energyWh), byMs: at(0.5) } : undefined,
      departureChances: random.chance(0.3)
        ? [
            { atMs: at(0.4), probability: random.real(0, 0.3) },
            { atMs: at(0.8), probability: random.real(0.3, 0.9) },
          ]
        : [],
    };
  });
  return {
    ...plain,
    sessions,
    site: {
      ...site,
      pvPowerW: series(startMs, HOUR_MS, values(0, 4000 * plain.sessions.length)),
      battery: {
        circuit: random.int(0, site.circuits.length - 1),
        capacityWh,
        storedWh: random.real(0, 1) * capacityWh,
        minStoredWh: random.real(0, 0.3) * capacityWh,
        maxChargePowerW: random.real(1000, 20_000),
        maxDischargePowerW: random.real(1000, 20_000),
        efficiency: random.real(0.85, 1),
        endValuePerKwh: random.chance(0.5) ? undefined : random.real(0, 0.3),
      },
      tariff: site.tariff && {
        ...site.tariff,
        exportPricePerKwh: series(startMs, HOUR_MS, values(-0.1, 0.3)),
      },
    },
  };
}

/** A random site that uses everything at once, with limits in one unit. */
export function everything(seed: number, rateUnit: "A" | "W", size: Size): Problem {
  const wired = withWiring(hardProblem(seed, size), seed);
  const energetic = withEnergySystem(withTaper(wired, seed), seed);
  const one = withPhaseSwitches(withGiving(energetic, seed), seed);
  const evses = one.site.evses.map((each) =>
    each.supply === "DC"
      ? each
      : { ...each, ocpp: { ...each.ocpp, rateUnit, limitStep: rateUnit === "A" ? 0.1 : 1 } },
  );
  return { ...one, site: { ...one.site, evses } };
}

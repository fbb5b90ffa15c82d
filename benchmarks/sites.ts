import type { Circuit, Evse, Phase, Problem, Session } from "../src/domain/problem.ts";
import { randomOf } from "./random.ts";

const HOUR_MS = 3_600_000;
const SLOT_MS = 900_000;
const START_MS = Date.UTC(2026, 10, 23, 6);

/**
 * A workplace and depot site of the given size over 96 slots of 15 minutes: most chargers
 * three-phase of 16 or 32 A, a quarter single-phase, a tenth DC; feeders of at most 25 chargers
 * below one grid connection that carries about 3.5 kW a charger; building load, prices that
 * change by the hour, a demand charge. Stays of 2 to 14 hours, needs of 4 to 45 kWh.
 */
export function site(vehicles: number, seed: number): Problem {
  const random = randomOf(seed);
  const feeders = Math.ceil(vehicles / 25);
  const circuits = [circuit("grid", -1, 3500 * vehicles + 5000, Number.POSITIVE_INFINITY)];
  for (let f = 0; f < feeders; f++) {
    const share = Math.ceil(vehicles / feeders);
    circuits.push(circuit(`feeder-${f}`, 0, Number.POSITIVE_INFINITY, Math.max(40, 9 * share)));
  }
  circuits[0].baseLoadW = {
    startMs: START_MS,
    stepMs: HOUR_MS,
    values: Float64Array.from({ length: 24 }, (_, h) => 100 * vehicles * (1 + Math.sin((Math.PI * h) / 12))),
  };
  const evses: Evse[] = [];
  const sessions: Session[] = [];
  for (let n = 0; n < vehicles; n++) {
    evses.push(evse(random, n, feeders));
    const isDc = evses[n].supply === "DC";
    const arrivalMs = START_MS + (random.chance(0.4) ? 0 : random.int(0, 40) * 600_000);
    const stayMs = (isDc ? random.real(0.7, 2) : random.real(2, 14)) * HOUR_MS;
    const departureMs = Math.min(START_MS + 24 * HOUR_MS, arrivalMs + Math.floor(stayMs / 60_000) * 60_000);
    const powerW = isDc ? 40_000 : 7000;
    sessions.push({
      sessionId: `session-${n}`,
      evse: n,
      transactionId: `${1000 + n}`,
      arrivalMs,
      departureMs,
      energyWh: Math.round(
        Math.min(random.real(4000, 45_000), (0.7 * powerW * (departureMs - arrivalMs)) / HOUR_MS),
      ),
      maxCurrentA: random.chance(0.3) ? 16 : Number.POSITIVE_INFINITY,
      minCurrentA: 0,
      maxPowerW: Number.POSITIVE_INFINITY,
      phaseCount: isDc ? 3 : random.chance(0.25) ? 1 : evses[n].phases.length,
      priority: random.chance(0.1) ? 2 : 1,
      uninterruptible: false,
      battery: undefined,
      minimum: undefined,
      departureChances: [],
      discharge: undefined,
      goesOn: false,
      installed: undefined,
    });
  }
  return {
    site: {
      siteId: `bench-${vehicles}-${seed}`,
      timeZone: "Europe/Berlin",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits,
      evses,
      tariff: {
        currency: "EUR",
        price: {
          startMs: START_MS,
          stepMs: HOUR_MS,
          values: Float64Array.from(
            { length: 24 },
            (_, h) => 0.2 + 0.08 * Math.sin(h / 3) + random.real(-0.03, 0.03),
          ),
        },
        demandPricePerKw: 4,
        demandPeakSoFarW: 1000 * vehicles,
        demandWindowMs: SLOT_MS,
        carbonGPerKwh: undefined,
        exportPricePerKwh: undefined,
      },
    },
    sessions,
    slotStartsMs: Array.from({ length: 97 }, (_, k) => START_MS + k * SLOT_MS),
    preference: "LOWEST_COST",
    carbonPricePerKg: 0,
    changePricePerKwh: undefined,
    unmetPricePerKwh: undefined,
    solver: "AUTO",
    timeLimitMs: 10_000,
    withFallbackProfiles: false,
    notices: [],
  };
}

/**
 * The same site with everything: sun, export and a battery; delta-wye transformers below the grid connection with limits
 * on both sides, chargers whose phases are not known; a minimum by a time, chances of departure, charge
 * curves; bidirectional chargers, and chargers that change between one and three phases.
 */
export function siteWithEverything(vehicles: number, seed: number): Problem {
  const plain = site(vehicles, seed);
  const random = randomOf(seed ^ 0x2545f491);
  const { circuits, tariff } = plain.site;
  const hourly = (valueAt: (hour: number) => number) => ({
    startMs: START_MS,
    stepMs: HOUR_MS,
    values: Float64Array.from({ length: 24 }, (_, hour) => valueAt(hour)),
  });
  const [grid, ...feeders] = circuits;
  const evses = plain.site.evses.map((one) => {
    const { ocpp } = one;
    if (random.chance(0.15)) {
      return { ...one, maxDischargePowerW: one.maxPowerW, ocpp: { ...ocpp, version: "2.1" as const } };
    }
    const isThree = one.supply === "AC" && one.phases.length === 3;
    if (isThree && random.chance(0.2)) return { ...one, maxPhaseSwitches: 2 };
    return { ...one, hasUnknownPhases: one.phases.length === 1 && random.chance(0.3) };
  });
  const sessions = plain.sessions.map((one): Session => {
    const { energyWh, arrivalMs, departureMs } = one;
    const at = (share: number) => Math.floor((arrivalMs + share * (departureMs - arrivalMs)) / 1000) * 1000;
    const evse = evses[one.evse];
    const isKnown = evse.supply === "DC" || evse.maxDischargePowerW > 0;
    const capacityWh = energyWh * random.real(1.3, 3);
    const chargeCurve = [
      { storedWh: 0.8 * capacityWh, maxPowerW: evse.maxPowerW },
      { storedWh: capacityWh, maxPowerW: 0.01 * evse.maxPowerW },
    ];
    const storedWh = random.real(0, 0.9) * (capacityWh - energyWh);
    return {
      ...one,
      battery: isKnown ? { capacityWh, storedWh, efficiency: 0.92, chargeCurve } : undefined,
      minimum: random.chance(0.2) ? { energyWh: 0.3 * energyWh, byMs: at(0.4) } : undefined,
      departureChances: random.chance(0.2)
        ? [
            { atMs: at(0.5), probability: 0.05 },
            { atMs: at(0.8), probability: 0.2 },
          ]
        : [],
      discharge:
        evse.maxDischargePowerW > 0
          ? {
              maxPowerW: evse.maxDischargePowerW,
              minStoredWh: 0.2 * capacityWh,
              pricePerKwh: 0.05,
              spareWh: 0,
              plannedW: undefined,
            }
          : undefined,
    };
  });
  return {
    ...plain,
    sessions,
    site: {
      ...plain.site,
      evses,
      circuits: [
        grid,
        ...feeders.map((feeder) => ({
          ...feeder,
          transformer: { winding: "DELTA_WYE" as const, primaryVoltageV: 5774 },
        })),
      ],
      pvPowerW: hourly((hour) => 700 * vehicles * Math.max(0, Math.sin((Math.PI * hour) / 12))),
      battery: {
        circuit: 0,
        capacityWh: 2000 * vehicles,
        storedWh: 800 * vehicles,
        minStoredWh: 200 * vehicles,
        maxChargePowerW: 1000 * vehicles,
        maxDischargePowerW: 1000 * vehicles,
        efficiency: 0.95,
        endValuePerKwh: undefined,
      },
      tariff: tariff && { ...tariff, exportPricePerKwh: hourly(() => 0.07) },
    },
  };
}

function circuit(circuitId: string, parent: number, maxPowerW: number, maxCurrentA: number): Circuit {
  return {
    circuitId,
    parent,
    maxPowerW,
    maxCurrentA,
    maxPowerSeriesW: undefined,
    baseLoadW: undefined,
    baseLoadA: [undefined, undefined, undefined],
    transformer: undefined,
  };
}

function evse(random: ReturnType<typeof randomOf>, n: number, feeders: number): Evse {
  const isDc = random.chance(0.1);
  const phases = random.pick<Phase[]>([[1, 2, 3], [2, 3, 1], [3, 1, 2], [random.pick<Phase>([1, 2, 3])]]);
  const maxCurrentA = random.pick([16, 32, 32]);
  return {
    stationId: `station-${n}`,
    evseId: 1,
    circuit: 1 + (n % feeders),
    supply: isDc ? "DC" : "AC",
    phases: isDc ? [1, 2, 3] : phases,
    maxCurrentA: isDc ? 0 : maxCurrentA,
    minCurrentA: isDc ? 0 : 6,
    maxPowerW: isDc ? 50_000 : maxCurrentA * 230 * phases.length,
    minPowerW: isDc ? 2000 : 0,
    hasUnknownPhases: false,
    uncontrolledPowerW: undefined,
    maxDischargePowerW: 0,
    maxPhaseSwitches: 0,
    fallbackPowerW: 0,
    isOffline: false,
    ocpp: {
      version: random.pick(["1.6", "2.0.1", "2.1"] as const),
      rateUnit: isDc ? "W" : "A",
      maxPeriods: 1024,
      stackLevel: 0,
      limitStep: 0.1,
      rejectsZeroLimit: false,
      prefersTxDefaultProfile: false,
    },
  };
}

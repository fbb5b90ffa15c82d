import type { Evse, OcppVersion, Phase, Problem, Session } from "./domain/problem.ts";

const HOUR_MS = 3_600_000;
const SLOT_MS = HOUR_MS / 4;
const VERSIONS: OcppVersion[] = ["1.6", "2.0.1", "2.1"];
const WIRINGS: Phase[][] = [[1, 2, 3], [2], [3, 1, 2], [1]];

/**
 * A site to run a thread's code on before it takes work: code that has run is compiled, and many
 * times as fast. Vehicles of all kinds that contend for a feeder, so that every stage has work.
 */
export function practiceSite(vehicles: number): Problem {
  const evses = Array.from({ length: vehicles }, (_, n): Evse => {
    const isDc = n % 8 === 7;
    const phases: Phase[] = isDc ? [1, 2, 3] : WIRINGS[n % WIRINGS.length];
    return {
      stationId: `practice-${n}`,
      evseId: 1,
      circuit: n % 2,
      supply: isDc ? "DC" : "AC",
      phases,
      maxCurrentA: isDc ? 0 : 32,
      minCurrentA: isDc ? 0 : 6,
      maxPowerW: isDc ? 50_000 : 32 * 230 * phases.length,
      minPowerW: 0,
      hasUnknownPhases: false,
      uncontrolledPowerW: undefined,
      maxDischargePowerW: 0,
      maxPhaseSwitches: 0,
      fallbackPowerW: 0,
      isOffline: false,
      ocpp: {
        version: VERSIONS[n % VERSIONS.length],
        rateUnit: isDc ? "W" : "A",
        maxPeriods: n % 4 === 0 ? 6 : 24,
        stackLevel: 0,
        limitStep: 0.1,
        rejectsZeroLimit: false,
        prefersTxDefaultProfile: false,
      },
    };
  });
  const sessions = evses.map(
    ({ phases }, n): Session => ({
      sessionId: `practice-${n}`,
      evse: n,
      transactionId: `${n + 1}`,
      arrivalMs: (n % 5) * SLOT_MS,
      departureMs: (6 + (n % 6)) * HOUR_MS,
      energyWh: 6000 + 1300 * (n % 9),
      maxCurrentA: n % 3 === 0 ? 16 : Number.POSITIVE_INFINITY,
      minCurrentA: 0,
      maxPowerW: Number.POSITIVE_INFINITY,
      phaseCount: phases.length,
      priority: 1,
      uninterruptible: false,
      battery: undefined,
      minimum: undefined,
      departureChances: [],
      discharge: undefined,
      goesOn: false,
      installed: undefined,
    }),
  );
  const open = {
    maxPowerSeriesW: undefined,
    transformer: undefined,
    baseLoadA: [undefined, undefined, undefined] as Problem["site"]["circuits"][0]["baseLoadA"],
  };
  const hourly = (values: number[]) => ({ startMs: 0, stepMs: HOUR_MS, values: Float64Array.from(values) });
  return {
    site: {
      siteId: "practice",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [
        {
          ...open,
          circuitId: "grid",
          parent: -1,
          maxPowerW: 2500 * vehicles,
          maxCurrentA: Number.POSITIVE_INFINITY,
          baseLoadW: hourly([4000, 2000]),
        },
        {
          ...open,
          circuitId: "feeder",
          parent: 0,
          maxPowerW: Number.POSITIVE_INFINITY,
          maxCurrentA: 3 * vehicles,
          baseLoadW: undefined,
        },
      ],
      evses,
      tariff: {
        currency: "EUR",
        price: hourly([0.3, 0.25, 0.2, 0.22, 0.28]),
        demandPricePerKw: 2,
        demandPeakSoFarW: 1000 * vehicles,
        demandWindowMs: SLOT_MS,
        carbonGPerKwh: undefined,
        exportPricePerKwh: undefined,
      },
    },
    sessions,
    slotStartsMs: Array.from({ length: 49 }, (_, k) => k * SLOT_MS),
    preference: "LOWEST_COST",
    carbonPricePerKg: 0,
    changePricePerKwh: undefined,
    unmetPricePerKwh: undefined,
    solver: "AUTO",
    timeLimitMs: HOUR_MS,
    withFallbackProfiles: false,
    notices: [],
  };
}

import type { TimeSeries } from "../../src/gen/wattslot/v1/optimizer.ts";
import { OptimizeRequest, Phase, Preference, Supply, Winding } from "../../src/grpc/client.ts";

export const START = new Date("2026-11-23T08:00:00Z");
export const START_MS = START.getTime();
export const HOUR_MS = 3_600_000;

export function at(hours: number): Date {
  return new Date(START_MS + hours * HOUR_MS);
}

export function series(values: number[], startTime = START, stepSeconds = 900): TimeSeries {
  return { startTime, stepSeconds, values };
}

/** The request that DESIGN calls minimal. */
export function minimal(): OptimizeRequest {
  return OptimizeRequest.fromPartial({
    site: {
      siteId: "depot",
      circuits: [{ circuitId: "grid", maxPowerW: 30_000 }],
      evses: [
        { stationId: "CS1", evseId: 1, maxCurrentA: 32 },
        { stationId: "CS2", evseId: 1, maxCurrentA: 32 },
      ],
    },
    startTime: START,
    sessions: [
      {
        sessionId: "a",
        stationId: "CS1",
        evseId: 1,
        transactionId: "tx-a",
        need: { $case: "energyWh", value: 22_000 },
        departureTime: at(4),
      },
      {
        sessionId: "b",
        stationId: "CS2",
        evseId: 1,
        transactionId: "tx-b",
        need: { $case: "energyWh", value: 30_000 },
        departureTime: at(8),
      },
    ],
  });
}

/** A request that uses every field that is served, without a finding. */
export function full(): OptimizeRequest {
  return OptimizeRequest.fromPartial({
    site: {
      siteId: "depot",
      timeZone: "Europe/Berlin",
      nominalVoltageV: 230,
      circuits: [
        {
          circuitId: "grid",
          maxPowerW: 100_000,
          maxCurrentA: 160,
          maxPowerSeriesW: series([90_000, 80_000]),
        },
        {
          circuitId: "hall",
          parentCircuitId: "grid",
          maxPowerW: 50_000,
          baseLoadW: series([5000]),
          baseLoadA: [{ phase: Phase.L1, currentA: series([3, 4]) }],
          transformer: { winding: Winding.DELTA_WYE, primaryVoltageV: 400 },
        },
        { circuitId: "row", parentCircuitId: "hall", maxCurrentA: 63 },
      ],
      evses: [
        {
          stationId: "CS1",
          evseId: 1,
          circuitId: "row",
          supply: Supply.AC,
          phases: [Phase.L2, Phase.L3, Phase.L1],
          maxCurrentA: 32,
          minCurrentA: 6,
          maxPowerW: 22_000,
          minPowerW: 1380,
          efficiency: 0.9,
          fallbackPowerW: 11_000,
          ocpp: { rateUnits: [1, 2], maxPeriods: 48, maxStackLevel: 5, stackLevel: 2, limitStep: 0.5 },
        },
        { stationId: "CS2", evseId: 1, circuitId: "grid", supply: Supply.DC, maxPowerW: 150_000 },
        { stationId: "CS3", evseId: 2, circuitId: "hall", phases: [Phase.L1], ocpp: { version: 1 } },
        { stationId: "CS4", evseId: 1, uncontrolledPowerW: 11_000 },
        {
          stationId: "CS5",
          evseId: 1,
          supply: Supply.AC_LINE_TO_LINE,
          phases: [Phase.L3, Phase.L1],
        },
        { stationId: "CS6", evseId: 1, phases: [Phase.UNKNOWN] },
      ],
      tariff: {
        currency: "EUR",
        energyPrice: { $case: "pricePerKwh", value: series([0.3, -0.05, 0.2]) },
        demandPricePerKw: 12,
        demandPeakSoFarW: 40_000,
        demandWindowSeconds: 1800,
        carbonGPerKwh: series([300, 200]),
      },
      defaultStaySeconds: 7200,
    },
    startTime: START,
    endTime: at(12),
    slotSeconds: 900,
    sessions: [
      {
        sessionId: "a",
        stationId: "CS1",
        evseId: 1,
        transactionId: "tx-a",
        departureTime: at(4),
        need: { $case: "energyWh", value: 22_000 },
        maxCurrentA: 16,
        minCurrentA: 8,
        maxPowerW: 11_000,
        phases: 2,
        priority: 2,
        uninterruptible: true,
      },
      {
        sessionId: "b",
        stationId: "CS2",
        evseId: 1,
        transactionId: "tx-b",
        arrivalTime: at(1),
        departureTime: at(2),
        need: {
          $case: "stateOfCharge",
          value: { socPercent: 20, targetSocPercent: 80, batteryCapacityWh: 76_000 },
        },
      },
      {
        sessionId: "c",
        stationId: "CS3",
        evseId: 2,
        transactionId: "4711",
        departureTime: at(3),
        need: { $case: "energyWh", value: 3000 },
      },
    ],
    objective: { preference: Preference.LOWEST_COST, carbonPricePerKg: 0.1, changePricePerKwh: 0.01 },
    installedPlans: [{ sessionId: "a", powerW: series([11_000]), chargingProfileId: 17 }],
    options: { timeLimitMs: 2000, solver: 2 },
    withFallbackProfiles: true,
  });
}

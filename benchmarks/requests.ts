import { OcppVersion, type PartialRequest, Phase, Supply } from "../src/grpc/client.ts";
import { randomOf } from "./random.ts";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 10, 23, 6);

/**
 * A small site for the wire: the given number of vehicles at AC chargers of their own, most of
 * them three-phase, behind a connection of about 4 kW a vehicle; 48 slots of 15 minutes, prices
 * by the hour, chargers of all OCPP versions.
 */
export function smallRequest(seed: number, vehicles: number): PartialRequest {
  const random = randomOf(seed);
  const versions = [
    OcppVersion.OCPP_VERSION_1_6,
    OcppVersion.OCPP_VERSION_2_0_1,
    OcppVersion.OCPP_VERSION_2_1,
  ];
  return {
    site: {
      siteId: `site-${seed}`,
      timeZone: "Europe/Berlin",
      circuits: [{ circuitId: "grid", maxPowerW: 4000 * vehicles + 5000 }],
      evses: Array.from({ length: vehicles }, (_, n) => ({
        stationId: `station-${n}`,
        evseId: 1,
        supply: Supply.AC,
        phases: random.chance(0.7) ? [] : [random.pick([Phase.L1, Phase.L2, Phase.L3])],
        maxCurrentA: random.pick([16, 32]),
        ocpp: { version: versions[n % versions.length] },
      })),
      tariff: {
        currency: "EUR",
        energyPrice: {
          $case: "pricePerKwh",
          value: {
            startTime: new Date(START_MS),
            stepSeconds: 3600,
            values: Array.from({ length: 12 }, () => random.real(0.1, 0.4)),
          },
        },
      },
    },
    sessions: Array.from({ length: vehicles }, (_, n) => {
      const arrivalMs = START_MS + (random.chance(0.6) ? 0 : random.int(1, 16) * 900_000);
      return {
        sessionId: `session-${n}`,
        stationId: `station-${n}`,
        evseId: 1,
        transactionId: `${100 + n}`,
        arrivalTime: new Date(arrivalMs),
        departureTime: new Date(arrivalMs + random.int(12, 32) * 900_000),
        need: { $case: "energyWh", value: Math.round(random.real(3000, 20_000)) },
      };
    }),
    startTime: new Date(START_MS),
    endTime: new Date(START_MS + 12 * HOUR_MS),
  };
}

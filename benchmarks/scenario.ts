import { OcppVersion, type PartialRequest, Phase, Supply } from "../src/grpc/client.ts";
import { type Random, randomOf } from "./random.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** A Monday in Berlin, 08:00 by the wall clock. */
const START_MS = Date.UTC(2026, 10, 23, 7);

type Session = NonNullable<PartialRequest["sessions"]>[number];
type Evse = NonNullable<NonNullable<PartialRequest["site"]>["evses"]>[number];

/** What the three parts of the site have in common: where, which chargers, who comes. */
interface Group {
  circuitId: string;
  vehicles: number;
  evse: (n: number) => Evse;
  session: (n: number, random: Random) => Session;
}

/**
 * A company site on a working day: staff cars on two car-park feeders, vans and fast chargers at
 * a depot, 20 vehicles in all; AC on one and three phases, with the phases rotated from charger
 * to charger, and DC; chargers of every OCPP version; needs as energy and as state of charge; the
 * building's own load; a wall-clock tariff with a demand charge. One van leaves too soon.
 */
export function scenario(): PartialRequest {
  const random = randomOf(20);
  const groups = [staffThreePhase, staffOnePhase, depot];
  const chargers = groups
    .flatMap(({ circuitId, vehicles, evse }) =>
      Array.from({ length: vehicles }, (_, n) => ({ ...evse(n), circuitId })),
    )
    .map((evse, n) => ({
      ...evse,
      stationId: `CS${String(n + 1).padStart(2, "0")}`,
      evseId: 1,
      ocpp: { version: VERSIONS[n % VERSIONS.length] },
    }));
  const sessions = groups
    .flatMap(({ vehicles, session }) => Array.from({ length: vehicles }, (_, n) => session(n, random)))
    .map((session, n) => ({
      ...session,
      sessionId: `v${String(n + 1).padStart(2, "0")}`,
      stationId: chargers[n].stationId,
      evseId: 1,
      // An integer, as OCPP 1.6 wants it; a vehicle that is still to come has none.
      transactionId: session.arrivalTime === undefined ? `${4100 + n}` : "",
    }));
  return {
    site: {
      siteId: "company-site",
      timeZone: "Europe/Berlin",
      circuits: [
        { circuitId: "grid", maxPowerW: 110_000, maxCurrentA: 200, baseLoadW: buildingLoad(random) },
        { circuitId: "car-park-1", parentCircuitId: "grid", maxCurrentA: 63 },
        { circuitId: "car-park-2", parentCircuitId: "grid", maxCurrentA: 40 },
        { circuitId: "depot", parentCircuitId: "grid", maxPowerW: 80_000 },
      ],
      evses: chargers,
      tariff: {
        currency: "EUR",
        energyPrice: {
          $case: "timeOfUse",
          value: {
            rules: [
              { weekdays: [1, 2, 3, 4, 5], fromLocal: "17:00", toLocal: "20:00", pricePerKwh: 0.41 },
              { weekdays: [1, 2, 3, 4, 5], fromLocal: "06:00", toLocal: "22:00", pricePerKwh: 0.31 },
              { fromLocal: "00:00", toLocal: "24:00", pricePerKwh: 0.22 },
            ],
          },
        },
        demandPricePerKw: 11.5,
        demandPeakSoFarW: 85_000,
      },
    },
    startTime: new Date(START_MS),
    sessions,
    installedPlans: [
      { sessionId: "v01", powerW: flat(22_080), chargingProfileId: 11 },
      { sessionId: "v02", powerW: flat(4_140), chargingProfileId: 11 },
    ],
  };
}

const VERSIONS = [OcppVersion.OCPP_VERSION_1_6, OcppVersion.OCPP_VERSION_2_0_1, OcppVersion.OCPP_VERSION_2_1];

const ROTATIONS = [
  [Phase.L1, Phase.L2, Phase.L3],
  [Phase.L2, Phase.L3, Phase.L1],
  [Phase.L3, Phase.L1, Phase.L2],
];

/** Staff cars on three-phase chargers, some of them with a one- or two-phase charger on board. */
const staffThreePhase: Group = {
  circuitId: "car-park-1",
  vehicles: 7,
  evse: (n) => ({ phases: ROTATIONS[n % 3], maxCurrentA: n < 4 ? 32 : 16 }),
  session: (n, random) => ({
    phases: [3, 3, 1, 3, 2, 3, 3][n],
    ...staffHours(n, random),
    ...(n % 2 === 0 ? energy(random.int(9, 24)) : charge(random.int(20, 45), 90, 60)),
    ...(n === 3 ? { priority: 2 } : {}),
  }),
};

/** Staff cars on one-phase chargers, spread over the phases. */
const staffOnePhase: Group = {
  circuitId: "car-park-2",
  vehicles: 7,
  evse: (n) => ({ phases: [ROTATIONS[n % 3][0]], maxCurrentA: 32 }),
  session: (n, random) => ({
    ...staffHours(n, random),
    ...(n % 3 === 0 ? charge(random.int(40, 60), 80, 52) : energy(random.int(6, 18))),
    maxCurrentA: n % 2 === 0 ? 16 : 32,
  }),
};

/** Vans that stay the night on AC and call at fast chargers during the day. */
const depot: Group = {
  circuitId: "depot",
  vehicles: 6,
  evse: (n) =>
    n < 3
      ? { supply: Supply.DC, maxPowerW: [50_000, 50_000, 75_000][n] }
      : { phases: ROTATIONS[n % 3], maxCurrentA: 32 },
  session: (n, random) => {
    if (n === 0) return { ...leaving(0.5), ...charge(10, 90, 75) };
    if (n === 1) return { ...arriving(3, 1.5), ...energy(38) };
    if (n === 2) return { ...arriving(6, 1.25), ...charge(25, 80, 90) };
    return { ...arriving(9 + random.int(0, 4) / 4, 11), ...energy(random.int(35, 60)) };
  },
};

/** In by 08:00 or within the next three quarters of an hour, out in the afternoon. */
function staffHours(n: number, random: Random): Session {
  const stayHours = 7 + random.int(0, 8) / 4;
  return n % 4 === 3 ? arriving(random.int(2, 9) / 12, stayHours) : leaving(stayHours);
}

function leaving(afterHours: number): Session {
  return { departureTime: new Date(START_MS + afterHours * HOUR_MS) };
}

function arriving(afterHours: number, stayHours: number): Session {
  return { arrivalTime: new Date(START_MS + afterHours * HOUR_MS), ...leaving(afterHours + stayHours) };
}

function energy(energyKwh: number): Session {
  return { need: { $case: "energyWh", value: energyKwh * 1000 } };
}

function charge(socPercent: number, targetSocPercent: number, batteryKwh: number): Session {
  const value = { socPercent, targetSocPercent, batteryCapacityWh: batteryKwh * 1000 };
  return { need: { $case: "stateOfCharge", value } };
}

/** 24 hours of the building from the plan's start: a workday's hump over what always runs. */
function buildingLoad(random: Random) {
  const values = Array.from({ length: 24 }, (_, hour) => {
    const hump = hour < 10 ? 18_000 * Math.sin((Math.PI * (hour + 1)) / 11) : 0;
    return Math.round(14_000 + hump + random.real(0, 3000));
  });
  return { startTime: new Date(START_MS), stepSeconds: 3600, values };
}

function flat(powerW: number) {
  return { startTime: new Date(START_MS - HOUR_MS), stepSeconds: 3600, values: [powerW] };
}

import type { Circuit, Evse, Phase, Problem } from "../../src/domain/problem.ts";
import type { Scenario } from "../../src/planner/scenario.ts";
import { type AcnSession, acnSessions } from "./acn.ts";
import { circuit, evse, problem, session, slotsOf } from "./problems.ts";

const MIDNIGHT_MS = Date.UTC(2019, 2, 1);
const PERIOD_MS = 300_000;
/** Rated in W, no minimum, steps of 0.1 W. */
const BOUNDS = { maxCurrentA: 100, minCurrentA: 0, maxPowerW: 6600 };

/** A month of Caltech's garage at one cap: 5-minute slots, 6.6 kW a vehicle. */
export function garage(capKw: number): Problem {
  const sessions = acnSessions();
  const evses = stationsOf(sessions).map((stationId) =>
    evse({ ...BOUNDS, stationId, phases: [1] }, { rateUnit: "W" }),
  );
  return month(sessions, 208, [circuit({ maxPowerW: capKw * 1000 })], evses);
}

// Which lines each station hangs between, and the two panels of eight stations, as the network of the
// garage is published; the stations that are not named hang between L1 and L2.
const L2_L3 = [304, 512, 305, 511, 313, 503, 311, 505, 317, 499, 148, 149, 212, 213];
const L3_L1 = [307, 509, 309, 507, 306, 510, 315, 501, 319, 497, 312, 504, 314, 502];
const POD_CC = [322, 493, 496, 320, 495, 321, 323, 494];
const POD_AV = [324, 325, 326, 327, 489, 490, 491, 492];
/** 277 V to 120 V in round numbers; at 208 V between two lines the ratio of turns is four to one. */
const SECONDARY_V = 208 / Math.sqrt(3);
const PRIMARY_V = (4 * 208) / 3;

/**
 * The same month on the garage's own wiring: every station between two lines of 208 V, behind a
 * delta-wye transformer of a capacity that counts on both its sides, two panels of 80 A.
 */
export function wiredGarage(capKw: number): Problem {
  const sessions = acnSessions();
  const circuits = [
    circuit({ circuitId: "primary", maxCurrentA: (capKw * 1000) / 3 / 277 }),
    circuit({
      circuitId: "secondary",
      parent: 0,
      maxCurrentA: (capKw * 1000) / 3 / 120,
      transformer: { winding: "DELTA_WYE", primaryVoltageV: PRIMARY_V },
    }),
    circuit({ circuitId: "pod-av", parent: 1, maxCurrentA: 80 }),
    circuit({ circuitId: "pod-cc", parent: 1, maxCurrentA: 80 }),
  ];
  const evses = stationsOf(sessions).map((stationId) => {
    const number = Number(stationId.split("-")[1]);
    const phases: Phase[] = L2_L3.includes(number) ? [2, 3] : L3_L1.includes(number) ? [3, 1] : [1, 2];
    const panel = POD_AV.includes(number) ? 2 : POD_CC.includes(number) ? 3 : 1;
    const wiring = { supply: "AC_LINE_TO_LINE" as const, phases, circuit: panel };
    return evse({ ...BOUNDS, ...wiring, stationId }, { rateUnit: "W" });
  });
  return month(sessions, SECONDARY_V, circuits, evses);
}

function stationsOf(sessions: readonly AcnSession[]): string[] {
  return [...new Set(sessions.map(({ stationId }) => stationId))];
}

function month(
  sessions: readonly AcnSession[],
  nominalVoltageV: number,
  circuits: Circuit[],
  evses: Evse[],
): Problem {
  const lastPeriod = sessions.reduce((last, { departure }) => Math.max(last, departure), 0);
  return problem({
    site: {
      siteId: "caltech",
      timeZone: "America/Los_Angeles",
      nominalVoltageV,
      pvPowerW: undefined,
      battery: undefined,
      circuits,
      evses,
      tariff: undefined,
    },
    sessions: sessions.map(({ sessionId, stationId, arrival, departure, energyKwh }) =>
      session({
        sessionId,
        evse: evses.findIndex((one) => one.stationId === stationId),
        transactionId: sessionId.slice(0, 36),
        arrivalMs: MIDNIGHT_MS + arrival * PERIOD_MS,
        departureMs: MIDNIGHT_MS + departure * PERIOD_MS,
        energyWh: energyKwh * 1000,
        phaseCount: 1,
      }),
    ),
    slotStartsMs: slotsOf(MIDNIGHT_MS, MIDNIGHT_MS + lastPeriod * PERIOD_MS, PERIOD_MS),
  });
}

/** A month of the garage as a scenario, planned anew every 5 minutes and at each arrival and departure. */
export function monthOf({ sessions, slotStartsMs, notices: _, ...base }: Problem): Scenario {
  return {
    name: "garage",
    base,
    startMs: slotStartsMs[0],
    endMs: slotStartsMs[slotStartsMs.length - 1],
    slotMs: PERIOD_MS,
    everyMs: PERIOD_MS,
    isEventDriven: true,
    horizonMs: Number.POSITIVE_INFINITY,
    forecast: undefined,
    turnedAwayWh: [],
    visits: sessions.map((said) => ({ said, departureMs: said.departureMs, energyWh: said.energyWh })),
  };
}

/**
 * The month at the prices of SCE TOU-EV-4 in March 2019 on a wall clock without summer time, each vehicle wanting what
 * its stay allows, as the published costs have it.
 */
export function pricedGarage(capKw: number, demandPricePerKw: number): Problem {
  const one = garage(capKw);
  const rule = (fromHour: number, toHour: number, pricePerKwh: number, weekdays = [1, 2, 3, 4, 5]) => ({
    weekdays,
    fromMinute: 60 * fromHour,
    toMinute: 60 * toHour,
    fromDay: 101,
    toDay: 1231,
    pricePerKwh,
  });
  return {
    ...one,
    site: {
      ...one.site,
      timeZone: "UTC",
      tariff: {
        currency: "USD",
        price: {
          rules: [rule(12, 18, 0.0869), rule(8, 23, 0.07492), rule(0, 24, 0.06087, [1, 2, 3, 4, 5, 6, 7])],
        },
        demandPricePerKw,
        demandPeakSoFarW: 0,
        demandWindowMs: PERIOD_MS,
        carbonGPerKwh: undefined,
        exportPricePerKwh: undefined,
      },
    },
    sessions: one.sessions.map((session) => ({
      ...session,
      energyWh: Math.min(session.energyWh, (6600 * (session.departureMs - session.arrivalMs)) / 3_600_000),
    })),
    preference: "LOWEST_COST",
  };
}

import type { Problem } from "../../src/domain/problem.ts";
import { acnSessions } from "./acn.ts";
import { circuit, evse, problem, session, slotsOf } from "./problems.ts";

const MIDNIGHT_MS = Date.UTC(2019, 2, 1);
const PERIOD_MS = 300_000;

/** A month of Caltech's garage at one cap: 5-minute slots, 6.6 kW, rated in W, no minimum, steps of 0.1 W. */
export function garage(capKw: number): Problem {
  const sessions = acnSessions();
  const stations = [...new Set(sessions.map(({ stationId }) => stationId))];
  const lastPeriod = sessions.reduce((last, { departure }) => Math.max(last, departure), 0);
  return problem({
    site: {
      siteId: "caltech",
      timeZone: "America/Los_Angeles",
      nominalVoltageV: 208,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit({ maxPowerW: capKw * 1000 })],
      evses: stations.map((stationId) =>
        evse(
          { stationId, phases: [1], maxCurrentA: 100, minCurrentA: 0, maxPowerW: 6600 },
          { rateUnit: "W" },
        ),
      ),
      tariff: undefined,
    },
    sessions: sessions.map(({ sessionId, stationId, arrival, departure, energyKwh }) =>
      session({
        sessionId,
        evse: stations.indexOf(stationId),
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

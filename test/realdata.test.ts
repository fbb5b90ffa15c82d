import { describe, expect, it } from "vitest";
import type { Problem } from "../src/domain/problem.ts";
import { planSite } from "../src/engine.ts";
import { acnGolden, acnSessions, hasAcnData } from "./support/acn.ts";
import { circuit, evse, problem, session, slotsOf } from "./support/problems.ts";
import { testSolvers } from "./support/solvers.ts";

const MIDNIGHT_MS = Date.UTC(2019, 2, 1);
const PERIOD_MS = 300_000;

/** A month of Caltech's garage at one cap: 5-minute slots, 6.6 kW, rated in W, no minimum, steps of 0.1 W. */
function garage(capKw: number): Problem {
  const sessions = acnSessions();
  const stations = [...new Set(sessions.map(({ stationId }) => stationId))];
  const lastPeriod = sessions.reduce((last, { departure }) => Math.max(last, departure), 0);
  return problem({
    site: {
      siteId: "caltech",
      timeZone: "America/Los_Angeles",
      nominalVoltageV: 208,
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

describe.skipIf(!hasAcnData)(
  "954 real sessions of a month (skipped where the data are not beside the project)",
  () => {
    it("reads them all", () => {
      const sessions = acnSessions();
      expect(sessions).toHaveLength(954);
      expect(sessions.reduce((sum, { energyKwh }) => sum + energyKwh, 0)).toBeCloseTo(8900.522, 3);
    });

    it("delivers the published optimum's share at every cap, every profile checked", {
      timeout: 300_000,
    }, async () => {
      const solvers = await testSolvers();
      const golden = acnGolden();
      expect(golden.map(({ capKw }) => capKw)).toEqual([10, 15, 20, 25, 30, 35, 50]);
      for (const { capKw, deliveredPercent } of golden) {
        const { plan, excesses } = planSite(garage(capKw), solvers, () => 1e9);
        expect(excesses).toEqual([]);
        expect(plan.status).toBe("OPTIMAL");
        const percent = (100 * plan.summary.plannedEnergyWh) / plan.summary.requestedEnergyWh;
        expect(Math.abs(percent - deliveredPercent), `at ${capKw} kW`).toBeLessThan(0.002);
        expect(Math.max(...plan.chargingPowerW)).toBeLessThanOrEqual(capKw * 1000 + 1e-6);
      }
    });
  },
);

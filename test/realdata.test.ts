import { describe, expect, it } from "vitest";
import { planSite } from "../src/engine.ts";
import { acnGolden, acnSessions, acnWiredBounds, hasAcnData } from "./support/acn.ts";
import { garage, wiredGarage } from "./support/garage.ts";
import { testSolvers } from "./support/solvers.ts";

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

    it("delivers within 1 % of the bound on the garage's own wiring, between lines behind a delta-wye", {
      timeout: 300_000,
    }, async () => {
      const solvers = await testSolvers();
      const bounds = acnWiredBounds();
      expect(bounds.map(({ capKw }) => capKw)).toEqual([10, 20, 30, 50]);
      for (const { capKw, boundPercent } of bounds) {
        const { plan, excesses } = planSite(wiredGarage(capKw), solvers, () => 1e9);
        expect(excesses).toEqual([]);
        expect(plan.status).toBe("OPTIMAL");
        const percent = (100 * plan.summary.plannedEnergyWh) / plan.summary.requestedEnergyWh;
        expect(percent, `at ${capKw} kW`).toBeGreaterThan(0.99 * boundPercent);
        expect(percent, `at ${capKw} kW`).toBeLessThanOrEqual(boundPercent);
        for (const { circuitId, powerW, limitW } of plan.circuits) {
          // A line's limit as a power is what three phases make of it: no plan has more.
          powerW.forEach((w, k) => {
            expect(w, circuitId).toBeLessThanOrEqual(limitW[k] + 1e-3);
          });
        }
      }
    });
  },
);

import { describe, expect, it } from "vitest";
import type { Problem } from "../src/domain/problem.ts";
import { rangeOver } from "../src/domain/series.ts";
import { planSafely } from "../src/engine.ts";
import { interimPlans } from "../src/interim.ts";
import { circuit, evse, hardProblem, problem, START_MS, series, session } from "./support/problems.ts";

const QUARTER_MS = 900_000;

/** Vehicles behind 11.04 kW that need half an hour of it, the first of them at once, with what their chargers hold. */
function depot(installedW: (number[] | undefined)[]): Problem {
  return problem({
    site: {
      ...problem().site,
      circuits: [circuit({ maxPowerW: 11_040 })],
      evses: installedW.map((_, n) => evse({ stationId: `CS${n}`, maxCurrentA: 16 })),
    },
    sessions: installedW.map((values, n) =>
      session({
        sessionId: `s${n}`,
        evse: n,
        transactionId: `tx${n}`,
        departureMs: START_MS + (n === 0 ? 2 : 4) * QUARTER_MS,
        energyWh: 5520,
        installed: values && { powerW: series(START_MS, QUARTER_MS, values), chargingProfileId: 11 },
      }),
    ),
    slotStartsMs: [0, 1, 2, 3, 4].map((n) => START_MS + n * QUARTER_MS),
  });
}

const early = [11_040, 11_040, 0, 0, 0];
const late = [0, 0, 11_040, 11_040, 0];

describe("interim plans", () => {
  it("lower those first that change places, to what both of their profiles allow", () => {
    const site = depot([late, early]);
    const safe = planSafely(site).plan;
    const sessionPlans = [early, late].map((powerW, n) => ({
      ...safe.sessionPlans[n],
      powerW: Float64Array.from(powerW.slice(0, 4)),
    }));
    const plan = { ...safe, sessionPlans, wave1ByMs: START_MS };
    const interims = interimPlans(site, plan);
    expect([...interims.keys()]).toEqual(["s0", "s1"]);
    for (const { command, powerW } of interims.values()) {
      expect([...powerW]).toEqual([0, 0, 0, 0]);
      expect(command.pushWave).toBe(1);
      const [schedule] = JSON.parse(command.payloadJson).chargingProfile.chargingSchedule;
      expect(schedule.chargingSchedulePeriod).toMatchObject([{ startPeriod: 0, limit: 0 }]);
    }
  });

  it("are not needed where an increase can wait for the reduction that makes its room", () => {
    for (const installed of [
      [undefined, early],
      [early, undefined],
      [early, late],
    ]) {
      const site = depot(installed);
      expect(interimPlans(site, planSafely(site).plan).size).toBe(0);
    }
  });

  it("are nowhere above what is held or planned", () => {
    let count = 0;
    for (let seed = 0; seed < 300; seed++) {
      const site = hardProblem(seed, { vehicles: [2, 12], hours: 8 });
      const { plan } = planSafely(site);
      for (const [sessionId, { powerW }] of interimPlans(site, plan)) {
        const {
          installed,
          evse: e,
          arrivalMs,
          departureMs,
        } = site.sessions.find((one) => one.sessionId === sessionId)!;
        // Such a charger can't be told less than its least limit, whatever these random ones hold.
        if (site.site.evses[e].ocpp.rejectsZeroLimit) continue;
        count++;
        const planned = plan.sessionPlans.find((one) => one.sessionId === sessionId)!.powerW;
        powerW.forEach((w, k) => {
          const fromMs = Math.max(site.slotStartsMs[k], arrivalMs);
          const toMs = Math.min(site.slotStartsMs[k + 1], departureMs);
          if (fromMs >= toMs) return;
          const heldW = installed ? rangeOver(installed.powerW, fromMs, toMs).min : Number.POSITIVE_INFINITY;
          expect(w).toBeLessThanOrEqual(Math.max(0, Math.min(planned[k], heldW)) + 0.001);
        });
      }
    }
    expect(count).toBeGreaterThan(0);
  });
});

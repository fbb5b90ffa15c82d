import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { ChargingProfile, PowerStep } from "../../src/domain/plan.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { changeOf } from "../../src/ocpp/change.ts";
import { compositeSchedule } from "../../src/ocpp/composite.ts";
import { expand } from "../../src/ocpp/expand.ts";
import { toPayload } from "../../src/ocpp/payload.ts";
import { toProfile } from "../../src/ocpp/profile.ts";
import { anyPlan, type Plan, planIn, plannedAt, uncompressed } from "./plans.ts";
import { validatorFor } from "./schema.ts";

// Thousands of random cases take a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const RUNS = { numRuns: 2000 };

interface Sent {
  profile: ChargingProfile;
  powerW: Float64Array;
  payloadJson: string;
  steps: PowerStep[];
}

function send(problem: Problem, powerW: Float64Array): Sent {
  const evse = problem.site.evses[0];
  const made = toProfile(problem, 0, powerW);
  const payloadJson = toPayload(made.profile, evse);
  const { transactionStartMs } = problem.sessions[0];
  const context = { fromMs: firstSecondOf(problem), transactionStartMs };
  return { ...made, payloadJson, steps: expand(payloadJson, evse, problem.site.nominalVoltageV, context) };
}

/** Where the stay begins within the horizon, on a whole second. */
function firstSecondOf({ slotStartsMs, sessions }: Problem): number {
  return Math.ceil(Math.max(slotStartsMs[0], sessions[0].arrivalMs) / 1000) * 1000;
}

/** What a charger with these steps allows; undefined before the first. */
function allowedAt(steps: readonly PowerStep[], atMs: number): number | undefined {
  return steps.findLast((step) => step.atMs <= atMs)?.powerW;
}

/** Every instant at which plan or profile change, and the milliseconds around it. */
function instants({ problem: { slotStartsMs, sessions } }: Plan, steps: readonly PowerStep[]): number[] {
  const { arrivalMs, departureMs } = sessions[0];
  const edges = [...slotStartsMs, arrivalMs, departureMs, ...steps.map(({ atMs }) => atMs)];
  return edges.flatMap((atMs) => [atMs - 1, atMs, atMs + 1, atMs + 86_400_000]);
}

/** The stay on whole seconds within the horizon, fractions given up. */
function staySeconds({ problem }: Plan): { fromMs: number; toMs: number } {
  const { slotStartsMs, sessions } = problem;
  const fromMs = firstSecondOf(problem);
  const toMs = Math.floor(Math.min(slotStartsMs.at(-1) as number, sessions[0].departureMs) / 1000) * 1000;
  return { fromMs, toMs: Math.max(fromMs, toMs) };
}

describe("what a charger reads from a payload", () => {
  it("begins on the first whole second of the stay and is safe from departure on", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { steps } = send(plan.problem, plan.powerW);
        const { fromMs, toMs } = staySeconds(plan);
        const safeW = plan.safeTenths * plan.tenthPowerW;
        expect(steps[0].atMs).toBe(fromMs);
        for (const atMs of instants(plan, steps)) {
          if (atMs >= toMs && atMs >= fromMs) expect(allowedAt(steps, atMs)).toBeCloseTo(safeW, 6);
        }
      }),
      RUNS,
    );
  });

  it("is never above the plan, or the least limit where the charger rejects 0", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { steps } = send(plan.problem, plan.powerW);
        const safeW = plan.safeTenths * plan.tenthPowerW;
        for (const atMs of instants(plan, steps)) {
          const mostW = Math.max(plannedAt(plan, atMs), safeW);
          expect(allowedAt(steps, atMs) ?? 0).toBeLessThanOrEqual(mostW * (1 + 2e-9));
        }
      }),
      RUNS,
    );
  });

  it("is less than a step under the plan where nothing is compressed", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { steps } = send(uncompressed(plan), plan.powerW);
        const { fromMs, toMs } = staySeconds(plan);
        const stepW = plan.stepTenths * plan.tenthPowerW;
        const safeW = plan.safeTenths * plan.tenthPowerW;
        const leastW = (plan.minTenths ?? Number.POSITIVE_INFINITY) * plan.tenthPowerW;
        for (const atMs of instants(plan, steps)) {
          if (atMs < fromMs || atMs >= toMs) continue;
          const plannedW = plannedAt(plan, atMs);
          const allowedW = allowedAt(steps, atMs) as number;
          if (plannedW >= leastW) expect(allowedW).toBeGreaterThan(plannedW - stepW * (1 + 1e-9));
          else if (plannedW < leastW * (1 - 1e-8)) expect(allowedW).toBeCloseTo(safeW, 6);
        }
      }),
      RUNS,
    );
  });

  it("after compression is nowhere above what it was before", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const compressed = send(plan.problem, plan.powerW);
        const full = send(uncompressed(plan), plan.powerW);
        const { fromMs } = staySeconds(plan);
        for (const atMs of instants(plan, full.steps)) {
          expect(allowedAt(compressed.steps, atMs) ?? 0).toBeLessThanOrEqual(
            allowedAt(full.steps, atMs) ?? 0,
          );
        }
        const { transactionStartMs } = plan.problem.sessions[0];
        const hasPast = (transactionStartMs ?? fromMs) < fromMs;
        const maxPeriods = plan.problem.site.evses[0].ocpp.maxPeriods - (hasPast ? 1 : 0);
        if (full.steps.length <= maxPeriods) expect(compressed.steps).toEqual(full.steps);
        else expect(compressed.steps.length).toBeLessThanOrEqual(maxPeriods);
      }),
      RUNS,
    );
  });

  it("is what the plan reports for each slot", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { steps, powerW } = send(plan.problem, plan.powerW);
        const { slotStartsMs } = plan.problem;
        const { fromMs, toMs } = staySeconds(plan);
        expect(powerW).toHaveLength(plan.powerW.length);
        for (let k = 0; k < powerW.length; k++) {
          const inside = [Math.max(slotStartsMs[k], fromMs), ...steps.map(({ atMs }) => atMs)].filter(
            (atMs) => atMs >= Math.max(slotStartsMs[k], fromMs) && atMs < Math.min(slotStartsMs[k + 1], toMs),
          );
          const leastW =
            inside.length === 0 ? 0 : Math.min(...inside.map((atMs) => allowedAt(steps, atMs) as number));
          expect(powerW[k]).toBeCloseTo(leastW, 6);
        }
      }),
      RUNS,
    );
  });
});

describe.each(["1.6", "2.0.1", "2.1"] as const)("plan, payload and composite schedule in %s", (version) => {
  it.each(["A", "W"] as const)("are the same within a step of %s", (rateUnit) => {
    fc.assert(
      fc.property(planIn([version], [rateUnit]), (plan) => {
        const { payloadJson } = send(uncompressed(plan), plan.powerW);
        const request = JSON.parse(payloadJson);
        const [one] = plan.problem.site.evses;
        const { fromMs, toMs } = staySeconds(plan);
        if (fromMs >= toMs) return;
        const periods = compositeSchedule(
          {
            version,
            voltageV: plan.problem.site.nominalVoltageV,
            installed: [
              { evseId: one.evseId, profile: request.csChargingProfiles ?? request.chargingProfile },
            ],
            evses: [
              {
                evseId: one.evseId,
                supply: one.supply === "DC" ? "DC" : "AC",
                maxCurrentA: one.maxCurrentA,
                maxPowerW: one.maxPowerW,
                transaction: {
                  transactionId: plan.problem.sessions[0].transactionId,
                  startMs: plan.problem.sessions[0].transactionStartMs ?? fromMs,
                },
              },
            ],
          },
          { evseId: one.evseId, startMs: fromMs, endMs: toMs, unit: "W" },
        );
        const stepW = plan.stepTenths * plan.tenthPowerW;
        const leastW = (plan.minTenths ?? Number.POSITIVE_INFINITY) * plan.tenthPowerW;
        const safeW = plan.safeTenths * plan.tenthPowerW;
        for (const slotMs of plan.problem.slotStartsMs) {
          const atMs = Math.max(slotMs, fromMs);
          if (atMs >= toMs) continue;
          const limitW = periods.findLast(({ startPeriod }) => fromMs + startPeriod * 1000 <= atMs)?.limit;
          const plannedW = plannedAt(plan, atMs);
          if (plannedW >= leastW) {
            expect(limitW).toBeLessThanOrEqual(plannedW * (1 + 2e-9));
            expect(limitW).toBeGreaterThan(plannedW - stepW * (1 + 1e-9));
          } else if (plannedW < leastW * (1 - 1e-8)) expect(limitW).toBeCloseTo(safeW, 6);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

describe("the payload", () => {
  const validators = {
    "1.6": validatorFor("1.6"),
    "2.0.1": validatorFor("2.0.1"),
    "2.1": validatorFor("2.1"),
  };

  it("is valid against the official schema of its version", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { payloadJson } = send(plan.problem, plan.powerW);
        expect(validators[plan.problem.site.evses[0].ocpp.version](JSON.parse(payloadJson))).toEqual([]);
      }),
      RUNS,
    );
  });

  it("has limits that are 0 or usable, whole steps, printed with one decimal, in merged and increasing periods", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { payloadJson, profile } = send(plan.problem, plan.powerW);
        const printed = [...payloadJson.matchAll(/"limit":([^,}]*)/g)].map((match) => match[1]);
        const { periods } = profile.schedules[0];
        expect(printed).toHaveLength(periods.length);
        expect(printed.length).toBeLessThanOrEqual(plan.problem.site.evses[0].ocpp.maxPeriods);
        for (const [i, text] of printed.entries()) {
          expect(text).toMatch(/^\d+(\.\d)?$/);
          const tenths = Math.round(Number(text) * 10);
          expect(tenths % plan.stepTenths).toBe(0);
          if (tenths > 0) expect(tenths).toBeGreaterThanOrEqual(plan.minTenths ?? Number.POSITIVE_INFINITY);
          else expect(plan.safeTenths).toBe(0);
          if (i > 0) expect(text).not.toBe(printed[i - 1]);
          if (i > 0) expect(periods[i].startPeriodS).toBeGreaterThan(periods[i - 1].startPeriodS);
        }
      }),
      RUNS,
    );
  });

  it("says the same as the typed profile, field by field", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const { payloadJson, profile } = send(plan.problem, plan.powerW);
        const payload = JSON.parse(payloadJson);
        const is16 = plan.problem.site.evses[0].ocpp.version === "1.6";
        const wire = is16 ? payload.csChargingProfiles : payload.chargingProfile;
        const schedule = is16 ? wire.chargingSchedule : wire.chargingSchedule[0];
        expect({
          id: is16 ? wire.chargingProfileId : wire.id,
          stackLevel: wire.stackLevel,
          chargingProfilePurpose: wire.chargingProfilePurpose,
          chargingProfileKind: wire.chargingProfileKind,
          transactionId: is16 && "transactionId" in wire ? String(wire.transactionId) : wire.transactionId,
          chargingRateUnit: schedule.chargingRateUnit,
          schedules: [
            {
              id: is16 ? wire.chargingProfileId : schedule.id,
              startScheduleMs: "startSchedule" in schedule ? Date.parse(schedule.startSchedule) : undefined,
              periods: schedule.chargingSchedulePeriod.map(
                (period: { startPeriod: number; limit: number; numberPhases?: number }) => ({
                  startPeriodS: period.startPeriod,
                  limit: period.limit,
                  numberPhases: period.numberPhases,
                }),
              ),
            },
          ],
        }).toEqual(profile);
      }),
      RUNS,
    );
  });
});

describe("a plan as it was sent", () => {
  it("sent again gives the same profile", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const first = send(plan.problem, plan.powerW);
        const second = send(plan.problem, first.powerW);
        expect(second.payloadJson).toBe(first.payloadJson);
        expect(second.powerW).toEqual(first.powerW);
      }),
      RUNS,
    );
  });

  it("is unchanged against itself, and a change once it moves by a step", () => {
    fc.assert(
      fc.property(anyPlan, fc.nat(), fc.boolean(), (plan, pick, up) => {
        const { powerW } = send(plan.problem, plan.powerW);
        const startMs = Math.floor(plan.problem.slotStartsMs[0] / plan.slotMs) * plan.slotMs;
        const sessions = plan.problem.sessions.map((one) => ({
          ...one,
          installed: { powerW: { startMs, stepMs: plan.slotMs, values: powerW }, chargingProfileId: 0 },
        }));
        const problem = { ...plan.problem, sessions };
        expect(changeOf(problem, 0, powerW).change).toBe("UNCHANGED");

        const { fromMs, toMs } = staySeconds(plan);
        const { slotStartsMs } = problem;
        const present = [...powerW.keys()].filter(
          (k) => Math.max(slotStartsMs[k], fromMs) < Math.min(slotStartsMs[k + 1], toMs),
        );
        if (present.length === 0) return;
        const moved = powerW.slice();
        const stepW = plan.stepTenths * plan.tenthPowerW;
        moved[present[pick % present.length]] += up ? stepW : -stepW;
        expect(changeOf(problem, 0, moved)).toEqual({ change: "CHANGED", pushWave: up ? 2 : 1 });
      }),
      RUNS,
    );
  });
});

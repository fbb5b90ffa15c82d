import fc from "fast-check";
import type { OcppVersion, Phase, Problem, RateUnit } from "../../src/domain/problem.ts";
import { evse, problem, START_MS, session, slotsOf } from "../support/problems.ts";

/** A plan for one session, and what follows from its numbers by whole-number arithmetic. */
export interface Plan {
  problem: Problem;
  powerW: Float64Array;
  slotMs: number;
  /** Power of a limit of 0.1. */
  tenthPowerW: number;
  stepTenths: number;
  /** The least limit other than 0, in tenths; undefined where the vehicle can't charge. */
  minTenths: number | undefined;
  /** The limit where nothing is planned, in tenths. */
  safeTenths: number;
}

const wirings: Phase[][] = [[1, 2, 3], [2, 3, 1], [1], [3], [1, 2]];

const share = (min: number, max: number) =>
  fc.integer({ min: 0, max: 9973 }).map((part) => min + ((max - min) * part) / 9973);

/** Where a slot's power lies: 0, a whole number of steps, or a share of the highest or of the least power. */
const slotPower = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: "most" as const, share: 0 }) },
  { weight: 2, arbitrary: fc.constant({ kind: "most" as const, share: 1 }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("steps" as const), share: share(0, 1) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("most" as const), share: share(0, 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("least" as const), share: share(0, 1.1) }) },
);

/** Any charger, stay and plan; times to the millisecond, first and last slot cut short at will. */
export const planIn = (
  versions: readonly OcppVersion[],
  rateUnits: readonly RateUnit[],
): fc.Arbitrary<Plan> =>
  fc
    .record({
      version: fc.constantFrom(...versions),
      supply: fc.constantFrom("AC" as const, "AC" as const, "DC" as const),
      rateUnit: fc.constantFrom(...rateUnits),
      phases: fc.constantFrom(...wirings),
      phaseCount: fc.integer({ min: 1, max: 3 }),
      voltageV: fc.constantFrom(230, 230, 220, 120, 277),
      stepTenths: fc.constantFrom(1, 1, 2, 5, 10, 30),
      maxPeriods: fc.constantFrom(1, 2, 3, 5, 8, 24, 1024),
      evseMinTenthsA: fc.constantFrom(0, 60, 60, 65),
      vehicleMinTenthsA: fc.constantFrom(0, 0, 0, 73),
      evseMinPowerW: fc.constantFrom(0, 0, 0, 2001, 5000),
      maxCurrentA: fc.constantFrom(5, 16, 16, 32, 32, 63),
      maxPowerW: fc.constantFrom(3000, 22_000, 50_000, 50_000, 350_000),
      rejectsZeroLimit: fc.boolean(),
      prefersTxDefaultProfile: fc.boolean(),
      transactionId: fc.constantFrom("", "1", "4711"),
      wantsRelativeProfile: fc.boolean(),
      transactionAgeS: fc.constantFrom(undefined, 0, 1, 4000),
      clockLagS: fc.constantFrom(0, 0, 60),
      installedId: fc.constantFrom(undefined, 0, 77),
      slotMs: fc.constantFrom(60_000, 900_000, 3_600_000),
      startOffsetS: fc.integer({ min: 0, max: 3599 }),
      slots: fc.array(slotPower, { minLength: 1, maxLength: 40, size: "max" }),
      arrivalShare: fc.oneof(fc.constant(-0.1), share(-0.2, 0.4), share(-0.2, 1.1)),
      stayShare: fc.oneof(fc.constant(2), share(0.3, 1.2), share(0, 1)),
    })
    .map((input): Plan => {
      const startMs = START_MS + input.startOffsetS * 1000;
      const endMs = Math.floor(startMs / input.slotMs) * input.slotMs + input.slots.length * input.slotMs;
      const slotStartsMs = slotsOf(startMs, endMs, input.slotMs);
      const arrivalMs = Math.round(startMs + input.arrivalShare * (endMs - startMs));
      const departureMs = Math.min(endMs, Math.round(arrivalMs + input.stayShare * (endMs - startMs)));

      // Only a TxProfile can be Relative, and one period is for the time before the plan.
      const hasTxProfile = input.transactionId !== "" && !input.prefersTxDefaultProfile;
      const isRelative = input.wantsRelativeProfile && hasTxProfile && input.maxPeriods >= 3;
      const firstMs = Math.ceil(Math.max(startMs, arrivalMs) / 1000) * 1000;
      const isHere = arrivalMs <= startMs && input.transactionAgeS !== undefined;
      const ageMs = isHere ? (input.transactionAgeS ?? 0) * 1000 : 0;
      const transactionStartMs = isRelative ? firstMs - ageMs : undefined;

      const isDc = input.supply === "DC";
      const phases: Phase[] = isDc ? [1, 2, 3] : input.phases;
      const phaseCount = isDc ? 3 : Math.min(input.phaseCount, phases.length);
      const amperePowerW = input.voltageV * phaseCount;
      const unitPowerW = input.rateUnit === "A" ? amperePowerW : 1;
      const { stepTenths } = input;

      // In deciwatts, so that everything is a whole number.
      const minCurrentTenthsA = isDc ? 0 : Math.max(input.evseMinTenthsA, input.vehicleMinTenthsA);
      const minDw = Math.max(minCurrentTenthsA * amperePowerW, input.evseMinPowerW * 10);
      const maxDw = Math.min(
        isDc ? Number.POSITIVE_INFINITY : input.maxCurrentA * 10 * amperePowerW,
        input.maxPowerW * 10,
      );
      const stepDw = stepTenths * unitPowerW;
      const leastSteps = Math.max(1, Math.floor((minDw + stepDw - 1) / stepDw));
      const mostSteps = Math.floor(maxDw / stepDw);
      const canCharge = mostSteps >= leastSteps;
      const safeTenths = input.rejectsZeroLimit && canCharge ? leastSteps * stepTenths : 0;

      const powerW = new Float64Array(slotStartsMs.length - 1);
      for (let k = 0; k < powerW.length; k++) {
        const { kind, share } = input.slots[k];
        if (kind === "steps") powerW[k] = Math.floor(share * mostSteps) * (stepTenths / 10) * unitPowerW;
        if (kind === "most") powerW[k] = (share * maxDw) / 10;
        if (kind === "least") powerW[k] = (share * minDw) / 10;
      }
      return {
        problem: problem({
          site: {
            ...problem().site,
            nominalVoltageV: input.voltageV,
            evses: [
              evse(
                {
                  evseId: 3,
                  supply: input.supply,
                  phases,
                  maxCurrentA: input.maxCurrentA,
                  minCurrentA: input.evseMinTenthsA / 10,
                  maxPowerW: input.maxPowerW,
                  minPowerW: input.evseMinPowerW,
                },
                {
                  version: input.version,
                  rateUnit: input.rateUnit,
                  maxPeriods: input.maxPeriods,
                  limitStep: stepTenths / 10,
                  rejectsZeroLimit: input.rejectsZeroLimit,
                  prefersTxDefaultProfile: input.prefersTxDefaultProfile,
                  wantsRelativeProfile: isRelative,
                  clockLagMs: input.clockLagS * 1000,
                },
              ),
            ],
          },
          sessions: [
            session({
              transactionId: input.transactionId,
              arrivalMs: isRelative ? firstMs : arrivalMs,
              departureMs,
              transactionStartMs,
              minCurrentA: input.vehicleMinTenthsA / 10,
              phaseCount: input.phaseCount,
              installed:
                input.installedId === undefined
                  ? undefined
                  : {
                      powerW: { startMs, stepMs: input.slotMs, values: Float64Array.of(0) },
                      chargingProfileId: input.installedId,
                    },
            }),
          ],
          slotStartsMs,
        }),
        powerW,
        slotMs: input.slotMs,
        tenthPowerW: unitPowerW / 10,
        stepTenths,
        minTenths: canCharge ? leastSteps * stepTenths : undefined,
        safeTenths,
      };
    });

export const anyPlan = planIn(["1.6", "2.0.1", "2.1"], ["A", "W"]);

/** The same plan for a charger that takes any number of periods. */
export function uncompressed(plan: Plan): Problem {
  const { site } = plan.problem;
  const evses = site.evses.map((one) => ({ ...one, ocpp: { ...one.ocpp, maxPeriods: 1024 } }));
  return { ...plan.problem, site: { ...site, evses } };
}

/** Planned power at an instant: 0 outside the stay and the horizon. */
export function plannedAt({ problem: { sessions, slotStartsMs }, powerW }: Plan, atMs: number): number {
  if (atMs < sessions[0].arrivalMs || atMs >= sessions[0].departureMs) return 0;
  const slot = slotStartsMs.findLastIndex((startMs) => startMs <= atMs);
  return powerW[slot] ?? 0;
}

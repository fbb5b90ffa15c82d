import { describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import type { PowerStep } from "../../src/domain/plan.ts";
import type { Circuit, Problem, Session } from "../../src/domain/problem.ts";
import { planSafely } from "../../src/engine.ts";
import { pushOrder } from "../../src/ocpp/push.ts";
import { compareAll, firstExcesses, stepsOf } from "../support/brute.ts";
import { circuit, evse, hardProblem, problem, START_MS, series, session } from "../support/problems.ts";

const QUARTER_MS = 900_000;
const FULL = [11_040, 11_040, 11_040, 11_040];
const HALF = [5520, 5520, 5520, 5520];

/** Vehicles for an hour in four slots behind 11.04 kW, with what their chargers hold. */
function depot(
  installedW: (number[] | undefined)[],
  over: { grid?: Partial<Circuit>; first?: Partial<Session> } = {},
): Problem {
  return problem({
    site: {
      ...problem().site,
      circuits: [circuit({ maxPowerW: 11_040, ...over.grid })],
      evses: installedW.map((_, n) => evse({ stationId: `CS${n}` })),
    },
    sessions: installedW.map((values, n) =>
      session({
        sessionId: `s${n}`,
        evse: n,
        departureMs: START_MS + 4 * QUARTER_MS,
        installed: values && { powerW: series(START_MS, QUARTER_MS, values), chargingProfileId: 11 },
        ...(n === 0 ? over.first : {}),
      }),
    ),
    slotStartsMs: [0, 1, 2, 3, 4].map((n) => START_MS + n * QUARTER_MS),
  });
}

const steps = (powersW: number[]): PowerStep[] => [
  ...powersW.map((powerW, n) => ({ atMs: START_MS + n * QUARTER_MS, powerW })),
  { atMs: START_MS + powersW.length * QUARTER_MS, powerW: 0 },
];
const slot = (n: number) =>
  expect.objectContaining({ limit: "circuit grid", atMs: START_MS + n * QUARTER_MS });
const never = { wave1: undefined, wave2: undefined };

describe("pushOrder", () => {
  it("tells when vehicles that change places pass the limit with only one of the two told", () => {
    const early = [11_040, 11_040, 0, 0];
    const late = [0, 0, 11_040, 11_040];
    expect(pushOrder(depot([early, late]), [steps(late), steps(early)], [1, 2])).toEqual({
      waves: [1, 2],
      wave1: slot(2),
      wave2: slot(2),
    });
  });

  it("knows no time where an increase waits for the reduction that makes its room", () => {
    const drop = [11_040, 5520, 5520, 5520];
    expect(pushOrder(depot([FULL, [0]]), [steps(drop), steps([0, 5520, 5520, 5520])], [1, 2])).toEqual({
      waves: [1, 2],
      ...never,
    });
    // The same where the other vehicle is new: it draws nothing before its first profile.
    expect(pushOrder(depot([FULL, undefined]), [steps(HALF), steps(HALF)], [1, 2])).toEqual({
      waves: [1, 2],
      ...never,
    });
  });

  it("knows the time from which what is installed is too much", () => {
    const grid = { maxPowerSeriesW: series(START_MS, 2 * QUARTER_MS, [11_040, 5520]) };
    const less = [11_040, 11_040, 5520, 5520];
    expect(pushOrder(depot([FULL], { grid }), [steps(less)], [1])).toEqual({
      waves: [1],
      wave1: slot(2),
      wave2: undefined,
    });
  });

  it("takes what is not sent as planned", () => {
    const order = pushOrder(depot([FULL, HALF]), [steps(HALF), steps(HALF)], [undefined, undefined]);
    expect(order).toEqual({ waves: [undefined, undefined], ...never });
  });

  it("sends an increase that later lowers in the first wave where another waits for that", () => {
    // In one wave with the second, the first could still draw 11.04 kW when that takes 6.9.
    const problem = depot([
      [4140, 11_040, 0, 0],
      [5520, 0, 0, 0],
    ]);
    const emitted = [steps([5520, 4140, 0, 0]), steps([5520, 6900, 0, 0])];
    expect(pushOrder(problem, emitted, [2, 2])).toEqual({ waves: [1, 2], ...never });
  });

  it("sends a reduction that later rises in the second wave where it takes another's room then", () => {
    const problem = depot([
      [5520, 4140, 0, 0],
      [5520, 6900, 0, 0],
    ]);
    const emitted = [steps([4140, 11_040, 0, 0]), steps([5520, 0, 0, 0])];
    expect(pushOrder(problem, emitted, [1, 1])).toEqual({ waves: [2, 1], ...never });
  });

  it("counts what is installed for the time after departure, but not its last value held", () => {
    const first = { departureMs: START_MS + 2 * QUARTER_MS };
    const less = [4140, 4140];
    expect(
      pushOrder(depot([FULL, HALF], { first }), [steps(less), steps([0, 0, 5520, 5520])], [1, undefined]),
    ).toEqual({ waves: [1, undefined], wave1: slot(2), wave2: undefined });
    expect(
      pushOrder(
        depot([FULL.slice(0, 2), HALF], { first }),
        [steps(less), steps([0, 0, 5520, 5520])],
        [1, undefined],
      ),
    ).toEqual({ waves: [1, undefined], ...never });
  });

  it("takes an installed plan that was rounded to the milliwatt for the whole steps that it stands for", () => {
    const rounded = [5520.0008, 5520.0008, 5520.0008, 5520.0008];
    const less = [4140, 4140, 4140, 4140];
    expect(pushOrder(depot([rounded, rounded]), [steps(less), steps(less)], [1, 1])).toEqual({
      waves: [1, 1],
      ...never,
    });
  });
});

describe("300 random sites with installed plans", () => {
  /** What a charger holds that was not told: power at each instant at which it can change. */
  function heldSteps({ installed, arrivalMs, departureMs }: Session, told: PowerStep[]): PowerStep[] {
    if (installed === undefined) return [];
    const { startMs, stepMs, values } = installed.powerW;
    const instants = [told[0].atMs, departureMs, startMs + values.length * stepMs];
    values.forEach((_, n) => {
      instants.push(startMs + n * stepMs);
    });
    return instants
      .filter((atMs) => atMs >= told[0].atMs)
      .sort((a, b) => a - b)
      .map((atMs) => {
        const n = Math.floor((atMs - startMs) / stepMs);
        const isStay = atMs >= arrivalMs && atMs < departureMs;
        const isGiven = n < values.length && startMs + n * stepMs >= departureMs;
        if (isStay || isGiven) return { atMs, powerW: values[Math.max(0, Math.min(n, values.length - 1))] };
        return { atMs, powerW: told[told.length - 1].powerW };
      });
  }
  const powerAt = (steps: PowerStep[], atMs: number) =>
    steps.findLast((step) => step.atMs <= atMs)?.powerW ?? 0;
  const excesses = (problem: Problem, held: PowerStep[][]) =>
    [...firstExcesses(compareAll(problem, held))].filter(([limit]) => limit.startsWith("circuit"));

  it("knows that the one period a vehicle takes outlasts its stay until another is accepted", () => {
    const last = [0, 0, 11_040, 11_040];
    const offer = { maxSchedules: 1, priceForm: undefined, isDynamic: false };
    const wave1ByMs = (maxScheduleTuples: number) => {
      const first = { departureMs: START_MS + 2 * QUARTER_MS, offer: { ...offer, maxScheduleTuples } };
      const one = depot([[5520, 5520], last], { first });
      return pushOrder(one, [steps([0]), steps(last)], [1, undefined]).wave1?.atMs;
    };
    expect(wave1ByMs(1)).toBe(START_MS + 2 * QUARTER_MS);
    expect(wave1ByMs(2)).toBeUndefined();
  });

  it("pass no limit before a wave's time whatever has arrived, and can from then on", {
    timeout: 120_000,
  }, () => {
    let deadlines = 0;
    for (let seed = 0; seed < 300; seed++) {
      const random = randomOf(seed);
      const one = hardProblem(seed, { vehicles: [2, 6], hours: 4, slotMs: QUARTER_MS });
      const { plan } = planSafely(one);
      const told = stepsOf(
        one,
        chargingOf(one),
        plan.sessionPlans.map(({ powerW }) => powerW),
      );
      const waves = plan.sessionPlans.map(({ command }) => command?.pushWave);
      for (const wave of [1, 2] as const) {
        const byMs = (wave === 1 ? plan.wave1ByMs : plan.wave2ByMs) ?? Number.POSITIVE_INFINITY;
        if (!waves.includes(wave)) continue;
        const state = (hasArrived: (i: number) => boolean) =>
          one.sessions.map((session, i) => {
            const sent = waves[i];
            const isTold = sent === undefined || sent < wave || (sent === wave && hasArrived(i));
            return isTold ? told[i] : heldSteps(session, told[i]);
          });
        for (let n = 0; n < 4; n++) {
          for (const [limit, atMs] of excesses(
            one,
            state(() => random.chance(0.5)),
          ))
            expect(atMs, `seed ${seed} wave ${wave} ${limit}`).toBeGreaterThanOrEqual(byMs);
        }
        if (byMs === Number.POSITIVE_INFINITY) continue;
        deadlines++;
        const worst = state(
          (i) => powerAt(told[i], byMs) >= powerAt(heldSteps(one.sessions[i], told[i]), byMs),
        );
        expect(Math.min(...excesses(one, worst).map(([, atMs]) => atMs)), `seed ${seed} wave ${wave}`).toBe(
          byMs,
        );
      }
    }
    expect(deadlines).toBeGreaterThan(30);
  });
});

import { beforeAll, describe, expect, it } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import type { PowerStep } from "../../src/domain/plan.ts";
import type { Evse, Problem } from "../../src/domain/problem.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { OptimizeResponse } from "../../src/gen/wattslot/v1/optimizer.ts";
import { toProblem } from "../../src/grpc/convert.ts";
import { toResponse } from "../../src/grpc/response.ts";
import { validatorFor } from "../ocpp/schema.ts";
import { compareAll, firstExcesses, lowestPowerW } from "../support/brute.ts";
import { randomRequest, spoil } from "../support/requests.ts";
import { testSolvers } from "../support/solvers.ts";

const REQUESTS = 2400;
const TIME_MS = 250;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

/** The voltage of a charger's outlet, as its electrician measures it: to neutral, or between its two lines. */
function voltageOf({ site }: Problem, evse: Evse): number {
  const isAbove = site.circuits.some(({ parent, transformer }) => {
    if (transformer === undefined) return false;
    const above = [parent];
    const isPart = (c: number) => site.circuits[c].transformer !== undefined;
    // Up and down the lines that no transformer parts.
    for (let n = 0; n < above.length; n++) {
      const up = isPart(above[n]) ? -1 : site.circuits[above[n]].parent;
      const down = site.circuits.flatMap((one, c) => (one.parent === above[n] && !isPart(c) ? [c] : []));
      for (const c of [up, ...down]) if (c >= 0 && !above.includes(c)) above.push(c);
    }
    return above.includes(evse.circuit);
  });
  // All transformers of the random requests have one primary voltage.
  const primaryV = site.circuits.find(({ transformer }) => transformer !== undefined)?.transformer
    ?.primaryVoltageV;
  const voltageV = isAbove ? (primaryV ?? 0) : site.nominalVoltageV;
  return evse.supply === "AC_LINE_TO_LINE" ? voltageV * Math.sqrt(3) : voltageV;
}

/** What a charger reads in a payload, the schedule that its vehicle chose: written for this test, from the standard, with none of the project's code. */
function readByCharger(
  problem: Problem,
  session: Problem["sessions"][number],
  payload: string,
  choice: number,
): PowerStep[] {
  const evse = problem.site.evses[session.evse];
  const message = JSON.parse(payload);
  const is16 = evse.ocpp.version === "1.6";
  const profile = is16 ? message.csChargingProfiles : message.chargingProfile;
  const schedules = [profile.chargingSchedule].flat();
  const schedule = schedules[choice % schedules.length];
  expect(is16 ? message.connectorId : message.evseId).toBe(evse.evseId);
  const isRelative = profile.chargingProfileKind === "Relative";
  expect(isRelative).toBe(evse.ocpp.wantsRelativeProfile);
  expect("startSchedule" in schedule).toBe(!isRelative);
  const firstMs = Math.max(session.arrivalMs, problem.slotStartsMs[0]);
  const startMs = isRelative
    ? (session.transactionStartMs ?? Number.NaN)
    : Date.parse(schedule.startSchedule);
  // By the clock of a charger that is behind it must be in force, too.
  if (!isRelative) expect(startMs).toBeLessThanOrEqual(firstMs - evse.ocpp.clockLagMs);
  const voltageV = voltageOf(problem, evse);
  interface Period {
    startPeriod: number;
    limit?: number;
    setpoint?: number;
    numberPhases?: number;
  }
  const steps: PowerStep[] = schedule.chargingSchedulePeriod.map(
    ({ startPeriod, limit, setpoint, numberPhases }: Period) => {
      const rate = limit ?? setpoint ?? 0;
      const powerW = schedule.chargingRateUnit === "W" ? rate : rate * voltageV * (numberPhases ?? 3);
      return { atMs: startMs + 1000 * startPeriod, powerW, numberPhases };
    },
  );
  // What it says of the time before the vehicle's part of the plan is over.
  const now = steps.findLastIndex(({ atMs }) => atMs <= firstMs);
  return steps.slice(now).map((step, n) => (n === 0 ? { ...step, atMs: firstMs } : step));
}

/** The same with each session cut where its profile changes the number of phases, as if another vehicle came then. */
function cutAtPhases(problem: Problem, emitted: PowerStep[][]): { problem: Problem; emitted: PowerStep[][] } {
  const cut: { session: Problem["sessions"][number]; steps: PowerStep[] }[] = [];
  problem.sessions.forEach((session, i) => {
    const canChange = problem.site.evses[session.evse].maxPhaseSwitches > 0;
    const starts = emitted[i].filter(
      ({ numberPhases, atMs }, n) =>
        n === 0 || (numberPhases !== emitted[i][n - 1].numberPhases && atMs < session.departureMs),
    );
    if (!canChange || starts.length === 0) {
      cut.push({ session, steps: emitted[i] });
      return;
    }
    starts.forEach(({ atMs, numberPhases = 3 }, n) => {
      const nextMs = starts[n + 1]?.atMs ?? Number.POSITIVE_INFINITY;
      const steps = emitted[i].filter((step) => step.atMs >= atMs && step.atMs < nextMs);
      const departureMs = Math.min(session.departureMs, nextMs);
      if (departureMs < session.departureMs) steps.push({ atMs: departureMs, powerW: 0 });
      const arrivalMs = n === 0 ? session.arrivalMs : atMs;
      const phaseCount = Math.min(session.phaseCount, numberPhases);
      cut.push({ session: { ...session, arrivalMs, departureMs, phaseCount }, steps });
    });
  });
  return {
    problem: { ...problem, sessions: cut.map(({ session }) => session) },
    emitted: cut.map(({ steps }) => steps),
  };
}

describe(`${REQUESTS} random requests, a third of them hostile`, () => {
  it("are refused by field, or answered without passing any limit", { timeout: 900_000 }, () => {
    let refused = 0;
    let answered = 0;
    let profiles = 0;
    let givenWh = 0;
    let onFewerPhases = 0;
    let relative = 0;
    let offered = 0;
    let offline = 0;
    let fallbacks = 0;
    for (let seed = 0; seed < REQUESTS; seed++) {
      const valid = randomRequest(seed);
      const request = seed % 3 === 0 ? spoil(valid, seed) : valid;
      const nowMs = (valid.startTime ?? new Date(0)).getTime();
      let problem: Problem;
      try {
        problem = toProblem(request, nowMs);
      } catch (error) {
        expect(error, `seed ${seed}`).toBeInstanceOf(WattslotError);
        expect((error as WattslotError).violations.length, `seed ${seed}`).toBeGreaterThan(0);
        refused++;
        continue;
      }
      const endMs = performance.now() + TIME_MS;
      const { plan, excesses } = planSite(problem, solvers, () => endMs - performance.now());
      expect(excesses, `seed ${seed}: a plan had to be replaced`).toEqual([]);
      answered++;
      givenWh += plan.summary.dischargedEnergyWh;

      const emitted = plan.sessionPlans.map(({ command }, i): PowerStep[] => {
        if (command === undefined) return [];
        profiles++;
        const { version, maxPeriods } = problem.site.evses[problem.sessions[i].evse].ocpp;
        expect(validatorFor(version)(JSON.parse(command.payloadJson)), `seed ${seed} session ${i}`).toEqual(
          [],
        );
        if (command.chargingProfile.schedules.length > 1) offered++;
        if (problem.site.evses[problem.sessions[i].evse].ocpp.wantsRelativeProfile) relative++;
        const steps = readByCharger(problem, problem.sessions[i], command.payloadJson, seed + i);
        expect(steps.length, `seed ${seed} session ${i}`).toBeLessThanOrEqual(maxPeriods);
        const { evse, phaseCount } = problem.sessions[i];
        const isAlternating = problem.site.evses[evse].supply === "AC";
        for (const { powerW, numberPhases } of steps) {
          const used = isAlternating ? Math.min(phaseCount, numberPhases ?? 3) : phaseCount;
          const lowestW = lowestPowerW(problem, { ...problem.sessions[i], phaseCount: used });
          if (powerW !== 0) expect(Math.abs(powerW)).toBeGreaterThanOrEqual(lowestW - 1e-6);
          if (used < phaseCount && powerW !== 0) onFewerPhases++;
        }
        return steps;
      });
      plan.sessionPlans.forEach(({ command }, i) => {
        if (!problem.site.evses[problem.sessions[i].evse].isOffline) return;
        expect(command, `seed ${seed} session ${i}: it is offline`).toBeUndefined();
        offline++;
      });
      for (const { stationId, evseId, command } of plan.fallbackProfiles) {
        const told = problem.site.evses.filter((one) => one.stationId === stationId);
        expect(told.every(({ isOffline }) => !isOffline || evseId !== 0)).toBe(true);
        expect(told.some((one) => one.isOffline && one.evseId === evseId)).toBe(false);
        expect(validatorFor(command.ocppVersion)(JSON.parse(command.payloadJson)), `seed ${seed}`).toEqual(
          [],
        );
        fallbacks++;
      }
      const asSent = cutAtPhases(problem, emitted);
      const excessesSent = [...firstExcesses(compareAll(asSent.problem, asSent.emitted)).keys()];
      // What is not sent, because nothing changed or the vehicle is not there yet, leaves no profile behind.
      const unsent = plan.sessionPlans.filter(({ command }) => command === undefined);
      const expected = new Set(unsent.map(({ sessionId }) => `session ${sessionId}: without a profile`));
      // A single period ends with the transaction, which may outlast the stay.
      for (const { sessionId, offer } of problem.sessions)
        if (offer?.maxScheduleTuples === 1) expected.add(`session ${sessionId}: after departure`);
      expect(
        excessesSent.filter((limit) => !expected.has(limit)),
        `seed ${seed}`,
      ).toEqual([]);

      for (const { plannedEnergyWh, shortfallWh, shortfallCauses, sessionId } of plan.sessionPlans) {
        const label = `seed ${seed} ${sessionId}`;
        expect(shortfallCauses.length > 0, label).toBe(shortfallWh > 0);
        expect(plannedEnergyWh, label).toBeGreaterThanOrEqual(0);
      }
      expect(plan.summary.plannedEnergyWh + plan.summary.shortfallWh, `seed ${seed}`).toBeCloseTo(
        plan.summary.requestedEnergyWh,
        3,
      );
      const response = toResponse(plan, 1);
      expect(OptimizeResponse.decode(OptimizeResponse.encode(response).finish()), `seed ${seed}`).toEqual(
        response,
      );
    }
    // The generator must reach both ends, and what is sent must be tested often.
    expect(refused).toBeGreaterThan(REQUESTS / 10);
    expect(answered).toBeGreaterThan(REQUESTS / 2);
    expect(profiles).toBeGreaterThan(REQUESTS);
    expect(givenWh).toBeGreaterThan(0);
    expect(onFewerPhases).toBeGreaterThan(0);
    expect(relative).toBeGreaterThan(REQUESTS / 100);
    expect(offered).toBeGreaterThan(REQUESTS / 100);
    expect(offline).toBeGreaterThan(REQUESTS / 50);
    expect(fallbacks).toBeGreaterThan(REQUESTS / 10);
  });
});

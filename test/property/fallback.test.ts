import { beforeAll, describe, expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import { fallbackLevels } from "../../src/domain/fallback.ts";
import type { PowerStep } from "../../src/domain/plan.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { fallbackProfiles } from "../../src/fallback.ts";
import { compareAll, firstExcesses, stepsOf } from "../support/brute.ts";
import { allAt, type Turnout, withoutConnection } from "../support/newcomers.ts";
import { hardProblem, series, withWiring } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const LONG = { timeout: 300_000 };
const HOUR_MS = 3_600_000;

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

/** A random site, every second one on any wiring. */
function siteOf(seed: number): Problem {
  const plain = hardProblem(seed, { vehicles: [1, 8], hours: 6 });
  return seed % 2 === 0 ? plain : withWiring(plain, seed);
}

/** Limits of circuits that are passed, by the slow checker. */
function passed({ problem, drawn }: Turnout): string[] {
  const all = [...firstExcesses(compareAll(problem, drawn))];
  return all.filter(([limit]) => limit.startsWith("circuit ")).map(([limit, atMs]) => `${limit} at ${atMs}`);
}

/** Chargers that reject 0 can be over any limit: then nothing can be promised. */
function takesZero(p: Problem): Problem {
  const evses = p.site.evses.map((one) => ({ ...one, ocpp: { ...one.ocpp, rejectsZeroLimit: false } }));
  return { ...p, site: { ...p.site, evses } };
}

describe("random sites without a connection", () => {
  test("all EVSEs at their fallback pass no limit at any time, on whichever of their phases", LONG, () => {
    let shared = 0;
    for (let seed = 0; seed < 400; seed++) {
      const p = takesZero(siteOf(seed));
      const { levelsW } = fallbackLevels(p);
      const told = levelsW.map((w) => w ?? 0);
      expect(passed(allAt(p, told)), `seed ${seed}`).toEqual([]);
      for (const [e, levelW] of told.entries()) {
        const { minCurrentA, minPowerW, maxPowerW, supply } = p.site.evses[e];
        expect(levelW, `seed ${seed}`).toBeLessThanOrEqual(maxPowerW + 1e-6);
        if (levelW === 0) continue;
        expect(levelW, `seed ${seed}`).toBeGreaterThanOrEqual(minPowerW - 1e-6);
        if (supply === "AC") expect(levelW).toBeGreaterThanOrEqual(minCurrentA * 100);
        shared++;
      }
    }
    expect(shared).toBeGreaterThan(500);
  });

  test("no EVSE could have a step more, where limits and loads do not change", LONG, () => {
    let full = 0;
    for (let seed = 0; seed < 200; seed++) {
      const p = takesZero(siteOf(seed));
      for (const one of p.site.circuits)
        Object.assign(one, { maxPowerSeriesW: undefined, baseLoadW: undefined, baseLoadA: [] });
      for (const one of p.site.circuits) one.baseLoadA = [undefined, undefined, undefined];
      const { levelsW } = fallbackLevels(p);
      const told = levelsW.map((w) => w ?? 0);
      for (const [e, levelW] of told.entries()) {
        const { supply, phases, maxPowerW, ocpp, maxCurrentA } = p.site.evses[e];
        if (levelsW[e] === undefined || levelW === 0 || supply !== "AC") continue;
        const voltageV = levelW / (Math.round((levelW / phases.length / 230) * 10) / 10) / phases.length;
        const isPlain = p.site.circuits.every(({ transformer }) => transformer === undefined);
        if (!isPlain || Math.abs(voltageV - 230) > 1e-6) continue;
        const stepW = ocpp.limitStep * (ocpp.rateUnit === "A" ? 230 * phases.length : 1);
        if (levelW + stepW > Math.min(maxPowerW, maxCurrentA * 230 * phases.length)) continue;
        const raised = told.map((w, n) => (n === e ? w + stepW : w));
        expect(passed(allAt(p, raised)), `seed ${seed} EVSE ${e}`).not.toEqual([]);
        full++;
      }
    }
    expect(full).toBeGreaterThan(50);
  });

  test("what is emitted passes the check, and is the same each time", LONG, () => {
    let count = 0;
    for (let seed = 0; seed < 300; seed++) {
      const p = siteOf(seed);
      const first = fallbackProfiles(p);
      expect(first.excesses, `seed ${seed}`).toEqual([]);
      expect(fallbackProfiles(p), `seed ${seed}`).toEqual(first);
      count += first.profiles.length;
    }
    expect(count).toBeGreaterThan(1000);
  });

  test(
    "with fallbacks given back, plans leave room for whoever comes, and for chargers that are offline",
    LONG,
    () => {
      let newcomers = 0;
      let offline = 0;
      let plannedWh = 0;
      for (let seed = 0; seed < 250; seed++) {
        const random = randomOf(seed ^ 0x51ed270b);
        const whole = takesZero(siteOf(seed));
        const { levelsW } = fallbackLevels(whole);
        const evses = whole.site.evses.map((evse, e) => ({
          ...evse,
          fallbackPowerW: levelsW[e] ?? 0,
          isOffline: evse.uncontrolledPowerW === undefined && random.chance(0.15),
        }));
        // Some stay away, some come later and are not known, one may leave in the middle of a slot.
        const sessions = whole.sessions
          .filter(() => random.chance(0.8))
          .map((one) => {
            const { fallbackPowerW, isOffline, supply, phases } = evses[one.evse];
            // More than its share of current is too much whatever the others do.
            const mostW =
              (fallbackPowerW * (supply === "AC" ? one.phaseCount : 3)) /
              (supply === "AC" ? phases.length : 3);
            const values = Array.from({ length: 5 }, () => random.real(0, mostW));
            const installed = isOffline
              ? { powerW: series(whole.slotStartsMs[0], HOUR_MS, values), chargingProfileId: 0 }
              : one.installed;
            return { ...one, transactionId: random.chance(0.5) ? "" : one.transactionId, installed };
          });
        const p = { ...whole, site: { ...whole.site, evses }, sessions };
        const { plan, excesses } = planSite(p, solvers, () => 500);
        expect(excesses, `seed ${seed}: a plan had to be replaced`).toEqual([]);
        const charging = chargingOf(p);
        const sent = stepsOf(
          p,
          charging,
          plan.sessionPlans.map(({ powerW }) => powerW),
        );
        plan.sessionPlans.forEach(({ command, change, powerW }, i) => {
          if (!evses[sessions[i].evse].isOffline) return;
          offline++;
          expect(command, `seed ${seed}`).toBeUndefined();
          expect(change, `seed ${seed}`).toBe("UNCHANGED");
          sent[i] = installedSteps(p, i);
          for (const w of powerW) expect(w).toBeLessThanOrEqual(evses[sessions[i].evse].fallbackPowerW);
        });
        plannedWh += plan.summary.plannedEnergyWh;
        for (let turn = 0; turn < 4; turn++) {
          const turnout = withoutConnection(p, sent, random);
          newcomers += turnout.drawn.length - sent.length;
          expect(passed(turnout), `seed ${seed} turn ${turn}`).toEqual([]);
        }
      }
      expect(newcomers).toBeGreaterThan(1000);
      expect(offline).toBeGreaterThan(50);
      expect(plannedWh).toBeGreaterThan(1_000_000);
    },
  );
});

/** What the charger holds, value by value, until the vehicle leaves. */
function installedSteps({ sessions }: Problem, i: number): PowerStep[] {
  const { installed, arrivalMs, departureMs } = sessions[i];
  if (installed === undefined) return [];
  const { startMs, stepMs, values } = installed.powerW;
  const steps = Array.from(values, (powerW, n) => ({ atMs: startMs + n * stepMs, powerW }));
  const before = steps.findLast(({ atMs }) => atMs <= arrivalMs) ?? steps[0];
  return [
    { ...before, atMs: arrivalMs },
    ...steps.filter(({ atMs }) => atMs > arrivalMs && atMs < departureMs),
    { atMs: departureMs, powerW: 0 },
  ];
}

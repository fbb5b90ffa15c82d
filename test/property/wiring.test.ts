import { beforeAll, describe, expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import { check } from "../../src/domain/check.ts";
import { greedy } from "../../src/domain/greedy.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { Room } from "../../src/domain/room.ts";
import { planSite, type Solvers } from "../../src/engine.ts";
import { evaluate } from "../../src/model/evaluate.ts";
import { formulate } from "../../src/model/formulate.ts";
import { powerKw } from "../../src/model/program.ts";
import { compareAll, firstExcesses, stepsOf } from "../support/brute.ts";
import { relaxedOptimum } from "../support/oracle.ts";
import { hardProblem, randomProblem, withWiring } from "../support/problems.ts";
import { testSolvers } from "../support/solvers.ts";

const LONG = { timeout: 120_000 };

let solvers: Solvers;
beforeAll(async () => {
  solvers = await testSolvers();
});

function wired(seed: number): Problem {
  return withWiring(hardProblem(seed, { vehicles: [1, 10], hours: 6 }), seed);
}

/** The limits that circuits pass, and when first, as the fast checker and the slow one see it. */
function bothExcesses(p: Problem, emitted: ReturnType<typeof stepsOf>): [string, number][][] {
  const ofCircuits = (limit: string) => limit.startsWith("circuit ");
  const fast = new Map<string, number>();
  for (const { limit, atMs } of check(p, emitted).excesses) {
    if (ofCircuits(limit)) fast.set(limit, Math.min(atMs, fast.get(limit) ?? Number.POSITIVE_INFINITY));
  }
  const slow = [...firstExcesses(compareAll(p, emitted))].filter(([limit]) => ofCircuits(limit));
  return [[...fast].sort(), slow.sort()];
}

describe("random sites on any wiring", () => {
  test("greedy plans pass no limit, as the fast checker and the slow one see it", LONG, () => {
    for (let seed = 0; seed < 300; seed++) {
      const p = wired(seed);
      const charging = chargingOf(p);
      const [fast, slow] = bothExcesses(p, stepsOf(p, charging, greedy(p, charging, "LEAST_SLACK")));
      expect(fast, `seed ${seed}`).toEqual([]);
      expect(slow, `seed ${seed}`).toEqual([]);
    }
  });

  test("on random plans both see the same limits passed from the same instants on", LONG, () => {
    let passed = 0;
    for (let seed = 0; seed < 300; seed++) {
      const p = wired(seed);
      const charging = chargingOf(p);
      const random = randomOf(seed);
      const plan = greedy(p, charging, "LEAST_SLACK");
      // One slot raised, so that the list of excesses is not cut.
      const i = random.int(0, plan.length - 1);
      const { first, end } = charging.stays[i];
      if (end === first) continue;
      plan[i][random.int(first, end - 1)] += random.real(0, 4000);
      const [fast, slow] = bothExcesses(p, stepsOf(p, charging, plan));
      if (new Set(slow.map(([limit]) => limit)).size !== slow.length) continue;
      expect(fast, `seed ${seed}`).toEqual(slow);
      passed += slow.length;
    }
    expect(passed).toBeGreaterThan(100);
  });

  test("what fits is all that fits, and less of any vehicle never passes a limit", LONG, () => {
    let tight = 0;
    for (let seed = 0; seed < 450; seed++) {
      const p = wired(seed);
      // Within a slot limits and base loads may change, and the room is that of its worst instant.
      for (const one of p.site.circuits) {
        Object.assign(one, { maxPowerSeriesW: undefined, baseLoadW: undefined });
        one.baseLoadA = [undefined, undefined, undefined];
      }
      if (p.site.evses.some(({ ocpp }) => ocpp.rejectsZeroLimit)) continue;
      const charging = chargingOf(p);
      const random = randomOf(seed);
      const room = new Room(p, charging);
      const k = random.int(0, charging.present.length - 1);
      const { slotStartsMs } = p;
      const hours = (slotStartsMs[k + 1] - slotStartsMs[k]) / 3_600_000;
      // Nor do vehicles that are there in turn add up.
      if (charging.stays.some((stay) => (stay.hours[k - stay.first] ?? hours) < hours - 1e-9)) continue;
      const plan = charging.stays.map(() => new Float64Array(charging.present.length));
      const passes = () => bothExcesses(p, stepsOf(p, charging, plan)).map((excesses) => excesses.length > 0);
      for (const i of charging.present[k]) {
        const fitsW = room.fits(i, k);
        if (fitsW > 1e7) continue;
        plan[i][k] = fitsW;
        expect(passes(), `seed ${seed}: fits`).toEqual([false, false]);
        plan[i][k] = fitsW + 1;
        expect(passes(), `seed ${seed}: no more`).toEqual([true, true]);
        plan[i][k] = fitsW * random.pick([1, 1, 0.5, random.real(0, 1)]);
        room.take(i, k, plan[i][k]);
        tight++;
      }
      for (const i of charging.present[k]) plan[i][k] *= random.pick([0, 0, 1, random.real(0, 1)]);
      expect(passes(), `seed ${seed}: less`).toEqual([false, false]);
    }
    expect(tight).toBeGreaterThan(200);
  });

  test(
    "the program has the same optimum with HiGHS on its own, keeps every limit, and is worth what it says",
    LONG,
    async () => {
      for (let seed = 0; seed < 80; seed++) {
        const p = withWiring(randomProblem(seed, { vehicles: [1, 12], hours: 8 }), seed);
        const charging = chargingOf(p);
        const program = formulate(p, charging, true);
        const reference = await relaxedOptimum(program.lp);
        for (const solver of [solvers.glpk, solvers.highs]) {
          const loaded = solver.load(program.lp);
          const { objective, primal } = loaded.solve({ timeLimitMs: 60_000 });
          loaded.dispose();
          const size = Math.max(1, Math.abs(reference));
          expect(Math.abs(objective - reference) / size, `seed ${seed}`).toBeLessThan(1e-6);
          const plan = charging.stays.map(({ first, end }, i) => {
            const powerW = new Float64Array(charging.present.length);
            for (let k = first; k < end; k++) {
              powerW[k] = 1000 * powerKw(program, primal, program.offsets[i] + k - first);
            }
            return powerW;
          });
          expect(Math.abs(evaluate(program, plan) - objective) / size, `seed ${seed}`).toBeLessThan(1e-6);
          // Solvers keep rows to 1e-7 kW.
          const within = plan.map((powerW) => powerW.map((w) => Math.max(0, w - 1e-3)));
          expect(bothExcesses(p, stepsOf(p, charging, within)), `seed ${seed}`).toEqual([[], []]);
        }
      }
    },
  );

  test("whole plans are never replaced, whatever the wiring", LONG, () => {
    for (let seed = 0; seed < 150; seed++) {
      const p = wired(seed);
      const endMs = performance.now() + 1000;
      const { excesses } = planSite(p, solvers, () => endMs - performance.now());
      expect(excesses, `seed ${seed}`).toEqual([]);
    }
  });
});

import { describe, expect, test } from "vitest";
import { chargingOf } from "../../src/domain/charging.ts";
import { check } from "../../src/domain/check.ts";
import { type GreedyOrder, greedy, isCharging } from "../../src/domain/greedy.ts";
import type { PowerPlan } from "../../src/domain/plan.ts";
import type { Circuit, Evse, Problem, Session } from "../../src/domain/problem.ts";
import { Room } from "../../src/domain/room.ts";
import { compareAll, firstExcesses, stepsOf } from "../support/brute.ts";
import { circuit, evse, hardProblem, problem, START_MS, series, session } from "../support/problems.ts";

// Hundreds of sites: room for a machine under load.
const LONG = { timeout: 60_000 };

const HOUR_MS = 3_600_000;
const ORDERS: GreedyOrder[] = ["LEAST_SLACK", "ARRIVAL"];

/** A grid connection over EVSEs of 16 A (4140 W to 11040 W), one for each session. */
function siteOf(
  grid: Partial<Circuit>,
  sessions: Partial<Session>[],
  over: { slotMs?: number; evses?: Evse[]; nominalVoltageV?: number } = {},
): Problem {
  const { slotMs = HOUR_MS / 2, nominalVoltageV = 230 } = over;
  const evses = over.evses ?? sessions.map((_, n) => evse({ stationId: `CS${n}`, maxCurrentA: 16 }));
  return problem({
    site: {
      siteId: "s",
      timeZone: "UTC",
      nominalVoltageV,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit(grid)],
      evses,
      tariff: undefined,
    },
    sessions: sessions.map((one, n) => session({ sessionId: "abcdefgh"[n], evse: n, ...one })),
    slotMs,
  });
}

function planOf(p: Problem, order: GreedyOrder = "LEAST_SLACK"): number[][] {
  return greedy(p, chargingOf(p), order).map((powerW) =>
    Array.from(powerW, (w) => Math.round(w * 1e6) / 1e6),
  );
}

describe("one vehicle", () => {
  test("full power until the need is met, the last slot at no more than it takes", () => {
    // 11040 W for half an hour are 5520 Wh; of 16 kWh 4960 Wh are left, 9920 W or 143.8 steps of 69 W.
    const [plan] = planOf(siteOf({}, [{ energyWh: 16_000 }]));
    expect(plan).toEqual([11_040, 11_040, 144 * 69, 0, 0, 0, 0, 0]);
  });

  test("a rest below the minimum takes the minimum", () => {
    const [plan] = planOf(siteOf({}, [{ energyWh: 6000 }]));
    expect(plan).toEqual([11_040, 4140, 0, 0, 0, 0, 0, 0]);
  });

  test("without a minimum the rest is rounded up to a step only", () => {
    const dc = evse({ supply: "DC", maxPowerW: 20_000 }, { limitStep: 1 });
    const [plan] = planOf(siteOf({}, [{ energyWh: 10_400.3 }], { evses: [dc] }));
    expect(plan.slice(0, 3)).toEqual([20_000, 801, 0]);
  });

  test("slots in part at both ends", () => {
    // 20 minutes, half an hour, 5 minutes: 3680 + 5520 + 920 Wh.
    const stay = { arrivalMs: START_MS + HOUR_MS / 6, departureMs: START_MS + (HOUR_MS * 13) / 12 };
    const [plan] = planOf(siteOf({}, [{ ...stay, energyWh: 99_000 }]));
    expect(plan).toEqual([11_040, 11_040, 11_040]);
    const [short] = planOf(siteOf({}, [{ ...stay, energyWh: 4000 }]));
    expect(short).toEqual([11_040, 4140, 0]);
  });

  test("follows the room, in whole steps and never below the minimum", () => {
    const maxPowerSeriesW = series(START_MS, HOUR_MS / 2, [8000, 4139, 4140, 5000, 12_000]);
    const [plan] = planOf(siteOf({ maxPowerSeriesW }, [{ energyWh: 99_000 }]));
    expect(plan).toEqual([7935, 0, 4140, 4968, 11_040, 11_040, 11_040, 11_040]);
  });

  test("nothing for a vehicle that needs nothing, can't charge or is gone", () => {
    const gone = { arrivalMs: START_MS - HOUR_MS, departureMs: START_MS };
    const plan = planOf(
      siteOf({}, [{ energyWh: 0 }, { maxCurrentA: 5 }, gone, { maxCurrentA: 5, uninterruptible: true }]),
    );
    expect(plan.flat().every((powerW) => powerW === 0)).toBe(true);
  });

  test("a charger that rejects 0 gets its minimum to the end", () => {
    const evses = [evse({ maxCurrentA: 16 }, { rejectsZeroLimit: true })];
    const [plan] = planOf(siteOf({}, [{ energyWh: 6000, departureMs: START_MS + 2 * HOUR_MS }], { evses }));
    // 4140 W for two hours are 8280 Wh, more than the need already.
    expect(plan).toEqual([4140, 4140, 4140, 4140]);
    const [more] = planOf(siteOf({}, [{ energyWh: 9660, departureMs: START_MS + 2 * HOUR_MS }], { evses }));
    // 1380 Wh more: 2760 W for half an hour.
    expect(more).toEqual([6900, 4140, 4140, 4140]);
  });
});

describe("least slack first", () => {
  test("the minimum for all, then the room to whom waits least", () => {
    // b needs an hour of its hour and a half, a one of its four.
    const p = siteOf({ maxPowerW: 11_040 }, [
      { energyWh: 11_040 },
      { energyWh: 11_040, departureMs: START_MS + 1.5 * HOUR_MS },
    ]);
    const [a, b] = planOf(p);
    expect(b).toEqual([6900, 6900, 6900, 0, 0, 0, 0, 0]);
    // a's 3 x 2070 Wh leave 4830 Wh.
    expect(a).toEqual([4140, 4140, 4140, 9660, 0, 0, 0, 0]);
  });

  test("takes turns when one minimum fits", () => {
    const p = siteOf({ maxPowerW: 7000 }, [{ energyWh: 30_000 }, { energyWh: 30_000 }, { energyWh: 30_000 }]);
    // Charging loses less slack than waiting, so the others come first the next time.
    expect(planOf(p)).toEqual([
      [6969, 0, 0, 6969, 0, 0, 6969, 0],
      [0, 6969, 0, 0, 6969, 0, 0, 6969],
      [0, 0, 6969, 0, 0, 6969, 0, 0],
    ]);
  });

  test("everyone gets energy over a long stay, however many there are for one place", () => {
    for (const [count, limitW] of [
      [5, 4140],
      [8, 5000],
      [8, 9000],
    ]) {
      const sessions = Array.from({ length: count }, (_, n) => ({
        energyWh: 8000 + 3000 * n,
        departureMs: START_MS + 24 * HOUR_MS,
      }));
      for (const powerW of planOf(siteOf({ maxPowerW: limitW }, sessions)))
        expect(powerW.filter((w) => w > 0).length).toBeGreaterThan(0);
    }
  });

  test("of equal slack the higher priority first", () => {
    const sessions = [{ energyWh: 30_000 }, { energyWh: 30_000, priority: 2 }, { energyWh: 30_000 }];
    const plan = planOf(siteOf({ maxPowerW: 7000 }, sessions));
    expect(plan.map((powerW) => powerW.slice(0, 3))).toEqual([
      [0, 6969, 0],
      [6969, 0, 0],
      [0, 0, 6969],
    ]);
  });

  test("slack is what is left of the stay after charging at full power", () => {
    // a waits 3 hours at most, b, which takes 8 A only, 2.5.
    const slow = siteOf({ maxPowerW: 5000 }, [{ energyWh: 11_040 }, { energyWh: 8280, maxCurrentA: 8 }]);
    expect(planOf(slow).map((powerW) => powerW[0])).toEqual([0, 4968]);
    // b leaves later, but comes later still: 1 h 45 min beside 2 h.
    const late = siteOf({ maxPowerW: 5000 }, [
      { energyWh: 8000, departureMs: START_MS + 2 * HOUR_MS },
      { energyWh: 8000, arrivalMs: START_MS + HOUR_MS / 3, departureMs: START_MS + (25 / 12) * HOUR_MS },
    ]);
    expect(planOf(late).map((powerW) => powerW[0])).toEqual([0, 4968]);
  });

  test("as many minimums as fit exactly, at any voltage", () => {
    for (const nominalVoltageV of [110, 120, 127, 208, 220, 230, 240, 277]) {
      for (let count = 1; count <= 8; count++) {
        const sessions = Array.from({ length: count }, () => ({ energyWh: 50_000 }));
        for (const grid of [{ maxCurrentA: 6 * count }, { maxPowerW: 6 * count * 3 * nominalVoltageV }]) {
          const plan = planOf(siteOf(grid, sessions, { nominalVoltageV }));
          const first = plan.map((powerW) => Math.round((powerW[0] / nominalVoltageV / 3) * 1e6) / 1e6);
          expect(first, `${count} at ${nominalVoltageV} V`).toEqual(sessions.map(() => 6));
        }
      }
    }
  });
});

describe("first come, first served", () => {
  test("the first takes all it can use, the next what is left if that is enough", () => {
    const p = siteOf({ maxPowerW: 15_000 }, [
      { energyWh: 5520, arrivalMs: START_MS - HOUR_MS },
      { energyWh: 11_040, arrivalMs: START_MS - 2 * HOUR_MS },
      { energyWh: 5520, arrivalMs: START_MS + HOUR_MS },
    ]);
    // 3960 W are left beside b, less than a's minimum.
    expect(planOf(p, "ARRIVAL")).toEqual([
      [0, 0, 11_040, 0, 0, 0, 0, 0],
      [11_040, 11_040, 0, 0, 0, 0, 0, 0],
      [0, 0, 0, 11_040, 0, 0, 0, 0],
    ]);
  });

  test("is not moved by slack, by priority only among those who came together", () => {
    const p = siteOf({ maxPowerW: 11_040 }, [
      { energyWh: 20_000, departureMs: START_MS + 2 * HOUR_MS },
      { energyWh: 5520, priority: 3 },
      { energyWh: 5520, arrivalMs: START_MS - 1000 },
    ]);
    const order = planOf(p, "ARRIVAL").map((powerW) => powerW.findIndex((w) => w > 0));
    expect(order).toEqual([2, 1, 0]);
  });
});

describe("vehicles that can't be paused", () => {
  const onlyHalfHours = (...limitsW: number[]) => ({
    maxPowerSeriesW: series(START_MS, HOUR_MS / 2, limitsW),
  });

  test("the block that delivers most, not the first", () => {
    const grid = onlyHalfHours(11_040, 4000, 5520, 11_040, 4140, 0, 11_040, 11_040);
    const [plan] = planOf(siteOf(grid, [{ energyWh: 30_000, uninterruptible: true }]));
    // 5520, then 2760 + 5520 + 2070, then 11040 Wh.
    expect(plan).toEqual([0, 0, 0, 0, 0, 0, 11_040, 11_040]);
  });

  test("the earliest of equal ones, and no longer than the need", () => {
    const grid = onlyHalfHours(0, 11_040, 11_040, 11_040, 0, 11_040, 11_040, 11_040);
    const [plan] = planOf(siteOf(grid, [{ energyWh: 8000, uninterruptible: true }]));
    expect(plan).toEqual([0, 11_040, 4968, 0, 0, 0, 0, 0]);
  });

  test("the earliest of equal ones that all fall short", () => {
    const grid = onlyHalfHours(0, 11_040, 0, 11_040, 0);
    const [plan] = planOf(siteOf(grid, [{ energyWh: 8000, uninterruptible: true }]));
    expect(plan).toEqual([0, 11_040, 0, 0, 0, 0, 0, 0]);
  });

  test("of several the one with the least slack chooses first", () => {
    const sessions = [
      { energyWh: 9936, uninterruptible: true },
      { energyWh: 4968, uninterruptible: true, departureMs: START_MS + HOUR_MS },
    ];
    expect(planOf(siteOf({ maxPowerW: 5000 }, sessions))).toEqual([
      [0, 0, 4968, 4968, 4968, 4968, 0, 0],
      [4968, 4968, 0, 0, 0, 0, 0, 0],
    ]);
  });

  test("goes on where it is charging already, if the block that it is in is the worse one too", () => {
    const installed = { powerW: series(START_MS - HOUR_MS, HOUR_MS, [0, 7000]), chargingProfileId: 1 };
    const grid = onlyHalfHours(11_040, 0, 11_040, 11_040, 0);
    const [plan] = planOf(siteOf(grid, [{ energyWh: 30_000, uninterruptible: true, installed }]));
    expect(plan).toEqual([11_040, 0, 0, 0, 0, 0, 0, 0]);
  });

  test("is reserved before the others", () => {
    const sessions = [{ energyWh: 11_000 }, { energyWh: 9000, uninterruptible: true }];
    const plan = planOf(siteOf(onlyHalfHours(6000, 11_040, 11_040, 11_040), sessions));
    // 5934 W are 86 steps: b's 2967 + 5520 Wh leave 513 Wh, less than the minimum gives.
    expect(plan[1]).toEqual([5934, 11_040, 4140, 0, 0, 0, 0, 0]);
    expect(plan[0]).toEqual([0, 0, 6900, 11_040, 4140, 0, 0, 0]);
  });

  test("a slot with less room than a step ends a block, without a minimum too", () => {
    const dc = evse({ supply: "DC", maxPowerW: 20_000 }, { limitStep: 1 });
    const grid = onlyHalfHours(10_000, 0.9, 10_000, 10_000, 0);
    const p = siteOf(grid, [{ energyWh: 30_000, uninterruptible: true }], { evses: [dc] });
    expect(planOf(p)).toEqual([[0, 0, 10_000, 10_000, 0, 0, 0, 0]]);
  });

  test("at a charger that rejects 0 it is on all the time and shares the room", () => {
    const evses = [evse({ maxCurrentA: 16 }, { rejectsZeroLimit: true })];
    const sessions = [{ energyWh: 30_000, uninterruptible: true }];
    const [plan] = planOf(siteOf(onlyHalfHours(8000, 3000, 11_040, 5000), sessions, { evses }));
    expect(plan).toEqual([7935, 4140, 11_040, 4968, 4968, 4968, 4968, 4968]);
  });

  test("is charging when the installed plan says so for the start", () => {
    const p = siteOf({}, [{}]);
    const installed = (values: number[], arrivalMs = START_MS) => {
      p.sessions[0].arrivalMs = arrivalMs;
      p.sessions[0].installed = {
        powerW: series(START_MS - HOUR_MS, HOUR_MS / 2, values),
        chargingProfileId: 1,
      };
      return isCharging(p, 0);
    };
    expect(isCharging(p, 0)).toBe(false);
    expect(installed([0, 0, 1, 0])).toBe(true);
    expect(installed([1, 1, 0, 1])).toBe(false);
    // The last value holds on.
    expect(installed([1])).toBe(true);
    expect(installed([1], START_MS + 1000)).toBe(false);
  });
});

describe("random sites", () => {
  test("no limit is passed, as the slow checker and the fast one see it", LONG, () => {
    forRandomPlans((p, plan) => {
      const emitted = stepsOf(p, chargingOf(p), plan);
      expect(firstExcesses(compareAll(p, emitted))).toEqual(new Map());
      expect(check(p, emitted).excesses).toEqual([]);
    });
  });

  test("0 or at least the minimum, in whole steps, while the vehicle is there", LONG, () => {
    forRandomPlans((p, plan) => {
      const { ranges, stays } = chargingOf(p);
      plan.forEach((powerW, i) => {
        const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = ranges[i];
        powerW.forEach((w, k) => {
          if (k < stays[i].first || k >= stays[i].end) {
            expect(w).toBe(0);
            return;
          }
          expect(w).toBeGreaterThanOrEqual(floorPowerW);
          expect(w).toBeLessThanOrEqual(maxPowerW + 1e-6);
          if (w === 0) return;
          expect(w).toBeGreaterThanOrEqual(minPowerW - 1e-6);
          expect(Math.abs(w / stepPowerW - Math.round(w / stepPowerW)) * stepPowerW).toBeLessThan(1e-6);
        });
      });
    });
  });

  test("one block where a vehicle can't be paused", LONG, () => {
    let blocks = 0;
    forRandomPlans((p, plan) => {
      p.sessions.forEach(({ uninterruptible }, i) => {
        if (!uninterruptible) return;
        const starts = Array.from(plan[i]).filter((w, k) => w > 0 && (k === 0 || plan[i][k - 1] === 0));
        expect(starts.length).toBeLessThanOrEqual(1);
        blocks += starts.length;
      });
    });
    expect(blocks).toBeGreaterThan(100);
  });

  test("no more than is needed but for a step or the minimum of the last slot", LONG, () => {
    forRandomPlans((p, plan) => {
      const { ranges, stays } = chargingOf(p);
      p.sessions.forEach(({ energyWh }, i) => {
        const { minPowerW, stepPowerW, floorPowerW } = ranges[i];
        const { first, hours } = stays[i];
        const floorWh = hours.reduce((wh, h) => wh + h * floorPowerW, 0);
        let missingWh = energyWh - floorWh;
        hours.forEach((h, n) => {
          const extraW = plan[i][first + n] - floorPowerW;
          if (extraW <= 0) return;
          expect(missingWh).toBeGreaterThan(0);
          const neededW = missingWh / h;
          expect(extraW).toBeLessThanOrEqual(Math.max(minPowerW - floorPowerW, neededW + stepPowerW) + 1e-6);
          missingWh -= extraW * h;
        });
      });
    });
  });

  test("nobody waits while there is room for a step more", LONG, () => {
    forRandomPlans((p, plan) => {
      const charging = chargingOf(p);
      const room = new Room(p, charging);
      plan.forEach((powerW, i) => {
        powerW.forEach((w, k) => {
          room.take(i, k, w);
        });
      });
      p.sessions.forEach(({ energyWh, uninterruptible }, i) => {
        const { minPowerW, maxPowerW, stepPowerW, floorPowerW } = charging.ranges[i];
        if (uninterruptible || maxPowerW === 0) return;
        const { first, hours } = charging.stays[i];
        let missingWh = energyWh - hours.reduce((wh, h) => wh + h * floorPowerW, 0);
        hours.forEach((h, n) => {
          const powerW = plan[i][first + n];
          missingWh -= (powerW - floorPowerW) * h;
          if (missingWh < 0.01 || powerW > maxPowerW - stepPowerW / 2) return;
          const nextW = powerW > 0 ? stepPowerW : Math.max(minPowerW, stepPowerW);
          expect(room.fits(i, first + n)).toBeLessThan(nextW);
        });
      });
    });
  });

  function forRandomPlans(visit: (p: Problem, plan: PowerPlan) => void): void {
    for (let seed = 1; seed <= 120; seed++) {
      const p = hardProblem(seed + 5000, { vehicles: [1, 10], hours: 6 });
      for (const order of ORDERS) {
        try {
          visit(p, greedy(p, chargingOf(p), order));
        } catch (error) {
          throw new Error(`seed ${seed}, ${order}`, { cause: error });
        }
      }
    }
  }
});

describe("rounding errors", () => {
  test("a need that full slots meet but for the last bit takes no further slot", () => {
    for (let second = 1; second < 900; second += 7) {
      const arrivalMs = START_MS + second * 1000;
      const p = siteOf({}, [{ arrivalMs, energyWh: 11_040 * ((900 - second) / 3600) }], { slotMs: 900_000 });
      expect(planOf(p)[0].filter((w) => w > 0)).toEqual([11_040]);
    }
  });
});

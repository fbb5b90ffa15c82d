import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomOf } from "../benchmarks/random.ts";
import { check } from "../src/domain/check.ts";
import type { PowerStep, SitePlan } from "../src/domain/plan.ts";
import type { Problem } from "../src/domain/problem.ts";
import { type Engine, planSafely, planSite, type Solvers } from "../src/engine.ts";
import { expand } from "../src/ocpp/expand.ts";
import type { Solver } from "../src/solve/solver.ts";
import { testEngine } from "./support/engine.ts";
import {
  circuit,
  evse,
  problem,
  randomProblem,
  START_MS,
  series,
  session,
  slotsOf,
  tariff,
} from "./support/problems.ts";
import { testSolvers } from "./support/solvers.ts";

const HOUR = 3_600_000;
const forever = () => 1e9;

let solvers: Solvers;
let engine: ReturnType<typeof testEngine>;
beforeAll(async () => {
  solvers = await testSolvers();
  engine = testEngine();
});
afterAll(() => engine.close());

/** Sessions at three-phase chargers of 32 A of their own, hourly slots. */
function depot(
  sessions: Parameters<typeof session>[0][],
  over: Partial<Problem["site"]> = {},
  hours = 4,
): Problem {
  return problem({
    site: {
      siteId: "depot",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit()],
      evses: sessions.map((_, n) => evse({ stationId: `CS${n}` })),
      tariff: undefined,
      ...over,
    },
    sessions: sessions.map((one, n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + hours * HOUR, ...one }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + hours * HOUR, HOUR),
  });
}

const plan = (one: Problem): SitePlan => {
  const { plan, excesses } = planSite(one, solvers, forever);
  expect(excesses).toEqual([]);
  return plan;
};

describe("a plan", () => {
  it("delivers the whole need in whole steps of the charger", () => {
    // 10 kWh in an hour-slot grid: 14.4 A x 690 W = 9.936 kWh would miss it, 14.5 A meets it.
    const { sessionPlans, summary, status } = plan(depot([{ energyWh: 10_000 }]));
    expect(status).toBe("OPTIMAL");
    expect(sessionPlans[0].shortfallWh).toBe(0);
    expect(sessionPlans[0].plannedEnergyWh).toBe(10_000);
    expect([...sessionPlans[0].powerW]).toEqual([10_005, 0, 0, 0].map((w) => expect.closeTo(w, 6)));
    expect(summary.plannedEnergyWh).toBe(10_000);
    // 10 of 10.005 kWh into the hour.
    expect(sessionPlans[0].completeMs).toBe(START_MS + Math.ceil((3600 * 9999.5) / 10_005) * 1000);
  });

  it("plans with what whole steps leave of a limit", () => {
    // 10 kW carry 14 A, 9.66 kW. Two full hours would miss 0.68 kWh and cost a third at the minimum
    // of 4.14 kW on top; knowing that, the second one gives way for it.
    const one = depot([{ energyWh: 20_000 }], {
      circuits: [circuit({ maxPowerW: 10_000 })],
      evses: [evse({ stationId: "CS0" }, { limitStep: 1 })],
      tariff: tariff({ prices: [0.1, 0.2, 0.8, 0.9] }),
    });
    expect([...plan(one).sessionPlans[0].powerW]).toEqual(
      [9660, 6210, 4140, 0].map((w) => expect.closeTo(w, 6)),
    );
  });

  it("loses nothing to whole steps where stays are whole slots, and so keeps to itself", () => {
    for (const seed of [0, 1, 2]) {
      const random = randomOf(seed);
      const prices = Array.from({ length: 16 }, () => random.real(0.1, 0.4));
      const vehicles = Array.from({ length: 12 }, () => {
        const arrivalMs = START_MS + random.int(-2, 8) * HOUR;
        const departureMs = Math.max(START_MS, arrivalMs) + random.int(4, 8) * HOUR;
        return { arrivalMs, departureMs, energyWh: random.real(5000, 30_000) };
      });
      const over = { circuits: [circuit({ maxPowerW: 40_000 })], tariff: tariff({ prices }) };
      const one = {
        ...depot(vehicles, over, 16),
        slotStartsMs: slotsOf(START_MS, START_MS + 16 * HOUR, HOUR / 4),
      };
      const first = plan(one);
      expect(first.solve.gap, `seed ${seed}`).toBeLessThan(1e-3);
      const sessions = one.sessions.map((session, i) => ({
        ...session,
        installed: {
          powerW: series(START_MS, HOUR / 4, [...first.sessionPlans[i].powerW]),
          chargingProfileId: i,
        },
      }));
      const again = plan({ ...one, sessions });
      expect(again.summary.changedEnergyWh, `seed ${seed}`).toBeCloseTo(0, 6);
    }
  });

  it("does not starve a vehicle whose charger takes two periods", () => {
    // The best plan is off, 29 A, off: three periods. In two it has to begin at once: 10 kW in the
    // first two hours cost 6.00, 20 kW in the first 10.00.
    const periodsOf = (maxPeriods: number) => {
      const one = depot([{ energyWh: 20_000 }], {
        evses: [evse({ stationId: "CS0" }, { maxPeriods })],
        tariff: tariff({ prices: [0.5, 0.1, 0.5, 0.2] }),
      });
      return [...plan(one).sessionPlans[0].powerW];
    };
    expect(periodsOf(3)).toEqual([0, 20_010, 0, 0].map((w) => expect.closeTo(w, 6)));
    expect(periodsOf(2)).toEqual([10_005, 10_005, 0, 0].map((w) => expect.closeTo(w, 6)));
  });

  it("charges a small need at the minimum instead of not at all", () => {
    const { sessionPlans } = plan(depot([{ energyWh: 500 }]));
    expect([...sessionPlans[0].powerW].filter((w) => w > 0)).toEqual([expect.closeTo(4140, 6)]);
    expect(sessionPlans[0].shortfallWh).toBe(0);
    expect(sessionPlans[0].plannedEnergyWh).toBe(500);
  });

  it("takes turns where the minimums of all do not fit at once", () => {
    // 5 kW carry one three-phase minimum of 4.14 kW at a time; four vehicles, four hours.
    const one = depot(
      [0, 1, 2, 3].map(() => ({ energyWh: 4140 })),
      { circuits: [circuit({ maxPowerW: 5000 })] },
    );
    const { sessionPlans } = plan(one);
    for (const { shortfallWh } of sessionPlans) expect(shortfallWh).toBe(0);
    for (let k = 0; k < 4; k++) expect(sessionPlans.filter(({ powerW }) => powerW[k] > 0)).toHaveLength(1);
  });

  it("gives a vehicle that can't be paused one block, in the cheapest place", () => {
    const prices = tariff({ prices: [0.1, 0.5, 0.2, 0.2, 0.2, 0.9] });
    const one = depot([{ energyWh: 30_000, uninterruptible: true }], { tariff: prices }, 6);
    const { sessionPlans } = plan(one);
    // Hours 0 to 2 at 21.72 + 4.14 + 4.14 kW cost 5.07; hours 2 and 3 would cost 6.00, hours 0 and 1 6.17.
    const on = [...sessionPlans[0].powerW].map((w) => w > 0);
    expect(on).toEqual([true, true, true, false, false, false]);
    expect(sessionPlans[0].shortfallWh).toBe(0);
  });

  it("does not pause a running vehicle that can't be paused", () => {
    const prices = tariff({ prices: [0.5, 0.5, 0.1, 0.1] });
    const installed = { powerW: series(START_MS, HOUR, [5000]), chargingProfileId: 11 };
    const one = depot([{ energyWh: 20_000, uninterruptible: true, installed }], { tariff: prices });
    const { sessionPlans } = plan(one);
    expect(sessionPlans[0].powerW[0]).toBeGreaterThan(0);
    expect(sessionPlans[0].shortfallWh).toBe(0);
  });

  it("never tells a charger that rejects 0 less than its minimum, and counts it against the limit", () => {
    const one = depot([{ energyWh: 20_000 }, { energyWh: 1000, departureMs: START_MS + 2 * HOUR }], {
      circuits: [circuit({ maxPowerW: 10_000 })],
      evses: [evse({ stationId: "CS0" }), evse({ stationId: "CS1" }, { rejectsZeroLimit: true })],
    });
    const { sessionPlans } = plan(one);
    const limits =
      sessionPlans[1].command?.chargingProfile.schedules[0].periods.map(({ limit }) => limit) ?? [];
    expect(limits.length).toBeGreaterThan(0);
    for (const limit of limits) expect(limit).toBeGreaterThanOrEqual(6);
    for (let k = 0; k < 4; k++) expect(sessionPlans[0].powerW[k]).toBeLessThanOrEqual(10_000 - 4140 + 1e-6);
  });

  it("names the causes of a shortfall", () => {
    const stay = plan(depot([{ energyWh: 100_000 }]));
    expect(stay.sessionPlans[0].shortfallWh).toBeCloseTo(100_000 - 4 * 22_080, 6);
    expect(stay.sessionPlans[0].shortfallCauses).toEqual(["STAY_TOO_SHORT", "EVSE_LIMIT"]);

    const vehicle = plan(depot([{ energyWh: 100_000, maxCurrentA: 16 }]));
    expect(vehicle.sessionPlans[0].shortfallCauses).toEqual(["STAY_TOO_SHORT", "VEHICLE_LIMIT"]);

    const grid = plan(depot([{ energyWh: 50_000 }], { circuits: [circuit({ maxPowerW: 6900 })] }));
    expect(grid.sessionPlans[0].shortfallWh).toBeCloseTo(50_000 - 4 * 6900, 6);
    expect(grid.sessionPlans[0].shortfallCauses).toEqual(["CIRCUIT_LIMIT"]);

    // Two vehicles on 4.5 kW: each needs a minimum of 4.14 kW, the rest of the limit is of no use to either.
    const minimum = plan(
      depot([{ energyWh: 9000 }, { energyWh: 9000 }], { circuits: [circuit({ maxPowerW: 4500 })] }),
    );
    for (const { shortfallWh, shortfallCauses } of minimum.sessionPlans) {
      if (shortfallWh === 0) expect(shortfallCauses).toEqual([]);
      else expect(shortfallCauses.length).toBeGreaterThan(0);
    }

    const unusable = plan(depot([{ energyWh: 9000, maxCurrentA: 5 }]));
    expect(unusable.sessionPlans[0].plannedEnergyWh).toBe(0);
    expect(unusable.sessionPlans[0].shortfallCauses).toEqual(["MINIMUM_CURRENT"]);
  });

  it("shows what one more kWh through a full circuit is worth", () => {
    // The cheap hour is full: a kWh more there saves the difference to the next price, 0.3 - 0.1.
    const prices = tariff({ prices: [0.1, 0.3, 0.5, 0.5] });
    const one = depot([{ energyWh: 15_000 }], { tariff: prices, circuits: [circuit({ maxPowerW: 10_000 })] });
    const { circuits } = plan(one);
    expect(circuits[0].shadowPricePerKwh[0]).toBeCloseTo(0.2, 3);
    expect(circuits[0].shadowPricePerKwh[1]).toBe(0);
    // The same limit given as a current on each phase.
    const amperes = depot([{ energyWh: 15_000 }], {
      tariff: prices,
      circuits: [circuit({ maxCurrentA: 10_000 / 690 })],
    });
    expect(plan(amperes).circuits[0].shadowPricePerKwh[0]).toBeCloseTo(0.2, 3);
  });

  it("reports cost, peak and what charging at once would have cost", () => {
    const prices = tariff({ prices: [1, 0.1, 0.1, 0.1], demandPricePerKw: 2, demandWindowMs: HOUR });
    const one = depot([{ energyWh: 20_700 }], { tariff: prices });
    const { summary, sessionPlans } = plan(one);
    // 6.9 kW in each of the three cheap hours: 20.7 kWh x 0.1, 6.9 kW x 2.
    expect(summary.energyCost).toBeCloseTo(2.07, 2);
    expect(summary.demandCost).toBeCloseTo(13.8, 1);
    expect(summary.peakImportW).toBeCloseTo(6900, -2);
    expect(sessionPlans[0].energyCost).toBeCloseTo(summary.energyCost, 9);
    expect(summary.uncontrolledCost).toBeCloseTo(20.7 * 1 + 20.7 * 2, 1);
    expect(summary.uncontrolledPeakW).toBeCloseTo(20_700, -2);
  });

  it("sends nothing when nothing changes, reductions first when something does", () => {
    const one = depot([{ energyWh: 20_000 }, { energyWh: 20_000 }], {
      circuits: [circuit({ maxPowerW: 11_040 })],
    });
    const first = plan(one);
    expect(first.sessionPlans.map(({ change }) => change)).toEqual(["NEW", "NEW"]);
    const installed = first.sessionPlans.map(({ powerW, command }) => ({
      powerW: series(START_MS, HOUR, [...powerW]),
      chargingProfileId: command?.chargingProfile.id ?? 0,
    }));
    const again = plan({ ...one, sessions: one.sessions.map((s, i) => ({ ...s, installed: installed[i] })) });
    expect(again.sessionPlans.map(({ change, command }) => [change, command])).toEqual([
      ["UNCHANGED", undefined],
      ["UNCHANGED", undefined],
    ]);
    expect(again.summary.changedEnergyWh).toBeCloseTo(0, 6);
    // A third vehicle with a tight departure: whoever is on now has to give way before it starts.
    const crowded = depot([{}, {}, { energyWh: 10_000, departureMs: START_MS + HOUR }], {
      circuits: [circuit({ maxPowerW: 11_040 })],
    });
    const sessions = [0, 1].map((i) => ({ ...one.sessions[i], installed: installed[i] }));
    const third = plan({ ...crowded, sessions: [...sessions, crowded.sessions[2]] });
    const waves = third.sessionPlans.map(({ command, powerW }, i) => ({
      wave: command?.pushWave,
      lowersNow: i < 2 && powerW[0] < installed[i].powerW.values[0] - 1,
    }));
    expect(waves[2].wave).toBe(2);
    expect(waves.some(({ lowersNow }) => lowersNow)).toBe(true);
    for (const { wave, lowersNow } of waves) if (lowersNow) expect(wave).toBe(1);
  });

  it("changes nothing on a site where nothing has changed", () => {
    for (let seed = 0; seed < 12; seed++) {
      const one = randomProblem(seed, { vehicles: [2, 8], hours: 8, slotMs: 900_000 });
      const fresh = { ...one, sessions: one.sessions.map((s) => ({ ...s, installed: undefined })) };
      const first = plan(fresh);
      const slotMs = one.slotStartsMs[2] - one.slotStartsMs[1];
      const sessions = fresh.sessions.map((s, i) => ({
        ...s,
        installed: {
          powerW: series(one.slotStartsMs[1] - slotMs, slotMs, [...first.sessionPlans[i].powerW]),
          chargingProfileId: 0,
        },
      }));
      const again = plan({ ...fresh, sessions });
      expect(new Set(again.sessionPlans.map(({ change }) => change)), `seed ${seed}`).toEqual(
        new Set(["UNCHANGED"]),
      );
      expect(again.summary.plannedEnergyWh, `seed ${seed}`).toBeCloseTo(first.summary.plannedEnergyWh, 6);
    }
  });

  /** Nine vehicles that come within the hour and share 30 kW at prices by the hour, needs of 6 to 22 kWh, for eight hours. */
  const shared = () =>
    depot(
      Array.from({ length: 9 }, (_, n) => ({
        energyWh: 6000 + 2000 * n,
        arrivalMs: START_MS + (n % 3) * (HOUR / 3),
        departureMs: START_MS + (5 + (n % 4)) * HOUR,
      })),
      {
        circuits: [circuit({ maxPowerW: 30_000 })],
        tariff: tariff({ prices: [0.3, 0.2, 0.25, 0.22, 0.28, 0.18, 0.3, 0.26] }),
      },
      8,
    );
  const heldBy = ({ sessionPlans, slotStartsMs }: SitePlan) =>
    sessionPlans.map(({ powerW }) => ({
      powerW: series(slotStartsMs[0], HOUR, [...powerW]),
      chargingProfileId: 1,
    }));

  it("changes nothing when time passes and all goes as planned", () => {
    let one = shared();
    let last = plan(one);
    for (let round = 0; round < 5; round++) {
      const held = heldBy(last);
      const startMs = one.slotStartsMs[1];
      const sessions = one.sessions.flatMap((s, i) =>
        s.departureMs <= startMs
          ? []
          : [
              {
                ...s,
                installed: held[i],
                arrivalMs: startMs,
                energyWh: s.energyWh - (last.sessionPlans[i].powerW[0] * (startMs - s.arrivalMs)) / HOUR,
              },
            ],
      );
      one = { ...one, sessions, slotStartsMs: one.slotStartsMs.slice(1) };
      last = plan(one);
      expect(last.sessionPlans.map(({ change }) => change)).toEqual(sessions.map(() => "UNCHANGED"));
    }
  });

  const changed = ({ sessionPlans }: SitePlan) =>
    sessionPlans.filter(({ change }) => change === "CHANGED").map(({ sessionId }) => sessionId);

  it("changes few of many when a vehicle arrives", () => {
    const one = shared();
    const held = heldBy(plan(one));
    const arrives = (energyWh: number) => {
      const wide = { ...one.site, evses: [...one.site.evses, evse({ stationId: "CS9" })] };
      const newcomer = session({ sessionId: "new", evse: 9, energyWh, departureMs: START_MS + 8 * HOUR });
      const sessions = [...one.sessions.map((s, i) => ({ ...s, installed: held[i] })), newcomer];
      return plan({ ...one, site: wide, sessions });
    };
    const small = arrives(4140);
    expect(small.summary.shortfallWh).toBe(0);
    expect(changed(small).length).toBeLessThanOrEqual(1);
    const large = arrives(22_000);
    expect(large.summary.shortfallWh).toBe(0);
    expect(changed(large).length).toBeLessThanOrEqual(4);
  });

  const turn = (hour: number, hours: number) =>
    series(
      START_MS,
      HOUR,
      Array.from({ length: hours }, (_, k) => (k === hour ? 11_040 : 0)),
    );
  /** Vehicles that need an hour at full power each, which is all that the site has; `hour` is the one installed. */
  const inTurns = (sessions: { stayHours?: number; hour?: number }[], prices: number[]): Problem =>
    depot(
      sessions.map(({ stayHours = prices.length, hour }) => ({
        energyWh: 11_040,
        departureMs: START_MS + stayHours * HOUR,
        installed:
          hour === undefined ? undefined : { powerW: turn(hour, prices.length), chargingProfileId: 1 },
      })),
      { circuits: [circuit({ maxPowerW: 11_040 })], tariff: tariff({ prices }) },
      prices.length,
    );
  const four = [{ hour: 0 }, { hour: 1 }, { hour: 2 }, { hour: 3 }];

  it("changes nobody when a vehicle arrives that has room", () => {
    const { sessionPlans } = plan(inTurns([...four, {}], [0.1, 0.11, 0.12, 0.13, 0.14, 0.15]));
    expect(sessionPlans.map(({ change }) => change)).toEqual([...four.map(() => "UNCHANGED"), "NEW"]);
    expect([...sessionPlans[4].powerW]).toEqual([0, 0, 0, 0, 11_040, 0]);
  });

  it("changes one when a vehicle arrives that only fits where that one is", () => {
    const one = plan(inTurns([...four, { stayHours: 1 }], [0.1, 0.11, 0.12, 0.13, 0.14, 0.15]));
    // The first five hours are used whoever moves: who leaves the first takes the fifth.
    expect(changed(one)).toEqual(["s0"]);
    expect([...one.sessionPlans[0].powerW]).toEqual([0, 0, 0, 0, 11_040, 0]);
    expect(one.summary.shortfallWh).toBe(0);
    expect(one.status).toBe("OPTIMAL");
  });

  it("changes one when a vehicle leaves early whose hour is worth it, nobody when it is not", () => {
    const without = (prices: number[]) => plan(inTurns([{ hour: 0 }, { hour: 2 }, { hour: 3 }], prices));
    // The free second hour saves the last 0.02 a kWh.
    const dear = without([0.1, 0.11, 0.12, 0.13, 0.14]);
    expect(changed(dear)).toEqual(["s2"]);
    expect([...dear.sessionPlans[2].powerW]).toEqual([0, 11_040, 0, 0, 0]);
    expect(changed(without([0.1, 0.1, 0.1, 0.1, 0.1]))).toEqual([]);
  });

  it("says by when its waves must be accepted: until then nothing passes a limit, whatever has arrived", () => {
    let deadlines = 0;
    for (let seed = 0; seed < 60; seed++) {
      const one = randomProblem(seed, { vehicles: [4, 10], hours: 6, slotMs: 1_800_000 });
      const starts = one.slotStartsMs;
      // What the chargers hold is a plan for the same needs in another order, within the same limits.
      const backwards = {
        ...one,
        sessions: one.sessions.map((s) => ({ ...s, installed: undefined })),
        preference: "FLATTEST" as const,
      };
      const held = plan(backwards).sessionPlans.map(({ powerW }) => ({
        powerW: { startMs: starts[0] - (starts[0] % 1_800_000), stepMs: 1_800_000, values: powerW },
        chargingProfileId: 1,
      }));
      const sessions = one.sessions.map((s, i) => ({ ...s, installed: held[i] }));
      const { sessionPlans, wave1ByMs, wave2ByMs } = plan({ ...one, sessions });
      const random = randomOf(seed);
      for (const [wave, byMs] of [
        [1, wave1ByMs],
        [2, wave2ByMs],
      ] as const) {
        if (byMs !== undefined) deadlines++;
        for (let trial = 0; trial < 5; trial++) {
          const drawn = sessionPlans.map(({ command }, i): PowerStep[] => {
            const evse = one.site.evses[sessions[i].evse];
            const hasOld =
              command !== undefined &&
              (command.pushWave > wave || (command.pushWave === wave && random.chance(0.5)));
            const { arrivalMs, departureMs } = sessions[i];
            if (command !== undefined && !hasOld)
              return expand(command.payloadJson, evse, one.site.nominalVoltageV);
            const values = command === undefined ? sessionPlans[i].powerW : held[i].powerW.values;
            return [
              ...Array.from(values, (powerW, k) => ({ atMs: Math.max(starts[k], arrivalMs), powerW })).filter(
                ({ atMs }, k) => atMs < departureMs && starts[k + 1] > arrivalMs,
              ),
              { atMs: departureMs, powerW: 0 },
            ];
          });
          const circuitExcesses = check(one, drawn).excesses.filter(({ limit }) =>
            limit.startsWith("circuit"),
          );
          for (const { atMs } of circuitExcesses)
            expect(atMs).toBeGreaterThanOrEqual(byMs ?? Number.POSITIVE_INFINITY);
        }
      }
    }
    expect(deadlines).toBeGreaterThan(0);
  });

  it("gives up an installed plan that no longer fits or delivers less", () => {
    const installed = { powerW: series(START_MS, HOUR, [11_040, 0, 0, 0]), chargingProfileId: 7 };
    const one = depot([{ energyWh: 11_040, installed }]);
    expect(plan(one).sessionPlans[0].change).toBe("UNCHANGED");
    const narrow = plan({ ...one, site: { ...one.site, circuits: [circuit({ maxPowerW: 8000 })] } });
    expect(narrow.sessionPlans[0].change).toBe("CHANGED");
    expect(narrow.sessionPlans[0].shortfallWh).toBe(0);
    const more = plan(depot([{ energyWh: 15_000, installed }]));
    expect(more.sessionPlans[0].change).toBe("CHANGED");
    expect(more.sessionPlans[0].shortfallWh).toBe(0);
  });

  it("says that minimums which no profile can lower are over a limit", () => {
    const sites = [0, 1, 2].map((n) => evse({ stationId: `CS${n}` }, { rejectsZeroLimit: true }));
    const one = depot([{}, {}, {}], { circuits: [circuit({ maxPowerW: 9000 })], evses: sites });
    expect(plan(one).notices.map(({ code }) => code)).toEqual(["MINIMUM_OVER_LIMIT"]);
  });

  it("blames lost periods, not the minimum, for what merging costs", () => {
    const room = circuit({
      maxPowerSeriesW: series(
        START_MS,
        HOUR / 4,
        Array.from({ length: 16 }, (_, k) => (k % 2 ? 11_000 : 5000)),
      ),
    });
    const one = {
      ...depot([{ energyWh: 30_000 }], { circuits: [room], evses: [evse({}, { maxPeriods: 3 })] }),
      slotStartsMs: slotsOf(START_MS, START_MS + 4 * HOUR, HOUR / 4),
    };
    const { sessionPlans } = plan(one);
    expect(sessionPlans[0].shortfallWh).toBeGreaterThan(5000);
    expect(sessionPlans[0].shortfallCauses).toEqual(["PROFILE_RESOLUTION"]);
  });

  it("is the same each time", () => {
    for (const seed of [3, 17]) {
      const one = randomProblem(seed, { vehicles: [4, 10], hours: 8 });
      const strip = ({ solve, ...rest }: SitePlan) => ({ ...rest, objective: solve.objective });
      expect(strip(plan(one))).toEqual(strip(plan(one)));
    }
  });

  it("plans an empty site", () => {
    const empty = plan({ ...problem(), sessions: [], slotStartsMs: [START_MS, START_MS + HOUR] });
    expect(empty.sessionPlans).toEqual([]);
    expect(empty.status).toBe("OPTIMAL");
  });

  it("explains a base load over the limit and still answers", () => {
    const circuits = [circuit({ maxPowerW: 5000, baseLoadW: series(START_MS, HOUR, [9000]) })];
    const { notices, sessionPlans } = plan(depot([{}], { circuits }));
    expect(notices.map(({ code }) => code)).toEqual(["BASE_LOAD_OVER_LIMIT"]);
    expect(sessionPlans[0].plannedEnergyWh).toBe(0);
    expect(sessionPlans[0].shortfallCauses).toEqual(["CIRCUIT_LIMIT"]);
  });
});

describe("what is reported of the solve", () => {
  it("bounds the plan as sent", () => {
    for (let seed = 0; seed < 40; seed++) {
      const { solve } = plan(randomProblem(seed, { vehicles: [1, 8], hours: 8 }));
      expect(solve.objective).toBeGreaterThanOrEqual(solve.bound - 1e-6 * Math.max(1, Math.abs(solve.bound)));
      expect(solve.gap).toBeGreaterThanOrEqual(0);
      expect(solve.checks).toBeGreaterThan(0);
    }
  });

  it("follows a forced solver", () => {
    const one = depot([{ energyWh: 10_000 }], { tariff: tariff({ prices: [0.3, 0.2, 0.1, 0.4] }) });
    const glpk = plan({ ...one, solver: "GLPK" });
    const highs = plan({ ...one, solver: "HIGHS" });
    expect([glpk.solve.solver, highs.solve.solver]).toEqual(["GLPK", "HIGHS"]);
    expect(glpk.solve.objective).toBeCloseTo(highs.solve.objective, 6);
  });
});

describe("out of time", () => {
  it("hands the safe plan over before the solve of a large site, or when time is short", () => {
    const vehicles = (count: number) =>
      depot(
        Array.from({ length: count }, () => ({ energyWh: 20_000 })),
        { circuits: [circuit({ maxPowerW: 50_000 })] },
        101,
      );
    const safe: SitePlan[] = [];
    for (const [count, leftMs] of [
      [99, 60_000],
      [100, 60_000],
      [3, 100],
    ]) {
      planSite(
        vehicles(count),
        solvers,
        () => leftMs,
        ({ plan }) => safe.push(plan),
      );
    }
    expect(safe.map(({ status, sessionPlans }) => [status, sessionPlans.length])).toEqual([
      ["FALLBACK", 100],
      ["FALLBACK", 3],
    ]);
  });

  it("is the safe plan when there is no time to solve", () => {
    const one = randomProblem(5, { vehicles: [6, 12], hours: 12 });
    const { plan, excesses } = planSite(one, solvers, () => 0);
    expect(plan.status).toBe("FALLBACK");
    expect(excesses).toEqual([]);
    expect(plan.sessionPlans.map(({ powerW }) => powerW)).toEqual(
      planSafely(one).plan.sessionPlans.map(({ powerW }) => powerW),
    );
  });

  it("is feasible, with the pieces that were solved, when time runs out in the middle", () => {
    // Independent single vehicles of more columns than one piece takes; time ends after a few calls.
    const one = depot(
      Array.from({ length: 40 }, (_, n) => ({ energyWh: 5000 + 100 * n })),
      { tariff: tariff({ prices: Array.from({ length: 48 }, (_, h) => 0.3 - 0.1 * Math.sin(h)) }) },
      48,
    );
    let calls = 0;
    const { plan, excesses } = planSite(one, solvers, () => (calls++ < 4 ? 1e6 : 0));
    expect(excesses).toEqual([]);
    expect(plan.status).toBe("FEASIBLE");
    expect(plan.summary.shortfallWh).toBe(0);
    const safe = planSafely(one).plan;
    const best = planSite(one, solvers, forever).plan;
    expect(plan.summary.energyCost).toBeLessThan(safe.summary.energyCost);
    expect(plan.summary.energyCost).toBeGreaterThan(best.summary.energyCost);
    expect(plan.solve.objective).toBeGreaterThanOrEqual(plan.solve.bound);
  });

  it("replaces a plan that fails the check by the safe plan and reports it", () => {
    // A solver gone wrong: it calls twice the limit optimal.
    const broken: Solver = {
      name: "GLPK",
      load: (lp) => {
        const loaded = solvers.glpk.load({
          ...lp,
          rowUpper: lp.rowUpper.map((limit, r) => (lp.rowLower[r] === -Infinity ? 3 * limit : limit)),
        });
        return loaded;
      },
    };
    const one = depot([{ energyWh: 60_000 }, { energyWh: 60_000 }], {
      circuits: [circuit({ maxPowerW: 10_000 })],
    });
    const { plan, excesses } = planSite(one, { glpk: broken, highs: broken }, forever);
    // Extraction trims to the limits on its own; whatever it let through, nothing over a limit goes out.
    const emitted = plan.sessionPlans.map(({ command }, i) =>
      expand(command?.payloadJson ?? "", one.site.evses[i], 230),
    );
    expect(check(one, emitted).excesses).toEqual([]);
    expect(excesses.length === 0 || plan.status === "FALLBACK").toBe(true);
  });
});

describe("the engine", () => {
  it("plans on a thread as planSite does here", async () => {
    const one = randomProblem(11, { vehicles: [5, 10], hours: 8 });
    const here = plan(one);
    const there = await engine.optimise(one);
    expect(there.sessionPlans.map(({ powerW }) => powerW)).toEqual(
      here.sessionPlans.map(({ powerW }) => powerW),
    );
    expect(there.status).toBe(here.status);
  });

  it("answers a deadline that is too short, or past, with the safe plan", async () => {
    const one = randomProblem(12, { vehicles: [10, 10], hours: 24 });
    for (const deadlineMs of [Date.now() - 1000, Date.now() + 1, Date.now() + 15]) {
      const { status } = await engine.optimise(one, { deadlineMs });
      expect(["FALLBACK", "FEASIBLE", "OPTIMAL"]).toContain(status);
    }
    expect((await engine.optimise(one, { deadlineMs: Date.now() - 1000 })).status).toBe("FALLBACK");
  });

  it("cancels", async () => {
    const abort = new AbortController();
    const pending = engine.optimise(randomProblem(13, { vehicles: [20, 20], hours: 24 }), {
      signal: abort.signal,
    });
    abort.abort();
    await expect(pending).rejects.toMatchObject({ code: "CANCELLED" });
    expect((await engine.optimise(problem())).status).toBe("OPTIMAL");
  });

  it("has cancelled also what no thread was asked for", async () => {
    const late = engine.optimise(problem(), { signal: AbortSignal.abort(), deadlineMs: Date.now() - 1 });
    await expect(late).rejects.toMatchObject({ name: "WattslotError", code: "CANCELLED" });
  });

  it("survives a thread that breaks, hangs or can't start: the safe plan goes out", async () => {
    for (const fixture of ["crash", "hang", "missing"]) {
      const faults: string[] = [];
      const faulty = testEngine({
        workerUrl: new URL(`./support/worker-${fixture}.mjs`, import.meta.url),
        onFault: (message) => faults.push(message),
      });
      const { status, sessionPlans } = await faulty.optimise({ ...problem(), timeLimitMs: 500 });
      expect(status, fixture).toBe("FALLBACK");
      expect(sessionPlans[0].plannedEnergyWh, fixture).toBe(10_000);
      // A hang is ended by its deadline, which is no fault; the others are told.
      expect(faults.length > 0, fixture).toBe(fixture !== "hang");
      await faulty.close();
    }
  });

  it("turns requests away when the queue is full, and ends those that wait when it closes", async () => {
    const small: Engine = testEngine({
      maxQueue: 1,
      workerUrl: new URL("./support/worker-hang.mjs", import.meta.url),
    });
    const one = { ...problem(), timeLimitMs: 8000 };
    const first = small.optimise(one);
    const second = small.optimise(one);
    await expect(small.optimise(one)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    const settled = Promise.allSettled([first, second]);
    await small.close();
    for (const outcome of await settled) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE" } });
    }
  });
});

import { describe, expect, it, vi } from "vitest";
import { answer, type Candidate } from "../src/answer.ts";
import { chargingOf } from "../src/domain/charging.ts";
import type { ChargingSchedule, SitePlan } from "../src/domain/plan.ts";
import { Room } from "../src/domain/room.ts";
import { toProblem } from "../src/grpc/convert.ts";
import { requestFromJson } from "../src/grpc/json.ts";
import { withHeldLevels } from "../src/ocpp/offer.ts";
import { validatorFor } from "./ocpp/schema.ts";
import { planner } from "./support/solvers.ts";

const T0 = Date.UTC(2026, 10, 23, 8);
const plan = planner();

const at = (hours: number) => new Date(T0 + hours * 3_600_000).toISOString();
const hourly = (...values: number[]) => ({ startTime: at(0), stepSeconds: 3600, values });
const priced = (...values: number[]) => ({ currency: "EUR", pricePerKwh: hourly(...values) });

interface Site {
  circuits?: object[];
  tariff?: object;
  evse?: object;
  ocpp?: object;
  [field: string]: unknown;
}

function requestOf({ circuits, evse, ocpp, ...site }: Site, sessions: object[], over: object = {}) {
  return {
    site: {
      siteId: "site",
      circuits: circuits ?? [{ circuitId: "grid", maxPowerW: 22_080 }],
      // 16 A on three phases: 11,040 W.
      evses: sessions.map((_, n) => ({
        stationId: `CS${n}`,
        evseId: 1,
        maxCurrentA: 16,
        ocpp: { version: "OCPP_VERSION_2_1", ...ocpp },
        ...evse,
      })),
      ...site,
    },
    sessions: sessions.map((session, n) => ({
      sessionId: `s${n}`,
      stationId: `CS${n}`,
      evseId: 1,
      transactionId: `tx-${n}`,
      ...session,
    })),
    startTime: at(0),
    slotSeconds: 3600,
    ...over,
  };
}

const problemOf = (...of: Parameters<typeof requestOf>) =>
  toProblem(requestFromJson(JSON.stringify(requestOf(...of)), T0), T0);
const planOf = (...of: Parameters<typeof requestOf>): SitePlan => plan(problemOf(...of));

function schedulesOf({ sessionPlans }: SitePlan, n = 0): ChargingSchedule[] {
  const { command } = sessionPlans[n];
  if (command === undefined) throw new Error(`${sessionPlans[n].sessionId} has no command`);
  expect(validatorFor(command.ocppVersion)(JSON.parse(command.payloadJson))).toEqual([]);
  return command.chargingProfile.schedules;
}

/** [hour, limit in A] of each period. */
const periodsOf = ({ periods }: ChargingSchedule) =>
  periods.map(({ startPeriodS, limit }) => [startPeriodS / 3600, limit]);

const three = { scheduleOffer: { maxSchedules: 3 } };
/** An hour at 16 A. */
const ONE_HOUR_WH = 11_040;

describe("schedules to choose from", () => {
  it("are the plan, what is soonest and what is cheapest, of one start and ids that stay", () => {
    // Flattest is half the power in both hours; soonest the first, cheapest the second.
    const of = (maxSchedules: number) =>
      schedulesOf(
        planOf(
          { tariff: priced(0.3, 0.1) },
          [{ departureTime: at(2), energyWh: ONE_HOUR_WH, scheduleOffer: { maxSchedules } }],
          { objective: { preference: "PREFERENCE_FLATTEST" } },
        ),
      );
    const expected = [
      {
        id: 1,
        periods: [
          [0, 8],
          [2, 0],
        ],
      },
      {
        id: 2,
        periods: [
          [0, 16],
          [1, 0],
        ],
      },
      {
        id: 3,
        periods: [
          [0, 0],
          [1, 16],
          [2, 0],
        ],
      },
    ];
    const found = of(3);
    expect(found.map((one) => ({ id: one.id, periods: periodsOf(one) }))).toEqual(expected);
    expect(found.map(({ startScheduleMs }) => startScheduleMs)).toEqual([T0, T0, T0]);
    expect(of(2).map(({ id }) => id)).toEqual([1, 2]);
    expect(of(1).map((one) => periodsOf(one))).toEqual([expected[0].periods]);
  });

  it("leave out what says the same, or saves nothing", () => {
    const car = { departureTime: at(2), energyWh: ONE_HOUR_WH, ...three };
    const ids = (...of: Parameters<typeof requestOf>) => schedulesOf(planOf(...of)).map(({ id }) => id);
    // The plan is the cheapest.
    expect(ids({ tariff: priced(0.3, 0.1) }, [car])).toEqual([1, 2]);
    // It is the soonest and the cheapest.
    expect(ids({ tariff: priced(0.1, 0.3) }, [car])).toEqual([1]);
    // Nothing is known of prices.
    expect(ids({}, [car])).toEqual([1]);
    expect(ids({}, [{ ...car, energyWh: 0 }])).toEqual([1]);
  });

  it("leave room for the plan of another and for all that it may choose", () => {
    // 16 A for one vehicle at a time. Each is planned in the cheap second hour as far as there is room.
    const car = { departureTime: at(3), energyWh: ONE_HOUR_WH, ...three };
    const site = { circuits: [{ circuitId: "grid", maxPowerW: ONE_HOUR_WH }], tariff: priced(0.3, 0.1, 0.2) };
    const found = planOf(site, [car, car]);
    const most = [0, 1].map((n) => {
      const limitsA = [0, 0, 0];
      for (const schedule of schedulesOf(found, n)) {
        periodsOf(schedule).forEach(([hour, limit = 0], p, all) => {
          for (let h = hour ?? 0; h < (all[p + 1]?.[0] ?? 3); h++) limitsA[h] = Math.max(limitsA[h], limit);
        });
      }
      return limitsA;
    });
    expect(most[0].map((a, h) => a + most[1][h]).every((a) => a <= 16)).toBe(true);
    // One of them has the first hour, which no plan uses, to choose.
    expect(schedulesOf(found, 0).length + schedulesOf(found, 1).length).toBe(3);
  });

  it("make no new peak of the site where that costs", () => {
    const car = { departureTime: at(2), energyWh: ONE_HOUR_WH, ...three };
    const tariff = { ...priced(0.2, 0.2), demandPricePerKw: 10 };
    expect(schedulesOf(planOf({ tariff }, [car])).map(periodsOf)).toEqual([
      [
        [0, 8],
        [2, 0],
      ],
    ]);
    // A peak of 8,280 W that the billing period has seen is free: 12 A, then 4,140 W, which is the least.
    const seen = { ...tariff, ...priced(0.2, 0.1), demandPeakSoFarW: 8280 };
    expect(schedulesOf(planOf({ tariff: seen }, [{ ...car, energyWh: 8280 }])).map(periodsOf)).toEqual([
      [
        [0, 0],
        [1, 12],
        [2, 0],
      ],
      [
        [0, 12],
        [1, 0],
      ],
    ]);
  });

  it("keep minimums, whole steps, one block, a charge curve and energy that is due early", () => {
    const flattest = { objective: { preference: "PREFERENCE_FLATTEST" } };
    const tariff = priced(0.3, 0.1, 0.2, 0.4);
    const of = (session: object, site: object = {}) =>
      schedulesOf(planOf({ tariff, ...site }, [{ departureTime: at(4), ...three, ...session }], flattest));
    const cheapest = (all: ChargingSchedule[]) => all.filter(({ id }) => id === 3).map(periodsOf);
    // 17 A for an hour: 16 A in the second, and at least 6 A in the third.
    expect(cheapest(of({ energyWh: 17 * 690 }))).toEqual([
      [
        [0, 0],
        [1, 16],
        [2, 6],
        [3, 0],
      ],
    ]);
    // Once it has begun it goes on: 32 A for an hour are the second and third.
    expect(cheapest(of({ energyWh: 32 * 690, uninterruptible: true }))).toEqual([
      [
        [0, 0],
        [1, 16],
        [3, 0],
      ],
    ]);
    // 8 A for an hour are due by nine.
    const minimum = { energyWh: 8 * 690, byTime: at(1) };
    expect(cheapest(of({ energyWh: 24 * 690, minimum }))).toEqual([
      [
        [0, 8],
        [1, 16],
        [2, 0],
      ],
    ]);
    // A charger that rejects 0 never goes below 6 A.
    expect(cheapest(of({ energyWh: 28 * 690 }, { ocpp: { rejectsZeroLimit: true } }))).toEqual([
      [
        [0, 6],
        [1, 10],
        [2, 6],
      ],
    ]);
  });

  it("are in as many periods as the vehicle takes, and deliver what the plan does", () => {
    // The cheap hours are every other one.
    const tariff = priced(0.1, 0.3, 0.1, 0.3, 0.1, 0.3);
    for (const maxScheduleTuples of [2, 3, 4, 6]) {
      const { sessionPlans } = planOf(
        { tariff },
        [
          {
            departureTime: at(6),
            energyWh: 3 * ONE_HOUR_WH,
            scheduleOffer: { maxScheduleTuples, maxSchedules: 3 },
          },
        ],
        { objective: { preference: "PREFERENCE_FLATTEST" } },
      );
      expect(sessionPlans[0].shortfallWh).toBe(0);
      for (const { periods } of sessionPlans[0].command?.chargingProfile.schedules ?? []) {
        expect(periods.length).toBeLessThanOrEqual(maxScheduleTuples);
        const wh = periods.reduce(
          (sum, { startPeriodS, limit = 0 }, n) =>
            sum + limit * 690 * (((periods[n + 1]?.startPeriodS ?? 6 * 3600) - startPeriodS) / 3600),
          0,
        );
        expect(wh).toBeGreaterThanOrEqual(3 * ONE_HOUR_WH - 1);
      }
    }
  });

  it("are sent when there is room for the highest of them", () => {
    // It holds 8 A; the plan has nothing in the dear first hour, what is soonest has 16 A.
    const car = { departureTime: at(2), energyWh: ONE_HOUR_WH };
    const over = { installedPlans: [{ sessionId: "s0", powerW: hourly(5520, 5520) }] };
    const waveOf = (session: object) => {
      const { command } = planOf({ tariff: priced(0.3, 0.1) }, [session], over).sessionPlans[0];
      return command?.pushWave;
    };
    expect(waveOf(car)).toBe(1);
    expect(waveOf({ ...car, ...three })).toBe(2);
  });

  it("are one for vehicles that give, chargers that change phases, DynamicControl and a single period", () => {
    const car = { departureTime: at(2), energyWh: ONE_HOUR_WH, ...three };
    const soc = { energyWh: undefined, stateOfCharge: { socPercent: 50, batteryCapacityWh: 40_000 } };
    const site = { tariff: priced(0.3, 0.1) };
    const cases: [Site, object][] = [
      [
        { ...site, evse: { maxDischargePowerW: 5000 } },
        { ...car, ...soc, discharge: {} },
      ],
      [{ ...site, evse: { maxPhaseSwitches: 2 } }, car],
      [site, { ...car, scheduleOffer: { maxSchedules: 2, isDynamic: true } }],
      [site, { ...car, scheduleOffer: { maxSchedules: 2, maxScheduleTuples: 1 } }],
    ];
    for (const [where, session] of cases) {
      const found = planOf(where, [session]);
      expect(found.notices.map(({ code, field }) => `${code} ${field}`)).toContain(
        "ONE_SCHEDULE sessions[0].schedule_offer.max_schedules",
      );
      expect(schedulesOf(found)).toHaveLength(1);
    }
  });
});

describe("a vehicle that takes a single period", () => {
  const single = { scheduleOffer: { maxScheduleTuples: 1 } };

  it("has the lowest level that meets its need, to the end of its transaction", () => {
    const { sessionPlans } = planOf({}, [{ departureTime: at(2), energyWh: ONE_HOUR_WH, ...single }]);
    const [schedule] = sessionPlans[0].command?.chargingProfile.schedules ?? [];
    expect(periodsOf(schedule)).toEqual([[0, 8]]);
    expect(sessionPlans[0]).toMatchObject({ shortfallWh: 0, plannedEnergyWh: ONE_HOUR_WH });
  });

  it("leaves its room to nobody before the next vehicle can come", () => {
    // It may stay: behind 16 A the other has 8 A from the second hour on as well.
    const first = { departureTime: at(1), energyWh: ONE_HOUR_WH / 2, ...single };
    const other = { departureTime: at(3), energyWh: 4 * ONE_HOUR_WH };
    const site = { circuits: [{ circuitId: "grid", maxPowerW: ONE_HOUR_WH }] };
    const { sessionPlans } = planOf(site, [first, other]);
    const levelW = sessionPlans[0].powerW[0];
    for (const w of sessionPlans[1].powerW) expect(w).toBeLessThanOrEqual(ONE_HOUR_WH - levelW + 1e-6);
  });

  it("gets what the others leave, and the reason for what is missing", () => {
    // The other needs the whole second hour: there is no level but 0.
    const site = { circuits: [{ circuitId: "grid", maxPowerSeriesW: hourly(ONE_HOUR_WH, 4000) }] };
    const car = { departureTime: at(2), energyWh: ONE_HOUR_WH, ...single };
    const { sessionPlans } = planOf(site, [car]);
    expect(periodsOf(sessionPlans[0].command!.chargingProfile.schedules[0])).toEqual([[0, 0]]);
    expect(sessionPlans[0].shortfallCauses).toContain("PROFILE_RESOLUTION");
  });
});

it("a plan of nothing gives a vehicle that takes a single period nothing", () => {
  const car = { departureTime: at(2), energyWh: ONE_HOUR_WH, scheduleOffer: { maxScheduleTuples: 1 } };
  const problem = problemOf({}, [car]);
  const levels = (...powersW: number[]) =>
    withHeldLevels(problem, chargingOf(problem), [Float64Array.from(powersW)]).map((powerW) => [...powerW]);
  expect(levels(0, 0)).toEqual([[0, 0]]);
  expect(levels(11_040, 0)).toEqual([[5520, 5520]]);
});

describe("DynamicControl", () => {
  it.each([3, 4, 5, 12])("has periods and prices in %i entries together", (maxScheduleTuples) => {
    const prices = Array.from({ length: 12 }, (_, n) => 0.1 + 0.05 * ((n * 5) % 12));
    const scheduleOffer = {
      maxScheduleTuples,
      isDynamic: true,
      priceForm: "PRICE_FORM_PRICE_LEVEL_SCHEDULE",
    };
    const found = planOf({ tariff: priced(...prices) }, [
      { departureTime: at(12), energyWh: 5 * ONE_HOUR_WH, scheduleOffer },
    ]);
    const [{ periods, prices: told }] = schedulesOf(found);
    const { priceLevelScheduleEntries: entries = [] } = (told?.value ?? {}) as {
      priceLevelScheduleEntries?: object[];
    };
    expect(entries.length).toBeGreaterThan(0);
    expect(periods.length + entries.length).toBeLessThanOrEqual(maxScheduleTuples);
    expect(found.sessionPlans[0].shortfallWh).toBe(0);
  });
});

it("schedules that fail the check are left out, and the fault is told", () => {
  const car = { departureTime: at(2), energyWh: ONE_HOUR_WH / 2, ...three };
  // 8 A in all; two plans of 4,140 W leave less than a charger at 16 A takes.
  const problem = problemOf({ circuits: [{ circuitId: "grid", maxPowerW: 8280 }] }, [car, car]);
  const charging = chargingOf(problem);
  const power = problem.sessions.map(() => Float64Array.of(4140, 4140));
  const report = { solver: "NONE" as const, solveMs: 0, columns: 0, rows: 0, objective: 0, bound: 0, gap: 0 };
  const candidate: Candidate = {
    power,
    unmerged: power,
    status: "FEASIBLE",
    relaxedShortWh: undefined,
    shadowPrices: undefined,
    report: () => report,
  };
  const sound = answer(problem, charging, candidate);
  expect([sound.excesses, sound.faults]).toEqual([[], []]);
  // As if the room were reckoned wrongly.
  const fits = vi.spyOn(Room.prototype, "fits").mockReturnValue(100_000);
  const { plan: found, excesses, faults } = answer(problem, charging, candidate);
  fits.mockRestore();
  expect(excesses).toEqual([]);
  expect(faults[0]).toMatchObject({ limit: "circuit grid", value: 11_040, allowed: 8280 });
  for (const n of [0, 1]) expect(schedulesOf(found, n).map(({ id }) => id)).toEqual([1]);
});

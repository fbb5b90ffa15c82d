import { describe, expect, it } from "vitest";
import type { SitePlan } from "../src/domain/plan.ts";
import { toProblem } from "../src/grpc/convert.ts";
import { requestFromJson } from "../src/grpc/json.ts";
import { planner } from "./support/solvers.ts";

const T0 = Date.UTC(2026, 10, 23, 8);
const plan = planner();

const at = (hours: number) => new Date(T0 + hours * 3_600_000).toISOString();
const hourly = (...values: number[]) => ({ startTime: at(0), stepSeconds: 3600, values });

/** The plan for a request of hourly slots from T0 on, written as on the command line. */
function planOf(site: object, sessions: object[], over: object = {}): SitePlan {
  const request = {
    site: { siteId: "site", ...site },
    sessions: sessions.map((session, i) => ({
      sessionId: `s${i}`,
      stationId: `CS${i}`,
      evseId: 1,
      transactionId: `${i + 1}`,
      ...session,
    })),
    startTime: at(0),
    slotSeconds: 3600,
    ...over,
  };
  return plan(toProblem(requestFromJson(JSON.stringify(request), T0), T0));
}

const grid = (over: object = {}) => [{ circuitId: "grid", ...over }];
const charger = (n: number, over: object = {}) => ({ stationId: `CS${n}`, evseId: 1, ...over });
const priced = (...values: number[]) => ({ currency: "EUR", pricePerKwh: hourly(...values) });

describe("a charger that may change its phases is never worse than one on one phase", () => {
  const switching = charger(0, { maxPhaseSwitches: 3 });

  it("under a limit below the minimum on three, however little is needed and however it is to be spread", () => {
    const flat = { objective: { preference: "PREFERENCE_FLATTEST" } };
    const car = { departureTime: at(3), energyWh: 3192 };
    // 6 A take 4,140 W on three phases and 1,380 W on one.
    const spread = planOf({ circuits: grid({ maxPowerW: 3819 }), evses: [switching] }, [car], flat);
    expect(spread.summary.shortfallWh).toBe(0);
    const little = planOf({ circuits: grid({ maxPowerW: 3600 }), evses: [switching] }, [
      { departureTime: at(3), energyWh: 900 },
    ]);
    expect(little.summary.shortfallWh).toBe(0);
  });

  it("where the slots with room for three are few", () => {
    const limits = hourly(2000, 3000, 2000, 5000, 5000, 1000, 2000, 1000, 4000);
    const of = (evse: object) =>
      planOf({ circuits: grid({ maxPowerSeriesW: limits, baseLoadW: hourly(858) }), evses: [evse] }, [
        {
          arrivalTime: at(2),
          departureTime: at(9),
          stateOfCharge: { socPercent: 44, targetSocPercent: 100, batteryCapacityWh: 20_000 },
        },
      ]).summary.shortfallWh;
    expect(of(switching)).toBeLessThanOrEqual(of(charger(0, { phases: ["PHASE_L1"] })) + 10);
  });

  it("where it may not be interrupted", () => {
    const limits = { circuits: grid({ maxPowerW: 3000 }), evses: [switching] };
    const { summary } = planOf(limits, [{ departureTime: at(4), energyWh: 6000, uninterruptible: true }]);
    expect(summary.shortfallWh).toBeLessThan(100);
  });

  it("in no more periods than the charger takes", () => {
    const limits = hourly(3000, 5000, 2000, 5000);
    for (const maxPeriods of [3, 4, 5]) {
      const evse = charger(0, { maxPhaseSwitches: 3, ocpp: { maxPeriods } });
      const { sessionPlans } = planOf({ circuits: grid({ maxPowerSeriesW: limits }), evses: [evse] }, [
        { departureTime: at(4), energyWh: 15_000 },
      ]);
      expect(sessionPlans[0].command?.chargingProfile.schedules[0].periods.length).toBeLessThanOrEqual(
        maxPeriods,
      );
    }
  });
});

describe("a plan with storage is not worse than one without", () => {
  const dc = (over: object = {}) =>
    charger(0, {
      supply: "SUPPLY_DC",
      maxPowerW: 10_000,
      maxDischargePowerW: 10_000,
      ...over,
      ocpp: { version: "OCPP_VERSION_2_1", ...(over as { ocpp?: object }).ocpp },
    });

  it("where its few periods leave no room to charge what is given", () => {
    const site = {
      circuits: grid({ baseLoadW: hourly(3106) }),
      evses: [dc({ maxDischargePowerW: 22_000, ocpp: { maxPeriods: 2 } })],
      tariff: priced(0.6, 0.2, 0.1, 0.1, 0.4),
    };
    const car = {
      arrivalTime: at(1),
      departureTime: at(5),
      stateOfCharge: { socPercent: 5, targetSocPercent: 19, batteryCapacityWh: 40_000 },
    };
    const without = planOf(site, [car]);
    const gives = planOf(site, [
      { ...car, discharge: { maxPowerW: 2500, minSocPercent: 9, pricePerKwh: 0.05 } },
    ]);
    expect(without.summary.shortfallWh).toBe(0);
    expect(gives.summary.shortfallWh).toBe(0);
  });

  const cheapLater = {
    circuits: grid({ baseLoadW: hourly(2000) }),
    evses: [dc()],
    tariff: { ...priced(0.6, 0.1, 0.1), exportPricePerKwh: hourly(0.5, 0.05, 0.05) },
  };
  const full = {
    departureTime: at(3),
    stateOfCharge: { socPercent: 80, targetSocPercent: 80, batteryCapacityWh: 60_000 },
    discharge: { minSocPercent: 20 },
  };

  it("where a battery beside it must make no new peak: what a vehicle charges again is its own", () => {
    const alone = planOf(cheapLater, [full]);
    const idle = { capacityWh: 1, maxChargePowerW: 0, maxDischargePowerW: 0 };
    const beside = planOf({ ...cheapLater, battery: idle }, [full]);
    expect(alone.summary.dischargedEnergyWh).toBeGreaterThan(9900);
    expect(beside.summary.siteEnergyCost).toBeCloseTo(alone.summary.siteEnergyCost, 3);
    const real = { capacityWh: 10_000, socPercent: 50, maxChargePowerW: 5000, maxDischargePowerW: 5000 };
    const both = planOf({ ...cheapLater, battery: real }, [full]);
    expect(both.summary.siteEnergyCost).toBeLessThan(alone.summary.siteEnergyCost);
  });

  it("where it gives for part of a slot beside a battery: the battery's peak is no limit of the site", () => {
    const { sessionPlans, batteryPowerW } = planOf(
      {
        circuits: grid(),
        battery: {
          capacityWh: 20_000,
          socPercent: 10,
          maxChargePowerW: 9000,
          maxDischargePowerW: 5000,
          endValuePerKwh: 0.5,
        },
        evses: [dc()],
        tariff: priced(0.3),
      },
      [
        {
          departureTime: at(0.75),
          stateOfCharge: { socPercent: 80, targetSocPercent: 30, batteryCapacityWh: 60_000 },
          discharge: { minSocPercent: 20 },
        },
      ],
      { endTime: at(1) },
    );
    // 10 kW for three quarters of the hour are 7.5 kW over all of it.
    expect(sessionPlans[0].powerW[0]).toBe(-10_000);
    expect(batteryPowerW?.[0]).toBeCloseTo(7500, 0);
  });

  it("where nothing is asked for by some time", () => {
    const site = { circuits: grid({ baseLoadW: hourly(5000) }), evses: [dc()], tariff: priced(0.3) };
    const car = {
      departureTime: at(2),
      stateOfCharge: { socPercent: 80, targetSocPercent: 30, batteryCapacityWh: 60_000 },
      discharge: { minSocPercent: 20 },
    };
    const { sessionPlans } = planOf(site, [{ ...car, minimum: { energyWh: 0, byTime: at(2) } }]);
    expect([...sessionPlans[0].powerW]).toEqual([-5000, -5000]);
  });
});

describe("the site's energy and its cost", () => {
  const site = { circuits: grid(), evses: [charger(0)], tariff: priced(0.3) };

  it("are for the time that a vehicle is there", () => {
    const { summary } = planOf(site, [{ departureTime: at(0.25), energyWh: 2000 }], { endTime: at(1) });
    expect(summary.siteEnergyCost).toBeCloseTo(0.6, 2);
  });

  it("are for what its battery takes", () => {
    const { summary } = planOf(site, [
      {
        departureTime: at(1),
        stateOfCharge: { socPercent: 95, batteryCapacityWh: 50_000 },
        chargeCurve: [
          { socPercent: 80, maxPowerW: 11_000 },
          { socPercent: 100, maxPowerW: 500 },
        ],
      },
    ]);
    expect(summary.siteEnergyCost).toBeCloseTo(summary.energyCost, 2);
  });
});

import { describe, expect, it } from "vitest";
import type { Discharge, Evse, Problem, Session, Tariff, VehicleBattery } from "../src/domain/problem.ts";
import { planSafely } from "../src/engine.ts";
import { expand } from "../src/ocpp/expand.ts";
import { validatorFor } from "./ocpp/schema.ts";
import {
  circuit,
  evse,
  hardProblem,
  problem,
  START_MS,
  series,
  session,
  tariff,
  withGiving,
  withTaper,
  withWiring,
} from "./support/problems.ts";
import { planner } from "./support/solvers.ts";

const HOUR = 3_600_000;

const plan = planner();

/** 60 kWh, 40 of them stored, nine tenths kept on each way. */
function battery(over: Partial<VehicleBattery> = {}): VehicleBattery {
  return { capacityWh: 60_000, storedWh: 40_000, efficiency: 0.9, chargeCurve: [], ...over };
}

function discharge(over: Partial<Discharge> = {}): Discharge {
  return { maxPowerW: 10_000, minStoredWh: 20_000, pricePerKwh: 0, spareWh: 0, plannedW: undefined, ...over };
}

interface Setting {
  prices: number[];
  baseW: number[];
  rate?: Partial<Tariff>;
  charger?: Partial<Evse>;
  ocpp?: Partial<Evse["ocpp"]>;
  vehicle?: Partial<Session>;
  maxPowerW?: number;
}

/** One vehicle at a bidirectional DC charger of 10 kW for as many hours from 08:00 as there are prices. */
function site({ prices, baseW, rate, charger, ocpp, vehicle, maxPowerW = 100_000 }: Setting): Problem {
  const dc = { supply: "DC" as const, maxPowerW: 10_000, maxDischargePowerW: 10_000 };
  return problem({
    slotMs: HOUR,
    site: {
      siteId: "site",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit({ maxPowerW, baseLoadW: series(START_MS, HOUR, baseW) })],
      evses: [evse({ ...dc, ...charger }, { version: "2.1", limitStep: 1, rateUnit: "W", ...ocpp })],
      tariff: tariff({ prices, ...rate }),
    },
    sessions: [
      session({
        departureMs: START_MS + prices.length * HOUR,
        energyWh: 0,
        battery: battery(),
        discharge: discharge(),
        ...vehicle,
      }),
    ],
  });
}

describe("one vehicle that may give", () => {
  it("gives at the dear hour and charges it again at the cheap one, losses both ways", () => {
    // 10 kWh at 0.50 save 5.00; 10 / 0.81 = 12.346 kWh again at 0.10 cost 1.2346.
    const one = plan(site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0] }));
    const [a] = one.sessionPlans;
    expect(a.powerW[0]).toBe(-10_000);
    const again = a.powerW[1] + a.powerW[2];
    expect(again).toBeGreaterThanOrEqual(12_345);
    expect(again).toBeLessThanOrEqual(12_347);
    expect(a.dischargedEnergyWh).toBe(10_000);
    expect(a.plannedEnergyWh).toBeCloseTo(0, 6);
    expect(a.shortfallWh).toBe(0);
    // 10 kW of the base load's 20 are left to import.
    expect(one.importPowerW[0]).toBe(10_000);
    expect(one.summary.siteEnergyCost).toBeCloseTo(10 * 0.5 + 12.346 * 0.1, 3);
    expect(one.status).toBe("OPTIMAL");
    expect(one.solve.gap).toBeLessThan(1e-3);
  });

  it("gives nothing where the losses or the driver's price eat the gain", () => {
    // 1 kWh at 0.12 needs 1.2346 kWh again at 0.10 = 0.1235.
    const lossy = plan(site({ prices: [0.12, 0.1, 0.1], baseW: [20_000, 0, 0] }));
    expect(Math.min(...lossy.sessionPlans[0].powerW)).toBe(0);
    // 0.50 - 0.1235 = 0.3765 is what a kWh is worth.
    const paid = (pricePerKwh: number) =>
      plan(
        site({
          prices: [0.5, 0.1, 0.1],
          baseW: [20_000, 0, 0],
          vehicle: { discharge: discharge({ pricePerKwh }) },
        }),
      );
    expect(paid(0.37).sessionPlans[0]).toMatchObject({ dischargedEnergyWh: 10_000, dischargePayment: 3.7 });
    expect(paid(0.38).sessionPlans[0].dischargedEnergyWh).toBe(0);
  });

  it("keeps what is to be kept", () => {
    // 40 - 38 = 2 kWh may go: 1.8 kWh arrive.
    const vehicle = { discharge: discharge({ minStoredWh: 38_000 }) };
    const [a] = plan(site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0], vehicle })).sessionPlans;
    expect(a.powerW[0]).toBe(-1800);
    // Below it nothing is given until its own need has taken it above.
    const low = { battery: battery({ storedWh: 36_000 }), energyWh: 10_000, ...vehicle };
    const later = plan(site({ prices: [0.5, 0.1, 0.5, 0.1], baseW: [20_000, 0, 20_000, 0], vehicle: low }));
    expect(later.sessionPlans[0].powerW[0]).toBe(0);
    expect(later.sessionPlans[0].powerW[1]).toBe(10_000);
    // 36 + 9 - 38 = 7 kWh, of which 6.3 arrive.
    expect(later.sessionPlans[0].powerW[2]).toBe(-6300);
  });

  it("charges first what it gives later, up to a full battery", () => {
    // From 50 of 60 kWh: 11.111 kWh at the meter fill it; 9 kWh kept of 10 taken out arrive.
    const vehicle = { battery: battery({ storedWh: 50_000 }), discharge: discharge({ minStoredWh: 50_000 }) };
    const [a] = plan(site({ prices: [0.1, 0.1, 0.5], baseW: [0, 0, 20_000], vehicle })).sessionPlans;
    expect(a.powerW[2]).toBe(-9000);
    expect(a.powerW[0] + a.powerW[1]).toBeGreaterThanOrEqual(11_111);
    expect(a.powerW[0] + a.powerW[1]).toBeLessThanOrEqual(11_112);
  });

  it("still leaves with what it needs, and with its minimum when that is due", () => {
    const vehicle = { energyWh: 15_000 };
    const one = plan(site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0], vehicle }));
    const [a] = one.sessionPlans;
    expect(a.shortfallWh).toBe(0);
    expect(a.plannedEnergyWh).toBe(15_000);
    // Two hours of 10 kW: 15 kWh of its own and 5 kWh for 4.05 that it gives.
    expect(a.powerW[0]).toBe(-4050);
    const minimum = { energyWh: 10_000, byMs: START_MS + 2 * HOUR };
    const [b] = plan(
      site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0], vehicle: { ...vehicle, minimum } }),
    ).sessionPlans;
    expect(b.minimumShortfallWh).toBe(0);
    expect(b.powerW[0]).toBe(0);
  });

  it("gives what it has to spare without charging it again", () => {
    const vehicle = { discharge: discharge({ spareWh: 20_000 / 0.9, minStoredWh: 0 }) };
    const [a] = plan(
      site({ prices: [0.2, 0.2, 0.2], baseW: [20_000, 20_000, 20_000], vehicle }),
    ).sessionPlans;
    expect(a.dischargedEnergyWh).toBeGreaterThan(17_990);
    expect(a.dischargedEnergyWh).toBeLessThanOrEqual(18_000);
    expect(Math.max(...a.powerW)).toBeLessThanOrEqual(0);
  });

  it("charges again what it could spare where that is kept in it, or it is paid to", () => {
    // Nothing of its 40 kWh may go: 10 kWh in, 9 stored, 8.1 out.
    const kept = { discharge: discharge({ spareWh: 20_000 / 0.9, minStoredWh: 40_000 }) };
    const first = plan(site({ prices: [0.1, 0.5], baseW: [0, 20_000], vehicle: kept }));
    expect([...first.sessionPlans[0].powerW]).toEqual([10_000, -8100]);
    expect(first.summary.siteEnergyCost).toBeCloseTo(10 * 0.1 + 11.9 * 0.5, 6);
    expect(first.status).toBe("OPTIMAL");
    const free = { discharge: discharge({ spareWh: 20_000 / 0.9, minStoredWh: 0 }) };
    const paid = plan(site({ prices: [-0.1, 0.5], baseW: [0, 20_000], vehicle: free }));
    expect([...paid.sessionPlans[0].powerW]).toEqual([10_000, -10_000]);
    expect(paid.status).toBe("OPTIMAL");
  });

  it("gives before it may have left only where the odds are worth it", () => {
    const likely = (probability: number, hours: number) => {
      const departureChances = [{ atMs: START_MS + hours * HOUR, probability }];
      const one = site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0], vehicle: { departureChances } });
      return plan({ ...one, unmetPricePerKwh: 1 }).sessionPlans[0].powerW[0];
    };
    // A kWh given saves 0.50 - 0.1235, and is 1.235 kWh missing if it leaves at 09:00.
    expect(likely(0.2, 1)).toBe(-10_000);
    expect(likely(0.4, 1)).toBe(0);
    // By 10:00 it has charged again the 8.1 kWh that an hour's 10 kWh replace.
    expect(likely(0.9, 2)).toBe(-8100);
  });

  it("does not give while import costs less than nothing", () => {
    const one = plan(site({ prices: [-0.1, 0.3, -0.1], baseW: [20_000, 20_000, 20_000] }));
    const [a] = one.sessionPlans;
    expect(a.powerW[0]).toBeGreaterThanOrEqual(0);
    expect(a.powerW[2]).toBeGreaterThanOrEqual(0);
    expect(a.powerW[1]).toBe(-10_000);
  });

  it("lowers a demand charge's peak, and exports only where that pays", () => {
    const peak = plan(
      site({ prices: [0.2, 0.2, 0.2], baseW: [20_000, 5000, 5000], rate: { demandPricePerKw: 10 } }),
    );
    // 20 kW less what it gives, against 5 kW and what it charges again: 20 - y = 5 + (y / 0.81) / 2.
    const y = 15 / (1 + 1 / 0.81 / 2);
    expect(-peak.sessionPlans[0].powerW[0] / 1000).toBeCloseTo(y, 2);
    expect(peak.summary.peakImportW / 1000).toBeCloseTo(20 - y, 2);
    const paid = (price: number) => ({ exportPricePerKwh: series(START_MS, HOUR, [price, 0, 0]) });
    const exporting = (price: number) =>
      plan(site({ prices: [0.5, 0.1, 0.1], baseW: [4000, 0, 0], rate: paid(price) }));
    // 0.1235 to charge a kWh again.
    expect(exporting(0.12).sessionPlans[0].powerW[0]).toBe(-4000);
    expect(exporting(0.13)).toMatchObject({ summary: { dischargedEnergyWh: 10_000, exportEnergyWh: 6000 } });
  });

  it("lets nothing flow back above a limit, as if nothing else drew", () => {
    const [a] = plan(
      site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0], maxPowerW: 21_000 }),
    ).sessionPlans;
    expect(a.powerW[0]).toBe(-10_000);
    const tight = { ...site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0] }) };
    tight.site = {
      ...tight.site,
      circuits: [...tight.site.circuits, circuit({ circuitId: "row", parent: 0, maxPowerW: 7000 })],
      evses: tight.site.evses.map((one) => ({ ...one, circuit: 1 })),
    };
    expect(plan(tight).sessionPlans[0].powerW[0]).toBe(-7000);
    // A third of the power on each line at 230 V: 20 A are 13.8 kW, 10 A are 6.9 kW.
    tight.site.circuits[1] = circuit({ circuitId: "row", parent: 0, maxCurrentA: 10 });
    expect(plan(tight).sessionPlans[0].powerW[0]).toBe(-6900);
  });

  it("is only charged in the safe plan", () => {
    const { plan: safe } = planSafely(site({ prices: [0.5, 0.1, 0.1], baseW: [20_000, 0, 0] }));
    expect(Math.min(...safe.sessionPlans[0].powerW)).toBe(0);
  });
});

describe("its profile", () => {
  const chargedAndGiven = () =>
    plan(
      site({
        prices: [0.5, 0.1, 0.1, 0.1],
        baseW: [20_000, 0, 0, 0],
        charger: { supply: "AC", maxPowerW: 22_080, maxCurrentA: 32 },
        ocpp: { rateUnit: "A", limitStep: 0.1 },
      }),
    );

  it("has modes by OCPP 2.1: a setpoint to give, a limit to charge, neither in between", () => {
    const [{ command }] = chargedAndGiven().sessionPlans;
    const { chargingProfile } = JSON.parse(command?.payloadJson ?? "");
    const periods = chargingProfile.chargingSchedule[0].chargingSchedulePeriod;
    // 10 kW on three phases of 230 V: 14.49 A, down to 14.4.
    expect(periods[0]).toEqual({
      startPeriod: 0,
      numberPhases: 3,
      operationMode: "CentralSetpoint",
      setpoint: -14.4,
    });
    for (const period of periods.slice(1)) {
      if (period.operationMode === "Idle")
        expect(Object.keys(period).sort()).toEqual(["numberPhases", "operationMode", "startPeriod"]);
      else {
        expect(period.operationMode).toBe("ChargingOnly");
        expect(period.limit).toBeGreaterThanOrEqual(6);
        expect(period).not.toHaveProperty("setpoint");
      }
    }
    expect(periods.at(-1).operationMode).toBe("Idle");
  });

  it("is by the schema of 2.1", () => {
    const [{ command }] = chargedAndGiven().sessionPlans;
    expect(validatorFor("2.1")(JSON.parse(command?.payloadJson ?? ""))).toEqual([]);
  });

  it("is read back as negative power, and refused where a mode has what it must not have", () => {
    const charger = evse({}, { version: "2.1", rateUnit: "W" });
    const payload = (period: object, version = "2.1") =>
      expand(
        JSON.stringify({
          evseId: 1,
          chargingProfile: {
            id: 1,
            stackLevel: 0,
            chargingProfilePurpose: "TxDefaultProfile",
            chargingProfileKind: "Absolute",
            chargingSchedule: [
              {
                id: 1,
                startSchedule: "2026-11-23T08:00:00Z",
                chargingRateUnit: "W",
                chargingSchedulePeriod: [{ startPeriod: 0, ...period }],
              },
            ],
          },
        }),
        { ...charger, ocpp: { ...charger.ocpp, version: version as "2.1" } },
        230,
      );
    expect(payload({ operationMode: "CentralSetpoint", setpoint: -500 })).toEqual([
      { atMs: START_MS, powerW: -500, numberPhases: 3 },
    ]);
    expect(payload({ operationMode: "Idle" })[0].powerW).toBe(0);
    for (const wrong of [
      { operationMode: "CentralSetpoint" },
      { operationMode: "CentralSetpoint", setpoint: -500, limit: 100 },
      { operationMode: "ChargingOnly", setpoint: -500 },
      { operationMode: "ChargingOnly", limit: 500, setpoint: 500 },
      { operationMode: "Idle", limit: 0 },
      { operationMode: "Idle", setpoint: 0 },
      { operationMode: "LocalFrequency", setpoint: 0 },
    ])
      expect(() => payload(wrong), JSON.stringify(wrong)).toThrow("chargingSchedulePeriod[0]");
    expect(() => payload({ operationMode: "Idle" }, "2.0.1")).toThrow("is not known");
  });
});

describe("random sites with vehicles that may give", () => {
  it("keep every battery within its bounds, and balance in every slot", { timeout: 300_000 }, () => {
    let givenWh = 0;
    let short = 0;
    for (let seed = 0; seed < 80; seed++) {
      const hard = hardProblem(seed, { vehicles: [1, 8], hours: 10 });
      const wired = seed % 2 === 0 ? hard : withWiring(hard, seed);
      const one = withGiving(seed % 3 === 0 ? withTaper(wired, seed) : wired, seed);
      const withThem = plan(one);
      const without = plan({
        ...one,
        sessions: one.sessions.map((each) => ({ ...each, discharge: undefined })),
      });
      const starts = one.slotStartsMs;
      const baseW = plan({ ...one, sessions: [] }).importPowerW;
      const vehiclesW = new Float64Array(starts.length - 1);
      withThem.sessionPlans.forEach(({ powerW, shortfallWh, dischargedEnergyWh }, i) => {
        const { battery: cell, discharge: bounds, arrivalMs, departureMs } = one.sessions[i];
        let storedWh = cell?.storedWh ?? 0;
        let gaveWh = 0;
        powerW.forEach((w, k) => {
          const fromMs = Math.max(starts[k], arrivalMs);
          const hours = Math.max(0, Math.min(starts[k + 1], departureMs) - fromMs) / HOUR;
          vehiclesW[k] += (w * hours) / ((starts[k + 1] - starts[k]) / HOUR);
          if (w >= 0 || cell === undefined || bounds === undefined) {
            expect(w, `seed ${seed}`).toBeGreaterThanOrEqual(0);
            storedWh += cell === undefined ? 0 : w * hours * cell.efficiency;
            if (cell !== undefined) storedWh = Math.min(storedWh, cell.capacityWh);
            return;
          }
          gaveWh -= w * hours;
          storedWh += (w * hours) / cell.efficiency;
          expect(storedWh, `seed ${seed}`).toBeGreaterThan(bounds.minStoredWh - 1);
          expect(-w, `seed ${seed}`).toBeLessThanOrEqual(bounds.maxPowerW);
        });
        expect(dischargedEnergyWh).toBeCloseTo(gaveWh, 3);
        givenWh += gaveWh;
        // Nobody who gives goes short for it.
        if (gaveWh > 0 && shortfallWh > 1) short++;
      });
      vehiclesW.forEach((w, k) => {
        const netW = withThem.importPowerW[k] - withThem.exportPowerW[k];
        const fullSlot = one.sessions.every(
          ({ arrivalMs, departureMs }) =>
            !(arrivalMs > starts[k] && arrivalMs < starts[k + 1]) &&
            !(departureMs > starts[k] && departureMs < starts[k + 1]),
        );
        if (fullSlot) expect(netW, `seed ${seed} slot ${k}`).toBeCloseTo(baseW[k] + w, 5);
        expect(withThem.importPowerW[k] * withThem.exportPowerW[k]).toBe(0);
      });
      expect(withThem.summary.shortfallWh, `seed ${seed}`).toBeLessThan(without.summary.shortfallWh + 2000);
      const { objective, bound, gap } = withThem.solve;
      // Of a flat load with storage no bound is proved; any other is one, and the gap is that to it.
      const isFlat = one.preference === "FLATTEST";
      if (isFlat && withThem.summary.dischargedEnergyWh > 0) expect(bound, `seed ${seed}`).toBeNaN();
      if (Number.isNaN(bound)) expect(isFlat, `seed ${seed}`).toBe(true);
      else {
        const dust = 1e-9 * Math.max(1, Math.abs(bound));
        expect(objective, `seed ${seed}`).toBeGreaterThanOrEqual(bound - dust);
        expect(Math.abs(gap * Math.abs(bound) - (objective - bound)), `seed ${seed}`).toBeLessThan(
          dust * 1e3,
        );
      }
    }
    expect(givenWh).toBeGreaterThan(50_000);
    expect(short).toBe(0);
  });
});

import { describe, expect, it } from "vitest";
import { chargingOf } from "../../src/domain/charging.ts";
import { measure } from "../../src/domain/measure.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { extract } from "../../src/model/extract.ts";
import { formulate } from "../../src/model/formulate.ts";
import { circuit, evse, problem, START_MS, session, slotsOf, tariff } from "../support/problems.ts";

const HOUR = 3_600_000;

/** Hourly slots with a demand charge on hourly means; chargers of three phases in whole amperes, 690 W a step. */
function garage(sessions: Parameters<typeof session>[0][], hours: number): Problem {
  return problem({
    site: {
      siteId: "garage",
      timeZone: "UTC",
      nominalVoltageV: 230,
      pvPowerW: undefined,
      battery: undefined,
      circuits: [circuit()],
      evses: sessions.map((_, n) => evse({ stationId: `CS${n}` }, { limitStep: 1 })),
      tariff: tariff({ prices: [0.2], demandPricePerKw: 10, demandWindowMs: HOUR }),
    },
    sessions: sessions.map((one, n) =>
      session({ sessionId: `s${n}`, evse: n, departureMs: START_MS + hours * HOUR, ...one }),
    ),
    slotStartsMs: slotsOf(START_MS, START_MS + hours * HOUR, HOUR),
  });
}

function extracted(one: Problem, solvedW: number[][]): { powerW: number[][]; demandCost: number } {
  const charging = chargingOf(one);
  const plan = extract(
    formulate(one, charging, false),
    solvedW.map((powerW) => Float64Array.from(powerW)),
  );
  return { powerW: plan.map((w) => Array.from(w)), demandCost: measure(one, charging, plan).demandCost };
}

describe("whole steps under a demand charge", () => {
  it("spread what rounding down has cost over the slots", () => {
    // 21 kWh at 5.25 kW are 7.6 A: 7 A in one hour and 8 A in three deliver 21.39 kWh.
    const { powerW, demandCost } = extracted(garage([{ energyWh: 21_000 }], 4), [[5250, 5250, 5250, 5250]]);
    expect(powerW[0].toSorted()).toEqual([4830, 5520, 5520, 5520]);
    expect(demandCost).toBeCloseTo(10 * 5.52, 9);
  });

  it("take a vehicle that is there for part of a window for its part of the mean", () => {
    // The second one draws 22.08 kW for a tenth of the first hour: the peak there is 5.25 + 2.208 kW,
    // not 27 kW. The five steps that the first one lost fit below it in the two hours after.
    const one = garage(
      [
        { energyWh: 42_000 },
        { energyWh: 2208, arrivalMs: START_MS + 0.9 * HOUR, departureMs: START_MS + HOUR },
      ],
      8,
    );
    const { powerW, demandCost } = extracted(one, [
      [5250, 5250, 5250, 5250, 5250, 5250, 5250, 5250],
      [22_080, 0, 0, 0, 0, 0, 0, 0],
    ]);
    expect(powerW[0]).toEqual([4830, 6900, 6210, 4830, 4830, 4830, 4830, 4830]);
    expect(demandCost).toBeCloseTo(10 * (4.83 + 2.208), 9);
  });

  it("start a slot that was off before the peak rises", () => {
    // 14 A in the first hour are 9.66 kWh; the rest fits below the peak of 10 kW in the second.
    const { powerW, demandCost } = extracted(garage([{ energyWh: 10_000 }], 2), [[10_000, 0]]);
    expect(powerW[0]).toEqual([9660, 4140].map((w) => expect.closeTo(w, 6)));
    expect(demandCost).toBeCloseTo(10 * 9.66, 9);
  });
});

import { describe, expect, it } from "vitest";
import type { Evse, OcppCapabilities, Phase, Problem, Session } from "../../src/domain/problem.ts";
import { toProfile } from "../../src/ocpp/profile.ts";
import { evse, problem, START_MS, series, session } from "../support/problems.ts";

const MINUTE_MS = 60_000;

interface Setup {
  evse?: Partial<Evse>;
  ocpp?: Partial<OcppCapabilities>;
  session?: Partial<Session>;
  slotStartsMs?: number[];
}

/** One vehicle from 08:00 to 09:00 in four slots of 15 minutes, 230 V. */
function oneHour({ evse: ofEvse, ocpp, session: ofSession, ...rest }: Setup = {}): Problem {
  return problem({
    site: { ...problem().site, evses: [evse(ofEvse, ocpp)] },
    sessions: [session({ departureMs: START_MS + 60 * MINUTE_MS, ...ofSession })],
    slotStartsMs: [0, 15, 30, 45, 60].map((minutes) => START_MS + minutes * MINUTE_MS),
    ...rest,
  });
}

/** [startPeriod in seconds, limit] of the profile's periods. */
function periodsOf(setup: Setup, powerW: number[]): [number, number][] {
  const { profile } = toProfile(oneHour(setup), 0, Float64Array.from(powerW));
  return profile.schedules[0].periods.map(({ startPeriodS, limit }) => [startPeriodS, limit ?? Number.NaN]);
}

function sentW(setup: Setup, powerW: number[]): number[] {
  return [...toProfile(oneHour(setup), 0, Float64Array.from(powerW)).powerW];
}

describe("limits", () => {
  it("are A per phase, rounded down to a tenth, and 0 under 6 A", () => {
    // 11040 / 690 = 16; 5600 / 690 = 8.116; 4100 / 690 = 5.94.
    const powerW = [11_040, 11_040, 5600, 4100];
    expect(periodsOf({}, powerW)).toEqual([
      [0, 16],
      [1800, 8.1],
      [2700, 0],
    ]);
    expect(sentW({}, powerW)).toEqual([11_040, 11_040, 5589, 0]);
  });

  it("spread over the phases that the vehicle draws from", () => {
    // 3680 W are 16 A on one phase, 8 A on two, 5.33 A on three: not usable.
    const numberPhases = (phaseCount: number, phases: Evse["phases"]) =>
      toProfile(
        oneHour({ evse: { phases }, session: { phaseCount } }),
        0,
        Float64Array.of(3680, 3680, 3680, 3680),
      ).profile.schedules[0].periods[0];
    expect(numberPhases(1, [1, 2, 3])).toMatchObject({ limit: 16, numberPhases: 1 });
    expect(numberPhases(2, [1, 2, 3])).toMatchObject({ limit: 8, numberPhases: 2 });
    expect(numberPhases(3, [1, 2, 3])).toMatchObject({ limit: 0, numberPhases: 3 });
    expect(numberPhases(3, [2])).toMatchObject({ limit: 16, numberPhases: 1 });
  });

  it("in W are the sum over the phases, in the charger's step", () => {
    expect(periodsOf({ ocpp: { rateUnit: "W", limitStep: 1 } }, [7359.9, 4140, 4139.9, 0])).toEqual([
      [0, 7359],
      [900, 4140],
      [1800, 0],
    ]);
    expect(periodsOf({ ocpp: { rateUnit: "W", limitStep: 100 } }, [7359.9, 4200, 4199, 4140])).toEqual([
      [0, 7300],
      [900, 4200],
      [1800, 0],
    ]);
  });

  it("between two lines are A at the voltage between them, and say one phase", () => {
    const lines = { supply: "AC_LINE_TO_LINE" as const, phases: [2, 3] as Phase[], maxPowerW: 7000 };
    for (const [rateUnit, limit] of [
      ["A", 30.7],
      ["W", 6400],
    ] as const) {
      const one = problem({
        site: { ...problem().site, nominalVoltageV: 120, evses: [evse(lines, { rateUnit })] },
        sessions: [session({ phaseCount: 1 })],
      });
      // 6400 W / 207.8 V = 30.79 A.
      const { profile, powerW } = toProfile(one, 0, new Float64Array(16).fill(6400));
      expect(profile.schedules[0].periods[0]).toEqual({ startPeriodS: 0, limit, numberPhases: 1 });
      expect(powerW[0]).toBeCloseTo(rateUnit === "A" ? 30.7 * 120 * Math.sqrt(3) : 6400, 9);
    }
  });

  it("on DC say no number of phases", () => {
    const setup: Setup = { evse: { supply: "DC", maxPowerW: 50_000, minPowerW: 2000 } };
    const { profile, powerW } = toProfile(oneHour(setup), 0, Float64Array.of(49_999.96, 2000, 1999.9, 150));
    expect(profile.chargingRateUnit).toBe("W");
    expect(profile.schedules[0].periods).toEqual([
      { startPeriodS: 0, limit: 49_999.9, numberPhases: undefined },
      { startPeriodS: 900, limit: 2000, numberPhases: undefined },
      { startPeriodS: 1800, limit: 0, numberPhases: undefined },
    ]);
    expect([...powerW]).toEqual([49_999.9, 2000, 0, 0]);
  });

  it("in A on DC are those of three phases, which an absent number of phases means", () => {
    const setup: Setup = { evse: { supply: "DC", maxPowerW: 50_000 }, ocpp: { rateUnit: "A" } };
    // 50000 / 690 = 72.46
    const { profile, powerW } = toProfile(oneHour(setup), 0, Float64Array.of(50_000, 0, 0, 0));
    expect(profile.schedules[0].periods[0]).toEqual({
      startPeriodS: 0,
      limit: 72.4,
      numberPhases: undefined,
    });
    expect(powerW[0]).toBeCloseTo(49_956, 6);
  });

  it("are whole amperes for a charger that takes no others, the minimum rounded up", () => {
    const ocpp = { limitStep: 1 };
    expect(periodsOf({ ocpp }, [16.9 * 690, 6 * 690, 6.9 * 690, 5.9 * 690])).toEqual([
      [0, 16],
      [900, 6],
      [2700, 0],
    ]);
    // A vehicle that needs 6.5 A needs 7 from such a charger.
    expect(periodsOf({ ocpp, session: { minCurrentA: 6.5 } }, [6.9 * 690, 7 * 690, 0, 0])).toEqual([
      [0, 0],
      [900, 7],
      [1800, 0],
    ]);
  });

  it("keep the greatest of all minimums", () => {
    const powerW = [10 * 690, 9 * 690, 8 * 690, 7 * 690];
    expect(periodsOf({ session: { minCurrentA: 8 } }, powerW).at(-1)).toEqual([2700, 0]);
    expect(periodsOf({ evse: { minCurrentA: 9 } }, powerW).at(-1)).toEqual([1800, 0]);
    expect(periodsOf({ evse: { minPowerW: 6900 } }, powerW).at(-1)).toEqual([900, 0]);
  });

  it("lose no step to binary fractions, and gain none", () => {
    for (let tenths = 60; tenths <= 320; tenths++) {
      const exactW = tenths * 69;
      for (const sameW of [exactW, (tenths / 10) * 230 * 3, 230 * 3 * tenths * 0.1, exactW * (1 - 1e-10)]) {
        expect(periodsOf({}, [sameW, 0, 0, 0])[0][1]).toBe(tenths / 10);
      }
      expect(periodsOf({}, [exactW * (1 + 1e-8), 0, 0, 0])[0][1]).toBe(tenths / 10);
      if (tenths > 60) expect(periodsOf({}, [exactW * (1 - 1e-8), 0, 0, 0])[0][1]).toBe((tenths - 1) / 10);
    }
  });

  it("are never 0 where the charger rejects 0", () => {
    const ocpp = { rejectsZeroLimit: true };
    expect(periodsOf({ ocpp }, [0, 11_040, 3000, 0])).toEqual([
      [0, 6],
      [900, 16],
      [1800, 6],
    ]);
    expect(sentW({ ocpp }, [0, 11_040, 3000, 0])).toEqual([4140, 11_040, 4140, 4140]);
  });

  it("are 0 for a vehicle whose least power the charger can't give", () => {
    expect(periodsOf({ session: { minCurrentA: 40 } }, [22_080, 22_080, 0, 0])).toEqual([[0, 0]]);
  });

  it("take a solver's tiny negative power as 0 and refuse what is no number", () => {
    expect(periodsOf({}, [-1e-9, 0, 0, 0])).toEqual([[0, 0]]);
    for (const notFinite of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => periodsOf({}, [4140, notFinite, 0, 0])).toThrow(
        expect.objectContaining({ code: "INTERNAL" }),
      );
    }
  });
});

describe("time", () => {
  it("ends safe at departure, also at the end of the horizon and after it", () => {
    const always = [11_040, 11_040, 11_040, 11_040];
    expect(periodsOf({}, always)).toEqual([
      [0, 16],
      [3600, 0],
    ]);
    expect(periodsOf({ session: { departureMs: START_MS + 90 * MINUTE_MS } }, always)).toEqual([
      [0, 16],
      [3600, 0],
    ]);
    expect(periodsOf({ ocpp: { rejectsZeroLimit: true } }, always)).toEqual([
      [0, 16],
      [3600, 6],
    ]);
  });

  it("starts at arrival, inside a slot, and counts from there", () => {
    const stay = { arrivalMs: START_MS + 5 * MINUTE_MS, departureMs: START_MS + 50 * MINUTE_MS };
    const setup = { session: stay };
    const { profile, powerW } = toProfile(oneHour(setup), 0, Float64Array.of(11_040, 6900, 6900, 5520));
    expect(profile.schedules[0].startScheduleMs).toBe(START_MS + 5 * MINUTE_MS);
    expect(profile.schedules[0].periods.map(({ startPeriodS, limit }) => [startPeriodS, limit])).toEqual([
      [0, 16],
      [600, 10],
      [2400, 8],
      [2700, 0],
    ]);
    expect([...powerW]).toEqual([11_040, 6900, 6900, 5520]);
  });

  it("begins earlier for a clock that is behind: the first period lasts longer, all others stay", () => {
    const late = oneHour({ ocpp: { clockLagMs: 60_000 } });
    const [schedule] = toProfile(late, 0, Float64Array.of(11_040, 6900, 6900, 6900)).profile.schedules;
    expect(schedule.startScheduleMs).toBe(START_MS - 60_000);
    // 08:15 and 09:00, counted from 07:59.
    expect(schedule.periods.map(({ startPeriodS, limit }) => [startPeriodS, limit])).toEqual([
      [0, 16],
      [960, 10],
      [3660, 0],
    ]);
  });

  it("counts from the start of the transaction where the charger wants Relative, safe until now", () => {
    const of = (ocpp: Partial<OcppCapabilities>, over: Partial<Session>, powerW: number[]) => {
      const setup = { ocpp: { wantsRelativeProfile: true, ...ocpp }, session: over };
      const { profile } = toProfile(oneHour(setup), 0, Float64Array.from(powerW));
      const [{ startScheduleMs, periods }] = profile.schedules;
      expect(profile.chargingProfileKind).toBe("Relative");
      expect(startScheduleMs).toBeUndefined();
      return periods.map(({ startPeriodS, limit }) => [startPeriodS, limit]);
    };
    const since = { transactionStartMs: START_MS - 1000_000 };
    expect(of({}, since, [11_040, 6900, 6900, 6900])).toEqual([
      [0, 0],
      [1000, 16],
      [1900, 10],
      [4600, 0],
    ]);
    // A pause is one with the time before.
    expect(of({}, since, [0, 6900, 6900, 6900])).toEqual([
      [0, 0],
      [1900, 10],
      [4600, 0],
    ]);
    expect(of({ rejectsZeroLimit: true }, since, [11_040, 11_040, 11_040, 11_040])).toEqual([
      [0, 6],
      [1000, 16],
      [4600, 6],
    ]);
    // The time before takes one of its periods: 16 and 10 A become 10 A.
    expect(of({ maxPeriods: 3 }, since, [11_040, 6900, 6900, 6900])).toEqual([
      [0, 0],
      [1000, 10],
      [4600, 0],
    ]);
    // It begins with the plan, or in it.
    for (const arrivalMs of [START_MS, START_MS + 60_000]) {
      const now = { arrivalMs, transactionStartMs: arrivalMs };
      expect(of({}, now, [11_040, 11_040, 11_040, 11_040])[0]).toEqual([0, 16]);
    }
  });

  it("gives up fractions of a second at both ends", () => {
    const stay = { arrivalMs: START_MS + 400, departureMs: START_MS + 30 * MINUTE_MS + 999 };
    const { profile, powerW } = toProfile(
      oneHour({ session: stay }),
      0,
      Float64Array.of(11_040, 11_040, 6900, 0),
    );
    expect(profile.schedules[0].startScheduleMs).toBe(START_MS + 1000);
    expect(profile.schedules[0].periods.map(({ startPeriodS, limit }) => [startPeriodS, limit])).toEqual([
      [0, 16],
      [1799, 0],
    ]);
    // The third slot has less than a second of the stay.
    expect([...powerW]).toEqual([11_040, 11_040, 0, 0]);
  });

  it("gives nothing outside the stay, whatever is planned there", () => {
    const always = [11_040, 11_040, 11_040, 11_040];
    const over = { arrivalMs: START_MS - 60 * MINUTE_MS, departureMs: START_MS };
    const later = { arrivalMs: START_MS + 60 * MINUTE_MS, departureMs: START_MS + 120 * MINUTE_MS };
    const blink = { arrivalMs: START_MS + 100, departureMs: START_MS + 900 };
    for (const stay of [over, later, blink]) {
      expect(periodsOf({ session: stay }, always)).toEqual([[0, 0]]);
      expect(sentW({ session: stay }, always)).toEqual([0, 0, 0, 0]);
    }
    const middle = { arrivalMs: START_MS + 15 * MINUTE_MS, departureMs: START_MS + 30 * MINUTE_MS };
    expect(sentW({ session: middle }, always)).toEqual([0, 11_040, 0, 0]);
  });
});

describe("compression", () => {
  const powerW = [11_040, 5520, 11_040, 6900];

  it("counts the safe end", () => {
    expect(periodsOf({ ocpp: { maxPeriods: 5 } }, powerW)).toHaveLength(5);
    // 16 8 16 10 end: lowering the third slot's 16 to 10 costs 6, the first one's to 8 costs 8.
    expect(periodsOf({ ocpp: { maxPeriods: 4 } }, powerW)).toEqual([
      [0, 16],
      [900, 8],
      [1800, 10],
      [3600, 0],
    ]);
    // {16} {8,16,10} {end} loses 8 + 2, {16,8} {16,10} {end} 8 + 6.
    expect(periodsOf({ ocpp: { maxPeriods: 3 } }, powerW)).toEqual([
      [0, 16],
      [900, 8],
      [3600, 0],
    ]);
    expect(periodsOf({ ocpp: { maxPeriods: 1 } }, powerW)).toEqual([[0, 0]]);
  });

  it("reports what is then allowed", () => {
    expect(sentW({ ocpp: { maxPeriods: 3 } }, powerW)).toEqual([11_040, 5520, 5520, 5520]);
  });

  it("spares the end where the plan has ended before", () => {
    expect(periodsOf({ ocpp: { maxPeriods: 2 } }, [11_040, 11_040, 0, 0])).toEqual([
      [0, 16],
      [1800, 0],
    ]);
  });

  it("stays within the 1,024 periods that the 2.x schemas take", () => {
    const slotStartsMs = Array.from({ length: 1201 }, (_, k) => START_MS + k * MINUTE_MS);
    const upAndDown = Array.from({ length: 1200 }, (_, k) => (k % 2 === 0 ? 11_040 : 4140));
    const count = (version: OcppCapabilities["version"]) =>
      periodsOf(
        {
          slotStartsMs,
          session: { departureMs: slotStartsMs[1200] },
          ocpp: { version, maxPeriods: 5000 },
        },
        upAndDown,
      ).length;
    expect(count("2.0.1")).toBeLessThanOrEqual(1024);
    expect(count("2.1")).toBeLessThanOrEqual(1024);
    expect(count("1.6")).toBe(1201);
  });
});

describe("identity", () => {
  const profileOf = (setup: Setup) => toProfile(oneHour(setup), 0, new Float64Array(4)).profile;
  const installed = (chargingProfileId: number) => ({
    installed: { powerW: series(START_MS, MINUTE_MS, [0]), chargingProfileId },
  });

  it("is a TxProfile of the transaction where there is one", () => {
    expect(
      profileOf({ evse: { evseId: 4 }, ocpp: { stackLevel: 7 }, session: { transactionId: "tx-a" } }),
    ).toMatchObject({
      id: 41,
      stackLevel: 7,
      chargingProfilePurpose: "TxProfile",
      chargingProfileKind: "Absolute",
      transactionId: "tx-a",
    });
  });

  it("is a TxDefaultProfile without a transaction, or where the charger is better off with it", () => {
    const byDefault = { id: 42, chargingProfilePurpose: "TxDefaultProfile", transactionId: undefined };
    expect(profileOf({ evse: { evseId: 4 }, session: { transactionId: "" } })).toMatchObject(byDefault);
    expect(profileOf({ evse: { evseId: 4 }, ocpp: { prefersTxDefaultProfile: true } })).toMatchObject(
      byDefault,
    );
  });

  it("keeps the id that is installed", () => {
    expect(profileOf({ session: installed(77) }).id).toBe(77);
    expect(profileOf({ session: installed(0) }).id).toBe(11);
  });
});

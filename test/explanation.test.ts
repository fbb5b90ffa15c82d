import { describe, expect, it } from "vitest";
import type { Problem, Session } from "../src/domain/problem.ts";
import { planSafely, planSite } from "../src/engine.ts";
import { clockOf } from "../src/explanation.ts";
import { createGlpk } from "../src/solve/glpk.ts";
import { createHighs } from "../src/solve/highs.ts";
import { circuit, evse, problem, START_MS, session, slotsOf, tariff } from "./support/problems.ts";

const HOUR = 3_600_000;
const solvers = { glpk: await createGlpk(), highs: await createHighs() };

/** Vehicles at chargers of 32 A on three phases, 22.08 kW, in quarters of an hour from 08:00. */
function site(sessions: Partial<Session>[], over: Partial<Problem["site"]> = {}): Problem {
  const problemOf = problem();
  return {
    ...problemOf,
    site: {
      ...problemOf.site,
      evses: sessions.map((_, n) => evse({ stationId: `CS${n}` })),
      ...over,
    },
    sessions: sessions.map((one, n) => session({ sessionId: `s${n}`, evse: n, ...one })),
    slotStartsMs: slotsOf(START_MS, START_MS + 8 * HOUR, HOUR / 4),
    preference: over.tariff === undefined ? "EARLIEST" : "LOWEST_COST",
  };
}

function told(one: Problem): string[] {
  return planSite(one, solvers, () => 60_000).plan.sessionPlans.map(({ explanation }) => explanation);
}

describe("a plan in plain words", () => {
  it("says from when to when a vehicle charges, and that the lower price was worth waiting for", () => {
    // 22.08 kWh take an hour: 09:00 to 10:00 at 0.20 instead of 08:00 to 09:00 at 0.40.
    const one = site([{ energyWh: 22_080, departureMs: START_MS + 4 * HOUR }], {
      tariff: tariff({ prices: [0.4, 0.2, 0.3] }),
    });
    expect(told(one)).toEqual([
      "Gets all 22.1 kWh from 09:00 to 10:00, at 0.200 EUR a kWh; at once it would be 0.400.",
    ]);
  });

  it("tells times on the site's clock, with the weekday of another day", () => {
    const one = site(
      [{ energyWh: 22_080, arrivalMs: START_MS + 7 * HOUR, departureMs: START_MS + 8 * HOUR }],
      {
        timeZone: "Pacific/Auckland",
      },
    );
    // 15:00 UTC on Monday 23 November is 04:00 on Tuesday; the plan starts at 21:00 on Monday.
    expect(told(one)).toEqual(["Gets all 22.1 kWh from Tue 04:00 to Tue 05:00."]);
  });

  it("tells times right on the days on which the clocks change", () => {
    // Berlin leaves summer time at 01:00 UTC on 25 October 2026 and enters it on 28 March 2027.
    const at = (time: string) => Date.parse(time);
    const clock = (start: string) =>
      clockOf({
        ...site([]),
        site: { ...site([]).site, timeZone: "Europe/Berlin" },
        slotStartsMs: [at(start)],
      });
    const autumn = clock("2026-10-24T22:00:00Z");
    expect([autumn(at("2026-10-25T00:30:00Z")), autumn(at("2026-10-25T01:30:00Z"))]).toEqual([
      "02:30",
      "02:30",
    ]);
    expect(autumn(at("2026-10-25T23:15:00Z"))).toBe("Mon 00:15");
    const spring = clock("2027-03-27T23:00:00Z");
    expect([spring(at("2027-03-28T00:59:00Z")), spring(at("2027-03-28T01:00:00Z"))]).toEqual([
      "01:59",
      "03:00",
    ]);
  });

  it("reckons what the stay allows and what an hour more would bring", () => {
    // Half an hour at 22.08 kW is 11.04 kWh; an hour more would bring 22.08 kWh, of which 8.96 are missing.
    const one = site([{ energyWh: 20_000, departureMs: START_MS + HOUR / 2 }]);
    expect(told(one)).toEqual([
      "Misses 9.0 kWh of 20.0 kWh. 22.1 kW, the most that its charger gives, for all of its 30 min is 11.0 kWh. " +
        "One more hour of stay would bring 9.0 kWh.",
    ]);
  });

  it("names the circuit that is full, when, and what one more kW there would bring", () => {
    // The feeder carries 11.04 kW: in two hours 22.08 of 30 kWh. A kW more for two hours is 2 kWh.
    const one = site([{ energyWh: 30_000, departureMs: START_MS + 2 * HOUR }], {
      circuits: [circuit(), circuit({ circuitId: "feeder", parent: 0, maxPowerW: 11_040 })],
      evses: [evse({ circuit: 1 })],
    });
    expect(told(one)).toEqual([
      "Misses 7.9 kWh of 30.0 kWh. feeder is full 08:00 to 10:00: one more kW for it there would bring 2.0 kWh. " +
        "One more hour of stay would bring 7.9 kWh.",
    ]);
  });

  it("says where an hour more would not help", () => {
    // The other vehicle has priority and is there until noon: nothing is left after 10:00 either.
    const one = site(
      [
        { energyWh: 30_000, departureMs: START_MS + 2 * HOUR },
        { energyWh: 90_000, departureMs: START_MS + 4 * HOUR, priority: 10 },
      ],
      { circuits: [circuit({ maxPowerW: 11_040 })] },
    );
    const [first] = told(one);
    expect(first).toMatch(
      /^Misses .* of 30\.0 kWh\. grid is full 08:00 to 10:00: one more kW for it there would bring 2\.0 kWh\. /,
    );
    expect(first).toMatch(/One more hour of stay would bring nothing: there is no room then either\.$/);
  });

  it("tells of a minimum that does not fit, and of vehicles that can't charge or need nothing", () => {
    const small = { circuits: [circuit({ maxCurrentA: 5 })] };
    expect(told(site([{ energyWh: 5000 }], small))[0]).toContain(
      "What is left for it on grid 08:00 to 12:00 is under its minimum of 4.1 kW.",
    );
    expect(told(site([{ energyWh: 5000, maxCurrentA: 5 }]))).toEqual([
      "Misses 5.0 kWh of 5.0 kWh. It can't charge: its maximum is below the minimum here.",
    ]);
    expect(told(site([{ energyWh: 0 }]))).toEqual(["Needs no energy."]);
  });

  it("takes what is missing by rounding for nothing: up to a thousandth of the need, 1 to 5 Wh", () => {
    // An hour at 22.08 kW is 22 080 Wh.
    const outcome = (energyWh: number) => {
      const one = site([{ energyWh, departureMs: START_MS + HOUR }]);
      return planSite(one, solvers, () => 60_000).plan.sessionPlans[0];
    };
    expect(outcome(22_084.5)).toMatchObject({
      shortfallWh: 0,
      shortfallCauses: [],
      plannedEnergyWh: 22_084.5,
      completeMs: START_MS + HOUR,
      explanation: "Gets all 22.1 kWh from 08:00 to 09:00.",
    });
    expect(outcome(22_086)).toMatchObject({
      shortfallWh: expect.closeTo(6, 6),
      shortfallCauses: ["STAY_TOO_SHORT", "EVSE_LIMIT"],
      completeMs: undefined,
      explanation: expect.stringMatching(/^Misses 6 Wh of 22\.1 kWh\./),
    });
    // In half a minute it is 184 Wh: of 186 more than a thousandth is missing, and more than a Wh.
    const brief = (energyWh: number) => {
      const one = site([{ energyWh, departureMs: START_MS + HOUR / 120 }]);
      return planSite(one, solvers, () => 60_000).plan.sessionPlans[0].shortfallWh;
    };
    expect(brief(184.9)).toBe(0);
    expect(brief(186)).toBeCloseTo(2, 6);
  });

  describe("with a demand charge", () => {
    const spread = { energyWh: 22_080, departureMs: START_MS + 2 * HOUR };
    const perKw = (demandPricePerKw: number, over = {}) => ({
      tariff: tariff({ demandPricePerKw, ...over }),
    });

    it("says that it spreads the charging, and at which peak", () => {
      // 22.08 kWh in two hours are 11.04 kW at the least.
      expect(told(site([spread], perKw(10)))).toEqual([
        "Gets all 22.1 kWh from 08:00 to 10:00, at 0.200 EUR a kWh. " +
          "Its charging is spread: the demand charge keeps the site's peak at 11.0 kW.",
      ]);
    });

    it("says so of the peak that is paid for already", () => {
      expect(told(site([spread], perKw(10, { demandPeakSoFarW: 13_800 })))[0]).toMatch(
        / the demand charge keeps the site's peak at 13\.8 kW\.$/,
      );
    });

    it("does not blame it where the vehicle charges at once, or a circuit or its price decides", () => {
      const paid = told(site([spread], perKw(10, { demandPeakSoFarW: 30_000 })));
      const full = told(site([spread], { ...perKw(10), circuits: [circuit({ maxPowerW: 11_040 })] }));
      // The second hour is cheaper, and 22.08 kW are paid for there by the other vehicle.
      const cheap = told(
        site(
          [
            { energyWh: 22_080, departureMs: START_MS + HOUR },
            { energyWh: 22_080, arrivalMs: START_MS + HOUR, departureMs: START_MS + 2 * HOUR },
          ],
          perKw(10, { prices: [0.4, 0.2] }),
        ),
      );
      const safe = planSafely(site([spread], perKw(10))).plan.sessionPlans.map(
        ({ explanation }) => explanation,
      );
      for (const explanation of [...paid, ...full, ...cheap, ...safe]) {
        expect(explanation).toMatch(/^Gets all /);
        expect(explanation).not.toContain("demand charge");
      }
    });
  });

  it("says what is there at the times at which the vehicle may have left", () => {
    // 22.08 kW from 08:00: 11.04 kWh in half an hour.
    const chance = (minutes: number, probability: number) => ({
      atMs: START_MS + (minutes * HOUR) / 60,
      probability,
    });
    const mayLeave = (...departureChances: ReturnType<typeof chance>[]) =>
      told(site([{ energyWh: 44_160, departureMs: START_MS + 4 * HOUR, departureChances }]));
    expect(mayLeave(chance(30, 0.6))).toEqual([
      "Gets all 44.2 kWh from 08:00 to 10:00. May leave early: by 08:30 with 11.0 kWh (60 % likely).",
    ]);
    // Of four, those by which the chance has risen most; after 10:00 nothing more comes in.
    const [many] = mayLeave(chance(30, 0.1), chance(60, 0.13), chance(90, 0.5), chance(150, 0.999));
    expect(many).toMatch(
      /May leave early: by 08:30 with 11\.0 kWh \(10 % likely\), by 09:30 with 33\.1 kWh \(50 %\), by 10:30 with 44\.2 kWh \(over 99 %\)\.$/,
    );
  });

  it("explains the safe plan too", () => {
    const one = site([{ energyWh: 30_000, departureMs: START_MS + 2 * HOUR }], {
      circuits: [circuit({ maxPowerW: 11_040 })],
    });
    const [{ explanation }] = planSafely(one).plan.sessionPlans;
    expect(explanation).toContain("grid is full 08:00 to 10:00");
    expect(explanation).toContain("There was no time to look for a better plan.");
  });
});

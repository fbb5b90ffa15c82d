import { describe, expect, it } from "vitest";
import { check, checkFallback } from "../src/domain/check.ts";
import { fallbackLevels } from "../src/domain/fallback.ts";
import type { Circuit, Evse, Problem, Session } from "../src/domain/problem.ts";
import { fallbackProfiles } from "../src/fallback.ts";
import { pushOrder } from "../src/ocpp/push.ts";
import { validatorFor } from "./ocpp/schema.ts";
import { circuit, evse, problem, START_MS, series, session, slotsOf, tariff } from "./support/problems.ts";
import { planner } from "./support/solvers.ts";

const HOUR_MS = 3_600_000;
const plan = planner();

/** Chargers of 32 A on three phases, 690 W an ampere, CS0, CS1, ..., for four hours. */
function site(
  evses: Partial<Evse>[],
  over: { circuits?: Circuit[]; sessions?: Session[]; nominalVoltageV?: number } = {},
): Problem {
  const { circuits = [circuit({ maxCurrentA: 32 })], sessions = [], nominalVoltageV = 230 } = over;
  return problem({
    site: {
      ...problem().site,
      circuits,
      nominalVoltageV,
      evses: evses.map(({ ocpp, ...one }, n) => evse({ stationId: `CS${n}`, ...one }, ocpp)),
    },
    sessions,
    slotStartsMs: slotsOf(START_MS, START_MS + 4 * HOUR_MS, HOUR_MS / 4),
  });
}

/** Levels as A per phase. */
function currents(one: Problem, wattsPerA = 690): (number | undefined)[] {
  return fallbackLevels(one).levelsW.map((w) => w && Math.round((w / wattsPerA) * 1e6) / 1e6);
}

const ocpp = (over: Partial<Evse["ocpp"]>) => over as Evse["ocpp"];

describe("fallback levels", () => {
  it("share 32 A among three, to the last tenth", () => {
    expect(currents(site([{}, {}, {}]))).toEqual([10.7, 10.7, 10.6]);
  });

  it("give what one can't have to the others", () => {
    const circuits = [
      circuit({ maxCurrentA: 32 }),
      circuit({ circuitId: "row", parent: 0, maxCurrentA: 10 }),
    ];
    expect(currents(site([{ circuit: 1 }, {}, {}], { circuits }))).toEqual([10, 11, 11]);
    expect(currents(site([{ maxCurrentA: 8 }, {}, {}]))).toEqual([8, 12, 12]);
  });

  it("are 0 where the minimum does not fit, those with a vehicle first, then the order of the request", () => {
    const circuits = [circuit({ maxCurrentA: 15 })];
    expect(currents(site([{}, {}, {}], { circuits }))).toEqual([7.5, 7.5, 0]);
    const here = session({ evse: 2 });
    expect(currents(site([{}, {}, {}], { circuits, sessions: [here] }))).toEqual([7.5, 0, 7.5]);
    const later = session({ evse: 2, arrivalMs: START_MS + HOUR_MS });
    expect(currents(site([{}, {}, {}], { circuits, sessions: [later] }))).toEqual([7.5, 7.5, 0]);
  });

  it("are equal in W between AC and DC", () => {
    const dc = {
      supply: "DC",
      maxPowerW: 50_000,
      minPowerW: 5000,
      ocpp: ocpp({ limitStep: 1, rateUnit: "W" }),
    } as const;
    // 15 kW are 217.39 steps of 69 W; what they leave goes to DC.
    const { levelsW } = fallbackLevels(site([{}, dc], { circuits: [circuit({ maxPowerW: 30_000 })] }));
    expect(levelsW[0]).toBeCloseTo(217 * 69, 6);
    expect(levelsW[1]).toBe(15_027);
  });

  it("are the least limit where 0 is rejected, and say where that is too much", () => {
    const stubborn = { ocpp: ocpp({ rejectsZeroLimit: true }) };
    const one = site([stubborn, stubborn, {}], { circuits: [circuit({ maxCurrentA: 10 })] });
    expect(currents(one)).toEqual([6, 6, 0]);
    const { notices, excesses, profiles } = fallbackProfiles(one);
    expect(excesses).toEqual([]);
    expect(profiles.length).toBeGreaterThan(3);
    expect(notices).toMatchObject([{ code: "FALLBACK_OVER_LIMIT", field: "site.evses[1]" }]);
  });

  it("know the highest base load and the lowest limit that the request tells, also after the plan", () => {
    const circuits = [
      circuit({
        maxPowerW: 20_000,
        baseLoadW: series(START_MS, 3 * HOUR_MS, [2000, 3000, 12_000]),
        maxPowerSeriesW: series(START_MS, 3 * HOUR_MS, [19_000, 25_000]),
      }),
    ];
    // 19 - 12 kW are 101.4 steps of 69 W. The 12 kW come two hours after the end of the plan.
    const { levelsW } = fallbackLevels(site([{}], { circuits }));
    expect(levelsW[0]).toBeCloseTo(101 * 69, 6);
  });

  it("leave room for chargers that can't be told, and for a battery at its highest power", () => {
    const others = [{ uncontrolledPowerW: 6900 }, { isOffline: true, fallbackPowerW: 4140 }];
    expect(currents(site([{}, ...others]))).toEqual([16, undefined, undefined]);
    const one = site([{}, ...others]);
    const battery = {
      circuit: 0,
      capacityWh: 10_000,
      storedWh: 0,
      minStoredWh: 0,
      maxChargePowerW: 3450,
      maxDischargePowerW: 0,
      efficiency: 1,
      endValuePerKwh: undefined,
    };
    expect(currents({ ...one, site: { ...one.site, battery } })[0]).toBe(11);
  });

  it("add up between lines as phasors", () => {
    // On L2 two currents 60 degrees apart: 23.1 and 23.0 A make 39.92, twice 23.1 would make 40.01.
    const between = { supply: "AC_LINE_TO_LINE", maxPowerW: Number.POSITIVE_INFINITY } as const;
    const one = site(
      [
        { ...between, phases: [1, 2] },
        { ...between, phases: [2, 3] },
      ],
      { circuits: [circuit({ maxCurrentA: 40 })], nominalVoltageV: 120 },
    );
    expect(currents(one, 120 * Math.sqrt(3))).toEqual([23.1, 23]);
  });

  it("hold behind a delta for vehicles on one phase, too", () => {
    // Three phases of 1 A are 1 A x 120 / 277 on each line of the primary, and no part of them is more.
    const circuits = [
      circuit({ maxCurrentA: 10 }),
      circuit({
        circuitId: "panel",
        parent: 0,
        transformer: { winding: "DELTA_WYE", primaryVoltageV: 277 },
      }),
    ];
    const one = site([{ circuit: 1, maxPowerW: 32 * 360 }], { circuits, nominalVoltageV: 120 });
    expect(currents(one, 360)).toEqual([23]);
    // 23.1 A would be 10.007 A there.
    expect(checkFallback(one, [23 * 360])).toEqual([]);
    expect(checkFallback(one, [23.1 * 360])).toMatchObject([
      { limit: "fallback: circuit grid L1" },
      { limit: "fallback: circuit grid L2" },
      { limit: "fallback: circuit grid L3" },
    ]);
  });

  it("count on every line where the line is not known", () => {
    const single = { phases: [1 as const] };
    const circuits = [circuit({ maxCurrentA: 20 })];
    const known = site([single, { phases: [2] }], { circuits });
    expect(currents(known, 230)).toEqual([20, 20]);
    const unknown = { ...single, hasUnknownPhases: true };
    expect(currents(site([unknown, unknown], { circuits }), 230)).toEqual([10, 10]);
  });
});

describe("fallback profiles", () => {
  it("are a TxDefaultProfile for each EVSE and a maximum for each station", () => {
    const old = ocpp({ version: "1.6", stackLevel: 2 });
    const one = site(
      [
        { stationId: "A", evseId: 1 },
        { stationId: "A", evseId: 2 },
        { stationId: "B", evseId: 1, ocpp: old },
      ],
      { circuits: [circuit({ maxCurrentA: 40 })] },
    );
    const { profiles, notices, excesses } = fallbackProfiles(one);
    expect([notices, excesses]).toEqual([[], []]);
    expect(profiles.map(({ stationId, evseId, powerW }) => [stationId, evseId, Math.round(powerW)])).toEqual([
      ["A", 1, 13.4 * 690],
      ["A", 2, 13.3 * 690],
      ["B", 1, 13.3 * 690],
      // By the limits alone a station could have all 40 A, two chargers even 64 A by themselves.
      ["A", 0, 27_600],
      ["B", 0, 22_080],
    ]);
    for (const { command } of profiles) {
      expect(command.pushWave).toBe(1);
      expect(validatorFor(command.ocppVersion)(JSON.parse(command.payloadJson))).toEqual([]);
    }
    // In force since the day before, whatever the clock of the charger says.
    const schedule = {
      startSchedule: "2026-11-22T00:00:00Z",
      chargingRateUnit: "A",
    };
    expect(JSON.parse(profiles[1].command.payloadJson)).toEqual({
      evseId: 2,
      chargingProfile: {
        id: 22,
        stackLevel: 0,
        chargingProfilePurpose: "TxDefaultProfile",
        chargingProfileKind: "Absolute",
        chargingSchedule: [
          { id: 22, ...schedule, chargingSchedulePeriod: [{ startPeriod: 0, limit: 13.3, numberPhases: 3 }] },
        ],
      },
    });
    expect(JSON.parse(profiles[3].command.payloadJson)).toMatchObject({
      evseId: 0,
      chargingProfile: {
        id: 3,
        chargingProfilePurpose: "ChargingStationMaxProfile",
        chargingSchedule: [{ chargingSchedulePeriod: [{ startPeriod: 0, limit: 40 }] }],
      },
    });
    expect(JSON.parse(profiles[4].command.payloadJson)).toEqual({
      connectorId: 0,
      csChargingProfiles: {
        chargingProfileId: 3,
        stackLevel: 2,
        chargingProfilePurpose: "ChargePointMaxProfile",
        chargingProfileKind: "Absolute",
        chargingSchedule: {
          ...schedule,
          chargingSchedulePeriod: [{ startPeriod: 0, limit: 32, numberPhases: 3 }],
        },
      },
    });
  });

  it("hold a station of DC and AC to W that cut neither", () => {
    const dc = { supply: "DC", maxPowerW: 50_000, ocpp: ocpp({ rateUnit: "W" }) } as const;
    const one = site(
      [
        { stationId: "A", evseId: 1, ...dc },
        { stationId: "A", evseId: 2, phases: [1] },
      ],
      { circuits: [circuit({ maxPowerW: 30_000 })] },
    );
    const station = fallbackProfiles(one).profiles.find(({ evseId }) => evseId === 0);
    expect(station?.command.chargingProfile).toMatchObject({
      chargingRateUnit: "W",
      // On one phase the limit must leave 32 A there.
      periods: [{ limit: 30_000, numberPhases: 1 }],
    });
  });

  it("are left out where one would replace the plan, and where nothing can be sent", () => {
    const one = site([{}, {}, { isOffline: true }, { uncontrolledPowerW: 1000 }], {
      sessions: [
        session({ sessionId: "a", evse: 0, transactionId: "" }),
        session({
          sessionId: "b",
          evse: 1,
          installed: { powerW: series(START_MS, HOUR_MS, [0]), chargingProfileId: 12 },
        }),
      ],
    });
    const { profiles, notices } = fallbackProfiles(one);
    expect(profiles.map(({ stationId, evseId }) => [stationId, evseId])).toEqual([
      ["CS0", 0],
      ["CS1", 0],
    ]);
    expect(notices).toMatchObject([
      { code: "FALLBACK_LEFT_OUT", field: "site.evses[0]" },
      { code: "FALLBACK_LEFT_OUT", field: "site.evses[1]" },
    ]);
    expect(notices[0].message).toContain("session a");
    expect(notices[1].message).toContain("12");
  });

  it("come with the answer where asked for, and not elsewhere", () => {
    const one = site([{}, {}], { sessions: [session({ transactionId: "tx" })] });
    expect(plan(one).fallbackProfiles).toEqual([]);
    const asked = plan({ ...one, withFallbackProfiles: true });
    expect(asked.fallbackProfiles).toHaveLength(4);
    expect({ ...asked, fallbackProfiles: [], solve: {} }).toEqual({ ...plan(one), solve: {} });
  });
});

describe("room for vehicles without a plan", () => {
  /** 32 A, a vehicle at CS0 that wants more than there is, and 10 A that CS1 allows anyone. */
  const shared = (others: Session[] = []) =>
    site([{}, { fallbackPowerW: 6900 }], {
      sessions: [
        session({ sessionId: "a", energyWh: 200_000, departureMs: START_MS + 4 * HOUR_MS }),
        ...others,
      ],
    });
  const hourly = (powerW: Float64Array) => [0, 4, 8, 12].map((k) => Math.round(powerW[k] / 69) / 10);

  it("is kept while nobody is there", () => {
    const { sessionPlans, summary, circuits, notices } = plan(shared());
    expect(hourly(sessionPlans[0].powerW)).toEqual([22, 22, 22, 22]);
    // It is no load: nobody may come.
    expect(summary.peakImportW).toBeCloseTo(22 * 690, 6);
    expect(circuits[0].powerW[0]).toBeCloseTo(22 * 690, 6);
    expect(sessionPlans[0].shortfallCauses).toContain("CIRCUIT_LIMIT");
    expect(sessionPlans[0].explanation).toContain(
      "grid is full 08:00 to 12:00, up to 6.9 kW of it reserved for vehicles without a plan:",
    );
    expect(notices).toEqual([]);
  });

  it("is given to a vehicle with a profile of its own while that is there", () => {
    const b = {
      sessionId: "b",
      evse: 1,
      energyWh: 0,
      arrivalMs: START_MS + HOUR_MS,
      departureMs: START_MS + 3 * HOUR_MS,
    };
    const known = plan(shared([session({ ...b, transactionId: "tx-b" })]));
    expect(hourly(known.sessionPlans[0].powerW)).toEqual([22, 32, 32, 22]);
    // Before its transaction is known it has no profile: it draws what anyone may.
    const expected = plan(shared([session({ ...b, transactionId: "" })]));
    expect(hourly(expected.sessionPlans[0].powerW)).toEqual([22, 22, 22, 22]);
  });

  it("is what an expected vehicle is planned in, and not on top", () => {
    const b = session({
      sessionId: "b",
      evse: 1,
      transactionId: "",
      energyWh: 6900,
      arrivalMs: START_MS + HOUR_MS,
      departureMs: START_MS + 2 * HOUR_MS,
    });
    const { sessionPlans } = plan(shared([b]));
    expect(hourly(sessionPlans[0].powerW)).toEqual([22, 22, 22, 22]);
    expect(hourly(sessionPlans[1].powerW)).toEqual([0, 10, 0, 0]);
    expect(sessionPlans[1].shortfallWh).toBe(0);
  });

  it("counts no vehicle twice that comes or goes within a slot", () => {
    // From 08:05 to 08:10: what CS1 keeps is what it can have in the first slot.
    const b = session({
      sessionId: "b",
      evse: 1,
      energyWh: 575,
      arrivalMs: START_MS + 300_000,
      departureMs: START_MS + 600_000,
    });
    const { sessionPlans } = plan(shared([b]));
    expect(sessionPlans[1].plannedEnergyWh).toBe(575);
    expect(hourly(sessionPlans[0].powerW)).toEqual([22, 22, 22, 22]);
  });

  it("costs nothing in money or peak", () => {
    const one = shared();
    const priced = { ...one, site: { ...one.site, tariff: tariff({ demandPricePerKw: 1 }) } };
    const { summary } = plan({ ...priced, preference: "LOWEST_COST" });
    expect(summary.demandCost).toBeCloseTo(22 * 0.69, 6);
    expect(summary.siteEnergyCost).toBeCloseTo(4 * 22 * 0.69 * 0.2, 6);
  });

  it("is said to be too much where it is", () => {
    const { notices, sessionPlans } = plan(
      site([{}, { fallbackPowerW: 20_000 }, { fallbackPowerW: 20_000 }], { sessions: [session()] }),
    );
    expect(notices).toMatchObject([{ code: "RESERVE_OVER_LIMIT", field: "site.evses" }]);
    expect(Math.max(...sessionPlans[0].powerW)).toBe(0);
  });

  it("is part of the check, with the higher of plan and fallback where a vehicle has no profile", () => {
    const one = shared();
    const told = (currentA: number) => [
      { atMs: START_MS, powerW: currentA * 690, numberPhases: 3 },
      { atMs: START_MS + 4 * HOUR_MS, powerW: 0 },
    ];
    expect(check(one, [told(22)]).excesses).toEqual([]);
    expect(check(one, [told(22.1)]).excesses).toMatchObject([
      { limit: "circuit grid L1", unit: "A", atMs: START_MS, allowed: 22 },
      { limit: "circuit grid L2" },
      { limit: "circuit grid L3" },
    ]);
    const b = session({ sessionId: "b", evse: 1, transactionId: "", arrivalMs: START_MS + HOUR_MS });
    const guest = (currentA: number) =>
      told(currentA).map((step, n) => (n === 0 ? { ...step, atMs: b.arrivalMs } : step));
    const two = shared([b]);
    expect(check(two, [told(22), guest(8)]).excesses).toEqual([]);
    expect(check(two, [told(22), guest(10)]).excesses).toEqual([]);
    const over = check(two, [told(22), guest(10.5)]).excesses;
    expect(over).toMatchObject([{ atMs: b.arrivalMs, unit: "A" }, {}, {}]);
    expect(over[0].value).toBeCloseTo(22.5, 9);
  });

  it("is what a vehicle without an installed plan draws until its first profile", () => {
    // CS0 holds 22 A; the vehicle at CS1 draws 10 A before it is told its 0 A. The 32 A of CS0 have to wait for that.
    const one = site([{}, { fallbackPowerW: 6900 }], {
      sessions: [
        session({
          sessionId: "a",
          installed: { powerW: series(START_MS, HOUR_MS, [22 * 690]), chargingProfileId: 11 },
        }),
        session({ sessionId: "b", evse: 1 }),
      ],
    });
    const constant = (currentA: number) => [
      { atMs: START_MS, powerW: currentA * 690 },
      { atMs: START_MS + 4 * HOUR_MS, powerW: 0 },
    ];
    const emitted = [constant(32), constant(0)];
    expect(pushOrder(one, emitted, [2, 1])).toEqual({ waves: [2, 1], wave1: undefined, wave2: undefined });
    const wrong = pushOrder(one, emitted, [2, 2]);
    expect(wrong.waves).toEqual([2, 1]);
    const { sessionPlans } = plan({
      ...one,
      sessions: [
        { ...one.sessions[0], energyWh: 200_000 },
        { ...one.sessions[1], energyWh: 0 },
      ],
    });
    expect(sessionPlans.map(({ command }) => command?.pushWave)).toEqual([2, 1]);
  });
});

describe("a charger that is offline", () => {
  const installed = { powerW: series(START_MS, HOUR_MS, [11_040, 5520, 5520, 5520]), chargingProfileId: 21 };
  const offline = (over: Partial<Session> = {}, of: Partial<Evse> = {}) =>
    site([{}, { isOffline: true, fallbackPowerW: 6900, ...of }], {
      sessions: [
        session({ sessionId: "a", energyWh: 200_000 }),
        session({ sessionId: "b", evse: 1, energyWh: 30_000, installed, ...over }),
      ],
    });
  const hourly = (powerW: Float64Array) => [0, 4, 8, 12].map((k) => Math.round(powerW[k] / 69) / 10);

  it("counts as drawing what it holds, and at least what it allows anyone", () => {
    const { sessionPlans, summary, chargingPowerW, importPowerW, circuits } = plan(offline());
    const [a, b] = sessionPlans;
    expect(hourly(a.powerW)).toEqual([16, 22, 22, 22]);
    expect(hourly(b.powerW)).toEqual([16, 8, 8, 8]);
    expect(b).toMatchObject({
      command: undefined,
      change: "UNCHANGED",
      plannedEnergyWh: 27_600,
      shortfallWh: 2400,
      shortfallCauses: ["CHARGER_OFFLINE"],
      explanation: "Its charger is offline and keeps its installed plan: it brings 27.6 kWh of 30.0 kWh.",
    });
    // What it holds is load, what it only might allow is not.
    expect(chargingPowerW[4]).toBeCloseTo(30 * 690, 6);
    expect(importPowerW[4]).toBeCloseTo(30 * 690, 6);
    expect(circuits[0].powerW[4]).toBeCloseTo(30 * 690, 6);
    expect(summary).toMatchObject({
      requestedEnergyWh: 230_000,
      plannedEnergyWh: (16 + 3 * 22) * 690 + 27_600,
    });
  });

  it("brings a need that its plan covers, by then", () => {
    const [, b] = plan(offline({ energyWh: 13_800 })).sessionPlans;
    expect(b).toMatchObject({ shortfallWh: 0, shortfallCauses: [], plannedEnergyWh: 13_800 });
    expect(b.explanation).toBe(
      "Its charger is offline and keeps its installed plan: it brings all 13.8 kWh by 09:30.",
    );
  });

  it("promises nothing where its plan is not known", () => {
    const [a, b] = plan(offline({ installed: undefined })).sessionPlans;
    expect(hourly(a.powerW)).toEqual([22, 22, 22, 22]);
    expect(b).toMatchObject({
      plannedEnergyWh: 0,
      shortfallWh: 30_000,
      shortfallCauses: ["CHARGER_OFFLINE"],
    });
    expect(b.explanation).toContain("is not known");
  });

  it("keeps the last value until departure, and what is given for the time after it", () => {
    const departureMs = START_MS + 2 * HOUR_MS;
    const short = { powerW: series(START_MS, HOUR_MS, [11_040]), chargingProfileId: 21 };
    const [a] = plan(offline({ installed: short, departureMs })).sessionPlans;
    expect(hourly(a.powerW)).toEqual([16, 16, 22, 22]);
    const long = { powerW: series(START_MS, HOUR_MS, [0, 0, 11_040, 0]), chargingProfileId: 21 };
    const [c] = plan(offline({ installed: long, departureMs })).sessionPlans;
    expect(hourly(c.powerW)).toEqual([22, 22, 16, 22]);
  });

  it("counts a vehicle on one phase there, and anyone else on all", () => {
    // 16 A on L1 alone; who comes after it may have 4 A on each.
    const alone = { powerW: series(START_MS, HOUR_MS, [3680]), chargingProfileId: 21 };
    const one = offline({ installed: alone, phaseCount: 1 }, { fallbackPowerW: 4 * 690 });
    const single = (phase: 1 | 2): Problem => ({
      ...one,
      site: { ...one.site, evses: [evse({ phases: [phase] }), one.site.evses[1]] },
      sessions: one.sessions.map((s) => ({ ...s, phaseCount: 1 })),
    });
    expect(plan(single(1)).sessionPlans[0].powerW[0]).toBeCloseTo(16 * 230, 6);
    expect(plan(single(2)).sessionPlans[0].powerW[0]).toBeCloseTo(28 * 230, 6);
  });

  it("serves several vehicles one after the other", () => {
    const later = { powerW: series(START_MS, HOUR_MS, [0, 0, 0, 13_800]), chargingProfileId: 21 };
    const one = offline({
      departureMs: START_MS + 2 * HOUR_MS,
      installed: { ...installed, powerW: series(START_MS, HOUR_MS, [11_040, 5520]) },
    });
    const c = session({
      sessionId: "c",
      evse: 1,
      arrivalMs: START_MS + 2 * HOUR_MS,
      energyWh: 0,
      installed: later,
    });
    const { sessionPlans } = plan({ ...one, sessions: [...one.sessions, c] });
    expect(hourly(sessionPlans[0].powerW)).toEqual([16, 22, 22, 12]);
    expect(sessionPlans.slice(1).every(({ command }) => command === undefined)).toBe(true);
  });

  it("is part of the check, whatever is said of its session", () => {
    const one = offline();
    const told = (currentA: number) => [
      { atMs: START_MS, powerW: currentA * 690, numberPhases: 3 },
      { atMs: START_MS + HOUR_MS, powerW: 22 * 690, numberPhases: 3 },
      { atMs: START_MS + 4 * HOUR_MS, powerW: 0 },
    ];
    expect(check(one, [told(16), []]).excesses).toEqual([]);
    expect(check(one, [told(16.1), []]).excesses).toMatchObject([{ atMs: START_MS, allowed: 16 }, {}, {}]);
  });
});

import { describe, expect, test } from "vitest";
import { chargingOf, chargingRange } from "../../src/domain/charging.ts";
import { check } from "../../src/domain/check.ts";
import { greedy } from "../../src/domain/greedy.ts";
import type { Circuit, Evse, Phase, Problem, Session } from "../../src/domain/problem.ts";
import { Room } from "../../src/domain/room.ts";
import { lineLoads, voltagesOf } from "../../src/domain/wiring.ts";
import { stepsOf } from "../support/brute.ts";
import { circuit, evse, problem, START_MS, series, session } from "../support/problems.ts";

const SQRT3 = Math.sqrt(3);
const NONE = Number.POSITIVE_INFINITY;
const HOUR_MS = 3_600_000;
/** 120 V to neutral, about 208 V between lines. */
const LINE_V = 120 * SQRT3;

function between(phases: Phase[], over: Partial<Evse> = {}): Evse {
  const bounds = { maxCurrentA: 1000, maxPowerW: NONE, minCurrentA: 0 };
  return evse({ supply: "AC_LINE_TO_LINE", phases, ...bounds, ...over }, { rateUnit: "W" });
}

function phase(phases: Phase[], over: Partial<Evse> = {}): Evse {
  return between(phases, { supply: "AC", ...over });
}

/** One hour at 120 V; a session at each EVSE. */
function siteOf(circuits: Circuit[], evses: Evse[], over: Partial<Session> = {}): Problem {
  const stations = evses.map((one, n) => ({ ...one, stationId: `CS${n}` }));
  return problem({
    site: { ...problem().site, nominalVoltageV: 120, circuits, evses: stations },
    sessions: stations.map(({ phases, supply }, n) =>
      session({
        sessionId: `s${n}`,
        evse: n,
        departureMs: START_MS + HOUR_MS,
        phaseCount: supply === "AC_LINE_TO_LINE" ? 1 : phases.length,
        ...over,
      }),
    ),
    slotMs: HOUR_MS,
  });
}

/** What the checker says of powers that are drawn for the whole hour: limit and value. */
function excessesOf(p: Problem, powersW: number[]): [string, number][] {
  const plan = powersW.map((powerW) => Float64Array.of(powerW));
  return check(p, stepsOf(p, chargingOf(p), plan)).excesses.map(({ limit, value }) => [limit, value]);
}

/** Room for session i, W, after the others took theirs. */
function roomFor(p: Problem, i: number, takenW: number[]): number {
  const room = new Room(p, chargingOf(p));
  takenW.forEach((powerW, other) => {
    room.take(other, 0, powerW);
  });
  return room.fits(i, 0);
}

describe("between two lines", () => {
  test("A are those of either line, W are A x 208", () => {
    const one = siteOf([circuit()], [between([3, 1], { maxCurrentA: 32, minCurrentA: 6 })]);
    const amperes = { ...one.site.evses[0], ocpp: { ...one.site.evses[0].ocpp, rateUnit: "A" as const } };
    const range = chargingRange({ ...one.site, evses: [amperes] }, one.sessions[0]);
    expect(range.maxPowerW).toBeCloseTo(32 * LINE_V, 9);
    expect(range.minPowerW).toBeCloseTo(6 * LINE_V, 9);
    expect(range.stepPowerW).toBeCloseTo(0.1 * LINE_V, 9);
    expect(range.phases).toEqual([3, 1]);
  });

  test("two equal loads L1-L2 and L3-L1: 1.73 times one of them in L1, one in L2 and in L3", () => {
    const p = siteOf([circuit({ maxCurrentA: 32 * SQRT3 })], [between([1, 2]), between([3, 1])]);
    const fullW = 32 * LINE_V;
    expect(excessesOf(p, [fullW, fullW])).toEqual([]);
    const [[limit, value], ...others] = excessesOf(p, [fullW, fullW + 10]);
    expect(others).toEqual([]);
    expect(limit).toBe("circuit grid L1");
    // sqrt(a² + b² + a b) for a = 32 A and b = 10 W / 207.8 V more.
    const b = 32 + 10 / LINE_V;
    expect(value).toBeCloseTo(Math.sqrt(32 ** 2 + b ** 2 + 32 * b), 9);
    expect(roomFor(p, 1, [fullW, 0])).toBeCloseTo(fullW, 6);
    expect(roomFor(p, 1, [0, 0])).toBeCloseTo(32 * SQRT3 * LINE_V, 6);
  });

  test("three equal loads round the corner are as one of three phases: 1.73 times one in every line", () => {
    const p = siteOf([circuit({ maxCurrentA: 50 })], [between([1, 2]), between([2, 3]), between([3, 1])]);
    const eachW = (50 / SQRT3) * LINE_V;
    expect(excessesOf(p, [eachW, eachW, eachW])).toEqual([]);
    const passed = excessesOf(p, [eachW + 1, eachW + 1, eachW + 1]).map(([limit]) => limit);
    expect(passed).toEqual(["circuit grid L1", "circuit grid L2", "circuit grid L3"]);
    // 3 x 120 V x 50 A.
    expect(3 * eachW).toBeCloseTo(18_000, 6);
  });

  test("with a load on one phase: 30 degrees apart", () => {
    const p = siteOf([circuit({ maxCurrentA: 40 })], [between([1, 2]), phase([1])]);
    const [[, value]] = excessesOf(p, [30 * LINE_V, 20 * 120]);
    // sqrt(30² + 20² + 2 x 30 x 20 x cos 30°)
    expect(value).toBeCloseTo(48.3656, 4);
    const left = roomFor(p, 1, [30 * LINE_V, 0]) / 120;
    expect(Math.hypot(30 * (SQRT3 / 2) + left, 15)).toBeCloseTo(40, 9);
  });

  test("on a panel on which all hang between the same lines currents add up plainly", () => {
    const p = siteOf([circuit({ maxCurrentA: 80 })], [between([1, 2]), between([2, 1]), between([1, 2])]);
    expect(new Room(p, chargingOf(p)).phasorLines.size).toBe(0);
    expect(roomFor(p, 2, [30 * LINE_V, 30 * LINE_V, 0])).toBeCloseTo(20 * LINE_V, 6);
    expect(excessesOf(p, [30 * LINE_V, 30 * LINE_V, 20 * LINE_V])).toEqual([]);
    expect(excessesOf(p, [30 * LINE_V, 30 * LINE_V, 20 * LINE_V + 1])).toHaveLength(2);
  });

  test("base load is in phase with its line's voltage", () => {
    const amperes = (value: number) => series(START_MS, HOUR_MS, [value]);
    const base = circuit({ maxCurrentA: 50, baseLoadA: [amperes(20), undefined, undefined] });
    const p = siteOf([base], [between([1, 2])]);
    const fits = roomFor(p, 0, [0]) / LINE_V;
    expect(Math.hypot(fits * (SQRT3 / 2) + 20, fits / 2)).toBeCloseTo(50, 9);
    expect(excessesOf(p, [fits * LINE_V])).toEqual([]);
    expect(excessesOf(p, [fits * LINE_V + 1])).toHaveLength(1);
    base.baseLoadA[0] = amperes(51);
    // Over the limit on its own: nothing charges on that line, and that is not the plan's doing.
    expect(new Room(p, chargingOf(p)).overloaded).toEqual([0]);
    expect(roomFor(p, 0, [0])).toBe(0);
    expect(excessesOf(p, [0])).toEqual([]);
    expect(excessesOf(p, [1])).toHaveLength(1);
  });
});

describe("behind a transformer", () => {
  const below = (winding: "DELTA_WYE" | "WYE_WYE", over: Partial<Circuit> = {}, primaryA = NONE) => [
    circuit({ maxCurrentA: primaryA }),
    circuit({ circuitId: "low", parent: 0, transformer: { winding, primaryVoltageV: 480 / SQRT3 }, ...over }),
  ];
  /** n = 1.73 x 277.1 / 120 = 4. */
  const RATIO = 4;

  test("each side has its voltage", () => {
    const [high, low] = below("DELTA_WYE");
    const panel = circuit({ circuitId: "panel", parent: 1 });
    const other = circuit({ circuitId: "other", parent: 0 });
    const voltages = voltagesOf({ nominalVoltageV: 120, circuits: [high, low, panel, other] });
    expect([...voltages].map((v) => Math.round(v))).toEqual([277, 120, 120, 277]);
  });

  test("a wye-wye changes currents by the voltages", () => {
    const p = siteOf(below("WYE_WYE", {}, 10), [phase([2], { circuit: 1 })]);
    // 10 A at 277.1 V.
    expect(roomFor(p, 0, [0])).toBeCloseTo((10 * 480) / SQRT3, 6);
    expect(excessesOf(p, [(10 * 480) / SQRT3])).toEqual([]);
    expect(excessesOf(p, [2772])[0][0]).toBe("circuit grid L2");
  });

  test("a delta-wye of four to one: one phase is a quarter of its current in two lines", () => {
    const p = siteOf(below("DELTA_WYE", {}, 10), [phase([2], { circuit: 1 })]);
    expect(excessesOf(p, [10 * RATIO * 120])).toEqual([]);
    const passed = excessesOf(p, [10 * RATIO * 120 + 12]);
    expect(passed.map(([limit]) => limit)).toEqual(["circuit grid L2", "circuit grid L3"]);
    for (const [, value] of passed) expect(value).toBeCloseTo(10 + 0.1 / RATIO, 9);
  });

  test("three phases are 1.73 quarters, and the power is the same on both sides", () => {
    const p = siteOf(below("DELTA_WYE", {}, 10), [phase([1, 2, 3], { circuit: 1 })]);
    // 10 A x 277.1 V x 3 = 10 A x 4 / 1.73 x 120 V x 3.
    expect(roomFor(p, 0, [0])).toBeCloseTo((10 * RATIO * 360) / SQRT3, 6);
    expect(roomFor(p, 0, [0])).toBeCloseTo(10 * 480 * SQRT3, 6);
  });

  test("between two lines: half its current in one line of the primary, a quarter in the others", () => {
    const loads = lineLoads(below("DELTA_WYE"), { ...between([1, 2]), circuit: 1 });
    const currents = loads
      .filter(({ circuit: c }) => c === 0)
      .map(({ share }) => (share / 277.1281) * LINE_V);
    expect(currents.map((a) => Math.round(a * 1e4) / 1e4)).toEqual([1 / RATIO, 2 / RATIO, 1 / RATIO]);
    const p = siteOf(below("DELTA_WYE", {}, 10), [between([1, 2], { circuit: 1 })]);
    expect(roomFor(p, 0, [0])).toBeCloseTo(((10 * RATIO) / 2) * LINE_V, 6);
  });

  test("both sides of one load: whichever binds first", () => {
    // 60 A below are 15 A above; the secondary's 50 A come first.
    const tight = siteOf(below("DELTA_WYE", { maxCurrentA: 50 }, 15), [phase([1], { circuit: 1 })]);
    expect(roomFor(tight, 0, [0])).toBeCloseTo(50 * 120, 6);
    const wide = siteOf(below("DELTA_WYE", { maxCurrentA: 70 }, 15), [phase([1], { circuit: 1 })]);
    expect(roomFor(wide, 0, [0])).toBeCloseTo(60 * 120, 6);
  });

  test("a load on the primary side draws at its voltage and adds up in phase with balanced ones below", () => {
    const dc = evse({ supply: "DC", maxPowerW: NONE, maxCurrentA: NONE, minCurrentA: 0 });
    const p = siteOf(below("DELTA_WYE", {}, 10), [dc, { ...dc, circuit: 1 }]);
    expect(new Room(p, chargingOf(p)).phasorLines.size).toBe(0);
    const allW = 10 * 480 * SQRT3;
    expect(roomFor(p, 1, [allW / 4, 0])).toBeCloseTo((allW * 3) / 4, 6);
    const high = siteOf(below("DELTA_WYE", {}, 10), [phase([1]), phase([1], { circuit: 1 })]);
    expect(roomFor(high, 0, [0, 0])).toBeCloseTo((10 * 480) / SQRT3, 6);
    expect(roomFor(high, 1, [0, 0])).toBeCloseTo(10 * RATIO * 120, 6);
  });

  test("less of one vehicle can mean more in a line: the limit holds for that, too", () => {
    // Primary L1: (I12 - 2 I31 + I23) / 4, so 40 A of I12 at 60° and 40 A of I23 at -60° are 10 A like
    // either alone, and with 10 A of I31 (5 A at 0°) 15 A; without I23 that is sqrt(10² + 5² + 10 x 5).
    const pairs: Phase[][] = [
      [1, 2],
      [2, 3],
      [3, 1],
    ];
    const evses = pairs.map((pair) => between(pair, { circuit: 1 }));
    const amperes = (...values: number[]) => values.map((value) => value * LINE_V);
    const L1 = (limitA: number, drawnW: number[]) =>
      excessesOf(siteOf(below("DELTA_WYE", {}, limitA), evses), drawnW).filter(([limit]) =>
        limit.endsWith("L1"),
      );
    expect(L1(15.001, amperes(40, 40, 10))).toEqual([]);
    expect(L1(14.999, amperes(40, 40, 10))[0][1]).toBeCloseTo(15, 9);
    // 40 A of I12 and 20 A of I23: 8.66 A together, 10 A as soon as the second one stops.
    expect(L1(9.99, amperes(40, 20, 0))[0][1]).toBeCloseTo(10, 9);
    expect(L1(10.01, amperes(40, 20, 0))).toEqual([]);
  });
});

describe("phases that are not known", () => {
  test("count on every line", () => {
    const p = siteOf([circuit({ maxCurrentA: 32 })], [phase([1], { hasUnknownPhases: true }), phase([3])]);
    expect(roomFor(p, 1, [20 * 120, 0])).toBeCloseTo(12 * 120, 6);
    expect(excessesOf(p, [20 * 120, 12 * 120])).toEqual([]);
    expect(excessesOf(p, [20 * 120, 12 * 120 + 1]).map(([limit]) => limit)).toEqual(["circuit grid L3"]);
    expect(excessesOf(p, [33 * 120, 0])).toHaveLength(3);
  });

  test("matter no more where a vehicle draws from all three", () => {
    const p = siteOf([circuit({ maxCurrentA: 32 })], [phase([1, 2, 3], { hasUnknownPhases: true })]);
    expect(roomFor(p, 0, [0])).toBeCloseTo(32 * 360, 6);
  });

  test("add to whatever the known currents make, at any angle", () => {
    const p = siteOf(
      [circuit({ maxCurrentA: 60 })],
      [between([1, 2]), between([3, 1]), between([2, 3], { hasUnknownPhases: true })],
    );
    // 1.73 x 20 A in L1 leave 60 - 34.64 A.
    const leftA = 60 - 20 * SQRT3;
    expect(roomFor(p, 2, [20 * LINE_V, 20 * LINE_V, 0])).toBeCloseTo(leftA * LINE_V, 6);
    expect(excessesOf(p, [20 * LINE_V, 20 * LINE_V, leftA * LINE_V])).toEqual([]);
    expect(excessesOf(p, [20 * LINE_V, 20 * LINE_V, leftA * LINE_V + 1])).toHaveLength(1);
  });
});

test("the safe plan fills lines to their phasor sums", () => {
  const p = siteOf([circuit({ maxCurrentA: 40 })], [between([1, 2]), between([3, 1])], { energyWh: 20_000 });
  const [[a], [b]] = greedy(p, chargingOf(p), "LEAST_SLACK");
  const [first, second] = [a / LINE_V, b / LINE_V];
  expect(Math.sqrt(first ** 2 + second ** 2 + first * second)).toBeCloseTo(40, 2);
});

import { describe, expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import { greedy } from "../../src/domain/greedy.ts";
import type { Circuit, Evse, Problem, Session } from "../../src/domain/problem.ts";
import { QUANTITIES, Room } from "../../src/domain/room.ts";
import { compareAll, stepsOf } from "../support/brute.ts";
import { circuit, evse, hardProblem, problem, START_MS, series, session } from "../support/problems.ts";

// Hundreds of sites: room for a machine under load.
const LONG = { timeout: 60_000 };

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const NONE = Number.POSITIVE_INFINITY;

/** Four hours in slots of one; one session `a` at the first EVSE unless told otherwise. */
function siteOf(circuits: Circuit[], evses: Evse[] = [evse()], sessions: Session[] = [session()]): Problem {
  const site = {
    siteId: "site",
    timeZone: "UTC",
    nominalVoltageV: 230,
    pvPowerW: undefined,
    battery: undefined,
    circuits,
    evses,
    tariff: undefined,
  };
  return problem({ site, sessions, slotMs: HOUR_MS });
}

function roomOf(p: Problem): Room {
  return new Room(p, chargingOf(p));
}

/** What is left on a circuit in each slot: [W, A on L1, L2, L3]. */
function leftOn(room: Room, c: number, slot: number): number[] {
  const at = (slot * room.circuitCount + c) * QUANTITIES;
  return Array.from(room.left.subarray(at, at + QUANTITIES));
}

function expectLeft(room: Room, c: number, slot: number, expected: number[]): void {
  leftOn(room, c, slot).forEach((value, q) => {
    if (expected[q] === NONE) expect(value).toBe(NONE);
    else expect(value, `quantity ${q}`).toBeCloseTo(expected[q], 9);
  });
}

/** Hourly values from the start. */
const hours = (...values: number[]) => series(START_MS, HOUR_MS, values);
const none: [undefined, undefined, undefined] = [undefined, undefined, undefined];

describe("what is left", () => {
  test("limits in W and A, alone and together", () => {
    const room = roomOf(
      siteOf([
        circuit({ maxPowerW: 30_000, maxCurrentA: 40 }),
        circuit({ circuitId: "watts", parent: 0, maxPowerW: 12_000 }),
        circuit({ circuitId: "amperes", parent: 1, maxCurrentA: 16 }),
        circuit({ circuitId: "free", parent: 0 }),
      ]),
    );
    expectLeft(room, 0, 0, [30_000, 40, 40, 40]);
    expectLeft(room, 1, 0, [12_000, NONE, NONE, NONE]);
    expectLeft(room, 2, 0, [NONE, 16, 16, 16]);
    expectLeft(room, 3, 3, [NONE, NONE, NONE, NONE]);
    expect(room.overloaded).toEqual([]);
  });

  test("base load on several levels adds up towards the grid", () => {
    const p = siteOf([
      circuit({ maxPowerW: 30_000, maxCurrentA: 50, baseLoadW: hours(6900, 0) }),
      circuit({ circuitId: "hall", parent: 0, maxPowerW: 15_000, baseLoadW: hours(3450) }),
      circuit({ circuitId: "panel", parent: 1, maxPowerW: 9000, baseLoadW: hours(690, 0, 2070) }),
      circuit({ circuitId: "shop", parent: 0, maxPowerW: 5000, baseLoadW: hours(1380) }),
    ]);
    const room = roomOf(p);
    expectLeft(room, 2, 0, [8310, NONE, NONE, NONE]);
    expectLeft(room, 1, 0, [15_000 - 3450 - 690, NONE, NONE, NONE]);
    expectLeft(room, 3, 0, [3620, NONE, NONE, NONE]);
    // 6900 + 3450 + 690 + 1380 = 12420 W, evenly 18 A on each phase.
    expectLeft(room, 0, 0, [17_580, 32, 32, 32]);
    // 3450 + 2070 + 1380 = 6900 W, 10 A.
    expectLeft(room, 0, 2, [23_100, 40, 40, 40]);
    // The last values hold.
    expectLeft(room, 0, 3, [23_100, 40, 40, 40]);
  });

  test("base load of single phases where it is known, the even share where not", () => {
    const p = siteOf([
      circuit({
        maxPowerW: 20_000,
        maxCurrentA: 32,
        baseLoadW: hours(6900),
        baseLoadA: [hours(25), undefined, hours(2)],
      }),
    ]);
    // 25 + 10 + 2 A are 8510 W, more than the 6900 W that were given.
    expectLeft(roomOf(p), 0, 0, [11_490, 7, 22, 30]);
    p.site.circuits[0].baseLoadA = [hours(2), undefined, hours(2)];
    // 2 + 10 + 2 A are 3220 W, less: the larger counts.
    expectLeft(roomOf(p), 0, 0, [13_100, 30, 22, 30]);
    p.site.circuits[0].baseLoadW = undefined;
    expectLeft(roomOf(p), 0, 0, [20_000 - 920, 30, 32, 30]);
  });

  test("a slot has its lowest limit and its highest base load", () => {
    const p = siteOf([
      circuit({
        maxPowerW: 20_000,
        maxPowerSeriesW: series(START_MS - 10 * MINUTE_MS, 35 * MINUTE_MS, [18_000, 25_000, 12_000, 19_000]),
        baseLoadW: series(START_MS + 30 * MINUTE_MS, 60 * MINUTE_MS, [1000, 3000, 2000]),
      }),
    ]);
    const room = roomOf(p);
    // The series changes at :25, 1:00 and 1:35; the base load at 1:30 and 2:30.
    expectLeft(room, 0, 0, [18_000 - 1000, NONE, NONE, NONE]);
    expectLeft(room, 0, 1, [12_000 - 3000, NONE, NONE, NONE]);
    expectLeft(room, 0, 2, [19_000 - 3000, NONE, NONE, NONE]);
    expectLeft(room, 0, 3, [19_000 - 2000, NONE, NONE, NONE]);
  });

  test("base load over a limit leaves 0 and is named, on its own circuit and on those above it", () => {
    const p = siteOf([
      circuit({ maxPowerW: 8000 }),
      circuit({ circuitId: "hall", parent: 0, maxPowerW: 10_000, baseLoadW: hours(0, 9000, 0) }),
      circuit({
        circuitId: "panel",
        parent: 1,
        maxCurrentA: 10,
        baseLoadA: [none[0], hours(0, 0, 11), none[2]],
      }),
    ]);
    const room = roomOf(p);
    expect(room.overloaded).toEqual([0, 2]);
    expectLeft(room, 0, 0, [8000, NONE, NONE, NONE]);
    expectLeft(room, 0, 1, [0, NONE, NONE, NONE]);
    expectLeft(room, 1, 1, [1000, NONE, NONE, NONE]);
    expectLeft(room, 2, 2, [NONE, 10, 0, 10]);
    // What is over the panel's limit weighs on the hall in full.
    expectLeft(room, 1, 2, [10_000 - 11 * 230, NONE, NONE, NONE]);
  });

  test("a charger that can't be controlled takes from its own phases", () => {
    const busy = (over: Partial<Evse>) =>
      evse({ stationId: "busy", uncontrolledPowerW: 4600, circuit: 1, ...over });
    const circuits = () => [
      circuit({ maxCurrentA: 32 }),
      circuit({ circuitId: "hall", parent: 0, maxPowerW: 11_000, maxCurrentA: 32 }),
    ];
    const rotated = roomOf(siteOf(circuits(), [evse(), busy({ phases: [3, 1] })]));
    expectLeft(rotated, 1, 0, [6400, 22, 32, 22]);
    expectLeft(rotated, 0, 3, [NONE, 22, 32, 22]);
    const dc = roomOf(siteOf(circuits(), [evse(), busy({ supply: "DC", uncontrolledPowerW: 6900 })]));
    expectLeft(dc, 1, 0, [4100, 22, 22, 22]);
    const onGrid = roomOf(siteOf(circuits(), [evse(), busy({ circuit: 0, phases: [2] })]));
    expectLeft(onGrid, 0, 0, [NONE, 32, 12, 32]);
    expectLeft(onGrid, 1, 0, [11_000, 32, 32, 32]);
  });
});

describe("taking and giving back", () => {
  test("the tightest limit on the way to the grid decides, phase by phase", () => {
    const p = siteOf(
      [
        circuit({ maxPowerW: 12_000 }),
        circuit({ circuitId: "hall", parent: 0, maxCurrentA: 16 }),
        circuit({ circuitId: "shop", parent: 0, maxPowerW: 7000 }),
      ],
      [evse({ circuit: 1, phases: [2, 3, 1] }), evse({ circuit: 1, phases: [3] }), evse({ circuit: 2 })],
      [
        session({ phaseCount: 2 }),
        session({ sessionId: "b", evse: 1, phaseCount: 1 }),
        session({ sessionId: "c", evse: 2 }),
      ],
    );
    const room = roomOf(p);
    // a: 16 A on L2 and L3; b: 16 A on L3; c: the shop's limit.
    expect(room.fits(0, 0)).toBeCloseTo(7360, 9);
    expect(room.fits(1, 0)).toBeCloseTo(3680, 9);
    expect(room.fits(2, 0)).toBeCloseTo(7000, 9);
    room.take(0, 0, 4600);
    // 10 A are gone on L2 and L3 of the hall, 4600 W of the grid's 12000.
    expect(room.fits(1, 0)).toBeCloseTo(6 * 230, 9);
    expect(room.fits(2, 0)).toBeCloseTo(7000, 9);
    room.take(1, 0, 1380);
    expect(room.fits(0, 0)).toBeCloseTo(0, 9);
    expect(room.fits(2, 0)).toBeCloseTo(12_000 - 4600 - 1380, 9);
    expectLeft(room, 1, 0, [NONE, 16, 6, 0]);
    // Other slots are untouched.
    expect(room.fits(0, 1)).toBeCloseTo(7360, 9);
    room.take(0, 0, -4600);
    expect(room.fits(0, 0)).toBeCloseTo(2 * 10 * 230, 9);
  });

  test("an overdraft is what one session alone would have to give back", () => {
    const p = siteOf(
      [circuit({ maxPowerW: 10_000 }), circuit({ circuitId: "hall", parent: 0, maxCurrentA: 10 })],
      [evse({ circuit: 1 }), evse({ phases: [2] })],
      [session(), session({ sessionId: "b", evse: 1, phaseCount: 1 })],
    );
    const room = roomOf(p);
    room.take(0, 0, 6900);
    expect(room.overdraft(0, 0)).toBe(0);
    room.take(0, 0, 690);
    // 11 A for 10: one ampere on each of three phases.
    expect(room.overdraft(0, 0)).toBeCloseTo(690, 9);
    expect(room.overdraft(1, 0)).toBe(0);
    expect(room.fits(0, 0)).toBe(0);
    room.take(1, 0, 3000);
    expect(room.overdraft(1, 0)).toBeCloseTo(590, 9);
    expect(room.overdraft(0, 1)).toBe(0);
  });

  test("without limits everything fits", () => {
    const room = roomOf(siteOf([circuit()]));
    room.take(0, 0, 1e9);
    expect(room.fits(0, 0)).toBe(NONE);
    expect(room.overdraft(0, 0)).toBe(0);
  });
});

describe("chargers that reject 0", () => {
  const rejecting = evse({ circuit: 1 }, { rejectsZeroLimit: true });
  const first = session({ departureMs: START_MS + HOUR_MS });
  const other = session({ sessionId: "c", evse: 1 });

  test("keep their least after a planned departure, until the next vehicle comes", () => {
    const next = session({
      sessionId: "b",
      arrivalMs: START_MS + 2.5 * HOUR_MS,
      departureMs: START_MS + 3 * HOUR_MS,
    });
    const circuits = [circuit({ maxPowerW: 10_000 }), circuit({ circuitId: "hall", parent: 0 })];
    const room = roomOf(siteOf(circuits, [rejecting, evse()], [first, next, other]));
    const grid = [0, 1, 2, 3].map((slot) => leftOn(room, 0, slot)[0]);
    // Held in 1, in 2 until b comes, and in 3 after it; where a vehicle is there the plan takes it.
    expect(grid).toEqual([10_000, 5860, 5860, 5860]);
  });

  test("keep nothing where the next vehicle comes as the last one goes", () => {
    const next = session({
      sessionId: "b",
      arrivalMs: START_MS + HOUR_MS,
      departureMs: START_MS + 4 * HOUR_MS,
    });
    const circuits = [circuit({ maxPowerW: 10_000 }), circuit({ circuitId: "hall", parent: 0 })];
    const room = roomOf(siteOf(circuits, [rejecting, evse()], [first, next, other]));
    expect([0, 1, 2, 3].map((slot) => leftOn(room, 0, slot)[0])).toEqual([10_000, 10_000, 10_000, 10_000]);
  });

  test("keep it in full where it is over a limit: the circuits above carry it", () => {
    const circuits = [
      circuit({ maxPowerW: 10_000 }),
      circuit({ circuitId: "hall", parent: 0, maxPowerW: 3000 }),
    ];
    const room = roomOf(siteOf(circuits, [rejecting, evse()], [first, other]));
    expect(leftOn(room, 1, 1)[0]).toBe(0);
    expect(leftOn(room, 0, 1)[0]).toBe(5860);
    expect(room.fits(1, 1)).toBe(5860);
    // It is no base load.
    expect(room.overloaded).toEqual([]);
  });
});

describe("random sites", () => {
  test("no slot has more room than the slow checker has at any instant in it", LONG, () => {
    let compared = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const p = hardProblem(seed, { vehicles: [1, 8], hours: 6 });
      if (p.site.evses.some(({ ocpp }) => ocpp.rejectsZeroLimit)) continue;
      const charging = chargingOf(p);
      const room = new Room(p, charging);
      const plan = greedy(p, charging, "LEAST_SLACK");
      for (const { limit, atMs, allowed } of compareAll(p, stepsOf(p, charging, plan))) {
        if (!limit.startsWith("circuit ") || limit.endsWith(" back")) continue;
        const [id, line] = limit.slice(8).split(" L");
        const c = p.site.circuits.findIndex(({ circuitId }) => circuitId === id);
        const slot = p.slotStartsMs.findLastIndex((startMs) => startMs <= atMs);
        const left = leftOn(room, c, slot)[line === undefined ? 0 : Number(line)];
        const leftW = line === undefined ? left : left * p.site.nominalVoltageV;
        expect(leftW, `seed ${seed}, ${limit}`).toBeLessThanOrEqual(allowed + 1e-6);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(10_000);
  });

  test("and exactly as much where nothing changes inside a slot", () => {
    let compared = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const random = randomOf(seed);
      const steps = (most: number) =>
        hours(...Array.from({ length: random.int(1, 5) }, () => random.real(0, most)));
      const maybe = <T>(value: T) => (random.chance(0.5) ? value : undefined);
      const circuits = Array.from({ length: random.int(1, 4) }, (_, c) =>
        circuit({
          circuitId: `c${c}`,
          parent: c === 0 ? -1 : random.int(0, c - 1),
          maxPowerW: random.chance(0.7) ? random.real(5000, 30_000) : NONE,
          maxCurrentA: random.chance(0.7) ? random.real(10, 60) : NONE,
          maxPowerSeriesW: maybe(steps(30_000)),
          baseLoadW: maybe(steps(6000)),
          baseLoadA: [maybe(steps(8)), maybe(steps(8)), maybe(steps(8))],
        }),
      );
      const p = siteOf(circuits);
      const room = roomOf(p);
      const nothing = stepsOf(p, chargingOf(p), [new Float64Array(4)]);
      for (const { limit, atMs, allowed } of compareAll(p, nothing)) {
        if (!limit.startsWith("circuit ") || limit.endsWith(" back")) continue;
        const [id, line] = limit.slice(8).split(" L");
        const left = leftOn(room, Number(id.slice(1)), (atMs - START_MS) / HOUR_MS)[Number(line ?? 0)];
        expect(line === undefined ? left : left * 230, `seed ${seed}, ${limit}`).toBeCloseTo(allowed, 6);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(1000);
  });
});

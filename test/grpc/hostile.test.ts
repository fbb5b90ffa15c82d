import fc from "fast-check";
import { expect, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import type { Problem } from "../../src/domain/problem.ts";
import { OptimizeRequest } from "../../src/grpc/client.ts";
import { toProblem } from "../../src/grpc/convert.ts";
import { full, minimal, START_MS } from "./requests.ts";

type Node = Record<string | number, unknown>;

const OPTIONAL_NUMBERS = new Set([
  "maxPowerW",
  "maxCurrentA",
  "minCurrentA",
  "minPowerW",
  "efficiency",
  "uncontrolledPowerW",
  "fallbackPowerW",
  "maxStackLevel",
  "limitStep",
  "priority",
  "changePricePerKwh",
]);

/** Every place in a request that holds a value, as the object it is in and the key. */
function places(node: Node, found: [Node, string | number][] = []): [Node, string | number][] {
  for (const [key, value] of Object.entries(node)) {
    found.push([node, key]);
    if (typeof value === "object" && value !== null && !(value instanceof Date)) places(value as Node, found);
  }
  return found;
}

const numbers = fc.oneof(
  fc.constantFrom(
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -1,
    -0,
    0,
    1e-300,
    1e300,
    2 ** 32,
    0.5,
  ),
  fc.double(),
  fc.integer({ min: 0, max: 4000 }),
);
const texts = fc.oneof(
  fc.constantFrom(
    "",
    "grid",
    "hall",
    "row",
    "a",
    "CS1",
    "x".repeat(300),
    "\ud800",
    "__proto__",
    "24:00",
    "12-31",
  ),
  fc.string(),
);
const dates = fc.oneof(
  fc.constant(undefined),
  fc.date({ noInvalidDate: false }),
  fc.integer({ min: -100, max: 100 }).map((hours) => new Date(START_MS + hours * 1_000_000)),
);

/** What may stand in a place by the type of what stood there: the decoder gives nothing else. */
function mutated([node, key]: [Node, string | number]): fc.Arbitrary<unknown> {
  const value = node[key];
  if (typeof value === "number") return numbers;
  if (typeof value === "string") return texts;
  if (typeof value === "boolean") return fc.boolean();
  if (value instanceof Date) return dates;
  if (Array.isArray(value)) {
    return fc.oneof(
      fc.constant([]),
      fc.constant([...value, ...value]),
      fc.constant(value.toReversed()),
      fc.subarray(value as unknown[]),
    );
  }
  if (OPTIONAL_NUMBERS.has(String(key))) return fc.oneof(numbers, fc.constant(undefined));
  return fc.constant(undefined);
}

// A list has to keep its objects, `need` its case: only what the decoder can give is given.
function isMutable([node, key]: [Node, string | number]): boolean {
  if (key === "$case") return false;
  if (Array.isArray(node)) return typeof node[Number(key)] === "number";
  const value = node[key];
  return !("$case" in node) || typeof value === "number";
}

const requests = fc
  .tuple(fc.constantFrom(full, minimal), fc.array(fc.nat(), { minLength: 0, maxLength: 6 }))
  .chain(([make, picks]) => {
    const base = make();
    const all = places(base as unknown as Node).filter(isMutable);
    const chosen = picks.map((pick) => all[pick % all.length]);
    return fc.tuple(...chosen.map(mutated)).map((values) => {
      chosen.forEach(([node, key], n) => {
        node[key] = values[n];
      });
      return base;
    });
  });

function expectSound(problem: Problem): void {
  const { site, sessions, slotStartsMs } = problem;
  const endMs = slotStartsMs.at(-1)!;
  expect(slotStartsMs.length).toBeGreaterThanOrEqual(2);
  for (let k = 1; k < slotStartsMs.length; k++) {
    expect(slotStartsMs[k]).toBeGreaterThan(slotStartsMs[k - 1]);
    expect(slotStartsMs[k] % 1000).toBe(0);
  }
  site.circuits.forEach(({ parent, maxPowerW, maxCurrentA }, c) => {
    if (c === 0) expect(parent).toBe(-1);
    else expect(parent >= 0 && parent < c).toBe(true);
    expect(maxPowerW >= 0 && maxCurrentA >= 0).toBe(true);
  });
  for (const evse of site.evses) {
    expect(evse.circuit >= 0 && evse.circuit < site.circuits.length).toBe(true);
    expect(evse.minCurrentA <= evse.maxCurrentA && evse.minPowerW <= evse.maxPowerW).toBe(true);
    expect(Number.isFinite(evse.maxPowerW)).toBe(true);
    expect(new Set(evse.phases).size === evse.phases.length && evse.phases.length > 0).toBe(true);
    expect(Math.round(evse.ocpp.limitStep * 10)).toBeGreaterThanOrEqual(1);
    expect(evse.ocpp.maxPeriods).toBeGreaterThanOrEqual(2);
  }
  for (const session of sessions) {
    expect(session.arrivalMs >= slotStartsMs[0] && session.arrivalMs < session.departureMs).toBe(true);
    expect(session.departureMs).toBeLessThanOrEqual(endMs);
    expect(session.energyWh >= 0 && session.energyWh <= 1e9).toBe(true);
    expect(session.minCurrentA <= session.maxCurrentA && session.maxPowerW >= 0).toBe(true);
    expect(session.phaseCount >= 1 && session.phaseCount <= site.evses[session.evse].phases.length).toBe(
      true,
    );
    expect(site.evses[session.evse].uncontrolledPowerW).toBeUndefined();
  }
  expect([...everyNumber(problem)].some(Number.isNaN)).toBe(false);
}

function* everyNumber(value: unknown): Generator<number> {
  if (typeof value === "number") yield value;
  else if (typeof value === "object" && value !== null) {
    for (const inner of ArrayBuffer.isView(value) ? (value as Float64Array) : Object.values(value))
      yield* everyNumber(inner);
  }
}

test("a request of strangers is a sound problem or a list of violations, never anything else", () => {
  const outcomes = { sound: 0, refused: 0 };
  fc.assert(
    fc.property(requests, (request) => {
      let problem: Problem;
      try {
        problem = toProblem(request, START_MS);
      } catch (error) {
        outcomes.refused++;
        if (!(error instanceof WattslotError)) throw error;
        expect(["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"]).toContain(error.code);
        expect(error.violations.length).toBeGreaterThan(0);
        for (const { field, description } of error.violations) {
          expect(field).toMatch(/^[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*$/);
          expect(description).not.toBe("");
        }
        return;
      }
      outcomes.sound++;
      expectSound(problem);
    }),
    { numRuns: 1500 },
  );
  // The mutations reach both sides, or the property says nothing.
  expect(outcomes.sound).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(500);
});

test("any bytes that decode are read or refused", () => {
  const whole = Buffer.from(OptimizeRequest.encode(full()).finish());
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (flips) => {
        const bytes = Buffer.from(whole);
        for (const [at, byte] of flips) bytes[at] = byte;
        let request: OptimizeRequest;
        try {
          request = OptimizeRequest.decode(bytes);
        } catch {
          return; // The server's own test is about these.
        }
        try {
          expectSound(toProblem(request, START_MS));
        } catch (error) {
          if (!(error instanceof WattslotError)) throw error;
          expect(error.violations.length).toBeGreaterThan(0);
        }
      },
    ),
    { numRuns: 1500 },
  );
});

import { DateTime } from "luxon";
import { describe, expect, test } from "vitest";
import { HOUR_MS } from "../../src/domain/charging.ts";
import { type Generation, type Group, generateVisits } from "../../src/planner/generate.ts";
import { chanceOf } from "../../src/planner/random.ts";

const exactly = (mean: number) => ({ mean, sd: 0, min: 0, max: 10_000 });
const group = (over: Partial<Group> = {}): Group => ({
  name: "car",
  weekdays: [1, 2, 3, 4, 5, 6, 7],
  vehicles: 1,
  chance: 1,
  arrivalMinute: exactly(480),
  stayHours: exactly(8),
  energyKwh: exactly(12),
  saidStaySdHours: 0,
  saidEnergySd: 0,
  ...over,
});
const generation = (over: Partial<Generation> = {}): Generation => ({
  seed: 1,
  groups: [],
  fleets: [],
  ...over,
});
const span = (from: string, to: string, timeZone = "Europe/Berlin") => ({
  startMs: DateTime.fromISO(from, { zone: timeZone }).toMillis(),
  endMs: DateTime.fromISO(to, { zone: timeZone }).toMillis(),
  timeZone,
});

test("chance is the same on every machine, and a bell", () => {
  const chance = chanceOf(1);
  expect([chance.uniform(), chance.uniform()]).toEqual([0.6270739405881613, 0.002735721180215478]);
  const numbers = Array.from({ length: 20_000 }, () => chance.normal());
  const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
  const variance = numbers.reduce((sum, one) => sum + (one - mean) ** 2, 0) / numbers.length;
  expect(Math.abs(mean)).toBeLessThan(0.03);
  expect(Math.abs(variance - 1)).toBeLessThan(0.03);
  // 68.27 % of a bell curve lie within a standard deviation.
  const within = numbers.filter((one) => Math.abs(one) < 1).length / numbers.length;
  expect(Math.abs(within - 0.6827)).toBeLessThan(0.015);
});

describe("groups", () => {
  test("come on their weekdays, at the same hour of the wall clock when it changes", () => {
    // Summer time begins on Sunday 2026-03-29: 8:00 is 7:00 UTC before and 6:00 UTC from then on.
    const visits = generateVisits(
      generation({ groups: [group({ weekdays: [6, 7, 1] })] }),
      span("2026-03-27", "2026-04-02"),
    );
    expect(visits.map(({ arrivalMs }) => new Date(arrivalMs).toISOString())).toEqual([
      "2026-03-28T07:00:00.000Z",
      "2026-03-29T06:00:00.000Z",
      "2026-03-30T06:00:00.000Z",
    ]);
    expect(visits[0]).toMatchObject({
      departureMs: visits[0].arrivalMs + 8 * HOUR_MS,
      saidDepartureMs: visits[0].departureMs,
      energyWh: 12_000,
      saidEnergyWh: 12_000,
    });
  });

  test("the same seed gives the same visits, another one others", () => {
    const spread = { mean: 480, sd: 60, min: 0, max: 1439 };
    const of = (seed: number) =>
      generateVisits(
        generation({ seed, groups: [group({ vehicles: 20, chance: 0.5, arrivalMinute: spread })] }),
        span("2026-03-02", "2026-03-09"),
      );
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
    // 140 chances of a half: within four standard deviations of 5.9.
    expect(Math.abs(of(1).length - 70)).toBeLessThan(24);
  });

  test("what drivers say errs, what happens does not change by it", () => {
    const of = (over: Partial<Group>) =>
      generateVisits(
        generation({ groups: [group({ vehicles: 30, ...over })] }),
        span("2026-03-02", "2026-03-04"),
      );
    const wrong = of({ saidStaySdHours: 1, saidEnergySd: 0.2 });
    const right = of({});
    expect(wrong.map(({ departureMs }) => departureMs)).toEqual(right.map(({ departureMs }) => departureMs));
    const errors = wrong.map(({ departureMs, saidDepartureMs }) => (saidDepartureMs - departureMs) / HOUR_MS);
    const sd = Math.sqrt(errors.reduce((sum, one) => sum + one ** 2, 0) / errors.length);
    expect(sd).toBeGreaterThan(0.6);
    expect(sd).toBeLessThan(1.4);
    expect(wrong.every(({ saidDepartureMs, arrivalMs }) => saidDepartureMs > arrivalMs)).toBe(true);
  });
});

describe("fleets", () => {
  test("are there from a return to the next leave, over the weekend, too", () => {
    const visits = generateVisits(
      generation({
        fleets: [
          {
            name: "van",
            vehicles: 2,
            trips: [
              {
                weekdays: [1, 2, 3, 4, 5],
                leaveMinute: 420,
                returnMinute: 1020,
                returnSdMinutes: 0,
                energyKwh: exactly(30),
              },
            ],
          },
        ],
      }),
      span("2026-03-05T12:00", "2026-03-10T12:00"),
    );
    const local = (ms: number) => DateTime.fromMillis(ms, { zone: "Europe/Berlin" }).toFormat("ccc HH:mm");
    expect(visits.map(({ arrivalMs, departureMs }) => `${local(arrivalMs)} - ${local(departureMs)}`)).toEqual(
      [
        "Thu 17:00 - Fri 07:00",
        "Thu 17:00 - Fri 07:00",
        "Fri 17:00 - Mon 07:00",
        "Fri 17:00 - Mon 07:00",
        "Mon 17:00 - Tue 07:00",
        "Mon 17:00 - Tue 07:00",
      ],
    );
    expect(new Set(visits.map(({ sessionId }) => sessionId)).size).toBe(6);
  });

  test("who returns past midnight is back the next day", () => {
    const night = {
      weekdays: [1],
      leaveMinute: 1200,
      returnMinute: 240,
      returnSdMinutes: 0,
      energyKwh: exactly(10),
    };
    const [stay] = generateVisits(
      generation({ fleets: [{ name: "bus", vehicles: 1, trips: [night] }] }),
      span("2026-03-02", "2026-03-04", "UTC"),
    );
    expect(new Date(stay.arrivalMs).toISOString()).toBe("2026-03-03T04:00:00.000Z");
    expect(new Date(stay.departureMs).toISOString()).toBe("2026-03-09T20:00:00.000Z");
  });
});

import { DateTime } from "luxon";
import { expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { isZone, wallClock } from "../../src/domain/wall-clock.ts";

const ZONES = [
  "UTC",
  "Europe/Berlin",
  "America/St_Johns",
  "Australia/Lord_Howe",
  "Asia/Kathmandu",
  "Pacific/Apia",
  "Africa/Casablanca",
];

test("the wall clock is luxon's, at any time and around every change", () => {
  const random = randomOf(7);
  const local = (timeZone: string, atMs: number) =>
    DateTime.fromMillis(atMs, { zone: timeZone }).toFormat("yyyy-MM-dd'T'HH:mm:ss");
  for (const timeZone of ZONES) {
    for (let n = 0; n < 400; n++) {
      const atMs = random.int(Date.UTC(2010, 0, 1), Date.UTC(2040, 0, 1));
      expect(wallClock(timeZone, atMs).toISOString().slice(0, 19)).toBe(local(timeZone, atMs));
    }
    // Lord Howe moves by half an hour, Apia left a whole day out at the end of 2011.
    for (const from of [
      Date.UTC(2011, 11, 30),
      Date.UTC(2026, 2, 29),
      Date.UTC(2026, 3, 5),
      Date.UTC(2026, 9, 25),
    ])
      for (let minutes = -1440; minutes <= 1440; minutes += 15) {
        const atMs = from + minutes * 60_000;
        expect(wallClock(timeZone, atMs).toISOString().slice(0, 19)).toBe(local(timeZone, atMs));
      }
  }
});

test("a zone that is none is known as such, asked once or often", () => {
  for (let n = 0; n < 2; n++) {
    expect(isZone("Europe/Berlin")).toBe(true);
    expect(isZone("Europe/Nowhere")).toBe(false);
  }
  expect(wallClock("Europe/Nowhere", 0).getTime()).toBeNaN();
});

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Tariff, TimeOfUse, TimeOfUseRule } from "../../src/domain/problem.ts";
import { demandCost, demandWindows, priceAt, slotCarbon, slotPrices } from "../../src/domain/tariff.ts";
import { circuit, evse, problem, START_MS, series, session, tariff } from "../support/problems.ts";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const SMARD = resolve("../shared/data/prices/smard_dayahead_2021_16zones_hourly.csv.gz");
const SCE = resolve("../shared/data/tariffs/sce_tou_ev_4_march_2019.json");

function rule(from: string, to: string, pricePerKwh: number, over: Partial<TimeOfUseRule> = {}) {
  const minutes = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
  return {
    weekdays: [1, 2, 3, 4, 5, 6, 7],
    fromMinute: minutes(from),
    toMinute: minutes(to),
    fromDay: 101,
    toDay: 1231,
    pricePerKwh,
    ...over,
  };
}

/** Prices of the slots between the given instants. */
function pricesAt(slotStartsMs: number[], price: Tariff["price"], timeZone = "UTC"): number[] {
  const site = {
    siteId: "site",
    timeZone,
    nominalVoltageV: 230,
    pvPowerW: undefined,
    battery: undefined,
    circuits: [circuit()],
    evses: [evse()],
    tariff: tariff({ price }),
  };
  const departureMs = slotStartsMs[slotStartsMs.length - 1];
  const p = problem({ site, slotStartsMs, sessions: [session({ arrivalMs: slotStartsMs[0], departureMs })] });
  return Array.from(slotPrices(p));
}

/** Hourly prices from an instant on. */
function hourly(from: string, hours: number, timeZone: string, ...rules: TimeOfUseRule[]): number[] {
  const startMs = Date.parse(from);
  return pricesAt(
    Array.from({ length: hours + 1 }, (_, k) => startMs + k * HOUR_MS),
    { rules },
    timeZone,
  );
}

function expectClose(actual: number[], expected: number[]): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((value, k) => {
    expect(value, `slot ${k}`).toBeCloseTo(expected[k], 12);
  });
}

describe("wall-clock prices", () => {
  const night = [rule("22:00", "06:00", 0.1), rule("00:00", "24:00", 0.3)];
  const split = (cheap: number, dear: number) => [
    0.3,
    ...Array.from({ length: cheap }, () => 0.1),
    ...Array.from({ length: dear }, () => 0.3),
  ];

  test("a night has 8 hours, in Berlin in spring 7 and in autumn 9", () => {
    // 21:00 in winter is 20:00 UTC, in summer 19:00 UTC.
    expectClose(hourly("2026-02-10T20:00Z", 12, "Europe/Berlin", ...night), split(8, 3));
    expectClose(hourly("2026-03-28T20:00Z", 12, "Europe/Berlin", ...night), split(7, 4));
    expectClose(hourly("2026-10-24T19:00Z", 12, "Europe/Berlin", ...night), split(9, 2));
  });

  test("a night in Los Angeles", () => {
    // 21:00 PST is 05:00 UTC, 21:00 PDT is 04:00 UTC.
    expectClose(hourly("2026-03-08T05:00Z", 12, "America/Los_Angeles", ...night), split(7, 4));
    expectClose(hourly("2026-11-01T04:00Z", 12, "America/Los_Angeles", ...night), split(9, 2));
  });

  test("a rule in the hour that spring leaves out has only what is left of it", () => {
    // 01:00 UTC is 03:00 in Berlin: of 02:30 to 03:30 the second half is there.
    const rules = [rule("02:30", "03:30", 1)];
    expectClose(hourly("2026-03-29T00:00Z", 3, "Europe/Berlin", ...rules), [0, 0.5, 0]);
    expectClose(hourly("2026-03-08T09:00Z", 3, "America/Los_Angeles", ...rules), [0, 0.5, 0]);
    expectClose(hourly("2026-03-08T09:00Z", 3, "America/Los_Angeles", rule("02:00", "03:00", 1)), [0, 0, 0]);
  });

  test("a rule in the hour that autumn repeats holds twice", () => {
    // 02:30 to 03:00 CEST, then 02:30 to 03:30 CET.
    const rules = [rule("02:30", "03:30", 1)];
    expectClose(hourly("2026-10-25T00:00Z", 3, "Europe/Berlin", ...rules), [0.5, 0.5, 0.5]);
    expectClose(
      hourly("2026-11-01T07:00Z", 4, "America/Los_Angeles", rule("01:00", "02:00", 1)),
      [0, 1, 1, 0],
    );
  });

  test("zones off the full hour", () => {
    expectClose(hourly("2026-11-23T03:00Z", 3, "Asia/Kolkata", rule("09:00", "10:00", 1)), [0.5, 0.5, 0]);
    expectClose(hourly("2026-11-23T03:00Z", 3, "Asia/Kathmandu", rule("09:00", "10:00", 1)), [0.75, 0.25, 0]);
  });

  test("half an hour of daylight saving on Lord Howe Island", () => {
    // 02:00 at +11 becomes 01:30 at +10:30 at 15:00 UTC, and back at 15:30 UTC.
    const end = [rule("01:30", "02:00", 1)];
    expectClose(hourly("2026-04-04T13:00Z", 4, "Australia/Lord_Howe", ...end), [0, 0.5, 0.5, 0]);
    const start = [rule("02:00", "02:30", 1), rule("02:30", "03:30", 2)];
    expectClose(hourly("2026-10-03T14:00Z", 4, "Australia/Lord_Howe", ...start), [0, 1, 1, 0]);
  });

  test("days of the week, which change at local midnight", () => {
    // 2026-11-23 is a Monday; midnight in Berlin is 23:00 UTC.
    const rules = [
      rule("00:00", "24:00", 1, { weekdays: [1] }),
      rule("00:00", "24:00", 2, { weekdays: [7] }),
    ];
    expectClose(hourly("2026-11-22T22:00Z", 3, "Europe/Berlin", ...rules), [2, 1, 1]);
    expectClose(hourly("2026-11-23T22:00Z", 3, "Europe/Berlin", ...rules), [1, 0, 0]);
  });

  test("a rule over midnight asks for the weekday of each instant, not of the evening", () => {
    const rules = [rule("22:00", "02:00", 1, { weekdays: [1] })];
    expectClose(hourly("2026-11-22T23:00Z", 4, "UTC", ...rules), [0, 1, 1, 0]);
    expectClose(hourly("2026-11-23T21:00Z", 4, "UTC", ...rules), [0, 1, 1, 0]);
  });

  test("seasons, both ends inclusive, also over New Year", () => {
    const winter = { rules: [rule("00:00", "24:00", 1, { fromDay: 1001, toDay: 229 })] };
    const at = (text: string) => priceAt(winter, "UTC", Date.parse(text));
    expect(at("2027-09-30T23:59:59Z")).toBeUndefined();
    expect(at("2027-10-01T00:00:00Z")).toBe(1);
    expect(at("2027-12-31T23:59:59Z")).toBe(1);
    expect(at("2028-01-01T00:00:00Z")).toBe(1);
    expect(at("2028-02-29T23:59:59Z")).toBe(1);
    expect(at("2028-03-01T00:00:00Z")).toBeUndefined();
    const day = { rules: [rule("00:00", "24:00", 1, { fromDay: 1224, toDay: 1224 })] };
    expect(priceAt(day, "UTC", Date.parse("2026-12-24T12:00:00Z"))).toBe(1);
    expect(priceAt(day, "UTC", Date.parse("2026-12-25T00:00:00Z"))).toBeUndefined();
    // Already the 24th there.
    expect(priceAt(day, "Asia/Kolkata", Date.parse("2026-12-23T18:30:00Z"))).toBe(1);
  });

  test("the first rule that fits wins, and where none fits the price is 0", () => {
    const rules = [rule("08:00", "10:00", 1), rule("09:00", "12:00", 2)];
    expectClose(hourly("2026-11-23T07:00Z", 6, "UTC", ...rules), [0, 1, 1, 2, 2, 0]);
    expectClose(hourly("2026-11-23T07:00Z", 6, "UTC", ...[...rules].reverse()), [0, 1, 2, 2, 2, 0]);
    expect(priceAt({ rules }, "UTC", Date.parse("2026-11-23T12:00Z"))).toBeUndefined();
  });

  test("from is inclusive, to is exclusive, and 24:00 and 00:00 end the same day", () => {
    for (const end of ["24:00", "00:00"]) {
      const rules = { rules: [rule("20:00", end, 1)] };
      const at = (text: string) => priceAt(rules, "UTC", Date.parse(`2026-11-23T${text}Z`));
      expect(at("19:59:59.999")).toBeUndefined();
      expect(at("20:00:00.000")).toBe(1);
      expect(at("23:59:59.999")).toBe(1);
      expect(at("00:00:00.000")).toBeUndefined();
    }
  });

  test("a slot longer than a rule's piece has the mean", () => {
    const startMs = Date.parse("2026-11-23T08:00:00Z");
    const rules = [rule("08:20", "08:50", 0.6), rule("00:00", "24:00", 0.2)];
    expectClose(pricesAt([startMs, startMs + HOUR_MS], { rules }), [0.4]);
    // 08:10:30 to 09:00 holds 30 minutes of the first and 19.5 of the second.
    expectClose(pricesAt([startMs + 10.5 * MINUTE_MS, startMs + HOUR_MS], { rules }), [
      (0.6 * 30 + 0.2 * 19.5) / 49.5,
    ]);
    // A day of 25 hours: nine of them at night.
    const dayMs = Date.parse("2026-10-24T22:00:00Z");
    const day = [rule("22:00", "06:00", 0.1), rule("00:00", "24:00", 0.35)];
    expectClose(pricesAt([dayMs, dayMs + 25 * HOUR_MS], { rules: day }, "Europe/Berlin"), [
      (0.1 * (7 + 2) + 0.35 * 16) / 25,
    ]);
  });

  test("rules on odd minutes", () => {
    const startMs = Date.parse("2026-11-23T08:00:00Z");
    const rules = [rule("08:07", "08:08", 3), rule("08:59", "09:01", 6)];
    const starts = [startMs, startMs + 900_000, startMs + HOUR_MS, startMs + 1.25 * HOUR_MS];
    expectClose(pricesAt(starts, { rules }), [3 / 15, 6 / 45, 6 / 15]);
    expectClose(pricesAt(starts.slice(0, 2), { rules: [rule("08:00", "08:07", 3)] }), [(3 * 7) / 15]);
  });
});

describe("price series", () => {
  const prices = series(START_MS, HOUR_MS, [0.1, 0.3, -0.05]);
  const at = (minute: number) => START_MS + minute * MINUTE_MS;

  test("means over parts of steps, negative prices too", () => {
    // 15 minutes at 0.1 and 15 at 0.3; 45 at 0.3 and 30 at -0.05; 0.1 before the start, -0.05 after the end.
    expectClose(pricesAt([at(-15), at(45), at(75), at(150), at(400)], prices), [
      0.1,
      0.2,
      (0.3 * 45 - 0.05 * 30) / 75,
      -0.05,
    ]);
  });

  test("a slot within a step and a step that begins on an odd second", () => {
    const odd = series(START_MS - 1000, HOUR_MS, [0.1, 0.2]);
    expectClose(pricesAt([at(10), at(20), at(60), at(75)], odd), [0.1, 0.1 + 0.1 / 2400, 0.2]);
  });

  test("without a tariff every price is 0, and so is unknown carbon", () => {
    const p = problem();
    expect(slotPrices(p)).toEqual(new Float64Array(16));
    expect(slotCarbon(p)).toEqual(new Float64Array(16));
  });

  test("carbon is a mean as prices are", () => {
    const carbonGPerKwh = series(START_MS, 20 * MINUTE_MS, [100, 400, 250]);
    const p = problem({ slotMs: HOUR_MS / 2 });
    p.site.tariff = tariff({ carbonGPerKwh });
    expectClose(Array.from(slotCarbon(p)).slice(0, 3), [200, 300, 250]);
  });
});

describe("demand charge", () => {
  function windowsOf(startMs: number, endMs: number, demandWindowMs: number, demandPricePerKw = 10) {
    const p = problem({
      slotStartsMs: [startMs, endMs],
      sessions: [session({ arrivalMs: startMs, departureMs: endMs })],
    });
    p.site.tariff = tariff({ demandPricePerKw, demandWindowMs });
    return demandWindows(p).map((one) => [
      (one.startMs - START_MS) / MINUTE_MS,
      (one.endMs - START_MS) / MINUTE_MS,
      one.hours * 60,
    ]);
  }
  const at = (minute: number) => START_MS + minute * MINUTE_MS;

  test("windows lie on multiples of their length; the first and the last may be cut", () => {
    expect(windowsOf(at(20), at(70), 30 * MINUTE_MS)).toEqual([
      [20, 30, 10],
      [30, 60, 30],
      [60, 70, 10],
    ]);
    expect(windowsOf(at(0), at(30), 15 * MINUTE_MS)).toEqual([
      [0, 15, 15],
      [15, 30, 15],
    ]);
    expect(windowsOf(at(20), at(40), 60 * MINUTE_MS)).toEqual([[20, 40, 20]]);
  });

  test("the rest of a window counts as a minute at least", () => {
    expect(windowsOf(at(14.5), at(30), 15 * MINUTE_MS)).toEqual([
      [14.5, 15, 1],
      [15, 30, 15],
    ]);
  });

  test("no windows without a price", () => {
    expect(windowsOf(at(0), at(30), 15 * MINUTE_MS, 0)).toEqual([]);
    expect(demandWindows(problem())).toEqual([]);
  });

  test("costs what is above the peak so far", () => {
    const charge = (demandPeakSoFarW: number) => tariff({ demandPricePerKw: 15.51, demandPeakSoFarW });
    expect(demandCost(charge(0), 99_000)).toBeCloseTo(1535.49, 9);
    expect(demandCost(charge(50_000), 99_000)).toBeCloseTo(759.99, 9);
    expect(demandCost(charge(99_001), 99_000)).toBe(0);
    expect(demandCost(undefined, 99_000)).toBe(0);
  });
});

test.skipIf(!existsSync(SMARD))("the German day-ahead prices of 2021 (skipped without their file)", () => {
  const rows = gunzipSync(readFileSync(SMARD)).toString("utf8").trim().split("\n");
  expect(rows[0].split(";")[1]).toContain("Deutschland/Luxemburg");
  const euroPerMwh = rows.slice(1).map((row) => Number(row.split(";")[1].replace(",", ".")));
  expect(euroPerMwh).toHaveLength(8760);
  const startMs = Date.UTC(2021, 0, 1);
  const price = series(
    startMs,
    HOUR_MS,
    euroPerMwh.map((value) => value / 1000),
  );
  const prices = pricesAt(
    euroPerMwh.map((_, k) => startMs + k * HOUR_MS).concat(startMs + 8760 * HOUR_MS),
    price,
  );
  expect(Math.min(...prices)).toBeCloseTo(-0.069, 12);
  expect(Math.max(...prices)).toBeCloseTo(0.62, 12);
  expect(prices.filter((value) => value < 0)).toHaveLength(139);

  // Half of one hour and half of the next: a day of slots from 00:30.
  const shifted = pricesAt(
    Array.from({ length: 25 }, (_, k) => startMs + (k + 0.5) * HOUR_MS),
    price,
  );
  expectClose(
    shifted,
    shifted.map((_, k) => (euroPerMwh[k] + euroPerMwh[k + 1]) / 2000),
  );
});

test.skipIf(!existsSync(SCE))(
  "Southern California Edison's TOU-EV-4 of March 2019 as rules (skipped without its file)",
  () => {
    interface Season {
      effective_start: string;
      effective_end: string;
      dow_mask: "WEEKDAYS" | "WEEKENDS";
      times: number[];
      tariffs: number[];
    }
    const { schedule }: { schedule: Season[] } = JSON.parse(readFileSync(SCE, "utf8"));
    const day = (text: string) => Number(text.replace("-", ""));
    const sce: TimeOfUse = {
      rules: schedule.flatMap((season) =>
        season.times.map((hour, n) => ({
          weekdays: season.dow_mask === "WEEKDAYS" ? [1, 2, 3, 4, 5] : [6, 7],
          fromMinute: hour * 60,
          toMinute: (season.times[n + 1] ?? 24) * 60,
          fromDay: day(season.effective_start),
          toDay: day(season.effective_end),
          pricePerKwh: season.tariffs[n],
        })),
      ),
    };
    const at = (text: string) => priceAt(sce, "America/Los_Angeles", Date.parse(text));
    // Friday 1 March, PST.
    expect(at("2019-03-01T00:00:00-08:00")).toBe(0.06087);
    expect(at("2019-03-01T07:59:59-08:00")).toBe(0.06087);
    expect(at("2019-03-01T08:00:00-08:00")).toBe(0.07492);
    expect(at("2019-03-01T12:00:00-08:00")).toBe(0.0869);
    expect(at("2019-03-01T17:59:59-08:00")).toBe(0.0869);
    expect(at("2019-03-01T18:00:00-08:00")).toBe(0.07492);
    expect(at("2019-03-01T23:00:00-08:00")).toBe(0.06087);
    // A weekend.
    expect(at("2019-03-02T12:00:00-08:00")).toBe(0.06087);
    expect(at("2019-03-03T23:59:59-08:00")).toBe(0.06087);
    // Monday after the clocks went forward on 10 March: 08:00 PDT is 15:00 UTC.
    expect(at("2019-03-11T14:59:59Z")).toBe(0.06087);
    expect(at("2019-03-11T15:00:00Z")).toBe(0.07492);
    // Summer, and the winter tariff's two ends.
    expect(at("2019-05-31T12:00:00-07:00")).toBe(0.0869);
    expect(at("2019-07-01T12:00:00-07:00")).toBe(0.26668);
    expect(at("2019-09-30T23:59:59-07:00")).toBe(0.05623);
    expect(at("2019-10-01T12:00:00-07:00")).toBe(0.0869);
    expect(at("2020-01-01T12:00:00-08:00")).toBe(0.0869);
    // The whole month: 21 weekdays of 24 hours at these prices, 10 weekend days at the night's, one hour less.
    const startMs = Date.parse("2019-03-01T00:00:00-08:00");
    const month = pricesAt(
      Array.from({ length: 31 * 24 }, (_, k) => startMs + k * HOUR_MS),
      sce,
      "America/Los_Angeles",
    );
    const sum = month.reduce((a, b) => a + b, 0);
    const weekday = 9 * 0.06087 + (4 + 5) * 0.07492 + 6 * 0.0869;
    expect(sum).toBeCloseTo(21 * weekday + (10 * 24 - 1) * 0.06087, 9);
  },
);

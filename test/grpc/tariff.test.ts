import fc from "fast-check";
import { expect, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import { priceAt } from "../../src/domain/tariff.ts";
import type { TimeOfUseRule } from "../../src/gen/wattslot/v1/optimizer.ts";
import { toProblem } from "../../src/grpc/convert.ts";
import { HOUR_MS, minimal } from "./requests.ts";

// Days on which the clocks of the zones change, and New Year.
const STARTS = [
  "2026-03-28T12:00:00Z",
  "2026-10-24T20:00:00Z",
  "2026-12-31T01:30:00Z",
  "2026-10-03T10:10:30Z",
];
const ZONES = ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York"];

const minutes = fc.integer({ min: 0, max: 96 }).map((quarter) => quarter * 15);
const clock = (minute: number) =>
  `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
const dates = fc.constantFrom<string[]>("", "03-29", "10-25", "01-01", "12-31", "10-04");
const rules: fc.Arbitrary<TimeOfUseRule> = fc.record({
  weekdays: fc.oneof(fc.constant<number[]>([]), fc.subarray([1, 2, 3, 4, 5, 6, 7], { minLength: 1 })),
  fromLocal: minutes.filter((minute) => minute < 1440).map(clock),
  toLocal: minutes.map(clock),
  fromDate: dates,
  toDate: dates,
  pricePerKwh: fc.constant(0.1),
});

test("rules are refused exactly where the price of some minute of the plan is unknown", () => {
  const outcomes = { covered: 0, holes: 0 };
  fc.assert(
    fc.property(
      fc.constantFrom(...STARTS),
      fc.constantFrom(...ZONES),
      fc.integer({ min: 1, max: 30 }),
      fc.array(
        rules.filter(({ fromLocal, toLocal }) => fromLocal !== toLocal),
        { minLength: 1, maxLength: 8 },
      ),
      (start, timeZone, hours, given) => {
        const request = minimal();
        request.sessions = [];
        request.startTime = new Date(start);
        request.endTime = new Date(request.startTime.getTime() + hours * HOUR_MS);
        const site = request.site!;
        site.timeZone = timeZone;
        const withRules = (list: TimeOfUseRule[]) => {
          site.tariff = {
            currency: "EUR",
            energyPrice: { $case: "timeOfUse", value: { rules: list } },
            exportPricePerKwh: undefined,
            demandPricePerKw: 0,
            demandPeakSoFarW: 0,
            demandWindowSeconds: 0,
            carbonGPerKwh: undefined,
          };
          return toProblem(request, 0);
        };
        // With a rule for all that is left over, the rules can be read and asked minute by minute.
        const rest = {
          ...given[0],
          weekdays: [],
          fromLocal: "00:00",
          toLocal: "24:00",
          fromDate: "",
          toDate: "",
        };
        const { price } = withRules([...given, rest]).site.tariff!;
        if (!("rules" in price)) throw new Error("the rules are gone");
        const asked = { rules: price.rules.slice(0, -1) };
        let hasHole = false;
        for (let at = request.startTime.getTime(); at < request.endTime.getTime(); at += 60_000) {
          hasHole ||= priceAt(asked, timeZone, at) === undefined;
        }
        if (hasHole) {
          outcomes.holes++;
          expect(() => withRules(given)).toThrow(WattslotError);
          expect(() => withRules(given)).toThrow(/site\.tariff\.time_of_use\.rules no rule covers 20/);
        } else {
          outcomes.covered++;
          withRules(given);
        }
      },
    ),
    { numRuns: 60 },
  );
  expect(outcomes.covered).toBeGreaterThan(0);
  expect(outcomes.holes).toBeGreaterThan(0);
});

test("an hour that the clock skips needs no price, one that comes twice needs it twice", () => {
  const request = minimal();
  request.sessions = [];
  const site = request.site!;
  site.timeZone = "Europe/Berlin";
  const rule = (fromLocal: string, toLocal: string) => ({
    weekdays: [],
    fromLocal,
    toLocal,
    fromDate: "",
    toDate: "",
    pricePerKwh: 1,
  });
  site.tariff = {
    currency: "EUR",
    // Nothing between 2 and 3 in the morning.
    energyPrice: { $case: "timeOfUse", value: { rules: [rule("03:00", "02:00")] } },
    exportPricePerKwh: undefined,
    demandPricePerKw: 0,
    demandPeakSoFarW: 0,
    demandWindowSeconds: 0,
    carbonGPerKwh: undefined,
  };
  const over = (start: string, end: string) => {
    request.startTime = new Date(start);
    request.endTime = new Date(end);
    return () => toProblem(request, 0);
  };
  // 2026-03-29: 01:59 is followed by 03:00.
  expect(over("2026-03-29T00:00:00Z", "2026-03-29T04:00:00Z")).not.toThrow();
  expect(over("2026-03-30T00:00:00Z", "2026-03-30T04:00:00Z")).toThrow("2026-03-30 02:00");
  // 2026-10-25: 02:59 is followed by 02:00, which is 01:00 UTC.
  expect(over("2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z")).toThrow("2026-10-25 02:00");
  expect(over("2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z")).not.toThrow();
});

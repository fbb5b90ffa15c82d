import { describe, expect, it } from "vitest";
import type { WattslotError } from "../../src/domain/errors.ts";
import { judgeSchedule, readEvSchedule, type SetChargingProfile2x } from "../../src/ocpp/ev-schedule.ts";
import type { WirePeriod, WireSchedule } from "../../src/ocpp/wire.ts";

const START = "2026-11-23T08:00:00Z";
const START_MS = Date.parse(START);
const EVSE = { version: "2.1", supply: "AC", voltageV: 230 } as const;

/** Three phases of 16 A for an hour, 8 A for the next, 0 from then on. */
const PERIODS: WirePeriod[] = [
  { startPeriod: 0, limit: 16, numberPhases: 3 },
  { startPeriod: 3600, limit: 8, numberPhases: 3 },
  { startPeriod: 7200, limit: 0, numberPhases: 3 },
];

function held(over: Partial<WireSchedule>[] = [{}]): SetChargingProfile2x {
  return {
    evseId: 1,
    chargingProfile: {
      id: 11,
      stackLevel: 0,
      chargingProfilePurpose: "TxProfile",
      chargingProfileKind: "Absolute",
      transactionId: "tx",
      chargingSchedule: over.map((schedule, n) => ({
        id: n + 1,
        startSchedule: START,
        chargingRateUnit: "A",
        chargingSchedulePeriod: PERIODS,
        ...schedule,
      })),
    },
  };
}

const wanting = (periods: WirePeriod[], over: object = {}) => ({
  evseId: 1,
  timeBase: START,
  chargingSchedule: {
    id: 1,
    chargingRateUnit: "W" as const,
    chargingSchedulePeriod: periods,
    ...over,
  },
});

const FULL_W = 3 * 16 * 230;
const HALF_W = 3 * 8 * 230;

describe("a vehicle's schedule", () => {
  it("is inside at exactly what is allowed, and half a watt of rounding above", () => {
    const exact = [
      { startPeriod: 0, limit: FULL_W },
      { startPeriod: 3600, limit: HALF_W },
      { startPeriod: 7200, limit: 0 },
    ];
    expect(judgeSchedule(wanting(exact), held(), EVSE)).toEqual([]);
    const rounded = exact.map((period) => ({ ...period, limit: period.limit + 0.5 }));
    expect(judgeSchedule(wanting(rounded), held(), EVSE)).toEqual([]);
  });

  it("is outside a watt above, from when to when and by how much", () => {
    const periods = [
      { startPeriod: 0, limit: FULL_W },
      { startPeriod: 3600, limit: HALF_W + 1 },
      { startPeriod: 5400, limit: 0 },
    ];
    expect(judgeSchedule(wanting(periods), held(), EVSE)).toEqual([
      { fromMs: START_MS + 3_600_000, toMs: START_MS + 5_400_000, powerW: HALF_W + 1, allowedW: HALF_W },
    ]);
  });

  it("is outside that falls a second too late", () => {
    const periods = [
      { startPeriod: 0, limit: FULL_W },
      { startPeriod: 3601, limit: HALF_W },
      { startPeriod: 7200, limit: 0 },
    ];
    expect(judgeSchedule(wanting(periods), held(), EVSE)).toEqual([
      { fromMs: START_MS + 3_600_000, toMs: START_MS + 3_601_000, powerW: FULL_W, allowedW: HALF_W },
    ]);
  });

  it("without a duration goes on", () => {
    const [excess] = judgeSchedule(wanting([{ startPeriod: 0, limit: HALF_W }]), held(), EVSE);
    expect(excess).toEqual({ fromMs: START_MS + 7_200_000, toMs: Infinity, powerW: HALF_W, allowedW: 0 });
    const ending = wanting([{ startPeriod: 0, limit: HALF_W }], { duration: 7200 });
    expect(judgeSchedule(ending, held(), EVSE)).toEqual([]);
  });

  it("counts from timeBase, which may be within the profile", () => {
    const late = {
      ...wanting([{ startPeriod: 0, limit: FULL_W }], { duration: 60 }),
      timeBase: "2026-11-23T09:30:00Z",
    };
    expect(judgeSchedule(late, held(), EVSE)).toMatchObject([{ allowedW: HALF_W }]);
  });

  it("with phases of its own counts them all", () => {
    const periods = [{ startPeriod: 0, limit: 3680, limit_L2: 3680, limit_L3: 3680 }];
    expect(judgeSchedule(wanting(periods, { duration: 3600 }), held(), EVSE)).toEqual([]);
    periods[0].limit_L3 = 3682;
    expect(judgeSchedule(wanting(periods, { duration: 3600 }), held(), EVSE)).toHaveLength(1);
  });

  it("with phases of its own is outside where one of them is, however little is on the others", () => {
    const periods = [{ startPeriod: 0, limit: 3681, limit_L2: 0, limit_L3: 0 }];
    // 16 A x 230 V on each.
    expect(judgeSchedule(wanting(periods, { duration: 60 }), held(), EVSE)).toEqual([
      { fromMs: START_MS, toMs: START_MS + 60_000, powerW: 3681, allowedW: 3680 },
    ]);
    const uneven = held([
      {
        chargingRateUnit: "W",
        chargingSchedulePeriod: [{ startPeriod: 0, limit: 3000, limit_L2: 1000, limit_L3: 1000 }],
      },
    ]);
    const even = (limit: number) =>
      judgeSchedule(wanting([{ startPeriod: 0, limit }], { duration: 60 }), uneven, EVSE);
    expect(even(3000)).toEqual([]);
    // In all 5000 W are allowed; a third of 3003 on L2 is not.
    expect(even(3003)).toMatchObject([{ powerW: 1001, allowedW: 1000 }]);
  });

  it("is allowed nothing where the profile has ended, and its first period before it begins", () => {
    const ended = held([{ duration: 3600 }]);
    const full = wanting([{ startPeriod: 0, limit: FULL_W }], { duration: 3601 });
    expect(judgeSchedule(full, ended, EVSE)).toEqual([
      { fromMs: START_MS + 3_600_000, toMs: START_MS + 3_601_000, powerW: FULL_W, allowedW: 0 },
    ]);
    const expired = held();
    expired.chargingProfile.validTo = START;
    expect(judgeSchedule(full, expired, EVSE)).toMatchObject([{ powerW: FULL_W, allowedW: 0 }]);
    const early = (limit: number) =>
      judgeSchedule(
        { ...wanting([{ startPeriod: 0, limit }], { duration: 60 }), timeBase: "2026-11-23T07:59:30Z" },
        held(),
        EVSE,
      );
    expect(early(FULL_W)).toEqual([]);
    expect(early(FULL_W + 1)).toMatchObject([{ fromMs: START_MS - 30_000, allowedW: FULL_W }]);
  });

  it("of another EVSE than the profile's is allowed nothing", () => {
    const other = { ...held(), evseId: 2 };
    const any = wanting([{ startPeriod: 0, limit: 100 }], { duration: 60 });
    expect(judgeSchedule(any, other, EVSE)).toMatchObject([{ powerW: 100, allowedW: 0 }]);
  });

  it("that echoes what the charger was told is inside, whatever it was told in", () => {
    const told = held();
    const [{ chargingRateUnit, chargingSchedulePeriod }] = told.chargingProfile.chargingSchedule;
    expect(judgeSchedule(wanting([...chargingSchedulePeriod], { chargingRateUnit }), told, EVSE)).toEqual([]);
    const giving = held([
      {
        chargingRateUnit: "W",
        chargingSchedulePeriod: [
          { startPeriod: 0, limit: 7000, operationMode: "ChargingOnly" },
          { startPeriod: 900, setpoint: -5000, operationMode: "CentralSetpoint" },
          { startPeriod: 1800, operationMode: "Idle" },
        ],
      },
    ]);
    const [{ chargingSchedulePeriod: periods }] = giving.chargingProfile.chargingSchedule;
    expect(judgeSchedule(wanting([...periods]), giving, EVSE)).toEqual([]);
  });

  it("is held for a month against a profile that recurs for ever", () => {
    const daily = held([
      {
        duration: 43_200,
        chargingSchedulePeriod: Array.from({ length: 1024 }, (_, n) => ({
          startPeriod: 40 * n,
          limit: 16 - (n % 2),
          numberPhases: 3,
        })),
      },
    ]);
    Object.assign(daily.chargingProfile, { chargingProfileKind: "Recurring", recurrencyKind: "Daily" });
    const excesses = judgeSchedule(wanting([{ startPeriod: 0, limit: 15 * 690 }]), daily, EVSE);
    // Every night: half of each day is not in the schedule.
    expect(excesses).toHaveLength(31);
    expect(excesses[0]).toEqual({
      fromMs: START_MS + 43_200_000,
      toMs: START_MS + 86_400_000,
      powerW: 15 * 690,
      allowedW: 0,
    });
    expect(excesses[30].toMs).toBe(Infinity);
  });

  it("is held against the schedule that the vehicle chose, or against whichever it keeps to", () => {
    const lower = { chargingSchedulePeriod: [{ startPeriod: 0, limit: 6, numberPhases: 3 }] };
    const both = held([lower, {}]);
    const full = wanting([{ startPeriod: 0, limit: FULL_W }], { duration: 3600 });
    expect(judgeSchedule(full, both, EVSE)).toEqual([]);
    expect(judgeSchedule({ ...full, selectedChargingScheduleId: 2 }, both, EVSE)).toEqual([]);
    expect(judgeSchedule({ ...full, selectedChargingScheduleId: 1 }, both, EVSE)).toMatchObject([
      { powerW: FULL_W, allowedW: 3 * 6 * 230 },
    ]);
  });

  it("may give no more than it is asked for, and only then", () => {
    const giving = held([
      {
        chargingRateUnit: "W",
        chargingSchedulePeriod: [
          { startPeriod: 0, setpoint: -5000, operationMode: "CentralSetpoint", numberPhases: 3 },
          { startPeriod: 3600, limit: 5000, operationMode: "ChargingOnly", numberPhases: 3 },
        ],
      },
    ]);
    const by = (limit: number, startPeriod: number) =>
      judgeSchedule(
        wanting(
          [
            { startPeriod: 0, limit: 0 },
            { startPeriod, limit },
          ],
          { duration: startPeriod + 60 },
        ),
        giving,
        EVSE,
      );
    expect(by(-5000, 60)).toEqual([]);
    expect(by(-3000, 60)).toEqual([]);
    expect(by(-5002, 60)).toMatchObject([{ powerW: -5002, allowedW: -5000 }]);
    expect(by(1000, 60)).toMatchObject([{ powerW: 1000, allowedW: -5000 }]);
    expect(by(-1000, 3600)).toMatchObject([{ powerW: -1000, allowedW: 5000 }]);
  });

  it("is refused by field where it is none", () => {
    const fieldsOf = (payload: unknown, version: "2.0.1" | "2.1") => {
      try {
        readEvSchedule(payload, version);
      } catch (error) {
        return (error as WattslotError).violations.map(({ field }) => field);
      }
      return [];
    };
    expect(
      fieldsOf({ timeBase: "now", chargingSchedule: { id: 1, chargingRateUnit: "W" } }, "2.0.1"),
    ).toEqual(["timeBase", "chargingSchedule.chargingSchedulePeriod", "evseId"]);
    const unclear = wanting(
      [
        { startPeriod: 5, limit: 0 },
        { startPeriod: 60 },
        { startPeriod: 60, limit: 5 },
        { startPeriod: 90, operationMode: "Idle" },
      ],
      { duration: 0 },
    );
    expect(fieldsOf(unclear, "2.1").map((field) => field.replace("chargingSchedule.", ""))).toEqual([
      "duration",
      "chargingSchedulePeriod[0].startPeriod",
      "chargingSchedulePeriod[1].limit",
      "chargingSchedulePeriod[2].startPeriod",
    ]);
  });
});

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
  it("is inside at exactly what is allowed, and a watt of rounding above", () => {
    const exact = [
      { startPeriod: 0, limit: FULL_W },
      { startPeriod: 3600, limit: HALF_W },
      { startPeriod: 7200, limit: 0 },
    ];
    expect(judgeSchedule(wanting(exact), held(), EVSE)).toEqual([]);
    const rounded = exact.map((period) => ({ ...period, limit: period.limit + 1 }));
    expect(judgeSchedule(wanting(rounded), held(), EVSE)).toEqual([]);
  });

  it("is outside two watts above, from when to when and by how much", () => {
    const periods = [
      { startPeriod: 0, limit: FULL_W },
      { startPeriod: 3600, limit: HALF_W + 2 },
      { startPeriod: 5400, limit: 0 },
    ];
    expect(judgeSchedule(wanting(periods), held(), EVSE)).toEqual([
      { fromMs: START_MS + 3_600_000, toMs: START_MS + 5_400_000, powerW: HALF_W + 2, allowedW: HALF_W },
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
    periods[0].limit_L3 = 3683;
    expect(judgeSchedule(wanting(periods, { duration: 3600 }), held(), EVSE)).toHaveLength(1);
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
    try {
      readEvSchedule({ timeBase: "now", chargingSchedule: { id: 1, chargingRateUnit: "W" } }, "2.0.1");
      expect.unreachable();
    } catch (error) {
      const fields = (error as WattslotError).violations.map(({ field }) => field);
      expect(fields).toEqual(["timeBase", "chargingSchedule.chargingSchedulePeriod", "evseId"]);
    }
  });
});

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  type ChargingStation,
  type CompositePeriod,
  type CompositeWindow,
  compositeSchedule,
} from "../../src/ocpp/composite.ts";
import type { WirePeriod, WireProfile, WireProfile2x, WireSchedule } from "../../src/ocpp/wire.ts";

interface Vector {
  name: string;
  version: "2.0.1" | "2.1";
  start: string;
  end: string;
  evseId: number;
  unit: "A" | "W";
  defaultLimitAmps: number;
  defaultLimitWatts: number;
  voltage: number;
  stationProfiles: WireProfile[];
  evses: { sessionStart: string | null; profileBodies: WireProfile[] }[];
  expected: CompositePeriod[];
}

const GOLDEN = new URL("../../../shared/golden/composite-schedules.json", import.meta.url);
const vectors: Vector[] = existsSync(GOLDEN) ? JSON.parse(readFileSync(GOLDEN, "utf8")).vectors : [];
/** The one transaction that the vectors know. */
const TRANSACTION = "f1522902-1170-416f-8e43-9e3bce28fde7";

const atMs = (text: string) => Date.parse(text.replace(/Z*$/, "Z"));

describe.skipIf(vectors.length === 0)("composite schedules of another implementation", () => {
  it("are all there", () => expect(vectors).toHaveLength(48));

  it.each(vectors.map((vector) => [vector.name, vector] as const))("%s", (_, vector) => {
    const periods = compositeSchedule(
      {
        version: vector.version,
        voltageV: vector.voltage,
        installed: [
          ...vector.stationProfiles.map((profile) => ({ evseId: 0, profile })),
          ...vector.evses.flatMap(({ profileBodies }, i) =>
            profileBodies.map((profile) => ({ evseId: i + 1, profile })),
          ),
        ],
        evses: vector.evses.map(({ sessionStart }, i) => ({
          evseId: i + 1,
          supply: "AC",
          maxCurrentA: vector.defaultLimitAmps,
          maxPowerW: vector.defaultLimitWatts,
          ...(sessionStart === null
            ? {}
            : { transaction: { transactionId: TRANSACTION, startMs: atMs(sessionStart) } }),
        })),
      },
      { evseId: vector.evseId, startMs: atMs(vector.start), endMs: atMs(vector.end), unit: vector.unit },
    );
    // They leave numberPhases out where it is the default of three.
    const withPhases = vector.expected.map((period) => ({ numberPhases: 3, ...period }));
    expect(periods).toHaveLength(withPhases.length);
    for (const [i, period] of periods.entries()) {
      expect(Object.keys(period).sort()).toEqual(Object.keys(withPhases[i]).sort());
      for (const [name, value] of Object.entries(withPhases[i])) {
        const own = period[name as keyof CompositePeriod];
        if (typeof value === "number") expect(own, name).toBeCloseTo(value, 6);
        else expect(own, name).toBe(value);
      }
    }
  });
});

const START_MS = Date.UTC(2026, 10, 23, 8);
const HOUR_S = 3600;

/** A 2.1 profile of one schedule; Absolute from START_MS on. */
function profile(
  over: Partial<WireProfile2x>,
  periods: WirePeriod[],
  schedule: Partial<WireSchedule> = {},
): WireProfile2x {
  return {
    id: 1,
    stackLevel: 0,
    chargingProfilePurpose: "TxDefaultProfile",
    chargingProfileKind: "Absolute",
    chargingSchedule: [
      {
        id: 1,
        startSchedule: new Date(START_MS).toISOString(),
        chargingRateUnit: "A",
        chargingSchedulePeriod: periods,
        ...schedule,
      },
    ],
    ...over,
  };
}

const at = (startPeriod: number, limit: number): WirePeriod => ({ startPeriod, limit });

/** Of one EVSE of 32 A in the two hours from START_MS on, in A: [startPeriod, limit] of each period. */
function limitsOf(
  installed: (WireProfile | [number, WireProfile])[],
  over: Partial<ChargingStation> = {},
  window: Partial<CompositeWindow> = {},
) {
  return periodsOf(installed, over, window).map(({ startPeriod, limit }) => [startPeriod, limit]);
}

function periodsOf(
  installed: (WireProfile | [number, WireProfile])[],
  over: Partial<ChargingStation> = {},
  window: Partial<CompositeWindow> = {},
) {
  return compositeSchedule(
    {
      version: "2.1",
      voltageV: 230,
      installed: installed.map((entry) =>
        Array.isArray(entry) ? { evseId: entry[0], profile: entry[1] } : { evseId: 1, profile: entry },
      ),
      evses: [{ evseId: 1, supply: "AC", maxCurrentA: 32, maxPowerW: 22_080 }],
      ...over,
    },
    { evseId: 1, startMs: START_MS, endMs: START_MS + 2 * HOUR_S * 1000, unit: "A", ...window },
  );
}

const inTransaction = (over: object = {}): Partial<ChargingStation> => ({
  evses: [
    {
      evseId: 1,
      supply: "AC",
      maxCurrentA: 32,
      maxPowerW: 22_080,
      transaction: { transactionId: "tx", startMs: START_MS - HOUR_S * 1000, ...over },
    },
  ],
});

describe("compositeSchedule", () => {
  it("is the EVSE's maximum without any profile", () => {
    expect(limitsOf([])).toEqual([[0, 32]]);
    expect(limitsOf([], {}, { unit: "W" })).toEqual([[0, 22_080]]);
  });

  it("falls to the next level where the higher one ends, and comes back with its next recurrence", () => {
    const low = profile({ id: 2 }, [at(0, 10), at(3000, 12)]);
    const high = profile({ stackLevel: 3 }, [at(0, 20)], { duration: 1800 });
    expect(limitsOf([low, high])).toEqual([
      [0, 20],
      [1800, 10],
      [3000, 12],
    ]);
    const daily = { ...high, chargingProfileKind: "Recurring", recurrencyKind: "Daily" } as const;
    const dayMs = 86_400_000;
    // From the second half hour of the first day to the middle of the second day's.
    const window = { startMs: START_MS + 3_000_000, endMs: START_MS + dayMs + 900_000 };
    expect(limitsOf([low, daily], {}, window)).toEqual([
      [0, 12],
      [86_400 - 3000, 20],
    ]);
  });

  it("takes a TxProfile in its own transaction only, the rest of which the default covers", () => {
    const own = profile({ id: 2, chargingProfilePurpose: "TxProfile", transactionId: "tx" }, [at(0, 8)]);
    const usual = profile({}, [at(0, 16)]);
    expect(limitsOf([usual, own], inTransaction())).toEqual([[0, 8]]);
    expect(limitsOf([usual, own])).toEqual([[0, 16]]);
    expect(limitsOf([usual, { ...own, transactionId: "other" }], inTransaction())).toEqual([[0, 16]]);
  });

  it("counts a Relative schedule from the transaction's start, also when it comes later", () => {
    const late = profile({ chargingProfileKind: "Relative" }, [at(0, 6), at(1.5 * HOUR_S, 16)]);
    delete (late.chargingSchedule[0] as { startSchedule?: string }).startSchedule;
    expect(limitsOf([late], inTransaction())).toEqual([
      [0, 6],
      [0.5 * HOUR_S, 16],
    ]);
  });

  it("keeps to validFrom and validTo", () => {
    const some = profile({ validFrom: "2026-11-23T08:10:00Z", validTo: "2026-11-23T09:30:00+01:00" }, [
      at(0, 9),
    ]);
    expect(limitsOf([some])).toEqual([
      [0, 32],
      [600, 9],
      [1800, 32],
    ]);
  });

  it("puts a TxDefaultProfile of the connector before that of the station in 1.6, whatever their levels", () => {
    const of16 = (chargingProfileId: number, stackLevel: number, limit: number): WireProfile => ({
      chargingProfileId,
      stackLevel,
      chargingProfilePurpose: "TxDefaultProfile",
      chargingProfileKind: "Absolute",
      chargingSchedule: {
        startSchedule: "2026-11-23T08:00:00Z",
        chargingRateUnit: "A",
        chargingSchedulePeriod: [at(0, limit)],
      },
    });
    const installed: [number, WireProfile][] = [
      [0, of16(1, 5, 10)],
      [1, of16(2, 0, 20)],
    ];
    expect(limitsOf(installed, { version: "1.6" })).toEqual([[0, 20]]);
    expect(limitsOf(installed, { version: "2.0.1" })).toEqual([[0, 10]]);
    const most = { ...of16(3, 0, 15), chargingProfilePurpose: "ChargePointMaxProfile" } as WireProfile;
    expect(limitsOf([...installed, [0, most]], { version: "1.6" })).toEqual([[0, 15]]);
  });

  it("keeps local time over a change of the clocks with useLocalTime, and UTC without", () => {
    // In Berlin the clocks go back on 25 October 2026, at 01:00 UTC.
    const night = (useLocalTime: boolean) =>
      profile({ chargingProfileKind: "Recurring", recurrencyKind: "Daily" }, [at(0, 6)], {
        startSchedule: "2026-10-24T22:00:00+02:00",
        duration: HOUR_S,
        useLocalTime,
      });
    const window = { startMs: Date.UTC(2026, 9, 25, 20), endMs: Date.UTC(2026, 9, 25, 23) };
    const station = { timeZone: "Europe/Berlin" };
    // 22:00 there is 21:00 UTC from that day on.
    expect(limitsOf([night(true)], station, window)).toEqual([
      [0, 32],
      [HOUR_S, 6],
      [2 * HOUR_S, 32],
    ]);
    expect(limitsOf([night(false)], station, window)).toEqual([
      [0, 6],
      [HOUR_S, 32],
    ]);
  });

  it("repeats or skips with useLocalTime what the clocks repeat or skip", () => {
    const nightly = profile(
      { chargingProfileKind: "Recurring", recurrencyKind: "Daily" },
      [at(0, 6), at(2 * HOUR_S, 10), at(3 * HOUR_S, 14)],
      { startSchedule: "2026-01-01T00:00:00", useLocalTime: true, duration: 86_400 },
    );
    const station = { timeZone: "Europe/Berlin" };
    // 25 October 2026 begins at 22:00 UTC; from 2 to 3 o'clock it is twice, the second time from 01:00 UTC on.
    const autumn = { startMs: Date.UTC(2026, 9, 24, 22), endMs: Date.UTC(2026, 9, 25, 23) };
    expect(limitsOf([nightly], station, autumn)).toEqual([
      [0, 6],
      [2 * HOUR_S, 10],
      [4 * HOUR_S, 14],
    ]);
    // 29 March 2026 begins at 23:00 UTC and has no hour from 2 to 3.
    const spring = { startMs: Date.UTC(2026, 2, 28, 23), endMs: Date.UTC(2026, 2, 29, 22) };
    expect(limitsOf([nightly], station, spring)).toEqual([
      [0, 6],
      [2 * HOUR_S, 14],
    ]);
  });

  it("recurs weekly", () => {
    // A Monday, as START_MS is, three weeks before.
    const monday = profile({ chargingProfileKind: "Recurring", recurrencyKind: "Weekly" }, [at(0, 7)], {
      startSchedule: "2026-11-02T09:00:00Z",
      duration: 1800,
    });
    expect(limitsOf([monday])).toEqual([
      [0, 32],
      [3600, 7],
      [5400, 32],
    ]);
    const tuesday = { startMs: START_MS + 86_400_000, endMs: START_MS + 86_400_000 + 7_200_000 };
    expect(limitsOf([monday], {}, tuesday)).toEqual([[0, 32]]);
  });

  it("lets a profile lapse after its time offline, and a Dynamic one after its duration without an update", () => {
    const first = profile({ maxOfflineDuration: 600 }, [at(0, 16)]);
    expect(limitsOf([first])).toEqual([[0, 16]]);
    expect(limitsOf([first], { offlineSinceMs: START_MS + 60_000 })).toEqual([
      [0, 16],
      [660, 32],
    ]);
    const dynamic = profile(
      { chargingProfileKind: "Dynamic", dynUpdateTime: "2026-11-23T08:05:00Z" },
      [at(0, 11)],
      { duration: 300 },
    );
    expect(limitsOf([dynamic])).toEqual([
      [0, 32],
      [300, 11],
      [600, 32],
    ]);
  });

  it("gives a vehicle with priority its own profile, under the station's maximum, with what is generated on top", () => {
    const installed: [number, WireProfile][] = [
      [1, profile({ id: 1 }, [at(0, 8)])],
      [0, profile({ id: 2, chargingProfilePurpose: "PriorityCharging" }, [at(0, 30)])],
      [0, profile({ id: 3, chargingProfilePurpose: "ChargingStationMaxProfile" }, [at(0, 24)])],
    ];
    expect(limitsOf(installed, inTransaction())).toEqual([[0, 8]]);
    expect(limitsOf(installed, inTransaction({ hasPriority: true }))).toEqual([[0, 24]]);
    const sun = profile({ id: 4, chargingProfilePurpose: "LocalGeneration" }, [at(0, 0), at(3600, 5)]);
    expect(limitsOf([...installed, [0, sun]], inTransaction({ hasPriority: true }))).toEqual([
      [0, 24],
      [3600, 29],
    ]);
  });

  it("caps a limit from a state of charge on, on each phase", () => {
    const limited = profile({}, [{ startPeriod: 0, limit: 20, limit_L2: 5, limit_L3: 18 }], {
      limitAtSoC: { soc: 80, limit: 10 },
    });
    expect(limitsOf([limited], inTransaction({ stateOfCharge: 79 }))).toEqual([[0, 20]]);
    expect(periodsOf([limited], inTransaction({ stateOfCharge: 80 }))).toEqual([
      { startPeriod: 0, numberPhases: 3, limit: 10, limit_L2: 5, limit_L3: 10 },
    ]);
  });

  it("has no limit in Idle, and counts it as nothing in the station's sum", () => {
    const rest = profile({}, [
      { startPeriod: 0, limit: 10, operationMode: "ChargingOnly" },
      { startPeriod: 1800, operationMode: "Idle" },
    ]);
    expect(periodsOf([rest])[1]).toEqual({ startPeriod: 1800, numberPhases: 3, operationMode: "Idle" });
    const two = [1, 2].map((evseId) => ({
      evseId,
      supply: "AC" as const,
      maxCurrentA: 32,
      maxPowerW: 22_080,
    }));
    expect(limitsOf([rest], { evses: two }, { evseId: 0 })).toEqual([
      [0, 42],
      [1800, 32],
    ]);
  });

  it("has no phases on DC, where W stay W", () => {
    const dc = [{ evseId: 1, supply: "DC" as const, maxCurrentA: 200, maxPowerW: 100_000 }];
    const fast = profile({}, [at(0, 50_000)], { chargingRateUnit: "W" });
    expect(periodsOf([fast], { evses: dc }, { unit: "W" })).toEqual([{ startPeriod: 0, limit: 50_000 }]);
  });

  it("uses the schedule that the vehicle chose", () => {
    const [schedule] = profile({}, [at(0, 6)]).chargingSchedule;
    const other = { ...schedule, id: 2, chargingSchedulePeriod: [at(0, 14)] };
    const both = profile(
      { chargingProfilePurpose: "TxProfile", transactionId: "tx", chargingSchedule: [schedule, other] },
      [],
    );
    expect(limitsOf([both], inTransaction())).toEqual([[0, 6]]);
    expect(limitsOf([both], inTransaction({ scheduleIndex: 1 }))).toEqual([[0, 14]]);
  });

  it("refuses a window without length, an EVSE that is not there, and one that would never end", () => {
    expect(() => limitsOf([], {}, { endMs: START_MS })).toThrow("is empty");
    expect(() => limitsOf([], {}, { endMs: Number.NaN })).toThrow("no time");
    expect(() => limitsOf([], {}, { evseId: 2 })).toThrow("evseId 2");
    const minutes = Array.from({ length: 1000 }, (_, i) => at(i * 60, 6 + (i % 2)));
    const daily = profile({ chargingProfileKind: "Recurring", recurrencyKind: "Daily" }, minutes);
    expect(() => limitsOf([daily], {}, { endMs: START_MS + 1000 * 365 * 86_400_000 })).toThrow(
      "ask for less",
    );
    const local = profile({}, [at(0, 6)], { useLocalTime: true });
    expect(() => limitsOf([local], { timeZone: "Atlantis" })).toThrow('"Atlantis" is not known');
    expect(() => limitsOf([profile({ validFrom: "soon" }, [at(0, 6)])])).toThrow('"soon" is no time');
  });
});

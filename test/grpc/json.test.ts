import { describe, expect, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import { OptimizeResponse, PlanStatus, Supply } from "../../src/grpc/client.ts";
import { requestFromJson, responseToJson } from "../../src/grpc/json.ts";

function violations(json: unknown, nowMs = 0): string[] {
  try {
    requestFromJson(JSON.stringify(json), nowMs);
  } catch (error) {
    if (!(error instanceof WattslotError)) throw error;
    expect(error.code).toBe("INVALID_ARGUMENT");
    return error.violations.map(({ field, description }) => `${field}: ${description}`);
  }
  return [];
}

describe("requestFromJson", () => {
  test("takes camelCase and the contract's names, enum names and numbers, times with any offset", () => {
    const request = requestFromJson(
      `{
      "site": { "site_id": "s", "evses": [{ "stationId": "c", "supply": "SUPPLY_DC" }, { "supply": 1 }] },
      "startTime": "2026-11-23T09:00:00.250+01:00",
      "slot_seconds": "900",
      "sessions": [{ "sessionId": "a", "energyWh": 1.5e4, "arrivalTime": null }]
    }`,
      0,
    );
    expect(request.site?.siteId).toBe("s");
    expect(request.site?.evses.map(({ supply }) => supply)).toEqual([Supply.DC, Supply.AC]);
    expect(request.startTime?.getTime()).toBe(Date.UTC(2026, 10, 23, 8, 0, 0, 250));
    expect(request.slotSeconds).toBe(900);
    expect(request.sessions[0].need).toEqual({ $case: "energyWh", value: 15_000 });
    expect(request.sessions[0].arrivalTime).toBeUndefined();
  });

  test("names every wrong field by its path", () => {
    expect(
      violations({
        site: {
          siteId: 7,
          circuits: [{ circuitId: "grid", maxPowerW: "much" }, null],
          evses: { stationId: "c" },
          tariff: { timeOfUse: { rules: [{ weekdays: [1, 2.5, "x"], pricePerKwh: 0.2 }] } },
        },
        startTime: "tomorrow",
        slotSeconds: -900,
        installedPlans: [{ chargingProfileId: 2 ** 31 }],
        sessions: [
          { energyWh: 1, uninterruptible: "yes" },
          { energyWh: 1, stateOfCharge: {}, departur_time: "2026-11-23T08:00:00Z" },
          "c",
        ],
        objective: { preference: "CHEAP" },
        extra: { deep: [1] },
      }).slice(0, 15),
    ).toEqual([
      "site.site_id: must be text",
      "site.circuits[0].max_power_w: must be a number",
      "site.circuits[1]: must be an object",
      "site.evses: must be a list",
      "site.tariff.time_of_use.rules[0].weekdays[1]: must be a whole number from 0 to 4294967295",
      "site.tariff.time_of_use.rules[0].weekdays[2]: must be a whole number from 0 to 4294967295",
      "start_time: must be an RFC 3339 time such as 2026-11-23T08:00:00Z",
      "slot_seconds: must be a whole number from 0 to 4294967295",
      "installed_plans[0].charging_profile_id: must be a whole number from -2147483648 to 2147483647",
      "sessions[0].uninterruptible: must be true or false",
      "sessions[1].state_of_charge: excludes energy_wh",
      "sessions[1].departur_time: is not a field of Session",
      "sessions[2]: must be an object",
      "objective.preference: must be one of PREFERENCE_UNSPECIFIED, PREFERENCE_LOWEST_COST, PREFERENCE_EARLIEST, PREFERENCE_FLATTEST, PREFERENCE_LOWEST_CARBON",
      "extra: is not a field of OptimizeRequest",
    ]);
  });

  test("refuses one field given by both of its names", () => {
    expect(violations({ site: { siteId: "a", site_id: "b" } })).toContain("site.site_id: is given twice");
  });

  test("names what is wrong with the other values at the same time, and not what follows from the first", () => {
    const start = "2026-11-23T08:00:00Z";
    const [grid, evse] = [
      { circuitId: "grid", maxPowerW: -1 },
      { stationId: "CS1", evseId: "one" },
    ];
    expect(
      violations({
        site: { siteId: "s", circuits: [grid], evses: [evse] },
        startTime: start,
        sessions: [
          {
            sessionId: "a",
            stationId: "CS1",
            evseId: 1,
            energyWh: "much",
            departureTime: start,
            priority: 20,
          },
        ],
      }),
    ).toEqual([
      "site.evses[0].evse_id: must be a whole number from 0 to 4294967295",
      "sessions[0].energy_wh: must be a number",
      "site.circuits[0].max_power_w: must be from 0 to 1000000000, is -1",
      "sessions[0].departure_time: must be after the start of the plan, 2026-11-23T08:00:00.000Z: leave out a vehicle that has left, give one that stays a later time",
      "sessions[0].priority: must be from 0.1 to 10, is 20",
    ]);
  });

  test("refuses days and hours that do not exist", () => {
    for (const time of [
      "2027-02-30T00:00:00Z",
      "2026-11-23T24:00:00Z",
      "2026-13-01T00:00:00Z",
      "2026-11-23T08:60:00Z",
      "2026-11-23",
      "2026-11-23 08:00:00Z",
    ]) {
      expect(violations({ startTime: time }), time).toContain(
        "start_time: must be an RFC 3339 time such as 2026-11-23T08:00:00Z",
      );
    }
    expect(
      violations({
        site: { siteId: "s", circuits: [{ circuitId: "g" }] },
        startTime: "2028-02-29T23:59:59.5-11:30",
      }),
    ).toEqual([]);
  });

  test("hides only what a field left out may be the cause of", () => {
    const evses = ["CS1", "CS2"].map((stationId) => ({ stationId, evseId: 1 }));
    const here = { stationId: "CS1", evseId: 1, energyWh: 1 };
    const [first, second] = ["2026-11-23T10:00:00Z", "2026-11-23T12:00:00Z"];
    const request = {
      site: { siteId: "s", circuits: [{ circuitId: "grid", maxPowerW: 1 }], evses },
      startTime: "2026-11-23T08:00:00Z",
      sessions: [
        { ...here, sessionId: "a", departureTime: first },
        { ...here, sessionId: "b", arrivalTime: first, departureTime: second },
      ],
    };
    const [a, b] = request.sessions;
    const time = "must be an RFC 3339 time such as 2026-11-23T08:00:00Z";
    // Without its departure the first would stay for four hours; without its start the plan begins now.
    expect(violations({ ...request, sessions: [{ ...a, departureTime: "late" }, b] })).toEqual([
      `sessions[0].departure_time: ${time}`,
    ]);
    const later = Date.UTC(2027, 0);
    expect(violations({ ...request, startTime: "2026-02-30T08:00:00Z" }, later)).toEqual([
      `start_time: ${time}`,
    ]);
    expect(violations({ ...request, slotSeconds: "x", sessions: [{ ...a, stationId: "CS9" }] })).toEqual([
      "slot_seconds: must be a whole number from 0 to 4294967295",
      'sessions[0].station_id: there is no station "CS9"',
    ]);
  });

  test("refuses a name that stands twice in one object, which JSON.parse lets pass", () => {
    expect(() => requestFromJson('{"site":{"siteId":"a","siteId":"b"}}', 0)).toThrow(
      "not an OptimizeRequest",
    );
  });

  test("refuses what is not an object", () => {
    expect(violations([])).toEqual([": the request must be an object"]);
  });

  test("names line and column where the text is not JSON", () => {
    expect(() => requestFromJson('{\n  "site": }', 0)).toThrow(
      "not JSON: line 2, column 11: expected a value",
    );
  });

  test("hostile names stay names", () => {
    expect(() => requestFromJson('{"__proto__":{"site":{}},"constructor":1}', 0)).toThrow(WattslotError);
  });
});

test("responseToJson writes the proto3 JSON mapping", () => {
  const response = OptimizeResponse.fromPartial({
    siteId: "s",
    status: PlanStatus.OPTIMAL,
    sessionPlans: [{ sessionId: "a", powerW: [0, 1.5], completeTime: new Date(Date.UTC(2026, 10, 23, 8)) }],
  });
  expect(responseToJson(response)).toEqual({
    siteId: "s",
    status: "PLAN_STATUS_OPTIMAL",
    sessionPlans: [{ sessionId: "a", powerW: [0, 1.5], completeTime: "2026-11-23T08:00:00Z" }],
  });
});

import { expect, test } from "vitest";
import type { SitePlan } from "../../src/domain/plan.ts";
import { OptimizeResponse } from "../../src/grpc/client.ts";
import { toResponse } from "../../src/grpc/response.ts";
import { START_MS } from "./requests.ts";

const QUARTER_MS = 900_000;

const plan: SitePlan = {
  siteId: "depot",
  status: "OPTIMAL",
  sessionPlans: [
    {
      sessionId: "a",
      stationId: "CS1",
      evseId: 2,
      command: {
        ocppVersion: "1.6",
        action: "SetChargingProfile",
        payloadJson: '{"connectorId":2}',
        pushWave: 1,
        chargingProfile: {
          id: 21,
          stackLevel: 3,
          chargingProfilePurpose: "TxProfile",
          chargingProfileKind: "Absolute",
          transactionId: "4711",
          startScheduleMs: START_MS,
          chargingRateUnit: "A",
          periods: [
            { startPeriodS: 0, limit: 16, numberPhases: 3 },
            { startPeriodS: 900, limit: 0, numberPhases: 3 },
          ],
        },
      },
      powerW: Float64Array.of(11_040.000000000002, -0),
      plannedEnergyWh: 2760.0000000000005,
      shortfallWh: 1e-13,
      shortfallCauses: [
        "STAY_TOO_SHORT",
        "EVSE_LIMIT",
        "VEHICLE_LIMIT",
        "CIRCUIT_LIMIT",
        "MINIMUM_CURRENT",
        "OUT_OF_TIME",
        "PROFILE_RESOLUTION",
      ],
      completeMs: START_MS + QUARTER_MS,
      energyCost: 0.828,
      change: "CHANGED",
      explanation: "Gets all 9.0 kWh.",
      minimumShortfallWh: 12.3456,
      dischargedEnergyWh: 1500.0004,
      dischargePayment: 0.3,
      numberPhases: [3, 0],
    },
    {
      sessionId: "b",
      stationId: "CS2",
      evseId: 1,
      command: {
        ocppVersion: "2.1",
        action: "SetChargingProfile",
        payloadJson: "{}",
        pushWave: 2,
        chargingProfile: {
          id: 12,
          stackLevel: 0,
          chargingProfilePurpose: "TxDefaultProfile",
          chargingProfileKind: "Absolute",
          transactionId: undefined,
          startScheduleMs: START_MS,
          chargingRateUnit: "W",
          periods: [{ startPeriodS: 0, limit: 50_000, numberPhases: undefined }],
        },
      },
      powerW: Float64Array.of(0, 0),
      plannedEnergyWh: 0,
      shortfallWh: 0,
      shortfallCauses: [],
      completeMs: undefined,
      energyCost: 0,
      change: "UNCHANGED",
      explanation: "Needs no energy.",
      minimumShortfallWh: 0,
      dischargedEnergyWh: 0,
      dischargePayment: 0,
    },
  ],
  startMs: START_MS,
  slotStartsMs: [START_MS, START_MS + QUARTER_MS],
  chargingPowerW: Float64Array.of(11_040, 0),
  importPowerW: Float64Array.of(16_040, 5000),
  exportPowerW: Float64Array.of(0, 1000.00001),
  pvPowerW: Float64Array.of(0, 6000),
  batteryPowerW: Float64Array.of(1500, -700),
  circuits: [
    {
      circuitId: "grid",
      powerW: Float64Array.of(16_040, 5000),
      limitW: Float64Array.of(30_000, 20_000),
      shadowPricePerKwh: Float64Array.of(0.10000000000000003, 0),
    },
    {
      circuitId: "row",
      powerW: Float64Array.of(11_040, 0),
      limitW: Float64Array.of(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY),
      shadowPricePerKwh: Float64Array.of(0, 0),
    },
  ],
  wave1ByMs: START_MS,
  wave2ByMs: START_MS + QUARTER_MS,
  summary: {
    requestedEnergyWh: 1,
    plannedEnergyWh: 2,
    shortfallWh: 3,
    energyCost: 4,
    demandCost: 5,
    peakImportW: 6,
    carbonKg: 7,
    uncontrolledCost: 8,
    uncontrolledPeakW: 9,
    pvEnergyWh: 1500,
    exportEnergyWh: 250,
    exportRevenue: 0.02,
    uncontrolledEnergyWh: 12_000,
    changedEnergyWh: 10,
    dischargedEnergyWh: 1500,
    dischargePayment: 0.3,
    siteEnergyCost: 5.5,
  },
  notices: [{ code: "DEPARTURE_ASSUMED", field: "sessions[1].departure_time", message: "m" }],
  fallbackProfiles: [
    {
      stationId: "CS2",
      evseId: 0,
      command: {
        ocppVersion: "2.1",
        action: "SetChargingProfile",
        payloadJson: '{"evseId":0}',
        pushWave: 1,
        chargingProfile: {
          id: 3,
          stackLevel: 0,
          chargingProfilePurpose: "ChargingStationMaxProfile",
          chargingProfileKind: "Absolute",
          transactionId: undefined,
          startScheduleMs: START_MS,
          chargingRateUnit: "W",
          periods: [{ startPeriodS: 0, limit: 50_000, numberPhases: undefined }],
        },
      },
      powerW: 50_000.00000001,
    },
  ],
  solve: {
    solver: "HIGHS",
    solveMs: 12.3456789,
    columns: 3,
    rows: 4,
    objective: 1.5,
    bound: 1.25,
    gap: 0.2,
    checks: 99,
  },
};

test("everything of a plan is in the answer, enums by their numbers in the contract", () => {
  const response = toResponse(plan, 45.00004);
  const absent = { validFrom: undefined, validTo: undefined };
  const noExtras = {
    phaseToUse: undefined,
    setpoint: undefined,
    dischargeLimit: undefined,
    operationMode: "",
  };
  const schedule = {
    startSchedule: new Date(START_MS),
    durationSeconds: undefined,
    minChargingRate: undefined,
    pricesJson: "",
  };
  expect(response).toEqual({
    siteId: "depot",
    status: 1,
    sessionPlans: [
      {
        sessionId: "a",
        stationId: "CS1",
        evseId: 2,
        command: {
          ocppVersion: 1,
          action: "SetChargingProfile",
          payloadJson: '{"connectorId":2}',
          pushWave: 1,
          chargingProfile: {
            id: 21,
            stackLevel: 3,
            chargingProfilePurpose: 1,
            chargingProfileKind: 1,
            transactionId: "4711",
            ...absent,
            chargingSchedules: [
              {
                id: 21,
                ...schedule,
                chargingRateUnit: 1,
                chargingSchedulePeriods: [
                  { startPeriodSeconds: 0, limit: 16, numberPhases: 3, ...noExtras },
                  { startPeriodSeconds: 900, limit: 0, numberPhases: 3, ...noExtras },
                ],
              },
            ],
          },
        },
        powerW: [11_040, 0],
        plannedEnergyWh: 2760,
        shortfallWh: 0,
        shortfallCauses: [1, 2, 3, 4, 5, 6, 7],
        completeTime: new Date(START_MS + QUARTER_MS),
        energyCost: 0.828,
        minimumShortfallWh: 12.346,
        dischargedEnergyWh: 1500,
        dischargePayment: 0.3,
        numberPhases: [3, 0],
        explanation: "Gets all 9.0 kWh.",
        change: 2,
      },
      {
        sessionId: "b",
        stationId: "CS2",
        evseId: 1,
        command: {
          ocppVersion: 3,
          action: "SetChargingProfile",
          payloadJson: "{}",
          pushWave: 2,
          chargingProfile: {
            id: 12,
            stackLevel: 0,
            chargingProfilePurpose: 2,
            chargingProfileKind: 1,
            transactionId: "",
            ...absent,
            chargingSchedules: [
              {
                id: 12,
                ...schedule,
                chargingRateUnit: 2,
                chargingSchedulePeriods: [
                  { startPeriodSeconds: 0, limit: 50_000, numberPhases: undefined, ...noExtras },
                ],
              },
            ],
          },
        },
        powerW: [0, 0],
        plannedEnergyWh: 0,
        shortfallWh: 0,
        shortfallCauses: [],
        completeTime: undefined,
        energyCost: 0,
        minimumShortfallWh: 0,
        dischargedEnergyWh: 0,
        dischargePayment: 0,
        numberPhases: [],
        explanation: "Needs no energy.",
        change: 3,
      },
    ],
    sitePlan: {
      startTime: new Date(START_MS),
      slotStartTimes: [new Date(START_MS), new Date(START_MS + QUARTER_MS)],
      chargingPowerW: [11_040, 0],
      importPowerW: [16_040, 5000],
      wave1ByTime: new Date(START_MS),
      wave2ByTime: new Date(START_MS + QUARTER_MS),
      exportPowerW: [0, 1000],
      pvPowerW: [0, 6000],
      batteryPowerW: [1500, -700],
      circuits: [
        { circuitId: "grid", powerW: [16_040, 5000], limitW: [30_000, 20_000], shadowPricePerKwh: [0.1, 0] },
        // No limit: no list.
        { circuitId: "row", powerW: [11_040, 0], limitW: [], shadowPricePerKwh: [0, 0] },
      ],
    },
    summary: plan.summary,
    notices: plan.notices,
    solve: {
      solver: 2,
      solveMs: 12.346,
      totalMs: 45,
      columns: 3,
      rows: 4,
      objective: 1.5,
      bound: 1.25,
      gap: 0.2,
      checks: 99,
    },
    fallbackProfiles: [
      {
        stationId: "CS2",
        evseId: 0,
        command: {
          ocppVersion: 3,
          action: "SetChargingProfile",
          payloadJson: '{"evseId":0}',
          pushWave: 1,
          chargingProfile: {
            ...absent,
            id: 3,
            stackLevel: 0,
            chargingProfilePurpose: 3,
            chargingProfileKind: 1,
            transactionId: "",
            chargingSchedules: [
              {
                ...schedule,
                id: 3,
                chargingRateUnit: 2,
                chargingSchedulePeriods: [
                  { ...noExtras, startPeriodSeconds: 0, limit: 50_000, numberPhases: undefined },
                ],
              },
            ],
          },
        },
        powerW: 50_000,
      },
    ],
  });
});

test("a bound that is not known is absent, not 0, also over the wire", () => {
  const unproved = { ...plan, solve: { ...plan.solve, bound: Number.NEGATIVE_INFINITY, gap: Number.NaN } };
  const bytes = OptimizeResponse.encode(toResponse(unproved, 1)).finish();
  const { solve } = OptimizeResponse.decode(bytes);
  expect(solve).toMatchObject({ bound: undefined, gap: undefined, objective: 1.5 });
});

test("each status, solver and change has its own number", () => {
  const statusOf = (status: SitePlan["status"]) => toResponse({ ...plan, status }, 0).status;
  expect([statusOf("OPTIMAL"), statusOf("FEASIBLE"), statusOf("FALLBACK")]).toEqual([1, 2, 3]);
  const solverOf = (solver: SitePlan["solve"]["solver"]) =>
    toResponse({ ...plan, solve: { ...plan.solve, solver } }, 0).solve?.solver;
  expect([solverOf("NONE"), solverOf("GLPK"), solverOf("HIGHS")]).toEqual([0, 1, 2]);
  const changeOf = (change: "NEW" | "CHANGED" | "UNCHANGED") =>
    toResponse({ ...plan, sessionPlans: [{ ...plan.sessionPlans[0], change }] }, 0).sessionPlans[0].change;
  expect([changeOf("NEW"), changeOf("CHANGED"), changeOf("UNCHANGED")]).toEqual([1, 2, 3]);
});

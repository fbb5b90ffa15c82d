import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { WattslotError } from "../../src/domain/errors.ts";
import type { Engine } from "../../src/engine.ts";
import {
  ChargingNeedsStatus,
  connect,
  OcppVersion,
  OptimizeRequest,
  type Optimizer,
  type PartialRequest,
  PriceForm,
  Supply,
} from "../../src/grpc/client.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
import { validatorFor } from "../ocpp/schema.ts";
import { testEngine } from "../support/engine.ts";
import { randomNeeds } from "../support/needs.ts";
import { at, START } from "./requests.ts";

let engine: Engine;
let server: RunningServer;
let optimizer: Optimizer;
beforeAll(async () => {
  engine = testEngine();
  server = await startServer({
    engine,
    host: "127.0.0.1",
    port: 0,
    logger: pino({ level: "silent" }),
    drainMs: 1000,
  });
  optimizer = connect(`127.0.0.1:${server.port}`);
});
afterAll(async () => {
  optimizer.close();
  await server.close();
  await engine.close();
});

/** Two chargers on 22 kW; a vehicle that is known is at the second. */
function site(version: OcppVersion, over: object = {}, supply: Supply = Supply.AC): PartialRequest {
  const isDc = supply === Supply.DC;
  const charger = { supply, ocpp: { version }, ...(isDc ? { maxPowerW: 50_000 } : {}), ...over };
  return {
    site: {
      siteId: "depot",
      circuits: [{ circuitId: "grid", maxPowerW: 22_000 }],
      evses: [
        { stationId: "CS1", evseId: 1, ...charger },
        { stationId: "CS2", evseId: 1, ocpp: { version } },
      ],
    },
    startTime: START,
    sessions: [
      {
        sessionId: "other",
        stationId: "CS2",
        evseId: 1,
        transactionId: "9",
        need: { $case: "energyWh", value: 20_000 },
        departureTime: at(4),
      },
    ],
  };
}

const here = (over: object = {}) => ({
  sessionId: "a",
  stationId: "CS1",
  evseId: 1,
  transactionId: "7",
  need: { $case: "energyWh" as const, value: 1000 },
  departureTime: at(8),
  ...over,
});

function withSession(request: PartialRequest, session: object): PartialRequest {
  return { ...request, sessions: [...(request.sessions ?? []), session] };
}

const AC_NEEDS = {
  evseId: 1,
  chargingNeeds: {
    requestedEnergyTransfer: "AC_three_phase",
    acChargingParameters: { energyAmount: 11_000, evMinCurrent: 8, evMaxCurrent: 16, evMaxVoltage: 400 },
    departureTime: at(2).toISOString(),
  },
};
const { OCPP_VERSION_1_6: V16, OCPP_VERSION_2_0_1: V201, OCPP_VERSION_2_1: V21 } = OcppVersion;

function ask(optimizeRequest: PartialRequest, payload: unknown, over: object = {}) {
  return optimizer.notifyEvChargingNeeds({
    optimizeRequest,
    stationId: "CS1",
    payloadJson: JSON.stringify(payload),
    ...over,
  });
}

async function refusal(call: Promise<unknown>): Promise<WattslotError> {
  const error = await call.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(WattslotError);
  return error;
}

describe("NotifyEvChargingNeeds", () => {
  test("plans the vehicle by what it says, in the place of what was known", async () => {
    const answer = await ask(withSession(site(V201), here({ maxCurrentA: 10 })), AC_NEEDS);
    expect(answer.status).toBe(ChargingNeedsStatus.ACCEPTED);
    expect(answer.session).toMatchObject({
      sessionId: "a",
      transactionId: "7",
      need: { $case: "energyWh", value: 11_000 },
      departureTime: at(2),
      maxCurrentA: 10,
      minCurrentA: 8,
      phases: 3,
    });
    const own = answer.plan?.sessionPlans[1];
    expect(own).toMatchObject({ sessionId: "a", plannedEnergyWh: 11_000, shortfallWh: 0 });
    const { chargingProfile } = JSON.parse(own?.command?.payloadJson ?? "{}");
    expect(chargingProfile).toMatchObject({ chargingProfilePurpose: "TxProfile", transactionId: "7" });
    for (const { limit } of chargingProfile.chargingSchedule[0].chargingSchedulePeriod) {
      expect(limit === 0 || (limit >= 8 && limit <= 10)).toBe(true);
    }
    expect(validatorFor("2.0.1", "NotifyEVChargingNeedsResponse")(JSON.parse(answer.responseJson))).toEqual(
      [],
    );
    expect(JSON.parse(answer.responseJson)).toEqual({ status: "Accepted" });
  });

  test("sends a charger that waits what it already holds", async () => {
    const request = withSession(site(V201), here());
    const first = await ask(request, AC_NEEDS);
    const slots = first.plan?.sessionPlans.map(({ sessionId, powerW }) => ({
      sessionId,
      powerW: { startTime: START, stepSeconds: 900, values: powerW },
      chargingProfileId: 11,
    }));
    const again = await ask({ ...request, installedPlans: slots ?? [] }, AC_NEEDS);
    const [other, own] = again.plan?.sessionPlans ?? [];
    expect(other.command).toBeUndefined();
    expect(again.status).toBe(ChargingNeedsStatus.ACCEPTED);
    expect(own.command?.chargingProfile?.id).toBe(11);
  });

  test("without a known session adds one, and says Processing while it has no transaction", async () => {
    const answer = await ask(site(V201), AC_NEEDS);
    expect(answer.session).toMatchObject({ sessionId: "CS1/1", transactionId: "" });
    expect(answer.status).toBe(ChargingNeedsStatus.PROCESSING);
    expect(answer.responseJson).toBe('{"status":"Processing"}');
    expect(answer.plan?.sessionPlans[1].plannedEnergyWh).toBe(11_000);
  });

  test("says that no TxProfile follows where the charger takes none, in the words of each version", async () => {
    const request = (version: OcppVersion) =>
      withSession(site(version, { ocpp: { version, prefersTxDefaultProfile: true } }), here());
    const [in201, in21] = await Promise.all([ask(request(V201), AC_NEEDS), ask(request(V21), AC_NEEDS)]);
    for (const { status, plan } of [in201, in21]) {
      expect(status).toBe(ChargingNeedsStatus.NO_CHARGING_PROFILE);
      expect(plan?.sessionPlans[1].command?.payloadJson).toContain("TxDefaultProfile");
    }
    expect(in201.responseJson).toBe('{"status":"Rejected"}');
    expect(in21.responseJson).toBe('{"status":"NoChargingProfile"}');
    const isValid = validatorFor("2.1", "NotifyEVChargingNeedsResponse");
    expect(isValid(JSON.parse(in21.responseJson))).toEqual([]);
  });

  test("rejects what the EVSE can't give, and plans nothing", async () => {
    const needs = {
      evseId: 1,
      chargingNeeds: {
        requestedEnergyTransfer: "DC",
        dcChargingParameters: { evMaxCurrent: 300, evMaxVoltage: 400, evMaxPower: 100_000 },
      },
    };
    const answer = await ask(withSession(site(V21), here()), needs);
    expect(answer).toMatchObject({
      status: ChargingNeedsStatus.REJECTED,
      responseJson: '{"status":"Rejected"}',
      rejection: "the vehicle asks for DC, and the EVSE gives AC",
      plan: undefined,
      session: undefined,
    });
  });

  test("a fast charge falls off where bulk charging ends", async () => {
    const dcChargingParameters = {
      evMaxCurrent: 400,
      evMaxVoltage: 400,
      evMaxPower: 20_000,
      stateOfCharge: 50,
      evEnergyCapacity: 40_000,
      fullSoC: 100,
      bulkSoC: 80,
    };
    const needs = { evseId: 1, chargingNeeds: { requestedEnergyTransfer: "DC", dcChargingParameters } };
    const answer = await ask(withSession(site(V201, {}, Supply.DC), here()), needs);
    expect(answer.session?.need).toMatchObject({
      $case: "stateOfCharge",
      value: { socPercent: 50, batteryCapacityWh: 40_000, bulkSocPercent: 80, fullSocPercent: 100 },
    });
    // 20 kWh into the battery, at 0.95 of what the meter counts.
    expect(answer.plan?.summary?.requestedEnergyWh).toBeCloseTo(20_000 + 20_000 / 0.95, 0);
  });

  test("an energy asked for beside a state of charge is where it ends", async () => {
    const dcChargingParameters = {
      evMaxCurrent: 400,
      evMaxVoltage: 400,
      evMaxPower: 20_000,
      energyAmount: 10_000,
      stateOfCharge: 50,
      evEnergyCapacity: 40_000,
    };
    const needs = { evseId: 1, chargingNeeds: { requestedEnergyTransfer: "DC", dcChargingParameters } };
    const answer = await ask(withSession(site(V201, {}, Supply.DC), here()), needs);
    // 50 % and 10 kWh x 0.95 of 40 kWh.
    expect(answer.session?.need?.value).toMatchObject({ targetSocPercent: 73.75 });
  });

  test("a bidirectional vehicle without a state of charge gives what it says it has to spare", async () => {
    const needs = {
      evseId: 1,
      chargingNeeds: {
        requestedEnergyTransfer: "DC_BPT",
        controlMode: "DynamicControl",
        v2xChargingParameters: {
          maxChargePower: 11_000,
          minChargePower: 1000,
          maxDischargePower: 10_000,
          evTargetEnergyRequest: 0,
          evMinEnergyRequest: -9000,
          evMaxEnergyRequest: 10_000,
          evMinV2XEnergyRequest: -9500,
          evMaxV2XEnergyRequest: 5000,
        },
      },
    };
    const bidirectional = site(V21, { maxDischargePowerW: 10_000, ocpp: { version: V21 } }, Supply.DC);
    const prices = { startTime: START, stepSeconds: 3600, values: [0.6, 0.6, 0.1, 0.1] };
    const request = withSession(
      {
        ...bidirectional,
        site: {
          ...bidirectional.site,
          // The building draws what the vehicle gives.
          circuits: [
            {
              circuitId: "grid",
              maxPowerW: 22_000,
              baseLoadW: { startTime: START, stepSeconds: 900, values: [8000] },
            },
          ],
          tariff: { currency: "EUR", energyPrice: { $case: "pricePerKwh", value: prices } },
        },
      },
      here({ departureTime: at(4), discharge: { pricePerKwh: 0.05 } }),
    );
    const answer = await ask(request, needs);
    // Empty where it gives nothing more: 9.5 kWh at the meter, full where it has 10 kWh more.
    expect(answer.session?.need?.value).toMatchObject({ batteryCapacityWh: 9500 / 0.95 + 10_000 * 0.95 });
    expect(answer.session).toMatchObject({
      minPowerW: 1000,
      scheduleOffer: { isDynamic: true, maxSchedules: 1 },
    });
    expect(answer.plan?.sessionPlans[1].dischargedEnergyWh).toBeGreaterThan(5000);
    expect(answer.plan?.sessionPlans[1].dischargedEnergyWh).toBeLessThanOrEqual(9500);
  });

  test("a vehicle that did not ask to give is only charged, whatever its session says", async () => {
    const request = withSession(site(V21), here({ discharge: { pricePerKwh: 0 } }));
    const answer = await ask(request, AC_NEEDS);
    expect(answer.session?.discharge).toBeUndefined();
    expect(answer.plan?.notices).toContainEqual(
      expect.objectContaining({
        code: "NOT_BIDIRECTIONAL",
        field: "payload_json.chargingNeeds.requestedEnergyTransfer",
      }),
    );
  });

  test("prices in a form that the vehicle can't read are not told", async () => {
    const scheduleOffer = { maxSchedules: 3, priceForm: PriceForm.ABSOLUTE_PRICE_SCHEDULE };
    const answer = await ask(
      withSession(site(V21), here()),
      { ...AC_NEEDS, maxScheduleTuples: 8 },
      { scheduleOffer },
    );
    expect(answer.session?.scheduleOffer).toEqual({
      maxScheduleTuples: 8,
      maxSchedules: 3,
      priceForm: PriceForm.UNSPECIFIED,
      isDynamic: false,
    });
    expect(answer.plan?.notices.map(({ code }) => code)).toContain("PRICE_FORM_UNUSED");
  });

  test("1.6's state of charge counts with the capacity that the session has", async () => {
    const stateOfCharge = { batteryCapacityWh: 50_000, socPercent: 0, targetSocPercent: 60 };
    const meterValue = [
      { timestamp: START.toISOString(), sampledValue: [{ value: "40", measurand: "SoC", unit: "Percent" }] },
    ];
    const need = { $case: "stateOfCharge", value: stateOfCharge };
    const answer = await ask(withSession(site(V16), here({ need })), { connectorId: 1, meterValue });
    // 20 % of 50 kWh, of which 0.9 reach the battery.
    expect(answer.plan?.sessionPlans[1].plannedEnergyWh).toBeCloseTo(10_000 / 0.9, 0);
    expect(answer.responseJson).toBe("{}");
    const without = await ask(withSession(site(V16), here()), { connectorId: 1, meterValue });
    expect(without.session?.need).toEqual({ $case: "energyWh", value: 1000 });
    expect(without.plan?.notices.map(({ code }) => code)).toContain("SOC_UNUSED");
  });

  test("refuses every wrong field by its path, of the message, the payload, and the site", async () => {
    const empty = await refusal(optimizer.notifyEvChargingNeeds({ payloadJson: "{" }));
    expect(empty.code).toBe("INVALID_ARGUMENT");
    expect(empty.violations.map(({ field }) => field)).toEqual(["optimize_request", "payload_json"]);

    const ofPayload = await refusal(
      ask(site(V201), { evseId: 1, chargingNeeds: { requestedEnergyTransfer: "DC", departureTime: "x" } }),
    );
    expect(ofPayload.violations.map(({ field }) => field)).toEqual([
      "payload_json.chargingNeeds.departureTime",
    ]);

    const request = withSession(site(V201), here({ priority: 50, minimum: {} }));
    request.slotSeconds = 7;
    const ofSite = await refusal(ask(request, AC_NEEDS));
    expect(ofSite.violations.map(({ field }) => field)).toEqual(
      expect.arrayContaining(["optimize_request.sessions[1].priority", "optimize_request.slot_seconds"]),
    );

    const nowhere = await refusal(ask(site(V201), { ...AC_NEEDS, evseId: 3 }));
    expect(nowhere.violations).toEqual([
      { field: "payload_json.evseId", description: 'station "CS1" has no EVSE "3"' },
    ]);
    const large = await refusal(ask(site(V201), { ...AC_NEEDS, customData: "x".repeat(300_000) }));
    expect(large.code).toBe("RESOURCE_EXHAUSTED");
  });

  test("random needs end in a plan within what the vehicle said, or in a reason", async () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = randomOf(seed);
      const version = random.pick(["2.0.1", "2.1"] as const);
      const supply = random.chance(0.5) ? Supply.DC : Supply.AC;
      const charger = { maxDischargePowerW: version === "2.1" ? 10_000 : 0 };
      const base = site(version === "2.1" ? V21 : V201, charger, supply);
      const session = here({
        departureTime: at(3),
        ...(random.chance(0.5) ? { discharge: { pricePerKwh: 0.01 } } : {}),
      });
      const payload = randomNeeds(random, version) as { chargingNeeds: Record<string, unknown> };
      const answer = await ask(random.chance(0.8) ? withSession(base, session) : base, payload);
      if (answer.status === ChargingNeedsStatus.REJECTED) {
        expect(answer.rejection).not.toBe("");
        continue;
      }
      const { plan } = answer;
      const [, own] = plan?.sessionPlans ?? [];
      const { maxPowerW = Number.POSITIVE_INFINITY, maxCurrentA = Number.POSITIVE_INFINITY } =
        answer.session ?? {};
      const mostW = Math.min(maxPowerW, supply === Supply.DC ? 50_000 : maxCurrentA * 230 * 3);
      for (const [k, w] of own.powerW.entries()) {
        expect(w, `seed ${seed}`).toBeLessThanOrEqual(mostW + 1e-3);
        expect(w + (plan?.sessionPlans[0].powerW[k] ?? 0)).toBeLessThanOrEqual(22_000 + 1e-3);
      }
    }
  });

  test("mutated payloads are refused by field, or planned", async () => {
    const strange = [null, "", "x", -1, 1e12, true, [], {}, 2 ** 31, "2026-13-01T00:00:00Z"];
    for (let seed = 0; seed < 150; seed++) {
      const random = randomOf(seed);
      const payload = randomNeeds(random, "2.1") as Record<string, unknown>;
      const places: [Record<string, unknown>, string][] = [];
      const visit = (value: unknown): void => {
        if (typeof value !== "object" || value === null) return;
        for (const key of Object.keys(value)) {
          places.push([value as Record<string, unknown>, key]);
          visit((value as Record<string, unknown>)[key]);
        }
      };
      visit(payload);
      const [parent, key] = random.pick(places);
      parent[key] = random.pick(strange);
      const outcome = await ask(withSession(site(V21), here()), payload).catch((error) => error);
      if (!(outcome instanceof WattslotError)) continue;
      expect(outcome.code, `seed ${seed}: ${outcome.message}`).toBe("INVALID_ARGUMENT");
      for (const { field } of outcome.violations) expect(field).toMatch(/^(payload_json|optimize_request)/);
    }
  });
});

describe("NotifyEvChargingSchedule", () => {
  const request = withSession(site(V201), here({ need: { $case: "energyWh", value: 11_000 } }));
  const schedule = (limit: number) => ({
    evseId: 1,
    timeBase: START.toISOString(),
    chargingSchedule: {
      id: 1,
      chargingRateUnit: "W",
      duration: 900,
      chargingSchedulePeriod: [{ startPeriod: 0, limit }],
    },
  });

  test("inside of the profile is accepted, outside is rejected with a new profile", async () => {
    const plan = await optimizer.optimize(request);
    const profileJson = plan.sessionPlans[1].command?.payloadJson ?? "";
    const [firstW] = plan.sessionPlans[1].powerW;
    const judge = (limit: number) =>
      optimizer.notifyEvChargingSchedule({
        optimizeRequest: OptimizeRequest.fromPartial(request),
        stationId: "CS1",
        payloadJson: JSON.stringify(schedule(limit)),
        profileJson,
      });
    const inside = await judge(Math.floor(firstW));
    expect(inside).toEqual({
      isAccepted: true,
      responseJson: '{"status":"Accepted"}',
      excesses: [],
      plan: undefined,
    });
    const outside = await judge(Math.ceil(firstW) + 500);
    expect(outside).toMatchObject({
      isAccepted: false,
      responseJson: '{"status":"Rejected"}',
      excesses: [{ fromTime: START, toTime: at(0.25) }],
    });
    expect(outside.plan?.sessionPlans[1].command?.payloadJson).toContain("TxProfile");
    const isValid = validatorFor("2.0.1", "NotifyEVChargingScheduleResponse");
    expect(isValid(JSON.parse(outside.responseJson))).toEqual([]);
  });

  test("refuses what it can't judge by field", async () => {
    const judge = (over: object) =>
      optimizer.notifyEvChargingSchedule({
        optimizeRequest: OptimizeRequest.fromPartial(request),
        stationId: "CS1",
        payloadJson: JSON.stringify(schedule(1)),
        profileJson: "{}",
        ...over,
      });
    const profile = await refusal(judge({}));
    expect(profile.violations.map(({ field }) => field)).toEqual([
      "profile_json.evseId",
      "profile_json.chargingProfile",
    ]);
    const none = await refusal(judge({ profileJson: "" }));
    expect(none.violations.map(({ field }) => field)).toEqual(["profile_json"]);
    const old = await refusal(
      optimizer.notifyEvChargingSchedule({
        optimizeRequest: OptimizeRequest.fromPartial(site(V16)),
        stationId: "CS1",
        payloadJson: JSON.stringify({ ...schedule(1), connectorId: 1 }),
        profileJson: "{}",
      }),
    );
    expect(old.violations.map(({ field }) => field)).toEqual(["station_id"]);
  });
});

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
  Winding,
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
    // Empty where it gives nothing more, 9 kWh at the meter below where it is; full where it has 10 kWh more.
    expect(answer.session?.need?.value).toMatchObject({ batteryCapacityWh: 19_000 * 0.95 });
    expect(answer.session).toMatchObject({
      minPowerW: 1000,
      scheduleOffer: { isDynamic: true, maxSchedules: 1 },
    });
    expect(answer.plan?.sessionPlans[1].dischargedEnergyWh).toBeGreaterThan(5000);
    expect(answer.plan?.sessionPlans[1].dischargedEnergyWh).toBeLessThanOrEqual(9000 * 0.95 * 0.95 + 1e-6);
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

  test("a bidirectional vehicle keeps what it says, also where the session knows its state of charge", async () => {
    const stateOfCharge = { socPercent: 80, targetSocPercent: 80, batteryCapacityWh: 60_000 };
    const need = { $case: "stateOfCharge", value: stateOfCharge };
    const keeps = async (v2x: object) => {
      const base = site(V21, { maxDischargePowerW: 10_000 });
      const v2xChargingParameters = { maxChargePower: 11_000, evTargetEnergyRequest: 0, ...v2x };
      const chargingNeeds = { requestedEnergyTransfer: "AC_BPT", v2xChargingParameters };
      const session = here({ need, discharge: { pricePerKwh: 0, minSocPercent: 20 } });
      return (await ask(withSession(base, session), { evseId: 1, chargingNeeds })).session?.discharge;
    };
    // 0.9 x 2 kWh of 60 kWh below 80 %, and 0.9 x 3 kWh above.
    expect((await keeps({ evMinV2XEnergyRequest: -2000 }))?.minSocPercent).toBeCloseTo(77, 9);
    expect((await keeps({ evMinV2XEnergyRequest: 3000 }))?.minSocPercent).toBeCloseTo(84.5, 9);
    expect((await keeps({ evMinV2XEnergyRequest: -50_000 }))?.minSocPercent).toBe(20);
    expect(await keeps({ evMinV2XEnergyRequest: -50_000, evMaxV2XEnergyRequest: -1 })).toBeUndefined();
  });

  test("what contradicts what is known is planned the safe way, and told", async () => {
    const codesOf = ({ plan }: Awaited<ReturnType<typeof ask>>) => plan?.notices.map(({ code }) => code);
    // It needs 8 A.
    const weak = await ask(withSession(site(V201), here({ maxCurrentA: 7 })), AC_NEEDS);
    expect(weak.status).toBe(ChargingNeedsStatus.ACCEPTED);
    expect(Math.max(...(weak.plan?.sessionPlans[1].powerW ?? []))).toBe(0);
    expect(codesOf(weak)).toContain("LIMITS_CONTRADICT");

    const next = { ...here(), sessionId: "next", arrivalTime: at(1.5), departureTime: at(3) };
    const staying = { ...here({ departureTime: at(1) }) };
    const clipped = await ask(withSession(withSession(site(V201), staying), next), AC_NEEDS);
    expect(clipped.session?.departureTime).toEqual(at(1.5));
    expect(codesOf(clipped)).toContain("DEPARTURE_CLIPPED");
    const { departureTime: _, ...silent } = AC_NEEDS.chargingNeeds;
    const unknown = await ask(withSession(site(V201), next), { evseId: 1, chargingNeeds: silent });
    expect(unknown.session?.departureTime).toEqual(at(1.5));

    const minimum = { energyWh: 15_000, byTime: at(1) };
    const need = { $case: "energyWh", value: 20_000 };
    const less = await ask(withSession(site(V201), here({ need, minimum })), AC_NEEDS);
    expect(less.session?.minimum).toEqual({ energyWh: 11_000, byTime: at(1) });

    const chargingNeeds = { ...AC_NEEDS.chargingNeeds, departureTime: "9999-12-31T00:00:00Z" };
    const never = await ask(withSession(site(V201), here()), { evseId: 1, chargingNeeds });
    expect(codesOf(never)).toContain("DEPARTURE_BEYOND_HORIZON");

    const stationId = "x".repeat(255);
    const long = await ask(site(V201, { stationId }), AC_NEEDS, { stationId });
    expect(long.status).toBe(ChargingNeedsStatus.PROCESSING);
  });

  test("a charger that takes no 0 rejects a vehicle that can't charge there", async () => {
    const charger = { maxCurrentA: 16, ocpp: { version: V201, rejectsZeroLimit: true } };
    const acChargingParameters = { ...AC_NEEDS.chargingNeeds.acChargingParameters, evMaxCurrent: 32 };
    const needs = (evMinCurrent: number) => ({
      evseId: 1,
      chargingNeeds: {
        ...AC_NEEDS.chargingNeeds,
        acChargingParameters: { ...acChargingParameters, evMinCurrent },
      },
    });
    const request = withSession(site(V201, charger), here());
    expect(await ask(request, needs(17))).toMatchObject({
      status: ChargingNeedsStatus.REJECTED,
      responseJson: '{"status":"Rejected"}',
      plan: undefined,
    });
    expect((await ask(request, needs(16))).status).toBe(ChargingNeedsStatus.ACCEPTED);
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
    // A state of charge comes every minute; each profile that is sent again wears the charger's memory.
    const installedPlans = [
      {
        sessionId: "a",
        chargingProfileId: 11,
        powerW: { startTime: START, stepSeconds: 900, values: answer.plan?.sessionPlans[1].powerW ?? [] },
      },
    ];
    const again = await ask(
      { ...withSession(site(V16), here({ need })), installedPlans },
      { connectorId: 1, meterValue },
    );
    expect(again.status).toBe(ChargingNeedsStatus.NO_CHARGING_PROFILE);
    expect(again.plan?.sessionPlans[1].command).toBeUndefined();
    const without = await ask(withSession(site(V16), here()), { connectorId: 1, meterValue });
    expect(without.session?.need).toEqual({ $case: "energyWh", value: 1000 });
    expect(without.plan?.notices.map(({ code }) => code)).toContain("SOC_UNUSED");
  });

  test("refuses every wrong field by its path, of the message, the payload, and the site", async () => {
    const empty = await refusal(optimizer.notifyEvChargingNeeds({ payloadJson: "{" }));
    expect(empty.code).toBe("INVALID_ARGUMENT");
    expect(empty.violations.map(({ field }) => field)).toEqual([
      "optimize_request",
      "station_id",
      "payload_json",
    ]);

    const ofPayload = await refusal(
      ask(site(V201), { evseId: 1, chargingNeeds: { requestedEnergyTransfer: "DC", departureTime: "x" } }),
    );
    expect(ofPayload.violations.map(({ field }) => field)).toEqual([
      "payload_json.chargingNeeds.departureTime",
    ]);

    const request = withSession(site(V201), here({ priority: 50, minimum: {} }));
    request.slotSeconds = 7;
    const ofBoth = await refusal(ask(request, { evseId: 1, chargingNeeds: { departureTime: "x" } }));
    expect(ofBoth.violations.map(({ field }) => field)).toEqual([
      "payload_json.chargingNeeds.departureTime",
      "payload_json.chargingNeeds.requestedEnergyTransfer",
      "optimize_request.sessions[1].priority",
      "optimize_request.slot_seconds",
    ]);
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
    let [planned, gave] = [0, 0];
    for (let seed = 0; seed < 400; seed++) {
      const random = randomOf(seed);
      const some = <T>(chance: number, value: T): T | undefined =>
        random.chance(chance) ? value : undefined;
      const version = random.pick(["2.0.1", "2.1", "2.1"] as const);
      const supply = random.chance(0.5) ? Supply.DC : Supply.AC;
      const ocpp = { version: version === "2.1" ? V21 : V201, rejectsZeroLimit: random.chance(0.2) };
      const base = site(
        ocpp.version,
        { ocpp, maxDischargePowerW: version === "2.1" ? 10_000 : 0, minPowerW: some(0.2, 2000) },
        supply,
      );
      const stateOfCharge = { socPercent: random.int(0, 100), batteryCapacityWh: 60_000 };
      const hasSoc = random.chance(0.4);
      const session = here({
        departureTime: at(3),
        transactionId: some(0.9, "7"),
        need: hasSoc ? { $case: "stateOfCharge", value: stateOfCharge } : some(0.7, here().need),
        discharge: some(0.8, { pricePerKwh: 0.01 }),
        minimum: some(0.3, { energyWh: hasSoc ? 0 : random.int(0, 1000), byTime: at(1) }),
        maxCurrentA: some(0.3, random.int(6, 20)),
        minCurrentA: some(0.2, random.int(0, 6)),
        maxPowerW: some(0.3, random.int(0, 12_000)),
      });
      const prices = Array.from({ length: 12 }, () => random.real(0.05, 1));
      Object.assign(base.site ?? {}, {
        tariff: {
          currency: "EUR",
          energyPrice: {
            $case: "pricePerKwh",
            value: { startTime: START, stepSeconds: 3600, values: prices },
          },
        },
      });
      // The building draws what a vehicle gives.
      base.site?.circuits?.forEach((circuit) => {
        Object.assign(circuit, { baseLoadW: { startTime: START, stepSeconds: 900, values: [9000] } });
      });
      const known = random.chance(0.8) ? withSession(base, session) : base;
      const next = {
        ...here({ departureTime: at(20) }),
        sessionId: "next",
        arrivalTime: at(random.real(3, 5)),
      };
      const payload = randomNeeds(random, version) as {
        maxScheduleTuples?: number;
        chargingNeeds: Record<string, Record<string, number> | undefined>;
      };
      const answer = await ask(random.chance(0.3) ? withSession(known, next) : known, payload);
      if (answer.status === ChargingNeedsStatus.REJECTED) {
        expect(answer.rejection).not.toBe("");
        continue;
      }
      planned++;
      const {
        acChargingParameters: ac,
        dcChargingParameters: dc,
        v2xChargingParameters: v2x,
      } = payload.chargingNeeds;
      const own = answer.plan?.sessionPlans.find(({ sessionId }) => sessionId === answer.session?.sessionId);
      const most = [
        ac && ac.evMaxCurrent * 230 * 3,
        dc && (dc.evMaxPower ?? dc.evMaxCurrent * dc.evMaxVoltage),
        v2x && (v2x.maxChargePower_L2 === undefined ? v2x.maxChargePower : 3 * v2x.maxChargePower),
        supply === Supply.DC ? 50_000 : 22_080,
      ];
      const mostW = Math.min(...most.map((powerW) => powerW ?? Number.POSITIVE_INFINITY));
      const [other] = answer.plan?.sessionPlans ?? [];
      for (const [k, w] of own?.powerW.entries() ?? []) {
        expect(w, `seed ${seed}`).toBeLessThanOrEqual(mostW + 1e-3);
        if (w > 0) expect(w, `seed ${seed}`).toBeGreaterThanOrEqual((v2x?.minChargePower ?? 0) - 1e-3);
        expect(-w, `seed ${seed}`).toBeLessThanOrEqual(v2x?.maxDischargePower ?? 10_000);
        expect(w + (other?.powerW[k] ?? 0) + 9000).toBeLessThanOrEqual(22_000 + 1e-3);
      }
      const {
        evTargetEnergyRequest,
        evMaxEnergyRequest = evTargetEnergyRequest,
        evMaxV2XEnergyRequest = 0,
      } = v2x ?? {};
      if (evMaxEnergyRequest !== undefined)
        expect(own?.plannedEnergyWh, `seed ${seed}`).toBeLessThanOrEqual(Math.max(0, evMaxEnergyRequest) + 1);
      if ((own?.dischargedEnergyWh ?? 0) > 0) {
        gave++;
        expect(evMaxV2XEnergyRequest, `seed ${seed}`).toBeGreaterThanOrEqual(0);
      }
      expect(own?.powerW.some((w) => w < 0) && payload.maxScheduleTuples === 1, `seed ${seed}`).toBe(false);
    }
    expect(planned).toBeGreaterThan(100);
    expect(gave).toBeGreaterThan(3);
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

  test("judges amperes by the voltage at the EVSE, above a transformer that of its primary side", async () => {
    const circuits = [
      { circuitId: "grid", maxPowerW: 90_000 },
      {
        circuitId: "low",
        parentCircuitId: "grid",
        transformer: { winding: Winding.DELTA_WYE, primaryVoltageV: 277 },
      },
    ];
    const above = {
      siteId: "depot",
      circuits,
      nominalVoltageV: 120,
      evses: [{ stationId: "CS1", evseId: 1 }],
    };
    const optimizeRequest = { site: above, startTime: START, sessions: [here()] };
    const plan = await optimizer.optimize(optimizeRequest);
    const profileJson = plan.sessionPlans[0].command?.payloadJson ?? "";
    const [firstW] = plan.sessionPlans[0].powerW;
    // More than 120 V would make of the same amperes.
    expect(firstW).toBeGreaterThan(0);
    const judge = async (limit: number) => {
      const call = { optimizeRequest, stationId: "CS1", profileJson };
      const payloadJson = JSON.stringify(schedule(limit));
      return (await optimizer.notifyEvChargingSchedule({ ...call, payloadJson })).isAccepted;
    };
    expect(await judge(firstW)).toBe(true);
    expect(await judge(firstW + 1)).toBe(false);
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
    const amperes = {
      evseId: 2,
      chargingProfile: {
        id: 1,
        stackLevel: 0,
        chargingProfilePurpose: "TxProfile",
        chargingProfileKind: "Relative",
        transactionId: "7",
        chargingSchedule: [
          { id: 1, chargingRateUnit: "A", chargingSchedulePeriod: [{ startPeriod: 0, limit: 16 }] },
        ],
      },
    };
    const ofOther = await refusal(
      judge({
        optimizeRequest: OptimizeRequest.fromPartial({ ...site(V201, {}, Supply.DC), slotSeconds: 7 }),
        profileJson: JSON.stringify(amperes),
      }),
    );
    expect(ofOther.violations.map(({ field }) => field)).toEqual([
      "profile_json.evseId",
      "profile_json.chargingProfile.chargingSchedule[0].chargingRateUnit",
      "optimize_request.slot_seconds",
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

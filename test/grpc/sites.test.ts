import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine.ts";
import { OcppVersion, PlanStatus } from "../../src/grpc/client.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
import { CommandResult, connectSites, SeriesKind, type Sites } from "../../src/grpc/site-client.ts";
import { testEngine } from "../support/engine.ts";
import { type Kept, keepSites } from "../support/kept.ts";

const HOUR_MS = 3_600_000;

/** Waits until something is so; the test's own time limit ends what never comes. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(15);
}
const ANSWER_MS = 1500;

let engine: Engine;
beforeAll(() => {
  engine = testEngine();
});
afterAll(() => engine.close());

let kept: Kept;
let server: RunningServer;
let sites: Sites;
beforeEach(() => open());
afterEach(async () => {
  await shut();
  rmSync(kept.folder, { recursive: true });
});

async function open(over: { folder?: string; retryMs?: number } = {}): Promise<void> {
  kept = await keepSites(engine, { answerMs: ANSWER_MS, ...over });
  server = await startServer({
    engine,
    host: "127.0.0.1",
    port: 0,
    logger: pino({ level: "silent" }),
    drainMs: 0,
    sites: kept.sites,
  });
  sites = connectSites(`127.0.0.1:${server.port}`);
}

async function shut(): Promise<void> {
  sites.close();
  await server.close();
  await kept.stop();
}

// Two chargers of 22.08 kW behind 22.08 kW: both at once get half.
const SITE = {
  siteId: "depot",
  circuits: [{ circuitId: "grid", maxPowerW: 22_080 }],
  evses: ["A", "B"].map((stationId) => ({ stationId, evseId: 1, maxCurrentA: 32 })),
};

function vehicle(stationId: string, { energyWh = 40_000, hours = 4 } = {}) {
  return {
    siteId: "depot",
    session: {
      sessionId: `s-${stationId}`,
      stationId,
      evseId: 1,
      transactionId: `tx-${stationId}`,
      departureTime: new Date(Date.now() + hours * HOUR_MS),
      need: { $case: "energyWh" as const, value: energyWh },
    },
  };
}

/** A CSMS that answers every command; `answer` undefined leaves it without one. */
function csms(answer: (command: { stationId: string }) => CommandResult | undefined) {
  const stopping = new AbortController();
  const told: { stationId: string; commandId: string; cursor: string; limits: (number | undefined)[] }[] = [];
  const done = (async () => {
    try {
      for await (const command of sites.watchCommands({}, { signal: stopping.signal })) {
        const { stationId, commandId, cursor } = command;
        const schedule = command.command?.chargingProfile?.chargingSchedules[0];
        told.push({
          stationId,
          commandId,
          cursor,
          limits: schedule?.chargingSchedulePeriods.map(({ limit }) => limit) ?? [],
        });
        const result = answer(command);
        if (result !== undefined) await sites.reportCommand({ commandId, result });
      }
    } catch (error) {
      // By the test, or as the server has gone.
      expect(["CANCELLED", "UNAVAILABLE"]).toContain((error as { code: string }).code);
    }
  })();
  return {
    told,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

const planned = (count: number) =>
  until(async () => {
    const { plan, isDue } = await sites.getPlan({ siteId: "depot" });
    return !isDue && plan?.sessionPlans.length === count;
  });

test("a charger that has refused its vehicle may give it all it has: until it accepts no other one is raised", async () => {
  await shut();
  await open({ folder: kept.folder, retryMs: 300 });
  await sites.putSite({ site: SITE });
  await sites.putSession(vehicle("B"));
  const happened: string[] = [];
  let refusals = 0;
  const watcher = csms(({ stationId }) => {
    const isRefused = stationId === "A" && refusals++ < 3;
    const { limits } = watcher.told[watcher.told.length - 1];
    const highest = Math.max(...limits.map((limit) => limit ?? 0));
    happened.push(`${stationId} ${isRefused ? "refuses" : highest}`);
    return isRefused ? CommandResult.REJECTED : CommandResult.ACCEPTED;
  });
  await until(() => happened.length > 0);
  await sites.putSession(vehicle("A"));
  await until(async () => {
    const { plan } = await sites.getPlan({ siteId: "depot" });
    return happened.includes("A 32") && plan!.sessionPlans.every(({ shortfallWh }) => shortfallWh < 10);
  });
  await until(() => happened.at(-1) === "B 32");
  const firstRefusal = happened.indexOf("A refuses");
  const between = happened.slice(firstRefusal, happened.indexOf("A 32"));
  expect(between.filter((one) => one === "A refuses")).toHaveLength(3);
  expect(new Set(between)).toEqual(new Set(["A refuses", "B 0"]));
  await watcher.stop();
});

describe("sites", () => {
  test("whose change makes a vehicle one that can't be planned plan the others", async () => {
    await sites.putSite({ site: SITE });
    for (const stationId of ["A", "B"]) await sites.putSession(vehicle(stationId));
    await planned(2);
    // A transaction of OCPP 1.6 is a number.
    const [a, b] = SITE.evses;
    await sites.putSite({
      site: { ...SITE, evses: [{ ...a, ocpp: { version: OcppVersion.OCPP_VERSION_1_6 } }, b] },
    });
    await planned(1);
    const { plan, failure } = await sites.getPlan({ siteId: "depot" });
    expect(failure).toBe("");
    expect(plan?.sessionPlans.map(({ sessionId }) => sessionId)).toEqual(["s-B"]);
    expect(plan?.notices).toContainEqual(
      expect.objectContaining({
        code: "SESSION_LEFT_OUT",
        message: expect.stringContaining("transaction_id"),
      }),
    );
  });

  test("are kept, found by pages, changed only by who knows their etag, and forgotten", async () => {
    const { etag } = await sites.putSite({ site: SITE });
    for (const id of ["a", "b", "c"]) await sites.putSite({ site: { ...SITE, siteId: id } });
    const first = await sites.listSites({ pageSize: 3 });
    expect(first.sites.map(({ siteId }) => siteId)).toEqual(["a", "b", "c"]);
    const second = await sites.listSites({ pageSize: 3, pageToken: first.nextPageToken });
    expect(second.sites.map(({ siteId }) => siteId)).toEqual(["depot"]);
    expect(second.nextPageToken).toBe("");
    const { etag: newer } = await sites.putSite({ site: { ...SITE, timeZone: "Europe/Berlin" }, etag });
    await expect(sites.putSite({ site: SITE, etag })).rejects.toMatchObject({ code: "ABORTED" });
    await expect(sites.deleteSite({ siteId: "depot", etag })).rejects.toMatchObject({ code: "ABORTED" });
    await sites.deleteSite({ siteId: "depot", etag: newer });
    await expect(sites.getSite({ siteId: "depot" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("that could not be planned are refused with the fields that are wrong", async () => {
    const evses = [{ stationId: "A", evseId: 1, circuitId: "nowhere" }];
    const refused = sites.putSite({ site: { ...SITE, evses }, settings: { slotSeconds: 7 } });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const { violations } = await refused.catch((error) => error);
    const fields = violations.map(({ field }: { field: string }) => field);
    expect(fields).toContain("site.evses[0].circuit_id");
    expect(fields).toContain("settings.slot_seconds");
  });

  test("outlive the server", async () => {
    const { etag } = await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A"));
    await planned(1);
    const { folder } = kept;
    await shut();
    await open({ folder });
    const known = await sites.getSite({ siteId: "depot" });
    expect(known.etag).toBe(etag);
    expect(known.site).toMatchObject({ siteId: "depot" });
    expect(known.sessions.map(({ session }) => session?.sessionId)).toEqual(["s-A"]);
    const { plan } = await sites.getPlan({ siteId: "depot" });
    expect(plan?.sessionPlans[0].plannedEnergyWh).toBeCloseTo(40_000, -2);
  });
});

describe("vehicles", () => {
  test("that come are planned, and their chargers told; who comes later gets room only when it is free", async () => {
    await sites.putSite({ site: SITE });
    const watched = csms(() => CommandResult.ACCEPTED);
    await sites.putSession(vehicle("A", { energyWh: 60_000 }));
    await until(() => watched.told.length === 1);
    expect(watched.told[0]).toMatchObject({ stationId: "A" });
    await until(async () => (await sites.getSite({ siteId: "depot" })).evses.length === 1);
    await sites.putSession(vehicle("B", { energyWh: 60_000 }));
    await until(() => watched.told.length >= 3);
    // 60 kWh each do not fit into 88 kWh: A is lowered, and only then B begins.
    expect(watched.told.slice(1, 3).map(({ stationId }) => stationId)).toEqual(["A", "B"]);
    const { plan } = await sites.getPlan({ siteId: "depot" });
    expect(plan?.summary?.plannedEnergyWh).toBeGreaterThan(87_000);
    await watched.stop();
  });

  test("whose charger refuses count as drawing what it holds: the other one gets only the rest", async () => {
    await sites.putSite({ site: SITE });
    let refuses = false;
    const watched = csms(({ stationId }) =>
      refuses && stationId === "A" ? CommandResult.REJECTED : CommandResult.ACCEPTED,
    );
    await sites.putSession(vehicle("A", { energyWh: 80_000 }));
    await until(() => watched.told.length === 1);
    await planned(1);
    refuses = true;
    await sites.putSession(vehicle("B", { energyWh: 60_000 }));
    await until(async () =>
      (await sites.getSite({ siteId: "depot" })).evses.some(
        (evse) => evse.unreachableUntilTime !== undefined,
      ),
    );
    await until(async () => {
      const { plan, isDue } = await sites.getPlan({ siteId: "depot" });
      return !isDue && (plan?.notices.some(({ code }) => code === "STATION_OFFLINE") ?? false);
    });
    const { plan } = await sites.getPlan({ siteId: "depot" });
    const held = plan?.sessionPlans.find(({ stationId }) => stationId === "A");
    const other = plan?.sessionPlans.find(({ stationId }) => stationId === "B");
    held?.powerW.forEach((w, k) => {
      expect(w + (other?.powerW[k] ?? 0)).toBeLessThanOrEqual(22_080.001);
    });
    // A holds 80 kWh of the 88.3 that there are.
    expect(held?.plannedEnergyWh).toBeGreaterThan(79_000);
    expect(other?.plannedEnergyWh).toBeLessThan(8400);
    await watched.stop();
  });

  test("whose charger says nothing count as drawing the higher of what it holds and what it was told", async () => {
    await sites.putSite({ site: SITE });
    const watched = csms(({ stationId }) => (stationId === "A" ? undefined : CommandResult.ACCEPTED));
    await sites.putSession(vehicle("A", { energyWh: 60_000 }));
    await until(() => watched.told.length === 1);
    await sites.putSession(vehicle("B", { energyWh: 60_000, hours: 8 }));
    await until(async () => {
      const { evses } = await sites.getSite({ siteId: "depot" });
      return evses.some((evse) => evse.stationId === "A" && evse.unreachableUntilTime !== undefined);
    });
    await until(async () => !(await sites.getPlan({ siteId: "depot" })).isDue);
    // Whatever A holds of the two, B was only told what is beside both.
    expect(watched.told.filter(({ stationId }) => stationId === "B").length).toBeLessThanOrEqual(2);
    await watched.stop();
  });

  test("that left make room, and their sessions can't come back", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A"));
    await sites.putSession(vehicle("B"));
    await planned(2);
    await sites.endSession({ siteId: "depot", sessionId: "s-A" });
    await planned(1);
    expect((await sites.putSession(vehicle("A"))).isNew).toBe(false);
    expect((await sites.getSite({ siteId: "depot" })).sessions).toHaveLength(1);
    await expect(sites.endSession({ siteId: "depot", sessionId: "nobody" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("that take the place of another end its session", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A"));
    const { session, siteId } = vehicle("A");
    await sites.putSession({ siteId, session: { ...session, sessionId: "next", transactionId: "tx-next" } });
    const { sessions } = await sites.getSite({ siteId });
    expect(sessions.map(({ session }) => session?.sessionId)).toEqual(["next"]);
    // A put that was on its way for long does not bring the first one back, nor take the place of the next.
    await sites.putSession(vehicle("A"));
    const later = await sites.getSite({ siteId });
    expect(later.sessions.map(({ session }) => session?.sessionId)).toEqual(["next"]);
  });
});

describe("progress", () => {
  test("is taken off the need, and what is older than what is known has no effect", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A", { energyWh: 30_000 }));
    const report = (meteredEnergyWh: number, agoMs: number) =>
      sites.reportProgress({
        siteId: "depot",
        sessionId: "s-A",
        meteredEnergyWh,
        measuredTime: new Date(Date.now() - agoMs),
      });
    expect((await report(10_000, 0)).state?.remainingEnergyWh).toBeCloseTo(20_000, -1);
    expect((await report(1000, 60_000)).state?.remainingEnergyWh).toBeCloseTo(20_000, -1);
    for await (const _ of sites.reoptimize({ siteIds: ["depot"] }));
    const { plan } = await sites.getPlan({ siteId: "depot" });
    expect(plan?.sessionPlans[0].plannedEnergyWh).toBeCloseTo(20_000, -2);
  });

  test("of a vehicle that takes less gives the rest to others, and back when it would take more", async () => {
    await sites.putSite({ site: SITE });
    const watched = csms(() => CommandResult.ACCEPTED);
    await sites.putSession(vehicle("A", { energyWh: 80_000 }));
    await sites.putSession(vehicle("B", { energyWh: 80_000 }));
    await planned(2);
    await until(async () => (await sites.getSite({ siteId: "depot" })).evses.length === 2);
    const planOf = async (of: (stationId: string) => boolean) => {
      const { plan } = await sites.getPlan({ siteId: "depot" });
      return plan?.sessionPlans.find(({ stationId }) => of(stationId));
    };
    const first = await planOf(() => true);
    // Whoever may draw now takes 3 kW of it.
    const taker = (first?.powerW[0] ?? 0) > 10_000 ? "A" : "B";
    const otherWh = async () => (await planOf((id) => id !== taker))?.plannedEnergyWh ?? 0;
    expect(await otherWh()).toBeLessThan(50_000);
    const report = async (powerW: number) =>
      (await sites.reportProgress({ siteId: "depot", sessionId: `s-${taker}`, powerW })).state?.takenPowerW;
    // While a command is out, what it takes says nothing.
    await until(async () => (await report(3000)) !== undefined);
    // It is left the least that it can charge with, 4.14 kW; the other one has the rest of 88.3 kWh.
    await until(async () => (await otherWh()) > 65_000);
    const { sessions } = await sites.getSite({ siteId: "depot" });
    const state = sessions.find(({ session }) => session?.stationId === taker);
    expect(state?.takenPowerW).toBeCloseTo(3600, 6);
    // It takes all that it may.
    await until(async () => (await report(4100)) === undefined);
    await until(async () => (await otherWh()) < 50_000);
    await watched.stop();
  });
});

describe("series", () => {
  test("that went wrong are told of, replaced and forgotten", async () => {
    await sites.putSite({ site: { ...SITE, tariff: { currency: "EUR" } } });
    const ofPrices = { siteId: "depot", kind: SeriesKind.PRICE_PER_KWH };
    const startTime = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS);
    const from = (stepSeconds: number) => ({ startTime, stepSeconds, values: [0.2, 0.3] });
    const far = await sites.putSeries({ ...ofPrices, values: from(36_000_000) });
    expect(far.notices).toMatchObject([{ code: "SERIES_ENDS_LATE", field: "values.step_seconds" }]);
    const right = await sites.putSeries({ ...ofPrices, values: from(3600), replace: true });
    expect(right).toMatchObject({
      series: { endTime: new Date(startTime.getTime() + 2 * HOUR_MS) },
      notices: [],
    });
    await expect(sites.putSeries({ ...ofPrices, values: from(0) })).rejects.toThrow(
      "invalid request: values.step_seconds must be",
    );
    await expect(sites.putSeries(ofPrices)).rejects.toThrow("values is required");
    expect(await sites.putSeries({ ...ofPrices, replace: true })).toEqual({ series: undefined, notices: [] });
    expect((await sites.getSite({ siteId: "depot" })).series).toEqual([]);
    const text = { ...vehicle("A").session, departureTime: "2026-12-01T00:00:00Z" as never };
    await expect(sites.putSession({ siteId: "depot", session: text })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("the request can't be written"),
    });
  });

  test("take the place of the site's, hour by hour", async () => {
    const startTime = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS);
    await sites.putSite({ site: { ...SITE, tariff: { currency: "EUR" } } });
    await sites.putSession(vehicle("A", { energyWh: 20_000, hours: 5.5 }));
    const put = (first: number, values: number[]) =>
      sites.putSeries({
        siteId: "depot",
        kind: SeriesKind.PRICE_PER_KWH,
        values: { startTime: new Date(startTime.getTime() + first * HOUR_MS), stepSeconds: 3600, values },
      });
    await put(0, [0.5, 0.5, 0.5, 0.5]);
    const { series } = await put(3, [0.1, 0.5, 0.5, 0.5, 0.5]);
    expect((series?.endTime?.getTime() ?? 0) - startTime.getTime()).toBe(8 * HOUR_MS);
    await until(async () => {
      const { plan } = await sites.getPlan({ siteId: "depot" });
      // 20 kWh in the one cheap hour of 22 kW.
      return Math.abs((plan?.sessionPlans[0].energyCost ?? 0) - 2) < 0.02;
    });
    await expect(
      sites.putSeries({ siteId: "depot", kind: SeriesKind.BASE_LOAD_W, circuitId: "no", values: {} }),
    ).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("reoptimize", () => {
  test("answers for every site and with a summary, and says which are not there", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSite({ site: { ...SITE, siteId: "other" } });
    const answers = [];
    for await (const { outcome } of sites.reoptimize({ siteIds: ["depot", "other", "nowhere"] }))
      answers.push(outcome);
    const results = answers.flatMap((one) => (one?.$case === "result" ? [one.value] : []));
    expect(results.map(({ siteId, code }) => [siteId, code]).sort()).toEqual([
      ["depot", 0],
      ["nowhere", 5],
      ["other", 0],
    ]);
    expect(results.find(({ siteId }) => siteId === "depot")?.planStatus).toBe(PlanStatus.OPTIMAL);
    expect(answers.at(-1)).toEqual({ $case: "summary", value: { plannedCount: 2, failedCount: 1 } });
    const again = [];
    for await (const { outcome } of sites.reoptimize({ allSites: true, staleSeconds: 60 }))
      again.push(outcome);
    expect(again).toEqual([{ $case: "summary", value: { plannedCount: 0, failedCount: 0 } }]);
  });
});

describe("what vehicles say themselves", () => {
  const needs = (energyAmount: number) =>
    JSON.stringify({
      evseId: 1,
      chargingNeeds: {
        requestedEnergyTransfer: "AC_three_phase",
        departureTime: new Date(Date.now() + 3 * HOUR_MS).toISOString(),
        acChargingParameters: { energyAmount, evMinCurrent: 6, evMaxCurrent: 16, evMaxVoltage: 230 },
      },
    });

  test("is kept in their session, and their charger gets the profile that it waits for, changed or not", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A", { energyWh: 60_000 }));
    const watched = csms(() => CommandResult.ACCEPTED);
    await until(() => watched.told.length === 1);
    const forward = (payloadJson: string) =>
      sites.forwardEvChargingNeeds({ siteId: "depot", stationId: "A", payloadJson });
    const answer = await forward(needs(9000));
    expect(JSON.parse(answer.responseJson)).toEqual({ status: "Accepted" });
    expect(answer.state?.remainingEnergyWh).toBeCloseTo(9000, 6);
    expect(answer.state?.session).toMatchObject({ sessionId: "s-A", transactionId: "tx-A", maxCurrentA: 16 });
    await until(() => watched.told.length === 2);
    // The same again: what the charger holds would do, but it waits.
    await planned(1);
    await forward(needs(9000));
    await until(() => watched.told.length === 3);
    expect(watched.told[2].limits).toEqual(watched.told[1].limits);
    const refused = await sites
      .forwardEvChargingNeeds({ siteId: "depot", stationId: "A", payloadJson: '{"evseId":7}' })
      .catch((error) => error);
    expect(refused).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(refused.violations.map(({ field }: { field: string }) => field)).toEqual(["payload_json.evseId"]);
    await watched.stop();
  });

  test("of how they mean to charge is judged by what their charger has accepted", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A", { energyWh: 60_000 }));
    const schedule = (limit: number) =>
      JSON.stringify({
        timeBase: new Date().toISOString(),
        evseId: 1,
        chargingSchedule: {
          id: 1,
          chargingRateUnit: "W",
          duration: 600,
          chargingSchedulePeriod: [{ startPeriod: 0, limit }],
        },
      });
    const forward = (limit: number) =>
      sites.forwardEvChargingSchedule({ siteId: "depot", stationId: "A", payloadJson: schedule(limit) });
    await expect(forward(1000)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    const watched = csms(() => CommandResult.ACCEPTED);
    await until(async () => (await sites.getSite({ siteId: "depot" })).evses.length === 1);
    expect(await forward(4000)).toMatchObject({ isAccepted: true, responseJson: '{"status":"Accepted"}' });
    const told = watched.told.length;
    const answer = await forward(30_000);
    expect(answer).toMatchObject({ isAccepted: false, responseJson: '{"status":"Rejected"}' });
    expect(answer.excesses[0]).toMatchObject({ powerW: 30_000 });
    // It is sent its profile once more.
    await until(() => watched.told.length === told + 1);
    await watched.stop();
  });
});

describe("commands", () => {
  test("that are not answered come again to whoever asks, from any cursor", async () => {
    await sites.putSite({ site: SITE });
    await sites.putSession(vehicle("A"));
    await sites.putSession(vehicle("B"));
    await planned(2);
    const first = csms(() => undefined);
    await until(() => first.told.length === 2);
    await first.stop();
    const second = csms(() => undefined);
    await until(() => second.told.length === 2);
    await second.stop();
    expect(second.told).toEqual(first.told);
    const rest = [];
    const stopping = new AbortController();
    for await (const { commandId } of sites.watchCommands({ cursor: first.told[0].cursor }, stopping)) {
      rest.push(commandId);
      break;
    }
    expect(rest).toEqual([first.told[1].commandId]);
  });
});

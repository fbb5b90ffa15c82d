import { createServer, type Socket } from "node:net";
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine.ts";
import { OptimizerServiceService } from "../../src/gen/wattslot/v1/optimizer.ts";
import { Change, connect, type Optimizer, type PartialRequest, PlanStatus } from "../../src/grpc/client.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
import { testEngine } from "../support/engine.ts";

const evse = { stationId: "CS1", evseId: 1 };
const request: PartialRequest = {
  site: { siteId: "depot", circuits: [{ circuitId: "grid", maxPowerW: 11_040 }], evses: [evse] },
  startTime: new Date(Date.UTC(2026, 10, 23, 8)),
  sessions: [
    {
      ...evse,
      sessionId: "a",
      transactionId: "7",
      departureTime: new Date(Date.UTC(2026, 10, 23, 10)),
      need: { $case: "energyWh", value: 11_040 },
    },
  ],
};

let optimizer: Optimizer;
afterEach(() => optimizer.close());

describe("against a server", () => {
  let engine: Engine;
  let server: RunningServer;
  beforeAll(async () => {
    engine = testEngine();
    const logger = pino({ level: "silent" });
    server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 1000 });
  });
  afterAll(async () => {
    await server.close();
    await engine.close();
  });

  test("a plan comes back, however little the request says", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    const plan = await optimizer.optimize(request);
    expect(plan.status).toBe(PlanStatus.OPTIMAL);
    // 11.04 kW, 16 A on three phases, for an hour.
    expect(plan.sessionPlans[0].plannedEnergyWh).toBe(11_040);
    expect(plan.sessionPlans[0].powerW).toEqual([11_040, 11_040, 11_040, 11_040, 0, 0, 0, 0]);
  });

  test("a batch answers each request, and tells of a wrong one in its answer", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    const items = Array.from({ length: 40 }, (_, n) => ({
      requestId: `${n}`,
      request: n === 7 ? { ...request, slotSeconds: 7 } : request,
    }));
    const outcomes = new Map<string, string | undefined>();
    for await (const { requestId, outcome } of optimizer.optimizeBatch(items)) {
      outcomes.set(requestId, outcome?.$case);
    }
    expect(outcomes.size).toBe(40);
    expect([...outcomes].filter(([, outcome]) => outcome !== "response")).toEqual([["7", "error"]]);
  });

  test("a batch ends when its reader leaves, its caller aborts or its requests fail", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    async function* endless() {
      for (let n = 0; ; n++) yield { requestId: `${n}`, request };
    }
    let read = 0;
    for await (const { outcome } of optimizer.optimizeBatch(endless())) {
      expect(outcome?.$case).toBe("response");
      if (++read === 3) break;
    }
    const canceller = new AbortController();
    const aborted = async () => {
      for await (const _ of optimizer.optimizeBatch(endless(), canceller)) canceller.abort();
    };
    await expect(aborted()).rejects.toMatchObject({ code: "CANCELLED" });
    async function* broken() {
      yield { requestId: "0", request };
      throw new RangeError("no more");
    }
    const failed = async () => {
      for await (const _ of optimizer.optimizeBatch(broken()));
    };
    await expect(failed()).rejects.toThrow("no more");
  });

  test("an answer handed back as the contract says is what the chargers hold, its cut first slot too", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    const startTime = new Date(Date.UTC(2026, 10, 23, 8, 7));
    const cut = { ...request, startTime };
    const { sitePlan, sessionPlans } = await optimizer.optimize(cut);
    expect(sitePlan?.slotStartTimes[1]).toEqual(new Date(Date.UTC(2026, 10, 23, 8, 15)));
    const boundary = new Date(Date.UTC(2026, 10, 23, 8));
    const installedPlans = sessionPlans.map(({ sessionId, powerW }) => ({
      sessionId,
      powerW: { startTime: boundary, stepSeconds: 900, values: powerW },
    }));
    const again = await optimizer.optimize({ ...cut, installedPlans });
    expect(again.sessionPlans).toMatchObject([{ change: Change.UNCHANGED, command: undefined }]);
    expect(again.summary?.changedEnergyWh).toBe(0);
  });

  test("a vehicle that comes after the plan's end is told of and left alone", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    const [here] = request.sessions!;
    const times = [11, 12].map((hour) => new Date(Date.UTC(2026, 10, 23, hour)));
    const [arrivalTime, departureTime] = times;
    const booked = { ...here, sessionId: "b", arrivalTime, departureTime };
    const plan = await optimizer.optimize({
      ...request,
      endTime: new Date(Date.UTC(2026, 10, 23, 10)),
      sessions: [here, booked],
    });
    expect(plan.notices.map(({ code }) => code)).toEqual(["ARRIVAL_BEYOND_HORIZON"]);
    expect(plan.summary).toMatchObject({ requestedEnergyWh: 11_040, shortfallWh: 0 });
    expect(plan.sessionPlans[1]).toMatchObject({ command: undefined, powerW: Array(8).fill(0) });
    expect(plan.sessionPlans[1].explanation).toBe("Comes after the end of the plan.");
  });

  test("a refusal names every wrong field", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    const bad = { ...request, slotSeconds: 7, sessions: [{ ...request.sessions![0], evseId: 9 }] };
    await expect(optimizer.optimize(bad)).rejects.toMatchObject({
      name: "WattslotError",
      code: "INVALID_ARGUMENT",
      violations: expect.arrayContaining([
        expect.objectContaining({ field: "slot_seconds" }),
        expect.objectContaining({ field: "sessions[0].evse_id" }),
      ]),
    });
  });

  test("a signal that is aborted before the call", async () => {
    optimizer = connect(`127.0.0.1:${server.port}`);
    const cancelled = optimizer.optimize(request, { signal: AbortSignal.abort() });
    await expect(cancelled).rejects.toMatchObject({ name: "WattslotError", code: "CANCELLED" });
  });
});

describe("without a server that answers", () => {
  test("a deadline that passes, and a signal that aborts", async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => sockets.add(socket.on("error", () => {})));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const address = silent.address();
    optimizer = connect(`127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
    const late = optimizer.optimize(request, { timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", violations: [] });
    const abort = new AbortController();
    const cancelled = optimizer.optimize(request, { signal: abort.signal });
    abort.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });

  test("details that are no google.rpc.Status do not hide the error", async () => {
    const server = new Server();
    server.addService(OptimizerServiceService, {
      optimize: (_: unknown, callback: (error: object) => void) => {
        const metadata = new Metadata();
        metadata.set("grpc-status-details-bin", Buffer.from("nonsense"));
        callback({ code: status.PERMISSION_DENIED, details: "not you", metadata });
      },
      optimizeBatch: () => {},
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    optimizer = connect(`127.0.0.1:${port}`);
    await expect(optimizer.optimize(request)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: "not you",
      violations: [],
    });
    server.forceShutdown();
  });
});

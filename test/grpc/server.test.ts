import { type ClientUnaryCall, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import { Status } from "../../src/gen/google/rpc/status.ts";
import {
  OptimizeRequest,
  type OptimizerServiceClient,
  OptimizerServiceService,
  PlanStatus,
} from "../../src/gen/wattslot/v1/optimizer.ts";
import { startServer } from "../../src/grpc/server.ts";
import { answerByMs } from "../../src/grpc/service.ts";
import { full, minimal, START_MS } from "./requests.ts";
import { fakeEngine, idlePlan, optimize, readyEngine, serve, until, violationsIn } from "./servers.ts";

/** Sends bytes as they are. */
function sendBytes(client: OptimizerServiceClient, bytes: Buffer): Promise<ServiceError | null> {
  const { path, responseDeserialize } = OptimizerServiceService.optimize;
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      () => bytes,
      responseDeserialize,
      undefined,
      (error) => resolve(error),
    );
  });
}

async function failure(client: OptimizerServiceClient, request: OptimizeRequest): Promise<ServiceError> {
  const answer = await optimize(client, request);
  expect(answer).toBeInstanceOf(Error);
  return answer as ServiceError;
}

describe("Optimize", () => {
  test("answers with the engine's plan for the problem in the request", async () => {
    const { client } = await serve(readyEngine());
    const answer = await optimize(client, minimal());
    expect(answer).toMatchObject({
      siteId: "depot",
      status: PlanStatus.FEASIBLE,
      sessionPlans: [
        { sessionId: "a", stationId: "CS1", evseId: 1, shortfallWh: 22_000 },
        { sessionId: "b", stationId: "CS2", evseId: 1, shortfallWh: 30_000 },
      ],
      sitePlan: { startTime: new Date(START_MS), circuits: [{ circuitId: "grid" }] },
    });
  });

  test("names every wrong field in google.rpc.BadRequest", async () => {
    const engine = readyEngine();
    const { client } = await serve(engine);
    const request = full();
    request.site!.siteId = "";
    request.sessions[0].priority = 100;
    request.slotSeconds = 7;
    const error = await failure(client, request);
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(error.details).toBe("invalid request: site.site_id is required (and 2 more)");
    expect(violationsIn(error.metadata)).toEqual([
      { field: "site.site_id", description: "is required" },
      { field: "sessions[0].priority", description: "must be from 0.1 to 10, is 100" },
      { field: "slot_seconds", description: "must be from 60 to 3600, is 7" },
    ]);
    const rich = Status.decode(error.metadata.get("grpc-status-details-bin")[0] as Buffer);
    expect(rich).toMatchObject({ code: status.INVALID_ARGUMENT, message: error.details });
    expect(engine.calls).toEqual([]);
  });

  test("names as many of a thousand wrong fields as every client takes, and says that there are more", async () => {
    const { client } = await serve(readyEngine());
    const request = minimal();
    request.sessions = Array.from({ length: 1000 }, (_, n) => ({
      ...request.sessions[0],
      sessionId: `ü${n}`,
      need: undefined,
    }));
    const error = await failure(client, request);
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    const violations = violationsIn(error.metadata);
    const last = violations.pop();
    expect(violations.length).toBeGreaterThan(20);
    expect(last?.description).toBe("the list is cut here: more does not fit");
    // The need of each, and but for the first the EVSE that it shares.
    expect(error.details).toMatch(/^invalid request: sessions\[0\]\.need .* \(and 1998 more\)$/);
    const headers = error.metadata.toHttp2Headers();
    const size = Object.entries(headers).reduce(
      (sum, [key, value]) => sum + key.length + String(value).length + 32,
      0,
    );
    expect(size + encodeURI(error.details).length).toBeLessThan(8192);
  });

  test("a caller's text that is cut stays text", async () => {
    const { client } = await serve(readyEngine());
    const request = minimal();
    request.site!.timeZone = "😀".repeat(5000);
    const error = await failure(client, request);
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(violationsIn(error.metadata)).toEqual([
      { field: "site.time_zone", description: `"${"😀".repeat(40)}…" is not an IANA time zone` },
    ]);
  });

  test("a request above a bound is RESOURCE_EXHAUSTED, with its field", async () => {
    const { client } = await serve(readyEngine());
    const request = minimal();
    request.sessions = Array(2001).fill(request.sessions[0]);
    const error = await failure(client, request);
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(violationsIn(error.metadata)).toEqual([
      { field: "sessions", description: "at most 2000, has 2001" },
    ]);
  });

  test.each([
    ["RESOURCE_EXHAUSTED", status.RESOURCE_EXHAUSTED],
    ["DEADLINE_EXCEEDED", status.DEADLINE_EXCEEDED],
    ["UNAVAILABLE", status.UNAVAILABLE],
  ] as const)("an engine's %s is the caller's", async (code, expected) => {
    const { client } = await serve(
      fakeEngine(({ reject }) => reject(new WattslotError(code, "the queue is full"))),
    );
    expect(await failure(client, minimal())).toMatchObject({ code: expected, details: "the queue is full" });
  });
});

describe("bytes that are no request", () => {
  test.each([
    ["noise", Buffer.from("ff".repeat(20), "hex")],
    ["a message that ends too early", Buffer.from(OptimizeRequest.encode(full()).finish()).subarray(0, 100)],
    // start_time { seconds: 2^63 - 1 }: more than a number can hold.
    ["a time beyond a number", Buffer.from("1a0a08ffffffffffffffff7f", "hex")],
  ])("%s: INVALID_ARGUMENT", async (_, bytes) => {
    const { client, callLine } = await serve(readyEngine());
    expect(await sendBytes(client, bytes)).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "the request can't be decoded",
    });
    expect(await callLine()).toMatchObject({ code: "INVALID_ARGUMENT", requestBytes: bytes.length });
  });

  test("a time that no calendar has is a wrong field", async () => {
    const { client } = await serve(readyEngine());
    // start_time { seconds: 2^50 }
    const error = await sendBytes(client, Buffer.from("1a090880808080808080 02".replace(" ", ""), "hex"));
    expect(error?.code).toBe(status.INVALID_ARGUMENT);
    expect(violationsIn(error!.metadata).map(({ field }) => field)).toEqual(["site", "start_time"]);
  });

  test("more than 16 MiB: RESOURCE_EXHAUSTED, and a line in the log", async () => {
    const engine = readyEngine();
    const { client, callLine } = await serve(engine);
    const error = await sendBytes(client, Buffer.alloc(17 * 1024 * 1024));
    expect(error?.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(await callLine()).toMatchObject({
      method: "/wattslot.v1.OptimizerService/Optimize",
      reason: "before a request was read: cancelled or oversize",
    });
    expect(engine.calls).toEqual([]);
  });
});

describe("time", () => {
  test("the plan must be there a margin before the deadline, and within the time limit", () => {
    // 5 % of 10 s, but 50 ms of 400, and a fifth of less; the request's own limit holds beside it.
    expect(answerByMs(0, 10_000, 10_000)).toBe(9500);
    expect(answerByMs(0, 10_000, 400)).toBe(350);
    expect(answerByMs(0, 10_000, 60_000)).toBe(10_000);
    expect(answerByMs(0, 2000, 10_000)).toBe(2000);
    expect(answerByMs(5000, 2000, Number.POSITIVE_INFINITY)).toBe(7000);
    expect(answerByMs(0, 10_000, 30)).toBe(24);
  });

  test("the engine is told by when", async () => {
    const engine = readyEngine();
    const { client } = await serve(engine);
    const before = Date.now();
    await new Promise((resolve) => {
      client.optimize(minimal(), new Metadata(), { deadline: before + 5000 }, resolve);
    });
    // 5 s less 5 %, from when the call arrived; the deadline travels as a time span.
    expect(engine.calls[0].deadlineMs).toBeGreaterThan(before + 4000);
    expect(engine.calls[0].deadlineMs).toBeLessThanOrEqual(Date.now() + 4750);
    expect(engine.calls[0].problem.timeLimitMs).toBe(10_000);
  });

  test("a deadline that passes ends the work and is logged as one", async () => {
    const engine = fakeEngine();
    const { client, callLine } = await serve(engine);
    const error = await new Promise<ServiceError | null>((resolve) => {
      client.optimize(minimal(), new Metadata(), { deadline: Date.now() + 300 }, resolve);
    });
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED);
    const { signal } = await engine.call(0);
    await until(() => signal.aborted);
    expect(await callLine()).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("a caller that goes away ends the work", async () => {
    const engine = fakeEngine();
    const { client, callLine, lines } = await serve(engine);
    const call: ClientUnaryCall = client.optimize(minimal(), () => {});
    const { signal } = await engine.call(0);
    expect(signal.aborted).toBe(false);
    call.cancel();
    await until(() => signal.aborted);
    expect(await callLine()).toMatchObject({ code: "CANCELLED", reason: "by the client" });
    expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
  });

  test("an answer is not taken for a cancellation", async () => {
    const engine = readyEngine();
    const { client, callLine, lines } = await serve(engine);
    await optimize(client, minimal());
    await callLine();
    // One more round trip: what grpc-js says after the first has been said.
    await optimize(client, minimal());
    await callLine(1);
    expect(engine.calls[0].signal.aborted).toBe(false);
    expect(lines.filter(({ msg }) => msg === "call").map(({ code }) => code)).toEqual(["OK", "OK"]);
  });
});

describe("faults", () => {
  const SECRET = "the database password is hunter2";

  test.each([
    ["an error", new Error(SECRET)],
    ["an INTERNAL of the project", new WattslotError("INTERNAL", SECRET)],
    ["a cause", new WattslotError("INTERNAL", "x", { cause: new Error(SECRET) })],
  ])("%s is logged with its stack, and the caller learns nothing", async (_, thrown) => {
    const { client, lines } = await serve(fakeEngine(({ reject }) => reject(thrown)));
    const error = await failure(client, minimal());
    expect(error).toMatchObject({ code: status.INTERNAL, details: "internal error" });
    expect(JSON.stringify(error.metadata.toJSON())).not.toContain("hunter2");
    const [fault] = lines.filter(({ msg }) => msg === "internal error");
    expect(fault).toMatchObject({
      level: 50,
      err: { message: SECRET, stack: expect.stringContaining("server.test.ts") },
    });
  });

  test("an answer that can't be encoded is one", async () => {
    const engine = fakeEngine(({ problem, resolve }) => {
      const plan = idlePlan(problem);
      plan.solve.columns = -1;
      resolve(plan);
    });
    const { client, lines } = await serve(engine);
    expect(await failure(client, minimal())).toMatchObject({
      code: status.INTERNAL,
      details: "internal error",
    });
    expect(lines.some(({ msg, level }) => msg === "internal error" && level === 50)).toBe(true);
  });

  test("the server lives on", async () => {
    let calls = 0;
    const engine = fakeEngine(({ problem, resolve, reject }) =>
      calls++ === 0 ? reject(null) : resolve(idlePlan(problem)),
    );
    const { client } = await serve(engine);
    expect(await failure(client, minimal())).toMatchObject({ code: status.INTERNAL });
    expect(await optimize(client, minimal())).toMatchObject({ siteId: "depot" });
  });
});

describe("request id and log", () => {
  async function idOf(
    client: OptimizerServiceClient,
    request: OptimizeRequest,
    given?: string,
  ): Promise<string> {
    const metadata = new Metadata();
    if (given !== undefined) metadata.set("x-request-id", given);
    return new Promise((resolve) => {
      const call = client.optimize(request, metadata, () => {});
      call.on("metadata", (initial: Metadata) => resolve(String(initial.get("x-request-id")[0])));
    });
  }
  const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

  test("a sane id comes back and stands in the log", async () => {
    const { client, callLine } = await serve(readyEngine());
    expect(await idOf(client, minimal(), "csms-1:plan.7_a")).toBe("csms-1:plan.7_a");
    expect(await callLine()).toMatchObject({
      requestId: "csms-1:plan.7_a",
      method: "/wattslot.v1.OptimizerService/Optimize",
      code: "OK",
      durationMs: expect.any(Number),
      requestBytes: OptimizeRequest.encode(minimal()).finish().length,
      sessions: 2,
      slots: 32,
      planStatus: "FEASIBLE",
    });
  });

  test.each([undefined, "", "two words", "x".repeat(129), "a;b"])("%j is replaced", async (given) => {
    const { client, callLine } = await serve(readyEngine());
    const id = await idOf(client, minimal(), given);
    expect(id).toMatch(UUID);
    expect(await callLine()).toMatchObject({ requestId: id });
  });

  test("errors have one, too", async () => {
    const { client, callLine } = await serve(readyEngine());
    expect(await idOf(client, OptimizeRequest.fromPartial({}), "bad-1")).toBe("bad-1");
    expect(await callLine()).toMatchObject({ requestId: "bad-1", code: "INVALID_ARGUMENT", violations: 1 });
  });

  test("faults are logged under it", async () => {
    const { client, lines } = await serve(fakeEngine(({ reject }) => reject(new Error("x"))));
    await idOf(client, minimal(), "fault-1");
    const fault = await until(() => lines.find(({ msg }) => msg === "internal error"));
    expect(fault.requestId).toBe("fault-1");
  });

  test("nothing of a request is written down", async () => {
    const { client, lines, callLine } = await serve(readyEngine());
    const request = full();
    for (const session of request.sessions) session.sessionId = `driver-${session.sessionId}`;
    await optimize(client, request);
    request.site!.timeZone = "driver-zone";
    await failure(client, request);
    await callLine(1);
    expect(JSON.stringify(lines)).not.toMatch(/driver|depot|tx-a/);
  });
});

describe("close", () => {
  test("lets calls in progress end and takes no more", async () => {
    const engine = fakeEngine();
    const { client, server } = await serve(engine, { drainMs: 60_000 });
    const answer = optimize(client, minimal());
    const { problem, resolve, signal } = await engine.call(0);
    let isClosed = false;
    const closed = server.close().then(() => {
      isClosed = true;
    });
    expect(await failure(client, minimal())).toMatchObject({ code: status.UNAVAILABLE });
    expect(isClosed).toBe(false);
    expect(signal.aborted).toBe(false);
    resolve(idlePlan(problem));
    expect(await answer).toMatchObject({ siteId: "depot" });
    await closed;
    expect(engine.calls).toHaveLength(1);
  });

  test("cancels what has not ended in time", async () => {
    const engine = fakeEngine();
    const { client, server, lines } = await serve(engine, { drainMs: 50 });
    const answer = failure(client, minimal());
    const { signal } = await engine.call(0);
    await server.close();
    expect((await answer).code).not.toBe(status.OK);
    await until(() => signal.aborted);
    expect(lines.some(({ msg }) => msg === "calls still in progress are cancelled")).toBe(true);
  });

  test("twice is once", async () => {
    const { server } = await serve(readyEngine());
    expect(server.close()).toBe(server.close());
    await server.close();
  });

  test("a port in use is an error at the start", async () => {
    const { server } = await serve(readyEngine());
    const { pino } = await import("pino");
    await expect(
      startServer({
        engine: readyEngine(),
        host: "127.0.0.1",
        port: server.port,
        logger: pino({ level: "silent" }),
        drainMs: 0,
      }),
    ).rejects.toThrow(/EADDRINUSE|bind/);
  });

  test("an IPv6 address is an address", async () => {
    const { server } = await serve(readyEngine(), { host: "::1" });
    expect(server.port).toBeGreaterThan(0);
    expect(server.address).toBe("::1");
  });
});

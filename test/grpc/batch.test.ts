import { type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import {
  OptimizeBatchRequest,
  OptimizeBatchResponse,
  type OptimizeRequest,
  type OptimizerServiceClient,
  OptimizerServiceService,
} from "../../src/gen/wattslot/v1/optimizer.ts";
import { minimal } from "./requests.ts";
import { type EngineCall, fakeEngine, idlePlan, readyEngine, serve, until } from "./servers.ts";

/** A batch whose requests are sent as bytes, so that they may be anything. */
function open(client: OptimizerServiceClient) {
  const call: ClientDuplexStream<Buffer, OptimizeBatchResponse> = client.makeBidiStreamRequest(
    OptimizerServiceService.optimizeBatch.path,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => OptimizeBatchResponse.decode(bytes),
  );
  const answers: OptimizeBatchResponse[] = [];
  call.on("data", (answer) => answers.push(answer));
  const ended = new Promise<status>((resolve) => {
    call.on("error", (error: ServiceError) => resolve(error.code));
    call.on("status", ({ code }) => resolve(code));
  });
  return { call, answers, ended };
}

function item(requestId: string, request: OptimizeRequest | undefined = minimal()): Buffer {
  return Buffer.from(OptimizeBatchRequest.encode({ requestId, request }).finish());
}

const ids = (answers: OptimizeBatchResponse[]) => answers.map(({ requestId }) => requestId);

test("answers come as each is ready, and the stream ends well", async () => {
  const engine = fakeEngine();
  const { client, callLine } = await serve(engine, { parallel: 3 });
  const { call, answers, ended } = open(client);
  for (const id of ["one", "two", "three"]) call.write(item(id));
  call.end();
  await engine.call(2);
  for (const index of [1, 2, 0]) {
    const { problem, resolve } = engine.calls[index];
    resolve(idlePlan(problem));
    await until(() => answers.length === [2, 0, 1][index] + 1 || (index === 0 && answers.length === 3));
  }
  expect(await ended).toBe(status.OK);
  expect(ids(answers)).toEqual(["two", "three", "one"]);
  expect(answers[0].outcome).toMatchObject({ $case: "response", value: { siteId: "depot" } });
  expect(await callLine()).toMatchObject({ code: "OK", items: 3, failedItems: 0 });
});

test("a bad item is an error of its own, whatever is wrong with it", async () => {
  const engine = fakeEngine(({ problem, resolve, reject }) => {
    const { siteId } = problem.site;
    if (siteId === "fault") reject(new Error("the password is hunter2"));
    else if (siteId === "busy") reject(new WattslotError("RESOURCE_EXHAUSTED", "the queue is full"));
    else resolve(idlePlan(problem));
  });
  const { client, lines, callLine } = await serve(engine);
  const named = (siteId: string) => {
    const request = minimal();
    request.site!.siteId = siteId;
    return request;
  };
  const wrong = named("");
  wrong.sessions[1].priority = 100;
  const { call, answers, ended } = open(client);
  call.write(item("good"));
  call.write(item("wrong", wrong));
  call.write(Buffer.from(OptimizeBatchRequest.encode({ requestId: "empty", request: undefined }).finish()));
  // The request's field of 5 bytes holds a message that says it has 100.
  call.write(
    Buffer.concat([item("garbled", undefined).subarray(0, 9), Buffer.from("12050a640a010a", "hex")]),
  );
  call.write(Buffer.from("ffffffff", "hex"));
  call.write(item("fault", named("fault")));
  call.write(item("busy", named("busy")));
  call.write(item("good too"));
  call.end();
  expect(await ended).toBe(status.OK);
  const outcome = (id: string) => answers.find(({ requestId }) => requestId === id)?.outcome;
  expect(ids(answers).sort()).toEqual(["", "busy", "empty", "fault", "garbled", "good", "good too", "wrong"]);
  expect(outcome("good")?.$case).toBe("response");
  expect(outcome("good too")?.$case).toBe("response");
  expect(outcome("wrong")).toEqual({
    $case: "error",
    value: {
      code: status.INVALID_ARGUMENT,
      message: "invalid request: site.site_id is required (and 1 more)",
      violations: [
        { field: "site.site_id", description: "is required" },
        { field: "sessions[1].priority", description: "must be from 0.1 to 10, is 100" },
      ],
    },
  });
  expect(outcome("empty")).toMatchObject({
    value: { code: status.INVALID_ARGUMENT, violations: [{ field: "request" }] },
  });
  for (const id of ["garbled", ""]) {
    expect(outcome(id)).toMatchObject({
      value: { code: status.INVALID_ARGUMENT, message: "the request can't be decoded" },
    });
  }
  expect(outcome("fault")).toEqual({
    $case: "error",
    value: { code: status.INTERNAL, message: "internal error", violations: [] },
  });
  expect(outcome("busy")).toMatchObject({
    value: { code: status.RESOURCE_EXHAUSTED, message: "the queue is full" },
  });
  expect(await callLine()).toMatchObject({ code: "OK", items: 8, failedItems: 6 });
  const faults = lines.filter(({ msg }) => msg === "internal error");
  expect(faults).toMatchObject([{ err: { message: "the password is hunter2" } }]);
});

test("an empty batch ends well", async () => {
  const { client } = await serve(readyEngine());
  const { call, answers, ended } = open(client);
  call.end();
  expect(await ended).toBe(status.OK);
  expect(answers).toEqual([]);
});

test("the engine never has more than its share of a batch", async () => {
  // Ends its work only once it has its whole share, and leaves time for more to come.
  const share: EngineCall[] = [];
  const engine = fakeEngine((call) => {
    share.push(call);
    if (share.length !== 4) return;
    setTimeout(() => {
      for (const { problem, resolve } of share.splice(0)) resolve(idlePlan(problem));
    }, 20);
  });
  const { client } = await serve(engine, { parallel: 4 });
  const { call, answers, ended } = open(client);
  for (let n = 0; n < 60; n++) call.write(item(`${n}`));
  call.end();
  expect(await ended).toBe(status.OK);
  expect(answers).toHaveLength(60);
  expect(engine.mostInWork).toBe(4);
});

test("a caller that goes away ends the work of all its items", async () => {
  const engine = fakeEngine();
  const { client, callLine, lines } = await serve(engine, { parallel: 3 });
  const { call, ended } = open(client);
  for (let n = 0; n < 5; n++) call.write(item(`${n}`));
  await engine.call(2);
  call.cancel();
  expect(await ended).toBe(status.CANCELLED);
  await until(() => engine.calls.every(({ signal }) => signal.aborted));
  expect(engine.calls).toHaveLength(3);
  expect(await callLine()).toMatchObject({ code: "CANCELLED", reason: "by the client" });
  expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
});

test("a caller that does not read its answers stops the work, and has them all in the end", async () => {
  const engine = readyEngine();
  const { client } = await serve(engine, { parallel: 2 });
  const { call, answers, ended } = open(client);
  call.pause();
  // Answers of some 100 kB: a plan of 31 days.
  const request = minimal();
  request.endTime = new Date(request.startTime!.getTime() + 31 * 24 * 3_600_000);
  const COUNT = 200;
  for (let n = 0; n < COUNT; n++) call.write(item(`${n}`, request));
  call.end();
  await engine.call(0);
  let seen = -1;
  while (seen < engine.calls.length) {
    seen = engine.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  expect(seen).toBeLessThan(COUNT / 2);
  call.resume();
  expect(await ended).toBe(status.OK);
  expect(answers).toHaveLength(COUNT);
});

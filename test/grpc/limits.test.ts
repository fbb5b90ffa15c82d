import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { OptimizeRequest, OptimizerServiceService } from "../../src/gen/wattslot/v1/optimizer.ts";
import { observeCalls } from "../../src/grpc/calls.ts";
import { connect } from "../../src/grpc/client.ts";
import { bytesService } from "../../src/grpc/handler.ts";
import { awaitRequest } from "../../src/grpc/limits.ts";
import { testEngine } from "../support/engine.ts";
import { minimal } from "./requests.ts";
import { readyEngine, serve, until } from "./servers.ts";

const MIB = 1024 * 1024;
const { path } = OptimizerServiceService.optimize;

/** A client that speaks HTTP/2 and cares for nothing else. */
function session(address: string): ClientHttp2Session {
  // Its own bound, in MB, would stop what is to be sent.
  const client = connectHttp2(`http://${address}`, { maxSessionMemory: 100 });
  client.on("error", () => {});
  onTestFinished(() => client.destroy());
  return client;
}

/** Opens a call without ending it, and gives its stream and the status that it ended with. */
function open(client: ClientHttp2Session, headers: Record<string, string> = {}) {
  const stream = client.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  let code: number | undefined;
  const keep = (received: Record<string, unknown>) => {
    if (received["grpc-status"] !== undefined) code = Number(received["grpc-status"]);
  };
  stream.on("response", keep);
  stream.on("trailers", keep);
  stream.on("error", () => {});
  stream.resume();
  return { stream, code: () => code };
}

/** The five bytes before a message of this length. */
function prefix(length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

test("a call is planned while 50 clients each are silent, never finish, or send what is too long", async () => {
  const engine = testEngine();
  onTestFinished(() => engine.close());
  const { address, lines } = await serve(engine);
  const port = Number(address.split(":")[1]);

  const silent = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const socket = connectTcp(port, "127.0.0.1");
      onTestFinished(() => void socket.destroy());
      await new Promise((resolve) => socket.once("connect", resolve));
      return socket;
    }),
  );
  const bytes = OptimizeRequest.encode(minimal()).finish();
  const unfinished = Array.from({ length: 50 }, (_, n) => {
    const call = open(session(address));
    // Some have sent nothing, some a part of a request.
    if (n % 2 === 0) call.stream.write(Buffer.concat([prefix(bytes.length), bytes.subarray(0, n)]));
    return call;
  });
  const long = Buffer.alloc(17 * MIB);
  const oversize = Array.from({ length: 50 }, () => {
    const call = open(session(address));
    call.stream.write(prefix(long.length));
    call.stream.write(long);
    return call;
  });

  const optimizer = connect(address);
  onTestFinished(() => optimizer.close());
  const plan = () => optimizer.optimize(minimal());
  expect(await plan()).toMatchObject({ siteId: "depot" });
  for (const { code } of oversize) await until(() => code() === status.RESOURCE_EXHAUSTED);
  expect(await plan()).toMatchObject({ siteId: "depot" });
  expect(unfinished.map(({ code, stream }) => [code(), stream.closed])).toEqual(
    Array.from({ length: 50 }, () => [undefined, false]),
  );
  expect(silent.every((socket) => socket.readyState === "open")).toBe(true);
  expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
});

test("a call whose request does not come is ended, however much of it is there", async () => {
  const observed = observeCalls(pino({ level: "silent" }));
  const server = new Server({ interceptors: [observed, awaitRequest(100)] });
  onTestFinished(() => server.forceShutdown());
  server.addService(bytesService(OptimizerServiceService), {
    optimize: (_: unknown, done: (error: null, bytes: Buffer) => void) => done(null, Buffer.alloc(0)),
    optimizeBatch: (stream: NodeJS.ReadWriteStream) =>
      void stream.on("data", () => {}).on("end", () => stream.end()),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const client = session(`127.0.0.1:${port}`);
  const nothing = open(client);
  const part = open(client);
  part.stream.write(Buffer.concat([prefix(1000), Buffer.alloc(500)]));
  const batch = open(client, { ":path": OptimizerServiceService.optimizeBatch.path });
  batch.stream.write(Buffer.concat([prefix(3), Buffer.alloc(3)]));
  for (const { code } of [nothing, part]) await until(() => code() === status.DEADLINE_EXCEEDED);
  // A stream that has begun may take its time for what follows.
  expect(batch.code()).toBeUndefined();
  batch.stream.end();
  await until(() => batch.code() === status.OK);
  // The connection serves on.
  const good = open(client);
  good.stream.end(prefix(0));
  await until(() => good.code() === status.OK);
});

test("a connection has a number of calls at a time, and headers a size", async () => {
  const { address } = await serve(readyEngine());
  const client = session(address);
  await until(() => client.remoteSettings?.maxConcurrentStreams === 256);
  const large = open(client, { "x-large": "x".repeat(100_000) });
  const { stream } = large;
  await new Promise((resolve) => stream.once("close", resolve));
  expect(stream.rstCode).not.toBe(0);
  expect(large.code()).toBeUndefined();
  const good = open(session(address));
  good.stream.end(prefix(0));
  await until(() => good.code() === status.INVALID_ARGUMENT);
});

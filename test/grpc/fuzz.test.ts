import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  ChannelCredentials,
  type ClientDuplexStream,
  Metadata,
  makeGenericClientConstructor,
  status,
} from "@grpc/grpc-js";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import {
  ServerReflectionClient,
  ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../../src/gen/grpc/reflection/v1/reflection.ts";
import {
  PutSeriesRequest,
  PutSessionRequest,
  PutSiteRequest,
  ReportProgressRequest,
} from "../../src/gen/wattslot/v1/site.ts";
import {
  connect,
  NotifyEvChargingNeedsRequest,
  OptimizeBatchRequest,
  OptimizeRequest,
} from "../../src/grpc/client.ts";
import { registry } from "../../src/grpc/registry.ts";
import { connectSites } from "../../src/grpc/site-client.ts";
import { testEngine } from "../support/engine.ts";
import { keepSites } from "../support/kept.ts";
import { full, minimal } from "./requests.ts";
import { serve } from "./servers.ts";

// What the contract documents for a request that is wrong, too large, or takes too long; none means a fault.
const DOCUMENTED = [
  "OK",
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "ABORTED",
  "FAILED_PRECONDITION",
  "RESOURCE_EXHAUSTED",
  "DEADLINE_EXCEEDED",
];
// What gRPC itself answers where a call isn't one: no message, two, or one that can't be unpacked.
const OF_GRPC = ["UNIMPLEMENTED", "INTERNAL"];
const RUNS = { seed: 20_261_125, numRuns: 400 };

function quick(request: OptimizeRequest): OptimizeRequest {
  return OptimizeRequest.fromPartial({ ...request, options: { timeLimitMs: 200 } });
}

/** Valid messages to begin with, by the name of the message. */
const VALID: Readonly<Record<string, Uint8Array[]>> = {
  "wattslot.v1.OptimizeRequest": [minimal(), full()].map((request) =>
    OptimizeRequest.encode(quick(request)).finish(),
  ),
  "wattslot.v1.OptimizeBatchRequest": [
    OptimizeBatchRequest.encode({ requestId: "a", request: quick(minimal()) }).finish(),
  ],
  "wattslot.v1.NotifyEvChargingNeedsRequest": [
    NotifyEvChargingNeedsRequest.encode(
      NotifyEvChargingNeedsRequest.fromPartial({ optimizeRequest: quick(minimal()) }),
    ).finish(),
  ],
  "wattslot.v1.PutSiteRequest": [
    PutSiteRequest.encode(PutSiteRequest.fromPartial({ site: minimal().site! })).finish(),
  ],
  "wattslot.v1.PutSessionRequest": minimal().sessions.map((session) =>
    PutSessionRequest.encode({ siteId: "depot", session }).finish(),
  ),
  "wattslot.v1.ReportProgressRequest": [
    ReportProgressRequest.encode(
      ReportProgressRequest.fromPartial({
        siteId: "depot",
        sessionId: "a",
        meteredEnergyWh: 1000,
        socPercent: 50,
      }),
    ).finish(),
  ],
  "wattslot.v1.PutSeriesRequest": [
    PutSeriesRequest.encode(
      PutSeriesRequest.fromPartial({
        siteId: "depot",
        kind: 4,
        values: { startTime: new Date(0), stepSeconds: 900, values: [1, 2, 3] },
      }),
    ).finish(),
  ],
  "grpc.reflection.v1.ServerReflectionRequest": [
    ServerReflectionRequest.encode({
      host: "",
      messageRequest: { $case: "fileContainingSymbol", value: "wattslot.v1.OptimizeRequest" },
    }).finish(),
  ],
};

const edits = fc.array(
  fc.record({
    kind: fc.constantFrom("flip", "cut", "insert", "repeat"),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 3 }),
  }),
  { maxLength: 3 },
);

/** The message after the edits, each at a place of its own. */
function edited(message: Uint8Array, changes: ReturnType<typeof edits.generate>["value"]): Buffer {
  return changes.reduce((before, { kind, at, bytes }) => {
    const place = Math.floor(at * before.length);
    const [head, tail] = [before.subarray(0, place), before.subarray(place)];
    if (kind === "cut") return Buffer.from(head);
    if (kind === "insert") return Buffer.concat([head, bytes, tail]);
    if (kind === "repeat") return Buffer.concat([head, tail, tail]);
    return Buffer.concat([head, bytes.map((byte, n) => byte ^ (tail[n] ?? 0)), tail.subarray(bytes.length)]);
  }, Buffer.from(message));
}

/** A real server with a real engine, and the methods that it says it has. */
async function start() {
  const engine = testEngine();
  onTestFinished(() => engine.close());
  const kept = await keepSites(engine);
  onTestFinished(() => kept.forget());
  const { address, lines } = await serve(engine, { sites: kept.sites });
  const sites = connectSites(address);
  await sites.putSite({ site: minimal().site! });
  sites.close();
  const reflection = new ServerReflectionClient(address, ChannelCredentials.createInsecure());
  onTestFinished(() => reflection.close());
  const call = reflection.serverReflectionInfo();
  call.end({ host: "", messageRequest: { $case: "listServices", value: "" } });
  const names: string[] = [];
  for await (const { messageResponse: answer } of call as AsyncIterable<ServerReflectionResponse>)
    if (answer?.$case === "listServicesResponse") names.push(...answer.value.service.map(({ name }) => name));
  const methods = names.flatMap((name) => registry.getService(name)?.methods ?? []);
  expect(methods.length).toBeGreaterThanOrEqual(21);
  const healthy = async () => {
    const optimizer = connect(address);
    expect(await optimizer.optimize(minimal())).toMatchObject({ siteId: "depot" });
    optimizer.close();
    expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
  };
  return { address, methods, healthy };
}

const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`;

test("random and mutated messages to every method end in documented codes", async () => {
  const { address, methods, healthy } = await start();
  const Client = makeGenericClientConstructor({}, "bytes");
  const client = new Client(address, ChannelCredentials.createInsecure());
  onTestFinished(() => client.close());
  const asIs = (bytes: Buffer) => bytes;
  /** The name of the code that a call ends with, whatever its kind. A watch ends with its first answer. */
  const send = (method: DescMethod, message: Buffer) =>
    new Promise<string>((resolve) => {
      const call: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
        pathOf(method),
        asIs,
        asIs,
        new Metadata(),
        // One that watches commands ends by its deadline.
        { deadline: Date.now() + (method.name === "WatchCommands" ? 100 : 5000) },
      );
      call.on("data", () => {
        if (method.methodKind !== "server_streaming") return;
        resolve("OK");
        call.cancel();
      });
      call.on("error", () => {});
      call.on("status", ({ code }) => resolve(status[code]));
      call.end(message);
    });
  const seen: Record<string, Set<string>> = {};
  const messages = fc.nat(methods.length - 1).chain((n) => {
    const method = methods[n];
    const valid = VALID[method.input.typeName];
    const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const mutated =
      valid && fc.tuple(fc.constantFrom(...valid), edits).map(([base, changes]) => edited(base, changes));
    const message =
      mutated === undefined
        ? random
        : fc.oneof({ weight: 1, arbitrary: random }, { weight: 4, arbitrary: mutated });
    return message.map((bytes) => ({ method, bytes }));
  });
  await fc.assert(
    fc.asyncProperty(messages, async ({ method, bytes }) => {
      const code = await send(method, bytes);
      expect(DOCUMENTED, `${pathOf(method)} ${bytes.toString("hex")}`).toContain(code);
      seen[pathOf(method)] ??= new Set();
      seen[pathOf(method)].add(code);
    }),
    RUNS,
  );
  // Every method was reached, and not only refused, or the property says nothing.
  expect(Object.keys(seen).sort()).toEqual(methods.map(pathOf).sort());
  expect([...seen["/wattslot.v1.OptimizerService/Optimize"]]).toEqual(
    expect.arrayContaining(["OK", "INVALID_ARGUMENT"]),
  );
  await healthy();
});

test("random bytes in place of gRPC's frames end in a code, and harm nobody", async () => {
  const { address, methods, healthy } = await start();
  const client = connectHttp2(`http://${address}`);
  onTestFinished(() => client.destroy());
  const send = (method: DescMethod, encoding: string, bytes: Buffer) =>
    new Promise<string | undefined>((resolve) => {
      const stream = client.request({
        ":method": "POST",
        ":path": pathOf(method),
        "content-type": "application/grpc",
        te: "trailers",
        "grpc-encoding": encoding,
        "grpc-timeout": "5S",
      });
      let code: string | undefined;
      const keep = (headers: IncomingHttpHeaders) => {
        if (headers["grpc-status"] !== undefined) code = status[Number(headers["grpc-status"])];
      };
      stream.on("response", keep);
      stream.on("trailers", keep);
      stream.on("error", () => {});
      stream.on("close", () => resolve(code));
      stream.on("data", () => {
        // An answer was on its way: a watch has none that is last.
        if (method.methodKind !== "server_streaming") return;
        code = "OK";
        stream.close();
      });
      stream.end(bytes);
    });
  const frames = fc.array(
    fc.record({
      flag: fc.constantFrom(0, 0, 0, 1, 255),
      // Mostly what follows, sometimes more or less than that.
      lies: fc.constantFrom(0, 0, 0, -1, 1, 1000, 2 ** 31),
      bytes: fc.uint8Array({ maxLength: 60 }),
    }),
    { maxLength: 3 },
  );
  const encodings = fc.constantFrom("identity", "gzip", "deflate", "brotli", "");
  await fc.assert(
    fc.asyncProperty(fc.nat(methods.length - 1), encodings, frames, async (n, encoding, parts) => {
      const bytes = parts.flatMap(({ flag, lies, bytes }) => {
        const prefix = Buffer.alloc(5);
        prefix[0] = flag;
        prefix.writeUInt32BE(Math.max(0, bytes.length + lies), 1);
        return [prefix, bytes];
      });
      expect([...DOCUMENTED, ...OF_GRPC]).toContain(await send(methods[n], encoding, Buffer.concat(bytes)));
    }),
    RUNS,
  );
  await healthy();
});

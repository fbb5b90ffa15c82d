import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { ChannelCredentials, status } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test } from "vitest";
import { BadRequest } from "../../src/gen/google/rpc/error_details.ts";
import {
  ServerReflectionClient,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../../src/gen/grpc/reflection/v1/reflection.ts";
import { readyEngine, serve } from "./servers.ts";

type Question = ServerReflectionRequest["messageRequest"];
type Answer = NonNullable<ServerReflectionResponse["messageResponse"]>;

async function ask(address: string, ...questions: Question[]): Promise<Answer[]> {
  const client = new ServerReflectionClient(address, ChannelCredentials.createInsecure());
  onTestFinished(() => client.close());
  const call = client.serverReflectionInfo();
  for (const messageRequest of questions) call.write({ host: "here", messageRequest });
  call.end();
  const answers: Answer[] = [];
  for await (const { messageResponse } of call as AsyncIterable<ServerReflectionResponse>)
    answers.push(messageResponse!);
  return answers;
}

function files(answer: Answer): FileDescriptorProto[] {
  if (answer.$case !== "fileDescriptorResponse") throw new Error(`got ${answer.$case}`);
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

describe("over the protocol", () => {
  test("lists the services", async () => {
    const { address } = await serve(readyEngine());
    const [answer] = await ask(address, { $case: "listServices", value: "*" });
    expect(answer).toMatchObject({
      value: {
        service: [
          { name: "wattslot.v1.OptimizerService" },
          { name: "wattslot.v1.ChargingNeedsService" },
          { name: "grpc.health.v1.Health" },
          { name: "grpc.reflection.v1.ServerReflection" },
        ],
      },
    });
  });

  test.each([
    "wattslot.v1.OptimizerService",
    "wattslot.v1.OptimizerService.Optimize",
    "wattslot.v1.Session",
    "wattslot.v1.Session.departure_time",
    "wattslot.v1.Supply",
  ])("the file of %s comes with all that it imports", async (symbol) => {
    const { address } = await serve(readyEngine());
    const [answer] = await ask(address, { $case: "fileContainingSymbol", value: symbol });
    const found = files(answer);
    expect(found[0].name).toBe("wattslot/v1/optimizer.proto");
    // Wants imports first; throws where one is missing.
    const registry = createFileRegistry({
      $typeName: FileDescriptorSetSchema.typeName,
      file: found.toReversed(),
    });
    expect(registry.getService("wattslot.v1.OptimizerService")?.methods.map(({ name }) => name)).toEqual([
      "Optimize",
      "OptimizeBatch",
    ]);
  });

  test("a file by its name, and several questions over one stream", async () => {
    const { address } = await serve(readyEngine());
    const answers = await ask(
      address,
      { $case: "fileByFilename", value: "google/protobuf/timestamp.proto" },
      { $case: "allExtensionNumbersOfType", value: "wattslot.v1.Session" },
      { $case: "fileByFilename", value: "no/such.proto" },
      { $case: "fileContainingSymbol", value: "no.such.Symbol" },
      { $case: "fileContainingSymbol", value: "" },
      undefined,
    );
    expect(files(answers[0]).map(({ name }) => name)).toEqual(["google/protobuf/timestamp.proto"]);
    expect(answers[1]).toMatchObject({ value: { baseTypeName: "wattslot.v1.Session", extensionNumber: [] } });
    for (const answer of answers.slice(2))
      expect(answer).toMatchObject({ value: { errorCode: status.NOT_FOUND } });
  });
});

const BUF = resolve("node_modules/.bin/buf");
const hasBuf = existsSync(BUF);
if (!hasBuf) console.warn("no buf binary: what buf curl sees is not tested");

describe.skipIf(!hasBuf)("through buf curl", () => {
  async function curl(...args: string[]): Promise<{ stdout: string; stderr: string; failed: boolean }> {
    try {
      const result = await promisify(execFile)(BUF, [
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        ...args,
      ]);
      return { ...result, failed: false };
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      return { stdout, stderr, failed: true };
    }
  }
  const method = (address: string) => `http://${address}/wattslot.v1.OptimizerService/Optimize`;

  test("lists the methods", async () => {
    const { address } = await serve(readyEngine());
    const { stdout, failed } = await curl("--list-methods", `http://${address}`);
    expect(failed).toBe(false);
    expect(stdout.trim().split("\n")).toEqual(
      expect.arrayContaining([
        "wattslot.v1.OptimizerService/Optimize",
        "wattslot.v1.OptimizerService/OptimizeBatch",
      ]),
    );
  });

  test("plans the minimal request, written in JSON", async () => {
    const { address } = await serve(readyEngine());
    const request = {
      site: {
        siteId: "depot",
        circuits: [{ circuitId: "grid", maxPowerW: 30_000 }],
        evses: [{ stationId: "CS1", evseId: 1, maxCurrentA: 32 }],
      },
      startTime: "2026-11-23T08:00:00Z",
      sessions: [
        {
          sessionId: "a",
          stationId: "CS1",
          evseId: 1,
          transactionId: "tx-a",
          energyWh: 22_000,
          departureTime: "2026-11-23T12:00:00Z",
        },
      ],
    };
    const { stdout } = await curl("-d", JSON.stringify(request), method(address));
    expect(JSON.parse(stdout)).toMatchObject({
      siteId: "depot",
      status: "PLAN_STATUS_FEASIBLE",
      sessionPlans: [
        { sessionId: "a", shortfallWh: 22_000, shortfallCauses: ["SHORTFALL_CAUSE_OUT_OF_TIME"] },
      ],
    });
  });

  test("shows what is wrong", async () => {
    const { address } = await serve(readyEngine());
    const { stderr, failed } = await curl("-d", '{"slotSeconds": 7}', method(address));
    expect(failed).toBe(true);
    const error = JSON.parse(stderr);
    expect(error.code).toBe("invalid_argument");
    const [{ type, value }] = error.details;
    expect(type).toBe("google.rpc.BadRequest");
    expect(BadRequest.decode(Buffer.from(value, "base64")).fieldViolations.map(({ field }) => field)).toEqual(
      ["site", "slot_seconds"],
    );
  });
});

import { once } from "node:events";
import { credentials } from "@grpc/grpc-js";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import { smallRequest } from "../../benchmarks/requests.ts";
import type { Engine } from "../../src/engine.ts";
import {
  type OptimizeBatchResponse,
  OptimizeRequest,
  OptimizerServiceClient,
  PlanStatus,
} from "../../src/grpc/client.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
import { testEngine } from "../support/engine.ts";

const SITES = 1000;

let engine: Engine;
let server: RunningServer;
let client: OptimizerServiceClient;
beforeAll(async () => {
  engine = testEngine({ workers: 2 });
  const logger = pino({ level: "silent" });
  server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 1000 });
  client = new OptimizerServiceClient(`127.0.0.1:${server.port}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await server.close();
  await engine.close();
});

/** The n-th request; every 100th is bad, and says so in its id. */
function item(n: number) {
  const request = OptimizeRequest.fromPartial(smallRequest(n, 3));
  const isBad = n % 100 === 50;
  if (isBad) request.sessions[1].stationId = "nowhere";
  return { requestId: `${isBad ? "bad" : "good"}-${n}`, request };
}

it(`plans ${SITES} sites through one stream, and answers bad requests in between on their own`, {
  timeout: 300_000,
}, async () => {
  const call = client.optimizeBatch();
  const ended = once(call, "end");
  const answers = new Map<string, OptimizeBatchResponse["outcome"]>();
  call.on("data", ({ requestId, outcome }: OptimizeBatchResponse) => {
    expect(answers.has(requestId)).toBe(false);
    answers.set(requestId, outcome);
  });
  for (let n = 0; n < SITES; n++) if (!call.write(item(n))) await once(call, "drain");
  call.end();
  await ended;
  expect(answers.size).toBe(SITES);
  for (const [requestId, outcome] of answers) {
    if (requestId.startsWith("bad")) {
      expect(outcome?.$case, requestId).toBe("error");
      if (outcome?.$case === "error") {
        expect(outcome.value.violations.map(({ field }) => field)).toEqual(["sessions[1].station_id"]);
      }
    } else {
      expect(outcome?.$case, requestId).toBe("response");
      if (outcome?.$case === "response") {
        expect(outcome.value.status, requestId).not.toBe(PlanStatus.FALLBACK);
        expect(outcome.value.sessionPlans, requestId).toHaveLength(3);
      }
    }
  }
});

it("is free for others at once when a batch's client goes away", async () => {
  const call = client.optimizeBatch();
  call.on("error", () => {});
  for (let n = 0; n < 200; n++) call.write(item(n));
  await once(call, "data");
  call.cancel();
  const response = await new Promise((resolve, reject) =>
    client.optimize(item(1).request, (error, value) => (error === null ? resolve(value) : reject(error))),
  );
  expect(response).toMatchObject({ siteId: "site-1" });
});

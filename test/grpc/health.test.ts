import { ChannelCredentials, type ServiceError, status } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthClient,
} from "../../src/gen/grpc/health/v1/health.ts";
import { minimal } from "./requests.ts";
import { fakeEngine, idlePlan, optimize, readyEngine, serve, until } from "./servers.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

function connect(address: string): HealthClient {
  const client = new HealthClient(address, ChannelCredentials.createInsecure());
  onTestFinished(() => client.close());
  return client;
}

function check(client: HealthClient, service: string): Promise<ServiceError | HealthCheckResponse> {
  return new Promise((resolve) => client.check({ service }, (error, response) => resolve(error ?? response)));
}

function watch(client: HealthClient, service: string) {
  const call = client.watch({ service });
  const statuses: number[] = [];
  call.on("data", ({ status }) => statuses.push(status));
  const ended = new Promise<ServiceError>((resolve) => call.on("error", resolve));
  return { call, statuses, ended };
}

test.each(["", "wattslot.v1.OptimizerService"])("%j is served", async (service) => {
  const { address } = await serve(readyEngine());
  expect(await check(connect(address), service)).toEqual({ status: SERVING });
});

test("a service that is not there", async () => {
  const { address } = await serve(readyEngine());
  const client = connect(address);
  expect(await check(client, "wattslot.v2.OptimizerService")).toMatchObject({ code: status.NOT_FOUND });
  const { statuses, call, ended } = watch(client, "wattslot.v2.OptimizerService");
  await until(() => statuses.length > 0);
  expect(statuses).toEqual([SERVICE_UNKNOWN]);
  call.cancel();
  expect((await ended).code).toBe(status.CANCELLED);
});

test("a watcher learns of the drain while calls still end, and does not hold it up", async () => {
  const engine = fakeEngine();
  const { address, client, server } = await serve(engine, { drainMs: 60_000 });
  const { statuses, ended } = watch(connect(address), "wattslot.v1.OptimizerService");
  await until(() => statuses.length > 0);
  const answer = optimize(client, minimal());
  const { problem, resolve } = await engine.call(0);
  const closed = server.close();
  expect((await ended).code).toBe(status.UNAVAILABLE);
  expect(statuses).toEqual([SERVING, NOT_SERVING]);
  resolve(idlePlan(problem));
  expect(await answer).toMatchObject({ siteId: "depot" });
  await closed;
});

test("probes are logged at debug only", async () => {
  const { address, callLine } = await serve(readyEngine());
  await check(connect(address), "");
  expect(await callLine()).toMatchObject({ level: 20, method: "/grpc.health.v1.Health/Check", code: "OK" });
});

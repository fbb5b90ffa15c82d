import { setTimeout } from "node:timers/promises";
import { Metadata, status } from "@grpc/grpc-js";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { connect, OptimizeRequest, type OptimizerServiceClient } from "../../src/grpc/client.ts";
import { createMetrics } from "../../src/grpc/metrics.ts";
import { startMonitor } from "../../src/grpc/monitor.ts";
import { testEngine } from "../support/engine.ts";
import { minimal } from "./requests.ts";
import { fakeEngine, type LogLine, optimize, readyEngine, serve, until } from "./servers.ts";

async function monitor() {
  const lines: LogLine[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const metrics = createMetrics();
  const running = await startMonitor({ host: "127.0.0.1", port: 0, logger, metrics });
  onTestFinished(() => running.close());
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${running.port}${path}`, init);
    return { code: response.status, type: response.headers.get("content-type"), text: await response.text() };
  };
  const ready = async () => {
    const { code, text } = await get("/readyz");
    return { code, body: JSON.parse(text) };
  };
  return { ...running, metrics, lines, get, ready };
}

type Sample = { name: string; labels: Record<string, string>; value: number };

/** The samples of Prometheus' text format; throws on a line that it does not have. */
function samplesOf(text: string): Sample[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !/^# (HELP|TYPE) [a-zA-Z_:][\w:]* /.test(line))
    .map((line) => {
      const [, name, pairs = "", value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === undefined) throw new Error(`no sample: ${line}`);
      const labels = Object.fromEntries(
        [...pairs.matchAll(/(\w+)="([^"]*)",?/g)].map(([, key, text]) => [key, text]),
      );
      return { name, labels, value: Number(value) };
    });
}

/** The value of the only sample with this name that has these labels. */
function measured(samples: Sample[], name: string, labels: Record<string, string> = {}): number {
  const found = samples.filter(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  expect(found, `${name} ${JSON.stringify(labels)}`).toHaveLength(1);
  return found[0].value;
}

function sendEmpty(client: OptimizerServiceClient): Promise<number | undefined> {
  return new Promise((resolve) =>
    client.optimize(OptimizeRequest.fromPartial({}), (error) => resolve(error?.code)),
  );
}

test("what is exposed is what was called", async () => {
  const { metrics, get } = await monitor();
  const engine = testEngine();
  onTestFinished(() => engine.close());
  const { client, address } = await serve(metrics.observe(engine), { onCallEnd: metrics.onCallEnd });
  for (let n = 0; n < 3; n++) expect(await optimize(client, minimal())).toMatchObject({ siteId: "depot" });
  expect(await sendEmpty(client)).toBe(status.INVALID_ARGUMENT);
  const optimizer = connect(address);
  onTestFinished(() => optimizer.close());
  const batch = [minimal(), minimal()].map((request, n) => ({ requestId: String(n), request }));
  for await (const { outcome } of optimizer.optimizeBatch(batch)) expect(outcome?.$case).toBe("response");

  const samples = await until(async () => samplesOf((await get("/metrics")).text));
  const method = "wattslot.v1.OptimizerService/Optimize";
  expect(measured(samples, "wattslot_requests_total", { method, code: "OK" })).toBe(3);
  expect(measured(samples, "wattslot_requests_total", { method, code: "INVALID_ARGUMENT" })).toBe(1);
  const batchMethod = "wattslot.v1.OptimizerService/OptimizeBatch";
  expect(measured(samples, "wattslot_requests_total", { method: batchMethod, code: "OK" })).toBe(1);
  expect(measured(samples, "wattslot_request_duration_seconds_count", { method })).toBe(4);
  expect(measured(samples, "wattslot_request_duration_seconds_bucket", { method, le: "+Inf" })).toBe(4);
  expect(measured(samples, "wattslot_solve_seconds_count", { vehicles: "0-10", status: "OPTIMAL" })).toBe(5);
  expect(
    measured(samples, "wattslot_solve_seconds_sum", { vehicles: "0-10", status: "OPTIMAL" }),
  ).toBeGreaterThan(0);
  expect(measured(samples, "wattslot_workers")).toBe(1);
  expect(measured(samples, "wattslot_busy_workers")).toBe(0);
  expect(measured(samples, "wattslot_queue_depth")).toBe(0);
  for (const reason of ["time", "check", "plan"])
    expect(measured(samples, "wattslot_fallbacks_total", { reason })).toBe(0);
  for (const fault of ["check", "plan", "thread"])
    expect(measured(samples, "wattslot_faults_total", { fault })).toBe(0);
  expect(measured(samples, "nodejs_eventloop_lag_p99_seconds")).toBeGreaterThanOrEqual(0);
  expect(measured(samples, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
});

test("plans that wait, and plans in work", async () => {
  const { metrics, get } = await monitor();
  const workerUrl = new URL("../support/worker-hang.mjs", import.meta.url);
  const engine = testEngine({ workerUrl, onFault: () => {} });
  onTestFinished(() => engine.close());
  const observed = metrics.observe(engine);
  const { client } = await serve(observed);
  const calls = Array.from({ length: 3 }, () => client.optimize(minimal(), () => {}));
  await until(() => observed.load().queued === 2);
  const samples = samplesOf((await get("/metrics")).text);
  expect(measured(samples, "wattslot_queue_depth")).toBe(2);
  expect(measured(samples, "wattslot_busy_workers")).toBe(1);
  for (const call of calls) call.cancel();
});

test("why a plan is the safe one, and what broke", async () => {
  const { metrics, get } = await monitor();
  const engine = testEngine({
    onFault: (_message, _detail, fault) => metrics.onFault(fault),
    onFallback: metrics.onFallback,
    workerUrl: new URL("../support/worker-crash.mjs", import.meta.url),
  });
  onTestFinished(() => engine.close());
  const { client } = await serve(metrics.observe(engine));
  const isSafe = { status: 3 };
  expect(await optimize(client, minimal())).toMatchObject(isSafe);
  const early = new Metadata();
  const request = OptimizeRequest.fromPartial({ ...minimal(), options: { timeLimitMs: 1 } });
  expect(
    await new Promise((resolve) =>
      client.optimize(request, early, (error, answer) => resolve(error ?? answer)),
    ),
  ).toMatchObject(isSafe);
  const samples = samplesOf((await get("/metrics")).text);
  expect(measured(samples, "wattslot_fallbacks_total", { reason: "plan" })).toBe(1);
  expect(measured(samples, "wattslot_fallbacks_total", { reason: "time" })).toBe(1);
  expect(measured(samples, "wattslot_faults_total", { fault: "plan" })).toBe(1);
  expect(measured(samples, "wattslot_faults_total", { fault: "thread" })).toBeGreaterThanOrEqual(1);
  expect(measured(samples, "wattslot_solve_seconds_count", { status: "FALLBACK" })).toBe(2);
});

test("others add gauges", async () => {
  const { metrics, get } = await monitor();
  let open = 3;
  metrics.gauge("wattslot_commands_open", "Commands that nobody has reported on", async () => open);
  expect(measured(samplesOf((await get("/metrics")).text), "wattslot_commands_open")).toBe(3);
  open = 4;
  expect(measured(samplesOf((await get("/metrics")).text), "wattslot_commands_open")).toBe(4);
  // Two registries do not know each other.
  expect((await createMetrics().read()).text).not.toContain("wattslot_commands_open");
});

test("a gauge that fails has no value, and takes none from the others", async () => {
  const { metrics, get } = await monitor();
  let isDown = false;
  metrics.gauge("wattslot_down", "Something that can be down", async () => {
    if (isDown) throw new Error("the database password is hunter2");
    return 1;
  });
  expect(measured(samplesOf((await get("/metrics")).text), "wattslot_down")).toBe(1);
  isDown = true;
  const { code, type, text } = await get("/metrics");
  expect({ code, type }).toEqual({ code: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
  expect(measured(samplesOf(text), "wattslot_down")).toBeNaN();
  expect(measured(samplesOf(text), "wattslot_faults_total", { fault: "check" })).toBe(0);
});

test("alive at once, ready while calls are taken", async () => {
  const { get, ready, is } = await monitor();
  expect(await get("/livez")).toMatchObject({ code: 200, text: "ok\n" });
  expect(await ready()).toEqual({ code: 503, body: { server: "starting", checks: {} } });
  is("serving");
  expect(await ready()).toEqual({ code: 200, body: { server: "serving", checks: {} } });
  is("draining");
  expect(await ready()).toEqual({ code: 503, body: { server: "draining", checks: {} } });
  expect(await get("/livez")).toMatchObject({ code: 200 });
});

test("a check that fails or hangs makes the server unready, by its name; why is in the log, once", async () => {
  const { ready, is, check, lines } = await monitor();
  is("serving");
  let database = (): Promise<unknown> => Promise.resolve();
  check("database", () => database());
  check("queue", async () => {});
  expect(await ready()).toEqual({
    code: 200,
    body: { server: "serving", checks: { database: "ok", queue: "ok" } },
  });
  const failed = { code: 503, body: { server: "serving", checks: { database: "failed", queue: "ok" } } };
  database = () => Promise.reject(new Error("no route to 10.1.2.3"));
  expect(await ready()).toEqual(failed);
  expect(await ready()).toEqual(failed);
  expect(lines.filter(({ msg }) => msg === "a readiness check fails")).toMatchObject([
    { check: "database", err: { message: "no route to 10.1.2.3" } },
  ]);
  database = () => new Promise(() => {});
  expect(await ready()).toEqual(failed);
  database = () => {
    throw new Error("at once");
  };
  expect(await ready()).toEqual(failed);
  database = () => Promise.resolve();
  expect(await ready()).toMatchObject({ code: 200 });
  expect(lines.at(-1)).toMatchObject({ msg: "a readiness check passes again", check: "database" });
});

test("other paths and methods", async () => {
  const { get } = await monitor();
  expect(await get("/")).toMatchObject({ code: 404 });
  expect(await get("/metrics/../etc")).toMatchObject({ code: 404 });
  expect(await get("/livez", { method: "POST", body: "x" })).toMatchObject({ code: 405 });
  expect(await get("/livez?verbose=1")).toMatchObject({ code: 200 });
});

test("calls that are refused or given up are counted, too", async () => {
  const { metrics, get } = await monitor();
  const engine = fakeEngine();
  const { client } = await serve(metrics.observe(engine), {
    onCallEnd: metrics.onCallEnd,
  });
  const call = client.optimize(minimal(), () => {});
  await engine.call(0);
  call.cancel();
  const method = "wattslot.v1.OptimizerService/Optimize";
  const count = async (code: string) =>
    samplesOf((await get("/metrics")).text).find(
      ({ name, labels }) =>
        name === "wattslot_requests_total" && labels.method === method && labels.code === code,
    )?.value;
  while ((await count("CANCELLED")) !== 1) await setTimeout(5);
  const { client: other } = await serve(readyEngine(), {
    onCallEnd: metrics.onCallEnd,
    tokens: { find: async () => undefined },
  });
  expect(await optimize(other, minimal())).toMatchObject({ code: status.UNAUTHENTICATED });
  expect(await count("UNAUTHENTICATED")).toBe(1);
});

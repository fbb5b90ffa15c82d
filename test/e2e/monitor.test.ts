import { credentials } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { OptimizerServiceClient } from "../../src/grpc/client.ts";
import { type Served, serve, wattslot } from "../support/command.ts";

const example = new URL("../../benchmarks/example.json", import.meta.url).pathname;
let served: Served;
afterEach(async () => {
  served.kill("SIGKILL");
  await served.ended;
});

test("serve tells on a second port how it is, from the first call to the last", async () => {
  served = await serve({ args: ["--metrics-port", "0"] });
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${served.listening.metricsPort}${path}`);
    return { code: response.status, text: await response.text() };
  };
  const address = `127.0.0.1:${served.port}`;
  expect(await get("/livez")).toMatchObject({ code: 200 });
  expect(await get("/readyz")).toEqual({ code: 200, text: '{"server":"serving","checks":{}}\n' });
  expect(await wattslot(["optimize", example, "--address", address])).toMatchObject({ code: 0 });
  const { text } = await get("/metrics");
  expect(text).toContain(
    'wattslot_requests_total{method="wattslot.v1.OptimizerService/Optimize",code="OK"} 1\n',
  );
  expect(text).toContain('wattslot_solve_seconds_count{vehicles="0-10",status="OPTIMAL"} 1\n');

  const client = new OptimizerServiceClient(address, credentials.createInsecure());
  const stream = client.optimizeBatch();
  const opened = new Promise((resolve) => stream.once("metadata", resolve));
  stream.on("error", () => {});
  stream.resume();
  await opened;
  served.kill("SIGTERM");
  await served.logged("draining");
  expect(await get("/readyz")).toEqual({ code: 503, text: '{"server":"draining","checks":{}}\n' });
  expect(await get("/livez")).toMatchObject({ code: 200 });
  stream.end();
  expect(await served.ended).toBe(0);
  client.close();
});

test("a port that is taken is told with its number", async () => {
  served = await serve({ args: ["--metrics-port", "0"] });
  const port = String(served.listening.metricsPort);
  const { code, stdout, stderr } = await wattslot(["serve", "--port", "0", "--metrics-port", port]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toBe(`wattslot: cannot listen on 127.0.0.1:${port}: the port is in use\n`);
});

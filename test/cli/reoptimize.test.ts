import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine } from "../../src/engine.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
import { connectSites, type Sites } from "../../src/grpc/site-client.ts";
import { wattslot } from "../support/command.ts";
import { testEngine } from "../support/engine.ts";
import { type Kept, keepSites } from "../support/kept.ts";

const COUNT = 12;

let engine: Engine;
let kept: Kept;
let server: RunningServer;
let sites: Sites;
beforeAll(async () => {
  engine = testEngine();
  kept = await keepSites(engine);
  await listen(0);
  for (let n = 0; n < COUNT; n++)
    await sites.putSite({
      site: {
        siteId: `site-${n}`,
        circuits: [{ circuitId: "grid", maxPowerW: 11_000 }],
        evses: [{ stationId: "CS1", evseId: 1 }],
      },
    });
});
afterAll(async () => {
  sites.close();
  await server.close();
  await kept.forget();
  await engine.close();
});

async function listen(port: number): Promise<void> {
  server = await startServer({
    engine,
    host: "127.0.0.1",
    port,
    logger: pino({ level: "silent" }),
    drainMs: 0,
    sites: kept.sites,
  });
  sites = connectSites(`127.0.0.1:${server.port}`);
}

const address = () => ["--address", `127.0.0.1:${server.port}`];

test("all sites are planned, and the job ends with 0", async () => {
  const { code, stdout, stderr } = await wattslot(["reoptimize", ...address(), "--all"]);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${COUNT} planned, 0 failed\n`, stderr: "" });
  const again = await wattslot(["reoptimize", ...address(), "--all", "--stale", "1h"]);
  expect(again.stdout).toBe("0 planned, 0 failed\n");
});

test("a site that can't be planned is named, the others are planned, and the job ends with 1", async () => {
  const { code, stdout, stderr } = await wattslot([
    ...["reoptimize", ...address(), "--json"],
    ...["--site", "site-1", "--site", "nowhere", "--site", "site-2"],
  ]);
  expect(code).toBe(1);
  expect(stderr).toBe("wattslot: 1 of 3 sites could not be planned\n");
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(
    lines
      .slice(0, 3)
      .map(({ siteId, code }) => [siteId, code])
      .sort(),
  ).toEqual([
    ["nowhere", 5],
    ["site-1", 0],
    ["site-2", 0],
  ]);
  expect(lines[3]).toEqual({ summary: { plannedCount: 2, failedCount: 1 } });
});

test("two jobs at once plan every site, each once", async () => {
  const jobs = await Promise.all([1, 2].map(() => wattslot(["reoptimize", ...address(), "--all"])));
  for (const { code, stdout } of jobs) expect([code, stdout]).toEqual([0, `${COUNT} planned, 0 failed\n`]);
});

test("a job goes on where its server was away, and each site is planned once", async () => {
  const { port } = server;
  const job = wattslot(["reoptimize", ...address(), "--all", "--json"]);
  // It finds nobody at first, whatever it has come to.
  sites.close();
  await server.close();
  await new Promise((resolve) => setTimeout(resolve, 700));
  await listen(port);
  const { code, stdout } = await job;
  expect(code).toBe(0);
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(new Set(lines.flatMap(({ siteId }) => siteId ?? [])).size).toBe(COUNT);
  expect(lines.at(-1)).toEqual({ summary: { plannedCount: COUNT, failedCount: 0 } });
});

test.each([
  [[], "say which sites"],
  [["--all", "--site", "a"], "--all or --site, not both"],
  [["--all", "--stale", "soon"], "Must be a span"],
])("%j is refused with 2", async (args, message) => {
  const { code, stderr } = await wattslot(["reoptimize", ...address(), ...args]);
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});

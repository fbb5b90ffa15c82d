import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connectSites, type Sites } from "../src/grpc/site-client.ts";
import { startPostgres } from "../test/support/postgres.ts";
import { randomOf } from "./random.ts";

/**
 * Many sites kept by real servers: how fast they are put, how fast all of them are planned again, what that costs in
 * processor time and memory, and whether the servers stay responsive. `npm run bench:scale -- SITES`, default 1000.
 */

const SESSIONS = 10;
const IN_FLIGHT = 16;
const TICKS_PER_SECOND = 100;

interface Replica {
  process: ChildProcess;
  sites: Sites;
  metricsUrl: string;
}

const siteCount = Number(process.argv[2] ?? 1000);
console.log(`${siteCount} sites of ${SESSIONS} vehicles each, up to a day in slots of 15 minutes\n`);

const folder = mkdtempSync(join(tmpdir(), "wattslot-scale-"));
try {
  await measure("SQLite, 1 server", 1, ["--data", folder]);
} finally {
  rmSync(folder, { recursive: true });
}
const postgres = await startPostgres();
try {
  await measure("PostgreSQL, 1 server", 1, ["--database-url", await postgres.url()]);
  await measure("PostgreSQL, 2 servers", 2, ["--database-url", await postgres.url()]);
} finally {
  await postgres.stop();
}

async function measure(title: string, replicaCount: number, args: string[]): Promise<void> {
  const replicas: Replica[] = [];
  try {
    for (let n = 0; n < replicaCount; n++) replicas.push(await start(args));
    const loadS = await seconds(() => load(replicas));
    await until(async () => (await sum(replicas, "wattslot_sites_due")) === 0);

    const cpuBefore = sumOf(replicas, cpuSeconds);
    const solveBefore = await sum(replicas, "wattslot_solve_seconds_sum");
    // Reading the metrics begins the measurement of delays anew.
    await sum(replicas, "wattslot_sites_due");
    const rssBefore = sumOf(replicas, residentMb);
    let planned = 0;
    const wallS = await seconds(async () => {
      for await (const { outcome } of replicas[0].sites.reoptimize({ allSites: true }))
        if (outcome?.$case === "result" && outcome.value.code === 0) planned++;
    });
    const lagMs = 1000 * Math.max(...(await all(replicas, "nodejs_eventloop_lag_p99_seconds")));
    const cpuS = sumOf(replicas, cpuSeconds) - cpuBefore;
    const solveS = (await sum(replicas, "wattslot_solve_seconds_sum")) - solveBefore;
    console.log(title);
    console.log(`  put:       ${(siteCount / loadS).toFixed(1)} sites/s, each with its vehicles`);
    console.log(`  planned:   ${planned} sites, ${(planned / wallS).toFixed(1)} sites/s`);
    console.log(
      `  processor: ${((1000 * cpuS) / planned).toFixed(1)} ms a site, of which ${((1000 * solveS) / planned).toFixed(1)} ms in the solver`,
    );
    console.log(
      `  memory:    ${rssBefore.toFixed(0)} MB before, ${sumOf(replicas, residentMb).toFixed(0)} MB after`,
    );
    console.log(`  delays of the event loop, 99 %: ${lagMs.toFixed(0)} ms\n`);
  } finally {
    for (const { process: child, sites } of replicas) {
      sites.close();
      child.kill();
      if (child.exitCode === null) await once(child, "exit");
    }
  }
}

/** Puts all sites and their vehicles, through all servers alike. */
async function load(replicas: Replica[]): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async (_, lane) => {
      const { sites } = replicas[lane % replicas.length];
      for (let n = next++; n < siteCount; n = next++) await put(sites, n);
    }),
  );
}

async function put(sites: Sites, n: number): Promise<void> {
  const random = randomOf(n + 1);
  const siteId = `site-${String(n).padStart(6, "0")}`;
  const stations = Array.from({ length: SESSIONS }, (_, k) => `CS${k + 1}`);
  const options = { timeoutMs: 120_000 };
  await sites.putSite(
    {
      site: {
        siteId,
        timeZone: "Europe/Berlin",
        circuits: [{ circuitId: "grid", maxPowerW: 60_000 }],
        evses: stations.map((stationId) => ({ stationId, evseId: 1, maxCurrentA: 32 })),
        tariff: {
          currency: "EUR",
          energyPrice: {
            $case: "timeOfUse",
            value: {
              rules: [
                { fromLocal: "00:00", toLocal: "06:00", pricePerKwh: 0.18 },
                { fromLocal: "06:00", toLocal: "24:00", pricePerKwh: 0.31 },
              ],
            },
          },
        },
      },
    },
    options,
  );
  for (const stationId of stations)
    await sites.putSession(
      {
        siteId,
        session: {
          sessionId: `${siteId}-${stationId}`,
          stationId,
          evseId: 1,
          transactionId: `tx-${stationId}`,
          departureTime: new Date(Date.now() + random.real(4, 24) * 3_600_000),
          need: { $case: "energyWh", value: random.int(5000, 45_000) },
        },
      },
      options,
    );
}

async function start(args: string[]): Promise<Replica> {
  const flags = [
    "serve",
    "--port",
    "0",
    "--metrics-port",
    "0",
    "--workers",
    "2",
    "--reoptimize-every",
    "9d",
    ...args,
  ];
  const child = spawn(process.execPath, ["dist/src/cli/main.js", ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  // However this ends, as by a reader that has seen enough.
  process.once("exit", () => child.kill());
  for await (const line of createInterface({ input: child.stdout! })) {
    const { msg, port, metricsPort } = JSON.parse(line) as { msg: string; port: number; metricsPort: number };
    if (msg !== "listening") continue;
    child.stdout?.resume();
    return {
      process: child,
      sites: connectSites(`127.0.0.1:${port}`),
      metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
    };
  }
  throw new Error("a server has not started");
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 500));
}

function all(replicas: Replica[], metric: string): Promise<number[]> {
  return Promise.all(
    replicas.map(async ({ metricsUrl }) => {
      const text = await (await fetch(metricsUrl)).text();
      return text
        .split("\n")
        .filter((line) => line.startsWith(`${metric} `) || line.startsWith(`${metric}{`))
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" "))), 0);
    }),
  );
}

async function sum(replicas: Replica[], metric: string): Promise<number> {
  return (await all(replicas, metric)).reduce((a, b) => a + b, 0);
}

function sumOf(replicas: Replica[], value: (pid: number) => number): number {
  return replicas.reduce((total, { process: { pid = 0 } }) => total + value(pid), 0);
}

/** Processor time of a process, of the user and of the system (proc(5), fields 14 and 15). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function residentMb(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}

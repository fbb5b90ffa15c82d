import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine } from "../../src/engine.ts";
import { createMetrics } from "../../src/grpc/metrics.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
import { connectSites } from "../../src/grpc/site-client.ts";
import { wattslot } from "../support/command.ts";
import { testEngine } from "../support/engine.ts";
import { type Kept, keepSites } from "../support/kept.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
// Inside the package, so that its own name resolves as it does for those who install it.
const folder = `${root}dist/readme`;
const readme = readFileSync(`${root}README.md`, "utf8");

let engine: Engine;
let kept: Kept;
let server: RunningServer;
beforeAll(async () => {
  engine = testEngine();
  kept = await keepSites(engine);
  const logger = pino({ level: "silent" });
  const { sites } = kept;
  server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 1000, sites });
  mkdirSync(folder, { recursive: true });
});
afterAll(async () => {
  await server.close();
  await kept.forget();
  await engine.close();
  rmSync(folder, { recursive: true });
});

/** The README's example in which a word stands. */
function exampleWith(word: string): string {
  const found = [...readme.matchAll(/```ts\n(.*?)```/gs)]
    .map(([, text]) => text)
    .filter((text) => text.includes(word));
  expect(found).toHaveLength(1);
  return found[0];
}

/** Compiles a file in the folder and runs it. */
async function compiled(name: string): Promise<{ stdout: string }> {
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  const options =
    "--ignoreConfig --strict --module nodenext --target es2023 --types node --skipLibCheck".split(" ");
  await run(process.execPath, [tsc, ...options, `${folder}/${name}.ts`], { cwd: root });
  return run(process.execPath, [`${folder}/${name}.js`]);
}

test("the client example type-checks, runs, and prints a profile for the charger", async () => {
  const [, example] = /```ts\n(.*?)```/s.exec(readme) ?? [];
  expect(example).toContain("127.0.0.1:50051");
  writeFileSync(`${folder}/example.ts`, example.replace("127.0.0.1:50051", `127.0.0.1:${server.port}`));
  const { stdout } = await compiled("example");
  const [stationId, payloadJson] = stdout.trimEnd().split(" ");
  expect(stationId).toBe("CS1");
  expect(JSON.parse(payloadJson)).toMatchObject({
    evseId: 1,
    chargingProfile: { chargingProfilePurpose: "TxProfile", transactionId: "tx" },
  });
});

test("the example of a site that is remembered type-checks, runs, and prints the command for its charger", async () => {
  const example = exampleWith("putSession");
  writeFileSync(`${folder}/sites.ts`, example.replace("127.0.0.1:50051", `127.0.0.1:${server.port}`));
  const { stdout } = await compiled("sites");
  const [stationId, payloadJson] = stdout.trimEnd().split(" ");
  expect(stationId).toBe("CS1");
  expect(JSON.parse(payloadJson)).toMatchObject({ evseId: 1, chargingProfile: { transactionId: "tx" } });
});

test("the example of a CSMS that watches for ever type-checks and gets its commands", async () => {
  const address = `127.0.0.1:${server.port}`;
  const sites = connectSites(address);
  const evse = { stationId: "CS7", evseId: 1 };
  await sites.putSite({
    site: { siteId: "watched", circuits: [{ circuitId: "grid", maxPowerW: 5000 }], evses: [evse] },
  });
  const session = { sessionId: "b", ...evse, transactionId: "tx", need: { $case: "energyWh", value: 9000 } };
  await sites.putSession({ siteId: "watched", session } as Parameters<typeof sites.putSession>[0]);
  sites.close();
  const example = exampleWith('let cursor = ""').replace("127.0.0.1:50051", address);
  // It has no end of its own.
  writeFileSync(`${folder}/watch.ts`, example.replace("cursor = command.cursor;", "process.exit(0);"));
  expect((await compiled("watch")).stdout).toMatch(/^CS7 \{.*"TxProfile"/);
});

test("the example of OCPP on its own type-checks, runs, and prints what its comments say", async () => {
  writeFileSync(`${folder}/ocpp.ts`, exampleWith("compositeSchedule"));
  const { stdout } = await compiled("ocpp");
  expect(stdout).toContain("K01.FR.26 UnsupportedRateUnit chargingSchedule[0].chargingRateUnit");
  expect(stdout).toMatch(/startPeriod: 0,.*limit: 16.*startPeriod: 3600,.*limit: 32/s);
});

test("every npm script that the README names is there", () => {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
  const named = [...readme.matchAll(/npm run (\w+)/g)].map(([, name]) => name);
  expect(named).toContain("demo");
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(named));
});

test("every option of a command that the README gives is there", async () => {
  const shell = [...readme.matchAll(/```sh\n(.*?)```/gs)].map(([, lines]) => lines.replaceAll("\\\n", " "));
  const given = shell.flatMap((lines) => [
    ...lines.matchAll(/npx wattslot ((?:token )?[a-z]+)\b([^#\n&]*)/g),
  ]);
  expect(given.length).toBeGreaterThan(15);
  const helps = new Map<string, string>();
  for (const [, command, rest] of given) {
    const help = helps.get(command) ?? (await wattslot([...command.split(" "), "--help"])).stdout;
    helps.set(command, help);
    expect(help, command).toContain(`Usage: wattslot ${command}`);
    for (const [flag] of rest.matchAll(/--[a-z][a-z-]*/g))
      expect(help, command).toMatch(new RegExp(`${flag}\\b`));
  }
});

test("every metric that the README names is there, but those of a store without one", async () => {
  const metrics = createMetrics();
  metrics.observe(engine);
  const { text } = await metrics.read();
  const named = [...readme.matchAll(/`(wattslot_[a-z_]+)`/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(10);
  for (const name of named.filter((name) => !/_due|_plan_|_commands/.test(name)))
    expect(text).toContain(`# HELP ${name} `);
});

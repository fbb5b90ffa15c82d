import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine } from "../../src/engine.ts";
import { type RunningServer, startServer } from "../../src/grpc/server.ts";
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
  const example = exampleWith("connectSites");
  writeFileSync(`${folder}/sites.ts`, example.replace("127.0.0.1:50051", `127.0.0.1:${server.port}`));
  const { stdout } = await compiled("sites");
  const [stationId, payloadJson] = stdout.trimEnd().split(" ");
  expect(stationId).toBe("CS1");
  expect(JSON.parse(payloadJson)).toMatchObject({ evseId: 1, chargingProfile: { transactionId: "tx" } });
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

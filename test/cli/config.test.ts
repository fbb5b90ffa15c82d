import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { redacted } from "../../src/cli/config.ts";
import { serve, wattslot } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "wattslot-"));
afterAll(() => rmSync(folder, { recursive: true }));
const tokens = join(folder, "tokens.json");
writeFileSync(tokens, '{"tokens": []}');

async function config(args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await wattslot(["config", ...args], "", env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

test("config prints what holds where nothing is set", async () => {
  expect(await config([])).toEqual({
    host: "127.0.0.1",
    port: 50_051,
    workers: expect.any(Number),
    maxQueue: 256,
    data: null,
    databaseUrl: null,
    reoptimizeEvery: "15m",
    reoptimizeCron: null,
    timeZone: "UTC",
    debounce: "300ms",
    answerTimeout: "1m",
    retryAfter: "5m",
    keep: "30d",
    logLevel: "info",
    tlsCert: null,
    tlsKey: null,
    tlsCa: null,
    tokens: null,
    metricsPort: null,
    metricsHost: "127.0.0.1",
  });
});

test("a variable sets every option, and a flag wins over it", async () => {
  const env = {
    WATTSLOT_HOST: "::1",
    WATTSLOT_PORT: "1",
    WATTSLOT_WORKERS: "3",
    WATTSLOT_MAX_QUEUE: "0",
    WATTSLOT_LOG_LEVEL: "warn",
    WATTSLOT_TOKENS: tokens,
    WATTSLOT_METRICS_PORT: "9464",
    WATTSLOT_METRICS_HOST: "::",
  };
  const set = {
    host: "::1",
    port: 1,
    workers: 3,
    maxQueue: 0,
    logLevel: "warn",
    tokens,
    metricsPort: 9464,
    metricsHost: "::",
  };
  expect(await config([], env)).toMatchObject(set);
  expect(await config(["--port", "2", "--log-level", "error"], env)).toMatchObject({
    ...set,
    port: 2,
    logLevel: "error",
  });
});

test("passwords are left out", async () => {
  const url = "postgres://wattslot:secret@db.example:5432/wattslot?sslmode=require";
  const { databaseUrl } = await config([], { DATABASE_URL: url });
  expect(databaseUrl).toBe("postgres://wattslot:***@db.example:5432/wattslot?sslmode=require");
});

test("a database's URL that can't be read is refused without telling its password", async () => {
  for (const url of [
    "postgres://u:pa/ss@db:5432/w",
    "postgres://u:50%@db/w",
    "db.example",
    "mysql://u@db/w",
    "postgres://u:p@ss/w#rd@db/w",
  ]) {
    for (const command of ["config", "serve"]) {
      const { code, stdout, stderr } = await wattslot([command], "", { DATABASE_URL: url });
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toMatch(/^DATABASE_URL: must be a URL such as postgres:.*%XX/);
      expect(stderr).not.toMatch(/pa\/ss|50%@|w#rd/);
    }
  }
  const socket = "postgres:///wattslot?host=/var/run/postgresql";
  expect((await config(["--database-url", socket])).databaseUrl).toBe(socket);
});

test("every option of serve has its variable, and config the same options", async () => {
  const optionsIn = (help: string) =>
    [...help.matchAll(/^ {2}(--[a-z-]+) .*$/gm)].map(([line, flag]) => ({ line, flag }));
  const help = async (command: string) =>
    (await wattslot([command, "--help"], "", { COLUMNS: "300" })).stdout.replace(/\n {10,}/g, " ");
  const [serving, configuring] = [optionsIn(await help("serve")), optionsIn(await help("config"))];
  expect(serving.length).toBeGreaterThan(10);
  // The database has the name that all programs know.
  for (const { line, flag } of serving)
    expect(line).toContain(
      flag === "--database-url"
        ? "env: DATABASE_URL"
        : `env: WATTSLOT_${flag.slice(2).replaceAll("-", "_").toUpperCase()}`,
    );
  expect(configuring.map(({ flag }) => flag)).toEqual(serving.map(({ flag }) => flag));
});

test("serve runs with them", async () => {
  const served = await serve({
    env: { WATTSLOT_METRICS_PORT: "0", WATTSLOT_TOKENS: tokens, WATTSLOT_WORKERS: "7" },
  });
  expect(served.listening).toMatchObject({ metricsPort: expect.any(Number), tokens: true, workers: 1 });
  served.kill("SIGKILL");
  await served.ended;
});

describe("bad input ends with 2 and the name of who set it", () => {
  const missing = join(folder, "missing");

  test.each([
    [
      [],
      { WATTSLOT_PORT: "tcp://10.0.0.1:50051" },
      "from env 'WATTSLOT_PORT' is invalid. Must be a whole number",
    ],
    [[], { WATTSLOT_HOST: "" }, "from env 'WATTSLOT_HOST' is invalid. Must not be empty."],
    [[], { WATTSLOT_LOG_LEVEL: "loud" }, "from env 'WATTSLOT_LOG_LEVEL' is invalid. Allowed choices"],
    [[], { WATTSLOT_TLS_CERT: missing }, "WATTSLOT_TLS_CERT: needs --tls-key"],
    [
      ["--tls-key", missing],
      { WATTSLOT_TLS_CERT: missing },
      `WATTSLOT_TLS_CERT ${missing}: cannot be read (ENOENT)`,
    ],
    [[], { WATTSLOT_TOKENS: missing }, `WATTSLOT_TOKENS ${missing}: cannot be read (ENOENT)`],
    [["--tokens", missing], { WATTSLOT_TOKENS: tokens }, `--tokens ${missing}: cannot be read (ENOENT)`],
    [["--workers", "many"], {}, "option '--workers <count>' argument 'many' is invalid"],
  ])("%j %j", async (args, env, message) => {
    for (const command of ["config", "serve"]) {
      const { code, stdout, stderr } = await wattslot([command, ...args], "", env as Record<string, string>);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toContain(message);
    }
  });
});

test("secrets are not printed", async () => {
  const pem = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----";
  const { code, stdout, stderr } = await wattslot(["config"], "", {
    WATTSLOT_TLS_KEY: pem,
    WATTSLOT_TLS_CERT: pem,
  });
  expect(code).toBe(2);
  expect(stdout + stderr).not.toContain("hunter2");
  expect(await config(["--metrics-host", "wsk_hunter2hunter2"])).toMatchObject({ metricsHost: "***" });
  expect(await config(["--host", "postgres://wattslot:hunter2@db/wattslot"])).toMatchObject({
    host: "postgres://wattslot:***@db/wattslot",
  });
});

test.each([
  [
    "postgres://user:p@ss:w/rd@db.example:5432/sites?sslmode=require",
    "postgres://user:***@db.example:5432/sites?sslmode=require",
  ],
  ["postgresql://:hunter2@db/sites", "postgresql://:***@db/sites"],
  [
    "postgres://user@db/sites?password=hunter2&sslmode=require",
    "postgres://user@db/sites?password=***&sslmode=require",
  ],
  ["host=db user=me password=hunter2 dbname=sites", "host=db user=me password=*** dbname=sites"],
  ["postgres://user@db/sites", "postgres://user@db/sites"],
  ["file:/var/lib/wattslot/sites.db", "file:/var/lib/wattslot/sites.db"],
  ["-----BEGIN CERTIFICATE-----", "***"],
  ["127.0.0.1", "127.0.0.1"],
  [50_051, 50_051],
  [null, null],
])("%j is printed as %j", (value, printed) => {
  expect(redacted(value)).toBe(printed);
});

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type CrashOptions, crashRun } from "../support/crash/run.ts";
import { startPostgres } from "../support/postgres.ts";

// Many processes on a machine that does other things too. Many more kills: npm run bench:crash.
const LIMIT_MS = 300_000;

async function nothingIsLost(options: Omit<CrashOptions, "seed">): Promise<void> {
  const report = await crashRun({ ...options, seed: 1 });
  expect(report.faults).toEqual([]);
  expect(report.kills).toBe(options.kills);
  expect(report.applied).toBeGreaterThan(20);
}

test(
  "nothing is lost and no limit passed by a server on SQLite that is killed over and over",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "wattslot-crash-"));
    await nothingIsLost({ place: { folder }, servers: 1, kills: 6 });
    rmSync(folder, { recursive: true });
  },
  LIMIT_MS,
);

test(
  "nor by three servers on a PostgreSQL that is restarted, when they are killed one by one",
  async ({ onTestFinished, skip }) => {
    const postgres = await startPostgres().catch((error: Error) => skip(error.message));
    onTestFinished(() => postgres.stop());
    const restartDatabase = () => postgres.restart(() => sleep(500));
    await nothingIsLost({ place: { url: await postgres.url() }, servers: 3, kills: 5, restartDatabase });
  },
  LIMIT_MS,
);

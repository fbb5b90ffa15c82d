import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { crashRun } from "../support/crash/run.ts";

// Many more kills, and three servers on PostgreSQL: npm run bench:crash.
test("nothing is lost and no limit passed by a server on SQLite that is killed over and over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wattslot-crash-"));
  const report = await crashRun({ place: { folder }, servers: 1, kills: 6, seed: 1 });
  rmSync(folder, { recursive: true });
  expect(report.faults).toEqual([]);
  expect(report.kills).toBe(6);
  expect(report.applied).toBeGreaterThan(20);
}, 180_000);

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "libsql";
import { expect, onTestFinished, test, vi } from "vitest";
import { SqliteFile } from "../../src/store/sqlite.ts";
import { Store } from "../../src/store/store.ts";
import { answer, command, keyOf, OPTIONS, plan, putSession, putSite, T, take } from "../support/stores.ts";

const KEY = keyOf("site");
const TABLES = /^SCAN (tenants|sites|series|sessions|evses|plans|commands)\b/;

test("what is asked again and again reads no more with many sites and years of commands", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wattslot-queries-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const store = await Store.open({ folder }, OPTIONS);
  const run = vi.spyOn(SqliteFile.prototype, "run");
  onTestFinished(() => run.mockRestore());

  await putSite(store, KEY);
  await putSession(store, KEY, "a");
  await store.putSeries(KEY, "prices", () => new Uint8Array(1), T);
  await plan(store, KEY, [command("A"), command("B", 1)]);
  for (const row of await take(store)) await answer(store, row, "accepted");
  for (const row of await take(store)) await answer(store, row, "no_answer");
  await store.planOf(KEY);
  await store.listSites("t", "", 10);
  await store.backlog(T);
  await store.claimDue(T, 10);
  await store.claim(KEY, T);
  await store.failPlan(KEY, "failure", T);
  await store.expireCommands(T);
  await store.retryChargers(T + 1e9);
  await store.makeStaleDue(T, T);
  await store.prune(T, 10);
  await store.close();

  const file = new Sqlite(join(folder, "wattslot.db"));
  onTestFinished(() => {
    file.close();
  });
  const asked = run.mock.calls.flatMap(([queries]) => queries);
  const statements = new Map(asked.map(({ sql, parameters }) => [sql, parameters]));
  expect(statements.size).toBeGreaterThan(30);
  const reads: string[] = [];
  for (const [sql, parameters] of statements) {
    if (/^(begin|commit|rollback)/.test(sql)) continue;
    const steps = file.prepare(`explain query plan ${sql}`).all([...parameters]) as { detail: string }[];
    for (const { detail } of steps) {
      const isWhole = TABLES.test(detail);
      // Of a tenant or a site all commands and sessions are those of a month, but in an index of a few.
      const isHistory =
        /(commands|sessions) .*\(tenant=\?( AND (seq>|site_id=)\?)?\)/.test(detail) &&
        !/commands_out|sessions_there/.test(detail);
      if (isWhole || isHistory) reads.push(`${detail}: ${sql.replace(/\s+/g, " ").slice(0, 200)}`);
    }
  }
  expect(reads).toEqual([]);
});

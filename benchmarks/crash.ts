import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crashRun } from "../test/support/crash/run.ts";
import { startPostgres } from "../test/support/postgres.ts";

// Nothing that was acknowledged is lost, no limit is passed, and every charger is told, however often servers are
// killed: one on SQLite, three on a PostgreSQL that is restarted once.
//
// npm run bench:crash -- [kills] [seed] [sqlite|postgres]

const [kills = "50", seed = "1", only] = process.argv.slice(2);
const given = { kills: Number(kills), seed: Number(seed), onProgress: console.error };
let faults = 0;

function tell(name: string, report: Awaited<ReturnType<typeof crashRun>>): void {
  faults += report.faults.length;
  console.log(name, JSON.stringify(report, null, 2));
}

if (only !== "postgres") {
  const folder = mkdtempSync(join(tmpdir(), "wattslot-crash-"));
  tell("SQLite, one server", await crashRun({ ...given, place: { folder }, servers: 1 }));
  rmSync(folder, { recursive: true });
}
if (only !== "sqlite") {
  const postgres = await startPostgres();
  const restartDatabase = () => postgres.restart(() => sleep(500));
  const place = { url: await postgres.url() };
  tell("PostgreSQL, three servers", await crashRun({ ...given, place, servers: 3, restartDatabase }));
  await postgres.stop();
}
process.exitCode = faults === 0 ? 0 : 1;

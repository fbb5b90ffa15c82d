import { parentPort, workerData } from "node:worker_threads";
import Sqlite from "libsql";
import type { Outcome, Query, Result } from "./sqlite.ts";

/**
 * A thread that holds an SQLite file and runs what it is sent, one query after the other: SQLite blocks its thread
 * while the disk writes, and libsql has no other way. Of queries that come together none is run after one that fails.
 */
const port = parentPort!;
let file: Sqlite.Database | undefined;

const answer = (outcome: Outcome) => port.postMessage(outcome);

function faultOf(cause: unknown): Outcome {
  const { message, code } = cause as { message: string; code?: unknown };
  return { fault: { message, ...(typeof code === "string" ? { code } : {}) } };
}

function open(name: string): Sqlite.Database {
  const opened = new Sqlite(name);
  try {
    // Waiting in SQLite would hold up all that others want meanwhile: it is done outside.
    opened.pragma("busy_timeout = 0");
    // What is acknowledged survives a loss of power; other processes that read don't wait for who writes.
    opened.pragma("journal_mode = wal");
    opened.pragma("synchronous = full");
    return opened;
  } catch (cause) {
    opened.close();
    throw cause;
  }
}

function run(database: Sqlite.Database, { sql, parameters }: Query): Result {
  // A prepared statement that fails stays open in libsql, and no transaction can be committed beside it.
  if (/^(begin|commit|rollback)/.test(sql)) {
    // After some faults SQLite has rolled back already: to say so would hide the fault.
    if (sql !== "rollback" || database.inTransaction) database.exec(sql);
    return { rows: [], changes: 0 };
  }
  const statement = database.prepare(sql);
  if (statement.reader) return { rows: statement.all(parameters), changes: 0 };
  return { rows: [], changes: statement.run(parameters).changes };
}

try {
  file = open((workerData as { name: string }).name);
  answer([]);
} catch (cause) {
  answer(faultOf(cause));
}
port.on("message", (message: Query[] | "close") => {
  if (message === "close") {
    file?.close();
    port.close();
    return;
  }
  try {
    answer(message.map((query) => run(file!, query)));
  } catch (cause) {
    answer(faultOf(cause));
  }
});

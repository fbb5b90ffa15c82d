import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Compilable,
  type Dialect,
  Kysely,
  PostgresDialect,
  type PostgresPool,
  sql,
  type Transaction,
} from "kysely";
import pg from "pg";
import { WattslotError } from "../domain/errors.ts";
import { type Engine, migrate } from "./migrations.ts";
import { type QueryBatch, SqliteFile, sqliteDialect } from "./sqlite.ts";
import type { Tables } from "./tables.ts";

/** Where everything is kept: a folder with one file, or a PostgreSQL database. */
export type Place = { folder: string } | { url: string };

export type Tx = Transaction<Tables>;

/**
 * What the database can't do is a WattslotError, UNAVAILABLE where it may go well later and INTERNAL otherwise, with
 * the cause. Where others are in the way, all three try again for a while: what is done in them must bear that.
 */
export interface Database {
  engine: Engine;
  /** Reads with one query. */
  read<T>(body: (tables: Kysely<Tables>) => Promise<T>): Promise<T>;
  /** Reads with several queries that see the same instant. */
  snapshot<T>(body: (tx: Tx) => Promise<T>): Promise<T>;
  /** Changes all or nothing; what is changed is on disk when it resolves. */
  write<T>(body: (tx: Tx) => Promise<T>): Promise<T>;
  /** The rows of several queries of a transaction that don't need each other's, one after the other. */
  together<Queries extends readonly Compilable<unknown>[]>(
    tx: Tx,
    ...queries: Queries
  ): Promise<{ [N in keyof Queries]: Queries[N] extends Compilable<infer Row> ? Row[] : never }>;
  /** Resolves when what is running is done. */
  close(): Promise<void>;
}

const SQLITE: Engine = { name: "sqlite", text: "text", bytes: "blob" };
const POSTGRES: Engine = { name: "postgres", text: sql`text collate "C"`, bytes: "bytea" };

/** Connections of one process to PostgreSQL. */
const MOST_CONNECTIONS = 10;
const FILE = "wattslot.db";

/** Longest time to wait for others that are in the way, or for a connection. */
const LONGEST_WAIT_MS = 5000;

/** A process that hangs in the middle of something would lock everybody else out. */
const LONGEST_STATEMENT_MS = 30_000;
const LONGEST_IDLE_MS = 10_000;

/**
 * Opens the database and brings its schema up to date. Rejects with FAILED_PRECONDITION where its schema is newer than
 * this program, with UNAVAILABLE where it can't be opened or reached.
 */
export async function openDatabase(place: Place): Promise<Database> {
  const { dialect, engine, name } = "folder" in place ? await openFile(place.folder) : openUrl(place.url);
  const tables = new Kysely<Tables>({ dialect });
  const running = new Set<Promise<unknown>>();
  let isClosed = false;
  const run = <T>(work: () => Promise<T>): Promise<T> => {
    const run = patiently(() => {
      if (isClosed) throw new WattslotError("UNAVAILABLE", "the database is closed");
      return work();
    }).finally(() => running.delete(run));
    running.add(run);
    return run;
  };
  const database: Database = {
    engine,
    read: (body) => run(() => body(tables)),
    snapshot: (body) =>
      run(() =>
        tables.transaction().setIsolationLevel("repeatable read").setAccessMode("read only").execute(body),
      ),
    write: (body) => run(() => tables.transaction().execute(body)),
    async together(tx, ...queries) {
      const compiled = queries.map((query) => query.compile());
      // Each way to the file's thread and back costs more than most queries.
      if (engine === SQLITE) {
        const batch: QueryBatch = { ...compiled[0], batch: compiled };
        return (await tx.executeQuery(batch)).rows as never;
      }
      const rows: unknown[][] = [];
      for (const one of compiled) rows.push((await tx.executeQuery(one)).rows);
      return rows as never;
    },
    async close() {
      isClosed = true;
      await Promise.allSettled(running);
      await tables.destroy();
    },
  };
  try {
    await migrate(database);
  } catch (error) {
    await database.close();
    const { code, message, cause } = WattslotError.from(error);
    if (code === "FAILED_PRECONDITION") throw error;
    const why = cause instanceof Error ? cause.message || codeOf(cause) : message;
    throw new WattslotError("UNAVAILABLE", `${name} cannot be used: ${why}`, { cause: cause ?? error });
  }
  return database;
}

/** Does work again, all of it, as long as it has only failed as others were in its way. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const untilMs = performance.now() + LONGEST_WAIT_MS; ; ) {
    try {
      return await work();
    } catch (error) {
      if (!isInTheWay(error) || performance.now() > untilMs) throw error;
      await sleep(1 + 20 * Math.random());
    }
  }
}

/** Locked by another process, or given up so that another transaction could go on; nothing has been done. */
function isInTheWay(error: unknown): boolean {
  const code = error instanceof WattslotError ? codeOf(error.cause) : undefined;
  return code !== undefined && /^(SQLITE_BUSY.*|SQLITE_LOCKED.*|40001|40P01)$/.test(code);
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

interface Opened {
  dialect: Dialect;
  engine: Engine;
  name: string;
}

async function openFile(folder: string): Promise<Opened> {
  const name = join(folder, FILE);
  try {
    mkdirSync(folder, { recursive: true });
    const file = await patiently(() =>
      SqliteFile.open(name).catch((cause) => {
        throw sqliteFault(cause);
      }),
    );
    return { dialect: sqliteDialect(file, sqliteFault), engine: SQLITE, name };
  } catch (error) {
    const cause = error instanceof WattslotError ? (error.cause as Error) : (error as Error);
    throw new WattslotError("UNAVAILABLE", `${name} cannot be opened: ${cause.message}`, { cause });
  }
}

function sqliteFault(cause: unknown): WattslotError {
  // The disk is full or broken, or others are in the way for too long.
  const isPassing = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|CANTOPEN|READONLY|NOMEM|PROTOCOL)/.test(
    codeOf(cause) ?? "",
  );
  return fault(isPassing, cause);
}

function openUrl(connectionString: string): Opened {
  const types: pg.CustomTypesConfig = {
    // Counters and instants are far below 2^53.
    getTypeParser: ((oid: number, format?: "text") =>
      oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)) as never,
  };
  const pool = new pg.Pool({
    connectionString,
    types,
    max: MOST_CONNECTIONS,
    application_name: "wattslot",
    keepAlive: true,
    connectionTimeoutMillis: LONGEST_WAIT_MS,
    statement_timeout: LONGEST_STATEMENT_MS,
    idle_in_transaction_session_timeout: LONGEST_IDLE_MS,
  });
  // Of a connection that breaks; who uses it learns that from its query, and the next one gets a new one.
  const ignore = () => {};
  pool.on("error", ignore);
  pool.on("connect", (client) => client.on("error", ignore));
  return {
    dialect: new PostgresDialect({ pool: postgresOf(pool) }),
    engine: POSTGRES,
    name: "PostgreSQL",
  };
}

function postgresOf(pool: pg.Pool): PostgresPool {
  return {
    end: () => pool.end(),
    async connect() {
      const client = await pool.connect().catch((cause) => {
        throw postgresFault(cause);
      });
      let isBroken = false;
      const query = async (sql: string, parameters: readonly unknown[]) => {
        try {
          const result = await client.query(sql, [...parameters]);
          // So the server answers where a query has failed before, and nobody has said so.
          if (sql === "commit" && result.command !== "COMMIT") throw new Error("it was rolled back");
          return result;
        } catch (cause) {
          // What can't be rolled back ends with its connection: to say so would hide the fault before it.
          if (sql !== "rollback") throw postgresFault(cause);
          isBroken = true;
          return { command: "ROLLBACK", rowCount: 0, rows: [] };
        }
      };
      return { query: query as never, release: () => client.release(isBroken) };
    },
  };
}

/** All that an operator mends: connections, access, resources, the server's operation and its disks. */
function postgresFault(cause: unknown): WattslotError {
  const isRefusal =
    cause instanceof pg.DatabaseError && !/^(08|25|28|3D|40|53|55|57|58)/.test(cause.code ?? "");
  return fault(!isRefusal, cause);
}

function fault(isPassing: boolean, cause: unknown): WattslotError {
  return isPassing
    ? new WattslotError("UNAVAILABLE", "the database can't be used now: try again later", { cause })
    : new WattslotError("INTERNAL", `the database refuses: ${(cause as Error).message}`, { cause });
}

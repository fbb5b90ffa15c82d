import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  Kysely,
  type KyselyPlugin,
  type PluginTransformResultArgs,
  PostgresDialect,
  type QueryResult,
  SqliteDialect,
  type UnknownRow,
} from "kysely";
import Sqlite from "libsql";
import pg from "pg";
import { WattslotError } from "../domain/errors.ts";
import { type Engine, migrate } from "./migrations.ts";
import type { Tables } from "./tables.ts";

/** Where everything is kept: a folder with one file, or a PostgreSQL database. */
export type Place = { folder: string } | { url: string };

export interface Database {
  tables: Kysely<Tables>;
  engine: Engine;
  close(): Promise<void>;
}

const SQLITE: Engine = { name: "sqlite", bytes: "blob" };
const POSTGRES: Engine = { name: "postgres", bytes: "bytea" };

/** Connections of one process to PostgreSQL. */
const MOST_CONNECTIONS = 10;
const FILE = "wattslot.db";

/**
 * Opens the database and brings its schema up to date. Throws FAILED_PRECONDITION where its schema is newer than this
 * program, UNAVAILABLE where it can't be opened or reached.
 */
export async function openDatabase(place: Place): Promise<Database> {
  const { tables, engine, name } = "folder" in place ? openFile(place.folder) : openUrl(place.url);
  try {
    await migrate(tables, engine);
  } catch (cause) {
    await tables.destroy();
    if (cause instanceof WattslotError) throw cause;
    throw new WattslotError("UNAVAILABLE", `${name} cannot be used: ${(cause as Error).message}`, { cause });
  }
  return { tables, engine, close: () => tables.destroy() };
}

/** libsql reads bytes as an ArrayBuffer. */
const BYTES: KyselyPlugin = {
  transformQuery: ({ node }) => node,
  async transformResult({ result }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> {
    for (const row of result.rows)
      for (const [name, value] of Object.entries(row))
        if (value instanceof ArrayBuffer) row[name] = new Uint8Array(value);
    return result;
  },
};

function openFile(folder: string): { tables: Kysely<Tables>; engine: Engine; name: string } {
  const name = join(folder, FILE);
  try {
    mkdirSync(folder, { recursive: true });
    const file = new Sqlite(name);
    // What is acknowledged survives a loss of power; other processes that read don't wait for who writes.
    file.pragma("journal_mode = wal");
    file.pragma("synchronous = full");
    file.pragma("busy_timeout = 5000");
    const dialect = new SqliteDialect({ database: file });
    return { tables: new Kysely({ dialect, plugins: [BYTES] }), engine: SQLITE, name };
  } catch (cause) {
    throw new WattslotError("UNAVAILABLE", `${name} cannot be opened: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function openUrl(connectionString: string): { tables: Kysely<Tables>; engine: Engine; name: string } {
  const types: pg.CustomTypesConfig = {
    // Counters and instants are far below 2^53.
    getTypeParser: ((oid: number, format?: "text") =>
      oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)) as never,
  };
  const pool = new pg.Pool({ connectionString, max: MOST_CONNECTIONS, types, application_name: "wattslot" });
  // A connection that breaks while nobody uses it; the next query makes a new one.
  pool.on("error", () => {});
  return {
    tables: new Kysely({ dialect: new PostgresDialect({ pool }) }),
    engine: POSTGRES,
    name: "PostgreSQL",
  };
}

import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type TransactionSettings,
} from "kysely";

/** A query as it goes to the thread of the file. */
export interface Query {
  sql: string;
  parameters: readonly unknown[];
}

export interface Result {
  rows: unknown[];
  changes: number;
}

/** What comes back: the result of each query, or what the first that failed has failed of. */
export type Outcome = Result[] | { fault: { message: string; code?: string } };

/** Several queries as one of kysely's; its rows are a list of the rows of each. */
export interface QueryBatch extends CompiledQuery {
  batch: readonly CompiledQuery[];
}

/** An SQLite file in a thread of its own, so that this one does not stand still while the disk writes. */
export class SqliteFile {
  readonly #worker: Worker;
  /** Those who wait for an outcome, in the order in which they asked. */
  readonly #waiting: { resolve(outcome: Outcome): void; reject(error: Error): void }[] = [];
  #isOver = false;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (outcome: Outcome) => this.#waiting.shift()?.resolve(outcome));
    worker.on("error", (error) => this.#fail(error));
    worker.on("exit", () => this.#fail(new Error("the thread of the database has ended")));
  }

  /** Opens a file. Rejects with SQLite's error, its `code` as in SQLITE_BUSY. */
  static async open(name: string): Promise<SqliteFile> {
    const script = createRequire(import.meta.url).resolve("#sqlite-worker");
    // Options of the process, such as a preload for tracing, are not for this thread.
    const file = new SqliteFile(new Worker(script, { workerData: { name }, execArgv: [] }));
    try {
      await file.#outcome();
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Runs queries, after all before them; none after one that fails. Rejects as `open`. */
  run(queries: readonly Query[]): Promise<Result[]> {
    if (!this.#isOver) this.#worker.postMessage(queries);
    return this.#outcome();
  }

  /** Resolves when the file is closed. */
  async close(): Promise<void> {
    if (this.#isOver) return;
    const gone = new Promise((resolve) => this.#worker.once("exit", resolve));
    this.#worker.postMessage("close");
    await gone;
  }

  async #outcome(): Promise<Result[]> {
    if (this.#isOver) throw new Error("the database is closed");
    const outcome = await new Promise<Outcome>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    if (!("fault" in outcome)) return outcome;
    const { message, code } = outcome.fault;
    throw Object.assign(new Error(message), code === undefined ? {} : { code });
  }

  #fail(error: Error): void {
    this.#isOver = true;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/**
 * kysely's dialect for such a file: one connection, taken in turns. What may write begins as a writer: a transaction
 * that reads first and writes then would fail where another process has written in between. Errors go through `fault`.
 */
export function sqliteDialect(file: SqliteFile, fault: (cause: unknown) => Error): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new FileDriver(file, fault),
    createIntrospector: (database) => new SqliteIntrospector(database),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

class FileDriver implements Driver {
  readonly #file: SqliteFile;
  readonly #fault: (cause: unknown) => Error;
  readonly #connection: DatabaseConnection;
  /** Resolves when the connection is free for whoever asks next. */
  #turn: Promise<void> = Promise.resolve();
  #release = () => {};
  /** Goes to the thread with the first query of its transaction. */
  #begin: string | undefined;

  constructor(file: SqliteFile, fault: (cause: unknown) => Error) {
    this.#file = file;
    this.#fault = fault;
    this.#connection = {
      executeQuery: async <Row>(compiled: CompiledQuery): Promise<QueryResult<Row>> => {
        const isBatch = "batch" in compiled;
        const results = await this.#run(isBatch ? (compiled as QueryBatch).batch : [compiled]);
        if (isBatch) return { rows: results.map(({ rows }) => rows) as Row[] };
        const [{ rows, changes }] = results;
        return { rows: rows as Row[], numAffectedRows: BigInt(changes) };
      },
      // biome-ignore lint/correctness/useYield: kysely asks for it, and nothing here reads a stream.
      async *streamQuery() {
        throw new Error("SQLite's rows come at once");
      },
    };
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#turn;
    let release = () => {};
    this.#turn = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    this.#release = release;
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    this.#release();
  }

  async beginTransaction(_: DatabaseConnection, { accessMode }: TransactionSettings = {}): Promise<void> {
    this.#begin = accessMode === "read only" ? "begin" : "begin immediate";
  }

  commitTransaction(): Promise<void> {
    return this.#end("commit");
  }

  rollbackTransaction(): Promise<void> {
    return this.#end("rollback");
  }

  /** Nothing has begun where nothing was asked. */
  async #end(sql: string): Promise<void> {
    if (this.#begin === undefined) await this.#run([{ sql, parameters: [] }]);
    this.#begin = undefined;
  }

  async #run(queries: readonly Query[]): Promise<Result[]> {
    const before = this.#begin === undefined ? [] : [{ sql: this.#begin, parameters: [] }];
    this.#begin = undefined;
    const sent = [...before, ...queries].map(({ sql, parameters }) => ({ sql, parameters }));
    try {
      const results = (await this.#file.run(sent)).slice(before.length);
      for (const { rows } of results) for (const row of rows) readBytes(row as Record<string, unknown>);
      return results;
    } catch (cause) {
      throw this.#fault(cause);
    }
  }

  destroy(): Promise<void> {
    return this.#file.close();
  }
}

/** libsql reads bytes as an ArrayBuffer. */
function readBytes(row: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(row))
    if (value instanceof ArrayBuffer) row[name] = new Uint8Array(value);
}

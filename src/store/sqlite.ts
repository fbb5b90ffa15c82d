import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import {
  CompiledQuery,
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

/** What comes back. */
export type Outcome = { rows: unknown[]; changes: number } | { fault: { message: string; code?: string } };

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

  /** Runs a query after those before it. Rejects as `open`. */
  run(query: Query): Promise<{ rows: unknown[]; changes: number }> {
    if (!this.#isOver) this.#worker.postMessage(query);
    return this.#outcome();
  }

  /** Resolves when the file is closed. */
  async close(): Promise<void> {
    if (this.#isOver) return;
    const gone = new Promise((resolve) => this.#worker.once("exit", resolve));
    this.#worker.postMessage("close");
    await gone;
  }

  async #outcome(): Promise<{ rows: unknown[]; changes: number }> {
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
  readonly #connection: DatabaseConnection;
  /** Resolves when the connection is free for whoever asks next. */
  #turn: Promise<void> = Promise.resolve();
  #release = () => {};

  constructor(file: SqliteFile, fault: (cause: unknown) => Error) {
    this.#file = file;
    this.#connection = {
      async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
        try {
          const { rows, changes } = await file.run({ sql, parameters });
          return { rows: rows as Row[], numAffectedRows: BigInt(changes) };
        } catch (cause) {
          throw fault(cause);
        }
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

  async beginTransaction(
    connection: DatabaseConnection,
    { accessMode }: TransactionSettings = {},
  ): Promise<void> {
    const begin = accessMode === "read only" ? "begin" : "begin immediate";
    await connection.executeQuery(CompiledQuery.raw(begin));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("rollback"));
  }

  destroy(): Promise<void> {
    return this.#file.close();
  }
}

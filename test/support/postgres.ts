import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";

/** A real PostgreSQL in a temporary folder. It ends with the process that started it, even where that is killed. */
export interface Postgres {
  /** Of the server's main process. */
  pid: number;
  /** Of a fresh database. */
  url(): Promise<string>;
  /** Breaks all connections, as an administrator does who stops the server and starts it again a while later. */
  restart(whileDown?: () => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

interface Answer {
  port: number;
  pid: number;
  error?: string;
}

// From the project's folder, where tests are started: compiled code starts it too.
const KEEPER = resolve("test/support/postgres-keeper.mjs");

/** Rejects with the reason where it can't run here. */
export async function startPostgres(): Promise<Postgres> {
  // In a group of its own: what ends this process does not end the keeper before it has cleaned up.
  const keeper = spawn(process.execPath, [KEEPER], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const gone = once(keeper, "close");
  keeper.stdin.on("error", () => {});
  const lines = createInterface(keeper.stdout)[Symbol.asyncIterator]();
  const answer = async (): Promise<Answer> => {
    const { value, done } = await lines.next();
    const { error = undefined, ...known } = done ? { error: "it ended" } : JSON.parse(value);
    if (error === undefined) return known as Answer;
    throw new Error(`PostgreSQL does not run: ${error}`);
  };
  const { port, pid } = await answer();
  const urlOf = (database: string) => `postgres://wattslot:wattslot@127.0.0.1:${port}/${database}`;
  let databases = 0;
  const postgres: Postgres = {
    pid,
    async url() {
      const database = `test_${++databases}`;
      const client = new pg.Client({ connectionString: urlOf("postgres") });
      await client.connect();
      await client.query(`create database ${database}`);
      await client.end();
      return urlOf(database);
    },
    async restart(whileDown = async () => {}) {
      keeper.stdin.write("stop\n");
      await answer();
      await whileDown();
      keeper.stdin.write("start\n");
      postgres.pid = (await answer()).pid;
    },
    async stop() {
      keeper.stdin.end();
      await gone;
    },
  };
  return postgres;
}

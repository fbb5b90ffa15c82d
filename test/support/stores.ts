import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, describe, expect } from "vitest";
import { type ErrorCode, WattslotError } from "../../src/domain/errors.ts";
import { type Database, openDatabase, type Place } from "../../src/store/database.ts";
import type { CommandRow, NewCommand, NewPlan, SessionRow, SiteKey } from "../../src/store/store.ts";
import { Store, type StoreOptions } from "../../src/store/store.ts";
import { type Postgres, startPostgres } from "./postgres.ts";

export const DEBOUNCE_MS = 100;
export const ANSWER_MS = 1000;
export const RETRY_MS = 5000;
export const OPTIONS: StoreOptions = { debounceMs: DEBOUNCE_MS, answerMs: ANSWER_MS, retryMs: RETRY_MS };

/** An instant to begin with. */
export const T = Date.UTC(2026, 0, 1);

/** A database engine under test. What is opened here is closed after each test. */
export interface Bench {
  engine: "sqlite" | "postgres";
  /** Where nothing is kept yet. */
  place(): Promise<Place>;
  open(place?: Place): Promise<Store>;
  raw(place: Place): Promise<Database>;
  /** The server, where there is one. */
  postgres: Postgres | undefined;
}

/** Describes the same for SQLite and PostgreSQL, which is skipped where it can't run. */
export async function onBothEngines(body: (bench: Bench) => void): Promise<void> {
  const postgres = await startPostgres().catch((error: Error) => {
    console.warn(`tests on PostgreSQL are skipped: ${error.message}`);
    return undefined;
  });
  afterAll(() => postgres?.stop());
  describe("sqlite", () => body(bench("sqlite", undefined)));
  describe.skipIf(postgres === undefined)("postgres", () => body(bench("postgres", postgres)));
}

function bench(engine: Bench["engine"], postgres: Postgres | undefined): Bench {
  const opened: { close(): Promise<void> }[] = [];
  const folders: string[] = [];
  const used: string[] = [];
  const clean: string[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()));
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
    // It takes a tenth of the time that a new database does.
    for (const url of used.splice(0)) {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query("drop schema public cascade; create schema public");
      await client.end();
      clean.push(url);
    }
  });
  const place = async (): Promise<Place> => {
    if (postgres !== undefined) {
      const url = clean.pop() ?? (await postgres.url());
      used.push(url);
      return { url };
    }
    const folder = mkdtempSync(join(tmpdir(), "wattslot-store-"));
    folders.push(folder);
    return { folder };
  };
  return {
    engine,
    postgres,
    place,
    async open(where) {
      const store = await Store.open(where ?? (await place()), OPTIONS);
      opened.push(store);
      return store;
    },
    async raw(where) {
      const database = await openDatabase(where);
      opened.push(database);
      return database;
    },
  };
}

export const bytes = (text: string) => new TextEncoder().encode(text);
export const textOf = (value: Uint8Array) => new TextDecoder().decode(value);

export const keyOf = (siteId: string, tenant = "t"): SiteKey => ({ tenant, siteId });

export function putSite(store: Store, key: SiteKey, nowMs = T, site = "site"): Promise<number> {
  return store.putSite(key, { site: bytes(site), settings: bytes("") }, nowMs);
}

/** A command for the first EVSE of a station. */
export function command(stationId: string, wave = 0, sessionId = `of-${stationId}`): NewCommand {
  return {
    station_id: stationId,
    evse_id: 1,
    session_id: sessionId,
    wave,
    command: bytes(`command ${stationId}`),
    installed: bytes(`installed ${stationId}`),
  };
}

export function planOf(commands: NewCommand[] = [], plan = "plan"): NewPlan {
  const outdated = { commandIds: [], folded: [] };
  return { plan: bytes(plan), planStatus: 1, commands, dueMs: null, outdated };
}

/** Plans a site as it is now; fails where it was changed meanwhile. */
export async function plan(
  store: Store,
  key: SiteKey,
  commands: NewCommand[] = [],
  nowMs = T,
): Promise<number> {
  const { site } = await store.inputsOf(key);
  const revision = await store.savePlan(key, site, planOf(commands), nowMs);
  if (revision === undefined) throw new Error("the site has changed");
  return revision;
}

export async function take(store: Store, after = 0, nowMs = T, tenant = "t"): Promise<CommandRow[]> {
  return (await store.takeCommands(tenant, after, { siteIds: [], limit: 1000 }, nowMs)).commands;
}

export function answer(
  store: Store,
  { tenant, command_id }: Pick<CommandRow, "tenant" | "command_id">,
  how: "accepted" | "rejected" | "no_answer",
  nowMs = T,
): Promise<void> {
  return store.answerCommand(tenant, command_id, { answer: how, detail: how }, nowMs);
}

export function sessionRow(
  stationId: string,
  progress = "{}",
): Omit<SessionRow, "tenant" | "site_id" | "session_id"> {
  return {
    station_id: stationId,
    evse_id: 1,
    session: bytes(`session at ${stationId}`),
    progress,
    put_ms: T,
    ended_ms: null,
  };
}

export function putSession(store: Store, key: SiteKey, sessionId: string, nowMs = T, stationId = "A") {
  return store.changeSession(
    key,
    sessionId,
    () => ({ row: sessionRow(stationId), isDue: true, value: undefined }),
    nowMs,
  );
}

/** The error that something is rejected with. */
export async function rejection(work: Promise<unknown>, code: ErrorCode): Promise<WattslotError> {
  const error = await work.then(
    (value) => {
      throw new Error(`resolved with ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WattslotError);
  expect(error).toMatchObject({ code });
  return error as WattslotError;
}

import { spawn } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import pg from "pg";
import { describe, expect, it } from "vitest";
import type { WattslotError } from "../../src/domain/errors.ts";
import { openDatabase, type Place } from "../../src/store/database.ts";
import { MIGRATIONS, migrate } from "../../src/store/migrations.ts";
import {
  answer,
  bytes,
  command,
  keyOf,
  OPTIONS,
  onBothEngines,
  plan,
  planOf,
  putSession,
  putSite,
  rejection,
  sessionRow,
  T,
  take,
  textOf,
} from "../support/stores.ts";

const KEY = keyOf("site");

/** Runs a module in a process of its own that has `Store`, `place`, `options` and `T`, and resolves with what it prints. */
async function inProcess(place: Place, code: string): Promise<string> {
  const source = `
    import { Store } from "./dist/src/store/store.js";
    const place = ${JSON.stringify(place)};
    const options = ${JSON.stringify(OPTIONS)};
    const T = ${T};
    ${code}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  const code_ = await new Promise((resolve) => child.once("close", resolve));
  expect(code_).toBe(0);
  return output;
}

await onBothEngines((bench) => {
  /** A database without the tables of a store. */
  async function empty() {
    const place = await bench.place();
    const database = await bench.raw(place);
    const tables = ["tenants", "sites", "series", "sessions", "evses", "plans", "commands"];
    await database.write(async (tx) => {
      for (const table of [...tables, "wattslot_schema"]) await tx.schema.dropTable(table).execute();
    });
    return { place, database };
  }

  async function tenantsOf(place: Place): Promise<string[]> {
    const { read } = await bench.raw(place);
    const rows = await read((tables) => tables.selectFrom("tenants").select("tenant").execute());
    return rows.map(({ tenant }) => tenant);
  }

  describe("the schema", () => {
    it("can be brought up by many at the same time", async () => {
      const place = await bench.place();
      const opened = await Promise.all([
        ...[1, 2, 3, 4].map(() => bench.open(place)),
        ...[1, 2].map(() =>
          inProcess(
            place,
            "const store = await Store.open(place, options); await store.ping(); await store.close();",
          ),
        ),
      ]);
      expect(opened).toHaveLength(6);
      await putSite(await bench.open(place), KEY);
    });

    it.each(MIGRATIONS.map((_, version) => version))(
      "is brought up from version %i with what is kept",
      async (version) => {
        const { place, database } = await empty();
        await migrate(database, MIGRATIONS.slice(0, version));
        await fill(version, database);
        const store = await bench.open(place);
        if (version > 0) expect(textOf((await store.getSite(KEY)).site)).toBe("site");
        await putSite(store, keyOf("new"));
        await plan(store, keyOf("new"), [command("A")]);
        await answer(store, (await take(store))[0], "accepted");
      },
    );

    /** A row in every table of a version, as that version had them. */
    async function fill(version: number, { write }: Awaited<ReturnType<typeof empty>>["database"]) {
      if (version === 0) return;
      await write(async (tx) => {
        await sql`insert into tenants (tenant, last_seq) values ('t', 0)`.execute(tx);
        await sql`
          insert into sites (tenant, site_id, site, settings, etag, revision, due_ms, claimed_until_ms,
            claimed_revision, planned_revision, planned_ms, plan_status, attempts, failure)
          values ('t', 'site', ${bytes("site")}, ${bytes("")}, 1, 1, null, 0, 0, 0, 0, 0, 0, '')`.execute(tx);
      });
    }

    it("goes up step by step, all or nothing", async () => {
      const { place, database } = await empty();
      await migrate(database, MIGRATIONS);
      const before = await bench.open(place);
      await putSite(before, KEY);
      const add = (name: string) => (tx: Parameters<(typeof MIGRATIONS)[0]>[0]) =>
        tx.schema
          .alterTable("sites")
          .addColumn(name, "text", (column) => column.notNull().defaultTo("none"))
          .execute();
      const versionOf = () =>
        database.read((tables) =>
          sql<{ version: number }>`select version from wattslot_schema`.execute(tables),
        );
      const next = [...MIGRATIONS, add("one"), add("two")];
      await rejection(migrate(database, [...next, add("two")]), "INTERNAL");
      expect((await versionOf()).rows).toEqual([{ version: MIGRATIONS.length }]);
      await migrate(database, next);
      expect((await versionOf()).rows).toEqual([{ version: next.length }]);
      await migrate(database, next);
      expect(await before.getSite(KEY)).toMatchObject({ site_id: "site", one: "none", two: "none" });
      const error = await rejection(bench.open(place), "FAILED_PRECONDITION");
      expect(error.message).toBe(
        `the data has schema version ${next.length} and this program knows ${MIGRATIONS.length}: ` +
          "use the newer program that wrote it, or a backup from before",
      );
    });
  });

  describe("faults", () => {
    it("of constraints are not hidden, and leave nothing", async () => {
      const place = await bench.place();
      const store = await bench.open(place);
      await putSite(store, KEY);
      const { write } = await bench.raw(place);
      const twice = write(async (tx) => {
        await tx.insertInto("tenants").values({ tenant: "new", last_seq: 0 }).execute();
        await tx.insertInto("tenants").values({ tenant: "t", last_seq: 0 }).execute();
      });
      const { cause } = await rejection(twice, "INTERNAL");
      expect(cause).toMatchObject({ code: expect.stringMatching(/^(23505|SQLITE_CONSTRAINT_PRIMARYKEY)$/) });
      expect(await tenantsOf(place)).toEqual(["t"]);
      const missing = write((tx) => sql`insert into sites (tenant) values ('t')`.execute(tx));
      expect((await rejection(missing, "INTERNAL")).message).toMatch(/null/i);
      const wrong = write((tx) => sql`selec`.execute(tx));
      expect((await rejection(wrong, "INTERNAL")).message).toContain("syntax error");
      await putSite(store, KEY, T, "another");
    });

    it("of the caller undo a change", async () => {
      const place = await bench.place();
      const { write } = await bench.raw(place);
      const half = write(async (tx) => {
        await tx.insertInto("tenants").values({ tenant: "new", last_seq: 0 }).execute();
        throw new RangeError("of the caller");
      });
      await expect(half).rejects.toThrow(RangeError);
      expect(await tenantsOf(place)).toEqual([]);
    });

    it("after closing say so", async () => {
      const place = await bench.place();
      const store = await bench.open(place);
      await putSite(store, KEY);
      const running = Promise.all(Array.from({ length: 20 }, (_, n) => putSession(store, KEY, `${n}`)));
      await store.close();
      await running;
      const error = await rejection(store.ping(), "UNAVAILABLE");
      expect(error.message).toContain("closed");
      await store.close();
      expect((await (await bench.open(place)).inputsOf(KEY)).sessions).toHaveLength(20);
    });
  });

  describe("several processes", () => {
    it("change the same sites without losing anything", async () => {
      const place = await bench.place();
      const store = await bench.open(place);
      await putSite(store, KEY);
      const change = `
        const store = await Store.open(place, options);
        let stalePlans = 0;
        for (let n = 0; n < 40; n++) {
          const key = { tenant: "t", siteId: "site" };
          await store.changeSession(key, "a", (kept) => ({
            row: { ...(kept ?? { station_id: "A", evse_id: 1, session: new Uint8Array([1]), put_ms: T, ended_ms: null }),
              progress: String(Number(kept?.progress ?? 0) + 1) },
            isDue: true, value: undefined }), T);
          const { site } = await store.inputsOf(key);
          const outdated = { commandIds: [], folded: [] };
          const plan = { plan: new Uint8Array([1]), planStatus: 1, commands: [], dueMs: null, outdated };
          if (await store.savePlan(key, site, plan, T) === undefined) stalePlans++;
        }
        console.log(stalePlans);
        await store.close();`;
      const outputs = await Promise.all([1, 2, 3].map(() => inProcess(place, change)));
      const { sessions, site } = await store.inputsOf(KEY);
      expect(sessions.map(({ progress }) => progress)).toEqual(["120"]);
      const stalePlans = outputs.map(Number).reduce((a, b) => a + b);
      expect(site.revision).toBe(T + 120 + 120 - stalePlans);
    });

    it("do not lock a site for good when one is killed in the middle", async () => {
      const place = await bench.place();
      const store = await bench.open(place);
      await putSite(store, KEY);
      const killed = inProcess(
        place,
        `const { openDatabase } = await import("./dist/src/store/database.js");
         const { write } = await openDatabase(place);
         await write(async (tx) => {
           await tx.updateTable("sites").set({ attempts: 7 }).execute();
           process.kill(process.pid, "SIGKILL");
           await new Promise(() => {});
         });`,
      );
      await expect(killed).rejects.toThrow();
      await putSession(store, KEY, "a");
      expect(await store.getSite(KEY)).toMatchObject({ attempts: 0 });
    });
  });

  describe("several stores", () => {
    it("of one database bear everything at once", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3].map(() => bench.open(place)));
      const database = await bench.raw(place);
      const deadlocks = async () => {
        if (bench.engine === "sqlite") return 0;
        const { rows } = await database.read((tables) =>
          sql<{
            n: number;
          }>`select deadlocks as n from pg_stat_database where datname = current_database()`.execute(tables),
        );
        return rows[0].n;
      };
      const before = await deadlocks();
      const keys = Array.from({ length: 5 }, (_, n) => keyOf(`s${n}`));
      for (const key of keys) await putSite(stores[0], key);
      const counted = new Map<string, number>();
      const unexpected: unknown[] = [];
      const hammer = async (worker: number) => {
        const store = stores[worker % 3];
        for (let n = 0; n < 40; n++) {
          const key = keys[(worker + n) % 5];
          const nowMs = T + n * 100;
          const works: (() => Promise<unknown>)[] = [
            () => putSite(store, key, nowMs, `${worker}/${n}`),
            async () => {
              await store.changeSession(
                key,
                "counter",
                (kept) => ({
                  row: sessionRow("A", `${Number(kept?.progress ?? 0) + 1}`),
                  isDue: n % 2 === 0,
                  value: undefined,
                }),
                nowMs,
              );
              counted.set(key.siteId, (counted.get(key.siteId) ?? 0) + 1);
            },
            async () => {
              const { site } = await store.inputsOf(key);
              const commands = ["A", "B", "C"].map((id, wave) => command(id, wave));
              await store.savePlan(key, site, planOf(commands), nowMs);
            },
            async () => {
              for (const row of await take(store, 0, nowMs))
                await answer(store, row, (["accepted", "rejected", "no_answer"] as const)[n % 3], nowMs);
            },
            () => store.expireCommands(nowMs),
            () => store.retryChargers(nowMs),
            () => store.prune(nowMs - 500, 20),
            () => store.claimDue(nowMs, 3),
            () => store.makeStaleDue(nowMs - 300, nowMs),
            () => store.failPlan(key, "failure", nowMs),
            () => store.putSeries(key, "pv", (kept) => bytes(`${kept?.length}${n}`), nowMs),
            async () => {
              await putSite(store, keyOf("passing"), nowMs);
              await putSession(store, keyOf("passing"), `${n}`);
              await plan(store, keyOf("passing"), [command("A"), command("B")], nowMs).catch(() => {});
              await store.deleteSite(keyOf("passing"), undefined);
            },
          ];
          await works[(worker * 5 + n) % works.length]().catch((error: WattslotError) => {
            if (error.code !== "NOT_FOUND" && error.code !== "ABORTED") unexpected.push(error);
          });
        }
      };
      await Promise.all(Array.from({ length: 12 }, (_, worker) => hammer(worker)));
      expect(unexpected).toEqual([]);
      for (const key of keys) {
        const { sessions } = await stores[0].inputsOf(key);
        expect(Number(sessions[0]?.progress ?? 0)).toBe(counted.get(key.siteId) ?? 0);
      }
      expect(await deadlocks()).toBe(before);
    });
  });

  if (bench.engine === "sqlite") {
    describe("a file", () => {
      it("that can't be opened is named", async () => {
        const place = (await bench.place()) as { folder: string };
        const file = join(place.folder, "wattslot.db");
        writeFileSync(file, "this is not a database, but long enough to be taken for one ".repeat(100));
        const error = await rejection(openDatabase(place), "UNAVAILABLE");
        expect(error.message).toContain(file);
        expect(error.message).toContain("not a database");
        const nowhere = await rejection(openDatabase({ folder: join(file, "sub") }), "UNAVAILABLE");
        expect(nowhere.message).toContain(join(file, "sub"));
        mkdirSync(join(place.folder, "taken", "wattslot.db"), { recursive: true });
        await rejection(openDatabase({ folder: join(place.folder, "taken") }), "UNAVAILABLE");
      });

      it("that another one writes to is waited for, and meanwhile everything else goes on", async () => {
        const place = await bench.place();
        const store = await bench.open(place);
        const other = await bench.raw(place);
        await putSite(store, KEY);
        let release = () => {};
        const held = other.write(async (tx) => {
          await tx.updateTable("sites").set({ attempts: 1 }).execute();
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        });
        await sleep(10);
        let isDone = false;
        const waits = putSession(store, KEY, "a").then(() => {
          isDone = true;
        });
        const beganMs = performance.now();
        for (let n = 0; n < 10; n++) {
          expect((await store.getSite(KEY)).attempts).toBe(0);
          await sleep(5);
        }
        expect(performance.now() - beganMs).toBeLessThan(2000);
        expect(isDone).toBe(false);
        release();
        await Promise.all([waits, held]);
        expect((await store.inputsOf(KEY)).site.attempts).toBe(1);
      });

      it("stays small while it is written, also after faults", async () => {
        const place = (await bench.place()) as { folder: string };
        const [store, other] = [await bench.open(place), await bench.open(place)];
        const large = (n: number) => `${n}`.padEnd(200_000, "x");
        await putSite(store, KEY);
        for (let n = 0; n < 60; n++) {
          const { site } = await other.inputsOf(KEY);
          const wrong = planOf([command("A"), command("A")]);
          await rejection(other.savePlan(KEY, site, wrong, T), "INTERNAL");
          await Promise.all([
            putSite(store, KEY, T, large(n)),
            putSession(other, KEY, `${n}`),
            other.getSite(KEY),
          ]);
        }
        expect(statSync(join(place.folder, "wattslot.db-wal")).size).toBeLessThan(8_000_000);
      });
    });
    return;
  }

  describe("a server", () => {
    it("that can't be reached or does not let in is named", async () => {
      const { url } = (await bench.place()) as { url: string };
      const nowhere = url.replace(/:\d+\//, ":1/");
      expect((await rejection(openDatabase({ url: nowhere }), "UNAVAILABLE")).message).toContain(
        "ECONNREFUSED",
      );
      const wrong = url.replace("wattslot:wattslot", "wattslot:other");
      expect((await rejection(openDatabase({ url: wrong }), "UNAVAILABLE")).message).toContain("password");
      await rejection(openDatabase({ url: `${url}_missing` }), "UNAVAILABLE");
      await rejection(
        openDatabase({ url: "postgres://a.host.that.does.not.exist.invalid/x" }),
        "UNAVAILABLE",
      );
    });

    it("that restarts is used again, and the process lives on", async () => {
      const place = await bench.place();
      const [store, database] = [await bench.open(place), await bench.raw(place)];
      await putSite(store, KEY);
      await Promise.all(Array.from({ length: 10 }, (_, n) => putSession(store, KEY, `${n}`)));
      let isOver = false;
      const errors: unknown[] = [];
      let counted = 0;
      const busy = Array.from({ length: 8 }, async () => {
        while (!isOver)
          await store
            .changeSession(
              KEY,
              "counter",
              (kept) => ({
                row: sessionRow("A", `${Number(kept?.progress ?? 0) + 1}`),
                isDue: true,
                value: undefined,
              }),
              T,
            )
            .then(() => counted++)
            .catch(async (error) => {
              errors.push(error);
              await sleep(20);
            });
      });
      await sleep(100);
      // One in the middle of a transaction, with no query on its way.
      let goOn = () => {};
      const middle = database.write(async (tx) => {
        await tx.updateTable("tenants").set({ last_seq: 77 }).execute();
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
        await tx.updateTable("tenants").set({ last_seq: 78 }).execute();
      });
      const broken = rejection(middle, "UNAVAILABLE");
      await bench.postgres!.restart(async () => {
        const error = await rejection(store.ping(), "UNAVAILABLE");
        expect(error.cause).toBeInstanceOf(Error);
      });
      goOn();
      expect((await broken).cause).toBeInstanceOf(Error);
      await putSession(store, KEY, "after");
      isOver = true;
      await Promise.all(busy);
      expect(errors.length).toBeGreaterThan(0);
      for (const error of errors) expect((error as WattslotError).code).toBe("UNAVAILABLE");
      expect(await store.takeCommands("t", 0, { siteIds: [], limit: 1 }, T)).toMatchObject({ place: 0 });
      const counter = (await store.inputsOf(KEY)).sessions.find(({ session_id }) => session_id === "counter");
      // A commit whose answer is lost may have been done.
      const kept = Number(counter?.progress);
      expect(kept).toBeGreaterThanOrEqual(counted);
      expect(kept).toBeLessThanOrEqual(counted + errors.length);
    });

    it("that ends a session tells who uses it, and nobody else", async () => {
      const place = (await bench.place()) as { url: string };
      const [store, database] = [await bench.open(place), await bench.raw(place)];
      await putSite(store, KEY);
      const admin = new pg.Client({ connectionString: place.url });
      await admin.connect();
      const end = () =>
        admin.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where application_name = 'wattslot' and datname = current_database()`,
        );
      const middle = database.write(async (tx) => {
        await tx.updateTable("sites").set({ attempts: 3 }).execute();
        await end();
        await sleep(50);
        await tx.updateTable("sites").set({ attempts: 4 }).execute();
      });
      await rejection(middle, "UNAVAILABLE");
      const itself = database.write((tx) => sql`select pg_terminate_backend(pg_backend_pid())`.execute(tx));
      // Not that it can't be rolled back.
      expect((await rejection(itself, "UNAVAILABLE")).cause).toMatchObject({ code: "57P01" });
      for (let n = 0; n < 3; n++) {
        await end();
        await sleep(20);
        expect(await store.getSite(KEY)).toMatchObject({ attempts: 0 });
      }
      await admin.end();
    });

    it("whose refusal is swallowed has not committed, and says so", async () => {
      const place = await bench.place();
      const { write } = await bench.raw(place);
      const half = write(async (tx) => {
        await tx.insertInto("tenants").values({ tenant: "new", last_seq: 0 }).execute();
        await sql`selec`.execute(tx).catch(() => {});
      });
      await rejection(half, "UNAVAILABLE");
      expect(await tenantsOf(place)).toEqual([]);
    });

    it("ends sessions that hang, which lock others out", async () => {
      const { read } = await bench.raw(await bench.place());
      const show = async (name: string) =>
        (await read((tables) => sql`select current_setting(${name}) as it`.execute(tables))).rows;
      expect(await show("idle_in_transaction_session_timeout")).toEqual([{ it: "10s" }]);
      expect(await show("statement_timeout")).toEqual([{ it: "30s" }]);
    });

    it("that gives one up for another does it again", async () => {
      const place = await bench.place();
      const [store, database] = [await bench.open(place), await bench.raw(place)];
      await putSite(store, keyOf("a"));
      await putSite(store, keyOf("b"));
      let runs = 0;
      let holders = 0;
      let bothHold = () => {};
      const deadlock = new Promise<void>((resolve) => {
        bothHold = resolve;
      });
      const add = (first: string, second: string) =>
        database.write(async (tx) => {
          runs++;
          const addTo = (id: string) =>
            tx
              .updateTable("sites")
              .set(({ eb }) => ({ attempts: eb("attempts", "+", 1) }))
              .where("site_id", "=", id)
              .execute();
          await addTo(first);
          if (++holders === 2) bothHold();
          await deadlock;
          await addTo(second);
        });
      await Promise.all([add("a", "b"), add("b", "a")]);
      expect(runs).toBeGreaterThan(2);
      expect((await store.getSite(keyOf("a"))).attempts).toBe(2);
      expect((await store.getSite(keyOf("b"))).attempts).toBe(2);
    });
  });
});

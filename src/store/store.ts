import { type Insertable, type Selectable, sql, type Transaction } from "kysely";
import { WattslotError } from "../domain/errors.ts";
import { type Database, openDatabase, type Place } from "./database.ts";
import type { CommandState, Tables } from "./tables.ts";

export type SiteRow = Selectable<Tables["sites"]>;
export type SessionRow = Selectable<Tables["sessions"]>;
export type SeriesRow = Selectable<Tables["series"]>;
export type EvseRow = Selectable<Tables["evses"]>;
export type CommandRow = Selectable<Tables["commands"]>;
export type PlanRow = Selectable<Tables["plans"]>;

/** A site of a tenant. */
export interface SiteKey {
  tenant: string;
  siteId: string;
}

/** Everything that a site's plan is made of, as it was at one revision. */
export interface SiteInputs {
  site: SiteRow;
  series: SeriesRow[];
  /** Those that go on, by id. */
  sessions: SessionRow[];
  evses: EvseRow[];
  /** Sent and not answered: they may be in force. */
  delivered: CommandRow[];
}

/** What a plan leaves in the store. */
export interface NewPlan {
  plan: Uint8Array;
  planStatus: number;
  commands: NewCommand[];
}

export type NewCommand = Pick<
  Insertable<Tables["commands"]>,
  "station_id" | "evse_id" | "session_id" | "wave" | "command" | "installed"
>;

/** How a charger took a command. */
export type Answer = "accepted" | "rejected" | "no_answer";

export interface StoreOptions {
  /** From a change to the plan that it leads to: what comes in that time is planned at once. */
  debounceMs: number;
  /** Longest time that a charger has to answer a command. */
  answerMs: number;
  /** From a command that was not accepted until the charger is tried again. */
  retryMs: number;
}

type Tx = Transaction<Tables>;

/** Longest time that planning a site takes; after that its planner is taken for dead. */
const CLAIM_MS = 30_000;

const NOBODY_KNOWS: CommandState[] = ["held", "released"];

/**
 * Sites, sessions, plans and the outbox of commands, in SQLite or PostgreSQL. What a method has changed is on disk
 * when it resolves. Instants are ms since 1970 and always given: the store has no clock.
 *
 * Every change to a site counts its revision up under the lock of its row; a plan is only kept where the revision is
 * still the one that it was made of. So there is one plan for a revision, and none is made of what has changed since.
 */
export class Store {
  readonly #database: Database;
  readonly #options: StoreOptions;

  private constructor(database: Database, options: StoreOptions) {
    this.#database = database;
    this.#options = options;
  }

  /** Opens a store; rejects as `openDatabase` does. */
  static async open(place: Place, options: StoreOptions): Promise<Store> {
    return new Store(await openDatabase(place), options);
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  get #tables() {
    return this.#database.tables;
  }

  /** Rejects where the database can't be reached. */
  async ping(): Promise<void> {
    await sql`select 1`.execute(this.#tables);
  }

  /** Keeps a site. Throws ABORTED where an etag is given and not the one that is kept. */
  async putSite(
    { tenant, siteId }: SiteKey,
    { site, settings, etag }: { site: Uint8Array; settings: Uint8Array; etag?: number },
    nowMs: number,
  ): Promise<number> {
    return this.#transaction(async (tx) => {
      await tx
        .insertInto("tenants")
        .values({ tenant, last_seq: 0 })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const kept = await this.#lock(tx, { tenant, siteId });
      if (etag !== undefined && kept?.etag !== etag) throw changedSince(siteId);
      // The time is above every revision that a site of this id had before it was deleted.
      const revision = kept === undefined ? nowMs : kept.revision;
      const due_ms = this.#dueMs(kept, nowMs);
      if (kept === undefined) {
        const fresh = {
          revision,
          due_ms,
          claimed_until_ms: 0,
          planned_revision: 0,
          planned_ms: 0,
          plan_status: 0,
          attempts: 0,
          failure: "",
        };
        const { numInsertedOrUpdatedRows } = await tx
          .insertInto("sites")
          .values({ tenant, site_id: siteId, site, settings, etag: revision, ...fresh })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirstOrThrow();
        // Two first calls at the same time: the other one has won.
        if (numInsertedOrUpdatedRows === 0n) throw changedSince(siteId);
      } else {
        await tx
          .updateTable("sites")
          .set({ site, settings, etag: revision, due_ms, attempts: 0 })
          .where("tenant", "=", tenant)
          .where("site_id", "=", siteId)
          .execute();
      }
      return revision;
    });
  }

  async getSite({ tenant, siteId }: SiteKey): Promise<SiteRow> {
    const row = await this.#tables
      .selectFrom("sites")
      .selectAll()
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .executeTakeFirst();
    if (row === undefined) throw noSite(siteId);
    return row;
  }

  /** Sites of a tenant after an id, with how many sessions and unanswered commands they have. */
  async listSites(
    tenant: string,
    after: string,
    limit: number,
  ): Promise<(SiteRow & { session_count: number; open_count: number })[]> {
    return this.#tables
      .selectFrom("sites")
      .selectAll("sites")
      .select(({ selectFrom, fn }) => [
        selectFrom("sessions")
          .select(fn.countAll<number>().as("n"))
          .whereRef("sessions.tenant", "=", "sites.tenant")
          .whereRef("sessions.site_id", "=", "sites.site_id")
          .where("ended_ms", "is", null)
          .$asScalar()
          .$notNull()
          .as("session_count"),
        selectFrom("commands")
          .select(fn.countAll<number>().as("n"))
          .whereRef("commands.tenant", "=", "sites.tenant")
          .whereRef("commands.site_id", "=", "sites.site_id")
          .where("state", "in", ["held", "released", "delivered"])
          .$asScalar()
          .$notNull()
          .as("open_count"),
      ])
      .where("tenant", "=", tenant)
      .where("site_id", ">", after)
      .orderBy("site_id")
      .limit(limit)
      .execute();
  }

  /** Forgets a site and all that belongs to it. */
  async deleteSite({ tenant, siteId }: SiteKey, etag: number | undefined): Promise<void> {
    await this.#transaction(async (tx) => {
      const kept = await this.#lock(tx, { tenant, siteId });
      if (kept === undefined) throw noSite(siteId);
      if (etag !== undefined && kept.etag !== etag) throw changedSince(siteId);
      for (const table of ["commands", "plans", "evses", "sessions", "series", "sites"] as const)
        await tx.deleteFrom(table).where("tenant", "=", tenant).where("site_id", "=", siteId).execute();
    });
  }

  /** Keeps a series as `merge` makes it of the one that is kept. */
  async putSeries(
    key: SiteKey,
    seriesKey: string,
    merge: (kept: Uint8Array | undefined) => Uint8Array,
    nowMs: number,
  ): Promise<void> {
    await this.#change(key, nowMs, async (tx) => {
      const { tenant, siteId } = key;
      const kept = await tx
        .selectFrom("series")
        .select("series")
        .where("tenant", "=", tenant)
        .where("site_id", "=", siteId)
        .where("series_key", "=", seriesKey)
        .executeTakeFirst();
      const series = merge(kept?.series);
      await tx
        .insertInto("series")
        .values({ tenant, site_id: siteId, series_key: seriesKey, series })
        .onConflict((conflict) =>
          conflict.columns(["tenant", "site_id", "series_key"]).doUpdateSet({ series }),
        )
        .execute();
      return { isDue: true, value: undefined };
    });
  }

  /**
   * Keeps a session as `update` makes it of the one that is kept; what it leaves undefined stays as it is. `isDue`:
   * the plan may be another one now. A new session at an EVSE makes it worth to try its charger again.
   */
  async changeSession<T>(
    key: SiteKey,
    sessionId: string,
    update: (
      kept: SessionRow | undefined,
      site: SiteRow,
    ) => { row?: Omit<SessionRow, "tenant" | "site_id" | "session_id">; isDue: boolean; value: T },
    nowMs: number,
  ): Promise<T> {
    return this.#change(key, nowMs, async (tx, site) => {
      const where = { tenant: key.tenant, site_id: key.siteId, session_id: sessionId };
      const kept = await tx
        .selectFrom("sessions")
        .selectAll()
        .where("tenant", "=", where.tenant)
        .where("site_id", "=", where.site_id)
        .where("session_id", "=", where.session_id)
        .executeTakeFirst();
      const { row, isDue, value } = update(kept, site);
      if (row !== undefined) {
        await tx
          .insertInto("sessions")
          .values({ ...where, ...row })
          .onConflict((conflict) => conflict.columns(["tenant", "site_id", "session_id"]).doUpdateSet(row))
          .execute();
        if (kept === undefined)
          await tx
            .updateTable("evses")
            .set({ unreachable_until_ms: 0 })
            .where("tenant", "=", where.tenant)
            .where("site_id", "=", where.site_id)
            .where("station_id", "=", row.station_id)
            .where("evse_id", "=", row.evse_id)
            .execute();
      }
      return { isDue, value };
    });
  }

  /** What a site's plan is made of now, from one look at the database. */
  async inputsOf({ tenant, siteId }: SiteKey): Promise<SiteInputs> {
    const { engine } = this.#database;
    const transaction = this.#tables.transaction();
    const snapshot =
      engine.name === "postgres" ? transaction.setIsolationLevel("repeatable read") : transaction;
    return snapshot.execute(async (tx) => {
      const of = <Table extends "sites" | "series" | "sessions" | "evses" | "commands">(table: Table) =>
        tx
          .selectFrom(table as "sites")
          .selectAll()
          .where("tenant", "=", tenant)
          .where("site_id", "=", siteId);
      const site = await of("sites").executeTakeFirst();
      if (site === undefined) throw noSite(siteId);
      return {
        site,
        series: (await of("series").execute()) as unknown as SeriesRow[],
        sessions: (await sessionsThatGoOn(tx, { tenant, siteId })) as SessionRow[],
        evses: (await of("evses").execute()) as unknown as EvseRow[],
        delivered: await tx
          .selectFrom("commands")
          .selectAll()
          .where("tenant", "=", tenant)
          .where("site_id", "=", siteId)
          .where("state", "=", "delivered")
          .orderBy("revision")
          .execute(),
      };
    });
  }

  async planOf({ tenant, siteId }: SiteKey): Promise<{ site: SiteRow; plan?: PlanRow }> {
    const site = await this.getSite({ tenant, siteId });
    const plan = await this.#tables
      .selectFrom("plans")
      .selectAll()
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .orderBy("revision", "desc")
      .executeTakeFirst();
    return plan === undefined ? { site } : { site, plan };
  }

  /** Ids of a tenant's sites after an id whose plan is older than an instant, in order. */
  async staleSites(tenant: string, olderThanMs: number, after: string, limit: number): Promise<string[]> {
    const rows = await this.#tables
      .selectFrom("sites")
      .select("site_id")
      .where("tenant", "=", tenant)
      .where("site_id", ">", after)
      .where("planned_ms", "<=", olderThanMs)
      .orderBy("site_id")
      .limit(limit)
      .execute();
    return rows.map(({ site_id }) => site_id);
  }

  async tenants(): Promise<string[]> {
    const rows = await this.#tables.selectFrom("tenants").select("tenant").orderBy("tenant").execute();
    return rows.map(({ tenant }) => tenant);
  }

  /** Sites that are due and that nobody is planning, claimed for the caller: the longest due first. */
  async claimDue(nowMs: number, limit: number): Promise<SiteKey[]> {
    const locking = this.#database.engine.name === "postgres" ? sql`for update skip locked` : sql``;
    const { rows } = await sql<{ tenant: string; site_id: string }>`
      update sites set claimed_until_ms = ${nowMs + CLAIM_MS}
      where (tenant, site_id) in (
        select tenant, site_id from sites
        where due_ms <= ${nowMs} and claimed_until_ms <= ${nowMs}
        order by due_ms limit ${limit} ${locking})
      returning tenant, site_id`.execute(this.#tables);
    return rows.map(({ tenant, site_id }) => ({ tenant, siteId: site_id }));
  }

  /** Claims a site for planning it now. False where somebody else is planning it. */
  async claim({ tenant, siteId }: SiteKey, nowMs: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#tables
      .updateTable("sites")
      .set({ claimed_until_ms: nowMs + CLAIM_MS })
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .where("claimed_until_ms", "<=", nowMs)
      .executeTakeFirst();
    if (numUpdatedRows > 0n) return true;
    await this.getSite({ tenant, siteId });
    return false;
  }

  /**
   * Keeps a plan that was made of a revision, and releases its first wave. False, and nothing is kept, where the
   * site has changed since. What older plans wanted to tell chargers and was not sent is superseded.
   */
  async savePlan(
    { tenant, siteId }: SiteKey,
    madeOf: number,
    { plan, planStatus, commands }: NewPlan,
    nowMs: number,
  ): Promise<number | undefined> {
    return this.#transaction(async (tx) => {
      const revision = madeOf + 1;
      const { numUpdatedRows } = await tx
        .updateTable("sites")
        .set({
          revision,
          planned_revision: revision,
          planned_ms: nowMs,
          plan_status: planStatus,
          due_ms: null,
          claimed_until_ms: 0,
          attempts: 0,
          failure: "",
        })
        .where("tenant", "=", tenant)
        .where("site_id", "=", siteId)
        .where("revision", "=", madeOf)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) return undefined;
      await tx.deleteFrom("plans").where("tenant", "=", tenant).where("site_id", "=", siteId).execute();
      await tx
        .insertInto("plans")
        .values({ tenant, site_id: siteId, revision, planned_ms: nowMs, plan })
        .execute();
      await tx
        .updateTable("commands")
        .set({ state: "superseded", answered_ms: nowMs })
        .where("tenant", "=", tenant)
        .where("site_id", "=", siteId)
        .where("state", "in", NOBODY_KNOWS)
        .execute();
      if (commands.length > 0) {
        const rows = commands.map((command, n) => ({
          ...command,
          tenant,
          site_id: siteId,
          command_id: `${siteId}/${revision}/${n}`,
          revision,
          state: "held" as const,
          seq: null,
          created_ms: nowMs,
          delivered_ms: null,
          answered_ms: null,
          detail: "",
        }));
        // SQLite takes 32766 values in one statement.
        for (let from = 0; from < rows.length; from += 1000)
          await tx
            .insertInto("commands")
            .values(rows.slice(from, from + 1000))
            .execute();
        await this.#releaseNext(tx, { tenant, siteId }, revision);
      }
      return revision;
    });
  }

  /** Lets go of a claimed site whose plan is not wanted any more: it stays due. */
  async unclaim({ tenant, siteId }: SiteKey): Promise<void> {
    await this.#tables
      .updateTable("sites")
      .set({ claimed_until_ms: 0 })
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .execute();
  }

  /** Lets go of a claimed site that could not be planned: it is due again after a while, longer each time. */
  async failPlan({ tenant, siteId }: SiteKey, failure: string, nowMs: number): Promise<void> {
    const { attempts } = await this.getSite({ tenant, siteId });
    const waitMs = Math.min(15 * 60_000, 1000 * 2 ** Math.min(20, attempts));
    await this.#tables
      .updateTable("sites")
      .set({ claimed_until_ms: 0, attempts: attempts + 1, failure, due_ms: nowMs + waitMs })
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .execute();
  }

  /** Makes sites due whose plan is older than an instant. */
  async makeStaleDue(olderThanMs: number, nowMs: number): Promise<void> {
    await this.#tables
      .updateTable("sites")
      .set({ due_ms: nowMs })
      .where("due_ms", "is", null)
      .where("planned_ms", "<=", olderThanMs)
      .execute();
  }

  /**
   * Commands of a tenant after a place in its outbox that no charger has answered, in order; those that had not been
   * sent count as sent from now on.
   */
  async takeCommands(
    tenant: string,
    after: number,
    { siteIds, limit }: { siteIds: readonly string[]; limit: number },
    nowMs: number,
  ): Promise<CommandRow[]> {
    const found = await this.#tables
      .selectFrom("commands")
      .selectAll()
      .where("tenant", "=", tenant)
      .where("seq", ">", after)
      .where("state", "in", ["released", "delivered"])
      .$if(siteIds.length > 0, (query) => query.where("site_id", "in", siteIds))
      .orderBy("seq")
      .limit(limit)
      .execute();
    const fresh = new Map<string, CommandRow[]>();
    for (const row of found)
      if (row.state === "released") fresh.set(row.site_id, [...(fresh.get(row.site_id) ?? []), row]);
    const sent = new Set(
      found.filter(({ state }) => state === "delivered").map(({ command_id }) => command_id),
    );
    for (const [siteId, rows] of fresh) {
      // A plan that is being made takes them for not sent: it must not be kept.
      const marked = await this.#transaction(async (tx) => {
        if ((await this.#lock(tx, { tenant, siteId })) === undefined) return [];
        return tx
          .updateTable("commands")
          .set({ state: "delivered", delivered_ms: nowMs })
          .where("tenant", "=", tenant)
          .where(
            "command_id",
            "in",
            rows.map(({ command_id }) => command_id),
          )
          .where("state", "in", ["released", "delivered"])
          .returning("command_id")
          .execute();
      });
      for (const { command_id } of marked) sent.add(command_id);
    }
    return found.filter(({ command_id }) => sent.has(command_id));
  }

  /** Place in a tenant's outbox of the command released last. */
  async lastSeq(tenant: string): Promise<number> {
    const row = await this.#tables
      .selectFrom("tenants")
      .select("last_seq")
      .where("tenant", "=", tenant)
      .executeTakeFirst();
    return row?.last_seq ?? 0;
  }

  /**
   * Keeps how a charger took a command, once. Accepted, it is what the charger holds, and where it was the last of
   * its wave the next one is released; else the charger counts as unreachable for a while and the site is due.
   * Throws NOT_FOUND.
   */
  async answerCommand(
    tenant: string,
    commandId: string,
    { answer, detail }: { answer: Answer; detail: string },
    nowMs: number,
  ): Promise<void> {
    const siteId = commandId.slice(0, commandId.lastIndexOf("/", commandId.lastIndexOf("/") - 1));
    await this.#change({ tenant, siteId }, nowMs, async (tx, site) => {
      const command = await tx
        .selectFrom("commands")
        .selectAll()
        .where("tenant", "=", tenant)
        .where("command_id", "=", commandId)
        .executeTakeFirst();
      if (command === undefined) throw noCommand(commandId);
      const { state, revision, station_id, evse_id } = command;
      if (state === answer || state === "accepted") return { isDue: false, value: undefined };
      await tx
        .updateTable("commands")
        .set({ state: answer, answered_ms: nowMs, detail })
        .where("tenant", "=", tenant)
        .where("command_id", "=", commandId)
        .execute();
      const evse = { tenant, site_id: siteId, station_id, evse_id };
      const kept = await tx
        .selectFrom("evses")
        .selectAll()
        .where("tenant", "=", tenant)
        .where("site_id", "=", siteId)
        .where("station_id", "=", station_id)
        .where("evse_id", "=", evse_id)
        .executeTakeFirst();
      const isNewest = kept === undefined || kept.revision < revision;
      const held =
        answer === "accepted" && isNewest
          ? {
              session_id: command.session_id,
              revision,
              installed: command.installed,
              command: command.command,
            }
          : undefined;
      const row = {
        ...(held ?? {
          session_id: kept?.session_id ?? "",
          revision: kept?.revision ?? 0,
          installed: kept?.installed ?? new Uint8Array(),
          command: kept?.command ?? new Uint8Array(),
        }),
        unreachable_until_ms: answer === "accepted" ? 0 : nowMs + this.#options.retryMs,
      };
      await tx
        .insertInto("evses")
        .values({ ...evse, ...row })
        .onConflict((conflict) =>
          conflict.columns(["tenant", "site_id", "station_id", "evse_id"]).doUpdateSet(row),
        )
        .execute();
      if (answer !== "accepted") return { isDue: true, value: undefined };
      if (revision === site.planned_revision) await this.#releaseNext(tx, { tenant, siteId }, revision);
      // What came too late for its plan may still have changed what the charger holds.
      return { isDue: revision !== site.planned_revision || state === "no_answer", value: undefined };
    });
  }

  /** Commands that were sent and not answered in time, as if their chargers had said nothing. How many. */
  async expireCommands(nowMs: number): Promise<number> {
    const late = await this.#tables
      .selectFrom("commands")
      .select(["tenant", "command_id"])
      .where("state", "=", "delivered")
      .where("delivered_ms", "<=", nowMs - this.#options.answerMs)
      .limit(500)
      .execute();
    for (const { tenant, command_id } of late)
      await this.answerCommand(
        tenant,
        command_id,
        { answer: "no_answer", detail: "not reported in time" },
        nowMs,
      );
    return late.length;
  }

  /** Sites with a charger that is to be tried again are due. */
  async retryChargers(nowMs: number): Promise<void> {
    const back = await this.#tables
      .selectFrom("evses")
      .select(["tenant", "site_id"])
      .distinct()
      .where("unreachable_until_ms", ">", 0)
      .where("unreachable_until_ms", "<=", nowMs)
      .limit(500)
      .execute();
    for (const { tenant, site_id } of back)
      await this.#change({ tenant, siteId: site_id }, nowMs, async (tx) => {
        await tx
          .updateTable("evses")
          .set({ unreachable_until_ms: 0 })
          .where("tenant", "=", tenant)
          .where("site_id", "=", site_id)
          .where("unreachable_until_ms", "<=", nowMs)
          .execute();
        return { isDue: true, value: undefined };
      });
  }

  /** Forgets ended sessions and answered commands that are older than an instant, a few at a time. How many. */
  async prune(olderThanMs: number, limit: number): Promise<number> {
    const sessions = await sql`
      delete from sessions where (tenant, site_id, session_id) in (
        select tenant, site_id, session_id from sessions where ended_ms < ${olderThanMs} limit ${limit})`.execute(
      this.#tables,
    );
    const commands = await sql`
      delete from commands where (tenant, command_id) in (
        select tenant, command_id from commands where answered_ms < ${olderThanMs} limit ${limit})`.execute(
      this.#tables,
    );
    return Number(sessions.numAffectedRows ?? 0n) + Number(commands.numAffectedRows ?? 0n);
  }

  #transaction<T>(body: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#tables.transaction().execute(body);
  }

  /** Counts a site's revision up, which locks its row until the transaction ends; the row as it is then. */
  #lock(tx: Tx, { tenant, siteId }: SiteKey): Promise<SiteRow | undefined> {
    return tx
      .updateTable("sites")
      .set(({ eb }) => ({ revision: eb("revision", "+", 1) }))
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .returningAll()
      .executeTakeFirst();
  }

  /** Changes what belongs to a site, under its lock. Throws NOT_FOUND. */
  async #change<T>(
    key: SiteKey,
    nowMs: number,
    body: (tx: Tx, site: SiteRow) => Promise<{ isDue: boolean; value: T }>,
  ): Promise<T> {
    return this.#transaction(async (tx) => {
      const site = await this.#lock(tx, key);
      if (site === undefined) throw noSite(key.siteId);
      const { isDue, value } = await body(tx, site);
      if (isDue)
        await tx
          .updateTable("sites")
          .set({ due_ms: this.#dueMs(site, nowMs) })
          .where("tenant", "=", key.tenant)
          .where("site_id", "=", key.siteId)
          .execute();
      return value;
    });
  }

  /** A change waits for others, but one that is already waiting waits no longer for it. */
  #dueMs(site: SiteRow | undefined, nowMs: number): number {
    return Math.min(site?.due_ms ?? Number.POSITIVE_INFINITY, nowMs + this.#options.debounceMs);
  }

  /** Releases the lowest wave of a plan that is held, where all lower ones are accepted. */
  async #releaseNext(tx: Tx, { tenant, siteId }: SiteKey, revision: number): Promise<void> {
    const open = await tx
      .selectFrom("commands")
      .select(["command_id", "wave", "state"])
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .where("revision", "=", revision)
      .where("state", "!=", "accepted")
      .orderBy("wave")
      .orderBy("command_id")
      .execute();
    const [first] = open;
    if (first === undefined || open.some(({ state, wave }) => state !== "held" && wave <= first.wave)) return;
    const next = open.filter(({ wave }) => wave === first.wave);
    const { last_seq } = await tx
      .updateTable("tenants")
      .set(({ eb }) => ({ last_seq: eb("last_seq", "+", next.length) }))
      .where("tenant", "=", tenant)
      .returning("last_seq")
      .executeTakeFirstOrThrow();
    for (const [n, { command_id }] of next.entries())
      await tx
        .updateTable("commands")
        .set({ state: "released", seq: last_seq - next.length + n + 1 })
        .where("tenant", "=", tenant)
        .where("command_id", "=", command_id)
        .execute();
  }
}

function sessionsThatGoOn(tx: Tx, { tenant, siteId }: SiteKey): Promise<SessionRow[]> {
  return tx
    .selectFrom("sessions")
    .selectAll()
    .where("tenant", "=", tenant)
    .where("site_id", "=", siteId)
    .where("ended_ms", "is", null)
    .orderBy("session_id")
    .execute();
}

function noSite(siteId: string): WattslotError {
  return new WattslotError("NOT_FOUND", `site ${JSON.stringify(siteId)} is not kept: put it first`);
}

function noCommand(commandId: string): WattslotError {
  return new WattslotError("NOT_FOUND", `command ${JSON.stringify(commandId)} is not known`);
}

function changedSince(siteId: string): WattslotError {
  return new WattslotError(
    "ABORTED",
    `site ${JSON.stringify(siteId)} has another etag by now: get it and decide anew`,
  );
}

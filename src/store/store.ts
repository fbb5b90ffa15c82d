import { type Insertable, type Kysely, type Selectable, sql } from "kysely";
import { WattslotError } from "../domain/errors.ts";
import { type Database, openDatabase, type Place, type Tx } from "./database.ts";
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
  /** Sent, not surely refused, and not before what their chargers have accepted: they may be in force. In order. */
  unsure: CommandRow[];
}

/** What a plan leaves in the store. */
export interface NewPlan {
  plan: Uint8Array;
  planStatus: number;
  commands: NewCommand[];
  /** When the site is to be planned again, whatever happens; null: when something does. */
  dueMs: number | null;
  outdated: Outdated;
}

/** Unanswered commands of which nothing needs to be known any more, and those that stand for others from now on. */
export interface Outdated {
  commandIds: string[];
  folded: { commandId: string; installed: Uint8Array }[];
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

/** Longest time that planning a site takes; after that its planner is taken for dead. */
const CLAIM_MS = 30_000;

/** Of what housekeeping does, in one go. */
const MOST_AT_ONCE = 500;

/** In place of an instant: a charger is tried again that refused, or did not answer. */
const TRIED_AGAIN = -1;

const NOBODY_KNOWS: CommandState[] = ["held", "released"];

/** What is heard of a command later counts where it says more. */
const ANSWERS: CommandState[] = ["no_answer", "rejected", "accepted"];

/**
 * Sites, sessions, plans and the outbox of commands, in SQLite or PostgreSQL. What a method has changed is on disk
 * when it resolves. Instants are ms since 1970 and always given: the store has no clock. Methods reject with a
 * WattslotError, as it says there and where the database can't be used.
 *
 * Every change to a site that its plan must know of counts its revision up under the lock of its row; a plan is only
 * kept where the revision is still the one that it was made of. So there is one plan for a revision, and none is made
 * of what has changed since.
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

  /** Rejects where the database can't be reached. */
  async ping(): Promise<void> {
    await this.#database.read((tables) => sql`select 1`.execute(tables));
  }

  /**
   * Keeps a site, and resolves with its etag. Throws ABORTED where an etag is given and not the one that is kept; what
   * is kept already may be put again.
   */
  async putSite(
    { tenant, siteId }: SiteKey,
    { site, settings, etag }: { site: Uint8Array; settings: Uint8Array; etag?: number },
    nowMs: number,
  ): Promise<number> {
    return this.#database.write(async (tx) => {
      await tx
        .insertInto("tenants")
        .values({ tenant, last_seq: 0 })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      if (etag === undefined) {
        // The time is above every revision that a site of this id had before it was deleted.
        const { numInsertedOrUpdatedRows } = await tx
          .insertInto("sites")
          .values({
            tenant,
            site_id: siteId,
            site,
            settings,
            etag: nowMs,
            revision: nowMs,
            changes: 0,
            due_ms: nowMs + this.#options.debounceMs,
            claimed_until_ms: 0,
            claimed_revision: 0,
            planned_revision: 0,
            planned_ms: 0,
            plan_status: 0,
            attempts: 0,
            failure: "",
          })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirstOrThrow();
        if (numInsertedOrUpdatedRows === 1n) return nowMs;
      }
      const kept = await this.#lock(tx, { tenant, siteId });
      if (kept === undefined) throw changedSince(siteId);
      if (isSame(kept.site, site) && isSame(kept.settings, settings)) return kept.etag;
      if (etag !== undefined && kept.etag !== etag) throw changedSince(siteId);
      const revision = kept.revision + 1;
      await this.#set(
        tx,
        { tenant, siteId },
        {
          site,
          settings,
          etag: revision,
          revision,
          changes: kept.changes + 1,
          due_ms: this.#dueMs(kept, nowMs),
          attempts: 0,
        },
      );
      await this.#holdBack(tx, { tenant, siteId });
      return revision;
    });
  }

  async getSite({ tenant, siteId }: SiteKey): Promise<SiteRow> {
    const row = await this.#database.read((tables) => siteOf(tables, { tenant, siteId }).executeTakeFirst());
    if (row === undefined) throw noSite(siteId);
    return row;
  }

  /** Sites of a tenant after an id, with how many sessions and unanswered commands they have. */
  async listSites(
    tenant: string,
    after: string,
    limit: number,
  ): Promise<(SiteRow & { session_count: number; open_count: number })[]> {
    return this.#database.read((tables) =>
      tables
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
        .execute(),
    );
  }

  /** Forgets a site and all that belongs to it. */
  async deleteSite({ tenant, siteId }: SiteKey, etag: number | undefined): Promise<void> {
    await this.#database.write(async (tx) => {
      const kept = await this.#lock(tx, { tenant, siteId });
      if (kept === undefined) throw noSite(siteId);
      if (etag !== undefined && kept.etag !== etag) throw changedSince(siteId);
      for (const table of ["commands", "plans", "evses", "sessions", "series", "sites"] as const)
        await tx.deleteFrom(table).where("tenant", "=", tenant).where("site_id", "=", siteId).execute();
    });
  }

  /**
   * Keeps a series as `merge` makes it of the one that is kept, none where it makes none; it may be asked again. Throws
   * NOT_FOUND.
   */
  async putSeries(
    key: SiteKey,
    seriesKey: string,
    merge: (kept: Uint8Array | undefined) => Uint8Array | undefined,
    nowMs: number,
  ): Promise<void> {
    await this.#database.write((tx) =>
      this.#change(tx, key, nowMs, async () => {
        const ofSeries = { tenant: key.tenant, site_id: key.siteId, series_key: seriesKey };
        const kept = await tx
          .selectFrom("series")
          .select("series")
          .where((eb) => eb.and(ofSeries))
          .executeTakeFirst();
        const series = merge(kept?.series);
        const isAsKept =
          kept === undefined || series === undefined ? kept === series : isSame(kept.series, series);
        if (isAsKept) return { isDue: false, value: undefined };
        if (series === undefined)
          await tx
            .deleteFrom("series")
            .where((eb) => eb.and(ofSeries))
            .execute();
        else
          await tx
            .insertInto("series")
            .values({ ...ofSeries, series })
            .onConflict((conflict) =>
              conflict.columns(["tenant", "site_id", "series_key"]).doUpdateSet({ series }),
            )
            .execute();
        await this.#holdBack(tx, key);
        return { isDue: true, value: undefined };
      }),
    );
  }

  /**
   * Keeps a session as `update` makes it of the one that is kept, which may be asked again; what it leaves undefined
   * stays as it is. `isDue`: the plan may be another one now. `isNews`: one that is in the making must not be kept;
   * what is due always is, but where it says otherwise. `replaces` tells which others that go on at its EVSE it ends.
   * A new session at an EVSE makes it worth to try its charger again. Throws NOT_FOUND.
   */
  async changeSession<T>(
    key: SiteKey,
    sessionId: string,
    update: (
      kept: SessionRow | undefined,
      site: SiteRow,
    ) => {
      row?: Omit<SessionRow, "tenant" | "site_id" | "session_id">;
      replaces?: (other: SessionRow) => boolean;
      isDue: boolean;
      isNews?: boolean;
      value: T;
    },
    nowMs: number,
  ): Promise<T> {
    return this.#database.write((tx) =>
      this.#change(tx, key, nowMs, async (site) => {
        const ofSite = { tenant: key.tenant, site_id: key.siteId };
        const ofSession = { ...ofSite, session_id: sessionId };
        const kept = await tx
          .selectFrom("sessions")
          .selectAll()
          .where((eb) => eb.and(ofSession))
          .executeTakeFirst();
        const { row, replaces, isDue, isNews = isDue, value } = update(kept, site);
        if (row !== undefined) {
          await tx
            .insertInto("sessions")
            .values({ ...ofSession, ...row })
            .onConflict((conflict) => conflict.columns(["tenant", "site_id", "session_id"]).doUpdateSet(row))
            .execute();
          if (kept === undefined)
            await tx
              .updateTable("evses")
              .set({ unreachable_until_ms: 0 })
              .where((eb) => eb.and({ ...ofSite, station_id: row.station_id, evse_id: row.evse_id }))
              .execute();
        }
        if (row === undefined || replaces === undefined)
          return { isDue, isNews: isNews || kept === undefined, value };
        const { station_id, evse_id } = row;
        const others = await tx
          .selectFrom("sessions")
          .selectAll()
          .where((eb) => eb.and({ ...ofSite, station_id, evse_id }))
          .where("session_id", "!=", sessionId)
          .where("ended_ms", "is", null)
          .execute();
        const ended = others.filter(replaces).map(({ session_id }) => session_id);
        if (ended.length > 0)
          await tx
            .updateTable("sessions")
            .set({ ended_ms: nowMs })
            .where((eb) => eb.and(ofSite))
            .where("session_id", "in", ended)
            .execute();
        const hasEnded = ended.length > 0;
        return { isDue: isDue || hasEnded, isNews: isNews || hasEnded || kept === undefined, value };
      }),
    );
  }

  /** What a site's plan is made of now, from one look at the database. Throws NOT_FOUND. */
  async inputsOf({ tenant, siteId }: SiteKey): Promise<SiteInputs> {
    return this.#database.snapshot(async (tx) => {
      const of = { tenant, site_id: siteId };
      const [[site], series, sessions, evses, unsure] = await this.#database.together(
        tx,
        siteOf(tx, { tenant, siteId }),
        tx
          .selectFrom("series")
          .selectAll()
          .where((eb) => eb.and(of))
          .orderBy("series_key"),
        tx
          .selectFrom("sessions")
          .selectAll()
          .where((eb) => eb.and(of))
          .where("ended_ms", "is", null)
          .orderBy("session_id"),
        tx
          .selectFrom("evses")
          .selectAll()
          .where((eb) => eb.and(of))
          .orderBy("station_id")
          .orderBy("evse_id"),
        tx
          .selectFrom("commands")
          .selectAll()
          .where((eb) => eb.and(of))
          .where("state", "in", ["delivered", "no_answer"])
          .where(({ not, exists, selectFrom }) =>
            not(
              exists(
                selectFrom("evses")
                  .select("evses.revision")
                  .whereRef("evses.tenant", "=", "commands.tenant")
                  .whereRef("evses.site_id", "=", "commands.site_id")
                  .whereRef("evses.station_id", "=", "commands.station_id")
                  .whereRef("evses.evse_id", "=", "commands.evse_id")
                  .whereRef("evses.revision", ">", "commands.revision"),
              ),
            ),
          ),
      );
      if (site === undefined) throw noSite(siteId);
      // Asked for the order, SQLite would read all of the tenant's commands in it.
      unsure.sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0));
      return { site, series, sessions, evses, unsure };
    });
  }

  /** A site and its plan in force. Throws NOT_FOUND. */
  async planOf({ tenant, siteId }: SiteKey): Promise<{ site: SiteRow; plan?: PlanRow }> {
    return this.#database.snapshot(async (tx) => {
      const site = await siteOf(tx, { tenant, siteId }).executeTakeFirst();
      if (site === undefined) throw noSite(siteId);
      const plan = await tx
        .selectFrom("plans")
        .selectAll()
        .where("tenant", "=", tenant)
        .where("site_id", "=", siteId)
        .where("revision", "=", site.planned_revision)
        .executeTakeFirst();
      return plan === undefined ? { site } : { site, plan };
    });
  }

  /** Ids of a tenant's sites after an id whose plan is older than an instant, in order. */
  async staleSites(tenant: string, olderThanMs: number, after: string, limit: number): Promise<string[]> {
    const rows = await this.#database.read((tables) =>
      tables
        .selectFrom("sites")
        .select("site_id")
        .where("tenant", "=", tenant)
        .where("site_id", ">", after)
        .where("planned_ms", "<=", olderThanMs)
        .orderBy("site_id")
        .limit(limit)
        .execute(),
    );
    return rows.map(({ site_id }) => site_id);
  }

  /** What waits: sites to be planned, and commands for an answer; 0 ms where nothing does. */
  async backlog(
    nowMs: number,
  ): Promise<{ dueSites: number; oldestDueMs: number; openCommands: number; oldestPlanMs: number }> {
    return this.#database.snapshot(async (tables) => {
      const due = await tables
        .selectFrom("sites")
        .select(({ fn }) => [fn.countAll<number>().as("n"), fn.min("due_ms").as("oldest")])
        .where("due_ms", "<=", nowMs)
        .executeTakeFirstOrThrow();
      const open = await tables
        .selectFrom("commands")
        .select(({ fn }) => fn.countAll<number>().as("n"))
        .where("state", "in", ["held", "released", "delivered"])
        .executeTakeFirstOrThrow();
      const planned = await tables
        .selectFrom("sites")
        .select(({ fn }) => fn.min("planned_ms").as("oldest"))
        .where("planned_ms", ">", 0)
        .executeTakeFirstOrThrow();
      return {
        dueSites: Number(due.n),
        oldestDueMs: nowMs - (due.oldest ?? nowMs),
        openCommands: Number(open.n),
        oldestPlanMs: nowMs - (planned.oldest ?? nowMs),
      };
    });
  }

  /** Sites that are due and that nobody is planning, claimed for the caller: the longest due first. */
  async claimDue(nowMs: number, limit: number): Promise<SiteKey[]> {
    const { rows } = await this.#database.write((tx) =>
      sql<{ tenant: string; site_id: string }>`
        with due as materialized (
          select tenant, site_id from sites
          where due_ms <= ${nowMs} and claimed_until_ms <= ${nowMs}
          order by due_ms limit ${limit} ${this.#skipLocked})
        update sites set claimed_until_ms = ${nowMs + CLAIM_MS}, claimed_revision = revision
        where (tenant, site_id) in (select tenant, site_id from due)
        returning tenant, site_id`.execute(tx),
    );
    return rows.map(({ tenant, site_id }) => ({ tenant, siteId: site_id }));
  }

  /** Claims a site for planning it now. False where somebody else is planning it. Throws NOT_FOUND. */
  async claim(key: SiteKey, nowMs: number): Promise<boolean> {
    return this.#database.write(async (tx) => {
      const { numUpdatedRows } = await tx
        .updateTable("sites")
        .set(({ ref }) => ({ claimed_until_ms: nowMs + CLAIM_MS, claimed_revision: ref("revision") }))
        .where("tenant", "=", key.tenant)
        .where("site_id", "=", key.siteId)
        .where("claimed_until_ms", "<=", nowMs)
        .executeTakeFirst();
      if (numUpdatedRows > 0n) return true;
      if ((await siteOf(tx, key).executeTakeFirst()) === undefined) throw noSite(key.siteId);
      return false;
    });
  }

  /**
   * Keeps a plan that was made of a site as it was, and releases its first wave. Resolves with the plan's revision;
   * with undefined, and nothing is kept, where the site has another revision by now. What older plans wanted to tell
   * chargers and was not sent is forgotten.
   */
  async savePlan(
    { tenant, siteId }: SiteKey,
    madeOf: Pick<SiteRow, "revision" | "changes">,
    { plan, planStatus, commands, dueMs, outdated }: NewPlan,
    nowMs: number,
  ): Promise<number | undefined> {
    return this.#database.write(async (tx) => {
      const revision = madeOf.revision + 1;
      const { numUpdatedRows } = await tx
        .updateTable("sites")
        .set({
          revision,
          planned_revision: revision,
          planned_ms: nowMs,
          plan_status: planStatus,
          due_ms: sql<number | null>`
            case when changes = ${madeOf.changes} then cast(${dueMs} as bigint)
              when due_ms > ${nowMs} then due_ms else ${nowMs + this.#options.debounceMs} end`,
          claimed_until_ms: 0,
          attempts: 0,
          failure: "",
        })
        .where("tenant", "=", tenant)
        .where("site_id", "=", siteId)
        .where("revision", "=", madeOf.revision)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) return undefined;
      const firstWave = Math.min(...commands.map(({ wave }) => wave));
      const count = commands.filter(({ wave }) => wave === firstWave).length;
      let place = 0;
      const rows = commands.map((command, n) => {
        const isFirst = command.wave === firstWave;
        if (isFirst) place++;
        return {
          ...command,
          tenant,
          site_id: siteId,
          command_id: `${siteId}/${revision}/${n}`,
          revision,
          state: isFirst ? ("released" as const) : ("held" as const),
          seq: isFirst
            ? sql<number>`(select last_seq from tenants where tenant = ${tenant}) - ${count - place}`
            : null,
          created_ms: nowMs,
          delivered_ms: null,
          answered_ms: null,
          detail: "",
          times_sent: 0,
        };
      });
      // SQLite takes 32766 values in one statement.
      const parts = Array.from({ length: Math.ceil(rows.length / 1000) }, (_, n) =>
        rows.slice(1000 * n, 1000 * (n + 1)),
      );
      await this.#database.together(
        tx,
        tx.deleteFrom("plans").where("tenant", "=", tenant).where("site_id", "=", siteId),
        tx.insertInto("plans").values({ tenant, site_id: siteId, revision, planned_ms: nowMs, plan }),
        tx
          .deleteFrom("commands")
          .where("tenant", "=", tenant)
          .where("site_id", "=", siteId)
          .where("state", "in", NOBODY_KNOWS),
        ...(outdated.commandIds.length > 0
          ? [
              tx
                .updateTable("commands")
                .set({ state: "superseded" })
                .where("tenant", "=", tenant)
                .where("command_id", "in", outdated.commandIds.slice(0, MOST_AT_ONCE))
                .where("state", "=", "no_answer"),
            ]
          : []),
        ...outdated.folded.map(({ commandId, installed }) =>
          tx
            .updateTable("commands")
            // As one that was sent for others, too: refused, it may still have been accepted as one of them.
            .set({ installed, times_sent: 2 })
            .where("tenant", "=", tenant)
            .where("command_id", "=", commandId)
            .where("state", "=", "no_answer"),
        ),
        ...(count > 0 ? [countUp(tx, tenant, count)] : []),
        ...parts.map((part) => tx.insertInto("commands").values(part)),
      );
      return revision;
    });
  }

  /** Lets go of all claims, some of which may be of planners that died. Those that live lose no more than some work. */
  async unclaimAll(): Promise<void> {
    await this.#database.write((tx) =>
      tx.updateTable("sites").set({ claimed_until_ms: 0 }).where("claimed_until_ms", ">", 0).execute(),
    );
  }

  /** Lets go of a claimed site that could not be planned through no fault of its own: it is due at an instant. */
  async unclaim(key: SiteKey, dueMs: number): Promise<void> {
    await this.#database.write((tx) => this.#set(tx, key, { claimed_until_ms: 0, due_ms: dueMs }));
  }

  /**
   * Lets go of a claimed site that could not be planned: it is due again after a while, longer each time; at once where
   * something has changed since it was claimed. Throws NOT_FOUND.
   */
  async failPlan(key: SiteKey, failure: string, nowMs: number): Promise<void> {
    await this.#database.write(async (tx) => {
      const site = await this.#lock(tx, key);
      if (site === undefined) throw noSite(key.siteId);
      const waitMs = Math.min(15 * 60_000, 1000 * 2 ** Math.min(20, site.attempts));
      const isSame = site.revision === site.claimed_revision;
      await this.#set(tx, key, {
        claimed_until_ms: 0,
        attempts: site.attempts + 1,
        failure,
        due_ms: nowMs + (isSame ? waitMs : this.#options.debounceMs),
      });
    });
  }

  /** Makes sites due whose plan is older than an instant. */
  async makeStaleDue(olderThanMs: number, nowMs: number): Promise<void> {
    await this.#database.write((tx) =>
      sql`
        with stale as materialized (
          select tenant, site_id from sites where due_ms is null and planned_ms <= ${olderThanMs} ${this.#skipLocked})
        update sites set due_ms = ${nowMs} where (tenant, site_id) in (select tenant, site_id from stale)`.execute(
        tx,
      ),
    );
  }

  /**
   * Commands of a tenant after a place in its outbox that no charger has answered, in order; those that had not been
   * sent count as sent from now on. `place` is where to go on: none up to there is left. `isAll`: nor after it.
   */
  async takeCommands(
    tenant: string,
    after: number,
    { siteIds, limit }: { siteIds: readonly string[]; limit: number },
    nowMs: number,
  ): Promise<{ commands: CommandRow[]; place: number; isAll: boolean }> {
    // Read before the commands: all up to it are there to be seen.
    const { last_seq: last } = (await this.#database.read((tables) =>
      tables.selectFrom("tenants").select("last_seq").where("tenant", "=", tenant).executeTakeFirst(),
    )) ?? { last_seq: 0 };
    if (last === after) return { commands: [], place: after, isAll: true };
    // A place that there has never been is of what a backup has taken back: everything is told again.
    const from = after > last ? 0 : after;
    const found = await this.#database.read((tables) =>
      tables
        .selectFrom("commands")
        .selectAll()
        .where("tenant", "=", tenant)
        .where("seq", ">", from)
        .where(isOut)
        .$if(siteIds.length > 0, (query) => query.where("site_id", "in", siteIds))
        .orderBy("seq")
        .limit(limit)
        .execute(),
    );
    const ofSites = new Map<string, CommandRow[]>();
    for (const row of found) ofSites.set(row.site_id, [...(ofSites.get(row.site_id) ?? []), row]);
    const sent = new Set<string>();
    for (const [siteId, rows] of ofSites) {
      const marked = await this.#database.write(async (tx) => {
        const site = await this.#lock(tx, { tenant, siteId });
        if (site === undefined) return [];
        // A plan that is being made takes them for not sent: it must not be kept.
        if (rows.some(({ state }) => state === "released"))
          await this.#set(tx, { tenant, siteId }, { revision: site.revision + 1 });
        return tx
          .updateTable("commands")
          .set(({ eb, fn, val }) => ({
            state: "delivered",
            delivered_ms: fn.coalesce("delivered_ms", val(nowMs)),
            times_sent: eb("times_sent", "+", 1),
          }))
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
    const isAll = found.length < limit;
    const newest = found.at(-1)?.seq ?? from;
    return {
      commands: found.filter(({ command_id }) => sent.has(command_id)),
      place: isAll ? Math.max(newest, last) : newest,
      isAll,
    };
  }

  /**
   * Keeps how a charger took a command, once: later only what says more. Accepted, it is what the charger holds, and
   * where it was the last of its wave the next one is released; else the charger counts as unreachable for a while
   * and the site is due, unless the vehicle that it was for has left. What was sent more than once may have been
   * accepted the other time: refused, it counts as not answered. Throws NOT_FOUND.
   */
  async answerCommand(
    tenant: string,
    commandId: string,
    { answer: said, detail }: { answer: Answer; detail: string },
    nowMs: number,
  ): Promise<void> {
    await this.#database.write(async (tx) => {
      const ofCommand = { tenant, command_id: commandId };
      const find = tx
        .selectFrom("commands")
        .selectAll()
        .where((eb) => eb.and(ofCommand));
      const siteId = (await find.executeTakeFirst())?.site_id;
      if (siteId === undefined) throw noCommand(commandId);
      await this.#change(tx, { tenant, siteId }, nowMs, async (site) => {
        const command = await find.executeTakeFirst();
        if (command === undefined || command.delivered_ms === null) throw noCommand(commandId);
        const { state, revision, station_id, evse_id, session_id } = command;
        const answer = said === "rejected" && command.times_sent > 1 ? "no_answer" : said;
        if (ANSWERS.indexOf(answer) <= ANSWERS.indexOf(state)) return { isDue: false, value: undefined };
        await tx
          .updateTable("commands")
          .set({ state: answer, answered_ms: nowMs, detail })
          .where((eb) => eb.and(ofCommand))
          .execute();
        const ofEvse = { tenant, site_id: siteId, station_id, evse_id };
        const kept = await tx
          .selectFrom("evses")
          .selectAll()
          .where((eb) => eb.and(ofEvse))
          .executeTakeFirst();
        const isOutdated = kept !== undefined && kept.revision > revision;
        // The charger has accepted a newer command since, but what it accepts may change what it holds.
        if (isOutdated) return { isDue: answer === "accepted", value: undefined };
        if (answer !== "accepted") {
          const vehicle = await tx
            .selectFrom("sessions")
            .select("ended_ms")
            .where((eb) => eb.and({ tenant, site_id: siteId, session_id }))
            .executeTakeFirst();
          // Of a transaction that is over a charger takes nothing, and the next vehicle has another one.
          if (vehicle !== undefined && vehicle.ended_ms !== null) return { isDue: true, value: undefined };
        }
        const row =
          answer === "accepted"
            ? {
                session_id,
                revision,
                installed: command.installed,
                command: command.command,
                unreachable_until_ms: 0,
              }
            : {
                session_id: kept?.session_id ?? "",
                revision: kept?.revision ?? 0,
                installed: kept?.installed ?? new Uint8Array(),
                command: kept?.command ?? new Uint8Array(),
                unreachable_until_ms: nowMs + this.#options.retryMs,
              };
        await tx
          .insertInto("evses")
          .values({ ...ofEvse, ...row })
          .onConflict((conflict) =>
            conflict.columns(["tenant", "site_id", "station_id", "evse_id"]).doUpdateSet(row),
          )
          .execute();
        if (answer !== "accepted") return { isDue: true, value: undefined };
        // Sent once more now, they would take back what is in force.
        await tx
          .updateTable("commands")
          .set({ state: "superseded", answered_ms: nowMs })
          .where((eb) => eb.and(ofEvse))
          .where("state", "in", ["delivered", "no_answer"])
          .where("revision", "<", revision)
          .execute();
        if (revision === site.planned_revision) await this.#releaseNext(tx, { tenant, siteId }, revision);
        // What came too late for its plan may still have changed what the charger holds.
        return {
          isDue: revision !== site.planned_revision || state !== "delivered",
          isNews: true,
          value: undefined,
        };
      });
    });
  }

  /** Commands that were sent and not answered in time, as if their chargers had said nothing. How many. */
  async expireCommands(nowMs: number): Promise<number> {
    const late = await this.#database.read((tables) =>
      tables
        .selectFrom("commands")
        .select(["tenant", "command_id"])
        .where("state", "=", "delivered")
        .where("delivered_ms", "<=", nowMs - this.#options.answerMs)
        .limit(MOST_AT_ONCE)
        .execute(),
    );
    const answer = { answer: "no_answer" as const, detail: "not reported in time" };
    for (const { tenant, command_id } of late)
      await unlessForgotten(this.answerCommand(tenant, command_id, answer, nowMs));
    return late.length;
  }

  /** Sites with a charger that is to be tried again are due. */
  async retryChargers(nowMs: number): Promise<void> {
    const back = await this.#database.read((tables) =>
      tables
        .selectFrom("evses")
        .select(["tenant", "site_id"])
        .distinct()
        .where("unreachable_until_ms", ">", 0)
        .where("unreachable_until_ms", "<=", nowMs)
        .limit(MOST_AT_ONCE)
        .execute(),
    );
    for (const { tenant, site_id } of back) {
      const retry = this.#database.write((tx) =>
        this.#change(tx, { tenant, siteId: site_id }, nowMs, async () => {
          const { numUpdatedRows } = await tx
            .updateTable("evses")
            .set({ unreachable_until_ms: TRIED_AGAIN })
            .where("tenant", "=", tenant)
            .where("site_id", "=", site_id)
            .where("unreachable_until_ms", ">", 0)
            .where("unreachable_until_ms", "<=", nowMs)
            .executeTakeFirst();
          return { isDue: numUpdatedRows > 0n, value: undefined };
        }),
      );
      await unlessForgotten(retry);
    }
  }

  /**
   * Forgets ended sessions and answered commands that are older than an instant, a few at a time. How many. Commands
   * of the plan in force stay: what is held waits for their answers.
   */
  async prune(olderThanMs: number, limit: number): Promise<number> {
    const [sessions, commands] = await this.#database.write(async (tx) => [
      await sql`
        with old as materialized (
          select tenant, site_id, session_id from sessions where ended_ms < ${olderThanMs}
          order by ended_ms limit ${limit} ${this.#skipLocked})
        delete from sessions
        where (tenant, site_id, session_id) in (select tenant, site_id, session_id from old)`.execute(tx),
      await sql`
        with old as materialized (
          select tenant, command_id from commands
          where answered_ms < ${olderThanMs} and not exists (
            select 1 from sites
            where sites.tenant = commands.tenant and sites.site_id = commands.site_id
              and sites.planned_revision = commands.revision)
          order by answered_ms limit ${limit} ${this.#skipLocked})
        delete from commands where (tenant, command_id) in (select tenant, command_id from old)`.execute(tx),
    ]);
    return Number(sessions.numAffectedRows ?? 0n) + Number(commands.numAffectedRows ?? 0n);
  }

  /** Locks rows that are selected first, and leaves those out that others have locked. SQLite has locked everything. */
  get #skipLocked() {
    return this.#database.engine.name === "postgres" ? sql`for update skip locked` : sql``;
  }

  /** A site's row, locked until the transaction ends. */
  #lock(tx: Tx, key: SiteKey): Promise<SiteRow | undefined> {
    return siteOf(tx, key)
      .$if(this.#database.engine.name === "postgres", (query) => query.forUpdate())
      .executeTakeFirst();
  }

  async #set(tx: Tx, { tenant, siteId }: SiteKey, values: Partial<SiteRow>): Promise<void> {
    await tx
      .updateTable("sites")
      .set(values)
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .execute();
  }

  /** Changes what belongs to a site, under its lock. `isNews`: its plan must know of it; what is due always is. */
  async #change<T>(
    tx: Tx,
    key: SiteKey,
    nowMs: number,
    body: (site: SiteRow) => Promise<{ isDue: boolean; isNews?: boolean; value: T }>,
  ): Promise<T> {
    const site = await this.#lock(tx, key);
    if (site === undefined) throw noSite(key.siteId);
    const { isDue, isNews = isDue, value } = await body(site);
    if (isDue || isNews)
      await this.#set(tx, key, {
        revision: site.revision + (isNews ? 1 : 0),
        ...(isDue ? { changes: site.changes + 1, due_ms: this.#dueMs(site, nowMs) } : {}),
      });
    return value;
  }

  /** Takes back increases that nobody was told of: what they rested on has changed, and the next plan has its own. */
  async #holdBack(tx: Tx, { tenant, siteId }: SiteKey): Promise<void> {
    await tx
      .deleteFrom("commands")
      .where("tenant", "=", tenant)
      .where("site_id", "=", siteId)
      .where("state", "in", NOBODY_KNOWS)
      .where("wave", ">", 1)
      .execute();
  }

  /** A change waits for others, but one that is already waiting waits no longer for it. */
  #dueMs(site: SiteRow, nowMs: number): number {
    return Math.min(site.due_ms ?? Number.POSITIVE_INFINITY, nowMs + this.#options.debounceMs);
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
      .execute();
    const [first] = open;
    if (first === undefined || open.some(({ state, wave }) => state !== "held" && wave <= first.wave)) return;
    const next = open.filter(({ wave }) => wave === first.wave);
    const { last_seq } = await countUp(tx, tenant, next.length).executeTakeFirstOrThrow();
    // Commands of a plan differ in the number at the end of their ids.
    await sql`
      update commands set state = 'released', seq = ${last_seq - next.length} + next.place
      from (
        select command_id as id, row_number() over (order by length(command_id), command_id) as place
        from commands
        where tenant = ${tenant} and site_id = ${siteId} and revision = ${revision} and wave = ${first.wave}
      ) as next
      where tenant = ${tenant} and command_id = next.id`.execute(tx);
  }
}

function siteOf(tables: Kysely<Tables>, { tenant, siteId }: SiteKey) {
  return tables.selectFrom("sites").selectAll().where("tenant", "=", tenant).where("site_id", "=", siteId);
}

/** Takes places in a tenant's outbox, the last of which is then its last. */
function countUp(tx: Tx, tenant: string, count: number) {
  return tx
    .updateTable("tenants")
    .set(({ eb }) => ({ last_seq: eb("last_seq", "+", count) }))
    .where("tenant", "=", tenant)
    .returning("last_seq");
}

/** What waits to be answered, in the words of its index: those of a parameter would not find it. */
const isOut = sql<boolean>`state in ('released', 'delivered')`;

/** What is gone by now needs nothing. */
async function unlessForgotten(work: Promise<unknown>): Promise<void> {
  await work.catch((error) => {
    if (!(error instanceof WattslotError && error.code === "NOT_FOUND")) throw error;
  });
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
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

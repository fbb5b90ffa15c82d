import { type ColumnDataType, type RawBuilder, sql } from "kysely";
import { WattslotError } from "../domain/errors.ts";
import type { Database, Tx } from "./database.ts";

/** What differs between the engines. */
export interface Engine {
  name: "sqlite" | "postgres";
  /** Text in the order of its bytes, whatever the server's language: pages follow it, and indexes outlive updates. */
  text: ColumnDataType | RawBuilder<string>;
  bytes: ColumnDataType;
}

/** A number of our own among the locks of the database. */
const ADVISORY_LOCK = 0x77617474;

type Migration = (tx: Tx, engine: Engine) => Promise<void>;

/** In order; what has been released is never changed. The number of those applied is the version of the schema. */
export const MIGRATIONS: readonly Migration[] = [createTables, forManySites];

async function createTables({ schema }: Tx, { text, bytes }: Engine): Promise<void> {
  await schema
    .createTable("tenants")
    .addColumn("tenant", text, (column) => column.primaryKey())
    .addColumn("last_seq", "bigint", (column) => column.notNull())
    .execute();
  await schema
    .createTable("sites")
    .addColumn("tenant", text, (column) => column.notNull())
    .addColumn("site_id", text, (column) => column.notNull())
    .addColumn("site", bytes, (column) => column.notNull())
    .addColumn("settings", bytes, (column) => column.notNull())
    .addColumn("etag", "bigint", (column) => column.notNull())
    .addColumn("revision", "bigint", (column) => column.notNull())
    .addColumn("due_ms", "bigint")
    .addColumn("claimed_until_ms", "bigint", (column) => column.notNull())
    .addColumn("claimed_revision", "bigint", (column) => column.notNull())
    .addColumn("planned_revision", "bigint", (column) => column.notNull())
    .addColumn("planned_ms", "bigint", (column) => column.notNull())
    .addColumn("plan_status", "integer", (column) => column.notNull())
    .addColumn("attempts", "integer", (column) => column.notNull())
    .addColumn("failure", text, (column) => column.notNull())
    .addPrimaryKeyConstraint("sites_key", ["tenant", "site_id"])
    .execute();
  await schema.createIndex("sites_due").on("sites").column("due_ms").execute();
  await schema
    .createTable("series")
    .addColumn("tenant", text, (column) => column.notNull())
    .addColumn("site_id", text, (column) => column.notNull())
    .addColumn("series_key", text, (column) => column.notNull())
    .addColumn("series", bytes, (column) => column.notNull())
    .addPrimaryKeyConstraint("series_pk", ["tenant", "site_id", "series_key"])
    .execute();
  await schema
    .createTable("sessions")
    .addColumn("tenant", text, (column) => column.notNull())
    .addColumn("site_id", text, (column) => column.notNull())
    .addColumn("session_id", text, (column) => column.notNull())
    .addColumn("station_id", text, (column) => column.notNull())
    .addColumn("evse_id", "bigint", (column) => column.notNull())
    .addColumn("session", bytes, (column) => column.notNull())
    .addColumn("progress", text, (column) => column.notNull())
    .addColumn("put_ms", "bigint", (column) => column.notNull())
    .addColumn("ended_ms", "bigint")
    .addPrimaryKeyConstraint("sessions_key", ["tenant", "site_id", "session_id"])
    .execute();
  await schema.createIndex("sessions_ended").on("sessions").column("ended_ms").execute();
  await schema
    .createTable("evses")
    .addColumn("tenant", text, (column) => column.notNull())
    .addColumn("site_id", text, (column) => column.notNull())
    .addColumn("station_id", text, (column) => column.notNull())
    .addColumn("evse_id", "bigint", (column) => column.notNull())
    .addColumn("session_id", text, (column) => column.notNull())
    .addColumn("revision", "bigint", (column) => column.notNull())
    .addColumn("installed", bytes, (column) => column.notNull())
    .addColumn("command", bytes, (column) => column.notNull())
    .addColumn("unreachable_until_ms", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("evses_key", ["tenant", "site_id", "station_id", "evse_id"])
    .execute();
  await schema.createIndex("evses_unreachable").on("evses").column("unreachable_until_ms").execute();
  await schema
    .createTable("plans")
    .addColumn("tenant", text, (column) => column.notNull())
    .addColumn("site_id", text, (column) => column.notNull())
    .addColumn("revision", "bigint", (column) => column.notNull())
    .addColumn("planned_ms", "bigint", (column) => column.notNull())
    .addColumn("plan", bytes, (column) => column.notNull())
    .addPrimaryKeyConstraint("plans_key", ["tenant", "site_id", "revision"])
    .execute();
  await schema
    .createTable("commands")
    .addColumn("tenant", text, (column) => column.notNull())
    .addColumn("command_id", text, (column) => column.notNull())
    .addColumn("site_id", text, (column) => column.notNull())
    .addColumn("station_id", text, (column) => column.notNull())
    .addColumn("evse_id", "bigint", (column) => column.notNull())
    .addColumn("session_id", text, (column) => column.notNull())
    .addColumn("revision", "bigint", (column) => column.notNull())
    .addColumn("wave", "integer", (column) => column.notNull())
    .addColumn("command", bytes, (column) => column.notNull())
    .addColumn("installed", bytes, (column) => column.notNull())
    .addColumn("state", text, (column) => column.notNull())
    .addColumn("seq", "bigint")
    .addColumn("created_ms", "bigint", (column) => column.notNull())
    .addColumn("delivered_ms", "bigint")
    .addColumn("answered_ms", "bigint")
    .addColumn("detail", text, (column) => column.notNull())
    .addColumn("times_sent", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("commands_key", ["tenant", "command_id"])
    // Two plans of one revision, or two commands of one wave for an EVSE, would be a fault.
    .addUniqueConstraint("commands_evse", ["tenant", "site_id", "station_id", "evse_id", "revision", "wave"])
    .execute();
  await schema.createIndex("commands_seq").on("commands").columns(["tenant", "seq"]).unique().execute();
  await schema.createIndex("commands_open").on("commands").columns(["state", "delivered_ms"]).execute();
  await schema.createIndex("commands_answered").on("commands").column("answered_ms").execute();
}

/**
 * What is asked again and again reads only what it wants, however many sites there are and whatever they were told. A
 * site that is measured all the time is planned all the same.
 */
async function forManySites(tx: Tx): Promise<void> {
  const { schema } = tx;
  const ofSite = ["tenant", "site_id"] as const;
  await schema
    .createIndex("commands_state")
    .on("commands")
    .columns([...ofSite, "state"])
    .execute();
  await schema
    .createIndex("commands_plan")
    .on("commands")
    .columns([...ofSite, "revision"])
    .execute();
  await sql`
    create index commands_out on commands (tenant, seq) where state in ('released', 'delivered')`.execute(tx);
  await sql`
    create index sessions_there on sessions (tenant, site_id, session_id) where ended_ms is null`.execute(tx);
  await schema
    .alterTable("sites")
    .addColumn("changes", "bigint", (column) => column.notNull().defaultTo(0))
    .execute();
  await schema.dropIndex("sites_due").execute();
  await schema.createIndex("sites_due").on("sites").columns(["due_ms", "planned_ms"]).execute();
  await schema.createIndex("sites_planned").on("sites").column("planned_ms").execute();
}

/**
 * Brings the schema to the version of this program, or says that it is newer with FAILED_PRECONDITION: all steps or
 * none. Who starts at the same time waits.
 */
export async function migrate(
  { write, engine }: Pick<Database, "write" | "engine">,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> {
  await write(async (tx) => {
    if (engine.name === "postgres") {
      // Two that create a table at once would be in each other's way, even if it is only where it does not exist.
      await sql`set local statement_timeout = 0`.execute(tx);
      await sql`select pg_advisory_xact_lock(${ADVISORY_LOCK}::bigint)`.execute(tx);
    }
    await sql`create table if not exists wattslot_schema (version integer not null)`.execute(tx);
    const { rows } = await sql<{ version: number }>`select version from wattslot_schema`.execute(tx);
    const version = rows[0]?.version ?? 0;
    if (version > migrations.length)
      throw new WattslotError(
        "FAILED_PRECONDITION",
        `the data has schema version ${version} and this program knows ${migrations.length}: ` +
          "use the newer program that wrote it, or a backup from before",
      );
    if (version === migrations.length) return;
    for (const migration of migrations.slice(version)) await migration(tx, engine);
    await (rows.length === 0
      ? sql`insert into wattslot_schema (version) values (${migrations.length})`
      : sql`update wattslot_schema set version = ${migrations.length}`
    ).execute(tx);
  });
}

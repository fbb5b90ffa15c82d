import { join } from "node:path";
import Sqlite from "libsql";
import pg from "pg";

/** Where a run keeps its data. */
export type Place = { folder: string } | { url: string };

/** What a command's row says. */
export interface KeptCommand {
  site_id: string;
  station_id: string;
  evse_id: number;
  session_id: string;
  command_id: string;
  revision: number;
  wave: number;
  state: string;
  seq: number | null;
  created_ms: number;
}

export interface Kept {
  commands: KeptCommand[];
  plans: { site_id: string; revision: number }[];
  sites: { site_id: string; planned_revision: number }[];
  sessions: { site_id: string; session_id: string; session: Uint8Array; progress: string; ended: boolean }[];
  series: { site_id: string; series_key: string; series: Uint8Array }[];
}

/** Reads a database once its servers are gone, without their code. */
export async function readDatabase(place: Place): Promise<Kept> {
  const { query, close } = await open(place);
  const kept = {
    commands: await query(
      "select site_id, station_id, evse_id, session_id, command_id, revision, wave, state, seq, created_ms from commands",
    ),
    plans: await query("select site_id, revision from plans"),
    sites: await query("select site_id, planned_revision from sites"),
    sessions: await query(
      "select site_id, session_id, session, progress, ended_ms is not null as ended from sessions",
    ),
    series: await query("select site_id, series_key, series from series"),
  };
  await close();
  return kept as unknown as Kept;
}

type Rows = Record<string, unknown>[];

async function open(
  place: Place,
): Promise<{ query: (sql: string) => Promise<Rows>; close: () => Promise<void> }> {
  if ("folder" in place) {
    const file = new Sqlite(join(place.folder, "wattslot.db"));
    return {
      query: async (sql) => (file.prepare(sql).all([]) as Rows).map(readable),
      close: async () => {
        file.close();
      },
    };
  }
  const client = new pg.Client({ connectionString: place.url });
  await client.connect();
  return { query: async (sql) => (await client.query(sql)).rows.map(readable), close: () => client.end() };
}

/** Numbers as numbers and bytes as bytes, whichever engine they come from. */
function readable(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (value instanceof ArrayBuffer) return [name, new Uint8Array(value)];
      if (typeof value === "string" && /^(evse_id|seq|.*revision|.*_ms)$/.test(name))
        return [name, Number(value)];
      return [name, value];
    }),
  );
}

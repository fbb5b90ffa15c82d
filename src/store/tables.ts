/**
 * The tables, the same in SQLite and PostgreSQL. Instants are ms since 1970, messages are bytes that only their writer
 * can read. Every row belongs to a tenant.
 */
export interface Tables {
  tenants: TenantTable;
  sites: SiteTable;
  series: SeriesTable;
  sessions: SessionTable;
  evses: EvseTable;
  plans: PlanTable;
  commands: CommandTable;
}

interface TenantTable {
  tenant: string;
  /** Of the command released last: counted under this row's lock, so that a reader never sees a gap that fills later. */
  last_seq: number;
}

interface SiteTable {
  tenant: string;
  site_id: string;
  site: Uint8Array;
  settings: Uint8Array;
  /** Of the site and its settings as they were put. */
  etag: number;
  /** Counts up with every change that a plan must know of, and with every plan. */
  revision: number;
  /** Counts up with everything that makes it due, also with what a plan that is in the making may leave to the next. */
  changes: number;
  /** When it is to be planned; null: nothing is due. */
  due_ms: number | null;
  /** Until then somebody is planning it; 0: nobody is. */
  claimed_until_ms: number;
  /** What its revision was when somebody began to. */
  claimed_revision: number;
  /** Of the plan in force; 0: there is none. */
  planned_revision: number;
  planned_ms: number;
  plan_status: number;
  /** Failed attempts in a row, and what the last one failed of; empty where it did not. */
  attempts: number;
  failure: string;
}

interface SeriesTable {
  tenant: string;
  site_id: string;
  /** Which series: kind, circuit and phase. */
  series_key: string;
  series: Uint8Array;
}

interface SessionTable {
  tenant: string;
  site_id: string;
  session_id: string;
  station_id: string;
  evse_id: number;
  session: Uint8Array;
  /** What was measured, as JSON. */
  progress: string;
  put_ms: number;
  /** Null: it goes on. */
  ended_ms: number | null;
}

interface EvseTable {
  tenant: string;
  site_id: string;
  station_id: string;
  evse_id: number;
  /** What it last accepted: of which session, from the plan of which revision. */
  session_id: string;
  revision: number;
  installed: Uint8Array;
  command: Uint8Array;
  /** Until then nothing is sent to it; 0: it can be reached; -1: it is tried again. */
  unreachable_until_ms: number;
}

interface PlanTable {
  tenant: string;
  site_id: string;
  revision: number;
  planned_ms: number;
  plan: Uint8Array;
}

/**
 * held: waits for reductions to be accepted. released: may be sent. delivered: has been sent, and may be in force.
 * superseded: was not answered before a newer one was accepted.
 */
export type CommandState =
  | "held"
  | "released"
  | "delivered"
  | "accepted"
  | "rejected"
  | "no_answer"
  | "superseded";

interface CommandTable {
  tenant: string;
  command_id: string;
  site_id: string;
  station_id: string;
  evse_id: number;
  session_id: string;
  revision: number;
  wave: number;
  command: Uint8Array;
  /** What the charger then allows. */
  installed: Uint8Array;
  state: CommandState;
  /** Place in the tenant's outbox from its release on; null before. */
  seq: number | null;
  created_ms: number;
  delivered_ms: number | null;
  answered_ms: number | null;
  detail: string;
  /** To any number of watchers. */
  times_sent: number;
}

import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { chanceOf } from "../../src/planner/random.ts";
import type { Database } from "../../src/store/database.ts";
import type { CommandRow, EvseRow, SessionRow, SiteRow, Store } from "../../src/store/store.ts";
import {
  ANSWER_MS,
  answer,
  bytes,
  command,
  keyOf,
  onBothEngines,
  planOf,
  putSite,
  RETRY_MS,
  sessionRow,
  T,
} from "../support/stores.ts";

const STEPS = 300;
const TENANTS = ["t", "u"];
// The first is used twice as often.
const SITES = ["one", "one", "two"];
const STATIONS = ["A", "B", "C"];

interface Everything {
  tenants: { tenant: string; last_seq: number }[];
  sites: SiteRow[];
  series: { tenant: string; site_id: string }[];
  sessions: SessionRow[];
  evses: EvseRow[];
  plans: { tenant: string; site_id: string; revision: number }[];
  commands: CommandRow[];
}

const nameOf = ({ tenant, site_id }: { tenant: string; site_id: string }) => `${tenant}/${site_id}`;
const isOpen = ({ state }: CommandRow) => state === "released" || state === "delivered";
const inOutbox = (a: CommandRow, b: CommandRow) => a.seq! - b.seq!;

async function everything({ snapshot }: Database): Promise<Everything> {
  return snapshot(async (tx) => {
    // PostgreSQL gives them in any order.
    const idOf = (row: Record<string, unknown>) =>
      [row.tenant, row.site_id, row.command_id, row.session_id, row.series_key, row.station_id].join("|");
    const all = async (
      table: "tenants" | "sites" | "series" | "sessions" | "evses" | "plans" | "commands",
    ) => {
      const rows = await tx
        .selectFrom(table as "sites")
        .selectAll()
        .execute();
      return rows.sort((a, b) => (idOf({ ...a }) < idOf({ ...b }) ? -1 : 1));
    };
    return {
      tenants: await all("tenants"),
      sites: await all("sites"),
      series: await all("series"),
      sessions: await all("sessions"),
      evses: await all("evses"),
      plans: await all("plans"),
      commands: await all("commands"),
    } as unknown as Everything;
  });
}

/** What must hold at any time. */
function checkAlways(now: Everything) {
  for (const site of now.sites) {
    const isOfSite = (row: { tenant: string; site_id: string }) => nameOf(row) === nameOf(site);
    const plans = now.plans.filter(isOfSite);
    expect(plans.map(({ revision }) => revision)).toEqual(
      site.planned_revision === 0 ? [] : [site.planned_revision],
    );
    expect(site.planned_revision).toBeLessThanOrEqual(site.revision);
    expect(site.etag).toBeLessThanOrEqual(site.revision);
    const commands = now.commands.filter(isOfSite);
    for (const row of commands) {
      expect(row.seq === null).toBe(row.state === "held");
      if (row.state === "held" || row.state === "released") expect(row.revision).toBe(site.planned_revision);
      if (row.seq === null || row.wave === 0) continue;
      // An increase has only been released when the reductions before it were accepted.
      for (const before of commands.filter(
        ({ revision, wave }) => revision === row.revision && wave < row.wave,
      ))
        expect(before.state).toBe("accepted");
    }
    for (const station of STATIONS) {
      const inForce = commands
        .filter(
          (row) => row.station_id === station && (row.state === "delivered" || row.state === "accepted"),
        )
        .sort(inOutbox);
      for (let n = 1; n < inForce.length; n++)
        expect(inForce[n].revision).toBeGreaterThan(inForce[n - 1].revision);
      const held = now.evses.find((row) => isOfSite(row) && row.station_id === station)?.revision ?? 0;
      for (const row of inForce) if (row.state === "delivered") expect(row.revision).toBeGreaterThan(held);
    }
  }
  // Nothing belongs to a site that is not there.
  const names = new Set(now.sites.map(nameOf));
  for (const rows of [now.series, now.sessions, now.evses, now.plans, now.commands])
    for (const row of rows) expect(names).toContain(nameOf(row));
  for (const { tenant, last_seq } of now.tenants) {
    const seqs = now.commands.flatMap((row) => (row.tenant === tenant && row.seq !== null ? [row.seq] : []));
    expect(new Set(seqs).size).toBe(seqs.length);
    expect(Math.max(0, ...seqs)).toBeLessThanOrEqual(last_seq);
  }
}

/** What must hold from one instant to the next, where a tenant has done something; undefined: housekeeping. */
function checkStep(before: Everything, now: Everything, tenant: string | undefined) {
  for (const site of now.sites) {
    const was = before.sites.find((row) => nameOf(row) === nameOf(site));
    if (was === undefined) continue;
    expect(site.revision).toBeGreaterThanOrEqual(was.revision);
    // One plan for a revision.
    if (site.planned_revision !== was.planned_revision)
      expect(site.planned_revision).toBeGreaterThan(was.revision);
  }
  for (const row of now.commands) {
    const was = before.commands.find(
      ({ tenant, command_id }) => tenant === row.tenant && command_id === row.command_id,
    );
    if (was?.state === "accepted") expect(row.state).toBe("accepted");
    if (row.seq === null || was?.seq === row.seq) continue;
    // A reader that has come that far does not miss it.
    expect(was?.seq ?? null).toBeNull();
    const reached = before.tenants.find((one) => one.tenant === row.tenant)?.last_seq ?? 0;
    expect(row.seq).toBeGreaterThan(reached);
  }
  if (tenant === undefined) return;
  const others = (all: Everything) =>
    Object.values(all).map((rows: { tenant: string }[]) => rows.filter((row) => row.tenant !== tenant));
  // A difference is explained slowly, and there is none.
  if (!isDeepStrictEqual(others(now), others(before))) expect(others(now)).toEqual(others(before));
}

await onBothEngines((bench) => {
  describe("whatever happens in whatever order", () => {
    it.each([1, 2])(
      "what must hold holds, and tenants have nothing to do with each other (seed %i)",
      async (seed) => {
        const place = await bench.place();
        const [store, other, raw] = [
          await bench.open(place),
          await bench.open(place),
          await bench.raw(place),
        ];
        const { uniform } = chanceOf(seed);
        const below = (n: number) => Math.floor(uniform() * n);
        const one = <T>(items: readonly T[]): T => items[below(items.length)];
        let nowMs = T;
        let now = await everything(raw);
        const done = new Map<string, number>();
        const states = new Set<string>();

        const steps: Record<string, (store: Store, tenant: string) => Promise<unknown>> = {
          put: (store, tenant) => putSite(store, keyOf(one(SITES), tenant), nowMs, one(["x", "y"])),
          delete: async (store, tenant) => {
            if (uniform() < 0.15) await store.deleteSite(keyOf(one(SITES), tenant), undefined);
          },
          session: (store, tenant) =>
            store.changeSession(
              keyOf(one(SITES), tenant),
              one(["a", "b", "c"]),
              (kept) => {
                expect(kept?.tenant ?? tenant).toBe(tenant);
                const ended_ms = uniform() < 0.3 ? nowMs : null;
                return {
                  row: { ...sessionRow(one(STATIONS)), ended_ms },
                  isDue: uniform() < 0.7,
                  value: undefined,
                };
              },
              nowMs,
            ),
          series: (store, tenant) =>
            store.putSeries(
              keyOf(one(SITES), tenant),
              one(["pv", "load"]),
              () => bytes(`${below(3)}`),
              nowMs,
            ),
          plan: async (store, tenant) => {
            const key = keyOf(one(SITES), tenant);
            const inputs = await store.inputsOf(key);
            expect(
              [...inputs.sessions, ...inputs.evses, ...inputs.unsure].every((row) => row.tenant === tenant),
            ).toBe(true);
            const isStale = uniform() < 0.2;
            if (isStale) await putSite(store, key, nowMs, `${nowMs}`);
            const commands = STATIONS.filter(() => uniform() < 0.7).map((id) =>
              command(id, one([0, 0, 1, 2])),
            );
            const saved = await store.savePlan(key, inputs.site, planOf(commands), nowMs);
            expect(saved).toBe(isStale ? undefined : inputs.site.revision + 1);
          },
          take: async (store, tenant) => {
            const { last_seq } = now.tenants.find((row) => row.tenant === tenant) ?? { last_seq: 0 };
            const after = uniform() < 0.5 ? 0 : below(last_seq + 1);
            const siteIds = uniform() < 0.2 ? [one(SITES)] : [];
            const limit = one([2, 100]);
            const expected = now.commands
              .filter((row) => row.tenant === tenant && isOpen(row) && row.seq! > after)
              .filter(({ site_id }) => siteIds.length === 0 || siteIds.includes(site_id))
              .sort(inOutbox)
              .slice(0, limit);
            const taken = await store.takeCommands(tenant, after, { siteIds, limit }, nowMs);
            const isAll = expected.length < limit;
            const newest = expected.at(-1)?.seq ?? after;
            expect(taken).toMatchObject({ isAll, place: isAll ? Math.max(after, last_seq) : newest });
            expect(taken.commands.map(({ seq, command_id }) => [seq, command_id])).toEqual(
              expected.map(({ seq, command_id }) => [seq, command_id]),
            );
          },
          answer: async (store, tenant) => {
            const sent = now.commands.filter((row) => row.tenant === tenant && row.delivered_ms !== null);
            const waiting = sent.filter(({ state }) => state === "delivered");
            const some = waiting.length > 0 && uniform() < 0.7 ? waiting : sent;
            const how = one(["accepted", "accepted", "rejected", "no_answer"] as const);
            if (some.length > 0) await answer(store, one(some), how, nowMs);
          },
          claim: async (store) => {
            for (const { tenant, siteId } of await store.claimDue(nowMs, 2)) {
              const key = { tenant, siteId };
              expect(await store.claim(key, nowMs)).toBe(false);
              await (uniform() < 0.5 ? store.unclaim(key, nowMs) : store.failPlan(key, "failure", nowMs));
            }
          },
          expire: async (store) => uniform() < 0.3 && store.expireCommands(nowMs),
          retry: (store) => store.retryChargers(nowMs),
          prune: (store) => store.prune(nowMs - 10 * RETRY_MS, 1 + below(5)),
          stale: (store) => store.makeStaleDue(nowMs - RETRY_MS, nowMs),
        };
        const isOfAll = new Set(["claim", "expire", "retry", "prune", "stale"]);
        // What matters most happens most.
        const names = [
          ...Object.keys(steps),
          "plan",
          "plan",
          "take",
          "take",
          "take",
          "answer",
          "answer",
          "answer",
          "put",
        ];

        for (let step = 0; step < STEPS; step++) {
          nowMs += one([0, 1, 10, 50, 50, ANSWER_MS, RETRY_MS]);
          const name = one(names);
          const tenant = one(TENANTS);
          let outcome = name;
          try {
            await steps[name](one([store, other]), tenant);
          } catch (error) {
            expect(error, `step ${step}: ${name}`).toMatchObject({ code: "NOT_FOUND" });
            outcome = "not found";
          }
          done.set(outcome, (done.get(outcome) ?? 0) + 1);
          const before = now;
          now = await everything(raw);
          for (const { state } of now.commands) states.add(state);
          try {
            checkAlways(now);
            checkStep(before, now, isOfAll.has(name) ? undefined : tenant);
          } catch (error) {
            throw new Error(`after step ${step}: ${name} of ${tenant}`, { cause: error });
          }
        }
        // It went where it was to go.
        expect([...done.keys()].sort()).toEqual([...Object.keys(steps), "not found"].sort());
        // All but superseded, which takes an older command that is still to be answered.
        expect(states.size).toBeGreaterThanOrEqual(6);
      },
    );
  });
});

import { describe, expect, it } from "vitest";
import type { NewCommand, SessionRow, SiteKey, Store } from "../../src/store/store.ts";
import {
  ANSWER_MS,
  answer,
  bytes,
  command,
  DEBOUNCE_MS,
  keyOf,
  onBothEngines,
  plan,
  planOf,
  putSession,
  putSite,
  RETRY_MS,
  rejection,
  sessionRow,
  T,
  take,
  textOf,
} from "../support/stores.ts";

const KEY = keyOf("site");
const MINUTE = 60_000;
const YEAR = 365 * 24 * 60 * MINUTE;

const dueOf = async (store: Store, key = KEY) => (await store.getSite(key)).due_ms;
const stationsOf = (rows: { station_id: string }[]) => rows.map(({ station_id }) => station_id);

await onBothEngines((bench) => {
  async function withSite(key = KEY): Promise<Store> {
    const store = await bench.open();
    await putSite(store, key);
    return store;
  }

  describe("sites", () => {
    it("are kept as they are put, bytes as bytes", async () => {
      const store = await bench.open();
      const site = Uint8Array.from({ length: 256 }, (_, n) => n);
      const etag = await store.putSite(KEY, { site, settings: new Uint8Array() }, T);
      const row = await store.getSite(KEY);
      expect(row).toMatchObject({
        tenant: "t",
        site_id: "site",
        etag,
        planned_revision: 0,
        due_ms: T + DEBOUNCE_MS,
      });
      expect([...row.site]).toEqual([...site]);
      expect(row.settings).toHaveLength(0);
      expect(row.site).toBeInstanceOf(Uint8Array);
    });

    it("change only by the etag that is kept, where one is given", async () => {
      const store = await bench.open();
      const put = (site: string, etag?: number) =>
        store.putSite(
          KEY,
          { site: bytes(site), settings: bytes(""), ...(etag === undefined ? {} : { etag }) },
          T,
        );
      await rejection(put("first", 1), "ABORTED");
      const first = await put("first");
      const second = await put("second", first);
      expect(second).toBeGreaterThan(first);
      await rejection(put("third", first), "ABORTED");
      expect(textOf((await store.getSite(KEY)).site)).toBe("second");
      await rejection(store.deleteSite(KEY, first), "ABORTED");
      const third = await put("third");
      expect(third).toBeGreaterThan(second);
      await store.deleteSite(KEY, third);
      await rejection(put("fourth", third), "ABORTED");
    });

    it("put once more are the same", async () => {
      const store = await bench.open();
      const first = await putSite(store, KEY, T, "one");
      const second = await store.putSite(
        KEY,
        { site: bytes("two"), settings: bytes(""), etag: first },
        T + 1,
      );
      await plan(store, KEY);
      const before = await store.getSite(KEY);
      // As a caller does whose answer was lost.
      const again = await store.putSite(KEY, { site: bytes("two"), settings: bytes(""), etag: first }, T + 2);
      expect(again).toBe(second);
      expect(await store.getSite(KEY)).toEqual(before);
    });

    it("put by many for the first time are one", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3].map(() => bench.open(place)));
      for (let round = 0; round < 5; round++) {
        const key = keyOf(`round-${round}`, `tenant-${round}`);
        const etags = await Promise.all(
          stores.flatMap((store, n) => [
            putSite(store, key, T, `put ${n}`),
            putSite(store, keyOf("other", key.tenant), T, `${n}`),
          ]),
        );
        const { etag } = await stores[0].getSite(key);
        expect(etags.filter((_, n) => n % 2 === 0)).toContain(etag);
      }
    });

    it("have an etag that no two puts share", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3].map(() => bench.open(place)));
      const puts = await Promise.all(
        Array.from({ length: 12 }, (_, n) => putSite(stores[n % 3], KEY, T, `put ${n}`)),
      );
      expect(new Set(puts).size).toBe(12);
    });

    it("are not found where they are not kept, by any method", async () => {
      const store = await withSite(keyOf("site", "other"));
      const calls: (() => Promise<unknown>)[] = [
        () => store.getSite(KEY),
        () => store.deleteSite(KEY, undefined),
        () => store.inputsOf(KEY),
        () => store.planOf(KEY),
        () => store.claim(KEY, T),
        () => store.failPlan(KEY, "failure", T),
        () => store.putSeries(KEY, "pv", () => bytes("x"), T),
        () => putSession(store, KEY, "a"),
      ];
      for (const call of calls) expect((await rejection(call(), "NOT_FOUND")).message).toContain('"site"');
      expect(await store.savePlan(KEY, { revision: T, changes: 0 }, planOf(), T)).toBeUndefined();
      for (const id of ["", "/", "site/1/0", "site", "x/y/z/1/2"])
        expect(
          (await rejection(answer(store, { tenant: "t", command_id: id }, "accepted"), "NOT_FOUND")).message,
        ).toContain(`command ${JSON.stringify(id)}`);
    });

    it("that are deleted take all that belongs to them along, and nothing else", async () => {
      const store = await withSite();
      await putSite(store, keyOf("stays"));
      for (const key of [KEY, keyOf("stays")]) {
        await putSession(store, key, "a");
        await store.putSeries(key, "pv", () => bytes("x"), T);
        await plan(store, key, [command("A")]);
      }
      const sent = await take(store);
      await answer(store, sent[0], "accepted");
      await store.deleteSite(KEY, undefined);
      expect((await take(store)).map(({ site_id }) => site_id)).toEqual(["stays"]);
      await rejection(answer(store, sent[0], "accepted"), "NOT_FOUND");
      await putSite(store, KEY, T + 1000);
      const fresh = await store.inputsOf(KEY);
      expect(fresh).toMatchObject({ series: [], sessions: [], evses: [], unsure: [] });
      expect(await store.planOf(KEY)).toEqual({ site: fresh.site });
      expect((await store.inputsOf(keyOf("stays"))).sessions).toHaveLength(1);
    });

    it("are listed in pages without gaps or repeats while others are added", async () => {
      const store = await bench.open();
      // In the order of a dictionary they would come otherwise.
      const ids = ["10", "9", "B", "Z1", "a", "b c", "site-1", "site-10", "site-2", "site.1", "ä", "é", "€"];
      for (const id of [...ids].reverse()) await putSite(store, keyOf(id));
      await putSite(store, keyOf("c", "other"));
      const seen: string[] = [];
      for (let after = "", page = 0; ; page++) {
        const rows = await store.listSites("t", after, 3);
        seen.push(...rows.map(({ site_id }) => site_id));
        if (rows.length < 3) break;
        after = rows[2].site_id;
        for (const added of ["A", "c", "zz"]) await putSite(store, keyOf(`${added}${page}`));
      }
      expect(seen.filter((id) => ids.includes(id))).toEqual(ids);
      expect(seen).toEqual([...new Set(seen)].sort());
      const stale: string[] = [];
      for (let page = [""]; page.length > 0; stale.push(...page))
        page = await store.staleSites("t", T, stale.at(-1) ?? "", 2);
      expect(stale).toEqual((await store.listSites("t", "", 1000)).map(({ site_id }) => site_id));
    });

    it("are listed with how many vehicles and open commands they have", async () => {
      const store = await withSite();
      for (const id of ["a", "b", "c"]) await putSession(store, KEY, id);
      const ended = { row: { ...sessionRow("A"), ended_ms: T }, isDue: true, value: undefined };
      await store.changeSession(KEY, "c", () => ended, T);
      await plan(store, KEY, [command("A"), command("B"), command("C", 1)]);
      await answer(store, (await take(store))[0], "accepted");
      expect(await store.listSites("t", "", 10)).toMatchObject([{ session_count: 2, open_count: 2 }]);
    });
  });

  describe("changes", () => {
    it("make a site due after a moment, and one that waits is not put off by later ones", async () => {
      const store = await withSite();
      await plan(store, KEY);
      expect(await dueOf(store)).toBeNull();
      await putSession(store, KEY, "a", T + 1000);
      expect(await dueOf(store)).toBe(T + 1000 + DEBOUNCE_MS);
      await store.putSeries(KEY, "pv", () => bytes("x"), T + 1050);
      await putSite(store, KEY, T + 1060, "other");
      await putSession(store, KEY, "b", T + 1070);
      expect(await dueOf(store)).toBe(T + 1000 + DEBOUNCE_MS);
      // A clock that is behind.
      await putSession(store, KEY, "c", T);
      expect(await dueOf(store)).toBe(T + DEBOUNCE_MS);
    });

    it("to a session see what is kept, answer with a value, and leave it where they say so", async () => {
      const store = await withSite();
      const update = (row: SessionRow | undefined) => ({ isDue: false, value: row?.progress ?? "none" });
      expect(await store.changeSession(KEY, "a", update, T)).toBe("none");
      expect((await store.inputsOf(KEY)).sessions).toEqual([]);
      await store.changeSession(KEY, "a", () => ({ row: sessionRow("A", "1"), isDue: true, value: "" }), T);
      const add = (kept: SessionRow | undefined) => ({
        row: sessionRow("A", `${Number(kept?.progress) + 1}`),
        isDue: false,
        value: kept?.progress,
      });
      expect(await store.changeSession(KEY, "a", add, T)).toBe("1");
      expect(await store.changeSession(KEY, "a", update, T)).toBe("2");
    });

    it("that fail leave everything as it was", async () => {
      const store = await withSite();
      const before = await store.inputsOf(KEY);
      const wrong = new Error("of the caller");
      const fail = () => {
        throw wrong;
      };
      await expect(store.changeSession(KEY, "a", fail, T)).rejects.toBe(wrong);
      await expect(store.putSeries(KEY, "pv", fail, T)).rejects.toBe(wrong);
      expect(await store.inputsOf(KEY)).toEqual(before);
    });

    it("that a plan need not know of do not stop it", async () => {
      const store = await withSite();
      await putSession(store, KEY, "a");
      const { site } = await store.inputsOf(KEY);
      const measured = { row: sessionRow("A", "12"), isDue: false, value: undefined };
      await store.changeSession(KEY, "a", () => measured, T);
      await store.putSeries(KEY, "pv", () => bytes("x"), T);
      expect(await store.savePlan(KEY, site, planOf(), T)).toBeUndefined();
      const { site: later } = await store.inputsOf(KEY);
      await store.changeSession(KEY, "a", () => measured, T);
      await store.putSeries(KEY, "pv", () => bytes("x"), T);
      expect(await store.savePlan(KEY, later, planOf(), T)).toBe(later.revision + 1);
    });

    it("that a plan may leave to the next one do not stop it, and the site stays due", async () => {
      const store = await withSite();
      await putSession(store, KEY, "a");
      const { site } = await store.inputsOf(KEY);
      const row = sessionRow("A", "measured");
      await store.changeSession(
        KEY,
        "a",
        () => ({ row, isDue: true, isNews: false, value: undefined }),
        T + 7,
      );
      expect(await store.savePlan(KEY, site, planOf(), T + 150)).toBe(site.revision + 1);
      // Behind what waits already.
      expect(await dueOf(store)).toBe(T + 150 + DEBOUNCE_MS);
      const later = await store.getSite(KEY);
      expect(await store.savePlan(KEY, later, planOf(), T + 20)).toBe(later.revision + 1);
      expect(await dueOf(store)).toBeNull();
      const last = await store.getSite(KEY);
      await store.savePlan(KEY, last, { ...planOf(), dueMs: T + MINUTE }, T + 30);
      expect(await dueOf(store)).toBe(T + MINUTE);
    });

    it("of a site or a series take back increases that nobody was told of", async () => {
      const store = await withSite();
      const both = [command("A", 1), command("B", 2)];
      for (const change of [
        () => putSite(store, KEY, T, `${Math.random()}`),
        () => store.putSeries(KEY, "limit", () => bytes("lower"), T),
      ]) {
        await plan(store, KEY, both);
        const [a] = await take(store);
        expect(a.station_id).toBe("A");
        await change();
        await answer(store, a, "accepted");
        expect(stationsOf(await take(store))).toEqual([]);
      }
      // What is put as it was changes nothing.
      await plan(store, KEY, both);
      const [a] = await take(store);
      await store.putSeries(KEY, "limit", () => bytes("lower"), T);
      await answer(store, a, "accepted");
      expect(stationsOf(await take(store))).toEqual(["B"]);
    });

    it("by many at the same time are all kept", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3].map(() => bench.open(place)));
      await putSite(stores[0], KEY);
      const text = (kept: Uint8Array | undefined) => (kept === undefined ? "" : textOf(kept));
      await Promise.all(
        Array.from({ length: 30 }, (_, n) =>
          stores[n % 3].putSeries(KEY, "pv", (kept) => bytes(`${text(kept)}${n},`), T),
        ),
      );
      const [{ series }] = (await stores[0].inputsOf(KEY)).series;
      expect(new Set(textOf(series).split(",").slice(0, -1).map(Number)).size).toBe(30);
    });
  });

  describe("claims", () => {
    it("go to one planner each, the longest due first", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3].map(() => bench.open(place)));
      for (let n = 0; n < 20; n++) await putSite(stores[0], keyOf(`s${n}`), T + n);
      expect(await stores[0].claimDue(T + DEBOUNCE_MS - 1, 10)).toEqual([]);
      expect(await stores[0].claimDue(T + DEBOUNCE_MS, 10)).toEqual([keyOf("s0")]);
      const claimed = await Promise.all(
        Array.from({ length: 9 }, (_, n) => stores[n % 3].claimDue(T + MINUTE / 4, 3)),
      );
      const ids = claimed.flat().map(({ siteId }) => siteId);
      expect(claimed.every(({ length }) => length <= 3)).toBe(true);
      expect(new Set(ids).size).toBe(ids.length);
      const rest = await stores[0].claimDue(T + MINUTE / 4, 30);
      expect([...ids, ...rest.map(({ siteId }) => siteId)].sort()).toEqual(
        Array.from({ length: 19 }, (_, n) => `s${n + 1}`).sort(),
      );
    });

    it("of a planner that died lapse", async () => {
      const store = await withSite();
      expect(await store.claimDue(T + 1000, 1)).toEqual([KEY]);
      expect(await store.claimDue(T + 2000, 1)).toEqual([]);
      expect(await store.claim(KEY, T + 2000)).toBe(false);
      expect(await store.claimDue(T + MINUTE, 1)).toEqual([KEY]);
      expect(await store.claim(KEY, T + 2 * MINUTE)).toBe(true);
    });

    it("are let go where they may be of planners that died", async () => {
      const store = await withSite();
      await putSite(store, keyOf("other"));
      expect(await store.claimDue(T + 1000, 9)).toHaveLength(2);
      await store.unclaimAll();
      expect(await store.claimDue(T + 1000, 9)).toHaveLength(2);
    });

    it("can be had of a site that is not due, by one", async () => {
      const store = await withSite();
      await plan(store, KEY);
      const all = await Promise.all([1, 2, 3].map(() => store.claim(KEY, T)));
      expect(all.filter(Boolean)).toHaveLength(1);
      await store.unclaim(KEY, T);
      expect(await store.claim(KEY, T)).toBe(true);
    });

    it("let go leave the site due, with a plan it is not", async () => {
      const store = await withSite();
      await store.claimDue(T + 1000, 1);
      await store.unclaim(KEY, T + 2000);
      expect(await store.claimDue(T + 1999, 1)).toEqual([]);
      expect(await store.claimDue(T + 2000, 1)).toEqual([KEY]);
      await plan(store, KEY);
      expect(await store.claimDue(T + MINUTE, 1)).toEqual([]);
      expect(await store.claim(KEY, T + 1000)).toBe(true);
    });

    it("that fail wait longer each time, but not with what has changed since", async () => {
      const store = await withSite();
      let nowMs = T + 1000;
      const waits: number[] = [];
      for (let n = 0; n < 12; n++) {
        expect(await store.claimDue(nowMs, 1)).toEqual([KEY]);
        await store.failPlan(KEY, `failure ${n}`, nowMs);
        const { due_ms, attempts, failure } = await store.getSite(KEY);
        expect({ attempts, failure }).toEqual({ attempts: n + 1, failure: `failure ${n}` });
        waits.push(due_ms! - nowMs);
        expect(await store.claimDue(due_ms! - 1, 1)).toEqual([]);
        nowMs = due_ms!;
      }
      expect(waits).toEqual([...waits].sort((a, b) => a - b));
      expect(waits.at(0)).toBe(1000);
      expect(waits.at(-1)).toBe(15 * MINUTE);
      await store.claimDue(nowMs, 1);
      await putSession(store, KEY, "mended", nowMs + 10);
      await store.failPlan(KEY, "of what was before", nowMs + 20);
      expect(await dueOf(store)).toBeLessThanOrEqual(nowMs + 20 + DEBOUNCE_MS);
      // And a change while it waits.
      await store.claimDue(nowMs + MINUTE, 1);
      await store.failPlan(KEY, "again", nowMs + MINUTE);
      await putSession(store, KEY, "mended too", nowMs + MINUTE + 10);
      expect(await dueOf(store)).toBe(nowMs + MINUTE + 10 + DEBOUNCE_MS);
      await plan(store, KEY);
      expect(await store.getSite(KEY)).toMatchObject({ attempts: 0, failure: "", due_ms: null });
    });
  });

  describe("plans", () => {
    it("are kept with their revision, and only the newest", async () => {
      const store = await withSite();
      expect(await store.planOf(KEY)).toEqual({ site: await store.getSite(KEY) });
      const first = await plan(store, KEY, [], T + 5);
      const { site, plan: kept } = await store.planOf(KEY);
      expect(site).toMatchObject({
        planned_revision: first,
        revision: first,
        planned_ms: T + 5,
        plan_status: 1,
      });
      expect(textOf(kept!.plan)).toBe("plan");
      const second = await plan(store, KEY, [], T + 6);
      expect(second).toBeGreaterThan(first);
      expect((await store.planOf(KEY)).plan).toMatchObject({ revision: second });
      expect(await store.staleSites("t", T + 5, "", 10)).toEqual([]);
      expect(await store.staleSites("t", T + 6, "", 10)).toEqual(["site"]);
    });

    it("are not kept where anything has changed since what they were made of", async () => {
      const store = await withSite();
      await putSession(store, KEY, "a");
      await plan(store, KEY, [command("A"), command("B")]);
      const { commands } = await store.takeCommands("t", 0, { siteIds: [], limit: 1 }, T);
      const [a] = commands;
      const changes: [string, () => Promise<unknown>][] = [
        ["the site", () => putSite(store, KEY, T, "another")],
        ["a session", () => putSession(store, KEY, "b")],
        ["a series", () => store.putSeries(KEY, "pv", () => bytes("x"), T)],
        ["a plan that leaves something to send", () => plan(store, KEY, [command("B")])],
        ["a command is sent", () => take(store, 1)],
        ["a command is answered", () => answer(store, a, "rejected")],
        ["a charger can be tried again", () => store.retryChargers(T + RETRY_MS)],
        ["a command is not answered", () => store.expireCommands(T + ANSWER_MS)],
        ["another plan", () => plan(store, KEY)],
        ["it was deleted", () => store.deleteSite(KEY, undefined).then(() => putSite(store, KEY, T + YEAR))],
      ];
      for (const [what, change] of changes) {
        const { site } = await store.inputsOf(KEY);
        await change();
        const all = async () => ({
          ...(await store.planOf(KEY)),
          ...(await store.inputsOf(KEY)),
          listed: await store.listSites("t", "", 10),
        });
        const before = await all();
        const saved = await store.savePlan(KEY, site, planOf([command("C")], "stale"), T);
        expect(saved, what).toBeUndefined();
        expect(await all(), what).toEqual(before);
      }
    });

    it("are one for a revision, however many make one", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3].map(() => bench.open(place)));
      await putSite(stores[0], KEY);
      for (let round = 0; round < 10; round++) {
        const { site } = await stores[0].inputsOf(KEY);
        const saved = await Promise.all(
          stores.map((store, n) => store.savePlan(KEY, site, planOf([command(`S${n}`)], `${n}`), T)),
        );
        const winners = saved.flatMap((revision, n) => (revision === undefined ? [] : [n]));
        expect(winners).toHaveLength(1);
        expect(textOf((await stores[0].planOf(KEY)).plan!.plan)).toBe(`${winners[0]}`);
        expect(stationsOf(await take(stores[0])).at(-1)).toBe(`S${winners[0]}`);
      }
    });

    it("with more commands than a statement takes are kept whole", async () => {
      const store = await withSite();
      const stations = Array.from({ length: 2500 }, (_, n) => `S${n}`);
      await plan(
        store,
        KEY,
        stations.map((id) => command(id)),
      );
      const seen: string[] = [];
      for (let after = 0; seen.length < 2500; after = seen.length) {
        const rows = await take(store, after);
        expect(rows.map(({ seq }) => seq)).toEqual(rows.map((_, n) => after + n + 1));
        seen.push(...stationsOf(rows));
      }
      expect(seen).toEqual(stations);
    });

    it("with two commands of a wave for an EVSE are refused whole, and the reason is kept", async () => {
      const store = await withSite();
      const before = await store.inputsOf(KEY);
      const error = await rejection(plan(store, KEY, [command("A"), command("A")]), "INTERNAL");
      expect(error.cause).toMatchObject({ code: expect.stringMatching(/^(23505|SQLITE_CONSTRAINT)/) });
      expect(await store.inputsOf(KEY)).toEqual(before);
      expect(await store.planOf(KEY)).toEqual({ site: before.site });
    });
  });

  describe("waves", () => {
    const waves: NewCommand[] = [command("A", 1), command("B", 1), command("C", 2), command("D", 5)];

    it("follow when all of the one before are accepted", async () => {
      const store = await withSite();
      await plan(store, KEY, waves);
      const first = await take(store);
      expect(stationsOf(first)).toEqual(["A", "B"]);
      await answer(store, first[1], "accepted");
      expect(stationsOf(await take(store))).toEqual(["A"]);
      await answer(store, first[0], "accepted");
      const second = await take(store);
      expect(stationsOf(second)).toEqual(["C"]);
      expect(second[0].seq).toBe(3);
      expect(await dueOf(store)).toBeNull();
      await answer(store, second[0], "accepted");
      const third = await take(store);
      expect(stationsOf(third)).toEqual(["D"]);
      await answer(store, third[0], "accepted");
      expect(await take(store)).toEqual([]);
      expect(await dueOf(store)).toBeNull();
    });

    for (const how of ["rejected", "no_answer"] as const)
      it(`do not follow where one is ${how}; its charger is tried again after a while`, async () => {
        const store = await withSite();
        await plan(store, KEY, waves);
        const [a, b] = await take(store);
        await answer(store, a, how, T + 10);
        await answer(store, b, "accepted", T + 20);
        expect(await take(store)).toEqual([]);
        expect(await dueOf(store)).toBe(T + 10 + DEBOUNCE_MS);
        expect((await store.inputsOf(KEY)).evses).toMatchObject([
          { station_id: "A", session_id: "", revision: 0, unreachable_until_ms: T + 10 + RETRY_MS },
          { station_id: "B", session_id: "of-B", unreachable_until_ms: 0 },
        ]);
        await plan(store, KEY, [], T + 200);
        await store.retryChargers(T + 9 + RETRY_MS);
        expect(await dueOf(store)).toBeNull();
        const nowMs = T + 10 + RETRY_MS;
        await store.retryChargers(nowMs);
        expect(await dueOf(store)).toBe(nowMs + DEBOUNCE_MS);
        expect((await store.inputsOf(KEY)).evses[0].unreachable_until_ms).toBe(-1);
        await plan(store, KEY, [], nowMs);
        await store.retryChargers(nowMs + YEAR);
        expect(await dueOf(store)).toBeNull();
      });

    it("do not follow what is forgotten", async () => {
      const store = await withSite();
      await plan(store, KEY, waves);
      const [a, b] = await take(store);
      await answer(store, a, "rejected", T);
      await store.prune(T + YEAR, 1000);
      await answer(store, b, "accepted", T + YEAR);
      expect(await take(store)).toEqual([]);
    });

    it("do not follow where a newer plan is in force", async () => {
      const store = await withSite();
      await plan(store, KEY, waves);
      const [a, b] = await take(store);
      await answer(store, a, "accepted");
      await plan(store, KEY, [command("D")]);
      await answer(store, b, "accepted");
      expect(stationsOf(await take(store))).toEqual(["D"]);
      expect(await dueOf(store)).not.toBeNull();
    });

    it("of a new vehicle reach a charger that did not answer at once", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B")]);
      for (const row of await take(store)) await answer(store, row, "no_answer");
      await putSession(store, KEY, "new", T + 1, "A");
      const unreachable = (await store.inputsOf(KEY)).evses.map((evse) => evse.unreachable_until_ms);
      expect(unreachable).toEqual([0, T + RETRY_MS]);
      await putSession(store, KEY, "new", T + 2, "B");
      expect((await store.inputsOf(KEY)).evses[1].unreachable_until_ms).toBe(T + RETRY_MS);
    });
  });

  describe("answers", () => {
    it("that are repeated are the same as once", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B"), command("C", 1)]);
      const [a, b] = await take(store);
      await answer(store, a, "accepted", T + 1);
      await answer(store, b, "rejected", T + 1);
      const before = { ...(await store.inputsOf(KEY)), ...(await store.planOf(KEY)) };
      await answer(store, a, "accepted", T + YEAR);
      await answer(store, a, "rejected", T + YEAR);
      await answer(store, a, "no_answer", T + YEAR);
      await answer(store, b, "rejected", T + YEAR);
      await answer(store, b, "no_answer", T + YEAR);
      expect({ ...(await store.inputsOf(KEY)), ...(await store.planOf(KEY)) }).toEqual(before);
    });

    it("that say nothing leave it open what a charger holds, until it accepts something", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B")]);
      const [a, b] = await take(store);
      await answer(store, a, "no_answer");
      await answer(store, b, "rejected");
      expect(stationsOf((await store.inputsOf(KEY)).unsure)).toEqual(["A"]);
      await plan(store, KEY, [command("A")]);
      const [again] = await take(store);
      expect(stationsOf((await store.inputsOf(KEY)).unsure)).toEqual(["A", "A"]);
      await answer(store, again, "accepted");
      expect((await store.inputsOf(KEY)).unsure).toEqual([]);
    });

    it("that refuse what was sent twice may follow one that accepted it", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A")]);
      await take(store);
      const [a] = await take(store);
      await answer(store, a, "rejected");
      expect((await store.inputsOf(KEY)).unsure).toMatchObject([{ state: "no_answer", times_sent: 2 }]);
      await answer(store, a, "accepted");
      expect((await store.inputsOf(KEY)).evses).toMatchObject([{ session_id: "of-A" }]);
    });

    it("that refuse what was for a vehicle that has left do not keep its charger from the next one", async () => {
      const store = await withSite();
      await putSession(store, KEY, "of-A", T, "A");
      await plan(store, KEY, [command("A")]);
      const [a] = await take(store);
      await store.changeSession(
        KEY,
        "of-A",
        () => ({ row: { ...sessionRow("A"), ended_ms: T + 1 }, isDue: true, value: undefined }),
        T + 1,
      );
      await answer(store, a, "rejected", T + 2);
      expect((await store.inputsOf(KEY)).evses).toEqual([]);
    });

    it("that come late count, and plan the site anew", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B", 1)]);
      const [a] = await take(store, 0, T);
      expect(await store.expireCommands(T + ANSWER_MS - 1)).toBe(0);
      expect(await store.expireCommands(T + ANSWER_MS)).toBe(1);
      expect(await store.expireCommands(T + ANSWER_MS)).toBe(0);
      expect(await take(store)).toEqual([]);
      expect((await store.inputsOf(KEY)).evses).toMatchObject([
        { revision: 0, unreachable_until_ms: T + ANSWER_MS + RETRY_MS },
      ]);
      await answer(store, a, "accepted", T + 2000);
      expect((await store.inputsOf(KEY)).evses).toMatchObject([
        { revision: a.revision, session_id: "of-A", unreachable_until_ms: 0 },
      ]);
      expect(stationsOf(await take(store))).toEqual(["B"]);
      expect(await dueOf(store)).not.toBeNull();
    });

    it("to what was never sent are not found", async () => {
      const store = await withSite();
      const revision = await plan(store, KEY, [command("A"), command("B", 1)]);
      for (const n of [0, 1, 2])
        await rejection(
          answer(store, { tenant: "t", command_id: `site/${revision}/${n}` }, "accepted"),
          "NOT_FOUND",
        );
      await plan(store, KEY, []);
      await rejection(
        answer(store, { tenant: "t", command_id: `site/${revision}/0` }, "accepted"),
        "NOT_FOUND",
      );
      expect((await store.inputsOf(KEY)).evses).toEqual([]);
    });

    it("to an older command do not take back what a charger has accepted since", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B"), command("C")]);
      const old = await take(store);
      const revision = await plan(store, KEY, [command("A"), command("B"), command("C")]);
      const fresh = (await take(store)).slice(3);
      expect((await store.inputsOf(KEY)).unsure).toHaveLength(6);
      for (const row of fresh) await answer(store, row, "accepted");
      const before = await store.inputsOf(KEY);
      expect(before.unsure).toEqual([]);
      expect(before.evses.map((evse) => evse.revision)).toEqual([revision, revision, revision]);
      expect(await dueOf(store)).toBeNull();
      await answer(store, old[0], "rejected");
      await answer(store, old[1], "no_answer");
      expect(await dueOf(store)).toBeNull();
      await answer(store, old[2], "accepted");
      expect(await dueOf(store)).not.toBeNull();
      expect((await store.inputsOf(KEY)).evses).toEqual(before.evses);
      // Nor is it sent again to who asks anew.
      expect(await take(store)).toEqual([]);
    });
  });

  describe("the outbox", () => {
    it("gives what is not answered, again and again, and only that", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B"), command("C")]);
      const rows = await take(store, 0, T + 1);
      expect(rows).toMatchObject([
        { tenant: "t", site_id: "site", station_id: "A", evse_id: 1, session_id: "of-A", seq: 1 },
        { station_id: "B", seq: 2 },
        { station_id: "C", seq: 3 },
      ]);
      expect(textOf(rows[0].command)).toBe("command A");
      expect(stationsOf(await take(store, 0, T + 2))).toEqual(["A", "B", "C"]);
      expect(stationsOf(await take(store, 2))).toEqual(["C"]);
      expect(await take(store, 3)).toEqual([]);
      await answer(store, rows[1], "rejected");
      expect(stationsOf(await take(store))).toEqual(["A", "C"]);
      // Sent for the first time at T + 1.
      expect(await store.expireCommands(T + 1 + ANSWER_MS)).toBe(2);
      expect(await take(store)).toEqual([]);
    });

    it("has one unanswered command stand for others, where a plan says so", async () => {
      const store = await withSite();
      for (let n = 0; n < 3; n++) {
        await plan(store, KEY, [command("A")]);
        const rows = await take(store);
        await answer(store, rows[rows.length - 1], "no_answer");
      }
      const before = await store.inputsOf(KEY);
      const [one, two, three] = before.unsure.map(({ command_id }) => command_id);
      const outdated = {
        commandIds: [one, two],
        folded: [{ commandId: three, installed: bytes("all three") }],
      };
      await store.savePlan(KEY, before.site, { ...planOf(), outdated }, T);
      const { unsure } = await store.inputsOf(KEY);
      expect(unsure.map((row) => [row.command_id, textOf(row.installed)])).toEqual([[three, "all three"]]);
      // Refused, it may still hold one of the others.
      await store.answerCommand("t", three, { answer: "rejected", detail: "" }, T);
      expect((await store.inputsOf(KEY)).unsure.map(({ command_id }) => command_id)).toEqual([three]);
      // It is never too late for an answer.
      await store.answerCommand("t", one, { answer: "accepted", detail: "" }, T);
      expect((await store.inputsOf(KEY)).evses[0].revision).toBe(before.unsure[0].revision);
    });

    it("tells where to go on, past what was answered", async () => {
      const store = await withSite();
      const from = async (after: number, limit = 2) => {
        const { commands, ...rest } = await store.takeCommands("t", after, { siteIds: [], limit }, T);
        return { stations: stationsOf(commands), ...rest };
      };
      expect(await from(0)).toEqual({ stations: [], place: 0, isAll: true });
      await plan(store, KEY, [command("A"), command("B"), command("C")]);
      expect(await from(0)).toEqual({ stations: ["A", "B"], place: 2, isAll: false });
      expect(await from(2)).toEqual({ stations: ["C"], place: 3, isAll: true });
      const [first] = await take(store);
      await answer(store, first, "accepted");
      expect(await from(3)).toEqual({ stations: [], place: 3, isAll: true });
      // Whoever has read on before a backup was brought back is told all that is open.
      expect(await from(9)).toEqual({ stations: ["B", "C"], place: 3, isAll: false });
      for (const row of await take(store)) await answer(store, row, "accepted");
      expect(await from(0)).toEqual({ stations: [], place: 3, isAll: true });
    });

    it("gives those of some sites, and some at a time", async () => {
      const store = await bench.open();
      for (const id of ["x", "y", "z"]) {
        await putSite(store, keyOf(id));
        await plan(store, keyOf(id), [command(`${id}1`), command(`${id}2`)]);
      }
      const some = (after: number, siteIds: string[], limit = 100) =>
        store.takeCommands("t", after, { siteIds, limit }, T).then(({ commands }) => stationsOf(commands));
      expect(await some(0, ["x", "z", "none"])).toEqual(["x1", "x2", "z1", "z2"]);
      expect(await some(0, [], 3)).toEqual(["x1", "x2", "y1"]);
      expect(await some(3, [], 3)).toEqual(["y2", "z1", "z2"]);
      expect(await some(2, ["z"], 1)).toEqual(["z1"]);
    });

    it("forgets what was not sent when a newer plan comes, not what was", async () => {
      const store = await withSite();
      await plan(store, KEY, [command("A"), command("B"), command("C", 1)]);
      await store.takeCommands("t", 0, { siteIds: [], limit: 1 }, T);
      await plan(store, KEY, [command("A"), command("C")]);
      const rows = await take(store);
      expect(stationsOf(rows)).toEqual(["A", "A", "C"]);
      expect(rows.map(({ seq }) => seq)).toEqual([1, 3, 4]);
      expect(rows[0].revision).toBeLessThan(rows[1].revision);
    });

    it("keeps the order of an EVSE's commands through plans and answers", async () => {
      const store = await withSite();
      const held: number[] = [];
      for (let n = 0; n < 5; n++) {
        await plan(store, KEY, [command("A"), command("B")]);
        await take(store);
      }
      const rows = (await take(store)).filter(({ station_id }) => station_id === "A");
      expect(rows).toHaveLength(5);
      expect(rows.map(({ revision }) => revision)).toEqual(rows.map(({ revision }) => revision).sort());
      for (const n of [1, 3, 0, 4, 2]) {
        await answer(store, rows[n], "accepted");
        held.push((await store.inputsOf(KEY)).evses[0].revision);
      }
      expect(held).toEqual([1, 3, 3, 4, 4].map((n) => rows[n].revision));
    });

    it("never makes a reader miss what many release at the same time", async () => {
      const place = await bench.place();
      const stores = await Promise.all([1, 2, 3, 4].map(() => bench.open(place)));
      const reader = stores.pop()!;
      const keys = Array.from({ length: 40 }, (_, n) => keyOf(`s${n}`));
      for (const key of keys) await putSite(stores[0], key);
      let isReleasing = true;
      const seen: number[] = [];
      const follow = async () => {
        for (let after = 0; ; after = seen.at(-1) ?? 0) {
          const wasReleasing = isReleasing;
          const rows = await take(reader, after);
          seen.push(...rows.map(({ seq }) => seq!));
          if (rows.length === 0) {
            if (!wasReleasing) return;
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
        }
      };
      const release = Promise.all(
        keys.map((key, n) => plan(stores[n % 3], key, [command("A"), command("B"), command("C")])),
      ).finally(() => {
        isReleasing = false;
      });
      await Promise.all([follow(), release]);
      expect(seen).toEqual(Array.from({ length: 120 }, (_, n) => n + 1));
    });
  });

  describe("housekeeping", () => {
    it("forgets what has ended or is answered, is old, and not of the plan in force, a few at a time", async () => {
      const store = await withSite();
      const end = (id: string, ended_ms: number | null) =>
        store.changeSession(
          KEY,
          id,
          () => ({ row: { ...sessionRow("A"), ended_ms }, isDue: true, value: undefined }),
          T,
        );
      for (let n = 0; n < 5; n++) await end(`old-${n}`, T + n);
      await end("young", T + 1000);
      await end("goes on", null);
      await plan(store, KEY, [command("A"), command("B"), command("C")]);
      const [a, b] = await take(store);
      await answer(store, a, "accepted", T + 5);
      await answer(store, b, "rejected", T + 2000);
      expect(await store.prune(T + 1000, 3)).toBe(3);
      expect(await store.prune(T + 1000, 3)).toBe(2);
      expect(await store.prune(T + 1000, 3)).toBe(0);
      await plan(store, KEY, [command("D")]);
      expect(await store.prune(T + 1000, 3)).toBe(1);
      await rejection(answer(store, a, "accepted"), "NOT_FOUND");
      await answer(store, b, "accepted");
      const seen: (string | undefined)[] = [];
      for (const id of ["old-4", "young", "goes on"])
        await store.changeSession(
          KEY,
          id,
          (kept) => {
            seen.push(kept?.session_id);
            return { isDue: false, value: undefined };
          },
          T,
        );
      expect(seen).toEqual([undefined, "young", "goes on"]);
      expect(stationsOf(await take(store))).toEqual(["C", "D"]);
      expect((await store.inputsOf(KEY)).evses).toHaveLength(2);
    });

    it("makes sites due whose plan is old, once", async () => {
      const store = await withSite();
      await putSite(store, keyOf("young"));
      await putSite(store, keyOf("waits"));
      await plan(store, KEY, [], T);
      await plan(store, keyOf("young"), [], T + 10);
      await store.makeStaleDue(T + 5, T + 50);
      const dues = async () =>
        Promise.all([KEY, keyOf("young"), keyOf("waits")].map((key) => dueOf(store, key)));
      expect(await dues()).toEqual([T + 50, null, T + DEBOUNCE_MS]);
      await store.makeStaleDue(T + 10, T + 60);
      expect(await dues()).toEqual([T + 50, T + 60, T + DEBOUNCE_MS]);
    });

    it("knows what waits", async () => {
      const store = await bench.open();
      const nothing = { dueSites: 0, oldestDueMs: 0, openCommands: 0, oldestPlanMs: 0 };
      expect(await store.backlog(T)).toEqual(nothing);
      await putSite(store, KEY, T);
      await putSite(store, keyOf("other", "u"), T + 10);
      expect(await store.backlog(T)).toEqual(nothing);
      expect(await store.backlog(T + DEBOUNCE_MS + 30)).toEqual({ ...nothing, dueSites: 2, oldestDueMs: 30 });
      await plan(store, KEY, [command("A"), command("B"), command("C", 1)], T + 5);
      await answer(store, (await take(store))[0], "accepted");
      expect(await store.backlog(T + 50)).toEqual({ ...nothing, openCommands: 2, oldestPlanMs: 45 });
    });

    it("goes on past sites that are deleted meanwhile", async () => {
      const place = await bench.place();
      const [store, other] = [await bench.open(place), await bench.open(place)];
      const keys: SiteKey[] = Array.from({ length: 12 }, (_, n) => keyOf(`s${n}`));
      for (const key of keys) {
        await putSite(store, key);
        await plan(store, key, [command("A"), command("B")]);
      }
      const rows = await take(store);
      for (const row of rows.filter(({ station_id }) => station_id === "A"))
        await answer(store, row, "rejected");
      await Promise.all([
        store.expireCommands(T + YEAR),
        store.retryChargers(T + YEAR),
        other.prune(T + YEAR, 100),
        ...keys.slice(3).map((key) => other.deleteSite(key, undefined)),
      ]);
      await store.expireCommands(T + YEAR);
      await store.retryChargers(T + 2 * YEAR);
      for (const key of keys.slice(0, 3)) {
        const { evses, site } = await store.inputsOf(key);
        expect(evses.map((evse) => evse.unreachable_until_ms)).toEqual([-1, -1]);
        expect(site.due_ms).not.toBeNull();
      }
    });
  });
});

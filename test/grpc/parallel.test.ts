import { expect, test } from "vitest";
import { inParallel } from "../../src/grpc/parallel.ts";

const never = new AbortController().signal;

/** Items that count how many were read. */
function counted(count: number) {
  const source = { read: 0, next: async () => ({ done: source.read >= count, value: source.read++ }) };
  return source as AsyncIterator<number> & { read: number };
}

/** Lets everything that is ready run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("every item has one result, in whatever order they are ready", async () => {
  const results: number[] = [];
  const work = async (item: number) => {
    for (let turns = (item * 7) % 5; turns > 0; turns--) await settle();
    return item;
  };
  for await (const result of inParallel(counted(100), 4, never, work)) results.push(result);
  expect(results).not.toEqual(results.toSorted((a, b) => a - b));
  expect(results.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
});

test("a result does not wait for one that was asked for before", async () => {
  let finishFirst = () => {};
  const work = (item: number) =>
    item === 0 ? new Promise<number>((resolve) => (finishFirst = () => resolve(0))) : Promise.resolve(item);
  const results = inParallel(counted(3), 2, never, work);
  expect((await results.next()).value).toBe(1);
  expect((await results.next()).value).toBe(2);
  finishFirst();
  expect((await results.next()).value).toBe(0);
  expect((await results.next()).done).toBe(true);
});

test("reading stops at the limit while work is slow", async () => {
  const items = counted(100);
  const finish: (() => void)[] = [];
  const results = inParallel(
    items,
    3,
    never,
    (item) => new Promise<number>((resolve) => finish.push(() => resolve(item))),
  );
  const first = results.next();
  await settle();
  expect(items.read).toBe(3);
  finish[1]();
  expect((await first).value).toBe(1);
  await settle();
  // Nobody has asked for more yet.
  expect(items.read).toBe(3);
  void results.next();
  await settle();
  expect(items.read).toBe(4);
});

test("reading stops at the limit while nobody takes the results", async () => {
  const items = counted(100);
  let worked = 0;
  const results = inParallel(items, 3, never, async (item) => {
    worked++;
    return item;
  });
  await results.next();
  for (let n = 0; n < 10; n++) await settle();
  expect(worked).toBeLessThanOrEqual(3);
});

test("an abort ends it at once, also while it waits for an item or for work", async () => {
  for (const next of [() => new Promise<never>(() => {}), async () => ({ done: false as const, value: 1 })]) {
    const controller = new AbortController();
    const results = inParallel({ next }, 2, controller.signal, () => new Promise<number>(() => {}));
    const pending = results.next();
    await settle();
    controller.abort(new Error("gone"));
    await expect(pending).rejects.toThrow("gone");
    expect((await results.next()).done).toBe(true);
  }
});

test("an item that can't be read, or work that fails, ends it with that error", async () => {
  const unreadable = { next: () => Promise.reject(new Error("unreadable")) };
  await expect(inParallel(unreadable, 2, never, async () => 1).next()).rejects.toThrow("unreadable");
  const failing = inParallel(counted(1), 2, never, () => Promise.reject(new Error("failed")));
  await expect(failing.next()).rejects.toThrow("failed");
});

import { execFile } from "node:child_process";
import { getEventListeners } from "node:events";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import { createPool, type Pool, type PoolOptions } from "../../src/solve/pool.ts";

// Threads do not run TypeScript: their side is the compiled one.
const compiled = new URL("../../dist/src/", import.meta.url);
const modules = {
  pool: new URL("solve/pool.js", compiled).href,
  errors: new URL("domain/errors.js", compiled).href,
};
const workerUrl = new URL("./pool-worker.mjs", import.meta.url);

// biome-ignore lint/suspicious/noExplicitAny: tasks and answers of every kind
type AnyPool = Pool<any, any, any>;

const pools: AnyPool[] = [];

function start(options: Partial<PoolOptions> & { workerData?: object } = {}): AnyPool {
  const workerData = { ...modules, ...options.workerData };
  const pool: AnyPool = createPool({ workerUrl, size: 1, maxQueue: 10, ...options, workerData });
  pools.push(pool);
  return pool;
}

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

/** The error that a run is rejected with. */
async function errorOf(run: Promise<unknown>): Promise<WattslotError> {
  const error = await run.then(
    (value) => {
      throw new Error(`resolved with ${value}`);
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WattslotError);
  return error as WattslotError;
}

function shared(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

/** Tasks that block their thread until it is opened. */
function gate() {
  const cell = shared();
  return {
    task: (value?: unknown) => ({ do: "wait", gate: cell, value }),
    open: () => {
      Atomics.store(cell, 0, 1);
      Atomics.notify(cell, 0);
    },
  };
}

/** Runs a task that blocks its thread for good; `isBlocked` resolves once it does. */
function block(pool: AnyPool, options: { signal?: AbortSignal; deadlineMs?: number } = {}) {
  const { promise: isBlocked, resolve: onInterim } = deferred();
  const run = pool.run({ do: "block" }, { ...options, onInterim });
  run.catch(() => {}); // a test may end, and close the pool, without asking
  return { run, isBlocked };
}

function deferred() {
  let resolve = (_: unknown) => {};
  const promise = new Promise<unknown>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

describe("tasks", () => {
  it("are answered, first come first served", async () => {
    const pool = start();
    const counter = shared();
    const answers = Array.from({ length: 8 }, () => pool.run({ do: "count", counter }));
    expect(await Promise.all(answers)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect([pool.queueDepth, pool.busy]).toEqual([0, 0]);
  });

  it("run on every thread at a time", async () => {
    const pool = start({ size: 2 });
    await Promise.all([block(pool).isBlocked, block(pool).isBlocked]);
    expect([pool.queueDepth, pool.busy]).toEqual([0, 2]);
  });

  it("are refused when the queue is full, also while threads start", async () => {
    const pool = start({ size: 1, maxQueue: 2 });
    const { task, open } = gate();
    const accepted = [pool.run(task("a")), pool.run(task("b")), pool.run(task("c"))];
    expect((await errorOf(pool.run(task("d")))).code).toBe("RESOURCE_EXHAUSTED");
    open();
    expect(await Promise.all(accepted)).toEqual(["a", "b", "c"]);
    expect(await pool.run({ do: "echo", value: "e" })).toBe("e");
  });

  it("run without a queue while a thread is free", async () => {
    const pool = start({ size: 1, maxQueue: 0 });
    const { task, open } = gate();
    const accepted = pool.run(task("a"));
    expect((await errorOf(pool.run(task("b")))).code).toBe("RESOURCE_EXHAUSTED");
    open();
    expect(await accepted).toBe("a");
  });

  it("may use the worker's data", async () => {
    const starts = shared();
    const pool = start({ size: 3, workerData: { starts } });
    await pool.run({ do: "echo" });
    for (let seen = Atomics.load(starts, 0); seen < 3; seen = Atomics.load(starts, 0)) await turn();
    expect(Atomics.load(starts, 0)).toBe(3);
  });

  it("can fail without harm to their thread", async () => {
    const pool = start();
    const thread = await pool.run({ do: "thread" });
    const thrown = await errorOf(pool.run({ do: "throw" }));
    expect(thrown.code).toBe("INTERNAL");
    expect(thrown.message).not.toContain("told to throw");
    expect(thrown.cause).toMatchObject({ name: "RangeError", message: "told to throw" });
    const refused = await errorOf(pool.run({ do: "refuse" }));
    expect(refused).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "told to refuse",
      violations: [{ field: "sessions[0]", description: "told to refuse" }],
    });
    expect((await errorOf(pool.run({ do: "answer a function" }))).code).toBe("INTERNAL");
    expect((await errorOf(pool.run({ do: "throw a function" }))).code).toBe("INTERNAL");
    expect((await errorOf(pool.run({ do: "echo", value: () => {} }))).code).toBe("INTERNAL");
    expect(await pool.run({ do: "thread" })).toBe(thread);
  });

  it("post interim values in order, before the result", async () => {
    const pool = start();
    const seen: unknown[] = [];
    const run = pool.run({ do: "interim", values: [1, 2, 3] }, { onInterim: (value) => seen.push(value) });
    seen.push(await run);
    expect(seen).toEqual([1, 2, 3, "done"]);
    // Nobody has to listen.
    expect(await pool.run({ do: "interim", values: [4] })).toBe("done");
  });
});

describe("cancelling", () => {
  it("a waiting task takes it out of the queue", async () => {
    const pool = start();
    const { task, open } = gate();
    const counter = shared();
    const canceller = new AbortController();
    const first = pool.run(task("first"));
    const waiting = pool.run({ do: "count", counter }, { signal: canceller.signal });
    const last = pool.run({ do: "echo", value: "last" });
    canceller.abort(new Error("hung up"));
    const error = await errorOf(waiting);
    expect(error.code).toBe("CANCELLED");
    expect(error.cause).toMatchObject({ message: "hung up" });
    open();
    expect(await Promise.all([first, last])).toEqual(["first", "last"]);
    expect(Atomics.load(counter, 0)).toBe(0);
  });

  it("a running task replaces its thread", async () => {
    const pool = start();
    const thread = await pool.run({ do: "thread" });
    const canceller = new AbortController();
    const { run, isBlocked } = block(pool, { signal: canceller.signal });
    await isBlocked;
    canceller.abort();
    expect((await errorOf(run)).code).toBe("CANCELLED");
    expect(await pool.run({ do: "thread" })).not.toBe(thread);
    expect(pool.busy).toBe(0);
  });

  it("a running task that comes to its end by itself keeps its thread", async () => {
    const pool = start();
    const thread = await pool.run({ do: "thread" });
    const gate = shared();
    const canceller = new AbortController();
    const run = pool.run({ do: "wait", gate }, { signal: canceller.signal });
    canceller.abort();
    expect((await errorOf(run)).code).toBe("CANCELLED");
    expect(pool.busy).toBe(1);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    expect(await pool.run({ do: "thread" })).toBe(thread);
  });

  it("beforehand runs nothing", async () => {
    const pool = start();
    const counter = shared();
    const run = pool.run({ do: "count", counter }, { signal: AbortSignal.abort() });
    expect((await errorOf(run)).code).toBe("CANCELLED");
    await pool.run({ do: "echo" });
    expect(Atomics.load(counter, 0)).toBe(0);
  });

  it("ends the interim values at once", async () => {
    const pool = start();
    const canceller = new AbortController();
    let count = 0;
    const run = pool.run(
      { do: "interim forever" },
      {
        signal: canceller.signal,
        onInterim: () => {
          count++;
          canceller.abort();
        },
      },
    );
    expect((await errorOf(run)).code).toBe("CANCELLED");
    await pool.run({ do: "echo" });
    expect(count).toBe(1);
  });

  it("leaves nothing on the signal", async () => {
    const pool = start();
    const { signal } = new AbortController();
    for (let n = 0; n < 20; n++) await pool.run({ do: "echo" }, { signal });
    await errorOf(pool.run({ do: "throw" }, { signal }));
    await errorOf(pool.run({ do: "echo", value: () => {} }, { signal }));
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });
});

describe("a deadline", () => {
  it("ends a running task and its thread", async () => {
    const pool = start();
    const thread = await pool.run({ do: "thread" });
    const { run } = block(pool, { deadlineMs: Date.now() + 50 });
    expect((await errorOf(run)).code).toBe("DEADLINE_EXCEEDED");
    expect(await pool.run({ do: "thread" })).not.toBe(thread);
  });

  it("ends a waiting task", async () => {
    const pool = start();
    const { task, open } = gate();
    const counter = shared();
    const first = pool.run(task("first"));
    while (pool.busy === 0) await turn();
    const waiting = pool.run({ do: "count", counter }, { deadlineMs: Date.now() + 20 });
    expect((await errorOf(waiting)).code).toBe("DEADLINE_EXCEEDED");
    expect(pool.queueDepth).toBe(0);
    open();
    expect(await first).toBe("first");
    await pool.run({ do: "echo" });
    expect(Atomics.load(counter, 0)).toBe(0);
  });

  it("that has passed runs nothing", async () => {
    const pool = start();
    const run = pool.run({ do: "echo" }, { deadlineMs: Date.now() - 1 });
    expect((await errorOf(run)).code).toBe("DEADLINE_EXCEEDED");
  });

  it("may be further off than a timer reaches", async () => {
    const pool = start();
    const { task, open } = gate();
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const run = pool.run(task("late"), { deadlineMs: Date.now() + 1e12 });
    while (pool.busy === 0) await turn();
    open();
    expect(await run).toBe("late");
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });
});

describe("a thread that ends by itself", () => {
  it.each([
    ["exits", { do: "exit" }, "code 3"],
    ["throws outside of the handler", { do: "crash" }, "told to crash"],
    ["runs out of memory", { do: "fill memory" }, "memory limit"],
  ])("and %s fails its task only", async (_, task, reason) => {
    const faults: unknown[] = [];
    const pool = start({
      resourceLimits: { maxOldGenerationSizeMb: 32 },
      onFault: (fault) => faults.push(fault),
    });
    const thread = await pool.run({ do: "thread" });
    const broken = pool.run(task);
    const next = pool.run({ do: "thread" });
    const error = await errorOf(broken);
    expect(error.code).toBe("INTERNAL");
    expect((error.cause as Error).message).toContain(reason);
    expect(faults).toEqual([error.cause]);
    expect(await next).not.toBe(thread);
  });

  it("while it is idle is replaced, again and again", async () => {
    const faults: unknown[] = [];
    const pool = start({ onFault: (fault) => faults.push(fault) });
    for (let n = 1; n <= 5; n++) {
      expect(await pool.run({ do: "crash afterwards" })).toBe("done");
      while (faults.length < n) await turn();
    }
    expect(await pool.run({ do: "echo", value: "still here" })).toBe("still here");
  });
});

describe("threads that fail to start", () => {
  it("are given up after a few tries, and tried again with the next task", async () => {
    const starts = shared();
    const failing = shared();
    const faults: unknown[] = [];
    Atomics.store(failing, 0, 1);
    const pool = start({
      size: 2,
      workerData: { starts, failing },
      onFault: (fault) => faults.push(fault),
    });
    const errors = await Promise.all([0, 1, 2].map(() => errorOf(pool.run({ do: "echo" }))));
    for (const { code, cause } of errors) {
      expect(code).toBe("INTERNAL");
      expect(cause).toMatchObject({ message: "told to fail at the start" });
    }
    const tries = Atomics.load(starts, 0);
    expect(tries).toBeLessThanOrEqual(5);
    expect(faults).toHaveLength(tries);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(Atomics.load(starts, 0)).toBe(tries);

    expect((await errorOf(pool.run({ do: "echo" }))).code).toBe("INTERNAL");
    Atomics.store(failing, 0, 0);
    expect(await pool.run({ do: "echo", value: "recovered" })).toBe("recovered");
    await Promise.all([block(pool).isBlocked, block(pool).isBlocked]);
    expect(pool.busy).toBe(2);
  });
});

describe("closing", () => {
  it("rejects what runs and what waits, and what comes later", async () => {
    const pool = start();
    const { run, isBlocked } = block(pool);
    await isBlocked;
    const waiting = errorOf(pool.run({ do: "echo" }));
    const closed = pool.close();
    expect((await errorOf(run)).code).toBe("UNAVAILABLE");
    expect((await waiting).code).toBe("UNAVAILABLE");
    await closed;
    expect([pool.queueDepth, pool.busy]).toEqual([0, 0]);
    expect((await errorOf(pool.run({ do: "echo" }))).code).toBe("UNAVAILABLE");
    await pool.close();
  });

  it("lets the process end", async () => {
    // Not as a module: threads inherit such flags.
    const script = `
      import(${JSON.stringify(modules.pool)}).then(async ({ createPool }) => {
        const pool = createPool({
          workerUrl: new URL(${JSON.stringify(workerUrl.href)}),
          size: 2,
          maxQueue: 1,
          workerData: ${JSON.stringify(modules)},
        });
        console.log(await pool.run({ do: "echo", value: "answered" }, { deadlineMs: Date.now() + 1e9 }));
        await pool.close();
      });
    `;
    const run = promisify(execFile)(process.execPath, ["--eval", script], { timeout: 30_000 });
    expect((await run).stdout).toBe("answered\n");
  });
});

it("serve refuses to run outside of a worker thread", () => {
  // The test itself may run in one, so this asks a process.
  const script = `import { serve } from ${JSON.stringify(modules.pool)}; serve(() => {});`;
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script]);
  return expect(run).rejects.toThrow("worker thread only");
});

/** One turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

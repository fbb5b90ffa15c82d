import { parentPort, type ResourceLimits, Worker } from "node:worker_threads";
import { type ErrorCode, type FieldViolation, WattslotError } from "../domain/errors.ts";

export interface PoolOptions {
  /** A module that calls `serve`. */
  workerUrl: URL;
  /** Number of threads, and so of tasks at a time. */
  size: number;
  /** Number of tasks that may wait for a thread. */
  maxQueue: number;
  workerData?: unknown;
  /** Bounds of each thread's JavaScript heap; WebAssembly memory does not count. */
  resourceLimits?: ResourceLimits;
  /** Told why a thread ended that nobody asked to end. */
  onFault?: (error: unknown) => void;
}

interface RunOptions<Interim> {
  signal?: AbortSignal;
  /** Epoch; Infinity is no deadline. */
  deadlineMs?: number;
  /** Gets what the task posts before its result; never called once the run has settled. */
  onInterim?: (interim: Interim) => void;
}

export interface Pool<Task, Result, Interim> {
  /**
   * Runs a task on a thread, first come first served. Task, interim and result are copied
   * (structured clone). Rejects with a WattslotError, once: CANCELLED, DEADLINE_EXCEEDED,
   * UNAVAILABLE when the pool closes. A thread whose task is no longer wanted gets a moment to
   * come to an end by itself, and is replaced if it does not. RESOURCE_EXHAUSTED when the queue is
   * full. INTERNAL when the handler throws something else than a
   * WattslotError, when the thread ends, or when threads keep failing to start; the reason is
   * the error's cause.
   */
  run(task: Task, options?: RunOptions<Interim>): Promise<Result>;
  /** Number of tasks that wait for a thread. */
  readonly queueDepth: number;
  /** Number of tasks on a thread. */
  readonly busy: number;
  /** Ends the threads. Resolves when they have ended. */
  close(): Promise<void>;
}

interface TaskMessage<Task> {
  id: number;
  task: Task;
}

type Answer<Result, Interim> =
  | { id: number; kind: "ready" }
  | { id: number; kind: "interim"; interim: Interim }
  | { id: number; kind: "result"; result: Result }
  | { id: number; kind: "error"; error: Thrown };

/** Structured clone keeps neither class nor own fields of an Error. */
type Thrown =
  | { code: ErrorCode; message: string; violations: readonly FieldViolation[] }
  | { cause: unknown };

interface Job<Task, Result, Interim> {
  id: number;
  task: Task;
  onInterim: ((interim: Interim) => void) | undefined;
  isAbandoned: boolean;
  resolve(result: Result): void;
  reject(error: WattslotError): void;
}

interface Thread<Task, Result, Interim> {
  worker: Worker;
  isReady: boolean;
  job: Job<Task, Result, Interim> | undefined;
  /** Runs while a task that is no longer wanted comes to its end. */
  grace: NodeJS.Timeout | undefined;
}

// Threads that end without having had a task are started again after a pause that doubles, and
// after so many in a row the tasks that wait are given up.
const maxIdleFailures = 3;
const firstPauseMs = 50;
const longestPauseMs = 1000;

// A thread that ends in this time is worth more than a new one, which has to load and compile.
const graceMs = 250;

const longestTimerMs = 2 ** 31 - 1;

/** Starts a pool; its threads start at once, so that the first task finds them ready. */
export function createPool<Task, Result, Interim>(options: PoolOptions): Pool<Task, Result, Interim> {
  return new WorkerPool(options);
}

class WorkerPool<Task, Result, Interim> implements Pool<Task, Result, Interim> {
  readonly #options: PoolOptions;
  readonly #queue: Job<Task, Result, Interim>[] = [];
  readonly #threads = new Set<Thread<Task, Result, Interim>>();
  readonly #ending = new Set<Promise<unknown>>();
  #lastId = 0;
  /** Threads in a row that ended without a task. */
  #idleFailures = 0;
  #pause: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#fill();
  }

  get queueDepth(): number {
    return this.#queue.length;
  }

  get busy(): number {
    let count = 0;
    for (const { job } of this.#threads) if (job !== undefined) count++;
    return count;
  }

  async run(task: Task, options: RunOptions<Interim> = {}): Promise<Result> {
    const { signal, deadlineMs = Number.POSITIVE_INFINITY, onInterim } = options;
    if (this.#isClosed) throw new WattslotError("UNAVAILABLE", "the pool is closed");
    if (signal?.aborted) throw cancelled(signal);
    if (deadlineMs <= Date.now()) throw deadlineExceeded();
    // Threads that are starting count as free: the first tasks need no room in the queue.
    if (this.#queue.length + this.busy >= this.#options.size + this.#options.maxQueue) {
      throw new WattslotError("RESOURCE_EXHAUSTED", "too many requests are waiting");
    }
    const { promise, resolve, reject } = withResolvers<Result>();
    const job = { id: ++this.#lastId, task, onInterim, isAbandoned: false, resolve, reject };
    const onAbort = () => this.#abandon(job, cancelled(signal));
    let timer: NodeJS.Timeout | undefined;
    const awaitDeadline = () => {
      const leftMs = deadlineMs - Date.now();
      if (leftMs <= 0) this.#abandon(job, deadlineExceeded());
      else timer = setTimeout(awaitDeadline, Math.min(leftMs, longestTimerMs));
    };
    this.#queue.push(job);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (deadlineMs !== Number.POSITIVE_INFINITY) awaitDeadline();
    this.#fill();
    this.#dispatch();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#pause);
    const error = new WattslotError("UNAVAILABLE", "the pool is closing");
    for (const job of this.#queue.splice(0)) job.reject(error);
    for (const thread of this.#threads) {
      thread.job?.reject(error);
      this.#terminate(thread);
    }
    await Promise.all(this.#ending);
  }

  /** Starts the threads that are missing; after failures one at a time, with a pause before each. */
  #fill(): void {
    if (this.#isClosed || this.#pause !== undefined || this.#isGivenUp()) return;
    if (this.#idleFailures === 0) {
      while (this.#threads.size < this.#options.size) this.#start();
    } else if (this.#threads.size < this.#options.size) {
      const pauseMs = Math.min(firstPauseMs * 2 ** (this.#idleFailures - 1), longestPauseMs);
      this.#pause = setTimeout(() => {
        this.#pause = undefined;
        if (!this.#isGivenUp()) this.#start();
        this.#fill();
      }, pauseMs);
    }
  }

  /** Whether threads keep failing and no task asks for another try. */
  #isGivenUp(): boolean {
    return this.#idleFailures >= maxIdleFailures && this.#queue.length === 0;
  }

  #start(): void {
    const { workerUrl, workerData, resourceLimits } = this.#options;
    const worker = new Worker(workerUrl, { workerData, ...(resourceLimits && { resourceLimits }) });
    const thread: Thread<Task, Result, Interim> = {
      worker,
      isReady: false,
      job: undefined,
      grace: undefined,
    };
    this.#threads.add(thread);
    let reason: unknown;
    worker.on("message", (answer: Answer<Result, Interim>) => this.#receive(thread, answer));
    worker.on("messageerror", (error) => this.#lose(thread, error));
    worker.on("error", (error) => {
      reason = error;
    });
    worker.on("exit", (code) =>
      this.#lose(thread, reason ?? new Error(`worker thread ended with code ${code}`)),
    );
  }

  #receive(thread: Thread<Task, Result, Interim>, answer: Answer<Result, Interim>): void {
    if (!this.#threads.has(thread)) return;
    if (answer.kind === "ready") {
      thread.isReady = true;
      this.#dispatch();
      return;
    }
    const { job } = thread;
    if (job === undefined || job.id !== answer.id) return;
    if (answer.kind === "interim") {
      if (!job.isAbandoned) job.onInterim?.(answer.interim);
      // What still posts is not about to end.
      else this.#replace(thread);
      return;
    }
    clearTimeout(thread.grace);
    thread.job = undefined;
    this.#idleFailures = 0;
    if (answer.kind === "result") job.resolve(answer.result);
    else job.reject(toError(answer.error));
    this.#fill();
    this.#dispatch();
  }

  /** Hands waiting tasks to threads that are free. */
  #dispatch(): void {
    for (const thread of this.#threads) {
      while (thread.isReady && thread.job === undefined) {
        const job = this.#queue.shift();
        if (job === undefined) return;
        try {
          thread.worker.postMessage({ id: job.id, task: job.task } satisfies TaskMessage<Task>);
          thread.job = job;
        } catch (cause) {
          job.reject(new WattslotError("INTERNAL", "the task cannot be sent to a thread", { cause }));
        }
      }
    }
  }

  /** Settles a job that is no longer wanted. */
  #abandon(job: Job<Task, Result, Interim>, error: WattslotError): void {
    const waiting = this.#queue.indexOf(job);
    if (waiting >= 0) this.#queue.splice(waiting, 1);
    job.isAbandoned = true;
    job.reject(error);
    for (const thread of this.#threads) {
      if (thread.job !== job) continue;
      thread.grace = setTimeout(() => this.#replace(thread), graceMs);
    }
  }

  #replace(thread: Thread<Task, Result, Interim>): void {
    this.#terminate(thread);
    this.#fill();
  }

  /** Deals with a thread that broke. */
  #lose(thread: Thread<Task, Result, Interim>, reason: unknown): void {
    if (!this.#threads.has(thread)) return;
    this.#terminate(thread);
    const { job } = thread;
    if (job === undefined) this.#idleFailures++;
    else job.reject(new WattslotError("INTERNAL", "the task's thread ended", { cause: reason }));
    if (this.#idleFailures >= maxIdleFailures && this.#threads.size === 0) {
      const error = new WattslotError("INTERNAL", "threads fail to start", { cause: reason });
      for (const waiting of this.#queue.splice(0)) waiting.reject(error);
    }
    this.#fill();
    this.#options.onFault?.(reason);
  }

  #terminate(thread: Thread<Task, Result, Interim>): void {
    this.#threads.delete(thread);
    clearTimeout(thread.grace);
    const ended = thread.worker.terminate();
    this.#ending.add(ended);
    ended.finally(() => this.#ending.delete(ended));
  }
}

/**
 * The worker thread's side: answers each task with what the handler returns, and says that the
 * thread is ready. What the handler posts reaches the caller before the result. Throws an Error
 * outside of a worker thread.
 */
export function serve<Task, Result, Interim>(
  handler: (task: Task, postInterim: (interim: Interim) => void) => Result | Promise<Result>,
): void {
  const port = parentPort;
  if (port === null) throw new Error("serve runs in a worker thread only");
  const post = (answer: Answer<Result, Interim>) => port.postMessage(answer);
  port.on("message", async ({ id, task }: TaskMessage<Task>) => {
    try {
      const result = await handler(task, (interim) => post({ id, kind: "interim", interim }));
      post({ id, kind: "result", result });
    } catch (error) {
      try {
        post({ id, kind: "error", error: toThrown(error) });
      } catch {
        post({ id, kind: "error", error: { cause: new Error(String(error)) } });
      }
    }
  });
  post({ id: 0, kind: "ready" });
}

function toThrown(error: unknown): Thrown {
  if (!(error instanceof WattslotError)) return { cause: error };
  return { code: error.code, message: error.message, violations: error.violations };
}

function toError(thrown: Thrown): WattslotError {
  if ("cause" in thrown) return WattslotError.from(thrown.cause);
  const { code, message, violations } = thrown;
  return new WattslotError(code, message, { violations });
}

function cancelled(signal: AbortSignal | undefined): WattslotError {
  return new WattslotError("CANCELLED", "the caller gave up", { cause: signal?.reason });
}

function deadlineExceeded(): WattslotError {
  return new WattslotError("DEADLINE_EXCEEDED", "the deadline passed before an answer");
}

// Promise.withResolvers came with Node 22.
function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type ErrorCode, type FieldViolation, WattslotError } from "../domain/errors.ts";
import type { Need } from "./need.ts";
import type { StrategyResult } from "./result.ts";
import type { Scenario } from "./scenario.ts";

/** A scenario to be run under a strategy. */
export interface Job {
  scenario: Scenario;
  /** Name, or path of a file. */
  strategy: string;
  /** The run ends early where this is out of reach; undefined: never. */
  need?: Need | undefined;
}

/** What a thread tells of its job. */
export interface Told {
  share?: number;
  result?: StrategyResult;
  error?: { code: ErrorCode; message: string; violations: readonly FieldViolation[]; reason: string };
}

export interface RunOptions {
  /** At most so many jobs at once, each in a thread of its own; default: one a core, at most 4. */
  threads?: number | undefined;
  /** The compiled thread; only needed where the sources run as they are. */
  workerUrl?: URL;
}

/** Each thread has solvers of its own, some 150 MB. */
const MOST_THREADS = 4;

/** Threads that run jobs; they start when there is work, and stay until they are closed. */
export class Runs {
  /** Jobs that run at once. */
  readonly threads: number;
  readonly #workerUrl: URL;
  readonly #workers: Worker[] = [];

  constructor({
    threads = Math.min(availableParallelism(), MOST_THREADS),
    workerUrl = new URL("./worker.js", import.meta.url),
  }: RunOptions) {
    this.threads = threads;
    this.#workerUrl = workerUrl;
  }

  /**
   * Runs jobs; the results are in their order. `onProgress` is told how much of them is done, 0 to 1. Rejects with the
   * first error; then the threads are only to be closed. One call at a time.
   */
  async run(jobs: readonly Job[], onProgress?: (share: number) => void): Promise<StrategyResult[]> {
    const results: StrategyResult[] = [];
    const shares = new Float64Array(jobs.length);
    // The longest come last in the usual order: begun first they don't leave the other threads idle.
    const waiting = jobs.map((_, n) => n);
    while (this.#workers.length < Math.min(this.threads, jobs.length))
      this.#workers.push(new Worker(this.#workerUrl));
    const work = async (worker: Worker): Promise<void> => {
      for (let n = waiting.pop(); n !== undefined; n = waiting.pop()) {
        const at = n;
        results[at] = await runOne(worker, jobs[at], (share) => {
          shares[at] = share;
          onProgress?.(shares.reduce((sum, one) => sum + one, 0) / jobs.length);
        });
      }
    };
    await Promise.all(this.#workers.map(work));
    return results;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function runOne(worker: Worker, job: Job, onShare: (share: number) => void): Promise<StrategyResult> {
  return new Promise((resolve, reject) => {
    const done = () => {
      worker.off("message", onMessage).off("error", onError).off("exit", onExit);
    };
    const onError = (cause: unknown) => {
      done();
      reject(new WattslotError("INTERNAL", "a simulation's thread failed", { cause }));
    };
    const onExit = () => onError(new Error("it ended"));
    const onMessage = ({ share, result, error }: Told) => {
      if (share !== undefined) onShare(share);
      if (result === undefined && error === undefined) return;
      done();
      onShare(1);
      if (result !== undefined) return resolve(result);
      const { code, message, violations, reason } = error!;
      reject(new WattslotError(code, message, { violations, cause: new Error(reason) }));
    };
    worker.on("message", onMessage).on("error", onError).on("exit", onExit).postMessage(job);
  });
}

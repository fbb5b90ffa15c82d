import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type ErrorCode, type FieldViolation, WattslotError } from "../domain/errors.ts";
import type { StrategyResult } from "./result.ts";
import type { Scenario } from "./scenario.ts";

/** A scenario to be run under a strategy. */
export interface Job {
  scenario: Scenario;
  /** Name, or path of a file. */
  strategy: string;
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
  /** Told how much of all jobs is done, 0 to 1. */
  onProgress?: ((share: number) => void) | undefined;
  /** The compiled thread; only needed where the sources run as they are. */
  workerUrl?: URL;
}

/** Each thread has solvers of its own, some 150 MB. */
const MOST_THREADS = 4;

/** Runs jobs in threads; the results are in the order of the jobs. Rejects with the first error. */
export async function runAll(
  jobs: readonly Job[],
  {
    threads = Math.min(availableParallelism(), MOST_THREADS),
    onProgress,
    workerUrl = new URL("./worker.js", import.meta.url),
  }: RunOptions,
): Promise<StrategyResult[]> {
  const results: StrategyResult[] = [];
  const shares = new Float64Array(jobs.length);
  // The longest come last in the usual order: begun first they don't leave the other threads idle.
  const waiting = jobs.map((_, n) => n);
  const workers = Array.from({ length: Math.min(threads, jobs.length) }, () => new Worker(workerUrl));
  const work = async (worker: Worker): Promise<void> => {
    for (let n = waiting.pop(); n !== undefined; n = waiting.pop()) {
      const at = n;
      results[at] = await runOne(worker, jobs[at], (share) => {
        shares[at] = share;
        onProgress?.(shares.reduce((sum, one) => sum + one, 0) / jobs.length);
      });
    }
  };
  try {
    await Promise.all(workers.map(work));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return results;
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

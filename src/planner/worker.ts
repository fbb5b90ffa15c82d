import { parentPort } from "node:worker_threads";
import { WattslotError } from "../domain/errors.ts";
import { createGlpk } from "../solve/glpk.ts";
import { createHighs } from "../solve/highs.ts";
import { outOfReach } from "./need.ts";
import { strategyResult } from "./result.ts";
import type { Job, Told } from "./runs.ts";
import { simulate } from "./simulate.ts";
import { findStrategy } from "./strategies.ts";

// A thread that runs scenarios, one after another.

const solvers = { glpk: await createGlpk(), highs: await createHighs() };
const tell = (told: Told) => parentPort?.postMessage(told);
/** Share of a run between two words of its progress. */
const STEP = 0.01;

parentPort?.on("message", async ({ scenario, strategy, need }: Job) => {
  try {
    const factory = await findStrategy(strategy);
    let told = 0;
    const run = await simulate(scenario, factory(scenario, solvers), {
      onProgress: (share) => {
        if (share < told + STEP) return;
        told = share;
        tell({ share });
      },
      isPointless: need && outOfReach(scenario, need),
    });
    tell({ result: strategyResult(scenario, run) });
  } catch (error) {
    const { code, message, violations, cause } = WattslotError.from(error);
    tell({ error: { code, message, violations, reason: cause instanceof Error ? cause.message : "" } });
  }
});

import { createEngine, type Engine, type EngineOptions } from "../../src/engine.ts";

/** A real engine of one thread; threads run compiled code, so `npm run build` comes first. */
export function testEngine(options: Partial<EngineOptions> = {}): Engine {
  return createEngine({
    workers: 1,
    maxQueue: 100,
    onFault: (message, detail) => {
      throw new Error(message, { cause: detail });
    },
    workerUrl: new URL("../../dist/src/worker.js", import.meta.url),
    ...options,
  });
}

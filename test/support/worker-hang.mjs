import { parentPort } from "node:worker_threads";

// Takes every task and never answers, as a solver does that does not look at the clock.
parentPort.on("message", () => {
  for (;;);
});
parentPort.postMessage({ kind: "ready" });

import { parentPort } from "node:worker_threads";

// Breaks on the first task.
parentPort.on("message", () => {
  throw new Error("broken on purpose");
});
parentPort.postMessage({ kind: "ready" });

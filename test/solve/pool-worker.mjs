import { setTimeout as later } from "node:timers";
import { threadId, workerData } from "node:worker_threads";

const { serve } = await import(workerData.pool);
const { WattslotError } = await import(workerData.errors);

const { starts, failing } = workerData;
if (starts) {
  Atomics.add(starts, 0, 1);
  Atomics.notify(starts, 0);
}
if (failing && Atomics.load(failing, 0) === 1) throw new Error("told to fail at the start");

/** Blocks the thread, as a solver does, until gate[0] is not 0. */
function wait(gate) {
  Atomics.wait(gate, 0, 0);
}

const never = () => wait(new Int32Array(new SharedArrayBuffer(4)));

serve(async (task, postInterim) => {
  switch (task.do) {
    case "echo":
      return task.value;
    case "count":
      return Atomics.add(task.counter, 0, 1);
    case "thread":
      return threadId;
    case "wait":
      wait(task.gate);
      return task.value;
    case "interim":
      for (const value of task.values) postInterim(value);
      return "done";
    case "interim forever":
      for (let n = 0; ; n++) postInterim(n);
    case "block":
      postInterim("blocking");
      return never();
    case "throw":
      throw new RangeError("told to throw");
    case "refuse":
      throw new WattslotError("INVALID_ARGUMENT", "told to refuse", {
        violations: [{ field: "sessions[0]", description: "told to refuse" }],
      });
    case "answer a function":
      return () => {};
    case "throw a function":
      throw () => {};
    case "exit":
      return process.exit(3);
    case "crash":
      later(() => {
        throw new Error("told to crash");
      }, 0);
      return new Promise(() => {});
    case "crash afterwards":
      later(() => {
        throw new Error("told to crash afterwards");
      }, 0);
      return "done";
    case "fill memory":
      for (const hoard = []; ; ) hoard.push(new Array(1e5).fill(hoard.length));
  }
});

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

it("a PostgreSQL of tests ends with a process that is killed", async ({ skip }) => {
  const child = spawn(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `import { startPostgres } from "./dist/test/support/postgres.js";
       try { console.log((await startPostgres()).pid); } catch (error) { console.log(error.message); }`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const { value: line } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  if (!/^\d+$/.test(line)) skip(line);
  const pid = Number(line);
  expect(isAlive(pid)).toBe(true);
  child.kill("SIGKILL");
  for (let tries = 0; tries < 200 && isAlive(pid); tries++) await sleep(50);
  expect(isAlive(pid)).toBe(false);
});

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/src/cli/main.js", import.meta.url));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the compiled command line to its end. */
export async function wattslot(
  args: string[],
  input = "",
  env: Record<string, string> = {},
): Promise<Outcome> {
  const child = start(args, env);
  // A command that does not read its input may be gone before it is written.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended(child)]);
  return { code, stdout, stderr };
}

/** A `wattslot serve` on a free port, with its log as it is written. */
export interface Served {
  port: number;
  /** The log line that tells that it listens. */
  listening: Record<string, unknown>;
  /** Resolves with the next log line that has this message. */
  logged: (message: string) => Promise<Record<string, unknown>>;
  kill: (signal: NodeJS.Signals) => void;
  /** Exit code. */
  ended: Promise<number | null>;
}

interface ServeSettings {
  viaShell?: boolean;
  /** Options beside those for a free port and one thread. */
  args?: string[];
  env?: Record<string, string>;
}

/** `viaShell`: in a shell, as npm and npx start commands; signals then go to the shell. */
export async function serve({
  viaShell = false,
  args: more = [],
  env = {},
}: ServeSettings = {}): Promise<Served> {
  const args = ["serve", "--port", "0", "--workers", "1", ...more];
  const child = viaShell
    ? spawn("sh", ["-c", `"$0" "$@"; :`, process.execPath, MAIN, ...args], {
        stdio: "pipe",
        env: { ...process.env, npm_command: "exec" },
      })
    : start(args, env);
  child.stdin.end();
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const logged = async (message: string) => {
    for (let next = await lines.next(); !next.done; next = await lines.next()) {
      const line = JSON.parse(next.value) as Record<string, unknown>;
      if (line.msg === message) return line;
    }
    throw new Error(`the log ended without "${message}"`);
  };
  const end = ended(child);
  const listening = await logged("listening");
  return {
    port: Number(listening.port),
    listening,
    logged,
    kill: (signal) => child.kill(signal),
    ended: end,
  };
}

function start(args: string[], env: Record<string, string>) {
  return spawn(process.execPath, [MAIN, ...args], { stdio: "pipe", env: { ...process.env, ...env } });
}

function ended(child: ChildProcessByStdio<Writable, Readable, Readable>): Promise<number | null> {
  return new Promise((resolve) => child.once("close", resolve));
}

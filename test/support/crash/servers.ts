import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../../benchmarks/random.ts";
import type { WattslotError } from "../../../src/domain/errors.ts";
import { connectSites, type Sites } from "../../../src/grpc/site-client.ts";

// From the project's folder, where tests are started: compiled code starts it too.
const MAIN = resolve("dist/src/cli/main.js");

/** Longest time that a call takes before it is tried elsewhere. */
const CALL_MS = 5000;

/** Not known to be done, or known not to be: another try may go well. What a server says of itself is a fault. */
const AGAIN = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"];

interface Server {
  child: ChildProcess;
  port: number;
  sites: Sites;
}

/** Servers that share what they keep, each a process of its own that can be killed, and a client that goes on. */
export class Servers {
  readonly faults: string[];
  readonly #random: Random;
  readonly #args: readonly string[];
  readonly #servers: Server[] = [];
  answered = 0;
  retries = 0;

  constructor(args: readonly string[], random: Random, faults: string[]) {
    this.#args = args;
    this.#random = random;
    this.faults = faults;
  }

  async start(count: number): Promise<void> {
    await Promise.all(
      Array.from({ length: count }, async (_, n) => {
        const { child, port } = await this.#spawn(0);
        this.#servers[n] = { child, port, sites: connectSites(`127.0.0.1:${port}`) };
      }),
    );
  }

  /** Ends a server in the middle of whatever it does, and starts it again on the same port. */
  async killOne(pauseMs: number): Promise<void> {
    const server = this.#random.pick(this.#servers);
    const gone = once(server.child, "close");
    server.child.kill("SIGKILL");
    await gone;
    await sleep(pauseMs);
    Object.assign(server, await this.#spawn(server.port));
  }

  /** Any server's. */
  pick(): Sites {
    return this.#random.pick(this.#servers).sites;
  }

  /** Makes a call until a server has answered it. */
  async call<Response>(
    send: (sites: Sites, options: { timeoutMs: number }) => Promise<Response>,
  ): Promise<Response> {
    for (;;) {
      try {
        const response = await send(this.pick(), { timeoutMs: CALL_MS });
        this.answered++;
        return response;
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.retries++;
        await sleep(this.#random.int(20, 100));
      }
    }
  }

  async close(): Promise<void> {
    for (const { child, sites } of this.#servers) {
      sites.close();
      const gone = once(child, "close");
      child.kill("SIGKILL");
      await gone;
    }
  }

  /** Tries until it listens: the database may be away. */
  async #spawn(port: number): Promise<{ child: ChildProcess; port: number }> {
    for (;;) {
      const child = spawn(process.execPath, [MAIN, "serve", "--port", `${port}`, ...this.#args], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      const listening = new Promise<number | undefined>((resolve) => {
        createInterface(child.stdout!).on("line", (line) => {
          const said = JSON.parse(line) as { msg: string; level: number; port: number };
          if (said.msg === "listening") resolve(said.port);
          // A database that is away is told of at this level too.
          else if (said.level >= 50 && !line.includes("UNAVAILABLE"))
            this.faults.push(`a server says ${line}`);
        });
        child.once("close", () => resolve(undefined));
      });
      let complaint = "";
      child.stderr!.on("data", (text) => {
        complaint += text;
      });
      child.once("close", (code, signal) => {
        if (signal !== "SIGKILL" && code !== 1) this.faults.push(`a server ended by itself: ${complaint}`);
        else if (signal !== "SIGKILL" && !/cannot be (used|opened)/.test(complaint))
          this.faults.push(`a server did not start: ${complaint}`);
      });
      const bound = await listening;
      if (bound !== undefined) return { child, port: bound };
      await sleep(100);
    }
  }
}

/** Whether a call may go well later or elsewhere. */
export function isPassing(error: unknown): boolean {
  const { code, message } = error as WattslotError;
  // How a connection that breaks is told depends on where it breaks.
  return AGAIN.includes(code) || (code === "INTERNAL" && message !== "internal error");
}

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { Metrics } from "./metrics.ts";

/** Longest time for one readiness check, ms: less than the second that Kubernetes waits for a probe by default. */
const CHECK_MS = 800;

export interface MonitorOptions {
  /** Address to listen on. */
  host: string;
  /** 0 for any that is free. */
  port: number;
  logger: Logger;
  metrics: Metrics;
}

/** Tells over HTTP how the server is: /metrics for Prometheus, /livez and /readyz for probes. */
export interface Monitor {
  port: number;
  /** Calls are taken, taken no more, or, as at the start, not yet. */
  is(state: State): void;
  /** Adds a check to readiness: it fails by rejecting, or by taking longer than 800 ms. */
  check(name: string, probe: () => Promise<unknown>): void;
  close(): Promise<void>;
}

type State = "starting" | "serving" | "draining";

/** Starts a monitor. Rejects where it can't listen. */
export async function startMonitor({ host, port, logger, metrics }: MonitorOptions): Promise<Monitor> {
  const checks = new Map<string, { probe: () => Promise<unknown>; isFailing: boolean }>();
  let state: State = "starting";

  /** Asks a check. Why it fails is for the log, once: it may name what is nobody's business. */
  const isReady = async (name: string): Promise<boolean> => {
    const check = checks.get(name)!;
    try {
      await within(CHECK_MS, check.probe());
      if (check.isFailing) logger.info({ check: name }, "a readiness check passes again");
      check.isFailing = false;
    } catch (err) {
      if (!check.isFailing) logger.warn({ check: name, err }, "a readiness check fails");
      check.isFailing = true;
    }
    return !check.isFailing;
  };
  const readiness = async () => {
    const names = [...checks.keys()];
    const passes = await Promise.all(names.map(isReady));
    const results = names.map((name, n) => [name, passes[n] ? "ok" : "failed"]);
    const body = { server: state, checks: Object.fromEntries(results) };
    return { isReady: state === "serving" && !passes.includes(false), body };
  };
  const answer = async (path: string, response: ServerResponse): Promise<void> => {
    if (path === "/livez") return send(response, 200, "text/plain", "ok\n");
    if (path === "/readyz") {
      const { isReady, body } = await readiness();
      return send(response, isReady ? 200 : 503, "application/json", `${JSON.stringify(body)}\n`);
    }
    if (path === "/metrics") {
      const { text, contentType } = await metrics.read();
      return send(response, 200, contentType, text);
    }
    send(response, 404, "text/plain", "there are /metrics, /livez and /readyz\n");
  };
  const server = createServer((request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD")
      return send(response, 405, "text/plain", "only GET\n");
    const [path] = (request.url ?? "").split("?");
    answer(path, response).catch((err) => {
      logger.error({ err, path }, "the monitor can't answer");
      send(response, 500, "text/plain", "internal error\n");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    is(next) {
      state = next;
    },
    check(name, probe) {
      checks.set(name, { probe, isFailing: false });
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(response: ServerResponse, code: number, contentType: string, body: string): void {
  response.writeHead(code, { "content-type": contentType, "cache-control": "no-store" }).end(body);
}

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`takes longer than ${ms} ms`)), ms);
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

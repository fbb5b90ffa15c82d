import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { type Logger, pino } from "pino";
import { WattslotError } from "../domain/errors.ts";
import { createEngine } from "../engine.ts";
import type { TokenStore } from "../grpc/auth.ts";
import { createMetrics, type Metrics } from "../grpc/metrics.ts";
import { type Monitor, startMonitor } from "../grpc/monitor.ts";
import { startServer } from "../grpc/server.ts";
import { tokenFile } from "../grpc/tokens.ts";
import { traced } from "../grpc/tracing.ts";
import { type Config, named } from "./config.ts";
import { type NameOf, serverCredentials } from "./tls.ts";

/** Longest time that calls in progress get to end when the server stops. */
export const DRAIN_MS = 20_000;

/**
 * Serves until SIGTERM or SIGINT, then lets calls in progress end. Throws INVALID_ARGUMENT where an
 * option is wrong, UNAVAILABLE when it cannot listen.
 */
export async function serve(options: Config, nameOf: NameOf): Promise<void> {
  const { host, port, workers, maxQueue, logLevel } = options;
  const credentials = serverCredentials(options, nameOf);
  // The library's own lines would stand between the log's; what they say reaches the log as errors.
  if (!process.env.GRPC_VERBOSITY) setLogVerbosity(logVerbosity.NONE);
  const logger = pino({ level: logLevel });
  const tokens = tokensOf(options, nameOf, logger);
  const metrics = createMetrics();
  const monitor = await monitorOf(options, logger, metrics);
  let faults = 0;
  const planner = createEngine({
    workers,
    maxQueue,
    warmUp: true,
    onFault: (message, detail, fault) => {
      faults++;
      metrics.onFault(fault);
      logger.error(detail instanceof Error ? { faults, err: detail } : { faults, detail }, message);
    },
    onFallback: metrics.onFallback,
  });
  const engine = traced(metrics.observe(planner));
  try {
    const server = await startServer({
      engine,
      host,
      port,
      logger,
      drainMs: DRAIN_MS,
      onCallEnd: metrics.onCallEnd,
      ...(credentials && { credentials }),
      ...(tokens && { tokens }),
    }).catch(cannotListen(host, port));
    const stopped = stopSignal();
    monitor?.is("serving");
    const tls = credentials !== undefined;
    const secured = { tls, tokens: tokens !== undefined };
    const { address } = server;
    logger.info({ address, port: server.port, metricsPort: monitor?.port, workers, ...secured }, "listening");
    const missing = [...(tls ? [] : ["TLS"]), ...(tokens || options.tlsCa ? [] : ["tokens"])];
    if (missing.length > 0 && !isLoopback(host))
      logger.warn({ address }, `listening beyond this machine without ${missing.join(" and ")}`);
    logger.info({ signal: await stopped }, "draining");
    monitor?.is("draining");
    await server.close();
  } finally {
    await engine.close();
    await monitor?.close();
  }
  logger.info({ faults }, "stopped");
}

function tokensOf({ tokens: file }: Config, nameOf: NameOf, logger: Logger): TokenStore | undefined {
  if (file === undefined) return undefined;
  const onBroken = (err: Error) => logger.error({ err }, "tokens are as before: their file is bad");
  return named(nameOf("--tokens"), () => tokenFile(file, onBroken));
}

async function monitorOf(
  { metricsHost: host, metricsPort: port }: Config,
  logger: Logger,
  metrics: Metrics,
): Promise<Monitor | undefined> {
  if (port === undefined) return undefined;
  return startMonitor({ host, port, logger, metrics }).catch(cannotListen(host, port));
}

function cannotListen(host: string, port: number): (error: Error) => never {
  return (cause) => {
    throw new WattslotError("UNAVAILABLE", `cannot listen on ${host}:${port}: ${reasonOf(cause)}`, { cause });
  };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use",
  EACCES: "that takes more rights than this process has",
  EADDRNOTAVAIL: "this machine has no such address",
  ENOTFOUND: "there is no such host",
};

/** What keeps the server from listening, of which gRPC says much. */
function reasonOf({ message }: Error): string {
  const [code = ""] = /E[A-Z]{4,}/.exec(message) ?? [];
  return REASONS[code] ?? message;
}

/** Resolves at the first SIGTERM or SIGINT; the second ends the process at once. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let isStopping = false;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (isStopping) process.exit(1);
        isStopping = true;
        resolve(signal);
      });
    }
    // npm and npx put a shell in between, which keeps a SIGTERM to itself and ends; without this
    // the server would live on, and hold its port, where nobody expects it.
    if (process.env.npm_command !== undefined) {
      const shell = process.ppid;
      const watch = setInterval(() => {
        if (process.ppid === shell) return;
        clearInterval(watch);
        isStopping = true;
        resolve("SIGTERM");
      }, 200).unref();
    }
  });
}

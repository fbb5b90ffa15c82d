import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { Cron } from "croner";
import { type Logger, pino } from "pino";
import { WattslotError } from "../domain/errors.ts";
import { createEngine } from "../engine.ts";
import type { TokenStore } from "../grpc/auth.ts";
import { createMetrics, type Metrics } from "../grpc/metrics.ts";
import { type Monitor, startMonitor } from "../grpc/monitor.ts";
import { Replanner } from "../grpc/replanner.ts";
import { startServer } from "../grpc/server.ts";
import { tokenFile } from "../grpc/tokens.ts";
import { traced } from "../grpc/tracing.ts";
import { Store } from "../store/store.ts";
import { type Config, checkDatabaseUrl, named } from "./config.ts";
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
  checkDatabaseUrl(options.databaseUrl, nameOf("--database-url"));
  // The library's own lines would stand between the log's; what they say reaches the log as errors.
  if (!process.env.GRPC_VERBOSITY) setLogVerbosity(logVerbosity.NONE);
  const logger = pino({ level: logLevel });
  const tokens = tokensOf(options, nameOf, logger);
  const metrics = createMetrics();
  let faults = 0;
  // What was opened is closed in the reverse order, however far this came.
  const closers: (() => Promise<unknown>)[] = [];
  const opened = <T extends { close(): Promise<unknown> }>(one: T): T => {
    closers.unshift(() => one.close());
    return one;
  };
  try {
    const monitor = await monitorOf(options, logger, metrics);
    if (monitor !== undefined) opened(monitor);
    const store = await openStore(options);
    if (store !== undefined) opened(store);
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
    const engine = traced(metrics.observe(opened(planner)));
    const sites = store && {
      store,
      replanner: opened(
        new Replanner({
          store,
          engine,
          logger,
          parallel: workers + 1,
          everyMs: options.reoptimizeEvery,
          keepMs: options.keep,
        }),
      ),
    };
    const server = await startServer({
      engine,
      host,
      port,
      logger,
      drainMs: DRAIN_MS,
      // As many as are planned at once, and a few so that none of them waits for the next.
      parallel: workers + 2,
      onCallEnd: metrics.onCallEnd,
      ...(sites && { sites }),
      ...(credentials && { credentials }),
      ...(tokens && { tokens }),
    }).catch(cannotListen(host, port));
    if (store !== undefined) observeStore(store, metrics, monitor);
    sites?.replanner.start();
    const { reoptimizeCron: expression, timeZone: timezone } = options;
    if (sites !== undefined && expression !== undefined) {
      const job = new Cron(expression, { timezone }, async () => {
        const nowMs = Date.now();
        // Every server does so: a site that one of them has planned since is not due for the others.
        await sites.store
          .makeStaleDue(Math.floor(nowMs / 1000) * 1000, nowMs)
          .catch((err) => logger.error({ err }, "sites can't be made due"));
      });
      closers.unshift(async () => job.stop());
    }
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
    for (const close of closers) await close();
  }
  logger.info({ faults }, "stopped");
}

/** Tells what waits in the store, and whether it can be reached. */
function observeStore(store: Store, metrics: Metrics, monitor: Monitor | undefined): void {
  monitor?.check("database", () => store.ping());
  // All gauges are read at once: they share a look at the store.
  let look: ReturnType<Store["backlog"]> | undefined;
  const backlog = () => {
    look ??= store.backlog(Date.now()).finally(() => {
      look = undefined;
    });
    return look;
  };
  const gauge = (name: string, help: string, value: (waiting: Awaited<typeof look> & {}) => number) =>
    metrics.gauge(name, help, async () => value(await backlog()));
  gauge("wattslot_sites_due", "Sites that wait to be planned", ({ dueSites }) => dueSites);
  gauge(
    "wattslot_oldest_due_seconds",
    "How long the site that waits longest has waited",
    ({ oldestDueMs }) => oldestDueMs / 1000,
  );
  gauge(
    "wattslot_commands_open",
    "Commands that no charger has answered",
    ({ openCommands }) => openCommands,
  );
  gauge(
    "wattslot_oldest_plan_seconds",
    "Age of the oldest plan in force",
    ({ oldestPlanMs }) => oldestPlanMs / 1000,
  );
}

function openStore({
  data,
  databaseUrl,
  debounce,
  answerTimeout,
  retryAfter,
}: Config): Promise<Store> | undefined {
  const place =
    databaseUrl !== undefined ? { url: databaseUrl } : data !== undefined ? { folder: data } : undefined;
  return place && Store.open(place, { debounceMs: debounce, answerMs: answerTimeout, retryMs: retryAfter });
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

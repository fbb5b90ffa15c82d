import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { pino } from "pino";
import { WattslotError } from "../domain/errors.ts";
import { createEngine } from "../engine.ts";
import { Replanner } from "../grpc/replanner.ts";
import { startServer } from "../grpc/server.ts";
import { tokenFile } from "../grpc/tokens.ts";
import { Store } from "../store/store.ts";
import { type ServerTls, serverCredentials } from "./tls.ts";

export interface ServeOptions extends ServerTls {
  host: string;
  port: number;
  workers: number;
  maxQueue: number;
  logLevel: string;
  /** Folder that sites are kept in. */
  data?: string;
  /** PostgreSQL database that sites are kept in. */
  databaseUrl?: string;
  /** Sites whose plan is that old are planned again, ms. */
  reoptimizeEvery?: number;
  /** As in StoreOptions, ms. */
  debounce: number;
  answerTimeout: number;
  retryAfter: number;
  /** The file of tokens; without it every call is let in. */
  tokens?: string;
}

const KEEP_MS = 30 * 24 * 60 * 60_000;

/** Longest time that calls in progress get to end when the server stops. */
const DRAIN_MS = 20_000;

/**
 * Serves until SIGTERM or SIGINT, then lets calls in progress end. Throws INVALID_ARGUMENT where an
 * option is wrong, UNAVAILABLE when it cannot listen.
 */
export async function serve(options: ServeOptions): Promise<void> {
  const { host, port, workers, maxQueue, logLevel } = options;
  const credentials = serverCredentials(options);
  // The library's own lines would stand between the log's; what they say reaches the log as errors.
  if (!process.env.GRPC_VERBOSITY) setLogVerbosity(logVerbosity.NONE);
  const logger = pino({ level: logLevel });
  const tokens =
    options.tokens === undefined
      ? undefined
      : tokenFile(options.tokens, (err) => logger.error({ err }, "tokens are as before: their file is bad"));
  let faults = 0;
  const engine = createEngine({
    workers,
    maxQueue,
    warmUp: true,
    onFault: (message, detail) => {
      faults++;
      logger.error(detail instanceof Error ? { faults, err: detail } : { faults, detail }, message);
    },
  });
  const store = await openStore(options);
  const replanner =
    store &&
    new Replanner({
      store,
      engine,
      logger,
      parallel: workers + 1,
      everyMs: options.reoptimizeEvery ?? Number.POSITIVE_INFINITY,
      keepMs: KEEP_MS,
    });
  const sites = store && replanner && { store, replanner };
  try {
    const server = await startServer({
      engine,
      host,
      port,
      logger,
      drainMs: DRAIN_MS,
      ...(sites === undefined ? {} : { sites }),
      ...(credentials && { credentials }),
      ...(tokens && { tokens }),
    }).catch((error: Error) => {
      throw new WattslotError("UNAVAILABLE", `cannot listen on ${host}:${port}: ${reasonOf(error)}`, {
        cause: error,
      });
    });
    replanner?.start();
    const stopped = stopSignal();
    const tls = credentials !== undefined;
    logger.info(
      { address: server.address, port: server.port, workers, tls, tokens: tokens !== undefined },
      "listening",
    );
    const missing = [...(tls ? [] : ["TLS"]), ...(tokens || options.tlsCa ? [] : ["tokens"])];
    if (missing.length > 0 && !isLoopback(host))
      logger.warn({ address: host }, `listening beyond this machine without ${missing.join(" and ")}`);
    logger.info({ signal: await stopped }, "draining");
    await server.close();
  } finally {
    await replanner?.close();
    await engine.close();
    await store?.close();
  }
  logger.info({ faults }, "stopped");
}

function openStore(options: ServeOptions): Promise<Store> | undefined {
  const { data, databaseUrl, debounce, answerTimeout, retryAfter } = options;
  const place =
    databaseUrl !== undefined ? { url: databaseUrl } : data !== undefined ? { folder: data } : undefined;
  return place && Store.open(place, { debounceMs: debounce, answerMs: answerTimeout, retryMs: retryAfter });
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

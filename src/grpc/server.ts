import { availableParallelism } from "node:os";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Engine } from "../engine.ts";
import { HealthService } from "../gen/grpc/health/v1/health.ts";
import { ServerReflectionService } from "../gen/grpc/reflection/v1/reflection.ts";
import { ChargingNeedsServiceService } from "../gen/wattslot/v1/charging_needs.ts";
import { OptimizerServiceService } from "../gen/wattslot/v1/optimizer.ts";
import { SiteServiceService } from "../gen/wattslot/v1/site.ts";
import type { Store } from "../store/store.ts";
import { authenticate, type TokenStore } from "./auth.ts";
import { type OnCallEnd, observeCalls } from "./calls.ts";
import { bytesService } from "./handler.ts";
import { createHealth } from "./health.ts";
import { awaitRequest, CHANNEL_LIMITS, REQUEST_MS } from "./limits.ts";
import { chargingNeedsService } from "./needs.ts";
import { reflectionService } from "./reflection.ts";
import type { Replanner } from "./replanner.ts";
import { optimizerService } from "./service.ts";
import { siteService } from "./sites.ts";

const OPTIMIZER = "wattslot.v1.OptimizerService";
const CHARGING_NEEDS = "wattslot.v1.ChargingNeedsService";
const SITES = "wattslot.v1.SiteService";
const TOOLS = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

export interface ServerOptions {
  engine: Engine;
  /** Address to listen on. */
  host: string;
  /** 0 for any that is free. */
  port: number;
  logger: Logger;
  /** Default: without TLS. */
  credentials?: ServerCredentials;
  /** The tokens that let calls in. Default: every call is let in. */
  tokens?: TokenStore;
  /** Told of each call that has ended. */
  onCallEnd?: OnCallEnd;
  /** Longest time that calls in progress get to end when the server closes. */
  drainMs: number;
  /**
   * Items of one batch in work at once: as many as the engine has workers, and a few so that none
   * of them waits for the next item. Default: the processors and two.
   */
  parallel?: number;
  /** Where sites are kept, and what plans them; absent: nothing is kept, and the SiteService is not served. */
  sites?: { store: Store; replanner: Replanner };
}

export interface RunningServer {
  address: string;
  port: number;
  /**
   * Tells health checks that nothing is served any more, takes no new calls, lets those in
   * progress end and cancels what is left after drainMs. Leaves the engine running.
   */
  close(): Promise<void>;
}

/** Serves the optimizer and what vehicles say of their needs with health and reflection. Rejects where it can't listen. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { engine, host, port, logger, drainMs, parallel = availableParallelism() + 2 } = options;
  const { credentials = ServerCredentials.createInsecure(), tokens, sites } = options;
  const names = [OPTIMIZER, CHARGING_NEEDS, ...(sites === undefined ? [] : [SITES])];
  const health = createHealth(names);
  // The first is nearest to the wire: it sees the calls that those after it refuse.
  const interceptors = [observeCalls(logger, options.onCallEnd), awaitRequest(REQUEST_MS)];
  if (tokens !== undefined) interceptors.push(authenticate(tokens));
  const server = new Server({ ...CHANNEL_LIMITS, interceptors });
  server.addService(bytesService(OptimizerServiceService), optimizerService(engine, parallel));
  server.addService(bytesService(ChargingNeedsServiceService), chargingNeedsService(engine));
  server.addService(bytesService(HealthService), health.handlers);
  server.addService(bytesService(ServerReflectionService), reflectionService([...names, ...TOOLS]));
  const closing = new AbortController();
  if (sites !== undefined)
    server.addService(
      bytesService(SiteServiceService),
      siteService({ ...sites, engine, parallel, closing: closing.signal }),
    );

  const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const boundPort = await new Promise<number>((resolve, reject) => {
    server.bindAsync(target, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });

  const drain = () =>
    new Promise<void>((resolve) => {
      health.drain();
      closing.abort();
      const timer = setTimeout(() => {
        logger.warn({ drainMs }, "calls still in progress are cancelled");
        server.forceShutdown();
        resolve();
      }, drainMs);
      server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  let closed: Promise<void> | undefined;
  return {
    address: host,
    port: boundPort,
    close() {
      closed ??= drain();
      return closed;
    },
  };
}

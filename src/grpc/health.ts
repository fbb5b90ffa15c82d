import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { WattslotError } from "../domain/errors.ts";
import { HealthCheckResponse_ServingStatus, HealthService } from "../gen/grpc/health/v1/health.ts";
import { serverStream, unary } from "./handler.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** The health of a server that serves all of its services or, once it drains, none. */
export interface Health {
  handlers: UntypedServiceImplementation;
  /** From now on nothing is served. Ends all watches, which would hold up the drain for ever. */
  drain(): void;
}

/** grpc.health.v1.Health for the named services and "", the server as a whole. */
export function createHealth(services: readonly string[]): Health {
  const known = new Set(["", ...services]);
  const watchers = new Set<() => void>();
  let isDraining = false;
  const current = () => ({ status: isDraining ? NOT_SERVING : SERVING });

  const handlers = {
    check: unary(HealthService.check, async ({ service }) => {
      if (known.has(service)) return current();
      throw new WattslotError("NOT_FOUND", "unknown service");
    }),
    watch: serverStream(HealthService.watch, async function* ({ service }, { signal }) {
      yield known.has(service) ? current() : { status: SERVICE_UNKNOWN };
      signal.throwIfAborted();
      if (!isDraining) {
        await new Promise<void>((resolve) => {
          const end = () => {
            watchers.delete(end);
            resolve();
          };
          watchers.add(end);
          signal.addEventListener("abort", end, { once: true });
        });
        signal.throwIfAborted();
        if (known.has(service)) yield current();
      }
      throw new WattslotError("UNAVAILABLE", "the server is shutting down");
    }),
  };
  return {
    handlers,
    drain() {
      isDraining = true;
      for (const end of [...watchers]) end();
    },
  };
}

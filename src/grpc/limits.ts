import { ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";
import { BOUNDS } from "./bounds.ts";

/** Time in which the first message of a call has to be there, ms. */
export const REQUEST_MS = 60_000;

/**
 * What one client may take of the server. Headers have Node's bound of 64 KiB, a connection whose TLS
 * never comes about Node's of two minutes, one that says nothing ends with the first ping.
 */
export const CHANNEL_LIMITS = {
  "grpc.max_receive_message_length": BOUNDS.messageBytes,
  // As many calls as wait for a thread by default; what is above waits at the client.
  "grpc.max_concurrent_streams": 256,
  // Notices callers that vanished without a word, and lets go of those that have nothing to say.
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.max_connection_idle_ms": 15 * 60_000,
  // Clients connect anew by themselves, to whichever replica has come since; a stream that never ends gets as
  // long again.
  "grpc.max_connection_age_ms": 30 * 60_000,
  "grpc.max_connection_age_grace_ms": 30 * 60_000,
} as const;

/** Ends calls whose first message isn't there in time (ms) with DEADLINE_EXCEEDED: each holds what has come of it. */
export function awaitRequest(withinMs: number): ServerInterceptor {
  return (_method, nextCall) => {
    let timer: NodeJS.Timeout | undefined;
    return new ServerInterceptingCall(nextCall, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, deliver) => {
            timer = setTimeout(() => {
              const details = `no request came within ${withinMs / 1000} s`;
              nextCall.sendStatus({ code: status.DEADLINE_EXCEEDED, details });
            }, withinMs);
            deliver(metadata);
          },
          onReceiveMessage: (message, deliver) => {
            clearTimeout(timer);
            deliver(message);
          },
          onCancel: () => clearTimeout(timer),
        }),
      sendStatus: (partial, next) => {
        clearTimeout(timer);
        next(partial);
      },
    });
  };
}

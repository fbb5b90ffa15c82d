import { randomUUID } from "node:crypto";
import { Metadata, ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { SCOPES, type Scope } from "./scopes.ts";

const REQUEST_ID = "x-request-id";

// At its deadline a client cancels by itself, which reaches the server shortly before the server's
// own timer: the deadline travels as a time span and starts here when the call arrives.
const DEADLINE_SLACK_MS = 100;

/** What a handler knows of its call and the log tells: counts and outcomes, never the request. */
export interface CallFacts {
  requestBytes?: number;
  responseBytes?: number;
  sessions?: number;
  slots?: number;
  planStatus?: string;
  violations?: number;
  items?: number;
  failedItems?: number;
  /** Of the token that the call came with. */
  tokenId?: string;
  tenant?: string;
}

/** On whose behalf a call is. */
export interface Caller {
  tenant: string;
  scopes: ReadonlySet<Scope>;
}

/** Who calls where no token is asked for. */
const ANYONE: Caller = { tenant: "default", scopes: new Set(SCOPES) };

/** One call, from its first header on. */
export interface Call {
  requestId: string;
  caller: Caller;
  facts: CallFacts;
  logger: Logger;
}

// grpc-js hands the very metadata that an interceptor saw to the handler: the link between the two. What is
// linked by it, the caller above all, can't be sent by a client.
const calls = new WeakMap<Metadata, Call>();

/** The call that came with this metadata. */
export function callOf(metadata: Metadata): Call {
  const call = calls.get(metadata);
  if (call === undefined) throw new Error("a call that the interceptor has not seen");
  return call;
}

/** Told of each call that has ended: its method's full name with slashes, its code, and how long it took, s. */
export type OnCallEnd = (path: string, code: string, seconds: number) => void;

/**
 * Gives every call an id, returns it in the initial metadata, and writes one line to the log when
 * the call ends, however it ends. Calls of probes and tools (grpc.health, grpc.reflection) are
 * logged at debug.
 */
export function observeCalls(logger: Logger, onEnd: OnCallEnd = () => {}): ServerInterceptor {
  return (method, nextCall) => {
    const startMs = performance.now();
    const call: Call = { requestId: randomUUID(), caller: ANYONE, facts: {}, logger };
    let hasRequest = false;
    let isOver = false;
    const end = (code: status, reason?: string) => {
      if (isOver) return;
      isOver = true;
      const { requestId, facts } = call;
      const tookMs = performance.now() - startMs;
      onEnd(method.path, status[code], tookMs / 1000);
      const durationMs = Math.round(tookMs * 10) / 10;
      const line = { requestId, method: method.path, code: status[code], durationMs, ...facts, reason };
      if (method.path.startsWith("/grpc.")) logger.debug(line, "call");
      else logger.info(line, "call");
    };
    return new ServerInterceptingCall(nextCall, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, deliver) => {
            call.requestId = givenId(metadata) ?? call.requestId;
            call.logger = logger.child({ requestId: call.requestId });
            calls.set(metadata, call);
            const initial = new Metadata();
            initial.set(REQUEST_ID, call.requestId);
            nextCall.sendMetadata(initial);
            deliver(metadata);
          },
          onReceiveMessage: (message, deliver) => {
            hasRequest = true;
            deliver(message);
          },
          // Comes at the end of every call. It is news where grpc-js ended the call without a
          // word to the interceptor: deadline, oversize, the client gone.
          onCancel: () => {
            if (Number(nextCall.getDeadline()) - DEADLINE_SLACK_MS <= Date.now())
              end(status.DEADLINE_EXCEEDED);
            else
              end(
                status.CANCELLED,
                hasRequest ? "by the client" : "before a request was read: cancelled or oversize",
              );
          },
        }),
      sendStatus: (partial, next) => {
        end(partial.code);
        next(partial);
      },
    });
  };
}

function givenId(metadata: Metadata): string | undefined {
  const [given] = metadata.get(REQUEST_ID);
  return typeof given === "string" && /^[\w.:-]{1,128}$/.test(given) ? given : undefined;
}

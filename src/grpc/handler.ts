import { once, setMaxListeners } from "node:events";
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  MethodDefinition,
  ServerDuplexStream,
  ServerWritableStream,
  ServiceDefinition,
  StatusObject,
} from "@grpc/grpc-js";
import { WattslotError } from "../domain/errors.ts";
import { type Call, callOf } from "./calls.ts";
import { toStatus } from "./errors.ts";

/** What a handler gets beside its request. */
export interface Context {
  /** Aborts when the caller is gone or the deadline has passed; then nobody reads the answer. */
  signal: AbortSignal;
  /** The caller's deadline, epoch ms; Infinity without one. */
  deadlineMs: number;
  call: Call;
}

/**
 * A service whose messages reach its handlers as bytes, and leave them so. grpc-js answers a
 * message that it can't decode or encode with INTERNAL, past every handler; in one, what can't be
 * decoded is the caller's mistake and what can't be encoded is logged.
 */
export function bytesService(service: ServiceDefinition): ServiceDefinition {
  const asIs = (bytes: Buffer) => bytes;
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      { ...method, requestDeserialize: asIs, responseSerialize: asIs },
    ]),
  );
}

/** Decodes a message. Throws INVALID_ARGUMENT where the bytes are none. */
export function decode<Request>(
  method: Pick<MethodDefinition<Request, never>, "requestDeserialize">,
  bytes: Buffer,
): Request {
  try {
    return method.requestDeserialize(bytes);
  } catch (cause) {
    throw new WattslotError("INVALID_ARGUMENT", "the request can't be decoded", { cause });
  }
}

/** A unary method as an async function. */
export function unary<Request, Response>(
  method: MethodDefinition<Request, Response>,
  answer: (request: Request, context: Context) => Promise<Response>,
): handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    const { context, succeed, fail } = open(call);
    context.call.facts.requestBytes = call.request.length;
    const respond = async () => {
      const response = await answer(decode(method, call.request), context);
      return method.responseSerialize(response);
    };
    respond().then(
      (bytes) => {
        context.call.facts.responseBytes = bytes.length;
        succeed();
        callback(null, bytes);
      },
      (error) => callback(fail(error)),
    );
  };
}

/** A method with one request and many answers, as an async generator. */
export function serverStream<Request, Response>(
  method: MethodDefinition<Request, Response>,
  answers: (request: Request, context: Context) => AsyncIterable<Response>,
): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => void pump(call, method, (context) => answers(decode(method, call.request), context));
}

/** A method with many requests and many answers, as an async generator over the requests' bytes. */
export function bidiStream<Request, Response>(
  method: MethodDefinition<Request, Response>,
  answers: (requests: AsyncIterator<Buffer>, context: Context) => AsyncIterable<Response>,
): handleBidiStreamingCall<Buffer, Buffer> {
  return (call) =>
    void pump(call, method, (context) =>
      // The default iterator destroys the whole duplex when it ends: no answer, no status.
      answers(call.iterator({ destroyOnReturn: false }), context),
    );
}

/** Writes the answers no faster than the caller takes them, then the status. Never rejects. */
async function pump<Response>(
  call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
  method: Pick<MethodDefinition<never, Response>, "responseSerialize">,
  answers: (context: Context) => AsyncIterable<Response>,
): Promise<void> {
  const { context, succeed, fail } = open(call);
  const { signal } = context;
  const { facts } = context.call;
  try {
    for await (const answer of answers(context)) {
      signal.throwIfAborted();
      const bytes = method.responseSerialize(answer);
      facts.responseBytes = (facts.responseBytes ?? 0) + bytes.length;
      if (!call.write(bytes)) await once(call, "drain", { signal });
    }
    signal.throwIfAborted();
    succeed();
    call.end();
  } catch (error) {
    const status = fail(error);
    // The way to end a stream with a status; one whose caller is gone has ended already.
    if (!signal.aborted) call.emit("error", status);
  }
}

interface AnyCall {
  metadata: Metadata;
  cancelled: boolean;
  getDeadline(): Date | number;
  once(event: "cancelled", listener: () => void): unknown;
  off(event: "cancelled", listener: () => void): unknown;
}

/** The context of a call; `succeed` or `fail` must come before its status is sent. */
function open(call: AnyCall): {
  context: Context;
  succeed: () => void;
  fail: (error: unknown) => StatusObject;
} {
  const controller = new AbortController();
  const { signal } = controller;
  // All items of a batch that are in work listen to it: more than Node takes for a leak.
  setMaxListeners(0, signal);
  const abort = () => controller.abort(new WattslotError("CANCELLED", "the caller is gone"));
  if (call.cancelled) abort();
  else call.once("cancelled", abort);
  const context = { signal, deadlineMs: Number(call.getDeadline()), call: callOf(call.metadata) };
  // grpc-js says "cancelled" at the end of every call, also of one that went well.
  const succeed = () => call.off("cancelled", abort);
  return {
    context,
    succeed,
    fail(error) {
      succeed();
      if (!signal.aborted) logFault(context.call, error);
      const { violations } = WattslotError.from(error);
      if (violations.length > 0) context.call.facts.violations = violations.length;
      return toStatus(error);
    },
  };
}

/** Writes down in full what the caller is told nothing of. */
export function logFault({ logger }: Call, error: unknown): void {
  const { code, cause } = WattslotError.from(error);
  if (code === "INTERNAL")
    logger.error({ err: error instanceof WattslotError ? (cause ?? error) : error }, "internal error");
}

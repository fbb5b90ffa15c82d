import { once } from "node:events";
import { finished } from "node:stream/promises";
import {
  type ChannelCredentials,
  type ClientUnaryCall,
  credentials,
  InterceptingCall,
  type Interceptor,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { type ErrorCode, type FieldViolation, WattslotError } from "../domain/errors.ts";
import { BadRequest } from "../gen/google/rpc/error_details.ts";
import { Status } from "../gen/google/rpc/status.ts";
import {
  ChargingNeedsServiceClient,
  NotifyEvChargingNeedsRequest,
  type NotifyEvChargingNeedsResponse,
  NotifyEvChargingScheduleRequest,
  type NotifyEvChargingScheduleResponse,
} from "../gen/wattslot/v1/charging_needs.ts";
import {
  type OptimizeBatchResponse,
  OptimizeRequest,
  type OptimizeResponse,
  OptimizerServiceClient,
} from "../gen/wattslot/v1/optimizer.ts";

export {
  ChargingNeedsStatus,
  NotifyEvChargingNeedsRequest,
  type NotifyEvChargingNeedsResponse,
  NotifyEvChargingScheduleRequest,
  type NotifyEvChargingScheduleResponse,
} from "../gen/wattslot/v1/charging_needs.ts";
export {
  Change,
  ChargingRateUnit,
  type FallbackProfile,
  OcppVersion,
  OptimizeBatchRequest,
  OptimizeBatchResponse,
  OptimizeRequest,
  OptimizeResponse,
  OptimizerServiceClient,
  Phase,
  PlanStatus,
  type PlanSummary,
  Preference,
  PriceForm,
  type SessionPlan,
  ShortfallCause,
  type SolveReport,
  SolverKind,
  Supply,
  Winding,
} from "../gen/wattslot/v1/optimizer.ts";

/** A request of which any part may be left out; what is left out has the contract's default. */
export type PartialRequest = Parameters<typeof OptimizeRequest.fromPartial>[0];

export interface CallOptions {
  /** The server answers before. Default 15 000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A connection to a Wattslot server. */
export interface Optimizer {
  /** Plans one site. Rejects with a WattslotError that names every wrong field of a bad request. */
  optimize(request: PartialRequest, options?: CallOptions): Promise<OptimizeResponse>;
  /** Plans a site with a vehicle that has said what it needs; as for `optimize`. */
  notifyEvChargingNeeds(
    request: Parameters<typeof NotifyEvChargingNeedsRequest.fromPartial>[0],
    options?: CallOptions,
  ): Promise<NotifyEvChargingNeedsResponse>;
  /** Judges how a vehicle means to charge, and plans anew where that is not inside of what it may; as for `optimize`. */
  notifyEvChargingSchedule(
    request: Parameters<typeof NotifyEvChargingScheduleRequest.fromPartial>[0],
    options?: CallOptions,
  ): Promise<NotifyEvChargingScheduleResponse>;
  /**
   * Plans many sites over one stream. Requests are taken as fast as the server plans; answers come
   * as each is ready, not in order, an error of one request in its answer. Throws a WattslotError when
   * the stream ends before all are answered. Leaving the loop ends the stream.
   */
  optimizeBatch(
    requests: Iterable<BatchItem> | AsyncIterable<BatchItem>,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<OptimizeBatchResponse>;
  close(): void;
}

/** One request of a batch; the id comes back with its answer. */
export interface BatchItem {
  requestId: string;
  request: PartialRequest;
}

/** Connects to `HOST:PORT`, without TLS unless credentials are given. A token goes with every call: send it over TLS. */
export function connect(
  address: string,
  channelCredentials: ChannelCredentials = credentials.createInsecure(),
  token?: string,
): Optimizer {
  const channelOptions = {
    // The bounds of an answer are the server's.
    "grpc.max_receive_message_length": -1,
    interceptors: token === undefined ? [] : [bearing(token)],
  };
  const client = new OptimizerServiceClient(address, channelCredentials, channelOptions);
  const needs = new ChargingNeedsServiceClient(address, channelCredentials, channelOptions);
  return {
    optimize: (request, options) =>
      unary(options, (...call) => client.optimize(OptimizeRequest.fromPartial(request), ...call)),
    notifyEvChargingNeeds: (request, options) =>
      unary(options, (...call) =>
        needs.notifyEvChargingNeeds(NotifyEvChargingNeedsRequest.fromPartial(request), ...call),
      ),
    notifyEvChargingSchedule: (request, options) =>
      unary(options, (...call) =>
        needs.notifyEvChargingSchedule(NotifyEvChargingScheduleRequest.fromPartial(request), ...call),
      ),
    optimizeBatch: (requests, { signal } = {}) => batch(client, requests, signal),
    close: () => {
      client.close();
      needs.close();
    },
  };
}

// gRPC's own credentials of a call go over TLS only, which a server on the same machine doesn't need.
/** Sends a token with every call. */
export function bearing(token: string): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, listener, next) => {
        metadata.set("authorization", `Bearer ${token}`);
        next(metadata, listener);
      },
    });
}

/** One call with one answer. */
export function unary<Response>(
  { timeoutMs = 15_000, signal }: CallOptions = {},
  send: (
    metadata: Metadata,
    options: { deadline: number },
    done: (error: ServiceError | null, response: Response) => void,
  ) => ClientUnaryCall,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new WattslotError("CANCELLED", "cancelled before it was sent"));
    const call = send(new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
      signal?.removeEventListener("abort", cancel);
      if (error === null) resolve(response);
      else reject(fromServiceError(error));
    });
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

async function* batch(
  client: OptimizerServiceClient,
  requests: Iterable<BatchItem> | AsyncIterable<BatchItem>,
  signal: AbortSignal | undefined,
): AsyncGenerator<OptimizeBatchResponse> {
  if (signal?.aborted) throw new WattslotError("CANCELLED", "cancelled before it was sent");
  const call = client.optimizeBatch();
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  let failure: unknown;
  // How the stream ended is the reader's to tell.
  const ended = finished(call).catch(() => {});
  const send = async () => {
    for await (const { requestId, request } of requests) {
      if (call.destroyed) return;
      const item = { requestId, request: OptimizeRequest.fromPartial(request) };
      if (!call.write(item)) await Promise.race([once(call, "drain").catch(() => {}), ended]);
    }
    call.end();
  };
  const sent = send().catch((error) => {
    failure ??= error;
    call.cancel();
  });
  try {
    yield* call as AsyncIterable<OptimizeBatchResponse>;
    await sent;
  } catch (error) {
    throw failure ?? fromServiceError(error as ServiceError);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

const CODES: Partial<Record<status, ErrorCode>> = {
  [status.INVALID_ARGUMENT]: "INVALID_ARGUMENT",
  [status.RESOURCE_EXHAUSTED]: "RESOURCE_EXHAUSTED",
  [status.UNAUTHENTICATED]: "UNAUTHENTICATED",
  [status.PERMISSION_DENIED]: "PERMISSION_DENIED",
  [status.CANCELLED]: "CANCELLED",
  [status.DEADLINE_EXCEEDED]: "DEADLINE_EXCEEDED",
  [status.UNAVAILABLE]: "UNAVAILABLE",
  [status.NOT_FOUND]: "NOT_FOUND",
  [status.ABORTED]: "ABORTED",
  [status.FAILED_PRECONDITION]: "FAILED_PRECONDITION",
};

/** How a call failed, as a WattslotError with every wrong field that the server names. */
export function fromServiceError(error: ServiceError): WattslotError {
  // gRPC ends a refused connection with a note that is mostly empty.
  const message = error.details.replace(/\s*Resolution note:\s*$/, "");
  // Said by this side, of what no compiler has looked at: a text for a Date, a negative number of seconds.
  const [, unwritable] = /^Request message serialization failure: (.*)/s.exec(message) ?? [];
  if (unwritable !== undefined)
    return new WattslotError("INVALID_ARGUMENT", `the request can't be written: ${unwritable}`, {
      cause: error,
    });
  return new WattslotError(CODES[error.code] ?? "INTERNAL", message, {
    violations: violationsOf(error.metadata),
    cause: error,
  });
}

/** The wrong fields that a google.rpc.Status in the trailers names (google.rpc.BadRequest). */
function violationsOf(metadata: Metadata): FieldViolation[] {
  try {
    return metadata
      .get("grpc-status-details-bin")
      .filter((value) => typeof value !== "string")
      .flatMap((value) => Status.decode(value).details)
      .filter(({ typeUrl }) => typeUrl.endsWith("/google.rpc.BadRequest"))
      .flatMap(({ value }) => BadRequest.decode(value).fieldViolations);
  } catch {
    // Details that some proxy garbled must not hide the error that they belong to.
    return [];
  }
}

import {
  type ChannelCredentials,
  type ClientReadableStream,
  credentials,
  type ServiceError,
} from "@grpc/grpc-js";
import * as wire from "../gen/wattslot/v1/site.ts";
import { bearing, type CallOptions, fromServiceError, unary } from "./client.ts";

export { CommandResult, type ReoptimizeResult, SeriesKind } from "../gen/wattslot/v1/site.ts";

/** A message of which any part may be left out; what is left out has the contract's default. */
type Partial<Message extends { fromPartial(object: never): unknown }> = Parameters<Message["fromPartial"]>[0];

/** A connection to a Wattslot server that keeps sites. Calls reject with a WattslotError. */
export interface Sites {
  putSite(request: Partial<typeof wire.PutSiteRequest>, options?: CallOptions): Promise<wire.PutSiteResponse>;
  getSite(request: Partial<typeof wire.GetSiteRequest>, options?: CallOptions): Promise<wire.GetSiteResponse>;
  listSites(
    request: Partial<typeof wire.ListSitesRequest>,
    options?: CallOptions,
  ): Promise<wire.ListSitesResponse>;
  deleteSite(
    request: Partial<typeof wire.DeleteSiteRequest>,
    options?: CallOptions,
  ): Promise<wire.DeleteSiteResponse>;
  putSeries(
    request: Partial<typeof wire.PutSeriesRequest>,
    options?: CallOptions,
  ): Promise<wire.PutSeriesResponse>;
  putSession(
    request: Partial<typeof wire.PutSessionRequest>,
    options?: CallOptions,
  ): Promise<wire.PutSessionResponse>;
  reportProgress(
    request: Partial<typeof wire.ReportProgressRequest>,
    options?: CallOptions,
  ): Promise<wire.ReportProgressResponse>;
  endSession(
    request: Partial<typeof wire.EndSessionRequest>,
    options?: CallOptions,
  ): Promise<wire.EndSessionResponse>;
  forwardEvChargingNeeds(
    request: Partial<typeof wire.ForwardEvChargingNeedsRequest>,
    options?: CallOptions,
  ): Promise<wire.ForwardEvChargingNeedsResponse>;
  forwardEvChargingSchedule(
    request: Partial<typeof wire.ForwardEvChargingScheduleRequest>,
    options?: CallOptions,
  ): Promise<wire.ForwardEvChargingScheduleResponse>;
  getPlan(request: Partial<typeof wire.GetPlanRequest>, options?: CallOptions): Promise<wire.GetPlanResponse>;
  reportCommand(
    request: Partial<typeof wire.ReportCommandRequest>,
    options?: CallOptions,
  ): Promise<wire.ReportCommandResponse>;
  /** Answers as each site is planned, and ends with a summary. Leaving the loop ends the call. */
  reoptimize(
    request: Partial<typeof wire.ReoptimizeRequest>,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<wire.ReoptimizeResponse>;
  /** Commands as they come up, without an end. Leaving the loop ends the call. */
  watchCommands(
    request: Partial<typeof wire.WatchCommandsRequest>,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<wire.WatchCommandsResponse>;
  close(): void;
}

/** Connects to `HOST:PORT`, without TLS unless credentials are given. A token goes with every call: send it over TLS. */
export function connectSites(
  address: string,
  channelCredentials: ChannelCredentials = credentials.createInsecure(),
  token?: string,
): Sites {
  const client = new wire.SiteServiceClient(address, channelCredentials, {
    "grpc.max_receive_message_length": -1,
    // A stream of commands is silent for long: a server that has gone without a word is noticed all the same.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // One that comes back is found soon; the default waits for up to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5000,
    interceptors: token === undefined ? [] : [bearing(token)],
  });
  return {
    putSite: (request, options) =>
      unary(options, (...call) => client.putSite(wire.PutSiteRequest.fromPartial(request), ...call)),
    getSite: (request, options) =>
      unary(options, (...call) => client.getSite(wire.GetSiteRequest.fromPartial(request), ...call)),
    listSites: (request, options) =>
      unary(options, (...call) => client.listSites(wire.ListSitesRequest.fromPartial(request), ...call)),
    deleteSite: (request, options) =>
      unary(options, (...call) => client.deleteSite(wire.DeleteSiteRequest.fromPartial(request), ...call)),
    putSeries: (request, options) =>
      unary(options, (...call) => client.putSeries(wire.PutSeriesRequest.fromPartial(request), ...call)),
    putSession: (request, options) =>
      unary(options, (...call) => client.putSession(wire.PutSessionRequest.fromPartial(request), ...call)),
    reportProgress: (request, options) =>
      unary(options, (...call) =>
        client.reportProgress(wire.ReportProgressRequest.fromPartial(request), ...call),
      ),
    endSession: (request, options) =>
      unary(options, (...call) => client.endSession(wire.EndSessionRequest.fromPartial(request), ...call)),
    forwardEvChargingNeeds: (request, options) =>
      unary(options, (...call) =>
        client.forwardEvChargingNeeds(wire.ForwardEvChargingNeedsRequest.fromPartial(request), ...call),
      ),
    forwardEvChargingSchedule: (request, options) =>
      unary(options, (...call) =>
        client.forwardEvChargingSchedule(wire.ForwardEvChargingScheduleRequest.fromPartial(request), ...call),
      ),
    getPlan: (request, options) =>
      unary(options, (...call) => client.getPlan(wire.GetPlanRequest.fromPartial(request), ...call)),
    reportCommand: (request, options) =>
      unary(options, (...call) =>
        client.reportCommand(wire.ReportCommandRequest.fromPartial(request), ...call),
      ),
    reoptimize: (request, { signal } = {}) =>
      answersOf(client.reoptimize(wire.ReoptimizeRequest.fromPartial(request)), signal),
    watchCommands: (request, { signal } = {}) =>
      answersOf(client.watchCommands(wire.WatchCommandsRequest.fromPartial(request)), signal),
    close: () => client.close(),
  };
}

async function* answersOf<Response>(
  call: ClientReadableStream<Response>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Response> {
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  if (signal?.aborted) cancel();
  try {
    yield* call as AsyncIterable<Response>;
  } catch (error) {
    throw fromServiceError(error as ServiceError);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

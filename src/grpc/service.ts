import { BinaryReader } from "@bufbuild/protobuf/wire";
import { status, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { WattslotError } from "../domain/errors.ts";
import type { SitePlan } from "../domain/plan.ts";
import type { Engine } from "../engine.ts";
import {
  type OptimizeBatchResponse,
  type OptimizeRequest,
  type OptimizeResponse,
  OptimizerServiceService,
} from "../gen/wattslot/v1/optimizer.ts";
import { toProblem } from "./convert.ts";
import { publicError } from "./errors.ts";
import { bidiStream, type Context, decode, logFault, unary } from "./handler.ts";
import { inParallel } from "./parallel.ts";
import { toResponse } from "./response.ts";

/** Handlers of wattslot.v1.OptimizerService; `parallel` bounds the items of one batch in work at once. */
export function optimizerService(engine: Engine, parallel: number): UntypedServiceImplementation {
  return {
    optimize: unary(OptimizerServiceService.optimize, async (request, context) => {
      const { response, plan } = await optimize(engine, request, context);
      tellOf(context, plan);
      return response;
    }),
    optimizeBatch: bidiStream(OptimizerServiceService.optimizeBatch, (requests, context) => {
      const counts = Object.assign(context.call.facts, { items: 0, failedItems: 0, requestBytes: 0 });
      return inParallel(requests, parallel, context.signal, async (bytes) => {
        const answer = await answerItem(engine, bytes, context);
        counts.items++;
        counts.requestBytes += bytes.length;
        if (answer.outcome?.$case === "error") counts.failedItems++;
        return answer;
      });
    }),
  };
}

/** Leaves in the log what came of a call. */
export function tellOf({ call: { facts } }: Context, plan: SitePlan): void {
  facts.sessions = plan.sessionPlans.length;
  facts.slots = plan.slotStartsMs.length;
  facts.planStatus = plan.status;
}

/** Plans a request; the charger of the session `awaitedId` gets a profile even if that is what it holds. */
export async function optimize(
  engine: Engine,
  request: OptimizeRequest,
  { signal, deadlineMs }: Context,
  awaitedId?: string,
): Promise<{ response: OptimizeResponse; plan: SitePlan }> {
  const startMs = Date.now();
  const problem = toProblem(request, startMs);
  const awaited = problem.sessions.find(({ sessionId }) => sessionId === awaitedId);
  if (awaited !== undefined) awaited.isAwaited = true;
  const plan = await engine.optimise(problem, {
    signal,
    deadlineMs: answerByMs(startMs, problem.timeLimitMs, deadlineMs),
  });
  return { response: toResponse(plan, Date.now() - startMs), plan };
}

/**
 * When the plan must be there, epoch ms: within the time limit, and before the deadline by a fifth
 * of the time left, from 50 ms 5 % of it, in which the answer is written and travels.
 */
export function answerByMs(nowMs: number, timeLimitMs: number, deadlineMs: number): number {
  const leftMs = deadlineMs - nowMs;
  return nowMs + Math.min(timeLimitMs, leftMs - Math.min(50, 0.2 * leftMs), leftMs * 0.95);
}

/** The answer to one request of a batch; an error of it is its own. */
async function answerItem(engine: Engine, bytes: Buffer, context: Context): Promise<OptimizeBatchResponse> {
  try {
    const { requestId, request } = decode(OptimizerServiceService.optimizeBatch, bytes);
    if (request === undefined) {
      const violations = [{ field: "request", description: "is required" }];
      throw new WattslotError("INVALID_ARGUMENT", "invalid request: request is required", { violations });
    }
    const { response } = await optimize(engine, request, context);
    return { requestId, outcome: { $case: "response", value: response } };
  } catch (error) {
    if (!context.signal.aborted) logFault(context.call, error);
    const { code, message, violations } = publicError(error);
    const value = { code: status[code], message, violations: [...violations] };
    return { requestId: requestIdOf(bytes), outcome: { $case: "error", value } };
  }
}

/** The request_id of a batch item, also of one whose request can't be decoded; empty where there is none. */
function requestIdOf(bytes: Buffer): string {
  let requestId = "";
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 1) requestId = reader.string();
      else reader.skip(type);
    }
  } catch {
    // What was read before the bytes stopped making sense is the best there is.
  }
  return requestId;
}

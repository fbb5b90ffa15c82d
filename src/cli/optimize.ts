import { WattslotError } from "../domain/errors.ts";
import { createEngine } from "../engine.ts";
import { connect, type OptimizeRequest, type OptimizeResponse, type Optimizer } from "../grpc/client.ts";
import { toProblem } from "../grpc/convert.ts";
import { requestFromJson, responseToJson } from "../grpc/json.ts";
import { toResponse } from "../grpc/response.ts";
import { readInput } from "./input.ts";
import { formatPlan } from "./table.ts";
import { type ClientTls, clientCredentials, explained } from "./tls.ts";

export interface OptimizeOptions extends ClientTls {
  address?: string;
  token?: string;
  json: boolean;
}

/** Longest time for one plan unless the request sets another. */
const TIME_LIMIT_MS = 10_000;
/** What a call may take beyond the time for the plan. */
const CALL_MARGIN_MS = 5000;

/** Plans the request in a file and prints the plan. Throws INVALID_ARGUMENT on bad input. */
export async function optimize(file: string, options: OptimizeOptions): Promise<void> {
  const { address, token, json } = options;
  const credentials = clientCredentials(options);
  if (address === undefined && credentials !== undefined)
    throw new WattslotError("INVALID_ARGUMENT", "TLS is for a server: give its --address");
  const request = requestFromJson(await readInput(file), Date.now());
  const response =
    address === undefined
      ? await planHere(request)
      : await planThere(request, connect(address, credentials, token)).catch((error) => {
          throw explained(error, address, credentials);
        });
  process.stdout.write(
    json
      ? `${JSON.stringify(responseToJson(response))}\n`
      : formatPlan(request, response, {
          width: process.stdout.columns || 100,
          colour: process.stdout.isTTY === true && !process.env.NO_COLOR,
        }),
  );
}

async function planHere(request: OptimizeRequest): Promise<OptimizeResponse> {
  const startMs = Date.now();
  const problem = toProblem(request, startMs);
  const engine = createEngine({
    workers: 1,
    maxQueue: 0,
    onFault: (message) => process.stderr.write(`wattslot: ${message}\n`),
  });
  try {
    const plan = await engine.optimise(problem);
    return toResponse(plan, Date.now() - startMs);
  } finally {
    await engine.close();
  }
}

async function planThere(request: OptimizeRequest, optimizer: Optimizer): Promise<OptimizeResponse> {
  try {
    const timeLimitMs = request.options?.timeLimitMs || TIME_LIMIT_MS;
    return await optimizer.optimize(request, { timeoutMs: timeLimitMs + CALL_MARGIN_MS });
  } finally {
    optimizer.close();
  }
}

import { ChannelCredentials, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { SitePlan } from "../../src/domain/plan.ts";
import type { Problem } from "../../src/domain/problem.ts";
import type { Engine } from "../../src/engine.ts";
import { BadRequest } from "../../src/gen/google/rpc/error_details.ts";
import { Status } from "../../src/gen/google/rpc/status.ts";
import {
  type OptimizeRequest,
  type OptimizeResponse,
  OptimizerServiceClient,
} from "../../src/gen/wattslot/v1/optimizer.ts";
import { type ServerOptions, startServer } from "../../src/grpc/server.ts";

/** A plan in which nobody charges: what travels over the wire matters here, not what is planned. */
export function idlePlan(problem: Problem): SitePlan {
  const { site, sessions, slotStartsMs, notices } = problem;
  const zeros = () => new Float64Array(slotStartsMs.length - 1);
  return {
    siteId: site.siteId,
    status: "FEASIBLE",
    sessionPlans: sessions.map(({ sessionId, evse, energyWh }) => ({
      sessionId,
      stationId: site.evses[evse].stationId,
      evseId: site.evses[evse].evseId,
      command: undefined,
      powerW: zeros(),
      plannedEnergyWh: 0,
      shortfallWh: energyWh,
      shortfallCauses: ["OUT_OF_TIME"],
      completeMs: undefined,
      energyCost: 0,
      change: "NEW",
      explanation: "",
      minimumShortfallWh: 0,
      dischargedEnergyWh: 0,
      dischargePayment: 0,
    })),
    startMs: slotStartsMs[0],
    slotStartsMs: slotStartsMs.slice(0, -1),
    chargingPowerW: zeros(),
    importPowerW: zeros(),
    exportPowerW: zeros(),
    pvPowerW: zeros(),
    batteryPowerW: undefined,
    circuits: site.circuits.map(({ circuitId, maxPowerW }) => ({
      circuitId,
      powerW: zeros(),
      limitW: zeros().fill(maxPowerW),
      shadowPricePerKwh: zeros(),
    })),
    wave1ByMs: undefined,
    wave2ByMs: undefined,
    summary: {
      requestedEnergyWh: 0,
      plannedEnergyWh: 0,
      shortfallWh: 0,
      energyCost: 0,
      demandCost: 0,
      peakImportW: 0,
      carbonKg: 0,
      uncontrolledCost: 0,
      uncontrolledPeakW: 0,
      uncontrolledEnergyWh: 0,
      pvEnergyWh: 0,
      exportEnergyWh: 0,
      exportRevenue: 0,
      changedEnergyWh: 0,
      dischargedEnergyWh: 0,
      dischargePayment: 0,
      siteEnergyCost: 0,
    },
    notices,
    fallbackProfiles: [],
    solve: {
      solver: "NONE",
      solveMs: 0,
      columns: 0,
      rows: 0,
      objective: 0,
      bound: Number.NEGATIVE_INFINITY,
      gap: Number.NaN,
      checks: 0,
    },
  };
}

/** One call of the engine, which ends when the test says so. */
export interface EngineCall {
  problem: Problem;
  signal: AbortSignal;
  deadlineMs: number;
  resolve: (plan: SitePlan) => void;
  reject: (error: unknown) => void;
}

export interface FakeEngine extends Engine {
  calls: EngineCall[];
  /** Most calls that were in work at the same time. */
  mostInWork: number;
  /** The nth call of the engine, once it has come. */
  call(index: number): Promise<EngineCall>;
}

/** An engine in the test's hands: `onCall` may end a call at once. */
export function fakeEngine(onCall: (call: EngineCall) => void = () => {}): FakeEngine {
  let inWork = 0;
  const engine: FakeEngine = {
    calls: [],
    mostInWork: 0,
    call: (index) => until(() => engine.calls[index]),
    optimise: (problem, { signal, deadlineMs } = {}) => {
      inWork++;
      engine.mostInWork = Math.max(engine.mostInWork, inWork);
      const planned = new Promise<SitePlan>((resolve, reject) => {
        const call = { problem, signal: signal!, deadlineMs: deadlineMs!, resolve, reject };
        signal!.addEventListener("abort", () => reject(signal!.reason), { once: true });
        engine.calls.push(call);
        onCall(call);
      });
      return planned.finally(() => inWork--);
    },
    load: () => ({ workers: 1, busy: Math.min(1, inWork), queued: Math.max(0, inWork - 1) }),
    close: async () => {},
  };
  return engine;
}

/** An engine that answers at once. */
export function readyEngine(): FakeEngine {
  return fakeEngine(({ problem, resolve }) => resolve(idlePlan(problem)));
}

/** What a check gives as soon as it gives anything; a test that waits in vain runs into its limit. */
export async function until<T>(check: () => T | undefined | false): Promise<T> {
  for (;;) {
    const value = check();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export type LogLine = Record<string, unknown> & { level: number; msg: string };

/** A real server on a free port with a real client; both are closed with the test. */
export async function serve(engine: Engine, options: Partial<ServerOptions> = {}) {
  const lines: LogLine[] = [];
  const logger = pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 0, ...options });
  const address = `127.0.0.1:${server.port}`;
  const client = new OptimizerServiceClient(address, ChannelCredentials.createInsecure());
  onTestFinished(async () => {
    client.close();
    await server.close();
  });
  /** The line of the nth call that has ended. */
  const callLine = (index = 0) => until(() => lines.filter(({ msg }) => msg === "call")[index]);
  return { server, address, client, lines, callLine };
}

/** A call's answer, or the error that it ended with. */
export function optimize(
  client: OptimizerServiceClient,
  request: OptimizeRequest,
): Promise<OptimizeResponse | ServiceError> {
  return new Promise((resolve) => {
    client.optimize(request, (error, response) => resolve(error ?? response));
  });
}

/** The wrong fields that a call's metadata name. */
export function violationsIn(metadata: Metadata): { field: string; description: string }[] {
  const [details] = metadata.get("grpc-status-details-bin");
  if (details === undefined) return [];
  return Status.decode(details as Buffer).details.flatMap(({ typeUrl, value }) =>
    typeUrl === "type.googleapis.com/google.rpc.BadRequest" ? BadRequest.decode(value).fieldViolations : [],
  );
}

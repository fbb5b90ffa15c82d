import { pino } from "pino";
import { onTestFinished } from "vitest";
import { type Csms, type CsmsOptions, startCsms } from "../../benchmarks/csms.ts";
import type { OcppVersion } from "../../src/domain/problem.ts";
import type { Engine } from "../../src/engine.ts";
import {
  connect,
  type OptimizeResponse,
  type PartialRequest,
  type Phase,
  OcppVersion as WireVersion,
} from "../../src/grpc/client.ts";
import { startServer } from "../../src/grpc/server.ts";
import { type Clock, nextOrder, type Outlet, Station, type Vehicle } from "./station.ts";

const VOLTAGE_V = 230;
/** A slot of the CSMS: when it plans anew by what the meters show. */
const SLOT_MS = 900_000;

const WIRE_VERSIONS = {
  "1.6": WireVersion.OCPP_VERSION_1_6,
  "2.0.1": WireVersion.OCPP_VERSION_2_0_1,
  "2.1": WireVersion.OCPP_VERSION_2_1,
};

/** A circuit, its limits, and what else hangs on it from a time on. */
export interface LoopCircuit {
  circuitId: string;
  parentCircuitId?: string;
  maxCurrentA: number;
  maxPowerW?: number;
  /** Spread evenly over the phases; values of an hour each. */
  baseLoadW?: readonly number[];
}

export interface LoopStation {
  stationId: string;
  version: OcppVersion;
  circuitId: string;
  outlets: readonly Outlet[];
}

export interface LoopOptions {
  engine: Engine;
  startMs: number;
  circuits: readonly LoopCircuit[];
  stations: readonly LoopStation[];
  /** A kWh, in each hour from the start on. */
  prices?: readonly number[];
  /** Drivers' word on the vehicles that don't talk. */
  vehicles: readonly Vehicle[];
  answerTimeoutMs?: number;
  hasFallbacks?: boolean;
}

/** A plan that went over the wire. */
export interface Planned {
  atMs: number;
  /** Its place among what happens at the stations. */
  order: number;
  request: PartialRequest;
  response: OptimizeResponse;
}

export type Loop = Awaited<ReturnType<typeof startLoop>>;

/**
 * A site as a whole: optimizer behind gRPC, CSMS, stations on WebSockets. Time is the test's own: it passes second
 * by second, each held against every limit, while no message is on its way but those that a test holds back.
 */
export async function startLoop(options: LoopOptions) {
  const { startMs, vehicles, prices } = options;
  const clock: Clock = { nowMs: startMs };
  const logger = pino({ level: "silent" });
  const server = await startServer({
    engine: options.engine,
    host: "127.0.0.1",
    port: 0,
    logger,
    drainMs: 1000,
  });
  const optimizer = connect(`127.0.0.1:${server.port}`);
  const plans: Planned[] = [];
  const log: string[] = [];
  const hourly = (values: readonly number[]) => ({
    startTime: new Date(startMs),
    stepSeconds: 3600,
    values: [...values],
  });
  const csms: Csms = await startCsms({
    site: {
      siteId: "loop",
      circuits: options.circuits.map(({ baseLoadW, ...circuit }) => ({
        ...circuit,
        ...(baseLoadW && { baseLoadW: hourly(baseLoadW) }),
      })),
      evses: options.stations.flatMap(({ stationId, version, circuitId, outlets }) =>
        outlets.map(({ evseId, lines, maxCurrentA }) => ({
          stationId,
          evseId,
          circuitId,
          phases: lines as Phase[],
          maxCurrentA,
          ocpp: { version: WIRE_VERSIONS[version] },
        })),
      ),
      ...(prices && {
        tariff: { currency: "EUR", energyPrice: { $case: "pricePerKwh", value: hourly(prices) } } as const,
      }),
    },
    optimizer: {
      ...optimizer,
      optimize: async (request, ...rest) => {
        const response = await optimizer.optimize(request, ...rest);
        plans.push({ atMs: clock.nowMs, order: nextOrder(), request, response });
        return response;
      },
    },
    now: () => new Date(clock.nowMs),
    stayOf: (idToken) => stayOf(vehicles.find((vehicle) => vehicle.idToken === idToken)),
    log: (line) => log.push(`${new Date(clock.nowMs).toISOString()} ${line}`),
    hasFallbacks: options.hasFallbacks === true,
    ...(options.answerTimeoutMs === undefined ? {} : { answerTimeoutMs: options.answerTimeoutMs }),
  });
  const stations = new Map(
    options.stations.map(({ stationId, version, outlets }) => [
      stationId,
      new Station({
        stationId,
        version,
        outlets,
        clock,
        voltageV: VOLTAGE_V,
        capabilities: { maxPeriods: 24 },
      }),
    ]),
  );
  onTestFinished(async () => {
    await csms.close();
    optimizer.close();
    await server.close();
  });

  /** The highest current in each line of each circuit, and the highest share of a limit, so far. */
  const peaks = { share: 0, excesses: [] as string[] };
  const circuits = options.circuits.map((circuit) => ({
    ...circuit,
    above: lineage(circuit, options.circuits).map(({ circuitId }) => circuitId),
  }));

  /** Holds the second that begins now against every limit, with arithmetic of its own. */
  function watch(): void {
    const hour = Math.floor((clock.nowMs - startMs) / 3_600_000);
    const loads = new Map(circuits.map(({ circuitId }) => [circuitId, [0, 0, 0]]));
    for (const { baseLoadW = [], above } of circuits) {
      const baseW = baseLoadW[Math.min(hour, baseLoadW.length - 1)] ?? 0;
      for (const circuitId of above)
        for (const line of [0, 1, 2]) loads.get(circuitId)![line] += baseW / 3 / VOLTAGE_V;
    }
    for (const { stationId, circuitId, outlets } of options.stations) {
      for (const { evseId } of outlets) {
        const { lines, currentA } = stations.get(stationId)!.currents(evseId);
        for (const over of circuits.find((circuit) => circuit.circuitId === circuitId)!.above)
          for (const line of lines) loads.get(over)![line - 1] += currentA;
      }
    }
    for (const { circuitId, maxCurrentA, maxPowerW = Number.POSITIVE_INFINITY } of circuits) {
      const currents = loads.get(circuitId)!;
      const powerW = currents.reduce((sum, currentA) => sum + currentA * VOLTAGE_V, 0);
      const share = Math.max(...currents.map((currentA) => currentA / maxCurrentA), powerW / maxPowerW);
      peaks.share = Math.max(peaks.share, share);
      if (share > 1 + 1e-9)
        peaks.excesses.push(
          `${new Date(clock.nowMs).toISOString()} ${circuitId} at ${(100 * share).toFixed(3)} %`,
        );
    }
  }

  const watchers = new Set<() => void>();

  /** Lets seconds pass, whatever is on its way. */
  function pass(seconds: number): void {
    for (let n = 0; n < seconds; n++) {
      watch();
      for (const watcher of watchers) watcher();
      for (const station of stations.values()) station.chargeOneSecond();
      clock.nowMs += 1000;
    }
  }

  /** Lets time pass; at each slot boundary meters are reported and all is planned anew. */
  async function runTo(atMs: number): Promise<void> {
    while (clock.nowMs < atMs) {
      const nextMs = Math.min(atMs, (Math.floor(clock.nowMs / SLOT_MS) + 1) * SLOT_MS);
      pass((nextMs - clock.nowMs) / 1000);
      if (nextMs % SLOT_MS !== 0) continue;
      for (const station of stations.values()) await station.reportMeters();
      await csms.plan();
    }
  }

  return {
    clock,
    csms,
    stations,
    plans,
    log,
    peaks,
    /** Called in every second that passes. */
    watchers,
    runTo,
    pass,
    station: (stationId: string): Station => stations.get(stationId)!,
    /** The plan that was made last. */
    lastPlan: (): Planned => plans[plans.length - 1],
  };
}

function lineage(circuit: LoopCircuit, circuits: readonly LoopCircuit[]): LoopCircuit[] {
  const parent = circuits.find(({ circuitId }) => circuitId === circuit.parentCircuitId);
  return parent === undefined ? [circuit] : [circuit, ...lineage(parent, circuits)];
}

function stayOf(vehicle: Vehicle | undefined): ReturnType<CsmsOptions["stayOf"]> {
  if (vehicle === undefined || vehicle.isTalking) return {};
  const { needWh, departureMs, maxCurrentA, minCurrentA, phases } = vehicle;
  const need = { $case: "energyWh", value: needWh } as const;
  return { need, departureTime: new Date(departureMs), maxCurrentA, minCurrentA, phases };
}

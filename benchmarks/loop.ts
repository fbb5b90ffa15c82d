import { availableParallelism, cpus } from "node:os";
import { pino } from "pino";
import { createEngine } from "../src/engine.ts";
import { connect, OcppVersion, Phase } from "../src/grpc/client.ts";
import { startServer } from "../src/grpc/server.ts";
import { type Clock, Station, type Vehicle } from "../test/support/station.ts";
import { startCsms } from "./csms.ts";
import { type Random, randomOf } from "./random.ts";

// How long a vehicle waits for its plan: from NotifyEVChargingNeeds until its charger has the profile that came
// of it, through WebSockets, the CSMS, gRPC, the engine and the profiles of all whose plans change before its own.

const VEHICLES = 50;
const SLOTS = 96;
const SLOT_MS = 900_000;
const MINUTE_MS = 60_000;
const samples = process.argv.includes("--quick") ? 20 : 200;
const warmUp = 20;

const clock: Clock = { nowMs: Date.UTC(2026, 10, 23, 8) };
const startTime = new Date(clock.nowMs);

/** Phases are rotated from charger to charger. */
function linesOf(n: number): Phase[] {
  return [Phase.L1, Phase.L2, Phase.L3].map((_, line, lines) => lines[(line + n) % 3]);
}

function stationIdOf(n: number): string {
  return `CS${n + 1}`;
}

function siteOf(random: Random) {
  const hourly = (value: () => number) => ({
    startTime,
    stepSeconds: 3600,
    values: Array.from({ length: 24 * 30 }, value),
  });
  return {
    siteId: "fleet",
    circuits: [{ circuitId: "grid", maxCurrentA: 160, baseLoadW: hourly(() => random.int(10_000, 30_000)) }],
    evses: Array.from({ length: VEHICLES }, (_, n) => ({
      stationId: stationIdOf(n),
      evseId: 1,
      phases: linesOf(n),
      ocpp: { version: OcppVersion.OCPP_VERSION_2_0_1 },
    })),
    tariff: {
      currency: "EUR",
      energyPrice: { $case: "pricePerKwh", value: hourly(() => random.int(15, 45) / 100) } as const,
    },
  };
}

/** Stays for the 96 slots that follow. */
function vehicleOf(n: number, random: Random): Vehicle {
  return {
    idToken: `V${n}`,
    needWh: random.int(100, 400) * 100,
    departureMs: (Math.floor(clock.nowMs / SLOT_MS) + SLOTS) * SLOT_MS,
    maxCurrentA: random.pick([16, 32]),
    minCurrentA: 6,
    phases: random.pick([1, 3, 3]),
    isTalking: false,
  };
}

function quantiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return `p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms, longest ${at(1).toFixed(0)} ms`;
}

const logger = pino({ level: "warn" }, pino.destination(2));
const onFault = (message: string) => logger.error(message);
const engine = createEngine({ workers: 1, maxQueue: 10, onFault, warmUp: true });
const server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 1000 });
const optimizer = connect(`127.0.0.1:${server.port}`);

/** Vehicles leave and others come: how long each waits after it told its needs, with so much time for each plan. */
async function measure(timeLimitMs: number): Promise<void> {
  const random = randomOf(50);
  clock.nowMs = Number(startTime);
  const stations = Array.from({ length: VEHICLES }, (_, n) => {
    const outlets = [{ evseId: 1, lines: linesOf(n), maxCurrentA: 32 }];
    return new Station({ stationId: stationIdOf(n), version: "2.0.1", outlets, clock, voltageV: 230 });
  });
  const csms = await startCsms({
    site: siteOf(random),
    optimizer,
    now: () => new Date(clock.nowMs),
    stayOf: () => ({}),
    log: (line) => logger.warn(line),
    timeLimitMs,
  });
  try {
    for (const station of stations) await station.connect(csms.port);
    for (const [n, station] of stations.entries()) {
      await station.plugIn(1, vehicleOf(n, random));
      await station.tellNeeds(1);
    }
    await csms.settled();
    const times: number[] = [];
    const processorTimes: number[] = [];
    let commands = 0;
    for (let n = -warmUp; n < samples; n++) {
      // A vehicle leaves, and another one comes.
      clock.nowMs += random.int(1, 10) * MINUTE_MS;
      const station = stations[(n + VEHICLES) % VEHICLES];
      await station.unplug(1);
      await station.plugIn(1, vehicleOf(n, random));
      await csms.settled();
      const before = stations.reduce((count, { told }) => count + told.length, 0);
      const usedBefore = process.cpuUsage();
      const askedMs = performance.now();
      await station.tellNeeds(1);
      await csms.settled();
      const told = station.told[station.told.length - 1];
      if (told.status !== "Accepted" || told.atMs < askedMs)
        throw new Error(`${station.stationId} got no profile`);
      if (n < 0) continue;
      const { user, system } = process.cpuUsage(usedBefore);
      times.push(told.atMs - askedMs);
      processorTimes.push((user + system) / 1000);
      commands += stations.reduce((count, { told }) => count + told.length, 0) - before;
    }
    const profiles = (commands / samples).toFixed(1);
    process.stdout.write(
      `${timeLimitMs === 0 ? "no time limit" : `${timeLimitMs} ms for a plan`}: ${quantiles(times)}; ` +
        `${profiles} profiles sent for each; processor time of all, stations included: ${quantiles(processorTimes)}\n`,
    );
  } finally {
    await csms.close();
  }
}

try {
  process.stdout.write(
    `Node ${process.version}, ${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores\n\n` +
      `From NotifyEVChargingNeeds to SetChargingProfile, ${VEHICLES} vehicles x ${SLOTS} slots, ${samples} vehicles\n\n`,
  );
  for (const timeLimitMs of [600, 0]) await measure(timeLimitMs);
} finally {
  optimizer.close();
  await server.close();
  await engine.close();
}

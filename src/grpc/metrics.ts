import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Engine, FallbackReason, Fault } from "../engine.ts";
import type { OnCallEnd } from "./calls.ts";

/** What is counted and measured, for Prometheus. */
export interface Metrics {
  /** All metrics in Prometheus' text format, with its content type. */
  read(): Promise<{ text: string; contentType: string }>;
  onCallEnd: OnCallEnd;
  onFault: (fault: Fault) => void;
  onFallback: (reason: FallbackReason) => void;
  /** Measures an engine: the load that it has, and each plan that comes from what is returned. */
  observe(engine: Engine): Engine;
  /** Adds a gauge, whose value is asked for whenever the metrics are read; NaN while it rejects. */
  gauge(name: string, help: string, value: () => number | Promise<number>): void;
}

/** Vehicles up to which a site is of a size; the names sort. */
const SIZES = [
  [10, "0-10"],
  [50, "11-50"],
  [200, "51-200"],
  [1000, "201-1000"],
] as const;
const LARGEST = "1001-2000";

const FAULTS: readonly Fault[] = ["check", "plan", "thread"];
const FALLBACKS: readonly FallbackReason[] = ["time", "check", "plan"];

/** Metrics in a registry of their own, with those of the process. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: "wattslot_requests_total",
    help: "Calls that have ended",
    labelNames: ["method", "code"],
    registers,
  });
  const durations = new Histogram({
    name: "wattslot_request_duration_seconds",
    help: "Time from a call's first header to its status",
    labelNames: ["method"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  const solves = new Histogram({
    name: "wattslot_solve_seconds",
    help: "Time in the solvers for one plan, by the number of vehicles",
    labelNames: ["vehicles", "status"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  const faults = new Counter({
    name: "wattslot_faults_total",
    help: "What broke: check (a plan over a limit, not sent), plan (planning itself), thread",
    labelNames: ["fault"],
    registers,
  });
  const fallbacks = new Counter({
    name: "wattslot_fallbacks_total",
    help: "Safe plans that went out, by why there was no better one",
    labelNames: ["reason"],
    registers,
  });
  // What never happened is 0, not absent: an alert on its increase would miss the first.
  for (const fault of FAULTS) faults.inc({ fault }, 0);
  for (const reason of FALLBACKS) fallbacks.inc({ reason }, 0);

  const gauge: Metrics["gauge"] = (name, help, value) => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        // What can't be told, as while a database is down, must not take the other metrics with it.
        this.set(
          await Promise.resolve()
            .then(value)
            .catch(() => Number.NaN),
        );
      },
    });
  };
  return {
    gauge,
    read: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
    onCallEnd: (path, code, seconds) => {
      const method = path.slice(1);
      requests.inc({ method, code });
      durations.observe({ method }, seconds);
    },
    onFault: (fault) => faults.inc({ fault }),
    onFallback: (reason) => fallbacks.inc({ reason }),
    observe(engine) {
      gauge("wattslot_workers", "Threads that plan", () => engine.load().workers);
      gauge("wattslot_busy_workers", "Threads with a plan in work", () => engine.load().busy);
      gauge("wattslot_queue_depth", "Plans that wait for a thread", () => engine.load().queued);
      return {
        ...engine,
        async optimise(problem, options) {
          const plan = await engine.optimise(problem, options);
          const vehicles = sizeOf(problem.sessions.length);
          solves.observe({ vehicles, status: plan.status }, plan.solve.solveMs / 1000);
          return plan;
        },
      };
    },
  };
}

function sizeOf(vehicles: number): string {
  return SIZES.find(([most]) => vehicles <= most)?.[1] ?? LARGEST;
}

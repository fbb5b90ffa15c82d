import { SpanStatusCode, trace } from "@opentelemetry/api";
import { WattslotError } from "../domain/errors.ts";
import type { Engine } from "../engine.ts";

/**
 * An engine whose plans are spans in the trace of the call that they are for: the time in the queue and on the
 * thread, and of that in the solvers. Costs nothing where no OpenTelemetry SDK was loaded before.
 */
export function traced(engine: Engine): Engine {
  const tracer = trace.getTracer("wattslot");
  return {
    ...engine,
    optimise: (problem, options) =>
      tracer.startActiveSpan("plan", async (span) => {
        span.setAttributes({
          "wattslot.vehicles": problem.sessions.length,
          "wattslot.slots": problem.slotStartsMs.length - 1,
          "wattslot.queued": engine.load().queued,
        });
        try {
          const plan = await engine.optimise(problem, options);
          const { solver, solveMs, columns, gap } = plan.solve;
          span.setAttributes({
            "wattslot.status": plan.status,
            "wattslot.solver": solver,
            "wattslot.solve_ms": solveMs,
            "wattslot.columns": columns,
            ...(Number.isFinite(gap) && { "wattslot.gap": gap }),
          });
          return plan;
        } catch (error) {
          span.setStatus({ code: SpanStatusCode.ERROR, message: WattslotError.from(error).code });
          throw error;
        } finally {
          span.end();
        }
      }),
  };
}

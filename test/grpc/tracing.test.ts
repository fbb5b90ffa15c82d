import { type Span, type SpanStatus, type Tracer, trace } from "@opentelemetry/api";
import { expect, onTestFinished, test } from "vitest";
import { WattslotError } from "../../src/domain/errors.ts";
import { toProblem } from "../../src/grpc/convert.ts";
import { traced } from "../../src/grpc/tracing.ts";
import { testEngine } from "../support/engine.ts";
import { minimal, START_MS } from "./requests.ts";
import { fakeEngine } from "./servers.ts";

interface Recorded {
  name: string;
  attributes: Record<string, unknown>;
  status?: SpanStatus;
  isEnded: boolean;
}

/** What an SDK would be told; it is no dependency of this package. */
function record(): Recorded[] {
  const spans: Recorded[] = [];
  const startActiveSpan = (name: string, work: (span: Span) => unknown) => {
    const span: Recorded = { name, attributes: {}, isEnded: false };
    spans.push(span);
    const told: Pick<Span, "setAttributes" | "setStatus" | "end"> = {
      setAttributes: (attributes) => {
        Object.assign(span.attributes, attributes);
        return told as Span;
      },
      setStatus: (status) => {
        span.status = status;
        return told as Span;
      },
      end: () => {
        span.isEnded = true;
      },
    };
    return work(told as Span);
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startActiveSpan }) as unknown as Tracer });
  onTestFinished(() => trace.disable());
  return spans;
}

test("a plan is a span that tells of the site and of the solve", async () => {
  const spans = record();
  const engine = testEngine();
  onTestFinished(() => engine.close());
  await traced(engine).optimise(toProblem(minimal(), START_MS));
  expect(spans).toEqual([
    {
      name: "plan",
      attributes: {
        "wattslot.vehicles": 2,
        "wattslot.slots": 32,
        "wattslot.queued": 0,
        "wattslot.status": "OPTIMAL",
        "wattslot.solver": expect.stringMatching(/GLPK|HIGHS/),
        "wattslot.solve_ms": expect.any(Number),
        "wattslot.columns": expect.any(Number),
        "wattslot.gap": expect.any(Number),
      },
      isEnded: true,
    },
  ]);
});

test("a plan that fails is a span that says so, by its code only", async () => {
  const spans = record();
  const full = fakeEngine(({ reject }) =>
    reject(new WattslotError("RESOURCE_EXHAUSTED", "the queue is full")),
  );
  const { signal } = new AbortController();
  await expect(traced(full).optimise(toProblem(minimal(), START_MS), { signal })).rejects.toThrow(
    "the queue is full",
  );
  expect(spans).toMatchObject([{ status: { code: 2, message: "RESOURCE_EXHAUSTED" }, isEnded: true }]);
});

test("without an SDK plans are made all the same", async () => {
  const engine = testEngine();
  onTestFinished(() => engine.close());
  expect(await traced(engine).optimise(toProblem(minimal(), START_MS))).toMatchObject({ siteId: "depot" });
});

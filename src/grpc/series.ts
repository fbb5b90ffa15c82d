import type { Series } from "../domain/series.ts";
import type { TimeSeries } from "../gen/wattslot/v1/optimizer.ts";
import { BOUNDS } from "./bounds.ts";
import { type Findings, LARGEST } from "./findings.ts";

/**
 * Reads a series that must cover everything from the start of the plan: its last value holds on,
 * but before its first there would be a hole. Undefined where none is given or it can't be read.
 */
export function readSeries(
  findings: Findings,
  field: string,
  series: TimeSeries | undefined,
  range: { min: number; max: number },
  planStartMs: number,
): Series | undefined {
  if (series === undefined) return undefined;
  let startMs = Number.NaN;
  if (series.startTime === undefined) findings.wrong(`${field}.start_time`, "is required");
  else startMs = findings.time(`${field}.start_time`, series.startTime);
  if (startMs > planStartMs) {
    findings.wrong(
      `${field}.start_time`,
      "is after the start of the plan: there are no values for the time before",
    );
  }
  const stepSeconds = findings.whole(`${field}.step_seconds`, series.stepSeconds, 1, LARGEST.uint32);
  const { values } = series;
  if (values.length === 0) findings.wrong(`${field}.values`, "needs at least one value");
  if (values.length > BOUNDS.seriesValues) {
    findings.tooLarge(`${field}.values`, `at most ${BOUNDS.seriesValues} values, has ${values.length}`);
    return undefined;
  }
  values.forEach((value, n) => {
    // The path is only made where it is needed: there are many values.
    if (!(value >= range.min && value <= range.max)) findings.number(`${field}.values[${n}]`, value, range);
  });
  return { startMs, stepMs: stepSeconds * 1000, values: Float64Array.from(values) };
}

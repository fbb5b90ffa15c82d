/** A piecewise constant function of time; its last value holds on after the end. */
export interface Series {
  startMs: number;
  stepMs: number;
  values: Float64Array;
}

/** Value at an instant. Before the start the first value holds. */
export function valueAt(series: Series, atMs: number): number {
  const index = Math.floor((atMs - series.startMs) / series.stepMs);
  return series.values[Math.min(Math.max(index, 0), series.values.length - 1)];
}

/** Smallest, largest and time-weighted mean value over [fromMs, toMs), toMs > fromMs. */
export function rangeOver(
  series: Series,
  fromMs: number,
  toMs: number,
): { min: number; max: number; mean: number } {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let at = fromMs;
  while (at < toMs) {
    const value = valueAt(series, at);
    const index = Math.floor((at - series.startMs) / series.stepMs);
    const isLast = index >= series.values.length - 1;
    const next = isLast ? toMs : Math.min(toMs, series.startMs + (Math.max(index, 0) + 1) * series.stepMs);
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value * (next - at);
    at = next;
  }
  return { min, max, mean: sum / (toMs - fromMs) };
}

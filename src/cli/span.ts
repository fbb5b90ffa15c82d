import { InvalidArgumentError } from "commander";

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A span such as 300ms, 30s, 15m, 12h or 90d, in ms. */
export function span(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,5})(ms|[smhd])$/.exec(text) ?? [];
  if (count === undefined) throw new InvalidArgumentError("Must be a span such as 30s, 15m, 12h or 90d.");
  return Number(count) * UNITS[unit];
}

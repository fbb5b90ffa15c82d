import { InvalidArgumentError, Option } from "commander";
import { Cron } from "croner";
import { IANAZone } from "luxon";
import { SCOPES, type Scope } from "../grpc/scopes.ts";

/** An option that an environment variable can set: --log-level is WATTSLOT_LOG_LEVEL. The flag wins. */
export function variable(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.env(`WATTSLOT_${option.name().replaceAll("-", "_").toUpperCase()}`);
}

/** The file of tokens, of servers and of the commands that change it. */
export function tokensOption(): Option {
  return variable("--tokens <file>", "the tokens that let calls in, as JSON").argParser(text);
}

/** A text that is not empty, as a variable can be by mistake. */
export function text(value: string): string {
  if (value.trim() === "") throw new InvalidArgumentError("Must not be empty.");
  return value;
}

/** Gathers the values of an option that may be repeated. */
export function append(value: string, values: string[]): string[] {
  return [...values, value];
}

export function whole(least: number, most: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < least || number > most)
      throw new InvalidArgumentError(`Must be a whole number from ${least} to ${most}.`);
    return number;
  };
}

export function hostAndPort(value: string): string {
  if (!/^.+:\d{1,5}$/.test(value) || value.includes("://"))
    throw new InvalidArgumentError("Must be HOST:PORT.");
  return value;
}

/** Gathers scopes. */
export function appendScope(value: string, scopes: Scope[] = []): Scope[] {
  const scope = SCOPES.find((known) => known === value);
  if (scope === undefined) throw new InvalidArgumentError(`Must be one of ${SCOPES.join(", ")}.`);
  return [...scopes, scope];
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A span such as 300ms, 30s, 15m, 12h or 90d, in ms. */
export function span(value: string): number {
  const [, count, unit] = /^([1-9]\d{0,5})(ms|[smhd])$/.exec(value) ?? [];
  if (count === undefined) throw new InvalidArgumentError("Must be a span such as 30s, 15m, 12h or 90d.");
  return Number(count) * UNITS[unit];
}

/** Milliseconds as the span that they were read of, in the largest unit that it is a whole number of. */
export function spanText(ms: number): string {
  const [unit, unitMs] = Object.entries(UNITS).findLast(([, one]) => ms % one === 0) ?? ["ms", 1];
  return `${ms / unitMs}${unit}`;
}

/** A cron expression. */
export function cron(value: string): string {
  try {
    new Cron(value, { paused: true }).stop();
    return value;
  } catch (error) {
    throw new InvalidArgumentError(`Must be a cron expression: ${(error as Error).message}`);
  }
}

/** An IANA time zone. */
export function zone(value: string): string {
  if (!IANAZone.isValidZone(value))
    throw new InvalidArgumentError("Must be an IANA zone, such as Europe/Berlin.");
  return value;
}

import { InvalidArgumentError, Option } from "commander";
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
  if (!/^.+:\d{1,5}$/.test(value)) throw new InvalidArgumentError("Must be HOST:PORT.");
  return value;
}

/** Gathers scopes. */
export function appendScope(value: string, scopes: Scope[] = []): Scope[] {
  const scope = SCOPES.find((known) => known === value);
  if (scope === undefined) throw new InvalidArgumentError(`Must be one of ${SCOPES.join(", ")}.`);
  return [...scopes, scope];
}

/** A number of days or hours, in ms. */
export function timeSpan(value: string): number {
  const [, count, unit] = /^([1-9]\d{0,4})([dh])$/.exec(value) ?? [];
  if (count === undefined) throw new InvalidArgumentError("Must be days or hours, such as 90d or 12h.");
  return Number(count) * (unit === "d" ? 24 : 1) * 3_600_000;
}

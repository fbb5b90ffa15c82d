import { type FieldViolation, WattslotError } from "../domain/errors.ts";
import type { Notice } from "../domain/problem.ts";

/** The largest values that make sense, by unit. A number above is a mistake of its sender. */
export const LARGEST = {
  powerW: 1e9,
  energyWh: 1e9,
  currentA: 1e6,
  pricePerKwh: 1e4,
  carbonGPerKwh: 1e5,
  int32: 2 ** 31 - 1,
  // Profile ids are ten times it and a digit, and have 32 bits.
  evseId: Math.floor(2 ** 31 / 10) - 1,
  uint32: 2 ** 32 - 1,
  idLength: 255,
} as const;

/** Shares of energy that arrive: what loses more is no battery, and no number that a program can be made of. */
export const EFFICIENCY = { min: 0.01, max: 1 } as const;

// A request can hold more wrong numbers than anyone reads; the rest is only counted.
const MAX_VIOLATIONS = 1000;

// Four-digit years: what RFC 3339, and so JSON and OCPP, can write.
const EARLIEST_MS = Date.UTC(1970, 0, 1);
const LATEST_MS = Date.UTC(9999, 0, 1);

/**
 * What is found wrong or odd while a request is read. Reading goes on after a finding, so that
 * the caller learns of all of them. The readers return NaN for a number that is wrong: compared
 * with anything it is false, so it causes no findings beyond its own.
 */
export class Findings {
  readonly notices: Notice[] = [];
  readonly #violations: FieldViolation[] = [];
  #isWrong = false;
  #uncounted = 0;

  /** A field that makes the request invalid. */
  wrong(field: string, description: string): void {
    this.#isWrong = true;
    this.#violation(field, description);
  }

  /** A field that is larger than the published bounds: a request that is right, but too large to take. */
  tooLarge(field: string, description: string): void {
    this.#violation(field, description);
  }

  /** An assumption made, or something that looks wrong. */
  notice(code: string, field: string, message: string): void {
    this.notices.push({ code, field, message });
  }

  /** A number in [min, max], or above `above`; NaN where it is not. */
  number(field: string, value: number, range: { min?: number; above?: number; max: number }): number {
    const { min = Number.NEGATIVE_INFINITY, above = Number.NEGATIVE_INFINITY, max } = range;
    if (Number.isFinite(value) && value >= min && value > above && value <= max) return value;
    const bounds = range.above === undefined ? `from ${min} to ${max}` : `above ${above} and at most ${max}`;
    this.wrong(
      field,
      Number.isFinite(value) ? `must be ${bounds}, is ${value}` : `must be a finite number, is ${value}`,
    );
    return Number.NaN;
  }

  /** A whole number in [min, max]; NaN where it is not. */
  whole(field: string, value: number, min: number, max: number): number {
    if (Number.isInteger(value)) return this.number(field, value, { min, max });
    this.wrong(field, `must be a whole number, is ${value}`);
    return Number.NaN;
  }

  /** An id that must be given. */
  id(field: string, value: string): string {
    if (value === "") this.wrong(field, "is required");
    return this.optionalId(field, value);
  }

  /** An id that may be empty. */
  optionalId(field: string, value: string): string {
    if (value.length > LARGEST.idLength) {
      this.wrong(field, `must have at most ${LARGEST.idLength} characters, has ${value.length}`);
    }
    if (value.includes("\0")) this.wrong(field, "must not contain the character NUL");
    return value;
  }

  /** An instant, epoch ms; NaN where it is out of range. */
  time(field: string, date: Date): number {
    const atMs = date.getTime();
    if (atMs >= EARLIEST_MS && atMs < LATEST_MS) return atMs;
    this.wrong(field, "must be a time from 1970 to 9998");
    return Number.NaN;
  }

  /** The meaning of an enum's number; undefined where the contract has no such number, or gives it no meaning here. */
  choice<T>(field: string, value: number, meanings: Readonly<Record<number, T>>): T | undefined {
    const meaning = Object.hasOwn(meanings, value) ? meanings[value] : undefined;
    if (meaning === undefined) this.wrong(field, `unknown value ${value}`);
    return meaning;
  }

  /**
   * Throws INVALID_ARGUMENT where anything is wrong, RESOURCE_EXHAUSTED where things are only
   * too large; both with every violation.
   */
  throwIfAny(): void {
    if (this.#violations.length === 0) return;
    const more = this.#uncounted > 0 ? [{ field: "", description: `and ${this.#uncounted} more` }] : [];
    const violations = [...this.#violations, ...more];
    const [first] = violations;
    const rest = this.#violations.length + this.#uncounted - 1;
    const summary = `${first.field} ${first.description}${rest > 0 ? ` (and ${rest} more)` : ""}`;
    if (this.#isWrong)
      throw new WattslotError("INVALID_ARGUMENT", `invalid request: ${summary}`, { violations });
    throw new WattslotError("RESOURCE_EXHAUSTED", `request too large: ${summary}`, { violations });
  }

  #violation(field: string, description: string): void {
    if (this.#violations.length < MAX_VIOLATIONS) this.#violations.push({ field, description });
    else this.#uncounted++;
  }
}

/** A caller's text as it can stand in a message: quoted, and cut where it is long. */
export function quote(text: string): string {
  const characters = Array.from(text.slice(0, 100));
  return JSON.stringify(characters.length > 40 ? `${characters.slice(0, 40).join("")}…` : text);
}

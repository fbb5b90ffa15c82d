import { WattslotError } from "../domain/errors.ts";

/** More wrong lines of one kind than anyone reads. */
const MOST = 200;

/** What is wrong in a scenario and its files, by file and line; reading goes on, so that all of it is told at once. */
export class Mistakes {
  readonly #lines: { file: string; line: number; description: string }[] = [];
  #uncounted = 0;

  /** `line` 0: the file as a whole. */
  add(file: string, line: number, description: string): void {
    if (this.#lines.length < MOST) this.#lines.push({ file, line, description });
    else this.#uncounted++;
  }

  get count(): number {
    return this.#lines.length + this.#uncounted;
  }

  /** Throws INVALID_ARGUMENT with every mistake as `file:line: description`. */
  throwIfAny(): void {
    if (this.#lines.length === 0) return;
    const violations = this.#lines.map(({ file, line, description }) => ({
      field: line > 0 ? `${file}:${line}` : file,
      description,
    }));
    if (this.#uncounted > 0)
      violations.push({ field: this.#lines[0].file, description: `and ${this.#uncounted} more` });
    throw new WattslotError("INVALID_ARGUMENT", "not a scenario", { violations });
  }
}

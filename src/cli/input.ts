import { createReadStream } from "node:fs";
import { WattslotError } from "../domain/errors.ts";

/** A request within the published bounds is smaller, however its JSON is written. */
const MAX_INPUT_BYTES = 64 * 2 ** 20;

/** The text of a file, of standard input for "-". Throws INVALID_ARGUMENT where there is none to be had. */
export async function readInput(file: string): Promise<string> {
  const name = file === "-" ? "standard input" : file;
  const refuse = (reason: string, cause?: unknown) =>
    new WattslotError("INVALID_ARGUMENT", `${name}: ${reason}`, { cause });
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of file === "-" ? process.stdin : createReadStream(file)) {
      size += chunk.length;
      if (size > MAX_INPUT_BYTES) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw refuse(`cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  if (size > MAX_INPUT_BYTES) throw refuse(`is larger than ${MAX_INPUT_BYTES / 2 ** 20} MiB`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    throw refuse("is not UTF-8 text", error);
  }
  if (text.trim() === "") throw refuse("is empty");
  return text;
}

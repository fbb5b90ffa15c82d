import { createReadStream } from "node:fs";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { type CsvError, parse } from "csv-parse";
import type { Mistakes } from "./mistakes.ts";

/** One row: its line in the file, and its texts by column. */
export interface Row {
  line: number;
  cells: Record<string, string>;
}

/**
 * Streams the rows of a CSV file (`.gz` is unpacked) whose first line names the columns; separated by commas,
 * semicolons or tabs, whichever the first line has most of. Where the file can't be read, is empty, or lacks one of
 * the columns, that goes to the mistakes and the rows end.
 */
export async function* readCsv(
  file: string,
  columns: readonly { column: string; setting: string }[],
  mistakes: Mistakes,
): AsyncGenerator<Row> {
  const opened = createReadStream(file);
  const bytes = file.endsWith(".gz") ? pipeline(opened, createGunzip(), () => {}) : opened;
  const chunks = (bytes as Readable)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    const first = await chunks.next();
    if (first.done) return mistakes.add(file, 0, "is empty");
    const [header] = first.value.toString("utf8").split(/\r?\n/, 1);
    const parser = parse({
      bom: true,
      columns: (names: string[]) => names.map((name) => name.trim()),
      delimiter: delimiterOf(header),
      info: true,
      relax_quotes: true,
      skip_empty_lines: true,
      trim: true,
    });
    const rest = async function* () {
      yield first.value;
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
    };
    let count = 0;
    for await (const { record, info } of pipeline(Readable.from(rest()), parser, () => {})) {
      if (count++ === 0) {
        const names = Object.keys(record);
        const missing = columns.filter(({ column }) => !names.includes(column));
        for (const { column, setting } of missing) {
          mistakes.add(
            file,
            1,
            `there is no column ${JSON.stringify(column)} (it has ${names.join(", ")}): name the right one as ${setting}`,
          );
        }
        if (missing.length > 0) return;
      }
      yield { line: info.lines, cells: record };
    }
    if (count === 0) mistakes.add(file, 1, "has no row below the names of the columns");
  } catch (error) {
    const { code = "", lines, message } = error as CsvError & NodeJS.ErrnoException;
    if (code.startsWith("CSV_")) mistakes.add(file, Number(lines ?? 1), message);
    else mistakes.add(file, 0, `cannot be read (${code || message})`);
  }
}

function delimiterOf(header: string): string {
  const count = (delimiter: string) => header.split(delimiter).length;
  return [",", ";", "\t"].reduce((best, one) => (count(one) > count(best) ? one : best));
}

/** The number that a cell holds, with a decimal point or comma; NaN where it is none. */
export function numberIn(text: string): number {
  return /^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$/.test(text)
    ? Number(text.replace(",", "."))
    : Number.NaN;
}

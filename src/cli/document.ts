import { isCollection, isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import type { Mistakes } from "./mistakes.ts";

export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export type Fields = { [key: string]: Value };
export type Path = (string | number)[];

/** A YAML file as values, each of which can be found again by its line. */
export interface Document {
  file: string;
  text: string;
  /** What the file says. */
  value: Value;
  /** Line of the value at a path, or of the nearest that is there. */
  lineOf(path: Path): number;
}

/** Parses YAML 1.2. What is wrong goes to the mistakes; the value is then null. */
export function readDocument(file: string, text: string, mistakes: Mistakes): Document {
  const lines = new LineCounter();
  const parsed = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  for (const { message, pos } of parsed.errors) {
    const [first] = message.split("\n");
    mistakes.add(
      file,
      lines.linePos(pos[0]).line,
      first.replace(/ at line \d+, column \d+:?$/, "").replace(/:$/, ""),
    );
  }
  const document: Document = {
    file,
    text,
    value: null,
    lineOf(path) {
      let at = parsed.contents as Node | null;
      let line = at?.range ? lines.linePos(at.range[0]).line : 1;
      for (const key of path) {
        if (!isCollection(at)) break;
        // The line of a field is that of its name: its value may begin below.
        const name = isMap(at)
          ? at.items.find((pair) => isScalar(pair.key) && pair.key.value === key)?.key
          : undefined;
        const next = at.get(key, true) as Node | undefined;
        const range = (name as Node | undefined)?.range ?? next?.range;
        if (!range) break;
        ({ line } = lines.linePos(range[0]));
        at = next ?? null;
      }
      return line;
    },
  };
  if (parsed.errors.length > 0) return document;
  try {
    document.value = parsed.toJS({ maxAliasCount: 100 }) as Value;
  } catch (error) {
    mistakes.add(file, 1, (error as Error).message);
    return document;
  }
  noteOddNumbers(document, document.value, [], mistakes);
  return document;
}

/** JSON, in which the site is read, has neither .nan nor .inf. */
function noteOddNumbers(document: Document, value: Value, path: Path, mistakes: Mistakes): void {
  if (typeof value === "number" && !Number.isFinite(value)) {
    mistakes.add(
      document.file,
      document.lineOf(path),
      `${nameOf(path)}: must be a finite number, is ${value}`,
    );
  } else if (Array.isArray(value)) {
    value.forEach((one, n) => {
      noteOddNumbers(document, one, [...path, n], mistakes);
    });
  } else if (isFields(value)) {
    for (const [key, one] of Object.entries(value)) noteOddNumbers(document, one, [...path, key], mistakes);
  }
}

export function isFields(value: Value | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A path as people write it: `site.circuits[0].maxPowerW`. */
export function nameOf(path: Path): string {
  return path.map((key, n) => (typeof key === "number" ? `[${key}]` : n === 0 ? key : `.${key}`)).join("");
}

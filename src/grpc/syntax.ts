const PUNCTUATION = /[{}[\],:]/y;
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const STRING_STOP = /["\\]|[^ -\uffff]/g;
const NOT_SPACE = /[^ \t\n\r]/g;

type Expected =
  | "a value"
  | "a value or ]"
  | "a name"
  | "a name or }"
  | '":"'
  | '"," or }'
  | '"," or ]'
  | "the end";

/**
 * Where a text stops being JSON (RFC 8259), and what is missing there: "line 3, column 7: expected
 * a value". Undefined for valid JSON. The messages of JSON.parse leave out the place of some errors.
 */
export function syntaxError(text: string): string | undefined {
  const open: ("{" | "[")[] = [];
  let expected: Expected = "a value";
  const afterValue = (): Expected =>
    open.length === 0 ? "the end" : open[open.length - 1] === "{" ? '"," or }' : '"," or ]';
  for (let at = skipSpace(text, 0); ; ) {
    if (at === text.length && expected === "the end") return undefined;
    const end = tokenEnd(text, at);
    const first = text[at];
    if (end === undefined) {
      // A string that is broken off is wrong inside, not where it starts.
      return first === '"' && expected.startsWith("a ")
        ? place(text, stringStop(text, at), "expected a valid string")
        : place(text, at, `expected ${expected}`);
    }
    if ((first === "{" || first === "[") && expected.startsWith("a value")) {
      open.push(first);
      expected = first === "{" ? "a name or }" : "a value or ]";
    } else if (first === "}" && (expected === "a name or }" || expected === '"," or }')) {
      open.pop();
      expected = afterValue();
    } else if (first === "]" && (expected === "a value or ]" || expected === '"," or ]')) {
      open.pop();
      expected = afterValue();
    } else if (first === "," && (expected === '"," or }' || expected === '"," or ]')) {
      expected = expected === '"," or }' ? "a name" : "a value";
    } else if (first === ":" && expected === '":"') {
      expected = "a value";
    } else if (first === '"' && expected.startsWith("a name")) {
      expected = '":"';
    } else if (!"{}[],:".includes(first) && expected.startsWith("a value")) {
      expected = afterValue();
    } else {
      return place(text, at, `expected ${expected}`);
    }
    at = skipSpace(text, end);
  }
}

function skipSpace(text: string, from: number): number {
  NOT_SPACE.lastIndex = from;
  return NOT_SPACE.exec(text)?.index ?? text.length;
}

/** End of the token that starts here; undefined where none does. */
function tokenEnd(text: string, at: number): number | undefined {
  if (text[at] === '"') {
    const stop = stringStop(text, at);
    return text[stop] === '"' ? stop + 1 : undefined;
  }
  for (const pattern of [PUNCTUATION, LITERAL]) {
    pattern.lastIndex = at;
    if (pattern.test(text)) return pattern.lastIndex;
  }
  return undefined;
}

/** The closing quote of the string that starts here, or the first character that can't be in it. */
function stringStop(text: string, at: number): number {
  for (let from = at + 1; ; ) {
    STRING_STOP.lastIndex = from;
    const stop = STRING_STOP.exec(text)?.index ?? text.length;
    ESCAPE.lastIndex = stop;
    if (!ESCAPE.test(text)) return stop;
    from = ESCAPE.lastIndex;
  }
}

function place(text: string, at: number, message: string): string {
  const before = text.slice(0, at);
  const lastBreak = before.lastIndexOf("\n");
  const line = before.split("\n").length;
  const end = at === text.length ? " before the end" : "";
  return `line ${line}, column ${at - lastBreak}: ${message}${end}`;
}

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { syntaxError } from "../../src/grpc/syntax.ts";

describe("syntaxError", () => {
  test.each([
    ["", "line 1, column 1: expected a value before the end"],
    ["{", "line 1, column 2: expected a name or } before the end"],
    ['{"a":1,}', "line 1, column 8: expected a name"],
    ["[1,]", "line 1, column 4: expected a value"],
    ['{"a" 1}', 'line 1, column 6: expected ":"'],
    ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: expected "," or }'],
    ['{"a":tru}', "line 1, column 6: expected a value"],
    ['{"a":01}', 'line 1, column 7: expected "," or }'],
    ["{'a':1}", "line 1, column 2: expected a name or }"],
    ['{"a":"x\ny"}', "line 1, column 8: expected a valid string"],
    ['{"a":"\\x"}', "line 1, column 7: expected a valid string"],
    ["{}\n{}", "line 2, column 1: expected the end"],
    ["[1 2]", 'line 1, column 4: expected "," or ]'],
    ["[NaN]", "line 1, column 2: expected a value or ]"],
  ])("%j", (text, message) => {
    expect(syntaxError(text)).toBe(message);
  });

  test("agrees with JSON.parse on what is JSON, whatever is cut out or put in", () => {
    const broken = fc
      .tuple(
        fc.json(),
        fc.nat(),
        fc.nat(3),
        fc.constantFrom("", "{", "]", ",", ":", '"', "\\", "-", "1.", "e", "\n", "nul"),
      )
      .map(([json, at, cut, put]) => {
        const from = at % (json.length + 1);
        return json.slice(0, from) + put + json.slice(from + cut);
      });
    fc.assert(
      fc.property(broken, (text) => {
        let isJson = true;
        try {
          JSON.parse(text);
        } catch {
          isJson = false;
        }
        expect(syntaxError(text) === undefined).toBe(isJson);
      }),
      { numRuns: 2000 },
    );
  });
});

import { expect, test } from "vitest";
import { findSmallest } from "../../src/cli/search.ts";

/** Searches for a number from which on all are enough; tells what was tried, batch by batch. */
async function search(least: number, coarse: number[], atOnce: number, guess?: number) {
  const batches: number[][] = [];
  const found = await findSmallest(
    coarse,
    async (numbers) => {
      batches.push([...numbers]);
      return numbers.map((number) => number >= least);
    },
    { atOnce, guess },
  );
  return { found, batches };
}

test("one at a time it bisects, several at once cut the gap in more parts", async () => {
  expect(await search(29, [0, 36, 72], 1)).toEqual({
    found: 29,
    batches: [[0, 36, 72], [18], [27], [32], [30], [29], [28]],
  });
  expect(await search(29, [0, 36, 72], 2)).toEqual({
    found: 29,
    batches: [
      [0, 36, 72],
      [12, 24],
      [28, 32],
      [29, 31],
    ],
  });
});

test("with a guess that is right, or one too low, little else is tried", async () => {
  expect((await search(29, [0, 36, 72], 2, 28)).batches).toEqual([[0, 36, 72, 28, 29]]);
  expect((await search(29, [0, 36, 72], 2, 29)).batches).toEqual([[0, 36, 72, 29, 30], [28]]);
});

test("below a guess that is enough it goes down in strides that double, above one that is not in parts", async () => {
  expect((await search(19, [0, 36, 72], 2, 29)).batches.slice(1)).toEqual([
    [28],
    [26],
    [22],
    [14],
    [17, 19],
    [18],
  ]);
  expect((await search(35, [0, 36, 72], 2, 29)).batches.slice(1)).toEqual([[32, 34], [35]]);
});

test("the least of all is found, and where none is enough nothing is; what is twice among the coarse is tried once", async () => {
  expect(await search(0, [0, 36], 2)).toEqual({ found: 0, batches: [[0, 36]] });
  expect(await search(99, [1, 1, 2], 2)).toEqual({ found: undefined, batches: [[1, 2]] });
});

test("whatever the guess and however many at once, the answer is the same", async () => {
  for (let least = 1; least <= 40; least++)
    for (const guess of [undefined, 0, 1, 10, 23, 40])
      for (const atOnce of [1, 2, 3, 7])
        expect((await search(least, [0, 10, 40], atOnce, guess)).found).toBe(least);
});

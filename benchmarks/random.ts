import { chanceOf } from "../src/planner/random.ts";

/** Seeded random values, so that a failing case can be run again. */
export function randomOf(seed: number) {
  const { uniform: next } = chanceOf(seed);
  return {
    /** In [from, to). */
    real: (from: number, to: number) => from + (to - from) * next(),
    /** Whole, both ends included. */
    int: (from: number, to: number) => from + Math.floor((to - from + 1) * next()),
    pick: <T>(values: readonly T[]): T => values[Math.floor(values.length * next())],
    chance: (probability: number) => next() < probability,
  };
}

export type Random = ReturnType<typeof randomOf>;

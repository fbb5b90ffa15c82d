/** A small seeded generator (mulberry32), so that a failing case can be run again. */
export function randomOf(seed: number) {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
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

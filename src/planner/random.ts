/** Seeded chance: the same numbers on every machine, as only sums, products and shifts are used. */
export interface Chance {
  /** In [0, 1). */
  uniform(): number;
  /** Mean 0, standard deviation 1, within 6 of it: twelve uniform numbers, whose variances add up to 1. */
  normal(): number;
}

/** A generator of 32 bits of state (mulberry32). */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    uniform,
    normal() {
      let sum = -6;
      for (let n = 0; n < 12; n++) sum += uniform();
      return sum;
    },
  };
}

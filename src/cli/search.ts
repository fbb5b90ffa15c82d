/** How a search goes about it. */
export interface SearchOptions {
  /** Tries that run side by side. */
  atOnce: number;
  /** Where the answer is thought to be, or a little below it. */
  guess?: number | undefined;
}

/**
 * Finds the smallest whole number that is enough, taking it that all above one that is are, too. The coarse numbers,
 * smallest first, and the guess are tried whatever comes of them; then the gap below the smallest that is enough is
 * closed. Undefined where none of them is enough.
 *
 * Numbers that are far too small take longest to try: below a guess that is enough it goes down one by one, in
 * strides that double; elsewhere it cuts the gap in even parts, `atOnce` numbers at a time.
 */
export async function findSmallest(
  coarse: readonly number[],
  areEnough: (numbers: readonly number[]) => Promise<boolean[]>,
  { atOnce, guess }: SearchOptions,
): Promise<number | undefined> {
  const known = new Map<number, boolean>();
  const learn = async (numbers: readonly number[]): Promise<void> => {
    const answers = await areEnough(numbers);
    numbers.forEach((number, n) => {
      known.set(number, answers[n]);
    });
  };
  const high = coarse[coarse.length - 1];
  const guessed = guess === undefined ? [] : [guess, Math.min(guess + 1, high)];
  await learn([...new Set([...coarse, ...guessed])]);
  for (let stride = 1; ; stride *= 2) {
    const tried = [...known.keys()].sort((a, b) => a - b);
    const best = tried.find((number) => known.get(number));
    if (best === undefined || best === tried[0]) return best;
    const below = tried[tried.indexOf(best) - 1];
    if (best - below <= 1) return best;
    const isBelowGuess = guess !== undefined && best <= guess && best - stride > below;
    await learn(isBelowGuess ? [best - stride] : parts(below, best, atOnce));
  }
}

/** Numbers that cut a gap evenly. */
function parts(low: number, high: number, atOnce: number): number[] {
  const count = Math.min(atOnce, high - low - 1);
  return Array.from({ length: count }, (_, n) => low + Math.round(((n + 1) * (high - low)) / (count + 1)));
}

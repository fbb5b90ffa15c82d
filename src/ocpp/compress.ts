import { HOUR_MS } from "../domain/charging.ts";

/** A level that holds from an instant until the next period's; negative where a vehicle gives. */
export interface Period {
  atMs: number;
  level: number;
}

/**
 * Longest input that is grouped exactly. The exact search takes n * n * maxPeriods / 2 steps: a
 * few milliseconds for 400 periods and a charger that takes 24.
 */
const EXACT_UP_TO = 400;

/**
 * A piecewise constant function in at most maxPeriods (>= 1) periods, nowhere further from 0 than the given one.
 * `periods` increase in time, the last one ends at endMs (>= its atMs). Equal neighbours are
 * merged first, which loses nothing. Where more than maxPeriods remain, they are put into
 * contiguous groups, each at the level of its members that is nearest to 0, such that the least energy is
 * lost; where members charge and others give it is 0.
 *
 * An end that must stay is passed as the last period, at the level nearest to 0 of all and at
 * endMs itself: it is counted, has no length to lose energy from, and no group can change its level.
 * What is cheapest to give up before it then joins it.
 *
 * The grouping is optimal up to 400 periods. Longer inputs are first brought down to 400, or to
 * maxPeriods where that is more, by merging the neighbours that lose least, again and again;
 * that is safe too, but may lose more than the optimum.
 *
 * `lostLevelHours` is the integral of what is lost, in level times hours.
 */
export function compress(
  periods: readonly Period[],
  endMs: number,
  maxPeriods: number,
): { periods: Period[]; lostLevelHours: number } {
  const merged = mergeEqual(periods);
  if (merged.length <= maxPeriods) return { periods: merged, lostLevelHours: 0 };
  const shorter = mergeCheapestNeighbours(merged, endMs, Math.max(EXACT_UP_TO, maxPeriods));
  const grouped = shorter.length > maxPeriods ? groupExactly(shorter, endMs, maxPeriods) : shorter;
  const compressed = mergeEqual(grouped);
  return { periods: compressed, lostLevelHours: lossBetween(merged, compressed, endMs) / HOUR_MS };
}

/** The level nearest to 0 on the way from one to the other: 0 where a vehicle would charge in one and give in the other. */
function between(a: number, b: number): number {
  if (a >= 0 && b >= 0) return Math.min(a, b);
  return a <= 0 && b <= 0 ? Math.max(a, b) : 0;
}

function mergeEqual(periods: readonly Period[]): Period[] {
  return periods.filter((period, i) => i === 0 || period.level !== periods[i - 1].level);
}

function endsOf(periods: readonly Period[], endMs: number): number[] {
  return periods.map((_, i) => (i + 1 < periods.length ? periods[i + 1].atMs : endMs));
}

/** Dynamic program over (periods so far, groups so far): the cheapest last group wins. */
function groupExactly(periods: readonly Period[], endMs: number, groupCount: number): Period[] {
  const count = periods.length;
  const ends = endsOf(periods, endMs);
  const width = groupCount + 1;
  /** Entry [end * width + groups]: least loss of the first `end` periods in that many groups. */
  const leastLoss = new Float64Array((count + 1) * width).fill(Number.POSITIVE_INFINITY);
  const lastGroupStart = new Int32Array((count + 1) * width);
  leastLoss[0] = 0;
  for (let end = 1; end <= count; end++) {
    let lowest = periods[end - 1].level;
    let durationMs = 0;
    let groupLoss = 0;
    for (let start = end - 1; start >= 0; start--) {
      const { atMs, level } = periods[start];
      const next = between(lowest, level);
      groupLoss += Math.abs(lowest - next) * durationMs + Math.abs(level - next) * (ends[start] - atMs);
      lowest = next;
      durationMs += ends[start] - atMs;
      const groupsMost = Math.min(groupCount, start + 1);
      for (let groups = 1; groups <= groupsMost; groups++) {
        const loss = leastLoss[start * width + groups - 1] + groupLoss;
        if (loss < leastLoss[end * width + groups]) {
          leastLoss[end * width + groups] = loss;
          lastGroupStart[end * width + groups] = start;
        }
      }
    }
  }
  const grouped: Period[] = [];
  let end = count;
  for (let groups = groupCount; groups > 0; groups--) {
    const start = lastGroupStart[end * width + groups];
    const level = periods
      .slice(start, end)
      .reduce((least, period) => between(least, period.level), periods[start].level);
    grouped.unshift({ atMs: periods[start].atMs, level });
    end = start;
  }
  return grouped;
}

function mergeCheapestNeighbours(periods: readonly Period[], endMs: number, targetCount: number): Period[] {
  const count = periods.length;
  const starts = Float64Array.from(periods, (period) => period.atMs);
  const levels = Float64Array.from(periods, (period) => period.level);
  // What is left is a list; a period is merged into the one before it. Entry `count` is the end.
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: count + 1 }, (_, i) => i - 1);
  const endOf = (i: number) => (next[i] < count ? starts[next[i]] : endMs);
  /** Loss of merging period i with the next one: both come to what lies between each and 0. */
  const pairLoss = (i: number) => {
    const j = next[i];
    if (j === count) return Number.POSITIVE_INFINITY;
    const level = between(levels[i], levels[j]);
    return (
      Math.abs(levels[i] - level) * (endOf(i) - starts[i]) +
      Math.abs(levels[j] - level) * (endOf(j) - starts[j])
    );
  };
  const losses = Float64Array.from({ length: count }, (_, i) => pairLoss(i));
  // The cheapest of each block is kept, so that neither finding the cheapest of all nor a change looks at all.
  const blockLength = Math.ceil(Math.sqrt(count));
  const cheapestIn = (block: number) => {
    let cheapest = block * blockLength;
    const end = Math.min(count, cheapest + blockLength);
    for (let i = cheapest + 1; i < end; i++) if (losses[i] < losses[cheapest]) cheapest = i;
    return cheapest;
  };
  const cheapests = Int32Array.from({ length: Math.ceil(count / blockLength) }, (_, block) =>
    cheapestIn(block),
  );
  const setLoss = (i: number, loss: number) => {
    losses[i] = loss;
    const block = Math.floor(i / blockLength);
    cheapests[block] = cheapestIn(block);
  };
  for (let left = count; left > targetCount; left--) {
    let cheapest = cheapests[0];
    for (const i of cheapests) if (losses[i] < losses[cheapest]) cheapest = i;
    const gone = next[cheapest];
    levels[cheapest] = between(levels[cheapest], levels[gone]);
    next[cheapest] = next[gone];
    previous[next[gone]] = cheapest;
    setLoss(gone, Number.POSITIVE_INFINITY);
    setLoss(cheapest, pairLoss(cheapest));
    if (previous[cheapest] >= 0) setLoss(previous[cheapest], pairLoss(previous[cheapest]));
  }
  const merged: Period[] = [];
  for (let i = 0; i < count; i = next[i]) merged.push({ atMs: starts[i], level: levels[i] });
  return merged;
}

/** Integral over time of what `lower` leaves out of `upper`, in level times milliseconds. */
function lossBetween(upper: readonly Period[], lower: readonly Period[], endMs: number): number {
  const ends = endsOf(upper, endMs);
  let loss = 0;
  let current = 0;
  for (const [i, { atMs, level }] of upper.entries()) {
    while (current + 1 < lower.length && lower[current + 1].atMs <= atMs) current++;
    loss += Math.abs(level - lower[current].level) * (ends[i] - atMs);
  }
  return loss;
}

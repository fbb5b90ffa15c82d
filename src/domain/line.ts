// Degrees; directions are told apart at a millionth of one.
const BESIDE = 1e-7;

/**
 * A line of a circuit whose loads draw currents at different angles, and what they draw in each slot.
 * A vehicle may always draw less than it is allowed, and where two currents stand more than 90
 * degrees apart less of one can mean more in the line. So the line's current is the highest that any
 * part of the loads can make: that of a corner, a set of directions that are on while all others are off.
 */
export class PhasorLine {
  /** Degrees against the line's own voltage. */
  readonly angles: readonly number[];
  readonly #units: { re: number; im: number }[];
  /** Directions that are on; a corner that can't be the highest is left out. */
  readonly #corners: number[][];
  /** A in each direction, [slot][direction]. */
  readonly #currentsA: Float64Array;

  constructor(angles: readonly number[], slotCount: number) {
    this.angles = angles;
    this.#units = angles.map((angle) => ({
      re: Math.cos((angle * Math.PI) / 180),
      im: Math.sin((angle * Math.PI) / 180),
    }));
    this.#corners = cornersOf(angles);
    this.#currentsA = new Float64Array(slotCount * angles.length);
  }

  /** Current in one direction in slot k, A. */
  currentA(k: number, direction: number): number {
    return this.#currentsA[k * this.angles.length + direction];
  }

  add(k: number, direction: number, currentA: number): void {
    this.#currentsA[k * this.angles.length + direction] += currentA;
  }

  /** Forgets what is drawn in slot k. */
  clear(k: number): void {
    this.#currentsA.fill(0, k * this.angles.length, (k + 1) * this.angles.length);
  }

  /** The highest current that the loads of slot k can make, A. */
  highestA(k: number): number {
    let highest = 0;
    for (const corner of this.#corners) {
      const { re, im } = this.#sum(k, corner);
      highest = Math.max(highest, Math.hypot(re, im));
    }
    return highest;
  }

  /** Most current, A, that a direction can have more in slot k without any corner passing a limit. */
  fitsA(k: number, direction: number, limitA: number): number {
    const unit = this.#units[direction];
    if (limitA <= 0) return 0;
    let most = Number.POSITIVE_INFINITY;
    for (const corner of this.#corners) {
      const { re, im } = this.#sum(k, corner);
      const left = limitA * limitA - re * re - im * im;
      if (left < 0) return 0;
      if (!corner.includes(direction)) continue;
      // |sum + t x unit| = limit.
      const along = re * unit.re + im * unit.im;
      most = Math.min(most, Math.sqrt(along * along + left) - along);
    }
    return Math.max(0, most);
  }

  #sum(k: number, corner: readonly number[]): { re: number; im: number } {
    let re = 0;
    let im = 0;
    for (const direction of corner) {
      const currentA = this.#currentsA[k * this.angles.length + direction];
      re += currentA * this.#units[direction].re;
      im += currentA * this.#units[direction].im;
    }
    return { re, im };
  }
}

/**
 * The corners of which one is the highest: the current along some angle is highest with every
 * direction on that stands within 90 degrees of it. Between the angles at which a direction turns
 * on or off the set is the same, so those either side of each are all that there are.
 */
function cornersOf(angles: readonly number[]): number[][] {
  const least = Math.min(...angles);
  const most = Math.max(...angles);
  const turns = angles.flatMap((angle) => [angle - 90, angle + 90]);
  const beside = turns.flatMap((turn) => [turn - BESIDE, turn + BESIDE]);
  const along = [least, most, ...beside.filter((angle) => angle > least && angle < most)];
  const corners = new Map<string, number[]>();
  for (const centre of along) {
    const on: number[] = [];
    angles.forEach((angle, direction) => {
      if (Math.abs(angle - centre) <= 90 + BESIDE / 2) on.push(direction);
    });
    corners.set(on.join(), on);
  }
  return [...corners.values()];
}

import type { Circuit, Evse, Phase } from "./problem.ts";

/** What a load of 1 W does to one line on its way to the grid, phasors against the line's own voltage. */
export interface LineLoad {
  circuit: number;
  phase: Phase;
  /** Current times the circuit's phase-to-neutral voltage, for each W. */
  share: number;
  /** Where the current stands against the voltage of its line, in degrees; undefined: anywhere. */
  angle: number | undefined;
}

/** How a load hangs on its circuit. */
export interface Connection {
  circuit: number;
  supply: Evse["supply"];
  /** The lines that it draws from evenly; with AC_LINE_TO_LINE the two that it hangs between. */
  phases: readonly Phase[];
  /** Which lines these are is not known, only how many. */
  hasUnknownPhases: boolean;
}

/** Current on L1, L2, L3 times voltage for each W, each against the voltage of its own line. */
type Phasors = { re: number; im: number }[];

export const LINES: readonly Phase[] = [1, 2, 3];
// Lines that a load of one or two lines can be on; which way round does not matter.
const PLACES: Readonly<Record<number, readonly (readonly Phase[])[]>> = {
  1: [[1], [2], [3]],
  2: [
    [1, 2],
    [2, 3],
    [3, 1],
  ],
};
const SQRT3 = Math.sqrt(3);

/** What the voltages of a site follow from. */
interface Wired {
  circuits: readonly Pick<Circuit, "parent" | "transformer">[];
  /** Where no further transformer hangs. */
  nominalVoltageV: number;
}

/**
 * Phase-to-neutral voltage of each circuit, V: circuits that no transformer parts have the same, the
 * primary voltage of the transformers that hang on them, or the site's nominal voltage without any.
 */
export function voltagesOf({ circuits, nominalVoltageV }: Wired): Float64Array {
  const side = new Int32Array(circuits.length);
  const sideV = new Float64Array(circuits.length).fill(nominalVoltageV);
  circuits.forEach(({ parent, transformer }, c) => {
    side[c] = parent === -1 || transformer !== undefined ? c : side[parent];
    if (parent !== -1 && transformer !== undefined) sideV[side[parent]] = transformer.primaryVoltageV;
  });
  return sideV.map((_, c) => sideV[side[c]]);
}

/** Power, W, of 1 A on each line that a load draws from: 230 a phase, or between two lines 1.73 times that. */
export function wattsPerAmpere(voltageV: number, supply: Evse["supply"], phases: readonly Phase[]): number {
  return supply === "AC_LINE_TO_LINE" ? voltageV * SQRT3 : voltageV * phases.length;
}

/**
 * The lines that a load uses from its circuit up to the grid connection, at unity power factor and
 * balanced voltages. Where its lines are not known each line has the most that any choice puts there.
 */
export function lineLoads(circuits: Wired["circuits"], load: Connection): LineLoad[] {
  const isBalanced = load.phases.length === 3;
  const isKnown = !load.hasUnknownPhases || isBalanced;
  const places = isKnown ? [load.phases] : PLACES[load.phases.length];
  let currents = places.map((phases) => atTheLoad(load.supply, phases));
  const loads: LineLoad[] = [];
  for (let c = load.circuit; c !== -1; c = circuits[c].parent) {
    for (const phase of LINES) {
      const { re, im } = largest(currents.map((of) => of[phase - 1]));
      const share = im === 0 ? re : Math.hypot(re, im);
      if (share < 1e-9) continue;
      const angle = isKnown ? Math.round((Math.atan2(im, re) * 180e6) / Math.PI) / 1e6 : undefined;
      loads.push({ circuit: c, phase, share, angle });
    }
    const isTurned = circuits[c].transformer?.winding === "DELTA_WYE";
    if (isTurned && !isBalanced) currents = currents.map(throughDeltaWye);
  }
  return loads;
}

/** Phase to neutral: P / V on each line, in phase. Between L1 and L2: P / (V x 1.73) at V12, 30 degrees off either. */
function atTheLoad(supply: Evse["supply"], phases: readonly Phase[]): Phasors {
  const currents = LINES.map(() => ({ re: 0, im: 0 }));
  if (supply !== "AC_LINE_TO_LINE") {
    for (const phase of phases) currents[phase - 1].re = 1 / phases.length;
    return currents;
  }
  const [from, to] = phases[1] === (phases[0] % 3) + 1 ? phases : [phases[1], phases[0]];
  currents[from - 1] = { re: 1 / 2, im: 1 / (2 * SQRT3) };
  currents[to - 1] = { re: 1 / 2, im: -1 / (2 * SQRT3) };
  return currents;
}

/**
 * From the wye to the delta of a transformer (vector group Dyn11). With n = 1.73 x primary over
 * secondary phase voltage the delta's first line carries (Ia - Ic) / n, and its voltage is 30 degrees
 * behind the wye's; the ratio of the voltages drops out of current times voltage.
 */
function throughDeltaWye(wye: Phasors): Phasors {
  return wye.map((own, q) => {
    const before = wye[(q + 2) % 3];
    // The line before, seen from this one's voltage, is 120 degrees ahead.
    const re = own.re + before.re / 2 + (before.im * SQRT3) / 2;
    const im = own.im + before.im / 2 - (before.re * SQRT3) / 2;
    // Turned by 30 degrees, over the root of 3.
    return { re: re / 2 - im / (2 * SQRT3), im: im / 2 + re / (2 * SQRT3) };
  });
}

function largest(phasors: Phasors): { re: number; im: number } {
  return phasors.reduce((most, one) =>
    Math.hypot(one.re, one.im) > Math.hypot(most.re, most.im) ? one : most,
  );
}

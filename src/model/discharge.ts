import { rangeOver } from "../domain/series.ts";
import { LINES, lineLoads, voltagesOf } from "../domain/wiring.ts";
import type { LoadedProgram, Solution } from "../solve/solver.ts";
import type { Lp, LpBuilder } from "./lp.ts";
import { WEAR } from "./pricing.ts";
import type { Powers } from "./program.ts";

// What a solver leaves of a power that is meant to be 0, or short of a whole step, kW.
const DUST_KW = 1e-6;
const MOST_ROUNDS = 4;
// Columns up to which what is given is brought together in several ways.
const SMALL_COLUMNS = 2000;
// Shares of the slots in which that is tried.
const SHARES = [1, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12];

/** What a kWh that a vehicle gives costs: its driver's price and wear less the import that it saves. */
export function givingCost(
  { problem, pricing }: Pick<Powers, "problem" | "pricing">,
  i: number,
  k: number,
): number {
  const { discharge } = problem.sessions[i];
  return (discharge?.pricePerKwh ?? 0) * pricing.moneyScale + WEAR - pricing.importMoney(k);
}

/** Sessions that may give, with the entries of their slots. */
function givingSessions({ problem, given, offsets }: Powers): number[] {
  return problem.sessions.flatMap((_, i) =>
    given[offsets[i]] >= 0 && offsets[i + 1] > offsets[i] ? [i] : [],
  );
}

/**
 * Keeps what flows up through each circuit within its limits: what vehicles give and what the site's
 * battery does, as if nothing else drew; at the grid connection what the site makes above its own load
 * flows there beside it. Currents add up at the worst of their angles.
 */
export function addReverseRows(
  powers: Powers,
  builder: LpBuilder,
  slots: readonly { netW: number }[],
  battery: { circuit: number; maxKw: number; out: number } | undefined,
): void {
  const { problem, charging, given, offsets } = powers;
  const { circuits, evses } = problem.site;
  const starts = problem.slotStartsMs;
  const voltages = voltagesOf(problem.site);
  const giving = givingSessions(powers);
  const ways = giving.map((i) => wayUp(circuits, evses[problem.sessions[i].evse].circuit));
  const loads = giving.map((i) =>
    lineLoads(circuits, { ...evses[problem.sessions[i].evse], phases: charging.ranges[i].phases }),
  );
  const ofBattery = battery === undefined ? [] : wayUp(circuits, battery.circuit);
  circuits.forEach((circuit, c) => {
    const hasBattery = battery !== undefined && ofBattery.includes(c);
    const write = (k: number, limitKw: number, shareOf: (m: number) => number, batteryShare: number) => {
      const entries: [number, number][] = [];
      let mostKw = 0;
      giving.forEach((i, m) => {
        const n = offsets[i] + k - charging.stays[i].first;
        const share = shareOf(m);
        if (k < charging.stays[i].first || k >= charging.stays[i].end || share === 0) return;
        entries.push([given[n], share]);
        mostKw += (share * charging.ranges[i].maxDischargePowerW) / 1000;
      });
      if (hasBattery) mostKw += batteryShare * battery.maxKw;
      if (mostKw <= limitKw) return;
      for (const [column, share] of entries) builder.addEntry(column, share);
      if (hasBattery) builder.addEntry(battery.out + k, batteryShare);
      builder.endRow(Number.NEGATIVE_INFINITY, limitKw);
    };
    for (let k = 0; k < slots.length; k++) {
      const series = circuit.maxPowerSeriesW;
      const overTimeW =
        series === undefined ? Number.POSITIVE_INFINITY : rangeOver(series, starts[k], starts[k + 1]).min;
      const ownW = c === 0 ? Math.max(0, -slots[k].netW) : 0;
      const limitW = Math.max(0, Math.min(circuit.maxPowerW, overTimeW) - ownW);
      write(k, limitW / 1000, (m) => (ways[m].includes(c) ? 1 : 0), 1);
      const lineW = Math.max(0, circuit.maxCurrentA * voltages[c] - ownW / 3);
      for (const phase of LINES) {
        const shareOf = (m: number) =>
          loads[m].find((load) => load.circuit === c && load.phase === phase)?.share ?? 0;
        write(k, lineW / 1000, shareOf, 1 / 3);
      }
    }
  });
}

/** A circuit and all above it. */
function wayUp(circuits: readonly { parent: number }[], circuit: number): number[] {
  const way: number[] = [];
  for (let c = circuit; c !== -1; c = circuits[c].parent) way.push(c);
  return way;
}

/**
 * Lets vehicles give where it is not paid to import, keeping in each battery what must be there. `without` is
 * the solution in which none gives; not needed where none is below what is kept.
 */
export function openGiving(
  powers: Powers,
  loaded: LoadedProgram,
  stored: Int32Array,
  without: Solution | undefined,
  mayGiveIn: (k: number) => boolean,
): void {
  const { problem, charging, given, offsets } = powers;
  for (const i of givingSessions(powers)) {
    const { discharge, battery } = problem.sessions[i];
    const { maxDischargePowerW } = charging.ranges[i];
    if (discharge === undefined || battery === undefined) continue;
    const leastKwh = discharge.minStoredWh / 1000;
    const mostKwh = Math.max(battery.capacityWh, battery.storedWh) / 1000;
    // What is below its minimum charges first.
    let before = battery.storedWh / 1000;
    let isAbove = false;
    for (let n = offsets[i]; n < offsets[i + 1]; n++) {
      isAbove ||= before >= leastKwh - DUST_KW;
      before = without?.primal[stored[n]] ?? before;
      if (!isAbove) continue;
      loaded.setBounds(stored[n], Math.min(leastKwh, before), mostKwh);
      const k = charging.stays[i].first + n - offsets[i];
      if (mayGiveIn(k)) loaded.setBounds(given[n], 0, maxDischargePowerW / 1000);
    }
  }
}

/** What a vehicle gives in a slot, between 0 and the least that its charger takes. */
interface Between {
  /** Entry of the program. */
  n: number;
  i: number;
  k: number;
  kw: number;
}

/**
 * A solution in which nothing that is given lies between 0 and the least that a charger takes. Each is rounded to
 * the nearer of the two, or to 0 where that can't be; at small sites, where a building draws less than the least, what
 * vehicles give is also brought together in the slots in which it saves most, in all of them or in some, and the
 * best of these is taken.
 */
export function solveGiving(
  powers: Powers,
  lp: Lp,
  loaded: LoadedProgram,
  relaxed: Solution,
  solve: () => Solution,
): Solution | undefined {
  if (relaxed.status !== "optimal") return undefined;
  const between = betweenIn(powers, relaxed);
  const isNear = ({ i, kw }: Between) => kw >= powers.charging.ranges[i].minPowerW / 2000;
  const choices = [new Set(between.filter(isNear))];
  if (between.length > 0 && relaxed.primal.length <= SMALL_COLUMNS)
    for (const share of SHARES) choices.push(dearest(powers, between, share));
  const solveFor = (choice: ReadonlySet<Between>) => {
    for (const one of between) setGiving(powers, lp, loaded, one, choice.has(one));
    const solution = solve();
    return solution.status === "infeasible" ? undefined : rounded(powers, lp, loaded, solution, solve);
  };
  let best: { solution: Solution; choice: ReadonlySet<Between> } | undefined;
  let last: ReadonlySet<Between> | undefined;
  for (const choice of choices) {
    last = choice;
    const solution = between.length === 0 ? relaxed : solveFor(choice);
    if (solution === undefined) continue;
    if (solution === undefined) continue;
    if (best === undefined || solution.objective < best.solution.objective) best = { solution, choice };
  }
  if (best !== undefined) return best.choice === last ? best.solution : solveFor(best.choice);
  // Nothing at all can always be given.
  return solveFor(new Set());
}

function betweenIn(powers: Powers, { primal }: Solution): Between[] {
  const { charging, given, offsets } = powers;
  const between: Between[] = [];
  for (const i of givingSessions(powers)) {
    const minKw = charging.ranges[i].minPowerW / 1000;
    for (let n = offsets[i]; n < offsets[i + 1]; n++) {
      const kw = primal[given[n]];
      const k = charging.stays[i].first + n - offsets[i];
      if (kw > DUST_KW && kw < minKw - DUST_KW) between.push({ n, i, k, kw });
    }
  }
  return between;
}

/** Lets a vehicle give in a slot, and then not charge in it, or the other way round. */
function setGiving(
  { charging, given, columns, extras }: Powers,
  lp: Lp,
  loaded: LoadedProgram,
  { n, i }: Between,
  isOn: boolean,
): void {
  const { minPowerW, maxDischargePowerW } = charging.ranges[i];
  loaded.setBounds(given[n], isOn ? minPowerW / 1000 : 0, isOn ? maxDischargePowerW / 1000 : 0);
  for (const column of [columns[n], extras[n]]) {
    if (column >= 0) loaded.setBounds(column, isOn ? 0 : lp.lower[column], isOn ? 0 : lp.upper[column]);
  }
}

/** For each session a share of its slots, those in which giving saves most. */
function dearest(powers: Powers, between: readonly Between[], share: number): Set<Between> {
  const sessions = new Set(between.map(({ i }) => i));
  return new Set(
    [...sessions].flatMap((i) =>
      between
        .filter((one) => one.i === i)
        .sort((a, b) => givingCost(powers, i, a.k) - givingCost(powers, i, b.k) || b.kw - a.kw || a.k - b.k)
        .filter((_, place, { length }) => place < Math.max(1, Math.round(share * length))),
    ),
  );
}

/** Rounds what is given until nothing lies between; undefined where no solution is found. */
function rounded(
  powers: Powers,
  lp: Lp,
  loaded: LoadedProgram,
  start: Solution,
  solve: () => Solution,
): Solution | undefined {
  let solution = start;
  for (let round = 0; solution.status === "optimal"; round++) {
    const between = betweenIn(powers, solution);
    if (between.length === 0) return solution;
    const mayRise = round < MOST_ROUNDS;
    for (const one of between)
      setGiving(powers, lp, loaded, one, mayRise && one.kw >= powers.charging.ranges[one.i].minPowerW / 2000);
    const next = solve();
    if (next.status === "infeasible") for (const one of between) setGiving(powers, lp, loaded, one, false);
    solution = next.status === "infeasible" ? solve() : next;
  }
  return undefined;
}

/** What each session gives in a solution in whole steps, W; undefined where it is nothing. */
export function givenIn(powers: Powers, { primal }: Solution): (Float64Array | undefined)[] {
  const { problem, charging, given, columns, extras, offsets } = powers;
  const giving = new Set(givingSessions(powers));
  return problem.sessions.map((_, i) => {
    if (!giving.has(i)) return undefined;
    const { stepPowerW, minPowerW } = charging.ranges[i];
    const givesW = new Float64Array(problem.slotStartsMs.length - 1);
    for (let n = offsets[i]; n < offsets[i + 1]; n++) {
      const chargesKw = primal[columns[n]] + (extras[n] < 0 ? 0 : primal[extras[n]]);
      const steps = Math.floor(((primal[given[n]] - chargesKw + DUST_KW) * 1000) / stepPowerW);
      const isUsable = steps > 0 && steps * stepPowerW >= minPowerW - 1e-6;
      if (isUsable) givesW[charging.stays[i].first + n - offsets[i]] = steps * stepPowerW;
    }
    return givesW.some((w) => w > 0) ? givesW : undefined;
  });
}

import { HOUR_MS } from "../domain/charging.ts";
import { taperOf } from "../domain/delivery.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { checkpointTimes } from "./checkpoints.ts";
import { evaluate } from "./evaluate.ts";
import { isInstalled } from "./installed.ts";
import { EARLY, TIE_BREAKS } from "./pricing.ts";
import { installedKw, type Program } from "./program.ts";
import { type Standing, TOLERANCE_W } from "./standing.ts";

// Changes within a zone that are left as they are: full power, a rest, nothing.
const CALM_CHANGES = 2;
// Places of a block that are tried, those first for which least is moved.
const MAX_PLACES = 4;
// Partners looked at, for each slot of a vehicle: a bound on work.
const TRIES_A_SLOT = 25;

/** Slots from .. to - 1 of a session's stay in which it makes no difference when it charges. */
interface Zone {
  i: number;
  from: number;
  to: number;
}

/**
 * A plan as good with fewer changes of level: among equals a solver picks corners, where one vehicle's power
 * jumps from slot to slot with what the others leave. First all vehicles are averaged at once over slots
 * that are alike, which keeps every limit because limits are convex. Then a vehicle's energy in a run of
 * slots of one price becomes one level, or one block where that would be under the minimum: what this takes
 * in one slot another vehicle gets back in a second, so that no slot's total changes. Only what breaks
 * ties is given up. Works in whole steps and loses no energy.
 */
export function calm(standing: Standing): PowerPlan {
  const { program } = standing;
  const before = standing.plan.map((powerW) => powerW.slice());
  const zones = zonesOf(standing);
  if (zones.every(({ i, from, to }) => changesIn(before[i], from, to) <= CALM_CHANGES)) return before;
  const work = new Work(standing, zones);
  const steps = [
    () => work.average(),
    () => work.level(zones),
    () => work.level(cellsOf(program, zones)),
    () => work.average(),
  ];
  let calmest = { plan: before, changes: changesOf(program, before) };
  for (const step of steps) {
    step();
    const changes = changesOf(program, standing.plan);
    if (changes < calmest.changes) calmest = { plan: standing.plan.map((powerW) => powerW.slice()), changes };
  }
  const energyKwh = program.energy.reduce((sumKwh, { energyKwh }) => sumKwh + energyKwh, 0);
  const most = evaluate(program, before) + TIE_BREAKS * energyKwh;
  return evaluate(program, calmest.plan) <= most ? calmest.plan : before;
}

function changesOf({ charging }: Program, plan: PowerPlan): number {
  return charging.stays.reduce((sum, { first, end }, i) => sum + changesIn(plan[i], first, end), 0);
}

function changesIn(powerW: Float64Array, from: number, to: number): number {
  let changes = 0;
  for (let k = from + 1; k < to; k++) if (Math.abs(powerW[k] - powerW[k - 1]) > TOLERANCE_W) changes++;
  return changes;
}

/**
 * The zones of all sessions: whole slots of one length, price and installed power, with no time among
 * them by which energy has to be there. A vehicle with a charge curve, one that can't be paused and one
 * that keeps what is installed have none.
 */
function zonesOf({ program, plan }: Standing): Zone[] {
  const { problem, charging, pricing } = program;
  const starts = problem.slotStartsMs;
  return charging.stays.flatMap(({ first, end, hours }, i) => {
    const session = problem.sessions[i];
    if (session.uninterruptible || taperOf(session) !== undefined || isInstalled(program, plan, i)) return [];
    const dueMs = checkpointTimes(program, i);
    const zones: Zone[] = [];
    let zone: Zone | undefined;
    for (let k = first; k < end; k++) {
      const isWhole = hours[k - first] === (starts[k + 1] - starts[k]) / HOUR_MS;
      if (!isWhole || dueMs.some((atMs) => atMs > starts[k] && atMs < starts[k + 1])) {
        zone = undefined;
        continue;
      }
      const goesOn =
        zone !== undefined &&
        hours[k - first] === hours[zone.from - first] &&
        Math.abs(pricing.slotCost(i, k) - pricing.slotCost(i, zone.from)) <= EARLY &&
        installedKw(problem, i, k) === installedKw(problem, i, zone.from) &&
        !dueMs.includes(starts[k]);
      if (goesOn && zone !== undefined) zone.to = k + 1;
      else {
        zone = { i, from: k, to: k + 1 };
        zones.push(zone);
      }
    }
    return zones;
  });
}

/** Zones cut where other vehicles come or go. */
function cellsOf({ charging }: Program, zones: readonly Zone[]): Zone[] {
  const isCut = charging.present.map((sessions, k) => {
    const before = charging.present[k - 1] ?? [];
    return sessions.length !== before.length || sessions.some((i, n) => i !== before[n]);
  });
  return zones.flatMap(({ i, from, to }) => {
    const cells = [{ i, from, to: from + 1 }];
    for (let k = from + 1; k < to; k++) {
      if (isCut[k]) cells.push({ i, from: k, to: k + 1 });
      else cells[cells.length - 1].to = k + 1;
    }
    return cells;
  });
}

class Work {
  readonly #standing: Standing;
  readonly #program: Program;
  readonly #plan: PowerPlan;
  /** Zone of each session's slots, -1 where it is in none; and whether its level there is settled. */
  readonly #zoneAt: Int32Array[];
  readonly #isLevel: Uint8Array[];
  #triesLeft: number;

  constructor(standing: Standing, zones: readonly Zone[]) {
    const { program, plan } = standing;
    this.#standing = standing;
    this.#program = program;
    this.#plan = plan;
    this.#zoneAt = plan.map((powerW) => new Int32Array(powerW.length).fill(-1));
    this.#isLevel = plan.map((powerW) => new Uint8Array(powerW.length));
    zones.forEach(({ i, from, to }, z) => {
      this.#zoneAt[i].fill(z, from, to);
    });
    this.#triesLeft = TRIES_A_SLOT * program.offsets[plan.length];
  }

  /** Averages all vehicles at once over slots in which the same ones charge and all else is the same, too. */
  average(): void {
    const slotCount = this.#program.charging.present.length;
    for (let from = 0; from < slotCount; ) {
      let to = from + 1;
      while (to < slotCount && this.#isAlike(to - 1, to)) to++;
      if (to - from > 1) this.#average(from, to);
      from = to;
    }
  }

  #isAlike(k: number, next: number): boolean {
    const { charging, baseW, surplus } = this.#program;
    const { present, stays } = charging;
    if (present[k].length !== present[next].length) return false;
    if (baseW[k] !== baseW[next] || surplus?.surplusW[k] !== surplus?.surplusW[next]) return false;
    const { emptyLeft } = this.#standing;
    const limits = emptyLeft.length / present.length;
    for (let n = 0; n < limits; n++)
      if (emptyLeft[k * limits + n] !== emptyLeft[next * limits + n]) return false;
    return present[k].every((i, n) => {
      const { first, hours } = stays[i];
      if (present[next][n] !== i || hours[k - first] !== hours[next - first]) return false;
      const [powerW, nextW] = [this.#plan[i][k], this.#plan[i][next]];
      if (this.#zoneAt[i][k] !== this.#zoneAt[i][next]) return false;
      return this.#zoneAt[i][k] < 0 ? powerW === nextW : powerW > 0 === nextW > 0;
    });
  }

  #average(from: number, to: number): void {
    const { charging } = this.#program;
    const length = to - from;
    const jagged = charging.present[from].filter((i) => changesIn(this.#plan[i], from, to) > 0);
    const before = jagged.map((i) => this.#plan[i].slice(from, to));
    const changes = () => jagged.reduce((sum, i) => sum + this.#changesAround({ i, from, to }), 0);
    const changesBefore = changes();
    // All at once, so that no moment's sum is above what it was.
    const clear = () => {
      for (const i of jagged) for (let k = from; k < to; k++) this.#standing.give(i, k, -this.#plan[i][k]);
    };
    clear();
    const rests = jagged.map((i, n) => {
      const { stepPowerW } = charging.ranges[i];
      const steps = Math.round(sum(before[n]) / stepPowerW);
      const whole = Math.floor(steps / length);
      for (let k = from; k < to; k++) this.#standing.give(i, k, whole * stepPowerW);
      return steps - whole * length;
    });
    // The steps that are left go round the slots, one vehicle's after the other's, so that they spread.
    let at = 0;
    const isWhole = jagged.every((i, n) => {
      const { stepPowerW } = charging.ranges[i];
      let left = rests[n];
      for (let tried = 0; left > 0 && tried < length; tried++) {
        const k = from + (at++ % length);
        if (this.#standing.spareW(i, k) < stepPowerW - TOLERANCE_W) continue;
        this.#standing.give(i, k, stepPowerW);
        left--;
      }
      return left === 0;
    });
    if (isWhole && changes() < changesBefore) return;
    clear();
    jagged.forEach((i, n) => {
      for (let k = from; k < to; k++) this.#standing.give(i, k, before[n][k - from]);
    });
  }

  /** Changes of level within a zone and at its ends. */
  #changesAround({ i, from, to }: Zone): number {
    const { first, end } = this.#program.charging.stays[i];
    return changesIn(this.#plan[i], Math.max(first, from - 1), Math.min(end, to + 1));
  }

  /** Levels the zones that jump, those with least energy first: others can still make room for them. */
  level(zones: readonly Zone[]): void {
    const isJagged = ({ i, from, to }: Zone) => changesIn(this.#plan[i], from, to) > CALM_CHANGES;
    const jagged = zones
      .filter(isJagged)
      .map((zone) => ({ zone, sumW: sum(this.#plan[zone.i].subarray(zone.from, zone.to)) }));
    jagged.sort((a, b) => a.sumW - b.sumW);
    for (const { zone } of jagged) {
      if (this.#triesLeft <= 0) return;
      const { i, from, to } = zone;
      this.#isLevel[i].fill(1, from, to);
      if (isJagged(zone)) this.#targets(zone).some((target) => this.#reach(zone, target));
      if (isJagged(zone)) this.#isLevel[i].fill(0, from, to);
    }
  }

  /** One level for a zone, or blocks where that would be under the minimum. */
  #targets({ i, from, to }: Zone): Float64Array[] {
    const { minPowerW, stepPowerW } = this.#program.charging.ranges[i];
    const powerW = this.#plan[i].subarray(from, to);
    const steps = Math.round(sum(powerW) / stepPowerW);
    const leastSteps = Math.max(1, Math.round(minPowerW / stepPowerW));
    const count = Math.min(to - from, Math.floor(steps / leastSteps));
    const whole = Math.floor(steps / count);
    const places = Array.from({ length: to - from - count + 1 }, (_, at) => {
      const target = new Float64Array(to - from);
      target.fill(whole * stepPowerW, at, at + count);
      target.fill((whole + 1) * stepPowerW, at, at + steps - whole * count);
      return { target, movedW: sum(target.map((w, n) => Math.max(0, w - powerW[n]))) };
    });
    places.sort((a, b) => a.movedW - b.movedW);
    return places.slice(0, MAX_PLACES).map(({ target }) => target);
  }

  /** Brings a zone as near to a target as it goes; leaves all as it was where that is no calmer. */
  #reach(zone: Zone, target: Float64Array): boolean {
    const { i, from, to } = zone;
    const before = this.#changesAround(zone);
    const done: Parameters<Standing["give"]>[] = [];
    const give: Standing["give"] = (j, k, byW) => {
      this.#standing.give(j, k, byW);
      done.push([j, k, byW]);
    };
    const overW = target.map((w, n) => this.#plan[i][from + n] - w);
    for (let b = 0; b < target.length; b++) {
      for (let a = 0; a < target.length && overW[b] < -TOLERANCE_W; a++) {
        if (overW[a] <= TOLERANCE_W) continue;
        const movedW = this.#move(i, from + a, from + b, Math.min(overW[a], -overW[b]), give);
        overW[a] -= movedW;
        overW[b] += movedW;
      }
    }
    const { minPowerW, floorPowerW } = this.#program.charging.ranges[i];
    const isUsable = (w: number) => w === floorPowerW || w >= minPowerW - TOLERANCE_W;
    if (this.#plan[i].subarray(from, to).every(isUsable) && this.#changesAround(zone) < before) return true;
    for (const [j, k, byW] of done.reverse()) this.#standing.give(j, k, -byW);
    return false;
  }

  /** Moves up to so much of session i's power from slot a to slot b, others' as much back where there is no room; tells how much. */
  #move(i: number, a: number, b: number, wantedW: number, give: Standing["give"]): number {
    const { charging, flat, surplus } = this.#program;
    const { room } = this.#standing;
    let leftW = wantedW;
    const isOwn = (k: number) => surplus !== undefined && surplus.surplusW[k] > 0;
    if (flat === undefined && !isOwn(a) && !isOwn(b)) {
      const freeW = this.#inSteps(i, i, Math.min(leftW, this.#standing.spareW(i, b)));
      if (freeW > 0) {
        give(i, a, -freeW);
        give(i, b, freeW);
        leftW -= freeW;
      }
    }
    // Those first that it makes more even.
    for (const gains of [true, false]) {
      for (const j of charging.present[b]) {
        if (leftW <= TOLERANCE_W) return wantedW;
        if (--this.#triesLeft <= 0) return wantedW - leftW;
        const zone = this.#zoneAt[j][b];
        if (j === i || zone < 0 || this.#zoneAt[j][a] !== zone) continue;
        if (this.#isLevel[j][a] === 1 || this.#isLevel[j][b] === 1) continue;
        if (this.#plan[j][b] > this.#plan[j][a] !== gains) continue;
        const byW = this.#exchangeable(i, j, a, b, leftW);
        if (byW <= 0) continue;
        give(i, a, -byW);
        give(j, b, -byW);
        give(i, b, byW);
        give(j, a, byW);
        if (room.overdraft(i, b) <= TOLERANCE_W && room.overdraft(j, a) <= TOLERANCE_W) {
          leftW -= byW;
          continue;
        }
        give(j, a, -byW);
        give(i, b, -byW);
        give(j, b, byW);
        give(i, a, byW);
      }
    }
    return wantedW - leftW;
  }

  /** How much partner j can give session i in slot b for the same in slot a, and be off or in its range in both. */
  #exchangeable(i: number, j: number, a: number, b: number, wantedW: number): number {
    const { minPowerW, maxPowerW, floorPowerW } = this.#program.charging.ranges[j];
    const [inA, inB] = [this.#plan[j][a], this.#plan[j][b]];
    const mostW = Math.min(wantedW, maxPowerW - inA);
    const goesOff = floorPowerW === 0 && mostW >= inB - TOLERANCE_W;
    const byW = this.#inSteps(i, j, goesOff ? inB : Math.min(mostW, inB - minPowerW));
    const isUsable = (w: number) =>
      Math.abs(w) < TOLERANCE_W ? floorPowerW === 0 : w >= minPowerW - TOLERANCE_W;
    return isUsable(inA + byW) && isUsable(inB - byW) ? byW : 0;
  }

  /** The most power up to a limit that is whole steps of two sessions, W; 0 where their steps don't fit each other. */
  #inSteps(i: number, j: number, mostW: number): number {
    const [one, other] = [i, j].map((n) => this.#program.charging.ranges[n].stepPowerW);
    const large = Math.max(one, other);
    const ratio = large / Math.min(one, other);
    return Math.abs(ratio - Math.round(ratio)) > 1e-9 ? 0 : Math.floor(mostW / large + 1e-9) * large;
  }
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

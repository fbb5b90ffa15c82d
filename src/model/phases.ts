import { type Charging, chargingOf } from "../domain/charging.ts";
import type { Problem, Session } from "../domain/problem.ts";
import { Room } from "../domain/room.ts";
import type { StayPart } from "../domain/stays.ts";
import type { Solver } from "../solve/solver.ts";
import { addCheckpointRows } from "./checkpoints.ts";
import { addCircuitRows } from "./circuits.ts";
import { addDemandCharge, addFlatness } from "./demand.ts";
import { powersOf } from "./formulate.ts";
import { LpBuilder } from "./lp.ts";
import { addPowerEntry, type Powers, powerKw } from "./program.ts";
import { addSurplus } from "./surplus.ts";

// What other phases must be worth to a vehicle, kWh and as a share of its need, for a plan of its own.
const NOTABLE_KWH = 1;
const NOTABLE_SHARE = 0.05;
// Of a kWh on one phase, in units of the mean price: three phases where it is the same.
const ONE_PHASE = 2e-3;
// What a change of phases must bring, kWh.
const WORTH_A_SWITCH_KWH = 0.01;
// What a kWh that the program spreads over three phases counts on one, where it might not fit.
const MOVED = 0.05;
const DUST_KW = 1e-6;

/** Whether the number of phases of a session can be chosen, once for all of its stay. */
export function mayChoose({ site }: Problem, session: Session): boolean {
  const { maxPhaseSwitches, phases, supply } = site.evses[session.evse];
  const isSwitch = maxPhaseSwitches > 0 && supply === "AC" && phases.length === 3 && session.phaseCount === 3;
  return isSwitch && session.discharge === undefined && session.energyWh > 0;
}

/** Whether it can be changed during the stay too. */
function maySwitch(problem: Problem, session: Session): boolean {
  const { ocpp } = problem.site.evses[session.evse];
  // One change takes two periods and the end.
  const hasRoom = ocpp.maxPeriods >= 3 && !ocpp.rejectsZeroLimit;
  return mayChoose(problem, session) && hasRoom && !session.uninterruptible;
}

/**
 * On how many phases each vehicle charges when, where its charger can change that: one linear program has
 * the power on one phase and on three beside each other, and along its optimum each stay gets the
 * sequence, with as many changes as allowed, that loses least of it to minimums and maximums. To a vehicle that
 * `isShort` on three phases any gain is worth it, to others a notable one. Undefined where it is for none, or there
 * is no time.
 */
export function choosePhases(
  problem: Problem,
  charging: Charging,
  isShort: readonly boolean[],
  solver: Solver,
  leftMs: () => number,
): (StayPart[] | undefined)[] | undefined {
  const switching = problem.sessions.flatMap((session, i) => (maySwitch(problem, session) ? [i] : []));
  if (switching.length === 0) return undefined;
  const simple = problem.sessions.map((session) => ({
    ...session,
    battery: undefined,
    discharge: undefined,
    installed: undefined,
  }));
  const both: Problem = {
    ...problem,
    sessions: [...simple, ...switching.map((i) => ({ ...simple[i], phaseCount: 1 }))],
  };
  const twin = new Map(switching.map((i, n) => [i, simple.length + n]));
  const builder = new LpBuilder();
  const powers = powersOf(both, chargingOf(both), builder);
  addNeeds(powers, builder, simple.length, twin);
  const needs = simple.map(({ energyWh }) => ({ energyKwh: energyWh / 1000 }));
  addCheckpointRows(powers, builder, needs, twin);
  addCircuitRows(powers, builder, new Room(both, powers.charging));
  const surplus = addSurplus(powers, builder);
  addDemandCharge(powers, builder, surplus);
  if (problem.preference === "FLATTEST") addFlatness(powers, builder, surplus);
  const loaded = solver.load(builder.build());
  const { status, primal } = loaded.solve({ timeLimitMs: leftMs() });
  loaded.dispose();
  if (status !== "optimal") return undefined;
  const parts = problem.sessions.map((_, i) => {
    const one = twin.get(i);
    return one === undefined ? undefined : partsOf(problem, charging, powers, primal, isShort[i], i, one);
  });
  return parts.some((ofStay) => ofStay !== undefined) ? parts : undefined;
}

/** These vehicles on one phase all the time, where that can be chosen, the others as they are; undefined where none can. */
export function onOnePhase(
  problem: Problem,
  which: readonly boolean[],
  parts: readonly (StayPart[] | undefined)[],
): (StayPart[] | undefined)[] | undefined {
  const isChosen = problem.sessions.map((session, i) => which[i] && mayChoose(problem, session));
  if (!isChosen.includes(true)) return undefined;
  return problem.sessions.map(({ arrivalMs, departureMs, energyWh }, i) =>
    isChosen[i] ? [{ fromMs: arrivalMs, toMs: departureMs, phaseCount: 1, energyWh }] : parts[i],
  );
}

/** Each session's need, with what its twin on one phase charges; both share its time. */
function addNeeds(
  powers: Powers,
  builder: LpBuilder,
  count: number,
  twin: ReadonlyMap<number, number>,
): void {
  const { problem, pricing, offsets, hours, maxKw } = powers;
  const leastPriority = Math.min(...problem.sessions.map(({ priority }) => priority));
  for (let i = 0; i < count; i++) {
    const { energyWh, priority } = problem.sessions[i];
    const one = twin.get(i);
    const length = offsets[i + 1] - offsets[i];
    const unmet = builder.addColumn((pricing.unmet * priority) / leastPriority, 0, energyWh / 1000);
    const floor = builder.addColumn(pricing.over, 0, Number.POSITIVE_INFINITY);
    for (let n = 0; n < length; n++) {
      addPowerEntry(powers, builder, offsets[i] + n, hours[offsets[i] + n]);
      if (one !== undefined) addPowerEntry(powers, builder, offsets[one] + n, hours[offsets[i] + n]);
    }
    builder.addEntry(unmet, 1);
    builder.addEntry(floor, -1);
    builder.endRow(energyWh / 1000, energyWh / 1000);
    if (one === undefined) continue;
    const onOne = builder.addColumn(ONE_PHASE, 0, Number.POSITIVE_INFINITY);
    for (let n = 0; n < length; n++) addPowerEntry(powers, builder, offsets[one] + n, hours[offsets[i] + n]);
    builder.addEntry(onOne, -1);
    builder.endRow(0, 0);
    for (let n = 0; n < length; n++) {
      const [three, single] = [offsets[i] + n, offsets[one] + n];
      if (maxKw[three] <= 0 || maxKw[single] <= 0) continue;
      addPowerEntry(powers, builder, three, 1 / maxKw[three]);
      addPowerEntry(powers, builder, single, 1 / maxKw[single]);
      builder.endRow(Number.NEGATIVE_INFINITY, 1);
    }
  }
}

/** The parts of a stay; undefined where three phases all the time are as good. */
function partsOf(
  problem: Problem,
  charging: Charging,
  powers: Powers,
  primal: Float64Array,
  isShort: boolean,
  i: number,
  one: number,
): StayPart[] | undefined {
  const { first, hours } = charging.stays[i];
  const { evse, energyWh, arrivalMs, departureMs } = problem.sessions[i];
  const { maxPhaseSwitches, ocpp } = problem.site.evses[evse];
  const power = (of: number, n: number) => powerKw(powers, primal, powers.offsets[of] + n);
  const lost = [powers.charging.ranges[one], charging.ranges[i]].map(({ minPowerW, maxPowerW }, isThree) =>
    hours.map((h, n) => {
      const [onOne, onThree] = [power(one, n), power(i, n)];
      const kw = onOne + onThree;
      if (kw < DUST_KW) return 0;
      const below = kw < minPowerW / 1000 - DUST_KW ? kw : Math.max(0, kw - maxPowerW / 1000);
      return h * Math.max(below, isThree === 1 ? onOne : MOVED * onThree);
    }),
  );
  const isThree = leastLoss(lost, Math.min(maxPhaseSwitches, ocpp.maxPeriods - 2));
  const gainKwh = isThree.reduce((kwh, three, n) => kwh + lost[1][n] - lost[three][n], 0);
  const notableKwh = isShort ? WORTH_A_SWITCH_KWH : Math.max(NOTABLE_KWH, (NOTABLE_SHARE * energyWh) / 1000);
  if (gainKwh <= notableKwh) return undefined;
  const parts: StayPart[] = [];
  isThree.forEach((three, n) => {
    const phaseCount = three === 1 ? 3 : 1;
    const plannedWh = 1000 * hours[n] * (power(one, n) + power(i, n));
    const last = parts[parts.length - 1];
    const toMs = Math.min(departureMs, problem.slotStartsMs[first + n + 1]);
    if (last?.phaseCount === phaseCount) {
      last.toMs = toMs;
      last.energyWh += plannedWh;
    } else {
      const fromMs = Math.max(arrivalMs, problem.slotStartsMs[first + n]);
      parts.push({ fromMs, toMs, phaseCount, energyWh: plannedWh });
    }
  });
  // What the program leaves out, or rounds, is asked for where there is most time.
  const longest = parts.reduce((a, b) => (b.toMs - b.fromMs > a.toMs - a.fromMs ? b : a));
  longest.energyWh += energyWh - parts.reduce((wh, part) => wh + part.energyWh, 0);
  longest.energyWh = Math.max(0, longest.energyWh);
  return parts;
}

/** The sequence of choices, 0 or 1 in each slot, that loses least with so many changes at most. */
export function leastLoss(lost: readonly Float64Array[], maxSwitches: number): number[] {
  const count = lost[0].length;
  const width = maxSwitches + 1;
  // Indexed [(slot * 2 + choice) * width + changes so far].
  const least = new Float64Array(count * 2 * width).fill(Number.POSITIVE_INFINITY);
  const hasChanged = new Uint8Array(count * 2 * width);
  for (let k = 0; k < count; k++) {
    for (let choice = 0; choice < 2; choice++) {
      for (let changes = 0; changes < width; changes++) {
        const at = (k * 2 + choice) * width + changes;
        if (k === 0) {
          if (changes === 0) least[at] = lost[choice][0];
          continue;
        }
        const stays = least[((k - 1) * 2 + choice) * width + changes];
        const comes =
          changes === 0
            ? Number.POSITIVE_INFINITY
            : least[((k - 1) * 2 + 1 - choice) * width + changes - 1] + WORTH_A_SWITCH_KWH;
        hasChanged[at] = comes < stays ? 1 : 0;
        least[at] = Math.min(stays, comes) + lost[choice][k];
      }
    }
  }
  let best = { choice: 1, changes: 0, loss: Number.POSITIVE_INFINITY };
  for (const choice of [1, 0]) {
    for (let changes = 0; changes < width; changes++) {
      const loss = least[((count - 1) * 2 + choice) * width + changes];
      if (loss < best.loss) best = { choice, changes, loss };
    }
  }
  const choices: number[] = [];
  for (let k = count - 1, { choice, changes } = best; k >= 0; k--) {
    choices.unshift(choice);
    if (hasChanged[(k * 2 + choice) * width + changes] === 1) {
      choice = 1 - choice;
      changes--;
    }
  }
  return choices;
}

import { HOUR_MS, slotAt } from "../domain/charging.ts";
import { forPresence } from "../domain/measure.ts";
import type { PowerPlan } from "../domain/plan.ts";
import { forSurplus, importBaseOf } from "../domain/surplus.ts";
import { demandWindows } from "../domain/tariff.ts";
import type { Program } from "./program.ts";
import { takenOf } from "./surplus.ts";

/** Slots from .. to - 1, of one power. */
export interface Run {
  from: number;
  to: number;
}

/**
 * The highest mean import while vehicles are there, over the demand windows or, with FLATTEST, the
 * slots, and what each of them leaves below it. Where no peak costs, everything is below it.
 */
export class Peak {
  readonly #program: Program;
  readonly #spans: { startMs: number; endMs: number; hours: number }[];
  readonly #spanStartsMs: number[];
  readonly #usedWh: number[];
  #topW: number;

  /** The peak is that of `solved`, or what is already paid for; `plan` uses what is below. */
  constructor(program: Program, solved: PowerPlan, plan: PowerPlan) {
    const { problem, charging, demand, flat } = program;
    const starts = problem.slotStartsMs;
    const slots = Array.from(charging.present, (_, k) => ({
      startMs: starts[k],
      endMs: starts[k + 1],
      hours: (starts[k + 1] - starts[k]) / HOUR_MS,
    }));
    this.#program = program;
    this.#spans = demand !== undefined ? demandWindows(problem) : flat !== undefined ? slots : [];
    this.#spanStartsMs = [...this.#spans.map(({ startMs }) => startMs), starts[starts.length - 1]];
    this.#topW = (demand?.leastKw ?? 0) * 1000;
    const base = importBaseOf(problem);
    const ownSolved = takenOf(program, solved);
    const ownPlan = takenOf(program, plan);
    this.#usedWh = this.#spans.map((span) => {
      const baseWh = base(span.startMs, span.endMs) * span.hours;
      let planWh = baseWh;
      let solvedWh = baseWh;
      let hasVehicles = false;
      forPresence(problem, charging, span, (i, k, hours) => {
        planWh += plan[i][k] * hours;
        solvedWh += solved[i][k] * hours;
        hasVehicles = true;
      });
      if (ownSolved !== undefined && ownPlan !== undefined) {
        forSurplus(problem, ownSolved, span, (k, hours) => {
          solvedWh -= ownSolved[k] * hours;
        });
        forSurplus(problem, ownPlan, span, (k, hours) => {
          planWh -= ownPlan[k] * hours;
        });
      }
      if (hasVehicles) this.#topW = Math.max(this.#topW, solvedWh / span.hours);
      return planWh;
    });
  }

  /** Most power, W, that session i can have more in a run without a higher peak. */
  fits(i: number, run: Run): number {
    let mostW = Number.POSITIVE_INFINITY;
    for (const { span, hours } of this.#parts(i, run)) {
      mostW = Math.min(mostW, (this.#topW * this.#spans[span].hours - this.#usedWh[span]) / hours);
    }
    return mostW;
  }

  /** What the peak's rise costs if session i has so much more in a run, in thousandths of the program's unit. */
  costOf(i: number, run: Run, addedW: number): number {
    let topW = this.#topW;
    for (const { span, hours } of this.#parts(i, run)) {
      topW = Math.max(topW, (this.#usedWh[span] + addedW * hours) / this.#spans[span].hours);
    }
    return (topW - this.#topW) * this.#program.pricing.peak;
  }

  /** Whether energy for session i is worth the rise of the peak. */
  isWorth(i: number, run: Run, addedW: number, energyWh: number): boolean {
    const { pricing, problem } = this.#program;
    return this.costOf(i, run, addedW) <= energyWh * pricing.unmet * problem.sessions[i].priority;
  }

  /** Adds power to the plan; the peak rises where it has to. */
  add(i: number, run: Run, addedW: number): void {
    for (const { span, hours } of this.#parts(i, run)) {
      this.#usedWh[span] += addedW * hours;
      this.#topW = Math.max(this.#topW, this.#usedWh[span] / this.#spans[span].hours);
    }
  }

  /** The hours of a session's run that lie in each span. */
  #parts(i: number, { from, to }: Run): { span: number; hours: number }[] {
    const { slotStartsMs, sessions } = this.#program.problem;
    const fromMs = Math.max(slotStartsMs[from], sessions[i].arrivalMs);
    const toMs = Math.min(slotStartsMs[to], sessions[i].departureMs);
    const parts: { span: number; hours: number }[] = [];
    if (this.#spans.length === 0) return parts;
    for (let span = slotAt(this.#spanStartsMs, fromMs); this.#spanStartsMs[span] < toMs; span++) {
      const { startMs, endMs } = this.#spans[span];
      parts.push({ span, hours: (Math.min(endMs, toMs) - Math.max(startMs, fromMs)) / HOUR_MS });
    }
    return parts;
  }
}

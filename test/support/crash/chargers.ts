import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../../benchmarks/random.ts";

const VOLTAGE_V = 230;
/** Sums of doubles, and the milliwatts that are rounded away. */
const TOLERANCE_W = 1;

/** A limit on the sum of some chargers of a site. */
export interface Limit {
  name: string;
  maxPowerW: number;
  chargers: readonly Charger[];
}

interface Profile {
  id: number;
  purpose: string;
  transactionId: string | undefined;
  /** By time; the first holds before its time too. */
  steps: { atMs: number; powerW: number }[];
}

/** How a charger took a request: `silent` where no answer comes, whatever it did. */
export type Outcome = "accepted" | "rejected" | "silent" | "outdated";

/**
 * A charger and its connection to the CSMS, with one EVSE on three phases. Requests are worked off one after the
 * other, as OCPP has it. Nobody sends it a command when a later one has been sent already.
 */
export class Charger {
  readonly stationId: string;
  /** While it is calm it accepts everything at once. */
  isCalm = false;
  transactionId: string | undefined;
  applied = 0;
  /** For whoever looks for the cause of a fault. */
  readonly happened: string[] = [];
  readonly #random: Random;
  readonly #profiles = new Map<number, Profile>();
  readonly #onChange: () => void;
  #queue: Promise<unknown> = Promise.resolve();
  #newest = 0;

  constructor(stationId: string, random: Random, onChange: () => void) {
    this.stationId = stationId;
    this.#random = random;
    this.#onChange = onChange;
  }

  /** A vehicle comes, and its transaction begins. */
  plugIn(transactionId: string): void {
    this.transactionId = transactionId;
    this.happened.push(`${transactionId} begins`);
    this.#onChange();
  }

  /** The vehicle leaves; profiles of its transaction end with it. */
  unplug(): void {
    this.happened.push(`${this.transactionId} ends`);
    this.transactionId = undefined;
    for (const [id, { purpose }] of this.#profiles) if (purpose === "TxProfile") this.#profiles.delete(id);
    this.#onChange();
  }

  /** Sends a SetChargingProfile; `place` is the command's place among all. */
  send(place: number, payloadJson: string): Promise<Outcome> {
    if (place < this.#newest) return Promise.resolve("outdated");
    this.#newest = place;
    const profile = profileOf(payloadJson);
    const taken = this.#queue.then(() => this.#take(profile));
    this.#queue = taken.then(({ answer, afterMs }) => {
      const levels = profile.steps.map(({ powerW }) => (powerW / 1000).toFixed(1)).join(" ");
      this.happened.push(`${place} [${levels}] ${answer}${afterMs ? " later" : ""}`);
    });
    return taken.then(async ({ answer, afterMs = 0 }) => {
      if (afterMs > 0) await sleep(afterMs);
      return answer;
    });
  }

  /** What it allows the vehicle that is there, W. */
  allowedAtW(atMs: number): number {
    return this.#inForce()?.steps.findLast((step, n) => n === 0 || step.atMs <= atMs)?.powerW ?? 0;
  }

  /** When what it allows changes. */
  changesMs(): number[] {
    return this.#inForce()?.steps.map(({ atMs }) => atMs) ?? [];
  }

  #inForce(): Profile | undefined {
    if (this.transactionId === undefined) return undefined;
    const held = [...this.#profiles.values()];
    return held.find(({ purpose }) => purpose === "TxProfile") ?? held[0];
  }

  /** Takes one request, after which the next one's turn is; its answer comes that much later. */
  async #take(profile: Profile): Promise<{ answer: Outcome; afterMs?: number }> {
    const random = this.#random;
    await sleep(this.isCalm ? 1 : random.int(1, 60));
    const chance = this.isCalm ? 1 : random.real(0, 1);
    // Slow to put it in force, while the CSMS has long given up waiting for the answer.
    if (chance < 0.08) await sleep(random.int(0, 400));
    const isOfOther = profile.purpose === "TxProfile" && profile.transactionId !== this.transactionId;
    if (isOfOther || (chance >= 0.08 && chance < 0.14)) return { answer: "rejected" };
    if (chance >= 0.14 && chance < 0.2) return { answer: "silent", afterMs: 300 };
    this.#profiles.set(profile.id, profile);
    this.applied++;
    this.#onChange();
    if (chance < 0.08) return { answer: "silent" };
    return { answer: "accepted", afterMs: chance < 0.3 ? random.int(1500, 4000) : 0 };
  }
}

function profileOf(payloadJson: string): Profile {
  const { chargingProfile: profile } = JSON.parse(payloadJson);
  const [{ startSchedule, chargingRateUnit, chargingSchedulePeriod }] = profile.chargingSchedule;
  return {
    id: profile.id,
    purpose: profile.chargingProfilePurpose,
    transactionId: profile.transactionId,
    steps: chargingSchedulePeriod.map(
      ({
        startPeriod,
        limit,
        numberPhases = 3,
      }: Record<"startPeriod" | "limit" | "numberPhases", number>) => ({
        atMs: Date.parse(startSchedule) + startPeriod * 1000,
        powerW: chargingRateUnit === "W" ? limit : limit * VOLTAGE_V * numberPhases,
      }),
    ),
  };
}

/** The first instant from now on at which what the chargers hold would pass a limit. */
export function excessOf(limits: readonly Limit[], nowMs: number): string | undefined {
  for (const { name, maxPowerW, chargers } of limits)
    for (const atMs of [nowMs, ...chargers.flatMap((charger) => charger.changesMs())]) {
      if (atMs < nowMs) continue;
      const powers = chargers.map((charger) => charger.allowedAtW(atMs));
      const sumW = powers.reduce((sum, powerW) => sum + powerW, 0);
      if (sumW > maxPowerW + TOLERANCE_W)
        return `${name}: ${sumW.toFixed(0)} W of ${maxPowerW} in ${((atMs - nowMs) / 1000).toFixed(1)} s (${powers.map((powerW) => powerW.toFixed(0)).join(" + ")})`;
    }
  return undefined;
}

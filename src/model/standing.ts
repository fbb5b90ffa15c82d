import type { PowerPlan } from "../domain/plan.ts";
import { Room } from "../domain/room.ts";
import { Peak } from "./peak.ts";
import type { Program } from "./program.ts";

/** Powers closer than this, W, are the same. */
export const TOLERANCE_W = 1e-6;

/** A plan that is being changed, with what it leaves under every limit and below the site's peak. */
export class Standing {
  readonly program: Program;
  readonly plan: PowerPlan;
  readonly room: Room;
  readonly peak: Peak;
  /** What there is under each limit without vehicles, as Room.left has it. */
  readonly emptyLeft: Float64Array;

  constructor(program: Program, plan: PowerPlan) {
    this.program = program;
    this.plan = plan.map((powerW) => powerW.slice());
    this.room = new Room(program.problem, program.charging);
    this.emptyLeft = this.room.left.slice();
    this.peak = new Peak(program, plan, plan);
    program.charging.stays.forEach(({ first, end }, i) => {
      for (let k = first; k < end; k++) this.room.take(i, k, plan[i][k]);
    });
  }

  /** Gives session i so much more in slot k, W; less where it is negative. The peak never falls again: less comes first. */
  give(i: number, k: number, byW: number): void {
    const powerW = this.plan[i][k] + byW;
    this.plan[i][k] = Math.abs(powerW) < TOLERANCE_W ? 0 : powerW;
    this.room.take(i, k, byW);
    this.peak.add(i, { from: k, to: k + 1 }, byW);
  }

  /** Most power, W, that session i can have more in slot k without passing a limit or raising the peak. */
  spareW(i: number, k: number): number {
    return Math.min(this.room.fits(i, k), this.peak.fits(i, { from: k, to: k + 1 }));
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { chargingRange } from "../domain/charging.ts";
import { WattslotError } from "../domain/errors.ts";
import type { Engine } from "../engine.ts";
import {
  InstalledPlan,
  type OptimizeRequest,
  OptimizeResponse,
  PlanStatus,
  ProfileCommand,
  type SessionPlan,
} from "../gen/wattslot/v1/optimizer.ts";
import type { ReoptimizeResult } from "../gen/wattslot/v1/site.ts";
import { type InterimPlan, interimPlans } from "../interim.ts";
import type { NewCommand, NewPlan, SiteKey, SiteRow, Store } from "../store/store.ts";
import { toProblem } from "./convert.ts";
import { publicError } from "./errors.ts";
import { countedFromMs, type KeptSession, type KeptSite, readKept, requestOf } from "./kept-site.ts";
import { continued } from "./progress.ts";
import { toCommand, toResponse } from "./response.ts";

export interface ReplannerOptions {
  store: Store;
  engine: Engine;
  logger: Logger;
  /** Sites in work at once. */
  parallel: number;
  /** Sites whose plan is that old are planned again; Infinity: only when something happens. */
  everyMs: number;
  /** Ended sessions and answered commands are kept that long. */
  keepMs: number;
}

/** How often the database is asked for sites that are due: another process may have changed them. */
const TICK_MS = 250;
const HOUSEKEEPING_MS = 2000;
/** From one line on what goes on failing to the next. */
const OUTAGE_TOLD_MS = 60_000;
const PRUNED_AT_ONCE = 500;
/** Times in a row that a plan may come too late for what it was made of. */
const MOST_ATTEMPTS = 8;
/** Until a site is planned again that changed too often, or that there was no thread for. */
const BUSY_MS = 1000;
/** And one that only has a safe plan. */
const FALLBACK_MS = 60_000;
/** In place of what came of a site: another process or call is planning it. */
const IN_OTHER_HANDS = "in other hands";

/** Plans the sites of a store as they become due, in this process; others may do the same with the same store. */
export class Replanner {
  readonly #options: ReplannerOptions;
  readonly #stopping = new AbortController();
  readonly #inWork = new Set<Promise<void>>();
  #wake = () => {};
  #loop: Promise<void> | undefined;
  #housekeeping: Promise<void> | undefined;

  constructor(options: ReplannerOptions) {
    this.#options = options;
  }

  /** What was in work when a process died is planned when one starts. */
  start(): void {
    const { store, logger } = this.#options;
    this.#loop = store
      .unclaimAll()
      .catch((error) => logger.error({ err: error }, "claims can't be let go"))
      .then(() => this.#planDue());
    this.#housekeeping = this.#keepHouse();
  }

  /** Looks for sites that are due at once. */
  poke(): void {
    this.#wake();
  }

  /** Takes no more sites, and resolves when those in work are done. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await Promise.all([this.#loop, this.#housekeeping]);
    await Promise.all(this.#inWork);
  }

  /** Plans a site now, after whoever is planning it. Never rejects but when the signal aborts. */
  async planNow(key: SiteKey, signal: AbortSignal): Promise<ReoptimizeResult> {
    const { store } = this.#options;
    try {
      for (;;) {
        while (this.#inWork.size >= this.#options.parallel) {
          await Promise.race(this.#inWork);
          signal.throwIfAborted();
        }
        const done = await this.#work(async () =>
          (await store.claim(key, Date.now())) ? this.#plan(key) : IN_OTHER_HANDS,
        );
        if (done === undefined)
          throw new WattslotError("ABORTED", "the site changes faster than it is planned; it stays due");
        if (done !== IN_OTHER_HANDS) return resultOf(key, done);
        // Whoever is planning it may have read its inputs before what the caller wants planned.
        await sleep(50, undefined, { signal });
      }
    } catch (error) {
      signal.throwIfAborted();
      const { code, message } = publicError(error);
      return { ...resultOf(key, {}), code: status[code], message };
    }
  }

  async #planDue(): Promise<void> {
    const { store, logger, parallel } = this.#options;
    const outage = new Outage(logger, "looking for sites that are due");
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const free = parallel - this.#inWork.size;
      const keys =
        free <= 0
          ? []
          : await store.claimDue(Date.now(), free).then(
              (claimed) => {
                outage.end();
                return claimed;
              },
              (error) => {
                outage.tell(error);
                return [];
              },
            );
      for (const key of keys) this.#work(() => this.#plan(key)).catch(() => {});
      if (keys.length < free || free <= 0) await this.#pause();
    }
  }

  /** Does what has a place among the sites in work at once. */
  async #work<T>(body: () => Promise<T>): Promise<T> {
    let leave = () => {};
    const place = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.#inWork.add(place);
    try {
      return await body();
    } finally {
      this.#inWork.delete(place);
      leave();
      this.#wake();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, TICK_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopping.signal.aborted) this.#wake();
    });
  }

  async #keepHouse(): Promise<void> {
    const { store, logger, everyMs, keepMs } = this.#options;
    const outage = new Outage(logger, "housekeeping");
    const { signal } = this.#stopping;
    for (;;) {
      try {
        const nowMs = Date.now();
        const silent = await store.expireCommands(nowMs);
        if (silent > 0) logger.warn({ count: silent }, "commands were not answered in time");
        await store.retryChargers(nowMs);
        if (Number.isFinite(everyMs)) await store.makeStaleDue(nowMs - everyMs, nowMs);
        for (let left = PRUNED_AT_ONCE; left >= PRUNED_AT_ONCE && !signal.aborted; )
          left = await store.prune(nowMs - keepMs, PRUNED_AT_ONCE);
        outage.end();
      } catch (error) {
        outage.tell(error);
      }
      this.poke();
      try {
        await sleep(HOUSEKEEPING_MS, undefined, { signal });
      } catch {
        return;
      }
    }
  }

  /**
   * Plans a claimed site until a plan is kept; undefined where it changed too often. Rejects where it can't be
   * planned, which the store then knows.
   */
  async #plan(
    key: SiteKey,
  ): Promise<{ planStatus: number; revision: number; commandCount: number } | undefined> {
    const { store, logger } = this.#options;
    const startMs = Date.now();
    try {
      for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        const made = await this.#make(key);
        const nowMs = Date.now();
        const revision = await store.savePlan(key, made.madeOf, made, nowMs);
        if (revision !== undefined) {
          const done = { planStatus: made.planStatus, revision, commandCount: made.commands.length };
          logger.info({ ...key, ...done, planMs: nowMs - startMs }, "planned");
          return done;
        }
      }
      await store.unclaim(key, Date.now() + BUSY_MS);
      return undefined;
    } catch (error) {
      const { code, message, violations } = WattslotError.from(error);
      // Others have all the threads and all places in their queue: no fault of the site.
      if (code === "RESOURCE_EXHAUSTED" && violations.length === 0)
        await store.unclaim(key, Date.now() + BUSY_MS).catch(() => {});
      else if (code !== "NOT_FOUND") {
        logger.warn({ err: error, ...key }, "a site can't be planned");
        await store
          .failPlan(key, code === "INTERNAL" ? "internal error" : message, Date.now())
          .catch(() => {});
      }
      throw error;
    }
  }

  async #make(key: SiteKey): Promise<NewPlan & { madeOf: SiteRow }> {
    const { store, engine } = this.#options;
    const inputs = await store.inputsOf(key);
    const startMs = Date.now();
    const kept = readKept(inputs, startMs);
    const { problem, request, sessions, notices } = plannable(kept, startMs);
    for (const session of problem.sessions) {
      const { progress, isUntold } = sessions.find(
        ({ session: one }) => one.sessionId === session.sessionId,
      )!;
      if (progress.takenW !== undefined) {
        const { minPowerW } = chargingRange(problem.site, session);
        session.maxPowerW = Math.min(session.maxPowerW, Math.max(progress.takenW, minPowerW));
      }
      if (isUntold || (progress.awaitedMs ?? 0) > inputs.site.planned_ms) session.isAwaited = true;
    }
    const plan = await engine.optimise(problem, { deadlineMs: startMs + problem.timeLimitMs });
    const made = toResponse(plan, Date.now() - startMs);
    const response = { ...made, notices: [...notices, ...made.notices] };
    return {
      madeOf: inputs.site,
      plan: OptimizeResponse.encode(response).finish(),
      planStatus: response.status as number,
      commands: commandsOf(response, interimPlans(problem, plan), request.slotSeconds * 1000, sessions),
      dueMs: response.status === PlanStatus.FALLBACK ? startMs + FALLBACK_MS : null,
      outdated: kept.outdated,
    };
  }
}

/** The sessions without which a field would not be wrong. */
function sessionsOf({ sessions, installedPlans, site }: OptimizeRequest, field: string): string[] {
  const [, list, index] = /^(sessions|installed_plans|site\.evses)\[(\d+)\]/.exec(field) ?? [];
  if (list === undefined) return [];
  const n = Number(index);
  if (list === "sessions") return [sessions[n].sessionId];
  if (list === "installed_plans") return [installedPlans[n].sessionId];
  const evse = site?.evses[n];
  return sessions
    .filter(({ stationId, evseId }) => stationId === evse?.stationId && evseId === evse.evseId)
    .map(({ sessionId }) => sessionId);
}

/** A kept site as a problem. Vehicles that make it one that can't be planned are left out, and the others are planned. */
function plannable(kept: KeptSite, startMs: number) {
  for (const leftOut = new Map<string, string>(); ; ) {
    const made = requestOf(kept, startMs, leftOut);
    try {
      return { ...made, problem: toProblem(made.request, startMs) };
    } catch (error) {
      const before = leftOut.size;
      if (error instanceof WattslotError)
        for (const { field, description } of error.violations) {
          for (const sessionId of sessionsOf(made.request, field))
            leftOut.set(
              sessionId,
              `${field.replace(/^(sessions|installed_plans)\[\d+\]\.?/, "")} ${description}`,
            );
        }
      if (leftOut.size === before) throw error;
    }
  }
}

/** Tells that something fails: at first, once a minute as long as it does, and when it works again. */
class Outage {
  readonly #logger: Logger;
  readonly #what: string;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(logger: Logger, what: string) {
    this.#logger = logger;
    this.#what = what;
  }

  tell(error: unknown): void {
    if (performance.now() - this.#toldMs < OUTAGE_TOLD_MS) return;
    this.#toldMs = performance.now();
    this.#logger.error({ err: error }, `${this.#what} fails`);
  }

  end(): void {
    if (this.#toldMs === Number.NEGATIVE_INFINITY) return;
    this.#toldMs = Number.NEGATIVE_INFINITY;
    this.#logger.info(`${this.#what} works again`);
  }
}

function resultOf(
  { siteId }: SiteKey,
  {
    planStatus = 0,
    revision = 0,
    commandCount = 0,
  }: Partial<Pick<ReoptimizeResult, "revision" | "commandCount">> & {
    planStatus?: number;
  },
): ReoptimizeResult {
  return { siteId, code: 0, message: "", planStatus: planStatus as never, revision, commandCount };
}

/**
 * What chargers are to be told, and what they allow then. Where what is missing could make the site pass a limit, the
 * first wave only lowers, also what is higher later, and the second only raises; the third raises who has to wait for
 * those whose state nobody knows.
 */
function commandsOf(
  { sessionPlans, sitePlan }: OptimizeResponse,
  interims: ReadonlyMap<string, InterimPlan>,
  slotMs: number,
  sessions: readonly KeptSession[],
): NewCommand[] {
  const startMs = sitePlan?.startTime?.getTime() ?? 0;
  const commandOf = (
    { sessionId, stationId, evseId, numberPhases }: SessionPlan,
    command: ProfileCommand,
    powerW: number[],
  ): NewCommand => {
    const { chargingProfile } = command;
    // The last period is safe and holds from the end of the plan on, unless it is the only one.
    const hasEnd = (chargingProfile?.chargingSchedules[0]?.chargingSchedulePeriods.length ?? 0) > 1;
    const allowed = InstalledPlan.fromPartial({
      sessionId,
      powerW: {
        startTime: new Date(Math.floor(startMs / slotMs) * slotMs),
        stepSeconds: slotMs / 1000,
        values: hasEnd ? [...powerW, 0] : powerW,
      },
      chargingProfileId: chargingProfile?.id ?? 0,
      numberPhases,
    });
    // What a vehicle draws that nobody measures is taken from all that its charger allowed.
    const kept = sessions.find(({ row }) => row.session_id === sessionId);
    const installed = kept === undefined ? allowed : continued(kept.accepted, allowed, countedFromMs(kept));
    return {
      station_id: stationId,
      evse_id: evseId,
      session_id: sessionId,
      wave: command.pushWave,
      command: ProfileCommand.encode(command).finish(),
      installed: InstalledPlan.encode(installed).finish(),
    };
  };
  const commands = sessionPlans.flatMap((plan) => {
    const { command, powerW } = plan;
    if (command === undefined) return [];
    const interim = interims.get(plan.sessionId);
    if (interim === undefined) return [commandOf(plan, command, powerW)];
    return [
      commandOf({ ...plan, numberPhases: [] }, toCommand(interim.command), Array.from(interim.powerW)),
      commandOf(plan, { ...command, pushWave: 2 }, powerW),
    ];
  });
  // A charger that nobody knows of may give its vehicle all it has until it accepts: till then no other has more.
  const isUnknown = new Set(sessions.flatMap((one) => (one.isUnknown ? [one.row.session_id] : [])));
  return commands.map((one) =>
    isUnknown.size > 0 && one.wave > 1 && !isUnknown.has(one.session_id) ? { ...one, wave: 3 } : one,
  );
}

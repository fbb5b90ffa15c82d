import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../../benchmarks/random.ts";
import type { WatchCommandsResponse } from "../../../src/gen/wattslot/v1/site.ts";
import { CommandResult } from "../../../src/grpc/site-client.ts";
import type { Charger } from "./chargers.ts";
import { isPassing, type Servers } from "./servers.ts";

const REPORTS = {
  accepted: CommandResult.ACCEPTED,
  rejected: CommandResult.REJECTED,
  silent: CommandResult.NO_ANSWER,
} as const;

/** What is asked of a CSMS's watchers: which chargers there are, and whether they should still die at times. */
export interface Csms {
  servers: Servers;
  random: Random;
  chargers: ReadonlyMap<string, Charger>;
  faults: string[];
  /** Every command that any watcher got, in the order of its first delivery, and how often. */
  delivered: Map<string, number>;
  /** The highest place of a command that an EVSE was first told of. */
  newest: Map<string, number>;
  isCalm: boolean;
  /** Commands that are being dealt with. */
  pending: Set<Promise<void>>;
  stopping: AbortSignal;
}

export function evseKey({
  siteId,
  stationId,
  evseId,
}: {
  siteId: string;
  stationId: string;
  evseId: number;
}) {
  return `${siteId}/${stationId}/${evseId}`;
}

/** Watches commands, passes them to the chargers and reports; what breaks off is gone on with from a cursor. */
export async function watch(csms: Csms): Promise<void> {
  const { servers, random, stopping } = csms;
  for (let cursor = ""; !stopping.aborted; ) {
    const dealt: { cursor: string; isDealt: boolean }[] = [];
    const life = new AbortController();
    const end = () => life.abort();
    stopping.addEventListener("abort", end, { once: true });
    try {
      const order = new Map<string, number>();
      let last = 0;
      for await (const command of servers.pick().watchCommands({ cursor }, { signal: life.signal })) {
        const place = Number(command.cursor);
        if (place <= last) csms.faults.push(`a stream goes from ${last} back to ${place}`);
        last = place;
        note(csms, command, order);
        const entry = { cursor: command.cursor, isDealt: false };
        dealt.push(entry);
        const work = deal(csms, command, life.signal).then(() => {
          entry.isDealt = true;
          csms.pending.delete(work);
        });
        csms.pending.add(work);
        // Dies between receiving and reporting.
        if (!csms.isCalm && random.chance(0.02)) life.abort();
      }
    } catch (error) {
      if (!isPassing(error)) csms.faults.push(`watching: ${error}`);
    } finally {
      life.abort();
      stopping.removeEventListener("abort", end);
    }
    // From what was surely dealt with; at times from the very beginning.
    for (const { cursor: next, isDealt } of dealt) {
      if (!isDealt) break;
      cursor = next;
    }
    if (random.chance(0.1)) cursor = "";
    await sleep(random.int(10, 80));
  }
}

function note(csms: Csms, command: WatchCommandsResponse, order: Map<string, number>): void {
  const { commandId, revision } = command;
  const evse = evseKey(command);
  const before = order.get(evse) ?? 0;
  if (revision < before)
    csms.faults.push(`${evse} is told revision ${revision} after ${before} in one stream`);
  order.set(evse, revision);
  const times = csms.delivered.get(commandId) ?? 0;
  csms.delivered.set(commandId, times + 1);
  const newest = csms.newest.get(evse) ?? 0;
  if (times === 0 && revision < newest)
    csms.faults.push(`${evse} is told of revision ${revision} for the first time after ${newest}`);
  csms.newest.set(evse, Math.max(newest, revision));
}

/** Passes a command to its charger and reports, unless the watcher dies before. */
async function deal(csms: Csms, command: WatchCommandsResponse, life: AbortSignal): Promise<void> {
  const { servers, random } = csms;
  const { commandId } = command;
  const charger = csms.chargers.get(evseKey(command));
  if (charger === undefined || command.command === undefined) {
    csms.faults.push(`a command for ${evseKey(command)} that nobody can take`);
    return;
  }
  const outcome = await charger.send(Number(command.cursor), command.command.payloadJson);
  // Whether it is over for whoever watches or not, its reports are on the way, a while later.
  if (life.aborted && random.chance(0.5)) return;
  if (outcome === "outdated") return;
  // Nothing is reported where the server can find out by itself.
  if (outcome === "silent" && !csms.isCalm && random.chance(0.5)) return;
  if (!csms.isCalm && random.chance(0.2)) await sleep(random.int(50, 1500));
  const report = () =>
    servers.call((sites, options) =>
      sites.reportCommand({ commandId, result: REPORTS[outcome], detail: outcome }, options),
    );
  try {
    await report();
    if (random.chance(0.1)) await report();
  } catch (error) {
    csms.faults.push(`reporting ${commandId}: ${error}`);
  }
}

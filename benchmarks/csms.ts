import type { AddressInfo } from "node:net";
import { setImmediate } from "node:timers/promises";
import { type RPCClient, RPCServer } from "ocpp-rpc";
import {
  OcppVersion,
  type OptimizeResponse,
  type Optimizer,
  type PartialRequest,
  WattslotError,
} from "../src/index.ts";
import {
  type Charge,
  type Command,
  catchUp,
  hasProfile,
  installedW,
  type Message,
  type Profile,
  readMeter,
  type Session,
  SLOT_MS,
  sessionAt,
} from "./charge.ts";
import { STRICT } from "./strict.ts";

/**
 * A small charging station management system: what a CSMS needs to let Wattslot plan a site. It speaks OCPP
 * 1.6, 2.0.1 and 2.1 with the stations and gRPC with the optimizer. What every CSMS has its own of is left out:
 * accounts, a database, TLS, reading what a station can from its configuration.
 *
 * A vehicle that has just come, or comes while there is no connection, has what its EVSE's TxDefaultProfile
 * allows: 0 as chargers are to be delivered, or the fallback that is installed here.
 */

export interface CsmsOptions {
  site: NonNullable<PartialRequest["site"]>;
  optimizer: Pick<Optimizer, "optimize" | "notifyEvChargingNeeds">;
  now: () => Date;
  /** What is known of a vehicle by its id token: its driver's word, or a guess. Without a need it waits for one. */
  stayOf: (idToken: string) => Session;
  /** Lets chargers give vehicles something without a plan, and keeps room for it. Default: they wait at 0. */
  hasFallbacks?: boolean;
  /** How long a charger may take to answer. Default 30 s. */
  answerTimeoutMs?: number;
  /** Longest time for a plan, in which vehicles wait. Default: the optimizer's. */
  timeLimitMs?: number;
  log?: (line: string) => void;
}

type FallbackProfile = OptimizeResponse["fallbackProfiles"][number];

const PROTOCOLS: Partial<Record<OcppVersion, string>> = {
  [OcppVersion.OCPP_VERSION_1_6]: "ocpp1.6",
  [OcppVersion.OCPP_VERSION_2_0_1]: "ocpp2.0.1",
  [OcppVersion.OCPP_VERSION_2_1]: "ocpp2.1",
};

export type Csms = Awaited<ReturnType<typeof startCsms>>;

/** Serves the site's stations on a free port of this machine. */
export async function startCsms(options: CsmsOptions) {
  const { site, optimizer, now, stayOf, answerTimeoutMs = 30_000, timeLimitMs = 0, log = () => {} } = options;
  const fallbackProfiles = options.hasFallbacks
    ? (await optimizer.optimize({ site, startTime: now(), withFallbackProfiles: true })).fallbackProfiles
    : [];
  const evses = new Map(
    site.evses?.map((evse) => {
      const fallback = fallbackProfiles.find((one) => placeOf(one) === placeOf(evse));
      return [
        placeOf(evse),
        { fallbackPowerW: 0, ...evse, ...(fallback && { fallbackPowerW: fallback.powerW }) },
      ];
    }),
  );
  const stations = new Map<string, RPCClient>();
  const charges = new Map<string, Charge>();
  let lastTransactionId = 0;

  const canTell = ({ stationId = "", evseId = 0 }): boolean =>
    stations.has(stationId) && charges.get(placeOf({ stationId, evseId }))?.isLeft !== true;

  /** All that the optimizer has to know now. */
  function request(): PartialRequest {
    const startTime = now();
    const known = [...charges.values()].filter(({ session }) => session.need !== undefined);
    return {
      site: { ...site, evses: [...evses.values()].map((evse) => ({ ...evse, isOffline: !canTell(evse) })) },
      startTime,
      options: { timeLimitMs },
      sessions: known.map((charge) => sessionAt(startTime, charge)),
      installedPlans: known.filter(hasProfile).map((charge) => ({
        sessionId: charge.session.sessionId,
        powerW: installedW(charge),
        chargingProfileId: (charge.told ?? charge.maybe)?.command.chargingProfile?.id ?? 0,
      })),
    };
  }

  let running: Promise<void> | undefined;
  let isDue = false;
  let isClosed = false;
  /** Times that something has happened. */
  let events = 0;
  /** A plan that is made already, of all that has happened. */
  let ready: OptimizeResponse | undefined;
  /** Plans and tells the chargers. All that happens while that is going on leads to one more plan after it. */
  function plan(made?: OptimizeResponse): Promise<void> {
    events++;
    ready = made;
    for (const charge of charges.values()) charge.isLeft = false;
    isDue = !isClosed;
    running ??= planUntilDone().finally(() => {
      running = undefined;
    });
    return running;
  }

  const changed = (): void => void plan();

  async function planUntilDone(): Promise<void> {
    while (isDue) {
      isDue = false;
      await Promise.all(fallbackProfiles.map(install));
      // Room is kept for what a charger may have been told: telling it again is safe, and settles what it has.
      const inDoubt = [...charges.values()].filter(({ session }) => canTell(session));
      await Promise.all(inDoubt.map((charge) => charge.maybe && send(charge, charge.maybe)));
      const asked = request();
      try {
        const planned = ready ?? (await optimizer.optimize(asked));
        ready = undefined;
        // The answer to the message that led here goes first.
        await setImmediate();
        if (!(await push(planned)) && !isClosed) isDue = true;
      } catch (error) {
        log(`no plan, the chargers go on with what they have: ${error}`);
        // What one vehicle says of itself must not be in the way of the others: it counts as needing nothing.
        for (const { field } of WattslotError.from(error).violations) {
          const [, n] = /^sessions\[(\d+)\]/.exec(field) ?? [];
          const charge = charges.get(placeOf(asked.sessions?.[Number(n)] ?? {}));
          if (charge === undefined || needsNothing(charge)) continue;
          const { sessionId, stationId, evseId, transactionId = "" } = charge.session;
          charge.session = { sessionId, stationId, evseId, transactionId, need: NOTHING };
          isDue = !isClosed;
        }
      }
    }
  }

  /** Reductions first; increases only when every reduction is accepted. False: plan again with what the chargers have. */
  async function push({ sessionPlans, sitePlan }: OptimizeResponse): Promise<boolean> {
    const startMs = Math.floor(Number(sitePlan?.startTime) / SLOT_MS) * SLOT_MS;
    const byTimes = [sitePlan?.wave1ByTime, sitePlan?.wave2ByTime];
    for (const wave of [1, 2]) {
      const answers = sessionPlans.map(({ sessionId, stationId, evseId, command, powerW }) => {
        const charge = charges.get(placeOf({ stationId, evseId }));
        if (command?.pushWave !== wave || charge?.session.sessionId !== sessionId) return true;
        // Every profile ends at 0.
        return send(charge, { command, startMs, powerW: [...powerW, 0] }, byTimes[wave - 1]);
      });
      if ((await Promise.all(answers)).includes(false)) return false;
    }
    return true;
  }

  /** Sends a vehicle's profile. False where the charger has not taken it and the vehicle is still there. */
  async function send(charge: Charge, profile: Profile, byTime?: Date): Promise<boolean> {
    const { maybe } = charge;
    charge.maybe = profile;
    const leftMs = byTime === undefined ? 0 : Number(byTime) - Number(now());
    const isTaken = await tell(charge.session.stationId, profile.command, leftMs);
    if (isTaken) {
      catchUp(charge, now());
      charge.told = profile;
      charge.maybe = undefined;
      return true;
    }
    if (isTaken === false) charge.maybe = maybe;
    charge.isLeft = true;
    return charges.get(placeOf(charge.session)) !== charge;
  }

  const isInstalled = new Set<FallbackProfile>();
  /** Installs a fallback once; what plans keep free for it they do from the start. */
  async function install(fallback: FallbackProfile): Promise<void> {
    const { stationId, command } = fallback;
    if (command === undefined || isInstalled.has(fallback) || !stations.has(stationId)) return;
    if ((await tell(stationId, command)) !== undefined) isInstalled.add(fallback);
  }

  /** Whether a charger takes a profile; undefined where that is not known. */
  async function tell(stationId: string, command: Command, leftMs = 0): Promise<boolean | undefined> {
    const station = stations.get(stationId);
    const callTimeoutMs = leftMs > 0 ? Math.min(leftMs, answerTimeoutMs) : answerTimeoutMs;
    try {
      const message = JSON.parse(command.payloadJson);
      const answer = (await station?.call(command.action, message, { callTimeoutMs })) as Message;
      if (answer.status !== "Accepted") log(`${stationId} refused: ${JSON.stringify(answer)}`);
      return answer.status === "Accepted";
    } catch (error) {
      // A charger that is silent is gone until it connects again.
      if ((error as Error).message === "Call timeout") void station?.close({ force: true });
      log(`${stationId} did not answer: ${error}`);
      return undefined;
    }
  }

  function begin(stationId: string, evseId: number, transactionId: string, idToken: string): Charge {
    const ids = { sessionId: `${stationId}/${transactionId}`, stationId, evseId, transactionId };
    const charge: Charge = {
      session: { ...stayOf(idToken), ...ids, arrivalTime: now() },
      meterAtNeedWh: undefined,
      takenWh: 0,
      takenByMs: Number(now()),
      told: undefined,
      maybe: undefined,
      isLeft: false,
    };
    // Of an EVSE that is not the site's there is nothing to plan.
    if (evses.has(placeOf(ids))) charges.set(placeOf(ids), charge);
    changed();
    return charge;
  }

  function chargeOf(stationId: string, transactionId: string | number): Charge | undefined {
    return [...charges.values()].find(({ session }) => session.sessionId === `${stationId}/${transactionId}`);
  }

  function end(charge: Charge | undefined): void {
    if (charge === undefined) return;
    charges.delete(placeOf(charge.session));
    changed();
  }

  const accepted = { status: "Accepted" };
  /** What the stations say, by action, and what they are answered. */
  const answers: Record<string, (stationId: string, message: Message) => Message | Promise<Message>> = {
    BootNotification: (stationId) => {
      // Not every charger keeps its profiles over a restart.
      for (const charge of charges.values())
        if (charge.session.stationId === stationId) charge.maybe ??= charge.told;
      changed();
      return { ...accepted, currentTime: now().toISOString(), interval: 300 };
    },
    Heartbeat: () => ({ currentTime: now().toISOString() }),
    StatusNotification: () => ({}),
    Authorize: (_, { idTag }) => (idTag === undefined ? { idTokenInfo: accepted } : { idTagInfo: accepted }),

    // 1.6
    StartTransaction: (stationId, { connectorId, idTag, meterStart }) => {
      const transactionId = ++lastTransactionId;
      begin(stationId, connectorId, `${transactionId}`, idTag).meterAtNeedWh = meterStart;
      return { transactionId, idTagInfo: accepted };
    },
    MeterValues: (stationId, { connectorId, evseId = connectorId, meterValue }) => {
      readMeter(charges.get(placeOf({ stationId, evseId })), meterValue, now());
      return {};
    },
    StopTransaction: (stationId, { transactionId }) => {
      end(chargeOf(stationId, transactionId));
      return {};
    },

    // 2.0.1 and 2.1
    TransactionEvent: (stationId, { eventType, evse, idToken, meterValue, transactionInfo }) => {
      const { transactionId } = transactionInfo;
      let charge = chargeOf(stationId, transactionId);
      if (eventType === "Ended") end(charge);
      else if (evse !== undefined)
        charge ??= begin(stationId, evse.id, transactionId, idToken?.idToken ?? "");
      readMeter(charge, meterValue, now());
      return {};
    },
    NotifyEVChargingNeeds: async (stationId, message) => {
      const charge = charges.get(placeOf({ stationId, evseId: message.evseId }));
      if (charge === undefined) return { status: "Processing" };
      catchUp(charge, now());
      charge.meterAtNeedWh = undefined;
      charge.takenWh = 0;
      charge.session = { need: NOTHING, ...charge.session };
      const [wasQuiet, eventsBefore] = [running === undefined, events];
      try {
        const told = await optimizer.notifyEvChargingNeeds({
          optimizeRequest: request(),
          stationId,
          payloadJson: JSON.stringify(message),
          receivedTime: now(),
        });
        if (told.session !== undefined) charge.session = { ...told.session };
        // What happened in the meantime wants another plan.
        void plan(wasQuiet && events === eventsBefore ? told.plan : undefined);
        return JSON.parse(told.responseJson);
      } catch (error) {
        log(`${stationId}: what the vehicle says of its needs makes no sense: ${error}`);
        changed();
        return { status: "Rejected" };
      }
    },
  };

  const server = new RPCServer({ protocols: Object.values(PROTOCOLS), ...STRICT });
  server.auth((accept, reject, { identity }) => {
    const evse = [...evses.values()].find(({ stationId }) => stationId === identity);
    // Profiles are written in the version that the site says of its charger.
    if (evse !== undefined) accept({}, PROTOCOLS[evse.ocpp?.version || OcppVersion.OCPP_VERSION_2_0_1]);
    else reject(404, "not a station of this site");
  });
  server.on("client", (station: RPCClient & { identity: string }) => {
    const { identity } = station;
    stations.set(identity, station);
    for (const [action, answer] of Object.entries(answers))
      station.handle(action, async ({ params = {} }) => answer(identity, params));
    station.on("close", () => {
      // It may have connected again before the old connection was given up.
      if (stations.get(identity) !== station) return;
      stations.delete(identity);
      changed();
    });
    changed();
  });
  const listener = await server.listen(0, "127.0.0.1");

  return {
    port: (listener.address() as AddressInfo).port,
    /** Plans anew with what the meters have shown since: to be called every quarter of an hour or so. */
    plan: () => plan(),
    /** Resolves when there is nothing to plan and nothing to send. */
    async settled(): Promise<void> {
      while (running !== undefined) await running;
    },
    close(): Promise<void> {
      isClosed = true;
      isDue = false;
      return server.close({ force: true });
    },
  };
}

function placeOf({ stationId = "", evseId = 0 }): string {
  return `${stationId}/${evseId}`;
}

const NOTHING = { $case: "energyWh", value: 0 } as const;
function needsNothing({ session: { need } }: Charge): boolean {
  return need?.$case === "energyWh" && need.value === 0;
}

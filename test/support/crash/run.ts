import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Random, randomOf } from "../../../benchmarks/random.ts";
import { OptimizeResponse, Session, TimeSeries } from "../../../src/gen/wattslot/v1/optimizer.ts";
import type { GetSiteResponse } from "../../../src/gen/wattslot/v1/site.ts";
import { SeriesKind } from "../../../src/grpc/site-client.ts";
import { Charger, excessOf, type Limit } from "./chargers.ts";
import { type Csms, evseKey, watch } from "./csms.ts";
import { type Kept, type Place, readDatabase } from "./kept.ts";
import { Servers } from "./servers.ts";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

export interface CrashOptions {
  place: Place;
  servers: number;
  kills: number;
  seed: number;
  /** Restarts the database, in the middle of the run. */
  restartDatabase?: () => Promise<void>;
  /** Tells how far it is. */
  onProgress?: (line: string) => void;
}

/** What happened in a run, and all that should not have. */
export interface CrashReport {
  faults: string[];
  kills: number;
  answered: number;
  retries: number;
  sessions: number;
  plansSeen: number;
  commands: number;
  deliveries: number;
  repeated: number;
  applied: number;
}

/** A vehicle's stay as it has been acknowledged. */
interface Stay {
  siteId: string;
  session: Session;
  /** A call is on the way that may end it. */
  isEnding: boolean;
  isEnded: boolean;
  progress: { measuredMs: number; meteredWh: number } | undefined;
}

interface World {
  servers: Servers;
  random: Random;
  csms: Csms;
  stays: Map<string, Stay>;
  faults: string[];
  isStopping: boolean;
}

interface SimulatedSite {
  siteId: string;
  slotSeconds: number;
  chargers: Charger[];
  limits: Limit[];
  etag: string;
  /** Counts the puts; kept where it changes nothing. */
  version: number;
  prices: Map<number, number>;
  plans: Map<number, string>;
}

const GRID_W = 40_000;
const FEEDER_W = 26_000;

/**
 * Lets clients, a CSMS and chargers work with servers that are killed over and over, and tells what is not as it
 * was promised. The seed chooses what happens, the machine when.
 */
export async function crashRun(options: CrashOptions): Promise<CrashReport> {
  const { place, seed, kills, restartDatabase, onProgress = () => {} } = options;
  const random = randomOf(seed);
  const faults: string[] = [];
  const where = "folder" in place ? ["--data", place.folder] : ["--database-url", place.url];
  const times = ["--debounce", "50ms", "--answer-timeout", "2s", "--retry-after", "2s"];
  const servers = new Servers([...where, ...times, "--workers", "1"], random, faults);
  await servers.start(options.servers);
  const chargers = new Map<string, Charger>();
  const stopping = new AbortController();
  const csms: Csms = {
    servers,
    random,
    chargers,
    faults,
    delivered: new Map(),
    newest: new Map(),
    isCalm: false,
    pending: new Set(),
    stopping: stopping.signal,
  };
  const world: World = { servers, random, csms, stays: new Map(), faults, isStopping: false };
  const sites = [900, 300, 60].map((slotSeconds, n) => simulate(world, `site-${n}`, slotSeconds));
  for (const site of sites) {
    await putSite(world, site);
    for (const charger of site.chargers)
      chargers.set(evseKey({ siteId: site.siteId, stationId: charger.stationId, evseId: 1 }), charger);
  }

  const watching = [watch(csms), watch(csms)];
  const clients = Promise.all(
    sites.flatMap((site) => [
      orFault(world, "looking after a site", lookAfter(world, site)),
      ...site.chargers.map((charger) => orFault(world, "coming and going", comeAndGo(world, site, charger))),
    ]),
  );
  const applied = () => [...chargers.values()].reduce((sum, charger) => sum + charger.applied, 0);
  let told = 0;
  for (let n = 0; n < kills; n++) {
    // Killed after so much work and not so much time: a busy machine does as much as an idle one.
    for (let until = applied() + random.int(1, 12); applied() < until; ) await sleep(5);
    await sleep(random.int(0, 300));
    if (n === Math.floor(kills / 2)) await restartDatabase?.();
    await servers.killOne(random.int(0, 200));
    onProgress(
      `${n + 1} of ${kills} kills, ${csms.delivered.size} commands, ${applied()} applied, ${faults.length} faults`,
    );
    for (; told < faults.length; told++) onProgress(faults[told]);
  }

  world.isStopping = true;
  await clients;
  csms.isCalm = true;
  for (const charger of chargers.values()) charger.isCalm = true;
  onProgress("waiting for rest");
  for (const site of sites) await rest(world, site);
  for (const site of sites) await compare(world, site);
  stopping.abort();
  await Promise.all(watching);
  await Promise.all(csms.pending);
  await servers.close();
  const kept = await readDatabase(place);
  checkKept(world, sites, kept);
  return {
    faults,
    kills,
    answered: servers.answered,
    retries: servers.retries,
    sessions: world.stays.size,
    plansSeen: sites.reduce((sum, { plans }) => sum + plans.size, 0),
    commands: kept.commands.length,
    deliveries: [...csms.delivered.values()].reduce((sum, times) => sum + times, 0),
    repeated: [...csms.delivered.values()].filter((times) => times > 1).length,
    applied: applied(),
  };
}

async function orFault(world: World, what: string, work: Promise<void>): Promise<void> {
  await work.catch((error) => {
    world.faults.push(`${what}: ${error instanceof Error ? error.stack : error}`);
  });
}

function simulate(world: World, siteId: string, slotSeconds: number): SimulatedSite {
  const limits: Limit[] = [];
  const check = () => {
    const excess = excessOf(limits, Date.now());
    if (excess === undefined) return;
    const happened = chargers.map(
      ({ stationId, happened }) => `${stationId}: ${happened.slice(-6).join(", ")}`,
    );
    world.faults.push(`${new Date().toISOString()} ${siteId}: ${excess}; ${happened.join("; ")}`);
  };
  const chargers = ["A", "B", "C", "D"].map((stationId) => new Charger(stationId, world.random, check));
  limits.push(
    { name: "grid", maxPowerW: GRID_W, chargers },
    { name: "east", maxPowerW: FEEDER_W, chargers: chargers.slice(0, 2) },
    { name: "west", maxPowerW: FEEDER_W, chargers: chargers.slice(2) },
  );
  return { siteId, slotSeconds, chargers, limits, etag: "", version: 0, prices: new Map(), plans: new Map() };
}

async function putSite({ servers }: World, site: SimulatedSite): Promise<void> {
  const request = {
    site: {
      siteId: site.siteId,
      circuits: [
        { circuitId: "grid", maxPowerW: GRID_W },
        { circuitId: "east", parentCircuitId: "grid", maxPowerW: FEEDER_W },
        { circuitId: "west", parentCircuitId: "grid", maxPowerW: FEEDER_W },
      ],
      evses: site.chargers.map(({ stationId }, n) => ({
        stationId,
        evseId: 1,
        circuitId: n < 2 ? "east" : "west",
        // Its profile stays when the vehicle leaves, and the next one draws by it.
        ocpp: { prefersTxDefaultProfile: stationId === "D" },
      })),
      tariff: { currency: "EUR" },
      defaultStaySeconds: 7200 + ++site.version,
    },
    settings: { slotSeconds: site.slotSeconds },
    etag: site.etag,
  };
  const { etag } = await servers.call((sites, options) => sites.putSite(request, options));
  site.etag = etag;
}

/** Changes a site, its prices and its plan, and looks whether all that was acknowledged is there. */
async function lookAfter(world: World, site: SimulatedSite): Promise<void> {
  const { servers, random } = world;
  const { siteId } = site;
  while (!world.isStopping) {
    await sleep(random.int(50, 400));
    const chance = random.real(0, 1);
    if (chance < 0.1) await putSite(world, site);
    else if (chance < 0.35) await putPrices(world, site);
    else if (chance < 0.45) {
      const siteIds = [siteId];
      await servers.call(async (sites, { timeoutMs }) => {
        for await (const { outcome } of sites.reoptimize(
          { siteIds },
          { signal: AbortSignal.timeout(timeoutMs) },
        ))
          if (
            outcome?.$case === "result" &&
            outcome.value.code !== 0 &&
            ![10, 14].includes(outcome.value.code)
          )
            world.faults.push(`${siteId} can't be planned: ${outcome.value.message}`);
      });
    } else if (chance < 0.8) await seePlan(world, site);
    else await seeSite(world, site);
  }
}

async function putPrices({ servers, random }: World, site: SimulatedSite): Promise<void> {
  // A plan wants prices from its start on.
  const hour = Math.floor(Date.now() / HOUR_MS) + (site.prices.size === 0 ? 0 : random.int(0, 6));
  const values = Array.from({ length: random.int(1, 4) }, () => random.int(5, 50) / 100);
  const request = {
    siteId: site.siteId,
    kind: SeriesKind.PRICE_PER_KWH,
    values: { startTime: new Date(hour * HOUR_MS), stepSeconds: 3600, values },
  };
  await servers.call((sites, options) => sites.putSeries(request, options));
  const hours = [...site.prices.keys()];
  const [first, last] = [Math.min(...hours), Math.max(...hours)];
  // Between what was kept and what is put the value before it holds.
  if (hours.length > 0) {
    for (let n = last + 1; n < hour; n++) site.prices.set(n, site.prices.get(last)!);
    for (let n = hour + values.length; n < first; n++) site.prices.set(n, values[values.length - 1]);
  }
  values.forEach((value, n) => {
    site.prices.set(hour + n, value);
  });
}

async function seePlan({ servers, faults }: World, site: SimulatedSite): Promise<void> {
  const { siteId } = site;
  const { revision, plan, plannedTime } = await servers.call((sites, options) =>
    sites.getPlan({ siteId }, options),
  );
  if (plan === undefined) return;
  const bytes = OptimizeResponse.encode(plan).finish();
  const print = `${plannedTime?.toISOString()} ${createHash("sha256").update(bytes).digest("hex")}`;
  const before = site.plans.get(revision);
  if (before !== undefined && before !== print)
    faults.push(`${siteId} has two plans of revision ${revision}`);
  if (revision < Math.max(...site.plans.keys()))
    faults.push(`${siteId} has an older plan again: ${revision}`);
  site.plans.set(revision, print);
}

async function seeSite(world: World, site: SimulatedSite): Promise<GetSiteResponse> {
  const { servers, faults } = world;
  const { siteId } = site;
  const ofSite = [...world.stays.values()].filter((stay) => stay.siteId === siteId);
  const there = ofSite.filter(({ isEnded, isEnding }) => !isEnded && !isEnding);
  const gone = ofSite.filter(({ isEnded }) => isEnded);
  const kept = await servers.call((sites, options) => sites.getSite({ siteId }, options));
  const ids = new Set(kept.sessions.map(({ session }) => session?.sessionId));
  for (const { session, isEnding, isEnded } of there)
    if (!isEnding && !isEnded && !ids.has(session.sessionId)) faults.push(`${session.sessionId} is lost`);
  for (const { session } of gone)
    if (ids.has(session.sessionId)) faults.push(`${session.sessionId} has ended and is there again`);
  if (kept.etag !== site.etag) faults.push(`${siteId} has etag ${kept.etag} and not ${site.etag}`);
  return kept;
}

/** Vehicles that come to a charger one after the other. The last one stays. */
async function comeAndGo(world: World, site: SimulatedSite, charger: Charger): Promise<void> {
  const { servers, random, stays } = world;
  const { siteId } = site;
  const { stationId } = charger;
  await sleep(random.int(0, 1500));
  for (let n = 0; ; n++) {
    const sessionId = `${siteId}-${stationId}-${n}`;
    const stay: Stay = {
      siteId,
      session: Session.create(),
      isEnding: false,
      isEnded: false,
      progress: undefined,
    };
    const put = async () => {
      const minutes = random.pick([3, 10, 60, 240]) + random.int(0, 30);
      const session = Session.fromPartial({
        sessionId,
        stationId,
        evseId: 1,
        transactionId: `tx-${sessionId}`,
        departureTime: new Date(Date.now() + minutes * MINUTE_MS),
        need: { $case: "energyWh", value: random.int(2, 60) * 1000 },
      });
      await servers.call((sites, options) => sites.putSession({ siteId, session }, options));
      stay.session = session;
    };
    charger.plugIn(`tx-${sessionId}`);
    // It takes the place of one that did not say goodbye.
    const before = stays.get(`${siteId}-${stationId}-${n - 1}`);
    if (before !== undefined) before.isEnding = true;
    await put();
    if (before !== undefined) before.isEnded = true;
    stays.set(sessionId, stay);
    // What was on its way for long, such as a put of a stay that is over, changes nothing.
    if (before !== undefined && random.chance(0.2))
      await servers.call((sites, options) => sites.putSession({ siteId, session: before.session }, options));
    let meteredWh = 0;
    for (let steps = random.int(1, 8); steps > 0; steps--) {
      await sleep(random.int(50, 700));
      if (random.chance(0.3)) await put();
      else {
        meteredWh += random.int(0, 50);
        const measuredMs = Date.now();
        const progress = {
          siteId,
          sessionId,
          measuredTime: new Date(measuredMs),
          meteredEnergyWh: meteredWh,
          ...(random.chance(0.3) ? { powerW: charger.allowedAtW(measuredMs) * random.pick([0.5, 1]) } : {}),
        };
        await servers.call((sites, options) => sites.reportProgress(progress, options));
        stay.progress = { measuredMs, meteredWh };
      }
    }
    if (world.isStopping) return;
    charger.unplug();
    if (random.chance(0.7)) {
      stay.isEnding = true;
      const end = () => servers.call((sites, options) => sites.endSession({ siteId, sessionId }, options));
      await end();
      stay.isEnded = true;
      if (random.chance(0.1)) await end();
    }
    await sleep(random.int(0, 500));
  }
}

/** Waits until nothing is due at a site, every command is answered and no charger is waited for. */
async function rest({ servers }: World, { siteId }: SimulatedSite): Promise<void> {
  const areReachable = async () => {
    const { evses } = await servers.call((client, options) => client.getSite({ siteId }, options));
    return evses.every(({ unreachableUntilTime }) => unreachableUntilTime === undefined);
  };
  for (;;) {
    // Looked at before and after: a charger that is tried again makes its site due.
    const wereReachable = await areReachable();
    const { sites } = await servers.call((client, options) => client.listSites({}, options));
    const site = sites.find((one) => one.siteId === siteId);
    const isDone = site !== undefined && !site.isDue && site.openCommandCount === 0;
    if (wereReachable && isDone && (await areReachable())) return;
    await sleep(100);
  }
}

/** Compares what chargers allow with the plan in force, once everything has come to rest. */
async function compare(world: World, site: SimulatedSite): Promise<void> {
  const { servers, faults } = world;
  const { siteId } = site;
  await seeSite(world, site);
  const { plan, failure } = await servers.call((sites, options) => sites.getPlan({ siteId }, options));
  if (failure !== "") faults.push(`${siteId} could not be planned: ${failure}`);
  const starts = plan?.sitePlan?.slotStartTimes.map((time) => time.getTime()) ?? [];
  for (const { sessionId, stationId, powerW } of plan?.sessionPlans ?? []) {
    const charger = site.chargers.find((one) => one.stationId === stationId);
    const departureMs = world.stays.get(sessionId)?.session.departureTime?.getTime() ?? 0;
    for (let k = 0; k + 1 < starts.length && starts[k + 1] < departureMs; k++) {
      const atMs = (Math.max(starts[k], Date.now()) + starts[k + 1]) / 2;
      if (atMs < Date.now()) continue;
      const allowedW = charger?.allowedAtW(atMs) ?? 0;
      if (Math.abs(allowedW - powerW[k]) > 1) {
        faults.push(`${siteId}/${stationId} allows ${allowedW} W in slot ${k} where ${powerW[k]} is planned`);
        break;
      }
    }
  }
}

function checkKept({ csms, stays, faults }: World, sites: readonly SimulatedSite[], kept: Kept): void {
  for (const { siteId, session, isEnded, progress } of stays.values()) {
    const { sessionId } = session;
    const row = kept.sessions.find((one) => one.site_id === siteId && one.session_id === sessionId);
    if (row === undefined) {
      faults.push(`${sessionId} is not kept`);
      continue;
    }
    if (Boolean(row.ended) !== isEnded) faults.push(`${sessionId} has ${isEnded ? "not " : ""}ended`);
    if (!Buffer.from(row.session).equals(Buffer.from(Session.encode(session).finish())))
      faults.push(`${sessionId} is kept otherwise than it was put`);
    const { meteredMs = 0, meteredWh = 0 } = JSON.parse(row.progress);
    if (progress !== undefined && (meteredMs < progress.measuredMs || meteredWh < progress.meteredWh))
      faults.push(`progress of ${sessionId} is of ${meteredMs} and not of ${progress.measuredMs}`);
  }

  for (const { siteId, prices, plans } of sites) {
    const series = kept.series
      .filter((one) => one.site_id === siteId)
      .map((one) => TimeSeries.decode(one.series));
    const hours = series.flatMap(({ startTime, stepSeconds, values }) =>
      values.map((value, n): [number, number] => [
        ((startTime?.getTime() ?? 0) + n * stepSeconds * 1000) / HOUR_MS,
        value,
      ]),
    );
    for (const [hour, price] of prices)
      if (!hours.some(([at, value]) => at === hour && value === price))
        faults.push(`${siteId} has lost a price`);
    const inForce = kept.plans.filter((one) => one.site_id === siteId);
    const planned = kept.sites.find((one) => one.site_id === siteId)?.planned_revision;
    if (inForce.length !== 1 || inForce[0].revision !== planned)
      faults.push(`${siteId} has not one plan in force`);
    const newest = Math.max(...plans.keys());
    if ((planned ?? 0) < newest) faults.push(`${siteId} has an older plan than the one that was seen`);
  }

  const made = new Map<string, number>();
  const told = new Set<string>();
  const last = new Map<string, number>();
  for (const { command_id, site_id, station_id, evse_id, revision, wave, seq, created_ms } of kept.commands) {
    const plan = `${site_id}@${revision}`;
    if ((made.get(plan) ?? created_ms) !== created_ms) faults.push(`two plans of ${plan}`);
    made.set(plan, created_ms);
    const evse = evseKey({ siteId: site_id, stationId: station_id, evseId: evse_id });
    const command = `${evse}@${revision}/${wave}`;
    if (told.has(command)) faults.push(`two commands of ${command}`);
    told.add(command);
    if (csms.delivered.has(command_id)) last.set(evse, Math.max(last.get(evse) ?? 0, seq ?? 0));
  }
  for (const { command_id, session_id, seq, ...row } of kept.commands) {
    const evse = evseKey({ siteId: row.site_id, stationId: row.station_id, evseId: row.evse_id });
    if (seq === null || csms.delivered.has(command_id) || (last.get(evse) ?? 0) > seq) continue;
    // Nobody needs to be told any more.
    if (stays.get(session_id)?.isEnded === true && row.state !== "released") continue;
    faults.push(`${command_id} for ${evse} was released and never came`);
  }
  for (const id of csms.delivered.keys())
    if (!kept.commands.some(({ command_id }) => command_id === id)) faults.push(`${id} came and is not kept`);
}

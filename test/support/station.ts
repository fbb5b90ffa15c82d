import { RPCClient } from "ocpp-rpc";
import { STRICT } from "../../benchmarks/strict.ts";
import type { OcppVersion } from "../../src/domain/problem.ts";
import { type CompositePeriod, compositeSchedule, type StationEvse } from "../../src/ocpp/composite.ts";
import { type ChargerCapabilities, validateProfile } from "../../src/ocpp/rules.ts";
import {
  type InstalledProfile,
  inNamesOf2x,
  type WireProfile,
  type WireProfile2x,
} from "../../src/ocpp/wire.ts";

/** The test's time, for all stations and the CSMS; whole seconds. */
export interface Clock {
  nowMs: number;
}

export interface Outlet {
  evseId: number;
  /** Grid lines, 1 to 3, that its L1, L2, L3 are wired to. */
  lines: readonly number[];
  maxCurrentA: number;
}

export interface Vehicle {
  idToken: string;
  needWh: number;
  departureMs: number;
  maxCurrentA: number;
  /** Below it the vehicle does not charge. */
  minCurrentA: number;
  phases: number;
  /** Tells its needs itself over ISO 15118; elsewhere the CSMS has its driver's word. */
  isTalking: boolean;
}

export interface StationOptions {
  stationId: string;
  version: OcppVersion;
  outlets: readonly Outlet[];
  capabilities?: ChargerCapabilities;
  clock: Clock;
  voltageV: number;
}

/** A vehicle at its outlet. */
interface Stay {
  vehicle: Vehicle;
  transactionId: string | undefined;
  startMs: number;
  takenWh: number;
  /** What its charger allows from `fromMs` on, as long as nothing changes. */
  allowed?: { fromMs: number; periods: readonly CompositePeriod[] } | undefined;
  seqNo: number;
}

/** What a meter showed when: reports may be late. */
interface Mark {
  atMs: number;
  meterWh: number;
}

/** A SetChargingProfile request that came in, and the station's answer. */
export interface Told {
  stationId: string;
  evseId: number;
  profile: WireProfile2x;
  payloadJson: string;
  /** When, by performance.now(). */
  atMs: number;
  /** Place in the order of all that happens at all stations. */
  order: number;
  answeredOrder: number | undefined;
  status: string | undefined;
}

const LOOKED_AHEAD_MS = 36 * 3_600_000;

let lastOrder = 0;
/** Numbers what happens at the stations and between them. */
export const nextOrder = (): number => ++lastOrder;

/**
 * A charging station over a real WebSocket: keeps profiles as the standard says, and its vehicles draw what
 * its composite schedule allows them, as far as they can and need. Begins with a TxDefaultProfile of 0.
 */
export class Station {
  readonly told: Told[] = [];
  /** Refuses every profile. */
  isRefusing = false;
  /** Answers wait until they are released; `installs` says whether the profile is in force meanwhile. */
  holding: { installs: boolean } | undefined;
  readonly #held: (() => void)[] = [];
  readonly #options: StationOptions;
  readonly #stays = new Map<number, Stay>();
  readonly #meterWh = new Map<number, number>();
  /** What could not be reported while there was no connection. */
  readonly #queue: (() => Promise<unknown>)[] = [];
  #installed: InstalledProfile[];
  #client: RPCClient | undefined;
  #lastTransaction = 0;
  #offlineSinceMs: number | undefined;

  constructor(options: StationOptions) {
    this.#options = options;
    this.#installed = options.outlets.map(({ evseId }) => ({
      evseId,
      profile: nothing(options.version, evseId),
    }));
  }

  get stationId(): string {
    return this.#options.stationId;
  }

  get isConnected(): boolean {
    return this.#client !== undefined;
  }

  /** Answers that wait. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** Connects, or connects again; reports what happened without connection. */
  async connect(port: number, isBoot = true): Promise<void> {
    const { stationId, version, outlets } = this.#options;
    const client = new RPCClient({
      endpoint: `ws://127.0.0.1:${port}`,
      identity: stationId,
      protocols: [`ocpp${version}`],
      reconnect: false,
      ...STRICT,
    } as unknown as ConstructorParameters<typeof RPCClient>[0]);
    client.on("strictValidationFailure", ({ error }) => this.#misfits.push(error));
    client.handle("SetChargingProfile", ({ params }) => this.#setProfile(params as never));
    client.on("close", () => {
      if (this.#client !== client) return;
      this.#client = undefined;
      this.#offlineSinceMs = this.#options.clock.nowMs;
      this.#forgetAllowed();
    });
    await client.connect();
    this.#client = client;
    this.#offlineSinceMs = undefined;
    this.#forgetAllowed();
    if (isBoot) {
      const is16 = version === "1.6";
      const model = { vendorName: "Test", model: "Sim" };
      await this.#call(
        "BootNotification",
        is16
          ? { chargePointVendor: model.vendorName, chargePointModel: model.model }
          : { reason: "PowerUp", chargingStation: model },
      );
      for (const { evseId } of outlets) await this.#reportStatus(evseId, "Available");
    }
    for (const report of this.#queue.splice(0)) await report();
  }

  /** The connection breaks without a word. */
  drop(): void {
    void this.#client?.close({ force: true });
  }

  /** As a station of 2.1 may over a restart. */
  forgetTxProfiles(): void {
    this.#installed = this.#installed.filter(({ profile }) => profile.chargingProfilePurpose !== "TxProfile");
    this.#forgetAllowed();
  }

  /** A vehicle comes: authorised at once, its transaction starts. */
  async plugIn(evseId: number, vehicle: Vehicle): Promise<void> {
    const startMs = this.#options.clock.nowMs;
    // In 1.6 the CSMS gives the id.
    const transactionId =
      this.#options.version === "1.6" ? undefined : `${this.stationId}-${++this.#lastTransaction}`;
    const stay: Stay = { vehicle, transactionId, startMs, takenWh: 0, seqNo: 0 };
    const mark = this.#mark(evseId);
    this.#stays.set(evseId, stay);
    await this.#report(async () => {
      await this.#reportStatus(evseId, "Occupied");
      await this.#authorize(vehicle);
      await this.#start(evseId, stay, mark);
      if (vehicle.isTalking) await this.tellNeeds(evseId);
    });
  }

  /** The vehicle leaves. */
  async unplug(evseId: number): Promise<Stay & { takenWh: number }> {
    const stay = this.#stayAt(evseId);
    this.#stays.delete(evseId);
    // A TxProfile ends with its transaction.
    this.#installed = this.#installed.filter(
      ({ profile, ...entry }) => entry.evseId !== evseId || profile.chargingProfilePurpose !== "TxProfile",
    );
    const mark = this.#mark(evseId);
    await this.#report(async () => {
      await this.#stop(evseId, stay, mark);
      await this.#reportStatus(evseId, "Available");
    });
    return stay;
  }

  /** The vehicle tells its needs, as they are now (2.x). */
  async tellNeeds(evseId: number, departureMs?: number): Promise<unknown> {
    const { vehicle, takenWh } = this.#stayAt(evseId);
    return this.#call("NotifyEVChargingNeeds", {
      evseId,
      maxScheduleTuples: 16,
      chargingNeeds: {
        requestedEnergyTransfer: ["AC_single_phase", "AC_two_phase", "AC_three_phase"][vehicle.phases - 1],
        departureTime: textOf(departureMs ?? vehicle.departureMs),
        acChargingParameters: {
          energyAmount: Math.ceil(vehicle.needWh - takenWh),
          evMinCurrent: vehicle.minCurrentA,
          evMaxCurrent: vehicle.maxCurrentA,
          evMaxVoltage: 400,
        },
      },
    });
  }

  /** Reports every meter. */
  async reportMeters(): Promise<void> {
    if (!this.isConnected) return;
    for (const [evseId, stay] of this.#stays) {
      if (stay.transactionId === undefined) continue;
      if (this.#options.version !== "1.6")
        await this.#event(evseId, stay, this.#mark(evseId), "Updated", "MeterValuePeriodic");
      else {
        const meterValue = [
          { timestamp: this.#now, sampledValue: [{ value: `${this.#mark(evseId).meterWh}`, unit: "Wh" }] },
        ];
        const transactionId = Number(stay.transactionId);
        await this.#call("MeterValues", { connectorId: evseId, transactionId, meterValue });
      }
    }
  }

  /** Current in each grid line of an outlet in the second that begins now, A. */
  currents(evseId: number): { lines: readonly number[]; currentA: number } {
    const outlet = this.#options.outlets.find((one) => one.evseId === evseId);
    const stay = this.#stays.get(evseId);
    if (outlet === undefined || stay === undefined) return { lines: [], currentA: 0 };
    const { vehicle, takenWh } = stay;
    const period = this.#allowedNow(evseId, stay);
    const lines = outlet.lines.slice(0, Math.min(vehicle.phases, period.numberPhases ?? 3));
    const limitA = period.limit ?? Number.POSITIVE_INFINITY;
    if (limitA < vehicle.minCurrentA) return { lines, currentA: 0 };
    const leftA = ((vehicle.needWh - takenWh) * 3600) / (this.#options.voltageV * lines.length);
    return { lines, currentA: Math.max(0, Math.min(limitA, vehicle.maxCurrentA, outlet.maxCurrentA, leftA)) };
  }

  /** Charges for the second that begins now. */
  chargeOneSecond(): void {
    for (const [evseId, stay] of this.#stays) {
      const { lines, currentA } = this.currents(evseId);
      const wh = (currentA * lines.length * this.#options.voltageV) / 3600;
      stay.takenWh += wh;
      this.#meterWh.set(evseId, (this.#meterWh.get(evseId) ?? 0) + wh);
    }
  }

  /** Lets answers that wait go, the last to come first where asked for. */
  release(isLastFirst = false): void {
    this.holding = undefined;
    const held = this.#held.splice(0);
    for (const answer of isLastFirst ? held.reverse() : held) answer();
  }

  /** Messages of either side that the official schemas refuse. */
  get misfits(): readonly unknown[] {
    return this.#misfits;
  }
  readonly #misfits: unknown[] = [];

  get #now(): string {
    return textOf(this.#options.clock.nowMs);
  }

  #mark(evseId: number): Mark {
    return { atMs: this.#options.clock.nowMs, meterWh: Math.floor(this.#meterWh.get(evseId) ?? 0) };
  }

  #stayAt(evseId: number): Stay {
    const stay = this.#stays.get(evseId);
    if (stay === undefined) throw new Error(`no vehicle at ${this.stationId}/${evseId}`);
    return stay;
  }

  async #setProfile(request: {
    connectorId?: number;
    evseId?: number;
    csChargingProfiles?: WireProfile;
    chargingProfile?: WireProfile;
  }): Promise<Record<string, unknown>> {
    const { version, capabilities, outlets } = this.#options;
    const evseId = request.connectorId ?? request.evseId ?? -1;
    const profile = (request.csChargingProfiles ?? request.chargingProfile) as WireProfile;
    const told: Told = {
      stationId: this.stationId,
      evseId,
      profile: inNamesOf2x(profile),
      payloadJson: JSON.stringify(request),
      atMs: performance.now(),
      order: nextOrder(),
      answeredOrder: undefined,
      status: undefined,
    };
    this.told.push(told);
    const transactionId = this.#stays.get(evseId)?.transactionId;
    const [finding] = validateProfile(profile, {
      version,
      evseId,
      capabilities: { evseIds: outlets.map((outlet) => outlet.evseId), ...capabilities },
      installed: this.#installed,
      transaction: transactionId === undefined ? null : { transactionId },
    });
    const isTaken = finding === undefined && !this.isRefusing;
    const { holding } = this;
    if (isTaken && holding?.installs !== false) this.#install(evseId, profile);
    if (holding !== undefined) {
      await new Promise<void>((resolve) => this.#held.push(resolve));
      if (isTaken && !holding.installs) this.#install(evseId, profile);
    }
    told.answeredOrder = nextOrder();
    told.status = isTaken ? "Accepted" : "Rejected";
    if (version === "1.6" || isTaken) return { status: told.status };
    return { status: told.status, statusInfo: { reasonCode: finding?.reasonCode ?? "InternalError" } };
  }

  /** A profile takes the place of that with its id; in 1.6 of that with its purpose and level too. */
  #install(evseId: number, profile: WireProfile): void {
    const { id, chargingProfilePurpose: purpose, stackLevel } = inNamesOf2x(profile);
    this.#installed = this.#installed.filter((entry) => {
      const other = inNamesOf2x(entry.profile);
      const isSamePlace =
        this.#options.version === "1.6" &&
        entry.evseId === evseId &&
        other.chargingProfilePurpose === purpose &&
        other.stackLevel === stackLevel;
      return other.id !== id && !isSamePlace;
    });
    this.#installed.push({ evseId, profile });
    this.#forgetAllowed();
  }

  #forgetAllowed(): void {
    for (const stay of this.#stays.values()) stay.allowed = undefined;
  }

  #allowedNow(evseId: number, stay: Stay): CompositePeriod {
    const { clock, version, voltageV } = this.#options;
    const fromMs = clock.nowMs;
    if (stay.allowed === undefined || fromMs >= stay.allowed.fromMs + LOOKED_AHEAD_MS) {
      const { transactionId = "none", startMs } = stay;
      const evses: StationEvse[] = this.#options.outlets.map((outlet) => ({
        evseId: outlet.evseId,
        supply: "AC",
        maxCurrentA: outlet.maxCurrentA,
        maxPowerW: outlet.maxCurrentA * voltageV * outlet.lines.length,
        ...(outlet.evseId === evseId ? { transaction: { transactionId, startMs } } : {}),
      }));
      const offline = this.#offlineSinceMs === undefined ? {} : { offlineSinceMs: this.#offlineSinceMs };
      const station = { version, voltageV, evses, installed: this.#installed, ...offline };
      const window = { evseId, startMs: fromMs, endMs: fromMs + LOOKED_AHEAD_MS, unit: "A" } as const;
      stay.allowed = { fromMs, periods: compositeSchedule(station, window) };
    }
    const { fromMs: beginMs, periods } = stay.allowed;
    const seconds = (fromMs - beginMs) / 1000;
    return periods.findLast(({ startPeriod }) => startPeriod <= seconds) ?? periods[0];
  }

  /** Now, or when there is a connection again. */
  async #report(report: () => Promise<unknown>): Promise<void> {
    if (this.isConnected) await report();
    else this.#queue.push(report);
  }

  async #call(action: string, message: object): Promise<Record<string, unknown>> {
    if (this.#client === undefined) throw new Error(`${this.stationId} is not connected`);
    return (await this.#client.call(action, message)) as Record<string, unknown>;
  }

  #reportStatus(evseId: number, status: "Available" | "Occupied"): Promise<unknown> {
    if (this.#options.version !== "1.6") {
      const message = { timestamp: this.#now, connectorStatus: status, evseId, connectorId: 1 };
      return this.#call("StatusNotification", message);
    }
    const status16 = status === "Occupied" ? "Preparing" : status;
    return this.#call("StatusNotification", { connectorId: evseId, errorCode: "NoError", status: status16 });
  }

  async #authorize({ idToken }: Vehicle): Promise<void> {
    const is16 = this.#options.version === "1.6";
    await this.#call("Authorize", is16 ? { idTag: idToken } : { idToken: this.#token(idToken) });
  }

  #token(idToken: string): { idToken: string; type: string } {
    return { idToken, type: "Central" };
  }

  async #start(evseId: number, stay: Stay, mark: Mark): Promise<void> {
    if (this.#options.version === "1.6") {
      const { transactionId } = await this.#call("StartTransaction", {
        connectorId: evseId,
        idTag: stay.vehicle.idToken,
        meterStart: mark.meterWh,
        timestamp: textOf(mark.atMs),
      });
      stay.transactionId = `${transactionId}`;
      stay.allowed = undefined;
    } else await this.#event(evseId, stay, mark, "Started", "CablePluggedIn");
  }

  async #stop(evseId: number, stay: Stay, mark: Mark): Promise<void> {
    if (this.#options.version !== "1.6") await this.#event(evseId, stay, mark, "Ended", "EVDeparted");
    else {
      const transactionId = Number(stay.transactionId);
      await this.#call("StopTransaction", {
        transactionId,
        timestamp: textOf(mark.atMs),
        meterStop: mark.meterWh,
        reason: "EVDisconnected",
      });
    }
  }

  async #event(
    evseId: number,
    stay: Stay,
    mark: Mark,
    eventType: string,
    triggerReason: string,
  ): Promise<void> {
    await this.#call("TransactionEvent", {
      eventType,
      timestamp: textOf(mark.atMs),
      triggerReason,
      seqNo: stay.seqNo++,
      transactionInfo: { transactionId: stay.transactionId },
      ...(eventType === "Ended" ? {} : { evse: { id: evseId, connectorId: 1 } }),
      ...(eventType === "Started" ? { idToken: this.#token(stay.vehicle.idToken) } : {}),
      meterValue: [{ timestamp: textOf(mark.atMs), sampledValue: [{ value: mark.meterWh }] }],
    });
  }
}

/** What the stations are delivered with: every transaction waits at 0 until it is planned. */
function nothing(version: OcppVersion, evseId: number): WireProfile {
  const id = evseId * 10 + 2;
  const head = {
    stackLevel: 0,
    chargingProfileKind: "Absolute",
    chargingProfilePurpose: "TxDefaultProfile",
  } as const;
  const schedule = {
    startSchedule: "2026-01-01T00:00:00Z",
    chargingRateUnit: "A",
    chargingSchedulePeriod: [{ startPeriod: 0, limit: 0 }],
  } as const;
  return version === "1.6"
    ? { chargingProfileId: id, ...head, chargingSchedule: schedule }
    : { id, ...head, chargingSchedule: [{ id, ...schedule }] };
}

function textOf(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}

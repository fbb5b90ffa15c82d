import { chargingRange } from "../domain/charging.ts";
import type { Evse, OcppVersion, Session, VehicleBattery } from "../domain/problem.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { readChargeCurve, readStateOfCharge } from "./battery.ts";
import { readDepartureChances, readMinimum } from "./checkpoints.ts";
import { readDischarge } from "./discharge.ts";
import { type Findings, LARGEST, quote } from "./findings.ts";
import { evseKey, type ReadSite } from "./site.ts";

const HOUR_MS = 3_600_000;
const AC_STAY_MS = 4 * HOUR_MS;
const DC_STAY_MS = HOUR_MS;

// OCPP 2.x: transactionId has at most 36 characters. 1.6: an integer, of 32 bits in the field.
const TRANSACTION_ID_LENGTH = 36;

const POWER_W = { min: 0, max: LARGEST.powerW };
const CURRENT_A = { min: 0, max: LARGEST.currentA };
const ENERGY_WH = { min: 0, max: LARGEST.energyWh };

/**
 * Reads the sessions. Departures are as given or assumed: they may lie after the plan's end, and
 * times that are wrong are NaN. Without a site (`where` undefined) only what stands in the
 * sessions themselves is looked at.
 */
export function readSessions(
  findings: Findings,
  sessions: readonly wire.Session[],
  where: ReadSite | undefined,
  time: { planStartMs: number; defaultStayMs: number | undefined },
): Session[] {
  const indexOf = new Map<string, number>();
  const read = sessions.map((session, n) => {
    const field = `sessions[${n}]`;
    const sessionId = findings.id(`${field}.session_id`, session.sessionId);
    const other = indexOf.get(sessionId);
    if (other === undefined) indexOf.set(sessionId, n);
    else if (sessionId !== "")
      findings.wrong(`${field}.session_id`, `the same as that of sessions[${other}]`);
    const evse = where === undefined ? undefined : findEvse(findings, field, session, where);
    return readSession(findings, field, session, {
      index: evse ?? 0,
      evse: evse === undefined ? undefined : where?.site.evses[evse],
      site: evse === undefined ? undefined : where?.site,
      efficiency: evse === undefined ? 1 : (where?.efficiencies[evse] ?? 1),
      ...time,
    });
  });
  if (where !== undefined) refuseUncontrolled(findings, sessions, where);
  refuseOverlaps(findings, sessions, read);
  if (where !== undefined) tellOfUnchargeable(findings, read, where);
  return read;
}

/** A vehicle that its charger's limits never suit can only be told 0, which some chargers don't take. */
function tellOfUnchargeable(findings: Findings, sessions: readonly Session[], { site }: ReadSite): void {
  sessions.forEach((session, n) => {
    const evse = site.evses[session.evse];
    if (evse === undefined || chargingRange(site, session).maxPowerW > 0) return;
    const { field, reason } = whyUnchargeable(site, session, n);
    if (evse.ocpp.rejectsZeroLimit) {
      findings.wrong(field, `${reason}, and its charger rejects a limit of 0`);
    } else if (session.energyWh > 0) {
      findings.notice("CANNOT_CHARGE", field, reason);
    }
  });
}

/** The limit without which a vehicle that can't charge could. */
function whyUnchargeable(
  site: ReadSite["site"],
  session: Session,
  n: number,
): { field: string; reason: string } {
  const evse = `site.evses[${session.evse}]`;
  const charger = site.evses[session.evse];
  const canCharge = (without: Partial<Session>, at = charger) =>
    chargingRange({ ...site, evses: [at] }, { ...session, ...without, evse: 0 }).maxPowerW > 0;
  const cannot = "the vehicle can't charge";
  if (canCharge({}, { ...charger, ocpp: { ...charger.ocpp, limitStep: 0.1 } })) {
    return {
      field: `${evse}.ocpp.limit_step`,
      reason: `no whole step lies between the least and the most power of sessions[${n}]: ${cannot}`,
    };
  }
  const tooLow = `leaves less than the least power to charge with: ${cannot}`;
  if (canCharge({ maxPowerW: Number.POSITIVE_INFINITY }))
    return { field: `sessions[${n}].max_power_w`, reason: tooLow };
  if (canCharge({ maxCurrentA: Number.POSITIVE_INFINITY }))
    return { field: `sessions[${n}].max_current_a`, reason: tooLow };
  if (canCharge({ minCurrentA: 0 }))
    return { field: `sessions[${n}].min_current_a`, reason: `is more than it can get: ${cannot}` };
  return {
    field: evse,
    reason: `its limits and those of sessions[${n}] leave no power to charge with: ${cannot}`,
  };
}

interface SessionContext {
  index: number;
  evse: Evse | undefined;
  site: ReadSite["site"] | undefined;
  efficiency: number;
  planStartMs: number;
  defaultStayMs: number | undefined;
}

function findEvse(
  findings: Findings,
  field: string,
  { stationId, evseId }: wire.Session,
  { evseIndex, site }: ReadSite,
): number | undefined {
  const index = evseIndex.get(evseKey(stationId, evseId));
  if (index !== undefined) return index;
  if (stationId === "") findings.wrong(`${field}.station_id`, "is required");
  else if (site.evses.some((evse) => evse.stationId === stationId)) {
    findings.wrong(`${field}.evse_id`, `station ${quote(stationId)} has no EVSE ${evseId}`);
  } else findings.wrong(`${field}.station_id`, `there is no station ${quote(stationId)}`);
  return undefined;
}

function readSession(
  findings: Findings,
  field: string,
  session: wire.Session,
  context: SessionContext,
): Session {
  const { evse, planStartMs } = context;
  const stay = readStay(findings, field, session, context);
  const isHere = stay.arrivalMs <= planStartMs;
  const { transactionId } = session;
  readTransactionId(findings, field, transactionId, evse?.ocpp.version);
  if (transactionId === "" && isHere && evse?.ocpp.prefersTxDefaultProfile === false) {
    findings.notice(
      "TRANSACTION_ID_MISSING",
      `${field}.transaction_id`,
      "the vehicle is here but its transaction is not known: it is sent a TxDefaultProfile",
    );
  }
  const { energyWh, battery, spareWh } = readNeed(findings, field, session.need, context.efficiency);
  const { departureMs } = stay;
  const read: Session = {
    sessionId: session.sessionId,
    evse: context.index,
    transactionId,
    ...stay,
    energyWh,
    ...readVehicle(findings, field, session, evse),
    priority: findings.number(`${field}.priority`, session.priority ?? 1, { min: 0.1, max: 10 }),
    uninterruptible: session.uninterruptible,
    battery,
    minimum: readMinimum(
      findings,
      `${field}.minimum`,
      session.minimum,
      { energyWh, departureMs },
      planStartMs,
    ),
    departureChances: readDepartureChances(
      findings,
      `${field}.departure_chances`,
      session.departureChances,
      { energyWh, departureMs },
      planStartMs,
    ),
    discharge: undefined,
    goesOn: false,
    installed: undefined,
  };
  const fullPowerW = context.site === undefined ? Number.NaN : chargingRange(context.site, read).maxPowerW;
  const chargeCurve = readChargeCurve(findings, field, session, fullPowerW);
  return {
    ...read,
    battery: battery && { ...battery, chargeCurve },
    discharge: readDischarge(findings, `${field}.discharge`, session, read, evse, {
      spareWh,
      planStartMs,
      fullPowerW,
    }),
  };
}

/** Whole seconds inside the stay as given; what lies before the plan is left out. */
function readStay(
  findings: Findings,
  field: string,
  { arrivalTime, departureTime }: wire.Session,
  { evse, planStartMs, defaultStayMs }: SessionContext,
): { arrivalMs: number; departureMs: number } {
  const givenMs =
    arrivalTime === undefined ? planStartMs : findings.time(`${field}.arrival_time`, arrivalTime);
  const arrivalMs = Math.max(planStartMs, Math.ceil(givenMs / 1000) * 1000);
  if (departureTime === undefined) {
    const stayMs = defaultStayMs ?? (evse?.supply === "DC" ? DC_STAY_MS : AC_STAY_MS);
    findings.notice(
      "DEPARTURE_ASSUMED",
      `${field}.departure_time`,
      `no departure is known: the vehicle is taken to stay for ${stayMs / 60_000} minutes`,
    );
    return { arrivalMs, departureMs: arrivalMs + stayMs };
  }
  const leavesMs = findings.time(`${field}.departure_time`, departureTime);
  const departureMs = Math.floor(leavesMs / 1000) * 1000;
  if (leavesMs <= planStartMs) {
    findings.wrong(
      `${field}.departure_time`,
      `must be after the start of the plan, ${new Date(planStartMs).toISOString()}: leave out a vehicle that has left, give one that stays a later time`,
    );
  } else if (leavesMs <= givenMs) {
    findings.wrong(`${field}.departure_time`, "must be after arrival_time");
  } else if (departureMs <= arrivalMs) {
    findings.wrong(`${field}.departure_time`, "leaves no whole second to charge in");
  }
  return { arrivalMs, departureMs };
}

function readTransactionId(
  findings: Findings,
  field: string,
  transactionId: string,
  version: OcppVersion | undefined,
): void {
  if (transactionId === "" || version === undefined) return;
  if (version === "1.6") {
    const id = Number(transactionId);
    // The way back to text tells apart what only reads as a number: " 7", "0x7", "7.0".
    if (String(id) !== transactionId || (id | 0) !== id) {
      findings.wrong(`${field}.transaction_id`, "must be an integer of 32 bits in OCPP 1.6");
    }
  } else if (transactionId.length > TRANSACTION_ID_LENGTH) {
    findings.wrong(
      `${field}.transaction_id`,
      `must have at most ${TRANSACTION_ID_LENGTH} characters in OCPP ${version}, has ${transactionId.length}`,
    );
  }
}

/** Energy still to be delivered at the meter, Wh, the battery where its state is known, and what that has to spare. */
function readNeed(
  findings: Findings,
  field: string,
  need: wire.Session["need"],
  efficiency: number,
): { energyWh: number; battery: VehicleBattery | undefined; spareWh: number } {
  if (need?.$case === "stateOfCharge")
    return readStateOfCharge(findings, `${field}.state_of_charge`, need.value, efficiency);
  if (need === undefined) findings.wrong(`${field}.need`, "energy_wh or state_of_charge is required");
  const energyWh =
    need === undefined ? Number.NaN : findings.number(`${field}.energy_wh`, need.value, ENERGY_WH);
  return { energyWh, battery: undefined, spareWh: 0 };
}

type Vehicle = Pick<Session, "maxCurrentA" | "minCurrentA" | "maxPowerW" | "phaseCount">;

function readVehicle(
  findings: Findings,
  field: string,
  session: wire.Session,
  evse: Evse | undefined,
): Vehicle {
  const minCurrentA = findings.number(`${field}.min_current_a`, session.minCurrentA ?? 0, CURRENT_A);
  const maxCurrentA =
    session.maxCurrentA === undefined
      ? Number.POSITIVE_INFINITY
      : findings.number(`${field}.max_current_a`, session.maxCurrentA, CURRENT_A);
  if (minCurrentA > maxCurrentA) {
    findings.wrong(`${field}.min_current_a`, `${minCurrentA} is above max_current_a, ${maxCurrentA}`);
  }
  const maxPowerW =
    session.maxPowerW === undefined
      ? Number.POSITIVE_INFINITY
      : findings.number(`${field}.max_power_w`, session.maxPowerW, POWER_W);
  const phases = findings.whole(`${field}.phases`, session.phases, 0, 3);
  // Between two lines there is one voltage.
  const wired = evse?.supply === "AC_LINE_TO_LINE" ? 1 : (evse?.phases.length ?? 3);
  if (evse?.supply !== "DC" && phases > wired) {
    findings.notice(
      "VEHICLE_PHASES_CLIPPED",
      `${field}.phases`,
      `the vehicle has ${phases} phases, the EVSE ${wired}: it draws from ${wired}`,
    );
  }
  if (evse?.supply !== "DC") {
    return {
      minCurrentA,
      maxCurrentA,
      maxPowerW,
      phaseCount: phases === 0 ? wired : Math.min(phases, wired),
    };
  }
  if (session.maxCurrentA !== undefined || session.minCurrentA !== undefined || phases > 0) {
    findings.notice(
      "VEHICLE_AC_LIMITS_UNUSED",
      field,
      "max_current_a, min_current_a and phases are the vehicle's limits on AC: they have no effect on DC",
    );
  }
  return { minCurrentA: 0, maxCurrentA: Number.POSITIVE_INFINITY, maxPowerW, phaseCount: wired };
}

function refuseUncontrolled(
  findings: Findings,
  sessions: readonly wire.Session[],
  { site, evseIndex }: ReadSite,
): void {
  const reported = new Set<number>();
  sessions.forEach(({ stationId, evseId }, n) => {
    const index = evseIndex.get(evseKey(stationId, evseId));
    if (index === undefined || site.evses[index].uncontrolledPowerW === undefined || reported.has(index))
      return;
    reported.add(index);
    findings.wrong(
      `site.evses[${index}].uncontrolled_power_w`,
      `sessions[${n}] is on this EVSE: what is planned can't be uncontrolled`,
    );
  });
}

/** An EVSE serves one vehicle at a time. */
function refuseOverlaps(
  findings: Findings,
  sessions: readonly wire.Session[],
  read: readonly Session[],
): void {
  const byEvse = new Map<string, number[]>();
  sessions.forEach(({ stationId, evseId }, n) => {
    const { arrivalMs, departureMs } = read[n];
    // Where its times are wrong, whether it overlaps is unknown.
    if (!(arrivalMs < departureMs)) return;
    const key = evseKey(stationId, evseId);
    const others = byEvse.get(key);
    if (others === undefined) byEvse.set(key, [n]);
    else others.push(n);
  });
  for (const indices of byEvse.values()) {
    indices.sort((a, b) => read[a].arrivalMs - read[b].arrivalMs || a - b);
    let last = indices[0];
    for (const n of indices.slice(1)) {
      if (read[n].arrivalMs < read[last].departureMs) {
        findings.wrong(
          `sessions[${n}].arrival_time`,
          `sessions[${last}] is on the same EVSE until ${new Date(read[last].departureMs).toISOString()}`,
        );
      }
      if (read[n].departureMs > read[last].departureMs) last = n;
    }
  }
}

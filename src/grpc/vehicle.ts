import type { Notice } from "../domain/problem.ts";
import {
  type Evse,
  PriceForm,
  type ScheduleOffer,
  Session,
  type StateOfChargeNeed,
  Supply,
} from "../gen/wattslot/v1/optimizer.ts";
import type { VehicleNeeds } from "../ocpp/needs.ts";
import { defaultEfficiency } from "./site.ts";

/** What a need is taken to be that nobody has told: a battery of usual size. */
const USUAL_ENERGY_WH = 60_000;
const USUAL_CURRENT_A = 32;
const HOUR_MS = 3_600_000;
/** No plan is longer: what lies after it makes no difference. */
const LONGEST_PLAN_MS = 31 * 24 * HOUR_MS;
const LONGEST_BASE_ID = 200;

/** Where a vehicle is. */
export interface Whereabouts {
  evse: Evse;
  startMs: number;
  voltageV: number;
  slotSeconds: number;
  /** What the CSMS wants to offer. */
  offer: ScheduleOffer | undefined;
  /** Those that are taken. */
  sessionIds: readonly string[];
  /** When the next vehicle comes to the EVSE. Default: none is expected. */
  nextArrivalMs?: number | undefined;
  /** How long a vehicle stays that does not say. */
  defaultStayMs: number;
}

/**
 * A vehicle's session with what it has said of itself: its energy, its state of charge and its departure in the place
 * of what was known, of two limits the lower. The notices name fields of the payload.
 */
export function sessionWithNeeds(
  known: Session | undefined,
  needs: VehicleNeeds,
  where: Whereabouts,
): { session: Session; notices: Notice[] } {
  const { evse } = where;
  const notices: Notice[] = [];
  const notice = (code: string, field: string, message: string) => {
    notices.push({ code, field, message });
  };
  const before = known ?? newSession(where);
  const isDc = evse.supply === Supply.DC;
  const session: Session = { ...before };
  session.need = needOf(before, needs, where, notice);
  session.chargeCurve = session.need?.$case === "stateOfCharge" ? before.chargeCurve : [];
  if (before.chargeCurve.length > 0 && session.chargeCurve.length === 0)
    notice(
      "CHARGE_CURVE_UNUSED",
      "chargingNeeds",
      "no state of charge is known: the charge curve has no effect",
    );

  if (!isDc) {
    session.maxCurrentA = lower(before.maxCurrentA, needs.maxCurrentA);
    session.minCurrentA = higher(before.minCurrentA, needs.minCurrentA);
    if (needs.phases !== undefined) session.phases = needs.phases;
    else if (needs.supply === "AC" && before.phases === 0) {
      notice(
        "PHASES_ASSUMED",
        "chargingNeeds.requestedEnergyTransfer",
        "does not tell how many phases the vehicle draws from: as many as the EVSE has are taken",
      );
    }
  }
  session.maxPowerW = lower(before.maxPowerW, needs.maxPowerW);
  session.minPowerW = Math.max(before.minPowerW, needs.minPowerW ?? 0);
  settleLimits(session, before, notice);
  settleDeparture(session, needs, where, notice);
  session.minimum = minimumOf(session, needs, where);
  settleDischarge(session, needs, evse, notice);
  session.scheduleOffer = offerOf(needs, where.offer ?? before.scheduleOffer, notice);
  return { session, notices };
}

type Tell = (code: string, field: string, message: string) => void;

/** A vehicle whose least is above what it may have is not charged. What its session contradicts by itself is for others to refuse. */
function settleLimits(session: Session, before: Session, notice: Tell): void {
  const contradiction = contradictionIn(session);
  if (contradiction === undefined || contradictionIn(before) !== undefined) return;
  notice(
    "LIMITS_CONTRADICT",
    "chargingNeeds",
    `with what its session says the vehicle ${contradiction}: it can't charge`,
  );
  Object.assign(session, { minCurrentA: undefined, minPowerW: 0, maxPowerW: 0 });
}

function contradictionIn({ minCurrentA, maxCurrentA, minPowerW, maxPowerW }: Session): string | undefined {
  if ((minCurrentA ?? 0) > (maxCurrentA ?? Number.POSITIVE_INFINITY))
    return `needs ${minCurrentA} A and may have ${maxCurrentA}`;
  if (minPowerW > (maxPowerW ?? Number.POSITIVE_INFINITY))
    return `needs ${minPowerW} W and may have ${maxPowerW}`;
  return undefined;
}

/** Until the vehicle goes, and at the latest until the next one comes. */
function settleDeparture(
  session: Session,
  { departureMs }: VehicleNeeds,
  { startMs, nextArrivalMs = Number.POSITIVE_INFINITY, defaultStayMs }: Whereabouts,
  notice: Tell,
): void {
  const field = "chargingNeeds.departureTime";
  const isAhead = departureMs !== undefined && departureMs > startMs + 1000;
  if (departureMs !== undefined && !isAhead)
    notice("DEPARTURE_PASSED", field, "is not after the start of the plan: it is left out");
  if (!isAhead && (session.departureTime !== undefined || nextArrivalMs >= startMs + defaultStayMs)) return;
  const saysMs = isAhead ? departureMs : startMs + defaultStayMs;
  if (saysMs > nextArrivalMs) {
    const next = new Date(nextArrivalMs).toISOString();
    notice("DEPARTURE_CLIPPED", field, `the next vehicle comes to the EVSE at ${next}: this one goes before`);
  }
  const leavesMs = Math.min(saysMs, Math.ceil(nextArrivalMs / 1000) * 1000, startMs + LONGEST_PLAN_MS);
  session.departureTime = new Date(leavesMs);
  session.departureChances = session.departureChances.filter(
    ({ time }) => (time?.getTime() ?? 0) < Math.floor(leavesMs / 1000) * 1000,
  );
}

/** As soon as the vehicle can have it, with some room for what others draw; never more than it needs in all. */
function minimumOf(session: Session, { minimumWh }: VehicleNeeds, where: Whereabouts): Session["minimum"] {
  const { evse, startMs, slotSeconds } = where;
  const { minimum: before } = session;
  const needWh = energyOf(session, evse);
  if (minimumWh === undefined) return before && { ...before, energyWh: Math.min(before.energyWh, needWh) };
  if (minimumWh === 0) return undefined;
  const energyWh = Math.min(minimumWh, needWh);
  const soonestMs = (1.25 * energyWh * HOUR_MS) / fullPowerW(session, where) + slotSeconds * 1000;
  const byMs = startMs + Math.min(LONGEST_PLAN_MS, Math.ceil(soonestMs / 1000) * 1000);
  return { energyWh, byTime: new Date(byMs) };
}

function newSession({ evse, sessionIds }: Whereabouts): Session {
  const { stationId, evseId } = evse;
  let sessionId = `${stationId.slice(0, LONGEST_BASE_ID)}/${evseId}`;
  while (sessionIds.includes(sessionId)) sessionId += "+";
  return Session.fromPartial({ sessionId, stationId, evseId });
}

/** By its state of charge where that and its capacity are known, else its energy, else what was known, else a guess. */
function needOf(
  { need, discharge }: Session,
  needs: VehicleNeeds,
  { evse }: Whereabouts,
  notice: Tell,
): Session["need"] {
  const known = need?.$case === "stateOfCharge" ? need.value : undefined;
  const socPercent = needs.socPercent ?? known?.socPercent;
  const batteryCapacityWh = needs.capacityWh ?? known?.batteryCapacityWh;
  const { energyWh } = needs;
  if (socPercent !== undefined && batteryCapacityWh !== undefined) {
    const fullSocPercent = needs.fullSocPercent ?? known?.fullSocPercent;
    const bulk = needs.bulkSocPercent ?? known?.bulkSocPercent;
    const full = fullSocPercent ?? 100;
    const asked =
      energyWh === undefined
        ? (needs.targetSocPercent ?? known?.targetSocPercent)
        : socPercent + (100 * energyWh * efficiencyOf(evse)) / batteryCapacityWh;
    if (asked !== undefined && asked > full + 1)
      notice(
        "ENERGY_ABOVE_FULL",
        "chargingNeeds",
        `the vehicle asks for more than its battery has room for: it is charged to ${full} %`,
      );
    const value: StateOfChargeNeed = {
      socPercent,
      batteryCapacityWh,
      targetSocPercent: asked === undefined ? undefined : Math.min(full, asked),
      fullSocPercent,
      bulkSocPercent: bulk !== undefined && bulk < full ? bulk : undefined,
    };
    return { $case: "stateOfCharge", value };
  }
  if (energyWh !== undefined) {
    const toKeepWh = needs.discharge?.toKeepWh;
    if (discharge === undefined || toKeepWh === undefined || needs.mostWh === undefined)
      return { $case: "energyWh", value: energyWh };
    return relativeNeed(energyWh, toKeepWh, needs.mostWh, efficiencyOf(evse));
  }
  if (needs.socPercent !== undefined)
    notice(
      "SOC_UNUSED",
      "meterValue",
      "the battery's capacity is not known: give it in the session's state_of_charge",
    );
  if (need !== undefined) return need;
  notice(
    "ENERGY_ASSUMED",
    "chargingNeeds",
    `the vehicle does not say how much it needs: ${USUAL_ENERGY_WH / 1000} kWh are taken, or what its stay allows`,
  );
  return { $case: "energyWh", value: USUAL_ENERGY_WH };
}

/**
 * The need of a vehicle that tells no state of charge but what it keeps and what it has room for: of the part of its
 * battery from what it keeps, or has, whichever is less, to where it has no more room.
 */
function relativeNeed(
  wantsWh: number,
  toKeepWh: number,
  mostWh: number,
  efficiency: number,
): Session["need"] {
  const aboveWh = Math.max(0, -toKeepWh);
  const roomWh = aboveWh + Math.max(mostWh, wantsWh, toKeepWh);
  if (roomWh <= 0) return { $case: "energyWh", value: wantsWh };
  const socPercent = (100 * aboveWh) / roomWh;
  const targetSocPercent = Math.min(100, socPercent + (100 * wantsWh) / roomWh);
  const value = { socPercent, targetSocPercent, batteryCapacityWh: roomWh * efficiency };
  return {
    $case: "stateOfCharge",
    value: { ...value, bulkSocPercent: undefined, fullSocPercent: undefined },
  };
}

function settleDischarge(
  session: Session,
  { discharge, supply }: VehicleNeeds,
  evse: Evse,
  notice: Tell,
): void {
  const field = "chargingNeeds.requestedEnergyTransfer";
  const { discharge: before, need } = session;
  if (before !== undefined && discharge === undefined && supply !== undefined) {
    session.discharge = undefined;
    notice("NOT_BIDIRECTIONAL", field, "the vehicle did not ask to give: it is only charged");
    return;
  }
  if (before === undefined) {
    if (discharge !== undefined)
      notice("DISCHARGE_NOT_ALLOWED", field, "the session has no discharge: the vehicle is only charged");
    return;
  }
  if (need?.$case !== "stateOfCharge") {
    session.discharge = undefined;
    notice(
      "DISCHARGE_NOT_ALLOWED",
      "chargingNeeds",
      "no state of charge is known: the vehicle is only charged",
    );
    return;
  }
  const maxPowerW = Math.min(
    before.maxPowerW || Number.POSITIVE_INFINITY,
    discharge?.maxPowerW ?? Number.POSITIVE_INFINITY,
  );
  if (maxPowerW === 0) {
    session.discharge = undefined;
    return;
  }
  const { socPercent, batteryCapacityWh } = need.value;
  const { toKeepWh = Number.NEGATIVE_INFINITY } = discharge ?? {};
  const keepsPercent = socPercent + (100 * toKeepWh * efficiencyOf(evse)) / batteryCapacityWh;
  session.discharge = {
    ...before,
    maxPowerW: Number.isFinite(maxPowerW) ? maxPowerW : 0,
    minSocPercent: Math.min(100, Math.max(before.minSocPercent, keepsPercent)),
  };
}

function offerOf(
  { maxScheduleTuples, isDynamic, standard }: VehicleNeeds,
  wanted: ScheduleOffer | undefined,
  notice: Tell,
): ScheduleOffer | undefined {
  if (standard === undefined) return wanted;
  const { maxSchedules = 1, priceForm = PriceForm.UNSPECIFIED } = wanted ?? {};
  const isOf2 = priceForm === PriceForm.SALES_TARIFF;
  const isUsable = priceForm === PriceForm.UNSPECIFIED || isOf2 === (standard === "ISO 15118-2");
  if (!isUsable)
    notice(
      "PRICE_FORM_UNUSED",
      "chargingNeeds",
      `the vehicle speaks ${standard}: it is told no prices in that form`,
    );
  return {
    maxScheduleTuples: maxScheduleTuples ?? wanted?.maxScheduleTuples ?? 0,
    maxSchedules: isDynamic ? 1 : maxSchedules,
    priceForm: isUsable ? priceForm : PriceForm.UNSPECIFIED,
    isDynamic,
  };
}

/** Energy at the meter that a session needs, Wh. */
function energyOf({ need }: Session, evse: Evse): number {
  if (need?.$case !== "stateOfCharge") return need?.value ?? 0;
  const {
    socPercent,
    batteryCapacityWh,
    fullSocPercent = 100,
    targetSocPercent = fullSocPercent,
  } = need.value;
  return ((Math.max(0, targetSocPercent - socPercent) / 100) * batteryCapacityWh) / efficiencyOf(evse);
}

/** About the most that a vehicle can draw, W. */
function fullPowerW({ maxPowerW, maxCurrentA, phases }: Session, { evse, voltageV }: Whereabouts): number {
  const lines = phases || evse.phases.length || 3;
  const acW =
    evse.supply === Supply.DC
      ? Number.POSITIVE_INFINITY
      : Math.min(evse.maxCurrentA ?? USUAL_CURRENT_A, maxCurrentA ?? USUAL_CURRENT_A) * voltageV * lines;
  const powerW = Math.min(
    evse.maxPowerW ?? Number.POSITIVE_INFINITY,
    maxPowerW ?? Number.POSITIVE_INFINITY,
    acW,
  );
  return Number.isFinite(powerW) && powerW > 1 ? powerW : USUAL_CURRENT_A * voltageV;
}

function efficiencyOf(evse: Evse): number {
  return evse.efficiency ?? defaultEfficiency(evse.supply);
}

function lower(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

function higher(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

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
  const { evse, startMs } = where;
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

  if (needs.departureMs !== undefined && needs.departureMs > startMs + 1000) {
    session.departureTime = new Date(needs.departureMs);
    session.departureChances = before.departureChances.filter(
      ({ time }) => (time?.getTime() ?? 0) < Math.floor((needs.departureMs ?? 0) / 1000) * 1000,
    );
  } else if (needs.departureMs !== undefined) {
    notice(
      "DEPARTURE_PASSED",
      "chargingNeeds.departureTime",
      "is not after the start of the plan: it is left out",
    );
  }
  if (needs.minimumWh !== undefined && before.minimum === undefined) {
    const energyWh = Math.min(needs.minimumWh, energyOf(session, evse));
    const soonestMs = (1.25 * energyWh * HOUR_MS) / fullPowerW(session, where) + where.slotSeconds * 1000;
    session.minimum = { energyWh, byTime: new Date(startMs + Math.ceil(soonestMs / 1000) * 1000) };
  }
  settleDischarge(session, needs, notice);
  session.scheduleOffer = offerOf(needs, where.offer ?? before.scheduleOffer, notice);
  return { session, notices };
}

type Tell = (code: string, field: string, message: string) => void;

function newSession({ evse, sessionIds }: Whereabouts): Session {
  const { stationId, evseId } = evse;
  let sessionId = `${stationId}/${evseId}`;
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
    const spareWh = needs.discharge?.spareWh;
    if (discharge === undefined || spareWh === undefined || needs.mostWh === undefined)
      return { $case: "energyWh", value: energyWh };
    return relativeNeed(energyWh, spareWh, needs.mostWh, efficiencyOf(evse));
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
 * The need of a vehicle that tells no state of charge but what it could give and what it has room for: the part of its
 * battery between them, which is empty where it gives nothing more.
 */
function relativeNeed(wantsWh: number, spareWh: number, mostWh: number, efficiency: number): Session["need"] {
  const storedWh = spareWh / efficiency;
  const roomWh = Math.max(mostWh, wantsWh) * efficiency;
  const batteryCapacityWh = storedWh + roomWh;
  if (batteryCapacityWh <= 0) return { $case: "energyWh", value: wantsWh };
  const socPercent = (100 * storedWh) / batteryCapacityWh;
  const targetSocPercent = Math.min(100, socPercent + (100 * wantsWh * efficiency) / batteryCapacityWh);
  const value = { socPercent, targetSocPercent, batteryCapacityWh };
  return {
    $case: "stateOfCharge",
    value: { ...value, bulkSocPercent: undefined, fullSocPercent: undefined },
  };
}

function settleDischarge(session: Session, { discharge, supply }: VehicleNeeds, notice: Tell): void {
  const field = "chargingNeeds.requestedEnergyTransfer";
  if (session.discharge !== undefined && discharge === undefined && supply !== undefined) {
    session.discharge = undefined;
    notice("NOT_BIDIRECTIONAL", field, "the vehicle did not ask to give: it is only charged");
  } else if (session.discharge === undefined && discharge !== undefined) {
    notice("DISCHARGE_NOT_ALLOWED", field, "the session has no discharge: the vehicle is only charged");
  }
  if (session.discharge !== undefined && session.need?.$case !== "stateOfCharge") {
    session.discharge = undefined;
    notice(
      "DISCHARGE_NOT_ALLOWED",
      "chargingNeeds",
      "no state of charge is known: the vehicle is only charged",
    );
  }
  if (session.discharge === undefined || discharge?.maxPowerW === undefined) return;
  const maxPowerW = Math.min(session.discharge.maxPowerW || Number.POSITIVE_INFINITY, discharge.maxPowerW);
  session.discharge = maxPowerW > 0 ? { ...session.discharge, maxPowerW } : undefined;
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

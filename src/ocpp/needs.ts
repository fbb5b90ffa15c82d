import type { Notice, OcppVersion } from "../domain/problem.ts";
import { type Misfit, misfitsOfNeeds, unreadable } from "./shape.ts";
import { timeOf } from "./wire.ts";

/** ACChargingParametersType: a vehicle of ISO 15118-2 on AC. Currents per phase. */
interface AcParameters {
  energyAmount: number;
  evMinCurrent: number;
  evMaxCurrent: number;
  evMaxVoltage: number;
}

/** DCChargingParametersType. */
interface DcParameters {
  evMaxCurrent: number;
  evMaxVoltage: number;
  energyAmount?: number;
  evMaxPower?: number;
  stateOfCharge?: number;
  evEnergyCapacity?: number;
  fullSoC?: number;
  bulkSoC?: number;
}

type ByPhase<Name extends string> = Partial<Record<Name | `${Name}_L2` | `${Name}_L3`, number>>;

/** V2XChargingParametersType: a vehicle of ISO 15118-20, bidirectional or not. */
type V2xParameters = ByPhase<
  "minChargePower" | "maxChargePower" | "minDischargePower" | "maxDischargePower"
> & {
  minChargeCurrent?: number;
  maxChargeCurrent?: number;
  evTargetEnergyRequest?: number;
  evMinEnergyRequest?: number;
  evMaxEnergyRequest?: number;
  evMinV2XEnergyRequest?: number;
  evMaxV2XEnergyRequest?: number;
  targetSoC?: number;
};

/** The payload of NotifyEVChargingNeeds of 2.0.1 and 2.1, as far as it bears on a plan. */
export interface NotifyEvChargingNeeds {
  evseId: number;
  maxScheduleTuples?: number;
  /** 2.1: when the charger got the needs, where it could not send them at once. */
  timestamp?: string;
  chargingNeeds: {
    requestedEnergyTransfer: string;
    acChargingParameters?: AcParameters;
    dcChargingParameters?: DcParameters;
    v2xChargingParameters?: V2xParameters;
    departureTime?: string;
    controlMode?: "ScheduledControl" | "DynamicControl";
  };
}

/** The payload of MeterValues of 1.6, as far as it tells a state of charge. */
export interface MeterValues16 {
  connectorId: number;
  transactionId?: number;
  meterValue: readonly {
    timestamp: string;
    sampledValue: readonly { value: string; measurand?: string; unit?: string }[];
  }[];
}

/** What a vehicle has said of itself; what it did not say is absent. Energies are those at its inlet, which is the meter's. */
export interface VehicleNeeds {
  /** connectorId in 1.6. */
  evseId: number;
  /** What it asks for; absent in 1.6, which does not tell. */
  supply?: "AC" | "DC" | "WPT";
  /** Lines that it draws from on AC. */
  phases?: number;
  energyWh?: number;
  /** To be had as soon as possible; 0: it has that already. */
  minimumWh?: number;
  socPercent?: number;
  targetSocPercent?: number;
  capacityWh?: number;
  bulkSocPercent?: number;
  fullSocPercent?: number;
  /** AC, per phase. */
  maxCurrentA?: number;
  minCurrentA?: number;
  /** Sum over the phases. */
  maxPowerW?: number;
  minPowerW?: number;
  departureMs?: number;
  /** Asked to give back; absent: it only charges. */
  discharge?: {
    maxPowerW?: number;
    /**
     * What it would take in to have just what it keeps while it gives: below 0 where it has more. On the way in, as all
     * that it asks for: less comes out.
     */
    toKeepWh?: number;
  };
  /** What it has room for, at the most. */
  mostWh?: number;
  maxScheduleTuples?: number;
  isDynamic: boolean;
  /** Power on L2 and L3 was told apart. */
  hasPowerByPhase: boolean;
  standard?: "ISO 15118-2" | "ISO 15118-20";
}

/** Needs as read, and what had to be assumed; paths count from the payload. */
export interface ReadNeeds {
  needs: VehicleNeeds;
  notices: Notice[];
}

const PHASES: Readonly<Record<string, number>> = { AC_single_phase: 1, AC_two_phase: 2, AC_three_phase: 3 };
/** Above it a power is a mistake, and nothing that a site has. */
const MOST_POWER_W = 1e9;
/** Needs that are older have changed by what was charged since. */
const OLD_MS = 60_000;

/**
 * Reads NotifyEVChargingNeeds of 2.0.1 or 2.1, or MeterValues of 1.6, which came in at `receivedMs`.
 *
 * Throws INVALID_ARGUMENT with every field that the version does not have or whose value is of another form, and
 * where what is asked for and the parameters do not belong together.
 */
export function readNeeds(payload: unknown, version: OcppVersion, receivedMs: number): ReadNeeds {
  const misfits = misfitsOfNeeds(payload, version);
  if (misfits.length > 0) throw unreadable(misfits);
  if (version === "1.6") return fromMeterValues(payload as MeterValues16);
  return fromNeeds(payload as NotifyEvChargingNeeds, receivedMs);
}

/** Number() would also read 0x10 and Infinity. */
const DECIMAL = /^\s*\d{1,9}(\.\d+)?\s*$/;

function fromMeterValues({ connectorId, meterValue }: MeterValues16): ReadNeeds {
  let newestMs = Number.NEGATIVE_INFINITY;
  let socPercent: number | undefined;
  const misfits: Misfit[] = [];
  for (const [n, { timestamp, sampledValue }] of meterValue.entries()) {
    for (const [i, { measurand, value }] of sampledValue.entries()) {
      if (measurand !== "SoC") continue;
      const soc = DECIMAL.test(value) ? Number(value) : Number.NaN;
      if (!(soc >= 0 && soc <= 100)) {
        const path = `meterValue[${n}].sampledValue[${i}].value`;
        misfits.push({ path, problem: `${JSON.stringify(value.slice(0, 40))} is not from 0 to 100 %` });
      } else if (timeOf(timestamp) >= newestMs) {
        newestMs = timeOf(timestamp);
        socPercent = soc;
      }
    }
  }
  if (socPercent === undefined && misfits.length === 0)
    misfits.push({ path: "meterValue", problem: "has no sampledValue of measurand SoC" });
  if (socPercent === undefined) throw unreadable(misfits);
  const needs = { evseId: connectorId, socPercent, isDynamic: false, hasPowerByPhase: false };
  const notices = misfits.map(({ path, problem }) => ({
    code: "SOC_UNREADABLE",
    field: path,
    message: `${problem}: it is left out`,
  }));
  return { needs, notices };
}

function fromNeeds(payload: NotifyEvChargingNeeds, receivedMs: number): ReadNeeds {
  const { evseId, maxScheduleTuples = 0, timestamp, chargingNeeds } = payload;
  const {
    requestedEnergyTransfer: transfer,
    acChargingParameters: ac,
    dcChargingParameters: dc,
    v2xChargingParameters: v2x,
    controlMode,
  } = chargingNeeds;
  const notices: Notice[] = [];
  const notice = (code: string, field: string, message: string) => {
    notices.push({ code, field: `chargingNeeds.${field}`, message });
  };
  const supply = transfer === "WPT" ? "WPT" : transfer.startsWith("DC") ? "DC" : "AC";
  const misfit = misfitOf(supply, chargingNeeds);
  if (misfit !== undefined) throw unreadable([misfit]);
  const isBidirectional = transfer.includes("BPT");
  const isOf20 = v2x !== undefined || controlMode !== undefined || isBidirectional;
  const phases = PHASES[transfer];
  const needs: VehicleNeeds = {
    evseId,
    supply,
    ...(phases === undefined ? {} : { phases }),
    ...(maxScheduleTuples > 0 ? { maxScheduleTuples } : {}),
    isDynamic: controlMode === "DynamicControl",
    hasPowerByPhase: v2x?.maxChargePower_L2 !== undefined || v2x?.maxChargePower_L3 !== undefined,
    standard: isOf20 ? "ISO 15118-20" : "ISO 15118-2",
  };
  if (ac !== undefined && supply === "AC") {
    needs.energyWh = ac.energyAmount;
    needs.maxCurrentA = ac.evMaxCurrent;
    needs.minCurrentA = ac.evMinCurrent;
  }
  if (dc !== undefined && supply === "DC") addDc(needs, dc, notice);
  if (v2x !== undefined) addV2x(needs, v2x, isBidirectional, notice);

  const { departureTime } = chargingNeeds;
  if (departureTime !== undefined) {
    const departureMs = timeOf(departureTime);
    if (departureMs > receivedMs) needs.departureMs = departureMs;
    else notice("DEPARTURE_PASSED", "departureTime", `${departureTime} has passed: it is left out`);
  }
  const ageMs = timestamp === undefined ? 0 : receivedMs - timeOf(timestamp);
  if (ageMs > OLD_MS) {
    notices.push({
      code: "NEEDS_OLD",
      field: "timestamp",
      message: `the needs are ${Math.round(ageMs / 60_000)} minutes old: what was charged since is not taken off`,
    });
  }
  return { needs, notices };
}

/** Parameters that are missing to the transfer that is asked for, or a least above its most. */
function misfitOf(
  supply: VehicleNeeds["supply"],
  {
    acChargingParameters: ac,
    dcChargingParameters: dc,
    v2xChargingParameters: v2x,
  }: NotifyEvChargingNeeds["chargingNeeds"],
): Misfit | undefined {
  const path = "chargingNeeds";
  if (supply === "AC" && ac === undefined && v2x === undefined)
    return { path: `${path}.acChargingParameters`, problem: "is missing where AC is asked for" };
  if (supply === "DC" && dc === undefined && v2x === undefined)
    return { path: `${path}.dcChargingParameters`, problem: "is missing where DC is asked for" };
  if (ac !== undefined && ac.evMinCurrent > ac.evMaxCurrent)
    return {
      path: `${path}.acChargingParameters.evMinCurrent`,
      problem: `${ac.evMinCurrent} is above evMaxCurrent, ${ac.evMaxCurrent}`,
    };
  const { minChargePower = 0, maxChargePower = Number.POSITIVE_INFINITY } = v2x ?? {};
  if (minChargePower > maxChargePower)
    return {
      path: `${path}.v2xChargingParameters.minChargePower`,
      problem: `${minChargePower} is above maxChargePower, ${maxChargePower}`,
    };
  return undefined;
}

type Tell = (code: string, field: string, message: string) => void;

function addDc(needs: VehicleNeeds, dc: DcParameters, notice: Tell): void {
  const { evMaxPower, evMaxCurrent, evMaxVoltage, energyAmount, stateOfCharge, evEnergyCapacity } = dc;
  needs.maxPowerW = evMaxPower ?? Math.min(MOST_POWER_W, evMaxCurrent * evMaxVoltage);
  if (evMaxPower === undefined) {
    notice(
      "MAX_POWER_ASSUMED",
      "dcChargingParameters.evMaxPower",
      `is not told: ${evMaxCurrent} A x ${evMaxVoltage} V is taken, which a battery never reaches both of`,
    );
  }
  if (energyAmount !== undefined) needs.energyWh = energyAmount;
  if (stateOfCharge !== undefined) needs.socPercent = stateOfCharge;
  if (evEnergyCapacity !== undefined && evEnergyCapacity > 0) needs.capacityWh = evEnergyCapacity;
  const fullSoC = dc.fullSoC === 0 ? undefined : dc.fullSoC;
  if (fullSoC !== undefined) needs.fullSocPercent = fullSoC;
  if (dc.bulkSoC !== undefined && dc.bulkSoC < (fullSoC ?? 100)) needs.bulkSocPercent = dc.bulkSoC;
}

function addV2x(needs: VehicleNeeds, v2x: V2xParameters, isBidirectional: boolean, notice: Tell): void {
  const { evTargetEnergyRequest, evMaxEnergyRequest, evMinEnergyRequest } = v2x;
  const { evMinV2XEnergyRequest, evMaxV2XEnergyRequest } = v2x;
  const lines = needs.phases ?? 3;
  const maxPowerW = sumOf(v2x, "maxChargePower", lines, Math.min);
  if (maxPowerW !== undefined) needs.maxPowerW = Math.min(maxPowerW, needs.maxPowerW ?? maxPowerW);
  const minPowerW = sumOf(v2x, "minChargePower", lines, Math.max);
  if (minPowerW !== undefined && minPowerW > 0) needs.minPowerW = minPowerW;
  if (needs.supply === "AC") {
    if (v2x.maxChargeCurrent !== undefined) needs.maxCurrentA = v2x.maxChargeCurrent;
    if (v2x.minChargeCurrent !== undefined) needs.minCurrentA = v2x.minChargeCurrent;
  }
  const wantsWh = evTargetEnergyRequest ?? evMaxEnergyRequest;
  if (wantsWh !== undefined) needs.energyWh = Math.max(0, Math.min(wantsWh, evMaxEnergyRequest ?? wantsWh));
  if (evTargetEnergyRequest === undefined && evMaxEnergyRequest !== undefined) {
    notice(
      "ENERGY_ASSUMED",
      "v2xChargingParameters.evTargetEnergyRequest",
      "is not told: the vehicle is taken to want all that it has room for, evMaxEnergyRequest",
    );
  }
  if (evMaxEnergyRequest !== undefined) needs.mostWh = Math.max(0, evMaxEnergyRequest);
  if (evMinEnergyRequest !== undefined) needs.minimumWh = Math.max(0, evMinEnergyRequest);
  if (v2x.targetSoC !== undefined) needs.targetSocPercent = v2x.targetSoC;
  if (!isBidirectional) return;
  if (evMaxV2XEnergyRequest !== undefined && evMaxV2XEnergyRequest < 0) {
    needs.discharge = { maxPowerW: 0 };
    notice(
      "DISCHARGE_NOT_ALLOWED",
      "v2xChargingParameters.evMaxV2XEnergyRequest",
      `${evMaxV2XEnergyRequest} Wh is below 0: the vehicle has more than it cycles with, and is only charged`,
    );
    return;
  }
  const dischargeW = sumOf(v2x, "maxDischargePower", lines, Math.min);
  // Both hold: the range to cycle in need not lie above what the vehicle wants at the least.
  const toKeepWh = Math.max(
    evMinV2XEnergyRequest ?? Number.NEGATIVE_INFINITY,
    evMinEnergyRequest ?? Number.NEGATIVE_INFINITY,
  );
  needs.discharge = {
    ...(dischargeW === undefined ? {} : { maxPowerW: dischargeW }),
    ...(Number.isFinite(toKeepWh) ? { toKeepWh } : {}),
  };
}

/**
 * A power over all lines. Where L2 or L3 have one of their own the profile, which is the same on each line, must suit
 * all of them: the lowest for a maximum, the highest for a minimum.
 */
function sumOf(
  v2x: V2xParameters,
  name: "minChargePower" | "maxChargePower" | "maxDischargePower",
  lines: number,
  pick: (...values: number[]) => number,
): number | undefined {
  const onL1 = v2x[name];
  const others = [v2x[`${name}_L2`], v2x[`${name}_L3`]].slice(0, Math.max(0, lines - 1));
  const ofOthers = others.filter((value) => value !== undefined);
  if (ofOthers.length === 0) return onL1;
  return Math.min(MOST_POWER_W, lines * pick(...(onL1 === undefined ? ofOthers : [onL1, ...ofOthers])));
}

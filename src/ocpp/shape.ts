import { WattslotError } from "../domain/errors.ts";
import type { OcppVersion } from "../domain/problem.ts";

/** A place in a message whose form is wrong. */
export interface Misfit {
  /** Of the field, from the message on: chargingSchedule[0].duration. */
  path: string;
  problem: string;
}

type Form =
  | "int"
  | "count"
  | "number"
  | "boolean"
  | "text"
  | `text${number}`
  | "time"
  | "object"
  | readonly string[]
  | Fields
  | ListOf
  | Within;
/** A field whose name ends with an exclamation mark is required. */
type Fields = { readonly [name: string]: Form };
class ListOf {
  readonly form: Form;
  readonly least: number;
  readonly most: number;

  constructor(form: Form, least: number, most: number) {
    this.form = form;
    this.least = least;
    this.most = most;
  }
}

/** A number that makes sense only within bounds. */
class Within {
  readonly least: number;
  readonly most: number;
  readonly isWhole: boolean;

  constructor(least: number, most: number, isWhole: boolean) {
    this.least = least;
    this.most = most;
    this.isWhole = isWhole;
  }

  holds(value: unknown): boolean {
    if (!(this.isWhole ? isInteger(value) : Number.isFinite(value))) return false;
    return (value as number) >= this.least && (value as number) <= this.most;
  }

  get words(): string {
    return `a ${this.isWhole ? "whole number" : "number"} from ${this.least} to ${this.most}`;
  }
}

const PERCENT = new Within(0, 100, true);

/** The largest that a vehicle may say, far above what any has: W, A, V, and Wh of 10 MWh. What is above is a mistake. */
const MOST = { power: 1e9, current: 1e6, voltage: 1e6, energy: 1e7 } as const;

const PURPOSES_2X = [
  "ChargingStationExternalConstraints",
  "ChargingStationMaxProfile",
  "TxDefaultProfile",
  "TxProfile",
] as const;

const PERIOD_16: Fields = { "startPeriod!": "int", "limit!": "number", numberPhases: "int" };

const SCHEDULE_16: Fields = {
  duration: "int",
  startSchedule: "time",
  "chargingRateUnit!": ["A", "W"],
  "chargingSchedulePeriod!": new ListOf(PERIOD_16, 0, Number.POSITIVE_INFINITY),
  minChargingRate: "number",
};

const HEAD: Fields = {
  "stackLevel!": "int",
  recurrencyKind: ["Daily", "Weekly"],
  validFrom: "time",
  validTo: "time",
};

const PROFILE_16: Fields = {
  ...HEAD,
  "chargingProfileId!": "int",
  transactionId: "int",
  "chargingProfilePurpose!": ["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"],
  "chargingProfileKind!": ["Absolute", "Recurring", "Relative"],
  "chargingSchedule!": SCHEDULE_16,
};

const PERIOD_201: Fields = { ...PERIOD_16, phaseToUse: "int", customData: "object" };

const SALES_TARIFF: Fields = {
  "id!": "count",
  salesTariffDescription: "text32",
  numEPriceLevels: "count",
  "salesTariffEntry!": new ListOf(
    {
      "relativeTimeInterval!": { "start!": "int", duration: "int", customData: "object" },
      ePriceLevel: "count",
      consumptionCost: new ListOf(
        {
          "startValue!": "number",
          "cost!": new ListOf(
            {
              "costKind!": [
                "CarbonDioxideEmission",
                "RelativePricePercentage",
                "RenewableGenerationPercentage",
              ],
              "amount!": "int",
              amountMultiplier: "int",
              customData: "object",
            },
            1,
            3,
          ),
          customData: "object",
        },
        1,
        3,
      ),
      customData: "object",
    },
    1,
    1024,
  ),
  customData: "object",
};

const SCHEDULE_201: Fields = {
  ...SCHEDULE_16,
  "id!": "int",
  "chargingSchedulePeriod!": new ListOf(PERIOD_201, 1, 1024),
  salesTariff: SALES_TARIFF,
  customData: "object",
};

const PROFILE_201: Fields = {
  ...HEAD,
  "id!": "int",
  transactionId: "text36",
  "chargingProfilePurpose!": PURPOSES_2X,
  "chargingProfileKind!": ["Absolute", "Recurring", "Relative"],
  "chargingSchedule!": new ListOf(SCHEDULE_201, 1, 3),
  customData: "object",
};

const byPhase = (name: string): Fields => ({
  [name]: "number",
  [`${name}_L2`]: "number",
  [`${name}_L3`]: "number",
});

const { "limit!": _, ...PERIOD_WITHOUT_LIMIT } = PERIOD_201;
const PERIOD_21: Fields = {
  ...PERIOD_WITHOUT_LIMIT,
  ...byPhase("limit"),
  ...byPhase("dischargeLimit"),
  ...byPhase("setpoint"),
  ...byPhase("setpointReactive"),
  preconditioningRequest: "boolean",
  evseSleep: "boolean",
  v2xBaseline: "number",
  operationMode: [
    "Idle",
    "ChargingOnly",
    "CentralSetpoint",
    "ExternalSetpoint",
    "ExternalLimits",
    "CentralFrequency",
    "LocalFrequency",
    "LocalLoadBalancing",
  ],
  v2xFreqWattCurve: new ListOf({ "frequency!": "number", "power!": "number", customData: "object" }, 1, 20),
  v2xSignalWattCurve: new ListOf({ "signal!": "int", "power!": "number", customData: "object" }, 1, 20),
};

const RATIONAL: Fields = { "exponent!": "int", "value!": "int", customData: "object" };

const ABSOLUTE_PRICES: Fields = {
  "timeAnchor!": "time",
  "priceScheduleID!": "count",
  priceScheduleDescription: "text160",
  "currency!": "text3",
  "language!": "text8",
  "priceAlgorithm!": "text2000",
  minimumCost: RATIONAL,
  maximumCost: RATIONAL,
  "priceRuleStacks!": new ListOf(
    {
      "duration!": "int",
      "priceRule!": new ListOf(
        {
          "energyFee!": RATIONAL,
          "powerRangeStart!": RATIONAL,
          parkingFee: RATIONAL,
          parkingFeePeriod: "int",
          carbonDioxideEmission: "count",
          renewableGenerationPercentage: "int",
          customData: "object",
        },
        1,
        8,
      ),
      customData: "object",
    },
    1,
    1024,
  ),
  taxRules: new ListOf("object", 1, 10),
  overstayRuleList: "object",
  additionalSelectedServices: new ListOf("object", 1, 5),
  customData: "object",
};

const PRICE_LEVELS: Fields = {
  "timeAnchor!": "time",
  "priceScheduleId!": "count",
  priceScheduleDescription: "text32",
  "numberOfPriceLevels!": "count",
  "priceLevelScheduleEntries!": new ListOf(
    { "duration!": "int", "priceLevel!": "count", customData: "object" },
    1,
    100,
  ),
  customData: "object",
};

const SCHEDULE_21: Fields = {
  ...SCHEDULE_201,
  "chargingSchedulePeriod!": new ListOf(PERIOD_21, 1, 1024),
  limitAtSoC: { "soc!": "int", "limit!": "number", customData: "object" },
  powerTolerance: "number",
  signatureId: "int",
  digestValue: "text",
  useLocalTime: "boolean",
  randomizedDelay: "int",
  absolutePriceSchedule: ABSOLUTE_PRICES,
  priceLevelSchedule: PRICE_LEVELS,
};

const PROFILE_21: Fields = {
  ...PROFILE_201,
  "chargingProfilePurpose!": [...PURPOSES_2X, "PriorityCharging", "LocalGeneration"],
  "chargingProfileKind!": ["Absolute", "Recurring", "Relative", "Dynamic"],
  "chargingSchedule!": new ListOf(SCHEDULE_21, 1, 3),
  maxOfflineDuration: "int",
  invalidAfterOfflineDuration: "boolean",
  dynUpdateInterval: "int",
  dynUpdateTime: "time",
  priceScheduleSignature: "text",
};

const PROFILES: Record<OcppVersion, Fields> = { "1.6": PROFILE_16, "2.0.1": PROFILE_201, "2.1": PROFILE_21 };

const REQUESTS: Record<OcppVersion, Fields> = {
  "1.6": { "connectorId!": "int", "csChargingProfiles!": PROFILE_16 },
  "2.0.1": { "evseId!": "int", "chargingProfile!": PROFILE_201, customData: "object" },
  "2.1": { "evseId!": "int", "chargingProfile!": PROFILE_21, customData: "object" },
};

const amounts = (isWhole: boolean) => ({
  power: new Within(0, MOST.power, isWhole),
  current: new Within(0, MOST.current, isWhole),
  voltage: new Within(0, MOST.voltage, isWhole),
  energy: new Within(0, MOST.energy, isWhole),
});
/** 2.0.1 has whole numbers. */
const WHOLE = amounts(true);
const AMOUNT = amounts(false);
const SIGNED_ENERGY = new Within(-MOST.energy, MOST.energy, false);

const NEEDS_201: Fields = {
  maxScheduleTuples: "int",
  "evseId!": "int",
  "chargingNeeds!": {
    acChargingParameters: {
      "energyAmount!": WHOLE.energy,
      "evMinCurrent!": WHOLE.current,
      "evMaxCurrent!": WHOLE.current,
      "evMaxVoltage!": WHOLE.voltage,
      customData: "object",
    },
    dcChargingParameters: {
      "evMaxCurrent!": WHOLE.current,
      "evMaxVoltage!": WHOLE.voltage,
      energyAmount: WHOLE.energy,
      evMaxPower: WHOLE.power,
      stateOfCharge: PERCENT,
      evEnergyCapacity: WHOLE.energy,
      fullSoC: PERCENT,
      bulkSoC: PERCENT,
      customData: "object",
    },
    "requestedEnergyTransfer!": ["DC", "AC_single_phase", "AC_two_phase", "AC_three_phase"],
    departureTime: "time",
    customData: "object",
  },
  customData: "object",
};

const TRANSFERS_21 = [
  "AC_single_phase",
  "AC_two_phase",
  "AC_three_phase",
  "DC",
  "AC_BPT",
  "AC_BPT_DER",
  "AC_DER",
  "DC_BPT",
  "DC_ACDP",
  "DC_ACDP_BPT",
  "WPT",
] as const;

/** A power on L1, or on all phases, and on L2 and L3. */
const amountByPhase = (name: string): Fields => ({
  [name]: AMOUNT.power,
  [`${name}_L2`]: AMOUNT.power,
  [`${name}_L3`]: AMOUNT.power,
});

const NEEDS_21: Fields = {
  maxScheduleTuples: "count",
  "evseId!": "int",
  timestamp: "time",
  "chargingNeeds!": {
    acChargingParameters: {
      "energyAmount!": AMOUNT.energy,
      "evMinCurrent!": AMOUNT.current,
      "evMaxCurrent!": AMOUNT.current,
      "evMaxVoltage!": AMOUNT.voltage,
      customData: "object",
    },
    dcChargingParameters: {
      "evMaxCurrent!": AMOUNT.current,
      "evMaxVoltage!": AMOUNT.voltage,
      energyAmount: AMOUNT.energy,
      evMaxPower: AMOUNT.power,
      stateOfCharge: PERCENT,
      evEnergyCapacity: AMOUNT.energy,
      fullSoC: PERCENT,
      bulkSoC: PERCENT,
      customData: "object",
    },
    v2xChargingParameters: {
      ...amountByPhase("minChargePower"),
      ...amountByPhase("maxChargePower"),
      ...amountByPhase("minDischargePower"),
      ...amountByPhase("maxDischargePower"),
      minChargeCurrent: AMOUNT.current,
      maxChargeCurrent: AMOUNT.current,
      minDischargeCurrent: AMOUNT.current,
      maxDischargeCurrent: AMOUNT.current,
      minVoltage: AMOUNT.voltage,
      maxVoltage: AMOUNT.voltage,
      evTargetEnergyRequest: SIGNED_ENERGY,
      evMinEnergyRequest: SIGNED_ENERGY,
      evMaxEnergyRequest: SIGNED_ENERGY,
      evMinV2XEnergyRequest: SIGNED_ENERGY,
      evMaxV2XEnergyRequest: SIGNED_ENERGY,
      targetSoC: PERCENT,
      customData: "object",
    },
    derChargingParameters: "object",
    evEnergyOffer: "object",
    "requestedEnergyTransfer!": TRANSFERS_21,
    availableEnergyTransfer: new ListOf(TRANSFERS_21, 1, Number.POSITIVE_INFINITY),
    controlMode: ["ScheduledControl", "DynamicControl"],
    mobilityNeedsMode: ["EVCC", "EVCC_SECC"],
    departureTime: "time",
    customData: "object",
  },
  customData: "object",
};

const METER_VALUES_16: Fields = {
  "connectorId!": "int",
  transactionId: "int",
  "meterValue!": new ListOf(
    {
      "timestamp!": "time",
      "sampledValue!": new ListOf(
        {
          "value!": "text",
          context: "text",
          format: "text",
          measurand: "text",
          phase: "text",
          location: "text",
          unit: "text",
        },
        0,
        Number.POSITIVE_INFINITY,
      ),
    },
    0,
    Number.POSITIVE_INFINITY,
  ),
};

const NEEDS: Record<OcppVersion, Fields> = {
  "1.6": METER_VALUES_16,
  "2.0.1": NEEDS_201,
  "2.1": NEEDS_21,
};

const EV_SCHEDULE: Record<"2.0.1" | "2.1", Fields> = {
  "2.0.1": {
    "timeBase!": "time",
    "chargingSchedule!": SCHEDULE_201,
    "evseId!": "int",
    customData: "object",
  },
  "2.1": {
    "timeBase!": "time",
    "chargingSchedule!": SCHEDULE_21,
    "evseId!": "int",
    selectedChargingScheduleId: "count",
    powerToleranceAcceptance: "boolean",
    customData: "object",
  },
};

/**
 * Where a value is not what a version tells of a vehicle's needs by its form: NotifyEVChargingNeeds, in 1.6 MeterValues.
 * Amounts below 0 are none, but for the energies that a bidirectional vehicle asks for.
 */
export function misfitsOfNeeds(value: unknown, version: OcppVersion): Misfit[] {
  return misfits(value, NEEDS[version], "");
}

/** The same for a NotifyEVChargingSchedule request. */
export function misfitsOfEvSchedule(value: unknown, version: "2.0.1" | "2.1"): Misfit[] {
  return misfits(value, EV_SCHEDULE[version], "");
}

/** INVALID_ARGUMENT that names every misfit of a payload. */
export function unreadable(misfits: readonly Misfit[]): WattslotError {
  const violations = misfits.map(({ path, problem }) => ({ field: path, description: problem }));
  const [{ field, description }] = violations;
  return new WattslotError("INVALID_ARGUMENT", `can't be read: ${field} ${description}`, { violations });
}

/**
 * Where a value is not a charging profile of a version by its form: fields that are missing, not known, or not of
 * their type. Of taxes, fees and customData only that they are objects is looked at.
 */
export function misfitsOfProfile(value: unknown, version: OcppVersion): Misfit[] {
  return hasForm(value, PROFILES[version]) ? [] : misfits(value, PROFILES[version], "");
}

/** The same for a SetChargingProfile request. */
export function misfitsOfRequest(value: unknown, version: OcppVersion): Misfit[] {
  return hasForm(value, REQUESTS[version]) ? [] : misfits(value, REQUESTS[version], "");
}

/** Whether all is right, which it nearly always is: without writing down where. */
function hasForm(value: unknown, form: Form): boolean {
  if (form === "int") return isInteger(value);
  if (form === "number") return Number.isFinite(value);
  if (typeof form === "string") return misfits(value, form, "").length === 0;
  if (form instanceof ListOf) {
    if (!Array.isArray(value) || value.length < form.least || value.length > form.most) return false;
    return value.every((entry) => hasForm(entry, form.form));
  }
  if (form instanceof Within) return form.holds(value);
  if (Array.isArray(form)) return form.includes(value);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { forms, required } = knownOf(form as Fields);
  for (const name in value) {
    const field = (value as Record<string, unknown>)[name];
    const known = forms.get(name);
    if (field !== undefined && (known === undefined || !hasForm(field, known))) return false;
  }
  return required.every((name) => (value as Record<string, unknown>)[name] !== undefined);
}

const KNOWN = new WeakMap<Fields, { forms: Map<string, Form>; required: string[] }>();

function knownOf(fields: Fields): { forms: Map<string, Form>; required: string[] } {
  const before = KNOWN.get(fields);
  if (before !== undefined) return before;
  const names = Object.keys(fields);
  const known = {
    forms: new Map(names.map((name) => [name.replace("!", ""), fields[name]])),
    required: names.filter((name) => name.endsWith("!")).map((name) => name.slice(0, -1)),
  };
  KNOWN.set(fields, known);
  return known;
}

function misfits(value: unknown, form: Form, path: string): Misfit[] {
  const wrong = (problem: string) => [{ path, problem }];
  if (form instanceof ListOf) {
    if (!Array.isArray(value)) return wrong("is not a list");
    if (value.length < form.least || value.length > form.most) {
      return wrong(`has ${value.length} entries, not ${form.least} to ${form.most}`);
    }
    return value.flatMap((entry, i) => misfits(entry, form.form, `${path}[${i}]`));
  }
  if (form instanceof Within)
    return form.holds(value) ? [] : wrong(`is ${inShort(value)}, not ${form.words}`);
  if (Array.isArray(form)) {
    return form.includes(value) ? [] : wrong(`is ${JSON.stringify(value)}, not one of ${form.join(", ")}`);
  }
  switch (form) {
    case "int":
      return isInteger(value) ? [] : wrong("is not a 32-bit integer");
    case "count":
      return isInteger(value) && (value as number) >= 0 ? [] : wrong("is not a 32-bit integer from 0 on");
    case "number":
      return Number.isFinite(value) ? [] : wrong("is not a finite number");
    case "boolean":
      return typeof value === "boolean" ? [] : wrong("is neither true nor false");
    case "text":
      return typeof value === "string" ? [] : wrong("is not a text");
    case "time":
      return isTime(value) ? [] : wrong("is not a time as in 2026-11-23T08:00:00Z");
  }
  if (typeof form === "string" && form !== "object") {
    const most = Number(form.slice("text".length));
    return typeof value === "string" && value.length <= most
      ? []
      : wrong(`is not a text of up to ${most} characters`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrong("is not an object");
  return form === "object" ? [] : misfitsOfFields(value, form as Fields, path === "" ? "" : `${path}.`);
}

function misfitsOfFields(value: object, fields: Fields, prefix: string): Misfit[] {
  const found: Misfit[] = [];
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue;
    const form = Object.hasOwn(fields, name) ? fields[name] : fields[`${name}!`];
    if (form === undefined || name.endsWith("!"))
      found.push({ path: prefix + name, problem: "is not known" });
    else found.push(...misfits(field, form, prefix + name));
  }
  for (const required of Object.keys(fields)) {
    const name = required.slice(0, -1);
    if (required.endsWith("!") && (value as Record<string, unknown>)[name] === undefined)
      found.push({ path: prefix + name, problem: "is missing" });
  }
  return found;
}

/** A value as JSON, cut where it is long. */
function inShort(value: unknown): string {
  const json = JSON.stringify(value);
  return json.length > 60 ? `${json.slice(0, 60)}…` : json;
}

/** OCPP's integers have 32 bits. */
function isInteger(value: unknown): boolean {
  return typeof value === "number" && (value | 0) === value;
}

/** RFC 3339, where the zone may be missing: some chargers and back ends leave it out. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$/;

function isTime(value: unknown): boolean {
  if (typeof value !== "string" || !TIME.test(value)) return false;
  // A day that does not exist would count as one of the next month.
  const day = value.slice(0, 10);
  const atMs = Date.parse(`${day}T00:00:00Z`);
  return (
    !Number.isNaN(atMs) && new Date(atMs).toISOString().startsWith(day) && !Number.isNaN(Date.parse(value))
  );
}

import { describe, expect, it } from "vitest";
import { type Random, randomOf } from "../../benchmarks/random.ts";
import type { OcppVersion } from "../../src/domain/problem.ts";
import { compositeSchedule } from "../../src/ocpp/composite.ts";
import { type ProfileContext, validateProfile } from "../../src/ocpp/rules.ts";
import { misfitsOfRequest } from "../../src/ocpp/shape.ts";
import type { WireProfile } from "../../src/ocpp/wire.ts";
import { validatorFor } from "../ocpp/schema.ts";

const COUNT = 20_000;
const START_MS = Date.UTC(2026, 10, 23, 8);

const PRICE_FORMS = ["salesTariff", "absolutePriceSchedule", "priceLevelSchedule"];

type Json = Record<string, unknown>;

const time = (random: Random) =>
  `${new Date(START_MS + 1000 * random.int(-400_000, 400_000)).toISOString().slice(0, 19)}Z`;
const tenths = (random: Random, most: number) => random.int(0, 10 * most) / 10;

/** What energy costs, in one of the forms that the version has. */
function prices(random: Random, version: OcppVersion): Json {
  const form = version === "2.0.1" ? "salesTariff" : random.pick(PRICE_FORMS);
  const levels = random.int(1, 5);
  const count = random.int(1, 5);
  const timeAnchor = time(random);
  const list = <T>(entry: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => entry(n));
  if (form === "salesTariff") {
    const salesTariffEntry = list((n) => ({
      relativeTimeInterval: { start: 3600 * n, duration: 3600 },
      ePriceLevel: random.int(0, levels),
      consumptionCost: [
        { startValue: 0, cost: [{ costKind: "RelativePricePercentage", amount: random.int(0, 100) }] },
      ],
    }));
    return { salesTariff: { id: random.int(1, 255), numEPriceLevels: levels, salesTariffEntry } };
  }
  if (form === "priceLevelSchedule") {
    const priceLevelScheduleEntries = list(() => ({ duration: 3600, priceLevel: random.int(0, levels) }));
    const head = { timeAnchor, priceScheduleId: 1, numberOfPriceLevels: levels };
    return { priceLevelSchedule: { ...head, priceLevelScheduleEntries } };
  }
  const priceRuleStacks = list(() => ({
    duration: 3600,
    priceRule: [
      {
        energyFee: { exponent: -3, value: random.int(-100, 500) },
        powerRangeStart: { exponent: 0, value: 0 },
      },
    ],
  }));
  const head = { timeAnchor, priceScheduleID: 1, currency: "EUR", language: "en" };
  return { absolutePriceSchedule: { ...head, priceAlgorithm: "urn:example:power", priceRuleStacks } };
}

/** A SetChargingProfile request that keeps every rule, and what it is for. */
function soundRequest(random: Random, version: OcppVersion): { request: Json; context: ProfileContext } {
  const is16 = version === "1.6";
  const purposes = ["TxProfile", "TxDefaultProfile", "ChargingStationMaxProfile"];
  if (version === "2.1") purposes.push("PriorityCharging", "LocalGeneration");
  const purpose = random.pick(purposes);
  const isOfStation = purpose === "ChargingStationMaxProfile" || purpose === "LocalGeneration";
  const isTx = purpose === "TxProfile";
  const evseId = isOfStation ? 0 : isTx ? random.int(1, 4) : random.int(0, 4);
  const kinds = [
    "Absolute",
    "Recurring",
    ...(isOfStation ? [] : ["Relative"]),
    ...(version === "2.1" ? ["Dynamic"] : []),
  ];
  const kind = random.pick(kinds);
  const isDc = random.chance(0.2);
  const unit = random.pick(["A", "W"]);
  const modes = version === "2.1" && isTx && random.chance(0.4);

  let startPeriod = 0;
  const period = (): Json => {
    const at = startPeriod;
    startPeriod += random.int(1, 7200);
    const mode = modes ? random.pick(["ChargingOnly", "CentralSetpoint", "Idle", undefined]) : undefined;
    const numberPhases = isDc || random.chance(0.3) ? undefined : random.int(1, 3);
    const limit = tenths(random, unit === "A" ? 80 : 50_000);
    return {
      startPeriod: at,
      limit: mode === "Idle" || mode === "CentralSetpoint" ? undefined : limit,
      setpoint: mode === "CentralSetpoint" ? limit * random.pick([1, -1]) : undefined,
      operationMode: mode,
      numberPhases,
      phaseToUse: !is16 && numberPhases === 1 && random.chance(0.3) ? random.int(1, 3) : undefined,
    };
  };
  const needsStart = kind === "Absolute" || kind === "Recurring";
  const schedule = (id: number): Json => {
    startPeriod = 0;
    return {
      id: is16 ? undefined : id,
      startSchedule: needsStart ? time(random) : undefined,
      duration: purpose !== "PriorityCharging" && random.chance(0.4) ? random.int(1, 200_000) : undefined,
      chargingRateUnit: unit,
      minChargingRate: random.chance(0.2) ? tenths(random, 20) : undefined,
      chargingSchedulePeriod: Array.from({ length: kind === "Dynamic" ? 1 : random.int(1, 12) }, period),
      ...(isTx && !is16 && random.chance(0.2) ? prices(random, version) : {}),
    };
  };
  const count = isTx && !is16 && kind !== "Dynamic" && random.chance(0.2) ? random.int(2, 3) : 1;
  const schedules = Array.from({ length: count }, (_, n) => schedule(n + 1));
  const hasValidity = random.chance(0.3);
  const [validFrom, validTo] = [time(random), time(random)].sort();
  const profile: Json = {
    [is16 ? "chargingProfileId" : "id"]: random.int(1, 2 ** 31 - 1),
    stackLevel: random.int(0, 8),
    chargingProfilePurpose:
      is16 && purpose === "ChargingStationMaxProfile" ? "ChargePointMaxProfile" : purpose,
    chargingProfileKind: kind,
    recurrencyKind: kind === "Recurring" ? random.pick(["Daily", "Weekly"]) : undefined,
    validFrom: hasValidity && validFrom < validTo ? validFrom : undefined,
    validTo: hasValidity && validFrom < validTo ? validTo : undefined,
    transactionId: isTx ? (is16 ? 5 : "tx") : undefined,
    chargingSchedule: is16 ? schedules[0] : schedules,
  };
  const request = is16
    ? { connectorId: evseId, csChargingProfiles: profile }
    : { evseId, chargingProfile: profile };
  return {
    request: JSON.parse(JSON.stringify(request)),
    context: {
      version,
      evseId,
      capabilities: { supply: isDc ? "DC" : "AC", maxPeriods: 12, maxStackLevel: 8, rateUnits: ["A", "W"] },
      transaction: { transactionId: is16 ? "5" : "tx", needs: {} },
    },
  };
}

const STRANGE = [
  null,
  "",
  "x",
  -1,
  0,
  0.05,
  4,
  1e9,
  2 ** 31,
  true,
  [],
  {},
  "Absolute",
  "Dynamic",
  "Idle",
  "W",
  "2026-13-01T00:00:00Z",
];

/** The request with one value replaced, taken away, or added that does not belong. */
function mutated(random: Random, request: Json): Json {
  const copy = structuredClone(request);
  const places: [Json, string][] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Object.keys(value)) {
      places.push([value as Json, key]);
      visit((value as Json)[key]);
    }
  };
  visit(copy);
  const [parent, key] = random.pick(places);
  const way = random.int(0, 3);
  if (way === 0 && !Array.isArray(parent)) delete parent[key];
  else if (way === 1 && !Array.isArray(parent))
    parent[
      random.pick([
        "setpoint",
        "limit",
        "duration",
        "colour",
        "validTo",
        "limit_L2",
        "recurrencyKind",
        "evseSleep",
        "transactionId",
      ])
    ] = random.pick(STRANGE);
  else parent[key] = random.pick(STRANGE);
  return copy;
}

/** A day of the profile as a station of one EVSE would have it. */
function composite(profile: WireProfile, { version, evseId, capabilities }: ProfileContext) {
  const own = Math.max(1, evseId);
  return compositeSchedule(
    {
      version,
      installed: [{ evseId, profile }],
      voltageV: 230,
      evses: [
        {
          evseId: own,
          supply: capabilities?.supply ?? "AC",
          maxCurrentA: 63,
          maxPowerW: 43_470,
          transaction: { transactionId: version === "1.6" ? "5" : "tx", startMs: START_MS - 3_600_000 },
        },
      ],
    },
    { evseId: own, startMs: START_MS, endMs: START_MS + 86_400_000, unit: "W" },
  );
}

function profileIn(request: Json): unknown {
  return request.csChargingProfiles ?? request.chargingProfile;
}

function expectSound(profile: unknown, context: ProfileContext): void {
  const periods = composite(profile as WireProfile, context);
  expect(periods[0].startPeriod).toBe(0);
  for (const { limit = 0, setpoint = 0, numberPhases = 3 } of periods) {
    expect(limit).toBeGreaterThanOrEqual(0);
    expect(Number.isFinite(limit) && Number.isFinite(setpoint)).toBe(true);
    expect([1, 2, 3]).toContain(numberPhases);
  }
}

describe.each(["1.6", "2.0.1", "2.1"] as const)("random profiles of %s", (version) => {
  const schemaErrors = validatorFor(version);

  it(`that are sound pass schema and rules, ${COUNT} times`, () => {
    for (let seed = 0; seed < COUNT; seed++) {
      const { request, context } = soundRequest(randomOf(seed), version);
      const wrong = [...schemaErrors(request), ...validateProfile(profileIn(request), context)];
      if (wrong.length > 0) expect({ seed, wrong, request }).toEqual({ seed });
      expectSound(profileIn(request), context);
    }
  });

  it(`with one thing changed are refused or still harmless, ${COUNT} times`, () => {
    let refused = 0;
    for (let seed = 0; seed < COUNT; seed++) {
      const random = randomOf(seed);
      const { request, context: before } = soundRequest(random, version);
      const changed = mutated(random, request);
      const target = changed.evseId ?? changed.connectorId;
      const context = typeof target === "number" ? { ...before, evseId: target } : before;
      const profile = profileIn(changed);
      const isRefused =
        misfitsOfRequest(changed, version).length > 0 || validateProfile(profile, context).length > 0;
      // What the schema refuses, the rules refuse.
      if (!isRefused) expect({ seed, errors: schemaErrors(changed) }).toEqual({ seed, errors: [] });
      if (isRefused) refused++;
      else expectSound(profile, context);
    }
    expect(refused).toBeGreaterThan(COUNT / 3);
    expect(refused).toBeLessThan(COUNT);
  });
});

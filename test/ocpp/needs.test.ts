import { describe, expect, it } from "vitest";
import { randomOf } from "../../benchmarks/random.ts";
import { WattslotError } from "../../src/domain/errors.ts";
import type { OcppVersion } from "../../src/domain/problem.ts";
import { readNeeds } from "../../src/ocpp/needs.ts";
import { randomNeeds } from "../support/needs.ts";
import { validatorFor } from "./schema.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 8);

function violationsOf(payload: unknown, version: OcppVersion): string[] {
  try {
    readNeeds(payload, version, NOW_MS);
  } catch (error) {
    expect(error).toBeInstanceOf(WattslotError);
    expect((error as WattslotError).code).toBe("INVALID_ARGUMENT");
    return (error as WattslotError).violations.map(({ field, description }) => `${field} ${description}`);
  }
  return [];
}

const ac = { energyAmount: 20_000, evMinCurrent: 6, evMaxCurrent: 16, evMaxVoltage: 400 };

describe("a vehicle on AC", () => {
  it.each([
    ["AC_single_phase", 1],
    ["AC_two_phase", 2],
    ["AC_three_phase", 3],
  ])("that asks for %s draws from %i lines, in A of each", (requestedEnergyTransfer, phases) => {
    const chargingNeeds = {
      requestedEnergyTransfer,
      acChargingParameters: ac,
      departureTime: "2026-11-23T16:00:00Z",
    };
    const payload = { evseId: 2, maxScheduleTuples: 12, chargingNeeds };
    expect(readNeeds(payload, "2.0.1", NOW_MS)).toEqual({
      needs: {
        evseId: 2,
        supply: "AC",
        phases,
        energyWh: 20_000,
        minCurrentA: 6,
        maxCurrentA: 16,
        departureMs: NOW_MS + 8 * 3_600_000,
        maxScheduleTuples: 12,
        isDynamic: false,
        hasPowerByPhase: false,
        standard: "ISO 15118-2",
      },
      notices: [],
    });
  });

  it("whose departure has passed has none, and that is said", () => {
    const chargingNeeds = {
      requestedEnergyTransfer: "AC_three_phase",
      acChargingParameters: ac,
      departureTime: "2026-11-23T08:00:00",
    };
    const { needs, notices } = readNeeds({ evseId: 1, chargingNeeds }, "2.0.1", NOW_MS);
    expect(needs.departureMs).toBeUndefined();
    expect(notices).toMatchObject([{ code: "DEPARTURE_PASSED", field: "chargingNeeds.departureTime" }]);
  });
});

describe("a vehicle on DC", () => {
  const dc = { evMaxCurrent: 300, evMaxVoltage: 400 };
  const read = (over: object, version: OcppVersion = "2.0.1") =>
    readNeeds(
      {
        evseId: 1,
        chargingNeeds: { requestedEnergyTransfer: "DC", dcChargingParameters: { ...dc, ...over } },
      },
      version,
      NOW_MS,
    );

  it("tells its state of charge, and where it charges slower", () => {
    const told = {
      evMaxPower: 100_000,
      stateOfCharge: 20,
      evEnergyCapacity: 60_000,
      fullSoC: 95,
      bulkSoC: 80,
    };
    const { needs, notices } = read(told);
    expect(needs).toMatchObject({
      supply: "DC",
      maxPowerW: 100_000,
      socPercent: 20,
      capacityWh: 60_000,
      fullSocPercent: 95,
      bulkSocPercent: 80,
    });
    expect(needs.energyWh).toBeUndefined();
    expect(notices).toEqual([]);
  });

  it("that does not tell its power has current times voltage, with a notice", () => {
    const { needs, notices } = read({ energyAmount: 30_000 });
    expect(needs).toMatchObject({ maxPowerW: 120_000, energyWh: 30_000 });
    expect(notices).toMatchObject([
      { code: "MAX_POWER_ASSUMED", field: "chargingNeeds.dcChargingParameters.evMaxPower" },
    ]);
  });

  it("has no taper from a bulkSoC that is not below fullSoC", () => {
    expect(read({ bulkSoC: 100 }).needs.bulkSocPercent).toBeUndefined();
    expect(read({ bulkSoC: 80, fullSoC: 80 }).needs.bulkSocPercent).toBeUndefined();
  });
});

describe("a vehicle of ISO 15118-20", () => {
  const read = (transfer: string, v2xChargingParameters: object, over: object = {}) =>
    readNeeds(
      { evseId: 1, chargingNeeds: { requestedEnergyTransfer: transfer, v2xChargingParameters, ...over } },
      "2.1",
      NOW_MS,
    );

  it("that may give tells what it has to spare by a wish below 0", () => {
    const { needs } = read("DC_BPT", {
      minChargePower: 1000,
      maxChargePower: 50_000,
      maxDischargePower: 30_000,
      evTargetEnergyRequest: -2000,
      evMinEnergyRequest: -20_000,
      evMaxEnergyRequest: 8000,
      evMinV2XEnergyRequest: -15_000,
    });
    expect(needs).toMatchObject({
      supply: "DC",
      energyWh: 0,
      mostWh: 8000,
      maxPowerW: 50_000,
      minPowerW: 1000,
      discharge: { maxPowerW: 30_000, toKeepWh: -15_000 },
      standard: "ISO 15118-20",
    });
    // It already has its minimum.
    expect(needs.minimumWh).toBe(0);
  });

  it("that may give keeps the more of what it wants to have and what it cycles from", () => {
    const keeps = (v2x: object) => read("AC_BPT", v2x).needs.discharge?.toKeepWh;
    expect(keeps({ evMinEnergyRequest: -9000, evMinV2XEnergyRequest: -9500 })).toBe(-9000);
    expect(keeps({ evMinEnergyRequest: -9500, evMinV2XEnergyRequest: 500 })).toBe(500);
    expect(keeps({ evMinEnergyRequest: -9000 })).toBe(-9000);
    expect(keeps({})).toBeUndefined();
  });

  it("that has more than it cycles with gives nothing", () => {
    const { needs, notices } = read("AC_BPT", { maxDischargePower: 9000, evMaxV2XEnergyRequest: -1 });
    expect(needs.discharge).toEqual({ maxPowerW: 0 });
    expect(notices).toMatchObject([
      {
        code: "DISCHARGE_NOT_ALLOWED",
        field: "chargingNeeds.v2xChargingParameters.evMaxV2XEnergyRequest",
      },
    ]);
  });

  it("wants no more than it has room for", () => {
    const { needs } = read("DC", { evTargetEnergyRequest: 30_000, evMaxEnergyRequest: 10_000 });
    expect(needs.energyWh).toBe(10_000);
  });

  it("with powers on L2 and L3 alone has them on all lines", () => {
    const v2x = { maxChargePower_L2: 2000, maxChargePower_L3: 2500 };
    expect(read("AC_BPT", v2x).needs.maxPowerW).toBe(6000);
    expect(read("AC_single_phase", { ...v2x, maxChargePower: 7000 }).needs.maxPowerW).toBe(7000);
  });

  it("that did not ask to give only charges", () => {
    expect(read("DC", { maxChargePower: 1, maxDischargePower: 1 }).needs.discharge).toBeUndefined();
  });

  it("with powers of its own on L2 and L3 has on all lines what suits each", () => {
    const { needs } = read(
      "AC_three_phase",
      {
        maxChargePower: 3600,
        maxChargePower_L2: 3000,
        maxChargePower_L3: 3400,
        minChargePower: 1300,
        minChargePower_L2: 1400,
      },
      { controlMode: "DynamicControl" },
    );
    expect(needs).toMatchObject({ maxPowerW: 9000, minPowerW: 4200, isDynamic: true, hasPowerByPhase: true });
  });

  it("that tells only the most it has room for is taken to want that", () => {
    const { needs, notices } = read("DC", { evMaxEnergyRequest: 12_000, evMinEnergyRequest: 3000 });
    expect(needs).toMatchObject({ energyWh: 12_000, minimumWh: 3000 });
    expect(notices).toMatchObject([{ code: "ENERGY_ASSUMED" }]);
  });
});

describe("MeterValues of 1.6", () => {
  const sample = (timestamp: string, value: string, measurand?: string) => ({
    timestamp,
    sampledValue: [{ value, ...(measurand === undefined ? {} : { measurand }), unit: "Percent" }],
  });

  it("tell the newest state of charge, whatever their order", () => {
    const meterValue = [
      sample("2026-11-23T08:00:00Z", "41.5", "SoC"),
      sample("2026-11-23T09:30:00+01:00", "43", "SoC"),
      sample("2026-11-23T08:10:00Z", "42", "SoC"),
      sample("2026-11-23T09:00:00Z", "17"),
    ];
    const { needs, notices } = readNeeds({ connectorId: 3, transactionId: 7, meterValue }, "1.6", NOW_MS);
    expect(needs).toMatchObject({ evseId: 3, socPercent: 43 });
    expect(notices).toEqual([]);
  });

  it("with a state of charge that is none go by another, or are refused", () => {
    const bad = sample("2026-11-23T08:00:00Z", "n/a", "SoC");
    const good = sample("2026-11-23T07:00:00Z", "40", "SoC");
    const { needs, notices } = readNeeds({ connectorId: 1, meterValue: [bad, good] }, "1.6", NOW_MS);
    expect(needs.socPercent).toBe(40);
    expect(notices).toMatchObject([{ code: "SOC_UNREADABLE", field: "meterValue[0].sampledValue[0].value" }]);
    for (const value of ["0x10", "1e1", "", "-1", "100.1", "Infinity"]) {
      const strange = sample("2026-11-23T08:00:00Z", value, "SoC");
      expect(violationsOf({ connectorId: 1, meterValue: [strange] }, "1.6"), value).toHaveLength(1);
    }
    expect(violationsOf({ connectorId: 1, meterValue: [bad] }, "1.6")).toEqual([
      'meterValue[0].sampledValue[0].value "n/a" is not from 0 to 100 %',
    ]);
    expect(violationsOf({ connectorId: 1, meterValue: [] }, "1.6")).toEqual([
      "meterValue has no sampledValue of measurand SoC",
    ]);
  });
});

describe("needs that are wrong", () => {
  it("are refused with every field", () => {
    const chargingNeeds = {
      requestedEnergyTransfer: "AC_four_phase",
      acChargingParameters: { ...ac, evMinCurrent: -6, evMaxCurrent: 16.5, energyAmount: undefined },
      departureTime: "tomorrow",
      colour: "red",
    };
    const found = violationsOf({ chargingNeeds }, "2.0.1").map((text) => text.split(" ")[0]);
    expect(found.sort()).toEqual(
      [
        "chargingNeeds.requestedEnergyTransfer",
        "chargingNeeds.acChargingParameters.evMinCurrent",
        "chargingNeeds.acChargingParameters.evMaxCurrent",
        "chargingNeeds.acChargingParameters.energyAmount",
        "chargingNeeds.departureTime",
        "chargingNeeds.colour",
        "evseId",
      ].sort(),
    );
  });

  it.each([
    [{ requestedEnergyTransfer: "DC", acChargingParameters: ac }, "chargingNeeds.dcChargingParameters"],
    [{ requestedEnergyTransfer: "AC_single_phase" }, "chargingNeeds.acChargingParameters"],
    [
      { requestedEnergyTransfer: "AC_single_phase", acChargingParameters: { ...ac, evMinCurrent: 20 } },
      "chargingNeeds.acChargingParameters.evMinCurrent",
    ],
  ])("by what belongs together: %j", (chargingNeeds, field) => {
    expect(violationsOf({ evseId: 1, chargingNeeds }, "2.0.1").map((text) => text.split(" ")[0])).toEqual([
      field,
    ]);
  });

  it("say what no vehicle has, with the value and what it may be", () => {
    const acChargingParameters = { ...ac, energyAmount: 2_000_000_000, evMaxCurrent: 2_000_000 };
    const chargingNeeds = { requestedEnergyTransfer: "AC_single_phase", acChargingParameters };
    expect(violationsOf({ evseId: 1, chargingNeeds }, "2.0.1")).toEqual([
      "chargingNeeds.acChargingParameters.energyAmount is 2000000000, not a whole number from 0 to 10000000",
      "chargingNeeds.acChargingParameters.evMaxCurrent is 2000000, not a whole number from 0 to 1000000",
    ]);
  });

  it("are not objects", () => {
    for (const payload of [null, [], 5, "needs"])
      expect(violationsOf(payload, "2.1")).toEqual([" is not an object"]);
  });
});

describe.each(["2.0.1", "2.1"] as const)("random needs of %s", (version) => {
  it("that the official schema takes are read, and what they say is no less than nothing", () => {
    const errors = validatorFor(version, "NotifyEVChargingNeedsRequest");
    for (let seed = 0; seed < 2000; seed++) {
      const payload = randomNeeds(randomOf(seed), version);
      expect(errors(payload), `seed ${seed}`).toEqual([]);
      const { needs } = readNeeds(payload, version, NOW_MS);
      for (const [name, value] of Object.entries(needs)) {
        if (typeof value === "number") expect(value, `${name}, seed ${seed}`).toBeGreaterThanOrEqual(0);
      }
    }
  });
});

import { describe, expect, it } from "vitest";
import { validatorFor } from "./schema.ts";

const profile16 = (limit: unknown) => ({
  connectorId: 1,
  csChargingProfiles: {
    chargingProfileId: 11,
    transactionId: 5,
    stackLevel: 0,
    chargingProfilePurpose: "TxProfile",
    chargingProfileKind: "Absolute",
    chargingSchedule: {
      startSchedule: "2026-11-23T08:00:00Z",
      chargingRateUnit: "A",
      chargingSchedulePeriod: [{ startPeriod: 0, limit, numberPhases: 3 }],
    },
  },
});

const profile2x = (change: object) => ({
  evseId: 1,
  chargingProfile: {
    id: 11,
    stackLevel: 0,
    chargingProfilePurpose: "TxProfile",
    chargingProfileKind: "Absolute",
    transactionId: "tx",
    chargingSchedule: [
      {
        id: 11,
        startSchedule: "2026-11-23T08:00:00Z",
        chargingRateUnit: "A",
        chargingSchedulePeriod: [{ startPeriod: 0, limit: 16, numberPhases: 3 }],
      },
    ],
    ...change,
  },
});

describe("validatorFor", () => {
  it("takes every tenth in 1.6 and nothing between", () => {
    const validate = validatorFor("1.6");
    for (let tenths = 0; tenths <= 4000; tenths++) expect(validate(profile16(tenths / 10))).toEqual([]);
    expect(validate(profile16(8.15))).not.toEqual([]);
    expect(validate(profile16("8.1"))).not.toEqual([]);
  });

  it.each(["2.0.1", "2.1"] as const)("refuses what the schema of %s does not know", (version) => {
    const validate = validatorFor(version);
    expect(validate(profile2x({}))).toEqual([]);
    expect(validate(profile2x({ chargingProfileId: 11 }))).not.toEqual([]);
    expect(validate(profile2x({ transactionId: 5 }))).not.toEqual([]);
    expect(validate(profile2x({ validFrom: "yesterday" }))).not.toEqual([]);
    expect(validate(profile2x({ chargingSchedule: [] }))).not.toEqual([]);
  });

  it("tells the versions apart", () => {
    expect(validatorFor("1.6")(profile2x({}))).not.toEqual([]);
    expect(validatorFor("2.1")(profile16(16))).not.toEqual([]);
  });
});

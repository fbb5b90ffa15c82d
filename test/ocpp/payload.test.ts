import { describe, expect, it } from "vitest";
import type { ChargingProfile } from "../../src/domain/plan.ts";
import { toPayload } from "../../src/ocpp/payload.ts";
import { evse } from "../support/problems.ts";
import { validatorFor } from "./schema.ts";

const txProfile: ChargingProfile = {
  id: 31,
  stackLevel: 2,
  chargingProfilePurpose: "TxProfile",
  chargingProfileKind: "Absolute",
  transactionId: "4711",
  chargingRateUnit: "A",
  schedules: [
    {
      id: 7,
      startScheduleMs: Date.UTC(2026, 10, 23, 8, 7, 5),
      periods: [
        { startPeriodS: 0, limit: 8.1, numberPhases: 3 },
        { startPeriodS: 475, limit: 0, numberPhases: 3 },
      ],
    },
  ],
};

const txDefaultOnDc: ChargingProfile = {
  ...txProfile,
  id: 32,
  chargingProfilePurpose: "TxDefaultProfile",
  transactionId: undefined,
  chargingRateUnit: "W",
  schedules: [
    {
      ...txProfile.schedules[0],
      periods: [{ startPeriodS: 0, limit: 49_999.9, numberPhases: undefined }],
    },
  ],
};

describe("toPayload", () => {
  it("writes OCPP 1.6: a connector, one schedule without id, the transaction as a number", () => {
    const payload = JSON.parse(toPayload(txProfile, evse({ evseId: 3 }, { version: "1.6" })));
    expect(payload).toStrictEqual({
      connectorId: 3,
      csChargingProfiles: {
        chargingProfileId: 31,
        transactionId: 4711,
        stackLevel: 2,
        chargingProfilePurpose: "TxProfile",
        chargingProfileKind: "Absolute",
        chargingSchedule: {
          startSchedule: "2026-11-23T08:07:05Z",
          chargingRateUnit: "A",
          chargingSchedulePeriod: [
            { startPeriod: 0, limit: 8.1, numberPhases: 3 },
            { startPeriod: 475, limit: 0, numberPhases: 3 },
          ],
        },
      },
    });
    expect(validatorFor("1.6")(payload)).toEqual([]);
  });

  it.each(["2.0.1", "2.1"] as const)("writes OCPP %s: an EVSE, a list of one schedule with id", (version) => {
    const payload = JSON.parse(toPayload(txProfile, evse({ evseId: 3 }, { version })));
    expect(payload).toStrictEqual({
      evseId: 3,
      chargingProfile: {
        id: 31,
        transactionId: "4711",
        stackLevel: 2,
        chargingProfilePurpose: "TxProfile",
        chargingProfileKind: "Absolute",
        chargingSchedule: [
          {
            id: 7,
            startSchedule: "2026-11-23T08:07:05Z",
            chargingRateUnit: "A",
            chargingSchedulePeriod: [
              { startPeriod: 0, limit: 8.1, numberPhases: 3 },
              { startPeriod: 475, limit: 0, numberPhases: 3 },
            ],
          },
        ],
      },
    });
    expect(validatorFor(version)(payload)).toEqual([]);
  });

  it("leaves out the transaction of a TxDefaultProfile and the phases on DC", () => {
    const dc = (version: "1.6" | "2.1") => evse({ evseId: 3, supply: "DC" }, { version });
    const in16 = JSON.parse(toPayload(txDefaultOnDc, dc("1.6")));
    expect(Object.keys(in16.csChargingProfiles)).not.toContain("transactionId");
    expect(in16.csChargingProfiles.chargingSchedule.chargingSchedulePeriod).toStrictEqual([
      { startPeriod: 0, limit: 49_999.9 },
    ]);
    const in21 = JSON.parse(toPayload(txDefaultOnDc, dc("2.1")));
    expect(Object.keys(in21.chargingProfile)).not.toContain("transactionId");
    expect(in21.chargingProfile.chargingSchedule[0].chargingSchedulePeriod).toStrictEqual([
      { startPeriod: 0, limit: 49_999.9 },
    ]);
    expect(validatorFor("1.6")(in16)).toEqual([]);
    expect(validatorFor("2.1")(in21)).toEqual([]);
  });

  it("leaves out startSchedule where times count from the start of the transaction", () => {
    const [schedule] = txProfile.schedules;
    const relative: ChargingProfile = {
      ...txProfile,
      chargingProfileKind: "Relative",
      schedules: [{ ...schedule, startScheduleMs: undefined }],
    };
    for (const version of ["1.6", "2.0.1", "2.1"] as const) {
      const payload = JSON.parse(toPayload(relative, evse({}, { version })));
      const [written] = [payload.csChargingProfiles ?? payload.chargingProfile];
      expect(written.chargingProfileKind).toBe("Relative");
      expect(Object.keys([written.chargingSchedule].flat()[0])).not.toContain("startSchedule");
      expect(validatorFor(version)(payload)).toEqual([]);
    }
  });

  it("has neither duration nor validity nor fractions of a second", () => {
    for (const version of ["1.6", "2.0.1", "2.1"] as const) {
      const json = toPayload(txProfile, evse({}, { version }));
      expect(json).not.toMatch(/duration|validFrom|validTo|operationMode|null|\.\d+Z/);
    }
  });
});

import type { Random } from "../../benchmarks/random.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 8);

/** What a vehicle of one of the standards might say to EVSE `evseId`; what asks for AC and DC by chance. */
export function randomNeeds(random: Random, version: "2.0.1" | "2.1", evseId = 1): object {
  const is21 = version === "2.1";
  const isDc = random.chance(0.4);
  const isOf20 = is21 && random.chance(0.6);
  const amount = (most: number) => (is21 ? Math.round(random.real(0, most) * 10) / 10 : random.int(0, most));
  const some = <T>(chance: number, value: () => T): T | undefined =>
    random.chance(chance) ? value() : undefined;
  const transfers = isDc
    ? isOf20
      ? ["DC", "DC_BPT", "DC_ACDP", "DC_ACDP_BPT"]
      : ["DC"]
    : isOf20
      ? ["AC_single_phase", "AC_three_phase", "AC_BPT", "AC_DER", "AC_BPT_DER"]
      : ["AC_single_phase", "AC_two_phase", "AC_three_phase"];
  const maxCurrent = amount(80);
  const maxPower = amount(isDc ? 300_000 : 22_000);
  const byPhase = !isDc && random.chance(0.3);
  const v2x = () => ({
    maxChargePower: maxPower,
    maxChargePower_L2: byPhase ? maxPower : undefined,
    maxChargePower_L3: byPhase ? maxPower : undefined,
    minChargePower: some(0.5, () => Math.min(maxPower, amount(4000))),
    maxDischargePower: some(0.7, () => amount(20_000)),
    evTargetEnergyRequest: some(0.8, () => random.int(-20_000, 60_000)),
    evMinEnergyRequest: some(0.6, () => random.int(-30_000, 20_000)),
    evMaxEnergyRequest: some(0.8, () => random.int(-1000, 80_000)),
    evMinV2XEnergyRequest: some(0.5, () => random.int(-40_000, 10_000)),
    evMaxV2XEnergyRequest: some(0.5, () => random.int(-10_000, 60_000)),
    targetSoC: some(0.3, () => random.int(0, 100)),
  });
  const ac = () => ({
    energyAmount: amount(80_000),
    evMinCurrent: Math.min(maxCurrent, random.int(0, 10)),
    evMaxCurrent: maxCurrent,
    evMaxVoltage: random.pick([230, 400]),
  });
  const dc = () => ({
    evMaxCurrent: amount(500),
    evMaxVoltage: random.int(200, 920),
    energyAmount: some(0.5, () => amount(80_000)),
    evMaxPower: some(0.6, () => amount(350_000)),
    stateOfCharge: some(0.8, () => random.int(0, 100)),
    evEnergyCapacity: some(0.7, () => amount(120_000)),
    fullSoC: some(0.5, () => random.int(0, 100)),
    bulkSoC: some(0.5, () => random.int(0, 100)),
  });
  const payload = {
    evseId,
    maxScheduleTuples: some(0.6, () => random.pick([0, 1, 2, 3, 12, 1024])),
    timestamp: is21 ? some(0.2, () => new Date(NOW_MS - random.int(0, 3_600_000)).toISOString()) : undefined,
    chargingNeeds: {
      requestedEnergyTransfer: random.pick(transfers),
      ...(isOf20
        ? {
            v2xChargingParameters: v2x(),
            controlMode: some(0.6, () => random.pick(["ScheduledControl", "DynamicControl"])),
          }
        : isDc
          ? { dcChargingParameters: dc() }
          : { acChargingParameters: ac() }),
      ...(isOf20 && isDc && random.chance(0.3) ? { dcChargingParameters: dc() } : {}),
      departureTime: some(0.7, () => new Date(NOW_MS + random.int(-3_600_000, 12 * 3_600_000)).toISOString()),
    },
  };
  return JSON.parse(JSON.stringify(payload));
}

import type { VehicleBattery } from "../src/domain/problem.ts";
import { storedAfter } from "../src/domain/taper.ts";
import { FULL_SHARE } from "../src/grpc/battery.ts";
import { type FastCharge, fastCharges, hasFastCharges } from "../test/support/fast-charges.ts";

// What a charge curve is worth on real fast charges: a full battery is promised for the real stay, at
// the highest power measured all the time, along the default curve, and along a curve fitted on the earlier
// half of the sessions, and compared with the energy that the vehicles of the later half really drew.

// Where bulk charging ends, percent: what the vehicles of the data report, where they do.
const BULK_SOC = 80;
// A session that shows the fall: from where bulk charging still has some way to go, until full.
const FALL_FROM_SOC = 70;
const FULL_SOC = 98;
const HALVINGS = 30;

/** Full power up to a state of charge, percent, then a straight fall to a share of it. */
interface Curve {
  bulkSoc: number;
  fullShare: number;
}

const DEFAULT: Curve = { bulkSoc: BULK_SOC, fullShare: FULL_SHARE };

/** The battery of a session along a curve; its efficiency is what the meter and the states of charge say. */
function batteryOf(one: FastCharge, { bulkSoc, fullShare }: Curve): VehicleBattery {
  const { capacityWh, arrivalSoc, departureSoc, energyWh, maxPowerW } = one;
  return {
    capacityWh,
    storedWh: (arrivalSoc / 100) * capacityWh,
    efficiency: Math.min(1, (((departureSoc - arrivalSoc) / 100) * capacityWh) / energyWh),
    chargeCurve: [
      { storedWh: (bulkSoc / 100) * capacityWh, maxPowerW },
      { storedWh: capacityWh, maxPowerW: fullShare * maxPowerW },
    ],
  };
}

function drawnWh(one: FastCharge, battery: VehicleBattery): number {
  const after = storedAfter(battery, battery.storedWh, one.maxPowerW, one.stayHours);
  return (after - battery.storedWh) / battery.efficiency;
}

/** The share of the full power left when full that explains what a session drew, 0 to 1. */
function fullShareOf(one: FastCharge): number {
  let low = 1e-4;
  let high = 1;
  if (drawnWh(one, batteryOf(one, { bulkSoc: BULK_SOC, fullShare: low })) >= one.energyWh) return 0;
  for (let n = 0; n < HALVINGS; n++) {
    const middle = (low + high) / 2;
    if (drawnWh(one, batteryOf(one, { bulkSoc: BULK_SOC, fullShare: middle })) < one.energyWh) low = middle;
    else high = middle;
  }
  return high;
}

/** Energy, Wh, promised for the stays of all sessions, and what of it was not drawn. */
export interface Promised {
  promisedWh: number;
  missedWh: number;
  /** Sum of what promise and truth differ by. */
  errorWh: number;
}

/** Promises a full battery to each session, along a curve or, without one, at full power all the time. */
export function promise(sessions: readonly FastCharge[], curve: Curve | undefined): Promised {
  const sum = { promisedWh: 0, missedWh: 0, errorWh: 0 };
  for (const one of sessions) {
    const battery = batteryOf(one, curve ?? DEFAULT);
    const promisedWh = drawnWh(one, curve === undefined ? { ...battery, chargeCurve: [] } : battery);
    sum.promisedWh += promisedWh;
    sum.missedWh += Math.max(0, promisedWh - one.energyWh);
    sum.errorWh += Math.abs(promisedWh - one.energyWh);
  }
  return sum;
}

/** The curve whose promises come nearest to what the sessions drew. */
export function fittedCurve(sessions: readonly FastCharge[]): Curve {
  let best = DEFAULT;
  let least = Number.POSITIVE_INFINITY;
  for (let bulkSoc = 0; bulkSoc < 100; bulkSoc += 5) {
    for (let fullShare = 0.01; fullShare < 0.6; fullShare += 0.05) {
      const { errorWh } = promise(sessions, { bulkSoc, fullShare });
      if (errorWh >= least) continue;
      least = errorWh;
      best = { bulkSoc, fullShare };
    }
  }
  return best;
}

function main(): void {
  if (!hasFastCharges) {
    console.log("skipped: the sessions of the fast chargers are not beside the project");
    return;
  }
  const sessions = fastCharges();
  const full = sessions.filter(
    ({ arrivalSoc, departureSoc }) => arrivalSoc <= FALL_FROM_SOC && departureSoc >= FULL_SOC,
  );
  const shares = full.map(fullShareOf).sort((a, b) => a - b);
  const median = (100 * shares[shares.length >> 1]).toFixed(1);
  console.log(`${sessions.length} sessions whose power nobody limited`);
  console.log(`${full.length} of them that ended full: ${median} % of the full power is left then (median)`);
  const middle = sessions.length >> 1;
  const fitted = fittedCurve(sessions.slice(0, middle));
  const rest = sessions.slice(middle);
  const high = rest.filter(({ departureSoc }) => departureSoc > BULK_SOC);
  const fall = `${fitted.bulkSoc} % on to ${(100 * fitted.fullShare).toFixed(0)} %`;
  for (const [name, some] of [
    ["sessions of the later half", rest],
    [`of them that went beyond ${BULK_SOC} %`, high],
  ] as const) {
    console.log(`${some.length} ${name}`);
    for (const [curveName, curve] of [
      ["without a curve", undefined],
      ["default curve", DEFAULT],
      [`falling from ${fall}`, fitted],
    ] as const) {
      const { promisedWh, missedWh } = promise(some, curve);
      const share = ((100 * missedWh) / promisedWh).toFixed(1);
      console.log(
        `  ${curveName.padEnd(26)} ${(promisedWh / 1e6).toFixed(2)} MWh promised, ${share} % missed`,
      );
    }
  }
}

if (process.argv[1]?.endsWith("taper.js")) main();

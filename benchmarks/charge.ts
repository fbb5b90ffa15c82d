import type { OptimizeResponse, PartialRequest } from "../src/index.ts";

export type Session = NonNullable<PartialRequest["sessions"]>[number];
export type Command = NonNullable<OptimizeResponse["sessionPlans"][number]["command"]>;
// biome-ignore lint/suspicious/noExplicitAny: held against the official schema of its version before it is read.
export type Message = Record<string, any>;

/** A vehicle at an EVSE. */
export interface Charge {
  session: Session & { sessionId: string; stationId: string; evseId: number };
  /** What the meter showed when the vehicle needed what the session says; as long as it has not been read, undefined. */
  meterAtNeedWh: number | undefined;
  /** What the vehicle has taken of that by a time. */
  takenWh: number;
  takenByMs: number;
  /** The profile that its charger surely has. */
  told: Profile | undefined;
  /** One that was sent, and that the charger may or may not have. */
  maybe: Profile | undefined;
  /** Its charger did not take a profile: it is left with what it has until something happens. */
  isLeft: boolean;
}

/** A profile, and the power that it allows from a slot boundary on, in slots. */
export interface Profile {
  command: Command;
  startMs: number;
  powerW: number[];
}

/** What InstalledPlan counts in: the optimizer's default. */
export const SLOT_MS = 900_000;

/** A session as it is now; one that outstays its departure counts as staying for the site's default stay. */
export function sessionAt(startTime: Date, charge: Charge): Session {
  catchUp(charge, startTime);
  const { departureTime, need, ...rest } = charge.session;
  return {
    ...rest,
    ...(need && { need: needLeft(need, charge.takenWh) }),
    ...(Number(departureTime) > Number(startTime) && { departureTime }),
  };
}

/** The share of what a meter counts that reaches a battery: the optimizer's own default for DC. */
const EFFICIENCY = 0.95;

/** What is left of a need after a vehicle has taken so much. */
function needLeft(need: NonNullable<Session["need"]>, takenWh: number): NonNullable<Session["need"]> {
  if (need.$case === "energyWh")
    return { $case: "energyWh", value: Math.max(0, Number(need.value) - takenWh) };
  const { socPercent = 0, batteryCapacityWh = 1 } = need.value ?? {};
  const gained = (100 * takenWh * EFFICIENCY) / batteryCapacityWh;
  return { $case: "stateOfCharge", value: { ...need.value, socPercent: Math.min(100, socPercent + gained) } };
}

/** Since its meter was read a vehicle counts as drawing what its charger allows. */
export function catchUp(charge: Charge, now: Date): void {
  const { startMs = 0, powerW = [] } = charge.told ?? {};
  for (const [n, w] of powerW.entries()) {
    const fromMs = Math.max(charge.takenByMs, startMs + n * SLOT_MS);
    const toMs = Math.min(Number(now), startMs + (n + 1) * SLOT_MS);
    charge.takenWh += (w * Math.max(0, toMs - fromMs)) / 3_600_000;
  }
  charge.takenByMs = Number(now);
}

const REGISTER = "Energy.Active.Import.Register";

/** Takes the energy register out of OCPP's meter values of any version. */
export function readMeter(charge: Charge | undefined, meterValues: Message[] = [], now: Date): void {
  if (charge === undefined) return;
  const samples: Message[] = meterValues.flatMap(({ sampledValue }) => sampledValue);
  for (const { measurand = REGISTER, value, unit, unitOfMeasure } of samples) {
    if (measurand !== REGISTER) continue;
    const scale = (unit ?? unitOfMeasure?.unit) === "kWh" ? 1000 : 1;
    const meterWh = Number(value) * scale * 10 ** (unitOfMeasure?.multiplier ?? 0);
    catchUp(charge, now);
    charge.meterAtNeedWh ??= meterWh - charge.takenWh;
    charge.takenWh = meterWh - charge.meterAtNeedWh;
  }
}

export const hasProfile = ({ told, maybe }: Charge): boolean => (told ?? maybe) !== undefined;

/** What the charger's profile allows; where it may have one of two, the higher at each time. */
export function installedW({ told, maybe }: Charge) {
  const profiles = [told, maybe].filter((profile) => profile !== undefined);
  const startMs = Math.max(...profiles.map((profile) => profile.startMs));
  const endMs = Math.max(...profiles.map((profile) => profile.startMs + profile.powerW.length * SLOT_MS));
  const values = Array.from({ length: (endMs - startMs) / SLOT_MS }, (_, n) =>
    Math.max(...profiles.map((one) => one.powerW[(startMs - one.startMs) / SLOT_MS + n] ?? 0)),
  );
  return { startTime: new Date(startMs), stepSeconds: SLOT_MS / 1000, values };
}

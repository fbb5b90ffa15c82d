import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

// Beside the project's folder, where tests and benchmarks are started.
const FILE = resolve("../shared/data/sessions/epfl_level3_dc_sessions.csv");

/** Whether the sessions of DESL-EPFL's fast chargers lie beside the project. */
export const hasFastCharges = existsSync(FILE);

/** A real session at a fast charger whose power nobody limited. */
export interface FastCharge {
  stayHours: number;
  energyWh: number;
  /** Highest power measured. */
  maxPowerW: number;
  capacityWh: number;
  /** States of charge, percent. */
  arrivalSoc: number;
  departureSoc: number;
}

/** Sessions of more than five minutes in which the state of charge rose, by arrival. */
export function fastCharges(): FastCharge[] {
  const [head, ...lines] = readFileSync(FILE, "utf8").trim().split(/\r?\n/);
  // One name holds a comma within quotes.
  const names = head.split(/,(?! 1=)/).map((name) => name.replaceAll('"', ""));
  const sessions = lines.map((line) => {
    const cells = line.split(",");
    const number = (name: string) => Number(cells[names.indexOf(name)] || Number.NaN);
    return {
      arrivalMs: Date.parse(`${cells[names.indexOf("Arrival")].replace(" ", "T")}Z`),
      isControlled: number("Controlled session (0=False, 1=True)") === 1,
      stayHours: number("Stay (min)") / 60,
      energyWh: number("Energy (Wh)"),
      maxPowerW: number("Pmax (W)"),
      capacityWh: number("Energy capacity (Wh)"),
      arrivalSoc: number("SOC arrival"),
      departureSoc: number("SOC departure"),
    };
  });
  return sessions
    .filter(
      ({ isControlled, stayHours, energyWh, maxPowerW, capacityWh, arrivalSoc, departureSoc }) =>
        !isControlled &&
        stayHours > 5 / 60 &&
        energyWh > 0 &&
        maxPowerW > 0 &&
        capacityWh > 0 &&
        departureSoc > arrivalSoc,
    )
    .sort((a, b) => a.arrivalMs - b.arrivalMs);
}

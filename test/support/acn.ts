import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gunzipSync } from "node:zlib";

/** A real charging session: 5-minute periods from 2019-03-01 00:00, energy in kWh. */
export interface AcnSession {
  sessionId: string;
  stationId: string;
  arrival: number;
  departure: number;
  energyKwh: number;
}

// Beside the project's folder, where tests and benchmarks are started.
const DATA = resolve("../shared/data/sessions/acn_caltech_2019-03_events.json.gz");
const GOLDEN = resolve("../shared/golden/acn_offline_lp_golden.csv");
const WIRED = resolve("../shared/golden/acn_three_phase_reference.csv");

/** Whether the data lie beside the project; the tests on them skip where they do not. */
export const hasAcnData = [DATA, GOLDEN, WIRED].every((path) => existsSync(path));

/** The 954 sessions of Caltech's garage in March 2019, by arrival. */
export function acnSessions(): AcnSession[] {
  let document = JSON.parse(gunzipSync(readFileSync(DATA)).toString("utf8"));
  if (typeof document === "string") document = JSON.parse(document);
  const objects: { class: string; attributes: Record<string, unknown> }[] = Object.values(
    document.context_dict,
  );
  return objects
    .filter((object) => object.class.endsWith(".ev.EV"))
    .map(({ attributes }) => ({
      sessionId: String(attributes._session_id),
      stationId: String(attributes._station_id),
      arrival: Number(attributes._arrival),
      departure: Number(attributes._departure),
      energyKwh: Number(attributes._requested_energy),
    }))
    .sort((a, b) => a.arrival - b.arrival || a.sessionId.localeCompare(b.sessionId));
}

/** Published optimum for each cap: share of the energy that can be delivered at all, in percent. */
export function acnGolden(): { capKw: number; deliveredPercent: number }[] {
  return readFileSync(GOLDEN, "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(",").map(Number))
    .filter(([, maxEvseKw]) => maxEvseKw === 6.6)
    .map(([capKw, , deliveredPercent]) => ({ capKw, deliveredPercent }));
}

/** What of the energy the garage's own wiring can deliver at each cap at the most, in percent: bounds of an outer approximation. */
export function acnWiredBounds(): { capKw: number; boundPercent: number }[] {
  return readFileSync(WIRED, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(","))
    .filter(([, algorithm]) => algorithm === "LP")
    .map(([capKw, , percent]) => ({ capKw: Number(capKw), boundPercent: Number(percent) }));
}

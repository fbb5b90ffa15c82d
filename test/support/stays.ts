import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gunzipSync } from "node:zlib";

/** A real session of which the driver said when he would leave. Times are epoch ms. */
export interface SaidStay {
  arrivalMs: number;
  saidMs: number;
  departureMs: number;
  energyWh: number;
}

// Beside the project's folder, where tests and benchmarks are started.
const DATA = resolve("../shared/data/sessions/acn_caltech_2019-05_08.csv.gz");

/** Whether the data lie beside the project. */
export const hasSaidStays = existsSync(DATA);

/** Sessions of Caltech's garage from May to August 2019 whose driver said a departure, by arrival. */
export function saidStays(): SaidStay[] {
  const [head, ...lines] = gunzipSync(readFileSync(DATA)).toString("utf8").trim().split("\n");
  const column = (name: string) => head.split(",").findIndex((title) => title.trim() === name);
  const [arrival, departure, said] = ["arrival", "departure", "estimated_departure"].map(column);
  const energy = column("requested_energy (kWh)");
  return lines
    .map((line) => line.split(","))
    .map((cells) => ({
      arrivalMs: Date.parse(cells[arrival].replace(" ", "T")),
      saidMs: Date.parse(cells[said].replace(" ", "T")),
      departureMs: Date.parse(cells[departure].replace(" ", "T")),
      energyWh: Number(cells[energy]) * 1000,
    }))
    .filter(
      ({ arrivalMs, saidMs, departureMs, energyWh }) =>
        saidMs > arrivalMs && departureMs > arrivalMs && energyWh > 0,
    )
    .sort((a, b) => a.arrivalMs - b.arrivalMs);
}

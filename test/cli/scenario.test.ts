import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readScenario, readScenarioFile } from "../../src/cli/scenario.ts";
import { WattslotError } from "../../src/domain/errors.ts";
import { rangeOver, type Series } from "../../src/domain/series.ts";

const folder = mkdtempSync(join(tmpdir(), "wattslot-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const SITE = `site:
  timeZone: Europe/Berlin
  circuits: [{ circuitId: grid, maxPowerW: 40000 }]
  evses:
    - { stationId: CS, count: 2, evseId: 1, maxCurrentA: 16 }
`;
const TIME = `time: { start: 2026-03-27, days: 4 }
`;
const ROWS = `start,end,kwh,cs
2026-03-27 08:00,2026-03-27 12:00,10,CS1
2026-03-27 09:00,2026-03-27 12:00,8,CS2
`;
const sessions = (csv: string) => `sessions:
  file: ${csv}
  columns: { arrival: start, departure: end, energyKwh: kwh, station: cs }
`;

async function read(text: string) {
  return readScenario(await readScenarioFile(file("s.yaml", text)));
}

/** What is said of a bad scenario, as \`file:line: ...\` with the folder left out. */
async function mistakes(text: string): Promise<string[]> {
  const error = await read(text).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WattslotError);
  expect((error as WattslotError).code).toBe("INVALID_ARGUMENT");
  return (error as WattslotError).violations.map(({ field, description }) =>
    `${field}: ${description}`.replaceAll(`${folder}/`, ""),
  );
}

describe("a scenario", () => {
  test("is a site, a time and sessions, what was said apart from what happened", async () => {
    file(
      "said.csv",
      "start;end;said;kwh;wish;cs\n2026-03-27 08:00;2026-03-27 12:00;2026-03-27T13:30+01:00;10,5;12;CS2\n",
    );
    const { scenario, notes } = await read(
      `${SITE}${TIME}sessions:
  file: said.csv
  columns: { arrival: start, departure: end, saidDeparture: said, energyKwh: kwh, saidEnergyKwh: wish, station: cs }
`,
    );
    expect(notes).toEqual([]);
    expect(scenario.name).toBe("s");
    expect(scenario.base.site.evses.map(({ stationId }) => stationId)).toEqual(["CS1", "CS2"]);
    const [{ said, departureMs, energyWh }] = scenario.visits;
    expect(said).toMatchObject({
      evse: 1,
      energyWh: 12_000,
      arrivalMs: Date.UTC(2026, 2, 27, 7),
      departureMs: Date.UTC(2026, 2, 27, 12, 30),
    });
    expect([departureMs, energyWh]).toEqual([Date.UTC(2026, 2, 27, 11), 10_500]);
  });

  test("has days of the wall clock: four of them are 95 hours when summer time begins", async () => {
    file("a.csv", ROWS);
    const { scenario } = await read(SITE + TIME + sessions("a.csv"));
    expect((scenario.endMs - scenario.startMs) / 3_600_000).toBe(95);
  });

  test("ends when the last vehicle has left; who comes outside its time is left out", async () => {
    file(
      "late.csv",
      `${ROWS}2026-03-30 23:00,2026-03-31 07:10,8,CS1\n2026-04-05 09:00,2026-04-05 12:00,8,CS2\n`,
    );
    const { scenario, notes } = await read(SITE + TIME + sessions("late.csv"));
    expect(new Date(scenario.endMs).toISOString()).toBe("2026-03-31T05:15:00.000Z");
    expect(notes).toEqual(["1 of 4 sessions begin outside the scenario's time and are left out"]);
  });

  test("gives vehicles any EVSE that is free, and counts those that find none", async () => {
    file("any.csv", `${ROWS}2026-03-27 10:00,2026-03-27 11:00,5,\n2026-03-27 12:00,2026-03-27 13:00,5,\n`);
    const { scenario, notes } = await read(`${SITE}${TIME}${sessions("any.csv")}  assign: any\n`);
    expect(scenario.visits.map(({ said }) => said.evse)).toEqual([0, 1, 0]);
    expect(scenario.turnedAwayWh).toEqual([5000]);
    expect(notes).toEqual(["1 of 4 vehicles find no EVSE free and count as not served"]);
  });

  test("knows a battery: its state follows from what the vehicle wants, its capacity bounds it", async () => {
    file("a.csv", ROWS);
    const { scenario } = await read(
      `${SITE}${TIME}vehicle: { stateOfCharge: { batteryCapacityWh: 40000, targetSocPercent: 80 } }\n${sessions("a.csv")}`,
    );
    // 10 kWh at the meter are 9 in the battery: 22.5 % of it.
    expect(scenario.visits[0].said.battery).toMatchObject({ capacityWh: 40_000, efficiency: 0.9 });
    expect(scenario.visits[0].said.battery?.storedWh).toBeCloseTo(0.575 * 40_000, 6);
    expect(scenario.visits[0].said.energyWh).toBeCloseTo(10_000, 6);
  });

  test("reads ACN-Data's JSON: what drivers put in is what they said", async () => {
    file(
      "acn.json",
      JSON.stringify({
        _items: [
          {
            sessionID: "x",
            stationID: "CS1",
            connectionTime: "Fri, 27 Mar 2026 08:00:00 GMT",
            disconnectTime: "Fri, 27 Mar 2026 12:00:00 GMT",
            kWhDelivered: 7.5,
            userInputs: [
              { kWhRequested: 20, requestedDeparture: "Fri, 27 Mar 2026 10:00:00 GMT" },
              { kWhRequested: 9, requestedDeparture: "Fri, 27 Mar 2026 11:00:00 GMT" },
            ],
          },
        ],
      }),
    );
    const { scenario } = await read(`${SITE}${TIME}sessions: { file: acn.json }\n`);
    expect(scenario.visits[0]).toMatchObject({
      energyWh: 7500,
      departureMs: Date.UTC(2026, 2, 27, 12),
      said: { sessionId: "x", energyWh: 9000, departureMs: Date.UTC(2026, 2, 27, 11) },
    });
  });
});

describe("series", () => {
  const loadOf = async (load: string) => {
    file("a.csv", ROWS);
    const site = SITE.replace("maxPowerW: 40000", `maxPowerW: 40000, baseLoadW: ${load}`);
    const { scenario } = await read(site + TIME + sessions("a.csv"));
    const series = scenario.base.site.circuits[0].baseLoadW as Series;
    return (iso: string) => {
      const atMs = Date.parse(iso);
      return rangeOver(series, atMs, atMs + 900_000).mean;
    };
  };
  const hours = (factor: number) => `[${Array.from({ length: 24 }, (_, h) => h * factor).join(", ")}]`;

  test("of a day are on the wall clock, which leaves an hour out", async () => {
    const at = await loadOf(`{ daily: ${hours(1)}, weekend: ${hours(10)}, scale: 2 }`);
    expect(at("2026-03-27T08:00:00+01:00")).toBe(16);
    expect(at("2026-03-29T01:45:00+01:00")).toBe(20);
    // A quarter of an hour after 01:45 it is 03:00.
    expect(at("2026-03-29T01:00:00Z")).toBe(60);
    expect(at("2026-03-30T08:00:00+02:00")).toBe(16);
  });

  test("may be one number, or a column with a unit", async () => {
    expect((await loadOf("1500"))("2026-03-28T00:00:00Z")).toBe(1500);
    const rows = Array.from({ length: 12 * 24 }, (_, h) => {
      const at = new Date(Date.UTC(2026, 2, 26) + h * 3_600_000).toISOString();
      return `${at.slice(0, 16).replace("T", " ")}Z;${h},5`;
    });
    file("load.csv", `when;load kW\n${rows.join("\n")}\n`);
    const at = await loadOf("{ file: load.csv, timeColumn: when, column: load kW, unit: kW }");
    expect(at("2026-03-27T01:00:00Z")).toBe(25_500);
  });

  test("on the wall clock of a file have the doubled hour twice", async () => {
    // Summer time ends on 2026-10-25: 02:00 to 03:00 comes twice.
    const local = ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"].map((hour) => `2026-10-25 ${hour}`);
    const after = Array.from({ length: 19 }, (_, h) => `2026-10-25 ${String(h + 5).padStart(2, "0")}:00`);
    file("autumn.csv", `time,w\n${[...local, ...after].map((at, n) => `${at},${n}`).join("\n")}\n`);
    file("b.csv", "start,end,kwh,cs\n2026-10-25 08:00,2026-10-25 12:00,10,CS1\n");
    const site = SITE.replace("maxPowerW: 40000", "baseLoadW: { file: autumn.csv, column: w }");
    const { scenario } = await read(`${site}time: { start: 2026-10-25, days: 1 }\n${sessions("b.csv")}`);
    expect((scenario.endMs - scenario.startMs) / 3_600_000).toBe(25);
    const { startMs, stepMs, values } = scenario.base.site.circuits[0].baseLoadW as Series;
    expect([startMs, stepMs]).toEqual([Date.UTC(2026, 9, 24, 22), 3_600_000]);
    expect([...values]).toEqual(Array.from({ length: 25 }, (_, n) => n));
  });
});

describe("a bad scenario", () => {
  test("is told all at once, by line, in the words of the file", async () => {
    expect(
      await mistakes(`name: 3
${SITE.replace("40000", ".nan")}time: { start: 2026-03-27, slotMinutes: 7 }
sesions: {}
`),
    ).toEqual([
      "s.yaml:4: site.circuits[0].maxPowerW: must be a finite number, is NaN",
      "s.yaml:1: sessions: is required",
      "s.yaml:8: sesions: is not a field; there are name, site, objective, time, vehicle, sessions, forecast, strategies, sweep",
      "s.yaml:1: name: must be string, is 3",
      "s.yaml:7: time.slotMinutes: must be one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, is 7",
    ]);
  });

  test("has the contract's rules for its site, at the line of what is wrong", async () => {
    file("a.csv", ROWS);
    const site = `site:
  timeZone: Europe/Berlin
  circuits:
    - { circuitId: grid, maxPowerW: -1 }
    - { circuitId: sub, parentCircuitId: gird }
  evses:
    - { stationId: CS, count: 2, evseId: 1, supply: SUPPLY_DC }
    - { stationId: CS9, evseId: 1, maxCurentA: 16 }
  tariff: { currency: euro, pricePerKwh: { daily: [1, 2] } }
`;
    const found = await mistakes(site + TIME + sessions("a.csv"));
    expect(found).toContain(
      "s.yaml:9: site.tariff.pricePerKwh.daily: must be a list of 24, 48 or 96 numbers from midnight on",
    );
    expect(found).toContain("s.yaml:8: site.evses[1].maxCurentA: is not a field of Evse");
    expect(found).toContain("s.yaml:4: site.circuits[0].maxPowerW: must be from 0 to 1000000000, is -1");
    expect(found.some((line) => line.startsWith("s.yaml:5: site.circuits[1].parentCircuitId"))).toBe(true);
    expect(found.filter((line) => line.startsWith("s.yaml:7: site.evses[0].maxPowerW"))).toHaveLength(1);
    expect(found.some((line) => line.startsWith("s.yaml:9: site.tariff.currency"))).toBe(true);
  });

  test("that is no YAML names the line", async () => {
    const [first] = await mistakes("site:\n  a: [1, 2\ntime: 3\n");
    expect(first).toMatch(/^s\.yaml:3: /);
    expect(await mistakes("a: 1\na: 2\n")).toEqual(["s.yaml:2: Map keys must be unique"]);
  });

  test("with a wrong zone, or a time that the clock leaves out", async () => {
    file("a.csv", ROWS);
    expect(await mistakes(SITE.replace("Berlin", "Berln") + TIME + sessions("a.csv"))).toEqual([
      's.yaml:2: site.timeZone: "Europe/Berln" is no IANA zone such as Europe/Berlin',
    ]);
    const [line] = await mistakes(`${SITE}time: { start: 2026-03-29 02:30 }\n${sessions("a.csv")}`);
    expect(line).toContain('time.start: "2026-03-29 02:30" does not exist in Europe/Berlin');
  });
});

describe("a bad file of sessions", () => {
  test.each([
    ["empty", "", ["x.csv: is empty"]],
    ["only a header", "start,end,kwh,cs\n", ["x.csv:1: has no row below the names of the columns"]],
    [
      "another column's name",
      ROWS.replace("start", "Start"),
      [
        'x.csv:1: there is no column "start" (it has Start, end, kwh, cs): name the right one as sessions.columns.arrival',
      ],
    ],
    [
      "times and numbers that are none",
      "start,end,kwh,cs\n27.3.2026,2026-03-27 12:00,10,CS1\n2026-03-27 09:00,2026-03-27 12:00,ten,CS2\n2026-03-27 09:00,,1,CS2\n",
      [
        'x.csv:2: start: "27.3.2026" is no time: write 2026-03-02 08:30, with an offset such as +01:00 where it is not Europe/Berlin\'s',
        'x.csv:3: kwh: "ten" is no number',
        "x.csv:4: end: is empty: when did it leave?",
      ],
    ],
    [
      "a departure before the arrival",
      "start,end,kwh,cs\n2026-03-27 09:00,2026-03-27 08:00,10,CS1\n",
      ["x.csv:2: end: is not after the arrival, 2026-03-27 09:00: correct or remove the row"],
    ],
    [
      "two vehicles at one EVSE",
      `${ROWS}2026-03-27 11:59,2026-03-27 13:00,5,CS1\n`,
      [
        "x.csv:4: arrival: EVSE CS1/1 is taken until 2026-03-27T11:00:00.000Z by the session of line 2: correct one of them",
      ],
    ],
    [
      "a station that the site does not have",
      "start,end,kwh,cs\n2026-03-27 09:00,2026-03-27 10:00,10,CS7\n",
      [
        'x.csv:2: station: the site has no EVSE "CS7": add it under site.evses, or let vehicles take any with sessions.assign: any',
      ],
    ],
    [
      "what the contract refuses",
      "start,end,kwh,cs\n2026-03-27 09:00,2026-03-27 10:00,-3,CS1\n",
      ["x.csv:2: energy_wh: must be from 0 to 1000000000, is -3000"],
    ],
    [
      "too few cells",
      "start,end,kwh,cs\n2026-03-27 09:00,2026-03-27 10:00\n",
      ["x.csv:2: Invalid Record Length: columns length is 4, got 2 on line 2"],
    ],
  ])("%s", async (_, csv, expected) => {
    file("x.csv", csv);
    expect(await mistakes(SITE + TIME + sessions("x.csv"))).toEqual(expected);
  });

  test("that is not there", async () => {
    expect(await mistakes(SITE + TIME + sessions("none.csv"))).toEqual(["none.csv: cannot be read (ENOENT)"]);
  });

  test("of 100 000 rows is streamed; of as many mistakes the first 200 are told", async () => {
    const rows = Array.from({ length: 100_000 }, (_, n) => {
      const at = new Date(Date.UTC(2026, 2, 27) + n * 3000).toISOString();
      return `${at},${at},1,CS1`;
    });
    file("x.csv", `start,end,kwh,cs\n${rows.join("\n")}\n`);
    const found = await mistakes(SITE + TIME + sessions("x.csv"));
    expect(found).toHaveLength(201);
    expect(found[200]).toMatch(/and 99800 more$/);
  });
});

test("the bundled scenarios keep to the schema, and have visits", async () => {
  for (const name of ["workplace", "garage", "depot", "hub", "campus", "v2x"]) {
    const path = new URL(`../../benchmarks/scenarios/${name}.yaml`, import.meta.url).pathname;
    expect(readFileSync(path, "utf8")).toContain("$schema=scenario.schema.json");
    const { scenario } = await readScenario(await readScenarioFile(path));
    expect(scenario.name).toBe(name);
    expect(scenario.visits.length).toBeGreaterThan(10);
  }
});

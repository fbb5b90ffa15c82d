import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SizeResult } from "../../src/cli/size.ts";
import { parseSweep, withValue } from "../../src/cli/sweep.ts";
import type { SimulationResult } from "../../src/planner/result.ts";
import { wattslot } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "wattslot-"));
afterAll(() => rmSync(folder, { recursive: true }));

// Two vehicles that want 22.08 kWh each in four hours, at chargers of 22.08 kW; cheap is the second hour.
const SCENARIO = `name: two
site:
  circuits: [{ circuitId: grid, maxPowerW: 22080 }]
  evses: [{ stationId: CS, count: 2, evseId: 1 }]
  tariff:
    currency: EUR
    pricePerKwh: { daily: [0.4, 0.1, 0.2, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4] }
time: { start: 2026-03-02, end: 2026-03-02 04:00 }
sessions:
  file: two.csv
  columns: { energyKwh: kwh }
strategies: [first-come, wattslot]
`;
const scenario = join(folder, "two.yaml");
beforeAll(() => {
  writeFileSync(scenario, SCENARIO);
  writeFileSync(
    join(folder, "two.csv"),
    "arrival,departure,kwh\n2026-03-02 00:00,2026-03-02 04:00,22.08\n2026-03-02 00:00,2026-03-02 04:00,22.08\n",
  );
});

async function result(args: string[]): Promise<SimulationResult> {
  const { code, stdout, stderr } = await wattslot(["simulate", scenario, "--json", ...args]);
  expect([code, stderr.replace(/^wattslot: wrote .*\n/, "")]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

describe("simulate", () => {
  test("prints a line for each strategy of the scenario, with its bill", async () => {
    const { code, stdout, stderr } = await wattslot(["simulate", scenario]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("two: 2026-03-02 00:00 to 2026-03-02 04:00 UTC");
    // One after the other: 22.08 kWh at 0.40 and as much at 0.10; or at 0.10 and 0.20.
    expect(stdout).toMatch(/first-come +100\.00% +2 +11\.04 +0\.00 +11\.04 +22\.1 +0 /);
    expect(stdout).toMatch(/wattslot +100\.00% +2 +6\.62 +0\.00 +6\.62 +22\.1 +0 /);
  });

  test("--json has every slot and visit; energies add up to the measures", async () => {
    const { scenario, strategies } = await result([]);
    expect(scenario.slotStartsMs).toHaveLength(16);
    expect(scenario.limitW).toEqual(Array(16).fill(22_080));
    expect(scenario.visits.map(({ evse, energyWh }) => [evse, energyWh])).toEqual([
      ["CS1/1", 22_080],
      ["CS2/1", 22_080],
    ]);
    const [first, best] = strategies;
    expect(first.powerW.map(Math.round)).toEqual([...Array(8).fill(22_080), ...Array(8).fill(0)]);
    expect(best.powerW.map(Math.round)).toEqual([
      ...Array(4).fill(0),
      ...Array(8).fill(22_080),
      ...Array(4).fill(0),
    ]);
    for (const { visits, measures, circuits, powerW } of strategies) {
      const drawnWh = visits.reduce((sum, one) => sum + one.slotWh.reduce((wh, slot) => wh + slot, 0), 0);
      expect(drawnWh).toBeCloseTo(measures.deliveredWh, 6);
      expect(circuits[0].powerW).toEqual(powerW);
    }
    // One more kWh at 0.10 saves one at 0.20 at least; after the third hour there is room.
    expect(best.circuits[0].shadowPricePerKwh[4]).toBeGreaterThan(0.099);
    expect(best.circuits[0].shadowPricePerKwh[12]).toBe(0);
  });

  test("--sweep runs each value of a parameter, --strategy one that is asked for", async () => {
    const { sweep, strategies } = await result([
      "--strategy",
      "first-come",
      "--sweep",
      "site.circuits[grid].maxPowerW=5520W..11.04kW step 5520",
    ]);
    expect(strategies.map(({ name }) => name)).toEqual(["first-come"]);
    expect(sweep).toHaveLength(1);
    const [{ parameter, unit, values, strategies: swept }] = sweep!;
    expect([parameter, unit, values]).toEqual(["site.circuits[grid].maxPowerW", "W", [5520, 11_040]]);
    // Four hours of 5520 and of 11 040 W.
    expect(swept[0].points.map(({ deliveredWh }) => Math.round(deliveredWh))).toEqual([22_080, 44_160]);
  });

  test("--csv writes what came of every visit and slot", async () => {
    const rows = join(folder, "rows");
    await result(["--csv", rows, "--strategy", "first-come"]);
    const visits = readFileSync(join(rows, "visits.csv"), "utf8").split("\n");
    expect(visits[1]).toBe(
      "first-come,session-1,CS1/1,2026-03-02T00:00:00Z,2026-03-02T04:00:00Z,2026-03-02T04:00:00Z,22080,22080,2026-03-02T01:00:00Z",
    );
    const slots = readFileSync(join(rows, "slots.csv"), "utf8").split("\n");
    expect(slots[1]).toBe("first-come,2026-03-02T00:00:00Z,0.4,0,0,22080,22080,0");
    expect(slots).toHaveLength(18);
  });

  test("a strategy is a file of a few lines", async () => {
    const mine = join(folder, "mine.mjs");
    const library = new URL("../../dist/src/index.js", import.meta.url).href;
    writeFileSync(
      mine,
      `import { atOnce, inOrder } from ${JSON.stringify(library)};
export default ({ everyMs }) =>
  atOnce("last-come", "Last come, first served", everyMs, (instant) =>
    inOrder(instant, [...instant.waiting].reverse()));
`,
    );
    const { strategies } = await result(["--strategy", mine]);
    expect(strategies[0].title).toBe("Last come, first served");
    expect(strategies[0].visits.map(({ contentMs }) => contentMs)).toEqual([
      Date.UTC(2026, 2, 2, 2),
      Date.UTC(2026, 2, 2, 1),
    ]);
  });

  test.each([
    [
      ["--strategy", "fastest"],
      /there is no strategy "fastest": use uncontrolled, .*hindsight, or a \.js file/,
    ],
    [["--strategy", "./none.js"], /none\.js: cannot be loaded: /],
    [["--sweep", "site.circuits[grit].maxPowerW=1..2 step 1"], /has no site\.circuits\.grit; there are grid/],
    [["--sweep", "site.circuits[grid].maxPowerW=1..2"], /are no values: write 100\.\.500 step 50/],
    [["--csv", "/dev/null/x"], /\/dev\/null\/x: cannot be written/],
  ])("%j is refused with what to do", async (args, message) => {
    const { code, stdout, stderr } = await wattslot([
      "simulate",
      scenario,
      "--strategy",
      "first-come",
      ...args,
    ]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
  });

  test("a bad scenario ends in 2, every mistake on a line of its own", async () => {
    const bad = join(folder, "bad.yaml");
    const sweep = "sweep:\n  site.circuits[grid].maxPowerW: 1..2\n";
    writeFileSync(
      bad,
      SCENARIO.replace("kwh }", "kWh }").replace("EUR", "euro").replace("first-come", "fastest") + sweep,
    );
    const { code, stdout, stderr } = await wattslot(["simulate", bad]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr.replaceAll(`${folder}/`, "").trimEnd().split("\n")).toEqual([
      'bad.yaml:12: strategies[0]: there is no strategy "fastest": use uncontrolled, equal-share, first-come, earliest-deadline, least-laxity, round-robin, wattslot, hindsight, or a .js file',
      "bad.yaml:6: site.tariff.currency: must be three capital letters (ISO 4217)",
      'two.csv:1: there is no column "kWh" (it has arrival, departure, kwh): name the right one as sessions.columns.energyKwh',
    ]);
    writeFileSync(bad, SCENARIO + sweep);
    expect((await wattslot(["simulate", bad])).stderr).toMatch(
      /bad\.yaml:14: sweep\.site\.circuits\[grid\]\.maxPowerW: "1\.\.2" are no values/,
    );
  });
});

describe("size", () => {
  async function size(args: string[]): Promise<SizeResult> {
    const { code, stdout, stderr } = await wattslot(["size", scenario, "--json", ...args]);
    expect([code, stderr]).toEqual([0, ""]);
    return JSON.parse(stdout);
  }

  test("finds the smallest grid connection, and says so", async () => {
    // 44.16 kWh in four hours are 11.04 kW.
    const { smallest, curve, isMonotone, unit } = await size([
      "--target",
      "100%",
      "--strategy",
      "first-come",
      "--step",
      "10W",
    ]);
    expect([smallest, isMonotone, unit]).toEqual([11_040, true, "W"]);
    // 10 W less leave 40 Wh; that is plain only when it is over.
    expect(curve.find(({ value }) => value === 11_030)?.measures?.deliveredWh ?? 0).toBeLessThan(44_159);
    // Of 0 nothing is known but that it is not enough.
    expect(curve[0]).toEqual({ value: 0, isOverloaded: false, measures: null });
    const { stdout } = await wattslot([
      "size",
      scenario,
      "--target",
      "served=50%",
      "--strategy",
      "first-come",
    ]);
    // One of them: 22.08 kWh in four hours, in whole kW.
    expect(stdout).toContain("Smallest that serves the target, served=50%: 6 kW.");
  });

  test("finds the number of chargers", async () => {
    const { parameter, smallest, curve } = await size([
      "--target",
      "100%",
      "--vary",
      "evses",
      "--strategy",
      "first-come",
      "--full-curve",
    ]);
    expect([parameter, smallest]).toEqual(["site.evses[0].count", 2]);
    expect(curve[0].measures).toMatchObject({ turnedAway: 1, visits: 2, served: 1 });
  });

  test("a connection that the base load alone passes is too small", async () => {
    const loaded = join(folder, "loaded.yaml");
    writeFileSync(
      loaded,
      SCENARIO.replace(
        "maxPowerW: 22080",
        "baseLoadW: { daily: [30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], scale: 1000 }",
      ),
    );
    const { stdout } = await wattslot(["size", loaded, "--target", "90%"]);
    expect(stdout).toContain("Smallest that serves the target, 90%: 30 kW.");
    expect(stdout).toContain("base load over a limit");
  });

  test("a target that is none is refused", async () => {
    const { code, stderr } = await wattslot(["size", scenario, "--target", "most"]);
    expect(code).toBe(2);
    expect(stderr).toContain('--target: "most" is no target: write 99% (of the energy)');
  });
});

test("a parameter is found by index or id, and the scenario is left as it was", () => {
  const one = { site: { circuits: [{ circuitId: "grid", maxPowerW: 1 }] } };
  expect(withValue(one, "site.circuits[grid].maxPowerW", 2)).toEqual({
    site: { circuits: [{ circuitId: "grid", maxPowerW: 2 }] },
  });
  expect(withValue(one, "site.circuits[0].maxCurrentA", 3).site).toEqual({
    circuits: [{ circuitId: "grid", maxPowerW: 1, maxCurrentA: 3 }],
  });
  expect(one.site.circuits[0].maxPowerW).toBe(1);
  expect(() => withValue(one, "__proto__.x.y", 1)).toThrow("has no __proto__");
  expect(parseSweep("a.b: 0.1..0.5 step 0.1").values).toEqual([0.1, 0.2, 0.3, 0.4, 0.5]);
  expect(parseSweep("a.b=1k, 2 kW").values).toEqual([1000, 2000]);
});

import { describe, expect, test } from "vitest";
import { formatPlan } from "../../src/cli/table.ts";
import {
  Change,
  ChargingRateUnit,
  OcppVersion,
  OptimizeRequest,
  OptimizeResponse,
  type PartialRequest,
  PlanStatus,
  Preference,
  ShortfallCause,
  SolverKind,
} from "../../src/grpc/client.ts";

type PartialResponse = Parameters<typeof OptimizeResponse.fromPartial>[0];

const PLAIN = { width: 100, colour: false };
/** 08:00 in Berlin. */
const START = Date.UTC(2026, 10, 23, 7);
const at = (hours: number) => new Date(START + hours * 3_600_000);

const request = OptimizeRequest.fromPartial({
  site: {
    siteId: "depot",
    timeZone: "Europe/Berlin",
    circuits: [
      { circuitId: "grid", maxPowerW: 40_000 },
      { circuitId: "hall", parentCircuitId: "grid", maxCurrentA: 32 },
      { circuitId: "yard", parentCircuitId: "grid" },
    ],
    evses: [
      { stationId: "CS1", evseId: 1, circuitId: "hall", ocpp: { version: OcppVersion.OCPP_VERSION_1_6 } },
      { stationId: "CS2", evseId: 2, circuitId: "yard", ocpp: { version: OcppVersion.OCPP_VERSION_2_1 } },
      { stationId: "CS3", evseId: 1 },
    ],
    tariff: { currency: "EUR" },
  },
  slotSeconds: 3600,
  sessions: [
    { sessionId: "a", stationId: "CS1", evseId: 1, departureTime: at(2) },
    { sessionId: "b", stationId: "CS2", evseId: 2, arrivalTime: at(2), departureTime: at(20) },
    { sessionId: "c", stationId: "CS3", evseId: 1 },
  ],
} satisfies PartialRequest);

function profile(chargingRateUnit: ChargingRateUnit, limit: number, numberPhases?: number) {
  const first = { startPeriodSeconds: 0, limit, ...(numberPhases === undefined ? {} : { numberPhases }) };
  return { chargingSchedules: [{ chargingRateUnit, chargingSchedulePeriods: [first] }] };
}

const answer: PartialResponse = {
  siteId: "depot",
  status: PlanStatus.OPTIMAL,
  sessionPlans: [
    {
      sessionId: "a",
      stationId: "CS1",
      evseId: 1,
      command: { pushWave: 1, chargingProfile: profile(ChargingRateUnit.A, 16, 3) },
      powerW: [11_040, 5520, 0, 0],
      plannedEnergyWh: 16_560,
      shortfallWh: 5440,
      shortfallCauses: [ShortfallCause.CIRCUIT_LIMIT, ShortfallCause.MINIMUM_CURRENT],
      change: Change.CHANGED,
      explanation:
        "Misses 5.4 kWh of 22.0 kWh. hall is full 09:00 to 11:00: one more kW for it there would bring 2.0 kWh.",
    },
    {
      sessionId: "b",
      stationId: "CS2",
      evseId: 2,
      command: { pushWave: 2, chargingProfile: profile(ChargingRateUnit.W, 50_000) },
      powerW: [0, 0, 0, 50_000],
      explanation: "Gets all 40.0 kWh from Tue 01:00 to Tue 02:00, at 0.250 EUR a kWh.",
      plannedEnergyWh: 40_000,
      completeTime: at(18),
      change: Change.NEW,
    },
    {
      sessionId: "c",
      stationId: "CS3",
      evseId: 1,
      powerW: [0, 0, 0, 0],
      plannedEnergyWh: 1250,
      completeTime: at(1.5),
      change: Change.UNCHANGED,
    },
  ],
  sitePlan: {
    startTime: at(0),
    slotStartTimes: [at(0), at(1), at(2), at(3)],
    importPowerW: [21_040, 15_520, 0, 50_000],
    circuits: [
      {
        circuitId: "grid",
        powerW: [21_040, 15_520, 0, 35_000],
        limitW: [40_000, 40_000, 40_000, 40_000],
        shadowPricePerKwh: [0, 0, 0, 0],
      },
      {
        circuitId: "hall",
        powerW: [11_040, 5520, 0, 0],
        limitW: [22_080, 5520, 22_080, 22_080],
        shadowPricePerKwh: [0.25, 1.5, 9, 0],
      },
      { circuitId: "yard", powerW: [0, 0, 0, 50_000], limitW: [], shadowPricePerKwh: [0, 0, 0, 0] },
    ],
  },
  summary: {
    requestedEnergyWh: 63_250,
    plannedEnergyWh: 57_810,
    shortfallWh: 5440,
    energyCost: 12.5,
    demandCost: 3.25,
    peakImportW: 50_000,
    uncontrolledCost: 20,
    uncontrolledPeakW: 61_000,
    uncontrolledEnergyWh: 60_000,
    carbonKg: 7.25,
  },
  solve: { solver: SolverKind.GLPK, solveMs: 12.4, totalMs: 20.6, gap: 0.00012, checks: 77 },
  notices: [{ code: "DEPARTURE_ASSUMED", field: "sessions[2].departure_time", message: "4 hours" }],
};

const table = (over: PartialResponse = {}, options = PLAIN, asked = request) =>
  formatPlan(asked, OptimizeResponse.fromPartial({ ...answer, ...over }), options);

const lineOf = (text: string, start: string) => text.split("\n").find((line) => line.startsWith(start)) ?? "";

describe("formatPlan", () => {
  test("prints the vehicles, the circuits, the site and the notices", () => {
    expect(table()).toBe(
      [
        "Site depot: optimal",
        "",
        "vehicle  EVSE   OCPP   need  planned  short  first limit    done by  change           08:00-12:00",
        "a        CS1/1  1.6    22.0     16.6    5.4   3 x 16.0 A          -  changed, wave 1  █▄",
        "b        CS2/2  2.1    40.0     40.0      -      50000 W  Tue 02:00  new, wave 2         █",
        "c        CS3/1  2.0.1   1.3      1.3      -            -      09:30  unchanged",
        "Energy in kWh, times in Europe/Berlin, A per phase. Bars: power, a vehicle's highest is full.",
        "",
        "a: Misses 5.4 kWh of 22.0 kWh. hall is full 09:00 to 11:00: one more kW for it there would bring 2.0",
        "  kWh.",
        "b: Gets all 40.0 kWh from Tue 01:00 to Tue 02:00, at 0.250 EUR a kWh.",
        "",
        "circuit  peak kW  limit kW     at  slots full  a kWh more is worth",
        "grid        35.0      40.0  11:00      0 of 4                    -",
        "hall         5.5       5.5  09:00      3 of 4            9.000 EUR",
        "yard        50.0      none  11:00      0 of 4                    -",
        "While vehicles end short, a kWh more is worth what a missing one counts: above every price.",
        "",
        "Energy   57.8 of 63.3 kWh planned, 5.4 kWh short",
        "Peak     50.0 kW of 40.0 kW; uncontrolled 61.0 kW",
        "Cost     15.75 EUR = energy 12.50 EUR + demand 3.25 EUR; uncontrolled 20.00 EUR for 60.0 kWh",
        "Carbon   7.3 kg",
        "Solved   GLPK, as sent 0.012 % from the bound, 12 ms in the solver, 21 ms in all",
        "Checked  77 checks of the profiles passed",
        "",
        "DEPARTURE_ASSUMED sessions[2].departure_time: 4 hours",
        "",
      ].join("\n"),
    );
  });

  test("leaves the power out where the terminal has no room, and never passes its width otherwise", () => {
    const narrow = table({}, { width: 80, colour: false });
    expect(narrow).not.toContain("█");
    expect(lineOf(narrow, "vehicle")).toMatch(/change$/);
    for (const width of [90, 100, 140]) {
      const lines = table({}, { width, colour: false }).split("\n");
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    }
  });

  test("fits 100 columns with the longest of everything", () => {
    const { sessionPlans, ...rest } = OptimizeResponse.fromPartial(answer);
    const long = { ...sessionPlans[0], sessionId: "s".repeat(255), stationId: "c".repeat(255) };
    const large = { plannedEnergyWh: 1_234_500, shortfallWh: 123_400, completeTime: at(30) };
    const head = formatPlan(request, { ...rest, sessionPlans: [{ ...long, ...large }] }, PLAIN).split(
      "\n\n",
    )[1];
    for (const line of head.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test("says what a fallback is and gives no gap for it", () => {
    const text = table({ status: PlanStatus.FALLBACK, solve: { solver: SolverKind.UNSPECIFIED, checks: 5 } });
    expect(text).toContain("Site depot: fallback, the safe plan made without a solver");
    expect(lineOf(text, "Solved")).toBe("Solved   no solver, 0 ms in the solver, 0 ms in all");
  });

  test("a gap to a bound near 0 is told in money, where the plan is the cheapest", () => {
    const solve = { ...answer.solve, objective: 1.05, bound: 0.15, gap: 6 };
    expect(lineOf(table({ solve }), "Solved")).toContain("as sent 0.90 EUR above the bound");
    const flattest = {
      ...request,
      objective: OptimizeRequest.fromPartial({ objective: { preference: Preference.FLATTEST } }).objective,
    };
    expect(lineOf(table({ solve }, PLAIN, flattest), "Solved")).toContain("600.000 % from the bound");
  });

  test("a vehicle that is expected and has no transaction gets its profile at plug-in", () => {
    const [first] = OptimizeResponse.fromPartial(answer).sessionPlans;
    const expected = { ...first, change: Change.NEW, command: undefined };
    expect(lineOf(table({ sessionPlans: [expected] }), "a ")).toContain("at plug-in");
  });

  test("the least shortfall shows", () => {
    const [first] = OptimizeResponse.fromPartial(answer).sessionPlans;
    const short = {
      ...first,
      plannedEnergyWh: 21_999,
      shortfallWh: 1,
    };
    const text = table({ sessionPlans: [short] });
    expect(lineOf(text, "a ")).toMatch(/22\.0 +22\.0 +<0\.1/);
  });

  test("nothing in an id steers the terminal, and long ids are cut", () => {
    const [first] = OptimizeResponse.fromPartial(answer).sessionPlans;
    const text = table({
      siteId: "x\u001b[2Jy",
      sessionPlans: [
        { ...first, sessionId: "a\u202eb\n" },
        { ...first, sessionId: "vehicle-of-the-night-4711" },
      ],
    });
    expect(text).toContain("Site x?[2Jy");
    expect(text).toContain("\na?b? ");
    expect(text).toContain("\nvehicl…-4711 ");
    expect(text).toContain("\nvehicle-of-the-night-4711: Misses 5.4 kWh of 22.0 kWh.");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });

  test("what to install for the time without a connection is a block of its own", () => {
    const text = table({
      fallbackProfiles: [
        {
          stationId: "CS1",
          evseId: 1,
          powerW: 9246,
          command: { chargingProfile: profile(ChargingRateUnit.A, 13.4, 3) },
        },
        {
          stationId: "CS2",
          evseId: 2,
          powerW: 20_000,
          command: { chargingProfile: profile(ChargingRateUnit.W, 20_000) },
        },
        {
          stationId: "CS1",
          evseId: 0,
          powerW: 22_080,
          command: { chargingProfile: profile(ChargingRateUnit.A, 32, 3) },
        },
      ],
    });
    expect(text.split("\n\n")[4]).toBe(
      [
        "fallback         limit    kW",
        "CS1/1       3 x 13.4 A   9.2",
        "CS2/2          20000 W  20.0",
        "CS1 in all  3 x 32.0 A  22.1",
      ].join("\n"),
    );
  });

  test("colours only where asked to", () => {
    expect(table()).not.toContain("\u001b");
    expect(table({}, { width: 100, colour: true })).toContain("\u001b[1mSite depot: optimal\u001b[22m");
  });

  test("a site without vehicles still has its circuits", () => {
    const text = table({ sessionPlans: [] });
    expect(lineOf(text, "grid")).toContain("35.0");
    expect(lineOf(text, "vehicle")).not.toBe("");
  });
});

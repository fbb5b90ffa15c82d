import { describe, expect, it } from "vitest";
import type { OcppCapabilities, Problem, Session } from "../../src/domain/problem.ts";
import { changeOf } from "../../src/ocpp/change.ts";
import { evse, problem, START_MS, series, session } from "../support/problems.ts";

const MINUTE_MS = 60_000;
const UNCHANGED = { change: "UNCHANGED", pushWave: 2 };
const REDUCED = { change: "CHANGED", pushWave: 1 };
const RAISED = { change: "CHANGED", pushWave: 2 };

interface Installed {
  values: number[];
  startMs?: number;
  stepMinutes?: number;
  stay?: Partial<Session>;
  ocpp?: Partial<OcppCapabilities>;
}

/** One vehicle from 08:00 to 09:00 in four slots; at 230 V and 0.1 A half a step is 34.5 W. */
function site({ values, startMs = START_MS, stepMinutes = 15, stay, ocpp }: Installed): Problem {
  const installed = {
    powerW: series(startMs, stepMinutes * MINUTE_MS, values),
    chargingProfileId: 11,
  };
  return problem({
    site: { ...problem().site, evses: [evse({}, ocpp)] },
    sessions: [session({ departureMs: START_MS + 60 * MINUTE_MS, installed, ...stay })],
    slotStartsMs: [0, 15, 30, 45, 60].map((minutes) => START_MS + minutes * MINUTE_MS),
  });
}

function change(installed: Installed, powerW: number[]) {
  return changeOf(site(installed), 0, Float64Array.from(powerW));
}

describe("changeOf", () => {
  it("is new, in the second wave, without an installed plan", () => {
    expect(changeOf(problem(), 0, new Float64Array(16))).toEqual({ change: "NEW", pushWave: 2 });
  });

  it("is unchanged within half a step", () => {
    const values = [11_040, 11_040, 4140, 0];
    expect(change({ values }, values)).toEqual(UNCHANGED);
    expect(change({ values }, [11_074, 11_006, 4174, 34])).toEqual(UNCHANGED);
    expect(change({ values }, [11_040, 11_040, 4175, 0])).toEqual(RAISED);
    expect(change({ values }, [11_040, 11_040, 4105, 0])).toEqual(REDUCED);
    // A charger of whole amperes: half a step is 345 W. In W it is half a watt.
    expect(change({ values, ocpp: { limitStep: 1 } }, [11_040, 11_040, 4484, 0])).toEqual(UNCHANGED);
    expect(change({ values, ocpp: { rateUnit: "W", limitStep: 1 } }, [11_040, 11_040, 4141, 0])).toEqual(
      RAISED,
    );
  });

  it("goes in the first wave where the first difference is a reduction, whatever follows", () => {
    const values = [7360, 7360, 7360, 7360];
    expect(change({ values }, [7360, 4140, 11_040, 11_040])).toEqual(REDUCED);
    expect(change({ values }, [7360, 11_040, 4140, 0])).toEqual(RAISED);
  });

  it("sees a difference inside a slot", () => {
    // Steps of 5 minutes: the installed plan drops within the second slot, then rises above it.
    const values = [7360, 7360, 7360, 7360, 4140, 9000, 7360];
    expect(change({ values, stepMinutes: 5 }, [7360, 7360, 7360, 7360])).toEqual(RAISED);
    expect(change({ values, stepMinutes: 5 }, [7360, 4140, 7360, 7360])).toEqual(REDUCED);
  });

  it("lets the last installed value hold, and the first one before the series begins", () => {
    expect(change({ values: [7360] }, [7360, 7360, 7360, 7360])).toEqual(UNCHANGED);
    expect(change({ values: [7360, 4140] }, [7360, 4140, 4140, 4140])).toEqual(UNCHANGED);
    expect(change({ values: [7360, 4140] }, [7360, 4140, 4140, 7360])).toEqual(RAISED);
    expect(change({ values: [7360], startMs: START_MS + 20 * MINUTE_MS }, [7360, 7360, 7360, 7360])).toEqual(
      UNCHANGED,
    );
  });

  it("looks at neither the past nor the time before arrival", () => {
    const early = { startMs: START_MS - 30 * MINUTE_MS };
    expect(change({ ...early, values: [0, 22_080, 7360] }, [7360, 7360, 7360, 7360])).toEqual(UNCHANGED);
    const stay = { arrivalMs: START_MS + 30 * MINUTE_MS };
    expect(change({ values: [22_080, 22_080, 7360, 7360], stay }, [0, 0, 7360, 7360])).toEqual(UNCHANGED);
  });

  it("is a reduction where the vehicle now leaves before the installed plan ends", () => {
    const stay = { departureMs: START_MS + 30 * MINUTE_MS };
    expect(change({ values: [7360, 7360, 0, 4140], stay }, [7360, 7360, 0, 0])).toEqual(REDUCED);
    expect(change({ values: [7360, 7360, 0, 0], stay }, [7360, 7360, 0, 0])).toEqual(UNCHANGED);
    // Also when the installed plan reaches further than this one.
    expect(change({ values: [7360, 7360, 7360, 7360, 7360] }, [7360, 7360, 7360, 7360])).toEqual(REDUCED);
  });

  it("is a rise where the vehicle would still give after it now leaves", () => {
    const stay = { departureMs: START_MS + 30 * MINUTE_MS };
    expect(change({ values: [7360, -7360, -7360, 0], stay }, [7360, -7360, 0, 0])).toEqual(RAISED);
    expect(change({ values: [7360, -7360, 0, 0], stay }, [7360, -7360, 0, 0])).toEqual(UNCHANGED);
  });

  it("sees power after departure also in an installed plan that begins only then", () => {
    const startMs = START_MS + 120 * MINUTE_MS;
    expect(change({ values: [7360, 0, 0, 0, 0, 0], startMs }, [7360, 7360, 7360, 7360])).toEqual(REDUCED);
  });

  it("does not take the rest of the slot of departure for power after it", () => {
    const stay = { departureMs: START_MS + 20 * MINUTE_MS };
    expect(change({ values: [7360, 7360, 0, 0], stay }, [7360, 7360, 0, 0])).toEqual(UNCHANGED);
  });

  it("takes the least limit after departure for the safe end of a charger that rejects 0", () => {
    const stay = { departureMs: START_MS + 30 * MINUTE_MS };
    const ocpp = { rejectsZeroLimit: true };
    expect(change({ values: [7360, 7360, 4140, 4140], stay, ocpp }, [7360, 7360, 0, 0])).toEqual(UNCHANGED);
    expect(change({ values: [7360, 7360, 4209, 4209], stay, ocpp }, [7360, 7360, 0, 0])).toEqual(REDUCED);
  });

  it("sends where what is installed is no number", () => {
    expect(change({ values: [7360, Number.NaN] }, [7360, 7360, 7360, 7360])).toEqual(RAISED);
  });
});

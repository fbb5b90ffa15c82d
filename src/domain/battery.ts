import type { Charging } from "./charging.ts";
import type { PowerPlan } from "./plan.ts";
import type { Circuit, Problem } from "./problem.ts";
import { rangeOver, type Series } from "./series.ts";
import { slotProduction, slotPv } from "./surplus.ts";
import { voltagesOf } from "./wiring.ts";

const SITE_BATTERY = "site battery";
const VEHICLES = "vehicles of circuit";

/**
 * The same site with its battery's power known in each slot, W, positive into it: what it charges is
 * a base load of its circuit, what it discharges is production, which makes no room under a limit.
 * While it charges, the whole site stays within `peakW`, so that it never makes a new peak.
 */
export function withBatteryPlan(problem: Problem, powerW: Float64Array, peakW: number): Problem {
  const { site } = problem;
  const pvW = slotPv(problem);
  const [grid, ...others] = site.circuits;
  const charges = powerW.some((w) => w > 0);
  const productionW = slotProduction(problem);
  const limitW = powerW.map((w, k) => (w > 0 ? peakW + productionW[k] : Number.POSITIVE_INFINITY));
  const discharges = powerW.some((w) => w < 0);
  const { battery } = site;
  return {
    ...problem,
    site: {
      ...site,
      battery: undefined,
      pvPowerW: discharges
        ? bySlot(
            problem,
            pvW.map((w, k) => w + Math.max(0, -powerW[k])),
          )
        : site.pvPowerW,
      circuits: charges
        ? [
            { ...grid, maxPowerSeriesW: lower(problem, grid.maxPowerSeriesW, limitW) },
            ...others,
            {
              circuitId: SITE_BATTERY,
              parent: battery?.circuit ?? 0,
              maxPowerW: Number.POSITIVE_INFINITY,
              maxCurrentA: Number.POSITIVE_INFINITY,
              maxPowerSeriesW: undefined,
              baseLoadW: bySlot(
                problem,
                powerW.map((w) => Math.max(0, w)),
              ),
              baseLoadA: [undefined, undefined, undefined],
              transformer: undefined,
            },
          ]
        : site.circuits,
    },
  };
}

/** One value a slot as a series. */
function bySlot({ slotStartsMs: starts }: Problem, values: Float64Array): Series {
  // The first slot may begin late, the last end early; the others are as long as the grid's step.
  const stepMs =
    starts.length > 2 ? Math.max(...starts.slice(1).map((at, k) => at - starts[k])) : starts[1] - starts[0];
  return { startMs: starts.length > 2 ? starts[1] - stepMs : starts[0], stepMs, values };
}

/** The lower of a limit over time, at its lowest in each slot, and one a slot. */
function lower(problem: Problem, series: Series | undefined, limitW: Float64Array): Series {
  if (series === undefined) return bySlot(problem, limitW);
  const starts = problem.slotStartsMs;
  return bySlot(
    problem,
    limitW.map((w, k) => Math.min(w, rangeOver(series, starts[k], starts[k + 1]).min)),
  );
}

/**
 * The same site with its vehicles' powers known in each slot, W: they are base load of their circuits, phase
 * by phase, and what they give is production.
 */
export function withVehiclePlan(problem: Problem, charging: Charging, plan: PowerPlan): Problem {
  const { site } = problem;
  const slotCount = problem.slotStartsMs.length - 1;
  const voltages = voltagesOf(site);
  const loads = new Map<number, Float64Array[]>();
  plan.forEach((powerW, i) => {
    const { circuit } = site.evses[problem.sessions[i].evse];
    const linesA = loads.get(circuit) ?? [0, 1, 2].map(() => new Float64Array(slotCount));
    loads.set(circuit, linesA);
    const { phases } = charging.ranges[i];
    for (const phase of phases) {
      for (let k = 0; k < slotCount; k++)
        linesA[phase - 1][k] += powerW[k] / phases.length / voltages[circuit];
    }
  });
  const vehicles = [...loads].map(([parent, linesA]) => ({
    circuitId: `${VEHICLES} ${parent}`,
    parent,
    maxPowerW: Number.POSITIVE_INFINITY,
    maxCurrentA: Number.POSITIVE_INFINITY,
    maxPowerSeriesW: undefined,
    baseLoadW: undefined,
    baseLoadA: linesA.map((values) => bySlot(problem, values)) as Circuit["baseLoadA"],
    transformer: undefined,
  }));
  const gives = problem.sessions.some(({ discharge }) => discharge?.plannedW !== undefined);
  const pvPowerW = gives ? bySlot(problem, slotProduction(problem)) : site.pvPowerW;
  return { ...problem, sessions: [], site: { ...site, pvPowerW, circuits: [...site.circuits, ...vehicles] } };
}

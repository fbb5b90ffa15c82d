import { HOUR_MS } from "../domain/charging.ts";
import type { Problem } from "../domain/problem.ts";
import { exportPrices } from "../domain/surplus.ts";
import { slotCarbon, slotPrices } from "../domain/tariff.ts";
import type { Scenario } from "./scenario.ts";
import { CONTENT_WH, otherLoadWh, type Run } from "./simulate.ts";

/** What a run is judged by. Energies at the meter; money in the tariff's currency, 0 without one. */
export interface Measures {
  requestedWh: number;
  /** What of it the vehicles left with; what they charged again for what they gave is not in it. */
  deliveredWh: number;
  /** What the vehicles gave. */
  givenWh: number;
  /** Visits that got all but half a Wh of what they wanted. */
  served: number;
  /** All vehicles that came. */
  visits: number;
  /** Those of them that found no charger free. */
  turnedAway: number;
  /** Share of its wish that a visit got: the lowest, the tenth, half and nine tenths of them lie below. */
  shares: { least: number; p10: number; p50: number; p90: number };
  /** Jain's index of the shares: 1 where all are equal, 1 / visits where one has all. */
  jain: number;
  /** Mean share of the tenth of the visits that got least. */
  worstDecile: number;
  /** Of all import, base load included, less what export is paid and what drivers are paid for discharge. */
  energyCost: number;
  exportRevenue: number;
  dischargePayment: number;
  /** To bring the site's battery back to what it began with, at the mean price; negative where it ends with more. */
  storageCost: number;
  /** On the highest mean import over a demand window. */
  demandCost: number;
  totalCost: number;
  /** The same without any vehicle and with an idle battery: what is not charging's to change. */
  baseCost: number;
  importWh: number;
  exportWh: number;
  /** Highest mean import over a demand window, or over a slot where that is longer, W. */
  peakW: number;
  /** Highest power of the vehicles at any instant, W. */
  highestChargingW: number;
  /** Mean import over its peak. */
  loadFactor: number;
  carbonKg: number;
  interruptions: number;
  /** New profiles for a visit that had one, on average. */
  changesPerVisit: number;
  /** Times that what chargers allowed would have passed a limit. */
  violations: number;
  /** Plans of the engine that failed its own check and were replaced. */
  faults: number;
  decisions: number;
  decisionMs: { p50: number; p99: number };
}

/** Reckons what a run delivered and cost. */
export function measureRun(scenario: Scenario, run: Run): Measures {
  const { visits } = scenario;
  const { turnedAwayWh } = scenario;
  const shares = visits
    .map(({ energyWh }, i) => (energyWh > 0 ? run.visits[i].metWh / energyWh : 1))
    .concat(turnedAwayWh.map(() => 0));
  const sorted = Float64Array.from(shares).sort();
  const sum = shares.reduce((a, b) => a + b, 0);
  const squares = shares.reduce((a, b) => a + b * b, 0);
  const decile = sorted.subarray(0, Math.ceil(sorted.length / 10));
  const drawn = run.chargedWh.map((wh, k) => wh + run.batteryWh[k]);
  const bill = billOf(scenario, run, drawn);
  const dischargePayment = visits.reduce(
    (paid, { said }, i) => paid + ((said.discharge?.pricePerKwh ?? 0) * run.visits[i].givenWh) / 1000,
    0,
  );
  const storageCost = storageCostOf(scenario, run);
  const times = Float64Array.from(run.decisionMs).sort();
  const hours = (scenario.endMs - scenario.startMs) / HOUR_MS;
  return {
    requestedWh:
      visits.reduce((wh, { energyWh }) => wh + energyWh, 0) + turnedAwayWh.reduce((wh, one) => wh + one, 0),
    deliveredWh: run.visits.reduce((wh, { metWh }) => wh + metWh, 0),
    givenWh: run.visits.reduce((wh, { givenWh }) => wh + givenWh, 0),
    served: run.visits.filter(({ metWh }, i) => metWh >= visits[i].energyWh - CONTENT_WH).length,
    visits: shares.length,
    turnedAway: turnedAwayWh.length,
    shares: {
      least: quantile(sorted, 0),
      p10: quantile(sorted, 0.1),
      p50: quantile(sorted, 0.5),
      p90: quantile(sorted, 0.9),
    },
    jain: squares === 0 ? 1 : (sum * sum) / (shares.length * squares),
    worstDecile: decile.length === 0 ? 1 : decile.reduce((a, b) => a + b, 0) / decile.length,
    ...bill,
    dischargePayment,
    storageCost,
    totalCost: bill.totalCost + dischargePayment + storageCost,
    baseCost: billOf(scenario, run, new Float64Array(drawn.length)).totalCost,
    highestChargingW: run.highestW,
    loadFactor: bill.peakW > 0 ? bill.importWh / hours / bill.peakW : 1,
    interruptions: run.visits.reduce((count, { interruptions }) => count + interruptions, 0),
    changesPerVisit:
      visits.length === 0 ? 0 : run.visits.reduce((n, { changes }) => n + changes, 0) / visits.length,
    violations: run.excessCount,
    faults: run.faults,
    decisions: times.length,
    decisionMs: { p50: quantile(times, 0.5), p99: quantile(times, 0.99) },
  };
}

/** Without it, a run that empties the battery by its end would look cheaper than it is. */
function storageCostOf({ base }: Scenario, { batteryGainWh, slotStartsMs }: Run): number {
  const { battery } = base.site;
  if (battery === undefined) return 0;
  const prices = slotPrices({ ...base, sessions: [], slotStartsMs, notices: [] });
  const meanPrice = prices.reduce((sum, price) => sum + price, 0) / prices.length;
  const meteredWh =
    batteryGainWh < 0 ? batteryGainWh / battery.efficiency : batteryGainWh * battery.efficiency;
  return (-meteredWh * meanPrice) / 1000;
}

type Bill = Pick<
  Measures,
  "energyCost" | "exportRevenue" | "demandCost" | "totalCost" | "importWh" | "exportWh" | "peakW" | "carbonKg"
>;

/** What a site pays for what its vehicles and its battery draw in each slot, Wh, beside everything else. */
function billOf({ base, slotMs }: Scenario, { slotStartsMs }: Run, drawnWh: Float64Array): Bill {
  const problem: Problem = { ...base, sessions: [], slotStartsMs, notices: [] };
  const prices = slotPrices(problem);
  const paid = exportPrices(problem);
  const carbon = slotCarbon(problem);
  const other = otherLoadWh(problem);
  const { tariff } = base.site;
  const windowMs = Math.max(tariff?.demandWindowMs ?? 0, slotMs);
  const windows = new Map<number, number>();
  const bill = { energyCost: 0, exportRevenue: 0, importWh: 0, exportWh: 0, carbonKg: 0 };
  drawnWh.forEach((wh, k) => {
    const netWh = wh + other[k];
    const importWh = Math.max(0, netWh);
    const exportWh = Math.max(0, -netWh);
    bill.importWh += importWh;
    bill.exportWh += exportWh;
    bill.energyCost += (prices[k] * importWh) / 1000;
    bill.exportRevenue += (paid[k] * exportWh) / 1000;
    bill.carbonKg += (carbon[k] * importWh) / 1e6;
    const window = Math.floor(slotStartsMs[k] / windowMs);
    windows.set(window, (windows.get(window) ?? 0) + importWh);
  });
  const peakWh = [...windows.values()].reduce((most, wh) => Math.max(most, wh), 0);
  const peakW = peakWh / (windowMs / HOUR_MS);
  const freeW = tariff?.demandPeakSoFarW ?? 0;
  const demandCost = ((tariff?.demandPricePerKw ?? 0) * Math.max(0, peakW - freeW)) / 1000;
  return { ...bill, peakW, demandCost, totalCost: bill.energyCost + demandCost - bill.exportRevenue };
}

/** The value below which a share of sorted values lies; 0 where there are none. */
function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

import { expect, it } from "vitest";
import { withVehiclePlan } from "../../src/domain/battery.ts";
import { chargingOf } from "../../src/domain/charging.ts";
import { slotBaseLoad } from "../../src/domain/load.ts";
import { circuit, evse, problem, session } from "../support/problems.ts";

it("vehicles whose powers are known are as much load on either side of a transformer", () => {
  const transformer = { winding: "DELTA_WYE" as const, primaryVoltageV: 277 };
  const one = problem({
    site: {
      ...problem().site,
      nominalVoltageV: 120,
      circuits: [circuit(), circuit({ circuitId: "panel", parent: 0, transformer })],
      evses: [evse(), evse({ stationId: "CS2", circuit: 1 })],
    },
    sessions: [session(), session({ sessionId: "b", evse: 1 })],
  });
  const slots = one.slotStartsMs.length - 1;
  const plan = [new Float64Array(slots).fill(9000), new Float64Array(slots).fill(4500)];
  const load = slotBaseLoad(withVehiclePlan(one, chargingOf(one), plan));
  for (const w of load) expect(w).toBeCloseTo(13_500, 6);
});

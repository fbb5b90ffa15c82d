import { expect, it } from "vitest";
import { fittedCurve, promise } from "../benchmarks/taper.ts";
import { fastCharges, hasFastCharges } from "./support/fast-charges.ts";

// Without the data beside the project the test is skipped.
it.skipIf(!hasFastCharges)(
  "on real fast charges less of what is promised along a charge curve is missed",
  () => {
    const sessions = fastCharges();
    const [first, second] = [sessions.slice(0, 230), sessions.slice(230)];
    const missed = ({ missedWh, promisedWh }: { missedWh: number; promisedWh: number }) =>
      missedWh / promisedWh;
    const without = missed(promise(second, undefined));
    const byBulk = missed(promise(second, { bulkSoc: 80, fullShare: 0.01 }));
    expect(byBulk).toBeLessThan(without);
    expect(missed(promise(second, fittedCurve(first)))).toBeLessThan(byBulk / 2);
  },
);

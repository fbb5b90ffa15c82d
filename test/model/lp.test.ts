import { describe, expect, it } from "vitest";
import { chargingOf } from "../../src/domain/charging.ts";
import { formulate } from "../../src/model/formulate.ts";
import { formatLp, LpBuilder, split } from "../../src/model/lp.ts";
import { relaxedOptimum, textOptimum } from "../support/oracle.ts";
import { randomProblem } from "../support/problems.ts";

describe("a linear program", () => {
  it("reads as mathematics", () => {
    const builder = new LpBuilder();
    const x = builder.addColumn(2, 0, 4);
    const y = builder.addColumn(-1.5, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY);
    builder.addEntry(x, 1);
    builder.addEntry(y, -3);
    builder.endRow(1, 5);
    builder.addEntry(y, 1);
    builder.endRow(2, 2);
    expect(formatLp(builder.build())).toBe(
      [
        "Minimize",
        " cost: + 2 x0 - 1.5 x1",
        "Subject To",
        " r0: + 1 x0 - 3 x1 <= 5",
        " r0_low: + 1 x0 - 3 x1 >= 1",
        " r1: + 1 x1 = 2",
        "Bounds",
        " 0 <= x0 <= 4",
        " -inf <= x1 <= +inf",
        "End",
        "",
      ].join("\n"),
    );
  });

  it("prints so that another program can solve it", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const one = randomProblem(seed, { vehicles: [1, 6], hours: 6 });
      const { lp } = formulate(one, chargingOf(one), true);
      const reference = await relaxedOptimum(lp);
      const read = await textOptimum(formatLp(lp));
      expect(Math.abs(read - reference) / Math.max(1, Math.abs(reference)), `seed ${seed}`).toBeLessThan(
        1e-6,
      );
    }
  });

  it("splits into parts whose optima add up, whatever the size of the packs", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const one = randomProblem(seed, { vehicles: [2, 12], hours: 12 });
      const { lp } = formulate(one, chargingOf(one), true);
      const reference = await relaxedOptimum(lp);
      for (const packColumns of [1, 100, 1e9]) {
        const parts = split(lp, packColumns);
        const columns = parts.flatMap((part) => [...part.columns]).sort((a, b) => a - b);
        expect(columns).toEqual(Array.from({ length: lp.columnCount }, (_, j) => j));
        expect(parts.flatMap((part) => [...part.rows]).length).toBe(lp.rowCount);
        let total = 0;
        for (const part of parts) total += await relaxedOptimum(part.lp);
        expect(Math.abs(total - reference) / Math.max(1, Math.abs(reference)), `seed ${seed}`).toBeLessThan(
          1e-6,
        );
      }
    }
  });
});

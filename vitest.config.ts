import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that solve for longest: one of them started last would keep one core busy while the others idle. */
const LONGEST = ["crash", "safety", "everything", "realdata", "offers", "optimality", "goldens"];

class LongestFirst extends BaseSequencer {
  async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) =>
      LONGEST.some((name) => moduleId.endsWith(`/${name}.test.ts`));
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Real solves, real servers and child processes on a busy machine; no test waits for the clock.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Vitest leaves one core to itself, which is half of two; it only waits while tests run.
    maxWorkers: "100%",
    sequence: { sequencer: LongestFirst },
    coverage: {
      provider: "v8",
      include: ["src/**"],
      // What runs in a browser is tested there.
      exclude: ["src/gen/**", "src/planner/report/client.ts"],
      reporter: ["text-summary", "json-summary"],
      thresholds: { lines: 90 },
    },
  },
});

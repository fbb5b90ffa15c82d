import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";

const demo = fileURLToPath(new URL("../../dist/benchmarks/demo.js", import.meta.url));

let stdout: string;
let stderr: string;
beforeAll(async () => {
  // Rejects on any exit code but 0.
  ({ stdout, stderr } = await promisify(execFile)(process.execPath, [demo]));
});

test("the demo prints all 20 vehicles, served but for the one that leaves too soon", () => {
  expect(stderr).toBe("");
  const rows = [...stdout.matchAll(/^(v\d\d) +CS\d\d\/1 +(1\.6|2\.0\.1|2\.1) +([\d.]+) +([\d.]+) /gm)];
  expect(rows.map(([, vehicle]) => vehicle)).toEqual(
    Array.from({ length: 20 }, (_, n) => `v${String(n + 1).padStart(2, "0")}`),
  );
  expect(new Set(rows.map(([, , version]) => version))).toEqual(new Set(["1.6", "2.0.1", "2.1"]));
  const short = rows.filter(([, , , need, planned]) => Number(need) - Number(planned) > 0.15);
  expect(short.map(([, vehicle]) => vehicle)).toEqual(["v15"]);
  expect(stdout).toMatch(/^v15: Misses 38\.2 kWh of 63\.2 kWh\. 50\.0 kW, the most that its charger gives/m);
});

test("the demo shows the site against its limits and against uncontrolled charging", () => {
  const [, peak, limit, uncontrolled] = /^Peak +([\d.]+) kW of ([\d.]+) kW; uncontrolled ([\d.]+) kW$/m
    .exec(stdout)!
    .map(Number);
  expect(limit).toBe(110);
  expect(peak).toBeLessThanOrEqual(limit);
  expect(peak).toBeLessThan(uncontrolled);
  const [, cost, dearer] = /^Cost +([\d.]+) EUR = .* uncontrolled ([\d.]+) EUR(?: for [\d.]+ kWh)?$/m
    .exec(stdout)!
    .map(Number);
  expect(cost).toBeLessThan(dearer);
});

test("the demo shows a profile that is ready to send", () => {
  const [, json] = /ready to send:\n(.*)$/s.exec(stdout)!;
  const { chargingProfile } = JSON.parse(json);
  expect(chargingProfile.chargingProfilePurpose).toBe("TxProfile");
});

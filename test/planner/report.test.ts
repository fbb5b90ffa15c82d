import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { clockOf, netPowerW, percentOf } from "../../src/planner/report/chart.ts";
import { chartsOf, firstView } from "../../src/planner/report/charts.ts";
import { chartSvgs, reportHtml } from "../../src/planner/report/page.ts";
import { kneeOf } from "../../src/planner/report/sweep.ts";
import type { SimulationResult } from "../../src/planner/result.ts";
import { CHROMIUM } from "../support/chromium.ts";
import { wattslot } from "../support/command.ts";

// A battery, the sun, vehicles that give, and a swept parameter: every chart has something to show.
const folder = mkdtempSync(join(tmpdir(), "wattslot-report-"));
const page = join(folder, "out", "report.html");
let result: SimulationResult;
beforeAll(async () => {
  const { code, stdout, stderr } = await wattslot([
    "simulate",
    "benchmarks/scenarios/v2x.yaml",
    "--json",
    ...["--strategy", "uncontrolled", "--strategy", "wattslot", "--strategy", "hindsight"],
    ...["--sweep", "site.circuits[grid].maxPowerW=40kW..80kW step 40kW"],
    ...["--report", page, "--svg", join(folder, "svg")],
  ]);
  expect(code).toBe(0);
  expect(stderr).toMatch(/^wattslot: wrote \S+report\.html\nwattslot: wrote \S+comparison\.svg, .*\n$/);
  result = JSON.parse(stdout);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe("without a browser", () => {
  test("the page is the same for the same result", () => {
    expect(reportHtml(result)).toBe(readFileSync(page, "utf8"));
  });

  test("the page has every assumption that was made", () => {
    expect(result.source).toBe(readFileSync("benchmarks/scenarios/v2x.yaml", "utf8"));
    expect(readFileSync(page, "utf8")).toContain(`${result.source.trim().split("\n").at(-1)}`);
  });

  test("--svg writes every chart as a picture of its own, in plain colours", () => {
    const files = readdirSync(join(folder, "svg")).sort();
    expect(files).toEqual(
      ["circuits", "comparison", "duration", "power", "sweep-1", "vehicles"].map((id) => `${id}.svg`),
    );
    for (const [name, svg] of chartSvgs(result)) {
      expect(svg).toBe(readFileSync(join(folder, "svg", name), "utf8"));
      expect(svg).toMatch(/^<svg width="1160" height="\d+"/);
      expect(svg).not.toContain("var(");
    }
  });

  test("texts and tables carry the result's figures", () => {
    const view = firstView(result, 1000);
    const one = result.strategies[view.strategy];
    expect(one.name).toBe("wattslot");
    const [comparison, power, , circuits, duration] = chartsOf(result);
    const share = percentOf(one.measures.deliveredWh, one.measures.requestedWh).toFixed(1);
    expect(comparison.summary(view)).toContain(`Wattslot delivers ${share} %`);
    const net = netPowerW(result.scenario, one);
    expect(power.summary(view)).toContain(`${(Math.max(...net) / 1000).toFixed(1)} kW of at most 80 kW`);
    // Two days of 48 half-hours, by the hour.
    const hours = power.table(view).slice(1);
    expect(hours).toHaveLength(48);
    const gridKw = hours.map(([, , , , kw]) => Number(kw.replace("\u2212", "-")));
    const meanKw = net.reduce((sum, w) => sum + w, 0) / net.length / 1000;
    expect(gridKw.reduce((sum, kw) => sum + kw, 0) / 48).toBeCloseTo(meanKw, 1);
    const [, , , highestUse] = circuits.table(view)[1];
    expect(Number(highestUse)).toBe(Math.round(Math.max(...one.circuits[0].powerW) / 800));
    const [, always, , , , , , never] = duration.table(view)[1];
    const uncontrolled = netPowerW(result.scenario, result.strategies[0]);
    expect(always).toBe((Math.max(...uncontrolled) / 1000).toFixed(1));
    expect(never.replace("\u2212", "-")).toBe((Math.min(...uncontrolled) / 1000).toFixed(1));
  });

  test("a knee is where a curve bends most, and a straight or flat one has none", () => {
    // From 50 to 90 in the first of four steps, then by 2, 2, 1 %: as far as can be from the line of its ends.
    expect(kneeOf([10, 20, 30, 40, 50], [50, 90, 92, 94, 95])).toBe(1);
    expect(kneeOf([10, 20, 30, 40, 50], [100, 40, 35, 32, 30])).toBe(1);
    expect(kneeOf([10, 20, 30], [50, 60, 70])).toBeUndefined();
    expect(kneeOf([10, 20, 30], [99.98, 100, 100])).toBeUndefined();
    expect(kneeOf([10, 20], [50, 60])).toBeUndefined();
  });

  test("days and times are those of the site, also where the clock changes", () => {
    const startMs = Date.parse("2026-03-28T23:00:00Z");
    const clock = clockOf({ ...result.scenario, timeZone: "Europe/Berlin", startMs });
    expect(clock.full(startMs)).toBe("Sun 29 Mar 00:00");
    // 01:30 in summer time, which began at 01:00 UTC.
    expect(clock.full(Date.parse("2026-03-29T23:30:00Z"))).toBe("Mon 30 Mar 01:30");
    expect(clock.toAxis(startMs)).toBe(Date.parse("2026-03-29T00:00:00Z"));
    expect(clock.fromAxis(clock.toAxis(startMs))).toBe(startMs);
  });
});

describe.skipIf(CHROMIUM === undefined)("in Chromium", () => {
  let browser: Browser;
  const mistakes: string[] = [];
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: CHROMIUM as string,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    });
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    expect(mistakes.splice(0)).toEqual([]);
    for (const context of browser.contexts()) await context.close();
  });

  async function open(options: BrowserContextOptions, file = page): Promise<Page> {
    const opened = await (await browser.newContext(options)).newPage();
    opened.on("console", (message) => mistakes.push(message.text()));
    opened.on("pageerror", (error) => mistakes.push(error.message));
    opened.on("dialog", (dialog) => {
      mistakes.push(dialog.message());
      void dialog.dismiss();
    });
    opened.on("request", (request) => {
      if (request.url() !== `file://${file}`) mistakes.push(request.url());
    });
    await opened.goto(`file://${file}`);
    return opened;
  }

  const CHARTS = ["comparison", "power", "vehicles", "circuits", "duration", "sweep-1"];

  test.each([
    ["at 1280 pixels", { viewport: { width: 1280, height: 900 } }],
    ["at 390 pixels", { viewport: { width: 390, height: 844 } }],
    ["in the dark", { viewport: { width: 1280, height: 900 }, colorScheme: "dark" as const }],
  ])("every chart is drawn as wide as there is room %s", async (_name, options) => {
    const opened = await open(options);
    for (const id of CHARTS) {
      const drawn = opened.locator(`#${id} .chart svg`);
      const box = await drawn.boundingBox();
      const room = await opened.locator(`#${id} .chart`).boundingBox();
      expect(Math.abs((box?.width ?? 0) - (room?.width ?? -9))).toBeLessThan(2);
      expect(await drawn.locator("path").count()).toBeGreaterThan(5);
      const sizes: number[] = await opened.evaluate(
        `[...document.querySelectorAll("#${id} svg text")].map((text) => parseFloat(getComputedStyle(text).fontSize))`,
      );
      expect(Math.min(...sizes)).toBeGreaterThanOrEqual(12);
      expect(await opened.locator(`#${id} .chart`).getAttribute("aria-label")).toMatch(/\d/);
      expect(await opened.locator(`#${id} details table tr`).count()).toBeGreaterThan(1);
    }
    const wide = await opened.evaluate("document.documentElement.scrollWidth");
    expect(wide).toBeLessThanOrEqual(options.viewport.width);
  });

  test("text stands out from its ground, in light and in the dark", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      const opened = await open({ colorScheme });
      const colour = (name: string): Promise<string> =>
        opened.evaluate(`getComputedStyle(document.documentElement).getPropertyValue("--${name}")`);
      const [ink, muted, paper] = await Promise.all(["ink", "muted", "paper"].map(colour));
      // WCAG 2.2, success criterion 1.4.3.
      expect(contrast(ink, paper)).toBeGreaterThan(7);
      expect(contrast(muted, paper)).toBeGreaterThan(4.5);
      expect(
        await opened.evaluate(`getComputedStyle(document.querySelector("#power svg text")).fill`),
      ).toMatch(/^rgb/);
    }
  });

  test("without scripts the same charts stand there, and no controls that do nothing", async () => {
    const opened = await open({ javaScriptEnabled: false });
    for (const id of CHARTS) {
      const drawn = opened.locator(`#${id} .chart > svg`);
      expect(await drawn.isVisible()).toBe(true);
      expect(await drawn.locator("path").count()).toBeGreaterThan(5);
    }
    expect(await opened.locator(".controls").isVisible()).toBe(false);
    expect(await opened.locator("tbody tr").first().textContent()).toContain("Energy delivered");
  });

  test("a tooltip says what flows in the slot under the pointer", async () => {
    const opened = await open({ viewport: { width: 1280, height: 900 } });
    await opened.locator("#power").scrollIntoViewIfNeeded();
    const box = await opened.locator("#power .chart").boundingBox();
    if (box === null) throw new Error("no chart");
    await opened.mouse.move(box.x + box.width / 2, box.y + 150);
    const tip = opened.locator("#power .tip-head");
    await tip.waitFor();
    const clock = clockOf(result.scenario);
    const text = await tip.textContent();
    const slot = result.scenario.slotStartsMs.findIndex((atMs) => clock.full(atMs) === text);
    // The pointer is in the middle of the chart, whose axis begins 56 and ends 16 pixels from its edges.
    const share = (box.width / 2 - 56) / (box.width - 72);
    expect(Math.abs(slot - share * result.scenario.slotStartsMs.length)).toBeLessThan(1.5);
    const rows = await opened.locator("#power .tip-row").allInnerTexts();
    const grid = rows.find((row) => row.includes("Grid connection"));
    const net = netPowerW(result.scenario, result.strategies[1]);
    expect(grid?.replace("\u2212", "-")).toContain(`${(net[slot] / 1000).toFixed(2)} kW`);
  });

  test("a wheel turned with Ctrl zooms, and the whole span comes back", async () => {
    const opened = await open({ viewport: { width: 1280, height: 900 } });
    const labels = () => opened.locator("#power svg text").allTextContents();
    const whole = await labels();
    await opened.locator("#power").scrollIntoViewIfNeeded();
    const box = await opened.locator("#power .chart").boundingBox();
    if (box === null) throw new Error("no chart");
    await opened.mouse.move(box.x + box.width / 2, box.y + 150);
    await opened.mouse.wheel(0, -1);
    await opened.keyboard.down("Control");
    for (let turn = 0; turn < 4; turn++) await opened.mouse.wheel(0, -400);
    await opened.keyboard.up("Control");
    await expect.poll(labels).not.toEqual(whole);
    expect((await labels()).filter((text) => /^\d\d:\d\d$/.test(text)).length).toBeGreaterThan(2);
    await opened.mouse.move(5, 5);
    await opened.locator("#reset").click();
    await expect.poll(labels).toEqual(whole);
  });

  test("the reader chooses the strategy and the day", async () => {
    const opened = await open({});
    expect(await opened.locator("#power .summary").textContent()).toMatch(/^Wattslot:/);
    await opened.selectOption("#strategy", { label: "Uncontrolled" });
    expect(await opened.locator("#power .summary").textContent()).toMatch(/^Uncontrolled:/);
    expect(await opened.locator("#vehicles .summary").textContent()).toContain("Mon 15 Jun");
    await opened.selectOption("#day", "1");
    expect(await opened.locator("#vehicles .summary").textContent()).toContain("Tue 16 Jun");
    expect(await opened.locator("#vehicles details tbody tr").first().textContent()).toContain("Tue 16 Jun");
  });

  test("on paper there are no controls and no chart runs over the edge", async () => {
    const opened = await open({ viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
    await opened.emulateMedia({ media: "print" });
    expect(await opened.locator(".controls").isVisible()).toBe(false);
    expect(await opened.evaluate("getComputedStyle(document.body).backgroundColor")).toBe(
      "rgb(255, 255, 255)",
    );
    await opened.evaluate(`dispatchEvent(new Event("beforeprint"))`);
    for (const id of CHARTS) {
      const box = await opened.locator(`#${id} .chart svg`).boundingBox();
      // A4 is 210 mm wide, 794 CSS pixels, and has margins.
      expect(box?.width).toBeLessThan(720);
    }
  });

  test("names from strangers are text, not markup", async () => {
    const evil = `</script><script>alert(1)</script><img src=x onerror="alert(2)">`;
    const [first, ...others] = result.scenario.visits;
    const file = join(folder, "evil.html");
    writeFileSync(
      file,
      reportHtml({
        ...result,
        scenario: {
          ...result.scenario,
          name: evil,
          visits: [{ ...first, sessionId: evil, evse: evil }, ...others],
        },
        strategies: result.strategies.map((one) => ({
          ...one,
          title: evil + one.title,
          circuits: one.circuits.map((circuit) => ({ ...circuit, circuitId: evil })),
        })),
      }),
    );
    const opened = await open({}, file);
    expect(await opened.locator("h1").textContent()).toBe(evil);
    expect(await opened.locator("img").count()).toBe(0);
    expect(await opened.locator("#vehicles details tbody td").first().textContent()).toBe(evil);
    await opened.locator("#circuits").scrollIntoViewIfNeeded();
    const seen = await opened.locator("#circuits .chart").boundingBox();
    await opened.mouse.move((seen?.x ?? 0) + 400, (seen?.y ?? 0) + 40);
    await opened.locator("#circuits .tip-head").waitFor();
    expect(await opened.locator("#circuits .tip-head").textContent()).toBe(evil);
    expect(await opened.locator("img").count()).toBe(0);
  });
});

/** Contrast of two colours as #rrggbb, by WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of their relative luminances. */
function contrast(one: string, other: string): number {
  const luminance = (colour: string) => {
    const [r, g, b] = [1, 3, 5]
      .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

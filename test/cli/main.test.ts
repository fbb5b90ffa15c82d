import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  connect,
  type OptimizeBatchResponse,
  OptimizeRequest,
  OptimizerServiceClient,
  PlanStatus,
} from "../../src/grpc/client.ts";
import { requestFromJson } from "../../src/grpc/json.ts";
import { type Served, serve, wattslot } from "../support/command.ts";

const exampleFile = new URL("../../benchmarks/example.json", import.meta.url).pathname;
const example = readFileSync(exampleFile, "utf8");
const folder = mkdtempSync(join(tmpdir(), "wattslot-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("help", () => {
  test.each([
    [["--help"], ["serve", "optimize", "--version"]],
    [
      ["serve", "--help"],
      ["--host", "--port", "--workers", "--max-queue", "--log-level"],
    ],
    [
      ["optimize", "--help"],
      ["--address", "--json"],
    ],
  ])("%j names everything and gives an example", async (args, names) => {
    const { code, stdout } = await wattslot(args);
    expect(code).toBe(0);
    for (const name of [...names, "Example:"]) expect(stdout).toContain(name);
  });

  test("--version is that of the package", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await wattslot(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

describe("bad input ends with exit code 2, nothing on standard output, and a line that says it", () => {
  test.each([
    [["optimise"], "unknown command 'optimise'"],
    [["optimize"], "missing required argument 'file'"],
    [["optimize", exampleFile, "--address", "somewhere"], "Must be HOST:PORT."],
    [["serve", "--port", "65536"], "Must be a whole number from 0 to 65535."],
    [["serve", "--workers", "0"], "Must be a whole number from 1 to 1024."],
    [["serve", "--log-level", "loud"], "Allowed choices are"],
    [["optimize", join(folder, "missing.json")], "missing.json: cannot be read (ENOENT)"],
    [["optimize", folder], "cannot be read (EISDIR)"],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await wattslot(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });

  test.each([
    ["nothing", "", "standard input: is empty"],
    ["blanks", " \n ", "standard input: is empty"],
    ["broken JSON", '{\n  "site": {,\n}', "wattslot: not JSON: line 2, column 12: expected a name or }"],
    ["a list", "[]", "the request must be an object"],
  ])("%s", async (_, input, message) => {
    const { code, stdout, stderr } = await wattslot(["optimize", "-"], input);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr.trim().replace(/^wattslot: (?=standard)/, "")).toBe(message);
  });

  test("text that is not UTF-8", async () => {
    const { code, stderr } = await wattslot([
      "optimize",
      file("latin.json", Uint8Array.of(0x22, 0xe4, 0x22)),
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain("is not UTF-8 text");
  });

  test("a file of 100 MB", async () => {
    const path = file("large.json", "");
    truncateSync(path, 100e6);
    const { code, stderr } = await wattslot(["optimize", path]);
    expect(code).toBe(2);
    expect(stderr).toBe(`wattslot: ${path}: is larger than 64 MiB\n`);
  });

  test("every field of a wrong type, one a line", async () => {
    const request = JSON.parse(example);
    request.site.circuits[0].maxPowerW = "much";
    request.sessions[1].departureTime = 12;
    request.sessions[0].colour = "red";
    const { code, stdout, stderr } = await wattslot(["optimize", "-"], JSON.stringify(request));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr.trimEnd().split("\n").sort()).toEqual([
      "sessions[0].colour: is not a field of Session",
      "sessions[1].departure_time: must be an RFC 3339 time such as 2026-11-23T08:00:00Z",
      "site.circuits[0].max_power_w: must be a number",
    ]);
  });

  test("every field of a wrong value, one a line", async () => {
    const request = JSON.parse(example);
    request.site.circuits[0].maxPowerW = -1;
    request.sessions[0].evseId = 9;
    request.sessions[1].departureTime = "2026-11-23T07:00:00Z";
    const { code, stdout, stderr } = await wattslot(["optimize", "-"], JSON.stringify(request));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const fields = stderr
      .trimEnd()
      .split("\n")
      .map((line) => line.split(": ")[0]);
    expect(fields.sort()).toEqual(
      expect.arrayContaining([
        "sessions[0].evse_id",
        "sessions[1].departure_time",
        "site.circuits[0].max_power_w",
      ]),
    );
  });
});

describe("optimize", () => {
  test("prints a table of every vehicle", async () => {
    const { code, stdout, stderr } = await wattslot(["optimize", exampleFile]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Site depot: optimal");
    expect(stdout).toMatch(/^a +CS1\/1 +2\.0\.1 +22\.0 +22\.0 +- /m);
    // 50 % of 60 kWh, of which 90 % of what is metered arrives.
    expect(stdout).toMatch(/^b +CS2\/1 +1\.6 +33\.3 +33\.3 +- /m);
    expect(stdout).not.toContain("\u001b");
  });

  test("--json prints the answer and nothing else", async () => {
    const { code, stdout, stderr } = await wattslot(["optimize", "-", "--json"], example);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const response = JSON.parse(stdout);
    expect(response).toMatchObject({ siteId: "depot", status: "PLAN_STATUS_OPTIMAL" });
    const [a] = response.sessionPlans;
    expect(a).toMatchObject({ sessionId: "a", plannedEnergyWh: 22_000 });
    expect(JSON.parse(a.command.payloadJson).evseId).toBe(1);
    expect(stdout.endsWith("}\n")).toBe(true);
  });

  test("ends with 1 and one line where no server answers", async () => {
    const port = await freePort();
    const { code, stdout, stderr } = await wattslot([
      "optimize",
      exampleFile,
      "--address",
      `127.0.0.1:${port}`,
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain("nobody listens there");
  });
});

describe("serve", () => {
  let served: Served;
  beforeAll(async () => {
    served = await serve();
  });
  afterAll(async () => {
    served.kill("SIGKILL");
    await served.ended;
  });

  test("plans for optimize --address as it does here", async () => {
    const here = await wattslot(["optimize", exampleFile, "--json"]);
    const there = await wattslot([
      "optimize",
      exampleFile,
      "--json",
      "--address",
      `127.0.0.1:${served.port}`,
    ]);
    expect({ code: there.code, stderr: there.stderr }).toEqual({ code: 0, stderr: "" });
    const plan = (stdout: string) => {
      const { sessionPlans, sitePlan, summary } = JSON.parse(stdout);
      return { sessionPlans, sitePlan, summary };
    };
    expect(plan(there.stdout)).toEqual(plan(here.stdout));
  });

  test("its refusals reach optimize --address with their fields", async () => {
    const request = JSON.parse(example);
    request.site.circuits[0].maxPowerW = -1;
    request.sessions[0].evseId = 9;
    const args = ["optimize", "-", "--address", `127.0.0.1:${served.port}`];
    const { code, stderr } = await wattslot(args, JSON.stringify(request));
    expect(code).toBe(2);
    expect(stderr).toMatch(/^site\.circuits\[0\]\.max_power_w: /m);
    expect(stderr).toMatch(/^sessions\[0\]\.evse_id: /m);
  });

  test("ends with 1 and one line where the port is taken", async () => {
    const { code, stdout, stderr } = await wattslot(["serve", "--port", `${served.port}`]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain(`cannot listen on 127.0.0.1:${served.port}: the port is in use\n`);
  });
});

describe("serve and signals", () => {
  let served: Served;
  let client: OptimizerServiceClient | undefined;
  afterEach(async () => {
    client?.close();
    served.kill("SIGKILL");
    await served.ended;
  });

  /** A batch in progress: one site planned, the stream still open. */
  async function openBatch() {
    served = await serve();
    client = new OptimizerServiceClient(`127.0.0.1:${served.port}`, credentials.createInsecure());
    const stream = client.optimizeBatch();
    stream.on("error", () => {});
    const answers: AsyncIterator<OptimizeBatchResponse> = stream.iterator({ destroyOnReturn: false });
    const plan = async (requestId: string) => {
      stream.write({ requestId, request: requestFromJson(example, Date.now()) });
      const { value } = await answers.next();
      return value?.outcome?.$case === "response" ? value.outcome.value.status : undefined;
    };
    expect(await plan("first")).toBe(PlanStatus.OPTIMAL);
    return { stream, plan };
  }

  test.each(["SIGTERM", "SIGINT"] as const)("%s lets calls in progress end", async (signal) => {
    const { stream, plan } = await openBatch();
    served.kill(signal);
    expect(await served.logged("draining")).toMatchObject({ signal });
    expect(await plan("second")).toBe(PlanStatus.OPTIMAL);
    stream.end();
    expect(await served.logged("stopped")).toMatchObject({ faults: 0 });
    expect(await served.ended).toBe(0);
  });

  test("a second signal ends it at once", async () => {
    await openBatch();
    served.kill("SIGTERM");
    await served.logged("draining");
    served.kill("SIGTERM");
    expect(await served.ended).toBe(1);
  });

  test("drains when the shell that npm started it in has taken the signal", async () => {
    served = await serve({ viaShell: true });
    served.kill("SIGTERM");
    await served.logged("draining");
    await served.logged("stopped");
  });

  test("takes no new calls while it drains", async () => {
    const { stream } = await openBatch();
    served.kill("SIGTERM");
    await served.logged("draining");
    const other = connect(`127.0.0.1:${served.port}`);
    await expect(other.optimize(OptimizeRequest.fromPartial({}))).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    other.close();
    stream.end();
    expect(await served.ended).toBe(0);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { serve, wattslot } from "../support/command.ts";

const example = new URL("../../benchmarks/example.json", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "wattslot-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "tokens.json");
const create = (...args: string[]) => wattslot(["token", "create", "--tokens", file, ...args]);

test("a token lets its bearer in until it is revoked", async () => {
  const { code, stdout, stderr } = await create(
    "--tenant",
    "depot",
    "--scope",
    "optimize",
    "--scope",
    "read",
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(/^wsk_[\w-]{43}\n$/);
  expect(stderr).toBe(`wattslot: this token is shown once; ${file} has only its hash\n`);
  const token = stdout.trim();
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).not.toContain(token.slice(12));
  expect(readdirSync(folder)).toEqual(["tokens.json"]);

  const served = await serve({ env: { WATTSLOT_TOKENS: file } });
  try {
    expect(served.listening).toMatchObject({ tokens: true });
    const args = ["optimize", example, "--json", "--address", `127.0.0.1:${served.port}`];
    const withToken = await wattslot([...args, "--token", token]);
    expect(withToken).toMatchObject({ code: 0, stderr: "" });
    expect(await wattslot(args, "", { WATTSLOT_TOKEN: token })).toMatchObject({ code: 0, stderr: "" });
    expect(await wattslot(args)).toEqual({
      code: 1,
      stdout: "",
      stderr: `wattslot: 127.0.0.1:${served.port} lets in who has a token: give --token or WATTSLOT_TOKEN\n`,
    });
    expect(await wattslot(["token", "revoke", token.slice(4, 12), "--tokens", file])).toMatchObject({
      code: 0,
    });
    expect(await wattslot([...args, "--token", token])).toMatchObject({
      code: 1,
      stderr: "wattslot: the token is not valid\n",
    });
  } finally {
    served.kill("SIGKILL");
    await served.ended;
  }
});

test("list tells all but what lets anyone in", async () => {
  rmSync(file, { force: true });
  const tokens = [
    (await create("--tenant", "north", "--scope", "optimize", "--expires", "90d")).stdout.trim(),
    (
      await create("--tenant", "a.long-name_1", "--scope", "read", "--scope", "write", "--scope", "read")
    ).stdout.trim(),
  ];
  const { code, stdout } = await wattslot(["token", "list"], "", { WATTSLOT_TOKENS: file });
  expect(code).toBe(0);
  const [head, first, second] = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ +/));
  expect(head).toEqual(["id", "tenant", "scopes", "expires"]);
  expect(first.slice(0, 3)).toEqual([tokens[0].slice(4, 12), "north", "optimize"]);
  const days = (Date.parse(first[3]) - Date.now()) / 86_400_000;
  expect(Math.round(days)).toBe(90);
  expect(second).toEqual([tokens[1].slice(4, 12), "a.long-name_1", "read,write", "never"]);
});

describe("bad input ends with 2", () => {
  const bad = join(folder, "bad.json");
  const record = { id: "abcdefgh", hash: "0".repeat(64), tenant: "depot", scopes: ["read"] };

  test.each([
    [["create", "--scope", "read"], "required option '--tenant <name>' not specified"],
    [["create", "--tenant", "a"], "required option '--scope <scope>' not specified"],
    [["create", "--tenant", "a", "--scope", "all"], "Must be one of optimize, read, write."],
    [["create", "--tenant", "a b", "--scope", "read"], "--tenant: must be 1 to 64 of"],
    [["create", "--tenant", "a", "--scope", "read", "--expires", "soon"], "Must be a span such as 30s"],
    [["revoke", "abcdefgh"], "has no token abcdefgh: see wattslot token list"],
  ])("%j", async (args, message) => {
    writeFileSync(file, JSON.stringify({ tokens: [] }));
    const { code, stdout, stderr } = await wattslot(["token", ...args, "--tokens", file]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(readFileSync(file, "utf8")).toBe(JSON.stringify({ tokens: [] }));
  });

  test("a file of tokens that is none, with all that is wrong, and the server does not start", async () => {
    writeFileSync(
      bad,
      JSON.stringify({ tokens: [record, { ...record, hash: "ab", scopes: ["all"], expires: 7 }, null] }),
    );
    for (const command of [
      ["token", "list"],
      ["serve", "--port", "0"],
    ]) {
      const { code, stdout, stderr } = await wattslot([...command, "--tokens", bad]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(
        stderr
          .trimEnd()
          .split("\n")
          .map((line) => line.replace(`${bad}: `, "")),
      ).toEqual([
        "tokens[1].id: is there twice",
        "tokens[1].hash: must be 64 hexadecimal digits",
        "tokens[1].scopes: must be a list of optimize, read, write",
        "tokens[1].expires: must be a time such as 2026-11-23T08:00:00Z",
        "tokens[2].id: must be 8 letters",
        "tokens[2].hash: must be 64 hexadecimal digits",
        "tokens[2].tenant: must be 1 to 64 of A-Z a-z 0-9 . _ -",
        "tokens[2].scopes: must be a list of optimize, read, write",
      ]);
    }
  });

  test.each([
    ["no file", undefined, "cannot be read (ENOENT): make it with wattslot token create"],
    ["no JSON", "tokens", "is not JSON"],
    ["a list", "[]", 'must be {"tokens": [...]}'],
  ])("%s", async (_, content, message) => {
    rmSync(bad, { force: true });
    if (content !== undefined) writeFileSync(bad, content);
    const { code, stderr } = await wattslot(["serve", "--port", "0", "--tokens", bad]);
    expect(code).toBe(2);
    expect(stderr).toBe(`wattslot: --tokens ${bad}: ${message}\n`);
  });

  test("a file that can't be written ends with 1", async () => {
    const nowhere = join(folder, "none", "tokens.json");
    const { code, stderr } = await wattslot([
      "token",
      "create",
      "--tenant",
      "a",
      "--scope",
      "read",
      "--tokens",
      nowhere,
    ]);
    expect(code).toBe(1);
    expect(stderr).toBe(`wattslot: ${nowhere}.new: cannot be written (ENOENT)\n`);
  });
});

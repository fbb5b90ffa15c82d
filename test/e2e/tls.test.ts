import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { certificates, type Pair } from "../support/certificates.ts";
import { type Served, serve, wattslot } from "../support/command.ts";

const example = new URL("../../benchmarks/example.json", import.meta.url).pathname;
let clean = () => {};
afterAll(() => clean());
const made = certificates((end) => {
  clean = end;
});
const ours = made.ca("ours");
const theirs = made.ca("theirs");
const server = made.issue("server", ours);
const client = made.issue("client", ours);
const stranger = made.issue("stranger", theirs);

const served = ({ cert, key }: Pair) => ["--tls-cert", cert, "--tls-key", key];
const known = ({ cert, key }: Pair) => ["--cert", cert, "--key", key];

/** What `optimize` says of a server with these options. */
async function optimizeAt({ port }: Served, options: string[], host = "127.0.0.1") {
  return wattslot(["optimize", example, "--json", "--address", `${host}:${port}`, ...options]);
}

async function withServer(args: string[], use: (served: Served) => Promise<void>): Promise<void> {
  const running = await serve({ args });
  try {
    await use(running);
  } finally {
    running.kill("SIGKILL");
    await running.ended;
  }
}

test("a server with a certificate plans for those who trust its CA", async () => {
  await withServer(served(server), async (running) => {
    expect(running.listening).toMatchObject({ tls: true });
    const { code, stdout, stderr } = await optimizeAt(running, ["--ca", ours.cert], "localhost");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ status: "PLAN_STATUS_OPTIMAL" });
    // Node warns of a server that is named by its address.
    expect(await optimizeAt(running, ["--ca", ours.cert], "127.0.0.1")).toMatchObject({ code: 0 });
    for (const options of [["--tls"], ["--ca", theirs.cert]]) {
      const { code, stdout, stderr } = await optimizeAt(running, options, "localhost");
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toBe(
        `wattslot: can't call localhost:${running.port}: its certificate is not of a CA that is trusted here: give that with --ca\n`,
      );
    }
    const plain = await optimizeAt(running, []);
    expect(plain).toMatchObject({ code: 1, stdout: "" });
    expect(plain.stderr).toContain("it may serve with TLS only: give --tls or --ca");
  });
});

test("a client with TLS is told that a server has none, and that there is none", async () => {
  await withServer([], async (running) => {
    const { code, stderr } = await optimizeAt(running, ["--tls"], "localhost");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `wattslot: can't call localhost:${running.port}: it serves without TLS: leave --tls, --ca and --cert away\n`,
    });
  });
  const nobody = await wattslot(["optimize", example, "--address", "127.0.0.1:1"]);
  expect(nobody.stderr).toBe(
    "wattslot: can't call 127.0.0.1:1: nobody listens there: is the server running?\n",
  );
});

test("a server with a CA lets in only its clients", async () => {
  await withServer([...served(server), "--tls-ca", ours.cert], async (running) => {
    const trusting = ["--ca", ours.cert];
    expect(await optimizeAt(running, [...trusting, ...known(client)])).toMatchObject({ code: 0 });
    for (const [options, reason] of [
      [trusting, /give --cert and --key|or wants one/],
      [[...trusting, ...known(stranger)], /does not trust the certificate of --cert/],
    ] as const) {
      const { code, stdout, stderr } = await optimizeAt(running, [...options], "localhost");
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(reason);
    }
    // Those who were refused have not harmed the others.
    expect(await optimizeAt(running, [...trusting, ...known(client)])).toMatchObject({ code: 0 });
  });
});

test("beyond this machine without TLS or tokens there is a warning, on this machine there is none", async () => {
  const warning = "listening beyond this machine without TLS and tokens";
  await withServer(["--host", "0.0.0.0"], async ({ logged, listening }) => {
    expect(listening).toMatchObject({ tls: false, tokens: false });
    expect(await logged(warning)).toMatchObject({ level: 40, address: "0.0.0.0" });
  });
  await withServer(["--host", "0.0.0.0", ...served(server)], async ({ logged }) => {
    await logged("listening beyond this machine without tokens");
  });
  await withServer(["--host", "127.0.0.1"], async ({ logged, kill }) => {
    kill("SIGTERM");
    await expect(logged(warning)).rejects.toThrow("the log ended");
  });
});

describe("files that are no use end with 2, name the option and the file, and say what to do", () => {
  const expired = made.issue("expired", ours, -1);
  const locked = join(made.folder, "locked.key");
  made.openssl("pkey", "-in", server.key, "-aes256", "-passout", "pass:hunter2", "-out", locked);
  const text = join(made.folder, "text.pem");
  writeFileSync(text, "no certificate at all");
  const missing = join(made.folder, "missing.pem");
  const content = readFileSync(server.key, "utf8");

  test.each([
    [
      "a certificate alone",
      ["--tls-cert", server.cert],
      "--tls-cert: needs --tls-key, the file with its key",
    ],
    ["a key alone", ["--tls-key", server.key], "--tls-key: needs --tls-cert, the certificate's file"],
    ["a CA alone", ["--tls-ca", ours.cert], "--tls-ca: needs a certificate of the server, too"],
    ["no file", served({ ...server, cert: missing }), `--tls-cert ${missing}: cannot be read (ENOENT): give`],
    [
      "a folder",
      served({ ...server, key: made.folder }),
      `--tls-key ${made.folder}: cannot be read (EISDIR)`,
    ],
    ["no certificate", served({ ...server, cert: text }), `--tls-cert ${text}: has no certificate in PEM`],
    ["no key", served({ ...server, key: text }), `--tls-key ${text}: has no private key in PEM`],
    ["two swapped", served({ cert: server.key, key: server.cert }), "has no certificate in PEM"],
    ["a key of another", served({ ...server, key: client.key }), "is not the key of the certificate in"],
    [
      "a passphrase",
      served({ ...server, key: locked }),
      "is protected by a passphrase: write it without one",
    ],
    ["a past certificate", served(expired), `--tls-cert ${expired.cert}: expired on`],
    [
      "a CA that is none",
      [...served(server), "--tls-ca", text],
      `--tls-ca ${text}: has no certificate in PEM`,
    ],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await wattslot(["serve", "--port", "0", ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });

  test("all of them at once", async () => {
    const { stderr } = await wattslot([
      "serve",
      ...served({ cert: missing, key: missing }),
      "--tls-ca",
      text,
    ]);
    expect(stderr.trimEnd().split("\n")).toHaveLength(3);
  });

  test("a file that may not be read", async (context) => {
    if (process.getuid?.() === 0) context.skip("root reads everything");
    chmodSync(locked, 0);
    const { stderr } = await wattslot(["serve", ...served({ ...server, key: locked })]);
    expect(stderr).toContain("cannot be read (EACCES): let this user read it");
  });

  test("the key itself in place of its file is not repeated", async () => {
    const { code, stderr } = await wattslot(["serve", ...served({ ...server, key: content })]);
    expect(code).toBe(2);
    expect(stderr).toBe("--tls-key: is the name of a file, not its content\n");
  });

  test.each([
    ["TLS without a server", ["--tls"], "TLS is for a server: give its --address"],
    ["a certificate without its key", ["--cert", client.cert], "--cert: needs --key"],
    ["no CA", ["--ca", text], `--ca ${text}: has no certificate in PEM`],
  ])("of optimize: %s", async (_, args, message) => {
    const { code, stdout, stderr } = await wattslot(["optimize", example, ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});

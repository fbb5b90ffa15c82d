import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Names of files in PEM. */
export interface Pair {
  cert: string;
  key: string;
}

/** Certificates made by openssl in a folder that goes with the test. */
export interface Certificates {
  folder: string;
  /** A CA of its own; the name is that of its files. */
  ca(name: string): Pair;
  /** A certificate of a CA for 127.0.0.1 and localhost. */
  issue(name: string, ca: Pair, days?: number): Pair;
  openssl(...args: string[]): void;
}

/** `atEnd` is told what to do at the end; default: of the test. */
export function certificates(atEnd: (clean: () => void) => void = onTestFinished): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "wattslot-tls-"));
  atEnd(() => rmSync(folder, { recursive: true }));
  const openssl = (...args: string[]) => void execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const named = (name: string): Pair => ({
    cert: join(folder, `${name}.crt`),
    key: join(folder, `${name}.key`),
  });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  return {
    folder,
    openssl,
    ca(name) {
      const pair = named(name);
      openssl("req", "-x509", ...curve, "-keyout", pair.key, "-out", pair.cert, "-subj", `/CN=${name}`);
      return pair;
    },
    issue(name, ca, days = 2) {
      const pair = named(name);
      const names = join(folder, `${name}.ext`);
      writeFileSync(names, "subjectAltName=IP:127.0.0.1,DNS:localhost");
      const request = join(folder, `${name}.csr`);
      openssl("req", ...curve, "-keyout", pair.key, "-out", request, "-subj", `/CN=${name}`);
      const signed = ["x509", "-req", "-in", request, "-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial"];
      openssl(...signed, "-out", pair.cert, "-days", String(days), "-extfile", names);
      return pair;
    },
  };
}

import { randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type FieldViolation, WattslotError } from "../domain/errors.ts";
import { hashOf, idOf, type StoredToken, type TokenStore } from "./auth.ts";
import { SCOPES, type Scope } from "./scopes.ts";

/** A new token, which is nowhere kept, and what is kept of it. */
export function newToken(
  tenant: string,
  scopes: readonly Scope[],
  expiresMs: number | undefined,
  isTaken: (id: string) => boolean,
): { token: string; stored: StoredToken } {
  for (;;) {
    const token = `wsk_${randomBytes(32).toString("base64url")}`;
    const id = idOf(token)!;
    // On a command line what begins with a dash is an option.
    if (id.startsWith("-") || isTaken(id)) continue;
    const stored = { id, hash: hashOf(token), tenant, scopes, ...(expiresMs && { expiresMs }) };
    return { token, stored };
  }
}

/**
 * The tokens in a file, read again at the first call after it has changed. A file that turns bad is told to
 * `onBroken`, once, and the tokens that were read before stay valid: a slip of the pen must not stop a site.
 * Throws INVALID_ARGUMENT where the file is bad from the start.
 */
export function tokenFile(file: string, onBroken: (error: Error) => void): TokenStore {
  const read = () => new Map(readTokens(file).map((stored) => [stored.id, stored]));
  let version = versionOf(file);
  let tokens = read();
  return {
    async find(id) {
      const now = versionOf(file);
      if (now !== version) {
        version = now;
        try {
          tokens = read();
        } catch (error) {
          onBroken(error as Error);
        }
      }
      return tokens.get(id);
    },
  };
}

/** The tokens in a file. Throws INVALID_ARGUMENT with all that is wrong in it. */
export function readTokens(file: string): StoredToken[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const hint = code === "ENOENT" ? ": make it with wattslot token create" : "";
    throw new WattslotError("INVALID_ARGUMENT", `${file}: cannot be read (${code})${hint}`);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new WattslotError("INVALID_ARGUMENT", `${file}: is not JSON`);
  }
  return toTokens(file, content);
}

/**
 * Changes the tokens in a file, which is made where there is none, readable by its owner only. Readers see the
 * old tokens or the new ones. Throws INVALID_ARGUMENT on a bad file, UNAVAILABLE where it can't be written.
 */
export function changeTokens(file: string, change: (tokens: StoredToken[]) => StoredToken[]): void {
  const next = `${file}.new`;
  let descriptor: number;
  try {
    // Only one at a time can make it: it is the lock of the file, too.
    descriptor = openSync(next, "wx", 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason =
      code === "EEXIST"
        ? "is being written by another command; if there is none, remove it"
        : `cannot be written (${code})`;
    throw new WattslotError("UNAVAILABLE", `${next}: ${reason}`);
  }
  try {
    const before = statSync(file, { throwIfNoEntry: false });
    const tokens = change(before === undefined ? [] : readTokens(file));
    // Who was let to read it stays so: the server may run as another user than this command.
    if (before !== undefined) fchmodSync(descriptor, before.mode & 0o777);
    writeFileSync(descriptor, `${JSON.stringify({ tokens: tokens.map(toRecord) }, undefined, 2)}\n`);
    fsyncSync(descriptor);
    renameSync(next, file);
  } catch (error) {
    rmSync(next);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

// Read at every call, from the memory of the system: a few microseconds, and a token that is revoked is
// refused from that moment on. Watching a file misses changes where its folder is swapped, as in Kubernetes.
function versionOf(file: string): string {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? "" : `${stats.ino} ${stats.size} ${stats.mtimeNs}`;
}

function toRecord({ id, hash, tenant, scopes, expiresMs }: StoredToken) {
  const expires = expiresMs === undefined ? undefined : new Date(expiresMs).toISOString();
  return { id, hash: Buffer.from(hash).toString("hex"), tenant, scopes, expires };
}

/** What a tenant may be called. */
export const TENANT = /^[\w.-]{1,64}$/;

function toTokens(file: string, content: unknown): StoredToken[] {
  const records = (content as { tokens?: unknown } | null)?.tokens;
  if (!Array.isArray(records))
    throw new WattslotError("INVALID_ARGUMENT", `${file}: must be {"tokens": [...]}`);
  const violations: FieldViolation[] = [];
  const ids = new Set<string>();
  const tokens = records.map((record: Record<string, unknown> | null, n): StoredToken => {
    const { id, hash, tenant, scopes, expires } = record ?? {};
    const expect = (isRight: boolean, name: string, description: string) => {
      if (!isRight) violations.push({ field: `${file}: tokens[${n}].${name}`, description });
    };
    expect(typeof id === "string" && /^[\w-]{8}$/.test(id), "id", "must be 8 letters");
    expect(!ids.has(String(id)), "id", "is there twice");
    ids.add(String(id));
    expect(typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash), "hash", "must be 64 hexadecimal digits");
    expect(
      typeof tenant === "string" && TENANT.test(tenant),
      "tenant",
      "must be 1 to 64 of A-Z a-z 0-9 . _ -",
    );
    const isScope = (scope: unknown) => SCOPES.some((known) => known === scope);
    expect(
      Array.isArray(scopes) && scopes.every(isScope),
      "scopes",
      `must be a list of ${SCOPES.join(", ")}`,
    );
    const expiresMs = Date.parse(String(expires));
    const canExpire = typeof expires === "string" && !Number.isNaN(expiresMs);
    expect(expires === undefined || canExpire, "expires", "must be a time such as 2026-11-23T08:00:00Z");
    return {
      id: String(id),
      hash: Buffer.from(String(hash), "hex"),
      tenant: String(tenant),
      scopes: scopes as Scope[],
      ...(canExpire && { expiresMs }),
    };
  });
  if (violations.length > 0)
    throw new WattslotError("INVALID_ARGUMENT", `${file}: is no file of tokens`, { violations });
  return tokens;
}

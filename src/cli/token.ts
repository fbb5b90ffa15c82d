import { WattslotError } from "../domain/errors.ts";
import type { Scope } from "../grpc/scopes.ts";
import { changeTokens, newToken, readTokens, TENANT } from "../grpc/tokens.ts";

interface TokenOptions {
  /** The file of tokens. */
  tokens: string;
}

export interface TokenCreateOptions extends TokenOptions {
  tenant: string;
  scope: Scope[];
  /** How long it is valid, ms; without it for ever. */
  expires?: number;
}

/**
 * Makes a token, prints it, and keeps its hash in the file. Throws INVALID_ARGUMENT on bad input, UNAVAILABLE
 * where the file can't be written.
 */
export function createToken({ tenant, scope, expires, tokens: file }: TokenCreateOptions): void {
  if (!TENANT.test(tenant))
    throw new WattslotError("INVALID_ARGUMENT", "--tenant: must be 1 to 64 of A-Z a-z 0-9 . _ -");
  const expiresMs = expires === undefined ? undefined : Date.now() + expires;
  let created = "";
  changeTokens(file, (tokens) => {
    const isTaken = (id: string) => tokens.some((other) => other.id === id);
    const { token, stored } = newToken(tenant, [...new Set(scope)], expiresMs, isTaken);
    created = token;
    return [...tokens, stored];
  });
  process.stdout.write(`${created}\n`);
  process.stderr.write(`wattslot: this token is shown once; ${file} has only its hash\n`);
}

/** Prints the tokens in a file, without what would let anyone in. Throws INVALID_ARGUMENT on a bad file. */
export function listTokens({ tokens: file }: TokenOptions): void {
  const rows = readTokens(file).map(({ id, tenant, scopes, expiresMs }) => [
    id,
    tenant,
    scopes.join(","),
    expiresMs === undefined ? "never" : `${new Date(expiresMs).toISOString().slice(0, 19)}Z`,
  ]);
  const table = [["id", "tenant", "scopes", "expires"], ...rows];
  const widths = table[0].map((_, c) => Math.max(...table.map((row) => row[c].length)));
  const lines = table.map((row) =>
    row
      .map((cell, c) => cell.padEnd(widths[c]))
      .join("  ")
      .trimEnd(),
  );
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Takes a token out of a file. Throws INVALID_ARGUMENT where it isn't there. */
export function revokeToken(id: string, { tokens: file }: TokenOptions): void {
  changeTokens(file, (tokens) => {
    const left = tokens.filter((token) => token.id !== id);
    if (left.length === tokens.length)
      throw new WattslotError("INVALID_ARGUMENT", `${file} has no token ${id}: see wattslot token list`);
    return left;
  });
  process.stderr.write(`wattslot: ${id} is revoked: servers refuse it from the next call on\n`);
}

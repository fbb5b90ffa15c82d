import { createHash, timingSafeEqual } from "node:crypto";
import { type Metadata, ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";
import { WattslotError } from "../domain/errors.ts";
import { callOf } from "./calls.ts";
import { logFault } from "./handler.ts";
import { isOpen, type Scope, scopeOf } from "./scopes.ts";

/** What is kept of a token: not the token. */
export interface StoredToken {
  /** Public: the token's first 8 characters after the prefix. */
  id: string;
  /** SHA-256 of the whole token. */
  hash: Uint8Array;
  /** On whose behalf its bearer calls. */
  tenant: string;
  scopes: readonly Scope[];
  /** Epoch; without one it never expires. */
  expiresMs?: number;
}

/** Where the tokens are that are valid. */
export interface TokenStore {
  /** The token with this id, also an expired one. Rejects where none can be looked up; no call is let in then. */
  find(id: string): Promise<StoredToken | undefined>;
}

/**
 * SHA-256 of a token. A slow hash with salt is for passwords, of which an attacker tries the likely ones; a
 * token is 256 random bits, of which none is likelier than another, and to be checked at every call.
 */
export function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** The public id in a token; undefined where the text is no token. */
export function idOf(token: string): string | undefined {
  return /^wsk_([\w-]{8})[\w-]{35}$/.exec(token)?.[1];
}

/**
 * Lets a call in that has `authorization: Bearer <token>` with a valid token of the scope that the method
 * needs, and leaves on whose behalf it is in the call's `caller`. Others end before a message is read.
 * Comes after `observeCalls`.
 */
export function authenticate(store: TokenStore): ServerInterceptor {
  return ({ path }, nextCall) =>
    new ServerInterceptingCall(nextCall, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, deliver) => {
            if (isOpen(path)) return deliver(metadata);
            admit(store, path, metadata).then(
              () => deliver(metadata),
              (error) => {
                logFault(callOf(metadata), error);
                const { code, message } = WattslotError.from(error);
                if (code === "INTERNAL")
                  nextCall.sendStatus({ code: status.UNAVAILABLE, details: "tokens can't be looked up" });
                else nextCall.sendStatus({ code: status[code], details: message });
              },
            );
          },
        }),
    });
}

/** Rejects with UNAUTHENTICATED or PERMISSION_DENIED. */
async function admit(store: TokenStore, path: string, metadata: Metadata): Promise<void> {
  const token = bearerOf(metadata);
  // What the call does has no more use for it, and must not pass it on.
  metadata.remove("authorization");
  const id = idOf(token);
  const stored = id === undefined ? undefined : await store.find(id);
  if (stored === undefined || !timingSafeEqual(stored.hash, hashOf(token)))
    throw new WattslotError("UNAUTHENTICATED", "the token is not valid");
  const { tenant, scopes, expiresMs = Number.POSITIVE_INFINITY } = stored;
  const call = callOf(metadata);
  call.facts.tokenId = stored.id;
  call.facts.tenant = tenant;
  if (expiresMs <= Date.now()) throw new WattslotError("UNAUTHENTICATED", "the token has expired");
  const needed = scopeOf(path);
  if (needed === undefined) throw new WattslotError("PERMISSION_DENIED", "no token is good for this method");
  if (!scopes.includes(needed))
    throw new WattslotError("PERMISSION_DENIED", `the token lacks the scope ${needed}`);
  call.caller = { tenant, scopes: new Set(scopes) };
}

function bearerOf(metadata: Metadata): string {
  const [value, ...others] = metadata.get("authorization");
  const [, token] = /^bearer +(\S+)$/i.exec(String(value ?? "")) ?? [];
  if (token !== undefined && others.length === 0) return token;
  throw new WattslotError("UNAUTHENTICATED", "a token is missing: send authorization: Bearer <token>");
}

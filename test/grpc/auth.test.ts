import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ChannelCredentials,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { HealthClient } from "../../src/gen/grpc/health/v1/health.ts";
import { ChargingNeedsServiceService } from "../../src/gen/wattslot/v1/charging_needs.ts";
import { OptimizerServiceService } from "../../src/gen/wattslot/v1/optimizer.ts";
import { authenticate, hashOf, idOf, type StoredToken, type TokenStore } from "../../src/grpc/auth.ts";
import { callOf, observeCalls } from "../../src/grpc/calls.ts";
import { connect } from "../../src/grpc/client.ts";
import { bytesService } from "../../src/grpc/handler.ts";
import { registry } from "../../src/grpc/registry.ts";
import { isOpen, SCOPES, type Scope, scopeOf } from "../../src/grpc/scopes.ts";
import { changeTokens, newToken, tokenFile } from "../../src/grpc/tokens.ts";
import { minimal } from "./requests.ts";
import { readyEngine, serve } from "./servers.ts";

const { path: OPTIMIZE } = OptimizerServiceService.optimize;

/** A store in memory, as a database is one elsewhere. */
function storeOf(...stored: StoredToken[]): TokenStore {
  return { find: async (id) => stored.find((token) => token.id === id) };
}

function make(
  scopes: readonly Scope[],
  { tenant = "depot", expiresMs }: { tenant?: string; expiresMs?: number } = {},
) {
  return newToken(tenant, scopes, expiresMs, () => false);
}

/** Calls Optimize with these values of `authorization`, and gives the error that it ended with. */
function call(
  address: string,
  authorization: string[],
  bytes = Buffer.alloc(0),
  path: string = OPTIMIZE,
  metadata = new Metadata(),
) {
  const Client = makeGenericClientConstructor({}, "bytes");
  const client = new Client(address, ChannelCredentials.createInsecure());
  for (const value of authorization) metadata.add("authorization", value);
  return new Promise<ServiceError | null>((resolve) => {
    const asIs = (message: Buffer) => message;
    client.makeUnaryRequest(path, asIs, asIs, bytes, metadata, (error) => {
      client.close();
      resolve(error);
    });
  });
}

const asked = (engine: ReturnType<typeof readyEngine>) => engine.calls.length;

test("with a token of the scope a call is let in, by the client that sends it", async () => {
  const { token, stored } = make(["optimize"]);
  const { address, callLine, lines } = await serve(readyEngine(), { tokens: storeOf(stored) });
  const optimizer = connect(address, ChannelCredentials.createInsecure(), token);
  onTestFinished(() => optimizer.close());
  expect(await optimizer.optimize(minimal())).toMatchObject({ siteId: "depot" });
  expect(await callLine()).toMatchObject({ code: "OK", tokenId: stored.id, tenant: "depot" });
  for await (const { outcome } of optimizer.optimizeBatch([{ requestId: "1", request: minimal() }]))
    expect(outcome?.$case).toBe("response");
  expect(JSON.stringify(lines)).not.toContain(token.slice(12));
});

test("without a valid token a call ends in UNAUTHENTICATED before a message is read", async () => {
  const { token, stored } = make(["optimize"]);
  const { token: old, stored: expired } = make(["optimize"], { expiresMs: Date.now() - 1 });
  const engine = readyEngine();
  const { address, callLine } = await serve(engine, { tokens: storeOf(stored, expired) });
  const { token: unknown } = make(["optimize"]);
  const withOtherSecret = token.slice(0, 12) + unknown.slice(12);
  for (const [authorization, details] of [
    [[], "a token is missing: send authorization: Bearer <token>"],
    [[token], "a token is missing: send authorization: Bearer <token>"],
    [[`Basic ${token}`], "a token is missing: send authorization: Bearer <token>"],
    [["Bearer "], "a token is missing: send authorization: Bearer <token>"],
    [["Bearer wsk_"], "the token is not valid"],
    [[`Bearer ${token}x`], "the token is not valid"],
    [[`Bearer ${token.slice(0, -1)}`], "the token is not valid"],
    [[`Bearer ${token.slice(4)}`], "the token is not valid"],
    [[`Bearer ${unknown}`], "the token is not valid"],
    [[`Bearer ${withOtherSecret}`], "the token is not valid"],
    [[`Bearer ${Buffer.from(stored.hash).toString("hex")}`], "the token is not valid"],
    [[`Bearer ${old}`], "the token has expired"],
  ] as const) {
    expect(await call(address, [...authorization]), String(authorization)).toMatchObject({
      code: status.UNAUTHENTICATED,
      details,
    });
  }
  // Too long to be read, and yet what is told is that there is no token.
  expect(await call(address, [], Buffer.alloc(17 * 1024 * 1024))).toMatchObject({
    code: status.UNAUTHENTICATED,
  });
  expect(asked(engine)).toBe(0);
  expect(await callLine()).toMatchObject({ code: "UNAUTHENTICATED" });
});

test("the scheme is written as one likes", async () => {
  const { token, stored } = make(["optimize"]);
  const { address } = await serve(readyEngine(), { tokens: storeOf(stored) });
  for (const scheme of ["bearer", "BEARER"]) {
    // Let in, the empty request is wrong.
    expect(await call(address, [`${scheme} ${token}`])).toMatchObject({ code: status.INVALID_ARGUMENT });
  }
});

test("a token of other scopes ends in PERMISSION_DENIED", async () => {
  const engine = readyEngine();
  const { token, stored } = make(SCOPES.filter((scope) => scope !== "optimize"));
  const { address } = await serve(engine, { tokens: storeOf(stored) });
  for (const { path } of [
    ...Object.values(OptimizerServiceService),
    ...Object.values(ChargingNeedsServiceService),
  ]) {
    expect(await call(address, [`Bearer ${token}`], Buffer.alloc(0), path)).toMatchObject({
      code: status.PERMISSION_DENIED,
      details: "the token lacks the scope optimize",
    });
  }
  expect(asked(engine)).toBe(0);
});

test("every method of the contract needs a scope, or is open; others nobody may call", async () => {
  const services = [...registry].filter((type) => type.kind === "service");
  const paths = services.flatMap(({ typeName, methods }) =>
    methods.map(({ name }) => `/${typeName}/${name}`),
  );
  expect(paths).toContain("/wattslot.v1.OptimizerService/Optimize");
  for (const path of paths) {
    if (path.startsWith("/grpc.")) expect(isOpen(path), path).toBe(true);
    else expect(SCOPES, path).toContain(scopeOf(path));
  }
  for (const path of [
    "/wattslot.v1.OptimizerService/Unheard",
    "/grpc.channelz.v1.Channelz/GetServers",
    "toString",
  ]) {
    expect(scopeOf(path)).toBeUndefined();
    expect(isOpen(path)).toBe(false);
  }
});

test("health is open", async () => {
  const { address } = await serve(readyEngine(), { tokens: storeOf() });
  const client = new HealthClient(address, ChannelCredentials.createInsecure());
  onTestFinished(() => client.close());
  const answer = await new Promise((resolve) =>
    client.check({ service: "" }, (error, ok) => resolve(error ?? ok)),
  );
  expect(answer).toEqual({ status: 1 });
});

test("a store that fails lets nobody in, and is logged", async () => {
  const engine = readyEngine();
  const { token } = make(["optimize"]);
  const find = () => Promise.reject(new Error("the database password is hunter2"));
  const { address, lines } = await serve(engine, { tokens: { find } });
  expect(await call(address, [`Bearer ${token}`])).toMatchObject({
    code: status.UNAVAILABLE,
    details: "tokens can't be looked up",
  });
  expect(asked(engine)).toBe(0);
  expect(lines.some(({ msg, level }) => msg === "internal error" && level === 50)).toBe(true);
});

/** A server with one method of this path, and what its handler got to know of each caller. */
async function echo(path: string, store?: TokenStore) {
  const observed = observeCalls(pino({ level: "silent" }));
  const server = new Server({ interceptors: [observed, ...(store ? [authenticate(store)] : [])] });
  onTestFinished(() => server.forceShutdown());
  const seen: unknown[] = [];
  const { optimize } = bytesService(OptimizerServiceService);
  server.addService(
    { echo: { ...optimize, path } },
    {
      echo: ({ metadata }: { metadata: Metadata }, done: (error: null, bytes: Buffer) => void) => {
        const { tenant, scopes } = callOf(metadata).caller;
        seen.push({ tenant, scopes: [...scopes], authorization: metadata.get("authorization") });
        done(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, seen };
}

test("a handler knows on whose behalf it is called, and the token goes no further", async () => {
  const { token, stored } = make(["optimize", "read"], { tenant: "north" });
  const { address, seen } = await echo(OPTIMIZE, storeOf(stored));
  expect(await call(address, [`Bearer ${token}`])).toBeNull();
  expect(seen).toEqual([{ tenant: "north", scopes: ["optimize", "read"], authorization: [] }]);
});

test("without tokens the tenant is default, whatever a client sends", async () => {
  const { address, seen } = await echo(OPTIMIZE);
  expect(await call(address, ["Bearer north"])).toBeNull();
  expect(seen).toMatchObject([{ tenant: "default", scopes: [...SCOPES] }]);
});

test("a client can't forge its tenant or scopes", async () => {
  const { token, stored } = make(["optimize"], { tenant: "north" });
  const { address, seen } = await echo(OPTIMIZE, storeOf(stored));
  const forged = new Metadata();
  for (const name of ["tenant", "caller", "x-tenant", "x-wattslot-tenant", "scopes", "x-wattslot-scopes"])
    for (const value of ["south", "admin"]) forged.add(name, value);
  expect(await call(address, [`Bearer ${token}`], Buffer.alloc(0), OPTIMIZE, forged)).toBeNull();
  expect(seen).toMatchObject([{ tenant: "north", scopes: ["optimize"] }]);
});

test("a method that nobody gave a scope is refused, whatever the token", async () => {
  const { token, stored } = make(SCOPES);
  const { address, seen } = await echo("/wattslot.v1.OptimizerService/Unheard", storeOf(stored));
  const path = "/wattslot.v1.OptimizerService/Unheard";
  expect(await call(address, [`Bearer ${token}`], Buffer.alloc(0), path)).toMatchObject({
    code: status.PERMISSION_DENIED,
    details: "no token is good for this method",
  });
  expect(seen).toEqual([]);
});

function tokensFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "wattslot-tokens-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, "tokens.json");
}

test("tokens in a file hold from the moment that it has them to the moment that it has them no more", async () => {
  const file = tokensFile();
  changeTokens(file, () => []);
  const errors: Error[] = [];
  const { address } = await serve(readyEngine(), { tokens: tokenFile(file, (error) => errors.push(error)) });
  const { token, stored } = make(["optimize"]);
  const codeNow = async () => (await call(address, [`Bearer ${token}`]))?.code;
  expect(await codeNow()).toBe(status.UNAUTHENTICATED);
  changeTokens(file, (tokens) => [...tokens, stored]);
  expect(await codeNow()).toBe(status.INVALID_ARGUMENT);
  // A slip of the pen locks nobody out, and is told once.
  writeFileSync(file, `{"tokens": [`);
  expect(await codeNow()).toBe(status.INVALID_ARGUMENT);
  expect(await codeNow()).toBe(status.INVALID_ARGUMENT);
  expect(errors.map(({ message }) => message)).toEqual([`${file}: is not JSON`]);
  rmSync(file);
  expect(await codeNow()).toBe(status.INVALID_ARGUMENT);
  expect(errors).toHaveLength(2);
  changeTokens(file, () => []);
  expect(await codeNow()).toBe(status.UNAUTHENTICATED);
});

test("a file of tokens is its owner's, has no token in it, and keeps the rights it is given", () => {
  const file = tokensFile();
  const { token, stored } = make(["optimize"]);
  changeTokens(file, (tokens) => [...tokens, stored]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).not.toContain(token.slice(12));
  chmodSync(file, 0o640);
  changeTokens(file, (tokens) => tokens);
  expect(statSync(file).mode & 0o777).toBe(0o640);
});

test("two changes at a time do not lose each other's tokens", () => {
  const file = tokensFile();
  changeTokens(file, () => {
    expect(() => changeTokens(file, (tokens) => tokens)).toThrow("is being written by another command");
    return [];
  });
  expect(() => changeTokens(file, (tokens) => tokens)).not.toThrow();
  expect(() =>
    changeTokens(file, () => {
      throw new Error("given up");
    }),
  ).toThrow("given up");
  expect(() => changeTokens(file, (tokens) => tokens)).not.toThrow();
});

test("tokens are random, and their ids public", () => {
  const taken: string[] = [];
  for (let n = 0; n < 200; n++) {
    const { token, stored } = newToken("depot", ["read"], undefined, (id) => taken.includes(id));
    expect(token).toMatch(/^wsk_[\w][\w-]{42}$/);
    expect(idOf(token)).toBe(stored.id);
    expect(stored.hash).toEqual(hashOf(token));
    taken.push(stored.id);
  }
  expect(new Set(taken).size).toBe(200);
  let tries = 0;
  newToken("depot", ["read"], undefined, () => ++tries < 3);
  expect(tries).toBe(3);
});

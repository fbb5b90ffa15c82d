import { ChannelCredentials, Metadata, makeGenericClientConstructor, status } from "@grpc/grpc-js";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { SiteServiceService } from "../../src/gen/wattslot/v1/site.ts";
import type { StoredToken } from "../../src/grpc/auth.ts";
import { connectSites, SeriesKind } from "../../src/grpc/site-client.ts";
import { newToken } from "../../src/grpc/tokens.ts";
import { testEngine } from "../support/engine.ts";
import { keepSites } from "../support/kept.ts";
import { serve } from "./servers.ts";

/** In everything that the one tenant has, and in nothing that others may be told. */
const SECRET = "secret-of-a";

const methods = Object.values(SiteServiceService);

/** A server that keeps a site of tenant a with a vehicle, a series, a plan and a command, and a client of each tenant. */
async function start() {
  const engine = testEngine();
  onTestFinished(() => engine.close());
  const kept = await keepSites(engine);
  onTestFinished(() => kept.forget());
  const tokens = ["a", "b"].map((tenant) => newToken(tenant, ["read", "write"], undefined, () => false));
  const stored: StoredToken[] = tokens.map((one) => one.stored);
  const { address } = await serve(engine, {
    sites: kept.sites,
    tokens: { find: async (id) => stored.find((one) => one.id === id) },
  });
  const insecure = ChannelCredentials.createInsecure();
  const [a, b] = tokens.map(({ token }) => connectSites(address, insecure, token));
  onTestFinished(() => {
    a.close();
    b.close();
  });
  const siteId = "site";
  const stationId = `${SECRET}-station`;
  await a.putSite({
    site: {
      siteId,
      circuits: [{ circuitId: `${SECRET}-grid`, maxPowerW: 11_000 }],
      evses: [{ stationId, evseId: 1 }],
    },
  });
  await a.putSession({
    siteId,
    session: {
      sessionId: `${SECRET}-session`,
      stationId,
      evseId: 1,
      transactionId: `${SECRET}-tx`,
      need: { $case: "energyWh", value: 8000 },
      departureTime: new Date(Date.now() + 4 * 3_600_000),
    },
  });
  await a.putSeries({
    siteId,
    kind: SeriesKind.PV_POWER_W,
    values: { startTime: new Date(Date.now() - 1000), stepSeconds: 900, values: [1234.5] },
  });
  for await (const _ of a.reoptimize({ allSites: true }));
  const watching = new AbortController();
  let commandId = "";
  for await (const command of a.watchCommands({}, { signal: watching.signal })) {
    commandId = command.commandId;
    break;
  }
  const Client = makeGenericClientConstructor({}, "bytes");
  const client = new Client(address, insecure);
  onTestFinished(() => client.close());
  /** All that the other tenant is answered, and how the call ends. */
  const callAsB = (path: string, message: Buffer) =>
    new Promise<{ answers: Buffer[]; code: string; details: string }>((resolve) => {
      const metadata = new Metadata();
      metadata.set("authorization", `Bearer ${tokens[1].token}`);
      const asIs = (bytes: Buffer) => bytes;
      const answers: Buffer[] = [];
      const deadline = path.endsWith("/WatchCommands") ? 300 : 20_000;
      const call = client.makeServerStreamRequest(path, asIs, asIs, message, metadata, {
        deadline: Date.now() + deadline,
      });
      call.on("data", (bytes: Buffer) => answers.push(bytes));
      call.on("error", () => {});
      call.on("status", ({ code, details }) => resolve({ answers, code: status[code], details }));
    });
  return { a, b, siteId, commandId, callAsB };
}

test("no call of one tenant sees or changes what another has, whatever it names", async () => {
  const { a, siteId, commandId, callAsB } = await start();
  const before = await a.getSite({ siteId });
  const planBefore = await a.getPlan({ siteId });
  const named = {
    siteId,
    sessionId: `${SECRET}-session`,
    commandId,
    stationId: `${SECRET}-station`,
    siteIds: [siteId],
    allSites: true,
    result: 2,
    kind: SeriesKind.PV_POWER_W,
    pageSize: 10,
    payloadJson: "{}",
    meteredEnergyWh: 1,
  };
  const request = fc.nat(methods.length - 1).chain((n) =>
    fc.subarray(Object.keys(named) as (keyof typeof named)[], { minLength: 1 }).map((keys) => ({
      method: methods[n],
      fields: Object.fromEntries(keys.map((key) => [key, named[key]])),
    })),
  );
  const reached = new Set<string>();
  await fc.assert(
    fc.asyncProperty(request, async ({ method, fields }) => {
      // The request's own type drops what it has no field for.
      const bytes = method.requestSerialize(typed(method.path, fields) as never);
      const { answers, code, details } = await callAsB(method.path, bytes);
      reached.add(method.path);
      for (const answer of answers)
        expect(answer.includes(SECRET), `${method.path} ${JSON.stringify(fields)}`).toBe(false);
      if (!JSON.stringify(fields).includes(SECRET)) expect(details).not.toContain(SECRET);
      expect(["OK", "NOT_FOUND", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"]).toContain(code);
    }),
    { seed: 20_261_125, numRuns: 150 },
  );
  expect(reached.size).toBe(methods.length);
  expect(await a.getSite({ siteId })).toEqual(before);
  expect(await a.getPlan({ siteId })).toEqual(planBefore);
});

test("two tenants have sites of the same id, and each its own", async () => {
  const { a, b, siteId } = await start();
  await b.putSite({ site: { siteId, circuits: [{ circuitId: "b-grid", maxPowerW: 5000 }] } });
  expect((await b.getSite({ siteId })).site?.circuits.map(({ circuitId }) => circuitId)).toEqual(["b-grid"]);
  expect((await b.getSite({ siteId })).sessions).toEqual([]);
  await b.deleteSite({ siteId });
  expect((await a.getSite({ siteId })).sessions).toHaveLength(1);
  await expect(b.getSite({ siteId })).rejects.toMatchObject({ code: "NOT_FOUND" });
});

/** A message of a method's request with these fields. */
function typed(path: string, fields: Record<string, unknown>): unknown {
  const method = methods.find((one) => one.path === path)!;
  return { ...(method.requestDeserialize(Buffer.alloc(0)) as object), ...fields };
}

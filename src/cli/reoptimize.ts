import { setTimeout as sleep } from "node:timers/promises";
import { WattslotError } from "../domain/errors.ts";
import { connectSites, type ReoptimizeResult, type Sites } from "../grpc/site-client.ts";
import { type ClientTls, clientCredentials, explained } from "./tls.ts";

export interface ReoptimizeOptions extends ClientTls {
  address: string;
  token?: string;
  site: string[];
  all: boolean;
  /** Only sites whose plan is at least that old, ms. */
  stale?: number;
  json: boolean;
}

/** Times in a row that a lost connection is made anew before the job gives up. */
const MOST_ATTEMPTS = 6;

/**
 * Has a server plan sites again, and prints what came of each. Where the connection is lost it goes on with those
 * that are left. Throws INVALID_ARGUMENT on bad options, ABORTED where a site could not be planned.
 */
export async function reoptimize(options: ReoptimizeOptions): Promise<void> {
  const { address, site, all } = options;
  if (all === site.length > 0)
    throw new WattslotError(
      "INVALID_ARGUMENT",
      all ? "give --all or --site, not both" : "say which sites: --all, or --site ID, which may be repeated",
    );
  const credentials = clientCredentials(options);
  const sites = connectSites(address, credentials, options.token);
  const beganMs = Date.now();
  let planned = 0;
  let failed = 0;
  const done = new Set<string>();
  try {
    for (let attempt = 0; ; ) {
      try {
        for await (const result of resultsOf(sites, options, done, beganMs)) {
          attempt = 0;
          done.add(result.siteId);
          if (result.code === 0) planned++;
          else failed++;
          print(result, planned + failed, options);
        }
        break;
      } catch (error) {
        const isLost = error instanceof WattslotError && error.code === "UNAVAILABLE";
        if (!isLost || ++attempt >= MOST_ATTEMPTS) throw explained(error, address, credentials);
        await sleep(250 * 2 ** attempt);
      }
    }
  } finally {
    sites.close();
  }
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  const summary = { plannedCount: planned, failedCount: failed };
  process.stdout.write(
    options.json ? `${JSON.stringify({ summary })}\n` : `${planned} planned, ${failed} failed\n`,
  );
  if (failed > 0)
    throw new WattslotError("ABORTED", `${failed} of ${planned + failed} sites could not be planned`);
}

/** What is left to do: of all sites those whose plan is older than this job, unless a site has just failed. */
async function* resultsOf(
  sites: Sites,
  { site, all, stale = 0 }: ReoptimizeOptions,
  done: ReadonlySet<string>,
  beganMs: number,
): AsyncGenerator<ReoptimizeResult> {
  const sinceMs = done.size > 0 && all ? Date.now() - beganMs : 0;
  const staleSeconds = Math.ceil(Math.max(stale, sinceMs) / 1000);
  const siteIds = site.filter((id) => !done.has(id));
  if (!all && siteIds.length === 0) return;
  for await (const { outcome } of sites.reoptimize({ siteIds, allSites: all, staleSeconds }))
    if (outcome?.$case === "result" && !done.has(outcome.value.siteId)) yield outcome.value;
}

function print(result: ReoptimizeResult, count: number, { json }: ReoptimizeOptions): void {
  const { siteId, code, message, revision, commandCount } = result;
  if (json) process.stdout.write(`${JSON.stringify({ siteId, code, message, revision, commandCount })}\n`);
  else if (code !== 0) process.stderr.write(`${siteId}: ${message}\n`);
  if (process.stderr.isTTY) process.stderr.write(`\r${count} sites`);
}

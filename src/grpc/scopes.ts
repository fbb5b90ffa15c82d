/** What a token may be good for. */
export const SCOPES = ["optimize", "read", "write"] as const;
export type Scope = (typeof SCOPES)[number];

const SITE = "/wattslot.v1.SiteService";

/** The scope that each method needs. One that isn't here is refused, so that none is open by mistake. */
const SCOPE_OF: Readonly<Record<string, Scope>> = {
  "/wattslot.v1.OptimizerService/Optimize": "optimize",
  "/wattslot.v1.OptimizerService/OptimizeBatch": "optimize",
  "/wattslot.v1.ChargingNeedsService/NotifyEvChargingNeeds": "optimize",
  "/wattslot.v1.ChargingNeedsService/NotifyEvChargingSchedule": "optimize",
  [`${SITE}/GetSite`]: "read",
  [`${SITE}/ListSites`]: "read",
  [`${SITE}/GetPlan`]: "read",
  [`${SITE}/PutSite`]: "write",
  [`${SITE}/DeleteSite`]: "write",
  [`${SITE}/PutSeries`]: "write",
  [`${SITE}/PutSession`]: "write",
  [`${SITE}/ReportProgress`]: "write",
  [`${SITE}/EndSession`]: "write",
  [`${SITE}/ForwardEvChargingNeeds`]: "write",
  [`${SITE}/ForwardEvChargingSchedule`]: "write",
  [`${SITE}/Reoptimize`]: "write",
  // Who gets commands is to carry them out and say so.
  [`${SITE}/WatchCommands`]: "write",
  [`${SITE}/ReportCommand`]: "write",
};

/** The scope that a method needs, by its full name with slashes; undefined where no token is enough. */
export function scopeOf(path: string): Scope | undefined {
  return Object.hasOwn(SCOPE_OF, path) ? SCOPE_OF[path] : undefined;
}

/** Probes and tools: they tell nothing of anybody. */
export function isOpen(path: string): boolean {
  return path.startsWith("/grpc.health.v1.") || path.startsWith("/grpc.reflection.v1.");
}

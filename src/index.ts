export { credentials } from "@grpc/grpc-js";
export { type ErrorCode, type FieldViolation, WattslotError } from "./domain/errors.ts";
export type { SitePlan } from "./domain/plan.ts";
export type { Problem } from "./domain/problem.ts";
export { createEngine, type Engine, type EngineOptions } from "./engine.ts";
export * from "./grpc/client.ts";
export { toProblem } from "./grpc/convert.ts";
export { toResponse } from "./grpc/response.ts";
export * from "./grpc/site-client.ts";
export { sessionWithNeeds, type Whereabouts } from "./grpc/vehicle.ts";
export {
  type ChargingStation,
  type CompositePeriod,
  type CompositeWindow,
  compositeSchedule,
  type StationEvse,
} from "./ocpp/composite.ts";
export {
  judgeSchedule,
  type NotifyEvChargingSchedule,
  readEvSchedule,
  readProfileRequest,
  type ScheduledEvse,
  type ScheduleExcess,
  type SetChargingProfile2x,
} from "./ocpp/ev-schedule.ts";
export {
  type MeterValues16,
  type NotifyEvChargingNeeds,
  type ReadNeeds,
  readNeeds,
  type VehicleNeeds,
} from "./ocpp/needs.ts";
export {
  type ChargerCapabilities,
  type ChargerFeature,
  type Finding,
  PROFILE_RULES,
  type ProfileContext,
  type ProfileTransaction,
  type ReasonCode,
  validateProfile,
} from "./ocpp/rules.ts";
export type {
  AbsolutePriceSchedule,
  InstalledProfile,
  PriceLevelSchedule,
  ProfileKind,
  ProfilePurpose,
  RationalNumber,
  SalesTariff,
  WireOperationMode,
  WirePeriod,
  WireProfile,
  WireProfile2x,
  WireProfile16,
  WireSchedule,
} from "./ocpp/wire.ts";
export { atOnce, type Instant, inOrder } from "./planner/at-once.ts";
export type { Scenario } from "./planner/scenario.ts";
export type { StrategyFactory } from "./planner/strategies.ts";
export { type Decision, payloadsOf, type Strategy } from "./planner/strategy.ts";

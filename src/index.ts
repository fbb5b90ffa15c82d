export { credentials } from "@grpc/grpc-js";
export { type ErrorCode, type FieldViolation, WattslotError } from "./domain/errors.ts";
export type { SitePlan } from "./domain/plan.ts";
export type { Problem } from "./domain/problem.ts";
export { createEngine, type Engine, type EngineOptions } from "./engine.ts";
export * from "./grpc/client.ts";
export { toProblem } from "./grpc/convert.ts";
export { toResponse } from "./grpc/response.ts";

/** One wrong field of a request. `field` is its path: `sessions[3].departure_time`. */
export interface FieldViolation {
  field: string;
  description: string;
}

export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "NOT_FOUND"
  | "ABORTED"
  | "FAILED_PRECONDITION"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "CANCELLED"
  | "DEADLINE_EXCEEDED"
  | "UNAVAILABLE"
  | "INTERNAL";

/** The project's only error: a code that maps to gRPC's, and every wrong field where it has any. */
export class WattslotError extends Error {
  readonly code: ErrorCode;
  readonly violations: readonly FieldViolation[];

  constructor(
    code: ErrorCode,
    message: string,
    options?: { violations?: readonly FieldViolation[]; cause?: unknown },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "WattslotError";
    this.code = code;
    this.violations = options?.violations ?? [];
  }

  /** Any thrown value as a WattslotError; what is not one becomes INTERNAL, its message kept as the cause only. */
  static from(error: unknown): WattslotError {
    if (error instanceof WattslotError) return error;
    return new WattslotError("INTERNAL", "internal error", { cause: error });
  }
}

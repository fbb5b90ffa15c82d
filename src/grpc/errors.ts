import { Metadata, type StatusObject, status } from "@grpc/grpc-js";
import { type FieldViolation, WattslotError } from "../domain/errors.ts";
import { BadRequest } from "../gen/google/rpc/error_details.ts";
import { Status } from "../gen/google/rpc/status.ts";

// Clients take 8 KiB of metadata (gRPC's default in Java, and the soft limit of others); what is
// longer costs them the whole status. Details are base64 there: 4 bytes for 3.
const MAX_DETAILS_BYTES = 4000;
const MAX_MESSAGE_LENGTH = 300;

/** An error as the caller may see it: what is internal says so and nothing else. */
export function publicError(error: unknown): WattslotError {
  const known = WattslotError.from(error);
  return known.code === "INTERNAL" ? new WattslotError("INTERNAL", "internal error") : known;
}

/** Any thrown value as the status of a call, with google.rpc.BadRequest where fields are wrong. */
export function toStatus(error: unknown): StatusObject {
  const { code, message, violations } = publicError(error);
  const metadata = new Metadata();
  const details = shorten(message, MAX_MESSAGE_LENGTH);
  if (violations.length > 0) {
    const badRequest = {
      typeUrl: "type.googleapis.com/google.rpc.BadRequest",
      value: Buffer.from(BadRequest.encode({ fieldViolations: fitting(violations) }).finish()),
    };
    const rich = Status.encode({ code: status[code], message: details, details: [badRequest] }).finish();
    metadata.set("grpc-status-details-bin", Buffer.from(rich));
  }
  return { code: status[code], details, metadata };
}

/** The violations that fit into the metadata, and whether that is all; the message counts them. */
function fitting(violations: readonly FieldViolation[]): FieldViolation[] {
  const fit: FieldViolation[] = [];
  let bytes = 0;
  for (const { field, description } of violations) {
    const violation = { field: shorten(field, 200), description: shorten(description, 500) };
    // Each field of a message has a tag and a length before it.
    bytes += Buffer.byteLength(violation.field) + Buffer.byteLength(violation.description) + 12;
    if (bytes > MAX_DETAILS_BYTES) {
      return [...fit, { field: "", description: "the list is cut here: more does not fit" }];
    }
    fit.push(violation);
  }
  return fit;
}

/** Whole characters only: half of a pair can't be written in a header. */
function shorten(text: string, length: number): string {
  return text.length <= length
    ? text
    : `${Array.from(text.slice(0, length - 1))
        .slice(0, -1)
        .join("")}…`;
}

import {
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  fromJsonString,
  type JsonObject,
  type JsonValue,
  ScalarType,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type FieldViolation, WattslotError } from "../domain/errors.ts";
import { OptimizeRequest, OptimizeResponse } from "../gen/wattslot/v1/optimizer.ts";
import { registry } from "./registry.ts";
import { syntaxError } from "./syntax.ts";

const requestMessage = message("wattslot.v1.OptimizeRequest");
const responseMessage = message("wattslot.v1.OptimizeResponse");

/**
 * Reads an `OptimizeRequest` in the JSON mapping of proto3: names in camelCase or as in the
 * contract, enum names, RFC 3339 times, unknown fields refused.
 *
 * Throws INVALID_ARGUMENT: with the line and column where the text is not JSON, else with every
 * field that the contract does not have or that has a value of another type.
 */
export function requestFromJson(text: string): OptimizeRequest {
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new WattslotError("INVALID_ARGUMENT", `not JSON: ${syntaxError(text)}`, { cause: error });
  }
  try {
    return OptimizeRequest.decode(toBinary(requestMessage, fromJsonString(requestMessage, text)));
  } catch (error) {
    const violations = messageViolations(requestMessage, json, "");
    if (violations.length === 0) violations.push({ field: "", description: (error as Error).message });
    throw new WattslotError("INVALID_ARGUMENT", "not an OptimizeRequest", { violations, cause: error });
  }
}

/** An answer in the JSON mapping of proto3; fields that hold their default are left out. */
export function responseToJson(response: OptimizeResponse): JsonValue {
  const bytes = OptimizeResponse.encode(response).finish();
  return toJson(responseMessage, fromBinary(responseMessage, bytes));
}

function message(typeName: string): DescMessage {
  const found = registry.getMessage(typeName);
  if (found === undefined) throw new WattslotError("INTERNAL", `the contract has no ${typeName}`);
  return found;
}

function messageViolations(desc: DescMessage, json: JsonValue, path: string): FieldViolation[] {
  if (!isObject(json))
    return [{ field: path, description: `${path === "" ? "the request " : ""}must be an object` }];
  const violations: FieldViolation[] = [];
  // The name under which each field, or one of each group that excludes each other, was given.
  const given = new Map<string, string>();
  for (const [key, value] of Object.entries(json)) {
    const field = desc.fields.find(({ name, jsonName }) => key === name || key === jsonName);
    const at = `${path === "" ? "" : `${path}.`}${field?.name ?? key}`;
    if (field === undefined) {
      violations.push({ field: at, description: `is not a field of ${desc.name}` });
      continue;
    }
    if (value === null) continue;
    const group = field.oneof?.name ?? field.name;
    const other = given.get(group);
    if (other === field.name) violations.push({ field: at, description: "is given twice" });
    else if (other !== undefined) violations.push({ field: at, description: `excludes ${other}` });
    given.set(group, field.name);
    violations.push(...fieldViolations(desc, field, value, at));
  }
  return violations;
}

function fieldViolations(
  desc: DescMessage,
  field: DescField,
  value: JsonValue,
  at: string,
): FieldViolation[] {
  if (field.fieldKind !== "list") return valueViolations(desc, field, value, value, at);
  if (!Array.isArray(value)) return [{ field: at, description: "must be a list" }];
  return value.flatMap((element, i) => valueViolations(desc, field, element, [element], `${at}[${i}]`));
}

/** `value` is a single value of the field, `whole` the same as the field's JSON: in a list where it is one. */
function valueViolations(
  desc: DescMessage,
  field: DescField,
  value: JsonValue,
  whole: JsonValue,
  at: string,
): FieldViolation[] {
  const nested = field.message;
  if (nested !== undefined && nested.typeName !== "google.protobuf.Timestamp")
    return messageViolations(nested, value, at);
  try {
    fromJson(desc, { [field.name]: whole });
    return [];
  } catch {
    return [{ field: at, description: `must be ${expectation(field)}` }];
  }
}

function expectation(field: DescField): string {
  if (field.message !== undefined) return "an RFC 3339 time such as 2026-11-23T08:00:00Z";
  if (field.enum !== undefined) return `one of ${field.enum.values.map(({ name }) => name).join(", ")}`;
  switch (field.scalar) {
    case ScalarType.UINT32:
      return "a whole number from 0 to 4294967295";
    case ScalarType.INT32:
      return "a whole number from -2147483648 to 2147483647";
    case ScalarType.BOOL:
      return "true or false";
    case ScalarType.STRING:
      return "text";
    default:
      return "a number";
  }
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

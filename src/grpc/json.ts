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
import { toProblem } from "./convert.ts";
import { registry } from "./registry.ts";
import { syntaxError } from "./syntax.ts";

const requestMessage = message("wattslot.v1.OptimizeRequest");
const responseMessage = message("wattslot.v1.OptimizeResponse");

/**
 * Reads an `OptimizeRequest` in the JSON mapping of proto3: names in camelCase or as in the
 * contract, enum names, RFC 3339 times, unknown fields refused.
 *
 * Throws INVALID_ARGUMENT: with the line and column where the text is not JSON, else with every
 * field that the contract does not have or that has a value of another type, and with what is wrong
 * in the rest of the request. `nowMs` is the default start.
 */
export function requestFromJson(text: string, nowMs: number): OptimizeRequest {
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new WattslotError("INVALID_ARGUMENT", `not JSON: ${syntaxError(text)}`, { cause: error });
  }
  try {
    refuseWrongTimes(requestMessage, json);
    return decodeRequest(text);
  } catch (cause) {
    const rejects = new Rejects();
    const rest = readable(requestMessage, json, "", rejects);
    const violations = [...rejects.violations, ...wrongValues(rest, rejects, nowMs)];
    if (violations.length === 0) violations.push({ field: "", description: (cause as Error).message });
    throw new WattslotError("INVALID_ARGUMENT", "not an OptimizeRequest", { violations, cause });
  }
}

function decodeRequest(text: string): OptimizeRequest {
  return OptimizeRequest.decode(toBinary(requestMessage, fromJsonString(requestMessage, text)));
}

/** What is wrong with the values of a request from which the fields of wrong type are left out. */
function wrongValues(rest: JsonValue, rejects: Rejects, nowMs: number): FieldViolation[] {
  try {
    toProblem(decodeRequest(JSON.stringify(rest)), nowMs);
  } catch (error) {
    if (!(error instanceof WattslotError)) return [];
    return error.violations.filter(
      ({ field, description }) => !rejects.covers(field) && !rejects.explain(description),
    );
  }
  return [];
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

/** What may be wrong elsewhere only because a field is left out: its path, and what is then said. */
const CONSEQUENCES: readonly (readonly [field: RegExp, description: RegExp])[] = [
  [/(circuit|station|evse)_id$|^site(\.(circuits|evses)(\[\d+\])?)?$/, /^there is no | has no EVSE /],
  [
    /^(start|end)_time$|^sessions\[\d+\](\.(arrival|departure)_time)?$/,
    /the (start|end) of the plan|on the same EVSE until/,
  ],
  [/^site(\.tariff\b.*)?$/, /needs .*\bsite\.tariff/],
];

/** Fields that can't be read, and what is wrong with them. */
class Rejects {
  readonly violations: FieldViolation[] = [];
  readonly #paths = new Set<string>();

  add(field: string, description: string): undefined {
    this.violations.push({ field, description });
    this.#paths.add(field);
  }

  /** Of a group whose member was rejected nothing is left. */
  leaveOut(group: string): void {
    this.#paths.add(group);
  }

  /** Whether what is said of another field may be so only because of a rejected one. */
  explain(description: string): boolean {
    return CONSEQUENCES.some(
      ([field, said]) => said.test(description) && [...this.#paths].some((path) => field.test(path)),
    );
  }

  /** Whether a path is that of a rejected field or lies in one. */
  covers(path: string): boolean {
    if (this.#paths.has("")) return true;
    return [...this.#paths].some(
      (field) => path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[`),
    );
  }
}

/** A message's JSON without the fields that can't be read, which go to the rejects. */
function readable(desc: DescMessage, json: JsonValue, path: string, rejects: Rejects): JsonObject {
  const rest: JsonObject = {};
  if (!isObject(json)) {
    rejects.add(path, `${path === "" ? "the request " : ""}must be an object`);
    return rest;
  }
  const prefix = path === "" ? "" : `${path}.`;
  // The name under which each field, or one of each group that excludes each other, was given.
  const given = new Map<string, string>();
  for (const [key, value] of Object.entries(json)) {
    const field = desc.fields.find(({ name, jsonName }) => key === name || key === jsonName);
    const at = `${prefix}${field?.name ?? key}`;
    if (field === undefined) {
      rejects.add(at, `is not a field of ${desc.name}`);
      continue;
    }
    if (value === null) continue;
    const group = field.oneof?.name ?? field.name;
    const other = given.get(group);
    if (other !== undefined) {
      rejects.add(at, other === field.name ? "is given twice" : `excludes ${other}`);
      continue;
    }
    given.set(group, field.name);
    const read = readableField(desc, field, value, at, rejects);
    if (read !== undefined) rest[field.name] = read;
    else if (field.oneof !== undefined) rejects.leaveOut(`${prefix}${group}`);
  }
  return rest;
}

function readableField(
  desc: DescMessage,
  field: DescField,
  value: JsonValue,
  at: string,
  rejects: Rejects,
): JsonValue | undefined {
  if (field.fieldKind !== "list") return readableValue(desc, field, value, value, at, rejects);
  if (!Array.isArray(value)) return rejects.add(at, "must be a list");
  // The places of the others must stay as they are.
  const filler = field.message === undefined ? 0 : {};
  return value.map(
    (element, i) => readableValue(desc, field, element, [element], `${at}[${i}]`, rejects) ?? filler,
  );
}

/** `value` is a single value of the field, `whole` the same as the field's JSON: in a list where it is one. */
function readableValue(
  desc: DescMessage,
  field: DescField,
  value: JsonValue,
  whole: JsonValue,
  at: string,
  rejects: Rejects,
): JsonValue | undefined {
  const nested = field.message;
  if (nested !== undefined && !isTimestamp(nested)) return readable(nested, value, at, rejects);
  try {
    if (nested !== undefined) refuseWrongTime(value);
    fromJson(desc, { [field.name]: whole });
    return value;
  } catch {
    return rejects.add(at, `must be ${expectation(field)}`);
  }
}

function isTimestamp(desc: DescMessage): boolean {
  return desc.typeName === "google.protobuf.Timestamp";
}

const TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** Throws on days and hours that do not exist: the library takes 30 February for 2 March. */
function refuseWrongTime(value: JsonValue): void {
  const parts = typeof value === "string" ? TIME.exec(value) : null;
  const [year, month, day, hour, minute, second] = (parts ?? []).slice(1).map(Number);
  const time = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  const isReal =
    time.getUTCMonth() === month - 1 && time.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  if (!isReal) throw new Error("no such time");
}

/** Throws where a time in a message, or in one that it holds, does not exist. */
function refuseWrongTimes(desc: DescMessage, json: JsonValue): void {
  if (!isObject(json)) return;
  for (const { name, jsonName, message: nested } of desc.fields) {
    const value = json[jsonName] ?? json[name];
    if (nested === undefined || value === undefined || value === null) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      if (isTimestamp(nested)) refuseWrongTime(one);
      else refuseWrongTimes(nested, one);
    }
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

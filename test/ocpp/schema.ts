import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import formats from "ajv-formats";
import type { OcppVersion } from "../../src/domain/problem.ts";

const SCHEMA_FILES = { "1.6": "ocpp1_6", "2.0.1": "ocpp2_0_1", "2.1": "ocpp2_1" };

type Validator = (payload: unknown) => string[];

// Compiling one takes longer than planning a small site.
const compiled = new Map<string, Validator>();

/**
 * The official JSON schema of a message, such as MeterValuesRequest, in Ajv's strict mode with formats
 * checked. The returned function tells what is wrong with a payload; empty means valid.
 */
export function validatorFor(version: OcppVersion, message = "SetChargingProfileRequest"): Validator {
  const key = `${version} ${message}`;
  const validator = compiled.get(key) ?? compile(version, message);
  compiled.set(key, validator);
  return validator;
}

function compile(version: OcppVersion, message: string): Validator {
  const isOld = version !== "2.1";
  const id = `urn:${isOld ? message.replace(/Request$/, ".req").replace(/Response$/, ".conf") : message}`;
  const url = import.meta.resolve(`ocpp-rpc/lib/schemas/${SCHEMA_FILES[version]}.json`);
  const schemas = JSON.parse(readFileSync(new URL(url), "utf8"), withoutDeadKeyword) as { $id: string }[];
  const found = schemas.find(({ $id }) => $id === id);
  if (found === undefined) throw new Error(`no schema of ${message} for ${version}`);
  // The ids lack a namespace, which makes them no URN; all references are local.
  const { $id: _, ...schema } = found;
  const ajv = new Ajv({
    strict: true,
    // The 2.1 schemas say additionalProperties of texts too; it concerns their form, not what they refuse.
    strictTypes: false,
    allErrors: true,
    // 1.6 asks for multiples of 0.1, which hardly any binary fraction is exactly.
    multipleOfPrecision: 6,
  });
  formats.default(ajv);
  ajv.addVocabulary(["comment", "javaType"]);
  const validate = ajv.compile(schema);
  return (payload) =>
    validate(payload) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

/** The 2.x schemas say additionalItems where items is one schema: without effect, and refused in strict mode. */
function withoutDeadKeyword(key: string, value: unknown): unknown {
  return key === "additionalItems" ? undefined : value;
}

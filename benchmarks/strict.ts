import { readFileSync } from "node:fs";
import { createValidator } from "ocpp-rpc";

type Schemas = Parameters<typeof createValidator>[1];

/** OCPP over WebSockets with every message held against the official schemas. */
export const STRICT = {
  strictMode: true,
  strictModeValidators: [createValidator("ocpp2.1", schemas21())],
};

/** ocpp-rpc 2.2.1 asks for the messages of 2.1 under the names of 2.0.1, which its schemas of 2.1 don't have. */
function schemas21(): Schemas {
  const file = new URL(import.meta.resolve("ocpp-rpc/lib/schemas/ocpp2_1.json"));
  const schemas: { $id: string }[] = JSON.parse(readFileSync(file, "utf8"), withoutDeadKeyword);
  return schemas.map((schema) => ({
    ...schema,
    $id: schema.$id.replace(/Request$/, ".req").replace(/Response$/, ".conf"),
  })) as unknown as Schemas;
}

/** They say additionalProperties of texts too: without effect, but each would be warned of. */
function withoutDeadKeyword(_: string, value: unknown): unknown {
  if ((value as { type?: string } | null)?.type !== "string") return value;
  const { additionalProperties: __, ...rest } = value as { additionalProperties?: boolean };
  return rest;
}

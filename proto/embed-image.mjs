// Reads the descriptor set of the contract from standard input and writes it as a module, so
// that it is part of the compiled package: reflection and JSON need it at run time.
import { writeFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";

const image = (await buffer(process.stdin)).toString("base64").match(/.{1,100}/g);
writeFileSync(
  "src/gen/image.ts",
  `// Written by proto/embed-image.mjs. DO NOT EDIT.

/** google.protobuf.FileDescriptorSet of all files under proto, imports included; base64. */
export const image =
${image.map((line) => `  "${line}"`).join(" +\n")};
`,
);

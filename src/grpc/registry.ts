import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { image } from "../gen/image.ts";

/** The descriptors of the contract and of what it imports. */
export const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, base64Decode(image)));

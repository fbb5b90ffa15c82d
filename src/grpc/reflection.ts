import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { status, type UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionService,
} from "../gen/grpc/reflection/v1/reflection.ts";
import { bidiStream, decode } from "./handler.ts";
import { registry } from "./registry.ts";

type Answer = NonNullable<ServerReflectionResponse["messageResponse"]>;

/** grpc.reflection.v1.ServerReflection for the named services, from the embedded descriptors. */
export function reflectionService(services: readonly string[]): UntypedServiceImplementation {
  const method = ServerReflectionService.serverReflectionInfo;
  return {
    serverReflectionInfo: bidiStream(method, async function* (requests) {
      for (let next = await requests.next(); !next.done; next = await requests.next()) {
        const request = decode(method, next.value);
        yield {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(request.messageRequest, services),
        };
      }
    }),
  };
}

function answer(request: ServerReflectionRequest["messageRequest"], services: readonly string[]): Answer {
  switch (request?.$case) {
    case "listServices":
      return {
        $case: "listServicesResponse",
        value: { service: services.map((name) => ({ name })) },
      };
    case "fileByFilename":
      return fileAnswer(registry.getFile(request.value));
    case "fileContainingSymbol":
      return fileAnswer(fileOf(request.value));
    case "allExtensionNumbersOfType":
      // proto3: the contract extends nothing.
      if (registry.getMessage(request.value) === undefined) return notFound();
      return {
        $case: "allExtensionNumbersResponse",
        value: { baseTypeName: request.value, extensionNumber: [] },
      };
    default:
      return notFound();
  }
}

/** The file that declares a message, enum or service, or the one that a field or method is part of. */
function fileOf(symbol: string): DescFile | undefined {
  const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf(".")));
  return (registry.get(symbol) ?? registry.get(parent))?.file;
}

/** A file and all that it imports, so that a client can resolve it without asking again. */
function fileAnswer(file: DescFile | undefined): Answer {
  if (file === undefined) return notFound();
  const files = new Set<DescFile>([file]);
  // The set grows while it is walked.
  for (const { dependencies } of files) for (const dependency of dependencies) files.add(dependency);
  return {
    $case: "fileDescriptorResponse",
    value: {
      fileDescriptorProto: [...files].map(({ proto }) =>
        Buffer.from(toBinary(FileDescriptorProtoSchema, proto)),
      ),
    },
  };
}

function notFound(): Answer {
  return { $case: "errorResponse", value: { errorCode: status.NOT_FOUND, errorMessage: "not found" } };
}

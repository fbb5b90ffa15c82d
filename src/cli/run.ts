import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { WattslotError } from "../domain/errors.ts";
import { type OptimizeOptions, optimize } from "./optimize.ts";
import { type ServeOptions, serve } from "./serve.ts";
import { type SimulateOptions, simulateScenario } from "./simulate.ts";
import { type SizeOptions, sizeScenario } from "./size.ts";

const DONE = 0;
const FAILED = 1;
const BAD_INPUT = 2;

/**
 * Runs the command line and returns the exit code: 0, 1 for a job that failed, 2 for bad input.
 * Results go to standard output, everything else to standard error.
 */
export async function run(args: string[]): Promise<number> {
  // A reader that has seen enough, such as head, closes the pipe.
  process.stdout.once("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(DONE);
  });
  try {
    await program().parseAsync(args, { from: "user" });
    return DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : BAD_INPUT;
    const { code, message, violations, cause } = WattslotError.from(error);
    const isBadInput = code === "INVALID_ARGUMENT" || violations.length > 0;
    const reason = code === "INTERNAL" && cause instanceof Error ? ` (${cause.message})` : "";
    const lines = violations.map(
      ({ field, description }) => (field === "" ? "" : `${field}: `) + description,
    );
    if (lines.length === 0) lines.push(`wattslot: ${message}${reason}`);
    process.stderr.write(`${lines.join("\n")}\n`);
    return isBadInput ? BAD_INPUT : FAILED;
  }
}

function program(): Command {
  const { version } = createRequire(import.meta.url)("wattslot/package.json") as { version: string };
  const wattslot = new Command("wattslot")
    .description("Plans how the vehicles at a site charge: needs in, verified OCPP charging profiles out.")
    .version(version)
    .exitOverride()
    .addHelpText("after", "\nExample:\n  wattslot optimize benchmarks/example.json");

  wattslot
    .command("serve")
    .description("Serves wattslot.v1.OptimizerService over gRPC, with health and reflection.")
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "port to listen on, 0 for a free one", whole(0, 65_535), 50_051)
    .option("--workers <count>", "threads that plan", whole(1, 1024), availableParallelism())
    .option("--max-queue <count>", "requests that may wait for a thread", whole(0, 1_000_000), 256)
    .addOption(
      new Option("--log-level <level>", "least severe log lines to write")
        .choices(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
        .default("info"),
    )
    .addHelpText("after", "\nExample:\n  wattslot serve --host 0.0.0.0 --port 50051 --workers 4")
    .action((options: ServeOptions) => serve(options));

  wattslot
    .command("optimize")
    .description("Plans one site from an OptimizeRequest in proto3 JSON.")
    .argument("<file>", "the request; - for standard input")
    .option("--address <host:port>", "plan on this server instead of in this process", hostAndPort)
    .option("--json", "print the OptimizeResponse in proto3 JSON instead of a table", false)
    .addHelpText("after", "\nExample:\n  wattslot optimize - --json < benchmarks/example.json")
    .action((file: string, options: OptimizeOptions) => optimize(file, options));

  wattslot
    .command("simulate")
    .description("Runs a site over days or months under several strategies, and compares them.")
    .argument("<scenario>", "a scenario in YAML; - for standard input")
    .option("--json", "print the whole result in JSON instead of a table", false)
    .option("--csv <folder>", "write what came of every visit and slot")
    .option("--strategy <name>", "a strategy, or a .js file with one; may be repeated", append, [])
    .option("--sweep <path=values>", "run with other values of a parameter; may be repeated", append, [])
    .option("--threads <count>", "runs at the same time, default one a core and at most 4", whole(1, 64))
    .addHelpText(
      "after",
      "\nExample:\n  wattslot simulate benchmarks/scenarios/workplace.yaml" +
        " --sweep 'site.circuits[grid].maxPowerW=60kW..100kW step 10kW'",
    )
    .action((file: string, options: SimulateOptions) => simulateScenario(file, options));

  wattslot
    .command("size")
    .description("Finds the smallest grid connection, or other part of a site, that serves a target.")
    .argument("<scenario>", "a scenario in YAML; - for standard input")
    .requiredOption("--target <target>", "99% of the energy, served=95%, peak=120kW or cost=900")
    .option(
      "--vary <path>",
      "parameter to size, evses for the number of chargers (default: the grid connection)",
    )
    .option("--to <value>", "largest size to try, such as 500kW")
    .option("--step <value>", "to be found within; default 1 kW, 1 kWh or 1")
    .option("--strategy <name>", "a strategy, or a .js file with one", "wattslot")
    .option("--full-curve", "measure sizes to the end with which the target turns out out of reach", false)
    .option("--json", "print the result in JSON instead of a table", false)
    .option("--threads <count>", "runs at the same time, default one a core and at most 4", whole(1, 64))
    .addHelpText("after", "\nExample:\n  wattslot size benchmarks/scenarios/workplace.yaml --target 99%")
    .action((file: string, options: SizeOptions) => sizeScenario(file, options));

  return wattslot;
}

function append(text: string, texts: string[]): string[] {
  return [...texts, text];
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Must be a whole number from ${least} to ${most}.`);
    return value;
  };
}

function hostAndPort(text: string): string {
  if (!/^.+:\d{1,5}$/.test(text)) throw new InvalidArgumentError("Must be HOST:PORT.");
  return text;
}

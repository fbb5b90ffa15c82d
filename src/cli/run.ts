import { createRequire } from "node:module";
import { Command, CommanderError, Option } from "commander";
import { WattslotError } from "../domain/errors.ts";
import { SCOPES } from "../grpc/scopes.ts";
import { type Config, namesOf, printConfig, withServeOptions } from "./config.ts";
import { type OptimizeOptions, optimize } from "./optimize.ts";
import { append, appendScope, hostAndPort, span, text, tokensOption, variable, whole } from "./options.ts";
import { type ReoptimizeOptions, reoptimize } from "./reoptimize.ts";
import { serve } from "./serve.ts";
import { type SimulateOptions, simulateScenario } from "./simulate.ts";
import { type SizeOptions, sizeScenario } from "./size.ts";
import { createToken, listTokens, revokeToken, type TokenCreateOptions } from "./token.ts";

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

  const serving = wattslot
    .command("serve")
    .description(
      "Serves wattslot.v1.OptimizerService over gRPC, with health and reflection; with --data or --database-url " +
        "wattslot.v1.SiteService too.",
    );
  withServeOptions(serving)
    .addHelpText("after", "\nExample:\n  wattslot serve --host 0.0.0.0 --port 50051 --workers 4")
    .action((options: Config) => serve(options, namesOf(serving)));

  const configuring = wattslot
    .command("config")
    .description("Prints what serve would run with, by flags and environment, as JSON without secrets.");
  withServeOptions(configuring)
    .addHelpText("after", "\nExample:\n  WATTSLOT_PORT=50052 wattslot config --workers 4")
    .action((options: Config) => printConfig(options, configuring));

  withConnection(
    wattslot
      .command("reoptimize")
      .description("Has a server plan the sites that it keeps again: for cron.")
      .requiredOption("--address <host:port>", "the server", hostAndPort)
      .option("--site <id>", "a site; may be repeated", append, [])
      .option("--all", "all sites", false)
      .option("--stale <span>", "only sites whose plan is at least that old, such as 15m", span)
      .option("--json", "print a line of JSON for each site", false),
  )
    .addHelpText("after", "\nExample:\n  wattslot reoptimize --address 127.0.0.1:50051 --all --stale 15m")
    .action((options: ReoptimizeOptions) => reoptimize(options));

  withConnection(
    wattslot
      .command("optimize")
      .description("Plans one site from an OptimizeRequest in proto3 JSON.")
      .argument("<file>", "the request; - for standard input")
      .option("--address <host:port>", "plan on this server instead of in this process", hostAndPort)
      .option("--json", "print the OptimizeResponse in proto3 JSON instead of a table", false),
  )
    .addHelpText("after", "\nExample:\n  wattslot optimize - --json < benchmarks/example.json")
    .action((file: string, options: OptimizeOptions) => optimize(file, options));

  wattslot
    .command("simulate")
    .description("Runs a site over days or months under several strategies, and compares them.")
    .argument("<scenario>", "a scenario in YAML; - for standard input")
    .option("--json", "print the whole result in JSON instead of a table", false)
    .option("--csv <folder>", "write what came of every visit and slot")
    .option("--report <file>", "write a page with charts for a browser")
    .option("--svg <folder>", "write the page's charts as pictures")
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

  const token = wattslot
    .command("token")
    .description("Makes, lists and revokes the tokens that let calls in.");
  token
    .command("create")
    .description("Makes a token, prints it once, and keeps its hash in the file.")
    .requiredOption("--tenant <name>", "on whose behalf its bearer calls")
    .addOption(
      new Option("--scope <scope>", `${SCOPES.join(", ")}; may be repeated`)
        .argParser(appendScope)
        .makeOptionMandatory(),
    )
    .option("--expires <time>", "how long it is valid, such as 90d or 12h (default: for ever)", span)
    .addOption(tokensOption().makeOptionMandatory())
    .addHelpText(
      "after",
      "\nExample:\n  wattslot token create --tenant depot --scope optimize --tokens tokens.json",
    )
    .action((options: TokenCreateOptions) => createToken(options));
  token
    .command("list")
    .description("Prints id, tenant, scopes and expiry of every token.")
    .addOption(tokensOption().makeOptionMandatory())
    .action((options: { tokens: string }) => listTokens(options));
  token
    .command("revoke")
    .description("Takes a token out of the file; servers refuse it from then on.")
    .argument("<id>", "as listed")
    .addOption(tokensOption().makeOptionMandatory())
    .action((id: string, options: { tokens: string }) => revokeToken(id, options));

  return wattslot;
}

/** What a command that calls a server needs to know of the way there. */
function withConnection(command: Command): Command {
  return command
    .addOption(variable("--token <token>", "sent with the call; a variable is seen by fewer").argParser(text))
    .option("--tls", "connect with TLS", false)
    .option("--ca <file>", "connect with TLS and trust this CA only, in PEM")
    .option("--cert <file>", "connect with TLS and this certificate, in PEM")
    .option("--key <file>", "the certificate's key, in PEM");
}

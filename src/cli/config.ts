import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { WattslotError } from "../domain/errors.ts";
import { readTokens } from "../grpc/tokens.ts";
import { cron, span, spanText, text, tokensOption, variable, whole, zone } from "./options.ts";
import { type NameOf, type ServerTls, serverCredentials } from "./tls.ts";

/** What `serve` runs with. */
export interface Config extends ServerTls {
  host: string;
  port: number;
  workers: number;
  maxQueue: number;
  logLevel: string;
  /** Folder that sites are kept in; without it and without a database no sites are kept. */
  data?: string;
  /** PostgreSQL database that sites are kept in. */
  databaseUrl?: string;
  /** Sites whose plan is that old are planned again, ms. */
  reoptimizeEvery: number;
  /** When all sites are planned again, and in which zone. */
  reoptimizeCron?: string;
  timeZone: string;
  /** As StoreOptions, ms. */
  debounce: number;
  answerTimeout: number;
  retryAfter: number;
  /** How long ended sessions and answered commands are kept, ms. */
  keep: number;
  /** The file of tokens; without it every call is let in. */
  tokens?: string;
  /** Where metrics and probes are; without a port there are none. */
  metricsHost: string;
  metricsPort?: number;
}

/** Gives a command the options of `serve`, each with its environment variable. */
export function withServeOptions(command: Command): Command {
  const port = whole(0, 65_535);
  return command
    .addOption(variable("--host <host>", "address to listen on").argParser(text).default("127.0.0.1"))
    .addOption(
      variable("--port <port>", "port to listen on, 0 for a free one").argParser(port).default(50_051),
    )
    .addOption(
      variable("--workers <count>", "threads that plan")
        .argParser(whole(1, 1024))
        .default(availableParallelism()),
    )
    .addOption(
      variable("--max-queue <count>", "requests that may wait for a thread")
        .argParser(whole(0, 1_000_000))
        .default(256),
    )
    .addOption(
      variable("--data <folder>", "keep sites in this folder, for servers of one machine").argParser(text),
    )
    .addOption(
      variable("--database-url <url>", "keep sites in this PostgreSQL, for any number of servers")
        .argParser(text)
        .env("DATABASE_URL")
        .conflicts("data"),
    )
    .addOption(
      variable("--reoptimize-every <span>", "plan kept sites again whose plan is that old")
        .argParser(span)
        .default(15 * 60_000, "15m"),
    )
    .addOption(
      variable(
        "--reoptimize-cron <expression>",
        "and at these times, such as '10 13 * * *' for day-ahead prices",
      ).argParser(cron),
    )
    .addOption(
      variable("--time-zone <zone>", "of --reoptimize-cron, such as Europe/Berlin")
        .argParser(zone)
        .default("UTC"),
    )
    .addOption(
      variable("--debounce <span>", "wait that long after a change of a kept site for more of them")
        .argParser(span)
        .default(300, "300ms"),
    )
    .addOption(
      variable("--answer-timeout <span>", "longest time that a charger has to answer a command")
        .argParser(span)
        .default(60_000, "60s"),
    )
    .addOption(
      variable("--retry-after <span>", "until a charger is tried again that refused or was silent")
        .argParser(span)
        .default(5 * 60_000, "5m"),
    )
    .addOption(
      variable("--keep <span>", "forget ended sessions and answered commands after that time")
        .argParser(span)
        .default(30 * 86_400_000, "30d"),
    )
    .addOption(
      variable("--log-level <level>", "least severe log lines to write")
        .choices(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
        .default("info"),
    )
    .addOption(
      variable("--tls-cert <file>", "serve with TLS: this certificate and its chain, in PEM").argParser(text),
    )
    .addOption(variable("--tls-key <file>", "the certificate's key, in PEM").argParser(text))
    .addOption(
      variable("--tls-ca <file>", "let in only clients with a certificate of this CA, in PEM").argParser(
        text,
      ),
    )
    .addOption(tokensOption())
    .addOption(
      variable("--metrics-port <port>", "serve metrics and probes here, 0 for a free one").argParser(port),
    )
    .addOption(
      variable("--metrics-host <host>", "address of metrics and probes").argParser(text).default("127.0.0.1"),
    );
}

/** How to call an option in a message: as whoever set it did, by its flag or by its variable. */
export function namesOf(command: Command): NameOf {
  return (flag) => {
    const option = command.options.find(({ long }) => long === flag);
    const isOfVariable = option && command.getOptionValueSource(option.attributeName()) === "env";
    return (isOfVariable && option.envVar) || flag;
  };
}

/** What is read of a file, its errors with the name of the option that the file is of. */
export function named<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code, message, violations } = WattslotError.from(error);
    throw new WattslotError(code, `${name} ${message}`, { violations, cause: error });
  }
}

/** Throws INVALID_ARGUMENT where a database's URL can't be read. The URL may have a password, so it is not shown. */
export function checkDatabaseUrl(url: string | undefined, name: string): void {
  if (url === undefined) return;
  try {
    const { protocol, username, password, pathname, hash } = new URL(url);
    decodeURIComponent(username + password);
    if (/^postgres(ql)?:$/.test(protocol) && hash === "" && !pathname.includes("@")) return;
  } catch {
    // Told below, as all else that is no such URL.
  }
  const description =
    "must be a URL such as postgres://user:password@host:5432/database, / # ? % and @ in user and password as %XX";
  throw new WattslotError("INVALID_ARGUMENT", "the database's URL can't be read", {
    violations: [{ field: name, description }],
  });
}

/**
 * Prints what `serve` would run with as JSON, spans as they are given, secrets as ***, null where nothing is set. Throws
 * INVALID_ARGUMENT where `serve` would not start with it; starts nothing.
 */
export function printConfig(options: Config, command: Command): void {
  const nameOf = namesOf(command);
  const { tokens } = options;
  serverCredentials(options, nameOf);
  checkDatabaseUrl(options.databaseUrl, nameOf("--database-url"));
  if (tokens !== undefined) named(nameOf("--tokens"), () => readTokens(tokens));
  const values: Record<string, unknown> = command.opts();
  const entries = command.options.map((option) => {
    const name = option.attributeName();
    const value = values[name] ?? null;
    return [name, option.parseArg === span ? spanText(value as number) : redacted(value)];
  });
  process.stdout.write(`${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`);
}

/** A value without the secrets that may be in it: a password in a URL, a token, a key in place of its file. */
export function redacted(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (value.includes("-----BEGIN")) return "***";
  return value
    .replace(/^([a-z][a-z\d+.-]*:\/\/[^:@/]*:).*@/i, "$1***@")
    .replace(/(password=)[^&\s]*/gi, "$1***")
    .replace(/wsk_[\w-]+/g, "***");
}

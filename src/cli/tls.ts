import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";
import { type FieldViolation, WattslotError } from "../domain/errors.ts";

/** Files of a server in PEM. */
export interface ServerTls {
  tlsCert?: string;
  tlsKey?: string;
  /** Whose clients are let in. */
  tlsCa?: string;
}

/** Files of a client in PEM. */
export interface ClientTls {
  tls: boolean;
  /** Whose servers are trusted; default those that Node trusts. */
  ca?: string;
  cert?: string;
  key?: string;
}

/** How a message calls the option with this flag. */
export type NameOf = (flag: string) => string;

/**
 * The credentials of a server; undefined is one without TLS. With a CA every client needs a
 * certificate of it. Throws INVALID_ARGUMENT with each wrong file, its option and what to do.
 */
export function serverCredentials(
  { tlsCert, tlsKey, tlsCa }: ServerTls,
  nameOf: NameOf,
): ServerCredentials | undefined {
  const files = new PemFiles();
  const [certName, keyName, caName] = ["--tls-cert", "--tls-key", "--tls-ca"].map(nameOf);
  if (tlsCa !== undefined && tlsCert === undefined && tlsKey === undefined)
    files.refuse(caName, "needs a certificate of the server, too: give --tls-cert and --tls-key");
  const pair = files.pair(certName, tlsCert, keyName, tlsKey);
  const ca = files.certificates(caName, tlsCa);
  files.throwIfAny();
  if (pair === undefined) return undefined;
  return ServerCredentials.createSsl(ca ?? null, [pair], ca !== undefined);
}

/**
 * The credentials of a client; undefined is one without TLS. A CA or a certificate is a wish for TLS.
 * Throws INVALID_ARGUMENT with each wrong file, its option and what to do.
 */
export function clientCredentials({ tls, ca, cert, key }: ClientTls): ChannelCredentials | undefined {
  const files = new PemFiles();
  const pair = files.pair("--cert", cert, "--key", key);
  const roots = files.certificates("--ca", ca);
  files.throwIfAny();
  if (!tls && roots === undefined && pair === undefined) return undefined;
  return ChannelCredentials.createSsl(roots, pair?.private_key, pair?.cert_chain);
}

/** What OpenSSL, Node and gRPC say of a way that leads to no call, and what that means to whoever gave the options. */
const CAUSES: readonly [said: RegExp, meaning: string][] = [
  [/wrong version number/, "it serves without TLS: leave --tls, --ca and --cert away"],
  [
    /unable to (verify|get)|self.signed/,
    "its certificate is not of a CA that is trusted here: give that with --ca",
  ],
  [/altnames/, "its certificate is of another name: call it by a name that the certificate has"],
  [/certificate has expired/, "its certificate has expired"],
  [/alert certificate required/, "it lets in only who has a certificate: give --cert and --key"],
  [/alert (unknown ca|bad certificate)/, "it does not trust the certificate of --cert"],
  [/ECONNREFUSED/, "nobody listens there: is the server running?"],
  [/Name resolution failed/, "there is no such host"],
];

/** The error of a call that found no way to its server, told so that one knows what to do; others as they are. */
export function explained(
  error: unknown,
  address: string,
  credentials: ChannelCredentials | undefined,
): unknown {
  if (!(error instanceof WattslotError)) return error;
  const { code, message } = error;
  if (code === "UNAUTHENTICATED" && message.startsWith("a token is missing"))
    return new WattslotError(code, `${address} lets in who has a token: give --token or WATTSLOT_TOKEN`, {
      cause: error,
    });
  if (code !== "UNAVAILABLE") return error;
  const [, meaning] = CAUSES.find(([said]) => said.test(message)) ?? [];
  // Neither side says why it was cut, if it comes to that before the reason is read.
  const isCut = /ECONNRESET|Failed to connect/.test(message);
  const cut =
    credentials === undefined
      ? "it may serve with TLS only: give --tls or --ca"
      : "it cut the connection, as one does that does not trust the certificate of --cert, or wants one";
  const found = meaning ?? (isCut ? cut : undefined);
  if (found === undefined) return error;
  return new WattslotError("UNAVAILABLE", `can't call ${address}: ${found}`, { cause: error });
}

/** Reads files in PEM, and keeps what is wrong with them, so that all of it is told at once. */
class PemFiles {
  readonly #violations: FieldViolation[] = [];

  refuse(field: string, description: string): undefined {
    this.#violations.push({ field, description });
  }

  /** A certificate with its chain, and its key; undefined where there is none, or one that is refused. */
  pair(certOption: string, certFile: string | undefined, keyOption: string, keyFile: string | undefined) {
    if (certFile === undefined && keyFile === undefined) return undefined;
    if (keyFile === undefined) return this.refuse(certOption, `needs ${keyOption}, the file with its key`);
    if (certFile === undefined) return this.refuse(keyOption, `needs ${certOption}, the certificate's file`);
    const cert_chain = this.certificates(certOption, certFile);
    const private_key = this.#read(keyOption, keyFile);
    const key = private_key && this.#key(keyOption, keyFile, private_key);
    if (cert_chain === undefined || private_key === undefined || key === undefined) return undefined;
    if (!new X509Certificate(cert_chain).checkPrivateKey(key))
      return this.refuse(`${keyOption} ${keyFile}`, `is not the key of the certificate in ${certFile}`);
    return { cert_chain, private_key };
  }

  /** Certificates that TLS can read, the first of which is valid now. */
  certificates(option: string, file: string | undefined): Buffer | undefined {
    const pem = file === undefined ? undefined : this.#read(option, file);
    if (pem === undefined) return undefined;
    const field = `${option} ${file}`;
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(pem);
      createSecureContext({ ca: pem });
    } catch {
      return this.refuse(field, "has no certificate in PEM: give a file with -----BEGIN CERTIFICATE-----");
    }
    const { validFrom, validTo } = certificate;
    if (Date.parse(validFrom) > Date.now()) {
      return this.refuse(field, `is not valid before ${validFrom}: look at this machine's clock`);
    }
    if (Date.parse(validTo) < Date.now()) return this.refuse(field, `expired on ${validTo}: renew it`);
    return pem;
  }

  #key(option: string, file: string, pem: Buffer): KeyObject | undefined {
    try {
      return createPrivateKey(pem);
    } catch {
      const isEncrypted = pem.includes("ENCRYPTED");
      return this.refuse(
        `${option} ${file}`,
        isEncrypted
          ? `is protected by a passphrase: write it without one (openssl pkey -in ${file} -out plain.pem)`
          : "has no private key in PEM: give a file with -----BEGIN PRIVATE KEY-----",
      );
    }
  }

  #read(option: string, file: string): Buffer | undefined {
    // The content itself where its file is meant must not get into a log.
    if (file.includes("-----BEGIN")) return this.refuse(option, "is the name of a file, not its content");
    try {
      return readFileSync(file);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const whatToDo = code === "EACCES" ? "let this user read it" : "give the name of a file in PEM";
      return this.refuse(`${option} ${file}`, `cannot be read (${code}): ${whatToDo}`);
    }
  }

  throwIfAny(): void {
    if (this.#violations.length > 0)
      throw new WattslotError("INVALID_ARGUMENT", "TLS can't be set up", { violations: this.#violations });
  }
}

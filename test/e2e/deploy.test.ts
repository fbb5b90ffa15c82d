import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { DRAIN_MS } from "../../src/cli/serve.ts";
import { certificates } from "../support/certificates.ts";
import { serve, wattslot } from "../support/command.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const containerfile = readFileSync(`${root}deploy/Containerfile`, "utf8").replace(/\\\n\s*/g, " ");

interface Probe {
  httpGet: { path: string; port: string };
}

interface Container {
  image: string;
  args: string[];
  ports?: { name: string; containerPort: number }[];
  env: { name: string; value?: string; valueFrom?: { secretKeyRef: { name: string; key: string } } }[];
  resources: { requests: object; limits: object };
  securityContext: object;
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  lifecycle?: { preStop: { exec: { command: string[] } } };
  volumeMounts?: { name: string; mountPath: string }[];
}

interface Pod {
  enableServiceLinks: boolean;
  terminationGracePeriodSeconds?: number;
  securityContext: object;
  containers: [Container];
  volumes?: { name: string; secret: { secretName: string; items: { path: string }[] } }[];
}

/** The only document of a manifest, which must be YAML without a doubt. */
function manifest(name: string) {
  const documents = parseAllDocuments(readFileSync(`${root}deploy/kubernetes/${name}.yaml`, "utf8"));
  expect(documents).toHaveLength(1);
  const [document] = documents as Exclude<typeof documents, { empty: true }>;
  expect([document.errors, document.warnings]).toEqual([[], []]);
  return document.toJS();
}

const deployment = manifest("deployment");
const pod: Pod = deployment.spec.template.spec;
const [server] = pod.containers;
const cronJob = manifest("cronjob");
const jobPod: Pod = cronJob.spec.jobTemplate.spec.template.spec;
const [job] = jobPod.containers;

/** The variables that an instruction of the Containerfile sets. */
const imageEnv: Record<string, string> = Object.fromEntries(
  [...containerfile.matchAll(/^ENV (.*)$/gm)]
    .flatMap(([, pairs]) => pairs.trim().split(/\s+/))
    .map((pair) => pair.split("=")),
);
const imageCommand = (name: string): string[] => {
  const [, json] = new RegExp(`^${name}.*? (\\[.*\\])$`, "m").exec(containerfile) ?? [];
  return JSON.parse(json.replace(/^.*CMD (?=\[)/, ""));
};
const valuesOf = ({ env }: Container) =>
  Object.fromEntries(env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])));

let commands: string;
// Help is broken into lines of 80.
const helpOf = async (command: string) => (await wattslot([command, "--help"])).stdout.replace(/\s+/g, " ");
beforeAll(async () => {
  commands = (await wattslot(["--help"])).stdout;
});

test("the folder has what this looks at", () => {
  expect(readdirSync(`${root}deploy/kubernetes`).sort()).toEqual([
    "cronjob.yaml",
    "deployment.yaml",
    "poddisruptionbudget.yaml",
    "service.yaml",
  ]);
});

describe("the image", () => {
  test("is built of what is there, and starts what is built", () => {
    const copied = [...containerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names]) =>
      names.split(" "),
    );
    expect(copied).toEqual(expect.arrayContaining(["package-lock.json", "src", "proto"]));
    for (const name of copied) expect(existsSync(join(root, name)), name).toBe(true);
    const kept = [...containerfile.matchAll(/^COPY --from=build (.*) \S+$/gm)].flatMap(([, names]) =>
      names.split(" "),
    );
    for (const name of kept) expect(existsSync(name.replace("/app/", root)), name).toBe(true);
    const [program, main] = imageCommand("ENTRYPOINT");
    expect([program, existsSync(join(root, main))]).toEqual(["node", true]);
    expect(commands).toMatch(new RegExp(`^ +${imageCommand("CMD")[0]} `, "m"));
  });

  test("runs as nobody in particular, without secrets", () => {
    expect(
      containerfile
        .trimEnd()
        .split("\n")
        .filter((line) => line.startsWith("USER ")),
    ).toEqual(["USER node"]);
    expect(Object.keys(imageEnv).filter((name) => /TOKEN|KEY|DATABASE|PASSWORD/.test(name))).toEqual([]);
  });

  test("has variables that the program has, and the ports that they say", async () => {
    const { code, stdout } = await wattslot(["config"], "", imageEnv);
    expect(code).toBe(0);
    const { host, port, metricsHost, metricsPort } = JSON.parse(stdout);
    expect({ host, metricsHost }).toEqual({ host: "0.0.0.0", metricsHost: "0.0.0.0" });
    expect(containerfile).toContain(`\nEXPOSE ${port} ${metricsPort}\n`);
    const help = await helpOf("serve");
    for (const name of Object.keys(imageEnv).filter((name) => name.startsWith("WATTSLOT_")))
      expect(help, name).toContain(`env: ${name}`);
  });

  test("is healthy while the program is, and not without it", async () => {
    const [program, ...args] = imageCommand("HEALTHCHECK");
    expect(program).toBe("node");
    const served = await serve({ args: ["--metrics-port", "0"] });
    const env = { ...process.env, WATTSLOT_METRICS_PORT: String(served.listening.metricsPort) };
    const check = () => promisify(execFile)(process.execPath, args, { env });
    await check();
    served.kill("SIGKILL");
    await served.ended;
    await expect(check()).rejects.toMatchObject({ code: 1 });
  });
});

describe("the deployment", () => {
  test("has variables, commands and ports that the program has", async () => {
    const help = await helpOf(server.args[0]);
    expect(server.args).toEqual(["serve"]);
    for (const { name } of server.env)
      if (name.startsWith("WATTSLOT_")) expect(help, name).toContain(`env: ${name})`);
    const { folder } = certificates();
    const tokens = join(folder, "tokens.json");
    writeFileSync(tokens, '{"tokens": []}');
    const { WATTSLOT_TOKENS, ...env } = { ...imageEnv, ...valuesOf(server) };
    const { code, stdout } = await wattslot(["config"], "", { ...env, WATTSLOT_TOKENS: tokens });
    expect(code).toBe(0);
    const { port, metricsPort } = JSON.parse(stdout);
    expect(server.ports).toEqual([
      { name: "grpc", containerPort: port },
      { name: "metrics", containerPort: metricsPort },
    ]);
    const { annotations } = deployment.spec.template.metadata;
    expect(annotations).toEqual({
      "prometheus.io/scrape": "true",
      "prometheus.io/port": String(metricsPort),
    });
    // The file is one that is mounted.
    const [{ mountPath, name }] = server.volumeMounts ?? [];
    const [volume] = pod.volumes ?? [];
    expect(volume.name).toBe(name);
    expect(WATTSLOT_TOKENS).toBe(`${mountPath}/${volume.secret.items[0].path}`);
    const service = manifest("service");
    expect(service.spec.ports).toMatchObject([{ port, targetPort: "grpc" }]);
  });

  test("is asked where the program answers", async () => {
    const served = await serve({ args: ["--metrics-port", "0"] });
    for (const { httpGet } of [server.livenessProbe!, server.readinessProbe!]) {
      expect(httpGet.port).toBe("metrics");
      const { status } = await fetch(`http://127.0.0.1:${served.listening.metricsPort}${httpGet.path}`);
      expect(status, httpGet.path).toBe(200);
    }
    served.kill("SIGKILL");
    await served.ended;
  });

  test("gives the program more time to end than it takes", () => {
    const [sleep, seconds] = server.lifecycle!.preStop.exec.command;
    expect(sleep).toBe("sleep");
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(Number(seconds) + DRAIN_MS / 1000);
  });

  test("is found by those that choose it", () => {
    const { labels } = deployment.spec.template.metadata;
    const selectors = [
      deployment.spec.selector.matchLabels,
      manifest("service").spec.selector,
      manifest("poddisruptionbudget").spec.selector.matchLabels,
    ];
    for (const selector of selectors) expect(selector).toEqual(labels);
    expect(manifest("poddisruptionbudget").spec.maxUnavailable).toBeLessThan(deployment.spec.replicas);
  });
});

describe("the job", () => {
  test("runs alone, against the service", () => {
    expect(cronJob.spec.concurrencyPolicy).toBe("Forbid");
    const service = manifest("service");
    const address = job.args[job.args.indexOf("--address") + 1];
    expect(address).toBe(`${service.metadata.name}:${service.spec.ports[0].port}`);
  });

  test("has a command, options and variables that the program has", async () => {
    const [command, ...args] = job.args;
    expect(commands).toMatch(new RegExp(`^ +${command} `, "m"));
    const help = await helpOf(command);
    for (const flag of args.filter((arg) => arg.startsWith("--"))) expect(help).toContain(flag);
    for (const { name } of job.env) expect(help).toContain(`env: ${name})`);
  });
});

test.each([
  ["the deployment", pod],
  ["the job", jobPod],
] as const)(
  "%s has few rights, and its secrets from a Secret",
  (_, { enableServiceLinks, securityContext, containers: [container] }) => {
    // A Service named wattslot would set WATTSLOT_PORT.
    expect(enableServiceLinks).toBe(false);
    expect(securityContext).toMatchObject({ runAsNonRoot: true });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(container.resources).toMatchObject({
      requests: { cpu: expect.any(String), memory: expect.any(String) },
      limits: { memory: expect.any(String) },
    });
    for (const { name, value, valueFrom } of container.env)
      if (/^DATABASE_URL$|_TOKEN$/.test(name)) {
        expect(value).toBeUndefined();
        expect(valueFrom?.secretKeyRef.name).toBe("wattslot");
      }
  },
);

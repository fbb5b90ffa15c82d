import { pino } from "pino";
import { formatPlan } from "../src/cli/table.ts";
import { createEngine } from "../src/engine.ts";
import { connect, OptimizeRequest } from "../src/grpc/client.ts";
import { startServer } from "../src/grpc/server.ts";
import { scenario } from "./scenario.ts";

// The main job from end to end: a server on a free port, a site's request sent through a gRPC
// client, and the plan that comes back.
const logger = pino({ level: "warn" }, pino.destination(2));
const engine = createEngine({
  workers: 1,
  maxQueue: 0,
  onFault: (message, detail) => logger.error({ detail }, message),
});
const server = await startServer({ engine, host: "127.0.0.1", port: 0, logger, drainMs: 1000 });
const optimizer = connect(`127.0.0.1:${server.port}`);
try {
  const request = OptimizeRequest.fromPartial(scenario());
  const response = await optimizer.optimize(request);
  const { columns, isTTY } = process.stdout;
  process.stdout.write(
    formatPlan(request, response, { width: columns || 100, colour: isTTY && !process.env.NO_COLOR }),
  );
  const shown = response.sessionPlans.find(({ command }) => command?.pushWave === 2);
  if (shown?.command !== undefined) {
    const { action, payloadJson } = shown.command;
    process.stdout.write(`\n${action} for ${shown.sessionId} at ${shown.stationId}, ready to send:\n`);
    process.stdout.write(`${JSON.stringify(JSON.parse(payloadJson), undefined, 2)}\n`);
  }
} finally {
  optimizer.close();
  await server.close();
  await engine.close();
}

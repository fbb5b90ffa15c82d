#!/usr/bin/env node
import { run } from "./run.ts";

// Set rather than exited with, so that what is still being written gets out.
process.exitCode = await run(process.argv.slice(2));

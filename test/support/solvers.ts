import type { Solvers } from "../../src/engine.ts";
import { createGlpk } from "../../src/solve/glpk.ts";
import { createHighs } from "../../src/solve/highs.ts";

let started: Promise<Solvers> | undefined;

/** Both solvers of this test process, started once. */
export function testSolvers(): Promise<Solvers> {
  started ??= Promise.all([createGlpk(), createHighs()]).then(([glpk, highs]) => ({ glpk, highs }));
  return started;
}

import { workerData } from "node:worker_threads";
import { type Planned, planSite, practise, type Task } from "./engine.ts";
import { createGlpk } from "./solve/glpk.ts";
import { createHighs } from "./solve/highs.ts";
import { serve } from "./solve/pool.ts";

const [glpk, highs] = await Promise.all([createGlpk(), createHighs()]);

serve<Task, Planned, Planned>(({ problem, finishMs }, postInterim) =>
  planSite(
    problem,
    { glpk, highs },
    () => finishMs - performance.timeOrigin - performance.now(),
    postInterim,
  ),
);

if (workerData?.warmUp === true) await practise({ glpk, highs });

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { Engine } from "../../src/engine.ts";
import { Replanner } from "../../src/grpc/replanner.ts";
import { Store } from "../../src/store/store.ts";

/** What a server needs to keep sites, in a folder of its own; `stop` closes it, `forget` removes the folder too. */
export interface Kept {
  folder: string;
  sites: { store: Store; replanner: Replanner };
  stop(): Promise<void>;
  forget(): Promise<void>;
}

/** Keeps sites in SQLite, and plans them; in the folder of an earlier one it goes on. */
export async function keepSites(
  engine: Engine,
  { folder = mkdtempSync(join(tmpdir(), "wattslot-sites-")), answerMs = 60_000, retryMs = 60_000 } = {},
): Promise<Kept> {
  const store = await Store.open({ folder }, { debounceMs: 20, answerMs, retryMs });
  const replanner = new Replanner({
    store,
    engine,
    logger: pino({ level: "silent" }),
    parallel: 2,
    everyMs: 24 * 3_600_000,
    keepMs: 24 * 3_600_000,
  });
  replanner.start();
  const stop = async () => {
    await replanner.close();
    await store.close();
  };
  return {
    folder,
    sites: { store, replanner },
    stop,
    async forget() {
      await stop();
      rmSync(folder, { recursive: true });
    },
  };
}

import { existsSync } from "node:fs";

/** Debian's Chromium, or the one that CHROMIUM names; absent where there is none, and a line says so. */
export const CHROMIUM = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find(
  (path): path is string => path !== undefined && existsSync(path),
);
if (CHROMIUM === undefined)
  console.warn(
    "no Chromium found: tests in a browser are skipped (apt-get install chromium, or set CHROMIUM)",
  );

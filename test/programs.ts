/** Programs that a machine may lack: a test that needs one is skipped by its name. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";

/** Tell whether a program is there. */
export const has = (program: string): boolean =>
  spawnSync(program, [program === "openssl" ? "version" : "--version"], { stdio: "ignore" }).status === 0;

/** The path of Chromium: Debian's, or where the environment says. */
export const chromiumPath: string = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

export const hasChromium: boolean = existsSync(chromiumPath);

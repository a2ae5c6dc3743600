/** The command, run as a user runs it: as processes of their own. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

/** A tenant that is listening. */
export interface RunningSandbox {
  /** What the other commands need in their environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly stop: () => void;
}

/** Starts `monocloud-sessions sandbox` with these arguments. */
export const startSandbox = async (args: ReadonlyArray<string>): Promise<RunningSandbox> => {
  const child = spawn("node", [cli, "sandbox", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  const environment: Record<string, string> = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) environment[name] = value;
    if (Object.keys(environment).length === 2) break;
  }
  if (Object.keys(environment).length < 2) {
    throw new Error("The sandbox did not start: run `npm run build` first");
  }
  return { environment, stop: () => void child.kill() };
};

/** What a run of the command took. */
export interface Run {
  readonly code: number | null;
  readonly seconds: number;
  /** The most memory it held at once; undefined where the system does not tell. */
  readonly peakBytes: number | undefined;
}

const peakOf = async (pid: number): Promise<number | undefined> => {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(status) ?? [];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
};

/** Runs the command to its end, its output passed through, its memory watched. */
export const runCommand = (
  args: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>>,
  cwd?: string,
): Promise<Run> =>
  new Promise((resolve, reject) => {
    const began = performance.now();
    const child = spawn("node", [cli, ...args], {
      stdio: "inherit",
      cwd,
      env: { ...process.env, ...environment },
    });
    let peakBytes: number | undefined;
    // The system keeps the high-water mark, so nothing is missed between two looks but what comes after the last.
    const watch = setInterval(async () => {
      if (child.pid !== undefined) peakBytes = (await peakOf(child.pid)) ?? peakBytes;
    }, 20);
    child.once("error", reject);
    child.once("exit", (code) => {
      clearInterval(watch);
      resolve({ code, seconds: (performance.now() - began) / 1000, peakBytes });
    });
  });

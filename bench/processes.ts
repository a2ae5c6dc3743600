/** The command, run as a user runs it: as processes of their own. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const { url } = import.meta;

/** The command as it is built. The suite itself is bundled into a folder below this one. */
export const cli = fileURLToPath(
  new URL(url.includes("/built/") ? "../../dist/cli.js" : "../dist/cli.js", url),
);

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
}

/**
 * What a process and those it has started hold, in bytes: now (`VmRSS`), or at most so far, which the system keeps (`VmHWM`). 0
 * once it has ended.
 */
export const memoryOf = async (pid: number, which: "VmRSS" | "VmHWM"): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const own = Number(new RegExp(`${which}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024;
  const others = await Promise.all(
    children.split(" ").filter((id) => id !== "").map((id) => memoryOf(Number(id), which)),
  );
  return others.reduce((sum, bytes) => sum + bytes, own);
};

/** Runs the command to its end, its output passed through. */
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
    child.once("error", reject);
    child.once("exit", (code) => {
      resolve({ code, seconds: (performance.now() - began) / 1000 });
    });
  });

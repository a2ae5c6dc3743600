/** The command line as people run it: a process of its own, over a tenant on a port. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable, Writable } from "node:stream";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { make, type Sandbox, type SandboxOptions, serve } from "../../src/sandbox/mod.ts";
import { onDeno } from "../runtime.ts";

export const project = fileURLToPath(new URL("../../", import.meta.url));

const built = join(project, "dist", "cli.js");

const main = join(project, "src", "cli", "main.ts");

/** Undici's parser is compiled once: to compile it for long runs as well takes a fifth of a short one. */
const forShortRuns = "--wasm-tiering-budget=1000000000";

const commandWith = (...preload: ReadonlyArray<string>): ReadonlyArray<string> =>
  onDeno
    ? [process.execPath, "run", "--allow-all", ...preload, main]
    : [process.execPath, forShortRuns, ...preload, built];

/** The command, under the runtime that runs the tests: Node has what `npm run build` makes, Deno the source. */
export const command = commandWith();

/** What was started, and what came of it. */
export interface Running {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Sends it a signal, if it has not ended. */
  readonly kill: (signal: NodeJS.Signals) => void;
  /** All that was printed so far. */
  readonly out: () => Buffer;
  readonly err: () => string;
  readonly done: Promise<Finished>;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  /** A module that the runtime loads before the command. */
  readonly preload?: URL;
}

const inherited = ["PATH", "HOME", "TMPDIR", "SystemRoot", "DENO_DIR"] as const;

/** Starts any program; it is ended with the test if it has not ended by itself. */
export const start = (
  program: string,
  args: ReadonlyArray<string>,
  { env, cwd, input }: CommandOptions = {},
): Running => {
  const kept = Object.fromEntries(
    inherited.flatMap((name) => process.env[name] === undefined ? [] : [[name, process.env[name]]]),
  );
  const child = spawn(program, args, {
    cwd: cwd ?? project,
    env: { ...kept, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [out, err]: [Array<Buffer>, Array<Buffer>] = [[], []];
  child.stdout.on("data", (chunk) => out.push(chunk));
  child.stderr.on("data", (chunk) => err.push(chunk));
  const done = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject);
    child.once(
      "close",
      (code, signal) =>
        resolve({ code, signal, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }),
    );
  });
  // Not by `child.kill`, after which Deno takes the child to have ended by that signal, whatever it did.
  const kill = (signal: NodeJS.Signals) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(child.pid, signal);
  };
  onTestFinished(async () => {
    kill("SIGKILL");
    await done.catch(() => {});
  });
  return { child, kill, out: () => Buffer.concat(out), err: () => Buffer.concat(err).toString(), done };
};

const mustBeBuilt = () => {
  if (!onDeno && !existsSync(built)) throw new Error(`There is no ${built}: run npm run build first`);
};

/** Flags by which the runtime loads a module before a program. */
export const preloading = ({ preload }: CommandOptions = {}): ReadonlyArray<string> =>
  preload === undefined ? [] : [onDeno ? "--preload" : "--import", preload.href];

/** Starts the command. */
export const begin = (args: ReadonlyArray<string>, options?: CommandOptions): Running => {
  mustBeBuilt();
  const [program = "", ...before] = commandWith(...preloading(options));
  return start(program, [...before, ...args], options);
};

/**
 * Starts a script of bash, with these words as `"$@"`. It reads nobody's settings, as it would else: it takes its input, which
 * is a socket, for that of a remote shell.
 */
export const bash = (script: string, words: ReadonlyArray<string> = [], options?: CommandOptions): Running =>
  start("bash", ["--norc", "-c", script, "bash", ...words], options);

/** Starts a shell's script, in which `"$@"` is the command. */
export const shell = (script: string, options?: CommandOptions): Running => {
  mustBeBuilt();
  return bash(script, command, options);
};

/** The command as a shell's script has it. */
export const quotedCommand: string = command.map((word) => `'${word}'`).join(" ");

/** The other runtime, whichever runs the tests. */
export const deno = join(project, "node_modules", ".bin", process.platform === "win32" ? "deno.cmd" : "deno");

/** Starts the command from source under Deno, with these permissions and no other. */
export const beginDeno = (
  permissions: ReadonlyArray<string>,
  args: ReadonlyArray<string>,
  options: CommandOptions = {},
): Running =>
  start(deno, ["run", "--no-prompt", ...permissions, main, ...args], {
    ...options,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...options.env },
  });

/** Runs the command to its end. */
export const run = (args: ReadonlyArray<string>, options?: CommandOptions): Promise<Finished> =>
  begin(args, options).done;

/** A tenant on a port, and the environment that leads to it. */
export const tenant = async (options: SandboxOptions = {}) => {
  const sandbox = make({ users: 5, sessionsPerUser: 12, ...options });
  const server = await serve(sandbox);
  onTestFinished(() => server.close());
  return {
    sandbox,
    url: server.url,
    env: { MONOCLOUD_DOMAIN: server.url, MONOCLOUD_API_KEY: sandbox.key },
  };
};

/** A server that answers as the test says, and the environment that leads to it. */
export const answering = async (answer: RequestListener, key = "a-key") => {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { env: { MONOCLOUD_DOMAIN: `http://127.0.0.1:${port}`, MONOCLOUD_API_KEY: key } };
};

/** A sandbox on a port, whose answers can be replaced, and the environment that leads to it. */
export const intercepted = (sandbox: Sandbox, intercept: (url: string) => Response | undefined) =>
  answering(async ({ url = "", headers }, response) => {
    const request = new Request(`http://sandbox.example${url}`, {
      headers: new Headers(headers as HeadersInit),
    });
    const answer = intercept(url) ?? await sandbox.fetch(request);
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  }, sandbox.key);

/** Waits until it is so. */
export const until = async (
  isSo: () => boolean | Promise<boolean>,
  what: string,
  patience = 30_000,
): Promise<void> => {
  const limit = Date.now() + patience;
  while (!(await isSo())) {
    if (Date.now() > limit) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
};

/** Waits until a process has a file open whose path has this in it. Where the system does not tell, it waits a while. */
export const untilItReads = async ({ child }: Running, path: string): Promise<void> => {
  if (process.platform !== "linux") return void await new Promise((resume) => setTimeout(resume, 1500));
  const descriptors = `/proc/${child.pid}/fd`;
  await until(async () => {
    const open = (await readdir(descriptors).catch(() => [])).map((name) =>
      readlink(join(descriptors, name)).catch(() => "")
    );
    return (await Promise.all(open)).some((file) => file.includes(path));
  }, `it reads ${path}`);
};

/** `user session`, sorted, of all that the sandbox holds. */
export const keysOf = (sandbox: Sandbox): Array<string> =>
  [...sandbox.userIds()].flatMap((userId) =>
    [...sandbox.sessions(userId)].map(({ session_id }) => `${userId} ${session_id}`)
  ).sort();

/** The same, of NDJSON. */
export const keysIn = (ndjson: string): Array<string> =>
  ndjson.split("\n").filter((line) => line).map((line) => JSON.parse(line))
    .map(({ user_id, session_id }) => `${user_id} ${session_id}`).sort();

/** Every file beneath a folder, with its bytes as text. */
export const filesIn = async (folder: string): Promise<Record<string, string>> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(
      files.map(async (file) => [file.slice(folder.length + 1), await readFile(file, "latin1")]),
    ),
  );
};

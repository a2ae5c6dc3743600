/** The command line as people run it: a process of its own, over a tenant on a port. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable, Writable } from "node:stream";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { make, type Sandbox, type SandboxOptions, serve } from "../../src/sandbox/mod.ts";

export const project = fileURLToPath(new URL("../../", import.meta.url));

/** What `npm run build` makes. */
export const built = join(project, "dist", "cli.js");

/** What was started, and what came of it. */
export interface Running {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
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
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await done.catch(() => {});
  });
  return { child, out: () => Buffer.concat(out), err: () => Buffer.concat(err).toString(), done };
};

/** Starts the command. */
export const begin = (args: ReadonlyArray<string>, options?: CommandOptions): Running => {
  if (!existsSync(built)) throw new Error(`There is no ${built}: run npm run build first`);
  return start(process.execPath, [built, ...args], options);
};

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
export const until = async (isSo: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  const limit = Date.now() + 30_000;
  while (!(await isSo())) {
    if (Date.now() > limit) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
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

/** The server as it is served: a process of its own, on Node by the command and on Deno by `deno serve` with the least permissions. */
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { names } from "../../src/server/Variables.ts";
import type { View } from "../../src/server/jobs/Job.ts";
import { bash, command, project, type Running, until } from "../cli/command.ts";
import { onDeno } from "../runtime.ts";
import { isLong } from "../size.ts";

export type Runtime = "Node" | "Deno";

export const bothRuntimes: ReadonlyArray<Runtime> = ["Node", "Deno"];

/** The runtimes of most tests. In the short form those of load, logs, guards and types are enough on Deno. */
export const runtimes: ReadonlyArray<Runtime> = isLong ? bothRuntimes : ["Node"];

export const token = "a-token-that-is-long-enough";

/** A server that is listening. */
export interface Serving {
  readonly running: Running;
  readonly url: string;
  /** Asks with the token; with the address of this machine as it is. */
  readonly ask: (path: string, init?: RequestInit) => Promise<Response>;
}

const deno = join(project, "node_modules", ".bin", "deno");

/** What Deno is given, and nothing more. */
export const permissions = (env: Readonly<Record<string, string>>): ReadonlyArray<string> => [
  `--allow-net=${
    ["MONOCLOUD_DOMAIN", "MONOCLOUD_QUEUE", "OTEL_EXPORTER_OTLP_ENDPOINT"].flatMap((name) =>
      env[name] === undefined ? [] : [new URL(env[name]).host]
    ).join(",")
  }`,
  // What a queue in PostgreSQL takes besides.
  `--allow-env=${[...names, ...env["MONOCLOUD_QUEUE"] === undefined ? [] : ["PG*"]].join(",")}`,
  ...(env["WORKER_FOLDER"] === undefined ? [] : [
    `--allow-read=${env["WORKER_FOLDER"]}`,
    `--allow-write=${env["WORKER_FOLDER"]}`,
  ]),
];

const exposeGc = onDeno ? "--v8-flags=--expose-gc" : "--expose-gc";

const measuring = [
  exposeGc,
  onDeno ? "--preload" : "--import",
  new URL("heldMemory.mjs", import.meta.url).href,
];

/** Gives how many bytes JavaScript holds in a server that is measured. */
export const heldBytes = async ({ running }: Serving): Promise<number> => {
  const said = () => [...running.err().matchAll(/^Held: (\d+)\n/gm)];
  const { length } = said();
  running.child.kill("SIGUSR2");
  await until(() => said().length > length, "the server says what it holds");
  return Number(said().at(-1)![1]);
};

/**
 * Starts a server, and waits until it listens. With a token, but where the environment gives an empty one. It can be kept from
 * writing files of more than so many KiB, as a full disk does; and it can be made to tell {@link heldBytes}.
 */
export const serve = async (
  runtime: Runtime,
  given: Readonly<Record<string, string>>,
  { fileKiB = "unlimited", isMeasured = false }: {
    readonly fileKiB?: number | "unlimited";
    readonly isMeasured?: boolean;
  } = {},
): Promise<Serving> => {
  const { WORKER_TOKEN = token, ...rest } = given;
  const env = { ...rest, ...(WORKER_TOKEN !== "" && { WORKER_TOKEN }) };
  const where = ["--host", "127.0.0.1", "--port", "0"];
  const args = runtime === "Node"
    // The last word of the command is its file.
    ? [...command.toSpliced(-1, 0, ...isMeasured ? measuring : []), "serve", ...where]
    : [
      ...[deno, "serve", "--no-prompt", "--unstable-no-legacy-abort", ...where, ...permissions(env)],
      ...isMeasured
        ? ["--v8-flags=--expose-gc", join(project, "test", "server", "measuredServe.ts")]
        : [join(project, "src", "server", "serve.ts")],
    ];
  const running = bash(`trap "" XFSZ; ulimit -f ${fileKiB}; exec "$@"`, args, {
    env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  const address = () => /Listening on (http:[^\s"]+?)\/?["\n]/.exec(running.err())?.[1];
  await Promise.race([
    until(() => address() !== undefined, "the server listens"),
    running.done.then(({ err }) => Promise.reject(new Error(`The server ended: ${err}`))),
  ]);
  const url = address()!;
  return {
    running,
    url,
    ask: (path, { headers, ...init } = {}) =>
      fetch(`${url}${path}`, {
        ...init,
        headers: {
          ...(WORKER_TOKEN !== "" && { authorization: `Bearer ${WORKER_TOKEN}` }),
          ...(init.body !== undefined && { "content-type": "application/json" }),
          ...headers as Record<string, string>,
        },
      }),
  };
};

/** Ends the server as a service manager does. */
export const stop = async ({ running }: Serving, signal: NodeJS.Signals = "SIGTERM") => {
  running.child.kill(signal);
  return await running.done;
};

/** Starts an export, and gives its id. */
export const startExport = async ({ ask }: Serving, description: unknown): Promise<string> => {
  const response = await ask("/v1/exports", { method: "POST", body: JSON.stringify(description) });
  const answer = await response.json();
  if (response.status !== 202) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
  return answer.id;
};

/** What is told of an export. */
export const view = async ({ ask }: Serving, id: string): Promise<View> =>
  await (await ask(`/v1/exports/${id}`)).json();

/** Waits until an export has ended so. */
export const ended = async (serving: Serving, id: string, status: View["status"]): Promise<View> => {
  const limit = Date.now() + 50_000;
  while (true) {
    const now = await view(serving, id);
    if (now.status === status) return now;
    const isOver = now.status !== "queued" && now.status !== "running";
    if (isOver || Date.now() > limit) throw new Error(`Export ${id} is ${now.status}: ${now.error?.message}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
};

/** A fetch that is broken off with the test, if it still goes on. */
export const leaving = (): AbortController => {
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  return controller;
};

/** Runs in shards for tests: the real parts, by as many workers as a test wants, in one process. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import * as Dataset from "../../src/dataset/Dataset.ts";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import { keysInEach } from "../duckdb.ts";
import { clientFor } from "../source/paging/histories.ts";
import { choices, exportOf, type Options } from "./written.ts";

export const tenant = "https://sandbox.example";

/** Options of a worker. */
export type WorkerOptions = Partial<Dataset.ShardRunOptions>;

/** One attempt at a shard. */
export const attemptOf = (sandbox: Sandbox, root: string, shard: string, options: WorkerOptions = {}) =>
  Dataset.runShard({
    root,
    shard,
    tenant,
    formats: choices("ndjson", "csv", "parquet"),
    partRows: 60,
    ...options,
  }).pipe(Effect.provide(clientFor(sandbox)));

export type Dispatch = Dataset.ShardsOptions<never, never>["dispatch"];

/** What hands each shard to a worker, so many at once, until one of its attempts succeeds. */
export const workers = (
  sandbox: Sandbox,
  root: string,
  { atOnce = 2, tries = 1, ...options }: WorkerOptions & {
    readonly atOnce?: number;
    readonly tries?: number;
  } = {},
): Dispatch =>
(shards, publish) =>
  Effect.map(
    Effect.forEach(shards, ({ shard, id }) =>
      attemptOf(sandbox, root, id, options).pipe(
        Effect.retry({ times: tries - 1 }),
        Effect.flatMap(({ attempt }) => publish(shard, attempt)),
        Effect.as([]),
        Effect.catchAll(({ message }) => Effect.succeed([{ shard, message }])),
      ), { concurrency: atOnce }),
    (failed) => failed.flat(),
  );

/** Exports a sandbox into a folder, in shards. */
export const shardedOf = (
  sandbox: Sandbox,
  root: string,
  count: number,
  options: Options = {},
  dispatch: Dispatch = workers(sandbox, root, {
    walk: options.walk,
    formats: options.formats ?? choices("ndjson", "csv", "parquet"),
  }),
) => exportOf(sandbox, root, { mode: "resume", ...options, shards: { count, dispatch } });

/** The same, run. */
export const shardedInto = (...args: Parameters<typeof shardedOf>): Promise<Dataset.Report> =>
  Effect.runPromise(shardedOf(...args));

/** What is wrong with a dataset. */
export const problemsOf = async (root: string) =>
  (await Effect.runPromise(Verify.run(root))).problems.map(({ path, problem }) => `${path} ${problem}`);

/** What a dataset holds: its sessions by format, what was quarantined, and what is said to be gone. */
export const contentsOf = async (root: string) => {
  const linesIn = async (folder: string) => {
    const names = (await readdir(join(root, folder)).catch((): Array<string> => [])).sort();
    const texts = await Promise.all(names.map((name) => readFile(join(root, folder, name), "utf8")));
    return texts.join("").split("\n").filter((line) => line).map((line) => {
      const { user_id, session_id, row, gone } = JSON.parse(line);
      return `${user_id} ${session_id ?? row} ${gone}`;
    }).sort();
  };
  return [...await keysInEach(root), await linesIn("quarantine"), await linesIn("tombstones")];
};

/** The newest cursor of each user, by the parts that the manifest names. */
export const cursorsOf = async (root: string) => {
  const { parts } = JSON.parse(await readFile(join(root, "manifest.json"), "utf8"));
  const cursors = new Map<string, string>();
  for (const { format, path } of parts) {
    if (format !== "cursors") continue;
    for (const line of (await readFile(join(root, path), "utf8")).trimEnd().split("\n")) {
      if (line === "") continue;
      const { user_id, cursor } = JSON.parse(line);
      cursors.set(user_id, JSON.stringify(cursor));
    }
  }
  return [...cursors].sort();
};

/** Runs work, and interrupts it when a condition is met. Gives its exit. */
export const until = async <A, E>(
  work: Effect.Effect<A, E>,
  when: () => boolean,
): Promise<Exit.Exit<A, E>> => {
  const fiber = Effect.runFork(work);
  await Effect.runPromise(
    Effect.repeat(Effect.sleep(1), { until: () => when() || fiber.unsafePoll() !== null }),
  );
  return await Effect.runPromise(Fiber.interrupt(fiber));
};

/** The names beside the parts. */
export const besideParts = async (root: string) =>
  (await readdir(root)).filter((name) =>
    !/^(ndjson|csv|parquet|quarantine|tombstones|cursors|observed)$/.test(name)
  )
    .sort();

/** A promise, and what keeps it. */
export const gate = () => {
  let open = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
};

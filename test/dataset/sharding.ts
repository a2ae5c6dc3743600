/** Runs in shards for tests: the real parts, by as many workers as a test wants, in one process. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Stream from "effect/Stream";
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

/** Hands each shard to a worker, so many at once, until one of its attempts succeeds. */
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

/** Gives what a dataset holds: its sessions by format, what was quarantined, and what is said to be gone. */
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

/** All users of a tenant, but for these. */
export const usersOf = (sandbox: Sandbox, hidden: ReadonlySet<string> = new Set()): Options["users"] => ({
  ids: Stream.fromIterable([...sandbox.userIds()].filter((id) => !hidden.has(id))),
  all: true,
  identity: "all",
});

/** A sandbox of which some users answer otherwise, as long as a test wants it. */
export const changing = (sandbox: Sandbox) => {
  const [failing, gone] = [new Set<string>(), new Set<string>()];
  const requests = new Map<string, number>();
  const changed: Sandbox = {
    ...sandbox,
    fetch: (request) => {
      const userId = /users\/([^/?]+)/.exec(request.url)?.[1] ?? "";
      requests.set(userId, (requests.get(userId) ?? 0) + 1);
      if (gone.has(userId)) {
        const body = JSON.stringify({ type: "about:blank", title: "Not Found", status: 404 });
        const headers = { "content-type": "application/problem+json" };
        return Promise.resolve(new Response(body, { status: 404, headers }));
      }
      if (failing.has(userId) && requests.get(userId)! % 2 === 0) {
        return Promise.resolve(new Response("{}", { status: 422 }));
      }
      return sandbox.fetch(request);
    },
  };
  return { changed, failing, gone, requests };
};

/** Some sessions of every user begin, some are used, some end. */
export const change = (sandbox: Sandbox, draw: () => number) => {
  for (const userId of sandbox.userIds()) {
    for (let left = Math.floor(draw() * 5); left > 0; left--) {
      const sessions = [...sandbox.sessions(userId)];
      const any = sessions[Math.floor(draw() * sessions.length)];
      const kind = draw();
      if (any === undefined || kind < 0.3) sandbox.add(userId);
      else if (kind < 0.6) sandbox.update(userId, any.session_id);
      else sandbox.remove(userId, any.session_id);
    }
  }
};

/** A sandbox that counts the requests for sessions. */
export const counting = (sandbox: Sandbox) => {
  const asked = { count: 0 };
  const counted: Sandbox = {
    ...sandbox,
    fetch: (request) => {
      asked.count++;
      return sandbox.fetch(request);
    },
  };
  return { counted, asked };
};

/** Begins a run in shards and breaks it off before any is walked; gives the shards. */
export const begun = async (sandbox: Sandbox, root: string, count: number, options: Options = {}) => {
  let shards: ReadonlyArray<Dataset.OpenShard> = [];
  const dispatch: Dispatch = (open) => {
    shards = open;
    return Effect.succeed([]);
  };
  const error = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, count, options, dispatch)));
  if (error._tag !== "DatasetError" || error.reason !== "Shards") throw error;
  return shards;
};

/** All that lies in a folder, by its bytes. */
export const treeOf = async (root: string) => {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const names = entries.map((entry) => join(entry.parentPath, entry.name)).sort();
  const files = new Set(
    entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)),
  );
  return await Promise.all(
    names.map(async (name) => files.has(name) ? [name, (await readFile(name)).toString("base64")] : [name]),
  );
};

/** The same sandbox, whose answers wait from the n-th on until they are let go. */
export const holding = (sandbox: Sandbox, after: number) => {
  const { opened, open } = gate();
  let answers = 0;
  const held: Sandbox = {
    ...sandbox,
    fetch: async (request) => {
      if (answers++ >= after) await opened;
      return await sandbox.fetch(request);
    },
  };
  return { held, release: open };
};

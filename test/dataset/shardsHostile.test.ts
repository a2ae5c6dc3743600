/**
 * Folders of shards in which there lies something else than a run has written there: nothing outside of the dataset is opened,
 * made, moved or removed, whatever is asked of it, and nothing hangs.
 */
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { expect, it } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { makeStrange, outsideOf, secret } from "./hostile.ts";
import { touched } from "./recordPaths.mjs";
import { attemptOf, type Dispatch, shardedInto, shardedOf, until, workers } from "./sharding.ts";
import { exportInto, exportOf } from "./written.ts";

const ways = ["link", "link to a folder", "dangling", "loop", "pipe", "folder", "file"];

/** A dataset whose second run is in shards: of the first an attempt has ended, of the second one was broken off. */
const prepared = async () => {
  const root = join(await newFolder(), "data");
  const sandbox = make({ users: 4, sessionsPerUser: 12, seed: 3, faults: { latencyMs: 1 } });
  await exportInto(sandbox, root, { changes: "since-last" });
  for (const userId of sandbox.userIds()) for (let i = 0; i < 60; i++) sandbox.add(userId);
  const dispatch: Dispatch = (shards) =>
    Effect.gen(function* () {
      yield* attemptOf(sandbox, root, shards[0]!.id);
      let asked = 0;
      const counted = { ...sandbox, fetch: (request: Request) => (asked++, sandbox.fetch(request)) };
      const options = { partRows: 5, walk: { pageSize: 10, concurrency: 1 } };
      yield* Effect.promise(() => until(attemptOf(counted, root, shards[1]!.id, options), () => asked > 7));
      return [];
    }).pipe(Effect.orDie);
  await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, 2, { changes: "since-last" }, dispatch)));
  const entries = await readdir(join(root, "shards"), { recursive: true });
  return { root, sandbox, paths: ["shards", ...entries.map((path) => `shards/${path}`)] };
};

it("whatever lies among shards, nothing outside is touched", async () => {
  const { root: template, sandbox, paths } = await prepared();
  expect(paths.filter((path) => /000[12]\/1\/journal\.ndjson$/.test(path))).toHaveLength(2);
  const [key = ""] = await readdir(join(template, "shards"));
  const walk = { concurrency: 2 };
  const operations = {
    attempt: (root: string) => attemptOf(sandbox, root, `${key}/0001`, { walk }),
    "attempt that goes on": (root: string) => attemptOf(sandbox, root, `${key}/0002`, { walk }),
    coordinate: (root: string) =>
      shardedOf(sandbox, root, 2, { changes: "since-last" }, workers(sandbox, root, { walk })),
    publish: (root: string) =>
      shardedOf(sandbox, root, 2, { changes: "since-last" }, (shards, publish) =>
        Effect.map(
          Effect.all([Effect.either(publish(1, "1")), Effect.either(publish(2, "1"))]),
          (exits) =>
            exits.flatMap((exit, i) =>
              exit._tag === "Left" ? [{ ...shards[i]!, message: exit.left.message }] : []
            ),
        )),
    remove: (root: string) => exportOf(sandbox, root, { changes: "since-last", mode: "resume" }),
  };
  const operationOf = (name: keyof typeof operations): (root: string) => Effect.Effect<unknown, unknown> =>
    operations[name];
  const root = join(await newFolder(), "data");
  const { look } = await outsideOf(root, template);
  const before = await look();
  const outcomes: Record<string, number> = {};
  const cells = paths.flatMap((path) =>
    ways.flatMap((as) =>
      Object.keys(operations).map((name) => [path, as, name as keyof typeof operations] as const)
    )
  );
  // A prime, so that all ways and operations have their turn.
  const step = isLong ? 1 : 41;
  for (const [path, as, name] of cells.filter((_, at) => at % step === 0)) {
    await rm(root, { recursive: true, force: true });
    await cp(template, root, { recursive: true });
    await makeStrange(root, path, as);
    if (name === "remove") await rm(join(root, "journal.ndjson"));
    touched.length = 0;
    const exit = await Effect.runPromiseExit(Effect.timeout(operationOf(name)(root), 30_000));
    const told = `${name} where ${path} is ${as}: ${JSON.stringify(exit)}`;
    expect(touched.filter((path) => path.includes("/outside")), told).toEqual([]);
    expect(await look(), told).toBe(before);
    expect(told).not.toContain(secret);
    const error = Exit.isFailure(exit)
      ? Cause.squash(exit.cause) as { _tag: string; reason: string }
      : undefined;
    if (error !== undefined) expect(["DatasetError", "SinkError"], told).toContain(error._tag);
    const outcome = `${name}: ${error === undefined ? "done" : `${error._tag} ${error.reason}`}`;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  process.stdout.write(`${JSON.stringify(outcomes)}\n`);
  // As it is, all of it can be done.
  for (const name of ["coordinate", "remove"] as const) {
    await rm(root, { recursive: true, force: true });
    await cp(template, root, { recursive: true });
    if (name === "remove") await rm(join(root, "journal.ndjson"));
    await Effect.runPromise(operationOf(name)(root));
    expect(await readdir(root)).not.toContain("shards");
  }
}, 900_000);

it("a folder of shards with something else in it is refused before anything is removed", async () => {
  const sandbox = make({ users: 2, sessionsPerUser: 3 });
  const root = join(await newFolder(), "data");
  await makeStrange(root, "shards/mine", "folder").catch(() => undefined);
  await expect(shardedInto(sandbox, root, 1)).rejects.toThrow(
    "it holds shards/mine, which no export has written",
  );
  expect(await readdir(join(root, "shards"))).toEqual(["mine"]);
});

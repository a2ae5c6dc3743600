/** Attempts at shards, and the users that they are dealt. */
import fs from "node:fs";
import { readdir, readFile, truncate } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import type * as Dataset from "../../src/dataset/Dataset.ts";
import { make } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import {
  attemptOf,
  begun,
  besideParts,
  changing,
  counting,
  type Dispatch,
  shardedInto,
  shardedOf,
  until,
  type WorkerOptions,
  workers,
} from "./sharding.ts";
import { choices, exportInto, manifestOf, present, problemsOf } from "./written.ts";

describe("an attempt", () => {
  it("goes on from the furthest one before it, and never in its folder", async () => {
    const sandbox = make({ users: 6, sessionsPerUser: 60, faults: { latencyMs: 2 } });
    const { counted, asked } = counting(sandbox);
    const root = await newFolder();
    const [shard] = await begun(counted, root, 1);
    const options = { partRows: 20, walk: { pageSize: 10, concurrency: 1 } };
    const exit = await until(attemptOf(counted, root, shard!.id, options), () => asked.count > 20);
    expect(Exit.isFailure(exit)).toBe(true);
    const folder = join(root, "shards", shard!.id);
    const first = await readFile(join(folder, "1", "journal.ndjson"), "utf8");
    const before = asked.count;
    const [report, asWell] = await Promise.all([
      Effect.runPromise(attemptOf(counted, root, shard!.id, options)),
      Effect.runPromise(attemptOf(sandbox, root, shard!.id, options)),
    ]);
    expect([report.attempt, asWell.attempt].sort()).toEqual(["2", "3"]);
    expect(report.summary).toMatchObject({ users: 6, sessions: 360, failed: 0 });
    expect(asWell.summary).toMatchObject({ users: 6, sessions: 360, failed: 0 });
    // Nothing was asked twice but what the first had under way.
    const { requests } = await exportInto(sandbox, await newFolder(), { walk: options.walk });
    expect(asked.count - before).toBeLessThan(requests - 20 + 4);
    expect(await readFile(join(folder, "1", "journal.ndjson"), "utf8")).toBe(first);
    // One that has ended is the result.
    expect(await Effect.runPromise(attemptOf(sandbox, root, shard!.id, options))).toMatchObject({
      attempt: "3",
      wasFinished: true,
    });
    expect((await readdir(folder)).filter((name) => /^\d+$/.test(name)).sort()).toEqual(["1", "2", "3"]);
    const publishing: Dispatch = (shards, publish) =>
      Effect.orDie(Effect.as(publish(shards[0]!.shard, "2"), []));
    const { shards } = await shardedInto(sandbox, root, 1, {}, publishing);
    expect(shards).toEqual([{ shard: 1, attempt: "2", users: 6, sessions: 360 }]);
    expect(await present(root)).toEqual(keysOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  });

  it("that is interrupted completes what has come by then", async () => {
    const sandbox = make({ users: 3, sessionsPerUser: 60, faults: { latencyMs: 2 } });
    const { counted, asked } = counting(sandbox);
    const root = await newFolder();
    const [shard] = await begun(counted, root, 1);
    const options = { partRows: 1000, walk: { pageSize: 10, concurrency: 1 } };
    await until(attemptOf(counted, root, shard!.id, options), () => asked.count > 10);
    const journal = await readFile(join(root, "shards", shard!.id, "1", "journal.ndjson"), "utf8");
    const [, line] = journal.trimEnd().split("\n").map((line) => JSON.parse(line));
    expect(line.run_progress.progress.sessions).toBeGreaterThan(50);
    const before = asked.count;
    const { requests } = await exportInto(sandbox, await newFolder(), { walk: options.walk });
    await shardedInto(counted, root, 1, { walk: options.walk });
    expect(asked.count - before).toBeLessThan(requests - 10 + 3);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });

  it("that has ended and lost a part since is not the result, and the next one begins anew", async () => {
    const sandbox = make({ users: 3, sessionsPerUser: 20 });
    const root = await newFolder();
    const [shard] = await begun(sandbox, root, 1);
    await Effect.runPromise(attemptOf(sandbox, root, shard!.id));
    await truncate(join(root, "shards", shard!.id, "1", "csv", "part-00000.csv"), 10);
    const dispatch: Dispatch = (shards, publish) =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(publish(1, "1"))).toMatchObject({
          message: "Cannot publish attempt 1 at shard 1: a part of it is missing, or cut short",
        });
        return yield* workers(sandbox, root)(shards, publish);
      }).pipe(Effect.orDie);
    const { shards } = await shardedInto(sandbox, root, 1, {}, dispatch);
    expect(shards).toMatchObject([{ attempt: "2" }]);
    expect(await problemsOf(root)).toEqual([]);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });

  it("is refused with other options than its run's, and where there is no such shard", async () => {
    const sandbox = make({ users: 3, sessionsPerUser: 5 });
    const root = await newFolder();
    const [shard] = await begun(sandbox, root, 1);
    const failure = async (id: string, options: WorkerOptions = {}) =>
      await Effect.runPromise(Effect.flip(attemptOf(sandbox, root, id, options)));
    const { id } = shard!;
    expect(await failure(id, { formats: choices("csv") })).toMatchObject({ reason: "Options" });
    expect(await failure(id, { tenant: "https://other.example" })).toMatchObject({ reason: "Options" });
    expect(await failure(id, { walk: { clientId: "one" } })).toMatchObject({ reason: "Options" });
    const [key] = id.split("/");
    for (const other of [`${key}/0002`, "00001-00000000/0001", "../0001", `${key}/../0001`, "", `${key}`]) {
      expect(await failure(other)).toMatchObject({ _tag: "DatasetError", reason: "Absent" });
    }
    // The refused made nothing.
    expect((await readdir(join(root, "shards", id))).filter((name) => /^\d+$/.test(name))).toEqual([]);
    await shardedInto(sandbox, root, 1);
    expect(await failure(id)).toMatchObject({ reason: "Absent" });
    expect(await besideParts(root)).toEqual(["manifest.json"]);
  });

  it("is published when it has ended, as the first of its shard, and not afterwards", async () => {
    const sandbox = make({ users: 4, sessionsPerUser: 30, faults: { latencyMs: 2 } });
    const { counted, asked } = counting(sandbox);
    const root = await newFolder();
    let late: Dataset.Publish | undefined;
    const failures: Array<unknown> = [];
    const dispatch: Dispatch = (shards, publish) =>
      Effect.gen(function* () {
        late = publish;
        const [one] = shards;
        const refused = (shard: number, attempt: string) =>
          Effect.map(Effect.flip(publish(shard, attempt)), (error) => void failures.push(error.message));
        yield* refused(9, "1");
        yield* refused(one!.shard, "1");
        yield* refused(one!.shard, "../../1");
        yield* Effect.promise(() =>
          until(
            attemptOf(counted, root, one!.id, { partRows: 10, walk: { pageSize: 10, concurrency: 1 } }),
            () => asked.count > 3,
          )
        );
        yield* refused(one!.shard, "1");
        return yield* workers(sandbox, root)(shards, publish);
      }).pipe(Effect.orDie);
    const { shards } = await shardedInto(sandbox, root, 2, {}, dispatch);
    expect(shards?.map(({ attempt }) => attempt)).toEqual(["2", "1"]);
    expect(failures).toEqual([
      "Cannot publish shard 9: there is no such shard",
      ...["1", "../../1", "1"].map((name) =>
        `Cannot publish attempt ${name} at shard 1: it has not come to its end`
      ),
    ]);
    const manifest = await readFile(join(root, "manifest.json"), "utf8");
    await Effect.runPromise(late!(1, "1"));
    expect(await readFile(join(root, "manifest.json"), "utf8")).toBe(manifest);
    expect(await besideParts(root)).toEqual(["manifest.json"]);
  });

  it("is not published when its run has failed, but by the next", async () => {
    const sandbox = make({ users: 2, sessionsPerUser: 10 });
    const root = await newFolder();
    let late: Dataset.Publish | undefined;
    const dispatch: Dispatch = (shards, publish) => {
      late = publish;
      return Effect.orDie(
        Effect.as(attemptOf(sandbox, root, shards[0]!.id), [{ shard: 1, message: "late" }]),
      );
    };
    await expect(shardedInto(sandbox, root, 1, {}, dispatch)).rejects.toThrow("shard 1: late");
    const journal = await readFile(join(root, "journal.ndjson"), "utf8");
    expect(await Effect.runPromise(Effect.flip(late!(1, "1")))).toMatchObject({
      reason: "Shards",
      message: "Cannot publish shard 1: this run is no longer at work",
    });
    expect(await readFile(join(root, "journal.ndjson"), "utf8")).toBe(journal);
    expect(await shardedInto(sandbox, root, 1)).toMatchObject({ shards: [{ attempt: "1" }] });
  });

  it("whose folder lies where a file has one name says so", async () => {
    const sandbox = make({ users: 2, sessionsPerUser: 5 });
    const root = await newFolder();
    const { link } = fs.promises;
    fs.promises.link = (from, to) =>
      String(from).includes("shards")
        ? Promise.reject(Object.assign(new Error("EPERM"), { code: "EPERM" }))
        : link(from, to);
    syncBuiltinESMExports();
    try {
      const error = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, 1)));
      expect(error).toMatchObject({
        reason: "Shards",
        message: `Cannot run in shards in ${root}: its file system gives no file a second name (EPERM). ` +
          "Choose a folder where it does (hard links)",
      });
    } finally {
      fs.promises.link = link;
      syncBuiltinESMExports();
    }
    // The next publishes what was made by then.
    await shardedInto(sandbox, root, 1);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });
});

describe("the users", () => {
  const dealt = async (root: string, shards: ReadonlyArray<Dataset.OpenShard>) =>
    await Promise.all(shards.map(async ({ id }) => {
      const folder = join(root, "shards", id);
      const { run_progress, users_file } = JSON.parse(await readFile(join(folder, "shard.json"), "utf8"));
      const text = await readFile(join(folder, users_file.path), "utf8");
      return [
        ...run_progress.open.map(({ user_id }: { user_id: string }) => `begun ${user_id}`),
        ...text.split("\n").filter((line) => line).map((line) => JSON.parse(line)),
      ];
    }));

  it("are dealt as ranges of their list, those begun before first, in as many shards as are asked for or fewer", async () => {
    const sandbox = make({ users: 11, sessionsPerUser: 30 });
    const ids = [...sandbox.userIds()];
    for (const count of [1, 2, 3, 4, 10, 11, 12, 500]) {
      const root = await newFolder();
      const shards = await begun(sandbox, root, count);
      expect(shards).toHaveLength(Math.min(count, 11));
      const users = await dealt(root, [...shards].sort((a, b) => a.shard - b.shard));
      expect(users.flat()).toEqual(ids);
      const sizes = users.map(({ length }) => length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      expect(shards.map(({ users }) => users)).toEqual([...sizes].sort((a, b) => b - a));
    }
    const { changed, failing } = changing(sandbox);
    failing.add(ids[7]!);
    const root = await newFolder();
    const walk = { pageSize: 10, concurrency: 1 };
    await exportInto(changed, root, { walk, changes: "since-last" });
    expect((await manifestOf(root)).failed).toHaveLength(1);
    failing.clear();
    const shards = await begun(changed, root, 2, { walk, changes: "since-last" });
    const users = (await dealt(root, [...shards].sort((a, b) => a.shard - b.shard))).flat();
    expect(users).toEqual([`begun ${ids[7]}`, ...ids.filter((_, i) => i !== 7)]);
  });

  it("are weighed: who is more than a share is alone, and what is heaviest comes first", async () => {
    const sandbox = make({ users: 20, sessionsPerUser: 3 });
    const ids = [...sandbox.userIds()];
    const weights = new Map([[ids[4]!, 100], [ids[13]!, 60], [ids[14]!, NaN], [ids[15]!, -5]]);
    const root = await newFolder();
    let shards: ReadonlyArray<Dataset.OpenShard> = [];
    const weightOf = (id: string) => weights.get(id) ?? 1;
    const dispatch: Dispatch = (open, publish) => {
      shards = open;
      return workers(sandbox, root)(open, publish);
    };
    const users = { ids: Stream.fromIterable(ids) };
    await exportInto(sandbox, root, { users, shards: { count: 5, dispatch, weightOf } });
    expect(shards.map(({ weight, users }) => [weight, users])).toEqual([[100, 1], [60, 1], [6, 6], [6, 6], [
      6,
      6,
    ]]);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });
});

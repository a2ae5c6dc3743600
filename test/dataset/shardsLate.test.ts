/** Processes of a run in shards that are stopped at one moment, and go on when others have done their work. */
import fs from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename, join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import { expect, it, onTestFinished } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { isLong } from "../size.ts";
import {
  attemptOf,
  besideParts,
  type Dispatch,
  gate,
  holding,
  shardedInto,
  shardedOf,
  treeOf,
  workers,
} from "./sharding.ts";
import { stoppingAt } from "./stoppingAt.ts";
import { manifestOf, present, problemsOf } from "./written.ts";

it.skipIf(onDeno)(
  "a worker stopped before any change, that goes on when its run is over, changes nothing",
  async () => {
    const sandbox = make({ users: 4, sessionsPerUser: 20, seed: 3 });
    const told = new Set<string>();
    const options = { partRows: 15 };
    const step = isLong ? 1 : 9;
    let changes = Infinity;
    for (let at = 1 + Math.floor(Math.random() * step); at <= changes; at += step) {
      const root = join(await newFolder(), "data");
      const [stopped, resumed] = [gate(), gate()];
      let late: Promise<number> | undefined;
      let outcome = "";
      const dispatch: Dispatch = (shards, publish) =>
        Effect.gen(function* () {
          const attempt = async () => {
            const exit = await Effect.runPromise(
              Effect.either(attemptOf(sandbox, root, shards[0]!.id, options)),
            );
            outcome = exit._tag === "Right"
              ? "done"
              : `${exit.left._tag} ${(exit.left as { reason?: string }).reason}`;
          };
          late = stoppingAt(at, attempt, () => {
            stopped.open();
            return resumed.opened;
          });
          yield* Effect.promise(() => Promise.race([stopped.opened, late]));
          return yield* workers(sandbox, root, options)(shards, publish);
        });
      await Effect.runPromise(shardedOf(sandbox, root, 2, {}, dispatch));
      expect((await manifestOf(root)).runs[0].shards).toHaveLength(2);
      const before = await treeOf(root);
      resumed.open();
      changes = await late!;
      told.add(outcome);
      expect(["done", "DatasetError Absent"], `stopped before change ${at}`).toContain(outcome);
      expect(await treeOf(root), `stopped before change ${at} of ${changes}: ${outcome}`).toEqual(before);
      expect(await problemsOf(root)).toEqual([]);
      expect(await present(root)).toEqual(keysOf(sandbox));
    }
    expect(told).toContain("DatasetError Absent");
  },
  300_000,
);

/** Stops the first call of this name that is meant, until what is done meanwhile is done. */
const stoppingOnce = (
  name: "link" | "rename" | "rm",
  isMeant: (...paths: ReadonlyArray<string>) => boolean,
  meanwhile: () => Promise<void>,
) => {
  // deno-lint-ignore no-explicit-any
  const calls = fs.promises as any;
  const original = calls[name];
  let isDone = false;
  calls[name] = async (...args: ReadonlyArray<unknown>) => {
    if (!isDone && isMeant(...args.map(String))) {
      isDone = true;
      await meanwhile();
    }
    return await original(...args);
  };
  syncBuiltinESMExports();
  onTestFinished(() => {
    calls[name] = original;
    syncBuiltinESMExports();
    expect(isDone).toBe(true);
  });
};

it.skipIf(onDeno || process.platform !== "linux").each(["link", "rename"] as const)(
  "a coordinator stopped before it names a part by %s, that goes on while the next one is at work, names none",
  async (name) => {
    const sandbox = make({ users: 6, sessionsPerUser: 20, seed: 3 });
    const root = join(await newFolder(), "data");
    const stopped = gate();
    const resumed = gate();
    stoppingOnce(
      name,
      (_, to = "") => to.startsWith(`${root}/csv/part-`),
      () => {
        stopped.open();
        return resumed.opened;
      },
    );
    const first = Effect.runPromise(Effect.either(shardedOf(sandbox, root, 3)));
    await stopped.opened;
    // Its successor finds that it is no more.
    const path = join(root, "lock.json");
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), process: "1" }));
    const next: Dispatch = (shards, publish) =>
      Effect.gen(function* () {
        resumed.open();
        expect(yield* Effect.promise(() => first)).toMatchObject({ left: { reason: "LeaseLost" } });
        return yield* workers(sandbox, root)(shards, publish);
      });
    await shardedInto(sandbox, root, 3, {}, next);
    const { parts } = await manifestOf(root);
    const named = parts.map(({ path }: { path: string }) => path).sort();
    const there = await Promise.all(
      ["csv", "cursors", "ndjson", "parquet"].map(async (folder) =>
        (await readdir(join(root, folder))).map((name) => `${folder}/${name}`)
      ),
    );
    expect(there.flat().sort()).toEqual(named);
    expect(await problemsOf(root)).toEqual([]);
    expect(await present(root)).toEqual(keysOf(sandbox));
  },
);

it.skipIf(onDeno)("a worker that goes on while the shards are removed makes nothing there", async () => {
  const sandbox = make({ users: 4, sessionsPerUser: 60, seed: 3 });
  const root = join(await newFolder(), "data");
  const { held, release } = holding(sandbox, 7);
  let late: Promise<{ readonly _tag: string }> | undefined;
  let folder = "";
  const dispatch: Dispatch = (shards, publish) =>
    Effect.gen(function* () {
      const { id } = shards[0]!;
      folder = basename(id);
      const options = { partRows: 15, walk: { pageSize: 10, concurrency: 1 } };
      late = Effect.runPromise(Effect.either(attemptOf(held, root, id, options)));
      const journal = join(root, "shards", id, "1", "journal.ndjson");
      const lines = Effect.promise(() =>
        readFile(journal, "utf8").then((text) => text.split("\n").length, () => 0)
      );
      yield* Effect.repeat(Effect.delay(lines, 5), { until: (lines) => lines > 3 });
      return yield* workers(sandbox, root)(shards, publish);
    });
  // Its folders of parts are gone by then, and their place is still there.
  stoppingOnce("rm", (path = "") => path.endsWith(`${folder}/1/journal.ndjson`), async () => {
    release();
    expect(await late).toMatchObject({ left: { _tag: "DatasetError", reason: "Absent" } });
  });
  await shardedInto(sandbox, root, 2, {}, dispatch);
  expect(await besideParts(root)).toEqual(["manifest.json"]);
  expect(await problemsOf(root)).toEqual([]);
});

it.skipIf(onDeno)(
  "parts that have their names when no line of the journal does are not the dataset's",
  async () => {
    const sandbox = make({ users: 4, sessionsPerUser: 60, seed: 3 });
    const root = join(await newFolder(), "data");
    const dispatch = workers(sandbox, root, { partRows: 20 });
    const fails = (_: string, to = "") => /csv\/part-0000[1-9]/.test(to) && !to.includes("shards");
    stoppingOnce("rename", fails, () => Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" })));
    const error = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, 1, {}, dispatch)));
    expect(error).toMatchObject({ _tag: "SinkError", reason: "Commit" });
    expect((await readdir(join(root, "csv"))).length).toBeGreaterThan(0);
    expect(await problemsOf(root)).toEqual([]);
    await shardedInto(sandbox, root, 1, {}, dispatch);
    expect(await present(root)).toEqual(keysOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  },
);

/** Dispatch of a run's shards, over a queue and values in memory. */
import * as Effect from "effect/Effect";
import * as Logger from "effect/Logger";
import type * as Types from "effect/Types";
import { expect, it } from "vitest";
import * as Dispatch from "../../src/queue/Dispatch.ts";
import type * as Engine from "../../src/queue/Engine.ts";
import * as Records from "../../src/queue/Records.ts";
import * as ShardJob from "../../src/queue/ShardJob.ts";
import * as memory from "./memory.ts";

const job: ShardJob.RunJob = {
  ...{ job: "1-a", tenant: "default", target: "default", how: {}, users_listed: true },
  into: { kind: "table", run: 1, prune: false },
};

/** A queue whose shards are done once they are taken, and the run that uses it. */
const world = (next = 0) => {
  const values = memory.make(() => Date.now());
  const jobs = new Map<string, Engine.Shard>();
  const added: Array<Engine.Shard> = [];
  const failed = new Map<string, string>();
  const done = (shard: number) => {
    jobs.delete(ShardJob.idOf({ ...job, shard }));
    return Records.leave(values, "shard", Records.keyOf("shard", job.job, shard), {
      ...{ shard, status: "done", worker: "there", attempt: 1, result: "1" },
    });
  };
  const queue: Types.Mutable<Engine.Queue> = {
    add: (shards) => {
      for (const shard of shards) {
        if (jobs.has(shard.id)) continue;
        jobs.set(shard.id, shard);
        added.push(shard);
      }
      return Promise.resolve();
    },
    next: () => Promise.resolve(next),
    isThere: (id) => Promise.resolve(jobs.has(id)),
    takeFailed: () => {
      const taken = new Map(failed);
      failed.clear();
      return Promise.resolve(taken);
    },
    close: () => Promise.resolve(),
  };
  const engine = { queue: () => queue } as unknown as Engine.Engine;
  const dispatch = (count: number, publish: (shard: number) => string | undefined = () => undefined) =>
    Effect.runPromise(
      Dispatch.dispatch({ name: "queue", engine, values }, {
        job,
        shards: Array.from({ length: count }, (_, shard) => ({ shard, users: 1 })),
        show: () => {},
        publish: (shard) => Effect.sync(() => publish(shard)),
        maxElapsed: 1000,
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    );
  const until = async (is: () => boolean) => {
    while (!is()) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  return { values, queue, jobs, added, failed, done, dispatch, until };
};

it("comes with the shard that waits next, in the order that is given", async () => {
  const { added, done, dispatch, until } = world(40);
  const running = dispatch(3);
  await until(() => added.length === 3);
  expect(added.map(({ id, priority }) => [id, priority])).toEqual([
    ["1-a.0", 41],
    ["1-a.1", 42],
    ["1-a.2", 43],
  ]);
  for (const shard of [0, 1, 2]) await done(shard);
  expect(await running).toEqual([]);
});

it("has a shard done again that can't be published, three times at the most", async () => {
  const { added, done, dispatch, until } = world();
  const asked = [0, 0];
  // The first is cut short once, the second always.
  const running = dispatch(2, (shard) => ++asked[shard]! === 1 || shard === 1 ? `cut short` : undefined);
  for (const shard of [0, 1, 0, 1, 1]) {
    // It waits for as many as were asked for before, and one.
    await until(() => added.filter(({ id }) => id === `1-a.${shard}`).length > asked[shard]!);
    const before = asked[shard]!;
    await done(shard);
    await until(() => asked[shard]! > before);
  }
  expect(await running).toEqual([{ shard: 1, message: "cut short" }]);
  expect(asked).toEqual([2, 3]);
});

it("puts in again what the queue has lost, wherever it was", async () => {
  const { jobs, added, done, dispatch, until } = world();
  const running = dispatch(3);
  await until(() => added.length === 3);
  jobs.delete("1-a.2");
  await until(() => added.length === 4);
  expect(added[3]).toMatchObject({ id: "1-a.2", priority: 3 });
  for (const shard of [0, 1, 2]) await done(shard);
  expect(await running).toEqual([]);
});

it("does not wait for ever for a queue that alone can't be used", async () => {
  const { queue, added, dispatch, until } = world();
  const running = dispatch(1);
  await until(() => added.length === 1);
  queue.isThere = () => Promise.reject(new Error("it was dropped"));
  await expect(running).rejects.toThrow("it was dropped");
});

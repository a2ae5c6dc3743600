/** Work of a worker on a shard, over values in memory. */
import * as Bull from "bullmq";
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import { expect, it } from "vitest";
import * as Records from "../../src/queue/Records.ts";
import * as ShardJob from "../../src/queue/ShardJob.ts";
import * as ShardTaker from "../../src/queue/ShardTaker.ts";
import type { Values } from "../../src/queue/Values.ts";
import * as memory from "./memory.ts";
import { sleep } from "./place.ts";

const job = {
  ...{ version: ShardJob.jobVersion, job: "1-a", shard: 0, tenant: "default", target: "default" },
  ...{ into: { kind: "table", run: 1, prune: false }, how: {}, users_listed: true },
};

const takerOf = (values: Values, work: ShardTaker.Work<never>) =>
  ShardTaker.make({
    ...{ id: "here", values, work, runtime: Runtime.defaultRuntime, say: () => {} },
    engine: { errors: Bull } as unknown as Parameters<typeof ShardTaker.make>[0]["engine"],
    context: {
      places: { tenants: undefined, targets: undefined },
      limiterOf: () => Effect.never,
      lease: 1000,
    },
  });

it("says that a shard is done after all else that it said of it", async () => {
  const values = memory.make(() => Date.now());
  const slow: Values = {
    ...values,
    // As over a connection that is held up.
    set: async (key, value) => {
      if (value.includes("running")) await sleep(200);
      await values.set(key, value);
    },
  };
  const taker = takerOf(slow, () => Effect.as(Effect.sleep(50), "1"));
  const taken = { data: job, attemptsStarted: 1 } as Bull.Job;
  await taker.take(taken, "token", new AbortController().signal);
  await sleep(400);
  expect(await Records.list(values, "shard", "1-a")).toMatchObject([{ status: "done", result: "1" }]);
});

it("hands a shard back that it is told to leave, and one that comes later", async () => {
  let isBegun = false;
  const taker = takerOf(
    memory.make(() => Date.now()),
    () => Effect.zipRight(Effect.sync(() => void (isBegun = true)), Effect.never),
  );
  const tokens: Array<string> = [];
  const taken = {
    ...{ data: job, attemptsStarted: 1 },
    moveToWait: (token: string) => Promise.resolve(tokens.push(token)),
  } as unknown as Bull.Job;
  const { signal } = new AbortController();
  const taking = taker.take(taken, "first", signal);
  while (!isBegun) await sleep(5);
  expect(taker.shards()).toEqual(["1-a.0"]);
  await Effect.runPromise(taker.stop);
  // Nothing that counts as an attempt.
  await expect(taking).rejects.toBeInstanceOf(Bull.WaitingError);
  await expect(taker.take(taken, "second", signal)).rejects.toBeInstanceOf(Bull.WaitingError);
  expect(tokens).toEqual(["first", "second"]);
});

it("gives up a shard that the queue has handed to another worker, and says nothing more of it", async () => {
  const values = memory.make(() => Date.now());
  const taker = takerOf(values, () => Effect.never);
  const lost = new AbortController();
  const taking = taker.take({ data: job, attemptsStarted: 1 } as Bull.Job, "token", lost.signal);
  await sleep(50);
  lost.abort();
  await expect(taking).rejects.toThrow(/has handed this shard to another worker/);
  expect(await Records.list(values, "shard", "1-a")).not.toMatchObject([{ status: "done" }]);
});

it("puts a shard off that a newer worker is to do, and says so", async () => {
  const values = memory.make(() => Date.now());
  const taker = takerOf(values, () => Effect.die("it was done"));
  const tokens: Array<string> = [];
  const newer = {
    ...{ data: { ...job, version: ShardJob.jobVersion + 1, how: { unknown: true } }, attemptsStarted: 1 },
    moveToDelayed: (_: number, token: string) => Promise.resolve(tokens.push(token)),
  } as unknown as Bull.Job;
  const taking = taker.take(newer, "token", new AbortController().signal);
  await expect(taking).rejects.toBeInstanceOf(Bull.DelayedError);
  expect(tokens).toEqual(["token"]);
  expect(await Records.list(values, "shard", "1-a")).toMatchObject([{ status: "refused" }]);
});

it("gives up a shard that comes to it once more, and hands that back", async () => {
  const taker = takerOf(memory.make(() => Date.now()), () => Effect.never);
  const tokens: Array<string> = [];
  const taken = {
    ...{ data: job, attemptsStarted: 1 },
    moveToWait: (token: string) => Promise.resolve(tokens.push(token)),
  } as unknown as Bull.Job;
  const { signal } = new AbortController();
  const first = taker.take(taken, "first", signal);
  const lost = expect(first).rejects.toThrow(/has handed this shard to another worker/);
  await expect(taker.take(taken, "second", signal)).rejects.toBeInstanceOf(Bull.WaitingError);
  await lost;
  expect(tokens).toEqual(["second"]);
  expect(taker.shards()).toEqual([]);
});

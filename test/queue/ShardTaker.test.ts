/** What a worker does with a shard, over values in memory. */
import * as Bull from "bullmq";
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import { expect, it } from "vitest";
import * as Records from "../../src/queue/Records.ts";
import * as ShardJob from "../../src/queue/ShardJob.ts";
import * as ShardTaker from "../../src/queue/ShardTaker.ts";
import type { Values } from "../../src/queue/Values.ts";
import type { Work } from "../../src/queue/Work.ts";
import * as memory from "./memory.ts";
import { sleep } from "./place.ts";

const job = {
  ...{ version: ShardJob.jobVersion, job: "1-a", shard: 0, tenant: "default", target: "default" },
  ...{ into: { kind: "table", run: 1, prune: false }, how: {}, users_listed: true },
};

const takerOf = (values: Values, work: Work<never>) =>
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

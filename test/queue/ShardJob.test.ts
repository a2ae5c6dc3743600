/** Jobs as the queue holds them. */
import { expect, it } from "vitest";
import * as Read from "../../src/cli/options/Read.ts";
import * as ShardJob from "../../src/queue/ShardJob.ts";
import { mostSize } from "../../src/source/paging/Limits.ts";

it("reads all that a command may be given", () => {
  const times = ["1.0001s", "2.3m", "0.0015s", "1.1h"].map((text) => Read.duration.read(text)!);
  expect(times.some((time) => !Number.isInteger(time))).toBe(true);
  for (const time of times) {
    const job = {
      ...{ version: ShardJob.jobVersion, job: "1-a", shard: 0, tenant: "default", target: "default" },
      into: { kind: "table", run: 1, prune: false, checkpoint_every: time },
      how: { page_size: mostSize, max_elapsed: time },
      users_listed: true,
    };
    expect(ShardJob.decode(JSON.parse(JSON.stringify(job)))).toEqual(job);
  }
});

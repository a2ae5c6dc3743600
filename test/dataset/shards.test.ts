/** Runs in shards: what they come to is what one process comes to alone, and shards that fail do not stop the others. */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { draws } from "../source/paging/histories.ts";
import {
  attemptOf,
  begun,
  besideParts,
  change,
  changing,
  contentsOf,
  counting,
  cursorsOf,
  type Dispatch,
  shardedInto,
  shardedOf,
  usersOf,
  workers,
} from "./sharding.ts";
import { tenantAt, unpack } from "./version1.ts";
import { choices, exportInto, failureOf, manifestOf, type Options, present, problemsOf } from "./written.ts";
import { isLong } from "../size.ts";

const NOW = 1_767_225_600;

/** Gives what both say of a run, but for when it was and how its files came out. */
const said = ({ runs, failed, parts }: Awaited<ReturnType<typeof manifestOf>>) => {
  const sorted = (names: ReadonlyArray<unknown>) => names.map((name) => JSON.stringify(name)).sort();
  return {
    failed: failed.map(({ user_id, message }: Record<string, string>) => `${user_id} ${message}`).sort(),
    // deno-lint-ignore no-explicit-any
    runs: runs.map(({ shards: _, began: _1, ended: _2, seconds: _3, bytes: _4, ...run }: any) => ({
      ...run,
      missing: { ...run.missing, first: sorted(run.missing.first) },
      unverified: { ...run.unverified, first: sorted(run.unverified.first) },
      ...(run.redelivered &&
        {
          redelivered: [
            run.redelivered.sessions,
            run.redelivered.users.count,
            sorted(run.redelivered.users.first),
          ],
        }),
    })),
    columns: new Set(parts.map(({ columns }: { columns?: unknown }) => JSON.stringify(columns))),
  };
};

describe("a run in shards", () => {
  it.each(isLong ? [1, 3, 7] : [3])("comes to what a run alone does, of every kind, in %i", async (count) => {
    const clock = { now: NOW };
    const sandbox = make({
      users: 9,
      sessionsPerUser: 30,
      malformed: 0.03,
      now: () => clock.now,
      seed: count,
    });
    const { changed, failing, gone, requests } = changing(sandbox);
    const [alone, shards] = [join(await newFolder(), "alone"), join(await newFolder(), "shards")];
    const [first = "", second = "", third = "", fourth = "", fifth = ""] = sandbox.userIds();
    const hidden = new Set<string>();
    const draw = draws(count);
    const walk = { pageSize: 10, concurrency: 1 };
    const both = async (more: Options) => {
      const users = usersOf(sandbox, hidden)!;
      requests.clear();
      await exportInto(changed, alone, { mode: "resume", walk, ...more, users });
      requests.clear();
      await shardedInto(changed, shards, count, { walk, ...more, users });
      expect(await contentsOf(shards)).toEqual(await contentsOf(alone));
      const cursors = await cursorsOf(shards);
      expect(cursors).toEqual(await cursorsOf(alone));
      expect(said(await manifestOf(shards))).toEqual(said(await manifestOf(alone)));
      expect(await problemsOf(shards)).toEqual([]);
      expect(await besideParts(shards)).toEqual(["manifest.json"]);
      const { runs } = await manifestOf(shards);
      const { users: walked, sessions, shards: won } = runs.at(-1);
      expect(won.map(({ shard }: { shard: number }) => shard)).toEqual(
        Array.from({ length: Math.min(count, walked) }, (_, i) => i + 1),
      );
      const sum = (name: string) =>
        won.reduce((sum: number, one: Record<string, number>) => sum + one[name]!, 0);
      expect([sum("users"), sum("sessions")]).toEqual([walked, sessions]);
    };
    failing.add(second);
    // A user who is listed is gone only when that is said twice.
    gone.add(fifth);
    await both({ changes: "since-last" });
    gone.clear();
    // Two that failed are tried again.
    failing.clear();
    await both({});
    change(sandbox, draw);
    clock.now += 1000;
    gone.add(third);
    failing.add(fourth);
    await both({ changes: "since-last" });
    change(sandbox, draw);
    clock.now += 1000;
    gone.clear();
    failing.clear();
    hidden.add(first);
    await both({ changes: "since-last", prune: true });
    change(sandbox, draw);
    clock.now += 1000;
    await both({ changes: { since: NOW - 86_400 } });
    hidden.clear();
    await both({ changes: "since-last", prune: true });
    await both({ changes: "since-last", prune: true });
    expect((await manifestOf(shards)).runs.map(({ kind }: { kind: string }) => kind)).toEqual(
      ["full", "retry", "changes", "changes", "changes", "changes", "changes"],
    );
    expect(await contentsOf(shards)).toHaveLength(5);
    expect((await contentsOf(shards)).at(-1)).not.toEqual([]);
    // Rows of a tenant that are no sessions are not of the dataset.
    const there = new Set(await present(shards));
    const lacking = keysOf(sandbox).filter((key) => !there.has(key));
    const quarantined = new Set((await contentsOf(shards))[3]!.map((line) => line.split(" ")[0]));
    expect(lacking.filter((key) => !quarantined.has(key.split(" ")[0]!))).toEqual([]);
  }, 120_000);

  it("is added to a dataset that 0.1 wrote, under its names", async () => {
    const root = await unpack("finished");
    const { sandbox, users, pass } = tenantAt("finished");
    const [gone] = sandbox.sessions(users[1]!);
    sandbox.remove(users[1]!, gone!.session_id);
    sandbox.add(users[0]!);
    pass();
    const walk = { concurrency: 1, pageSize: 20 };
    const options = {
      formats: choices("ndjson", "csv.gz", "parquet"),
      users: { ids: Stream.fromIterable(sandbox.userIds()), identity: "fixture" },
      walk,
      changes: "since-last" as const,
      prune: true,
    };
    const report = await shardedInto(sandbox, root, 3, options);
    expect(report).toMatchObject({ users: 6, tombstones: { gone: 1 }, shards: [{}, {}, {}] });
    expect(await problemsOf(root)).toEqual([]);
    expect(await besideParts(root)).toEqual(["manifest.json", "rejected", "removed", "seen", "state"]);
    const { manifest_version, parts } = await manifestOf(root);
    expect(manifest_version).toBe(1);
    expect(new Set(parts.map(({ path }: { path: string }) => path.split("/")[0]))).toEqual(
      new Set(["ndjson", "csv", "parquet", "rejected", "removed", "state"]),
    );
    const again = await shardedInto(sandbox, root, 3, options);
    expect(again).toMatchObject({ sessions: 0, tombstones: { gone: 0, again: 0 } });
  });

  it("of no user is one as well, and asks for no worker", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 0 });
    const never: Dispatch = () => Effect.die("nothing to do");
    const report = await shardedInto(sandbox, root, 4, {}, never);
    expect(report).toMatchObject({ users: 0, sessions: 0, shards: [] });
    expect(await problemsOf(root)).toEqual([]);
    expect(await besideParts(root)).toEqual(["manifest.json"]);
  });
});

describe("a shard that fails", () => {
  it("is reported by name, the others stand, and it alone is tried again", async () => {
    const sandbox = make({ users: 12, sessionsPerUser: 20, malformed: 0.02 });
    const { counted, asked } = counting(sandbox);
    const root = await newFolder();
    const run = workers(counted, root, {});
    const failing: Dispatch = (shards, publish) =>
      Effect.map(
        run(shards.filter(({ shard }) => shard !== 2 && shard !== 3), publish),
        () => [{ shard: 2, message: "its machine has gone" }],
      );
    const error = await Effect.runPromise(Effect.flip(shardedOf(counted, root, 4, {}, failing)));
    expect(error).toMatchObject({
      _tag: "DatasetError",
      reason: "Shards",
      message: "2 of 4 shards failed: shard 2: its machine has gone; shard 3: no attempt was published. " +
        "The others are kept: --resume tries these again",
    });
    expect(await problemsOf(root)).toEqual([]);
    expect(await besideParts(root)).toEqual(["journal.ndjson", "shards", expect.stringMatching(/^users-/)]);
    const before = asked.count;
    let again: ReadonlyArray<number> = [];
    const report = await shardedInto(counted, root, 4, {}, (shards, publish) => {
      again = shards.map(({ shard }) => shard);
      return run(shards, publish);
    });
    expect(again).toEqual([2, 3]);
    expect(asked.count - before).toBeLessThan(before * 1.2);
    expect(report).toMatchObject({
      users: 12,
      requests: asked.count,
      shards: [{}, {}, {}, {}].map((_, i) => ({ shard: i + 1 })),
    });
    expect(await problemsOf(root)).toEqual([]);
    const alone = await newFolder();
    await exportInto(sandbox, alone);
    expect(await contentsOf(root)).toEqual(await contentsOf(alone));
  });

  it("is not the end of the run where another machine has published it meanwhile", async () => {
    const sandbox = make({ users: 4, sessionsPerUser: 5 });
    const root = await newFolder();
    const both: Dispatch = (shards, publish) =>
      Effect.as(
        workers(sandbox, root)(shards, publish),
        shards.map(({ shard }) => ({ shard, message: "late" })),
      );
    expect(await shardedInto(sandbox, root, 2, {}, both)).toMatchObject({ users: 4 });
  });
});

describe("the coordinator", () => {
  it("refuses what shards can't do, and to go on otherwise than it began", async () => {
    const sandbox = make({ users: 4, sessionsPerUser: 10 });
    const root = await newFolder();
    const dispatch: Dispatch = () => Effect.succeed([]);
    for (const count of [0, 1.5, 10_000, NaN]) {
      await expect(exportInto(sandbox, root, { shards: { count, dispatch } })).rejects.toThrow(
        `Cannot deal users to ${count} shards: 'count' must be from 1 to 9999`,
      );
    }
    await expect(
      exportInto(sandbox, root, {
        ...{ users: usersOf(sandbox)! },
        changes: "since-last",
        byActivity: {},
        shards: { count: 2, dispatch },
      }),
    ).rejects.toThrow("Cannot go by activity in shards: leave out 'byActivity' or 'shards'");
    await begun(sandbox, root, 2);
    expect(await failureOf(sandbox, root, { mode: "resume" })).toMatchObject({
      reason: "Options",
      message: expect.stringContaining("without shards, as it was begun in them: give a queue as then"),
    });
    await shardedInto(sandbox, root, 2);
    const alone = await newFolder();
    const refusing: Sandbox = { ...sandbox, fetch: () => Promise.resolve(new Response("", { status: 401 })) };
    let answers = 0;
    const some: Sandbox = {
      ...sandbox,
      fetch: (request) => answers++ < 2 ? sandbox.fetch(request) : refusing.fetch(request),
    };
    await expect(exportInto(some, alone, { walk: { concurrency: 1 } })).rejects.toThrow("401");
    await expect(shardedInto(sandbox, alone, 2)).rejects.toThrow(
      "in shards, as one process began it: go on without",
    );
  });

  it("checks rows quarantined over all shards as they come in, and is gone on with when more may be", async () => {
    const sandbox = make({ users: 8, sessionsPerUser: 40, malformed: 0.1 });
    for (const maxQuarantined of [{ count: 12 }, { percent: 2 }]) {
      const root = await newFolder();
      let walked = 0;
      const dispatch: Dispatch = (shards, publish) =>
        workers(sandbox, root, { atOnce: 1 })(
          shards,
          (...args) => Effect.tap(publish(...args), () => Effect.sync(() => void walked++)),
        );
      const refused = shardedOf(sandbox, root, 4, { maxQuarantined }, dispatch);
      const error = await Effect.runPromise(Effect.flip(refused));
      expect(error).toMatchObject({ _tag: "ExportError", reason: "TooManyQuarantined" });
      // A share is judged of enough rows only.
      expect(walked).toBe("count" in maxQuarantined ? 1 : 4);
      expect(await problemsOf(root)).toEqual([]);
      // Not before the limit is higher.
      const again = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, 4, { maxQuarantined })));
      expect(again).toMatchObject({ reason: "TooManyQuarantined" });
      const report = await shardedInto(sandbox, root, 4, { maxQuarantined: { percent: 50 } });
      expect(report.sessions + report.quarantined).toBe(8 * 40);
      expect(await problemsOf(root)).toEqual([]);
    }
    const root = await newFolder();
    const [shard] = await begun(sandbox, root, 1);
    const attempt = attemptOf(sandbox, root, shard!.id, { maxQuarantined: { count: 3 } });
    expect(await Effect.runPromise(Effect.flip(attempt))).toMatchObject({ reason: "TooManyQuarantined" });
    // A share is of the whole run.
    const shared = attemptOf(sandbox, root, shard!.id, { maxQuarantined: { percent: 1 } });
    expect(await Effect.runPromise(shared)).toMatchObject({ attempt: "2" });
  });

  it("that knows none of the users leaves nothing behind", async () => {
    const sandbox = make({ users: 1 });
    const root = await newFolder();
    const users = { ids: Stream.make("nobody", "none") };
    const error = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, 2, { users })));
    expect(error).toMatchObject({ _tag: "ExportError", reason: "NoSuchUsers" });
    const alone = await newFolder();
    await failureOf(sandbox, alone, { users: { ids: Stream.make("nobody", "none") } });
    expect(await besideParts(root)).toEqual(await besideParts(alone));
  });
});

/** Runs in shards: what they come to is what one process comes to alone, and a worker can't harm it. */
import fs from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import type * as Dataset from "../../src/dataset/Dataset.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { draws } from "../source/paging/histories.ts";
import {
  attemptOf,
  besideParts,
  contentsOf,
  cursorsOf,
  type Dispatch,
  problemsOf,
  shardedInto,
  shardedOf,
  until,
  type WorkerOptions,
  workers,
} from "./sharding.ts";
import { choices, exportInto, failureOf, manifestOf, type Options, present } from "./written.ts";

const NOW = 1_767_225_600;

const of = (sandbox: Sandbox, hidden: ReadonlySet<string> = new Set()): Options["users"] => ({
  ids: Stream.fromIterable([...sandbox.userIds()].filter((id) => !hidden.has(id))),
  all: true,
  identity: "all",
});

/** A sandbox of which some users answer otherwise, as long as a test wants it. */
const changing = (sandbox: Sandbox) => {
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

const change = (sandbox: Sandbox, draw: () => number) => {
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

/** What both say of a run, but for when it was and how its files came out. */
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
  it.each([1, 3, 7])("comes to what a run alone does, of every kind, in %i", async (count) => {
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
    const [first = "", second = "", third = "", fourth = ""] = sandbox.userIds();
    const hidden = new Set<string>();
    const draw = draws(count);
    const walk = { pageSize: 10, concurrency: 1 };
    const both = async (more: Options) => {
      const users = of(sandbox, hidden)!;
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
    await both({ changes: "since-last" });
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

/** A sandbox that counts the requests for sessions. */
const counting = (sandbox: Sandbox) => {
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
const begun = async (sandbox: Sandbox, root: string, count: number, options: Options = {}) => {
  let shards: ReadonlyArray<Dataset.OpenShard> = [];
  const dispatch: Dispatch = (open) => {
    shards = open;
    return Effect.succeed([]);
  };
  const error = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, count, options, dispatch)));
  expect(error).toMatchObject({ _tag: "DatasetError", reason: "Shards" });
  return shards;
};

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
    // What was made by then is published by the next.
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
        ...{ users: of(sandbox)! },
        changes: "since-last",
        byActivity: {},
        shards: { count: 2, dispatch },
      }),
    ).rejects.toThrow("Cannot go by activity in shards: leave out 'byActivity' or 'shards'");
    await begun(sandbox, root, 2);
    expect(await failureOf(sandbox, root, { mode: "resume" })).toMatchObject({
      reason: "Options",
      message: expect.stringContaining("'shards' was true when it began and is not given now"),
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
      "'shards' was not given when it began and is true now",
    );
  });

  it("checks rows quarantined over all shards as they come in, and is gone on with when more may be", async () => {
    const sandbox = make({ users: 8, sessionsPerUser: 40, malformed: 0.1 });
    for (const maxQuarantined of [{ count: 12 }, { percent: 2 }]) {
      const root = await newFolder();
      const error = await Effect.runPromise(Effect.flip(shardedOf(sandbox, root, 4, { maxQuarantined })));
      expect(error).toMatchObject({ _tag: "ExportError", reason: "TooManyQuarantined" });
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

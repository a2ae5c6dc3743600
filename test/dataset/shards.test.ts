/** Runs in shards: what they come to is what one process comes to alone, and a worker can't harm it. */
import { readdir, readFile } from "node:fs/promises";
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
  besideParts,
  contentsOf,
  cursorsOf,
  type Dispatch,
  problemsOf,
  shardedInto,
  shardedOf,
  workers,
} from "./sharding.ts";
import { exportInto, failureOf, manifestOf, type Options, present } from "./written.ts";

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

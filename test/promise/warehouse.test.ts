/** Runs into a warehouse, by promises, and what its tables hold afterwards. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as promise from "../../src/promise.ts";
import type { Sandbox, SandboxOptions } from "../../src/sandbox/mod.ts";
import { make as makeDuckDb } from "../../src/warehouse/duckdb.ts";
import { make as makePostgres } from "../../src/warehouse/postgres.ts";
import { newFolder } from "../folders.ts";
import { expectRows, listedBy, rowsOf, select } from "../warehouse/tables.ts";
import { allVersions, postgresForFile, versions } from "../warehouse/postgres.ts";
import { reasonOf, requestsAfterwards, tenant } from "./tenant.ts";

const ready = async (options: SandboxOptions = {}) => {
  const { sandbox, options: reached } = tenant(options);
  const folder = await newFolder();
  const target = makeDuckDb({ path: join(folder, "sessions.duckdb") });
  return { sandbox, folder, target, options: { ...reached, users: "all", target } as const };
};

/** Ends one session, uses another and adds one; of one user. */
const change = (sandbox: Sandbox) => {
  const [userId = ""] = sandbox.userIds();
  const [ended, used] = [...sandbox.sessions(userId)];
  sandbox.remove(userId, ended!.session_id);
  sandbox.update(userId, used!.session_id);
  sandbox.add(userId);
};

describe("sync()", () => {
  it("makes the table equal the tenant, and reports what it did", async () => {
    const { sandbox, target, options } = await ready();
    const told: Array<promise.Progress> = [];
    const first = await promise.sync({ ...options, onProgress: (progress) => told.push(progress) });
    expect(first).toMatchObject({
      kind: "sync",
      run: 1,
      users: 3,
      sessions: 21,
      inserted: 21,
      updated: 0,
      ended: 0,
      verified: true,
      userListUnverifiedReasons: [],
    });
    expect(told.at(-1)).toMatchObject({ users: 3, usersTotal: 3, sessions: 21 });
    change(sandbox);
    expect(await promise.sync(options)).toMatchObject({ run: 2, inserted: 1, updated: 1, ended: 0 });
    expect(await promise.sync({ ...options, prune: true })).toMatchObject({ kind: "prune", ended: 1 });
    expectRows(await rowsOf(target), listedBy(sandbox));
    expect(await rowsOf(target, "sessions")).toHaveLength(22);
  });

  it("asks by activity only who changed", async () => {
    const { sandbox, options } = await ready();
    const hourly = { ...options, byActivity: true };
    expect((await promise.sync(hourly)).by_activity).toMatchObject({ asked: 3, of: 3 });
    change(sandbox);
    expect(await promise.sync(hourly)).toMatchObject({ kind: "sync", inserted: 1, updated: 1, ended: 0 });
    expect(await promise.sync({ ...hourly, sweepEvery: 0 })).toMatchObject({
      kind: "prune",
      ended: 1,
      by_activity: { asked: 3, of: 3, late: 0 },
    });
  });

  it("takes the users that it is given, and deletes what has ended of them alone", async () => {
    const { sandbox, target, options } = await ready();
    const [one = "", other = ""] = sandbox.userIds();
    await promise.sync(options);
    change(sandbox);
    const [ended] = sandbox.sessions(other);
    sandbox.remove(other, ended!.session_id);
    const users = new Set([one]);
    expect(await promise.sync({ ...options, users, prune: true, deletes: "hard" })).toMatchObject({
      users: 1,
      ended: 1,
    });
    const keys = (await rowsOf(target, "sessions")).map((row) => JSON.parse(row).slice(0, 2));
    expect(keys).toHaveLength(21);
    expect(keys).toContainEqual([other, ended!.session_id]);
  });

  it("redacts before anything leaves, and keeps to the policy that the schema began with", async () => {
    const { target, options } = await ready();
    const redact = { policy: { ip: "drop", user_agent: "drop" } } as const;
    await promise.sync({ ...options, redact });
    const rows = await select(
      target,
      ({ table }) =>
        `SELECT count("ip_address") AS ips, count("session_key") AS keys FROM ${table("sessions")}`,
    );
    expect(rows.map(({ ips, keys }) => [Number(ips), Number(keys)])).toEqual([[0, 0]]);
    const error = await reasonOf(promise.sync(options));
    expect(error).toSatisfy(promise.isTargetError);
    expect(error).toMatchObject({ reason: "Options" });
    const filtered = await reasonOf(promise.sync({ ...options, redact, clientId: "app" }));
    expect(filtered).toMatchObject({ _tag: "TargetError", reason: "Options" });
  });

  it("keeps a history once it is begun", async () => {
    const { sandbox, target, options } = await ready();
    await promise.sync({ ...options, history: true });
    change(sandbox);
    await promise.sync(options);
    expect(await rowsOf(target, "sessions_history")).toHaveLength(23);
  });

  it("ends at a signal with its reason, asks no more, and goes on where it was", async () => {
    const { sandbox, target, options } = await ready({ users: 24, faults: { latencyMs: 10 } });
    const controller = new AbortController();
    const onProgress = ({ users }: promise.Progress) => {
      if (users > 8) controller.abort("enough");
    };
    const ending = { ...options, concurrency: 2, checkpointRows: 1, onProgress, signal: controller.signal };
    expect(await reasonOf(promise.sync(ending))).toBe("enough");
    expect(await requestsAfterwards(sandbox)).toBe(0);
    const before = sandbox.counts.total;
    const counts = { users: 24, sessions: 168, inserted: 168, unchanged: 0 };
    expect(await promise.sync(options)).toMatchObject({ run: 1, ...counts, verified: true });
    // The list of users, and for each of them what changed since.
    expect(sandbox.counts.total - before).toBe(25);
    expectRows(await rowsOf(target), listedBy(sandbox));
  });

  it("rejects with what onProgress throws", async () => {
    const { options } = await ready();
    const onProgress = () => {
      throw new Error("this test's");
    };
    expect(await reasonOf(promise.sync({ ...options, onProgress }))).toEqual(new Error("this test's"));
  });

  it("asks nothing of the tenant, and makes no file, when the signal says so beforehand", async () => {
    const { sandbox, folder, options } = await ready();
    const signal = AbortSignal.abort("never mind");
    expect(await reasonOf(promise.sync({ ...options, signal }))).toBe("never mind");
    expect([sandbox.counts.total, await readdir(folder)]).toEqual([0, []]);
  });

  it("gives a target's error of any class as one of its own, and any other as it is", async () => {
    const { options } = await ready();
    const failing = (error: Error) => ({ ...options.target, connect: () => Promise.reject(error) });
    const foreign = Object.assign(new Error("no such role"), {
      _tag: "TargetError",
      reason: "Denied",
      target: "theirs",
    });
    const error = await reasonOf(promise.sync({ ...options, target: failing(foreign) }));
    expect(error).toSatisfy(promise.isTargetError);
    expect(error).toMatchObject({
      reason: "Denied",
      target: "theirs",
      message: "no such role",
      cause: foreign,
    });
    const fault = new RangeError("a fault of the target");
    expect(await reasonOf(promise.sync({ ...options, target: failing(fault) }))).toBe(fault);
  });
});

describe("load()", () => {
  it("brings a folder into the table once, and sync goes on from there", async () => {
    const { sandbox, folder, target, options } = await ready();
    const { target: _, ...rest } = options;
    const root = join(folder, "export");
    await promise.dataset({ ...rest, folder: root, formats: "csv" });
    const told: Array<promise.LoadProgress> = [];
    const report = await promise.load({
      folder: root,
      target,
      onProgress: (progress) => told.push(progress),
    });
    expect(report).toMatchObject({ kind: "load", inserted: 21, verified: true });
    expect(told.at(-1)).toEqual({ rows: 21, rowsTotal: 21 });
    expect(await promise.load({ folder: root, target })).toMatchObject({ sessions: 0 });
    expect(await promise.load({ folder: root, target, replace: true })).toMatchObject({ inserted: 21 });
    change(sandbox);
    expect(await promise.sync({ ...options, prune: true })).toMatchObject({
      inserted: 1,
      updated: 1,
      ended: 1,
    });
    expectRows(await rowsOf(target), listedBy(sandbox));
    expect(await reasonOf(promise.load({ folder: root, target }))).toMatchObject({ reason: "Foreign" });
  });

  it.each([
    [undefined, "'folder' must be given"],
    [{ folder: "a" }, "'target' must be given"],
    [{ folder: "", target: makeDuckDb({ path: "never.duckdb" }) }, "'folder' is empty"],
    [{ folder: "a", target: "never.duckdb" }, "'target' must be a target, such as make()"],
    [{ folder: "a", target: {} }, "'target' must be a target, such as make()"],
    [{ foldr: "a" }, 'there is no option "foldr" (did you mean folder?)'],
    [{ checkpointRows: 0 }, "'checkpointRows' must be a positive integer"],
    [{ deletes: "softly" }, `'deletes' must be "soft" or "hard"`],
    [{ checkpointEvery: "30s" }, "'checkpointEvery' must be milliseconds from 0 on"],
  ])("refuses %o", async (given, flaw) => {
    const error = await reasonOf(promise.load(given as never));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(`Cannot load as ${flaw}`);
  });

  it("says where there is no folder of an export", async () => {
    const { folder, target } = await ready();
    const error = await reasonOf(promise.load({ folder, target }));
    expect(error).toSatisfy(promise.isDatasetError);
    expect(error).toMatchObject({ reason: "Absent" });
  });
});

describe("make()", () => {
  it.each([
    [
      () => makeDuckDb({ pth: "a" } as never),
      'a target in DuckDB as there is no option "pth" (did you mean path?)',
    ],
    [() => makeDuckDb({} as never), "a target in DuckDB as 'path' must be given"],
    [() => makePostgres({ url: 7 } as never), "a target in PostgreSQL as 'url' must be a text"],
    [() => makePostgres({ url: "postgres://a/b", user: "c" } as never), 'there is no option "user"'],
    [() => makePostgres({ url: "nowhere" }), "Invalid URL"],
  ])("refuses wrong options: %s", (make, flaw) => {
    expect(make).toThrow(TypeError);
    expect(make).toThrow(flaw);
  });
});

describe.skipIf(versions.length === 0)(`sync() into ${allVersions[0]!.name}`, () => {
  const server = postgresForFile();

  it("makes the table equal the tenant, and waits for a run that is under way", async () => {
    const { url, password } = await server().createDatabase();
    const target = makePostgres({ url, password });
    // So slow that the first run is under way still when the second has a connection, on a busy machine as well.
    const { sandbox, options } = tenant({ users: 20, faults: { latencyMs: 250 } });
    const given = { ...options, users: "all", target } as const;
    const first = promise.sync({ ...given, concurrency: 1 });
    await expect.poll(() => sandbox.counts.total, { timeout: 30_000 }).toBeGreaterThan(3);
    expect(await reasonOf(promise.sync(given))).toMatchObject({ _tag: "TargetError", reason: "Locked" });
    const second = promise.sync({ ...given, wait: "1 minute", prune: true });
    expect(await first).toMatchObject({ run: 1, inserted: 140 });
    expect(await second).toMatchObject({ run: 2, kind: "prune", inserted: 0, ended: 0 });
    expectRows(await rowsOf(target), listedBy(sandbox));
  });
});

/** Exports over several threads of Node, over a tenant on loopback. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Progress } from "../../src/export/Export.ts";
import { ExportPool } from "../../src/thread/mod.ts";
import { keysIn, keysOf } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { failure, inThread, memory, run, spawner, tenantOf } from "./threads.ts";

const runIn = (
  options: ExportPool.ExportPoolOptions,
  exports: Iterable<ExportPool.PoolExport>,
  more?: ExportPool.PoolRunOptions,
) => Effect.flatMap(ExportPool.make(options), (pool) => pool.run(exports, more));

const filesOf = (users: ReadonlyArray<string>, folder: string): Array<ExportPool.PoolExport> =>
  users.map((user, index) => ({
    users: [user],
    targets: [{ format: "ndjson", to: join(folder, `${index}.ndjson`) }],
  }));

/** A tenant that notes when it was asked for sessions. */
const clocked = async (options: Parameters<typeof tenantOf>[0] = {}) => {
  const asked: Array<number> = [];
  const found = await tenantOf({ ...options, beforeAnswer: () => void asked.push(Date.now()) });
  return { ...found, asked };
};

describe("run()", () => {
  it("exports every session of every user once, over all threads, into one report", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 40, sessionsPerUser: { mean: 60 } });
    const folder = await newFolder();
    const { spawn, started } = spawner();
    const told: Array<Progress> = [];
    const report = await run(
      runIn({ tenant, spawn, threads: 2 }, filesOf(users, folder), {
        onProgress: (progress) => told.push(progress),
      }),
    );
    expect(started).toHaveLength(2);
    const texts = await Promise.all(
      users.map((_, index) => readFile(join(folder, `${index}.ndjson`), "utf8")),
    );
    expect(keysIn(texts.join(""))).toEqual(keysOf(sandbox));
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    expect(report).toMatchObject({
      users: 40,
      sessions: keysOf(sandbox).length,
      rejected: 0,
      bytes,
      verified: true,
    });
    expect(report.files.map(({ name }) => name)).toEqual(
      users.map((_, index) => join(folder, `${index}.ndjson`)),
    );
    expect(report.files.map(({ rows }) => rows)).toEqual(users.map((user) => sandbox.sessionCount(user)));
    const { users: walked, sessions, encodedBytes, usersTotal } = told.at(-1)!;
    expect({ walked, sessions, encodedBytes, usersTotal }).toEqual({
      walked: 40,
      sessions: report.sessions,
      encodedBytes: bytes,
      usersTotal: 40,
    });
  });

  it("uses every thread", async () => {
    const { users, tenant } = await tenantOf({ users: 12, faults: { latencyMs: 50 } });
    const { spawn, started } = spawner();
    const used = new Set<number>();
    const watching = () => {
      const worker = spawn();
      const index = started.length;
      worker.on("message", ([, message]: [number, [number, number, Array<{ _tag?: string }>]]) => {
        if (Array.isArray(message?.[2]) && message[2].some(({ _tag }) => _tag === "Done")) used.add(index);
      });
      return worker;
    };
    await run(
      runIn({ tenant, spawn: watching, threads: 3, exportsPerThread: 1 }, filesOf(users, await newFolder())),
    );
    expect(used).toEqual(new Set([1, 2, 3]));
  });

  it("merges what is missing, unverified and rejected, and keeps no file of users that are not there", async () => {
    const { users, tenant } = await tenantOf({ malformed: 0.1 });
    const folder = await newFolder();
    const all = [...users.slice(0, 2), "nobody", ...users.slice(2), "no one"];
    const report = await run(runIn({ tenant, ...spawner().options }, filesOf(all, folder)));
    expect(report.missing).toEqual({ count: 2, first: ["nobody", "no one"] });
    expect(report.users).toBe(7);
    expect(report.rejected).toBeGreaterThan(0);
    const here = await run(
      inThread({ tenant, users: all, targets: [{ format: "csv", to: memory("csv").output }] }),
    );
    const { sessions, rejected, unverified, verified } = here;
    expect(report).toMatchObject({ sessions, rejected, verified, unverified: { count: unverified.count } });
    expect((await readdir(folder)).sort()).toEqual(["0", "1", "3", "4", "5"].map((name) => `${name}.ndjson`));
  });

  it("fails if the tenant knows none of all users", async () => {
    const { tenant } = await tenantOf();
    const error = await failure(
      runIn({ tenant, ...spawner().options }, filesOf(["nobody", "no one"], await newFolder())),
    );
    expect(error).toMatchObject({ _tag: "ExportError", reason: "NoSuchUsers" });
    expect(error.message).toContain('none of the 2 users asked for, such as "nobody"');
  });

  it("ends the others when one fails, and undoes what is not complete", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 3_000, faults: { latencyMs: 5 } });
    const folder = await newFolder();
    const nowhere = join(folder, "nowhere", "s.csv");
    const half = filesOf(users.slice(0, 1_500), folder);
    const exports = [
      { users: users.slice(1_500), targets: [{ format: "csv", to: join(folder, "long.csv") }] } as const,
      ...half.slice(0, 3),
      { users: users.slice(3, 4), targets: [{ format: "csv", to: nowhere }] } as const,
      ...half.slice(4),
    ];
    const error = await failure(runIn({ tenant, ...spawner().options, exportsPerThread: 2 }, exports));
    expect(error).toMatchObject({ _tag: "OutputError", reason: "Open", path: nowhere });
    expect((await readdir(folder)).filter((name) => !/^\d+\.ndjson$/.test(name))).toEqual([]);
    expect(sandbox.counts.total).toBeLessThan(3_000);
  });

  it("refuses a place that is named twice, and options out of range", async () => {
    const { users, tenant } = await tenantOf();
    const twice = users.map((user) => ({
      users: [user],
      targets: [{ format: "csv" as const, to: "same.csv" }],
    }));
    const defect = async (work: ReturnType<typeof runIn>) => {
      const exit = await Effect.runPromiseExit(Effect.scoped(work));
      return Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined;
    };
    expect(await defect(runIn({ tenant, ...spawner().options }, twice))).toMatchObject({
      message: "Cannot export to same.csv as it is named twice",
    });
    expect(await defect(runIn({ tenant, ...spawner().options, threads: 0 }, []))).toMatchObject({
      message: "Cannot make a pool as 'threads' must be a positive integer: it is 0",
    });
  });

  it("tells of a thread that crashed, and works again with a new one", async () => {
    const { users, tenant } = await tenantOf({ users: 400, faults: { latencyMs: 5 } });
    const { spawn, started } = spawner();
    await run(Effect.gen(function* () {
      const pool = yield* ExportPool.make({ tenant, spawn });
      const many = users.map((user) => ({
        users: [user],
        targets: [{ format: "csv" as const, to: memory(user).output }],
      }));
      const dying = pool.run(many, { onProgress: () => void started[0]!.terminate() });
      expect(yield* Effect.flip(dying)).toMatchObject({ _tag: "ThreadError", reason: "Crashed" });
      const few = users.slice(0, 8).map((user) => ({
        users: [user],
        targets: [{ format: "csv" as const, to: memory(user).output }],
      }));
      expect((yield* pool.run(few)).users).toBe(8);
      expect(started).toHaveLength(3);
    }));
  });
});

describe("the rate limit, as the tenant sees it", () => {
  it.each([1, 3])("holds for all exports together, over %d threads", async (threads) => {
    const { users, tenant, asked } = await clocked({ users: 150, sessionsPerUser: 120 });
    const exports = users.map((user) => ({
      users: [user],
      targets: [{ format: "csv" as const, to: memory(user).output }],
    }));
    await run(runIn({ tenant: { ...tenant, rate: 100, burst: 10 }, ...spawner().options, threads }, exports));
    expect(asked.length).toBeGreaterThanOrEqual(300);
    const seconds = (asked.at(-1)! - asked[0]!) / 1000;
    // What is on its way may arrive late by as much. With a limit for each thread, or each export, it would take a third of
    // the time, or less.
    expect(asked.length).toBeLessThanOrEqual(10 + 100 * (seconds + 0.5));
  });

  it("can't be kept without memory to share, and is not given up for that", async () => {
    const { tenant } = await tenantOf();
    vi.stubGlobal("SharedArrayBuffer", undefined);
    onTestFinished(() => void vi.unstubAllGlobals());
    const exit = await Effect.runPromiseExit(
      Effect.scoped(runIn({ tenant, ...spawner().options, threads: 1 }, [])),
    );
    expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({
      name: "RangeError",
      message: expect.stringContaining("cross-origin isolated"),
    });
  });

  it("lets a Retry-After that one thread meets hold the others", async () => {
    const refusing = {
      users: 200,
      sessionsPerUser: 20,
      faults: { rateLimit: { perSecond: 1, burst: 60 }, retryAfterSeconds: 2 },
    };
    const { users, tenant, sandbox } = await tenantOf(refusing);
    const exports = users.map((user) => ({
      users: [user],
      targets: [{ format: "csv" as const, to: memory(user).output }],
    }));
    const error = await failure(
      runIn(
        { tenant: { ...tenant, rate: 400, burst: 1, maxElapsed: "3 seconds" }, ...spawner().options },
        exports,
      ),
    );
    expect(error).toMatchObject({ _tag: "ApiError", reason: "RateLimited" });
    // Sixty are answered, then each second one. Those refused are the few under way when the first was, and again after
    // each hold; a thread that knew nothing of it would have gone on at hundreds a second.
    expect(sandbox.counts.byStatus[429]).toBeLessThan(60);
  });
});

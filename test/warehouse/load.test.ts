/** Folders that were exported, loaded into a table. */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { expect, it } from "vitest";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import type { DatasetOptions } from "../../src/dataset/DatasetOptions.ts";
import * as Load from "../../src/warehouse/Load.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import { changeManifest, choices, exportInto } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { draws } from "../source/paging/histories.ts";
import { isLong } from "../size.ts";
import { expectRows, hiding, listedBy, rowsOf, select, sync } from "./tables.ts";

const load = (options: Load.LoadOptions) => Effect.runPromise(Load.load(options));
const failureOf = (options: Load.LoadOptions) => Effect.runPromise(Effect.flip(Load.load(options)));

const place = async () => {
  const folder = await newFolder();
  return { root: join(folder, "data"), target: DuckDb.make({ path: join(folder, "warehouse.duckdb") }) };
};

const changes = { mode: "resume", changes: "since-last", prune: true } as const;

const change = (sandbox: Sandbox) => {
  for (const userId of sandbox.userIds()) {
    const [first, second] = [...sandbox.sessions(userId)];
    sandbox.add(userId);
    if (first !== undefined) sandbox.remove(userId, first.session_id);
    if (second !== undefined) sandbox.update(userId, second.session_id);
  }
};

it.each(["ndjson", "csv", "parquet", "csv.gz"] as const)(
  "a folder of %s is in the table once, with what has changed and ended since",
  async (format) => {
    const { root, target } = await place();
    const sandbox = make({ users: 5, sessionsPerUser: 130 });
    const formats = choices(format);
    await exportInto(sandbox, root, { formats });
    expect(await load({ root, target })).toMatchObject({ kind: "load", inserted: 650, verified: true });
    expectRows(await rowsOf(target), listedBy(sandbox));
    expect(await load({ root, target })).toMatchObject({
      inserted: 0,
      updated: 0,
      unchanged: 0,
      sessions: 0,
    });
    change(sandbox);
    await exportInto(sandbox, root, { formats, ...changes });
    expect(await load({ root, target })).toMatchObject({ inserted: 5, updated: 5, ended: 5, unchanged: 0 });
    expectRows(await rowsOf(target), listedBy(sandbox));
  },
);

it("sync goes on where the folder ended, and load does not go back behind it", async () => {
  const { root, target } = await place();
  const sandbox = make({ users: 5, sessionsPerUser: 130 });
  await exportInto(sandbox, root, { formats: choices("ndjson") });
  await load({ root, target });
  change(sandbox);
  expect(await sync(sandbox, target)).toMatchObject({ inserted: 5, updated: 5, unchanged: 0, requests: 6 });
  expect(await sync(sandbox, target, { prune: true })).toMatchObject({ ended: 5 });
  expectRows(await rowsOf(target), listedBy(sandbox));
  expect(await failureOf({ root, target })).toMatchObject({
    reason: "Foreign",
    message: expect.stringContaining("Go on with sync, or give --replace"),
  });
});

it("a prune asks for users whom only the folder told of, and the tenant lists no more", async () => {
  const { root, target } = await place();
  const sandbox = make({ users: 5, sessionsPerUser: 30 });
  // By another order, an export leaves no cursors.
  await exportInto(sandbox, root, { formats: choices("ndjson"), walk: { sort: "session_id:1" } });
  await load({ root, target });
  const tenant = hiding(sandbox);
  const [gone = ""] = sandbox.userIds();
  tenant.hidden.add(gone);
  expect(await sync(tenant, target, { prune: true })).toMatchObject({ ended: 30, verified: true });
  expectRows(await rowsOf(target), listedBy(sandbox, (userId) => userId !== gone));
});

it("another folder takes the place of all, or nothing", async () => {
  const { root, target } = await place();
  const sandbox = make({ users: 3, sessionsPerUser: 50 });
  await exportInto(sandbox, root, { formats: choices("ndjson") });
  await load({ root, target });
  const other = join(await newFolder(), "other");
  await exportInto(sandbox, other, { formats: choices("parquet") });
  change(sandbox);
  await exportInto(sandbox, other, { formats: choices("parquet"), ...changes });
  expect(await failureOf({ root: other, target })).toMatchObject({
    reason: "Foreign",
    message: expect.stringContaining("give --replace"),
  });
  await changeManifest(other, ({ parts }) => parts.at(-1).sha256 = "0".repeat(64));
  const before = await rowsOf(target, "sessions");
  const broken = await failureOf({ root: other, target, replace: true, checkpointRows: 10 });
  expect(broken).toMatchObject({ _tag: "DatasetError", reason: "Corrupt" });
  expectRows(await rowsOf(target, "sessions"), before);
  await rm(other, { recursive: true });
  await exportInto(sandbox, other, { formats: choices("parquet") });
  expect(await load({ root: other, target, replace: true })).toMatchObject({ inserted: 150 });
  expectRows(await rowsOf(target, "sessions"), listedBy(sandbox));
});

it("what is in quarantine there is in quarantine here", async () => {
  const { root, target } = await place();
  const sandbox = make({ users: 3, sessionsPerUser: 50, malformed: 0.1 });
  const { quarantined } = await exportInto(sandbox, root, { formats: choices("ndjson") });
  expect(await load({ root, target })).toMatchObject({ quarantined });
  const names = await readdir(join(root, "quarantine"));
  const texts = await Promise.all(names.map((name) => readFile(join(root, "quarantine", name), "utf8")));
  const lines = texts.join("").trim().split("\n");
  const kept = lines.map((line) => JSON.parse(line)).map(({ user_id, row }) => `${user_id} ${row}`);
  expect(kept).toHaveLength(quarantined);
  const rows = await select(target, ({ table }) => `SELECT "user_id", "row" FROM ${table("_quarantine")}`);
  // Those that are alike are kept once.
  expect(rows.map(({ user_id, row }) => `${user_id} ${row}`).sort()).toEqual([...new Set(kept)].sort());
});

it("a folder that is none, has not ended or was changed is refused by name", async () => {
  const { root, target } = await place();
  await mkdir(root);
  expect(await failureOf({ root, target })).toMatchObject({ reason: "Absent" });
  const sandbox = make({ users: 3, sessionsPerUser: 50 });
  await exportInto(sandbox, root, { formats: choices("csv") });
  await changeManifest(root, ({ parts }) => parts[0].sha256 = "0".repeat(64));
  expect(await failureOf({ root, target })).toMatchObject({
    reason: "Corrupt",
    message: expect.stringContaining("csv/part-00000.csv"),
  });
  expect(await rowsOf(target)).toEqual([]);
  expect(await readdir(root)).toContain("manifest.json");
});

it("interrupted anywhere and gone on with, each row is there once", async () => {
  const { root, target: _ } = await place();
  const sandbox = make({ users: 8, sessionsPerUser: 130 });
  const options: Partial<DatasetOptions<never, never>> = { formats: choices("ndjson", "csv"), partRows: 150 };
  await exportInto(sandbox, root, options);
  change(sandbox);
  await exportInto(sandbox, root, { ...options, ...changes });
  let breaks = 0;
  for (let seed = 1; seed <= (isLong ? 40 : 3); seed++) {
    const draw = draws(seed);
    const { target } = await place();
    for (let isDone = false; !isDone;) {
      const broken = Effect.runSync(Deferred.make<void>());
      let left = draw() < 0.8 ? Math.ceil(draw() * 12) : Infinity;
      const progress = Load.noProgress();
      const counted = {
        rowsTotal: 0,
        get rows() {
          return progress.rows;
        },
        set rows(rows) {
          progress.rows = rows;
          if (--left === 0) Effect.runSync(Deferred.succeed(broken, undefined));
        },
      };
      const fiber = Effect.runFork(
        Load.load({ root, target, progress: counted, checkpointRows: 1 + Math.floor(draw() * 200) }),
      );
      Effect.runFork(Effect.zipRight(Deferred.await(broken), Fiber.interrupt(fiber)));
      const exit = await Effect.runPromise(Fiber.await(fiber));
      isDone = Exit.isSuccess(exit);
      if (!isDone) breaks++;
      if (!isDone && !Exit.isInterrupted(exit)) throw new Error(String(exit));
    }
    expectRows(await rowsOf(target), listedBy(sandbox));
  }
  expect(breaks).toBeGreaterThan(isLong ? 40 : 2);
}, 600_000);

/** Runs in shards, in one process: attempts that are interrupted, doubled or late, and a coordinator that is. */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { describe, expect, it, onTestFinished } from "vitest";
import { make as makeSandbox } from "../../src/sandbox/mod.ts";
import type { ShardWork } from "../../src/warehouse/SyncOptions.ts";
import * as Store from "../../src/warehouse/Store.ts";
import type { Dialect, Target } from "../../src/warehouse/Target.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { isLong } from "../size.ts";
import { connect, hasPostgres, postgresForFile } from "./postgres.ts";
import { changing } from "./rounds.ts";
import { attempt, plainly, reasonOf, stuckAt } from "./sharding.ts";
import { expectRows, listedBy, rowsOf, select, sync } from "./tables.ts";

describe.skipIf(!hasPostgres)("a run in shards", () => {
  const postgres = postgresForFile();
  const newTarget = async () => Postgres.make(await postgres().createDatabase());

  it("equals the tenant, first, later and pruned, and leaves no shards", async () => {
    const sandbox = makeSandbox({ users: 25, sessionsPerUser: 20 });
    const target = await newTarget();
    const shards = { count: 7, dispatch: plainly(sandbox, target) };
    const first = await sync(sandbox, target, { shards });
    expect(first).toMatchObject({ users: 25, verified: true, missing: { count: 0 } });
    expect(first.sessions).toBe(first.inserted);
    expectRows(await rowsOf(target), listedBy(sandbox));
    const [userId = ""] = sandbox.userIds();
    sandbox.add(userId);
    expect(await sync(sandbox, target, { shards })).toMatchObject({ users: 25, inserted: 1 });
    sandbox.remove(userId, [...sandbox.sessions(userId)][2]!.session_id);
    expect(await sync(sandbox, target, { shards, prune: true })).toMatchObject({ ended: 1, inserted: 0 });
    expectRows(await rowsOf(target), listedBy(sandbox));
    expect(await select(target, ({ table }) => `SELECT * FROM ${table("_shards")}`)).toEqual([]);
    expect(await select(target, ({ table }) => `SELECT * FROM ${table("_shard_users")}`)).toEqual([]);
    expect(await sync(sandbox, target)).toMatchObject({ users: 25, inserted: 0 });
  });

  it("equals the tenant, however attempts are interrupted and doubled", async () => {
    const target = await newTarget();
    const rounds = isLong ? 60 : 8;
    const seen = new Map<unknown, number>();
    const { draw, tenant, passHour, expectTable } = changing(11);
    for (let round = 0; round < rounds; round++) {
      const prune = round % 3 === 2;
      const dispatch = (work: ShardWork) =>
        Effect.gen(function* () {
          const one = ({ shard }: ShardWork["shards"][number]) =>
            Effect.gen(function* () {
              while (true) {
                const options = {
                  checkpointRows: 1 + Math.floor(draw() * 60),
                  walk: { pageSize: 10, concurrency: 1 + Math.floor(draw() * 4) },
                };
                const fibers: Array<Fiber.RuntimeFiber<void, unknown>> = [];
                // Now and then two of them at once, of which the first comes late.
                for (let left = draw() < 0.3 ? 2 : 1; left > 0; left--) {
                  fibers.push(yield* Effect.fork(attempt(tenant, target, work, shard, options)));
                  yield* Effect.sleep(draw() * 30);
                }
                if (draw() < 0.4) {
                  yield* Effect.sleep(draw() * 60);
                  yield* Fiber.interruptFork(fibers[0]!);
                }
                const ends = yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber));
                for (const reason of ends.map(reasonOf)) seen.set(reason, (seen.get(reason) ?? 0) + 1);
                if (ends.some(Exit.isSuccess)) return;
              }
            });
          yield* Effect.forEach(work.shards, one, { concurrency: 3 });
          return [];
        });
      const report = await sync(tenant, target, {
        prune,
        shards: { count: 4, dispatch },
        walk: { pageSize: 10 },
      });
      expect(report).toMatchObject({ verified: true, failed: { count: 0 } });
      await expectTable(target, prune);
      passHour(Math.floor(draw() * 30));
    }
    expect([...seen.keys()].sort()).toEqual(["LeaseLost", "done", "interrupted"]);
    if (isLong) console.log(Object.fromEntries(seen));
  });

  it("reports a shard that failed by its number, keeps the others, and tries it alone again", async () => {
    const sandbox = makeSandbox({ users: 12, sessionsPerUser: 5 });
    const target = await newTarget();
    const plain = plainly(sandbox, target);
    const poisoned = (work: ShardWork) =>
      Effect.as(
        plain({ ...work, shards: work.shards.filter(({ shard }) => shard !== 2) }),
        [{ shard: 2, message: "poison" }],
      );
    const failing = sync(sandbox, target, { shards: { count: 4, dispatch: poisoned } });
    await expect(failing).rejects.toThrow(
      /1 of 4 shards failed: shard 2: poison\. What the others brought is kept/,
    );
    expect(await rowsOf(target)).toHaveLength(45);
    let asked: ReadonlyArray<number> = [];
    const dispatch = (work: ShardWork) => {
      asked = work.shards.map(({ shard }) => shard);
      return plain(work);
    };
    expect(await sync(sandbox, target, { shards: { count: 9, dispatch } })).toMatchObject({
      users: 12,
      inserted: 60,
    });
    expect(asked).toEqual([2]);
    expectRows(await rowsOf(target), listedBy(sandbox));
  });

  it("goes on after its coordinator was interrupted, and gives way to another run only once no shard is alive", async () => {
    const sandbox = makeSandbox({ users: 12, sessionsPerUser: 5 });
    const target = await newTarget();
    const { waits, shard, open } = await stuckAt(sandbox, target);
    await expect(sync(sandbox, target)).rejects.toThrow(/Shards of another run write to/);
    open();
    expect(reasonOf(await shard)).toBe("done");
    let asked: ReadonlyArray<number> = [];
    const dispatch = (work: ShardWork) => {
      asked = work.shards.map(({ shard }) => shard);
      return Effect.fail(waits as never);
    };
    await expect(sync(sandbox, target, { shards: { count: 3, dispatch } })).rejects.toBeDefined();
    expect([...asked].sort()).toEqual([0, 2]);
    // Another run ends those that wait: whoever begins one of them later finds it gone.
    expect(await sync(sandbox, target)).toMatchObject({ users: 12, verified: true });
    expect(reasonOf(await Effect.runPromiseExit(attempt(sandbox, target, waits, 0)))).toBe("LeaseLost");
    expectRows(await rowsOf(target), listedBy(sandbox));
  });

  it("gives no way to a run that was prepared before there were any shards", async () => {
    const sandbox = makeSandbox({ users: 4, sessionsPerUser: 5 });
    const target = await newTarget();
    await sync(sandbox, target);
    const early = await Store.open(target, { id: "early", leaseSeconds: 60 });
    onTestFinished(() => early.close());
    await early.prepare({
      identity: { tenant: "https://sandbox.example", filters: {}, redaction: null },
      history: false,
    });
    const { waits, shard, open } = await stuckAt(sandbox, target);
    const asked = { kind: "sync" as const, options: {} };
    await expect(early.begin(asked, new Date().toISOString())).rejects.toThrow(/Shards of another run/);
    open();
    expect(reasonOf(await shard)).toBe("done");
    await early.begin(asked, new Date().toISOString());
    expect(reasonOf(await Effect.runPromiseExit(attempt(sandbox, target, waits, 0)))).toBe("LeaseLost");
  });

  it("forgets what a shard wrote until the moment at which another run ended it", async () => {
    const sandbox = makeSandbox({ users: 4, sessionsPerUser: 5 });
    const database = await postgres().createDatabase();
    const target = Postgres.make(database);
    await sync(sandbox, target);
    const { shard, open } = await stuckAt(sandbox, target, { prune: true });
    open();
    await shard;
    // A checkpoint of a worker that was silent for too long, which has not come to its end.
    const late = connect(database);
    await late.connect();
    onTestFinished(() => late.end());
    await late.query(`BEGIN; UPDATE monocloud._shards SET "beat" = "beat" + 1 WHERE "shard" = 0`);
    await late.query(`INSERT INTO monocloud._observed VALUES ('late', 'session')`);
    await late.query(`UPDATE monocloud._cursors SET "state" = '{}'`);
    const running = sync(sandbox, target);
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while ((await postgres().sql(waiting, database.name)).length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await late.query("COMMIT");
    expect(await running).toMatchObject({ verified: true });
    expect(await postgres().sql(`SELECT * FROM monocloud._observed`, database.name)).toEqual([]);
    expect(
      await postgres().sql(
        `SELECT * FROM monocloud._cursors WHERE "state" IS NOT NULL`,
        database.name,
      ),
    ).toEqual([]);
  });

  it("writes nothing of a worker whose shard another one has taken, while both are at it", async () => {
    const sandbox = makeSandbox({ users: 6, sessionsPerUser: 5 });
    const target = await newTarget();
    const { waits, shard: first, open } = await stuckAt(sandbox, target);
    let openNext = () => {};
    const gate = new Promise<void>((resolve) => (openNext = resolve));
    const gated = { key: sandbox.key, fetch: (request: Request) => gate.then(() => sandbox.fetch(request)) };
    const next = Effect.runPromiseExit(attempt(gated, target, waits, 1));
    const isTaken = ({ table }: Dialect) => `SELECT 1 FROM ${table("_shards")} WHERE "epoch" = 2`;
    while ((await select(target, isTaken)).length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    open();
    expect(reasonOf(await first)).toBe("LeaseLost");
    expect(await rowsOf(target)).toEqual([]);
    openNext();
    expect(reasonOf(await next)).toBe("done");
    expect(await rowsOf(target)).toHaveLength(10);
  });

  it("works on no shard of a run that has the number of another, and makes no schema", async () => {
    const sandbox = makeSandbox({ users: 4, sessionsPerUser: 5 });
    const [database, empty] = [await postgres().createDatabase(), await newTarget()];
    const target = Postgres.make(database);
    const { waits: before, shard, open } = await stuckAt(sandbox, target);
    open();
    await shard;
    await postgres().sql("DROP SCHEMA monocloud CASCADE", database.name);
    const { waits, shard: next, open: openNext } = await stuckAt(sandbox, target);
    expect(waits.run).toBe(before.run);
    const reasonAt = async (target: Target, began: string) => {
      const key = { run: waits.run, shard: 0, isIts: (its: string) => its === began };
      return reasonOf(await Effect.runPromiseExit(attempt(sandbox, target, waits, 0, { shard: key })));
    };
    expect(await reasonAt(target, before.began)).toBe("LeaseLost");
    expect(await reasonAt(target, waits.began)).toBe("done");
    expect(await reasonAt(empty, waits.began)).toBe("LeaseLost");
    expect(await select(empty, () => "SELECT 1 FROM pg_namespace WHERE nspname = 'monocloud'")).toEqual([]);
    openNext();
    await next;
  });

  it("refuses a file that one process at a time can open", async () => {
    const sandbox = makeSandbox({ users: 1 });
    const target = DuckDb.make({ path: "/nowhere/there.duckdb" });
    await expect(sync(sandbox, target, { shards: { count: 2, dispatch: plainly(sandbox, target) } }))
      .rejects.toThrow(/in shards, as one process at a time can open it/);
  });
});

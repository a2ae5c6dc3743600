/**
 * One run at a time: a second is refused or waits, and takes over from one that is stopped and has lost its lease, which then
 * writes nothing more.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import * as Effect from "effect/Effect";
import * as Logger from "effect/Logger";
import * as LogLevel from "effect/LogLevel";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { Target } from "../../src/warehouse/Target.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, type CommandOptions, run, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { program } from "../program.ts";
import { isLong, some } from "../size.ts";
import { type Message, startProxy } from "./cuttingProxy.ts";
import type { Told } from "./leased.ts";
import { type Database, hasPostgres, postgresForFile } from "./postgres.ts";
import { changing } from "./rounds.ts";
import { select, syncOf } from "./tables.ts";
import { serving } from "./tenants.ts";

const LEASE = 3;

/** Start a sync with a short lease. */
const beginLeased = async (told: Omit<Told, "leaseSeconds">, options: CommandOptions) => {
  const run = await program(new URL("leased.ts", import.meta.url));
  return run([JSON.stringify({ leaseSeconds: LEASE, checkpointRows: 30, ...told } satisfies Told)], options);
};

const world = async (seed = 3) => {
  const its = changing(seed, { users: 6, sessionsPerUser: 40, faults: { latencyMs: 5 } });
  const { env } = await serving(its.tenant);
  return { ...its, env, domain: env.MONOCLOUD_DOMAIN, key: env.MONOCLOUD_API_KEY };
};

const latest = async (target: Target) => {
  const [row] = await select(
    target,
    ({ table }) => `SELECT "run", "epoch", "ended" FROM ${table("_runs")} ORDER BY "run" DESC LIMIT 1`,
  );
  return row && { run: Number(row["run"]), epoch: Number(row["epoch"]), isEnded: row["ended"] !== null };
};

/** Expects a run beside one that has not lost its lease to be refused. */
const expectRefusal = async (
  target: Target,
  { tenant, domain }: { readonly tenant: Parameters<typeof syncOf>[0]; readonly domain: string },
) => {
  const refused = Effect.flip(syncOf(tenant, target, { tenant: domain }));
  await expect(Effect.runPromise(refused)).resolves.toMatchObject({
    reason: "Locked",
    message: expect.stringMatching(
      /^Another run writes to .*\(run 1, alive \d+ s ago\): wait for its end \(--wait\), or end it$/,
    ),
  });
};

const quiet = Logger.withMinimumLogLevel(LogLevel.None);

const args = (to: string) => ["sync", "--all-users", "--rate", "10000/s", "--to", to];

describe.skipIf(!hasPostgres)("PostgreSQL (needs PostgreSQL)", () => {
  const postgres = postgresForFile();
  let database: Database;
  beforeAll(async () => void (database = await postgres().createDatabase("leases")));

  /** A first run by a process that is stopped at a message, in a database of its own. */
  const stopped = async (isIt: (message: Message, bytes: Buffer) => boolean, prune = false) => {
    const its = await postgres().createDatabase();
    const target = Postgres.make(its);
    const of = await world();
    const proxy = await startProxy(postgres().port);
    onTestFinished(() => proxy.close());
    const struck = proxy.arm({ how: "hold", at: isIt });
    const { domain, key } = of;
    const env = { ...of.env, PGPASSWORD: its.password };
    const running = await beginLeased({ to: proxy.through(its.url), domain, key, prune }, { env });
    const failed = running.done.then(({ err }) => Promise.reject(new Error(`It ended: ${err}`)));
    const { status } = await Promise.race([struck, failed]);
    failed.catch(() => {});
    running.kill("SIGSTOP");
    proxy.release();
    return { ...of, env, target, running, status, to: its.url, stoppedAt: performance.now() };
  };

  /** The n-th message of the merge, which comes after a COPY and before a COMMIT. */
  const nthMerge = (nth: number) => {
    let seen = 0;
    return ({ from }: Message, bytes: Buffer) =>
      from === "client" && bytes.includes('INSERT INTO "monocloud"."_cursors"') && ++seen === nth;
  };

  it.skipIf(!isLong)(
    "a run that is stopped amid a COPY is taken over once its lease is over, and ends when it goes on",
    async () => {
      let copies = 0;
      const { running, status, target, env, to, expectTable, ...of } = await stopped(
        ({ type }) => type === "d" && ++copies === 3,
        // Rows of a prune go to temporary tables first, outside of a transaction.
        true,
      );
      expect(status).toBe("I");
      await expectRefusal(target, of);
      const second = begin([...args(to), "--prune", "--wait", "30s"], { env });
      await until(async () => (await latest(target))?.epoch === 2, "it is taken over");
      // While the other is at work.
      running.kill("SIGCONT");
      expect(await running.done).toMatchObject({
        code: 75,
        err: expect.stringMatching(/^LeaseLost: Another run has taken over/m),
      });
      expect(await second.done).toMatchObject({
        code: 0,
        err: expect.stringContaining("waiting for up to 30s"),
      });
      await expectTable(target, true);
      expect(await latest(target)).toEqual({ run: 1, epoch: 2, isEnded: true });
    },
  );

  it.each(isLong ? [1, 2, 3] : [2])(
    "a run that is stopped within transaction %i is let go of by the server, and never commits it",
    async (nth) => {
      const { running, status, target, env, to, expectTable, stoppedAt } = await stopped(nthMerge(nth));
      expect(status).toBe("T");
      const second = begin([...args(to), "--wait", "30s"], { env });
      await until(async () => (await latest(target))?.epoch === 2, "it is taken over");
      expect(performance.now() - stoppedAt).toBeLessThan(1000 * (LEASE + 4));
      expect(await second.done).toMatchObject({ code: 0 });
      await expectTable(target, true);
      running.kill("SIGCONT");
      expect(await running.done).toMatchObject({ code: 75, err: expect.stringMatching(/^LeaseLost: /m) });
      await expectTable(target, true);
      expect(await latest(target)).toEqual({ run: 1, epoch: 2, isEnded: true });
    },
  );

  it("of two first runs into an empty schema one goes on, and the other is refused", async () => {
    for (let seed = 1; seed <= some(40); seed++) {
      const { tenant, expectTable } = changing(seed, { users: 3, sessionsPerUser: 10 });
      const target = Postgres.make({ ...database, schema: `refused ${seed}` });
      const heard: Array<string> = [];
      const logger = Logger.make(({ message }) => void heard.push(String(message)));
      const one = () =>
        Effect.runPromise(
          Effect.provide(Effect.either(syncOf(tenant, target)), Logger.replace(Logger.defaultLogger, logger)),
        );
      const ends = await Promise.all([one(), one()]);
      const refused = ends.flatMap((end) => end._tag === "Left" ? [end.left] : []);
      expect(refused.length).toBeLessThan(2);
      for (const error of refused) expect(error).toMatchObject({ reason: "Locked" });
      expect(heard).toEqual([]);
      await expectTable(target, true);
    }
  });

  it("of two first runs one waits for the other, if it may", async () => {
    for (let seed = 1; seed <= some(40); seed++) {
      const { tenant, expectTable } = changing(seed, { users: 3, sessionsPerUser: 10 });
      const target = Postgres.make({ ...database, schema: `waits ${seed}` });
      const one = () => Effect.runPromise(quiet(syncOf(tenant, target, { wait: "30 seconds" })));
      const reports = await Promise.all([one(), one()]);
      expect(reports.map(({ run }) => run).sort()).toEqual([1, 2]);
      await expectTable(target, true);
    }
  });
});

describe("DuckDB", () => {
  const preload = new URL("killInDuckDb.mjs", import.meta.url);

  /** A first run by a process that stops itself before a call of DuckDB. */
  const stopped = async (statement: string, at: number, where: "inside" | "outside") => {
    const to = join(await newFolder(), "lease.duckdb");
    const of = await world();
    const running = await beginLeased({ to, domain: of.domain, key: of.key }, {
      env: {
        ...of.env,
        KILL_AT_STATEMENT: statement,
        KILL_AT: `${at}`,
        KILL_WHERE: where,
        KILL_SIGNAL: "SIGSTOP",
      },
      preload,
    });
    await until(() => running.err().includes("Killed before"), `it has stopped: ${running.err()}`);
    return { ...of, target: DuckDb.make({ path: to, patience: 300 }), running, to };
  };

  it("a run that is stopped between transactions is taken over once its lease is over, and ends when it goes on", async () => {
    // The first three are of the schema, the lease and the cursors.
    const { running, target, env, to, expectTable, ...of } = await stopped("ATTACH", 5, "outside");
    await expectRefusal(target, of);
    expect(await run([...args(to), "--wait", "30s"], { env })).toMatchObject({ code: 0 });
    running.kill("SIGCONT");
    expect(await running.done).toMatchObject({ code: 75, err: expect.stringMatching(/^LeaseLost: /m) });
    await expectTable(target, true);
    expect(await latest(target)).toEqual({ run: 1, epoch: 2, isEnded: true });
  });

  it.skipIf(!isLong)(
    "a run that is stopped within a transaction keeps the file to itself, and goes on",
    async () => {
      const { running, tenant, target, expectTable } = await stopped(
        'INSERT INTO warehouse."monocloud"."sessions"',
        2,
        "inside",
      );
      await expect(Effect.runPromise(quiet(Effect.flip(syncOf(tenant, target, { maxElapsed: "1 second" })))))
        .resolves
        .toMatchObject({
          reason: "Busy",
          message: expect.stringContaining("as another program has it open"),
        });
      running.kill("SIGCONT");
      expect(await running.done).toMatchObject({ code: 0 });
      await expectTable(target, true);
    },
  );

  it("an interruption ends the wait for a program that has the file open", async () => {
    const { env, tenant } = await world();
    const path = join(await newFolder(), "open.duckdb");
    await Effect.runPromise(syncOf(tenant, DuckDb.make({ path })));
    const instance = await DuckDBInstance.create(path);
    const connection = await instance.connect();
    onTestFinished(() => {
      connection.closeSync();
      instance.closeSync();
    });
    // It counts its calls, and tells each of these.
    const running = begin(args(path), { env: { ...env, TELL_STATEMENT: "ATTACH" }, preload });
    await until(() => running.err().includes("ATTACH"), "it looks at the file");
    const began = performance.now();
    running.kill("SIGTERM");
    expect(await running.done).toMatchObject({ code: 75 });
    expect(performance.now() - began).toBeLessThan(4000);
  });

  it("of two first runs into no file at all one is refused or waits, in one process or two", async () => {
    const { tenant, env, expectTable } = await world();
    const folder = await newFolder();
    for (let nth = 0; nth < some(20); nth++) {
      const path = join(folder, `${nth}.duckdb`);
      const ends = await Promise.all(
        [1, 2].map(() => Effect.runPromise(Effect.either(syncOf(tenant, DuckDb.make({ path }))))),
      );
      expect(ends.filter(({ _tag }) => _tag === "Right").length).toBeGreaterThan(0);
      for (const end of ends) if (end._tag === "Left") expect(end.left).toMatchObject({ reason: "Locked" });
      await expectTable(DuckDb.make({ path }), true);
    }
    if (!isLong) return;
    const path = join(folder, "processes.duckdb");
    const ends = await Promise.all([1, 2].map(() => run([...args(path), "--wait", "30s"], { env })));
    expect(ends.map(({ code }) => code)).toEqual([0, 0]);
    expect(existsSync(path)).toBe(true);
    await expectTable(DuckDb.make({ path }), true);
  });
});

/**
 * Runs over a connection to PostgreSQL that breaks at any message, and over a server that goes and comes back: each outlasts
 * it, the table equals the tenant, and nothing is counted twice. `npm run test:long` breaks every message, in three ways.
 */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Logger from "effect/Logger";
import * as LogLevel from "effect/LogLevel";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { Target } from "../../src/warehouse/Target.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, run, until } from "../cli/command.ts";
import { onDeno } from "../runtime.ts";
import { isLong, oneIn } from "../size.ts";
import { type CuttingProxy, type Fault, startProxy } from "./cuttingProxy.ts";
import { fastClock } from "./fastClock.ts";
import { connect, type Database, hasPostgres, postgresForFile } from "./postgres.ts";
import { changing } from "./rounds.ts";
import { type Options, rowsOf, select, sync, syncOf } from "./tables.ts";
import { serving } from "./tenants.ts";

const say = (what: string) => process.stdout.write(`${what}\n`);

/** How often time passes faster than it does. */
const FASTER = 10;

const runs = (target: Target) =>
  select(target, ({ table }) => `SELECT * FROM ${table("_runs")} ORDER BY "run"`);

const numbersOf = (rows: ReadonlyArray<Readonly<Record<string, unknown>>>, name: string) =>
  rows.reduce((sum, row) => sum + Number(row[name]), 0);

describe.skipIf(!hasPostgres)("PostgreSQL (needs PostgreSQL)", () => {
  const postgres = postgresForFile();
  let database: Database;
  beforeAll(async () => void (database = await postgres().createDatabase()));

  const targetOf = (schema: string, { port, patience }: { port?: number; patience?: number } = {}) => {
    const url = new URL(database.url);
    if (port !== undefined) url.port = `${port}`;
    return Postgres.make({ url: url.href, password: database.password, schema, patience });
  };

  const proxied = async (): Promise<CuttingProxy> => {
    const proxy = await startProxy(postgres().port);
    onTestFinished(() => proxy.close());
    return proxy;
  };

  /** A tenant and a table that had equalled it an hour ago. */
  const world = async (schema: string, seed = 1) => {
    const its = changing(seed, { users: 4, sessionsPerUser: 30, faults: {} });
    const target = targetOf(schema);
    await sync(its.tenant, target);
    its.passHour(20);
    return { ...its, target };
  };

  const quickly = (through: Target, tenant: Parameters<typeof syncOf>[0], options: Options = {}) =>
    Effect.withClock(
      syncOf(tenant, through, { maxElapsed: "30 minutes", ...options }),
      fastClock(FASTER),
    ).pipe(Logger.withMinimumLogLevel(LogLevel.None));

  /** What the records say: each run once, ended, and every row of the table inserted by one of them. */
  const expectRecords = async (target: Target, count: number) => {
    const records = await runs(target);
    expect(records.map(({ run }) => Number(run))).toEqual(Array.from({ length: count }, (_, at) => at + 1));
    for (const record of records) expect(record).toMatchObject({ holder: null, verified: true });
    for (const { ended } of records) expect(ended).not.toBeNull();
    const [rows] = await select(
      target,
      ({ table }) => `SELECT count(*) AS n, count("_ended_at") AS ended FROM ${table("sessions")}`,
    );
    expect(numbersOf(records, "inserted")).toBe(Number(rows!["n"]));
    return records;
  };

  /** Of a checkpoint's rows, so few that a run has more than one. */
  const small: Options = { prune: true, checkpointRows: 60, walk: { pageSize: 50, concurrency: 1 } };

  const ways: Readonly<Record<string, (n: number) => Fault>> = {
    cut: (at) => ({ at, how: "cut" }),
    reset: (at) => ({ at, how: "reset" }),
    "cut after": (at) => ({ at, how: "cut", when: "after" }),
    partial: (at) => ({ at, how: "partial" }),
    "hold, then go on": (at) => ({ at, how: "hold", milliseconds: 40 }),
    "hold, then reset": (at) => ({ at, how: "hold", milliseconds: 40, then: "reset" }),
    "hold for good": (at) => ({ at, how: "hold" }),
  };

  it("that breaks at any message is outlasted, and the table equals the tenant", async () => {
    const { tenant, passHour, expectTable, target, draw } = await world("any message");
    const proxy = await proxied();
    const through = targetOf("any message", { port: proxy.port, patience: 1000 });
    proxy.arm({ at: Infinity, how: "cut" });
    await Effect.runPromise(quickly(through, tenant, small));
    const all = proxy.messages().length;
    expect(proxy.counts()["client Q"]).toBeGreaterThan(10);
    const names = Object.keys(ways);
    const [ends, holds] = [names.slice(0, 4), names.slice(4)];
    // At each message two ways of four to end, and one of three to hold; or each way once.
    const cases = isLong
      ? Array.from({ length: all }, (_, at) => [
        { n: at + 1, name: ends[at % 4]! },
        { n: at + 1, name: ends[(at + 1 + (at >> 2) % 3) % 4]! },
        { n: at + 1, name: holds[at % 3]! },
      ]).flat()
      : names.map((name) => ({ n: 1 + Math.floor(draw() * all), name }));
    let count = 2;
    let struck = 0;
    for (const { n, name } of cases) {
      passHour(6);
      proxy.arm(ways[name]!(n));
      const report = await Effect.runPromise(quickly(through, tenant, small)).catch((error) => {
        throw new Error(`${name} at message ${n}`, { cause: error });
      });
      proxy.release();
      if (proxy.struck() !== undefined) struck++;
      await expectTable(target, true);
      const records = await expectRecords(target, ++count);
      const { verified, run, inserted, updated, ended } = report;
      expect({ verified, run }, `${name} at ${n}`).toEqual({ verified: true, run: count });
      expect(records.at(-1), `${name} at ${n}`).toMatchObject({
        inserted: String(inserted),
        updated: String(updated),
        ended_sessions: String(ended),
      });
    }
    expect(struck).toBeGreaterThan(0.8 * cases.length);
    say(`${struck} faults at ${all} messages of a run`);
  }, 7_200_000);

  it("that loses the answer to a commit has one record of the run, with its counts", async () => {
    const { tenant, sandbox, passHour, expectTable, target } = await world("lost answers");
    const proxy = await proxied();
    const through = targetOf("lost answers", { port: proxy.port });
    const commits = async (arming: (commit: number) => Fault | undefined) => {
      let seen = 0;
      let fault: Fault | undefined;
      proxy.arm({
        how: "reset",
        when: "after",
        at: ({ type }, bytes) =>
          type === "Q" && bytes.includes("COMMIT") && (fault = arming(++seen)) !== undefined,
      });
      const report = await Effect.runPromise(quickly(through, tenant, small));
      return { seen, report, fault };
    };
    const whole = await commits(() => undefined);
    expect(whole.seen).toBeGreaterThan(4);
    for (let nth = 1; nth <= whole.seen; nth++) {
      // Those that are listed, and those of whom the table has sessions.
      const asked = new Set((await rowsOf(target)).map((row) => JSON.parse(row)[0]));
      passHour(10);
      for (const userId of sandbox.userIds()) if (!tenant.hidden.has(userId)) asked.add(userId);
      const { report } = await commits((commit) => commit === nth ? { at: nth, how: "reset" } : undefined);
      await expectTable(target, true);
      const records = await expectRecords(target, 2 + nth);
      expect(report).toMatchObject({ run: 2 + nth, verified: true, kind: "prune" });
      expect(records.at(-1)).toMatchObject({
        inserted: String(report.inserted),
        users: String(report.users),
        requests: String(report.requests),
      });
      expect(report.users).toBe(asked.size);
    }
  }, 120_000);

  it.skipIf(!isLong)("that takes its time to commit is waited for, heartbeats and all", async () => {
    const { tenant, expectTable, target } = await world("slow commits");
    const proxy = await proxied();
    const through = targetOf("slow commits", { port: proxy.port });
    let commits = 0;
    for (const nth of [3, 4, 5]) {
      commits = 0;
      const struck = proxy.arm({
        how: "hold",
        when: "after",
        milliseconds: 1500,
        at: ({ type, from }, bytes) =>
          from === "client" && type === "Q" && bytes.includes("COMMIT") && ++commits === nth,
      });
      // Three heartbeats are due meanwhile.
      await Effect.runPromise(syncOf(tenant, through, { ...small, lease: "2 seconds" }));
      expect((await struck).status).toBe("T");
    }
    await expectTable(target, true);
    await expectRecords(target, 4);
  });

  it("whose connection dies while nothing is asked is connected anew", async () => {
    const { tenant, expectTable, target } = await world("idle");
    let answers = 0;
    const fetch = async (request: Request) => {
      const answer = await tenant.fetch(request);
      if (++answers % 3 === 0 && answers < 10) {
        await postgres().sql(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'monocloud-sessions'",
        );
        await new Promise((resume) => setTimeout(resume, 20));
      }
      return answer;
    };
    await Effect.runPromise(quickly(targetOf("idle"), { ...tenant, fetch }, small));
    await expectTable(target, true);
    await expectRecords(target, 2);
  });

  it("that is down at first, and again in the middle, is outlasted", async () => {
    const { tenant, expectTable, target } = await world("down");
    let answers = 0;
    const fetch = async (request: Request) => {
      const answer = await tenant.fetch(request);
      if (++answers === 3) {
        await postgres().kill();
        setTimeout(() => void postgres().start(), 300);
      }
      return answer;
    };
    await postgres().stop();
    setTimeout(() => void postgres().start(), 300);
    await Effect.runPromise(quickly(targetOf("down"), { ...tenant, fetch }, small));
    await expectTable(target, true);
    await expectRecords(target, 2);
  });

  it("that stays down ends the run as unreachable once its time is up", async () => {
    const { tenant } = await world("gone");
    await postgres().stop();
    onTestFinished(() => postgres().start());
    const clock = fastClock(FASTER);
    const began = clock.unsafeCurrentTimeMillis();
    await expect(Effect.runPromise(
      Effect.flip(Effect.withClock(syncOf(tenant, targetOf("gone"), { maxElapsed: "12 seconds" }), clock)),
    )).resolves.toMatchObject({
      reason: "Unreachable",
      message: expect.stringMatching(/^Cannot reach .*ECONNREFUSED/),
    });
    const took = clock.unsafeCurrentTimeMillis() - began;
    expect(took).toBeGreaterThan(11_900);
    expect(took).toBeLessThan(25_000);
  });

  describe("that gives no answer lets an interruption end the run at once", () => {
    /** Interrupts the run once it is so, and gives how long it takes to end. */
    const interrupted = async (
      running: Effect.Effect<unknown, unknown>,
      isSo: () => boolean | Promise<boolean>,
    ) => {
      const fiber = Effect.runFork(running);
      await until(isSo, "it waits");
      const began = performance.now();
      const exit = await Effect.runPromise(Fiber.interrupt(fiber));
      expect(Exit.isInterrupted(exit)).toBe(true);
      return performance.now() - began;
    };
    const waiting = async () =>
      (await postgres().sql(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'monocloud-sessions'",
      )).length > 0;

    it.each(oneIn(3, ["StartupMessage", "BEGIN", "INSERT INTO", "COMMIT"]))("at %s", async (word) => {
      const { tenant, target, passHour, expectTable } = await world(`silent ${word}`);
      const proxy = await proxied();
      const struck = proxy.arm({
        how: "hold",
        at: ({ type, from }, bytes) => from === "client" && (type === word || bytes.includes(word)),
      });
      const through = targetOf(`silent ${word}`, { port: proxy.port });
      const took = await interrupted(syncOf(tenant, through, small), () => proxy.struck() !== undefined);
      await struck;
      expect(took).toBeLessThan(3000);
      await proxy.close();
      passHour(3);
      await sync(tenant, target, small);
      await expectTable(target, true);
    });

    it.each(oneIn(2, ["sessions", "_runs"]))("while %s is locked", async (table) => {
      const { tenant, target, expectTable } = await world(`locked ${table}`);
      const locker = connect(database);
      await locker.connect();
      onTestFinished(() => locker.end());
      await locker.query(`BEGIN; LOCK TABLE "locked ${table}"."${table}" IN ACCESS EXCLUSIVE MODE`);
      const took = await interrupted(syncOf(tenant, target, small), waiting);
      expect(took).toBeLessThan(3000);
      await locker.query("ROLLBACK");
      await sync(tenant, target, small);
      await expectTable(target, true);
    });

    it.skipIf(onDeno && !isLong).each(oneIn(2, ["SIGTERM", "SIGINT"] as const))(
      "by %s to the command, with a code that says to run it again",
      async (signal) => {
        const { tenant } = changing(1, { users: 4, sessionsPerUser: 30 });
        const { env } = await serving(tenant);
        const words = ["sync", "--all-users", "--to", database.url, "--schema", `signal ${signal}`];
        const options = { env: { ...env, PGPASSWORD: database.password } };
        expect(await run(words, options)).toMatchObject({ code: 0 });
        const locker = connect(database);
        await locker.connect();
        onTestFinished(() => locker.end());
        await locker.query(`BEGIN; LOCK TABLE "signal ${signal}".sessions IN ACCESS EXCLUSIVE MODE`);
        const ended = async (ready: (err: string) => boolean | Promise<boolean>) => {
          const running = begin([...words, "--prune"], options);
          await until(() => ready(running.err()), "it waits");
          const began = performance.now();
          running.kill(signal);
          const { code, err } = await running.done;
          expect({ code, err }).toEqual({
            code: 75,
            err: expect.stringContaining("Interrupted: what was committed stays"),
          });
          return performance.now() - began;
        };
        expect(await ended(waiting)).toBeLessThan(4000);
        await locker.end();
        await postgres().stop();
        onTestFinished(() => postgres().pid() === undefined ? postgres().start() : undefined);
        expect(await ended((err) => err.includes("Trying again"))).toBeLessThan(2000);
        await postgres().start();
        expect(await run([...words, "--prune"], options)).toMatchObject({ code: 0 });
      },
    );
  });
});

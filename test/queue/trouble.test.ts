/** Trouble with runs on many machines: each as the documentation says, and told so that people know what to do. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { make, type SandboxOptions } from "../../src/sandbox/mod.ts";
import * as Engine from "../../src/queue/Engine.ts";
import * as QueueServer from "../../src/queue/QueueServer.ts";
import * as Records from "../../src/queue/Records.ts";
import * as ShardJob from "../../src/queue/ShardJob.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, run, type Running } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { expectRows, listedBy, rowsOf } from "../warehouse/tables.ts";
import { serving } from "../warehouse/tenants.ts";

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** Wait until something is said on standard error. */
const said = async ({ err }: Running, what: RegExp): Promise<string> => {
  for (let left = 1500; left > 0; left--) {
    if (what.test(err())) return err();
    await sleep(20);
  }
  throw new Error(`${what} was not said within 30 s: ${err()}`);
};

describe.skipIf(!hasPostgres)("over a queue in PostgreSQL", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });

  /** A tenant on a port, a table, a queue, and the environment that leads there. */
  const place = async (options: SandboxOptions = {}) => {
    const sandbox = make({ users: 40, sessionsPerUser: 10, faults: { latencyMs: 20 }, ...options });
    const { env: tenant } = await serving(sandbox);
    const [table, queue] = [await postgres().createDatabase(), await postgres().createDatabase()];
    const env = {
      ...tenant,
      PGPASSWORD: table.password,
      MONOCLOUD_TO: table.url,
      MONOCLOUD_QUEUE: queue.url,
    };
    return { sandbox, table, queue, env, target: Postgres.make(table) };
  };
  const work = (env: Readonly<Record<string, string>>, ...more: ReadonlyArray<string>) =>
    begin(["work", "--rate", "1000/s", ...(more.includes("--lease") ? [] : ["--lease", "3s"]), ...more], {
      env,
    });
  const sync = ["sync", "--all-users", "--rate", "1000/s", "--page-size", "10"];

  it("goes on when the queue's server is restarted in the middle", async () => {
    const { sandbox, env, target, queue } = await place();
    // Its own server: that of the table stays.
    const other = await startOther();
    const its = { ...env, MONOCLOUD_QUEUE: other.url };
    expect(queue.url).not.toBe(other.url);
    const workers = [work(its), work(its)];
    const syncing = begin([...sync, "--shards", "12"], { env: its });
    await said(workers[0]!, /shard \S+\.\d+: begun/);
    await other.restart();
    expect(await syncing.done).toMatchObject({ code: 0 });
    expectRows(await rowsOf(target), listedBy(sandbox));
    for (const worker of workers) worker.kill("SIGTERM");
    for (const worker of workers) expect(await worker.done).toMatchObject({ code: 0 });
  });

  it("reports a poisoned shard by name, keeps the others, and tries it alone once more", async () => {
    const { sandbox, env, target, table } = await place();
    const worker = work(env);
    expect(await run([...sync, "--shards", "4"], { env })).toMatchObject({ code: 0 });
    const [userId = ""] = sandbox.userIds();
    sandbox.add(userId);
    await postgres().sql(
      `CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'poison'; END $$;
       CREATE TRIGGER poison BEFORE UPDATE ON monocloud._shards FOR EACH ROW
         WHEN (NEW.shard = 2) EXECUTE FUNCTION poison()`,
      table.name,
    );
    const failed = await run([...sync, "--shards", "4", "--json", "--quiet"], { env });
    expect(failed).toMatchObject({ code: 75 });
    expect(failed.err).toMatch(/Error: 1 of 4 shards failed: shard 2: .*poison/);
    expect(JSON.parse(failed.out)).toMatchObject({ error: { reason: "shards", exit_code: 75 } });
    expect(worker.err()).toMatch(/\.2: begun, attempt 5/);
    expect(await rowsOf(target)).toHaveLength(401);
    await postgres().sql("DROP TRIGGER poison ON monocloud._shards", table.name);
    const before = worker.err().length;
    expect(await run([...sync, "--shards", "4"], { env })).toMatchObject({ code: 0 });
    expect(worker.err().slice(before).match(/begun/g)).toHaveLength(1);
    expectRows(await rowsOf(target), listedBy(sandbox));
  });

  it("leaves a job of a newer version to a newer worker, and says so", async () => {
    const { env, queue } = await place();
    const url = new URL(queue.url);
    url.password = queue.password;
    const server = QueueServer.parse(url.href);
    const [engine, values] = [await Engine.load(server), await QueueServer.open(server)];
    const its = engine.queue("default");
    onTestFinished(() => Promise.all([its.close(), values.close()]).then(() => undefined));
    const job = {
      version: ShardJob.jobVersion,
      ...{ job: "1-newer", shard: 0, tenant: "default", target: "default", users_listed: true },
      into: { kind: "table", run: 1, prune: false },
      how: {},
    };
    await Records.leave(values, "run", Records.keyOf("run", "default", "1-newer"), {
      ...{ job: "1-newer", tenant: "default", target: "default", kind: "table", began: "" },
      ...{ shards: 1, done: 0, failed: 0 },
      progress: {
        users: 0,
        missing: 0,
        failed: 0,
        sessions: 0,
        quarantined: 0,
        unverified: 0,
        encodedBytes: 0,
        listed: 0,
      },
    });
    // Beside it, what no worker does, whatever the queue says.
    const bad = [
      { ...job, job: "2-path", target: "../warehouse" },
      { ...job, job: "3-url", target: "postgres://elsewhere/db" },
      { ...job, job: "4-missing", target: "warehouse" },
      { ...job, job: "5-more", command: "rm -rf /" },
      { ...job, job: "6-folder", into: { kind: "folder", run: "../..", formats: ["csv"] } },
      { ...job, job: "7-gone" },
    ];
    await its.add([{ ...job, version: ShardJob.jobVersion + 1 }, ...bad].map((data, priority) => ({
      id: ShardJob.idOf(data),
      data,
      priority: priority + 1,
    })));
    const worker = work(env, "--at-once", "8");
    const failed = new Map<string, string>();
    while (failed.size < bad.length) {
      for (const [id, why] of await its.takeFailed(() => true)) failed.set(id, why);
      await sleep(100);
    }
    expect(Object.fromEntries(failed)).toEqual({
      "2-path.0": expect.stringMatching(/is none that a worker does: .*is no path or URL/),
      "3-url.0": expect.stringMatching(/is none that a worker does: .*is no path or URL/),
      "4-missing.0": "There is no target warehouse here: give --targets DIR, a folder with warehouse.env",
      "5-more.0": expect.stringMatching(/is none that a worker does: .*command/),
      "6-folder.0": expect.stringMatching(/is none that a worker does: .*is no path or URL/),
      "7-gone.0": expect.stringMatching(/The run of this shard is over, or of another database/),
    });
    // It waits, however long.
    expect(await its.isThere("1-newer.0")).toBe(true);
    const [refused] = await Records.list(values, "shard", "1-newer");
    expect(refused).toMatchObject({
      status: "refused",
      message: expect.stringMatching(/of a newer one: they wait/),
    });
    worker.kill("SIGTERM");
    expect(await worker.done).toMatchObject({ code: 0 });
  });

  it("takes turns between runs of one tenant, and no tenant holds another up", async () => {
    const folder = await newFolder();
    const [tenants, targets] = [join(folder, "tenants"), join(folder, "targets")];
    const [slow, fast, second] = [await place({ users: 80 }), await place({ users: 60 }), await place()];
    for (const path of [tenants, targets]) await mkdir(path);
    const write = async (path: string, name: string, values: Readonly<Record<string, string>>) => {
      const file = join(path, `${name}.env`);
      await writeFile(file, Object.entries(values).map(([key, value]) => `${key}=${value}\n`).join(""));
      await chmod(file, 0o600);
    };
    const tenantOf = ({ env }: typeof fast) => ({
      MONOCLOUD_DOMAIN: env.MONOCLOUD_DOMAIN,
      MONOCLOUD_API_KEY: env.MONOCLOUD_API_KEY,
    });
    await write(tenants, "slow", { ...tenantOf(slow), MONOCLOUD_RATE: "5" });
    await write(tenants, "fast", { ...tenantOf(fast), MONOCLOUD_RATE: "1000" });
    await write(targets, "one", { MONOCLOUD_TO: slow.table.url });
    await write(targets, "two", { MONOCLOUD_TO: fast.table.url });
    await write(targets, "three", { MONOCLOUD_TO: second.table.url });
    const { PGPASSWORD, MONOCLOUD_QUEUE } = fast.env;
    const env = { PGPASSWORD, MONOCLOUD_QUEUE };
    const named = ["--tenants", tenants, "--targets", targets];
    const worker = begin(["work", ...named, "--at-once", "1"], { env });
    const order: Array<string> = [];
    const syncOf = (tenant: string, to: string, shards: number, ...users: ReadonlyArray<string>) => {
      const running = begin([
        ...["sync", ...(users.length > 0 ? users : ["--all-users"]), "--page-size", "10", ...named],
        ...["--tenant", tenant, "--to", to, "--shards", `${shards}`, "--concurrency", "1"],
      ], { env });
      void running.done.then(() => order.push(to));
      return running;
    };
    const first = syncOf("slow", "one", 6);
    await said(worker, /begun/);
    const long = syncOf("fast", "two", 24);
    await said(worker, new RegExp(`\\.23: begun|(begun[^]*){4}`));
    // Of the same tenant, and much shorter.
    const [one = "", two = ""] = fast.sandbox.userIds();
    const short = syncOf("fast", "three", 2, "--user", one, "--user", two);
    for (const running of [first, long, short]) {
      const { code, err } = await running.done;
      expect(err).not.toMatch(/Error/);
      expect(code).toBe(0);
    }
    expect(order).toEqual(["three", "two", "one"]);
    expectRows(await rowsOf(fast.target), listedBy(fast.sandbox));
    expectRows(await rowsOf(slow.target), listedBy(slow.sandbox));
    worker.kill("SIGTERM");
    await worker.done;
  });

  it("hands shards back at a checkpoint when a worker is told to stop, and one that joins takes them at once", async () => {
    const { sandbox, env, target } = await place({ users: 4, sessionsPerUser: 200 });
    // So long that nothing is handed on because of it.
    const lease = ["--lease", "10m"];
    const worker = work(env, ...lease);
    const syncing = begin([...sync, "--shards", "2", "--concurrency", "1", "--json"], { env });
    await said(worker, /begun[^]*begun/);
    await sleep(400);
    worker.kill("SIGTERM");
    const left = await worker.done;
    expect(left).toMatchObject({ code: 0 });
    expect(left.err).toMatch(/handed back/);
    expect(left.err).not.toMatch(/done/);
    const next = work(env, ...lease);
    const { code, out } = await syncing.done;
    expect(code).toBe(0);
    expectRows(await rowsOf(target), listedBy(sandbox));
    // As many as without that, but for the few pages that were asked for twice.
    const alone = await run([...sync, "--concurrency", "1", "--json", "--quiet"], {
      env: { ...env, MONOCLOUD_TO: (await postgres().createDatabase()).url },
    });
    expect(JSON.parse(out).requests).toBeLessThan(JSON.parse(alone.out).requests + 20);
    next.kill("SIGTERM");
    await next.done;
  });

  it("hashes with the same secret on all machines, or not at all", async () => {
    const { env } = await place({ users: 6 });
    const [ours, theirs] = ["a".repeat(32), "b".repeat(32)];
    const other = work({ ...env, MONOCLOUD_REDACT_SECRET: theirs });
    const args = [...sync, "--shards", "2", "--redact", "user_agent=drop,session_key=hash", "--quiet"];
    const its = { ...env, MONOCLOUD_REDACT_SECRET: ours };
    const refused = await run(args, { env: its });
    expect(refused).toMatchObject({ code: 75 });
    expect(refused.err).toMatch(/MONOCLOUD_REDACT_SECRET is another here than where the run was begun/);
    other.kill("SIGTERM");
    await other.done;
    const same = work(its);
    expect(await run(args, { env: its })).toMatchObject({ code: 0 });
    same.kill("SIGTERM");
    await same.done;
  });

  it("says that there is no worker, and refuses names that are not configured", async () => {
    const { env } = await place();
    const alone = begin([...sync, "--shards", "2"], { env });
    const refused = await run([...sync, "--to", "elsewhere", "--shards", "2"], { env });
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toMatch(
      /There is no target elsewhere here: give --targets DIR, a folder with elsewhere\.env/,
    );
    const open = await newFolder();
    await writeFile(join(open, "default.env"), "MONOCLOUD_DOMAIN=a\nMONOCLOUD_API_KEY=secret\n");
    await chmod(join(open, "default.env"), 0o644);
    const readable = await run([...sync, "--tenants", open, "--shards", "2"], { env });
    expect(readable).toMatchObject({ code: 2 });
    expect(readable.err).toMatch(/other users of this machine can read it or write to it: chmod 600 it/);
    expect(readable.err).not.toContain("secret");
    const password = await run([...sync, "--queue", "redis://:secret@127.0.0.1"], { env });
    expect(password).toMatchObject({ code: 2 });
    expect(password.err).not.toContain("secret@");
    const waiting = await said(alone, /No worker for the tenant default for 30 s: start one with/);
    expect(waiting).not.toContain(env.PGPASSWORD);
    alone.kill("SIGINT");
    expect((await alone.done).err).toMatch(/Interrupted: /);
  });
});

/** A server of its own, for a queue that is restarted. */
const startOther = async () => {
  const { startPostgres } = await import("../warehouse/postgres.ts");
  const server = await startPostgres();
  onTestFinished(() => server.remove());
  const { url, password } = await server.createDatabase();
  const whole = new URL(url);
  whole.password = password;
  return {
    url: whole.href,
    restart: async () => {
      await server.kill();
      await sleep(1500);
      await server.start();
    },
  };
};

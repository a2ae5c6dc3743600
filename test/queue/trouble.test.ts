/** Trouble with runs on many machines: each as the documentation says, and nothing is lost. */
import { describe, expect, it, onTestFinished } from "vitest";
import * as Engine from "../../src/queue/Engine.ts";
import * as QueueServer from "../../src/queue/QueueServer.ts";
import * as Records from "../../src/queue/Records.ts";
import * as ShardJob from "../../src/queue/ShardJob.ts";
import { begin, run } from "../cli/command.ts";
import { hasPostgres, postgresForFile, startPostgres } from "../warehouse/postgres.ts";
import { expectRows, listedBy, rowsOf } from "../warehouse/tables.ts";
import { placesOn, said, sleep, sync, work } from "./place.ts";

describe.skipIf(!hasPostgres)("over a queue in PostgreSQL", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });
  const place = placesOn(postgres);

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

  it("goes on when the queue loses one shard, and all it had", async () => {
    const { sandbox, env, target, queue } = await place();
    const worker = work(env, "--at-once", "1");
    const syncing = begin([...sync, "--shards", "8", "--concurrency", "1"], { env });
    await said(worker, /\.\d+: begun/);
    await postgres().sql("DELETE FROM monocloud_queue.job WHERE id LIKE '%.5'", queue.name);
    await said(worker, /\.2: begun/);
    await postgres().sql("DELETE FROM monocloud_queue.job; DELETE FROM monocloud_queue.values", queue.name);
    expect(await syncing.done).toMatchObject({ code: 0 });
    expectRows(await rowsOf(target), listedBy(sandbox));
    worker.kill("SIGTERM");
    await worker.done;
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
});

/** A server of its own, for a queue that is restarted. */
const startOther = async () => {
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

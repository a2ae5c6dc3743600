/** A queue's server that is away, or refuses, while a process begins or ends. */
import { describe, expect, it, onTestFinished } from "vitest";
import * as Engine from "../../src/queue/Engine.ts";
import * as QueueServer from "../../src/queue/QueueServer.ts";
import { begin, run } from "../cli/command.ts";
import { hasPostgres, postgresForFile, startPostgres } from "../warehouse/postgres.ts";
import { expectRows, listedBy, rowsOf } from "../warehouse/tables.ts";
import { placesOn, said, sleep, sync, work } from "./place.ts";
import { hasRedis, startRedis } from "./redis.ts";

/** A server of its own for a queue. */
const startOther = async (kind: "postgres" | "redis") => {
  if (kind === "redis") {
    const server = await startRedis();
    onTestFinished(() => server.remove());
    return { ...server, whole: server.url };
  }
  const server = await startPostgres();
  onTestFinished(() => server.remove());
  const { url, password } = await server.createDatabase();
  const whole = new URL(url);
  whole.password = password;
  return { ...server, whole: whole.href };
};

const NONE = { users: 0, missing: 0, failed: 0, sessions: 0, quarantined: 0, unverified: 0, encodedBytes: 0 };
/** A run that has begun, as its record says. */
const RUN = JSON.stringify({
  ...{ job: "1-begun", tenant: "default", target: "default", kind: "table", began: "" },
  ...{ shards: 1, done: 0, failed: 0, progress: { ...NONE, listed: 0 } },
});

describe.skipIf(!hasPostgres)("a queue that is away", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });
  const place = placesOn(postgres);

  it("does not keep a worker from a queue that it could not join at first", async () => {
    const { sandbox, env, target, queue } = await place();
    const few = await postgres().createUser(queue, "few");
    await postgres().sql(`GRANT CREATE ON DATABASE ${queue.name} TO few`);
    const url = new URL(few.url);
    url.password = few.password;
    const its = { ...env, MONOCLOUD_QUEUE: url.href };
    // Connected to what machines share, and to no queue yet.
    const late = begin(["work", "--rate", "1000/s", "--lease", "3s"], { env: its });
    await said(late, /worker \S+: tenants default/);
    await sleep(1000);
    await postgres().sql("ALTER ROLE few NOLOGIN");
    await postgres().sql(
      `INSERT INTO monocloud_queue.values SELECT 'run:default:1-begun', $$${RUN}$$, 1`,
      queue.name,
    );
    await said(late, /queue of tenant default: .*not permitted to log in/);
    await sleep(2500);
    await postgres().sql("ALTER ROLE few LOGIN");
    expect(await run([...sync, "--shards", "4"], { env: its })).toMatchObject({ code: 0 });
    expect(late.err().match(/not permitted/g)).toHaveLength(1);
    expectRows(await rowsOf(target), listedBy(sandbox));
    late.kill("SIGTERM");
    expect(await late.done).toMatchObject({ code: 0 });
  });

  it("does not keep a run from a queue that it could not join at first", async () => {
    const database = await postgres().createDatabase();
    const late = await postgres().createUser(database, "late");
    const url = new URL(late.url);
    url.password = late.password;
    const queue = (await Engine.load(QueueServer.parse(url.href))).queue("default");
    onTestFinished(() => queue.close());
    await expect(queue.next()).rejects.toThrow(/permission denied/);
    await postgres().sql(`GRANT CREATE ON DATABASE ${database.name} TO late`);
    expect(await queue.next()).toBe(0);
  });

  it.each(hasRedis ? ["postgres", "redis"] as const : ["postgres"] as const)(
    "lets a run in %s end once its patience is over, and workers that are told to stop",
    async (kind) => {
      const { env } = await place({ users: 8, sessionsPerUser: 200 });
      const other = await startOther(kind);
      const its = { ...env, MONOCLOUD_QUEUE: other.whole };
      const worker = work(its);
      const syncing = begin([...sync, "--shards", "4", "--max-elapsed", "2s"], { env: its });
      await said(worker, /begun/);
      await other.kill();
      const { code, err } = await syncing.done;
      expect(code).toBe(75);
      expect(err).toMatch(/Error: Cannot use the queue at (?!.*Cannot use)/);
      const stopped = Date.now();
      worker.kill("SIGTERM");
      const end = await worker.done;
      expect(end).toMatchObject({ code: 0, err: expect.stringMatching(/handed back/) });
      expect(Date.now() - stopped).toBeLessThan(25_000);
    },
    60_000,
  );
});

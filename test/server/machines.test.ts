/** Workers and runs on many machines, as the server shows them while they work. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Machines } from "../../src/server/machines/View.ts";
import { tenant, until } from "../cli/command.ts";
import { hasPostgres, postgresForFile, startPostgres } from "../warehouse/postgres.ts";
import { place, sync, work } from "./machines.ts";
import { runtimes, serve, type Serving } from "./serving.ts";

const machines = async ({ ask }: Serving): Promise<Machines> => {
  const response = await ask("/v1/machines");
  const answer = await response.json();
  if (response.status !== 200) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
  return answer;
};

/** The metrics of a server, by their names and labels. */
const metrics = async ({ ask }: Serving): Promise<Readonly<Record<string, number>>> =>
  Object.fromEntries(
    [...(await (await ask("/metrics")).text()).matchAll(/^(\w+(?:\{.*\})?) (\S+)$/gm)]
      .map(([, name, value]) => [name, Number(value)]),
  );

describe.skipIf(!hasPostgres).each(runtimes)("on %s", (runtime) => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });

  it(
    "shows what two workers do for a run, in the list and in the metrics, and what became of them",
    async () => {
      const { env, served } = await place(postgres());
      const server = await serve(runtime, served);
      expect(await machines(server)).toEqual({ workers: [], runs: [] });
      const workers = [work(env, "5/s"), work(env, "5/s")];
      await until(async () => (await machines(server)).workers.length === 2, "both workers are shown");
      const syncing = sync(env, 12, "5/s");
      let seen: Machines | undefined;
      let measured: Readonly<Record<string, number>> = {};
      await until(async () => {
        const now = await machines(server);
        const [run] = now.runs;
        if (run === undefined || run.done < 2 || run.done > 10 || run.workers < 2) return false;
        [seen, measured] = [now, await metrics(server)];
        return true;
      }, "a run of both is shown, of which some is done");
      expect(seen).toEqual({
        workers: [0, 1].map(() => ({
          id: expect.stringMatching(/-\d+-[0-9a-f]{4}$/),
          version: expect.stringMatching(/^\d/),
          host: expect.any(String),
          runtime: expect.stringMatching(/^(node|deno) \d/),
          since: expect.stringMatching(/^\d{4}-.*Z$/),
          tenants: ["default"],
          targets: ["default"],
          at_once: 2,
          shards: expect.arrayContaining([expect.stringMatching(/^\S+\.\d+$/)]),
          alive: true,
        })),
        runs: [{
          job: expect.stringMatching(/^\d+-[0-9a-f]{12}$/),
          tenant: "default",
          target: "default",
          kind: "table",
          began: expect.stringMatching(/^\d{4}-.*Z$/),
          shards: 12,
          done: expect.any(Number),
          failed: 0,
          workers: 2,
          progress: expect.objectContaining({ users_total: 40, users: expect.any(Number) }),
          alive: true,
        }],
      });
      const text = await (await server.ask("/metrics")).text();
      const helps = [...text.matchAll(/^# HELP monocloud_(?:queue|tenant_shared)\w+ (.*)$/gm)];
      expect(helps.length).toBe(8);
      for (const [, help] of helps) expect(help).toMatch(/^[A-Z][^.]+\.$/);
      const host = new URL(env.MONOCLOUD_DOMAIN).host;
      const of = (status: string) => measured[`monocloud_queue_shards{status="${status}"}`]!;
      expect(measured).toMatchObject({
        monocloud_queue_up: 1,
        monocloud_queue_workers: 2,
        'monocloud_queue_shards{status="failed"}': 0,
        [`monocloud_tenant_shared_rate{tenant="${host}"}`]: 5,
        [`monocloud_tenant_shared_held_seconds{tenant="${host}"}`]: 0,
      });
      expect(of("waiting") + of("running") + of("done")).toBe(12);
      expect(Math.min(of("running"), of("done"))).toBeGreaterThan(0);
      for (const what of ["sessions", "users", "requests"]) {
        expect([what, measured[`monocloud_queue_${what}{tenant="default"}`]! > 0]).toEqual([what, true]);
      }

      expect(await syncing.done).toMatchObject({ code: 0 });
      await until(async () => (await machines(server)).runs.length === 0, "a run that has ended is gone");
      expect((await metrics(server))['monocloud_queue_shards{status="done"}']).toBe(0);
      workers[0]!.kill("SIGTERM");
      workers[1]!.kill("SIGKILL");
      await until(async () => {
        const { workers } = await machines(server);
        return workers.length === 1 && workers[0]!.alive === false;
      }, "one worker is gone, and one shows no sign of life");
      expect(await metrics(server)).toMatchObject({ monocloud_queue_workers: 0 });
    },
    120_000,
  );

  it("has one look at the queue for all who ask at about the same time", async () => {
    const { queue, served } = await place(postgres());
    const server = await serve(runtime, served);
    await machines(server);
    const commits = async () => {
      // The server counts what it has done about a second later.
      await sleep(2500);
      const [row] = await postgres().sql(
        `SELECT xact_commit::int AS count FROM pg_stat_database WHERE datname = '${queue.name}'`,
      );
      return Number(row!["count"]);
    };
    const before = await commits();
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 20 }, () => machines(server)));
      await metrics(server);
    }
    expect(await commits() - before).toBeLessThan(20);
  });

  it("answers 503 while the queue can't be reached, and tells its own metrics all the same", async () => {
    const other = await startPostgres();
    onTestFinished(() => other.remove());
    const { served } = await place(other);
    const server = await serve(runtime, served);
    const statusOf = async () => (await server.ask("/v1/machines")).status;
    expect(await statusOf()).toBe(200);
    await other.kill();
    await until(async () => await statusOf() === 503, "the queue can't be reached");
    const answer = await server.ask("/v1/machines");
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    const problem = await answer.json();
    expect(problem).toMatchObject({
      type: "urn:monocloud-sessions:problem:unavailable",
      detail: expect.stringContaining("Cannot use the queue at postgres://"),
    });
    const { password } = new URL(served.MONOCLOUD_QUEUE);
    expect(JSON.stringify(problem) + server.running.err()).not.toContain(password);
    const down = await metrics(server);
    expect(down).toMatchObject({ monocloud_queue_up: 0, monocloud_downloads: 0 });
    expect(Object.keys(down).filter((name) => /queue_(workers|shards)|shared/.test(name))).toEqual([]);
    await other.start();
    await until(async () => await statusOf() === 200, "the queue can be reached again");
    expect(await metrics(server)).toMatchObject({ monocloud_queue_up: 1 });
  });

  it("without a queue there is nothing to show, and nobody is let in without the token", async () => {
    const { env } = await tenant();
    const server = await serve(runtime, env);
    const none = await server.ask("/v1/machines");
    expect([none.status, await none.json()]).toEqual([
      404,
      expect.objectContaining({ detail: "There is no queue here: set MONOCLOUD_QUEUE" }),
    ]);
    expect(Object.keys(await metrics(server)).filter((name) => name.includes("queue_up"))).toEqual([]);
    expect(await (await server.ask("/")).text()).not.toContain("machines");
    expect((await fetch(`${server.url}/v1/machines`)).status).toBe(401);
    expect((await server.ask("/v1/machines?limit=1")).status).toBe(400);
    const url = "mysql://user:a-secret@host/db";
    const refused = serve(runtime, { ...env, MONOCLOUD_QUEUE: url });
    await expect(refused).rejects.toThrow(/MONOCLOUD_QUEUE can't be used: The URL of a queue must be/);
    await expect(refused).rejects.not.toThrow(/a-secret/);
  });
});

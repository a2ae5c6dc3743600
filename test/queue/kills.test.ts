/**
 * Three workers, real processes each in a network of its own, of which one in every run is killed, stopped for longer than its
 * lock, or cut off: the table equals the tenant, and every shard was published once.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { expect, it } from "vitest";
import type { Target } from "../../src/warehouse/Target.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { run } from "../cli/command.ts";
import { problemsOf } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { changing } from "../warehouse/rounds.ts";
import { serving } from "../warehouse/tenants.ts";
import { type Machine, type Said, startMachine } from "./workers.ts";
import { onEachServer } from "./servers.ts";

const ROUNDS = isLong ? 100 : 2;
const PRUNE_EVERY = isLong ? 3 : 2;
const SHARDS = isLong ? 24 : 12;
const USERS = isLong ? 2000 : 150;
const MACHINES = 3;
/** Time without a sign of life after which a shard goes to another worker. */
const LEASE = 3000;

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

const faults = ["kill", "pause", "cut"] as const;
type Fault = typeof faults[number];

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Do that to a machine, and put it right later. Gives the shards that it had. */
const strike = async (machine: Machine, fault: Fault): Promise<ReadonlyArray<string>> => {
  const { cable, running, restart, shards } = machine;
  const had = [...shards()];
  if (fault === "kill") {
    running().kill("SIGKILL");
    await running().done;
    restart();
    return had;
  }
  if (fault === "pause") running().kill("SIGSTOP");
  else cable.cut();
  await sleep(LEASE * 2.5);
  if (fault === "pause") running().kill("SIGCONT");
  else cable.mend();
  return had;
};

/** Runs of one kind, and what must be so after each. */
interface Subject {
  readonly into: string;
  /** Value of MONOCLOUD_TO, and the variables that are secret. */
  readonly to: string;
  readonly secret: Readonly<Record<string, string>>;
  readonly args: (prune: boolean) => ReadonlyArray<string>;
  /** Gives what holds the tenant's sessions then. */
  readonly check: (prune: boolean) => Promise<Target>;
  /** Done once after the first run. */
  readonly watch: () => Promise<void>;
  /** Gives how often each shard of each run was published. */
  readonly published: () => Promise<ReadonlyArray<{ readonly times: number; readonly shards: number }>>;
}

/** The fault that the next subject begins with, so that the short form has each of them. */
let turn = 0;

onEachServer((server, kind) => {
  const postgres = postgresForFile();

  const goThrough = async (subject: Subject) => {
    const { draw, tenant, passHour, expectTable } = changing(31, {
      users: USERS,
      sessionsPerUser: { mean: 6 },
      faults: { "429": 0.005, "500": 0.005, reset: 0.002, latencyMs: 10, retryAfter: "none" },
    });
    const { env } = await serving(tenant);
    const heard: Array<Said> = [];
    const secret = { MONOCLOUD_API_KEY: env.MONOCLOUD_API_KEY, ...subject.secret };
    const urls = { MONOCLOUD_DOMAIN: env.MONOCLOUD_DOMAIN, MONOCLOUD_QUEUE: await server.url() };
    const to = { MONOCLOUD_TO: subject.to };
    const isUrl = /^postgres:/.test(subject.to);
    const args = ["--rate", "100000/s", "--lease", `${LEASE / 1000}s`];
    const machines = await Promise.all(
      Array.from({ length: MACHINES }, (_, number) =>
        startMachine(number, {
          urls: { ...urls, ...isUrl && to },
          env: { ...secret, ...!isUrl && to },
          args,
        }, (said) => heard.push(said))),
    );

    const first = turn++;
    const counts = { kill: 0, pause: 0, cut: 0 };
    const failovers: Array<number> = [];
    for (let round = 0; round < ROUNDS; round++) {
      const prune = round % PRUNE_EVERY === PRUNE_EVERY - 1;
      const running = run(
        [...subject.args(prune), "--shards", `${SHARDS}`, "--rate", "100000/s", "--quiet"],
        {
          env: { ...secret, ...urls, ...to },
        },
      );
      const fault = faults[(first + round) % 3]!;
      const victim = machines[Math.floor(draw() * MACHINES)]!;
      while (victim.shards().size === 0) await sleep(10);
      await sleep(draw() * 500);
      const struckAt = Date.now();
      const had = await strike(victim, fault);
      counts[fault]++;
      const { code, err } = await running;
      // Users come and go.
      expect(err.replace(/^Warning: .* unknown to the tenant: .*\n/m, "")).toBe("");
      expect(code).toBe(0);
      for (const shard of had) {
        const next = heard.find((said) =>
          said.shard === shard && said.what === "begun" && said.at > struckAt && said.attempt > 1
        );
        if (next !== undefined) failovers.push(next.at - struckAt);
      }
      await expectTable(await subject.check(prune), prune);
      if (round === 0) await subject.watch();
      passHour(Math.floor(draw() * 30));
    }
    const published = await subject.published();
    expect(published.length).toBeGreaterThanOrEqual(ROUNDS - 1);
    for (const run of published) expect(run).toMatchObject({ times: SHARDS, shards: SHARDS });
    const attempts = heard.filter(({ what }) => what === "begun");
    const again = attempts.filter(({ attempt }) => attempt > 1).length;
    process.stdout.write(
      `${kind}, into ${subject.into}, ${MACHINES} workers` +
        `${machines[0]!.cable.isNamespace ? " in networks of their own" : ""}: ` +
        `${ROUNDS} runs, ${counts.kill} kills, ${counts.pause} pauses, ${counts.cut} cuts; ` +
        `${attempts.length} attempts at ${ROUNDS * SHARDS} shards, ${again} of them further ones; ` +
        `${failovers.length} failovers within ${(median(failovers) / 1000).toFixed(1)} s (median), ` +
        `${(Math.max(...failovers) / 1000).toFixed(1)} s at most, with a lease of ${LEASE / 1000} s\n`,
    );
    expect(again).toBeGreaterThan(0);
    for (const { running } of machines) {
      running().kill("SIGTERM");
      expect(await running().done).toMatchObject({ code: 0 });
    }
  };

  it.skipIf(!hasPostgres)("keep a table equal to the tenant, each shard published once", async () => {
    const database = await postgres().createDatabase();
    const target = Postgres.make(database);
    await goThrough({
      into: "a table",
      to: database.url,
      secret: { PGPASSWORD: database.password },
      args: (prune) => [
        ...["sync", "--all-users", "--checkpoint-rows", "300", "--page-size", "10", "--concurrency", "4"],
        ...prune ? ["--prune"] : [],
      ],
      check: () => Promise.resolve(target),
      watch: () =>
        // Notes each time that a shard is published, from now on.
        postgres().sql(
          `CREATE TABLE published (run int, shard int);
           CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.published VALUES (NEW.run, NEW.shard); RETURN NULL; END $$;
           CREATE TRIGGER note AFTER UPDATE ON monocloud._shards FOR EACH ROW
             WHEN (NEW.ended IS NOT NULL) EXECUTE FUNCTION note()`,
          database.name,
        ).then(() => undefined),
      published: async () =>
        await postgres().sql(
          "SELECT count(*)::int AS times, count(DISTINCT shard)::int AS shards FROM published GROUP BY run",
          database.name,
        ) as unknown as ReadonlyArray<{ times: number; shards: number }>,
    });
  }, 60 * 60_000);

  // A queue hands out alike, whatever it is for.
  it.skipIf(kind === "redis")(
    "keep a shared folder equal to the tenant, each shard published once, and verified",
    async () => {
      const folder = await newFolder();
      const [out, loaded] = [join(folder, "out"), join(folder, "loaded.duckdb")];
      await goThrough({
        into: "a folder",
        to: out,
        secret: {},
        args: (prune) => [
          ...["export", "--all-users", "--out", out, "--format", "ndjson", "--resume", "--since-last"],
          ...["--part-rows", "300", "--page-size", "10", "--concurrency", "4", ...prune ? ["--prune"] : []],
        ],
        check: async () => {
          expect(await problemsOf(out)).toEqual([]);
          expect(await run(["load", out, "--to", loaded, "--replace", "--quiet"])).toMatchObject({ code: 0 });
          return DuckDb.make({ path: loaded });
        },
        watch: () => Promise.resolve(),
        published: async () => {
          const { runs } = JSON.parse(await readFile(join(out, "manifest.json"), "utf8"));
          return runs.map(({ shards }: { shards: ReadonlyArray<{ shard: number }> }) => ({
            times: shards.length,
            shards: new Set(shards.map(({ shard }) => shard)).size,
          }));
        },
      });
    },
    60 * 60_000,
  );
});

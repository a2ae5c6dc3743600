/**
 * Three workers, real processes each in a network of its own, of which one in every run is killed, stopped for longer than its
 * lock, or cut off: the table equals the tenant, and every shard was published once.
 */
import process from "node:process";
import { expect, it } from "vitest";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { run } from "../cli/command.ts";
import { isLong } from "../size.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { changing } from "../warehouse/rounds.ts";
import { serving } from "../warehouse/tenants.ts";
import { type Machine, type Said, startMachine } from "./machines.ts";
import { onEachServer } from "./servers.ts";

const ROUNDS = isLong ? 100 : 4;
const USERS = isLong ? 2000 : 300;
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

onEachServer((server, kind) => {
  const postgres = postgresForFile();

  it.skipIf(!hasPostgres)("equals the tenant after every run, whatever became of a worker", async () => {
    const { draw, tenant, passHour, expectTable } = changing(31, {
      users: USERS,
      sessionsPerUser: { mean: 6 },
      faults: { "429": 0.005, "500": 0.005, reset: 0.002, latencyMs: 10, retryAfter: "none" },
    });
    const { env } = await serving(tenant);
    const database = await postgres().createDatabase();
    const target = Postgres.make(database);
    const url = await server.url();
    const heard: Array<Said> = [];
    const secret = { MONOCLOUD_API_KEY: env.MONOCLOUD_API_KEY, PGPASSWORD: database.password };
    const urls = { MONOCLOUD_DOMAIN: env.MONOCLOUD_DOMAIN, MONOCLOUD_TO: database.url, MONOCLOUD_QUEUE: url };
    const machines: Array<Machine> = [];
    for (let number = 0; number < MACHINES; number++) {
      machines.push(
        await startMachine(number, {
          urls,
          env: secret,
          args: ["--rate", "100000/s", "--lease", `${LEASE / 1000}s`],
        }, (said) => heard.push(said)),
      );
    }

    const counts = { kill: 0, pause: 0, cut: 0 };
    const failovers: Array<number> = [];
    let isWatched = false;
    for (let round = 0; round < ROUNDS; round++) {
      const prune = round % 3 === 2;
      const running = run(
        [
          ...["sync", "--all-users", "--shards", "24", "--rate", "100000/s", "--quiet"],
          ...["--checkpoint-rows", "300", "--page-size", "10", "--concurrency", "4"],
          ...prune ? ["--prune"] : [],
        ],
        { env: { ...secret, ...urls } },
      );
      const fault = faults[(round + Math.floor(draw() * 2)) % 3]!;
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
      await expectTable(target, prune);
      if (!isWatched) {
        isWatched = true;
        // Notes each time that a shard is published, from now on.
        await postgres().sql(
          `CREATE TABLE published (run int, shard int, epoch int);
           CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.published VALUES (NEW.run, NEW.shard, NEW.epoch); RETURN NULL; END $$;
           CREATE TRIGGER note AFTER UPDATE ON monocloud._shards FOR EACH ROW
             WHEN (NEW.ended IS NOT NULL) EXECUTE FUNCTION note()`,
          database.name,
        );
      }
      passHour(Math.floor(draw() * 30));
    }
    const published = await postgres().sql(
      "SELECT run, count(*)::int AS times, count(DISTINCT shard)::int AS shards FROM published GROUP BY run",
      database.name,
    );
    expect(published).toHaveLength(ROUNDS - 1);
    for (const row of published) expect(row).toMatchObject({ times: 24, shards: 24 });
    const attempts = heard.filter(({ what }) => what === "begun");
    const again = attempts.filter(({ attempt }) => attempt > 1).length;
    process.stdout.write(
      `${kind}, ${MACHINES} workers${machines[0]!.cable.isNamespace ? " in networks of their own" : ""}: ` +
        `${ROUNDS} runs, ${counts.kill} kills, ${counts.pause} pauses, ${counts.cut} cuts; ` +
        `${attempts.length} attempts at shards, ${again} of them further ones; ` +
        `${failovers.length} failovers within ${(median(failovers) / 1000).toFixed(1)} s (median), ` +
        `${(Math.max(...failovers) / 1000).toFixed(1)} s at most, with a lease of ${LEASE / 1000} s\n`,
    );
    expect(again).toBeGreaterThan(0);
    for (const { running } of machines) {
      running().kill("SIGTERM");
      expect(await running().done).toMatchObject({ code: 0 });
    }
  }, 45 * 60_000);
});

/** Workers on Deno and on Node, side by side. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, project, run, start } from "../cli/command.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { expectRows, listedBy, rowsOf } from "../warehouse/tables.ts";
import { serving } from "../warehouse/tenants.ts";
import { onEachServer } from "./servers.ts";

const deno = join(project, "node_modules", ".bin", "deno");

onEachServer((server) => {
  const postgres = postgresForFile();

  it.skipIf(!hasPostgres)("do the shards of one run", async () => {
    const sandbox = make({ users: 60, sessionsPerUser: 5, faults: { latencyMs: 20 } });
    const { env: tenant } = await serving(sandbox);
    const table = await postgres().createDatabase();
    const env = {
      ...tenant,
      PGPASSWORD: table.password,
      MONOCLOUD_TO: table.url,
      MONOCLOUD_QUEUE: await server.url(),
    };
    const args = ["work", "--rate", "1000/s"];
    const workers = [
      begin(args, { env }),
      start(deno, ["run", "--allow-all", join(project, "src", "cli", "main.ts"), ...args], { env }),
    ];
    for (const worker of workers) {
      while (!/worker \S+: tenants default/.test(worker.err())) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    const syncing = ["sync", "--all-users", "--shards", "12", "--rate", "1000/s", "--concurrency", "1"];
    expect(await run(syncing, { env })).toMatchObject({ code: 0 });
    expectRows(await rowsOf(Postgres.make(table)), listedBy(sandbox));
    for (const worker of workers) {
      worker.kill("SIGTERM");
      const { code, err } = await worker.done;
      expect(code).toBe(0);
      expect(err).toMatch(/shard \S+: done/);
    }
  });
});

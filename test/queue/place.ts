/** A tenant, a table and a queue, each real, with the command as a process over them. */
import { make, type SandboxOptions } from "../../src/sandbox/mod.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, type Running } from "../cli/command.ts";
import type { Postgres as Server } from "../warehouse/postgres.ts";
import { serving } from "../warehouse/tenants.ts";

export const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** Wait until something is said on standard error. */
export const said = async ({ err }: Running, what: RegExp): Promise<string> => {
  for (let left = 1500; left > 0; left--) {
    if (what.test(err())) return err();
    await sleep(20);
  }
  throw new Error(`${what} was not said within 30 s: ${err()}`);
};

/** Make what runs on many machines need, on one server of PostgreSQL. */
export const placesOn = (postgres: () => Server) => async (options: SandboxOptions = {}) => {
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

/** Start a worker. */
export const work = (env: Readonly<Record<string, string>>, ...more: ReadonlyArray<string>): Running =>
  begin(["work", "--rate", "1000/s", ...(more.includes("--lease") ? [] : ["--lease", "3s"]), ...more], {
    env,
  });

export const sync = ["sync", "--all-users", "--rate", "1000/s", "--page-size", "10"];

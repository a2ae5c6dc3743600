/** Runs on many machines that servers show: a tenant, a table and a queue in a real PostgreSQL, and the commands that use them. */
import { make, type SandboxOptions } from "../../src/sandbox/mod.ts";
import { begin } from "../cli/command.ts";
import type { Postgres } from "../warehouse/postgres.ts";
import { serving } from "../warehouse/tenants.ts";

type Env = Readonly<Record<string, string>>;

/** A tenant on a port, an empty table and an empty queue, and the environment that leads to all of them. */
export const place = async (postgres: Pick<Postgres, "createDatabase">, options: SandboxOptions = {}) => {
  const sandbox = make({ users: 40, sessionsPerUser: 10, faults: { latencyMs: 10 }, ...options });
  const { env: tenant } = await serving(sandbox);
  const [table, queue] = [await postgres.createDatabase(), await postgres.createDatabase()];
  const whole = new URL(queue.url);
  whole.password = queue.password;
  const env = {
    ...tenant,
    PGPASSWORD: table.password,
    MONOCLOUD_TO: table.url,
    MONOCLOUD_QUEUE: whole.href,
  };
  // What a server is told of it: the tenant and the queue.
  const { MONOCLOUD_QUEUE } = env;
  return { sandbox, queue, env, served: { ...tenant, MONOCLOUD_QUEUE } };
};

export const work = (env: Env, rate = "1000/s") => begin(["work", "--rate", rate, "--lease", "3s"], { env });

export const sync = (env: Env, shards: number, rate = "1000/s", ...more: ReadonlyArray<string>) =>
  begin(
    ["sync", "--all-users", "--page-size", "10", "--shards", `${shards}`, "--rate", rate, ...more],
    { env },
  );

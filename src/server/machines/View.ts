/**
 * Workers and runs on many machines, as the server tells of them.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import * as Struct from "effect/Struct";
import * as Records from "../../queue/Records.ts";
import * as Job from "../jobs/Job.ts";

const worker = {
  id: "host-1-0f5c",
  ...{ version: "0.2.0", host: "host", runtime: "node 22.20.0", since: "2026-11-24T06:15:00.000Z" },
  ...{ tenants: ["acme"], targets: ["warehouse"], at_once: 2, shards: ["12-0f5c2a9be471.3"], alive: true },
};

/** A worker. */
export const Worker = Schema.Struct({
  ...Struct.omit(Records.Worker.fields, "job_version", "pid"),
  /** False if it has not said for a while that it lives. */
  alive: Schema.Boolean,
});

const run = {
  ...{ job: "12-0f5c2a9be471", tenant: "acme", target: "warehouse", kind: "table" as const },
  ...{ began: "2026-11-24T06:15:00.000Z", shards: 64, done: 31, failed: 0, workers: 1, alive: true },
  progress: {
    ...{ users: 60, users_total: 120, missing: 0, failed: 0, unverified: 0 },
    ...{ sessions: 2400, quarantined: 0, bytes: 1_180_000 },
  },
};

/** A run that has not ended. */
export const Run = Schema.Struct({
  ...Struct.omit(Records.Run.fields, "progress", "traffic"),
  /** Workers that have shards of it. */
  workers: Schema.Int.pipe(Schema.nonNegative()),
  progress: Job.Progress,
  /** False if the command that began it has not told of it for a while. */
  alive: Schema.Boolean,
});

export const Machines = Schema.Struct({ workers: Schema.Array(Worker), runs: Schema.Array(Run) }).annotations(
  {
    identifier: "Machines",
    description: "The workers and the runs.",
    examples: [{ workers: [worker], runs: [run] }],
  },
);

export type Machines = typeof Machines.Type;

/** The time after which a worker that was killed is told of no more, in milliseconds. */
const FORGOTTEN = 3_600_000;
/** The time without news of a run after which nobody seems to wait for it, in milliseconds. */
const ALONE = 30_000;

/** Give what is told of records. */
export const of = (
  workers: ReadonlyArray<Records.Aged<"worker">>,
  runs: ReadonlyArray<Records.Aged<"run">>,
): Machines => {
  const isOf = (job: string) => (shard: string) => shard.startsWith(`${job}.`);
  return {
    workers: workers.filter(({ age }) => age < FORGOTTEN).map((worker) => {
      const { age: _, job_version: __, pid: ___, ...told } = worker;
      return { ...told, alive: Records.isAlive(worker) };
    }),
    runs: runs.map(({ age, progress, traffic: _, ...told }) => ({
      ...told,
      workers:
        workers.filter((worker) => Records.isAlive(worker) && worker.shards.some(isOf(told.job))).length,
      progress: Job.progressOf(progress),
      alive: age < ALONE,
    })),
  };
};

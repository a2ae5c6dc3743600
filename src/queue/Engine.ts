/** The engine of queues, BullMQ: jobs that are handed out once at least, with a lock that a living worker renews. */
import type * as Bull from "bullmq";
import * as QueueServer from "./QueueServer.ts";
import { missing } from "./QueueError.ts";

/** The schema of PostgreSQL, and the prefix of Redis, that everything of a queue lies under. */
export const SCHEMA = "monocloud_queue";

/** Attempts at a shard that fails, and the pause after the first, in milliseconds; twice as long after each further one. */
const ATTEMPTS = 5;
const PAUSE = 1000;
/** Workers that may die of a shard before it counts as failed. */
const DEATHS = 10;

export interface WorkerOptions {
  /** Shards of one tenant at once. */
  readonly concurrency: number;
  /** Time without a sign of life after which a shard is handed to another worker, in milliseconds. */
  readonly lease: number;
}

export interface Shard {
  readonly id: string;
  readonly data: unknown;
  /** Shards with lower numbers come first. */
  readonly priority: number;
}

export interface Queue {
  /** Adds shards that are not there. */
  readonly add: (shards: ReadonlyArray<Shard>) => Promise<void>;
  /** The priority of the shard that comes next; 0 if none waits. */
  readonly next: () => Promise<number>;
  readonly isThere: (id: string) => Promise<boolean>;
  /** Takes out those of these shards that failed for good; gives why. */
  readonly takeFailed: (isIts: (id: string) => boolean) => Promise<ReadonlyMap<string, string>>;
  readonly close: () => Promise<void>;
}

export interface Engine {
  readonly queue: (tenant: string) => Queue;
  /** Makes a worker that has not begun. Its errors go to `tell`. */
  readonly worker: (
    tenant: string,
    work: (job: Bull.Job, token: string, signal: AbortSignal) => Promise<unknown>,
    options: WorkerOptions,
    tell: (error: Error) => void,
  ) => Bull.Worker;
  /** Errors by which a worker hands its shard back, puts it off, or fails it for good. */
  readonly errors: Pick<typeof Bull, "WaitingError" | "DelayedError" | "UnrecoverableError">;
}

const queueOf = (tenant: string): string => `sessions.${tenant}`;

/** The most that a priority of BullMQ can be. */
const LOWEST = 2 ** 21 - 1;

/** Say in our words that a shard's workers died of it. */
const reasonOf = (failedReason: string): string =>
  /stalled more than/.test(failedReason)
    ? `more than ${DEATHS} workers died or fell silent while they had it`
    : failedReason;

/** Give the functions of a queue, by what gives it once it is ready. */
const make = (ready: () => Promise<Bull.Queue>, close: Queue["close"]): Queue => ({
  add: async (shards) => {
    await (await ready()).addBulk(shards.map(({ id, data, priority }) => ({
      name: "shard",
      data,
      opts: {
        jobId: id,
        priority: Math.min(priority, LOWEST),
        attempts: ATTEMPTS,
        backoff: { type: "exponential", delay: PAUSE },
        removeOnComplete: true,
        // A run that is gone on with takes it out; one that never is leaves it for a week.
        removeOnFail: { age: 7 * 86_400 },
      },
    })));
  },
  next: async () => (await (await ready()).getJobs(["prioritized"], 0, 0, true))[0]?.priority ?? 0,
  isThere: async (id) => await (await ready()).getJob(id) !== undefined,
  takeFailed: async (isIts) => {
    const failed = (await (await ready()).getFailed()).filter(({ id = "" }) => isIts(id));
    for (const job of failed) await job.remove();
    return new Map(failed.map(({ id = "", failedReason }) => [id, reasonOf(failedReason)]));
  },
  close,
});

/** Load the engine for a server. Rejects with a {@link QueueError} where it is not installed. */
export const load = async (server: QueueServer.QueueServer): Promise<Engine> => {
  const bull = await import("bullmq").catch((cause) => {
    throw missing(server.name, "bullmq", server.kind === "postgres" ? "pg" : "ioredis", cause);
  });
  const options = server.kind === "postgres"
    ? { connection: { ...await QueueServer.postgresConfig(server), schema: SCHEMA, migrate: true, max: 2 } }
    : {
      connection: { ...QueueServer.redisOptions(server), maxRetriesPerRequest: null },
      prefix: SCHEMA,
    };
  const { Queue, Worker } =
    (server.kind === "postgres" ? bull.withBackend(bull.createPostgresBackend) : bull) as unknown as Pick<
      typeof Bull,
      "Queue" | "Worker"
    >;
  const connecting = options as unknown as { readonly connection: Bull.ConnectionOptions };
  return {
    queue: (tenant) => {
      let queue: Bull.Queue | undefined;
      const open = () => {
        const opened = new Queue(queueOf(tenant), connecting);
        // A call that fails tells; an idle connection that breaks is made anew.
        opened.on("error", () => {});
        return opened;
      };
      const close = (its = queue) => Promise.resolve(its?.close()).catch(() => undefined);
      const ready = async () => {
        const its = queue ??= open();
        try {
          await its.waitUntilReady();
        } catch (error) {
          // One that could not join never does: the next call makes another.
          if (queue === its) queue = undefined;
          void close(its);
          throw error;
        }
        return its;
      };
      return make(ready, () => close());
    },
    worker: (tenant, work, { concurrency, lease }, tell) => {
      const worker = new Worker(queueOf(tenant), (job, token, signal) => work(job, token!, signal!), {
        ...connecting,
        concurrency,
        lockDuration: Math.round(lease),
        stalledInterval: Math.round(lease / 3),
        maxStalledCount: DEATHS,
        autorun: false,
      });
      worker.on("error", tell);
      return worker;
    },
    errors: bull,
  };
};

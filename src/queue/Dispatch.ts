/**
 * The shards of a run, handed to workers by the queue until each has ended or failed for good.
 *
 * The queue hands out; what counts is what workers leave behind. So nothing is lost where the queue's server loses all it had: what
 * has not ended is put into the queue again.
 */
import * as Clock from "effect/Clock";
import type * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Export from "../export/Export.ts";
import type { FailedShard } from "../source/ShardPlan.ts";
import type * as Engine from "./Engine.ts";
import * as Patience from "./Patience.ts";
import type { QueueError } from "./QueueError.ts";
import * as Records from "./Records.ts";
import * as ShardJob from "./ShardJob.ts";
import type { Values } from "./Values.ts";

/** A queue's server, connected. */
export interface Connected {
  /** Without a password. */
  readonly name: string;
  readonly engine: Engine.Engine;
  readonly values: Values;
}

export interface DispatchOptions<E, R> {
  readonly job: ShardJob.RunJob;
  /** In the order in which they are to begin. */
  readonly shards: ReadonlyArray<{ readonly shard: number; readonly users: number }>;
  /** Takes the progress of all that have begun, and more that is known of those. */
  readonly show: (begun: ReadonlyArray<Export.Progress>, view: View) => void;
  /** Done for each shard that has ended, with what its worker gave. Gives why it must be done again, if it must. */
  readonly publish: (shard: number, result: string | undefined) => Effect.Effect<string | undefined, E, R>;
  /** The patience with a server that can't be reached. */
  readonly maxElapsed: Duration.DurationInput;
}

/** A look at shards that have begun. */
export interface View {
  readonly requests: number;
  readonly retries: number;
  /** Workers that live and may take a shard; undefined before the first look for them. */
  readonly workers: number | undefined;
  /** Progress of those that have not been published. */
  readonly under: ReadonlyArray<Export.Progress>;
}

/** Pauses between looks: at what workers leave, at shards that failed, at whether the queue still has its shards. */
const LOOK = 500;
const LOOK_AT_QUEUE = 3000;
/** Time without a worker after which that is told. */
const ALONE = 30_000;
/** Times that a shard is done of which nothing can be published. */
const UNFIT = 3;
/** Hand shards to workers, and wait for them. Gives those that failed for good. May be begun again for the same run. */
export const dispatch = <E, R>(
  { name, engine, values }: Connected,
  { job, shards, show, publish, maxElapsed }: DispatchOptions<E, R>,
): Effect.Effect<ReadonlyArray<FailedShard>, E | QueueError, R> =>
  Effect.scoped(Effect.gen(function* () {
    const queue = yield* Effect.acquireRelease(
      Effect.sync(() => engine.queue(job.tenant)),
      (queue) => Effect.promise(() => queue.close()),
    );
    const ask = <A>(work: () => Promise<A>) => Patience.call(name, work);
    const again = Patience.patiently(maxElapsed);
    // What is shared may be reached while the queue itself is not.
    const againAtQueue = Patience.patiently(maxElapsed);
    const began = yield* Clock.currentTimeMillis;
    const left = new Map(shards.map(({ shard }, place) => [shard, place]));
    const progress = new Map<number, Records.Shard>();
    const failed: Array<FailedShard> = [];
    /** Times that what came of a shard could not be published. */
    const unfit = new Map<number, number>();
    const total = shards.reduce((sum, { users }) => sum + users, 0);
    let base: number | undefined;

    /** Put shards into the queue; those that are there stay. */
    const add = (numbers: Iterable<number>) =>
      Effect.gen(function* () {
        // Runs of one tenant take turns: the first shard of this one comes with the next of those that wait.
        base ??= yield* ask(() => queue.next());
        const from = base;
        yield* ask(() =>
          queue.add(
            [...numbers].map((shard) => ({
              id: ShardJob.idOf({ job: job.job, shard }),
              data: { ...job, version: ShardJob.jobVersion, shard } satisfies ShardJob.ShardJob,
              priority: from + left.get(shard)! + 1,
            })),
          )
        );
      });

    /** Leave word of this run, by which workers know that there is something to do. */
    const tell = Effect.suspend(() =>
      ask(() =>
        Records.leave(values, "run", Records.keyOf("run", job.tenant, job.job), {
          ...{ job: job.job, tenant: job.tenant, target: job.target, kind: job.into.kind },
          began: new Date(began).toISOString(),
          shards: shards.length,
          done: shards.length - left.size - failed.length,
          failed: failed.length,
          progress: { ...sum(), usersTotal: total },
          traffic: made(),
        })
      )
    );

    /** Give the requests for all that have begun, those that have ended included. */
    const made = () => {
      const all = [...progress.values()].map(({ traffic }) => traffic);
      return {
        requests: all.reduce((sum, its) => sum + (its?.requests ?? 0), 0),
        retries: all.reduce((sum, its) => sum + (its?.retries ?? 0), 0),
      };
    };

    const sum = () => Export.sumOfProgress([...progress.values()].flatMap(({ progress }) => progress ?? []));

    let refusal: string | undefined;
    /** Look at what workers have left since. */
    const look = Effect.gen(function* () {
      for (const record of yield* ask(() => Records.list(values, "shard", job.job))) {
        const { shard, status, result, worker, message = "" } = record;
        if (!left.has(shard)) continue;
        if (status === "refused") {
          if (refusal === undefined) yield* Effect.logWarning(`Worker ${worker} ${refusal = message}`);
          continue;
        }
        progress.set(shard, record);
        if (status !== "done") continue;
        const flaw = yield* publish(shard, result);
        yield* ask(() => values.remove(Records.keyOf("shard", job.job, shard)));
        const times = (unfit.get(shard) ?? 0) + 1;
        if (flaw !== undefined && times < UNFIT) {
          unfit.set(shard, times);
          yield* Effect.logWarning(`Shard ${shard} is done again: ${flaw}`);
          yield* add([shard]);
          continue;
        }
        left.delete(shard);
        if (flaw !== undefined) failed.push({ shard, message: flaw });
      }
    });

    const prefix = `${job.job}.`;
    let [probe, isMissing] = [0, false];
    /** Look whether the queue still has what is left, and what failed for good. */
    const lookAtQueue = Effect.gen(function* () {
      for (const [id, message] of yield* ask(() => queue.takeFailed((id) => id.startsWith(prefix)))) {
        const shard = Number(id.slice(prefix.length));
        if (!left.delete(shard)) continue;
        failed.push({ shard, message });
        yield* ask(() => values.remove(Records.keyOf("shard", job.job, shard)));
      }
      // One after the other; once more where it is gone, for it may have ended just now.
      if (!isMissing) probe++;
      const its = [...left.keys()][probe % left.size];
      if (its !== undefined) {
        const isThere = yield* ask(() => queue.isThere(ShardJob.idOf({ job: job.job, shard: its })));
        if (!isThere && isMissing) yield* add(left.keys());
        isMissing = !isThere && !isMissing;
      }
      yield* tell;
    });

    let workers: number | undefined;
    let seenAt = began;
    const lookForWorkers = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis;
      const all = yield* ask(() => Records.list(values, "worker"));
      workers = all.filter((worker) => Records.isAlive(worker) && worker.tenants.includes(job.tenant)).length;
      if (workers > 0) seenAt = now;
      else if (now - seenAt >= ALONE) {
        seenAt = Infinity;
        yield* Effect.logWarning(
          `No worker for the tenant ${job.tenant} for ${
            ALONE / 1000
          } s: start one with monocloud-sessions work --queue ${name}. The shards wait`,
        );
      }
    });

    // What an earlier process of this run left there.
    const begin = Effect.gen(function* () {
      yield* ask(() => queue.takeFailed((id) => id.startsWith(prefix)));
      yield* ask(() => Records.sweep(values));
      yield* tell;
      yield* look;
      yield* add(left.keys());
      return true;
    });
    while ((yield* again(begin)) !== true) yield* Effect.sleep(LOOK);

    yield* again(lookForWorkers);
    let lookedAt = yield* Clock.currentTimeMillis;
    while (left.size > 0) {
      const now = yield* Clock.currentTimeMillis;
      yield* again(look);
      if (left.size > 0 && now - lookedAt >= LOOK_AT_QUEUE) {
        lookedAt = now;
        yield* againAtQueue(Effect.zipRight(lookAtQueue, lookForWorkers));
      }
      show([...progress.values()].flatMap(({ progress }) => progress ?? []), {
        ...made(),
        workers,
        under: [...progress].flatMap(([shard, { progress }]) => left.has(shard) ? progress ?? [] : []),
      });
      if (left.size > 0) yield* Effect.sleep(LOOK);
    }
    yield* again(ask(() => values.remove(Records.keyOf("run", job.tenant, job.job))));
    return failed;
  }));

/**
 * The queue of exports: so many run at once, the others wait for their turn.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import type { Settings } from "../Settings.ts";
import type * as Job from "./Job.ts";
import { fail, type JobError, type ReadError } from "./JobError.ts";
import { type Entry, type JobTable, summaryOf } from "./JobTable.ts";

/** The queue. */
export interface JobQueue {
  /** Put one at the end that need not be prepared; it is not started yet. */
  readonly add: (id: string) => void;
  /** Take one out; gives what puts it back where it was. Undefined if it does not wait. */
  readonly remove: (id: string) => Effect.Effect<void> | undefined;
  /** Start as many as may run. */
  readonly startNext: Effect.Effect<void>;
  /** Fails where no more may wait. */
  readonly room: Effect.Effect<void, JobError>;
  /** Put one in once it is prepared. */
  readonly enqueue: (
    entry: Entry,
    prepare: Effect.Effect<void, ReadError>,
  ) => Effect.Effect<Job.Summary, ReadError>;
  /** Look at how exports stand and change it: nothing of the kind comes between. */
  readonly alone: <A, E>(change: Effect.Effect<A, E>) => Effect.Effect<A, E>;
  readonly size: () => number;
  readonly isStopping: () => boolean;
  /** Start no more, and interrupt those that run. */
  readonly stop: Effect.Effect<void>;
}

/** Make a queue of exports that `work` runs, each to its end. */
export const make = (
  settings: Pick<Settings, "exports" | "queue">,
  table: JobTable,
  work: (entry: Entry, queue: JobQueue) => Effect.Effect<void>,
): Effect.Effect<JobQueue> =>
  Effect.map(Effect.all([Scope.make(), Effect.makeSemaphore(1)]), ([workScope, turn]) => {
    const waiting: Array<string> = [];
    let isStopping = false;

    const startNext: Effect.Effect<void> = Effect.suspend(() => {
      const id = isStopping || table.running() >= settings.exports ? undefined : waiting.shift();
      if (id === undefined) return Effect.void;
      const started = Effect.flatMap(
        Effect.orDie(table.get(id)),
        (entry) =>
          Effect.flatMap(Effect.forkIn(work(entry, queue), workScope), (fiber) => {
            entry.fiber = fiber;
            return startNext;
          }),
      );
      // One that is interrupted before it has begun has to say so as well.
      return Effect.uninterruptible(started);
    });

    const alone: JobQueue["alone"] = (change) => Effect.uninterruptible(turn.withPermits(1)(change));

    const queue: JobQueue = {
      add: (id) => void waiting.push(id),
      remove: (id) => {
        const place = waiting.indexOf(id);
        if (place < 0) return undefined;
        waiting.splice(place, 1);
        return Effect.suspend(() => {
          waiting.splice(place, 0, id);
          return startNext;
        });
      },
      startNext,
      room: Effect.suspend(() =>
        waiting.length >= settings.queue && table.running() >= settings.exports
          ? fail("Full", `${waiting.length} exports wait already, and no more may: try again later`)
          : Effect.void
      ),
      enqueue: (entry, prepare) =>
        alone(Effect.gen(function* () {
          yield* prepare;
          table.set(entry);
          waiting.push(entry.summary.id);
          yield* startNext;
          return summaryOf(entry);
        })),
      alone,
      size: () => waiting.length,
      isStopping: () => isStopping,
      stop: Effect.suspend(() => {
        isStopping = true;
        return Scope.close(workScope, Exit.void);
      }),
    };
    return queue;
  });

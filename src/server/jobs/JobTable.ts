/**
 * The exports of a server, each with its status: so many run at once, the others wait for their turn.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type * as Fiber from "effect/Fiber";
import * as Scope from "effect/Scope";
import type * as Export from "../../export/Export.ts";
import type { Settings } from "../Settings.ts";
import type * as Events from "./Events.ts";
import * as Job from "./Job.ts";
import { fail, type JobError, type ReadError } from "./JobError.ts";
import type { JobStore } from "./JobStore.ts";

/** An export in memory: its list of users may be long, and stays on the disk. */
export interface Entry {
  summary: Job.Summary;
  /** While it runs. */
  progress?: Export.Progress | undefined;
  fiber?: Fiber.RuntimeFiber<unknown> | undefined;
  /** Once somebody has watched it. */
  changes?: Events.ChangeTracker;
}

/** Tell whether an export has not ended. */
export const isOpen = (status: Job.Status): boolean => status === "queued" || status === "running";

/** Give the summary of an export, as it is now. */
export const summaryOf = ({ summary, progress }: Entry): Job.Summary => ({
  ...summary,
  ...(progress && { progress: Job.progressOf(progress) }),
});

/** Set the status of an export once that is on the disk: what can't be written down is not so. */
export const setStatus = (
  store: JobStore,
  entry: Entry,
  status: Job.Status,
  error?: Job.Failure,
): Effect.Effect<void, ReadError> => {
  const { error: _, ...rest } = summaryOf(entry);
  const summary = { ...rest, status, ...(error && { error }) };
  const { id, progress } = summary;
  const state = { status, ...(progress && { progress }), ...(error && { error }) };
  return Effect.map(store.writeState(id, state), () => void (entry.summary = summary));
};

/** No export at all. */
export const noCounts: Readonly<Record<Job.Status, number>> = {
  queued: 0,
  running: 0,
  done: 0,
  failed: 0,
  cancelled: 0,
};

/** Make a table without an export. `work` runs each of them, to its end. */
export const make = (
  settings: Pick<Settings, "exports" | "queue">,
  work: (entry: Entry, isStopping: () => boolean) => Effect.Effect<void>,
) =>
  Effect.map(Effect.all([Scope.make(), Effect.makeSemaphore(1)]), ([workScope, turn]) => {
    const entries = new Map<string, Entry>();
    const waiting: Array<string> = [];
    let isStopping = false;

    const get = (id: string): Effect.Effect<Entry, JobError> => {
      const entry = entries.get(id);
      return entry === undefined ? fail("Absent", `There is no export ${id}`) : Effect.succeed(entry);
    };

    const running = () => [...entries.values()].filter(({ fiber }) => fiber !== undefined).length;

    /** Start as many as may run. */
    const startNext: Effect.Effect<void> = Effect.suspend(() => {
      const id = isStopping || running() >= settings.exports ? undefined : waiting.shift();
      if (id === undefined) return Effect.void;
      const started = Effect.flatMap(Effect.orDie(get(id)), (entry) =>
        Effect.flatMap(Effect.forkIn(toItsEnd(entry), workScope), (fiber) => {
          entry.fiber = fiber;
          return startNext;
        }));
      // One that is interrupted before it has begun has to say so as well.
      return Effect.uninterruptible(started);
    });

    const toItsEnd = (entry: Entry) =>
      Effect.ensuring(
        work(entry, () =>
          isStopping),
        Effect.withFiberRuntime<void>((own) => {
          // One that is resumed as soon as it has ended may be at it again.
          if (entry.fiber === own) {
            entry.progress = entry.fiber = undefined;
          }
          return startNext;
        }),
      );

    /** Look at how exports stand and change it: nothing of the kind comes between. */
    const alone = <A, E>(change: Effect.Effect<A, E>) =>
      Effect.uninterruptible(turn.withPermits(1)(change));

    return {
      get,
      startNext,
      alone,
      set: (entry: Entry) => void entries.set(entry.summary.id, entry),
      delete: (id: string) => void entries.delete(id),
      /** Give the latest first: so many that are earlier than the one with this id. */
      list: (limit: number, before: string | undefined): ReadonlyArray<Job.Summary> =>
        [...entries.values()].map(summaryOf)
          .filter(({ id }) => before === undefined || id < before)
          .sort((one, other) => one.id < other.id ? 1 : -1)
          .slice(0, limit),
      counts: (): Readonly<Record<Job.Status, number>> => {
        const counts = { ...noCounts };
        for (const { summary } of entries.values()) counts[summary.status]++;
        return counts;
      },
      /** Put one at the end of those that wait, which need not be prepared; it is not started yet. */
      add: (id: string) => void waiting.push(id),
      /** Take one out of those that wait; gives what puts it back where it was. Undefined if it does not wait. */
      remove: (id: string): Effect.Effect<void> | undefined => {
        const place = waiting.indexOf(id);
        if (place < 0) return undefined;
        waiting.splice(place, 1);
        return Effect.suspend(() => {
          waiting.splice(place, 0, id);
          return startNext;
        });
      },
      /** Fails where no more may wait. */
      room: Effect.suspend(() =>
        waiting.length >= settings.queue && running() >= settings.exports
          ? fail("Full", `${waiting.length} exports wait already, and no more may: try again later`)
          : Effect.void
      ),
      /** Put one in once it is prepared. */
      enqueue: (entry: Entry, prepare: Effect.Effect<void, ReadError>) =>
        alone(Effect.gen(function* () {
          yield* prepare;
          entries.set(entry.summary.id, entry);
          waiting.push(entry.summary.id);
          yield* startNext;
          return summaryOf(entry);
        })),
      /** Start no more, and interrupt those that run. */
      stop: Effect.suspend(() => {
        isStopping = true;
        return Scope.close(workScope, Exit.void);
      }),
    };
  });

/** The exports of a server. */
export type JobTable = Effect.Effect.Success<ReturnType<typeof make>>;

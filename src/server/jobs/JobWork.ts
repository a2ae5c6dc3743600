/**
 * Runs one export of the queue to its end, whatever that is, and says how it ended.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import * as Schedule from "effect/Schedule";
import type { TenantClient } from "../../api/TenantClient.ts";
import * as Export from "../../export/Export.ts";
import type { Settings } from "../Settings.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import * as Trace from "../telemetry/Trace.ts";
import type * as Job from "./Job.ts";
import { fail, isLocked, type ReadError, RETRY } from "./JobError.ts";
import type { JobQueue } from "./JobQueue.ts";
import * as JobRun from "./JobRun.ts";
import type * as JobStore from "./JobStore.ts";
import { type Entry, type JobTable, summaryOf } from "./JobTable.ts";

const failureOf = (error: unknown): Job.Failure => {
  const { message = String(error) } = (error ?? {}) as { readonly message?: string };
  return { reason: Trace.reasonOf(error), message };
};

/** Read what an export was asked for. */
export const requestOf = (
  store: JobStore.JobStore,
  id: string,
): Effect.Effect<JobStore.JobRequest, ReadError> =>
  Effect.flatMap(
    store.request(id),
    Option.match({
      onNone: () => fail("Absent", `What export ${id} was asked for is on the disk no more`),
      onSome: Effect.succeed,
    }),
  );

/** Run an export. */
export const make = (store: JobStore.JobStore, table: JobTable, settings: Settings) =>
  Effect.map(
    Effect.all([Effect.context<TenantClient>(), Metrics.Metrics]),
    ([context, metrics]) => (entry: Entry, queue: JobQueue): Effect.Effect<void> =>
      Effect.gen(function* () {
        const { id } = entry.summary;
        const progress = entry.progress = Export.noProgress();
        yield* table.setStatus(entry, "running");
        const { description } = yield* requestOf(store, id);
        const meter = Metrics.meter(metrics, progress);
        const root = yield* store.dataOf(id);
        const run = JobRun.run(description, { root, settings, progress, meter });
        const exit = yield* Effect.retry(run, {
          // The dataset of a server that was killed frees itself after a while.
          while: isLocked,
          schedule: Schedule.spaced(RETRY),
        }).pipe(
          Effect.ensuring(Effect.sync(meter.end)),
          Trace.span("export", { id }),
          Effect.interruptible,
          Effect.exit,
        );
        if (Exit.isSuccess(exit)) return yield* table.setStatus(entry, "done");
        if (Cause.isInterruptedOnly(exit.cause)) {
          // Whoever begins next goes on with what was under way when the server was stopped.
          return yield* queue.isStopping() ? Effect.void : table.setStatus(entry, "cancelled");
        }
        const error = failureOf(Cause.squash(exit.cause));
        yield* Effect.logWarning(`Export ${id} failed: ${error.message}`);
        yield* table.setStatus(entry, "failed", error);
      }).pipe(
        Effect.provide(context),
        // That the disk is full must not end the server: this export is taken up again by the next one.
        Effect.catchAllCause((cause) => {
          const error = failureOf(Cause.squash(cause));
          entry.summary = { ...summaryOf(entry), status: "failed", error };
          return Effect.logError(`Export ${entry.summary.id} failed: ${error.message}`);
        }),
        Effect.ensuring(Effect.withFiberRuntime<void>((own) => {
          // One that is resumed as soon as it has ended may be at it again.
          if (entry.fiber === own) entry.progress = entry.fiber = undefined;
          return queue.startNext;
        })),
      ),
  );

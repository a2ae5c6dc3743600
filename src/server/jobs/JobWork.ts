/**
 * Runs one export of the queue to its end, whatever that is, and says how it ended.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { identity } from "effect/Function";
import * as Option from "effect/Option";
import * as Schedule from "effect/Schedule";
import * as SessionFilters from "../../api/SessionFilters.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import * as Dataset from "../../dataset/Dataset.ts";
import * as Export from "../../export/Export.ts";
import * as Formats from "../../format/Formats.ts";
import type { Batch } from "../../session/Batch.ts";
import * as Redaction from "../../session/Redaction.ts";
import * as UserList from "../../source/UserList.ts";
import type { Settings } from "../Settings.ts";
import * as Log from "../telemetry/Log.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import * as Trace from "../telemetry/Trace.ts";
import * as Job from "./Job.ts";
import { fail, isLocked, type ReadError, RETRY } from "./JobError.ts";
import type * as JobStore from "./JobStore.ts";
import { type Entry, setStatus, summaryOf } from "./JobTable.ts";

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

/** Export into a folder by a description, from the last checkpoint if there is one. */
const exporting = (
  description: Job.Description,
  root: string,
  { tenant, redactSecret }: Settings,
  progress: Export.Progress,
  meter: Metrics.Meter,
) => {
  const { users, formats, page_size, part_rows, on_invalid, redact } = description;
  const policy = redact && Redaction.settle(redact);
  const redacted = policy === undefined ? identity<Batch> : Redaction.make(policy, redactSecret);
  return Dataset.run({
    root,
    formats: formats.map((format) => Formats.choose(format)!),
    users: users === "all" ? UserList.all() : UserList.of(users),
    tenant: tenant.origin,
    mode: "resume",
    walk: { ...SessionFilters.fromQuery(description), pageSize: page_size },
    options: { keepFormulas: false, redact: policy },
    onInvalid: on_invalid,
    partRows: part_rows,
    change: (batch) => redacted(meter.batch(batch)),
    progress,
  });
};

/** Run an export. */
export const make = (store: JobStore.JobStore, settings: Settings) =>
  Effect.map(
    Effect.all([Effect.context<TenantClient>(), Metrics.Metrics]),
    ([context, metrics]) => (entry: Entry, isStopping: () => boolean): Effect.Effect<void> =>
      Effect.gen(function* () {
        const { id } = entry.summary;
        const progress = entry.progress = Export.noProgress();
        const began = yield* Clock.currentTimeMillis;
        const told = Effect.map(Clock.currentTimeMillis, (now) => {
          const { users_total: _, ...counts } = Job.progressOf(progress);
          return { id, seconds: (now - began) / 1000, ...counts };
        });
        yield* setStatus(store, entry, "running");
        yield* Log.info("export started", { id });
        const { description } = yield* requestOf(store, id);
        const meter = Metrics.meter(metrics, progress);
        const root = yield* store.dataOf(id);
        const run = exporting(description, root, settings, progress, meter);
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
        if (Exit.isSuccess(exit)) {
          yield* setStatus(store, entry, "done");
          return yield* Log.info("export done", yield* told);
        }
        if (Cause.isInterruptedOnly(exit.cause)) {
          // Whoever begins next goes on with what was under way when the server was stopped.
          if (isStopping()) return yield* Log.info("export interrupted", yield* told);
          yield* setStatus(store, entry, "cancelled");
          return yield* Log.info("export cancelled", yield* told);
        }
        const error = Cause.squash(exit.cause);
        yield* setStatus(store, entry, "failed", failureOf(error));
        yield* Log.warn("export failed", { ...yield* told, ...Trace.about(error) });
      }).pipe(
        Effect.provide(context),
        // That the disk is full must not end the server: this export is taken up again by the next one.
        Effect.catchAllCause((cause) => {
          const error = Cause.squash(cause);
          entry.summary = { ...summaryOf(entry), status: "failed", error: failureOf(error) };
          return Log.warn("export failed", { id: entry.summary.id, ...Trace.about(error) });
        }),
      ),
  );

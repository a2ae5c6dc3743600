/**
 * Exports that the server runs for its callers: a few at once, the others in a queue, each a dataset in a folder of its own.
 *
 * **Why none is lost.** What is asked for is on the disk before its id is given away. A server that begins takes up all that
 * were queued or running when the one before it ended, however that was, and their datasets go on from their last checkpoints.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as ExecutionStrategy from "effect/ExecutionStrategy";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Option from "effect/Option";
import * as Schedule from "effect/Schedule";
import * as Scope from "effect/Scope";
import type { TenantClient } from "../../api/TenantClient.ts";
import * as Inspect from "../../dataset/Inspect.ts";
import * as Layout from "../../dataset/Layout.ts";
import * as Lease from "../../dataset/Lease.ts";
import * as Manifest from "../../dataset/Manifest.ts";
import * as Redaction from "../../session/Redaction.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import type { Settings } from "../Settings.ts";
import * as Log from "../telemetry/Log.ts";
import type * as Metrics from "../telemetry/Metrics.ts";
import * as Events from "./Events.ts";
import * as Job from "./Job.ts";
import { fail, isLocked, JobError, type ReadError, RETRY } from "./JobError.ts";
import * as JobStore from "./JobStore.ts";
import * as JobTable from "./JobTable.ts";
import * as JobWork from "./JobWork.ts";

export { JobError } from "./JobError.ts";

/** A file of an export. */
export interface File {
  /** The folder of the export's dataset, and the path from there. */
  readonly root: string;
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
}

/** The exports of a server. */
export class Jobs extends Context.Tag("monocloud-sessions/Jobs")<Jobs, {
  /** Puts an export into the queue. It is on the disk when the effect ends. */
  readonly start: (description: Job.Description) => Effect.Effect<Job.Summary, ReadError>;
  /** The latest first: so many that are earlier than the one with this id. */
  readonly list: (page: {
    readonly limit: number;
    readonly before?: string | undefined;
  }) => Effect.Effect<ReadonlyArray<Job.Summary>, JobError>;
  readonly get: (id: string) => Effect.Effect<Job.View, ReadError>;
  /** Watches it. */
  readonly events: (id: string) => Effect.Effect<Events.ChangeTracker, JobError>;
  /**
   * Stops one that waits or runs: it ends, with its summary, when what has come is complete. Removes one that has ended, with
   * its files. `expect` says which of the two is meant: an export of another status is left alone.
   */
  readonly delete: (
    id: string,
    expect: "open" | "ended" | undefined,
  ) => Effect.Effect<Job.Summary | undefined, ReadError>;
  /** Puts one that failed or was cancelled, or of which users failed, into the queue again. */
  readonly resume: (id: string) => Effect.Effect<Job.Summary, ReadError>;
  /** A file that the export's manifest names, or the manifest. */
  readonly file: (id: string, path: string) => Effect.Effect<File, ReadError>;
  /** Why exports can't be run; undefined if they can. */
  readonly unavailableReason: () => string | undefined;
  /** Count the exports of each status. */
  readonly counts: () => Readonly<Record<Job.Status, number>>;
}>() {}

/** Take up all that were queued or running when the server before this one ended, once the folder is this one's. */
const recover = (store: JobStore.JobStore, table: JobTable.JobTable) =>
  Effect.gen(function* () {
    yield* Effect.catchAll(store.sweep(), (error) => Effect.logWarning(error.message));
    for (const id of yield* store.ids) {
      const found = yield* Effect.all([store.request(id), store.state(id)]).pipe(
        Effect.map(([request, state]) => Option.map(request, (request) => ({ request, state }))),
        Effect.catchTag(
          "DatasetError",
          ({ message }) => Effect.as(Effect.logWarning(message), Option.none()),
        ),
      );
      if (Option.isNone(found)) {
        // A server died before it had written this one down, and so before its id was given away; or a file is damaged.
        yield* Log.warn("export can't be read, and is left alone", { id });
        continue;
      }
      const { request: { created, description }, state: { status, ...rest } } = found.value;
      const isOpen = JobTable.isOpen(status);
      const summary = { ...Job.summaryOf(id, created, description), ...rest };
      table.set({ summary: { ...summary, status: isOpen ? "queued" : status } });
      if (!isOpen) continue;
      table.add(id);
      yield* Log.info("export resumed", { id, reason: "restart" });
    }
  });

/** Read what the dataset of an export says of itself. */
const contentsOf = (store: JobStore.JobStore, id: string) =>
  Effect.map(Effect.flatMap(store.dataOf(id), Inspect.read), ({ manifest, journal }) => {
    const named = [
      ...manifest?.parts ?? [],
      ...journal?.checkpoints.flatMap(({ parts }) => parts) ?? [],
    ];
    // A run that has ended may have left its journal: then its parts are named twice.
    const parts = new Map(named.map((part) => [part.path, part]));
    return { manifest, parts: [...parts.values()].filter(Manifest.isResult) };
  });

/** Cancel an export that waits or runs. Ends when what has come is complete. */
const cancel = (entry: JobTable.Entry, store: JobStore.JobStore, table: JobTable.JobTable) =>
  Effect.gen(function* () {
    const { id } = entry.summary;
    const running = yield* table.alone(Effect.gen(function* () {
      const { status } = entry.summary;
      if (!JobTable.isOpen(status)) {
        return yield* fail("State", `Export ${id} is ${status}: there is nothing to cancel`);
      }
      const putBack = table.remove(id);
      if (putBack === undefined) return entry.fiber;
      yield* Effect.onError(JobTable.setStatus(store, entry, "cancelled"), () => putBack);
      yield* Log.info("export cancelled", { id });
    }));
    if (running !== undefined) yield* Fiber.interrupt(running);
    return JobTable.summaryOf(entry);
  });

/** Remove an export that has ended. What is left of its files when the server is killed is removed by the next one. */
const remove = (
  { summary: { id } }: JobTable.Entry,
  store: JobStore.JobStore,
  table: JobTable.JobTable,
) =>
  table.alone(Effect.gen(function* () {
    const { summary: { status } } = yield* table.get(id);
    if (JobTable.isOpen(status)) return yield* fail("State", `Export ${id} is ${status}: stop it first`);
    yield* store.remove(id);
    table.delete(id);
    yield* Log.info("export removed", { id });
  })).pipe(Effect.zipRight(store.sweep(id)), Effect.uninterruptible);

/** Put an export into the queue again that failed or was cancelled, or of which users failed. */
const resume = (entry: JobTable.Entry, store: JobStore.JobStore, table: JobTable.JobTable) =>
  table.enqueue(
    entry,
    Effect.suspend((): Effect.Effect<void, ReadError> => {
      const { id, status, progress } = entry.summary;
      const isUnfinished = status === "failed" || status === "cancelled" ||
        (status === "done" && (progress?.failed ?? 0) > 0);
      const what = "only one that failed or was cancelled, or of which users failed, can be resumed";
      if (!isUnfinished) return fail("State", `Export ${id} is ${status}: ${what}`);
      return Effect.all([
        // It may have been removed meanwhile.
        table.get(id),
        table.room,
        JobTable.setStatus(store, entry, "queued"),
        Log.info("export resumed", { id, reason: "request" }),
      ], { discard: true });
    }),
  );

/** Check what can be checked of an export before it runs. */
const check = ({ redact }: Job.Description, { redactSecret }: Settings) =>
  Effect.try({
    try: () => redact && Redaction.make(redact, redactSecret),
    catch: (error) =>
      new JobError({
        reason: "Invalid",
        message: `${(error as Error).message}. The server takes it from MONOCLOUD_REDACT_SECRET`,
      }),
  });

const make = (folder: string, settings: Settings) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope;
    // Closed after the exports, for what is closed last is added first: until they are cut, the folder is this server's.
    const lockScope = yield* Scope.fork(scope, ExecutionStrategy.sequential);
    const store = JobStore.make(folder);
    const table = yield* JobTable.make(settings, yield* JobWork.make(store, settings));
    let unavailableReason: string | undefined = `${folder} is not this server's yet`;
    let latest = 0;

    const open = (wait: boolean) =>
      Effect.gen(function* () {
        yield* Layout.makeFolder(folder);
        yield* Scope.extend(Lease.acquire(folder, { wait }), lockScope);
        yield* recover(store, table);
        unavailableReason = undefined;
        yield* table.startNext;
      }).pipe(Effect.tapError(({ message }) => {
        unavailableReason = message;
        return Effect.logWarning(message);
      }));
    // Another server may be about to leave the folder. Whatever else is wrong with it, downloads do not need it.
    const again = Effect.retry(open(true), { while: isLocked, schedule: Schedule.spaced(RETRY) });
    // The server answers at once, whoever has its folder.
    yield* Effect.catchAll(open(false), (error) =>
      isLocked(error) ? Effect.forkIn(Effect.ignore(again), scope) : Effect.void);
    yield* Effect.addFinalizer(() =>
      table.stop
    );

    const ready = Effect.suspend(() =>
      unavailableReason === undefined ? Effect.void : fail("Unavailable", unavailableReason)
    );
    const entryOf = (id: string) => Effect.zipRight(ready, table.get(id));
    return Jobs.of({
      start: (description) =>
        Effect.gen(function* () {
          yield* ready;
          yield* check(description, settings);
          // No two are of the same time, so that they sort as they came.
          latest = Math.max(latest + 1, yield* Clock.currentTimeMillis);
          const created = new Date(latest).toISOString();
          const id = `${created.replace(/[-:.]/g, "")}-${randomBytes(6).toString("hex")}`;
          const entry = { summary: Job.summaryOf(id, created, description) };
          const added = Effect.all([
            table.room,
            store.add({ id, created, description }),
            Log.info("export queued", { id, users: entry.summary.users }),
          ], { discard: true });
          return yield* table.enqueue(entry, added);
        }),
      list: ({ limit, before }) => Effect.map(ready, () => table.list(limit, before)),
      get: (id) =>
        Effect.gen(function* () {
          const { formats: _, users: __, ...summary } = JobTable.summaryOf(yield* entryOf(id));
          const { description } = yield* JobWork.requestOf(store, id);
          const { manifest, parts } = yield* contentsOf(store, id);
          const report = manifest?.runs.at(-1);
          return { ...summary, description, ...(report && { report }), parts };
        }),
      events: (id) =>
        Effect.map(entryOf(id), (entry) => entry.changes ??= Events.track(() => JobTable.summaryOf(entry))),
      delete: (id, expect) =>
        Effect.flatMap(entryOf(id), (entry): Effect.Effect<Job.Summary | undefined, ReadError> => {
          const { status } = entry.summary;
          const isOpen = JobTable.isOpen(status);
          if (expect !== undefined && isOpen !== (expect === "open")) {
            return fail("State", `Export ${id} is ${status}, and was expected to be ${expect}`);
          }
          return isOpen ? cancel(entry, store, table) : Effect.as(remove(entry, store, table), undefined);
        }),
      resume: (id) => Effect.flatMap(entryOf(id), (entry) => resume(entry, store, table)),
      file: (id, path) =>
        Effect.gen(function* () {
          yield* entryOf(id);
          const { parts } = yield* contentsOf(store, id);
          const isNamed = path === Layout.names.manifest || parts.some((part) => part.path === path);
          const root = yield* store.dataOf(id);
          const bytes = isNamed
            ? yield* Effect.promise(() => SafeFile.sizeOf(root, path).catch(() => undefined))
            : undefined;
          if (bytes === undefined) return yield* fail("Absent", `Export ${id} has no complete file ${path}`);
          return { root, path, name: path.replaceAll("/", "-"), bytes };
        }),
      unavailableReason: () => unavailableReason,
      counts: table.counts,
    });
  });

const none = fail("Unavailable", "This server has no folder for exports: set WORKER_FOLDER");

const noJobs: typeof Jobs.Service = {
  start: () => none,
  list: () => none,
  get: () => none,
  events: () => none,
  delete: () => none,
  resume: () => none,
  file: () => none,
  unavailableReason: () => undefined,
  counts: () => JobTable.noCounts,
};

/** Exports in the server's folder, or none. Closing the scope checkpoints those that run; the next server goes on with them. */
export const layer = (settings: Settings): Layer.Layer<Jobs, never, TenantClient | Metrics.Metrics> =>
  settings.folder === undefined
    ? Layer.succeed(Jobs, noJobs)
    : Layer.scoped(Jobs, make(settings.folder, settings));

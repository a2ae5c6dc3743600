/**
 * Exports that the worker runs for its callers: a few at once, the others in a queue, each a dataset in a folder of its own.
 *
 * **Why none is lost.** What is asked for is on the disk before its id is given away. A worker that begins takes up all that
 * were queued or running when the one before it ended, however that was, and their datasets go on from their last checkpoints.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as ExecutionStrategy from "effect/ExecutionStrategy";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Option from "effect/Option";
import * as Schedule from "effect/Schedule";
import * as Scope from "effect/Scope";
import * as Layout from "../../dataset/Layout.ts";
import * as Inspect from "../../dataset/Inspect.ts";
import * as Lease from "../../dataset/Lease.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import * as Export from "../../export/Export.ts";
import type { OutputError } from "../../sink/Output.ts";
import * as Redaction from "../../session/Redaction.ts";
import type { TenantHttp } from "../../api/HttpPolicy.ts";
import type { Settings } from "../Config.ts";
import * as Events from "./Events.ts";
import * as Job from "./Job.ts";
import * as JobRun from "./JobRun.ts";
import * as JobStore from "./JobStore.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import * as Trace from "../telemetry/Trace.ts";

/** Something can't be done with exports. */
export class JobError extends Data.TaggedError("JobError")<{
  /**
   * `Absent`: there is no such export, or file of it. `Full`: as many wait as may. `State`: it can't be done with an export
   * that stands so. `Unavailable`: the worker has no folder, or it is not its own yet. `Invalid`: what is asked for can't be
   * followed.
   */
  readonly reason: "Absent" | "Full" | "State" | "Unavailable" | "Invalid";
  readonly message: string;
}> {}

/** A file of an export. */
export interface File {
  /** The folder of the export's dataset, and the path from there. */
  readonly root: string;
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
}

/** Why something can't be done with the files of an export. */
type ReadError = JobError | OutputError | Layout.DatasetError;

/** The exports of a worker. */
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
  readonly events: (id: string) => Effect.Effect<Events.Watch, JobError>;
  /** Ends when what has come is complete. */
  readonly cancel: (id: string) => Effect.Effect<Job.Summary, ReadError>;
  /** Puts one that failed or was cancelled, or of which users failed, into the queue again. */
  readonly resume: (id: string) => Effect.Effect<Job.Summary, ReadError>;
  /** A file that the export's manifest names, or the manifest. */
  readonly file: (id: string, path: string) => Effect.Effect<File, ReadError>;
  /** Why exports can't be run; undefined if they can. */
  readonly trouble: () => string | undefined;
  /** How many stand how. */
  readonly counts: () => Readonly<Record<Job.Status, number>>;
}>() {}

/** What is held of an export: its list of users may be long, and stays on the disk. */
interface Entry {
  summary: Job.Summary;
  /** While it runs. */
  progress?: Export.Progress | undefined;
  fiber?: Fiber.RuntimeFiber<unknown> | undefined;
  /** Once somebody has watched it. */
  watch?: Events.Watch;
}

/** How often a worker tries to get at a folder that another one may still hold. */
const RETRY = "5 seconds";

const isOpen = (status: Job.Status): boolean => status === "queued" || status === "running";

const summaryOf = ({ summary, progress }: Entry): Job.Summary => ({
  ...summary,
  ...(progress && { progress: Job.progressOf(progress) }),
});

const failureOf = (error: unknown): Job.Failure => {
  const { message = String(error) } = (error ?? {}) as { readonly message?: string };
  return { reason: Trace.reasonOf(error), message };
};

const isLocked = (error: unknown): boolean =>
  error instanceof Layout.DatasetError && error.reason === "Locked";

const noCounts = { queued: 0, running: 0, done: 0, failed: 0, cancelled: 0 };

const fail = (reason: JobError["reason"], message: string) => Effect.fail(new JobError({ reason, message }));

const make = (folder: string, settings: Settings) =>
  Effect.gen(function* () {
    const tenantHttp = yield* Effect.context<TenantHttp>();
    const metrics = yield* Metrics.Metrics;
    const scope = yield* Effect.scope;
    // Of the exports: they are told apart from those that are cancelled by what is known before it closes.
    const workScope = yield* Scope.make();
    // Closed after that, for what is closed last is added first: until exports are cut, the folder is this worker's.
    const lockScope = yield* Scope.fork(scope, ExecutionStrategy.sequential);
    const store = JobStore.make(folder);
    const entries = new Map<string, Entry>();
    const queue: Array<string> = [];
    const oneByOne = yield* Effect.makeSemaphore(1);
    let trouble: string | undefined = `${folder} is not this worker's yet`;
    let isStopping = false;
    let latest = 0;

    const stand = (
      entry: Entry,
      status: Job.Status,
      error?: Job.Failure,
    ): Effect.Effect<void, OutputError | Layout.DatasetError> => {
      const { error: _, ...rest } = summaryOf(entry);
      const summary = { ...rest, status, ...(error && { error }) };
      const { id, progress } = summary;
      const written = store.stand(id, { status, ...(progress && { progress }), ...(error && { error }) });
      // What can't be written down is not so.
      return Effect.map(written, () => void (entry.summary = summary));
    };

    const ready = Effect.suspend(() => trouble === undefined ? Effect.void : fail("Unavailable", trouble));

    const entryOf = (id: string): Effect.Effect<Entry, JobError> =>
      Effect.flatMap(ready, () => {
        const entry = entries.get(id);
        return entry === undefined ? fail("Absent", `There is no export ${id}`) : Effect.succeed(entry);
      });

    const askedOf = (id: string) =>
      Effect.flatMap(
        store.asked(id),
        Option.match({
          onNone: () => fail("Absent", `What export ${id} was asked for is on the disk no more`),
          onSome: Effect.succeed,
        }),
      );

    /** Runs an export to its end, whatever that is. */
    const work = (entry: Entry) =>
      Effect.gen(function* () {
        const { id } = entry.summary;
        const progress = entry.progress = Export.noProgress();
        yield* stand(entry, "running");
        const { description } = yield* askedOf(id);
        const meter = Metrics.meter(metrics, progress);
        const root = yield* store.dataOf(id);
        const run = JobRun.run(description, { root, settings, progress, meter });
        const exit = yield* Effect.retry(run, {
          // The dataset of a worker that was killed frees itself after a while.
          while: isLocked,
          schedule: Schedule.spaced(RETRY),
        }).pipe(
          Effect.ensuring(Effect.sync(meter.end)),
          Trace.span("export", { id }),
          Effect.interruptible,
          Effect.exit,
        );
        if (Exit.isSuccess(exit)) return yield* stand(entry, "done");
        if (Cause.isInterruptedOnly(exit.cause)) {
          // Whoever begins next goes on with what was under way when the worker was stopped.
          return yield* isStopping ? Effect.void : stand(entry, "cancelled");
        }
        const error = failureOf(Cause.squash(exit.cause));
        yield* Effect.logWarning(`Export ${id} failed: ${error.message}`);
        yield* stand(entry, "failed", error);
      }).pipe(
        Effect.provide(tenantHttp),
        // That the disk is full must not end the worker: this export is taken up again by the next one.
        Effect.catchAllCause((cause) => {
          const error = failureOf(Cause.squash(cause));
          entry.summary = { ...summaryOf(entry), status: "failed", error };
          return Effect.logError(`Export ${entry.summary.id} failed: ${error.message}`);
        }),
        Effect.ensuring(Effect.withFiberRuntime<void>((own) => {
          // One that is resumed as soon as it has ended may be at it again.
          if (entry.fiber === own) entry.progress = entry.fiber = undefined;
          return pump;
        })),
      );

    const running = () => [...entries.values()].filter(({ fiber }) => fiber !== undefined).length;

    const pump: Effect.Effect<void> = Effect.suspend(() => {
      const id = isStopping || running() >= settings.running ? undefined : queue.shift();
      if (id === undefined) return Effect.void;
      const entry = entries.get(id)!;
      return Effect.flatMap(Effect.forkIn(work(entry), workScope), (fiber) => {
        entry.fiber = fiber;
        return pump;
      }).pipe(
        // One that is interrupted before it has begun has to say so as well.
        Effect.uninterruptible,
      );
    });

    /** What looks at how exports stand, and changes it: nothing of the kind comes between. */
    const alone = <A, E>(change: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      change.pipe(oneByOne.withPermits(1), Effect.uninterruptible);

    const room = Effect.suspend(() =>
      queue.length >= settings.queue && running() >= settings.running
        ? fail("Full", `${queue.length} exports wait already, and no more may: try again later`)
        : Effect.void
    );

    /** Lets one in that can be prepared. */
    const enqueue = (entry: Entry, prepare: Effect.Effect<void, ReadError>) =>
      alone(Effect.gen(function* () {
        yield* prepare;
        entries.set(entry.summary.id, entry);
        queue.push(entry.summary.id);
        yield* pump;
        return summaryOf(entry);
      }));

    const takeUp = (wait: boolean) =>
      Effect.gen(function* () {
        yield* Layout.makeFolder(folder);
        yield* Scope.extend(Lease.acquire(folder, { wait }), lockScope);
        for (const id of yield* store.ids) {
          const found = yield* Effect.all([store.asked(id), store.standing(id)]).pipe(
            Effect.map(([asked, standing]) => Option.map(asked, (asked) => ({ asked, standing }))),
            Effect.catchTag(
              "DatasetError",
              ({ message }) => Effect.as(Effect.logWarning(message), Option.none()),
            ),
          );
          if (Option.isNone(found)) {
            // A worker died before it had written this one down, and so before its id was given away; or a file is damaged.
            yield* Effect.logWarning(`Export ${id} can't be read, and is left alone`);
            continue;
          }
          const { asked: { created, description }, standing: { status, ...standing } } = found.value;
          const summary = { ...Job.summaryOf(id, created, description), ...standing };
          entries.set(id, { summary: { ...summary, status: isOpen(status) ? "queued" : status } });
          if (isOpen(status)) queue.push(id);
        }
        trouble = undefined;
        if (queue.length > 0) yield* Effect.logInfo(`Exports taken up: ${queue.length}`);
        yield* pump;
      });

    const takingUp = (wait: boolean) =>
      Effect.tapError(takeUp(wait), ({ message }) => {
        trouble = message;
        return Effect.logWarning(message);
      });
    // Another worker may be about to leave the folder. Whatever else is wrong with it, downloads do not need it.
    const again = Effect.retry(takingUp(true), { while: isLocked, schedule: Schedule.spaced(RETRY) });
    // The worker answers at once, whoever has its folder.
    yield* Effect.catchAll(takingUp(false), (error) =>
      isLocked(error) ? Effect.forkIn(Effect.ignore(again), scope) : Effect.void);
    yield* Effect.addFinalizer(() => {
      isStopping = true;
      return Scope.close(workScope, Exit.void);
    });

    /** What the dataset of an export says of itself. */
    const lookAt = (id: string) =>
      Effect.map(Effect.flatMap(store.dataOf(id), Inspect.read), ({ manifest, journal }) => {
        const named = [
          ...manifest?.parts ?? [],
          ...journal?.checkpoints.flatMap((cut) =>
            cut.parts
          ) ?? [],
        ];
        // A run that has ended may have left its journal: then its parts are named twice.
        const parts = new Map(named.map((part) => [part.path, part]));
        return { manifest, parts: [...parts.values()].filter(({ format }) => format !== "state") };
      });

    return Jobs.of({
      start: (description) =>
        Effect.gen(function* () {
          yield* ready;
          yield* Effect.try({
            try: () => description.redact && Redaction.make(description.redact, settings.redactSecret),
            catch: (error) =>
              new JobError({
                reason: "Invalid",
                message: `${(error as Error).message}. The worker takes it from MONOCLOUD_REDACT_SECRET`,
              }),
          });
          // No two are of the same time, so that they sort as they came.
          latest = Math.max(latest + 1, yield* Clock.currentTimeMillis);
          const created = new Date(latest).toISOString();
          const id = `${created.replace(/[-:.]/g, "")}-${randomBytes(6).toString("hex")}`;
          const entry: Entry = { summary: Job.summaryOf(id, created, description) };
          return yield* enqueue(entry, Effect.zipRight(room, store.add({ id, created, description })));
        }),
      list: ({ limit, before }) =>
        Effect.map(ready, () =>
          [...entries.values()].map(summaryOf)
            .filter(({ id }) => before === undefined || id < before)
            .sort((one, other) => one.id < other.id ? 1 : -1)
            .slice(0, limit)),
      get: (id) =>
        Effect.gen(function* () {
          const { formats: _, users: __, ...summary } = summaryOf(yield* entryOf(id));
          const { description } = yield* askedOf(id);
          const { manifest, parts } = yield* lookAt(id);
          const report = manifest?.runs.at(-1);
          return { ...summary, description, ...(report && { report }), parts };
        }),
      events: (id) =>
        Effect.map(entryOf(id), (entry) => entry.watch ??= Events.watching(() => summaryOf(entry))),
      cancel: (id) =>
        Effect.gen(function* () {
          const entry = yield* entryOf(id);
          const running = yield* alone(Effect.gen(function* () {
            const { status } = entry.summary;
            if (!isOpen(status)) {
              return yield* fail("State", `Export ${id} is ${status}: there is nothing to cancel`);
            }
            const place = queue.indexOf(id);
            if (place < 0) return entry.fiber;
            queue.splice(place, 1);
            yield* Effect.onError(stand(entry, "cancelled"), () => {
              queue.splice(place, 0, id);
              return pump;
            });
          }));
          if (running !== undefined) yield* Fiber.interrupt(running);
          return summaryOf(entry);
        }),
      resume: (id) =>
        Effect.gen(function* () {
          const entry = yield* entryOf(id);
          const again = Effect.suspend((): Effect.Effect<void, ReadError> => {
            const { status, progress } = entry.summary;
            const isUnfinished = status === "failed" || status === "cancelled" ||
              (status === "done" && (progress?.failed ?? 0) > 0);
            const what = "only one that failed or was cancelled, or of which users failed, can be resumed";
            return isUnfinished
              ? Effect.zipRight(room, stand(entry, "queued"))
              : fail("State", `Export ${id} is ${status}: ${what}`);
          });
          return yield* enqueue(entry, again);
        }),
      file: (id, path) =>
        Effect.gen(function* () {
          yield* entryOf(id);
          const { parts } = yield* lookAt(id);
          const isNamed = path === Layout.names.manifest || parts.some((part) => part.path === path);
          const root = yield* store.dataOf(id);
          const bytes = isNamed
            ? yield* Effect.promise(() => SafeFile.sizeOf(root, path).catch(() => undefined))
            : undefined;
          if (bytes === undefined) return yield* fail("Absent", `Export ${id} has no complete file ${path}`);
          return { root, path, name: path.replaceAll("/", "-"), bytes };
        }),
      trouble: () => trouble,
      counts: () => {
        const counts = { ...noCounts };
        for (const { summary } of entries.values()) counts[summary.status]++;
        return counts;
      },
    });
  });

const none = fail("Unavailable", "This worker has no folder for exports: set WORKER_FOLDER");

const noJobs: typeof Jobs.Service = {
  start: () => none,
  list: () => none,
  get: () => none,
  events: () => none,
  cancel: () => none,
  resume: () => none,
  file: () => none,
  trouble: () => undefined,
  counts: () => noCounts,
};

/** Exports in the worker's folder, or none. Closing the scope checkpoints those that run; the next worker goes on with them. */
export const layer = (settings: Settings): Layer.Layer<Jobs, never, TenantHttp | Metrics.Metrics> =>
  settings.folder === undefined
    ? Layer.succeed(Jobs, noJobs)
    : Layer.scoped(Jobs, make(settings.folder, settings));

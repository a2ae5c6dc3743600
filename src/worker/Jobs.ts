/**
 * Exports that the worker runs for its callers: a few at once, the others in a queue, each a dataset in a folder of its own.
 *
 * ```
 * <folder>/
 *   lock.json                 which worker this is
 *   20261124T061500Z-0f…/     an export
 *     job.json                what was asked for, and what became of it
 *     data/                   the dataset
 * ```
 *
 * **Why none is lost.** `job.json` is on the disk before its id is given away, and says what is to be done rather than what
 * is being done: a worker that begins takes up all that were queued or running when the one before it ended, however that
 * was, and the dataset goes on from its last cut.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { identity } from "effect/Function";
import * as Layer from "effect/Layer";
import * as Schedule from "effect/Schedule";
import * as Schema from "effect/Schema";
import * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type { Batch } from "../Batch.ts";
import * as Dataset from "../dataset/Dataset.ts";
import * as Folder from "../dataset/Folder.ts";
import * as Found from "../dataset/Found.ts";
import * as Lock from "../dataset/Lock.ts";
import type * as Manifest from "../dataset/Manifest.ts";
import * as UserList from "../dataset/UserList.ts";
import * as Export from "../Export.ts";
import * as Formats from "../format/Formats.ts";
import type { OutputError } from "../output/Output.ts";
import * as Redact from "../Redact.ts";
import type { ApiError } from "../tenant/ApiError.ts";
import type { TenantHttp } from "../tenant/HttpPolicy.ts";
import type { Settings } from "./Config.ts";
import * as Job from "./Job.ts";
import * as Metrics from "./Metrics.ts";

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
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
}

/** The exports of a worker. */
export class Jobs extends Context.Tag("monocloud-sessions/Jobs")<Jobs, {
  /** Puts an export into the queue. It is on the disk when the effect ends. */
  readonly start: (description: Job.Description) => Effect.Effect<Job.Summary, JobError | OutputError>;
  /** The latest first: so many that are earlier than the one with this id. */
  readonly list: (page: {
    readonly limit: number;
    readonly before?: string | undefined;
  }) => Effect.Effect<ReadonlyArray<Job.Summary>, JobError>;
  readonly get: (id: string) => Effect.Effect<Job.View, JobError | OutputError | Folder.DatasetError>;
  /** What is told of it whenever that has changed, until it has ended. */
  readonly events: (id: string) => Stream.Stream<Job.Summary, JobError>;
  /** Ends when what has come is complete. */
  readonly cancel: (id: string) => Effect.Effect<Job.Summary, JobError | OutputError>;
  /** Puts one that failed or was cancelled into the queue again. */
  readonly resume: (id: string) => Effect.Effect<Job.Summary, JobError | OutputError>;
  /** A file that the export's manifest names, or the manifest. */
  readonly file: (
    id: string,
    path: string,
  ) => Effect.Effect<File, JobError | OutputError | Folder.DatasetError>;
  /** Why exports can't be run; undefined if they can. */
  readonly trouble: () => string | undefined;
  /** How many stand how. */
  readonly counts: () => Readonly<Record<Job.Status, number>>;
}>() {}

interface Entry {
  job: Job.Job;
  progress: Export.Progress | undefined;
  fiber: Fiber.RuntimeFiber<unknown> | undefined;
}

const FILE = "job.json";

/** How often the progress of an export is looked at for those who watch. */
const LOOK = "250 millis";

/** How often a worker tries to get at a folder that another one may still hold. */
const RETRY = "5 seconds";

const decode = Schema.decodeUnknown(Schema.parseJson(Job.Job));

const progressOf = (
  { users, usersTotal, missing, failed, unverified, sessions, rejected, encodedBytes }: Export.Progress,
): Job.Progress => ({
  users,
  ...(usersTotal !== undefined && { users_total: usersTotal }),
  missing,
  failed,
  unverified,
  sessions,
  rejected,
  bytes: encodedBytes,
});

const isOpen = (status: Job.Status): boolean => status === "queued" || status === "running";

const absent = (id: string) => new JobError({ reason: "Absent", message: `There is no export ${id}` });

const messageOf = (error: unknown): Job.Job["error"] => {
  const { _tag = "Error", reason, message = String(error) } = (error ?? {}) as {
    readonly _tag?: string;
    readonly reason?: string;
    readonly message?: string;
  };
  return { reason: reason === undefined ? _tag : `${_tag}.${reason}`, message };
};

const isLocked = (error: unknown): boolean =>
  error instanceof Folder.DatasetError && error.reason === "Locked";

const make = (folder: string, settings: Settings) =>
  Effect.gen(function* () {
    const tenantHttp = yield* Effect.context<TenantHttp>();
    const metrics = yield* Metrics.Metrics;
    const scope = yield* Effect.scope;
    const entries = new Map<string, Entry>();
    const queue: Array<string> = [];
    let trouble: string | undefined = `${folder} is not this worker's yet`;
    let isStopping = false;

    const rootOf = (id: string) => join(folder, id);
    const dataOf = (id: string) => join(folder, id, "data");

    const summaryOf = ({ job, progress }: Entry): Job.Summary => ({
      id: job.id,
      status: job.status,
      created: job.created,
      formats: job.description.formats,
      users: job.description.users === "all" ? "all" : new Set(job.description.users).size,
      ...(progress && { progress: progressOf(progress) }),
      ...(job.error && { error: job.error }),
    });

    const save = (entry: Entry, change: Partial<Job.Job>): Effect.Effect<void, OutputError> => {
      const { error: _, ...job } = entry.job;
      entry.job = { ...job, ...change };
      return Folder.replace(join(rootOf(job.id), FILE), `${JSON.stringify(entry.job, null, 2)}\n`);
    };

    const entryOf = (id: string): Effect.Effect<Entry, JobError> =>
      trouble !== undefined
        ? Effect.fail(new JobError({ reason: "Unavailable", message: trouble }))
        : Effect.mapError(Effect.fromNullable(entries.get(id)), () => absent(id));

    const runOf = (
      { job: { id, description } }: Entry,
      progress: Export.Progress,
      meter: ReturnType<typeof Metrics.meter>,
    ) => {
      const { users, formats, client_id, page_size, part_rows, on_invalid, redact } = description;
      const policy = redact && Redact.settle(redact);
      const change: (batch: Batch) => Batch = policy === undefined
        ? identity
        : Redact.make(policy, settings.redactSecret);
      const list: UserList.UserList<ApiError, TenantHttp> = users === "all"
        ? UserList.all(page_size)
        : UserList.of(users);
      return Dataset.run({
        root: dataOf(id),
        formats: formats.map((format) => Formats.choose(format)!),
        users: list,
        tenant: settings.tenant.origin,
        mode: "resume",
        walk: { clientId: client_id, pageSize: page_size },
        options: { redact: policy },
        onInvalid: on_invalid,
        partRows: part_rows,
        change: (batch) => change(meter.batch(batch)),
        progress,
      });
    };

    /** Runs an export to its end, whatever that is. */
    const work = (entry: Entry) =>
      Effect.gen(function* () {
        const progress = entry.progress = Export.noProgress();
        yield* save(entry, { status: "running" });
        const meter = Metrics.meter(metrics, progress);
        const exit = yield* Effect.retry(Effect.suspend(() => runOf(entry, progress, meter)), {
          // The dataset of a worker that was killed frees itself after a while.
          while: isLocked,
          schedule: Schedule.spaced(RETRY),
        }).pipe(Effect.ensuring(Effect.sync(meter.end)), Effect.interruptible, Effect.exit);
        if (Exit.isSuccess(exit)) return yield* save(entry, { status: "done" });
        if (Cause.isInterruptedOnly(exit.cause)) {
          // Whoever begins next goes on with what was under way when the worker was stopped.
          return yield* isStopping ? Effect.void : save(entry, { status: "cancelled" });
        }
        const error = Cause.squash(exit.cause);
        yield* Effect.logWarning(`Export ${entry.job.id} failed`, messageOf(error)?.message);
        yield* save(entry, { status: "failed", error: messageOf(error) });
      }).pipe(
        Effect.withSpan("export", { attributes: { id: entry.job.id } }),
        Effect.provide(tenantHttp),
        // That the disk is full must not end the worker: the export is taken up again by the next one.
        Effect.catchAllCause((cause) =>
          Effect.sync(() => {
            entry.job = { ...entry.job, status: "failed", error: messageOf(Cause.squash(cause)) };
          })
        ),
      );

    const runningNow = () => [...entries.values()].filter(({ fiber }) => fiber !== undefined).length;

    const pump: Effect.Effect<void> = Effect.suspend(() => {
      if (isStopping || runningNow() >= settings.running) return Effect.void;
      const id = queue.shift();
      if (id === undefined) return Effect.void;
      const entry = entries.get(id)!;
      return work(entry).pipe(
        Effect.ensuring(Effect.suspend(() => {
          entry.fiber = undefined;
          return pump;
        })),
        Effect.forkIn(scope),
        Effect.flatMap((fiber) => {
          entry.fiber = fiber;
          return pump;
        }),
        // One that is interrupted before it has begun has to say so as well.
        Effect.uninterruptible,
      );
    });

    const enqueue = (entry: Entry) =>
      Effect.gen(function* () {
        if (queue.length >= settings.queue && runningNow() >= settings.running) {
          return yield* Effect.fail(
            new JobError({
              reason: "Full",
              message: `${queue.length} exports wait already, and no more may: try again later`,
            }),
          );
        }
        yield* save(entry, { status: "queued" });
        entries.set(entry.job.id, entry);
        queue.push(entry.job.id);
        yield* pump;
        return summaryOf(entry);
      }).pipe(Effect.uninterruptible);

    const takeUp = Effect.gen(function* () {
      yield* Folder.makeFolder(folder);
      yield* Scope.extend(Lock.hold(folder), scope);
      const isId = Schema.is(Job.Id);
      for (const id of (yield* Folder.namesIn(folder)).filter((name) => isId(name)).sort()) {
        const text = yield* Folder.textOf(join(rootOf(id), FILE));
        if (text === undefined) continue; // it died before the id was given away
        const job = yield* Effect.option(decode(text));
        if (job._tag === "None") {
          yield* Effect.logError(`${join(rootOf(id), FILE)} is damaged: that export is left alone`);
          continue;
        }
        entries.set(id, { job: job.value, progress: undefined, fiber: undefined });
        if (!isOpen(job.value.status)) continue;
        entries.get(id)!.job = { ...job.value, status: "queued" };
        queue.push(id);
      }
      trouble = undefined;
      yield* pump;
    });
    yield* takeUp.pipe(
      Effect.tapError(({ message }) =>
        Effect.zipRight(Effect.sync(() => void (trouble = message)), Effect.logWarning(message))
      ),
      Effect.retry({ while: isLocked, schedule: Schedule.spaced(RETRY) }),
      Effect.ignore,
      Effect.forkIn(scope),
    );
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        isStopping = true;
        const fibers = [...entries.values()].flatMap(({ fiber }) => fiber ? [fiber] : []);
        return Fiber.interruptAll(fibers);
      })
    );

    const view = (entry: Entry) =>
      Effect.gen(function* () {
        const { manifest, journal } = yield* Found.look(dataOf(entry.job.id));
        const cut = journal?.cuts.at(-1);
        const report: Manifest.Run | undefined = manifest?.runs.at(-1);
        const parts = [...manifest?.parts ?? [], ...journal?.cuts.flatMap(({ parts }) => parts) ?? []];
        const stored: Export.Progress = cut !== undefined
          ? { ...cut.standing.progress, usersTotal: journal!.header.users }
          : report !== undefined
          ? {
            ...Export.noProgress(),
            ...report,
            usersTotal: report.users,
            missing: report.missing.count,
            unverified: report.unverified.count,
            failed: manifest!.failed.length,
            encodedBytes: report.bytes,
          }
          : Export.noProgress();
        return {
          ...entry.job,
          progress: progressOf(entry.progress ?? stored),
          ...(report && { report }),
          parts: parts.filter(({ format }) => format !== "state"),
        };
      });

    return Jobs.of({
      start: (description) =>
        Effect.gen(function* () {
          if (trouble !== undefined) {
            return yield* Effect.fail(new JobError({ reason: "Unavailable", message: trouble }));
          }
          const { redact } = description;
          yield* Effect.try({
            try: () => redact && Redact.make(redact, settings.redactSecret),
            catch: (error) =>
              new JobError({
                reason: "Invalid",
                message: `${(error as Error).message}. The worker takes it from MONOCLOUD_REDACT_SECRET`,
              }),
          });
          const now = new Date(yield* Clock.currentTimeMillis).toISOString();
          const time = now.replace(/[-:]|\.\d+/g, "");
          const id = `${time}-${randomBytes(6).toString("hex")}`;
          const job: Job.Job = { id, status: "queued", created: now, description };
          yield* Folder.makeFolder(rootOf(id));
          return yield* enqueue({ job, progress: undefined, fiber: undefined });
        }),
      list: ({ limit, before }) =>
        trouble !== undefined
          ? Effect.fail(new JobError({ reason: "Unavailable", message: trouble }))
          : Effect.sync(() =>
            [...entries.values()]
              .filter(({ job }) => before === undefined || job.id < before)
              .sort((one, other) => one.job.id < other.job.id ? 1 : -1)
              .slice(0, limit).map(summaryOf)
          ),
      get: (id) => Effect.flatMap(entryOf(id), view),
      events: (id) =>
        Stream.unwrap(Effect.map(entryOf(id), (entry) =>
          Stream.repeatEffectWithSchedule(
            Effect.sync(() => ({ summary: summaryOf(entry), isOver: !isOpen(entry.job.status) })),
            Schedule.spaced(LOOK),
          ).pipe(
            Stream.changesWith((one, other) => JSON.stringify(one) === JSON.stringify(other)),
            Stream.takeUntil(({ isOver }) => isOver),
            Stream.map(({ summary }) => summary),
          ))),
      cancel: (id) =>
        Effect.flatMap(entryOf(id), (entry) =>
          Effect.gen(function* () {
            if (!isOpen(entry.job.status)) {
              return yield* Effect.fail(
                new JobError({
                  reason: "State",
                  message: `Export ${id} is ${entry.job.status}: there is nothing to cancel`,
                }),
              );
            }
            const place = queue.indexOf(id);
            if (place >= 0) {
              queue.splice(place, 1);
              yield* save(entry, { status: "cancelled" });
            } else if (entry.fiber !== undefined) yield* Fiber.interrupt(entry.fiber);
            return summaryOf(entry);
          })),
      resume: (id) =>
        Effect.flatMap(entryOf(id), (entry) =>
          entry.job.status === "failed" || entry.job.status === "cancelled" ? enqueue(entry) : Effect.fail(
            new JobError({
              reason: "State",
              message:
                `Export ${id} is ${entry.job.status}: only one that failed or was cancelled can be resumed`,
            }),
          )),
      file: (id, path) =>
        Effect.gen(function* () {
          const entry = yield* entryOf(id);
          const { parts } = yield* view(entry);
          const isThere = path === Folder.names.manifest || parts.some((part) =>
            part.path === path
          );
          const full = join(dataOf(id), path);
          const size = isThere
            ? yield* Effect.promise(() => stat(full).then((s) => s.size, () => undefined))
            : undefined;
          if (size === undefined) {
            return yield* Effect.fail(
              new JobError({ reason: "Absent", message: `Export ${id} has no complete file ${path}` }),
            );
          }
          return { path: full, name: path.replaceAll("/", "-"), bytes: size };
        }),
      trouble: () => trouble,
      counts: () => {
        const counts = { queued: 0, running: 0, done: 0, failed: 0, cancelled: 0 };
        for (const { job } of entries.values()) counts[job.status]++;
        return counts;
      },
    });
  });

const none = new JobError({
  reason: "Unavailable",
  message: "This worker has no folder for exports: set WORKER_FOLDER",
});

/** Exports in the worker's folder, or none. Closing the scope cuts those that run; the next worker goes on with them. */
export const layer = (settings: Settings): Layer.Layer<Jobs, never, TenantHttp | Metrics.Metrics> =>
  settings.folder === undefined
    ? Layer.succeed(Jobs, {
      start: () => Effect.fail(none),
      list: () => Effect.fail(none),
      get: () => Effect.fail(none),
      events: () => Stream.fail(none),
      cancel: () => Effect.fail(none),
      resume: () => Effect.fail(none),
      file: () => Effect.fail(none),
      trouble: () => undefined,
      counts: () => ({ queued: 0, running: 0, done: 0, failed: 0, cancelled: 0 }),
    })
    : Layer.scoped(Jobs, make(settings.folder, settings));

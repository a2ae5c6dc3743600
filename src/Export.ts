/**
 * The driver: batches from a source, through every encoder, to every output.
 *
 * @module
 */
import * as Data from "effect/Data";
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import * as Batch from "./Batch.ts";
import type { Format } from "./format/Encoder.ts";
import type { Output, OutputError, Receipt, Sink } from "./output/Output.ts";
import { version } from "./version.ts";

/** A format and where it goes. */
export interface Target {
  readonly format: Format;
  readonly output: Output;
}

/** What to export, and where to. */
export interface ExportOptions<E, R> {
  readonly source: Stream.Stream<Batch.Batch, E, R>;
  /** All are written from the same batches; the slowest sets the pace. */
  readonly targets: ReadonlyArray<Target>;
  /**
   * What to do with a row that the schema does not accept: put it aside, whole, into `rejects`, or fail.
   *
   * @default {"quarantine"}
   */
  readonly onInvalid?: "quarantine" | "fail" | undefined;
  /** Where rejected rows go, as NDJSON; opened when the first one comes. Left out, they are only counted. */
  readonly rejects?: Output | undefined;
  /** How many rows may be rejected before the run fails, as one that is plainly wrong. @default {any number} */
  readonly maxRejected?: MaxRejected | undefined;
  /** Kept up to date as the export goes on. */
  readonly progress?: Progress | undefined;
}

/**
 * The most rows that may be rejected: so many, or so many of a hundred. A share is judged once 1,000 rows have come, and
 * at the end.
 */
export type MaxRejected = { readonly count: number } | { readonly percent: number };

/** How far an export has come. The driver changes it in place, a batch at a time. */
export interface Progress {
  /** Users whose walk has ended, the missing and failed ones included. */
  users: number;
  /** Users that the tenant does not know. */
  missing: number;
  /** Users whose walk broke off. */
  failed: number;
  sessions: number;
  rejected: number;
  /** Users whose walk can't vouch for its result. */
  unverified: number;
  /** Bytes that encoders gave, before any compression on the way. */
  encodedBytes: number;
  /** How many sessions the tenant says there are, summed over the users whose walks have begun. */
  listed: number;
  /** How many users there are, once that is known. */
  usersTotal?: number | undefined;
  /** How far a run has come that tells which sessions were removed, once all users are walked. */
  compared?: { readonly rows: number; readonly rowsTotal: number } | undefined;
}

/** Nothing yet. */
export const noProgress = (): Progress => ({
  users: 0,
  missing: 0,
  failed: 0,
  sessions: 0,
  rejected: 0,
  unverified: 0,
  encodedBytes: 0,
  listed: 0,
});

/** A complete output. */
export interface ExportedFile extends Receipt {
  readonly name: string;
  readonly format: Format["name"] | "rejected";
  readonly rows: number;
  /** The lowest and the highest `initiated_at` in it; absent if there is none. */
  readonly initiatedAt?: Range | undefined;
}

/** In seconds since the epoch, both included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** What an export did. */
export interface Report {
  readonly users: number;
  readonly sessions: number;
  readonly rejected: number;
  /** Of all files, as they lie. */
  readonly bytes: number;
  readonly seconds: number;
  /** Whether every walk can vouch that it missed nothing and repeated nothing. */
  readonly verified: boolean;
  readonly missing: Some<string>;
  readonly unverified: Some<DoubtfulUser>;
  readonly failed: Some<FailedUser>;
  readonly files: ReadonlyArray<ExportedFile>;
}

/** A user whose walk can't vouch for its result, and why. */
export interface DoubtfulUser {
  readonly userId: string;
  readonly doubts: ReadonlyArray<string>;
}

/** A user whose walk broke off, and why. */
export interface FailedUser {
  readonly userId: string;
  readonly message: string;
}

/** All are counted, the first few are named: a report stays small. */
export interface Some<A> {
  readonly count: number;
  /** At most 100. */
  readonly first: ReadonlyArray<A>;
}

/** An export can't go on, or what it found can't be what was wanted. Nothing of it was kept. */
export class ExportError extends Data.TaggedError("ExportError")<{
  /**
   * `InvalidRow`: a row failed the schema and `onInvalid` is `fail`. `TooManyRejected`: more did than `maxRejected` allows.
   * `NoSuchUsers`: the tenant knows none of the users.
   */
  readonly reason: "InvalidRow" | "TooManyRejected" | "NoSuchUsers";
  readonly message: string;
  readonly row?: Batch.Rejected | undefined;
}> {}

const wordsOf = ({ userId, page, size, index, message }: Batch.Rejected): string =>
  `User ${userId}, page ${page} (of size ${size}), row ${index} is not a session: ${message}`;

/** The error for a row that is not a session. */
export const invalidRow = (row: Batch.Rejected): ExportError =>
  new ExportError({ reason: "InvalidRow", row, message: wordsOf(row) });

/** The error for users of whom the tenant knows none, such as this one. */
export const noSuchUsers = (count: number, userId: string | undefined): ExportError =>
  new ExportError({
    reason: "NoSuchUsers",
    message:
      `The tenant knows ${count === 1 ? "no user" : `none of the ${count} users asked for, such as`} ` +
      `${JSON.stringify(userId)}: check the id and the domain`,
  });

const utf8 = new TextEncoder();

const rejectedLines = (rows: ReadonlyArray<Batch.Rejected>): Uint8Array<ArrayBuffer> =>
  utf8.encode(
    rows.map(({ userId, source, ...where }) =>
      `${JSON.stringify({ user_id: userId, ...where, version, row: source })}\n`
    ).join(""),
  );

/** Files that are written together from the same batches: the same rows in every format. */
export interface Files {
  /** Encodes a batch once for each format; gives the bytes encoded. Writes nothing of it where a row fails the export. */
  readonly write: (batch: Batch.Batch) => Effect.Effect<number, OutputError | ExportError>;
  /** Rows and bytes written so far; bytes of the largest file, before any compression on the way. */
  readonly size: () => { readonly rows: number; readonly rejected: number; readonly bytes: number };
  /** Completes the files. */
  readonly commit: Effect.Effect<ReadonlyArray<ExportedFile>, OutputError>;
}

const write = (sink: Sink, bytes: Uint8Array<ArrayBuffer>) =>
  bytes.length === 0 ? Effect.void : sink.write(bytes);

/** Opens files to write together. They are undone when the scope closes before they are committed. */
export const openFiles = (
  { targets, rejects, onInvalid = "quarantine" }: Pick<
    ExportOptions<never, never>,
    "targets" | "rejects" | "onInvalid"
  >,
): Effect.Effect<Files, OutputError, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const writers = yield* Effect.forEach(
      targets,
      (target) =>
        Effect.map(
          target.output.open,
          (sink) => ({ target, encoder: target.format.make(), sink, bytes: 0 }),
        ),
    );
    let rejectSink: Sink | undefined;
    let [rows, rejected] = [0, 0];
    let [min, max] = [Infinity, -Infinity];

    const putAside = (batch: Batch.Batch) =>
      Effect.gen(function* () {
        if (onInvalid === "fail") return yield* Effect.fail(invalidRow(batch.rejected[0]!));
        rejected += batch.rejected.length;
        if (rejects === undefined) return;
        rejectSink ??= yield* Scope.extend(rejects.open, scope);
        yield* rejectSink.write(rejectedLines(batch.rejected));
      });

    const encode = (batch: Batch.Batch): Effect.Effect<number, OutputError> => {
      const size = Batch.size(batch);
      if (size === 0) return Effect.succeed(0);
      let encoded = 0;
      let written: Effect.Effect<void, OutputError> = Effect.void;
      for (const writer of writers) {
        const bytes = writer.encoder.encode(batch, writer.sink.room);
        writer.bytes += bytes.length;
        encoded += bytes.length;
        if (bytes.length === 0) continue;
        const one = writer.sink.write(bytes);
        written = written === Effect.void ? one : Effect.zipRight(written, one);
      }
      rows += size;
      const initiated = Batch.initiated(batch);
      [min, max] = [Math.min(min, initiated.min), Math.max(max, initiated.max)];
      return Effect.as(written, encoded);
    };

    return {
      write: (batch) =>
        Effect.suspend(() =>
          batch.rejected.length > 0 ? Effect.zipRight(putAside(batch), encode(batch)) : encode(batch)
        ),
      size: () => ({ rows, rejected, bytes: Math.max(0, ...writers.map(({ bytes }) => bytes)) }),
      commit: Effect.gen(function* () {
        for (const { encoder, sink } of writers) yield* write(sink, encoder.finish());
        const files: Array<ExportedFile> = [];
        if (rejects !== undefined && rejectSink !== undefined) {
          files.push({
            name: rejects.name,
            format: "rejected",
            rows: rejected,
            ...yield* rejectSink.commit,
          });
        }
        const initiatedAt = rows === 0 ? {} : { initiatedAt: { min, max } };
        for (const { target, sink } of writers) {
          const { name } = target.output;
          files.push({ name, format: target.format.name, rows, ...yield* sink.commit, ...initiatedAt });
        }
        return files;
      }),
    };
  });

/** What to report of a run besides its files. The driver counts batches into it, in place. */
export interface Tally {
  readonly progress: Progress;
  readonly missing: Array<string>;
  readonly unverified: Array<DoubtfulUser>;
  readonly failed: Array<FailedUser>;
  /** Users whose walks have begun and not ended. */
  readonly walking: Set<string>;
  /** The first row that was rejected. */
  firstRejected?: Batch.Rejected | undefined;
}

/** A tally of nothing yet. */
export const noTally = (progress: Progress = noProgress()): Tally => ({
  progress,
  missing: [],
  unverified: [],
  failed: [],
  walking: new Set(),
});

const LIST = 100;

/** Counts a batch that has been written. */
export const count = (tally: Tally, batch: Batch.Batch): void => {
  const { userId, rejected, total, end } = batch;
  const { progress, missing, unverified, failed, walking } = tally;
  tally.firstRejected ??= rejected[0];
  progress.sessions += Batch.size(batch);
  progress.rejected += rejected.length;
  if (total !== undefined && !walking.has(userId)) progress.listed += total;
  if (end === undefined) {
    walking.add(userId);
    return;
  }
  walking.delete(userId);
  progress.users++;
  if (end.status === "missing") {
    progress.missing++;
    if (missing.length < LIST) missing.push(userId);
  }
  if (end.status === "failed") {
    progress.failed++;
    if (failed.length < LIST) failed.push({ userId, message: end.message ?? "" });
  }
  if (!end.verified) {
    progress.unverified++;
    if (unverified.length < LIST) unverified.push({ userId, doubts: end.doubts });
  }
};

/** The report of a run that has ended. */
export const reportOf = (
  { progress, missing, unverified, failed }: Tally,
  files: ReadonlyArray<ExportedFile>,
  seconds: number,
): Report => ({
  users: progress.users,
  sessions: progress.sessions,
  rejected: progress.rejected,
  bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  seconds,
  verified: progress.unverified === 0 && progress.failed === 0,
  missing: { count: progress.missing, first: missing },
  unverified: { count: progress.unverified, first: unverified },
  failed: { count: progress.failed, first: failed },
  files,
});

/** The error where the tenant turned out to know none of the users. */
export const checkUsers = ({ progress, missing }: Tally): Effect.Effect<void, ExportError> =>
  progress.missing > 0 && progress.missing === progress.users && progress.sessions === 0
    ? Effect.fail(noSuchUsers(progress.users, missing[0]))
    : Effect.void;

/** From so many rows on a share of them tells something. */
const JUDGED = 1000;

/** The error where more rows were rejected than may be. Before the end, a share is judged only of enough rows. */
export const checkRejected = (
  { progress: { sessions, rejected }, firstRejected }: Tally,
  max: MaxRejected | undefined,
  when: "now" | "end",
): Effect.Effect<void, ExportError> => {
  if (max === undefined || rejected === 0) return Effect.void;
  const rows = sessions + rejected;
  const isExceeded = "count" in max
    ? rejected > max.count
    : (when === "end" || rows >= JUDGED) && rejected * 100 > max.percent * rows;
  if (!isExceeded) return Effect.void;
  const allowed = "count" in max ? String(max.count) : `${max.percent} %`;
  return Effect.fail(
    new ExportError({
      reason: "TooManyRejected",
      row: firstRejected,
      message: `${rejected} of ${rows} rows are not sessions, and at most ${allowed} may be. ` +
        (firstRejected === undefined ? "" : `The first: ${wordsOf(firstRejected)}. `) +
        "If that is as it should be, allow more of them (--max-rejected)",
    }),
  );
};

/**
 * Hands each batch of a stream to a function, in order. A stream's own runners would do, but keep a hold on every chunk until
 * the next full collection.
 */
export const forEachBatch = <E, R, E2, R2>(
  source: Stream.Stream<Batch.Batch, E, R>,
  take: (batch: Batch.Batch) => Effect.Effect<unknown, E2, R2>,
): Effect.Effect<void, E | E2, Exclude<R | R2, Scope.Scope>> =>
  Effect.scoped(Effect.flatMap(Stream.toPull(source), (pull) => {
    const next: Effect.Effect<void, E | E2, R | R2> = Effect.matchCauseEffect(pull, {
      onSuccess: (chunk) => Effect.zipRight(Effect.forEach(chunk, take, { discard: true }), next),
      onFailure: (cause) =>
        Option.match(Cause.flipCauseOption(cause), { onNone: () => Effect.void, onSome: Effect.failCause }),
    });
    return next;
  }));

/**
 * Runs an export to its end and reports what it did. Outputs become complete together at the end; if the export fails or
 * is interrupted, none of them does.
 *
 * Fails with what the source and the outputs fail with, and with an {@link ExportError}.
 *
 * Memory: one batch, what each encoder holds (Parquet: a row group), and what the source holds.
 *
 * @example
 * ```ts
 * import { Batch, Export, Formats, Web } from "monocloud-sessions";
 * import * as Effect from "effect/Effect";
 * import * as Stream from "effect/Stream";
 *
 * const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
 * const csv = new Response(readable).text();
 * const report = await Effect.runPromise(Export.run({
 *   source: Stream.make(Batch.make("alice", [
 *     { session_id: "S1", client_ids: [], initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 },
 *   ])),
 *   targets: [{ format: Formats.make("csv"), output: Web.make("csv", writable) }],
 * }));
 * console.assert(report.sessions === 1 && (await csv).includes("alice,S1"));
 * ```
 */
export const run = <E, R>(
  options: ExportOptions<E, R>,
): Effect.Effect<Report, E | OutputError | ExportError, Exclude<R, Scope.Scope>> =>
  Effect.scoped(Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis;
    const tally = noTally(options.progress);
    const files = yield* openFiles(options);
    const take = (batch: Batch.Batch) =>
      Effect.flatMap(files.write(batch), (bytes) => {
        tally.progress.encodedBytes += bytes;
        count(tally, batch);
        return checkRejected(tally, options.maxRejected, "now");
      });
    yield* forEachBatch(options.source, take);
    yield* checkUsers(tally);
    yield* checkRejected(tally, options.maxRejected, "end");
    const complete = yield* files.commit;
    return reportOf(tally, complete, ((yield* Clock.currentTimeMillis) - began) / 1000);
  }));

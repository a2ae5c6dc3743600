/**
 * The driver: batches from a source, through every encoder, to every output.
 *
 * @module
 */
import * as Data from "effect/Data";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type { Batch, Rejected } from "./Batch.ts";
import type { Encoder, Format } from "./format/Encoder.ts";
import type { Output, OutputError, Receipt, Sink } from "./output/Output.ts";

/** A format and where it goes. */
export interface Target {
  readonly format: Format;
  readonly output: Output;
}

/** What to export, and where to. */
export interface ExportOptions<E, R> {
  readonly source: Stream.Stream<Batch, E, R>;
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
  /** Kept up to date as the export goes on. */
  readonly progress?: Progress | undefined;
}

/** How far an export has come. The driver changes it in place, a batch at a time. */
export interface Progress {
  /** Users whose walk has ended, the missing ones included. */
  users: number;
  /** Users that the tenant does not know. */
  missing: number;
  sessions: number;
  rejected: number;
  /** Users whose walk can't vouch for its result. */
  unverified: number;
  /** Bytes that encoders gave, before any compression on the way. */
  encodedBytes: number;
  /** How many sessions the tenant says there are, summed over the users whose walks have begun. */
  listed: number;
}

/** Nothing yet. */
export const noProgress = (): Progress => ({
  users: 0,
  missing: 0,
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
  readonly unverified: Some<{ readonly userId: string; readonly doubts: ReadonlyArray<string> }>;
  readonly files: ReadonlyArray<ExportedFile>;
}

/** All are counted, the first few are named: a report stays small. */
export interface Some<A> {
  readonly count: number;
  /** At most 100. */
  readonly first: ReadonlyArray<A>;
}

/** An export can't go on, or what it found can't be what was wanted. Nothing of it was kept. */
export class ExportError extends Data.TaggedError("ExportError")<{
  /** `InvalidRow`: a row failed the schema and `onInvalid` is `fail`. `NoSuchUsers`: the tenant knows none of the users. */
  readonly reason: "InvalidRow" | "NoSuchUsers";
  readonly message: string;
  readonly row?: Rejected | undefined;
}> {}

/** The error for a row that is not a session. */
export const invalidRow = (row: Rejected): ExportError =>
  new ExportError({
    reason: "InvalidRow",
    row,
    message:
      `User ${row.userId}, page ${row.page} (of size ${row.size}), row ${row.index} is not a session: ${row.message}`,
  });

/** The error for users of whom the tenant knows none, such as this one. */
export const noSuchUsers = (count: number, userId: string | undefined): ExportError =>
  new ExportError({
    reason: "NoSuchUsers",
    message:
      `The tenant knows ${count === 1 ? "no user" : `none of the ${count} users asked for, such as`} ` +
      `${JSON.stringify(userId)}: check the id and the domain`,
  });

const utf8 = new TextEncoder();

const rejectedLines = (rows: ReadonlyArray<Rejected>): Uint8Array<ArrayBuffer> =>
  utf8.encode(
    rows.map(({ userId, source, ...where }) =>
      `${JSON.stringify({ user_id: userId, ...where, row: source })}\n`
    ).join(""),
  );

interface Writer {
  readonly target: Target;
  readonly encoder: Encoder;
  readonly sink: Sink;
}

const openTarget = (target: Target): Effect.Effect<Writer, OutputError, Scope.Scope> =>
  Effect.map(target.output.open, (sink) => ({ target, encoder: target.format.make(), sink }));

const write = (sink: Sink, bytes: Uint8Array<ArrayBuffer>) =>
  bytes.length === 0 ? Effect.void : sink.write(bytes);

const LIST = 100;

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
    const { source, targets, onInvalid = "quarantine", rejects, progress = noProgress() } = options;
    const began = yield* Clock.currentTimeMillis;
    const writers = yield* Effect.forEach(targets, openTarget);
    let rejectSink: Sink | undefined;
    const missing: Array<string> = [];
    const unverified: Array<Report["unverified"]["first"][number]> = [];
    const walking = new Set<string>();

    const putAside = (rows: ReadonlyArray<Rejected>) =>
      Effect.gen(function* () {
        if (onInvalid === "fail") return yield* Effect.fail(invalidRow(rows[0]!));
        progress.rejected += rows.length;
        if (rejects === undefined) return;
        rejectSink ??= yield* rejects.open;
        yield* rejectSink.write(rejectedLines(rows));
      });

    const account = ({ userId, sessions, total, end }: Batch) => {
      progress.sessions += sessions.length;
      if (total !== undefined && !walking.has(userId)) {
        walking.add(userId);
        progress.listed += total;
      }
      if (end === undefined) return;
      walking.delete(userId);
      progress.users++;
      if (end.status === "missing") {
        progress.missing++;
        if (missing.length < LIST) missing.push(userId);
      }
      if (!end.verified) {
        progress.unverified++;
        if (unverified.length < LIST) unverified.push({ userId, doubts: end.doubts });
      }
    };

    const takeIn = (batch: Batch) =>
      Effect.gen(function* () {
        if (batch.rejected.length > 0) yield* putAside(batch.rejected);
        if (batch.sessions.length > 0) {
          for (const { encoder, sink } of writers) {
            const bytes = encoder.encode(batch);
            progress.encodedBytes += bytes.length;
            yield* write(sink, bytes);
          }
        }
        account(batch);
      });

    yield* Stream.runForEach(source, takeIn);

    if (progress.missing > 0 && progress.missing === progress.users && progress.sessions === 0) {
      return yield* Effect.fail(noSuchUsers(progress.users, missing[0]));
    }
    for (const { encoder, sink } of writers) yield* write(sink, encoder.finish());
    const files: Array<ExportedFile> = [];
    const commit = (name: string, format: ExportedFile["format"], rows: number, sink: Sink) =>
      Effect.map(sink.commit, (receipt) => void files.push({ name, format, rows, ...receipt }));
    if (rejects !== undefined && rejectSink !== undefined) {
      yield* commit(rejects.name, "rejected", progress.rejected, rejectSink);
    }
    for (const { target, sink } of writers) {
      yield* commit(target.output.name, target.format.name, progress.sessions, sink);
    }
    return {
      users: progress.users,
      sessions: progress.sessions,
      rejected: progress.rejected,
      bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      seconds: ((yield* Clock.currentTimeMillis) - began) / 1000,
      verified: progress.unverified === 0,
      missing: { count: progress.missing, first: missing },
      unverified: { count: progress.unverified, first: unverified },
      files,
    };
  }));

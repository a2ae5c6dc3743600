/**
 * The same for people who do not write Effect: an async iterable of sessions, a `ReadableStream` of any format, a promise of
 * a finished export.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Runtime from "effect/Runtime";
import * as Stream from "effect/Stream";
import { type Batch, type Rejected, sessions as sessionsOf, type WalkEnd } from "./session/Batch.ts";
import * as Export from "./export/Export.ts";
import * as Verdict from "./export/Verdict.ts";
import * as Formats from "./format/Formats.ts";
import * as Options from "./options/Options.ts";
import * as GzipSink from "./sink/GzipSink.ts";
import * as ReadableBody from "./sink/ReadableBody.ts";
import type { Session } from "./session/Session.ts";
import * as HttpPolicy from "./api/HttpPolicy.ts";
import * as Transport from "./api/transport/Transport.ts";
import * as SessionSource from "./source/SessionSource.ts";
import * as UserSource from "./source/UserSource.ts";

export type { Rejected, WalkEnd } from "./session/Batch.ts";
export type { Unverified, UnverifiedOptions } from "./export/Verdict.ts";
export type { Session } from "./session/Session.ts";

/** Whose sessions, of which tenant, and how to ask for them. */
export interface SessionsOptions extends HttpPolicy.TenantOptions, SessionSource.WalkOptions {
  /** User ids, each once, or `"all"` for every user of the tenant. */
  readonly users: Iterable<string> | AsyncIterable<string> | "all";
  /** Ends the work: what it was for rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Makes the requests. @default {globalThis.fetch} */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

const sessionsNames: Options.Names<SessionsOptions> = {
  ...HttpPolicy.optionNames,
  ...SessionSource.optionNames,
  users: Options.any,
  signal: Options.any,
  fetch: Options.callback,
};

/** A session, with the user it belongs to. */
export interface UserSession extends Session {
  readonly user_id: string;
}

/** What to be told while sessions are read one by one. */
export interface Watch {
  /** A row that is not a session by the schema. Left out, such a row is an error. */
  readonly onRejected?: ((row: Rejected) => void) | undefined;
  /** A user's list has been read. Left out, a user that the tenant does not know is an error. */
  readonly onEnd?: ((userId: string, end: WalkEnd) => void) | undefined;
}

const readKind = Options.object<SessionsOptions & Watch & Verdict.UnverifiedOptions>({
  ...sessionsNames,
  ...Verdict.optionNames,
  onRejected: Options.callback,
  onEnd: Options.callback,
});

const httpFor = ({ fetch, ...options }: SessionsOptions) =>
  Layer.provide(HttpPolicy.connect(options), Transport.fetch(fetch));

/** Fails once the signal says so, with its reason. */
const aborted = (signal: AbortSignal | undefined): Effect.Effect<never, unknown> =>
  signal === undefined ? Effect.never : Effect.async((resume) => {
    const abort = () => resume(Effect.fail(signal.reason));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    return Effect.sync(() => signal.removeEventListener("abort", abort));
  });

const batchesOf = (
  options: SessionsOptions,
  onUserDoubts: (doubts: ReadonlyArray<string>) => void,
): Stream.Stream<Batch, unknown, HttpPolicy.TenantHttp> => {
  const { users, pageSize } = options;
  if (typeof users === "string" && users !== "all") {
    throw new TypeError(`Cannot read sessions as 'users' must be user ids or "all": it is one text`);
  }
  const ids: Stream.Stream<string, unknown, HttpPolicy.TenantHttp> = users === "all"
    ? Stream.mapConcat(UserSource.all({ pageSize }), ({ userIds, doubts = [] }) => {
      if (doubts.length > 0) onUserDoubts(doubts);
      return userIds;
    })
    : Symbol.asyncIterator in users
    ? Stream.fromAsyncIterable(users, (error) => error)
    : Stream.fromIterable(users);
  const { signal } = options;
  // A source that always has a batch ready is never found waiting, so each batch looks at the signal as well.
  const batches = Stream.interruptWhen(
    SessionSource.batches(ids, { ...options, areListed: users === "all" }),
    aborted(signal),
  ).pipe(
    Stream.mapEffect((batch) => signal?.aborted ? Effect.fail(signal.reason) : Effect.succeed(batch)),
  );
  return Stream.suspend(() => signal?.aborted ? Stream.fail(signal.reason) : batches);
};

/** Runs to the end; rejects with the error itself, not with Effect's wrapping of it. */
const run = async <A>(work: Effect.Effect<A, unknown>): Promise<A> => {
  const exit = await Effect.runPromiseExit(work);
  if (Exit.isSuccess(exit)) return exit.value;
  throw Cause.squash(exit.cause);
};

async function* batchIterator(options: SessionsOptions, verdict: Verdict.Verdict): AsyncGenerator<Batch> {
  // The stream reports how it failed inside its elements, so that the iterator can throw the error itself.
  const exits = Stream.toAsyncIterableRuntime(
    batchesOf(options, verdict.seeUsers).pipe(
      Stream.map((batch): Exit.Exit<Batch, unknown> => Exit.succeed(batch)),
      Stream.provideLayer(httpFor(options)),
      Stream.catchAllCause((cause) => Stream.succeed(Exit.failCause(cause))),
    ),
    Runtime.defaultRuntime,
  );
  for await (const exit of exits) {
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause);
    yield exit.value;
  }
}

/**
 * The sessions one by one, each with its `user_id`, newest first within a user. Breaking off the loop ends all requests.
 * Options are read once, when it begins: one that there is not, or of the wrong kind, is a TypeError before any request.
 *
 * Throws what {@link ApiError} describes, and whatever `users` throws. After the last session it throws an `ExportError`
 * with the reason `Unverified` if something may be missing, unless that is allowed. Holds a few pages.
 *
 * @example
 * ```ts
 * import { sessions } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2 });
 * let count = 0;
 * for await (
 *   const session of sessions({
 *     domain: "sandbox.example",
 *     apiKey: sandbox.key,
 *     users: sandbox.userIds(),
 *     fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *   })
 * ) {
 *   if (session.user_id !== "") count++;
 * }
 * console.assert(count > 0);
 * ```
 */
export async function* sessions(
  given: SessionsOptions & Watch & Verdict.UnverifiedOptions,
): AsyncGenerator<UserSession> {
  const options = Options.take("read sessions", readKind, given);
  const { onRejected, onEnd, signal } = options;
  const verdict = Verdict.make(options);
  for await (const batch of batchIterator(options, verdict)) {
    const { userId, rejected, end } = batch;
    for (const row of rejected) {
      if (onRejected === undefined) throw Export.invalidRow(row);
      onRejected(row);
    }
    for (const session of sessionsOf(batch)) {
      signal?.throwIfAborted();
      yield { ...session, user_id: userId };
    }
    if (end === undefined) continue;
    const isGone = end.status === "missing" || end.status === "removed";
    // A user of all of them that goes meanwhile is none to speak of.
    if (onEnd === undefined && isGone && options.users !== "all") throw Export.noSuchUsers(1, userId);
    onEnd?.(userId, end);
    verdict.see(batch);
  }
  const error = verdict.error();
  if (error !== undefined) throw error;
}

/** How bytes are written, and what becomes of rows that are not sessions. */
export interface EncodingOptions extends Formats.FormatOptions {
  /** As for {@link Export.ExportOptions}. A stream has no place to put rows aside: there, the default is `fail`. */
  readonly onInvalid?: "quarantine" | "fail" | undefined;
  /** As for {@link Export.ExportOptions}. */
  readonly maxRejected?: Export.MaxRejected | undefined;
}

const encodingNames: Options.Names<EncodingOptions> = { ...Formats.optionNames, ...Export.rejectionNames };

const streamKind = Options.object<SessionsOptions & EncodingOptions & Verdict.UnverifiedOptions>({
  ...sessionsNames,
  ...encodingNames,
  ...Verdict.optionNames,
});

/**
 * An export as a stream of bytes in one of the formats, read as fast as it is consumed. It errors, and never just ends,
 * when the export fails, and after its last byte if something may be missing, unless that is allowed. Cancelling it ends all
 * requests.
 *
 * @throws {TypeError} on an option that there is not, or of the wrong kind.
 *
 * @example
 * ```ts
 * import { stream } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2 });
 * const csv = stream("csv", {
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   users: "all",
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * console.assert((await new Response(csv).text()).startsWith("user_id,session_id"));
 * ```
 */
export const stream = (
  format: Formats.FormatName,
  given: SessionsOptions & EncodingOptions & Verdict.UnverifiedOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const options = Options.take("export", streamKind, given);
  const name = Options.take("export", Options.oneOf(Formats.builtInNames), format, "format");
  return ReadableBody.make("the stream", (output, cancelled, taken) => {
    const signal = AbortSignal.any([cancelled, ...(options.signal ? [options.signal] : [])]);
    const verdict = Verdict.make(options);
    const batches = batchesOf({ ...options, signal }, verdict.seeUsers);
    const work = Export.run({
      source: Stream.tap(batches, (batch) => Effect.sync(() => verdict.see(batch))),
      targets: [{ format: Formats.make(name, options), output }],
      onInvalid: options.onInvalid ?? "fail",
      maxRejected: options.maxRejected,
    });
    // Once its reader has all the bytes, the stream errors in place of its end.
    const judged = Effect.flatMap(work, () => {
      const error = verdict.error();
      return error === undefined
        ? Effect.void
        : Effect.raceFirst(Effect.promise(() => taken), aborted(signal)).pipe(
          Effect.zipRight(Effect.fail(error)),
        );
    });
    return run(Effect.provide(judged, httpFor(options)));
  });
};

/** Where an export goes. */
export interface ExportSessionsOptions extends SessionsOptions, EncodingOptions {
  /** Paths of files, whose names say their format: `.ndjson`, `.csv` or `.parquet`, the first two also with `.gz`. */
  readonly out: string | ReadonlyArray<string>;
  /** Where rows that are not sessions go, as NDJSON. @default {the first path, and `.rejected.ndjson`} */
  readonly rejected?: string | undefined;
}

const exportKind = Options.object<ExportSessionsOptions>({
  ...sessionsNames,
  ...encodingNames,
  out: Options.textOr(Options.text, Options.list(Options.text)),
  rejected: Options.text,
});

/** What an export did. */
export interface Report extends Export.Report {
  /** Why not every user of the tenant may have been named, for `"all"`; empty if all were. */
  readonly userDoubts: ReadonlyArray<string>;
}

/**
 * Exports to files, which appear under their names once they are complete, and reports what was done. Rejects with a TypeError
 * on an option that there is not, or of the wrong kind.
 *
 * @example
 * ```ts
 * import { exportSessions } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2 });
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const report = await exportSessions({
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   users: "all",
 *   out: [join(folder, "sessions.parquet"), join(folder, "sessions.ndjson.gz")],
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * console.assert(report.users === 2 && report.verified && report.files.length === 2);
 * await rm(folder, { recursive: true });
 * ```
 */
export const exportSessions = async (given: ExportSessionsOptions): Promise<Report> => {
  const options = Options.take("export", exportKind, given);
  const paths = typeof options.out === "string" ? [options.out] : options.out;
  const [first] = paths;
  if (first === undefined) throw new TypeError("Cannot export as 'out' names no file");
  // Loaded here, so that the rest of this module runs where there are no files.
  const File = await import("./sink/FileSink.ts");
  const targets = paths.map((path): Export.Target => {
    const found = Formats.ofPath(path, options);
    if (found === undefined) {
      throw new TypeError(
        `Cannot export to ${path} as its name must end in one of ${Formats.endings()}`,
      );
    }
    const file = File.make(path);
    return { format: found.format, output: found.gzip ? GzipSink.make(file) : file };
  });
  const rejected = options.rejected ?? `${first}.rejected.ndjson`;
  const repeated = [...paths, rejected].find((path, index, all) => all.indexOf(path) < index);
  if (repeated !== undefined) throw new TypeError(`Cannot export to ${repeated} as it is named twice`);
  let userDoubts: ReadonlyArray<string> = [];
  const work = Export.run({
    source: batchesOf(options, (doubts) => (userDoubts = doubts)),
    targets,
    rejects: File.make(rejected),
    onInvalid: options.onInvalid,
    maxRejected: options.maxRejected,
  });
  const report = await run(Effect.provide(work, httpFor(options)));
  return { ...report, verified: report.verified && userDoubts.length === 0, userDoubts };
};

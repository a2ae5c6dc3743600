/**
 * Response bodies: the sessions of one user as they are walked, and files as they lie.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Data from "effect/Data";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Runtime from "effect/Runtime";
import * as Stream from "effect/Stream";
import * as Batch from "../../session/Batch.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import * as Export from "../../export/Export.ts";
import type { Format } from "../../format/Format.ts";
import * as GzipSink from "../../sink/GzipSink.ts";
import { type Sink, SinkError } from "../../sink/Sink.ts";
import * as ReadableBody from "../../sink/ReadableBody.ts";
import type { ApiError } from "../../api/ApiError.ts";
import type { SessionFilters } from "../../api/SessionFilters.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import * as SessionSource from "../../source/SessionSource.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import * as IdleTimeout from "../IdleTimeout.ts";
import * as Trace from "../telemetry/Trace.ts";

/** It is not verified that nothing is missing, so the download does not end as if it were. */
export class UnverifiedError extends Data.TaggedError("UnverifiedError")<{
  readonly message: string;
}> {}

/** Options of a download. */
export interface DownloadOptions {
  readonly userId: string;
  readonly format: Format;
  readonly gzip: boolean;
  readonly filters: SessionFilters;
  readonly pageSize?: number | undefined;
  readonly allow: ReadonlySet<string>;
}

/** Pages of one user that are asked for at once: what is being read, and what comes next. */
const AHEAD = 2;

/** Observer of a transfer as it goes on. */
interface TransferObserver {
  /** There is something to take, or it is certain that there is nothing. */
  readonly begin: Effect.Effect<unknown>;
  /** So many bytes have been taken. */
  readonly took: (bytes: number) => void;
}

/** An output that is watched piece by piece, and complete only once its reader has `taken` all of it. */
const watched = (output: Sink, taken: Promise<void>, { begin, took }: TransferObserver): Sink => ({
  ...output,
  open: Effect.map(output.open, (sink) => ({
    write: (bytes) =>
      Effect.forEach(
        IdleTimeout.pieces(bytes),
        (piece) => Effect.zipRight(begin, Effect.map(sink.write(piece), () => took(piece.length))),
        { discard: true },
      ),
    commit: Effect.zipRight(begin, Effect.zipLeft(sink.commit, Effect.promise(() => taken))),
  })),
});

/**
 * Begins what `work` writes, and gives its bytes once there is one to send, or once it has ended without: what goes wrong
 * before is a failure. What goes wrong later errors the stream: it never just ends. Cancelling the stream ends the work,
 * which otherwise lasts until its reader has taken everything. `length` is how many bytes it will be, if the answer tells.
 */
const transfer = <E extends { readonly message: string }, R>(
  work: (output: Sink) => Effect.Effect<unknown, E, R>,
  length?: number,
): Effect.Effect<ReadableBody.Bytes, E, R | Metrics.Metrics> =>
  Effect.gen(function* () {
    const metrics = yield* Metrics.Metrics;
    const runtime = yield* Effect.runtime<R>();
    const begun = yield* Deferred.make<void, E>();
    const bytes = ReadableBody.make("the response", (output, signal, taken) => {
      let count = 0;
      const target = watched(output, taken, {
        begin: Deferred.succeed(begun, undefined),
        took: (bytes) => {
          count += bytes;
          metrics.bytes("download", bytes);
        },
      });
      metrics.download("begun");
      const working = work(target).pipe(
        Effect.onExit((exit) => {
          const isBrokenOff = signal.reason instanceof IdleTimeout.BrokenOff;
          const isLeft = Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause) && !isBrokenOff;
          // Where the length was told, a server may leave with the last byte, and not come back for the end.
          const isWhole = Exit.isSuccess(exit) || (isLeft && count === length);
          metrics.download(isWhole ? "complete" : isLeft ? "client_closed" : "aborted");
          return Deferred.done(begun, Exit.asVoid(exit));
        }),
      );
      return Runtime.runPromise(runtime)(working, { signal });
    });
    // Whoever asked may have gone before there is anything to read.
    yield* Effect.onInterrupt(Deferred.await(begun), () => Effect.promise(() => bytes.cancel()));
    return bytes;
  });

const reasonsOf = ({ end }: Batch.Batch, allow: ReadonlySet<string>): ReadonlyArray<string> =>
  end === undefined || allow.has("unverified")
    ? []
    : end.status === "removed"
    ? ["the user was removed while the sessions were read"]
    : end.unverifiedReasons;

/** The sessions of a user. */
export const sessions = (
  { userId, format, gzip, filters, pageSize, allow }: DownloadOptions,
): Effect.Effect<
  ReadableBody.Bytes,
  ApiError | SinkError | Export.ExportError | UnverifiedError,
  TenantClient | Metrics.Metrics
> =>
  Effect.flatMap(Metrics.Metrics, (metrics) => {
    const source = SessionSource.batches(Stream.make(userId), { ...filters, pageSize, concurrency: AHEAD })
      .pipe(
        Stream.mapEffect((batch) => {
          const unverifiedReasons = reasonsOf(batch, allow);
          metrics.sessions(Batch.size(batch));
          return unverifiedReasons.length === 0 ? Effect.succeed(batch) : Effect.fail(
            new UnverifiedError({
              message: `It can't be verified that nothing is missing: ${unverifiedReasons.join("; ")}`,
            }),
          );
        }),
      );
    return transfer((output) =>
      Export.run({
        source,
        targets: [{ format, output: gzip ? GzipSink.make(output) : output }],
        onInvalid: allow.has("quarantined") ? "quarantine" : "fail",
      }).pipe(Trace.span("download", { format: format.name }))
    );
  });

/** A file as it lies, for an answer that tells how many bytes it has. */
export const file = (
  { root, path, bytes }: { readonly root: string; readonly path: string; readonly bytes: number },
): Effect.Effect<ReadableBody.Bytes, SinkError, Metrics.Metrics> =>
  transfer((output) =>
    Effect.scoped(Effect.gen(function* () {
      const sink = yield* output.open;
      const chunks: Stream.Stream<Uint8Array<ArrayBuffer>, SinkError> = Stream.fromAsyncIterable(
        SafeFile.chunks(root, path),
        (cause) => new SinkError({ reason: "Open", path, cause }),
      );
      yield* Stream.runForEach(chunks, sink.write);
      yield* sink.commit;
    })), bytes);

/**
 * The sessions of one user as a response body, as they are walked.
 *
 * @module
 */
import * as Data from "effect/Data";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Runtime from "effect/Runtime";
import * as Stream from "effect/Stream";
import type { Batch } from "../Batch.ts";
import * as Export from "../Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Gzip from "../output/Gzip.ts";
import { type Output, OutputError } from "../output/Output.ts";
import * as Readable from "../output/Readable.ts";
import type { ApiError } from "../tenant/ApiError.ts";
import type { TenantHttp } from "../tenant/HttpPolicy.ts";
import * as SessionSource from "../walk/SessionSource.ts";
import * as Metrics from "./Metrics.ts";

/** The download can't vouch that nothing is missing, so it does not end as if it could. */
export class UnverifiedError extends Data.TaggedError("UnverifiedError")<{
  readonly message: string;
}> {}

/** What to download. */
export interface DownloadOptions {
  readonly userId: string;
  readonly format: Formats.FormatName;
  readonly gzip: boolean;
  readonly clientId?: string | undefined;
  readonly pageSize?: number | undefined;
  readonly allow: ReadonlySet<string>;
  /** How long to wait for the reader, in seconds. */
  readonly idle: number;
}

/** Pages of one user that are asked for at once: what is being read, and what comes next. */
const AHEAD = 2;

/** An output that gives up when its reader has stopped reading. */
const impatient = (output: Output, seconds: number, onBytes: (count: number) => void): Output => ({
  ...output,
  open: Effect.map(output.open, (sink) => ({
    ...sink,
    write: (bytes) =>
      Effect.tap(
        Effect.timeoutFail(sink.write(bytes), {
          duration: `${seconds} seconds`,
          onTimeout: () =>
            new OutputError({
              reason: "Closed",
              path: output.name,
              cause: new Error(`its reader has read nothing for ${seconds} s`),
            }),
        }),
        () => Effect.sync(() => onBytes(bytes.length)),
      ),
  })),
});

const doubtsOf = ({ end }: Batch, allow: ReadonlySet<string>): ReadonlyArray<string> =>
  end?.verified === false && !allow.has("unverified") ? end.doubts : [];

/**
 * Begins a download, and gives its bytes once the tenant has answered a first time; fails if there is nothing to give. What
 * goes wrong later errors the stream: it never just ends. Cancelling the stream ends all requests.
 */
export const begin = (options: DownloadOptions): Effect.Effect<
  { readonly status: "missing" } | { readonly status: "begun"; readonly bytes: Readable.Bytes },
  ApiError | OutputError | Export.ExportError | UnverifiedError,
  TenantHttp | Metrics.Metrics
> =>
  Effect.gen(function* () {
    const { userId, format, gzip, clientId, pageSize, allow, idle } = options;
    const metrics = yield* Metrics.Metrics;
    const runtime = yield* Effect.runtime<TenantHttp>();
    const first = yield* Deferred.make<
      Batch,
      ApiError | OutputError | Export.ExportError | UnverifiedError
    >();
    const source = SessionSource.batches(Stream.make(userId), { clientId, pageSize, concurrency: AHEAD })
      .pipe(
        Stream.mapEffect((batch) => {
          const doubts = doubtsOf(batch, allow);
          return doubts.length === 0 ? Effect.as(Deferred.succeed(first, batch), batch) : Effect.fail(
            new UnverifiedError({
              message: `It can't be vouched that nothing is missing: ${doubts.join("; ")}`,
            }),
          );
        }),
        Stream.tap(({ sessions }) => Effect.sync(() => metrics.sessions(sessions.length))),
      );
    const bytes = Readable.make("the response", (output, signal) => {
      const target = impatient(output, idle, (count) => metrics.bytes("download", count));
      metrics.download("begun");
      return Runtime.runPromise(runtime)(
        Export.run({
          source,
          targets: [{ format: Formats.make(format), output: gzip ? Gzip.make(target) : target }],
          onInvalid: allow.has("rejected") ? "quarantine" : "fail",
        }).pipe(
          Effect.onExit((exit) =>
            Effect.zipRight(
              Effect.sync(() =>
                metrics.download(
                  Exit.isSuccess(exit) ? "complete" : Exit.isInterrupted(exit) ? "left" : "aborted",
                )
              ),
              Deferred.done(first, Exit.as(exit, undefined as never)),
            )
          ),
          Effect.tapErrorCause((cause) => Effect.logWarning("A download was aborted", cause)),
          Effect.withSpan("download", { attributes: { format } }),
        ),
        { signal },
      );
    });
    const cancel = Effect.promise(() => bytes.cancel());
    // Whoever asked may have gone before there is anything to read.
    const { end } = yield* Effect.onInterrupt(Deferred.await(first), () => cancel);
    if (end?.status !== "missing") return { status: "begun" as const, bytes };
    yield* cancel;
    return { status: "missing" as const };
  });

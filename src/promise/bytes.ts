/** Exports as bytes: a stream, and the response of an HTTP server. */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as Export from "../export/Export.ts";
import * as Verdict from "../export/Verdict.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import type * as Batch from "../session/Batch.ts";
import * as ReadableBody from "../sink/ReadableBody.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type {
  EncodingOptions,
  FormatChoice,
  SessionsOptions,
  UnverifiedOptions,
} from "../plain/SessionsOptions.ts";

const kind = Options.object<SessionsOptions & EncodingOptions & UnverifiedOptions>({
  ...Kinds.sessionsNames,
  ...Kinds.encodingNames,
  ...Verdict.optionNames,
}, { required: Kinds.required });

const DOING = "export";

/**
 * Stream an export in one of the formats, as fast as it is consumed. Cancelling the stream ends all requests.
 *
 * It errors, and never just ends, when the export fails: with an {@link ApiError}, an {@link ExportError}, a
 * {@link TenantError}, or what `users`, `filter` or `map` throw. It errors after its last byte if something may be missing,
 * unless that is allowed. A user that the tenant does not know is left out; if it knows none, that is an error.
 *
 * In Node, `Readable.fromWeb(stream("csv", options))` makes a `Readable` of it. That has the same errors and the same pace,
 * and destroying it ends all requests. TypeScript may want `as never` after the stream, as the DOM's type differs from
 * Node's.
 *
 * Memory: a few pages, and what the encoder holds (of Parquet, a row group).
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
  format: FormatChoice,
  options: SessionsOptions & EncodingOptions & UnverifiedOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> => begin(format, options, () => {});

/** Stream an export, and call back once the sessions of an answer are encoded, though they may be none. */
const begin = (
  format: FormatChoice,
  given: SessionsOptions & EncodingOptions & UnverifiedOptions,
  onAnswer: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const name = Options.take(DOING, Kinds.format, format, "format");
  const options = Kinds.take(DOING, kind, given);
  const choice = Formats.choose(name, options)!;
  // Here once for its errors, which are the caller's, and not those of a stream.
  Engine.batchesOf(DOING, options, { unverifiedReasons: () => {} });
  return ReadableBody.make("the stream", (output, cancelled, taken) => {
    const signal = AbortSignal.any([cancelled, ...(options.signal ? [options.signal] : [])]);
    const verdict = Verdict.make(options);
    const batches = Engine.batchesOf(DOING, { ...options, signal }, { unverifiedReasons: verdict.seeUsers });
    // Whoever asks for the next batch has encoded the one before.
    let hasAnswer = false;
    const see = (batch: Batch.Batch) => {
      if (hasAnswer) onAnswer();
      hasAnswer ||= batch.end?.status !== "missing" && batch.end?.status !== "failed";
      verdict.see(batch);
    };
    const work = Export.run({
      source: Stream.tap(batches, (batch) => Effect.sync(() => see(batch))),
      targets: [Export.targetOf(choice, output)],
      onInvalid: options.onInvalid ?? "fail",
      maxQuarantined: options.maxQuarantined,
    });
    // Once its reader has all the bytes, the stream errors in place of its end.
    const judged = Effect.flatMap(work, () => {
      const error = verdict.error();
      return error === undefined
        ? Effect.void
        : Effect.raceFirst(Effect.promise(() => taken), Engine.aborted(signal)).pipe(
          Effect.zipRight(Effect.fail(error)),
        );
    });
    return Engine.run(Effect.provide(judged, Engine.tenantOf(options)));
  });
};

/**
 * Answer a request with an export, as a download. The promise resolves once sessions have come, or their first bytes are
 * there: a `filter` that keeps none, or Parquet, which has no bytes before a row group is full, does not delay the status.
 *
 * So what the tenant's first answers tell is a rejection, and no answer of status 200: a refused key, users that it does not
 * know, a tenant that does not answer within `maxElapsed` (5 minutes unless you say less). It rejects with what
 * {@link stream} errors with. What fails later breaks off the body.
 *
 * Pass the request's `signal`: before the body is read, nothing else tells that the client has left. The headers of the
 * response may be changed, such as the file's name in `content-disposition`. Memory as for {@link stream}. Cancel the body
 * of a response that nobody reads.
 *
 * @example
 * ```ts
 * import { isApiError, isExportError, response } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2 });
 * const download = async (userId: string): Promise<Response> => {
 *   try {
 *     return await response("csv.gz", {
 *       domain: "sandbox.example",
 *       apiKey: sandbox.key,
 *       users: [userId],
 *       fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *     });
 *   } catch (error) {
 *     if (isExportError(error) && error.reason === "NoSuchUsers") return new Response(null, { status: 404 });
 *     if (isApiError(error)) return new Response(error.message, { status: 502 });
 *     throw error;
 *   }
 * };
 * const [userId = ""] = sandbox.userIds();
 * const answer = await download(userId);
 * console.assert(answer.status === 200 && answer.headers.get("content-type") === "application/gzip");
 * await answer.body?.cancel();
 * console.assert((await download("nobody")).status === 404);
 * ```
 */
export const response = async (
  format: FormatChoice,
  options: SessionsOptions & EncodingOptions & UnverifiedOptions,
): Promise<Response> => {
  let onAnswer = () => {};
  const hasAnswer = new Promise<void>((resolve) => (onAnswer = resolve));
  const reader = begin(format, options, () => onAnswer()).getReader();
  let first: Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>> | undefined = reader.read();
  await Promise.race([first, hasAnswer]);
  // What fails from now on is told to whoever reads the body.
  first.catch(() => {});
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: async (controller) => {
      const { done, value } = await (first ?? reader.read());
      first = undefined;
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  const { format: { contentType, extension }, gzip } = Formats.choose(format)!;
  const name = `sessions.${extension}${gzip ? ".gz" : ""}`;
  return new Response(body, {
    headers: {
      "content-type": gzip ? "application/gzip" : contentType,
      "content-disposition": `attachment; filename="${name}"`,
      "cache-control": "no-store",
    },
  });
};

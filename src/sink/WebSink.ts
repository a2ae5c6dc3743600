/** Any `WritableStream`: a response body, standard output, a stream of the caller's own. */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { type Sink, SinkError } from "./Sink.ts";

/**
 * A stream that takes bytes. It is closed when the output is complete and aborted when the export fails, so that its reader
 * can't take the one for the other.
 *
 * @example
 * ```ts
 * import { Sinks } from "monocloud-sessions";
 * import * as Effect from "effect/Effect";
 *
 * const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
 * const text = new Response(readable).text();
 * const send = Effect.flatMap(Sinks.web("a response", writable).open, (sink) =>
 *   Effect.zipRight(sink.write(new TextEncoder().encode("hello")), sink.commit));
 * await Effect.runPromise(Effect.scoped(send));
 * console.assert(await text === "hello");
 * ```
 */
export const make = (name: string, stream: WritableStream<Uint8Array<ArrayBuffer>>): Sink => ({
  name,
  open: Effect.gen(function* () {
    let bytes = 0;
    let committed = false;
    let writing = false;
    const writer = yield* Effect.acquireRelease(
      Effect.try({
        try: () => stream.getWriter(),
        catch: (cause) => new SinkError({ reason: "Open", path: name, cause }),
      }),
      (writer, exit) =>
        Effect.promise(async () => {
          const why = Exit.isFailure(exit) ? "the export failed" : "the export was not completed";
          if (!committed) {
            // The reader sees the abort at once, but its promise waits for a write under way, and so for a reader that has
            // stopped reading.
            const aborted = writer.abort(new Error(why)).catch(() => undefined);
            if (!writing) await aborted;
          }
          writer.releaseLock();
        }),
    );
    // A write is given up when the export is interrupted: a reader that has stopped reading must not hold it back.
    const attempt = (reason: "Write" | "Commit", work: () => Promise<void>) =>
      Effect.tryPromise({
        try: work,
        catch: (cause) => {
          const { code } = (cause ?? {}) as { readonly code?: unknown };
          // A reader who cancels without a reason leaves none.
          const hasGone = code === "EPIPE" || cause === undefined;
          return new SinkError({ reason: hasGone ? "Closed" : reason, path: name, cause });
        },
      });
    return {
      write: (chunk) =>
        Effect.suspend(() => {
          bytes += chunk.length;
          return attempt("Write", async () => {
            await writer.ready;
            writing = true;
            await writer.write(chunk);
            writing = false;
          });
        }),
      commit: Effect.map(attempt("Commit", () => writer.close()), () => {
        committed = true;
        return { bytes };
      }),
    };
  }),
});

/** Compresses on the way to another output, with the runtime's own `CompressionStream`. */
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import { type OpenSink, type Sink, SinkError } from "./Sink.ts";

/**
 * The same output, gzip-compressed. Both runtimes compress on a thread of their own.
 *
 * Memory: a few chunks.
 */
export const make = (inner: Sink): Sink => ({
  name: inner.name,
  open: Effect.gen(function* () {
    const sink = yield* inner.open;
    const gzip = new CompressionStream("gzip");
    const writer = gzip.writable.getWriter();
    const reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> = gzip.readable.getReader();
    const errorFrom = (cause: unknown) =>
      cause instanceof SinkError ? cause : new SinkError({ reason: "Write", path: inner.name, cause });
    const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: errorFrom });
    // At most one write waits at a time.
    let failure: SinkError | undefined;
    let onFailure = (_: SinkError): void => {};
    const pump: Effect.Effect<void, SinkError> = Effect.flatMap(
      attempt(() => reader.read()),
      ({ done, value }) => done ? Effect.void : Effect.flatMap(sink.write(value), () => pump),
    );
    const fail = (error: SinkError) => Effect.sync(() => onFailure(failure = error));
    const pumping = yield* Effect.forkScoped(Effect.tapError(pump, fail));
    // Once the inner output fails nothing is read any more, and a write alone would wait for ever.
    const orFailing = (work: () => Promise<void>) =>
      attempt(() =>
        new Promise<void>((resolve, reject) => {
          if (failure !== undefined) return reject(failure);
          onFailure = reject;
          work().then(resolve, reject);
        })
      );
    // Not waited for: it may wait for the pump, and the pump for an output that takes no more.
    yield* Effect.addFinalizer(() => Effect.sync(() => void writer.abort().catch(() => undefined)));
    let hasEnded = false;
    const end = Effect.suspend(() =>
      hasEnded ? Effect.void : Effect.zipRight(orFailing(() => writer.close()), Fiber.join(pumping)).pipe(
        Effect.map(() => void (hasEnded = true)),
      )
    );
    return {
      ...(sink.prepare && { prepare: Effect.zipRight(end, sink.prepare) }),
      write: (bytes) => orFailing(() => writer.ready.then(() => writer.write(bytes))),
      commit: Effect.zipRight(end, sink.commit),
    } satisfies OpenSink;
  }),
});

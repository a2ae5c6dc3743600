/** The other way round: an export as a stream that someone reads, at the pace at which they do. */
import type { Sink } from "./Sink.ts";
import * as WebSink from "./WebSink.ts";

export type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>;

/**
 * Streams what `work` writes to the output it is given. It errors, and never just ends, when the work fails; cancelling it
 * aborts the signal. Nothing is read ahead. `taken` is done when the output is complete and its reader has come back for
 * more than that: work that waits for it can still fail while the last bytes are on their way.
 */
export const make = (
  name: string,
  work: (output: Sink, signal: AbortSignal, taken: Promise<void>) => Promise<unknown>,
): Bytes => {
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
  const reader = readable.getReader();
  const cancelled = new AbortController();
  let take = () => {};
  const taken = new Promise<void>((resolve) => (take = resolve));
  const done = work(WebSink.make(name, writable), cancelled.signal, taken);
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    // The work may fail before it has opened its output: only its promise tells every failure.
    start: (controller) => void done.catch((error) => controller.error(error)),
    pull: async (controller) => {
      // The error that the other side aborts with is a consequence; the work knows the cause.
      const next = await reader.read().catch(() => undefined);
      if (next?.done === false) return controller.enqueue(next.value);
      take();
      await done;
      controller.close();
    },
    cancel: (reason) => cancelled.abort(reason),
  }, { highWaterMark: 0 });
};

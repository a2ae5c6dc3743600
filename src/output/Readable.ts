/**
 * The other way round: an export as a stream that someone reads, at the pace at which they do.
 *
 * @module
 */
import type { Output } from "./Output.ts";
import * as Web from "./Web.ts";

/** Bytes for a reader. */
export type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>;

/**
 * What `work` writes to the output it is given. The stream errors, and never just ends, when the work fails; cancelling it
 * aborts the signal. Nothing is read ahead.
 */
export const make = (
  name: string,
  work: (output: Output, signal: AbortSignal) => Promise<unknown>,
): Bytes => {
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
  const reader = readable.getReader();
  const cancelled = new AbortController();
  const done = work(Web.make(name, writable), cancelled.signal);
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    // The work may fail before it has opened its output: only its promise tells every failure.
    start: (controller) => void done.catch((error) => controller.error(error)),
    pull: async (controller) => {
      // The error that the other side aborts with is a consequence; the work knows the cause.
      const next = await reader.read().catch(() => undefined);
      if (next?.done === false) return controller.enqueue(next.value);
      await done;
      controller.close();
    },
    cancel: (reason) => cancelled.abort(reason),
  }, { highWaterMark: 0 });
};

/**
 * Bodies that wait for their reader for a limited time. When a reader stops reading, what was meant for it is dropped.
 *
 * @module
 */

/** A reader has stopped reading. */
export class Unread extends Error {}

/** Bytes leave in pieces no larger than this, so that a reader who is slow is told from one who has stopped. */
const PIECE = 1 << 16;

/** Give bytes piece by piece. Each of several is a copy: one that waits to be sent must not hold them all. */
export function* pieces(bytes: Uint8Array<ArrayBuffer>): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < bytes.length; at += PIECE) {
    yield bytes.length <= PIECE ? bytes : bytes.slice(at, at + PIECE);
  }
}

/** Give bytes as a body, which lets go of them when it is cancelled. */
export const streamOf = (bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const left = pieces(bytes);
  return new ReadableStream({
    pull: (controller) => {
      const { done, value } = left.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  }, { highWaterMark: 0 });
};

/**
 * Give the same body, but end it with an error once its reader has taken nothing for so many seconds. The time that the body
 * takes to make a piece does not count.
 */
export const withIdleTimeout = (
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  seconds: number,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const source = body.getReader();
  let left: Iterator<Uint8Array<ArrayBuffer>> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: async (controller) => {
      clearTimeout(timer);
      let piece = left?.next();
      while (piece === undefined || piece.done) {
        const next = await source.read();
        if (next.done) return controller.close();
        left = pieces(next.value);
        piece = left.next();
      }
      controller.enqueue(piece.value);
      timer = setTimeout(() => {
        const why = new Unread(`its reader has read nothing for ${seconds} s`);
        controller.error(why);
        source.cancel(why).catch(() => {});
      }, seconds * 1000);
    },
    cancel: (reason) => {
      clearTimeout(timer);
      return source.cancel(reason);
    },
  }, { highWaterMark: 0 });
};

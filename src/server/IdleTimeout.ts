/**
 * Bodies that wait for their reader for a limited time. When a reader stops reading, what was meant for it is dropped.
 *
 * @module
 */

/** Why the server breaks a body off: its reader has stopped reading, or the server itself stops. */
export class BrokenOff extends Error {
  readonly _tag: "Unread" | "Stopped";
  constructor(tag: "Unread" | "Stopped") {
    super();
    this._tag = tag;
  }
}

/**
 * The error of a body that is broken off. It says nothing of why, which may name people: the log does. Deno (2.9.6) prints
 * such errors, so of this one it prints an empty line.
 */
class Aborted extends Error {
  override readonly name = "Aborted";
  [Symbol.for("Deno.customInspect")](): string {
    return "";
  }
}

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

/** Is told once how a body ended, after so many bytes; `error` says why it was broken off. */
export type OnEnd = (ended: "done" | "client_closed" | "aborted", bytes: number, error?: unknown) => void;

/**
 * Give the same body, but end it with an error once its reader has taken nothing for so many seconds. The time that the body
 * takes to make a piece does not count. `length` is how many bytes it will be, if the answer tells. While it is `open`, a call of
 * what it puts there breaks it off.
 */
export const withIdleTimeout = (
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  { seconds, length, open, onEnd }: {
    readonly seconds: number;
    readonly open: Set<() => void>;
    readonly length?: number | undefined;
    readonly onEnd: OnEnd;
  },
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  let bytes = 0;
  const source = body.getReader();
  let left: Iterator<Uint8Array<ArrayBuffer>> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stop = () => {};
  const end = (ended: Parameters<OnEnd>[0], error?: unknown) => {
    clearTimeout(timer);
    if (open.delete(stop)) onEnd(ended, bytes, error);
  };
  const breakOff = (controller: ReadableStreamDefaultController, tag: BrokenOff["_tag"]) => {
    const why = new BrokenOff(tag);
    end("aborted", why);
    controller.error(new Aborted());
    source.cancel(why).catch(() => {});
  };
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: (controller) => {
      stop = () => breakOff(controller, "Stopped");
      open.add(stop);
    },
    pull: async (controller) => {
      clearTimeout(timer);
      let piece = left?.next();
      while (piece === undefined || piece.done) {
        const next = await source.read().catch((error) => {
          end("aborted", error);
          throw new Aborted();
        });
        if (next.done) {
          end("done");
          return controller.close();
        }
        left = pieces(next.value);
        piece = left.next();
      }
      controller.enqueue(piece.value);
      bytes += piece.value.length;
      timer = setTimeout(() => breakOff(controller, "Unread"), seconds * 1000);
    },
    cancel: (reason) => {
      // Where the length was told, a server may leave with the last byte, and not come back for the end.
      end(bytes === length ? "done" : "client_closed");
      return source.cancel(reason);
    },
  }, { highWaterMark: 0 });
};

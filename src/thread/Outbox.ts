/**
 * The bytes of an export on their way to the caller: gathered, transferred, and held back once too many are under way.
 */
import * as Effect from "effect/Effect";
import type { Sink } from "../sink/Sink.ts";

/** Small writes are gathered up to this many bytes, so that a message is worth its while. */
const GATHER = 1 << 18;

/** The bytes of one export on their way out of the thread. */
export type Outbox = ReturnType<typeof make>;

/** A buffer of its own: one that is shared with other bytes can't be transferred. */
const owned = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
  bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();

/**
 * Makes an outbox that sends through `post`. At most `windowBytes` are under way and not acknowledged, or one message if
 * that is larger: a write waits until there is room, and with it the walk.
 *
 * Memory: `windowBytes`, and 256 KiB for each output.
 */
export const make = (
  windowBytes: number,
  post: (output: number, chunks: ReadonlyArray<Uint8Array>) => Effect.Effect<unknown>,
) => {
  const credits = Effect.unsafeMakeSemaphore(windowBytes);
  const flushes: Array<Effect.Effect<void>> = [];

  /** An output that the caller knows by this number. Its bytes are transferred: nothing may keep them. */
  const output = (index: number, name: string): Sink => ({
    name,
    open: Effect.sync(() => {
      let [gathered, gatheredBytes]: [Array<Uint8Array>, number] = [[], 0];
      let total = 0;
      // One at a time, for messages must not overtake each other while they wait for room.
      const turn = Effect.unsafeMakeSemaphore(1);
      const flush = turn.withPermits(1)(Effect.suspend(() => {
        if (gatheredBytes === 0) return Effect.void;
        const [chunks, bytes] = [gathered, gatheredBytes];
        [gathered, gatheredBytes] = [[], 0];
        return Effect.zipRight(credits.take(Math.min(bytes, windowBytes)), post(index, chunks));
      }));
      flushes.push(Effect.asVoid(flush));
      return {
        write: (bytes) =>
          Effect.suspend(() => {
            gathered.push(owned(bytes));
            gatheredBytes += bytes.length;
            total += bytes.length;
            return gatheredBytes >= GATHER ? flush : Effect.void;
          }),
        commit: Effect.suspend(() => Effect.as(flush, { bytes: total })),
      };
    }),
  });

  return {
    output,
    /** Sends what has been gathered. */
    flush: Effect.suspend(() => Effect.all(flushes, { concurrency: "unbounded", discard: true })),
    /** The caller has taken over so many bytes. */
    acknowledge: (bytes: number): Effect.Effect<void> =>
      Effect.asVoid(credits.release(Math.min(bytes, windowBytes))),
  };
};

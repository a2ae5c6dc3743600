/**
 * Marks in a file, a line for each that is saved.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Schema from "effect/Schema";
import * as KeyedFile from "../sink/KeyedFile.ts";
import { Mark } from "../source/incremental/Changes.ts";
import { CursorStore, CursorStoreError } from "../source/incremental/CursorStore.ts";
import * as Cursors from "./Cursors.ts";

const isMark = Schema.is(Mark);

const codec: KeyedFile.Codec = {
  lineOf: Cursors.lineOf,
  read: (line) => {
    const { userId, mark } = Cursors.read(line);
    return [userId, mark];
  },
};

/**
 * Keeps marks in this file. A killed process loses none that was saved. A machine that loses power may lose those of the
 * last second: older ones deliver again, and lose nothing. For one process at a time.
 *
 * Memory: about 300 bytes a user.
 */
export const layer = (path: string): Layer.Layer<CursorStore, CursorStoreError> => {
  const failed = (cause: unknown) =>
    cause instanceof KeyedFile.DamagedLine
      ? new CursorStoreError({
        message:
          `${path} is damaged: line ${cause.line} is no mark. Restore it from a backup, or remove it to begin anew`,
      })
      : new CursorStoreError({ message: `Cannot keep marks in ${path}: ${(cause as Error).message}`, cause });
  const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: failed });
  return Layer.scoped(
    CursorStore,
    Effect.map(
      Effect.acquireRelease(
        attempt(() => KeyedFile.open(path, codec)),
        (file) => Effect.promise(() => file.close()),
      ),
      ({ get, set }) => ({
        load: (userId) =>
          Effect.sync(() => {
            const mark = get(userId);
            return mark === undefined ? undefined : JSON.parse(mark);
          }),
        save: (userId, mark) =>
          Effect.uninterruptible(attempt(async () => {
            if (!isMark(mark)) throw new Error("it is no mark of a walk");
            await set(userId, JSON.stringify(mark));
          })),
      }),
    ),
  );
};

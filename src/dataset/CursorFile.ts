/**
 * Cursors in a file, a line for each that is saved.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Schema from "effect/Schema";
import * as KeyedFile from "../sink/KeyedFile.ts";
import { Cursor } from "../source/incremental/Changes.ts";
import { CursorStore, CursorStoreError } from "../source/incremental/CursorStore.ts";
import * as Cursors from "./Cursors.ts";
import { manifestVersion } from "./Manifest.ts";

const isCursor = Schema.is(Cursor);

const codec: KeyedFile.Codec = {
  lineOf: (userId, cursor) => Cursors.lineOf(userId, cursor, manifestVersion),
  read: (line) => {
    const { userId, cursor } = Cursors.read(line);
    return [userId, cursor];
  },
};

/**
 * Keeps cursors in this file. A killed process loses none that was saved. A machine that loses power may lose those of the
 * last second: older ones deliver again, and lose nothing. For one process at a time.
 *
 * Memory: about 300 bytes a user.
 */
export const layer = (path: string): Layer.Layer<CursorStore, CursorStoreError> => {
  const failed = (cause: unknown) =>
    cause instanceof KeyedFile.DamagedLine
      ? new CursorStoreError({
        message:
          `${path} is damaged: line ${cause.line} is no cursor. Restore it from a backup, or remove it to begin anew`,
      })
      : new CursorStoreError({
        message: `Cannot keep cursors in ${path}: ${(cause as Error).message}`,
        cause,
      });
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
            const cursor = get(userId);
            return cursor === undefined ? undefined : JSON.parse(cursor);
          }),
        save: (userId, cursor) =>
          Effect.uninterruptible(attempt(async () => {
            if (!isCursor(cursor)) throw new Error("it is no cursor of a walk");
            await set(userId, JSON.stringify(cursor));
          })),
      }),
    ),
  );
};

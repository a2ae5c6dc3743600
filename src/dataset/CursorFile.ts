/**
 * Cursors in a file: a line is added for each that is saved, and the file is written anew when most of its lines are old.
 *
 * @module
 */
import { open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Schema from "effect/Schema";
import { Cursor } from "../source/incremental/Changes.ts";
import { CursorStore, CursorStoreError } from "../source/incremental/CursorStore.ts";
import * as Layout from "./Layout.ts";
import * as Cursors from "./Cursors.ts";
import * as SafeFile from "../sink/SafeFile.ts";

const isCursor = Schema.is(Cursor);

/** No text of Node's is longer. */
const MOST = 2 ** 29 - 25;

/** The text of the file that someone names, which may be a link; nothing if there is none. */
const textOf = (path: string): Promise<string> =>
  SafeFile.textOf(dirname(path), basename(path), { most: MOST, mayBeLink: true }).catch((error) => {
    if ((error as { readonly code?: unknown }).code === "ENOENT") return "";
    throw error;
  });

/** The cursors in the text; what follows the last whole line was being written when the process died. */
const read = (path: string, text: string): { readonly cursors: Cursors.ByUser; readonly lines: number } => {
  const cursors: Cursors.ByUser = new Map();
  let lines = 0;
  for (let at = 0, end; (end = text.indexOf("\n", at)) !== -1; at = end + 1) {
    lines++;
    try {
      const { userId, cursor } = Cursors.read(text.slice(at, end));
      cursors.set(userId, cursor);
    } catch {
      throw new CursorStoreError({
        message:
          `${path} is damaged: line ${lines} is no cursor. Restore it from a backup, or remove it to begin anew`,
      });
    }
  }
  return { cursors, lines };
};

/**
 * Keeps cursors in this file, each on the disk once it is saved. For one process at a time.
 *
 * Memory: about 300 bytes a user.
 */
export const layer = (path: string): Layer.Layer<CursorStore, CursorStoreError> => {
  const failed = (cause: unknown) =>
    cause instanceof CursorStoreError ? cause : new CursorStoreError({
      message: `Cannot keep cursors in ${path}: ${(cause as Error).message}`,
      cause,
    });
  return Layer.scoped(
    CursorStore,
    Effect.gen(function* () {
      const text = yield* Effect.tryPromise({ try: () => textOf(path), catch: failed });
      const { cursors, lines } = yield* Effect.try({ try: () => read(path, text), catch: failed });
      if (!text.endsWith("\n") || lines > 2 * cursors.size + 1000) {
        yield* Layout.replace(
          dirname(path),
          basename(path),
          [...cursors].map(([userId, cursor]) => Cursors.lineOf(userId, cursor, 2)).join(""),
        );
      }
      const handle = yield* Effect.acquireRelease(
        Effect.tryPromise({ try: () => open(path, "a"), catch: failed }),
        (handle) => Effect.promise(() => handle.close()),
      );
      const turn = yield* Effect.makeSemaphore(1);
      let length = yield* Effect.tryPromise({
        try: () => handle.stat().then(({ size }) => size),
        catch: failed,
      });
      return {
        load: (userId) =>
          Effect.sync(() => {
            const cursor = cursors.get(userId);
            return cursor === undefined ? undefined : JSON.parse(cursor);
          }),
        save: (userId, value) =>
          turn.withPermits(1)(Effect.uninterruptible(Effect.tryPromise({
            try: async () => {
              if (!isCursor(value)) throw new Error("it is no cursor of a walk");
              const cursor = JSON.stringify(value);
              if (cursors.get(userId) === cursor) return;
              const line = Buffer.from(Cursors.lineOf(userId, cursor, 2));
              // Half a line that was left by a write that failed must not stand before this one.
              await handle.truncate(length);
              await handle.appendFile(line);
              await SafeFile.datasync(handle);
              length += line.length;
              cursors.set(userId, cursor);
            },
            catch: failed,
          }))),
      };
    }),
  ).pipe(Layer.catchAll((error) => Layer.fail(failed(error))));
};

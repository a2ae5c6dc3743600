/**
 * Marks in a file: a line is added for each that is saved, and the file is written anew when most of its lines are old.
 *
 * @module
 */
import { open } from "node:fs/promises";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Schema from "effect/Schema";
import { Mark } from "../walk/Changes.ts";
import { StateStore, StateStoreError } from "../walk/StateStore.ts";
import * as Folder from "./Folder.ts";
import * as Lines from "./Lines.ts";
import * as Marks from "./Marks.ts";

const isMark = Schema.is(Mark);

/** The marks in the text; what follows the last whole line was being written when the process died. */
const read = (path: string, text: string): { readonly marks: Marks.Marks; readonly lines: number } => {
  const lines = Lines.whole(text);
  const marks: Marks.Marks = new Map();
  for (const [index, line] of lines.entries()) {
    try {
      const { userId, mark } = Marks.read(line);
      marks.set(userId, mark);
    } catch {
      throw new StateStoreError({
        message: `${path} is damaged: line ${
          index + 1
        } is no mark. Restore it from a backup, or remove it to begin anew`,
      });
    }
  }
  return { marks, lines: lines.length };
};

/**
 * Keeps marks in this file, each on the disk once it is saved. For one process at a time.
 *
 * Memory: about 300 bytes a user.
 */
export const layer = (path: string): Layer.Layer<StateStore, StateStoreError> => {
  const failed = (cause: unknown) =>
    cause instanceof StateStoreError
      ? cause
      : new StateStoreError({ message: `Cannot keep marks in ${path}: ${(cause as Error).message}`, cause });
  return Layer.scoped(
    StateStore,
    Effect.gen(function* () {
      const text = (yield* Folder.textOf(path)) ?? "";
      const { marks, lines } = yield* Effect.try({ try: () => read(path, text), catch: failed });
      if (!text.endsWith("\n") || lines > 2 * marks.size + 1000) {
        yield* Folder.replace(path, [...marks].map(([userId, mark]) => Marks.lineOf(userId, mark)).join(""));
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
            const mark = marks.get(userId);
            return mark === undefined ? undefined : JSON.parse(mark);
          }),
        save: (userId, value) =>
          turn.withPermits(1)(Effect.uninterruptible(Effect.tryPromise({
            try: async () => {
              if (!isMark(value)) throw new Error("it is no mark of a walk");
              const mark = JSON.stringify(value);
              if (marks.get(userId) === mark) return;
              const line = Buffer.from(Marks.lineOf(userId, mark));
              // Half a line that was left by a write that failed must not stand before this one.
              await handle.truncate(length);
              await handle.appendFile(line);
              await handle.datasync();
              length += line.length;
              marks.set(userId, mark);
            },
            catch: failed,
          }))),
      };
    }),
  ).pipe(Layer.catchAll((error) => Layer.fail(failed(error))));
};

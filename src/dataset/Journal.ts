/**
 * The journal of an unfinished run. A line that is in it is on the disk, and so is all it speaks of; a line that was being
 * written when the process died is as if it had never been.
 *
 * @module
 */
import { open, truncate } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { OutputError } from "../output/Output.ts";
import { type DatasetError, names, replace, textOf } from "./Folder.ts";
import { Cut, decode, Header } from "./Manifest.ts";

/** What a journal says. */
export interface Journal {
  readonly header: Header;
  readonly cuts: ReadonlyArray<Cut>;
}

const isWhole = (line: string): boolean => {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
};

/** Begins a journal. */
export const begin = (root: string, header: Header): Effect.Effect<void, OutputError> =>
  replace(join(root, names.journal), `${JSON.stringify(header)}\n`);

/** Reads the journal; undefined if there is none. */
export const read = (root: string): Effect.Effect<Journal | undefined, DatasetError | OutputError> =>
  Effect.gen(function* () {
    const path = join(root, names.journal);
    const text = yield* textOf(path);
    if (text === undefined) return undefined;
    const { lines } = linesOf(text);
    const [first, ...others] = lines;
    const header = yield* decode(Header, path, first ?? "");
    const cuts = yield* Effect.forEach(others, (line) => decode(Cut, path, line));
    return { header, cuts };
  });

/** The whole lines, and how many bytes they take. What follows the last whole line was being written. */
const linesOf = (text: string): { readonly lines: ReadonlyArray<string>; readonly bytes: number } => {
  const lines = text.split("\n");
  lines.pop(); // what follows the last line break
  if (lines.length > 1 && !isWhole(lines.at(-1)!)) lines.pop();
  return { lines, bytes: Buffer.byteLength(lines.map((line) => `${line}\n`).join("")) };
};

/** Opens the journal to add to it: each line given is on the disk when the effect ends. */
export const append = (
  root: string,
): Effect.Effect<(cut: Cut) => Effect.Effect<void, OutputError>, OutputError, Scope.Scope> => {
  const path = join(root, names.journal);
  const attempt = <A>(reason: OutputError["reason"], work: () => Promise<A>) =>
    Effect.uninterruptible(
      Effect.tryPromise({ try: work, catch: (cause) => new OutputError({ reason, path, cause }) }),
    );
  return Effect.gen(function* () {
    const { bytes } = linesOf((yield* textOf(path)) ?? "");
    yield* attempt("Open", () => truncate(path, bytes));
    const handle = yield* Effect.acquireRelease(
      attempt("Open", () => open(path, "a")),
      (handle) => Effect.promise(() => handle.close()),
    );
    let length = bytes;
    return (cut) =>
      attempt("Write", async () => {
        const line = Buffer.from(`${JSON.stringify(cut)}\n`);
        try {
          await handle.appendFile(line);
          await handle.sync();
          length += line.length;
        } catch (error) {
          // Half a line must not stand before the next one.
          await handle.truncate(length).catch(() => undefined);
          throw error;
        }
      });
  });
};

/**
 * The journal of an unfinished run. A line that is in it is on the disk, and so is all it speaks of; a line that was being
 * written when the process died is as if it had never been.
 *
 * **Numbers of parts.** Before any part gets its name, a line says that its number is taken: the header for the first parts,
 * each further line for those after it. Whoever goes on with a run takes the next number, and says so by writing the journal
 * anew, before he removes or writes anything else. So a part's name is never used twice, whatever was killed or stopped.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { constants, link, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { OutputError } from "../output/Output.ts";
import { type DatasetError, isMoved, names, namesIn, type Proof, replace, textOf } from "./Folder.ts";
import * as Lines from "./Lines.ts";
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

const attempt = <A>(reason: OutputError["reason"], path: string, work: () => Promise<A>) =>
  Effect.uninterruptible(
    Effect.tryPromise({ try: work, catch: (cause) => new OutputError({ reason, path, cause }) }),
  );

/**
 * Write a journal in place of what is there. It is a new file, so that what a writer before adds to the old one is added to
 * nothing.
 */
export const write = (
  root: string,
  { header, cuts }: Journal,
  prove: Proof,
): Effect.Effect<void, OutputError> =>
  replace(
    join(root, names.journal),
    [header, ...cuts].map((line) => `${JSON.stringify(line)}\n`).join(""),
    prove,
  );

/** Read the journal; undefined if there is none. */
export const read = (root: string): Effect.Effect<Journal | undefined, DatasetError | OutputError> =>
  Effect.gen(function* () {
    const path = join(root, names.journal);
    const text = yield* textOf(path);
    if (text === undefined) return undefined;
    const [first, ...others] = Lines.whole(text);
    const header = yield* decode(Header, path, first ?? "");
    // A line may be without its end, and yet be followed by a break.
    if (others.length > 0 && !isWhole(others.at(-1)!)) others.pop();
    const cuts = yield* Effect.forEach(others, (line) => decode(Cut, path, line));
    return { header, cuts };
  });

/** Open the journal that this process has written, to add to it: each line given is on the disk when the effect ends. */
export const append = (
  root: string,
  prove: Proof,
): Effect.Effect<(cut: Cut) => Effect.Effect<void, OutputError>, OutputError, Scope.Scope> => {
  const path = join(root, names.journal);
  return Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      // Not "a", which would make one where another writer has removed it meanwhile.
      attempt("Open", path, () => open(path, constants.O_WRONLY | constants.O_APPEND)),
      // Each line was flushed when it was written: there is nothing that closing could lose.
      (handle) => Effect.promise(() => handle.close().catch(() => undefined)),
    );
    let { size: length } = yield* attempt("Open", path, () => handle.stat());
    return (cut) =>
      attempt("Write", path, async () => {
        const line = Buffer.from(`${JSON.stringify(cut)}\n`);
        await prove();
        try {
          await handle.appendFile(line);
          await handle.sync();
          length += line.length;
        } catch (error) {
          // Half a line must not stand before the next one. If it stays, it is the last: the run ends with this error, and
          // whoever goes on leaves it out.
          await handle.truncate(length).catch(() => undefined);
          throw error;
        }
      });
  });
};

/**
 * Remove the journal of a run that is over. Its name is used again, so it is moved away first and looked at: that of another
 * writer, who has taken over in this very moment, is put back.
 */
export const remove = (root: string, { header }: Journal, prove: Proof): Effect.Effect<void, OutputError> => {
  const path = join(root, names.journal);
  return attempt("Write", path, async () => {
    const moved = `${path}.${randomUUID().slice(0, 8)}.moved`;
    await prove();
    const isMissing = await rename(path, moved).then(() => false, (error) => {
      if ((error as { readonly code?: unknown }).code === "ENOENT") return true;
      throw error;
    });
    if (isMissing) return;
    const [first = ""] = Lines.whole(await readFile(moved, "utf8"));
    if (isWhole(first) && !isSame(JSON.parse(first), header)) await putBack(moved, path);
    await rm(moved, { force: true });
  });
};

/** Tell whether two headers are of one run and of one writer: whoever goes on with a run takes another number. */
const isSame = (one: Header, other: Header): boolean =>
  one.run === other.run && one.began === other.began && one.claims === other.claims;

/** Give a journal its name again, unless there is another one by now. */
const putBack = (moved: string, path: string): Promise<void> =>
  link(moved, path).catch((error) => {
    if ((error as { readonly code?: unknown }).code !== "EEXIST") throw error;
  });

/** Put back a journal that was moved away by a process that died before it could look at it. */
export const recover = (root: string, prove: Proof): Effect.Effect<void, OutputError> =>
  Effect.gen(function* () {
    const path = join(root, names.journal);
    for (const name of (yield* namesIn(root)).filter(isMoved)) {
      yield* attempt("Write", path, async () => {
        await prove();
        await putBack(join(root, name), path);
        await rm(join(root, name), { force: true });
      });
    }
  });

/**
 * The journal of an unfinished run. A line that is in it is on the disk, and so is all it speaks of; a line that was being
 * written when the process died is as if it had never been.
 *
 * **Numbers of parts.** Before any part gets its name, a line says that its number is taken: the header for the first parts,
 * each further line for those after it. Whoever goes on with a run takes the next number, and says so by writing the journal
 * anew, before he removes or writes anything else. So a part's name is never used twice, whatever was killed or stopped.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { link, rename } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { SinkError } from "../sink/Sink.ts";
import { attempt, damaged, type DatasetError, failure } from "./DatasetError.ts";
import { isMoved, most, names, namesIn, type Proof, replace } from "./Layout.ts";
import * as Lines from "../format/Lines.ts";
import { type Checkpoint, decode, type Header, lineOf } from "./Manifest.ts";
import * as SafeFile from "../sink/SafeFile.ts";

export interface Journal {
  readonly header: Header;
  readonly checkpoints: ReadonlyArray<Checkpoint>;
}

const isWhole = (line: string): boolean => {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
};

/**
 * Write a journal in place of what is there. It is a new file, so that what a writer before adds to the old one is added to
 * nothing.
 */
export const write = (
  root: string,
  { header, checkpoints }: Journal,
  prove: Proof,
): Effect.Effect<void, SinkError | DatasetError> =>
  replace(
    root,
    names.journal,
    lineOf("Header", header, header.journal_version) +
      checkpoints.map((line) => lineOf("Checkpoint", line, header.journal_version)).join(""),
    prove,
  );

async function* linesOf(
  root: string,
  name: string,
): AsyncGenerator<readonly [line: string, isLast: boolean]> {
  const path = join(root, name);
  let before: string | undefined;
  try {
    const chunks = SafeFile.chunks(root, name, { most: most.journal });
    for await (const lines of Lines.of(chunks, { areWhole: true })) {
      for (const line of lines) {
        if (before !== undefined) yield [before, false];
        before = line;
      }
    }
  } catch (error) {
    throw error instanceof RangeError ? damaged(path, error.message) : error;
  }
  if (before !== undefined) yield [before, true];
}

export const read = (root: string): Effect.Effect<Journal | undefined, DatasetError | SinkError> => {
  const path = join(root, names.journal);
  // It may be long: whoever interrupts does not wait for it.
  return Effect.tryPromise({
    try: async () => {
      let header: Header | undefined;
      const checkpoints: Array<Checkpoint> = [];
      try {
        for await (const [line, isLast] of linesOf(root, names.journal)) {
          if (header === undefined) header = decode("Header", path, line);
          // A line may be without its end, and yet be followed by a break.
          else if (!isLast || isWhole(line)) {
            checkpoints.push(decode("Checkpoint", path, line, header.journal_version));
          }
        }
      } catch (error) {
        if (SafeFile.isMissing(error)) return undefined;
        throw error;
      }
      return { header: header ?? decode("Header", path, ""), checkpoints };
    },
    catch: failure("Open", path),
  });
};

/** Open the journal that this process has written, to add to it: each line given is on the disk when the effect ends. */
export const append = (
  root: string,
  { journal_version }: Header,
  prove: Proof,
): Effect.Effect<
  (checkpoint: Checkpoint) => Effect.Effect<void, SinkError | DatasetError>,
  SinkError | DatasetError,
  Scope.Scope
> => {
  const path = join(root, names.journal);
  const flags = constants.O_WRONLY | constants.O_APPEND;
  return Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      // Not "a", which would make one where another writer has removed it meanwhile.
      attempt("Open", path, () => SafeFile.open(root, names.journal, { flags })),
      // Each line was flushed when it was written: there is nothing that closing could lose.
      (handle) => Effect.promise(() => handle.close().catch(() => undefined)),
    );
    let { size: length } = yield* attempt("Open", path, () => handle.stat());
    return (checkpoint) =>
      attempt("Write", path, async () => {
        const line = Buffer.from(lineOf("Checkpoint", checkpoint, journal_version));
        // What nobody could read any more must not be what tells of all the parts before.
        if (line.length > Lines.LONGEST || length + line.length > most.journal) {
          throw new Error(
            `a line of ${line.length} bytes after ${length} is more than may be read: export fewer users into one folder`,
          );
        }
        await prove();
        try {
          await handle.appendFile(line);
          await SafeFile.sync(handle);
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
export const remove = (root: string, { header }: Journal, prove: Proof) =>
  attempt("Write", join(root, names.journal), async () => {
    const moved = `${names.journal}.${randomUUID().slice(0, 8)}.moved`;
    await prove();
    const isMissing = await rename(join(root, names.journal), join(root, moved)).then(
      () => false,
      (error) => {
        if (SafeFile.isMissing(error)) return true;
        throw error;
      },
    );
    if (isMissing) return;
    for await (const [first] of linesOf(root, moved)) {
      if (isWhole(first) && !isSame(Object(JSON.parse(first)), header)) await putBack(root, moved);
      break;
    }
    await SafeFile.remove(root, moved);
  });

/** Tell whether two headers are of one run and of one writer: whoever goes on with a run takes another number. */
const isSame = (one: Header, other: Header): boolean =>
  one.run === other.run && one.began === other.began && one.claims === other.claims;

/** Give a journal its name again, unless there is another one by now. */
const putBack = (root: string, moved: string): Promise<void> =>
  link(join(root, moved), join(root, names.journal)).catch((error) => {
    if (SafeFile.codeOf(error) !== "EEXIST") throw error;
  });

/** Put back a journal that was moved away by a process that died before it could look at it. */
export const recover = (root: string, prove: Proof) =>
  Effect.gen(function* () {
    for (const name of (yield* namesIn(root, "", isMoved)).filter(isMoved)) {
      yield* attempt("Write", join(root, names.journal), async () => {
        await prove();
        await putBack(root, name);
        await SafeFile.remove(root, name);
      });
    }
  });

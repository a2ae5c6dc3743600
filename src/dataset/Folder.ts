/**
 * What lies where in a dataset's folder, and how its files are read, written and removed.
 *
 * ```
 * out/
 *   manifest.json              the finished runs and their parts; replaced by rename when a run ends
 *   journal.ndjson             the unfinished run: what it was asked, then a line for each cut
 *   users.txt                  the users of the unfinished run, one a line
 *   lock.json                  who is writing
 *   ndjson/part-00000.ndjson   the parts; of every format those of one number hold the same rows
 *   csv/part-00000.csv
 *   parquet/part-00000.parquet
 *   rejected/part-00000.ndjson rows that are not sessions, of the parts that met any
 *   removed/part-00000.ndjson  which sessions of earlier parts the tenant lists no more
 *   state/part-00000.ndjson    what the next run has to know to tell what has changed
 *   seen/part-00000.ndjson     the ids that the unfinished run came upon, to tell what was removed
 * ```
 *
 * @module
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as File from "../output/File.ts";
import { type Output, OutputError } from "../output/Output.ts";

/** A dataset can't be written, gone on with, or read as it is. Nothing in its folder was changed. */
export class DatasetError extends Data.TaggedError("DatasetError")<{
  /**
   * `Occupied`: the folder holds a run, or something else. `Locked`: another process writes there. `Options`: it was begun
   * with others. `Corrupt`: a file of it is not as it was written. `Version`: a newer version of this program wrote it.
   * `Absent`: there is none.
   */
  readonly reason: "Occupied" | "Locked" | "Options" | "Corrupt" | "Version" | "Absent";
  readonly path: string;
  readonly message: string;
}> {}

/** The names of the files beside the parts. */
export const names = {
  manifest: "manifest.json",
  journal: "journal.ndjson",
  users: "users.txt",
  lock: "lock.json",
} as const;

/** The folders of parts. */
export const partFolders = ["ndjson", "csv", "parquet", "rejected", "removed", "state", "seen"] as const;

const attempt = <A>(reason: OutputError["reason"], path: string, work: () => Promise<A>) =>
  Effect.tryPromise({ try: work, catch: (cause) => new OutputError({ reason, path, cause }) });

const isMissing = (error: unknown): boolean => (error as { readonly code?: unknown }).code === "ENOENT";

/** Create a folder, and those it lies in, if need be. What is new is on the disk when the effect ends. */
export const makeFolder = (path: string) =>
  attempt("Open", path, async () => {
    const first = await mkdir(path, { recursive: true });
    if (first === undefined) return;
    // Each folder that was made is an entry of the one above it.
    for (let made = resolve(path); made.length >= resolve(first).length; made = dirname(made)) {
      await File.syncFolder(dirname(made));
    }
  });

/** The names in a folder; none if there is no such folder. */
export const namesIn = (path: string): Effect.Effect<ReadonlyArray<string>, OutputError> =>
  attempt("Open", path, () =>
    readdir(path).catch((error) => {
      if (isMissing(error)) return [];
      throw error;
    }));

/** The text of a file; undefined if there is none. */
export const textOf = (path: string): Effect.Effect<string | undefined, OutputError> =>
  attempt("Open", path, () =>
    readFile(path, "utf8").catch((error) => {
      if (isMissing(error)) return undefined;
      throw error;
    }));

/** Removes a file, if it is there. */
export const remove = (path: string) => attempt("Write", path, () => rm(path, { force: true }));

/** Puts a whole file in place of what has its name, in one step. */
export const replace = (path: string, text: string): Effect.Effect<void, OutputError> =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* File.make(path).open;
    yield* sink.write(new TextEncoder().encode(text));
    yield* sink.commit;
  }));

/** The path of a part in its dataset, with `/` on every system. */
export const partPath = (folder: string, number: number, extension: string): string =>
  `${folder}/part-${String(number).padStart(5, "0")}.${extension}`;

/** The number of the part with this name; undefined if it is no part's. */
export const partNumber = (name: string): number | undefined => {
  const found = /^part-(\d{5,})\.(ndjson|csv|parquet)(\.gz)?$/.exec(name);
  return found === null ? undefined : Number(found[1]);
};

/** A part that is about to be written. Its folder is made when it is opened. */
export const part = (root: string, path: string): Output => {
  const file = File.make(join(root, path));
  return { name: path, open: Effect.zipRight(makeFolder(join(root, path, "..")), file.open) };
};

/** The paths of all parts in the folder, whether anything speaks of them or not, and of partial files. */
export const partsIn = (root: string) =>
  Effect.gen(function* () {
    const parts: Array<{ readonly path: string; readonly number: number }> = [];
    const partials: Array<string> = [];
    for (const folder of partFolders) {
      for (const name of yield* namesIn(join(root, folder))) {
        const number = partNumber(name);
        if (number !== undefined) parts.push({ path: `${folder}/${name}`, number });
        else if (name.endsWith(".partial")) partials.push(`${folder}/${name}`);
      }
    }
    return { parts, partials };
  });

/** Names in the folder that are no part of a dataset. */
export const foreignIn = (root: string) =>
  Effect.gen(function* () {
    const known: ReadonlyArray<string> = [...Object.values(names), ...partFolders];
    const isOurs = (name: string) =>
      name.startsWith(".") ||
      known.includes(name) || isPartial(name) || name.startsWith(`${names.lock}.`);
    const foreign = (yield* namesIn(root)).filter((name) => !isOurs(name));
    for (const folder of partFolders) {
      for (const name of yield* namesIn(join(root, folder))) {
        if (partNumber(name) === undefined && !name.endsWith(".partial")) foreign.push(`${folder}/${name}`);
      }
    }
    return foreign;
  });

/** Whether it is a file that a killed process has left, of those beside the parts. */
export const isPartial = (name: string): boolean =>
  /^(manifest\.json|journal\.ndjson|users\.txt)\.[0-9a-f]{8}\.partial$/.test(name);

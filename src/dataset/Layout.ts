/**
 * Layout of a dataset's folder: its files are read, written and removed here.
 *
 * ```
 * out/
 *   manifest.json              the finished runs and their parts; replaced by rename when a run ends
 *   journal.ndjson             the unfinished run: what it was asked, then a line for each checkpoint
 *   users-1f3a5b7d.txt         the users of the unfinished run, one a line; each list has a name of its own
 *   lock.json                  who is writing
 *   ndjson/part-00000.ndjson   the parts; of every format those of one number hold the same rows
 *   csv/part-00000.csv
 *   parquet/part-00000.parquet
 *   quarantine/part-00000.ndjson  rows that are no sessions, of the parts that met any
 *   tombstones/part-00000.ndjson  which sessions of earlier parts the tenant lists no more
 *   cursors/part-00000.ndjson     what the next run has to know to tell what has changed
 *   observed/part-00000.ndjson    the ids that the unfinished run came upon, to tell what was removed
 *   shards/00002-1f3a5b7d/     the unfinished run, where many machines walk its users; its run and a random key
 *     0007/shard.json          what a shard was asked; beside it the list of its users and their cursors
 *     0007/1/                  an attempt at it, a small dataset without a manifest: journal.ndjson and parts
 * ```
 *
 * A dataset that 0.1 began keeps the names it has for the last four: `rejected`, `removed`, `state`, `seen`.
 */
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import * as Chunk from "effect/Chunk";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as Formats from "../format/Formats.ts";
import * as FileSink from "../sink/FileSink.ts";
import { type Sink, SinkError } from "../sink/Sink.ts";
import { attempt, type DatasetError } from "./DatasetError.ts";
import { lineFolders } from "./Shapes.ts";
import { shardKey } from "./ShardShapes.ts";
import * as SafeFile from "../sink/SafeFile.ts";

export { DatasetError } from "./DatasetError.ts";

/** Rejects unless the folder is still this process's to write to: see `Lease.ts`. */
export type Proof = () => Promise<void>;

/** The names of the files beside the parts. */
export const names = {
  manifest: "manifest.json",
  journal: "journal.ndjson",
  lock: "lock.json",
  shards: "shards",
  shard: "shard.json",
} as const;

/**
 * The most bytes that they may have; a line of the journal is no longer than {@link Lines.LONGEST}. A run into three formats
 * adds 4 kB to the manifest: one an hour comes to that in 7 years. No text of Node's is longer than twice as much.
 */
export const most = { manifest: 2 ** 28, journal: 2 ** 28, lock: 2 ** 16 } as const;

export const partFolders = (): ReadonlyArray<string> => [
  ...Formats.names(),
  ...lineFolders,
];

/**
 * Create a folder, and those it lies in, if need be, for nobody else to look into. What is new is on the disk when the effect
 * ends. The folder may be a link, as someone has named it.
 */
export const makeFolder = (path: string) =>
  attempt("Open", path, async () => {
    const first = await mkdir(path, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    // Each folder that was made is an entry of the one above it. Deno names `/` as the first if it may not look above.
    for (
      let made = resolve(path);
      made.length >= resolve(first).length && made !== dirname(made);
      made = dirname(made)
    ) {
      await FileSink.syncFolder(dirname(made));
    }
  });

export const namesIn = (root: string, folder = "", areFiles?: (name: string) => boolean) =>
  attempt("Open", join(root, folder), () => SafeFile.namesIn(root, folder, areFiles));

export const textOf = (root: string, name: string, most: number) =>
  attempt("Open", join(root, name), () =>
    SafeFile.textOf(root, name, { most }).catch((error) => {
      if (SafeFile.isMissing(error)) return undefined;
      throw error;
    }));

/** Remove files, each after a proof. Their names must have been known before it, and be used by nobody again. */
export const remove = (root: string, paths: ReadonlyArray<string>, prove: Proof) =>
  Effect.forEach(
    paths,
    (path) => attempt("Write", join(root, path), () => prove().then(() => SafeFile.remove(root, path))),
    { discard: true },
  );

/** Put a whole file in place of what has its name, in one step. */
export const replace = (
  root: string,
  path: string,
  text: string,
  prove?: Proof,
): Effect.Effect<void, SinkError | DatasetError> =>
  Effect.scoped(Effect.gen(function* () {
    const full = join(root, path);
    yield* attempt("Open", full, () => SafeFile.checkPlace(root, path));
    const sink = yield* FileSink.make(full, { prove }).open;
    yield* sink.write(new TextEncoder().encode(text));
    yield* sink.commit;
  }));

/** The path of a part in its dataset, with `/` on every system. */
export const partPath = (folder: string, number: number, extension: string): string =>
  `${folder}/part-${String(number).padStart(5, "0")}.${extension}`;

export const partNumber = (name: string): number | undefined => {
  const found = /^part-(\d{5,})\.([a-z0-9]+)(\.gz)?$/.exec(name);
  return found === null || !Formats.isExtension(found[2]!) ? undefined : Number(found[1]);
};

export const newUsersName = (): string => `users-${randomUUID().slice(0, 8)}.txt`;

/** Tell whether a file is a list of users by its name; version 0.1 had one name for all. */
export const isUsersName = (name: string): boolean => /^users(-[0-9a-f]{8})?\.txt$/.test(name);

/** A file of the dataset that is about to be written. The folder of its format is made when it is opened. */
export const part = (root: string, path: string, prove?: Proof): Sink => {
  const file = FileSink.make(join(root, path), { prove });
  const folder = dirname(path);
  const place = Effect.tryPromise({
    try: async () => {
      if (folder !== "." && await SafeFile.makeFolder(root, folder)) await FileSink.syncFolder(root);
    },
    catch: (cause) => new SinkError({ reason: "Open", path: join(root, folder), cause }),
  });
  return { name: path, open: Effect.zipRight(place, file.open) };
};

/** Lines written at once. */
const AT_ONCE = 1000;

/** Write lines, each with its line break, to a new file. */
export const writeLines = <E, R>(
  root: string,
  path: string,
  lines: Stream.Stream<string, E, R>,
  prove: Proof,
) =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* part(root, path, prove).open;
    const utf8 = new TextEncoder();
    let rows = 0;
    yield* Stream.runForEachChunk(Stream.rechunk(lines, AT_ONCE), (chunk) => {
      rows += chunk.length;
      return sink.write(utf8.encode(Chunk.join(chunk, "")));
    });
    const { bytes, sha256 = "" } = yield* sink.commit;
    return { rows, bytes, sha256 };
  }));

/** The paths of all parts in the folder, whether anything speaks of them or not, and of partial files. */
export const partsIn = (root: string) =>
  Effect.gen(function* () {
    const parts: Array<{ readonly path: string; readonly number: number }> = [];
    const partials: Array<string> = [];
    const isPartial = (name: string) => name.endsWith(".partial");
    for (const folder of partFolders()) {
      const isOurs = (name: string) => partNumber(name) !== undefined || isPartial(name);
      for (const name of yield* namesIn(root, folder, isOurs)) {
        const number = partNumber(name);
        if (number !== undefined) parts.push({ path: `${folder}/${name}`, number });
        else if (isPartial(name)) partials.push(`${folder}/${name}`);
      }
    }
    return { parts, partials };
  });

/** Tell whether a file is one that systems and spreadsheets leave beside what people look at. */
export const isLeftBySystem = (name: string): boolean => /^(\.|~\$|Thumbs\.db$|desktop\.ini$)/i.test(name);

export const foreignIn = (root: string) =>
  Effect.gen(function* () {
    const { shard: _, ...besides } = names;
    const known: ReadonlyArray<string> = [...Object.values(besides), ...partFolders()];
    const isOurs = (name: string) =>
      isLeftBySystem(name) || known.includes(name) || isUsersName(name) || isPartial(name) ||
      isMoved(name) || isToken(name);
    const foreign = (yield* namesIn(root)).filter((name) => !isOurs(name));
    for (const folder of partFolders()) {
      for (const name of yield* namesIn(root, folder)) {
        const isOurs = partNumber(name) !== undefined || name.endsWith(".partial");
        if (!isOurs && !isLeftBySystem(name)) foreign.push(`${folder}/${name}`);
      }
    }
    for (const name of yield* namesIn(root, names.shards)) {
      if (!isShardsOf(name) && !isLeftBySystem(name)) foreign.push(`${names.shards}/${name}`);
    }
    return foreign;
  });

/** Tell the folder of a run in shards by its name, also once it was moved away to be removed. */
export const isShardsOf = (name: string): boolean => shardKey.test(name.replace(/\.over$/, ""));

/** Tell whether a file beside the parts was left by a killed process. */
export const isPartial = (name: string): boolean =>
  /^(manifest\.json|journal\.ndjson|users(-[0-9a-f]{8})?\.txt)\.[0-9a-f]{8}\.partial$/.test(name);

/** Tell a journal that was moved away to be removed by its name. */
export const isMoved = (name: string): boolean => /^journal\.ndjson\.[0-9a-f]{8}\.moved$/.test(name);

/** Tell what a process that wanted to write here has left by its name. */
const isToken = (name: string): boolean => /^lock\.json\.[0-9a-f]{8}$/.test(name);

/** The paths of what killed processes have left half done: partial files and tokens of the lease, with names of ours. */
export const leftoversIn = async (root: string): Promise<ReadonlyArray<string>> => {
  const isLeft = (name: string) => isPartial(name) || isToken(name);
  const found = (await SafeFile.namesIn(root, "", isLeft)).filter(isLeft);
  for (const folder of partFolders()) {
    for (const name of await SafeFile.namesIn(root, folder)) {
      const whole = /^(.*)\.[0-9a-f]{8}\.partial$/.exec(name)?.[1];
      if (whole !== undefined && partNumber(whole) !== undefined) found.push(`${folder}/${name}`);
    }
  }
  return found;
};

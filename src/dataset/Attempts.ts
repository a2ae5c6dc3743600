/**
 * The attempts at a shard. Each is a small dataset in a folder of its own: parts, and a journal whose last line says that it
 * has ended. A new one takes over what the one that had come furthest has journaled, so nothing is walked twice for long.
 */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as FileSink from "../sink/FileSink.ts";
import * as SafeFile from "../sink/SafeFile.ts";
import type { SinkError } from "../sink/Sink.ts";
import * as Consistency from "./Consistency.ts";
import { attempt, damaged, DatasetError } from "./DatasetError.ts";
import * as Inspect from "./Inspect.ts";
import * as Journal from "./Journal.ts";
import * as Layout from "./Layout.ts";
import type { Checkpoint, Part } from "./Manifest.ts";
import * as ShardFolder from "./ShardFolder.ts";
import { attemptName } from "./ShardShapes.ts";

export interface Attempt {
  /** The name of its folder: its number. */
  readonly name: string;
  /** From the dataset's folder. */
  readonly folder: string;
  readonly journal: Journal.Journal;
}

/** An attempt that has come to its end. */
export interface Ended extends Attempt {
  readonly parts: ReadonlyArray<Part>;
  readonly last: Checkpoint & { readonly ended: NonNullable<Checkpoint["ended"]> };
}

/** Name the place of an attempt. */
const folderOf = (id: string, name: string): string => `${ShardFolder.folderOf(id)}/${name}`;

const idOf = ({ shard: { key, shard } }: ShardFolder.ShardHeader): string => ShardFolder.idOf(key, shard);

export const partsOf = ({ journal: { checkpoints } }: Pick<Attempt, "journal">): ReadonlyArray<Part> =>
  checkpoints.flatMap(({ parts }) => parts);

/** Read an attempt, whoever is at it; undefined if it has not begun. */
const read = (
  root: string,
  header: ShardFolder.ShardHeader,
  name: string,
): Effect.Effect<Attempt | undefined, DatasetError | SinkError> =>
  Effect.gen(function* () {
    const folder = folderOf(idOf(header), name);
    const path = join(root, folder);
    yield* attempt("Open", path, () => SafeFile.checkPlace(root, `${folder}/*`));
    const journal = yield* Journal.read(path);
    if (journal === undefined) return undefined;
    const { dataset_id, run, shard, journal_version } = journal.header;
    if (
      dataset_id !== header.dataset_id || run !== header.run || shard?.key !== header.shard.key ||
      shard.shard !== header.shard.shard || journal_version !== header.journal_version
    ) {
      return yield* damaged(join(path, Layout.names.journal), "it is of another shard");
    }
    const parts = partsOf({ journal });
    const [again] = Consistency.repeated(parts);
    const flaw = again === undefined
      ? Consistency.flawOf(parts, journal_version, (of) => of === run)
      : `it names ${again} twice`;
    if (flaw !== undefined) return yield* damaged(join(path, Layout.names.journal), flaw);
    return { name, folder, journal };
  });

/** Give the attempt as one that has ended; undefined if it has not, or not with all users. */
export const endOf = (attempt: Attempt): Ended | undefined => {
  const last = attempt.journal.checkpoints.at(-1);
  return last?.ended === undefined || last.run_progress.progress.users !== attempt.journal.header.users
    ? undefined
    : { ...attempt, parts: partsOf(attempt), last: { ...last, ended: last.ended } };
};

/** Read an attempt that has ended, to publish it. */
export const ended = (
  root: string,
  header: ShardFolder.ShardHeader,
  name: string,
): Effect.Effect<Ended, DatasetError | SinkError> =>
  Effect.gen(function* () {
    const there = attemptName.test(name)
      ? yield* Effect.catchIf(
        read(root, header, name),
        (error) => error._tag === "SinkError" && SafeFile.isMissing(error.cause),
        () => Effect.succeed(undefined),
      )
      : undefined;
    const found = there && endOf(there);
    const isWhole = found !== undefined && (yield* ShardFolder.areWhole(root, found.folder, found.parts));
    if (found !== undefined && isWhole) return found;
    return yield* new DatasetError({
      reason: "Shards",
      path: join(root, folderOf(idOf(header), name)),
      message: `Cannot publish attempt ${name} at shard ${header.shard.shard}: ` +
        (found === undefined ? "it has not come to its end" : "a part of it is missing, or cut short"),
    });
  });

/** The numbers of all attempts at a shard. */
const numbersOf = (root: string, id: string) =>
  Effect.map(
    Layout.namesIn(root, ShardFolder.folderOf(id)),
    (names) => names.filter((name) => attemptName.test(name)).map(Number).sort((a, b) => b - a),
  );

/**
 * The attempt that has come furthest; undefined if none has come to a checkpoint. One that can't be read, or lacks a part, is
 * passed over.
 */
export const furthest = (
  root: string,
  header: ShardFolder.ShardHeader,
): Effect.Effect<Attempt | undefined, DatasetError | SinkError> =>
  Effect.gen(function* () {
    let best: Attempt | undefined;
    for (const number of yield* numbersOf(root, idOf(header))) {
      const found = yield* Effect.orElseSucceed(read(root, header, String(number)), () => undefined);
      if (found === undefined) continue;
      if (!(yield* ShardFolder.areWhole(root, found.folder, partsOf(found)))) continue;
      if (endOf(found) !== undefined) return found;
      // Attempts have lines of those before: who has more is ahead.
      if (found.journal.checkpoints.length > (best?.journal.checkpoints.length ?? 0)) best = found;
    }
    return best;
  });

/**
 * Begin an attempt in a folder that nobody else has, with all that another one has journaled. Its parts get second names: that
 * one may go on, and harms nothing here.
 */
export const begin = (
  root: string,
  header: ShardFolder.ShardHeader,
  from: Attempt | undefined,
  prove: Layout.Proof,
): Effect.Effect<Attempt, DatasetError | SinkError> =>
  Effect.gen(function* () {
    const id = idOf(header);
    let number = ((yield* numbersOf(root, id))[0] ?? 0) + 1;
    while (!(yield* ShardFolder.makeFolder(root, folderOf(id, String(number))))) number++;
    const name = String(number);
    const folder = folderOf(id, name);
    const claims = from === undefined ? 0 : Inspect.nextPart({ manifest: undefined, journal: from.journal });
    const journal = { header: { ...header, claims }, checkpoints: from?.journal.checkpoints ?? [] };
    if (from !== undefined) yield* takeOver(root, from, folder);
    yield* Journal.write(join(root, folder), journal, prove);
    return { name, folder, journal };
  });

/** Give the parts of an attempt a second name in the folder of another one. */
const takeOver = (root: string, from: Attempt, folder: string) =>
  Effect.gen(function* () {
    const parts = partsOf(from);
    const folders = new Set(parts.map(({ path }) => path.slice(0, path.indexOf("/"))));
    for (const name of folders) yield* ShardFolder.makeFolder(root, `${folder}/${name}`);
    yield* attempt("Open", join(root, folder), async () => {
      for (const part of parts) {
        await ShardFolder.link(root, part, from.folder, `${folder}/${part.path}`);
      }
      for (const name of folders) await FileSink.syncFolder(join(root, folder, name));
    });
  });

/**
 * The folder of a run in shards: `shards/<key>/<shard>/<attempt>/`. The key is new with each run, and so is the name of each
 * attempt: nobody ever writes to the folder of another one.
 *
 * **Why a late worker does no harm.** What it writes lies in the folder of its attempt, and nowhere else. Others take over what
 * its journal names, by hard links, and that never changes. When the run is over the folder of all shards is moved away before
 * it is removed: paths into it lead nowhere from then on, and no folder above is made by whoever writes a part.
 */
import { randomUUID } from "node:crypto";
import { link as linkFile, rename, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as Effect from "effect/Effect";
import * as FileSink from "../sink/FileSink.ts";
import * as SafeFile from "../sink/SafeFile.ts";
import type { SinkError } from "../sink/Sink.ts";
import { attempt, damaged, DatasetError, failure } from "./DatasetError.ts";
import { isShardsOf, most, names, namesIn, type Proof, textOf } from "./Layout.ts";
import { decode, type Header, type Part } from "./Manifest.ts";

/** The header of a shard's own description. */
export type ShardHeader = Header & { readonly shard: NonNullable<Header["shard"]> };

/** Make the key of a run. */
export const newKey = (run: number): string => `${String(run).padStart(5, "0")}-${randomUUID().slice(0, 8)}`;

/** Name a shard to whoever runs it. */
export const idOf = (key: string, shard: number): string => `${key}/${String(shard).padStart(4, "0")}`;

/** The folder of a shard, from the dataset's. */
export const folderOf = (id: string): string => `${names.shards}/${id}`;

/** Make a folder in one that is there; says whether it was made. It is on the disk when the effect ends. */
export const makeFolder = (root: string, folder: string) =>
  attempt("Open", join(root, folder), async () => {
    const isMade = await SafeFile.makeFolder(root, folder);
    if (isMade) await FileSink.syncFolder(dirname(join(root, folder)));
    return isMade;
  });

/** The error for a shard that there is not, or not any more. */
export const absent = (root: string, id: string): DatasetError =>
  new DatasetError({
    reason: "Absent",
    path: join(root, names.shards, id),
    message: `There is no shard ${id} in ${root}: its run is over, or it is of another folder`,
  });

/** Read what a shard was asked. */
export const read = (root: string, id: string): Effect.Effect<ShardHeader, DatasetError | SinkError> =>
  Effect.gen(function* () {
    if (!/^[0-9a-f-]+\/\d{4}$/.test(id) || !isShardsOf(dirname(id))) return yield* absent(root, id);
    const name = `${folderOf(id)}/${names.shard}`;
    const path = join(root, name);
    const text = yield* textOf(root, name, most.journal);
    if (text === undefined) return yield* absent(root, id);
    const header = yield* Effect.try({
      try: () => decode("Header", path, text),
      catch: failure("Open", path),
    });
    const { shard } = header;
    if (shard === undefined || idOf(shard.key, shard.shard) !== id) {
      return yield* damaged(path, "it describes another shard");
    }
    return { ...header, shard };
  });

/** Make the proof that the run of a shard is not over. */
export const proofOf = (root: string, id: string): Proof => async () => {
  try {
    await SafeFile.sizeOf(root, `${folderOf(id)}/${names.shard}`);
  } catch (error) {
    throw SafeFile.isMissing(error) ? absent(root, id) : error;
  }
};

/** Codes of file systems on which a file has one name. */
const unsupported = new Set<unknown>(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EXDEV"]);

/** Refuses a file that is not there with as many bytes as it should have. */
const checkSize = async (root: string, path: string, bytes: number): Promise<void> => {
  if (await SafeFile.sizeOf(root, path) !== bytes) {
    throw damaged(join(root, path), `it does not have ${bytes} bytes`);
  }
};

/** Tell whether all of these parts lie there as long as they should be. */
export const areWhole = (root: string, folder: string, parts: ReadonlyArray<Part>): Effect.Effect<boolean> =>
  Effect.promise(() =>
    Promise.all(parts.map(({ path, bytes }) => checkSize(root, `${folder}/${path}`, bytes)))
      .then(() => true, () => false)
  );

/** Give a file of the folder a second name, if it is as long as it should be. */
export const link = async (root: string, { path, bytes }: Part, from: string, to: string): Promise<void> => {
  const source = `${from}/${path}`;
  await checkSize(root, source, bytes);
  await SafeFile.checkPlace(root, to);
  await linkFile(join(root, source), join(root, to)).catch((error) => {
    const code = SafeFile.codeOf(error);
    if (!unsupported.has(code)) throw error;
    throw new DatasetError({
      reason: "Shards",
      path: join(root, to),
      message: `Cannot run in shards in ${root}: its file system gives no file a second name (${code}). ` +
        "Choose a folder where it does (hard links)",
    });
  });
  // Others may have put something else there, between two looks at it.
  await checkSize(root, to, bytes);
};

/** Codes of a folder that someone still writes to, or reads from. */
const inUse = new Set<unknown>(["ENOTEMPTY", "EEXIST", "EBUSY", "ENOENT"]);

const ifUsed = (error: unknown): void => {
  if (!inUse.has(SafeFile.codeOf(error))) throw error;
};

/** Remove the folders of all runs but one. What someone has open may stay until the next time. */
export const removeBut = (root: string, kept: string | undefined, prove: Proof) =>
  Effect.gen(function* () {
    const found = yield* namesIn(root, names.shards);
    for (const name of found.filter((name) => name !== kept && isShardsOf(name))) {
      yield* attempt("Write", join(root, names.shards, name), async () => {
        await prove();
        const moved = name.endsWith(".over") ? name : `${name}.over`;
        const [from, to] = [`${names.shards}/${name}`, `${names.shards}/${moved}`];
        await SafeFile.checkPlace(root, `${from}/*`);
        if (from !== to) await rename(join(root, from), join(root, to)).catch(ifUsed);
        await SafeFile.removeFolder(root, to).catch(ifUsed);
      });
    }
    if (kept !== undefined) return;
    const path = join(root, names.shards);
    yield* attempt("Write", path, () => rmdir(path).catch(ifUsed));
  });

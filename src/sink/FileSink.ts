/** A file that appears under its name only when it is complete. */
import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as Effect from "effect/Effect";
import { type OpenSink, type Sink, SinkError } from "./Sink.ts";
import * as SafeFile from "./SafeFile.ts";

/** Small writes are gathered up to this many bytes. */
const GATHER = 1 << 18;

/** Options of a file. */
export interface FileOptions {
  /** The path that its bytes have until it is complete. @default {a new {@link partialOf} each time it is opened} */
  readonly partial?: string | undefined;
  /**
   * Awaited when all bytes are on the disk, right before the file gets its name: where it rejects, the file does not get it.
   *
   * @default {nothing to prove}
   */
  readonly prove?: (() => Promise<void>) | undefined;
}

/** Gives a new path for the bytes of a file that is not complete: `NAME.<random>.partial` beside it. */
export const partialOf = (path: string): string =>
  join(dirname(path), `${basename(path)}.${randomUUID().slice(0, 8)}.partial`);

/** Removes what a thread that ended in the middle has left of a file. */
export const removePartial = (partial: string): Effect.Effect<void> =>
  Effect.promise(() => rm(partial, { force: true }).catch(() => undefined));

/**
 * A file on disk. Bytes go to `NAME.<random>.partial` beside it; {@link Sink.commit} flushes them to the disk and renames
 * the file, in place of one that had the name. If the scope closes first the partial file is removed; if the process is
 * killed it stays, and never has the name.
 *
 * Memory: 1 MiB, and twice the most bytes written at once where those are more than 256 KiB.
 *
 * @example
 * ```ts
 * import { Sinks } from "monocloud-sessions";
 * import * as Effect from "effect/Effect";
 * import { mkdtemp, readFile, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const greet = Effect.gen(function* () {
 *   const sink = yield* Sinks.file(join(folder, "hello.txt")).open;
 *   yield* sink.write(new TextEncoder().encode("hello"));
 *   return yield* sink.commit;
 * });
 * const { bytes } = await Effect.runPromise(Effect.scoped(greet));
 * console.assert(bytes === 5 && await readFile(join(folder, "hello.txt"), "utf8") === "hello");
 * await rm(folder, { recursive: true });
 * ```
 */
export const make = (path: string, { partial, prove }: FileOptions = {}): Sink => ({
  name: path,
  open: Effect.map(
    Effect.acquireRelease(Effect.suspend(() => openPartial(path, partial)), discard),
    (file): OpenSink => ({
      allocate: (length) => allocate(file, length),
      write: (bytes) =>
        Effect.suspend(() => {
          gather(file, bytes);
          if (file.gathered < GATHER) return Effect.void;
          if (file.writing !== undefined) return attempt("Write", path, () => flush(file));
          begin(file);
          return Effect.void;
        }),
      prepare: prepared(file, path),
      commit: Effect.zipRight(
        prepared(file, path),
        attempt("Commit", path, () => commit(file, prove)),
      ),
    }),
  ),
});

interface Partial {
  readonly handle: FileHandle;
  readonly path: string;
  /** The path that it gets: that of the file which a link leads to. */
  readonly target: string;
  readonly hash: ReturnType<typeof createHash>;
  /** Its first bytes are what has been gathered. */
  space: Uint8Array<ArrayBuffer>;
  gathered: number;
  bytes: number;
  /** The write that is under way, or has failed: at most one, while the next bytes are gathered. */
  writing: Promise<void> | undefined;
  /** The buffer of the write before, once that is over: the next bytes are gathered there. */
  spare: Uint8Array<ArrayBuffer>;
  stage: "open" | "prepared" | "committed";
}

// A write that has begun is waited for even if the export is interrupted: the file must not be closed beneath it.
const attempt = <A>(reason: SinkError["reason"], path: string, work: () => Promise<A>) =>
  Effect.uninterruptible(Effect.tryPromise({
    try: work,
    catch: (cause) => new SinkError({ reason, path, cause }),
  }));

/** Follow a link that the owner of its folder has made: in a folder for all, another one may lead anywhere. */
const followed = async (path: string): Promise<string> => {
  const [link, folder] = await Promise.all([lstat(path), lstat(dirname(path))]);
  return link.isSymbolicLink() && link.uid === folder.uid ? await realpath(path) : path;
};

const openPartial = (path: string, given: string | undefined) =>
  attempt("Open", path, async (): Promise<Partial> => {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" });
    // A dataset, which says what the partial file is called, has no links.
    const target = given === undefined ? await followed(path).catch(() => path) : path;
    const partial = given ?? partialOf(target);
    // Whoever could not read the file that is replaced can't read this one.
    const handle = await open(partial, "wx", found === undefined ? 0o666 : found.mode & 0o666);
    return {
      handle,
      path: partial,
      target,
      hash: createHash("sha256"),
      space: new Uint8Array(0),
      gathered: 0,
      bytes: 0,
      writing: undefined,
      spare: new Uint8Array(0),
      stage: "open",
    };
  });

/** Gives a place behind what has been gathered. */
const allocate = (file: Partial, length: number): Uint8Array<ArrayBuffer> => {
  const { space, gathered } = file;
  if (gathered + length > space.length) {
    // Mostly less than that is gathered: then it will do for as many bytes each time. Before, as many files are small, it grows.
    const whole = Math.max(GATHER, gathered) + Math.max(GATHER, length);
    file.space = new Uint8Array(file.bytes > 0 ? whole : Math.min(whole, 4 * (gathered + length)));
    file.space.set(space.subarray(0, gathered));
  }
  return file.space.subarray(gathered, gathered + length);
};

/** Takes bytes over: those that lie in the place made for them are not copied. */
const gather = (file: Partial, bytes: Uint8Array<ArrayBuffer>): void => {
  const isThere = bytes.buffer === file.space.buffer && bytes.byteOffset === file.gathered;
  if (!isThere) allocate(file, bytes.length).set(bytes);
  file.gathered += bytes.length;
};

/** Begins to write what has been gathered. It is not waited for here: what is next can be made meanwhile. */
const begin = (file: Partial): void => {
  const { space } = file;
  const bytes = space.subarray(0, file.gathered);
  [file.space, file.gathered] = [file.spare, 0];
  file.hash.update(bytes);
  file.bytes += bytes.length;
  const writing = file.handle.writeFile(bytes);
  file.writing = writing;
  // If it fails, whoever writes next, or commits, is told.
  writing.then(() => [file.writing, file.spare] = [undefined, space], () => undefined);
};

/** Begins as soon as the write before is over. */
const flush = async (file: Partial): Promise<void> => {
  await file.writing;
  begin(file);
};

/** Bring all bytes to the disk. */
const prepare = async (file: Partial): Promise<void> => {
  if (file.gathered > 0) await flush(file);
  await file.writing;
  await SafeFile.sync(file.handle);
  await file.handle.close();
  file.stage = "prepared";
};

const prepared = (file: Partial, path: string): Effect.Effect<void, SinkError> =>
  Effect.suspend(() =>
    file.stage !== "open" ? Effect.void : Effect.zipRight(
      attempt("Write", path, async () => await file.writing),
      attempt("Commit", path, () => prepare(file)),
    )
  );

const commit = async (file: Partial, prove: FileOptions["prove"]) => {
  await prove?.();
  await rename(file.path, file.target).catch(async (error) => {
    // Whoever has taken the place over removes what he finds half done: then that is what is to be told.
    await prove?.();
    throw error;
  });
  file.stage = "committed";
  await syncFolder(dirname(file.target));
  return { bytes: file.bytes, sha256: file.hash.digest("hex") };
};

/** Codes of systems that let nobody open a folder (Windows), or of a folder that may be written to but not read. */
const UNOPENED = new Set<unknown>(["EISDIR", "EACCES", "EPERM"]);
/** Codes of file systems that flush no folder by itself; the last is that of Windows. */
const UNSUPPORTED = new Set<unknown>(["EINVAL", "EBADF", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EPERM"]);

/** Tells whether Deno was not permitted to read the folder. */
const isNotPermitted = (error: unknown): boolean =>
  /^(NotCapable|PermissionDenied)$/.test((error as { readonly name?: string }).name ?? "");

/**
 * Flush a folder: a rename survives a power cut only once its folder is on the disk as well.
 *
 * A system that can't is passed over, by the same codes as in PostgreSQL (`fsync_fname_ext`). Any other failure,
 * EIO above all, means that the name may be lost: it is told.
 */
export const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, "r").catch((error) => {
    if (UNOPENED.has(SafeFile.codeOf(error)) || isNotPermitted(error)) return undefined;
    throw error;
  });
  if (handle === undefined) return;
  try {
    await SafeFile.sync(handle).catch((error) => {
      if (!UNSUPPORTED.has(SafeFile.codeOf(error))) throw error;
    });
  } finally {
    // Nothing was written through it.
    await handle.close().catch(() => undefined);
  }
};

/** Undo what was not completed. It has failed already, or is not wanted: what fails here would only hide why. */
const discard = (file: Partial) =>
  Effect.promise(async () => {
    if (file.stage === "committed") return;
    await file.writing?.catch(() => undefined);
    await file.handle.close().catch(() => undefined);
    await rm(file.path, { force: true }).catch(() => undefined);
  });

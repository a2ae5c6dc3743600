/**
 * The one way to the files in a dataset's folder, to read, list and remove them. The folder may come from anyone: under a
 * name of ours there may lie a link to elsewhere, a pipe that never ends, or a device. Nothing is touched but regular files
 * in real folders.
 *
 * Only the folder that someone names is taken as it is: it may be a link.
 *
 * **What is left.** Node can't open a file relative to an open folder. Whoever may write to the folder may replace a folder
 * of parts by a link, and undo it, between two looks at it.
 */
import { constants, type Dirent, fdatasync, fsync, type Stats } from "node:fs";
import { type FileHandle, lstat, mkdir, open as openFile, readdir, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

/** Bytes read at a time. */
const CHUNK = 1 << 18;
/** And at least so many are asked for. */
const LEAST = 1 << 12;

/** Something is not what lies in a dataset's folder. Its message goes on from `can't be read:`. */
export class Strange extends Error {
  readonly path: string;
  constructor(path: string, message: string) {
    super(message);
    this.name = "Strange";
    this.path = path;
  }
}

const kindOf = (found: Stats): string =>
  found.isSymbolicLink()
    ? "it is a symbolic link"
    : found.isDirectory()
    ? "EISDIR: it is a folder"
    : found.isFile()
    ? "it is a file"
    : found.isFIFO()
    ? "it is a pipe"
    : found.isSocket()
    ? "it is a socket"
    : "it is a device";

/** The system's code of an error, if it has one. */
export const codeOf = (error: unknown): unknown => (error as { readonly code?: unknown }).code;

export const isMissing = (error: unknown): boolean => codeOf(error) === "ENOENT";

/** Refuses unless what lies between the root and this path are real folders. What is not there is told as missing. */
const checkAbove = async (root: string, path: string): Promise<void> => {
  const above = dirname(path);
  if (above === ".") return;
  await checkAbove(root, above);
  const found = await lstat(join(root, above));
  if (!found.isDirectory()) throw new Strange(join(root, above), `${kindOf(found)}, not a folder`);
};

/** Refuses unless it is a regular file, without opening it: a pipe may block, and a device may do anything. */
const checkFile = async (root: string, path: string, mayBeLink = false): Promise<Stats> => {
  const full = join(root, path);
  const found = await (mayBeLink ? stat : lstat)(full);
  if (!found.isFile()) throw new Strange(full, `${kindOf(found)}, not a file`);
  return found;
};

export interface OpenOptions {
  /** @default {O_RDONLY} */
  readonly flags?: number | undefined;
  /** Allows a link, as someone has named this very file. @default {false} */
  readonly mayBeLink?: boolean | undefined;
}

// Not on Windows, which has neither. Deno passes them on only where it may open anything, and follows a link elsewhere: so what
// was opened is compared with what was looked at.
const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;

/** The most times that others put another file in the place of one while it is opened, as they do with a new manifest. */
const REPLACED = 10;

export const open = async (root: string, path: string, options: OpenOptions = {}): Promise<FileHandle> => {
  const { flags = O_RDONLY, mayBeLink = false } = options;
  await checkAbove(root, path);
  for (let tries = 0; tries < REPLACED; tries++) {
    const found = await checkFile(root, path, mayBeLink);
    const handle = await openFile(join(root, path), flags | O_NONBLOCK | (mayBeLink ? 0 : O_NOFOLLOW));
    try {
      const opened = await handle.stat();
      await checkAbove(root, path);
      if (opened.isFile() && opened.ino === found.ino && opened.dev === found.dev) return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
  }
  throw new Strange(join(root, path), "it was replaced whenever it was opened");
};

/** Reads the bytes of a regular file, some at a time, the next being read meanwhile. Refuses one of more than `most`. */
export async function* chunks(
  root: string,
  path: string,
  { most = Infinity, ...options }: OpenOptions & { readonly most?: number | undefined } = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const handle = await open(root, path, options);
  let at = 0;
  const tooLong = (bytes: number) =>
    new Strange(join(root, path), `it has ${bytes} bytes, and ${most} are the most it may have`);
  let next: Promise<Uint8Array<ArrayBuffer>> | undefined;
  try {
    const { size } = await handle.stat();
    if (size > most) throw tooLong(size);
    // Most files are small: a buffer holds what is left of this one, and a little of what may be added meanwhile.
    const read = async () => {
      const length = Math.min(CHUNK, Math.max(size - at, LEAST));
      const { bytesRead, buffer } = await handle.read(new Uint8Array(length), 0, length, at);
      at += bytesRead;
      return buffer.subarray(0, bytesRead);
    };
    while (true) {
      const chunk = await (next ?? read());
      if (chunk.length === 0) return;
      // It may grow while it is read.
      if (at > most) throw tooLong(at);
      next = read();
      yield chunk;
    }
  } finally {
    await next?.catch(() => undefined);
    await handle.close();
  }
}

/** Reads the text of a regular file of so many bytes at most. */
export const textOf = async (
  root: string,
  path: string,
  options: OpenOptions & { readonly most: number },
): Promise<string> => {
  const all: Array<Uint8Array> = [];
  for await (const chunk of chunks(root, path, options)) all.push(chunk);
  return Buffer.concat(all).toString("utf8");
};

/** Gives the number of bytes of a regular file. */
export const sizeOf = async (root: string, path: string): Promise<number> => {
  await checkAbove(root, path);
  return (await checkFile(root, path)).size;
};

/** Lists a real folder; nothing if there is no such folder. */
const entriesIn = async (root: string, folder = ""): Promise<ReadonlyArray<Dirent>> => {
  try {
    if (folder !== "") await checkAbove(root, `${folder}/*`);
    return await readdir(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
};

/** Lists the names in a real folder. Those that `areFiles` tells of must be of regular files. */
export const namesIn = async (
  root: string,
  folder = "",
  areFiles: (name: string) => boolean = () => false,
): Promise<ReadonlyArray<string>> => {
  const entries = await entriesIn(root, folder);
  for (const entry of entries) {
    if (areFiles(entry.name) && !entry.isFile()) await checkFile(root, `${folder}/${entry.name}`);
  }
  return entries.map(({ name }) => name);
};

/** Refuses to write to this path unless it would lie in real folders. */
export const checkPlace = checkAbove;

/** Makes a folder in the root that nobody else may look into, unless there is a real one. Says whether it was made. */
export const makeFolder = async (root: string, folder: string): Promise<boolean> => {
  await checkAbove(root, folder);
  const isMade = await mkdir(join(root, folder), { mode: 0o700 }).then(() => true, (error) => {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  });
  if (!isMade) await checkAbove(root, `${folder}/*`);
  return isMade;
};

/** Removes a regular file; whatever else has its name is refused. */
export const remove = async (root: string, path: string): Promise<void> => {
  try {
    await checkAbove(root, path);
    await checkFile(root, path);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  await rm(join(root, path), { force: true });
};

/** Removes a real folder with all that is in it; whatever is neither a regular file nor a real folder is refused. */
export const removeFolder = async (root: string, folder: string): Promise<void> => {
  for (const entry of await entriesIn(root, folder)) {
    const path = `${folder}/${entry.name}`;
    await (entry.isDirectory() ? removeFolder(root, path) : remove(root, path));
  }
  await rmdir(join(root, folder)).catch((error) => {
    if (!isMissing(error)) throw error;
  });
};

// Yarn's PnP puts handles of its own in the place of Node's, and they can't flush. The file beneath them can.
const isPnp = (): boolean => process.versions["pnp"] !== undefined;

export const sync = (handle: FileHandle): Promise<void> =>
  isPnp() ? promisify(fsync)(handle.fd) : handle.sync();

/** Flush the bytes of a file, and of what is known about it only what it takes to read them. */
export const datasync = (handle: FileHandle): Promise<void> =>
  isPnp() ? promisify(fdatasync)(handle.fd) : handle.datasync();

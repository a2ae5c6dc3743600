/**
 * Texts by key in a file of lines: a line is added for each that is set, the last one of a key counts, and the file is
 * written anew once most of its bytes are old.
 *
 * **Flushing.** A killed process loses nothing that was set. Lines are flushed once a second at most, and when the file is
 * closed, so a machine that loses power may lose the last second. A file written anew is flushed before it takes the place
 * of the old one.
 */
import { type FileHandle, open as openFile, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { syncFolder } from "./FileSink.ts";
import * as SafeFile from "./SafeFile.ts";

export interface Codec {
  /** The text that every line begins with: of half a line as well, so that no other file is taken for one of these. */
  readonly begin: string;
  /** Gives the line of an entry, its line break included. */
  readonly lineOf: (key: string, value: string) => string;
  /** Reads a line; throws where it is none. */
  readonly read: (line: string) => readonly [key: string, value: string];
}

export class DamagedLine extends Error {
  /** From 1. */
  readonly line: number;
  constructor(line: number) {
    super(`line ${line} is damaged`);
    this.line = line;
  }
}

/** An open file. For one process at a time. Memory: all keys with their values. */
export type KeyedFile = Awaited<ReturnType<typeof open>>;

/** Node has no longer text. */
const LONGEST_TEXT = 2 ** 29 - 25;

/** A file that is open may have so many bytes of old lines, and as many again as it has of those that count. */
const SLACK = 2 ** 22;

const FLUSH_EVERY = 1000;

/** Characters written at a time while a file is written anew. */
const CHUNK = 2 ** 20;

const utf8 = new TextEncoder();

/** Reads the text of a file that someone names, which may be a link. Gives nothing if there is none. */
const textOf = (path: string): Promise<string> =>
  SafeFile.textOf(dirname(path), basename(path), { most: LONGEST_TEXT, mayBeLink: true }).catch((error) => {
    if (SafeFile.isMissing(error)) return "";
    throw error;
  });

interface Appended {
  readonly handle: FileHandle;
  readonly size: number;
}

const append = async (path: string): Promise<Appended> => {
  const handle = await openFile(path, "a", 0o600);
  return { handle, size: (await handle.stat()).size };
};

/** Writes a file anew, in one step, and gives it as it is added to: nothing is left to be opened once it has its name. */
const replace = async (path: string, lines: Iterable<string>): Promise<Appended> => {
  const partial = `${path}.partial`;
  await rm(partial, { force: true });
  const handle = await openFile(partial, "ax", 0o600);
  let size = 0;
  const write = async (text: string) => {
    const bytes = utf8.encode(text);
    await handle.appendFile(bytes);
    size += bytes.length;
  };
  try {
    let text = "";
    for (const line of lines) {
      text += line;
      if (text.length < CHUNK) continue;
      await write(text);
      text = "";
    }
    await write(text);
    await SafeFile.sync(handle);
    await rename(partial, path);
    return { handle, size };
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  }
};

/** Opens a file; there need not be one yet. Rejects with a {@link DamagedLine}, or with what the system says. */
export const open = async (path: string, { begin, lineOf, read }: Codec) => {
  const entries = new Map<string, { readonly value: string; readonly bytes: number }>();
  let live = 0;
  const keep = (key: string, value: string, bytes: number) => {
    live += bytes - (entries.get(key)?.bytes ?? 0);
    entries.set(key, { value, bytes });
  };

  const text = await textOf(path);
  let lines = 0;
  let at = 0;
  for (let end; (end = text.indexOf("\n", at)) !== -1; at = end + 1) {
    lines++;
    try {
      const [key, value] = read(text.slice(at, end));
      keep(key, value, utf8.encode(lineOf(key, value)).length);
    } catch {
      throw new DamagedLine(lines);
    }
  }

  // What follows the last line break was being written when the process died.
  const half = text.slice(at);
  if (!half.startsWith(begin.slice(0, half.length))) throw new DamagedLine(lines + 1);

  let handle: FileHandle;
  let size: number;
  const compact = async () => {
    // A link stays one.
    const target = await realpath(path).catch(() => path);
    ({ handle, size } = await replace(target, [...entries].map(([key, { value }]) => lineOf(key, value))));
    await syncFolder(dirname(target));
  };
  if (half !== "" || lines > 2 * entries.size) await compact();
  else ({ handle, size } = await append(path));

  let isFlushed = true;
  let flushedAt = -Infinity;
  const flush = async () => {
    await SafeFile.datasync(handle);
    isFlushed = true;
    flushedAt = performance.now();
  };
  const write = async (key: string, value: string) => {
    if (entries.get(key)?.value === value) return;
    const line = utf8.encode(lineOf(key, value));
    // Half a line that a failed write has left must not stand before this one.
    await handle.truncate(size);
    await handle.appendFile(line);
    isFlushed = false;
    if (performance.now() - flushedAt >= FLUSH_EVERY) await flush();
    size += line.length;
    keep(key, value, line.length);
    if (size <= 2 * live + SLACK) return;
    const before = handle;
    try {
      await compact();
    } finally {
      if (handle !== before) await before.close();
    }
  };

  let last: Promise<unknown> = Promise.resolve();
  return {
    get: (key: string): string | undefined => entries.get(key)?.value,
    /** Resolves once the line is written. Several at once are written one after another. */
    set: (key: string, value: string): Promise<void> => {
      const written = last.then(() => write(key, value));
      last = written.catch(() => undefined);
      return written;
    },
    close: async (): Promise<void> => {
      await last;
      try {
        if (!isFlushed) await flush();
      } finally {
        await handle.close();
      }
    },
  };
};

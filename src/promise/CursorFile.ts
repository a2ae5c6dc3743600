/**
 * Cursors in a file: a line is added for each that is set. A file most of whose lines are old is written anew.
 *
 * **Why nothing is flushed to the disk.** What a killed process has written is there. A machine that loses power may lose
 * the last cursors: older ones deliver again, and lose nothing.
 *
 * @module
 */
import { open as openFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import * as SafeFile from "../sink/SafeFile.ts";
import type { CursorStore } from "./CursorStore.ts";
import { CursorError } from "./Errors.ts";

/** Node has no longer text. */
const MOST = 2 ** 29 - 25;

/** A store that has to be closed. */
export interface CursorFile extends CursorStore {
  readonly set: (userId: string, cursor: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

const fail = (path: string) => (cause: unknown): never => {
  if (cause instanceof CursorError) throw cause;
  throw new CursorError("File", `Cannot keep cursors in ${path}: ${(cause as Error).message}`, { cause });
};

const textOf = (path: string): Promise<string> =>
  SafeFile.textOf(dirname(path), basename(path), { most: MOST, mayBeLink: true }).catch((error) => {
    if ((error as { readonly code?: unknown }).code === "ENOENT") return "";
    throw error;
  });

const utf8 = new TextEncoder();

const lineOf = (userId: string, cursor: string): Uint8Array =>
  utf8.encode(`${JSON.stringify({ user_id: userId, cursor })}\n`);

/** The cursors of a text, each with its line. Half a line at the end was being written when the process died. */
const read = (path: string, text: string) => {
  const cursors = new Map<string, { readonly cursor: string; readonly bytes: number }>();
  let lines = 0;
  for (let at = 0, end; (end = text.indexOf("\n", at)) !== -1; at = end + 1) {
    lines++;
    try {
      const { user_id, cursor } = JSON.parse(text.slice(at, end));
      if (typeof user_id !== "string" || typeof cursor !== "string") throw new Error();
      cursors.set(user_id, { cursor, bytes: lineOf(user_id, cursor).length });
    } catch {
      throw new CursorError(
        "Damaged",
        `Cannot read cursors from ${path} as its line ${lines} is none: restore it from a backup, or remove it to read ` +
          "all sessions anew",
      );
    }
  }
  return cursors;
};

/** Writes a file anew, in one step. */
const replace = async (path: string, lines: Iterable<Uint8Array>): Promise<void> => {
  const partial = `${path}.partial`;
  try {
    await writeFile(partial, lines, { mode: 0o600 });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
};

/** A file may have so many bytes of old lines, and as many again as it has of those that count. */
const SLACK = 2 ** 22;

/** Opens a file of cursors; there need not be one yet. For one process at a time. Memory: all cursors. */
export const open = async (path: string): Promise<CursorFile> => {
  const attempt = <A>(work: () => Promise<A>): Promise<A> => work().catch(fail(path));
  const text = await attempt(() => textOf(path));
  const cursors = read(path, text);
  let live = 0;
  for (const { bytes } of cursors.values()) live += bytes;

  const append = async () => {
    const handle = await openFile(path, "a", 0o600);
    return { handle, size: (await handle.stat()).size };
  };
  const compact = async () => {
    await replace(path, [...cursors].map(([userId, { cursor }]) => lineOf(userId, cursor)));
    return await append();
  };
  const isHalf = text !== "" && !text.endsWith("\n");
  let { handle, size } = await attempt(isHalf ? compact : append);

  return {
    get: (userId) => cursors.get(userId)?.cursor,
    set: (userId, cursor) =>
      attempt(async () => {
        const line = lineOf(userId, cursor);
        // Half a line that a failed write has left must not stand before this one.
        await handle.truncate(size);
        await handle.appendFile(line);
        size += line.length;
        live += line.length - (cursors.get(userId)?.bytes ?? 0);
        cursors.set(userId, { cursor, bytes: line.length });
        if (size <= 2 * live + SLACK) return;
        const before = handle;
        ({ handle, size } = await compact());
        await before.close();
      }),
    close: () => handle.close(),
  };
};

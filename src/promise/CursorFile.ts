/**
 * Cursors in a file: a line is added for each that is set. A file most of whose lines are old is written anew when it is
 * opened.
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

const lineOf = (userId: string, cursor: string): string => `${JSON.stringify({ user_id: userId, cursor })}\n`;

/** Reads lines. Half a line at the end was being written when the process died. */
const read = (path: string, text: string) => {
  const cursors = new Map<string, string>();
  let lines = 0;
  for (let at = 0, end; (end = text.indexOf("\n", at)) !== -1; at = end + 1) {
    lines++;
    try {
      const { user_id, cursor } = JSON.parse(text.slice(at, end));
      if (typeof user_id !== "string" || typeof cursor !== "string") throw new Error();
      cursors.set(user_id, cursor);
    } catch {
      throw new CursorError(
        "Damaged",
        `Cannot read cursors from ${path} as its line ${lines} is none: restore it from a backup, or remove it to read ` +
          "all sessions anew",
      );
    }
  }
  return { cursors, lines };
};

/** Opens a file of cursors; there need not be one yet. For one process at a time. Memory: all cursors. */
export const open = async (path: string): Promise<CursorFile> => {
  const text = await textOf(path).catch(fail(path));
  const { cursors, lines } = read(path, text);
  const append = async () => {
    if ((text !== "" && !text.endsWith("\n")) || lines > 2 * cursors.size + 1000) {
      const partial = `${path}.${crypto.randomUUID().slice(0, 8)}.partial`;
      const whole = [...cursors].map(([userId, cursor]) => lineOf(userId, cursor)).join("");
      await writeFile(partial, whole, { mode: 0o600, flush: true })
        .then(() => rename(partial, path))
        .catch((error) => rm(partial, { force: true }).then(() => Promise.reject(error)));
    }
    return await openFile(path, "a", 0o600);
  };
  const handle = await append().catch(fail(path));
  let { size } = await handle.stat();
  return {
    get: (userId) => cursors.get(userId),
    set: async (userId, cursor) => {
      const line = new TextEncoder().encode(lineOf(userId, cursor));
      try {
        // Half a line that a failed write has left must not stand before this one.
        await handle.truncate(size);
        await handle.appendFile(line);
      } catch (error) {
        fail(path)(error);
      }
      size += line.length;
      cursors.set(userId, cursor);
    },
    close: () => handle.close(),
  };
};

/** Cursors in a file, a line for each that is set. */
import * as KeyedFile from "../sink/KeyedFile.ts";
import { CursorError } from "./Errors.ts";

const codec: KeyedFile.Codec = {
  begin: '{"user_id":"',
  lineOf: (userId, cursor) => `${JSON.stringify({ user_id: userId, cursor })}\n`,
  read: (line) => {
    const { user_id, cursor } = JSON.parse(line);
    if (typeof user_id !== "string" || typeof cursor !== "string") throw new Error();
    return [user_id, cursor];
  },
};

/** Opens a file of cursors; there need not be one yet. For one process at a time. Memory: all cursors. */
export const open = async (path: string): Promise<KeyedFile.KeyedFile> => {
  const fail = (cause: unknown): never => {
    if (cause instanceof KeyedFile.DamagedLine) {
      throw new CursorError(
        "Damaged",
        `Cannot read cursors from ${path} as its line ${cause.line} is none: name another file, restore this one from a ` +
          "backup, or remove it to read all sessions anew",
      );
    }
    throw new CursorError("File", `Cannot keep cursors in ${path}: ${(cause as Error).message}`, { cause });
  };
  const file = await KeyedFile.open(path, codec).catch(fail);
  return {
    get: file.get,
    set: (userId, cursor) => file.set(userId, cursor).catch(fail),
    close: () => file.close().catch(fail),
  };
};

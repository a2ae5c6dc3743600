/**
 * The rooms of `src`, and which other rooms each may import from. A room is a folder, or a file beside the folders.
 *
 * @module
 */

const ground = ["needsEffect3", "options", "scan", "sink", "version"];
const session = [...ground, "session"];
const source = [...session, "api", "source"];
const output = [...session, "format", "plain", "export"];

/** What each room may import from, besides itself. Nothing else is allowed, so imports point down. */
export const below: Readonly<Record<string, ReadonlyArray<string>>> = {
  needsEffect3: [],
  options: [],
  postgres: [],
  sandbox: [],
  scan: [],
  sink: [],
  version: [],
  session: ["options", "scan"],
  api: session,
  format: session,
  source: [...session, "api", "plain"],
  plain: ["api", "format", "session"],
  export: [...session, "format", "plain"],
  dataset: [...source, ...output],
  thread: [...source, ...output, "plain"],
  warehouse: [...source, ...output, "dataset", "postgres"],
  queue: [...source, ...output, "postgres"],
  server: [...source, ...output, "dataset", "queue"],
  mod: [...source, ...output, "dataset"],
  promise: [...source, ...output, "dataset", "plain", "warehouse"],
  cli: [...source, ...output, "dataset", "queue", "sandbox", "server", "warehouse"],
};

/** Name the room of a file, by its path beneath `src`. */
export const roomOf = (path: string): string => path.split("/")[0]!.replace(/\.ts$/, "");

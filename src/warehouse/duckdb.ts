/**
 * A target in a DuckDB file, as an entry of the package. Needs the package `@duckdb/node-api`.
 *
 * @module
 */
import * as Options from "../options/Options.ts";
import type { DuckDbOptions, Target } from "../plain/Target.ts";
import * as DuckDb from "./targets/duckdb.ts";

export type * from "../plain/Target.ts";

const kind = Options.object<DuckDbOptions>({
  path: Options.text,
  schema: Options.text,
  memoryLimit: Options.text,
  threads: Options.number,
  patience: Options.number,
}, { required: ["path"] });

/**
 * Make a target in a DuckDB file. The file is open while a checkpoint is written, and closed in between for its readers.
 *
 * Memory: the rows of a checkpoint and what DuckDB needs to merge them, up to `memoryLimit`, however large the table is. What
 * is above that goes to a folder beside the file, `<file>.<id>.tmp`, for as long as the connection is open.
 *
 * @throws {TypeError} on an option that there is not, or of the wrong kind.
 *
 * @example
 * ```ts
 * import { make as makeTarget } from "monocloud-sessions/duckdb";
 *
 * const target = makeTarget({ path: "sessions.duckdb", memoryLimit: "2GB" });
 * console.assert(target.name === "sessions.duckdb, schema monocloud");
 * ```
 */
export const make = (given: DuckDbOptions): Target =>
  DuckDb.make(Options.take("make a target in DuckDB", kind, given));

/** SQL of DuckDB, and the meaning of its errors. */
import { literal, quoted } from "../../postgres/Quoted.ts";
import type { Dialect, Kind, TargetError } from "../Target.ts";
import { comment } from "./PostgresDialect.ts";

/** The name of the file's database in statements, whatever the file's. */
export const CATALOG = "warehouse";

const types: Readonly<Record<Kind, string>> = {
  text: "VARCHAR",
  timestamp: "TIMESTAMP WITH TIME ZONE",
  number: "DOUBLE",
  text_list: "VARCHAR[]",
  json: "VARCHAR",
  integer: "BIGINT",
  boolean: "BOOLEAN",
};

export const dialectOf = (schema: string): Dialect => {
  const its = `${CATALOG}.${quoted(schema)}`;
  return {
    types,
    table: (name) => `${its}.${quoted(name)}`,
    // Whoever opens the file knows its database by another name.
    inView: quoted,
    createSchema: {
      statement: `CREATE SCHEMA IF NOT EXISTS ${its}`,
      isThere: `SELECT 1 FROM duckdb_schemas() WHERE database_name = '${CATALOG}' AND schema_name = ${
        literal(schema)
      }`,
    },
    now: "now()",
    epoch: (time) => `epoch(${time})`,
    true: "true",
    false: "false",
    // A key costs three to four times the rest, and the file grows by every update (measured).
    hasKeys: false,
    comment,
  };
};

/** Tells what an error is by its message: DuckDB has no codes. */
export const reasonOf = (message: string): TargetError["reason"] => {
  if (
    /conflicting lock|could not set lock|being used by another process|already attached|unique file handle/i
      .test(message)
  ) return "Busy";
  if (/no space left|disk full|max_temp_directory_size/i.test(message)) return "Full";
  if (/permission denied|read-only/i.test(message)) return "Denied";
  if (/not a valid duckdb database|no such file or directory|cannot open file/i.test(message)) {
    return "Foreign";
  }
  return "Statement";
};

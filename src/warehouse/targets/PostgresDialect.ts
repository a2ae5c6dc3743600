/** SQL as PostgreSQL spells it. */
import { literal, quoted } from "../../postgres/Quoted.ts";
import type { Dialect, Kind } from "../Target.ts";

const types: Readonly<Record<Kind, string>> = {
  text: "text",
  timestamp: "timestamp with time zone",
  number: "double precision",
  text_list: "text[]",
  json: "text",
  integer: "bigint",
  boolean: "boolean",
};

/** Give the statement that says what a table or a column holds; DuckDB takes it as well. */
export const comment = (table: string, column: string | undefined, text: string): string =>
  `COMMENT ON ${column === undefined ? `TABLE ${table}` : `COLUMN ${table}.${column}`} IS ${literal(text)}`;

export const make = (schema: string): Dialect => ({
  types,
  table: (name) => `${quoted(schema)}.${quoted(name)}`,
  createSchema: {
    statement: `CREATE SCHEMA ${quoted(schema)}`,
    isThere: `SELECT 1 FROM pg_namespace WHERE nspname = ${literal(schema)}`,
  },
  now: "clock_timestamp()",
  epoch: (time) => `extract(epoch FROM ${time})`,
  true: "true",
  false: "false",
  hasKeys: true,
  // An index entry has 2,704 bytes at most, and the two lengths take some of them.
  keyBytes: 2600,
  comment,
  // A hash join reads the whole table for each checkpoint: that takes the longer, the larger the table is.
  byKey: {
    on: "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
    off: "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on",
  },
  analyze: (table) => `ANALYZE ${table}`,
  alone: `SELECT pg_advisory_xact_lock(hashtextextended(${literal(`monocloud-sessions ${schema}`)}, 0))`,
});

/** Files read back by DuckDB, which shares no code with the encoders. */
import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { columns } from "../../src/session/Columns.ts";
import type { Encodable } from "../../src/format/Format.ts";
import { rowsOf } from "../contract/columns.ts";
import { csvTable, parquetTable, type Row, sql } from "../duckdb.ts";

/** Runs SQL over a file; `$file` in it stands for the path, quoted. */
export const query = async (file: Uint8Array, text: string): Promise<Array<Row>> => {
  const path = join(tmpdir(), `monocloud-sessions-${randomUUID()}`);
  await writeFile(path, file);
  try {
    return await sql(text.replaceAll(/'?\$file'?/g, `'${path}'`));
  } finally {
    await rm(path);
  }
};

// DuckDB's JavaScript client drops a U+FEFF that a text begins with, so texts are fetched with a letter in
// front.
const selected = columns.map(({ name, kind }) => {
  if (kind === "text_list") return `list_transform(${name}, lambda x: 'x' || x) AS ${name}`;
  return kind === "text" || kind === "json" ? `'x' || ${name} AS ${name}` : name;
});

const withoutCursor = (value: unknown): unknown => {
  if (typeof value === "string") return value.slice(1);
  return Array.isArray(value) ? value.map(withoutCursor) : value;
};

const rows = async (file: Uint8Array, from: string): Promise<Array<Row>> =>
  (await query(file, `SELECT ${selected.join(", ")} FROM ${from}`)).map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, withoutCursor(value)]))
  );

/** Every row of a CSV. */
export const csvRows = (file: Uint8Array): Promise<Array<Row>> => rows(file, csvTable("$file"));

/** Every row of a Parquet file. */
export const parquetRows = (file: Uint8Array): Promise<Array<Row>> => rows(file, parquetTable("$file"));

/** The rows that the columns give, as DuckDB hands them over. UTF-8 has no lone surrogates. */
export const expectedRows = (batch: Encodable): Array<Row> =>
  rowsOf(batch).map((row) =>
    Object.fromEntries(columns.map(({ name, kind }) => {
      const value = row[name];
      if (kind === "timestamp") return [name, new Date(Number(value) * 1000)];
      if (typeof value === "string") return [name, value.toWellFormed()];
      if (Array.isArray(value)) return [name, value.map((text: string) => text.toWellFormed())];
      return [name, value];
    }))
  );

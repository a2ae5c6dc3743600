/** Files read back by DuckDB, which shares no code with the encoders. */
import { DuckDBInstance } from "@duckdb/node-api";
import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { columns, sqlTypes } from "../../src/Columns.ts";
import type { Encodable } from "../../src/format/Encoder.ts";

export type Row = Record<string, unknown>;

/** Runs SQL over a file; `$file` in it stands for the path, quoted. */
export const query = async (file: Uint8Array, sql: string): Promise<Array<Row>> => {
  const path = join(tmpdir(), `monocloud-sessions-${randomUUID()}`);
  await writeFile(path, file);
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql.replaceAll("$file", `'${path}'`));
    return reader.getRowObjectsJS();
  } finally {
    connection.closeSync();
    instance.closeSync();
    await rm(path);
  }
};

// DuckDB's JavaScript client drops a U+FEFF that a text begins with, so texts are fetched with a letter in
// front.
const selected = columns.map(({ name, kind }) => {
  if (kind === "text_list") return `list_transform(${name}, lambda x: 'x' || x) AS ${name}`;
  return kind === "text" || kind === "json" ? `'x' || ${name} AS ${name}` : name;
});

const withoutMark = (value: unknown): unknown => {
  if (typeof value === "string") return value.slice(1);
  return Array.isArray(value) ? value.map(withoutMark) : value;
};

const rows = async (file: Uint8Array, from: string): Promise<Array<Row>> =>
  (await query(file, `SELECT ${selected.join(", ")} FROM ${from}`)).map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, withoutMark(value)]))
  );

const csvColumns = columns.map(({ name, kind }) =>
  `${name}: '${kind === "text_list" ? "JSON" : sqlTypes[kind]}'`
);

// Nothing is left to be guessed.
const csvTable = `(SELECT * REPLACE (CAST(client_ids AS VARCHAR[]) AS client_ids) FROM read_csv($file,
  auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', new_line = '\\r\\n',
  nullstr = '', allow_quoted_nulls = false, columns = {${csvColumns.join(", ")}}))`;

/** Every row of a CSV. */
export const csvRows = (file: Uint8Array): Promise<Array<Row>> => rows(file, csvTable);

/** Every row of a Parquet file. */
export const parquetRows = (file: Uint8Array): Promise<Array<Row>> => rows(file, "read_parquet($file)");

/** The rows that the columns give, as DuckDB hands them over. UTF-8 has no lone surrogates. */
export const expectedRows = ({ userId, sessions, source }: Encodable): Array<Row> =>
  sessions.map((session, i) =>
    Object.fromEntries(columns.map((column) => {
      const value = column.get(session, userId, source?.[i]);
      if (column.kind === "timestamp") return [column.name, new Date(Number(value) * 1000)];
      if (typeof value === "string") return [column.name, value.toWellFormed()];
      if (Array.isArray(value)) return [column.name, value.map((text: string) => text.toWellFormed())];
      return [column.name, value];
    }))
  );

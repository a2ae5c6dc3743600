/** SQL over files on disk, by a reader that shares no code with the encoders. */
import { DuckDBInstance } from "@duckdb/node-api";
import { columns, sqlTypes } from "../src/session/Columns.ts";

export type Row = Record<string, unknown>;

/** Runs SQL and gives its rows. */
export const sql = async (text: string): Promise<Array<Row>> => {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    return (await connection.runAndReadAll(text)).getRowObjectsJS();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
};

const csvTypes = columns.map(({ name, kind }) =>
  `${name}: '${kind === "text_list" ? "JSON" : sqlTypes[kind]}'`
);

/** A CSV as a table with the types of the columns, null and "" told apart. */
export const csvTable = (path: string): string =>
  `(SELECT * REPLACE (CAST(client_ids AS VARCHAR[]) AS client_ids) FROM read_csv('${path}',
    auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', new_line = '\\r\\n',
    nullstr = '', allow_quoted_nulls = false, columns = {${csvTypes.join(", ")}}))`;

/** A Parquet file as a table. */
export const parquetTable = (path: string): string => `read_parquet('${path}')`;

/** `user session` of every row of a table, sorted. */
export const keysFrom = async (table: string): Promise<Array<string>> =>
  (await sql(`SELECT user_id || ' ' || session_id AS key FROM ${table}`)).map(({ key }) => String(key))
    .sort();

/** The same of a dataset, by NDJSON, CSV and Parquet. */
export const keysInEach = async (root: string): Promise<ReadonlyArray<Array<string>>> => [
  await keysFrom(
    `read_json('${root}/ndjson/*.ndjson', columns = {user_id: 'VARCHAR', session_id: 'VARCHAR'})`,
  ),
  await keysFrom(csvTable(`${root}/csv/*.csv`)),
  await keysFrom(parquetTable(`${root}/parquet/*.parquet`)),
];

/** Files compared with each other, by DuckDB: that contenders did the same is shown before it is said how fast they were. */
import { DuckDBInstance } from "@duckdb/node-api";

const columns = [
  "user_id",
  "session_id",
  "session_key",
  "country",
  "region",
  "city",
  "ip_address",
  "user_agent",
];

const textOf = (value: string, name: string): string => `nullif(${value}, '') AS ${name}`;

/**
 * One shape for all formats: what any of them can say the same way. Not all peers tell an empty text from none, nor put an
 * apostrophe before every formula in CSV.
 */
const tableOf = (path: string): string => {
  if (path.endsWith(".ndjson")) {
    const texts = columns.map((name, index) => textOf(index < 3 ? name : `last_metadata->>'${name}'`, name));
    return `SELECT ${texts.join(", ")},
      to_timestamp(initiated_at) AS initiated_at, to_timestamp(expires_at) AS expires_at,
      to_timestamp(last_updated) AS last_updated, TRY_CAST(last_metadata->>'latitude' AS DOUBLE) AS latitude,
      TRY_CAST(last_metadata->>'longitude' AS DOUBLE) AS longitude, client_ids::VARCHAR[]::VARCHAR AS client_ids
    FROM read_json('${path}', format = 'newline_delimited', columns = {user_id: 'VARCHAR', session_id: 'VARCHAR',
      session_key: 'VARCHAR', last_metadata: 'JSON', initiated_at: 'BIGINT', expires_at: 'BIGINT', last_updated: 'BIGINT',
      client_ids: 'JSON'})`;
  }
  const isCsv = path.endsWith(".csv");
  const from = isCsv
    ? `read_csv('${path}', header = true, nullstr = '', allow_quoted_nulls = false, types = {client_ids: 'JSON'})`
    : `'${path}'`;
  return `SELECT ${
    columns.map((name) => textOf(isCsv ? `ltrim(${name}, '''')` : name, name)).join(", ")
  }, initiated_at::TIMESTAMPTZ AS initiated_at, expires_at::TIMESTAMPTZ AS expires_at,
    last_updated::TIMESTAMPTZ AS last_updated, latitude::DOUBLE AS latitude, longitude::DOUBLE AS longitude,
    client_ids::VARCHAR[]::VARCHAR AS client_ids FROM ${from}`;
};

/** Throws unless all files hold the same rows, as often each. */
export const sameRows = async (paths: ReadonlyArray<string>): Promise<void> => {
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  try {
    const [first, ...others] = paths;
    for (const other of others) {
      const [one, two] = [tableOf(first!), tableOf(other)];
      const found = await connection.runAndReadAll(
        `SELECT (SELECT count(*) FROM (${one})) AS rows,
          (SELECT count(*) FROM ((${one}) EXCEPT ALL (${two}))) + (SELECT count(*) FROM ((${two}) EXCEPT ALL (${one}))) AS differ`,
      );
      const [{ rows, differ }] = found.getRowObjectsJson() as unknown as [{ rows: string; differ: string }];
      if (Number(rows) === 0 || Number(differ) > 0) {
        throw new Error(`${first} has ${rows} rows, and ${differ} differ from those of ${other}`);
      }
    }
  } finally {
    connection.closeSync();
  }
};

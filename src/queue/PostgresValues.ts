/**
 * Values in a table of PostgreSQL, one statement each. A version is the time of its replacement in microseconds, so that none
 * comes again for a value that was removed and set anew.
 */
import type * as Pg from "pg";
import { quoted } from "../postgres/Quoted.ts";
import * as QueueError from "./QueueError.ts";
import type { Values } from "./Values.ts";

export interface PostgresValuesOptions {
  /** The pool of `pg`. */
  readonly Pool: typeof Pg.Pool;
  readonly config: Pg.ClientConfig;
  /** Name of the server, for messages. */
  readonly name: string;
  /** @default {"monocloud_queue"} */
  readonly schema?: string | undefined;
}

/** The longest time that a call may take, in milliseconds. */
const PATIENCE = 5000;

const MICROS = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/** Make the table unless it is there. Of many that begin at once the first makes it, and the others wait for that. */
const prepare = async (pool: Pg.Pool, schema: string, table: string): Promise<void> => {
  // To make what is there already takes a right as well.
  const { rows: [found] } = await pool.query("SELECT to_regclass($1) IS NOT NULL AS yes", [table]);
  if (found?.["yes"] === true) return;
  // Together they are one transaction.
  await pool.query(
    `SELECT pg_advisory_xact_lock(hashtext('monocloud-sessions queue'));
     CREATE SCHEMA IF NOT EXISTS ${quoted(schema)};
     CREATE TABLE IF NOT EXISTS ${table}
       (key text COLLATE "C" PRIMARY KEY, value text NOT NULL, version bigint NOT NULL)`,
  );
};

/** Connect, and make the table unless it is there. */
export const open = async (
  { Pool, config, name, schema = "monocloud_queue" }: PostgresValuesOptions,
): Promise<Values> => {
  const table = `${quoted(schema)}.values`;
  const pool = new Pool({
    ...config,
    max: 2,
    idleTimeoutMillis: 60_000,
    connectionTimeoutMillis: PATIENCE,
    query_timeout: PATIENCE,
    allowExitOnIdle: true,
  });
  // A connection that is lost while idle is replaced by the next call.
  pool.on("error", () => {});
  const query = async (statement: string, parameters: ReadonlyArray<unknown>) => {
    try {
      return await pool.query<Record<string, unknown>>(statement, [...parameters]);
    } catch (cause) {
      throw QueueError.of(name, cause);
    }
  };
  try {
    await prepare(pool, schema, table);
  } catch (cause) {
    void pool.end().catch(() => undefined);
    throw QueueError.of(name, cause);
  }
  let ended: Promise<void> | undefined;
  return {
    read: async (key) => {
      const { rows: [row] } = await query(
        `SELECT ${MICROS}::float8 / 1000 AS now, value, version::float8 AS version
         FROM (VALUES (1)) AS one LEFT JOIN ${table} ON key = $1`,
        [key],
      );
      return {
        value: row?.["value"] === null ? undefined : String(row?.["value"]),
        version: Number(row?.["version"] ?? 0),
        now: Number(row?.["now"]),
      };
    },
    replace: async (key, version, value) => {
      const { rowCount } = version === 0
        ? await query(
          `INSERT INTO ${table} (key, value, version) VALUES ($1, $2, ${MICROS}) ON CONFLICT DO NOTHING`,
          [key, value],
        )
        : await query(
          `UPDATE ${table} SET value = $2, version = greatest(version + 1, ${MICROS})
           WHERE key = $1 AND version = $3`,
          [key, value, version],
        );
      return rowCount === 1;
    },
    set: async (key, value) => {
      await query(
        `INSERT INTO ${table} AS old (key, value, version) VALUES ($1, $2, ${MICROS})
         ON CONFLICT (key) DO UPDATE
         SET value = excluded.value, version = greatest(old.version + 1, excluded.version)`,
        [key, value],
      );
    },
    remove: async (key) => void await query(`DELETE FROM ${table} WHERE key = $1`, [key]),
    list: async (prefix) => {
      const { rows } = await query(
        `SELECT key, value, greatest(0, ${MICROS} - version)::float8 / 1000 AS age
         FROM ${table} WHERE key >= $1 AND starts_with(key, $1) ORDER BY key`,
        [prefix],
      );
      return rows.map(({ key, value, age }) => ({
        key: String(key),
        value: String(value),
        age: Number(age),
      }));
    },
    close: () => ended ??= pool.end(),
  };
};

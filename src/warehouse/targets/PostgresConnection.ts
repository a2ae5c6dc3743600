/** A connection to PostgreSQL: one session of the server, with its settings, for as long as a run lasts. */
import type { Column, Connection, ConnectOptions, Described, Rows } from "../Target.ts";
import { TargetError } from "../Target.ts";
import * as CopyRows from "./CopyRows.ts";
import * as PostgresClient from "./PostgresClient.ts";
import { quoted } from "../../postgres/Quoted.ts";

/** The versions before have no `MERGE`, and are no longer kept. */
const OLDEST = 150_000;

/** The longest time that a process may say nothing within a transaction, in seconds. */
const SILENCE = 60;

/** Settings of each connection: who is stopped in a transaction is let go of, and whoever waits for a lock gives up. */
const settingsFor = (leaseSeconds: number): ReadonlyArray<string> => [
  `SET idle_in_transaction_session_timeout = ${
    Math.round(1000 * Math.max(1, Math.min(SILENCE, leaseSeconds / 2)))
  }`,
  "SET lock_timeout = '90s'",
  "SET statement_timeout = 0",
  "SET idle_session_timeout = 0",
  "SET TimeZone = 'UTC'",
  "SET client_min_messages = warning",
  "SET tcp_keepalives_idle = 30",
  "SET tcp_keepalives_interval = 10",
];

/** Name the session, as no other ever is. Fails on a server that is too old. */
const sessionOf = async (
  { query }: PostgresClient.Client,
  { name }: PostgresClient.ClientOptions,
): Promise<string> => {
  const { rows: [own] } = await query(
    "SELECT pg_backend_pid() || ':' || extract(epoch FROM backend_start) AS session, " +
      "current_setting('server_version_num')::int AS version " +
      "FROM pg_stat_activity WHERE pid = pg_backend_pid()",
  );
  if (Number(own?.["version"]) < OLDEST) {
    throw new TargetError({
      reason: "Foreign",
      target: name,
      message: `Cannot write to ${name}: it needs PostgreSQL 15 or later, and this is ${own?.["version"]}`,
    });
  }
  return String(own?.["session"]);
};

/** Tell whether a session is still there; undefined where that can't be told. */
const isOpen = async ({ query }: PostgresClient.Client, session: string): Promise<boolean | undefined> => {
  const [pid, began] = session.split(":");
  const { rows: [row] } = await query(
    "SELECT extract(epoch FROM backend_start)::text AS began FROM pg_stat_activity WHERE pid = $1",
    [Number(pid)],
  );
  if (row === undefined) return false;
  // Of another role only the number is told.
  return row["began"] === null ? undefined : row["began"] === began;
};

const describe = async ({ query }: PostgresClient.Client, table: string): Promise<Described | undefined> => {
  const { rows } = await query(
    "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute " +
      "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    [table],
  );
  if (rows.length === 0) return undefined;
  const key = await query(
    "SELECT attname FROM pg_index, pg_attribute WHERE indrelid = to_regclass($1) AND indisprimary " +
      "AND attrelid = indrelid AND attnum = ANY (indkey) ORDER BY array_position(indkey, attnum)",
    [table],
  );
  return {
    columns: new Map(rows.map((row) => [String(row["attname"]), String(row["type"])])),
    ...(key.rows.length > 0 && { key: key.rows.map((row) => String(row["attname"])) }),
  };
};

/** Connect, and set the session up. */
export const open = async (
  options: PostgresClient.ClientOptions,
  { leaseSeconds = 120 }: ConnectOptions = {},
): Promise<Connection> => {
  const client = await PostgresClient.make(options);
  const { attempt, query, copy } = client;
  let session: string;
  try {
    await attempt(client.connect);
    for (const setting of settingsFor(leaseSeconds)) await attempt(() => query(setting));
    session = await attempt(() => sessionOf(client, options));
  } catch (error) {
    client.destroy();
    throw error;
  }
  const append = (table: string, columns: ReadonlyArray<Column>, rows: Rows) =>
    attempt(() =>
      copy(
        `COPY ${table} (${columns.map(({ name }) => quoted(name)).join(", ")}) FROM STDIN (FORMAT binary)`,
        CopyRows.encode(columns, rows),
      )
    );
  return {
    session,
    isOpen: (session) => attempt(() => isOpen(client, session)),
    query: async (statement, parameters) => (await attempt(() => query(statement, parameters))).rows,
    run: async (statement, parameters) => (await attempt(() => query(statement, parameters))).count,
    append: (table, columns, rows) => append(quoted(table), columns, rows),
    appendTo: append,
    describe: (table) => attempt(() => describe(client, `${quoted(options.schema)}.${quoted(table)}`)),
    transaction: async (work) => {
      await attempt(() => query("BEGIN"));
      try {
        const result = await work();
        await attempt(async () => {
          const { command } = await query("COMMIT");
          // So it answers where a statement has failed, and the work went on.
          if (command !== "COMMIT") throw new Error(`the transaction ended with ${command}`);
        });
        return result;
      } catch (error) {
        await attempt(() => query("ROLLBACK")).catch(() => undefined);
        throw error;
      }
    },
    close: client.close,
  };
};

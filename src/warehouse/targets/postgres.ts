/**
 * A table of sessions in PostgreSQL, 15 or later. Needs the packages `pg` and `pg-copy-streams`.
 *
 * Needs a connection of its own for as long as a run lasts: through a pool of connections, one that keeps a session together.
 */
import type { Client } from "pg";
import type { Connection, Described, Dialect, Kind, Target } from "../Target.ts";
import { TargetError } from "../Target.ts";
import * as CopyRows from "./CopyRows.ts";

/** Options of {@link make}. */
export interface PostgresOptions {
  /** `postgres://user@host:port/database?sslmode=verify-full`. What it does not say is taken from `PGHOST` and the like. */
  readonly url: string;
  /** @default {the one in the URL, `PGPASSWORD`, or `~/.pgpass`} */
  readonly password?: string | undefined;
  /** @default {"monocloud"} */
  readonly schema?: string | undefined;
  /** The longest time that a statement may take, in milliseconds: then the connection counts as lost. @default {900_000} */
  readonly patience?: number | undefined;
}

const types: Readonly<Record<Kind, string>> = {
  text: "text",
  timestamp: "timestamp with time zone",
  number: "double precision",
  text_list: "text[]",
  json: "text",
  integer: "bigint",
  boolean: "boolean",
};

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const dialectOf = (schema: string): Dialect => ({
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
  comment: (table, column, text) =>
    `COMMENT ON ${column === undefined ? `TABLE ${table}` : `COLUMN ${table}.${column}`} IS ${literal(text)}`,
  analyze: (table) => `ANALYZE ${table}`,
});

/** The versions before have no `MERGE`, and are no longer kept. */
const OLDEST = 150_000;

/** Settings of each connection: who is stopped in a transaction is let go of, and whoever waits for a lock gives up. */
const SETTINGS = [
  "SET idle_in_transaction_session_timeout = '60s'",
  "SET lock_timeout = '90s'",
  "SET statement_timeout = 0",
  "SET TimeZone = 'UTC'",
  "SET client_min_messages = warning",
  "SET tcp_keepalives_idle = 30",
  "SET tcp_keepalives_interval = 10",
];

/** Classes of SQLSTATE, the longer ones first. */
const reasons: ReadonlyArray<readonly [prefix: string, reason: TargetError["reason"]]> = [
  ["25P03", "Unreachable"],
  ["53100", "Full"],
  ["55P03", "Busy"],
  ["42501", "Denied"],
  ["42P06", "Busy"],
  ["42P07", "Busy"],
  ["42710", "Busy"],
  ["23505", "Busy"],
  ["3D000", "Denied"],
  ["08", "Unreachable"],
  ["28", "Denied"],
  ["40", "Busy"],
  ["53", "Unreachable"],
  ["57P", "Unreachable"],
];

/** The words of each reason, before what the database says. */
const doings: Readonly<Partial<Record<TargetError["reason"], string>>> = {
  Unreachable: "Cannot reach",
  Busy: "Cannot write at present to",
  Denied: "Cannot log in to or write to",
  Full: "Cannot write for want of space to",
};

/** Name a database without its password. */
const nameOf = (url: string, schema: string): string => {
  const { username, hostname, port, pathname } = new URL(url);
  const host = `${hostname}${port === "" ? "" : `:${port}`}`;
  return `postgres://${username === "" ? "" : `${username}@`}${host}${pathname}, schema ${schema}`;
};

/**
 * A target in PostgreSQL.
 *
 * Memory: a few thousand rows on their way.
 *
 * @throws {TypeError} on a URL that is none.
 */
export const make = (
  { url, password, schema = "monocloud", patience = 900_000 }: PostgresOptions,
): Target => {
  const name = nameOf(url, schema);
  const failure = (error: unknown): TargetError => {
    if (error instanceof TargetError) return error;
    const { code, message } = error as Error & { readonly code?: unknown };
    const state = typeof code === "string" ? code : "";
    const found = /^[0-9A-Z]{5}$/.test(state)
      ? reasons.find(([prefix]) => state.startsWith(prefix))?.[1] ?? "Statement"
      : state === "ENOTFOUND"
      ? "Missing"
      : "Unreachable";
    return new TargetError({
      reason: found,
      target: name,
      message: `${doings[found] ?? "Cannot write to"} ${name}: ${message || state}`,
      cause: error,
    });
  };
  const missing = (which: string, cause: unknown) =>
    new TargetError({
      reason: "Missing",
      target: name,
      message:
        `Cannot connect to ${name} as the package ${which} is not installed: npm install pg pg-copy-streams`,
      cause,
    });

  const connect = async (): Promise<Connection> => {
    const pg = await import("pg").catch((cause) => {
      throw missing("pg", cause);
    });
    const { from } = await import("pg-copy-streams").catch((cause) => {
      throw missing("pg-copy-streams", cause);
    });
    // A password beside a URL without one is ignored.
    const whole = new URL(url);
    if (password !== undefined) whole.password = password;
    const client: Client = new pg.default.Client({
      connectionString: whole.href,
      application_name: "monocloud-sessions",
      connectionTimeoutMillis: 30_000,
      keepAlive: true,
    });
    let lost: Error | undefined;
    // Where nobody waits for an answer, the next call tells.
    client.on("error", (error) => lost ??= error);

    /** Fail a call that is not answered, and let go of its connection: the server rolls back then. */
    const attempt = async <A>(work: () => Promise<A>): Promise<A> => {
      if (lost !== undefined) throw failure(lost);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          lost = new Error(`no answer within ${patience / 1000} s`);
          destroy();
          reject(lost);
        }, patience);
      });
      try {
        return await Promise.race([work(), late]);
      } catch (error) {
        throw failure(error);
      } finally {
        clearTimeout(timer);
      }
    };
    const destroy = () =>
      (client as unknown as { readonly connection?: { readonly stream?: { destroy: () => void } } })
        .connection?.stream?.destroy();

    const query = async (statement: string, parameters: ReadonlyArray<unknown> = []) => {
      const result = await client.query(statement, [...parameters]);
      return { rows: result.rows as ReadonlyArray<Record<string, unknown>>, count: result.rowCount ?? 0 };
    };

    try {
      await attempt(() => client.connect());
      for (const setting of SETTINGS) await attempt(() => query(setting));
    } catch (error) {
      destroy();
      throw error;
    }
    const { rows: [own] } = await attempt(() =>
      query(
        "SELECT pg_backend_pid() || ':' || extract(epoch FROM backend_start) AS session, " +
          "current_setting('server_version_num')::int AS version " +
          "FROM pg_stat_activity WHERE pid = pg_backend_pid()",
      )
    );
    if (Number(own?.["version"]) < OLDEST) {
      destroy();
      throw new TargetError({
        reason: "Foreign",
        target: name,
        message: `Cannot write to ${name}: it needs PostgreSQL 15 or later, and this is ${own?.["version"]}`,
      });
    }

    const describe = async (table: string): Promise<Described | undefined> => {
      const its = `${quoted(schema)}.${quoted(table)}`;
      const { rows } = await query(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute " +
          "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [its],
      );
      if (rows.length === 0) return undefined;
      const key = await query(
        "SELECT attname FROM pg_index, pg_attribute WHERE indrelid = to_regclass($1) AND indisprimary " +
          "AND attrelid = indrelid AND attnum = ANY (indkey) ORDER BY array_position(indkey, attnum)",
        [its],
      );
      return {
        columns: new Map(rows.map((row) => [String(row["attname"]), String(row["type"])])),
        ...(key.rows.length > 0 && { key: key.rows.map((row) => String(row["attname"])) }),
      };
    };

    const copy = (statement: string, pieces: Iterable<Uint8Array>) =>
      new Promise<void>((resolve, reject) => {
        const stream = client.query(from(statement));
        stream.on("error", reject);
        stream.on("finish", resolve);
        void (async () => {
          for (const piece of pieces) {
            if (stream.destroyed) return;
            if (!stream.write(piece)) await new Promise((drained) => stream.once("drain", drained));
          }
          stream.end();
        })().catch((error) => stream.destroy(error));
      });

    return {
      session: String(own?.["session"]),
      isOpen: (session) =>
        attempt(async () => {
          const [pid, began] = session.split(":");
          const { rows: [row] } = await query(
            "SELECT extract(epoch FROM backend_start)::text AS began FROM pg_stat_activity WHERE pid = $1",
            [Number(pid)],
          );
          if (row === undefined) return false;
          // Of another role only the number is told.
          return row["began"] === null ? undefined : row["began"] === began;
        }),
      query: (statement, parameters) => attempt(async () => (await query(statement, parameters)).rows),
      run: (statement, parameters) => attempt(async () => (await query(statement, parameters)).count),
      append: (table, columns, rows) =>
        attempt(() =>
          copy(
            `COPY ${quoted(table)} (${columns.map(({ name }) => quoted(name)).join(", ")}) ` +
              "FROM STDIN (FORMAT binary)",
            CopyRows.encode(columns, rows),
          )
        ),
      describe: (table) => attempt(() => describe(table)),
      transaction: async (work) => {
        await attempt(() => query("BEGIN"));
        try {
          const result = await work();
          await attempt(() => query("COMMIT"));
          return result;
        } catch (error) {
          if (lost === undefined) await attempt(() => query("ROLLBACK")).catch(() => undefined);
          throw error;
        }
      },
      close: async () => {
        if (lost === undefined) await Promise.race([client.end().catch(() => undefined), delay(2000)]);
        destroy();
      },
    };
  };
  return { name, dialect: dialectOf(schema), connect };
};

const delay = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    (timer as { unref?: () => void }).unref?.();
  });

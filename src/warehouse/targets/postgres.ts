/**
 * A table of sessions in PostgreSQL, 15 or later. Needs the packages `pg` and `pg-copy-streams`.
 *
 * Needs a connection of its own for as long as a run lasts: through a pool of connections, one that keeps a session together.
 */
import type { Client } from "pg";
import type {
  Column,
  Connection,
  ConnectOptions,
  Described,
  Dialect,
  Kind,
  PostgresOptions,
  Rows,
  Target,
} from "../Target.ts";
import { TargetError } from "../Target.ts";
import * as CopyRows from "./CopyRows.ts";
import * as PasswordFile from "./PasswordFile.ts";

export type { PostgresOptions } from "../Target.ts";

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
  // A hash join reads the whole table for each checkpoint: that takes the longer, the larger the table is.
  byKey: {
    on: "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
    off: "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on",
  },
  analyze: (table) => `ANALYZE ${table}`,
  alone: `SELECT pg_advisory_xact_lock(hashtextextended(${literal(`monocloud-sessions ${schema}`)}, 0))`,
});

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

/** Classes of SQLSTATE, the longer ones first. */
const reasons: ReadonlyArray<readonly [prefix: string, reason: TargetError["reason"]]> = [
  ["25006", "Denied"],
  ["25P03", "Unreachable"],
  ["53100", "Full"],
  ["55P03", "Busy"],
  ["42501", "Denied"],
  ["42P06", "Exists"],
  ["42P07", "Exists"],
  ["42710", "Exists"],
  ["23505", "Exists"],
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
  UnknownHost: "Cannot find the host of",
  Insecure: "Cannot trust the server of",
  Busy: "Cannot write at present to",
  Denied: "Cannot log in to or write to",
  Full: "Cannot write for want of space to",
};

const passwordIsFrom = "The password comes from MONOCLOUD_TO, PGPASSWORD or ~/.pgpass";

/** What to do, by what the database or its client says. */
const advice = (schema: string): ReadonlyArray<readonly [says: RegExp, todo: string]> => {
  const its = quoted(schema);
  return [
    [/does not support SSL/, "Set TLS up there; sslmode=disable does without, where nobody else can listen"],
    [
      /altname|does not match|not valid for/i,
      "Connect by a name that is in the certificate; sslmode=no-verify encrypts and trusts anyone",
    ],
    [
      /certificate/i,
      "sslmode=require means verify-full here: name the authority's certificate by sslrootcert=FILE in the URL, or " +
      "by NODE_EXTRA_CA_CERTS; sslmode=no-verify encrypts and trusts anyone",
    ],
    [/password(?! file)/, passwordIsFrom],
    [
      /for database/,
      `Make the schema for its role: CREATE SCHEMA ${its} AUTHORIZATION its_role; or GRANT CREATE ON DATABASE`,
    ],
    [/temporary tables/, "GRANT TEMPORARY ON DATABASE to its role: rows wait in temporary tables"],
    [/for schema/, `GRANT USAGE, CREATE ON SCHEMA ${its} to its role; CREATE until the tables are there`],
    [
      /for (table|view|relation)/,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${its} to its role`,
    ],
    [/database .* does not exist/, "Create it, or name another in the URL"],
  ];
};

/** Tell what an error is that the database itself did not send. */
const reasonOf = (code: string, message: string): TargetError["reason"] => {
  if (code === "ENOTFOUND") return "UnknownHost";
  if (/^SASL|password must be|password file/.test(message)) return "Denied";
  if (/CERT|^ERR_(TLS|SSL)/.test(code) || /certificate|\bSSL\b|\bTLS\b/i.test(message)) return "Insecure";
  return "Unreachable";
};

/** What the client of PostgreSQL says where there is no password at all. */
const NO_PASSWORD = /client password must be/;

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
    const reason = /^[0-9A-Z]{5}$/.test(state)
      ? reasons.find(([prefix]) => state.startsWith(prefix))?.[1] ?? "Statement"
      : reasonOf(state, message);
    const says = NO_PASSWORD.test(message) ? "it asks for a password" : message || state;
    const todo = ["Denied", "Insecure"].includes(reason)
      ? advice(schema).find(([pattern]) => pattern.test(says))?.[1]
      : undefined;
    return new TargetError({
      reason,
      target: name,
      message: `${doings[reason] ?? "Cannot write to"} ${name}: ${says}${
        todo === undefined ? "" : `. ${todo}`
      }`,
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

  /** Give the URL as the client of PostgreSQL takes it. */
  const wholeUrl = (): string => {
    const whole = new URL(url);
    // A password beside a URL without one is ignored.
    if (password !== undefined) whole.password = password;
    // It takes them so, and warns of it.
    const isTaken = ["require", "prefer", "verify-ca"].includes(whole.searchParams.get("sslmode") ?? "");
    if (isTaken && whole.searchParams.get("uselibpqcompat") !== "true") {
      whole.searchParams.set("sslmode", "verify-full");
    }
    return whole.href;
  };

  const connect = async ({ leaseSeconds = 120 }: ConnectOptions = {}): Promise<Connection> => {
    const pg = await import("pg").catch((cause) => {
      throw missing("pg", cause);
    });
    const { from } = await import("pg-copy-streams").catch((cause) => {
      throw missing("pg-copy-streams", cause);
    });
    let client: Client;
    try {
      client = new pg.default.Client({
        connectionString: wholeUrl(),
        application_name: "monocloud-sessions",
        connectionTimeoutMillis: 30_000,
        keepAlive: true,
        // A server that is gone for good is noticed while nothing is sent.
        keepAliveInitialDelayMillis: 10_000,
      });
    } catch (cause) {
      // Such as a certificate's file that is not there.
      throw new TargetError({
        reason: "Missing",
        target: name,
        message: `Cannot connect to ${name}: ${(cause as Error).message}`,
        cause,
      });
    }
    // As an option it would be overruled by the URL, which has none.
    const its = client as unknown as {
      password: string | null | undefined | ((login: PasswordFile.Login) => Promise<string | undefined>);
    };
    its.password ??= PasswordFile.read;
    let lost: Error | undefined;
    // Where nobody waits for an answer, the next call tells.
    client.on("error", (error) => lost ??= error);

    /** Fail a call that is not answered, and let go of its connection: the server rolls back then. */
    const attempt = async <A>(work: () => Promise<A>): Promise<A> => {
      if (lost !== undefined) throw failure(lost);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          const late = new Error(`no answer within ${patience / 1000} s`);
          lost ??= late;
          destroy();
          reject(late);
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
      const { rows, rowCount, command } = result;
      return { rows: rows as ReadonlyArray<Record<string, unknown>>, count: rowCount ?? 0, command };
    };

    let session: string;
    try {
      await attempt(() => client.connect());
      for (const setting of settingsFor(leaseSeconds)) await attempt(() => query(setting));
      const { rows: [own] } = await attempt(() =>
        query(
          "SELECT pg_backend_pid() || ':' || extract(epoch FROM backend_start) AS session, " +
            "current_setting('server_version_num')::int AS version " +
            "FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
      );
      session = String(own?.["session"]);
      if (Number(own?.["version"]) < OLDEST) {
        throw new TargetError({
          reason: "Foreign",
          target: name,
          message: `Cannot write to ${name}: it needs PostgreSQL 15 or later, and this is ${
            own?.["version"]
          }`,
        });
      }
    } catch (error) {
      destroy();
      throw error;
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

    const copy = (statement: string, pieces: Iterator<Uint8Array>) =>
      new Promise<void>((resolve, reject) => {
        const stream = client.query(from(statement));
        let isOver = false;
        stream.on("finish", resolve);
        stream.on("error", (error) => {
          isOver = true;
          reject(error);
        });
        // One piece at a time, and none after an error: the stream has no connection any more.
        const give = () => {
          try {
            while (!isOver) {
              const { done, value } = pieces.next();
              if (done === true) return void stream.end();
              if (!stream.write(value)) return void stream.once("drain", give);
            }
          } catch (error) {
            stream.destroy(error as Error);
          }
        };
        give();
      });

    const append = (table: string, columns: ReadonlyArray<Column>, rows: Rows) =>
      copy(
        `COPY ${table} (${columns.map(({ name }) => quoted(name)).join(", ")}) FROM STDIN (FORMAT binary)`,
        CopyRows.encode(columns, rows),
      );

    return {
      session,
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
      append: (table, columns, rows) => attempt(() => append(quoted(table), columns, rows)),
      appendTo: (table, columns, rows) => attempt(() => append(table, columns, rows)),
      describe: (table) => attempt(() => describe(table)),
      transaction: async (work) => {
        await attempt(() => query("BEGIN"));
        try {
          const result = await work();
          const { command } = await attempt(() => query("COMMIT"));
          // So it answers where a statement has failed, and the work went on.
          if (command !== "COMMIT") throw failure(new Error(`the transaction ended with ${command}`));
          return result;
        } catch (error) {
          if (lost === undefined) await attempt(() => query("ROLLBACK")).catch(() => undefined);
          throw error;
        }
      },
      close: async () => {
        const isLost = lost !== undefined;
        lost ??= new Error("the connection was closed");
        if (!isLost) await Promise.race([client.end().catch(() => undefined), delay(1000)]);
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

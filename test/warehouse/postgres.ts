/** A real PostgreSQL for tests, ready within about a second: by {@link postgresForFile}, one for all tests of a file. */
import { afterAll, beforeAll } from "vitest";
import pg from "pg";
import { type Cluster, type ClusterOptions, makeCluster } from "./cluster.ts";
import { type Version, versions } from "./versions.ts";

export { allVersions, hasPostgres, type Version, versions } from "./versions.ts";

/** Where a database is, and what opens it. */
export interface Database {
  readonly name: string;
  /** `postgres://user@127.0.0.1:port/name`, without the password. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

export interface PostgresOptions extends Pick<ClusterOptions, "settings"> {
  /** Which one. @default {versions[0]} */
  readonly version?: Version | undefined;
}

/** A server, and what tests ask of it as its superuser. */
export interface Postgres extends Cluster {
  /** Runs statements, in the database `postgres` or another, and gives the rows of the last. */
  readonly sql: (text: string, database?: string) => Promise<Array<Record<string, unknown>>>;
  /** Makes an empty database. */
  readonly createDatabase: (name?: string) => Promise<Database>;
  /** Makes a user with a password of its own, who may connect to this database and nothing more. */
  readonly createUser: (database: Database, user: string) => Promise<Database>;
}

/** Start a server of its own folder, port and password; end it with `remove`. */
export const startPostgres = async (
  { version = versions[0], settings }: PostgresOptions = {},
): Promise<Postgres> => {
  if (version === undefined) throw new Error("There is no PostgreSQL here: skip the test if !hasPostgres");
  const cluster = await makeCluster({ bin: version.bin, settings });
  const { port, password } = cluster;
  let made = 0;

  const at = (name: string, user = "postgres", its = password): Database => ({
    name,
    url: `postgres://${user}@127.0.0.1:${port}/${name}`,
    user,
    password: its,
  });

  const sql: Postgres["sql"] = async (text, database = "postgres") => {
    const client = connect(at(database));
    await client.connect();
    try {
      // Of more than one statement, it gives a list.
      return [await client.query(text)].flat().at(-1)?.rows ?? [];
    } finally {
      await client.end();
    }
  };

  return {
    ...cluster,
    sql,
    createDatabase: async (name = `test_${++made}`) => {
      await sql(`CREATE DATABASE ${pg.escapeIdentifier(name)}`);
      return at(name);
    },
    createUser: async (database, user) => {
      const its = `${user}-${password}`;
      await sql(
        `CREATE ROLE ${pg.escapeIdentifier(user)} LOGIN PASSWORD ${pg.escapeLiteral(its)};
         GRANT CONNECT ON DATABASE ${pg.escapeIdentifier(database.name)} TO ${pg.escapeIdentifier(user)}`,
      );
      return at(database.name, user, its);
    },
  };
};

/** Give a client of a database, yet to be connected. That its connection breaks while it is idle throws nothing. */
export const connect = (
  { url, password }: Pick<Database, "url" | "password">,
  options: pg.ClientConfig = {},
): pg.Client => {
  // In the URL, for `pg` ignores a password beside a URL that has none.
  const whole = new URL(url);
  whole.password = password;
  const client = new pg.Client({ connectionString: whole.href, ...options });
  client.on("error", () => {});
  return client;
};

/** Start a server before the tests of this file, or of the `describe` it is called in, and end it after them. */
export const postgresForFile = (options: PostgresOptions = {}): () => Postgres => {
  let postgres: Postgres | undefined;
  beforeAll(async () => {
    postgres = await startPostgres(options);
  });
  afterAll(() => postgres?.remove());
  return () => {
    if (postgres === undefined) throw new Error("The server starts before the tests, not before that");
    return postgres;
  };
};

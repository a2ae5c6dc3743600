/**
 * A table of sessions in PostgreSQL, 15 or later. Needs the packages `pg` and `pg-copy-streams`.
 *
 * Needs a connection of its own for as long as a run lasts: through a pool of connections, one that keeps a session together.
 */
import type { PostgresOptions, Target } from "../Target.ts";
import * as PostgresConnection from "./PostgresConnection.ts";
import * as PostgresDialect from "./PostgresDialect.ts";

export type { PostgresOptions } from "../Target.ts";

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
  return {
    name,
    dialect: PostgresDialect.make(schema),
    connect: (options) => PostgresConnection.open({ name, url, password, schema, patience }, options),
  };
};

/** Targets by the words that name them: a URL of PostgreSQL, or the path of a DuckDB file. */
import type { Target } from "../Target.ts";
import * as DuckDb from "./duckdb.ts";
import * as Postgres from "./postgres.ts";

export interface NamedOptions {
  /** @default {"monocloud"} */
  readonly schema?: string | undefined;
}

const isPostgres = (to: string): boolean => /^postgres(ql)?:\/\//i.test(to);

/** Tell whether a URL has a password in it. */
export const hasPassword = (to: string): boolean => {
  if (!isPostgres(to)) return false;
  const url = URL.canParse(to) ? new URL(to) : undefined;
  return url === undefined || url.password !== "" || url.searchParams.has("password");
};

/**
 * Give the target of that name.
 *
 * @throws {TypeError} on a name of no kind of target. It does not quote it: there may be a password in it.
 */
export const named = (to: string, { schema }: NamedOptions = {}): Target => {
  if (isPostgres(to)) {
    if (!URL.canParse(to)) {
      throw new TypeError("The URL of the database is none: write postgres://USER@HOST:PORT/DATABASE");
    }
    return Postgres.make({ url: to, schema });
  }
  if (/^[a-z]+:\/\//i.test(to) || !/\.(duckdb|db)$/i.test(to)) {
    throw new TypeError(
      "Sessions go to postgres://USER@HOST/DATABASE, or to a DuckDB file whose name ends with .duckdb or .db",
    );
  }
  return DuckDb.make({ path: to, schema });
};

/**
 * The contract of a target, as plain types: a database that keeps a table of sessions. `src/warehouse/Target.ts` has it
 * together with its error.
 */

/** The kinds of columns: those of sessions, and what the records of runs need. */
export type Kind = "text" | "timestamp" | "number" | "text_list" | "json" | "integer" | "boolean";

/** A value of a column: of a timestamp, seconds since the epoch. */
export type Value = string | number | ReadonlyArray<string> | boolean | null;

/** A column of a table. */
export interface Column {
  readonly name: string;
  readonly kind: Kind;
  readonly nullable: boolean;
}

/** Rows to append: values by the place of row and column. */
export interface Rows {
  readonly count: number;
  readonly at: (row: number, column: number) => Value;
}

/** A parameter of a statement. Times are given as text: ISO 8601, UTC. */
export type Parameter = string | number | boolean | null;

/** A row as a query gives it, by the names of its columns. */
export type Found = Readonly<Record<string, unknown>>;

/** The spelling of a database. */
export interface Dialect {
  /** The type of each kind of column, spelled as {@link Connection.describe} spells it. */
  readonly types: Readonly<Record<Kind, string>>;
  /** Gives the name of a table of the schema as statements have it, quoted. */
  readonly table: (name: string) => string;
  /** Gives the name as a view of the schema has it, whoever reads that later. @default {as `table` gives it} */
  readonly inView?: ((name: string) => string) | undefined;
  /** The statement that makes the schema, and a query that gives a row if it is there; left out where there are no schemas. */
  readonly createSchema?: { readonly statement: string; readonly isThere: string } | undefined;
  /** The expression of the time now, by the database's clock. */
  readonly now: string;
  /** Gives the expression of a time in seconds since the epoch. */
  readonly epoch: (time: string) => string;
  readonly true: string;
  readonly false: string;
  /** True if tables are given a primary key. Where one costs more than it brings, it is left out. */
  readonly hasKeys: boolean;
  /** Gives the statement that says what a table or column holds; left out where a database keeps no comments. */
  readonly comment?: ((table: string, column: string | undefined, text: string) => string) | undefined;
  /** Statements of its own for a new schema, such as an index. */
  readonly extra?: ReadonlyArray<string> | undefined;
  /** A statement that lets other transactions with it wait until this one ends; left out where each has the database to itself. */
  readonly alone?: string | undefined;
  /** Statements that make a join look each key up in the index of the large table, and that let the planner choose again. */
  readonly byKey?: { readonly on: string; readonly off: string } | undefined;
  /** Gives the statement that counts what a temporary table holds, for the plan of those that follow. */
  readonly analyze?: ((table: string) => string) | undefined;
  /** The most bytes that a key may have, in UTF-8; a session with a longer one is quarantined. @default {any number} */
  readonly keyBytes?: number | undefined;
}

/** The shape of a table as it is there. */
export interface Described {
  /** The type of each column, by name. */
  readonly columns: ReadonlyMap<string, string>;
  /** The columns of its primary key, where {@link Dialect.hasKeys}. */
  readonly key?: ReadonlyArray<string> | undefined;
}

/**
 * An open connection. Its functions are called one after another, never at once, and reject with a {@link TargetFailure}.
 * Statements about tables of the schema come within a transaction; those about temporary tables, which live as long as the
 * connection, come outside as well.
 */
export interface Connection {
  /** Runs a statement, with `$1` to `$n` for its parameters; gives the rows it returns. */
  readonly query: (statement: string, parameters?: ReadonlyArray<Parameter>) => Promise<ReadonlyArray<Found>>;
  /** Runs a statement likewise; gives the number of rows that it changed. */
  readonly run: (statement: string, parameters?: ReadonlyArray<Parameter>) => Promise<number>;
  /** Appends rows to a temporary table with these columns. */
  readonly append: (table: string, columns: ReadonlyArray<Column>, rows: Rows) => Promise<void>;
  /**
   * Appends rows to a table of the schema, within a transaction. Rejects as `Exists` where a key is there. Left out where the
   * way by a temporary table is as fast.
   */
  readonly appendTo?:
    | ((table: string, columns: ReadonlyArray<Column>, rows: Rows) => Promise<void>)
    | undefined;
  /**
   * Appends the sessions of a Parquet file as this program writes them, numbered from `first` in the last of these columns.
   * Gives how many; undefined, and nothing is appended, where a text in it is none that a table holds. Left out where a
   * database can't read such a file.
   */
  readonly appendParquet?:
    | ((
      table: string,
      columns: ReadonlyArray<Column>,
      path: string,
      first: number,
    ) => Promise<number | undefined>)
    | undefined;
  /**
   * Does work in a transaction. Resolves once it is durable. Rejects with what the work rejects with, and nothing has happened
   * then; or, where the connection was lost, all may have happened.
   */
  readonly transaction: <A>(work: () => Promise<A>) => Promise<A>;
  /** Gives the shape of a table or view of the schema; undefined where there is none. */
  readonly describe: (name: string) => Promise<Described | undefined>;
  /** Names this connection to others; left out where nobody could ask for it. */
  readonly session?: string | undefined;
  /** Tells whether the connection of that name is still open; undefined where that can't be told. */
  readonly isOpen?: ((session: string) => Promise<boolean | undefined>) | undefined;
  /** Closes it, whatever state it is in; a call that is under way fails. Never rejects. */
  readonly close: () => Promise<void>;
}

export interface ConnectOptions {
  /**
   * Seconds after which others may take a silent process to be dead: well before, the database must let go of a transaction
   * in which its process says nothing. @default {120}
   */
  readonly leaseSeconds?: number | undefined;
}

/** A database that keeps a table of sessions. */
export interface Target {
  /** Says where it is, in messages and records: without a password. */
  readonly name: string;
  readonly dialect: Dialect;
  /** Opens a connection. Rejects with a {@link TargetFailure}. */
  readonly connect: (options?: ConnectOptions) => Promise<Connection>;
}

/**
 * Why a target can't be reached, or does not take what it is given:
 *
 * - `Unreachable`: no connection, or it was lost. It is tried again.
 * - `UnknownHost`: there is no host of that name. It is tried again if there was one.
 * - `Insecure`: the server has no TLS, or no certificate that is trusted, and the URL asks for one.
 * - `Exists`: what was to be made is there, as by another run at the same moment.
 * - `Busy`: another program has the database or a table locked.
 * - `Locked`: another run writes to the schema.
 * - `LeaseLost`: another run has taken over; nothing was written after that.
 * - `Denied`: the login or a right is missing.
 * - `Foreign`: what is there is another's: a table, a tenant's data, a version.
 * - `Options`: the schema was begun with other options.
 * - `Shards`: shards of a run failed; the others are done.
 * - `Full`: there is no space left.
 * - `Missing`: the package that speaks to the database is not installed.
 * - `Statement`: the database refused a statement.
 */
export type TargetErrorReason =
  | "Unreachable"
  | "UnknownHost"
  | "Insecure"
  | "Exists"
  | "Busy"
  | "Locked"
  | "LeaseLost"
  | "Denied"
  | "Foreign"
  | "Options"
  | "Shards"
  | "Full"
  | "Missing"
  | "Statement";

/** The error of a target. It is told from others by its `_tag`, whatever its class. */
export interface TargetFailure extends Error {
  readonly _tag: "TargetError";
  readonly reason: TargetErrorReason;
  /** {@link Target.name} */
  readonly target: string;
}

/** Options of a target in PostgreSQL. */
export interface PostgresOptions {
  /**
   * `postgres://user@host:port/database?sslmode=verify-full`. What it does not say is taken from `PGHOST` and the like.
   *
   * By `sslmode`: `disable` for no TLS, which is the default; `verify-full` for TLS and a certificate that is trusted and of
   * that host, with `sslrootcert=FILE` for an authority of one's own; `no-verify` for TLS with anyone. `require` and `prefer`,
   * which check nothing elsewhere, are taken as `verify-full`; `uselibpqcompat=true` takes them as `psql` does.
   */
  readonly url: string;
  /** @default {the one in the URL, `PGPASSWORD`, or `~/.pgpass`} */
  readonly password?: string | undefined;
  /** @default {"monocloud"} */
  readonly schema?: string | undefined;
  /** The longest time that a statement may take, in milliseconds: then the connection counts as lost. @default {900_000} */
  readonly patience?: number | undefined;
}

/** Options of a target in a DuckDB file. */
export interface DuckDbOptions {
  /** The file; created if need be. */
  readonly path: string;
  /** @default {"monocloud"} */
  readonly schema?: string | undefined;
  /** The memory that DuckDB may use, as it spells that. @default {"384MB"} */
  readonly memoryLimit?: string | undefined;
  /** @default {2} */
  readonly threads?: number | undefined;
  /** The wait for a program that has the file open, in milliseconds. @default {30_000} */
  readonly patience?: number | undefined;
}

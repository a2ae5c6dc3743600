/**
 * The endpoint's parameters that choose sessions, in one table. Whatever takes them derives from it: the options of the
 * library, messages to threads, requests over HTTP, flags of the command, what a dataset keeps fixed. A new one is a line
 * here.
 *
 * @module
 */

interface Filter {
  /** Its name in the query; the flag has `-` for `_`. */
  readonly query: string;
  /** The word for its value in help. */
  readonly placeholder: string;
  readonly description: string;
}

/** The parameters, by the names that options have. Each is a text. */
export const filters = {
  /** Only sessions of this client. */
  clientId: { query: "client_id", placeholder: "ID", description: "Only sessions of this client." },
} as const satisfies Readonly<Record<string, Filter>>;

type Table = typeof filters;

/** The sessions to ask for. */
export type SessionFilters = { readonly [Name in keyof Table]?: string | undefined };

/** The sessions to ask for, by the names that a query has. */
export type FilterQuery = { readonly [Name in keyof Table as Table[Name]["query"]]?: string | undefined };

const entries = Object.entries(filters) as ReadonlyArray<[keyof Table, Table[keyof Table]]>;

/** Derive something for each parameter, by the name that options have. */
export const mapFilters = <A>(
  make: (filter: Filter, name: keyof Table) => A,
): { readonly [Name in keyof Table]: A } =>
  Object.fromEntries(entries.map(([name, filter]) => [name, make(filter, name)])) as {
    readonly [Name in keyof Table]: A;
  };

/** Derive something for each parameter, by the name that a query has. */
export const mapQuery = <A>(
  make: (filter: Filter, name: keyof Table) => A,
): { readonly [Name in keyof Table as Table[Name]["query"]]: A } =>
  Object.fromEntries(entries.map(([name, filter]) => [filter.query, make(filter, name)])) as {
    readonly [Name in keyof Table as Table[Name]["query"]]: A;
  };

/** Give the filters of options that have others as well. */
export const pick = (options: SessionFilters): SessionFilters => mapFilters((_, name) => options[name]);

/** Give the query that asks for them. */
export const toQuery = (options: SessionFilters): FilterQuery => mapQuery((_, name) => options[name]);

/** Give the filters that a query asks for. */
export const fromQuery = (query: FilterQuery): SessionFilters =>
  mapFilters((filter) => (query as Readonly<Record<string, string | undefined>>)[filter.query]);

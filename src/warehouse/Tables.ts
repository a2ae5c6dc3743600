/** The tables of a warehouse: their columns, the statements that make them, and the check of those that are there. */
import { quoted } from "../postgres/Quoted.ts";
import * as Columns from "../session/Columns.ts";
import type { Column, Connection, Dialect } from "./Target.ts";

/** The version of the schema. It changes with the meaning of what is there, not with additions. */
export const schemaVersion = 1;

export interface TableColumn extends Column {
  readonly text: string;
}

export interface Table {
  readonly name: string;
  readonly text: string;
  readonly columns: ReadonlyArray<TableColumn>;
  readonly key?: ReadonlyArray<string>;
}

const column = (
  name: string,
  kind: Column["kind"],
  text: string,
  nullable: "null" | "not null" = "not null",
): TableColumn => ({ name, kind, nullable: nullable === "null", text });

const texts: Readonly<Record<string, string>> = {
  user_id: "The user that the session belongs to",
  session_id: "The id of the session",
  session_key: "The key of the session, where the tenant gives one",
  client_ids: "The clients that take part in the session",
  initiated_at: "When the session began",
  expires_at: "When the session expires",
  last_updated: "When the session last changed, by the tenant",
  _rescued_data: "JSON of what no other column holds: unknown fields, and values of another type",
};

/** The columns of a session, as the tenant serves it. */
export const sessionColumns: ReadonlyArray<TableColumn> = Columns.columns.map(({ name, kind, nullable }) => ({
  name,
  kind,
  nullable,
  text: texts[name] ?? `${name.replaceAll("_", " ")} of the client when the session was last used`,
}));

/** The columns by which a session is known. */
export const sessionKey: ReadonlyArray<string> = ["user_id", "session_id"];

const run = column("_run", "integer", "The run that wrote this version: _runs.run");

export const sessions: Table = {
  name: "sessions",
  text: "Sessions of MonoCloud, the newest version of each",
  key: sessionKey,
  columns: [
    ...sessionColumns,
    column("_first_seen_at", "timestamp", "When the session was first written here"),
    column("_updated_at", "timestamp", "When this row last changed"),
    run,
    column("_ended_at", "timestamp", "When a run found it no longer listed; null while it is", "null"),
  ],
};

/** Versions of sessions, of which each is added once. */
export const history: Table = {
  name: "sessions_history",
  text: "Every version of each session that a run has met",
  columns: [...sessionColumns, column("_seen_at", "timestamp", "When this version was written here"), run],
};

export const runs: Table = {
  name: "_runs",
  text: "Runs, a row each. The last one is also the lease of whoever writes",
  key: ["run"],
  columns: [
    column("run", "integer", "Number of the run, from 1"),
    column("kind", "text", "sync, prune or load"),
    column("options", "json", "What the run was asked for"),
    column("began", "timestamp", "When it began"),
    column("ended", "timestamp", "When it ended; null while it has not", "null"),
    column("users", "integer", "Users that are done"),
    column("sessions", "integer", "Sessions that were delivered"),
    column("inserted", "integer", "Sessions that were not there"),
    column("updated", "integer", "Sessions of which a newer version came, or that are listed again"),
    column("unchanged", "integer", "Sessions that were there as they are"),
    column("ended_sessions", "integer", "Sessions found no longer listed"),
    column("quarantined", "integer", "Rows in _quarantine"),
    column("replaced_texts", "integer", "Texts of which something was replaced by U+FFFD"),
    column("requests", "integer", "Requests to the tenant"),
    column("retries", "integer", "Those of them that were made again"),
    column("seconds", "number", "Time that processes worked on it"),
    column("verified", "boolean", "True if nothing can have been missed; null while it runs", "null"),
    column("unverified_reasons", "json", "Why it is not verified", "null"),
    column("progress", "json", "What a process needs that goes on with it", "null"),
    column("epoch", "integer", "Number of processes that have worked on it: only the last one may write"),
    column("holder", "json", "The process that works on it; null if none does", "null"),
    column("beat", "integer", "Changes as long as that process lives"),
    column("beat_at", "timestamp", "When it last did"),
  ],
};

/** Shards of a run, as long as it has not ended. A row has the columns of its run's, and is the lease of whoever works on it. */
export const shards: Table = {
  name: "_shards",
  text: "Shards of the run that is under way, a row each. Each is also the lease of whoever works on it",
  key: ["run", "shard"],
  columns: [
    ...runs.columns.slice(0, 1),
    column("shard", "integer", "Number of the shard, from 0"),
    column("users_total", "integer", "Users that it has"),
    ...runs.columns.filter(({ name }) => !["run", "kind", "options"].includes(name)),
  ],
};

export const shardUsers: Table = {
  name: "_shard_users",
  text: "Users of the shards of the run that is under way",
  key: ["user_id"],
  columns: [
    column("user_id", "text", "The user"),
    column("shard", "integer", "The shard that walks the user"),
  ],
};

export const cursors: Table = {
  name: "_cursors",
  text: "Where the next run begins with each user, and where an unfinished walk stands",
  key: ["user_id"],
  columns: [
    column("user_id", "text", "The user"),
    column("cursor", "json", "What runs have delivered", "null"),
    column("state", "json", "Where the walk stands that has not ended", "null"),
    column("run", "integer", "The last run that is done with the user"),
  ],
};

/** Ids that a walk to be pruned by has met, as long as it has not ended. */
export const observed: Table = {
  name: "_observed",
  text: "Sessions met by walks that are under way, to tell which ones have ended",
  columns: [column("user_id", "text", "The user"), column("session_id", "text", "The session")],
};

export const quarantine: Table = {
  name: "_quarantine",
  text: "Rows that are no sessions, or that no column can hold, each whole",
  columns: [
    column("user_id", "text", "The user in whose list it was"),
    column("digest", "text", "SHA-256 of the row: it is kept once"),
    column("message", "text", "What is wrong with it"),
    column("paths", "text_list", "The fields that are wrong"),
    column("row", "text", "The row as served"),
    column("_first_seen_at", "timestamp", "When it was written here"),
    run,
  ],
};

export const meta: Table = {
  name: "_meta",
  text: "What the schema is of, and the parts of datasets loaded into it",
  key: ["key"],
  columns: [column("key", "text", "The name"), column("value", "text", "The value")],
};

/** The tables of every schema. */
export const tables: ReadonlyArray<Table> = [sessions, runs, cursors, observed, quarantine, meta];

/** Tables that are made when they are first asked for. */
export const extras = { history: [history], shards: [shards, shardUsers] } satisfies Readonly<
  Record<string, ReadonlyArray<Table>>
>;

export type Extra = keyof typeof extras;

const everyTable: ReadonlyArray<Table> = [...tables, ...Object.values(extras).flat()];

const VIEW = "sessions_live";

/** List the names of columns, as statements have them. */
export const list = (columns: ReadonlyArray<Pick<Column, "name">>, alias = ""): string =>
  columns.map(({ name }) => `${alias}${quoted(name)}`).join(", ");

const definition = ({ types }: Dialect, { name, kind, nullable }: Column): string =>
  `${quoted(name)} ${types[kind]}${nullable ? "" : " NOT NULL"}`;

const commentsOn = ({ comment, table }: Dialect, { name, text, columns }: Table): ReadonlyArray<string> =>
  comment === undefined ? [] : [
    comment(table(name), undefined, text),
    ...columns.map((column) => comment(table(name), quoted(column.name), column.text)),
  ];

/** Give the statements that make a table. */
export const create = (dialect: Dialect, table: Table): ReadonlyArray<string> => {
  const { name, columns, key } = table;
  const lines = columns.map((column) => definition(dialect, column));
  if (dialect.hasKeys && key !== undefined) lines.push(`PRIMARY KEY (${key.map(quoted).join(", ")})`);
  return [
    `CREATE TABLE ${dialect.table(name)} (\n  ${lines.join(",\n  ")}\n)`,
    ...commentsOn(dialect, table),
  ];
};

/** Give the statement that makes a temporary table. */
export const createStaging = (dialect: Dialect, name: string, columns: ReadonlyArray<Column>): string =>
  `CREATE TEMPORARY TABLE ${quoted(name)} (${
    columns.map((column) => definition(dialect, column)).join(", ")
  })`;

/** Give the statement that makes the view of what has not ended. */
export const createView = (dialect: Dialect): string =>
  `CREATE VIEW ${dialect.table(VIEW)} AS\n  SELECT ${
    list(sessions.columns.filter(({ name }) => name !== "_ended_at"))
  }\n  FROM ${(dialect.inView ?? dialect.table)(sessions.name)} WHERE "_ended_at" IS NULL`;

export const dropView = ({ table }: Dialect): string => `DROP VIEW ${table(VIEW)}`;

/** Give the statement that adds a column, of which rows that are there have nothing. */
export const addColumn = ({ table, types }: Dialect, name: string, column: Column): string =>
  `ALTER TABLE ${table(name)} ADD COLUMN ${quoted(column.name)} ${types[column.kind]}`;

/** Give the statements of a new schema, but for the one that makes it. */
export const createAll = (
  dialect: Dialect,
  options: { readonly history: boolean },
): ReadonlyArray<string> => [
  ...[...tables, ...(options.history ? [history] : [])].flatMap((table) => create(dialect, table)),
  createView(dialect),
  ...(dialect.extra ?? []),
];

/** The differences between a table as it is and as it should be, in words; empty if there are none. */
const differences = (
  { types, hasKeys }: Dialect,
  { name, columns, key }: Table,
  found: Exclude<Awaited<ReturnType<Connection["describe"]>>, undefined>,
): ReadonlyArray<string> => {
  const said: Array<string> = [];
  for (const column of columns) {
    const type = found.columns.get(column.name);
    if (type === undefined) said.push(`${name} has no column ${column.name}`);
    else if (type !== types[column.kind]) {
      said.push(`${name}.${column.name} is ${type} and should be ${types[column.kind]}`);
    }
  }
  for (const other of found.columns.keys()) {
    if (!columns.some((column) => column.name === other)) said.push(`${name} has a column ${other} besides`);
  }
  const isKey = (found.key ?? []).join() === (key ?? []).join();
  if (hasKeys && !isKey) {
    said.push(
      `the primary key of ${name} is (${(found.key ?? []).join(", ")}) and should be (${
        (key ?? []).join(", ")
      })`,
    );
  }
  return said;
};

/** Name the tables that are there, and the view. */
export const namesThere = async (connection: Connection): Promise<ReadonlySet<string>> => {
  const there = new Set<string>();
  for (const name of [...everyTable.map(({ name }) => name), VIEW]) {
    if (await connection.describe(name) !== undefined) there.add(name);
  }
  return there;
};

/** Compare the tables with what they should be, where sessions have these columns so far. */
export const differencesIn = async (
  dialect: Dialect,
  connection: Connection,
  names: ReadonlyArray<string>,
): Promise<ReadonlyArray<string>> => {
  const isThere = ({ name }: Column) =>
    names.includes(name) || !sessionColumns.some((own) => own.name === name);
  const said: Array<string> = [];
  for (const table of everyTable) {
    const isOfSessions = table === sessions || table === history;
    const its = isOfSessions ? { ...table, columns: table.columns.filter(isThere) } : table;
    const found = await connection.describe(table.name);
    if (found !== undefined) said.push(...differences(dialect, its, found));
    else if (tables.includes(table)) said.push(`there is no table ${table.name}`);
  }
  if (await connection.describe(VIEW) === undefined) said.push(`there is no view ${VIEW}`);
  return said;
};

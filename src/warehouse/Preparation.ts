/**
 * The schema before a run: made if there is none, refused if it is another's or was begun otherwise, and given the columns that
 * this version knows and the one before did not. All of it happens in one transaction.
 */
import * as SessionFilters from "../api/SessionFilters.ts";
import { version } from "../version.ts";
import * as Meta from "./Meta.ts";
import * as NewColumns from "./NewColumns.ts";
import { OVER } from "./Shards.ts";
import * as Tables from "./Tables.ts";
import { type Connection, type Target, TargetError } from "./Target.ts";

/** What a schema was begun with, and every run must have. */
export interface Identity {
  /** The tenant's origin. */
  readonly tenant: string;
  /** What chooses sessions of a user. */
  readonly filters: Readonly<Record<string, unknown>>;
  /** The policy for personal data; null for none. */
  readonly redaction: Readonly<Record<string, unknown>> | null;
}

/** Give what a run must have in common with the one that began the schema. */
export const identityOf = (
  tenant: string,
  filters: SessionFilters.SessionFilters,
  redaction: Identity["redaction"] = null,
): Identity => ({
  tenant,
  filters: JSON.parse(JSON.stringify(SessionFilters.pick(filters))),
  redaction,
});

export interface PrepareOptions {
  readonly identity: Identity;
  /** True to keep every version from now on. */
  readonly history: boolean;
  /** True to make what runs in shards need. */
  readonly shards?: boolean | undefined;
  /** True to make no schema: whoever works on a shard has one. */
  readonly isThere?: boolean | undefined;
}

const PROGRAM = "monocloud-sessions";

const own = Tables.sessionColumns.map(({ name }) => name);

const create = async (
  { dialect }: Target,
  connection: Connection,
  identity: Identity,
): Promise<void> => {
  const { createSchema: schema } = dialect;
  if (schema !== undefined && (await connection.query(schema.isThere)).length === 0) {
    await connection.run(schema.statement);
  }
  for (const statement of Tables.createAll(dialect, { history: false })) await connection.run(statement);
  const entries: Readonly<Record<string, string>> = {
    program: PROGRAM,
    schema_version: String(Tables.schemaVersion),
    created_by: version,
    columns: JSON.stringify(own),
    tenant: identity.tenant,
    filters: JSON.stringify(identity.filters),
    redaction: JSON.stringify(identity.redaction),
  };
  for (const [key, value] of Object.entries(entries)) await Meta.set(dialect, connection, key, value);
};

/** Say why these tables are not to be written to; undefined if they are of this program and of no newer version of it. */
const flawOf = (found: ReadonlyMap<string, string>): string | undefined => {
  const its = found.get("schema_version");
  if (found.get("program") !== PROGRAM || its === undefined) {
    return ": its table _meta is not of this program. Give another --schema";
  }
  const newer = `: use the newer ${PROGRAM} that wrote to it`;
  if (Number(its) > Tables.schemaVersion) {
    return `: its schema has version ${its} and this program knows ${Tables.schemaVersion}${newer}`;
  }
  const unknown = columnsIn(found).find((name) => !own.includes(name));
  return unknown === undefined
    ? undefined
    : `: its sessions have a column ${unknown}, which this version does not know${newer}`;
};

const columnsIn = (found: ReadonlyMap<string, string>): ReadonlyArray<string> =>
  JSON.parse(found.get("columns") ?? "[]");

/** Say what differs from how the schema was begun. */
const otherwise = (
  found: ReadonlyMap<string, string>,
  { tenant, filters, redaction }: Identity,
): readonly [TargetError["reason"], string] | undefined => {
  if (found.get("tenant") !== tenant) {
    return [
      "Foreign",
      `: it has the sessions of ${found.get("tenant")}, and these are of ${tenant}. Give another --schema`,
    ];
  }
  for (
    const [key, word, value] of [["filters", "filter", filters], [
      "redaction",
      "redaction",
      redaction,
    ]] as const
  ) {
    if (found.get(key) === JSON.stringify(value)) continue;
    return [
      "Options",
      `: its ${word} was ${found.get(key)} when it began and is ${JSON.stringify(value)} now. ` +
      "Give what was given then, or another --schema",
    ];
  }
  return undefined;
};

/** Prepare the schema, within a transaction. Tells whether it keeps a history. */
export const prepare = async (
  target: Target,
  connection: Connection,
  options: PrepareOptions,
): Promise<{ readonly hasHistory: boolean }> => {
  const { dialect, name } = target;
  const refuse = (reason: TargetError["reason"], why: string) =>
    new TargetError({ reason, target: name, message: `Cannot write to ${name}${why}` });

  if (dialect.alone !== undefined) await connection.run(dialect.alone);
  const there = await Tables.namesThere(connection);
  /** Make tables that are asked for and are not there. Tells whether they are there now. */
  const ensure = async (extra: Tables.Extra, isAsked: boolean): Promise<boolean> => {
    const missing = Tables.extras[extra].filter(({ name }) => !there.has(name));
    if (!isAsked) return missing.length === 0;
    for (const statement of missing.flatMap((table) => Tables.create(dialect, table))) {
      await connection.run(statement);
    }
    return true;
  };
  const withExtras = async () => {
    await ensure("shards", options.shards === true);
    return { hasHistory: await ensure("history", options.history) };
  };
  if (there.size === 0) {
    if (options.isThere === true) {
      throw new TargetError({ reason: "LeaseLost", target: name, message: `${OVER}: ${name} is empty` });
    }
    await create(target, connection, options.identity);
    return await withExtras();
  }
  if (!there.has(Tables.meta.name)) {
    throw refuse("Foreign", `: it has ${[...there].join(", ")} of something else. Give another --schema`);
  }
  const found = await Meta.read(dialect, connection);
  const flaw = flawOf(found);
  if (flaw !== undefined) throw refuse("Foreign", flaw);
  const other = otherwise(found, options.identity);
  if (other !== undefined) throw refuse(...other);

  const before = columnsIn(found);
  const added = Tables.sessionColumns.filter(({ name }) => !before.includes(name));
  const differences = await Tables.differencesIn(dialect, connection, before);
  if (differences.length > 0) {
    throw refuse(
      "Foreign",
      `, as its tables were altered: ${differences.slice(0, 5).join("; ")}` +
        `${differences.length > 5 ? `; and ${differences.length - 5} more` : ""}. ` +
        "Put them back, or give another --schema",
    );
  }
  if (added.length > 0) {
    await NewColumns.add(dialect, connection, added, there.has(Tables.history.name));
    await Meta.set(dialect, connection, "columns", JSON.stringify(own));
  }
  return await withExtras();
};

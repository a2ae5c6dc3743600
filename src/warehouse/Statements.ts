/**
 * The statements of a checkpoint: rows that lie in temporary tables become part of the schema's.
 *
 * They are the same for every target. Nothing is written for a session that is there as it is.
 */
import type { Column, Dialect } from "./Target.ts";
import * as Meta from "./Meta.ts";
import * as Tables from "./Tables.ts";

const { list, sessionColumns, sessionKey } = Tables;

const integer = (name: string): Column => ({ name, kind: "integer", nullable: false });
const text = (name: string): Column => ({ name, kind: "text", nullable: false });

/** The temporary tables, and their columns. */
export const staged = {
  /** Sessions, numbered in the order in which they came. */
  sessions: { name: "monocloud_staged_sessions", columns: [...sessionColumns, integer("_seq")] },
  /** Ids that were met besides those of the sessions above. */
  observed: { name: "monocloud_staged_observed", columns: Tables.observed.columns },
  /** Users, with the cursor and the state to keep of each. */
  users: {
    name: "monocloud_staged_users",
    columns: [
      ...Tables.cursors.columns,
      /** `open`, `whole` (all that is listed was met) or `gone` (nothing is); empty where nothing is to be told of it. */
      text("listed"),
    ],
  },
  /** Sessions that have ended, or are listed again, numbered in one order with those above. */
  tombstones: {
    name: "monocloud_staged_tombstones",
    columns: [
      ...Tables.observed.columns,
      { name: "ended_at", kind: "timestamp", nullable: true },
      integer("_seq"),
    ],
  },
  quarantine: {
    name: "monocloud_staged_quarantine",
    columns: Tables.quarantine.columns.filter(({ name }) => !["_first_seen_at", "_run"].includes(name)),
  },
} satisfies Readonly<
  Record<string, { readonly name: string; readonly columns: ReadonlyArray<Column> }>
>;

export type Staged = keyof typeof staged;

const sameKey = (one: string, other: string): string =>
  sessionKey.map((name) => `${one}."${name}" = ${other}."${name}"`).join(" AND ");

const values = sessionColumns.filter(({ name }) => !sessionKey.includes(name));

const differs = (one: string, other: string): string =>
  `(${values.map(({ name }) => `${one}."${name}" IS DISTINCT FROM ${other}."${name}"`).join(" OR ")})`;

/** Give the statements for a dialect. `$1` is the time, `$2` the number of the run. */
export const make = ({ table, types, hasKeys }: Dialect) => {
  const [sessions, history, observed, quarantine, cursors] = [
    Tables.sessions,
    Tables.history,
    Tables.observed,
    Tables.quarantine,
    Tables.cursors,
  ].map(({ name }) => table(name)) as [string, string, string, string, string];
  const nameOf = (which: Staged) => `"${staged[which].name}"`;
  const [rows, met, users, bad] = [
    nameOf("sessions"),
    nameOf("observed"),
    nameOf("users"),
    nameOf("quarantine"),
  ];
  const stones = nameOf("tombstones");
  const now = `CAST($1 AS ${types.timestamp})`;
  const run = `CAST($2 AS ${types.integer})`;
  const isNewer = `s."last_updated" >= t."last_updated" AND ${differs("s", "t")}`;
  const columns = list(sessionColumns);

  return {
    /** Keep each key once: the latest version, of one second the one that came last. */
    distinct: `DELETE FROM ${rows} WHERE "_seq" IN (SELECT s."_seq" FROM ${rows} s JOIN ${rows} o ON ` +
      `${sameKey("s", "o")} WHERE o."last_updated" > s."last_updated" ` +
      `OR (o."last_updated" = s."last_updated" AND o."_seq" > s."_seq"))`,
    /** Add versions to the history that are about to be written. */
    history:
      `INSERT INTO ${history} (${columns}, "_seen_at", "_run") SELECT ${
        list(sessionColumns, "s.")
      }, ${now}, ` +
      `${run} FROM ${rows} s LEFT JOIN ${sessions} t ON ${sameKey("t", "s")} ` +
      `WHERE t."user_id" IS NULL OR (${isNewer})`,
    /** Replace what is there in an older version. */
    update:
      `UPDATE ${sessions} AS t SET ${values.map(({ name }) => `"${name}" = s."${name}"`).join(", ")}, ` +
      `"_updated_at" = ${now}, "_run" = ${run}, "_ended_at" = NULL FROM ${rows} s ` +
      `WHERE ${sameKey("t", "s")} AND ${isNewer}`,
    /** Take back that a session had ended which is listed. */
    revive: `UPDATE ${sessions} AS t SET "_updated_at" = ${now}, "_run" = ${run}, "_ended_at" = NULL ` +
      `FROM ${rows} s WHERE ${sameKey("t", "s")} AND t."_ended_at" IS NOT NULL`,
    /** Add what is not there. */
    insert: `INSERT INTO ${sessions} (${columns}, "_first_seen_at", "_updated_at", "_run", "_ended_at") ` +
      `SELECT ${list(sessionColumns, "s.")}, ${now}, ${now}, ${run}, NULL FROM ${rows} s ` +
      (hasKeys
        // Without a condition, SQLite takes ON for that of a join.
        ? `WHERE true ON CONFLICT (${sessionKey.map((name) => `"${name}"`).join(", ")}) DO NOTHING`
        // A join, which holds the smaller side: for NOT EXISTS, DuckDB holds the keys of the whole table.
        : `WHERE s."_seq" NOT IN (SELECT o."_seq" FROM ${rows} o JOIN ${sessions} t ON ${
          sameKey("t", "o")
        })`),
    /**
     * End what the table has of users whom the tenant does not know; and of users whose list was read whole, what the walk did
     * not meet. Conditions are joined by AND alone: so each is a join, and none is asked of every row.
     */
    end: (deletes: "soft" | "hard"): ReadonlyArray<string> => {
      const isNotMet = [rows, met, observed]
        .map((of) => `NOT EXISTS (SELECT 1 FROM ${of} o WHERE ${sameKey("o", "t")})`);
      // A row without an id may be any session.
      const isTold = [met, observed]
        .map((of) =>
          `NOT EXISTS (SELECT 1 FROM ${of} o WHERE o."user_id" = t."user_id" AND o."session_id" = '')`
        );
      const usersThatAre = (listed: string) =>
        `t."user_id" IN (SELECT "user_id" FROM ${users} WHERE "listed" = '${listed}')`;
      return [[usersThatAre("gone")], [usersThatAre("whole"), ...isNotMet, ...isTold]].map((conditions) => {
        const unmet = conditions.join(" AND ");
        return deletes === "hard"
          ? `DELETE FROM ${sessions} AS t WHERE ${unmet}`
          : `UPDATE ${sessions} AS t SET "_ended_at" = ${now}, "_updated_at" = ${now}, "_run" = ${run} ` +
            `WHERE t."_ended_at" IS NULL AND ${unmet}`;
      });
    },
    /** Keep the ids met of walks that go on, and forget those of walks that have ended. */
    observe: [
      `INSERT INTO ${observed} ("user_id", "session_id") SELECT "user_id", "session_id" FROM ${rows} ` +
      `WHERE "user_id" IN (SELECT "user_id" FROM ${users} WHERE "listed" = 'open') ` +
      `UNION ALL SELECT "user_id", "session_id" FROM ${met} ` +
      `WHERE "user_id" IN (SELECT "user_id" FROM ${users} WHERE "listed" = 'open')`,
      `DELETE FROM ${observed} WHERE "user_id" IN (SELECT "user_id" FROM ${users} WHERE "listed" <> 'open')`,
    ],
    /** Forget tombstones that a later row or tombstone has taken back; to be done while all rows are there. */
    overtaken: `DELETE FROM ${stones} WHERE "_seq" IN (` +
      [stones, rows].map((of) =>
        `SELECT t."_seq" FROM ${stones} t JOIN ${of} o ON ${sameKey("o", "t")} WHERE o."_seq" > t."_seq"`
      ).join(" UNION ") + ")",
    /** End what tombstones end, and take back what others do. */
    bury: (deletes: "soft" | "hard"): ReadonlyArray<string> => {
      const is = (what: string, one: string) =>
        `EXISTS (SELECT 1 FROM ${stones} s WHERE ${sameKey("s", one)} AND s."ended_at" IS ${what})`;
      const touched = `"_updated_at" = ${now}, "_run" = ${run}`;
      return [
        deletes === "hard"
          ? `DELETE FROM ${sessions} AS t WHERE ${is("NOT NULL", "t")}`
          : `UPDATE ${sessions} AS t SET "_ended_at" = s."ended_at", ${touched} FROM ${stones} s ` +
            `WHERE ${sameKey("t", "s")} AND t."_ended_at" IS NULL AND s."ended_at" IS NOT NULL`,
        `UPDATE ${sessions} AS t SET "_ended_at" = NULL, ${touched} ` +
        `WHERE t."_ended_at" IS NOT NULL AND ${is("NULL", "t")}`,
      ];
    },
    /** Remove all that was there, and how far activity was followed with it. */
    clear: [
      ...[sessions, observed, quarantine, cursors].map((table) => `DELETE FROM ${table}`),
      `DELETE FROM ${table(Tables.meta.name)} WHERE "key" = '${Meta.keys.activity}'`,
    ],
    clearHistory: `DELETE FROM ${history}`,
    quarantine:
      `INSERT INTO ${quarantine} (${list(Tables.quarantine.columns)}) SELECT q."user_id", q."digest", ` +
      `min(q."message"), min(q."paths"), min(q."row"), ${now}, ${run} FROM ${bad} q WHERE NOT EXISTS ` +
      `(SELECT 1 FROM ${quarantine} o WHERE o."user_id" = q."user_id" AND o."digest" = q."digest") ` +
      `GROUP BY q."user_id", q."digest"`,
    cursors: [
      `DELETE FROM ${cursors} WHERE "user_id" IN (SELECT "user_id" FROM ${users})`,
      `INSERT INTO ${cursors} (${list(Tables.cursors.columns)}) SELECT ${list(Tables.cursors.columns)} ` +
      `FROM ${users}`,
    ],
  };
};

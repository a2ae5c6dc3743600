/** The flags of `monocloud-sessions sync` and `load`, in the groups that help shows. */
import type * as Command from "./Command.ts";
import * as Export from "./ExportFlags.ts";
import * as Flag from "./Flag.ts";
import * as Queue from "./QueueFlags.ts";
import * as Read from "./Read.ts";
import * as Shared from "./SharedFlags.ts";

const target = {
  to: Flag.text({
    name: "to",
    placeholder: "TARGET",
    text: "postgres://USER@HOST/DATABASE, or a DuckDB file such as sessions.duckdb. " +
      "The password goes into MONOCLOUD_TO, PGPASSWORD or ~/.pgpass.",
    byDefault: "MONOCLOUD_TO",
  }),
  schema: Flag.value({
    name: "schema",
    placeholder: "NAME",
    text: "The schema that holds the tables; made if it is not there.",
    byDefault: "monocloud",
    read: (text) => /^[^\0]{1,63}$/.test(text) ? text : undefined,
    must: "a name of 1 to 63 characters",
  }),
  history: Flag.toggle("history", "Keep every version from now on, in sessions_history."),
  badText: Flag.choice({
    name: "bad-text",
    placeholder: "WORD",
    text: "Text with NUL or half a surrogate pair: replace it by U+FFFD, or quarantine its row.",
    words: ["replace", "quarantine"],
    byDefault: "replace",
  }),
  printDdl: Flag.toggle("print-ddl", "Print the statements that make the tables, and run nothing."),
};

const commits = {
  checkpointRows: Flag.value({
    name: "checkpoint-rows",
    placeholder: "N",
    text: "Commit after so many sessions.",
    byDefault: "250000",
    ...Read.whole(1, 1e9),
  }),
  checkpointEvery: Flag.value({
    name: "checkpoint-every",
    placeholder: "TIME",
    text: "Or once the first of them has waited so long.",
    byDefault: "30s",
    ...Read.duration,
  }),
  wait: Flag.optional({
    name: "wait",
    placeholder: "TIME",
    text: "How long to wait for another run to end.",
    byDefault: "it is refused",
    ...Read.duration,
  }),
};

const deletes = Flag.choice({
  name: "deletes",
  placeholder: "WORD",
  text: "What has ended: soft sets _ended_at, hard deletes the row.",
  words: ["soft", "hard"],
  byDefault: "soft",
});

const pruning = {
  prune: Flag.toggle(
    "prune",
    "Read every list to its end: end what the tenant lists no more, and add what was shown late.",
  ),
  deletes,
  ...Shared.changes,
};

export const syncGroups = [
  { title: "Whose sessions", flags: Export.whose },
  { title: "Where to", flags: target },
  { title: "What has ended", flags: pruning },
  { title: "Transactions", flags: commits },
  { title: "How fast", flags: Export.speed },
  { title: "Rows that are no sessions", flags: { maxQuarantined: Export.maxQuarantined } },
  { title: "Privacy", flags: Export.privacy },
  { title: "Connection", flags: Shared.connection },
  { title: "Many machines", flags: Queue.running },
  { title: "Reports", flags: Shared.talking },
] satisfies ReadonlyArray<Flag.Group>;

const loading = {
  replace: Flag.toggle("replace", "Take the place of all that is there, in one transaction."),
  deletes,
};

const patience = {
  maxElapsed: {
    ...Shared.maxElapsed("5m"),
    text: "How long to try a database that can't be reached: 90s, 5m or 2h.",
  },
};

export const loadGroups = [
  { title: "Where to", flags: target },
  { title: "What is there", flags: loading },
  { title: "Transactions", flags: { ...commits, ...patience } },
  { title: "Reports", flags: Shared.reporting },
] satisfies ReadonlyArray<Flag.Group>;

export type LoadArgs = Command.Args<typeof loadGroups>;

export type SyncArgs = Command.Args<typeof syncGroups>;

/** The flags that exports and syncs have. */
export type RunArgs = Pick<SyncArgs, keyof Export.Args & keyof SyncArgs>;

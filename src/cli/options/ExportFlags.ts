/** The flags of `monocloud-sessions export`, in the groups that help shows. */
import { sortKeys } from "../../api/Sort.ts";
import { builtInChoices } from "../../format/FormatNames.ts";
import { MOST_ROWS } from "../../format/parquet/schema.ts";
import * as RedactionPolicy from "../../session/RedactionPolicy.ts";
import type * as Command from "./Command.ts";
import * as Flag from "./Flag.ts";
import * as Queue from "./QueueFlags.ts";
import * as Read from "./Read.ts";
import * as Shared from "./SharedFlags.ts";

/** The users, and what chooses their sessions. */
export const whose = {
  user: Flag.texts({ name: "user", placeholder: "ID", text: "Export the sessions of this user." }),
  usersFile: Flag.text({
    name: "users-file",
    placeholder: "FILE",
    text: "Those of the users in FILE, one id a line; - is stdin.",
    isPath: true,
  }),
  allUsers: Flag.toggle("all-users", "Those of every user of the tenant."),
  ...Shared.filters,
};

const users = {
  ...whose,
  since: Flag.optional({
    name: "since",
    placeholder: "TIME",
    text: "Only what began or changed since 2026-01-31 (UTC) or 2026-01-31T18:00:00+01:00.",
    ...Read.time,
  }),
  limit: Flag.optional({
    name: "limit",
    placeholder: "N",
    text: "Stop after N sessions, for a look. That is not verified.",
    ...Read.whole(1, 1e12),
  }),
  sort: Flag.optional({
    name: "sort",
    placeholder: "KEY:ORDER",
    text: `${sortKeys.join(", ")}, then :asc or :desc, within each user. ` +
      "By the last two it is never verified.",
    byDefault: "newest first",
    words: sortKeys.flatMap((key) => [`${key}:asc`, `${key}:desc`]),
    ...Read.sort,
  }),
};

const output = {
  out: Flag.texts({
    name: "out",
    placeholder: "PATH",
    text: "A file (.ndjson, .csv, .parquet, .ndjson.gz, .csv.gz), a folder, or - for stdout.",
    isPath: true,
  }),
  format: Flag.texts({
    name: "format",
    placeholder: "F,...",
    text: "For a folder or -: ndjson, csv, parquet, ndjson.gz or csv.gz.",
    words: builtInChoices,
  }),
  noClobber: Flag.toggle("no-clobber", "Refuse to replace a file that exists."),
  columns: Flag.checked({
    name: "columns",
    placeholder: "A,B,...",
    text: "Write these alone, in that order, to CSV or Parquet.",
  }, Read.columns),
  csvBom: Flag.toggle("csv-bom", "Begin CSV files with a byte order mark, for Excel."),
  keepFormulas: Flag.toggle("keep-formulas", "Put no ' before CSV text that a spreadsheet would run."),
  parquetVersion: Flag.optional({
    name: "parquet-version",
    placeholder: "1|2",
    text: "1 for every reader, 2 for files 5 % smaller that some readers refuse.",
    byDefault: "1",
    words: ["1", "2"],
    ...Read.parquetVersion,
  }),
  rowGroupRows: Flag.optional({
    name: "row-group-rows",
    placeholder: "N",
    text: "In Parquet; for BigQuery 150000.",
    byDefault: "10000",
    ...Read.whole(1, MOST_ROWS),
  }),
};

export const speed = {
  rate: Shared.rate,
  concurrency: Flag.value({
    name: "concurrency",
    placeholder: "N|auto",
    text: "Requests under way at once. auto starts at 8 and follows how fast the answers come.",
    byDefault: "auto",
    words: ["auto"],
    ...Read.wholeOrAuto(1, 1000),
  }),
  pageSize: Shared.pageSize,
  maxElapsed: Shared.maxElapsed("5m"),
  maxBodyBytes: Flag.optional({
    name: "max-body-bytes",
    placeholder: "SIZE",
    text: "The largest answer, sent and unpacked.",
    byDefault: "64M",
    ...Read.size,
  }),
};

const folders = {
  resume: Flag.toggle(
    "resume",
    "Continue what broke off or failed, or else begin.",
  ),
  sinceLast: Flag.toggle("since-last", "Add what has changed since the folder's last run."),
  prune: Flag.toggle(
    "prune",
    "With --since-last: read every list to its end and write the sessions that are gone to tombstones/.",
  ),
  ...Shared.changes,
  partRows: Flag.optional({
    name: "part-rows",
    placeholder: "N",
    text: "Complete a part after so many sessions.",
    byDefault: "500000",
    ...Read.whole(1, 1e9),
  }),
  partBytes: Flag.optional({
    name: "part-bytes",
    placeholder: "SIZE",
    text: "Or so many bytes of one file, unpacked.",
    byDefault: "512M",
    ...Read.size,
  }),
};

export const maxQuarantined = Flag.optional({
  name: "max-quarantined",
  placeholder: "N|P%",
  text: "Fail at more, or at a larger share.",
  byDefault: "never",
  ...Read.budget,
});

const badRows = {
  onInvalid: Flag.choice({
    name: "on-invalid",
    placeholder: "WORD",
    text: "quarantine: keep such a row elsewhere, whole. fail: stop.",
    words: ["quarantine", "fail"],
    byDefault: "quarantine",
  }),
  quarantine: Flag.text({
    name: "quarantine",
    placeholder: "FILE",
    text: "Where they are kept.",
    byDefault: "beside the output",
    isPath: true,
  }),
  maxQuarantined,
};

export const privacy = {
  redact: Flag.checked({
    name: "redact",
    placeholder: "RULES",
    text: `${RedactionPolicy.usage}. With it, session_key and unknown are dropped unless named. ` +
      "hash needs MONOCLOUD_REDACT_SECRET.",
  }, RedactionPolicy.parse),
};

export const groups = [
  { title: "Whose sessions", flags: users },
  { title: "Where to", flags: output },
  { title: "How fast", flags: speed },
  { title: "Folders", flags: folders },
  { title: "Rows that are no sessions", flags: badRows },
  { title: "Privacy", flags: privacy },
  { title: "Connection", flags: Shared.connection },
  { title: "Many machines", flags: Queue.running },
  { title: "Reports", flags: Shared.talking },
] satisfies ReadonlyArray<Flag.Group>;

export type Args = Command.Args<typeof groups>;

/** The summary of an export, for a person. */
import { join } from "node:path";
import type * as Manifest from "../../dataset/Manifest.ts";
import type { ActivityReport } from "../../plain/Report.ts";
import type { Report, Sample } from "../../export/Export.ts";
import { byteCount, duration, plural } from "./ProgressBar.ts";

export interface Told extends
  Pick<
    Report,
    "users" | "sessions" | "quarantined" | "seconds" | "verified" | "missing" | "unverified" | "failed"
  > {
  readonly requests: number;
  readonly retries: number;
  readonly userListUnverifiedReasons: ReadonlyArray<string>;
  readonly files: ReadonlyArray<
    { readonly name: string; readonly format: string; readonly rows: number; readonly bytes: number }
  >;
  /** The folder of the dataset that the files are parts of. */
  readonly folder?: string | undefined;
  readonly tombstones?: Manifest.Run["tombstones"];
  /** The sessions that may be there from an earlier run, unchanged. */
  readonly redelivered?: Manifest.Run["redelivered"];
  readonly by_activity?: ActivityReport | undefined;
  /** It was ended by `--limit`. */
  readonly isLimited?: boolean | undefined;
  /** There was nothing left to do. */
  readonly wasFinished?: boolean | undefined;
}

const some = <A>({ count, first }: Sample<A>, word: (item: A) => string): string =>
  first.slice(0, 5).map(word).join(", ") + (count > 5 ? `, and ${count - 5} more` : "");

/** A line for each file, or for each format where there are parts. */
const fileLines = ({ files, folder }: Told): ReadonlyArray<string> => {
  const line = (name: string, rows: number, bytes: number) =>
    `  ${name}: ${plural(rows, "row")}, ${byteCount(bytes)}`;
  if (folder === undefined) return files.map(({ name, rows, bytes }) => line(name, rows, bytes));
  const formats = [...new Set(files.map(({ format }) => format))];
  return formats.map((format) => {
    const parts = files.filter((file) => file.format === format);
    const sum = (field: "rows" | "bytes") => parts.reduce((sum, part) => sum + part[field], 0);
    return `${line(join(folder, format), sum("rows"), sum("bytes"))} in ${plural(parts.length, "part")}`;
  });
};

const tombstoneLines = ({ tombstones, users }: Told): ReadonlyArray<string> => {
  if (tombstones === undefined) return [];
  const silent = users - tombstones.users;
  return [
    `${plural(tombstones.gone, "session")} no longer listed since the last run with --prune` +
    `${tombstones.again === 0 ? "" : `, ${plural(tombstones.again, "session")} listed again`}` +
    `${silent > 0 ? `; nothing can be said of ${plural(silent, "user")}` : ""}`,
  ];
};

const redeliveredLines = ({ redelivered }: Told): ReadonlyArray<string> => {
  if (redelivered === undefined) return [];
  const { sessions, users } = redelivered;
  return [
    `${plural(sessions, "session")} of ${
      plural(users.count, "user")
    } delivered again, which may be there unchanged: ` +
    some(users, (id) => id),
  ];
};

/** Say whom a run by activity asked, and what came of it. */
export const activityLines = (report: ActivityReport | undefined): ReadonlyArray<string> => {
  if (report === undefined) return [];
  const { asked, of, swept_at, late } = report;
  const total = of === undefined ? "" : ` of ${of.toLocaleString("en-US")}`;
  return [
    `By activity: asked ${asked.toLocaleString("en-US")}${total} users; all were last asked at ${swept_at}` +
    (late === undefined ? "" : `; ${plural(late, "session")} came late`),
  ];
};

export const activityWarnings = (report: ActivityReport | undefined): ReadonlyArray<string> =>
  report?.off === undefined ? [] : [`activity can't be gone by, and all users are asked: ${report.off}`];

/** Say what was done, and where it lies. */
export const lines = (told: Told): ReadonlyArray<string> => [
  ...(told.wasFinished ? ["Nothing left to do: the export had finished"] : []),
  `${plural(told.sessions, "session")} of ${plural(told.users, "user")} in ${duration(told.seconds)}, ` +
  `${plural(told.requests, "request")}, ${plural(told.retries, "retry")}` +
  `${told.verified ? `; verified: nothing missed${told.redelivered ? "" : ", nothing repeated"}` : ""}`,
  ...activityLines(told.by_activity),
  ...tombstoneLines(told),
  ...redeliveredLines(told),
  ...fileLines(told),
];

/** Warn of what is not as it should be. */
export const warnings = (told: Told): ReadonlyArray<string> => [
  ...activityWarnings(told.by_activity),
  ...(told.isLimited
    ? [`--limit ended the export after ${plural(told.sessions, "session")}: it is not verified`]
    : []),
  ...(told.missing.count > 0
    ? [`${plural(told.missing.count, "user")} unknown to the tenant: ${some(told.missing, (id) => id)}`]
    : []),
  ...(told.failed.count > 0
    ? [
      `${plural(told.failed.count, "user")} failed, to be tried again with --resume: ${
        some(told.failed, ({ userId, message }) => `${userId} (${message})`)
      }`,
    ]
    : []),
  ...(told.quarantined > 0
    ? [`${plural(told.quarantined, "row")} quarantined that are not sessions by the schema`]
    : []),
  ...(told.unverified.count > 0
    ? [
      `${plural(told.unverified.count, "user")} not verified: ` +
      some(told.unverified, ({ userId, unverifiedReasons }) => `${userId} (${unverifiedReasons.join("; ")})`),
    ]
    : []),
  ...(told.userListUnverifiedReasons.length > 0
    ? [`the list of users is not verified: ${told.userListUnverifiedReasons.join("; ")}`]
    : []),
];

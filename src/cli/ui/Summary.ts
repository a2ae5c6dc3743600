/** The summary of an export or a run into a warehouse, for a person. */
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import type * as Manifest from "../../dataset/Manifest.ts";
import type { ActivityReport } from "../../plain/Report.ts";
import type { Report, Sample } from "../../export/Export.ts";
import type * as Warehouse from "../../warehouse/Report.ts";
import { exitCodes } from "../ExitCode.ts";
import { byteCount, count, duration, plural } from "./ProgressBar.ts";
import * as Terminal from "./Terminal.ts";

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
const activityLines = (report: ActivityReport | undefined): ReadonlyArray<string> => {
  if (report === undefined) return [];
  const { asked, of, swept_at, late } = report;
  const total = of === undefined ? "" : ` of ${count(of)}`;
  return [
    `By activity: asked ${count(asked)}${total} users; all were last asked at ${swept_at}` +
    (late === undefined ? "" : `; ${plural(late, "session")} came late`),
  ];
};

/** Say what was done, and where it lies. */
const lines = (told: Told): ReadonlyArray<string> => [
  ...(told.wasFinished ? ["Nothing left to do: the export had finished"] : []),
  // Users of an export that was ended on the way were begun, and are not counted.
  `${plural(told.sessions, "session")}${told.isLimited ? "" : ` of ${plural(told.users, "user")}`} in ` +
  `${duration(told.seconds)}, ` +
  `${plural(told.requests, "request")}, ${plural(told.retries, "retry")}` +
  `${told.verified ? `; verified: nothing missed${told.redelivered ? "" : ", nothing repeated"}` : ""}`,
  ...activityLines(told.by_activity),
  ...tombstoneLines(told),
  ...redeliveredLines(told),
  ...fileLines(told),
];

/** Warn of what is not as it should be. */
const warnings = (told: Told): ReadonlyArray<string> => [
  ...(told.by_activity?.off === undefined
    ? []
    : [`activity can't be gone by, and all users are asked: ${told.by_activity.off}`]),
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

/** Say what was done in a warehouse. */
const syncLines = (report: Warehouse.Report): ReadonlyArray<string> => {
  const { target, kind, run, inserted, updated, unchanged, ended, verified } = report;
  const { users, seconds, requests, retries } = report;
  const traffic = kind === "load" ? "" : `, ${plural(requests, "request")}, ${plural(retries, "retry")}`;
  const counts = { inserted, updated, unchanged, ...(kind === "sync" ? {} : { ended }) };
  return [
    Object.entries(counts).map(([what, rows]) => `${count(rows)} ${what}`).join(", ") +
    `: ${target} (run ${run})`,
    `${plural(users, "user")} in ${duration(seconds)}${traffic}${
      verified ? "; verified: nothing missed" : ""
    }`,
    ...activityLines(report.by_activity),
  ];
};

/** Flags of how a run is told of, and whether all is well. */
interface Telling {
  readonly quiet: boolean;
  readonly json: boolean;
  readonly isComplete: boolean;
}

const tell = (
  report: object,
  lines: ReadonlyArray<string>,
  warnings: ReadonlyArray<string>,
  { quiet, json, isComplete }: Telling,
) =>
  Effect.gen(function* () {
    process.exitCode = isComplete ? exitCodes.done : exitCodes.incomplete;
    if (!quiet) yield* Terminal.say(lines);
    yield* Terminal.say(warnings.map((warning) => `Warning: ${warning}`));
    if (json) yield* Terminal.print([Terminal.printableJson(report)]);
  });

/** Tell whether nothing is missing of a run but users that nobody named. */
export const isComplete = (
  { verified, quarantined, missing }: Pick<Told, "verified" | "quarantined" | "missing">,
  { allUsers }: { readonly allUsers: boolean },
): boolean => verified && quarantined === 0 && (missing.count === 0 || allUsers);

/** Say what was done by an export, and set the exit code. */
export const conclude = (told: Told, telling: Telling) => tell(told, lines(told), warnings(told), telling);

/** Say what was done in a warehouse, and set the exit code. */
export const concludeSync = (report: Warehouse.Report, telling: Telling) =>
  tell(report, syncLines(report), [
    ...(report.replacedTexts > 0
      ? [
        `${plural(report.replacedTexts, "text")} with NUL or half a surrogate pair have U+FFFD in its place`,
      ]
      : []),
    ...warnings({ ...report, files: [] }),
  ], telling);

/** Progress of an export, and its report. */
import * as Effect from "effect/Effect";
import type * as Types from "effect/Types";
import * as Batch from "../session/Batch.ts";
import { ExportError, noSuchUsers, wordsOf } from "./ExportError.ts";
import type {
  ExportedFile,
  FailedUser,
  Progress as PlainProgress,
  Report as PlainReport,
  UnverifiedUser,
} from "../plain/Report.ts";
import type { MaxQuarantined } from "../plain/SessionsOptions.ts";

export type { FailedUser, Sample, UnverifiedUser } from "../plain/Report.ts";
export type { MaxQuarantined } from "../plain/SessionsOptions.ts";

/** Progress of an export. The driver changes it in place, a batch at a time. */
export interface Progress extends Types.Mutable<PlainProgress> {
  /** Users that are under way: begun and not ended. */
  walking?: number | undefined;
  /** Counts of earlier processes of the run, where this one goes on with it. */
  before?: Pick<Progress, "users" | "sessions" | "listed"> | undefined;
  /** Progress of the search for sessions that are gone, once all users are walked. */
  compared?: { readonly rows: number; readonly rowsTotal: number } | undefined;
}

/** Nothing yet. */
export const noProgress = (): Progress => ({ ...zeros });

/** The counts that can be summed up. */
const zeros = {
  users: 0,
  missing: 0,
  failed: 0,
  sessions: 0,
  quarantined: 0,
  unverified: 0,
  encodedBytes: 0,
  listed: 0,
};

/** Report of an export, but for what only the list of users can say. */
export type Report = Omit<PlainReport, "userListUnverifiedReasons">;

/** Counts of a run. The driver counts batches into it, in place. */
export interface Tally {
  readonly progress: Progress;
  readonly missing: Array<string>;
  readonly unverified: Array<UnverifiedUser>;
  readonly failed: Array<FailedUser>;
  /** Users whose walks have begun and not ended. */
  readonly walking: Set<string>;
  /** The first row that was quarantined. */
  firstQuarantined?: Batch.QuarantinedRow | undefined;
}

/** A tally of nothing yet. */
export const noTally = (progress: Progress = noProgress()): Tally => ({
  progress,
  missing: [],
  unverified: [],
  failed: [],
  walking: new Set(),
});

const LIST = 100;

/** Counts a batch that has been written. */
export const count = (tally: Tally, batch: Batch.Batch): void => {
  const { userId, quarantined, total, end } = batch;
  const { progress, missing, unverified, failed, walking } = tally;
  tally.firstQuarantined ??= quarantined[0];
  progress.sessions += Batch.size(batch);
  progress.quarantined += quarantined.length;
  if (total !== undefined && !walking.has(userId)) progress.listed += total;
  if (end === undefined) walking.add(userId);
  else walking.delete(userId);
  progress.walking = walking.size;
  if (end === undefined) return;
  progress.users++;
  const list = <A>(kind: "missing" | "failed" | "unverified", names: Array<A>, value: A): void => {
    progress[kind]++;
    if (names.length < LIST) names.push(value);
  };
  const { status, verified, unverifiedReasons, message = "" } = end;
  if (status === "missing" || status === "removed") list("missing", missing, userId);
  if (status === "failed") list("failed", failed, { userId, message });
  if (!verified) list("unverified", unverified, { userId, unverifiedReasons });
};

/** Sum up progress made side by side. */
export const sumOfProgress = (parts: Iterable<Progress>): Progress => {
  const sum = { ...noProgress(), walking: 0 };
  for (const part of parts) {
    for (const key of Object.keys(zeros) as Array<keyof typeof zeros>) sum[key] += part[key];
    sum.walking += part.walking ?? 0;
  }
  return sum;
};

/** Make a tally that of work done side by side. */
export const adopt = (
  tally: Tally,
  parts: ReadonlyArray<
    { readonly [Kind in "missing" | "unverified" | "failed"]: ReadonlyArray<Tally[Kind][number]> } & {
      readonly progress: Progress;
    }
  >,
): void => {
  Object.assign(tally.progress, sumOfProgress(parts.map(({ progress }) => progress)), { walking: 0 });
  const list = <A>(names: Array<A>, found: ReadonlyArray<A>): void => {
    names.splice(0, names.length, ...found.slice(0, LIST));
  };
  list(tally.missing, parts.flatMap(({ missing }) => missing));
  list(tally.unverified, parts.flatMap(({ unverified }) => unverified));
  list(tally.failed, parts.flatMap(({ failed }) => failed));
};

/** The report of a run that has ended. */
export const reportOf = (
  { progress, missing, unverified, failed }: Tally,
  files: ReadonlyArray<ExportedFile>,
  seconds: number,
): Report => ({
  users: progress.users,
  sessions: progress.sessions,
  quarantined: progress.quarantined,
  bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  seconds,
  verified: progress.unverified === 0 && progress.failed === 0,
  missing: { count: progress.missing, first: missing },
  unverified: { count: progress.unverified, first: unverified },
  failed: { count: progress.failed, first: failed },
  files,
});

/** Add what the list of users says to a report. */
export const withUserList = (
  report: Report,
  userListUnverifiedReasons: ReadonlyArray<string>,
): PlainReport => ({
  ...report,
  verified: report.verified && userListUnverifiedReasons.length === 0,
  userListUnverifiedReasons,
});

/** The error where the tenant turned out to know none of the users. */
export const checkUsers = ({ progress, missing }: Tally): Effect.Effect<void, ExportError> =>
  progress.missing > 0 && progress.missing === progress.users && progress.sessions === 0
    ? Effect.fail(noSuchUsers(progress.users, missing[0]))
    : Effect.void;

const JUDGED = 1000;

/** The error where more rows were quarantined than may be. Before the end, a share is judged only of enough rows. */
export const checkQuarantined = (
  { progress: { sessions, quarantined }, firstQuarantined }: Tally,
  max: MaxQuarantined | undefined,
  when: "now" | "end",
): Effect.Effect<void, ExportError> => {
  if (max === undefined || quarantined === 0) return Effect.void;
  const rows = sessions + quarantined;
  const isExceeded = "count" in max
    ? quarantined > max.count
    : (when === "end" || rows >= JUDGED) && quarantined * 100 > max.percent * rows;
  if (!isExceeded) return Effect.void;
  const allowed = "count" in max ? String(max.count) : `${max.percent} %`;
  return Effect.fail(
    new ExportError({
      reason: "TooManyQuarantined",
      row: firstQuarantined,
      message: `${quarantined} of ${rows} rows are not sessions, and at most ${allowed} may be. ` +
        (firstQuarantined === undefined ? "" : `The first: ${wordsOf(firstQuarantined)}. `) +
        "If that is as it should be, allow more of them (--max-quarantined)",
    }),
  );
};

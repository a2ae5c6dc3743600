/**
 * An export that the server is asked for: a plain description, which says nothing of where or when it runs. Each user of it
 * is exported on their own, so it can be split by user.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import * as Manifest from "../../dataset/Manifest.ts";
import type * as Export from "../../export/Export.ts";
import { Description } from "../../queue/Description.ts";

export { Description, optionNames, PageSize, UserId } from "../../queue/Description.ts";

/** The id of an export, which the server gives: a time and something random. */
export const Id = Schema.String.pipe(
  Schema.pattern(/^\d{8}T\d{9}Z-[0-9a-f]{12}$/, { message: () => "is not the id of an export" }),
  Schema.annotations({ identifier: "ExportId" }),
);

/**
 * `queued`: waits for its turn. `running`. `done`: complete. `failed`: broken off, `error` says why; `cancelled`: broken off
 * by a caller. The last two can be gone on with.
 */
export const Status = Schema.Literal("queued", "running", "done", "failed", "cancelled");

/** See {@link Status}. */
export type Status = typeof Status.Type;

const Count = Schema.Int.pipe(Schema.nonNegative());

/** Progress of an export. */
export const Progress = Schema.Struct({
  /** Users whose walk has ended; how many there are, once that is known. */
  users: Count,
  users_total: Schema.optional(Count),
  missing: Count,
  failed: Count,
  unverified: Count,
  sessions: Count,
  quarantined: Count,
  /** Before any compression. */
  bytes: Count,
});

/** See {@link Progress}. */
export type Progress = typeof Progress.Type;

/** Why an export broke off. */
export const Failure = Schema.Struct({ reason: Schema.String, message: Schema.String });

/** See {@link Failure}. */
export type Failure = typeof Failure.Type;

const id = "20261124T061500000Z-0f5c2a9be471";
const created = "2026-11-24T06:15:00.000Z";

/** An example of progress. */
const progress: Progress = {
  ...{ users: 60, users_total: 120, missing: 0, failed: 0, unverified: 0 },
  ...{ sessions: 2400, quarantined: 0, bytes: 1_180_000 },
};

/** An export as it is told of. */
export const View = Schema.Struct({
  id: Id,
  status: Status,
  created: Schema.String,
  description: Description,
  error: Schema.optional(Failure),
  progress: Schema.optional(Progress),
  /** Report of the run, once it has ended. */
  report: Schema.optional(Manifest.Run),
  /** The parts that are complete. */
  parts: Schema.Array(Manifest.Part),
}).annotations({
  identifier: "ExportReport",
  description: "The export.",
  examples: [{
    ...{ id, status: "running", created, progress },
    description: { users: "all", formats: ["parquet"] },
    parts: [{
      path: "parquet/part-00000.parquet",
      format: "parquet",
      ...{ part: 0, run: 1, rows: 2000, bytes: 61_440 },
      sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    }],
  }],
});

/** See {@link View}. */
export type View = typeof View.Type;

/** An export in short. */
export const Summary = Schema.Struct({
  id: Id,
  status: Status,
  created: Schema.String,
  formats: Description.fields.formats,
  users: Schema.Union(Schema.Literal("all"), Count),
  progress: Schema.optional(Progress),
  error: Schema.optional(Failure),
}).annotations({
  identifier: "ExportSummary",
  description: "The export in short.",
  examples: [{ id, status: "running", created, formats: ["parquet"], users: "all", progress }],
});

/** See {@link Summary}. */
export type Summary = typeof Summary.Type;

/** Summarize an export that has just been asked for. */
export const summaryOf = (id: string, created: string, { users, formats }: Description): Summary => ({
  id,
  status: "queued",
  created,
  formats,
  users: users === "all" ? "all" : new Set(users).size,
});

/** Give the progress that the driver keeps. */
export const progressOf = (
  { users, usersTotal, missing, failed, unverified, sessions, quarantined, encodedBytes }: Export.Progress,
): Progress => ({
  users,
  ...(usersTotal !== undefined && { users_total: usersTotal }),
  missing,
  failed,
  unverified,
  sessions,
  quarantined,
  bytes: encodedBytes,
});

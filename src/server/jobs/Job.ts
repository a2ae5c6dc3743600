/**
 * An export that the server is asked for: a plain description, which says nothing of where or when it runs. Each user of it
 * is exported on their own, so it can be split by user.
 *
 * @module
 */
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as Schema from "effect/Schema";
import * as Manifest from "../../dataset/Manifest.ts";
import type * as Export from "../../export/Export.ts";
import { builtInChoices } from "../../format/Formats.ts";
import * as Options from "../../options/Options.ts";
import { mapFields } from "../../session/RedactionFields.ts";
import * as RedactionPolicy from "../../session/RedactionPolicy.ts";
import { leastSize } from "../../source/paging/Limits.ts";

/** A user's id: nothing that could lead to another path, whatever is made of it. */
export const UserId = Schema.String.pipe(
  Schema.pattern(/^(?!\.{1,2}$)[^\s/\\\p{Cc}\p{Cs}]{1,200}$/u, {
    message: () => "a user's id has from 1 to 200 characters, without spaces, slashes and control characters",
  }),
  Schema.annotations({ identifier: "UserId" }),
);

/** The id of an export, which the server gives: a time and something random. */
export const Id = Schema.String.pipe(
  Schema.pattern(/^\d{8}T\d{9}Z-[0-9a-f]{12}$/, { message: () => "is not the id of an export" }),
  Schema.annotations({ identifier: "ExportId" }),
);

/** Rows that a page may be asked to hold. */
export const PageSize = Schema.Int.pipe(Schema.between(leastSize, 1000));

/** A policy, see {@link RedactionPolicy.Policy}. */
const Policy = Schema.Struct(
  mapFields((allowed) => Schema.optional(Schema.Literal(...allowed))),
) as unknown as Schema.Schema<RedactionPolicy.Policy>;

/** Each format once: with gzip and without, its parts would have one place and two names. */
const Formats = Schema.NonEmptyArray(
  Schema.Literal(...builtInChoices).annotations({
    message: () => ({ message: `is none of ${builtInChoices.join(", ")}`, override: true }),
  }),
).pipe(
  Schema.filter(
    (formats) => new Set(formats.map((format) => format.replace(/\.gz$/, ""))).size === formats.length,
    {
      message: () => "each format can be named once, with .gz or without",
    },
  ),
);

/** Description of an export. */
export const Description = Schema.Struct({
  /** `"all"`, or ids. */
  users: Schema.Union(Schema.Literal("all"), Schema.NonEmptyArray(UserId)),
  formats: Formats,
  ...SessionFilters.mapQuery(() => Schema.optional(Schema.NonEmptyString)),
  page_size: Schema.optional(PageSize),
  /** Sessions a part. */
  part_rows: Schema.optional(Schema.Int.pipe(Schema.between(1, 1e9))),
  on_invalid: Schema.optional(Schema.Literal("quarantine", "fail")),
  redact: Schema.optional(Policy),
}).annotations({
  identifier: "ExportDescription",
  examples: [{ users: "all", formats: ["parquet"], redact: { ip: "truncate" } }],
});

/** See {@link Description}. */
export type Description = typeof Description.Type;

/** See {@link Description}: names alone, for it says itself what each is. Of its redaction, all that there is to check. */
export const optionNames: Options.Names<Description> = {
  users: Options.any,
  formats: Options.any,
  ...SessionFilters.mapQuery(() => Options.any),
  page_size: Options.any,
  part_rows: Options.any,
  on_invalid: Options.any,
  redact: RedactionPolicy.kind,
};

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

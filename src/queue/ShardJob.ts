/**
 * A shard of a run as the queue holds it: a plain description. It names tenant and target by names that each worker is configured
 * with, and holds no secret, no address and no path.
 */
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import { sortKeys } from "../api/Sort.ts";
import * as Json from "../format/Json.ts";
import { leastSize, mostSize } from "../source/paging/Limits.ts";
import { Description } from "./Description.ts";

/** The version of jobs that this program makes. It changes where an older worker would do something else than was meant. */
export const jobVersion = 1;

/** A name that a worker is configured with: of no other place, whatever is made of it. */
export const Name = Schema.String.pipe(
  Schema.pattern(/^[a-z0-9][a-z0-9_-]{0,63}$/i, {
    message: () => "a name has from 1 to 64 letters, digits, - and _, and is no path or URL",
  }),
);

const Count = Schema.Int.pipe(Schema.nonNegative());

/** Milliseconds, or a part of one: a time is given as people write it. */
const Millis = Schema.Finite.pipe(Schema.nonNegative());

const { users: _, formats, on_invalid, part_rows, ...shared } = Description.fields;

/** Into a table of a warehouse. */
const Table = Schema.Struct({
  kind: Schema.Literal("table"),
  run: Count,
  prune: Schema.Boolean,
  deletes: Schema.optional(Schema.Literal("soft", "hard")),
  bad_text: Schema.optional(Schema.Literal("replace", "quarantine")),
  checkpoint_rows: Schema.optional(Count),
  checkpoint_every: Schema.optional(Millis),
});

/** Into a folder that all machines share. */
const Folder = Schema.Struct({
  kind: Schema.Literal("folder"),
  /** Name of the run within the folder. */
  run: Name,
  formats,
  on_invalid,
  part_rows,
  part_bytes: Schema.optional(Count),
  keep_formulas: Schema.optional(Schema.Boolean),
  parquet_version: Schema.optional(Schema.Literal(1, 2)),
  row_group_rows: Schema.optional(Count),
  sort: Schema.optional(Schema.Literal(...sortKeys.flatMap((key) => [`${key}:1`, `${key}:-1`] as const))),
});

export const ShardJob = Schema.Struct({
  version: Schema.Literal(jobVersion),
  /** The id of the run that the shard is of. */
  job: Schema.NonEmptyString,
  shard: Count,
  tenant: Name,
  target: Name,
  into: Schema.Union(Table, Folder),
  how: Schema.Struct({
    ...shared,
    /** As commands take it. */
    page_size: Schema.optional(Schema.Int.pipe(Schema.between(leastSize, mostSize))),
    concurrency: Schema.optional(Count),
    max_elapsed: Schema.optional(Millis),
    max_body_bytes: Schema.optional(Count),
    /** Mark of the secret that texts are hashed with: a worker must have the same. */
    redact_mark: Schema.optional(Schema.String),
    lookback: Schema.optional(Count),
    max_quarantined: Schema.optional(
      Schema.Union(Schema.Struct({ count: Count }), Schema.Struct({ percent: Schema.Number })),
    ),
  }),
  /** True if the users come from the tenant's own list. */
  users_listed: Schema.Boolean,
  /** The span that the run is traced by, as `traceparent` has it. */
  trace: Schema.optional(Schema.String),
});

export type ShardJob = typeof ShardJob.Type;

export type Folder = typeof Folder.Type;

/** The part of a job that all shards of a run have in common. */
export type RunJob = Omit<ShardJob, "version" | "shard">;

/** Give the id of a shard in its queue. */
export const idOf = ({ job, shard }: Pick<ShardJob, "job" | "shard">): string => `${job}.${shard}`;

const decodeUnknown = Schema.decodeUnknownEither(ShardJob, { onExcessProperty: "error" });

/** Tell whether a job is of a newer version than this program knows. */
export const isNewer = (data: unknown): boolean => {
  const { version } = (data ?? {}) as { readonly version?: unknown };
  return typeof version === "number" && version > jobVersion;
};

/**
 * Read a job of the queue, in which anybody may have written anything.
 *
 * @throws {TypeError} that says what is wrong with it.
 */
export const decode = (data: unknown): ShardJob =>
  Either.getOrThrowWith(
    decodeUnknown(data),
    (error) => new TypeError(`This job is none that a worker does: ${Json.flawOf(error)}`),
  );

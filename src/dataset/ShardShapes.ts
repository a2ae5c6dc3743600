/** The shapes of what a manifest and a journal say of shards. */
import * as Schema from "effect/Schema";
import { Count, RunNumber } from "./Counts.ts";

/** Keys of runs in shards, and names of attempts, as they are folders. */
export const shardKey = /^\d{5,10}-[0-9a-f]{8}$/;
export const attemptName = /^[1-9]\d{0,8}$/;

/** A shard that was published: which attempt at it counts, and what that brought. */
export const PublishedShard = Schema.Struct({
  /** From 1. */
  shard: RunNumber,
  attempt: Schema.String.pipe(Schema.pattern(attemptName)),
  users: Count,
  sessions: Count,
});

/** Sums of a file that is not a part. */
const listed = { bytes: Count, sha256: Schema.String };

/** A shard, as its own description has it. */
export const Shard = Schema.Struct({
  key: Schema.String.pipe(Schema.pattern(shardKey)),
  shard: RunNumber,
  /** Measure of what there is to walk, against other shards. */
  weight: Schema.JsonNumber,
  /** True if the users come from the tenant's own list. */
  listed: Schema.optional(Schema.Literal(true)),
  /** The file of the cursors that its users begin from; absent in a full run. */
  cursors: Schema.optional(Schema.Struct({ rows: Count, ...listed })),
  /** The largest page that the tenant gave, where an earlier run found it out. */
  page_size: Schema.optional(Count),
});

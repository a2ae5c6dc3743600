/** State of runs by activity, kept from one run to the next. A small plain value. */
import * as Schema from "effect/Schema";

const Ids = Schema.Array(Schema.String);

export const ActivityState = Schema.Struct({
  /** Cursor of activity: users active up to this time have been asked since, in seconds since the epoch by the tenant's clock. */
  at: Schema.JsonNumber,
  /** Cursor of creation: users created up to this time have been asked. */
  created: Schema.JsonNumber,
  /** The time by the tenant's clock that had come for certain when the last run began to ask. */
  ran_at: Schema.JsonNumber,
  /** When the last sweep began, by the clock of its machine. */
  swept_at: Schema.JsonNumber,
  /** Users whose activity is null or absent: they are asked in each run. */
  inactive: Ids,
  /** Users whose last walk failed, or is not verified. */
  again: Ids,
  /** The reason why activity is not gone by any more. */
  off: Schema.optional(Schema.String),
});

export type ActivityState = typeof ActivityState.Type;

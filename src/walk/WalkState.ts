/**
 * Where a walk stands as a plain value that JSON can hold, so that it can be put down and gone on from, hours later and by
 * another process.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import { straysOf, type Walk } from "./PageWalk.ts";

const Key = Schema.Union(Schema.JsonNumber, Schema.String);
const Count = Schema.Int.pipe(Schema.nonNegative());
const Frontier = Schema.Struct({ order: Count, key: Key, ids: Schema.Array(Schema.String) });

/** The plain value. Its fields are those of {@link Walk}. */
export const WalkState = Schema.Struct({
  size: Schema.Int.pipe(Schema.positive()),
  isClamped: Schema.Boolean,
  order: Count,
  overlapping: Schema.Boolean,
  frontier: Schema.optional(Frontier),
  run: Count,
  past: Schema.Array(Frontier),
  remembered: Schema.optional(Schema.Array(Schema.String)),
  strays: Schema.Array(Schema.String),
  end: Count,
  slack: Count,
  high: Count,
  stalls: Count,
  total: Schema.optional(Count),
  doubts: Schema.Array(Schema.String),
  done: Schema.Boolean,
});

/** See {@link WalkState}. */
export type WalkState = typeof WalkState.Type;

/** The walk as a plain value. */
export const save = ({ remembered, strays, ...walk }: Walk): WalkState => ({
  ...walk,
  strays: strays.ids.slice(0, strays.count),
  ...(remembered && { remembered: [...remembered.ids].slice(0, remembered.count) }),
});

/** The walk that {@link save} was given. */
export const restore = ({ remembered, strays, ...walk }: WalkState): Walk => ({
  ...walk,
  strays: straysOf(strays),
  frontier: walk.frontier,
  total: walk.total,
  remembered: remembered && { ids: new Set(remembered), count: remembered.length },
});

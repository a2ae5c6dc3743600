/**
 * The state of a walk as a plain value that JSON can hold, so that it can be resumed hours later and by another process.
 */
import * as Schema from "effect/Schema";
import { hashText, ObservedIds } from "./ObservedIds.ts";
import { type ListShape, unorderedRowsOf, type Walk } from "./PageWalk.ts";

const Key = Schema.Union(Schema.JsonNumber, Schema.String);
const Count = Schema.Int.pipe(Schema.nonNegative());
const Frontier = Schema.Struct({ order: Count, key: Key, ids: Schema.Array(Schema.String) });

/**
 * The plain value, by the names that it has had since 0.1: `run` is {@link Walk.tieCount}, `high` is `maxEnd`, `stalls` is
 * `attemptsWithoutProgress`, `strays` are `unorderedRows`. What is optional, earlier versions did not write.
 */
export const WalkState = Schema.Struct({
  size: Schema.Int.pipe(Schema.positive()),
  isClamped: Schema.Boolean,
  order: Count,
  overlapping: Schema.Boolean,
  frontier: Schema.optional(Frontier),
  run: Count,
  past: Schema.Array(Frontier),
  /** All ids delivered, of a list whose order does not tell them. */
  remembered: Schema.optional(Schema.Array(Schema.String)),
  /** Ids as hashes: those met in this pass, and those met before; and whether no other was delivered. */
  observed: Schema.optional(Schema.Array(Count)),
  observedBefore: Schema.optional(Schema.Array(Count)),
  isExact: Schema.optional(Schema.Boolean),
  strays: Schema.Array(Schema.String),
  end: Count,
  slack: Count,
  high: Count,
  stalls: Count,
  total: Schema.optional(Count),
  retries: Schema.optional(Count),
  avoid: Schema.optional(Count),
  short: Schema.optional(Count),
  pass: Schema.optional(Count),
  met: Schema.optional(Count),
  brought: Schema.optional(Count),
  most: Schema.optional(Count),
  topPage: Schema.optional(Count),
  moved: Schema.optional(Count),
  pending: Schema.optional(Schema.Array(Schema.String)),
  doubts: Schema.Array(Schema.String),
  done: Schema.Boolean,
});

export type WalkState = typeof WalkState.Type;

/**
 * More ids are stored only where no frontier tells what has been delivered: 850 kB. A walk that goes on without them can't
 * find out that an answer before was wrong, nor bring what that one lacked.
 */
const MOST_STORED = 50_000;

/** Gives the walk as a plain value. */
export const save = (shape: ListShape, walk: Walk): WalkState => {
  const { observed, isExact, unorderedRows, overlapping, order, pass } = walk;
  const isTold = overlapping && order === 0 && pass === 0 && shape.orders[0].fixed;
  const isStored = observed !== undefined && (!isTold || (isExact && observed.count <= MOST_STORED));
  const hashes = isStored ? observed.ids.hashes(observed.count, walk.passBegan) : undefined;
  return {
    size: walk.size,
    isClamped: walk.isClamped,
    order,
    overlapping,
    frontier: walk.frontier,
    run: walk.tieCount,
    past: walk.past,
    ...(hashes && { observed: hashes.since, observedBefore: hashes.before, isExact }),
    strays: unorderedRows.ids.slice(0, unorderedRows.count),
    end: walk.end,
    slack: walk.slack,
    high: walk.maxEnd,
    stalls: walk.attemptsWithoutProgress,
    total: walk.total,
    retries: walk.retries,
    avoid: walk.avoid,
    short: walk.short,
    pass,
    met: walk.met,
    brought: walk.brought,
    most: walk.most,
    topPage: walk.topPage,
    moved: walk.moved,
    pending: walk.pending,
    doubts: walk.unverifiedReasons,
    done: walk.done,
  };
};

/** The answers that stored ids are taken to have been met in: before this pass, and in it. */
const [BEFORE, IN_PASS] = [0, 1];

/** Gives the walk that {@link save} was given. */
export const restore = (
  { remembered, observed, observedBefore, strays, run, high, stalls, doubts, ...state }: WalkState,
): Walk => {
  const before = observedBefore ?? remembered?.map(hashText);
  const ids = new ObservedIds();
  before?.forEach((hash) => ids.meet(hash, BEFORE));
  observed?.forEach((hash) => ids.meet(hash, IN_PASS));
  const isUntouched = state.frontier === undefined && state.past.length === 0 && strays.length === 0;
  const isExact = isUntouched || (state.isExact ?? (remembered !== undefined && state.past.length === 0));
  return {
    ...state,
    tieCount: run,
    maxEnd: high,
    attemptsWithoutProgress: stalls,
    unorderedRows: unorderedRowsOf(strays),
    frontier: state.frontier,
    // Where ids tell what was met, by how much the count has moved meanwhile tells what may be missing.
    total: isExact ? state.total : undefined,
    observed: before && { ids, count: ids.size },
    isExact,
    answers: IN_PASS + 1,
    passBegan: IN_PASS,
    rewoundAt: IN_PASS + 1,
    retries: state.retries ?? 0,
    avoid: state.avoid,
    short: state.short,
    earlier: undefined,
    backs: 0,
    vain: 0,
    pass: state.pass ?? 0,
    met: isExact ? state.met : undefined,
    brought: state.brought ?? 0,
    most: state.most,
    topPage: state.topPage ?? 0,
    moved: state.moved ?? 0,
    // Of pages 1, 2, 3…, earlier versions called doubts what may be proven yet.
    pending: state.pending ?? (state.overlapping ? [] : doubts),
    unverifiedReasons: state.pending === undefined && !state.overlapping ? [] : doubts,
  };
};

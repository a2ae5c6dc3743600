/** The state of a walk, and how it ends or starts over. */
import { leastSize } from "./Limits.ts";
import { ObservedIds } from "./ObservedIds.ts";
import type { Key, ListShape, Order } from "./SortOrder.ts";

/** The last key delivered in one of the orders, and the ids delivered at that key. */
export interface Frontier {
  readonly order: number;
  readonly key: Key;
  readonly ids: ReadonlyArray<string>;
}

/** The first so many ids of a table that successive states share, each adding to its end. */
export interface Observed {
  readonly ids: ObservedIds;
  readonly count: number;
}

/** The first so many ids of a list that successive states share, likewise; several may be alike. */
export interface UnorderedRows {
  readonly ids: Array<string>;
  /** The number of times that each is in the list. */
  readonly times: Map<string, number>;
  readonly count: number;
}

/** Makes unordered rows of these ids. */
export const unorderedRowsOf = (ids: Iterable<string>): UnorderedRows => {
  const unorderedRows: UnorderedRows = { ids: [], times: new Map(), count: 0 };
  return withUnordered(unorderedRows, ids);
};

export const withUnordered = ({ ids, times }: UnorderedRows, more: Iterable<string>): UnorderedRows => {
  for (const id of more) {
    ids.push(id);
    times.set(id, (times.get(id) ?? 0) + 1);
  }
  return { ids, times, count: ids.length };
};

/** The position of a walk before its last answer, to go back to if that answer turns out to be wrong. */
interface Earlier {
  readonly frontier: Frontier | undefined;
  readonly tieCount: number;
  readonly end: number;
}

/** The state of a walk. Only the latest one may be gone on from; {@link save} keeps any. */
export interface Walk {
  /** The largest page to ask for unless a larger one is needed: what was wished, or less if the tenant gives less. */
  readonly size: number;
  /** True if the tenant has given a smaller page than asked for. */
  readonly isClamped: boolean;
  /** The one of the shape's orders that is in use. */
  readonly order: number;
  /** False once the orders have run out, and pages 1, 2, 3… are read. */
  readonly overlapping: boolean;
  readonly frontier: Frontier | undefined;
  /** The number of rows at the end of the last answer that share the frontier's key. */
  readonly tieCount: number;
  /** The frontiers of the orders given up: what they cover has been delivered. */
  readonly past: ReadonlyArray<Frontier>;
  /** The ids met so far; none where the list came in one answer, or the walk goes on from a stored state. */
  readonly observed: Observed | undefined;
  /** True if `observed` holds every id delivered; else frontiers tell what was. */
  readonly isExact: boolean;
  /** The ids of the rows met so far that have no place in the order. */
  readonly unorderedRows: UnorderedRows;
  /** The number of rows of the list before the end of the last answer, as of that answer. */
  readonly end: number;
  /** The number of rows more than necessary to overlap, since rows vanish from under the walk. */
  readonly slack: number;
  /** The furthest `end` at which an answer brought something. */
  readonly maxEnd: number;
  /** The number of answers in a row that did not move the frontier. */
  readonly attemptsWithoutProgress: number;
  /** The number of answers that have brought nothing in all. */
  readonly vain: number;
  /** The number of rows that the list had at the last count. */
  readonly total: number | undefined;
  /** The number of answers that were taken in. */
  readonly answers: number;
  /** The number of answers in a row that were contradicted, and the size asked for in the last of them. */
  readonly retries: number;
  readonly avoid: number | undefined;
  /** The end of the last answer that was short and had no header; asked for again once. */
  readonly short: number | undefined;
  readonly earlier: Earlier | undefined;
  /** The number of times that the walk has gone back to it without coming further than before. */
  readonly backs: number;
  /** The number of times that the list has been read in this order, or in pages 1, 2, 3…, before. */
  readonly pass: number;
  /** The first answer of this pass. */
  readonly passBegan: number;
  /** The first answer since the walk began or last went back to where it had been. */
  readonly rewoundAt: number;
  /** The number of rows that this pass has met; undefined where a state of an earlier version does not say. */
  readonly met: number | undefined;
  /** The highest count of the list; undefined where no answer counted. */
  readonly most: number | undefined;
  /** The page that is read once more after the end, to see what has come at the top meanwhile; 0 before that. */
  readonly topPage: number;
  /** The number of rows that this pass has brought that were not delivered before. */
  readonly brought: number;
  /** By how much the counts have moved in this pass. */
  readonly moved: number;
  /** Reasons why the walk has started over: unverifiedReasons, unless a later pass or a count proves the list. */
  readonly pending: ReadonlyArray<string>;
  readonly unverifiedReasons: ReadonlyArray<string>;
  readonly done: boolean;
}

/** The meaning of an answer for the walk. */
export interface Step {
  readonly walk: Walk;
  /** The indices of the rows to deliver now. */
  readonly take: ReadonlyArray<number>;
  /** True if the answer is believed: of one that is not, nothing counts. */
  readonly isTaken: boolean;
  /** True if requests planned before this answer are still of use. */
  readonly onCourse: boolean;
}

/** Take nothing of an answer: the walk asks on from this state. */
export const notTaken = (walk: Walk): Step => ({ walk, take: [], isTaken: false, onCourse: false });

/** Take rows of an answer, and go on from this state. */
export const taken = (walk: Walk, take: ReadonlyArray<number>, onCourse = false): Step => ({
  walk,
  take,
  isTaken: true,
  onCourse,
});

/** A pass that has not begun. */
const fromTheTop = {
  frontier: undefined,
  tieCount: 0,
  end: 0,
  slack: 0,
  attemptsWithoutProgress: 0,
  retries: 0,
  avoid: undefined,
  short: undefined,
  earlier: undefined,
  backs: 0,
  met: 0,
  brought: 0,
  moved: 0,
  topPage: 0,
} as const;

/**
 * Begins a walk in pages of `size` rows, which must be {@link leastSize} or more, and of up to twice as many where no
 * smaller ones overlap.
 */
export const begin = (size: number): Walk => {
  if (!Number.isSafeInteger(size) || size < leastSize) {
    throw new RangeError(
      `Cannot read pages as their size must be an integer of ${leastSize} or more: it is ${size}`,
    );
  }
  return {
    size,
    isClamped: false,
    order: 0,
    overlapping: true,
    past: [],
    observed: undefined,
    isExact: true,
    unorderedRows: unorderedRowsOf([]),
    maxEnd: 0,
    answers: 0,
    vain: 0,
    most: undefined,
    total: undefined,
    pending: [],
    unverifiedReasons: [],
    done: false,
    ...fromTheTop,
    pass: 0,
    passBegan: 0,
    rewoundAt: 0,
  };
};

export const orderOf = (shape: ListShape, index: number): Order => shape.orders[index] ?? shape.orders[0];

export const reason = {
  mutableKey: "rows can change their place while the list is read in this order",
  otherOrder: "rows came in another order than the one asked for",
  otherSize: "pages came in another size than the one asked for",
  noOverlap: "pages are too small to overlap, or too many rows share one key",
  unordered: "some rows failed the schema and have no sort key, so gaps can't be ruled out",
  vanishing: "rows vanished faster than the list could be read",
  miscounted: "the tenant counts more rows than it lists",
  noFurtherPage: "the tenant promised a further page and did not give it",
  short: "pages were shorter than they said while more rows followed",
  twice: "an id came twice in one reading of the list",
  moved: "pages did not follow on each other though the list was the same",
  unknown: "an earlier answer was wrong, and what it had brought is no longer known",
} as const;

export type Reason = typeof reason[keyof typeof reason];

/** Reasons to start over that say nothing against what was delivered before. */
export const harmless: ReadonlySet<string> = new Set([reason.noOverlap, reason.vanishing, reason.otherSize]);

export const withReason = (walk: Walk, ...why: ReadonlyArray<string>): Walk => {
  const more = why.filter((each) => !walk.unverifiedReasons.includes(each));
  return more.length === 0 ? walk : { ...walk, unverifiedReasons: [...walk.unverifiedReasons, ...more] };
};

/** Begins the list from its top, once more. */
export const again = (walk: Walk, why: Reason): Walk => ({
  ...walk,
  ...fromTheTop,
  past: walk.frontier === undefined ? walk.past : [...walk.past, walk.frontier],
  pending: walk.pending.includes(why) ? walk.pending : [...walk.pending, why],
  passBegan: walk.answers,
  rewoundAt: walk.answers,
  pass: walk.pass + 1,
});

/** Goes over to the order after the one in use; pages 1, 2, 3… when there is none. */
export const leave = (shape: ListShape, walk: Walk, why: Reason): Walk => {
  const next = {
    ...again(walk, why),
    pass: 0,
    observed: walk.observed ?? { ids: new ObservedIds(), count: 0 },
  };
  return shape.orders[walk.order + 1] === undefined
    ? { ...next, overlapping: false, maxEnd: 0 }
    : { ...next, order: walk.order + 1 };
};

/** Reads the list once more in the same order, or else in the next. */
export const over = (shape: ListShape, walk: Walk, why: Reason): Walk =>
  walk.pass === 0 ? again(walk, why) : leave(shape, walk, why);

/**
 * Ends a walk: what made it start over is forgotten where the list was read again without a contradiction, and counted, by a
 * walk that knows what it has delivered.
 */
export const finished = (walk: Walk): Walk => {
  const why = walk.pending.filter((why) => !harmless.has(why));
  const judged = why.length === 0 || (walk.isExact && walk.most !== undefined)
    ? walk
    : withReason(walk, ...(walk.isExact ? why : [reason.unknown]));
  return { ...judged, pending: [], done: true };
};

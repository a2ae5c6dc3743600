/**
 * How a list that is served in numbered pages is read whole while it changes: a pure state machine. Ask {@link plan}
 * what to request, hand each answer to {@link receive}, deliver the rows it names, until the walk is done.
 *
 * **Why it loses nothing.** Every answer is an unbroken stretch of the list, in order, as it was at one moment. The walk
 * asks for stretches that *overlap*, by varying the page size, and takes an answer only if it reaches back beyond the
 * *frontier*, the last key delivered: it begins with a row whose key comes before the frontier's, or with the first
 * row of the list. Then every row from the frontier to the end of that answer was either in it or not in the list.
 * By induction, a row that is in the list from the first request to the last was in one of the answers, whatever was
 * deleted, inserted or re-ordered among equal keys meanwhile, and whenever each answer was given: so several can be
 * fetched at once, and a walk can be resumed after hours. An answer that does not reach back (rows before it were
 * deleted) is no loss either: it is seen, and the walk asks again further up.
 *
 * **Why it repeats nothing.** Only rows behind the frontier are delivered, and of rows at the frontier's own key only
 * those not delivered yet. The ids at that one key are all the walk remembers.
 *
 * This rests on each row's key staying what it is. Where the tenant does not keep to the order asked for, or more rows
 * share a key than two pages hold, the walk starts over in the next of its orders and passes over what has been delivered;
 * when the orders run out it reads pages 1, 2, 3… , remembers every id, and says so in its doubts.
 *
 * @module
 */
import type { PageFacts } from "../tenant/PageFacts.ts";
import { DOCUMENTED_SIZE, leastSize } from "./Bounds.ts";
import { compare, isInOrder, type Key, type Listed, type ListShape, type Order } from "./Order.ts";

export { leastSize } from "./Bounds.ts";
export { type Listed, listed, type ListShape, type Order, type Row } from "./Order.ts";

/** The last key delivered in one of the orders, and the ids delivered at that key. */
export interface Frontier {
  readonly order: number;
  readonly key: Key;
  readonly ids: ReadonlyArray<string>;
}

/** The first so many ids of a set that successive states share, each adding to its end. */
export interface Remembered {
  readonly ids: Set<string>;
  readonly count: number;
}

/** The first so many ids of a list that successive states share, likewise; several may be alike. */
export interface Strays {
  readonly ids: Array<string>;
  /** How many times each is in the list. */
  readonly times: Map<string, number>;
  readonly count: number;
}

/** These ids as strays. */
export const straysOf = (ids: Iterable<string>): Strays => {
  const strays: Strays = { ids: [], times: new Map(), count: 0 };
  return withStrays(strays, ids);
};

const withStrays = ({ ids, times }: Strays, more: Iterable<string>): Strays => {
  for (const id of more) {
    ids.push(id);
    times.set(id, (times.get(id) ?? 0) + 1);
  }
  return { ids, times, count: ids.length };
};

/** Where a walk stands: small but for `remembered`. Only the latest state may be gone on from; {@link save} keeps any. */
export interface Walk {
  /** The largest page to ask for unless a larger one is needed: what was wished, or less if the tenant gives less. */
  readonly size: number;
  /** Whether the tenant has given a smaller page than asked for. */
  readonly isClamped: boolean;
  /** Which of the shape's orders is in use. */
  readonly order: number;
  /** False once the orders have run out. */
  readonly overlapping: boolean;
  readonly frontier: Frontier | undefined;
  /** How many rows at the end of the last answer share the frontier's key. */
  readonly run: number;
  /** The frontiers of the orders given up: what they cover has been delivered. */
  readonly past: ReadonlyArray<Frontier>;
  /** The ids met so far, where no frontier can tell what has been delivered. Grows with the list. */
  readonly remembered: Remembered | undefined;
  /** The ids of the rows met so far that have no place in the order. */
  readonly strays: Strays;
  /** How many rows of the list lie before the end of the last answer, as of that answer. */
  readonly end: number;
  /** How many rows more than necessary to overlap, since rows vanish from under the walk. */
  readonly slack: number;
  /** The furthest `end` at which an answer brought something. */
  readonly high: number;
  /** How many answers in a row did not move the frontier. */
  readonly stalls: number;
  /** How many rows the list had at the last count. */
  readonly total: number | undefined;
  readonly doubts: ReadonlyArray<string>;
  readonly done: boolean;
}

/** One page to ask for. */
export interface PageRequest {
  readonly page: number;
  readonly size: number;
  readonly sort: string;
}

/** What an answer means for the walk. */
export interface Step {
  readonly walk: Walk;
  /** The indices of the rows to deliver now. */
  readonly take: ReadonlyArray<number>;
  /** Whether requests planned before this answer are still of use. */
  readonly onCourse: boolean;
}

/** How many answers in a row may bring nothing before the walk goes on without proof, apart from reading it all again. */
const PATIENCE = 100;

/**
 * The beginning of a walk in pages of `size` rows, which must be {@link leastSize} or more, and of up to twice as many where
 * no smaller ones overlap.
 */
export const begin = (shape: ListShape, size: number): Walk => {
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
    frontier: undefined,
    run: 0,
    past: [],
    remembered: shape.orders[0].fixed ? undefined : { ids: new Set(), count: 0 },
    strays: straysOf([]),
    end: 0,
    slack: 0,
    high: 0,
    stalls: 0,
    total: undefined,
    doubts: [],
    done: false,
  };
};

const orderOf = (shape: ListShape, index: number): Order => shape.orders[index] ?? shape.orders[0];

const doubt = {
  mutableKey: "rows can change their place while the list is read in this order",
  otherOrder: "rows came in another order than the one asked for",
  otherSize: "pages came in another size than the one asked for",
  noOverlap: "pages are too small to overlap, or too many rows share one key",
  strays: "rows that are not what they should be have no place in the order",
  vanishing: "rows vanished faster than the list could be read",
  miscounted: "the tenant counts more rows than it lists",
  noFurtherPage: "the tenant promised a further page and did not give it",
} as const;

type Doubt = typeof doubt[keyof typeof doubt];

/** Whether nothing came for too long; sooner where it has been so before, for then it is the tenant's way. */
const isOutOfPatience = (walk: Walk, stalls: number): boolean =>
  stalls > (walk.doubts.includes(doubt.vanishing) ? 3 : PATIENCE + 2 * Math.ceil(walk.high / walk.size));

const withDoubt = (walk: Walk, why: Doubt): Walk =>
  walk.doubts.includes(why) ? walk : { ...walk, doubts: [...walk.doubts, why] };

/** The order after the one in use; pages 1, 2, 3… when there is none. */
const nextOrder = (shape: ListShape, walk: Walk, why: Doubt): Walk => {
  const past = walk.frontier === undefined ? walk.past : [...walk.past, walk.frontier];
  const again = { ...walk, past, frontier: undefined, run: 0, end: 0, slack: 0, stalls: 0 };
  const next = shape.orders[walk.order + 1];
  return next !== undefined
    ? {
      ...again,
      order: walk.order + 1,
      remembered: walk.remembered ?? (next.fixed ? undefined : { ids: new Set(), count: 0 }),
    }
    : {
      ...withDoubt(again, why),
      overlapping: false,
      remembered: walk.remembered ?? { ids: new Set(), count: 0 },
    };
};

/** The page that reaches furthest of those that hold the row at `from` and one at `end`; none if no page spans both. */
const furthest = (from: number, end: number, size: number): { page: number; size: number } | undefined => {
  let best: { page: number; size: number } | undefined;
  let reach = end;
  // A page of n fewer rows reaches at most n rows less far: past what the best one wastes there is nothing to gain.
  for (let candidate = size; candidate > size / 2 && from + candidate > reach; candidate--) {
    const page = Math.floor(from / candidate) + 1;
    if (page * candidate > reach) {
      reach = page * candidate;
      best = { page, size: candidate };
    }
  }
  return best;
};

/** A larger page that holds the row at `from` and one at `end`, where no smaller one does. */
const larger = (from: number, end: number, size: number): { page: number; size: number } | undefined => {
  for (let candidate = size + 1; candidate <= 2 * size; candidate++) {
    const page = Math.floor(from / candidate) + 1;
    if (page * candidate > end) return { page, size: candidate };
  }
  return undefined;
};

/** The page to ask for after `end`, the last `run` rows before which share a key, with as much slack as is possible. */
const overlap = (
  end: number,
  run: number,
  { size, slack, isClamped }: Walk,
): { page: number; size: number } | undefined => {
  for (let more = slack; more > 0; more >>= 1) {
    const page = furthest(Math.max(0, end - run - 1 - more), end, size);
    if (page !== undefined) return page;
  }
  const from = Math.max(0, end - run - 1);
  return furthest(from, end, size) ?? (isClamped ? undefined : larger(from, end, size));
};

/**
 * What to ask for next: up to `count` pages, which can be fetched at once. Never empty unless the walk is done. The walk
 * given back replaces the one passed in, for it may have had to change its order.
 */
export const plan = (
  shape: ListShape,
  walk: Walk,
  count = 1,
): { readonly walk: Walk; readonly requests: ReadonlyArray<PageRequest> } => {
  if (walk.done) return { walk, requests: [] };
  // Where the walk may be done after the first few rows, it asks for no more than those at first.
  const isLook = shape.until !== undefined && walk.order === 0 && walk.high === 0;
  const first = !walk.overlapping || walk.end === 0
    ? { page: Math.floor(walk.end / walk.size) + 1, size: isLook ? leastSize : walk.size }
    : overlap(walk.end, walk.run, walk);
  if (first === undefined) return plan(shape, nextOrder(shape, walk, doubt.noOverlap), count);
  const requests: Array<PageRequest> = [{ ...first, sort: orderOf(shape, walk.order).sort }];
  while (requests.length < count) {
    const next = ahead(walk, requests.at(-1)!);
    if (next === undefined) break;
    requests.push(next);
  }
  return { walk, requests };
};

/** What to ask for after a page whose answer is not there yet; undefined where there is nothing, or no telling. */
export const ahead = (walk: Walk, last: PageRequest): PageRequest | undefined => {
  const end = last.page * last.size;
  if (walk.total === undefined || end >= walk.total || walk.stalls > 0) return undefined;
  // How many rows will share a key can only be guessed: after a wrong guess it goes one step at a time.
  const next = walk.overlapping
    ? overlap(end, 1, walk)
    : { page: Math.floor(end / walk.size) + 1, size: walk.size };
  return next && { ...next, sort: last.sort };
};

/** Where an answer lies in the list, and whether it is the last of it. */
interface Place {
  readonly start: number;
  readonly end: number;
  readonly isLast: boolean;
  /** The page size the tenant gave. */
  readonly size: number;
  readonly total: number | undefined;
  /** Whether the tenant counts more rows than it gives, in one and the same answer. */
  readonly isShort: boolean;
}

const locate = (request: PageRequest, count: number, said: PageFacts | undefined): Place => {
  const start = said && (said.page - 1) * said.pageSize;
  // Facts that contradict the rows or each other are no facts.
  if (
    said === undefined || start === undefined || count > said.pageSize ||
    (count > 0 && start + count > said.total) ||
    (said.hasNext && start + count >= said.total)
  ) {
    // A short page may be the last one, or all that the tenant gives at a time: only below what it gives unasked is it clear.
    const least = Math.min(request.size, said?.pageSize ?? Infinity, DOCUMENTED_SIZE);
    const isLast = said?.hasNext !== true && count < least;
    const size = isLast || count === 0 ? request.size : count;
    const from = (request.page - 1) * request.size;
    return { start: from, end: from + count, isLast, size, total: undefined, isShort: false };
  }
  return {
    start,
    end: said.hasNext ? start + said.pageSize : start + count,
    // A tenant may count before it lists: of a full page, a row inserted in between has pushed the last one off.
    isLast: !said.hasNext && count < said.pageSize,
    size: said.pageSize,
    total: said.total,
    isShort: !said.hasNext && count < said.pageSize && start + count < said.total,
  };
};

/** The answer lies beyond the frontier: rows before it have vanished. Ask again further up. */
const stepBack = (walk: Walk, place: Place): Step => {
  const vanished = Math.max(0, (walk.total ?? 0) - (place.total ?? Infinity));
  const stride = walk.stalls < 2 ? 0 : walk.size * 2 ** Math.min(walk.stalls - 2, 30);
  const slack = Math.min(Math.floor(walk.size / 2), Math.max(4, 2 * walk.slack));
  const end = Math.max(0, Math.min(walk.end, place.start) - Math.max(vanished, stride));
  return {
    walk: { ...walk, end, slack, run: Math.max(1, walk.run), total: place.total, stalls: walk.stalls + 1 },
    take: [],
    onCourse: false,
  };
};

/**
 * Takes in the answer to a planned request. Answers to requests planned together are handed in in the order of the plan,
 * as long as the step says they are of use.
 */
export const receive = (
  shape: ListShape,
  before: Walk,
  request: PageRequest,
  answer: { readonly rows: Listed; readonly facts: PageFacts | undefined },
): Step => {
  const { rows } = answer;
  const place = locate(request, rows.count, answer.facts);
  const order = orderOf(shape, before.order);
  const keys = rows.keys(order);
  const hasStrays = keys.includes(undefined);
  const inOrder = isInOrder(order, keys);
  const isWhole = place.start === 0 && place.isLast;
  const { until } = before.overlapping && before.order === 0 ? shape : {};
  const isPast = until !== undefined && keys.some((key) => compare(order, key, until) > 0);

  const isClamped = place.size < request.size;
  let walk: Walk = isClamped
    ? { ...before, size: Math.max(1, Math.min(before.size, place.size)), isClamped }
    : before;
  if (!isWhole && before.overlapping) {
    if (!order.fixed) walk = withDoubt(walk, doubt.mutableKey);
    if (hasStrays) walk = withDoubt(walk, doubt.strays);
    if (!inOrder) {
      // What has been delivered was told by an order that does not hold.
      if (before.frontier !== undefined) walk = withDoubt(walk, doubt.otherOrder);
      return { walk: nextOrder(shape, walk, doubt.otherOrder), take: [], onCourse: false };
    }
    if (place.size > request.size) {
      const last = { ...walk, order: shape.orders.length - 1, size: place.size };
      return { walk: nextOrder(shape, last, doubt.otherSize), take: [], onCourse: false };
    }
    const reaches = place.start === 0 || before.frontier === undefined ||
      compare(order, keys.find((key) => key !== undefined), before.frontier.key) < 0;
    if (!reaches) {
      if (!isOutOfPatience(before, before.stalls)) return stepBack(walk, place);
      walk = withDoubt(walk, doubt.vanishing);
    }
  }
  if (place.isShort && !isPast) {
    // A row that was deleted between counting and listing is not there a second time.
    if (before.stalls === 0) return { walk: { ...walk, stalls: 1 }, take: [], onCourse: false };
    walk = withDoubt(walk, doubt.miscounted);
  }

  const take = choose(shape, before, rows, keys, inOrder && !hasStrays && order.rises !== true);
  const reached = frontierAfter(before, order, rows, keys);
  const remembered = before.remembered && { ids: before.remembered.ids, count: before.remembered.ids.size };
  // New rows at an old place may never cease to come.
  const isProgress = (place.end > before.high && take.length > 0) ||
    reached.frontier?.key !== before.frontier?.key || remembered?.count !== before.remembered?.count;
  const stalls = isProgress ? 0 : before.stalls + 1;
  const isEnd = place.isLast || isPast;
  const isStuck = !isEnd && isOutOfPatience(walk, stalls);
  return {
    walk: {
      ...(isStuck ? withDoubt(walk, doubt.noFurtherPage) : walk),
      ...reached,
      remembered,
      strays: hasStrays
        ? withStrays(walk.strays, take.filter((index) => keys[index] === undefined).map(rows.id))
        : walk.strays,
      end: place.end,
      high: isProgress ? Math.max(before.high, place.end) : before.high,
      slack: Math.floor(before.slack / 2),
      stalls,
      total: place.total,
      done: isEnd || isStuck,
    },
    take,
    // Pages asked for in another size than the tenant gives lie elsewhere than planned, and what is planned on from them.
    onCourse: walk.size === before.size,
  };
};

/**
 * The rows of an answer that have not been delivered. Rows without a place that are alike are as many as one answer has held.
 * In a `strict` answer every row has its place, for good, and stands in it: one that is there twice stands beside itself.
 */
const choose = (
  shape: ListShape,
  walk: Walk,
  rows: Listed,
  keys: ReadonlyArray<Key | undefined>,
  strict: boolean,
): Array<number> => {
  const { overlapping, remembered, strays } = walk;
  const order = orderOf(shape, walk.order);
  const frontier = overlapping ? walk.frontier : undefined;
  const atFrontier = new Set(frontier?.ids);
  const past = walk.past.map(({ order, key, ids }) => {
    const its = orderOf(shape, order);
    return { order: its, key, ids, keys: rows.keys(its) };
  });
  const isCovered = (index: number): boolean =>
    past.some(({ order, key, ids, keys }) => {
      const side = compare(order, keys[index], key);
      return side < 0 || (side === 0 && ids.includes(rows.id(index)));
    });
  const inAnswer = new Set<string>();
  /** Whether the row is there a second time. */
  const isAgain = (index: number): boolean => {
    if (strict) {
      const key = keys[index];
      const isLike = keys[index - 1] === key;
      if (!isLike) inAnswer.clear();
      if (!isLike && keys[index + 1] !== key) return false;
    }
    const id = rows.id(index);
    if (inAnswer.has(id)) return true;
    inAnswer.add(id);
    return false;
  };
  const straysInAnswer = new Map<string, number>();
  const isNew = (index: number): boolean => {
    if (keys[index] === undefined) {
      // Several may be alike: as many as have been delivered are not new.
      const id = rows.id(index);
      const nth = (straysInAnswer.get(id) ?? 0) + 1;
      straysInAnswer.set(id, nth);
      return nth > (strays.times.get(id) ?? 0) && !remembered?.ids.has(id);
    }
    const side = frontier === undefined ? 1 : compare(order, keys[index], frontier.key);
    if (side < 0 || (side === 0 && atFrontier.has(rows.id(index))) || isAgain(index)) return false;
    if (strays.times.size > 0 && strays.times.has(rows.id(index))) return false;
    if (remembered !== undefined) {
      const id = rows.id(index);
      if (remembered.ids.has(id)) return false;
      remembered.ids.add(id);
    }
    return !isCovered(index);
  };
  const take: Array<number> = [];
  for (let index = 0; index < keys.length; index++) if (isNew(index)) take.push(index);
  return take;
};

/** The last key of the answer, unless all of it lies before the frontier. */
const frontierAfter = (
  walk: Walk,
  order: Order,
  rows: Listed,
  keys: ReadonlyArray<Key | undefined>,
): Pick<Walk, "frontier" | "run"> => {
  const key = keys.findLast((key) => key !== undefined);
  const { frontier } = walk;
  const side = frontier === undefined ? 1 : compare(order, key, frontier.key);
  if (!walk.overlapping || key === undefined || !(side >= 0)) return { frontier, run: 1 };
  const first = keys.indexOf(key);
  const at = new Set(side === 0 ? frontier?.ids : undefined);
  for (let index = first; index < keys.length; index++) if (keys[index] === key) at.add(rows.id(index));
  return { frontier: { order: walk.order, key, ids: [...at] }, run: keys.length - first };
};

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
 * **Why it repeats nothing.** Only rows behind the frontier are delivered, and each id once: the walk remembers a hash of
 * every id it has delivered. A walk that goes on from a stored state knows the ids at the frontier's own key instead.
 *
 * **What if an answer is no such stretch?** A gateway may cut rows out, sort them after, or answer in the tenant's name.
 * Whatever contradicts itself or another answer (fewer rows than its own page size while more follow, an id twice, another
 * order, a frontier that is not where it was, fewer rows in all than were counted) is not taken: the walk asks again, by
 * another request. What stays contradicted makes it start over in the next of its orders. When the orders run out it reads
 * pages 1, 2, 3… up to three times. Then a count proves the list: ids met both before and after a moment were listed at that
 * moment, so if they are as many as the tenant counted then, they are the list. Only what is not proven leaves a doubt.
 *
 * @module
 */
import type { PageFacts } from "../tenant/PageFacts.ts";
import { leastSize } from "./Bounds.ts";
import { hashText, ObservedIds } from "./ObservedIds.ts";
import { compare, isInOrder, type Key, type Listed, type ListShape, type Order } from "./Order.ts";
import { overlap, type SizedPage } from "./PagePlan.ts";
import { locate, type PageRequest, type Place } from "./Place.ts";

export { leastSize } from "./Bounds.ts";
export { type Listed, listed, type ListShape, type Order, type Row } from "./Order.ts";
export { type PageRequest } from "./Place.ts";

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

/** How far a walk had come before its last answer, to go back to where that answer turns out to be wrong. */
interface Earlier {
  readonly frontier: Frontier | undefined;
  readonly run: number;
  readonly end: number;
}

/** Where a walk stands. Only the latest state may be gone on from; {@link save} keeps any. */
export interface Walk {
  /** The largest page to ask for unless a larger one is needed: what was wished, or less if the tenant gives less. */
  readonly size: number;
  /** Whether the tenant has given a smaller page than asked for. */
  readonly isClamped: boolean;
  /** Which of the shape's orders is in use. */
  readonly order: number;
  /** False once the orders have run out, and pages 1, 2, 3… are read. */
  readonly overlapping: boolean;
  readonly frontier: Frontier | undefined;
  /** How many rows at the end of the last answer share the frontier's key. */
  readonly run: number;
  /** The frontiers of the orders given up: what they cover has been delivered. */
  readonly past: ReadonlyArray<Frontier>;
  /** The ids met so far; none where the list came in one answer, or the walk goes on from a stored state. */
  readonly observed: Observed | undefined;
  /** Whether `observed` holds every id delivered; else frontiers tell what was. */
  readonly isExact: boolean;
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
  /** How many answers have brought nothing in all. */
  readonly vain: number;
  /** How many rows the list had at the last count. */
  readonly total: number | undefined;
  /** How many answers were taken in. */
  readonly answers: number;
  /** How many answers in a row were contradicted, and the size asked for in the last of them. */
  readonly retries: number;
  readonly avoid: number | undefined;
  /** Where the last answer ended that was short and had no header; asked for again once. */
  readonly short: number | undefined;
  readonly earlier: Earlier | undefined;
  /** How many times the walk has gone back to it without coming further than before. */
  readonly backs: number;
  /** How often the list has been read in this order, or in pages 1, 2, 3…, before. */
  readonly pass: number;
  /** The first answer of this pass. */
  readonly passBegan: number;
  /** The first answer since the walk began or last went back to where it had been. */
  readonly rewoundAt: number;
  /** How many rows this pass has met; undefined where a state of an earlier version does not say. */
  readonly met: number | undefined;
  /** The highest count of the list in this pass; undefined where no answer of it counted. */
  readonly most: number | undefined;
  /** The page that is read once more after the end, to see what has come at the top meanwhile; 0 before that. */
  readonly topPage: number;
  /** How many rows this pass has brought that were not delivered before. */
  readonly brought: number;
  /** By how much the counts have moved in this pass. */
  readonly moved: number;
  /** Why the walk has started over: a doubt, unless a later pass or a count proves the list. */
  readonly pending: ReadonlyArray<string>;
  readonly doubts: ReadonlyArray<string>;
  readonly done: boolean;
}

/** What an answer means for the walk. */
export interface Step {
  readonly walk: Walk;
  /** The indices of the rows to deliver now. */
  readonly take: ReadonlyArray<number>;
  /** Whether the answer is believed: of one that is not, nothing counts. */
  readonly isTaken: boolean;
  /** Whether requests planned before this answer are still of use. */
  readonly onCourse: boolean;
}

/** How many answers in a row may bring nothing before the walk starts over, apart from reading it all again. */
const PATIENCE = 20;
/** How many answers in a row may be contradicted before the walk starts over. */
const RETRIES = 2;
/** How many answers may bring nothing in all before pages 1, 2, 3… are read, and how many more for each page of rows. */
const [MOST_VAIN, MOST_VAIN_A_PAGE] = [100, 3];
/** How many times pages 1, 2, 3… are read before the walk ends unproven. */
const READINGS = 3;
/** More ids are not remembered, of lists in orders that hold: 32 MB. */
const MOST_OBSERVED = 2 ** 20;

/**
 * The beginning of a walk in pages of `size` rows, which must be {@link leastSize} or more, and of up to twice as many where
 * no smaller ones overlap.
 */
export const begin = (_: ListShape, size: number): Walk => {
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
    strays: straysOf([]),
    high: 0,
    answers: 0,
    vain: 0,
    total: undefined,
    pending: [],
    doubts: [],
    done: false,
    ...fromTheTop,
    pass: 0,
    passBegan: 0,
    rewoundAt: 0,
  };
};

/** A pass that has not begun. */
const fromTheTop = {
  frontier: undefined,
  run: 0,
  end: 0,
  slack: 0,
  stalls: 0,
  retries: 0,
  avoid: undefined,
  short: undefined,
  earlier: undefined,
  backs: 0,
  met: 0,
  brought: 0,
  most: undefined,
  moved: 0,
  topPage: 0,
} as const;

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
  short: "pages were shorter than they said while more rows followed",
  twice: "an id came twice in one reading of the list",
  moved: "pages did not follow on each other though the list was the same",
  unknown: "an earlier answer was wrong, and what it had brought is no longer known",
} as const;

type Doubt = typeof doubt[keyof typeof doubt];

/** Reasons to start over that leave no doubt of what was delivered before. */
const harmless: ReadonlySet<string> = new Set([doubt.noOverlap, doubt.vanishing, doubt.otherSize]);

const withDoubt = (walk: Walk, ...why: ReadonlyArray<string>): Walk => {
  const more = why.filter((each) => !walk.doubts.includes(each));
  return more.length === 0 ? walk : { ...walk, doubts: [...walk.doubts, ...more] };
};

const isOutOfPatience = (walk: Walk, stalls: number): boolean =>
  stalls > PATIENCE + 2 * Math.ceil(walk.high / walk.size);

/** The list from its top, once more. */
const again = (walk: Walk, why: Doubt): Walk => ({
  ...walk,
  ...fromTheTop,
  past: walk.frontier === undefined ? walk.past : [...walk.past, walk.frontier],
  pending: walk.pending.includes(why) ? walk.pending : [...walk.pending, why],
  passBegan: walk.answers,
  rewoundAt: walk.answers,
  pass: walk.pass + 1,
});

/** The order after the one in use; pages 1, 2, 3… when there is none. */
const leave = (shape: ListShape, walk: Walk, why: Doubt): Walk => {
  const next = {
    ...again(walk, why),
    pass: 0,
    observed: walk.observed ?? { ids: new ObservedIds(), count: 0 },
  };
  return shape.orders[walk.order + 1] === undefined
    ? { ...next, overlapping: false, high: 0 }
    : { ...next, order: walk.order + 1 };
};

/**
 * The walk at its end: what made it start over is forgotten where the list was read again without a contradiction, and
 * counted, by a walk that knows what it has delivered.
 */
const finished = (walk: Walk): Walk => {
  const why = walk.pending.filter((why) => !harmless.has(why));
  const judged = why.length === 0 || (walk.isExact && walk.most !== undefined)
    ? walk
    : withDoubt(walk, ...(walk.isExact ? why : [doubt.unknown]));
  return { ...judged, pending: [], done: true };
};

/** How many rows before its end the page after must hold. */
const behind = (shape: ListShape, { order, run }: Walk): number =>
  orderOf(shape, order).unique === true ? 1 : run + 1;

/** The page to ask for after `end`, with as much slack as is possible. */
const overlapping = (shape: ListShape, walk: Walk, end: number): SizedPage | undefined => {
  const { size, slack, isClamped, avoid } = walk;
  const least = behind(shape, walk);
  for (let more = slack; more > 0; more >>= 1) {
    const page = overlap({ end, behind: least + more, size, mayGrow: false, avoid });
    if (page !== undefined) return page;
  }
  return overlap({ end, behind: least, size, mayGrow: !isClamped, avoid });
};

/** The first page, of another size where it is asked for again: larger to see whether a short page is all there is. */
const firstPage = ({ size, avoid, retries, short, isClamped }: Walk, isProbe: boolean): SizedPage => {
  const usual = isProbe ? leastSize : size;
  if (avoid === undefined) return { page: 1, size: usual };
  if (short !== undefined && !isClamped) return { page: 1, size: 2 * usual };
  return {
    page: 1,
    size: usual - retries < leastSize && !isClamped ? usual + retries : Math.max(1, usual - retries),
  };
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
  const isProbe = shape.until !== undefined && walk.order === 0 && walk.high === 0;
  const { sort } = orderOf(shape, walk.topPage > 0 ? 0 : walk.order);
  const isRetry = walk.avoid !== undefined;
  const first = walk.topPage > 0
    ? topAgain(walk)
    : !walk.overlapping
    ? numbered(walk, walk.end)
    : walk.end === 0
    ? firstPage(walk, isProbe)
    // Where no other page will do, the same one is asked for again.
    : overlapping(shape, walk, walk.end) ??
      (isRetry ? overlapping(shape, { ...walk, avoid: undefined }, walk.end) : undefined);
  if (first === undefined) return plan(shape, leave(shape, walk, doubt.noOverlap), count);
  const requests: Array<PageRequest> = [{
    page: first.page,
    size: first.size,
    sort,
    ...((isRetry || !walk.overlapping || walk.topPage > 0) && { fresh: true }),
  }];
  while (requests.length < count && !isRetry) {
    const next = aheadOf(shape, walk, requests.at(-1)!);
    if (next === undefined) break;
    requests.push(next);
  }
  return { walk, requests };
};

/** A page at the top of the list, of another size than the walk has asked for. */
const topAgain = ({ size, topPage, retries }: Walk): SizedPage => ({
  page: topPage,
  size: Math.max(1, Math.min(size, leastSize), size - 1 - retries),
});

/** The page of pages 1, 2, 3… that begins at `end`. */
const numbered = ({ size }: Walk, end: number): SizedPage => ({ page: Math.floor(end / size) + 1, size });

const aheadOf = (shape: ListShape, walk: Walk, last: PageRequest): PageRequest | undefined => {
  const end = last.page * last.size;
  const { total, stalls, retries, topPage } = walk;
  if (total === undefined || end >= total || stalls > 0 || retries > 0 || topPage > 0) return undefined;
  // What was met before a moment and after it is told by the order of answers: then they must come one by one.
  if (!walk.overlapping) return undefined;
  // How many rows will share a key can only be guessed: after a wrong guess it goes one step at a time.
  const next = overlapping(shape, { ...walk, isClamped: true }, end);
  return next && { ...last, page: next.page, size: next.size };
};

/** What to ask for after a page whose answer is not there yet; undefined where there is nothing, or no telling. */
export const ahead = aheadOf;

/** The tenant refused a page of more rows than `size`: the walk asks for no such page again. */
export const refused = (walk: Walk, size: number): Walk => ({
  ...walk,
  isClamped: true,
  size: Math.min(walk.size, size),
});

/** An answer, looked at. */
interface Given {
  readonly request: PageRequest;
  readonly rows: Listed;
  readonly place: Place;
  readonly order: Order;
  readonly keys: ReadonlyArray<Key | undefined>;
  /** A hash of each row's id; those of strays that are alike differ. They lie where the next answer's will. */
  readonly hashes: Float64Array;
  readonly isTwice: boolean;
}

let hashes = new Float64Array(1024);
let table = new Float64Array(0);
let stamps = new Int32Array(0);
let stamp = 0;

const hashesOf = (rows: Listed, keys: ReadonlyArray<Key | undefined>): Float64Array => {
  if (hashes.length < rows.count) hashes = new Float64Array(2 * rows.count);
  const alike = new Map<string, number>();
  for (let index = 0; index < rows.count; index++) {
    if (keys[index] !== undefined) hashes[index] = rows.hash(index);
    else {
      const id = rows.id(index);
      const before = alike.get(id) ?? 0;
      alike.set(id, before + 1);
      hashes[index] = hashText(before === 0 ? id : `${id} ${before}`);
    }
  }
  return hashes;
};

/** Tell whether one of the first so many hashes is there twice. */
const hasTwice = (hashes: Float64Array, count: number): boolean => {
  if (table.length < 2 * count || stamp === 2 ** 31 - 1) {
    const length = 2 ** Math.ceil(Math.log2(4 * count + 64));
    table = new Float64Array(length);
    stamps = new Int32Array(length);
    stamp = 0;
  }
  stamp++;
  const mask = table.length - 1;
  for (let index = 0; index < count; index++) {
    const hash = hashes[index]!;
    let place = hash & mask;
    while (stamps[place] === stamp) {
      if (table[place] === hash) return true;
      place = (place + 1) & mask;
    }
    stamps[place] = stamp;
    table[place] = hash;
  }
  return false;
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
  const hashes = hashesOf(rows, keys);
  const given = { request, rows, place, order, keys, hashes, isTwice: hasTwice(hashes, rows.count) };
  const walk = {
    ...before,
    answers: before.answers + 1,
    moved: before.moved +
      (place.total === undefined || before.total === undefined ? 0 : Math.abs(place.total - before.total)),
  };
  if (before.topPage > 0) return takeTop(shape, walk, given);
  if (!before.overlapping) return takeNumbered(shape, walk, given);
  const step = takeStretch(shape, before, walk, given);
  const isVain = step.take.length === 0 && (step.walk.met === before.met || !step.isTaken);
  if (!isVain || step.walk.done || !step.walk.overlapping) return step;
  const vain = step.walk.vain + 1;
  const pages = Math.ceil((before.observed?.count ?? before.high) / Math.max(before.size, leastSize));
  if (vain <= MOST_VAIN + MOST_VAIN_A_PAGE * pages) return { ...step, walk: { ...step.walk, vain } };
  const last = { ...step.walk, order: shape.orders.length - 1, size: Math.max(step.walk.size, leastSize) };
  return { ...step, walk: leave(shape, last, doubt.noFurtherPage), onCourse: false };
};

/** Ask again, by another request. */
const askAgain = (walk: Walk, { request, place }: Given, more?: Pick<Walk, "short">): Step => ({
  walk: {
    ...walk,
    ...more,
    total: place.total ?? walk.total,
    retries: walk.retries + 1,
    avoid: request.size,
  },
  take: [],
  isTaken: false,
  onCourse: false,
});

/** The answer lies beyond the frontier: rows before it have vanished. Ask again further up. */
const stepBack = (walk: Walk, place: Place): Step => {
  const vanished = Math.max(0, (walk.total ?? 0) - (place.total ?? Infinity));
  const stride = walk.stalls < 2 ? 0 : walk.size * 2 ** Math.min(walk.stalls - 2, 30);
  const slack = Math.min(Math.floor(walk.size / 2), Math.max(4, 2 * walk.slack));
  const end = Math.max(0, Math.min(walk.end, place.start) - Math.max(vanished, stride));
  return {
    walk: {
      ...walk,
      end,
      slack,
      run: Math.max(1, walk.run),
      total: place.total,
      stalls: walk.stalls + 1,
      retries: 0,
      avoid: undefined,
    },
    take: [],
    isTaken: false,
    onCourse: false,
  };
};

/** What an answer says against itself. */
const contradictionIn = ({ place, isTwice, order, keys }: Given, isWhole: boolean): Doubt | undefined =>
  place.shortOf !== undefined
    ? place.shortOf === "page" ? doubt.short : doubt.miscounted
    : isTwice
    ? doubt.twice
    : !isWhole && !isInOrder(order, keys)
    ? doubt.otherOrder
    : undefined;

/** Tell whether, in a list of as many rows as before, nothing that was met stands where the frontier was. */
const isOutOfPlace = (before: Walk, { place, keys, hashes }: Given): boolean => {
  const index = before.end - 1 - place.start;
  if (
    before.frontier === undefined || !place.isTold || place.total !== before.total || index < 0 ||
    index >= keys.length || keys.includes(before.frontier.key)
  ) return false;
  // The row at the frontier may have gone, and another come.
  const met = before.observed?.ids;
  return met === undefined || !hashes.subarray(0, index + 1).some((hash) => met.has(hash));
};

/** Takes in an answer that must overlap those before it. */
const takeStretch = (shape: ListShape, before: Walk, counted: Walk, given: Given): Step => {
  const { request, rows, place, order, keys } = given;
  let walk = counted;
  const isWhole = place.start === 0 && place.isLast;
  const { until } = before.order === 0 ? shape : {};
  const isPast = until !== undefined && keys.some((key) => compare(order, key, until) > 0);

  if (!isWhole && place.size > request.size) {
    const last = { ...walk, order: shape.orders.length - 1, size: place.size };
    return { walk: leave(shape, last, doubt.otherSize), take: [], isTaken: false, onCourse: false };
  }
  const against = contradictionIn(given, isWhole);
  if (against !== undefined) {
    if (walk.retries < RETRIES) return askAgain(walk, given);
    // A list that one page holds reads no better in another order.
    const fits = isWhole || (place.start === 0 && place.total !== undefined && place.total <= place.size);
    if (!fits) return { walk: leave(shape, walk, against), take: [], isTaken: false, onCourse: false };
    walk = withDoubt(walk, against);
  }
  const isAllGiven = rows.count === request.size || (walk.isClamped && rows.count >= walk.size);
  if (!place.isTold && against === undefined && !isAllGiven) {
    // Without a header a short answer is the last one, or all that the tenant gives, or wrong: it is asked for once more.
    if (before.short === undefined || (place.end < before.short && walk.retries <= RETRIES)) {
      return askAgain(walk, given, { short: place.end });
    }
    // The page before was shorter than this one shows that it should have been, and this one is short again: by more rows
    // than come between two answers.
    const isCut = walk.end === 0 && walk.avoid !== undefined && place.end > walk.avoid &&
      place.end - before.short >= Math.max(2 * leastSize, before.short / 2);
    if (isCut) return { walk: leave(shape, walk, doubt.short), take: [], isTaken: false, onCourse: false };
  }
  const isClamped = place.size < request.size;
  if (isClamped) walk = { ...walk, size: Math.max(1, Math.min(before.size, place.size)), isClamped };
  const hasStrays = keys.includes(undefined);
  if (!isWhole) {
    if (!order.fixed) walk = withDoubt(walk, doubt.mutableKey);
    if (hasStrays) walk = withDoubt(walk, doubt.strays);
    const side = before.frontier &&
      compare(order, keys.find((key) => key !== undefined), before.frontier.key);
    const reaches = (place.start === 0 && request.page === 1) || side === undefined || side < 0 ||
      (order.unique === true && side === 0);
    if (!reaches) {
      if (isOutOfPatience(before, before.stalls)) {
        return { walk: leave(shape, walk, doubt.vanishing), take: [], isTaken: false, onCourse: false };
      }
      // A page asked for ahead did not know how many rows share the frontier's key.
      return side === 0 && place.total === before.total && before.stalls === 0
        ? { walk: { ...walk, stalls: 1 }, take: [], isTaken: false, onCourse: false }
        : stepBack(walk, place);
    }
    if (isOutOfPlace(before, given)) {
      if (walk.retries === 0) return askAgain(walk, given);
      const { earlier } = walk;
      if (earlier !== undefined && walk.backs < RETRIES) {
        // It is the answer before that was wrong: what it brought is known, and its stretch is read again.
        const { answers, backs } = walk;
        const back = {
          ...walk,
          ...earlier,
          earlier: undefined,
          // Rows met since are met again now.
          rewoundAt: answers,
          retries: 1,
          backs: backs + 1,
        };
        return { walk: back, take: [], isTaken: false, onCourse: false };
      }
      return { walk: leave(shape, walk, doubt.moved), take: [], isTaken: false, onCourse: false };
    }
  }

  const isFirstAndWhole = isWhole && before.observed === undefined;
  const observed = isFirstAndWhole ? undefined : before.observed?.ids ?? new ObservedIds();
  const { take, met, isAgain } = choose(shape, before, given, observed);
  const reached = frontierAfter(before, order, rows, keys);
  // New rows at an old place may never cease to come.
  const isProgress = (place.end > before.high && met > 0) || reached.frontier?.key !== before.frontier?.key ||
    (!order.fixed && take.length > 0);
  const stalls = isProgress ? 0 : before.stalls + 1;
  const isEnd = place.isLast || isPast;
  const memory = kept(order, before, observed);
  const next: Walk = {
    ...walk,
    ...reached,
    ...memory,
    strays: hasStrays
      ? withStrays(walk.strays, take.filter((index) => keys[index] === undefined).map(rows.id))
      : walk.strays,
    end: place.end,
    high: isProgress ? Math.max(before.high, place.end) : before.high,
    slack: Math.floor(before.slack / 2),
    stalls,
    total: place.total,
    retries: 0,
    avoid: undefined,
    short: undefined,
    earlier: memory.isExact ? { frontier: before.frontier, run: before.run, end: before.end } : undefined,
    backs: place.end > before.high ? 0 : before.backs,
    met: before.met === undefined ? undefined : before.met + met,
    most: place.total === undefined ? before.most : Math.max(before.most ?? 0, place.total),
  };
  if (!isEnd) {
    const isStuck = isOutOfPatience(walk, stalls);
    // Pages asked for in another size than the tenant gives lie elsewhere than planned, and what is planned on from them.
    return isStuck || isAgain
      ? {
        walk: leave(shape, next, isStuck ? doubt.noFurtherPage : doubt.twice),
        take,
        isTaken: true,
        onCourse: false,
      }
      : { walk: next, take, isTaken: true, onCourse: walk.size === before.size };
  }
  if (next.doubts.length === 0 && isAgain) {
    return { walk: over(shape, next, doubt.twice), take, isTaken: true, onCourse: false };
  }
  const hasFewer = !isPast && next.isExact && (next.met ?? Infinity) < (next.most ?? 0);
  return {
    // Rows may have come at the top, and others gone: then they are there.
    walk: next.doubts.length === 0 && hasFewer ? { ...next, topPage: 1 } : finished(next),
    take,
    isTaken: true,
    onCourse: false,
  };
};

/** The list once more in the same order, or else in the next. */
const over = (shape: ListShape, walk: Walk, why: Doubt): Walk =>
  walk.pass === 0 ? again(walk, why) : leave(shape, walk, why);

/**
 * Takes in a page of the top, read once more after the end, as fewer rows were met than had been counted. If with those that
 * have come meanwhile as many were met as are counted now, none was missing; else one of the answers was wrong.
 */
const takeTop = (shape: ListShape, walk: Walk, given: Given): Step => {
  const { rows, place, hashes } = given;
  const order = orderOf(shape, 0);
  const keys = rows.keys(order);
  const isWhole = place.start === 0 && place.isLast;
  const isContradicted = !place.isTold || contradictionIn({ ...given, order, keys }, isWhole) !== undefined;
  if (isContradicted && walk.retries < RETRIES) return askAgain(walk, given);
  if (isContradicted || walk.observed === undefined) {
    return { walk: over(shape, walk, doubt.miscounted), take: [], isTaken: false, onCourse: false };
  }
  const { ids } = walk.observed;
  const isKnown = rows.count === 0 || ids.has(hashes[rows.count - 1]!);
  const top = { ...walk, overlapping: false, answers: walk.answers - 1 };
  const { take, met } = choose(shape, top, { ...given, keys }, ids);
  const next: Walk = {
    ...walk,
    observed: { ids, count: ids.size },
    strays: withStrays(walk.strays, take.filter((index) => keys[index] === undefined).map(rows.id)),
    total: place.total,
    met: (walk.met ?? 0) + met,
    topPage: walk.topPage + 1,
    retries: 0,
    avoid: undefined,
  };
  // Down to what was known, and no further than the list had been long. Read in another order, new rows and known ones mix.
  if (!(walk.order === 0 ? isKnown : met === 0) && !place.isLast && place.end < place.total!) {
    return { walk: next, take, isTaken: true, onCourse: false };
  }
  const isAll = next.met! >= place.total!;
  return {
    walk: isAll ? finished(next) : over(shape, next, doubt.miscounted),
    take,
    isTaken: true,
    onCourse: false,
  };
};

/** The ids to remember after an answer. */
const kept = (
  order: Order,
  { isExact }: Walk,
  ids: ObservedIds | undefined,
): Pick<Walk, "observed" | "isExact"> =>
  ids !== undefined && ids.size > MOST_OBSERVED && order.fixed
    ? { observed: undefined, isExact: false }
    : { observed: ids && { ids, count: ids.size }, isExact };

/** Takes in one of pages 1, 2, 3…: whatever order its rows are in. */
const takeNumbered = (shape: ListShape, counted: Walk, given: Given): Step => {
  const { request, rows, place, keys } = given;
  // The end of a list of fewer rows than before is asked for again as well.
  const isSooner = place.isTold && place.isLast && place.total! < (counted.total ?? 0);
  const isShort = place.shortOf !== undefined || given.isTwice ||
    (!place.isTold && rows.count < Math.min(request.size, counted.size));
  if ((isShort || isSooner) && counted.retries === 0) return askAgain(counted, given);
  const observed = counted.observed?.ids ?? new ObservedIds();
  observed.totals[counted.answers - 1] = place.total;
  const { take, met } = choose(shape, { ...counted, answers: counted.answers - 1 }, given, observed);
  const stalls = met > 0 ? 0 : counted.stalls + 1;
  // Without a header, only pages with nothing on them tell the end.
  const end = isShort ? request.page * request.size : place.end;
  // Where pages have become smaller, some bring what is known before they come to where the ones before had been.
  const known = Math.ceil(Math.max(0, counted.high - end) / Math.min(counted.size, place.size));
  const isEnd = (place.isTold && place.isLast) || stalls >= known + (place.isTold ? 3 : 2);
  const read: Walk = {
    ...counted,
    // A page that is short by mistake is no smaller size to go on in.
    size: isShort ? counted.size : Math.min(counted.size, Math.max(place.size, leastSize)),
    observed: { ids: observed, count: observed.size },
    strays: withStrays(counted.strays, take.filter((index) => keys[index] === undefined).map(rows.id)),
    end,
    high: Math.max(counted.high, end),
    stalls,
    total: place.total ?? counted.total,
    retries: 0,
    avoid: undefined,
    met: (counted.met ?? 0) + met,
    brought: counted.brought + take.length,
    most: place.total === undefined ? counted.most : Math.max(counted.most ?? 0, place.total),
  };
  if (!isEnd) return { walk: read, take, isTaken: true, onCourse: read.size === counted.size };
  if (observed.isProven()) {
    const proven = finished(read.isExact ? { ...read, doubts: [] } : read);
    return { walk: proven, take, isTaken: true, onCourse: false };
  }
  // Of a list that stands still, a reading that brought nothing more will not be followed by one that does.
  const isVain = read.total === undefined || (read.pass > 0 && read.brought === 0 && read.moved === 0);
  if (isVain || read.pass + 1 >= READINGS) {
    return {
      walk: { ...withDoubt(read, ...read.pending), pending: [], done: true },
      take,
      isTaken: true,
      onCourse: false,
    };
  }
  const next = { ...again(read, doubt.noOverlap), pending: read.pending, past: read.past };
  // In another size, so that what cuts rows out of pages cuts out others.
  return {
    walk: { ...next, size: Math.max(leastSize, read.size - 1), high: 0 },
    take,
    isTaken: true,
    onCourse: false,
  };
};

/**
 * The rows of an answer that have not been delivered, how many this pass had not met, and whether one of them was met in it
 * before. Rows without a place that are alike are as many as one answer has held.
 */
const choose = (
  shape: ListShape,
  walk: Walk,
  { rows, keys, hashes, isTwice }: Given,
  observed: ObservedIds | undefined,
): { readonly take: Array<number>; readonly met: number; readonly isAgain: boolean } => {
  const { overlapping, strays, isExact, answers, passBegan, rewoundAt } = walk;
  const order = orderOf(shape, walk.order);
  const frontier = overlapping ? walk.frontier : undefined;
  const atFrontier = new Set(frontier?.ids);
  const past = isExact ? [] : walk.past.map(({ order, key, ids }) => {
    const its = orderOf(shape, order);
    return { order: its, key, ids, keys: rows.keys(its) };
  });
  const isCovered = (index: number): boolean =>
    past.some(({ order, key, ids, keys }) => {
      const side = compare(order, keys[index], key);
      return side < 0 || (side === 0 && ids.includes(rows.id(index)));
    });
  const straysInAnswer = new Map<string, number>();
  const inAnswer = isTwice && observed === undefined ? new Set<number>() : undefined;
  const take: Array<number> = [];
  let met = 0;
  let isAgain = false;
  for (let index = 0; index < rows.count; index++) {
    const hash = hashes[index]!;
    if (keys[index] === undefined) {
      // Several may be alike: as many as have been delivered are not new.
      const id = rows.id(index);
      const nth = (straysInAnswer.get(id) ?? 0) + 1;
      straysInAnswer.set(id, nth);
      const last = observed?.meet(hash, answers) ?? -1;
      if (last < passBegan) met++;
      if (last < 0 && nth > (strays.times.get(id) ?? 0)) take.push(index);
      continue;
    }
    const side = frontier === undefined ? 1 : compare(order, keys[index], frontier.key);
    if (side < 0 || (side === 0 && atFrontier.has(rows.id(index)))) {
      // Known, or come since: it is listed now.
      if (observed?.has(hash) === true) observed.meet(hash, answers);
      continue;
    }
    if (inAnswer !== undefined) {
      if (inAnswer.has(hash)) continue;
      inAnswer.add(hash);
    }
    const last = observed?.meet(hash, answers) ?? -1;
    if (last < passBegan) met++;
    else if (last >= rewoundAt && last < answers && order.fixed && overlapping) isAgain = true;
    if (last >= 0 || (strays.times.size > 0 && strays.times.has(rows.id(index))) || isCovered(index)) {
      continue;
    }
    take.push(index);
  }
  return { take, met, isAgain };
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
  if (key === undefined || !(side >= 0)) return { frontier, run: 1 };
  const first = keys.indexOf(key);
  const at = new Set(side === 0 ? frontier?.ids : undefined);
  for (let index = first; index < keys.length; index++) if (keys[index] === key) at.add(rows.id(index));
  return { frontier: { order: walk.order, key, ids: [...at] }, run: keys.length - first };
};

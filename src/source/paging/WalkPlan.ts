/** The pages that a walk asks for next. */
import { leastSize } from "./Limits.ts";
import type { ListShape } from "./SortOrder.ts";
import { overlap, type SizedPage } from "./PagePlan.ts";
import type { PageRequest } from "./Place.ts";
import { leave, orderOf, reason, type Walk } from "./Walk.ts";

/** Gives the number of rows before its end that the page after must hold. */
const behind = (shape: ListShape, { order, tieCount }: Walk): number =>
  orderOf(shape, order).unique === true ? 1 : tieCount + 1;

/** Gives the page to ask for after `end`, with as much slack as is possible. */
const overlapping = (shape: ListShape, walk: Walk, end: number): SizedPage | undefined => {
  const { size, slack, isClamped, avoid } = walk;
  const least = behind(shape, walk);
  for (let more = slack; more > 0; more >>= 1) {
    const page = overlap({ end, behind: least + more, size, mayGrow: false, avoid });
    if (page !== undefined) return page;
  }
  return overlap({ end, behind: least, size, mayGrow: !isClamped, avoid });
};

/** Gives the first page, of another size where it is asked for again: larger to see whether a short page is all there is. */
const firstPage = ({ size, avoid, retries, short, isClamped }: Walk, isProbe: boolean): SizedPage => {
  const usual = isProbe ? leastSize : size;
  if (avoid === undefined) return { page: 1, size: usual };
  if (short !== undefined && !isClamped) return { page: 1, size: 2 * usual };
  return {
    page: 1,
    size: usual - retries < leastSize && !isClamped ? usual + retries : Math.max(1, usual - retries),
  };
};

/** Gives a page at the top of the list, of another size than the walk has asked for. */
const topAgain = ({ size, topPage, retries }: Walk): SizedPage => ({
  page: topPage,
  size: Math.max(1, Math.min(size, leastSize), size - 1 - retries),
});

/** Gives the page of pages 1, 2, 3… that begins at `end`. */
const numbered = ({ size }: Walk, end: number): SizedPage => ({
  page: Math.floor(end / size) + 1,
  size,
});

/**
 * Plans what to ask for next: up to `count` pages, which can be fetched at once. Never empty unless the walk is done. The
 * walk given back replaces the one passed in, for it may have had to change its order.
 */
export const plan = (
  shape: ListShape,
  walk: Walk,
  count = 1,
): { readonly walk: Walk; readonly requests: ReadonlyArray<PageRequest> } => {
  if (walk.done) return { walk, requests: [] };
  // Where the walk may be done after the first few rows, it asks for no more than those at first.
  const isProbe = shape.until !== undefined && walk.order === 0 && walk.maxEnd === 0;
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
  if (first === undefined) return plan(shape, leave(shape, walk, reason.noOverlap), count);
  const requests: Array<PageRequest> = [{
    page: first.page,
    size: first.size,
    sort,
    ...((isRetry || !walk.overlapping || walk.topPage > 0) && { fresh: true }),
  }];
  while (requests.length < count && !isRetry) {
    const next = ahead(shape, walk, requests.at(-1)!);
    if (next === undefined) break;
    requests.push(next);
  }
  return { walk, requests };
};

/** Rows that may share a key where it is not known yet: two sessions of one second are common, and a wrong guess costs pages. */
const TIES = 2;

export const ahead = (shape: ListShape, walk: Walk, last: PageRequest): PageRequest | undefined => {
  const end = last.page * last.size;
  const { total, attemptsWithoutProgress, retries, topPage } = walk;
  if (total === undefined || end >= total || attemptsWithoutProgress > 0 || retries > 0 || topPage > 0) {
    return undefined;
  }
  // What was met before a moment and after it is told by the order of answers: then they must come one by one.
  if (!walk.overlapping) return undefined;
  // How many rows will share a key can only be guessed: after a wrong guess it goes one step at a time.
  const next = overlapping(shape, { ...walk, isClamped: true, tieCount: Math.max(walk.tieCount, TIES) }, end);
  return next && { ...last, page: next.page, size: next.size };
};

/**
 * Goes over to pages of up to `size` rows, where that saves a request: of a list that is counted, past its first page. Less
 * than the walk has now is taken anywhere.
 */
export const resize = (shape: ListShape, walk: Walk, size: number): Walk => {
  const { isClamped, avoid, topPage, end, total } = walk;
  if (size === walk.size || !walk.overlapping || isClamped || avoid !== undefined || topPage > 0) return walk;
  if (size < walk.size) return { ...walk, size };
  if (total === undefined || end < walk.size) return walk;
  const next = overlapping(shape, walk, end);
  return next !== undefined && next.page * next.size >= total ? walk : { ...walk, size };
};

/** Notes that the tenant refused a page of more rows than `size`: the walk asks for no such page again. */
export const refused = (walk: Walk, size: number): Walk => ({
  ...walk,
  isClamped: true,
  size: Math.min(walk.size, size),
});

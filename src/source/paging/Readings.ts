/** Answers that prove a list by its count: its top once more, and pages 1, 2, 3…. */
import { leastSize } from "./Limits.ts";
import { choose } from "./Choice.ts";
import { askAgain, contradictionIn, type Given, RETRIES, withUnorderedOf } from "./Given.ts";
import { ObservedIds } from "./ObservedIds.ts";
import type { ListShape } from "./SortOrder.ts";
import {
  again,
  finished,
  harmless,
  notTaken,
  orderOf,
  over,
  reason,
  type Step,
  taken,
  type Walk,
  withReason,
} from "./Walk.ts";

/** The most rows that come for each row by which the counts move, as others go. */
const CHURN = 4;

/**
 * Takes in a page of the top, read once more after the end, as fewer rows were met than had been counted. If with those that
 * have come meanwhile as many were met as are counted now, none was missing; else one of the answers was wrong.
 */
export const takeTop = (shape: ListShape, walk: Walk, given: Given): Step => {
  const { rows, place, hashes } = given;
  const order = orderOf(shape, 0);
  const keys = rows.keys(order);
  const isWhole = place.start === 0 && place.isLast;
  const isContradicted = !place.isTold || contradictionIn({ ...given, order, keys }, isWhole) !== undefined;
  if (isContradicted && walk.retries < RETRIES) return askAgain(walk, given);
  // A list that has become shorter is believed by two answers.
  if (!isContradicted && place.total! < (walk.most ?? 0) && walk.retries === 0) return askAgain(walk, given);
  if (isContradicted || walk.observed === undefined) return notTaken(over(shape, walk, reason.miscounted));
  const { ids } = walk.observed;
  const isKnown = rows.count === 0 || ids.has(hashes[rows.count - 1]!);
  const top = { ...walk, overlapping: false, answers: walk.answers - 1 };
  const { take, met } = choose(shape, top, { ...given, keys }, ids);
  const next: Walk = {
    ...walk,
    observed: { ids, count: ids.size },
    unorderedRows: withUnorderedOf(walk.unorderedRows, { rows, keys }, take),
    total: place.total,
    met: (walk.met ?? 0) + met,
    topPage: walk.topPage + 1,
    retries: 0,
    avoid: undefined,
  };
  // Down to what was known, and no further than the list had been long. Read in another order, new rows and known ones mix.
  if (!(walk.order === 0 ? isKnown : met === 0) && !place.isLast && place.end < place.total!) {
    return taken(next, take);
  }
  // In another order, rows that have come lie anywhere, and so do those that came with an older key: no more are missing for
  // that than the counts have moved by. Of a list that stands still none may be.
  const isUnsure = (walk.order > 0 || walk.pass > 0) &&
    walk.pending.every((why) => harmless.has(why) || why === reason.miscounted);
  const isAll = next.met! >= place.total! - (isUnsure ? CHURN * walk.moved : 0);
  return taken(isAll ? finished(next) : over(shape, next, reason.miscounted), take);
};

/** The most times that pages 1, 2, 3… are read before the walk ends unproven. */
const READINGS = 3;

/** Takes in one of pages 1, 2, 3…: whatever order its rows are in. */
export const takeNumbered = (shape: ListShape, counted: Walk, given: Given): Step => {
  const { request, rows, place } = given;
  // The end of a list of fewer rows than before is asked for again as well.
  const isSooner = place.isTold && place.isLast && place.total! < (counted.total ?? 0);
  const isShort = place.shortOf !== undefined || given.isTwice ||
    (!place.isTold && rows.count < Math.min(request.size, counted.size));
  if ((isShort || isSooner) && counted.retries === 0) return askAgain(counted, given);
  const observed = counted.observed?.ids ?? new ObservedIds();
  observed.totals[counted.answers - 1] = place.total;
  observed.expect(place.total);
  const { take, met } = choose(shape, { ...counted, answers: counted.answers - 1 }, given, observed);
  const attemptsWithoutProgress = met > 0 ? 0 : counted.attemptsWithoutProgress + 1;
  // Without a header, only pages with nothing on them tell the end.
  const end = isShort ? request.page * request.size : place.end;
  // Where pages have become smaller, some bring what is known before they come to where the ones before had been.
  const known = Math.ceil(Math.max(0, counted.maxEnd - end) / Math.min(counted.size, place.size));
  const isEnd = (place.isTold && place.isLast) || attemptsWithoutProgress >= known + (place.isTold ? 3 : 2);
  const read: Walk = {
    ...counted,
    // A page that is short by mistake is no smaller size to go on in.
    size: isShort ? counted.size : Math.min(counted.size, Math.max(place.size, leastSize)),
    observed: { ids: observed, count: observed.size },
    unorderedRows: withUnorderedOf(counted.unorderedRows, given, take),
    end,
    maxEnd: Math.max(counted.maxEnd, end),
    attemptsWithoutProgress,
    total: place.total ?? counted.total,
    retries: 0,
    avoid: undefined,
    met: (counted.met ?? 0) + met,
    brought: counted.brought + take.length,
    most: place.total === undefined ? counted.most : Math.max(counted.most ?? 0, place.total),
  };
  if (!isEnd) return taken(read, take, read.size === counted.size);
  if (observed.isProven()) {
    return taken(finished(read.isExact ? { ...read, unverifiedReasons: [] } : read), take);
  }
  // Of a list that stands still, a reading that brought nothing more will not be followed by one that does.
  const isVain = read.total === undefined || (read.pass > 0 && read.brought === 0 && read.moved === 0);
  if (isVain || read.pass + 1 >= READINGS) {
    return taken({ ...withReason(read, ...read.pending), pending: [], done: true }, take);
  }
  const next = { ...again(read, reason.noOverlap), pending: read.pending, past: read.past };
  // In another size, so that what cuts rows out of pages cuts out others.
  return taken({ ...next, size: Math.max(leastSize, read.size - 1), maxEnd: 0 }, take);
};

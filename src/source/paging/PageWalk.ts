/**
 * The walk that reads a list in numbered pages whole while it changes: a pure state machine. Ask {@link plan} what to
 * request, hand each answer to {@link receive}, deliver the rows it names, until the walk is done.
 *
 * **Why it loses nothing.** Every answer is an unbroken stretch of the list, in order, as it was at one moment. The walk
 * asks for stretches that *overlap*, by varying the page size, and takes an answer only if it reaches back beyond the
 * *frontier*, the last key delivered: it begins with a row whose key comes before the frontier's, or with the first row of
 * the list. Then every row from the frontier to the end of that answer was either in it or not in the list. By induction, a
 * row that is in the list from the first request to the last was in one of the answers, whatever was deleted, inserted or
 * re-ordered among equal keys meanwhile, and whenever each answer was given: so several can be fetched at once, and a walk
 * can be resumed after hours. An answer that does not reach back (rows before it were deleted) is no loss either: it is
 * seen, and the walk asks again further up.
 *
 * **Why it repeats nothing.** Only rows behind the frontier are delivered, and each id once: the walk remembers a hash of
 * every id it has delivered. A walk that goes on from a stored state knows the ids at the frontier's own key instead.
 *
 * **What if an answer is no such stretch?** A gateway may cut rows out, sort them after, or answer in the tenant's name.
 * Whatever contradicts itself or another answer (fewer rows than its own page size while more follow, an id twice, another
 * order, a frontier that is not where it was, fewer rows in all than were counted) is not taken: the walk asks again, by
 * another request. What stays contradicted makes it start over in the next of its orders. When the orders run out it reads
 * pages 1, 2, 3… up to three times. Then a count proves the list: ids met both before and after a moment were listed at that
 * moment, so if they are as many as the tenant counted then, they are the list. Only what is not proven leaves a reason.
 */
import type { PaginationHeader } from "../../api/PaginationHeader.ts";
import { leastSize } from "./Limits.ts";
import { hashesOf, hasTwice } from "./Given.ts";
import type { ListShape, WalkRows } from "./SortOrder.ts";
import { locate, type PageRequest } from "./Place.ts";
import { takeNumbered, takeTop } from "./Readings.ts";
import { takeStretch } from "./Stretch.ts";
import { leave, orderOf, reason, type Step, type Walk } from "./Walk.ts";

export { leastSize } from "./Limits.ts";
export { type ListShape, type Order, type Row, type WalkRows, walkRows } from "./SortOrder.ts";
export { type PageRequest } from "./Place.ts";
export {
  begin,
  type Frontier,
  type Observed,
  type Step,
  type UnorderedRows,
  unorderedRowsOf,
  type Walk,
} from "./Walk.ts";
export { ahead, plan, refused, resize } from "./WalkPlan.ts";

/** The most answers that bring nothing before pages 1, 2, 3… are read, and the number more for each page of rows. */
const [MOST_VAIN, MOST_VAIN_A_PAGE] = [100, 3];

/**
 * Takes in the answer to a planned request. Answers to requests planned together are handed in in the order of the plan, as
 * long as the step says they are of use.
 */
export const receive = (
  shape: ListShape,
  before: Walk,
  request: PageRequest,
  answer: { readonly rows: WalkRows; readonly pagination: PaginationHeader | undefined },
): Step => {
  const { rows } = answer;
  const place = locate(request, rows.count, answer.pagination);
  const order = orderOf(shape, before.order);
  const keys = rows.keys(order);
  const hashes = hashesOf(rows, keys);
  const given = { request, rows, place, order, keys, hashes, isTwice: hasTwice(hashes, rows.count) };
  const change = place.total === undefined || before.total === undefined
    ? 0
    : Math.abs(place.total - before.total);
  // A count that leaps is no sign that rows come and go, but of another list, or a wrong answer.
  const walk = {
    ...before,
    answers: before.answers + 1,
    moved: before.moved + (change <= leastSize ? change : 0),
  };
  if (before.topPage > 0) return takeTop(shape, walk, given);
  if (!before.overlapping) return takeNumbered(shape, walk, given);
  const step = takeStretch(shape, before, walk, given);
  const isVain = step.take.length === 0 && (step.walk.met === before.met || !step.isTaken);
  if (!isVain || step.walk.done || !step.walk.overlapping) return step;
  const vain = step.walk.vain + 1;
  const pages = Math.ceil((before.observed?.count ?? before.maxEnd) / Math.max(before.size, leastSize));
  if (vain <= MOST_VAIN + MOST_VAIN_A_PAGE * pages) return { ...step, walk: { ...step.walk, vain } };
  const last = { ...step.walk, order: shape.orders.length - 1, size: Math.max(step.walk.size, leastSize) };
  return { ...step, walk: leave(shape, last, reason.noFurtherPage), onCourse: false };
};

/** Answers that must overlap those before them. */
import { choose, frontierAfter, rememberedAfter } from "./Choice.ts";
import { askAgain, contradictionIn, type Given, isOutOfPlace, RETRIES, withUnorderedOf } from "./Given.ts";
import { leastSize } from "./Limits.ts";
import { ObservedIds } from "./ObservedIds.ts";
import { compare, type ListShape } from "./SortOrder.ts";
import type { Place } from "./Place.ts";
import { finished, leave, notTaken, over, reason, type Step, taken, type Walk, withReason } from "./Walk.ts";

/** The most answers in a row that bring nothing before the walk starts over, apart from reading it all again. */
const PATIENCE = 20;

const isOutOfPatience = (walk: Walk, attemptsWithoutProgress: number): boolean =>
  attemptsWithoutProgress > PATIENCE + 2 * Math.ceil(walk.maxEnd / walk.size);

/** Asks again further up: the answer lies beyond the frontier, as rows before it have vanished. */
const stepBack = (walk: Walk, place: Place): Step => {
  const vanished = Math.max(0, (walk.total ?? 0) - (place.total ?? Infinity));
  const stride = walk.attemptsWithoutProgress < 2
    ? 0
    : walk.size * 2 ** Math.min(walk.attemptsWithoutProgress - 2, 30);
  const slack = Math.min(Math.floor(walk.size / 2), Math.max(4, 2 * walk.slack));
  const end = Math.max(0, Math.min(walk.end, place.start) - Math.max(vanished, stride));
  return notTaken({
    ...walk,
    end,
    slack,
    tieCount: Math.max(1, walk.tieCount),
    total: place.total,
    attemptsWithoutProgress: walk.attemptsWithoutProgress + 1,
    retries: 0,
    avoid: undefined,
  });
};

/** Takes in an answer that must overlap those before it. */
export const takeStretch = (shape: ListShape, before: Walk, counted: Walk, given: Given): Step => {
  const { request, rows, place, order, keys } = given;
  let walk = counted;
  const isWhole = place.start === 0 && place.isLast;
  const { until } = before.order === 0 ? shape : {};
  const isPast = until !== undefined && keys.some((key) => compare(order, key, until) > 0);

  if (!isWhole && place.size > request.size) {
    const last = { ...walk, order: shape.orders.length - 1, size: place.size };
    return notTaken(leave(shape, last, reason.otherSize));
  }
  const against = contradictionIn(given, isWhole);
  if (against !== undefined) {
    if (walk.retries < RETRIES) return askAgain(walk, given);
    // A list that one page holds reads no better in another order.
    const fits = isWhole || (place.start === 0 && place.total !== undefined && place.total <= place.size);
    if (!fits) return notTaken(leave(shape, walk, against));
    walk = withReason(walk, against);
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
    if (isCut) return notTaken(leave(shape, walk, reason.short));
  }
  const isClamped = place.size < request.size;
  if (isClamped) walk = { ...walk, size: Math.max(1, Math.min(before.size, place.size)), isClamped };
  const hasUnordered = keys.includes(undefined);
  if (!isWhole) {
    if (!order.fixed) walk = withReason(walk, reason.mutableKey);
    if (hasUnordered) walk = withReason(walk, reason.unordered);
    const side = before.frontier &&
      compare(order, keys.find((key) => key !== undefined), before.frontier.key);
    const reaches = (place.start === 0 && request.page === 1) || side === undefined || side < 0 ||
      (order.unique === true && side === 0);
    if (!reaches) {
      if (isOutOfPatience(before, before.attemptsWithoutProgress)) {
        return notTaken(leave(shape, walk, reason.vanishing));
      }
      // A page asked for ahead did not know how many rows share the frontier's key.
      return side === 0 && place.total === before.total && before.attemptsWithoutProgress === 0
        ? notTaken({ ...walk, attemptsWithoutProgress: 1 })
        : stepBack(walk, place);
    }
    if (isOutOfPlace(before, given)) {
      if (walk.retries === 0) return askAgain(walk, given);
      const { earlier } = walk;
      if (earlier !== undefined && walk.backs < RETRIES) {
        // It is the answer before that was wrong: what it brought is known, and its stretch is read again.
        const { answers, backs } = walk;
        return notTaken({
          ...walk,
          ...earlier,
          earlier: undefined,
          // Rows met since are met again now.
          rewoundAt: answers,
          retries: 1,
          backs: backs + 1,
        });
      }
      return notTaken(leave(shape, walk, reason.moved));
    }
  }

  const isFirstAndWhole = isWhole && before.observed === undefined;
  const observed = isFirstAndWhole ? undefined : before.observed?.ids ?? new ObservedIds();
  observed?.expect(place.total);
  const { take, met, isAgain } = choose(shape, before, given, observed);
  const reached = frontierAfter(before, order, rows, keys);
  // New rows at an old place may never cease to come.
  const isProgress = (place.end > before.maxEnd && met > 0) ||
    reached.frontier?.key !== before.frontier?.key ||
    (!order.fixed && take.length > 0);
  const attemptsWithoutProgress = isProgress ? 0 : before.attemptsWithoutProgress + 1;
  const isEnd = place.isLast || isPast;
  const memory = rememberedAfter(order, before, observed);
  const next: Walk = {
    ...walk,
    ...reached,
    ...memory,
    unorderedRows: hasUnordered ? withUnorderedOf(walk.unorderedRows, given, take) : walk.unorderedRows,
    end: place.end,
    maxEnd: isProgress ? Math.max(before.maxEnd, place.end) : before.maxEnd,
    slack: Math.floor(before.slack / 2),
    attemptsWithoutProgress,
    total: place.total,
    retries: 0,
    avoid: undefined,
    short: undefined,
    // Before the last answer that moved the frontier: it may turn out wrong later than with the next one.
    earlier: !memory.isExact
      ? undefined
      : reached.frontier?.key === before.frontier?.key
      ? before.earlier
      : { frontier: before.frontier, tieCount: before.tieCount, end: before.end },
    backs: place.end > before.maxEnd && isProgress ? 0 : before.backs,
    met: before.met === undefined ? undefined : before.met + met,
    most: place.total === undefined ? before.most : Math.max(before.most ?? 0, place.total),
  };
  if (!isEnd) {
    const isStuck = isOutOfPatience(walk, attemptsWithoutProgress);
    // Pages asked for in another size than the tenant gives lie elsewhere than planned, and what is planned on from them.
    return isStuck || isAgain
      ? taken(leave(shape, next, isStuck ? reason.noFurtherPage : reason.twice), take)
      : taken(next, take, walk.size === before.size);
  }
  if (next.unverifiedReasons.length === 0 && isAgain) return taken(over(shape, next, reason.twice), take);
  const hasFewer = !isPast && next.isExact && (next.met ?? Infinity) < (next.most ?? 0);
  // Rows may have come at the top, and others gone: then they are there.
  return taken(
    next.unverifiedReasons.length === 0 && hasFewer ? { ...next, topPage: 1 } : finished(next),
    take,
  );
};

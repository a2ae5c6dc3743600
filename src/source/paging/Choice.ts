/** Chooses the rows of an answer to deliver, and what the walk remembers of them. */
import type { Given } from "./Given.ts";
import { MOST_OBSERVED, type ObservedIds } from "./ObservedIds.ts";
import { compare, type Key, type ListShape, type Order, type WalkRows } from "./SortOrder.ts";
import { orderOf, type Walk } from "./Walk.ts";

/**
 * Chooses the rows of an answer that have not been delivered, and counts how many this pass had not met, and whether one of
 * them was met in it before. Rows without a place that are alike are as many as one answer has held.
 */
export const choose = (
  shape: ListShape,
  walk: Walk,
  { rows, keys, hashes, isTwice }: Given,
  observed: ObservedIds | undefined,
): { readonly take: Array<number>; readonly met: number; readonly isAgain: boolean } => {
  const { overlapping, unorderedRows, isExact, answers, passBegan, rewoundAt } = walk;
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
  const unorderedInAnswer = new Map<string, number>();
  const inAnswer = isTwice && observed === undefined ? new Set<number>() : undefined;
  const take: Array<number> = [];
  let met = 0;
  let isAgain = false;
  for (let index = 0; index < rows.count; index++) {
    const hash = hashes[index]!;
    if (keys[index] === undefined) {
      // Several may be alike: as many as have been delivered are not new.
      const id = rows.id(index);
      const nth = (unorderedInAnswer.get(id) ?? 0) + 1;
      unorderedInAnswer.set(id, nth);
      const last = observed?.meet(hash, answers) ?? -1;
      if (last < passBegan) met++;
      if (last < 0 && nth > (unorderedRows.times.get(id) ?? 0)) take.push(index);
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
    if (
      last >= 0 || (unorderedRows.times.size > 0 && unorderedRows.times.has(rows.id(index))) ||
      (past.length > 0 && isCovered(index))
    ) {
      continue;
    }
    take.push(index);
  }
  return { take, met, isAgain };
};

/** Gives the last key of the answer, unless all of it lies before the frontier. */
export const frontierAfter = (
  walk: Walk,
  order: Order,
  rows: WalkRows,
  keys: ReadonlyArray<Key | undefined>,
): Pick<Walk, "frontier" | "tieCount"> => {
  const key = keys.findLast((key) => key !== undefined);
  const { frontier } = walk;
  const side = frontier === undefined ? 1 : compare(order, key, frontier.key);
  if (key === undefined || !(side >= 0)) return { frontier, tieCount: 1 };
  const first = keys.indexOf(key);
  const at = new Set(side === 0 ? frontier?.ids : undefined);
  for (let index = first; index < keys.length; index++) if (keys[index] === key) at.add(rows.id(index));
  return { frontier: { order: walk.order, key, ids: [...at] }, tieCount: keys.length - first };
};

/** Gives the ids to remember after an answer. */
export const rememberedAfter = (
  order: Order,
  { isExact }: Walk,
  ids: ObservedIds | undefined,
): Pick<Walk, "observed" | "isExact"> =>
  ids !== undefined && ids.size > MOST_OBSERVED && order.fixed
    ? { observed: undefined, isExact: false }
    : { observed: ids && { ids, count: ids.size }, isExact };

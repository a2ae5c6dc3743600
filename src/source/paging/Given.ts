/** An answer, looked at: where it lies, what its rows are known by, and what it says against itself or others. */
import { hashText } from "./ObservedIds.ts";
import { isInOrder, type Key, type Order, type WalkRows } from "./SortOrder.ts";
import type { PageRequest, Place } from "./Place.ts";
import {
  notTaken,
  type Reason,
  reason,
  type Step,
  type UnorderedRows,
  type Walk,
  withUnordered,
} from "./Walk.ts";

export interface Given {
  readonly request: PageRequest;
  readonly rows: WalkRows;
  readonly place: Place;
  readonly order: Order;
  readonly keys: ReadonlyArray<Key | undefined>;
  /** A hash of each row's id; those of unorderedRows that are alike differ. They lie where the next answer's will. */
  readonly hashes: Float64Array;
  readonly isTwice: boolean;
}

let hashes = new Float64Array(1024);
let table = new Float64Array(0);
let stamps = new Int32Array(0);
let stamp = 0;

export const hashesOf = (rows: WalkRows, keys: ReadonlyArray<Key | undefined>): Float64Array => {
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
export const hasTwice = (hashes: Float64Array, count: number): boolean => {
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

/** Find what an answer says against itself. */
export const contradictionIn = (
  { place, isTwice, order, keys }: Given,
  isWhole: boolean,
): Reason | undefined =>
  place.shortOf !== undefined
    ? place.shortOf === "page" ? reason.short : reason.miscounted
    : isTwice
    ? reason.twice
    : !isWhole && !isInOrder(order, keys)
    ? reason.otherOrder
    : undefined;

/** Tell whether, in a list of as many rows as before, nothing that was met stands where the frontier was. */
export const isOutOfPlace = (before: Walk, { place, keys, hashes }: Given): boolean => {
  const index = before.end - 1 - place.start;
  if (
    before.frontier === undefined || !place.isTold || place.total !== before.total || index < 0 ||
    index >= keys.length || keys.includes(before.frontier.key)
  ) return false;
  // The row at the frontier may have gone, and another come.
  const met = before.observed?.ids;
  return met === undefined || !hashes.subarray(0, index + 1).some((hash) => met.has(hash));
};

/** The most answers in a row that are contradicted before the walk starts over. */
export const RETRIES = 2;

/** Ask again, by another request. */
export const askAgain = (walk: Walk, { request, place }: Given, more?: Pick<Walk, "short">): Step =>
  notTaken({
    ...walk,
    ...more,
    total: place.total ?? walk.total,
    retries: walk.retries + 1,
    avoid: request.size,
  });

/** Add those of the rows to deliver that have no place in the order. */
export const withUnorderedOf = (
  unorderedRows: UnorderedRows,
  { rows, keys }: Pick<Given, "rows" | "keys">,
  take: ReadonlyArray<number>,
): UnorderedRows =>
  withUnordered(unorderedRows, take.filter((index) => keys[index] === undefined).map(rows.id));

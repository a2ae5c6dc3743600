/** Pages of a sorted list, and the header that describes them. */
import { Draws, hash, hashText, shuffled } from "./Hash.ts";

/** A request for a page of a list. */
export interface PageRequest {
  /** From 1. */
  readonly page: number;
  readonly size: number;
  /** The field sorted by. */
  readonly key: string;
  readonly descending: boolean;
}

/** A list in ascending order, by rank. */
export interface Ranked {
  readonly length: number;
  /** The row at a rank, by whatever number its owner knows it. */
  readonly row: (rank: number) => number;
  /** The value sorted by, at a rank. */
  readonly value: (rank: number) => string | number;
}

/** The state of the `x-pagination` header. */
export type PaginationHeader = "present" | "absent" | "malformed";

/**
 * Gives the rows of one page. With `unstable`, rows that are equal in what the list is sorted by change places, in an order
 * drawn from that number, as they may where a database is not told how to break ties.
 */
export const rows = (list: Ranked, { page, size, descending }: PageRequest, unstable?: number): number[] => {
  const { length } = list;
  const start = Math.min((page - 1) * size, length);
  const end = Math.min(start + size, length);
  const rank = descending ? (at: number) => length - 1 - at : (at: number) => at;
  const found: number[] = [];
  for (let at = start; at < end;) {
    if (unstable === undefined) {
      found.push(list.row(rank(at++)));
      continue;
    }
    const value = list.value(rank(at));
    let first = at;
    while (first > 0 && list.value(rank(first - 1)) === value) first--;
    let after = at + 1;
    while (after < length && list.value(rank(after)) === value) after++;
    // Drawn for the group, not for the page, so that within one drawing no row is in two places.
    const order = shuffled(after - first, new Draws(hash(unstable, first)));
    for (; at < after && at < end; at++) found.push(list.row(rank(first + (order[at - first] as number))));
  }
  return found;
};

/** Gives the value of `x-pagination`, or undefined where there is none. */
export const header = (
  { page, size, key }: PageRequest,
  total: number,
  pagination: PaginationHeader,
): string | undefined => {
  if (pagination === "absent") return undefined;
  const text = JSON.stringify({
    page_size: size,
    current_page: page,
    total_count: total,
    has_previous: page > 1,
    has_next: page * size < total,
  });
  if (pagination === "present") return text;
  const wrong = [
    text.slice(0, text.length >> 1),
    "null",
    "[]",
    "{}",
    '{"page_size":"ten","current_page":-1,"total_count":null,"has_previous":0,"has_next":"maybe"}',
  ];
  return wrong[(hashText(page, key) >>> 0) % wrong.length] as string;
};

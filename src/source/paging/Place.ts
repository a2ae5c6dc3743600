/** The place of an answer in its list, by its header and by the request. */
import type { PaginationHeader } from "../../api/PaginationHeader.ts";
import { DOCUMENTED_SIZE } from "./Limits.ts";

export interface PageRequest {
  readonly page: number;
  readonly size: number;
  readonly sort: string;
  /** True if a cache must not answer: set where an earlier answer was contradicted. */
  readonly fresh?: true | undefined;
}

/** The stretch of the list that an answer holds, and whether it is the last of it. */
export interface Place {
  readonly start: number;
  readonly end: number;
  readonly isLast: boolean;
  /** The page size the tenant gave. */
  readonly size: number;
  readonly total: number | undefined;
  /** True if a header says all this. */
  readonly isTold: boolean;
  /** Set if there are fewer rows than the answer itself says: of its page, or of the whole list. */
  readonly shortOf: "page" | "list" | undefined;
}

/** Locate the answer of `count` rows. */
export const locate = (request: PageRequest, count: number, said: PaginationHeader | undefined): Place => {
  const start = said && (said.page - 1) * said.pageSize;
  // A header that contradicts the rows or itself says nothing.
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
    return {
      start: from,
      end: from + count,
      isLast,
      size,
      total: undefined,
      isTold: false,
      shortOf: said?.hasNext === true && count < Math.min(request.size, said.pageSize) ? "page" : undefined,
    };
  }
  return {
    start,
    end: said.hasNext ? start + said.pageSize : start + count,
    // A tenant may count before it lists: of a full page, a row inserted in between has pushed the last one off.
    isLast: !said.hasNext && count < said.pageSize,
    size: said.pageSize,
    total: said.total,
    isTold: true,
    shortOf: count >= said.pageSize || start + count >= said.total
      ? undefined
      : said.hasNext
      ? "page"
      : "list",
  };
};

/**
 * Sizes of pages, found out by trying: a first page that suits most lists, then as large as the tenant gives. One for all walks
 * of a run, as the tenant is the same.
 *
 * A size is *proven* by an answer that gave it. A larger one is a *trial*: one at a time, alone, and sent once, so that a
 * tenant that refuses, cuts or fails costs a request for each step down and no more.
 */
import type { PaginationHeader } from "../../api/PaginationHeader.ts";
import { leastSize as LEAST } from "./Limits.ts";

/** The sizes that are tried, from the largest down. */
const LADDER = [1000, 500, 200, 100, 50, 20, LEAST] as const;

/** Rows of the first page of a list, 50 kB: a user with few sessions costs no more than that. */
export const FIRST = 100;

/** The largest page that is tried where none is asked for. */
export const LARGEST = LADDER[0];

/** The longest that an answer should take, in milliseconds, and its most bytes: of larger pages fewer rows are asked for. */
const [MOST_MILLISECONDS, MOST_BYTES] = [5000, 2 ** 23];

/** The number of trials that fail, though no size was refused, before no more are made in a run. */
const MOST_FAILURES = 3;

/** An answer, as far as its size goes. */
export interface Sized {
  readonly count: number;
  readonly pagination: PaginationHeader | undefined;
  readonly bytes: number;
  /** Time from its request to its end. */
  readonly milliseconds: number;
}

export interface PageSizes {
  /** Rows of the first page of a list. */
  readonly first: () => number;
  /** Rows of the pages after it, at most; no more than is proven while a larger size is on trial elsewhere. */
  readonly rest: () => number;
  /** Tells whether a page of this size is to be asked for alone. */
  readonly isUnproven: (size: number) => boolean;
  /** Tells whether it is asked for to see whether it can be had: then it is sent once, for another size will do as well. */
  readonly isTrial: (size: number) => boolean;
  /** Says that a trial is under way, or no longer. */
  readonly trying: (isTrying: boolean) => void;
  /** Tells whether one is under way. */
  readonly isTrying: () => boolean;
  /**
   * Takes note of an answer, of a size that is not proven or of one that is. False if that is as good as a refusal: some
   * tenants answer a size that they do not take with their default.
   */
  readonly answered: (size: number, answer: Sized) => boolean;
  /** Takes note of a size that was refused, or that failed. Gives the next smaller one to ask for, if there is one. */
  readonly stepDown: (size: number, isRefused: boolean) => number | undefined;
  /** Gives the mean number of rows of late answers. */
  readonly rows: () => number;
  /** Gives the largest size that the tenant takes, to begin the next run with; undefined where that is not known. */
  readonly found: () => number | undefined;
}

/** Pages of one size; larger ones where no other overlaps. */
export const fixed = (size: number): PageSizes => ({
  first: () => size,
  rest: () => size,
  isUnproven: (asked) => asked > size,
  isTrial: () => false,
  trying: () => {},
  isTrying: () => false,
  answered: () => true,
  stepDown: (asked, isRefused) => isRefused && asked > size ? size : undefined,
  rows: () => size,
  found: () => undefined,
});

/** The weight of a late answer against those before it. */
const WEIGHT = 1 / 32;

export interface AutoOptions {
  /** The size that an earlier run has found. */
  readonly known?: number | undefined;
  /** Rows of the first page. @default {100} */
  readonly first?: number | undefined;
}

/** Sizes that are found out. */
export const auto = ({ known, first: wanted = FIRST }: AutoOptions = {}): PageSizes => {
  let proven = 0;
  // The largest that the tenant takes, as far as is known, and the largest that it answers with ease.
  let [ceiling, easy]: [number, number] = [known ?? LARGEST, LARGEST];
  let found = known;
  // Knowledge before sizes were refused: that may yet turn out to be for another reason.
  let before: { readonly ceiling: number; readonly found: number | undefined } | undefined;
  let [failures, doubts, isTrying] = [0, 0, false];
  let mean: number = wanted;
  const first = () => Math.min(wanted, ceiling);
  /** Rows that any tenant is taken to give: a larger page is a trial, the first one as well. */
  const usual = () => Math.min(first(), FIRST);
  /** Takes back what refusals have told: they were not of the size. */
  const takeBack = () => {
    if (before !== undefined) ({ ceiling, found } = before);
    before = undefined;
  };
  const rest = () => {
    const size = Math.max(first(), Math.min(ceiling, easy));
    return isTrying ? Math.min(size, Math.max(proven, usual())) : size;
  };
  return {
    first,
    rest,
    isUnproven: (size) => size > proven,
    isTrial: (size) => size > Math.max(proven, usual()),
    trying: (is) => void (isTrying = is),
    isTrying: () => isTrying,
    answered: (size, { count, pagination, bytes, milliseconds }) => {
      mean += (count - mean) * WEIGHT;
      const given = pagination?.pageSize ?? (count >= size ? size : 0);
      if (size > proven && given < size && pagination?.hasNext === true) {
        if (given < proven || (size > FIRST && given < FIRST)) return false;
        found = ceiling = Math.min(ceiling, Math.max(given, LEAST));
      }
      proven = Math.max(proven, Math.min(given, size));
      // Refused to one list, and given to another.
      if (proven > ceiling) takeBack();
      if (proven >= ceiling) found = ceiling;
      if (count < FIRST) return true;
      const load = Math.max(milliseconds / MOST_MILLISECONDS, bytes / MOST_BYTES, 0.001);
      easy = Math.max(FIRST, Math.min(2 * easy, LARGEST, Math.floor(count / load)));
      return true;
    },
    stepDown: (size, isRefused) => {
      if (size > proven && isRefused) {
        const next = LADDER.find((step) => step < size);
        if (next === undefined) {
          takeBack();
          return undefined;
        }
        before ??= { ceiling, found };
        return found = ceiling = Math.max(next, proven);
      }
      // Refused, though others have had as much. A tenant that takes less than it did says the same, so not for ever.
      if (isRefused && before !== undefined && doubts++ < MOST_FAILURES) takeBack();
      if (size <= usual()) return undefined;
      if (size <= proven) return usual();
      const next = Math.max(proven, usual());
      if (++failures >= MOST_FAILURES) ceiling = next;
      return next;
    },
    rows: () => Math.max(mean, 1),
    found: () => found,
  };
};

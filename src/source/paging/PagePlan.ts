/**
 * Plans pages that overlap: of sizes up to the one wished for, chosen so that one holds the rows before a frontier and
 * reaches as far beyond it as it can.
 */

/** A page, from 1, of so many rows. */
export interface SizedPage {
  readonly page: number;
  readonly size: number;
}

export interface OverlapOptions {
  /** The number of rows that lie before the end of what has been read. */
  readonly end: number;
  /** The number of rows before the end that the page must hold. */
  readonly behind: number;
  readonly size: number;
  /** Allows pages of up to twice the size, where no smaller one overlaps. */
  readonly mayGrow: boolean;
  /** A size not to ask for, as its answer was contradicted. */
  readonly avoid?: number | undefined;
}

/** Below this size, pages of all sizes may end at one row (at 720 for sizes up to 10), so the next step is looked at. */
const SMALL = 32;

/** Gives the page of this size that holds the row at `from`, and where it ends. */
const pageAt = (from: number, size: number): SizedPage & { readonly reach: number } => {
  const page = Math.floor(from / size) + 1;
  return { page, size, reach: page * size };
};

/** Tell whether a page holds one row before the last of `end` and one behind. */
const canGoOn = (end: number, size: number): boolean => {
  for (let candidate = size; candidate > size / 2; candidate--) {
    if (pageAt(end - 2, candidate).reach > end) return true;
  }
  return false;
};

/** Finds the page that reaches furthest beyond `end` of those from `least` to `most` rows; undefined where none spans both. */
const furthest = (
  from: number,
  end: number,
  least: number,
  most: number,
  size: number,
  avoid: number | undefined,
): SizedPage | undefined => {
  let best: (SizedPage & { readonly reach: number }) | undefined;
  let bestEver: SizedPage | undefined;
  let reach = end;
  // A page of n fewer rows reaches at most n rows less far: past what the best one wastes there is nothing to gain.
  for (let candidate = most; candidate >= least && from + candidate > (best?.reach ?? end); candidate--) {
    if (candidate === avoid) continue;
    const page = pageAt(from, candidate);
    if (page.reach > reach) {
      reach = page.reach;
      bestEver = page;
    }
    if (page.reach > (best?.reach ?? end) && (size > SMALL || canGoOn(page.reach, size))) best = page;
  }
  return best ?? bestEver;
};

/** Finds the page to ask for next; undefined where no page overlaps. */
export const overlap = ({ end, behind, size, mayGrow, avoid }: OverlapOptions): SizedPage | undefined => {
  const from = Math.max(0, end - behind);
  return furthest(from, end, Math.floor(size / 2) + 1, size, size, avoid) ??
    (mayGrow ? furthest(from, end, size + 1, 2 * size, size, avoid) : undefined);
};

/** Pages that overlap: no other choice of them reads a list in fewer requests. */
import { expect, it } from "vitest";
import { overlap } from "../../../src/source/paging/PagePlan.ts";

/** Finds the fewest pages of up to `size` rows, each with the last row before it, that read so many rows: tries all. */
const fewest = (rows: number, size: number): number => {
  let ends = new Set([size]);
  const known = new Set(ends);
  for (let pages = 1;; pages++) {
    if ([...ends].some((end) => end >= rows)) return pages;
    const next = new Set<number>();
    for (const end of ends) {
      for (let each = 2; each <= size; each++) {
        const reach = (Math.floor((end - 1) / each) + 1) * each;
        if (reach > end && !known.has(reach)) next.add(reach);
      }
    }
    for (const end of next) known.add(end);
    ends = next;
  }
};

it.each([33, 40, 50, 64, 100, 200, 1000])("of up to %i rows are as few as can be", (size) => {
  for (let rows = size; rows <= 40 * size; rows = Math.floor(1.7 * rows) + 1) {
    let [end, pages] = [size, 1];
    while (end < rows) {
      const page = overlap({ end, behind: 1, size, mayGrow: false })!;
      [end, pages] = [page.page * page.size, pages + 1];
    }
    expect([rows, pages]).toEqual([rows, fewest(rows, size)]);
  }
});

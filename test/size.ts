/** The size of a run of the tests: short in `npm test`, long in `npm run test:long`. */
import process from "node:process";

/** True if every random case, every kill and every load is to be tried, at full size. */
export const isLong: boolean = process.env["TEST_SIZE"] === "long";

/** Give the number of random cases to try: one in twenty is enough to tell a broken change, all of them are for `test:long`. */
export const some = (whole: number): number => isLong ? whole : Math.ceil(whole / 20);

/** Give the cells of a grid to try: one in so many, spread over it, or all of them for `test:long`. */
export const oneIn = <const A>(few: number, cells: ReadonlyArray<A>): ReadonlyArray<A> =>
  isLong ? cells : cells.filter((_, at) => at % few === 0);

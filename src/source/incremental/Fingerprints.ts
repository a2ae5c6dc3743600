/** Fingerprints in a cursor, of rows that no time tells of: 53 bits of each, of a bounded number of rows. */

/** The most rows a cursor knows so: 80 kB while a walk is under way, some 170 kB of JSON in a cursor. */
export const MOST = 10_000;

/**
 * Tells a version of a row from others by its id and its time. Two of 10,000 rows share it once in some 200 million times.
 * (The mixing of MurmurHash3, over UTF-16, with two seeds.)
 */
export const of = (id: string, time: number): number => {
  let [one, other] = [0x9e3779b9 ^ time, 0x85ebca6b ^ (time / 2 ** 32)];
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i);
    one = Math.imul(one ^ code, 0x85ebca77);
    one ^= one >>> 15;
    other = Math.imul(other ^ code, 0xc2b2ae3d);
    other ^= other >>> 13;
  }
  one = Math.imul(one ^ id.length, 0x27d4eb2f);
  other = Math.imul(other ^ (one >>> 16), 0x165667b1);
  return (((other ^ (other >>> 15)) >>> 11) * 2 ** 32) + ((one ^ (one >>> 16) ^ other) >>> 0);
};

/** Joins lists of them, in ascending order: all, or as many as are kept, of the first lists first. */
export const join = (
  ...lists: ReadonlyArray<ReadonlyArray<number>>
): { readonly kept: ReadonlyArray<number>; readonly isWhole: boolean } => {
  const all = new Set(lists.flat());
  const kept = [...all].slice(0, MOST).sort((one, other) => one - other);
  return { kept, isWhole: kept.length === all.size };
};

/**
 * Numbers that several threads change without a lock: one that is ended in the middle leaves nothing locked behind.
 *
 * @module
 */

/** A number, of this thread or of several. */
export interface Cell {
  readonly get: () => number;
  /** Replaces the number if it still is what was read; says whether it was. */
  readonly replace: (read: number, by: number) => boolean;
}

/** How many bytes a number takes. */
export const BYTES = 8;

const float = new Float64Array(1);
const bitsOfFloat = new BigInt64Array(float.buffer);

const bitsOf = (value: number): bigint => {
  float[0] = value;
  return bitsOfFloat[0]!;
};

/** One of the numbers. */
export const make = (state: BigInt64Array, index: number): Cell => ({
  get: () => {
    bitsOfFloat[0] = Atomics.load(state, index);
    return float[0]!;
  },
  replace: (read, by) => {
    const bits = bitsOf(read);
    return Atomics.compareExchange(state, index, bits, bitsOf(by)) === bits;
  },
});

/** Makes of a number another one, whatever other threads make of it meanwhile. */
export const change = ({ get, replace }: Cell, to: (value: number) => number): void => {
  for (;;) {
    const read = get();
    if (replace(read, to(read))) return;
  }
};

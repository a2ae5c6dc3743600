/**
 * A set of more keys than memory could hold as text: 64 bits are kept of each.
 *
 * @module
 */
import { digest } from "./DigestList.ts";

/** Keys that were added. Of a million, two share their 64 bits once in some 37 million times. */
export interface KeySet {
  /** Adds a key; gives true if it was not there yet. */
  readonly add: (key: ReadonlyArray<string>) => boolean;
  readonly has: (key: ReadonlyArray<string>) => boolean;
}

/** An empty set. Memory: 12 to 24 bytes a key, and half as much more for a moment while it grows. */
export const make = (): KeySet => {
  // Pairs of 32 bits, in the first free place from the one that their bits say; two zeros are a free place.
  let slots = new Uint32Array(2048);
  let size = 0;
  const wanted = new Uint32Array(2);

  const placeOf = (one: number, other: number): number => {
    const places = slots.length / 2;
    let place = (one ^ other) & (places - 1);
    while (true) {
      const at = 2 * place;
      if (slots[at] === one && slots[at + 1] === other) return at;
      if (slots[at] === 0 && slots[at + 1] === 0) return at;
      place = (place + 1) & (places - 1);
    }
  };
  const find = (key: ReadonlyArray<string>): number => {
    digest(key, wanted, 0);
    if (wanted[0] === 0 && wanted[1] === 0) wanted[1] = 1;
    return placeOf(wanted[0]!, wanted[1]!);
  };
  const isFree = (at: number) => slots[at] === 0 && slots[at + 1] === 0;
  const grow = () => {
    const before = slots;
    slots = new Uint32Array(2 * before.length);
    for (let i = 0; i < before.length; i += 2) {
      const [one, other] = [before[i]!, before[i + 1]!];
      if (one !== 0 || other !== 0) slots.set([one, other], placeOf(one, other));
    }
  };

  return {
    has: (key) => !isFree(find(key)),
    add: (key) => {
      const at = find(key);
      if (!isFree(at)) return false;
      slots.set(wanted, at);
      if (++size * 3 > slots.length) grow();
      return true;
    },
  };
};

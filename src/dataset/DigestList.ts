/** Finds out whether any key comes twice, of more keys than memory could hold: 8 bytes are kept of each. */

/**
 * 64 bits of two texts, as two numbers of 32: different keys rarely share them, equal ones always do. (The mixing of
 * MurmurHash3, over UTF-16, with two seeds.)
 */
export const digest = (texts: ReadonlyArray<string>, into: Uint32Array, at: number): void => {
  let [one, other] = [0x9e3779b9, 0x85ebca6b];
  for (const text of texts) {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      one = Math.imul(one ^ code, 0x85ebca77);
      one ^= one >>> 15;
      other = Math.imul(other ^ code, 0xc2b2ae3d);
      other ^= other >>> 13;
    }
    // Where the one text ends and the next begins matters as well.
    one = Math.imul(one ^ text.length ^ 0x10000, 0x27d4eb2f);
    other = Math.imul(other ^ text.length ^ 0x10000, 0x165667b1);
    one ^= other >>> 16;
    other ^= one >>> 16;
  }
  into[at] = one;
  into[at + 1] = other;
};

export type Keys = ReturnType<typeof make>;

/** For about so many keys. Memory: 8 bytes for each, and twice as much for a moment if there are more. */
export const make = (about: number) => {
  let halves = new Uint32Array(2 * Math.max(16, about));
  let length = 0;
  const one = new Uint32Array(2);
  return {
    add: (key: ReadonlyArray<string>): void => {
      if (length === halves.length) {
        const longer = new Uint32Array(2 * length);
        longer.set(halves);
        halves = longer;
      }
      digest(key, halves, length);
      length += 2;
    },
    /**
     * Tells of a key whether its digest came more than once, by sorting what was added; undefined if none did. Nothing
     * can be added after it. Keys that did come more than once are all among those.
     */
    repeated: (): ((key: ReadonlyArray<string>) => boolean) | undefined => {
      new BigUint64Array(halves.buffer, 0, length / 2).sort();
      const found = new Set<string>();
      for (let i = 2; i < length; i += 2) {
        if (halves[i] === halves[i - 2] && halves[i + 1] === halves[i - 1]) {
          found.add(`${halves[i]} ${halves[i + 1]}`);
          if (found.size === MOST) break;
        }
      }
      if (found.size === 0) return undefined;
      return (key) => {
        digest(key, one, 0);
        return found.has(`${one[0]} ${one[1]}`);
      };
    },
  };
};

/** Number of keys that are told to come more than once; then it is plain that something is wrong. */
const MOST = 1000;
